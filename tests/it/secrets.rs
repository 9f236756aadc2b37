//! Nothing secret is said: not in a log at its most talkative, a metric, an error, a page or a URL, whatever happens; and nothing
//! about a person's whereabouts unless the operator wants it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderMap, HeaderValue, LOCATION, SET_COOKIE};
use reqwest::{Client, Method, StatusCode};
use serde_json::json;
use url::Url;

use crate::process::Service;
use crate::support::fake_provider::{FakeProvider, Registered, Reply, Signer, Twist};
use crate::support::redis::RedisServer;
use crate::support::service::TWILIO;
use crate::support::setup::provider_section;
use crate::support::visitor::{Answer, Visitor};

const PUBLIC_URL: &str = "http://localhost:8080";
const REDIS_PASSWORD: &str = "canary-redis-password-0001";
const API_KEY: &str = "SK11111111111111111111111111111111";
const CLIENT_SECRET: &str = "canary-client-secret-0001";
const TICKETS: &str = "https://www.example.com";
const TWILIO_SECRET: &str = "canary-twilio-api-key-secret-0001";

/// Whom the trusted proxy says it speaks for (TEST-NET-3, RFC 5737 §3), and from where it connects.
const CLIENT: &str = "203.0.113.77";
const PEER: &str = "127.0.0.2";

/// What the provider calls alice's mailbox.
const EMAIL: &str = "alice@example.com";

fn configuration(store: &str, provider: &FakeProvider, log: &str) -> String {
    let provider = provider_section(provider, "timeout = \"1s\"");
    let jwks = json!({ "keys": [Signer::Es256.jwk()] });
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
public_url = "{PUBLIC_URL}"
trusted_proxies = ["127.0.0.0/8"]
[ops]
listen = "127.0.0.1:0"
[store]
url = "{store}"
[log]
filter = "trace"
{log}
{TWILIO}
api_url = "http://127.0.0.1:1"
[guests]
size = 9
[guests.ticket]
issuer = "{TICKETS}"
jwks = '{jwks}'
{provider}
"#
    )
}

/// A ticket by which a visitor may be a guest, but for its name.
fn ticket(jti: &str, signer: &Signer) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims =
        json!({ "iss": TICKETS, "aud": PUBLIC_URL, "jti": jti, "iat": now, "exp": now + 300 });
    signer.sign(&signer.header(), &claims)
}

/// The built program, everything that it answered, and everything that it must not say elsewhere.
struct Stage {
    service: Service,
    provider: FakeProvider,
    browser: Visitor,
    said: Vec<(String, String)>,
    secrets: Vec<(&'static str, String)>,
}

impl Stage {
    async fn start(store: &str, log: &str) -> Self {
        let provider = FakeProvider::start().await;
        let service = Service::serving(&configuration(store, &provider, log));
        let forwarded = HeaderMap::from_iter([(
            "x-forwarded-for".parse().unwrap(),
            HeaderValue::from_static(CLIENT),
        )]);
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .local_address(Some(PEER.parse().unwrap()))
            .default_headers(forwarded)
            .build()
            .unwrap();
        let browser = Visitor { client, ..Visitor::on_a_page_of(PUBLIC_URL) };
        let basic = STANDARD.encode(format!("vestibule:{CLIENT_SECRET}"));
        let secrets = vec![
            ("the Redis password", REDIS_PASSWORD.to_owned()),
            ("the client secret", CLIENT_SECRET.to_owned()),
            ("the client secret, encoded", basic),
            ("the Twilio API key's secret", TWILIO_SECRET.to_owned()),
            ("the Twilio API key, encoded", STANDARD.encode(format!("{API_KEY}:{TWILIO_SECRET}"))),
        ];
        Self { service, provider, browser, said: Vec::new(), secrets }
    }

    /// Asks the service, and keeps what it says but for the secrets that this answer is there to give.
    async fn ask(&mut self, method: Method, url: &str, headers: &[(&str, &str)]) -> Answer {
        let listens = format!("http://{}", self.service.public);
        let url = if url.starts_with('/') {
            format!("{listens}{url}")
        } else {
            url.replace(PUBLIC_URL, &listens)
        };
        let answer = self.browser.send(method, &url, headers).await;
        self.keep(&url, answer)
    }

