//! Commands of the application, and the work that tasks bring: who waits for what.

use chacha20::rand_core::Rng as _;

use super::{CallId, Command, Node, NodeGround, Output, Reply, Timer, ctx, ground};
use crate::{
    config::SECOND_US,
    ctx::Ctx,
    data::{Cost, real},
    dht::DhtEvent,
    error::Error,
    exec::{Budget, FragmentPlan, GatherEnd, Partial, columns::COLUMNS},
    id::{Id, Region},
    map::Map,
    overlay::View as _,
    spread::{self, Report, Work, op_bytes},
    store::{Action, KeyOp, Outcome, Refusal},
    trust::{self, Session},
};

const BATCH_OPS: usize = 1_000;
const BATCH_BYTES: usize = 192 * 1_024;
const LEAVE_US: u64 = 4 * SECOND_US;

/// What this node's application, and tasks that pass through, wait for.
#[derive(Default)]
pub struct Calls {
    pub(super) tickets: Map<u64, Ticket>,
    batches: Map<u64, Batch>,
    leaving: Option<CallId>,
}

/// Who is told when something of a lower layer is over.
pub(super) enum Ticket {
    /// One operation of a batch.
    One { batch: u64, index: usize },
    /// Operations of a batch, by index.
    Many { batch: u64 },
    /// Operations of a task's leaf, by index.
    Leaf { job: u64, indexes: Vec<u32> },
    /// `SendAll`.
    All { call: CallId },
    /// `Gather`.
    Gather { call: CallId, whole: Region },
    /// A side of a join.
    Side { number: u64, side: u8, whole: Region },
    /// A task of a watch.
    Watch { watch: u64 },
}

/// Operations on keys that are answered together.
struct Batch {
    call: CallId,
    outcomes: Vec<Option<Outcome>>,
    open: usize,
    cost: Cost,
}

impl Node {
    pub(super) fn command(&mut self, call: CallId, command: Command) {
        let busy = self.calls.tickets.len() >= self.config.calls_max;
        let local = matches!(
            command,
            Command::LocalScan { .. }
                | Command::SetGlobal { .. }
                | Command::Subscribe { .. }
                | Command::Unwatch { .. }
                | Command::Cancel { .. }
                | Command::ActFor { .. }
                | Command::Agree { .. }
                | Command::Leave
        );
        if busy && !local {
            let max = self.config.calls_max;
            self.reply(call, Err(Error::Overloaded { limit: "calls_max", max }));
            return;
        }
        match command {
            Command::Keys { ops, deadline_us } => {
                let deadline = self.deadline(deadline_us);
                self.start_keys(call, ops, deadline);
            }
            Command::LocalScan { namespaces } => {
                let records = namespaces
                    .iter()
                    .flat_map(|namespace| self.dht.local(namespace, self.now.wall).cloned().collect::<Vec<_>>())
                    .collect();
                self.reply(call, Ok(Reply::Records(records)));
            }
            Command::Send { namespace, key, payload } => {
                self.messaging.send_key(&mut ctx!(self), call, namespace, key, payload);
            }
            Command::SendNode { to, payload } => self.messaging.send_node(&mut ctx!(self), call, to, payload),
            Command::SendAll { payload } => self.send_all(call, payload),
            Command::SetGlobal { name, value } => {
                let links: Vec<Id> = self.overlay.live().map(|(id, _)| *id).collect();
                let result = self.globals.set(&mut ctx!(self), &links, name, value);
                self.reply(call, result.map(|()| Reply::Done));
            }
            Command::Gather { deadline_us, .. } | Command::Join { deadline_us, .. } => {
                self.admit(call, Box::new(command), deadline_us);
            }
            Command::Subscribe { namespace, on } => {
                let max = self.config.subscriptions_max;
                let subscribed = self.dht.subscribe(namespace, on).then_some(Reply::Done);
                let result = subscribed.ok_or(Error::Overloaded { limit: "subscriptions_max", max });
                self.reply(call, result);
            }
            Command::Watch { fragment, region } => self.watch(call, &fragment, region),
            Command::Unwatch { watch } => self.unwatch(call, watch),
            Command::Cancel { call: canceled } => self.cancel(call, canceled),
            Command::ActFor { session } => {
                let holds = |session: &Session| {
                    session.peer() == self.me && session.holds(&*self.signer.identity, &self.config.network)
                };
                if session.as_ref().is_none_or(holds) {
                    self.signer.act_for(session);
                    self.reply(call, Ok(Reply::Done));
                } else {
                    self.reply(call, Err(Error::Refused(Refusal::Forged)));
                }
            }
            Command::Agree { with } => {
                let agreed = with.iter().map(|other| self.agree(other)).collect();
                self.reply(call, Ok(Reply::Agreed(agreed)));
            }
            Command::Leave => self.leave(call),
        }
    }

