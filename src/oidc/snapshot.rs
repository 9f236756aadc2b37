//! Metadata and keys as the provider last told them: one snapshot, replaced whole, kept while the provider is away.
//!
//! One task asks the provider ([`Keeper::keep_fresh`]); whoever needs more than is known says so and waits for its answer.
//! So a fetch is shared by all who wait for it, and goes on when one of them goes away.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::http::{Endpoint, Http};
use super::issuer::Issuer;
use super::jws::Typ;
use super::keys::KeySet;
use super::metadata::Metadata;
use super::{OidcError, Provider};

/// How long a snapshot is fresh. A key that the provider has withdrawn counts for that long at most.
const FRESH: Duration = Duration::from_mins(5);

/// Why somebody wants the provider to be asked before it is time.
#[derive(Clone, Copy)]
enum Wish {
    /// Nothing is known of it.
    AnyAnswer,
    /// An answer of the provider is by a key that is not known.
    NewerKeys,
    /// So is a bearer's token, which anybody can make up: it takes nothing from those who sign in.
    BearersKeys,
    /// So is a logout token, which anybody can make up too: it takes nothing from the others.
    LogoutKeys,
}

impl Wish {
    /// How often it makes us ask, at most.
    ///
    /// For keys: providers publish a key before they sign with it, so that once is enough for an honest one; ten seconds keep
    /// those who send us invented keys from making us a nuisance to it, and are what a person waits at worst when keys have
    /// rotated twice. For any answer: whoever comes meanwhile gets the last failure at once.
    const fn interval(self) -> Duration {
        match self {
            Self::AnyAnswer => Duration::from_secs(1),
            Self::NewerKeys | Self::BearersKeys | Self::LogoutKeys => Duration::from_secs(10),
        }
    }
}

/// The longest pause between tries while the provider is away.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// What the provider told at one time.
pub(super) struct Snapshot {
    pub(super) metadata: Metadata,
    pub(super) keys: KeySet,
    taken: Instant,
}

/// A snapshot, and how many times the provider had been asked when it was looked at.
pub(super) struct Known {
    pub(super) snapshot: Arc<Snapshot>,
    asked: u64,
}

/// How much is known of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has not been asked yet, or never answered.
    Never {
        /// What the last try met, free of secrets; `None` before the first.
        why: Option<String>,
    },
    /// It answered when it was last asked.
    Good {
        /// How old its answer is.
        age: Duration,
    },
    /// It answered once, and what it said then still counts; it has not answered since.
    Stale {
        /// How old its answer is.
        age: Duration,
        /// How long it has not answered.
        away: Duration,
        /// What the last try met, free of secrets.
        why: String,
    },
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never { why: None } => f.write_str("not asked yet"),
            Self::Never { why: Some(why) } => write!(f, "never reached: {why}"),
            Self::Good { age } => write!(f, "good, {} s old", age.as_secs()),
            Self::Stale { age, away, why } => {
                write!(
                    f,
                    "away for {} s, what it said {} s ago counts: {why}",
                    away.as_secs(),
                    age.as_secs()
                )
            }
        }
    }
}

#[derive(Default)]
struct State {
    snapshot: Option<Arc<Snapshot>>,
    /// How many times the provider has been asked, with whatever result.
    asked: u64,
    /// Since when it has not answered, and what the last try met.
    failing: Option<(Instant, OidcError)>,
    /// Whether somebody waits for it to be asked.
    wished: bool,
    /// When each [`Wish`] was last granted.
    last_wishes: [Option<Instant>; 4],
}

/// Keeps the snapshot.
#[derive(Default)]
pub(super) struct Keeper {
    state: watch::Sender<State>,
    wake: Notify,
}

impl Keeper {
    /// What is known; waits for it until `deadline` when nothing is.
    ///
    /// # Errors
    ///
    /// [`OidcError::Unavailable`] of `discovery` or `keys`: why nothing is known. No other.
    pub(super) async fn known(&self, deadline: Instant) -> Result<Known, OidcError> {
        let asked = self.state.borrow().asked;
        if self.state.borrow().snapshot.is_none() {
            self.asked_after(asked, Wish::AnyAnswer, deadline).await?;
        }
        self.look()
    }

    /// What is known after the provider was asked again, because a token of this `typ` is by no key of `seen`; `None` when it was
    /// asked for that reason a moment ago.
    ///
    /// # Errors
    ///
    /// [`OidcError::Unavailable`] of `discovery` or `keys` when the provider cannot say now which keys it has. No other.
    pub(super) async fn newer_than(
        &self,
        seen: Known,
        typ: Typ,
        deadline: Instant,
    ) -> Result<Option<Known>, OidcError> {
        let wish = match typ {
            Typ::Jwt | Typ::ClientAssertion => Wish::NewerKeys,
            Typ::Bearer => Wish::BearersKeys,
            Typ::Logout => Wish::LogoutKeys,
        };
        let asked = self.asked_after(seen.asked, wish, deadline).await?;
        if let Some((_, error)) = &self.state.borrow().failing {
            return Err(error.clone());
        }
        if asked { self.look().map(Some) } else { Ok(None) }
    }

    /// Waits until the provider has been asked more than `asked` times, making it so unless the same wish
    /// was granted a moment ago; whether it has been.
    ///
    /// # Errors
    ///
    /// [`OidcError::Unavailable`] of `discovery` when `deadline` passes first. No other.
    async fn asked_after(
        &self,
        asked: u64,
        wish: Wish,
        deadline: Instant,
    ) -> Result<bool, OidcError> {
        self.state.send_if_modified(|state| {
            let last = &mut state.last_wishes[wish as usize];
            let due = last.is_none_or(|last| last.elapsed() >= wish.interval());
            if state.asked == asked && !state.wished && due {
                state.wished = true;
                *last = Some(Instant::now());
                self.wake.notify_one();
            }
            false
        });
        let is_later = |state: &State| state.asked > asked;
        if !self.state.borrow().wished {
            return Ok(is_later(&self.state.borrow()));
        }
        match timeout_at(deadline, self.state.subscribe().wait_for(is_later)).await {
            Ok(_) => Ok(true),
            Err(_elapsed) => Err(Endpoint::Discovery.of_no_use("no whole answer in time")),
        }
    }

