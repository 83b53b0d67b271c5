//! Commands as tests write them.

use pontoon_core::{
    CallId, Command, Error, Reply,
    data::{QueryResult, Row},
    exec::{Env, Need},
    sql::{
        asking::{Asking, Definitions},
        ast::Statement,
        system::{PEERS, gathered_peers},
    },
    store::{Action, Expect, KeyOp, Outcome},
};

use crate::sim::{Answer, Sim};

const MINUTE_US: u64 = 60_000_000;

/// An operation on one key of a bare namespace.
pub fn op(namespace: &str, key: &[u8], action: Action) -> KeyOp {
    KeyOp { namespace: namespace.to_owned(), locality_bits: 0, key: key.to_vec(), action, proof: None }
}

/// Writes whatever is there.
pub fn put(namespace: &str, key: &[u8], value: &[u8]) -> KeyOp {
    put_if(namespace, key, value, Expect::Any)
}

/// Writes if `expect` holds.
pub fn put_if(namespace: &str, key: &[u8], value: &[u8], expect: Expect) -> KeyOp {
    op(namespace, key, Action::Put { value: value.to_vec(), expect, ttl_us: None })
}

/// Writes whatever is there, later if nobody can be reached who may.
pub fn put_hinted(namespace: &str, key: &[u8], value: &[u8]) -> KeyOp {
    op(namespace, key, Action::PutHinted { value: value.to_vec(), ttl_us: None, at_us: 0 })
}

/// Reads.
pub fn get(namespace: &str, key: &[u8]) -> KeyOp {
    op(namespace, key, Action::Get)
}

/// Reads from any replica.
pub fn get_stale(namespace: &str, key: &[u8]) -> KeyOp {
    op(namespace, key, Action::GetStale)
}

/// Removes whatever is there.
pub fn remove(namespace: &str, key: &[u8]) -> KeyOp {
    op(namespace, key, Action::Remove { expect: Expect::Any })
}

/// Operations with the configured deadline.
pub fn keys(ops: Vec<KeyOp>) -> Command {
    Command::Keys { ops, deadline_us: None }
}

/// The outcomes of [`keys`]; every other answer counts as unreachable.
pub fn outcomes(answer: Option<Answer>, count: usize) -> Vec<Outcome> {
    match answer {
        Some(Ok(Reply::Keys(outcomes, _))) => outcomes,
        _ => vec![Outcome::Unreachable; count],
    }
}

/// A statement under way at a node.
pub struct Ask {
    node: usize,
    asking: Asking,
    deadline_us: Option<u64>,
    open: Vec<(u32, CallId)>,
    /// When it began, virtual time.
    begun_us: u64,
}

impl Sim {
    /// Operations at a node, answered within a minute of virtual time.
    pub fn keys(&mut self, node: usize, ops: Vec<KeyOp>) -> Vec<Outcome> {
        let count = ops.len();
        outcomes(self.call(node, keys(ops), MINUTE_US), count)
    }

    /// A statement at a node, answered within a minute of virtual time.
    pub fn sql(&mut self, node: usize, text: &str) -> Result<QueryResult, Error> {
        let mut definitions = Definitions::default();
        let ask = self.ask(node, &mut definitions, text, None)?;
        self.answers(vec![ask], &mut definitions, MINUTE_US).remove(0)
    }

    /// Begins a statement at a node; each thing that it needs may take `deadline_us`.
    pub fn ask(
        &mut self,
        node: usize,
        definitions: &mut Definitions,
        text: &str,
        deadline_us: Option<u64>,
    ) -> Result<Ask, Error> {
        Ok(self.ask_statement(node, definitions, pontoon_parser::parse_one(text)?, deadline_us))
    }

    /// The same with a statement that is parsed already.
    pub fn ask_statement(
        &mut self,
        node: usize,
        definitions: &mut Definitions,
        statement: Statement,
        deadline_us: Option<u64>,
    ) -> Ask {
        let random = u128::from(self.draw(u64::MAX)) << 64 | u128::from(self.draw(u64::MAX));
        let (now_us, locality_bits) = (self.clocks(node).wall as i64, self.locality_bits());
        let env = Env { now_us, random, me: self.id(node), user: self.user(node), locality_bits };
        let asking = Asking::new(statement, Vec::new(), env, definitions);
        let mut ask = Ask { node, asking, deadline_us, open: Vec::new(), begun_us: self.now_us() };
        self.issue(&mut ask, definitions);
        ask
    }

