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
use crate::guests::{self, Guests};
use crate::identity::Bindings;
use crate::limits::Limits;
use crate::login::{self, Login};
use crate::mint::{self, Judge, Mint};
use crate::oidc::Provider;
use crate::seal::Seal;
use crate::sessions::{self, Sessions, Terms};
use crate::store::{Dated, PoolTerms, Store};
use crate::telemetry::Metrics;
use crate::token::Signer;
use crate::twilio::Twilio;
use crate::{http, ops};

/// How long requests under way may take after the service is told to stop, beyond the longest time-out of a provider.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long a client may take from one answer to the end of the next request's head. A slow one holds a connection and nothing
/// else; a proxy that keeps idle connections for a minute, as most do, must not find one closed when it sends the next request.
const HEAD_PATIENCE: Duration = Duration::from_secs(75);

/// How many guests each process works on at a time: most of the work is waiting for Twilio.
const GUEST_WORKERS: usize = 4;

/// How often the store is looked at for lost writes: where guests are lent, and for sessions alone.
const DOUBT_LOOK: Duration = Duration::from_secs(2);
const DOUBT_LOOK_FOR_SESSIONS: Duration = Duration::from_secs(15);

/// The terms of a pool that nobody has.
const NO_POOL: PoolTerms = PoolTerms {
    size: 0,
    budget: None,
    first: Duration::ZERO,
    lease: Duration::ZERO,
    token: Duration::ZERO,
    max_stay: Duration::ZERO,
    cooldown: Duration::ZERO,
    joins: false,
};

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
    /// Twilio cannot be met as configured.
    #[error("Twilio's API cannot be met as configured")]
    Twilio(#[from] crate::twilio::BuildError),
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
    sessions: Arc<Sessions>,
    guests: Option<Arc<Guests>>,
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
        let store = Arc::new(config.open_store(&metrics).await?);
        let met = Met::all(config.providers, &metrics)?;
        let limit = config.limits.tokens;
        let tasks = TaskTracker::new();
        let seal = Seal::new(&config.seal);
        let session_rooms = sessions::Rooms { store: store.clone(), seal, tasks: tasks.clone() };
        let sessions = Arc::new(Sessions::new(session_rooms, config.session, met.terms, limit));
        let limits = Arc::new(Limits::new(store.clone(), config.limits));
        let twilio = Arc::new(Twilio::new(&config.twilio_api, store.clone(), &metrics)?);
        let guests = config.guests.map(|settings| {
            let (store, limits, twilio) = (store.clone(), limits.clone(), twilio.clone());
            let rooms = guests::Rooms { store, limits, twilio };
            Arc::new(Guests::new(rooms, settings, limit, &metrics))
        });
        let public_url = config.server.public_url.clone();
        let login = Login::new(met.with_bearers, config.clients, store.clone(), limits, public_url);
        let mint_rooms = mint::Rooms {
            store: store.clone(),
            bindings: Bindings::new(store.clone()),
            sessions: sessions.clone(),
            guests: guests.clone(),
            denials: Denials::new(store.clone(), config.denials.clone()),
            signer: Signer::new(config.twilio),
            tasks: tasks.clone(),
        };
        let mint = Arc::new(Mint::new(met.judges, mint_rooms, config.mint));
        let rooms = http::Rooms { login, sessions: sessions.clone(), mint };
        let ops_rooms = ops::Rooms {
            store: store.clone(),
            providers: met.providers.clone(),
            twilio,
            sessions: sessions.clone(),
            metrics: metrics.clone(),
            denials: config.denials,
            pool: guests.as_ref().map(|guests| guests.settings().pool),
        };
        Ok(Self {
            public: http::service(&config.server, rooms, &metrics, config.log.pii),
            ops: ops::router(&config.ops, ops_rooms),
            store,
            providers: met.providers,
            sessions,
            guests,
            metrics,
            tasks,
            last_words: met.last_words,
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
        let (store, sessions, guests) = (self.store, self.sessions, self.guests);
        let pool = guests.as_ref().map_or(NO_POOL, |guests| guests.settings().pool);
        tasks.run_for_ever(heed_doubts(store.clone(), sessions, pool));
        tasks.run_for_ever(async move { store.ended().await });
        if let Some(guests) = guests {
            for _ in 0..GUEST_WORKERS {
                let guests = guests.clone();
                let told = tasks.told.clone();
                tasks.run_until_told(async move { guests.work_until(&told).await });
            }
            tasks.run_for_ever(async move { guests.tell_for_ever().await });
        }
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
            tasks.told.cancel();
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
        let all = async { tokio::join!(left.wait(), tasks.told_to_end()) };
        let _or_given_up = tokio::time::timeout_at(last, all).await;
        tasks.end().await;
        public.and(ops)?;
        if unasked { Err(ServeError::Task) } else { Ok(()) }
    }
}

/// The providers, and what each room has of them.
struct Met {
    providers: Vec<Arc<Provider>>,
    with_bearers: Vec<(Arc<Provider>, login::Bearers)>,
    judges: Vec<Judge>,
    terms: Vec<Terms>,
    last_words: Duration,
}

impl Met {
    fn all(settings: Vec<login::Settings>, metrics: &Metrics) -> Result<Self, StartError> {
        let mut met = Self {
            providers: Vec::new(),
            with_bearers: Vec::new(),
            judges: Vec::new(),
            terms: Vec::new(),
            last_words: LAST_WORDS,
        };
        for settings in settings {
            let login::Settings { provider, revalidate_after, grace, max_age, bearers, policy } =
                settings;
            let name = provider.name.clone();
            met.last_words = met.last_words.max(provider.timeout + LAST_WORDS);
            let provider = Provider::new(provider, metrics)
                .map_err(|source| StartError::Provider { name: name.to_string(), source })?;
            let provider = Arc::new(provider);
            met.judges.push(Judge::new(provider.clone(), policy, metrics));
            met.with_bearers.push((provider.clone(), bearers));
            met.providers.push(provider.clone());
            met.terms.push(Terms { provider, revalidate_after, grace, max_age });
        }
        Ok(met)
    }
}

/// Looks whether the store has lost writes, for ever, and has sessions asked about again that were asked about before.
async fn heed_doubts(store: Arc<Store>, sessions: Arc<Sessions>, pool: PoolTerms) {
    let mut last = None;
    let pause = if pool.size > 0 { DOUBT_LOOK } else { DOUBT_LOOK_FOR_SESSIONS };
    loop {
        // A store that is away is looked at again, and says so to every request.
        if let Ok(Dated { value: Some(at), .. }) = store.heed_doubt(&pool).await
            && last.replace(at) != Some(at)
        {
            tracing::warn!(%at, "the store has lost writes, or was restored: guests that might have been lent unseen are kept back");
            sessions.doubt(at);
        }
        tokio::time::sleep(pause).await;
    }
}

/// What runs beside the requests, for ever: when one of these ends by itself, or panics, the process should too.
#[derive(Default)]
struct Tasks {
    tracker: TaskTracker,
    /// Those among them that end by themselves once they are told.
    ending_themselves: TaskTracker,
    told: CancellationToken,
    ending: CancellationToken,
    failed: CancellationToken,
}

impl Tasks {
    fn run_for_ever(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(self.watched(work, CancellationToken::new()));
    }

    /// Runs what ends by itself, soon after it is told.
    fn run_until_told(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.ending_themselves.spawn(self.watched(work, self.told.clone()));
    }

    /// `work`, which may end once it is `told`, and is ended in the end.
    fn watched(
        &self,
        work: impl Future<Output = ()> + Send + 'static,
        told: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let ending = self.ending.clone();
        // Dropped by a task that ends or panics, and disarmed by one that was told to end.
        let unasked = self.failed.clone().drop_guard();
        async move {
            tokio::select! {
                () = work => if told.is_cancelled() { drop(unasked.disarm()) },
                () = ending.cancelled() => drop(unasked.disarm()),
            }
        }
    }

    /// Waits for those that end by themselves.
    async fn told_to_end(&self) {
        self.ending_themselves.close();
        self.ending_themselves.wait().await;
    }

    async fn end(self) {
        self.ending.cancel();
        self.tracker.close();
        tokio::join!(self.tracker.wait(), self.told_to_end());
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
