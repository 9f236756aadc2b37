//! The demo's OpenID provider: the authorization code flow, as an issuer of its own that the service meets over HTTP only.
//!
//! Owns its people, its key, its codes and its access tokens, and every rule about them. Does not own routes and pages
//! (`http`). It is held to what a real provider does, so that what the demo shows is a real login: one client, whose secret is
//! checked; one exact `redirect_uri`; PKCE S256 always; codes and refresh tokens that work once. It keeps no session: each login
//! asks who.

mod http;
mod key;
mod parameters;
mod people;
mod refresh;
mod request;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::{constant_time, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

pub(super) use http::routes;
use key::Key;
pub(super) use key::random_text;
use parameters::Parameters;
use people::{PEOPLE, Person};
use refresh::Refresh;
use request::Request;

/// How long a code waits to be redeemed. RFC 6749 §4.1.2 allows ten minutes; a redirect takes a second.
const CODE_LIFE: Duration = Duration::from_mins(1);

/// How long an access token opens userinfo, and an ID token is good.
const TOKEN_LIFE: Duration = Duration::from_mins(5);

/// The one client that is registered.
#[derive(Debug)]
pub(super) struct Client {
    /// `client_id`
    pub id: String,
    /// Its secret, checked by `client_secret_basic`. Made of letters, digits, `-` and `_`.
    pub secret: SecretString,
    /// Its only callback, compared character by character (RFC 9700 §2.1).
    pub redirect_uri: Url,
    /// Where people may go once they have signed out, compared likewise.
    pub post_logout_redirect_uri: Url,
}

/// The provider. What it remembers is gone with it.
pub(super) struct Provider {
    issuer: String,
    client: Client,
    key: Key,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    codes: HashMap<String, Grant>,
    accesses: HashMap<String, Access>,
    refreshes: HashMap<String, Refresh>,
}

/// What a code stands for.
#[derive(Clone)]
struct Grant {
    person: &'static Person,
    request: Request,
    granted: Duration,
}

/// What an access token opens.
struct Access {
    person: &'static Person,
    scope: String,
    code: String,
    ends: Duration,
}

/// Why an authorization request leads to no login.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AuthorizeError {
    /// Its client or callback is not the registered one, so the answer must not be sent there (RFC 6749 §4.1.2.1).
    #[error("{0} is not the registered one")]
    Untrusted(&'static str),
    /// The client is told so at its callback.
    #[error("the answer goes to the client")]
    Refused {
        /// The callback with `error`, `state` and `iss`.
        location: Url,
    },
}

/// Why a token request is refused (RFC 6749 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    /// The client does not prove who it is.
    #[error("the client's credentials are missing or wrong")]
    InvalidClient,
    /// A parameter is missing or stands there twice.
    #[error("{0} is missing or repeated")]
    InvalidRequest(&'static str),
    /// The code is not good for these parameters, or no longer.
    #[error("the {0} does not fit")]
    InvalidGrant(&'static str),
    /// `grant_type` is another than `authorization_code` and `refresh_token`.
    #[error("only authorization_code and refresh_token are supported")]
    UnsupportedGrantType,
    /// The ID token cannot be signed.
    #[error("the ID token cannot be signed")]
    Server,
}

impl Provider {
    /// A provider with a fresh key.
    ///
    /// # Errors
    ///
    /// [`Unspecified`] when the system gives no random numbers. No other.
    pub(super) fn new(issuer: String, client: Client) -> Result<Self, Unspecified> {
        Ok(Self { issuer, client, key: Key::generate()?, memory: Mutex::default() })
    }

    /// The metadata (OpenID Connect Discovery §3, RFC 9207 §3).
    fn metadata(&self) -> Value {
        let issuer = &self.issuer;
        json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "userinfo_endpoint": format!("{issuer}/userinfo"),
            "jwks_uri": format!("{issuer}/jwks"),
            "revocation_endpoint": format!("{issuer}/revoke"),
            "end_session_endpoint": format!("{issuer}/end_session"),
            "scopes_supported": ["openid", "profile", "email"],
            "claims_supported": ["sub", "name", "preferred_username", "email", "email_verified", "groups"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "code_challenge_methods_supported": ["S256"],
            "request_uri_parameter_supported": false,
            "authorization_response_iss_parameter_supported": true,
        })
    }

    /// Checks an authorization request. Nothing is remembered of it.
    ///
    /// # Errors
    ///
    /// [`AuthorizeError::Untrusted`] when `client_id` or `redirect_uri` is missing, doubled or not the registered one;
    /// [`AuthorizeError::Refused`] for every other fault, and for `prompt=none`, since everybody is asked.
    fn authorize(&self, parameters: &Parameters) -> Result<Request, AuthorizeError> {
        for (name, registered) in [
            ("client_id", self.client.id.as_str()),
            ("redirect_uri", self.client.redirect_uri.as_str()),
        ] {
            if parameters.need(name) != Ok(registered) {
                return Err(AuthorizeError::Untrusted(name));
            }
        }
        let state = parameters.get("state").unwrap_or_default();
        Request::read(parameters).map_err(|error| AuthorizeError::Refused {
            location: self.answer(state, &[("error", error)]),
        })
    }

    /// Where the browser goes when the person chose `login`: to the callback, with a code, or with `access_denied` for somebody
    /// whose e-mail is not verified. `None` when nobody is called that.
    fn sign_in(&self, request: Request, login: &str, now: Duration) -> Option<Url> {
        let person = PEOPLE.iter().find(|person| person.login == login)?;
        let state = request.state.clone();
        if !person.email_verified {
            let description = "The e-mail address of this account is not verified.";
            let refusal = [("error", "access_denied"), ("error_description", description)];
            return Some(self.answer(state.as_deref(), &refusal));
        }
        // Without random numbers there is no code worth giving.
        let Ok(code) = random_text() else {
            return Some(self.answer(state.as_deref(), &[("error", "server_error")]));
        };
        let location = self.answer(state.as_deref(), &[("code", &code)]);
        let mut memory = self.memory();
        memory.codes.retain(|_, grant| now < grant.granted + CODE_LIFE);
        memory.codes.insert(code, Grant { person, request, granted: now });
        Some(location)
    }

    /// The callback with an answer, and with what every answer carries: `state` (RFC 6749 §4.1.2) and `iss` (RFC 9207 §2).
    fn answer(&self, state: Option<&str>, pairs: &[(&str, &str)]) -> Url {
        let mut location = self.client.redirect_uri.clone();
        location
            .query_pairs_mut()
            .extend_pairs(pairs)
            .extend_pairs(state.map(|state| ("state", state)))
            .append_pair("iss", &self.issuer);
        location
    }

    /// Where somebody goes who has signed out (OpenID Connect RP-Initiated Logout §3), if they came from anywhere. Nobody has a
    /// session here, so that there is nothing to end that a hint could name.
    ///
    /// # Errors
    ///
    /// The parameter that is doubled, or not the registered one.
    fn end_session(&self, parameters: &Parameters) -> Result<Option<Url>, &'static str> {
        if parameters.get("client_id")?.is_some_and(|id| id != self.client.id) {
            return Err("client_id");
        }
        let Some(back) = parameters.get("post_logout_redirect_uri")? else { return Ok(None) };
        let mut location = self.client.post_logout_redirect_uri.clone();
        if back != location.as_str() {
            return Err("post_logout_redirect_uri");
        }
        if let Some(state) = parameters.get("state")? {
            location.query_pairs_mut().append_pair("state", state);
        }
        Ok(Some(location))
    }