    /// What is known now, without waiting.
    ///
    /// # Errors
    ///
    /// As [`Keeper::known`].
    pub(super) fn look(&self) -> Result<Known, OidcError> {
        let state = self.state.borrow();
        match (&state.snapshot, &state.failing) {
            (Some(snapshot), _) => Ok(Known { snapshot: Arc::clone(snapshot), asked: state.asked }),
            (None, Some((_, error))) => Err(error.clone()),
            (None, None) => Err(Endpoint::Discovery.of_no_use("no answer yet")),
        }
    }

    pub(super) fn status(&self) -> Status {
        let state = self.state.borrow();
        match (&state.snapshot, &state.failing) {
            (None, failing) => {
                Status::Never { why: failing.as_ref().map(|(_, error)| error.to_string()) }
            }
            (Some(snapshot), None) => Status::Good { age: snapshot.taken.elapsed() },
            (Some(snapshot), Some((since, error))) => Status::Stale {
                age: snapshot.taken.elapsed(),
                away: since.elapsed(),
                why: error.to_string(),
            },
        }
    }

    /// Asks the provider when its answer is due or wished for, for ever.
    pub(super) async fn keep_fresh(&self, provider: &Provider) {
        let mut failures = 0;
        loop {
            let answer = fetch(&provider.http, &provider.issuer, provider.deadline()).await;
            failures = if answer.is_ok() { 0 } else { failures + 1 };
            self.publish(provider, answer);
            let pause = if failures == 0 {
                FRESH
            } else {
                LONGEST_PAUSE.min(Duration::from_secs(1 << failures.min(6)))
            };
            // Whether time or a wish ends the pause is all the same.
            _ = timeout(scattered(pause), self.wish()).await;
        }
    }

    async fn wish(&self) {
        loop {
            self.wake.notified().await;
            // A wake-up may be left over from a wish that has been granted.
            if self.state.borrow().wished {
                return;
            }
        }
    }

    fn publish(&self, provider: &Provider, answer: Result<(Metadata, KeySet), OidcError>) {
        let name = provider.settings.name.as_str();
        self.state.send_modify(|state| {
            state.asked += 1;
            state.wished = false;
            match answer {
                Ok((mut metadata, keys)) => {
                    if let Some(before) = &state.snapshot {
                        metadata.complete_from(&before.metadata);
                    }
                    let usable_keys = keys.usable_under(&provider.settings.algorithms, &provider.issuer);
                    if usable_keys == 0 {
                        tracing::warn!(provider = name, "the provider has no key for the configured algorithms");
                    }
                    if state.failing.take().is_some() || state.snapshot.is_none() {
                        tracing::info!(provider = name, usable_keys, "the provider's metadata and keys are known");
                    }
                    state.snapshot = Some(Arc::new(Snapshot { metadata, keys, taken: Instant::now() }));
                }
                Err(error) => {
                    let OidcError::Unavailable { endpoint, .. } = &error else { return };
                    provider.count_cause(endpoint);
                    tracing::warn!(provider = name, %error, "the provider's metadata and keys cannot be refreshed");
                    let since = state.failing.take().map_or_else(Instant::now, |(since, _)| since);
                    state.failing = Some((since, error));
                }
            }
        });
    }
}

/// Asks the provider for both, the keys after the metadata that says where they are.
///
/// # Errors
///
/// [`OidcError::Unavailable`] of `discovery` or `keys`. No other.
pub(super) async fn fetch(
    http: &Http,
    issuer: &Issuer,
    deadline: Instant,
) -> Result<(Metadata, KeySet), OidcError> {
    let answer = http.send(Endpoint::Discovery, http.get(&issuer.metadata_url()), deadline).await?;
    let mut metadata = Metadata::read(&answer.ok_json_object()?, issuer)
        .map_err(|what| Endpoint::Discovery.of_no_use(what))?;
    let keys = http.send(Endpoint::Keys, http.get(&metadata.jwks_uri), deadline);
    let further = async {
        if metadata.lacks_oauth_endpoints() { oauth_metadata(http, issuer).await } else { None }
    };
    let (answer, further) = tokio::join!(keys, further);
    let keys = KeySet::read(&answer?.ok_json_object()?)
        .ok_or_else(|| Endpoint::Keys.of_no_use("no JWK set"))?;
    if let Some(further) = further {
        metadata.complete(&further, issuer);
    }
    Ok((metadata, keys))
}

/// The provider's metadata as an authorization server (RFC 8414 §3), if it has any and gives it at once: no login waits for what it
/// adds.
async fn oauth_metadata(http: &Http, issuer: &Issuer) -> Option<Map<String, Value>> {
    let request = http.get(&issuer.oauth_metadata_url());
    let deadline = Instant::now() + Duration::from_secs(2);
    http.send(Endpoint::OauthDiscovery, request, deadline).await.ok()?.ok_json_object().ok()
}

/// `pause`, up to a tenth shorter, so that replicas which start together do not ask together for ever.
fn scattered(pause: Duration) -> Duration {
    let mut random = [0];
    // Without randomness the pause is whole.
    _ = aws_lc_rs::rand::fill(&mut random);
    pause * (2560 - u32::from(random[0])) / 2560
}
