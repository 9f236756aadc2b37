//! A logout while a login or a question to the provider is under way wins, whoever is first.

use std::time::Duration;

use tokio::time::sleep;

use super::{device, frame, hear, lives, log_out, stage};
use crate::revalidation::{Stage, later, refused};
use crate::support::policies::{sign_in, token, visitor, walk};

/// How many sessions live, with no look at their cookies.
fn sessions(stage: &Stage) -> usize {
    let slots: Vec<String> = stage.redis.ask(&["KEYS", "vestibule:session:*"]);
    slots.iter().filter(|key| !stage.redis.ask::<bool>(&["HEXISTS", key, "x"])).count()
}

#[tokio::test]
async fn a_login_that_it_means_opens_no_session() {
    for by in ["sid", "sub", "both", "frame", "another name"] {
        let keys = if by == "another name" { "subject_claim = \"oid\"" } else { "" };
        let stage = stage(keys).await;
        let claims = serde_json::json!({ "groups": ["staff"], "oid": "object-of-alice" });
        stage.provider.describe("alice", claims);
        let mut laptop = visitor();
        let callback = walk(&mut laptop, &stage.replicas[0], "fake", "alice").await;
        let sid = stage.provider.last_sid();
        stage.provider.delay_token_endpoint(Duration::from_secs(1));

        let login = tokio::spawn({
            let mut laptop = laptop.clone();
            async move { laptop.get(&callback).await }
        });
        sleep(Duration::from_millis(300)).await;
        match by {
            "sid" => log_out(&stage, None, Some(&sid), &[]).await,
            "both" => log_out(&stage, Some("alice"), Some(&sid), &[]).await,
            "frame" => {
                let url = frame(&stage.replicas[1], &stage.provider, &sid);
                assert_eq!(visitor().get(&url).await.status, 200);
            }
            _ => log_out(&stage, Some("alice"), None, &[]).await,
        }
        let answer = login.await.unwrap();

        assert_eq!(refused(&answer), (401, "session_expired".to_owned()), "{by}: {answer:?}");
        assert!(!answer.headers.contains_key("location"), "{by}: {answer:?}");
        assert_eq!(sessions(&stage), 0, "{by}");
        stage.provider.delay_token_endpoint(Duration::ZERO);
        let (anew, _) = device(&stage, "alice").await;
        assert!(lives(&stage, &anew).await, "{by}");
    }
}

#[tokio::test]
async fn it_takes_nothing_from_a_login_that_it_does_not_mean() {
    let stage = stage("").await;
    let mut bobs = visitor();
    let callback = walk(&mut bobs, &stage.replicas[0], "fake", "bob").await;
    stage.provider.delay_token_endpoint(Duration::from_secs(1));

    let login = tokio::spawn(async move { (bobs.get(&callback).await, bobs) });
    sleep(Duration::from_millis(300)).await;
    log_out(&stage, Some("alice"), Some("another"), &[]).await;
    let (answer, bobs) = login.await.unwrap();

    answer.location();
    assert!(lives(&stage, &bobs).await);
}

#[tokio::test]
async fn a_session_that_the_provider_is_being_asked_about_stays_ended() {
    for by in ["sid", "sub"] {
        let stage = stage("revalidate_after = \"1s\"").await;
        let (laptop, sid) = device(&stage, "alice").await;
        later().await;
        stage.provider.delay_token_endpoint(Duration::from_secs(1));

        let asking = [0, 1].map(|at| {
            let (mut laptop, url) = (laptop.clone(), format!("{}/token", stage.replicas[at].url));
            tokio::spawn(async move { laptop.post(&url).await })
        });
        sleep(Duration::from_millis(300)).await;
        let (sub, sid) =
            if by == "sid" { (None, Some(sid.as_str())) } else { (Some("alice"), None) };
        log_out(&stage, sub, sid, &[]).await;

        // Who asks meanwhile is refused at once, and who asked before is when the provider has answered.
        assert!(!lives(&stage, &laptop).await, "{by}");
        for asked in asking {
            let answer = asked.await.unwrap();
            assert_eq!(refused(&answer), (401, "session_expired".to_owned()), "{by}");
        }
        assert_eq!(stage.provider.requests("refresh"), 1, "{by}");
        assert!(!lives(&stage, &laptop).await, "{by}");
    }
}

#[tokio::test]
async fn of_many_at_once_and_logins_between_them_none_leaves_a_session_behind() {
    let stage = stage("").await;
    let (laptop, sid) = device(&stage, "alice").await;
    let raw: Vec<_> =
        (0..20).map(|_| stage.provider.logout_token(Some("alice"), Some(&sid), &[])).collect();

    let logouts = raw.iter().enumerate().map(|(at, raw)| hear(&stage.replicas[at % 2], raw));
    let answers = futures_util::future::join_all(logouts).await;

    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert!(!lives(&stage, &laptop).await);
    let mut anew = visitor();
    sign_in(&mut anew, &stage.replicas[1], "fake", "alice").await.location();
    assert_eq!(token(&mut anew, &stage.replicas[0]).await.status, 200);
}
