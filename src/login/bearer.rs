//! Bearers: whoever brings a token that a provider gave to somebody else's client, for us (RFC 6750).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::{Client, Login};
use crate::limits::LimitError;
use crate::oidc::{OidcError, Provider, Question, Undated, UnverifiedOrigin};
use crate::store::StoreError;

/// Which tokens of a provider are accepted from bearers.
#[derive(Clone, Debug)]
pub struct Bearers {
    /// For whom they may be meant. None: no token of a bearer is accepted. One that others are meant by too, and what a person gave to them
    /// counts here.
    pub audiences: Vec<String>,
    /// How long ago one may have been issued. Too long, and somebody whom the company let go stays; too short, and clients are
    /// refused whose provider issues rarely.
    pub max_age: Duration,
    /// How long what the provider said of an opaque one counts. Too long, and one that was revoked is accepted; too short, and the
    /// provider is asked at each mint.
    pub keep_answers: Duration,
}

/// Somebody whom a provider vouches for, so far as the token's dates are good: the store's clock judges them.
pub struct Vouched {
    /// The provider.
    pub provider: Arc<Provider>,
    /// What the token says.
    pub token: Undated,
    /// How long ago it may have been issued.
    pub max_age: Duration,
    /// The client that brings it; `None` for a bearer.
    pub client: Option<String>,
}

/// Who brings a token.
#[derive(Clone, Copy)]
pub enum Bringer<'a> {
    /// Whoever has it.
    Bearer {
        /// The address that they come from.
        address: IpAddr,
    },
    /// A client that has proven who it is.
    Client {
        /// The client: its audiences count, and no others.
        client: &'a Client,
        /// Whether the token is what it calls an access token: only these may be opaque.
        may_be_opaque: bool,
    },
}

/// Why a bearer's token proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum BearerError {
    /// It is a JWT, but none that a provider of ours issues for us; or it can be nobody's token.
    #[error("the token is none of a provider's for an audience that is accepted here")]
    NotOurs,
    /// It is opaque, and of several providers nobody knows which has issued it: it is shown to none.
    #[error("the token is opaque, and may be of any of several providers")]
    Ambiguous,
    /// It is opaque, and the provider cannot be asked about it.
    #[error("the token is opaque, and its provider has no introspection")]
    NotIntrospected,
    /// The provider cannot be reached, or the token fails a check.
    #[error("the token proves nothing")]
    Provider(#[from] OidcError),
    /// Too many unknown tokens from this address, or the store has no answer.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The store has no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Login {
    /// What a token proves that somebody brings. Nothing is asked of anybody about a JWT that does not say it is for us. A token that
    /// is no JWT is shown to the only provider that it can be of here: for bearers the only one with audiences, for a client the only
    /// one that there is. Each that is not known counts as a login of the bearer's address.
    ///
    /// # Errors
    ///
    /// [`BearerError`], any.
    pub async fn vouch(
        &self,
        raw_token: &SecretString,
        bringer: Bringer<'_>,
    ) -> Result<Vouched, BearerError> {
        match UnverifiedOrigin::of(raw_token) {
            Some(origin) => self.verify(raw_token, &origin, bringer).await,
            // In a box, so that each JWT does not carry the room for it.
            None => Box::pin(self.ask_about(raw_token, bringer)).await,
        }
    }

    async fn verify(
        &self,
        raw_token: &SecretString,
        origin: &UnverifiedOrigin,
        bringer: Bringer<'_>,
    ) -> Result<Vouched, BearerError> {
        let accepts = |(provider, bearers): &&(Arc<Provider>, Bearers)| {
            provider.accepts_issuer(&origin.issuer)
                && origin.is_meant_for(bringer.audiences(bearers))
        };
        let found = self.bearers.iter().find(accepts);
        let (provider, bearers) = found.ok_or(BearerError::NotOurs)?;
        let token = provider.verify_bearer(raw_token, bringer.audiences(bearers)).await?;
        Ok(bringer.vouched(provider, bearers, token))
    }

    async fn ask_about(
        &self,
        raw_token: &SecretString,
        bringer: Bringer<'_>,
    ) -> Result<Vouched, BearerError> {
        let accepts =
            |(_, bearers): &&(Arc<Provider>, Bearers)| !bringer.audiences(bearers).is_empty();
        let mut providers = self.bearers.iter().filter(accepts);
        let (provider, bearers) = match (providers.next(), providers.next()) {
            (Some(only), None) => only,
            (None, _) => return Err(BearerError::NotOurs),
            _ => return Err(BearerError::Ambiguous),
        };
        let question = Question { raw_token, audiences: bringer.audiences(bearers) };
        if !question.makes_sense() || !bringer.may_be_opaque() {
            return Err(BearerError::NotOurs);
        }
        if let Some(token) = provider.introspected(&question) {
            return Ok(bringer.vouched(provider, bearers, token));
        }
        if !provider.introspects().await? {
            return Err(BearerError::NotIntrospected);
        }
        if let Bringer::Bearer { address } = bringer {
            self.limits.count_login(address).await?;
        }
        let time = self.store.read_time().await?.time;
        let token = provider.introspect(&question, bearers.keep_answers, time).await?;
        Ok(bringer.vouched(provider, bearers, token))
    }
}

impl<'a> Bringer<'a> {
    /// For whom the tokens of a provider may be meant that it brings.
    fn audiences(self, bearers: &'a Bearers) -> &'a [String] {
        match self {
            Self::Bearer { .. } => &bearers.audiences,
            Self::Client { client, .. } => &client.audiences,
        }
    }

    fn may_be_opaque(self) -> bool {
        matches!(self, Self::Bearer { .. } | Self::Client { may_be_opaque: true, .. })
    }

    fn vouched(self, provider: &Arc<Provider>, bearers: &Bearers, token: Undated) -> Vouched {
        let client = match self {
            Self::Bearer { .. } => None,
            Self::Client { client, .. } => Some(client.id.clone()),
        };
        Vouched { provider: provider.clone(), token, max_age: bearers.max_age, client }
    }
}
