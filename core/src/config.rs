//! Every bound and period of the engine, in one place. Times are microseconds of the monotone clock.

use core::ops::RangeInclusive;

use crate::wire::{WIRE_OLDEST, WIRE_VERSION};

/// One second in microseconds.
pub const SECOND_US: u64 = 1_000_000;

/// Settings of a node. [`Config::default`] is what browsers and supernodes run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Peers of different networks refuse one another's links. At most 64 bytes.
    pub network: String,
    /// WebSocket addresses that the driver may be asked to dial.
    pub supernodes: Vec<String>,
    /// A native peer that others reach by address: accepts any number of links, is avoided as transit.
    pub supernode: bool,
    /// Whether this peer starts the network when nobody else has: the first peer is a group of one.
    pub founder: bool,
    /// A founder that no link will ever reach: it waits for nobody before it founds, or goes on with what it has.
    pub alone: bool,
    /// Whether this peer's driver can open direct links on its own (WebRTC).
    pub direct_links: bool,
    /// The versions of the wire that this node speaks; another range than the default is for tests.
    pub wire: RangeInclusive<u8>,
    /// Whether a channel that was dialled is replaced by a WebRTC channel to the same peer, where that peer can open one.
    pub leave_sockets: bool,

    /// Copies of a record, the owner's included (r).
    pub replicas: usize,
    /// Whether the members of a group are the peers nearest to its owner, exchanged as nearer ones come; else who is a member
    /// stays one while it lives. Verified gets find groups by who is near. The same for the whole network.
    pub near_groups: bool,
    /// Whether this peer is an archive: it holds a copy of every record, beside the `replicas` of each group.
    pub archive: bool,
    /// Archives in a group at most, owner included: fewer than `replicas`, so that the others are a majority.
    pub archives_max: usize,
    /// Locality bits of bare namespaces. The same for the whole network.
    pub locality_bits: u8,
    /// The nearest peers, all linked.
    pub siblings: usize,
    /// Links that a peer tells its neighbours of.
    pub lookahead_max: usize,
    /// Links that this peer opens.
    pub links_opened_max: usize,
    /// Links in all, accepted ones included (a supernode accepts any number up to `links_supernode_max`).
    pub links_max: usize,
    /// Links of a supernode.
    pub links_supernode_max: usize,
    /// Addresses of supernodes that the driver may be asked to dial, beside the configured ones.
    pub supernodes_learnt_max: usize,
    /// Contacts remembered beside the links.
    pub contacts_max: usize,

    /// Between two probes of a link to a sibling.
    pub probe_sibling_us: u64,
    /// Between two probes of any other link.
    pub probe_finger_us: u64,
    /// Silence after a probe that makes a peer suspected at the latest; half of it where round trips are short.
    pub suspect_after_us: u64,
    /// First guess of a round trip, and bounds of a retransmission timeout.
    pub rtt_initial_us: u64,
    /// The least retransmission timeout.
    pub rto_min_us: u64,
    /// The largest retransmission timeout.
    pub rto_max_us: u64,
    /// A hop's acknowledgement is waited for so long while the hop is heard otherwise: it may stand in a queue.
    pub queue_us: u64,
    /// Hops after which a routed message is dropped.
    pub hops_max: u8,
    /// First hops that a message is tried over.
    pub route_attempts: u8,
    /// Routed messages waiting for their next hop's acknowledgement.
    pub routes_pending_max: usize,
    /// Bytes of rows among them.
    pub routes_bytes_max: usize,
    /// Of these, bytes on their way to one next hop: the rest waits until some are acknowledged.
    pub hop_bytes_max: usize,
    /// Before a peer tries again to replace a relayed link by a direct one.
    pub upgrade_retry_us: u64,
    /// A WebRTC attempt that is not open by then has failed.
    pub rtc_timeout_us: u64,

    /// How long a lease holds, on the monotone clock of its giver.
    pub lease_us: u64,
    /// Between two renewals.
    pub lease_renew_us: u64,
    /// A majority gone for so long: the survivors go on under an epoch marked `assumed_lost`.
    pub assumed_lost_us: u64,
    /// Nobody of a group answers for so long: the nearest peer begins its region anew, marked `assumed_lost`.
    pub orphaned_us: u64,
    /// How far ahead of this peer's wall clock a version may lie.
    pub clock_skew_max_us: u64,
    /// How long a tombstone is kept.
    pub tombstone_us: u64,
    /// How long the loser of a conflict is kept.
    pub conflict_us: u64,

    /// Deadline of an operation or a query unless the caller gives one.
    pub deadline_us: u64,
    /// Operations and queries that one peer runs at once for itself.
    pub calls_max: usize,
    /// Of those, queries over the peers (gathers and joins) that run; further ones wait for their turn.
    pub queries_max: usize,
    /// Queries that wait for their turn; beyond that they are refused.
    pub queries_waiting_max: usize,
    /// Messages of the application to one node or key that are under way at once at first, and again when one is late;
    /// more when they arrive. Further ones wait for their turn.
    pub messages_in_flight_first: usize,
    /// Bytes of them that are under way at once, but for a single message.
    pub messages_bytes_max: usize,
    /// Namespaces whose new data the application is told of.
    pub subscriptions_max: usize,
    /// Messages to one node or key that this peer's application waits for.
    pub messages_waiting_max: usize,
    /// Fragments held, as owner or member.
    pub fragments_max: usize,
    /// Operations under way at one peer as their keys' owner.
    pub owner_ops_max: usize,
    /// Bytes of one record's value.
    pub value_bytes_max: usize,
    /// Bytes of one record's key.
    pub key_bytes_max: usize,
    /// Bytes of all records kept.
    pub store_bytes_max: u64,
    /// Bytes of one frame before it is cut into chunks.
    pub frame_bytes_max: usize,
    /// Bytes of one chunk (what a data channel takes in one message everywhere).
    pub chunk_bytes: usize,
    /// Globals of the network, and bytes of one of them.
    pub globals_max: usize,
    /// Rows that one query may gather at one peer.
    pub query_rows_max: usize,
    /// Bytes that one query may gather at one peer, and all queries of one asker.
    pub query_bytes_max: usize,
    /// Bytes of decoded columns that one peer keeps of what is scanned again and again.
    pub columns_bytes_max: usize,
    /// Bytes of rows that one peer keeps for joins of others.
    pub exchange_bytes_max: usize,
    /// Dissemination tasks that one peer takes part in at once.
    pub tasks_max: usize,
    /// Of those, parts of queries of one asker.
    pub asker_tasks_max: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            network: "pontoon".to_owned(),
            supernodes: Vec::new(),
            supernode: false,
            founder: false,
            alone: false,
            direct_links: true,
            wire: WIRE_OLDEST..=WIRE_VERSION,
            leave_sockets: false,

            replicas: 3,
            near_groups: false,
            archive: false,
            archives_max: 2,
            locality_bits: 0,
            siblings: 8,
            lookahead_max: 48,
            links_opened_max: 32,
            links_max: 48,
            links_supernode_max: 10_000,
            supernodes_learnt_max: 16,
            contacts_max: 128,

            probe_sibling_us: 3 * SECOND_US / 2,
            probe_finger_us: 8 * SECOND_US,
            suspect_after_us: 3 * SECOND_US,
            rtt_initial_us: 200_000,
            rto_min_us: 100_000,
            rto_max_us: 3 * SECOND_US,
            queue_us: 30 * SECOND_US,
            hops_max: 40,
            route_attempts: 3,
            routes_pending_max: 32_768,
            routes_bytes_max: 128 << 20,
            hop_bytes_max: 4 << 20,
            upgrade_retry_us: 15 * SECOND_US,
            rtc_timeout_us: 15 * SECOND_US,

            lease_us: 4 * SECOND_US,
            lease_renew_us: SECOND_US,
            assumed_lost_us: 15 * SECOND_US,
            orphaned_us: 60 * SECOND_US,
            clock_skew_max_us: 600 * SECOND_US,
            tombstone_us: 24 * 3_600 * SECOND_US,
            conflict_us: 7 * 24 * 3_600 * SECOND_US,

            deadline_us: 30 * SECOND_US,
            calls_max: 1_024,
            queries_max: 16,
            queries_waiting_max: 256,
            messages_in_flight_first: 8,
            messages_bytes_max: 1 << 20,
            subscriptions_max: 256,
            messages_waiting_max: 256,
            fragments_max: 16_384,
            owner_ops_max: 16_384,
            value_bytes_max: 256 * 1_024,
            key_bytes_max: 4 * 1_024,
            store_bytes_max: 256 << 20,
            frame_bytes_max: 1 << 20,
            chunk_bytes: 16 * 1_024,
            globals_max: 256,
            query_rows_max: 1_000_000,
            query_bytes_max: 128 << 20,
            columns_bytes_max: 64 << 20,
            exchange_bytes_max: 256 << 20,
            tasks_max: 1_024,
            asker_tasks_max: 64,
        }
    }
}
