//! How Twilio's REST API is asked: as its description says, within bounds, and with nothing told to anybody else.

mod answers;
mod judged;
mod liar;
mod tries;
mod turns;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use url::Url;
use vestibule::inside::store::{self, Store};
use vestibule::inside::twilio::{Settings, Twilio};
use vestibule::inside::{Identity, Metrics};

/// The secret of the key that [`client`] calls with, the one of `service::TWILIO`.
const SECRET: &str = "canary-twilio-api-key-secret-0001";

/// Where everything of the service is.
const SERVICE: &str = "/v1/Services/IS22222222222222222222222222222222";

/// Long enough for each answer that does come.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client with a store of its own.
struct Client {
    twilio: Twilio,
    store: Arc<Store>,
    _folder: TempDir,
}

impl Deref for Client {
    type Target = Twilio;

    fn deref(&self) -> &Twilio {
        &self.twilio
    }
}

/// A client of the account of `service::TWILIO`, whose API is at `url`.
async fn client(url: &str, timeout: Duration) -> Client {
    measured_client(url, timeout).await.0
}

/// The same, with its metrics.
async fn measured_client(url: &str, timeout: Duration) -> (Client, Metrics) {
    let metrics = Metrics::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = store::Settings::Embedded { path: folder.path().join("store") };
    let store = Arc::new(Store::open(&store, &metrics).await.unwrap());
    let twilio = twilio(url, timeout, store.clone(), &metrics);
    (Client { twilio, store, _folder: folder }, metrics)
}

/// A client of that account whose writes take their turns in `store`.
fn twilio(url: &str, timeout: Duration, store: Arc<Store>, metrics: &Metrics) -> Twilio {
    let settings = Settings {
        api_url: Url::parse(url).unwrap(),
        service_sid: "IS22222222222222222222222222222222".to_owned(),
        api_key_sid: "SK11111111111111111111111111111111".to_owned(),
        api_key_secret: SECRET.into(),
        timeout,
    };
    Twilio::new(&settings, store, metrics).unwrap()
}

fn identity(text: &str) -> Identity {
    Identity::parse(text).unwrap()
}
