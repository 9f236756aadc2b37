//! What operators look up and change: denials, identities, standings. The API answers from here, and so do the commands when they
//! have the store to themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::denials::{self, Denials, Record};
use crate::identity::{self, Bindings, Former, MoveError, Settled};
use crate::ids::{Identity, ProviderName, Reference, Subject, SubjectError};
use crate::mint::Decided;
use crate::store::{
    Binding, Cursor, Dated, Outcome, PoolState, PoolTerms, Standing, Store, StoreError, Whose,
};
use crate::telemetry::AUDIT;

/// How many standings a page has at most, about, and the first one.
const MOST: u32 = 500;
const FIRST: u32 = 32;

/// How many bytes of claims and decisions a page should have: read, sent and parsed far within the store's patience.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

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
    /// Whose it is; `None` when it is nobody's, and blocked.
    pub subject: Option<Whom>,
    /// Whether it is blocked.
    pub blocked: bool,
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
    /// The identity that the subject is bound to; `None` when it has none: it was never let in, or an operator took it away.
    pub identity: Option<String>,
    /// How often operators have ended all sessions of the subject, as each move does. Without an identity, 0 says that it was never
    /// let in.
    pub endings: u64,
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
    /// `None` when the claims are no JSON, as they were when they were kept.
    fn new(standing: Standing, binding: &Binding) -> Option<Self> {
        let Standing { subject, provider, claims, obtained, verdict, decision } = standing;
        let claims = serde_json::from_str(&claims).ok()?;
        let (allowed, reference, token_ttl) = match verdict.outcome {
            Outcome::Allowed { token_ttl } => (true, None, token_ttl.map(|ttl| ttl.as_secs())),
            Outcome::Denied { reference } => (false, Some(reference.to_string()), None),
        };
        Some(Self {
            subject: Whom::from(&subject),
            provider: provider.to_string(),
            identity: binding.identity.as_ref().map(Identity::to_string),
            endings: binding.endings,
            obtained_ms: obtained.as_millis(),
            allowed,
            reference,
            token_ttl,
            decision: Decided::read(&decision).unwrap_or_default(),
            claims,
        })
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
    /// What stands among them and cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// What to ask for as `after` next; `None` after the last page.
    pub next: Option<String>,
}

/// A standing that is damaged, or not ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// The store's key of it.
    pub key: String,
    /// What was found where; never a value.
    pub what: String,
}

impl Unreadable {
    const CLAIMS: &str = "claims that are no JSON";
}

/// What an operator changed about an identity: blocked it or not any more, or ended the sessions of whoever has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Whose it is; `None` when it is nobody's.
    pub subject: Option<Whom>,
    /// Whether it was blocked before.
    pub was_blocked: bool,
    /// How many replicas of the store have not said in time that they have it. Answered as [`Code::ReplicasBehind`](super::Code),
    /// if there are any.
    #[serde(skip)]
    pub behind: u64,
}

impl From<Settled> for Changed {
    fn from(Settled { before, behind }: Settled) -> Self {
        let subject = before.owner.map(|owner| Whom::from(&owner.subject));
        Self { subject, was_blocked: before.blocked, behind }
    }
}

/// A move that is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Whose the identity was; `None` when it was nobody's, or reserved for `to` before.
    pub from: Option<Whom>,
    /// Whose it is.
    pub to: Whom,
    /// Whether it was nobody's.
    pub was_nobodys: bool,
    /// The identity that `to` had before, which stays reserved for it.
    pub had: Option<String>,
    /// Whether anything is known of `to` here: that it was let in once, or a login that is remembered, be it a denied one.
    pub is_known: bool,
}

/// How an operator's move ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// It is done.
    Done(Given),
    /// Nobody has the identity, and only a guest can.
    Guests,
    /// The subject has it already.
    Theirs,
    /// A move to this other subject is under way, or stopped half way.
    UnderWay {
        /// To whom.
        to: Whom,
    },
    /// This identity is blocked, which is the one to be moved, or the one that the subject has.
    Blocked {
        /// Which.
        identity: String,
    },
    /// Somebody else moved it at the same time, or ended all sessions of the subject.
    Overtaken,
}

