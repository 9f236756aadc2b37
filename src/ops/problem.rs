//! What an operator's program is told when it does not get what it asked for: RFC 9457, as on the public listener.

use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::store::StoreError;
use crate::telemetry::explain;

/// Why a request to the API is not answered. The code, as programs compare it, is [`Code::as_str`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// No token is configured.
    ApiOff,
    /// The request proves nothing.
    LoginRequired,
    /// The token is another.
    InvalidToken,
    /// Meant for another host.
    WrongHost,
    /// Malformed, too big, or about an issuer that is no provider's.
    InvalidRequest,
    /// There is no such route.
    NotFound,
    /// No denial has the reference, or none any more; nobody has the identity.
    Unknown,
    /// The route does other things.
    MethodNotAllowed,
    /// The subject has the identity already.
    AlreadyTheirs,
    /// The identity is on its way to another subject.
    MoveUnderWay,
    /// The identity is blocked, or the subject is that is to have it.
    Blocked,
    /// Somebody else moved the identity at the same time, or ended all sessions of the subject.
    Overtaken,
    /// It is done, but a replica of the store may not have it.
    ReplicasBehind,
    /// The store has no answer.
    StoreUnavailable,
}

impl Code {
    const ALL: [Self; 14] = [
        Self::ApiOff,
        Self::LoginRequired,
        Self::InvalidToken,
        Self::WrongHost,
        Self::InvalidRequest,
        Self::NotFound,
        Self::Unknown,
        Self::MethodNotAllowed,
        Self::AlreadyTheirs,
        Self::MoveUnderWay,
        Self::Blocked,
        Self::Overtaken,
        Self::ReplicasBehind,
        Self::StoreUnavailable,
    ];

    /// The code with this name; `None` for one of another version's.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        self.face().0
    }

    /// Name, status, and what to do.
    #[rustfmt::skip]
    const fn face(self) -> (&'static str, StatusCode, &'static str, &'static str) {
        match self {
            Self::ApiOff => ("api_off", StatusCode::NOT_FOUND,
                "The API is off", "Set ops.token_file in the configuration, and start the service again."),
            Self::LoginRequired => ("login_required", StatusCode::UNAUTHORIZED,
                "Nobody has proved anything", "Send Authorization: Bearer and the token that ops.token or ops.token_file holds."),
            Self::InvalidToken => ("invalid_token", StatusCode::UNAUTHORIZED,
                "The token is not this service's", "Send the one that this service was started with."),
            Self::WrongHost => ("wrong_host", StatusCode::BAD_REQUEST,
                "That is not the name of this listener", "Call ops.listen by its IP address or as localhost."),
            Self::InvalidRequest => ("invalid_request", StatusCode::BAD_REQUEST,
                "That request makes no sense here", "Check the body, its issuer and the cursor; docs/OPERATIONS.md has an example for each route."),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND,
                "There is nothing here", "Check the address; docs/OPERATIONS.md has an example for each route."),
            Self::Unknown => ("unknown", StatusCode::NOT_FOUND,
                "Nothing is known of that", "Check the spelling. Denials are kept for denials.keep."),
            Self::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED,
                "That cannot be done here", "Check the method; the Allow header names those that work."),
            Self::AlreadyTheirs => ("already_theirs", StatusCode::CONFLICT,
                "The subject has this identity already", "There is nothing to do."),
            Self::MoveUnderWay => ("move_under_way", StatusCode::CONFLICT,
                "The identity is on its way to another subject", "Make that move again first: it goes on where it stopped."),
            Self::Blocked => ("blocked", StatusCode::CONFLICT,
                "The identity is blocked, or the subject is that is to have it", "Unblock the identity, or the one that the subject has, then move it."),
            Self::Overtaken => ("overtaken", StatusCode::CONFLICT,
                "Somebody else moved the identity, or ended all sessions of the subject, at the same time", "Look whose it is now. If it is the subject's, the same move again finishes it."),
            Self::ReplicasBehind => ("replicas_behind", StatusCode::SERVICE_UNAVAILABLE,
                "It is done, but a replica of the store has not said that it has it", "Until it has, a failover to it may forget this. Mend the replica, then ask for the same again."),
            Self::StoreUnavailable => ("store_unavailable", StatusCode::SERVICE_UNAVAILABLE,
                "The store does not answer", "Try again in a moment; /readyz says more."),
        }
    }
}

/// A problem, on its way out. RFC 9457 §3.1; `type` is left out, which means `about:blank`.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    status: u16,
    title: &'static str,
    detail: &'static str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    moving_to: Option<super::Whom>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked: Option<Box<str>>,
    #[serde(skip)]
    is: Code,
}

/// What of a problem a program reads that asked.
#[derive(Debug, Deserialize)]
pub struct ToldProblem {
    /// A [`Code`] of this version or another.
    pub code: String,
    /// With [`Code::MoveUnderWay`]: to whom.
    pub moving_to: Option<super::Whom>,
    /// With [`Code::Blocked`]: which identity.
    pub blocked: Option<String>,
}

impl Problem {
    /// A problem without more to say than its code.
    pub(super) const fn new(is: Code) -> Self {
        let (code, status, title, detail) = is.face();
        Self { status: status.as_u16(), title, detail, code, moving_to: None, blocked: None, is }
    }

    /// With other words on what to do.
    pub(super) fn saying(self, detail: &'static str) -> Self {
        Self { detail, ..self }
    }

    /// With whom an identity is on its way to.
    pub(super) fn moving_to(self, to: super::Whom) -> Self {
        Self { moving_to: Some(to), ..self }
    }

    /// With which identity is blocked.
    pub(super) fn blocked(self, identity: String) -> Self {
        Self { blocked: Some(identity.into()), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // Plain fields: writing them cannot fail.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let (_, status, ..) = self.is.face();
        let json = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(CONTENT_TYPE, json)], body).into_response();
        let further = match self.is {
            Code::LoginRequired => Some((WWW_AUTHENTICATE, "Bearer")),
            Code::InvalidToken => Some((WWW_AUTHENTICATE, r#"Bearer error="invalid_token""#)),
            Code::StoreUnavailable | Code::ReplicasBehind => Some((RETRY_AFTER, "1")),
            _ => None,
        };
        if let Some((name, value)) = further {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::warn!(why = explain(&error), "an operator's request could not be answered");
        Self::new(Code::StoreUnavailable)
    }
}

/// How long a client waits for an answer: longer than the longest request takes, a move of five steps.
pub const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_it_is_written() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(code));
        }
        assert_eq!(Code::parse("pool_exhausted"), None);
    }
}
