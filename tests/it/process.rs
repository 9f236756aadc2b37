//! The built program, as an operator meets it: it says when it is ready, ends when it is told to, finishes what is under way, and
//! says nothing secret even when it says everything.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::support::fake_provider::FakeProvider;
use crate::support::redis::RedisServer;

/// Long enough for anything that happens at all on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A session cookie as we write them, of a session that never was.
const COOKIE: &str = "Cookie: vestibule=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n";

const CANARIES: [&str; 3] =
    ["canary-of-the-api-key", "canary-of-the-client", "canary-of-the-redis"];

#[test]
fn it_is_ready_and_ends_with_0_when_told() {
    for signal in ["TERM", "INT"] {
        let redis = RedisServer::start();
        let mut service = Service::start(&redis.url(), "");

        let ready = get(service.ops, "/readyz", "");
        service.tell(signal);

        assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
        assert_eq!(service.wait(), Some(0), "{signal}: {}", service.log());
    }
}

#[test]
fn a_request_under_way_is_finished_before_the_end() {
    let redis = RedisServer::start();
    let mut service = Service::start(&redis.url(), "");
    redis.pause();
    let mut request = send(service.public, "/session", COOKIE);
    std::thread::sleep(Duration::from_millis(200));

    service.tell("TERM");

    assert!(service.child.try_wait().unwrap().is_none(), "it did not wait");
    redis.resume();
    let answer = receive(&mut request);
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("session_expired"), "{answer}");
    assert_eq!(service.wait(), Some(0), "{}", service.log());
    assert!(TcpStream::connect(service.public).is_err(), "it still listens");
}

#[test]
fn a_second_signal_does_not_wait() {
    let redis = RedisServer::start();
    let mut service = Service::start(&redis.url(), "");
    redis.pause();
    let request = send(service.public, "/session", COOKIE);
    std::thread::sleep(Duration::from_millis(100));

    service.tell("TERM");
    std::thread::sleep(Duration::from_millis(100));
    service.tell("TERM");

    assert_eq!(service.wait(), Some(1), "{}", service.log());
    assert!(service.log().contains("told twice to stop"), "{}", service.log());
    drop(request);
}

