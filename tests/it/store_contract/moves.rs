//! How an identity is moved from one subject to another, whatever happens meanwhile.

use std::collections::BTreeSet;

use vestibule::inside::store::{
    Binding, Claim, Found, NewSession, OpenedSession, Owner, Session, SessionKey, Store,
    UsedSession,
};
use vestibule::inside::{Identity, RequestId, SubjectKey};

use super::{
    AT_EASE, HOUR, bound, denied_standing, find, identity, new_session, new_standing, provider,
    subject,
};

/// A move under way: an operator's command, a step at a time.
pub(super) struct Move {
    what: Identity,
    from: String,
    to: String,
    done: u8,
    endings: u64,
}

impl Move {
    /// Of the identity `what` from one to another.
    pub(super) fn new(what: &str, from: &str, to: &str) -> Self {
        let (from, to) = (from.to_owned(), to.to_owned());
        Self { what: identity(what), from, to, done: 0, endings: 0 }
    }

    /// Takes the next step; `false` when the move goes no further.
    pub(super) async fn step(&mut self, store: &Store) -> bool {
        let (what, from, to) = (&self.what, subject(&self.from).key(), subject(&self.to));
        let goes_on = match self.done {
            0 => {
                self.endings = find(store, &self.to).await.binding.endings;
                store.begin_move(what, &from, &to).await.unwrap().value
            }
            1 => store.retire_subject(&from, what).await.unwrap().value,
            2 => store.finish_move(what, &to).await.unwrap().value,
            3 => store.bind_subject(&to.key(), what, self.endings).await.unwrap().value,
            _ => return false,
        };
        self.done = if goes_on { self.done + 1 } else { u8::MAX };
        goes_on
    }

    /// Takes all steps; whether it came to its end.
    pub(super) async fn run(mut self, store: &Store) -> bool {
        while self.done < 4 && self.step(store).await {}
        self.done == 4 && self.bound(store).await
    }

    async fn bound(&self, store: &Store) -> bool {
        bound(store, &self.to).await.as_ref() == Some(&self.what)
    }
}

/// A login under way: somebody whose identity rule yields `what`.
pub(super) struct Login {
    who: String,
    what: Identity,
    secret: String,
    found: Option<Found>,
    claimed: bool,
    done: bool,
    opened: Option<SessionKey>,
}

impl Login {
    pub(super) fn new(who: &str, what: &str, secret: &str) -> Self {
        Self {
            who: who.to_owned(),
            what: identity(what),
            secret: secret.to_owned(),
            found: None,
            claimed: false,
            done: false,
            opened: None,
        }
    }

    /// Takes the next step; `false` when the login is over.
    pub(super) async fn step(&mut self, store: &Store) -> bool {
        match &self.found {
            _ if self.done => {}
            None => {
                let found = find(store, &self.who).await;
                self.what = found.binding.identity.clone().unwrap_or(self.what.clone());
                self.found = Some(found);
            }
            Some(found) if found.binding.identity.is_none() && !self.claimed => {
                let claim = store.claim_identity(&self.what, &subject(&self.who)).await.unwrap();
                self.claimed = true;
                self.done = claim.value != Claim::Ours;
            }
            Some(found) => {
                let new = NewSession {
                    identity: self.what.clone(),
                    found: found.clone(),
                    ..new_session(&self.who, &self.secret)
                };
                if let OpenedSession::Opened(_) = store.open_session(&new).await.unwrap().value {
                    self.opened = Some(new.key);
                }
                self.done = true;
            }
        }
        !self.done
    }

    /// Takes all steps; the session, if one was opened.
    pub(super) async fn run(mut self, store: &Store) -> Option<SessionKey> {
        while self.step(store).await {}
        self.opened
    }
}

pub(super) async fn used(store: &Store, key: &SessionKey) -> Option<Session> {
    match store.use_session(key, &AT_EASE, RequestId::unique()).await.unwrap().value {
        UsedSession::Live(session, _) => Some(session),
        UsedSession::Ended => None,
        limited @ UsedSession::Limited { .. } => panic!("{limited:?}"),
    }
}

pub(super) async fn claim(store: &Store, what: &str, who: &str) -> Claim {
    store.claim_identity(&identity(what), &subject(who)).await.unwrap().value
}

pub(super) async fn owner(store: &Store, what: &str) -> Option<(String, Option<String>)> {
    let owner = store.find_subject(&identity(what)).await.unwrap().value.owner;
    owner.map(|Owner { subject, moving_to }| {
        (subject.value().to_owned(), moving_to.map(|to| to.value().to_owned()))
    })
}

