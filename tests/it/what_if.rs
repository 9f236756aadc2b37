//! `vestibule what-if`: a changed configuration over everybody who is known, by page, and nothing is changed by asking.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use vestibule::inside::store::{
    Found, NewSession, NewStanding, OpenedSession, Outcome, SessionKey, Settings, Store, Verdict,
};
use vestibule::inside::{
    Digest, Identity, Metrics, ProviderName, Reference, Secret256, Subject, Timestamp,
};

use crate::support::operator::{OPS_TOKEN, Operator, Said, but_for, configuration};
use crate::support::policies::serve;
use crate::support::redis::RedisServer;

const TODAY: &str = r#"
allow = [{ rule = "claims.email_verified", message = "Confirm your address first." }]
identity = "'staff-' + claims.employee"
role = "claims.?department.orValue('') == 'support' ? 'agent' : 'member'"
conversations = "claims.groups.filter(g, g.startsWith('team-'))"
"#;

const NEW: &str = r#"
allow = [{ rule = "claims.department in ['support', 'sales']", message = "Only Support and Sales." }]
identity = "'staff-' + claims.department"
friendly_name = "lower(claims.name)"
role = "claims.department == 'sales' ? 'agent' : 'member'"
conversations = "claims.groups.filter(g, g != 'team-old')"
attributes = "{'dept': claims.department}"
token_ttl = "claims.department == 'sales' ? duration('10m') : duration('20m')"
"#;

/// A provider whose secrets are at hand or not.
fn provider(name: &str, secret: &str, policy: &str) -> String {
    format!(
        "[[provider]]\nname = \"{name}\"\nissuer = \"https://{name}.example.com\"\nclient_id = \"vestibule\"\n{secret}\n\
         [provider.policy]\n{policy}\n"
    )
}

const SECRET: &str = "client_secret = \"canary-client-secret-0001\"";

/// What is tried: its secrets are not at hand, nor is its store.
fn new(providers: &str) -> String {
    configuration("[ops]\ntoken_file = \"/run/secrets/not-here\"", "redis://127.0.0.1:1", providers)
        .replace(
            "api_key_secret = \"canary-twilio-api-key-secret-0001\"",
            "api_key_secret_file = \"/run/secrets/not-here\"",
        )
}

fn corp(policy: &str) -> String {
    new(&provider("corp", "", policy))
}

/// A store to be filled before anybody asks.
struct World {
    url: String,
    redis: Option<RedisServer>,
    _folder: tempfile::TempDir,
}

impl World {
    fn on_redis() -> Self {
        let redis = RedisServer::start();
        let folder = tempfile::tempdir().unwrap();
        Self { url: redis.url(), redis: Some(redis), _folder: folder }
    }

    fn on_a_file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file:{}", folder.path().join("vestibule.db").display());
        Self { url, redis: None, _folder: folder }
    }

    async fn open(&self) -> Store {
        let settings = match self.url.strip_prefix("file:") {
            Some(path) => Settings::Embedded { path: path.into() },
            None => Settings::Redis { url: self.url.clone().into() },
        };
        Store::open(&settings, &Metrics::new().unwrap()).await.unwrap()
    }

    /// An operator with today's configuration of these providers, each with its policy.
    fn operator(&self, providers: &[(&str, &str)]) -> Operator {
        Operator::with(&self.url, &Self::providers(providers))
    }

    fn providers(providers: &[(&str, &str)]) -> String {
        providers.iter().map(|(name, policy)| provider(name, SECRET, policy)).collect()
    }
}

fn issuer(provider: &str) -> String {
    format!("https://{provider}.example.com")
}

