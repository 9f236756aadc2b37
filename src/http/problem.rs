//! What is said when a request does not get what it asked for: one code for programs, one page for people, one line in the log.
//!
//! Code, title and advice are `&'static str` on purpose: what came from below, or from a provider, cannot get into an answer. Only
//! the operator's own words for a denial, which stand in the configuration, can.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::Markup;
use serde::Serialize;

use crate::ids::Reference;
use crate::limits::LimitError;
use crate::login::{BearerError, ClientError};
use crate::mint::{DenialCode, Denied, MintError};
use crate::oidc::OidcError;
use crate::sessions::{LogoutError, SessionError};
use crate::store::StoreError;
use crate::telemetry::explain;

use super::pages;

/// The stable codes of contract §5, as far as there are routes that need them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    LoginRequired,
    SessionExpired,
    InvalidToken,
    AccessDenied,
    IdentityConflict,
    IdentityInvalid,
    Blocked,
    OriginNotAllowed,
    InvalidRequest,
    InvalidClient,
    InvalidTarget,
    UnsupportedGrantType,
    LoginFailed,
    RateLimited,
    TicketRequired,
    GuestBudgetReached,
    PoolExhausted,
    ProviderUnavailable,
    StoreUnavailable,
    NotFound,
    MethodNotAllowed,
}

/// What everybody may know about a code.
pub(super) struct Face {
    /// The code, as programs compare it.
    pub(super) code: &'static str,
    /// Its status.
    pub(super) status: StatusCode,
    /// What happened, in a few words.
    pub(super) title: &'static str,
    /// What to do next.
    pub(super) advice: &'static str,
}

impl Code {
    /// The code's face.
    #[rustfmt::skip]
    pub(super) const fn face(self) -> Face {
        const fn face(code: &'static str, status: StatusCode, title: &'static str, advice: &'static str) -> Face {
            Face { code, status, title, advice }
        }
        match self {
            Self::LoginRequired => face("login_required", StatusCode::UNAUTHORIZED,
                "Nobody is signed in", "Sign in first."),
            Self::SessionExpired => face("session_expired", StatusCode::UNAUTHORIZED,
                "Your session is over", "Sign in again."),
            Self::InvalidToken => face("invalid_token", StatusCode::UNAUTHORIZED,
                "The bearer token is not accepted", "Send a fresh token of a provider, meant for an audience that is accepted here; or sign in, and call without Authorization."),
            Self::AccessDenied => face("access_denied", StatusCode::FORBIDDEN,
                "You may not come in here", "Ask your administrator, quoting the reference."),
            Self::IdentityConflict => face("identity_conflict", StatusCode::FORBIDDEN,
                "This identity belongs to somebody else", "Ask your administrator, quoting the reference."),
            Self::IdentityInvalid => face("identity_invalid", StatusCode::FORBIDDEN,
                "You cannot be given an identity", "Ask your administrator, quoting the reference."),
            Self::Blocked => face("blocked", StatusCode::FORBIDDEN,
                "You are blocked here", "Ask your administrator."),
            Self::OriginNotAllowed => face("origin_not_allowed", StatusCode::FORBIDDEN,
                "This page may not do that", "Requests that carry our cookies must come, with an Origin header, from an allowed origin."),
            Self::InvalidRequest => face("invalid_request", StatusCode::BAD_REQUEST,
                "That request makes no sense here", "Begin again from the sign-in page, in one browser, with cookies allowed."),
            Self::InvalidClient => face("invalid_client", StatusCode::UNAUTHORIZED,
                "No such client, or no proof of it", "Authenticate as a configured client, by client_secret_basic, client_secret_post or private_key_jwt."),
            Self::InvalidTarget => face("invalid_target", StatusCode::BAD_REQUEST,
                "Tokens from here are for one service", "Leave out audience and resource."),
            Self::UnsupportedGrantType => face("unsupported_grant_type", StatusCode::BAD_REQUEST,
                "Tokens are only exchanged here", "Send grant_type=urn:ietf:params:oauth:grant-type:token-exchange."),
            Self::LoginFailed => face("login_failed", StatusCode::BAD_REQUEST,
                "The sign-in did not work", "Try again. If it fails again, ask your administrator, quoting the reference."),
            Self::RateLimited => face("rate_limited", StatusCode::TOO_MANY_REQUESTS,
                "Too many requests", "Wait a moment, then try again."),
            Self::TicketRequired => face("ticket_required", StatusCode::FORBIDDEN,
                "Guests need a ticket here", "Come in through the page that gives tickets, or sign in."),
            Self::GuestBudgetReached => face("guest_budget_reached", StatusCode::TOO_MANY_REQUESTS,
                "All guest places of this month are taken", "Try again in a while, or sign in."),
            Self::PoolExhausted => face("pool_exhausted", StatusCode::SERVICE_UNAVAILABLE,
                "All guest places are taken", "Try again in a while, or sign in."),
            Self::ProviderUnavailable => face("provider_unavailable", StatusCode::SERVICE_UNAVAILABLE,
                "Your sign-in service does not answer", "Try again in a moment."),
            Self::StoreUnavailable => face("store_unavailable", StatusCode::SERVICE_UNAVAILABLE,
                "This service cannot answer right now", "Try again in a moment."),
            Self::NotFound => face("not_found", StatusCode::NOT_FOUND,
                "There is nothing here", "Check the address, or begin from the sign-in page."),
            Self::MethodNotAllowed => face("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED,
                "That cannot be done here", "Check the method; the Allow header names those that work."),
        }
    }
}

