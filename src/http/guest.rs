//! `POST /guest`, `DELETE /guest`: a guest of the pool for a visitor, and back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{CONTENT_TYPE, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use crate::guests::{GuestError, LeaseSecret, Visitor};
use crate::limits::LimitError;
use crate::mint::Lent;
use crate::oidc::OidcError;
use crate::telemetry::AUDIT;

use super::login::see_other;
use super::problem::{Code, Problem, Words};
use super::query::Query;
use super::token::{Proof, bearer, reply};
use super::{App, form, forwarded, return_to};

/// The largest body that is read, in bytes: a ticket is a JWT of a few claims.
const LARGEST_BODY: usize = 16 * 1024;

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is said of a lease that is over, or never was, in place of `session_expired`'s "Sign in again."
pub(super) const LEASE_OVER: Words = Words {
    title: "Your time as this guest is over",
    advice: "Ask for another guest, or sign in.",
};

/// What is said to a program that would get a cookie, and is on no page.
const COOKIE_ORIGINS: Words = Words {
    title: "A guest in a cookie is for pages of allowed origins",
    advice: "Send an Origin header of one; or, from a program, {\"cookie\": false} as JSON, which is answered with a lease secret.",
};

/// What a program asks for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// Whether the secret comes as a cookie, or in the body.
    #[serde(default = "yes")]
    cookie: bool,
    /// The platform's word that the visitor may be a guest.
    #[serde(default, deserialize_with = "secret")]
    ticket: Option<SecretString>,
}

fn secret<'de, D: Deserializer<'de>>(input: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(input)?.map(SecretString::from))
}

fn yes() -> bool {
    true
}

/// What is asked for.
enum Asked {
    /// By a program.
    Json(Wish),
    /// By the button of our page: where the browser goes then.
    Form { return_to: String },
}

