//! `vestibule explain`: each rule with its value, why somebody was not let in, and who an identity is; for people and for programs,
//! with a running service and without.

use std::fmt::Write as _;

use reqwest::StatusCode;
use serde_json::{Value, json};
use vestibule::inside::store::{Settings, Store};
use vestibule::inside::{Identity, Metrics, Subject};

use crate::support::fake_provider::FakeProvider;
use crate::support::operator::{OPS_TOKEN, Operator, Said, but_for};
use crate::support::policies::{
    default_identity, reference, says, section, serve, sign_in, visitor,
};
use crate::support::redis::RedisServer;
use crate::support::service::TestService;

/// The contract's example, and a token's life besides.
const POLICY: &str = r#"
allow = [
  { rule = "claims.email_verified && domain(claims.email) == 'example.com'", message = "Only verified staff of Example Corp." },
  { rule = "!('suspended' in claims.groups)" },
]
identity = "'staff-' + claims.employee_id"
role = "'support' in claims.groups ? 'agent' : 'member'"
conversations = "claims.groups.filter(g, g.startsWith('team-'))"
attributes = "{'dept': claims.?department.orValue('none')}"
token_ttl = "duration('30m')"
"#;

/// A tenant's id, but for its digits.
const TENANT: &str = "00000000-0000-0000-0000-000000000000";

/// The provider of a configuration in a checkout: neither its secrets nor its store are at hand.
fn far_away(policy: &str) -> String {
    let provider = |name, policy| {
        format!(
            "[[provider]]\nname = \"{name}\"\nissuer = \"https://{name}.example.com\"\nclient_id = \"vestibule\"\n\
             client_secret_file = \"/run/secrets/not-here\"\n[provider.policy]\n{policy}\n"
        )
    };
    provider("corp", policy) + &provider("other", "allow = \"true\"")
}

fn reviewer(policy: &str) -> Operator {
    Operator::with("redis://127.0.0.1:1", &far_away(policy))
}

fn alice() -> Value {
    json!({
        "iss": "https://corp.example.com",
        "sub": "alice",
        "email": "alice@example.com",
        "email_verified": true,
        "name": "Alice",
        "employee_id": "0042",
        "groups": ["support", "team-blue", "team-red", "everybody"],
    })
}

/// Alice's claims, but for these.
fn alice_with(changes: Value) -> Value {
    but_for(alice(), changes)
}

fn explain(operator: &Operator, claims: &Value) -> Said {
    operator.write("claims.json", &claims.to_string());
    operator.run(&["explain", "--provider", "corp", "claims.json"])
}

/// `text` with each time in it, as RFC 3339 writes it, taken out.
fn timeless(text: &str) -> String {
    let mut timeless = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('T') {
        let is_time = at >= 10
            && rest.get(at - 10..at + 10).is_some_and(|time| {
                let digits = time.bytes().filter(u8::is_ascii_digit).count();
                digits == 14 && time.ends_with('Z')
            });
        if is_time {
            timeless.push_str(&rest[..at - 10]);
            timeless.push_str("[time]");
            rest = &rest[at + 10..];
        } else {
            timeless.push_str(&rest[..=at]);
            rest = &rest[at + 1..];
        }
    }
    timeless + rest
}

#[test]
fn claims_that_are_let_in_are_explained_rule_by_rule() {
    let operator = reviewer(POLICY);

    let told = explain(&operator, &alice());

    insta::assert_snapshot!(timeless(&told.with_exit(0)));
}

#[test]
fn claims_that_are_denied_are_explained_rule_by_rule() {
    let operator = reviewer(POLICY);
    let mut told = String::new();
    for (what, changes) in [
        ("an e-mail that is not verified", json!({ "email_verified": "true" })),
        ("a claim that a later rule lacks", json!({ "department": 7, "groups": null })),
        ("an identity that cannot be", json!({ "employee_id": "zoë|1" })),
        ("an identity of another type", json!({ "employee_id": 42 })),
        ("nobody", json!({ "sub": null })),
        ("another issuer", json!({ "iss": "https://evil.example.com" })),
        ("a claim of nearly that name", json!({ "employee_id": null, "employe_id": "0042" })),
        (
            "groups that were left out",
            json!({ "groups": null, "_claim_names": { "groups": "src1" } }),
        ),
    ] {
        let said = explain(&operator, &alice_with(changes));
        writeln!(told, "### {what}\n{}", timeless(&said.with_exit(1))).unwrap();
    }

    insta::assert_snapshot!(told);
}

