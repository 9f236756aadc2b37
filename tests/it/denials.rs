//! Every path that could yield a token × every way to be denied: nobody gets past, and everybody can be told why.
//!
//! The two sides of the table are held against the sources, so that a path or a way that is new is missed here.

use std::collections::BTreeSet;
use std::path::Path as File;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use vestibule::inside::store::Store;

use crate::support::fake_provider::FakeProvider;
use crate::support::log;
use crate::support::operator::Operator;
use crate::support::policies::{
    Claims, on_record, reference, says, section, serve, sign_in, store, token, visitor,
};
use crate::support::redis::RedisServer;
use crate::support::service::TestService;
use crate::support::visitor::{Answer, Visitor};

/// How somebody comes to where a token could be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// A login's callback, called by a program.
    Login,
    /// The same, by a person.
    LoginPage,
    /// `POST /token` on a session that another policy has let in.
    ChangedPolicy,
    /// `POST /token` on a session whose owner was denied on another device.
    OtherDevice,
    /// `POST /token` with a token of the provider's.
    Bearer,
    /// `POST /oauth2/token` with one.
    Exchange,
}

const PATHS: [Path; 6] = [
    Path::Login,
    Path::LoginPage,
    Path::ChangedPolicy,
    Path::OtherDevice,
    Path::Bearer,
    Path::Exchange,
];

impl Path {
    /// As records and the audit log have it.
    const fn name(self) -> &'static str {
        match self {
            Self::Login | Self::LoginPage => "login",
            Self::ChangedPolicy | Self::OtherDevice => "session",
            Self::Bearer => "bearer",
            Self::Exchange => "exchange",
        }
    }
}

/// For whom bearers' tokens are meant.
pub const AUDIENCE: &str = "https://chat.example.com";

/// Who may exchange them.
pub const CLIENT: &str = r#"
[[client]]
id = "backend"
secret = "canary-client-secret-0003"
audiences = ["https://chat.example.com"]
"#;

/// Brings a token of a provider's as that client to the service at this URL.
pub async fn exchange_at(service: &str, token: &str) -> Answer {
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", token),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("client_id", "backend"),
        ("client_secret", "canary-client-secret-0003"),
    ];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = visitor().client.post(format!("{service}/oauth2/token"));
    let response = request.header("content-type", "application/x-www-form-urlencoded").body(body);
    let response = response.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, body: response.text().await.unwrap() }
}

/// The routes of the public listener, and the paths of [`PATHS`] that they are.
const ROUTES: [(&str, &[&str]); 14] = [
    ("/", &[]),
    ("/login", &[]),
    ("/login/{provider}", &[]),
    ("/callback/{provider}", &["login"]),
    ("/token", &["session", "bearer"]),
    // No claim of anybody decides there: tests/it/guests tells who gets none.
    ("/guest", &["guest"]),
    ("/oauth2/token", &["exchange"]),
    ("/session", &[]),
    ("/sessions", &[]),
    ("/sessions/{id}", &[]),
    ("/logout", &[]),
    ("/logout/done", &[]),
    ("/logout/backchannel/{provider}", &[]),
    ("/logout/frontchannel/{provider}", &[]),
];

/// Whom a way keeps out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Everybody.
    All,
    /// Who has no identity yet: whoever has one keeps it, whatever the rule would say now.
    Unbound,
    /// A login that names nobody, and so no session either.
    Nobody,
}

/// A way to be denied.
struct Way {
    /// The variant that says so in the code.
    why: &'static str,
    /// The rule that the denial names.
    rule: &'static str,
    /// Further keys of the provider.
    keys: &'static str,
    /// The policy as an operator writes it.
    policy: String,
    message: Option<&'static str>,
    /// What the provider says when somebody comes in; `WHO` stands for the subject.
    good: Claims,
    /// What it says besides when nobody does; `CANARY` stands for what must not be seen.
    bad: Claims,
    reach: Reach,
}

