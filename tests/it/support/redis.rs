//! A real `redis-server` a test: on a free port, no data on disk unless asked, gone with the test.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
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
    clock: Option<Clock>,
    ahead: Duration,
    stopped_at: Option<f64>,
}

/// A clock that begins at a moment, seconds since 1970, and runs so many times as fast as the machine's.
#[derive(Clone, Copy)]
pub struct Clock {
    pub begins: f64,
    pub speed: f64,
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
        Self::start_by(None, settings)
    }

    /// A server with a clock of its own. What it dates goes by that; its time-outs do not.
    pub fn start_with_clock(clock: Clock, settings: &[&str]) -> Self {
        Self::start_by(Some(clock), settings)
    }

    fn start_by(clock: Option<Clock>, settings: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let settings = settings.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        // Somebody else may take the port between our look and the server's; then there is another one.
        for _ in 0..10 {
            let port = free_port();
            let mut process = spawn(port, &directory, &settings, clock);
            if is_ready(&mut process, &directory) {
                return Self {
                    port,
                    process,
                    directory,
                    settings,
                    clock,
                    ahead: Duration::ZERO,
                    stopped_at: None,
                };
            }
        }
        panic!("redis-server does not start with {settings:?}");
    }

    /// A replica of this one, which has caught up and says what it has.
    pub fn replica(&self) -> Self {
        let clock = self.clock.map(|clock| Clock { begins: self.time(), ..clock });
        let port = self.address().port().to_string();
        let replica = Self::start_by(clock, &["--replicaof", "127.0.0.1", &port]);
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

    /// What its clock shows, seconds since 1970.
    pub fn time(&self) -> f64 {
        let (seconds, micros): (f64, f64) = self.ask(&["TIME"]);
        seconds + micros / 1e6
    }

    /// Puts a clock of its own forward.
    pub fn put_forward(&mut self, by: Duration) {
        assert!(self.clock.is_some(), "it lives by the machine's clock");
        self.ahead += by;
        tell_ahead(&self.directory, self.ahead);
    }

    /// Stops it at once, as a crash would.
    pub fn stop(&mut self) {
        self.stopped_at = self.clock.map(|_| self.time());
        self.process.kill().expect("it runs");
        self.process.wait().expect("it was ours");
    }

    /// Starts it again on the same port, with what it kept on disk.
    pub fn start_again(&mut self) {
        if let Some(Clock { begins, .. }) = &mut self.clock {
            // It goes on from what it showed last, as a server's does.
            *begins = self.stopped_at.unwrap_or(*begins);
            self.ahead = Duration::ZERO;
        }
        self.process = spawn(self.port, &self.directory, &self.settings, self.clock);
        assert!(is_ready(&mut self.process, &self.directory), "redis-server does not start again");
    }

    /// Takes the place of another one, which was stopped: whoever went there comes here.
    pub fn move_to(mut self, place: &mut Self) {
        let _ok: String = self.ask(&["CONFIG", "SET", "port", &place.port.to_string()]);
        self.port = place.port;
        *place = self;
    }

    /// What it has on disk now.
    pub fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().expect("a temporary directory can be made");
        copy_all(self.directory.path(), copy.path());
        copy
    }

    /// Puts a copy where it has its data, while it is stopped.
    pub fn restore(&self, copy: &TempDir) {
        let data = self.directory.path().join("appendonlydir");
        std::fs::remove_dir_all(&data).expect("it kept a log of its writes");
        copy_all(copy.path(), self.directory.path());
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

fn copy_all(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-r").arg(from.join(".")).arg(to).status();
    assert!(status.expect("cp runs").success());
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

fn spawn(port: u16, directory: &TempDir, settings: &[String], clock: Option<Clock>) -> Child {
    // What the last run of this server said is not about this one.
    let _none_yet = std::fs::remove_file(log(directory));
    let mut command = Command::new("redis-server");
    if let Some(Clock { begins, speed }) = clock {
        tell_ahead(directory, Duration::ZERO);
        command.env("LD_PRELOAD", shim()).env("REDIS_CLOCK", format!("{begins} {speed}"));
        command.env("REDIS_CLOCK_AHEAD", directory.path().join("ahead"));
    }
    command
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

/// Tells a server how far its clock is ahead. Written over, not anew: it has the file in its memory.
fn tell_ahead(directory: &TempDir, ahead: Duration) {
    let us = i64::try_from(ahead.as_micros()).expect("no test lives so long");
    let mut how = std::fs::File::options();
    let how = how.write(true).create(true).truncate(false);
    let mut file = how.open(directory.path().join("ahead")).expect("it can be written to");
    file.write_all(&us.to_ne_bytes()).expect("it can be written to");
}

/// What gives a server a clock of its own, compiled once.
fn shim() -> &'static Path {
    static SHIM: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let library = folder.path().join("clock.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/clock.c");
        let mut compile = Command::new("cc");
        compile.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl");
        assert!(compile.status().expect("cc runs: Rust links with it").success());
        (folder, library)
    });
    &SHIM.1
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
