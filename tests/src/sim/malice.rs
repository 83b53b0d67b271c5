//! A hostile peer: a real node of whose words and ears a filter is. It keeps its links, its leases and its place, so
//! nobody takes it for dead; what others ask of it, or send past it, it drops, leads astray, or answers with lies.
//!
//! Hostile peers act together: they know of one another, tell the same lies, and have kept what was written before.

use std::{collections::BTreeMap, sync::Arc};

use pontoon_core::{
    Id, LinkId,
    crypto::Identity,
    dht::{
        Message,
        verified::answer::{Along, Answer, Ask, Held, Signed, Word},
    },
    id::nearest,
    overlay::{Dest, LinkFrame, Routed, Step},
    store::{KeyOp, Outcome, Record, Version},
    wire::{self, Body, Chunks, Contact, Frame},
};

use super::hash::mix;

/// What a hostile peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vice {
    /// It acknowledges what it should hand on or answer, and drops it.
    Drop,
    /// It hands on to the wrong peers.
    Misroute,
    /// It says that it holds nothing, whoever asks, in place of whom it likes.
    Hide,
    /// It says that it holds what was written before, as if it came last.
    RollBack,
    /// It says that it holds what nobody wrote.
    Forge,
}

impl Vice {
    /// All of them.
    pub const ALL: [Vice; 5] = [Vice::Drop, Vice::Misroute, Vice::Hide, Vice::RollBack, Vice::Forge];
}

/// What hostile peers have in common.
#[derive(Debug, Default)]
pub struct Gang {
    /// Who they are.
    pub members: Vec<Id>,
    /// Records as they were.
    pub loot: BTreeMap<(String, Vec<u8>), Record>,
}

/// An old record is said to be so much newer; members would refuse one that is far ahead of their clocks.
const LATER_US: u64 = 9 * 60 * 1_000_000;
/// Peers that do not exist, named in each answer.
const INVENTED: u64 = 12;
const FRAME_MAX: usize = 2 << 20;

/// One hostile peer's filter.
pub struct Malice {
    vice: Vice,
    gang: Arc<Gang>,
    me: Id,
    identity: Box<dyn Identity>,
    network: String,
    heard: BTreeMap<LinkId, Chunks>,
    draws: u64,
}

/// What becomes of what arrives.
#[derive(Debug, Default)]
pub struct Turned {
    /// Frames that the node hears.
    pub heard: Vec<Vec<u8>>,
    /// Frames that are said in its name, over the same link.
    pub said: Vec<Vec<u8>>,
}

impl Malice {
    /// That of a peer.
    pub fn new(vice: Vice, gang: Arc<Gang>, identity: Box<dyn Identity>, network: &str) -> Malice {
        let me = identity.id();
        Malice { vice, gang, me, identity, network: network.to_owned(), heard: BTreeMap::new(), draws: 0 }
    }

    /// A chunk arrives; `None`: the node hears it as it is.
    pub fn turn(&mut self, link: LinkId, chunk: &[u8]) -> Option<Turned> {
        let mut turned = Turned::default();
        let frames: Vec<_> = self.heard.entry(link).or_default().push(chunk, FRAME_MAX).collect();
        for bytes in frames {
            let bytes = bytes.ok()?;
            let Ok(frame) = wire::decode(&bytes) else { return None };
            let heard = self.act(frame, &mut turned.said);
            turned.heard.extend(heard.map(|frame| wire::encode_as(bytes[0], &frame)));
        }
        Some(turned)
    }

    /// What the node hears of a frame; what is said at once is put in `said`.
    fn act(&mut self, frame: Frame, said: &mut Vec<Vec<u8>>) -> Option<Frame> {
        match frame {
            Frame::Direct(Body::Dht(message)) => {
                let message = self.on_message(message, None, said)?;
                Some(Frame::Direct(Body::Dht(message)))
            }
            Frame::Routed(routed) => self.on_routed(routed, said),
            other => Some(other),
        }
    }

    /// What should go on to others, or was routed here.
    fn on_routed(&mut self, mut routed: Routed, said: &mut Vec<Vec<u8>>) -> Option<Frame> {
        let Body::Dht(message) = routed.body else { return Some(Frame::Routed(routed)) };
        let ack = Frame::Link(LinkFrame::HopAck { serial: routed.serial });
        let mine = matches!(routed.dest, Dest::Node { id, .. } if id == self.me);
        if self.vice == Vice::Misroute && !mine {
            let far = |id: Id| Id(id.0.map(|byte| !byte));
            routed.dest = match routed.dest {
                Dest::Key(key) => Dest::Key(far(key)),
                Dest::Node { id, .. } => Dest::Key(far(id)),
            };
            return Some(Frame::Routed(Routed { body: Body::Dht(message), ..routed }));
        }
        match self.on_message(message, Some(routed.origin), said) {
            Some(message) if mine || self.vice != Vice::Drop => {
                Some(Frame::Routed(Routed { body: Body::Dht(message), ..routed }))
            }
            _ => {
                said.push(wire::encode(&ack));
                None
            }
        }
    }

