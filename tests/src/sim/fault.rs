//! Faults: crashes and restarts, partitions, stalls, and machines that sleep.

use super::{Sim, channel::Item, event::Event, window::World};

/// How the others learn of a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The channels close at the other ends within `notice_us` (a process that died on a living machine).
    Noticed,
    /// Nothing arrives any more; the channels themselves notice only after `silence_us` (a lid that was shut, a
    /// cable that was pulled).
    Silent,
}

/// A partition: nodes on different sides do not hear one another, or one side does.
#[derive(Clone, Debug)]
pub struct Cut {
    side: Vec<bool>,
    /// Whether the side `false` still hears the side `true`.
    one_way: bool,
}

impl World {
    /// Whether what `from` says does not reach `to`.
    pub fn deaf(&self, from: usize, to: usize) -> bool {
        self.cut.as_ref().is_some_and(|cut| {
            let side = |node: usize| cut.side.get(node).copied().unwrap_or_default();
            side(from) != side(to) && !(cut.one_way && side(from))
        })
    }

    /// Whether two nodes cannot both hear one another.
    pub fn parted(&self, a: usize, b: usize) -> bool {
        self.deaf(a, b) || self.deaf(b, a)
    }
}

impl Sim {
    /// Kills a node: what it had in memory is gone, and so are batches that did not reach its disk.
    pub fn crash(&mut self, index: usize, how: Crash) {
        if !self.is_up(index) {
            return;
        }
        let pending = self.world.host(index).disk.pending() as u64;
        let kept = self.draw(pending + 1) as usize;
        self.end_life(index, kept, Some(how));
    }

    /// Ends a node that has left: its channels close, and everything on its disk is there.
    pub fn stop(&mut self, index: usize) {
        if self.is_up(index) {
            self.end_life(index, usize::MAX, None);
        }
    }

    /// The node is gone; the other ends of its channels learn of it after a while.
    fn end_life(&mut self, index: usize, kept: usize, how: Option<Crash>) {
        let (notice, silence) = (self.world.config.notice_us, self.world.config.silence_us);
        let ends = self.world.host(index).end_life(kept);
        for end in ends.into_values() {
            let after = match how {
                None => 0,
                Some(Crash::Noticed) => self.draw(notice),
                Some(Crash::Silent) => silence / 2 + self.draw(silence / 2),
            };
            // An end that is not known to the other side yet is answered when that side speaks.
            let Some(link) = end.theirs else { continue };
            let at_us = (self.now_us + end.latency_us + after).max(end.arrives_after_us);
            let scheduled = self.world.host(index).caused(at_us, Event::Arrive { link, item: Item::Down });
            self.world.post(end.peer, scheduled);
        }
    }

    /// Starts a dead node again on what its disk holds.
    pub fn restart(&mut self, index: usize) {
        self.restart_after(index, 0);
    }

    /// Starts a dead node again after a while.
    pub fn restart_after(&mut self, index: usize, after_us: u64) {
        self.world.later(index, self.now_us + after_us, Event::Start);
    }

    /// Replaces a dead node's disk by an empty one.
    pub fn wipe(&mut self, index: usize) {
        if !self.is_up(index) {
            self.world.host(index).disk.wipe();
        }
    }

    /// Makes a dead node somebody else: another key, another id, an empty disk.
    pub fn renew(&mut self, index: usize) {
        if !self.is_up(index) {
            let mut host = self.world.host(index);
            host.disk.wipe();
            host.incarnation += 1;
            host.id = host.identity(&self.world.config).id();
        }
    }

    /// The next `count` batches of a node fail.
    pub fn fail_disk(&mut self, index: usize, count: u32) {
        self.world.host(index).disk.failures_due += count;
    }

    /// Cuts the network in two: nodes for which `side` says true do not hear the others. Channels hold what is on
    /// its way, as TCP and SCTP do; dialling fails.
    pub fn partition(&mut self, side: impl Fn(usize) -> bool) {
        self.heal();
        self.world.cut = Some(Cut { side: (0..self.len()).map(side).collect(), one_way: false });
    }

    /// Cuts one way only: nodes for which `deaf` says true do not hear the others, but are heard.
    pub fn deafen(&mut self, deaf: impl Fn(usize) -> bool) {
        self.heal();
        self.world.cut = Some(Cut { side: (0..self.len()).map(deaf).collect(), one_way: true });
    }

    /// Ends the partition.
    pub fn heal(&mut self) {
        if self.world.cut.take().is_none() {
            return;
        }
        for index in 0..self.len() {
            let host = self.world.host(index);
            let holding = host.ends.iter().filter(|(_, end)| !end.held.is_empty());
            let due: Vec<_> = holding.map(|(link, end)| (*link, self.now_us + end.latency_us)).collect();
            drop(host);
            for (link, at_us) in due {
                self.world.later(index, at_us, Event::Release { link });
            }
        }
    }

    /// Stalls every channel between two nodes for so long; nothing is lost.
    pub fn stall(&mut self, a: usize, b: usize, us: u64) {
        for (index, other) in [(a, b), (b, a)] {
            for end in self.world.host(index).ends.values_mut().filter(|end| end.peer == other) {
                end.stalled_until_us = self.now_us + us;
            }
        }
    }

    /// Puts a machine to sleep: it handles nothing, and its channels stay open. With `clock_stops` its monotone clock
    /// stands still meanwhile, as some platforms' do.
    pub fn sleep(&mut self, index: usize, us: u64, clock_stops: bool) {
        let asleep = std::mem::replace(&mut self.world.host(index).asleep, true);
        if !asleep {
            let stood_still_us = if clock_stops { us } else { 0 };
            self.world.later(index, self.now_us + us, Event::Resume { stood_still_us });
        }
    }
}
