//! What breaks between us and Redis: lost replies, silence, outages, and a server that is not as it should be.

use std::time::{Duration, Instant};

use secrecy::SecretString;
use vestibule::inside::store::{
    Allowance, Asked, BegunRevalidation, Binding, EndedSession, NewLogin, NewSession, NewStanding,
    OpenError, OpenedSession, Replicas, Revalidated, Scope, Session, Settings, Store, StoreError,
    TakenLogin, UseTerms, UsedSession, Way,
};
use vestibule::inside::{Handle, Metrics, Reference, RequestId, Timestamp};

use super::revalidation::granted;
use super::{
    AT_EASE, HOUR, allowed, bound, denied_standing, digest, find, hourly, identity, new_session,
    new_standing, open, provider, redis_store, session_key, subject,
};
use crate::support::proxy::Proxy;
use crate::support::redis::RedisServer;

/// A server, a proxy before it, and a store that has spoken through it.
pub(super) async fn behind_a_proxy() -> (RedisServer, Proxy, Store) {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.address()).await;
    let store = redis_store(&proxy.url()).await;
    store.open_session(&new_session("alice", "one")).await.unwrap();
    (server, proxy, store)
}

async fn use_it(store: &Store, request: RequestId) -> Result<UsedSession, StoreError> {
    let terms = UseTerms { idle: HOUR, limit: Some(hourly(2)) };
    store.use_session(&session_key("alice", "one"), &terms, request).await.map(|dated| dated.value)
}

async fn took<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let begun = Instant::now();
    let outcome = work.await;
    (outcome, begun.elapsed())
}

