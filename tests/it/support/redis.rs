//! A real `redis-server` a test: on a free port, no data on disk unless asked, gone with the test.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::FromRedisValue;
use tempfile::TempDir;

/// How long a server may take to start: far more than it ever does, for machines that are busy.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// A running server. Killed on drop, by its own process id.
pub struct RedisServer {
    port: u16,
    process: Child,
    directory: TempDir,
    settings: Vec<String>,
}

impl RedisServer {
    /// A server that keeps no data on disk.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A server that has everything on disk before it answers.
    pub fn start_on_disk() -> Self {
        Self::start_with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// A server with settings of its own, as on its command line. It never takes snapshots.
    pub fn start_with(settings: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let settings = settings.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        // Somebody else may take the port between our look and the server's; then there is another one.
        for _ in 0..10 {
            let port = free_port();
            let mut process = spawn(port, &directory, &settings);
            if is_ready(&mut process, &directory) {
                return Self { port, process, directory, settings };
            }
        }
        panic!("redis-server does not start with {settings:?}");
    }

    /// A replica of this one, which has caught up and says what it has.
    pub fn replica(&self) -> Self {
        let replica =
            Self::start_with(&["--replicaof", "127.0.0.1", &self.address().port().to_string()]);
        let begun = Instant::now();
        loop {
            // It is told of nothing until it has said for the first time what it has; so something has to be there.
            let _ok: String = self.ask(&["SET", "anything", "", "EX", "60"]);
            let info: String = self.ask(&["INFO", "replication"]);
            if info.contains("state=online") && !info.contains("offset=0,") {
                return replica;
            }
            assert!(begun.elapsed() < START_PATIENCE, "the replica does not come: {info}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address())
    }

    /// Asks it something past everything that is under test.
    pub fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let client = redis::Client::open(self.url()).expect("its URL is one");
        let mut connection = client.get_connection().expect("it takes connections");
        let mut command = redis::Cmd::new();
        command.arg(words);
        command.query(&mut connection).expect("it answers")
    }

    /// Stops it at once, as a crash would.
    pub fn stop(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it was ours");
    }

    /// Starts it again on the same port, with what it kept on disk.
    pub fn start_again(&mut self) {
        self.process = spawn(self.port, &self.directory, &self.settings);
        assert!(is_ready(&mut self.process, &self.directory), "redis-server does not start again");
    }

    /// Freezes it: it takes connections, for the kernel does, and answers nothing.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(signal).arg(self.process.id().to_string()).status();
        assert!(status.expect("kill runs").success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // A frozen process dies of this too; one that is gone already is what we want.
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

fn spawn(port: u16, directory: &TempDir, settings: &[String]) -> Child {
    // What the last run of this server said is not about this one.
    let _none_yet = std::fs::remove_file(log(directory));
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
        .arg("--dir")
        .arg(directory.path())
        .arg("--logfile")
        .arg(log(directory))
        .args(settings)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("redis-server does not run ({error}): ./tests/run installs it")
        })
}

fn log(directory: &TempDir) -> PathBuf {
    directory.path().join("log")
}

/// Whether it says that it is ready before it ends or our patience does. It is its log that is asked and not its port: there,
/// the server of another test might answer.
fn is_ready(process: &mut Child, directory: &TempDir) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < START_PATIENCE {
        let said = std::fs::read_to_string(log(directory)).unwrap_or_default();
        if said.contains("Ready to accept connections") {
            return true;
        }
        if process.try_wait().expect("it is ours").is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}
