//! `vestibule block`, `unblock` and `end-sessions`, as commands and on the operators' API: whoever is blocked comes in on no path, on no
//! replica, after no restart, until they are unblocked; and no session of before lives again.

use std::pin::pin;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use vestibule::inside::{Identity, Subject};

use crate::denials::{AUDIENCE, CLIENT, exchange_at};
use crate::events::is_as_documented;
use crate::process::Service;
use crate::support::fake_provider::FakeProvider;
use crate::support::log;
use crate::support::operator::{OPS_TOKEN, Operator, Said};
use crate::support::policies::{PUBLIC_URL, says, section, serve, store, visitor, walk_at};
use crate::support::proxy::Proxy;
use crate::support::redis::RedisServer;
use crate::support::service::{TWILIO, TestService};
use crate::support::visitor::{Answer, Visitor};

/// The paths that these tests take, as the audit log names them.
pub const PATHS: [&str; 4] = ["login", "session", "bearer", "exchange"];

/// Where services and commands meet.
struct Stage {
    provider: FakeProvider,
    /// More than one where replicas can be.
    services: Vec<TestService>,
    operator: Operator,
    redis: Option<RedisServer>,
    _folder: tempfile::TempDir,
}

/// The provider, and who may exchange its tokens.
fn sections(provider: &FakeProvider) -> String {
    let audiences = format!("bearer_audiences = [\"{AUDIENCE}\"]");
    let policy = "allow = \"!('banned' in claims)\"\nidentity = \"'wanted' in claims ? claims.wanted : 'id-' + claims.sub\"";
    format!("{CLIENT}{}", section("fake", provider, &audiences, policy))
}

impl Stage {
    async fn on_redis() -> Self {
        let redis = RedisServer::start();
        let (url, provider) = (redis.url(), FakeProvider::start().await);
        let services = vec![start(&url, &provider).await, start(&url, &provider).await];
        let operator = Operator::of(&services[1], &url, &sections(&provider));
        let folder = tempfile::tempdir().unwrap();
        Self { provider, services, operator, redis: Some(redis), _folder: folder }
    }

    async fn on_a_file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file:{}", folder.path().join("vestibule.db").display());
        let provider = FakeProvider::start().await;
        let services = vec![start(&url, &provider).await];
        let operator = Operator::of(&services[0], &url, &sections(&provider));
        Self { provider, services, operator, redis: None, _folder: folder }
    }

    async fn sign_in(&self, device: &mut Visitor, who: &str) -> Answer {
        sign_in(device, &self.services[0].url, who).await
    }

    /// Somebody who has signed in, and the identity.
    async fn member(&self, who: &str) -> (Visitor, String) {
        let mut device = visitor();
        let welcome = self.sign_in(&mut device, who).await;
        assert_eq!(welcome.status, StatusCode::SEE_OTHER, "{welcome:?}");
        let token = token(&mut device, &self.services[0].url).await;
        let identity = token.json()["identity"].as_str().unwrap().to_owned();
        (device, identity)
    }

    /// Runs a command without holding the services up.
    fn run(&self, arguments: &[&str]) -> Said {
        tokio::task::block_in_place(|| self.operator.run(arguments))
    }

    /// What an operator's program is answered.
    async fn api(&self, method: Method, path: &str) -> Answer {
        let client = Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/api/identities/{path}", self.services[0].ops_url);
        let response = client.request(method, url).bearer_auth(OPS_TOKEN).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, body: response.text().await.unwrap() }
    }

    /// Somebody without a session, on each path and each replica; `None` for a token or a session.
    async fn comes_in(&self, who: &str) -> Vec<Option<String>> {
        let mut all = Vec::new();
        for service in &self.services {
            all.extend(comes_in(&service.url, &self.provider, who).await);
        }
        all
    }
}

async fn start(store: &str, provider: &FakeProvider) -> TestService {
    let ops = format!("[ops]\ntoken = \"{OPS_TOKEN}\"\n[limits]\nlogins = \"off\"\n");
    serve(store, &format!("{ops}{}", sections(provider))).await
}

async fn sign_in(device: &mut Visitor, service: &str, who: &str) -> Answer {
    let callback = walk_at(device, service, "fake", who).await;
    device.get(&callback).await
}

async fn token(device: &mut Visitor, service: &str) -> Answer {
    device.post(&format!("{service}/token")).await
}

