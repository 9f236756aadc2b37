//! Signed-in devices: one session each, begun by a login, held by a cookie.
//!
//! Owns what the cookie says, when a session is over, the provider's tokens that it goes on with, and how the provider is asked
//! again and heard. Does not own the login that begins it (`login`), the decision about what the provider says (`mint`), nor what a
//! device is called (`http`).

mod devices;
mod grants;
mod logout;
mod revalidation;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::clock::{StoreTime, Timestamp};
use crate::ids::{Identity, ProviderName, RequestId, Secret256, SubjectKey};
use crate::oidc::{Provider, Redeemed};
use crate::seal::Seal;
use crate::store::{
    Asked, Dated, Found, NewSession, NewStanding, OpenedSession, Rate, Session, SessionKey, Store,
    StoreError, UseTerms, UsedSession, Verdict, Way,
};
pub use grants::Farewell;
use grants::Grants;
pub use logout::LogoutError;
pub use revalidation::{Answer, Asking, Turn};

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

/// A provider, and how far its word goes.
pub struct Terms {
    /// The provider.
    pub provider: Arc<Provider>,
    /// How long after it was asked it is asked again.
    pub revalidate_after: Duration,
    /// How much longer its last word counts while it cannot be reached.
    pub grace: Duration,
    /// How long its word of the login counts where it offers no way to ask again.
    pub max_age: Duration,
}