/// What the decision is, and why; the same for people and for programs.
fn denied(operator: &Operator, claims: &Value) -> (String, String) {
    let told = explain(operator, claims).with_exit(1);
    let json = operator.run(&["explain", "--json", "--provider", "corp", "claims.json"]);
    let document: Value = serde_json::from_str(&json.with_exit(1)).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let why = text(&document["denied"]["why"]);
    assert!(told.contains(&format!("\n  denied  {why}\n  told    login_failed\n")), "{told}");
    assert!(told.contains("\n  subject  nobody\n") && told.contains("allow[0]"), "{told}");
    assert_eq!(
        [&document["allowed"], &document["identity"], &document["subject"]],
        [&json!(false), &Value::Null, &Value::Null]
    );
    assert_eq!(document["explanation"]["outcome"]["denied"]["why"], why.as_str());
    (text(&document["denied"]["rule"]), why)
}

#[test]
fn claims_that_no_login_takes_are_denied_before_any_rule() {
    let allow = "allow = \"true\"";
    let plain = reviewer(allow);
    let tenant = |digit| TENANT.replace('0', digit);
    let far_away = far_away(allow).replacen(
        "issuer = \"https://corp.example.com\"",
        "issuer = \"https://id.example.com/{tenantid}/v2.0\"\ntenants = [\"A\", \"B\"]",
        1,
    );
    let far_away = far_away.replace('A', &tenant("a")).replace('B', &tenant("b"));
    let tenants = Operator::with("redis://127.0.0.1:1", &far_away);
    let of = |digit| format!("https://id.example.com/{}/v2.0", tenant(digit));

    for (operator, claims, rule, why) in [
        (
            &plain,
            json!({ "iss": "https://corp.example.com/" }),
            "issuer",
            "iss is https://corp.example.com/, which is none of provider corp's",
        ),
        (&plain, json!({ "iss": 7 }), "issuer", "iss is 7, which is none of provider corp's"),
        (
            &tenants,
            json!({ "iss": of("c"), "tid": tenant("c") }),
            "tid",
            &format!("tid is {}, which is none of provider corp's tenants", tenant("c")),
        ),
        (
            &tenants,
            json!({ "iss": of("a") }),
            "tid",
            "tid is missing: it says which of provider corp's tenants is meant",
        ),
        (
            &tenants,
            json!({ "iss": of("a"), "tid": tenant("b") }),
            "issuer",
            &format!("iss is {}, which is not the one of this tid at provider corp", of("a")),
        ),
    ] {
        let found = denied(operator, &but_for(json!({ "sub": "alice" }), claims));
        assert_eq!(found, (rule.to_owned(), why.to_owned()));
    }
    let said = explain(&tenants, &json!({ "sub": "alice", "iss": of("b"), "tid": tenant("b") }));
    let identity = default_identity(&of("b"), "alice");
    assert!(said.with_exit(0).contains(&identity));
}

#[test]
fn claims_come_on_standard_input_too() {
    let operator = reviewer(POLICY);
    operator.write("claims.json", &alice().to_string());
    operator.write("list.json", "[]");

    let from_file = operator.run(&["explain", "--provider", "corp", "claims.json"]).with_exit(0);
    let piped = operator.run_on("claims.json", &["explain", "--provider", "corp", "-"]);
    let list = operator.run_on("list.json", &["explain", "--provider", "corp", "-"]);

    let from_file = from_file.replace("on claims.json", "on standard input");
    assert_eq!(timeless(&piped.with_exit(0)), timeless(&from_file));
    assert!(
        list.exit == Some(2) && list.err.contains("standard input is JSON, but not"),
        "{list:?}"
    );
}

#[test]
fn a_default_identity_is_told_for_whom_it_is() {
    let operator = reviewer("allow = \"true\"");

    let said = explain(&operator, &json!({ "sub": "alice" })).with_exit(0);

    let identity = default_identity("https://corp.example.com", "alice");
    assert!(said.contains(&format!("{identity} (by default;")), "{said}");
}

#[test]
fn programs_are_told_the_same() {
    let operator = reviewer(POLICY);
    let mut documents = Vec::new();
    for claims in [alice(), alice_with(json!({ "email_verified": false })), json!({})] {
        operator.write("claims.json", &claims.to_string());
        let said = operator.run(&["explain", "--json", "--provider", "corp", "claims.json"]);
        let document: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(said.exit, Some(i32::from(document["allowed"] != true)));
        documents.push(document);
    }

    insta::assert_json_snapshot!(documents, { "[].explanation.now" => "[time]" });
}