    /// Runs until all statements are over or `limit_us` passed; their results in the same order.
    pub fn answers(
        &mut self,
        mut asks: Vec<Ask>,
        definitions: &mut Definitions,
        limit_us: u64,
    ) -> Vec<Result<QueryResult, Error>> {
        let limit = self.now_us() + limit_us;
        while asks.iter().any(|ask| !ask.open.is_empty()) && self.now_us() < limit {
            let open: Vec<CallId> = asks.iter().flat_map(|ask| ask.open.iter().map(|(_, call)| *call)).collect();
            let mut answers = self.wait(&open, limit - self.now_us()).into_iter();
            for ask in &mut asks {
                ask.asking.at(self.now_us() - ask.begun_us);
                for ((need, _), answer) in core::mem::take(&mut ask.open).into_iter().zip(&mut answers) {
                    match answer {
                        Some(Ok(Reply::Keys(outcomes, cost))) => {
                            ask.asking.on_ops(definitions, need, outcomes, cost);
                        }
                        Some(Ok(Reply::Gathered(partial, end))) => {
                            ask.asking.on_gathered(definitions, need, *partial, end);
                        }
                        Some(Ok(Reply::Agreed(agreed))) => ask.asking.on_agreed(definitions, need, agreed),
                        // What it needs does not come: it never ends, which counts as unreachable.
                        _ => {}
                    }
                }
                self.issue(ask, definitions);
            }
        }
        asks.iter_mut().map(|ask| ask.asking.finished().unwrap_or(Err(Error::Unreachable))).collect()
    }

    /// Ends a statement under way; the commands that are not answered yet.
    pub fn cancel(&mut self, ask: &mut Ask) -> Vec<CallId> {
        ask.asking.cancel();
        let open: Vec<CallId> = core::mem::take(&mut ask.open).into_iter().map(|(_, call)| call).collect();
        for call in &open {
            self.command(ask.node, Command::Cancel { call: *call });
        }
        open
    }

    /// Takes in what came of a statement under way, without running on; its result once it is over.
    pub fn look(&mut self, ask: &mut Ask, definitions: &mut Definitions) -> Option<Result<QueryResult, Error>> {
        ask.asking.at(self.now_us() - ask.begun_us);
        for (need, call) in core::mem::take(&mut ask.open) {
            match self.reply(call) {
                Some((_, Ok(Reply::Keys(outcomes, cost)))) => ask.asking.on_ops(definitions, need, outcomes, cost),
                Some((_, Ok(Reply::Gathered(partial, end)))) => {
                    ask.asking.on_gathered(definitions, need, *partial, end);
                }
                Some((_, Ok(Reply::Agreed(agreed)))) => ask.asking.on_agreed(definitions, need, agreed),
                Some((_, Err(error))) => return Some(Err(error)),
                Some((_, Ok(_))) => return Some(Err(Error::Unreachable)),
                None => ask.open.push((need, call)),
            }
        }
        self.issue(ask, definitions);
        ask.asking.finished()
    }

    fn issue(&mut self, ask: &mut Ask, definitions: &mut Definitions) {
        let deadline_us = ask.deadline_us;
        while let Some(need) = ask.asking.poll() {
            let (need, command) = match need {
                Need::Gather { need, fragment } if fragment.namespace() == PEERS => {
                    let snapshot = self.inspect(ask.node).map(|it| serde_json::to_string(&it).unwrap_or_default());
                    let (partial, end) = gathered_peers(&fragment, &snapshot.unwrap_or_default());
                    ask.asking.on_gathered(definitions, need, partial, end);
                    continue;
                }
                Need::Ops { need, ops } => (need, Command::Keys { ops, deadline_us }),
                Need::Gather { need, fragment } => {
                    (need, Command::Gather { fragment, except: Box::default(), deadline_us })
                }
                Need::Join { need, plan } => (need, Command::Join { plan, deadline_us }),
                Need::Agree { need, with } => (need, Command::Agree { with }),
            };
            ask.open.push((need, self.command(ask.node, command)));
        }
    }

    /// What the result of a statement under way will have of rows that have come of it since this was asked last.
    pub fn preview(&mut self, ask: &mut Ask) -> Vec<Row> {
        let mut rows = Vec::new();
        for (call, early) in self.take_early() {
            if let Some((need, _)) = ask.open.iter().find(|(_, open)| *open == call) {
                rows.extend(ask.asking.preview(*need, early).map(|result| result.rows).unwrap_or_default());
            }
        }
        rows
    }

    /// Starts one operation.
    pub fn start(&mut self, node: usize, op: KeyOp) -> CallId {
        self.command(node, keys(vec![op]))
    }
}
