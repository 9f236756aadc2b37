//! What is tried again, how often, and how long it takes at most.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use vestibule::inside::twilio::TwilioError;

use super::liar::{Liar, Reply};
use super::{PATIENCE, client, identity};
use crate::support::twilio_api::{Trouble, TwilioApi};

fn user() -> Reply {
    Reply::json(200, &json!({ "sid": "US1", "identity": "guest-1", "role_sid": "RL1" }))
}

fn short() -> Duration {
    Duration::from_millis(200)
}

#[tokio::test]
async fn what_may_be_over_soon_is_tried_again() {
    let tried = [
        Reply::refusal(429, 20429),
        Reply::refusal(400, 20429),
        Reply::html(429),
        Reply::refusal(409, 50213),
        Reply::refusal(412, 20162),
        Reply::refusal(500, 20500),
        Reply::html(502),
        Reply::html(503),
        Reply::Silence,
        Reply::Trickle,
    ];

    join_all(tried.map(async |first| {
        let liar = Liar::with([first.clone(), user()]).await;

        let found = client(&liar.url, short()).await.user(&identity("guest-1")).await;

        assert_eq!(found.unwrap().unwrap().role_sid, "RL1", "{first:?}");
        assert_eq!(liar.heard().len(), 2, "{first:?}");
    }))
    .await;
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_read_again() {
    let liar = Liar::with([Reply::Flood(5 << 20), user()]).await;

    let found = client(&liar.url, PATIENCE).await.user(&identity("guest-1")).await;

    assert!(matches!(found, Err(TwilioError::NotUnderstood { .. })), "{found:?}");
    assert_eq!(liar.heard().len(), 1);
}

#[tokio::test]
async fn a_refusal_is_final() {
    let refused = [
        (Reply::refusal(400, 20001), 400, Some(20001)),
        (Reply::refusal(401, 20003), 401, Some(20003)),
        (Reply::refusal(404, 50350), 404, Some(50350)),
        (Reply::refusal(409, 50433), 409, Some(50433)),
        // A host that is not Twilio knows no user either.
        (Reply::html(404), 404, None),
        (Reply::json(404, &json!({ "code": "50200" })), 404, None),
        (Reply::html(307).with("location", "/v1"), 307, None),
    ];

    for (reply, its_status, its_code) in refused {
        let liar = Liar::with([reply.clone(), user()]).await;

        let found = client(&liar.url, PATIENCE).await.user(&identity("guest-1")).await;

        let Err(TwilioError::Refused { status, code }) = found else {
            panic!("{reply:?}: {found:?}")
        };
        assert_eq!((status, code), (its_status, its_code));
        assert_eq!(liar.heard().len(), 1, "{reply:?}");
    }
}

#[tokio::test]
async fn four_tries_are_all_and_each_pause_is_longer() {
    join_all([Reply::refusal(429, 20429), Reply::html(503)].map(async |reply| {
        let liar = Liar::with([reply.clone()]).await;

        let error = client(&liar.url, PATIENCE).await.roles().await.unwrap_err();

        match reply {
            Reply::Answer { status: 429, .. } => assert!(matches!(error, TwilioError::Busy { .. })),
            _ => assert_eq!(error.to_string(), "Twilio is away: status 503"),
        }
        let at = liar.heard().iter().map(|heard| heard.at).collect::<Vec<_>>();
        let pauses = at.windows(2).map(|two| (two[1] - two[0]).as_millis()).collect::<Vec<_>>();
        assert_eq!(pauses.len(), 3);
        for (pause, least) in pauses.iter().zip([125, 250, 500]) {
            // Twice the least is the most; the rest is for a machine that is busy.
            assert!((least..2 * least + 400).contains(pause), "{pauses:?}");
        }
    }))
    .await;
}

#[tokio::test]
async fn it_waits_as_long_as_twilio_says_if_there_is_time() {
    join_all([Reply::refusal(429, 20429), Reply::html(503)].map(async |reply| {
        let liar = Liar::with([reply.with("retry-after", "2"), user()]).await;

        client(&liar.url, PATIENCE).await.user(&identity("guest-1")).await.unwrap();

        let heard = liar.heard();
        // And a little longer, for others were told the same.
        let waited = heard[1].at - heard[0].at;
        assert!(waited >= Duration::from_millis(2_100), "{waited:?}");
    }))
    .await;

    // The second number is the largest of all: with what has passed already there is none for the sum.
    for after in ["13", "18446744073709551615"] {
        let first = Reply::html(503).with("retry-after", "1");
        let liar = Liar::with([first, Reply::html(429).with("retry-after", after), user()]).await;
        let begun = Instant::now();

        let found = client(&liar.url, PATIENCE).await.user(&identity("guest-1")).await;

        let Err(TwilioError::Busy { after: told }) = found else { panic!("{found:?}") };
        assert_eq!(told, Duration::from_secs(after.parse().unwrap()));
        assert!(begun.elapsed() < Duration::from_secs(4), "{after}");
    }
}

#[tokio::test]
async fn silence_and_a_trickle_are_waited_out_in_bounds() {
    join_all([Reply::Silence, Reply::Trickle].map(async |reply| {
        let liar = Liar::with([reply.clone()]).await;
        let begun = Instant::now();

        let error = client(&liar.url, short()).await.roles().await.unwrap_err();

        assert_eq!(error.to_string(), "Twilio is away: no whole answer in time");
        assert_eq!(liar.heard().len(), 4);
        // Four tries of 200 ms, and pauses of 1.75 s.
        assert!(begun.elapsed() < Duration::from_secs(4), "{reply:?}: {:?}", begun.elapsed());
    }))
    .await;
}

#[tokio::test]
async fn however_long_a_try_may_take_all_of_them_take_twelve_seconds() {
    let liar = Liar::with([Reply::Silence]).await;
    let begun = Instant::now();

    let error = client(&liar.url, Duration::from_secs(8)).await.roles().await.unwrap_err();

    assert!(matches!(error, TwilioError::Away { .. }));
    let took = begun.elapsed();
    assert!((Duration::from_secs(8)..Duration::from_secs(14)).contains(&took), "{took:?}");
    assert_eq!(liar.heard().len(), 2);
}

#[tokio::test]
async fn nobody_there_is_away_and_says_no_more_than_that() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let twilio = client(&url, PATIENCE).await;

    let error = twilio.roles().await.unwrap_err();

    let TwilioError::Away { what, .. } = &error else { panic!("{error:?}") };
    assert!(what.contains("refused") && !what.contains("127.0.0.1"), "{what}");
    assert_eq!((twilio.state().called, twilio.state().trouble), (true, Some("away")));
}

