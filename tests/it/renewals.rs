//! What is asked of a provider after the login: refreshed tokens are of the same login or say nothing, userinfo stands in for them,
//! and a refresh token is sent once and taken back in the end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use url::Url;
use vestibule::inside::oidc::{
    Algorithm, AuthorizationRequest, Claims, ClientAuth, OidcError, Provider, Redeemed, Redemption,
    Settings, Tokens,
};
use vestibule::inside::{Metrics, ProviderName, Secret256, StoreTime, Timestamp};

use crate::lies::claim;
use crate::support::fake_provider::{FakeProvider, Reply, Signer, Twist};
use crate::support::visitor::Visitor;

const CALLBACK: &str = "http://127.0.0.1:9/callback/fake";

/// A provider, and how we speak to it.
pub struct Meeting {
    pub fake: FakeProvider,
    pub provider: Arc<Provider>,
    keeping_fresh: JoinHandle<()>,
}

impl Drop for Meeting {
    fn drop(&mut self) {
        self.keeping_fresh.abort();
    }
}

impl Meeting {
    pub async fn new() -> Self {
        Self::with(FakeProvider::start().await)
    }

    pub fn with(fake: FakeProvider) -> Self {
        Self::of_tenants(fake, &[])
    }

    pub fn of_tenants(fake: FakeProvider, tenants: &[&str]) -> Self {
        let settings = Settings {
            name: ProviderName::parse("fake").unwrap(),
            title: "Fake".to_owned(),
            issuer: fake.issuer(),
            tenants: tenants.iter().map(|&tenant| tenant.to_owned()).collect(),
            client_id: "vestibule".to_owned(),
            client_auth: ClientAuth::SecretBasic("canary-client-secret-0001".into()),
            scopes: Vec::new(),
            subject_claim: "sub".to_owned(),
            algorithms: Algorithm::ALL.to_vec(),
            timeout: Duration::from_secs(5),
        };
        let provider = Arc::new(Provider::new(settings, &Metrics::new().unwrap()).unwrap());
        let keeper = provider.clone();
        let keeping_fresh = tokio::spawn(async move { keeper.keep_fresh().await });
        Self { fake, provider, keeping_fresh }
    }

    pub async fn sign_in(&self) -> Redeemed {
        let (verifier, redirect_uri) = (Secret256::random(), Url::parse(CALLBACK).unwrap());
        let request = AuthorizationRequest {
            redirect_uri: &redirect_uri,
            state: "state",
            nonce: "canary-nonce",
            pkce_verifier: &verifier,
            time: now(),
        };
        let away = self.provider.authorization_url(request).await.unwrap();
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let answer = browser.no_proxy().build().unwrap().get(away).send().await.unwrap();
        let callback = Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
        let code = callback.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
        let redemption = Redemption {
            code: &code.into(),
            redirect_uri: &redirect_uri,
            nonce: "canary-nonce",
            pkce_verifier: &verifier,
            response_issuer: None,
            time: now(),
        };
        self.provider.redeem(redemption).await.unwrap()
    }

    /// Refreshes, and asks what the new tokens say.
    async fn renew(&self, tokens: &Tokens) -> Result<Option<Claims>, OidcError> {
        let renewed = self.provider.refresh(tokens, now()).await.unwrap();
        self.provider.renewed_claims(&renewed, now()).await
    }

    /// Which check refuses tokens that are refreshed by a provider that differs so.
    async fn refusal(&self, twist: Twist) -> &'static str {
        let tokens = self.sign_in().await.tokens;
        self.fake.twist([twist]);
        let renewed = self.renew(&tokens).await;
        self.fake.twist([]);
        check_of(&renewed.unwrap_err())
    }
}

/// The store's clock, for which this machine's will do.
pub fn now() -> StoreTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    StoreTime::heard_now(Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap()))
}

pub fn check_of(error: &OidcError) -> &'static str {
    match error {
        OidcError::Untrusted { check, .. } => check,
        other => panic!("{other}"),
    }
}

fn refused_with(result: Result<impl Sized, OidcError>) -> String {
    match result {
        Err(OidcError::Refused { error }) => error,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it is granted"),
    }
}

