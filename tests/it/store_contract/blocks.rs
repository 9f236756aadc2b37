//! How an identity is blocked, and all sessions of a subject are ended, whatever happens meanwhile.

use vestibule::inside::store::{Binding, Claim, NewSession, OpenedSession, Replicas, Store, Whose};
use vestibule::inside::{Identity, RequestId};

use super::moves::{Login, Move, about_to_open, claim, key, owner, sign_in, used};
use super::{HOUR, all_at_once, bound, find, identity, new_session, subject};

/// A block or its end under way: an operator's command, a step at a time.
struct Block {
    what: Identity,
    blocked: bool,
    /// What the subject is to follow; `None` before the first step.
    marked: Option<Whose>,
    half: bool,
    found: u64,
}

impl Block {
    fn new(what: &str, blocked: bool) -> Self {
        Self { what: identity(what), blocked, marked: None, half: false, found: 0 }
    }

    /// Takes the next step; `false` when it is done.
    async fn step(&mut self, store: &Store) -> bool {
        match self.marked.take() {
            None => {
                self.found = self.endings(store).await;
                let before = store.mark_identity(&self.what, self.blocked).await.unwrap().value;
                self.marked = Some(Whose { blocked: self.blocked, ..before });
            }
            Some(marked) if !self.half => {
                let Some(owner) = &marked.owner else { return false };
                let (who, what) = (owner.subject.key(), &self.what);
                let unblocked = (!marked.blocked).then_some(self.found);
                store.mark_subject(&who, what, unblocked).await.unwrap();
                (self.marked, self.half) = (Some(marked), true);
            }
            Some(marked) => {
                self.found = self.endings(store).await;
                let now = store.find_subject(&self.what).await.unwrap().value;
                let owner = &marked.owner.as_ref().unwrap().subject;
                let binding = store.find_identity(&owner.key(), None).await.unwrap().value.binding;
                let is_theirs = binding.identity.as_ref() == Some(&self.what);
                if now == marked && (!is_theirs || binding.blocked == marked.blocked) {
                    return false;
                }
                (self.marked, self.half) = (Some(now), false);
            }
        }
        true
    }

    /// How often the sessions of whoever has it were ended.
    async fn endings(&self, store: &Store) -> u64 {
        let owner = store.find_subject(&self.what).await.unwrap().value.owner;
        let Some(owner) = owner else { return 0 };
        store.find_identity(&owner.subject.key(), None).await.unwrap().value.binding.endings
    }

    async fn run(mut self, store: &Store) {
        while self.step(store).await {}
    }
}

async fn block(store: &Store, what: &str) {
    Block::new(what, true).run(store).await;
}

async fn unblock(store: &Store, what: &str) {
    Block::new(what, false).run(store).await;
}

async fn is_blocked(store: &Store, what: &str) -> bool {
    store.find_subject(&identity(what)).await.unwrap().value.blocked
}

/// Whether the identity that `who` is bound to is blocked.
async fn is_marked(store: &Store, who: &str) -> bool {
    find(store, who).await.binding.blocked
}

pub async fn a_block_ends_all_sessions_and_lets_none_begin(store: &Store) {
    let old = [
        sign_in(store, "alice", "alice", "one").await,
        sign_in(store, "alice", "alice", "two").await,
    ];
    let bystander = sign_in(store, "bob", "bob", "three").await;

    block(store, "alice").await;

    for key in old {
        assert_eq!(used(store, &key).await, None);
        assert_eq!(store.read_session(&key, HOUR).await.unwrap().value, None);
        let ended = store.end_session(&key, HOUR, RequestId::unique()).await.unwrap().value;
        assert!(!ended, "it ended with the others");
    }
    assert!(used(store, &bystander).await.is_some());
    assert!(is_blocked(store, "alice").await && is_marked(store, "alice").await);
    assert_eq!(bound(store, "alice").await, Some(identity("alice")), "it stays theirs");
    assert_eq!(claim(store, "alice", "alice").await, Claim::Blocked);
    assert_eq!(claim(store, "alice", "bob").await, Claim::Anothers, "whose it is goes first");
    // Not even for a caller who has seen that it is blocked.
    let found = find(store, "alice").await;
    let binding = found.binding.clone();
    let new = NewSession { found, ..new_session("alice", "late") };
    assert_eq!(store.open_session(&new).await.unwrap().value, OpenedSession::Overtaken);
    for what in ["alice", "ally"] {
        let bound = store.bind_identity(&key("alice"), &binding, &identity(what)).await;
        assert!(!bound.unwrap().value, "{what}");
    }
    assert!(is_marked(store, "alice").await);
}

