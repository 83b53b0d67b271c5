//! The asker's side: one stream for each watched fragment, out of tasks and of what owners tell.

use chacha20::rand_core::Rng as _;

use super::{Delta, Fed, LEASE_US, Message, RENEW_US, Request, Timer, Watched};
use crate::{
    config::SECOND_US,
    ctx::Ctx,
    exec::FragmentPlan,
    id::{Coverage, Id, Region},
    map::Map,
    node::{self, CallId, Output},
    spread::{Report, Work},
    trust,
};

/// Fragments that this node watches at once.
pub const WATCHES_MAX: usize = 1_024;
/// Messages of one watch that wait for one before them, or for their session's rows.
const EARLY_MAX: usize = 256;
/// Sessions of one watch.
const SESSIONS_MAX: usize = 4_096;
/// A task may take so long; the first one longer.
const TASK_US: u64 = 5 * SECOND_US / 2;
const FIRST_US: u64 = 5 * SECOND_US;
/// A message that is late is waited for.
const LATE_US: u64 = SECOND_US / 2;
/// Sessions that begin together are read together.
const OPENED_US: u64 = SECOND_US / 20;
/// Before the next task where something is not covered.
const AGAIN_US: u64 = SECOND_US / 2;
/// Readings that follow at once on the task before.
const AT_ONCE_MAX: u32 = 2;

/// A task to be started.
#[derive(Debug)]
pub struct Start {
    /// The watch.
    pub watch: u64,
    /// Over this region.
    pub region: Region,
    /// But for these.
    pub except: Vec<Region>,
    /// What.
    pub work: Work,
    /// It may take so long.
    pub for_us: u64,
}

/// What is known of a session.
struct Session {
    name: u64,
    /// Of which regions its rows were read; disjoint.
    parts: Vec<Region>,
    /// Up to where it was handed on since; `None`: its rows are not there, or not all that followed.
    upto: Option<u64>,
    /// How far it has counted, as far as is known.
    expected: u64,
    /// What waits for something before it.
    early: Vec<(u64, Delta)>,
    /// Whether its owner answered lately.
    alive: bool,
}

struct Watch {
    call: CallId,
    namespace: String,
    plan: Vec<u8>,
    region: Region,
    sessions: Vec<Session>,
    /// Whether a task is under way, and whether that is one for everything.
    task: Option<bool>,
    /// Whether the first task has ended.
    begun: bool,
    /// Readings that followed on one another at once.
    at_once: u32,
    renew_us: u64,
    due_us: u64,
    /// What was told last.
    told: Option<(f64, bool)>,
    assumed_lost: bool,
}

/// What this node watches, by its names for it.
#[derive(Default)]
pub struct Watches {
    watches: Map<u64, Watch>,
    /// What has ended by itself, to be taken from its owners.
    ended: Vec<Start>,
}

impl Session {
    fn in_step(&self) -> bool {
        self.upto.is_some()
    }

    /// Hands on what follows on what was handed on.
    fn drain(&mut self, out: &mut Vec<Delta>) {
        let Some(upto) = &mut self.upto else { return };
        self.early.retain(|(seq, _)| seq > upto);
        while let Some(at) = self.early.iter().position(|(seq, _)| *seq == *upto + 1) {
            *upto += 1;
            out.push(self.early.swap_remove(at).1);
        }
        self.expected = self.expected.max(*upto);
    }

    /// What it needs is lost, or never came: its rows are to be read.
    fn lose(&mut self) {
        self.upto = None;
        self.parts.clear();
    }
}

impl Watches {
    /// Whether there is room for another one.
    pub fn room(&self) -> bool {
        self.watches.len() < WATCHES_MAX
    }

    /// Begins to watch a fragment over a region; `None`: it may not stand.
    pub fn begin(&mut self, ctx: &mut Ctx<'_>, call: CallId, fragment: &FragmentPlan, region: Region) -> Option<u64> {
        if !fragment.gives_rows() {
            return None;
        }
        // Not to be guessed by others.
        let name = ctx.rng.next_u64();
        let watch = Watch {
            call,
            namespace: fragment.namespace().to_owned(),
            plan: fragment.encode(),
            region,
            sessions: Vec::new(),
            task: None,
            begun: false,
            at_once: 0,
            renew_us: ctx.now.mono,
            due_us: u64::MAX,
            told: None,
            assumed_lost: false,
        };
        self.watches.insert(name, watch);
        Some(name)
    }

    /// Ends a watch of the application.
    pub fn end(&mut self, call: CallId) {
        let watch = self.watches.iter().find(|(_, watch)| watch.call == call).map(|(name, _)| *name);
        watch.into_iter().for_each(|watch| self.take_back(watch));
    }

    /// Owners are to forget a watch.
    fn take_back(&mut self, watch: u64) {
        if let Some(Watch { region, .. }) = self.watches.remove(&watch) {
            let (except, work) = (Vec::new(), Work::Unwatch { watch });
            self.ended.push(Start { watch, region, except, work, for_us: TASK_US });
        }
    }

