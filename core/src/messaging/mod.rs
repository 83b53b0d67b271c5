//! The application's messages: to the owner of a key, to a node with a delivery report, to everybody.
//!
//! `send` and `sendNode` are retried until the receiver acknowledges or the deadline passes; the receiver remembers
//! names of messages, so that a retry is delivered once. `sendAll` is a task of the `spread` layer.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{
    ctx::Ctx,
    error::Error,
    id::Id,
    map::{Map, Set},
    node::{CallId, Output, Reply},
    wire::Contact,
};

const SEEN_MAX: usize = 4_096;
const RETRY_US: u64 = 1_000_000;

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
    /// No acknowledgement yet.
    Retry(u64),
}

#[derive(Clone, Debug)]
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
        if self.waiting.len() >= ctx.config.calls_max {
            ctx.output(Output::Reply { call, result: Err(Error::Overloaded) });
            return;
        }
        let number = ctx.serial();
        // Numbers begin anew when a node restarts; the wall clock keeps them apart from an earlier life's.
        let number = (ctx.now.wall << 12) ^ number;
        let until_us = ctx.now.mono + ctx.config.deadline_us;
        let message = Message::Payload { number, to_key, payload };
        self.waiting.insert(number, Waiting { call, to, message, until_us });
        self.attempt(ctx, number);
    }

    fn attempt(&mut self, ctx: &mut Ctx<'_>, number: u64) {
        let Some(waiting) = self.waiting.get(&number) else { return };
        let (to, message) = (waiting.to.clone(), waiting.message.clone());
        match to {
            To::Node(id) => ctx.send(id, message),
            To::Key(key) => ctx.route(key, message),
        }
        ctx.timer(RETRY_US, crate::node::Timer::Messaging(Timer::Retry(number)));
    }

    /// A timer fired.
    pub fn on_timer(&mut self, ctx: &mut Ctx<'_>, timer: Timer) {
        let Timer::Retry(number) = timer;
        let Some(waiting) = self.waiting.get(&number) else { return };
        if ctx.now.mono < waiting.until_us {
            self.attempt(ctx, number);
        } else if let Some(waiting) = self.waiting.remove(&number) {
            let error = match waiting.to {
                To::Node(id) => Error::NodeUnreachable(id),
                To::Key(_) => Error::Unreachable,
            };
            ctx.output(Output::Reply { call: waiting.call, result: Err(error) });
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
