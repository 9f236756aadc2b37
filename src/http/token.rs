//! `POST /token`: a fresh access token for whoever proves to be somebody.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::login::Bringer;
use crate::mint::Minted;

use super::problem::{Code, Problem};
use super::{App, forwarded, session};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Mints a token on the caller's session: one round trip to the store.
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
    let Minted { identity, token } = match bearer(headers)? {
        Some(raw_token) => {
            let address = forwarded::client(peer, headers, &app.trusted_proxies);
            let vouched = app.rooms.login.vouch(&raw_token, Bringer::Bearer { address }).await?;
            app.rooms.mint.mint_for(vouched).await?
        }
        None => app.rooms.mint.mint(&session::proof(&app, headers)?.key()).await?,
    };
    #[expect(clippy::disallowed_methods, reason = "the token goes to its owner")]
    let jwt = token.jwt.expose_secret();
    // The reply of contract §5, without a serializer: nothing in it needs escaping, for an identity has no such characters, nor
    // has base64url.
    let body = format!(
        r#"{{"identity":"{identity}","kind":"member","token":"{jwt}","expires_in":{},"expires_at":"{}"}}"#,
        token.expires_in, token.expires_at
    );
    Ok(([(CONTENT_TYPE, JSON)], body).into_response())
}

/// The token that a bearer brings (RFC 6750 §2.1); `None` without `Authorization`.
///
/// # Errors
///
/// `invalid_request` when there is more than one; `invalid_token` when it is of another scheme.
fn bearer(headers: &HeaderMap) -> Result<Option<SecretString>, Problem> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(Problem::new(Code::InvalidRequest, "two authorizations"));
    }
    let token = line.to_str().ok().and_then(|line| line.split_once(' '));
    match token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Ok(Some(token.trim().into()))
        }
        _ => Err(Problem::new(Code::InvalidToken, "scheme")),
    }
}

/// A JSON body. Everything that we serialise is plain fields, so that it cannot fail.
pub(super) fn json(reply: &impl Serialize) -> Response {
    let body = serde_json::to_vec(reply).unwrap_or_default();
    ([(CONTENT_TYPE, JSON)], body).into_response()
}
