//! `vestibule move-identity`: an operator gives an identity to another subject, and says so; nobody shares it at any moment.

use std::pin::pin;

use reqwest::StatusCode;
use vestibule::inside::{Identity, Subject};

use crate::support::fake_provider::FakeProvider;
use crate::support::log;
use crate::support::operator::{OPS_TOKEN, Operator, Said};
use crate::support::policies::{default_identity, store};
use crate::support::proxy::Proxy;
use crate::support::redis::RedisServer;
use crate::support::service::TestService;
use crate::support::setup::provider_section;
use crate::support::visitor::Visitor;

/// A service with a store that is a file, or a Redis that commands reach too.
struct Stage {
    provider: FakeProvider,
    service: TestService,
    operator: Operator,
    redis: Option<RedisServer>,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn on_redis() -> Self {
        let redis = RedisServer::start();
        let url = redis.url();
        Self { redis: Some(redis), ..Self::on(&url, tempfile::tempdir().unwrap()).await }
    }

    async fn on_a_file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file:{}", folder.path().join("vestibule.db").display());
        Self::on(&url, folder).await
    }

    async fn on(store: &str, folder: tempfile::TempDir) -> Self {
        let provider = FakeProvider::start().await;
        let providers = provider_section(&provider, "");
        let ops = format!("[ops]\ntoken = \"{OPS_TOKEN}\"\n");
        let service = TestService::start(store, &format!("{ops}{providers}")).await;
        let operator = Operator::of(&service, store, &providers);
        Self { provider, service, operator, redis: None, _folder: folder }
    }

    /// Signs somebody in.
    async fn visitor(&self, name: &str) -> Visitor {
        let mut visitor = Visitor::of(&self.service);
        let away = visitor.get(&format!("{}/login/fake", self.service.url)).await.location();
        let callback = visitor.get(&format!("{away}&login_hint={name}")).await.location();
        assert_eq!(visitor.get(&callback).await.status, StatusCode::SEE_OTHER);
        visitor
    }

    async fn identity(&self, visitor: &mut Visitor) -> String {
        let session = visitor.get(&format!("{}/session", self.service.url)).await.json();
        session["identity"].as_str().unwrap().to_owned()
    }

    async fn token(&self, visitor: &mut Visitor) -> StatusCode {
        visitor.post(&format!("{}/token", self.service.url)).await.status
    }

    fn move_to(&self, identity: &str, subject: &str) -> Said {
        let to = ["--provider", "fake", "--subject", subject];
        self.operator.run(&[&["move-identity", identity], to.as_slice()].concat())
    }

    /// What was said, without what differs from run to run.
    fn plain(&self, said: &str, identity: &str) -> String {
        said.replace(identity, "[identity]").replace(&self.provider.issuer(), "[issuer]")
    }
}

async fn an_identity_is_moved(stage: &Stage) -> (Said, String) {
    let (mut alice, mut bob) = (stage.visitor("alice").await, stage.visitor("bob").await);
    let (identity, other) = (stage.identity(&mut alice).await, stage.identity(&mut bob).await);

    let moved = stage.move_to(&identity, "bob");

    assert_eq!(stage.token(&mut alice).await, StatusCode::UNAUTHORIZED);
    assert_eq!(stage.token(&mut bob).await, StatusCode::UNAUTHORIZED);
    let mut bob = stage.visitor("bob").await;
    assert_eq!(stage.identity(&mut bob).await, identity);
    assert_ne!(identity, other);
    // Once more is no harm, and says so.
    let again = stage.move_to(&identity, "bob");
    assert!(again.with_exit(0).contains("is that of bob of"));
    assert_eq!(stage.token(&mut bob).await, StatusCode::OK);
    // Whoever it was taken from is turned away instead of sharing it.
    let mut alice = Visitor::of(&stage.service);
    let refused = alice.sign_in(&stage.service).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    (moved, identity)
}

