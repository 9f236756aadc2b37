//! The whole service: each room built once, served until told to stop.
//!
//! Owns the order of building, the tasks that run beside the requests, and the end. Does not own sockets and signals: the caller
//! does.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum_server::{Handle, Server};
use hyper_util::rt::TokioTimer;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::denials::Denials;
use crate::identity::Bindings;
use crate::limits::Limits;
use crate::login::{self, Login};
use crate::mint::{self, Judge, Mint};
use crate::oidc::Provider;
use crate::seal::Seal;
use crate::sessions::{self, Sessions, Terms};
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::token::Signer;
use crate::{http, ops};

/// How long requests under way may take after the service is told to stop, beyond the longest time-out of a provider.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long a client may take from one answer to the end of the next request's head. A slow one holds a connection and nothing
/// else; a proxy that keeps idle connections for a minute, as most do, must not find one closed when it sends the next request.
const HEAD_PATIENCE: Duration = Duration::from_secs(75);

/// The largest request head, in bytes. Bigger ones answer 431.
const LARGEST_HEAD: usize = 32 * 1024;

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] crate::store::OpenError),
    /// A provider cannot be met as configured.
    #[error("the provider {name} cannot be met as configured")]
    Provider {
        /// Its name.
        name: String,
        /// Why not.
        #[source]
        source: crate::oidc::BuildError,
    },
    /// The metrics cannot be registered.
    #[error("cannot register the metrics")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// Why the service ended unasked.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A listener failed.
    #[error("a listener failed")]
    Listener(#[from] std::io::Error),
    /// A task that runs for ever ended.
    #[error("a background task ended unasked")]
    Task,
}

/// The sockets that the service is to answer on.
pub struct Listeners {
    /// For everybody.
    pub public: TcpListener,
    /// For operators.
    pub ops: TcpListener,
}

/// A service, built and ready to serve.
pub struct Service {
    public: IntoMakeServiceWithConnectInfo<http::Gated, SocketAddr>,
    ops: Router,
    store: Arc<Store>,
    providers: Vec<Arc<Provider>>,
    metrics: Metrics,
    /// What requests have left to be done.
    tasks: TaskTracker,
    last_words: Duration,
}

