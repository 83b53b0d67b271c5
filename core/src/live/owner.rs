//! The owner's side: what stands here, and what its askers are told.

use super::{Delta, Fed, LEASE_US, Message, Request, Timer};
use crate::{
    Error,
    config::SECOND_US,
    ctx::Ctx,
    data::{Row, Value},
    dht::Dht,
    exec::{Budget, FragmentPlan},
    group::Name,
    id::{Id, Region},
    map::Set,
    node,
    sql::fault::{BUDGET, fail},
    store::Record,
    trust::{Proof, User},
};

/// Queries of one asker.
const ASKER_MAX: usize = 1_024;
/// Queries of all.
const QUERIES_MAX: usize = 8_192;
/// Bytes of the plans of one asker, and of all.
const ASKER_BYTES_MAX: usize = 1 << 20;
const BYTES_MAX: usize = 16 << 20;
/// What one record gives at most.
const ROW: Budget = Budget { rows_max: 1, bytes_max: 4 << 20 };
/// Bytes of one message, about.
const MESSAGE_BYTES: usize = 128 * 1_024;
/// Between two looks at records that lapse.
const LAPSE_US: u64 = SECOND_US / 20;

/// A fragment that stands here.
struct Query {
    /// Whose, and the asker's name for it.
    name: (Id, u64),
    plan: FragmentPlan,
    /// The same as it came.
    encoded: Vec<u8>,
    region: Region,
    relay: Option<Id>,
    /// For whom, as was shown and judged when it was installed or renewed.
    reader: Option<Box<Proof>>,
    until_us: u64,
    sessions: Vec<Session>,
}

/// What is told of one of this node's fragments.
struct Session {
    of: Name,
    name: u64,
    seq: u64,
    /// What changed since, by key: the row, or that there is none.
    open: Vec<(Vec<u8>, Option<Row>)>,
    fault: Option<Error>,
}

impl Query {
    /// Begins a session; its name.
    fn begin(&mut self, ctx: &mut Ctx<'_>, of: Name) -> u64 {
        let name = chacha20::rand_core::Rng::next_u64(ctx.rng);
        self.sessions.push(Session { of, name, seq: 0, open: Vec::new(), fault: None });
        name
    }
}

/// The queries that stand at this node.
#[derive(Default)]
pub struct Queries {
    queries: Vec<Query>,
    /// Whether anything is to be told.
    open: bool,
    /// Until when, by the wall clock, it was told which records lapse.
    lapsed_us: u64,
    /// When the next timer is due.
    due_us: Option<u64>,
}

impl Queries {
    /// The namespaces whose commits are of interest.
    pub fn namespaces(&self) -> Vec<String> {
        let names: Set<String> = self.queries.iter().map(|query| query.plan.namespace().to_owned()).collect();
        names.into_iter().collect()
    }

    /// Installs or renews a query, whose reader was judged, over some parts of what this node owns; gives its sessions there.
    pub fn install(
        &mut self,
        ctx: &mut Ctx<'_>,
        dht: &Dht,
        parts: &[Region],
        asker: Id,
        request: &Request,
    ) -> Result<Vec<Fed>, Error> {
        let plan = FragmentPlan::decode(&request.plan)?;
        if !plan.gives_rows() {
            return fail(BUDGET, "a standing query that gives no rows");
        }
        let (name, bytes) = ((asker, request.watch), request.plan.len());
        let others = || self.queries.iter().filter(|query| query.name != name);
        let all: usize = others().map(|query| query.encoded.len()).sum();
        let own = || others().filter(|query| query.name.0 == asker);
        let own_bytes: usize = own().map(|query| query.encoded.len()).sum();
        let many = own().count() >= ASKER_MAX || others().count() >= QUERIES_MAX;
        if many || own_bytes + bytes > ASKER_BYTES_MAX || all + bytes > BYTES_MAX {
            return fail(BUDGET, "more live queries than a peer keeps");
        }
        let now = ctx.now;
        let owned: Vec<Name> = dht.owned(now).into_iter().map(|(region, epoch, _)| Name { region, epoch }).collect();
        let until_us = now.mono.saturating_add(request.lease_us.min(LEASE_US));
        let (region, relay) = (request.region, request.relay);
        let known = self.queries.iter().position(|query| query.name == name);
        let known = known.map(|at| self.queries.swap_remove(at));
        let same = |query: &Query| query.encoded == request.plan && query.region == region;
        let mut query = known.filter(same).unwrap_or_else(|| Query {
            name,
            plan,
            encoded: request.plan.clone(),
            region,
            relay,
            reader: None,
            until_us,
            sessions: Vec::new(),
        });
        (query.relay, query.until_us) = (relay, until_us);
        query.reader.clone_from(&request.reader);
        query.sessions.retain(|session| owned.contains(&session.of));
        let mut fed = Vec::new();
        for of in owned {
            let mut parts = parts.iter().filter_map(|part| part.intersect(&of.region)).peekable();
            if parts.peek().is_none() {
                continue;
            }
            let known = query.sessions.iter().position(|session| session.of == of);
            // What is still to be told is in what is read; told again it changes nothing.
            let (session, seq) = match known {
                Some(at) => (query.sessions[at].name, query.sessions[at].seq),
                None => (query.begin(ctx, of), 0),
            };
            let read = request.read || known.is_none();
            fed.extend(parts.map(|region| Fed { region, session, seq, read }));
        }
        self.queries.push(query);
        self.arm(ctx, dht);
        Ok(fed)
    }