pub(super) fn key(who: &str) -> SubjectKey {
    subject(who).key()
}

/// Opens a session of `who` right now.
pub(super) async fn sign_in(store: &Store, who: &str, what: &str, secret: &str) -> SessionKey {
    Login::new(who, what, secret).run(store).await.expect("whom nobody overtakes gets in")
}

pub async fn a_move_takes_the_identity_and_all_sessions_along(store: &Store) {
    let old = [
        sign_in(store, "old", "alice", "one").await,
        sign_in(store, "old", "alice", "two").await,
        sign_in(store, "new", "other", "three").await,
    ];
    let bystander = sign_in(store, "bystander", "bob", "four").await;

    assert!(Move::new("alice", "old", "new").run(store).await);

    for key in old {
        assert_eq!(used(store, &key).await, None);
        assert_eq!(store.read_session(&key, HOUR).await.unwrap().value, None);
        let ended = store.end_session(&key, HOUR, RequestId::unique()).await.unwrap().value;
        assert!(!ended, "it ended with the others");
    }
    assert!(used(store, &bystander).await.is_some());
    assert_eq!(bound(store, "old").await, None);
    assert_eq!(bound(store, "new").await, Some(identity("alice")));
    assert_eq!(owner(store, "alice").await, Some(("new".to_owned(), None)));
    assert_eq!(owner(store, "other").await, Some(("new".to_owned(), None)), "it stays theirs");
    assert_eq!(claim(store, "alice", "old").await, Claim::Anothers);

    let key = sign_in(store, "new", "another-rule", "five").await;
    assert_eq!(used(store, &key).await.unwrap().identity, identity("alice"));
    let key = sign_in(store, "old", "alice.2", "six").await;
    assert_eq!(used(store, &key).await.unwrap().identity, identity("alice.2"));
}

pub async fn an_identity_on_its_way_is_nobodys_to_claim(store: &Store) {
    claim(store, "alice", "old").await;

    let mut moving = Move::new("alice", "old", "new");
    assert!(moving.step(store).await);

    for who in ["old", "new", "third"] {
        assert_eq!(claim(store, "alice", who).await, Claim::Anothers, "{who}");
    }
    let owner = owner(store, "alice").await;
    assert_eq!(owner, Some(("old".to_owned(), Some("new".to_owned()))));
    assert!(moving.step(store).await && moving.step(store).await);
    assert_eq!(claim(store, "alice", "new").await, Claim::Ours);
    assert_eq!(claim(store, "alice", "old").await, Claim::Anothers);
}

pub async fn a_move_begins_only_from_whose_it_is(store: &Store) {
    claim(store, "alice", "old").await;
    let begin = async |what: &str, from: &str, to: &str| {
        store.begin_move(&identity(what), &key(from), &subject(to)).await.unwrap().value
    };

    assert!(!begin("unclaimed", "old", "new").await);
    assert_eq!(owner(store, "unclaimed").await, None);
    assert!(!begin("alice", "third", "new").await);
    assert!(begin("alice", "third", "old").await, "it is there already");
    assert_eq!(owner(store, "alice").await, Some(("old".to_owned(), None)));

    assert!(begin("alice", "old", "new").await);
    assert!(begin("alice", "old", "new").await);
    assert!(!begin("alice", "old", "third").await, "it is on its way elsewhere");
    assert!(!begin("alice", "third", "new").await, "it does not come from there");
    assert!(!begin("alice", "third", "old").await, "it is on its way away from there");
    let owner = owner(store, "alice").await;
    assert_eq!(owner, Some(("old".to_owned(), Some("new".to_owned()))));
}

pub async fn a_move_ends_only_where_it_was_begun_to(store: &Store) {
    claim(store, "alice", "old").await;
    let finish =
        async |to: &str| store.finish_move(&identity("alice"), &subject(to)).await.unwrap().value;

    assert!(!finish("new").await, "it never began");
    assert!(finish("old").await, "it is there");
    store.begin_move(&identity("alice"), &key("old"), &subject("new")).await.unwrap();
    assert!(!finish("third").await);
    assert!(!finish("old").await);
    assert_eq!(claim(store, "alice", "new").await, Claim::Anothers);
    assert!(finish("new").await);
    assert!(finish("new").await);
    assert!(!finish("old").await);
    let nobodys = store.finish_move(&identity("unclaimed"), &subject("new")).await.unwrap();
    assert!(!nobodys.value);
    assert_eq!(owner(store, "unclaimed").await, None);
}

