//! A provider whose people change, and services whose policies come and go, on one Redis and under one public URL.

use serde_json::Value;
use url::Url;
use uuid::Uuid;
use vestibule::inside::store::{Settings, Store};
use vestibule::inside::{Metrics, Reference};

use super::fake_provider::{FakeProvider, Twist};
use super::redis::RedisServer;
use super::service::{TestService, listener};
use super::visitor::{Answer, Visitor};

/// How every service here is reached from browsers; tests go straight to where one listens.
pub const PUBLIC_URL: &str = "http://localhost:8080";

/// Claims by name; `None` leaves one out.
pub type Claims = Vec<(&'static str, Option<Value>)>;

/// One Redis and one provider, `fake`.
pub struct Stage {
    pub redis: RedisServer,
    pub provider: FakeProvider,
}

impl Stage {
    pub async fn new() -> Self {
        Self { redis: RedisServer::start(), provider: FakeProvider::start().await }
    }

    /// A service that decides so, on a store that services before it may have used.
    pub async fn service(&self, policy: &str) -> TestService {
        self.service_with("", policy).await
    }

    /// The same, with further keys of the provider.
    pub async fn service_with(&self, keys: &str, policy: &str) -> TestService {
        serve(&self.redis.url(), &section("fake", &self.provider, keys, policy)).await
    }

    /// Signs somebody in on a new device, where that succeeds.
    pub async fn sign_in(&self, service: &TestService, who: &str) -> Visitor {
        let mut device = visitor();
        let answer = sign_in(&mut device, service, "fake", who).await;
        assert_eq!(answer.location(), format!("{PUBLIC_URL}/"), "{who}: {answer:?}");
        device
    }

    /// The default identity of somebody at the provider.
    pub fn default_identity(&self, who: &str) -> String {
        default_identity(&self.provider.issuer(), who)
    }
}

/// A service with this store and these providers.
pub async fn serve(store: &str, sections: &str) -> TestService {
    TestService::start_on(listener(), PUBLIC_URL, "", store, sections).await
}

/// A provider as an operator configures it, with its policy in the operator's words.
pub fn section(name: &str, provider: &FakeProvider, keys: &str, policy: &str) -> String {
    format!(
        r#"
[[provider]]
name = "{name}"
issuer = "{}"
client_id = "vestibule"
client_secret = "canary-client-secret-0001"
{keys}

[provider.policy]
{policy}
"#,
        provider.issuer()
    )
}

/// `uuid5(uuid5(NAMESPACE_URL, issuer), subject)`, contract §4.
pub fn default_identity(issuer: &str, who: &str) -> String {
    let namespace = Uuid::new_v5(&Uuid::NAMESPACE_URL, issuer.as_bytes());
    Uuid::new_v5(&namespace, who.as_bytes()).to_string()
}

/// Somebody who was never here, on a page of ours.
pub fn visitor() -> Visitor {
    Visitor::on_a_page_of(PUBLIC_URL)
}

/// From now on the provider says this of everybody, and else what it always says.
pub fn says(provider: &FakeProvider, claims: Claims) {
    provider.twist(claims.into_iter().map(|(name, value)| Twist::Claim(name, value)));
}

/// Goes to the provider as `who` and back to where the callback is to be called.
pub async fn walk(device: &mut Visitor, service: &TestService, name: &str, who: &str) -> String {
    walk_at(device, &service.url, name, who).await
}

/// The same, at a service that listens there.
pub async fn walk_at(device: &mut Visitor, service: &str, name: &str, who: &str) -> String {
    let away = device.get(&format!("{service}/login/{name}")).await.location();
    let hint: String = url::form_urlencoded::byte_serialize(who.as_bytes()).collect();
    let back = device.get(&format!("{away}&login_hint={hint}")).await.location();
    at(service, &back)
}

/// A URL of ours, where this service listens.
pub fn at(service: &str, url: &str) -> String {
    let url = Url::parse(url).unwrap();
    format!("{service}{}?{}", url.path(), url.query().unwrap_or_default())
}

/// Signs in as `who`; the answer is the callback's.
pub async fn sign_in(device: &mut Visitor, service: &TestService, name: &str, who: &str) -> Answer {
    let callback = walk(device, service, name, who).await;
    device.get(&callback).await
}

/// Asks for a token.
pub async fn token(device: &mut Visitor, service: &TestService) -> Answer {
    device.post(&format!("{}/token", service.url)).await
}

/// The identity in a token's answer, which is the one in the token.
pub fn identity(answer: &Answer) -> String {
    assert_eq!(answer.status, reqwest::StatusCode::OK, "{answer:?}");
    let reply = answer.json();
    let jwt = reply["token"].as_str().unwrap();
    let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(jwt).unwrap().claims;
    assert_eq!(reply["identity"], claims["grants"]["identity"], "{answer:?}");
    reply["identity"].as_str().unwrap().to_owned()
}

/// How often policies have been run by this service, whatever came out.
pub async fn decisions(service: &TestService) -> u64 {
    let metrics = visitor().get(&format!("{}/metrics", service.ops_url)).await.body;
    let series = metrics.lines().filter(|line| line.starts_with("vestibule_decisions_total{"));
    series.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// The reference of a problem.
pub fn reference(answer: &Answer) -> String {
    answer.json()["reference"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

/// The store of services on this Redis.
pub async fn store(redis: &RedisServer) -> Store {
    let settings = Settings::Redis { url: redis.url().into() };
    Store::open(&settings, &Metrics::new().unwrap()).await.unwrap()
}

/// The denial that is on record under a reference.
pub async fn on_record(store: &Store, reference: &str) -> Value {
    let found = store.find_denial(&Reference::parse(reference).unwrap()).await.unwrap();
    serde_json::from_str(&found.value.unwrap_or_else(|| panic!("{reference} is not on record")))
        .unwrap()
}
