//! Subject ⇄ identity: which Conversations identity a subject has, for ever.
//!
//! Owns the default rule, the order in which a binding is made, and the order in which an operator moves one, blocks it or ends its
//! sessions. Does not own how it is kept (`store`), nor whether the subject may come in (`policy`).

use std::sync::Arc;

use uuid::Uuid;

use crate::ids::{Identity, ProviderName, Subject, SubjectKey};
use crate::store::{Binding, Claim, Dated, Found, Owner, Store, StoreError, Whose};
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
    /// The identity is blocked, or the subject is that is to have it: as this one.
    #[error("the identity {identity} is blocked: unblock it first")]
    Blocked {
        /// Which.
        identity: Identity,
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

/// What an operator changed about an identity, so that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Whose the identity is, and whether it was blocked before.
    pub before: Whose,
    /// How many replicas of the store have not said in time that they have it: a failover to one of them may forget it.
    pub behind: u64,
}

/// Finds, makes, moves and blocks bindings.
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

    /// Claims `identity` for a subject that has none. Another's it is for ever (contract §3.1), and blocked until an operator says
    /// otherwise.
    ///
    /// The claim goes before the binding, which the first session makes: from it the way back can be rebuilt, and a subject that
    /// never opens a session has lost nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any: a claim that was made stays, and the next login finds it.
    pub async fn claim(&self, identity: &Identity, subject: &Subject) -> Result<Claim, StoreError> {
        Ok(self.store.claim_identity(identity, subject).await?.value)
    }

    /// Whose `identity` is, and whether it is blocked, be it that a block or its end stopped half way.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn whose(&self, identity: &Identity) -> Result<Whose, StoreError> {
        let mut whose = self.store.find_subject(identity).await?.value;
        if let (false, Some(owner)) = (whose.blocked, &whose.owner) {
            let Binding { identity: bound, blocked, .. } =
                self.find(&owner.subject, None).await?.value.binding;
            whose.blocked = blocked && bound.as_ref() == Some(identity);
        }
        Ok(whose)
    }

    /// Blocks `identity`, whosever it is or will be: nobody comes in as it, and the sessions of the subject that has it are over and
    /// stay so. Or, when it is not to be `blocked` any more, lets whoever has it sign in again.
    ///
    /// The identity is told first, and the subject that has it follows: until the end of an unblock it stays out. The same again
    /// finishes what stopped half way. The line of the audit log comes after the first step.
    ///
    /// `None`, and nothing done, for a guest's name that nobody has: a guest comes in as nobody, whom no block could meet.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn set_blocked(
        &self,
        identity: &Identity,
        blocked: bool,
    ) -> Result<Option<Settled>, StoreError> {
        if identity.is_guest() && self.whose(identity).await?.owner.is_none() {
            return Ok(None);
        }
        // An unblock takes away the mark that it has seen, and none that is made while it is under way.
        let mut seen = if blocked { None } else { self.seen(identity).await? };
        let before = self.store.mark_identity(identity, blocked).await?.value;
        audit_operator(if blocked { "block" } else { "unblock" }, identity, before.owner.as_ref());
        let mut marked = Whose { blocked, ..before.clone() };
        // An identity that nobody has is nobody's as long as it is blocked.
        while let Some(owner) = &marked.owner {
            let subject = owner.subject.key();
            if marked.blocked {
                self.store.mark_subject(&subject, identity, None).await?;
            } else if let Some((_, endings)) = seen.filter(|(whose, _)| *whose == subject) {
                self.store.mark_subject(&subject, identity, Some(endings)).await?;
            }
            let binding = self.find(&owner.subject, None).await?.value.binding;
            seen = Some((subject, binding.endings));
            let now = self.store.find_subject(identity).await?.value;
            let is_theirs = binding.identity.as_ref() == Some(identity);
            if now == marked && (!is_theirs || binding.blocked == marked.blocked) {
                break;
            }
            // Somebody else came in between. What the identity says counts, and the subject follows it, whoever comes last.
            marked = now;
        }
        Ok(Some(Settled { before, behind: self.behind().await? }))
    }

    /// The subject that has `identity`, and how often its sessions were ended.
    async fn seen(&self, identity: &Identity) -> Result<Option<(SubjectKey, u64)>, StoreError> {
        let Some(owner) = self.store.find_subject(identity).await?.value.owner else {
            return Ok(None);
        };
        let binding = self.find(&owner.subject, None).await?.value.binding;
        Ok(Some((owner.subject.key(), binding.endings)))
    }

    /// Ends all sessions of the subject that has `identity`; `None` when nobody has it. Logins under way begin anew.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn end_sessions(&self, identity: &Identity) -> Result<Option<Settled>, StoreError> {
        let before = self.whose(identity).await?;
        let Some(owner) = &before.owner else { return Ok(None) };
        let endings = self.find(&owner.subject, None).await?.value.binding.endings;
        self.store.end_all_sessions(&owner.subject.key(), endings).await?;
        audit_operator("end_sessions", identity, Some(owner));
        Ok(Some(Settled { before, behind: self.behind().await? }))
    }

    /// How many replicas of the store do not say in time that they have everything.
    async fn behind(&self) -> Result<u64, StoreError> {
        let replicas = self.store.wait_for_replicas().await?.value;
        Ok(replicas.there.saturating_sub(replicas.have_it))
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
        // Before it is asked whose the identity is: whoever moves it on from `to` afterwards ends the sessions of `to`, and is
        // noticed by the last step.
        let before = self.find(to, None).await?.value.binding;
        let former = former(identity, self.whose(identity).await?, to, &before)?;
        let is_begun = match &former {
            Former::Anothers(from) => self.store.begin_move(identity, &from.key(), to).await?.value,
            Former::Nobodys => self.claim(identity, to).await? == Claim::Ours,
            Former::Same => true,
        };
        if !is_begun {
            return Err(self.stopped(identity).await?);
        }
        audit(identity, &former, to);
        if let Former::Anothers(from) = &former {
            let is_taken = self.store.retire_subject(&from.key(), identity).await?.value;
            if !is_taken || !self.store.finish_move(identity, to).await?.value {
                return Err(self.stopped(identity).await?);
            }
        }
        if !self.store.bind_subject(&to.key(), identity, before.endings).await?.value {
            return Err(self.stopped(identity).await?);
        }
        Ok(Moved { former, before })
    }

    /// Why a move went no further.
    async fn stopped(&self, identity: &Identity) -> Result<MoveError, StoreError> {
        let identity = identity.clone();
        Ok(if self.whose(&identity).await?.blocked {
            MoveError::Blocked { identity }
        } else {
            MoveError::Overtaken { identity }
        })
    }
}

