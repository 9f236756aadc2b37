//! What is wrong with a configuration is told all at once, each with its mend, and without a word of what stands in it.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::json;
use vestibule::{Config, Fault};

use crate::process::configuration;
use crate::support::fake_provider::{FakeProvider, Twist};
use crate::support::redis::RedisServer;

/// Stands wherever a value can stand, and must never be seen again.
const CANARY: &str = "canary-0123456789";

/// A file that is wrong in every way that a file can be.
const BAD: &str = r#"
typo = "canary-0123456789"

[server]
listen = "localhost:canary-0123456789"
public_url = "https://canary-0123456789.example.com/path"
allowed_origins = ["*", "https://canary-0123456789.example.com/", "http://canary-0123456789.example.com", 3]
trusted_proxies = "10.0.0.0/8, canary-0123456789"
publc_url = "canary-0123456789"

[ops]
listen = 9090
token_file = "canary-0123456789"

[store]
url = "redis://:canary-0123456789@127.0.0.1/x"

[seal]
keys = [{ id = "a", key = "canary-0123456789" }, { id = "a", key_file = "canary-0123456789" }, { id = "b" }]

[session]
idle = "canary-0123456789"
absolute = "401d"

[sesion]
idle = "canary-0123456789"

[twilio]
account_sid = "SKcanary-0123456789"
api_key_sid = "SKcanary-0123456789"
api_key_secret = "canary"
api_key_secret_file = "canary-0123456789"
token_ttl = "24h"

[[provider]]
name = "Canary-0123456789"
issuer = "https://id.example.com/?canary-0123456789"
client_id = ""
client_secret = "canary"
client_auth = "canary-0123456789"
scopes = ["profile", "canary\"0123456789"]
subject_claim = "email"
algorithms = ["HS256", "none", "RS256", "canary-0123456789"]
max_age = "1m"
timeout = "2m"

[[provider]]
name = "corp"
issuer = "http://id.example.com"
client_id = "vestibule"
client_auth = "private_key_jwt"
client_secret = "canary-0123456789"
scopes = ["profile"]

[[provider]]
name = "corp"
issuer = "https://id.example.com/{tenant}"
client_id = "vestibule"
client_secret = "canary-0123456789"

[provider.policy]
allow = "canary-0123456789"

[limits]
logins = "canary-0123456789"
tokens = 120

[log]
format = "canary-0123456789"
pii = "canary-0123456789"
filter = "canary-0123456789="
"#;

/// A good file with two providers, for what contradicts what.
const CONTRADICTORY: &str = r#"
[server]
listen = "0.0.0.0:9090"
public_url = "https://chat-auth.example.com"

[store]
url = "redis+cluster://a,b,c"

[session]
idle = "1h"
absolute = "30m"

[twilio]
account_sid = "AC00000000000000000000000000000000"
api_key_sid = "SK00000000000000000000000000000000"
api_key_secret = "the-secret-that-twilio-showed-once"
conversations_service_sid = "IS00000000000000000000000000000000"
token_ttl = "2h"

[[provider]]
name = "one"
issuer = "https://id.example.com"
client_id = "vestibule"
client_auth = "none"
client_secret = "canary-0123456789"
bearer_audiences = ["https://chat.example.com"]
[provider.policy]
allow = "true"

[[provider]]
name = "one"
issuer = "https://id.example.com"
client_id = "vestibule"
client_auth = "none"
subject_claim = "oid"
bearer_audiences = ["https://other.example.com", "https://chat.example.com"]
bearer_max_age = "25h"
[provider.policy]
allow = "true"

[[client]]
id = "backend"
secret = "canary-0123456789"
audiences = ["https://chat.example.com"]

[[client]]
id = "backend"
secret = "canary"

[[client]]
id = "both"
secret = "canary-0123456789"
jwks = '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
audiences = ["https://chat.example.com"]

[[client]]
id = "neither"
audiences = ["https://chat.example.com"]

[[client]]
id = "private"
jwks = '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"canary-0123456789"}]}'
audiences = ["https://chat.example.com"]
"#;

#[test]
fn every_fault_of_a_bad_file_is_told_at_once() {
    let environment = [
        ("VESTIBULE__TWILIO__PUSH_CREDENTIAL_SID", CANARY),
        ("VESTIBULE__TWILLIO__ACCOUNT_SID", CANARY),
    ];
    let served = vestibule(&["serve", "--config", "bad.toml"], BAD, &environment);
    let checked = vestibule(&["check", "--config", "bad.toml"], BAD, &environment);

    assert_eq!((served.status.code(), checked.status.code()), (Some(2), Some(2)));
    assert_eq!(served.stderr, checked.stdout, "check says the same as serve");
    insta::assert_snapshot!(text(&served.stderr));
}