pub async fn after_an_unblock_the_subject_signs_in_again_and_no_old_session_lives(store: &Store) {
    let old = sign_in(store, "alice", "alice", "one").await;
    block(store, "alice").await;

    unblock(store, "alice").await;

    assert!(!is_blocked(store, "alice").await && !is_marked(store, "alice").await);
    assert_eq!(used(store, &old).await, None);
    let new = sign_in(store, "alice", "another-rule", "two").await;
    assert_eq!(used(store, &new).await.unwrap().identity, identity("alice"));
    assert_eq!(used(store, &old).await, None);
}

pub async fn an_identity_that_nobody_has_can_be_blocked(store: &Store) {
    block(store, "alice").await;

    for who in ["alice", "bob"] {
        assert_eq!(claim(store, "alice", who).await, Claim::Blocked, "{who}");
    }
    assert_eq!(owner(store, "alice").await, None, "a claim that is refused leaves nothing");
    unblock(store, "alice").await;
    assert_eq!(claim(store, "alice", "bob").await, Claim::Ours);
    assert_eq!(claim(store, "alice", "alice").await, Claim::Anothers);
}

pub async fn an_identity_that_is_claimed_and_not_bound_can_be_blocked(store: &Store) {
    claim(store, "alice", "alice").await;

    block(store, "alice").await;

    assert_eq!(claim(store, "alice", "alice").await, Claim::Blocked);
    assert_eq!(Login::new("alice", "alice", "one").run(store).await, None);
    // Another one may be theirs.
    let other = sign_in(store, "alice", "ally", "two").await;
    assert!(used(store, &other).await.is_some());
    unblock(store, "alice").await;
    assert!(used(store, &other).await.is_some());
    assert_eq!(bound(store, "alice").await, Some(identity("ally")));
}

pub async fn a_block_again_stays_one_and_an_unblock_again_ends_nothing(store: &Store) {
    sign_in(store, "alice", "alice", "one").await;
    block(store, "alice").await;

    block(store, "alice").await;
    assert!(is_marked(store, "alice").await);
    unblock(store, "alice").await;
    let new = sign_in(store, "alice", "alice", "two").await;
    unblock(store, "alice").await;

    assert!(used(store, &new).await.is_some(), "an unblock ends nothing");
    let alice = identity("alice");
    let before = store.mark_identity(&alice, true).await.unwrap().value;
    assert!(!before.blocked);
    let before = store.mark_identity(&alice, true).await.unwrap().value;
    assert!(before.blocked && before.owner.unwrap().subject == subject("alice"));
    assert!(store.mark_identity(&alice, false).await.unwrap().value.blocked);
    assert!(!store.mark_identity(&alice, false).await.unwrap().value.blocked);
}

pub async fn each_step_of_a_block_may_come_twice(store: &Store) {
    let old = sign_in(store, "alice", "alice", "one").await;
    let (who, what) = (key("alice"), identity("alice"));

    for blocked in [true, false] {
        for _ in 0..2 {
            store.mark_identity(&what, blocked).await.unwrap();
        }
        let endings = find(store, "alice").await.binding.endings;
        for _ in 0..2 {
            store.mark_subject(&who, &what, (!blocked).then_some(endings)).await.unwrap();
        }
        assert_eq!(find(store, "alice").await.binding.endings, 2, "{blocked}");
        assert_eq!(is_marked(store, "alice").await, blocked);
    }

    assert_eq!(used(store, &old).await, None);
}

