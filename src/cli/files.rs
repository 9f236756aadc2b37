//! Finds the configuration: the file, the environment, and the files of secrets that they name.

use std::env;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use crate::config::{Config, Fault, Review};

/// Where the configuration is when nobody says otherwise.
const DEFAULT: &str = "./vestibule.toml";

/// How another file is named than [`DEFAULT`].
const BY_OPTION: &str = "Name a file with --config";

/// The longest file that is read, in bytes. What is longer was not meant: a device, a log, an archive.
const LONGEST: u64 = 1024 * 1024;

/// The configuration of this process: `file`, else ./vestibule.toml, else the environment alone.
///
/// # Errors
///
/// Every [`Fault`] there is, at least one.
pub(super) fn load(file: Option<&Path>) -> Result<Config, Vec<Fault>> {
    let read = read_with(file, BY_OPTION, |text, variables| Config::parse(text, variables, &read));
    read?.ok_or_else(|| vec![no_configuration()])
}

/// As [`load`], for a look at what needs no secrets: those that are not at hand are no fault.
///
/// # Errors
///
/// Every other [`Fault`] there is, at least one.
pub(super) fn review(file: Option<&Path>) -> Result<Review, Vec<Fault>> {
    review_if_any(file)?.ok_or_else(|| vec![no_configuration()])
}

/// As [`review`], for what can be answered without a configuration: `None` when no file is named, and there is neither
/// ./vestibule.toml nor a variable.
///
/// # Errors
///
/// Every other [`Fault`] there is, at least one.
pub(super) fn review_if_any(file: Option<&Path>) -> Result<Option<Review>, Vec<Fault>> {
    read_with(file, BY_OPTION, |text, variables| Config::review(text, variables, &read))
}

/// What people call the configuration that is read for `file`.
pub(super) fn called(file: Option<&Path>) -> String {
    match file {
        Some(file) => file.display().to_string(),
        None if Path::new(DEFAULT).exists() => DEFAULT.to_owned(),
        None => "the environment".to_owned(),
    }
}

/// As [`review`], of a file that is named as an argument.
///
/// # Errors
///
/// Every other [`Fault`] there is, at least one.
pub(super) fn review_new(file: &Path) -> Result<Review, Vec<Fault>> {
    let parse = |text: &str, variables| Config::review(text, variables, &read);
    read_with(Some(file), "Name a file", parse)?.ok_or_else(|| vec![no_configuration()])
}

/// What `parse` makes of it; `None` when there is nothing to read.
fn read_with<T>(
    file: Option<&Path>,
    name_one: &str,
    parse: impl FnOnce(&str, Vec<(String, String)>) -> Result<T, Vec<Fault>>,
) -> Result<Option<T>, Vec<Fault>> {
    let (variables, mut faults) = variables();
    let text = match (read(file.unwrap_or(Path::new(DEFAULT))), file) {
        (Ok(text), _) => text,
        (Err(error), None) if error.kind() == ErrorKind::NotFound => {
            if variables.is_empty() && faults.is_empty() {
                return Ok(None);
            }
            String::new()
        }
        // What else the file or the variables lack cannot be told then.
        (Err(error), _) => {
            faults.insert(0, unreadable(file, error.kind(), name_one));
            return Err(faults);
        }
    };
    match parse(&text, variables) {
        Ok(config) if faults.is_empty() => Ok(Some(config)),
        Ok(_) => Err(faults),
        Err(further) => {
            faults.extend(further);
            Err(faults)
        }
    }
}

/// Our variables, and what is wrong with those that no text can hold.
fn variables() -> (Vec<(String, String)>, Vec<Fault>) {
    let mut variables = Vec::new();
    let mut faults = Vec::new();
    for (name, value) in env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with("VESTIBULE__")) else {
            continue;
        };
        match value.into_string() {
            Ok(value) => variables.push((name.to_owned(), value)),
            Err(_) => faults.push(Fault {
                key: name.to_owned(),
                problem: "is not UTF-8 text",
                mend: "Set it again.".to_owned(),
            }),
        }
    }
    (variables, faults)
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let length = File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if length as u64 > LONGEST { Err(ErrorKind::FileTooLarge.into()) } else { Ok(text) }
}

fn no_configuration() -> Fault {
    let mend = "Copy vestibule.example.toml there, or name a file with --config.";
    Fault {
        key: DEFAULT.to_owned(),
        problem: "is not there, nor any VESTIBULE__ variable",
        mend: mend.to_owned(),
    }
}

fn unreadable(file: Option<&Path>, kind: ErrorKind, name_one: &str) -> Fault {
    let key = file.map_or_else(|| DEFAULT.to_owned(), |file| file.display().to_string());
    let problem = match kind {
        ErrorKind::NotFound => "is not there",
        ErrorKind::PermissionDenied => "may not be read by this process",
        ErrorKind::IsADirectory => "is a folder",
        ErrorKind::InvalidData => "is not UTF-8 text",
        ErrorKind::FileTooLarge => "is longer than 1 MiB",
        _ => "cannot be read",
    };
    let mend =
        format!("{name_one} that this process may read, written like vestibule.example.toml.");
    Fault { key, problem, mend }
}
