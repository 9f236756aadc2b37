//! A provider that lies, in one way at a time: the login is refused with the right code, nothing is asked of the provider
//! afterwards, nobody is signed in, and the log names the check. One that is merely peculiar is understood.

mod answers;
mod id_token;
mod metadata;
mod peculiar;

use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::fake_provider::{FakeProvider, Reply, Twist};
use crate::support::log;
use crate::support::service::TestService;
use crate::support::visitor::{Answer, Visitor};

pub const CLIENT_SECRET: &str = "client_secret = \"canary-client-secret-0001\"";

/// Each algorithm that can be configured.
const ALL_ALGORITHMS: &str = "algorithms = [\"RS256\", \"RS384\", \"RS512\", \"PS256\", \"PS384\", \"PS512\", \"ES256\", \"ES384\", \"EdDSA\"]";

/// A service on a store of its own, and its only provider.
pub struct Stage {
    pub provider: FakeProvider,
    pub service: TestService,
    _folder: TempDir,
}

impl Stage {
    /// With a provider that tells the truth until it is told otherwise.
    async fn new() -> Self {
        Self::with(FakeProvider::start().await, CLIENT_SECRET).await
    }

    /// With a provider that differs from the beginning, and further keys of its configuration.
    pub async fn with(provider: FakeProvider, further: &str) -> Self {
        let (service, folder) = service(&provider.issuer(), further).await;
        Self { provider, service, _folder: folder }
    }

    async fn with_metadata(twist: Twist) -> Self {
        let provider = FakeProvider::start().await;
        provider.twist([twist]);
        Self::with(provider, CLIENT_SECRET).await
    }

    pub fn visitor(&self) -> Visitor {
        Visitor::of(&self.service)
    }

    pub async fn sign_in(&self) -> (Visitor, Answer) {
        let mut visitor = self.visitor();
        let answer = visitor.sign_in(&self.service).await;
        (visitor, answer)
    }

    /// Signs somebody in who is then somebody.
    pub async fn admits(&self, what: &str) -> Value {
        let (mut visitor, answer) = self.sign_in().await;
        assert_eq!(
            answer.status,
            StatusCode::SEE_OTHER,
            "{what}: {answer:?}\n{:#?}",
            explanation(&answer)
        );
        let session = visitor.get(&format!("{}/session", self.service.url)).await;
        assert_eq!(session.status, StatusCode::OK, "{what}");
        session.json()
    }

    /// Lets the provider differ in one way; the login is refused because of `check`, the endpoint that lied is the last that is
    /// asked, and nobody is signed in.
    pub async fn refuses(&self, twist: Twist, check: &str) {
        let what = format!("{twist:?}");
        let asked_last = match &twist {
            Twist::Response(..) => "authorize",
            Twist::Userinfo(..) | Twist::SignedUserinfo(_) | Twist::Answer("userinfo", _) => {
                "userinfo"
            }
            _ => "token",
        };
        self.provider.twist([twist]);
        let endpoints = ["authorize", "token", "userinfo", "elsewhere"];
        let before = endpoints.map(|endpoint| self.provider.requests(endpoint));

        let (visitor, answer) = self.sign_in().await;

        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{what}: {answer:?}");
        assert_eq!(answer.code(), "login_failed", "{what}");
        let log = explanation(&answer);
        assert!(log.contains(&format!("{check}: expected ")), "{what}: {log}");
        let last = endpoints.iter().position(|endpoint| *endpoint == asked_last).unwrap();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let more = self.provider.requests(endpoint) - before[index];
            assert_eq!(more, usize::from(index <= last), "{what}: {endpoint}");
        }
        self.is_nobody(visitor, &what).await;
        self.provider.twist([]);
    }

    /// Lets the provider answer in a way that its protocol does not know; another try may help, and nobody is signed in.
    async fn is_let_down_by(&self, twist: Twist, endpoint: &str) {
        let what = format!("{twist:?}").chars().take(200).collect::<String>();
        self.provider.twist([twist]);

        let (visitor, answer) = self.sign_in().await;

        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{what}: {answer:?}");
        assert_eq!(answer.code(), "provider_unavailable", "{what}");
        assert!(answer.headers.contains_key("retry-after"), "{what}");
        let log = explanation(&answer);
        assert!(log.contains(&format!("the provider's {endpoint} is of no use")), "{what}: {log}");
        assert_eq!(self.provider.requests("elsewhere"), 0, "{what}");
        self.is_nobody(visitor, &what).await;
        self.provider.twist([]);
    }

    pub async fn is_nobody(&self, mut visitor: Visitor, what: &str) {
        assert!(!visitor.cookies.contains_key("vestibule"), "{what}");
        let session = visitor.get(&format!("{}/session", self.service.url)).await;
        assert_eq!(session.code(), "login_required", "{what}");
        self.keeps_its_secrets(what);
    }

    fn keeps_its_secrets(&self, what: &str) {
        let secrets = self.provider.secrets();
        assert!(secrets.len() >= 2, "{what}");
        for secret in secrets {
            assert_eq!(log::lines_with(&secret), Vec::<String>::new(), "{what}");
        }
        assert_eq!(log::lines_with("canary-client-secret"), Vec::<String>::new(), "{what}");
    }

    pub async fn metrics(&self) -> String {
        self.visitor().get(&format!("{}/metrics", self.service.ops_url)).await.body
    }
}

/// A service with one provider, `fake`, at this issuer, and the folder of its store.
async fn service(issuer: &str, further: &str) -> (TestService, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("file:{}", folder.path().join("vestibule.db").display());
    let section = format!(
        r#"
[[provider]]
name = "fake"
issuer = "{issuer}"
client_id = "vestibule"
{further}
[provider.policy]
allow = "true"
"#
    );
    (TestService::start(&store, &section).await, folder)
}

/// The log line about a refusal, found by the reference that the person is given.
pub fn explanation(answer: &Answer) -> String {
    let reference =
        answer.json()["reference"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned();
    let lines = log::lines_with(&reference);
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.into_iter().next().unwrap()
}

pub fn claim(name: &'static str, value: Value) -> Twist {
    Twist::Claim(name, Some(value))
}

fn html(status: u16) -> Reply {
    Reply::new(status, "text/html", "<!doctype html><title>Error</title>")
}

fn json_reply(status: u16, body: &str) -> Reply {
    Reply::new(status, "application/json", body)
}

/// What the fake provider dates its tokens by is the system's clock.
fn in_seconds(seconds: i64) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    now.checked_add_signed(seconds).unwrap().into()
}
