//! What a browser does: a person signs out here and goes on to the provider, and the provider's page opens a frame of ours.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::{device, frame, front_channel, lives, stage};
use crate::events::is_as_documented;
use crate::process::Service;
use crate::revalidation::{SEAL, Stage, later, refused};
use crate::support::fake_provider::FakeProvider;
use crate::support::forms::page_form;
use crate::support::policies::{PUBLIC_URL, at, default_identity, section, visitor, walk_at};
use crate::support::redis::RedisServer;
use crate::support::service::TWILIO;
use crate::support::visitor::{Answer, Visitor};

/// Signs out as a page's button does.
async fn leave(stage: &Stage, device: &mut Visitor) -> Answer {
    device.accept = "text/html";
    device.post(&format!("{}/logout", stage.replicas[1].url)).await
}

fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn a_person_signs_out_here_and_at_the_provider_with_no_token_in_a_url() {
    let stage = stage("").await;
    let mut states = Vec::new();
    for _ in 0..2 {
        let (mut laptop, _) = device(&stage, "alice").await;
        let before = laptop.clone();
        let page = leave(&stage, &mut laptop).await;
        assert_eq!(page.status, StatusCode::OK, "{page:?}");
        assert!(!laptop.cookies.contains_key("vestibule"), "{:?}", laptop.cookies);
        assert!(!lives(&stage, &before).await);

        let script = page.body.split("<script>").nth(1).unwrap().split("</script>").next().unwrap();
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, script.as_bytes());
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        let allowed = format!("script-src 'sha256-{}'", STANDARD.encode(hash));
        assert!(policy.contains(&allowed), "{policy}");
        let (action, fields) = page_form(&page.body);
        assert_eq!(action, format!("{}/end_session?tenant=7", stage.provider.issuer()));
        let mut names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["client_id", "id_token_hint", "post_logout_redirect_uri", "state"]);
        assert_eq!(field(&fields, "client_id"), Some("vestibule"));
        let done = format!("{PUBLIC_URL}/logout/done");
        assert_eq!(field(&fields, "post_logout_redirect_uri"), Some(done.as_str()));
        let hint = field(&fields, "id_token_hint").unwrap();
        assert!(stage.provider.secrets().iter().any(|secret| secret == hint), "its own ID token");
        states.push(field(&fields, "state").unwrap().to_owned());

        let back = laptop.submit(&action, &fields).await.location();
        assert!(back.starts_with(&format!("{done}?state=")) && !back.contains(hint), "{back}");
        let page = laptop.get(&at(&stage.replicas[0].url, &back)).await;
        assert!(page.body.contains("You are signed out"), "{page:?}");
    }
    assert_ne!(states[0], states[1]);
    let signed_out = stage.provider.signed_out();
    assert_eq!(signed_out.len(), 2);
    assert!(signed_out.iter().all(|request| request.method == "POST"), "{signed_out:?}");
}

#[tokio::test]
async fn without_a_seal_there_is_no_hint_to_give() {
    let stage = Stage::with("", "").await;
    let mut laptop = stage.device().await;

    let page = leave(&stage, &mut laptop).await;

    let (_, fields) = page_form(&page.body);
    assert_eq!(field(&fields, "id_token_hint"), None, "{fields:?}");
    assert_eq!(field(&fields, "client_id"), Some("vestibule"));
    assert!(!page.body.contains("eyJ"), "{page:?}");
}

#[tokio::test]
async fn the_cookie_says_who_signs_out_and_a_page_of_ours_asks_for_it() {
    let stage = stage("").await;
    let (laptop, _) = device(&stage, "alice").await;
    let (mut bobs, _) = device(&stage, "bob").await;
    let url = format!("{}/logout", stage.replicas[0].url);

    // An image, a link and a form elsewhere.
    let image = [("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")];
    let answer = laptop.clone().send(Method::GET, &url, &image).await;
    assert_eq!(refused(&answer), (405, "method_not_allowed".to_owned()));
    for origin in [None, Some("https://evil.example".to_owned()), Some("null".to_owned())] {
        let answer = Visitor { origin, ..laptop.clone() }.post(&url).await;
        assert_eq!(refused(&answer), (403, "origin_not_allowed".to_owned()), "{answer:?}");
    }
    assert!(lives(&stage, &laptop).await);

    // Somebody else's hint says nothing, and where the browser goes then is ours to say.
    let hint = stage.provider.access_token("alice", "vestibule");
    let evil = "https://evil.example/";
    let tail = format!("?id_token_hint={hint}&post_logout_redirect_uri={evil}");
    let nobody = visitor().post(&format!("{url}{tail}")).await;
    assert_eq!(refused(&nobody), (401, "login_required".to_owned()));
    bobs.accept = "text/html";
    let page = bobs.clone().post(&format!("{url}{tail}")).await;
    assert_eq!(page.status, StatusCode::OK, "{page:?}");
    assert!(!page.body.contains("evil.example") && !page.body.contains(&hint), "{page:?}");
    assert!(!lives(&stage, &bobs).await);
    assert!(lives(&stage, &laptop).await);
}

#[tokio::test]
async fn whatever_state_comes_back_the_page_is_there() {
    let stage = stage("").await;
    for query in ["", "?state=another", "?state=", "?state=a&state=b", "?x=1&next=//evil.example"] {
        let url = format!("{}/logout/done{query}", stage.replicas[0].url);
        let page = Visitor { accept: "text/html", ..visitor() }.get(&url).await;
        assert_eq!(page.status, StatusCode::OK, "{query}");
        assert!(page.body.contains("You are signed out"), "{query}: {page:?}");
        assert!(!page.body.contains("evil.example"), "{page:?}");
        assert_eq!(page.headers["cache-control"], "no-store", "{query}");
    }
}

