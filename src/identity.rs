//! Subject ⇄ identity: which Conversations identity a subject has, for ever.
//!
//! Owns the default rule and the order in which a binding is made. Does not own how it is kept (`store`), nor whether the
//! subject may come in.

use std::sync::Arc;

use uuid::Uuid;

use crate::ids::{Identity, IdentityError, Subject};
use crate::store::{Claim, Store, StoreError};

/// Why a subject has no identity.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The identity belongs to another subject, and will for ever (contract §3.1).
    #[error("the identity {identity} belongs to another subject")]
    Conflict {
        /// The identity that both would have.
        identity: Identity,
    },
    /// The rule's value cannot be an identity.
    #[error(transparent)]
    Invalid(#[from] IdentityError),
    /// The store failed; a binding that was made stays, and the next login finds it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Finds and makes bindings.
pub struct Bindings {
    store: Arc<Store>,
}

impl Bindings {
    /// Bindings kept in `store`.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// The identity of `subject`: the one it is bound to, whatever today's rule says; else the default one, claimed for it now.
    ///
    /// # Errors
    ///
    /// [`BindError::Conflict`] when another subject has that identity; [`BindError::Store`] when the store has no answer.
    pub async fn bind(&self, subject: &Subject) -> Result<Identity, BindError> {
        if let Some(bound) = self.store.find_identity(&subject.key()).await?.value {
            return Ok(bound);
        }
        let identity = default_identity(subject)?;
        // The claim goes first: from it the way back can be rebuilt, and a subject that never opens a session has lost nothing.
        match self.store.claim_identity(&identity, subject).await?.value {
            Claim::Ours => Ok(identity),
            Claim::Anothers => Err(BindError::Conflict { identity }),
        }
    }
}

/// `uuid5(uuid5(NAMESPACE_URL, issuer), value)`, lower-case and hyphenated (RFC 9562 §5.5): any backend can compute it, it
/// holds no personal data, and losing the store does not lose it.
fn default_identity(subject: &Subject) -> Result<Identity, IdentityError> {
    let issuer = Uuid::new_v5(&Uuid::NAMESPACE_URL, subject.issuer().as_bytes());
    let identity = Uuid::new_v5(&issuer, subject.value().as_bytes());
    Identity::parse(identity.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_identity_is_what_any_backend_computes() {
        let subject = Subject::new("https://id.example.com/realms/corp", "alice").unwrap();

        // python3 -c 'from uuid import *; print(uuid5(uuid5(NAMESPACE_URL, "https://id.example.com/realms/corp"), "alice"))'
        assert_eq!(
            default_identity(&subject).unwrap().as_str(),
            "542cbca3-8a8c-5efd-8e85-bc65d6f6f011"
        );
    }

    #[test]
    fn case_space_and_issuer_make_different_people() {
        let one = default_identity(&Subject::new("https://a", "alice").unwrap()).unwrap();

        for (issuer, value) in
            [("https://a", "Alice"), ("https://a", "alice "), ("https://a/", "alice")]
        {
            assert_ne!(default_identity(&Subject::new(issuer, value).unwrap()).unwrap(), one);
        }
    }
}