    /// Asks for a guest, with a ticket.
    async fn come(&mut self, headers: &[(&str, &str)], cookie: bool, ticket: &str) -> Answer {
        let signature = ticket.rsplit('.').next().unwrap().to_owned();
        self.secrets.extend([("a ticket", ticket.to_owned()), ("its signature", signature)]);
        let url = format!("http://{}/guest", self.service.public);
        let body = json!({ "cookie": cookie, "ticket": ticket }).to_string();
        let answer = self.browser.post_json(&url, headers, &body).await;
        self.keep(&url, answer)
    }

    fn keep(&mut self, url: &str, answer: Answer) -> Answer {
        let mut due = Vec::new();
        for (name, value) in &self.browser.cookies {
            let what = match name.as_str() {
                "vestibule" => "a session cookie",
                "vestibule-guest" => "a guest cookie",
                _ => "a login cookie",
            };
            self.secrets.push((what, value.clone()));
            if let Some((_, secret)) = value.split_once('.') {
                self.secrets.push(("a session's secret", secret.to_owned()));
            }
        }
        match Url::parse(url).unwrap().path() {
            "/token" | "/guest" if answer.body.contains(r#""token":"#) => {
                let told = answer.json();
                let token = told["token"].as_str().unwrap().to_owned();
                let signature = token.rsplit('.').next().unwrap().to_owned();
                due.extend([("a minted token", token), ("its signature", signature)]);
                if let Some(secret) = told["lease_secret"].as_str() {
                    let bare = secret.split_once('.').unwrap().1.to_owned();
                    due.extend([("a lease secret", secret.to_owned()), ("its bare secret", bare)]);
                }
            }
            "/login" | "/login/fake" if answer.status == StatusCode::SEE_OTHER => {
                let away = Url::parse(&answer.location()).unwrap();
                for (name, value) in away.query_pairs().into_owned() {
                    match name.as_str() {
                        "state" => due.push(("a state", value)),
                        "nonce" => due.push(("a nonce", value)),
                        _ => {}
                    }
                }
                assert_eq!(due.len(), 2, "{answer:?}");
            }
            _ => {}
        }
        // What the cookies of an answer are, other tests look at.
        let headers = answer.headers.iter().filter(|(name, _)| *name != SET_COOKIE);
        let mut said =
            format!("{headers:?} {}", answer.body, headers = headers.collect::<Vec<_>>());
        for (_, secret) in &due {
            said = said.replacen(secret, "", 1);
        }
        self.said.push((format!("the answer of {url}"), said));
        self.secrets.extend(due);
        answer
    }

    /// Goes to the provider and back to where the callback is to be called.
    async fn walk_to_callback(&mut self) -> String {
        let away = self.ask(Method::GET, "/login/fake?return_to=/rooms", &[]).await.location();
        self.browser.clone().get(&away).await.location()
    }

    async fn sign_in(&mut self) -> Answer {
        let callback = self.walk_to_callback().await;
        self.ask(Method::GET, &callback, &[]).await
    }

    /// A login that comes to nothing, seen by a program and by a person.
    async fn fails_to_sign_in(&mut self, twist: Twist) {
        let what = format!("{twist:?}").chars().take(100).collect::<String>();
        self.provider.twist([twist]);
        for accept in ["*/*", "text/html"] {
            self.browser.accept = accept;
            let answer = self.sign_in().await;
            assert!(
                !answer.status.is_success() && !answer.status.is_redirection(),
                "{what}: {answer:?}"
            );
        }
        self.browser.accept = "*/*";
        self.provider.twist([]);
    }

