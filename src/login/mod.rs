//! A login under way: from the button to what the provider's answer proves (OpenID Connect Core §3.1).
//!
//! Owns the `state`, its binding to the browser that began, and that a login ends once. Does not own the provider's side
//! (`oidc`), cookies (`http`), nor what happens to the person afterwards (`mint`, `sessions`).
//!
//! The store learns nothing that could end a login: of `state` and of the browser's secret it keeps digests, and the nonce and
//! the PKCE verifier are derived from the two, so that they exist only while somebody holds both.

mod bearer;
mod client;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::clock::{StoreTime, Timestamp};
use crate::ids::{Digest, ProviderName, RequestId, Secret256};
use crate::limits::{LimitError, Limits};
use crate::oidc::{AuthorizationRequest, OidcError, Provider, Redeemed, Redemption};
use crate::policy::Policy;
use crate::store::{NewLogin, Store, StoreError, TakenLogin};

pub use bearer::{BearerError, Bearers, Bringer, Vouched};
pub use client::{Client, ClientError, Credentials};

/// One provider that people log in at, and how long its word counts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How it is met.
    pub provider: crate::oidc::Settings,
    /// How old claims may be at a token before the provider is asked again. Too long, and somebody whom the company let go stays;
    /// too short, and nearly each token waits for the provider.
    pub revalidate_after: Duration,
    /// How much older they may be while the provider cannot be reached. Too long, and whoever can keep it from answering keeps people
    /// in; too short, and its restart locks everybody out.
    pub grace: Duration,
    /// How long after a login tokens may be minted where the provider offers no way to ask again. Too long, and somebody whom the
    /// company let go stays; too short, and everybody signs in again all day.
    pub max_age: Duration,
    /// Which of its tokens are accepted from bearers.
    pub bearers: Bearers,
    /// Who of its people may come in, as whom, with what.
    pub policy: Arc<Policy>,
}

/// The way to a provider's login page, and the secret that the browser must keep meanwhile.
pub struct Begun {
    /// The provider's authorization endpoint with our request.
    pub location: Url,
    /// For the login cookie.
    pub binding: Secret256,
}

/// What came back to the callback, unchecked.
pub struct RawAnswer {
    /// Whose callback it came to.
    pub provider: ProviderName,
    /// The secret in the browser's login cookie.
    pub binding: Option<Secret256>,
    /// `state` (RFC 6749 §4.1.2).
    pub state: String,
    /// `iss` (RFC 9207 §2).
    pub iss: Option<String>,
    /// `code`.
    pub code: Option<SecretString>,
    /// `error` (RFC 6749 §4.1.2.1).
    pub error: Option<String>,
}

/// Somebody whom a provider vouches for.
pub struct Proven {
    /// The provider.
    pub provider: Arc<Provider>,
    /// What it says about the person, and what it has given.
    pub redeemed: Redeemed,
    /// When the login began.
    pub begun: Timestamp,
    /// The store's clock, which the claims were dated by.
    pub time: StoreTime,
    /// Where the browser wanted to go.
    pub return_to: String,
}