#[test]
fn claims_cannot_steer_the_terminal() {
    let policy = "allow = \"claims.name != ''\"\nrole = \"claims.name\"\nattributes = \"claims\"";
    let operator = reviewer(policy);
    let name = "\u{1b}]0;x\u{7}\u{9b}31m\u{202e}\r\n";

    for (json, exit) in [(false, 1), (true, 1)] {
        operator.write("claims.json", &json!({ "sub": name, "name": name }).to_string());
        let arguments = ["explain", "--provider", "corp", "claims.json", "--json"];
        let said = operator.run(&arguments[..if json { 5 } else { 4 }]).with_exit(exit);

        let steers = |c: char| c.is_control() && c != '\n';
        assert!(!said.contains(steers), "{said:?}");
        assert!(json || !said.contains('\u{202e}'), "{said:?}");
    }
}

#[test]
fn bad_usage_is_told() {
    let operator = reviewer(POLICY);
    operator.write("claims.json", &alice().to_string());
    operator.write("list.json", "[]");
    operator.write("text.json", "{ \"sub\": alice }");
    operator.write("large.json", &json!({ "sub": "x".repeat(64 * 1024) }).to_string());
    let largest = json!({ "x": "" }).to_string().len();
    operator.write("largest.json", &json!({ "x": "y".repeat(64 * 1024 - largest) }).to_string());

    for (arguments, why) in [
        (
            ["--provider", "nobody", "claims.json"].as_slice(),
            "there is no provider nobody; there are: corp, other",
        ),
        (&["--provider", "corp", "nowhere.json"], "nowhere.json cannot be read: No such file"),
        (&["--provider", "corp", "list.json"], "list.json is JSON, but not an object"),
        (&["--provider", "corp", "text.json"], "text.json is not JSON (line 1, column 10)"),
        (&["--provider", "corp", "large.json"], "large.json is larger than 64 KiB"),
        (&["a|b"], "a|b is neither a denial's reference, like 7K3M9-QX2TB, nor an identity"),
        (&["list.json"], "list.json is a file: say whose policy, with --provider"),
        (&["-"], "say whose policy, with --provider"),
        (&["--provider", "corp"], "WHAT"),
        (&[], "Usage: vestibule explain"),
    ] {
        let said = operator.run(&[&["explain"], arguments].concat());
        assert!(said.exit == Some(2) && said.err.contains(why), "{arguments:?}: {said:#?}");
        assert_eq!(said.out, "", "{arguments:?}");
    }
    assert_eq!(operator.run(&["explain", "--provider", "corp", "largest.json"]).exit, Some(1));

    operator.write("vestibule.toml", "[server]\n");
    let said = operator.run(&["explain", "--provider", "corp", "claims.json"]);
    assert!(said.exit == Some(2) && said.err.contains("server.public_url is missing"), "{said:#?}");
}

#[test]
fn help_shows_an_example() {
    let operator = reviewer(POLICY);

    for (command, example) in [
        ("explain", "vestibule explain --provider corp claims.json"),
        ("what-if", "vestibule what-if vestibule.new.toml"),
        ("move-identity", "vestibule move-identity 542cbca3"),
    ] {
        let help = operator.run(&[command, "--help"]).with_exit(0);
        assert!(help.contains(example), "{help}");
        if command != "move-identity" {
            assert!(help.contains("writing them to Twilio comes with a later"), "{help}");
        }
    }
}

/// A service whose store is a file or a Redis, and an operator beside it.
struct Stage {
    provider: FakeProvider,
    service: Option<TestService>,
    operator: Operator,
    store: String,
    _redis: Option<RedisServer>,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn on_redis(policy: &str) -> Self {
        Self::on_redis_with("", policy).await
    }

    async fn on_redis_with(keys: &str, policy: &str) -> Self {
        let redis = RedisServer::start();
        let url = redis.url();
        let folder = tempfile::tempdir().unwrap();
        Self { _redis: Some(redis), ..Self::on(&url, folder, keys, policy).await }
    }

    async fn on_a_file(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file:{}", folder.path().join("vestibule.db").display());
        Self::on(&url, folder, "", policy).await
    }