/// `POST /guest`: the visitor's own guest again, or another one.
pub(super) async fn lend(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response, Problem> {
    app.rooms.mint.guests()?;
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    if app.cookies.any(headers) {
        app.origins.demand(headers)?;
    }
    let proof = lease_secret(headers)?;
    let asked = read(&app, headers, body).await?;
    let by_bearer = proof.is_some();
    // No browser sends both. The cookie would be of the lease that the secret proves, which a page has no business to plant.
    if by_bearer && matches!(asked, Asked::Form { .. }) {
        return Err(Problem::new(Code::InvalidRequest, "form with a bearer"));
    }
    let former = if proof.is_some() {
        proof
    } else {
        refuse_members(&app, headers).await?;
        // One that we never wrote is no reason to turn a visitor away. A cookie's secret is told to no page, so that who wants one in the
        // body gets another guest's.
        let wanted = !matches!(&asked, Asked::Json(Wish { cookie: false, .. }));
        app.cookies.guest(headers).unwrap_or_default().filter(|_| wanted)
    };
    let (cookie, raw_ticket) = match &asked {
        Asked::Json(wish) => (wish.cookie && !by_bearer, wish.ticket.clone()),
        Asked::Form { .. } => (true, None),
    };
    if cookie {
        app.origins.demand(headers).map_err(|problem| problem.saying(&COOKIE_ORIGINS))?;
    }
    let address = forwarded::client(peer, headers, &app.trusted_proxies);
    let Lent { minted, secret, kept, ends, latest } =
        app.rooms.mint.lend(&Visitor { former, raw_ticket, address }).await?;
    let mut response = match &asked {
        Asked::Form { return_to } => see_other(return_to)?,
        Asked::Json(_) => {
            let mut response = reply(&minted, Some(ends), (!cookie).then_some(&secret));
            if !kept {
                *response.status_mut() = StatusCode::CREATED;
            }
            response
        }
    };
    if cookie {
        let header = app.cookies.set_guest(&secret, latest.as_secs());
        response.headers_mut().append(SET_COOKIE, header);
    }
    Ok(response)
}

/// `DELETE /guest`: the lease ends, and the guest is taken out of everything.
pub(super) async fn give_back(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let guests = app.rooms.mint.guests()?;
    if app.cookies.any(&headers) {
        app.origins.demand(&headers)?;
    }
    let proof = lease_secret(&headers)?;
    let by_cookie = proof.is_none();
    let secret = match proof {
        Some(secret) => secret,
        None => {
            app.cookies.guest(&headers)?.ok_or(Problem::new(Code::LoginRequired, "no proof"))?
        }
    };
    if let Some(identity) = guests.give_back(&secret).await? {
        tracing::info!(
            target: AUDIT,
            event = "guest_given_back",
            identity = identity.as_str(),
            "a visitor gave its guest back"
        );
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    if by_cookie {
        response.headers_mut().append(SET_COOKIE, app.cookies.forget_guest());
    }
    Ok(response)
}

/// The lease secret that a request brings in `Authorization`; `None` without one.
///
/// # Errors
///
/// As [`bearer`]; `invalid_token` for another token, `session_expired` for a secret that we never wrote.
fn lease_secret(headers: &HeaderMap) -> Result<Option<LeaseSecret>, Problem> {
    match bearer(headers)? {
        None => Ok(None),
        Some(Proof::Guest(secret)) => Ok(Some(secret)),
        Some(_) => Err(Problem::new(Code::InvalidToken, "no lease secret")),
    }
}

/// Whoever is a member here is no guest besides, and whose session has ended signs in again (contract §3.5).
async fn refuse_members(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(cookie) = app.cookies.session(headers)? else { return Ok(()) };
    match app.rooms.sessions.look_at(&cookie.key()).await {
        Ok(_) => Err(Problem::new(Code::InvalidRequest, "signed in").saying(&Words {
            title: "You are signed in",
            advice: "Sign out first, to go on as a guest.",
        })),
        Err(error) => Err(error.into()),
    }
}

/// Reads what is asked for; nothing at all asks for a guest with a cookie.
async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<Asked, Problem> {
    let of = |cause| Problem::new(Code::InvalidRequest, cause);
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    if media_type.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        let body = form::read(headers, body, LARGEST_BODY).await?;
        let text = std::str::from_utf8(&body).map_err(|_| of("form"))?;
        let form = Query::read(Some(text), &["return_to"])?;
        let url = return_to::check(form.get("return_to").unwrap_or("/"), &app.origins)?;
        return Ok(Asked::Form { return_to: url.into() });
    }
    let body = tokio::time::timeout(PATIENCE, to_bytes(body, LARGEST_BODY)).await;
    let body = body.map_err(|_| of("body too slow"))?.map_err(|_| of("body unreadable"))?;
    if body.is_empty() {
        return Ok(Asked::Json(Wish { cookie: true, ticket: None }));
    }
    if !media_type.trim().eq_ignore_ascii_case("application/json") {
        return Err(of("media type"));
    }
    // A list would be read as the members in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(of("body"));
    }
    serde_json::from_slice(&body).map(Asked::Json).map_err(|_| of("body"))
}

impl From<GuestError> for Problem {
    fn from(error: GuestError) -> Self {
        match error {
            GuestError::NoPool => Self::new(Code::NotFound, "no guests"),
            GuestError::Ended => Self::new(Code::SessionExpired, "lease over").saying(&LEASE_OVER),
            GuestError::Limited { after } => Self::new(Code::RateLimited, "lease").after(after),
            GuestError::NoTicket => Self::new(Code::TicketRequired, "no ticket"),
            // Anybody can send one: the metric has the check, the log nothing.
            GuestError::BadTicket(OidcError::Untrusted { check, .. }) => {
                Self::new(Code::TicketRequired, check)
            }
            GuestError::BadTicket(_) => Self::new(Code::TicketRequired, "bad ticket"),
            GuestError::SpentTicket => Self::new(Code::TicketRequired, "ticket spent"),
            GuestError::Exhausted { after } => {
                Self::new(Code::PoolExhausted, "no guest free").after(after)
            }
            GuestError::BudgetReached { after } => {
                Self::new(Code::GuestBudgetReached, "month's budget").after(after)
            }
            GuestError::Limit(error @ LimitError::Reached { .. }) => {
                Self::from(error).saying(&Words {
                    title: "Too many guests come from your network",
                    advice: "Try again in a while, or sign in.",
                })
            }
            GuestError::Limit(error) => error.into(),
            GuestError::Store(error) => error.into(),
        }
    }
}
