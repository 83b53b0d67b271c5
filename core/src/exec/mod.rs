//! Statements as push-based dataflow over signed rows.
//!
//! [`Run`] is one statement at its asker: it says what it needs from the swarm ([`Need`]) and is told what came.
//! [`FragmentPlan`] is the part of it that owners run over their records; [`Partial`] is what they answer with, and
//! partial answers combine on the way up the region tree. [`local`] runs the same over one map of records.

pub mod fragment;
pub mod run;

pub use fragment::{Budget, Fault, FragmentPlan, Partial};
pub use run::{Env, GatherEnd, Need, Run};
