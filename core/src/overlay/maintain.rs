//! The tick: dialling, probes, suspicion, finding peers, opening, upgrading and pruning links.

use chacha20::rand_core::Rng as _;

use crate::{
    config::SECOND_US,
    ctx::Ctx,
    id::Id,
    node::{LinkId, Output},
    overlay::{Event, Overlay, Timer, channel::Path, handshake::HELLO_AGAIN_US},
};

/// Between two looks; the groups' too, so that they fall together.
pub const TICK_US: u64 = SECOND_US / 2;
const HANDSHAKE_US: u64 = 10 * SECOND_US;
/// Between two looks for what is out of date.
const EXPIRE_US: u64 = 2 * SECOND_US;
/// While there are fewer links than siblings, a peer's address is dialled so often.
const ISLAND_US: u64 = 20 * SECOND_US;
/// A socket that is dialled again so soon after it ended is not left at once.
const LEFT_US: u64 = 60 * SECOND_US;
const JOIN_PATIENCE_US: u64 = 5 * SECOND_US;

/// A supernode's address.
#[derive(Debug, Default)]
pub struct Dial {
    busy: bool,
    reached: Option<Id>,
    /// An ordinary peer answers there: a way in, and nothing to hold on to.
    peer: bool,
    failures: u32,
    retry_us: u64,
    /// When it is dialled again although somebody was reached.
    again_us: u64,
    /// When the last socket to it ended, and how often in a row it was needed again soon after.
    ended_us: u64,
    returns: u32,
    /// The socket is not left for a data channel before.
    leave_due_us: u64,
}

impl Dial {
    pub(super) fn may_leave(&self, now_us: u64) -> bool {
        now_us >= self.leave_due_us
    }
}

impl Overlay {
    /// Begins: the first tick is at once.
    pub fn start(&mut self, ctx: &mut Ctx<'_>) {
        if ctx.config.supernode {
            self.joined = true;
            self.events.push_back(Event::Joined(true));
        }
        self.tick(ctx);
    }

    pub(super) fn tick(&mut self, ctx: &mut Ctx<'_>) {
        if self.leaving {
            return;
        }
        ctx.timer(TICK_US, crate::node::Timer::Overlay(Timer::Tick));
        self.dial(ctx);
        if ctx.now.mono >= self.expire_due_us {
            self.expire_due_us = ctx.now.mono + EXPIRE_US;
            self.expire_handshakes(ctx);
            self.expire_sessions(ctx);
            self.expire_table(ctx);
        }
        self.probe(ctx);
        self.progress(ctx);
        self.prune(ctx);
    }

    /// Whatever can be done next towards the links that this node wants.
    pub(super) fn progress(&mut self, ctx: &mut Ctx<'_>) {
        self.ask_around(ctx);
        self.open_wanted(ctx);
        self.upgrade(ctx);
        self.check_joined(ctx);
    }

    // Supernodes by address.

    fn dial(&mut self, ctx: &mut Ctx<'_>) {
        let few = self.peers.len() < ctx.config.siblings;
        // Those that it heard of it wants when it has no other.
        let more = self.home().is_none();
        let configured = ctx.config.supernodes.iter().map(|address| (address, true));
        for (address, wanted) in configured.chain(self.learnt.iter().map(|address| (address, more))) {
            let dial = self.dials.entry(address.clone()).or_default();
            let linked = dial.reached.and_then(|id| self.peers.get(&id)).is_some_and(|peer| peer.direct.is_some());
            let needed = wanted && (!dial.peer || !self.joined);
            let due = !dial.busy && !linked && needed && ctx.now.mono >= dial.retry_us;
            // Peers that began together may know nobody but each other: somebody else may answer at the address.
            let island = dial.peer && few && ctx.now.mono >= dial.again_us;
            if due || island {
                dial.busy = true;
                dial.again_us = ctx.now.mono + ISLAND_US;
                ctx.output(Output::Dial { address: address.clone() });
            }
        }
    }

