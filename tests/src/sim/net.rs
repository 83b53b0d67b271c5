//! The network: dialling, WebRTC sessions whose descriptions travel through the overlay, and chunks on their way.
//!
//! What one node does to another travels as an event, and takes the latency between the two at least.

use pontoon_core::{Input, LinkId, Origin, SessionId};

use super::{
    channel::{End, Item, Kind},
    event::Event,
    host::Host,
    window::Turn,
};

/// Making a description takes a driver so long.
const DESCRIBE_US: u64 = 1_000;
/// Dialling somebody who does not answer at all fails after so long.
const DIAL_TIMEOUT_US: u64 = 10_000_000;
/// A WebRTC session without connectivity fails after so long.
const RTC_TIMEOUT_US: u64 = 10_000_000;
/// Bytes of a description, about what browsers make.
const DESCRIPTION_BYTES: usize = 600;

/// A WebRTC session of a driver.
#[derive(Debug, Default)]
pub struct Session {
    /// Whether this side makes the offer.
    pub initiator: bool,
    /// The channel, once there is one.
    pub channel: Option<LinkId>,
}

/// A description: whose session it describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Description {
    offer: bool,
    node: usize,
    life: u32,
    session: SessionId,
}

impl Description {
    fn encode(self) -> Vec<u8> {
        let mut bytes = vec![0; DESCRIPTION_BYTES];
        bytes[0] = u8::from(self.offer);
        bytes[1..5].copy_from_slice(&(self.node as u32).to_le_bytes());
        bytes[5..9].copy_from_slice(&self.life.to_le_bytes());
        bytes[9..17].copy_from_slice(&self.session.0.to_le_bytes());
        bytes
    }

    /// `None` for what no driver sent.
    fn decode(bytes: &[u8], nodes: usize) -> Option<Description> {
        let offer = *bytes.first()? == 1;
        let node = u32::from_le_bytes(bytes.get(1..5)?.try_into().ok()?) as usize;
        let life = u32::from_le_bytes(bytes.get(5..9)?.try_into().ok()?);
        let session = SessionId(u64::from_le_bytes(bytes.get(9..17)?.try_into().ok()?));
        (node < nodes).then_some(Description { offer, node, life, session })
    }
}

impl Host {
    /// Sends an event to a node, maybe itself.
    pub fn post(&mut self, turn: &Turn<'_>, to: usize, at_us: u64, event: Event) {
        let scheduled = self.caused(at_us, event);
        if to == self.index { self.queue.push(scheduled) } else { turn.world.post(to, scheduled) }
    }

    pub(super) fn dial(&mut self, turn: &mut Turn<'_>, address: String) {
        let Some(to) = self.resolve(turn, &address) else {
            return self.later(turn.now_us, self.told(Input::DialFailed { address }));
        };
        if turn.world.parted(self.index, to) {
            return self.later(turn.now_us + DIAL_TIMEOUT_US, self.told(Input::DialFailed { address }));
        }
        let latency = turn.world.config.latency_us(self.index, to);
        let theirs = self.new_end(End::new(to, None, Kind::Dialled { address }, latency));
        self.post(turn, to, turn.now_us + latency, Event::Dialled { theirs });
    }

    /// Whom an address names: a node, or any node.
    fn resolve(&mut self, turn: &Turn<'_>, address: &str) -> Option<usize> {
        let (name, nodes) = (address.strip_prefix("sim://")?, turn.world.len());
        if name != "any" {
            return name.parse().ok().filter(|to| *to < nodes);
        }
        // Who begins asks somebody who began before; who comes back may ask anybody.
        let others = if self.life == 0 { self.index } else { nodes - 1 };
        let to = (self.draw(&turn.world.config) % others.max(1) as u64) as usize;
        (others > 0).then_some(if to >= self.index { to + 1 } else { to })
    }

    fn told(&self, input: Input) -> Event {
        Event::Input { life: self.life, input: Box::new(input) }
    }

    /// Somebody dialled this node: a machine without the process says so at once, a network that is gone says nothing.
    pub(super) fn dialled(&mut self, turn: &mut Turn<'_>, from: usize, theirs: LinkId) {
        let latency = turn.world.config.latency_us(self.index, from);
        if turn.world.parted(from, self.index) || self.node.is_none() {
            let after = if self.node.is_none() { latency } else { DIAL_TIMEOUT_US };
            return self.post(turn, from, turn.now_us + after, Event::Answered { link: theirs, theirs: None });
        }
        let link = self.new_end(End::new(from, Some(theirs), Kind::Accepted, latency));
        self.post(turn, from, turn.now_us + latency, Event::Answered { link: theirs, theirs: Some(link) });
        turn.notes.stats.dialled += 1;
        self.up(turn, link, Origin::Accepted);
    }

