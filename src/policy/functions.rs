//! What a rule can call beyond CEL's own, under the names that the documents give.

use std::any::Any;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest;
use cel::common::functions::Function;
use cel::common::types::{
    CelBool, CelInt, CelList, CelString, INT_TYPE, LIST_TYPE, STRING_TYPE, Type,
};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{DeclarationError, Env, ExecutionError};
use regex::Regex;
use uuid::Uuid;

use super::{counted, email, steps};

pub(super) type Args<'b, 'v> = Vec<CowVal<'b, 'v>>;
pub(super) type Answer<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

/// The functions whose errors are our own words and hold no value.
pub(super) const OURS: [&str; 8] =
    ["uuid5", "sha256", "lower", "domain", "replace", "substring", "split", "join"];

/// CEL's standard functions and macros, and ours.
pub(super) static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    #[expect(clippy::expect_used, reason = "the names are fixed, and each test builds it")]
    register(&mut env).expect("each of our functions is declared once");
    Arc::new(env)
});

fn register(env: &mut Env) -> Result<(), DeclarationError> {
    let globals: [(&str, Vec<Type>, Function); 4] = [
        ("uuid5", vec![STRING_TYPE, STRING_TYPE], uuid5),
        ("sha256", vec![STRING_TYPE], sha256),
        ("lower", vec![STRING_TYPE], lower),
        ("domain", vec![STRING_TYPE], domain),
    ];
    for (name, types, function) in globals {
        env.add_overload(name, name, types, function)?;
    }
    counted::register(env)?;
    env.add_overload("matches", "matches", vec![STRING_TYPE, PATTERN_TYPE.to_owned()], matches)?;
    let members: [(&str, &str, Type, Vec<Type>, Function); 9] = [
        ("matches", "string.matches", STRING_TYPE, vec![PATTERN_TYPE.to_owned()], matches),
        ("lowerAscii", "lowerAscii", STRING_TYPE, vec![], lower_ascii),
        ("trim", "trim", STRING_TYPE, vec![], trim),
        ("split", "split", STRING_TYPE, vec![STRING_TYPE], split),
        ("replace", "replace", STRING_TYPE, vec![STRING_TYPE, STRING_TYPE], replace),
        ("substring", "substring", STRING_TYPE, vec![INT_TYPE], substring),
        ("substring", "substring_range", STRING_TYPE, vec![INT_TYPE, INT_TYPE], substring),
        ("join", "join", LIST_TYPE, vec![], join),
        ("join", "join_with", LIST_TYPE, vec![STRING_TYPE], join),
    ];
    for (name, id, target, types, function) in members {
        env.add_member_overload(name, id, target, types, function)?;
    }
    Ok(())
}

static PATTERN_TYPE: Type = Type::new_unspecified_type("pattern");

/// A regular expression that was compiled when the rule was, as a value that `matches` takes.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    regex: Regex,
    /// In how many places of it one can be at once, counted in those of a simple pattern: each is tried for each character.
    weight: usize,
}

impl Pattern {
    /// The largest compiled form, in bytes; one class of Unicode's, such as `\w`, has some 60,000.
    const LARGEST: usize = 256 << 10;
    /// The largest when letters are ASCII's only: what is left then are the places in the pattern, a repetition written out.
    const MOST_PLACES: usize = 64 << 10;

    /// Compiles `text`; `None` when it is no regular expression, or too large a one.
    pub(super) fn compile(text: &str) -> Option<Self> {
        let regex = regex::RegexBuilder::new(text)
            .size_limit(Self::LARGEST)
            .dfa_size_limit(Self::LARGEST)
            .nest_limit(32)
            .build()
            .ok()?;
        let mut size = 1 << 10;
        loop {
            let mut places = regex::bytes::RegexBuilder::new(text);
            match places.unicode(false).size_limit(size).nest_limit(32).build() {
                Err(regex::Error::CompiledTooBig(_)) if size == Self::MOST_PLACES => return None,
                Err(regex::Error::CompiledTooBig(_)) => size *= 2,
                Ok(_) => return Some(Self { regex, weight: size >> 10 }),
                // It names a class that only Unicode has.
                Err(_) => return Some(Self { regex, weight: 8 }),
            }
        }
    }
}

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN_TYPE
    }

    fn cel_type() -> &'static Type {
        &PATTERN_TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}

fn error(function: &str, message: &str) -> ExecutionError {
    ExecutionError::FunctionError { function: function.to_owned(), message: message.to_owned() }
}

fn text<'x>(function: &str, args: &'x Args<'_, '_>, at: usize) -> Result<&'x str, ExecutionError> {
    let text = args.get(at).and_then(|arg| arg.downcast_ref::<CelString>());
    text.map(CelString::inner).ok_or_else(|| error(function, "takes text"))
}

fn answer<'b, 'v>(text: impl Into<String>) -> CowVal<'b, 'v> {
    CowVal::owned(CelString::from(text.into()))
}

