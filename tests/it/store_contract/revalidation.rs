//! Asking a provider again: one caller at a time, and nothing that it writes outlives the session.

use std::time::Duration;

use vestibule::inside::store::{
    Asked, BegunRevalidation, EndedSession, NewSession, NewStanding, Outcome, Revalidated, Scope,
    Session, SessionKey, Standing, Store, TakenGrant, UsedSession, Verdict, Way,
};
use vestibule::inside::{Handle, RequestId, Timestamp};

use super::{
    AT_EASE, HOUR, all_at_once, allowed, denied, denied_standing, find, identity, new_session,
    new_standing, open, provider, redis_store, session_key, subject,
};
use crate::support::redis::RedisServer;

/// A session about which the provider can be asked again, by what it gave: `grant of <secret>`.
pub fn granted(who: &str, secret: &str) -> NewSession {
    NewSession {
        way: Some(Way::Refresh),
        grant: Some(format!("grant of {secret}")),
        ..new_session(who, secret)
    }
}

/// Alice's session `one`, about which her provider can be asked again.
async fn open_one(store: &Store) -> Session {
    open(store, &granted("alice", "one")).await
}

fn one() -> SessionKey {
    session_key("alice", "one")
}

/// When the provider was asked last about alice's session `one`.
async fn asked(store: &Store) -> Timestamp {
    read(store).await.unwrap().asked.unwrap().at
}

async fn read(store: &Store) -> Option<Session> {
    let read = store.read_session(&one(), HOUR).await.unwrap().value;
    read.map(|(session, ..)| session)
}

async fn begin(store: &Store, request: RequestId, hold: Duration) -> BegunRevalidation {
    let asked = asked(store).await;
    store.begin_revalidation(&one(), asked, (HOUR, hold), request).await.unwrap().value
}

fn yours(grant: &str, standing: &Standing) -> BegunRevalidation {
    BegunRevalidation::Yours { grant: grant.to_owned(), obtained: Some(standing.obtained) }
}

async fn keep(store: &Store, request: RequestId, sealed: &str) -> bool {
    store.keep_grant(&one(), request, sealed).await.unwrap().value
}

async fn finish(store: &Store, request: RequestId, said: &Revalidated) -> bool {
    store.finish_revalidation(&one(), request, said).await.unwrap().value
}

async fn pause(store: &Store, request: RequestId, pause: Duration) -> Timestamp {
    store.pause_revalidation(&one(), request, pause).await.unwrap().time.at()
}

/// The provider can be asked again, and says of alice what is known of her since `obtained`.
fn as_before(at: Timestamp) -> Revalidated {
    let asked = Some(Asked { at, way: Way::Refresh });
    Revalidated { asked, standing: None, obtained: None }
}

async fn standing(store: &Store) -> Standing {
    let alice = subject("alice").key();
    store.read_standing(&alice, &provider("corp")).await.unwrap().value.unwrap()
}

/// The grants of sessions of `who` that are no more, in order.
pub async fn take_grants(store: &Store, who: &str) -> Vec<String> {
    let taken = store.take_grants(&subject(who).key()).await.unwrap().value.taken;
    let mut sealed = taken.into_iter().map(|taken| taken.sealed).collect::<Vec<_>>();
    sealed.sort_unstable();
    sealed
}