/// The pool of guests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// How many guests there are.
    pub size: u32,
    /// How many may be active in a month, if not all.
    pub monthly_budget: Option<u32>,
    /// The month, in UTC: `2026-11`.
    pub month: String,
    /// How many are active in it, which Twilio bills.
    pub active: u32,
    /// Lent now.
    pub lent: u32,
    /// The lease is over; the last token lives, or the cool-down goes on.
    pub cooling: u32,
    /// To be taken out of everything now, or being so.
    pub scrubbing: u32,
    /// In something that could not be taken away within the month: scrubbed when the pool next needs a guest that costs a month.
    pub stale: u32,
    /// Idle and active this month: lending one costs nothing.
    pub idle_active: u32,
    /// Idle, or never lent: lending one costs a month's price.
    pub idle: u32,
    /// Idle ones that have to be seen clean again.
    pub doubtful: u32,
    /// Waiting to be taken into the guests' conversations.
    pub joining: u32,
    /// Beyond the size, and lent no more.
    pub retired: u32,
    /// When the store was last found to have lost writes, milliseconds since 1970.
    pub doubted_ms: Option<u64>,
    /// Until when guests are kept back that might have been lent unseen, milliseconds since 1970.
    pub quarantine_ends_ms: Option<u64>,
}

impl Pool {
    fn new(state: &PoolState, terms: &PoolTerms) -> Self {
        Self {
            size: terms.size,
            monthly_budget: terms.budget,
            month: state.month.to_string(),
            active: state.active,
            lent: state.lent,
            cooling: state.cooling,
            scrubbing: state.scrubbing,
            stale: state.stale,
            idle_active: state.warm,
            idle: state.cold + terms.size.saturating_sub(state.made),
            doubtful: state.doubtful,
            joining: state.joining,
            retired: state.retired,
            doubted_ms: state.doubted.map(Timestamp::as_millis),
            quarantine_ends_ms: state.quarantine_ends.map(Timestamp::as_millis),
        }
    }
}

/// A quarantine that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Until when every guest is kept back, milliseconds since 1970.
    pub ends_ms: u64,
}

/// The operators' way to what is kept.
pub struct Records {
    store: Arc<Store>,
    bindings: Bindings,
    denials: Denials,
    providers: Vec<ProviderName>,
    pool: Option<PoolTerms>,
    /// How many standings the next page should have, about, by the size of the last one, whoever asked for it: all are of the same
    /// people.
    about: AtomicU32,
}

impl Records {
    /// Records kept in `store` about people of `providers` and, if there is one, a pool of guests.
    pub fn new(
        store: Arc<Store>,
        denials: denials::Settings,
        providers: Vec<ProviderName>,
        pool: Option<PoolTerms>,
    ) -> Self {
        let bindings = Bindings::new(store.clone());
        let denials = Denials::new(store.clone(), denials);
        Self { store, bindings, denials, providers, pool, about: AtomicU32::new(FIRST) }
    }