#[tokio::test(flavor = "multi_thread")]
async fn on_redis_the_command_moves_it_itself_and_writes_the_audit_line() {
    let stage = Stage::on_redis().await;

    let (moved, identity) = an_identity_is_moved(&stage).await;

    assert_eq!(audited(&moved), [(Some("alice".to_owned()), "bob".to_owned())]);
    let other = default_identity(&stage.provider.issuer(), "bob");
    let told = stage.plain(&moved.with_exit(0), &identity).replace(&other, "[bob's own]");
    insta::assert_snapshot!(told);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_file_the_service_that_has_it_moves_it_and_writes_the_audit_line() {
    let on_redis = Stage::on_redis().await;
    let stage = Stage::on_a_file().await;

    let (moved, identity) = an_identity_is_moved(&stage).await;

    assert_eq!(moved.err, "");
    let lines = log::lines_with(&stage.provider.issuer());
    let audited = lines.iter().filter(|line| line.contains("\"event\":\"move\""));
    assert_eq!(audited.count(), 1, "{lines:#?}");
    // The same words either way.
    let (other, its_identity) = an_identity_is_moved(&on_redis).await;
    let plain = |stage: &Stage, said: Said, identity| {
        let bobs_own = default_identity(&stage.provider.issuer(), "bob");
        stage.plain(&said.with_exit(0), identity).replace(&bobs_own, "[bob's own]")
    };
    assert_eq!(plain(&stage, moved, &identity), plain(&on_redis, other, &its_identity));
}

/// From whom and to whom, by the lines of the audit log that a command wrote.
fn audited(said: &Said) -> Vec<(Option<String>, String)> {
    let lines = said.err.lines().filter(|line| line.starts_with('{'));
    let lines = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    lines
        .filter(|line| line["event"] == "move")
        .map(|line| (text(&line["from_subject"]), text(&line["to_subject"]).unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_move_stops_it_is_audited_by_its_former_owner_and_finished_by_the_same_command()
{
    let stage = Stage::on_redis().await;
    let proxy = Proxy::before(stage.redis.as_ref().unwrap().address()).await;
    let providers = provider_section(&stage.provider, "");
    let operator = Operator::with(&proxy.url(), &providers);
    for passed in 0.. {
        let (from, to) = (format!("alice-{passed}"), format!("bob-{passed}"));
        let identity = stage.identity(&mut stage.visitor(&from).await).await;
        let arguments = ["move-identity", &identity, "--provider", "fake", "--subject", &to];

        // The command is cut off when so many replies have passed, the next step being done; then it is given again.
        proxy.refuse_after(passed);
        let first = operator.run(&arguments);
        proxy.clear_up();
        let again = operator.run(&arguments);

        let lines = [audited(&first), audited(&again)].concat();
        assert!(
            lines.contains(&(Some(from.clone()), to.clone())),
            "{passed}: {first:#?} {again:#?}"
        );
        for (line_from, line_to) in lines {
            assert!(
                line_from.is_none_or(|line| line == from) && line_to == to,
                "{passed}: {again:#?}"
            );
        }
        let told = format!("{}{}", first.out, again.out);
        assert!(!told.contains(&format!("It was that of {to}")), "{passed}: {told}");
        again.with_exit(0);
        assert_eq!(stage.identity(&mut stage.visitor(&to).await).await, identity, "{passed}");
        if first.exit == Some(0) {
            assert!(passed > 5, "it is cut off within each of its steps");
            return;
        }
    }
}

/// How a command ends that is held back after so many replies, while `meanwhile` runs; `None` when it had ended before.
async fn held<T>(
    proxy: &Proxy,
    passed: usize,
    command: impl Future<Output = Said>,
    meanwhile: impl Future<Output = T>,
) -> Option<(Said, T)> {
    let mut command = pin!(command);
    tokio::select! {
        biased;
        () = proxy.hold_after(passed) => {}
        _ended = &mut command => return None,
    }
    let came = meanwhile.await;
    proxy.clear_up();
    Some((command.await, came))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_moves_at_once_one_gets_the_identity_and_the_other_says_so() {
    let stage = Stage::on_redis().await;
    let redis = stage.redis.as_ref().unwrap();
    let proxy = Proxy::before(redis.address()).await;
    let (store, issuer) = (store(redis).await, stage.provider.issuer());
    let run = |url: &str, identity: &Identity, to: &str| {
        let operator = Operator::with(url, &provider_section(&stage.provider, ""));
        let (identity, to) = (identity.to_string(), to.to_owned());
        let arguments = move || {
            let words = ["move-identity", &identity, "--provider", "fake", "--subject", &to];
            operator.run(&words)
        };
        async { tokio::task::spawn_blocking(arguments).await.unwrap() }
    };
    // Its scripts are known to the server, so that each reply is one of a step.
    run(&redis.url(), &Identity::parse("warm").unwrap(), "bob").await.with_exit(0);
    let (mut overtaken, mut passed) = (0, 0);
    loop {
        // It is the first one's already, who is not bound to it: the last step of a move is missing.
        let identity = Identity::parse(&format!("staff-{passed}")).unwrap();
        let subjects =
            ["bob", "carol"].map(|who| Subject::new(&issuer, &format!("{who}-{passed}")).unwrap());
        store.claim_identity(&identity, &subjects[0]).await.unwrap();

        let first = run(&proxy.url(), &identity, subjects[0].value());
        let second = run(&redis.url(), &identity, subjects[1].value());
        let Some((first, second)) = held(&proxy, passed, first, second).await else { break };

        second.with_exit(0);
        let mut bound = 0;
        for subject in &subjects {
            let found = store.find_identity(&subject.key(), None).await.unwrap().value;
            bound += usize::from(found.binding.identity.as_ref() == Some(&identity));
        }
        assert!(bound < 2, "{passed}: two subjects have it: {first:#?}");
        if first.out.starts_with("At the same time somebody else moved the identity") {
            overtaken += 1;
            assert!(first.with_exit(1).contains("the same command again finishes the move"));
        }
        passed += 1;
    }
    assert!(overtaken > 0, "{passed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_is_claimed_and_a_subject_that_nobody_knows_is_told() {
    for stage in [Stage::on_redis().await, Stage::on_a_file().await] {
        let given = stage.move_to("staff-1", "carol").with_exit(0);

        for told in [
            "The identity staff-1 is now that of carol of",
            "Nobody had it. Is it spelled right?",
            "Nobody has signed in here as them, as far as is known. Is the subject spelled right?",
            "All their sessions have ended.",
        ] {
            assert!(given.contains(told), "{given}");
        }
        assert!(!given.contains("It was that of") && !given.contains("comes in again"), "{given}");
        let mut carol = stage.visitor("carol").await;
        assert_eq!(stage.identity(&mut carol).await, "staff-1");

        // A slip: what she had is hers still, and hers to have again.
        let second = stage.move_to("staff-2", "carol").with_exit(0);
        assert!(second.contains("They had the identity staff-1, which stays reserved"), "{second}");
        assert!(!second.contains("as far as is known"), "{second}");
        assert_eq!(stage.token(&mut carol).await, StatusCode::UNAUTHORIZED);
        let back = stage.move_to("staff-1", "carol").with_exit(0);
        assert!(back.contains("It was reserved for them before."), "{back}");
        assert_eq!(stage.identity(&mut stage.visitor("carol").await).await, "staff-1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_denied_here_is_known() {
    let stage = Stage::on_redis().await;
    let own = default_identity(&stage.provider.issuer(), "alice");
    stage.move_to(&own, "carol").with_exit(0);
    let refused = Visitor::of(&stage.service).sign_in(&stage.service).await;
    assert_eq!(refused.code(), "identity_conflict");

    let given = stage.move_to("staff-1", "alice").with_exit(0);

    assert!(!given.contains("as far as is known"), "{given}");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_tells_one_who_lost_an_identity_from_one_who_was_never_let_in() {
    let stage = Stage::on_redis().await;
    let explain = |identity: &str| stage.operator.run(&["explain", identity]).with_exit(0);
    let theirs = stage.identity(&mut stage.visitor("bob").await).await;
    stage.move_to("staff-1", "bob").with_exit(0);
    assert!(explain(&theirs).contains("staff-1: the subject has that one"), "{}", explain(&theirs));

    stage.move_to("staff-1", "carol").with_exit(0);

    let told = explain(&theirs);
    assert!(told.contains("has not come in since an operator's move"), "{told}");
    assert!(!told.contains("never let in"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_cannot_be_made_is_told_with_the_way_on() {
    for stage in [Stage::on_redis().await, Stage::on_a_file().await] {
        let identity = stage.identity(&mut stage.visitor("alice").await).await;

        let guests = stage.move_to("guest-1", "bob");
        let no_identity = stage.move_to("auth0|1", "bob");
        let no_subject = stage.move_to(&identity, " ");
        let provider = ["--provider", "corp", "--subject", "bob"];
        let no_provider =
            stage.operator.run(&[&["move-identity", &identity], provider.as_slice()].concat());
        let issuer =
            ["--provider", "fake", "--subject", "bob", "--issuer", "https://id.example.com"];
        let no_issuer =
            stage.operator.run(&[&["move-identity", &identity], issuer.as_slice()].concat());
        let nothing = stage.operator.run(&["move-identity"]);

        assert!(guests.with_exit(1).contains("Names that begin with guest- are for guests"));
        for (said, why) in [
            (no_identity, "not of '|'"),
            (no_subject, "the subject is empty"),
            (no_provider, "there is no provider corp; there are: fake"),
            (no_issuer, "has no such issuer"),
            (nothing, "--subject"),
        ] {
            assert!(said.exit == Some(2) && said.err.contains(why), "{said:#?}");
        }
        assert_eq!(stage.token(&mut stage.visitor("alice").await).await, StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_way_to_the_store_it_says_which_there_would_be() {
    let stage = Stage::on_a_file().await;
    let arguments = ["move-identity", "x", "--provider", "fake", "--subject", "bob"];
    let with = |from: &str, to: &str| {
        let configuration = stage.operator.read("vestibule.toml");
        assert!(configuration.contains(from));
        stage.operator.write("other.toml", &configuration.replace(from, to));
        stage.operator.run(&[&arguments, ["--config", "other.toml"].as_slice()].concat())
    };
    let ops = stage.service.ops_url.strip_prefix("http://").unwrap();
    let public = stage.service.url.strip_prefix("http://").unwrap();

    let no_token = with(&format!("token = \"{OPS_TOKEN}\""), "");
    let other_token = with(OPS_TOKEN, "another-token-of-16");
    let nothing_there = with(ops, "127.0.0.1:1");
    let somebody_else = with(ops, public);
    let no_file = with("vestibule.db", "elsewhere.db");

    for (said, why) in [
        (no_token, "set ops.token_file in its configuration"),
        (other_token, "was started with another ops.token"),
        (nothing_there, "no service answers at 127.0.0.1:1 (ops.listen)"),
        (somebody_else, "is not Vestibule, or another version of it"),
        (no_file, "elsewhere.db (store.url) is not there"),
    ] {
        assert!(said.exit == Some(3) && said.err.contains(why), "{why}: {said:#?}");
        assert_eq!(said.out, "");
    }
    let off = Operator::with("redis://127.0.0.1:1", &provider_section(&stage.provider, ""));
    let away = off.run(&arguments);
    assert!(away.exit == Some(3) && away.err.contains("the store is away"), "{away:#?}");
    assert!(
        away.err.contains("The same command again goes on where this one stopped."),
        "{away:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_was_started_without_a_token_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file:{}", folder.path().join("vestibule.db").display());
    let provider = FakeProvider::start().await;
    let providers = provider_section(&provider, "");
    let service = TestService::start(&url, &providers).await;
    let operator = Operator::of(&service, &url, &providers);

    let said = operator.run(&["move-identity", "x", "--provider", "fake", "--subject", "bob"]);

    assert!(
        said.exit == Some(3) && said.err.contains("was started without ops.token"),
        "{said:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_with_many_tenants_needs_the_issuer() {
    let redis = RedisServer::start();
    let provider = FakeProvider::start_with_tenants().await;
    let tenants = crate::support::fake_provider::TENANTS;
    let keys = format!("tenants = [\"{}\", \"{}\"]", tenants[0], tenants[1]);
    let operator = Operator::with(&redis.url(), &provider_section(&provider, &keys));
    let arguments = ["move-identity", "x", "--provider", "fake", "--subject", "bob"];

    let without = operator.run(&arguments);
    let issuer = provider.issuer_of(tenants[1]);
    let with = operator.run(&[&arguments, ["--issuer", &issuer].as_slice()].concat());

    assert_eq!(without.exit, Some(2), "{without:#?}");
    assert!(without.err.contains("has several issuers: name one with --issuer:"), "{without:#?}");
    assert!(tenants[..2].iter().all(|tenant| without.err.contains(&provider.issuer_of(tenant))));
    assert!(with.with_exit(0).contains(&format!("is now that of bob of {issuer}")));
}
