//! The program: settings in, a supernode out, until a signal.

use std::{io::Write as _, process::ExitCode, time::Duration};

use pontoon_supernode::{
    Supernode,
    args::{Args, Stop},
    client, logs,
};
use tracing_subscriber::EnvFilter;

/// A setting that cannot be meant.
const MISTAKE: u8 = 2;

fn main() -> ExitCode {
    let first = std::env::args_os().nth(1);
    if first.is_some_and(|first| client::COMMANDS.iter().any(|command| first == *command)) {
        return client::main(std::env::args_os());
    }
    let (args, filter) = match read() {
        Ok(read) => read,
        Err(stop) => return stopped(stop),
    };
    logs::start(args.log_format, filter);
    // What is dialled, a join token in it, is told by the WebSocket library at its lowest level, whatever the filter says.
    log::set_max_level(log::max_level().min(log::LevelFilter::Debug));
    if let Some(upkeep) = &args.upkeep {
        return match upkeep.run(&args.data, &mut std::io::stdout()) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                say(&error.to_string());
                ExitCode::FAILURE
            }
        };
    }
    // Only now: what is wrong with the settings of a supernode, a token file say, is in the way of no upkeep.
    let settings = match args.settings() {
        Ok(settings) => settings,
        Err(stop) => return stopped(stop),
    };
    raise_open_files();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("no runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(&args, settings));
    // What still hangs on a socket or a name server is not waited for.
    runtime.shutdown_background();
    code
}

fn stopped(stop: Stop) -> ExitCode {
    match stop {
        Stop::Told(text) => {
            let _ = write!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Stop::Mistake(line) => {
            say(&line);
            ExitCode::from(MISTAKE)
        }
    }
}

fn read() -> Result<(Args, EnvFilter), Stop> {
    let args = Args::read(std::env::args_os())?;
    let filter = filter(&args.log).map_err(|error| {
        let place = args.sources.of("log");
        Stop::Mistake(format!("{place}: {:?} is no filter: {error}", args.log))
    })?;
    Ok((args, filter))
}

/// Libraries that tell of every connection as if it were the program's, failed attempts as errors: nothing, unless the filter
/// names them. What it means for the program, the program says.
const TALKATIVE: [&str; 9] =
    ["rtc", "rtc_dtls", "rtc_ice", "rtc_mdns", "rtc_sctp", "rtc_turn", "stun_proto", "turn_server_proto", "webrtc"];

fn filter(text: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    let named = |library: &str| text.split(',').any(|part| part.starts_with(&format!("{library}=")));
    let unnamed = TALKATIVE.iter().filter(|library| !named(library));
    let quiet: String = unnamed.map(|library| format!(",{library}=off")).collect();
    // It tells each value of a statement, also those that are about to be sealed.
    EnvFilter::try_new(format!("{text}{quiet},sqlparser=off"))
}

async fn run(args: &Args, settings: pontoon_supernode::Settings) -> ExitCode {
    let (mut signals, mut hangup) = match Signals::new().and_then(|signals| Ok((signals, Hangup::new()?))) {
        Ok(signals) => signals,
        Err(error) => {
            say(&format!("no signals: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let mut supernode = match Supernode::start(settings).await {
        Ok(supernode) => supernode,
        Err(error) => {
            say(&error.to_string());
            return ExitCode::FAILURE;
        }
    };
    let mut page = supernode.local_addr();
    if page.ip().is_unspecified() {
        page.set_ip(if page.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    let (listen, network) = (supernode.local_addr(), &args.network);
    let (http, ws) = if supernode.is_secure() { ("https", "wss") } else { ("http", "ws") };
    let _ = writeln!(
        std::io::stdout(),
        "Pontoon is ready: open {http}://{page}/ (network {network:?}, listening on {listen}, peers dial {ws}://{page}/pontoon)"
    );
    loop {
        tokio::select! {
            () = signals.next() => break,
            () = hangup.next() => supernode.reload(),
            () = supernode.failed() => {
                say("the engine stopped; the log says why");
                return ExitCode::FAILURE;
            }
        }
    }
    tracing::info!(drain_s = args.drain_seconds, "leaving; a second signal ends at once");
    supernode.drain();
    let leaving = async {
        tokio::time::sleep(Duration::from_secs(u64::from(args.drain_seconds))).await;
        supernode.shutdown().await;
    };
    tokio::select! {
        () = leaving => ExitCode::SUCCESS,
        () = signals.next() => ExitCode::FAILURE,
    }
}

fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "pontoon-supernode: {line}");
}

/// A client takes a file descriptor, and many systems allow 1,024 unless a program asks for what it may have.
fn raise_open_files() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        // What is not given is not missed before there are as many clients: then the log says so.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// The signals that ask a process to end.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn new() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// The signal that asks a process to read its files again. It ends no supernode, whatever there is to read.
struct Hangup {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Hangup {
    #[cfg(unix)]
    fn new() -> std::io::Result<Hangup> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Hangup { hangup: signal(SignalKind::hangup())? })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        if self.hangup.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    #[cfg(not(unix))]
    fn new() -> std::io::Result<Hangup> {
        Ok(Hangup {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        std::future::pending::<()>().await;
    }
}
