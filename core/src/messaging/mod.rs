//! The application's messages: to the owner of a key, to a node with a delivery report, to everybody.
//!
//! `send` and `sendNode` are retried, ever more rarely, until the receiver acknowledges or the deadline passes, and at
//! once when a link to the receiver opens; the receiver remembers names of messages, so that a retry is delivered once.
//! Few messages to one destination are under way at a time: one that is out of reach is not flooded when it is back.
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
    /// No acknowledgement yet: another attempt is due, or the deadline is over.
    Retry(u64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
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
    retry_us: u64,
}

/// Messages of one node that are under way, and names of those that arrived.
#[derive(Default)]
pub struct Messaging {
    waiting: Map<u64, Waiting>,
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
        let alike = self.waiting.values().filter(|waiting| waiting.to == to).count();
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
        ctx.timer(ctx.config.deadline_us, crate::node::Timer::Messaging(Timer::Retry(number)));
        self.next(ctx, to);
    }

    /// Sends the oldest messages to a destination that wait for their turn, as many as may be under way.
    fn next(&mut self, ctx: &mut Ctx<'_>, to: To) {
        let (mut under_way, mut due) = (0, Vec::new());
        for (number, waiting) in &self.waiting {
            if waiting.to == to && waiting.attempts > 0 {
                under_way += 1;
            } else if waiting.to == to && ctx.now.mono < waiting.until_us {
                due.push(*number);
            }
        }
        due.truncate(ctx.config.messages_in_flight_max.saturating_sub(under_way));
        for number in due {
            self.attempt(ctx, number);
        }
    }

    fn attempt(&mut self, ctx: &mut Ctx<'_>, number: u64) {
        let Some(waiting) = self.waiting.get_mut(&number) else { return };
        let after_us = RETRY_US << waiting.attempts.min(RETRY_DOUBLINGS_MAX);
        waiting.attempts += 1;
        waiting.retry_us = ctx.now.mono + after_us;
        let message = waiting.message.clone();
        match waiting.to {
            To::Node(id) => ctx.send(id, message),
            To::Key(key) => ctx.route(key, message),
        }
        ctx.count("messages_sent");
        ctx.timer(after_us, crate::node::Timer::Messaging(Timer::Retry(number)));
    }

    /// A link to a peer opened: what is under way to it goes that way, at once.
    pub fn on_peer_up(&mut self, ctx: &mut Ctx<'_>, peer: Id) {
        for (number, waiting) in &mut self.waiting {
            if waiting.to == To::Node(peer) && waiting.attempts > 0 {
                waiting.attempts = 1;
                waiting.retry_us = ctx.now.mono;
                ctx.timer(0, crate::node::Timer::Messaging(Timer::Retry(*number)));
            }
        }
    }

    /// A timer fired.
    pub fn on_timer(&mut self, ctx: &mut Ctx<'_>, timer: Timer) {
        let Timer::Retry(number) = timer;
        let Some(waiting) = self.waiting.get(&number) else { return };
        if ctx.now.mono >= waiting.until_us {
            let (call, to) = (waiting.call, waiting.to);
            self.waiting.remove(&number);
            let error = match to {
                To::Node(id) => Error::NodeUnreachable(id),
                To::Key(_) => Error::Unreachable,
            };
            ctx.output(Output::Reply { call, result: Err(error) });
            self.next(ctx, to);
        } else if waiting.attempts > 0 && ctx.now.mono >= waiting.retry_us {
            self.attempt(ctx, number);
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
                if let Some(waiting) = self.waiting.remove(&number) {
                    ctx.output(Output::Reply { call: waiting.call, result: Ok(Reply::Delivered(from.id)) });
                    self.next(ctx, waiting.to);
                }
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