/// Why a request does not get what it asked for.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    /// What programs and people are told.
    pub(super) code: Code,
    /// The cause in a word or two, for the metric's label; one of a few, never from outside.
    pub(super) cause: &'static str,
    /// What a person quotes and the log explains.
    pub(super) reference: Option<Reference>,
    /// Other words, where those of the code do not say it.
    pub(super) words: Option<&'static Words>,
    /// What the operator has to say to the person, in the words of the configuration.
    pub(super) message: Option<String>,
    /// When another try makes sense.
    pub(super) retry_after: Option<Duration>,
    /// Where a person may try again, when that is not the sign-in page.
    pub(super) again: Option<String>,
    /// What happened below, for the log.
    pub(super) source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What is said of one case of a code.
#[derive(Debug)]
pub(super) struct Words {
    /// What happened, in a few words.
    pub(super) title: &'static str,
    /// What to do next.
    pub(super) advice: &'static str,
}

impl Problem {
    /// A problem without more to say than its code and cause.
    pub(super) const fn new(code: Code, cause: &'static str) -> Self {
        Self {
            code,
            cause,
            reference: None,
            words: None,
            message: None,
            retry_after: None,
            again: None,
            source: None,
        }
    }

    /// With a fresh reference, which the log explains by `source`.
    pub(super) fn referring(self, source: impl Error + Send + Sync + 'static) -> Self {
        Self { reference: Some(Reference::random()), ..self.because(source) }
    }

    /// With what happened below.
    pub(super) fn because(self, source: impl Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
    }

    /// With other words than the code's: what happened, and what to do next.
    pub(super) fn saying(self, words: &'static Words) -> Self {
        Self { words: Some(words), ..self }
    }

    /// What everybody may know of it.
    fn face(&self) -> Face {
        let face = self.code.face();
        match self.words {
            Some(Words { title, advice }) => Face { title, advice, ..face },
            None => face,
        }
    }

    /// With how long to wait.
    pub(super) fn after(self, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }

    /// With where a person may try again.
    pub(super) fn again_at(self, path: String) -> Self {
        Self { again: Some(path), ..self }
    }

    /// Writes the one line that the log has of it.
    pub(super) fn log(&self, route: &'static str) {
        let face = self.code.face();
        let reference = self.reference.map(|reference| reference.to_string());
        let why = self.source.as_deref().map(|error| explain(error));
        if face.status.is_server_error() {
            tracing::warn!(
                code = face.code,
                cause = self.cause,
                reference,
                why,
                route,
                "request could not be answered"
            );
        } else if self.source.is_some() {
            tracing::info!(
                code = face.code,
                cause = self.cause,
                reference,
                why,
                route,
                "request refused"
            );
        } else {
            tracing::debug!(code = face.code, cause = self.cause, route, "request refused");
        }
    }

    /// The problem as RFC 9457 has it.
    pub(super) fn to_json(&self) -> Response {
        let face = self.face();
        let document = Document {
            status: face.status.as_u16(),
            title: face.title,
            detail: self.message.as_deref().unwrap_or(face.advice),
            code: face.code,
            reference: self.reference.map(|reference| reference.to_string()),
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        (face.status, [(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))], body)
            .into_response()
    }