#[tokio::test]
async fn what_was_done_and_not_heard_of_is_done_again_without_harm() {
    let api = TwilioApi::start().await;
    let (twilio, guest) = (client(&api.url, PATIENCE).await, identity("guest-1"));
    let role = twilio.default_user_role().await.unwrap();
    api.stand_in.bind("guest-1");
    api.stand_in.name("guest-1", "Mallory", "{}");
    let binding = twilio.bindings_of(&guest).await.unwrap().remove(0);
    api.stand_in.requests();

    api.next([Trouble::Lost]);
    twilio.add_participant("lobby", &guest, None, None).await.unwrap();
    assert_eq!(api.stand_in.conversations_of("guest-1"), ["lobby"]);
    api.next([Trouble::Lost]);
    twilio.remove_participant("lobby", &guest, None).await.unwrap();
    assert!(api.stand_in.conversations_of("guest-1").is_empty());
    api.next([Trouble::Lost]);
    twilio.delete_binding(&binding).await.unwrap();
    api.next([Trouble::Lost]);
    twilio.reset_user(&guest, &role, None).await.unwrap();
    assert!(!api.stand_in.is_marked("guest-1"));

    assert_eq!(api.stand_in.requests().len(), 8);
    assert_eq!(twilio.state().trouble, None);
}