fn without(member: &'static str) -> Twist {
    Twist::TokenMember(member, None)
}

#[tokio::test]
async fn renewed_claims_stand_in_place_of_the_old_ones() {
    let meeting = Meeting::new().await;
    meeting.fake.describe("alice", json!({ "groups": ["staff"], "title": "Head" }));
    let redeemed = meeting.sign_in().await;
    assert_eq!(redeemed.claims.document["groups"], json!(["staff"]));

    meeting.fake.describe("alice", json!({ "groups": [] }));
    let claims = meeting.renew(&redeemed.tokens).await.unwrap().unwrap();

    assert_eq!(claims.issuer, redeemed.claims.issuer);
    assert_eq!(claims.document["sub"], "alice");
    assert_eq!(claims.document["groups"], json!([]));
    assert_eq!(claims.document["name"], "Alice", "from userinfo");
    for gone in ["title", "nonce", "at_hash"] {
        assert!(!claims.document.contains_key(gone), "{gone}");
    }
}

#[tokio::test]
async fn a_refresh_token_is_sent_once_and_the_next_one_is_kept() {
    let meeting = Meeting::new().await;
    let first = meeting.sign_in().await.tokens;

    let second = meeting.provider.refresh(&first, now()).await.unwrap();
    let third = meeting.provider.refresh(&second, now()).await.unwrap();
    let kept = Tokens::read(&third.to_text()).unwrap();
    let fourth = meeting.provider.refresh(&kept, now()).await.unwrap();
    assert_eq!((meeting.fake.requests("refresh"), meeting.fake.requests("replay")), (3, 0));
    let again = meeting.provider.refresh(&second, now()).await;

    assert_eq!(refused_with(again), "invalid_grant");
    let after_a_replay = meeting.provider.refresh(&fourth, now()).await;
    assert_eq!(refused_with(after_a_replay), "invalid_grant");
    assert_eq!(meeting.fake.requests("refresh"), 5, "nothing is tried twice");
}

