//! A box for recursive types that come from outside.
//!
//! `serde` decodes recursive types by recursion, so a few hundred kilobytes of "not not not ..." would overflow the
//! stack. Every recursion of our syntax trees and plans goes through [`Nested`], whose decoder counts how deep it is
//! and gives an error beyond [`DEPTH_MAX`]. What was decoded is therefore shallow enough to be walked recursively.

use core::{
    cell::Cell,
    ops::{Deref, DerefMut},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Levels of nesting that are decoded.
pub const DEPTH_MAX: u32 = 128;

std::thread_local! {
    /// How many `Nested` are being decoded around this point; zero outside of a decoder.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// `Box<T>` with a bound on how deep it nests when decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Nested<T>(Box<T>);

impl<T> Nested<T> {
    /// Puts a value into a box.
    pub fn new(value: T) -> Nested<T> {
        Nested(Box::new(value))
    }

    /// Takes it out again.
    pub fn into_inner(self) -> T {
        *self.0
    }
}

impl<T> Deref for Nested<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Nested<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Serialize> Serialize for Nested<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Nested<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Nested<T>, D::Error> {
        let depth = DEPTH.get();
        if depth >= DEPTH_MAX {
            return Err(D::Error::custom("nested too deep"));
        }
        DEPTH.set(depth + 1);
        let value = T::deserialize(deserializer);
        DEPTH.set(depth);
        Ok(Nested::new(value?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Chain {
        End,
        Link(Nested<Chain>),
    }

    #[test]
    fn shallow_decodes_and_deep_is_an_error() {
        let chain = Chain::Link(Nested::new(Chain::Link(Nested::new(Chain::End))));
        let bytes = postcard::to_allocvec(&chain).unwrap();
        assert_eq!(postcard::from_bytes::<Chain>(&bytes).unwrap(), chain);
        let hostile = vec![1; 1 << 20];
        assert!(postcard::from_bytes::<Chain>(&hostile).is_err());
        // The counter is back at zero: the next decoder has its whole depth.
        let mut deepest = vec![1; DEPTH_MAX as usize];
        deepest.push(0);
        assert!(postcard::from_bytes::<Chain>(&deepest).is_ok());
    }
}
