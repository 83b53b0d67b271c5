//! Dissemination over exact regions: one mechanism for `sendAll`, queries and many operations on keys at once.
//!
//! A task travels with a region of the key space. A peer that receives it covers the part that it may vouch for, hands
//! the other parts on (each to one peer, so that N peers cost N−1 messages), and answers its parent once everything it
//! handed on has answered; answers merge on the way up (after TAG, OSDI 2002, and the region splitting of
//! El-Ansary et al., *Efficient Broadcast in Structured P2P Networks*, IPTPS 2003). What nobody vouched for comes back
//! as `missing` regions, and the asker asks again for exactly those until its deadline.
//!
//! Invariants: parts are disjoint, so whatever is covered is counted once; a parent takes at most one answer for a
//! branch, and none for a branch that it has given up (whose whole region is missing then). A peer that does not know a
//! query's plan covers nothing of it, and says so.

mod answer;
mod message;
pub mod split;
#[cfg(test)]
mod tests;
mod under_way;

use std::collections::VecDeque;

pub use message::{Message, Report, Work};
pub use split::{Ground, To};

use self::answer::{Answer, says_more, send_missing, send_report};

use crate::{
    config::SECOND_US,
    ctx::Ctx,
    data::SignedRow,
    exec::{Budget, FragmentPlan},
    id::{Coverage, Id, Region},
    live::Request,
    map::Map,
    sql::fault::{BUDGET, error},
    store::{KeyOp, Outcome},
    wire::Contact,
};

const WORKING_US: u64 = SECOND_US;
const PATIENCE_US: u64 = 3 * SECOND_US;
const LAST_WORD_US: u64 = SECOND_US;
const DEPTH_MAX: u8 = 64;
const MISSING_MAX: usize = 1_024;
const FED_MAX: usize = 16_384;
const BACKOFF_FIRST_US: u64 = 50_000;
const BACKOFF_MAX_US: u64 = SECOND_US;

/// What this layer waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Timer {
    /// Look after a job: tell the parent, give up silent branches.
    Check(u64),
    /// Ask again for what is missing.
    Again(u64),
}

/// What this layer tells the node.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Do the work over these regions, all owned here, and answer by [`Spread::leaf_done`].
    Leaf {
        /// The job.
        job: u64,
        /// Who asked first.
        asker: Id,
        /// The regions.
        regions: Vec<Region>,
        /// The work; operations are only those in the regions.
        work: Work,
    },
    /// A task that this node started is over.
    Done {
        /// From [`Spread::start`].
        ticket: u64,
        /// Region and report.
        report: Box<Report>,
    },
    /// A query that this node started goes on: it was begun, or a branch has answered.
    Progress {
        /// From [`Spread::start`].
        ticket: u64,
        /// How much is covered so far.
        covered: Coverage,
        /// Rows or groups that came so far.
        rows: u64,
        /// The next ones of the first rows ([`EARLY_MAX`](crate::exec::EARLY_MAX)), if it is rows that are wanted.
        early: Vec<SignedRow>,
    },
}

enum Parent {
    Peer { contact: Contact, branch: u64 },
    Here { ticket: u64 },
}

struct Branch {
    region: Region,
    to: To,
    until_us: u64,
    /// Its peer was suspected already when it was asked last.
    doubted: bool,
    pieces: Map<u32, Vec<u8>>,
    bytes: usize,
    count: Option<u32>,
}

struct Job {
    parent: Parent,
    asker: Id,
    region: Region,
    depth: u8,
    work: Work,
    plan: Option<FragmentPlan>,
    until_us: u64,
    branches: Map<u64, Branch>,
    leaves: u32,
    counted: bool,
    report: Report,
    backoff_us: u64,
    waiting_again: bool,
    /// How many of the first rows were told.
    told: usize,
}