/// What sessions are made with.
pub struct Rooms {
    /// Where they are kept.
    pub store: Arc<Store>,
    /// Seals providers' tokens; without one none is kept.
    pub seal: Option<Seal>,
    /// What goes on after its caller has gone.
    pub tasks: TaskTracker,
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
pub struct Member<'a> {
    /// The identity that the subject is bound to, or that was claimed for it.
    pub identity: Identity,
    /// What was found of the subject before: what has changed since then counts for more.
    pub found: Found,
    /// Whom the provider means, what it says about the person, and what was decided.
    pub standing: NewStanding,
    /// When the login began.
    pub begun: Timestamp,
    /// What the login has brought.
    pub redeemed: &'a Redeemed,
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
    /// Whether the provider has to be asked again before there is a token.
    pub is_due: bool,
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
    /// It was not opened: since the login began, the provider said that the person has signed out.
    #[error("the provider ended the login before the session began")]
    LoggedOut,
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

/// What `work` comes to, which goes on when nobody waits for it any more: a caller who hangs up leaves nothing half done.
pub async fn alone<T: Send + 'static>(
    tasks: &TaskTracker,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    match tasks.spawn(work).await {
        Ok(done) => done,
        // Nobody aborts it.
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// Opens, uses and ends sessions.
pub struct Sessions {
    store: Arc<Store>,
    settings: Settings,
    terms: HashMap<ProviderName, Terms>,
    limit: Option<Rate>,
    grants: Grants,
    tasks: TaskTracker,
    slow: revalidation::Slow,
    /// When the store was last found to have lost writes, ms; 0 for never.
    doubted: AtomicU64,
}

impl Sessions {
    /// Sessions of the people of these providers, each used at most as often as `limit` says.
    pub fn new(rooms: Rooms, settings: Settings, terms: Vec<Terms>, limit: Option<Rate>) -> Self {
        let by_name = |terms: Terms| (terms.provider.settings().name.clone(), terms);
        Self {
            store: rooms.store,
            settings,
            terms: terms.into_iter().map(by_name).collect(),
            limit,
            grants: Grants::new(rooms.seal),
            tasks: rooms.tasks,
            slow: revalidation::Slow::default(),
            doubted: AtomicU64::new(0),
        }
    }

    /// The store has lost writes before `at`: what a provider said earlier may have been taken back in one of them, so that it is asked
    /// again before the next token of a session that was opened or asked about before.
    pub fn doubt(&self, at: Timestamp) {
        self.doubted.fetch_max(at.as_millis(), Ordering::Relaxed);
    }

    /// Opens a session for `member` on a new device, which its owner will know by `label`, with a secret that nobody had before. Of
    /// more than 1,000 sessions of one subject, one ends: one of those that signed in longest ago, or have lain unused.
    ///
    /// # Errors
    ///
    /// [`SessionError::Ended`] when the member's provider is none of ours; [`SessionError::Overtaken`]; [`SessionError::LoggedOut`];
    /// [`SessionError::Store`] when the store has no answer: a session that was opened all the same is nobody's, and ends by itself.
    pub async fn open(
        self: &Arc<Self>,
        member: &Member<'_>,
        label: &str,
    ) -> Result<(SessionCookie, Live<()>), SessionError> {
        let NewStanding { subject, provider, .. } = &member.standing;
        let terms = self.terms_of(provider)?;
        let cookie = SessionCookie { subject: subject.key(), secret: Secret256::random() };
        let key = cookie.key();
        let (grant, way) = self.grants.seal(&key, provider, &member.redeemed.tokens).unzip();
        let way = way.flatten();
        let lifetime = self.longest(terms, way);
        let sid = self.join(terms, member, lifetime).await?;
        let new = NewSession {
            key,
            identity: member.identity.clone(),
            found: member.found.clone(),
            lifetime,
            idle: self.settings.idle,
            label: label.to_owned(),
            most: MOST,
            standing: member.standing.clone(),
            begun: member.begun,
            sid,
            way,
            grant,
        };
        let Dated { value, time } = self.store.open_session(&new).await?;
        match value {
            OpenedSession::Opened(session) => {
                // What was left of sessions that have lain idle since, or were ended where no provider could be told.
                self.give_back_later(key.subject);
                Ok((cookie, self.live(session, time, ())?))
            }
            OpenedSession::Overtaken => Err(SessionError::Overtaken),
            OpenedSession::LoggedOut => Err(SessionError::LoggedOut),
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

    /// Looks at a session and at what was decided about its subject, in brief and as JSON, which does not count as using it.
    ///
    /// # Errors
    ///
    /// [`SessionError::Ended`]; [`SessionError::Store`] when the store has no answer.
    pub async fn look_at(&self, key: &SessionKey) -> Result<Live<(Verdict, String)>, SessionError> {
        let Dated { value, time } = self.store.read_session(key, self.settings.idle).await?;
        let (session, verdict, decision) = value.ok_or(SessionError::Ended)?;
        self.live(session, time, (verdict, decision))
    }

    /// Ends a session for good. What the provider has given for it is revoked after this returns.
    ///
    /// # Errors
    ///
    /// [`SessionError::Ended`] when it was over before; [`SessionError::Store`] when the store has no answer.
    pub async fn end(self: &Arc<Self>, key: &SessionKey) -> Result<(), SessionError> {
        self.end_once(key).await?;
        self.give_back_later(key.subject);
        Ok(())
    }

    /// The same, with what the provider has given for it, if anything.
    ///
    /// # Errors
    ///
    /// As [`Sessions::end`].
    pub async fn sign_out(
        self: &Arc<Self>,
        key: &SessionKey,
    ) -> Result<Option<Farewell>, SessionError> {
        let (sessions, key) = (self.clone(), *key);
        let ending = async move {
            sessions.end_once(&key).await?;
            Ok(sessions.give_back(&key.subject, Some(&key.id)).await)
        };
        alone(&self.tasks, ending).await
    }

    async fn end_once(&self, key: &SessionKey) -> Result<(), SessionError> {
        let ended = self.store.end_session(key, self.settings.idle, RequestId::unique());
        if ended.await?.value { Ok(()) } else { Err(SessionError::Ended) }
    }

    fn terms_of(&self, provider: &ProviderName) -> Result<&Terms, SessionError> {
        self.terms.get(provider).ok_or(SessionError::Ended)
    }

    /// How long a session may last. Where the provider offers no way to ask again, its word of the login ends it (contract §3.4);
    /// userinfo is one for as long as the access token lives, which is no way to go on with.
    fn longest(&self, terms: &Terms, way: Option<Way>) -> Duration {
        match way {
            Some(Way::Refresh) => self.settings.absolute,
            Some(Way::Userinfo { .. }) | None => self.settings.absolute.min(terms.max_age),
        }
    }

    /// A session under today's settings: one that was opened under others ends when these say so, if that is earlier.
    fn live<T>(
        &self,
        mut session: Session,
        time: StoreTime,
        with: T,
    ) -> Result<Live<T>, SessionError> {
        let (terms, now) = (self.terms_of(&session.provider)?, time.at());
        let longest = self.longest(terms, session.asked.map(|asked| asked.way));
        session.ends = session.ends.min(session.since.plus(longest));
        let until = session.last_used.plus(self.settings.idle).min(session.ends);
        if until <= now {
            return Err(SessionError::Ended);
        }
        let is_due = session.asked.is_some_and(|Asked { at, way }| {
            (now >= at.plus(terms.revalidate_after)
                || at.as_millis() < self.doubted.load(Ordering::Relaxed))
                && match way {
                    Way::Refresh => true,
                    Way::Userinfo { until } => now < until,
                }
        });
        Ok(Live { session, now, until, is_due, with })
    }
}
