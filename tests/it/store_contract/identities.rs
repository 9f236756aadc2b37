//! Whose an identity is, and which identity somebody has.

use vestibule::inside::store::{Binding, Claim, NewSession, OpenedSession, Owner, Store, Whose};

use super::{all_at_once, bound, find, identity, new_session, open, subject};

async fn claim(store: &Store, what: &str, who: &str) -> Claim {
    store.claim_identity(&identity(what), &subject(who)).await.unwrap().value
}

pub async fn the_first_claim_wins_for_ever(store: &Store) {
    assert_eq!(claim(store, "alice", "1").await, Claim::Ours);
    assert_eq!(claim(store, "alice", "2").await, Claim::Anothers);
    assert_eq!(claim(store, "alice", "1").await, Claim::Ours, "the same claim wins again");
    assert_eq!(claim(store, "Alice", "2").await, Claim::Ours, "identities are case-sensitive");
}

pub async fn twenty_claims_at_once_have_one_winner(store: &Store) {
    let mut next = 0;

    let claims = all_at_once(20, || {
        next += 1;
        let who = next.to_string();
        async move { claim(store, "alice", &who).await }
    })
    .await;

    assert_eq!(claims.iter().filter(|claim| **claim == Claim::Ours).count(), 1);
}

pub async fn a_subject_has_no_identity_before_its_first_session(store: &Store) {
    assert_eq!(bound(store, "alice").await, None);

    open(store, &new_session("alice", "one")).await;

    assert_eq!(bound(store, "alice").await, Some(identity("alice")));
    assert_eq!(bound(store, "bob").await, None);
}

pub async fn a_binding_stays_when_the_rule_yields_another_identity(store: &Store) {
    open(store, &new_session("alice", "one")).await;
    let renamed = NewSession { identity: identity("alice.smith"), ..new_session("alice", "two") };

    let overtaken = store.open_session(&renamed).await.unwrap().value;

    assert_eq!(overtaken, OpenedSession::Overtaken, "the caller looks again, and finds the first");
    assert_eq!(bound(store, "alice").await, Some(identity("alice")));
    let found = find(store, "alice").await;
    let again = NewSession { identity: identity("alice"), found, ..renamed };
    assert_eq!(open(store, &again).await.identity, identity("alice"));
}

pub async fn a_subject_is_bound_as_it_was_found_or_not_at_all(store: &Store) {
    let bind = async |found: &Binding, what: &str| {
        let (alice, what) = (subject("alice").key(), identity(what));
        store.bind_identity(&alice, found, &what).await.unwrap().value
    };
    let unbound = Binding::default();

    assert!(bind(&unbound, "alice").await);
    assert!(bind(&unbound, "alice").await, "the same again changes nothing");
    assert!(!bind(&unbound, "ally").await, "somebody else was first");

    assert_eq!(bound(store, "alice").await, Some(identity("alice")));
    let session = open(
        store,
        &NewSession { found: find(store, "alice").await, ..new_session("alice", "one") },
    )
    .await;
    store.retire_subject(&subject("alice").key(), &identity("alice")).await.unwrap();
    assert!(!bind(&unbound, "alice").await, "what was found is long past");
    let found = find(store, "alice").await.binding;
    assert_eq!((found.endings, found.identity.as_ref()), (1, None));
    assert!(bind(&found, "alice").await);
    assert_eq!(find(store, "alice").await.binding.endings, 1, "no session ends by it");
    assert_eq!(session.identity, identity("alice"));
}

pub async fn twenty_bindings_at_once_have_one_winner(store: &Store) {
    let mut next = 0;

    let bound_to =
        all_at_once(20, || {
            next += 1;
            let what = identity(&next.to_string());
            let found = Binding::default();
            async move {
                store.bind_identity(&subject("alice").key(), &found, &what).await.unwrap().value
            }
        })
        .await;

    assert_eq!(bound_to.iter().filter(|bound| **bound).count(), 1);
}

pub async fn whose_an_identity_is_can_be_asked(store: &Store) {
    claim(store, "alice", "ä \"1\"\r\n\0").await;

    let owner = store.find_subject(&identity("alice")).await.unwrap().value.owner;

    assert_eq!(owner, Some(Owner { subject: subject("ä \"1\"\r\n\0"), moving_to: None }));
    assert_eq!(store.find_subject(&identity("Alice")).await.unwrap().value, Whose::default());
}
