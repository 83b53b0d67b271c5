//! What ways to carry out a plan cost, and which is the cheapest.
//!
//! A cost is messages, bytes and trips, each one way; and of the bytes how many the busiest peer receives, for it is its
//! link that one waits for. [`Network::time_us`] makes one number of them: trips and the busiest link one after the other, and
//! beside them what all the rest comes to when it is shared by all peers.
//!
//! | strategy | ships | trips |
//! |---|---|---|
//! | gather | both sides to the asker | down the tree and up |
//! | symmetric hash | both sides once to buckets, results | down, across (counts up meanwhile), home, the counts down, the last words home |
//! | fetch-matches | rows of one side to the owners of the other's, results | down, there, home |
//! | semi-join | keys of both sides to buckets, then what matches past the owners of both rows | as symmetric hash, and there twice |
//! | Bloom | a filter of one side up and down, then what it lets through as symmetric hash | up and down before that |
//! | broadcast | the small side up and down to all owners of the other, results | up, down, and up |
//!
//! Huebsch et al., *Querying the Internet with PIER*, VLDB 2003, section 4.1 and 5.5; Mackert and Lohman, *R\* optimizer
//! validation*, VLDB 1986, for costs as messages and bytes.

use super::strategy::JoinStrategy;

/// Bytes of a message beside what it carries.
const MESSAGE_BYTES: f64 = 64.0;
/// Bytes of what names a row.
const NAME_BYTES: f64 = 24.0;
/// Bits of a Bloom filter for a value: 1% of the others pass.
const FILTER_BITS: f64 = 10.0;
const FALSE_SHARE: f64 = 0.01;
/// What a peer's processor spends on a message.
const MESSAGE_US: f64 = 20.0;
/// Links over which a peer sends batches, merged by next hop.
const LINKS: f64 = 32.0;

/// What something costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Messages, each hop counted.
    pub messages: f64,
    /// Bytes of these.
    pub bytes: f64,
    /// Bytes that the busiest peer receives.
    pub inbound: f64,
    /// One-way trips, one after the other.
    pub trips: f64,
}

impl Cost {
    /// This, then that.
    #[must_use]
    pub fn then(self, next: Cost) -> Cost {
        let (bytes, inbound) = (self.bytes + next.bytes, self.inbound + next.inbound);
        Cost { messages: self.messages + next.messages, bytes, inbound, trips: self.trips + next.trips }
    }

    /// This beside that.
    #[must_use]
    pub fn beside(self, other: Cost) -> Cost {
        Cost { trips: self.trips.max(other.trips), ..self.then(other) }
    }
}

/// The network as planners see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network {
    /// Peers that hold parts of a table.
    pub peers: f64,
    /// How long a message is on its way, in microseconds.
    pub trip_us: f64,
    /// What a peer receives in a second.
    pub bytes_per_s: f64,
}

impl Default for Network {
    /// The network of the literature: 100 ms between any two, 10 Mbit/s into each; a table meets about 64 peers.
    fn default() -> Network {
        Network { peers: 64.0, trip_us: 100_000.0, bytes_per_s: 1_250_000.0 }
    }
}

impl Network {
    /// How many hops a key is away, about: two bits a hop.
    pub fn depth(&self) -> f64 {
        (self.peers.max(1.0).log2() / 2.0).ceil()
    }

    /// How deep a region tree is: a hop more, for a part may have to be handed to who owns it.
    fn tree(&self) -> f64 {
        if self.peers > 1.0 { self.depth() + 1.0 } else { 0.0 }
    }

    /// One number: about how long it takes, in microseconds.
    pub fn time_us(&self, cost: &Cost) -> f64 {
        let shared = cost.bytes / self.bytes_per_s * 1e6 + cost.messages * MESSAGE_US;
        cost.trips * self.trip_us + cost.inbound / self.bytes_per_s * 1e6 + shared / self.peers.max(1.0)
    }

    /// A message to each peer down the tree.
    fn down(&self, bytes: f64) -> Cost {
        let each = MESSAGE_BYTES + bytes;
        let messages = (self.peers - 1.0).max(0.0);
        Cost { messages, bytes: messages * each, inbound: each, trips: self.tree() }
    }