/// Why a login cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// No provider has this name.
    #[error("no provider is called that")]
    UnknownProvider,
    /// Too many logins from this address, or the store has no answer.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The provider's metadata cannot be had.
    #[error(transparent)]
    Provider(#[from] OidcError),
    /// The store has no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a login ends without proof.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// No provider has this name.
    #[error("no provider is called that")]
    UnknownProvider,
    /// The answer belongs to no login of this browser.
    #[error(transparent)]
    NotOurs(#[from] NotOurs),
    /// The provider cannot be reached, says no, or fails a check.
    #[error("the provider's answer proves nothing")]
    Provider {
        /// Which of them, and how.
        #[source]
        source: OidcError,
        /// Where the browser wanted to go: another login may lead there.
        return_to: String,
    },
    /// The store has no answer; the login may be over.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an answer belongs to no login of this browser.
#[derive(Debug, thiserror::Error)]
pub enum NotOurs {
    /// The browser has no login cookie.
    #[error("the browser has no login cookie")]
    NoCookie,
    /// No login has this `state`: none ever had, or it is too old.
    #[error("no login has this state, or it is too old")]
    Unknown,
    /// Another browser began it, or this one before it got another cookie: of several tabs that begin at the same moment each
    /// makes one, and the last one's stays.
    #[error("the login was begun with another login cookie")]
    OtherCookie {
        /// Where the login leads.
        return_to: String,
    },
    /// It was begun at another provider.
    #[error("the login was begun at another provider")]
    OtherProvider,
    /// It was answered before.
    #[error("the login was answered before")]
    Answered,
}

/// Begins and finishes logins at the configured providers.
pub struct Login {
    providers: Vec<Arc<Provider>>,
    bearers: Vec<(Arc<Provider>, Bearers)>,
    clients: Vec<Client>,
    store: Arc<Store>,
    limits: Arc<Limits>,
    public_url: Url,
}

impl Login {
    /// Logins at `providers`, each with the tokens that are accepted from bearers, and from these clients, with callbacks under `public_url`.
    pub fn new(
        bearers: Vec<(Arc<Provider>, Bearers)>,
        clients: Vec<Client>,
        store: Arc<Store>,
        limits: Arc<Limits>,
        public_url: Url,
    ) -> Self {
        let providers = bearers.iter().map(|(provider, _)| provider.clone()).collect();
        Self { providers, bearers, clients, store, limits, public_url }
    }

    /// The providers, in the order of the configuration.
    pub fn providers(&self) -> impl Iterator<Item = &Provider> {
        self.providers.iter().map(Arc::as_ref)
    }

    /// Begins a login: keeps it, and says where to send the browser. `binding` is the secret that the browser already holds,
    /// if any: logins in several tabs share it, so that each can end.
    ///
    /// # Errors
    ///
    /// [`BeginError`], any. What is kept of the login then lies until it is too old: nobody comes back for it.
    pub async fn begin(
        &self,
        name: &ProviderName,
        client: IpAddr,
        binding: Option<Secret256>,
        return_to: String,
    ) -> Result<Begun, BeginError> {
        let provider = self.find(name).ok_or(BeginError::UnknownProvider)?;
        self.limits.count_login(client).await?;
        let binding = binding.unwrap_or_else(Secret256::random);
        let state = Secret256::random().reveal();
        let login = NewLogin { provider: name.clone(), binding: binding.digest(), return_to };
        let begun = self.store.begin_login(&Digest::of(state.as_bytes()), &login).await?;
        let (nonce, verifier) = derive(&binding, &state);
        let redirect_uri = self.callback(name);
        let request = AuthorizationRequest {
            redirect_uri: &redirect_uri,
            state: &state,
            nonce: &nonce,
            pkce_verifier: &verifier,
            time: begun.time,
        };
        let location = provider.authorization_url(request).await?;
        Ok(Begun { location, binding })
    }

    /// Counts what anybody may ask of us, and what costs as much as a login, as one from `client`.
    ///
    /// # Errors
    ///
    /// [`LimitError`], any.
    pub async fn count(&self, client: IpAddr) -> Result<(), LimitError> {
        self.limits.count_login(client).await
    }

    /// Finishes a login with what the browser brought back. A login can be finished once, and only by the browser that began
    /// it; whoever else comes changes nothing.
    ///
    /// Checks, in order: browser, provider and `state`, which is forgotten now (RFC 6749 §10.12); `iss` (RFC 9207 §2.4), before
    /// the code goes anywhere; then the code's redemption with all its checks.
    ///
    /// # Errors
    ///
    /// [`FinishError`], any. After [`FinishError::Provider`] the login is over; after [`FinishError::UnknownProvider`] and
    /// [`FinishError::NotOurs`] it is as before; after [`FinishError::Store`] nobody knows.
    pub async fn finish(&self, answer: RawAnswer) -> Result<Proven, FinishError> {
        let provider = self.find(&answer.provider).ok_or(FinishError::UnknownProvider)?;
        let binding = answer.binding.as_ref().ok_or(NotOurs::NoCookie)?;
        let id = Digest::of(answer.state.as_bytes());
        let taken = self
            .store
            .take_login_once(&id, &binding.digest(), &answer.provider, RequestId::unique())
            .await?;
        let (return_to, begun) = match taken.value {
            TakenLogin::Taken { return_to, begun } => (return_to, begun),
            TakenLogin::AlreadyTaken => return Err(NotOurs::Answered.into()),
            TakenLogin::OtherBrowser { return_to } => {
                return Err(NotOurs::OtherCookie { return_to }.into());
            }
            TakenLogin::OtherProvider => return Err(NotOurs::OtherProvider.into()),
            TakenLogin::Unknown => return Err(NotOurs::Unknown.into()),
        };
        match self.prove(provider, &answer, binding, taken.time).await {
            Ok(redeemed) => {
                let (provider, time) = (provider.clone(), taken.time);
                Ok(Proven { provider, redeemed, begun, time, return_to })
            }
            Err(source) => Err(FinishError::Provider { source, return_to }),
        }
    }

    /// What an answer proves, once its login is taken.
    async fn prove(
        &self,
        provider: &Provider,
        answer: &RawAnswer,
        binding: &Secret256,
        time: StoreTime,
    ) -> Result<Redeemed, OidcError> {
        provider.check_response_issuer(answer.iss.as_deref()).await?;
        if let Some(error) = &answer.error {
            return Err(provider.refusal(error));
        }
        let Some(code) = &answer.code else {
            return Err(provider.refusal("neither a code nor an error"));
        };
        let (nonce, pkce_verifier) = derive(binding, &answer.state);
        let redemption = Redemption {
            code,
            redirect_uri: &self.callback(&answer.provider),
            nonce: &nonce,
            pkce_verifier: &pkce_verifier,
            response_issuer: answer.iss.as_deref(),
            time,
        };
        provider.redeem(redemption).await
    }

    fn find(&self, name: &ProviderName) -> Option<&Arc<Provider>> {
        self.providers.iter().find(|provider| provider.settings().name == *name)
    }

    /// Built from the configuration, never from a request's headers (contract §5).
    fn callback(&self, name: &ProviderName) -> Url {
        let mut url = self.public_url.clone();
        url.set_path(&format!("/callback/{name}"));
        url
    }
}

/// The nonce and the PKCE verifier of the login with this secret and this `state`.
fn derive(binding: &Secret256, state: &str) -> (String, Secret256) {
    (binding.derive("nonce", state).reveal(), binding.derive("pkce", state))
}