/// A way by a policy that reads `claims.x`.
fn way(why: &'static str, rule: &'static str, policy: &str, good: Value, bad: Value) -> Way {
    Way {
        why,
        rule,
        keys: "",
        policy: policy.to_owned(),
        message: None,
        good: vec![("x", Some(good))],
        bad: vec![("x", Some(bad))],
        reach: if rule == "identity" { Reach::Unbound } else { Reach::All },
    }
}

/// Each rule with an expression that fails on text and one that does not have its type then, and what goes well with both.
#[rustfmt::skip]
fn rules() -> [(&'static str, &'static str, Value, &'static str, Value, Value); 7] {
    let (name, address) = (json!("Ann"), json!("a@WHO.example"));
    [
        ("allow", "int(claims.x) > 0", json!("7"), "claims.x", json!(true), json!("CANARY")),
        ("identity", "domain(claims.x)", address.clone(), "claims.x", json!("WHO"), json!(["CANARY"])),
        ("friendly_name", "domain(claims.x)", address.clone(), "claims.x", name.clone(), json!(["CANARY"])),
        ("role", "domain(claims.x)", address.clone(), "claims.x", name, json!({ "CANARY": 1 })),
        ("conversations", "[domain(claims.x)]", address.clone(), "claims.x", json!(["a"]), json!("CANARY")),
        ("attributes", "{'d': domain(claims.x)}", address, "claims.x", json!({ "a": 1 }), json!("CANARY")),
        ("token_ttl", "duration(claims.x)", json!("10m"), "claims.x == 'y' ? duration('10m') : claims.x", json!("y"), json!("CANARY")),
    ]
}

/// Each rule errs, misses a claim, has the wrong type.
fn ways_of_each_rule() -> Vec<Way> {
    let mut ways = Vec::new();
    for (rule, failing, fails_not, typed, has_type, has_not) in rules() {
        let policy = |expression: &str| match rule {
            "allow" => format!("allow = \"{expression}\""),
            _ => format!("allow = \"true\"\n{rule} = \"{expression}\""),
        };
        let name = if rule == "allow" { "allow[0]" } else { rule };
        ways.push(way("Failed", name, &policy(failing), fails_not.clone(), json!("CANARY")));
        let missing = way("Failed", name, &policy(failing), fails_not, Value::Null);
        ways.push(Way { bad: vec![("x", None)], ..missing });
        ways.push(way("WrongType", name, &policy(typed), has_type, has_not));
    }
    ways
}

/// `allow` says no.
fn refusals() -> [Way; 6] {
    let no = || json!("CANARY");
    let refused = |policy: &str| way("Refused", "allow[0]", policy, json!("in"), no());
    let second =
        "allow = [{ rule = \"true\", message = \"First.\" }, { rule = \"claims.x == 'in'\"";
    [
        refused("allow = \"claims.x == 'in'\""),
        refused("allow = [{ rule = \"claims.x == 'in'\" }]"),
        Way {
            message: Some("Only <staff> & friends."),
            ..refused(
                "allow = [{ rule = \"claims.x == 'in'\", message = \"Only <staff> & friends.\" }]",
            )
        },
        Way {
            message: Some("Only the second."),
            rule: "allow[1]",
            ..refused(&format!("{second}, message = \"Only the second.\" }}]"))
        },
        Way { rule: "allow[1]", ..refused(&format!("{second} }}]")) },
        // What an operator says of a rule is said of it too when it cannot be computed.
        Way {
            message: Some("Ask the help desk."),
            why: "Failed",
            good: vec![("x", Some(json!("7")))],
            ..refused(
                "allow = [{ rule = \"int(claims.x) > 0\", message = \"Ask the help desk.\" }]",
            )
        },
    ]
}

/// Values of the right type that are of no use.
fn bounds() -> Vec<Way> {
    let rule = |rule: &str| format!("allow = \"true\"\n{rule} = \"claims.x\"");
    let mut ways = Vec::new();
    for bad in ["", " ", "CANARY\n", &"CANARY".repeat(60)] {
        ways.push(way("OutOfBounds", "role", &rule("role"), json!("agent"), json!(bad)));
        let good = json!(["team-a"]);
        let bad = json!(["team-a", bad]);
        ways.push(way("OutOfBounds", "conversations", &rule("conversations"), good, bad));
    }
    let many: Value = (0..1001).map(|n| format!("CANARY-{n}")).collect();
    ways.push(way("OutOfBounds", "conversations", &rule("conversations"), json!([]), many));
    let large = json!({ "a": "CANARY".repeat(700) });
    ways.push(way("OutOfBounds", "attributes", &rule("attributes"), json!({}), large));
    let ttl = "allow = \"true\"\ntoken_ttl = \"duration(claims.x)\"";
    for bad in ["59s", "0s", "-1h"] {
        ways.push(way("OutOfBounds", "token_ttl", ttl, json!("10m"), json!(bad)));
    }
    let identity = rule("identity");
    let sid = format!("US{}", "0".repeat(32));
    let long = "CANARY".repeat(50);
    for bad in ["", " ", "CANARY WHO", "WHO\u{ff20}CANARY", "guest-0001", "guest-", &sid, &long] {
        ways.push(way("InvalidIdentity", "identity", &identity, json!("WHO"), json!(bad)));
    }
    ways
}

/// What makes claims of no use altogether, or a subject.
fn others() -> Vec<Way> {
    let groups = "allow = \"!('banned' in claims.groups)\"";
    let overage = |bad: Claims| Way {
        good: vec![("groups", Some(json!(["staff"])))],
        bad,
        ..way("GroupsOverage", "allow[0]", groups, Value::Null, Value::Null)
    };
    let deep = (0..40).fold(json!("CANARY"), |inner, _| json!([inner]));
    let exists = "allow = \"has(claims.x)\"";
    let nobody = |why, bad| Way {
        keys: "subject_claim = \"uid\"",
        good: Vec::new(),
        bad: vec![("uid", bad)],
        reach: Reach::Nobody,
        ..way(why, "subject_claim", "allow = \"true\"", Value::Null, Value::Null)
    };
    vec![
        overage(vec![
            ("groups", None),
            ("_claim_names", Some(json!({ "groups": "src1" }))),
            ("_claim_sources", Some(json!({ "src1": { "endpoint": "https://CANARY.example" } }))),
        ]),
        overage(vec![("groups", None), ("hasgroups", Some(json!(true)))]),
        overage(vec![("groups", Some(json!([]))), ("hasgroups", Some(json!("true")))]),
        way("ClaimsTooLarge", "allow[0]", exists, json!(1), deep),
        way("ClaimsTooLarge", "allow[0]", exists, json!(1), json!(vec![0; 9000])),
        nobody("Claim", None),
        nobody("Claim", Some(Value::Null)),
        nobody("Claim", Some(json!(7))),
        nobody("Claim", Some(json!(["CANARY"]))),
        nobody("Value", Some(json!(""))),
        nobody("Value", Some(json!(" \t"))),
        nobody("Value", Some(json!("CANARY".repeat(200)))),
        way(
            "Conflict",
            "identity",
            "allow = \"true\"\nidentity = \"claims.x\"",
            json!("WHO"),
            json!("owner"),
        ),
    ]
}

fn ways() -> Vec<Way> {
    let mut ways = ways_of_each_rule();
    ways.extend(refusals());
    ways.extend(bounds());
    ways.extend(others());
    ways
}

/// The code that the contract has for a way.
fn code(why: &str) -> &'static str {
    match why {
        "Claim" | "Value" | "InvalidIdentity" => "identity_invalid",
        "Conflict" => "identity_conflict",
        _ => "access_denied",
    }
}