/// Tries a login as a program and as a person, a bearer's token and an exchange; the code that each is refused with.
async fn comes_in(service: &str, provider: &FakeProvider, who: &str) -> Vec<Option<String>> {
    let login = sign_in(&mut visitor(), service, who).await;
    let mut person = Visitor { accept: "text/html", ..visitor() };
    let page = sign_in(&mut person, service, who).await;
    let told = ["blocked", "identity_conflict"].map(|code| (code, format!("<code>{code}</code>")));
    let told = told.iter().find(|(_, shown)| page.body.contains(shown)).map(|(code, _)| *code);
    assert_eq!(told.is_some(), page.status == StatusCode::FORBIDDEN, "{page:?}");
    if told == Some("blocked") {
        assert!(page.body.contains("You are blocked here"), "{page:?}");
        assert!(page.body.contains("Ask your administrator."), "{page:?}");
        assert!(!person.cookies.contains_key("vestibule"), "{page:?}");
    }
    let provider_token = provider.access_token(who, AUDIENCE);
    let bearer = [("authorization", &*format!("Bearer {provider_token}"))];
    let bearer = visitor().send(Method::POST, &format!("{service}/token"), &bearer).await;
    let exchange = exchange_at(service, &provider_token).await;
    let refused = |answer: Answer, with: StatusCode| {
        if answer.status != with {
            assert!(answer.status.is_success() || answer.status.is_redirection(), "{answer:?}");
            return None;
        }
        assert!(!answer.body.contains("eyJ"), "{answer:?}");
        // As RFC 6749 §5.2 has it, or RFC 9457.
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        Some(body["code"].as_str().unwrap().to_owned())
    };
    vec![
        refused(login, StatusCode::FORBIDDEN),
        told.map(str::to_owned),
        refused(bearer, StatusCode::FORBIDDEN),
        refused(exchange, StatusCode::BAD_REQUEST),
    ]
}

fn all_blocked(answers: &[Option<String>]) -> bool {
    answers.iter().all(|code| code.as_deref() == Some("blocked"))
}

