//! Where the SQL of a test runs: in one map, or on a simulated network whose nodes ask in turn.

use pontoon_core::{
    Error,
    data::QueryResult,
    exec::local::Local,
    sql::{asking::Definitions, ast::Statement, plan::Dialect, strategy::JoinStrategy},
};

use crate::sim::{Signing, Sim, SimConfig};

const MINUTE_US: u64 = 60_000_000;

/// See the module's documentation.
pub enum Database {
    /// All records in one map.
    Local(Box<Local>),
    /// A simulated network.
    Network(Box<Network>),
}

/// A simulated network and what each of its nodes remembers of tables.
pub struct Network {
    sim: Sim,
    definitions: Vec<Definitions>,
    turn: usize,
}

impl Database {
    /// An empty database: of several nodes a network that has settled, of one node one map.
    pub fn new(nodes: usize) -> Database {
        if nodes < 2 {
            return Database::Local(Box::default());
        }
        let mut sim = Sim::new(SimConfig { signing: Signing::KeyedHash, ..SimConfig::new(nodes as u64, nodes) });
        let settled = sim.settle(10 * MINUTE_US);
        assert!(settled.is_ok(), "a quiet network of {nodes} nodes does not settle: {settled:?}");
        let definitions = (0..nodes).map(|_| Definitions::default()).collect();
        Database::Network(Box::new(Network { sim, definitions, turn: 0 }))
    }

    /// From now on statements are typed as in this dialect.
    pub fn speak(&mut self, dialect: Dialect) {
        match self {
            Database::Local(local) => local.speak(dialect),
            Database::Network(network) => network.definitions.iter_mut().for_each(|each| each.speak(dialect)),
        }
    }

    /// From now on joins are made so, where that gives the right rows.
    pub fn join_by(&mut self, strategy: JoinStrategy) {
        match self {
            Database::Local(local) => local.join_by(strategy),
            Database::Network(network) => network.definitions.iter_mut().for_each(|each| each.join_by(strategy)),
        }
    }

    /// Runs a statement, on a network at the node whose turn it is.
    ///
    /// # Panics
    ///
    /// When a result does not cover everything: nothing fails in this network.
    pub fn run(&mut self, statement: Statement) -> Result<QueryResult, Error> {
        let turn = match self {
            Database::Local(_) => 0,
            Database::Network(network) => {
                network.turn = (network.turn + 1) % network.definitions.len();
                network.turn
            }
        };
        self.run_at(turn, statement)
    }

    /// Runs the one statement of a text in PostgreSQL's dialect, on a network at the node whose turn it is.
    pub fn sql(&mut self, text: &str) -> Result<QueryResult, Error> {
        self.run(pontoon_parser::parse_one(text)?)
    }

    /// The same always at the same node, which keeps its settings.
    pub fn session(&mut self, text: &str) -> Result<QueryResult, Error> {
        self.run_at(0, pontoon_parser::parse_one(text)?)
    }

    fn run_at(&mut self, node: usize, statement: Statement) -> Result<QueryResult, Error> {
        let result = match self {
            Database::Local(local) => local.execute(statement, Vec::new()),
            Database::Network(network) => {
                let Network { sim, definitions, .. } = &mut **network;
                let definitions = &mut definitions[node];
                let ask = sim.ask_statement(node, definitions, statement, None);
                sim.answers(vec![ask], definitions, 10 * MINUTE_US).remove(0)
            }
        };
        if let Ok(result) = &result {
            assert_eq!((result.coverage, result.assumed_lost), (1.0, false));
        }
        result
    }
}
