//! A decision taken apart for an operator.

use std::io;

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

/// The longest value that is told, in bytes of JSON: an explanation is kept for each denial, and a rule can make far more of claims
/// than there is of them.
pub(super) const LONGEST_VALUE: usize = 16 << 10;

/// `value`, or what stands for one that is too long to be told.
pub(super) fn told(value: Value) -> Value {
    let mut left = Left(LONGEST_VALUE);
    match serde_json::to_writer(&mut left, &value) {
        Ok(()) => value,
        Err(_) => format!("… (more than {} KiB)", LONGEST_VALUE >> 10).into(),
    }
}

/// Counts what is written, up to its end.
struct Left(usize);

impl io::Write for Left {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