#[test]
fn contradictions_are_faults() {
    let served = vestibule(&["serve", "--config", "bad.toml"], CONTRADICTORY, &[]);

    assert_eq!(served.status.code(), Some(2));
    insta::assert_snapshot!(text(&served.stderr));
}

/// A good file, but for what follows it.
const GOOD: &str = r#"
[server]
public_url = "https://chat-auth.example.com"
[store]
url = "redis://127.0.0.1:1"
[[provider]]
name = "corp"
issuer = "https://id.example.com"
client_id = "vestibule"
client_auth = "none"
[provider.policy]
allow = "true"
[twilio]
account_sid = "AC00000000000000000000000000000000"
api_key_sid = "SK00000000000000000000000000000000"
api_key_secret = "a-secret-of-32-letters-and-digits"
conversations_service_sid = "IS00000000000000000000000000000000"
"#;

const PUBLIC_KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// What is said of a good file with these further lines.
fn told_of(further: &str, variables: &[(&str, &str)]) -> String {
    let faults = parse(&format!("{GOOD}{further}"), variables).err().unwrap_or_default();
    faults.iter().fold(String::new(), |mut text, fault| {
        writeln!(text, "{fault}").unwrap();
        text
    })
}

#[test]
fn every_fault_of_guests_is_told_at_once() {
    let told = told_of(
        r#"
[guests]
size = 0
prefix = "canary-0123456789"
first_token_ttl = "59s"
token_ttl = "24h"
lease = 30
max_stay = "31d"
cooldown = "0s"
monthly_budget = "canary-0123456789"
conversations = ["", 7]
role = ""
on_login = "canary-0123456789"
sise = "canary-0123456789"
[guests.ticket]
issuer = ""
jwks = '{"keys":[]}'
jwks_file = "canary-0123456789"
isuer = "canary-0123456789"
"#,
        &[],
    );

    assert!(!told.contains("canary"), "{told}");
    insta::assert_snapshot!(told);
}

