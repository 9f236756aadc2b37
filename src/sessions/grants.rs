//! What a provider has given for a session: kept sealed, to ask it again and to say goodbye with.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::Sessions;
use super::logout::sid_handle;
use crate::ids::{Digest, ProviderName, SubjectKey};
use crate::oidc::Tokens;
use crate::seal::Seal;
use crate::store::{SessionKey, Way};

/// Seals and opens grants. Each belongs to one session: put beside another, it is not opened.
pub(super) struct Grants(Option<Seal>);

impl Grants {
    pub(super) const fn new(seal: Option<Seal>) -> Self {
        Self(seal)
    }

    /// The tokens, sealed for the session `key`, and how the provider can be asked again with them; `None` when nothing can be
    /// kept.
    pub(super) fn seal(
        &self,
        key: &SessionKey,
        provider: &ProviderName,
        tokens: &Tokens,
    ) -> Option<(String, Option<Way>)> {
        // The provider stands before them, for two of ours may be one issuer's.
        let secret = SecretString::from(format!("{provider} {}", tokens.to_text().as_str()));
        #[expect(clippy::disallowed_methods, reason = "it is sealed before it is kept")]
        let sealed = self.0.as_ref()?.seal(secret.expose_secret(), &owner(key))?;
        Some((sealed, way(tokens)))
    }

    /// What was sealed for the session `key`; `None` when it cannot be opened any more.
    pub(super) fn open(&self, key: &SessionKey, sealed: &str) -> Option<(ProviderName, Tokens)> {
        let opened = self.0.as_ref()?.open(sealed, &owner(key))?;
        #[expect(clippy::disallowed_methods, reason = "it becomes the tokens that it was")]
        let (provider, tokens) = opened.expose_secret().split_once(' ')?;
        Some((ProviderName::parse(provider)?, Tokens::read(tokens)?))
    }
}

/// How the provider can be asked again with these.
fn way(tokens: &Tokens) -> Option<Way> {
    if tokens.can_refresh() {
        return Some(Way::Refresh);
    }
    tokens.userinfo_until().map(|until| Way::Userinfo { until })
}

/// Whether the provider's session that these tokens are of goes on with another of ours, or may: providers revoke all that a session
/// of theirs has given, and two logins in one browser are one to them.
fn goes_on(tokens: &Tokens, living: &[String]) -> bool {
    match tokens.sid() {
        Some(sid) => {
            let sid = sid_handle(tokens.issuer(), sid).to_string();
            living.iter().any(|other| other.is_empty() || *other == sid)
        }
        None => !living.is_empty(),
    }
}

fn owner(key: &SessionKey) -> String {
    format!("{}:{}", key.subject, key.id)
}

/// What is left of a session that has ended.
pub struct Farewell {
    /// What the provider gave for it, the ID token among it: the hint of whom to sign out there.
    pub tokens: Tokens,
}

impl Sessions {
    /// Takes out what was kept for those of the subject's sessions that are no more, and has each provider forget it (RFC 7009), after
    /// this returns. What was kept for the session `wanted` is answered. Best effort: what the store does not give now, or a process
    /// takes along that ends, the provider forgets in its own time, and nobody can use it here.
    pub(super) async fn give_back(
        &self,
        subject: &SubjectKey,
        wanted: Option<&Digest>,
    ) -> Option<Farewell> {
        self.grants.0.as_ref()?;
        let taken = match self.store.take_grants(subject).await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::debug!(%error, "what providers gave for sessions that ended is not revoked");
                return None;
            }
        };
        let mut answer = None;
        let mut revoked = Vec::new();
        for grant in &taken.value.taken {
            let key = SessionKey { subject: *subject, id: grant.id };
            let Some((name, tokens)) = self.grants.open(&key, &grant.sealed) else { continue };
            let Some(terms) = self.terms.get(&name) else { continue };
            if wanted == Some(&grant.id) {
                answer = Some(Farewell { tokens: tokens.clone() });
            }
            if tokens.can_refresh() && !goes_on(&tokens, &taken.value.living) {
                revoked.push((terms.provider.clone(), tokens));
            }
        }
        let time = taken.time;
        if !revoked.is_empty() {
            self.tasks.spawn(async move {
                for (provider, tokens) in revoked {
                    provider.revoke(&tokens, time).await;
                }
            });
        }
        answer
    }

    /// Revokes what was kept for those of the subject's sessions that are no more, after this returns.
    pub fn give_back_later(self: &Arc<Self>, subject: SubjectKey) {
        if self.grants.0.is_none() {
            return;
        }
        let sessions = self.clone();
        self.tasks.spawn(async move { sessions.give_back(&subject, None).await });
    }
}