    /// The pool now; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn pool(&self) -> Result<Option<Pool>, StoreError> {
        let Some(terms) = &self.pool else { return Ok(None) };
        Ok(Some(Pool::new(&self.store.describe_pool().await?.value, terms)))
    }

    /// Ends all leases, and keeps every guest back until no token can live that the store does not know of; `None` when there is no pool.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn quarantine(&self) -> Result<Option<Quarantined>, StoreError> {
        let Some(terms) = &self.pool else { return Ok(None) };
        let ends = self.store.quarantine_guests(terms).await?.value;
        tracing::info!(target: AUDIT, event = "guests_quarantined", by = "operator", until = %ends, "all guests are kept back");
        Ok(Some(Quarantined { ends_ms: ends.as_millis() }))
    }

    /// Why somebody was not let in; `None` when nothing is on record, or no more.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn denial(&self, reference: &Reference) -> Result<Option<Record>, StoreError> {
        self.denials.find(reference).await
    }

    /// Who an identity is; `None` when it is nobody, nor blocked.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn identity(&self, identity: &Identity) -> Result<Option<Known>, StoreError> {
        let Whose { owner, blocked } = self.bindings.whose(identity).await?;
        let mut known = Known {
            identity: identity.to_string(),
            subject: None,
            blocked,
            moving_to: None,
            standings: Vec::new(),
        };
        let Some(owner) = owner else { return Ok(blocked.then_some(known)) };
        let binding = self.bindings.find(&owner.subject, None).await?.value.binding;
        for provider in &self.providers {
            let found = self.store.read_standing(&owner.subject.key(), provider).await?.value;
            let Some(standing) = found else { continue };
            let corrupt =
                || StoreError::Corrupt { step: "read_standing", what: Unreadable::CLAIMS };
            known.standings.push(Stood::new(standing, &binding).ok_or_else(corrupt)?);
        }
        known.subject = Some(Whom::from(&owner.subject));
        known.moving_to = owner.moving_to.as_ref().map(Whom::from);
        Ok(Some(known))
    }

    /// Whose an identity is; `None` when it is nobody's.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn owner(&self, identity: &Identity) -> Result<Option<Whom>, StoreError> {
        let owner = self.store.find_subject(identity).await?.value.owner;
        Ok(owner.map(|owner| Whom::from(&owner.subject)))
    }

    /// A page of all standings, from `after` on or from the beginning.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn standings(&self, after: Option<Cursor>) -> Result<Page, StoreError> {
        let about = self.about.load(Ordering::Relaxed);
        let Dated { value: page, time } = self.store.list_standings(after, about).await?;
        self.about.store(about_next(about, &page), Ordering::Relaxed);
        let unreadable = |key, what: &str| Unreadable { key, what: what.to_owned() };
        let mut told = Page {
            now_ms: time.at().as_millis(),
            standings: Vec::new(),
            unreadable: page.unreadable.into_iter().map(|it| unreadable(it.key, it.what)).collect(),
            next: page.next.map(|cursor| cursor.to_string()),
        };
        for (standing, binding) in page.standings {
            let key = standing.subject.key().to_string();
            match Stood::new(standing, &binding) {
                Some(stood) => told.standings.push(stood),
                None => told.unreadable.push(unreadable(key, Unreadable::CLAIMS)),
            }
        }
        Ok(told)
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
            Ok(moved) => Moved::Done(self.given(moved, to).await?),
            Err(MoveError::Guests { .. }) => Moved::Guests,
            Err(MoveError::Theirs { .. }) => Moved::Theirs,
            Err(MoveError::UnderWay { to, .. }) => Moved::UnderWay { to: Whom::from(&to) },
            Err(MoveError::Blocked { identity }) => {
                Moved::Blocked { identity: identity.to_string() }
            }
            Err(MoveError::Overtaken { .. }) => Moved::Overtaken,
            Err(MoveError::Store(error)) => return Err(error),
        })
    }

    /// Blocks an identity, or lets whoever has it sign in again; see [`Bindings::set_blocked`]. `None` for a guest's name.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any: the same again goes on where this stopped.
    pub async fn set_blocked(
        &self,
        identity: &Identity,
        blocked: bool,
    ) -> Result<Option<Changed>, StoreError> {
        Ok(self.bindings.set_blocked(identity, blocked).await?.map(Changed::from))
    }

    /// Ends all sessions of the subject that has an identity; `None` when nobody has it.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn end_sessions(&self, identity: &Identity) -> Result<Option<Changed>, StoreError> {
        Ok(self.bindings.end_sessions(identity).await?.map(Changed::from))
    }

    async fn given(&self, moved: identity::Moved, to: &Subject) -> Result<Given, StoreError> {
        let identity::Moved { former, before } = moved;
        let mut is_known = before != Binding::default();
        for provider in &self.providers {
            is_known =
                is_known || self.bindings.find(to, Some(provider)).await?.value.obtained.is_some();
        }
        Ok(Given {
            from: if let Former::Anothers(from) = &former { Some(Whom::from(from)) } else { None },
            to: Whom::from(to),
            was_nobodys: former == Former::Nobodys,
            had: before.identity.map(|identity| identity.to_string()),
            is_known,
        })
    }
}

/// How many standings the page after this one should have, about, if they are as large; twice as many as `about` when it had none.
fn about_next(about: u32, page: &crate::store::Page) -> u32 {
    let size = |standing: &Standing| standing.claims.len() + standing.decision.len();
    let bytes = page.standings.iter().map(|(standing, _)| size(standing)).sum::<usize>();
    let fit = PAGE_BYTES.saturating_mul(page.standings.len()).checked_div(bytes);
    let fit = fit.map_or(about * 2, |fit| u32::try_from(fit).unwrap_or(MOST));
    fit.clamp(1, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Digest;
    use crate::store::{self, Verdict};

    #[test]
    fn a_page_of_large_claims_is_followed_by_a_smaller_one() {
        let standing = |bytes| Standing {
            subject: Subject::new("https://a", "alice").unwrap(),
            provider: ProviderName::parse("corp").unwrap(),
            claims: "x".repeat(bytes),
            obtained: Timestamp::from_millis(0),
            verdict: Verdict {
                mark: Digest::of(b""),
                outcome: Outcome::Allowed { token_ttl: None },
            },
            decision: String::new(),
        };
        let after = |sizes: &[usize]| {
            let standings =
                sizes.iter().map(|bytes| (standing(*bytes), Binding::default())).collect();
            about_next(77, &store::Page { standings, unreadable: Vec::new(), next: None })
        };

        assert_eq!(after(&[1500, 1500]), 500);
        assert_eq!(after(&[64 * 1024; 3]), 32);
        assert_eq!(after(&[4 * PAGE_BYTES]), 1);
        assert_eq!(after(&[]), 154);
    }
}
