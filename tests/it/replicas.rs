//! Two processes on one Redis are one service.

use futures_util::future::join_all;
use reqwest::StatusCode;

use crate::process::Service;
use crate::support::fake_provider::FakeProvider;
use crate::support::redis::RedisServer;
use crate::support::service::TWILIO;
use crate::support::setup::provider_section;
use crate::support::visitor::Visitor;

const PUBLIC_URL: &str = "http://localhost:8080";

#[tokio::test]
async fn an_answer_sent_to_two_processes_at_once_makes_one_session_that_both_know() {
    let redis = RedisServer::start();
    let provider = FakeProvider::start().await;
    let configuration = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"{PUBLIC_URL}\"\n[ops]\nlisten = \"127.0.0.1:0\"\n[store]\nurl = \"{}\"\n{TWILIO}{}",
        redis.url(),
        provider_section(&provider, "")
    );
    let replicas = [(); 2].map(|()| Service::serving(&configuration));
    let [first, second] = [0, 1].map(|n| format!("http://{}", replicas[n].public));
    let mut alice = Visitor::on_a_page_of(PUBLIC_URL);

    for _ in 0..5 {
        let away = alice.get(&format!("{first}/login/fake")).await.location();
        let callback = alice.get(&away).await.location();
        let asked = provider.requests("token");
        let browser = alice.clone();
        let answers = join_all([&first, &second].map(|replica| {
            let (mut tab, url) = (browser.clone(), callback.replace(PUBLIC_URL, replica));
            async move { (tab.get(&url).await, tab) }
        }))
        .await;

        let statuses: Vec<_> = answers.iter().map(|(answer, _)| answer.status).collect();
        let won = statuses.iter().position(|status| *status == StatusCode::SEE_OTHER).unwrap();
        assert_eq!(statuses[1 - won], StatusCode::BAD_REQUEST);
        assert_eq!(provider.requests("token"), asked + 1, "the code is redeemed once");
        alice = answers[won].1.clone();
        let sessions: Vec<String> = redis.ask(&["KEYS", "vestibule:session:*"]);
        // The session of the login before is ended, which is remembered for a minute.
        let live = sessions.iter().filter(|key| !redis.ask::<bool>(&["HEXISTS", key, "x"])).count();
        assert_eq!(live, 1, "{sessions:?}");
        for replica in [&first, &second] {
            let token = alice.post(&format!("{replica}/token")).await;
            assert_eq!(token.status, StatusCode::OK, "{token:?}");
        }
    }
}
