//! The whole of Vestibule to try, in one process on loopback: the service as it is, and around it the world that it needs, an
//! OpenID provider with a few people, a stand-in for Twilio's REST API, and an app.
//!
//! Owns that world, its ports and its temporary folder. The service in it is configured like any other, from TOML, and met like
//! any other, over HTTP.

mod app;
mod page;
mod provider;
mod twilio;

use std::future::IntoFuture;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use aws_lc_rs::error::Unspecified;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::{Config, Fault};
use crate::service::{Listeners, ServeError, Service, StartError};

use provider::{Client, Provider, random_text};
pub use twilio::{Account, StandIn};

/// Where the app is when nobody says otherwise: the port that people expect something to try on. The service and its operations
/// listener have the next two.
const APP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The `client_id` that the service has at the provider.
const CLIENT_ID: &str = "vestibule";

/// The room that every guest is in.
const LOBBY: &str = "lobby";

/// What the service's own pages say above everything else.
const NOTICE: &str = "This is a demo. Its people and its Twilio account are made up.";

/// Why the demo does not run, or ended unasked.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The address is not a loopback one: the demo lets everybody in without a password.
    #[error(
        "the demo signs everybody in without a password, so it listens on loopback only, not on {address}"
    )]
    NotLoopback {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// The demo cannot listen.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There is no temporary folder for the store, or it stays behind.
    #[error("the temporary folder cannot be made or removed")]
    Folder(#[source] io::Error),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random(#[from] Unspecified),
    /// The demo's own configuration is not one, which is a fault of ours.
    #[error("the demo's own configuration is refused: {0:?}")]
    Config(Vec<Fault>),
    /// The service cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The service ended unasked.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The listener of the provider and the app failed.
    #[error("the demo's app and provider cannot be served")]
    World(#[source] io::Error),
}

/// Runs the demo until `stop`. `announce` gets the app's URL as soon as it can be opened.
///
/// The app and the provider listen at `listen`, or at 127.0.0.1:8080 or, when that is taken, at a free port there; the service
/// and its operations listener at 8081 and 8082 of the same host, or likewise at free ports, which the log says. A port 0 in
/// `listen` means free ports for all three.
///
/// # Errors
///
/// [`DemoError`]; [`DemoError::NotLoopback`] and [`DemoError::Listen`] depend on `listen`, no other does.
pub async fn run(
    listen: Option<SocketAddr>,
    stop: CancellationToken,
    announce: impl FnOnce(&str),
) -> Result<(), DemoError> {
    let sockets = Sockets::open(listen)?;
    let folder = TempDir::with_prefix("vestibule-demo-").map_err(DemoError::Folder)?;
    let (app_url, service_url) = (url_of(&sockets.app)?, url_of(&sockets.public)?);
    let issuer = format!("{app_url}provider");
    let client_secret = random_text()?;
    let config = config(&sockets, &issuer, &client_secret, folder.path())?;
    let twilio = stand_in(&config);
    let routes = app::routes(&app_url, &service_url, &twilio).merge(twilio.routes());
    let provider = provider_of(&service_url, issuer, client_secret.into())?;
    let world = routes.nest("/provider", provider::routes(provider));
    let world = axum::serve(from_std(sockets.app)?, world).into_future();

    let service = async {
        let service = Service::start(config).await?;
        announce(app_url.as_str());
        let listeners = Listeners { public: sockets.public, ops: sockets.ops };
        Ok(service.serve(listeners, stop).await?)
    };
    // The world goes on until the service has ended: a login under way still needs the provider.
    let ended = tokio::select! {
        ended = service => ended,
        failed = world => failed.map_err(DemoError::World),
    };

    folder.close().map_err(DemoError::Folder)?;
    ended
}

/// The three sockets of the demo, all on one loopback host, so that the app is same-site with the service.
struct Sockets {
    app: TcpListener,
    public: TcpListener,
    ops: TcpListener,
}

impl Sockets {
    fn open(listen: Option<SocketAddr>) -> Result<Self, DemoError> {
        let address = listen.unwrap_or(APP);
        if !address.ip().is_loopback() {
            return Err(DemoError::NotLoopback { address });
        }
        let app = match listen {
            Some(_) => bind(address)?,
            None => bind_there_or_near(address)?,
        };
        let near = |offset| {
            let port = if address.port() == 0 { 0 } else { APP.port() + offset };
            bind_there_or_near(SocketAddr::new(address.ip(), port))
        };
        Ok(Self { app, public: near(1)?, ops: near(2)? })
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, DemoError> {
    TcpListener::bind(address).map_err(|source| DemoError::Listen { address, source })
}

/// Binds `address`, or a free port of its host when that port is taken; the log says so.
fn bind_there_or_near(address: SocketAddr) -> Result<TcpListener, DemoError> {
    match bind(address) {
        Err(DemoError::Listen { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => {
            let listener = bind(SocketAddr::new(address.ip(), 0))?;
            let instead = address_of(&listener)?;
            tracing::warn!(%address, %instead, "the port is taken by another program; the demo takes a free one");
            Ok(listener)
        }
        bound => bound,
    }
}

fn address_of(listener: &TcpListener) -> Result<SocketAddr, DemoError> {
    listener.local_addr().map_err(DemoError::World)
}

#[expect(clippy::expect_used, reason = "an http URL of an IP address and a port is always one")]
fn url_of(listener: &TcpListener) -> Result<Url, DemoError> {
    let address = address_of(listener)?;
    Ok(Url::parse(&format!("http://{address}/")).expect("an address makes a URL"))
}

fn from_std(listener: TcpListener) -> Result<tokio::net::TcpListener, DemoError> {
    listener.set_nonblocking(true).map_err(DemoError::World)?;
    tokio::net::TcpListener::from_std(listener).map_err(DemoError::World)
}

/// The provider, which knows the service.
fn provider_of(
    service_url: &Url,
    issuer: String,
    client_secret: SecretString,
) -> Result<Provider, DemoError> {
    let mut redirect_uri = service_url.clone();
    redirect_uri.set_path("/callback/demo");
    let mut post_logout_redirect_uri = service_url.clone();
    post_logout_redirect_uri.set_path("/logout/done");
    let client = Client {
        id: CLIENT_ID.to_owned(),
        secret: client_secret,
        redirect_uri,
        post_logout_redirect_uri,
    };
    Ok(Provider::new(issuer, client)?)
}

/// The service's configuration, by the way of every other: TOML text.
fn config(
    sockets: &Sockets,
    issuer: &str,
    client_secret: &str,
    folder: &Path,
) -> Result<Config, DemoError> {
    let document = json!({
        "server": {
            "listen": address_of(&sockets.public)?,
            "public_url": url_of(&sockets.public)?.origin().ascii_serialization(),
            "allowed_origins": [url_of(&sockets.app)?.origin().ascii_serialization()],
        },
        "ops": { "listen": address_of(&sockets.ops)? },
        "store": { "url": format!("file:{}", folder.join("store.redb").display()) },
        "seal": { "keys": [{ "id": "demo", "key": random_key()? }] },
        // Nobody's: the digits spell nothing that Twilio gave out, and the secret is new each time.
        "twilio": {
            "account_sid": format!("AC{}", "de30".repeat(8)),
            "api_key_sid": format!("SK{}", "de30".repeat(8)),
            "api_key_secret": random_text()?,
            "conversations_service_sid": format!("IS{}", "de30".repeat(8)),
            "api_url": url_of(&sockets.app)?.origin().ascii_serialization(),
        },
        "guests": { "size": 20, "conversations": [LOBBY] },
        "provider": [{
            "name": "demo",
            "title": "Demo provider",
            "issuer": issuer,
            "client_id": CLIENT_ID,
            "client_secret": client_secret,
            "algorithms": ["ES256"],
            "policy": { "allow": "true" },
        }],
    });
    let text = as_toml(&document);
    let no_file = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let mut config =
        Config::parse(&text, std::iter::empty(), &no_file).map_err(DemoError::Config)?;
    config.server.notice = Some(NOTICE);
    Ok(config)
}

/// Twilio, as the configuration has it, with the room that guests are taken into.
fn stand_in(config: &Config) -> StandIn {
    let (twilio, api) = (&config.twilio, &config.twilio_api);
    let stand_in = StandIn::new(Account {
        sid: twilio.account_sid.clone(),
        api_key_sid: api.api_key_sid.clone(),
        api_key_secret: api.api_key_secret.clone(),
        service_sid: api.service_sid.clone(),
    });
    stand_in.make_conversation(LOBBY);
    stand_in.make_conversation(app::DEN);
    stand_in
}

/// 32 random bytes in base64.
fn random_key() -> Result<String, Unspecified> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(STANDARD.encode(bytes))
}

#[expect(clippy::expect_used, reason = "tables, lists and strings without a null are TOML")]
fn as_toml(document: &serde_json::Value) -> String {
    toml::to_string(document).expect("it holds no null")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_demo_is_for_this_machine_only() {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8080"] {
            let address = address.parse().unwrap();
            let ended = run(Some(address), CancellationToken::new(), |_| panic!("it runs")).await;
            assert!(matches!(ended, Err(DemoError::NotLoopback { .. })), "{ended:?}");
        }
    }

    #[test]
    fn an_address_that_was_asked_for_is_not_exchanged_for_another() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();

        let opened = Sockets::open(Some(address)).map(|_| ());

        assert!(matches!(opened, Err(DemoError::Listen { .. })), "{opened:?}");
    }

    #[test]
    fn a_port_of_our_own_choice_that_is_taken_is_exchanged_for_a_free_one() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();

        let near = bind_there_or_near(address).unwrap().local_addr().unwrap();

        assert_eq!(near.ip(), address.ip());
        assert_ne!(near.port(), address.port());
    }

    #[test]
    fn the_service_accepts_its_configuration_and_names_the_demo_on_its_pages() {
        let sockets = Sockets::open(Some("127.0.0.1:0".parse().unwrap())).unwrap();
        let folder = Path::new("/nowhere/a \"folder\"");

        let config =
            config(&sockets, "http://127.0.0.1:1/provider", "a-secret-of-this-test", folder)
                .unwrap();

        assert_eq!(config.warnings, Vec::<String>::new());
        assert_eq!(config.server.notice, Some(NOTICE));
    }
}
