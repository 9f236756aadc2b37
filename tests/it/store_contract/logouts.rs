//! Logouts that a provider tells of: whichever comes first, they or the login, nobody is left signed in.

use std::time::Duration;

use vestibule::inside::store::{
    Dated, NewSession, OpenedSession, Scope, SessionKey, Store, UsedSession,
};
use vestibule::inside::{Handle, RequestId, SubjectKey, Timestamp};

use super::revalidation::{granted, take_grants};
use super::{AT_EASE, HOUR, all_at_once, digest, find, new_session, open, session_key, subject};

fn sid(name: &str) -> Handle {
    Handle::of(&["sid", name])
}

async fn now(store: &Store) -> Timestamp {
    store.read_time().await.unwrap().time.at()
}

/// Until the store's clock shows another millisecond.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(3)).await;
}

async fn join(store: &Store, handle: &Handle, who: &str, since: Timestamp) -> bool {
    store.join_logout(handle, &subject(who).key(), since, HOUR).await.unwrap().value
}

/// Marks the handle; who has joined, in order.
async fn mark(store: &Store, handle: &Handle) -> Vec<SubjectKey> {
    let mut joined = store.log_out_handle(handle).await.unwrap().value;
    joined.sort_by_key(ToString::to_string);
    joined
}

fn keys(who: &[&str]) -> Vec<SubjectKey> {
    let mut keys: Vec<_> = who.iter().map(|who| subject(who).key()).collect();
    keys.sort_by_key(ToString::to_string);
    keys
}

async fn log_out(store: &Store, who: &str, scope: Scope) {
    let request = RequestId::unique();
    store.log_out_subject(&subject(who).key(), &scope, request).await.unwrap();
}

/// A session of `who` that begins with a login that began at `begun`.
async fn of_login(
    store: &Store,
    (who, secret): (&str, &str),
    sid: Option<Handle>,
    begun: Timestamp,
) -> NewSession {
    let found = find(store, who).await;
    NewSession { found, sid, begun, ..new_session(who, secret) }
}

async fn is_refused(store: &Store, new: &NewSession) -> bool {
    store.open_session(new).await.unwrap().value == OpenedSession::LoggedOut
}

async fn lives(store: &Store, key: &SessionKey) -> bool {
    let used = store.use_session(key, &AT_EASE, RequestId::unique()).await.unwrap().value;
    matches!(used, UsedSession::Live(..))
}

/// Which of the sessions of `who` with these names live.
async fn living<'n>(store: &Store, who: &str, names: &[&'n str]) -> Vec<&'n str> {
    let mut living = Vec::new();
    for name in names {
        if lives(store, &session_key(who, name)).await {
            living.push(*name);
        }
    }
    living
}

pub async fn a_logout_names_everybody_who_has_joined(store: &Store) {
    let (one, begun) = (sid("one"), now(store).await);
    for who in ["alice", "bob", "alice"] {
        assert!(join(store, &one, who, begun).await);
    }
    assert!(join(store, &sid("two"), "carol", begun).await);

    assert_eq!(mark(store, &one).await, keys(&["alice", "bob"]));

    assert_eq!(mark(store, &one).await, keys(&["alice", "bob"]), "the same the next time");
    assert_eq!(mark(store, &sid("none")).await, []);
}

pub async fn nobody_joins_what_was_logged_out_since(store: &Store) {
    let (one, early) = (sid("one"), now(store).await);
    a_moment().await;
    let Dated { time, .. } = store.log_out_handle(&one).await.unwrap();

    assert!(!join(store, &one, "alice", early).await);
    assert!(!join(store, &one, "alice", time.at()).await, "of one moment, the logout counts");
    assert_eq!(mark(store, &one).await, []);

    a_moment().await;
    assert!(join(store, &one, "alice", now(store).await).await);
    assert!(!join(store, &one, "bob", early).await);
    assert_eq!(mark(store, &one).await, keys(&["alice"]));
}

