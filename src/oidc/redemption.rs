//! A code becomes claims and tokens: the order of the steps and of the checks.

use serde_json::{Map, Value};
use tokio::time::Instant;
use url::Url;

use super::id_token::{self, Expected, Occasion};
use super::jws::Typ;
use super::provider::Verified;
use super::userinfo::{self, Question};
use super::{
    Claims, LARGEST_DOCUMENT, OidcError, Provider, Redeemed, Redemption, Tokens, exchange,
    untrusted,
};
use crate::ids::Digest;

impl Provider {
    /// Exchanges the code for the provider's claims and tokens, once.
    ///
    /// Checks, in order: the token endpoint answers the code and our PKCE verifier (RFC 6749 §4.1.3, RFC 7636 §4.5); the ID
    /// token's header and signature (RFC 7515 §5.2); `tid`, where there are tenants; `iss`, whether the key signs for it, and
    /// whether the authorization response named it; `aud`, `azp`, `exp`, `iat`, `nbf`, `nonce`, `at_hash`, `c_hash` and `sub`
    /// (OpenID Connect Core §3.1.3.7); then, where userinfo is offered, that it speaks of the same `sub` (§5.3.2).
    /// Nothing more is asked of the provider once a check has failed.
    ///
    /// # Errors
    ///
    /// [`OidcError::Refused`] when the token endpoint says no; [`OidcError::Untrusted`] when a check fails;
    /// [`OidcError::Unavailable`] when an endpoint is of no use, userinfo too, unless it answers 401 or 403. No other.
    pub async fn redeem(&self, redemption: Redemption<'_>) -> Result<Redeemed, OidcError> {
        let redeemed = self.redeem_before(self.deadline(), redemption).await;
        redeemed.inspect_err(|error| self.count(error))
    }

    async fn redeem_before(
        &self,
        deadline: Instant,
        redemption: Redemption<'_>,
    ) -> Result<Redeemed, OidcError> {
        let known = self.known(deadline).await?;
        let metadata = &known.snapshot.metadata;
        let asked = redemption.time.now();
        let given =
            exchange::redeem_code(self, &metadata.token_endpoint, &redemption, deadline).await?;
        let access_until = given.access_until(asked);
        let id_token = given.id_token.ok_or_else(|| untrusted("format", "an ID token", "none"))?;

        let Verified { claims: mut document, algorithm, key_issuer } =
            self.verified_payload(&id_token, Typ::Jwt, deadline).await?;
        let issuer = self.issuer.expected_of(&document)?;
        let access_token = &given.access_token;
        let expected = Expected {
            issuer,
            response_issuer: redemption.response_issuer,
            key_issuer: key_issuer.as_ref(),
            client_id: &self.settings.client_id,
            occasion: Occasion::Login { nonce: redemption.nonce, code: redemption.code },
            access_token,
            algorithm,
            now: redemption.time.now(),
        };
        let sub = id_token::check(&document, &expected)?;
        let auth_time = document.get("auth_time").and_then(id_token::whole_seconds);
        let sid = document.get("sid").and_then(Value::as_str).filter(|sid| !sid.is_empty());
        let sid = sid.map(str::to_owned);

        let question = Question { issuer, access_token, now: redemption.time.now() };
        let further = match &metadata.userinfo_endpoint {
            Some(endpoint) => self.userinfo_of(endpoint, &question, &sub, deadline).await?,
            None => None,
        };
        let answers_userinfo = further.is_some();
        userinfo::merge(&mut document, further.unwrap_or_default());
        let tokens = Tokens {
            issuer: issuer.text().to_owned(),
            sub,
            sid,
            nonce: Digest::of(redemption.nonce.as_bytes()),
            auth_time,
            id_token,
            id_token_is_new: false,
            access_token: given.access_token,
            access_until,
            refresh_token: given.refresh_token,
            answers_userinfo,
        };
        let claims = Claims { issuer: issuer.text().to_owned(), document: settled(document)? };
        Ok(Redeemed { claims, tokens })
    }

    /// What userinfo says about `sub` at a login, if it says anything.
    async fn userinfo_of(
        &self,
        endpoint: &Url,
        question: &Question<'_>,
        sub: &str,
        deadline: Instant,
    ) -> Result<Option<Map<String, Value>>, OidcError> {
        let further = userinfo::fetch(self, endpoint, question, deadline).await?;
        if let Some(further) = &further {
            userinfo::check_subject(further, sub)?;
        } else {
            let provider = self.settings.name.as_str();
            tracing::warn!(provider, "userinfo is refused to us; the ID token stands alone");
        }
        Ok(further)
    }
}

/// The claims that are carried on: without what speaks of one login only.
///
/// # Errors
///
/// [`OidcError::Untrusted`] of `size` when they are more than a policy can be asked about. No other.
pub(super) fn settled(mut document: Map<String, Value>) -> Result<Map<String, Value>, OidcError> {
    super::forget_login(&mut document);
    let size = serde_json::to_string(&document).map_or(usize::MAX, |text| text.len());
    if size > LARGEST_DOCUMENT {
        return Err(untrusted(
            "size",
            format!("at most {LARGEST_DOCUMENT} bytes of claims"),
            size.to_string(),
        ));
    }
    Ok(document)
}
