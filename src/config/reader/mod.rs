//! Takes the known keys out of the file and the environment, and notes every fault on the way.
//!
//! Owns where a value comes from, and the three promises that hold for each key alike: nothing unknown is passed over, every
//! fault is told, and no value is quoted here. The last holds by type: what is wrong with a value is a `&'static str`, so that
//! text from the file cannot get into it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::ops::RangeInclusive;
use std::path::Path;

use toml::{Table, Value};

/// Reads a file of secrets; a closure, so that tests need no disk.
pub(super) type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// One thing that is wrong with the configuration. Never holds a value, for that may be a secret in the wrong place; but a policy's
/// rule is shown where it cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where: `provider[0].issuer`, `line 3, column 7`, or the name of an environment variable.
    pub key: String,
    /// What is wrong: `is missing`.
    pub problem: &'static str,
    /// What to do about it, a sentence.
    pub mend: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}. {}", self.key, self.problem, self.mend)
    }
}

/// How the text of one kind of value is read.
pub(super) struct Form<T> {
    /// The value, or what is wrong with the text.
    pub(super) read: fn(&str) -> Result<T, &'static str>,
    /// How it should be written, a sentence.
    pub(super) mend: &'static str,
}

/// A value as it was found.
enum Raw {
    File(Value),
    Variable(String),
}

/// What stands in for a secret that is not at hand, one of each kind that there is: a password, a private key, bytes, a URL, and public
/// keys, which are as far away as if they were secret. Nobody has the private one of these.
const STAND_INS: [&str; 5] = [
    "stands-in-for-a-secret",
    "-----BEGIN PRIVATE KEY-----",
    "dGhpcyBzdGFuZHMgaW4gZm9yIGEgc2VhbGluZyBrZXk=",
    "redis://127.0.0.1",
    r#"{"keys":[{"kty":"EC","crv":"P-256","x":"bfvWsuSTFx27PtHr5J0OB67eSW0Vvx2M0ee--mNkHYg","y":"d7Q2oR1lrETfgYcYv9U8ZPgnCSR8jwPF3R_mc4AYq1o"}]}"#,
];

/// Whether every secret must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secrets {
    /// Without one it cannot be served.
    Needed,
    /// Whoever only reviews the rest has none of them.
    StoodInFor,
}

/// The file, the environment, and what was noted about them.
struct Source<'a> {
    environment: BTreeMap<String, String>,
    /// The variable of every key that was asked for.
    asked: BTreeSet<String>,
    /// Those of them that there were.
    used: BTreeSet<String>,
    read_file: ReadFile<'a>,
    secrets: Secrets,
    faults: Vec<Fault>,
    warnings: Vec<String>,
}

/// What reading left behind.
pub(super) struct Notes {
    pub(super) faults: Vec<Fault>,
    pub(super) warnings: Vec<String>,
    /// The environment variable of every key that was asked for.
    #[cfg(test)]
    pub(super) asked: BTreeSet<String>,
}

/// One table of the file, with the variables that speak for it. Every getter takes its key out and answers `None` exactly when
/// it noted a fault, so that a section can look at all of its keys before it gives up.
pub(super) struct Section<'s, 'a> {
    source: &'s mut Source<'a>,
    /// `provider[0]`; empty for the whole file.
    path: String,
    /// `VESTIBULE__PROVIDER__0`.
    variable: String,
    /// What nobody has asked for yet.
    left: Table,
    asked: Vec<String>,
    /// There should be a table, but something else stands there. That is one fault; its keys are not missing besides.
    displaced: bool,
}

/// Reads a whole configuration: `read` takes what it knows, and what is left then is refused.
pub(super) fn read_all<T>(
    file: Table,
    environment: impl IntoIterator<Item = (String, String)>,
    read_file: ReadFile<'_>,
    secrets: Secrets,
    read: impl FnOnce(&mut Section<'_, '_>) -> T,
) -> (T, Notes) {
    let environment =
        environment.into_iter().filter(|(name, _)| name.starts_with("VESTIBULE__")).collect();
    let mut source = Source {
        environment,
        asked: BTreeSet::new(),
        used: BTreeSet::new(),
        read_file,
        secrets,
        faults: Vec::new(),
        warnings: Vec::new(),
    };
    let (path, variable) = (String::new(), "VESTIBULE".to_owned());
    let root = Section {
        source: &mut source,
        path,
        variable,
        left: file,
        asked: Vec::new(),
        displaced: false,
    };
    let value = root.read_and_refuse_the_rest(read);
    source.refuse_unknown_variables();
    let notes = Notes {
        faults: source.faults,
        warnings: source.warnings,
        #[cfg(test)]
        asked: source.asked,
    };
    (value, notes)
}