    async fn on(store: &str, folder: tempfile::TempDir, keys: &str, policy: &str) -> Self {
        let provider = FakeProvider::start().await;
        let providers = section("corp", &provider, keys, policy);
        let ops = format!("[ops]\ntoken = \"{OPS_TOKEN}\"\n");
        let service = serve(store, &format!("{ops}{providers}")).await;
        let operator = Operator::of(&service, store, &providers);
        let store = store.to_owned();
        Self { provider, service: Some(service), operator, store, _redis: None, _folder: folder }
    }

    /// Has somebody of whom the provider says so try to come in.
    async fn try_in(&self, who: &str, claims: Value) -> crate::support::visitor::Answer {
        let claims = claims.as_object().unwrap().clone().into_iter();
        let claims =
            claims.map(|(name, value)| -> (&'static str, _) { (name.leak(), Some(value)) });
        says(&self.provider, claims.collect());
        sign_in(&mut visitor(), self.service.as_ref().unwrap(), "corp", who).await
    }

    async fn denied(&self, who: &str, claims: Value) -> String {
        let answer = self.try_in(who, claims).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{answer:?}");
        reference(&answer)
    }

    /// What is said about `what`, without what differs from run to run.
    fn explained(&self, what: &str) -> String {
        self.plain(&self.operator.run(&["explain", what]).with_exit(0))
    }

    fn plain(&self, said: &str) -> String {
        timeless(said).replace(&self.provider.issuer(), "[issuer]")
    }

    async fn inside(&self) -> Store {
        let settings = match self.store.strip_prefix("file:") {
            Some(path) => Settings::Embedded { path: path.into() },
            None => Settings::Redis { url: self.store.clone().into() },
        };
        Store::open(&settings, &Metrics::new().unwrap()).await.unwrap()
    }
}

fn staff(changes: Value) -> Value {
    let groups = ["support", "team-blue"];
    but_for(json!({ "email_verified": true, "employee_id": "0042", "groups": groups }), changes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_is_explained_the_same_whoever_has_the_store() {
    let mut told = Vec::new();
    for on_a_file in [false, true] {
        let mut stage =
            if on_a_file { Stage::on_a_file(POLICY).await } else { Stage::on_redis(POLICY).await };
        let reference = stage.denied("alice", staff(json!({ "email_verified": "true" }))).await;

        let beside_the_service = stage.explained(&reference);
        let json = stage.operator.run(&["explain", "--json", &reference]).with_exit(0);
        stage.service = None;
        let alone = once_free(&stage, &reference).await;

        let lower = stage.explained(&reference.to_lowercase());
        let without_dash = stage.explained(&reference.replace('-', ""));
        assert_eq!([&alone, &lower, &without_dash], [&beside_the_service; 3]);
        let record: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(record["reference"], reference.as_str());
        assert_eq!(record["message"], "Only verified staff of Example Corp.");
        told.push(alone.replace(&reference, "[reference]"));
    }

    assert_eq!(told[0], told[1]);
    insta::assert_snapshot!(told[0]);
}

/// What is explained when the service that has the file has ended.
async fn once_free(stage: &Stage, reference: &str) -> String {
    for _ in 0..200 {
        let said = stage.operator.run(&["explain", reference]);
        if said.exit == Some(0) {
            return stage.plain(&said.out);
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the service does not let go of the store");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_denial_says_what_to_change() {
    let stage = Stage::on_redis(POLICY).await;
    assert_eq!(stage.try_in("alice", staff(json!({}))).await.status, StatusCode::SEE_OTHER);
    let mut told = String::new();

    for (what, who, claims) in [
        ("a rule that is false", "bob", json!({ "groups": ["suspended"] })),
        ("a rule that fails", "bob", json!({ "groups": 7 })),
        ("an identity that another has", "o'brien", json!({})),
        ("an identity that cannot be", "bob", json!({ "employee_id": "4 2" })),
        ("groups that were left out", "bob", json!({ "groups": [], "hasgroups": true })),
    ] {
        let reference = stage.denied(who, staff(claims)).await;
        let said = stage.explained(&reference).replace(&reference, "[reference]");
        writeln!(told, "### {what}\n{said}").unwrap();
    }
    let stage = Stage::on_redis("allow = \"true\"").await;
    assert_eq!(stage.try_in("alice", json!({})).await.status, StatusCode::SEE_OTHER);
    let identity = default_identity(&stage.provider.issuer(), "alice");
    let moved =
        ["move-identity", &identity, "--provider", "corp", "--subject", "bob"].map(str::to_owned);
    stage.operator.run(&moved.each_ref().map(String::as_str)).with_exit(0);
    let reference = stage.denied("alice", json!({})).await;
    let said = stage.explained(&reference).replace(&reference, "[reference]");
    let said = said.replace(&identity, "[identity]");
    writeln!(told, "### a default identity that was moved\n{said}").unwrap();
    let stage = Stage::on_redis_with("subject_claim = \"oid\"", POLICY).await;
    let reference = stage.denied("bob", staff(json!({}))).await;
    let said = stage.explained(&reference).replace(&reference, "[reference]");
    write!(told, "### nobody\n{said}").unwrap();

    insta::assert_snapshot!(told);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_is_explained_the_same_whoever_has_the_store() {
    let mut told = Vec::new();
    for on_a_file in [false, true] {
        let mut stage =
            if on_a_file { Stage::on_a_file(POLICY).await } else { Stage::on_redis(POLICY).await };
        assert_eq!(stage.try_in("alice", staff(json!({}))).await.status, StatusCode::SEE_OTHER);
        let let_in = stage.explained("staff-0042");
        let denied = stage.denied("alice", staff(json!({ "groups": ["suspended"] }))).await;

        let beside_the_service = stage.explained("staff-0042");
        stage.service = None;
        let alone = once_free(&stage, "staff-0042").await;

        assert_eq!(alone, beside_the_service);
        let json = stage.operator.run(&["explain", "staff-0042", "--json"]).with_exit(0);
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["subject"]["value"], "alice");
        told.push(format!("{let_in}\n### later\n{}", alone.replace(&denied, "[reference]")));
    }

    assert_eq!(told[0], told[1]);
    insta::assert_snapshot!(told[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_stopped_half_way_is_told_and_finished_by_the_same_command() {
    let stage = Stage::on_redis(POLICY).await;
    assert_eq!(stage.try_in("alice", staff(json!({}))).await.status, StatusCode::SEE_OTHER);
    let issuer = stage.provider.issuer();
    let subject = |value| Subject::new(&issuer, value).unwrap();
    let identity = Identity::parse("staff-0042").unwrap();
    let store = stage.inside().await;
    let begun =
        store.begin_move(&identity, &subject("alice").key(), &subject("bob")).await.unwrap();
    assert!(begun.value);
    let move_to = |who| {
        stage.operator.run(&["move-identity", "staff-0042", "--provider", "corp", "--subject", who])
    };

    let explained = stage.explained("staff-0042");
    let elsewhere = stage.plain(&move_to("carol").with_exit(1));
    let finished = stage.plain(&move_to("bob").with_exit(0));

    assert!(explained.contains("moving to  bob of [issuer]"), "{explained}");
    assert!(
        elsewhere.starts_with("The identity staff-0042 is on its way to bob of [issuer]"),
        "{elsewhere}"
    );
    assert!(elsewhere.contains("Finish that move first"), "{elsewhere}");
    assert!(
        finished.starts_with("The identity staff-0042 is now that of bob of [issuer]."),
        "{finished}"
    );
    assert!(stage.explained("staff-0042").contains("subject  bob"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_be_both_is_a_denial_if_there_is_one_and_else_an_identity() {
    let policy = "allow = \"claims.sub != 'mallory'\"\nidentity = \"claims.employee_id\"\n\
                  acknowledge = [{ lint = \"guest_namespace\", reason = \"numbers only\" }]";
    let stage = Stage::on_redis(policy).await;
    let reference = stage.denied("mallory", json!({})).await;
    assert_eq!(stage.try_in("alice", json!({ "employee_id": "ab12c-de34f" })).await.status, 303);
    assert_eq!(stage.try_in("bob", json!({ "employee_id": reference })).await.status, 303);

    let identity = stage.operator.run(&["explain", "ab12c-de34f"]);
    let denial = stage.explained(&reference);
    let unknown = stage.operator.run(&["explain", "7K3M9-QX2TB"]);
    let nobody = stage.operator.run(&["explain", "nobody"]);

    assert_eq!(
        identity.err,
        "vestibule: ab12c-de34f is no denial's reference, and was taken as an identity\n"
    );
    assert!(identity.with_exit(0).starts_with("Identity ab12c-de34f\n"));
    assert!(denial.starts_with(&format!("Denial {reference}\n")), "{denial}");
    assert!(unknown.err.contains("Denials are kept for 30d (denials.keep)"), "{unknown:#?}");
    assert!(nobody.err.contains("nobody has the identity nobody"), "{nobody:#?}");
    assert_eq!((unknown.exit, nobody.exit), (Some(1), Some(1)));
}