    /// Rows up the tree; each is carried once a level.
    fn up(&self, bytes: f64) -> Cost {
        let messages = (self.peers - 1.0).max(0.0);
        let carried = bytes * self.depth().max(1.0);
        Cost { messages, bytes: messages * MESSAGE_BYTES + carried, inbound: bytes, trips: self.tree() }
    }

    /// Rows from all peers to all peers by a hash, in batches merged by next hop.
    fn across(&self, bytes: f64) -> Cost {
        let messages = self.peers * self.peers.min(LINKS);
        let hops = self.depth().max(1.0);
        Cost {
            messages: messages * hops,
            bytes: messages * hops * MESSAGE_BYTES + bytes * hops,
            inbound: bytes / self.peers.max(1.0) * hops + self.peers.min(LINKS) * MESSAGE_BYTES,
            trips: hops,
        }
    }

    /// Results from wherever they are made straight to the asker, whose links and theirs are known to all on the way.
    fn home(&self, bytes: f64) -> Cost {
        let trips = (self.depth() / 2.0).ceil().max(1.0);
        Cost { messages: self.peers, bytes: bytes + self.peers * MESSAGE_BYTES, inbound: bytes, trips }
    }
}

/// One side of a join.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Side {
    /// Rows that its own conditions leave.
    pub rows: f64,
    /// Bytes of one, of the columns that are wanted.
    pub bytes: f64,
    /// Bytes of what must be equal.
    pub key_bytes: f64,
    /// The share of its rows that have a match.
    pub matching: f64,
    /// Whether its rows can be got by what must be equal.
    pub keyed: bool,
    /// Whether rows without a match stay.
    pub preserved: bool,
    /// Whether its rows are at the asker already.
    pub at_asker: bool,
    /// Whether peers find them in another join, and would send them on.
    pub made: bool,
}

impl Side {
    fn all(&self) -> f64 {
        self.rows * self.bytes
    }

    /// The share of rows that is left when those without a match are left out.
    fn left(&self) -> f64 {
        if self.preserved { 1.0 } else { self.matching }
    }
}

/// Two sides that are to be joined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Left and right.
    pub sides: [Side; 2],
    /// Rows of the result.
    pub rows: f64,
    /// Bytes of one.
    pub bytes: f64,
    /// Whether something must be equal.
    pub equations: bool,
    /// Whether nothing comes out but rows of the left side, each once.
    pub half: bool,
}

/// A way to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which; never [`JoinStrategy::Auto`].
    pub strategy: JoinStrategy,
    /// The side that is sent to all, or whose rows ask for those of the other; of other strategies the left one.
    pub side: usize,
}

/// A way with what it costs, and how long that takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weighed {
    /// The way.
    pub choice: Choice,
    /// What it costs.
    pub cost: Cost,
    /// [`Network::time_us`] of that: the least is chosen.
    pub time_us: f64,
}

/// The rows of a side at the asker.
pub fn gather(side: &Side, network: &Network) -> Cost {
    match side {
        Side { at_asker: true, .. } => Cost::default(),
        Side { made: true, .. } => network.home(side.all()),
        _ => network.down(0.0).then(network.up(side.all())),
    }
}

/// Rows got by so many keys, which the asker has; each get is a way of its own.
pub fn lookups(keys: f64, rows: f64, bytes: f64, network: &Network) -> Cost {
    let hops = network.depth().max(1.0);
    let sent = keys * (hops + 1.0) * (MESSAGE_BYTES + NAME_BYTES) + rows * bytes;
    Cost { messages: keys * (hops + 1.0), bytes: sent, inbound: keys * MESSAGE_BYTES + rows * bytes, trips: hops + 1.0 }
}

/// Rows that so many entries of an index lead to.
pub fn index_scan(entries: f64, rows: f64, bytes: f64, network: &Network) -> Cost {
    // A leaf is found in a few probes, and has some dozens of entries.
    let leaves = 2.0 + entries / 32.0;
    lookups(leaves, entries, NAME_BYTES, network).then(lookups(entries, rows, bytes, network))
}

