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
use crate::store::{PoolTerms, Store, StoreError};
use crate::telemetry::Metrics;
use crate::twilio::Twilio;
use gate::Gate;
pub use problem::{Code, PATIENCE, ToldProblem};
pub use records::{
    Changed, Given, Known, Moved, Page, Pool, Quarantined, Records, Stood, Unreadable, Whom,
};

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
    twilio: Arc<Twilio>,
    metrics: Metrics,
}

/// `/readyz`: each thing that the service depends on, with its state.
#[derive(Serialize)]
struct Readiness<'a> {
    ready: bool,
    store: &'static str,
    providers: BTreeMap<&'a str, String>,
    twilio: &'static str,
    /// How far the store's clock is ahead of Twilio's, in whole seconds, once that was heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    twilio_skew_seconds: Option<i64>,
}

/// What the operations listener tells of.
pub struct Rooms {
    /// What is kept.
    pub store: Arc<Store>,
    /// Who signs people in.
    pub providers: Vec<Arc<Provider>>,
    /// Where guests are in conversations.
    pub twilio: Arc<Twilio>,
    /// What providers gave for sessions.
    pub sessions: Arc<Sessions>,
    /// What was counted.
    pub metrics: Metrics,
    /// How long denials are kept.
    pub denials: denials::Settings,
    /// How guests are lent, if there is a pool.
    pub pool: Option<PoolTerms>,
}

/// The operations listener's routes.
pub fn router(settings: &Settings, rooms: Rooms) -> Router {
    let Rooms { store, providers, twilio, sessions, metrics, denials, pool } = rooms;
    let names = providers.iter().map(|provider| provider.settings().name.clone()).collect();
    let records = Records::new(store.clone(), denials, names, pool);
    let gate = Gate::new(settings.token.as_ref(), &metrics);
    let api = api::router(records, providers.clone(), sessions, gate);
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(show_metrics))
        .nest("/api", api)
        .with_state(Arc::new(Ops { store, providers, twilio, metrics }))
}

/// 503 only when the store is away: without it nothing can be answered, while a provider that is away stops nobody who is
/// signed in, and Twilio's absence none but guests that have to be scrubbed.
async fn readyz(State(ops): State<Arc<Ops>>) -> impl IntoResponse {
    let store = ops.store.read_time().await;
    let state = |provider: &Arc<Provider>| provider.status().to_string();
    let twilio = ops.twilio.state();
    let heard = twilio.date.zip(store.as_ref().ok());
    let skew = heard.map(|((date, heard), store)| {
        let theirs = date.saturating_add(heard.elapsed().as_secs());
        store.time.now().as_seconds().cast_signed().saturating_sub(theirs.cast_signed())
    });
    let readiness = Readiness {
        ready: store.is_ok(),
        store: store.as_ref().map_or_else(StoreError::cause, |_| "there"),
        providers: ops.providers.iter().map(|p| (p.settings().name.as_str(), state(p))).collect(),
        twilio: match twilio.trouble {
            Some(trouble) => trouble,
            None if twilio.called => "answers",
            None => "not called yet",
        },
        twilio_skew_seconds: skew,
    };
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn show_metrics(State(ops): State<Arc<Ops>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], ops.metrics.render())
}
