//! Signed-in devices: one session each, begun by a login, held by a cookie.
//!
//! Owns what the cookie says, and when a session is over. Does not own the login that begins it (`login`), nor the token that
//! it is used for (`mint`), nor what a device is called (`http`).

mod devices;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{StoreTime, Timestamp};
use crate::ids::{Identity, ProviderName, RequestId, Secret256, SubjectKey};
use crate::store::{
    Dated, Found, NewSession, NewStanding, OpenedSession, Rate, Session, SessionKey, Store,
    StoreError, UseTerms, UsedSession, Verdict,
};

/// How many sessions one subject may have. More than that is no person and no household of kiosks; without a bound, whoever signs in
/// again and again would make each look at their devices cost the store more.
const MOST: u32 = 1_000;

/// How long sessions last.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long one may lie unused. Too short, and people sign in again after lunch; too long, and a forgotten device stays
    /// signed in.
    pub idle: Duration,
    /// How long one may last, used or not.
    pub absolute: Duration,
}

/// What a session's cookie holds: whose it is, and a secret that only the device knows.
#[derive(Debug)]
pub struct SessionCookie {
    subject: SubjectKey,
    secret: Secret256,
}

impl SessionCookie {
    /// Reads a cookie's value; `None` when we never wrote such a one.
    pub fn parse(raw: &str) -> Option<Self> {
        let (subject, secret) = raw.split_once('.')?;
        Some(Self { subject: SubjectKey::parse(subject)?, secret: Secret256::parse(secret)? })
    }

    /// The cookie's value, for the device alone.
    pub fn reveal(&self) -> String {
        format!("{}.{}", self.subject, self.secret.reveal())
    }

    /// Under which name the store keeps the session.
    pub fn key(&self) -> SessionKey {
        SessionKey { subject: self.subject, id: self.secret.digest() }
    }
}

/// Somebody who may come in.
#[derive(Clone, Debug)]
pub struct Member {
    /// The identity that the subject is bound to, or that was claimed for it.
    pub identity: Identity,
    /// What was found of the subject before: what has changed since then counts for more.
    pub found: Found,
    /// Whom the provider means, what it says about the person, and what was decided.
    pub standing: NewStanding,
}

/// A session that lives now.
#[derive(Clone, Debug)]
pub struct Live<T> {
    /// The session as it is kept.
    pub session: Session,
    /// The store's clock.
    pub now: Timestamp,
    /// When it is over unless it is used before: its own end, or that of its idle time.
    pub until: Timestamp,
    /// What was asked for with it.
    pub with: T,
}

/// Why a session cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// It is no more, or never was, or its provider is none any more.
    #[error("the session is over")]
    Ended,
    /// It was not opened: since the subject was looked up, its sessions were ended, or its identity was moved, or another login has
    /// bound it to another one, or was denied.
    #[error("another login or an operator came before this one")]
    Overtaken,
    /// It was used too often; it may be used again `after`.
    #[error("the session is over its limit")]
    Limited {
        /// How long to wait.
        after: Duration,
    },
    /// The store failed, so that nobody knows.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens, uses and ends sessions.
pub struct Sessions {
    store: Arc<Store>,
    settings: Settings,
    max_ages: HashMap<ProviderName, Duration>,
    limit: Option<Rate>,
}

impl Sessions {
    /// Sessions kept in `store`, each used at most as often as `limit` says, at providers whose word of a login counts for as
    /// long as `max_ages` says.
    pub fn new(
        store: Arc<Store>,
        settings: Settings,
        max_ages: HashMap<ProviderName, Duration>,
        limit: Option<Rate>,
    ) -> Self {
        Self { store, settings, max_ages, limit }
    }

