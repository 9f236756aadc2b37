//! A login ends once, in the browser that began it, at the provider where it began.

use futures_util::future::join_all;
use reqwest::StatusCode;

use crate::support::fake_provider::FakeProvider;
use crate::support::redis::RedisServer;
use crate::support::service::TestService;
use crate::support::setup::{Setup, provider_section};
use crate::support::visitor::Visitor;

#[tokio::test]
async fn ten_tabs_of_one_browser_can_all_end_in_any_order() {
    let setup = Setup::new().await;
    let mut alice = setup.visitor();
    let mut callbacks = Vec::new();
    for _ in 0..10 {
        callbacks.push(alice.walk_to_callback(&setup.service).await);
    }

    for callback in callbacks.iter().rev() {
        assert_eq!(alice.get(callback).await.status, StatusCode::SEE_OTHER);
        assert_eq!(alice.post(&setup.url("/token")).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn tabs_that_begin_at_the_same_moment_end_or_say_how_to_begin_again() {
    let setup = Setup::new().await;
    let mut alice = Visitor { accept: "text/html", ..setup.visitor() };
    let fresh = alice.clone();
    let mut callbacks = Vec::new();
    for n in 0..3 {
        // None of them has the cookie of the tab before; the browser keeps what came last.
        let mut tab = fresh.clone();
        let start = setup.url(&format!("/login/fake?return_to=/tab-{n}"));
        let away = tab.get(&start).await.location();
        callbacks.push(tab.get(&away).await.location());
        alice.cookies = tab.cookies;
    }

    assert_eq!(alice.get(&callbacks[2]).await.location(), setup.url("/tab-2"));
    let page = alice.get(&callbacks[0]).await;

    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    let at = page.body.find("/login/fake?return_to=").unwrap();
    let again = page.body[at..].split('"').next().unwrap();
    let away = alice.get(&setup.url(again)).await.location();
    let callback = alice.get(&away).await.location();
    assert_eq!(alice.get(&callback).await.location(), setup.url("/tab-0"));
}

#[tokio::test]
async fn abandoned_logins_pile_up_neither_in_the_browser_nor_for_ever_in_the_store() {
    let setup = Setup::new().await;
    let mut alice = setup.visitor();
    for _ in 0..60 {
        alice.get(&setup.url("/login/fake")).await;
    }

    let sent: usize = alice.cookies.iter().map(|(name, value)| name.len() + value.len() + 3).sum();
    assert!(sent < 200, "{sent} bytes of cookies after 60 abandoned logins");
    let keys = setup.redis.ask::<Vec<String>>(&["KEYS", "*"]);
    // One, which no login makes: by it a loss of writes is noticed.
    for key in keys.into_iter().filter(|key| key != "vestibule:guests:{nobody}") {
        let patience: i64 = setup.redis.ask(&["PTTL", &key]);
        assert!((1..=15 * 60 * 1000).contains(&patience), "{key} lives for {patience} ms");
    }
}

#[tokio::test]
async fn an_answer_opened_in_another_browser_signs_nobody_in() {
    let setup = Setup::new().await;
    let mut attacker = setup.visitor();
    let callback = attacker.walk_to_callback(&setup.service).await;

    let mut without_cookie = setup.visitor();
    let mut with_own_login = setup.visitor();
    with_own_login.walk_to_callback(&setup.service).await;
    for victim in [&mut without_cookie, &mut with_own_login] {
        let answer = victim.get(&callback).await;
        assert_eq!(answer.code(), "invalid_request");
        assert!(!victim.cookies.contains_key("vestibule"));
    }

    assert_eq!(setup.provider.requests("token"), 0, "the code went nowhere");
    assert_eq!(
        attacker.get(&callback).await.status,
        StatusCode::SEE_OTHER,
        "and the login is still its owner's"
    );
}

#[tokio::test]
async fn an_answer_counts_once() {
    let setup = Setup::new().await;
    let mut alice = setup.visitor();
    let callback = alice.walk_to_callback(&setup.service).await;
    alice.get(&callback).await;

    let again = alice.get(&callback).await;

    assert_eq!(again.code(), "invalid_request");
    assert!(again.json()["reference"].is_string());
    assert_eq!(setup.provider.requests("token"), 1);
}

#[tokio::test]
async fn twenty_answers_at_once_on_two_replicas_make_one_session() {
    let setup = Setup::new().await;
    let replica = setup.replica().await;
    let mut alice = setup.visitor();
    let callback = alice.walk_to_callback(&setup.service).await;
    let on_replica = callback.replace(&setup.service.url, &replica.url);

    let answers = join_all((0..20).map(|n| {
        let mut tab = alice.clone();
        let url = if n % 2 == 0 { callback.clone() } else { on_replica.clone() };
        async move { tab.get(&url).await }
    }))
    .await;

    let sessions =
        answers.iter().filter(|answer| answer.headers.contains_key("set-cookie")).count();
    assert_eq!(sessions, 1);
    assert_eq!(
        answers.iter().filter(|answer| answer.status == StatusCode::BAD_REQUEST).count(),
        19
    );
    assert_eq!(setup.provider.requests("token"), 1);
}

#[tokio::test]
async fn an_answer_of_one_provider_is_not_taken_at_anothers_callback() {
    let redis = RedisServer::start();
    let (one, other) = (FakeProvider::start().await, FakeProvider::start().await);
    let sections = provider_section(&one, "")
        + &provider_section(&other, "").replace("name = \"fake\"", "name = \"other\"");
    let service = TestService::start(&redis.url(), &sections).await;
    let mut alice = Visitor::of(&service);
    let callback = alice.walk_to_callback(&service).await;

    let crossed = alice.get(&callback.replace("/callback/fake", "/callback/other")).await;

    assert_eq!(crossed.code(), "invalid_request");
    assert_eq!((one.requests("token"), other.requests("token")), (0, 0));
    assert_eq!(alice.get(&callback).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn each_part_of_an_answer_counts() {
    let setup = Setup::new().await;
    let mut alice = setup.visitor();
    for tamper in ["state=", "code=", "&state=x", "&code=x", "&iss=x&iss=x", "&error=x&error=y"] {
        let callback = alice.walk_to_callback(&setup.service).await;
        let tampered = if tamper.starts_with('&') {
            format!("{callback}{tamper}")
        } else {
            callback.replace(tamper, &format!("no_{tamper}"))
        };
        let answer = alice.get(&tampered).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{tamper}: {answer:?}");
        assert!(!alice.cookies.contains_key("vestibule"), "{tamper}");
    }
    assert_eq!(setup.provider.requests("token"), 0);
}

#[tokio::test]
async fn five_hundred_logins_at_once_never_swap_people() {
    let setup = Setup::with("[limits]\nlogins = \"off\"", "").await;
    setup.provider.delay_token_endpoint(std::time::Duration::from_millis(200));

    let people = join_all((0..500).map(|n| {
        let mut person = setup.visitor();
        let setup = &setup;
        async move {
            let away = person.get(&setup.url("/login/fake")).await.location();
            let callback = person.get(&format!("{away}&login_hint=person-{n}")).await.location();
            assert_eq!(person.get(&callback).await.status, StatusCode::SEE_OTHER);
            person.get(&setup.url("/session")).await.json()["identity"].as_str().unwrap().to_owned()
        }
    }))
    .await;

    for (n, identity) in people.iter().enumerate() {
        let namespace =
            uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, setup.provider.issuer().as_bytes());
        let expected = uuid::Uuid::new_v5(&namespace, format!("person-{n}").as_bytes()).to_string();
        assert_eq!(*identity, expected);
    }
}

#[tokio::test]
async fn too_many_logins_from_one_address_are_refused_and_another_address_is_not() {
    let setup = Setup::with("[limits]\nlogins = \"3/h\"\n", "").await;
    let replica = setup.replica().await;
    let mut alice = setup.visitor();
    for n in 0..3 {
        let service = if n % 2 == 0 { &setup.service } else { &replica };
        alice.get(&format!("{}/login/fake", service.url)).await.location();
    }

    let refused = alice.get(&setup.url("/login/fake")).await;
    assert_eq!(
        (refused.status, refused.code()),
        (StatusCode::TOO_MANY_REQUESTS, "rate_limited".into())
    );
    let after: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1100..=1200).contains(&after), "{after}");

    let forged = [("x-forwarded-for", "203.0.113.9")];
    let still = alice.send(reqwest::Method::GET, &setup.url("/login/fake"), &forged).await;
    assert_eq!(still.code(), "rate_limited", "nobody trusts this peer's X-Forwarded-For");
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_limit() {
    let redis = RedisServer::start();
    let provider = FakeProvider::start().await;
    let sections = format!("[limits]\nlogins = \"1/h\"\n{}", provider_section(&provider, ""));
    let service = TestService::start_behind_proxy(&redis.url(), &sections).await;
    let mut anybody = Visitor::of(&service);
    let url = format!("{}/login/fake", service.url);
    let mut from = async |address: &str| {
        anybody.send(reqwest::Method::GET, &url, &[("x-forwarded-for", address)]).await.status
    };

    assert_eq!(from("203.0.113.9").await, StatusCode::SEE_OTHER);
    assert_eq!(from("203.0.113.9").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(from("203.0.113.10, 203.0.113.9").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(from("203.0.113.9, 203.0.113.10").await, StatusCode::SEE_OTHER);
    assert_eq!(from("2001:db8:1:2::1").await, StatusCode::SEE_OTHER);
    assert_eq!(from("2001:db8:1:2:ffff::2").await, StatusCode::TOO_MANY_REQUESTS);
}