pub async fn a_block_that_stopped_anywhere_keeps_out_and_is_finished_by_the_same_steps(
    store: &Store,
) {
    for (round, blocked) in [true, false].into_iter().enumerate() {
        for steps in 0..=3 {
            let who = format!("who-{round}-{steps}");
            let old = sign_in(store, &who, &who, "one").await;
            if !blocked {
                block(store, &who).await;
            }
            let mut stopped = Block::new(&who, blocked);
            for _ in 0..steps {
                stopped.step(store).await;
            }
            if !blocked && steps < 2 {
                assert!(is_marked(store, &who).await, "until it is done they stay out");
            }

            Block::new(&who, blocked).run(store).await;

            assert_eq!(is_blocked(store, &who).await, blocked, "{who}");
            assert_eq!(is_marked(store, &who).await, blocked, "{who}");
            assert_eq!(used(store, &old).await, None, "{who}");
        }
    }
}

pub async fn an_unblock_that_a_block_overtakes_undoes_nothing_of_it(store: &Store) {
    for before in 0..3 {
        let who = format!("who-{before}");
        sign_in(store, &who, &who, "one").await;
        block(store, &who).await;
        let mut overtaken = Block::new(&who, false);
        for _ in 0..before {
            overtaken.step(store).await;
        }

        block(store, &who).await;
        // One step more of it, and it stops for ever.
        overtaken.step(store).await;

        let says_so = is_blocked(store, &who).await;
        assert!(is_marked(store, &who).await || !says_so, "{before}: blocked, and comes in");
    }
}

pub async fn a_login_that_a_block_overtakes_opens_nothing(store: &Store) {
    sign_in(store, "alice", "alice", "one").await;
    let bound = about_to_open(store, "alice", "alice").await;
    let claimed = about_to_open(store, "bob", "bob").await;

    block(store, "alice").await;
    block(store, "bob").await;

    assert_eq!(bound.run(store).await, None);
    assert_eq!(claimed.run(store).await, None, "though nothing was there to be ended");
    // Nor one who comes without a session.
    let bob = find(store, "bob").await.binding;
    let late = store.bind_identity(&key("bob"), &Binding::default(), &identity("bob")).await;
    assert!(!late.unwrap().value);
    assert_eq!((bob.endings, bob.identity), (1, None));
    unblock(store, "bob").await;
    sign_in(store, "bob", "bob", "two").await;
}

pub async fn a_blocked_identity_is_not_moved(store: &Store) {
    sign_in(store, "old", "alice", "one").await;
    block(store, "alice").await;

    assert!(!Move::new("alice", "old", "new").run(store).await);
    assert_eq!(owner(store, "alice").await, Some(("old".to_owned(), None)));
    assert!(is_marked(store, "old").await);
    // Nor is somebody who is blocked bound to another one.
    sign_in(store, "bob", "bob", "two").await;
    assert!(!Move::new("bob", "bob", "old").run(store).await);
    assert!(is_marked(store, "old").await, "they stay out");

    // Nor while an unblock has stopped half way.
    assert!(Block::new("alice", false).step(store).await);
    assert!(!Move::new("alice", "old", "new").run(store).await);
    assert!(is_marked(store, "old").await);
    assert_eq!(claim(store, "alice", "new").await, Claim::Anothers);

    unblock(store, "alice").await;
    assert!(Move::new("alice", "old", "new").run(store).await);
    let new = sign_in(store, "new", "another-rule", "three").await;
    assert_eq!(used(store, &new).await.unwrap().identity, identity("alice"));
}

