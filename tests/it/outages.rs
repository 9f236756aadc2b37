//! Redis or the provider is away, silent, slow, cut off or restarted: every route answers in time and says the same few words,
//! and nothing is lost when it comes back.

use std::fmt::Write;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use uuid::Uuid;

use crate::support::fake_provider::{FakeProvider, Reply, Twist};
use crate::support::log;
use crate::support::proxy::Proxy;
use crate::support::redis::RedisServer;
use crate::support::service::{TestService, listener};
use crate::support::setup::{Setup, provider_section};
use crate::support::visitor::{Answer, Visitor};

/// What an outage of Redis may cost a request.
const IN_TIME: Duration = Duration::from_secs(2);

/// Every route that asks the store or tells of it.
const ROUTES: [&str; 11] = [
    "GET /",
    "GET /login",
    "GET /login/fake",
    "GET /callback/fake",
    "POST /token",
    "GET /session",
    "GET /sessions",
    "DELETE /sessions",
    "POST /logout",
    "GET /readyz",
    "GET /livez",
];

/// Those of guests.
const GUEST_ROUTES: [&str; 2] = ["POST /guest", "DELETE /guest"];

/// A service whose Redis, which forgets nothing, is behind a proxy.
struct Stage {
    redis: RedisServer,
    proxy: Proxy,
    provider: FakeProvider,
    service: TestService,
}

impl Stage {
    async fn new() -> Self {
        Self::with("").await
    }

    async fn with(sections: &str) -> Self {
        let redis = RedisServer::start_on_disk();
        let proxy = Proxy::before(redis.address()).await;
        let provider = FakeProvider::start().await;
        let further = format!("{sections}{}", provider_section(&provider, ""));
        let service = TestService::start(&proxy.url(), &further).await;
        let stage = Self { redis, proxy, provider, service };
        stage.warm_up().await;
        stage
    }

    /// Takes every step once, so that Redis knows every script: from now on one step is one request and one reply.
    async fn warm_up(&self) {
        let mut somebody = Visitor::of(&self.service);
        for _ in 0..2 {
            somebody.sign_in(&self.service).await;
        }
        for route in [
            "POST /token",
            "GET /session",
            "GET /sessions",
            "DELETE /sessions",
            "GET /readyz",
            "POST /logout",
        ] {
            self.ask(&mut somebody, route).await;
        }
    }

    async fn signed_in(&self) -> Visitor {
        let mut visitor = Visitor::of(&self.service);
        let answer = visitor.sign_in(&self.service).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        visitor
    }

    /// What the routes of guests answer to one while `outage` lasts, and when it is over.
    async fn each_route_of_guests(&self, outage: impl Fn(&Proxy)) -> String {
        let mut told = String::new();
        for route in GUEST_ROUTES {
            let mut guest = Visitor::of(&self.service);
            self.ask_until(&mut guest, "POST /guest", StatusCode::CREATED).await;

            outage(&self.proxy);
            let begun = Instant::now();
            let meanwhile = self.ask(&mut guest, route).await;
            let took = begun.elapsed();
            self.proxy.clear_up();

            assert!(took < IN_TIME, "{route} took {took:?}");
            assert!(guest.cookies.contains_key("vestibule-guest"), "{route}");
            writeln!(told, "{route}\n  {}", in_words(&meanwhile)).unwrap();
            let done = if route == "POST /guest" { StatusCode::OK } else { StatusCode::NO_CONTENT };
            self.ask_until(&mut guest, route, done).await;
        }
        told
    }

