//! One provider, spoken to: how it is built, asked about itself, and reached, and whose signatures are its own.

use metrics::Counter;
use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::Url;

use super::client_auth::Credentials;
use super::http::{Endpoint, Http};
use super::introspection::Introspections;
use super::issuer::Issuer;
use super::jws::{Jws, Typ};
use super::keys::Verdict;
use super::par;
use super::snapshot::{self, Keeper, Known, Status};
use super::{
    Algorithm, AuthorizationRequest, BuildError, CHECKS, Discovered, OidcError, Settings, cut,
    untrusted,
};
use crate::ids::Digest;
use crate::telemetry::Metrics;

/// The scope that asks for a refresh token where none comes otherwise (OpenID Connect Core §11).
const OFFLINE_ACCESS: &str = "offline_access";

/// A token whose signature is the provider's. Of its claims none is checked yet.
pub(super) struct Verified {
    pub(super) claims: Map<String, Value>,
    pub(super) algorithm: Algorithm,
    /// Whose tokens the key signs, if it says so.
    pub(super) key_issuer: Option<Value>,
}

/// One provider, spoken to.
pub struct Provider {
    pub(super) settings: Settings,
    pub(super) issuer: Issuer,
    pub(super) credentials: Credentials,
    pub(super) http: Http,
    pub(super) introspections: Introspections,
    keeper: Keeper,
    failures: Vec<(&'static str, Counter)>,
}

impl Provider {
    /// A provider that nothing has been asked yet: [`Provider::keep_fresh`] must run beside everything else.
    ///
    /// # Errors
    ///
    /// [`BuildError`], a variant for each cause.
    pub fn new(settings: Settings, metrics: &Metrics) -> Result<Self, BuildError> {
        let issuer =
            Issuer::parse(&settings.issuer, &settings.tenants).map_err(BuildError::Issuer)?;
        let credentials = Credentials::new(&settings, &issuer)?;
        let http = Http::new(&issuer, &settings.name, metrics)?;
        metrics.describe(
            "vestibule_provider_failures_total",
            "Answers of a provider that were of no use, by cause.",
        );
        let endpoints = Endpoint::ALL.map(Endpoint::name);
        let failures = CHECKS.into_iter().chain(endpoints).chain(["refused"]).map(|cause| {
            let labels = [("provider", settings.name.as_str()), ("cause", cause)];
            (cause, metrics.counter("vestibule_provider_failures_total", &labels))
        });
        let failures = failures.collect();
        let (introspections, keeper) = (Introspections::default(), Keeper::default());
        Ok(Self { settings, issuer, credentials, http, introspections, keeper, failures })
    }

    /// How this provider is met.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether `issuer` is this provider's, byte by byte: the configured one or, where that has the placeholder, one of its
    /// tenants'.
    pub fn accepts_issuer(&self, issuer: &str) -> bool {
        self.issuer.accepts(issuer)
    }