    async fn token(&mut self) -> String {
        let answer = self.ask(Method::POST, "/token", &[]).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    async fn puts_secrets_where_they_do_not_belong(&mut self, callback: &str, token: &str) {
        let bearer = format!("Bearer {token}");
        let cookie = self.browser.cookies["vestibule"].clone();
        self.ask(Method::POST, "/token", &[("authorization", &bearer)]).await;
        self.ask(Method::POST, "/token", &[("origin", "https://evil.example")]).await;
        self.ask(Method::GET, "/session", &[("referer", callback)]).await;
        for path in
            [format!("/session?token={token}"), format!("/{cookie}"), format!("/login/{token}")]
        {
            self.ask(Method::GET, &path, &[]).await;
            self.ask(Method::PUT, &path, &[]).await;
        }
    }

    async fn fails_to_sign_in_in_many_ways(&mut self) {
        for twist in [
            Twist::Response("error", Some("access_denied".into())),
            Twist::Response("iss", Some("https://evil.example".into())),
            Twist::Response("state", None),
            Twist::Claim("nonce", Some(json!("canary-nonce-of-another-login"))),
            Twist::Claim("at_hash", Some(json!("canary-at-hash-of-another-token"))),
            Twist::Claim("aud", Some(json!("other"))),
            Twist::Claim("sub", None),
            Twist::Header("kid", Some(json!("unknown"))),
            Twist::ChangedAfterwards("sub", json!("mallory")),
            Twist::IdToken("canary-that-is-no-token".into()),
            Twist::TokenMember("access_token", Some(json!("canary-access-token\n"))),
            Twist::TokenMember("token_type", Some(json!("DPoP"))),
            Twist::Userinfo("sub", Some(json!("mallory"))),
            Twist::Answer(
                "token",
                Reply::new(500, "text/html", "<h1>canary-page-of-the-provider</h1>"),
            ),
            Twist::Answer(
                "userinfo",
                Reply::new(200, "text/html", "<h1>canary-page-of-the-provider</h1>"),
            ),
            Twist::Drip("userinfo"),
        ] {
            self.fails_to_sign_in(twist).await;
        }
        self.provider.register(Registered::Public);
        assert_eq!(self.sign_in().await.status, StatusCode::BAD_REQUEST);
        self.provider.register(Registered::Basic(CLIENT_SECRET));
    }

    /// Comes as a guest, in every way, well and badly.
    async fn visits(&mut self, name: &str) {
        self.browser.cookies.clear();
        let good = |kind: &str| ticket(&format!("{name}-{kind}"), &Signer::Es256);
        let by_secret = good("secret");
        let lent = self.come(&[], false, &by_secret).await;
        let secret = lent.json()["lease_secret"].as_str().unwrap().to_owned();
        let bearer = format!("Bearer {secret}");
        let bearer = [("authorization", bearer.as_str())];
        self.come(&bearer, false, &by_secret).await;
        self.come(&[], true, &by_secret).await;
        let forged = ticket(name, &Signer::Stranger(Box::new(Signer::Es256)));
        self.come(&[], true, &forged).await;
        self.come(&[], true, "canary-ticket-that-is-no-ticket").await;
        assert_eq!(self.come(&[], true, &good("cookie")).await.status, StatusCode::CREATED);
        let cookie = self.browser.cookies["vestibule-guest"].clone();
        for accept in ["*/*", "text/html"] {
            self.browser.accept = accept;
            for headers in [&[][..], &bearer] {
                self.ask(Method::POST, "/token", headers).await;
                self.ask(Method::GET, "/session", headers).await;
                self.ask(Method::GET, "/sessions", headers).await;
                self.ask(Method::POST, "/logout", headers).await;
            }
            self.ask(Method::GET, "/", &[]).await;
            self.ask(Method::POST, "/guest", &[("origin", "https://evil.example")]).await;
            for path in [
                format!("/guest?ticket={forged}"),
                format!("/{cookie}"),
                format!("/login/{secret}"),
            ] {
                self.ask(Method::POST, &path, &[]).await;
                self.ask(Method::PUT, &path, &[]).await;
            }
        }
        self.browser.accept = "*/*";
        self.ask_operations().await;
        // The one given back, the other ended by a login.
        let gone = self.ask(Method::DELETE, "/guest", &bearer).await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT);
        self.ask(Method::POST, "/token", &bearer).await;
        self.sign_in().await;
        assert!(!self.browser.cookies.contains_key("vestibule-guest"));
    }

    async fn ask_every_route(&mut self, callback: &str) {
        for (method, url) in [
            (Method::GET, "/"),
            (Method::GET, "/login"),
            (Method::GET, callback),
            (Method::POST, "/token"),
            (Method::GET, "/session"),
            (Method::GET, "/sessions"),
            (Method::DELETE, "/sessions/x"),
            (Method::DELETE, "/sessions"),
            (Method::POST, "/logout"),
        ] {
            for accept in ["*/*", "text/html"] {
                self.browser.accept = accept;
                self.ask(method.clone(), url, &[]).await;
            }
        }
        self.browser.accept = "*/*";
        self.ask_operations().await;
    }

