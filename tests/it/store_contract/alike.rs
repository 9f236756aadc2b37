//! Both stores answer alike: random sequences of steps, on a Redis and on a file, answer for answer.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use vestibule::inside::store::{
    Allowance, Binding, Found, ListedSession, NewLogin, NewSession, NewStanding, OpenedSession,
    Outcome, Session, SessionKey, Standing, Store, UseTerms, UsedSession, Verdict,
};
use vestibule::inside::{Reference, RequestId, Subject, Timestamp};

use super::{
    HOUR, digest, file_store, hourly, identity, new_session, provider, redis_store, session_key,
    subject,
};
use crate::support::redis::RedisServer;

/// A step, spelled with small numbers so that they meet often.
#[derive(Clone, Debug)]
enum Step {
    TakeFromLimit { bucket: u8, count: u8, request: u8 },
    BeginLogin { state: u8, browser: u8, at: u8 },
    TakeLoginOnce { state: u8, browser: u8, at: u8, request: u8 },
    FindIdentity { who: u8, at: u8 },
    ClaimIdentity { what: u8, who: u8 },
    FindSubject { what: u8 },
    BeginMove { what: u8, from: u8, to: u8 },
    RetireSubject { from: u8, what: u8 },
    FinishMove { what: u8, to: u8 },
    BindSubject { to: u8, what: u8, endings: u8 },
    BindIdentity { who: u8, endings: u8, found: Option<(u8, bool)>, what: u8 },
    MarkIdentity { what: u8, blocked: bool },
    MarkSubject { who: u8, what: u8, unblocked: Option<u64> },
    EndAllSessions { who: u8, endings: u64 },
    OpenSession { who: u8, secret: u8, what: u8, bound: bool, stale: bool, shown: Shown },
    KeepStanding { who: u8, shown: Shown },
    ReadStanding { who: u8, at: u8 },
    DecideStanding { who: u8, at: u8, late: bool, shown: Shown },
    ListStandings { about: u8 },
    KeepDenial { number: u8, text: u8 },
    FindDenial { number: u8 },
    UseSession { who: u8, secret: u8, count: u8, request: u8 },
    ReadSession { who: u8, secret: u8 },
    EndSession { who: u8, secret: u8, request: u8 },
    ListSessions { who: u8, secret: u8 },
    EndListedSession { who: u8, secret: u8, other: u8, request: u8 },
    EndOtherSessions { who: u8, secret: u8, request: u8 },
}

/// What a login shows and the policy says of it.
#[derive(Clone, Copy, Debug)]
struct Shown {
    at: u8,
    claims: u8,
    mark: u8,
    /// Denied, allowed, or allowed with a time to live.
    outcome: u8,
}

impl Shown {
    fn verdict(self, names: &Names) -> Verdict {
        let ttl = |seconds| Outcome::Allowed { token_ttl: seconds };
        Verdict {
            mark: digest(&self.mark.to_string()),
            outcome: match self.outcome {
                0 => Outcome::Denied { reference: names.references[usize::from(self.claims)] },
                1 => ttl(None),
                _ => ttl(Some(Duration::from_secs(self.claims.into()))),
            },
        }
    }

    fn decision(self) -> String {
        if self.outcome == 0 { String::new() } else { format!("decision {}", self.claims) }
    }

    fn standing(self, who: u8, names: &Names) -> NewStanding {
        NewStanding {
            subject: subject(&who.to_string()),
            provider: provider(&self.at.to_string()),
            claims: format!("claims {}", self.claims),
            verdict: self.verdict(names),
            decision: self.decision(),
            keep: HOUR,
        }
    }
}

fn shown() -> impl Strategy<Value = Shown> {
    (0..2_u8, 0..3_u8, 0..2_u8, 0..3_u8).prop_map(|(at, claims, mark, outcome)| Shown {
        at,
        claims,
        mark,
        outcome,
    })
}