    pub(super) fn reply(&mut self, call: CallId, result: Result<Reply, Error>) {
        self.out.outputs.push_back(Output::Reply { call, result });
    }

    pub(super) fn deadline(&self, asked_us: Option<u64>) -> u64 {
        self.now.mono.saturating_add(asked_us.unwrap_or(self.config.deadline_us))
    }

    pub(super) fn ticket(&mut self, ticket: Ticket) -> u64 {
        let name = ctx!(self).serial();
        self.calls.tickets.insert(name, ticket);
        name
    }

    // Operations on keys.

    fn start_keys(&mut self, call: CallId, ops: Vec<KeyOp>, deadline: u64) {
        let batch = ctx!(self).serial();
        let mut outcomes = vec![None; ops.len()];
        let mut todo = Vec::new();
        for (index, op) in ops.into_iter().enumerate() {
            if self.too_large(&op) {
                outcomes[index] = Some(Outcome::Refused(Refusal::TooLarge));
            } else {
                todo.push((index as u32, op));
            }
        }
        let single = todo.len() == 1;
        // A task meets owners alone: what may be answered without one goes by itself.
        let ownerless =
            |action: &Action| matches!(action, Action::GetStale | Action::GetVerified | Action::PutHinted { .. });
        let alone = |(_, op): &mut (u32, KeyOp)| single || ownerless(&op.action);
        let alone: Vec<(u32, KeyOp)> = todo.extract_if(.., alone).collect();
        let chunks = chunks(todo);
        let open = alone.len() + chunks.len();
        self.calls.batches.insert(batch, Batch { call, outcomes, open, cost: Cost::default() });
        for (index, op) in alone {
            let ticket = self.ticket(Ticket::One { batch, index: index as usize });
            self.dht.execute(&mut ctx!(self), &self.overlay, ticket, op, deadline);
        }
        for mut ops in chunks {
            let ticket = self.ticket(Ticket::Many { batch });
            let request = self.rng.next_u64();
            trust::sign(&ctx!(self), request, &mut ops);
            let work = Work::Keys { request, ops };
            self.spread.start(&mut ctx!(self), &ground!(self), ticket, Region::ALL, &[], work, deadline);
        }
        self.check_batch(batch);
    }

    fn too_large(&self, op: &KeyOp) -> bool {
        let value = match &op.action {
            Action::Put { value, .. } | Action::PutHinted { value, .. } | Action::Edit { edit: value } => value.len(),
            _ => 0,
        };
        let key = op.key.len().max(op.namespace.len());
        key > self.config.key_bytes_max || value > self.config.value_bytes_max
    }

    fn check_batch(&mut self, name: u64) {
        if self.calls.batches.get(&name).is_none_or(|batch| batch.open > 0) {
            return;
        }
        let Some(batch) = self.calls.batches.remove(&name) else { return };
        let outcomes: Vec<Outcome> =
            batch.outcomes.into_iter().map(|outcome| outcome.unwrap_or(Outcome::Unreachable)).collect();
        self.reply(batch.call, Ok(Reply::Keys(outcomes, batch.cost)));
    }

