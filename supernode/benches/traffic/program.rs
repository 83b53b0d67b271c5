//! Processes: the supernode, its memory and its metrics; and this bench's own children.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};

/// The network's name.
pub const NETWORK: &str = "bench";

/// A child that is killed when it is dropped.
pub struct Process(Child);

impl Process {
    /// Runs this bench in another mode; gives the first line that it prints.
    pub fn again(arguments: &[&str], nice: bool) -> Result<(Process, String), String> {
        let bench = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = match nice {
            // The attacker's work is on other machines, where there are some.
            true => Command::new("nice"),
            false => Command::new(&bench),
        };
        if nice {
            command.args(["-n", "15"]).arg(&bench);
        }
        command.args(arguments);
        Process::start(command)
    }

    fn start(mut command: Command) -> Result<(Process, String), String> {
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
        let output = child.stdout.take();
        let process = Process(child);
        let mut line = String::new();
        let mut output = BufReader::new(output.ok_or("no output")?);
        output.read_line(&mut line).map_err(|error| error.to_string())?;
        // It is told nothing more, but may go on talking.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Ok((process, line.trim_end().to_owned()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The measured supernode.
pub struct Supernode {
    process: Process,
    pub address: SocketAddr,
    metrics: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Supernode {
    /// Starts one with flags beside the usual ones, and waits until it is ready.
    pub async fn start(flags: &[&str]) -> Result<Supernode, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let metrics = port.map_err(|error| error.to_string())?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_pontoon-supernode"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PONTOON_")) {
            command.env_remove(name);
        }
        command.arg("--data").arg(directory.path());
        command.args(["--listen", "127.0.0.1:0", "--network", NETWORK, "--log", "error"]);
        command.args(["--metrics-listen", &metrics.to_string()]).args(flags);
        let (process, line) = Process::start(command)?;
        let address = line.split_once("open http://").and_then(|(_, rest)| rest.split_once('/'));
        let address = address.and_then(|(address, _)| address.parse().ok());
        let address = address.ok_or_else(|| format!("no ready line but {line:?}"))?;
        let supernode = Supernode { process, address, metrics, _directory: directory };
        let begun = Instant::now();
        while supernode.metric("pontoon_ready").await? < 1.0 {
            if begun.elapsed() > Duration::from_secs(20) {
                return Err("the supernode is not ready".to_owned());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(supernode)
    }

    /// Its memory, in bytes.
    pub fn resident_bytes(&self) -> Result<u64, String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id()));
        let status = status.map_err(|error| format!("this bench wants /proc: {error}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().map_err(|_| "no number".to_owned())?;
        Ok(kilobytes * 1_024)
    }

    /// All metrics, as `name{label="value"}`.
    pub async fn metrics(&self) -> Result<BTreeMap<String, f64>, String> {
        let text = get(self.metrics, "/metrics").await.map_err(|error| error.to_string())?;
        let lines = text.lines().filter(|line| line.starts_with("pontoon_"));
        Ok(lines
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect())
    }

    pub async fn metric(&self, name: &str) -> Result<f64, String> {
        self.metrics().await?.get(name).copied().ok_or_else(|| format!("no metric {name}"))
    }
}

async fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

/// An address of this machine, another one for each hundred numbers, so that limits by address are kept as they are.
pub fn source(number: usize) -> IpAddr {
    let group = number / 100;
    Ipv4Addr::new(127, 1, (group / 250) as u8, (group % 250 + 1) as u8).into()
}

/// Thousands of sockets take as many file descriptors.
pub fn raise_open_files() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// The value below which a share of them lies.
pub fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share).ceil() as usize;
    values.get(at.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Rounds for printing.
pub fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}