/// Steps about whose an identity is, and about what is remembered of whom.
fn step_of_members() -> impl Strategy<Value = Step> {
    let (two, three) = (0..2_u8, 0..3_u8);
    let found = proptest::option::of((three.clone(), any::<bool>()));
    prop_oneof![
        three.clone().prop_map(|what| Step::FindSubject { what }),
        (three.clone(), two.clone(), two.clone()).prop_map(|(what, from, to)| Step::BeginMove {
            what,
            from,
            to
        }),
        (two.clone(), three.clone()).prop_map(|(from, what)| Step::RetireSubject { from, what }),
        (three.clone(), two.clone()).prop_map(|(what, to)| Step::FinishMove { what, to }),
        (two.clone(), three.clone(), three.clone())
            .prop_map(|(to, what, endings)| Step::BindSubject { to, what, endings }),
        (two.clone(), three.clone(), found, three.clone()).prop_map(
            |(who, endings, found, what)| Step::BindIdentity { who, endings, found, what }
        ),
        (three.clone(), any::<bool>())
            .prop_map(|(what, blocked)| Step::MarkIdentity { what, blocked }),
        (two.clone(), three.clone(), proptest::option::of(0..3_u64))
            .prop_map(|(who, what, unblocked)| Step::MarkSubject { who, what, unblocked }),
        (two.clone(), 0..4_u64).prop_map(|(who, endings)| Step::EndAllSessions { who, endings }),
        (two.clone(), shown()).prop_map(|(who, shown)| Step::KeepStanding { who, shown }),
        (two.clone(), two.clone()).prop_map(|(who, at)| Step::ReadStanding { who, at }),
        (two.clone(), two, any::<bool>(), shown())
            .prop_map(|(who, at, late, shown)| Step::DecideStanding { who, at, late, shown }),
        (1..4_u8).prop_map(|about| Step::ListStandings { about }),
        (three.clone(), three.clone()).prop_map(|(number, text)| Step::KeepDenial { number, text }),
        three.prop_map(|number| Step::FindDenial { number }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let (two, three, four) = (0..2_u8, 0..3_u8, 0..4_u8);
    prop_oneof![
        8 => step_of_members(),
        1 => (two.clone(), 1..4_u8, four.clone())
            .prop_map(|(bucket, count, request)| Step::TakeFromLimit { bucket, count, request }),
        1 => (three.clone(), two.clone(), two.clone())
            .prop_map(|(state, browser, at)| Step::BeginLogin { state, browser, at }),
        1 => (three.clone(), two.clone(), two.clone(), three.clone()).prop_map(
            |(state, browser, at, request)| { Step::TakeLoginOnce { state, browser, at, request } }
        ),
        1 => (three.clone(), two.clone()).prop_map(|(who, at)| Step::FindIdentity { who, at }),
        1 => (three.clone(), three.clone()).prop_map(|(what, who)| Step::ClaimIdentity { what, who }),
        3 => (two.clone(), three.clone(), three.clone(), any::<bool>(), 0..4_u8, shown()).prop_map(
            |(who, secret, what, bound, stale, shown)| {
                let stale = stale == 0;
                Step::OpenSession { who, secret, what, bound, stale, shown }
            }
        ),
        1 => (two.clone(), three.clone(), four.clone(), four.clone()).prop_map(
            |(who, secret, count, request)| Step::UseSession { who, secret, count, request }
        ),
        1 => (two.clone(), three.clone()).prop_map(|(who, secret)| Step::ReadSession { who, secret }),
        1 => (two, three.clone(), three).prop_map(|(who, secret, request)| Step::EndSession {
            who,
            secret,
            request
        }),
        3 => step_of_devices(),
    ]
}

/// Steps about all sessions of somebody.
fn step_of_devices() -> impl Strategy<Value = Step> {
    let (two, three) = (0..2_u8, 0..3_u8);
    prop_oneof![
        2 => (two.clone(), three.clone()).prop_map(|(who, secret)| Step::ListSessions { who, secret }),
        1 => (two.clone(), three.clone(), three.clone(), three.clone()).prop_map(
            |(who, secret, other, request)| {
                Step::EndListedSession { who, secret, other, request }
            }
        ),
        1 => (two, three.clone(), three).prop_map(|(who, secret, request)| {
            Step::EndOtherSessions { who, secret, request }
        }),
    ]
}

/// The names that one sequence uses: fresh ones, the same for both stores.
struct Names {
    requests: Vec<RequestId>,
    references: Vec<Reference>,
}

impl Names {
    fn request(&self, number: u8) -> RequestId {
        self.requests[usize::from(number)]
    }
}

fn someone(who: u8) -> Subject {
    subject(&who.to_string())
}

fn key(who: u8, secret: u8) -> SessionKey {
    session_key(&who.to_string(), &secret.to_string())
}

/// What a session shows, times aside.
fn told(session: &Session) -> String {
    format!("{} {}", session.identity, session.provider)
}

/// What a standing shows, times aside.
fn told_standing(standing: &Standing) -> String {
    let Standing { subject, provider, claims, verdict, decision, .. } = standing;
    format!("{} {provider} {claims} {verdict:?} {decision}", subject.value())
}

async fn find(store: &Store, who: u8, at: u8) -> Found {
    let (who, at) = (someone(who).key(), provider(&at.to_string()));
    store.find_identity(&who, Some(&at)).await.unwrap().value
}

async fn list(store: &Store, about: u8) -> String {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let page = store.list_standings(after, about.into()).await.unwrap().value;
        let told = |(standing, bound)| format!("{} {bound:?}", told_standing(&standing));
        rows.extend(page.standings.into_iter().map(told));
        if page.next.is_none() {
            break;
        }
        after = page.next;
    }
    rows.sort();
    // A page may bring what another has brought.
    rows.dedup();
    rows.join("\n")
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
        Step::FindIdentity { who, at } => {
            let found = find(store, who, at).await;
            format!("{:?} {}", found.binding, found.obtained.is_some())
        }
        Step::ClaimIdentity { what, who } => {
            let (what, who) = (identity(&what.to_string()), subject(&who.to_string()));
            format!("{:?}", store.claim_identity(&what, &who).await.unwrap().value)
        }
        Step::FindSubject { what } => {
            let whose = store.find_subject(&identity(&what.to_string())).await.unwrap().value;
            format!("{whose:?}")
        }
        Step::BeginMove { what, from, to } => {
            let (what, from, to) = (identity(&what.to_string()), someone(from), someone(to));
            store.begin_move(&what, &from.key(), &to).await.unwrap().value.to_string()
        }
        Step::RetireSubject { from, what } => {
            let (from, what) = (someone(from).key(), identity(&what.to_string()));
            format!("{:?}", store.retire_subject(&from, &what).await.unwrap().value)
        }
        Step::FinishMove { what, to } => {
            let (what, to) = (identity(&what.to_string()), someone(to));
            store.finish_move(&what, &to).await.unwrap().value.to_string()
        }
        Step::BindSubject { to, what, endings } => {
            let (to, what) = (someone(to).key(), identity(&what.to_string()));
            store.bind_subject(&to, &what, endings.into()).await.unwrap().value.to_string()
        }
        Step::BindIdentity { who, endings, found, what } => {
            let identity_of = |what: u8| identity(&what.to_string());
            let blocked = found.is_some_and(|(_, blocked)| blocked);
            let identity = found.map(|(what, _)| identity_of(what));
            let found = Binding { endings: endings.into(), identity, blocked };
            let (who, what) = (someone(who).key(), identity_of(what));
            store.bind_identity(&who, &found, &what).await.unwrap().value.to_string()
        }
        Step::MarkIdentity { what, blocked } => {
            let what = identity(&what.to_string());
            format!("{:?}", store.mark_identity(&what, blocked).await.unwrap().value)
        }
        Step::MarkSubject { who, what, unblocked } => {
            let (who, what) = (someone(who).key(), identity(&what.to_string()));
            format!("{:?}", store.mark_subject(&who, &what, unblocked).await.unwrap().value)
        }
        Step::EndAllSessions { who, endings } => {
            let who = someone(who).key();
            format!("{:?}", store.end_all_sessions(&who, endings).await.unwrap().value)
        }
        Step::OpenSession { who, secret, what, bound, stale, shown } => {
            let what = identity(&what.to_string());
            let mut found = Found::default();
            found.binding.identity = bound.then(|| what.clone());
            if !stale {
                found = find(store, who, shown.at).await;
            }
            let new = NewSession {
                key: key(who, secret),
                identity: found.binding.identity.clone().unwrap_or(what),
                found,
                standing: shown.standing(who, names),
                label: format!("device {secret}"),
                ..new_session("anybody", "any")
            };
            match store.open_session(&new).await.unwrap().value {
                OpenedSession::Opened(session) => told(&session),
                OpenedSession::Overtaken => "overtaken".to_owned(),
            }
        }
        Step::KeepStanding { who, shown } => {
            let kept = store.keep_standing(&shown.standing(who, names)).await.unwrap();
            format!("{:?}", kept.value)
        }
        Step::ReadStanding { who, at } => {
            let (who, at) = (someone(who).key(), provider(&at.to_string()));
            let standing = store.read_standing(&who, &at).await.unwrap().value;
            format!("{:?}", standing.as_ref().map(told_standing))
        }
        Step::DecideStanding { who, at, late, shown } => {
            let (who, at) = (someone(who).key(), provider(&at.to_string()));
            let standing = store.read_standing(&who, &at).await.unwrap().value;
            let obtained = standing.filter(|_| !late).map(|standing| standing.obtained);
            let about = obtained.unwrap_or(Timestamp::from_millis(0));
            let (verdict, decision) = (shown.verdict(names), shown.decision());
            let decided = store.decide_standing(&who, &at, about, &verdict, &decision).await;
            decided.unwrap().value.to_string()
        }
        Step::ListStandings { about } => list(store, about).await,
        Step::KeepDenial { number, text } => {
            let reference = names.references[usize::from(number)];
            let kept = store.keep_denial(&reference, &text.to_string(), HOUR).await.unwrap();
            format!("{:?}", kept.value)
        }
        Step::FindDenial { number } => {
            let reference = names.references[usize::from(number)];
            format!("{:?}", store.find_denial(&reference).await.unwrap().value)
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
                UsedSession::Live(session, judged) => {
                    format!("{} {:?}", told(&session), judged.verdict)
                }
                UsedSession::Limited { .. } => "limited".to_owned(),
                UsedSession::Ended => "ended".to_owned(),
            }
        }
        Step::ReadSession { who, secret } => {
            let read = store.read_session(&key(who, secret), HOUR).await.unwrap().value;
            format!("{:?}", read.map(|(session, decision)| (told(&session), decision)))
        }
        Step::EndSession { who, secret, request } => {
            let ended =
                store.end_session(&key(who, secret), HOUR, names.request(request)).await.unwrap();
            ended.value.to_string()
        }
        Step::ListSessions { who, secret } => {
            let listed = store.list_sessions(&key(who, secret), HOUR).await.unwrap().value;
            let told = |ListedSession { id, label, session }: ListedSession| {
                format!("{id} {label} {}", told(&session))
            };
            let mut rows = listed.map(|listed| listed.into_iter().map(told).collect::<Vec<_>>());
            if let Some(rows) = &mut rows {
                rows.sort();
            }
            format!("{rows:?}")
        }
        Step::EndListedSession { who, secret, other, request } => {
            let (asker, id) = (key(who, secret), key(who, other).id);
            let ended = store.end_listed_session(&asker, &id, HOUR, names.request(request)).await;
            format!("{:?}", ended.unwrap().value)
        }
        Step::EndOtherSessions { who, secret, request } => {
            let (asker, request) = (key(who, secret), names.request(request));
            let ended = store.end_other_sessions(&asker, HOUR, request).await;
            ended.unwrap().value.to_string()
        }
    }
}

#[test]
fn both_stores_answer_alike() {
    let server = RedisServer::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let redis = runtime.block_on(redis_store(&server.url()));
    let config = Config { cases: 150, failure_persistence: None, ..Config::default() };

    let outcome = TestRunner::new(config).run(&prop::collection::vec(step(), 1..60), |steps| {
        let directory = tempfile::tempdir().unwrap();
        let _ok: String = server.ask(&["FLUSHDB"]);
        let names = Names {
            requests: (0..4).map(|_| RequestId::unique()).collect(),
            references: (0..3).map(|_| Reference::random()).collect(),
        };
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
