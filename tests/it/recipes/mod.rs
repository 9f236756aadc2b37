//! docs/POLICY.md keeps its word: each policy in it is a good one, and decides about the claims beside it as the page says.

mod page;

use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value, json};
use vestibule::Config;
use vestibule::inside::Timestamp;
use vestibule::inside::policy::{Denial, Lint, Policy, Why};

use self::page::{Part, Section};
use crate::support::service::TWILIO;

const PAGE: &str = include_str!("../../../docs/POLICY.md");
/// 2026-11-24T12:00:00Z.
const NOW: Timestamp = Timestamp::from_millis(1_795_521_600_000);

#[test]
fn each_policy_decides_as_the_page_says() {
    for Section { title, parts } in page::read(PAGE) {
        let mut recipe = Recipe { title, ..Recipe::default() };
        for part in parts {
            match part {
                Part::Block { kind, text } if kind == "toml" => {
                    let policy = policy(&text);
                    let unread = |lint: &&Lint| lint.acknowledged.is_none();
                    let lint = policy.lints().iter().find(unread);
                    assert_eq!(lint, None, "{}: {text}", recipe.title);
                    recipe.policy = Some(policy);
                }
                Part::Block { kind, text } if kind == "json claims" => recipe.claims = json(&text),
                Part::Block { kind, text } if kind == "json decision" => recipe.decides(&text),
                Part::Table(rows) if rows[0].last().unwrap() == "decision" => {
                    rows[1..].iter().for_each(|row| recipe.decides_otherwise(row));
                }
                Part::Block { kind, .. } => {
                    assert!(["sh", "text", "js"].contains(&kind.as_str()), "{kind}");
                }
                Part::Table(_) => {}
            }
        }
        let is_recipe = recipe.let_in + recipe.denied > 0;
        assert!(!is_recipe || recipe.let_in > 0 && recipe.denied > 0, "{}", recipe.title);
    }
}

#[test]
fn there_is_a_recipe_for_each_provider_that_people_ask_for() {
    let recipes = page::read(PAGE).into_iter().filter(|section| {
        let decides = |part: &Part| matches!(part, Part::Table(rows) if rows[0].last().unwrap() == "decision");
        section.parts.iter().any(decides)
    });
    let titles = recipes.map(|section| section.title).collect::<Vec<_>>();

    assert_eq!(
        titles,
        [
            "Ten minutes",
            "Keycloak",
            "Entra ID",
            "Google Workspace",
            "Okta",
            "Auth0",
            "Amazon Cognito",
            "Our user id is in employee_id",
        ]
    );
}

#[test]
fn the_first_policy_is_explained_as_the_page_shows() {
    let first = section("Ten minutes");
    let block = |kind| first.block(kind).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("vestibule.toml"), complete(block("toml"))).unwrap();
    std::fs::write(folder.path().join("claims.json"), block("json claims")).unwrap();
    let shells =
        first.blocks("sh").find_map(|line| line.strip_prefix("vestibule explain --provider "));

    let explained = Command::new(env!("CARGO_BIN_EXE_vestibule"))
        .current_dir(&folder)
        .args(["explain", "--provider"])
        .args(shells.unwrap().split(' '))
        .output()
        .unwrap();

    let said = String::from_utf8(explained.stdout).unwrap();
    assert!(said.contains(block("text")), "{said}");
    assert_eq!(explained.status.code(), Some(0));
}

#[test]
fn each_expression_yields_what_the_page_says() {
    let mut claims = Map::new();
    let mut tried = 0;
    for part in page::read(PAGE).into_iter().flat_map(|section| section.parts) {
        match part {
            Part::Block { kind, text } if kind == "json claims" => claims = json(&text),
            Part::Table(rows) if rows[0].last().unwrap() == "value" => {
                for row in &rows[1..] {
                    yields(&claims, row);
                    tried += 1;
                }
            }
            Part::Block { .. } | Part::Table(_) => {}
        }
    }
    assert!(tried > 30, "{tried}");
}

/// The configuration of a recipe: the first block of TOML below its title.
pub fn configuration(title: &str) -> String {
    section(title).block("toml").unwrap().to_owned()
}

fn section(title: &str) -> Section {
    page::read(PAGE).into_iter().find(|section| section.title == title).unwrap()
}

