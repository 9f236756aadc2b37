//! Backends that exchange a provider's token for one of ours (RFC 8693), and how they prove who they are.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::Login;
use crate::ids::{Digest, RequestId};
use crate::oidc::{Assertion, ClientKeys, OidcError};
use crate::store::{Dated, StoreError};

/// A backend, and whose tokens it may bring.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its `client_id`.
    pub id: String,
    /// How it proves that it is this client.
    pub credentials: Credentials,
    /// For whom the tokens that it brings may be meant. One that others are meant by too, and what a person gave to them counts
    /// here.
    pub audiences: Vec<String>,
}

/// How a client proves who it is (OpenID Connect Core §9).
#[derive(Clone, Debug)]
pub enum Credentials {
    /// By a secret, in the header or in the form: `client_secret_basic`, `client_secret_post`.
    Secret(SecretString),
    /// By an assertion that one of these keys has signed: `private_key_jwt`.
    Keys(ClientKeys),
}

/// Why an assertion proves no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No client that signs assertions has this id, or the assertion names none.
    #[error("the assertion is no client's that signs them")]
    Unknown,
    /// A check of it fails.
    #[error("the assertion proves nothing")]
    Untrusted(#[from] OidcError),
    /// It came before.
    #[error("the assertion came before")]
    Spent,
    /// The store has no answer; the assertion may be spent.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Login {
    /// Whether there is a client at all.
    pub fn has_clients(&self) -> bool {
        !self.clients.is_empty()
    }

    /// The client with this id, if that is its secret.
    pub fn client_by_secret(&self, id: &str, secret: &SecretString) -> Option<&Client> {
        #[expect(
            clippy::disallowed_methods,
            reason = "only digests are compared, in constant time"
        )]
        let digest =
            |secret: &SecretString| Digest::of(secret.expose_secret().as_bytes()).to_string();
        let client = self.clients.iter().find(|client| client.id == id)?;
        let Credentials::Secret(expected) = &client.credentials else { return None };
        let (ours, theirs) = (digest(expected), digest(secret));
        verify_slices_are_equal(ours.as_bytes(), theirs.as_bytes()).ok().map(|()| client)
    }

    /// The client that has signed this assertion (RFC 7523 §3), which is spent now, on all replicas. It names `id`, if that is given.
    ///
    /// # Errors
    ///
    /// [`ClientError`], any. After [`ClientError::Unknown`] it is as before, and after a check of its signature, its issuer or its
    /// audience that fails; after any other it is spent.
    pub async fn client_by_assertion(
        &self,
        raw_assertion: &SecretString,
        id: Option<&str>,
    ) -> Result<&Client, ClientError> {
        let named = Assertion::unverified_client(raw_assertion).ok_or(ClientError::Unknown)?;
        let client = self.clients.iter().find(|client| client.id == named);
        let client = client.filter(|client| id.is_none_or(|id| id == client.id));
        let client = client.ok_or(ClientError::Unknown)?;
        let Credentials::Keys(keys) = &client.credentials else { return Err(ClientError::Unknown) };
        let assertion = keys.verify(raw_assertion, &client.id, &self.token_audiences())?;
        let spent = self.spend(&client.id, &assertion).await?;
        // Judged by the time of the step that has spent it: which dates it has does not matter to that.
        assertion.check_dates(spent.time.at())?;
        if spent.value { Ok(client) } else { Err(ClientError::Spent) }
    }

    /// Spends an assertion; whether it is the first time.
    async fn spend(&self, id: &str, assertion: &Assertion) -> Result<Dated<bool>, StoreError> {
        // JSON, so that what ends one part cannot begin the next. No other kind of name begins so.
        let name = json!(["client_assertion", id, assertion.jti()]).to_string();
        let name = Digest::of(name.as_bytes());
        self.store.spend_once(&name, Assertion::MEMORY, RequestId::unique()).await
    }

    /// Whom an assertion may be meant for: our token endpoint, or us, as what issues tokens there.
    fn token_audiences(&self) -> [String; 2] {
        let origin = self.public_url.origin().ascii_serialization();
        [format!("{origin}/oauth2/token"), origin]
    }
}