    fn up(&mut self, turn: &mut Turn<'_>, link: LinkId, origin: Origin) {
        if let Some(end) = self.ends.get_mut(&link) {
            end.open = true;
            self.feed(turn, Input::LinkUp { link, origin });
        }
    }

    /// What became of a channel that this node began.
    pub(super) fn answered(&mut self, turn: &mut Turn<'_>, from: usize, link: LinkId, theirs: Option<LinkId>) {
        let Some(end) = self.ends.get_mut(&link) else {
            // Its life ended meanwhile.
            if let Some(theirs) = theirs {
                let after = turn.world.config.latency_us(self.index, from);
                self.post(turn, from, turn.now_us + after, Event::Arrive { link: theirs, item: Item::Down });
            }
            return;
        };
        end.theirs = theirs;
        let origin = match end.kind.clone() {
            Kind::Dialled { address } => Origin::Dialled { address },
            Kind::Rtc(session) => Origin::Rtc { session },
            Kind::Accepted => return,
        };
        match origin {
            Origin::Dialled { address } if theirs.is_none() => {
                self.ends.remove(&link);
                self.feed(turn, Input::DialFailed { address });
            }
            Origin::Rtc { session } if theirs.is_none() => {
                self.ends.remove(&link);
                self.rtc_failed(turn, session, self.life);
            }
            Origin::Rtc { session } if self.sessions.remove(&session).is_none() => self.shut(turn, link),
            origin => self.up(turn, link, origin),
        }
    }

    /// Begins a WebRTC session.
    pub(super) fn rtc_open(&mut self, turn: &mut Turn<'_>, session: SessionId, initiator: bool) {
        self.sessions.insert(session, Session { initiator, channel: None });
        if !self.direct {
            return self.later(turn.now_us, Event::RtcFailed { session, life: self.life });
        }
        if initiator {
            let offer = Description { offer: true, node: self.index, life: self.life, session };
            let input = Input::RtcSignal { session, payload: offer.encode() };
            self.later(turn.now_us + DESCRIBE_US, self.told(input));
        }
    }

    /// A session will not open.
    pub(super) fn rtc_failed(&mut self, turn: &mut Turn<'_>, session: SessionId, life: u32) {
        if self.life == life && self.sessions.remove(&session).is_some() {
            self.feed(turn, Input::RtcFailed { session, reason: "no connectivity".to_owned() });
        }
    }

    /// A description of the other side came through the overlay.
    pub(super) fn rtc_signal(&mut self, turn: &mut Turn<'_>, session: SessionId, payload: &[u8]) {
        let Some(mine) = self.sessions.get(&session) else { return };
        let Some(remote) = Description::decode(payload, turn.world.len()) else { return };
        if mine.channel.is_some() || mine.initiator == remote.offer || !self.direct {
            return;
        }
        if remote.offer {
            let answer = Description { offer: false, node: self.index, life: self.life, session };
            let input = Input::RtcSignal { session, payload: answer.encode() };
            return self.later(turn.now_us + DESCRIBE_US, self.told(input));
        }
        let (to, life) = (remote.node, remote.life);
        if self.chance(turn, turn.world.config.rtc_fail_ppm) || turn.world.parted(self.index, to) {
            let at_us = turn.now_us + RTC_TIMEOUT_US;
            self.post(turn, to, at_us, Event::RtcFailed { session: remote.session, life });
            return self.later(at_us, Event::RtcFailed { session, life: self.life });
        }
        let latency = turn.world.config.latency_us(self.index, to);
        let theirs = self.new_end(End::new(to, None, Kind::Rtc(session), latency));
        if let Some(mine) = self.sessions.get_mut(&session) {
            mine.channel = Some(theirs);
        }
        self.post(turn, to, turn.now_us + latency, Event::Connect { session: remote.session, life, theirs });
    }

    /// The other side knows both descriptions: both ends open after one more way.
    pub(super) fn connect(&mut self, turn: &mut Turn<'_>, from: usize, session: SessionId, life: u32, theirs: LinkId) {
        let latency = turn.world.config.latency_us(self.index, from);
        let known = self.life == life && self.sessions.get(&session).is_some_and(|mine| mine.channel.is_none());
        let link = known.then(|| self.new_end(End::new(from, Some(theirs), Kind::Rtc(session), latency)));
        self.post(turn, from, turn.now_us + latency, Event::Answered { link: theirs, theirs: link });
        if let Some(link) = link {
            if let Some(mine) = self.sessions.get_mut(&session) {
                mine.channel = Some(link);
            }
            self.later(turn.now_us + latency, Event::Open { link });
        }
    }

