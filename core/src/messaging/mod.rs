//! The application's messages: to the owner of a key, to a node with a delivery report, to everybody.
//!
//! `send` and `sendNode` are retried, ever more rarely, until the receiver acknowledges or the deadline passes, and at
//! once when a link to the receiver opens; the receiver remembers names of messages, so that a retry is delivered once.
//! Few messages to one destination are under way at first, one more for each that arrives, and few again when one is late
//! (slow start: Jacobson, *Congestion avoidance and control*, SIGCOMM 1988): one that is out of reach is not flooded when
//! it is back, and one that answers is sent as much as it takes in.
//! `sendAll` is a task of the `spread` layer.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{
    config::SECOND_US,
    ctx::Ctx,
    error::Error,
    id::Id,
    map::{Map, Set},
    node::{CallId, Output, Reply},
    wire::Contact,
};

const SEEN_MAX: usize = 4_096;
/// Before the first retry; doubled each time, but for the last bound.
const RETRY_US: u64 = SECOND_US;
const RETRY_DOUBLINGS_MAX: u32 = 3;
/// Beyond, how much destinations take in is forgotten of those that nothing is under way to.
const LANES_MAX: usize = 256;
/// Between two looks at what is late.
const CHECK_US: u64 = 10_000;

/// What carries an application message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// An application message.
    Payload {
        /// Unique at its sender.
        number: u64,
        /// Namespace and key, if it was sent to a key.
        to_key: Option<(String, Vec<u8>)>,
        /// The bytes.
        #[serde(with = "crate::wire::bytes")]
        payload: Vec<u8>,
    },
    /// It arrived.
    Delivered {
        /// Its number.
        number: u64,
    },
}

/// What this layer waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Timer {
    /// No acknowledgement yet: another attempt is due, or a deadline is over.
    Check,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum To {
    Node(Id),
    Key(Id),
}

#[derive(Debug)]
struct Waiting {
    call: CallId,
    to: To,
    message: Message,
    until_us: u64,
    /// Attempts so far; 0 while it waits for its turn.
    attempts: u32,
    /// The next attempt.
    retry_us: u64,
}

impl Waiting {
    fn due_us(&self) -> u64 {
        if self.attempts > 0 { self.until_us.min(self.retry_us) } else { self.until_us }
    }

    fn bytes(&self) -> usize {
        if let Message::Payload { payload, .. } = &self.message { payload.len() } else { 0 }
    }
}

/// The messages to one destination.
#[derive(Debug)]
struct Lane {
    /// So many may be under way.
    window: usize,
    flying: usize,
    flying_bytes: usize,
    /// Those that wait for their turn.
    queue: VecDeque<u64>,
}

/// Messages of one node that are under way, and names of those that arrived.
#[derive(Default)]
pub struct Messaging {
    waiting: Map<u64, Waiting>,
    lanes: Map<To, Lane>,
    /// When something may be late.
    check_us: Option<u64>,
    seen: Set<(Id, u64)>,
    order: VecDeque<(Id, u64)>,
}

impl Messaging {
    /// Sends to a node.
    pub fn send_node(&mut self, ctx: &mut Ctx<'_>, call: CallId, to: Id, payload: Vec<u8>) {
        self.send(ctx, call, To::Node(to), None, payload);
    }

    /// Sends to the owner of a key.
    pub fn send_key(&mut self, ctx: &mut Ctx<'_>, call: CallId, namespace: String, key: Vec<u8>, payload: Vec<u8>) {
        let id = Id::object(&namespace, &key, ctx.config.locality_bits);
        self.send(ctx, call, To::Key(id), Some((namespace, key)), payload);
    }

    fn send(&mut self, ctx: &mut Ctx<'_>, call: CallId, to: To, to_key: Option<(String, Vec<u8>)>, payload: Vec<u8>) {
        if payload.len() > ctx.config.value_bytes_max {
            let error = Error::Refused(crate::store::Refusal::TooLarge);
            ctx.output(Output::Reply { call, result: Err(error) });
            return;
        }
        let alike = self.lanes.get(&to).map_or(0, |lane| lane.flying + lane.queue.len());
        let limits = [
            (self.waiting.len(), "calls_max", ctx.config.calls_max),
            (alike, "messages_waiting_max", ctx.config.messages_waiting_max),
        ];
        if let Some((_, limit, max)) = limits.into_iter().find(|(now, _, max)| now >= max) {
            ctx.count("messages_refused");
            ctx.output(Output::Reply { call, result: Err(Error::Overloaded { limit, max }) });
            return;
        }
        // Numbers begin anew when a node restarts; the wall clock keeps them apart from an earlier life's.
        let number = (ctx.now.wall << 12).wrapping_add(ctx.serial());
        let until_us = ctx.now.mono + ctx.config.deadline_us;
        let message = Message::Payload { number, to_key, payload };
        self.waiting.insert(number, Waiting { call, to, message, until_us, attempts: 0, retry_us: 0 });
        let window = ctx.config.messages_in_flight_first;
        if self.lanes.len() >= LANES_MAX {
            self.lanes.retain(|_, lane| lane.flying > 0 || !lane.queue.is_empty());
        }
        let lane = Lane { window, flying: 0, flying_bytes: 0, queue: VecDeque::new() };
        self.lanes.entry(to).or_insert(lane).queue.push_back(number);
        self.check_at(ctx, until_us);
        self.next(ctx, to);
    }

