//! Options of every scenario, and the one shape of its figures.

use pontoon_tests::sim::{Latency, SimConfig};
use serde_json::{Map, Value, json};

/// What the command line says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// `--nodes`
    pub nodes: Option<usize>,
    /// `--seed`
    pub seed: Option<u64>,
    /// `--latency-ms`: every pair so far apart; heavy-tailed without.
    pub latency_ms: Option<u64>,
    /// `--inbound-mbit`
    pub inbound_mbit: Option<u64>,
    /// `--links`: links that a node opens; half as many again may be in all, and so many are told to neighbours; four
    /// times as many contacts are remembered.
    pub links: Option<usize>,
    /// `--session-s`: the median time that a node stays.
    pub session_s: Option<u64>,
    /// `--supernode`: 1 for a supernode that the others dial, 0 for none; the scenario's own choice unless given.
    pub supernode: Option<bool>,
    /// `--crashes`: 1 for the mode in which all departures are crashes, 0 for the other one; both unless given.
    pub crashes: Option<bool>,
    /// `--minutes` of virtual time.
    pub minutes: Option<u64>,
    /// `--join-us`: between two joins; all at once with 0.
    pub join_us: Option<u64>,
    /// `--threads` that simulate; as many as there are processors unless given.
    pub threads: Option<usize>,
    /// `--ops`: operations of each kind.
    pub ops: Option<usize>,
    /// `--replicas`: copies of a record.
    pub replicas: Option<usize>,
    /// `--times`: how often what is measured by its median runs.
    pub times: Option<usize>,
    /// `--rival`: measure the rival in the same run.
    pub rival: bool,
    /// `--signed`: measure signed writes in the same run.
    pub signed: bool,
}

impl Options {
    /// Reads `--name value` pairs and flags.
    pub fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options::default();
        let mut arguments = arguments.iter();
        while let Some(name) = arguments.next() {
            if name == "--signed" {
                options.signed = true;
                continue;
            }
            if name == "--rival" {
                options.rival = true;
                continue;
            }
            let Some(value) = arguments.next() else { return Err(format!("{name} wants a value")) };
            let number: u64 = value.parse().map_err(|_| format!("{name} wants a number, not {value:?}"))?;
            match name.as_str() {
                "--nodes" => options.nodes = Some(number as usize),
                "--seed" => options.seed = Some(number),
                "--latency-ms" => options.latency_ms = Some(number),
                "--links" => options.links = Some(number as usize),
                "--session-s" => options.session_s = Some(number),
                "--supernode" => options.supernode = Some(number != 0),
                "--crashes" => options.crashes = Some(number != 0),
                "--minutes" => options.minutes = Some(number),
                "--join-us" => options.join_us = Some(number),
                "--threads" => options.threads = Some(number as usize),
                "--inbound-mbit" => options.inbound_mbit = Some(number),
                "--times" => options.times = Some(number as usize),
                "--replicas" => options.replicas = Some(number as usize),
                "--ops" => options.ops = Some(number as usize),
                _ => return Err(format!("no option {name}")),
            }
        }
        Ok(options)
    }

    /// Nodes, or the scenario's own number.
    pub fn nodes_or(&self, nodes: usize) -> usize {
        self.nodes.unwrap_or(nodes)
    }

    /// The seed; 1 unless given.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or(1)
    }

    /// The network that the options describe.
    pub fn network(&self, nodes: usize) -> SimConfig {
        let mut config = SimConfig::new(self.seed(), self.nodes_or(nodes));
        if let Some(ms) = self.latency_ms {
            config.latency = Latency::Fixed(ms * 1_000);
        }
        config.supernode = self.supernode.unwrap_or(config.supernode);
        config.join_every_us = self.join_us.unwrap_or(config.join_every_us);
        if let Some(links) = self.links {
            config.core.links_opened_max = links;
            config.core.links_max = links + links / 2;
            config.core.lookahead_max = config.core.links_max;
            config.core.contacts_max = 4 * links;
        }
        config.threads = self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        config.inbound_bits_per_s = self.inbound_mbit.map(|mbit| mbit * 1_000_000);
        config
    }
}

/// Prints figures.
pub struct Report {
    /// What the command line says.
    pub options: Options,
}

impl Report {
    /// One figure of a simulated scenario; `more` tells rows of one figure apart.
    pub fn simulated(
        &self,
        config: &SimConfig,
        scenario: &str,
        figure: &str,
        value: f64,
        unit: &str,
        more: &[(&str, &str)],
    ) {
        let signing = format!("{:?}", config.signing).to_lowercase();
        let mut line = line(scenario, figure, value, unit, more);
        line.insert("nodes".to_owned(), json!(config.nodes));
        line.insert("seed".to_owned(), json!(config.seed));
        line.insert("signing".to_owned(), json!(signing));
        println!("{}", Value::Object(line));
    }

    /// One figure measured in real time; `more` tells rows of one figure apart.
    pub fn measured(&self, scenario: &str, figure: &str, value: f64, unit: &str, more: &[(&str, Value)]) {
        let mut line = line(scenario, figure, value, unit, &[]);
        line.extend(more.iter().map(|(name, field)| ((*name).to_owned(), field.clone())));
        println!("{}", Value::Object(line));
    }

    /// One figure that has nothing to do with a network.
    pub fn plain(&self, scenario: &str, figure: &str, value: f64, unit: &str, more: &[(&str, &str)]) {
        println!("{}", Value::Object(line(scenario, figure, value, unit, more)));
    }
}

fn line(scenario: &str, figure: &str, value: f64, unit: &str, more: &[(&str, &str)]) -> Map<String, Value> {
    let value = if value.fract() == 0.0 && value.abs() < 9e15 { json!(value as i64) } else { json!(value) };
    let mut line = Map::new();
    for (name, field) in
        [("scenario", json!(scenario)), ("figure", json!(figure)), ("value", value), ("unit", json!(unit))]
    {
        line.insert(name.to_owned(), field);
    }
    more.iter().for_each(|(name, field)| {
        line.insert((*name).to_owned(), json!(field));
    });
    line
}
