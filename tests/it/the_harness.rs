//! The programs beside the tests do what the tests take for granted.

use std::process::Command;
use std::time::Duration;

use serde_json::json;
use url::Url;

use crate::support::browser::Browser;
use crate::support::forms::walk;
use crate::support::keycloak::{self, Keycloak};
use crate::support::node_provider::NodeProvider;
use crate::support::process::Process;
use crate::support::visitor::Visitor;

fn authorization_request(endpoint: &str, redirect_uri: &str) -> Url {
    let parameters = [
        ("client_id", "vestibule"),
        ("response_type", "code"),
        ("scope", "openid"),
        ("redirect_uri", redirect_uri),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ];
    Url::parse_with_params(endpoint, parameters).expect("a URL")
}

#[tokio::test]
async fn a_person_can_sign_in_at_oidc_provider() {
    let redirect_uri = "http://127.0.0.1:9/callback/node";
    let provider = NodeProvider::start(redirect_uri, json!({})).await;
    let start = authorization_request(&format!("{}/auth", provider.issuer), redirect_uri);

    let mut alice = Visitor::on_a_page_of(&provider.issuer);
    let answer = walk(&mut alice, start.as_str(), redirect_uri, ("alice", "any password")).await;

    assert!(answer.contains("?code="), "{answer}");
}

#[tokio::test]
async fn a_person_can_sign_in_at_keycloak() {
    let redirect_uri = "http://127.0.0.1:9/callback/keycloak";
    let issuer = &Keycloak::shared().await.issuer;
    let start =
        authorization_request(&format!("{issuer}/protocol/openid-connect/auth"), redirect_uri);

    for person in [keycloak::ALICE, keycloak::BOB] {
        let mut visitor = Visitor::on_a_page_of(issuer);
        let answer =
            walk(&mut visitor, start.as_str(), redirect_uri, (person.login, person.password)).await;

        assert!(answer.contains("&code="), "{answer}");
    }
}

#[tokio::test]
async fn a_browser_shows_a_page_as_wide_as_its_window() {
    let browser = Browser::start().await;

    browser.open("data:text/html,<title>t</title><p id=p>Hello</p>").await;

    assert_eq!(browser.text("#p").await, "Hello");
    for width in [1280, 390] {
        browser.client.set_window_size(width, 900).await.unwrap();
        let seen = browser.client.execute("return innerWidth", vec![]).await.unwrap();
        assert_eq!(seen, json!(width));
    }
}

#[tokio::test]
async fn a_dropped_process_takes_its_children_along() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "sleep 600 & echo child $!; wait"]);
    let mut process = Process::start(&shell);
    let child = process
        .wait_for(Duration::from_secs(10), |line| line.strip_prefix("child ").map(str::to_owned))
        .await;
    let alive = || {
        std::fs::read_to_string(format!("/proc/{child}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
    };
    assert!(alive());

    drop(process);

    for _ in 0..100 {
        if !alive() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("process {child} is still there");
}
