//! What changes for one subject between two policies.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::ids::{Identity, ProviderName, Subject};
use crate::login;
use crate::mint::{Stale, identity_of, still_means};
use crate::ops::Whom;
use crate::policy::{Decision, Denial};

/// One configuration's providers with their policies.
pub(super) struct Policies<'a> {
    /// What people call the configuration.
    name: &'static str,
    by_provider: HashMap<&'a ProviderName, &'a login::Settings>,
}

/// Somebody of whom claims are kept.
#[derive(Clone, Copy)]
pub(super) struct Person<'a> {
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
    pub(super) fn new(rule: &str, why: impl Into<String>) -> Self {
        Self { rule: rule.to_owned(), why: why.into(), message: None }
    }
}

impl From<Denial> for No {
    fn from(Denial { rule, why, message }: Denial) -> Self {
        Self { rule, why: why.to_string(), message }
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

/// Conversations that come and that go.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Moves {
    pub(super) added: Vec<String>,
    pub(super) removed: Vec<String>,
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
    /// The conversations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) conversations: Option<Moves>,
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

impl<'a> Policies<'a> {
    /// Those of `providers`, in the configuration with this name.
    pub(super) fn of(name: &'static str, providers: &'a [login::Settings]) -> Self {
        let by_provider = providers.iter().map(|settings| (&settings.provider.name, settings));
        Self { name, by_provider: by_provider.collect() }
    }

    /// The names of these providers that `others` lacks, sorted.
    pub(super) fn missing_in(&self, others: &Self) -> Vec<String> {
        let names = self.by_provider.keys().filter(|name| !others.by_provider.contains_key(*name));
        let mut names = names.map(ToString::to_string).collect::<Vec<_>>();
        names.sort();
        names
    }

    /// Whether both say the same of everybody at this provider.
    pub(super) fn agree_on(&self, provider: &ProviderName, others: &Self) -> bool {
        let terms = |policies: &Self| {
            let login::Settings { provider, policy, .. } = policies.by_provider.get(provider)?;
            let (issuer, tenants) = (&provider.issuer, &provider.tenants);
            Some((policy.fingerprint(), issuer, tenants, &provider.subject_claim))
        };
        terms(self) == terms(others)
    }

    /// What is said of somebody at a provider, as the mint would. Whether a first identity is another's only the store knows.
    pub(super) fn say(&self, provider: &ProviderName, person: Person<'_>) -> Said {
        let Person { subject, claims, bound, now } = person;
        let Some(login::Settings { provider, policy, .. }) = self.by_provider.get(provider) else {
            return Err(No::new("provider", format!("is missing in {}", self.name)));
        };
        still_means(provider, subject, claims).map_err(|stale| match stale {
            Stale::Issuer => No::new("issuer", "is another: who signs in there is somebody else"),
            Stale::SubjectClaim => {
                No::new("subject_claim", "is another: who signs in is somebody new")
            }
        })?;
        let decision = policy.decide(claims, now)?;
        let identity = identity_of(&decision, subject, bound)?;
        Ok(Admitted { identity, decision })
    }
}

/// What changes between what two policies say; collisions apart.
pub(super) fn change(before: &Said, after: &Said) -> Option<Change> {
    match (before, after) {
        (Err(_), Err(_)) => None,
        (Ok(_), Err(no)) => Some(Change::Denied(no.clone())),
        (Err(_), Ok(admitted)) => Some(Change::LetIn { identity: admitted.identity.to_string() }),
        (Ok(before), Ok(after)) => {
            let differences = differences(before, after);
            let differ = differences != Differences::default();
            differ.then(|| Change::Changed(Box::new(differences)))
        }
    }
}

fn differences(before: &Admitted, after: &Admitted) -> Differences {
    let (old, new) = (&before.decision, &after.decision);
    let only = |these: &[String], those: &[String]| {
        these.iter().filter(|name| !those.contains(name)).cloned().collect::<Vec<_>>()
    };
    let moves = Moves {
        added: only(&new.conversations, &old.conversations),
        removed: only(&old.conversations, &new.conversations),
    };
    let seconds = |ttl: Option<Duration>| ttl.map(|ttl| ttl.as_secs());
    Differences {
        identity: both(&before.identity, &after.identity).map(|Both { before, after }| Both {
            before: before.to_string(),
            after: after.to_string(),
        }),
        role: both(&old.role, &new.role),
        conversations: (moves != Moves::default()).then_some(moves),
        friendly_name: both(&old.friendly_name, &new.friendly_name),
        attributes: both(&old.attributes, &new.attributes),
        token_ttl: both(&seconds(old.token_ttl), &seconds(new.token_ttl)),
    }
}

fn both<T: PartialEq + Clone>(before: &T, after: &T) -> Option<Both<T>> {
    (before != after).then(|| Both { before: before.clone(), after: after.clone() })
}
