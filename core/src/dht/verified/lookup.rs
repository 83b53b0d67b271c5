//! One verified get under way: whom its asker has met, on which ways, and what they said.
//!
//! The asker looks itself for the peers nearest to the key, many at once, on ways by different peers (Baumgart and Mies,
//! *S/Kademlia*, ICPADS 2007, section 4.4). A peer named by others is reached over those who named it; a hostile one is one
//! bad way among some. Who does not exist never answers, and who names many such is not followed any more.

use super::answer::{Answer, Ask, Held, NEAR_MAX, WAY_MAX};
use crate::{
    config::Config,
    id::{Id, nearest},
    map::{Map, Set},
    store::KeyOp,
};

/// Peers beside the group that must have said whom they know.
const BEAM: usize = 8;
/// Questions on their way at once.
const PARALLEL: usize = 16;
/// Peers met.
const MET_MAX: usize = 256;
/// Ways to one of them.
const WAYS_MAX: usize = 3;
/// Each of them is asked so often at least.
const ATTEMPTS: usize = 2;
/// Who named a peer is remembered of so many.
const NAMERS_MAX: usize = 16;
/// A peer is not followed any more of whose peers, of so many at least, most are silent.
const SILENT_MIN: usize = 4;
/// Questions in all.
const ASKS_MAX: usize = 512;

/// See the module.
pub struct Lookup {
    pub ticket: u64,
    pub op: KeyOp,
    pub id: Id,
    pub deadline_us: u64,
    /// How often it has begun anew.
    pub rounds: u32,
    /// Until when it rests before it begins anew.
    pub rests_until_us: u64,
    asks: usize,
    met: Map<Id, Met>,
}

#[derive(Default)]
struct Met {
    /// Peers between the asker and this one, nearest to the asker first.
    ways: Vec<Vec<Id>>,
    /// Who named it.
    named_by: Vec<Id>,
    linked: bool,
    attempts: usize,
    /// The last question is waited for until then.
    due_us: u64,
    said: Option<Held>,
}

impl Met {
    fn silent(&self, now_us: u64) -> bool {
        self.said.is_none() && self.due_us <= now_us && self.attempts >= self.ways.len().max(ATTEMPTS)
    }

    /// The way of the last question.
    fn way(&self) -> Option<&Vec<Id>> {
        self.ways.get(self.attempts.saturating_sub(1) % self.ways.len().max(1))
    }
}

impl Lookup {
    /// From the peers that the asker is linked to.
    pub fn new(ticket: u64, op: KeyOp, deadline_us: u64, linked: &[Id]) -> Lookup {
        let id = op.id();
        let met = |peer| (peer, Met { ways: vec![Vec::new()], linked: true, ..Met::default() });
        let met = nearest(linked, &id, MET_MAX / 2).into_iter().map(met).collect();
        Lookup { ticket, op, id, deadline_us, rounds: 0, rests_until_us: 0, asks: 0, met }
    }

    /// What the asker holds itself.
    pub fn own(&mut self, me: Id, held: Held) {
        self.met.insert(me, Met { linked: true, said: Some(held), ..Met::default() });
    }

    /// The question.
    pub fn ask(&self, request: u64) -> Ask {
        let KeyOp { namespace, locality_bits, key, .. } = &self.op;
        Ask { request, namespace: namespace.clone(), locality_bits: *locality_bits, key: key.clone() }
    }

    /// The nearest peers that answer or may yet, up to the last of so many who did.
    fn beam(&self, now_us: u64, replicas: usize) -> Vec<Id> {
        let discredited = self.discredited(now_us);
        let followed = |met: &Met| met.linked || met.named_by.iter().any(|namer| !discredited.contains(namer));
        let there = self.met.iter().filter(|(_, met)| met.said.is_some() || !met.silent(now_us) && followed(met));
        let mut near: Vec<(&Id, bool)> = there.map(|(peer, met)| (peer, met.said.is_some())).collect();
        near.sort_unstable_by_key(|(peer, _)| peer.distance(&self.id));
        let mut missing = replicas + BEAM;
        let within = near.into_iter().take_while(|(_, said)| {
            let within = missing > 0;
            missing = missing.saturating_sub(usize::from(*said));
            within
        });
        within.map(|(peer, _)| *peer).collect()
    }