/// A service that decides by each way's policy, one that let everybody in before, and what both keep.
struct Stage {
    strict: TestService,
    lenient: TestService,
    store: Store,
    operator: Arc<Operator>,
    _redis: RedisServer,
}

/// A way, and the provider whose people meet it.
struct Case<'a> {
    stage: &'a Stage,
    name: String,
    provider: FakeProvider,
    way: Way,
}

async fn cases_on<R>(run: impl AsyncFn(&Stage, Vec<(String, FakeProvider, Way)>) -> R) -> R {
    let redis = RedisServer::start();
    let (mut strict, mut lenient) = (String::new(), String::new());
    let mut cases = Vec::new();
    for (n, way) in ways().into_iter().enumerate() {
        let (name, provider) = (format!("way-{n}"), FakeProvider::start().await);
        let keys = format!("{}\nbearer_audiences = [\"{AUDIENCE}\"]", way.keys);
        strict += &section(&name, &provider, &keys, &way.policy);
        lenient += &section(&name, &provider, way.keys, "allow = \"true\"");
        cases.push((name, provider, way));
    }
    let limits = "[limits]\nlogins = \"off\"\n";
    let stage = Stage {
        strict: serve(&redis.url(), &format!("{limits}{CLIENT}{strict}")).await,
        lenient: serve(&redis.url(), &format!("{limits}{lenient}")).await,
        store: store(&redis).await,
        operator: Arc::new(Operator::with(&redis.url(), &strict)),
        _redis: redis,
    };
    run(&stage, cases).await
}

