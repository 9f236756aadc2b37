//! An ID token that is not the provider's word to us about this login refuses it.

use serde_json::{Value, json};

use super::{ALL_ALGORITHMS, CLIENT_SECRET, Stage, claim, explanation, in_seconds};
use crate::support::fake_provider::{FakeProvider, Signer, Twist, public_bytes};

#[tokio::test]
async fn an_algorithm_that_is_not_configured_is_refused_though_the_provider_has_the_key() {
    let stage = Stage::with(
        FakeProvider::start().await,
        &format!("{CLIENT_SECRET}\nalgorithms = [\"ES256\"]"),
    )
    .await;
    stage.admits("ES256").await;

    for signer in Signer::EACH.into_iter().skip(1) {
        stage.refuses(Twist::Signer(signer), "algorithm").await;
    }
}

#[tokio::test]
async fn a_claim_that_is_wrong_or_missing_refuses_the_login() {
    let stage = Stage::new().await;
    let issuer = stage.provider.issuer();

    for iss in [
        format!("{issuer}/"),
        issuer.to_uppercase(),
        issuer.replace("127.0.0.1", "localhost"),
        String::new(),
    ] {
        stage.refuses(claim("iss", iss.into()), "iss").await;
    }
    stage.refuses(claim("iss", json!([issuer])), "iss").await;
    for aud in [
        json!("other"),
        json!("Vestibule"),
        json!(["other"]),
        json!([]),
        json!(7),
        json!({ "vestibule": 1 }),
        Value::Null,
    ] {
        stage.refuses(claim("aud", aud), "aud").await;
    }
    stage.refuses(claim("aud", json!(["vestibule", "evil"])), "azp").await;
    for azp in [json!("evil"), json!(["vestibule"]), Value::Null] {
        stage.refuses(claim("azp", azp), "azp").await;
    }
    for sub in [json!(""), json!(" "), json!(7), Value::Null, json!(["alice"])] {
        stage.refuses(claim("sub", sub), "sub").await;
    }
    for nonce in [json!("wrong"), json!(""), json!(7), Value::Null] {
        stage.refuses(claim("nonce", nonce), "nonce").await;
    }
    for name in ["at_hash", "c_hash"] {
        for hash in [json!("wrong"), json!(""), json!(7), Value::Null] {
            stage.refuses(claim(name, hash), name).await;
        }
    }
    for missing in ["iss", "aud", "sub", "nonce", "exp", "iat"] {
        stage.refuses(Twist::Claim(missing, None), missing).await;
    }
    stage.admits("afterwards").await;
}

#[tokio::test]
async fn a_nonce_of_another_login_under_way_is_refused() {
    let stage = Stage::new().await;
    let (mut alice, mut mallory) = (stage.visitor(), stage.visitor());
    let away = alice.get(&format!("{}/login/fake", stage.service.url)).await.location();
    let nonce = away.split_once("&nonce=").unwrap().1.split('&').next().unwrap().to_owned();

    stage.provider.twist([claim("nonce", nonce.into())]);
    let answer = mallory.sign_in(&stage.service).await;

    assert_eq!(answer.code(), "login_failed");
    assert!(explanation(&answer).contains("nonce: expected the one that was sent, got another"));
}

#[tokio::test]
async fn a_date_that_is_over_or_to_come_or_none_at_all_refuses_the_login() {
    let stage = Stage::new().await;

    for (name, seconds) in
        [("exp", -62), ("exp", -300), ("iat", 63), ("iat", 300), ("nbf", 63), ("nbf", 99_999_999)]
    {
        // From now on, not from when the first of them was tried.
        stage.refuses(claim(name, in_seconds(seconds)), name).await;
    }
    for date in [
        json!("99999999999"),
        json!("never"),
        Value::Null,
        json!([1]),
        json!(1e300),
        json!(-1),
        json!(4e9 + 0.5),
        json!(true),
    ] {
        for name in ["exp", "iat", "nbf"] {
            stage.refuses(claim(name, date.clone()), name).await;
        }
    }
}

