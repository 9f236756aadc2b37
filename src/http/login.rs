//! `GET /login`, `GET /login/{provider}`, `GET /callback/{provider}`: a browser on its way to a provider and back.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, RawQuery, State};
use axum::http::header::{LOCATION, REFERRER_POLICY, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;

use crate::ids::ProviderName;
use crate::login::{BeginError, Begun, FinishError, NotOurs, RawAnswer};
use crate::mint::SignedIn;
use crate::store::Store;
use crate::telemetry::AUDIT;

use super::problem::{Code, Problem};
use super::query::Query;
use super::{App, forwarded, pages, return_to, session, user_agent};

/// `GET /login`: straight to the only provider, or to the page that asks which.
pub(super) async fn choose(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut providers = app.rooms.login.providers();
    if let (Some(only), None) = (providers.next(), providers.next()) {
        let name = only.settings().name.clone();
        return send_away(&app, &name, peer, query.as_deref(), &headers).await;
    }
    let query = Query::read(query.as_deref(), &["return_to"])?;
    let checked =
        query.get("return_to").map(|raw| return_to::check(raw, &app.origins)).transpose()?;
    Ok(session::sign_in(&app, checked.as_ref().map(url::Url::as_str)))
}

/// `GET /login/{provider}`: to that provider.
pub(super) async fn begin(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    send_away(&app, &name(&uri)?, peer, query.as_deref(), &headers).await
}

async fn send_away(
    app: &App,
    provider: &ProviderName,
    peer: SocketAddr,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let query = Query::read(query, &["return_to"])?;
    let return_to = return_to::check(query.get("return_to").unwrap_or("/"), &app.origins)?;
    let client = forwarded::client(peer, headers, &app.trusted_proxies);
    let known = app.cookies.login(headers);
    let again = pages::login_path(provider, Some(return_to.as_str()));
    let begun = app.rooms.login.begin(provider, client, known, return_to.into()).await;
    let Begun { location, binding } =
        begun.map_err(|error| Problem::from(error).again_at(again))?;
    let mut response = see_other(location.as_str())?;
    let cookie = app.cookies.set_login(&binding, Store::LOGIN_PATIENCE.as_secs());
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(response)
}

/// `GET /callback/{provider}`: back with an answer; a new session, whatever there was before.
pub(super) async fn finish(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let provider = name(&uri)?;
    let query = Query::read(query.as_deref(), &["code", "state", "iss", "error"])?;
    let value = |name| query.get(name).map(str::to_owned);
    let proven = app
        .rooms
        .login
        .finish(RawAnswer {
            provider: provider.clone(),
            binding: app.cookies.login(&headers),
            state: value("state").ok_or(Problem::new(Code::InvalidRequest, "no state"))?,
            iss: value("iss"),
            code: value("code").map(SecretString::from),
            error: value("error"),
        })
        .await
        .map_err(|error| begin_again(error, &provider))?;
    // This login is over: whatever fails from here on, only another one leads where it wanted to go.
    let over =
        |problem: Problem| problem.again_at(pages::login_path(&provider, Some(&proven.return_to)));
    let signed_in = app.rooms.mint.sign_in(&proven, &user_agent::label(&headers)).await;
    let SignedIn { subject, cookie, live } = signed_in.map_err(|error| over(error.into()))?;
    let client = app.log_pii.then(|| forwarded::client(peer, &headers, &app.trusted_proxies));
    tracing::info!(
        target: AUDIT,
        event = "login",
        identity = live.session.identity.as_str(),
        issuer = subject.issuer(),
        subject = subject.value(),
        provider = live.session.provider.as_str(),
        session_ends = %live.session.ends,
        client = client.map(tracing::field::display),
        "signed in"
    );
    let mut response = see_other(&proven.return_to)?;
    // A visitor who signs in is a guest no more. One whose lease is over by now has nothing to bring along.
    if let Ok(Some(secret)) = app.cookies.guest(&headers) {
        let handed_over = app.rooms.mint.hand_over(&secret, &live.session.identity).await;
        handed_over.map_err(|error| over(error.into()))?;
        response.headers_mut().append(SET_COOKIE, app.cookies.forget_guest());
    }
    // The browser holds one session; the one that it had could not be ended by anybody any more. Last, so that whoever does not get the
    // new one has that still.
    if let Ok(Some(former)) = app.cookies.session(&headers) {
        let _gone_or_ends_by_itself = app.rooms.sessions.end(&former.key()).await;
    }
    let seconds = live.now.until(live.session.ends).as_secs();
    response.headers_mut().append(SET_COOKIE, app.cookies.set_session(&cookie, seconds));
    Ok(response)
}

/// What is said of a login that did not end, with a way to begin another that leads to the same place.
fn begin_again(error: FinishError, provider: &ProviderName) -> Problem {
    let return_to = match &error {
        FinishError::UnknownProvider => return error.into(),
        FinishError::Provider { return_to, .. }
        | FinishError::NotOurs(NotOurs::OtherCookie { return_to }) => Some(return_to.clone()),
        FinishError::NotOurs(_) | FinishError::Store(_) => None,
    };
    let again = pages::login_path(provider, return_to.as_deref());
    Problem::from(error).again_at(again)
}

/// The provider that a path names last, as it is spelled there: a name needs no percent-encoding.
pub(super) fn name(uri: &Uri) -> Result<ProviderName, Problem> {
    let last = uri.path().rsplit('/').next().unwrap_or_default();
    ProviderName::parse(last).ok_or(Problem::new(Code::NotFound, "no such provider"))
}

/// 303, so that a browser comes with GET whatever it came here with.
pub(super) fn see_other(location: &str) -> Result<Response, Problem> {
    let location = HeaderValue::try_from(location)
        .map_err(|_| Problem::new(Code::InvalidRequest, "location"))?;
    let headers =
        [(LOCATION, location), (REFERRER_POLICY, HeaderValue::from_static("no-referrer"))];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

impl From<BeginError> for Problem {
    fn from(error: BeginError) -> Self {
        match error {
            BeginError::UnknownProvider => Self::new(Code::NotFound, "no such provider"),
            BeginError::Limit(error) => error.into(),
            BeginError::Provider(error) => error.into(),
            BeginError::Store(error) => error.into(),
        }
    }
}

impl From<FinishError> for Problem {
    fn from(error: FinishError) -> Self {
        match error {
            FinishError::UnknownProvider => Self::new(Code::NotFound, "no such provider"),
            FinishError::NotOurs(error) => error.into(),
            FinishError::Provider { source, .. } => source.into(),
            FinishError::Store(error) => error.into(),
        }
    }
}

impl From<NotOurs> for Problem {
    fn from(error: NotOurs) -> Self {
        let of = |cause| Self::new(Code::InvalidRequest, cause);
        match &error {
            // Anybody can send these two, as often as they like: they get no line in the log.
            NotOurs::NoCookie => of("no login cookie"),
            NotOurs::Unknown => of("unknown or too old"),
            NotOurs::OtherCookie { .. } => of("another browser").referring(error),
            NotOurs::OtherProvider => of("another provider").referring(error),
            NotOurs::Answered => of("already answered").referring(error),
        }
    }
}