    async fn ask_operations(&mut self) {
        for path in ["/readyz", "/metrics", "/livez", "/elsewhere"] {
            let url = format!("http://{}{path}", self.service.ops);
            let answer = self.browser.clone().get(&url).await;
            self.said.push((path.to_owned(), format!("{answer:?}")));
        }
    }

    /// Ends the service, and looks for every secret in everything that it said; gives the log.
    fn end(mut self) -> String {
        self.service.tell("TERM");
        assert_eq!(self.service.wait(), Some(0), "{}", self.service.log());
        let log = self.service.log();
        self.secrets.extend(self.provider.secrets().into_iter().map(|it| ("the provider's", it)));
        for token in self.provider.secrets() {
            if let Some((_, signature)) = token.rsplit_once('.') {
                self.secrets.push(("an ID token's signature", signature.to_owned()));
            }
        }
        self.said.push(("the log".to_owned(), log.clone()));
        for (what, secret) in &self.secrets {
            assert!(secret.len() >= 16, "{what} {secret:?} would be found by chance");
            for (place, said) in &self.said {
                assert!(!said.contains(secret), "{place} says {what}, {secret}:\n{said}");
            }
        }
        log
    }
}

/// Redis with its password, and the URL that has it.
fn redis() -> (RedisServer, String) {
    let redis = RedisServer::start_with(&[
        "--requirepass",
        REDIS_PASSWORD,
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
    ]);
    let url = format!("redis://:{REDIS_PASSWORD}@{}", redis.address());
    (redis, url)
}

#[tokio::test]
async fn a_whole_life_leaves_no_secret_in_a_log_a_metric_an_error_a_page_or_a_url() {
    let (mut redis, url) = redis();
    let mut stage = Stage::start(&url, "").await;

    // Somebody signs in, looks around, and has a token.
    let callback = stage.walk_to_callback().await;
    let signed_in = stage.ask(Method::GET, &callback, &[]).await;
    assert_eq!(signed_in.location(), format!("{PUBLIC_URL}/rooms"));
    stage.ask_every_route(&callback).await;
    stage.sign_in().await;
    let token = stage.token().await;

    stage.puts_secrets_where_they_do_not_belong(&callback, &token).await;
    stage.fails_to_sign_in_in_many_ways().await;

    stage.visits("one").await;

    // An outage.
    stage.sign_in().await;
    let callback = stage.walk_to_callback().await;
    redis.stop();
    stage.ask_every_route(&callback).await;
    redis.start_again();
    tokio::time::sleep(Duration::from_millis(100)).await;

    // And the end.
    stage.token().await;
    let out = stage.ask(Method::POST, "/logout", &[]).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    stage.ask_every_route(&callback).await;
    for canary in
        ["of-another-login", "of-another-token", "that-is-no-token", "page-of-the-provider"]
    {
        stage.secrets.push(("what the provider said", format!("canary-{canary}")));
    }
    let log = stage.end();
    for word in ["TRACE", "signed in", "request refused", "request could not be answered"] {
        assert!(log.contains(word), "the log says everything: {word}");
    }
    for person in [CLIENT, PEER, EMAIL] {
        assert!(!log.contains(person), "{person} in:\n{log}");
    }
}

#[tokio::test]
async fn a_wrong_store_password_is_not_told_either() {
    let (redis, _) = redis();
    let wrong = "canary-of-a-wrong-password";
    let mut stage = Stage::start(&format!("redis://:{wrong}@{}", redis.address()), "").await;
    stage.secrets.push(("a wrong password", wrong.to_owned()));

    let answer = stage.ask(Method::GET, "/login/fake", &[]).await;
    stage.ask_operations().await;

    assert_eq!(answer.code(), "store_unavailable");
    let log = stage.end();
    assert!(log.contains("request could not be answered"), "{log}");
}

#[tokio::test]
async fn the_log_says_where_somebody_is_only_when_it_may() {
    let (_redis, url) = redis();
    let mut stage = Stage::start(&url, "pii = true").await;

    let answer = stage.sign_in().await;

    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert!(answer.headers.contains_key(LOCATION));
    let log = stage.end();
    let line = log.lines().find(|line| line.contains("signed in")).unwrap();
    let event: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(event["client"], CLIENT);
}
