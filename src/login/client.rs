//! Backends that exchange a provider's token for one of ours (RFC 8693).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use secrecy::{ExposeSecret, SecretString};

use super::Login;
use crate::ids::Digest;

/// A backend, and whose tokens it may bring.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its `client_id`.
    pub id: String,
    /// Its secret.
    pub secret: SecretString,
    /// For whom the tokens that it brings may be meant. One that others are meant by too, and what a person gave to them counts
    /// here.
    pub audiences: Vec<String>,
}

impl Login {
    /// Whether there is a client at all.
    pub fn has_clients(&self) -> bool {
        !self.clients.is_empty()
    }

    /// The client with this id, if that is its secret.
    pub fn client(&self, id: &str, secret: &SecretString) -> Option<&Client> {
        #[expect(
            clippy::disallowed_methods,
            reason = "only digests are compared, in constant time"
        )]
        let digest =
            |secret: &SecretString| Digest::of(secret.expose_secret().as_bytes()).to_string();
        let client = self.clients.iter().find(|client| client.id == id)?;
        let (ours, theirs) = (digest(&client.secret), digest(secret));
        verify_slices_are_equal(ours.as_bytes(), theirs.as_bytes()).ok().map(|()| client)
    }
}
