//! Whoever is signed in sees all their devices and ends any of them.

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use vestibule::inside::{Digest, Secret256};

use crate::process::Service;
use crate::support::fake_provider::FakeProvider;
use crate::support::policies::{self, section, visitor};
use crate::support::redis::RedisServer;
use crate::support::service::{TWILIO, TestService};
use crate::support::setup::{Setup, provider_section};
use crate::support::visitor::{Answer, Visitor};

const FIREFOX: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0";
const SAFARI: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 \
                      (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1";

/// A device that calls itself so.
fn device(setup: &Setup, agent: &str) -> Visitor {
    let client = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(agent)
        .build()
        .unwrap();
    Visitor { client, ..setup.visitor() }
}

/// As many devices of alice's, signed in one after the other.
async fn devices<const N: usize>(setup: &Setup) -> [Visitor; N] {
    let mut devices = [(); N].map(|()| setup.visitor());
    for device in &mut devices {
        let answer = device.sign_in(&setup.service).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
    }
    devices
}

async fn list(device: &mut Visitor, service: &str) -> Vec<Value> {
    let answer = device.get(&format!("{service}/sessions")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.headers["cache-control"], "no-store");
    answer.json().as_array().unwrap().clone()
}

/// The `id` of the device itself.
async fn own_id(device: &mut Visitor, service: &str) -> String {
    let all = list(device, service).await;
    let own = all.iter().find(|row| row["current"] == true).unwrap();
    own["id"].as_str().unwrap().to_owned()
}

async fn delete(device: &mut Visitor, url: &str) -> Answer {
    device.send(Method::DELETE, url, &[]).await
}

async fn token(device: &mut Visitor, service: &str) -> Answer {
    device.post(&format!("{service}/token")).await
}

#[tokio::test]
async fn each_device_sees_all_of_them_newest_first() {
    let setup = Setup::new().await;
    let mut laptop = device(&setup, FIREFOX);
    let mut telephone = device(&setup, SAFARI);
    let mut program = setup.visitor();
    for device in [&mut laptop, &mut telephone, &mut program] {
        device.sign_in(&setup.service).await;
    }

    let seen = list(&mut telephone, &setup.service.url).await;

    let labels: Vec<_> = seen.iter().map(|row| row["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["Unknown device", "Safari on iPhone", "Firefox on Windows"]);
    let current: Vec<_> = seen.iter().map(|row| row["current"].as_bool().unwrap()).collect();
    assert_eq!(current, [false, true, false]);
    insta::assert_json_snapshot!(seen[1], {
        ".id" => "[digest]", ".since" => "[time]", ".last_seen" => "[time]"
    });
    for row in &seen {
        assert!(Digest::parse(row["id"].as_str().unwrap()).is_some(), "{row}");
        for time in ["since", "last_seen"] {
            chrono::DateTime::parse_from_rfc3339(row[time].as_str().unwrap()).unwrap();
        }
    }
    let ids = |rows: &[Value]| rows.iter().map(|row| row["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&list(&mut laptop, &setup.service.url).await), ids(&seen));
    let [one, other] =
        [&mut laptop, &mut telephone].map(|device| device.cookies["vestibule"].clone());
    for row in &seen {
        let id = row["id"].as_str().unwrap();
        assert!(!one.contains(id) && !other.contains(id), "an id is no part of a cookie");
    }
}

#[tokio::test]
async fn looking_is_not_using() {
    let setup = Setup::new().await;
    let [mut alice] = devices(&setup).await;
    let keys: Vec<String> = setup.redis.ask(&["KEYS", "vestibule:session:*"]);
    let (seconds, _): (u64, u64) = setup.redis.ask(&["TIME"]);
    // Long enough ago that a use would be written.
    let long_ago = ((seconds - 86_400) * 1000).to_string();
    setup.redis.ask::<i64>(&["HSET", &keys[0], "l", &long_ago]);

    let before = list(&mut alice, &setup.service.url).await;
    let after = list(&mut alice, &setup.service.url).await;

    assert_eq!(before, after);
    assert_eq!(setup.redis.ask::<String>(&["HGET", &keys[0], "l"]), long_ago);
    token(&mut alice, &setup.service.url).await;
    let used = list(&mut alice, &setup.service.url).await;
    assert_ne!(used[0]["last_seen"], before[0]["last_seen"]);
}

#[tokio::test]
async fn one_device_ends_another_at_every_replica_at_once() {
    let setup = Setup::new().await;
    let replica = setup.replica().await;
    let [mut laptop, mut telephone, mut tablet] = devices(&setup).await;
    let identity = token(&mut laptop, &setup.service.url).await.json()["identity"].clone();
    assert_eq!(token(&mut telephone, &replica.url).await.json()["identity"], identity);
    let id = own_id(&mut telephone, &setup.service.url).await;

    let ended = delete(&mut laptop, &format!("{}/sessions/{id}", replica.url)).await;

    assert_eq!((ended.status, ended.body.as_str()), (StatusCode::NO_CONTENT, ""));
    for service in [&setup.service.url, &replica.url] {
        assert_eq!(token(&mut telephone, service).await.code(), "session_expired");
        let seen = telephone.get(&format!("{service}/sessions")).await;
        assert_eq!(seen.code(), "session_expired");
        assert_eq!(list(&mut laptop, service).await.len(), 2);
        assert_eq!(token(&mut laptop, service).await.status, StatusCode::OK);
        assert_eq!(token(&mut tablet, service).await.status, StatusCode::OK);
    }
    assert!(laptop.cookies.contains_key("vestibule"));
    let again = delete(&mut laptop, &setup.url(&format!("/sessions/{id}"))).await;
    assert_eq!((again.status, again.code()), (StatusCode::NOT_FOUND, "not_found".into()));
    let back = delete(&mut telephone, &setup.url(&format!("/sessions/{id}"))).await;
    assert_eq!(back.code(), "session_expired");
}

#[tokio::test]
async fn a_device_that_ends_itself_loses_its_cookie() {
    let setup = Setup::new().await;
    let [mut laptop, mut telephone] = devices(&setup).await;
    let mut thief = laptop.clone();
    let id = own_id(&mut laptop, &setup.service.url).await;

    let ended = delete(&mut laptop, &setup.url(&format!("/sessions/{id}"))).await;

    assert_eq!(ended.status, StatusCode::NO_CONTENT);
    assert!(!laptop.cookies.contains_key("vestibule"));
    assert_eq!(token(&mut thief, &setup.service.url).await.code(), "session_expired");
    assert_eq!(token(&mut telephone, &setup.service.url).await.status, StatusCode::OK);
    assert_eq!(list(&mut telephone, &setup.service.url).await.len(), 1);
}

#[tokio::test]
async fn one_device_ends_all_others() {
    let setup = Setup::new().await;
    let [mut laptop, mut telephone, mut tablet] = devices(&setup).await;

    let ended = delete(&mut telephone, &setup.url("/sessions")).await;

    assert_eq!((ended.status, ended.body.as_str()), (StatusCode::NO_CONTENT, ""));
    for device in [&mut laptop, &mut tablet] {
        assert_eq!(token(device, &setup.service.url).await.code(), "session_expired");
        let refused = delete(device, &setup.url("/sessions")).await;
        assert_eq!(refused.code(), "session_expired");
    }
    assert_eq!(token(&mut telephone, &setup.service.url).await.status, StatusCode::OK);
    assert_eq!(list(&mut telephone, &setup.service.url).await.len(), 1);
    laptop.sign_in(&setup.service).await;
    assert_eq!(list(&mut telephone, &setup.service.url).await.len(), 2);
}

#[tokio::test]
async fn what_is_none_of_theirs_is_not_found_and_stays() {
    let stage = policies::Stage::new().await;
    let service = stage.service("allow = \"true\"").await;
    let mut alice = stage.sign_in(&service, "alice").await;
    let mut bob = stage.sign_in(&service, "bob").await;
    let bobs = own_id(&mut bob, &service.url).await;
    let (subject, _) = bob.cookies["vestibule"].split_once('.').unwrap();
    let subject = subject.to_owned();

    let never = Secret256::random().digest().to_string();
    for id in [&*bobs, &never, &subject, "x", "%00", &format!("{bobs}="), &"A".repeat(5000)] {
        let answer = delete(&mut alice, &format!("{}/sessions/{id}", service.url)).await;
        assert_eq!(answer.code(), "not_found", "{id}");
    }
    for path in ["/sessions/", "/sessions/x/y"] {
        let answer = delete(&mut alice, &format!("{}{path}", service.url)).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    let all = delete(&mut alice, &format!("{}/sessions", service.url)).await;
    assert_eq!(all.status, StatusCode::NO_CONTENT);
    assert_eq!(token(&mut bob, &service.url).await.status, StatusCode::OK);
    assert_eq!(token(&mut alice, &service.url).await.status, StatusCode::OK);
    assert_eq!(list(&mut bob, &service.url).await.len(), 1);
}

#[tokio::test]
async fn only_a_living_session_counts_here() {
    let setup = Setup::new().await;
    let [mut alice, mut other] = devices(&setup).await;
    let id = own_id(&mut other, &setup.service.url).await;
    let good = alice.cookies["vestibule"].clone();
    let one = format!("/sessions/{id}");
    let routes =
        [(Method::GET, "/sessions"), (Method::DELETE, "/sessions"), (Method::DELETE, &*one)];

    for (method, path) in &routes {
        let url = setup.url(path);
        for bearer in ["Bearer abc", "Basic YTpi", ""] {
            let answer = alice.send(method.clone(), &url, &[("authorization", bearer)]).await;
            assert_eq!(answer.code(), "invalid_token", "{method} {path} {bearer}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer error=\"invalid_token\"");
        }
        let answer = setup.visitor().send(method.clone(), &url, &[]).await;
        assert_eq!(answer.code(), "login_required", "{method} {path}");
        for bad in ["", "x", &format!("{good}A"), &format!("{}.{}", &good[..43], "A".repeat(43))] {
            let mut stranger = setup.visitor();
            stranger.cookies.insert("vestibule".into(), bad.to_owned());
            let answer = stranger.send(method.clone(), &url, &[]).await;
            assert_eq!(answer.code(), "session_expired", "{method} {path} {bad}");
        }
    }
    assert_eq!(list(&mut alice, &setup.service.url).await.len(), 2, "nothing was ended");
}

#[tokio::test]
async fn a_session_that_is_over_by_today_s_configuration_counts_for_nothing_here() {
    let setup = Setup::new().await;
    let [mut alice, mut other] = devices(&setup).await;
    let id = own_id(&mut other, &setup.service.url).await;
    let section = provider_section(&setup.provider, "").replace("\"fake\"", "\"another\"");
    let without = TestService::start_replica_of(&setup.service, &setup.redis.url(), &section).await;

    for (method, path) in [
        (Method::GET, "/sessions".to_owned()),
        (Method::DELETE, "/sessions".to_owned()),
        (Method::DELETE, format!("/sessions/{id}")),
    ] {
        let answer = alice.send(method, &format!("{}{path}", without.url), &[]).await;
        assert_eq!(answer.code(), "session_expired", "{path}");
    }

    assert_eq!(list(&mut alice, &setup.service.url).await.len(), 2);
}

#[tokio::test]
async fn devices_of_a_provider_that_is_none_any_more_are_not_shown_and_end_with_the_others() {
    let stage = policies::Stage::new().await;
    let named = |name: &str| section(name, &stage.provider, "", "allow = \"true\"");
    let before = policies::serve(&stage.redis.url(), &named("before")).await;
    let mut telephone = visitor();
    policies::sign_in(&mut telephone, &before, "before", "alice").await;
    let after = policies::serve(&stage.redis.url(), &named("after")).await;
    let [mut laptop, mut tablet] = [visitor(), visitor()];
    for device in [&mut laptop, &mut tablet] {
        policies::sign_in(device, &after, "after", "alice").await;
    }

    assert_eq!(list(&mut laptop, &after.url).await.len(), 2);
    assert_eq!(list(&mut telephone, &before.url).await.len(), 1);
    let ended = delete(&mut laptop, &format!("{}/sessions", after.url)).await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT);
    assert_eq!(token(&mut telephone, &before.url).await.code(), "session_expired");
    assert_eq!(list(&mut laptop, &after.url).await.len(), 1);
}

#[tokio::test]
async fn a_page_of_another_origin_ends_nothing() {
    let setup = Setup::new().await;
    let [alice, mut other] = devices(&setup).await;
    let id = own_id(&mut other, &setup.service.url).await;

    for path in ["/sessions".to_owned(), format!("/sessions/{id}")] {
        let evil = format!("{}.evil.example", setup.service.url);
        for origin in [None, Some("null"), Some("https://evil.example"), Some(&*evil)] {
            let mut page = Visitor { origin: origin.map(str::to_owned), ..alice.clone() };
            let answer = delete(&mut page, &setup.url(&path)).await;
            assert_eq!(answer.code(), "origin_not_allowed", "{path} {origin:?}");
        }
        let asks = [("access-control-request-method", "DELETE")];
        let allowed = alice.clone().send(Method::OPTIONS, &setup.url(&path), &asks).await;
        assert_eq!(allowed.status, StatusCode::NO_CONTENT);
        let methods = allowed.headers["access-control-allow-methods"].to_str().unwrap();
        assert!(methods.split(", ").any(|method| method == "DELETE"), "{path}: {methods}");
        assert_eq!(allowed.headers["access-control-allow-origin"], setup.service.url.as_str());
    }
    assert_eq!(list(&mut other, &setup.service.url).await.len(), 2);
    for (method, path, allow) in
        [(Method::POST, "/sessions", "GET,HEAD,DELETE"), (Method::GET, "/sessions/x", "DELETE")]
    {
        let answer = alice.clone().send(method, &setup.url(path), &[]).await;
        assert_eq!(answer.code(), "method_not_allowed", "{path}");
        assert_eq!(answer.headers["allow"], allow, "{path}");
    }
}

#[tokio::test]
async fn what_a_device_calls_itself_is_never_repeated() {
    let setup = Setup::new().await;
    let mut last = setup.visitor();
    for agent in [
        "<script>alert('canary')</script>\", \"current\": true",
        &format!("canary (Windows) Firefox/{}", "9".repeat(10_000)),
        "canary \u{e9}\t\\u0000 curl/8",
    ] {
        let mut odd = device(&setup, "x");
        // Not the client's own, so that bytes above ASCII go out too.
        let callback = odd.walk_to_callback(&setup.service).await;
        odd.send(Method::GET, &callback, &[("user-agent", agent)]).await;
        last = odd;
    }

    let seen = last.get(&setup.url("/sessions")).await;

    let labels: Vec<_> =
        seen.json().as_array().unwrap().iter().map(|row| row["label"].clone()).collect();
    assert_eq!(labels, ["curl", "Firefox on Windows", "Unknown device"]);
    assert!(!seen.body.contains("canary"), "{}", seen.body);
    let keys: Vec<String> = setup.redis.ask(&["KEYS", "vestibule:session:*"]);
    for key in keys {
        let kept: Vec<String> = setup.redis.ask(&["HVALS", &key]);
        assert!(!kept.join(" ").contains("canary"), "{kept:?}");
    }
}

#[tokio::test]
async fn two_processes_agree_on_who_is_signed_in() {
    let redis = RedisServer::start();
    let provider = FakeProvider::start().await;
    let origin = "http://localhost:8080";
    let configuration = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"{origin}\"\n[ops]\nlisten = \"127.0.0.1:0\"\n[store]\nurl = \"{}\"\n{TWILIO}{}",
        redis.url(),
        provider_section(&provider, "")
    );
    let replicas = [(); 2].map(|()| Service::serving(&configuration));
    let [first, second] = [0, 1].map(|n| format!("http://{}", replicas[n].public));
    let mut devices = [(); 3].map(|()| Visitor::on_a_page_of(origin));
    for (device, replica) in devices.iter_mut().zip([&first, &second, &first]) {
        policies::walk_at(device, replica, "fake", "alice").await;
        let callback = policies::walk_at(device, replica, "fake", "alice").await;
        assert_eq!(device.get(&callback).await.status, StatusCode::SEE_OTHER);
    }
    let [laptop, telephone, tablet] = &mut devices;

    assert_eq!(list(laptop, &second).await.len(), 3);
    let id = own_id(telephone, &second).await;
    assert_eq!(
        delete(laptop, &format!("{first}/sessions/{id}")).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(token(telephone, &second).await.code(), "session_expired");
    assert_eq!(delete(tablet, &format!("{second}/sessions")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(token(laptop, &first).await.code(), "session_expired");
    assert_eq!(list(tablet, &first).await.len(), 1);
}

#[tokio::test]
async fn devices_are_the_same_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let provider = FakeProvider::start().await;
    let store = format!("file:{}", directory.path().join("store").display());
    let service = TestService::start(&store, &provider_section(&provider, "")).await;
    let mut devices = [(); 3].map(|()| Visitor::of(&service));
    for device in &mut devices {
        device.sign_in(&service).await;
    }
    let [laptop, telephone, tablet] = &mut devices;

    let id = own_id(telephone, &service.url).await;
    let ended = delete(laptop, &format!("{}/sessions/{id}", service.url)).await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT);
    assert_eq!(token(telephone, &service.url).await.code(), "session_expired");
    assert_eq!(list(laptop, &service.url).await.len(), 2);
    let ended = delete(laptop, &format!("{}/sessions", service.url)).await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT);
    assert_eq!(token(tablet, &service.url).await.code(), "session_expired");
    assert_eq!(list(laptop, &service.url).await.len(), 1);
}