    /// The provider's login page, asked for a code (OpenID Connect Core §3.1.2.1) under PKCE with S256, whatever its metadata
    /// says about PKCE. Waits for metadata when there is none yet. What is asked for is pushed to the provider where it takes that
    /// (RFC 9126), so that the URL says nothing of it; where that fails and is not required, it stands in the URL.
    ///
    /// # Errors
    ///
    /// [`OidcError::Unavailable`] of `discovery` or `keys`, and where pushing is required, of `par`; [`OidcError::Refused`] when it is
    /// required and what was pushed is refused. No other.
    pub async fn authorization_url(
        &self,
        request: AuthorizationRequest<'_>,
    ) -> Result<Url, OidcError> {
        let deadline = self.deadline();
        let known = self.keeper.known(deadline).await?;
        let metadata = &known.snapshot.metadata;
        let challenge = Digest::of(request.pkce_verifier.reveal().as_bytes()).to_string();
        let scope = self.scope();
        let client_id = ("client_id", self.settings.client_id.as_str());
        let mut parameters = vec![
            ("response_type", "code"),
            ("redirect_uri", request.redirect_uri.as_str()),
            ("scope", &scope),
            ("state", request.state),
            ("nonce", request.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        // Without it, a provider passes over offline_access (OpenID Connect Core §11).
        if scope.split(' ').any(|scope| scope == OFFLINE_ACCESS) {
            parameters.push(("prompt", "consent"));
        }
        let mut url = metadata.authorization_endpoint.clone();
        url.query_pairs_mut().extend_pairs([client_id]);
        match &metadata.par_endpoint {
            Some(endpoint) => {
                let pushed =
                    par::push(self, endpoint, &parameters, request.time.now(), deadline).await;
                match pushed.inspect_err(|error| self.count(error)) {
                    Ok(request_uri) => {
                        url.query_pairs_mut().append_pair("request_uri", &request_uri);
                    }
                    Err(error) if metadata.requires_par => return Err(error),
                    // It was worth a try.
                    Err(_) => _ = url.query_pairs_mut().extend_pairs(parameters),
                }
            }
            None => _ = url.query_pairs_mut().extend_pairs(parameters),
        }
        Ok(url)
    }

    /// What is asked for, `openid` first.
    fn scope(&self) -> String {
        let others = self.settings.scopes.iter().map(String::as_str);
        let others = others.filter(|scope| *scope != "openid");
        std::iter::once("openid").chain(others).collect::<Vec<_>>().join(" ")
    }

    /// Compares the `iss` of an authorization response with the issuer (RFC 9207 §2.4), before the code goes anywhere: where
    /// there are tenants, with those of all. [`Provider::redeem`] then compares it with the ID token's.
    ///
    /// # Errors
    ///
    /// [`OidcError::Untrusted`] of `response_issuer` when it is another, or is absent although the metadata announces it;
    /// [`OidcError::Unavailable`] when there is no metadata to tell. No other.
    pub async fn check_response_issuer(&self, iss: Option<&str>) -> Result<(), OidcError> {
        let checked = match iss {
            Some(iss) if self.accepts_issuer(iss) => Ok(()),
            Some(other) => Err(untrusted(
                "response_issuer",
                &self.settings.issuer,
                format!("{:?}", cut(other)),
            )),
            None if self
                .keeper
                .known(self.deadline())
                .await?
                .snapshot
                .metadata
                .sends_response_issuer =>
            {
                Err(untrusted("response_issuer", &self.settings.issuer, "none, although announced"))
            }
            None => Ok(()),
        };
        checked.inspect_err(|error| self.count(error))
    }

    /// What an authorization response with `error` in place of a code means (RFC 6749 §4.1.2.1); counted, and fit for a log.
    pub fn refusal(&self, raw_error: &str) -> OidcError {
        let refusal = OidcError::Refused { error: cut(raw_error) };
        self.count(&refusal);
        refusal
    }

    /// Metadata and keys, waited for until `deadline` when none are known.
    pub(super) async fn known(&self, deadline: Instant) -> Result<Known, OidcError> {
        self.keeper.known(deadline).await
    }

    /// Where people sign out of the provider (OpenID Connect RP-Initiated Logout §2.1). `None` when it has no such place, or is not
    /// known yet: a logout does not wait.
    pub fn end_session_endpoint(&self) -> Option<Url> {
        self.keeper.look().ok()?.snapshot.metadata.end_session_endpoint.clone()
    }

    /// What a token says whose signature one of the provider's keys verifies.
    pub(super) async fn verified_payload(
        &self,
        raw_token: &SecretString,
        typ: Typ,
        deadline: Instant,
    ) -> Result<Verified, OidcError> {
        let jws = Jws::read(raw_token, typ, &self.settings.algorithms)?;
        let key_issuer = self.verify(&jws, typ, deadline).await?;
        Ok(Verified { claims: jws.payload()?, algorithm: jws.algorithm, key_issuer })
    }

    /// Verifies a signature of the provider: whose tokens its key signs, if it says so. An unknown key asks the provider for its keys
    /// of now, once per interval.
    pub(super) async fn verify(
        &self,
        jws: &Jws<'_>,
        typ: Typ,
        deadline: Instant,
    ) -> Result<Option<Value>, OidcError> {
        let mut known = self.known(deadline).await?;
        loop {
            let refusal = match known.snapshot.keys.verify(jws) {
                Verdict::Genuine { key_issuer } => return Ok(key_issuer),
                Verdict::Forged => {
                    return Err(untrusted("signature", "one by the key that is named", "another"));
                }
                Verdict::NoKeyVerifies => {
                    untrusted("signature", "one by a key of the provider", "another")
                }
                Verdict::NoKeyFits => untrusted("key", "a key of the provider", jws.describe_key()),
            };
            known = self.keeper.newer_than(known, typ, deadline).await?.ok_or(refusal)?;
        }
    }

    /// Asks the provider for its metadata and keys now, changing nothing: for `check`.
    ///
    /// # Errors
    ///
    /// [`OidcError::Unavailable`] of `discovery` or `keys`. No other.
    pub async fn discover(&self) -> Result<Discovered, OidcError> {
        let (metadata, keys) = snapshot::fetch(&self.http, &self.issuer, self.deadline()).await?;
        let usable_keys = keys.usable_under(&self.settings.algorithms, &self.issuer);
        let mut warnings = Vec::new();
        if usable_keys == 0 {
            warnings.push(
                "none of its keys can verify a token under the configured algorithms".to_owned(),
            );
        }
        let mine = |name: &String| {
            self.settings.algorithms.iter().any(|algorithm| algorithm.name() == name)
        };
        // Announcing them is compulsory (OpenID Connect Discovery §3), but who does not has not said that it uses others.
        if !metadata.algorithms.is_empty() && !metadata.algorithms.iter().any(mine) {
            warnings.push(format!(
                "it signs with {}, none of them configured",
                cut(&metadata.algorithms.join(", "))
            ));
        }
        let method = self.settings.client_auth.name();
        if !metadata.client_auth_methods.iter().any(|offered| offered == method) {
            let offered = cut(&metadata.client_auth_methods.join(", "));
            warnings.push(format!(
                "client_auth is {method}, but its token endpoint announces {offered}"
            ));
        }
        // Scopes may be left out there (§3), but what this one brings is missed only later, when people have to sign in again.
        let offline = |scope: &String| scope == OFFLINE_ACCESS;
        if self.settings.scopes.iter().any(offline)
            && !metadata.scopes.is_empty()
            && !metadata.scopes.iter().any(offline)
        {
            warnings.push(format!("scopes has {OFFLINE_ACCESS}, which it does not announce"));
        }
        Ok(Discovered {
            authorization_endpoint: metadata.authorization_endpoint,
            token_endpoint: metadata.token_endpoint,
            par_endpoint: metadata.par_endpoint,
            userinfo_endpoint: metadata.userinfo_endpoint,
            jwks_uri: metadata.jwks_uri,
            end_session_endpoint: metadata.end_session_endpoint,
            revocation_endpoint: metadata.revocation_endpoint,
            introspection_endpoint: metadata.introspection_endpoint,
            sends_logout_tokens: metadata.sends_logout_tokens,
            algorithms: metadata.algorithms,
            usable_keys,
            warnings,
        })
    }

    /// Keeps metadata and keys fresh, for ever: every five minutes or so, at once when a token names an unknown key, and with
    /// growing pauses of up to a minute while the provider is away. The one task that asks for them; whoever needs them waits
    /// for its answer.
    pub async fn keep_fresh(&self) {
        self.keeper.keep_fresh(self).await;
    }

    /// What is known of the provider now.
    pub fn status(&self) -> Status {
        self.keeper.status()
    }

    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.settings.timeout
    }

    /// Counts a failure once: those of discovery and keys where they are fetched, the others where they end a login's step.
    pub(super) fn count(&self, error: &OidcError) {
        let cause = match error {
            OidcError::Unavailable { endpoint: "discovery" | "keys", .. } => return,
            OidcError::Unavailable { endpoint, .. } => endpoint,
            OidcError::Refused { .. } => "refused",
            OidcError::Untrusted { check, .. } => check,
        };
        self.count_cause(cause);
    }

    pub(super) fn count_cause(&self, cause: &str) {
        for (_, counter) in self.failures.iter().filter(|(name, _)| *name == cause) {
            counter.increment(1);
        }
    }
}
