//! The caller's own session: who am I, sign out, and the sign-in page for whoever has none.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{AUTHORIZATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;

use crate::mint::Decided;
use crate::oidc::Provider;
use crate::sessions::{SessionCookie, SessionError};

use super::problem::{Code, Problem, html};
use super::token::json;
use super::{App, pages};

/// The proof that counts (contract §5): `Authorization` alone if present, else the session cookie. A dead one is never passed
/// over for the next.
///
/// # Errors
///
/// `invalid_token` for any `Authorization`, `session_expired` for a cookie that we never wrote, `login_required` for neither.
pub(super) fn proof(app: &App, headers: &HeaderMap) -> Result<SessionCookie, Problem> {
    if headers.contains_key(AUTHORIZATION) {
        return Err(Problem::new(Code::InvalidToken, "bearer"));
    }
    app.cookies.session(headers)?.ok_or(Problem::new(Code::LoginRequired, "no proof"))
}

/// `GET /session`, contract §5.
#[derive(Serialize)]
struct Reply<'a> {
    identity: &'a str,
    kind: &'static str,
    friendly_name: Option<&'a str>,
    provider: &'a str,
    since: String,
    until: String,
}

/// Who is signed in here. Looking is not using: the session's idle time goes on.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let cookie = proof(&app, &headers)?;
    let live = app.rooms.sessions.look_at(&cookie.key()).await?;
    let decided = Decided::read(&live.with.1);
    Ok(json(&Reply {
        identity: live.session.identity.as_str(),
        kind: "member",
        friendly_name: decided.as_ref().and_then(|decided| decided.friendly_name.as_deref()),
        provider: live.session.provider.as_str(),
        since: live.session.since.to_string(),
        until: live.until.to_string(),
    }))
}

/// `GET /`: the sign-in page, or for somebody who is signed in, who that is.
pub(super) async fn home(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let cookie = match app.cookies.session(&headers) {
        Ok(None) => return Ok(sign_in(&app, None)),
        Ok(Some(cookie)) => cookie,
        Err(_never_ours) => return Ok(forgetting(&app, sign_in(&app, None))),
    };
    match app.rooms.sessions.look_at(&cookie.key()).await {
        Ok(live) => {
            let name = &live.session.provider;
            let provider =
                app.rooms.login.providers().find(|provider| provider.settings().name == *name);
            let title = provider.map_or(name.as_str(), |provider| &provider.settings().title);
            let decided = Decided::read(&live.with.1);
            let page = pages::signed_in(&pages::SignedIn {
                friendly_name: decided.as_ref().and_then(|it| it.friendly_name.as_deref()),
                identity: &live.session.identity,
                provider_title: title,
                until: live.until,
                denied: decided.is_none(),
                notice: app.notice,
            });
            Ok(html(StatusCode::OK, &page))
        }
        Err(SessionError::Ended) => Ok(forgetting(&app, sign_in(&app, None))),
        Err(error) => Err(error.into()),
    }
}

/// The sign-in page: one button a provider.
pub(super) fn sign_in(app: &App, return_to: Option<&str>) -> Response {
    let name_and_title = |provider: &Provider| {
        let settings = provider.settings();
        (settings.name.clone(), settings.title.clone())
    };
    let providers: Vec<_> = app.rooms.login.providers().map(name_and_title).collect();
    html(
        StatusCode::OK,
        &pages::sign_in(&pages::SignIn { providers: &providers, return_to, notice: app.notice }),
    )
}

/// The response, with the browser's session cookie taken away.
pub(super) fn forgetting(app: &App, mut response: Response) -> Response {
    response.headers_mut().append(SET_COOKIE, app.cookies.forget_session());
    response
}
