//! What a policy decides, why it does not, and how the values of rules become either.

use std::collections::BTreeSet;
use std::time::Duration;

use cel::ExecutionError;
use cel::common::types::{CelBool, CelDuration, CelList, CelMap, CelString};
use cel::common::value::Val;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::facts;
use super::functions::OURS;
use crate::ids::{Identity, IdentityError};

/// What the policy says about a subject now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// The identity that an unbound subject would get, or why there is none. A subject that is bound keeps its identity
    /// whatever stands here.
    #[serde(serialize_with = "identity_as_json")]
    pub identity: Result<Wanted, Denial>,
    /// What others see; 1 to 256 characters.
    pub friendly_name: Option<String>,
    /// The role's friendly name at Twilio.
    pub role: Option<String>,
    /// Unique names of conversations, sorted, none twice.
    pub conversations: Vec<String>,
    /// The user's attributes at Twilio.
    pub attributes: Option<Map<String, Value>>,
    /// How long a token may live at most, if that is less than what is configured. In JSON whole seconds.
    #[serde(serialize_with = "seconds")]
    pub token_ttl: Option<Duration>,
}

/// The identity that a policy wants for a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The default one: there is no rule.
    Default,
    /// What the rule says.
    Is(Identity),
}

/// Why somebody does not come in, or has no identity. Its text holds no claim's value, so that it may stand in logs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule} {why}")]
pub struct Denial {
    /// The rule that says so: `allow[0]`, `identity`.
    pub rule: String,
    /// Why it does.
    pub why: Why,
    /// The operator's words for the person.
    pub message: Option<String>,
}

/// Why a rule denies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// It is false.
    #[error("says no")]
    Refused,
    /// It could not be computed.
    #[error("fails: {0}")]
    Failed(Failure),
    /// Its value is of another type than the rule's.
    #[error("yields {got} instead of {expected}")]
    WrongType {
        /// What a rule of its kind yields.
        expected: &'static str,
        /// The type that CEL has for the value.
        got: String,
    },
    /// Its value is of the right type and beyond a bound.
    #[error("yields a value that {0}")]
    OutOfBounds(&'static str),
    /// Its value can be nobody's identity.
    #[error("yields what cannot be an identity: {}", identity_problem(.0))]
    InvalidIdentity(IdentityError),
    /// The provider left the groups out, because there are too many, and the rule reads them (Entra ID).
    #[error(
        "reads groups, and the provider left them out of the token because this person has too many: let it send only groups that \
         are assigned to the application, or use app roles (the claim roles) instead"
    )]
    GroupsOverage,
    /// What it reads is larger or deeper than a rule may be run on.
    #[error("reads claims that are too large or nested too deeply")]
    ClaimsTooLarge,
}

/// Why a rule could not be computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A claim, or a key of one, is not there. The name is known when it stands in the rule.
    #[error("{} is missing", .0.as_deref().unwrap_or("a key that the rule computes"))]
    Missing(Option<String>),
    /// An operator or function has no meaning for values of these types.
    #[error("{operation} takes no ({types}){}", instead(.operation, .types))]
    Types {
        /// `<`, `startsWith`.
        operation: String,
        /// `int, string`.
        types: String,
    },
    /// A function refused its arguments.
    #[error("{function} refuses its argument{}", .reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Function {
        /// `domain`.
        function: String,
        /// Why, when it can be said without a value.
        reason: Option<String>,
    },
    /// A number or time is beyond its range, or divided by zero.
    #[error("a number or time goes beyond its range, or is divided by zero")]
    Arithmetic,
    /// A list has no such place.
    #[error("a list has no element at that place")]
    Index,
    /// The run took more steps than one may.
    #[error("it takes too many steps over these claims")]
    TooManySteps,
    /// Something else that CEL calls an error.
    #[error("the expression cannot be computed")]
    Other,
}

impl Failure {
    /// What is known of CEL's error. Of names only those are told for which `may_name`: another one is a claim's value, by which
    /// the rule looked something up.
    pub(super) fn of(error: Option<&ExecutionError>, may_name: impl Fn(&str) -> bool) -> Self {
        let Some(error) = error else { return Self::TooManySteps };
        match error {
            ExecutionError::NoSuchKey(name) => {
                Self::Missing(may_name(name).then(|| name.as_str().to_owned()))
            }
            ExecutionError::NoSuchOverload(error) => Self::Types {
                operation: plain(error.function()),
                types: error.argument_types().join(", "),
            },
            ExecutionError::FunctionError { function, message } => Self::Function {
                function: function.clone(),
                reason: OURS.contains(&function.as_str()).then(|| message.clone()),
            },
            ExecutionError::UnexpectedType { got, want } => {
                Self::Types { operation: want.clone(), types: got.clone() }
            }
            ExecutionError::UnsupportedBinaryOperator(operation, left, right) => Self::Types {
                operation: (*operation).to_owned(),
                types: format!("{}, {}", left.type_of(), right.type_of()),
            },
            ExecutionError::ValuesNotComparable(left, right) => Self::Types {
                operation: "comparison".to_owned(),
                types: format!("{}, {}", left.type_of(), right.type_of()),
            },
            ExecutionError::Overflow(..)
            | ExecutionError::DivisionByZero(_)
            | ExecutionError::RemainderByZero(_) => Self::Arithmetic,
            ExecutionError::IndexOutOfBounds(_) => Self::Index,
            _ => Self::Other,
        }
    }
}