    fn on_message(&mut self, message: Message, origin: Option<Contact>, said: &mut Vec<Vec<u8>>) -> Option<Message> {
        match message {
            Message::Request { request, op, epoch } if op.action.reads() => match self.vice {
                Vice::Drop => None,
                Vice::Misroute => Some(Message::Request { request, op, epoch }),
                _ => {
                    let reply = Message::Reply { request, outcome: self.outcome(&op), epoch };
                    said.push(wire::encode(&self.to(origin, reply)));
                    None
                }
            },
            Message::Along(along) => self.on_along(*along, said),
            other => Some(other),
        }
    }

    fn on_along(&mut self, along: Along, said: &mut Vec<Vec<u8>>) -> Option<Message> {
        let Along { mut path, behind, word } = along;
        let ask = match (word, path.is_empty()) {
            (Word::Ask(ask), _) => ask,
            // It asked for this itself.
            (word @ Word::Answer(_), true) => return Some(Message::Along(Box::new(Along { path, behind, word }))),
            // What one that lies says, it lets pass.
            (word @ Word::Answer(_), false) => {
                let ally =
                    matches!(&word, Word::Answer(it) if it.read().is_some_and(|it| self.gang.members.contains(&it.0)));
                return ally.then(|| Message::Along(Box::new(Along { path, behind, word })));
            }
        };
        match self.vice {
            Vice::Drop => return None,
            Vice::Misroute if !path.is_empty() => {
                self.draws += 1;
                let wrong = mix(self.draws, u64::from(self.me.head())) as usize % self.gang.members.len().max(1);
                path = self.gang.members.get(wrong).copied().into_iter().collect();
                return Some(Message::Along(Box::new(Along { path, behind, word: Word::Ask(ask) })));
            }
            _ => {}
        }
        // Also in place of whoever is asked behind it: nobody else can sign for that one.
        let answer = Signed::new(&*self.identity, &self.network, &self.answer(&ask));
        // The way back begins at the link's other end, which has not named itself yet.
        let along = Along { path: behind.into_iter().rev().collect(), behind: Vec::new(), word: Word::Answer(answer) };
        said.push(wire::encode(&Frame::Direct(Body::Dht(Message::Along(Box::new(along))))));
        None
    }

    fn to(&mut self, origin: Option<Contact>, message: Message) -> Frame {
        let body = Body::Dht(message);
        let Some(to) = origin else { return Frame::Direct(body) };
        self.draws += 1;
        let number = mix(self.draws, u64::from(self.me.head()));
        let origin = Contact { id: self.me, relay: None, supernode: false, full: false };
        let dest = Dest::Node { id: to.id, via: to.relay };
        Frame::Routed(Routed { number, serial: number, origin, dest, hops: 0, step: Step::Free, body })
    }

    /// What it says to a get.
    fn outcome(&self, op: &KeyOp) -> Outcome {
        match self.lie(&op.namespace, &op.key, op.locality_bits) {
            Held::Record(record) => match record.value.clone() {
                Some(value) => Outcome::Found { value, version: record.version, expiry_us: record.expiry_us },
                None => Outcome::Absent,
            },
            Held::Nothing | Held::Outside => Outcome::Absent,
        }
    }

    fn lie(&self, namespace: &str, key: &[u8], locality_bits: u8) -> Held {
        let old = self.gang.loot.get(&(namespace.to_owned(), key.to_vec())).cloned();
        let record = match self.vice {
            Vice::RollBack => old.map(|old| Record { version: later(old.version, LATER_US), ..old }),
            Vice::Forge => Some(match old {
                Some(old) => {
                    Record { value: Some(b"forged".to_vec()), version: later(old.version, LATER_US + 1), ..old }
                }
                None => invented(namespace, key, locality_bits),
            }),
            Vice::Drop | Vice::Misroute | Vice::Hide => None,
        };
        record.map_or(Held::Nothing, |record| Held::Record(Box::new(record)))
    }

    fn answer(&self, ask: &Ask) -> Answer {
        let id = ask.id();
        let held = match self.vice {
            Vice::Misroute => Held::Outside,
            _ => self.lie(&ask.namespace, &ask.key, ask.locality_bits),
        };
        // Half of whom it invents the others name too.
        let whose = |number| if number % 2 == 0 { ask.request } else { u64::from(self.me.head()) };
        let mut near: Vec<Id> = (0..INVENTED).map(|number| close_to(&id, mix(number, whose(number)))).collect();
        near.extend(nearest(&self.gang.members, &id, 12));
        Answer { request: ask.request, id, held, near }
    }
}

fn later(version: Version, us: u64) -> Version {
    Version { wall_us: version.wall_us + us, ..version }
}

fn invented(namespace: &str, key: &[u8], locality_bits: u8) -> Record {
    Record {
        namespace: namespace.to_owned(),
        key: key.to_vec(),
        locality_bits,
        value: Some(b"forged".to_vec()),
        version: Version { wall_us: LATER_US, counter: 1, author: Id::hash(b"nobody") },
        parent: None,
        expiry_us: None,
        earlier: Vec::new(),
        proof: None,
    }
}

/// Nearer to an id than anybody who exists.
fn close_to(id: &Id, number: u64) -> Id {
    let mut close = *id;
    close.0[12..].copy_from_slice(&number.to_be_bytes());
    close
}