    /// The driver heard of supernodes.
    pub(super) fn learn(&mut self, ctx: &Ctx<'_>, addresses: Vec<String>) {
        let configured = |address: &String| ctx.config.supernodes.contains(address);
        self.learnt =
            addresses.into_iter().filter(|it| !configured(it)).take(ctx.config.supernodes_learnt_max).collect();
        let known = |address: &String| configured(address) || self.learnt.contains(address);
        // Who is forgotten is not tried anew at once when it is told of again.
        self.dials.retain(|address, dial| dial.busy || known(address) || ctx.now.mono < dial.retry_us);
    }

    pub(super) fn dial_succeeded(&mut self, address: &str) {
        if let Some(dial) = self.dials.get_mut(address) {
            dial.failures = 0;
        }
    }

    /// This peer answers at the address.
    pub(super) fn dial_reached(&mut self, ctx: &Ctx<'_>, address: &str, id: Id, supernode: bool) {
        let (now, retry_us) = (ctx.now.mono, ctx.config.upgrade_retry_us);
        if let Some(dial) = self.dials.get_mut(address) {
            dial.reached = Some(id);
            dial.peer = !supernode;
            // A socket that is needed again so soon: what it was left for did not hold, or the supernode itself.
            let soon = dial.ended_us > 0 && now < dial.ended_us + LEFT_US;
            dial.leave_due_us = if soon { now + (retry_us << dial.returns.min(5)) } else { now };
            dial.returns = if soon { dial.returns + 1 } else { 0 };
        }
        self.find_anew(now);
    }

    pub(super) fn dial_failed(&mut self, ctx: &mut Ctx<'_>, address: &str) {
        let jitter = ctx.rng.next_u64() % (SECOND_US / 2);
        if let Some(dial) = self.dials.get_mut(address) {
            dial.busy = false;
            dial.retry_us = ctx.now.mono + ((SECOND_US / 2) << dial.failures.min(4)) + jitter;
            dial.failures += 1;
            ctx.trace("link", "dial-failed", None, || address.to_owned());
        }
    }

    pub(super) fn dial_lost(&mut self, ctx: &mut Ctx<'_>, address: &str) {
        if let Some(dial) = self.dials.get_mut(address) {
            dial.ended_us = ctx.now.mono;
        }
        self.dial_failed(ctx, address);
    }

    fn expire_handshakes(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now.mono;
        self.say_hellos_again(ctx, |channel| now > channel.since_us + HELLO_AGAIN_US);
        let late = |channel: &super::Channel| channel.peer.is_none() && ctx.now.mono > channel.since_us + HANDSHAKE_US;
        let links: Vec<LinkId> =
            self.channels.iter().filter(|(_, channel)| late(channel)).map(|(link, _)| *link).collect();
        let relayed: Vec<(Id, Option<Id>)> =
            self.relayed.iter().filter(|(_, channel)| late(channel)).map(|(id, channel)| (*id, channel.via)).collect();
        for link in links {
            ctx.count("handshakes_late");
            self.drop_channel(ctx, Path::Transport(link));
        }
        for (id, via) in relayed {
            ctx.count("handshakes_late");
            self.contact_failed(ctx, id);
            if let Some(via) = via {
                self.relayed_gone(ctx, id, via);
            }
        }
    }

    fn check_joined(&mut self, ctx: &mut Ctx<'_>) {
        if self.joined || !self.finds.own_answered || self.peers.is_empty() {
            return;
        }
        let nearest = self.contacts.keys().min_by_key(|id| id.distance(&self.me));
        let placed = nearest.is_none_or(|id| self.peers.contains_key(id));
        let patient = self.finds.linked_us.is_some_and(|since| ctx.now.mono < since + JOIN_PATIENCE_US);
        if placed || !patient {
            self.joined = true;
            ctx.trace("link", "joined", None, || format!("{} links", self.peers.len()));
            self.events.push_back(Event::Joined(true));
        }
    }
}