    pub(super) fn dht_event(&mut self, event: DhtEvent) {
        let (ticket, outcomes) = match event {
            DhtEvent::Done { ticket, outcomes } => (ticket, outcomes),
            DhtEvent::Began(name) => return self.standing.open(&mut ctx!(self), name),
            DhtEvent::Ended(name) => return self.hand_over(&name),
            DhtEvent::Committed { record, prior } => return self.committed(&record, prior.as_ref()),
        };
        match self.calls.tickets.remove(&ticket) {
            Some(Ticket::One { batch: name, index }) => {
                if let Some(batch) = self.calls.batches.get_mut(&name) {
                    batch.outcomes[index] = outcomes.into_iter().next();
                    batch.open -= 1;
                    // A request and its answer; hops between are not known to the asker.
                    batch.cost = Cost { messages: 2, peers: 1, ..batch.cost };
                }
                self.check_batch(name);
            }
            Some(Ticket::Leaf { job, indexes }) => {
                let outcomes = indexes.into_iter().zip(outcomes).collect();
                let report = Report { outcomes, ..Report::default() };
                self.spread.leaf_done(&mut ctx!(self), &ground!(self), job, report);
            }
            _ => {}
        }
    }

    // Tasks.

    fn send_all(&mut self, call: CallId, payload: Vec<u8>) {
        if payload.len() > self.config.value_bytes_max {
            self.reply(call, Err(Error::Refused(Refusal::TooLarge)));
            return;
        }
        let number = self.rng.next_u64();
        let deadline = self.deadline(None);
        let ticket = self.ticket(Ticket::All { call });
        let work = Work::Announce { number, payload };
        self.spread.start(&mut ctx!(self), &ground!(self), ticket, Region::ALL, &[], work, deadline);
    }

    pub(super) fn spread_event(&mut self, event: spread::Event) {
        match event {
            spread::Event::Leaf { job, asker, regions, work } => self.leaf(job, asker, &regions, work),
            spread::Event::Done { ticket, report } => self.task_done(ticket, *report),
            spread::Event::Progress { ticket, covered, rows, early } => self.goes_on(ticket, covered, rows, early),
        }
    }

    fn leaf(&mut self, job: u64, asker: Id, regions: &[Region], work: Work) {
        if !self.may_do(job, regions, &work) {
            return;
        }
        let report = match work {
            Work::Announce { number, payload } => {
                if asker != self.me && self.messaging.first_time(asker, number) {
                    ctx!(self).trace("message", "announced", Some(asker), || format!("{} bytes", payload.len()));
                    self.out.outputs.push_back(Output::Message { from: asker, to_key: None, payload });
                }
                Report::default()
            }
            Work::Query { plan, .. } => self.query_leaf(regions, &plan),
            Work::Watch(request) => self.watch_leaf(asker, regions, &request),
            Work::Unwatch { watch } => {
                self.cancelled(asker, watch);
                Report::default()
            }
            Work::Keys { request, ops } => {
                let indexes = ops.iter().map(|(index, _)| *index).collect();
                let ticket = self.ticket(Ticket::Leaf { job, indexes });
                self.dht.execute_owned(&mut ctx!(self), &self.overlay, ticket, ops, (asker, request));
                return;
            }
        };
        self.spread.leaf_done(&mut ctx!(self), &ground!(self), job, report);
    }

    fn query_leaf(&mut self, regions: &[Region], plan: &[u8]) -> Report {
        let result = FragmentPlan::decode(plan).and_then(|plan| {
            let records = || self.dht.scan(plan.namespace(), regions, self.now.wall);
            if COLUMNS && let Some(change) = self.dht.unchanged(plan.namespace()) {
                let values = records().filter_map(|record| record.value.as_deref());
                let bytes_max = self.config.columns_bytes_max;
                if let Some(space) = self.kept.space(&plan, regions, change, bytes_max, values) {
                    let partial = plan.run_kept(space, &Budget::from(&self.config))?;
                    return Ok((plan, partial));
                }
            }
            let records = records();
            let rows = records.filter_map(|record| Some((&record.key[..], record.value.as_deref()?, &record.version)));
            let partial = plan.run(rows, &Budget::from(&self.config))?;
            Ok((plan, partial))
        });
        match result.and_then(|(plan, partial)| self.send_to_buckets(&plan, partial)) {
            Ok(report) => report,
            Err(error) => Report { fault: Some((&error).into()), ..Report::default() },
        }
    }

