//! What operators are told: whether it lives, whether it is ready, what it did and why it failed; and an end that cuts nobody off.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::support::fake_provider::{FakeProvider, Reply, Twist};
use crate::support::proxy::Proxy;
use crate::support::redis::RedisServer;
use crate::support::service::TestService;
use crate::support::setup::{Setup, provider_section};
use crate::support::visitor::{Answer, Visitor};

/// A sample's name with its labels, as Prometheus' text format spells it.
type Series = String;

/// What Prometheus would scrape.
struct Scrape {
    kinds: BTreeMap<String, String>,
    samples: BTreeMap<Series, f64>,
}

impl Scrape {
    async fn of(service: &TestService) -> Self {
        let answer = operator(service, "/metrics").await;
        assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        Self::read(&answer.body)
    }

    /// Reads the text format, version 0.0.4: every family has one `# HELP` and one `# TYPE` before its samples, its samples are
    /// of that type and stand together, and no series stands twice.
    fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'));
        let mut scrape = Self { kinds: BTreeMap::new(), samples: BTreeMap::new() };
        let mut family = String::new();
        let mut helped = BTreeSet::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').expect(line);
                assert!(helped.insert(name.to_owned()) && words.ends_with('.'), "{line}");
                assert!(!scrape.kinds.contains_key(name), "{line} comes too late");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect(line);
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(scrape.kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
                name.clone_into(&mut family);
            } else {
                let (series, value) = line.rsplit_once(' ').expect(line);
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                check_labels(labels);
                let suffixes: &[&str] = match scrape.kinds[&family].as_str() {
                    "histogram" => &["_bucket", "_sum", "_count"],
                    _ => &[""],
                };
                let suffix = name.strip_prefix(&family).expect(line);
                assert!(suffixes.contains(&suffix), "{line}");
                let value = value.parse().expect(line);
                assert!(scrape.samples.insert(series.to_owned(), value).is_none(), "{line}");
            }
        }
        assert_eq!(helped, scrape.kinds.keys().cloned().collect(), "a word for each, and no other");
        scrape.check_buckets(text);
        scrape
    }

    /// The buckets of a histogram grow with their bounds, and the last holds all.
    fn check_buckets(&self, text: &str) {
        let mut last = (String::new(), f64::MIN, 0.0);
        for line in text.lines().filter(|line| line.contains("_bucket{")) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (others, bound) = series.split_once("le=\"").expect(line);
            let bound: f64 = bound.strip_suffix("\"}").expect(line).parse().expect(line);
            let value: f64 = value.parse().unwrap();
            if others == last.0 {
                assert!(bound > last.1 && value >= last.2, "{line} after {last:?}");
            }
            last = (others.to_owned(), bound, value);
            if bound.is_infinite() {
                let count = others.replace("_bucket{", "_count{").trim_end_matches(',').to_owned();
                let count = if let Some(bare) = count.strip_suffix('{') {
                    bare.to_owned()
                } else {
                    count + "}"
                };
                assert!((self.samples[&count] - value).abs() < 0.5, "{line}");
            }
        }
    }

    fn value(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.samples))
    }
}

/// Reads `name="value",…}` where no value of ours needs an escape.
fn check_labels(labels: &str) {
    let labels = labels.strip_suffix('}').expect(labels);
    for label in labels.split(',').filter(|label| !label.is_empty()) {
        let (name, value) = label.split_once('=').expect(labels);
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{label}");
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        assert!(value.is_some_and(|value| !value.contains(['"', '\\'])), "{label}");
    }
}

async fn operator(service: &TestService, path: &str) -> Answer {
    Visitor::of(service).get(&format!("{}{path}", service.ops_url)).await
}

/// What failures were counted since the last look.
struct Failures<'a> {
    service: &'a TestService,
    seen: BTreeMap<Series, f64>,
    told: String,
}

impl<'a> Failures<'a> {
    async fn of(service: &'a TestService) -> Self {
        let seen = Scrape::of(service).await.samples;
        Self { service, seen, told: String::new() }
    }