    /// Opens a session for `member` on a new device, which its owner will know by `label`, with a secret that nobody had before. Of
    /// more than 1,000 sessions of one subject, one ends: one of those that signed in longest ago, or have lain unused.
    ///
    /// # Errors
    ///
    /// [`SessionError::Ended`] when the member's provider is none of ours; [`SessionError::Overtaken`]; [`SessionError::Store`] when
    /// the store has no answer: a session that was opened all the same is nobody's, and ends by itself.
    pub async fn open(
        &self,
        member: &Member,
        label: &str,
    ) -> Result<(SessionCookie, Live<()>), SessionError> {
        let NewStanding { subject, provider, .. } = &member.standing;
        let cookie = SessionCookie { subject: subject.key(), secret: Secret256::random() };
        let new = NewSession {
            key: cookie.key(),
            identity: member.identity.clone(),
            found: member.found.clone(),
            lifetime: self.longest(provider).ok_or(SessionError::Ended)?,
            idle: self.settings.idle,
            label: label.to_owned(),
            most: MOST,
            standing: member.standing.clone(),
            begun: Timestamp::from_millis(0),
            sid: None,
            way: None,
            grant: None,
        };
        let Dated { value, time } = self.store.open_session(&new).await?;
        match value {
            OpenedSession::Opened(session) => Ok((cookie, self.live(session, time, ())?)),
            OpenedSession::Overtaken => Err(SessionError::Overtaken),
            OpenedSession::LoggedOut => Err(SessionError::Ended),
        }
    }

    /// Uses a session once, and says what was decided about its subject: one round trip to the store. The same `request` again
    /// is the same use.
    ///
    /// # Errors
    ///
    /// [`SessionError::Ended`], [`SessionError::Limited`]; [`SessionError::Store`] when the store has no answer.
    pub async fn use_once(
        &self,
        key: &SessionKey,
        request: RequestId,
    ) -> Result<Live<Verdict>, SessionError> {
        let terms = UseTerms { idle: self.settings.idle, limit: self.limit };
        let Dated { value, time } = self.store.use_session(key, &terms, request).await?;
        match value {
            UsedSession::Live(session, verdict) => self.live(session, time, verdict),
            UsedSession::Limited { after } => Err(SessionError::Limited { after }),
            UsedSession::Ended => Err(SessionError::Ended),
        }
    }

    /// Looks at a session and at what was decided about its subject, which does not count as using it.
    ///
    /// # Errors
    ///
    /// [`SessionError::Ended`]; [`SessionError::Store`] when the store has no answer.
    pub async fn look_at(&self, key: &SessionKey) -> Result<Live<String>, SessionError> {
        let Dated { value, time } = self.store.read_session(key, self.settings.idle).await?;
        let (session, _, decision) = value.ok_or(SessionError::Ended)?;
        self.live(session, time, decision)
    }

    /// Ends a session for good.
    ///
    /// # Errors
    ///
    /// [`SessionError::Ended`] when it was over before; [`SessionError::Store`] when the store has no answer.
    pub async fn end(&self, key: &SessionKey) -> Result<(), SessionError> {
        let lived =
            self.store.end_session(key, self.settings.idle, RequestId::unique()).await?.value;
        if lived { Ok(()) } else { Err(SessionError::Ended) }
    }

    /// How long a session at `provider` may last; `None` when that is no provider of ours. Nobody asks a provider again yet, so
    /// that its word of the login ends the session (contract §3.4).
    fn longest(&self, provider: &ProviderName) -> Option<Duration> {
        self.max_ages.get(provider).map(|max_age| self.settings.absolute.min(*max_age))
    }

    /// A session under today's settings: one that was opened under others ends when these say so, if that is earlier.
    fn live<T>(
        &self,
        mut session: Session,
        time: StoreTime,
        with: T,
    ) -> Result<Live<T>, SessionError> {
        let longest = self.longest(&session.provider).ok_or(SessionError::Ended)?;
        session.ends = session.ends.min(session.since.plus(longest));
        let until = session.last_used.plus(self.settings.idle).min(session.ends);
        if until <= time.at() {
            return Err(SessionError::Ended);
        }
        Ok(Live { session, now: time.at(), until, with })
    }
}
