//! An endpoint that answers wrongly, or about somebody else, refuses the login.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Stage, explanation, html, in_seconds, json_reply};
use crate::support::fake_provider::{Reply, Signer, Twist};
use crate::support::log;

#[tokio::test]
async fn an_authorization_response_of_another_issuer_never_brings_its_code_anywhere() {
    let stage = Stage::new().await;
    let issuer = stage.provider.issuer();
    stage.admits("before").await;

    for iss in [
        Some(format!("{issuer}/")),
        Some("https://evil.example".to_owned()),
        Some(String::new()),
        None,
    ] {
        stage.refuses(Twist::Response("iss", iss), "response_issuer").await;
    }

    // Where it is not announced it may be absent, but not another.
    let silent = Stage::with_metadata(Twist::Metadata(
        "authorization_response_iss_parameter_supported",
        None,
    ))
    .await;
    silent.admits("unannounced").await;
    silent.provider.twist([Twist::Response("iss", None)]);
    silent.admits("unannounced and absent").await;
    silent
        .refuses(
            Twist::Response("iss", Some("https://github.com/login/oauth".into())),
            "response_issuer",
        )
        .await;
}

#[tokio::test]
async fn an_error_in_the_authorization_response_ends_the_login_without_a_word_of_it_to_the_person()
{
    let stage = Stage::new().await;
    let evil = "<script>alert(1)</script>\r\nSet-Cookie: a=b";

    for error in ["access_denied", evil, &"e".repeat(4000)] {
        stage
            .provider
            .twist([Twist::Response("code", None), Twist::Response("error", Some(error.into()))]);
        let mut alice = stage.visitor();
        alice.accept = "text/html";
        let page = alice.sign_in(&stage.service).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST);
        assert!(
            !page.body.contains("alert(1)") && !page.body.contains("access_denied"),
            "{page:?}"
        );

        let (visitor, answer) = stage.sign_in().await;
        assert_eq!(answer.code(), "login_failed", "{error}");
        let log = explanation(&answer);
        assert!(log.contains("the provider refused: ") && log.len() < 1000, "{log}");
        stage.is_nobody(visitor, error).await;
    }
    // An error of somebody else's is not even looked at.
    stage.provider.twist([
        Twist::Response("error", Some("access_denied".into())),
        Twist::Response("iss", Some("https://evil.example".into())),
    ]);
    let (_, answer) = stage.sign_in().await;
    assert!(explanation(&answer).contains("response_issuer: expected"));
    assert_eq!(stage.provider.requests("token"), 0);
}

