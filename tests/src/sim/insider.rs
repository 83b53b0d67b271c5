//! Users, and what a peer says that runs another program than ours.

use std::sync::Arc;

use pontoon_core::{
    Command, Id, Input, LinkId, Reply,
    crypto::{Ed25519, Identity},
    group::Name,
    store::Version,
    trust::{Session, User},
    wire::{self, Body, Frame, Outgoing},
};

use super::{
    Sim,
    malice::{Gang, Malice, Vice},
};

const HOUR_US: u64 = 3_600_000_000;

/// The keys of a user of tests.
pub fn user_keys(number: u8) -> Ed25519 {
    Ed25519::from_seed(&[number; 32])
}

/// A user of tests.
pub fn user(number: u8) -> User {
    User(user_keys(number).public_key().try_into().unwrap_or_default())
}

impl Sim {
    /// For whom a node acts.
    pub fn user(&self, node: usize) -> Option<User> {
        self.world.host(node).node.as_ref().and_then(pontoon_core::node::Node::user)
    }

    /// A node's own keys.
    pub fn identity(&self, node: usize) -> Box<dyn Identity> {
        self.world.host(node).identity(&self.world.config)
    }

    /// A user's word that a node acts for it.
    pub fn session(&self, node: usize, user: u8) -> Option<Session> {
        let (now_us, network) = (self.clocks(node).wall, &self.world.config.core.network);
        let until_us = now_us + 24 * HOUR_US;
        Session::begin(&user_keys(user), network, &*self.identity(node), now_us - HOUR_US, until_us)
    }

    /// From now on a node acts for a user. False: it does not.
    pub fn act_for(&mut self, node: usize, user: u8) -> bool {
        let session = self.session(node, user);
        self.call(node, Command::ActFor { session }, HOUR_US) == Some(Ok(Reply::Done))
    }

    /// From now on, until it begins anew, a node acts for a user whose keys it has.
    pub fn act_with(&mut self, node: usize, user: u8) {
        if let Some(node) = &mut self.world.host(node).node {
            node.act_with(Box::new(user_keys(user)));
        }
    }

    /// One node says something to another, which it has a channel to, in its own name. False: it has none.
    pub fn say(&mut self, from: usize, to: usize, body: Body) -> bool {
        let chunk_bytes = self.world.config.core.chunk_bytes;
        let frame = wire::encode(&Frame::Direct(body));
        self.world.with(to, self.now_us, &mut self.notes, |host, turn| {
            let link = host.ends.iter().find(|(_, end)| end.open && end.peer == from).map(|(link, _)| *link);
            let mut outgoing = Outgoing::default();
            for chunk in wire::cut(&frame, chunk_bytes) {
                outgoing.push(link.unwrap_or(LinkId(0)), chunk, chunk_bytes);
            }
            for (link, bytes) in outgoing.take().into_iter().filter(|_| link.is_some()) {
                host.feed(turn, Input::Chunk { link, bytes });
            }
        });
        self.sort_notes();
        self.linked(from, to)
    }

    /// On how many disks there is this.
    pub fn disks_with(&self, part: &[u8]) -> usize {
        (0..self.len()).filter(|node| self.world.host(*node).disk.has(part)).count()
    }

    /// From now on a node is hostile, as one of a gang.
    pub fn turn_hostile(&mut self, node: usize, vice: Vice, gang: &Arc<Gang>) {
        let malice = Malice::new(vice, gang.clone(), self.identity(node), &self.world.config.core.network);
        self.world.host(node).turn_hostile(malice);
    }

    /// Whether two nodes have a channel between them.
    pub fn linked(&self, a: usize, b: usize) -> bool {
        self.world.host(b).ends.values().any(|end| end.open && end.peer == a)
    }

    /// The sum of a count over all nodes.
    pub fn counted_by_all(&self, name: &str) -> u64 {
        self.live().into_iter().map(|node| self.counted(node, name)).sum()
    }

    /// The fragment that a node owns and that an id lies in.
    pub fn fragment_of(&self, node: usize, id: &Id) -> Option<Name> {
        let me = self.id(node);
        let held = self.certificates(node).into_iter().map(|(certificate, ..)| certificate);
        held.filter(|it| it.owner == me && it.name.region.contains(id)).map(|it| it.name).max_by_key(|it| it.epoch)
    }

    /// The version of a key at a node, as its own or as a copy.
    pub fn version_at(&mut self, node: usize, namespace: &str, key: &[u8]) -> Option<Version> {
        let command = Command::LocalScan { namespaces: vec![namespace.to_owned()] };
        let Some(Ok(Reply::Records(records))) = self.call(node, command, HOUR_US) else { return None };
        records.into_iter().find(|record| record.key == key).map(|record| record.version)
    }

    /// The live node that owns an id, and those that keep it beside.
    pub fn holders(&self, id: &Id) -> Vec<usize> {
        let owner = self.owner_of(id);
        owner.into_iter().chain(owner.into_iter().flat_map(|owner| self.nearest(owner, 2))).collect()
    }
}
