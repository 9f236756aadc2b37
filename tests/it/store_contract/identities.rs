//! Whose an identity is, and which identity somebody has.

use vestibule::inside::store::{Claim, Store};

use super::{all_at_once, identity, new_session, subject};

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
    assert_eq!(store.find_identity(&subject("alice").key()).await.unwrap().value, None);

    store.open_session(&new_session("alice", "one")).await.unwrap();

    assert_eq!(
        store.find_identity(&subject("alice").key()).await.unwrap().value,
        Some(identity("alice"))
    );
    assert_eq!(store.find_identity(&subject("bob").key()).await.unwrap().value, None);
}

pub async fn a_binding_stays_when_the_rule_yields_another_identity(store: &Store) {
    store.open_session(&new_session("alice", "one")).await.unwrap();
    let mut renamed = new_session("alice", "two");
    renamed.identity = identity("alice.smith");

    let session = store.open_session(&renamed).await.unwrap().value;

    assert_eq!(session.identity, identity("alice"));
    assert_eq!(
        store.find_identity(&subject("alice").key()).await.unwrap().value,
        Some(identity("alice"))
    );
}
