//! The usual stage: one Redis, one provider that tells the truth, one service.

use super::fake_provider::FakeProvider;
use super::redis::RedisServer;
use super::service::TestService;
use super::visitor::Visitor;

/// A service with its real Redis and a provider of ours. Everything ends when it is dropped.
pub struct Setup {
    pub redis: RedisServer,
    pub provider: FakeProvider,
    pub service: TestService,
    further: String,
}

impl Setup {
    /// With nothing but defaults.
    pub async fn new() -> Self {
        Self::with("", "").await
    }

    /// With further sections, and further keys of the provider.
    pub async fn with(sections: &str, provider_keys: &str) -> Self {
        let redis = RedisServer::start();
        let provider = FakeProvider::start().await;
        let further = format!("{sections}\n{}", provider_section(&provider, provider_keys));
        let service = TestService::start(&redis.url(), &further).await;
        Self { redis, provider, service, further }
    }

    /// Another replica on the same Redis, with the same public URL.
    pub async fn replica(&self) -> TestService {
        TestService::start_replica_of(&self.service, &self.redis.url(), &self.further).await
    }

    /// Somebody who was never here.
    pub fn visitor(&self) -> Visitor {
        Visitor::of(&self.service)
    }

    /// A path of the service as a URL.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.service.url)
    }
}

/// The provider `fake` as an operator configures it.
pub fn provider_section(provider: &FakeProvider, further: &str) -> String {
    format!(
        r#"
[[provider]]
name = "fake"
title = "Fake Corp"
issuer = "{}"
client_id = "vestibule"
client_secret = "canary-client-secret-0001"
{further}

[provider.policy]
allow = "true"
"#,
        provider.issuer()
    )
}
