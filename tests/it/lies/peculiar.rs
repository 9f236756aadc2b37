//! A provider that is merely peculiar is understood, with every check on.

use serde_json::{Value, json};

use super::{
    ALL_ALGORITHMS, CLIENT_SECRET, Stage, claim, explanation, html, in_seconds, json_reply,
};
use crate::support::fake_provider::{FakeProvider, Registered, Signer, Twist};

#[tokio::test]
async fn each_algorithm_works() {
    let stage =
        Stage::with(FakeProvider::start().await, &format!("{CLIENT_SECRET}\n{ALL_ALGORITHMS}"))
            .await;

    for signer in Signer::EACH {
        stage.provider.twist([Twist::Signer(signer.clone())]);
        let session = stage.admits(signer.alg()).await;
        assert_eq!(session["friendly_name"], "Alice", "userinfo's name");
    }
    stage.keeps_its_secrets("nine logins");
}

#[tokio::test]
async fn each_client_authentication_works_and_no_other_is_tried() {
    let pem = |signer: Signer| {
        format!(
            "client_auth = \"private_key_jwt\"\nprivate_key_id = \"key-1\"\nprivate_key = \"\"\"\n{}\"\"\"",
            signer.pem()
        )
    };
    let odd = "canary +%/:&=ä-secret";
    let ways = [
        (Registered::Basic("canary-client-secret-0001"), CLIENT_SECRET.to_owned()),
        (
            Registered::Basic(odd),
            format!("client_auth = \"client_secret_basic\"\nclient_secret = \"{odd}\""),
        ),
        (
            Registered::Post(odd),
            format!("client_auth = \"client_secret_post\"\nclient_secret = \"{odd}\""),
        ),
        (Registered::PrivateKeyJwt(Signer::Rs256), pem(Signer::Rs256)),
        (Registered::PrivateKeyJwt(Signer::Es256), pem(Signer::Es256)),
        (Registered::PrivateKeyJwt(Signer::Es384), pem(Signer::Es384)),
        (Registered::PrivateKeyJwt(Signer::EdDsa), pem(Signer::EdDsa)),
        (Registered::Public, "client_auth = \"none\"".to_owned()),
    ];

    for (index, (registered, settings)) in ways.iter().enumerate() {
        let stage = Stage::with(FakeProvider::start().await, settings).await;
        stage.provider.register(registered.clone());
        stage.admits(settings).await;

        let (other, _) = &ways[(index + 2) % ways.len()];
        stage.provider.register(other.clone());
        let (visitor, answer) = stage.sign_in().await;
        assert_eq!(answer.code(), "login_failed", "{registered:?}");
        assert!(explanation(&answer).contains("the provider refused: invalid_client"));
        assert_eq!(stage.provider.requests("token"), 2, "{registered:?}");
        stage.is_nobody(visitor, settings).await;
    }
}

#[tokio::test]
async fn a_peculiar_provider_is_understood() {
    let stage = Stage::new().await;
    stage.admits("before").await;

    for twists in [
        // The first, for it is dated now.
        vec![
            claim("exp", in_seconds(-50)),
            claim("iat", in_seconds(58)),
            claim("nbf", in_seconds(58)),
        ],
        vec![Twist::Header("kid", None)],
        vec![Twist::Header("typ", None)],
        vec![Twist::Header("x5t", Some("abc".into())), Twist::Header("cty", Some("JWT".into()))],
        vec![Twist::Claim("at_hash", None)],
        vec![claim("aud", json!(["vestibule"]))],
        vec![claim("aud", json!(["other", "vestibule"])), claim("azp", "vestibule".into())],
        vec![claim("azp", "vestibule".into())],
        vec![
            claim("exp", json!(4_000_000_000.0)),
            claim("iat", json!(1_700_000_000.0)),
            claim("auth_time", json!(0)),
        ],
        vec![
            claim("email_verified", "true".into()),
            claim("address", "here".into()),
            claim("picture", json!(7)),
        ],
        vec![
            claim("updated_at", "2026-01-01T00:00:00Z".into()),
            claim("locale", json!(["en"])),
            claim("name", Value::Null),
        ],
        vec![Twist::TokenMember("token_type", Some("BEARER".into()))],
        vec![Twist::TokenMember("expires_in", Some(json!([])))],
        vec![Twist::SignedUserinfo(Signer::Es256)],
        vec![
            Twist::SignedUserinfo(Signer::Rs256),
            Twist::Userinfo("iss", None),
            Twist::Userinfo("aud", None),
        ],
        vec![Twist::Answer("userinfo", json_reply(401, ""))],
        vec![Twist::Answer("userinfo", html(403))],
        vec![Twist::Userinfo("picture", Some("http://127.0.0.1:9/elsewhere".into()))],
        vec![Twist::Userinfo(
            "_claim_sources",
            Some(json!({ "a": { "endpoint": "http://127.0.0.1:9/" } })),
        )],
    ] {
        let what = format!("{twists:?}");
        stage.provider.twist(twists);
        stage.admits(&what).await;
    }
}

#[tokio::test]
async fn keys_and_tokens_may_have_no_names() {
    let nameless = |signer: Signer| {
        let mut jwk = signer.jwk();
        for member in ["kid", "use", "alg"] {
            jwk.as_object_mut().unwrap().remove(member);
        }
        jwk
    };

    for (signer, keys) in [
        (Signer::Es256, vec![nameless(Signer::Es256)]),
        (
            Signer::Es256,
            vec![nameless(Signer::NextEs256), nameless(Signer::Rs256), nameless(Signer::Es256)],
        ),
        (
            Signer::Rs256,
            vec![nameless(Signer::Stranger(Box::new(Signer::Rs256))), nameless(Signer::Rs256)],
        ),
    ] {
        for kid in [None, Some("unheard-of".into())] {
            let provider = FakeProvider::start().await;
            provider.twist([
                Twist::Keys(keys.clone()),
                Twist::Signer(signer.clone()),
                Twist::Header("kid", kid),
            ]);
            Stage::with(provider, CLIENT_SECRET).await.admits("keys without kid").await;
        }
    }
}

#[tokio::test]
async fn an_issuer_may_have_a_path_and_a_slash_at_its_end() {
    for path in ["/realms/corp", "/realms/corp/", "/", "/o/a%20b"] {
        Stage::with(FakeProvider::start_at(path).await, CLIENT_SECRET).await.admits(path).await;
    }
}

#[tokio::test]
async fn metadata_may_leave_out_and_announce_what_it_likes() {
    for (name, value) in [
        ("code_challenge_methods_supported", Some(json!(["plain"]))),
        ("code_challenge_methods_supported", Some(json!([]))),
        ("response_types_supported", None),
        ("subject_types_supported", None),
        ("id_token_signing_alg_values_supported", None),
        ("id_token_signing_alg_values_supported", Some(json!(["none"]))),
        ("token_endpoint_auth_methods_supported", Some(json!(["client_secret_post"]))),
        ("authorization_response_iss_parameter_supported", None),
        ("userinfo_endpoint", None),
        ("userinfo_endpoint", Some(Value::Null)),
        ("op_policy_uri", Some(json!(7))),
    ] {
        let what = format!("{name}: {value:?}");
        let stage = Stage::with_metadata(Twist::Metadata(name, value)).await;
        stage.admits(&what).await;
    }
}

#[tokio::test]
async fn userinfo_never_replaces_a_claim_of_the_id_token() {
    let stage = Stage::new().await;

    stage.provider.twist([claim("name", "Alice of the token".into())]);
    assert_eq!(stage.admits("both").await["friendly_name"], "Alice of the token");
}
