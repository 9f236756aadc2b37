//! Somebody signs out here or at their provider: which sessions end, at every replica, whatever is under way, and for whose word only.

mod browsers;
mod order;

use reqwest::StatusCode;
use serde_json::json;

use crate::revalidation::{SEAL, Stage};
use crate::support::fake_provider::{FakeProvider, Twist};
use crate::support::policies::{PUBLIC_URL, sign_in, token, visitor};
use crate::support::service::TestService;
use crate::support::visitor::{Answer, Visitor};

/// Two replicas, and a provider whose ID tokens name its sessions.
async fn stage(keys: &str) -> Stage {
    let stage = Stage::with(SEAL, keys).await;
    stage.provider.name_sessions();
    stage.provider.describe("bob", json!({ "groups": ["staff"] }));
    stage
}

/// Somebody's device, and its session at the provider.
async fn device(stage: &Stage, who: &str) -> (Visitor, String) {
    let mut device = visitor();
    let answer = sign_in(&mut device, &stage.replicas[0], "fake", who).await;
    assert_eq!(answer.location(), format!("{PUBLIC_URL}/"), "{answer:?}");
    (device, stage.provider.last_sid())
}

/// Sends a logout token, as the provider's own server does.
async fn hear(replica: &TestService, token: &str) -> Answer {
    let url = format!("{}/logout/backchannel/fake", replica.url);
    visitor().submit(&url, &[("logout_token".to_owned(), token.to_owned())]).await
}

/// Sends one that is taken.
async fn log_out(stage: &Stage, sub: Option<&str>, sid: Option<&str>, twists: &[Twist]) {
    let answer = hear(&stage.replicas[1], &stage.provider.logout_token(sub, sid, twists)).await;
    assert_eq!(answer.status, StatusCode::OK, "{sub:?} {sid:?} {twists:?}: {answer:?}");
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.body, "");
}

/// Whether a device's session lives; the replicas agree.
async fn lives(stage: &Stage, device: &Visitor) -> bool {
    let mut answers = Vec::new();
    for replica in &stage.replicas {
        let answer = token(&mut Visitor { accept: "*/*", ..device.clone() }, replica).await;
        if answer.status != StatusCode::OK {
            assert_eq!(answer.code(), "session_expired", "{answer:?}");
        }
        answers.push(answer.status == StatusCode::OK);
    }
    assert_eq!(answers[0], answers[1], "the replicas disagree");
    answers[0]
}

/// A URL of the provider's, in which it says that a session has ended.
fn front_channel(replica: &TestService, query: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    format!("{}/logout/frontchannel/fake?{query}", replica.url)
}

fn frame(replica: &TestService, provider: &FakeProvider, sid: &str) -> String {
    front_channel(replica, &[("iss", &provider.issuer()), ("sid", sid)])
}
