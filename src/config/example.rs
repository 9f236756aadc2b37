//! Holds `vestibule.example.toml` and the other documents against the code.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use toml::{Table, Value};

use super::reader::Secrets;
use super::{Config, Fault, forms, reader};

const EXAMPLE: &str = include_str!("../../vestibule.example.toml");
const README: &str = include_str!("../../README.md");

/// Stands in for every file of secrets that the example names.
fn stand_in(path: &Path) -> io::Result<String> {
    let text = match path.to_str() {
        Some("/run/secrets/vestibule_seal_key") => "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n",
        Some("/run/secrets/corp_private_key.pem") => "-----BEGIN PRIVATE KEY-----\n",
        Some("/run/secrets/vestibule_ops_token") => "a-token-of-more-than-16\n",
        Some("/etc/vestibule/backend_jwks.json") => {
            r#"{"keys":[{"kty":"EC","crv":"P-256","x":"bfvWsuSTFx27PtHr5J0OB67eSW0Vvx2M0ee--mNkHYg","y":"d7Q2oR1lrETfgYcYv9U8ZPgnCSR8jwPF3R_mc4AYq1o"}]}"#
        }
        Some("/run/secrets/store_url") => "redis://:a-password-of-16@127.0.0.1\n",
        Some(
            "/run/secrets/twilio_api_key_secret"
            | "/run/secrets/twilio_api_key"
            | "/run/secrets/corp_client_secret"
            | "/run/secrets/backend_client_secret"
            | "/run/secrets/corp_client",
        ) => "sixteen--letters\n",
        _ => return Err(io::ErrorKind::NotFound.into()),
    };
    Ok(text.to_owned())
}

fn parse(text: &str) -> Result<Config, Vec<Fault>> {
    Config::parse(text, [], &stand_in)
}

/// A line of the example that is commented out: a key or a table, not prose, which has a space after the `#`.
fn commented_out(line: &str) -> Option<&str> {
    line.strip_prefix('#')
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
}

fn is_example(line: &str) -> bool {
    line.contains("  # example")
}

/// Each line after the one that it comes and goes with: itself, or the head of a table that is an example as a whole.
fn lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut table = None;
    EXAMPLE.lines().map(move |line| {
        if line.is_empty() {
            table = None;
        } else if line.starts_with("#[") && is_example(line) {
            table = Some(line);
        }
        (table.unwrap_or(line), line)
    })
}

/// The example with the commented lines that `wanted` chooses, by the line that each goes with and itself.
fn with(wanted: impl Fn(&str, &str) -> bool) -> String {
    let line = |(unit, line)| match commented_out(line) {
        Some(rest) if wanted(unit, line) => rest,
        _ => line,
    };
    lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_is_a_good_configuration() {
    let config = parse(EXAMPLE).unwrap();

    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn a_review_needs_no_secret() {
    let none = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let others = |line: &str| {
        let (key, _) = line.split_once('=').unwrap_or_default();
        let beside_another =
            ["#token ", "#url_file ", "#api_key_secret ", "#client_secret ", "#key ", "#secret "];
        let of_others = ["#private_key", "#acknowledge", "#jwks"];
        let of_others = of_others.iter().any(|start| line.starts_with(start));
        !beside_another.contains(&key) && !of_others
    };
    for text in [EXAMPLE.to_owned(), with(|_, line| others(line))] {
        let without_secrets = text.lines().filter(|line| !line.starts_with("client_secret_file"));
        let without_secrets = without_secrets.collect::<Vec<_>>().join("\n");

        for text in [text, without_secrets] {
            assert_eq!(Config::review(&text, [], &none).unwrap().providers.len(), 1);
            assert!(Config::parse(&text, [], &none).is_err());
        }
    }
    for auth in ["client_secret_post", "private_key_jwt", "none"] {
        let text = EXAMPLE.replace("client_secret_file", "#client_secret_file");
        let text = text.replace(
            "#client_auth = \"client_secret_basic\"",
            &format!("client_auth = \"{auth}\""),
        );

        assert!(Config::review(&text, [], &none).is_ok(), "{auth}");
    }
}

#[test]
fn a_review_finds_every_other_fault() {
    let none = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let text =
        EXAMPLE.replace("client_id", "clientid").replace("[server]", "[server]\nlisten = 8080");

    let faults = Config::review(&text, [], &none).unwrap_err();

    let keys = faults.iter().map(|fault| fault.key.as_str()).collect::<Vec<_>>();
    assert_eq!(keys, ["server.listen", "provider[0].client_id", "provider[0].clientid"]);
}

#[test]
fn the_example_shows_the_defaults() {
    let shown = parse(&with(|unit, _| !is_example(unit))).unwrap();

    assert_eq!(format!("{shown:#?}"), format!("{:#?}", parse(EXAMPLE).unwrap()));
}

#[test]
fn each_example_of_the_example_is_well_formed() {
    let examples = lines().map(|(unit, _)| unit);
    let examples = examples.filter(|unit| commented_out(unit).is_some() && is_example(unit));
    let mut count = 0;
    for example in examples {
        count += 1;
        let faults = parse(&with(|unit, _| unit == example || !is_example(unit)));
        let faults = faults.err().unwrap_or_default();

        // It stands beside what the example has already; and nobody shall use a secret that everybody can read.
        for fault in faults {
            let expected = fault.problem.starts_with("is set beside the same key")
                || fault.problem.starts_with("is set beside a secret")
                || fault.problem.starts_with("is of no use with this client_auth")
                || fault.problem.starts_with("is a lint that finds nothing here")
                || fault.problem.starts_with("stands in Vestibule's own documents");
            assert!(expected, "{example}: {fault}");
        }
    }
    assert!(count >= 6, "only {count} examples were found");
}

#[test]
fn the_example_has_every_key_and_no_other() {
    let mut table = "VESTIBULE".to_owned();
    let mut shown = BTreeSet::new();
    for line in EXAMPLE.lines().map(|line| commented_out(line).unwrap_or(line)) {
        let head = line.strip_suffix("  # example").unwrap_or(line);
        if let Some(name) = head.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]")) {
            table = format!("VESTIBULE__{}__0", name.to_uppercase().replace('.', "__"));
        } else if let Some(name) = head.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            // Of the tables with one inside, providers are many.
            let within = if name.starts_with("provider.") { "__0__" } else { "__" };
            table = format!("VESTIBULE__{}", name.to_uppercase().replace('.', within));
        } else if line.contains(" = ") && !line.starts_with('#') {
            for (key, value) in line.parse::<Table>().unwrap() {
                let key = format!("{table}__{}", key.to_uppercase());
                match value.as_array().and_then(|list| list.first()).and_then(Value::as_table) {
                    Some(first) => {
                        shown.extend(
                            first.keys().map(|part| format!("{key}__0__{}", part.to_uppercase())),
                        );
                    }
                    None => drop(shown.insert(key)),
                }
            }
        }
    }

    let everything: Table = with(|_, _| true).parse().unwrap();
    let (_, notes) = reader::read_all(everything, [], &stand_in, Secrets::Needed, super::read);

    assert_eq!(shown, notes.asked);
}

