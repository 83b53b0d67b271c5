//! Commands as tests write them.

use pontoon_core::{
    CallId, Command, Error, Reply,
    data::{QueryResult, Value},
    store::{Action, Expect, KeyOp, Outcome},
};

use crate::sim::{Answer, Sim};

/// An operation on one key of a bare namespace.
pub fn op(namespace: &str, key: &[u8], action: Action) -> KeyOp {
    KeyOp { namespace: namespace.to_owned(), locality_bits: 0, key: key.to_vec(), action }
}

/// Writes whatever is there.
pub fn put(namespace: &str, key: &[u8], value: &[u8]) -> KeyOp {
    put_if(namespace, key, value, Expect::Any)
}

/// Writes if `expect` holds.
pub fn put_if(namespace: &str, key: &[u8], value: &[u8], expect: Expect) -> KeyOp {
    op(namespace, key, Action::Put { value: value.to_vec(), expect, ttl_us: None })
}

/// Reads.
pub fn get(namespace: &str, key: &[u8]) -> KeyOp {
    op(namespace, key, Action::Get)
}

/// Removes whatever is there.
pub fn remove(namespace: &str, key: &[u8]) -> KeyOp {
    op(namespace, key, Action::Remove { expect: Expect::Any })
}

/// Operations with the configured deadline.
pub fn keys(ops: Vec<KeyOp>) -> Command {
    Command::Keys { ops, deadline_us: None }
}

/// One statement given as SQL text.
///
/// # Panics
/// When the text does not parse: tests write only statements that do.
#[allow(clippy::panic)]
pub fn sql(text: &str, params: Vec<Value>, deadline_us: Option<u64>) -> Command {
    match pontoon_parser::parse(text).map(|statements| postcard::to_allocvec(&statements[0])) {
        Ok(Ok(statement)) => Command::Execute { statement, params, deadline_us },
        error => panic!("{text}: {error:?}"),
    }
}

/// The outcomes of [`keys`]; every other answer counts as unreachable.
pub fn outcomes(answer: Option<Answer>, count: usize) -> Vec<Outcome> {
    match answer {
        Some(Ok(Reply::Keys(outcomes))) => outcomes,
        _ => vec![Outcome::Unreachable; count],
    }
}

/// The result of [`sql`].
pub fn rows(answer: Option<Answer>) -> Result<QueryResult, Error> {
    match answer {
        Some(Ok(Reply::Rows(result))) => Ok(result),
        Some(Err(error)) => Err(error),
        Some(Ok(other)) => Err(Error::Invalid(format!("not rows: {other:?}"))),
        None => Err(Error::Unreachable),
    }
}

impl Sim {
    /// Operations at a node, answered within a minute of virtual time.
    pub fn keys(&mut self, node: usize, ops: Vec<KeyOp>) -> Vec<Outcome> {
        let count = ops.len();
        outcomes(self.call(node, keys(ops), 60_000_000), count)
    }

    /// A statement at a node, answered within a minute of virtual time.
    pub fn sql(&mut self, node: usize, text: &str) -> Result<QueryResult, Error> {
        rows(self.call(node, sql(text, Vec::new(), None), 60_000_000))
    }

    /// Starts one operation.
    pub fn start(&mut self, node: usize, op: KeyOp) -> CallId {
        self.command(node, keys(vec![op]))
    }
}
