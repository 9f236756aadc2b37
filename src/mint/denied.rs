//! A denial, from its ground to what is on record.

use super::judge::NoSubject;
use super::{Case, Mint};
use crate::denials::Record;
use crate::ids::{Identity, Reference, Subject};
use crate::policy::{Denial, Why};
use crate::store::{Outcome, Standing, StoreError};
use crate::telemetry::AUDIT;

/// Stands for a rule where the claims name no subject: it is decided before any rule is.
const SUBJECT_CLAIM: &str = "subject_claim";

/// Which public code a denial has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialCode {
    /// The policy says no.
    AccessDenied,
    /// The identity belongs to another subject.
    IdentityConflict,
    /// There is no subject, or no identity that Twilio would take.
    IdentityInvalid,
}

impl DenialCode {
    /// The code of what a policy denies.
    pub const fn of(denial: &Denial) -> Self {
        match denial.why {
            Why::InvalidIdentity(_) => Self::IdentityInvalid,
            _ => Self::AccessDenied,
        }
    }

    /// Contract §5.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessDenied => "access_denied",
            Self::IdentityConflict => "identity_conflict",
            Self::IdentityInvalid => "identity_invalid",
        }
    }

    fn read(text: &str) -> Option<Self> {
        [Self::AccessDenied, Self::IdentityConflict, Self::IdentityInvalid]
            .into_iter()
            .find(|code| code.as_str() == text)
    }
}

/// A denial that is on record.
#[derive(Clone, Debug, thiserror::Error)]
#[error("denied by {rule}: {why}")]
pub struct Denied {
    /// Under which it is on record.
    pub reference: Reference,
    /// Its public code.
    pub code: DenialCode,
    /// The operator's words for the person.
    pub message: Option<String>,
    /// The rule that denied.
    rule: String,
    /// Why; holds no claim's value.
    why: String,
}

impl Denied {
    /// The cause in a word, for a metric's label.
    pub fn cause(&self) -> &'static str {
        match self.code {
            DenialCode::AccessDenied => "policy",
            DenialCode::IdentityConflict => "conflict",
            DenialCode::IdentityInvalid if self.rule == SUBJECT_CLAIM => "subject",
            DenialCode::IdentityInvalid => "identity",
        }
    }
}

/// Why it ends in a denial.
pub(super) enum Ground {
    Policy(Denial),
    NoSubject(NoSubject),
    Conflict(Identity),
}

impl Mint {
    /// Puts a denial on record, and the claims that it was decided over beside the subject's sessions.
    pub(super) async fn turn_away(
        &self,
        case: Case<'_>,
        ground: Ground,
    ) -> Result<Denied, StoreError> {
        let denied = self.deny(case, ground).await?;
        if let Some(subject) = case.subject {
            let outcome = Outcome::Denied { reference: denied.reference };
            let standing = self.standing(case, subject, outcome, String::new());
            self.rooms.store.keep_standing(&standing).await?;
        }
        Ok(denied)
    }

    /// The denial on record that this one repeats, so that an app which asks in a loop has one reference; else a new one.
    pub(super) async fn deny_again(
        &self,
        case: Case<'_>,
        standing: &Standing,
        denial: Denial,
    ) -> Result<Denied, StoreError> {
        if let Outcome::Denied { reference } = standing.verdict.outcome
            && standing.verdict.mark == case.judge.mark
            && let Some(record) = self.rooms.denials.find(&reference).await?
            && record.rule == denial.rule
            && let Some(code) = DenialCode::read(&record.code)
        {
            // The operator's words may be others by now: they are no part of what a policy decides.
            let Denial { rule, why, message } = denial;
            return Ok(Denied { reference, code, message, rule, why: why.to_string() });
        }
        self.deny(case, Ground::Policy(denial)).await
    }

    /// Puts a denial on record under a new reference.
    pub(super) async fn deny(&self, case: Case<'_>, ground: Ground) -> Result<Denied, StoreError> {
        let reference = Reference::random();
        let (code, rule, why, message, identity) = match ground {
            Ground::Policy(denial) => {
                (DenialCode::of(&denial), denial.rule, denial.why.to_string(), denial.message, None)
            }
            Ground::NoSubject(error) => (
                DenialCode::IdentityInvalid,
                SUBJECT_CLAIM.to_owned(),
                error.to_string(),
                None,
                None,
            ),
            Ground::Conflict(identity) => {
                let why = "the identity belongs to another subject".to_owned();
                (DenialCode::IdentityConflict, "identity".to_owned(), why, None, Some(identity))
            }
        };
        let subject = case.subject.map(Subject::value);
        let provider = case.judge.provider.settings().name.as_str();
        let event = if code == DenialCode::IdentityConflict { "conflict" } else { "denial" };
        tracing::info!(
            target: AUDIT,
            event,
            code = code.as_str(),
            %reference,
            rule,
            why,
            provider,
            issuer = case.issuer,
            subject,
            identity = identity.as_ref().map(Identity::as_str),
            path = case.path.as_str(),
            "not let in"
        );
        let record = Record {
            reference: reference.to_string(),
            at: case.now.to_string(),
            code: code.as_str().to_owned(),
            path: case.path.as_str().to_owned(),
            provider: provider.to_owned(),
            issuer: case.issuer.to_owned(),
            subject: subject.map(str::to_owned),
            identity: identity.map(|identity| identity.to_string()),
            rule: rule.clone(),
            why: why.clone(),
            message: message.clone(),
            claims: case.judge.policy.relevant(case.claims),
            explanation: case.judge.policy.explain(case.claims, case.now),
        };
        self.rooms.denials.keep(&reference, &record).await?;
        Ok(Denied { reference, code, message, rule, why })
    }
}