pub async fn a_logout_ends_all_sessions_and_those_that_are_about_to_begin(store: &Store) {
    let begun = now(store).await;
    for (secret, sid) in [("one", Some(sid("one"))), ("two", None)] {
        open(store, &of_login(store, ("alice", secret), sid, begun).await).await;
    }
    open(store, &new_session("bob", "three")).await;
    let found = find(store, "alice").await;
    a_moment().await;

    log_out(store, "alice", Scope::All).await;

    assert_eq!(living(store, "alice", &["one", "two"]).await, [""; 0]);
    assert!(lives(store, &session_key("bob", "three")).await);
    for sid in [None, Some(sid("one")), Some(sid("new"))] {
        let late = of_login(store, ("alice", "late"), sid, begun).await;
        assert!(is_refused(store, &late).await, "{sid:?}");
        let found = found.clone();
        assert!(is_refused(store, &NewSession { found, ..late }).await, "{sid:?}: for good");
    }
    assert_eq!(find(store, "alice").await.obtained, found.obtained, "nothing is written");
    a_moment().await;
    let later = of_login(store, ("alice", "later"), None, now(store).await).await;
    open(store, &later).await;
    assert_eq!(living(store, "alice", &["late", "later"]).await, ["later"]);
}

pub async fn a_logout_of_one_login_ends_its_sessions_only(store: &Store) {
    for (who, nameless) in [("alice", false), ("bob", true)] {
        let (begun, one, two) = (now(store).await, Some(sid("one")), Some(sid("two")));
        let old = [("one", one), ("too", one), ("two", two), ("nameless", None)];
        for (secret, sid) in old {
            open(store, &of_login(store, (who, secret), sid, begun).await).await;
        }
        a_moment().await;

        log_out(store, who, Scope::Session { sid: sid("one"), nameless }).await;

        let stay = if nameless { &["two"][..] } else { &["two", "nameless"] };
        assert_eq!(living(store, who, &["one", "too", "two", "nameless"]).await, stay);
        let listed = store.list_sessions(&session_key(who, "two"), HOUR).await.unwrap().value;
        assert_eq!(listed.unwrap().len(), stay.len());

        // Of those about to begin: none of that login ever, and none that might be of it.
        a_moment().await;
        let after = now(store).await;
        for (secret, sid, begun, refused) in [
            ("late", one, begun, true),
            ("late too", one, after, true),
            ("late nameless", None, begun, nameless),
            ("late two", two, begun, false),
            ("new nameless", None, after, false),
        ] {
            let new = of_login(store, (who, secret), sid, begun).await;
            assert_eq!(is_refused(store, &new).await, refused, "{secret} of {who}");
            assert_eq!(lives(store, &new.key).await, !refused, "{secret} of {who}");
        }
    }
}

pub async fn a_logout_that_comes_twice_ends_nothing_that_began_in_between(store: &Store) {
    let scopes = [Scope::All, Scope::Session { sid: sid("one"), nameless: true }];
    for (who, scope) in ["alice", "bob"].into_iter().zip(scopes) {
        let (key, [first, second]) =
            (subject(who).key(), [RequestId::unique(), RequestId::unique()]);
        open(store, &new_session(who, "old")).await;
        for request in [first, second] {
            store.log_out_subject(&key, &scope, request).await.unwrap();
        }
        a_moment().await;
        let new = of_login(store, (who, "new"), None, now(store).await).await;
        open(store, &new).await;

        for request in [second, first] {
            store.log_out_subject(&key, &scope, request).await.unwrap();
        }
        assert_eq!(living(store, who, &["old", "new"]).await, ["new"]);

        store.log_out_subject(&key, &scope, RequestId::unique()).await.unwrap();
        assert_eq!(living(store, who, &["old", "new"]).await, [""; 0]);
    }
}

pub async fn a_logout_leaves_nothing_for_ever_of_somebody_who_was_never_here(store: &Store) {
    let begun = now(store).await;
    log_out(store, "alice", Scope::All).await;

    assert_eq!(find(store, "alice").await.binding.endings, 0);
    assert!(is_refused(store, &of_login(store, ("alice", "one"), None, begun).await).await);
}