    /// The problem as RFC 6749 §5.2 and RFC 8693 §2.2.2 have it: whatever is wrong with a subject token, or with whom it means,
    /// is an `invalid_request`. `code` and `reference` are our extensions.
    pub(super) fn to_oauth(&self) -> Response {
        let face = self.face();
        let (status, error) = match self.code {
            Code::InvalidClient
            | Code::InvalidTarget
            | Code::UnsupportedGrantType
            | Code::OriginNotAllowed => (face.status, face.code),
            Code::NotFound | Code::MethodNotAllowed => return self.to_json(),
            _ if face.status.is_server_error() => (face.status, "temporarily_unavailable"),
            _ => (StatusCode::BAD_REQUEST, "invalid_request"),
        };
        // Few characters may stand there (RFC 6749 §A.8).
        let fits = |text: &&str| {
            text.bytes().all(|b| matches!(b, 0x20..=0x7e) && !matches!(b, b'"' | b'\\'))
        };
        let document = OauthError {
            error,
            error_description: self.message.as_deref().filter(fits).unwrap_or(face.title),
            code: face.code,
            reference: self.reference.map(|reference| reference.to_string()),
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        (status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body)
            .into_response()
    }

    /// The problem as a page, with a way on.
    pub(super) fn to_page(&self, notice: Option<&'static str>) -> Response {
        let face = self.face();
        let way_on = match self.code {
            Code::OriginNotAllowed => None,
            // The same account again would be the same answer.
            Code::AccessDenied | Code::IdentityConflict | Code::IdentityInvalid | Code::Blocked => {
                Some(("/", "Go to the sign-in page"))
            }
            _ => match &self.again {
                Some(path) => Some((path.as_str(), "Try again")),
                None => Some(("/", "Go to the sign-in page")),
            },
        };
        let page = pages::problem(&pages::Problem {
            title: face.title,
            message: self.message.as_deref(),
            advice: match &self.message {
                // The operator's words come first, and may be all that it takes.
                Some(_) => {
                    "If you should be let in, ask your administrator, quoting the reference."
                }
                None => face.advice,
            },
            code: face.code,
            reference: self.reference.as_ref(),
            wait: self.retry_after,
            way_on,
            notice,
        });
        html(face.status, &page)
    }

    /// Adds the headers that the code stands for, whatever the body.
    pub(super) fn add_headers(&self, response: &mut Response) {
        let status = response.status();
        let headers = response.headers_mut();
        if let Some(after) = self.retry_after {
            // Rounded up: a client that comes when told is not told again.
            headers.insert(
                RETRY_AFTER,
                after
                    .as_millis()
                    .div_ceil(1000)
                    .max(1)
                    .try_into()
                    .map_or(HeaderValue::from_static("60"), |seconds: u64| seconds.into()),
            );
        }
        let challenge = match self.code {
            _ if status != StatusCode::UNAUTHORIZED => return,
            Code::InvalidToken => r#"Bearer error="invalid_token""#,
            Code::InvalidClient => r#"Basic realm="oauth2""#,
            _ => return,
        };
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
}

/// A page, under the policy that its browser is to hold it to.
pub(super) fn html(status: StatusCode, page: &Markup) -> Response {
    html_under(HeaderValue::from_static(pages::content_security_policy()), status, page)
}

/// A page under a policy of its own.
pub(super) fn html_under(policy: HeaderValue, status: StatusCode, page: &Markup) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, policy),
        // Not `no-referrer`, with which a browser sends `Origin: null` from our own sign-out form.
        (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    ];
    (status, headers, page.0.clone()).into_response()
}

/// RFC 9457 §3.1; `type` is left out, which means `about:blank`. `code` and `reference` are our extensions.
#[derive(Serialize)]
struct Document<'a> {
    status: u16,
    title: &'static str,
    detail: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
}

/// RFC 6749 §5.2.
#[derive(Serialize)]
struct OauthError<'a> {
    error: &'static str,
    error_description: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
}

/// Only carries itself: the gate knows whether a program or a person asks, and writes the answer.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.face().status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::new(Code::StoreUnavailable, error.cause())
            .after(Duration::from_secs(1))
            .because(error)
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Ended => Self::new(Code::SessionExpired, "session over"),
            SessionError::Overtaken => Self::new(Code::SessionExpired, "overtaken"),
            SessionError::LoggedOut => Self::new(Code::SessionExpired, "logged out"),
            SessionError::Limited { after } => Self::new(Code::RateLimited, "session").after(after),
            SessionError::Store(error) => error.into(),
        }
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let code = match denied.code {
            DenialCode::AccessDenied => Code::AccessDenied,
            DenialCode::IdentityConflict => Code::IdentityConflict,
            DenialCode::IdentityInvalid => Code::IdentityInvalid,
        };
        let cause = denied.cause();
        // What there is to say stands in the audit log already.
        let Denied { reference, message, .. } = denied;
        Self { reference: Some(reference), message, ..Self::new(code, cause) }
    }
}