    /// Those of whose peers most are silent.
    fn discredited(&self, now_us: u64) -> Set<Id> {
        let mut named: Map<Id, (usize, usize)> = Map::new();
        for met in self.met.values().filter(|met| met.said.is_some() || met.silent(now_us)) {
            for namer in &met.named_by {
                let (silent, tried) = named.entry(*namer).or_default();
                (*silent, *tried) = (*silent + usize::from(met.said.is_none()), *tried + 1);
            }
        }
        let bad = |(silent, tried): &(usize, usize)| *tried >= SILENT_MIN && 2 * silent > *tried;
        named.iter().filter(|(_, count)| bad(count)).map(|(namer, _)| *namer).collect()
    }

    /// Who is to be asked now: ways to them, each with its end, and how long to wait for an answer.
    pub fn due(&mut self, now_us: u64, config: &Config) -> Vec<(Vec<Id>, u64)> {
        let beam = self.beam(now_us, config.replicas);
        let mut under_way = self.met.values().filter(|met| met.said.is_none() && met.due_us > now_us).count();
        let mut due = Vec::new();
        for peer in beam {
            if under_way >= PARALLEL || self.asks >= ASKS_MAX {
                break;
            }
            let Some(met) = self.met.get_mut(&peer).filter(|met| met.said.is_none() && met.due_us <= now_us) else {
                continue;
            };
            met.attempts += 1;
            let mut way = met.way().cloned().unwrap_or_default();
            way.push(peer);
            let wait_us = config.rtt_initial_us * (1 + 2 * way.len() as u64);
            met.due_us = now_us + wait_us;
            (under_way, self.asks) = (under_way + 1, self.asks + 1);
            due.push((way, wait_us));
        }
        due
    }

    /// Whether everybody who is near has said something, or will not.
    pub fn settled(&self, now_us: u64, replicas: usize) -> bool {
        let said = |peer: &Id| self.met.get(peer).is_some_and(|met| met.said.is_some());
        self.asks >= ASKS_MAX || self.beam(now_us, replicas).iter().all(said)
    }

    /// Whether this peer was asked, and has not answered yet.
    pub fn waits_for(&self, peer: &Id) -> bool {
        self.met.get(peer).is_some_and(|met| met.attempts > 0 && met.said.is_none())
    }

    /// A peer's own word.
    pub fn heard(&mut self, me: &Id, from: Id, answer: Answer) {
        let Some(met) = self.met.get_mut(&from) else { return };
        met.said = Some(answer.held);
        let mut way = met.way().cloned().unwrap_or_default();
        way.push(from);
        for peer in answer.near.into_iter().take(NEAR_MAX).filter(|peer| peer != me && *peer != from) {
            if !self.met.contains_key(&peer) && !self.makes_room(&peer) {
                continue;
            }
            let met = self.met.entry(peer).or_default();
            if met.named_by.len() < NAMERS_MAX && !met.named_by.contains(&from) {
                met.named_by.push(from);
                if way.len() < WAY_MAX && met.ways.len() < WAYS_MAX && !way.contains(&peer) {
                    met.ways.push(way.clone());
                }
            }
        }
    }

    /// Whether there is room for one more, who is nearer than others that nothing is known of but a name.
    fn makes_room(&mut self, peer: &Id) -> bool {
        if self.met.len() < MET_MAX {
            return true;
        }
        let named_only = self.met.iter().filter(|(_, met)| met.attempts == 0 && met.said.is_none());
        let farthest = named_only.map(|(other, _)| *other).max_by_key(|other| other.distance(&self.id));
        let farthest = farthest.filter(|other| peer.distance(&self.id) < other.distance(&self.id));
        farthest.is_some_and(|other| self.met.remove(&other).is_some())
    }

    /// Begins anew, with those who answered.
    pub fn again(&mut self, me: &Id) {
        self.rounds += 1;
        self.asks = 0;
        for (_, met) in self.met.iter_mut().filter(|(peer, met)| *peer != me && met.said.is_some()) {
            (met.attempts, met.due_us, met.said) = (0, 0, None);
        }
    }

    /// Peers that exist: they have answered, or are linked, or half of those nearest to the key say so.
    pub fn known(&self, replicas: usize) -> Vec<Id> {
        let said: Vec<Id> = self.said().map(|(peer, _)| peer).collect();
        let near = nearest(&said, &self.id, replicas);
        let vouched = |met: &Met| 2 * met.named_by.iter().filter(|namer| near.contains(namer)).count() >= near.len();
        let there = |met: &Met| met.said.is_some() || met.linked || vouched(met);
        self.met.iter().filter(|(_, met)| there(met)).map(|(peer, _)| *peer).collect()
    }

    /// What was said, by whom.
    pub fn said(&self) -> impl Iterator<Item = (Id, &Held)> {
        self.met.iter().filter_map(|(peer, met)| Some((*peer, met.said.as_ref()?)))
    }
}
