//! Logins under way.

use std::time::Duration;

use vestibule::inside::store::{NewLogin, Store, TakenLogin};
use vestibule::inside::{RequestId, Timestamp};

use super::{all_at_once, digest, provider};

fn login(return_to: &str) -> NewLogin {
    NewLogin {
        provider: provider("corp"),
        binding: digest("browser"),
        return_to: return_to.to_owned(),
    }
}

async fn begin(store: &Store) {
    store.begin_login(&digest("state"), &login("/chat?room=ü")).await.unwrap();
}

/// What taking it answers, but for when it was begun.
async fn take(store: &Store, browser: &str, at: &str, request: RequestId) -> TakenLogin {
    let (state, browser, at) = (digest("state"), digest(browser), provider(at));
    let taken = store.take_login_once(&state, &browser, &at, request).await.unwrap().value;
    match taken {
        TakenLogin::Taken { return_to, .. } => TakenLogin::Taken { return_to, begun: NEVER },
        other => other,
    }
}

const NEVER: Timestamp = Timestamp::from_millis(0);

fn taken() -> TakenLogin {
    TakenLogin::Taken { return_to: "/chat?room=ü".to_owned(), begun: NEVER }
}

pub async fn a_taken_login_tells_when_it_was_begun(store: &Store) {
    let at = store.begin_login(&digest("state"), &login("/")).await.unwrap().time.at();
    let take = async |request| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let (state, browser, at) = (digest("state"), digest("browser"), provider("corp"));
        match store.take_login_once(&state, &browser, &at, request).await.unwrap().value {
            TakenLogin::Taken { begun, .. } => begun.as_millis(),
            other => panic!("{other:?}"),
        }
    };
    let request = RequestId::unique();

    for _ in 0..3 {
        let begun = take(request).await;
        assert!((at.as_millis() - 1..=at.as_millis()).contains(&begun), "{begun} {at:?}");
    }
}

pub async fn a_login_is_taken_once(store: &Store) {
    begin(store).await;
    let first = RequestId::unique();

    assert_eq!(take(store, "browser", "corp", first).await, taken());
    assert_eq!(take(store, "browser", "corp", RequestId::unique()).await, TakenLogin::AlreadyTaken);
    assert_eq!(
        take(store, "browser", "corp", first).await,
        taken(),
        "the same request gets the same answer"
    );
    assert_eq!(take(store, "browser", "corp", RequestId::unique()).await, TakenLogin::AlreadyTaken);
}

pub async fn a_login_taken_by_twenty_at_once_is_taken_by_one(store: &Store) {
    begin(store).await;

    let answers = all_at_once(20, || take(store, "browser", "corp", RequestId::unique())).await;

    assert_eq!(answers.iter().filter(|answer| **answer == taken()).count(), 1);
    assert_eq!(answers.iter().filter(|answer| **answer == TakenLogin::AlreadyTaken).count(), 19);
}

pub async fn another_browser_finds_nothing_to_take(store: &Store) {
    begin(store).await;

    assert_eq!(
        take(store, "attacker", "corp", RequestId::unique()).await,
        TakenLogin::OtherBrowser { return_to: "/chat?room=ü".to_owned() }
    );
    assert_eq!(
        take(store, "attacker", "elsewhere", RequestId::unique()).await,
        TakenLogin::OtherBrowser { return_to: "/chat?room=ü".to_owned() }
    );
    assert_eq!(
        take(store, "browser", "corp", RequestId::unique()).await,
        taken(),
        "it stays for its browser"
    );
    assert_eq!(
        take(store, "attacker", "corp", RequestId::unique()).await,
        TakenLogin::OtherBrowser { return_to: "/chat?room=ü".to_owned() }
    );
}

pub async fn another_provider_finds_nothing_to_take(store: &Store) {
    begin(store).await;

    assert_eq!(
        take(store, "browser", "elsewhere", RequestId::unique()).await,
        TakenLogin::OtherProvider
    );
    assert_eq!(
        take(store, "browser", "corp", RequestId::unique()).await,
        taken(),
        "it stays for its provider"
    );
}

pub async fn a_login_that_was_never_begun_is_unknown(store: &Store) {
    assert_eq!(take(store, "browser", "corp", RequestId::unique()).await, TakenLogin::Unknown);
}

pub async fn a_login_begun_twice_stays_the_first(store: &Store) {
    begin(store).await;
    let other = NewLogin { binding: digest("attacker"), ..login("/evil") };
    store.begin_login(&digest("state"), &other).await.unwrap();

    assert_eq!(
        take(store, "attacker", "corp", RequestId::unique()).await,
        TakenLogin::OtherBrowser { return_to: "/chat?room=ü".to_owned() }
    );
    assert_eq!(take(store, "browser", "corp", RequestId::unique()).await, taken());
}

pub async fn a_taken_login_cannot_be_begun_again(store: &Store) {
    begin(store).await;
    take(store, "browser", "corp", RequestId::unique()).await;

    begin(store).await;

    assert_eq!(take(store, "browser", "corp", RequestId::unique()).await, TakenLogin::AlreadyTaken);
}