#[tokio::test]
async fn a_warm_use_of_a_session_is_one_round_trip() {
    let (_server, proxy, store) = behind_a_proxy().await;
    use_it(&store, RequestId::unique()).await.unwrap();
    let before = proxy.requests();

    for _ in 0..10 {
        use_it(&store, RequestId::unique()).await.unwrap();
    }

    assert_eq!(proxy.requests() - before, 10);
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn a_lost_reply_is_asked_for_again_and_counts_once() {
    let (_server, proxy, store) = behind_a_proxy().await;
    use_it(&store, RequestId::unique()).await.unwrap();

    proxy.lose_replies(1);
    let used = use_it(&store, RequestId::unique()).await.unwrap();

    assert_eq!(proxy.replies_to_lose(), 0);
    assert!(matches!(used, UsedSession::Live(..)));
    assert!(matches!(
        use_it(&store, RequestId::unique()).await.unwrap(),
        UsedSession::Limited { .. }
    ));
}

/// Takes the step with its reply lost, and lost again when it is asked for again; then the same step once more.
macro_rules! twice {
    ($proxy:expr, $step:expr) => {{
        $proxy.lose_replies(2);
        let lost = $step.await;
        assert!(matches!(lost, Err(StoreError::Away { .. })), "{lost:?}");
        assert_eq!($proxy.replies_to_lose(), 0);
        $step.await.unwrap().value
    }};
}

pub(super) use twice;

#[tokio::test]
async fn each_step_sent_again_after_lost_replies_answers_as_if_it_were_sent_once() {
    let (_server, proxy, store) = behind_a_proxy().await;
    let request = RequestId::unique();
    let state = digest("state");
    let login = NewLogin {
        provider: provider("corp"),
        binding: digest("browser"),
        return_to: "/chat".to_owned(),
    };
    // Each script is known to the server, so that it is the reply which is lost and not a `NOSCRIPT`.
    store.take_from_limit("warm", hourly(1), request).await.unwrap();
    store.begin_login(&digest("warm"), &login).await.unwrap();
    store.take_login_once(&digest("warm"), &login.binding, &login.provider, request).await.unwrap();
    store.claim_identity(&identity("warm"), &subject("warm")).await.unwrap();
    store.keep_standing(&new_standing("warm")).await.unwrap();
    let (warm, corp) = (subject("warm").key(), provider("corp"));
    let (decided, never) = (allowed("other"), Timestamp::from_millis(0));
    store.decide_standing(&warm, &corp, never, &decided, "{}").await.unwrap();
    store.keep_denial(&Reference::random(), "{}", HOUR).await.unwrap();
    store.bind_identity(&warm, &Binding::default(), &identity("warm")).await.unwrap();
    store.begin_move(&identity("warm"), &warm, &subject("warm too")).await.unwrap();
    store.retire_subject(&warm, &identity("warm")).await.unwrap();
    store.finish_move(&identity("warm"), &subject("warm too")).await.unwrap();
    store.bind_subject(&subject("warm too").key(), &identity("warm"), 0).await.unwrap();
    store.end_session(&session_key("alice", "none"), HOUR, request).await.unwrap();
    use_it(&store, RequestId::unique()).await.unwrap();

    let allowance = twice!(proxy, store.take_from_limit("x", hourly(1), request));
    assert_eq!(allowance, Allowance::Allowed);

    twice!(proxy, store.begin_login(&state, &login));
    let taken =
        twice!(proxy, store.take_login_once(&state, &login.binding, &login.provider, request));
    assert!(matches!(taken, TakenLogin::Taken { return_to, .. } if return_to == "/chat"));

    let claim = twice!(proxy, store.claim_identity(&identity("alice"), &subject("alice")));
    assert_eq!(claim, vestibule::inside::store::Claim::Ours);

    let (carol, unbound) = (subject("carol").key(), Binding::default());
    assert!(twice!(proxy, store.bind_identity(&carol, &unbound, &identity("carol"))));
    assert_eq!(bound(&store, "carol").await, Some(identity("carol")));

    let opened = twice!(proxy, store.open_session(&new_session("alice", "two")));
    let read = store.read_session(&session_key("alice", "two"), HOUR).await.unwrap().value;
    assert_eq!(read.map(|(session, ..)| OpenedSession::Opened(session)), Some(opened));

    let terms = UseTerms { idle: HOUR, limit: Some(hourly(1)) };
    let used = twice!(proxy, store.use_session(&session_key("alice", "two"), &terms, request));
    assert!(matches!(used, UsedSession::Live(..)));

    assert!(twice!(proxy, store.end_session(&session_key("alice", "two"), HOUR, request)));

    let alice = subject("alice").key();
    twice!(proxy, store.keep_standing(&new_standing("alice")));
    let standing = store.read_standing(&alice, &corp).await.unwrap().value.unwrap();
    let decide = || store.decide_standing(&alice, &corp, standing.obtained, &decided, "{}");
    assert!(twice!(proxy, decide()));
    let decided = store.read_standing(&alice, &corp).await.unwrap().value.unwrap();
    assert_eq!((decided.verdict, decided.decision.as_str()), (allowed("other"), "{}"));

    let reference = Reference::random();
    twice!(proxy, store.keep_denial(&reference, "why", HOUR));
    assert_eq!(store.find_denial(&reference).await.unwrap().value.as_deref(), Some("why"));

    let (what, bob) = (identity("alice"), subject("bob"));
    assert!(twice!(proxy, store.begin_move(&what, &alice, &bob)));
    assert!(twice!(proxy, store.retire_subject(&alice, &what)));
    assert!(twice!(proxy, store.finish_move(&what, &bob)));
    assert!(twice!(proxy, store.bind_subject(&bob.key(), &what, 0)));
    assert_eq!(bound(&store, "bob").await, Some(what));
    assert_eq!(bound(&store, "alice").await, None);
}

#[tokio::test]
async fn each_step_about_devices_sent_again_after_lost_replies_answers_as_if_it_were_sent_once() {
    let (_server, proxy, store) = behind_a_proxy().await;
    let request = RequestId::unique();
    let none = session_key("alice", "none");
    store.list_sessions(&none, HOUR).await.unwrap();
    store.end_listed_session(&none, &none.id, HOUR, request).await.unwrap();
    store.end_other_sessions(&none, HOUR, request).await.unwrap();
    let [one, two, three] = ["one", "two", "three"].map(|name| session_key("alice", name));
    for name in ["two", "three"] {
        let found = find(&store, "alice").await;
        open(&store, &NewSession { found, ..new_session("alice", name) }).await;
    }
    let listed = twice!(proxy, store.list_sessions(&one, HOUR)).unwrap();
    assert_eq!(listed.len(), 3);
    let ended = twice!(proxy, store.end_listed_session(&one, &two.id, HOUR, request));
    assert_eq!(ended, EndedSession::Ended);
    assert!(twice!(proxy, store.end_other_sessions(&one, HOUR, request)));
    assert_eq!(store.read_session(&three, HOUR).await.unwrap().value, None);
    let ended = twice!(proxy, store.end_listed_session(&one, &one.id, HOUR, request));
    assert_eq!(ended, EndedSession::Ended);
}

#[tokio::test]
async fn each_step_of_a_block_sent_again_answers_as_if_it_were_sent_once() {
    let (_server, proxy, store) = behind_a_proxy().await;
    let (what, bob) = (identity("bob"), subject("bob"));
    open(&store, &new_session("bob", "two")).await;
    store.claim_identity(&what, &bob).await.unwrap();
    // Each script is known to the server, so that it is the reply which is lost and not a `NOSCRIPT`.
    store.mark_identity(&identity("warm"), true).await.unwrap();
    store.mark_subject(&subject("warm").key(), &identity("warm"), None).await.unwrap();
    store.end_all_sessions(&subject("warm").key(), 0).await.unwrap();

    let endings = find(&store, "bob").await.binding.endings;
    for blocked in [true, false] {
        let whose = twice!(proxy, store.mark_identity(&what, blocked));
        assert_eq!(whose.owner.unwrap().subject, bob);
        let seen = find(&store, "bob").await.binding.endings;
        twice!(proxy, store.mark_subject(&bob.key(), &what, (!blocked).then_some(seen)));
        let found = find(&store, "bob").await.binding;
        // Each mark counts as an ending: no session can be opened between two.
        assert_eq!((found.endings > endings, found.blocked), (true, blocked));
        assert!(blocked || found.endings == seen, "an unblock ends nothing");
    }
    let seen = find(&store, "bob").await.binding.endings;
    twice!(proxy, store.end_all_sessions(&bob.key(), seen));
    assert_eq!(find(&store, "bob").await.binding.endings, seen + 1);

    // Not sent again by itself: it has a connection of its own, which is always a new one.
    proxy.lose_replies(1);
    let lost = store.wait_for_replicas().await;
    assert!(matches!(lost, Err(StoreError::Away { .. })), "{lost:?}");
    assert_eq!(store.wait_for_replicas().await.unwrap().value.there, 0);
}

#[tokio::test]
async fn each_step_of_a_revalidation_sent_again_answers_as_if_it_were_sent_once() {
    let (_server, proxy, store) = behind_a_proxy().await;
    let (key, request) = (session_key("bob", "two"), RequestId::unique());
    let opened = open(&store, &granted("bob", "two")).await;
    let terms = (HOUR, HOUR);
    let at = opened.since.plus(HOUR);
    let asked = Some(Asked { at, way: Way::Refresh });
    let standing = Some(new_standing("bob"));
    let said = Revalidated { asked, standing, obtained: find(&store, "bob").await.obtained };
    // Each script is known to the server, so that it is the reply which is lost and not a `NOSCRIPT`.
    let none = session_key("bob", "none");
    store.begin_revalidation(&none, opened.since, terms, request).await.unwrap();
    store.keep_grant(&none, request, "").await.unwrap();
    store.finish_revalidation(&none, request, &said).await.unwrap();
    store.pause_revalidation(&none, request, HOUR).await.unwrap();
    store.take_grants(&none.subject).await.unwrap();

    let begun = twice!(proxy, store.begin_revalidation(&key, opened.since, terms, request));
    assert!(matches!(begun, BegunRevalidation::Yours { .. }), "{begun:?}");
    assert!(twice!(proxy, store.keep_grant(&key, request, "rotated")));
    assert!(twice!(proxy, store.finish_revalidation(&key, request, &said)));
    let (session, ..) = store.read_session(&key, HOUR).await.unwrap().value.unwrap();
    assert_eq!(session.asked, asked);

    store.begin_revalidation(&key, at, terms, request).await.unwrap();
    twice!(proxy, store.pause_revalidation(&key, request, HOUR));
    let paused = store.begin_revalidation(&key, at, terms, request).await.unwrap().value;
    assert!(matches!(paused, BegunRevalidation::Paused { .. }), "{paused:?}");

    // What went with a lost reply does not come again: this step takes.
    store.end_session(&key, HOUR, request).await.unwrap();
    assert_eq!(twice!(proxy, store.take_grants(&key.subject)).taken, []);
}

#[tokio::test]
async fn each_step_of_a_logout_sent_again_answers_as_if_it_were_sent_once() {
    let (_server, proxy, store) = behind_a_proxy().await;
    let (alice, request) = (subject("alice").key(), RequestId::unique());
    let [one, warm] = ["one", "warm"].map(|sid| Handle::of(&["sid", sid]));
    let since = Timestamp::from_millis(1);
    // Each script is known to the server, so that it is the reply which is lost and not a `NOSCRIPT`.
    store.join_logout(&warm, &alice, since, HOUR).await.unwrap();
    store.log_out_handle(&warm).await.unwrap();
    store.log_out_subject(&subject("warm").key(), &Scope::All, request).await.unwrap();
    store.spend_once(&digest("warm"), HOUR, request).await.unwrap();
    store.was_spent(&digest("warm")).await.unwrap();
    store.unspend(&digest("warm"), request).await.unwrap();

    assert!(twice!(proxy, store.join_logout(&one, &alice, since, HOUR)));
    assert_eq!(twice!(proxy, store.log_out_handle(&one)), [alice]);
    twice!(proxy, store.log_out_subject(&alice, &Scope::All, request));
    assert_eq!(find(&store, "alice").await.binding.endings, 1);
    assert!(twice!(proxy, store.spend_once(&digest("jti"), HOUR, request)));
    assert!(twice!(proxy, store.was_spent(&digest("jti"))));
    twice!(proxy, store.unspend(&digest("jti"), request));
    assert!(!store.was_spent(&digest("jti")).await.unwrap().value);
}

#[tokio::test]
async fn a_page_of_standings_survives_a_connection_that_breaks() {
    let (_server, proxy, store) = behind_a_proxy().await;
    store.list_standings(None, 10).await.unwrap();

    proxy.lose_replies(1);
    let page = store.list_standings(None, 10).await.unwrap().value;
    assert_eq!(page.standings.len(), 1);
    assert_eq!(proxy.replies_to_lose(), 0);

    // Between the keys of a page and what stands under them.
    proxy.refuse_after(1);
    let away = store.list_standings(None, 10).await;
    assert!(matches!(away, Err(StoreError::Away { step: "list_standings", .. })), "{away:?}");
    proxy.clear_up();
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(store.list_standings(None, 10).await.unwrap().value, page);
}

#[tokio::test]
async fn a_connection_that_goes_silent_is_given_up_after_one_step() {
    let (_server, proxy, store) = behind_a_proxy().await;

    proxy.stall();
    let (answer, time) = took(use_it(&store, RequestId::unique())).await;
    proxy.clear_up();

    assert!(matches!(answer, Err(StoreError::TimedOut { step: "use_session" })), "{answer:?}");
    assert!(
        time >= Store::PATIENCE && time < Store::PATIENCE + Duration::from_millis(300),
        "{time:?}"
    );
    let (answer, time) = took(use_it(&store, RequestId::unique())).await;
    assert!(matches!(answer, Ok(UsedSession::Live(..))), "{answer:?}");
    assert!(time < Store::PATIENCE / 2, "{time:?}");
}

#[tokio::test]
async fn a_hundred_steps_that_meet_silence_make_one_new_connection() {
    let (_server, proxy, store) = behind_a_proxy().await;
    let before = proxy.connections();

    proxy.stall();
    let answers = super::all_at_once(100, || use_it(&store, RequestId::unique())).await;
    proxy.clear_up();
    use_it(&store, RequestId::unique()).await.unwrap();

    assert!(answers.iter().all(|answer| matches!(answer, Err(StoreError::TimedOut { .. }))));
    assert_eq!(proxy.connections() - before, 1);
}

#[tokio::test]
async fn steps_that_end_late_leave_the_new_connection_alone() {
    let (_server, proxy, store) = behind_a_proxy().await;
    let before = proxy.connections();
    proxy.stall();
    let late = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        use_it(&store, RequestId::unique()).await
    };
    let early = async {
        let silent = use_it(&store, RequestId::unique()).await;
        proxy.clear_up();
        (silent, use_it(&store, RequestId::unique()).await)
    };

    let ((silent, answered), also_silent) = tokio::join!(early, late);
    use_it(&store, RequestId::unique()).await.unwrap();

    assert!(matches!(silent, Err(StoreError::TimedOut { .. })), "{silent:?}");
    assert!(answered.is_ok(), "{answered:?}");
    assert!(matches!(also_silent, Err(StoreError::TimedOut { .. })), "{also_silent:?}");
    assert_eq!(proxy.connections() - before, 1);
}