impl Source<'_> {
    /// Whether a variable speaks for a table whose own name would be `variable`.
    fn speaks_for(&self, variable: &str) -> bool {
        let within = format!("{variable}__");
        self.environment
            .range(within.clone()..)
            .next()
            .is_some_and(|(name, _)| name.starts_with(&within))
    }

    fn refuse_unknown_variables(&mut self) {
        for name in std::mem::take(&mut self.environment).into_keys() {
            let mend = match nearest(&name, &self.asked) {
                Some(known) => format!("Did you mean {known}?"),
                None => "Remove it; vestibule.example.toml lists every key.".to_owned(),
            };
            self.faults.push(Fault {
                key: shortened(&name),
                problem: "is the variable of no key",
                mend,
            });
        }
    }
}

impl<'a> Section<'_, 'a> {
    /// A value that must be there.
    pub(super) fn required<T>(&mut self, key: &str, form: &Form<T>) -> Option<T> {
        match self.take(key) {
            Some(raw) => self.read(key, raw, form),
            None => self.missing(key, form.mend),
        }
    }

    /// A value that need not be there.
    pub(super) fn optional<T>(&mut self, key: &str, form: &Form<T>, default: T) -> Option<T> {
        match self.take(key) {
            Some(raw) => self.read(key, raw, form),
            None => Some(default),
        }
    }

    /// A whole number within `range` that must be there; `mend` says how it is written.
    pub(super) fn required_number(
        &mut self,
        key: &str,
        range: RangeInclusive<u32>,
        mend: &str,
    ) -> Option<u32> {
        match self.take(key) {
            Some(raw) => self.number(key, &raw, &range, mend),
            None => self.missing(key, mend),
        }
    }

    /// One that need not be there.
    #[expect(
        clippy::option_option,
        reason = "the outer is a fault, as in every getter; the inner is absence"
    )]
    pub(super) fn optional_number(
        &mut self,
        key: &str,
        range: RangeInclusive<u32>,
        mend: &str,
    ) -> Option<Option<u32>> {
        match self.take(key) {
            Some(raw) => self.number(key, &raw, &range, mend).map(Some),
            None => Some(None),
        }
    }

    fn number(
        &mut self,
        key: &str,
        raw: &Raw,
        range: &RangeInclusive<u32>,
        mend: &str,
    ) -> Option<u32> {
        let number = match raw {
            Raw::File(Value::Integer(number)) => Some(*number),
            Raw::Variable(text) => text.parse::<i64>().ok(),
            Raw::File(_) => None,
        };
        let Some(number) = number else { return self.fault(key, "is not a whole number", mend) };
        let within = u32::try_from(number).ok().filter(|number| range.contains(number));
        if within.is_none() { self.fault(key, "is too small or too big", mend) } else { within }
    }

    /// Whether there is anything of the table `key`, here or in the environment.
    pub(super) fn has(&self, key: &str) -> bool {
        self.left.contains_key(key) || self.source.speaks_for(&self.variable_of(key))
    }

    /// How many faults were noted so far.
    pub(super) fn faults(&self) -> usize {
        self.source.faults.len()
    }

    /// `true` or `false`.
    pub(super) fn switch(&mut self, key: &str, default: bool) -> Option<bool> {
        let raw = self.take(key);
        match &raw {
            None => Some(default),
            Some(Raw::File(Value::Boolean(value))) => Some(*value),
            Some(Raw::Variable(text)) if text == "true" => Some(true),
            Some(Raw::Variable(text)) if text == "false" => Some(false),
            Some(_) => {
                self.fault(key, "is neither true nor false", "Write true or false, without quotes.")
            }
        }
    }

    /// A list of values: in a variable, a TOML array or separated by commas.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        form: &Form<T>,
        default: &[&str],
    ) -> Option<Vec<T>> {
        let mend = "Write it like [\"one\", \"two\"].";
        let texts = match self.take(key) {
            None => default.iter().map(|text| Value::from(*text)).collect(),
            Some(Raw::File(Value::Array(values))) => values,
            Some(Raw::Variable(text)) if text.trim_start().starts_with('[') => match text.parse() {
                Ok(Value::Array(values)) => values,
                _ => return self.fault(key, "is not a TOML array", mend),
            },
            Some(Raw::Variable(text)) => text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(Value::from)
                .collect(),
            Some(Raw::File(_)) => return self.fault(key, "is not a list", mend),
        };
        // All of them, before the first fault ends it.
        let read = texts.into_iter().enumerate();
        let read = read
            .map(|(place, value)| self.read(&format!("{key}[{place}]"), Raw::File(value), form));
        read.collect::<Vec<_>>().into_iter().collect()
    }

    /// A secret that stands at `key` or in the file that `key_file` names. `Some(None)` when it is not there.
    #[expect(
        clippy::option_option,
        reason = "the outer is a fault, as in every getter; the inner is absence"
    )]
    pub(super) fn secret<T>(&mut self, key: &str, form: &Form<T>) -> Option<Option<T>> {
        let key_file = format!("{key}_file");
        match (self.take(key), self.take(&key_file)) {
            (None, None) => Some(None),
            (Some(raw), None) => self.read(key, raw, form).map(Some),
            (None, Some(raw)) => {
                let path = self.read(&key_file, raw, &FILE)?;
                let text = match (self.source.read_file)(Path::new(&path)) {
                    Ok(text) => text,
                    Err(error) => {
                        if let Some(stand_in) = self.stand_in(form) {
                            return Some(Some(stand_in));
                        }
                        return self.fault(&key_file, why_unreadable(error.kind()), FILE.mend);
                    }
                };
                // Editors and `echo` end a file with one, which is no part of the secret.
                let text = text
                    .strip_suffix('\n')
                    .map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
                match (form.read)(text) {
                    Ok(secret) => Some(Some(secret)),
                    Err(problem) => self.fault(&key_file, problem, form.mend),
                }
            }
            (Some(_), Some(_)) => {
                self.fault(key, "is set beside the same key with _file", "Keep one of the two.")
            }
        }
    }

    /// A secret that must be there.
    pub(super) fn required_secret<T>(&mut self, key: &str, form: &Form<T>) -> Option<T> {
        match self.secret(key, form)?.or_else(|| self.stand_in(form)) {
            Some(secret) => Some(secret),
            None => self.missing(key, form.mend),
        }
    }

    /// What to go on with in place of a secret that is not there; `None` where it must be.
    pub(super) fn stand_in<T>(&self, form: &Form<T>) -> Option<T> {
        match self.source.secrets {
            Secrets::Needed => None,
            Secrets::StoodInFor => STAND_INS.iter().find_map(|text| (form.read)(text).ok()),
        }
    }

    /// A table inside this one; `read` gets an empty one when it is not there. What `read` leaves is refused.
    pub(super) fn within<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&mut Section<'_, 'a>) -> T,
    ) -> T {
        self.asked.push(key.to_owned());
        let (left, displaced) = match self.left.remove(key) {
            None => (Table::new(), self.displaced),
            Some(Value::Table(table)) => (table, false),
            Some(_) => {
                self.fault::<()>(
                    key,
                    "is not a table",
                    "Open it with its name in brackets on a line of its own.",
                );
                (Table::new(), true)
            }
        };
        let (path, variable) = (self.path_of(key), self.variable_of(key));
        Section { source: self.source, path, variable, left, asked: Vec::new(), displaced }
            .read_and_refuse_the_rest(read)
    }

    /// Whether what stands at `key` is a list and not one value; a variable with one value goes before both.
    pub(super) fn is_list(&self, key: &str) -> bool {
        let variable = self.variable_of(key);
        let in_file = matches!(self.left.get(key), Some(Value::Array(_)));
        !self.source.environment.contains_key(&variable)
            && (in_file || self.source.speaks_for(&variable))
    }

    /// A list of tables, as long as the file or the variables make it. What `read` leaves of each is refused.
    pub(super) fn each<T>(
        &mut self,
        key: &str,
        read: impl FnMut(&mut Section<'_, 'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.each_as(key, "Write each as a table: { … }.", read)
    }

    /// As [`each`](Self::each); `mend` says how one is written.
    pub(super) fn each_as<T>(
        &mut self,
        key: &str,
        mend: &str,
        mut read: impl FnMut(&mut Section<'_, 'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.asked.push(key.to_owned());
        let tables = match self.left.remove(key) {
            None => Vec::new(),
            Some(Value::Array(tables)) => tables,
            Some(_) => {
                return self.fault(
                    key,
                    "is not a list of tables",
                    "Open each with its name in two pairs of brackets.",
                );
            }
        };
        let mut tables = tables.into_iter();
        let mut answers = Vec::new();
        for place in 0.. {
            let key = format!("{key}[{place}]");
            let (path, variable) = (self.path_of(&key), self.variable_of(&key));
            let (left, displaced) = match tables.next() {
                Some(Value::Table(table)) => (table, false),
                Some(_) => {
                    self.fault::<()>(&key, "is not a table", mend);
                    (Table::new(), true)
                }
                None if self.source.speaks_for(&variable) => (Table::new(), false),
                None => break,
            };
            let section =
                Section { source: self.source, path, variable, left, asked: Vec::new(), displaced };
            answers.push(section.read_and_refuse_the_rest(&mut read));
        }
        answers.into_iter().collect()
    }

    /// Notes a fault at `key`; always `None`, the answer of a getter that failed.
    pub(super) fn fault<T>(&mut self, key: &str, problem: &'static str, mend: &str) -> Option<T> {
        let mut place = self.path_of(key);
        let variable = self.variable_of(key);
        if self.source.used.contains(&variable) {
            place = format!("{place} ({variable})");
        }
        self.source.faults.push(Fault { key: place, problem, mend: mend.to_owned() });
        None
    }

    /// Notes what works but is probably not meant.
    pub(super) fn warn(&mut self, key: &str, what: &str) {
        let place = self.path_of(key);
        self.source.warnings.push(format!("{place} {what}"));
    }

    pub(super) fn missing<T>(&mut self, key: &str, mend: &str) -> Option<T> {
        if self.displaced { None } else { self.fault(key, "is missing", mend) }
    }

    /// Takes a key out: of the environment, else of the file.
    fn take(&mut self, key: &str) -> Option<Raw> {
        self.asked.push(key.to_owned());
        let variable = self.variable_of(key);
        let in_file = self.left.remove(key).map(Raw::File);
        let text = self.source.environment.remove(&variable);
        if text.is_some() {
            self.source.used.insert(variable.clone());
        }
        self.source.asked.insert(variable);
        text.map(Raw::Variable).or(in_file)
    }

    fn read<T>(&mut self, key: &str, raw: Raw, form: &Form<T>) -> Option<T> {
        let (Raw::File(Value::String(text)) | Raw::Variable(text)) = raw else {
            return self.fault(key, "is not a string", form.mend);
        };
        (form.read)(&text).map_or_else(|problem| self.fault(key, problem, form.mend), Some)
    }

    fn read_and_refuse_the_rest<T>(mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let value = read(&mut self);
        for key in std::mem::take(&mut self.left).keys() {
            let mend = match nearest(key, &self.asked) {
                Some(known) => format!("Did you mean {known}?"),
                None => "Remove it; vestibule.example.toml lists every key.".to_owned(),
            };
            self.fault::<()>(&shortened(key), "is not a key of this version", &mend);
        }
        value
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn variable_of(&self, key: &str) -> String {
        let key = key.to_uppercase().replace(['[', '.'], "__").replace(']', "");
        format!("{}__{key}", self.variable)
    }
}

/// A path, as text.
const FILE: Form<String> = Form {
    read: |text| if text.is_empty() { Err("is empty") } else { Ok(text.to_owned()) },
    mend: "Name a text file that this process may read and that holds nothing else.",
};

fn why_unreadable(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "names a file that is not there",
        ErrorKind::PermissionDenied => "names a file that this process may not read",
        ErrorKind::InvalidData => "names a file that is not UTF-8 text",
        _ => "names a file that cannot be read",
    }
}

/// The known name that `unknown` is probably a slip of.
fn nearest<'k>(unknown: &str, known: impl IntoIterator<Item = &'k String>) -> Option<&'k String> {
    let far = unknown.trim_start_matches("VESTIBULE__").len() / 3;
    let distance =
        |known: &str| strsim::osa_distance(&unknown.to_uppercase(), &known.to_uppercase());
    let known = known.into_iter().map(|known| (distance(known), known));
    let near = known.filter(|(distance, _)| *distance <= far);
    near.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// A key as it is told: one that goes on and on is a value in the wrong place.
fn shortened(key: &str) -> String {
    let mut shortened = key.chars().take(64).collect::<String>();
    if shortened.len() < key.len() {
        shortened.push('…');
    }
    shortened
}

#[cfg(test)]
mod tests;