    /// Redeems a code or a refresh token for an access token, an ID token and another refresh token, as the body of the answer
    /// (OpenID Connect Core §3.1.3.3, §12.2).
    ///
    /// # Errors
    ///
    /// [`TokenError`]; [`TokenError::InvalidGrant`] names what does not fit: `code` when it was never given, is too old or was
    /// redeemed before (then what came of it ends too, RFC 6749 §4.1.2), `redirect_uri`, `code_verifier`, or `refresh_token`.
    fn redeem(
        &self,
        authorization: Option<&str>,
        form: &Parameters,
        now: Duration,
    ) -> Result<Value, TokenError> {
        self.check_client(authorization)?;
        match form.need("grant_type").map_err(TokenError::InvalidRequest)? {
            "authorization_code" => self.redeem_code(form, now),
            "refresh_token" => self.refresh(form, now),
            _ => Err(TokenError::UnsupportedGrantType),
        }
    }

    fn redeem_code(&self, form: &Parameters, now: Duration) -> Result<Value, TokenError> {
        let need = |name| form.need(name).map_err(TokenError::InvalidRequest);
        let (code, redirect_uri, verifier) =
            (need("code")?, need("redirect_uri")?, need("code_verifier")?);
        // Taken before anything is compared, so that a second try finds nothing to guess at.
        let Some(grant) = self.take_code(code) else {
            return Err(TokenError::InvalidGrant("code"));
        };
        if now >= grant.granted + CODE_LIFE {
            return Err(TokenError::InvalidGrant("code"));
        }
        if redirect_uri != self.client.redirect_uri.as_str() {
            return Err(TokenError::InvalidGrant("redirect_uri"));
        }
        // RFC 7636 §4.6
        let challenge =
            URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
        if challenge != grant.request.code_challenge {
            return Err(TokenError::InvalidGrant("code_verifier"));
        }
        self.issue(code, &grant, now).map_err(|_| TokenError::Server)
    }

