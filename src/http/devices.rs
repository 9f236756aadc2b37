//! The caller's signed-in devices: all of them, and how one of them, or all others, are signed out.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::ids::Digest;
use crate::sessions::SessionCookie;

use super::App;
use super::problem::{Code, Problem};
use super::session::{forgetting, proof};
use super::token::json;

/// A row of `GET /sessions`, contract §5.
#[derive(Serialize)]
struct Row {
    id: String,
    label: String,
    since: String,
    last_seen: String,
    current: bool,
}

/// All devices that are signed in as the caller, newest first. Looking is not using.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let cookie = proof(&app, &headers)?;
    let devices = app.rooms.sessions.devices(&cookie.key()).await?;
    let rows = devices.into_iter().map(|device| Row {
        id: device.id.to_string(),
        label: device.label,
        since: device.since.to_string(),
        last_seen: device.last_used.to_string(),
        current: device.is_current,
    });
    Ok(json(&rows.collect::<Vec<_>>()))
}

/// `DELETE /sessions/{id}`: signs that device out; the browser that asks loses its cookie if it is that one.
pub(super) async fn end(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let key = demanded(&app, &headers)?.key();
    let unknown = || Problem::new(Code::NotFound, "no such device");
    let id = uri.path().rsplit('/').next().and_then(Digest::parse).ok_or_else(unknown)?;
    if !app.rooms.sessions.end_device(&key, &id).await? {
        return Err(unknown());
    }
    let done = StatusCode::NO_CONTENT.into_response();
    Ok(if id == key.id { forgetting(&app, done) } else { done })
}

/// `DELETE /sessions`: signs all other devices out.
pub(super) async fn end_others(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let cookie = demanded(&app, &headers)?;
    app.rooms.sessions.end_other_devices(&cookie.key()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The proof that counts, from a page that may bring it.
fn demanded(app: &App, headers: &HeaderMap) -> Result<SessionCookie, Problem> {
    if app.cookies.any(headers) {
        app.origins.demand(headers)?;
    }
    proof(app, headers)
}
