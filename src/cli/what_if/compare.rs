//! What changes for one subject between two policies.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::identity::default_identity;
use crate::ids::{Digest, Identity, ProviderName, Subject};
use crate::login;
use crate::mint::subject_of;
use crate::oidc::token_issuers;
use crate::ops::Whom;
use crate::policy::{Decision, Policy, Wanted};

/// One configuration's policies.
pub(super) struct Policies {
    by_provider: HashMap<ProviderName, Judge>,
}

/// A provider's policy, and what else decides whether a standing still means somebody there.
struct Judge {
    policy: Arc<Policy>,
    issuers: Vec<String>,
    subject_claim: String,
}

/// Somebody who is known.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) subject: &'a Subject,
    pub(super) claims: &'a Map<String, Value>,
    /// The identity that the subject is bound to.
    pub(super) bound: Option<&'a Identity>,
    pub(super) now: Timestamp,
}

/// Why somebody does not come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct No {
    pub(super) rule: String,
    pub(super) why: String,
    pub(super) message: Option<String>,
}

impl No {
    fn new(rule: &str, why: &str) -> Self {
        Self { rule: rule.to_owned(), why: why.to_owned(), message: None }
    }
}

/// As whom somebody comes in, with what.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Admitted {
    pub(super) identity: Identity,
    decision: Decision,
}

/// What a policy says.
pub(super) type Said = Result<Admitted, No>;

/// Under today's policy and under the new one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Both<T> {
    pub(super) before: T,
    pub(super) after: T,
}

/// What is another under the new policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Differences {
    /// The identity that somebody who has none yet would get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) identity: Option<Both<String>>,
    /// The role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<Both<Option<String>>>,
    /// Conversations that come.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) added: Vec<String>,
    /// Conversations that go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) removed: Vec<String>,
    /// What others see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) friendly_name: Option<Both<Option<String>>>,
    /// The user's attributes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attributes: Option<Both<Option<Map<String, Value>>>>,
    /// How long a token lives at most, in seconds; `None` for what is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token_ttl: Option<Both<Option<u64>>>,
}

/// What changes for somebody.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub(super) enum Change {
    /// Had access, and loses it.
    Denied(No),
    /// Had none, and gets it.
    LetIn { identity: String },
    /// Would be let in, were the identity not another's: `with` whose, or `None` for another whom the new policy lets in.
    Collides { identity: String, with: Option<Whom> },
    /// Comes in before and after, with something else.
    Changed(Box<Differences>),
}

impl Policies {
    pub(super) fn of(providers: &[login::Settings]) -> Self {
        let judge = |login::Settings { provider, policy, .. }: &login::Settings| {
            let judge = Judge {
                policy: policy.clone(),
                issuers: token_issuers(&provider.issuer, &provider.tenants),
                subject_claim: provider.subject_claim.clone(),
            };
            (provider.name.clone(), judge)
        };
        Self { by_provider: providers.iter().map(judge).collect() }
    }

    pub(super) fn has(&self, provider: &ProviderName) -> bool {
        self.by_provider.contains_key(provider)
    }

    /// The names of these that `others` lacks, sorted.
    pub(super) fn missing_in(&self, others: &Self) -> Vec<ProviderName> {
        let names = self.by_provider.keys().filter(|name| !others.has(name)).cloned();
        let mut names = names.collect::<Vec<_>>();
        names.sort();
        names
    }

    /// Whether both say the same of everybody at this provider.
    pub(super) fn agree_on(&self, provider: &ProviderName, others: &Self) -> bool {
        let fingerprint = |policies: &Self| -> Option<(Digest, Vec<String>, String)> {
            let judge = policies.by_provider.get(provider)?;
            Some((judge.policy.fingerprint(), judge.issuers.clone(), judge.subject_claim.clone()))
        };
        fingerprint(self) == fingerprint(others)
    }

    /// What is said of somebody at a provider, as the mint would: a bound subject keeps its identity, whatever the rule for it.
    pub(super) fn say(&self, provider: &ProviderName, case: Case<'_>) -> Said {
        let Case { subject, claims, bound, now } = case;
        let Some(judge) = self.by_provider.get(provider) else {
            return Err(No::new("provider", "is missing in the new configuration"));
        };
        if !judge.issuers.iter().any(|issuer| issuer == subject.issuer()) {
            return Err(No::new("issuer", "is another: who signs in there is somebody else"));
        }
        let meant = subject_of(&judge.subject_claim, subject.issuer(), claims);
        if !meant.is_ok_and(|meant| meant == *subject) {
            return Err(No::new("subject_claim", "is another: who signs in is somebody new"));
        }
        let no = |denial: crate::policy::Denial| No {
            why: denial.why.to_string(),
            rule: denial.rule,
            message: denial.message,
        };
        let decision = judge.policy.decide(claims, now).map_err(no)?;
        let identity = match (bound, &decision.identity) {
            (Some(identity), _) | (None, Ok(Wanted::Is(identity))) => identity.clone(),
            (None, Ok(Wanted::Default)) => default_identity(subject),
            (None, Err(denial)) => return Err(no(denial.clone())),
        };
        Ok(Admitted { identity, decision })
    }
}

/// What changes between what two policies say; collisions apart, which only the store knows.
pub(super) fn change(before: &Said, after: Said) -> Option<Change> {
    match (before, after) {
        (Err(_), Err(_)) => None,
        (Ok(_), Err(no)) => Some(Change::Denied(no)),
        (Err(_), Ok(admitted)) => Some(Change::LetIn { identity: admitted.identity.to_string() }),
        (Ok(before), Ok(after)) => {
            let differences = differences(before, after);
            let differ = differences != Differences::default();
            differ.then(|| Change::Changed(Box::new(differences)))
        }
    }
}

fn differences(before: &Admitted, after: Admitted) -> Differences {
    let (old, new) = (&before.decision, after.decision);
    let only = |these: &[String], those: &[String]| {
        these.iter().filter(|name| !those.contains(name)).cloned().collect::<Vec<_>>()
    };
    let seconds = |ttl: Option<Duration>| ttl.map(|ttl| ttl.as_secs());
    Differences {
        identity: both(before.identity.to_string(), after.identity.to_string()),
        role: both(old.role.clone(), new.role),
        added: only(&new.conversations, &old.conversations),
        removed: only(&old.conversations, &new.conversations),
        friendly_name: both(old.friendly_name.clone(), new.friendly_name),
        attributes: both(old.attributes.clone(), new.attributes),
        token_ttl: both(seconds(old.token_ttl), seconds(new.token_ttl)),
    }
}

fn both<T: PartialEq>(before: T, after: T) -> Option<Both<T>> {
    (before != after).then_some(Both { before, after })
}
