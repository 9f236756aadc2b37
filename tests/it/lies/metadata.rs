//! Metadata and keys: what lies, what changes, what is slow or away.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use reqwest::StatusCode;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use serde_json::json;

use super::{CLIENT_SECRET, Stage, html, json_reply, service};
use crate::support::fake_provider::{FakeProvider, Reply, Signer, Twist};
use crate::support::visitor::Visitor;

#[tokio::test]
async fn metadata_that_lies_lets_no_login_begin() {
    let honest = FakeProvider::start().await;
    let elsewhere = format!("{}/elsewhere", honest.issuer());
    let mut twists = vec![
        Twist::Metadata("issuer", Some("https://evil.example".into())),
        Twist::Metadata("issuer", Some(honest.issuer().into())),
        Twist::Metadata("issuer", None),
        Twist::Metadata("jwks_uri", None),
        Twist::Metadata("token_endpoint", Some(json!(["https://id.example.com/token"]))),
        Twist::Metadata("authorization_endpoint", Some(json!("javascript:alert(1)"))),
        Twist::Answer("discovery", html(200)),
        Twist::Answer("discovery", html(404)),
        Twist::Answer("discovery", json_reply(200, "[]")),
        Twist::Answer("discovery", json_reply(500, "{}")),
        Twist::Answer("discovery", json_reply(200, &" ".repeat(2 * 1024 * 1024))),
        Twist::Answer("discovery", Reply::redirect(302, &elsewhere)),
        Twist::Answer("keys", Reply::redirect(301, &elsewhere)),
        Twist::Answer("keys", html(200)),
        Twist::Answer("keys", json_reply(200, r#"{"keys":{}}"#)),
        Twist::Answer("keys", json_reply(200, "{}")),
    ];
    for endpoint in ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"] {
        for url in [
            "http://id.example.com/x",
            "http://169.254.169.254/latest",
            "https://169.254.169.254/latest",
            "http://[::ffff:169.254.169.254]/",
            "http://2852039166/",
            "http://me:secret@127.0.0.1/x",
            "file:///etc/passwd",
            "/relative",
            "",
        ] {
            twists.push(Twist::Metadata(endpoint, Some(url.into())));
        }
    }

    join_all(twists.into_iter().map(a_login_cannot_begin_until_it_is_mended)).await;
    assert_eq!(honest.requests("elsewhere"), 0);
}

async fn a_login_cannot_begin_until_it_is_mended(twist: Twist) {
    let what = format!("{twist:?}").chars().take(200).collect::<String>();
    let stage = Stage::with_metadata(twist).await;
    let mut alice = stage.visitor();

    let answer = alice.get(&format!("{}/login/fake", stage.service.url)).await;

    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{what}: {answer:?}");
    assert_eq!(answer.code(), "provider_unavailable", "{what}");
    assert!(answer.headers.contains_key("retry-after"), "{what}");
    for endpoint in ["authorize", "token", "userinfo", "elsewhere"] {
        assert_eq!(stage.provider.requests(endpoint), 0, "{what}: {endpoint}");
    }
    stage.provider.twist([]);
    // A second after a try that was asked for there may be another.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    stage.admits(&what).await;
}

#[tokio::test]
async fn keys_that_rotate_just_before_signing_are_found() {
    let stage = Stage::new().await;
    stage.admits("before").await;
    let asked = stage.provider.requests("keys");

    stage.provider.rotate_to(Signer::NextEs256);
    stage.admits("rotated").await;
    stage.admits("and known").await;

    assert_eq!(stage.provider.requests("keys"), asked + 1);
    // What was withdrawn counts no more.
    stage.refuses(Twist::Signer(Signer::Es256), "key").await;
}

#[tokio::test]
async fn invented_keys_make_the_service_ask_once_while_good_keys_keep_serving() {
    let stage = Stage::new().await;
    stage.admits("before").await;
    let asked = stage.provider.requests("keys");

    stage.provider.twist([Twist::Header("kid", Some("invented".into()))]);
    let answers = join_all((0..50).map(|_| stage.sign_in())).await;
    for (_, answer) in &answers {
        assert_eq!(answer.code(), "login_failed");
    }
    assert_eq!(stage.provider.requests("keys"), asked + 1);

    for failing in
        [Twist::Answer("keys", json_reply(500, "")), Twist::Answer("discovery", html(502))]
    {
        stage.provider.twist([failing]);
        stage.admits("good keys").await;
    }
    assert_eq!(stage.provider.requests("keys"), asked + 1);
}

#[tokio::test]
async fn a_login_under_an_unknown_key_may_be_tried_again_when_the_keys_cannot_be_had() {
    let stage = Stage::new().await;
    stage.admits("before").await;

    stage
        .provider
        .twist([Twist::Header("kid", Some("new".into())), Twist::Answer("keys", html(500))]);
    let (visitor, answer) = stage.sign_in().await;

    assert_eq!(answer.code(), "provider_unavailable");
    stage.is_nobody(visitor, "keys away").await;
    stage.provider.twist([]);
    stage.admits("good keys").await;
}

#[tokio::test]
async fn a_provider_that_is_slow_or_away_costs_no_more_than_its_timeout() {
    let settings = format!("{CLIENT_SECRET}\ntimeout = \"1s\"");
    for endpoint in ["discovery", "keys"] {
        let provider = FakeProvider::start().await;
        provider.twist([Twist::Drip(endpoint)]);
        let stage = Stage::with(provider, &settings).await;
        let begun = Instant::now();
        let answer = stage.visitor().get(&format!("{}/login/fake", stage.service.url)).await;
        assert_eq!(answer.code(), "provider_unavailable", "{endpoint}");
        assert!(begun.elapsed() < Duration::from_millis(1900), "{endpoint}: {:?}", begun.elapsed());
    }

    let stage = Stage::with(FakeProvider::start().await, &settings).await;
    for endpoint in ["token", "userinfo"] {
        let begun = Instant::now();
        stage.is_let_down_by(Twist::Drip(endpoint), endpoint).await;
        assert!(begun.elapsed() < Duration::from_millis(1900), "{endpoint}: {:?}", begun.elapsed());
    }
    stage.provider.delay_token_endpoint(Duration::from_secs(9));
    let begun = Instant::now();
    let (_, answer) = stage.sign_in().await;
    assert_eq!(answer.code(), "provider_unavailable");
    assert!(begun.elapsed() < Duration::from_millis(1900), "{:?}", begun.elapsed());

    let Stage { provider, service, _folder } = stage;
    drop(provider);
    let mut alice = Visitor::of(&service);
    let away = alice.get(&format!("{}/login/fake", service.url)).await;
    assert_eq!(away.status, StatusCode::SEE_OTHER, "what it said while it was there still counts");
}

#[tokio::test]
async fn a_service_that_starts_without_its_provider_says_so_and_recovers() {
    let provider = FakeProvider::start().await;
    let issuer = provider.issuer();
    drop(provider);
    let (service, _folder) = service(&issuer, CLIENT_SECRET).await;
    let mut alice = Visitor::of(&service);

    let begun = Instant::now();
    let answer = alice.get(&format!("{}/login/fake", service.url)).await;

    assert_eq!(answer.code(), "provider_unavailable");
    assert!(begun.elapsed() < Duration::from_secs(1));
    let ready = alice.get(&format!("{}/readyz", service.ops_url)).await;
    assert_eq!(ready.status, StatusCode::OK);
    assert!(
        ready.json()["providers"]["fake"].as_str().unwrap().contains("never reached"),
        "{ready:?}"
    );
}

/// A certificate for `localhost` that it signed itself, DER in base64. Nobody has its key, and nobody gets so far as to need it.
const SELF_SIGNED: &str = "\
    MIIBnzCCAUagAwIBAgIUPwhqAuesAcNEhwvKgEYpvpONoTkwCgYIKoZIzj0EAwIwGzEZMBcGA1UEAwwQc2lnbmVk\
    IGJ5IGl0c2VsZjAgFw0yNjExMjQwNDMyMDFaGA8yMTI2MTAzMTA0MzIwMVowGzEZMBcGA1UEAwwQc2lnbmVkIGJ5\
    IGl0c2VsZjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABPLYu5IOSWeDxjdVR521tzUSjYwjgoF08JShdyNdfYI4\
    EJWxUv9zHF9IxFvQOVs+SrsBUUaBokzrBdITteekqqOjZjBkMB0GA1UdDgQWBBTdPWCpI/6nJOG3x0snsIeWx+ur\
    KTAfBgNVHSMEGDAWgBTdPWCpI/6nJOG3x0snsIeWx+urKTAUBgNVHREEDTALgglsb2NhbGhvc3QwDAYDVR0TAQH/\
    BAIwADAKBggqhkjOPQQDAgNHADBEAiAQ3+ohRlRFGt2hLwfowSovXF4wQl72iq2Z76vvbdPbzgIgJIMfMHPZOH+4\
    GCvqZkqFcSL9+JY+RLA/vkxt0rvWbOk=\
    ";

/// Ends one TLS handshake, as far as a client goes along.
fn shake_hands(listener: &TcpListener) -> std::io::Result<()> {
    let any_key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let any_key = PrivatePkcs8KeyDer::from(any_key.to_pkcs8v1().unwrap().as_ref().to_vec());
    let any_key = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&any_key.into()).unwrap();
    let certificate = STANDARD.decode(SELF_SIGNED).unwrap().into();
    let shown = CertifiedKey::new(vec![certificate], any_key);
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = rustls::ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    let mut tls = rustls::ServerConnection::new(config.into()).unwrap();
    let (mut connection, _) = listener.accept()?;
    while tls.is_handshaking() {
        tls.complete_io(&mut connection)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_provider_that_cannot_prove_its_name_is_told_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let handshake = tokio::task::spawn_blocking(move || shake_hands(&listener));
    let (service, _folder) = service(&issuer, CLIENT_SECRET).await;

    let refused = handshake.await.unwrap().unwrap_err();

    assert!(refused.to_string().contains("UnknownCA"), "{refused}");
    let mut alice = Visitor::of(&service);
    let answer = alice.get(&format!("{}/login/fake", service.url)).await;
    assert_eq!(answer.code(), "provider_unavailable");
}
