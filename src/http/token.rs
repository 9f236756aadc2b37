//! `POST /token`: a fresh access token for whoever proves to be somebody.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use serde::Serialize;

use crate::mint::Minted;

use super::problem::Problem;
use super::{App, session};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Mints a token on the caller's session: one round trip to the store.
pub(super) async fn mint(
    State(app): State<Arc<App>>,
    // Whole, because an extractor of headers would copy them.
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers();
    if app.cookies.any(headers) {
        app.origins.demand(headers)?;
    }
    let cookie = session::proof(&app, headers)?;
    let Minted { identity, token } = app.rooms.mint.mint(&cookie.key()).await?;
    #[expect(clippy::disallowed_methods, reason = "the token goes to its owner")]
    let jwt = token.jwt.expose_secret();
    // The reply of contract §5, without a serializer: nothing in it needs escaping, for an identity has no such characters, nor
    // has base64url.
    let body = format!(
        r#"{{"identity":"{identity}","kind":"member","token":"{jwt}","expires_in":{},"expires_at":"{}"}}"#,
        token.expires_in, token.expires
    );
    Ok(([(CONTENT_TYPE, JSON)], body).into_response())
}

/// A JSON body. Everything that we serialise is plain fields, so that it cannot fail.
pub(super) fn json(reply: &impl Serialize) -> Response {
    let body = serde_json::to_vec(reply).unwrap_or_default();
    ([(CONTENT_TYPE, JSON)], body).into_response()
}