impl From<MintError> for Problem {
    fn from(error: MintError) -> Self {
        match error {
            MintError::Denied(denied) => denied.into(),
            // What there is to say stands in the audit log already.
            MintError::Blocked { .. } => Self::new(Code::Blocked, "operator"),
            MintError::Session(error) => error.into(),
            // Why, the log has where the provider was asked last.
            MintError::Away { after } => {
                Self::new(Code::ProviderUnavailable, "asked again").after(after)
            }
            MintError::Guest(error) => error.into(),
            MintError::Token(error) => BearerError::from(error).into(),
            MintError::Store(error) => error.into(),
        }
    }
}

/// Whether anybody can make up a token that fails this check: the others are made of what a provider has signed.
fn is_forgeable(check: &str) -> bool {
    ["format", "size", "algorithm", "crit", "typ", "key", "signature", "active"].contains(&check)
}

impl From<BearerError> for Problem {
    fn from(error: BearerError) -> Self {
        match error {
            // Anybody can send these, as often as they like: they get no line in the log.
            BearerError::NotOurs => Self::new(Code::InvalidToken, "not ours"),
            BearerError::Ambiguous => Self::new(Code::InvalidToken, "several providers"),
            BearerError::NotIntrospected => Self::new(Code::InvalidToken, "no introspection"),
            BearerError::Provider(OidcError::Untrusted { check, .. }) if is_forgeable(check) => {
                Self::new(Code::InvalidToken, check)
            }
            BearerError::Provider(OidcError::Untrusted { check, .. }) => {
                Self::new(Code::InvalidToken, check).because(error)
            }
            BearerError::Provider(error) => error.into(),
            BearerError::Limit(error) => error.into(),
            BearerError::Store(error) => error.into(),
        }
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        match error {
            // Anybody can send these, as often as they like: they get no line in the log.
            ClientError::Unknown => Self::new(Code::InvalidClient, "credentials"),
            ClientError::Untrusted(OidcError::Untrusted { check, .. }) if is_forgeable(check) => {
                Self::new(Code::InvalidClient, check)
            }
            ClientError::Untrusted(OidcError::Untrusted { check, .. }) => {
                Self::new(Code::InvalidClient, check).because(error)
            }
            ClientError::Untrusted(error) => error.into(),
            ClientError::Spent => Self::new(Code::InvalidClient, "assertion spent").because(error),
            ClientError::Store(error) => error.into(),
        }
    }
}

impl From<LogoutError> for Problem {
    fn from(error: LogoutError) -> Self {
        match error {
            LogoutError::UnknownProvider => Self::new(Code::NotFound, "no such provider"),
            LogoutError::Spent => Self::new(Code::InvalidRequest, "spent").because(error),
            LogoutError::Provider(error @ OidcError::Unavailable { .. }) => error.into(),
            // Most is checked before the signature, so that anybody can fail it: the metric has the check, the log nothing.
            LogoutError::Provider(OidcError::Untrusted { check, .. }) => {
                Self::new(Code::InvalidRequest, check)
            }
            LogoutError::Provider(_) => Self::new(Code::InvalidRequest, "refused").because(error),
            LogoutError::Store(error) => error.into(),
        }
    }
}

impl From<LimitError> for Problem {
    fn from(error: LimitError) -> Self {
        match error {
            LimitError::Reached { after } => {
                Self::new(Code::RateLimited, "client address").after(after)
            }
            LimitError::Store(error) => error.into(),
        }
    }
}

impl From<OidcError> for Problem {
    fn from(error: OidcError) -> Self {
        match error {
            OidcError::Unavailable { endpoint, .. } => {
                Self::new(Code::ProviderUnavailable, endpoint)
                    .after(Duration::from_secs(5))
                    .referring(error)
            }
            OidcError::Refused { .. } => Self::new(Code::LoginFailed, "refused").referring(error),
            OidcError::Untrusted { check, .. } => {
                Self::new(Code::LoginFailed, check).referring(error)
            }
        }
    }
}
