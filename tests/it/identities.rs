//! An identity is one subject's, from the first login and for ever, and a subject has one, whatever its claims and the rules become.

use std::collections::HashMap;

use futures_util::future::join;
use futures_util::{StreamExt, stream};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use reqwest::StatusCode;
use serde_json::json;

use crate::process::Service;
use crate::support::fake_provider::FakeProvider;
use crate::support::policies::{
    PUBLIC_URL, Stage, default_identity, identity, on_record, reference, says, section, serve,
    sign_in, store, token, visitor, walk, walk_at,
};
use crate::support::proxy::Proxy;
use crate::support::redis::RedisServer;
use crate::support::service::{TWILIO, TestService};
use crate::support::visitor::{Answer, Visitor};

const EVERYBODY: &str = "allow = \"true\"";

fn by(rule: &str) -> String {
    format!("{EVERYBODY}\nidentity = \"{rule}\"")
}

fn is_conflict(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{answer:?}");
    assert_eq!(answer.code(), "identity_conflict");
    assert!(!answer.headers.contains_key("set-cookie"), "{answer:?}");
}

#[tokio::test]
async fn whoever_is_bound_keeps_the_identity_whatever_rules_and_claims_become() {
    let stage = Stage::new().await;
    let is = |nick: &str, email: &str, groups: &[&str]| {
        says(
            &stage.provider,
            vec![
                ("nick", Some(json!(nick))),
                ("email", Some(json!(email))),
                ("name", Some(json!(nick))),
                ("groups", Some(json!(groups))),
            ],
        );
    };
    is("ally", "alice@example.com", &["staff"]);
    let mut by_rule = stage.sign_in(&stage.service(&by("claims.nick")).await, "alice").await;
    let mut by_default = stage.sign_in(&stage.service(EVERYBODY).await, "bob").await;

    for (policy, nick, email) in [
        (by("claims.nick"), "smith", "smith@example.com"),
        (by("domain(claims.email)"), "ally", "alice@example.org"),
        (by("has(claims.no) ? 'x' : 'one-for-all'"), "ally", "alice@example.com"),
        // Rules that would have no identity for anybody.
        (by("has(claims.no) ? 'x' : ''"), "ally", "alice@example.com"),
        (by("'guest-' + claims.nick"), "ally", "alice@example.com"),
        (by("claims.no_such"), "ally", "alice@example.com"),
        (EVERYBODY.to_owned(), "", ""),
        (by("default"), "bob", "bob@example.com"),
        (by("claims.nick"), "ally", "alice@example.com"),
    ] {
        is(nick, email, &[nick]);
        let service = stage.service(&policy).await;
        for (who, device, expected) in [
            ("alice", &mut by_rule, "ally".to_owned()),
            ("bob", &mut by_default, stage.default_identity("bob")),
        ] {
            assert_eq!(identity(&token(device, &service).await), expected, "{policy}");
            let mut new = stage.sign_in(&service, who).await;
            assert_eq!(identity(&token(&mut new, &service).await), expected, "{policy}");
        }
    }
}

#[tokio::test]
async fn a_second_subject_gets_a_reference_and_never_the_identity() {
    let stage = Stage::new().await;
    let service = stage.service(&by("claims.nick")).await;
    says(&stage.provider, vec![("nick", Some(json!("the-nick")))]);
    let mut alice = stage.sign_in(&service, "alice").await;

    for accept in ["*/*", "text/html"] {
        let mut mallory = Visitor { accept, ..visitor() };
        let answer = sign_in(&mut mallory, &service, "fake", "mallory").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{answer:?}");
        assert!(answer.body.contains("identity_conflict"), "{answer:?}");
        assert!(!format!("{answer:?}").contains("the-nick"), "{answer:?}");
        assert!(!mallory.cookies.contains_key("vestibule"), "{answer:?}");
    }
    let answer = sign_in(&mut visitor(), &service, "fake", "mallory").await;
    is_conflict(&answer);
    let record = on_record(&store(&stage.redis).await, &reference(&answer)).await;
    assert_eq!(record["identity"], "the-nick");
    assert_eq!(record["subject"], "mallory");
    assert_eq!(identity(&token(&mut alice, &service).await), "the-nick");

    // Nor is mallory anybody because of that: the next rule makes them what they are.
    let service = stage.service(EVERYBODY).await;
    let mut mallory = stage.sign_in(&service, "mallory").await;
    assert_eq!(identity(&token(&mut mallory, &service).await), stage.default_identity("mallory"));
}

