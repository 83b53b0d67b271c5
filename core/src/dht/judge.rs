//! Records that other peers want held here, and who may have written them: see [`trust`](crate::trust).

use super::{Dht, env};
use crate::{
    ctx::Ctx,
    group::{self, Env, Name},
    id::Id,
    overlay::View,
    store::{Record, Refusal},
    trust::Verdict,
};

/// Writes of owners that wait for rights to be read; others are sent again.
const COPIES_MAX: usize = 64;

/// What an owner wants held.
pub(super) struct Copies {
    pub from: Id,
    pub of: Name,
    pub serial: u64,
    pub records: Vec<Record>,
}

impl Dht {
    /// Whether a message between members is to be heard now; what it carries that nobody may have written is left out.
    pub(super) fn judge_message(&mut self, ctx: &mut Ctx, message: &mut group::Message) -> bool {
        match message {
            // Of the truth about a range nothing is left out; if one record is not its author's, it is none.
            group::Message::Push { page, .. } => page.records.iter_mut().all(|record| self.keeper.lawful(ctx, record)),
            // Anybody may say that it has another history.
            group::Message::Donate { page, .. } => self.judge_page(ctx, &mut page.records),
            other => {
                let mine = |record: &Record| self.groups.serving_for(&record.id(), ctx.now, &self.config).is_some();
                // Nobody keeps a copy of what this node answers for beside it.
                let backup = matches!(other, group::Message::Backup { .. });
                if let Some(page) = other.page_mut() {
                    page.records.retain(|record| !(backup && mine(record)));
                    page.records.retain_mut(|record| self.keeper.lawful(ctx, record));
                }
                true
            }
        }
    }

    /// Leaves those records of another history that may be written. Others that their authors signed are kept as losers of a
    /// conflict. False: not everything is decided and kept yet; the donor comes again.
    fn judge_page(&mut self, ctx: &mut Ctx, records: &mut Vec<Record>) -> bool {
        let mut settled = true;
        records.retain_mut(|record| {
            let held = self.store.get(&record.namespace, &record.key);
            // What is held is newer: this one is compared with it, not written.
            if held.is_some_and(|held| held.version >= record.version) {
                return self.keeper.lawful(ctx, record);
            }
            match self.keeper.judge_copy(ctx, record, held, true) {
                Verdict::Allowed => return true,
                Verdict::Later => settled = false,
                Verdict::Refused(Refusal::Forged) => {}
                Verdict::Refused(_) => {
                    settled &= record.value.is_none() || self.owner.conflicts.keep(ctx, record, held);
                }
            }
            false
        });
        settled
    }

    /// An owner wants records held: those that may be written are.
    pub(super) fn on_copies(&mut self, ctx: &mut Ctx, view: &dyn View, mut copies: Copies) {
        let mut verdict = Verdict::Allowed;
        // What will not be taken need not be judged.
        if !self.groups.takes(&copies.of, &copies.from) {
            copies.records.clear();
        }
        for record in &mut copies.records {
            let held = self.store.get(&record.namespace, &record.key);
            match self.keeper.judge_copy(ctx, record, held, false) {
                Verdict::Allowed => {}
                Verdict::Later => verdict = Verdict::Later,
                refused => {
                    ctx.trace("trust", "refused", Some(copies.from), || format!("{refused:?}: {}", record.namespace));
                    return;
                }
            }
        }
        let Copies { from, of, serial, records } = copies;
        if verdict == Verdict::Allowed {
            self.groups.on_replicate(env!(self, ctx, view), from, of, serial, records);
            return;
        }
        // The owner sends them again.
        self.copies.retain(|other| (other.from, other.serial) != (from, serial));
        if self.copies.len() < COPIES_MAX {
            self.copies.push(Copies { from, of, serial, records });
        }
    }

    /// Rights were read, or could not be: what waits for them is judged again.
    pub(super) fn judge_again(&mut self, ctx: &mut Ctx, view: &dyn View) {
        for copies in core::mem::take(&mut self.copies) {
            self.on_copies(ctx, view, copies);
        }
        self.owner.judge_again(env!(self, ctx, view), &mut self.groups);
    }
}
