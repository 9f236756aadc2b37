//! The provider comes back with other keys, Redis is stopped and started, a process is killed: in the middle of everything. No session
//! is lost that should live, and none that was ended comes back.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use tokio::time::sleep;

use crate::process::Service;
use crate::revalidation::SEAL;
use crate::support::fake_provider::{FakeProvider, Signer};
use crate::support::policies::{PUBLIC_URL, visitor, walk_at};
use crate::support::redis::RedisServer;
use crate::support::service::TWILIO;
use crate::support::setup::provider_section;
use crate::support::visitor::{Answer, Visitor};

struct Stage {
    redis: RedisServer,
    provider: FakeProvider,
    services: [Service; 2],
    urls: [String; 2],
}

impl Stage {
    async fn new() -> Self {
        let (redis, provider) = (RedisServer::start_on_disk(), FakeProvider::start().await);
        provider.name_sessions();
        let configuration = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"{PUBLIC_URL}\"\n[ops]\nlisten = \"127.0.0.1:0\"\n[store]\nurl = \"{}\"\n{SEAL}{TWILIO}{}",
            redis.url(),
            provider_section(&provider, "revalidate_after = \"1s\"\ntimeout = \"3s\"")
        );
        let services = [(); 2].map(|()| Service::serving(&configuration));
        let urls = [0, 1].map(|at: usize| format!("http://{}", services[at].public));
        Self { redis, provider, services, urls }
    }

    async fn device(&self) -> Visitor {
        let mut device = visitor();
        let callback = walk_at(&mut device, &self.urls[0], "fake", "alice").await;
        let answer = device.get(&callback).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        device
    }

    async fn token(&self, at: usize, device: &Visitor) -> Answer {
        device.clone().post(&format!("{}/token", self.urls[at])).await
    }

    /// Asks both until they give a token; neither may say that the session is over.
    async fn comes_back(&self, device: &Visitor) {
        for at in [0, 1] {
            let begun = Instant::now();
            loop {
                let answer = self.token(at, device).await;
                if answer.status == StatusCode::OK {
                    break;
                }
                assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
                assert!(begun.elapsed() < Duration::from_secs(20), "{answer:?}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn later() {
    sleep(Duration::from_millis(1100)).await;
}

#[tokio::test]
async fn a_provider_that_comes_back_with_other_keys_is_believed() {
    let stage = Stage::new().await;
    let device = stage.device().await;
    later().await;

    stage.provider.rotate_to(Signer::NextEs256);

    stage.comes_back(&device).await;
    // And in the middle of an answer, which is signed with the key of before.
    later().await;
    stage.provider.delay_token_endpoint(Duration::from_millis(600));
    let (answer, ()) = tokio::join!(stage.token(0, &device), async {
        sleep(Duration::from_millis(300)).await;
        stage.provider.rotate_to(Signer::Es256);
    });
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    stage.provider.delay_token_endpoint(Duration::ZERO);
    later().await;
    stage.comes_back(&device).await;
    assert_eq!(stage.provider.requests("replay"), 0);
}

#[tokio::test]
async fn redis_may_be_started_again_while_a_refresh_token_is_redeemed() {
    let mut stage = Stage::new().await;
    let (device, gone) = (stage.device().await, stage.device().await);
    gone.clone().post(&format!("{}/logout", stage.urls[1])).await;
    later().await;
    stage.provider.delay_token_endpoint(Duration::from_secs(1));

    let asking = {
        let (mut device, url) = (device.clone(), format!("{}/token", stage.urls[0]));
        tokio::spawn(async move { device.post(&url).await })
    };
    sleep(Duration::from_millis(400)).await;
    stage.redis.stop();
    sleep(Duration::from_millis(1500)).await;
    stage.redis.start_again();
    let asked = asking.await.unwrap();

    assert_ne!(asked.status, StatusCode::UNAUTHORIZED, "{asked:?}");
    stage.provider.delay_token_endpoint(Duration::ZERO);
    stage.comes_back(&device).await;
    later().await;
    stage.comes_back(&device).await;
    assert_eq!(stage.provider.requests("replay"), 0, "no refresh token was shown twice");
    for at in [0, 1] {
        assert_eq!(stage.token(at, &gone).await.code(), "session_expired");
    }
}

#[tokio::test]
async fn a_process_that_is_killed_with_a_redeemed_token_costs_that_session_where_tokens_are_for_one_use()
 {
    for rotates in [true, false] {
        let mut stage = Stage::new().await;
        if !rotates {
            stage.provider.keep_refresh_tokens();
        }
        let (device, other) = (stage.device().await, stage.device().await);
        later().await;
        stage.provider.delay_token_endpoint(Duration::from_secs(1));
        let asking = {
            let (client, url) = (device.clone(), format!("{}/token", stage.urls[0]));
            tokio::spawn(async move {
                let cookie = format!("vestibule={}", client.cookies["vestibule"]);
                let request = client.client.post(&url).header("cookie", cookie);
                request.header("origin", PUBLIC_URL).send().await.map(|answer| answer.status())
            })
        };
        sleep(Duration::from_millis(400)).await;
        stage.services[0].tell("KILL");
        assert!(asking.await.unwrap().is_err(), "it was killed");
        stage.services[0].wait();
        stage.provider.delay_token_endpoint(Duration::ZERO);

        // The turn of the dead ends by itself: two answers of three seconds, ten for keeping, five for the rest.
        let begun = Instant::now();
        let last = loop {
            let answer = stage.token(1, &device).await;
            let is_asked = stage.provider.requests("refresh") > 1;
            if is_asked || answer.status == StatusCode::UNAUTHORIZED {
                break answer;
            }
            assert!(begun.elapsed() < Duration::from_secs(40), "{answer:?}");
            sleep(Duration::from_millis(200)).await;
        };

        let expected = if rotates { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
        assert_eq!(last.status, expected, "{last:?}");
        let other = stage.token(1, &other).await;
        assert_eq!(other.status, StatusCode::OK, "another session goes on: {other:?}");
    }
}
