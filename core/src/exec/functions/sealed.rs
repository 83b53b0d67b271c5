//! Sealed values on their way to who opens them.

use super::listed::{Listed, types::*};
use crate::{
    data::{Type, Value},
    seal::pack,
};

pub(super) const LIST: &[Listed] = &[
    // A cell, and the values of its row's primary key.
    Listed {
        many: true,
        ..Listed::new("sealed value", &[ANY, ANY], Type::Blob, |all| {
            Ok(all.split_first().map_or(Value::Null, |(cell, key)| pack(cell, key)))
        })
    },
];
