//! Reads among hostile peers: a network that begins honest, and is loaded; then some of its peers turn hostile at once,
//! and all that was written is read by honest ones, plainly and verified.
//!
//! Hostile peers keep every record as it was before it was written a second time, and say so.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use pontoon_core::{
    CallId, Command, Reply,
    data::{Value, codec},
    sql::catalog::{self, TableDescriptor},
    store::{Action, KeyOp, Outcome, Record},
};

use crate::{
    ops::{keys, op, outcomes, put},
    sim::{Gang, Sim, SimConfig, Vice},
};

const SECOND_US: u64 = 1_000_000;
/// Who owns the table, and the node that acts for it: it stays honest.
const OWNER: (usize, u8) = (1, 1);
const OPEN: &str = "open";
/// Rows of one statement.
const ROWS_AT_ONCE: usize = 50;

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A row of a table that has an owner, written twice.
    Row,
    /// One that was removed.
    Removed,
    /// One that never was.
    Never,
    /// A record of a namespace that is open to everybody, written twice.
    Open,
}

/// What came of reads of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// What is so.
    pub right: usize,
    /// What is not.
    pub wrong: usize,
    /// No answer, and said so.
    pub refused: usize,
    /// Among those that are right, which named who said otherwise.
    pub outliers: usize,
    /// Peers named so that are honest.
    pub accused: usize,
}

impl Reads {
    /// How many.
    pub fn all(&self) -> usize {
        self.right + self.wrong + self.refused
    }
}

/// What reads came to, and what they cost.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// By what is read.
    pub reads: BTreeMap<Kind, Reads>,
    /// Messages of verified gets, each hop counted.
    pub messages: u64,
    /// Bytes of what has to do with calls, all of the network's while the reads ran.
    pub bytes: u64,
    /// How long each took, sorted.
    pub took_us: Vec<u64>,
}

impl Tally {
    /// Those of some kinds together.
    pub fn of(&self, kinds: &[Kind]) -> Reads {
        let chosen = self.reads.iter().filter(|(kind, _)| kinds.contains(kind)).map(|(_, reads)| reads);
        chosen.fold(Reads::default(), |all, reads| Reads {
            right: all.right + reads.right,
            wrong: all.wrong + reads.wrong,
            refused: all.refused + reads.refused,
            outliers: all.outliers + reads.outliers,
            accused: all.accused + reads.accused,
        })
    }
}

/// A loaded network, some of whose peers may be hostile.
pub struct Siege {
    /// The network.
    pub sim: Sim,
    /// The hostile ones.
    pub hostile: BTreeSet<usize>,
    rows: usize,
    table: TableDescriptor,
    loot: BTreeMap<(String, Vec<u8>), Record>,
    /// Values as they were written last.
    truth: BTreeMap<(String, Vec<u8>), Vec<u8>>,
}

impl Siege {
    /// An honest network with `rows` rows and as many open records.
    pub fn begin(config: SimConfig, rows: usize) -> Result<Siege, String> {
        let mut sim = Sim::new(config);
        sim.settle(300 * SECOND_US).map_err(|unsettled| unsettled.to_string())?;
        if !sim.act_for(OWNER.0, OWNER.1) {
            return Err("the owner has no session".to_owned());
        }
        let text = "CREATE TABLE kept (id INTEGER PRIMARY KEY, note TEXT)";
        sim.sql(OWNER.0, text).map_err(|error| error.to_string())?;
        let entry = catalog::entry("kept", sim.locality_bits(), Action::Get);
        let table = match sim.keys(OWNER.0, vec![entry]).remove(0) {
            Outcome::Found { value, .. } => TableDescriptor::decode(&value).map_err(|error| error.to_string())?,
            other => return Err(format!("the table's entry came to {other:?}")),
        };
        let mut siege =
            Siege { sim, hostile: BTreeSet::new(), rows, table, loot: BTreeMap::new(), truth: BTreeMap::new() };
        siege.write("old")?;
        siege.sim.run_for(5 * SECOND_US);
        siege.loot = siege.held();
        // What is signed again is signed later than the first requests were tried.
        siege.sim.run_for(40 * SECOND_US);
        siege.write("new")?;
        siege.sim.run_for(5 * SECOND_US);
        let held = siege.held().into_iter();
        siege.truth = held.filter_map(|(name, record)| Some((name, record.value?))).collect();
        let rows = siege.truth.keys().filter(|(namespace, _)| *namespace != OPEN).count();
        if rows != siege.rows - siege.rows.div_ceil(10) {
            return Err(format!("{rows} rows of {} are left", siege.rows));
        }
        Ok(siege)
    }