#[tokio::test]
async fn a_frame_of_the_providers_ends_one_session_without_a_cookie() {
    let stage = stage("").await;
    let (laptop, sid) = device(&stage, "alice").await;
    let (phone, _) = device(&stage, "alice").await;

    let page = visitor().get(&frame(&stage.replicas[0], &stage.provider, &sid)).await;

    assert_eq!(page.status, StatusCode::OK, "{page:?}");
    assert_eq!(page.headers["cache-control"], "no-store");
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    let ancestors = policy.split("; ").find(|part| part.starts_with("frame-ancestors")).unwrap();
    assert_eq!(ancestors, format!("frame-ancestors {}", stage.provider.issuer()));
    assert!(!page.headers.contains_key("x-frame-options"), "{page:?}");
    assert!(!lives(&stage, &laptop).await);
    assert!(lives(&stage, &phone).await);
}

#[tokio::test]
async fn a_frame_names_issuer_and_session_or_does_nothing() {
    let stage = stage("").await;
    let (laptop, sid) = device(&stage, "alice").await;
    let (issuer, replica) = (stage.provider.issuer(), &stage.replicas[0]);
    for query in [
        vec![],
        vec![("iss", issuer.as_str())],
        vec![("sid", sid.as_str())],
        vec![("iss", issuer.as_str()), ("sid", "")],
        vec![("iss", ""), ("sid", sid.as_str())],
        vec![("iss", "https://other.example"), ("sid", sid.as_str())],
        vec![("iss", issuer.as_str()), ("sid", sid.as_str()), ("sid", sid.as_str())],
    ] {
        let answer = laptop.clone().get(&front_channel(replica, &query)).await;
        assert_eq!(refused(&answer), (400, "invalid_request".to_owned()), "{query:?}");
    }
    let elsewhere = frame(replica, &stage.provider, &sid).replace("/fake?", "/other?");
    assert_eq!(refused(&visitor().get(&elsewhere).await), (404, "not_found".to_owned()));
    let unknown = visitor().get(&frame(replica, &stage.provider, "unknown")).await;
    assert_eq!(
        unknown.status,
        StatusCode::OK,
        "whether there is such a session is nobody's business"
    );
    assert!(lives(&stage, &laptop).await);
}

#[tokio::test]
async fn frames_are_limited_as_logins_are() {
    let stage = Stage::with(&format!("{SEAL}[limits]\nlogins = \"3/m\"\n"), "").await;
    let url = frame(&stage.replicas[0], &stage.provider, "unknown");
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(visitor().get(&url).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
}

/// What the page lists for other ways of signing out.
const NAMES: [&str; 4] = ["person", "back-channel", "front-channel", "provider"];

#[tokio::test]
async fn each_way_of_signing_out_is_one_line_of_the_audit_log() {
    let (redis, provider) = (RedisServer::start(), FakeProvider::start().await);
    provider.name_sessions();
    let sections = section("fake", &provider, "revalidate_after = \"1s\"", "allow = \"true\"");
    let mut service = Service::serving(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"{PUBLIC_URL}\"\n[ops]\nlisten = \"127.0.0.1:0\"\n[store]\nurl = \"{}\"\n{TWILIO}{SEAL}{sections}",
        redis.url()
    ));
    let url = format!("http://{}", service.public);
    let mut devices = Vec::new();
    for _ in 0..4 {
        let mut device = visitor();
        let callback = walk_at(&mut device, &url, "fake", "alice").await;
        device.get(&callback).await.location();
        devices.push((device, provider.last_sid()));
    }
    let (issuer, mut last) = (provider.issuer(), devices.pop().unwrap().0);

    last.post(&format!("{url}/logout")).await;
    let raw = provider.logout_token(Some("alice"), Some(&devices[1].1), &[]);
    let form = [("logout_token".to_owned(), raw)];
    let heard = visitor().submit(&format!("{url}/logout/backchannel/fake"), &form).await;
    assert_eq!(heard.status, StatusCode::OK, "{heard:?}");
    // Of a session that nobody has here there is nothing to say.
    for sid in ["unknown", &devices[2].1] {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("iss", issuer.as_str()), ("sid", sid)])
            .finish();
        visitor().get(&format!("{url}/logout/frontchannel/fake?{query}")).await;
    }
    provider.disable("alice");
    later().await;
    devices[0].0.post(&format!("{url}/token")).await;
    service.tell("TERM");
    assert_eq!(service.wait(), Some(0), "{}", service.log());

    let log = service.log();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let logouts: Vec<Value> = lines.filter(|line| line["event"] == "logout").collect();
    let by: Vec<_> = logouts.iter().map(|line| line["by"].as_str().unwrap()).collect();
    assert_eq!(by, NAMES);
    for (line, absent) in logouts.iter().zip([&["why"][..], &["why"], &["why"], &[]]) {
        assert_eq!(line["target"], "vestibule::audit");
        assert_eq!(line["provider"], "fake");
        // The row says in words what each way leaves out.
        is_as_documented(line, &[absent, &NAMES[..3]].concat());
    }
    let alice = default_identity(&issuer, "alice");
    assert!(logouts.iter().all(|line| line["identity"] == alice), "{logouts:?}");
    for secret in provider.secrets() {
        assert!(!log.contains(&secret), "{secret}");
    }
}
