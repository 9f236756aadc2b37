//! What a member does from the first login to the logout, the same at every provider.

use reqwest::StatusCode;
use uuid::Uuid;

use super::forms::walk;
use super::service::TestService;
use super::twilio;
use super::visitor::Visitor;

/// A provider, as the story needs it.
pub struct At<'a> {
    /// Its name in the service's configuration.
    pub name: &'a str,
    /// Its issuer.
    pub issuer: &'a str,
}

/// Somebody whom the provider knows.
#[derive(Clone, Copy)]
pub struct Who<'a> {
    /// What they type.
    pub login: &'a str,
    /// And this.
    pub password: &'a str,
    /// What the provider calls them in `sub`.
    pub sub: &'a str,
}

/// Signs in on a new device: the session's cookie is in its jar.
pub async fn sign_in(service: &TestService, at: &At<'_>, who: Who<'_>) -> Visitor {
    let mut device = Visitor::of(service);
    let start = format!("{}/login/{}", service.url, at.name);
    let callback = format!("{}/callback/{}?", service.url, at.name);
    let answer = walk(&mut device, &start, &callback, (who.login, who.password)).await;

    let welcome = device.get(&answer).await;

    assert_eq!(welcome.location(), format!("{}/", service.url), "{welcome:?}");
    assert!(device.cookies.contains_key("vestibule"), "{welcome:?}");
    device
}

/// Asks for a token and gives its identity and its `jti`, once Twilio's library has approved it.
async fn token(service: &TestService, device: &mut Visitor) -> (String, String) {
    let answer = device.post(&format!("{}/token", service.url)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let reply = answer.json();
    let (identity, token) = (reply["identity"].as_str().unwrap(), reply["token"].as_str().unwrap());
    twilio::approves(token, identity);
    let claims =
        jsonwebtoken::dangerous::insecure_decode::<serde_json::Value>(token).unwrap().claims;
    (identity.to_owned(), claims["jti"].as_str().unwrap().to_owned())
}

/// A login, a session, tokens, a second device, somebody else, a logout.
pub async fn whole(service: &TestService, at: At<'_>, member: Who<'_>, other: Who<'_>) {
    let url = |path: &str| format!("{}{path}", service.url);
    let mut laptop = sign_in(service, &at, member).await;

    let session = laptop.get(&url("/session")).await.json();
    let namespace = Uuid::new_v5(&Uuid::NAMESPACE_URL, at.issuer.as_bytes());
    let expected = Uuid::new_v5(&namespace, member.sub.as_bytes()).to_string();
    assert_eq!(session["identity"], expected);
    assert_eq!(session["kind"], "member");
    assert_eq!(session["provider"], at.name);

    let (identity, first) = token(service, &mut laptop).await;
    let (_, fresh) = token(service, &mut laptop).await;
    assert_eq!(identity, expected);
    assert_ne!(first, fresh, "the SDK ignores a token equal to the one it has");

    let mut phone = sign_in(service, &at, member).await;
    let (on_phone, _) = token(service, &mut phone).await;
    assert_eq!(on_phone, identity);
    assert_ne!(phone.cookies["vestibule"], laptop.cookies["vestibule"]);

    let mut stranger = sign_in(service, &at, other).await;
    let (of_stranger, _) = token(service, &mut stranger).await;
    assert_ne!(of_stranger, identity);

    let kept = laptop.clone();
    assert_eq!(laptop.post(&url("/logout")).await.status, StatusCode::NO_CONTENT);
    assert!(!laptop.cookies.contains_key("vestibule"));
    let ended = kept.clone().post(&url("/token")).await;
    assert_eq!(
        (ended.status, ended.code().as_str()),
        (StatusCode::UNAUTHORIZED, "session_expired")
    );
    token(service, &mut phone).await;
}