#[tokio::test]
async fn a_rule_does_not_reach_somebodys_default_identity_nor_the_other_way_round() {
    let stage = Stage::new().await;
    let victim = stage.default_identity("alice");
    stage.sign_in(&stage.service(EVERYBODY).await, "alice").await;

    says(&stage.provider, vec![("nick", Some(json!(victim)))]);
    let by_nick = stage.service(&by("claims.nick")).await;
    is_conflict(&sign_in(&mut visitor(), &by_nick, "fake", "mallory").await);

    // Whoever gets there first has taken it from nobody who was here; its owner by default is told, and shares it with nobody.
    says(&stage.provider, vec![("nick", Some(json!(stage.default_identity("carol"))))]);
    stage.sign_in(&by_nick, "mallory").await;
    let carol = sign_in(&mut visitor(), &stage.service(EVERYBODY).await, "fake", "carol").await;
    is_conflict(&carol);
}

#[tokio::test]
async fn letters_of_either_case_make_two_identities_and_two_subjects() {
    let stage = Stage::new().await;
    let service = stage.service(&by("claims.sub")).await;

    for who in ["alice", "Alice", "ALICE"] {
        let mut device = stage.sign_in(&service, who).await;
        assert_eq!(identity(&token(&mut device, &service).await), who);
    }
}

#[tokio::test]
async fn a_login_opens_nothing_over_a_denial_that_came_while_it_was_under_way() {
    let stage = Stage::new().await;
    let proxy = Proxy::before(stage.redis.address()).await;
    let policy = section("fake", &stage.provider, "", "allow = \"claims.nick == 'in'\"");
    let here = serve(&proxy.url(), &policy).await;
    let elsewhere = serve(&stage.redis.url(), &policy).await;
    let is = |nick| says(&stage.provider, vec![("nick", Some(json!(nick)))]);
    is("in");
    let mut signed_in = stage.sign_in(&here, "alice").await;
    let _known_by_now = stage.sign_in(&elsewhere, "bob").await;

    // A machine that is busy may take longer than the step that is held back may last: then it is done again.
    for round in 0.. {
        is("in");
        let (mut late, mut denied) = (visitor(), visitor());
        let callback = walk(&mut late, &here, "fake", "alice").await;
        let other = walk(&mut denied, &elsewhere, "fake", "alice").await;
        // Between what it finds of the subject and the session that it opens then.
        let meanwhile = async {
            proxy.hold_after(1).await;
            is("out");
            let answer = denied.get(&other).await;
            proxy.clear_up();
            answer
        };
        let (answer, denial) = join(late.get(&callback), meanwhile).await;

        assert_eq!(denial.code(), "access_denied");
        if answer.status == StatusCode::SERVICE_UNAVAILABLE && round < 10 {
            continue;
        }
        assert_eq!(answer.code(), "session_expired", "{answer:?}");
        assert_eq!(token(&mut signed_in, &here).await.code(), "access_denied");
        // Whoever signs in anew afterwards gets in.
        is("in");
        let mut again = stage.sign_in(&here, "alice").await;
        assert_eq!(token(&mut again, &here).await.status, StatusCode::OK);
        return;
    }
}

/// How many rounds a race has. Ten thousand were run by hand.
fn rounds() -> usize {
    std::env::var("VESTIBULE_TEST_ROUNDS").map_or(100, |text| text.parse().unwrap())
}

/// A rule that gives two subjects of each round one identity.
const RACE: &str = "allow = \"true\"\nidentity = \"claims.sub.split('.')[0]\"";

