//! All sessions of one subject: listed, ended by each other, and never too many.

use std::collections::BTreeSet;
use std::time::Duration;

use vestibule::inside::RequestId;
use vestibule::inside::store::{
    EndedSession, Found, ListedSession, NewSession, SessionKey, Store, UsedSession,
};

use super::{AT_EASE, HOUR, all_at_once, find, identity, new_session, open, session_key, subject};

/// What `asker` is shown; `None` when it is no more.
async fn list(store: &Store, asker: &SessionKey) -> Option<Vec<ListedSession>> {
    store.list_sessions(asker, HOUR).await.unwrap().value
}

/// The labels that alice's session `one` is shown, in order.
async fn labels(store: &Store) -> Vec<String> {
    let listed = list(store, &session_key("alice", "one")).await.unwrap();
    let labels: BTreeSet<_> = listed.into_iter().map(|listed| listed.label).collect();
    labels.into_iter().collect()
}

/// Opens alice's sessions of these names, labelled so.
async fn open_all(store: &Store, names: &[&str]) {
    for name in names {
        let found = find(store, "alice").await;
        open(store, &NewSession { found, ..new_session("alice", name) }).await;
    }
}

async fn end(store: &Store, asker: &SessionKey, name: &str) -> EndedSession {
    let id = session_key("alice", name).id;
    store.end_listed_session(asker, &id, HOUR, RequestId::unique()).await.unwrap().value
}

async fn end_others(store: &Store, asker: &SessionKey, request: RequestId) -> bool {
    store.end_other_sessions(asker, HOUR, request).await.unwrap().value
}

async fn lives(store: &Store, key: &SessionKey) -> bool {
    let used = store.use_session(key, &AT_EASE, RequestId::unique()).await.unwrap().value;
    matches!(used, UsedSession::Live(..))
}

pub async fn each_session_is_listed_as_it_was_opened(store: &Store) {
    let one = new_session("alice", "one");
    let two =
        NewSession { label: "Firefox, \"ü\" on Windows".into(), ..new_session("alice", "two") };
    let [first, second] = [open(store, &one).await, open(store, &two).await];
    open(store, &new_session("bob", "three")).await;

    for asker in [one.key, two.key] {
        let mut listed = list(store, &asker).await.unwrap();
        listed.sort_by_key(|listed| listed.label != one.label);
        let expected = [(&one, &first), (&two, &second)].map(|(new, session)| ListedSession {
            id: new.key.id,
            label: new.label.clone(),
            session: session.clone(),
        });
        assert_eq!(listed, expected);
    }
}

pub async fn listing_uses_no_session(store: &Store) {
    open_all(store, &["one", "two"]).await;
    tokio::time::sleep(Duration::from_millis(5)).await;

    let first = list(store, &session_key("alice", "one")).await.unwrap();
    let again = list(store, &session_key("alice", "one")).await.unwrap();

    let used = |all: Vec<ListedSession>| {
        all.into_iter().map(|it| (it.session.since, it.session.last_used)).collect::<Vec<_>>()
    };
    let (first, again) = (used(first), used(again));
    assert_eq!(first, again);
    assert!(first.iter().all(|(since, last_used)| since == last_used));
}

pub async fn a_session_that_is_over_is_not_listed(store: &Store) {
    let idle = Duration::from_millis(200);
    open(store, &new_session("alice", "one")).await;
    for (name, idle, lifetime) in
        [("ended", HOUR, 2 * HOUR), ("idle", idle, HOUR), ("old", HOUR, idle)]
    {
        let found = find(store, "alice").await;
        open(store, &NewSession { found, idle, lifetime, ..new_session("alice", name) }).await;
    }
    assert_eq!(labels(store).await, ["ended", "idle", "old", "one"]);
    let key = session_key("alice", "ended");
    store.end_session(&key, HOUR, RequestId::unique()).await.unwrap();
    assert_eq!(labels(store).await, ["idle", "old", "one"]);

    tokio::time::sleep(idle + Duration::from_millis(10)).await;

    assert_eq!(labels(store).await, ["one"]);
    for name in ["ended", "idle", "old"] {
        assert_eq!(list(store, &session_key("alice", name)).await, None, "{name} sees nothing");
        assert_eq!(end(store, &session_key("alice", "one"), name).await, EndedSession::NoSuch);
    }
    let strict = store.list_sessions(&session_key("alice", "one"), idle).await.unwrap().value;
    assert_eq!(strict, None, "nor does one that has lain idle by today's word");
}

pub async fn sessions_that_an_operator_ended_are_not_listed(store: &Store) {
    open_all(store, &["before", "too"]).await;
    let alice = subject("alice").key();
    store.retire_subject(&alice, &identity("another")).await.unwrap();
    assert_eq!(list(store, &session_key("alice", "before")).await, None);

    open_all(store, &["one"]).await;

    let one = session_key("alice", "one");
    assert_eq!(labels(store).await, ["one"]);
    assert_eq!(end(store, &one, "before").await, EndedSession::NoSuch);
    assert_eq!(end(store, &session_key("alice", "too"), "one").await, EndedSession::AskerEnded);
    assert!(!end_others(store, &session_key("alice", "too"), RequestId::unique()).await);
    assert!(lives(store, &one).await);
}

