//! Asking a session's provider again: one asker among all replicas, and what becomes of its answer.
//!
//! Refresh tokens are for one use at many providers, and one that is shown twice kills the whole grant. So whoever asks holds the
//! session's turn, and keeps the new tokens before it looks at what they say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{SessionError, Sessions};
use crate::clock::{StoreTime, Timestamp};
use crate::ids::{Identity, ProviderName, RequestId};
use crate::oidc::{Claims, OidcError, Provider, Tokens};
use crate::store::{
    Asked, BegunRevalidation, Dated, NewStanding, Revalidated, Session, SessionKey, StoreError, Way,
};

/// How long a provider that was away is left alone, so that not everybody waits for it in turn.
const PAUSE: Duration = Duration::from_secs(5);

/// From when on a failure was a long wait, which nobody else shall have meanwhile. One that comes at once may be about one person.
const LONG: Duration = Duration::from_secs(1);

/// How long tokens that were redeemed are tried to be kept: they are nowhere else.
const KEEPING: Duration = Duration::from_secs(10);
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

/// Whose turn it is to ask.
pub enum Turn {
    /// The caller's.
    Ours(Box<Asking>),
    /// Another's, who is about to be done.
    Anothers,
    /// Nobody's: the provider was away a moment ago, and is asked again `after`.
    Away {
        /// From now.
        after: Duration,
    },
    /// Nobody can ask it: what it gave cannot be opened here.
    Sealed,
    /// It is done.
    Done,
}

/// The turn to ask about one session.
pub struct Asking {
    key: SessionKey,
    identity: Identity,
    request: RequestId,
    provider: Arc<Provider>,
    way: Way,
    tokens: Tokens,
    /// When the turn began, by which the answer is dated.
    time: StoreTime,
    /// Names the claims that were known then.
    obtained: Option<Timestamp>,
}

impl Asking {
    /// Whether the provider has given an ID token with its answer.
    pub const fn has_new_id_token(&self) -> bool {
        self.tokens.id_token_is_new()
    }

    /// Whose session it is.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The session.
    pub const fn key(&self) -> &SessionKey {
        &self.key
    }

    /// Where the login was.
    pub fn provider(&self) -> &Provider {
        &self.provider
    }

    /// The store's clock, by now.
    pub fn now(&self) -> Timestamp {
        self.time.now()
    }
}

/// What a provider says when it is asked again.
pub enum Answer {
    /// This is true of the person now, and nothing else.
    Claims(Claims),
    /// It still knows the session, and tells nothing of the person: it cannot be asked again.
    Nothing,
    /// It has no answer now.
    Away(OidcError),
    /// It does not know the session any more, or it is another person's.
    Ended(OidcError),
}

/// Since when each provider keeps whoever asks waiting.
#[derive(Default)]
pub(super) struct Slow(Mutex<HashMap<ProviderName, Instant>>);

impl Slow {
    /// How long the provider is still left alone.
    fn left(&self, provider: &ProviderName) -> Option<Duration> {
        let slow = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        PAUSE.checked_sub(slow.get(provider)?.elapsed())
    }

    fn note(&self, provider: &ProviderName) {
        let mut slow = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slow.insert(provider.clone(), Instant::now());
    }
}

impl Sessions {
    /// Takes the turn to ask the provider about a session that is due, if it is free.
    ///
    /// # Errors
    ///
    /// [`SessionError::Ended`]; [`SessionError::Store`] when the store has no answer.
    pub async fn take_turn(
        &self,
        key: &SessionKey,
        session: &Session,
    ) -> Result<Turn, SessionError> {
        let (provider, Some(asked)) = (&session.provider, session.asked) else {
            return Ok(Turn::Done);
        };
        if let Some(after) = self.slow.left(provider) {
            return Ok(Turn::Away { after });
        }
        let terms = self.terms_of(provider)?;
        let request = RequestId::unique();
        let times = (self.settings.idle, hold(&terms.provider));
        let turn = || self.store.begin_revalidation(key, asked.at, times, request);
        // A reply that was lost has given the turn to nobody who knows: the same request has it still.
        let begun = match turn().await {
            Err(_) => turn().await,
            begun => begun,
        };
        let Dated { value, time } = begun?;
        match value {
            BegunRevalidation::Yours { grant, obtained } => {
                let Some((_, tokens)) = self.grants.open(key, &grant) else {
                    let name = provider.as_str();
                    tracing::warn!(
                        provider = name,
                        "a session's grant cannot be opened: is a key of seal.keys missing?"
                    );
                    // Another replica may have the key: nothing of it is lost.
                    self.store.pause_revalidation(key, request, Duration::ZERO).await?;
                    return Ok(Turn::Sealed);
                };
                let provider = terms.provider.clone();
                let (key, identity, way) = (*key, session.identity.clone(), asked.way);
                let asking =
                    Asking { key, identity, request, provider, way, tokens, time, obtained };
                Ok(Turn::Ours(Box::new(asking)))
            }
            BegunRevalidation::Anothers { .. } => Ok(Turn::Anothers),
            BegunRevalidation::Paused { until } => Ok(Turn::Away { after: time.at().until(until) }),
            BegunRevalidation::Done => Ok(Turn::Done),
            BegunRevalidation::Ended => Err(SessionError::Ended),
        }
    }

    /// How long whoever waits for another's turn waits.
    pub fn patience(&self, provider: &ProviderName) -> Duration {
        let timeout = self.terms.get(provider).map(|terms| terms.provider.settings().timeout);
        2 * timeout.unwrap_or_default() + LONG
    }