/// What was meant, where that is plain.
fn instead(operation: &str, types: &str) -> &'static str {
    match operation {
        "contains" if types.starts_with("list") => ": whether a list holds x is asked by x in list",
        _ => "",
    }
}

/// An operator as it is written.
fn plain(operation: &str) -> String {
    match operation {
        "_[_]" | "_[?_]" => "[ ]".to_owned(),
        "_?_:_" => "? :".to_owned(),
        other => other.trim_matches('_').trim_start_matches('@').to_owned(),
    }
}

/// The error without the character that it names, which is a part of a claim.
fn identity_problem(error: &IdentityError) -> String {
    match error {
        IdentityError::Character { .. } => {
            "it holds something else than A-Z a-z 0-9 . _ ~ -".to_owned()
        }
        other => other.to_string(),
    }
}

fn identity_as_json<S: Serializer>(
    identity: &Result<Wanted, Denial>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let json = match identity {
        Ok(Wanted::Default) => serde_json::json!("default"),
        Ok(Wanted::Is(identity)) => serde_json::json!({ "is": identity.as_str() }),
        Err(denial) => {
            serde_json::json!({ "denied": { "rule": denial.rule, "why": denial.why.to_string() } })
        }
    };
    json.serialize(serializer)
}

#[expect(clippy::ref_option, reason = "serde hands fields over so")]
fn seconds<S: Serializer>(ttl: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    ttl.map(|ttl| ttl.as_secs()).serialize(serializer)
}

/// Longest text that a rule may yield, in characters: Twilio's bound for an identity, taken for the others too.
pub(super) const LONGEST_TEXT: usize = 256;
/// Most conversations of one identity (Twilio's bound).
pub(super) const MOST_CONVERSATIONS: usize = 1000;
/// Largest attributes, in bytes of JSON: under 4 KB (Twilio's bound).
pub(super) const LARGEST_ATTRIBUTES: usize = 4096;
/// Shortest life of a token: with less left, none is minted (contract §3.3).
const SHORTEST_TTL: Duration = Duration::from_mins(1);

fn wrong(expected: &'static str, value: &dyn Val) -> Why {
    Why::WrongType { expected, got: value.get_type().name().to_owned() }
}

pub(super) fn allowed(value: &dyn Val) -> Result<(), Why> {
    match value.downcast_ref::<CelBool>().map(|allowed| *allowed.inner()) {
        Some(true) => Ok(()),
        Some(false) => Err(Why::Refused),
        None => Err(wrong("a bool", value)),
    }
}

fn text(value: &dyn Val) -> Result<&str, Why> {
    value.downcast_ref::<CelString>().map(CelString::inner).ok_or_else(|| wrong("a string", value))
}

pub(super) fn identity(value: &dyn Val) -> Result<Identity, Why> {
    Identity::parse_member(text(value)?).map_err(Why::InvalidIdentity)
}

/// A name that is blank or too long is left out, not cut, as the claim `name` is: nobody is kept out for a long name.
pub(super) fn friendly_name(value: &dyn Val) -> Result<Option<String>, Why> {
    text(value).map(fitting_name)
}

/// `name` when it can be a friendly name.
pub(super) fn fitting_name(name: &str) -> Option<String> {
    let fits = !name.trim().is_empty() && name.chars().count() <= LONGEST_TEXT;
    fits.then(|| name.to_owned())
}

/// Text that names something.
fn naming(value: &dyn Val) -> Result<String, Why> {
    let text = text(value)?;
    if text.trim().is_empty() {
        return Err(Why::OutOfBounds("is blank"));
    }
    if text.chars().count() > LONGEST_TEXT {
        return Err(Why::OutOfBounds("is longer than 256 characters"));
    }
    if text.chars().any(char::is_control) {
        return Err(Why::OutOfBounds("holds a control character"));
    }
    Ok(text.to_owned())
}

pub(super) fn role(value: &dyn Val) -> Result<String, Why> {
    naming(value)
}

pub(super) fn conversations(value: &dyn Val) -> Result<Vec<String>, Why> {
    let list = value.downcast_ref::<CelList>().ok_or_else(|| wrong("a list of strings", value))?;
    let mut names = BTreeSet::new();
    for name in list.inner() {
        names.insert(naming(name.as_ref())?);
        if names.len() > MOST_CONVERSATIONS {
            return Err(Why::OutOfBounds("has more than 1000 conversations"));
        }
    }
    Ok(names.into_iter().collect())
}

pub(super) fn attributes(value: &dyn Val) -> Result<Map<String, Value>, Why> {
    if value.downcast_ref::<CelMap>().is_none() {
        return Err(wrong("a map", value));
    }
    match facts::json(value) {
        Some(Value::Object(map))
            if Value::Object(map.clone()).to_string().len() < LARGEST_ATTRIBUTES =>
        {
            Ok(map)
        }
        Some(_) => Err(Why::OutOfBounds("has 4 KB of JSON or more")),
        None => Err(Why::OutOfBounds("JSON has no form for")),
    }
}

pub(super) fn token_ttl(value: &dyn Val) -> Result<Duration, Why> {
    let ttl = value.downcast_ref::<CelDuration>().ok_or_else(|| wrong("a duration", value))?;
    match ttl.inner().to_std() {
        Ok(ttl) if ttl >= SHORTEST_TTL => Ok(ttl),
        _ => Err(Why::OutOfBounds("is shorter than a minute")),
    }
}
