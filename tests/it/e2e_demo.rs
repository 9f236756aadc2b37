//! The demo, as somebody meets it who has just typed `cargo run -- demo`.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::browser::Browser;
use crate::support::process::Process;
use crate::support::visitor::Visitor;

/// Starts the demo on free ports and gives the URL that it prints.
async fn demo() -> (Process, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    command.args(["demo", "--listen", "127.0.0.1:0"]);
    let mut demo = Process::start(&command);
    let url = demo
        .wait_for(Duration::from_secs(30), |line| {
            line.find("http://").map(|at| line[at..].to_owned())
        })
        .await;
    (demo, url)
}

/// Goes from the app to the provider and back as `login`.
async fn sign_in(browser: &Browser, login: &str) {
    browser.click("#sign-in").await;
    browser.click(&format!("button[name=login][value={login}]")).await;
}

fn claims(token: &str) -> Value {
    jsonwebtoken::dangerous::insecure_decode(token).unwrap().claims
}

#[tokio::test]
async fn alice_signs_in_sees_her_token_refreshes_it_and_signs_out() {
    let (_demo, url) = demo().await;
    let browser = Browser::start().await;
    browser.open(&url).await;
    browser.find("#sign-in").await;
    browser.picture("app-signed-out").await;
    browser.click("#sign-in").await;
    browser.find("button[name=login]").await;
    browser.picture("provider").await;

    browser.click("button[name=login][value=alice]").await;

    let identity = browser.text("#identity").await;
    let token = browser.text("#token").await;
    browser.picture("app-signed-in").await;
    assert_eq!(claims(&token)["grants"]["identity"], identity);
    let shown: Value = serde_json::from_str(&browser.text("#claims").await).unwrap();
    assert_eq!(shown, claims(&token));
    let remaining = browser.text("#remaining").await;
    assert!(remaining.starts_with("59 min") || remaining.starts_with("60 min"), "{remaining}");

    browser.click("#refresh").await;

    let begun = Instant::now();
    let fresh = loop {
        let fresh = browser.text("#token").await;
        if fresh != token {
            break fresh;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "the token stays the same");
    };
    assert_eq!(claims(&fresh)["grants"]["identity"], identity);
    assert_ne!(claims(&fresh)["jti"], claims(&token)["jti"]);

    browser.click("#sign-out").await;

    // The page between sends itself; then the provider says goodbye, and the way back leads to ours.
    let goodbye = browser.text("h1").await;
    assert_eq!(goodbye, "You have signed out");
    browser.picture("provider-signed-out").await;
    browser.click("a.button").await;
    let done = browser.text("h1").await;
    assert_eq!(done, "You are signed out");
    browser.picture("signed-out").await;
    let at = browser.client.current_url().await.unwrap();
    assert_eq!(at.path(), "/logout/done");
    browser.open(&url).await;
    browser.find("#sign-in").await;

    sign_in(&browser, "bob").await;
    assert_ne!(browser.text("#identity").await, identity);
}

#[tokio::test]
async fn mallory_is_refused_with_a_page_that_says_what_to_do() {
    let (mut demo, url) = demo().await;
    let browser = Browser::start().await;
    browser.open(&url).await;

    sign_in(&browser, "mallory").await;

    let reference = browser.text("dl div:first-child code").await;
    let page = browser.text("main").await;
    browser.picture("refused").await;
    let at = browser.client.current_url().await.unwrap();
    assert_eq!(at.path(), "/callback/demo");
    assert!(page.contains("login_failed"), "{page}");
    let explains = |line: &str| line.contains(&reference).then(|| line.to_owned());
    let explanation = demo.wait_for(Duration::from_secs(10), explains).await;
    assert!(explanation.contains("the provider refused: access_denied"), "{explanation}");
    browser.open(&url).await;
    browser.find("#sign-in").await;
}

#[tokio::test]
async fn two_windows_are_two_guests_and_who_comes_again_finds_nothing_of_before() {
    let (_demo, url) = demo().await;
    let (one, other) = (Browser::start().await, Browser::start().await);
    for window in [&one, &other] {
        window.open(&url).await;
        window.click("#guest").await;
    }
    let guests = [one.text("#identity").await, other.text("#identity").await];
    assert!(
        guests[0] != guests[1] && guests.iter().all(|it| it.starts_with("guest-")),
        "{guests:?}"
    );
    says(&one, "#conversations", "lobby", "#look").await;

    one.open(&url).await;
    assert_eq!(one.text("#identity").await, guests[0], "a reload keeps the guest");
    says(&one, "#conversations", "lobby, den", "#join").await;
    one.picture("app-guest").await;
    one.click("#give-back").await;
    one.find("#sign-in").await;
    one.click("#guest").await;

    // It may be any guest but the other's; whichever it is, it knows nothing of the den.
    assert_ne!(one.text("#identity").await, guests[1]);
    says(&one, "#conversations", "lobby", "#look").await;
    assert_eq!(
        claims(&one.text("#token").await)["grants"]["identity"],
        one.text("#identity").await
    );

    sign_in_as_member(&other).await;
    says(&other, "#conversations", "lobby", "#look").await;
    other.picture("app-guest-signed-in").await;
}

#[tokio::test]
async fn whose_session_is_over_goes_on_as_a_guest_when_told_to() {
    let (_demo, url) = demo().await;
    let browser = Browser::start().await;
    browser.open(&url).await;
    sign_in(&browser, "alice").await;
    let alice = browser.text("#identity").await;
    // Signed out somewhere else, with a copy of the cookie; the page's script cannot read it.
    let cookies = browser.client.get_all_cookies().await.unwrap();
    let session = cookies.iter().find(|cookie| cookie.name() == "vestibule").unwrap();
    let service = browser.find("#app").await.attr("data-service").await.unwrap().unwrap();
    let mut elsewhere = Visitor::on_a_page_of(&service);
    elsewhere.cookies.insert("vestibule".to_owned(), session.value().to_owned());
    let out = elsewhere.post(&format!("{service}/logout")).await;
    assert!(out.status.is_success(), "{out:?}");

    browser.open(&url).await;

    assert!(browser.text("#problem").await.contains("session_expired"));
    browser.picture("app-session-over").await;
    browser.click("#guest").await;
    let guest = browser.text("#identity").await;
    assert!(guest.starts_with("guest-") && guest != alice, "{guest}");
}

/// From the app of a guest to the provider and back as alice.
async fn sign_in_as_member(browser: &Browser) {
    browser.click("#for-guests a.button").await;
    browser.click("button[name=login][value=alice]").await;
    let begun = Instant::now();
    while browser.text("#identity").await.starts_with("guest-") {
        assert!(begun.elapsed() < Duration::from_secs(10), "she stays a guest");
    }
}

/// Clicks until an element says so: what it shows comes a moment later.
async fn says(browser: &Browser, element: &str, text: &str, click: &str) {
    let begun = Instant::now();
    while browser.text(element).await != text {
        assert!(begun.elapsed() < Duration::from_secs(10), "{element} does not say {text}");
        browser.click(click).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
