//! One provider's policy at work: whom its claims mean, and what is decided about them.

use std::sync::Arc;

use metrics::Counter;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::identity::default_identity;
use crate::ids::{Digest, Identity, Subject, SubjectError};
use crate::oidc::{self, Provider, token_issuers};
use crate::policy::{Decision, Denial, Policy, Wanted};
use crate::telemetry::Metrics;

const DECISIONS: &str = "vestibule_decisions_total";

/// Why claims name no subject.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoSubject {
    /// The subject claim is missing or not a string.
    #[error("the claim {claim} that names a subject is {problem}")]
    Claim {
        /// The claim.
        claim: String,
        /// `missing` or `not a string`.
        problem: &'static str,
    },
    /// The subject claim's value names nobody.
    #[error(transparent)]
    Value(#[from] SubjectError),
}

/// Whom the claims of `issuer` mean, where `subject_claim` names people.
///
/// # Errors
///
/// [`NoSubject`], any.
pub fn subject_of(
    subject_claim: &str,
    issuer: &str,
    claims: &Map<String, Value>,
) -> Result<Subject, NoSubject> {
    let missing = |problem| NoSubject::Claim { claim: subject_claim.to_owned(), problem };
    let value = claims.get(subject_claim).ok_or(missing("missing"))?;
    let value = value.as_str().ok_or(missing("not a string"))?;
    Ok(Subject::new(issuer, value)?)
}

/// Why claims that were kept since a login mean their subject no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// The provider has become another.
    Issuer,
    /// Another claim names people, or it names somebody else.
    SubjectClaim,
}

/// Whether `claims`, kept since a login, mean the same subject at `provider` today.
///
/// # Errors
///
/// [`Stale`], when they do not.
pub fn still_means(
    provider: &oidc::Settings,
    subject: &Subject,
    claims: &Map<String, Value>,
) -> Result<(), Stale> {
    let issuer = subject.issuer();
    if !token_issuers(&provider.issuer, &provider.tenants).iter().any(|ours| ours == issuer) {
        return Err(Stale::Issuer);
    }
    match subject_of(&provider.subject_claim, issuer, claims) {
        Ok(found) if found == *subject => Ok(()),
        _ => Err(Stale::SubjectClaim),
    }
}

/// As whom somebody comes in whom the policy lets in: as the identity that the subject is `bound` to, whatever the rule for it says
/// by now; else as the rule's, or the default one. That it is nobody else's the store has to say.
///
/// # Errors
///
/// The identity rule's [`Denial`], for a subject that is not bound.
pub fn identity_of(
    decision: &Decision,
    subject: &Subject,
    bound: Option<&Identity>,
) -> Result<Identity, Denial> {
    match (bound, &decision.identity) {
        (Some(identity), _) | (None, Ok(Wanted::Is(identity))) => Ok(identity.clone()),
        (None, Ok(Wanted::Default)) => Ok(default_identity(subject)),
        (None, Err(denial)) => Err(denial.clone()),
    }
}

/// Decides about the people of one provider.
pub struct Judge {
    pub(super) provider: Arc<Provider>,
    pub(super) policy: Arc<Policy>,
    /// Stands beside each decision: as long as it is the same, deciding again over the same claims would decide the same, unless
    /// a rule reads `now`.
    pub(super) mark: Digest,
    allowed: Counter,
    denied: Counter,
}

impl Judge {
    /// Decides by `policy` about the people of `provider`.
    pub fn new(provider: Arc<Provider>, policy: Arc<Policy>, metrics: &Metrics) -> Self {
        let settings = provider.settings();
        // JSON, so that what ends one part cannot begin the next.
        let parts = [
            &policy.fingerprint().to_string(),
            &settings.issuer,
            &settings.subject_claim,
            &settings.tenants.join(" "),
        ];
        let mark =
            Digest::of(Value::from(parts.map(String::as_str).to_vec()).to_string().as_bytes());
        metrics.describe(DECISIONS, "Decisions by a policy: at a login, and at a token when the last one does not hold any more.");
        let count = |outcome| {
            let labels = [("provider", settings.name.as_str()), ("outcome", outcome)];
            metrics.counter(DECISIONS, &labels)
        };
        let (allowed, denied) = (count("allowed"), count("denied"));
        Self { provider, policy, mark, allowed, denied }
    }

    /// Whom the claims of `issuer` mean.
    ///
    /// # Errors
    ///
    /// [`NoSubject`], any.
    pub(super) fn subject(
        &self,
        issuer: &str,
        claims: &Map<String, Value>,
    ) -> Result<Subject, NoSubject> {
        subject_of(&self.provider.settings().subject_claim, issuer, claims)
    }

    /// Whether these claims, kept since a login, mean the same subject today.
    pub(super) fn still_means(&self, subject: &Subject, claims: &Map<String, Value>) -> bool {
        still_means(self.provider.settings(), subject, claims).is_ok()
    }

    /// **The** decision: every path that yields a token goes through here.
    ///
    /// # Errors
    ///
    /// [`Denial`], when the policy does not let them in.
    pub(super) fn decide(
        &self,
        claims: &Map<String, Value>,
        now: Timestamp,
    ) -> Result<Decision, Denial> {
        let decision = self.policy.decide(claims, now);
        if decision.is_ok() { &self.allowed } else { &self.denied }.increment(1);
        decision
    }
}
