//! An OpenID provider in this process that signs real ID tokens, tells the truth unless told to differ in one way, and counts
//! what it is asked.
//!
//! It checks what it is sent as a provider must (client authentication, redirect URI, PKCE, a code once, a refresh token once), and
//! logs a person in without a page: `authorize` answers at once with a code, for `alice` or for whoever `login_hint` names. A
//! refreshed ID token is the first one with new dates. What differs at a refresh only is told after the login.

mod grants;
mod introspection;
mod keys;
mod logout;
mod server;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;
use url::Url;

use grants::Grant;
pub use keys::{Signer, THUMBPRINT, payload, public_bytes};
pub use logout::{LOGOUT_EVENT, SignedOut};
pub use server::Reply;

/// Tenants of a provider that has several.
pub const TENANTS: [&str; 3] = [
    "aaaaaaaa-0000-4000-8000-000000000001",
    "bbbbbbbb-0000-4000-8000-000000000002",
    "cccccccc-0000-4000-8000-000000000003",
];

/// One way in which a provider differs from an honest one with good manners. `None` leaves a member out.
#[derive(Clone, Debug)]
pub enum Twist {
    /// A claim of the ID token.
    Claim(&'static str, Option<Value>),
    /// A parameter of the ID token's header.
    Header(&'static str, Option<Value>),
    /// What the ID token is signed with.
    Signer(Signer),
    /// The ID token has its claims changed after it was signed.
    ChangedAfterwards(&'static str, Value),
    /// This text stands where the ID token should.
    IdToken(String),
    /// A member of the metadata.
    Metadata(&'static str, Option<Value>),
    /// A member of the metadata as an authorization server, of which there is none otherwise.
    OauthMetadata(&'static str, Option<Value>),
    /// The keys that are published.
    Keys(Vec<Value>),
    /// A member of the token endpoint's answer.
    TokenMember(&'static str, Option<Value>),
    /// A claim of userinfo.
    Userinfo(&'static str, Option<Value>),
    /// Userinfo is a JWT, signed with this.
    SignedUserinfo(Signer),
    /// A parameter of the authorization response.
    Response(&'static str, Option<String>),
    /// An endpoint's whole answer.
    Answer(&'static str, Reply),
    /// An endpoint sends a byte a second.
    Drip(&'static str),
}

/// How the client has to authenticate at the token endpoint.
#[derive(Clone, Debug)]
pub enum Registered {
    /// `client_secret_basic` with this secret.
    Basic(&'static str),
    /// `client_secret_post` with this secret.
    Post(&'static str),
    /// `private_key_jwt` with the key of this signer.
    PrivateKeyJwt(Signer),
    /// `none`.
    Public,
}

/// A running provider; gone when dropped.
pub struct FakeProvider {
    provider: Arc<Provider>,
    task: JoinHandle<()>,
}

struct Provider {
    origin: String,
    /// The path of the issuer, with or without a slash at its end; with `{tenantid}` it has several tenants, as Entra ID has.
    path: String,
    state: Mutex<State>,
}

struct State {
    twists: Vec<Twist>,
    registered: Registered,
    signer: Signer,
    published: Vec<Signer>,
    tenant: &'static str,
    token_delay: Duration,
    /// Whether a refresh gives a new refresh token.
    rotates: bool,
    /// Whether ID tokens have a `sid`.
    names_sessions: bool,
    last_sid: Option<String>,
    /// People whose accounts are switched off.
    disabled: HashSet<String>,
    /// Further claims about people.
    people: HashMap<String, Map<String, Value>>,
    requests: HashMap<&'static str, usize>,
    codes: HashMap<String, Login>,
    /// Parameters of pushed requests, by `request_uri`.
    pushed: HashMap<String, HashMap<String, String>>,
    grants: Vec<Grant>,
    /// Places of grants by access token.
    access_tokens: HashMap<String, usize>,
    /// What was revoked.
    revoked: Vec<String>,
    signed_out: Vec<SignedOut>,
    introspection: introspection::Introspection,
    secrets: Vec<String>,
}

/// What was asked for, and who has come.
struct Login {
    redirect_uri: String,
    nonce: Option<String>,
    challenge: String,
    subject: String,
    sid: Option<String>,
}

impl FakeProvider {
    /// A provider on a free port of loopback whose issuer is its origin.
    pub async fn start() -> Self {
        Self::start_at("").await
    }

    /// A provider with several tenants, as Entra ID is one, which names no issuer in the authorization response: people come
    /// from the first of [`TENANTS`] until told otherwise.
    pub async fn start_with_tenants() -> Self {
        Self::start_at("/{tenantid}/v2.0").await
    }

    /// A provider whose issuer has this path, with or without a slash at its end.
    pub async fn start_at(path: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let published = Signer::EACH.to_vec();
        let state = State {
            twists: Vec::new(),
            registered: Registered::Basic("canary-client-secret-0001"),
            signer: Signer::Es256,
            published,
            tenant: TENANTS[0],
            token_delay: Duration::ZERO,
            rotates: true,
            names_sessions: false,
            last_sid: None,
            disabled: HashSet::new(),
            people: HashMap::new(),
            requests: HashMap::new(),
            codes: HashMap::new(),
            pushed: HashMap::new(),
            grants: Vec::new(),
            access_tokens: HashMap::new(),
            revoked: Vec::new(),
            signed_out: Vec::new(),
            introspection: introspection::Introspection::default(),
            secrets: Vec::new(),
        };
        let provider =
            Arc::new(Provider { origin, path: path.to_owned(), state: Mutex::new(state) });
        let router = server::router(provider.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { provider, task }
    }

    /// Its issuer, with the placeholder if it has tenants.
    pub fn issuer(&self) -> String {
        self.provider.issuer()
    }

    /// The issuer that the tokens of a tenant name.
    pub fn issuer_of(&self, tenant: &str) -> String {
        self.provider.issuer().replace("{tenantid}", tenant)
    }

    /// An endpoint that it does not have, where claims would be fetched from.
    pub fn elsewhere(&self) -> String {
        format!("{}/elsewhere", self.provider.origin)
    }

    /// From now on, and in this one way, or these, it differs; in no way for an empty list.
    pub fn twist(&self, twists: impl IntoIterator<Item = Twist>) {
        self.state().twists = twists.into_iter().collect();
    }

    /// From now on the client has to authenticate so.
    pub fn register(&self, registered: Registered) {
        self.state().registered = registered;
    }

    /// From now on it signs with this key, and publishes no other.
    pub fn rotate_to(&self, signer: Signer) {
        let mut state = self.state();
        state.published = vec![signer.clone()];
        state.signer = signer;
    }

    /// From now on people come from this tenant.
    pub fn people_come_from(&self, tenant: &'static str) {
        self.state().tenant = tenant;
    }

    /// From now on a refresh token stays good, and a refresh gives no other.
    pub fn keep_refresh_tokens(&self) {
        self.state().rotates = false;
    }

    /// From now on ID tokens name the provider's session, a new one each login.
    pub fn name_sessions(&self) {
        self.state().names_sessions = true;
    }

    /// The session of the last login.
    pub fn last_sid(&self) -> String {
        self.state().last_sid.clone().unwrap()
    }

    /// From now on ID tokens and userinfo say this about a person, besides or instead of what they say otherwise.
    pub fn describe(&self, who: &str, claims: Value) {
        let Value::Object(claims) = claims else { panic!("{claims} is no object") };
        self.state().people.insert(who.to_owned(), claims);
    }

    /// From now on a person's refresh and access tokens are good for nothing.
    pub fn disable(&self, who: &str) {
        self.state().disabled.insert(who.to_owned());
    }

    /// From now on they are good again.
    pub fn enable(&self, who: &str) {
        self.state().disabled.remove(who);
    }

    /// From now on the token endpoint takes this long to answer; whatever it does, it has done by then.
    pub fn delay_token_endpoint(&self, delay: Duration) {
        self.state().token_delay = delay;
    }

    /// A token that it gave to another client, for this audience.
    pub fn access_token(&self, who: &str, audience: &str) -> String {
        let login = Login {
            redirect_uri: String::new(),
            nonce: None,
            challenge: String::new(),
            subject: who.to_owned(),
            sid: None,
        };
        self.provider.id_token(&self.state(), &login, "", audience)
    }

    /// How often an endpoint was asked: `discovery`, `oauth_metadata`, `keys`, `par`, `authorize`, `token`, `userinfo`, `revocation`,
    /// `end_session`, or `elsewhere` for whatever it does not have. Of `token`, `refresh` counts those with a refresh token, and
    /// `replay` those among them whose refresh token was used before.
    pub fn requests(&self, endpoint: &str) -> usize {
        self.state().requests.get(endpoint).copied().unwrap_or_default()
    }

    /// The tokens that it was asked to revoke.
    pub fn revoked(&self) -> Vec<String> {
        self.state().revoked.clone()
    }

    /// Every secret that it has given or got: states, nonces, codes, PKCE verifiers, tokens, assertions.
    pub fn secrets(&self) -> Vec<String> {
        self.state().secrets.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.provider.state()
    }
}

impl Drop for FakeProvider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Provider {
    fn issuer(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }

    /// The issuer that its tokens name.
    fn token_issuer(&self, state: &State) -> String {
        self.issuer().replace("{tenantid}", state.tenant)
    }

    fn has_tenants(&self) -> bool {
        self.path.contains("{tenantid}")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn metadata(&self) -> Value {
        let origin = &self.origin;
        let mut metadata = json!({
            "issuer": self.issuer(),
            "authorization_endpoint": format!("{origin}/authorize?tenant=7"),
            "token_endpoint": format!("{origin}/token"),
            "userinfo_endpoint": format!("{origin}/userinfo"),
            "jwks_uri": format!("{origin}/keys"),
            "revocation_endpoint": format!("{origin}/revoke"),
            "end_session_endpoint": format!("{origin}/end_session?tenant=7"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256", "RS256", "none", "HS256"],
            "authorization_response_iss_parameter_supported": true,
            "op_tos_uri": "",
        });
        if self.has_tenants() {
            set(&mut metadata, "authorization_response_iss_parameter_supported", None);
        }
        set(
            &mut metadata,
            "introspection_endpoint",
            self.introspection_endpoint().map(Value::from),
        );
        for twist in &self.state().twists {
            if let Twist::Metadata(name, value) = twist {
                set(&mut metadata, name, value.clone());
            }
        }
        metadata
    }

    /// The published keys, among others that are for something else.
    fn keys(&self) -> Value {
        let state = self.state();
        let twisted = state.twists.iter().find_map(|twist| match twist {
            Twist::Keys(keys) => Some(keys.clone()),
            _ => None,
        });
        json!({ "keys": twisted.unwrap_or_else(|| {
            let others = [
                json!({ "kty": "RSA", "use": "enc", "kid": "es256", "alg": "RSA-OAEP", "n": "AQAB", "e": "AQAB" }),
                json!({ "kty": "AKP", "kid": "new", "alg": "ML-DSA-44", "pub": "AAAA" }),
            ];
            let published = state.published.iter().map(|signer| self.jwk(signer));
            others.into_iter().chain(published).collect()
        }) })
    }

    /// A key, which says whose tokens it signs where there are several tenants.
    fn jwk(&self, signer: &Signer) -> Value {
        let mut jwk = signer.jwk();
        if self.has_tenants() {
            jwk["issuer"] = self.issuer().into();
        }
        jwk
    }

    /// Keeps a pushed request (RFC 9126 §2); the `request_uri` that stands for it.
    fn push(
        &self,
        form: HashMap<String, String>,
        authorization: Option<&str>,
    ) -> Result<String, &'static str> {
        let mut state = self.state();
        let issuer = self.issuer();
        let reader = keys::Reader::Issuer(&issuer);
        if form.get("client_id").is_none_or(|id| id != "vestibule")
            || !keys::is_client(&state.registered, &form, authorization, &reader)
        {
            return Err("invalid_client");
        }
        let request_uri = keys::random("urn:ietf:params:oauth:request_uri:");
        state.pushed.insert(request_uri.clone(), form);
        Ok(request_uri)
    }

    /// A code for whoever asks, as parameters of the answer. Of a request that was pushed, only what was pushed counts, once.
    fn authorize(&self, request: &HashMap<String, String>) -> Result<Url, &'static str> {
        let mut pushed = None;
        if let Some(request_uri) = request.get("request_uri") {
            let mut form = self.state().pushed.remove(request_uri).ok_or("request_uri")?;
            for name in ["tenant", "client_id", "login_hint"] {
                if let Some(value) = request.get(name) {
                    form.insert(name.to_owned(), value.clone());
                }
            }
            pushed = Some(form);
        }
        let request = pushed.as_ref().unwrap_or(request);
        let need = |name: &'static str| request.get(name).cloned().ok_or(name);
        let mut redirect_uri = Url::parse(&need("redirect_uri")?).map_err(|_| "redirect_uri")?;
        let is = |name, value: &str| {
            if request.get(name).is_some_and(|v| v == value) { Ok(()) } else { Err(name) }
        };
        is("tenant", "7")?;
        is("response_type", "code")?;
        is("client_id", "vestibule")?;
        is("code_challenge_method", "S256")?;
        if !need("scope")?.split(' ').any(|scope| scope == "openid") {
            return Err("scope");
        }
        let state_parameter = need("state")?;
        let sid = keys::random("sid");
        let login = Login {
            redirect_uri: redirect_uri.to_string(),
            nonce: request.get("nonce").cloned(),
            challenge: need("code_challenge")?,
            subject: request.get("login_hint").map_or("alice", String::as_str).to_owned(),
            sid: Some(sid.clone()),
        };

        let mut state = self.state();
        let code = keys::random("canary-code");
        state
            .secrets
            .extend(login.nonce.clone().into_iter().chain([code.clone(), state_parameter.clone()]));
        state.codes.insert(code.clone(), login);
        state.last_sid = Some(sid);
        let mut answer = vec![
            ("code", Some(code)),
            ("state", Some(state_parameter)),
            ("iss", (!self.has_tenants()).then(|| self.issuer())),
        ];
        for twist in &state.twists {
            if let Twist::Response(name, value) = twist {
                answer.retain(|(known, _)| known != name);
                answer.push((name, value.clone()));
            }
        }
        let answer = answer.into_iter().filter_map(|(name, value)| Some((name, value?)));
        redirect_uri.query_pairs_mut().extend_pairs(answer);
        Ok(redirect_uri)
    }

    fn id_token(&self, state: &State, login: &Login, access_token: &str, audience: &str) -> String {
        let now = keys::now();
        let mut claims = json!({
            "iss": self.token_issuer(state),
            "aud": audience,
            "sub": login.subject,
            "iat": now,
            "exp": now + 300,
            "auth_time": 0.5,
            "at_hash": signer_of(&state.signer, &state.twists).half_hash(access_token),
        });
        if let Some(nonce) = &login.nonce {
            claims["nonce"] = nonce.clone().into();
        }
        if state.names_sessions {
            set(&mut claims, "sid", login.sid.clone().map(Into::into));
        }
        if self.has_tenants() {
            claims["tid"] = state.tenant.into();
            claims["oid"] = format!("the object of {}", login.subject).into();
        }
        state.describe(&login.subject, &mut claims);
        sign(&state.signer, &mut claims, &state.twists)
    }

    /// Claims about whoever the access token speaks for, and whether they are a JWT.
    fn userinfo(&self, authorization: Option<&str>) -> Option<Result<Value, String>> {
        let state = self.state();
        let token = authorization?.strip_prefix("Bearer ")?;
        let of_login = || state.login_of(token).map(|login| &login.subject);
        let subject = state.introspection.subject_of(token).or_else(of_login)?;
        let mut claims = json!({
            "sub": subject,
            "name": capitalised(subject),
            "email": format!("{subject}@example.com"),
            "email_verified": "true",
            "address": "1 Example Street",
            "iss": self.token_issuer(&state),
            "aud": ["vestibule"],
        });
        state.describe(subject, &mut claims);
        let mut signer = None;
        for twist in &state.twists {
            match twist {
                Twist::Userinfo(name, value) => set(&mut claims, name, value.clone()),
                Twist::SignedUserinfo(with) => signer = Some(with),
                _ => {}
            }
        }
        Some(
            signer.map_or(Ok(claims.clone()), |signer| Err(signer.sign(&signer.header(), &claims))),
        )
    }
}

impl State {
    fn count(&mut self, what: &'static str) {
        *self.requests.entry(what).or_default() += 1;
    }

    /// Adds what else there is to say about a person.
    fn describe(&self, who: &str, claims: &mut Value) {
        for (name, value) in self.people.get(who).into_iter().flatten() {
            claims[name] = value.clone();
        }
    }
}

/// What a JWT is signed with that differs in these ways.
fn signer_of<'a>(signer: &'a Signer, twists: &'a [Twist]) -> &'a Signer {
    twists.iter().fold(signer, |signer, twist| match twist {
        Twist::Signer(other) => other,
        _ => signer,
    })
}

/// A JWT with these claims that differs in these ways.
fn sign(signer: &Signer, claims: &mut Value, twists: &[Twist]) -> String {
    let signer = signer_of(signer, twists);
    let mut header = signer.header();
    for twist in twists {
        match twist {
            Twist::Claim(name, value) => set(claims, name, value.clone()),
            Twist::Header(name, value) => set(&mut header, name, value.clone()),
            _ => {}
        }
    }
    let mut token = signer.sign(&header, claims);
    for twist in twists {
        if let Twist::ChangedAfterwards(name, value) = twist {
            set(claims, name, Some(value.clone()));
            token = keys::with_claims(&token, claims);
        }
    }
    token
}

fn capitalised(word: &str) -> String {
    let mut rest = word.chars();
    rest.next().into_iter().flat_map(char::to_uppercase).chain(rest).collect()
}

fn set(object: &mut Value, name: &str, value: Option<Value>) {
    let members: &mut Map<_, _> = object.as_object_mut().unwrap();
    match value {
        Some(value) => drop(members.insert(name.to_owned(), value)),
        None => drop(members.remove(name)),
    }
}