/// Both sides at the asker.
pub fn gather_both(pair: &Pair, network: &Network) -> Cost {
    gather(&pair.sides[0], network).beside(gather(&pair.sides[1], network))
}

/// What peers found together, straight to the asker.
pub fn results(rows: f64, bytes: f64, network: &Network) -> Cost {
    network.home(rows * bytes)
}

/// Both sides by hash.
pub fn symmetric_hash(pair: &Pair, network: &Network) -> Cost {
    let rows = hashed(pair.sides[0].all() + pair.sides[1].all(), network);
    let home = network.home(pair.rows * pair.bytes);
    rows.then(home).then(counted(&home, network))
}

/// Rows by hash; how many they are goes up the tree meanwhile.
fn hashed(bytes: f64, network: &Network) -> Cost {
    network.down(0.0).then(network.across(bytes).beside(network.up(network.peers * 8.0)))
}

/// Buckets are told how many rows were sent, and say that it is all. What goes up the tree comes to the asker among what
/// buckets find: about a quarter of that comes meanwhile (`bench pier-joins --inbound-mbit 10`).
fn counted(found: &Cost, network: &Network) -> Cost {
    let told = Cost { trips: network.depth(), ..network.down(8.0) }.then(network.home(0.0));
    let meanwhile_us = found.inbound / network.bytes_per_s * 1e6 / 4.0;
    Cost { trips: (told.trips - meanwhile_us / network.trip_us).max(0.0), ..told }
}

/// One side to all owners of the other.
pub fn broadcast(pair: &Pair, small: usize, network: &Network) -> Cost {
    let side = &pair.sides[small];
    gather(side, network).then(network.down(side.all())).then(network.up(pair.rows * pair.bytes))
}

/// A filter of one side's values, then by hash what it lets through of the other.
pub fn bloom(pair: &Pair, first: usize, network: &Network) -> Cost {
    let (first, second) = (&pair.sides[first], &pair.sides[1 - first]);
    let filter = (first.rows * FILTER_BITS / 8.0).clamp(1_024.0, 65_536.0);
    let through = second.all() * (second.left() + FALSE_SHARE).min(1.0);
    // Filters of the same size become one on the way up, so every peer of the tree gets some of that size.
    let messages = (network.peers - 1.0).max(0.0);
    let up =
        Cost { messages, bytes: messages * (filter + MESSAGE_BYTES), inbound: 3.0 * filter, trips: network.depth() };
    let filters = network.down(0.0).then(up).then(network.down(filter));
    let rows = filters.then(hashed(first.all() + through, network));
    let home = network.home(pair.rows * pair.bytes);
    rows.then(home).then(counted(&home, network))
}

/// What must be equal by hash, then the rows that have a match.
pub fn semi_join(pair: &Pair, network: &Network) -> Cost {
    let keys: f64 = pair.sides.iter().map(|side| side.rows * (side.key_bytes + NAME_BYTES)).sum();
    // Two keys go to the owner of the left row, and with it on to that of the right one.
    let first = network.across(pair.rows * 2.0 * NAME_BYTES);
    let second = network.across(pair.rows * (pair.sides[0].bytes + 2.0 * NAME_BYTES));
    let rows = first.then(second).then(network.home(pair.rows * pair.bytes));
    hashed(keys, network).then(rows.beside(counted(&Cost::default(), network)))
}

/// For the rows of one side those of the other by key.
pub fn fetch_matches(pair: &Pair, outer: usize, network: &Network) -> Cost {
    let (side, inner) = (&pair.sides[outer], &pair.sides[1 - outer]);
    let matches = inner.rows * inner.matching;
    if side.at_asker {
        return lookups(side.rows, matches, inner.bytes, network);
    }
    // The row goes where what it fetches is, and home from there; each key is a way of its own, and the asker is told of each.
    let there = network.across(side.rows * (side.bytes + NAME_BYTES));
    let (told, hops) = (side.rows * (MESSAGE_BYTES + NAME_BYTES), network.depth().max(1.0));
    let keys = Cost { messages: side.rows * (hops + 1.0), bytes: told, inbound: told, ..Cost::default() };
    network.down(0.0).then(there).then(keys).then(network.home(pair.rows * pair.bytes))
}

