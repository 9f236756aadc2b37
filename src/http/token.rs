//! `POST /token`: a fresh access token for whoever proves to be somebody.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::clock::Timestamp;
use crate::guests::{GuestError, LeaseSecret};
use crate::login::Bringer;
use crate::mint::{MintError, Minted};
use crate::sessions::SessionCookie;

use super::guest::LEASE_OVER;
use super::problem::{Code, Problem};
use super::{App, forwarded};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Mints a token on the caller's session or lease: one round trip to the store.
pub(super) async fn mint(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    // Whole, because an extractor of headers would copy them.
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers();
    if app.cookies.any(headers) {
        app.origins.demand(headers)?;
    }
    let (minted, lease) = match proof(&app, headers)? {
        Proof::Session(cookie) => (app.rooms.mint.mint(&cookie.key()).await?, None),
        Proof::Guest(secret) => {
            let (minted, ends) = app.rooms.mint.mint_guest(&secret).await.map_err(no_pool)?;
            (minted, Some(ends))
        }
        Proof::Bearer(raw_token) => {
            let address = forwarded::client(peer, headers, &app.trusted_proxies);
            let vouched = app.rooms.login.vouch(&raw_token, Bringer::Bearer { address }).await?;
            (app.rooms.mint.mint_for(vouched).await?, None)
        }
    };
    Ok(reply(&minted, lease, None))
}

/// Who once lent from a pool that is no more has a lease that is over.
fn no_pool(error: MintError) -> Problem {
    match error {
        MintError::Guest(GuestError::NoPool) => GuestError::Ended.into(),
        error => error.into(),
    }
}

/// The reply of contract §5, without a serializer: nothing in it needs escaping, for an identity has no such characters, nor
/// has base64url. A guest's has the end of its `lease`, and its secret if that is no cookie.
pub(super) fn reply(
    minted: &Minted,
    lease: Option<Timestamp>,
    secret: Option<&LeaseSecret>,
) -> Response {
    let Minted { identity, token } = minted;
    #[expect(clippy::disallowed_methods, reason = "the token goes to its owner")]
    let jwt = token.jwt.expose_secret();
    let kind = if lease.is_some() { "guest" } else { "member" };
    let mut body = format!(
        r#"{{"identity":"{identity}","kind":"{kind}","token":"{jwt}","expires_in":{},"expires_at":"{}""#,
        token.expires_in, token.expires_at
    );
    if let Some(ends) = lease {
        // Writing into a string cannot fail.
        let _infallible = write!(body, r#","lease":{{"expires_at":"{ends}"}}"#);
    }
    if let Some(secret) = secret {
        let (prefix, secret) = (LeaseSecret::PREFIX, secret.reveal());
        let _infallible = write!(body, r#","lease_secret":"{prefix}{secret}""#);
    }
    body.push('}');
    ([(CONTENT_TYPE, JSON)], body).into_response()
}

/// What a caller proves itself with.
pub(super) enum Proof {
    /// A session's cookie.
    Session(SessionCookie),
    /// A lease's cookie or secret.
    Guest(LeaseSecret),
    /// A provider's token.
    Bearer(SecretString),
}

/// The proof that counts (contract §5): `Authorization` alone if present; else the session cookie; else the guest cookie. A dead one is
/// never passed over for the next.
///
/// # Errors
///
/// As [`bearer`]; `session_expired` for a cookie that we never wrote; `login_required` for none of them.
pub(super) fn proof(app: &App, headers: &HeaderMap) -> Result<Proof, Problem> {
    if let Some(proof) = bearer(headers)? {
        return Ok(proof);
    }
    if let Some(cookie) = app.cookies.session(headers)? {
        return Ok(Proof::Session(cookie));
    }
    let guest = app.cookies.guest(headers)?.map(Proof::Guest);
    guest.ok_or(Problem::new(Code::LoginRequired, "no proof"))
}

/// What a bearer brings (RFC 6750 §2.1); `None` without `Authorization`.
///
/// # Errors
///
/// `invalid_request` when there is more than one; `invalid_token` when it is of another scheme; `session_expired` for a lease secret
/// that we never wrote, which is nobody else's to judge.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<Proof>, Problem> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(Problem::new(Code::InvalidRequest, "two authorizations"));
    }
    let token = line.to_str().ok().and_then(|line| line.split_once(' '));
    let Some((_, token)) = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
        return Err(Problem::new(Code::InvalidToken, "scheme"));
    };
    match token.trim().strip_prefix(LeaseSecret::PREFIX) {
        None => Ok(Some(Proof::Bearer(token.trim().into()))),
        Some(secret) => match LeaseSecret::parse(secret) {
            Some(secret) => Ok(Some(Proof::Guest(secret))),
            None => Err(Problem::new(Code::SessionExpired, "bad lease secret").saying(&LEASE_OVER)),
        },
    }
}

/// A JSON body. Everything that we serialise is plain fields, so that it cannot fail.
pub(super) fn json(reply: &impl Serialize) -> Response {
    let body = serde_json::to_vec(reply).unwrap_or_default();
    ([(CONTENT_TYPE, JSON)], body).into_response()
}
