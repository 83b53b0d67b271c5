//! Live queries: commands and tasks of watches, and what stands here.

use super::{CallId, Node, NodeGround, calls::Ticket, ctx, ground};
use crate::{
    ctx::Ctx,
    error::Error,
    exec::{Budget, FragmentPlan},
    group::Name,
    id::{Id, Region},
    live::{Message, Request, Timer},
    node::Reply,
    spread::Report,
    store::Record,
    trust::{Reader, Verdict},
};

impl Node {
    pub(super) fn watch(&mut self, call: CallId, fragment: &FragmentPlan, region: Option<Region>) {
        if !self.watches.room() {
            let max = crate::live::WATCHES_MAX;
            return self.reply(call, Err(Error::Overloaded { limit: "watches_max", max }));
        }
        let region = region.unwrap_or_else(|| Region::namespace(fragment.namespace(), fragment.locality_bits()));
        match self.watches.begin(&mut ctx!(self), call, fragment, region) {
            Some(watch) => {
                self.reply(call, Ok(Reply::Done));
                self.watch_on(watch);
            }
            None => self.reply(call, Err(Error::Invalid("a fragment that gives no plain rows".to_owned()))),
        }
    }

    pub(super) fn unwatch(&mut self, call: CallId, watch: CallId) {
        self.watches.end(watch);
        self.end_watches();
        self.reply(call, Ok(Reply::Done));
    }

    /// Starts the next task of a watch, if it is time.
    fn watch_on(&mut self, watch: u64) {
        let relay = self.overlay.contact(&ctx!(self)).relay;
        if let Some(start) = self.watches.start(&mut ctx!(self), relay, watch) {
            self.start_watching(start);
        }
    }

    /// Takes from their owners what has ended.
    fn end_watches(&mut self) {
        while let Some(start) = self.watches.poll() {
            self.start_watching(start);
        }
    }

    fn start_watching(&mut self, start: crate::live::Start) {
        let ticket = self.ticket(Ticket::Watch { watch: start.watch });
        let until_us = self.now.mono.saturating_add(start.for_us);
        let ground = ground!(self);
        self.spread.start(&mut ctx!(self), &ground, ticket, start.region, &start.except, start.work, until_us);
    }

    pub(super) fn watch_done(&mut self, watch: u64, report: Report) {
        if self.watches.on_report(&mut ctx!(self), watch, report) {
            self.watch_on(watch);
        }
        self.end_watches();
    }

    /// The part of a standing query that this node owns.
    pub(super) fn watch_leaf(&mut self, asker: Id, regions: &[Region], request: &Request) -> Report {
        let result = self.standing.install(&mut ctx!(self), &self.dht, regions, asker, request).and_then(|fed| {
            let plan = FragmentPlan::decode(&request.plan)?;
            let read: Vec<Region> = fed.iter().filter(|fed| fed.read).map(|fed| fed.region).collect();
            let records = self.dht.scan(plan.namespace(), &read, self.now.wall);
            let rows = records.filter_map(|record| Some((&record.key[..], record.value.as_deref()?, &record.version)));
            Ok((plan.run(rows, &Budget::from(&self.config))?, fed))
        });
        self.dht.watch(self.standing.namespaces());
        match result {
            Ok((partial, fed)) => Report { partial, fed, ..Report::default() },
            Err(error) => Report { fault: Some((&error).into()), ..Report::default() },
        }
    }

    pub(super) fn cancelled(&mut self, asker: Id, watch: u64) {
        self.standing.cancel(asker, watch);
        self.dht.watch(self.standing.namespaces());
    }

    pub(super) fn committed(&mut self, record: &Record, prior: Option<&Option<Box<Record>>>) {
        self.retain_readers(&record.namespace);
        self.standing.on_commit(&mut ctx!(self), record, prior.map(Option::as_deref));
    }

    /// Who owns a fragment next is told what stands there.
    pub(super) fn hand_over(&mut self, of: &Name) {
        let heirs = self.dht.heirs(of);
        self.standing.hand_over(&mut ctx!(self), of, &heirs);
    }

    pub(super) fn live_message(&mut self, from: Id, message: Message) {
        match message {
            Message::HandOver { asker, request } => {
                // Whoever is not known to be allowed is judged when it renews its query.
                let Ok(plan) = FragmentPlan::decode(&request.plan) else { return };
                let reader = Reader::Shown(request.reader.as_deref());
                let verdict = self.dht.judge_reader(&mut ctx!(self), &self.overlay, plan.namespace(), &reader);
                if verdict != Verdict::Allowed {
                    return;
                }
                self.standing.take_over(&mut ctx!(self), &self.dht, asker, &request);
                self.dht.watch(self.standing.namespaces());
            }
            Message::Unknown { watch } => self.cancelled(from, watch),
            changed => {
                self.watches.on_message(&mut ctx!(self), from, changed);
                self.end_watches();
            }
        }
    }

    pub(super) fn live_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Lapse => {
                self.standing.namespaces().iter().for_each(|namespace| self.retain_readers(namespace));
                self.standing.on_timer(&mut ctx!(self), &self.dht);
                self.dht.watch(self.standing.namespaces());
            }
            Timer::Watch(watch) => {
                self.watches.on_timer(&mut ctx!(self), watch);
                self.watch_on(watch);
            }
        }
    }
}
