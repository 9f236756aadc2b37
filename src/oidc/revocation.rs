//! Taking a refresh token back (RFC 7009), once nobody needs it any more.

use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::http::Endpoint;
use super::{OidcError, Provider, Tokens, exchange};
use crate::clock::{StoreTime, Timestamp};

impl Provider {
    /// Asks the provider to revoke the refresh token, once; whether it has (RFC 7009 §2.2). Not when there is none, or no place to ask
    /// at. Nobody need act on a failure: it is counted, and the token ends by itself.
    pub async fn revoke(&self, tokens: &Tokens, time: StoreTime) -> bool {
        let Some(refresh_token) = &tokens.refresh_token else { return false };
        match self.revoke_before(self.deadline(), refresh_token, time.now()).await {
            Ok(revoked) => revoked,
            Err(error) => {
                self.count(&error);
                let provider = self.settings.name.as_str();
                tracing::debug!(provider, %error, "the refresh token is not revoked");
                false
            }
        }
    }

    async fn revoke_before(
        &self,
        deadline: Instant,
        refresh_token: &SecretString,
        now: Timestamp,
    ) -> Result<bool, OidcError> {
        let known = self.known(deadline).await?;
        let Some(url) = &known.snapshot.metadata.revocation_endpoint else { return Ok(false) };
        #[expect(clippy::disallowed_methods, reason = "whoever gave it takes it back")]
        let refresh_token = refresh_token.expose_secret();
        let form = [("token", refresh_token), ("token_type_hint", "refresh_token")];
        let at = (Endpoint::Revocation, url);
        let answer = exchange::post(self, at, &form, now, deadline).await?;
        match answer.status {
            StatusCode::OK => Ok(true),
            status => Err(Endpoint::Revocation.of_no_use(format!("status {}", status.as_u16()))),
        }
    }
}