impl Case<'_> {
    fn what(&self, path: Path) -> String {
        format!("{} {path:?} {} {:?}", self.name, self.way.policy, self.way.bad)
    }

    /// What the provider says from now on.
    fn says(&self, who: &str, bad: bool) {
        let fill = |(name, value): &(&'static str, Option<Value>)| {
            let text = json!(value).to_string();
            let text = text.replace("CANARY", &self.canary()).replace("WHO", who);
            (*name, serde_json::from_str::<Option<Value>>(&text).unwrap())
        };
        let mut claims: Claims = vec![("uid", Some(json!(who)))];
        claims.push(("unread", Some(json!(self.canary()))));
        claims.extend(self.way.good.iter().map(fill));
        if bad {
            claims.extend(self.way.bad.iter().map(fill));
        }
        says(&self.provider, claims);
    }

    fn canary(&self) -> String {
        format!("canary-{}-of-a-claim", self.name)
    }

    async fn sign_in(&self, device: &mut Visitor, service: &TestService, who: &str) -> Answer {
        sign_in(device, service, &self.name, who).await
    }

    /// Takes somebody along `path` to where the way denies, or does not.
    async fn walk(&self, path: Path) {
        let who = format!("{}-{path:?}", self.name).to_lowercase();
        let what = self.what(path);
        match path {
            Path::Login | Path::LoginPage => {
                let accept = if path == Path::Login { "*/*" } else { "text/html" };
                let mut device = Visitor { accept, ..visitor() };
                self.says(&who, true);
                let answer = self.sign_in(&mut device, &self.stage.strict, &who).await;
                self.is_denied(path, &answer, &who, path.name()).await;
                assert!(!device.cookies.contains_key("vestibule"), "{what}");
                // Nor does another try help.
                let again = self.sign_in(&mut device, &self.stage.strict, &who).await;
                assert_eq!(again.status, StatusCode::FORBIDDEN, "{what}");
            }
            // Without a subject there was no session before.
            Path::ChangedPolicy if self.way.reach == Reach::Nobody => {}
            Path::ChangedPolicy => {
                let mut device = visitor();
                self.says(&who, true);
                let welcome = self.sign_in(&mut device, &self.stage.lenient, &who).await;
                assert_eq!(welcome.status, StatusCode::SEE_OTHER, "{what}: {welcome:?}");
                let before = token(&mut device, &self.stage.lenient).await;
                assert_eq!(before.status, StatusCode::OK, "{what}: {before:?}");
                let answer = token(&mut device, &self.stage.strict).await;
                if self.way.reach == Reach::All {
                    let reference = self.is_denied(path, &answer, &who, path.name()).await;
                    let again = token(&mut device, &self.stage.strict).await;
                    assert_eq!(self.is_denied(path, &again, &who, path.name()).await, reference);
                } else {
                    assert_eq!(answer.status, StatusCode::OK, "{what}: {answer:?}");
                    assert_eq!(answer.json()["identity"], before.json()["identity"], "{what}");
                }
            }
            Path::OtherDevice => self.walk_on_two_devices(path, &who, &what).await,
            Path::Bearer => {
                self.says(&who, true);
                let bearer = format!("Bearer {}", self.provider.access_token(&who, AUDIENCE));
                let url = format!("{}/token", self.stage.strict.url);
                let headers = [("authorization", bearer.as_str())];
                let answer = visitor().send(Method::POST, &url, &headers).await;
                self.is_denied(path, &answer, &who, path.name()).await;
            }
            Path::Exchange => {
                self.says(&who, true);
                let token = self.provider.access_token(&who, AUDIENCE);
                let answer = exchange_at(&self.stage.strict.url, &token).await;
                self.is_denied(path, &answer, &who, path.name()).await;
            }
        }
    }

    async fn walk_on_two_devices(&self, path: Path, who: &str, what: &str) {
        let (mut device, mut other) = (visitor(), visitor());
        self.says(who, false);
        let welcome = self.sign_in(&mut device, &self.stage.strict, who).await;
        assert_eq!(welcome.status, StatusCode::SEE_OTHER, "{what}: {welcome:?}");
        let before = token(&mut device, &self.stage.strict).await;
        assert_eq!(before.status, StatusCode::OK, "{what}: {before:?}");

        self.says(who, true);
        let login = self.sign_in(&mut other, &self.stage.strict, who).await;
        let told = match self.way.reach {
            Reach::All | Reach::Nobody => Some(self.is_denied(path, &login, who, "login").await),
            Reach::Unbound => {
                assert_eq!(login.status, StatusCode::SEE_OTHER, "{what}: {login:?}");
                None
            }
        };

        let answer = token(&mut device, &self.stage.strict).await;
        if self.way.reach == Reach::All {
            // It is one denial, which this device hears of too.
            assert_eq!(
                (answer.code().as_str(), Some(reference(&answer))),
                (code(self.way.why), told)
            );
        } else {
            assert_eq!(answer.status, StatusCode::OK, "{what}: {answer:?}");
            assert_eq!(answer.json()["identity"], before.json()["identity"], "{what}");
        }
    }

    /// Looks at everything that there is of a denial; gives its reference.
    async fn is_denied(&self, path: Path, answer: &Answer, who: &str, on: &str) -> String {
        let what = self.what(path);
        let by_oauth = path == Path::Exchange;
        let status = if by_oauth { StatusCode::BAD_REQUEST } else { StatusCode::FORBIDDEN };
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert!(!answer.headers.contains_key("set-cookie"), "{what}: {answer:?}");
        for secret in ["eyJ", self.canary().as_str(), "owner"] {
            assert!(!answer.body.contains(secret), "{what} says {secret}: {answer:?}");
        }
        let reference = self.is_told(path, answer, &what);
        // A command takes its time: one of each kind.
        let first = ways().iter().position(|other| other.why == self.way.why);
        if path == Path::Login && first.is_some_and(|n| self.name == format!("way-{n}")) {
            self.is_explained(&reference, &what).await;
        }
        let subject = (self.way.reach != Reach::Nobody).then_some(who);
        self.is_kept(&reference, subject, on, &what).await;
        self.is_logged(&reference, subject, on, &what);
        reference
    }

    /// What the program or person is told.
    fn is_told(&self, path: Path, answer: &Answer, what: &str) -> String {
        let Way { why, message, .. } = &self.way;
        if path == Path::Exchange {
            assert_eq!(answer.json()["error"], "invalid_request", "{what}");
            assert_eq!(answer.json()["code"], code(why), "{what}");
            let told = message.is_none_or(|message| answer.json()["error_description"] == message);
            assert!(told, "{what}: {answer:?}");
            return reference(answer);
        }
        if path != Path::LoginPage {
            assert_eq!(answer.code(), code(why), "{what}");
            let advice = "Ask your administrator, quoting the reference.";
            assert_eq!(answer.json()["detail"], message.unwrap_or(advice), "{what}");
            return reference(answer);
        }
        assert!(answer.body.contains(code(why)), "{what}: {answer:?}");
        if let Some(message) = message {
            let escaped = message.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            assert!(answer.body.contains(&escaped), "{what}: {answer:?}");
        }
        let mut text = answer.body.split(|c: char| !(c == '-' || c.is_ascii_alphanumeric()));
        let is_reference = |word: &&str| {
            word.len() == 11
                && word.as_bytes()[5] == b'-'
                && vestibule::inside::Reference::parse(word)
                    .is_some_and(|r| r.to_string() == **word)
        };
        text.rfind(is_reference).unwrap_or_else(|| panic!("{what}: {answer:?}")).into()
    }

    /// What an operator finds under the reference.
    async fn is_kept(&self, reference: &str, subject: Option<&str>, on: &str, what: &str) {
        let Way { why, rule, message, .. } = &self.way;
        let record = on_record(&self.stage.store, reference).await;
        for (member, expected) in [
            ("reference", json!(reference)),
            ("code", json!(code(why))),
            ("path", json!(on)),
            ("provider", json!(self.name)),
            ("issuer", json!(self.provider.issuer())),
            ("subject", json!(subject)),
            ("identity", if *why == "Conflict" { json!("owner") } else { Value::Null }),
            ("rule", json!(rule)),
            ("message", json!(message)),
        ] {
            assert_eq!(record[member], expected, "{what}: {member} of {record:#}");
        }
        assert!(!record["why"].as_str().unwrap().is_empty(), "{what}: {record:#}");
        assert!(!record["explanation"]["rules"].as_array().unwrap().is_empty(), "{what}");
        for (name, value) in self.way.bad.iter().filter(|(name, _)| ["x", "groups"].contains(name))
        {
            let kept = record["claims"].get(name);
            assert_eq!(kept.is_some(), value.is_some(), "{what}: {name} in {record:#}");
        }
        assert!(record["claims"].get("unread").is_none(), "{what}: {record:#}");
    }

    /// What the command for it says.
    async fn is_explained(&self, reference: &str, what: &str) {
        let (operator, asked) = (self.stage.operator.clone(), reference.to_owned());
        let explain = move || operator.run(&["explain", &asked, "--json"]);
        let said = tokio::task::spawn_blocking(explain).await.unwrap();
        let said: Value = serde_json::from_str(&said.with_exit(0)).unwrap();
        assert_eq!(said, on_record(&self.stage.store, reference).await, "{what}");
    }

    /// What the log has of it: one line, and nothing that the claims said.
    fn is_logged(&self, reference: &str, subject: Option<&str>, on: &str, what: &str) {
        let Way { why, rule, .. } = &self.way;
        let mut lines = log::lines_with(reference);
        // Who names no subject is the same nobody on each path.
        lines.retain(|line| line.contains(&format!("\"path\":\"{on}\"")));
        assert_eq!(lines.len(), 1, "{what}: {lines:#?}");
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        let event = if *why == "Conflict" { "conflict" } else { "denial" };
        for (field, expected) in [
            ("target", json!("vestibule::audit")),
            ("event", json!(event)),
            ("code", json!(code(why))),
            ("reference", json!(reference)),
            ("rule", json!(rule)),
            ("provider", json!(self.name)),
            ("issuer", json!(self.provider.issuer())),
            ("subject", json!(subject)),
            ("path", json!(on)),
        ] {
            assert_eq!(line[field], expected, "{what}: {field} of {line:#}");
        }
        assert_eq!(log::lines_with(&self.canary()), Vec::<String>::new(), "{what}");
    }
}