#[test]
fn what_contradicts_itself_about_guests_is_told_beside_what_is_wrong_alone() {
    let many = ["\"room\""; 17].join(", ");
    let private = PUBLIC_KEYS.replace("}]", r#","d":"canary-0123456789"}]"#);
    let mut told = String::new();
    for further in [
        // Each but the budget with its neighbour, and one that is wrong by itself.
        "token_ttl = \"12m\"\n[guests]\nsize = 10\nmonthly_budget = 11\nfirst_token_ttl = \"20m\"\ntoken_ttl = \"15m\"\nlease = \"10m\"\nmax_stay = \"5m\"\ncooldown = \"soon\"\n",
        // Where one of two is wrong nothing is said of both.
        "[guests]\nsize = \"many\"\nmonthly_budget = 11\ntoken_ttl = \"1h\"\nlease = \"long\"\nfirst_token_ttl = \"2h\"\n",
        "[guests]\nmonthly_budget = 3\n",
        "[guests]\nsize = 3\nprefix = \"guest-7\"\n",
        "[guests]\nsize = 3\nprefix = \"guest-\u{e9}\"\n",
        &format!("[guests]\nsize = 3\nconversations = [{many}]\n"),
        "[guests]\nsize = 3\n[guests.ticket]\n",
        &format!(
            "[guests]\nsize = 3\n[guests.ticket]\nissuer = \"https://www.example.com\"\njwks = '{private}'\n"
        ),
        "[guests]\nsize = 3\n[guests.ticket]\nissuer = \"https://www.example.com\"\njwks = '{\"keys\":[]}'\n",
    ] {
        let faults = told_of(further, &[]);
        assert!(!faults.is_empty() && !faults.contains("canary"), "{further}{faults}");
        writeln!(told, "{}\n{faults}", further.trim_end().replace(&many, "…")).unwrap();
    }

    insta::assert_snapshot!(told.replace("canary-0123456789", "[private]"));
}

#[test]
fn nothing_that_nobody_wrote_about_guests_is_a_fault() {
    for further in [
        "[guests]\nsize = 3\n",
        "token_ttl = \"20m\"\n[guests]\nsize = 3\n",
        "token_ttl = \"5m\"\n[guests]\nsize = 3\n",
        "[guests]\nsize = 3\nlease = \"20m\"\n",
        "[guests]\nsize = 3\nlease = \"1m\"\n",
        "[guests]\nsize = 3\nmax_stay = \"20m\"\n",
        "[guests]\nsize = 3\nmax_stay = \"1m\"\n",
        "[guests]\nsize = 3\ntoken_ttl = \"3m\"\n",
    ] {
        assert_eq!(told_of(further, &[]), "", "{further}");
    }
}

#[test]
fn check_tells_of_apps_on_other_sites_and_how_long_a_guest_can_still_be_in() {
    let good = GOOD.replace("https://id.example.com", "http://127.0.0.1:1");
    let origins = "[server]\nallowed_origins = [\"https://app.other.example\"]\n";
    let file =
        format!("{}[guests]\nsize = 3\ntoken_ttl = \"17m\"\n", good.replace("[server]\n", origins));

    let checked = vestibule(&["check", "--config", "good.toml"], &file, &[]);

    let said = text(&checked.stdout);
    let doubt = said.lines().find(|line| line.starts_with("doubt  server.allowed_origins[0]"));
    let doubt = doubt.unwrap_or_else(|| panic!("{said}"));
    assert!(doubt.contains("as a bearer, or a guest's lease secret"), "{doubt}");
    assert!(said.contains("17m       after a visitor gave its guest back or signed in"), "{said}");
}

#[test]
fn guests_can_come_from_the_environment_alone() {
    let good = [
        ("VESTIBULE__GUESTS__SIZE", "500"),
        ("VESTIBULE__GUESTS__MONTHLY_BUDGET", "400"),
        ("VESTIBULE__GUESTS__CONVERSATIONS", "lobby,den"),
        ("VESTIBULE__GUESTS__ON_LOGIN", "leave"),
        ("VESTIBULE__GUESTS__TICKET__ISSUER", "https://www.example.com"),
        ("VESTIBULE__GUESTS__TICKET__JWKS", PUBLIC_KEYS),
    ];
    assert_eq!(told_of("", &good), "");

    let told = told_of(
        "",
        &[
            ("VESTIBULE__GUESTS__SIZE", "5"),
            ("VESTIBULE__GUESTS__MONTHLY_BUDGET", "6"),
            ("VESTIBULE__GUESTS__LEASE", CANARY),
            ("VESTIBULE__GUESTS__LEASSE", CANARY),
            ("VESTIBULE__GUESTS__TICKET__JWKS", CANARY),
            ("VESTIBULE__GUESTS__TICKET__ISUER", CANARY),
        ],
    );

    assert!(!told.contains(CANARY), "{told}");
    insta::assert_snapshot!(told);
}

#[test]
fn no_value_is_quoted_wherever_it_stands() {
    let served = vestibule(
        &["serve", "--config", "bad.toml"],
        BAD,
        &[("VESTIBULE__PROVIDER__0__SCOPES", CANARY)],
    );

    let said = text(&[served.stdout, served.stderr].concat());
    assert!(said.contains("faults"), "{said}");
    for part in ["canary-", "0123456789", "canary"] {
        assert!(!said.contains(part), "{said}");
    }
}

#[test]
fn no_line_that_is_not_toml_is_quoted() {
    for line in [
        "client_secret = canary-0123456789",
        "client_secret = \"canary-0123456789",
        "client_secret = 'canary-0123456789",
        "client_secret = \"\"\"canary-0123456789",
        "client_secret = \"canary\\-0123456789\"",
        "client_secret = \"canary\u{1}0123456789\"",
        "client_secret \"canary-0123456789\"",
        "client_secret = \"x\" canary-0123456789",
        "canary-0123456789",
        "canary-0123456789 = 1\ncanary-0123456789 = 2",
        "x = 1\n[x]\ncanary-0123456789 = 1",
        "x = { canary-0123456789 = 1, canary-0123456789 = 2 }",
        "x = [canary-0123456789",
        "[canary-0123456789",
        "x = 0canary123456789",
        "x = 9999999999999999999999990123456789",
        "x = 2026-13-40Tcanary-0123456789",
        "x = truecanary-0123456789",
        "a.canary-0123456789 = 1\na = 2",
    ] {
        let faults = parse(line, &[]).unwrap_err();
        let said = told(&faults);

        // Only then did the parser have the chance to quote it.
        assert!(faults.iter().all(|fault| fault.problem == "is not TOML"), "{line}\n{said}");
        assert!(!said.contains("canary") && !said.contains("0123456789"), "{line}\n{said}");
    }
}

#[test]
fn where_the_file_stops_being_toml_is_told() {
    let faults = parse("[server]\npublic_url = \"é\" x\n[ops]\nlisten = \n", &[]).unwrap_err();

    let places = faults.iter().map(|fault| fault.key.as_str()).collect::<Vec<_>>();
    assert_eq!(places, ["line 2, column 18", "line 4, column 10"], "{faults:#?}");
}

#[test]
fn the_environment_alone_is_enough() {
    let environment = [
        ("VESTIBULE__SERVER__PUBLIC_URL", "https://chat-auth.example.com"),
        ("VESTIBULE__SERVER__ALLOWED_ORIGINS", "https://app.example.com,https://www.example.com"),
        ("VESTIBULE__STORE__URL", "redis://127.0.0.1:1"),
        ("VESTIBULE__TWILIO__ACCOUNT_SID", "AC00000000000000000000000000000000"),
        ("VESTIBULE__TWILIO__API_KEY_SID", "SK00000000000000000000000000000000"),
        ("VESTIBULE__TWILIO__API_KEY_SECRET_FILE", "secret.txt"),
        ("VESTIBULE__TWILIO__CONVERSATIONS_SERVICE_SID", "IS00000000000000000000000000000000"),
        ("VESTIBULE__PROVIDER__0__NAME", "corp"),
        ("VESTIBULE__PROVIDER__0__ISSUER", "http://127.0.0.1:1"),
        ("VESTIBULE__PROVIDER__0__CLIENT_ID", "vestibule"),
        ("VESTIBULE__PROVIDER__0__CLIENT_SECRET", CANARY),
        ("VESTIBULE__PROVIDER__0__POLICY__ALLOW", "true"),
        ("VESTIBULE__LOG__PII", "true"),
        ("VESTIBULE__SEAL__KEYS__0__ID", "test"),
        ("VESTIBULE__SEAL__KEYS__0__KEY", "c2VhbGVkIHdpdGggdGhpcnR5LXR3byBieXRlcyEhISE="),
    ];

    // Nobody listens on port 1: what is left to find is that both are away.
    let checked = vestibule(&["check"], "", &environment);

    let said = text(&checked.stdout);
    assert_eq!(checked.status.code(), Some(3), "{said}");
    assert!(said.starts_with("good   configuration\naway   provider corp: "), "{said}");
    assert!(said.contains("\naway   store: "), "{said}");
    assert!(!said.contains(CANARY), "{said}");
}

#[test]
fn without_any_configuration_it_says_where_it_looked() {
    for arguments in [&["serve"][..], &["check"]] {
        let ended = vestibule(arguments, "", &[]);

        let said = text(&[ended.stdout, ended.stderr].concat());
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(
            said.contains("./vestibule.toml is not there, nor any VESTIBULE__ variable. Copy"),
            "{said}"
        );
    }
}

#[test]
fn a_named_file_that_cannot_be_read_is_a_fault_whatever_the_environment_says() {
    for (file, why) in [
        ("absent.toml", "is not there"),
        (".", "is a folder"),
        ("/dev/zero", "is longer than 1 MiB"),
    ] {
        let ended = vestibule(&["serve", "--config", file], "", &[("VESTIBULE__LOG__PII", "true")]);

        let said = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(
            said.contains(&format!("1 fault:\n  {file} {why}. Name a file with --config")),
            "{said}"
        );
    }
}

#[test]
fn a_variable_that_is_no_text_is_told_whether_or_not_there_is_a_file() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let folder = tempfile::tempdir().unwrap();
    for (arguments, further) in [
        (&["check", "--config", "absent.toml"][..], "  absent.toml is not there. "),
        (&["check"], "  server.public_url is missing. "),
    ] {
        let ended = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .args(arguments)
            .current_dir(folder.path())
            .env_clear()
            .env("VESTIBULE__LOG__FILTER", OsStr::from_bytes(b"\xff"))
            .output()
            .unwrap();

        let said = text(&ended.stdout);
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(
            said.contains("  VESTIBULE__LOG__FILTER is not UTF-8 text. Set it again."),
            "{said}"
        );
        assert!(said.contains(further), "{said}");
    }
}