/// The audit log's lines of an event with `text` in them, of the services and of a command.
fn audited(event: &str, text: &str, said: Option<&Said>) -> Vec<Value> {
    let mut lines = log::lines_with(text);
    lines.extend(said.iter().flat_map(|said| said.err.lines().map(str::to_owned)));
    let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| line["target"] == "vestibule::audit" && line["event"] == event)
        .filter(|line| line.to_string().contains(text))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_blocked_comes_in_on_no_path_until_they_are_unblocked() {
    for stage in [Stage::on_redis().await, Stage::on_a_file().await] {
        let (mut phone, alice) = stage.member("alice").await;
        let (mut laptop, _) = stage.member("alice").await;
        let (mut bob, _) = stage.member("bob").await;
        assert_eq!(stage.comes_in("alice").await, vec![None; 4 * stage.services.len()]);

        stage.run(&["block", &alice]).with_exit(0);

        for service in &stage.services {
            for device in [&mut phone, &mut laptop] {
                let answer = token(device, &service.url).await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
                assert_eq!(answer.code(), "session_expired");
            }
            assert_eq!(token(&mut bob, &service.url).await.status, StatusCode::OK);
        }
        for _ in 0..2 {
            let answers = stage.comes_in("alice").await;
            assert!(all_blocked(&answers), "{answers:?}");
        }
        assert_eq!(stage.comes_in("bob").await, vec![None; 4 * stage.services.len()]);
        let told = audited("blocked", &alice, None);
        for path in PATHS.iter().filter(|path| **path != "session") {
            assert!(told.iter().any(|line| line["path"] == *path), "{path}: {told:#?}");
        }
        for line in &told {
            is_as_documented(line, &[]);
        }
        assert_eq!((&told[0]["subject"], &told[0]["identity"]), (&json!("alice"), &json!(alice)));

        stage.run(&["unblock", &alice]).with_exit(0);

        assert_eq!(stage.comes_in("alice").await, vec![None; 4 * stage.services.len()]);
        let (mut again, identity) = stage.member("alice").await;
        assert_eq!(identity, alice);
        for service in &stage.services {
            for device in [&mut phone, &mut laptop] {
                let answer = token(device, &service.url).await;
                assert_eq!(answer.code(), "session_expired", "what has ended does not come back");
            }
            assert_eq!(token(&mut again, &service.url).await.status, StatusCode::OK);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_is_blocked_before_anybody_has_it() {
    for stage in [Stage::on_redis().await, Stage::on_a_file().await] {
        let said = stage.run(&["block", "staff-1"]).with_exit(0);
        assert!(said.contains("Nobody has it. Is it spelled right?"), "{said}");
        says(&stage.provider, vec![("wanted", Some(json!("staff-1")))]);

        for who in ["carol", "dave"] {
            let answers = stage.comes_in(who).await;
            assert!(all_blocked(&answers), "{who}: {answers:?}");
        }
        let known = stage.run(&["explain", "staff-1"]).with_exit(0);
        assert!(known.contains("nobody") && known.contains("blocked"), "{known}");
        let known = stage.api(Method::GET, "staff-1").await.json();
        assert_eq!((&known["subject"], &known["blocked"]), (&Value::Null, &json!(true)));

        stage.run(&["unblock", "staff-1"]).with_exit(0);
        assert_eq!(stage.comes_in("dave").await, vec![None; 4 * stage.services.len()]);
        let carol = stage.comes_in("carol").await;
        let conflict = |code: &Option<String>| code.as_deref() == Some("identity_conflict");
        assert!(carol.iter().all(conflict), "{carol:?}");
        assert_eq!(stage.api(Method::GET, "staff-2").await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_policy_denies_is_told_so_though_they_are_blocked() {
    let stage = Stage::on_redis().await;
    let (_, alice) = stage.member("alice").await;
    stage.run(&["block", &alice]).with_exit(0);
    says(&stage.provider, vec![("banned", Some(json!(true)))]);

    let denied = stage.sign_in(&mut visitor(), "alice").await;

    assert_eq!(denied.code(), "access_denied", "{denied:?}");
}

/// Two processes on this store, and where they answer.
fn two_processes(configuration: &str) -> ([Service; 2], [String; 2]) {
    let services = [(); 2].map(|()| Service::serving(configuration));
    let urls = [0, 1].map(|n| format!("http://{}", services[n].public));
    (services, urls)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_holds_on_two_processes_and_after_every_restart() {
    let (mut redis, provider) = (RedisServer::start_on_disk(), FakeProvider::start().await);
    let operator = Operator::with(&redis.url(), &sections(&provider));
    let configuration = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"{PUBLIC_URL}\"\n[ops]\nlisten = \"127.0.0.1:0\"\n\
         [limits]\nlogins = \"off\"\n[store]\nurl = \"{}\"\n{TWILIO}{}",
        redis.url(),
        sections(&provider)
    );
    let (processes, urls) = two_processes(&configuration);
    let mut devices = [visitor(), visitor()];
    for (device, url) in devices.iter_mut().zip(&urls) {
        assert_eq!(sign_in(device, url, "alice").await.status, StatusCode::SEE_OTHER);
    }
    let alice = token(&mut devices[0], &urls[1]).await.json()["identity"].clone();
    let alice = alice.as_str().unwrap();

    tokio::task::block_in_place(|| operator.run(&["block", alice])).with_exit(0);

    let mut stays_out = async |urls: &[String; 2]| {
        for url in urls {
            for device in &mut devices {
                assert_eq!(token(device, url).await.code(), "session_expired");
            }
            let answers = comes_in(url, &provider, "alice").await;
            assert!(all_blocked(&answers), "{answers:?}");
        }
    };
    stays_out(&urls).await;
    redis.stop();
    redis.start_again();
    stays_out(&urls).await;
    drop(processes);
    let (_processes, urls) = two_processes(&configuration);
    stays_out(&urls).await;
    tokio::task::block_in_place(|| operator.run(&["unblock", alice])).with_exit(0);
    for url in &urls {
        assert_eq!(comes_in(url, &provider, "alice").await, vec![None; 4]);
        for device in &mut devices {
            assert_eq!(token(device, url).await.code(), "session_expired");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_holds_after_a_restart_on_a_file() {
    let provider = FakeProvider::start().await;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file:{}", folder.path().join("vestibule.db").display());
    let configuration = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"{PUBLIC_URL}\"\n[ops]\nlisten = \"127.0.0.1:0\"\n\
         [limits]\nlogins = \"off\"\n[store]\nurl = \"{url}\"\n{TWILIO}{}",
        sections(&provider)
    );
    let operator = Operator::with(&url, &sections(&provider));
    let mut service = Service::serving(&configuration);
    let mut alice = visitor();
    let at = |service: &Service| format!("http://{}", service.public);
    sign_in(&mut alice, &at(&service), "alice").await.location();
    let identity = token(&mut alice, &at(&service)).await.json()["identity"].clone();
    service.tell("TERM");
    service.wait();

    // Nothing runs: the command opens the file itself.
    let blocked =
        tokio::task::block_in_place(|| operator.run(&["block", identity.as_str().unwrap()]));
    assert_eq!(audited("block", identity.as_str().unwrap(), Some(&blocked)).len(), 1);
    blocked.with_exit(0);
    let mut service = Service::serving(&configuration);

    assert_eq!(token(&mut alice, &at(&service)).await.code(), "session_expired");
    assert!(all_blocked(&comes_in(&at(&service), &provider, "alice").await));
    service.tell("KILL");
    service.wait();
    let service = Service::serving(&configuration);
    assert!(all_blocked(&comes_in(&at(&service), &provider, "alice").await));
}

/// What `work` answers that is held back after so many replies, while `meanwhile` runs; `None` when it had ended before.
async fn held<T>(
    proxy: &Proxy,
    passed: usize,
    work: impl Future<Output = T>,
    meanwhile: impl Future<Output = ()>,
) -> Option<T> {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        () = proxy.hold_after(passed) => {}
        _ended = &mut work => {
            proxy.clear_up();
            return None;
        }
    }
    meanwhile.await;
    proxy.clear_up();
    Some(work.await)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_under_way_when_somebody_is_blocked_brings_nobody_in() {
    let (redis, provider) = (RedisServer::start(), FakeProvider::start().await);
    let proxy = Proxy::before(redis.address()).await;
    let service = start(&proxy.url(), &provider).await;
    let bindings = store(&redis).await;
    let block = async |who: &str| {
        let identity = Identity::parse(&format!("id-{who}")).unwrap();
        // As the command does, which would take longer than a login may be held up.
        let whose = bindings.mark_identity(&identity, true).await.unwrap().value;
        if let Some(owner) = whose.owner {
            bindings.mark_subject(&owner.subject.key(), &identity, None).await.unwrap();
        }
    };
    // Its scripts are known to the server, so that each reply is one of a step.
    assert_eq!(comes_in(&service.url, &provider, "warm").await, vec![None; 4]);
    assert_eq!(comes_in(&service.url, &provider, "warm").await, vec![None; 4]);

    for (kind, known) in [("login", false), ("login", true), ("bearer", false), ("bearer", true)] {
        let mut refused = 0;
        for passed in 0.. {
            let who = format!("{kind}-{known}-{passed}");
            if known {
                assert_eq!(comes_in(&service.url, &provider, &who).await[0], None);
            }
            let mut device = visitor();
            let work = async {
                if kind == "login" {
                    let callback = walk_at(&mut device, &service.url, "fake", &who).await;
                    device.get(&callback).await
                } else {
                    let bearer = format!("Bearer {}", provider.access_token(&who, AUDIENCE));
                    let headers = [("authorization", bearer.as_str())];
                    device.send(Method::POST, &format!("{}/token", service.url), &headers).await
                }
            };
            let Some(answer) = held(&proxy, passed, work, block(&who)).await else {
                // Of somebody who is bound, one step tells everything, and their token is minted on what it told.
                let in_one_step = (kind, known) == ("bearer", true);
                assert!(passed > 0 && (refused > 0 || in_one_step), "{kind} {known}: {passed}");
                break;
            };
            refused += usize::from(answer.status == StatusCode::FORBIDDEN);
            if kind == "login" {
                // Whoever was let in before is out now.
                let cookies = token(&mut device, &service.url).await;
                assert_ne!(cookies.status, StatusCode::OK, "{kind} {known} {passed}: {answer:?}");
            }
            let answers = comes_in(&service.url, &provider, &who).await;
            assert!(all_blocked(&answers), "{kind} {known} {passed}: {answers:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_takes_several_steps_looks_once_more_before_it_is_signed() {
    let (redis, provider) = (RedisServer::start(), FakeProvider::start().await);
    let proxy = Proxy::before(redis.address()).await;
    let policy = "allow = \"now > timestamp(0)\"\nidentity = \"claims.sub\"";
    let service = serve(&proxy.url(), &section("fake", &provider, "", policy)).await;
    let bindings = store(&redis).await;
    sign_in(&mut visitor(), &service.url, "warm").await.location();

    let mut answers = Vec::new();
    for passed in 0.. {
        let who = format!("person-{passed}");
        let mut device = visitor();
        sign_in(&mut device, &service.url, &who).await.location();
        assert_eq!(token(&mut device, &service.url).await.status, StatusCode::OK);
        let end = async {
            let subject = Subject::new(&provider.issuer(), &who).unwrap();
            let found = bindings.find_identity(&subject.key(), None).await.unwrap().value;
            bindings.end_all_sessions(&subject.key(), found.binding.endings).await.unwrap();
        };
        match held(&proxy, passed, token(&mut device, &service.url), end).await {
            Some(answer) => answers.push(answer.status),
            None => break,
        }
    }

    // Only what was looked at last before the end counts.
    let (last, before) = answers.split_last().unwrap();
    assert_eq!(*last, StatusCode::OK);
    assert!(before.len() >= 2, "{answers:?}");
    assert!(before.iter().all(|status| *status == StatusCode::UNAUTHORIZED), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_block_and_an_unblock_at_once_one_holds_and_no_half_of_each() {
    let stage = Stage::on_redis().await;
    let redis = stage.redis.as_ref().unwrap();
    let proxy = Proxy::before(redis.address()).await;
    let run = |url: &str, command: &str, identity: &str| {
        let operator = Operator::with(url, &sections(&stage.provider));
        let arguments = [command, identity].map(str::to_owned);
        let run = move || operator.run(&arguments.each_ref().map(String::as_str));
        async { tokio::task::spawn_blocking(run).await.unwrap() }
    };
    let (_, warm) = stage.member("warm").await;
    run(&redis.url(), "block", &warm).await.with_exit(0);
    let bindings = store(redis).await;

    for [first, second] in [["block", "unblock"], ["unblock", "block"]] {
        let mut ends = Vec::new();
        for passed in 0.. {
            let (_, identity) = stage.member(&format!("{first}-{passed}")).await;
            if first == "unblock" {
                run(&redis.url(), "block", &identity).await.with_exit(0);
            }

            let held_back = run(&proxy.url(), first, &identity);
            let meanwhile = async {
                run(&redis.url(), second, &identity).await.with_exit(0);
            };
            let Some(said) = held(&proxy, passed, held_back, meanwhile).await else { break };

            said.with_exit(0);
            let what = Identity::parse(&identity).unwrap();
            let whose = bindings.find_subject(&what).await.unwrap().value;
            let owner = whose.owner.unwrap().subject.key();
            let bound = bindings.find_identity(&owner, None).await.unwrap().value.binding;
            assert_eq!(whose.blocked, bound.blocked, "{first} {passed}");
            ends.push(whose.blocked);
        }
        // As long as the first has only looked, it comes after the other one; from its first mark on, the other one does.
        let first_wins = ends.iter().take_while(|end| **end == (first == "block")).count();
        assert!(first_wins <= 2 && ends.len() > 4, "{ends:?}");
        assert!(ends[first_wins..].iter().all(|end| *end == (second == "block")), "{ends:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_say_what_they_did_and_the_same_again_is_no_harm() {
    let mut told = Vec::new();
    for stage in [Stage::on_redis().await, Stage::on_a_file().await] {
        let (_device, alice) = stage.member("alice").await;
        let mut said = Vec::new();
        for command in ["block", "block", "end-sessions", "unblock", "unblock", "end-sessions"] {
            let ended = stage.run(&[command, &alice]);
            let event = command.replace('-', "_");
            let lines = audited(&event, &alice, Some(&ended));
            // On a file the service writes them all into one log.
            assert!(!lines.is_empty(), "{ended:#?}");
            let line = lines.last().unwrap();
            is_as_documented(line, &[]);
            assert_eq!(line["subject"], "alice");
            assert_eq!(line["issuer"], stage.provider.issuer());
            said.push(format!("$ vestibule {command}\n{}", ended.with_exit(0)));
        }
        for command in ["block", "unblock"] {
            said.push(stage.run(&[command, "nobodys"]).with_exit(0));
        }
        said.push(stage.run(&["end-sessions", "nobodys"]).with_exit(1));
        for command in ["block", "unblock", "end-sessions"] {
            let guest = stage.run(&[command, "guest-17"]);
            assert!(audited(&command.replace('-', "_"), "guest-17", Some(&guest)).is_empty());
            said.push(format!("$ vestibule {command} guest-17\n{}", guest.with_exit(1)));
        }
        let no_identity = stage.run(&["block", "auth0|1"]);
        assert!(no_identity.exit == Some(2) && no_identity.err.contains("not of '|'"));
        let text = said.join("\n").replace(&alice, "[identity]");
        told.push(text.replace(&stage.provider.issuer(), "[issuer]"));
    }

    assert_eq!(told[0], told[1], "the same words whoever has the store");
    insta::assert_snapshot!(told[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_does_the_same() {
    for stage in [Stage::on_redis().await, Stage::on_a_file().await] {
        let (mut device, alice) = stage.member("alice").await;
        let subject = json!({ "issuer": stage.provider.issuer(), "value": "alice" });
        let (block, sessions) = (format!("{alice}/block"), format!("{alice}/sessions"));
        let changed = |was_blocked| json!({ "subject": subject, "was_blocked": was_blocked });

        assert_eq!(stage.api(Method::PUT, &block).await.json(), changed(false));
        assert_eq!(stage.api(Method::PUT, &block).await.json(), changed(true));
        assert_eq!(token(&mut device, &stage.services[0].url).await.code(), "session_expired");
        let known = stage.api(Method::GET, &alice).await.json();
        assert_eq!((&known["blocked"], &known["subject"]), (&json!(true), &subject));
        let explained = stage.run(&["explain", &alice]).with_exit(0);
        assert!(explained.contains("blocked  yes: nobody comes in with it."), "{explained}");
        // It goes nowhere, nor does anything come to them.
        let to_bob = ["--provider", "fake", "--subject", "bob"];
        let moved = stage.run(&[&["move-identity", &alice], to_bob.as_slice()].concat());
        let moved = moved.with_exit(1);
        assert!(moved.contains(&format!("The identity {alice} is blocked: nothing was moved.")));
        let to_alice = ["--provider", "fake", "--subject", "alice"];
        let given = stage.run(&[&["move-identity", "other"], to_alice.as_slice()].concat());
        let given = given.with_exit(1);
        assert!(given.contains(&format!("is blocked, as the identity {alice}")), "{given}");
        assert!(all_blocked(&stage.comes_in("alice").await));

        assert_eq!(stage.api(Method::DELETE, &block).await.json(), changed(true));
        assert_eq!(stage.api(Method::DELETE, &block).await.json(), changed(false));
        assert_eq!(stage.api(Method::GET, &alice).await.json()["blocked"], false);
        let explained = stage.run(&["explain", &alice]).with_exit(0);
        assert!(!explained.contains("blocked"), "{explained}");
        let (mut device, _) = stage.member("alice").await;
        assert_eq!(stage.api(Method::DELETE, &sessions).await.json(), changed(false));
        assert_eq!(token(&mut device, &stage.services[0].url).await.code(), "session_expired");
        stage.member("alice").await;

        for (method, path, status) in [
            (Method::DELETE, "nobodys/sessions", StatusCode::NOT_FOUND),
            (Method::PUT, "auth0%7C1/block", StatusCode::NOT_FOUND),
            (Method::PUT, "nobodys/block", StatusCode::OK),
            (Method::DELETE, "nobodys/block", StatusCode::OK),
            (Method::POST, "nobodys/block", StatusCode::METHOD_NOT_ALLOWED),
            (Method::PUT, "nobodys/sessions", StatusCode::METHOD_NOT_ALLOWED),
        ] {
            assert_eq!(stage.api(method, path).await.status, status, "{path}");
        }
        for (method, path) in [
            (Method::PUT, "guest-17/block"),
            (Method::DELETE, "guest-17/block"),
            (Method::DELETE, "guest-17/sessions"),
        ] {
            let refused = stage.api(method, path).await;
            assert_eq!((refused.status, &*refused.code()), (StatusCode::NOT_FOUND, "unknown"));
            let detail = refused.json()["detail"].to_string();
            assert!(detail.contains("vestibule guests --quarantine"), "{detail}");
        }
        let client = Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/api/identities/{block}", stage.services[0].ops_url);
        let nobody = client.put(url).send().await.unwrap();
        assert_eq!(nobody.status(), StatusCode::UNAUTHORIZED, "only the token opens it");
        assert_eq!(stage.api(Method::GET, &alice).await.json()["blocked"], false);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_command_stops_the_same_command_finishes_it() {
    let stage = Stage::on_redis().await;
    let proxy = Proxy::before(stage.redis.as_ref().unwrap().address()).await;
    let operator = Operator::with(&proxy.url(), &sections(&stage.provider));
    let run = |arguments: &[&str]| tokio::task::block_in_place(|| operator.run(arguments));
    let (_, warm) = stage.member("warm").await;
    for command in ["block", "unblock", "end-sessions"] {
        run(&[command, &warm]).with_exit(0);
    }
    for command in ["block", "unblock", "end-sessions"] {
        for passed in 0.. {
            let who = format!("{command}-{passed}");
            let (mut device, identity) = stage.member(&who).await;
            if command == "unblock" {
                stage.run(&["block", &identity]).with_exit(0);
            }

            // Cut off when so many replies have passed, the next step being done; then given again.
            proxy.refuse_after(passed);
            let first = run(&[command, &identity]);
            proxy.clear_up();
            if command == "unblock" && passed == 0 {
                let answers = stage.comes_in(&who).await;
                assert!(all_blocked(&answers), "until it is done they stay out: {answers:?}");
                assert_eq!(stage.api(Method::GET, &identity).await.json()["blocked"], true);
            }
            let again = run(&[command, &identity]);

            let event = command.replace('-', "_");
            assert!(
                !audited(&event, &identity, Some(&again)).is_empty(),
                "{command} {passed}: {again:#?}"
            );
            again.with_exit(0);
            let ended = token(&mut device, &stage.services[0].url).await;
            assert_eq!(ended.code(), "session_expired", "{command} {passed}");
            let answers = stage.comes_in(&who).await;
            if command == "block" {
                assert!(all_blocked(&answers), "{command} {passed}: {answers:?}");
            } else {
                assert!(answers.iter().all(Option::is_none), "{command} {passed}: {answers:?}");
            }
            if first.exit == Some(0) {
                assert!(passed > 2, "{command} is cut off within each of its steps");
                break;
            }
            assert_eq!(first.exit, Some(3), "{first:#?}");
            assert!(
                first.err.contains("The same command again goes on where this one stopped."),
                "{first:#?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_done_when_each_replica_of_redis_has_it() {
    let stage = Stage::on_redis().await;
    let redis = stage.redis.as_ref().unwrap();
    let (_, alice) = stage.member("alice").await;
    let replica = redis.replica();

    replica.pause();
    for command in ["block", "unblock", "end-sessions", "block"] {
        let behind = stage.run(&[command, &alice]);

        assert_eq!(behind.exit, Some(3), "{behind:#?}");
        assert_eq!(behind.out, "");
        assert!(
            behind.err.contains("a replica of the store has not said that it has it"),
            "{behind:#?}"
        );
        assert_eq!(all_blocked(&stage.comes_in("alice").await), command == "block", "it stands");
    }
    let behind = stage.api(Method::PUT, &format!("{alice}/block")).await;
    assert_eq!(
        (behind.status, behind.code()),
        (StatusCode::SERVICE_UNAVAILABLE, "replicas_behind".to_owned())
    );
    replica.resume();

    // The machine may be busy.
    let begun = Instant::now();
    while stage.run(&["block", &alice]).exit != Some(0) {
        assert!(begun.elapsed() < Duration::from_secs(20), "the replica does not come back");
    }
    let has_it: bool = replica.ask(&["HEXISTS", &format!("vestibule:claim:{{{alice}}}"), "b"]);
    assert!(has_it, "when the command says so");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_store_it_says_so() {
    let stage = Stage::on_redis().await;
    let off = Operator::with("redis://127.0.0.1:1", &sections(&stage.provider));

    for command in ["block", "unblock", "end-sessions"] {
        let away = off.run(&[command, "alice"]);
        assert!(away.exit == Some(3) && away.err.contains("the store is away"), "{away:#?}");
        let help = off.run(&[command, "--help"]).with_exit(0);
        assert!(help.contains(&format!("Example:\n  vestibule {command} ")), "{help}");
        assert_eq!(off.run(&[command]).exit, Some(2));
    }
}