    /// The next task for what has ended.
    pub fn poll(&mut self) -> Option<Start> {
        self.ended.pop()
    }

    /// The next task of a watch, if it is time for one.
    pub fn start(&mut self, ctx: &mut Ctx<'_>, relay: Option<Id>, name: u64) -> Option<Start> {
        let watch = self.watches.get_mut(&name)?;
        if watch.task.is_some() {
            return None;
        }
        let now = ctx.now.mono;
        let lost = watch.sessions.iter().any(|session| session.alive && !session.in_step());
        let all = !watch.begun || now >= watch.renew_us;
        if !all && !lost {
            return None;
        }
        // What is in step is not read again. Leases are renewed everywhere in their time.
        let in_step = watch.sessions.iter().filter(|session| !all && session.alive && session.in_step());
        let except: Vec<Region> = in_step.flat_map(|session| &session.parts).copied().collect();
        let (plan, region, read) = (watch.plan.clone(), watch.region, !all);
        let reader = trust::credential(ctx, &watch.namespace);
        let work = Work::Watch(Request { watch: name, plan, region, lease_us: LEASE_US, relay, read, reader });
        watch.task = Some(all);
        if all {
            watch.renew_us = now + RENEW_US;
        }
        let for_us = if watch.begun { TASK_US } else { FIRST_US };
        Some(Start { watch: name, region, except, work, for_us })
    }

    /// A task of a watch is over. Whether another one is to be started at once.
    pub fn on_report(&mut self, ctx: &mut Ctx<'_>, name: u64, report: Report) -> bool {
        let Some(watch) = self.watches.get_mut(&name) else { return false };
        let all = watch.task.take().unwrap_or_default();
        let call = watch.call;
        if let Some(fault) = report.fault {
            self.take_back(name);
            ctx.output(Output::Watched { call, event: Watched::Failed(fault) });
            return false;
        }
        watch.begun = true;
        watch.assumed_lost = report.assumed_lost || !all && watch.assumed_lost;
        let (read, deltas) = watch.take_in(&report.fed, all, &report.missing);
        if !read.is_empty() {
            ctx.output(Output::Watched { call, event: Watched::Read { regions: read, batch: report.partial.batch } });
        }
        self.hand_on(ctx, name, deltas);
        let Some(watch) = self.watches.get_mut(&name) else { return false };
        watch.tell_coverage(ctx);
        let lost = watch.sessions.iter().any(|session| session.alive && !session.in_step());
        watch.at_once = if lost { watch.at_once + 1 } else { 0 };
        if lost && watch.at_once <= AT_ONCE_MAX {
            return true;
        }
        let late = watch.sessions.iter().any(|session| session.upto.is_some_and(|upto| upto < session.expected));
        let missing = !report.missing.is_empty();
        if missing {
            watch.renew_us = watch.renew_us.min(ctx.now.mono + AGAIN_US);
        }
        let next_us = if lost || late { ctx.now.mono + LATE_US } else { watch.renew_us };
        watch.arm(ctx, name, next_us);
        false
    }

    /// An owner tells something.
    pub fn on_message(&mut self, ctx: &mut Ctx<'_>, from: Id, message: Message) {
        let (name, session, seq, delta) = match message {
            Message::Changed { watch, session, seq, delta } => (watch, session, seq, delta),
            Message::Opened { watch, session, region } => return self.opened(ctx, from, watch, session, &region),
            Message::Unknown { .. } | Message::HandOver { .. } => return,
        };
        let Some(watch) = self.watches.get_mut(&name) else {
            ctx.send(from, Message::Unknown { watch: name });
            return;
        };
        let waiting: usize = watch.sessions.iter().map(|session| session.early.len()).sum();
        let Some(session) = watch.session(session) else { return };
        session.expected = session.expected.max(seq);
        if session.upto.is_some_and(|upto| seq <= upto) {
            return ctx.count("deltas_twice");
        }
        if session.early.iter().all(|(other, _)| *other != seq) {
            session.early.push((seq, delta));
        }
        let mut deltas = Vec::new();
        session.drain(&mut deltas);
        if waiting >= EARLY_MAX && !session.early.is_empty() {
            session.early.clear();
            session.lose();
        }
        let late = !session.early.is_empty() || !session.in_step();
        self.hand_on(ctx, name, deltas);
        if late && let Some(watch) = self.watches.get_mut(&name) {
            watch.arm(ctx, name, ctx.now.mono + LATE_US);
        }
    }

    /// A session began, and its rows are to be read; who was asked there before is not the owner any more.
    fn opened(&mut self, ctx: &mut Ctx<'_>, from: Id, name: u64, session: u64, region: &Region) {
        let Some(watch) = self.watches.get_mut(&name) else {
            return ctx.send(from, Message::Unknown { watch: name });
        };
        if watch.session(session).is_none_or(|session| session.in_step()) {
            return;
        }
        for old in watch.sessions.iter_mut() {
            if old.parts.iter().any(|part| part.intersect(region).is_some()) {
                old.lose();
                old.alive = false;
            }
        }
        watch.session(session).into_iter().for_each(|session| session.alive = true);
        watch.arm(ctx, name, ctx.now.mono + OPENED_US);
    }