/// All ways that give the right rows, with what they cost.
pub fn costs(pair: &Pair, network: &Network) -> Vec<(Choice, Cost)> {
    let way = |strategy, side, cost| (Choice { strategy, side }, cost);
    let mut all = vec![way(JoinStrategy::Gather, 0, gather_both(pair, network))];
    if pair.equations {
        all.push(way(JoinStrategy::SymmetricHash, 0, symmetric_hash(pair, network)));
        if !pair.half && pair.sides.iter().all(|side| !side.preserved && !side.made) {
            all.push(way(JoinStrategy::SemiJoin, 0, semi_join(pair, network)));
        }
    }
    for side in 0..2 {
        let (this, other) = (&pair.sides[side], &pair.sides[1 - side]);
        // Rows that match in several places would come out several times.
        let once = !pair.half || side == 1;
        if pair.equations && !other.preserved {
            all.push(way(JoinStrategy::Bloom, side, bloom(pair, side, network)));
        }
        // A row that is everywhere would stay everywhere without a match.
        if !this.preserved && !other.at_asker && once {
            all.push(way(JoinStrategy::Broadcast, side, broadcast(pair, side, network)));
        }
        let fetches = if pair.half { side == 0 && !this.preserved } else { true };
        if pair.equations && other.keyed && !other.preserved && !other.at_asker && fetches {
            all.push(way(JoinStrategy::FetchMatches, side, fetch_matches(pair, side, network)));
        }
    }
    all
}

