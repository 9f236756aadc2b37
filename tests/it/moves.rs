//! `vestibule move-identity`: an operator gives an identity to another subject, and says so; nobody shares it at any moment.

use reqwest::StatusCode;

use crate::support::fake_provider::FakeProvider;
use crate::support::log;
use crate::support::operator::{OPS_TOKEN, Operator, Said};
use crate::support::redis::RedisServer;
use crate::support::service::TestService;
use crate::support::setup::provider_section;
use crate::support::visitor::Visitor;

/// A service with a store that is a file, or a Redis that commands reach too.
struct Stage {
    provider: FakeProvider,
    service: TestService,
    operator: Operator,
    _redis: Option<RedisServer>,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn on_redis() -> Self {
        let redis = RedisServer::start();
        let url = redis.url();
        Self { _redis: Some(redis), ..Self::on(&url, tempfile::tempdir().unwrap()).await }
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
        Self { provider, service, operator, _redis: None, _folder: folder }
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

    let line: serde_json::Value = serde_json::from_str(moved.err.trim()).unwrap();
    assert_eq!((&line["event"], &line["identity"]), (&"move".into(), &identity.as_str().into()));
    assert_eq!((&line["from_subject"], &line["to_subject"]), (&"alice".into(), &"bob".into()));
    insta::assert_snapshot!(stage.plain(&moved.with_exit(0), &identity));
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
    let other = on_redis.plain(&other.with_exit(0), &its_identity);
    assert_eq!(stage.plain(&moved.with_exit(0), &identity), other);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_cannot_be_made_is_told_with_the_way_on() {
    for stage in [Stage::on_redis().await, Stage::on_a_file().await] {
        let identity = stage.identity(&mut stage.visitor("alice").await).await;

        let unknown = stage.move_to("nobody", "bob");
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

        assert!(unknown.with_exit(1).starts_with("Nobody has the identity nobody"));
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
    assert!(with.with_exit(1).starts_with("Nobody has the identity x"));
}