pub async fn the_grants_of_whom_a_logout_ends_come_out(store: &Store) {
    let begun = now(store).await;
    for (secret, name) in [("one", "one"), ("two", "two")] {
        let found = find(store, "alice").await;
        let new = NewSession { found, begun, sid: Some(sid(name)), ..granted("alice", secret) };
        open(store, &new).await;
    }

    log_out(store, "alice", Scope::Session { sid: sid("one"), nameless: false }).await;
    assert_eq!(take_grants(store, "alice").await, ["grant of one"]);
    log_out(store, "alice", Scope::All).await;
    assert_eq!(take_grants(store, "alice").await, ["grant of two"]);

    let late = NewSession { begun, sid: Some(sid("one")), ..granted("alice", "late") };
    let late = NewSession { found: find(store, "alice").await, ..late };
    assert!(is_refused(store, &late).await);
    assert_eq!(take_grants(store, "alice").await, [""; 0], "nor is one kept that never began");
}

/// A login as it finishes, a step at a time.
struct Login {
    new: NewSession,
    handle: Handle,
    steps: u32,
}

impl Login {
    /// Takes the next step; `false` when there is none, or it was logged out.
    async fn step(&mut self, store: &Store) -> bool {
        self.steps += 1;
        let NewSession { key, begun, .. } = &self.new;
        match self.steps {
            1 => store.join_logout(&self.handle, &key.subject, *begun, HOUR).await.unwrap().value,
            2 => !is_refused(store, &self.new).await,
            _ => false,
        }
    }
}

/// A logout of the provider's, a step at a time.
struct Logout {
    handle: Handle,
    scope: Scope,
    subjects: Option<Vec<SubjectKey>>,
    request: RequestId,
}

impl Logout {
    fn new(handle: Handle, scope: Scope) -> Self {
        Self { handle, scope, subjects: None, request: RequestId::unique() }
    }

    /// Takes the next step; `false` when there is none.
    async fn step(&mut self, store: &Store) -> bool {
        let Some(subjects) = &mut self.subjects else {
            self.subjects = Some(mark(store, &self.handle).await);
            return true;
        };
        let Some(subject) = subjects.pop() else { return false };
        store.log_out_subject(&subject, &self.scope, self.request).await.unwrap();
        true
    }

    async fn run(&mut self, store: &Store) {
        while self.step(store).await {}
    }
}

/// What logouts name a login of `who` by, and which sessions they end: its sid, the person, or both.
fn named_by(who: &str) -> [(Handle, Option<Handle>, Scope); 4] {
    let (login, person) = (sid(who), Handle::of(&["sub", who]));
    let scope = |nameless| Scope::Session { sid: login, nameless };
    [
        (login, Some(login), scope(false)),
        (login, None, scope(true)),
        (person, Some(login), Scope::All),
        (person, None, Scope::All),
    ]
}

pub async fn whichever_comes_first_a_login_or_its_logout_nobody_is_left_signed_in(store: &Store) {
    // Every way that the steps of the two can fall between each other, as the bits say whose turn it is.
    for (order, number) in (0..32_u8).flat_map(|order| (0..4).map(move |number| (order, number))) {
        let who = format!("who-{order}-{number}");
        let (handle, sid, scope) = named_by(&who)[number];
        let new = of_login(store, (&who, "one"), sid, now(store).await).await;
        let key = new.key;
        let mut login = Login { new, handle, steps: 0 };
        let mut logout = Logout::new(handle, scope);
        // Who has a session already, and signs in again.
        if order >= 16 {
            open(store, &granted(&who, "old")).await;
            login.new.found = find(store, &who).await;
        }
        let mut going = [true, true];
        let mut turns = (0..4).map(|bit| usize::from(order >> bit & 1 == 1));
        while going != [false, false] {
            let turn = turns.next().unwrap_or(usize::from(!going[0]));
            if going[turn] {
                going[turn] = match turn {
                    0 => login.step(store).await,
                    _ => logout.step(store).await,
                };
            }
        }

        assert!(!lives(store, &key).await, "{order:b} {number}");
    }
}

