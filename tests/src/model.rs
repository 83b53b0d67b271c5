//! The reference model: what a database on one machine would answer.

use std::collections::BTreeMap;

/// Keys and values of every namespace.
#[derive(Clone, Debug, Default)]
pub struct KeyModel {
    values: BTreeMap<(String, Vec<u8>), Vec<u8>>,
}

impl KeyModel {
    /// A write was acknowledged.
    pub fn put(&mut self, namespace: &str, key: &[u8], value: &[u8]) {
        self.values.insert((namespace.to_owned(), key.to_vec()), value.to_vec());
    }

    /// A removal was acknowledged.
    pub fn remove(&mut self, namespace: &str, key: &[u8]) {
        self.values.remove(&(namespace.to_owned(), key.to_vec()));
    }

    /// What a get must find.
    pub fn get(&self, namespace: &str, key: &[u8]) -> Option<&[u8]> {
        self.values.get(&(namespace.to_owned(), key.to_vec())).map(Vec::as_slice)
    }

    /// Everything, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8], &[u8])> {
        self.values.iter().map(|((namespace, key), value)| (namespace.as_str(), key.as_slice(), value.as_slice()))
    }

    /// Keys of one namespace.
    pub fn count(&self, namespace: &str) -> usize {
        self.values.keys().filter(|(name, _)| name == namespace).count()
    }
}
