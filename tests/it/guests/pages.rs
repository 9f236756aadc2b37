//! What a person without a script meets: a button on the sign-in page, and a page whenever there is no guest.

use std::fmt::Write;

use reqwest::StatusCode;

use super::{come, come_without_cookie, guests, identity, with_pool, with_secret};
use crate::support::browser::Browser;
use crate::support::fake_provider::Signer;
use crate::support::setup::Setup;
use crate::support::visitor::{Answer, Visitor};

fn person(setup: &Setup) -> Visitor {
    Visitor { accept: "text/html,application/xhtml+xml", ..setup.visitor() }
}

/// What a person reads on a page.
fn read(answer: &Answer) -> &str {
    assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8", "{answer:?}");
    answer.body.split_once("<main>").unwrap().1.split_once("</main>").unwrap().0
}

#[tokio::test]
async fn the_button_of_the_sign_in_page_leads_where_its_visitor_wanted_to_go() {
    let setup = with_pool(3).await;
    let mut visitor = person(&setup);
    let page = visitor.get(&setup.url("/")).await;
    assert!(read(&page).contains(r#"<form method="post" action="/guest">"#), "{page:?}");

    let home = visitor.press(&setup.url("/guest"), &[("further", "is ignored")]).await;

    assert_eq!(home.location(), setup.url("/"));
    assert_eq!(identity(&visitor.post(&setup.url("/token")).await), "guest-1");
    let page = visitor.get(&setup.url("/")).await;
    assert!(read(&page).contains("You are here as a guest"), "{page:?}");
    assert!(read(&page).contains("<code>guest-1</code>"), "{page:?}");
    // It keeps its guest, wherever it goes.
    let rooms = visitor.press(&setup.url("/guest"), &[("return_to", "/rooms?a=b")]).await;
    assert_eq!(rooms.location(), setup.url("/rooms?a=b"));
    assert_eq!(identity(&visitor.post(&setup.url("/token")).await), "guest-1");
    // A lease that is over is no guest.
    visitor.cookies.insert("vestibule-guest".to_owned(), "9.x".to_owned());
    let page = visitor.get(&setup.url("/")).await;
    assert!(read(&page).contains("Continue as a guest"), "{page:?}");
}

#[tokio::test]
async fn a_form_plants_no_lease_and_leads_nowhere_else() {
    let setup = with_pool(9).await;
    let guest = setup.url("/guest");
    let secret = come_without_cookie(&setup.service.url, None).await.json()["lease_secret"].clone();
    let bearer = format!("Bearer {}", secret.as_str().unwrap());

    for (fields, code) in [
        (&[("return_to", "https://evil.example/")][..], "invalid_request"),
        (&[("return_to", "//evil.example/")], "invalid_request"),
        (&[("return_to", "/"), ("return_to", "/")], "invalid_request"),
    ] {
        let mut visitor = setup.visitor();
        assert_eq!(visitor.press(&guest, fields).await.code(), code, "{fields:?}");
        assert!(visitor.cookies.is_empty());
    }
    for origin in [None, Some("https://evil.example".to_owned()), Some("null".to_owned())] {
        let mut visitor = Visitor { origin, ..setup.visitor() };
        assert_eq!(visitor.press(&guest, &[]).await.code(), "origin_not_allowed");
        assert!(visitor.cookies.is_empty());
    }
    let mut visitor = setup.visitor();
    let request = visitor.client.post(&guest).header("authorization", &bearer);
    let request = request.header("origin", setup.service.url.as_str());
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let planted = super::answer(request.body("return_to=%2F")).await;
    assert_eq!(planted.code(), "invalid_request");
    assert!(!planted.headers.contains_key("set-cookie"));

    // Nothing was lent for any of these.
    assert_eq!(identity(&come(&mut visitor, &setup.service.url).await), "guest-2");
}

#[tokio::test]
async fn there_is_a_button_only_where_it_works() {
    let keys = serde_json::json!({ "keys": [Signer::Es256.jwk()] });
    let tickets = format!(
        "[guests]\nsize = 3\n[guests.ticket]\nissuer = \"https://www.example.com\"\njwks = '{keys}'\n"
    );
    for setup in [Setup::new().await, Setup::with(&tickets, "").await] {
        let page = person(&setup).get(&setup.url("/")).await;

        assert!(!read(&page).contains("guest"), "{page:?}");
    }
}

/// What a person reads who presses the button when there is no guest: each of the pages, and how long they say to wait.
async fn turned_away(keys: &str, guests_before: usize) -> Answer {
    let setup = Setup::with(keys, "").await;
    for _ in 0..guests_before {
        assert_eq!(come_without_cookie(&setup.service.url, None).await.status, StatusCode::CREATED);
    }
    let mut visitor = person(&setup);
    let answer = visitor.press(&setup.url("/guest"), &[]).await;
    assert!(visitor.cookies.is_empty(), "{answer:?}");
    answer
}

#[tokio::test]
async fn who_gets_no_guest_reads_why_and_what_to_do() {
    let keys = serde_json::json!({ "keys": [Signer::Es256.jwk()] });
    let ticket =
        format!("size = 3\n[guests.ticket]\nissuer = \"https://www.example.com\"\njwks = '{keys}'");
    let mut told = String::new();
    for (code, status, sections, before) in [
        ("pool_exhausted", 503, guests("size = 1"), 1),
        ("guest_budget_reached", 429, guests("size = 2\nmonthly_budget = 1"), 1),
        ("ticket_required", 403, guests(&ticket), 0),
        ("rate_limited", 429, "[guests]\nsize = 9\n[limits]\nguests = \"1/h\"\n".to_owned(), 1),
    ] {
        let page = turned_away(&sections, before).await;

        assert_eq!(page.status.as_u16(), status, "{page:?}");
        assert_eq!(page.headers.contains_key("retry-after"), status != 403, "{page:?}");
        assert!(read(&page).contains(&format!("<code>{code}</code>")), "{page:?}");
        writeln!(told, "{code}\n{}\n", read(&page).replace("><", ">\n<")).unwrap();
    }

    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn who_is_signed_in_is_told_so() {
    let setup = with_pool(3).await;
    let mut visitor = person(&setup);
    visitor.sign_in(&setup.service).await;

    let page = visitor.press(&setup.url("/guest"), &[]).await;

    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(
        read(&page).contains("You are signed in") && read(&page).contains("Sign out first"),
        "{page:?}"
    );
}

#[tokio::test]
async fn programs_are_told_what_they_can_do_instead() {
    let setup = with_pool(3).await;
    let mut program = setup.visitor();
    program.origin = None;
    let bare = come(&mut program, &setup.service.url).await;
    assert_eq!(bare.code(), "origin_not_allowed");
    assert!(bare.json()["detail"].as_str().unwrap().contains(r#"{"cookie": false}"#), "{bare:?}");
    let secret = come_without_cookie(&setup.service.url, None).await.json()["lease_secret"].clone();
    let secret = secret.as_str().unwrap();
    with_secret(reqwest::Method::DELETE, &setup.url("/guest"), secret).await;

    let over = with_secret(reqwest::Method::POST, &setup.url("/token"), secret).await;

    assert_eq!(over.code(), "session_expired");
    assert_eq!(over.json()["title"], "Your time as this guest is over");
}

#[tokio::test]
async fn in_a_browser_the_pages_read_well() {
    for (name, keys) in
        [("guests-exhausted", "size = 1"), ("guests-budget", "size = 2\nmonthly_budget = 1")]
    {
        let setup = Setup::with(&guests(keys), "").await;
        let (one, other) = (Browser::start().await, Browser::start().await);
        one.open(&setup.service.url).await;
        one.picture("sign-in-with-guests").await;
        one.click("form button").await;
        assert_eq!(one.text("h1").await, "You are here as a guest");
        assert_eq!(one.text("dl code").await, "guest-1");
        one.picture("guest").await;

        other.open(&setup.service.url).await;
        other.click("form button").await;

        other.find("dl code").await;
        other.picture(name).await;
        let page = other.text("main").await;
        assert!(page.contains("Wait about\n15 minutes"), "{page}");
        // A reload asks again, and the way on leads to where one can sign in.
        other.click("a.button").await;
        assert_eq!(other.text("h1").await, "Sign in");
    }
}
