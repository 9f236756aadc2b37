//! How Twilio's REST API is asked: as its description says, within bounds, and with nothing told to anybody else.

mod answers;
mod judged;
mod liar;
mod tries;

use std::time::Duration;

use url::Url;
use vestibule::inside::twilio::{Settings, Twilio};
use vestibule::inside::{Identity, Metrics};

/// The secret of the key that [`client`] calls with, the one of `service::TWILIO`.
const SECRET: &str = "canary-twilio-api-key-secret-0001";

/// Where everything of the service is.
const SERVICE: &str = "/v1/Services/IS22222222222222222222222222222222";

/// Long enough for each answer that does come.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client of the account of `service::TWILIO`, whose API is at `url`.
fn client(url: &str, timeout: Duration) -> Twilio {
    measured_client(url, timeout).0
}

/// The same, with its metrics.
fn measured_client(url: &str, timeout: Duration) -> (Twilio, Metrics) {
    let settings = Settings {
        api_url: Url::parse(url).unwrap(),
        service_sid: "IS22222222222222222222222222222222".to_owned(),
        api_key_sid: "SK11111111111111111111111111111111".to_owned(),
        api_key_secret: SECRET.into(),
        timeout,
    };
    let metrics = Metrics::new().unwrap();
    (Twilio::new(&settings, &metrics).unwrap(), metrics)
}

fn identity(text: &str) -> Identity {
    Identity::parse(text).unwrap()
}