#[test]
fn the_configuration_in_the_readme_is_good_once_its_sids_are_filled_in() {
    let (_, after) = README.split_once("```toml\n").unwrap();
    let (text, _) = after.split_once("```").unwrap();
    for prefix in ["AC", "SK", "IS"] {
        assert!(text.contains(&format!("\"{prefix}…\"")), "{prefix}");
    }

    let config = parse(&text.replace('…', &"0".repeat(32))).unwrap();

    assert_eq!(config.warnings, [""; 0]);
    // Further down is another policy for the same provider.
    let (_, after) = after.split_once("```toml\n[provider.policy]\n").unwrap();
    let (policy, after) = after.split_once("```").unwrap();
    let (before, _) = text.split_once("[provider.policy]\n").unwrap();
    let text = format!("{before}[provider.policy]\n{policy}").replace('…', &"0".repeat(32));
    assert_eq!(parse(&text).unwrap().policies().count(), 1);
    // And what whoever has a login of their own adds to it.
    let (_, after) = after.split_once("```toml\n# in [[provider]]\n").unwrap();
    let (added, after) = after.split_once("```").unwrap();
    let (keys, client) = added.split_once("\n[[client]]").unwrap();
    let text = format!("{before}{keys}\n[provider.policy]\n{policy}\n[[client]]{client}");
    parse(&text.replace('…', &"0".repeat(32))).unwrap();
    // And guests.
    let (_, after) = after.split_once("```toml\n[guests]\n").unwrap();
    let (guests, after) = after.split_once("```").unwrap();
    let text = format!("{before}[provider.policy]\n{policy}\n[guests]\n{guests}");
    assert!(parse(&text.replace('…', &"0".repeat(32))).unwrap().guests.is_some());
    assert!(!after.contains("```toml"), "another configuration is not looked at");
}

#[test]
fn a_secret_that_stands_in_our_documents_is_refused() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = 0;
    for document in documents(root) {
        let text = std::fs::read_to_string(&document).unwrap();
        for secret in text.lines().flat_map(secrets_of) {
            found += 1;
            let refusal = forms::secret(secret).map(|_| ());
            assert!(refusal.is_err(), "{}: {secret} would be accepted", document.display());
        }
    }
    assert!(found >= 3, "only {found} secrets were found");
}

fn documents(root: &Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![root.join("vestibule.example.toml")];
    let mut folders = vec![root.join("docs")];
    found.extend(
        ["README.md", "CHANGELOG.md"]
            .map(|name| root.join(name))
            .into_iter()
            .filter(|path| path.exists()),
    );
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "md" || extension == "toml")
            {
                found.push(path);
            }
        }
    }
    found
}

/// The values that a line gives to a key that holds a secret, in TOML or as a variable.
fn secrets_of(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for name in [
        "api_key_secret",
        "client_secret",
        "secret ",
        "key",
        "token",
        "API_KEY_SECRET",
        "CLIENT_SECRET",
        "__KEY",
        "__TOKEN",
    ] {
        for (at, _) in line.match_indices(name) {
            let Some(value) = line[at + name.len()..].trim_start().strip_prefix('=') else {
                continue;
            };
            let value = value.trim_start();
            let end = |c: char| if value.starts_with('"') { c == '"' } else { c.is_whitespace() };
            let value = value.trim_start_matches('"');
            let value = &value[..value.find(end).unwrap_or(value.len())];
            // Neither a shell's variable nor what leaves its middle out is a value.
            if !value.starts_with('$') && !value.contains('…') {
                found.push(value);
            }
        }
    }
    found
}