impl Job {
    /// What it holds, about: answers that came, and what they were merged to.
    fn bytes(&self) -> usize {
        self.branches.values().map(|branch| branch.bytes).sum::<usize>() + self.report.partial.bytes()
    }
}

/// The tasks that one node takes part in.
#[derive(Default)]
pub struct Spread {
    jobs: Map<u64, Job>,
    branches: Map<u64, u64>,
    /// Answers that their parents have not read yet.
    answers: Vec<Answer>,
    events: VecDeque<Event>,
}

impl Spread {
    /// What happened; drain after every call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Starts a task over a region, of which some (disjoint) parts are covered already. [`Event::Done`] comes when
    /// everything is covered, a query failed, or `deadline_us` (monotone) has passed.
    #[allow(clippy::too_many_arguments)] // a task's parts, each of its own type
    pub fn start(
        &mut self,
        ctx: &mut Ctx<'_>,
        ground: &dyn Ground,
        ticket: u64,
        region: Region,
        except: &[Region],
        work: Work,
        deadline_us: u64,
    ) {
        let me = ctx.me;
        self.take(ctx, ground, Parent::Here { ticket }, me, region, except, 0, work, deadline_us);
    }

    /// A message of this layer arrived.
    pub fn on_message(&mut self, ctx: &mut Ctx<'_>, ground: &dyn Ground, from: Contact, message: Message) {
        match message {
            Message::Task { branch, asker, region, depth, patience_us, work } => {
                let until = ctx.now.mono + patience_us.min(10 * ctx.config.deadline_us);
                let (all, of_one) = (ctx.config.tasks_max, ctx.config.asker_tasks_max);
                // An answer that its parent does not read keeps its place.
                let answers = self.answers.iter().filter(|answer| answer.asker == asker).count();
                let greedy = matches!(work, Work::Query { .. }) && self.queries_of(&asker).count() + answers >= of_one;
                if self.jobs.len() + self.answers.len() >= all || greedy || depth >= DEPTH_MAX {
                    ctx.count("tasks_refused");
                    return send_missing(ctx, &from, branch, region);
                }
                let parent = Parent::Peer { contact: from, branch };
                self.take(ctx, ground, parent, asker, region, &[], depth + 1, work, until);
            }
            Message::Working { branch } => {
                if let Some(branch) = self.branch(branch) {
                    branch.heard(ctx.now.mono);
                }
            }
            Message::Piece { branch, index, last, bytes } => {
                if says_more(index, last) {
                    ctx.send_via(from.id, from.relay, Message::More { branch });
                }
                self.piece(ctx, ground, branch, index, last, bytes);
            }
            Message::More { branch } => self.more(ctx, &from.id, branch),
            Message::Ask { branch, region } => self.asked(ctx, &from, branch, region),
            Message::Cancel { branch } => self.cancelled(ctx, from.id, branch),
        }
    }

    #[allow(clippy::too_many_arguments)] // a job's parts, each of its own type
    fn take(
        &mut self,
        ctx: &mut Ctx<'_>,
        ground: &dyn Ground,
        parent: Parent,
        asker: Id,
        region: Region,
        except: &[Region],
        depth: u8,
        work: Work,
        until_us: u64,
    ) {
        let id = ctx.serial();
        let mut job = Job {
            parent,
            asker,
            region,
            depth,
            plan: None,
            work,
            until_us,
            branches: Map::new(),
            leaves: 0,
            counted: false,
            report: Report { covered: Coverage::of(except), ..Report::default() },
            backoff_us: BACKOFF_FIRST_US,
            waiting_again: false,
            told: 0,
        };
        if let Work::Query { plan, .. } | Work::Watch(Request { plan, .. }) = &job.work {
            match FragmentPlan::decode(plan) {
                Ok(plan) => job.plan = Some(plan),
                Err(error) => {
                    match &job.parent {
                        Parent::Peer { contact, branch } => {
                            ctx.count("plans_unknown");
                            send_report(ctx, contact, *branch, &unknown_plan(&ctx.me, ground, &region));
                        }
                        Parent::Here { ticket } => {
                            let report =
                                Report { missing: vec![region], fault: Some((&error).into()), ..Report::default() };
                            self.events.push_back(Event::Done { ticket: *ticket, report: Box::new(report) });
                        }
                    }
                    return;
                }
            }
        }
        self.jobs.insert(id, job);
        ctx.timer(WORKING_US, crate::node::Timer::Spread(Timer::Check(id)));
        self.split(ctx, ground, id, region.subtract_all(except));
        self.check_over(ctx, ground, id);
        self.progress(id);
    }