pub async fn whenever_logins_and_a_logout_meet_nobody_is_left_signed_in(store: &Store) {
    for round in 0..20 {
        let who = format!("who-{round}");
        let (handle, sid, scope) = named_by(&who)[round % 4];
        let begun = now(store).await;
        let mut next = 0;
        let opened = all_at_once(8, || {
            next += 1;
            let (who, secret) = (who.clone(), next.to_string());
            async move {
                if secret == "4" {
                    Logout::new(handle, scope).run(store).await;
                    return None;
                }
                let new = of_login(store, (&who, &secret), sid, begun).await;
                let key = new.key;
                let mut login = Login { new, handle, steps: 0 };
                while login.step(store).await {}
                Some(key)
            }
        })
        .await;

        for key in opened.into_iter().flatten() {
            assert!(!lives(store, &key).await, "{round}");
        }
    }
}

pub async fn a_thousand_sessions_end_by_one_logout(store: &Store) {
    let (who, begun) = (["alice", "bob"], now(store).await);
    for who in who {
        let mut next = 0;
        open(store, &of_login(store, (who, "first"), Some(sid(who)), begun).await).await;
        let found = find(store, who).await;
        for _ in 0..10 {
            all_at_once(100, || {
                next += 1;
                let new = new_session(who, &next.to_string());
                let new = NewSession { found: found.clone(), sid: Some(sid(who)), ..new };
                async move { open(store, &new).await }
            })
            .await;
        }
    }
    let scopes = [Scope::All, Scope::Session { sid: sid("bob"), nameless: false }];

    for (who, scope) in who.into_iter().zip(scopes) {
        log_out(store, who, scope).await;

        assert_eq!(living(store, who, &["first", "1", "500", "1000"]).await, [""; 0]);
    }
}

async fn spend(store: &Store, name: &str, keep: Duration, request: RequestId) -> bool {
    store.spend_once(&digest(name), keep, request).await.unwrap().value
}

async fn was_spent(store: &Store, name: &str) -> bool {
    store.was_spent(&digest(name)).await.unwrap().value
}

pub async fn what_counts_once_is_spent_by_one_and_forgotten_in_time(store: &Store) {
    let first = RequestId::unique();
    assert!(!was_spent(store, "one").await);

    assert!(spend(store, "one", HOUR, first).await);

    assert!(spend(store, "one", HOUR, first).await, "the same request gets the same answer");
    assert!(!spend(store, "one", HOUR, RequestId::unique()).await);
    assert!(was_spent(store, "one").await);
    assert!(!was_spent(store, "two").await);

    let short = Duration::from_millis(50);
    assert!(spend(store, "two", short, first).await);
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert!(!was_spent(store, "two").await);
    assert!(spend(store, "two", HOUR, RequestId::unique()).await);

    let all = all_at_once(20, || spend(store, "three", HOUR, RequestId::unique())).await;
    assert_eq!(all.into_iter().filter(|spent| *spent).count(), 1);
}

pub async fn what_was_spent_for_nothing_can_be_spent_again_by_whoever_spent_it(store: &Store) {
    let [first, second] = [RequestId::unique(), RequestId::unique()];
    let unspend = async |request| store.unspend(&digest("one"), request).await.unwrap();
    unspend(first).await;
    assert!(!was_spent(store, "one").await, "there was nothing to take back");

    assert!(spend(store, "one", HOUR, first).await);
    unspend(second).await;
    assert!(was_spent(store, "one").await, "only whoever spent it takes it back");
    unspend(first).await;

    assert!(!was_spent(store, "one").await);
    assert!(spend(store, "one", HOUR, second).await);
    unspend(first).await;
    assert!(was_spent(store, "one").await, "once more changes nothing for the next");
}