/// A policy of the page with the claims beside it, and how often it was seen to decide either way.
#[derive(Default)]
struct Recipe {
    title: String,
    policy: Option<Policy>,
    claims: Map<String, Value>,
    let_in: usize,
    denied: usize,
}

impl Recipe {
    fn decide(&self, claims: &Map<String, Value>) -> Result<Map<String, Value>, Denial> {
        let decision = self.policy.as_ref().unwrap().decide(claims, NOW)?;
        decision.identity.clone()?;
        let Value::Object(decision) = json!(decision) else { unreachable!() };
        Ok(decision)
    }

    /// Everything that is decided stands on the page.
    fn decides(&mut self, expected: &str) {
        let mut decision = self.decide(&self.claims).unwrap_or_else(|denial| {
            panic!("{}: {denial}", self.title);
        });

        decision.retain(|_, value| !value.is_null() && *value != json!([]));
        assert_eq!(decision, json(expected), "{}", self.title);
        self.let_in += 1;
    }

    /// A row of the table of claims that differ.
    fn decides_otherwise(&mut self, row: &[String]) {
        let [changes, expected] = row else { panic!("{row:?}") };
        let mut claims = self.claims.clone();
        for (prose, code) in page::code(changes) {
            match prose {
                "" => claims.extend(page::members(code)),
                "no" => assert!(claims.remove(code).is_some(), "{changes}"),
                other => panic!("{other}"),
            }
        }

        let decided = self.decide(&claims);

        let about = format!("{}: {changes}", self.title);
        if let Some(members) = expected.strip_prefix("let in") {
            let decision = decided.unwrap_or_else(|denial| panic!("{about}: {denial}"));
            for (_, code) in page::code(members) {
                for (name, value) in page::members(code) {
                    assert_eq!(decision[&name], value, "{about}");
                }
            }
            self.let_in += 1;
        } else {
            let denial = decided.expect_err(&about);
            assert_eq!(told(&denial), *expected, "{about}");
            self.denied += 1;
        }
    }
}

/// A denial in the words of the page.
fn told(Denial { rule, why, message }: &Denial) -> String {
    match (why, message) {
        (Why::GroupsOverage, None) => {
            format!("denied by `{rule}`, because the provider left the groups out")
        }
        (_, Some(message)) => format!("denied by `{rule}`: {message}"),
        (_, None) => format!("denied by `{rule}`"),
    }
}

/// A row of a table of expressions.
fn yields(claims: &Map<String, Value>, row: &[String]) {
    let [expression, expected] = row else { panic!("{row:?}") };
    let expression = expression.trim_matches('`');
    let attributes = toml::Value::String(format!("{{'it': {expression}}}"));
    let policy = policy(&format!("[provider.policy]\nallow = \"true\"\nattributes = {attributes}"));

    let decided = policy.decide(claims, NOW);

    if expected.starts_with("error: ") {
        let denial = decided.expect_err(expression);
        assert!(matches!(denial.why, Why::Failed(_)), "{expression}: {denial}");
    } else {
        let attributes =
            decided.unwrap_or_else(|denial| panic!("{expression}: {denial}")).attributes;
        let expected: Value = serde_json::from_str(expected.trim_matches('`')).unwrap();
        assert_eq!(attributes.unwrap()["it"], expected, "{expression}");
    }
}

fn json(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The policy in a part of a configuration, read as `serve` reads it.
fn policy(part: &str) -> Policy {
    let read_file = |path: &Path| std::fs::read_to_string(path);
    let config = Config::parse(&complete(part), std::iter::empty(), &read_file)
        .unwrap_or_else(|faults| panic!("{part}\n{faults:#?}"));
    config.policies().next().unwrap().clone()
}

/// A part of a configuration, with what the page leaves out.
fn complete(part: &str) -> String {
    let provider = match part.strip_prefix("[[provider]]") {
        Some(rest) => rest.to_owned(),
        None => format!("name = \"corp\"\nissuer = \"https://id.example.com/realms/corp\"\n{part}"),
    };
    format!(
        "[server]\npublic_url = \"https://chat-auth.example.com\"\n[store]\nurl = \"redis://127.0.0.1\"\n{TWILIO}\n\
         [[provider]]\nclient_id = \"vestibule\"\nclient_secret = \"canary-client-secret-0001\"\n{provider}"
    )
}