    /// Splits regions of a job: leaves here, branches to others.
    fn split(&mut self, ctx: &mut Ctx<'_>, ground: &dyn Ground, id: u64, regions: Vec<Region>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let mut own = Vec::new();
        for region in regions {
            let split = match job.work {
                Work::Announce { .. } => split::by_table(&ctx.me, ground, &region),
                Work::Query { .. } | Work::Keys { .. } | Work::Watch(_) | Work::Unwatch { .. } => {
                    split::by_certificate(&ctx.me, ground, &region)
                }
            };
            job.report.assumed_lost |= split.assumed_lost;
            job.report.missing.extend(split.missing);
            own.extend(split.own);
            for (part, to) in split.parts {
                let Some(work) = work_in(&job.work, &part) else {
                    job.report.covered = job.report.covered.plus(part.size());
                    continue;
                };
                let branch = ctx.serial();
                let until_us = ctx.now.mono + PATIENCE_US;
                job.branches.insert(
                    branch,
                    Branch { region: part, to, until_us, doubted: false, pieces: Map::new(), bytes: 0, count: None },
                );
                self.branches.insert(branch, id);
                job.report.messages += 1;
                job.report.bytes += work_bytes(&work);
                ctx.count("tasks_sent");
                let patience_us = job.until_us.saturating_sub(ctx.now.mono);
                let task =
                    Message::Task { branch, asker: job.asker, region: part, depth: job.depth, patience_us, work };
                to.send(ctx, task);
            }
        }
        if own.is_empty() {
            return;
        }
        let mut leaf = None;
        for region in &own {
            job.report.covered = job.report.covered.plus(region.size());
            leaf = match (leaf, work_in(&job.work, region)) {
                (Some(Work::Keys { request, mut ops }), Some(Work::Keys { ops: more, .. })) => {
                    ops.extend(more);
                    Some(Work::Keys { request, ops })
                }
                (leaf, work) => leaf.or(work),
            };
        }
        if let Some(work) = leaf {
            job.leaves += 1;
            self.events.push_back(Event::Leaf { job: id, asker: job.asker, regions: own, work });
        }
    }

    /// The node did the work of an [`Event::Leaf`]. `report` holds rows, outcomes or a fault; operations that found
    /// no owner here are left out of its outcomes.
    pub fn leaf_done(&mut self, ctx: &mut Ctx<'_>, ground: &dyn Ground, id: u64, mut report: Report) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.leaves = job.leaves.saturating_sub(1);
        report.peers = u64::from(!core::mem::replace(&mut job.counted, true));
        report.partial.reach.hops = job.depth.into();
        merge(ctx, job, report);
        self.check_over(ctx, ground, id);
    }

    /// The node could not do the work of an [`Event::Leaf`]: these regions are missing, all that it was for.
    pub fn leaf_missed(&mut self, ctx: &mut Ctx<'_>, ground: &dyn Ground, id: u64, regions: &[Region]) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.leaves = job.leaves.saturating_sub(1);
        job.report.covered = job.report.covered.minus(Coverage::of(regions));
        job.report.missing.extend(regions);
        self.check_over(ctx, ground, id);
    }