pub async fn each_step_of_a_move_may_come_twice(store: &Store) {
    let old = sign_in(store, "old", "alice", "one").await;
    let mut moving = Move::new("alice", "old", "new");

    for step in 0..4 {
        assert!(moving.step(store).await);
        moving.done = step;
        assert!(moving.step(store).await, "step {step} again");
    }

    assert_eq!(used(store, &old).await, None);
    assert!(moving.bound(store).await);
    let new = sign_in(store, "new", "alice", "two").await;
    moving.done = 3;
    assert!(moving.step(store).await);
    assert!(used(store, &new).await.is_some(), "a late repeat ends no later session");
}

pub async fn a_move_that_stopped_anywhere_is_finished_by_the_same_steps(store: &Store) {
    for steps in 0..=4 {
        let [what, from, to] = ["what", "from", "to"].map(|name| format!("{name}-{steps}"));
        let old = sign_in(store, &from, &what, "one").await;
        let mut stopped = Move::new(&what, &from, &to);
        for _ in 0..steps {
            assert!(stopped.step(store).await);
        }

        assert!(Move::new(&what, &from, &to).run(store).await, "after {steps}");

        assert_eq!(used(store, &old).await, None);
        assert_eq!(
            (bound(store, &from).await, bound(store, &to).await),
            (None, Some(identity(&what)))
        );
        assert_eq!(owner(store, &what).await, Some((to, None)));
    }
}

/// Both steps that a login takes before it opens a session, without the session.
pub(super) async fn about_to_open(store: &Store, who: &str, what: &str) -> Login {
    let mut login = Login::new(who, what, "late");
    assert!(login.step(store).await);
    if login.found.as_ref().is_some_and(|found| found.binding.identity.is_none()) {
        assert!(login.step(store).await);
    }
    login
}

pub async fn a_login_that_a_move_overtakes_opens_nothing(store: &Store) {
    sign_in(store, "old", "alice", "one").await;
    let late = about_to_open(store, "old", "alice").await;

    assert!(Move::new("alice", "old", "new").run(store).await);

    assert_eq!(late.run(store).await, None);
    assert_eq!(bound(store, "old").await, None);
}

pub async fn a_claim_that_a_move_overtakes_opens_nothing(store: &Store) {
    let late = about_to_open(store, "old", "alice").await;
    assert!(late.claimed);

    assert!(Move::new("alice", "old", "new").run(store).await);

    assert_eq!(late.run(store).await, None, "though nothing was there to be ended");
    assert_eq!(bound(store, "old").await, None);
}

pub async fn a_login_of_the_new_owner_that_the_move_overtakes_opens_nothing(store: &Store) {
    sign_in(store, "old", "alice", "one").await;
    let unbound = about_to_open(store, "new", "other").await;
    assert!(Move::new("alice", "old", "new").run(store).await);
    assert_eq!(unbound.run(store).await, None);

    sign_in(store, "old", "alice.2", "two").await;
    let late = about_to_open(store, "new", "other").await;
    assert!(Move::new("alice.2", "old", "new").run(store).await);
    assert_eq!(late.run(store).await, None);
    assert_eq!(bound(store, "new").await, Some(identity("alice.2")));
}

pub async fn a_second_device_may_sign_in_until_the_subject_is_retired(store: &Store) {
    sign_in(store, "old", "alice", "one").await;
    let mut moving = Move::new("alice", "old", "new");
    assert!(moving.step(store).await);

    let second = sign_in(store, "old", "alice", "two").await;
    assert!(used(store, &second).await.is_some(), "nobody else has it yet");

    assert!(moving.step(store).await);
    assert_eq!(used(store, &second).await, None);
}

pub async fn a_session_opened_right_after_an_ending_lives(store: &Store) {
    for round in 0..50 {
        store.retire_subject(&key("alice"), &identity("other")).await.unwrap();

        let key = sign_in(store, "alice", "alice", &round.to_string()).await;

        assert!(used(store, &key).await.is_some(), "round {round}");
    }
}

pub async fn of_two_sessions_around_an_ending_in_one_millisecond_only_the_later_lives(
    store: &Store,
) {
    let new = |endings, name: String| {
        let identity = (endings > 0).then(|| identity("alice"));
        let binding = Binding { endings, identity, blocked: false };
        let found = Found { binding, obtained: None };
        NewSession { found, ..new_session("alice", &name) }
    };
    let (alice, other) = (key("alice"), identity("other"));
    // Both scripts are known to the server, so that nothing is asked twice and the order stays.
    store.open_session(&new(0, "warm".to_owned())).await.unwrap();
    store.retire_subject(&alice, &other).await.unwrap();
    for round in 1..50 {
        let before = new(round, format!("before {round}"));
        let after = new(round + 1, format!("after {round}"));

        // They leave together, in this order.
        let (earlier, ended, later) = tokio::join!(
            store.open_session(&before),
            store.retire_subject(&alice, &other),
            store.open_session(&after)
        );

        ended.unwrap();
        for opened in [earlier, later] {
            assert!(matches!(opened.unwrap().value, OpenedSession::Opened(_)), "round {round}");
        }
        assert_eq!(used(store, &before.key).await, None, "round {round}");
        assert!(used(store, &after.key).await.is_some(), "round {round}");
    }
}