    fn issue(&self, code: &str, grant: &Grant, now: Duration) -> Result<Value, IssueError> {
        let access_token = random_text()?;
        let id_token = self.key.sign(&self.id_claims(grant, &access_token, now))?;
        let refresh_token = self.give_refresh(code, grant, now)?;
        let Grant { person, request: Request { scope, .. }, .. } = grant.clone();
        let body = json!({
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": TOKEN_LIFE.as_secs(),
            "scope": scope,
            "id_token": id_token,
            "refresh_token": refresh_token,
        });
        let mut memory = self.memory();
        memory.accesses.retain(|_, access| now < access.ends);
        memory.accesses.insert(
            access_token,
            Access { person, scope, code: code.to_owned(), ends: now + TOKEN_LIFE },
        );
        Ok(body)
    }

    /// The ID token's payload: who, for whom, when; what else there is to know is userinfo's (OpenID Connect Core §5.4).
    fn id_claims(&self, grant: &Grant, access_token: &str, now: Duration) -> Value {
        let hash = digest::digest(&digest::SHA256, access_token.as_bytes());
        let mut claims = json!({
            "iss": self.issuer,
            "sub": grant.person.subject,
            "aud": self.client.id,
            "exp": (now + TOKEN_LIFE).as_secs(),
            "iat": now.as_secs(),
            "auth_time": grant.granted.as_secs(),
            "at_hash": URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]),
        });
        if let Some(nonce) = &grant.request.nonce {
            claims["nonce"] = json!(nonce);
        }
        claims
    }

    /// Claims about whoever `authorization` (a whole header value, `Bearer …`) speaks for, within its scope (OpenID Connect
    /// Core §5.3); `None` when it is no access token of ours, or no longer.
    fn userinfo(&self, authorization: &str, now: Duration) -> Option<Value> {
        let (scheme, token) = authorization.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let memory = self.memory();
        let Access { person, scope, .. } =
            memory.accesses.get(token).filter(|access| now < access.ends)?;
        let mut claims = json!({ "sub": person.subject });
        if scope.split(' ').any(|one| one == "profile") {
            claims["name"] = json!(person.name);
            claims["preferred_username"] = json!(person.login);
            claims["groups"] = json!(person.groups);
        }
        if scope.split(' ').any(|one| one == "email") {
            claims["email"] = json!(person.email);
            claims["email_verified"] = json!(person.email_verified);
        }
        Some(claims)
    }

    /// Takes a code for good. When there is none, what came of it before ends.
    fn take_code(&self, code: &str) -> Option<Grant> {
        let mut memory = self.memory();
        let grant = memory.codes.remove(code);
        if grant.is_none() {
            memory.end(code);
        }
        grant
    }

    fn check_client(&self, authorization: Option<&str>) -> Result<(), TokenError> {
        match authorization {
            Some(authorization) if self.is_client(authorization) => Ok(()),
            _ => Err(TokenError::InvalidClient),
        }
    }

    /// Whether `authorization` (a whole header value) is the client's `Basic` (RFC 6749 §2.3.1). Its id and secret read the
    /// same form-encoded or not.
    #[expect(clippy::disallowed_methods, reason = "a secret can only be compared when it is seen")]
    fn is_client(&self, authorization: &str) -> bool {
        let Some((scheme, given)) = authorization.split_once(' ') else { return false };
        let right =
            STANDARD.encode(format!("{}:{}", self.client.id, self.client.secret.expose_secret()));
        scheme.eq_ignore_ascii_case("basic")
            && constant_time::verify_slices_are_equal(given.as_bytes(), right.as_bytes()).is_ok()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Each change is one insertion or removal: what a panic leaves behind is whole.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, thiserror::Error)]
enum IssueError {
    #[error("no random numbers")]
    Random(#[from] Unspecified),
    #[error(transparent)]
    Sign(#[from] jsonwebtoken::errors::Error),
}

#[cfg(test)]
mod tests;
