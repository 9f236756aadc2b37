//! What rules see: claims, the provider's name and the time as CEL's values, and CEL's values as JSON again.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelDuration, CelInt, CelList, CelMap, CelMapKey, CelNull,
    CelOptional, CelString, CelTimestamp, CelType, CelUInt,
};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Number, Value};

use super::functions::Pattern;
use crate::clock::Timestamp;

/// The claim that is always a bool here, whatever the provider sends.
pub(super) const EMAIL_VERIFIED: &str = "email_verified";

/// The variables of a rule. A pattern is one too, whose name no rule can spell.
pub(super) struct Facts<'a> {
    claims: CelMap<'a>,
    provider: CelString<'a>,
    now: CelTimestamp,
    patterns: &'a [Pattern],
}

impl<'a> Facts<'a> {
    /// The facts of one decision; `patterns` are those of the whole policy.
    pub(super) fn new(
        claims: CelMap<'a>,
        provider: &'a str,
        now: Timestamp,
        patterns: &'a [Pattern],
    ) -> Self {
        // The last moment that CEL can tell. The store's clock is long before it.
        let last = DateTime::from_timestamp(253_402_300_799, 0).unwrap_or(DateTime::<Utc>::MIN_UTC);
        let now = now.to_utc().map_or(last, |now| now.min(last));
        Self { claims, provider: provider.into(), now: now.fixed_offset().into(), patterns }
    }

    /// The variable that stands for the pattern at `place`.
    pub(super) fn pattern_variable(place: usize) -> String {
        format!("@{place}")
    }
}

impl VariableResolver for Facts<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let value: &'b (dyn Val + 'b) = match variable {
            "claims" => &self.claims,
            "provider" => &self.provider,
            "now" => &self.now,
            _ => self.patterns.get(variable.strip_prefix('@')?.parse::<usize>().ok()?)?,
        };
        Some(CowVal::Borrowed(value))
    }
}

/// How large a claim that rules read may be, for all of them together. The whole document is bounded where it comes in; these
/// bound what a rule can be made to do: how deep it recurses, and how many elements it compares.
pub(super) const DEEPEST: usize = 32;
pub(super) const MOST_VALUES: usize = 8192;
pub(super) const MOST_BYTES: usize = 64 << 10;

/// The claims for which `is_read` as rules see them.
///
/// # Errors
///
/// The name of the claim with which they became too many, too long or too deep.
pub(super) fn claims<'a>(
    document: &'a Map<String, Value>,
    is_read: impl Fn(&str) -> bool,
    string_email_verified: bool,
) -> Result<CelMap<'a>, &'a str> {
    let mut room = Room { values: MOST_VALUES, bytes: MOST_BYTES };
    let mut claims = HashMap::<CelMapKey<'a>, Box<dyn Val + 'a>>::new();
    for (name, value) in document.iter().filter(|(name, _)| is_read(name)) {
        if name != EMAIL_VERIFIED {
            let value = room.convert(value, 0).ok_or(name.as_str())?;
            claims.insert(key(name), value);
        }
    }
    if is_read(EMAIL_VERIFIED) {
        let verified = document.get(EMAIL_VERIFIED);
        let verified = verified == Some(&Value::Bool(true))
            || string_email_verified && verified.is_some_and(|value| value == "true");
        claims.insert(key(EMAIL_VERIFIED), Box::new(CelBool::from(verified)));
    }
    Ok(claims.into())
}

fn key(name: &str) -> CelMapKey<'_> {
    CelMapKey::String(name.into())
}

struct Room {
    values: usize,
    bytes: usize,
}

impl Room {
    fn text<'a>(&mut self, text: &'a str) -> Option<CelString<'a>> {
        self.bytes = self.bytes.checked_sub(text.len())?;
        Some(text.into())
    }

    /// The value as CEL has it: integers signed where they fit, for `claims.exp + 1` to be a sum of two of a kind.
    fn convert<'a>(&mut self, value: &'a Value, depth: usize) -> Option<Box<dyn Val + 'a>> {
        self.values = self.values.checked_sub(1)?;
        Some(match value {
            Value::Null => Box::new(CelNull),
            Value::Bool(value) => Box::new(CelBool::from(*value)),
            Value::Number(number) => number_of(number)?,
            Value::String(text) => Box::new(self.text(text)?),
            Value::Array(_) | Value::Object(_) if depth == DEEPEST => return None,
            Value::Array(items) => {
                let items = items.iter().map(|item| self.convert(item, depth + 1));
                Box::new(CelList::from(items.collect::<Option<Vec<_>>>()?))
            }
            Value::Object(items) => {
                let mut map = HashMap::with_capacity(items.len());
                for (name, item) in items {
                    map.insert(CelMapKey::String(self.text(name)?), self.convert(item, depth + 1)?);
                }
                Box::new(CelMap::from(map))
            }
        })
    }
}

