//! Keys of records in memory: most are short and lie in place, so that a search among many of them touches little memory.

use std::{borrow::Borrow, cmp::Ordering};

/// Bytes that lie in place: a key takes no more than a vector does.
const SHORT_MAX: usize = 22;

/// A key; compares as its bytes do.
#[derive(Clone, Debug)]
pub enum Key {
    /// So many of these bytes.
    Short(u8, [u8; SHORT_MAX]),
    /// Any number.
    Long(Box<[u8]>),
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Key {
        let mut short = [0; SHORT_MAX];
        match short.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                Key::Short(bytes.len() as u8, short)
            }
            None => Key::Long(bytes.into()),
        }
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        match self {
            Key::Short(len, bytes) => &bytes[..usize::from(*len)],
            Key::Long(bytes) => bytes,
        }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        Borrow::<[u8]>::borrow(self).cmp(other.borrow())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_is_its_bytes(
            a in prop::collection::vec(0_u8..2, 0..2 * SHORT_MAX),
            b in prop::collection::vec(0_u8..2, 0..2 * SHORT_MAX),
        ) {
            let (short, long) = (Key::from(&a[..]), Key::from(&b[..]));
            prop_assert_eq!(Borrow::<[u8]>::borrow(&short), &a[..]);
            prop_assert_eq!(short.cmp(&long), a.cmp(&b));
            prop_assert_eq!(size_of::<Key>(), size_of::<Vec<u8>>());
        }
    }
}
