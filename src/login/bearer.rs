//! Bearers: whoever brings a token that a provider gave to somebody else's client, for us (RFC 6750).

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::{Client, Login};
use crate::oidc::{OidcError, Provider, Undated, UnverifiedOrigin};

/// Which tokens of a provider are accepted from bearers.
#[derive(Clone, Debug)]
pub struct Bearers {
    /// For whom they may be meant. None: no token is accepted. One that others are meant by too, and what a person gave to them
    /// counts here.
    pub audiences: Vec<String>,
    /// How long ago one may have been issued. Too long, and somebody whom the company let go stays; too short, and clients are
    /// refused whose provider issues rarely.
    pub max_age: Duration,
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

/// Why a bearer's token proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum BearerError {
    /// It is no JWT, or none that a provider of ours issues for us.
    #[error("the token is none of a provider's for an audience that is accepted here")]
    NotOurs,
    /// The provider cannot be reached, or the token fails a check.
    #[error("the token proves nothing")]
    Provider(#[from] OidcError),
}

impl Login {
    /// What a bearer's token proves, or with a `client` one that this client brings: then its audiences count, and no others. Nothing
    /// is asked of anybody about a token that does not say it is for us.
    ///
    /// # Errors
    ///
    /// [`BearerError`], any.
    pub async fn vouch(
        &self,
        raw_token: &SecretString,
        client: Option<&Client>,
    ) -> Result<Vouched, BearerError> {
        let origin = UnverifiedOrigin::of(raw_token).ok_or(BearerError::NotOurs)?;
        let accepted = |(provider, bearers): &'_ (Arc<Provider>, Bearers)| {
            let audiences = client.map_or(&bearers.audiences, |client| &client.audiences);
            let is_ours = provider.accepts_issuer(&origin.issuer) && origin.is_meant_for(audiences);
            is_ours.then(|| (provider.clone(), audiences.clone(), bearers.max_age))
        };
        let found = self.bearers.iter().find_map(accepted);
        let (provider, audiences, max_age) = found.ok_or(BearerError::NotOurs)?;
        let token = provider.verify_bearer(raw_token, &audiences).await?;
        let client = client.map(|client| client.id.clone());
        Ok(Vouched { provider, token, max_age, client })
    }
}
