//! A small replicated map: last writer wins by (wall clock, author); every peer holds all of it.
//!
//! A change floods over links: a peer that learns something new tells its linked peers once. A newcomer gets a
//! snapshot over each link that opens, and digests in between repair what a lost message left behind.

use core::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::{config::SECOND_US, ctx::Ctx, error::Error, id::Id, map::Map, node::Output};

const NAME_BYTES_MAX: usize = 256;
const VALUE_BYTES_MAX: usize = 4 * 1_024;
const DIGEST_US: u64 = 10 * SECOND_US;

/// One entry; `value` is `None` when it was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The value.
    pub value: Option<Vec<u8>>,
    /// Wall clock of the writer, microseconds, never behind what it knew.
    pub wall_us: u64,
    /// The writer.
    pub author: Id,
}

/// What carries globals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// Entries, new or for a newcomer.
    Entries(Vec<(String, Entry)>),
    /// A hash over all entries of the sender, who wants the receiver's if they differ.
    Digest(u64),
}

/// The map.
#[derive(Default)]
pub struct Globals {
    entries: Map<String, Entry>,
}

impl Globals {
    /// Begins the exchange of digests.
    pub fn start(&mut self, ctx: &mut Ctx<'_>) {
        ctx.timer(DIGEST_US, crate::node::Timer::Globals);
    }

    /// The value, as this node knows it.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.entries.get(name)?.value.as_deref()
    }

    /// All values.
    pub fn all(&self) -> impl Iterator<Item = (&String, &Vec<u8>)> {
        self.entries.iter().filter_map(|(name, entry)| Some((name, entry.value.as_ref()?)))
    }

    /// Sets or removes an entry.
    pub fn set(&mut self, ctx: &mut Ctx<'_>, links: &[Id], name: String, value: Option<Vec<u8>>) -> Result<(), Error> {
        if name.len() > NAME_BYTES_MAX || value.as_ref().is_some_and(|value| value.len() > VALUE_BYTES_MAX) {
            return Err(Error::Refused(crate::store::Refusal::TooLarge));
        }
        let old = self.entries.get(&name);
        if old.is_none() && self.entries.len() >= ctx.config.globals_max {
            return Err(Error::Refused(crate::store::Refusal::QuotaExceeded));
        }
        let wall_us = old.map_or(0, |entry| entry.wall_us + 1).max(ctx.now.wall);
        let entry = Entry { value, wall_us, author: ctx.me };
        self.take(ctx, links, None, vec![(name, entry)]);
        Ok(())
    }

    /// A link opened: the newcomer gets everything.
    pub fn on_peer_up(&mut self, ctx: &mut Ctx<'_>, peer: Id) {
        if !self.entries.is_empty() {
            ctx.send(peer, Message::Entries(self.snapshot()));
        }
    }

    /// Time to compare.
    pub fn on_timer(&mut self, ctx: &mut Ctx<'_>, siblings: &[Id]) {
        ctx.timer(DIGEST_US, crate::node::Timer::Globals);
        if let Some(peer) = siblings.first().filter(|_| !self.entries.is_empty()) {
            ctx.send(*peer, Message::Digest(self.digest()));
        }
    }

    /// A message of this layer arrived.
    pub fn on_message(&mut self, ctx: &mut Ctx<'_>, links: &[Id], from: Id, message: Message) {
        match message {
            Message::Entries(entries) => self.take(ctx, links, Some(from), entries),
            Message::Digest(digest) if digest != self.digest() => {
                ctx.send(from, Message::Entries(self.snapshot()));
            }
            Message::Digest(_) => {}
        }
    }

    fn take(&mut self, ctx: &mut Ctx<'_>, links: &[Id], from: Option<Id>, entries: Vec<(String, Entry)>) {
        let mut news = Vec::new();
        for (name, entry) in entries {
            let long = name.len() > NAME_BYTES_MAX || entry.value.as_ref().is_some_and(|v| v.len() > VALUE_BYTES_MAX);
            let absurd = entry.wall_us > ctx.now.wall.saturating_add(ctx.config.clock_skew_max_us);
            let known = self.entries.get(&name);
            let full = known.is_none() && self.entries.len() >= ctx.config.globals_max;
            if long || full || (absurd && from.is_some()) {
                ctx.count("globals_refused");
                continue;
            }
            if known.is_some_and(|known| (known.wall_us, known.author) >= (entry.wall_us, entry.author)) {
                continue;
            }
            ctx.output(Output::Global { name: name.clone(), value: entry.value.clone() });
            ctx.trace("global", "set", Some(entry.author), || name.clone());
            self.entries.insert(name.clone(), entry.clone());
            news.push((name, entry));
        }
        if !news.is_empty() {
            for link in links.iter().filter(|link| Some(**link) != from) {
                ctx.send(*link, Message::Entries(news.clone()));
            }
        }
    }

    fn snapshot(&self) -> Vec<(String, Entry)> {
        // 256 entries of at most 4 KiB exceed one frame; the newest fit, digests bring the rest.
        let mut bytes = 0;
        let newest_first: Map<(Reverse<u64>, &String), &Entry> =
            self.entries.iter().map(|(name, entry)| ((Reverse(entry.wall_us), name), entry)).collect();
        let fits = |((_, name), entry): &(&(_, &String), &&Entry)| {
            bytes += name.len() + entry.value.as_ref().map_or(0, Vec::len) + 64;
            bytes < 512 * 1_024
        };
        newest_first.iter().take_while(fits).map(|((_, name), entry)| ((*name).clone(), (*entry).clone())).collect()
    }

    fn digest(&self) -> u64 {
        self.entries.iter().fold(0, |sum, (name, entry)| {
            let hash = Id::hash(&[name.as_bytes(), &entry.wall_us.to_be_bytes(), &entry.author.0].concat()).0;
            sum ^ u64::from_be_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]])
        })
    }
}