/// The cheapest way; of a wanted strategy, where it gives the right rows.
pub fn choose(wanted: JoinStrategy, pair: &Pair, network: &Network) -> (Choice, Cost) {
    let all = costs(pair, network);
    let cheapest = |fits: &dyn Fn(JoinStrategy) -> bool| {
        let fitting = all.iter().filter(|(choice, _)| fits(choice.strategy));
        fitting.min_by(|(_, a), (_, b)| network.time_us(a).total_cmp(&network.time_us(b))).copied()
    };
    let forced = cheapest(&|strategy| strategy == wanted);
    let gathered = (Choice { strategy: JoinStrategy::Gather, side: 0 }, Cost::default());
    match wanted {
        JoinStrategy::Auto => cheapest(&|_| true).unwrap_or(gathered),
        _ => forced.or_else(|| cheapest(&|strategy| strategy == JoinStrategy::Gather)).unwrap_or(gathered),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(rows: f64, bytes: f64, matching: f64) -> Side {
        Side { rows, bytes, key_bytes: 8.0, matching, keyed: false, preserved: false, at_asker: false, made: false }
    }

    fn pair(left: Side, right: Side, rows: f64) -> Pair {
        Pair { sides: [left, right], rows, bytes: left.bytes + right.bytes, equations: true, half: false }
    }

    fn chosen(pair: &Pair, network: &Network) -> JoinStrategy {
        choose(JoinStrategy::Auto, pair, network).0.strategy
    }

    #[test]
    fn both_small_are_gathered() {
        let small = pair(side(20.0, 50.0, 1.0), side(200.0, 50.0, 1.0), 200.0);
        assert_eq!(chosen(&small, &Network::default()), JoinStrategy::Gather);
        // However many rows there are between them, they are at the asker already.
        let at_asker = |side| Side { at_asker: true, ..side };
        let there = pair(at_asker(side(1e6, 50.0, 1.0)), at_asker(side(1e6, 50.0, 1.0)), 1e6);
        assert_eq!(chosen(&there, &Network::default()), JoinStrategy::Gather);
    }

    #[test]
    fn a_tiny_side_is_broadcast() {
        let network = Network::default();
        for (left, right, which) in [(100.0, 1e6, 0), (1e6, 100.0, 1)] {
            let tiny = pair(side(left, 50.0, 1.0), side(right, 100.0, 0.001), 1_000.0);
            let (choice, _) = choose(JoinStrategy::Auto, &tiny, &network);
            assert_eq!(choice, Choice { strategy: JoinStrategy::Broadcast, side: which });
        }
        // Not where a row of it has to stay without a match.
        let mut kept = pair(side(100.0, 50.0, 1.0), side(1e6, 100.0, 0.001), 1_000.0);
        kept.sides[0].preserved = true;
        let (choice, _) = choose(JoinStrategy::Broadcast, &kept, &network);
        assert_eq!(choice, Choice { strategy: JoinStrategy::Broadcast, side: 1 });
        kept.sides[1].preserved = true;
        assert_eq!(choose(JoinStrategy::Broadcast, &kept, &network).0.strategy, JoinStrategy::Gather);
    }

    #[test]
    fn both_huge_go_by_hash() {
        // Rows about as wide as what names them: nothing is won by sending keys first.
        let huge = pair(side(1e6, 20.0, 1.0), side(1e6, 20.0, 1.0), 1e5);
        assert_eq!(chosen(&huge, &Network::default()), JoinStrategy::SymmetricHash);
        let free = Network { bytes_per_s: 1e12, ..Network::default() };
        assert_eq!(chosen(&huge, &free), JoinStrategy::Gather, "where bytes cost nothing the fewest trips count");
    }

    #[test]
    fn wide_rows_with_few_matches_send_keys_first() {
        let network = Network::default();
        let of = |share: f64, bytes: f64| pair(side(1e6, bytes, share), side(1e6, bytes, share), 1e4);
        for share in [0.001, 0.01, 0.05] {
            assert!(
                [JoinStrategy::SemiJoin, JoinStrategy::Bloom].contains(&chosen(&of(share, 1_000.0), &network)),
                "{share}"
            );
        }
        // Of wide rows with many matches, too: only the left row travels, and once.
        assert_eq!(chosen(&of(1.0, 1_000.0), &network), JoinStrategy::SemiJoin);
        assert_eq!(chosen(&of(0.5, 20.0), &network), JoinStrategy::SymmetricHash, "narrow rows are not worth it");
        let (symmetric, semi, bloom) = (
            symmetric_hash(&of(0.01, 1e3), &network),
            semi_join(&of(0.01, 1e3), &network),
            bloom(&of(0.01, 1e3), 0, &network),
        );
        assert!(semi.bytes < symmetric.bytes && bloom.bytes < symmetric.bytes);
        assert!(semi.trips > symmetric.trips && bloom.trips > symmetric.trips);
    }

    #[test]
    fn few_rows_fetch_their_matches_by_key() {
        let network = Network::default();
        let mut few = pair(side(10.0, 50.0, 1.0), side(1e6, 2_000.0, 0.00001), 10.0);
        few.sides[1].keyed = true;
        few.sides[0].at_asker = true;
        let (choice, _) = choose(JoinStrategy::Auto, &few, &network);
        assert_eq!(choice, Choice { strategy: JoinStrategy::FetchMatches, side: 0 });
        few.sides[1].keyed = false;
        assert_eq!(chosen(&few, &network), JoinStrategy::Broadcast);
    }

    #[test]
    fn without_an_equation_rows_are_gathered_or_sent_to_all() {
        let mut product = pair(side(10.0, 50.0, 1.0), side(100.0, 50.0, 1.0), 1_000.0);
        product.equations = false;
        let ways: Vec<JoinStrategy> =
            costs(&product, &Network::default()).iter().map(|(choice, _)| choice.strategy).collect();
        assert_eq!(ways, [JoinStrategy::Gather, JoinStrategy::Broadcast, JoinStrategy::Broadcast]);
        assert_eq!(choose(JoinStrategy::Bloom, &product, &Network::default()).0.strategy, JoinStrategy::Gather);
    }

    #[test]
    fn access_by_key_grows_with_the_keys_and_a_gather_with_the_rows() {
        let network = Network::default();
        let all = gather(&side(1e5, 100.0, 1.0), &network);
        assert!(network.time_us(&lookups(10.0, 10.0, 100.0, &network)) < network.time_us(&all));
        assert!(network.time_us(&lookups(1e6, 1e6, 100.0, &network)) > network.time_us(&all));
        assert!(index_scan(10.0, 10.0, 100.0, &network).trips > lookups(10.0, 10.0, 100.0, &network).trips);
        assert_eq!(gather(&Side { at_asker: true, ..side(1.0, 1.0, 1.0) }, &network), Cost::default());
    }
}