    /// Notes by which counters a failure was counted, each once.
    async fn note(&mut self, what: &str) {
        let now = Scrape::of(self.service).await.samples;
        writeln!(self.told, "{what}").unwrap();
        for (series, value) in now.iter().filter(|(series, _)| series.contains("_failures_total")) {
            let more = value - self.seen.get(series).unwrap_or(&0.0);
            if more > 0.0 {
                assert!((more - 1.0).abs() < 0.1, "{what}: {series} grew by {more}");
                writeln!(self.told, "  {}", series.trim_start_matches("vestibule_")).unwrap();
            }
        }
        self.seen = now;
    }
}

#[tokio::test]
async fn a_service_in_good_state_says_so() {
    let setup = Setup::new().await;
    setup.visitor().sign_in(&setup.service).await;

    let ready = operator(&setup.service, "/readyz").await;
    let alive = operator(&setup.service, "/livez").await;

    assert_eq!((ready.status, alive.status), (StatusCode::OK, StatusCode::OK));
    assert!(ready.json()["providers"]["fake"].as_str().unwrap().starts_with("good, "));
    insta::assert_json_snapshot!(ready.json(), { ".providers.fake" => "[good, and its age]" });
}

#[tokio::test]
async fn operators_have_a_listener_of_their_own() {
    let setup = Setup::new().await;
    let mut anybody = setup.visitor();

    for path in ["/", "/login", "/token", "/console", "/api/usage", "/metrics/", "/readyz/x"] {
        assert_eq!(operator(&setup.service, path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    for path in ["/metrics", "/readyz", "/livez"] {
        assert_eq!(anybody.get(&setup.url(path)).await.code(), "not_found", "{path}");
        let posted = anybody.post(&format!("{}{path}", setup.service.ops_url)).await;
        assert_eq!(posted.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
}

#[tokio::test]
async fn each_route_store_step_and_provider_call_is_timed() {
    let setup = Setup::new().await;
    let mut alice = setup.visitor();

    for path in ["/", "/login", "/nowhere"] {
        alice.get(&setup.url(path)).await;
    }
    for _ in 0..2 {
        alice.sign_in(&setup.service).await;
    }
    alice.get(&setup.url("/session")).await;
    alice.get(&setup.url("/sessions")).await;
    alice.send(Method::DELETE, &setup.url("/sessions/x"), &[]).await;
    alice.post(&setup.url("/token")).await;
    alice.post(&setup.url("/logout")).await;
    operator(&setup.service, "/readyz").await;

    let scrape = Scrape::of(&setup.service).await;
    let count =
        |name: &str, labels: &str| scrape.value(&format!("vestibule_{name}_count{{{labels}}}"));
    for (route, times) in [
        ("/", 1.0),
        ("/login", 1.0),
        ("/login/{provider}", 2.0),
        ("/callback/{provider}", 2.0),
        ("/token", 1.0),
        ("/session", 1.0),
        ("/sessions", 1.0),
        ("/sessions/{id}", 1.0),
        ("/logout", 1.0),
        ("none", 1.0),
    ] {
        let counted = count("request_duration_seconds", &format!("route=\"{route}\""));
        assert!((counted - times).abs() < 0.5, "{route}: {counted}");
    }
    for (step, times) in [
        ("take_from_limit", 3.0),
        ("begin_login", 3.0),
        ("take_login_once", 2.0),
        ("find_identity", 2.0),
        ("claim_identity", 1.0),
        ("open_session", 2.0),
        ("use_session", 1.0),
        ("read_session", 2.0),
        ("list_sessions", 1.0),
        ("end_session", 2.0),
        ("read_time", 1.0),
    ] {
        let counted = count("store_step_duration_seconds", &format!("step=\"{step}\""));
        assert!((counted - times).abs() < 0.5, "{step}: {counted}");
    }
    for (endpoint, times) in [("discovery", 1.0), ("keys", 1.0), ("token", 2.0), ("userinfo", 2.0)]
    {
        let labels = format!("provider=\"fake\",endpoint=\"{endpoint}\"");
        let counted = count("provider_call_duration_seconds", &labels);
        assert!((counted - times).abs() < 0.5, "{endpoint}: {counted}");
    }
}

/// The stage for failures: two names for one provider, tight limits, and a proxy before Redis.
async fn failing_stage() -> (RedisServer, Proxy, FakeProvider, TestService) {
    let redis = RedisServer::start();
    let proxy = Proxy::before(redis.address()).await;
    let provider = FakeProvider::start().await;
    let section = provider_section(&provider, "timeout = \"1s\"");
    let other = section.replace("\"fake\"", "\"other\"").replace("\"vestibule\"", "\"other\"");
    let sections = format!("[limits]\ntokens = \"1/h\"\nlogins = \"40/h\"\n{section}{other}");
    let service = TestService::start_behind_proxy(&proxy.url(), &sections).await;
    (redis, proxy, provider, service)
}

#[tokio::test]
async fn each_failure_of_a_request_is_counted_once_by_code_and_cause() {
    let (_redis, _proxy, _provider, service) = failing_stage().await;
    let url = |path: &str| format!("{}{path}", service.url);
    let mut alice = Visitor::of(&service);
    alice.sign_in(&service).await;
    let mut nobody = Visitor::of(&service);
    let mut failures = Failures::of(&service).await;

    nobody.post(&url("/token")).await;
    failures.note("a token for nobody").await;
    alice.send(Method::POST, &url("/token"), &[("authorization", "Bearer x")]).await;
    failures.note("a bearer token").await;
    nobody.send(Method::POST, &url("/token"), &[("cookie", "vestibule=x")]).await;
    failures.note("a cookie that is not ours").await;
    alice.send(Method::POST, &url("/token"), &[("cookie", "vestibule=x")]).await;
    failures.note("two cookies").await;
    Visitor { origin: None, ..alice.clone() }.post(&url("/token")).await;
    failures.note("no origin").await;
    Visitor { origin: Some("null".into()), ..alice.clone() }.post(&url("/token")).await;
    failures.note("a strange origin").await;
    alice.post(&url("/token")).await;
    failures.note("a token: no failure").await;
    alice.post(&url("/token")).await;
    failures.note("a token too many").await;
    alice.get(&url("/nowhere")).await;
    failures.note("no such route").await;
    alice.get(&url("/token")).await;
    failures.note("no such method").await;
    alice.get(&url("/login/unknown")).await;
    failures.note("no such provider").await;
    alice.get(&url("/login/fake?return_to=https://evil.example/")).await;
    failures.note("a return_to that is not ours").await;
    alice.send(Method::GET, &url("/"), &[("host", "a b")]).await;
    failures.note("no host").await;
    let mut ended = alice.clone();
    alice.post(&url("/logout")).await;
    ended.get(&url("/session")).await;
    failures.note("a session that was ended").await;
    for _ in 0..40 {
        nobody.send(Method::GET, &url("/login/fake"), &[("x-forwarded-for", "203.0.113.9")]).await;
    }
    failures.note("forty logins: no failure").await;
    nobody.send(Method::GET, &url("/login/fake"), &[("x-forwarded-for", "203.0.113.9")]).await;
    failures.note("a login too many").await;

    insta::assert_snapshot!(failures.told);
}

#[tokio::test]
async fn each_failure_of_a_login_is_counted_once_by_code_and_cause() {
    let (redis, _proxy, provider, service) = failing_stage().await;
    let url = |path: &str| format!("{}{path}", service.url);
    let mut alice = Visitor::of(&service);
    alice.sign_in(&service).await;
    let mut failures = Failures::of(&service).await;

    alice.get(&url("/callback/fake")).await;
    failures.note("no state").await;
    let callback = alice.walk_to_callback(&service).await;
    alice.get(&format!("{callback}&state=x")).await;
    failures.note("a state twice").await;
    Visitor::of(&service).get(&callback).await;
    failures.note("no login cookie").await;
    let mut other = Visitor::of(&service);
    other.walk_to_callback(&service).await;
    other.get(&callback).await;
    failures.note("another browser").await;
    alice.get(&callback.replace("/callback/fake", "/callback/other")).await;
    failures.note("another provider").await;
    alice.get(&callback).await;
    alice.get(&callback).await;
    failures.note("answered before").await;
    alice.get(&url("/callback/fake?state=x&code=y")).await;
    failures.note("an unknown state").await;
    let endless = Some(serde_json::Value::from("x".repeat(1025)));
    for (what, twists) in [
        ("refused", vec![Twist::Response("error", Some("access_denied".into()))]),
        ("a wrong nonce", vec![Twist::Claim("nonce", Some("x".into()))]),
        ("no JSON", vec![Twist::Answer("token", Reply::new(200, "text/html", "x"))]),
        (
            "a subject too long",
            vec![Twist::Claim("sub", endless.clone()), Twist::Userinfo("sub", endless)],
        ),
    ] {
        provider.twist(twists);
        alice.sign_in(&service).await;
        failures.note(what).await;
    }
    provider.twist([]);
    let issuer = Uuid::new_v5(&Uuid::NAMESPACE_URL, provider.issuer().as_bytes());
    let claim = format!("vestibule:claim:{{{}}}", Uuid::new_v5(&issuer, b"bob"));
    redis.ask::<i64>(&["HSET", &claim, "k", "somebody else"]);
    let away = alice.get(&url("/login/fake")).await.location();
    let callback = alice.get(&format!("{away}&login_hint=bob")).await.location();
    alice.get(&callback).await;
    failures.note("an identity that is somebody else's").await;

    insta::assert_snapshot!(failures.told);
}

#[tokio::test]
async fn each_failure_of_the_store_is_counted_once_by_step_and_cause() {
    let (redis, proxy, _provider, service) = failing_stage().await;
    let url = |path: &str| format!("{}{path}", service.url);
    let mut alice = Visitor::of(&service);
    alice.sign_in(&service).await;
    let callback = alice.walk_to_callback(&service).await;
    let mut failures = Failures::of(&service).await;

    proxy.refuse();
    alice.get(&url("/session")).await;
    failures.note("away").await;
    proxy.clear_up();
    alice.get(&url("/session")).await;
    failures.note("back: no failure").await;
    proxy.stall();
    alice.get(&callback).await;
    failures.note("silent").await;
    proxy.clear_up();
    let keys: Vec<String> = redis.ask(&["KEYS", "vestibule:session:*"]);
    redis.ask::<i64>(&["HSET", &keys[0], "e", "x"]);
    alice.post(&url("/token")).await;
    failures.note("spoilt").await;

    insta::assert_snapshot!(failures.told);
}

#[tokio::test]
async fn a_login_under_way_is_finished_before_the_end_while_operators_watch() {
    let setup = Setup::new().await;
    let replica = setup.replica().await;
    let mut alice = setup.visitor();
    let callback = alice.walk_to_callback(&setup.service).await;
    setup.provider.delay_token_endpoint(Duration::from_secs(2));
    let public = setup.service.url.trim_start_matches("http://").to_owned();
    let ops = setup.service.ops_url.clone();

    let login = tokio::spawn(async move {
        let answer = alice.get(&callback).await;
        (alice, answer)
    });
    while setup.provider.requests("token") == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let told = Instant::now();
    drop(setup.service);
    while TcpStream::connect(&public).await.is_ok() {
        assert!(told.elapsed() < Duration::from_secs(1), "it still listens");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    assert!(!login.is_finished());
    let watching = Visitor::of(&replica).get(&format!("{ops}/livez")).await;
    assert_eq!(watching.status, StatusCode::OK);
    let (mut alice, answer) = login.await.unwrap();
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
    assert_eq!(alice.post(&format!("{}/token", replica.url)).await.status, StatusCode::OK);
}