#[tokio::test]
async fn a_signature_that_is_not_the_providers_refuses_the_login() {
    let stage =
        Stage::with(FakeProvider::start().await, &format!("{CLIENT_SECRET}\n{ALL_ALGORITHMS}"))
            .await;

    for signer in Signer::EACH {
        stage.refuses(Twist::Signer(Signer::Stranger(Box::new(signer))), "signature").await;
    }
    stage.refuses(Twist::ChangedAfterwards("sub", "mallory".into()), "signature").await;
    stage.refuses(Twist::Signer(Signer::Nothing("ES256")), "signature").await;
    stage.refuses(Twist::Signer(Signer::Nothing("RS256")), "key").await;
    for alg in ["none", "None", "NONE", "nOnE", "", "RS256 ", "es256"] {
        stage.refuses(Twist::Signer(Signer::Nothing(alg)), "algorithm").await;
    }
    // The header speaks of one kind of key, and names one of another.
    stage.refuses(Twist::Header("alg", Some("RS256".into())), "key").await;
}

#[tokio::test]
async fn a_shared_secret_is_no_signature_of_the_providers() {
    let stage = Stage::new().await;
    let mut secrets = vec![b"canary-client-secret-0001".to_vec(), Vec::new()];
    secrets.extend(public_bytes(&Signer::Es256));
    secrets.extend(public_bytes(&Signer::Rs256));

    for secret in secrets {
        stage.refuses(Twist::Signer(Signer::Hmac(secret)), "algorithm").await;
    }
}

#[tokio::test]
async fn a_header_decides_nothing_about_keys() {
    let stage = Stage::new().await;
    let elsewhere = format!("{}/elsewhere", stage.provider.issuer());

    for (name, value) in [
        ("jku", json!(elsewhere)),
        ("x5u", json!(elsewhere)),
        ("jwk", Signer::Stranger(Box::new(Signer::Es256)).jwk()),
        ("x5c", json!(["MIIB"])),
    ] {
        // Passed over where the signature is the provider's.
        stage.provider.twist([Twist::Header(name, Some(value.clone()))]);
        stage.admits(name).await;
        // And no help where it is not.
        stage.provider.twist([
            Twist::Signer(Signer::Stranger(Box::new(Signer::Es256))),
            Twist::Header(name, Some(value)),
        ]);
        let (visitor, answer) = stage.sign_in().await;
        assert!(explanation(&answer).contains("signature: expected"), "{name}");
        stage.is_nobody(visitor, name).await;
    }
    for kid in ["../../../dev/null", "' OR 1=1 --", &elsewhere, "", "\u{0}", &"k".repeat(9000)] {
        stage.refuses(Twist::Header("kid", Some(kid.into())), "key").await;
    }
    for crit in [json!(["b64"]), json!(["exp"]), json!([]), Value::Null] {
        stage.refuses(Twist::Header("crit", Some(crit)), "crit").await;
    }
    for typ in ["at+jwt", "logout+jwt", "application/secevent+jwt"] {
        stage.refuses(Twist::Header("typ", Some(typ.into())), "typ").await;
    }
    for (name, value) in [("alg", None), ("alg", Some(json!(["ES256"]))), ("kid", Some(json!(7)))] {
        stage.refuses(Twist::Header(name, value), "format").await;
    }
    assert_eq!(stage.provider.requests("elsewhere"), 0);
}

#[tokio::test]
async fn what_is_no_signed_token_refuses_the_login() {
    let stage = Stage::new().await;

    for text in ["x", "a.b", "a.b.c", "a.b.c.d.e", "..", "e30.e30.", "{}"] {
        stage.refuses(Twist::IdToken(text.to_owned()), "format").await;
    }
    stage.refuses(Twist::TokenMember("id_token", None), "format").await;
    stage.refuses(Twist::TokenMember("id_token", Some(Value::Null)), "format").await;
    stage.refuses(claim("padding", "x".repeat(65_536).into()), "size").await;
}