    /// Another owner's query, whose reader was judged, which goes on here.
    pub fn take_over(&mut self, ctx: &mut Ctx<'_>, dht: &Dht, asker: Id, request: &Request) {
        if self.queries.iter().all(|query| query.name != (asker, request.watch)) {
            // Whom there is no room for hears of it when it renews its query.
            let _ = self.install(ctx, dht, &[], asker, request);
        }
        for (region, epoch, _) in dht.owned(ctx.now) {
            self.open(ctx, Name { region, epoch });
        }
    }

    /// A fragment begins here: so do the sessions of what stands in it.
    pub fn open(&mut self, ctx: &mut Ctx<'_>, of: Name) {
        for query in &mut self.queries {
            let Some(region) = query.region.intersect(&of.region) else { continue };
            if !query.sessions.iter().any(|session| session.of == of) {
                let (session, (asker, watch)) = (query.begin(ctx, of), query.name);
                ctx.send_via(asker, query.relay, Message::Opened { watch, session, region });
            }
        }
    }

    /// A fragment is over; these own parts of it now.
    pub fn hand_over(&mut self, ctx: &mut Ctx<'_>, of: &Name, heirs: &[Id]) {
        let stands = |query: &Query| query.sessions.iter().any(|session| session.of == *of);
        for query in self.queries.iter().filter(|query| stands(query)) {
            let ((asker, watch), plan, region, relay) = (query.name, &query.encoded, query.region, query.relay);
            let lease_us = query.until_us.saturating_sub(ctx.now.mono);
            for heir in heirs {
                let reader = query.reader.clone();
                let request = Request { watch, plan: plan.clone(), region, lease_us, relay, read: false, reader };
                ctx.send(*heir, Message::HandOver { asker, request });
            }
        }
    }

    /// A query stands no longer.
    pub fn cancel(&mut self, asker: Id, watch: u64) {
        self.queries.retain(|query| query.name != (asker, watch));
    }

    /// Leaves the queries over a private namespace whose users may still read it. Others find out when they are renewed.
    pub fn retain(&mut self, namespace: &str, mut may: impl FnMut(&User) -> bool) {
        let user = |query: &Query| query.reader.as_ref().map(|reader| reader.pass.session.user);
        self.queries.retain(|query| query.plan.namespace() != namespace || user(query).is_some_and(|user| may(&user)));
    }

    /// A record was committed here in place of another one, or of none; `None` where that is not known.
    pub fn on_commit(&mut self, ctx: &mut Ctx<'_>, record: &Record, prior: Option<Option<&Record>>) {
        if self.note(record, prior, record.visible(ctx.now.wall))
            && let Some(at) = record.expiry_us
        {
            self.arm_for(ctx, at);
        }
    }

