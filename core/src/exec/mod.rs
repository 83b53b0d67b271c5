//! Statements as push-based dataflow over signed rows.
//!
//! [`Run`] carries out one statement's [`Plan`] at its asker: it says what it needs from the swarm ([`Need`]) and is told
//! what came.
//! [`FragmentPlan`] is the part of it that owners run over their records; [`Partial`] is what they answer with, and
//! partial answers combine on the way up the region tree. [`local`] runs the same over one map of records.
//!
//! ```text
//!   owners      records ──▶ FragmentPlan::run ──▶ Partial ─┐
//!                                                          ├ combine, up the region tree
//!   asker       Run ──▶ Need::Gather ..                    │
//!               Run ◀── on_batch, on_gathered ◀────────────┘
//!                └──▶ dataflow::Dataflow: joins, final aggregates, sorts ──▶ QueryResult
//! ```

pub mod cast;
pub mod change;
pub mod columns;
pub mod dataflow;
pub mod eval;
pub mod exchange;
pub mod fragment;
pub mod functions;
pub mod incremental;
pub mod kept;
pub mod listed;
pub mod local;
pub mod ops;
pub mod plan;
pub mod references;
pub mod run;
pub mod schema;
pub mod table;
pub mod vector;
pub mod view;

pub use exchange::JoinPlan;
pub use fragment::{Budget, FragmentPlan, Partial};
pub use ops::EARLY_MAX;
pub use plan::Plan;
pub use run::{Env, GatherEnd, Need, Part, Run};

pub use crate::sql::fault::Fault;