    fn branch(&mut self, branch: u64) -> Option<&mut Branch> {
        let job = self.branches.get(&branch)?;
        self.jobs.get_mut(job)?.branches.get_mut(&branch)
    }

    fn piece(&mut self, ctx: &mut Ctx<'_>, ground: &dyn Ground, name: u64, index: u32, last: bool, bytes: Vec<u8>) {
        let limit = ctx.config.query_bytes_max;
        let now = ctx.now.mono;
        let Some(branch) = self.branch(name) else {
            ctx.count("answers_late");
            return;
        };
        branch.heard(now);
        branch.bytes += bytes.len();
        if last {
            branch.count = Some(index + 1);
        }
        branch.pieces.insert(index, bytes);
        if self.bytes_of_asker(name) > limit {
            ctx.count("answers_too_long");
            return self.too_much(ctx, ground, name, limit);
        }
        let Some(branch) = self.branch(name) else { return };
        // More than it said there are: of two answers, and so of none.
        if branch.count.is_none_or(|count| (branch.pieces.len() as u32) < count) {
            return;
        }
        let Some(id) = self.branches.remove(&name) else { return };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(branch) = job.branches.remove(&name) else { return };
        job.report.messages += branch.pieces.len() as u64;
        job.report.bytes += branch.bytes as u64;
        let bytes: Vec<u8> = branch.pieces.into_values().flatten().collect();
        match postcard::from_bytes::<Report>(&bytes) {
            Ok(report) if sound(&report, &branch.region) => merge(ctx, job, report),
            _ => {
                ctx.count("answers_malformed");
                job.report.missing.push(branch.region);
            }
        }
        self.check_over(ctx, ground, id);
        self.progress(id);
    }

    /// The plan of a job that has one.
    pub fn plan(&self, job: u64) -> Option<&FragmentPlan> {
        self.jobs.get(&job)?.plan.as_ref()
    }

    /// The queries of an asker that this node takes part in.
    fn queries_of(&self, asker: &Id) -> impl Iterator<Item = &Job> {
        self.jobs.values().filter(move |job| job.asker == *asker && matches!(job.work, Work::Query { .. }))
    }

    /// What the asker of a branch has lying here, all its queries together.
    fn bytes_of_asker(&self, branch: u64) -> usize {
        let asker = self.branches.get(&branch).and_then(|job| Some(self.jobs.get(job)?.asker));
        asker.map_or(0, |asker| {
            let answers = self.answers.iter().filter(|answer| answer.asker == asker).map(Answer::bytes);
            self.queries_of(&asker).map(Job::bytes).chain(answers).sum()
        })
    }

    /// A query's asker has more lying here than one may.
    fn too_much(&mut self, ctx: &mut Ctx<'_>, ground: &dyn Ground, branch: u64, limit: usize) {
        let Some(id) = self.branches.get(&branch).copied() else { return };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let error = error(BUDGET, format!("queries of one peer hold more than query_bytes_max = {limit} at another"));
        job.report.fault = Some((&error).into());
        self.check_over(ctx, ground, id);
    }

    /// Tasks that this node takes part in, and bytes of answers that lie here for them: for debug pages and tests.
    pub fn held(&self) -> (usize, usize) {
        let bytes = self.jobs.values().map(Job::bytes).chain(self.answers.iter().map(Answer::bytes)).sum();
        (self.jobs.len() + self.answers.len(), bytes)
    }

    /// A branch will not answer: its whole region is missing.
    fn give_up(&mut self, ctx: &mut Ctx<'_>, ground: &dyn Ground, name: u64) {
        let Some(id) = self.branches.remove(&name) else { return };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(branch) = job.branches.remove(&name) else { return };
        ctx.count("branches_given_up");
        let to = if let To::Peer(peer) = branch.to { Some(peer) } else { None };
        ctx.trace("spread", "given-up", to, || format!("{:?}", branch.region));
        branch.cancel(ctx, name);
        job.report.missing.push(branch.region);
        self.check_over(ctx, ground, id);
    }

