//! `vestibule guests`, and the same on the operators' API: what the pool is, and its quarantine.

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use super::{come_without_cookie, guests, with_secret};
use crate::support::fake_provider::FakeProvider;
use crate::support::operator::{OPS_TOKEN, Operator, Said};
use crate::support::policies::serve;
use crate::support::redis::RedisServer;
use crate::support::service::TestService;
use crate::support::setup::provider_section;
use crate::support::visitor::Answer;

/// A service, and an operator beside it.
struct Stage {
    service: TestService,
    operator: Operator,
    provider: FakeProvider,
    _redis: Option<RedisServer>,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn on_redis(guests: &str) -> Self {
        let redis = RedisServer::start();
        let url = redis.url();
        Self::on(&url, guests, Some(redis), tempfile::tempdir().unwrap()).await
    }

    async fn on_a_file(guests: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file:{}", folder.path().join("vestibule.db").display());
        Self::on(&url, guests, None, folder).await
    }

    async fn on(
        url: &str,
        guests: &str,
        redis: Option<RedisServer>,
        folder: tempfile::TempDir,
    ) -> Self {
        let provider = FakeProvider::start().await;
        let further = format!("{guests}{}", provider_section(&provider, ""));
        let service = serve(url, &format!("[ops]\ntoken = \"{OPS_TOKEN}\"\n{further}")).await;
        let operator = Operator::of(&service, url, &further);
        Self { service, operator, provider, _redis: redis, _folder: folder }
    }

    fn run(&self, arguments: &[&str]) -> Said {
        tokio::task::block_in_place(|| self.operator.run(arguments))
    }

    async fn api(&self, method: Method, path: &str) -> Answer {
        let client = Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/api/{path}", self.service.ops_url);
        let response = client.request(method, url).bearer_auth(OPS_TOKEN).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, body: response.text().await.unwrap() }
    }

    async fn lend(&self) -> String {
        let lent = come_without_cookie(&self.service.url, None).await;
        lent.json()["lease_secret"].as_str().unwrap().to_owned()
    }
}

/// The text without its dates.
fn undated(text: &str) -> String {
    let is_date = |text: &str| text.parse::<chrono::DateTime<chrono::Utc>>().is_ok();
    let month = chrono::Utc::now().format("%Y-%m").to_string();
    let parts = text.split("until ").map(|part| match part.split_at_checked(20) {
        Some((date, after)) if is_date(date) => format!("[time]{after}"),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("until ").replace(&month, "[month]")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pool_is_told_alike_whoever_has_the_store_and_to_programs_too() {
    let mut told = Vec::new();
    for stage in [
        Stage::on_redis(&guests("size = 9\nmonthly_budget = 5")).await,
        Stage::on_a_file(&guests("size = 9\nmonthly_budget = 5")).await,
    ] {
        for _ in 0..3 {
            stage.lend().await;
        }

        let table = stage.run(&["guests"]).with_exit(0);
        let said: Value =
            serde_json::from_str(&stage.run(&["guests", "--json"]).with_exit(0)).unwrap();
        let asked = stage.api(Method::GET, "guests").await;

        assert_eq!(asked.json(), said);
        assert_eq!(
            (&said["size"], &said["monthly_budget"], &said["lent"], &said["active"]),
            (&json!(9), &json!(5), &json!(3), &json!(3))
        );
        assert_eq!((&said["idle"], &said["quarantine_ends_ms"]), (&json!(6), &json!(null)));
        told.push(undated(&table));
    }

    assert_eq!(told[0], told[1]);
    insta::assert_snapshot!(told[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantine_ends_all_leases_and_lends_nothing_for_a_while() {
    let mut told = Vec::new();
    for (stage, by_api) in [
        (Stage::on_redis(&guests("size = 9")).await, false),
        (Stage::on_a_file(&guests("size = 9")).await, false),
        (Stage::on_a_file(&guests("size = 9")).await, true),
    ] {
        let secret = stage.lend().await;

        if by_api {
            let answer = stage.api(Method::PUT, "guests/quarantine").await;
            assert_eq!(answer.status, StatusCode::OK);
            assert!(answer.json()["ends_ms"].is_u64(), "{answer:?}");
        } else {
            told.push(undated(&stage.run(&["guests", "--quarantine"]).with_exit(0)));
        }

        let token = format!("{}/token", stage.service.url);
        assert_eq!(with_secret(Method::POST, &token, &secret).await.code(), "session_expired");
        let refused = come_without_cookie(&stage.service.url, None).await;
        assert_eq!(refused.code(), "pool_exhausted");
        let after: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!(
            (1..=2_420).contains(&after),
            "a token's half hour, and ten minutes to cool: {after}"
        );
        let pool = stage.api(Method::GET, "guests").await.json();
        assert!(pool["quarantine_ends_ms"].is_u64(), "{pool}");
        let again: Value =
            serde_json::from_str(&stage.run(&["guests", "--quarantine", "--json"]).with_exit(0))
                .unwrap();
        assert!(again["quarantine_ends_ms"].as_u64() >= pool["quarantine_ends_ms"].as_u64());
    }

    assert_eq!(told[0], told[1]);
    insta::assert_snapshot!(told[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_pool_or_no_store_is_told_so() {
    let none = Stage::on_a_file("").await;
    for arguments in [&["guests"][..], &["guests", "--quarantine"]] {
        let said = none.run(arguments);
        assert!(
            said.exit == Some(1) && said.err.contains("add a [guests] with a size"),
            "{said:#?}"
        );
    }
    for (method, path) in [(Method::GET, "guests"), (Method::PUT, "guests/quarantine")] {
        assert_eq!(none.api(method, path).await.code(), "unknown");
    }
    for (method, path) in [(Method::PUT, "guests"), (Method::GET, "guests/quarantine")] {
        assert_eq!(none.api(method, path).await.code(), "method_not_allowed");
    }
    let client = Client::builder().no_proxy().build().unwrap();
    let nobody = client.put(format!("{}/api/guests/quarantine", none.service.ops_url)).send().await;
    assert_eq!(nobody.unwrap().status(), StatusCode::UNAUTHORIZED, "only the token opens it");

    let away = Operator::with(
        "redis://127.0.0.1:1/",
        &format!("{}{}", guests("size = 9"), provider_section(&none.provider, "")),
    );
    let away =
        tokio::task::block_in_place(|| [away.run(&["guests"]), away.run(&["guests", "--bogus"])]);
    assert_eq!((away[0].exit, away[1].exit), (Some(3), Some(2)), "{away:#?}");
    assert!(away[0].out.is_empty() && !away[0].err.is_empty(), "{away:#?}");
}