    /// Asks the provider. What it gives in place of what was used up is kept before anything else happens.
    ///
    /// # Errors
    ///
    /// [`SessionError::Ended`] when the session is over; [`SessionError::Overtaken`] when the turn is; [`SessionError::Store`] when new
    /// tokens cannot be kept: then the person has to sign in again, if the old ones are good for nothing any more.
    pub async fn ask(&self, asking: &mut Asking) -> Result<Answer, SessionError> {
        let answer = match asking.way {
            Way::Refresh => self.refresh(asking).await?,
            Way::Userinfo { .. } => {
                let asked = asking.provider.ask_userinfo(&asking.tokens, asking.time);
                self.timed(&asking.provider, asked).await.map(Some)
            }
        };
        Ok(match answer {
            Ok(Some(claims)) => Answer::Claims(claims),
            Ok(None) => Answer::Nothing,
            Err(error) if is_final(&error, asking.way) => Answer::Ended(error),
            Err(error) => Answer::Away(error),
        })
    }

    /// A provider's answer; one that did not come for long is noted.
    async fn timed<T>(
        &self,
        provider: &Provider,
        asked: impl Future<Output = Result<T, OidcError>>,
    ) -> Result<T, OidcError> {
        let begun = Instant::now();
        let answer = asked.await;
        if matches!(answer, Err(OidcError::Unavailable { .. })) && begun.elapsed() >= LONG {
            self.slow.note(&provider.settings().name);
        }
        answer
    }

    async fn refresh(
        &self,
        asking: &mut Asking,
    ) -> Result<Result<Option<Claims>, OidcError>, SessionError> {
        let refreshed = asking.provider.refresh(&asking.tokens, asking.time);
        match self.timed(&asking.provider, refreshed).await {
            Ok(tokens) => asking.tokens = tokens,
            Err(error) => return Ok(Err(error)),
        }
        self.keep(asking).await?;
        let claims = asking.provider.renewed_claims(&asking.tokens, asking.time);
        Ok(self.timed(&asking.provider, claims).await)
    }

    /// Keeps the tokens of now, through an outage of the store that is short.
    async fn keep(&self, asking: &Asking) -> Result<(), SessionError> {
        let name = &asking.provider.settings().name;
        // A seal that sealed before seals again.
        let (sealed, _) =
            self.grants.seal(&asking.key, name, &asking.tokens).ok_or(SessionError::Ended)?;
        let begun = Instant::now();
        loop {
            match self.store.keep_grant(&asking.key, asking.request, &sealed).await {
                Ok(Dated { value: true, .. }) => return Ok(()),
                Ok(_) => {
                    self.look_at(&asking.key).await.inspect_err(|_| self.revoke(asking))?;
                    return Err(SessionError::Overtaken);
                }
                Err(error) if begun.elapsed() > KEEPING => return Err(error.into()),
                Err(_) => tokio::time::sleep(BETWEEN_TRIES).await,
            }
        }
    }

    /// Has the provider forget what it gave for a session that ended meanwhile.
    fn revoke(&self, asking: &Asking) {
        let (provider, tokens, time) =
            (asking.provider.clone(), asking.tokens.clone(), asking.time);
        self.tasks.spawn(async move { provider.revoke(&tokens, time).await });
    }

    /// Keeps what was decided of the provider's answer; with `None`, that there was nothing in it. `false` when the turn was over, or the
    /// session: then nothing is kept.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn finish_turn(
        &self,
        asking: &Asking,
        standing: Option<NewStanding>,
    ) -> Result<bool, StoreError> {
        let asked = standing.as_ref().map(|_| Asked { at: asking.time.at(), way: asking.way });
        let revalidated = Revalidated { asked, standing, obtained: asking.obtained };
        let finished = self.store.finish_revalidation(&asking.key, asking.request, &revalidated);
        Ok(finished.await?.value)
    }

    /// Leaves a provider that is away alone for a while, which is answered.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn pause_turn(&self, asking: &Asking) -> Result<Duration, StoreError> {
        self.store.pause_revalidation(&asking.key, asking.request, PAUSE).await?;
        Ok(PAUSE)
    }

    /// Whether a session may go on by the word of its login alone.
    pub fn goes_by_login(&self, session: &Session, now: Timestamp) -> bool {
        let terms = self.terms.get(&session.provider);
        terms.is_some_and(|terms| now < session.since.plus(terms.max_age))
    }

    /// Whether a session that is due may go on although its provider is away.
    pub fn tolerates(&self, session: &Session, now: Timestamp) -> bool {
        let (Some(terms), Some(asked)) = (self.terms.get(&session.provider), session.asked) else {
            return false;
        };
        now < asked.at.plus(terms.revalidate_after).plus(terms.grace)
    }
}

/// Whether asking again later could not change it. At the token endpoint `invalid_grant` says so (RFC 6749 §5.2); whatever else it
/// refuses may be a fault of the operators', which must not sign everybody out. Userinfo refuses an access token that is dead.
fn is_final(error: &OidcError, way: Way) -> bool {
    match error {
        OidcError::Refused { error } => {
            matches!(way, Way::Userinfo { .. }) || error == "invalid_grant"
        }
        // About somebody else, or of another login. A `sub` that is missing, or an issuer that was changed, may be a fault.
        OidcError::Untrusted { check: "userinfo_sub", got, .. } => got != "no string",
        OidcError::Untrusted { check, .. } => matches!(*check, "sub" | "nonce" | "auth_time"),
        OidcError::Unavailable { .. } => false,
    }
}

/// How long a turn lasts at most: two answers of the provider's, keeping the tokens between them, and some seconds for the rest. A turn
/// that ended before its asker is done would have the used-up token shown again.
fn hold(provider: &Provider) -> Duration {
    2 * provider.settings().timeout + KEEPING + PAUSE
}
