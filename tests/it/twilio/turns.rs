//! When we write: each try in its turn among those of all replicas, and none after its deadline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use vestibule::inside::Metrics;
use vestibule::inside::store::{self, Store};
use vestibule::inside::twilio::TwilioError;

use super::liar::{Liar, Reply};
use super::{PATIENCE, client, identity, twilio};
use crate::support::redis::RedisServer;
use crate::support::twilio_api::{Trouble, TwilioApi};

/// The most of these moments that lie in one second.
fn most_in_a_second(moments: &[Instant]) -> usize {
    let within = |from: &Instant| {
        moments.iter().filter(|at| *at >= from && **at < *from + Duration::from_secs(1)).count()
    };
    moments.iter().map(within).max().unwrap_or(0)
}

#[tokio::test]
async fn two_replicas_together_never_write_more_than_thirty_times_in_a_second() {
    let api = TwilioApi::start().await;
    let redis = RedisServer::start();
    let metrics = Metrics::new().unwrap();
    let settings = store::Settings::Redis { url: redis.url().into() };
    let replica = async || {
        let store = Arc::new(Store::open(&settings, &metrics).await.unwrap());
        twilio(&api.url, PATIENCE, store, &metrics)
    };
    let replicas = [replica().await, replica().await];
    // Every second one of the first is refused, so that many are tried again.
    api.next((0..60).flat_map(|_| [Trouble::Refused(429, 20429), Trouble::Broken(503)]));

    let writes = (0..100).map(async |number| {
        let guest = identity(&format!("guest-{number}"));
        let twilio = &replicas[number % 2];
        let added = twilio.add_participant("lobby", &guest, None, None).await;
        // One that had no luck may have had none four times.
        assert!(
            matches!(added, Ok(()) | Err(TwilioError::Busy { .. } | TwilioError::Away { .. })),
            "{added:?}"
        );
    });
    join_all(writes).await;

    let written = api.writes();
    assert!(written.len() > 150, "{}", written.len());
    assert!(most_in_a_second(&written) <= 30, "{}", most_in_a_second(&written));
    let took = written[written.len() - 1] - written[0];
    assert!(took < Duration::from_secs(20), "it could be much faster: {took:?}");
}

#[tokio::test]
async fn a_write_that_could_come_too_late_is_not_begun() {
    let liar = Liar::with([Reply::refusal(404, 20404)]).await;
    let client = client(&liar.url, PATIENCE).await;
    let guest = identity("guest-1");
    let now = client.store.read_time().await.unwrap().time.at();
    let late = |done: Result<(), TwilioError>| matches!(done, Err(TwilioError::TooLate));

    for seconds in [0, 14] {
        let until = Some(now.plus(Duration::from_secs(seconds)));
        assert!(late(client.add_participant("CH1", &guest, None, until).await));
        assert!(late(client.remove_participant("CH1", &guest, until).await));
        assert!(late(client.reset_user(&guest, "RL1", until).await));
    }
    assert_eq!(liar.heard().len(), 0);
    assert!(!client.state().called, "it says nothing of Twilio");

    let until = Some(now.plus(Duration::from_mins(1)));
    client.remove_participant("CH1", &guest, until).await.unwrap();
    assert_eq!(liar.heard().len(), 1);
}

#[tokio::test]
async fn nor_is_a_further_try() {
    let liar = Liar::with([Reply::html(503).with("retry-after", "3"), Reply::html(204)]).await;
    let client = client(&liar.url, PATIENCE).await;
    let now = client.store.read_time().await.unwrap().time.at();

    let until = Some(now.plus(Duration::from_secs(17)));
    let late = client.remove_participant("CH1", &identity("guest-1"), until).await;

    assert!(matches!(late, Err(TwilioError::TooLate)), "{late:?}");
    assert_eq!(liar.heard().len(), 1);
}