pub async fn endings_are_counted_and_outlast_the_binding(store: &Store) {
    let is = async |endings, bound: Option<&str>| {
        let binding = Binding { endings, identity: bound.map(identity), blocked: false };
        assert_eq!(find(store, "alice").await.binding, binding);
    };
    is(0, None).await;
    store.retire_subject(&key("alice"), &identity("alice")).await.unwrap();
    is(1, None).await;
    sign_in(store, "alice", "alice", "one").await;
    is(1, Some("alice")).await;
    store.retire_subject(&key("alice"), &identity("other")).await.unwrap();
    is(2, Some("alice")).await;
    store.retire_subject(&key("alice"), &identity("alice")).await.unwrap();
    is(3, None).await;
    assert!(!store.bind_subject(&key("alice"), &identity("x"), 2).await.unwrap().value);
    assert!(store.bind_subject(&key("alice"), &identity("x"), 3).await.unwrap().value);
    is(4, Some("x")).await;
    assert!(store.bind_subject(&key("alice"), &identity("x"), 0).await.unwrap().value);
    is(4, Some("x")).await;
}

pub async fn a_login_that_a_denial_overtakes_opens_nothing(store: &Store) {
    let late = about_to_open(store, "alice", "alice").await;
    store.keep_standing(&denied_standing("alice")).await.unwrap();
    let denied = store.read_standing(&key("alice"), &provider("corp")).await.unwrap().value;

    assert_eq!(late.run(store).await, None, "its claims may be older than those that were denied");

    let left = store.read_standing(&key("alice"), &provider("corp")).await.unwrap().value;
    assert_eq!(left, denied);
    assert_eq!(bound(store, "alice").await, None);
    // A login that begins after it gets in, and the one that it meets there does not stand in its way.
    let [one, other] = [
        about_to_open(store, "alice", "alice").await,
        about_to_open(store, "alice", "alice").await,
    ];
    let other = Login { secret: "other".to_owned(), ..other };
    assert!(one.run(store).await.is_some());
    assert!(other.run(store).await.is_some(), "another device is no denial");
}

pub async fn a_denial_overtakes_logins_at_its_own_provider_only(store: &Store) {
    let late = about_to_open(store, "alice", "alice").await;
    let elsewhere = vestibule::inside::store::NewStanding {
        provider: provider("other"),
        ..denied_standing("alice")
    };
    store.keep_standing(&elsewhere).await.unwrap();

    assert!(late.run(store).await.is_some());
}

pub async fn a_denial_of_the_claims_that_were_found_overtakes_nobody(store: &Store) {
    sign_in(store, "alice", "alice", "one").await;
    let late = about_to_open(store, "alice", "alice").await;
    let obtained = find(store, "alice").await.obtained.unwrap();
    let (alice, verdict, corp) = (key("alice"), super::denied(), provider("corp"));
    let decided = store.decide_standing(&alice, &corp, obtained, &verdict, "").await;
    assert!(decided.unwrap().value);

    assert!(late.run(store).await.is_some(), "another policy said it of older claims");
}

pub async fn a_bind_that_an_ending_overtakes_is_done_by_the_same_move_again(store: &Store) {
    claim(store, "alice", "old").await;
    let mut slow = Move::new("alice", "old", "new");
    for _ in 0..3 {
        assert!(slow.step(store).await);
    }
    store.retire_subject(&key("new"), &identity("other")).await.unwrap();

    assert!(!slow.step(store).await);
    assert_eq!(bound(store, "new").await, None);
    assert!(Move::new("alice", "old", "new").run(store).await);
}

pub async fn an_ending_is_remembered_where_nothing_was_before(store: &Store) {
    let late = about_to_open(store, "alice", "alice").await;

    store.retire_subject(&key("alice"), &identity("alice")).await.unwrap();

    assert_eq!(late.run(store).await, None);
    assert_eq!(bound(store, "alice").await, None);
}

