//! The operations listener (contract §6): is it alive, is it ready, what has it done; and `/api`, which operators' commands call
//! when the store is a running service's own.
//!
//! Owns the routes, their gate, and what operators are shown of a denial, an identity and a standing. Does not own what they are
//! told: `store` and `oidc` know their own state, `telemetry` the series, `denials` and `identity` the rest.

mod api;
mod gate;
mod problem;
mod records;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use secrecy::SecretString;
use serde::Serialize;

use crate::denials;
use crate::oidc::Provider;
use crate::sessions::Sessions;
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;
use gate::Gate;
pub use problem::{Code, PATIENCE, ToldProblem};
pub use records::{Changed, Given, Known, Moved, Page, Records, Stood, Unreadable, Whom};

/// How the operations listener is met.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens; a loopback address unless configured.
    pub listen: SocketAddr,
    /// What opens `/api`; `None` when nothing does.
    pub token: Option<SecretString>,
}

struct Ops {
    store: Arc<Store>,
    providers: Vec<Arc<Provider>>,
    metrics: Metrics,
}

/// `/readyz`: each thing that the service depends on, with its state.
#[derive(Serialize)]
struct Readiness<'a> {
    ready: bool,
    store: &'static str,
    providers: BTreeMap<&'a str, String>,
}

/// What the operations listener tells of.
pub struct Rooms {
    /// What is kept.
    pub store: Arc<Store>,
    /// Who signs people in.
    pub providers: Vec<Arc<Provider>>,
    /// What providers gave for sessions.
    pub sessions: Arc<Sessions>,
    /// What was counted.
    pub metrics: Metrics,
    /// How long denials are kept.
    pub denials: denials::Settings,
}

/// The operations listener's routes.
pub fn router(settings: &Settings, rooms: Rooms) -> Router {
    let Rooms { store, providers, sessions, metrics, denials } = rooms;
    let names = providers.iter().map(|provider| provider.settings().name.clone()).collect();
    let records = Records::new(store.clone(), denials, names);
    let gate = Gate::new(settings.token.as_ref(), &metrics);
    let api = api::router(records, providers.clone(), sessions, gate);
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(show_metrics))
        .nest("/api", api)
        .with_state(Arc::new(Ops { store, providers, metrics }))
}

/// 503 only when the store is away: without it nothing can be answered, while a provider that is away stops nobody who is
/// signed in.
async fn readyz(State(ops): State<Arc<Ops>>) -> impl IntoResponse {
    let store = ops.store.read_time().await;
    let state = |provider: &Arc<Provider>| provider.status().to_string();
    let readiness = Readiness {
        ready: store.is_ok(),
        store: store.as_ref().map_or_else(StoreError::cause, |_| "there"),
        providers: ops.providers.iter().map(|p| (p.settings().name.as_str(), state(p))).collect(),
    };
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn show_metrics(State(ops): State<Arc<Ops>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], ops.metrics.render())
}
