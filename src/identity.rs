//! Subject ⇄ identity: which Conversations identity a subject has, for ever.
//!
//! Owns the default rule, the order in which a binding is made, and the order in which an operator moves one. Does not own how
//! it is kept (`store`), nor whether the subject may come in (`policy`).

use std::sync::Arc;

use uuid::Uuid;

use crate::ids::{Identity, ProviderName, Subject};
use crate::store::{Binding, Claim, Dated, Found, Owner, Store, StoreError};
use crate::telemetry::AUDIT;

/// Why an operator's move was not made, or not to its end. The same move again goes on where this one stopped.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// Nobody has the identity, and only a guest can.
    #[error("nobody has the identity {identity}, which is a guest's")]
    Guests {
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
    /// Somebody else moved it at the same time, or ended all sessions of the subject.
    #[error(
        "the identity {identity} was moved by somebody else at the same time, or all sessions of the subject were ended"
    )]
    Overtaken {
        /// The identity.
        identity: Identity,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whose an identity was before it was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Former {
    /// Another subject's.
    Anothers(Subject),
    /// Nobody's.
    Nobodys,
    /// The same subject's, which was not bound to it: a move had stopped before its last step, or the subject had another one.
    Same,
}

/// A move that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Whose the identity was.
    pub former: Former,
    /// What the subject that has it now was bound to before.
    pub before: Binding,
}

/// Finds, makes and moves bindings.
pub struct Bindings {
    store: Arc<Store>,
}

impl Bindings {
    /// Bindings kept in `store`.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// Which identity `subject` has, and which claims of it are remembered at `provider`, if one is named.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn find(
        &self,
        subject: &Subject,
        provider: Option<&ProviderName>,
    ) -> Result<Dated<Found>, StoreError> {
        self.store.find_identity(&subject.key(), provider).await
    }

    /// Binds `subject`, of whom `found` was found, to the identity that was claimed for it; `false` when something else is true of
    /// it by now, and the caller looks again.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn bind(
        &self,
        subject: &Subject,
        found: &Binding,
        identity: &Identity,
    ) -> Result<bool, StoreError> {
        Ok(self.store.bind_identity(&subject.key(), found, identity).await?.value)
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
        Ok(self.store.find_subject(identity).await?.value.owner)
    }

    /// Gives `identity` to `to`, as only an operator may, and says whose it was. All sessions of both subjects end; an identity that
    /// `to` had before stays reserved for it, so that it never becomes a third one's. What nobody has is claimed.
    ///
    /// While the move is under way nobody can claim the identity, so that no moment has two subjects with it. The line of the audit
    /// log comes as soon as that is so, and once more when a move that stopped is finished.
    ///
    /// # Errors
    ///
    /// [`MoveError`], any.
    pub async fn move_to(&self, identity: &Identity, to: &Subject) -> Result<Moved, MoveError> {
        let overtaken = || MoveError::Overtaken { identity: identity.clone() };
        // Before it is asked whose the identity is: whoever moves it on from `to` afterwards ends the sessions of `to`, and is
        // noticed by the last step.
        let before = self.find(to, None).await?.value.binding;
        let former = match self.owner(identity).await? {
            None if Identity::parse_member(identity.as_str()).is_err() => {
                return Err(MoveError::Guests { identity: identity.clone() });
            }
            None => Former::Nobodys,
            Some(Owner { moving_to: Some(other), .. }) if other != *to => {
                return Err(MoveError::UnderWay { identity: identity.clone(), to: other });
            }
            Some(Owner { subject, .. }) if subject != *to => Former::Anothers(subject),
            Some(_) if before.identity.as_ref() == Some(identity) => {
                return Err(MoveError::Theirs { identity: identity.clone() });
            }
            Some(_) => Former::Same,
        };
        let is_begun = match &former {
            Former::Anothers(from) => self.store.begin_move(identity, &from.key(), to).await?.value,
            Former::Nobodys => self.claim(identity, to).await?,
            Former::Same => true,
        };
        if !is_begun {
            return Err(overtaken());
        }
        audit(identity, &former, to);
        if let Former::Anothers(from) = &former {
            self.store.retire_subject(&from.key(), identity).await?;
            if !self.store.finish_move(identity, to).await?.value {
                return Err(overtaken());
            }
        }
        if !self.store.bind_subject(&to.key(), identity, before.endings).await?.value {
            return Err(overtaken());
        }
        Ok(Moved { former, before })
    }
}

/// Writes the audit log's line of a move.
fn audit(identity: &Identity, former: &Former, to: &Subject) {
    let from = match former {
        Former::Anothers(from) => Some(from),
        Former::Nobodys | Former::Same => None,
    };
    tracing::info!(
        target: AUDIT,
        event = "move",
        identity = identity.as_str(),
        from_issuer = from.map(Subject::issuer),
        from_subject = from.map(Subject::value),
        to_issuer = to.issuer(),
        to_subject = to.value(),
        "identity moved"
    );
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
