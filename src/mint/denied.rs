//! A denial, from its ground to what is on record.

use serde_json::json;

use super::judge::NoSubject;
use super::{Case, Mint, MintError};
use crate::denials::Record;
use crate::ids::{Digest, Identity, Reference, Subject};
use crate::policy::{Denial, Why};
use crate::store::{Outcome, StoreError};
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
    /// The identity that another subject has.
    identity: Option<Identity>,
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

/// Writes the audit log's line of somebody whose identity is blocked. It is not on record as a denial is: there is no rule to
/// explain, and of the identity `explain` says that it is blocked.
pub(super) fn blocked(case: Case<'_>, identity: Identity) -> MintError {
    tracing::info!(
        target: AUDIT,
        event = "blocked",
        identity = identity.as_str(),
        provider = case.judge.provider.settings().name.as_str(),
        issuer = case.issuer,
        subject = case.subject.map(Subject::value),
        path = case.path.as_str(),
        "not let in"
    );
    MintError::Blocked { identity }
}

impl Mint {
    /// Puts a denial of a login on record, and the claims that it was decided over beside the subject's sessions.
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
        denied.audit(case);
        Ok(denied)
    }

    /// Puts a denial on record.
    pub(super) async fn deny(&self, case: Case<'_>, ground: Ground) -> Result<Denied, StoreError> {
        let denied = Denied::new(case, ground);
        self.rooms.denials.keep(&denied.reference, &denied.record(case)).await?;
        Ok(denied)
    }
}

impl Denied {
    fn new(case: Case<'_>, ground: Ground) -> Self {
        let (code, rule, why, message, identity) = match ground {
            Ground::Policy(denial) => {
                (DenialCode::of(&denial), denial.rule, denial.why.to_string(), denial.message, None)
            }
            Ground::NoSubject(error) => {
                let rule = SUBJECT_CLAIM.to_owned();
                (DenialCode::IdentityInvalid, rule, error.to_string(), None, None)
            }
            Ground::Conflict(identity) => {
                let why = "the identity belongs to another subject".to_owned();
                (DenialCode::IdentityConflict, "identity".to_owned(), why, None, Some(identity))
            }
        };
        // The same for the same denial of the same person over the same claims: whoever asks again and again fills no store.
        let said = json!([
            code.as_str(),
            case.judge.provider.settings().name.as_str(),
            case.issuer,
            case.subject.map(Subject::value),
            identity.as_ref().map(Identity::as_str),
            rule,
            why,
            case.judge.policy.relevant(case.claims),
        ]);
        let reference = Reference::of(&Digest::of(said.to_string().as_bytes()));
        Self { reference, code, message, rule, why, identity }
    }

    fn record(&self, case: Case<'_>) -> Record {
        Record {
            reference: self.reference.to_string(),
            at: case.now.to_string(),
            code: self.code.as_str().to_owned(),
            path: case.path.as_str().to_owned(),
            provider: case.judge.provider.settings().name.as_str().to_owned(),
            issuer: case.issuer.to_owned(),
            subject: case.subject.map(|subject| subject.value().to_owned()),
            identity: self.identity.as_ref().map(Identity::to_string),
            rule: self.rule.clone(),
            why: self.why.clone(),
            message: self.message.clone(),
            claims: case.judge.policy.relevant(case.claims),
            explanation: case.judge.policy.explain(case.claims, case.now),
        }
    }

    /// Its line of the audit log, once it is on record.
    pub(super) fn audit(&self, case: Case<'_>) {
        let is_conflict = self.code == DenialCode::IdentityConflict;
        tracing::info!(
            target: AUDIT,
            event = if is_conflict { "conflict" } else { "denial" },
            code = self.code.as_str(),
            reference = %self.reference,
            rule = self.rule,
            why = self.why,
            provider = case.judge.provider.settings().name.as_str(),
            issuer = case.issuer,
            subject = case.subject.map(Subject::value),
            identity = self.identity.as_ref().map(Identity::as_str),
            path = case.path.as_str(),
            "not let in"
        );
    }
}
