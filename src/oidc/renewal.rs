//! Asking again about somebody who has signed in (OpenID Connect Core §12): for fresh tokens, and for what they say now.

use serde_json::{Map, Value};
use tokio::time::Instant;

use super::exchange::redeem_refresh_token;
use super::http::Endpoint;
use super::id_token::{self, Expected, Occasion};
use super::issuer::TokenIssuer;
use super::jws::Typ;
use super::provider::Verified;
use super::redemption::settled;
use super::userinfo::{self, Question};
use super::{Claims, OidcError, Provider, Tokens, cut, untrusted};
use crate::clock::StoreTime;

impl Provider {
    /// Redeems the refresh token, once: the tokens to keep from now on, in place of `tokens` (RFC 6749 §6). What they say is
    /// unverified until [`Provider::renewed_claims`]; keep them first, for the old refresh token may be good no more.
    ///
    /// # Errors
    ///
    /// [`OidcError::Refused`] when the token endpoint says no, with `invalid_grant` where the grant is over (RFC 6749 §5.2), and when
    /// there is no refresh token; [`OidcError::Unavailable`] of `discovery`, `keys` or `token`, and then nobody knows whether the
    /// refresh token was used. No other.
    pub async fn refresh(&self, tokens: &Tokens, time: StoreTime) -> Result<Tokens, OidcError> {
        let renewed = self.refresh_before(self.deadline(), tokens, time).await;
        renewed.inspect_err(|error| self.count(error))
    }

    async fn refresh_before(
        &self,
        deadline: Instant,
        tokens: &Tokens,
        time: StoreTime,
    ) -> Result<Tokens, OidcError> {
        let Some(refresh_token) = &tokens.refresh_token else {
            return Err(OidcError::Refused { error: "there is no refresh token".to_owned() });
        };
        let known = self.known(deadline).await?;
        let token_endpoint = &known.snapshot.metadata.token_endpoint;
        let now = time.now();
        let given =
            redeem_refresh_token(self, token_endpoint, refresh_token, now, deadline).await?;
        Ok(tokens.renewed(given, now))
    }

    /// What refreshed tokens say about the person, in place of whatever was said before. `None` when the provider has renewed them
    /// without a word about the person: there is no new ID token, and userinfo told nothing at the login either.
    ///
    /// Checks a new ID token as the first one was checked, and that it is of the same login: `iss` and `sub` are the first one's,
    /// `nonce` too if it stands there, and `auth_time` is not older (OpenID Connect Core §12.2). Then, where userinfo told something at
    /// the login, it is asked again, about the same `sub` (§5.3.2).
    ///
    /// # Errors
    ///
    /// [`OidcError::Untrusted`] when a check fails; [`OidcError::Refused`] when userinfo answers 401 or 403, though it told something
    /// at the login; [`OidcError::Unavailable`] when an endpoint is of no use. No other.
    pub async fn renewed_claims(
        &self,
        tokens: &Tokens,
        time: StoreTime,
    ) -> Result<Option<Claims>, OidcError> {
        let claims = self.renewed_claims_before(self.deadline(), tokens, time).await;
        claims.inspect_err(|error| self.count(error))
    }

    async fn renewed_claims_before(
        &self,
        deadline: Instant,
        tokens: &Tokens,
        time: StoreTime,
    ) -> Result<Option<Claims>, OidcError> {
        if !tokens.id_token_is_new {
            if !tokens.answers_userinfo {
                return Ok(None);
            }
            return self.userinfo_claims(deadline, tokens, time).await.map(Some);
        }
        let Verified { claims: mut document, algorithm, key_issuer } =
            self.verified_payload(&tokens.id_token, Typ::Jwt, deadline).await?;
        let expected = Expected {
            issuer: self.issuer.expected_of(&document)?,
            response_issuer: None,
            key_issuer: key_issuer.as_ref(),
            client_id: &self.settings.client_id,
            occasion: Occasion::Refresh(tokens),
            access_token: &tokens.access_token,
            algorithm,
            now: time.now(),
        };
        id_token::check(&document, &expected)?;
        if tokens.answers_userinfo {
            let further = self.userinfo_again(deadline, tokens, time).await?;
            userinfo::merge(&mut document, further);
        }
        Ok(Some(Claims { issuer: tokens.issuer.clone(), document: settled(document)? }))
    }

    /// What userinfo says about the person now, for whom there is no refresh token.
    ///
    /// # Errors
    ///
    /// [`OidcError::Refused`] when it answers 401 or 403: the access token is good no more; [`OidcError::Untrusted`] when a check
    /// fails; [`OidcError::Unavailable`] when an endpoint is of no use. No other.
    pub async fn ask_userinfo(
        &self,
        tokens: &Tokens,
        time: StoreTime,
    ) -> Result<Claims, OidcError> {
        let claims = self.userinfo_claims(self.deadline(), tokens, time).await;
        claims.inspect_err(|error| self.count(error))
    }

    /// What userinfo says, with the `iss` that it need not say.
    async fn userinfo_claims(
        &self,
        deadline: Instant,
        tokens: &Tokens,
        time: StoreTime,
    ) -> Result<Claims, OidcError> {
        let mut document = self.userinfo_again(deadline, tokens, time).await?;
        document.insert("iss".to_owned(), tokens.issuer.as_str().into());
        Ok(Claims { issuer: tokens.issuer.clone(), document: settled(document)? })
    }

    async fn userinfo_again(
        &self,
        deadline: Instant,
        tokens: &Tokens,
        time: StoreTime,
    ) -> Result<Map<String, Value>, OidcError> {
        let known = self.known(deadline).await?;
        let endpoint = known.snapshot.metadata.userinfo_endpoint.as_ref();
        let endpoint = endpoint.ok_or_else(|| Endpoint::Userinfo.of_no_use("it has none now"))?;
        let issuer = self.first_issuer(tokens)?;
        let question = Question { issuer, access_token: &tokens.access_token, now: time.now() };
        let told = userinfo::fetch(self, endpoint, &question, deadline).await?;
        let told = told.ok_or_else(|| OidcError::Refused {
            error: "userinfo refuses the access token".to_owned(),
        })?;
        userinfo::check_subject(&told, &tokens.sub)?;
        Ok(told)
    }

    /// The issuer that the first ID token named, unless it is none of ours by the configuration of now.
    fn first_issuer(&self, tokens: &Tokens) -> Result<&TokenIssuer, OidcError> {
        let mut ours = self.issuer.of_tokens().iter();
        ours.find(|issuer| issuer.text() == tokens.issuer)
            .ok_or_else(|| untrusted("iss", "an issuer that is configured", cut(&tokens.issuer)))
    }
}