    fn task_done(&mut self, ticket: u64, report: Report) {
        match self.calls.tickets.remove(&ticket) {
            Some(Ticket::Many { batch: name }) => {
                if let Some(batch) = self.calls.batches.get_mut(&name) {
                    for (index, outcome) in report.outcomes {
                        if let Some(slot) = batch.outcomes.get_mut(index as usize) {
                            slot.get_or_insert(outcome);
                        }
                    }
                    batch.open -= 1;
                    batch.cost.messages += report.messages;
                    batch.cost.bytes += report.bytes;
                    batch.cost.peers = batch.cost.peers.max(report.peers);
                }
                self.check_batch(name);
            }
            Some(Ticket::All { call }) => {
                let coverage = report.covered.share_of(Region::ALL.size());
                let nodes = report.peers.saturating_sub(1);
                self.reply(call, Ok(Reply::Reached { nodes, coverage }));
            }
            Some(Ticket::Side { number, side, whole }) => {
                let (answer, end) = gathered(report, &whole);
                self.side_done(number, side, answer, end);
            }
            Some(Ticket::Gather { call, whole }) => {
                let (partial, end) = gathered(report, &whole);
                ctx!(self).trace("query", "end", None, || {
                    let rows = partial.batch.len();
                    format!("{rows} rows, coverage {}", real::print(end.coverage))
                });
                self.query_over(call, Ok(Reply::Gathered(Box::new(partial), end)));
            }
            Some(Ticket::Watch { watch }) => self.watch_done(watch, report),
            Some(Ticket::One { .. } | Ticket::Leaf { .. }) | None => {}
        }
    }

    // Gathers.

    /// A fragment as a task.
    pub(super) fn query(&mut self, fragment: &FragmentPlan) -> Work {
        Work::Query { plan: fragment.encode(), reader: trust::credential(&ctx!(self), fragment.namespace()) }
    }

    pub(super) fn gather(&mut self, call: CallId, fragment: &FragmentPlan, except: &[Region], deadline: u64) {
        let whole = Region::namespace(fragment.namespace(), fragment.locality_bits());
        ctx!(self).trace("query", "start", None, || fragment.namespace().to_owned());
        let ticket = self.ticket(Ticket::Gather { call, whole });
        let work = self.query(fragment);
        self.spread.start(&mut ctx!(self), &ground!(self), ticket, whole, except, work, deadline);
    }

    // Leaving.

    fn leave(&mut self, call: CallId) {
        if self.calls.leaving.is_some() {
            self.reply(call, Err(Error::Closed));
            return;
        }
        self.calls.leaving = Some(call);
        self.dht.leave(&mut ctx!(self), &self.overlay);
        ctx!(self).timer(LEAVE_US, Timer::Call(call));
    }

    pub(super) fn check_left(&mut self) {
        if let Some(call) = self.calls.leaving
            && !self.closed
            && (self.dht.left() || self.overlay.peers().is_empty())
        {
            self.goodbye(call);
        }
    }

    pub(super) fn leave_late(&mut self, call: CallId) {
        if self.calls.leaving == Some(call) && !self.closed {
            self.goodbye(call);
        }
    }

    fn goodbye(&mut self, call: CallId) {
        self.overlay.close(&mut ctx!(self));
        self.closed = true;
        self.reply(call, Ok(Reply::Done));
    }
}

/// What a task over a region came to.
fn gathered(report: Report, whole: &Region) -> (Partial, GatherEnd) {
    let end = GatherEnd {
        coverage: report.covered.share_of(whole.size()),
        assumed_lost: report.assumed_lost,
        peers: report.peers,
        messages: report.messages,
        bytes: report.bytes,
        fault: report.fault,
        parts: Vec::new(),
    };
    (report.partial, end)
}

/// Cuts operations into tasks of bounded size.
fn chunks(ops: Vec<(u32, KeyOp)>) -> Vec<Vec<(u32, KeyOp)>> {
    let mut chunks: Vec<Vec<(u32, KeyOp)>> = Vec::new();
    let mut bytes = 0;
    for (index, op) in ops {
        let more = op_bytes(&op);
        bytes += more;
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < BATCH_OPS && bytes < BATCH_BYTES => chunk.push((index, op)),
            _ => {
                bytes = more;
                chunks.push(vec![(index, op)]);
            }
        }
    }
    chunks
}
