//! The node: one state machine that drivers feed and drain.
//!
//! The contract: call [`Node::handle_input`] with what happened, then [`Node::poll_output`] until it gives `None`;
//! the last thing it gave before that is always an [`Output::Wake`]. Feed [`Input::Wake`] at or after that time.
//! The node reads no clock, opens no socket and writes no disk.

use serde::{Deserialize, Serialize};

use crate::{
    crypto::Secret,
    ctx::Now,
    data::{Cost, SignedRow},
    error::Error,
    exec::{FragmentPlan, GatherEnd, JoinPlan, Partial},
    id::{Id, Region},
    inspect::Trace,
    live::Watched,
    store::{Batch, KeyOp, Outcome, Record},
    trust::{Session, User},
};

/// A transport channel of the driver: ordered, reliable, two-way, message-oriented. Never used again once down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// A WebRTC session of the driver, named by the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A call of the application, named by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// How a link came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This side dialled a supernode's address (answers [`Output::Dial`]).
    Dialled {
        /// The address.
        address: String,
    },
    /// The other side dialled.
    Accepted,
    /// A WebRTC data channel opened (answers [`Output::RtcOpen`]).
    Rtc {
        /// The session.
        session: SessionId,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A channel is open.
    LinkUp {
        /// Its name.
        link: LinkId,
        /// How it came to be.
        origin: Origin,
    },
    /// A channel is closed, by whomever.
    LinkDown {
        /// Its name.
        link: LinkId,
    },
    /// A chunk arrived.
    Chunk {
        /// On this channel.
        link: LinkId,
        /// As sent by the other side, whose driver may put what comes together in one ([`Outgoing`](crate::wire::Outgoing)).
        bytes: Vec<u8>,
    },
    /// Dialling an address failed.
    DialFailed {
        /// The address.
        address: String,
    },
    /// The driver heard of other supernodes of this network, the likeliest first: who has lost every one that it was
    /// configured with dials these. What was heard before is forgotten.
    Supernodes {
        /// Their addresses; more than `supernodes_learnt_max` are not kept.
        addresses: Vec<String>,
    },
    /// The local end of a WebRTC session has something for the remote end: a description or a candidate.
    RtcSignal {
        /// The session.
        session: SessionId,
        /// Opaque to the node; at most 64 KiB.
        payload: Vec<u8>,
    },
    /// A WebRTC session will not open.
    RtcFailed {
        /// The session.
        session: SessionId,
        /// For people.
        reason: String,
    },
    /// A batch is on disk.
    Persisted {
        /// The token of [`Output::Persist`].
        token: u64,
    },
    /// A batch is not on disk, and will not be.
    PersistFailed {
        /// The token of [`Output::Persist`].
        token: u64,
        /// For people.
        reason: String,
    },
    /// The application calls.
    Command {
        /// Answered once by [`Output::Reply`] with this name.
        call: CallId,
        /// What it wants.
        command: Command,
    },
    /// Time passed.
    Wake,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send one chunk.
    Send {
        /// Over this channel.
        link: LinkId,
        /// At most `chunk_bytes`.
        bytes: Vec<u8>,
    },
    /// Close a channel; the node has forgotten it already.
    Close {
        /// The channel.
        link: LinkId,
    },
    /// Open a channel to a supernode's address: answered by `LinkUp` or `DialFailed`.
    Dial {
        /// The address.
        address: String,
    },
    /// Open a WebRTC session: answered by `LinkUp` with this session, or `RtcFailed`.
    RtcOpen {
        /// Its name.
        session: SessionId,
        /// The peer at the other end.
        peer: Id,
        /// Whether this side makes the offer.
        initiator: bool,
    },
    /// What the remote end of a WebRTC session said.
    RtcSignal {
        /// The session.
        session: SessionId,
        /// The remote driver's payload.
        payload: Vec<u8>,
    },
    /// Forget a WebRTC session.
    RtcClose {
        /// The session.
        session: SessionId,
    },
    /// Write atomically and durably: answered by `Persisted` or `PersistFailed`. Batches are written in order.
    Persist {
        /// Its name.
        token: u64,
        /// What to write.
        batch: Batch,
    },
    /// The answer of a command.
    Reply {
        /// The call.
        call: CallId,
        /// What came of it.
        result: Result<Reply, Error>,
    },
    /// An application message arrived.
    Message {
        /// Its sender.
        from: Id,
        /// The key it was sent to, if it was sent to a key.
        to_key: Option<(String, Vec<u8>)>,
        /// The message.
        payload: Vec<u8>,
    },
    /// A global was set (or removed: `None`).
    Global {
        /// Its name.
        name: String,
        /// Its value.
        value: Option<Vec<u8>>,
    },
    /// The node has joined, or has lost every link again.
    Joined(bool),
    /// As its owner this node committed a record of a namespace that the application subscribed to: a new version, or
    /// the key's removal (no value).
    NewData(Record),
    /// A `Gather` or a `Join` goes on: so many rows have come, some of which may still be dropped.
    Progress {
        /// The call.
        call: CallId,
        /// Rows so far, or groups.
        rows: u64,
        /// The share of what was asked that has answered so far; of a join, of both sides and of what was made of them. Where
        /// something is tried again it goes back.
        share: f64,
        /// Where rows are wanted one by one, the next ones of the first
        /// [`EARLY_MAX`](crate::exec::EARLY_MAX) that came.
        early: Vec<SignedRow>,
    },
    /// A trace event, while tracing is on.
    Trace(Trace),
    /// What came of [`Command::Watch`].
    Watched {
        /// The call.
        call: CallId,
        /// What came.
        event: Watched,
    },
    /// Nothing more to do before this time of the monotone clock.
    Wake(u64),
}