async fn rest(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

pub async fn a_session_tells_when_its_provider_was_asked_and_how_it_can_be_again(store: &Store) {
    let until = Timestamp::from_millis(1_795_521_660_000);
    for (number, way) in [Way::Refresh, Way::Userinfo { until }].into_iter().enumerate() {
        let (who, sid) = (format!("who-{number}"), Some(Handle::of(&["sid"])));
        let new = NewSession { way: Some(way), sid, ..granted(&who, "one") };

        let opened = open(store, &new).await;

        assert_eq!(opened.asked, Some(Asked { at: opened.since, way }), "the login counts");
        assert_eq!(open(store, &new).await, opened, "and stays when it is sent again");
        let used = store.use_session(&new.key, &AT_EASE, RequestId::unique()).await.unwrap().value;
        assert_eq!(used, UsedSession::Live(opened.clone(), new.standing.verdict));
        let (read, verdict, _) = store.read_session(&new.key, HOUR).await.unwrap().value.unwrap();
        assert_eq!((&read, verdict), (&opened, new.standing.verdict));
        let listed = store.list_sessions(&new.key, HOUR).await.unwrap().value.unwrap();
        assert_eq!(listed[0].session, opened);
    }
}

pub async fn who_left_nothing_to_ask_with_is_not_asked_about(store: &Store) {
    let all = [
        NewSession { way: None, ..granted("alice", "one") },
        NewSession { grant: None, ..granted("alice", "two") },
    ];
    for new in all {
        let opened = open(store, &new).await;

        assert_eq!(opened.asked, None, "{}", new.label);
        let begun = store
            .begin_revalidation(&new.key, opened.since, (HOUR, HOUR), RequestId::unique())
            .await;
        assert_eq!(begun.unwrap().value, BegunRevalidation::Done, "{}", new.label);
    }
}

pub async fn of_fifty_callers_one_asks(store: &Store) {
    open_one(store).await;
    of_fifty_one_asks([store, store]).await;
}

#[tokio::test]
async fn of_fifty_callers_over_two_connections_one_asks() {
    let server = RedisServer::start();
    let stores = [redis_store(&server.url()).await, redis_store(&server.url()).await];
    for round in 0..20 {
        let _ok: String = server.ask(&["FLUSHDB"]);
        open_one(&stores[round % 2]).await;
        of_fifty_one_asks([&stores[0], &stores[1]]).await;
    }
}

/// Fifty callers want to ask about alice's session `one`; those who may not wait until it is done.
async fn of_fifty_one_asks(stores: [&Store; 2]) {
    let before = asked(stores[0]).await;
    let after = before.plus(HOUR);
    let mut next = 0;
    let answers = all_at_once(50, || {
        next += 1;
        let store = stores[next % 2];
        async move {
            let request = RequestId::unique();
            let begin = async || {
                let terms = (HOUR, HOUR);
                store.begin_revalidation(&one(), before, terms, request).await.unwrap().value
            };
            match begin().await {
                BegunRevalidation::Yours { grant, .. } => {
                    assert_eq!(grant, "grant of one");
                    rest(20).await;
                    assert!(keep(store, request, "rotated").await);
                    assert!(finish(store, request, &as_before(after)).await);
                    return 1;
                }
                BegunRevalidation::Anothers { .. } => {
                    let mut seen = begin().await;
                    for _ in 0..400 {
                        if !matches!(seen, BegunRevalidation::Anothers { .. }) {
                            break;
                        }
                        rest(5).await;
                        seen = begin().await;
                    }
                    assert_eq!(seen, BegunRevalidation::Done);
                }
                other => assert_eq!(other, BegunRevalidation::Done),
            }
            0
        }
    })
    .await;

    assert_eq!(answers.iter().sum::<u32>(), 1);
    for store in stores {
        assert_eq!(asked(store).await, after);
    }
}

pub async fn who_has_it_takes_it_anew_and_others_are_told_until_when(store: &Store) {
    open_one(store).await;
    let (first, found) = (RequestId::unique(), standing(store).await);
    let hold = Duration::from_secs(30);
    assert_eq!(begin(store, first, hold).await, yours("grant of one", &found));
    rest(20).await;

    let at = asked(store).await;
    let again = store.begin_revalidation(&one(), at, (HOUR, hold), first).await.unwrap();

    assert_eq!(again.value, yours("grant of one", &found));
    let until = again.time.at().plus(hold);
    let other = begin(store, RequestId::unique(), hold).await;
    assert_eq!(other, BegunRevalidation::Anothers { until });
}

pub async fn a_hold_that_is_over_passes_to_the_next_with_the_grant_kept_last(store: &Store) {
    open_one(store).await;
    let [killed, next] = [RequestId::unique(), RequestId::unique()];
    let (found, short) = (standing(store).await, Duration::from_millis(150));
    begin(store, killed, short).await;
    assert!(keep(store, killed, "rotated").await);
    let other = begin(store, next, short).await;
    assert!(matches!(other, BegunRevalidation::Anothers { .. }), "{other:?}");
    rest(160).await;

    assert_eq!(begin(store, next, HOUR).await, yours("rotated", &found));

    let at = asked(store).await.plus(HOUR);
    assert!(!keep(store, killed, "late").await);
    assert!(!finish(store, killed, &as_before(at)).await);
    pause(store, killed, HOUR).await;
    assert_eq!(begin(store, next, HOUR).await, yours("rotated", &found));
    assert!(finish(store, next, &as_before(at)).await);
    assert_eq!(asked(store).await, at);
}

pub async fn who_is_late_may_finish_while_nobody_took_it(store: &Store) {
    open_one(store).await;
    let slow = RequestId::unique();
    begin(store, slow, Duration::from_millis(20)).await;
    rest(40).await;

    assert!(keep(store, slow, "rotated").await);
    let at = asked(store).await.plus(HOUR);
    assert!(finish(store, slow, &as_before(at)).await);

    let BegunRevalidation::Yours { grant, .. } = begin(store, RequestId::unique(), HOUR).await
    else {
        panic!("nobody asks")
    };
    assert_eq!(grant, "rotated");
}

pub async fn what_the_provider_said_counts_from_then_on(store: &Store) {
    let opened = open_one(store).await;
    let (request, found) = (RequestId::unique(), standing(store).await);
    begin(store, request, HOUR).await;
    let until = Timestamp::from_millis(1_795_521_660_000);
    let next = Asked { at: opened.since.plus(HOUR), way: Way::Userinfo { until } };
    let said = NewStanding { claims: "{\"newer\":1}".to_owned(), ..denied_standing("alice") };

    let revalidated = Revalidated {
        asked: Some(next),
        standing: Some(said.clone()),
        obtained: Some(found.obtained),
    };
    assert!(finish(store, request, &revalidated).await);

    let now = standing(store).await;
    assert_eq!((&now.claims, now.verdict), (&said.claims, said.verdict));
    assert!(now.obtained > found.obtained, "they have a name of their own");
    let (session, verdict, decision) =
        store.read_session(&one(), HOUR).await.unwrap().value.unwrap();
    assert_eq!((verdict, decision), (said.verdict, said.decision));
    assert_eq!(session, Session { asked: Some(next), ..opened.clone() });
    let late =
        store.begin_revalidation(&one(), opened.since, (HOUR, HOUR), RequestId::unique()).await;
    assert_eq!(late.unwrap().value, BegunRevalidation::Done, "it was asked since");
    assert_eq!(begin(store, RequestId::unique(), HOUR).await, yours("grant of one", &now));
}

pub async fn claims_that_are_as_they_were_stay(store: &Store) {
    let opened = open_one(store).await;
    let (request, found) = (RequestId::unique(), standing(store).await);
    begin(store, request, HOUR).await;

    assert!(finish(store, request, &as_before(opened.since.plus(HOUR))).await);

    assert_eq!(standing(store).await, found);
}

pub async fn a_session_whose_provider_cannot_be_asked_any_more_says_so(store: &Store) {
    let opened = open_one(store).await;
    let request = RequestId::unique();
    begin(store, request, HOUR).await;

    let said = Revalidated { asked: None, ..as_before(opened.since) };
    assert!(!finish(store, RequestId::unique(), &said).await);
    for _ in 0..2 {
        assert!(finish(store, request, &said).await, "twice is once");
    }
    assert!(!finish(store, RequestId::unique(), &said).await);

    assert_eq!(read(store).await, Some(Session { asked: None, ..opened.clone() }));
    let begun = store.begin_revalidation(&one(), opened.since, (HOUR, HOUR), request).await;
    assert_eq!(begun.unwrap().value, BegunRevalidation::Done);
    assert_eq!(take_grants(store, "alice").await, [""; 0], "what the provider gave stays");
}

pub async fn who_finished_has_it_no_more_and_may_say_so_twice(store: &Store) {
    let opened = open_one(store).await;
    let (request, at) = (RequestId::unique(), opened.since.plus(HOUR));
    assert!(!finish(store, request, &as_before(at)).await, "it was never begun");
    begin(store, request, HOUR).await;
    assert!(!finish(store, RequestId::unique(), &as_before(at)).await, "it is another's");
    assert_eq!(asked(store).await, opened.since);

    for _ in 0..2 {
        assert!(finish(store, request, &as_before(at)).await, "twice is once");
    }
    let later = as_before(at.plus(HOUR));
    assert!(!finish(store, request, &later).await, "that would be another");

    assert_eq!(asked(store).await, at);
    assert!(!keep(store, request, "late").await);
    pause(store, request, HOUR).await;
    let next = begin(store, RequestId::unique(), HOUR).await;
    assert_eq!(next, yours("grant of one", &standing(store).await));
    assert!(!finish(store, request, &as_before(at)).await, "it is another's by now");
}

/// What is there by the time that the provider has answered, and whether that stays.
pub async fn claims_denied_meanwhile_stay_and_others_do_not(store: &Store) {
    let ttl = Some(Duration::from_mins(5));
    let shorter = Verdict { outcome: Outcome::Allowed { token_ttl: ttl }, ..allowed("policy") };
    let denial = denied();
    for (number, (verdict, found_again, stays)) in
        [(denial, false, true), (denial, true, false), (shorter, false, false)]
            .into_iter()
            .enumerate()
    {
        let who = format!("who-{number}");
        let new = granted(&who, "one");
        let opened = open(store, &new).await;
        let request = RequestId::unique();
        let begin = store.begin_revalidation(&new.key, opened.since, (HOUR, HOUR), request);
        let BegunRevalidation::Yours { mut obtained, .. } = begin.await.unwrap().value else {
            panic!("another asks")
        };
        let meanwhile = NewStanding { verdict, ..new_standing(&who) };
        store.keep_standing(&meanwhile).await.unwrap();
        if found_again {
            obtained = find(store, &who).await.obtained;
        }
        let said = Some(NewStanding { verdict: allowed("said"), ..new_standing(&who) });

        let at = opened.since.plus(HOUR);
        let revalidated = Revalidated { standing: said, obtained, ..as_before(at) };
        let finished = store.finish_revalidation(&new.key, request, &revalidated).await;

        assert!(finished.unwrap().value, "{number}");
        let (session, now, _) = store.read_session(&new.key, HOUR).await.unwrap().value.unwrap();
        assert_eq!(now, if stays { verdict } else { allowed("said") }, "{number}");
        assert_eq!(session.asked.unwrap().at, at, "{number}: the provider was asked all the same");
    }
}

/// Ends the session `one` of somebody, in one of nine ways.
async fn end(store: &Store, who: &str, way: usize) {
    let (key, request) = (session_key(who, "one"), RequestId::unique());
    let subject = key.subject;
    let open_another = async |most| {
        let found = find(store, who).await;
        open(store, &NewSession { found, most, ..new_session(who, "another") }).await;
        session_key(who, "another")
    };
    match way {
        0 => assert!(store.end_session(&key, HOUR, request).await.unwrap().value),
        1 => {
            let ended = store.end_listed_session(&key, &key.id, HOUR, request).await;
            assert_eq!(ended.unwrap().value, EndedSession::Ended);
        }
        2 => {
            let another = open_another(10).await;
            assert!(store.end_other_sessions(&another, HOUR, request).await.unwrap().value);
        }
        3 => drop(open_another(1).await),
        4 => {
            let endings = find(store, who).await.binding.endings;
            store.end_all_sessions(&subject, endings).await.unwrap();
        }
        5 => drop(store.retire_subject(&subject, &identity(who)).await.unwrap()),
        6 => drop(store.mark_subject(&subject, &identity(who), None).await.unwrap()),
        7 => drop(store.log_out_subject(&subject, &Scope::All, request).await.unwrap()),
        _ => {
            let scope = Scope::Session { sid: Handle::of(&["sid"]), nameless: false };
            store.log_out_subject(&subject, &scope, request).await.unwrap();
        }
    }
}

pub async fn nothing_is_written_for_a_session_that_is_no_more(store: &Store) {
    for way in 0..9 {
        let (who, request) = (format!("who-{way}"), RequestId::unique());
        let new = NewSession { sid: Some(Handle::of(&["sid"])), ..granted(&who, "one") };
        let opened = open(store, &new).await;
        let terms = (HOUR, HOUR);
        let begun = store.begin_revalidation(&new.key, opened.since, terms, request).await;
        assert!(matches!(begun.unwrap().value, BegunRevalidation::Yours { .. }), "{way}");

        end(store, &who, way).await;

        let before = store.read_standing(&new.key.subject, &provider("corp")).await.unwrap().value;
        assert!(!store.keep_grant(&new.key, request, "late").await.unwrap().value, "{way}");
        let said = NewStanding { claims: "{\"late\":1}".to_owned(), ..new_standing(&who) };
        let asked = Some(Asked { at: opened.since.plus(HOUR), way: Way::Refresh });
        let revalidated = Revalidated { asked, standing: Some(said), obtained: None };
        let finish = async || {
            store.finish_revalidation(&new.key, request, &revalidated).await.unwrap().value
        };
        assert!(!finish().await, "{way}");
        store.pause_revalidation(&new.key, request, HOUR).await.unwrap();
        assert!(!finish().await, "{way}");

        let after = store.read_standing(&new.key.subject, &provider("corp")).await.unwrap().value;
        assert_eq!(after, before, "{way}");
        let begun = store.begin_revalidation(&new.key, opened.since, terms, request).await;
        assert_eq!(begun.unwrap().value, BegunRevalidation::Ended, "{way}");
        let used = store.use_session(&new.key, &AT_EASE, RequestId::unique()).await.unwrap().value;
        assert_eq!(used, UsedSession::Ended, "{way}");
        assert_eq!(take_grants(store, &who).await, ["grant of one"], "{way}");
    }
}

pub async fn a_session_that_has_lain_idle_is_not_asked_about(store: &Store) {
    let opened = open_one(store).await;
    rest(20).await;

    let terms = (Duration::from_millis(10), HOUR);
    let begun = store.begin_revalidation(&one(), opened.since, terms, RequestId::unique()).await;

    assert_eq!(begun.unwrap().value, BegunRevalidation::Ended);
}

pub async fn a_provider_that_is_away_is_left_alone_for_a_while(store: &Store) {
    open_one(store).await;
    let [first, next] = [RequestId::unique(), RequestId::unique()];
    let short = Duration::from_millis(150);
    begin(store, first, HOUR).await;
    pause(store, next, HOUR).await;
    let other = begin(store, next, HOUR).await;
    assert!(matches!(other, BegunRevalidation::Anothers { .. }), "it was not theirs to pause");

    let until = pause(store, first, short).await.plus(short);

    for request in [first, next] {
        assert_eq!(begin(store, request, HOUR).await, BegunRevalidation::Paused { until });
    }
    let at = asked(store).await.plus(HOUR);
    assert!(!finish(store, first, &as_before(at)).await, "who paused has it no more");
    rest(160).await;
    assert_eq!(begin(store, next, HOUR).await, yours("grant of one", &standing(store).await));
    assert!(finish(store, next, &as_before(at)).await);
}

pub async fn grants_of_sessions_that_are_no_more_come_out_once(store: &Store) {
    let short = Duration::from_millis(150);
    for (name, idle, lifetime) in [
        ("live", HOUR, 2 * HOUR),
        ("idle", short, HOUR),
        ("ended", HOUR, HOUR),
        ("too", HOUR, HOUR),
    ] {
        let found = find(store, "alice").await;
        open(store, &NewSession { found, idle, lifetime, ..granted("alice", name) }).await;
    }
    open(store, &granted("bob", "bob's")).await;
    store.end_session(&session_key("bob", "bob's"), HOUR, RequestId::unique()).await.unwrap();
    assert_eq!(take_grants(store, "alice").await, [""; 0], "all live");
    store.end_session(&session_key("alice", "ended"), HOUR, RequestId::unique()).await.unwrap();
    rest(160).await;

    assert_eq!(take_grants(store, "alice").await, ["grant of ended", "grant of idle"]);
    assert_eq!(take_grants(store, "alice").await, [""; 0], "each comes once");

    store.retire_subject(&subject("alice").key(), &identity("another")).await.unwrap();
    let found = find(store, "alice").await;
    open(store, &NewSession { found, ..granted("alice", "new") }).await;
    assert_eq!(take_grants(store, "alice").await, ["grant of live", "grant of too"]);
    let taken = store.take_grants(&subject("bob").key()).await.unwrap().value.taken;
    let id = session_key("bob", "bob's").id;
    assert_eq!(taken, [TakenGrant { id, sealed: "grant of bob's".to_owned() }]);
    assert_eq!(take_grants(store, "nobody").await, [""; 0]);
}
