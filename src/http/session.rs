//! The caller's own session: who am I, sign out, and the sign-in page for whoever has none.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{AUTHORIZATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;

use crate::guests::{GuestError, Held, LeaseSecret};
use crate::mint::Decided;
use crate::oidc::Provider;
use crate::sessions::{SessionCookie, SessionError};

use super::problem::{Code, Problem, html, html_under};
use super::token::{self, Proof, json};
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
    since: String,
    until: String,
    /// Of a member.
    #[serde(flatten)]
    member: Option<Member<'a>>,
}

#[derive(Serialize)]
struct Member<'a> {
    friendly_name: Option<&'a str>,
    provider: &'a str,
}

/// Who is signed in here, or which guest is lent. Looking is not using: neither the session's idle time nor the lease begins anew.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let cookie = match token::proof(&app, &headers)? {
        Proof::Session(cookie) => cookie,
        Proof::Guest(secret) => return show_guest(&app, &secret).await,
        Proof::Bearer(_) => return Err(Problem::new(Code::InvalidToken, "bearer")),
    };
    let live = app.rooms.sessions.look_at(&cookie.key()).await?;
    let decided = Decided::read(&live.with.1);
    Ok(json(&Reply {
        identity: live.session.identity.as_str(),
        kind: "member",
        since: live.session.since.to_string(),
        until: live.until.to_string(),
        member: Some(Member {
            friendly_name: decided.as_ref().and_then(|decided| decided.friendly_name.as_deref()),
            provider: live.session.provider.as_str(),
        }),
    }))
}

async fn show_guest(app: &App, secret: &LeaseSecret) -> Result<Response, Problem> {
    let guests = app.rooms.mint.guests().map_err(|_| GuestError::Ended)?;
    let Held { identity, lease, .. } = guests.look_at(secret).await?;
    Ok(json(&Reply {
        identity: identity.as_str(),
        kind: "guest",
        since: lease.since.to_string(),
        until: lease.ends.to_string(),
        member: None,
    }))
}

/// `GET /`: the sign-in page, or for somebody who is signed in, who that is.
pub(super) async fn home(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let cookie = match app.cookies.session(&headers) {
        Ok(None) => return guest_home(&app, &headers).await,
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

/// Which guest is lent to whoever is not signed in, or the sign-in page.
async fn guest_home(app: &App, headers: &HeaderMap) -> Result<Response, Problem> {
    let (Ok(guests), Ok(Some(secret))) = (app.rooms.mint.guests(), app.cookies.guest(headers))
    else {
        return Ok(sign_in(app, None));
    };
    match guests.look_at(&secret).await {
        Ok(held) => {
            let page = pages::guest(&pages::Guest {
                identity: &held.identity,
                until: held.lease.ends,
                notice: app.notice,
            });
            Ok(html(StatusCode::OK, &page))
        }
        Err(GuestError::Ended) => Ok(sign_in(app, None)),
        Err(error) => Err(error.into()),
    }
}

/// The sign-in page: one button a provider, and one for guests if there is a pool.
pub(super) fn sign_in(app: &App, return_to: Option<&str>) -> Response {
    let name_and_title = |provider: &Provider| {
        let settings = provider.settings();
        (settings.name.clone(), settings.title.clone())
    };
    let providers: Vec<_> = app.rooms.login.providers().map(name_and_title).collect();
    let guests = app.rooms.mint.guests().ok();
    let page = pages::sign_in(&pages::SignIn {
        providers: &providers,
        // Who needs a ticket has it from the platform's own page.
        guests: guests.is_some_and(|guests| guests.settings().tickets.is_none()),
        return_to,
        notice: app.notice,
    });
    html_under(app.sign_in_policy.clone(), StatusCode::OK, &page)
}

/// The response, with the browser's session cookie taken away.
pub(super) fn forgetting(app: &App, mut response: Response) -> Response {
    response.headers_mut().append(SET_COOKIE, app.cookies.forget_session());
    response
}
