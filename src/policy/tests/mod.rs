//! What rules mean, by example.

mod attacks;
mod bounds;
mod decisions;
mod fuzz;
mod language;
mod lints;
mod page;
mod properties;

use serde_json::{Map, Value};

use super::{AllowRule, Policy, Rules};
use crate::clock::Timestamp;
use crate::ids::ProviderName;

/// 2026-11-24T12:00:00Z.
const NOW: Timestamp = Timestamp::from_millis(1_795_521_600_000);

fn corp() -> ProviderName {
    ProviderName::parse("corp").unwrap()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

fn allowing(rule: &str) -> Rules {
    Rules { allow: vec![AllowRule { rule: rule.to_owned(), message: None }], ..Rules::default() }
}

fn policy(rules: Rules) -> Policy {
    Policy::compile(&corp(), rules).unwrap_or_else(|faults| panic!("{faults:?}"))
}