impl Service {
    /// Builds every room. A provider or a Redis that is away is no error: the service says so until it is there.
    ///
    /// # Errors
    ///
    /// [`StartError::Store`] when the store's file is another process's, has no folder or cannot be read, or its URL is none;
    /// [`StartError::Provider`] when an issuer or a private key cannot be used, or no HTTP client can be built;
    /// [`StartError::Metrics`] never in practice.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let metrics = Metrics::new()?;
        let store = Arc::new(Store::open(&config.store, &metrics).await?);
        let mut providers = Vec::new();
        let mut with_bearers = Vec::new();
        let mut judges = Vec::new();
        let mut terms = Vec::new();
        let mut last_words = LAST_WORDS;
        for settings in config.providers {
            let login::Settings { provider, revalidate_after, grace, max_age, bearers, policy } =
                settings;
            let name = provider.name.clone();
            last_words = last_words.max(provider.timeout + LAST_WORDS);
            let provider = Provider::new(provider, &metrics)
                .map_err(|source| StartError::Provider { name: name.to_string(), source })?;
            let provider = Arc::new(provider);
            judges.push(Judge::new(provider.clone(), policy, &metrics));
            with_bearers.push((provider.clone(), bearers));
            providers.push(provider.clone());
            terms.push(Terms { provider, revalidate_after, grace, max_age });
        }
        let limit = config.limits.tokens;
        let tasks = TaskTracker::new();
        let seal = Seal::new(&config.seal);
        let session_rooms = sessions::Rooms { store: store.clone(), seal, tasks: tasks.clone() };
        let sessions = Arc::new(Sessions::new(session_rooms, config.session, terms, limit));
        let limits = Limits::new(store.clone(), config.limits);
        let public_url = config.server.public_url.clone();
        let login = Login::new(with_bearers, config.clients, store.clone(), limits, public_url);
        let mint_rooms = mint::Rooms {
            store: store.clone(),
            bindings: Bindings::new(store.clone()),
            sessions: sessions.clone(),
            denials: Denials::new(store.clone(), config.denials.clone()),
            signer: Signer::new(config.twilio),
            tasks: tasks.clone(),
        };
        let mint = Arc::new(Mint::new(judges, mint_rooms, config.mint));
        let rooms = http::Rooms { login, sessions: sessions.clone(), mint };
        let ops_rooms = ops::Rooms {
            store: store.clone(),
            providers: providers.clone(),
            sessions: sessions.clone(),
            metrics: metrics.clone(),
            denials: config.denials,
        };
        Ok(Self {
            public: http::service(&config.server, rooms, &metrics, config.log.pii),
            ops: ops::router(&config.ops, ops_rooms),
            store,
            providers,
            metrics,
            tasks,
            last_words,
        })
    }

    /// Serves until `stop`; then takes no more connections, finishes the requests under way, and returns. Operators are answered
    /// until the last request is.
    ///
    /// # Errors
    ///
    /// [`ServeError::Listener`] when a socket cannot be served; [`ServeError::Task`] when a background task ends unasked.
    pub async fn serve(
        self,
        listeners: Listeners,
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let left = self.tasks.clone();
        let tasks = Tasks::default();
        tasks.run_for_ever(async move { self.metrics.fold_for_ever().await });
        tasks.run_for_ever(async move { self.store.ended().await });
        for provider in self.providers {
            tasks.run_for_ever(async move { provider.keep_fresh().await });
        }
        let (public_handle, ops_handle) = (Handle::new(), Handle::new());
        let public = listen(listeners.public, &public_handle)?.serve(self.public);
        let ops = listen(listeners.ops, &ops_handle)?.serve(self.ops.into_make_service());
        let stopping = async {
            let unasked = tokio::select! {
                () = stop.cancelled() => false,
                () = tasks.failed.cancelled() => true,
            };
            public_handle.graceful_shutdown(Some(self.last_words));
            (unasked, Instant::now() + self.last_words)
        };
        let answering = async {
            let ended = public.await;
            ops_handle.graceful_shutdown(Some(Duration::from_secs(1)));
            ended
        };
        let ((unasked, last), public, ops) = tokio::join!(stopping, answering, ops);
        left.close();
        // Tokens that were redeemed are to be kept, and a second is for what the last request left.
        let last = last.max(Instant::now() + Duration::from_secs(1));
        let _or_given_up = tokio::time::timeout_at(last, left.wait()).await;
        tasks.end().await;
        public.and(ops)?;
        if unasked { Err(ServeError::Task) } else { Ok(()) }
    }
}

/// What runs beside the requests, for ever: when one of these ends by itself, or panics, the process should too.
#[derive(Default)]
struct Tasks {
    tracker: TaskTracker,
    ending: CancellationToken,
    failed: CancellationToken,
}

impl Tasks {
    fn run_for_ever(&self, work: impl Future<Output = ()> + Send + 'static) {
        let ending = self.ending.clone();
        // Dropped by a task that ends or panics, and disarmed by one that was told to end.
        let unasked = self.failed.clone().drop_guard();
        self.tracker.spawn(async move {
            tokio::select! {
                () = work => {}
                () = ending.cancelled() => drop(unasked.disarm()),
            }
        });
    }

    async fn end(self) {
        self.ending.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// A server on `listener`, bounded in how long and how big a request's head may be.
fn listen(
    listener: TcpListener,
    handle: &Handle<SocketAddr>,
) -> std::io::Result<Server<SocketAddr>> {
    listener.set_nonblocking(true)?;
    let mut server = axum_server::from_tcp(listener)?.handle(handle.clone()).http1_only();
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(LARGEST_HEAD);
    Ok(server)
}