/// Two subjects come at the same moment, each at its own service, for one identity: one has it, and the other is told so. Gives
/// how often it was the first.
async fn race(services: [&str; 2]) -> usize {
    let fresh = visitor();
    let run = stream::iter(0..rounds()).map(|round| {
        let devices = ["a", "b"].map(|name| (fresh.clone(), format!("round-{round}.{name}")));
        async move {
            let [(mut first, one), (mut second, other)] = devices;
            let here = walk_at(&mut first, services[0], "fake", &one).await;
            let there = walk_at(&mut second, services[1], "fake", &other).await;

            let (one, other) = if round % 2 == 0 {
                join(first.get(&here), second.get(&there)).await
            } else {
                let (other, one) = join(second.get(&there), first.get(&here)).await;
                (one, other)
            };

            let first_has_it = one.status == StatusCode::SEE_OTHER;
            let (won, lost) = if first_has_it { (one, other) } else { (other, one) };
            assert_eq!(won.status, StatusCode::SEE_OTHER, "{round}: {won:?} {lost:?}");
            is_conflict(&lost);
            let mut winner = if first_has_it { first } else { second };
            let answer = winner.post(&format!("{}/token", services[round % 2])).await;
            assert_eq!(identity(&answer), format!("round-{round}"));
            usize::from(first_has_it)
        }
    });
    run.buffer_unordered(4).collect::<Vec<_>>().await.into_iter().sum()
}

#[tokio::test]
async fn of_two_subjects_at_two_processes_one_has_the_identity() {
    let (redis, provider) = (RedisServer::start(), FakeProvider::start().await);
    let configuration = format!(
        r#"
[server]
listen = "127.0.0.1:0"
public_url = "{PUBLIC_URL}"
[ops]
listen = "127.0.0.1:0"
[store]
url = "{}"
[limits]
logins = "off"
{TWILIO}
{}
"#,
        redis.url(),
        section("fake", &provider, "", RACE)
    );
    let processes = [Service::serving(&configuration), Service::serving(&configuration)];
    let urls = [0, 1].map(|n: usize| format!("http://{}", processes[n].public));

    let first = race([&urls[0], &urls[1]]).await;

    assert!((1..rounds()).contains(&first), "{first}: that was no race");
}

#[tokio::test]
async fn of_two_subjects_at_one_process_with_a_file_one_has_the_identity() {
    let provider = FakeProvider::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = format!("file:{}", folder.path().join("vestibule.db").display());
    let sections = format!("[limits]\nlogins = \"off\"\n{}", section("fake", &provider, "", RACE));
    let service = serve(&file, &sections).await;

    race([&service.url, &service.url]).await;
}

