//! What sketches say: they come from aggregates as bytes.

use super::listed::{Listed, types::*};
use crate::{
    Error,
    data::{Type, Value},
    exec::ops::state::State,
};

pub(super) const LIST: &[Listed] = &[
    Listed::new("distinct of sketch", &[BYTES], Type::Integer, |all| {
        read(all, |state, _| match state {
            State::Distinct(sketch) => Some(Value::Integer(i64::try_from(sketch.estimate()).unwrap_or(i64::MAX))),
            _ => None,
        })
    }),
    Listed::new("percentile of sketch", &[BYTES, REAL], Type::Real, |all| {
        read(all, |state, share| match (state, share) {
            (State::Digest(sketch), Value::Real(share)) => sketch.percentile(*share).map(Value::Real),
            _ => None,
        })
    }),
];

/// What does not read is NULL.
fn read(all: &[&Value], of: impl Fn(State, &Value) -> Option<Value>) -> Result<Value, Error> {
    let Some(Value::Blob(bytes)) = all.first() else { return Ok(Value::Null) };
    let share = all.get(1).copied().unwrap_or(&Value::Null);
    Ok(State::decode(bytes).and_then(|state| of(state, share)).unwrap_or(Value::Null))
}
