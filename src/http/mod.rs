//! The public listener: requests in, responses out (contract §5).
//!
//! Owns routes, cookies, origins, status codes and pages. Does not own what a request may do: every answer comes from `login`,
//! `sessions` or `mint`.

mod cookies;
mod devices;
mod exchange;
mod form;
mod forwarded;
mod gate;
mod guest;
mod login;
mod logout;
mod origin;
mod pages;
mod problem;
mod query;
mod return_to;
mod session;
mod token;
mod user_agent;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum::http::HeaderValue;
use axum::routing::{delete, get, post};
use axum::{Router, ServiceExt};
use ipnet::IpNet;
use url::Url;

use crate::login::Login;
use crate::mint::Mint;
use crate::sessions::Sessions;
use crate::telemetry::Metrics;

use self::cookies::Cookies;
use self::gate::Gate;
pub use self::gate::Gated;
use self::origin::Origins;
use self::problem::{Code, Problem};

/// How the public listener is met.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its own URL, seen from browsers: an origin, with nothing after it but `/`. https, or http on a loopback host.
    pub public_url: Url,
    /// The origins of apps that may call it from a browser, as a browser's `Origin` header spells them.
    pub allowed_origins: Vec<String>,
    /// Whose `X-Forwarded-For` is believed. Too wide, and clients choose the address that limits count; too narrow, and all
    /// share the proxy's.
    pub trusted_proxies: Vec<IpNet>,
    /// Stands on every page: that this is a demo.
    pub notice: Option<&'static str>,
}

/// The rooms that requests are taken to.
pub struct Rooms {
    /// Begins and finishes logins.
    pub login: Login,
    /// Looks at, lists and ends sessions.
    pub sessions: Arc<Sessions>,
    /// Makes members and tokens.
    pub mint: Arc<Mint>,
}

/// What handlers share.
struct App {
    rooms: Rooms,
    cookies: Cookies,
    origins: Arc<Origins>,
    trusted_proxies: Vec<IpNet>,
    /// What a browser holds the sign-in page to: its form leads to an app, by way of us.
    sign_in_policy: HeaderValue,
    notice: Option<&'static str>,
    /// Whether e-mail and IP addresses may stand in the log.
    log_pii: bool,
}

/// The public listener's service, for a server that says who connects. With `log_pii`, e-mail and IP addresses stand in the log.
pub fn service(
    settings: &Settings,
    rooms: Rooms,
    metrics: &Metrics,
    log_pii: bool,
) -> IntoMakeServiceWithConnectInfo<Gated, SocketAddr> {
    let origins = Arc::new(Origins::new(&settings.public_url, &settings.allowed_origins));
    let app = Arc::new(App {
        rooms,
        cookies: Cookies::new(settings.public_url.scheme() == "https"),
        origins: origins.clone(),
        trusted_proxies: settings.trusted_proxies.clone(),
        sign_in_policy: pages::policy_of_sign_in(&settings.allowed_origins),
        notice: settings.notice,
        log_pii,
    });
    let gate = Gate::new(origins, metrics, settings.notice);
    let routes = Router::new()
        .route("/", get(session::home))
        .route("/login", get(login::choose))
        .route("/login/{provider}", get(login::begin))
        .route("/callback/{provider}", get(login::finish))
        .route("/token", post(token::mint))
        .route("/oauth2/token", post(exchange::exchange))
        .route("/guest", post(guest::lend).delete(guest::give_back))
        .route("/session", get(session::show))
        .route("/sessions", get(devices::list).delete(devices::end_others))
        .route("/sessions/{id}", delete(devices::end))
        .route("/logout", post(logout::log_out))
        .route("/logout/done", get(logout::done))
        .route("/logout/backchannel/{provider}", post(logout::back_channel))
        .route("/logout/frontchannel/{provider}", get(logout::front_channel))
        .fallback(async || Problem::new(Code::NotFound, "no route"))
        .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed, "method"))
        .with_state(app);
    ServiceExt::<Request>::into_make_service_with_connect_info(Gated::new(gate, routes))
}
