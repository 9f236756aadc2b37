//! Who came in, who did not, who got a token: one line of the audit log each, with the fields that the operators' page lists, and
//! nothing of a person's address or whereabouts.

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::process::Service;
use crate::support::fake_provider::FakeProvider;
use crate::support::policies::{
    PUBLIC_URL, default_identity, identity, reference, says, section, visitor, walk_at,
};
use crate::support::redis::RedisServer;
use crate::support::service::TWILIO;
use crate::support::visitor::{Answer, Visitor};

/// Whom the trusted proxy says it speaks for (TEST-NET-3, RFC 5737 §3), and from where it connects.
const CLIENT: &str = "203.0.113.78";
const PEER: &str = "127.0.0.3";

/// Lets in whoever has an address of the company, by a name that people choose.
const POLICY: &str = r#"allow = "claims.email.endsWith('@example.com') && claims.company == 'ours'"
identity = "'ours-' + claims.nick""#;

fn start(redis: &RedisServer, provider: &FakeProvider, pii: bool, policy: &str) -> Service {
    Service::serving(&format!(
        r#"
[server]
listen = "127.0.0.1:0"
public_url = "{PUBLIC_URL}"
trusted_proxies = ["127.0.0.0/8"]
[ops]
listen = "127.0.0.1:0"
[store]
url = "{}"
[log]
filter = "trace"
pii = {pii}
{TWILIO}
{}
"#,
        redis.url(),
        section("fake", provider, "", policy)
    ))
}

/// A device behind the trusted proxy.
fn device() -> Visitor {
    let forwarded = HeaderMap::from_iter([(
        "x-forwarded-for".parse().unwrap(),
        HeaderValue::from_static(CLIENT),
    )]);
    let client = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .local_address(Some(PEER.parse().unwrap()))
        .default_headers(forwarded);
    Visitor { client: client.build().unwrap(), ..visitor() }
}

fn url(service: &Service) -> String {
    format!("http://{}", service.public)
}

async fn sign_in(device: &mut Visitor, service: &Service, who: &str) -> Answer {
    let callback = walk_at(device, &url(service), "fake", who).await;
    device.get(&callback).await
}

async fn token(device: &mut Visitor, service: &Service) -> Answer {
    device.post(&format!("{}/token", url(service))).await
}

/// Ends the service; gives its log and the lines of the audit log.
fn end(mut service: Service) -> (String, Vec<Value>) {
    service.tell("TERM");
    assert_eq!(service.wait(), Some(0), "{}", service.log());
    let log = service.log();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let audit = lines.filter(|line| line["target"] == "vestibule::audit").collect();
    (log, audit)
}

/// The fields that the operators' page lists for an event.
fn documented(event: &str) -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/OPERATIONS.md");
    let page = std::fs::read_to_string(page).unwrap();
    let row = page.lines().find(|line| line.starts_with(&format!("| `{event}` |"))).unwrap();
    let fields = row.split(" | ").nth(2).unwrap();
    fields
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| !word.contains('.'))
        .map(str::to_owned)
        .collect()
}

/// Holds a line against the page: each field that it lists is there but for `without`, and no other.
pub fn is_as_documented(line: &Value, without: &[&str]) {
    let of_every_line = ["timestamp", "level", "target", "message", "event"];
    let event = line["event"].as_str().unwrap();
    let mut fields: BTreeSet<_> = line.as_object().unwrap().keys().cloned().collect();
    for field in of_every_line {
        assert!(fields.remove(field), "{field} of {line:#}");
    }
    let mut expected = documented(event);
    for field in without {
        assert!(expected.remove(*field), "{field} is no field of {event}");
    }
    assert_eq!(fields, expected, "{line:#}");
    assert_eq!(line["level"], "INFO");
}

fn has(line: &Value, expected: &Value) {
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(line[field], *value, "{field} of {line:#}");
    }
}

fn events(audit: &[Value]) -> Vec<&str> {
    audit.iter().map(|line| line["event"].as_str().unwrap()).collect()
}

fn says_nothing_personal(log: &str) {
    for personal in ["alice@", "bob@", "mallory@", CLIENT, PEER, "theirs-canary"] {
        assert!(!log.contains(personal), "{personal} in:\n{log}");
    }
}

