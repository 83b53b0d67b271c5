//! What the tests share: supernodes in this process, the program as a child process, plain HTTP, raw WebSockets.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

pub mod certificates;
pub mod ledger;
pub mod peer;

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use pontoon_supernode::{Access, Settings, Supernode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Settings for a test: a free port, nobody else's directory.
pub fn settings(directory: &Path) -> Settings {
    let mut settings =
        Settings { listen: SocketAddr::from(([127, 0, 0, 1], 0)), data: directory.to_owned(), ..Settings::default() };
    settings.engine.network = "test".to_owned();
    settings
}

/// A supernode that waits for the network of another.
pub async fn start_peer(directory: &Path, of: &str) -> Supernode {
    let mut settings = settings(directory);
    settings.engine.supernodes.push(of.to_owned());
    settings.engine.founder = false;
    Supernode::start(settings).await.unwrap()
}

/// A supernode of its own that everybody may write to, ready to answer.
pub async fn open(directory: &Path) -> Supernode {
    start(Settings { api: Access { open: true, ..Access::default() }, ..settings(directory) }).await
}

/// Starts one, and waits until it has joined.
pub async fn start(settings: Settings) -> Supernode {
    let supernode = Supernode::start(settings).await.unwrap();
    until("joined", Duration::from_secs(20), || async { supernode.health().await.unwrap().joined.then_some(()) }).await;
    supernode
}

/// An HTTP response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Lines, lower case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The code of an error.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_else(|| panic!("no error but {self:?}")).to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

pub async fn get(address: SocketAddr, path: &str) -> Response {
    send(address, "GET", path, &[], b"").await
}

/// One request over a connection of its own.
pub async fn send(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], content: &[u8]) -> Response {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    headers.iter().for_each(|(name, value)| request += &format!("{name}: {value}\r\n"));
    if !content.is_empty() || matches!(method, "POST" | "PUT") {
        request += &format!("Content-Length: {}\r\n", content.len());
    }
    let bytes = [request.as_bytes(), b"\r\n", content].concat();
    // Who refuses a request need not read all of it.
    let _ = stream.write_all(&bytes).await;
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let split = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
    let head = String::from_utf8(bytes[..split].to_vec()).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut body = bytes[split + 4..].to_vec();
    if head.contains("transfer-encoding: chunked") {
        body = joined(&body);
    }
    Response { status, head, body }
}

/// The content of chunks.
fn joined(mut chunks: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    loop {
        let end = chunks.windows(2).position(|window| window == b"\r\n").expect("a chunk's size");
        let size = usize::from_str_radix(str::from_utf8(&chunks[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return content;
        }
        content.extend_from_slice(&chunks[end + 2..end + 2 + size]);
        chunks = &chunks[end + 4 + size..];
    }
}

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub async fn dial(address: &str) -> Socket {
    tokio_tungstenite::connect_async(address).await.unwrap().0
}

/// Polls until it gives something; fails the test after `patience`.
pub async fn until<T, F>(what: &str, patience: Duration, mut attempt: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let start = Instant::now();
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(start.elapsed() < patience, "not within {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The program as a child process; killed when dropped.
pub struct Program {
    child: Child,
    pub address: SocketAddr,
}

/// The program without arguments, and without the environment of whoever runs the tests.
pub fn bare_command() -> Command {
    bare_command_of(env!("CARGO_BIN_EXE_pontoon-supernode"))
}

fn bare_command_of(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PONTOON_")) {
        command.env_remove(name);
    }
    command
}

pub fn command(directory: &Path, listen: &str) -> Command {
    let mut command = bare_command();
    command.arg("--data").arg(directory).args(["--listen", listen, "--network", "test", "--log", "warn"]);
    command
}

impl Program {
    /// Starts it and waits until it is ready.
    pub fn start(directory: &Path) -> Program {
        Program::start_at(directory, "127.0.0.1:0")
    }

    pub fn start_at(directory: &Path, listen: &str) -> Program {
        Program::run(command(directory, listen))
    }

    /// Starts it where a file may have some megabytes only: for it, the disk is full then.
    #[cfg(unix)]
    pub fn start_on_a_small_disk(directory: &Path) -> Program {
        let program = command(directory, "127.0.0.1:0");
        let mut shell = bare_command_of("sh");
        // Without the signal, writing fails as it does on a full disk. A block has 512 or 1,024 bytes.
        shell.args(["-c", "trap '' XFSZ; ulimit -f 8192; exec \"$0\" \"$@\""]);
        shell.arg(program.get_program()).args(program.get_args());
        Program::run(shell)
    }

    /// Starts it on a file system of its own that has some megabytes, mounted on `mount` for it alone; `None` where the
    /// kernel does not let a test mount one. Its files are those of [`Program::seen`].
    #[cfg(target_os = "linux")]
    pub fn start_on_a_mount(mount: &Path, megabytes: u32) -> Option<Program> {
        let mounting = format!("mount -t tmpfs -o size={megabytes}m tmpfs \"$0\"");
        let mut attempt = Command::new("unshare");
        attempt.args(["-rm", "sh", "-c", &mounting]).arg(mount).stderr(Stdio::null());
        if !attempt.status().is_ok_and(|status| status.success()) {
            return None;
        }
        let program = command(&mount.join("data"), "127.0.0.1:0");
        let mut shell = bare_command_of("unshare");
        shell.args(["-rm", "sh", "-c", &format!("{mounting} && exec \"$@\"")]).arg(mount);
        shell.arg(program.get_program()).args(program.get_args());
        Some(Program::run(shell))
    }

    /// A path as the program sees it.
    #[cfg(target_os = "linux")]
    pub fn seen(&self, path: &Path) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.child.id(), path.display()))
    }

    pub fn run(mut command: Command) -> Program {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line
            .split_once("open http://")
            .or_else(|| line.split_once("open https://"))
            .and_then(|(_, rest)| rest.split_once('/'))
            .unwrap_or_else(|| panic!("no ready line but {line:?}"))
            .0;
        Program { address: address.parse().unwrap(), child }
    }

    /// Its log, where the command pipes it.
    pub fn stderr(&mut self) -> Option<std::process::ChildStderr> {
        self.child.stderr.take()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn socket_address(&self) -> String {
        format!("ws://{}/pontoon", self.address)
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    #[cfg(unix)]
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// SIGHUP: it reads its certificate and its tokens again.
    #[cfg(unix)]
    pub fn hang_up(&self) {
        self.signal("HUP");
    }

    #[cfg(unix)]
    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// SIGTERM, and its end.
    #[cfg(unix)]
    pub async fn terminated(self) {
        self.terminate();
        assert!(self.ended(Duration::from_secs(15)).await.success());
    }

    pub async fn ended(mut self, patience: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < patience, "still running after {patience:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a task of upkeep came to.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub said: String,
    pub error: String,
}

/// Runs a task of upkeep: `backup`, say, and its arguments.
pub fn upkeep(directory: &Path, task: &str, arguments: &[&Path]) -> Ended {
    let output = bare_command().arg(task).arg("--data").arg(directory).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), said: text(output.stdout), error: text(output.stderr) }
}

/// Runs the program to its end, which must come by itself.
pub fn run_to_end(mut command: Command) -> (Option<i32>, String) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (child.wait().unwrap().code(), text)
}