/// The version 5 UUID (RFC 9562 §5.5) of a name in a namespace, which is "url", "dns" or the text of a UUID. Of a blank name it
/// is an error: everybody whose claim is empty would be one person.
fn uuid5<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let namespace = match text("uuid5", &args, 0)? {
        "url" => Uuid::NAMESPACE_URL,
        "dns" => Uuid::NAMESPACE_DNS,
        other => Uuid::try_parse(other)
            .map_err(|_| error("uuid5", "the namespace is no UUID, \"url\" or \"dns\""))?,
    };
    let name = not_blank("uuid5", text("uuid5", &args, 1)?)?;
    Ok(answer(Uuid::new_v5(&namespace, name.as_bytes()).hyphenated().to_string()))
}

/// SHA-256 of the text's UTF-8, in lower-case hexadecimal. Of blank text it is an error, as in [`uuid5`].
fn sha256<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    use std::fmt::Write;

    let text = not_blank("sha256", text("sha256", &args, 0)?)?;
    let mut hex = String::with_capacity(64);
    for byte in digest::digest(&digest::SHA256, text.as_bytes()).as_ref() {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(answer(hex))
}

fn not_blank<'x>(function: &str, text: &'x str) -> Result<&'x str, ExecutionError> {
    steps::spend_bytes(text.len())?;
    if text.trim().is_empty() { Err(error(function, "the text is blank")) } else { Ok(text) }
}

/// The text in lower case, by Unicode's rules.
fn lower<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let text = text("lower", &args, 0)?;
    steps::spend_bytes(text.len())?;
    Ok(answer(text.to_lowercase()))
}

fn domain<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let address = text("domain", &args, 0)?;
    steps::spend_bytes(address.len())?;
    let domain = email::domain(address);
    domain.map(answer).map_err(|problem| error("domain", problem))
}

fn matches<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let pattern = args.get(1).and_then(|arg| arg.downcast_ref::<Pattern>());
    let Pattern { regex, weight } = pattern.ok_or_else(|| error("matches", "takes a pattern"))?;
    let text = text("matches", &args, 0)?;
    steps::spend((text.len() / steps::MATCHED_BYTES_A_STEP + 1).saturating_mul(*weight))?;
    Ok(CowVal::owned(CelBool::from(regex.is_match(text))))
}

fn lower_ascii<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let text = text("lowerAscii", &args, 0)?;
    steps::spend_bytes(text.len())?;
    Ok(answer(text.to_ascii_lowercase()))
}

fn trim<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let text = text("trim", &args, 0)?;
    steps::spend_bytes(text.len())?;
    Ok(answer(text.trim()))
}

fn split<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let (text, separator) = (text("split", &args, 0)?, text("split", &args, 1)?);
    if separator.is_empty() {
        return Err(error("split", "the separator is empty"));
    }
    steps::spend_bytes(text.len())?;
    let mut parts = Vec::<Box<dyn Val + 'v>>::new();
    for part in text.split(separator) {
        steps::spend(1)?;
        parts.push(Box::new(CelString::from(part.to_owned())));
    }
    Ok(CowVal::owned(CelList::from(parts)))
}

fn replace<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let (all, from, to) =
        (text("replace", &args, 0)?, text("replace", &args, 1)?, text("replace", &args, 2)?);
    if from.is_empty() {
        return Err(error("replace", "what is to be replaced is empty"));
    }
    // Counted before it is made: a short text of many places and a long replacement make a very long one.
    let places = all.matches(from).count();
    steps::spend_bytes(all.len().saturating_add(places.saturating_mul(to.len())))?;
    Ok(answer(all.replace(from, to)))
}

/// From one character up to another or to the end; characters, not bytes.
fn substring<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let text = text("substring", &args, 0)?;
    steps::spend_bytes(text.len())?;
    let place = |at: usize| {
        let place = args.get(at).and_then(|arg| arg.downcast_ref::<CelInt>())?;
        usize::try_from(*place.inner()).ok()
    };
    let beyond = || error("substring", "the place is beyond the text");
    let from = place(1).ok_or_else(beyond)?;
    let to = if args.len() > 2 { place(2).ok_or_else(beyond)? } else { text.chars().count() };
    if from > to || to > text.chars().count() {
        return Err(beyond());
    }
    Ok(answer(text.chars().skip(from).take(to - from).collect::<String>()))
}

fn join<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let list = args.first().and_then(|arg| arg.downcast_ref::<CelList>());
    let list = list.ok_or_else(|| error("join", "takes a list"))?;
    let separator = if args.len() > 1 { text("join", &args, 1)? } else { "" };
    let mut joined = String::new();
    for (place, part) in list.inner().iter().enumerate() {
        let part = part
            .downcast_ref::<CelString>()
            .ok_or_else(|| error("join", "the list holds something else than text"))?;
        let separator = if place == 0 { "" } else { separator };
        steps::spend_bytes(separator.len().saturating_add(part.len()))?;
        joined.push_str(separator);
        joined.push_str(part);
    }
    Ok(answer(joined))
}