pub async fn a_session_ends_another_and_itself(store: &Store) {
    open_all(store, &["one", "three", "two"]).await;
    let [one, two, three] = ["one", "two", "three"].map(|name| session_key("alice", name));

    assert_eq!(end(store, &one, "two").await, EndedSession::Ended);
    assert_eq!(end(store, &one, "two").await, EndedSession::NoSuch, "it is no more");
    assert!(!lives(store, &two).await);
    assert_eq!(labels(store).await, ["one", "three"]);
    assert_eq!(end(store, &two, "one").await, EndedSession::AskerEnded);

    assert_eq!(end(store, &three, "three").await, EndedSession::Ended);
    assert!(!lives(store, &three).await);
    assert_eq!(labels(store).await, ["one"]);
    open(store, &new_session("alice", "two")).await;
    assert!(!lives(store, &two).await, "what comes late brings nothing back");
    assert_eq!(labels(store).await, ["one"]);
}

pub async fn a_session_of_another_subject_cannot_be_ended(store: &Store) {
    open_all(store, &["one"]).await;
    open(store, &new_session("bob", "two")).await;

    assert_eq!(end(store, &session_key("alice", "one"), "two").await, EndedSession::NoSuch);
    assert_eq!(end(store, &session_key("alice", "never"), "one").await, EndedSession::AskerEnded);
    assert!(end_others(store, &session_key("alice", "one"), RequestId::unique()).await);

    assert!(lives(store, &session_key("bob", "two")).await);
    assert!(lives(store, &session_key("alice", "one")).await);
}

pub async fn a_request_that_ends_a_session_twice_is_answered_the_same(store: &Store) {
    open_all(store, &["one", "two"]).await;
    let (one, request) = (session_key("alice", "one"), RequestId::unique());

    for name in ["two", "one"] {
        let id = session_key("alice", name).id;
        for _ in 0..2 {
            let ended = store.end_listed_session(&one, &id, HOUR, request).await.unwrap().value;
            assert_eq!(ended, EndedSession::Ended, "{name}");
        }
    }
    assert_eq!(end(store, &one, "one").await, EndedSession::AskerEnded);
}

pub async fn all_others_end_for_good(store: &Store) {
    open_all(store, &["one", "two", "three"]).await;
    let one = session_key("alice", "one");

    assert!(end_others(store, &one, RequestId::unique()).await);

    assert_eq!(labels(store).await, ["one"]);
    assert!(lives(store, &one).await);
    for name in ["two", "three"] {
        open(store, &new_session("alice", name)).await;
        assert!(!lives(store, &session_key("alice", name)).await, "{name}");
    }
    assert_eq!(labels(store).await, ["one"]);
    let gone = session_key("alice", "two");
    assert!(!end_others(store, &gone, RequestId::unique()).await);
    assert!(lives(store, &one).await);
}

pub async fn a_session_opened_in_between_outlives_the_same_request(store: &Store) {
    open_all(store, &["one", "two"]).await;
    let (one, request) = (session_key("alice", "one"), RequestId::unique());
    assert!(end_others(store, &one, request).await);
    open_all(store, &["three"]).await;

    assert!(end_others(store, &one, request).await);
    assert!(lives(store, &session_key("alice", "three")).await);

    assert!(end_others(store, &one, RequestId::unique()).await);
    assert!(!lives(store, &session_key("alice", "three")).await);
}

pub async fn one_session_too_many_ends_the_one_that_would_lie_idle_first(store: &Store) {
    let minutes = |count: u64| Duration::from_mins(count);
    let most = |name: &str, idle: Duration, found: Found| NewSession {
        most: 3,
        idle,
        found,
        ..new_session("alice", name)
    };
    for (name, idle) in [("one", 50), ("two", 20), ("three", 40), ("four", 30)] {
        open(store, &most(name, minutes(idle), find(store, "alice").await)).await;
    }

    assert_eq!(labels(store).await, ["four", "one", "three"]);
    assert!(!lives(store, &session_key("alice", "two")).await);
    // One that is there already is not one more.
    open(store, &most("four", HOUR, Found::default())).await;
    assert_eq!(labels(store).await, ["four", "one", "three"]);
    // What was ended leaves room.
    assert_eq!(end(store, &session_key("alice", "one"), "four").await, EndedSession::Ended);
    open(store, &most("five", HOUR, find(store, "alice").await)).await;
    assert_eq!(labels(store).await, ["five", "one", "three"]);
}

pub async fn a_thousand_sessions_are_listed_and_ended_at_once(store: &Store) {
    open_all(store, &["one"]).await;
    let found = find(store, "alice").await;
    let mut next = 0;
    for _ in 0..10 {
        all_at_once(100, || {
            next += 1;
            let name = next.to_string();
            let new = NewSession { found: found.clone(), ..new_session("alice", &name) };
            async move { open(store, &new).await }
        })
        .await;
    }
    let one = session_key("alice", "one");

    let listed = list(store, &one).await.unwrap();
    let ids: BTreeSet<_> = listed.iter().map(|listed| listed.id.to_string()).collect();
    assert_eq!((listed.len(), ids.len()), (1001, 1001));

    assert!(end_others(store, &one, RequestId::unique()).await);
    assert_eq!(list(store, &one).await.unwrap().len(), 1);
    assert!(!lives(store, &session_key("alice", "500")).await);
}