#[tokio::test]
async fn of_two_rules_at_one_moment_one_names_the_subject() {
    let stage = Stage::new().await;
    let old = stage.service(&by("claims.sub")).await;
    let new = stage.service(&by("'new-' + claims.sub")).await;

    for round in 0..50 {
        let (who, mut devices) = (format!("person-{round}"), [visitor(), visitor()]);
        let here = walk_at(&mut devices[0], &old.url, "fake", &who).await;
        let there = walk_at(&mut devices[1], &new.url, "fake", &who).await;
        let [one, other] = &mut devices;
        let answers = if round % 2 == 0 {
            join(one.get(&here), other.get(&there)).await
        } else {
            let (there, here) = join(other.get(&there), one.get(&here)).await;
            (here, there)
        };
        // Whoever comes a moment too late is who the first made them.
        for answer in [answers.0, answers.1] {
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        }

        let named = [
            identity(&token(&mut devices[0], &new).await),
            identity(&token(&mut devices[1], &old).await),
        ];
        assert_eq!(named[0], named[1]);
        assert!(named[0] == who || named[0] == format!("new-{who}"), "{named:?}");
    }
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// Somebody signs in at one of two providers, which says this of them.
    SignIn { provider: usize, who: &'static str, nick: String, email: &'static str },
    /// The operator changes the rules of both.
    Rules([&'static str; 2]),
}

/// Rules of which many mean to give one identity to several subjects.
const RULES: [&str; 10] = [
    "default",
    "claims.sub",
    "lower(claims.sub)",
    "claims.nick",
    "claims.email.split('@')[0]",
    "domain(claims.email)",
    "sha256(claims.email)",
    "uuid5(uuid5('6ba7b811-9dad-11d1-80b4-00c04fd430c8', claims.iss), claims.nick)",
    "provider + '.' + claims.nick",
    "has(claims.no) ? 'somebody' : 'everybody'",
];

const SUBJECTS: [&str; 6] = ["alice", "Alice", "alice ", "bob", "one.alice", "\u{ff41}lice"];

fn steps(issuers: &[String; 2]) -> impl Strategy<Value = Vec<Step>> + use<> {
    let mut nicks = SUBJECTS.map(str::to_owned).to_vec();
    nicks.extend(issuers.iter().map(|issuer| default_identity(issuer, "alice")));
    let email = select(&["alice@example.com", "Alice@example.com", "alice@example.org", "bob@x"]);
    let rules = || select(&RULES);
    let sign_in = (0..2_usize, select(&SUBJECTS), select(nicks), email)
        .prop_map(|(provider, who, nick, email)| Step::SignIn { provider, who, nick, email });
    let change = [rules(), rules()].prop_map(Step::Rules);
    ([rules(), rules()], prop::collection::vec(prop_oneof![5 => sign_in, 1 => change], 1..24))
        .prop_map(|(first, mut steps)| {
            steps.insert(0, Step::Rules(first));
            steps
        })
}

/// What is known of who has which identity, as far as anybody was let in.
#[derive(Default)]
struct Known {
    identities: HashMap<(usize, &'static str), String>,
    owners: HashMap<String, (usize, &'static str)>,
}

impl Known {
    fn learn(
        &mut self,
        subject: (usize, &'static str),
        identity: &str,
    ) -> Result<(), TestCaseError> {
        let owner = *self.owners.entry(identity.to_owned()).or_insert(subject);
        prop_assert_eq!(owner, subject, "{} is two subjects'", identity);
        let first = self.identities.entry(subject).or_insert_with(|| identity.to_owned());
        prop_assert_eq!(&*first, identity, "{:?} has two identities", subject);
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._~-".contains(c);
        let fits = (1..=256).contains(&identity.len()) && identity.chars().all(allowed);
        prop_assert!(fits && !identity.starts_with("guest-"), "{}", identity);
        Ok(())
    }
}

async fn run(
    redis: &RedisServer,
    providers: &[FakeProvider; 2],
    steps: Vec<Step>,
) -> Result<(), TestCaseError> {
    let _empty: String = redis.ask(&["FLUSHALL"]);
    let names = ["one", "two"];
    let fresh = visitor();
    let mut known = Known::default();
    let mut devices: Vec<((usize, &'static str), Visitor)> = Vec::new();
    let mut service: Option<TestService> = None;
    for step in steps {
        match (step, &service) {
            (Step::SignIn { provider, who, nick, email }, Some(service)) => {
                let claims = vec![("nick", Some(json!(nick))), ("email", Some(json!(email)))];
                says(&providers[provider], claims);
                let mut device = fresh.clone();
                let answer = sign_in(&mut device, service, names[provider], who).await;
                if answer.status == StatusCode::SEE_OTHER {
                    devices.push(((provider, who), device));
                } else {
                    let code = answer.code();
                    prop_assert!(
                        ["identity_conflict", "identity_invalid", "access_denied"]
                            .contains(&code.as_str()),
                        "{:?}",
                        answer
                    );
                }
            }
            (Step::Rules(rules), _) => {
                let section = |n: usize| section(names[n], &providers[n], "", &by(rules[n]));
                service = Some(serve(&redis.url(), &(section(0) + &section(1))).await);
            }
            (Step::SignIn { .. }, None) => unreachable!("the first step is the rules"),
        }
        if let (Some(service), Some((subject, device))) = (&service, devices.last_mut()) {
            known.learn(*subject, &identity(&token(device, service).await))?;
        }
    }
    for (subject, mut device) in devices {
        let Some(service) = &service else { break };
        known.learn(subject, &identity(&token(&mut device, service).await))?;
    }
    Ok(())
}

#[test]
fn two_subjects_never_have_one_identity_and_no_subject_has_two() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let redis = RedisServer::start();
    let providers =
        runtime.block_on(async { [FakeProvider::start().await, FakeProvider::start().await] });
    let issuers = [0, 1].map(|n: usize| providers[n].issuer());
    // The number of cases comes from PROPTEST_CASES for a longer run.
    let cases = std::env::var("PROPTEST_CASES").map_or(12, |text| text.parse().unwrap());
    let config = Config { cases, failure_persistence: None, ..Config::default() };

    TestRunner::new(config)
        .run(&steps(&issuers), |steps| runtime.block_on(run(&redis, &providers, steps)))
        .unwrap();
}