/// Whose `identity`, which is `whose`, was before a move to `to`, who was bound to `before`.
fn former(
    identity: &Identity,
    whose: Whose,
    to: &Subject,
    before: &Binding,
) -> Result<Former, MoveError> {
    let wanted = || identity.clone();
    if whose.blocked {
        return Err(MoveError::Blocked { identity: wanted() });
    }
    // Somebody who is blocked would come in again with another identity.
    if let (true, Some(theirs)) = (before.blocked, &before.identity) {
        return Err(MoveError::Blocked { identity: theirs.clone() });
    }
    match whose.owner {
        None if identity.is_guest() => Err(MoveError::Guests { identity: wanted() }),
        None => Ok(Former::Nobodys),
        Some(Owner { moving_to: Some(other), .. }) if other != *to => {
            Err(MoveError::UnderWay { identity: wanted(), to: other })
        }
        Some(Owner { subject, .. }) if subject != *to => Ok(Former::Anothers(subject)),
        Some(_) if before.identity.as_ref() == Some(identity) => {
            Err(MoveError::Theirs { identity: wanted() })
        }
        Some(_) => Ok(Former::Same),
    }
}

/// Writes the audit log's line of what an operator did to whoever has an identity.
fn audit_operator(event: &'static str, identity: &Identity, owner: Option<&Owner>) {
    let subject = owner.map(|owner| &owner.subject);
    tracing::info!(
        target: AUDIT,
        event,
        identity = %identity,
        issuer = subject.map(Subject::issuer),
        subject = subject.map(Subject::value),
        "by an operator"
    );
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