#[tokio::test]
async fn whoever_is_denied_gets_nothing_and_can_be_told_why_on_every_path() {
    cases_on(async |stage, cases| {
        let walks = cases.into_iter().map(|(name, provider, way)| async move {
            let case = Case { stage, name, provider, way };
            if case.way.why == "Conflict" {
                case.says("owner", false);
                let owner = case.sign_in(&mut visitor(), &stage.strict, "owner").await;
                assert_eq!(owner.status, StatusCode::SEE_OTHER, "{owner:?}");
            }
            for path in PATHS {
                case.walk(path).await;
            }
        });
        // Not all at once: nobody should wait so long for the store that it counts as away.
        stream::iter(walks).buffer_unordered(4).collect::<Vec<()>>().await;
    })
    .await;
}

/// The code of a source file, without comments.
fn source(file: &str) -> String {
    let text = std::fs::read_to_string(File::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

/// The names at the first level of what is declared as `item`: variants, or fields.
fn members(file: &str, item: &str) -> BTreeSet<String> {
    let code = source(file);
    let at = code.find(&format!("{item} {{")).unwrap_or_else(|| panic!("{item} in {file}"));
    let body = code[at..].split("\n}").next().unwrap();
    let names = body.lines().skip(1).filter_map(|line| {
        let line = line
            .strip_prefix("    ")
            .filter(|line| !line.starts_with([' ', '}', ')', '#', '"']))?;
        let line = line.trim_start_matches("pub ");
        line.split(|c: char| !(c == '_' || c.is_alphanumeric())).next().map(str::to_owned)
    });
    names.filter(|name| !name.is_empty()).collect()
}

fn set(names: impl IntoIterator<Item = impl Into<String>>) -> BTreeSet<String> {
    names.into_iter().map(Into::into).collect()
}

#[test]
fn every_way_that_the_code_knows_is_in_the_table() {
    let mut known = members("src/policy/decision.rs", "pub enum Why");
    known.extend(members("src/mint/judge.rs", "pub enum NoSubject"));
    known.extend(members("src/mint/denied.rs", "pub(super) enum Ground"));
    for wraps_those_above in ["Policy", "NoSubject"] {
        assert!(known.remove(wraps_those_above));
    }

    assert_eq!(set(ways().iter().map(|way| way.why)), known);

    let mut rules_known = members("src/policy/rules.rs", "pub struct Rules");
    for no_rule in ["string_email_verified", "acknowledge"] {
        assert!(rules_known.remove(no_rule));
    }
    assert_eq!(set(rules().map(|(rule, ..)| rule)), rules_known);
    let codes = members("src/mint/denied.rs", "pub enum DenialCode");
    assert_eq!(codes.len(), set(ways().iter().map(|way| code(way.why))).len(), "{codes:?}");
}

#[test]
fn every_path_that_the_code_knows_is_in_the_table() {
    let code = source("src/http/mod.rs");
    let routes = code.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    assert_eq!(set(routes), set(ROUTES.map(|(route, _)| route)));

    let paths = members("src/mint/mod.rs", "enum Path");
    let paths = set(paths.iter().map(|variant| variant.to_lowercase()));
    // A guest has no claims, and no subject that could be denied or blocked.
    let about_people =
        paths.iter().filter(|path| *path != "guest").cloned().collect::<BTreeSet<_>>();
    assert_eq!(set(PATHS.map(Path::name)), about_people);
    assert_eq!(set(crate::blocks::PATHS), about_people);
    assert_eq!(set(ROUTES.iter().flat_map(|(_, paths)| *paths).copied()), paths);
}
