//! The provider's endpoints over HTTP.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;
use serde_json::{Value, json};

use super::{Provider, Twist};

/// A whole answer, as an endpoint gives it that does not know its protocol.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
    pub location: Option<String>,
}

impl Reply {
    /// An answer of this status, media type and body.
    pub fn new(status: u16, content_type: &'static str, body: impl Into<String>) -> Self {
        Self { status, content_type, body: body.into(), location: None }
    }

    /// A redirect.
    pub fn redirect(status: u16, location: impl Into<String>) -> Self {
        Self { location: Some(location.into()), ..Self::new(status, "", "") }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = Response::builder().status(self.status);
        if !self.content_type.is_empty() {
            response = response.header(CONTENT_TYPE, self.content_type);
        }
        if let Some(location) = self.location {
            response = response.header(LOCATION, location);
        }
        response.body(self.body.into()).unwrap()
    }
}

pub(super) fn router(provider: Arc<Provider>) -> Router {
    let path = provider.path.trim_end_matches('/').replace("{tenantid}", "organizations");
    let discovery = format!("{path}/.well-known/openid-configuration");
    let oauth_metadata_path = format!("/.well-known/oauth-authorization-server{path}");
    Router::new()
        .route(&discovery, get(metadata))
        .route(&oauth_metadata_path, get(oauth_metadata))
        .route("/keys", get(keys))
        .route("/authorize", get(authorize))
        .route("/par", post(par))
        .route("/token", post(token))
        .route("/userinfo", get(userinfo))
        .route("/introspect", post(introspect))
        .route("/revoke", post(revoke))
        .route("/end_session", get(end_session).post(end_session))
        .layer(middleware::from_fn_with_state(provider.clone(), count_and_twist))
        .fallback(elsewhere)
        .with_state(provider)
}

/// Counts the request, and answers in the endpoint's place where it is told to.
async fn count_and_twist(
    State(provider): State<Arc<Provider>>,
    request: Request,
    next: Next,
) -> Response {
    let endpoint = match request.uri().path() {
        "/keys" => "keys",
        "/authorize" => "authorize",
        "/par" => "par",
        "/token" => "token",
        "/userinfo" => "userinfo",
        "/introspect" => "introspection",
        "/revoke" => "revocation",
        "/end_session" => "end_session",
        path if path.starts_with("/.well-known/oauth") => "oauth_metadata",
        _ => "discovery",
    };
    let twist = {
        let mut state = provider.state();
        state.count(endpoint);
        let here = |twist: &&Twist| matches!(twist, Twist::Answer(place, _) | Twist::Drip(place) if *place == endpoint);
        state.twists.iter().find(here).cloned()
    };
    match twist {
        Some(Twist::Answer(_, reply)) => reply.into_response(),
        Some(_) => {
            let bytes = stream::unfold((), async |()| {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
            });
            ([(CONTENT_TYPE, "application/json")], Body::from_stream(bytes)).into_response()
        }
        None => next.run(request).await,
    }
}

async fn elsewhere(State(provider): State<Arc<Provider>>) -> StatusCode {
    provider.state().count("elsewhere");
    StatusCode::NOT_FOUND
}

async fn metadata(State(provider): State<Arc<Provider>>) -> Response {
    json_reply(200, &provider.metadata())
}

async fn oauth_metadata(State(provider): State<Arc<Provider>>) -> Response {
    match provider.oauth_metadata() {
        Some(metadata) => json_reply(200, &metadata),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn keys(State(provider): State<Arc<Provider>>) -> Response {
    json_reply(200, &provider.keys())
}

async fn authorize(State(provider): State<Arc<Provider>>, request: Request) -> Response {
    match provider.authorize(&parameters(request.uri().query().unwrap_or_default().as_bytes())) {
        Ok(location) => Reply::redirect(303, location).into_response(),
        Err(parameter) => Reply::new(400, "text/plain", parameter).into_response(),
    }
}

async fn par(State(provider): State<Arc<Provider>>, headers: HeaderMap, body: Bytes) -> Response {
    match provider.push(parameters(&body), authorization(&headers)) {
        Ok(request_uri) => {
            json_reply(201, &json!({ "request_uri": request_uri, "expires_in": 60 }))
        }
        Err(error) => json_reply(401, &json!({ "error": error })),
    }
}

/// HTML for whoever does not ask for JSON, as some do.
async fn token(State(provider): State<Arc<Provider>>, headers: HeaderMap, body: Bytes) -> Response {
    let delay = provider.state().token_delay;
    let answer = redeem(&provider, &headers, &body);
    tokio::time::sleep(delay).await;
    answer
}

fn redeem(provider: &Provider, headers: &HeaderMap, body: &[u8]) -> Response {
    if headers.get("accept").is_none_or(|accept| accept != "application/json") {
        return Reply::new(200, "text/html", "<p>Tokens</p>").into_response();
    }
    match provider.redeem(&parameters(body), authorization(headers)) {
        Ok(tokens) => json_reply(200, &tokens),
        Err(error) => json_reply(
            if error == "invalid_client" { 401 } else { 400 },
            &json!({ "error": error }),
        ),
    }
}

async fn userinfo(State(provider): State<Arc<Provider>>, headers: HeaderMap) -> Response {
    match provider.userinfo(authorization(&headers)) {
        Some(Ok(claims)) => json_reply(200, &claims),
        Some(Err(jwt)) => Reply::new(200, "application/jwt", jwt).into_response(),
        None => json_reply(401, &json!({ "error": "invalid_token" })),
    }
}

/// The revoked token, or whatever was taken for one, gets no body (RFC 7009 §2.2).
async fn revoke(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match provider.revoke(&parameters(&body), authorization(&headers)) {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => json_reply(400, &json!({ "error": error })),
    }
}

async fn end_session(State(provider): State<Arc<Provider>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let mut given = parameters(head.uri.query().unwrap_or_default().as_bytes());
    let body = axum::body::to_bytes(body, 64 * 1024).await.unwrap();
    given.extend(parameters(&body));
    match provider.end_session(head.method.as_str(), given) {
        Some(back) => Reply::redirect(303, back).into_response(),
        None => Reply::new(200, "text/html", "<p>You have signed out</p>").into_response(),
    }
}

async fn introspect(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let authorization = authorization(&headers).map(str::to_owned);
    match provider.introspect(parameters(&body), authorization).await {
        Ok(answer) => json_reply(200, &answer),
        Err(error) => json_reply(401, &json!({ "error": error })),
    }
}

fn json_reply(status: u16, body: &Value) -> Response {
    Reply::new(status, "application/json;charset=utf-8", body.to_string()).into_response()
}

fn parameters(text: &[u8]) -> HashMap<String, String> {
    url::form_urlencoded::parse(text).into_owned().collect()
}

fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()
}
