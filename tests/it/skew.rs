//! Processes whose clocks are five minutes off, in either direction: nothing that they do goes by them.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use crate::process::Service;
use crate::revalidation::SEAL;
use crate::support::fake_provider::FakeProvider;
use crate::support::policies::{PUBLIC_URL, visitor, walk_at};
use crate::support::redis::RedisServer;
use crate::support::service::TWILIO;
use crate::support::setup::provider_section;
use crate::support::visitor::{Answer, Visitor};

/// Debian's libfaketime, whatever the machine.
pub fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let mut found = folders.map(|it| it.path().join("faketime/libfaketime.so.1"));
    found.find(|it| it.exists()).unwrap_or_else(|| {
        panic!("libfaketime is missing: run ./tests/run once, it installs what the tests need")
    })
}

/// A process whose wall clock is off by so much, as its own log shows.
fn off_by(offset: &str, configuration: &str) -> Service {
    let library = library();
    let environment = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME", offset),
        // Time-outs go by the other clock, which goes on as it is.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ];
    Service::serving_under(configuration, &environment)
}

/// How far a process' log is off, in seconds.
fn seconds_off(line: &Value) -> i64 {
    let said = chrono::DateTime::parse_from_rfc3339(line["timestamp"].as_str().unwrap()).unwrap();
    (said.to_utc() - chrono::Utc::now()).num_seconds()
}

struct Stage {
    provider: FakeProvider,
    urls: [String; 2],
    services: [Service; 2],
    _redis: RedisServer,
}

impl Stage {
    async fn new() -> Self {
        let (redis, provider) = (RedisServer::start(), FakeProvider::start().await);
        provider.name_sessions();
        let keys = "revalidate_after = \"1s\"\nbearer_audiences = [\"https://chat.example.com\"]\nbearer_max_age = \"1m\"";
        let configuration = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"{PUBLIC_URL}\"\n[ops]\nlisten = \"127.0.0.1:0\"\n[store]\nurl = \"{}\"\n{SEAL}{TWILIO}{}",
            redis.url(),
            provider_section(&provider, keys)
        );
        let services = ["+300s", "-300s"].map(|offset| off_by(offset, &configuration));
        let urls = [0, 1].map(|at: usize| format!("http://{}", services[at].public));
        Self { provider, urls, services, _redis: redis }
    }

    async fn device(&self, at: usize) -> Visitor {
        let mut device = visitor();
        let callback = walk_at(&mut device, &self.urls[at], "fake", "alice").await;
        let answer = device.get(&callback).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        device
    }

    async fn token(&self, at: usize, device: &mut Visitor) -> Answer {
        device.post(&format!("{}/token", self.urls[at])).await
    }
}

/// The token is good now, by everybody's clock, for an hour.
fn dated_now(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let jwt = answer.json()["token"].as_str().unwrap().to_owned();
    let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(&jwt).unwrap().claims;
    let (iat, exp) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert!((iat - chrono::Utc::now().timestamp()).abs() < 10, "{claims}");
    assert_eq!(exp - iat, 3600, "{claims}");
}

#[tokio::test]
async fn logins_tokens_revalidations_bearers_and_logouts_go_by_the_stores_clock() {
    let mut stage = Stage::new().await;
    for (from, other) in [(0, 1), (1, 0)] {
        let mut device = stage.device(from).await;
        dated_now(&stage.token(from, &mut device).await);
        dated_now(&stage.token(other, &mut device).await);
        let session = device.get(&format!("{}/session", stage.urls[other])).await.json();
        let since = chrono::DateTime::parse_from_rfc3339(session["since"].as_str().unwrap());
        assert!((since.unwrap().to_utc() - chrono::Utc::now()).num_seconds().abs() < 10);

        // The provider is asked when it is due, and not before or for ever.
        let asked = stage.provider.requests("refresh");
        tokio::time::sleep(Duration::from_millis(1100)).await;
        dated_now(&stage.token(other, &mut device).await);
        dated_now(&stage.token(from, &mut device).await);
        assert_eq!(stage.provider.requests("refresh"), asked + 1);

        let bearer = stage.provider.access_token("alice", "https://chat.example.com");
        let authorization = format!("Bearer {bearer}");
        let headers = [("authorization", authorization.as_str())];
        for url in &stage.urls {
            let url = format!("{url}/token");
            dated_now(&visitor().send(reqwest::Method::POST, &url, &headers).await);
        }

        let sid = stage.provider.last_sid();
        let logout = stage.provider.logout_token(None, Some(&sid), &[]);
        let url = format!("{}/logout/backchannel/fake", stage.urls[other]);
        let told = visitor().submit(&url, &[("logout_token".to_owned(), logout)]).await;
        assert_eq!(told.status, StatusCode::OK, "{told:?}");
        for at in [0, 1] {
            assert_eq!(stage.token(at, &mut device).await.code(), "session_expired");
        }
    }
    for (service, expected) in stage.services.iter_mut().zip([300, -300]) {
        let off = seconds_off(&service.wait_for("\"event\":\"login\""));
        assert!((off - expected).abs() < 60, "the clock is off by {off} s, not {expected}");
    }
}