#[tokio::test]
async fn a_token_endpoint_that_says_no_is_believed() {
    let stage = Stage::new().await;

    for reply in [
        json_reply(400, r#"{"error":"invalid_grant","error_description":"canary-description"}"#),
        json_reply(401, r#"{"error":"invalid_request"}"#),
        json_reply(403, r#"{"error":"invalid_code"}"#),
        json_reply(200, r#"{"error":"bad_verification_code"}"#),
        Reply::new(400, "application/problem+json", r#"{"error":"x\u0000\n\u202ey"}"#),
    ] {
        stage.provider.twist([Twist::Answer("token", reply.clone())]);
        let (visitor, answer) = stage.sign_in().await;
        assert_eq!(answer.code(), "login_failed", "{reply:?}");
        assert!(explanation(&answer).contains("the provider refused: "), "{reply:?}");
        stage.is_nobody(visitor, &format!("{reply:?}")).await;
    }
    assert_eq!(log::lines_with("canary-description"), Vec::<String>::new());
    assert_eq!(log::lines_with("\u{202e}"), Vec::<String>::new());
    assert_eq!(stage.provider.requests("userinfo"), 0);
}

#[tokio::test]
async fn a_token_endpoint_that_does_not_know_its_protocol_is_of_no_use() {
    let stage = Stage::new().await;
    let elsewhere = format!("{}/elsewhere", stage.provider.issuer());

    for reply in [
        html(200),
        html(400),
        json_reply(400, ""),
        json_reply(400, "{}"),
        json_reply(400, r#"{"error":7}"#),
        json_reply(200, ""),
        json_reply(200, "[]"),
        json_reply(200, "{}"),
        json_reply(200, "null"),
        json_reply(500, r#"{"error":"invalid_grant"}"#),
        json_reply(429, r#"{"error":"slow_down"}"#),
        Reply::new(200, "application/x-www-form-urlencoded", "access_token=a&id_token=b"),
        Reply::redirect(302, &elsewhere),
        Reply::redirect(307, &elsewhere),
        Reply::redirect(308, "http://169.254.169.254/latest/meta-data"),
        json_reply(200, &format!("{{\"padding\":\"{}\"}}", "x".repeat(2 * 1024 * 1024))),
    ] {
        stage.is_let_down_by(Twist::Answer("token", reply), "token").await;
    }
    for (name, value) in [
        ("access_token", None),
        ("access_token", Some(json!(""))),
        ("access_token", Some(json!("canary\r\nX-Evil: 1"))),
        ("access_token", Some(json!("canary\u{0}"))),
        ("access_token", Some(json!("canary-ä"))),
        ("access_token", Some(json!(7))),
        ("token_type", None),
        ("token_type", Some(json!("DPoP"))),
    ] {
        stage.is_let_down_by(Twist::TokenMember(name, value), "token").await;
    }
    assert_eq!(stage.provider.requests("userinfo"), 0);
    stage.admits("afterwards").await;
}

#[tokio::test]
async fn userinfo_about_somebody_else_or_of_no_shape_refuses_the_login() {
    let stage = Stage::new().await;

    for sub in [
        Some(json!("mallory")),
        Some(json!("Alice")),
        Some(json!("")),
        Some(json!(["alice"])),
        Some(Value::Null),
        None,
    ] {
        stage.refuses(Twist::Userinfo("sub", sub), "userinfo_sub").await;
    }
    for reply in [
        json_reply(200, r#"["sub","alice"]"#),
        json_reply(200, r#"[{"sub":"alice"}]"#),
        json_reply(200, r#""alice""#),
        json_reply(200, ""),
        Reply::new(200, "text/html", r#"{"sub":"alice"}"#),
        Reply::new(200, "application/jwt", r#"{"sub":"alice"}"#),
        Reply::new(200, "application/jwt", "\u{0}"),
    ] {
        stage.refuses(Twist::Answer("userinfo", reply), "format").await;
    }
    stage.refuses(Twist::SignedUserinfo(Signer::Nothing("none")), "algorithm").await;
    stage
        .refuses(
            Twist::SignedUserinfo(Signer::Hmac(b"canary-client-secret-0001".to_vec())),
            "algorithm",
        )
        .await;
    stage
        .refuses(Twist::SignedUserinfo(Signer::Stranger(Box::new(Signer::Es256))), "signature")
        .await;
    stage.refuses(Twist::Userinfo("padding", Some("x".repeat(65_536).into())), "size").await;
    for (name, value) in
        [("iss", json!("https://evil.example")), ("aud", json!("other")), ("exp", in_seconds(-62))]
    {
        stage
            .provider
            .twist([Twist::SignedUserinfo(Signer::Es256), Twist::Userinfo(name, Some(value))]);
        let (visitor, answer) = stage.sign_in().await;
        assert_eq!(answer.code(), "login_failed");
        assert!(explanation(&answer).contains(&format!("{name}: expected ")), "{name}");
        stage.is_nobody(visitor, name).await;
    }
    stage.provider.twist([]);
    stage.admits("afterwards").await;
}

#[tokio::test]
async fn userinfo_that_fails_is_not_passed_over() {
    let stage = Stage::new().await;
    let elsewhere = format!("{}/elsewhere", stage.provider.issuer());

    for reply in [
        json_reply(500, "{}"),
        json_reply(404, "{}"),
        html(503),
        Reply::redirect(302, elsewhere),
        json_reply(200, &" ".repeat(10 * 1024 * 1024)),
    ] {
        stage.is_let_down_by(Twist::Answer("userinfo", reply), "userinfo").await;
    }
}

#[tokio::test]
async fn each_failure_is_counted_by_its_cause() {
    let stage = Stage::new().await;
    let count = async |cause: &str| {
        let series =
            format!("vestibule_provider_failures_total{{provider=\"fake\",cause=\"{cause}\"}} ");
        let metrics = stage.metrics().await;
        let line = metrics.lines().find_map(|line| line.strip_prefix(&series)).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{series} in {metrics}")).parse::<u64>().unwrap()
    };
    stage.admits("before").await;

    for (twist, cause) in [
        (Twist::Claim("nonce", None), "nonce"),
        (Twist::Signer(Signer::Nothing("none")), "algorithm"),
        (Twist::Response("iss", None), "response_issuer"),
        (Twist::Response("error", Some("access_denied".into())), "refused"),
        (Twist::Answer("token", html(500)), "token"),
        (Twist::Answer("token", json_reply(400, r#"{"error":"invalid_grant"}"#)), "refused"),
        (Twist::Answer("userinfo", html(500)), "userinfo"),
        (Twist::Userinfo("sub", None), "userinfo_sub"),
    ] {
        let before = count(cause).await;
        stage.provider.twist([twist]);
        stage.sign_in().await;
        assert_eq!(count(cause).await, before + 1, "{cause}");
    }
    let metrics = stage.metrics().await;
    for endpoint in ["discovery", "keys", "token", "userinfo"] {
        let series = format!(
            "vestibule_provider_call_duration_seconds_count{{provider=\"fake\",endpoint=\"{endpoint}\"}}"
        );
        assert!(metrics.contains(&series), "{series} in {metrics}");
    }
}
