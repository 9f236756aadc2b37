//! What every request passes on its way in, and every response on its way out.
//!
//! Owns the checks, headers, measurements and log lines that all routes share: one layer instead of a stack of ready ones, which
//! on the token route would cost as much as everything else together.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Bytes, HttpBody};
use axum::http::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ALLOW, CACHE_CONTROL, HOST, PRAGMA,
    SET_COOKIE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Router};
use metrics::Histogram;
use tower_service::Service;

use crate::telemetry::Metrics;

use super::origin::Origins;
use super::problem::{Code, Problem};

/// The routes as metrics and logs name them, with the methods that a browser may be told of. The last stands for all that is
/// none.
const ROUTES: [(&str, &str); 15] = [
    ("/", "GET"),
    ("/login", "GET"),
    ("/login/{provider}", "GET"),
    ("/callback/{provider}", "GET"),
    ("/token", "POST"),
    ("/session", "GET"),
    ("/logout", "POST"),
    (EXCHANGE, "POST"),
    ("/sessions", "GET, DELETE"),
    ("/sessions/{id}", "DELETE"),
    ("/logout/done", "GET"),
    (BACK_CHANNEL, "POST"),
    ("/logout/frontchannel/{provider}", "GET"),
    ("/guest", "POST, DELETE"),
    ("none", "GET, POST"),
];

/// Where errors have the shape of RFC 6749 §5.2; the second by OpenID Connect Back-Channel Logout 1.0 §2.8.
const EXCHANGE: &str = "/oauth2/token";
const BACK_CHANNEL: &str = "/logout/backchannel/{provider}";

const DURATION: &str = "vestibule_request_duration_seconds";

/// What the gate needs to know.
pub(super) struct Gate {
    origins: Arc<Origins>,
    metrics: Metrics,
    durations: [Histogram; ROUTES.len()],
    notice: Option<&'static str>,
}

impl Gate {
    /// A gate that registers its series in `metrics`.
    pub(super) fn new(
        origins: Arc<Origins>,
        metrics: &Metrics,
        notice: Option<&'static str>,
    ) -> Self {
        metrics.describe(
            "vestibule_failures_total",
            "Requests that did not get what they asked for, by code and cause.",
        );
        metrics.describe(DURATION, "From a request's head to its answer, by route.");
        let duration = |(route, _)| metrics.histogram(DURATION, &[("route", route)]);
        Self { origins, metrics: metrics.clone(), durations: ROUTES.map(duration), notice }
    }

    /// Turns a problem into the answer that the asker can read, and tells the log and the metrics of it.
    fn tell(&self, problem: &Problem, route: &'static str, html: bool) -> Response {
        problem.log(route);
        let labels = [("code", problem.code.face().code), ("cause", problem.cause)];
        self.metrics.counter("vestibule_failures_total", &labels).increment(1);
        let mut response = match html {
            _ if route == EXCHANGE || route == BACK_CHANNEL => problem.to_oauth(),
            true => problem.to_page(self.notice),
            false => problem.to_json(),
        };
        problem.add_headers(&mut response);
        response
    }
}

/// The routes behind their gate. A service of its own rather than a layer of the router's, which would put each request and its
/// future into boxes of its own once more.
#[derive(Clone)]
pub struct Gated {
    gate: Arc<Gate>,
    routes: Router,
}

impl Gated {
    /// `routes` behind `gate`.
    pub(super) fn new(gate: Gate, routes: Router) -> Self {
        Self { gate: Arc::new(gate), routes }
    }
}

