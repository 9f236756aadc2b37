//! Subject ⇄ identity: which Conversations identity a subject has, for ever.
//!
//! Owns the default rule, the order in which a binding is made, and the order in which an operator moves one. Does not own how
//! it is kept (`store`), nor whether the subject may come in (`policy`).

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::ids::{Identity, Subject};
use crate::store::{Claim, Dated, Owner, Store, StoreError};
use crate::telemetry::AUDIT;

/// Why an operator's move was not made, or not to its end. The same move again goes on where this one stopped.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// Nobody has the identity.
    #[error("nobody has the identity {identity}")]
    Unknown {
        /// The identity.
        identity: Identity,
    },
    /// The subject has it already.
    #[error("the identity {identity} is that subject's already")]
    Theirs {
        /// The identity.
        identity: Identity,
    },
    /// A move to another subject is under way, or stopped half way.
    #[error("the identity {identity} is on its way to {} of {}: finish that move first", to.value(), to.issuer())]
    UnderWay {
        /// The identity.
        identity: Identity,
        /// Whose it is to be.
        to: Subject,
    },
    /// Somebody else moved it at the same time.
    #[error("the identity {identity} was moved by somebody else at the same time: look again")]
    Overtaken {
        /// The identity.
        identity: Identity,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Finds, makes and moves bindings.
pub struct Bindings {
    store: Arc<Store>,
}

impl Bindings {
    /// For how long a subject's earlier sessions are remembered as ended: the longest that a session can last (`config`).
    const LONGEST_SESSION: Duration = Duration::from_hours(24 * 400);

    /// Bindings kept in `store`.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// The identity that `subject` is bound to, and when that was so.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn find(
        &self,
        subject: &Subject,
    ) -> Result<(Option<Identity>, Timestamp), StoreError> {
        let Dated { value, time } = self.store.find_identity(&subject.key()).await?;
        Ok((value, time.at()))
    }

    /// Claims `identity` for a subject that has none; `false` when another subject has it, and will for ever (contract §3.1).
    ///
    /// The claim goes before the binding, which the first session makes: from it the way back can be rebuilt, and a subject that
    /// never opens a session has lost nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any: a claim that was made stays, and the next login finds it.
    pub async fn claim(&self, identity: &Identity, subject: &Subject) -> Result<bool, StoreError> {
        Ok(self.store.claim_identity(identity, subject).await?.value == Claim::Ours)
    }

    /// Whose `identity` is; `None` when it is nobody's.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn owner(&self, identity: &Identity) -> Result<Option<Owner>, StoreError> {
        Ok(self.store.find_subject(identity).await?.value)
    }

    /// Gives `identity` to another subject, as only an operator may, and says whose it was. All sessions of both subjects end; an
    /// identity that `to` had before stays reserved for it, so that it never becomes a third one's.
    ///
    /// While the move is under way nobody can claim the identity, so that no moment has two subjects with it.
    ///
    /// # Errors
    ///
    /// [`MoveError`], any.
    pub async fn move_to(&self, identity: &Identity, to: &Subject) -> Result<Subject, MoveError> {
        let Dated { value, mut time } = self.store.find_subject(identity).await?;
        let Owner { subject: from, moving_to } =
            value.ok_or_else(|| MoveError::Unknown { identity: identity.clone() })?;
        if let Some(other) = moving_to.filter(|other| other != to) {
            return Err(MoveError::UnderWay { identity: identity.clone(), to: other });
        }
        if from == *to && self.find(to).await?.0.as_ref() == Some(identity) {
            return Err(MoveError::Theirs { identity: identity.clone() });
        }
        let overtaken = || MoveError::Overtaken { identity: identity.clone() };
        if from != *to {
            if !self.store.begin_move(identity, &from.key(), to).await?.value {
                return Err(overtaken());
            }
            self.store.retire_subject(&from.key(), identity, Self::LONGEST_SESSION).await?;
            let finished = self.store.finish_move(identity, to).await?;
            if !finished.value {
                return Err(overtaken());
            }
            time = finished.time;
        }
        let keep = Self::LONGEST_SESSION;
        if !self.store.bind_subject(&to.key(), identity, time.at(), keep).await?.value {
            return Err(overtaken());
        }
        tracing::info!(
            target: AUDIT,
            event = "move",
            identity = %identity,
            from_issuer = from.issuer(),
            from_subject = from.value(),
            to_issuer = to.issuer(),
            to_subject = to.value(),
            "identity moved"
        );
        Ok(from)
    }
}

/// `uuid5(uuid5(NAMESPACE_URL, issuer), value)`, lower-case and hyphenated (RFC 9562 §5.5): any backend can compute it, it
/// holds no personal data, and losing the store does not lose it.
#[expect(clippy::expect_used, reason = "a UUID is within the rules of an identity")]
pub fn default_identity(subject: &Subject) -> Identity {
    let issuer = Uuid::new_v5(&Uuid::NAMESPACE_URL, subject.issuer().as_bytes());
    let identity = Uuid::new_v5(&issuer, subject.value().as_bytes());
    Identity::parse(identity.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
        .expect("36 characters of a-f, 0-9 and -")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_identity_is_what_any_backend_computes() {
        let subject = Subject::new("https://id.example.com/realms/corp", "alice").unwrap();

        // python3 -c 'from uuid import *; print(uuid5(uuid5(NAMESPACE_URL, "https://id.example.com/realms/corp"), "alice"))'
        assert_eq!(default_identity(&subject).as_str(), "542cbca3-8a8c-5efd-8e85-bc65d6f6f011");
    }

    #[test]
    fn case_space_and_issuer_make_different_people() {
        let one = default_identity(&Subject::new("https://a", "alice").unwrap());

        for (issuer, value) in
            [("https://a", "Alice"), ("https://a", "alice "), ("https://a/", "alice")]
        {
            assert_ne!(default_identity(&Subject::new(issuer, value).unwrap()), one);
        }
    }
}