#[tokio::test]
async fn a_refresh_token_that_is_not_replaced_stays_good() {
    let meeting = Meeting::new().await;
    meeting.fake.keep_refresh_tokens();
    let mut tokens = meeting.sign_in().await.tokens;

    for _ in 0..3 {
        tokens = meeting.provider.refresh(&tokens, now()).await.unwrap();
    }

    assert!(tokens.can_refresh());
    assert!(meeting.provider.renewed_claims(&tokens, now()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_refreshed_id_token_is_of_the_same_login_or_refused() {
    let meeting = Meeting::new().await;
    let issuer = |path: &str| claim("iss", format!("{}{path}", meeting.fake.issuer()).into());
    for (twist, check) in [
        (claim("sub", "mallory".into()), "sub"),
        (issuer("/"), "iss"),
        (claim("aud", "another".into()), "aud"),
        (claim("nonce", "another".into()), "nonce"),
        (claim("auth_time", json!(-1)), "auth_time"),
        (claim("exp", json!(1)), "exp"),
        (claim("at_hash", "bad".into()), "at_hash"),
        (claim("events", json!({})), "events"),
        (Twist::Signer(Signer::Stranger(Box::new(Signer::Es256))), "signature"),
        (Twist::Signer(Signer::Nothing("none")), "algorithm"),
        (Twist::ChangedAfterwards("groups", json!(["admins"])), "signature"),
        (Twist::IdToken("no token".to_owned()), "format"),
        (Twist::TokenMember("id_token", Some(json!(7))), "format"),
        (Twist::Userinfo("sub", Some("mallory".into())), "userinfo_sub"),
    ] {
        let what = format!("{twist:?}");
        assert_eq!(meeting.refusal(twist).await, check, "{what}");
    }
    for twist in
        [claim("nonce", json!(null)), Twist::Claim("nonce", None), claim("auth_time", 7.into())]
    {
        let tokens = meeting.sign_in().await.tokens;
        meeting.fake.twist([twist.clone()]);
        assert!(meeting.renew(&tokens).await.unwrap().is_some(), "{twist:?}");
        meeting.fake.twist([]);
    }
}

#[tokio::test]
async fn a_refused_id_token_loses_no_refresh_token() {
    let meeting = Meeting::new().await;
    let tokens = meeting.sign_in().await.tokens;
    meeting.fake.twist([claim("sub", "mallory".into())]);
    let renewed = meeting.provider.refresh(&tokens, now()).await.unwrap();
    assert!(meeting.provider.renewed_claims(&renewed, now()).await.is_err());
    meeting.fake.twist([]);

    let kept = Tokens::read(&renewed.to_text()).unwrap();

    assert!(meeting.renew(&kept).await.unwrap().is_some());
}

#[tokio::test]
async fn without_a_new_id_token_userinfo_speaks_alone_and_without_it_nobody() {
    let meeting = Meeting::new().await;
    let tokens = meeting.sign_in().await.tokens;
    meeting.fake.twist([without("id_token")]);
    meeting.fake.describe("alice", json!({ "groups": ["new"] }));
    let claims = meeting.renew(&tokens).await.unwrap().unwrap();
    assert_eq!(claims.document["groups"], json!(["new"]));
    assert_eq!(claims.document["iss"], meeting.fake.issuer());
    assert!(!claims.document.contains_key("auth_time"), "of the old ID token nothing is left");

    let silent = [Twist::Answer("userinfo", Reply::new(401, "", "")), without("id_token")];
    meeting.fake.twist(silent[..1].iter().cloned());
    let tokens = meeting.sign_in().await.tokens;
    meeting.fake.twist(silent);
    let asked = meeting.fake.requests("userinfo");

    assert!(meeting.renew(&tokens).await.unwrap().is_none());
    assert_eq!(meeting.fake.requests("userinfo"), asked, "who said nothing is not asked again");
}

#[tokio::test]
async fn userinfo_that_falls_silent_is_a_refusal_and_one_that_is_away_is_none() {
    let meeting = Meeting::new().await;
    for status in [401, 403] {
        let tokens = meeting.sign_in().await.tokens;
        meeting.fake.twist([Twist::Answer("userinfo", Reply::new(status, "", ""))]);
        assert!(refused_with(meeting.renew(&tokens).await).contains("userinfo"));
        assert!(
            refused_with(meeting.provider.ask_userinfo(&tokens, now()).await).contains("userinfo")
        );
        meeting.fake.twist([]);
    }
    let tokens = meeting.sign_in().await.tokens;
    for gone in [
        Twist::Answer("userinfo", Reply::new(500, "", "")),
        Twist::Answer("userinfo", Reply::new(429, "", "")),
    ] {
        meeting.fake.twist([gone]);
        let away = meeting.provider.ask_userinfo(&tokens, now()).await.unwrap_err();
        assert!(matches!(away, OidcError::Unavailable { endpoint: "userinfo", .. }), "{away}");
    }
}

#[tokio::test]
async fn userinfo_is_asked_while_the_access_token_lives_where_there_is_no_refresh_token() {
    let meeting = Meeting::new().await;
    let ends =
        |tokens: &Tokens| tokens.userinfo_until().map(|end| now().now().until(end).as_secs());
    meeting.fake.twist([without("refresh_token")]);
    let tokens = meeting.sign_in().await.tokens;
    assert!(!tokens.can_refresh());
    assert!((3590..=3600).contains(&ends(&tokens).unwrap()), "{:?}", ends(&tokens));

    meeting.fake.describe("alice", json!({ "groups": ["new"] }));
    let claims = meeting.provider.ask_userinfo(&tokens, now()).await.unwrap();
    assert_eq!(claims.document["groups"], json!(["new"]));
    meeting.fake.twist([Twist::Userinfo("sub", Some("mallory".into()))]);
    let other = meeting.provider.ask_userinfo(&tokens, now()).await.unwrap_err();
    assert_eq!(check_of(&other), "userinfo_sub");
    meeting.fake.twist([]);
    meeting.fake.disable("alice");
    assert!(refused_with(meeting.provider.ask_userinfo(&tokens, now()).await).contains("userinfo"));

    assert_eq!(meeting.fake.requests("refresh"), 0);
    for spelled in [Some(json!("soon")), None] {
        meeting.fake.enable("alice");
        let life = Twist::TokenMember("expires_in", spelled);
        meeting.fake.twist([without("refresh_token"), life]);
        assert_eq!(meeting.sign_in().await.tokens.userinfo_until(), None);
    }
}

#[tokio::test]
async fn a_refusal_says_why_and_a_provider_that_is_away_is_told_apart() {
    let meeting = Meeting::new().await;
    let tokens = meeting.sign_in().await.tokens;
    meeting.fake.disable("alice");
    assert_eq!(refused_with(meeting.provider.refresh(&tokens, now()).await), "invalid_grant");
    meeting.fake.enable("alice");
    for (status, body) in [
        (500, json!({ "error": "invalid_grant" })),
        (429, json!({ "error": "slow_down" })),
        (400, json!({})),
        (200, json!({})),
        (200, json!({ "token_type": "Bearer" })),
        (302, json!({})),
    ] {
        let reply = Reply::new(status, "application/json", body.to_string());
        meeting.fake.twist([Twist::Answer("token", reply)]);
        let asked = meeting.fake.requests("token");
        let away = meeting.provider.refresh(&tokens, now()).await.unwrap_err();
        assert!(matches!(away, OidcError::Unavailable { endpoint: "token", .. }), "{away}");
        assert_eq!(meeting.fake.requests("token"), asked + 1, "{status} {body} is not retried");
    }
    meeting.fake.twist([]);
    assert!(meeting.renew(&tokens).await.unwrap().is_some());
}

#[tokio::test]
async fn a_refresh_token_is_revoked_where_the_provider_can() {
    let meeting = Meeting::new().await;
    let tokens = meeting.sign_in().await.tokens;
    assert!(meeting.provider.revoke(&tokens, now()).await);

    assert_eq!(meeting.fake.revoked().len(), 1);
    assert!(tokens.to_text().contains(&meeting.fake.revoked()[0]));
    assert_eq!(refused_with(meeting.provider.refresh(&tokens, now()).await), "invalid_grant");
    for status in [400, 503, 302] {
        meeting.fake.twist([Twist::Answer("revocation", Reply::new(status, "", ""))]);
        assert!(!meeting.provider.revoke(&tokens, now()).await, "{status}");
    }
    assert_eq!(meeting.fake.requests("revocation"), 4);
    meeting.fake.twist([without("refresh_token")]);
    let tokens = meeting.sign_in().await.tokens;
    assert!(!meeting.provider.revoke(&tokens, now()).await, "there is nothing to revoke");
    assert_eq!(meeting.fake.requests("revocation"), 4);
}

#[tokio::test]
async fn endpoints_that_only_the_second_document_names_are_found_if_it_is_this_issuers() {
    let revocation = |fake: &FakeProvider, issuer: Value| {
        let endpoint = fake.elsewhere().replace("/elsewhere", "/revoke");
        fake.twist([
            Twist::Metadata("revocation_endpoint", None),
            Twist::OauthMetadata("revocation_endpoint", Some(endpoint.into())),
            Twist::OauthMetadata("issuer", Some(issuer)),
        ]);
    };
    for (path, is_found) in [("", true), ("/realms/x/", true), ("", false)] {
        let fake = FakeProvider::start_at(path).await;
        let issuer = if is_found { fake.issuer() } else { "https://other.example".to_owned() };
        revocation(&fake, issuer.into());
        let meeting = Meeting::with(fake);
        let tokens = meeting.sign_in().await.tokens;

        assert_eq!(meeting.provider.revoke(&tokens, now()).await, is_found, "{path:?}");
        assert_eq!(meeting.fake.requests("oauth_metadata"), 1);
        assert_eq!(meeting.fake.requests("elsewhere"), 0);
    }
}

#[tokio::test]
async fn an_endpoint_stays_known_while_the_second_document_is_away() {
    let fake = FakeProvider::start().await;
    let endpoint = fake.elsewhere().replace("/elsewhere", "/revoke");
    let unnamed = Twist::Metadata("revocation_endpoint", None);
    fake.twist([
        unnamed.clone(),
        Twist::OauthMetadata("revocation_endpoint", Some(endpoint.into())),
    ]);
    let meeting = Meeting::with(fake);
    meeting.sign_in().await;

    meeting.fake.twist([unnamed, Twist::Answer("oauth_metadata", Reply::new(500, "", ""))]);
    meeting.fake.rotate_to(Signer::NextEs256);
    let tokens = meeting.sign_in().await.tokens;

    assert_eq!(meeting.fake.requests("oauth_metadata"), 2);
    assert!(meeting.provider.revoke(&tokens, now()).await);
}

#[tokio::test]
async fn a_login_tells_the_providers_session_and_a_logout_where_to_go() {
    let meeting = Meeting::new().await;
    assert_eq!(meeting.provider.end_session_endpoint(), None, "nothing is known, nobody waits");
    let redeemed = meeting.sign_in().await;
    assert_eq!((redeemed.tokens.sub(), redeemed.tokens.sid()), ("alice", None));
    for odd in [json!(""), json!(7), json!(null)] {
        meeting.fake.twist([claim("sid", odd)]);
        assert_eq!(meeting.sign_in().await.tokens.sid(), None);
    }
    meeting.fake.twist([]);

    meeting.fake.name_sessions();
    let redeemed = meeting.sign_in().await;

    assert_eq!(redeemed.tokens.sid(), Some(meeting.fake.last_sid().as_str()));
    let endpoint = meeting.provider.end_session_endpoint().unwrap();
    assert_eq!(endpoint.as_str(), format!("{}/end_session?tenant=7", meeting.fake.issuer()));
    let text = redeemed.tokens.to_text();
    let parts = meeting.fake.secrets();
    assert!(
        parts.iter().filter(|secret| text.contains(secret.as_str())).count() >= 3,
        "all tokens"
    );
}

#[tokio::test]
async fn whoever_signs_out_at_the_provider_is_refused_there_and_sent_back() {
    let meeting = Meeting::new().await;
    let tokens = meeting.sign_in().await.tokens;
    let endpoint = meeting.provider.end_session_endpoint().unwrap();
    let hint =
        meeting.fake.secrets().into_iter().rfind(|secret| secret.starts_with("eyJ")).unwrap();
    let fields = [
        ("id_token_hint", hint.as_str()),
        ("post_logout_redirect_uri", "http://127.0.0.1:9/logout/done"),
        ("state", "s"),
    ];

    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut browser = Visitor::on_a_page_of("http://127.0.0.1:9");
    let answer = browser.submit(endpoint.as_str(), &fields).await;

    assert_eq!(answer.location(), "http://127.0.0.1:9/logout/done?state=s");
    let signed_out = meeting.fake.signed_out();
    assert_eq!((signed_out.len(), signed_out[0].method.as_str()), (1, "POST"));
    assert_eq!(signed_out[0].parameters["state"], "s");
    assert_eq!(refused_with(meeting.provider.refresh(&tokens, now()).await), "invalid_grant");
}

#[tokio::test]
async fn offline_access_is_asked_for_with_consent_and_only_where_it_is_configured() {
    let location = async |scopes: &[&str]| {
        let meeting = Meeting::new().await;
        let settings = Settings {
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            ..meeting.provider.settings().clone()
        };
        let provider = Arc::new(Provider::new(settings, &Metrics::new().unwrap()).unwrap());
        let keeper = provider.clone();
        let keeping_fresh = tokio::spawn(async move { keeper.keep_fresh().await });
        let request = AuthorizationRequest {
            redirect_uri: &Url::parse(CALLBACK).unwrap(),
            state: "state",
            nonce: "nonce",
            pkce_verifier: &Secret256::random(),
            time: now(),
        };
        let location = provider.authorization_url(request).await.unwrap();
        keeping_fresh.abort();
        let get = |wanted: &str| {
            location
                .query_pairs()
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.into_owned())
        };
        (get("scope").unwrap(), get("prompt"))
    };

    assert_eq!(location(&["email", "openid"]).await, ("openid email".to_owned(), None));
    assert_eq!(
        location(&["offline_access"]).await,
        ("openid offline_access".to_owned(), Some("consent".to_owned()))
    );
}
