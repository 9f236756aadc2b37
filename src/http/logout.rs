//! `POST /logout` and what follows at the provider, and what a provider says of logouts there.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded;

use crate::ids::{Identity, ProviderName, Secret256};
use crate::oidc::Provider;
use crate::sessions::{Farewell, SessionError};
use crate::telemetry::AUDIT;

use super::login::name;
use super::problem::{Code, Problem, html, html_under};
use super::query::Query;
use super::session::{forgetting, proof};
use super::{App, form, forwarded, gate, pages};

/// The largest form that is read, in bytes: a logout token has a few claims.
const LARGEST_FORM: usize = 64 * 1024;

/// `POST /logout`: ends the session here and makes the browser forget it. A person's browser goes on to the provider, where that can
/// sign them out too. A session that was over is forgotten as well, be it that a program is told so: as long as the browser brings it,
/// it can be nobody else here.
pub(super) async fn log_out(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if app.cookies.any(&headers) {
        app.origins.demand(&headers)?;
    }
    let key = match proof(&app, &headers) {
        Ok(cookie) => cookie.key(),
        Err(problem) if problem.code == Code::SessionExpired => {
            return Ok(forgetting(&app, problem.into_response()));
        }
        Err(problem) => return Err(problem),
    };
    let html_wanted = gate::wants_html(&headers);
    let done = match app.rooms.sessions.look_at(&key).await {
        Ok(live) => {
            let farewell = match app.rooms.sessions.sign_out(&key).await {
                Err(SessionError::Ended) => None,
                ended => ended?,
            };
            let provider = &live.session.provider;
            tracing::info!(
                target: AUDIT,
                event = "logout",
                by = "person",
                identity = live.session.identity.as_str(),
                provider = provider.as_str(),
                "signed out"
            );
            // The page holds the ID token: it is for a browser that goes there, not for a script that fetches it.
            let goes_there = html_wanted && is_navigation(&headers);
            goes_there.then(|| leave(&app, provider, farewell.as_ref())).flatten()
        }
        // Over by the configuration of now, perhaps, and not by the store. A person who wants out and is out already has what they want.
        Err(error @ SessionError::Ended) => {
            let _over_anyway = app.rooms.sessions.end(&key).await;
            if !html_wanted {
                return Ok(forgetting(&app, Problem::from(error).into_response()));
            }
            None
        }
        Err(error) => return Err(error.into()),
    };
    let done = done.unwrap_or_else(|| {
        if html_wanted {
            html(StatusCode::OK, &pages::signed_out(false, app.notice))
        } else {
            StatusCode::NO_CONTENT.into_response()
        }
    });
    Ok(forgetting(&app, done))
}

/// Whether a browser will show the answer as its page, so far as it says (Fetch Metadata §2.2).
fn is_navigation(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-mode").is_none_or(|mode| mode == "navigate")
}

/// The page that signs the browser out at the provider; `None` when that has no way to.
fn leave(app: &App, name: &ProviderName, farewell: Option<&Farewell>) -> Option<Response> {
    let provider = app.rooms.login.providers().find(|it| it.settings().name == *name)?;
    let endpoint = provider.end_session_endpoint()?;
    let mut done = app.origins.own().clone();
    done.set_path("/logout/done");
    // Contract §5: whatever comes back is good, so that nothing has to be remembered.
    let state = Secret256::random().reveal();
    let mut parameters = vec![
        ("client_id", provider.settings().client_id.as_str()),
        ("post_logout_redirect_uri", done.as_str()),
        ("state", &state),
    ];
    if let Some(Farewell { tokens }) = farewell {
        #[expect(
            clippy::disallowed_methods,
            reason = "its issuer gets it back, as a hint of whom to sign out"
        )]
        parameters.push(("id_token_hint", tokens.id_token().expose_secret()));
    }
    let page = pages::leaving(&pages::Leaving {
        provider_title: &provider.settings().title,
        end_session_endpoint: endpoint.as_str(),
        parameters: &parameters,
        notice: app.notice,
    });
    let policy = HeaderValue::try_from(pages::policy_of_leaving()).ok()?;
    Some(html_under(policy, StatusCode::OK, &page))
}

/// `GET /logout/done`: where the provider sends the browser back to, with a `state` or without.
pub(super) async fn done(State(app): State<Arc<App>>) -> Response {
    html(StatusCode::OK, &pages::signed_out(true, app.notice))
}

/// `POST /logout/backchannel/{provider}`: a logout token (OpenID Connect Back-Channel Logout 1.0 §2.5).
pub(super) async fn back_channel(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Problem> {
    let provider = name(request.uri())?;
    let raw_token = logout_token(request).await?;
    let meant = app.rooms.sessions.hear(provider.clone(), raw_token).await?;
    audit("back-channel", &provider, &meant);
    Ok(StatusCode::OK.into_response())
}

/// The form's one parameter that counts.
async fn logout_token(request: Request) -> Result<SecretString, Problem> {
    let of = |cause| Problem::new(Code::InvalidRequest, cause);
    let (head, body) = request.into_parts();
    let body = form::read(&head.headers, body, LARGEST_FORM).await?;
    let mut tokens = form_urlencoded::parse(&body).filter(|(name, _)| name == "logout_token");
    match (tokens.next(), tokens.next()) {
        (Some((_, token)), None) => Ok(token.into_owned().into()),
        (None, _) => Err(of("no logout_token")),
        _ => Err(of("doubled parameter")),
    }
}

/// `GET /logout/frontchannel/{provider}`: a frame in the provider's page says which session there has ended (OpenID Connect
/// Front-Channel Logout 1.0 §2). It needs no cookie, for browsers send none from there: whoever knows a `sid` can sign its owner out.
pub(super) async fn front_channel(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let provider = name(&uri)?;
    let query = Query::read(query.as_deref(), &["iss", "sid"])?;
    let found = app.rooms.login.providers().find(|it| it.settings().name == provider);
    let found = found.ok_or(Problem::new(Code::NotFound, "no such provider"))?;
    let (Some(issuer), Some(sid)) =
        (query.get("iss"), query.get("sid").filter(|it| !it.is_empty()))
    else {
        return Err(Problem::new(Code::InvalidRequest, "no iss or sid"));
    };
    if !found.accepts_issuer(issuer) {
        return Err(Problem::new(Code::InvalidRequest, "iss"));
    }
    // Anybody may come here, and each leaves something in the store.
    let client = forwarded::client(peer, &headers, &app.trusted_proxies);
    app.rooms.login.count(client).await?;
    let meant = app.rooms.sessions.hear_frame(&provider, issuer, sid).await?;
    audit("front-channel", &provider, &meant);
    Ok(framed(found, &app))
}

fn framed(provider: &Provider, app: &App) -> Response {
    let origin = url::Url::parse(&provider.settings().issuer)
        .map_or_else(|_| "'none'".to_owned(), |issuer| issuer.origin().ascii_serialization());
    let page = pages::signed_out(true, app.notice);
    match HeaderValue::try_from(pages::policy_framed_by(&origin)) {
        Ok(policy) => html_under(policy, StatusCode::OK, &page),
        Err(_) => html(StatusCode::OK, &page),
    }
}

/// A line for whoever is meant; none for a session that nobody has here.
fn audit(by: &'static str, provider: &ProviderName, meant: &[Identity]) {
    for identity in meant {
        tracing::info!(
            target: AUDIT,
            event = "logout",
            by,
            identity = identity.as_str(),
            provider = provider.as_str(),
            "signed out at the provider"
        );
    }
}