/// Remembers somebody of a provider, who has this identity, or none.
async fn remember(store: &Store, at: &str, who: &str, identity: Option<&str>, claims: &Value) {
    let subject = Subject::new(&issuer(at), who).unwrap();
    let mut claims = claims.clone();
    claims["sub"] = who.into();
    let outcome = match identity {
        Some(_) => Outcome::Allowed { token_ttl: None },
        None => Outcome::Denied { reference: Reference::random() },
    };
    let standing = NewStanding {
        subject: subject.clone(),
        provider: ProviderName::parse(at).unwrap(),
        claims: claims.to_string(),
        verdict: Verdict { mark: Digest::of(b"an earlier policy"), outcome },
        decision: claims
            .get("called")
            .map_or_else(String::new, |name| json!({ "friendly_name": name }).to_string()),
        keep: Duration::from_hours(1),
    };
    let Some(identity) = identity else {
        store.keep_standing(&standing).await.unwrap();
        return;
    };
    let identity = Identity::parse(identity).unwrap();
    store.claim_identity(&identity, &subject).await.unwrap();
    let key = SessionKey { subject: subject.key(), id: Secret256::random().digest() };
    let hour = Duration::from_hours(1);
    let session = NewSession {
        key,
        identity,
        found: Found::default(),
        lifetime: hour,
        idle: hour,
        label: String::new(),
        most: 10,
        begun: Timestamp::from_millis(0),
        sid: None,
        way: None,
        grant: None,
        standing,
    };
    let opened = store.open_session(&session).await.unwrap().value;
    assert!(matches!(opened, OpenedSession::Opened(_)));
}

fn person(department: &str, changes: Value) -> Value {
    let claims = json!({
        "name": "Somebody",
        "email_verified": true,
        "employee": "0",
        "department": department,
        "groups": ["team-blue", "team-old", "everybody"],
    });
    but_for(claims, changes)
}

/// Somebody for each way in which a change can concern people.
async fn everybody(store: &Store) {
    let no = json!({ "email_verified": false });
    for (at, who, identity, claims) in [
        ("corp", "alice", Some("staff-1"), person("sales", json!({ "called": "Alice" }))),
        ("corp", "bob", Some("staff-2"), person("finance", json!({ "called": "Bob\u{1b}[2J" }))),
        ("corp", "carol", Some("staff-3"), person("support", json!({ "department": null }))),
        ("corp", "dave", None, person("sales", no.clone())),
        ("corp", "erin", None, person("support", no.clone())),
        ("corp", "frank", Some("staff-support"), person("finance", no.clone())),
        ("corp", "\u{1b}[2Jgrace\u{202e}", Some("staff-4"), person("finance", json!({}))),
        ("corp", "heidi", None, person("finance", no)),
        ("gone", "ivan", Some("staff-5"), person("finance", json!({}))),
        ("same", "judy", Some("staff-6"), person("finance", json!({}))),
        ("never", "kim", Some("staff-7"), person("finance", json!({}))),
    ] {
        remember(store, at, who, identity, &claims).await;
    }
}

/// The changes, which come in no order, sorted; then the sums.
fn sorted(said: &str) -> String {
    let (changes, sums) = said.split_once("\n\n").unwrap();
    let mut changes = changes.lines().collect::<Vec<_>>();
    changes.sort_unstable();
    format!("{}\n\n{sums}", changes.join("\n"))
}

const TODAYS_PROVIDERS: [(&str, &str); 3] =
    [("corp", TODAY), ("gone", "allow = \"true\""), ("same", "allow = \"true\"")];

