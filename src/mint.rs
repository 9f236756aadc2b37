//! The one way to a token: decide → identity → sign.
//!
//! Owns the order of the steps, so that no path has a shortcut of its own. Does not own any of them. Who proved what is
//! `login`'s and `sessions`' business; here it becomes a member, and a member's session becomes a token.

use std::sync::Arc;

use crate::identity::{BindError, Bindings};
use crate::ids::{Identity, RequestId, Subject, SubjectError};
use crate::login::Proven;
use crate::sessions::{Member, SessionError, Sessions};
use crate::store::SessionKey;
use crate::token::{AccessToken, Grant, Signer};

/// Why somebody whom a provider vouches for may not come in.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// The subject claim is missing or not a string.
    #[error("the claim {claim} that names a subject is {problem}")]
    NoSubject {
        /// The claim.
        claim: String,
        /// `missing` or `not a string`.
        problem: &'static str,
    },
    /// The subject claim's value names nobody.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// There is no identity for this subject.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// A token and whose it is.
#[derive(Debug)]
pub struct Minted {
    /// The member's identity.
    pub identity: Identity,
    /// The token.
    pub token: AccessToken,
}

/// Makes members of the proven, and tokens for members.
pub struct Mint {
    bindings: Bindings,
    sessions: Arc<Sessions>,
    signer: Signer,
}

impl Mint {
    /// The longest `name` that is taken for a friendly name, in characters. A longer one is left out, not cut.
    const LONGEST_NAME: usize = 256;

    /// A mint over these rooms.
    pub fn new(bindings: Bindings, sessions: Arc<Sessions>, signer: Signer) -> Self {
        Self { bindings, sessions, signer }
    }

    /// Decides whether somebody proven may come in, and as whom. Everybody whom the provider vouches for may: that is what
    /// the only policy there is, `allow = "true"`, says.
    ///
    /// # Errors
    ///
    /// [`AdmitError::NoSubject`] and [`AdmitError::Subject`] when the subject claim names nobody; [`AdmitError::Bind`] when the
    /// subject has no identity, or the store no answer.
    pub async fn admit(&self, proven: &Proven) -> Result<Member, AdmitError> {
        let claims = &proven.claims.document;
        let claim = &proven.provider.settings().subject_claim;
        let no_subject = |problem| AdmitError::NoSubject { claim: claim.clone(), problem };
        let value = claims.get(claim).ok_or(no_subject("missing"))?;
        let value = value.as_str().ok_or(no_subject("not a string"))?;
        let subject = Subject::new(&proven.claims.issuer, value)?;
        let identity = self.bindings.bind(&subject).await?;
        let name = claims.get("name").and_then(|name| name.as_str());
        Ok(Member {
            subject,
            identity,
            provider: proven.provider.settings().name.clone(),
            friendly_name: name
                .filter(|name| name.chars().count() <= Self::LONGEST_NAME)
                .map(str::to_owned),
        })
    }

    /// Mints a token on a session, which counts as using it.
    ///
    /// # Errors
    ///
    /// [`SessionError::Ended`] when the session is over or ends within [`SHORTEST`](crate::token::SHORTEST);
    /// [`SessionError::Limited`]; [`SessionError::Store`] when the store has no answer.
    pub async fn mint(&self, session: &SessionKey) -> Result<Minted, SessionError> {
        let id = RequestId::unique();
        let live = self.sessions.use_once(session, id).await?;
        let identity = live.session.identity;
        let grant = Grant { identity: &identity, id, now: live.now, ground_ends: live.until };
        let token = self.signer.sign(&grant).ok_or(SessionError::Ended)?;
        Ok(Minted { identity, token })
    }
}
