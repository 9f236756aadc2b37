//! Both stores answer alike: random sequences of steps, on a Redis and on a file, answer for answer.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use vestibule::inside::RequestId;
use vestibule::inside::store::{
    Allowance, NewLogin, NewSession, Session, SessionKey, Store, UseTerms, UsedSession,
};

use super::{
    HOUR, digest, file_store, hourly, identity, provider, redis_store, session_key, subject,
};
use crate::support::redis::RedisServer;

/// A step, spelled with small numbers so that they meet often.
#[derive(Clone, Debug)]
enum Step {
    TakeFromLimit { bucket: u8, count: u8, request: u8 },
    BeginLogin { state: u8, browser: u8, at: u8 },
    TakeLoginOnce { state: u8, browser: u8, at: u8, request: u8 },
    FindIdentity { who: u8 },
    ClaimIdentity { what: u8, who: u8 },
    OpenSession { who: u8, secret: u8, what: u8, named: bool },
    UseSession { who: u8, secret: u8, count: u8, request: u8 },
    ReadSession { who: u8, secret: u8 },
    EndSession { who: u8, secret: u8, request: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let (two, three, four) = (0..2_u8, 0..3_u8, 0..4_u8);
    prop_oneof![
        (two.clone(), 1..4_u8, four.clone())
            .prop_map(|(bucket, count, request)| Step::TakeFromLimit { bucket, count, request }),
        (three.clone(), two.clone(), two.clone())
            .prop_map(|(state, browser, at)| Step::BeginLogin { state, browser, at }),
        (three.clone(), two.clone(), two.clone(), three.clone()).prop_map(
            |(state, browser, at, request)| { Step::TakeLoginOnce { state, browser, at, request } }
        ),
        three.clone().prop_map(|who| Step::FindIdentity { who }),
        (three.clone(), three.clone()).prop_map(|(what, who)| Step::ClaimIdentity { what, who }),
        (two.clone(), three.clone(), three.clone(), any::<bool>())
            .prop_map(|(who, secret, what, named)| Step::OpenSession { who, secret, what, named }),
        (two.clone(), three.clone(), four.clone(), four.clone()).prop_map(
            |(who, secret, count, request)| Step::UseSession { who, secret, count, request }
        ),
        (two.clone(), three.clone()).prop_map(|(who, secret)| Step::ReadSession { who, secret }),
        (two, three.clone(), three).prop_map(|(who, secret, request)| Step::EndSession {
            who,
            secret,
            request
        }),
    ]
}

/// The names that one sequence uses: fresh request ids, the same for both stores.
struct Names {
    requests: Vec<RequestId>,
}

impl Names {
    fn request(&self, number: u8) -> RequestId {
        self.requests[usize::from(number)]
    }
}

fn key(who: u8, secret: u8) -> SessionKey {
    session_key(&who.to_string(), &secret.to_string())
}

/// What a session shows, times aside.
fn told(session: &Session) -> String {
    format!("{} {} {:?}", session.identity, session.provider, session.friendly_name)
}

/// Takes `step` and tells the answer, times aside.
#[expect(clippy::too_many_lines, reason = "an arm a step, and nothing between them")]
async fn answer(store: &Store, step: &Step, names: &Names) -> String {
    match *step {
        Step::TakeFromLimit { bucket, count, request } => {
            let rate = hourly(count.into());
            let answer = store
                .take_from_limit(&format!("b{bucket}"), rate, names.request(request))
                .await
                .unwrap();
            if answer.value == Allowance::Allowed { "allowed" } else { "refused" }.to_owned()
        }
        Step::BeginLogin { state, browser, at } => {
            let login = NewLogin {
                provider: provider(&at.to_string()),
                binding: digest(&browser.to_string()),
                return_to: format!("/{browser}/{at}"),
            };
            format!(
                "{:?}",
                store.begin_login(&digest(&state.to_string()), &login).await.unwrap().value
            )
        }
        Step::TakeLoginOnce { state, browser, at, request } => {
            let (state, browser) = (digest(&state.to_string()), digest(&browser.to_string()));
            let (at, request) = (provider(&at.to_string()), names.request(request));
            format!(
                "{:?}",
                store.take_login_once(&state, &browser, &at, request).await.unwrap().value
            )
        }
        Step::FindIdentity { who } => {
            format!(
                "{:?}",
                store.find_identity(&subject(&who.to_string()).key()).await.unwrap().value
            )
        }
        Step::ClaimIdentity { what, who } => {
            let (what, who) = (identity(&what.to_string()), subject(&who.to_string()));
            format!("{:?}", store.claim_identity(&what, &who).await.unwrap().value)
        }
        Step::OpenSession { who, secret, what, named } => {
            let new = NewSession {
                key: key(who, secret),
                identity: identity(&what.to_string()),
                provider: provider("corp"),
                friendly_name: named.then(|| format!("name {what}")),
                lifetime: Duration::from_hours(2),
                idle: HOUR,
            };
            told(&store.open_session(&new).await.unwrap().value)
        }
        Step::UseSession { who, secret, count, request } => {
            let limit = (count > 0).then(|| hourly(count.into()));
            let terms = UseTerms { idle: HOUR, limit };
            match store
                .use_session(&key(who, secret), &terms, names.request(request))
                .await
                .unwrap()
                .value
            {
                UsedSession::Live(session) => told(&session),
                UsedSession::Limited { .. } => "limited".to_owned(),
                UsedSession::Ended => "ended".to_owned(),
            }
        }
        Step::ReadSession { who, secret } => {
            let session = store.read_session(&key(who, secret), HOUR).await.unwrap().value;
            format!("{:?}", session.as_ref().map(told))
        }
        Step::EndSession { who, secret, request } => {
            let ended =
                store.end_session(&key(who, secret), HOUR, names.request(request)).await.unwrap();
            ended.value.to_string()
        }
    }
}

#[test]
fn both_stores_answer_alike() {
    let server = RedisServer::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let redis = runtime.block_on(redis_store(&server.url()));
    let config = Config { cases: 60, failure_persistence: None, ..Config::default() };

    let outcome = TestRunner::new(config).run(&prop::collection::vec(step(), 1..60), |steps| {
        let directory = tempfile::tempdir().unwrap();
        let _ok: String = server.ask(&["FLUSHDB"]);
        let names = Names { requests: (0..4).map(|_| RequestId::unique()).collect() };
        runtime.block_on(async {
            let file = file_store(&directory.path().join("store")).await;
            for (number, step) in steps.iter().enumerate() {
                let (on_redis, in_file) =
                    (answer(&redis, step, &names).await, answer(&file, step, &names).await);
                if on_redis != in_file {
                    let told = format!("step {number}: {on_redis} on Redis, {in_file} in the file");
                    return Err(TestCaseError::fail(told));
                }
            }
            Ok(())
        })
    });

    outcome.unwrap_or_else(|error| panic!("{error}"));
}