    /// What a change of a record changes; whether anybody wants to know of its namespace.
    fn note(&mut self, record: &Record, prior: Option<Option<&Record>>, visible: bool) -> bool {
        let mut watched = false;
        let id = record.id();
        for query in &mut self.queries {
            let Query { plan, region, sessions, .. } = query;
            if plan.namespace() != record.namespace || !region.contains(&id) {
                continue;
            }
            watched = true;
            // The latest one: earlier ones are of fragments that are over.
            let of = |session: &&mut Session| session.of.region.contains(&id);
            let Some(session) = sessions.iter_mut().rev().find(of) else { continue };
            let gave = |record: &Record| {
                let value = record.value.iter().map(|value| (&record.key[..], &value[..], &record.version));
                let partial = plan.run(value, &ROW)?;
                Ok::<_, Error>(partial.batch.by_row().rows.into_iter().next().map(|signed| signed.row))
            };
            let now = if visible { gave(record) } else { Ok(None) };
            match now {
                Ok(None) if prior.is_some_and(|prior| prior.is_none_or(|it| matches!(gave(it), Ok(None)))) => continue,
                Ok(row) => match session.open.iter_mut().find(|(key, _)| *key == record.key) {
                    Some((_, old)) => *old = row,
                    None => session.open.push((record.key.clone(), row)),
                },
                Err(error) => session.fault = Some(error),
            }
            self.open = true;
        }
        watched
    }

    /// Tells what changed; whether there was something.
    pub fn flush(&mut self, ctx: &mut Ctx<'_>) -> bool {
        if !core::mem::take(&mut self.open) {
            return false;
        }
        for Query { name: (asker, watch), relay, sessions, .. } in &mut self.queries {
            for session in sessions {
                let mut delta = Delta { fault: session.fault.take().map(|error| (&error).into()), ..Delta::default() };
                let mut bytes = 0;
                let mut open = core::mem::take(&mut session.open).into_iter().peekable();
                while open.peek().is_some() || delta.fault.is_some() {
                    if let Some((key, row)) = open.next() {
                        bytes += key.len() + row.iter().flatten().map(Value::bytes).sum::<usize>();
                        match row {
                            Some(row) => delta.rows.push(row),
                            None => delta.gone.push(key),
                        }
                    }
                    if bytes > MESSAGE_BYTES || open.peek().is_none() {
                        session.seq += 1;
                        let (session, seq, delta) = (session.name, session.seq, core::mem::take(&mut delta));
                        ctx.count("deltas_sent");
                        ctx.send_via(*asker, *relay, Message::Changed { watch: *watch, session, seq, delta });
                        bytes = 0;
                    }
                }
            }
        }
        true
    }

    /// Leases and records lapse.
    pub fn on_timer(&mut self, ctx: &mut Ctx<'_>, dht: &Dht) {
        let now = ctx.now;
        if self.due_us.is_none_or(|due_us| due_us > now.mono) {
            return;
        }
        self.due_us = None;
        self.queries.retain(|query| query.until_us > now.mono);
        let from = core::mem::replace(&mut self.lapsed_us, now.wall);
        for namespace in self.namespaces() {
            let lapsed = |record: &&Record| record.expiry_us.is_some_and(|at| at > from && at <= now.wall);
            for record in dht.lapsing(&namespace).filter(lapsed) {
                self.note(record, Some(Some(record)), false);
            }
        }
        self.arm(ctx, dht);
    }

    /// Sets the timer for what lapses next.
    fn arm(&mut self, ctx: &mut Ctx<'_>, dht: &Dht) {
        let Some(lease_us) = self.queries.iter().map(|query| query.until_us).min() else { return };
        self.arm_at(ctx, lease_us);
        for namespace in self.namespaces() {
            let next = dht.lapsing(&namespace).filter_map(|record| record.expiry_us).filter(|at| *at > self.lapsed_us);
            if let Some(at) = next.min() {
                self.arm_for(ctx, at);
            }
        }
    }

    /// The same for what lapses then, by the wall clock.
    fn arm_for(&mut self, ctx: &mut Ctx<'_>, wall_us: u64) {
        let due_us = ctx.now.mono.saturating_add(wall_us.saturating_sub(ctx.now.wall).max(LAPSE_US));
        self.arm_at(ctx, due_us);
    }

    fn arm_at(&mut self, ctx: &mut Ctx<'_>, due_us: u64) {
        if self.due_us.is_none_or(|armed_us| due_us < armed_us) {
            self.due_us = Some(due_us);
            ctx.timer(due_us.saturating_sub(ctx.now.mono), node::Timer::Live(Timer::Lapse));
        }
    }

    /// How many queries stand here.
    pub fn count(&self) -> usize {
        self.queries.len()
    }
}