    /// Tells the application; where a fragment failed it is over.
    fn hand_on(&mut self, ctx: &mut Ctx<'_>, name: u64, deltas: Vec<Delta>) {
        let Some(call) = self.watches.get(&name).map(|watch| watch.call) else { return };
        for mut delta in deltas {
            let fault = delta.fault.take();
            ctx.output(Output::Watched { call, event: Watched::Changed(delta) });
            if let Some(fault) = fault {
                self.take_back(name);
                return ctx.output(Output::Watched { call, event: Watched::Failed(fault) });
            }
        }
    }

    /// A timer of a watch fired.
    pub fn on_timer(&mut self, ctx: &mut Ctx<'_>, name: u64) {
        let Some(watch) = self.watches.get_mut(&name) else { return };
        if watch.task.is_some() || ctx.now.mono < watch.due_us {
            return;
        }
        watch.due_us = u64::MAX;
        watch.at_once = 0;
        for session in watch.sessions.iter_mut() {
            if session.upto.is_some_and(|upto| upto < session.expected) {
                ctx.count("deltas_lost");
                session.lose();
            }
        }
        watch.tell_coverage(ctx);
        watch.arm(ctx, name, watch.renew_us);
    }
}

impl Watch {
    /// What is known of a session, nothing perhaps; `None`: there are too many.
    fn session(&mut self, name: u64) -> Option<&mut Session> {
        let at = self.sessions.iter().position(|session| session.name == name).unwrap_or(self.sessions.len());
        if at == self.sessions.len() && at < SESSIONS_MAX {
            let (parts, early) = (Vec::new(), Vec::new());
            self.sessions.push(Session { name, parts, upto: None, expected: 0, early, alive: false });
        }
        self.sessions.get_mut(at)
    }

    /// Takes in what owners say of their sessions: of which regions the answer's rows count, and what is to be handed on
    /// after them.
    fn take_in(&mut self, fed: &[Fed], all: bool, missing: &[Region]) -> (Vec<Region>, Vec<Delta>) {
        let (mut read, mut deltas) = (Vec::new(), Vec::new());
        if all {
            self.sessions.iter_mut().for_each(|session| session.alive = false);
        }
        for (at, first) in fed.iter().enumerate() {
            if fed[..at].iter().any(|other| other.session == first.session) {
                continue;
            }
            let of = || fed.iter().filter(|other| other.session == first.session);
            let asked: Vec<Region> = of().map(|fed| fed.region).collect();
            let given: Vec<Region> = of().filter(|fed| fed.read).map(|fed| fed.region).collect();
            let Some(session) = self.session(first.session) else { continue };
            session.alive = true;
            session.expected = of().map(|fed| fed.seq).fold(session.expected, u64::max);
            let beyond = |known: &[Region]| asked.iter().any(|part| !part.subtract_all(known).is_empty());
            if session.in_step() && !beyond(&session.parts) {
                continue;
            }
            session.lose();
            if beyond(&given) {
                continue;
            }
            // Parts that were read at different times: what was told between them is handed on again, and ends the same.
            session.upto = of().map(|fed| fed.seq).min();
            session.parts = given;
            session.drain(&mut deltas);
            read.extend_from_slice(&session.parts);
            // Who was asked before is not the owner any more.
            let (name, parts) = (first.session, session.parts.clone());
            let meets = |other: &Session| other.parts.iter().any(|a| parts.iter().any(|b| a.intersect(b).is_some()));
            self.sessions.retain(|session| session.name == name || !meets(session));
        }
        if all {
            let waits = |part: &Region| missing.iter().any(|missing| missing.intersect(part).is_some());
            self.sessions.retain(|session| session.alive || session.parts.iter().any(waits));
        }
        (read, deltas)
    }

    fn tell_coverage(&mut self, ctx: &mut Ctx<'_>) {
        if !self.begun {
            return;
        }
        let in_step = self.sessions.iter().filter(|session| session.alive && session.in_step());
        let covered = Coverage::of(in_step.flat_map(|session| &session.parts));
        let told = (covered.share_of(self.region.size()), self.assumed_lost);
        if self.told != Some(told) {
            self.told = Some(told);
            let (coverage, assumed_lost) = told;
            ctx.output(Output::Watched { call: self.call, event: Watched::Covered { coverage, assumed_lost } });
        }
    }

    fn arm(&mut self, ctx: &mut Ctx<'_>, name: u64, at_us: u64) {
        if at_us < self.due_us || self.due_us <= ctx.now.mono {
            self.due_us = at_us;
            ctx.timer(at_us.saturating_sub(ctx.now.mono), node::Timer::Live(Timer::Watch(name)));
        }
    }
}
