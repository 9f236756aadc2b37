//! What a provider says of logouts: which sessions end, and which do not begin.
//!
//! A login is joined to the names that the provider may call it by before its session is opened; a logout marks the name before it
//! looks who has joined, and then each subject before it ends the subject's sessions. So whatever the order of the four, no session
//! is left: a login that joins late finds the name marked, and one that joined early is ended, or finds its subject marked.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::json;

use super::{Member, SessionError, Sessions, Terms, alone};
use crate::clock::Timestamp;
use crate::ids::{Digest, Handle, Identity, ProviderName, RequestId, Subject, SubjectKey};
use crate::oidc::{OidcError, Provider};
use crate::store::{Scope, StoreError};

/// Whom or what a provider says has signed out; at least one of the two.
#[derive(Clone, Copy)]
struct Named<'a> {
    /// The issuer.
    issuer: &'a str,
    /// The person.
    sub: Option<&'a str>,
    /// The person's session at the provider.
    sid: Option<&'a str>,
}

/// Why a logout token changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum LogoutError {
    /// No provider has this name.
    #[error("no provider is called that")]
    UnknownProvider,
    /// It was sent before, and did its work.
    #[error("the logout token was sent before")]
    Spent,
    /// It is none of the provider's, or the provider's keys cannot be had.
    #[error("the logout token proves nothing")]
    Provider(#[from] OidcError),
    /// The store has no answer: nobody knows how much is done, and the same token again does the rest.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a provider's session is called in the store.
pub(super) fn sid_handle(issuer: &str, sid: &str) -> Handle {
    Handle::of(&[SID, issuer, sid])
}

/// Kinds of handles, so that nobody's `sub` is taken for a `sid`.
const SID: &str = "sid";
const SUB: &str = "sub";

impl Sessions {
    /// Hears a logout token (OpenID Connect Back-Channel Logout 1.0 §2.6), and does what it says: when this returns, no replica mints on
    /// what it means. Whom it meant is answered, as [`Sessions::log_out`] does. It is spent last, so that a provider whose first try failed
    /// half-way may send it again.
    ///
    /// # Errors
    ///
    /// [`LogoutError`], any.
    pub async fn hear(
        self: &Arc<Self>,
        provider: ProviderName,
        raw_token: SecretString,
    ) -> Result<Vec<Identity>, LogoutError> {
        let sessions = self.clone();
        // A provider that does not wait for the answer may never ask again.
        alone(&self.tasks, async move { sessions.hear_out(&provider, &raw_token).await }).await
    }

    /// Hears a frame of the provider's (OpenID Connect Front-Channel Logout 1.0 §3) about its session `sid`, as [`Sessions::hear`] does.
    ///
    /// # Errors
    ///
    /// [`LogoutError::UnknownProvider`]; [`LogoutError::Store`].
    pub async fn hear_frame(
        self: &Arc<Self>,
        provider: &ProviderName,
        issuer: &str,
        sid: &str,
    ) -> Result<Vec<Identity>, LogoutError> {
        let terms = self.terms.get(provider).ok_or(LogoutError::UnknownProvider)?;
        let (sessions, provider) = (self.clone(), terms.provider.clone());
        let (issuer, sid) = (issuer.to_owned(), sid.to_owned());
        // A browser leaves the page when it likes.
        let hearing = async move {
            let named = Named { issuer: &issuer, sub: None, sid: Some(&sid) };
            sessions.log_out(&provider, named).await
        };
        Ok(alone(&self.tasks, hearing).await?)
    }

    async fn hear_out(
        self: &Arc<Self>,
        provider: &ProviderName,
        raw_token: &SecretString,
    ) -> Result<Vec<Identity>, LogoutError> {
        let terms = self.terms.get(provider).ok_or(LogoutError::UnknownProvider)?;
        let undated = terms.provider.verify_logout_token(raw_token).await?;
        let now = self.store.read_time().await?.time.at();
        let logout = undated.dated(now)?;
        // The issuer's numbers are its own.
        let name = json!([logout.issuer, logout.jti]).to_string();
        let name = Digest::of(name.as_bytes());
        if self.store.was_spent(&name).await?.value {
            return Err(LogoutError::Spent);
        }
        let (sub, sid) = (logout.sub.as_deref(), logout.sid.as_deref());
        let named = Named { issuer: &logout.issuer, sub, sid };
        let meant = self.log_out(&terms.provider, named).await?;
        let keep = now.until(logout.valid_until);
        self.store.spend_once(&name, keep, RequestId::unique()).await?;
        Ok(meant)
    }

    /// Ends the sessions that a provider means: all of the person, or those of one session there. A login under way that it means
    /// too opens none. Whoever is meant and has an identity is answered.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any; then the same again finishes what stopped.
    async fn log_out(
        self: &Arc<Self>,
        provider: &Provider,
        named: Named<'_>,
    ) -> Result<Vec<Identity>, StoreError> {
        let mut meant = Vec::new();
        let persons = self.of_person(provider, &named).await?;
        if let Some(sid) = named.sid {
            let sid = sid_handle(named.issuer, sid);
            for subject in self.store.log_out_handle(&sid).await?.value {
                if !persons.contains(&subject) {
                    meant.push((subject, Scope::Session { sid, nameless: false }));
                }
            }
            // Those of the person that began without a `sid` cannot be told from the one that is meant.
            let nameless = |subject| (subject, Scope::Session { sid, nameless: true });
            meant.extend(persons.into_iter().map(nameless));
        } else {
            meant.extend(persons.into_iter().map(|subject| (subject, Scope::All)));
        }
        let mut identities = Vec::new();
        for (subject, scope) in meant {
            self.store.log_out_subject(&subject, &scope, RequestId::unique()).await?;
            self.give_back_later(subject);
            let found = self.store.find_identity(&subject, None).await?.value;
            identities.extend(found.binding.identity);
        }
        Ok(identities)
    }

    /// Whom `sub` names. Where people are known by it, that is the subject itself; else those who have joined under it, and its name
    /// is marked.
    async fn of_person(
        &self,
        provider: &Provider,
        named: &Named<'_>,
    ) -> Result<Vec<SubjectKey>, StoreError> {
        let Some(sub) = named.sub else { return Ok(Vec::new()) };
        if provider.settings().subject_claim == SUB {
            let subject = Subject::new(named.issuer, sub).ok();
            return Ok(subject.iter().map(Subject::key).collect());
        }
        Ok(self.store.log_out_handle(&Handle::of(&[SUB, named.issuer, sub])).await?.value)
    }

    /// Joins a login to the names that its provider may end it by, for `keep`; which session there it belongs to, if the provider
    /// says.
    pub(super) async fn join(
        &self,
        terms: &Terms,
        member: &Member<'_>,
        keep: Duration,
    ) -> Result<Option<Handle>, SessionError> {
        let issuer = member.redeemed.claims.issuer.as_str();
        let subject = member.standing.subject.key();
        let sid = member.redeemed.tokens.sid().map(|sid| sid_handle(issuer, sid));
        // A session there that has ended does not come back; a person may.
        let mut names: Vec<_> =
            sid.map(|sid| (sid, Timestamp::from_millis(0))).into_iter().collect();
        if terms.provider.settings().subject_claim != SUB {
            names.push((Handle::of(&[SUB, issuer, member.redeemed.tokens.sub()]), member.begun));
        }
        for (name, since) in names {
            if !self.store.join_logout(&name, &subject, since, keep).await?.value {
                return Err(SessionError::LoggedOut);
            }
        }
        Ok(sid)
    }
}