    /// Writes everything once: rows, of which the second time each tenth goes, and open records.
    fn write(&mut self, note: &str) -> Result<(), String> {
        let second = note == "new";
        let mut texts = Vec::new();
        for first in (0..self.rows).step_by(ROWS_AT_ONCE) {
            let ids = first..self.rows.min(first + ROWS_AT_ONCE);
            let values: Vec<String> = ids.map(|id| format!("({id}, '{note} {id}')")).collect();
            let conflict = if second { " ON CONFLICT (id) DO UPDATE SET note = excluded.note" } else { "" };
            texts.push(format!("INSERT INTO kept VALUES {}{conflict}", values.join(", ")));
        }
        texts.extend(second.then(|| "DELETE FROM kept WHERE id % 10 = 0".to_owned()));
        for text in texts {
            self.sim.sql(OWNER.0, &text).map_err(|error| error.to_string())?;
        }
        let ops = (0..self.rows).map(|id| put(OPEN, &open_key(id), format!("{note} {id}").as_bytes())).collect();
        let stored = self.sim.keys(OWNER.0, ops);
        match stored.iter().find(|outcome| !matches!(outcome, Outcome::Stored { .. })) {
            Some(other) => Err(format!("a write came to {other:?}")),
            None => Ok(()),
        }
    }

    /// The newest record of each key that somebody holds.
    fn held(&mut self) -> BTreeMap<(String, Vec<u8>), Record> {
        let namespaces = vec![self.table.namespace.clone(), OPEN.to_owned()];
        let scan = |node| (node, Command::LocalScan { namespaces: namespaces.clone() });
        let commands: Vec<_> = self.sim.live().into_iter().map(scan).collect();
        let calls: Vec<CallId> = commands.into_iter().map(|(node, command)| self.sim.command(node, command)).collect();
        let mut all: BTreeMap<_, Record> = BTreeMap::new();
        for answer in self.sim.wait(&calls, SECOND_US) {
            let Some(Ok(Reply::Records(records))) = answer else { continue };
            for record in records {
                let name = (record.namespace.clone(), record.key.clone());
                if all.get(&name).is_none_or(|other| other.version < record.version) {
                    all.insert(name, record);
                }
            }
        }
        all
    }

    /// Turns `percent` of the peers hostile, at once; each has one of the vices.
    pub fn turn(&mut self, percent: usize, vices: &[Vice]) {
        let wanted = self.sim.len() * percent / 100;
        while self.hostile.len() < wanted {
            let node = self.sim.draw(self.sim.len() as u64) as usize;
            if node != OWNER.0 {
                self.hostile.insert(node);
            }
        }
        let members = self.hostile.iter().map(|node| self.sim.id(*node)).collect();
        let gang = Arc::new(Gang { members, loot: self.loot.clone() });
        for (number, node) in self.hostile.iter().enumerate() {
            self.sim.turn_hostile(*node, vices[number % vices.len()], &gang);
        }
    }

    /// How many groups of rows have no honest member.
    pub fn lost_groups(&self) -> usize {
        let hostile: BTreeSet<_> = self.hostile.iter().map(|node| self.sim.id(*node)).collect();
        let certificates = self.sim.live().into_iter().flat_map(|node| self.sim.certificates(node));
        let mut lost: Vec<_> = certificates
            .filter(|(certificate, retired, _)| !retired && certificate.members.iter().all(|id| hostile.contains(id)))
            .map(|(certificate, ..)| certificate.name)
            .collect();
        lost.sort_unstable();
        lost.dedup();
        lost.len()
    }

