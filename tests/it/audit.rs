//! The audit log: a line for each event, whatever else is logged, and no request waits for ever for whoever reads it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vestibule::inside::store::{
    Found, NewSession, NewStanding, Outcome, SessionKey, Settings, Store, Verdict,
};
use vestibule::inside::{Digest, Identity, Metrics, ProviderName, Secret256, Subject, Timestamp};

use crate::process::{PATIENCE, Service, configuration, get};
use crate::support::redis::RedisServer;
use crate::support::visitor::{Answer, Visitor};

/// A session of alice's, as a login would open it: its cookie.
async fn open_session(redis: &RedisServer) -> String {
    let settings = Settings::Redis { url: redis.url().into() };
    let store = Store::open(&settings, &Metrics::new().unwrap()).await.unwrap();
    let subject = Subject::new("http://127.0.0.1:1", "alice").unwrap();
    let secret = Secret256::random();
    let session = NewSession {
        key: SessionKey { subject: subject.key(), id: secret.digest() },
        identity: Identity::parse("alice").unwrap(),
        found: Found::default(),
        lifetime: Duration::from_hours(8),
        idle: Duration::from_hours(8),
        label: String::new(),
        most: 10,
        begun: Timestamp::from_millis(0),
        sid: None,
        way: None,
        grant: None,
        standing: NewStanding {
            subject: subject.clone(),
            provider: ProviderName::parse("corp").unwrap(),
            claims: r#"{"sub":"alice"}"#.to_owned(),
            verdict: Verdict {
                mark: Digest::of(b"another policy"),
                outcome: Outcome::Allowed { token_ttl: None },
            },
            decision: String::new(),
            keep: Duration::from_hours(8),
        },
    };
    store.open_session(&session).await.unwrap();
    format!("{}.{}", subject.key(), secret.reveal())
}

async fn token(service: &Service, cookie: &str) -> Answer {
    let mut alice = Visitor::on_a_page_of("http://localhost:8080");
    alice.cookies.insert("vestibule".to_owned(), cookie.to_owned());
    alice.post(&format!("http://{}/token", service.public)).await
}

/// A service that says that it serves, and else what `filter` lets through.
fn start(redis: &RedisServer, filter: &str) -> Service {
    let filter = format!("filter = \"vestibule::cli=info,{filter}\"");
    Service::serving(&configuration(&redis.url(), "127.0.0.1:0", &filter))
}

fn stop(mut service: Service) -> Vec<Value> {
    service.tell("TERM");
    assert_eq!(service.wait(), Some(0), "{}", service.log());
    service.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn each_token_is_a_line_even_where_the_filter_lets_nothing_through() {
    let redis = RedisServer::start();
    let cookie = open_session(&redis).await;
    let service = start(&redis, "off");

    let answers = [token(&service, &cookie).await, token(&service, &cookie).await];

    let lines = stop(service);
    let minted: Vec<_> = lines.iter().filter(|line| line["event"] == "mint").collect();
    assert_eq!(minted.len(), 2, "{lines:#?}");
    assert_ne!(minted[0]["jti"], minted[1]["jti"]);
    for (line, answer) in minted.into_iter().zip(answers) {
        let mut line = line.as_object().unwrap().clone();
        let (at, jti) = (line.remove("timestamp").unwrap(), line.remove("jti").unwrap());
        chrono::DateTime::parse_from_rfc3339(at.as_str().unwrap()).unwrap();
        assert_eq!(jti.as_str().unwrap().len(), 22);
        assert_eq!(
            Value::Object(line),
            json!({
                "level": "INFO",
                "message": "token minted",
                "event": "mint",
                "identity": "alice",
                "provider": "corp",
                "path": "session",
                "expires": answer.json()["expires_at"],
                "target": "vestibule::audit",
            })
        );
    }
}

#[tokio::test]
async fn a_filter_that_names_the_audit_log_is_obeyed() {
    let redis = RedisServer::start();
    let cookie = open_session(&redis).await;
    let service = start(&redis, "info,vestibule::audit=off");

    let answer = token(&service, &cookie).await;

    assert_eq!(answer.status, 200);
    let lines = stop(service);
    assert!(lines.iter().all(|line| line["target"] != "vestibule::audit"), "{lines:#?}");
    assert_eq!(lines.last().unwrap()["message"], "stopped");
}

#[test]
fn a_line_is_there_at_once_when_little_is_logged() {
    let redis = RedisServer::start();
    let mut service = start(&redis, "debug");
    std::thread::sleep(Duration::from_millis(100));

    get(service.public, "/nowhere", "");

    // Nothing else is logged that could push this out.
    assert_eq!(service.wait_for("answered")["status"], 404);
}

#[tokio::test]
async fn a_reader_that_stops_stops_nobody_and_finds_the_gap_told() {
    let redis = RedisServer::start();
    let cookie = open_session(&redis).await;
    let mut service = start(&redis, "vestibule=debug");
    let reading = service.reading.clone();
    let unread = reading.lock().await;

    let begun = Instant::now();
    while lost(&service) == 0 {
        assert!(begun.elapsed() < 6 * PATIENCE, "nothing is lost");
        ask_many(&service, 2000);
    }
    let begun = Instant::now();
    let answer = token(&service, &cookie).await;
    let took = begun.elapsed();

    assert_eq!(answer.status, 200);
    assert!(took < PATIENCE, "{took:?}");
    drop(unread);
    let gap = service.wait_for("lines of the log are missing");
    assert_eq!(gap["level"], "WARN");
    assert_eq!(gap["lines"], lost(&service), "all that was lost is told of");
    token(&service, &cookie).await;
    let lines = stop(service);
    assert_eq!(lines.iter().filter(|line| line["event"] == "mint").count(), 1, "after the gap");
    assert_eq!(lines.last().unwrap()["message"], "stopped");
}

/// How many lines the service says that it lost.
fn lost(service: &Service) -> u64 {
    let metrics = get(service.ops, "/metrics", "");
    let line = metrics.lines().find_map(|it| it.strip_prefix("vestibule_log_lines_lost_total "));
    line.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
}

/// Requests that log a line each, one after the other on one connection.
fn ask_many(service: &Service, count: usize) {
    let mut stream = TcpStream::connect(service.public).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
    let requests = "GET /nowhere HTTP/1.1\r\nHost: localhost:8080\r\n\r\n".repeat(count);
    let sending = std::thread::spawn(move || stream.write_all(requests.as_bytes()).unwrap());
    for _ in 0..count {
        // A body has no end of line: the next answer's first line is its last one's rest.
        answers.find(|line| line.as_ref().unwrap().contains("HTTP/1.1 404")).unwrap().unwrap();
    }
    sending.join().unwrap();
}