#[test]
fn what_is_away_or_taken_has_its_own_exit_code() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (listen, code, why) in [
        (address.as_str(), 3, "(server.listen): Address already in use"),
        // TEST-NET-1, RFC 5737 §3: no machine's own.
        ("192.0.2.1:80", 2, "(server.listen): Cannot assign requested address"),
    ] {
        let (ended, said) = run(&configuration("redis://127.0.0.1:1", listen, ""));

        assert_eq!(ended, Some(code), "{said}");
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn an_embedded_store_is_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file:{}", folder.path().join("vestibule.db").display());
    let first = Service::start(&url, "");

    let (ended, said) = run(&configuration(&url, "127.0.0.1:0", ""));

    assert_eq!(ended, Some(3), "{said}");
    assert!(said.contains("another process has"), "{said}");
    drop(first);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_beside_a_service_that_has_the_file_finds_nothing_bad() {
    let provider = FakeProvider::start().await;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file:{}", folder.path().join("vestibule.db").display());
    let service = Service::start(&url, "");
    let file = folder.path().join("vestibule.toml");
    let text = configuration(&url, "127.0.0.1:0", "");
    std::fs::write(&file, text.replace("http://127.0.0.1:1", &provider.issuer())).unwrap();

    let checked = Command::new(env!("CARGO_BIN_EXE_vestibule"))
        .args(["check", "--config"])
        .arg(file)
        .output()
        .unwrap();

    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(said.contains("\ndoubt  store: another process has "), "{said}");
    assert_eq!(checked.status.code(), Some(0), "{said}");
    drop(service);
}

#[test]
fn nothing_secret_is_said_even_when_everything_is() {
    let redis = RedisServer::start_with(&["--requirepass", CANARIES[2]]);
    let url = format!("redis://:{}@{}", CANARIES[2], redis.address());
    let mut service = Service::start(&url, "filter = \"trace\"");

    let session = get(service.public, "/session", COOKIE);
    let login = get(service.public, "/login/corp", "");
    let metrics = get(service.ops, "/metrics", "");
    service.tell("TERM");

    assert_eq!(service.wait(), Some(0), "{}", service.log());
    let log = service.log();
    assert!(log.contains("\"level\":\"TRACE\""), "the log says everything: {log}");
    // The password is right, so that it was used.
    assert!(session.contains("session_expired"), "{session}");
    for (what, text) in [("session", session), ("login", login), ("metrics", metrics), ("log", log)]
    {
        for canary in CANARIES {
            assert!(!text.contains(canary), "{what} says {canary}:\n{text}");
        }
    }
}

/// A good configuration; its provider is away, which is no reason not to start.
pub fn configuration(store: &str, listen: &str, log: &str) -> String {
    format!(
        r#"
[server]
listen = "{listen}"
public_url = "http://localhost:8080"
[ops]
listen = "127.0.0.1:0"
[store]
url = "{store}"
[twilio]
account_sid = "AC00000000000000000000000000000000"
api_key_sid = "SK11111111111111111111111111111111"
api_key_secret = "{}"
conversations_service_sid = "IS22222222222222222222222222222222"
[[provider]]
name = "corp"
issuer = "http://127.0.0.1:1"
client_id = "vestibule"
client_secret = "{}"
[provider.policy]
allow = "true"
[log]
{log}
"#,
        CANARIES[0], CANARIES[1]
    )
}

/// Runs `serve` to its end: its exit code and what it said.
fn run(configuration: &str) -> (Option<i32>, String) {
    let mut service = Service::spawn(configuration, &[]);
    let code = service.wait();
    (code, service.log())
}

/// A running `vestibule serve`; killed when dropped.
pub struct Service {
    child: Child,
    pub public: SocketAddr,
    pub ops: SocketAddr,
    /// Whoever holds this keeps the log from being read.
    pub reading: Arc<Mutex<()>>,
    lines: Receiver<String>,
    seen: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Service {
    fn start(store: &str, log: &str) -> Self {
        Self::serving(&configuration(store, "127.0.0.1:0", log))
    }

    /// A service that has said that it serves.
    pub fn serving(configuration: &str) -> Self {
        Self::serving_under(configuration, &[])
    }

    /// The same, with these variables in its environment.
    pub fn serving_under(configuration: &str, environment: &[(&str, &str)]) -> Self {
        let mut service = Self::spawn(configuration, environment);
        let begun = Instant::now();
        loop {
            let line = service.lines.recv_timeout(PATIENCE.saturating_sub(begun.elapsed()));
            let line = line.unwrap_or_else(|_| panic!("it does not serve: {:#?}", service.seen));
            service.seen.push(line.clone());
            let Ok(event) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
            if event["message"] == "serving" {
                service.public = event["public"].as_str().unwrap().parse().unwrap();
                service.ops = event["ops"].as_str().unwrap().parse().unwrap();
                return service;
            }
        }
    }

    fn spawn(configuration: &str, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("vestibule.toml");
        std::fs::write(&file, configuration).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .args(["serve", "--config"])
            .arg(file)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let log = BufReader::new(child.stderr.take().unwrap());
        let reading = Arc::new(Mutex::new(()));
        let may_read = reading.clone();
        std::thread::spawn(move || {
            log.lines().map_while(Result::ok).all(|line| {
                drop(may_read.blocking_lock());
                sender.send(line).is_ok()
            })
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            child,
            public: nowhere,
            ops: nowhere,
            reading,
            lines,
            seen: Vec::new(),
            _folder: folder,
        }
    }

    /// The next line of the log that holds `text`.
    pub fn wait_for(&mut self, text: &str) -> serde_json::Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no {text} in {:#?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(text) {
                return serde_json::from_str(&line).unwrap();
            }
        }
    }

    pub fn tell(&self, signal: &str) {
        let told =
            Command::new("kill").args([format!("-{signal}"), self.child.id().to_string()]).status();
        assert!(told.unwrap().success());
    }

    /// Its exit code; `None` when a signal ended it.
    pub fn wait(&mut self) -> Option<i32> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                // Its end of the pipe is closed, so that this ends too.
                self.seen.extend(self.lines.iter());
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not end: {:#?}", self.seen);
    }

    pub fn log(&self) -> String {
        self.seen.join("\n")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        assert!(std::thread::panicking() || !self.log().contains("panicked at"), "{}", self.log());
    }
}

pub fn send(to: SocketAddr, path: &str, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost:8080\r\nConnection: close\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

pub fn receive(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

/// The whole answer to one request.
pub fn get(from: SocketAddr, path: &str, headers: &str) -> String {
    receive(&mut send(from, path, headers))
}