fn number_of<'a>(number: &Number) -> Option<Box<dyn Val + 'a>> {
    if let Some(signed) = number.as_i64() {
        return Some(Box::new(CelInt::from(signed)));
    }
    if let Some(unsigned) = number.as_u64() {
        return Some(Box::new(CelUInt::from(unsigned)));
    }
    number.as_f64().map(|double| Box::new(CelDouble::from(double)) as Box<dyn Val>)
}

/// The deepest that a value is told in JSON. Claims are not so deep, but rules can put lists into lists; what reads JSON again
/// gives up at 128.
const DEEPEST_JSON: usize = 64;

/// `value` in JSON; times as RFC 3339, durations as seconds with an `s`. `None` when JSON has no such thing: bytes, an optional,
/// a type, not a number, a key that is no text; or when it is deeper than [`DEEPEST_JSON`].
pub(super) fn json(value: &dyn Val) -> Option<Value> {
    json_within(value, DEEPEST_JSON)
}

fn json_within(value: &dyn Val, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    if let Some(list) = value.downcast_ref::<CelList>() {
        return list.inner().iter().map(|item| json_within(item.as_ref(), depth)).collect();
    }
    if let Some(map) = value.downcast_ref::<CelMap>() {
        let entries = map.inner().iter().map(|(key, item)| match key {
            CelMapKey::String(key) => {
                Some((key.inner().to_owned(), json_within(item.as_ref(), depth)?))
            }
            _ => None,
        });
        return entries.collect::<Option<Map<_, _>>>().map(Value::Object);
    }
    scalar(value)
}

fn scalar(value: &dyn Val) -> Option<Value> {
    if value.downcast_ref::<CelNull>().is_some() {
        return Some(Value::Null);
    }
    if let Some(value) = value.downcast_ref::<CelBool>() {
        return Some((*value.inner()).into());
    }
    if let Some(value) = value.downcast_ref::<CelString>() {
        return Some(value.inner().into());
    }
    if let Some(value) = value.downcast_ref::<CelInt>() {
        return Some((*value.inner()).into());
    }
    if let Some(value) = value.downcast_ref::<CelUInt>() {
        return Some((*value.inner()).into());
    }
    if let Some(value) = value.downcast_ref::<CelDouble>() {
        return Number::from_f64(*value.inner()).map(Value::Number);
    }
    if let Some(value) = value.downcast_ref::<CelTimestamp>() {
        let utc = value.inner().with_timezone(&Utc);
        return Some(utc.to_rfc3339_opts(SecondsFormat::AutoSi, true).into());
    }
    let duration = value.downcast_ref::<CelDuration>()?.inner();
    Some(seconds(duration).into())
}

fn seconds(duration: &chrono::Duration) -> String {
    let (whole, nanos) = (duration.num_seconds(), duration.subsec_nanos().unsigned_abs());
    let sign = if *duration < chrono::Duration::zero() { "-" } else { "" };
    let text = format!("{sign}{}.{nanos:09}", whole.unsigned_abs());
    format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
}

/// `value` in JSON for people to read, with a stand-in where JSON has no such thing.
pub(super) fn shown(value: &dyn Val) -> Value {
    shown_within(value, DEEPEST_JSON)
}

fn shown_within(value: &dyn Val, depth: usize) -> Value {
    let Some(depth) = depth.checked_sub(1) else { return "…".into() };
    let shown = |value: &dyn Val| shown_within(value, depth);
    if let Some(list) = value.downcast_ref::<CelList>() {
        return list.inner().iter().map(|item| shown(item.as_ref())).collect();
    }
    if let Some(map) = value.downcast_ref::<CelMap>() {
        let entries =
            map.inner().iter().map(|(key, item)| (name_of(key.inner()), shown(item.as_ref())));
        return Value::Object(entries.collect());
    }
    if let Some(optional) = value.downcast_ref::<CelOptional>() {
        return optional.option().map_or(Value::Null, shown);
    }
    if let Some(bytes) = value.downcast_ref::<CelBytes>() {
        return STANDARD.encode(bytes.inner()).into();
    }
    if let Some(name) = value.downcast_ref::<CelType>() {
        return name.name().into();
    }
    if let Some(double) = value.downcast_ref::<CelDouble>() {
        let stand_in = || double.inner().to_string().into();
        return Number::from_f64(*double.inner()).map_or_else(stand_in, Value::Number);
    }
    scalar(value).unwrap_or(Value::Null)
}

fn name_of(key: &dyn Val) -> String {
    match shown(key) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}
