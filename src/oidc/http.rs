//! Requests to the provider, bounded in size and time, and observed.

use std::time::Duration;

use metrics::Histogram;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::Url;

use super::issuer::Issuer;
use super::{OidcError, cut};
use crate::ids::ProviderName;
use crate::telemetry::Metrics;

/// The largest answer that is read, in bytes. Metadata and keys of the largest providers take a tenth of it.
const LARGEST_ANSWER: usize = 1024 * 1024;

/// How long a connection is kept for the next request: through one login, and shorter than servers keep theirs (five seconds
/// are common), so that a code is never sent into a connection that is being closed.
const KEEP_CONNECTION: Duration = Duration::from_secs(3);

const DURATION: &str = "vestibule_provider_call_duration_seconds";

/// What is asked of a provider; also a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Discovery,
    /// The second document, RFC 8414's.
    OauthDiscovery,
    Keys,
    Par,
    Token,
    Userinfo,
    Introspection,
    Revocation,
}

impl Endpoint {
    pub(super) const ALL: [Self; 8] = [
        Self::Discovery,
        Self::OauthDiscovery,
        Self::Keys,
        Self::Par,
        Self::Token,
        Self::Userinfo,
        Self::Introspection,
        Self::Revocation,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::OauthDiscovery => "oauth_discovery",
            Self::Keys => "keys",
            Self::Par => "par",
            Self::Token => "token",
            Self::Userinfo => "userinfo",
            Self::Introspection => "introspection",
            Self::Revocation => "revocation",
        }
    }

    pub(super) fn of_no_use(self, what: impl Into<String>) -> OidcError {
        OidcError::Unavailable { endpoint: self.name(), what: what.into() }
    }
}

/// The HTTP client of one provider. Follows no redirect: one would carry credentials, or the answer that we trust, to a host
/// that nobody configured. Uses no proxy of the environment.
pub(super) struct Http {
    client: Client,
    durations: [Histogram; Endpoint::ALL.len()],
}

impl Http {
    pub(super) fn new(
        issuer: &Issuer,
        provider: &ProviderName,
        metrics: &Metrics,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .pool_idle_timeout(KEEP_CONNECTION)
            .https_only(issuer.is_https())
            .user_agent(concat!("vestibule/", env!("CARGO_PKG_VERSION")))
            .build()?;
        metrics.describe(DURATION, "Requests to a provider, from asking to the whole answer.");
        let durations = Endpoint::ALL.map(|endpoint| {
            let labels = [("provider", provider.as_str()), ("endpoint", endpoint.name())];
            metrics.histogram(DURATION, &labels)
        });
        Ok(Self { client, durations })
    }

    pub(super) fn get(&self, url: &Url) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    pub(super) fn post_form(&self, url: &Url, form: String) -> RequestBuilder {
        self.request(Method::POST, url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form)
    }

    // Some token endpoints answer HTML to whoever does not ask for JSON.
    fn request(&self, method: Method, url: &Url) -> RequestBuilder {
        self.client
            .request(method, url.clone())
            .header(ACCEPT, HeaderValue::from_static("application/json"))
    }

    /// The whole answer, read before `deadline`.
    ///
    /// # Errors
    ///
    /// [`OidcError::Unavailable`] when no whole answer of at most 1 MiB is there in time. No other.
    pub(super) async fn send(
        &self,
        endpoint: Endpoint,
        request: RequestBuilder,
        deadline: Instant,
    ) -> Result<Answer, OidcError> {
        let asked = Instant::now();
        let answer = tokio::time::timeout_at(deadline, read_whole(request)).await;
        self.durations[endpoint as usize].record(asked.elapsed());
        match answer {
            Ok(Ok((status, content_type, body))) => {
                Ok(Answer { endpoint, status, content_type, body })
            }
            Ok(Err(what)) => Err(endpoint.of_no_use(what)),
            Err(_elapsed) => Err(endpoint.of_no_use("no whole answer in time")),
        }
    }
}

async fn read_whole(request: RequestBuilder) -> Result<(StatusCode, String, Vec<u8>), String> {
    let mut response = request.send().await.map_err(|error| describe(&error))?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| describe(&error))? {
        if body.len() + chunk.len() > LARGEST_ANSWER {
            return Err(format!("an answer of more than {LARGEST_ANSWER} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    let content_type = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    Ok((response.status(), content_type.to_owned(), body))
}

/// The innermost cause, which says most ("Connection refused") and quotes no URL.
fn describe(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if std::ptr::addr_eq(cause, error) {
        "the request failed".to_owned()
    } else {
        cut(&cause.to_string())
    }
}

/// One whole answer.
pub(super) struct Answer {
    endpoint: Endpoint,
    pub(super) status: StatusCode,
    content_type: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Whether its media type, parameters aside, is `essence`.
    pub(super) fn is(&self, essence: &str) -> bool {
        self.essence().eq_ignore_ascii_case(essence)
    }

    fn essence(&self) -> &str {
        self.content_type.split(';').next().unwrap_or_default().trim()
    }

    /// The JSON object that it is.
    ///
    /// # Errors
    ///
    /// [`OidcError::Unavailable`] when its media type is another than JSON, or its body no JSON object. No other.
    pub(super) fn json_object(&self) -> Result<Map<String, Value>, OidcError> {
        let essence = self.essence().to_ascii_lowercase();
        // No media type at all says nothing against JSON; JWK sets have one of their own (RFC 7517 §8.5.2).
        if !(essence.is_empty() || essence == "application/json" || essence.ends_with("+json")) {
            let what =
                format!("status {}, JSON expected, got {}", self.status.as_u16(), cut(&essence));
            return Err(self.endpoint.of_no_use(what));
        }
        serde_json::from_slice(&self.body).map_err(|_| {
            self.endpoint.of_no_use(format!("status {}, no JSON object", self.status.as_u16()))
        })
    }

    /// The JSON object of an answer with status 200.
    ///
    /// # Errors
    ///
    /// [`OidcError::Unavailable`] when the status is another, or as [`Answer::json_object`]. No other.
    pub(super) fn ok_json_object(&self) -> Result<Map<String, Value>, OidcError> {
        if self.status != StatusCode::OK {
            return Err(self.endpoint.of_no_use(format!("status {}", self.status.as_u16())));
        }
        self.json_object()
    }
}