    /// A peer has no link any more, and did not say that it goes on. What was handed to it is missing only if its answer
    /// does not come over another way soon.
    pub fn on_peer_down(&mut self, ctx: &Ctx<'_>, peer: Id) {
        let until_us = ctx.now.mono + LAST_WORD_US;
        let branches = self.jobs.values_mut().flat_map(|job| job.branches.values_mut());
        for branch in branches.filter(|branch| branch.to == To::Peer(peer)) {
            branch.until_us = branch.until_us.min(until_us);
        }
    }

    /// A timer of this layer fired.
    pub fn on_timer(&mut self, ctx: &mut Ctx<'_>, ground: &dyn Ground, timer: Timer) {
        match timer {
            Timer::Check(id) => self.check(ctx, ground, id),
            Timer::Again(id) => {
                let Some(job) = self.jobs.get_mut(&id) else { return };
                job.waiting_again = false;
                let regions = match &job.work {
                    Work::Keys { .. } => {
                        job.report.missing.clear();
                        vec![job.region]
                    }
                    _ => core::mem::take(&mut job.report.missing),
                };
                self.split(ctx, ground, id, regions);
                self.check_over(ctx, ground, id);
            }
        }
    }

    fn check(&mut self, ctx: &mut Ctx<'_>, ground: &dyn Ground, id: u64) {
        let now = ctx.now.mono;
        let Some(job) = self.jobs.get_mut(&id) else {
            if self.check_answer(ctx, id) {
                ctx.timer(WORKING_US, crate::node::Timer::Spread(Timer::Check(id)));
            }
            return;
        };
        let over = now >= job.until_us;
        let mut silent = Vec::new();
        for (name, branch) in job.branches.iter_mut().filter(|(_, it)| over || now >= it.until_us) {
            // Who lives may have answered already: what it said stands in a queue before this peer. What proves that it lives
            // may do so, too: a peer that is suspected is waited for once more.
            match branch.to {
                To::Peer(peer) if !over && (ground.alive(&peer) || ground.linked(&peer) && !branch.doubted) => {
                    branch.doubted = !ground.alive(&peer);
                    branch.until_us = now + PATIENCE_US;
                    branch.to.send(ctx, Message::Ask { branch: *name, region: branch.region });
                }
                _ => silent.push(*name),
            }
        }
        if let Parent::Peer { contact, branch } = job.parent {
            ctx.send_via(contact.id, contact.relay, Message::Working { branch });
        }
        for name in silent {
            self.give_up(ctx, ground, name);
        }
        if over && let Some(job) = self.jobs.get_mut(&id) {
            job.leaves = 0;
            job.waiting_again = false;
            self.check_over(ctx, ground, id);
        }
        if self.jobs.contains_key(&id) {
            ctx.timer(WORKING_US, crate::node::Timer::Spread(Timer::Check(id)));
        }
    }

    /// Answers when nothing is awaited any more; the asker first asks again for what is missing.
    fn check_over(&mut self, ctx: &mut Ctx<'_>, _ground: &dyn Ground, id: u64) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let failed = job.report.fault.is_some();
        if !failed && (job.leaves > 0 || !job.branches.is_empty() || job.waiting_again) {
            return;
        }
        let incomplete = match &mut job.work {
            Work::Keys { ops, .. } => {
                let done: crate::map::Set<u32> = job.report.outcomes.iter().map(|(index, _)| *index).collect();
                ops.retain(|(index, _)| !done.contains(index));
                !ops.is_empty()
            }
            _ => !job.report.missing.is_empty(),
        };
        let again = matches!(job.parent, Parent::Here { .. }) && incomplete && !failed;
        if again && ctx.now.mono + job.backoff_us < job.until_us {
            job.waiting_again = true;
            ctx.count("tasks_again");
            ctx.timer(job.backoff_us, crate::node::Timer::Spread(Timer::Again(id)));
            job.backoff_us = (job.backoff_us * 2).min(BACKOFF_MAX_US);
            return;
        }
        let Some(job) = self.end(ctx, id) else { return };
        match job.parent {
            Parent::Peer { contact, branch } => self.answer(ctx, id, contact, branch, &job),
            Parent::Here { ticket } => {
                self.events.push_back(Event::Done { ticket, report: Box::new(job.report) });
            }
        }
    }
}

