//! What operators look up and change: denials, identities, standings. The API answers from here, and so do the commands when they
//! have the store to themselves.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::denials::{self, Denials, Record};
use crate::identity::{Bindings, MoveError};
use crate::ids::{Identity, ProviderName, Reference, Subject, SubjectError};
use crate::mint::Decided;
use crate::store::{Cursor, Outcome, Standing, Store, StoreError};

/// Page a page: one step of the store's each, far below its patience.
const ABOUT: u32 = 500;

/// A subject, as operators write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whom {
    /// Its provider's issuer.
    pub issuer: String,
    /// The value of the claim that names it there.
    pub value: String,
}

impl From<&Subject> for Whom {
    fn from(subject: &Subject) -> Self {
        Self { issuer: subject.issuer().to_owned(), value: subject.value().to_owned() }
    }
}

impl TryFrom<&Whom> for Subject {
    type Error = SubjectError;

    fn try_from(whom: &Whom) -> Result<Self, SubjectError> {
        Self::new(&whom.issuer, &whom.value)
    }
}

/// Who an identity is, and what is known of that subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// The identity.
    pub identity: String,
    /// Whose it is.
    pub subject: Whom,
    /// Whose it is to be, when an operator's move has stopped half way.
    pub moving_to: Option<Whom>,
    /// What is remembered of the subject at each provider of today's configuration.
    pub standings: Vec<Stood>,
}

/// What is remembered of a subject at a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stood {
    /// Whose it is.
    pub subject: Whom,
    /// Where.
    pub provider: String,
    /// The identity that the subject is bound to; `None` when it was never let in.
    pub identity: Option<String>,
    /// When the claims were obtained, milliseconds since 1970.
    pub obtained_ms: u64,
    /// Whether the policy that decided last let the subject in.
    pub allowed: bool,
    /// The denial's reference, when it did not.
    pub reference: Option<String>,
    /// How long the policy lets a token live, in seconds, when it says.
    pub token_ttl: Option<u64>,
    /// What else it decided; not written to Twilio yet.
    pub decision: Decided,
    /// The last claims.
    pub claims: Map<String, Value>,
}

impl Stood {
    fn new(standing: Standing, identity: Option<&Identity>) -> Self {
        let Standing { subject, provider, claims, obtained, verdict, decision } = standing;
        // What is kept was JSON when it was kept.
        let claims = serde_json::from_str(&claims).unwrap_or_default();
        let (allowed, reference, token_ttl) = match verdict.outcome {
            Outcome::Allowed { token_ttl } => (true, None, token_ttl.map(|ttl| ttl.as_secs())),
            Outcome::Denied { reference } => (false, Some(reference.to_string()), None),
        };
        Self {
            subject: Whom::from(&subject),
            provider: provider.to_string(),
            identity: identity.map(Identity::to_string),
            obtained_ms: obtained.as_millis(),
            allowed,
            reference,
            token_ttl,
            decision: Decided::read(&decision).unwrap_or_default(),
            claims,
        }
    }

    /// When the claims were obtained.
    pub fn obtained(&self) -> Timestamp {
        Timestamp::from_millis(self.obtained_ms)
    }
}

/// Some of all standings, in no order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Milliseconds since 1970 by the store's clock.
    pub now_ms: u64,
    /// They. None while there are more pages is possible, and so is one of an earlier page.
    pub standings: Vec<Stood>,
    /// What to ask for as `after` next; `None` after the last page.
    pub next: Option<String>,
}

/// How an operator's move ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// It is done; the identity was this subject's before.
    Done {
        /// Whose it was.
        from: Whom,
    },
    /// Nobody has the identity.
    Unknown,
    /// The subject has it already.
    Theirs,
    /// A move to this other subject is under way, or stopped half way.
    UnderWay {
        /// To whom.
        to: Whom,
    },
    /// Somebody else moved it at the same time.
    Overtaken,
}

/// The operators' way to what is kept.
pub struct Records {
    store: Arc<Store>,
    bindings: Bindings,
    denials: Denials,
    providers: Vec<ProviderName>,
}

impl Records {
    /// Records kept in `store` about people of `providers`.
    pub fn new(
        store: Arc<Store>,
        denials: denials::Settings,
        providers: Vec<ProviderName>,
    ) -> Self {
        let bindings = Bindings::new(store.clone());
        let denials = Denials::new(store.clone(), denials);
        Self { store, bindings, denials, providers }
    }

    /// Why somebody was not let in; `None` when nothing is on record, or no more.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn denial(&self, reference: &Reference) -> Result<Option<Record>, StoreError> {
        self.denials.find(reference).await
    }

    /// Who an identity is; `None` when it is nobody.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn identity(&self, identity: &Identity) -> Result<Option<Known>, StoreError> {
        let Some(owner) = self.bindings.owner(identity).await? else { return Ok(None) };
        let (bound, _) = self.bindings.find(&owner.subject).await?;
        let mut standings = Vec::new();
        for provider in &self.providers {
            let found = self.store.read_standing(&owner.subject.key(), provider).await?.value;
            standings.extend(found.map(|standing| Stood::new(standing, bound.as_ref())));
        }
        Ok(Some(Known {
            identity: identity.to_string(),
            subject: Whom::from(&owner.subject),
            moving_to: owner.moving_to.as_ref().map(Whom::from),
            standings,
        }))
    }

    /// Whose an identity is; `None` when it is nobody's.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn owner(&self, identity: &Identity) -> Result<Option<Whom>, StoreError> {
        Ok(self.bindings.owner(identity).await?.map(|owner| Whom::from(&owner.subject)))
    }

    /// A page of all standings, from `after` on or from the beginning.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn standings(&self, after: Option<Cursor>) -> Result<Page, StoreError> {
        let page = self.store.list_standings(after, ABOUT).await?;
        let standings = page.value.standings.into_iter();
        Ok(Page {
            now_ms: page.time.at().as_millis(),
            standings: standings
                .map(|(standing, bound)| Stood::new(standing, bound.as_ref()))
                .collect(),
            next: page.value.next.map(|cursor| cursor.to_string()),
        })
    }

    /// Gives an identity to another subject; see [`Bindings::move_to`].
    ///
    /// # Errors
    ///
    /// [`StoreError`], any: the same move again goes on where this one stopped.
    pub async fn move_identity(
        &self,
        identity: &Identity,
        to: &Subject,
    ) -> Result<Moved, StoreError> {
        Ok(match self.bindings.move_to(identity, to).await {
            Ok(from) => Moved::Done { from: Whom::from(&from) },
            Err(MoveError::Unknown { .. }) => Moved::Unknown,
            Err(MoveError::Theirs { .. }) => Moved::Theirs,
            Err(MoveError::UnderWay { to, .. }) => Moved::UnderWay { to: Whom::from(&to) },
            Err(MoveError::Overtaken { .. }) => Moved::Overtaken,
            Err(MoveError::Store(error)) => return Err(error),
        })
    }
}
