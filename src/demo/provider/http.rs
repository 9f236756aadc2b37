use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use maud::{Markup, html};
use serde_json::json;
use url::Url;

use super::people::PEOPLE;
use super::{AuthorizeError, Parameters, Provider, TokenError};
use crate::demo::page::document;

/// The provider's endpoints, to be nested under its issuer's path. Its pages want the stylesheet of the demo's listener.
pub(in crate::demo) fn routes(provider: Provider) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(metadata))
        .route("/jwks", get(keys))
        .route("/authorize", get(authorize).post(sign_in))
        .route("/token", post(token))
        .route("/revoke", post(revoke))
        .route("/end_session", get(sign_out).post(sign_out_by_form))
        .route("/userinfo", get(userinfo).post(userinfo))
        .layer(DefaultBodyLimit::max(16 * 1024))
        .with_state(Arc::new(provider))
}

async fn metadata(State(provider): State<Arc<Provider>>) -> Response {
    Json(provider.metadata()).into_response()
}

async fn keys(State(provider): State<Arc<Provider>>) -> Response {
    Json(&provider.key.public).into_response()
}

/// Asks who signs in.
async fn authorize(State(provider): State<Arc<Provider>>, RawQuery(query): RawQuery) -> Response {
    match provider.authorize(&Parameters::parse(&query.unwrap_or_default())) {
        Ok(_) => page(StatusCode::OK, &provider, &who_signs_in()),
        Err(error) => refuse(&provider, error),
    }
}

/// Takes the answer, which is sent to the same URL: the request is in its query and is checked again.
async fn sign_in(
    State(provider): State<Arc<Provider>>,
    RawQuery(query): RawQuery,
    body: String,
) -> Response {
    let request = match provider.authorize(&Parameters::parse(&query.unwrap_or_default())) {
        Ok(request) => request,
        Err(error) => return refuse(&provider, error),
    };
    let form = Parameters::parse(&body);
    match form.need("login").ok().and_then(|login| provider.sign_in(request, login, now())) {
        Some(location) => see_other(&location),
        None => page(StatusCode::BAD_REQUEST, &provider, &who_signs_in()),
    }
}

async fn token(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let answer = provider.redeem(authorization(&headers), &Parameters::parse(&body), now());
    match answer {
        Ok(body) => ([(CACHE_CONTROL, "no-store")], Json(body)).into_response(),
        Err(error) => refuse_client(error),
    }
}

async fn revoke(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    body: String,
) -> Response {
    match provider.revoke(authorization(&headers), &Parameters::parse(&body)) {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => refuse_client(error),
    }
}

async fn sign_out(State(provider): State<Arc<Provider>>, RawQuery(query): RawQuery) -> Response {
    say_goodbye(&provider, &Parameters::parse(&query.unwrap_or_default()))
}

async fn sign_out_by_form(State(provider): State<Arc<Provider>>, body: String) -> Response {
    say_goodbye(&provider, &Parameters::parse(&body))
}

fn say_goodbye(provider: &Provider, parameters: &Parameters) -> Response {
    let back = match provider.end_session(parameters) {
        Ok(back) => back,
        Err(what) => return refuse(provider, AuthorizeError::Untrusted(what)),
    };
    let body = html! {
        p.eyebrow { "Demo provider" }
        h1 { "You have signed out" }
        p { "The demo provider remembers nobody: whoever signs in next is asked who they are." }
        @if let Some(back) = back {
            a.button.first href=(back) { "Continue" }
        }
    };
    page(StatusCode::OK, provider, &body)
}

/// An error of RFC 6749 §5.2.
fn refuse_client(error: TokenError) -> Response {
    let (status, code) = match error {
        TokenError::InvalidClient => (StatusCode::UNAUTHORIZED, "invalid_client"),
        TokenError::InvalidRequest(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
        TokenError::InvalidGrant(_) => (StatusCode::BAD_REQUEST, "invalid_grant"),
        TokenError::UnsupportedGrantType => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
        TokenError::Server => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
    };
    let body = Json(json!({ "error": code, "error_description": error.to_string() }));
    let mut response = (status, [(CACHE_CONTROL, "no-store")], body).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"demo provider\""));
    }
    response
}

async fn userinfo(State(provider): State<Arc<Provider>>, headers: HeaderMap) -> Response {
    match authorization(&headers).and_then(|authorization| provider.userinfo(authorization, now()))
    {
        Some(claims) => ([(CACHE_CONTROL, "no-store")], Json(claims)).into_response(),
        // RFC 6750 §3
        None => (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")])
            .into_response(),
    }
}

fn refuse(provider: &Provider, error: AuthorizeError) -> Response {
    match error {
        AuthorizeError::Refused { location } => see_other(&location),
        AuthorizeError::Untrusted(what) => {
            let body = html! {
                h1 { "This request is not followed" }
                p { "The " code { (what) } " of the request is not the registered one, so nothing is sent there." }
            };
            page(StatusCode::BAD_REQUEST, provider, &body)
        }
    }
}

fn see_other(location: &Url) -> Response {
    let headers = [(LOCATION, location.as_str()), (CACHE_CONTROL, "no-store")];
    (StatusCode::SEE_OTHER, headers).into_response()
}

fn page(status: StatusCode, provider: &Provider, body: &Markup) -> Response {
    // Browsers hold a form's whole way to this policy, redirects too: it leads to the client, and from there to the app, which
    // is at our own origin.
    let client = provider.client.redirect_uri.origin().ascii_serialization();
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src data:; form-action 'self' {client}; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    let headers = [(CONTENT_SECURITY_POLICY, policy.as_str()), (CACHE_CONTROL, "no-store")];
    let markup = document("Demo provider", &html! { main.narrow { div.card { (body) } } });
    (status, headers, markup).into_response()
}

fn who_signs_in() -> Markup {
    html! {
        p.eyebrow { "Demo provider" }
        h1 { "Who signs in?" }
        p { "This stands for your organisation's sign-in page. Its people are made up and need no password." }
        form method="post" {
            @for person in &PEOPLE {
                button.button type="submit" name="login" value=(person.login) {
                    strong { (person.name) }
                    span {
                        @if person.email_verified { "Member of " (person.groups.join(", ")) }
                        @else { "E-mail not verified: is refused" }
                    }
                }
            }
        }
    }
}

fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()
}

/// Since 1970, by this machine's clock.
#[expect(
    clippy::disallowed_methods,
    reason = "a provider is another party, with a clock of its own"
)]
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
