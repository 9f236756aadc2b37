//! A decision taken apart for an operator.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Each rule with what came out, and the outcome. Values of claims stand in it: it is for the operator's store and terminal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The time that rules saw, RFC 3339.
    pub now: String,
    /// The rules in the order in which they are run.
    pub rules: Vec<ExplainedRule>,
    /// What is decided.
    pub outcome: Outcome,
}

/// A rule and what came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedRule {
    /// `allow[0]`, `identity`.
    pub rule: String,
    /// As it is written.
    pub expression: String,
    /// What came out.
    #[serde(flatten)]
    pub result: RuleResult,
}

/// What came out of a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleResult {
    /// Its value, as JSON.
    Value(Value),
    /// Why there is none.
    Error(String),
}

/// What is decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The subject comes in, with this [`Decision`](super::Decision) as JSON.
    Allowed(Value),
    /// The subject does not.
    Denied {
        /// The rule that says so.
        rule: String,
        /// Why.
        why: String,
        /// The operator's words for the person.
        message: Option<String>,
    },
}
