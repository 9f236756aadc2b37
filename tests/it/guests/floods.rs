//! Whoever asks for guests in a loop gets a few, by whatever name; and many addresses together no more than the month's budget.

use reqwest::StatusCode;

use super::{come_from, come_without_cookie, identity};
use crate::support::fake_provider::FakeProvider;
use crate::support::redis::RedisServer;
use crate::support::service::TestService;
use crate::support::setup::provider_section;

const BODY: &str = r#"{"cookie":false}"#;

/// A pool with these keys, and so many guests for one address.
async fn service(redis: &RedisServer, behind_proxy: bool, keys: &str) -> TestService {
    let provider = FakeProvider::start().await;
    let further = format!(
        "[guests]\nsize = 50\n{keys}\n[limits]\nguests = \"2/h\"\n{}",
        provider_section(&provider, "")
    );
    if behind_proxy {
        TestService::start_behind_proxy(&redis.url(), &further).await
    } else {
        TestService::start(&redis.url(), &further).await
    }
}

#[tokio::test]
async fn an_address_is_the_one_that_a_trusted_proxy_says_and_of_ipv6_a_64() {
    let redis = RedisServer::start();
    let service = service(&redis, true, "").await;
    let code = async |address: &str| {
        let answer = come_from(&service.url, address, BODY).await;
        (answer.status != StatusCode::CREATED).then(|| answer.code())
    };
    let limited = Some("rate_limited".to_owned());

    for two in [
        ["192.0.2.7", "::ffff:192.0.2.7"],
        // What a client writes itself stands before what the proxy saw.
        ["192.0.2.8", "203.0.113.1, 192.0.2.8"],
        ["2001:db8:1:2::7", "2001:db8:1:2:ffff:ffff:ffff:ffff"],
        ["2001:db8:1:3::7", "2001:db8:1:3::7"],
    ] {
        assert_eq!(code(two[0]).await, None, "{two:?}");
        assert_eq!(code(two[1]).await, None, "{two:?}");
        for address in two {
            assert_eq!(code(address).await, limited, "{address}");
        }
    }
}

#[tokio::test]
async fn whom_no_proxy_is_trusted_to_speak_for_is_one_address() {
    let redis = RedisServer::start();
    let service = service(&redis, false, "").await;
    for address in ["192.0.2.1", "192.0.2.2"] {
        assert_eq!(come_from(&service.url, address, BODY).await.status, StatusCode::CREATED);
    }

    let refused = come_from(&service.url, "192.0.2.3", BODY).await;

    assert_eq!(refused.code(), "rate_limited");
}

#[tokio::test]
async fn many_addresses_cost_no_more_than_the_months_budget() {
    let redis = RedisServer::start();
    let service = service(&redis, true, "monthly_budget = 5").await;
    let mut secrets = Vec::new();
    let mut refused = 0;

    for number in 1..=20 {
        let answer = come_from(&service.url, &format!("198.51.100.{number}"), BODY).await;
        if answer.status == StatusCode::CREATED {
            secrets.push(answer.json()["lease_secret"].as_str().unwrap().to_owned());
        } else {
            assert_eq!(answer.code(), "guest_budget_reached");
            refused += 1;
        }
    }

    assert_eq!((secrets.len(), refused), (5, 15));
    let own = come_without_cookie(&service.url, Some(&secrets[0])).await;
    assert_eq!(
        (own.status, identity(&own)),
        (StatusCode::OK, "guest-1".to_owned()),
        "it costs nothing more"
    );
}