    /// Everything is read once, each key by some honest peer.
    pub fn read(&mut self, action: &Action) -> Tally {
        let asked = self.asked();
        let counted = |sim: &Sim| {
            let names = ["verify.asked", "verify.answered", "verify.handed_on"];
            let messages: u64 = names.iter().map(|name| sim.counted_by_all(name)).sum();
            (messages, sim.counted_by_all("bytes_calls"))
        };
        let before = counted(&self.sim);
        let mut calls = Vec::new();
        for (_, read, _) in &asked {
            let node = self.honest();
            let read = KeyOp { action: action.clone(), ..read.clone() };
            calls.push((self.sim.command(node, keys(vec![read])), self.sim.now_us()));
            self.sim.run_for(10_000);
        }
        let limit = self.sim.now_us() + 60 * SECOND_US;
        while calls.iter().any(|(call, _)| !self.sim.answered(*call)) && self.sim.now_us() < limit {
            self.sim.run_for(SECOND_US / 10);
        }
        let after = counted(&self.sim);
        let mut tally = Tally { messages: after.0 - before.0, bytes: after.1 - before.1, ..Tally::default() };
        for ((call, since_us), (kind, _, truth)) in calls.into_iter().zip(&asked) {
            let reply = self.sim.reply(call);
            tally.took_us.extend(reply.as_ref().map(|(at_us, _)| at_us - since_us));
            let outcome = outcomes(reply.map(|(_, answer)| answer), 1).remove(0);
            let (found, outliers) = match outcome {
                Outcome::Found { value, .. } => (Some(Some(value)), Vec::new()),
                Outcome::Absent => (Some(None), Vec::new()),
                Outcome::Verified(verified) => (Some(verified.record.and_then(|it| it.value)), verified.outliers),
                _ => (None, Vec::new()),
            };
            let honest = |id| self.sim.index_of(id).is_none_or(|node| !self.hostile.contains(&node));
            let accused = outliers.iter().filter(|id| honest(id)).count();
            let reads = tally.reads.entry(*kind).or_default();
            match found {
                None => reads.refused += 1,
                Some(found) if found == *truth => {
                    reads.right += 1;
                    reads.outliers += usize::from(!outliers.is_empty());
                    reads.accused += accused;
                }
                Some(_) => reads.wrong += 1,
            }
        }
        tally.took_us.sort_unstable();
        tally
    }

    /// What is read, and what is so.
    fn asked(&self) -> Vec<(Kind, KeyOp, Option<Vec<u8>>)> {
        let row = |id: usize| {
            let key = codec::encode_key(&[Value::Integer(id as i64)]);
            KeyOp { locality_bits: self.table.locality_bits, ..op(&self.table.namespace, &key, Action::Get) }
        };
        // A row's columns are encoded by who wrote them: what is so is what was stored before anybody turned.
        let mut asked = Vec::new();
        for id in 0..self.rows {
            asked.push(match self.truth.get(&(self.table.namespace.clone(), row(id).key)) {
                Some(value) => (Kind::Row, row(id), Some(value.clone())),
                None => (Kind::Removed, row(id), None),
            });
            asked.push((Kind::Open, op(OPEN, &open_key(id), Action::Get), Some(format!("new {id}").into_bytes())));
        }
        asked.extend((self.rows..self.rows + self.rows / 5).map(|id| (Kind::Never, row(id), None)));
        asked
    }

    fn honest(&mut self) -> usize {
        loop {
            let node = self.sim.draw(self.sim.len() as u64) as usize;
            if !self.hostile.contains(&node) && self.sim.is_up(node) {
                return node;
            }
        }
    }
}

fn open_key(id: usize) -> Vec<u8> {
    format!("key {id}").into_bytes()
}