    /// Asks until it is so: whoever works on guests meanwhile may have found a connection dead, or not yet.
    async fn ask_until(&self, visitor: &mut Visitor, route: &str, status: StatusCode) {
        let begun = Instant::now();
        loop {
            let answer = self.ask(visitor, route).await;
            if answer.status == status {
                return;
            }
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
            assert!(begun.elapsed() < Duration::from_secs(10), "{answer:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Goes to the provider as `login` and back to where the callback is to be called.
    async fn walk_to_callback_as(&self, visitor: &mut Visitor, login: &str) -> String {
        let away = visitor.get(&format!("{}/login/fake", self.service.url)).await.location();
        visitor.get(&format!("{away}&login_hint={login}")).await.location()
    }

    /// Asks a route, or a URL of our callback.
    async fn ask(&self, visitor: &mut Visitor, route: &str) -> Answer {
        let (method, path) = route.split_once(' ').unwrap();
        let url = match path {
            "/readyz" | "/livez" => format!("{}{path}", self.service.ops_url),
            _ => format!("{}{path}", self.service.url),
        };
        visitor.send(Method::from_bytes(method.as_bytes()).unwrap(), &url, &[]).await
    }

    /// What each route answers to somebody signed in while `outage` lasts, and once more when it is over: each answer in time.
    async fn each_route(
        &mut self,
        mut outage: impl FnMut(&mut Self),
        mut over: impl FnMut(&mut Self),
    ) -> String {
        let mut told = String::new();
        for route in ROUTES {
            let mut visitor = self.signed_in().await;
            let callback = visitor.walk_to_callback(&self.service).await;
            let asked = match route {
                "GET /callback/fake" => format!("GET {}", &callback[self.service.url.len()..]),
                _ => route.to_owned(),
            };

            outage(self);
            let begun = Instant::now();
            let meanwhile = self.ask(&mut visitor, &asked).await;
            let took = begun.elapsed();
            over(self);
            let afterwards = self.ask(&mut visitor, &asked).await;

            assert!(took < IN_TIME, "{route} took {took:?}");
            let (meanwhile, afterwards) = (in_words(&meanwhile), in_words(&afterwards));
            writeln!(told, "{route}\n  meanwhile:  {meanwhile}\n  afterwards: {afterwards}")
                .unwrap();
        }
        told
    }

    /// What the callback answers when Redis fails at each of its five steps; then the same callback once more, and a new login
    /// of the same person, who is who they are.
    async fn each_step_of_a_callback(&self, outage: fn(&Proxy, usize)) -> String {
        let mut told = String::new();
        let steps =
            ["take_login_once", "find_identity", "claim_identity", "open_session", "end_session"];
        for (passed, step) in steps.iter().enumerate() {
            // Somebody new, in a browser where somebody else is signed in: all five steps are needed.
            let person = format!("person-{passed}");
            let mut visitor = self.signed_in().await;
            let callback = self.walk_to_callback_as(&mut visitor, &person).await;

            outage(&self.proxy, passed);
            let begun = Instant::now();
            let meanwhile = visitor.get(&callback).await;
            let took = begun.elapsed();
            self.proxy.clear_up();
            let repeated = visitor.clone().get(&callback).await;
            let again = self.walk_to_callback_as(&mut visitor, &person).await;
            let again = visitor.get(&again).await;

            assert!(took < IN_TIME, "{step} took {took:?}");
            assert_eq!(again.status, StatusCode::SEE_OTHER, "{step}: {again:?}");
            let session = self.ask(&mut visitor, "GET /session").await.json();
            assert_eq!(session["identity"], self.identity_of(&person), "{step}");
            let (meanwhile, repeated) = (in_words(&meanwhile), in_words(&repeated));
            writeln!(told, "{step}\n  meanwhile:  {meanwhile}\n  repeated:   {repeated}").unwrap();
        }
        told
    }

    fn identity_of(&self, subject: &str) -> String {
        let issuer = Uuid::new_v5(&Uuid::NAMESPACE_URL, self.provider.issuer().as_bytes());
        Uuid::new_v5(&issuer, subject.as_bytes()).to_string()
    }
}

/// An answer on one line, without what differs each time: a failure with its body, anything else with its status.
fn in_words(answer: &Answer) -> String {
    let status = answer.status.as_u16().to_string();
    if answer.status.is_success() || answer.status.is_redirection() {
        return status;
    }
    let header = |name| answer.headers.get(name).map_or("-", |value| value.to_str().unwrap());
    let (kind, after) = (header(CONTENT_TYPE), header(RETRY_AFTER));
    format!("{status}, {kind}, retry after {after}\n    {}", redacted(&answer.body))
}

/// The text with its reference, and the age of what a provider said, taken out.
fn redacted(text: &str) -> String {
    let ends = |end: char| !end.is_ascii_alphanumeric() && end != '-';
    let word = |piece: &str| {
        let word = piece.trim_end_matches(ends);
        let is_reference = word.len() == 11 && word.find('-') == Some(5);
        let kept = if is_reference { "[reference]" } else { word };
        format!("{kept}{}", &piece[word.len()..])
    };
    let text: String = text.split_inclusive(ends).map(word).collect();
    match text.split_once("good, ").and_then(|(before, rest)| Some((before, rest.split_once(' ')?)))
    {
        Some((before, (_age, after))) => format!("{before}good, [age] {after}"),
        None => text,
    }
}

/// What a person reads on a page.
fn page(answer: &Answer) -> String {
    assert_eq!(answer.headers[CONTENT_TYPE], "text/html; charset=utf-8", "{answer:?}");
    let (_, body) = answer.body.split_once("<main>").unwrap();
    let (body, _) = body.split_once("</main>").unwrap();
    redacted(body)
}

#[tokio::test]
async fn while_redis_refuses_connections_every_route_says_so_and_nothing_is_lost() {
    let mut stage = Stage::new().await;

    let told = stage.each_route(|stage| stage.proxy.refuse(), |stage| stage.proxy.clear_up()).await;

    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn while_redis_hears_nothing_every_route_says_so_and_nothing_is_lost() {
    let mut stage = Stage::new().await;

    let told = stage.each_route(|stage| stage.proxy.stall(), |stage| stage.proxy.clear_up()).await;

    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn while_redis_falls_silent_in_the_middle_of_a_reply_every_route_says_so() {
    let mut stage = Stage::new().await;

    let told =
        stage.each_route(|stage| stage.proxy.stall_after(0), |stage| stage.proxy.clear_up()).await;

    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn while_redis_is_stopped_every_route_says_so_and_nothing_is_lost() {
    let mut stage = Stage::new().await;

    let told =
        stage.each_route(|stage| stage.redis.stop(), |stage| stage.redis.start_again()).await;

    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn while_redis_is_away_the_routes_of_guests_say_so_and_nothing_is_lost() {
    let stage = Stage::with("[guests]\nsize = 99\n[limits]\nguests = \"off\"\n").await;
    let mut told = String::new();
    for outage in [Proxy::refuse, Proxy::stall, |proxy: &Proxy| proxy.stall_after(0)] {
        told += &stage.each_route_of_guests(outage).await;
    }

    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn a_restart_of_redis_is_noticed_by_nobody() {
    let mut stage = Stage::new().await;
    let restart = |stage: &mut Stage| {
        stage.redis.stop();
        stage.redis.start_again();
    };

    let told = stage.each_route(restart, |_| {}).await;

    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn a_callback_that_is_cut_off_at_any_step_loses_no_identity_and_a_new_login_works() {
    let stage = Stage::new().await;

    let told = stage.each_step_of_a_callback(Proxy::refuse_after).await;

    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn a_callback_that_is_left_waiting_at_any_step_loses_no_identity_and_a_new_login_works() {
    let stage = Stage::new().await;

    let told = stage.each_step_of_a_callback(Proxy::stall_after).await;

    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn a_person_reads_on_a_page_that_the_store_is_away() {
    let stage = Stage::new().await;
    let mut alice = Visitor { accept: "text/html", ..stage.signed_in().await };
    let callback = alice.walk_to_callback(&stage.service).await;
    let other_callback = alice.walk_to_callback(&stage.service).await;
    let home = format!("{}/", stage.service.url);
    let port = stage.service.url.rsplit(':').next().unwrap();
    let mut pages = String::new();
    // Before the login is taken, when it has been, and where nothing is begun.
    for (passed, url) in [(0, &callback), (2, &other_callback), (0, &home)] {
        stage.proxy.refuse_after(passed);
        let answer = alice.get(url).await;
        stage.proxy.clear_up();
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        writeln!(pages, "{}", page(&answer).replace(port, "[port]")).unwrap();
    }

    insta::assert_snapshot!(pages);
}

#[tokio::test]
async fn a_request_asks_the_store_as_often_as_it_must_and_no_more() {
    let stage = Stage::new().await;
    let mut alice = stage.signed_in().await;
    let counted = async |visitor: &mut Visitor, route: &str| {
        let before = stage.proxy.requests();
        stage.ask(visitor, route).await;
        stage.proxy.requests() - before
    };

    for _ in 0..10 {
        assert_eq!(counted(&mut alice, "POST /token").await, 1, "a token");
    }
    assert_eq!(counted(&mut alice, "GET /session").await, 1);
    assert_eq!(counted(&mut alice, "GET /sessions").await, 1);
    assert_eq!(counted(&mut alice, "DELETE /sessions").await, 2);
    assert_eq!(counted(&mut alice, "GET /").await, 1);
    assert_eq!(counted(&mut alice, "POST /logout").await, 2);
    for route in ["GET /", "POST /token", "GET /session", "POST /logout", "GET /livez"] {
        assert_eq!(counted(&mut alice, route).await, 0, "{route} of nobody");
    }
    alice.cookies.insert("vestibule".into(), "never.ours".into());
    assert_eq!(counted(&mut alice, "POST /token").await, 0, "a cookie that we never wrote");
}

#[tokio::test]
async fn a_login_asks_the_store_as_often_as_it_must_and_no_more() {
    let stage = Stage::new().await;
    let mut browser = Visitor::of(&stage.service);
    let counted = async |browser: &mut Visitor, login: &str| {
        let begun = stage.proxy.requests();
        let callback = stage.walk_to_callback_as(browser, login).await;
        let away = stage.proxy.requests();
        let answer = browser.get(&callback).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        (away - begun, stage.proxy.requests() - away)
    };

    // The limit and the login; then take the login, look for the identity, claim it, open the session.
    assert_eq!(counted(&mut browser, "newcomer").await, (2, 4));
    // Known by now; and the browser's former session is ended.
    assert_eq!(counted(&mut browser, "newcomer").await, (2, 4));
    // Both at once.
    assert_eq!(counted(&mut browser, "another newcomer").await, (2, 5));
    browser.cookies.remove("vestibule");
    // Neither.
    assert_eq!(counted(&mut browser, "newcomer").await, (2, 3));
    assert_eq!(stage.proxy.connections(), 1);
}

/// How a provider's endpoint lets us down.
#[derive(Clone, Copy)]
enum Letdown {
    Away,
    Silent,
    Slow,
    Huge,
    OtherType,
}

/// What a login comes to when each endpoint in turn lets us down, and what the log says about it; each within the `timeout` of
/// one second, and a moment.
async fn each_endpoint(letdown: Letdown) -> String {
    let silent = listener();
    let silent_url = format!("http://{}", silent.local_addr().unwrap());
    let mut told = String::new();
    for (endpoint, member) in [
        ("discovery", ""),
        ("keys", "jwks_uri"),
        ("token", "token_endpoint"),
        ("userinfo", "userinfo_endpoint"),
    ] {
        let provider = FakeProvider::start().await;
        let mut section = provider_section(&provider, "timeout = \"1s\"");
        let mut lead_to = |url: &str| match endpoint {
            "discovery" => section = section.replace(&provider.issuer(), url),
            _ => {
                provider.twist([Twist::Metadata(member, Some(format!("{url}/{endpoint}").into()))]);
            }
        };
        let json = "application/json";
        match letdown {
            // A port that only the system may listen on, and nobody does.
            Letdown::Away => lead_to("http://127.0.0.1:1"),
            Letdown::Silent => lead_to(&silent_url),
            Letdown::Slow => provider.twist([Twist::Drip(endpoint)]),
            Letdown::Huge => {
                let huge = Reply::new(200, json, " ".repeat(10 * 1024 * 1024));
                provider.twist([Twist::Answer(endpoint, huge)]);
            }
            Letdown::OtherType => {
                let page = Reply::new(200, "text/html", "<h1>Sign in</h1>");
                provider.twist([Twist::Answer(endpoint, page)]);
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let store = format!("file:{}", folder.path().join("vestibule.db").display());
        let service = TestService::start(&store, &section).await;
        let mut alice = Visitor::of(&service);

        let begun = Instant::now();
        let mut answer = alice.get(&format!("{}/login/fake", service.url)).await;
        if answer.status == StatusCode::SEE_OTHER {
            let callback = alice.get(&answer.location()).await.location();
            answer = alice.get(&callback).await;
        }
        let took = begun.elapsed();

        assert!(took < Duration::from_millis(1900), "{endpoint} took {took:?}");
        assert!(!alice.cookies.contains_key("vestibule"), "{endpoint}");
        let (words, why) = (in_words(&answer), why(&answer));
        writeln!(told, "{endpoint}\n  answer: {words}\n  log: {why}").unwrap();
    }
    told
}

/// What the log says about the reference in a failure.
fn why(answer: &Answer) -> String {
    let reference = answer.json()["reference"].as_str().unwrap().to_owned();
    let lines = log::lines_with(&reference);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    line["why"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_provider_that_is_away_is_told_of_in_time() {
    insta::assert_snapshot!(each_endpoint(Letdown::Away).await);
}

#[tokio::test]
async fn a_provider_that_says_nothing_is_told_of_in_time() {
    insta::assert_snapshot!(each_endpoint(Letdown::Silent).await);
}

#[tokio::test]
async fn a_provider_that_sends_a_byte_a_second_is_told_of_in_time() {
    insta::assert_snapshot!(each_endpoint(Letdown::Slow).await);
}

#[tokio::test]
async fn a_provider_that_sends_ten_megabytes_is_told_of_in_time() {
    insta::assert_snapshot!(each_endpoint(Letdown::Huge).await);
}

#[tokio::test]
async fn a_provider_that_sends_pages_for_json_is_told_of_in_time() {
    insta::assert_snapshot!(each_endpoint(Letdown::OtherType).await);
}

#[tokio::test]
async fn a_person_reads_on_a_page_that_the_provider_is_away() {
    let setup = Setup::new().await;
    let mut alice = Visitor { accept: "text/html", ..setup.visitor() };
    setup.provider.twist([Twist::Answer("token", Reply::new(502, "text/html", "<h1>Bad</h1>"))]);

    let away = alice.get(&setup.url("/login/fake?return_to=/rooms%3Fa%3D1")).await.location();
    let callback = alice.get(&away).await.location();
    let answer = alice.get(&callback).await;

    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let port = setup.service.url.rsplit(':').next().unwrap();
    insta::assert_snapshot!(page(&answer).replace(port, "[port]"));
}

#[tokio::test]
async fn a_provider_that_is_away_stops_nobody_who_is_signed_in() {
    let Setup { redis: _redis, provider, service, .. } = Setup::new().await;
    let mut alice = Visitor::of(&service);
    alice.sign_in(&service).await;

    drop(provider);

    let url = |path: &str| format!("{}{path}", service.url);
    assert_eq!(alice.get(&format!("{}/readyz", service.ops_url)).await.status, StatusCode::OK);
    assert_eq!(alice.post(&url("/token")).await.status, StatusCode::OK);
    assert_eq!(alice.get(&url("/session")).await.status, StatusCode::OK);
    assert_eq!(alice.post(&url("/logout")).await.status, StatusCode::NO_CONTENT);
}
