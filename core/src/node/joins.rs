//! Joins: what the exchange layer wants of the others.

use super::{Node, NodeGround, Output, Reply, calls::Ticket, ctx, ground};
use crate::{
    ctx::{Ctx, Now},
    dht::Dht,
    error::Error,
    exchange::{self, Looked, Ways, Whose},
    exec::{FragmentPlan, GatherEnd, Partial},
    id::{Id, Region},
    overlay::{Overlay, Step},
    spread::Report,
    wire::Contact,
};

/// What exchanges need of the other layers.
pub(super) struct NodeWays<'a> {
    pub overlay: &'a Overlay,
    pub dht: &'a Dht,
    pub now: Now,
}

impl Ways for NodeWays<'_> {
    fn towards(&self, key: &Id, step: Step) -> Option<(Id, Step)> {
        self.overlay.towards(key, step)
    }

    fn contact(&self, ctx: &Ctx<'_>) -> Contact {
        self.overlay.contact(ctx)
    }

    fn linked(&self) -> usize {
        self.overlay.live().count()
    }

    fn record(&self, namespace: &str, key: &[u8], id: &Id) -> Option<Looked<'_>> {
        let owned = self.dht.owned(self.now);
        let (_, _, assumed_lost) = owned.iter().find(|(region, ..)| region.contains(id))?;
        let record = self.dht.record(namespace, key, self.now.wall);
        Some((record.and_then(|record| Some((record.value.as_deref()?, &record.version))), *assumed_lost))
    }
}

macro_rules! ways {
    ($node:expr) => {
        crate::node::joins::NodeWays { overlay: &$node.overlay, dht: &$node.dht, now: $node.now }
    };
}
pub(super) use ways;

impl Node {
    pub(super) fn exchange_event(&mut self, event: exchange::Event) {
        match event {
            exchange::Event::Gather { number, side, fragment, deadline_us } => {
                let whole = Region::namespace(fragment.namespace(), fragment.locality_bits());
                let ticket = self.ticket(Ticket::Side { number, side, whole });
                let work = self.query(&fragment);
                self.spread.start(&mut ctx!(self), &ground!(self), ticket, whole, &[], work, deadline_us);
            }
            exchange::Event::Join { whose, plan, deadline_us } => {
                self.exchanges.start(&mut ctx!(self), &ways!(self), whose, plan, deadline_us);
            }
            exchange::Event::Done { whose, partial, end } => match whose {
                Whose::Call(call) => self.query_over(call, Ok(Reply::Gathered(partial, *end))),
                Whose::Side { number, side } => self.side_done(number, side, *partial, *end),
            },
            exchange::Event::Over { number } => self.drop_sides(number),
            exchange::Event::Progress { call, rows, share, early } => {
                self.out.outputs.push_back(Output::Progress { call, rows, share, early });
            }
        }
    }

    pub(super) fn side_done(&mut self, number: u64, side: u8, answer: Partial, end: GatherEnd) {
        self.exchanges.side_done(&mut ctx!(self), &ways!(self), number, side, answer, end);
    }

    /// What an owner answers: rows that were wanted in buckets are sent there.
    pub(super) fn send_to_buckets(&mut self, plan: &FragmentPlan, mut partial: Partial) -> Result<Report, Error> {
        let Some(buckets) = plan.onward() else { return Ok(Report { partial, ..Report::default() }) };
        let batch = core::mem::take(&mut partial.batch);
        let (sent, bytes) = self.exchanges.send(&mut ctx!(self), &ways!(self), buckets, batch)?;
        let messages = sent.parcels.len() as u64;
        partial.sent = sent;
        Ok(Report { partial, messages, bytes, ..Report::default() })
    }
}
