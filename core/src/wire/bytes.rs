//! `#[serde(with = "wire::bytes")]`: bytes as one piece. The encoding is that of `Vec<u8>`, which serde writes and reads
//! byte by byte: for values, payloads and frames that was a tenth of a node's work.

use core::fmt;

use serde::{Deserializer, Serializer, de::Visitor};

/// Writes.
pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// Reads.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    struct Bytes;
    impl Visitor<'_> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
    }
    deserializer.deserialize_bytes(Bytes)
}

/// The same for bytes that may be missing.
pub mod option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize)]
    struct Written<'a>(#[serde(with = "super")] &'a [u8]);

    #[derive(Deserialize)]
    struct Read(#[serde(with = "super")] Vec<u8>);

    /// Writes.
    #[allow(clippy::ref_option)] // serde hands the field
    pub fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        bytes.as_deref().map(Written).serialize(serializer)
    }

    /// Reads.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        Ok(Option::<Read>::deserialize(deserializer)?.map(|read| read.0))
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Pieces {
        #[serde(with = "super")]
        some: Vec<u8>,
        #[serde(with = "super::option")]
        maybe: Option<Vec<u8>>,
    }

    #[test]
    fn the_encoding_is_that_of_a_vector_and_a_short_one_is_refused() {
        for maybe in [None, Some(vec![9; 200])] {
            let pieces = Pieces { some: vec![1, 2, 3], maybe };
            let bytes = postcard::to_extend(&pieces, Vec::new()).unwrap();
            assert_eq!(bytes, postcard::to_extend(&(&pieces.some, &pieces.maybe), Vec::new()).unwrap());
            assert_eq!(postcard::from_bytes::<Pieces>(&bytes).unwrap(), pieces);
            assert!(postcard::from_bytes::<Pieces>(&bytes[..bytes.len() - 1]).is_err());
        }
    }
}
