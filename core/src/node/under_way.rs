//! Gathers and joins under way: what the application is told of them, and their early end.

use super::{CallId, Node, Output, Reply, calls::Ticket, ctx, joins::ways};
use crate::{
    ctx::Ctx,
    data::SignedRow,
    id::Coverage,
    sql::fault::{CANCELED, fail},
};

impl Node {
    /// Some of a task has answered.
    pub(super) fn goes_on(&mut self, ticket: u64, covered: Coverage, rows: u64, early: Vec<SignedRow>) {
        match self.calls.tickets.get(&ticket) {
            Some(Ticket::Gather { call, whole }) => {
                let (call, share) = (*call, covered.share_of(whole.size()));
                self.out.outputs.push_back(Output::Progress { call, rows, share, early });
            }
            Some(Ticket::Side { number, side, whole }) => {
                self.exchanges.side_goes_on(*number, *side, covered.share_of(whole.size()), rows, early);
            }
            _ => {}
        }
    }

    /// Ends a gather or a join of this node.
    pub(super) fn cancel(&mut self, call: CallId, canceled: CallId) {
        if self.exchanges.cancel(&mut ctx!(self), &ways!(self), canceled)
            || self.drop_tasks(&|ticket| matches!(ticket, Ticket::Gather { call, .. } if *call == canceled))
            || self.withdraw(canceled)
        {
            self.query_over(canceled, fail(CANCELED, "the query was canceled"));
        }
        self.reply(call, Ok(Reply::Done));
    }

    /// What a join gathers is of no use any more.
    pub(super) fn drop_sides(&mut self, join: u64) {
        self.drop_tasks(&|ticket| matches!(ticket, Ticket::Side { number, .. } if *number == join));
    }

    /// Drops tasks; whether there were any.
    fn drop_tasks(&mut self, whose: &dyn Fn(&Ticket) -> bool) -> bool {
        let mut any = false;
        loop {
            let tickets = &self.calls.tickets;
            let name = tickets.keys().copied().find(|name| tickets.get(name).is_some_and(whose));
            let Some(name) = name else { return any };
            self.calls.tickets.remove(&name);
            self.spread.cancel(&mut ctx!(self), name);
            any = true;
        }
    }
}