#[tokio::test]
async fn each_event_is_one_line_with_the_documented_fields_and_no_address() {
    let (redis, provider) = (RedisServer::start(), FakeProvider::start().await);
    let service = start(&redis, &provider, false, POLICY);
    let is = |nick: &str, company: &str| {
        says(&provider, vec![("nick", Some(json!(nick))), ("company", Some(json!(company)))]);
    };

    is("ally", "ours");
    let mut alice = device();
    assert_eq!(sign_in(&mut alice, &service, "alice").await.status, StatusCode::SEE_OTHER);
    let tokens = [token(&mut alice, &service).await, token(&mut alice, &service).await];
    assert_eq!(identity(&tokens[0]), "ours-ally");
    let conflict = sign_in(&mut device(), &service, "mallory").await;
    assert_eq!(conflict.code(), "identity_conflict");
    is("bobby", "theirs-canary");
    let denied = sign_in(&mut device(), &service, "bob").await;
    assert_eq!(denied.code(), "access_denied");
    let (log, audit) = end(service);

    assert_eq!(events(&audit), ["login", "mint", "mint", "conflict", "denial"]);
    let [login, mint, fresh, conflicting, denial] = &audit[..] else { unreachable!() };
    let (issuer, provider) = (provider.issuer(), "fake");
    is_as_documented(login, &["client"]);
    has(
        login,
        &json!({ "identity": "ours-ally", "subject": "alice", "issuer": issuer, "provider": provider }),
    );
    for (line, answer) in [(mint, &tokens[0]), (fresh, &tokens[1])] {
        is_as_documented(line, &["client"]);
        let reply = answer.json();
        let jwt = reply["token"].as_str().unwrap();
        let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(jwt).unwrap().claims;
        has(
            line,
            &json!({
                "identity": "ours-ally", "provider": provider, "path": "session", "jti": claims["jti"], "expires": reply["expires_at"],
            }),
        );
    }
    is_as_documented(conflicting, &[]);
    has(
        conflicting,
        &json!({
            "identity": "ours-ally", "subject": "mallory", "issuer": issuer, "provider": provider, "reference": reference(&conflict),
        }),
    );
    is_as_documented(denial, &[]);
    has(
        denial,
        &json!({
            "code": "access_denied", "reference": reference(&denied), "rule": "allow[0]", "why": "says no",
            "provider": provider, "subject": "bob", "issuer": issuer, "path": "login",
        }),
    );
    says_nothing_personal(&log);
}

#[tokio::test]
async fn a_denial_on_a_session_is_one_line_however_often_a_token_is_asked_for() {
    let (redis, provider) = (RedisServer::start(), FakeProvider::start().await);
    let service = start(&redis, &provider, false, "allow = \"true\"");
    let mut alice = device();
    assert_eq!(sign_in(&mut alice, &service, "alice").await.status, StatusCode::SEE_OTHER);
    end(service);

    let service = start(&redis, &provider, false, "allow = \"claims.email == 'bob@example.com'\"");
    let denied = token(&mut alice, &service).await;
    let again = token(&mut alice, &service).await;

    assert_eq!((denied.code(), again.code()), ("access_denied".into(), "access_denied".into()));
    let (log, audit) = end(service);
    assert_eq!(events(&audit), ["denial"]);
    is_as_documented(&audit[0], &[]);
    has(
        &audit[0],
        &json!({ "reference": reference(&again), "subject": "alice", "path": "session" }),
    );
    says_nothing_personal(&log);
}

#[tokio::test]
async fn where_somebody_is_stands_in_the_log_of_logins_when_it_may() {
    let (redis, provider) = (RedisServer::start(), FakeProvider::start().await);
    let service = start(&redis, &provider, true, "allow = \"true\"");

    sign_in(&mut device(), &service, "alice").await.location();

    let (_, audit) = end(service);
    let [login] = &audit[..] else { panic!("{audit:#?}") };
    is_as_documented(login, &[]);
    has(
        login,
        &json!({ "client": CLIENT, "identity": default_identity(&provider.issuer(), "alice") }),
    );
}