#[tokio::test]
async fn a_server_that_is_away_is_told_of_early_and_found_again_at_once() {
    let (_server, proxy, store) = behind_a_proxy().await;

    proxy.refuse();
    for _ in 0..3 {
        let (answer, time) = took(use_it(&store, RequestId::unique())).await;
        assert!(matches!(answer, Err(StoreError::Away { step: "use_session", .. })), "{answer:?}");
        assert!(time < Store::PATIENCE / 2, "{time:?}");
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    proxy.clear_up();

    assert!(matches!(use_it(&store, RequestId::unique()).await, Ok(UsedSession::Live(..))));
}

#[tokio::test]
async fn a_store_opens_before_its_redis_is_there() {
    let mut server = RedisServer::start();
    server.stop();

    let store = redis_store(&server.url()).await;
    let (away, time) = took(store.read_time()).await;
    server.start_again();
    tokio::time::sleep(Duration::from_millis(60)).await;

    assert!(matches!(away, Err(StoreError::Away { step: "read_time", .. })), "{away:?}");
    assert!(time < Store::PATIENCE / 2, "{time:?}");
    store.read_time().await.unwrap();
}

#[tokio::test]
async fn a_restart_with_a_disk_loses_nothing_and_is_noticed_by_nobody() {
    let mut server = RedisServer::start_on_disk();
    let store = redis_store(&server.url()).await;
    let opened = open(&store, &new_session("alice", "one")).await;
    store.claim_identity(&identity("alice"), &subject("alice")).await.unwrap();

    server.stop();
    server.start_again();

    let UsedSession::Live(session, _) = use_it(&store, RequestId::unique()).await.unwrap() else {
        panic!("it ended")
    };
    assert_eq!(
        (session.identity, session.since, session.ends),
        (opened.identity, opened.since, opened.ends)
    );
    let claim = store.claim_identity(&identity("alice"), &subject("bob")).await.unwrap().value;
    assert_eq!(claim, vestibule::inside::store::Claim::Anothers);
}

#[tokio::test]
async fn a_restart_without_a_disk_ends_sessions_and_nothing_else_breaks() {
    let mut server = RedisServer::start();
    let store = redis_store(&server.url()).await;
    store.open_session(&new_session("alice", "one")).await.unwrap();

    server.stop();
    server.start_again();

    assert_eq!(use_it(&store, RequestId::unique()).await.unwrap(), UsedSession::Ended);
    store.open_session(&new_session("alice", "one")).await.unwrap();
}

#[tokio::test]
async fn a_frozen_server_is_told_of_in_time_and_found_again_at_once() {
    let server = RedisServer::start();
    let store = redis_store(&server.url()).await;
    store.open_session(&new_session("alice", "one")).await.unwrap();

    server.pause();
    for _ in 0..2 {
        let (answer, time) = took(store.read_session(&session_key("alice", "one"), HOUR)).await;
        assert!(answer.is_err());
        assert!(time < Store::PATIENCE + Duration::from_millis(300), "{time:?}");
    }
    server.resume();

    let (answer, time) = took(store.read_session(&session_key("alice", "one"), HOUR)).await;
    assert!(answer.unwrap().value.is_some());
    assert!(time < Store::PATIENCE / 2, "{time:?}");
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_told_again() {
    let server = RedisServer::start();
    let store = redis_store(&server.url()).await;
    store.open_session(&new_session("alice", "one")).await.unwrap();
    use_it(&store, RequestId::unique()).await.unwrap();

    let _ok: String = server.ask(&["SCRIPT", "FLUSH"]);

    assert!(matches!(use_it(&store, RequestId::unique()).await.unwrap(), UsedSession::Live(..)));
    assert!(matches!(
        use_it(&store, RequestId::unique()).await.unwrap(),
        UsedSession::Limited { .. }
    ));
}

async fn a_block_goes_without_a_trace(store: &Store, claimed: impl Fn(&str) -> i64) {
    store.mark_identity(&identity("nobodys"), true).await.unwrap();
    assert_eq!(claimed("nobodys"), -1);
    store.mark_identity(&identity("nobodys"), false).await.unwrap();
    assert_eq!(claimed("nobodys"), -2, "nothing is left of it");
}

fn near(ms: i64, expected: Duration) -> bool {
    let expected = i64::try_from(expected.as_millis()).unwrap();
    // A limit's end is rounded up to the next millisecond.
    (expected - 5000..=expected + 1).contains(&ms)
}

#[tokio::test]
async fn what_is_there_for_revalidations_and_logouts_goes_away() {
    let server = RedisServer::start();
    let store = &redis_store(&server.url()).await;
    let is_near = |key: &str, expected| near(server.ask::<i64>(&["PTTL", key]), expected);
    let (key, sid) = (session_key("carol", "one"), Handle::of(&["sid"]));
    let (grants, logouts) = (
        format!("vestibule:grants:{{{}}}", key.subject),
        format!("vestibule:logouts:{{{}}}", key.subject),
    );
    let opened = open(store, &granted("carol", "one")).await;
    assert!(is_near(&grants, 2 * HOUR), "as long as the session can last");
    let shorter = NewSession { lifetime: HOUR, ..granted("carol", "two") };
    open(store, &NewSession { found: find(store, "carol").await, ..shorter }).await;
    assert!(is_near(&grants, 2 * HOUR), "one that ends earlier shortens nothing");
    let request = RequestId::unique();
    store.begin_revalidation(&key, opened.since, (HOUR, HOUR), request).await.unwrap();
    store.keep_grant(&key, request, "rotated").await.unwrap();
    assert!(is_near(&grants, 2 * HOUR));

    let handle = format!("vestibule:handle:{{{sid}}}");
    for (keep, longest) in [(HOUR / 2, HOUR / 2), (HOUR, HOUR), (HOUR / 2, HOUR)] {
        store.join_logout(&sid, &key.subject, opened.since, keep).await.unwrap();
        assert!(is_near(&handle, longest), "{keep:?}");
    }
    store.log_out_handle(&sid).await.unwrap();
    assert!(is_near(&handle, HOUR), "a mark shortens nothing");
    let unknown = Handle::of(&["another"]);
    store.log_out_handle(&unknown).await.unwrap();
    assert!(is_near(&format!("vestibule:handle:{{{unknown}}}"), Store::LOGOUT_MARK));
    let scope = Scope::Session { sid, nameless: true };
    store.log_out_subject(&key.subject, &scope, RequestId::unique()).await.unwrap();
    assert!(is_near(&logouts, Store::LOGOUT_MARK));
    let session = format!("vestibule:session:{{{}}}:{}", key.subject, key.id);
    assert!(is_near(&session, Duration::from_mins(1)));
    store.spend_once(&digest("jti"), HOUR / 3, request).await.unwrap();
    assert!(is_near(&format!("vestibule:spent:{}", digest("jti")), HOUR / 3));
    let kinds = ["subject", "standing", "grants", "logouts", "spent"].len();
    let all = server.ask::<Vec<String>>(&["KEYS", "*"]).len();
    assert_eq!(
        all,
        kinds + 2 + 2,
        "with two sessions and two handles; none is left out of this test"
    );
}

#[tokio::test]
async fn what_a_logout_leaves_is_no_more_than_logouts_of_the_last_minutes() {
    let server = RedisServer::start();
    let store = redis_store(&server.url()).await;
    let alice = subject("alice").key();
    let logouts = format!("vestibule:logouts:{{{alice}}}");
    let marks = || server.ask::<Vec<String>>(&["ZRANGE", &logouts, "0", "-1"]).len();
    for number in 0..10 {
        let sid = Handle::of(&[&number.to_string()]);
        let scope = Scope::Session { sid, nameless: false };
        store.log_out_subject(&alice, &scope, RequestId::unique()).await.unwrap();
    }
    assert_eq!(marks(), 20, "each with its request");
    let (seconds, _): (u64, u64) = server.ask(&["TIME"]);
    let then = (seconds - 21 * 60) * 1000;
    for mark in server.ask::<Vec<String>>(&["ZRANGE", &logouts, "0", "15"]) {
        server.ask::<i64>(&["ZADD", &logouts, &then.to_string(), &mark]);
    }

    store.log_out_subject(&alice, &Scope::All, RequestId::unique()).await.unwrap();

    assert_eq!(marks(), 6);
}

#[tokio::test]
async fn what_may_go_away_does_and_what_must_stay_stays() {
    let server = RedisServer::start();
    let store = redis_store(&server.url()).await;
    let life = |key: String| server.ask::<i64>(&["PTTL", &key]);
    let login =
        NewLogin { provider: provider("corp"), binding: digest("b"), return_to: "/".to_owned() };
    store.begin_login(&digest("state"), &login).await.unwrap();
    store.claim_identity(&identity("alice"), &subject("alice")).await.unwrap();
    let now = open(&store, &new_session("alice", "one")).await.since;
    let reference = Reference::random();
    store.keep_denial(&reference, "{}", HOUR / 2).await.unwrap();
    store.take_from_limit("x", hourly(4), RequestId::unique()).await.unwrap();

    let key = session_key("alice", "one");
    let session = format!("vestibule:session:{{{}}}:{}", key.subject, key.id);
    assert!(near(life(format!("vestibule:login:{{{}}}", digest("state"))), Store::LOGIN_PATIENCE));
    assert!(near(life(session.clone()), HOUR));
    let devices = format!("vestibule:devices:{{{}}}", key.subject);
    assert!(near(life(devices.clone()), 2 * HOUR), "as long as the session can last");
    assert!(near(life("vestibule:limit:x".to_owned()), HOUR / 4));
    assert_eq!(life("vestibule:claim:{alice}".to_owned()), -1);
    let claimed = |what: &str| life(format!("vestibule:claim:{{{what}}}"));
    a_block_goes_without_a_trace(&store, claimed).await;
    store.wait_for_replicas().await.unwrap();
    assert!(near(life("vestibule:replicas".to_owned()), Duration::from_mins(1)));
    assert_eq!(life(format!("vestibule:subject:{{{}}}", key.subject)), -1);
    assert!(near(life(format!("vestibule:denial:{reference}")), HOUR / 2));
    let standing = format!("vestibule:standing:{{{}}}", key.subject);
    assert!(near(life(standing.clone()), 2 * HOUR), "as long as the session can last");
    let longer = NewStanding { keep: 3 * HOUR, ..new_standing("alice") };
    store.keep_standing(&longer).await.unwrap();
    store.keep_standing(&new_standing("alice")).await.unwrap();
    assert!(near(life(standing.clone()), 3 * HOUR), "nothing shortens it");
    store.decide_standing(&key.subject, &provider("corp"), now, &allowed("x"), "").await.unwrap();
    assert!(near(life(standing.clone()), 3 * HOUR));
    store.retire_subject(&key.subject, &identity("other")).await.unwrap();
    assert!(near(life(standing), 3 * HOUR), "an ending keeps nobody's claims for longer");
    assert_eq!(life(format!("vestibule:subject:{{{}}}", key.subject)), -1);
    let session = {
        let found = find(&store, "alice").await;
        let new = NewSession { found, lifetime: HOUR, ..new_session("alice", "three") };
        open(&store, &new).await;
        format!("vestibule:session:{{{}}}:{}", key.subject, new.key.id)
    };
    assert!(near(life(devices), 2 * HOUR), "a session that ends earlier shortens nothing");
    let key = session_key("alice", "three");

    let short = UseTerms { idle: Duration::from_mins(7), limit: None };
    let (seconds, _): (u64, u64) = server.ask(&["TIME"]);
    server.ask::<i64>(&["HSET", &session, "l", &((seconds - 60) * 1000).to_string()]);
    store.use_session(&key, &short, RequestId::unique()).await.unwrap();
    assert!(near(life(session.clone()), Duration::from_mins(7)));
    store.end_session(&key, HOUR, RequestId::unique()).await.unwrap();
    assert!(near(life(session), Duration::from_mins(1)));
    assert_eq!(
        server.ask::<Vec<String>>(&["KEYS", "*"]).len(),
        10,
        "no key is left out of this test"
    );
}

#[tokio::test]
async fn what_a_subject_s_devices_name_stays_about_as_long_as_its_sessions() {
    let server = RedisServer::start();
    let store = redis_store(&server.url()).await;
    let open = async |name: &str, idle: Duration| {
        let found = find(&store, "alice").await;
        open(&store, &NewSession { found, idle, ..new_session("alice", name) }).await;
    };
    let key = session_key("alice", "one");
    let devices = format!("vestibule:devices:{{{}}}", key.subject);
    let named = || server.ask::<Vec<String>>(&["ZRANGE", &devices, "0", "-1"]).len();
    let short = Duration::from_millis(300);
    for number in 0..20 {
        open(&number.to_string(), short).await;
    }
    open("one", short).await;
    // It is used with more patience, so that it outlives what was known of it.
    server.ask::<i64>(&[
        "PEXPIRE",
        &format!("vestibule:session:{{{}}}:{}", key.subject, key.id),
        "60000",
    ]);
    assert_eq!(named(), 21);
    tokio::time::sleep(short + Duration::from_millis(5)).await;

    // Each that comes takes away up to eight that are over, and keeps what is not.
    open("two", HOUR).await;
    assert_eq!(named(), 14);
    open("three", HOUR).await;
    open("four", HOUR).await;
    assert_eq!(named(), 4);
    let listed = store.list_sessions(&key, HOUR).await.unwrap().value.unwrap();
    assert_eq!(listed.len(), 4);

    // So does looking at them, all at once.
    for number in 20..40 {
        open(&number.to_string(), short).await;
    }
    tokio::time::sleep(short + Duration::from_millis(5)).await;
    store.list_sessions(&key, HOUR).await.unwrap();
    assert_eq!(named(), 4);
    store.end_session(&key, HOUR, RequestId::unique()).await.unwrap();
    let two = session_key("alice", "two");
    let three = session_key("alice", "three").id;
    store.end_listed_session(&two, &three, HOUR, RequestId::unique()).await.unwrap();
    assert_eq!(named(), 2);
    store.end_other_sessions(&two, HOUR, RequestId::unique()).await.unwrap();
    assert_eq!(named(), 1);
}

#[tokio::test]
async fn a_session_whose_standing_was_lost_is_over() {
    let server = RedisServer::start();
    let store = redis_store(&server.url()).await;
    store.open_session(&new_session("alice", "one")).await.unwrap();
    let key = session_key("alice", "one");

    server.ask::<i64>(&["DEL", &format!("vestibule:standing:{{{}}}", key.subject)]);

    assert_eq!(use_it(&store, RequestId::unique()).await.unwrap(), UsedSession::Ended);
    assert_eq!(store.read_session(&key, HOUR).await.unwrap().value, None);
    assert!(!store.end_session(&key, HOUR, RequestId::unique()).await.unwrap().value);
    assert_eq!(store.list_sessions(&key, HOUR).await.unwrap().value, None);
}

#[tokio::test]
async fn a_session_whose_grant_was_lost_cannot_be_asked_about_any_more() {
    let server = RedisServer::start();
    let store = redis_store(&server.url()).await;
    let (key, request) = (session_key("alice", "one"), RequestId::unique());
    let opened = open(&store, &granted("alice", "one")).await;

    server.ask::<i64>(&["DEL", &format!("vestibule:grants:{{{}}}", key.subject)]);

    let begun = store.begin_revalidation(&key, opened.since, (HOUR, HOUR), request).await.unwrap();
    assert_eq!(begun.value, BegunRevalidation::Done);
    let (session, ..) = store.read_session(&key, HOUR).await.unwrap().value.unwrap();
    assert_eq!(session, Session { asked: None, ..opened }, "nobody asks again and again");
}

/// A failover to a server whose clock is behind: everything kept is from a minute ahead.
#[tokio::test]
async fn endings_and_denials_count_alike_when_the_clock_is_set_back() {
    let server = RedisServer::start();
    let store = redis_store(&server.url()).await;
    let key = session_key("alice", "one");
    let (seconds, _): (u64, u64) = server.ask(&["TIME"]);
    let ahead = (seconds + 60) * 1000;
    let standing = format!("vestibule:standing:{{{}}}", key.subject);
    let set_ahead =
        |verdict| server.ask::<i64>(&["HSET", &standing, "corp", &format!("{verdict} {ahead}")]);
    let open_found = async |found, secret: &str| {
        let new = NewSession { found, ..new_session("alice", secret) };
        store.open_session(&new).await.unwrap().value
    };
    let is_live = async |secret: &str| {
        let key = session_key("alice", secret);
        let used = store.use_session(&key, &AT_EASE, RequestId::unique()).await;
        matches!(used.unwrap().value, UsedSession::Live(..))
    };

    // A session that began ahead of time is ended all the same, and so is a login that looked then.
    open(&store, &new_session("alice", "one")).await;
    let session = format!("vestibule:session:{{{}}}:{}", key.subject, key.id);
    server.ask::<i64>(&["HSET", &session, "c", &format!("{ahead} 0 alice")]);
    set_ahead(allowed("policy"));
    assert!(is_live("one").await);
    let early = find(&store, "alice").await;
    store.retire_subject(&key.subject, &identity("other")).await.unwrap();
    assert!(!is_live("one").await);
    assert_eq!(open_found(early, "early").await, OpenedSession::Overtaken);

    // Whoever comes after the ending, or after a denial of then, gets in at once.
    open_found(find(&store, "alice").await, "two").await;
    assert!(is_live("two").await);
    set_ahead(denied_standing("alice").verdict);
    open_found(find(&store, "alice").await, "three").await;
    assert!(is_live("three").await);

    // And a denial of now overtakes a login that found claims of then.
    set_ahead(allowed("policy"));
    let late = find(&store, "alice").await;
    store.keep_standing(&denied_standing("alice")).await.unwrap();
    assert_eq!(open_found(late, "four").await, OpenedSession::Overtaken);
}

/// What the hot path costs the server: nothing is written, and of the standing only what a token needs is read.
#[tokio::test]
async fn a_use_without_a_limit_only_reads() {
    let server = RedisServer::start();
    let store = redis_store(&server.url()).await;
    let key = session_key("alice", "one");
    store.open_session(&new_session("alice", "one")).await.unwrap();
    store.use_session(&key, &AT_EASE, RequestId::unique()).await.unwrap();
    let _ok: String = server.ask(&["CONFIG", "RESETSTAT"]);

    for _ in 0..10 {
        store.use_session(&key, &AT_EASE, RequestId::unique()).await.unwrap();
    }

    let told: String = server.ask(&["INFO", "commandstats"]);
    // Beside what this test asks with.
    let ours = ["config", "client", "info", "hello", "select"];
    let mut commands: Vec<_> = told
        .lines()
        .filter_map(|line| {
            let (name, calls) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let is_ours = ours.iter().any(|ours| name.starts_with(ours));
            (!is_ours).then(|| (name, calls.split(',').next()))
        })
        .collect();
    commands.sort_unstable();
    let ten = ["evalsha", "get", "hget", "hmget", "time"].map(|name| (name, Some("10")));
    assert_eq!(commands, ten);
}

#[tokio::test]
async fn a_page_is_in_time_though_standings_are_few_among_many_keys() {
    let server = RedisServer::start();
    let store = redis_store(&server.url()).await;
    let fill = "for i = 1, 200000 do redis.call('SET', 'other:' .. i, '') end";
    server.ask::<redis::Value>(&["EVAL", fill, "0"]);
    store.keep_standing(&new_standing("alice")).await.unwrap();

    let (mut found, mut after, mut pages) = (0, None, 0);
    loop {
        let (page, time) = took(store.list_standings(after, 500)).await;
        let page = page.unwrap().value;
        assert!(time < Store::PATIENCE / 3, "{time:?}");
        (found, after, pages) = (found + page.standings.len(), page.next, pages + 1);
        if after.is_none() {
            break;
        }
    }

    assert_eq!(found, 1);
    assert!(pages > 10, "{pages} pages");
}

#[tokio::test]
async fn a_key_that_somebody_else_wrote_is_an_error_that_says_so() {
    let server = RedisServer::start();
    let store = redis_store(&server.url()).await;
    store.open_session(&new_session("alice", "one")).await.unwrap();
    let key = session_key("alice", "one");
    let session = format!("vestibule:session:{{{}}}:{}", key.subject, key.id);
    let standing = format!("vestibule:standing:{{{}}}", key.subject);
    let spoil = |words: &[&str]| drop(server.ask::<redis::Value>(words));
    let read = || async { store.use_session(&key, &AT_EASE, RequestId::unique()).await };

    spoil(&["HSET", &session, "v", "1"]);
    assert!(read().await.is_ok());
    for (field, junk) in
        [("v", "x"), ("v", "1 r"), ("c", "x 0 alice"), ("c", "1 1 0 alice"), ("l", "x"), ("e", "x")]
    {
        let kept: String = server.ask(&["HGET", &session, field]);
        spoil(&["HSET", &session, field, junk]);
        let answer = read().await;
        assert!(
            matches!(answer, Err(StoreError::Corrupt { step: "use_session", .. })),
            "{field}: {answer:?}"
        );
        spoil(&["HSET", &session, field, &kept]);
    }
    assert!(read().await.is_ok());

    let corp = provider("corp");
    for (field, junk) in [("corp", ""), ("corp", "0 x a 1"), ("corp", "1")] {
        let kept: String = server.ask(&["HGET", &standing, field]);
        spoil(&["HSET", &standing, field, junk]);
        let answer = read().await;
        assert!(matches!(answer, Err(StoreError::Corrupt { .. })), "{field} {junk}: {answer:?}");
        spoil(&["HSET", &standing, field, &kept]);
    }
    for field in [":i", ":v", "corp:c", "corp:d"] {
        let kept: String = server.ask(&["HGET", &standing, field]);
        spoil(&["HDEL", &standing, field]);
        let answer = store.read_standing(&key.subject, &corp).await;
        assert!(matches!(answer, Err(StoreError::Corrupt { .. })), "{field}: {answer:?}");
        let page = store.list_standings(None, 10).await.unwrap().value;
        assert!(page.standings.is_empty(), "{field}: {page:?}");
        assert_eq!(page.unreadable[0].key, standing, "{field}: {page:?}");
        spoil(&["HSET", &standing, field, &kept]);
    }
    assert_eq!(store.list_standings(None, 10).await.unwrap().value.standings.len(), 1);
    spoil(&["SET", "vestibule:standing:{x}", ""]);
    let page = store.list_standings(None, 10).await.unwrap().value;
    assert_eq!((page.standings.len(), page.unreadable.len()), (1, 1), "{page:?}");
    assert_eq!(page.unreadable[0].key, "vestibule:standing:{x}");
    spoil(&["DEL", "vestibule:standing:{x}"]);

    let devices = format!("vestibule:devices:{{{}}}", key.subject);
    spoil(&["ZADD", &devices, "1", "no digest"]);
    spoil(&["COPY", &session, &session.replace(&key.id.to_string(), "no digest")]);
    let answer = store.list_sessions(&key, HOUR).await;
    assert!(matches!(answer, Err(StoreError::Corrupt { .. })), "{answer:?}");
    spoil(&["DEL", &devices]);
    spoil(&["SET", &devices, "another program's"]);
    let answer = store.list_sessions(&key, HOUR).await;
    assert!(matches!(answer, Err(StoreError::Corrupt { .. })), "{answer:?}");

    spoil(&["DEL", &session]);
    spoil(&["SET", &session, "another program's"]);
    let answer = read().await;
    assert!(matches!(answer, Err(StoreError::Corrupt { .. })), "{answer:?}");
}

#[tokio::test]
async fn what_a_subject_is_bound_to_is_read_to_the_letter() {
    let server = RedisServer::start();
    let store = redis_store(&server.url()).await;
    store.open_session(&new_session("alice", "one")).await.unwrap();
    let key = session_key("alice", "one");
    let session = format!("vestibule:session:{{{}}}:{}", key.subject, key.id);
    let spoil = |words: &[&str]| drop(server.ask::<redis::Value>(words));
    let read = || async { store.use_session(&key, &AT_EASE, RequestId::unique()).await };

    // One that names no subject as it is now is no session of it.
    let card: String = server.ask(&["HGET", &session, "c"]);
    for junk in ["", "1", "x alice", "1 0 no/identity", "1 0 ", "1 00 alice", "0 alice"] {
        spoil(&["HSET", &session, "c", junk]);
        assert_eq!(read().await.unwrap().value, UsedSession::Ended, "{junk}");
    }
    spoil(&["HSET", &session, "c", &card]);
    assert!(matches!(read().await.unwrap().value, UsedSession::Live(..)));

    for junk in ["", "alice", "0 no/identity", "x alice", "0 !", "0 !!alice", "0 ! alice"] {
        spoil(&["SET", &format!("vestibule:subject:{{{}}}", key.subject), junk]);
        let answer = store.find_identity(&key.subject, None).await;
        assert!(matches!(answer, Err(StoreError::Corrupt { .. })), "{junk}: {answer:?}");
    }
    for junk in ["", "alice", "x alice"] {
        spoil(&["SET", &format!("vestibule:subject:{{{}}}", key.subject), junk]);
        let answer = store.retire_subject(&key.subject, &identity("alice")).await;
        assert!(matches!(answer, Err(StoreError::Corrupt { .. })), "{junk}: {answer:?}");
        let answer = store.bind_subject(&key.subject, &identity("bob"), 0).await;
        assert!(matches!(answer, Err(StoreError::Corrupt { .. })), "{junk}: {answer:?}");
        let answer = store.mark_subject(&key.subject, &identity("alice"), None).await;
        assert!(matches!(answer, Err(StoreError::Corrupt { .. })), "{junk}: {answer:?}");
        let answer = store.end_all_sessions(&key.subject, 0).await;
        assert!(matches!(answer, Err(StoreError::Corrupt { .. })), "{junk}: {answer:?}");
    }
    spoil(&["SET", "vestibule:claim:{alice}", "another program's"]);
    let answer = store.mark_identity(&identity("alice"), true).await;
    assert!(matches!(answer, Err(StoreError::Corrupt { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_replica_is_waited_for_until_it_has_what_was_written() {
    let server = RedisServer::start();
    let replica = server.replica();
    let store = redis_store(&server.url()).await;

    for round in 0..20 {
        let what = format!("alice-{round}");
        store.mark_identity(&identity(&what), true).await.unwrap();
        caught_up(&store).await;
        let key = format!("vestibule:claim:{{{what}}}");
        assert!(replica.ask::<bool>(&["HEXISTS", &key, "b"]), "{what}");
    }
}

#[tokio::test]
async fn a_replica_that_does_not_answer_is_told_of_in_time_and_keeps_nobody_waiting() {
    let server = RedisServer::start();
    let replica = server.replica();
    let store = redis_store(&server.url()).await;
    store.open_session(&new_session("alice", "one")).await.unwrap();
    replica.pause();

    store.mark_identity(&identity("alice"), true).await.unwrap();
    let waiting = took(store.wait_for_replicas());
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        took(use_it(&store, RequestId::unique())).await
    };
    let ((waited, took_waiting), (used, took_using)) = tokio::join!(waiting, meanwhile);

    assert_eq!(waited.unwrap().value, Replicas { there: 1, have_it: 0 });
    assert!(took_waiting < Store::PATIENCE, "{took_waiting:?}");
    assert!(took_waiting > Store::PATIENCE / 2, "{took_waiting:?}");
    assert!(used.is_ok() && took_using < Store::PATIENCE / 3, "{took_using:?}");
    replica.resume();
    caught_up(&store).await;
}

/// Waits until the one replica has everything, on a machine that may be busy.
async fn caught_up(store: &Store) {
    let begun = Instant::now();
    loop {
        let replicas = store.wait_for_replicas().await.unwrap().value;
        if replicas == (Replicas { there: 1, have_it: 1 }) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{replicas:?}");
    }
}

#[tokio::test]
async fn a_password_is_used_and_never_told() {
    let server = RedisServer::start_with(&["--requirepass", "right-canary-1"]);
    let with = |password: &str| format!("redis://:{password}@{}/", server.address());

    redis_store(&with("right-canary-1")).await.read_time().await.unwrap();
    let refused = redis_store(&with("wrong-canary-2")).await.read_time().await.unwrap_err();
    let told = format!(
        "{refused:?} {refused} {:?}",
        std::error::Error::source(&refused).map(ToString::to_string)
    );

    assert!(matches!(refused, StoreError::Away { .. }), "{told}");
    assert!(!told.contains("canary"), "{told}");
}

#[tokio::test]
async fn only_urls_of_one_redis_server_are_taken() {
    for url in [
        "",
        "127.0.0.1:6379",
        "http://127.0.0.1/",
        "unix:///run/redis.sock",
        "redis+cluster://127.0.0.1/",
        "rediss://127.0.0.1/#insecure",
        "redis://0.0.0.0/",
        "redis://127.0.0.1/canary",
    ] {
        let settings = Settings::Redis { url: SecretString::from(url) };
        let refused = Store::open(&settings, &Metrics::new().unwrap()).await.err();

        assert!(matches!(refused, Some(OpenError::Url)), "{url}: {refused:?}");
    }
}

#[tokio::test]
async fn a_full_server_is_away() {
    let server = RedisServer::start_with(&["--maxmemory", "1"]);
    let store = redis_store(&server.url()).await;

    let answer = store.open_session(&new_session("alice", "one")).await;

    assert!(matches!(answer, Err(StoreError::Away { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_server_tells_how_it_is_set_up() {
    let well = RedisServer::start_on_disk();
    let badly = RedisServer::start_with(&["--maxmemory-policy", "allkeys-lru"]);
    let closed = RedisServer::start_with(&["--rename-command", "CONFIG", ""]);

    let health = redis_store(&well.url()).await.examine().await.unwrap().value;
    assert!(health.what.starts_with("Redis ") || health.what.starts_with("Valkey "), "{health:?}");
    assert!(health.faults.is_empty() && health.warnings.is_empty(), "{health:?}");

    let health = redis_store(&badly.url()).await.examine().await.unwrap().value;
    assert!(health.faults.len() == 1 && health.faults[0].contains("allkeys-lru"), "{health:?}");
    assert!(
        health.warnings.len() == 1 && health.warnings[0].contains("nothing on disk"),
        "{health:?}"
    );

    let health = redis_store(&closed.url()).await.examine().await.unwrap().value;
    assert!(health.faults.is_empty(), "{health:?}");
    assert!(health.warnings.len() == 1 && health.warnings[0].contains("CONFIG"), "{health:?}");
}

#[tokio::test]
async fn steps_are_timed_and_failures_counted_by_cause() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.address()).await;
    let metrics = Metrics::new().unwrap();
    let store = Store::open(&Settings::Redis { url: SecretString::from(proxy.url()) }, &metrics)
        .await
        .unwrap();

    store.read_time().await.unwrap();
    proxy.refuse();
    store.read_time().await.unwrap_err();
    proxy.stall();
    tokio::time::sleep(Duration::from_millis(60)).await;
    store.read_time().await.unwrap_err();

    let shown = metrics.render();
    for line in [
        r#"vestibule_store_step_duration_seconds_count{step="read_time"} 3"#,
        r#"vestibule_store_failures_total{step="read_time",cause="away"} 1"#,
        r#"vestibule_store_failures_total{step="read_time",cause="timed_out"} 1"#,
        r#"vestibule_store_failures_total{step="use_session",cause="corrupt"} 0"#,
    ] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
}
