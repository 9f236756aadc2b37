//! The service, in this process, from a configuration as operators write it.

use std::net::{SocketAddr, TcpListener};

use tokio_util::sync::CancellationToken;
use vestibule::{Config, Listeners, Service, StartError};

use super::{log, panics};

/// The Twilio part of every test's configuration.
pub const TWILIO: &str = r#"
[twilio]
account_sid = "AC00000000000000000000000000000000"
api_key_sid = "SK11111111111111111111111111111111"
api_key_secret = "canary-twilio-api-key-secret-0001"
conversations_service_sid = "IS22222222222222222222222222222222"
"#;

/// A service that runs until it is dropped.
pub struct TestService {
    /// Where it answers; without a slash at the end.
    pub url: String,
    /// Where operators are answered.
    pub ops_url: String,
    stop: CancellationToken,
}

impl TestService {
    /// A service with this store and this further configuration, whose public URL is where it listens.
    pub async fn start(store: &str, further: &str) -> Self {
        let public = listener();
        let url = format!("http://{}", public.local_addr().unwrap());
        Self::start_on(public, &url, "", store, further).await
    }

    /// A service that believes what loopback says in `X-Forwarded-For`.
    pub async fn start_behind_proxy(store: &str, further: &str) -> Self {
        let public = listener();
        let url = format!("http://{}", public.local_addr().unwrap());
        Self::start_on(public, &url, "trusted_proxies = [\"127.0.0.0/8\"]", store, further).await
    }

    /// Another replica of a service: it listens elsewhere but goes by the same public URL.
    pub async fn start_replica_of(first: &Self, store: &str, further: &str) -> Self {
        Self::start_on(listener(), &first.url, "", store, further).await
    }

    /// A service on a socket that was opened before, so that a provider could be told its URL.
    pub async fn start_on(
        public: TcpListener,
        public_url: &str,
        server: &str,
        store: &str,
        further: &str,
    ) -> Self {
        let start = Self::start_unless_taken(public, public_url, server, store, further);
        start.await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// A service, unless its store cannot be opened: another one that is about to end may have the file.
    pub async fn try_start(public_url: &str, store: &str, further: &str) -> Option<Self> {
        Self::start_unless_taken(listener(), public_url, "", store, further).await.ok()
    }

    async fn start_unless_taken(
        public: TcpListener,
        public_url: &str,
        server: &str,
        store: &str,
        further: &str,
    ) -> Result<Self, StartError> {
        log::start();
        panics::watch();
        let ops = listener();
        let address: SocketAddr = public.local_addr().unwrap();
        let text = format!(
            "[server]\nlisten = \"{address}\"\npublic_url = \"{public_url}\"\n{server}\n\n[store]\nurl = \"{store}\"\n{TWILIO}\n{further}"
        );
        let config =
            Config::parse(&text, std::iter::empty(), &|path| std::fs::read_to_string(path))
                .unwrap_or_else(|faults| panic!("{faults:#?}"));
        let service = Service::start(config).await?;
        let (url, ops_url) =
            (format!("http://{address}"), format!("http://{}", ops.local_addr().unwrap()));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(
            async move { service.serve(Listeners { public, ops }, stopped).await.unwrap() },
        );
        Ok(Self { url, ops_url, stop })
    }
}

impl Drop for TestService {
    fn drop(&mut self) {
        self.stop.cancel();
        panics::none();
    }
}

/// A socket on a free port.
pub fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}