/// The answer of a peer that does not know the plan: it can neither run it nor combine what others answer, so they are
/// to be asked without it.
fn unknown_plan(me: &Id, ground: &dyn Ground, region: &Region) -> Report {
    let unknown = split::by_certificate(me, ground, region).own;
    Report { missing: region.subtract_all(&unknown), unknown, ..Report::default() }
}

/// The part of the work that concerns a region; `None` if nothing does.
fn work_in(work: &Work, region: &Region) -> Option<Work> {
    match work {
        Work::Announce { .. } | Work::Query { .. } | Work::Watch(_) | Work::Unwatch { .. } => Some(work.clone()),
        Work::Keys { request, ops } => {
            // Everything lies in the whole key space: its ids need not be known.
            let inside = |op: &KeyOp| *region == Region::ALL || region.contains(&op.id());
            let inside: Vec<(u32, KeyOp)> = ops.iter().filter(|(_, op)| inside(op)).cloned().collect();
            (!inside.is_empty()).then_some(Work::Keys { request: *request, ops: inside })
        }
    }
}

fn work_bytes(work: &Work) -> u64 {
    let body: usize = match work {
        Work::Announce { payload, .. } => payload.len(),
        Work::Query { plan, reader } | Work::Watch(Request { plan, reader, .. }) => {
            plan.len() + reader.as_ref().map_or(0, |reader| reader.bytes())
        }
        Work::Unwatch { .. } => 0,
        Work::Keys { ops, .. } => ops.iter().map(|(_, op)| op_bytes(op)).sum(),
    };
    body as u64 + 100
}

/// What an operation takes on the wire, about.
pub fn op_bytes(op: &KeyOp) -> usize {
    let value = match &op.action {
        crate::store::Action::Put { value, .. } | crate::store::Action::Edit { edit: value } => value.len(),
        _ => 0,
    };
    op.namespace.len() + op.key.len() + value + 48
}

/// Whether an answer can be true: what it covers and what is missing make up the part.
fn sound(report: &Report, region: &Region) -> bool {
    let rest = Coverage::of(&report.missing).plus(Coverage::of(&report.unknown));
    let inside = |parts: &[Region]| parts.len() <= MISSING_MAX && parts.iter().all(|part| region.covers(part));
    report.covered <= region.size()
        && inside(&report.missing)
        && inside(&report.unknown)
        && report.fed.len() <= FED_MAX
        && report.fed.iter().all(|fed| region.covers(&fed.region))
        && (report.fault.is_some() || report.covered.plus(rest) == region.size())
}

fn merge(ctx: &mut Ctx<'_>, job: &mut Job, report: Report) {
    let into = &mut job.report;
    into.covered = into.covered.plus(report.covered);
    into.missing.extend(report.missing);
    into.unknown.extend(report.unknown);
    into.fed.extend(report.fed);
    into.assumed_lost |= report.assumed_lost;
    into.peers += report.peers;
    into.messages += report.messages;
    into.bytes += report.bytes;
    into.outcomes.extend(report.outcomes.into_iter().filter(|(_, outcome)| *outcome != Outcome::Unreachable));
    if into.fault.is_none() {
        into.fault = report.fault;
    }
    if let Some(plan) = &job.plan
        && let Err(error) = plan.combine(&mut into.partial, report.partial, &Budget::from(ctx.config))
    {
        into.fault.get_or_insert((&error).into());
    }
}
