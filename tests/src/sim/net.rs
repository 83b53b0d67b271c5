//! The network: dialling, WebRTC sessions whose descriptions travel through the overlay, and chunks on their way.
//!
//! A link's name tells its channel and end: `channel * 2 + end`.

use pontoon_core::{Id, Input, LinkId, Origin, SessionId};

use super::{
    Recorded, Sim,
    channel::{Channel, Item, Kind},
    config::{HEAVY_TAIL, Latency},
    event::Event,
    hash::mix,
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
    /// The channel, once the answer is here.
    pub channel: Option<usize>,
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

fn link(channel: usize, end: usize) -> LinkId {
    LinkId(channel as u64 * 2 + end as u64)
}

impl Sim {
    /// One way between two nodes.
    pub fn latency_us(&self, a: usize, b: usize) -> u64 {
        match self.config.latency {
            Latency::Fixed(us) => us,
            Latency::HeavyTailed => {
                let pair = mix(a.min(b) as u64, a.max(b) as u64);
                let ppm = (mix(mix(self.config.seed, 14), pair) % 1_000_000) as u32;
                let above = HEAVY_TAIL.iter().position(|(quantile, _)| *quantile > ppm).unwrap_or(1).max(1);
                let ((from, low), (to, high)) = (HEAVY_TAIL[above - 1], HEAVY_TAIL[above]);
                low + (high - low) * u64::from(ppm - from) / u64::from(to - from)
            }
        }
    }

    /// Whether two nodes are on different sides of a partition.
    pub(super) fn parted(&self, a: usize, b: usize) -> bool {
        self.sides.as_ref().is_some_and(|sides| sides.get(a) != sides.get(b))
    }

    pub(super) fn dial(&mut self, from: usize, address: String) {
        let life = self.hosts[from].life;
        let to =
            address.strip_prefix("sim://").and_then(|index| index.parse().ok()).filter(|to| *to < self.hosts.len());
        let Some(to) = to else {
            return self.queue.push(self.now_us, Event::input(from, life, Input::DialFailed { address }));
        };
        let latency = self.latency_us(from, to);
        if self.parted(from, to) || !self.is_up(to) {
            // A machine without the process says so at once; a network that is gone says nothing.
            let after = if self.parted(from, to) { DIAL_TIMEOUT_US } else { 2 * latency };
            return self.queue.push(self.now_us + after, Event::input(from, life, Input::DialFailed { address }));
        }
        let ends = [(from, life), (to, self.hosts[to].life)];
        let channel = self.new_channel(Channel::new(ends, Kind::Dialled { address }, latency));
        self.queue.push(self.now_us + latency, Event::Open { channel, end: 1 });
        self.queue.push(self.now_us + 2 * latency, Event::Open { channel, end: 0 });
    }

    fn new_channel(&mut self, channel: Channel) -> usize {
        let index = self.channels.len();
        for end in channel.ends {
            self.hosts[end.node].channels.push(index);
        }
        self.channels.push(channel);
        index
    }

    /// An end opens, if both nodes still live; the end that opens last tells of failure otherwise.
    pub(super) fn open(&mut self, channel: usize, end: usize) {
        let ends = self.channels[channel].ends;
        let alive =
            |end: usize| self.hosts[ends[end].node].node.is_some() && self.hosts[ends[end].node].life == ends[end].life;
        let (node, life) = (ends[end].node, ends[end].life);
        let fine = alive(0) && alive(1) && !self.parted(ends[0].node, ends[1].node);
        match &self.channels[channel].kind {
            Kind::Dialled { address } => {
                let address = address.clone();
                if fine && (end == 1 || ends[1].open) {
                    self.channels[channel].ends[end].open = true;
                    self.stats.dialled += u64::from(end == 0);
                    let origin = if end == 0 { Origin::Dialled { address } } else { Origin::Accepted };
                    self.feed(node, life, Input::LinkUp { link: link(channel, end), origin });
                } else if end == 0 {
                    self.feed(node, life, Input::DialFailed { address });
                }
            }
            Kind::Rtc(sessions) => {
                // Both ends open in one event each; the second sees what became of the first.
                let sessions = *sessions;
                let known = |end: usize| self.hosts[ends[end].node].sessions.contains_key(&sessions[end]);
                if fine && known(end) && (ends[1 - end].open || known(1 - end)) {
                    self.hosts[node].sessions.remove(&sessions[end]);
                    self.channels[channel].ends[end].open = true;
                    self.stats.rtc += u64::from(end == 0);
                    self.hosts[node].rtc_opened += 1;
                    let origin = Origin::Rtc { session: sessions[end] };
                    self.feed(node, life, Input::LinkUp { link: link(channel, end), origin });
                } else if known(end) {
                    self.rtc_fail(node, sessions[end], 0);
                }
            }
        }
    }

    pub(super) fn rtc_open(&mut self, index: usize, session: SessionId, _peer: Id, initiator: bool) {
        let host = &mut self.hosts[index];
        host.sessions.insert(session, Session { initiator, channel: None });
        if !host.direct {
            return self.rtc_fail(index, session, 0);
        }
        if initiator {
            let offer = Description { offer: true, node: index, life: host.life, session };
            let input = Input::RtcSignal { session, payload: offer.encode() };
            self.queue.push(self.now_us + DESCRIBE_US, Event::input(index, host.life, input));
        }
    }

    fn rtc_fail(&mut self, index: usize, session: SessionId, after_us: u64) {
        let life = self.hosts[index].life;
        self.hosts[index].sessions.remove(&session);
        let input = Input::RtcFailed { session, reason: "no connectivity".to_owned() };
        self.queue.push(self.now_us + after_us, Event::input(index, life, input));
    }

    pub(super) fn rtc_signal(&mut self, index: usize, session: SessionId, payload: &[u8]) {
        let nodes = self.hosts.len();
        let (life, direct) = (self.hosts[index].life, self.hosts[index].direct);
        let Some(mine) = self.hosts[index].sessions.get(&session) else { return };
        let Some(remote) = Description::decode(payload, nodes) else { return };
        if mine.channel.is_some() || mine.initiator == remote.offer || !direct {
            return;
        }
        if remote.offer {
            let answer = Description { offer: false, node: index, life, session };
            let input = Input::RtcSignal { session, payload: answer.encode() };
            return self.queue.push(self.now_us + DESCRIBE_US, Event::input(index, life, input));
        }
        if self.chance(self.config.rtc_fail_ppm) || self.parted(index, remote.node) {
            if self.hosts[remote.node].life == remote.life
                && self.hosts[remote.node].sessions.contains_key(&remote.session)
            {
                self.rtc_fail(remote.node, remote.session, RTC_TIMEOUT_US);
            }
            return self.rtc_fail(index, session, RTC_TIMEOUT_US);
        }
        let latency = self.latency_us(index, remote.node);
        let ends = [(index, life), (remote.node, remote.life)];
        let channel = self.new_channel(Channel::new(ends, Kind::Rtc([session, remote.session]), latency));
        for end in 0..2 {
            self.queue.push(self.now_us + 2 * latency, Event::Open { channel, end });
        }
        if let Some(mine) = self.hosts[index].sessions.get_mut(&session) {
            mine.channel = Some(channel);
        }
    }

    /// The node forgot the session: an attempt under way fails at the other end.
    pub(super) fn rtc_close(&mut self, index: usize, session: SessionId) {
        self.hosts[index].sessions.remove(&session);
    }

    /// The link of `node` at a channel, if it is open.
    pub(super) fn open_end(&self, channel: usize, node: usize) -> Option<LinkId> {
        let ends = &self.channels[channel].ends;
        let end = ends.iter().position(|end| end.node == node && end.life == self.hosts[node].life)?;
        ends[end].open.then(|| link(channel, end))
    }

    pub(super) fn send(&mut self, from: usize, link: LinkId, bytes: Vec<u8>) {
        let (channel, end) = ((link.0 / 2) as usize, (link.0 % 2) as usize);
        if !self.channels.get(channel).is_some_and(|channel| channel.ends[end].node == from && channel.ends[end].open) {
            return;
        }
        self.stats.chunks += 1;
        self.stats.bytes += bytes.len() as u64;
        if let Some(recorded) = &mut self.recorded {
            recorded.push(Recorded { from, to: self.channels[channel].ends[1 - end].node, bytes: bytes.clone() });
        }
        self.pass(channel, 1 - end, Item::Bytes(bytes));
    }

    /// Puts something on its way to an end, behind everything that is on its way already.
    pub(super) fn pass(&mut self, channel: usize, to: usize, item: Item) {
        let spike = if self.chance(self.config.spike_ppm) { self.config.spike_us } else { 0 };
        let way = &mut self.channels[channel];
        let mut arrives = (self.now_us + way.latency_us + spike).max(way.arrives_after_us[to]);
        if let (Some(rate), Item::Bytes(bytes)) = (self.config.inbound_bits_per_s, &item) {
            let free = &mut self.hosts[way.ends[to].node].inbound_free_us;
            arrives = arrives.max(*free) + bytes.len() as u64 * 8_000_000 / rate.max(1);
            *free = arrives;
        }
        way.arrives_after_us[to] = arrives;
        self.queue.push(arrives, Event::Arrive { channel, to, item });
    }

    pub(super) fn arrive(&mut self, channel: usize, to: usize, item: Item) {
        let ends = self.channels[channel].ends;
        let stalled_until = self.channels[channel].stalled_until_us;
        let held = &self.channels[channel].held[to];
        if self.parted(ends[0].node, ends[1].node) || stalled_until > self.now_us || !held.is_empty() {
            if held.is_empty() && stalled_until > self.now_us {
                self.queue.push(stalled_until, Event::Release { channel, to });
            }
            return self.channels[channel].held[to].push_back(item);
        }
        self.hand_over(channel, to, item);
    }

    pub(super) fn release(&mut self, channel: usize, to: usize) {
        let ends = self.channels[channel].ends;
        if self.parted(ends[0].node, ends[1].node) || self.channels[channel].stalled_until_us > self.now_us {
            return;
        }
        for item in std::mem::take(&mut self.channels[channel].held[to]) {
            self.queue.push(self.now_us, Event::Arrive { channel, to, item });
        }
    }

    fn hand_over(&mut self, channel: usize, to: usize, item: Item) {
        let end = self.channels[channel].ends[to];
        if !end.open {
            return;
        }
        let link = link(channel, to);
        match item {
            Item::Bytes(bytes) => self.feed(end.node, end.life, Input::Chunk { link, bytes }),
            Item::Down => {
                self.forget(channel, to);
                self.feed(end.node, end.life, Input::LinkDown { link });
            }
        }
    }

    pub(super) fn close(&mut self, from: usize, link: LinkId) {
        let (channel, end) = ((link.0 / 2) as usize, (link.0 % 2) as usize);
        if self.channels.get(channel).is_some_and(|channel| channel.ends[end].node == from && channel.ends[end].open) {
            self.forget(channel, end);
            self.pass(channel, 1 - end, Item::Down);
        }
    }

    pub(super) fn forget(&mut self, channel: usize, end: usize) {
        self.channels[channel].ends[end].open = false;
        let node = self.channels[channel].ends[end].node;
        self.hosts[node].channels.retain(|index| *index != channel);
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