pub async fn a_block_in_the_middle_of_a_move_holds_and_the_move_is_made_after_it(store: &Store) {
    for steps in 0..=4 {
        let [what, from, to] = ["what", "from", "to"].map(|name| format!("{name}-{steps}"));
        let old = sign_in(store, &from, &what, "one").await;
        let other = sign_in(store, &to, &format!("other-{steps}"), "two").await;
        let mut moving = Move::new(&what, &from, &to);
        for _ in 0..steps {
            assert!(moving.step(store).await);
        }

        block(store, &what).await;
        moving.run(store).await;

        assert!(is_blocked(store, &what).await, "{steps}");
        for who in [&from, &to] {
            // Whoever was bound to it still, or is already, stays out.
            let binding = find(store, who).await.binding;
            let theirs = binding.identity == Some(identity(&what));
            assert!(!theirs || binding.blocked, "{steps} {who}: {binding:?}");
            let unbound = binding.identity.is_none();
            assert!(!unbound || Login::new(who, &what, "in").run(store).await.is_none(), "{steps}");
        }
        assert_eq!(used(store, &old).await, None, "{steps}");
        assert_eq!(used(store, &other).await.is_some(), steps < 3, "{steps}");

        unblock(store, &what).await;
        assert!(Move::new(&what, &from, &to).run(store).await, "{steps}");
        assert_eq!(owner(store, &what).await, Some((to.clone(), None)), "{steps}");
        let new = sign_in(store, &to, "another-rule", "three").await;
        assert_eq!(used(store, &new).await.unwrap().identity, identity(&what), "{steps}");
    }
}

async fn end_all(store: &Store, who: &str) {
    let endings = find(store, who).await.binding.endings;
    store.end_all_sessions(&key(who), endings).await.unwrap();
}

pub async fn an_end_of_all_sessions_lets_everybody_sign_in_again(store: &Store) {
    let old = sign_in(store, "alice", "alice", "one").await;
    let late = about_to_open(store, "alice", "alice").await;

    end_all(store, "alice").await;

    assert_eq!(used(store, &old).await, None);
    assert_eq!(late.run(store).await, None);
    let new = sign_in(store, "alice", "another-rule", "two").await;
    assert_eq!(used(store, &new).await.unwrap().identity, identity("alice"));
    store.end_all_sessions(&key("alice"), 0).await.unwrap();
    assert!(used(store, &new).await.is_some(), "what comes late ends nothing that has begun since");
    // Somebody who is blocked stays so.
    block(store, "alice").await;
    end_all(store, "alice").await;
    assert!(is_marked(store, "alice").await);
    // Of nobody there is nothing to end, but what is about to begin.
    let late = about_to_open(store, "bob", "bob").await;
    end_all(store, "bob").await;
    assert_eq!(late.run(store).await, None);
}

pub async fn whenever_blocks_and_their_ends_meet_both_marks_say_the_same(store: &Store) {
    // Every way that the steps of a block and of an unblock can fall between each other, as the bits say whose turn it is.
    for order in 0..128_u8 {
        let who = format!("who-{order}");
        sign_in(store, &who, &who, "one").await;
        let mut commands = [Block::new(&who, true), Block::new(&who, false)];
        let mut going = [true, true];
        let mut turns = (0..7).map(|bit| usize::from(order >> bit & 1 == 1));
        while going != [false, false] {
            let turn = turns.next().unwrap_or(usize::from(!going[0]));
            if going[turn] {
                going[turn] = commands[turn].step(store).await;
            }
        }

        let (what, marked) = (is_blocked(store, &who).await, is_marked(store, &who).await);
        assert_eq!(what, marked, "{order:b}");
    }
}

pub async fn whenever_logins_and_a_block_meet_nobody_is_in_afterwards(store: &Store) {
    for round in 0..20 {
        let who = format!("who-{round}");
        if round % 2 == 0 {
            sign_in(store, &who, &who, "first").await;
        }
        let mut next = 0;
        let opened = all_at_once(8, || {
            next += 1;
            let (who, secret) = (who.clone(), next.to_string());
            async move {
                if secret == "5" {
                    block(store, &who).await;
                    return None;
                }
                Login::new(&who, &who, &secret).run(store).await
            }
        })
        .await;

        for key in opened.into_iter().flatten() {
            assert_eq!(used(store, &key).await, None, "{round}");
        }
    }
}

pub async fn a_store_without_replicas_waits_for_none(store: &Store) {
    let replicas = store.wait_for_replicas().await.unwrap().value;

    assert_eq!(replicas, Replicas { there: 0, have_it: 0 });
}
