//! Sessions: how they begin, are used, and end.

use std::time::Duration;

use vestibule::inside::RequestId;
use vestibule::inside::store::{
    Dated, NewSession, NewStanding, OpenedSession, Rate, Session, Store, UseTerms, UsedSession,
};

use super::{
    AT_EASE, HOUR, all_at_once, hourly, identity, new_session, new_standing, open, provider,
    session_key,
};

async fn use_it(store: &Store, terms: UseTerms) -> UsedSession {
    store
        .use_session(&session_key("alice", "one"), &terms, RequestId::unique())
        .await
        .unwrap()
        .value
}

async fn read(store: &Store) -> Option<Session> {
    let read = store.read_session(&session_key("alice", "one"), HOUR).await.unwrap().value;
    read.map(|(session, ..)| session)
}

async fn end(store: &Store, request: RequestId) -> bool {
    store.end_session(&session_key("alice", "one"), HOUR, request).await.unwrap().value
}

fn is_live(used: &UsedSession) -> bool {
    matches!(used, UsedSession::Live(..))
}

async fn rest(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

pub async fn a_session_is_what_was_opened(store: &Store) {
    for (at, who) in [("corp", "alice"), ("a", "A.b_c~d-1"), ("0-9", &*"x".repeat(256))] {
        let standing = NewStanding { provider: provider(at), ..new_standing(who) };
        let new = NewSession { standing, ..new_session(who, "one") };

        let opened = store.open_session(&new).await.unwrap();

        let now = opened.time.at();
        let session = Session {
            identity: identity(who),
            provider: provider(at),
            since: now,
            last_used: now,
            ends: now.plus(new.lifetime),
            asked: None,
        };
        assert_eq!(opened.value, OpenedSession::Opened(session.clone()));
        let read = store.read_session(&new.key, HOUR).await.unwrap().value;
        assert_eq!(read, Some((session, new.standing.verdict, new.standing.decision)));
    }
}

pub async fn a_session_opened_twice_is_one(store: &Store) {
    let first = open(store, &new_session("alice", "one")).await;
    rest(5).await;
    let standing = NewStanding { provider: provider("else"), ..new_standing("alice") };
    let other = NewSession { standing, lifetime: HOUR, ..new_session("alice", "one") };

    assert_eq!(open(store, &other).await, first);
    assert_eq!(read(store).await, Some(first));
}

pub async fn a_session_ends_when_it_lies_idle(store: &Store) {
    let idle = Duration::from_millis(300);
    open(store, &NewSession { idle, ..new_session("alice", "one") }).await;

    rest(310).await;

    assert_eq!(use_it(store, UseTerms { idle, limit: None }).await, UsedSession::Ended);
    assert_eq!(
        use_it(store, AT_EASE).await,
        UsedSession::Ended,
        "a longer idle time does not bring it back"
    );
    assert_eq!(read(store).await, None);
    assert!(!end(store, RequestId::unique()).await);
}

pub async fn a_session_that_is_used_does_not_lie_idle(store: &Store) {
    let idle = Duration::from_millis(1500);
    let opened = open(store, &NewSession { idle, ..new_session("alice", "one") }).await;

    for _ in 0..4 {
        rest(500).await;
        let UsedSession::Live(session, _) = use_it(store, UseTerms { idle, limit: None }).await
        else {
            panic!("it ended though it was used")
        };
        assert!(session.last_used > opened.last_used);
        assert_eq!((session.since, session.ends), (opened.since, opened.ends));
    }
}

pub async fn a_use_is_written_once_the_last_is_a_grain_old(store: &Store) {
    let opened = open(store, &new_session("alice", "one")).await;
    let terms = UseTerms { idle: Duration::from_millis(128 * 200), limit: None };
    let key = session_key("alice", "one");
    let use_now = async || match store.use_session(&key, &terms, RequestId::unique()).await.unwrap()
    {
        Dated { value: UsedSession::Live(session, _), time } => (session.last_used, time.at()),
        other => panic!("{other:?}"),
    };

    let (last_used, _) = use_now().await;
    assert_eq!(last_used, opened.last_used, "a moment ago is as good as now");

    tokio::time::sleep(Duration::from_millis(250)).await;
    let (last_used, now) = use_now().await;
    assert_eq!(last_used, now);
}

pub async fn a_session_ends_though_it_is_used(store: &Store) {
    open(
        store,
        &NewSession { lifetime: Duration::from_millis(900), ..new_session("alice", "one") },
    )
    .await;
    assert!(is_live(&use_it(store, AT_EASE).await));

    rest(910).await;

    assert_eq!(use_it(store, AT_EASE).await, UsedSession::Ended);
    assert_eq!(read(store).await, None);
}

pub async fn a_shorter_idle_time_counts_for_sessions_that_are_there(store: &Store) {
    open(store, &new_session("alice", "one")).await;
    rest(20).await;
    let idle = Duration::from_millis(10);

    assert_eq!(use_it(store, UseTerms { idle, limit: None }).await, UsedSession::Ended);
    assert_eq!(store.read_session(&session_key("alice", "one"), idle).await.unwrap().value, None);
    assert!(is_live(&use_it(store, AT_EASE).await), "only this look at it was strict");
}

pub async fn reading_a_session_does_not_use_it(store: &Store) {
    let opened = open(store, &new_session("alice", "one")).await;
    rest(5).await;

    assert_eq!(read(store).await, Some(opened.clone()));
    assert_eq!(read(store).await, Some(opened));
}

pub async fn a_use_over_the_limit_is_not_counted_and_does_not_renew(store: &Store) {
    open(store, &new_session("alice", "one")).await;
    let terms = UseTerms { idle: HOUR, limit: Some(hourly(2)) };
    assert!(is_live(&use_it(store, terms).await));
    assert!(is_live(&use_it(store, terms).await));
    let used = read(store).await.unwrap();
    rest(5).await;

    let UsedSession::Limited { after } = use_it(store, terms).await else {
        panic!("the third use is allowed")
    };

    assert!(after <= Duration::from_mins(30) && after > Duration::from_mins(29), "{after:?}");
    assert_eq!(read(store).await, Some(used), "its idle time goes on");
    assert!(is_live(&use_it(store, AT_EASE).await), "without a limit there is none");
}

pub async fn a_limit_of_a_session_refills(store: &Store) {
    open(store, &new_session("alice", "one")).await;
    let terms =
        UseTerms { idle: HOUR, limit: Some(Rate { count: 1, per: Duration::from_secs(1) }) };
    use_it(store, terms).await;
    let UsedSession::Limited { after } = use_it(store, terms).await else {
        panic!("the second use is allowed")
    };

    tokio::time::sleep(after + Duration::from_millis(2)).await;

    assert!(is_live(&use_it(store, terms).await));
}

pub async fn a_request_that_uses_a_session_twice_in_a_row_is_counted_once(store: &Store) {
    open(store, &new_session("alice", "one")).await;
    let terms = UseTerms { idle: HOUR, limit: Some(hourly(2)) };
    let (key, request) = (session_key("alice", "one"), RequestId::unique());

    let first = store.use_session(&key, &terms, request).await.unwrap().value;
    rest(5).await;
    let again = store.use_session(&key, &terms, request).await.unwrap().value;

    assert_eq!(first, again);
    assert!(is_live(&first));
    assert!(is_live(&use_it(store, terms).await));
    assert!(!is_live(&use_it(store, terms).await));
}

pub async fn a_session_ends_once_and_for_good(store: &Store) {
    open(store, &new_session("alice", "one")).await;
    open(store, &new_session("alice", "two")).await;
    let request = RequestId::unique();

    assert!(end(store, request).await);

    assert!(end(store, request).await, "the same request gets the same answer");
    assert!(!end(store, RequestId::unique()).await);
    assert_eq!(use_it(store, AT_EASE).await, UsedSession::Ended);
    assert_eq!(read(store).await, None);
    let other = store.read_session(&session_key("alice", "two"), HOUR).await.unwrap().value;
    assert!(other.is_some(), "the other device stays signed in");
}

pub async fn an_ended_session_is_not_brought_back_by_what_comes_late(store: &Store) {
    let new = new_session("alice", "one");
    let opened = open(store, &new).await;
    let request = RequestId::unique();
    let used = store.use_session(&new.key, &AT_EASE, request).await.unwrap().value;
    assert!(is_live(&used));
    end(store, RequestId::unique()).await;

    let late = store.use_session(&new.key, &AT_EASE, request).await.unwrap().value;
    let reopened = open(store, &new).await;

    assert_eq!(late, UsedSession::Ended);
    assert_eq!(reopened.since, opened.since, "a late repeat is answered with the session that was");
    assert_eq!(read(store).await, None);
}

pub async fn ending_what_never_was_is_answered_no(store: &Store) {
    let request = RequestId::unique();

    assert!(!end(store, request).await);
    assert!(!end(store, request).await);
    assert_eq!(use_it(store, AT_EASE).await, UsedSession::Ended);
}

pub async fn a_session_is_found_by_its_whole_name_only(store: &Store) {
    open(store, &new_session("alice", "one")).await;

    for key in [session_key("alice", "two"), session_key("bob", "one")] {
        assert_eq!(store.read_session(&key, HOUR).await.unwrap().value, None);
        assert!(!store.end_session(&key, HOUR, RequestId::unique()).await.unwrap().value);
    }
    assert!(read(store).await.is_some());
}

pub async fn ten_sessions_of_one_subject_have_one_identity(store: &Store) {
    let mut next = 0;

    let opened = all_at_once(10, || {
        next += 1;
        let mut new = new_session("alice", &next.to_string());
        new.identity = identity(&format!("identity-{}", next % 2));
        async move { store.open_session(&new).await.unwrap().value }
    })
    .await;

    let bound = super::bound(store, "alice").await;
    let is_bound = |opened: &&OpenedSession| match opened {
        OpenedSession::Opened(session) => Some(&session.identity) == bound.as_ref(),
        OpenedSession::Overtaken | OpenedSession::LoggedOut => false,
    };
    assert_eq!(opened.iter().filter(is_bound).count(), 5, "{opened:?}");
    let overtaken = opened.iter().filter(|opened| **opened == OpenedSession::Overtaken);
    assert_eq!(overtaken.count(), 5, "the others are told to look again");
}

pub async fn a_session_stands_on_the_standing_of_its_own_provider(store: &Store) {
    let at = |name: &str, secret: &str| {
        let decision = format!(r#""at {name}""#);
        let standing = NewStanding { provider: provider(name), decision, ..new_standing("alice") };
        NewSession { standing, ..new_session("alice", secret) }
    };
    let (corp, guest) = (at("corp", "one"), at("corp-2", "two"));
    open(store, &corp).await;
    open(store, &guest).await;

    for new in [corp, guest] {
        let (session, _, decision) =
            store.read_session(&new.key, HOUR).await.unwrap().value.unwrap();
        assert_eq!((session.provider, decision), (new.standing.provider, new.standing.decision));
    }
}

pub async fn every_answer_is_dated_and_time_goes_on(store: &Store) {
    let first = store.read_time().await.unwrap().time.at();
    rest(20).await;
    let second =
        store.find_identity(&session_key("alice", "one").subject, None).await.unwrap().time.at();
    let third = store
        .use_session(&session_key("alice", "one"), &AT_EASE, RequestId::unique())
        .await
        .unwrap()
        .time
        .at();
    let machine = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();

    assert!(first < second && second <= third);
    assert!(machine.abs_diff(u128::from(third.as_millis())) < 2000);
}