pub async fn a_bind_that_comes_after_the_next_move_binds_nobody(store: &Store) {
    claim(store, "alice", "first").await;
    let mut slow = Move::new("alice", "first", "second");
    for _ in 0..3 {
        assert!(slow.step(store).await);
    }

    assert!(Move::new("alice", "second", "third").run(store).await);

    assert!(!slow.step(store).await);
    assert_eq!(bound(store, "second").await, None);
    assert_eq!(bound(store, "third").await, Some(identity("alice")));
}

pub async fn one_who_is_bound_to_another_identity_keeps_it(store: &Store) {
    claim(store, "alice", "old").await;
    let own = sign_in(store, "old", "alice.2", "one").await;

    assert!(Move::new("alice", "old", "new").run(store).await);

    assert_eq!(bound(store, "old").await, Some(identity("alice.2")));
    assert_eq!(used(store, &own).await, None, "whoever loses an identity signs in again");
}

pub async fn a_denied_login_brings_no_session_back(store: &Store) {
    let old = sign_in(store, "alice", "alice", "one").await;
    store.retire_subject(&key("alice"), &identity("other")).await.unwrap();

    store.keep_standing(&new_standing("alice")).await.unwrap();
    assert_eq!(used(store, &old).await, None);

    // Nor does a later one that comes in.
    let new = sign_in(store, "alice", "alice", "two").await;
    assert!(used(store, &new).await.is_some());
    assert_eq!(used(store, &old).await, None);
}

/// A move from one subject to another and a login of each, whose rules all yield the same identity.
struct Meeting {
    names: [String; 3],
    moving: Move,
    logins: [Login; 2],
    before: Option<SessionKey>,
}

impl Meeting {
    /// `before` says how the first subject came by the identity: not at all, by claiming it, or by signing in.
    async fn new(store: &Store, number: usize, before: usize) -> Self {
        let names = ["what", "from", "to"].map(|name| format!("{name}-{number}"));
        let [what, from, to] = &names;
        let mut early = None;
        if before == 1 {
            claim(store, what, from).await;
        } else if before == 2 {
            early = Some(sign_in(store, from, what, "early").await);
        }
        let moving = Move::new(what, from, to);
        let logins = [Login::new(from, what, "one"), Login::new(to, what, "two")];
        Self { names, moving, logins, before: early }
    }

    /// Whose turn it is: the move's (0) or a login's.
    async fn turn(&mut self, store: &Store, whose: usize) {
        match whose {
            0 => drop(self.moving.step(store).await),
            login => drop(self.logins[login - 1].step(store).await),
        }
    }

    /// At most one subject is bound to the identity, and at most one has a session with it.
    async fn check(&self, store: &Store, turns: &[usize]) {
        let [what, from, to] = &self.names;
        let what = Some(identity(what));
        let (old, new) = (bound(store, from).await, bound(store, to).await);
        assert!(!(old == what && new == what), "{turns:?}: both are bound to it");
        let mut having = BTreeSet::new();
        let opened = self.logins.iter().filter_map(|login| login.opened);
        for key in opened.chain(self.before) {
            if used(store, &key).await.map(|session| session.identity) == what {
                having.insert(key.subject.to_string());
            }
        }
        assert!(having.len() < 2, "{turns:?}: both have a session with it");
    }
}

/// All ways in which `counts` turns can follow each other.
fn stories(counts: [usize; 3]) -> Vec<Vec<usize>> {
    if counts == [0; 3] {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for first in (0..3).filter(|&whose| counts[whose] > 0) {
        let mut left = counts;
        left[first] -= 1;
        all.extend(stories(left).into_iter().map(|mut story| {
            story.insert(0, first);
            story
        }));
    }
    all
}

pub async fn whenever_logins_and_a_move_meet_two_subjects_never_share(store: &Store) {
    // Each login alone against the move in all ways; both at once in some of them, a prime apart.
    let mut all = stories([4, 3, 0]);
    all.extend(stories([4, 0, 3]));
    all.extend(stories([4, 3, 3]).into_iter().step_by(127));
    for (number, story) in all.iter().enumerate() {
        for before in 0..3 {
            let mut meeting = Meeting::new(store, 3 * number + before, before).await;

            for &whose in story {
                meeting.turn(store, whose).await;
                meeting.check(store, story).await;
            }

            let [what, from, to] = &meeting.names;
            let ended = Move::new(what, from, to).run(store).await;
            meeting.check(store, story).await;
            if owner(store, what).await.is_some_and(|(owner, _)| owner == *to) {
                assert!(ended, "{story:?}");
                assert_ne!(bound(store, from).await, Some(identity(what)), "{story:?}");
            }
        }
    }
}
