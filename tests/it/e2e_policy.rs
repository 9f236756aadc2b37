//! The recipe for Keycloak in docs/POLICY.md, at Keycloak.

use std::process::Command;

use reqwest::StatusCode;

use crate::recipes;
use crate::support::forms::walk;
use crate::support::keycloak::{ALICE, BOB, CAROL, CLIENT_ID, CLIENT_SECRET, Keycloak};
use crate::support::redis::RedisServer;
use crate::support::service::{TWILIO, TestService};
use crate::support::story::{At, Who, sign_in};
use crate::support::visitor::{Answer, Visitor};

/// The recipe for this Keycloak.
fn recipe(keycloak: &Keycloak) -> String {
    let recipe = recipes::configuration("Keycloak");
    let example = "issuer = \"https://id.example.com/realms/corp\"";
    assert!(recipe.contains(example), "{recipe}");
    let client = format!(
        "issuer = \"{}\"\nclient_id = \"{CLIENT_ID}\"\nclient_secret = \"{CLIENT_SECRET}\"",
        keycloak.issuer
    );
    recipe.replace(example, &client)
}

/// Signs in and gives what the callback answers, to a browser or to a program.
async fn answer(service: &TestService, who: Who<'_>, accept: &'static str) -> (Visitor, Answer) {
    let mut visitor = Visitor::of(service);
    let start = format!("{}/login/corp", service.url);
    let callback = format!("{}/callback/corp?", service.url);
    let url = walk(&mut visitor, &start, &callback, (who.login, who.password)).await;
    visitor.accept = accept;
    let answer = visitor.get(&url).await;
    (visitor, answer)
}

#[tokio::test]
async fn alice_comes_in_and_so_does_carol_who_is_in_no_group() {
    let keycloak = Keycloak::shared().await;
    let redis = RedisServer::start();
    let service = TestService::start(&redis.url(), &recipe(keycloak)).await;

    for who in [ALICE, CAROL] {
        let at = At { name: "corp", issuer: &keycloak.issuer };
        let mut device = sign_in(&service, &at, who).await;
        let token = device.post(&format!("{}/token", service.url)).await;

        assert_eq!(token.status, StatusCode::OK, "{token:?}");
    }
}

#[tokio::test]
async fn bob_reads_why_not_and_what_to_quote() {
    let keycloak = Keycloak::shared().await;
    let redis = RedisServer::start();
    let service = TestService::start(&redis.url(), &recipe(keycloak)).await;
    let message = "Please confirm your e-mail address, then sign in again.";

    let (visitor, page) = answer(&service, BOB, "text/html").await;

    assert_eq!(page.status, StatusCode::FORBIDDEN, "{page:?}");
    assert!(page.body.contains(message), "{page:?}");
    assert!(page.body.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').any(is_reference));
    assert!(!visitor.cookies.contains_key("vestibule"), "{page:?}");

    let (visitor, problem) = answer(&service, BOB, "application/json").await;

    assert_eq!((problem.status, problem.code().as_str()), (StatusCode::FORBIDDEN, "access_denied"));
    assert_eq!(problem.json()["detail"], message);
    assert!(!visitor.cookies.contains_key("vestibule"), "{problem:?}");
    let problem = problem.json();
    let reference = problem["reference"].as_str().unwrap();
    let said = explain(reference, &redis.url(), &recipe(keycloak));
    assert!(said.contains("allow[0] says no") && said.contains(BOB.sub), "{said}");
}

/// What the page says of Keycloak beyond what the recipe reads: groups by their full path, and no `groups` for who has none.
#[tokio::test]
async fn keycloak_sends_what_the_page_says() {
    let keycloak = Keycloak::shared().await;
    let redis = RedisServer::start();
    let policy = "allow = \"has(claims.groups) ? '/team-blue' in claims.groups && size(claims.groups) == 3 \
                  : claims.preferred_username == 'carol'\"";
    let before = recipe(keycloak).split("[provider.policy]").next().unwrap().to_owned();
    let section = format!("{before}[provider.policy]\n{policy}\n");
    let service = TestService::start(&redis.url(), &section).await;

    for who in [ALICE, CAROL] {
        sign_in(&service, &At { name: "corp", issuer: &keycloak.issuer }, who).await;
    }
}

/// What the command says about a denial.
fn explain(reference: &str, store: &str, provider: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[server]\npublic_url = \"https://chat-auth.example.com\"\n[store]\nurl = \"{store}\"\n{TWILIO}\n{provider}"
    );
    std::fs::write(folder.path().join("vestibule.toml"), text).unwrap();
    let explained = Command::new(env!("CARGO_BIN_EXE_vestibule"))
        .current_dir(&folder)
        .args(["explain", reference])
        .output()
        .unwrap();
    String::from_utf8(explained.stdout).unwrap()
}

/// Five characters, a dash, five characters.
fn is_reference(word: &str) -> bool {
    let of_five = |part: &str| part.len() == 5 && part.bytes().all(|b| b.is_ascii_alphanumeric());
    word.split_once('-').is_some_and(|(first, second)| of_five(first) && of_five(second))
}