impl<B> Service<Request<B>> for Gated
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    /// Takes one request through.
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let begun = Instant::now();
        let gate = self.gate.clone();
        let place = place_of(request.uri().path());
        let (route, methods) = ROUTES[place];
        let html = wants_html(request.headers());
        let method = request.method().clone();
        let origin = gate.origins.allowed(request.headers()).cloned();
        let asks_before = method == Method::OPTIONS
            && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let answer = match check_host(&request) {
            Err(problem) => Err(problem.into_response()),
            Ok(()) if asks_before => Err(preflight(methods)),
            Ok(()) => Ok(self.routes.call(request)),
        };
        Box::pin(async move {
            let mut response = match answer {
                Ok(answer) => answer.await?,
                Err(response) => response,
            };
            if let Some(problem) = response.extensions_mut().remove::<Problem>() {
                let mut beside = std::mem::take(response.headers_mut());
                response = gate.tell(&problem, route, html);
                // Which methods there are, and a cookie that is to be forgotten.
                for name in [ALLOW, SET_COOKIE] {
                    if let Some(value) = beside.remove(&name) {
                        response.headers_mut().insert(name, value);
                    }
                }
            }
            add_headers(response.headers_mut(), origin);
            if route == EXCHANGE {
                // RFC 6749 §5.1.
                response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
            }
            let duration = begun.elapsed();
            gate.durations[place].record(duration);
            let (status, duration_seconds) = (response.status().as_u16(), duration.as_secs_f64());
            tracing::debug!(%method, route, status, duration_seconds, "answered");
            Ok(response)
        })
    }
}

/// Which of [`ROUTES`] a path belongs to.
fn place_of(path: &str) -> usize {
    match path {
        "/" => 0,
        "/login" => 1,
        "/token" => 4,
        "/session" => 5,
        "/logout" => 6,
        EXCHANGE => 7,
        "/sessions" => 8,
        _ if path.starts_with("/login/") => 2,
        _ if path.starts_with("/callback/") => 3,
        _ if path.starts_with("/sessions/") => 9,
        "/logout/done" => 10,
        _ if path.starts_with("/logout/backchannel/") => 11,
        _ if path.starts_with("/logout/frontchannel/") => 12,
        "/guest" => 13,
        _ => ROUTES.len() - 1,
    }
}

/// A person's browser names `text/html`; a program does not.
pub(super) fn wants_html(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().any(|accept| {
        let accept = accept.as_bytes();
        accept.len() < 1024 && accept.windows(9).any(|part| part.eq_ignore_ascii_case(b"text/html"))
    })
}

/// Exactly one `Host` that is one (RFC 9112 §3.2). Which, does not matter: nothing is built from it.
fn check_host<B>(request: &Request<B>) -> Result<(), Problem> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let valid = match hosts.next() {
        Some(host) => is_host(host.as_bytes()),
        None => request.version() < Version::HTTP_11,
    };
    if valid && hosts.next().is_none() {
        Ok(())
    } else {
        Err(Problem::new(Code::InvalidRequest, "host"))
    }
}

/// Whether these are characters of a host and port (RFC 3986 §3.2.2).
fn is_host(bytes: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_~%:[]!$&'()*+,;=".contains(byte);
    !bytes.is_empty() && bytes.iter().all(fits)
}

/// The answer to a browser that asks before it calls (Fetch §3.2.2). Which origins may is told like everywhere else.
fn preflight(methods: &'static str) -> Response {
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods)),
        (ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, content-type")),
        (ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

fn add_headers(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    // Once for all of these, instead of growing again and again.
    headers.reserve(8);
    headers.insert(VARY, HeaderValue::from_static("Origin, Accept"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("retry-after, www-authenticate"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_finds_its_own_name() {
        for (place, (route, _)) in ROUTES.iter().enumerate() {
            let path = route.replace("{provider}", "corp").replace("{id}", "x");
            assert_eq!(place_of(&path), place, "{route}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_perhaps_with_a_port() {
        for host in ["a.example", "a.example:8080", "127.0.0.1", "[::1]:8080", "x_y.example."] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in ["", "a b", "a/b", "a@b", "a\\b", "a?b", "a#b", "\u{e9}", "a\tb", "\"a\""] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn a_browser_wants_a_page_and_a_program_does_not() {
        let wants = |accept: &'static str| {
            wants_html(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]))
        };

        assert!(wants("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        assert!(wants("Text/HTML"));
        assert!(!wants("*/*"));
        assert!(!wants("application/json"));
        assert!(!wants_html(&HeaderMap::new()));
    }
}