fn news() -> String {
    new(&(provider("corp", "", NEW) + &provider("same", "", "allow = \"true\"")))
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_for_whom_what_changes_whoever_has_the_store() {
    let mut told = Vec::new();
    for world in [World::on_redis(), World::on_a_file()] {
        let store = world.open().await;
        everybody(&store).await;
        let before = page(&store).await;
        let is_file = world.redis.is_none();
        drop(store);
        let operator = world.operator(&TODAYS_PROVIDERS);
        operator.write("new.toml", &news());

        let said = operator.run(&["what-if", "new.toml"]);

        assert_eq!(said.err, "");
        told.push(sorted(&said.with_exit(1)));
        assert_eq!(page(&world.open().await).await, before, "it changes nothing");
        if is_file {
            let ops = format!("[ops]\ntoken = \"{OPS_TOKEN}\"\n");
            let providers = World::providers(&TODAYS_PROVIDERS);
            let service = serve(&world.url, &format!("{ops}{providers}")).await;
            let operator = Operator::of(&service, &world.url, &providers);
            operator.write("new.toml", &news());
            told.push(sorted(&operator.run(&["what-if", "new.toml"]).with_exit(1)));
        }
    }

    assert_eq!([&told[1], &told[2]], [&told[0]; 2]);
    insta::assert_snapshot!(told[0]);
}

/// Everything that is remembered, in an order.
async fn page(store: &Store) -> Vec<String> {
    let page = store.list_standings(None, 500).await.unwrap().value;
    assert!(page.next.is_none());
    let mut standings = page.standings.iter().map(|row| format!("{row:?}")).collect::<Vec<_>>();
    standings.sort_unstable();
    standings
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_are_told_a_line_for_each_change() {
    let world = World::on_redis();
    everybody(&world.open().await).await;
    let operator = world.operator(&TODAYS_PROVIDERS);
    operator.write("new.toml", &news());

    let said = operator.run(&["what-if", "--json", "new.toml"]).with_exit(1);

    assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{said:?}");
    let mut lines: Vec<Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.pop().unwrap();
    assert_eq!(last["summary"]["looked_at"], 11);
    lines.sort_by_key(|line| line["subject"]["value"].to_string());
    lines.push(last);
    insta::assert_json_snapshot!(lines);
}

async fn tried(people: &[(&str, Option<&str>, Value)], today: &str, new: &str) -> Said {
    let world = World::on_redis();
    let store = world.open().await;
    for (who, identity, claims) in people {
        remember(&store, "corp", who, *identity, claims).await;
    }
    let operator = world.operator(&[("corp", today)]);
    operator.write("new.toml", new);
    operator.run(&["what-if", "new.toml"])
}

/// What the sums say of `name`.
fn sum(said: &str, name: &str) -> u64 {
    let sums = said.rsplit("\n\n").next().unwrap();
    let line = sums.lines().find(|line| line.starts_with(&format!("{name}  "))).expect(said);
    let mut words = line.trim_start_matches(name).split_whitespace();
    words.next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_would_have_one_identity_one_collides() {
    let person = || person("sales", json!({ "email_verified": false }));
    let people = [("alice", None, person()), ("bob", None, person())];

    let said = tried(&people, TODAY, &corp(NEW)).await.with_exit(1);

    assert_eq!((sum(&said, "let in"), sum(&said, "collide")), (1, 1), "{said}");
    assert!(
        said.contains("staff-sales would be that of another whom the new policy lets in"),
        "{said}"
    );
    // That is how it is today, and how it stays.
    let wider = TODAY.replace("claims.email_verified", "true");
    let wider_today = tried(&people, &wider, &corp(&wider.replace("'agent'", "'boss'"))).await;
    assert_eq!(sum(&wider_today.with_exit(0), "unchanged"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_identity_is_another_s_has_no_access_to_lose() {
    // Today's policy would make dave staff-0, which is alice's.
    let people = [
        ("alice", Some("staff-0"), person("sales", json!({}))),
        ("dave", None, person("sales", json!({}))),
    ];
    let narrower = TODAY.replace("claims.email_verified", "claims.sub != 'dave'");
    let other_role = TODAY.replace("'agent' : 'member'", "'agent' : 'guest'");
    let other_identity = TODAY.replace("'staff-' + claims.employee", "'staff-' + claims.sub");
    let alices_still = TODAY.replace("claims.employee", "lower(claims.employee)");

    let narrower = tried(&people, TODAY, &corp(&narrower)).await.with_exit(0);
    let other_role = tried(&people, TODAY, &corp(&other_role)).await.with_exit(0);
    let other_identity = tried(&people, TODAY, &corp(&other_identity)).await.with_exit(0);
    let alices_still = tried(&people, TODAY, &corp(&alices_still)).await.with_exit(0);

    assert_eq!(sum(&narrower, "unchanged"), 2, "{narrower}");
    assert_eq!((sum(&other_role, "change"), sum(&other_role, "unchanged")), (1, 1));
    assert!(other_identity.starts_with("let in    corp      dave  as staff-dave\n"));
    assert_eq!(sum(&alices_still, "unchanged"), 2, "{alices_still}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_comes_lets_its_people_in() {
    let world = World::on_redis();
    remember(&world.open().await, "back", "kim", Some("staff-7"), &person("sales", json!({})))
        .await;
    let operator = world.operator(&[("corp", TODAY)]);
    operator.write("new.toml", &new(&(provider("corp", "", TODAY) + &provider("back", "", TODAY))));

    let said = operator.run(&["what-if", "new.toml"]).with_exit(0);

    assert_eq!(sum(&said, "let in"), 1, "{said}");
    assert!(said.contains("The provider back is missing in today's configuration"), "{said}");
    assert!(!said.contains("missing in the new configuration"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_told_and_the_others_are_looked_at() {
    let world = World::on_redis();
    let store = world.open().await;
    for who in ["alice", "bob", "carol"] {
        remember(&store, "corp", who, Some(who), &person("sales", json!({}))).await;
    }
    let key = |who| {
        let subject = Subject::new(&issuer("corp"), who).unwrap().key();
        format!("vestibule:standing:{{{subject}}}")
    };
    let redis = world.redis.as_ref().unwrap();
    redis.ask::<redis::Value>(&["HDEL", &key("bob"), "corp:c"]);
    redis.ask::<redis::Value>(&["HSET", &key("carol"), "corp:c", "{"]);
    let operator = world.operator(&[("corp", TODAY)]);
    operator.write("same.toml", &corp(TODAY));
    operator.write("narrower.toml", &corp(&TODAY.replace("claims.email_verified", "false")));

    let same = operator.run(&["what-if", "same.toml"]).with_exit(3);
    let narrower = operator.run(&["what-if", "narrower.toml"]).with_exit(1);
    let json = operator.run(&["what-if", "same.toml", "--json"]).with_exit(3);

    for said in [&same, &narrower] {
        assert_eq!((sum(said, "looked at"), sum(said, "damaged")), (1, 2), "{said}");
        assert!(
            said.contains(&format!("damaged   {}: a part of a standing", key("bob"))),
            "{said}"
        );
    }
    assert_eq!(
        json.lines().filter(|line| line.starts_with("{\"unreadable\":{\"key\":")).count(),
        2
    );
    assert!(json.contains("\"unreadable\":2"), "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_told_by_a_service_too() {
    let world = World::on_a_file();
    let store = world.open().await;
    remember(&store, "corp", "alice", Some("alice"), &person("sales", json!({}))).await;
    let bob = Subject::new(&issuer("corp"), "bob").unwrap();
    let standing = NewStanding {
        subject: bob.clone(),
        provider: ProviderName::parse("corp").unwrap(),
        claims: "{".to_owned(),
        verdict: Verdict {
            mark: Digest::of(b"an earlier policy"),
            outcome: Outcome::Allowed { token_ttl: None },
        },
        decision: String::new(),
        keep: Duration::from_hours(1),
    };
    store.keep_standing(&standing).await.unwrap();
    drop(store);
    let ops = format!("[ops]\ntoken = \"{OPS_TOKEN}\"\n");
    let provider = provider("corp", SECRET, TODAY);
    let service = serve(&world.url, &format!("{ops}{provider}")).await;
    let operator = Operator::of(&service, &world.url, &provider);
    operator.write("same.toml", &corp(TODAY));

    let said = operator.run(&["what-if", "same.toml"]).with_exit(3);

    assert_eq!((sum(&said, "looked at"), sum(&said, "damaged")), (1, 1), "{said}");
    let line = format!("damaged   {}: claims that are no JSON\n", bob.key());
    assert!(said.contains(&line), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_loses_access_is_exit_0() {
    let people = [
        ("alice", Some("staff-1"), person("support", json!({}))),
        ("bob", None, person("support", json!({ "email_verified": false }))),
    ];

    let same = tried(&people, TODAY, &corp(TODAY)).await;
    let wider = TODAY.replace("claims.email_verified", "true").replace("'agent'", "'boss'");
    let wider = tried(&people, TODAY, &corp(&wider)).await;
    // Whoever has an identity keeps it, whatever becomes of its rule.
    let other_identity = TODAY.replace("claims.employee", "claims.nowhere");
    let other_identity = tried(&people[..1], TODAY, &corp(&other_identity)).await;

    assert_eq!(sum(&same.with_exit(0), "unchanged"), 2);
    let wider = wider.with_exit(0);
    assert!(
        wider.contains("\nlet in    corp      bob  as staff-0\n")
            || wider.starts_with("let in    corp      bob  as staff-0\n"),
        "{wider}"
    );
    assert!(wider.contains("role agent → boss"), "{wider}");
    assert_eq!(sum(&other_identity.with_exit(0), "unchanged"), 1);
}

#[test]
fn a_provider_that_goes_takes_everybodys_access_along() {
    let world = World::on_redis();
    let operator = world.operator(&[("corp", TODAY), ("gone", TODAY)]);
    operator.write("new.toml", &corp(TODAY));

    let said = operator.run(&["what-if", "new.toml"]).with_exit(1);

    assert!(said.contains("The provider gone is missing in the new configuration"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_in_as_somebody_new_loses_what_they_are() {
    let people = [("alice", Some("staff-1"), person("support", json!({ "oid": "1" })))];
    let other = |from: &str, to: &str| {
        let new = corp(TODAY);
        assert!(new.contains(from));
        new.replace(from, to)
    };

    let issuer = tried(&people, TODAY, &other("https://corp.", "https://login.")).await;
    let claim = tried(
        &people,
        TODAY,
        &other("[provider.policy]", "subject_claim = \"oid\"\n[provider.policy]"),
    )
    .await;

    assert!(issuer.with_exit(1).contains("alice (staff-1)  issuer is another"));
    assert!(claim.with_exit(1).contains("alice (staff-1)  subject_claim is another"));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_policies_see_the_store_s_time() {
    let people = [("alice", Some("staff-1"), person("support", json!({})))];
    let until = |year| format!("allow = \"now < timestamp('{year}-01-01T00:00:00Z')\"");

    let ends = tried(&people, &until(9000), &corp(&until(2001))).await;
    let stays = tried(&people, &until(9000), &corp(&until(8000))).await;

    assert!(
        ends.with_exit(1).starts_with("denied    corp      alice (staff-1)  allow[0] says no\n")
    );
    assert_eq!(sum(&stays.with_exit(0), "unchanged"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_looked_at_once_however_many_pages_they_are() {
    for world in [World::on_redis(), World::on_a_file()] {
        let store = world.open().await;
        let (store_ref, people) = (&store, stream::iter(0..620));
        let people = people.map(async |number| {
            let department = if number % 100 == 0 { "finance" } else { "support" };
            let (who, identity) = (format!("u{number}"), format!("i{number}"));
            remember(store_ref, "corp", &who, Some(&identity), &person(department, json!({})))
                .await;
        });
        people.buffer_unordered(64).collect::<Vec<()>>().await;
        let is_file = world.redis.is_none();
        drop(store);
        let operator = world.operator(&[("corp", TODAY)]);
        let narrower =
            corp(&TODAY.replace("claims.email_verified", "claims.department != 'finance'"));
        operator.write("new.toml", &narrower);
        let mut told = vec![operator.run(&["what-if", "new.toml"]).with_exit(1)];
        if is_file {
            let ops = format!("[ops]\ntoken = \"{OPS_TOKEN}\"\n");
            let providers = provider("corp", SECRET, TODAY);
            let service = serve(&world.url, &format!("{ops}{providers}")).await;
            let operator = Operator::of(&service, &world.url, &providers);
            operator.write("new.toml", &narrower);
            told.push(operator.run(&["what-if", "new.toml"]).with_exit(1));
        }

        for said in told {
            assert_eq!((sum(&said, "looked at"), sum(&said, "denied")), (620, 7), "{said}");
            assert_eq!(said.lines().filter(|line| line.starts_with("denied    corp")).count(), 7);
        }
    }
}

#[test]
fn every_fault_of_both_files_is_told_at_once() {
    let operator = Operator::with("redis://127.0.0.1:1", "[session]\nidle = \"1\"");
    operator.write("new.toml", &corp("allow = \"claims.\"").replace("client_id", "clientid"));

    let said = operator.run(&["what-if", "new.toml"]);

    assert_eq!((said.exit, said.out.as_str()), (Some(2), ""));
    for fault in
        ["session.idle", "provider is missing", "provider[0].clientid", "provider[0].policy.allow"]
    {
        assert!(said.err.contains(&format!("  {fault}")), "{fault}: {}", said.err);
    }
    assert!(!said.err.contains("not-here") && !said.err.contains("token_file"), "{}", said.err);
    let missing = operator.run(&["what-if", "nowhere.toml"]);
    assert!(
        missing.exit == Some(2)
            && missing.err.contains("nowhere.toml is not there")
            && !missing.err.contains("--config"),
        "{missing:#?}"
    );
}

#[test]
fn a_store_that_is_away_is_exit_3() {
    let operator = Operator::with("redis://127.0.0.1:1", &provider("corp", SECRET, TODAY));
    operator.write("new.toml", &corp(NEW));

    let said = operator.run(&["what-if", "new.toml"]);

    assert!(said.exit == Some(3) && said.err.contains("the store is away"), "{said:#?}");
}
