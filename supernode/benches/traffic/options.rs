//! The command line.

/// What a mode is told; each has its own defaults for what is not.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Of each measurement.
    pub seconds: Option<u64>,
    pub minutes: Option<u64>,
    /// Senders with their receivers.
    pub pairs: Option<usize>,
    /// Messages of one sender that are under way.
    pub in_flight: Option<usize>,
    /// Of one message's payload.
    pub bytes: Option<usize>,
    pub peers: Option<usize>,
    /// One attack instead of all.
    pub only: Option<String>,
}

impl Options {
    pub fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options::default();
        for pair in arguments.chunks(2) {
            let [name, value] = pair else { return Err(format!("{} wants a value", pair[0])) };
            let number = || value.parse().map_err(|_| format!("{name} {value}: not a number"));
            match name.as_str() {
                "--seconds" => options.seconds = Some(number()?),
                "--minutes" => options.minutes = Some(number()?),
                "--pairs" => options.pairs = Some(number()? as usize),
                "--in-flight" => options.in_flight = Some(number()? as usize),
                "--bytes" => options.bytes = Some(number()? as usize),
                "--peers" => options.peers = Some(number()? as usize),
                "--only" => options.only = Some(value.clone()),
                _ => return Err(format!("no option {name}")),
            }
        }
        Ok(options)
    }
}