#[test]
fn bad_usage_is_2_and_help_is_0_with_an_example() {
    for arguments in [
        &[][..],
        &["serv"],
        &["serve", "--confg", "x"],
        &["demo", "--listen", "here"],
        &["check", "x"],
    ] {
        assert_eq!(vestibule(arguments, "", &[]).status.code(), Some(2), "{arguments:?}");
    }
    for command in ["serve", "demo", "check"] {
        let help = vestibule(&[command, "--help"], "", &[]);

        let said = text(&help.stdout);
        assert_eq!(help.status.code(), Some(0), "{said}");
        assert!(said.contains(&format!("Example:\n  vestibule {command}")), "{said}");
    }
    assert_eq!(vestibule(&["demo", "--listen", "0.0.0.0:0"], "", &[]).status.code(), Some(2));
}

#[test]
fn check_says_yes_no_or_away() {
    let redis = RedisServer::start();
    let forgetful =
        RedisServer::start_with(&["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]);
    // The demo's provider is a real one: with it there, nothing is amiss.
    let demo = Demo::start();
    for (store, issuer, code) in [
        (redis.url(), demo.issuer(), 0),
        (forgetful.url(), demo.issuer(), 1),
        (redis.url(), "http://127.0.0.1:1".to_owned(), 3),
        ("redis://127.0.0.1:1".to_owned(), demo.issuer(), 3),
        ("file:vestibule.db".to_owned(), demo.issuer(), 0),
    ] {
        let file = configuration(&store, "127.0.0.1:0", "").replace("http://127.0.0.1:1", &issuer);
        let checked = vestibule(&["check", "--config", "good.toml"], &file, &[]);

        let said = text(&checked.stdout);
        assert_eq!(checked.status.code(), Some(code), "{store} {issuer}\n{said}");
        assert!(said.starts_with("good   configuration\n"), "{said}");
        assert_eq!(
            said.contains("good   provider corp\n"),
            code != 3 || issuer == demo.issuer(),
            "{said}"
        );
        assert_eq!(said.contains("\nbad    store: "), code == 1, "{said}");
        assert!(!said.contains("canary"), "{said}");
    }
}

#[test]
fn a_store_folder_that_is_missing_is_away_for_it_may_yet_be_mounted() {
    let file = configuration("file:absent/vestibule.db", "127.0.0.1:0", "");
    for command in ["check", "serve"] {
        let ended = vestibule(&[command, "--config", "good.toml"], &file, &[]);

        let said = text(&[ended.stdout, ended.stderr].concat());
        assert_eq!(ended.status.code(), Some(3), "{said}");
        assert!(
            said.contains(
                "there is no folder for the store's file absent/vestibule.db: make or mount it\n"
            ),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_provider_that_announces_no_algorithm_is_not_doubted_for_it() {
    let provider = FakeProvider::start().await;
    let file = configuration("file:vestibule.db", "127.0.0.1:0", "")
        .replace("http://127.0.0.1:1", &provider.issuer());
    for (announced, keys, doubted) in [
        (None, " usable\n", false),
        (Some(json!([])), " usable\n", false),
        (Some(json!(["RS256", "ES512"])), " usable; signs with RS256, ES512\n", false),
        (Some(json!(["ES512"])), " usable; signs with ES512\n", true),
    ] {
        provider.twist([Twist::Metadata("id_token_signing_alg_values_supported", announced)]);

        let file = file.clone();
        let checked = tokio::task::spawn_blocking(move || {
            vestibule(&["check", "--config", "good.toml"], &file, &[])
        });
        let said = text(&checked.await.unwrap().stdout);
        assert!(said.contains(keys), "{said}");
        assert_eq!(said.contains("none of them configured"), doubted, "{said}");
    }
}

#[test]
fn a_key_that_cannot_sign_is_a_fault_that_check_finds() {
    let pem = "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n";
    let file = configuration("redis://127.0.0.1:1", "127.0.0.1:0", "").replace(
        "client_secret = ",
        &format!("client_auth = 'private_key_jwt'\nprivate_key = '''{pem}''' #"),
    );

    for command in ["check", "serve"] {
        let ended = vestibule(&[command, "--config", "bad.toml"], &file, &[]);

        let said = text(&[ended.stdout, ended.stderr].concat());
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.contains("corp") && said.contains("private key"), "{said}");
        assert!(!said.contains("Y2FuYXJ5"), "{said}");
    }
}

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<Fault>> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(text, variables, &|_: &Path| Err(io::ErrorKind::NotFound.into()))
}

fn told(faults: &[Fault]) -> String {
    let mut text = format!("{faults:?}");
    for fault in faults {
        writeln!(text, "{fault}").unwrap();
    }
    text
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs the program to its end in a folder of its own, with `file` under the names that tests use and a file with a secret.
fn vestibule(arguments: &[&str], file: &str, environment: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    if !file.is_empty() {
        for name in ["good.toml", "bad.toml"] {
            std::fs::write(folder.path().join(name), file).unwrap();
        }
    }
    std::fs::write(folder.path().join("secret.txt"), format!("{CANARY}\n")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_vestibule"))
        .args(arguments)
        .current_dir(folder.path())
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The demo, for its provider; killed when dropped.
struct Demo {
    child: std::process::Child,
    url: String,
}

impl Demo {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .args(["demo", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { child, url: url.trim().to_owned() }
    }

    fn issuer(&self) -> String {
        format!("{}provider", self.url)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Told, not killed: it removes its folder then.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}
