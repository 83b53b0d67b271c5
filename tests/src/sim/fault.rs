//! Faults: crashes and restarts, partitions, stalls, and machines that sleep.

use pontoon_core::{Config, Input, node::Node};

use super::{Sim, address, channel::Item, event::Event};

/// How the others learn of a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The channels close at the other ends within `notice_us` (a process that died on a living machine).
    Noticed,
    /// Nothing arrives any more; the channels themselves notice only after `silence_us` (a lid that was shut, a
    /// cable that was pulled).
    Silent,
}

impl Sim {
    /// Starts a node, or starts it again on what its disk holds.
    pub(super) fn boot(&mut self, index: usize) {
        if self.is_up(index) {
            return;
        }
        let config = Config {
            supernode: index == 0,
            founder: index == 0,
            supernodes: if index == 0 { Vec::new() } else { vec![address(0)] },
            direct_links: self.hosts[index].direct,
            ..self.config.core.clone()
        };
        let (identity, now_us) = (self.identity(index), self.now_us);
        let seed = self.secret(2 + (u64::from(self.hosts[index].life) << 8), index as u64);
        let host = &mut self.hosts[index];
        host.node = Some(Node::new(config, identity, seed, host.clock.at(now_us), host.disk.saved()));
        let life = host.life;
        self.feed(index, life, Input::Wake);
    }

    /// Kills a node: what it had in memory is gone, and so are batches that did not reach its disk.
    pub fn crash(&mut self, index: usize, how: Crash) {
        if !self.is_up(index) {
            return;
        }
        let kept = self.draw(self.hosts[index].disk.pending() as u64 + 1) as usize;
        for channel in self.end_life(index, kept) {
            let (notice, silence) = (self.config.notice_us, self.config.silence_us);
            let after = match how {
                Crash::Noticed => self.draw(notice),
                Crash::Silent => silence / 2 + self.draw(silence / 2),
            };
            self.down_after(channel, index, after);
        }
    }

    /// Ends a node that has left: its channels close, and everything on its disk is there.
    pub fn stop(&mut self, index: usize) {
        if self.is_up(index) {
            for channel in self.end_life(index, usize::MAX) {
                self.down_after(channel, index, 0);
            }
        }
    }

    /// Starts a dead node again on what its disk holds.
    pub fn restart(&mut self, index: usize) {
        self.queue.push(self.now_us, Event::Start { node: index });
    }

    /// Replaces a dead node's disk by an empty one.
    pub fn wipe(&mut self, index: usize) {
        if !self.is_up(index) {
            self.hosts[index].disk.wipe();
        }
    }

    /// The next `count` batches of a node fail.
    pub fn fail_disk(&mut self, index: usize, count: u32) {
        self.hosts[index].disk.failures_due += count;
    }

    /// Cuts the network in two: nodes for which `side` says true do not hear the others. Channels hold what is on
    /// its way, as TCP and SCTP do; dialling fails.
    pub fn partition(&mut self, side: impl Fn(usize) -> bool) {
        self.heal();
        self.sides = Some((0..self.hosts.len()).map(side).collect());
    }

    /// Ends the partition.
    pub fn heal(&mut self) {
        if self.sides.take().is_none() {
            return;
        }
        for channel in 0..self.channels.len() {
            for to in 0..2 {
                if !self.channels[channel].held[to].is_empty() {
                    let after = self.channels[channel].latency_us;
                    self.queue.push(self.now_us + after, Event::Release { channel, to });
                }
            }
        }
    }

    /// Stalls every channel between two nodes for so long; nothing is lost.
    pub fn stall(&mut self, a: usize, b: usize, us: u64) {
        for index in self.hosts[a].channels.clone() {
            let channel = &mut self.channels[index];
            if channel.ends.iter().any(|end| end.node == b) {
                channel.stalled_until_us = self.now_us + us;
            }
        }
    }

    /// Puts a machine to sleep: it handles nothing, and its channels stay open. With `clock_stops` its monotone clock
    /// stands still meanwhile, as some platforms' do.
    pub fn sleep(&mut self, index: usize, us: u64, clock_stops: bool) {
        if !self.hosts[index].asleep {
            self.hosts[index].asleep = true;
            let stood_still_us = if clock_stops { us } else { 0 };
            self.queue.push(self.now_us + us, Event::Resume { node: index, stood_still_us });
        }
    }

    pub(super) fn resume(&mut self, index: usize, stood_still_us: u64) {
        let host = &mut self.hosts[index];
        host.asleep = false;
        host.clock.slept_us += stood_still_us;
        // The wake that was due is stale where the clock stood still: the node will ask again.
        host.wake_us = self.now_us;
        let life = host.life;
        self.queue.push(self.now_us, Event::Wake { node: index, life });
        for event in std::mem::take(&mut self.hosts[index].backlog) {
            self.handle(event);
        }
    }

    /// The node is gone; its channels.
    fn end_life(&mut self, index: usize, kept: usize) -> Vec<usize> {
        let host = &mut self.hosts[index];
        host.node = None;
        host.life += 1;
        host.sessions.clear();
        host.wake_us = u64::MAX;
        host.disk.crash(kept);
        host.disk.busy_until_us = 0;
        std::mem::take(&mut host.channels)
    }

    /// The end of `channel` that is not at `index` learns after a while that nobody is there.
    fn down_after(&mut self, channel: usize, index: usize, after_us: u64) {
        let gone = usize::from(self.channels[channel].ends[1].node == index);
        self.channels[channel].ends[gone].open = false;
        let behind = &mut self.channels[channel].arrives_after_us[1 - gone];
        *behind = (self.now_us + after_us).max(*behind);
        self.pass(channel, 1 - gone, Item::Down);
    }
}