    /// A WebRTC channel that the other side began opens, unless this side forgot the session.
    pub(super) fn open_rtc(&mut self, turn: &mut Turn<'_>, link: LinkId) {
        let Some(End { kind: Kind::Rtc(session), .. }) = self.ends.get(&link) else { return };
        let session = *session;
        if self.sessions.remove(&session).is_none() {
            return self.shut(turn, link);
        }
        turn.notes.stats.rtc += 1;
        self.up(turn, link, Origin::Rtc { session });
    }

    pub(super) fn send(&mut self, turn: &mut Turn<'_>, link: LinkId, bytes: Vec<u8>) {
        let Some(peer) = self.ends.get(&link).filter(|end| end.open).map(|end| end.peer) else { return };
        self.record(turn, peer, &bytes);
        let world = turn.world;
        let config = &world.config;
        if self.chance(turn, config.break_ppm) {
            // Both ends learn of it: the other one in place of what was lost, this one after a while.
            let notice = self.draw(config) % config.notice_us.max(1);
            self.later(turn.now_us + notice, Event::Received { link, item: Item::Down });
            return self.pass(turn, link, 0, Item::Down);
        }
        let spike = if self.chance(turn, config.spike_ppm) { config.spike_us } else { 0 };
        self.pass(turn, link, spike, Item::Bytes(bytes));
    }

    /// Puts something on its way, behind everything that is on its way already.
    pub(super) fn pass(&mut self, turn: &mut Turn<'_>, link: LinkId, delay_us: u64, item: Item) {
        let Some(end) = self.ends.get_mut(&link) else { return };
        let Some(theirs) = end.theirs else { return };
        let (at_us, to) = ((turn.now_us + end.latency_us + delay_us).max(end.arrives_after_us), end.peer);
        end.arrives_after_us = at_us;
        self.post(turn, to, at_us, Event::Arrive { link: theirs, item });
    }

    pub(super) fn arrive(&mut self, turn: &mut Turn<'_>, link: LinkId, item: Item) {
        let Some(end) = self.ends.get_mut(&link) else { return };
        if turn.world.deaf(end.peer, self.index) || end.stalled_until_us > turn.now_us || !end.held.is_empty() {
            let (first, until) = (end.held.is_empty(), end.stalled_until_us);
            end.held.push_back(item);
            if first && until > turn.now_us {
                self.later(until, Event::Release { link });
            }
            return;
        }
        self.receive(turn, link, item);
    }

    pub(super) fn release(&mut self, turn: &mut Turn<'_>, link: LinkId) {
        let Some(end) = self.ends.get_mut(&link) else { return };
        if turn.world.deaf(end.peer, self.index) || end.stalled_until_us > turn.now_us {
            return;
        }
        for item in std::mem::take(&mut end.held) {
            self.receive(turn, link, item);
        }
    }

    /// Something is here, at the far end of the node's own line.
    fn receive(&mut self, turn: &mut Turn<'_>, link: LinkId, item: Item) {
        let at_us = self.received_us(turn, &item);
        if at_us > turn.now_us {
            return self.later(at_us, Event::Received { link, item });
        }
        self.hand_over(turn, link, item);
    }

    pub(super) fn hand_over(&mut self, turn: &mut Turn<'_>, link: LinkId, item: Item) {
        let Some(end) = self.ends.get(&link) else { return };
        match (item, end.open) {
            (Item::Bytes(bytes), true) => self.feed(turn, Input::Chunk { link, bytes }),
            (Item::Bytes(_), false) => {}
            (Item::Down, true) => {
                self.ends.remove(&link);
                self.feed(turn, Input::LinkDown { link });
            }
            (Item::Down, false) => {
                if let Some(End { kind: Kind::Rtc(session), .. }) = self.ends.remove(&link) {
                    self.rtc_failed(turn, session, self.life);
                }
            }
        }
    }

    pub(super) fn close(&mut self, turn: &mut Turn<'_>, link: LinkId) {
        if self.ends.get(&link).is_some_and(|end| end.open) {
            self.shut(turn, link);
        }
    }

    /// Tells the other end that nobody is here, and forgets this one.
    fn shut(&mut self, turn: &mut Turn<'_>, link: LinkId) {
        self.pass(turn, link, 0, Item::Down);
        self.ends.remove(&link);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_survives_its_encoding_and_junk_is_none() {
        let description = Description { offer: true, node: 7, life: 2, session: SessionId(9) };
        assert_eq!(Description::decode(&description.encode(), 8), Some(description));
        assert_eq!(Description::decode(&description.encode(), 7), None);
        assert_eq!(Description::decode(&[1, 2, 3], 8), None);
    }
}