    /// Sends the oldest messages to a destination that wait for their turn, as many as may be under way.
    fn next(&mut self, ctx: &mut Ctx<'_>, to: To) {
        while let Some(lane) = self.lanes.get_mut(&to)
            && let Some(number) = lane.queue.front().copied()
        {
            let Some(waiting) = self.waiting.get(&number) else { return };
            // What is too late is about to be told so.
            if ctx.now.mono >= waiting.until_us {
                return;
            }
            let bytes = waiting.bytes();
            let full = lane.flying > 0 && lane.flying_bytes + bytes > ctx.config.messages_bytes_max;
            if full || lane.flying >= lane.window {
                return;
            }
            lane.queue.pop_front();
            lane.flying += 1;
            lane.flying_bytes += bytes;
            self.attempt(ctx, number);
        }
    }

    fn attempt(&mut self, ctx: &mut Ctx<'_>, number: u64) {
        let Some(waiting) = self.waiting.get_mut(&number) else { return };
        waiting.retry_us = ctx.now.mono + (RETRY_US << waiting.attempts.min(RETRY_DOUBLINGS_MAX));
        waiting.attempts += 1;
        let (message, due_us) = (waiting.message.clone(), waiting.due_us());
        match waiting.to {
            To::Node(id) => ctx.send(id, message),
            To::Key(key) => ctx.route(key, message),
        }
        ctx.count("messages_sent");
        self.check_at(ctx, due_us);
    }

    /// A message waits no more.
    fn take(&mut self, number: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&number)?;
        let lane = self.lanes.get_mut(&waiting.to)?;
        if waiting.attempts > 0 {
            lane.flying -= 1;
            lane.flying_bytes -= waiting.bytes();
        } else {
            lane.queue.retain(|other| *other != number);
        }
        Some(waiting)
    }

    /// A link to a peer opened: what is under way to it goes that way, at once.
    pub fn on_peer_up(&mut self, ctx: &mut Ctx<'_>, peer: Id) {
        let flying = self.waiting.iter_mut().filter(|(_, it)| it.to == To::Node(peer) && it.attempts > 0);
        let numbers: Vec<u64> = flying.map(|(number, waiting)| (waiting.attempts = 1, *number).1).collect();
        numbers.into_iter().for_each(|number| self.attempt(ctx, number));
    }

    /// Something may be late at that time: one timer is under way for all, or some more where one was to be earlier.
    fn check_at(&mut self, ctx: &mut Ctx<'_>, at_us: u64) {
        if self.check_us.is_none_or(|check_us| at_us < check_us) {
            self.check_us = Some(at_us);
            ctx.timer(at_us.saturating_sub(ctx.now.mono), crate::node::Timer::Messaging(Timer::Check));
        }
    }

    /// A timer fired.
    pub fn on_timer(&mut self, ctx: &mut Ctx<'_>, Timer::Check: Timer) {
        if self.check_us.is_none_or(|check_us| ctx.now.mono < check_us) {
            return;
        }
        self.check_us = None;
        let late = self.waiting.iter().filter(|(_, waiting)| waiting.due_us() <= ctx.now.mono);
        let late: Vec<u64> = late.map(|(number, _)| *number).collect();
        late.into_iter().for_each(|number| self.late(ctx, number));
        if let Some(due_us) = self.waiting.values().map(Waiting::due_us).min() {
            self.check_at(ctx, due_us.max(ctx.now.mono + CHECK_US));
        }
    }

    fn late(&mut self, ctx: &mut Ctx<'_>, number: u64) {
        let Some(waiting) = self.waiting.get(&number) else { return };
        let to = waiting.to;
        if ctx.now.mono < waiting.until_us {
            if let Some(lane) = self.lanes.get_mut(&to) {
                lane.window = ctx.config.messages_in_flight_first;
            }
            self.attempt(ctx, number);
        } else if let Some(waiting) = self.take(number) {
            let error = match to {
                To::Node(id) => Error::NodeUnreachable(id),
                To::Key(_) => Error::Unreachable,
            };
            ctx.output(Output::Reply { call: waiting.call, result: Err(error) });
            self.next(ctx, to);
        }
    }

    /// A message of this layer arrived.
    pub fn on_message(&mut self, ctx: &mut Ctx<'_>, from: Contact, message: Message) {
        match message {
            Message::Payload { number, to_key, payload } => {
                ctx.send_via(from.id, from.relay, Message::Delivered { number });
                if self.first_time(from.id, number) {
                    ctx.trace("message", "received", Some(from.id), || format!("{} bytes", payload.len()));
                    ctx.output(Output::Message { from: from.id, to_key, payload });
                }
            }
            Message::Delivered { number } => {
                let Some(waiting) = self.take(number) else { return };
                ctx.output(Output::Reply { call: waiting.call, result: Ok(Reply::Delivered(from.id)) });
                if let Some(lane) = self.lanes.get_mut(&waiting.to).filter(|_| waiting.attempts == 1) {
                    lane.window = ctx.config.messages_waiting_max.min(lane.window + 1);
                }
                self.next(ctx, waiting.to);
            }
        }
    }

    /// Whether a message of this name did not arrive before.
    pub fn first_time(&mut self, from: Id, number: u64) -> bool {
        if !self.seen.insert((from, number)) {
            return false;
        }
        self.order.push_back((from, number));
        if self.order.len() > SEEN_MAX
            && let Some(old) = self.order.pop_front()
        {
            self.seen.remove(&old);
        }
        true
    }
}