/// What the application wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Operations on keys, each on its own; the outcomes come in the same order.
    Keys {
        /// What to do.
        ops: Vec<KeyOp>,
        /// Give up after so many microseconds; `None` takes the configured deadline.
        deadline_us: Option<u64>,
    },
    /// What this node holds of some namespaces.
    LocalScan {
        /// The namespaces.
        namespaces: Vec<String>,
    },
    /// A message to the owner of a key.
    Send {
        /// The namespace.
        namespace: String,
        /// The key.
        key: Vec<u8>,
        /// The message.
        payload: Vec<u8>,
    },
    /// A message to a node; replied when delivered.
    SendNode {
        /// The node.
        to: Id,
        /// The message.
        payload: Vec<u8>,
    },
    /// A message to every other node; replied with how many were reached and what share of the key space that is.
    SendAll {
        /// The message.
        payload: Vec<u8>,
    },
    /// Sets (or removes) a global.
    SetGlobal {
        /// Its name.
        name: String,
        /// Its value.
        value: Option<Vec<u8>>,
    },
    /// Runs a fragment over the records of its namespace, wherever they are. With `Keys` it is all that SQL needs of a
    /// node: see [`Asking`](crate::sql::asking::Asking). [`Output::Progress`] tells how far it has come.
    Gather {
        /// The fragment.
        fragment: FragmentPlan,
        /// Disjoint regions that are covered already: see [`Node::owned`](super::Node::owned).
        except: Box<[Region]>,
        /// Give up after so many microseconds; `None` takes the configured deadline.
        deadline_us: Option<u64>,
    },
    /// Joins two tables at the peers; replied as `Gather` is, with [`Output::Progress`] meanwhile.
    Join {
        /// What is joined.
        plan: Box<JoinPlan>,
        /// Give up after so many microseconds; `None` takes the configured deadline.
        deadline_us: Option<u64>,
    },
    /// Begins or ends [`Output::NewData`] for a namespace (PIER's `newData`: Huebsch et al., VLDB 2003, section 3.2).
    /// It is told where the data is, at the owner of each key, at most once for a version; a write that is acknowledged
    /// while its owner changes may be told by nobody.
    Subscribe {
        /// The namespace.
        namespace: String,
        /// Whether to begin.
        on: bool,
    },
    /// Lets a fragment of plain rows stand at the owners of its namespace, or of a part of it: [`Output::Watched`] tells
    /// its rows, and then what changes. Replied at once.
    Watch {
        /// The fragment. The last of the columns that it gives is the record's key.
        fragment: Box<FragmentPlan>,
        /// Where; `None`: the whole namespace.
        region: Option<Region>,
    },
    /// Ends what a [`Command::Watch`] began; also where it has ended already.
    Unwatch {
        /// Its call.
        watch: CallId,
    },
    /// Ends a [`Command::Gather`] or [`Command::Join`]: it is replied to with `query_canceled`, and whoever works for it is
    /// told at once. Without effect on any other call, and where it has ended already.
    Cancel {
        /// Its call.
        call: CallId,
    },
    /// From now on this node acts for a user; `None`: for nobody. What was asked for before is signed as it was. Refused, if
    /// the user did not sign that.
    ActFor {
        /// The user's word.
        session: Option<Session>,
    },
    /// What the user for whom this node acts, whose keys are at hand, agrees on with others; replied at once.
    Agree {
        /// With whom.
        with: Vec<User>,
    },
    /// Hands everything over and says goodbye; replied when done or after a few seconds. The node is closed then.
    Leave,
}

/// What a node may answer for of a namespace.
#[derive(Debug, Serialize, Deserialize)]
pub struct Owned {
    /// Where, disjoint.
    pub regions: Vec<Region>,
    /// The number of the last change: while it is the same, so are the records in the same regions.
    pub change: u64,
    /// Whether a majority was given up for lost there.
    pub assumed_lost: bool,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Outcomes of `Keys`, and what they cost.
    Keys(Vec<Outcome>, Cost),
    /// Records of `LocalScan`.
    Records(Vec<Record>),
    /// `Send`, `SendNode`: the message was delivered to this node.
    Delivered(Id),
    /// `SendAll`: how many nodes beside this one, and the share of the key space that confirmed.
    Reached {
        /// Nodes beside this one.
        nodes: u64,
        /// 1.0 when everybody confirmed.
        coverage: f64,
    },
    /// `Gather`, `Join`.
    Gathered(Box<Partial>, GatherEnd),
    /// `Agree`: for each; `None` where there is no user, its keys are not at hand, or the other one is none.
    Agreed(Vec<Option<Secret>>),
    /// `SetGlobal`, `Subscribe`, `Watch`, `Unwatch`, `Cancel`, `ActFor`, `Leave`.
    Done,
}

/// What a timer is for.
#[derive(Clone, Debug, PartialEq)]
pub enum Timer {
    /// The overlay's.
    Overlay(crate::overlay::Timer),
    /// The groups'.
    Group(crate::group::Timer),
    /// The DHT client's and owner's.
    Dht(crate::dht::Timer),
    /// Dissemination's.
    Spread(crate::spread::Timer),
    /// Exchanges'.
    Exchange(crate::exchange::Timer),
    /// The application's messages'.
    Messaging(crate::messaging::Timer),
    /// The replicated map's.
    Globals,
    /// A call of the application reaches its deadline.
    Call(CallId),
    /// Live queries'.
    Live(crate::live::Timer),
}

/// What a driver keeps for the node between runs.
pub type Saved = Vec<(Vec<u8>, Vec<u8>)>;

/// The two clocks at the start, and later with every input.
pub type Clocks = Now;
