//! From text to a syntax tree, with words for what cannot be read.

use cel::common::ast::SourceInfo;
use cel::{IdedExpr, ParseError};

use super::functions::ENVIRONMENT;
use super::vet::Problem;

/// The deepest that brackets may stand in brackets.
pub(super) const DEEPEST: usize = 24;
/// Unoptimised, the parser takes some 170 KB of stack for each bracket, so that eleven fill a thread of ordinary size. It gets four
/// times what [`DEEPEST`] takes.
const STACK: usize = 16 << 20;

/// Reads `text`.
///
/// # Errors
///
/// Where it cannot be read, and why. One problem only: what the parser says after the first is guesswork.
pub(super) fn parse(text: &str) -> Result<(IdedExpr, SourceInfo), Problem> {
    if let Some((at, mend)) = slip(text) {
        return Err(Problem::at(text, at, NOT_AN_EXPRESSION, mend));
    }
    let parsed = std::thread::scope(|scope| {
        let parse = || ENVIRONMENT.parser().parse_with_source_info(text);
        // A panic of the parser ends its thread and not us.
        std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, parse).ok()?.join().ok()
    });
    match parsed {
        Some(Ok(parsed)) => Ok(parsed),
        Some(Err(errors)) => {
            Err(errors.errors.first().map_or_else(hopeless, |error| explain(text, error)))
        }
        None => Err(hopeless()),
    }
}

const NOT_AN_EXPRESSION: &str = "is not an expression";

fn hopeless() -> Problem {
    Problem::new(NOT_AN_EXPRESSION, "Begin with a simple one, such as: claims.email_verified")
}

/// What people write who know other languages better, or nest too deeply: where, and what to write instead. What stands in quotes
/// is left out.
fn slip(text: &str) -> Option<(usize, &'static str)> {
    let mut open: Option<char> = None;
    let mut escaped = false;
    let mut word = String::new();
    let mut depth = 0_usize;
    let characters = text.chars().collect::<Vec<_>>();
    for (at, &c) in characters.iter().enumerate() {
        if let Some(quote) = open {
            if escaped || c != quote {
                escaped = c == '\\' && !escaped;
                continue;
            }
            open = None;
            continue;
        }
        let (before, after) = (at.checked_sub(1).map(|at| characters[at]), characters.get(at + 1));
        match c {
            '\'' | '"' => open = Some(c),
            '(' | '[' | '{' if depth == DEEPEST => {
                return Some((
                    at,
                    "It is nested too deeply: write several rules, or a list with `in`.",
                ));
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '‘' | '’' | '“' | '”' | '„' => {
                return Some((at, "Write text in straight quotes, '…'."));
            }
            '=' if !matches!(before, Some('=' | '!' | '<' | '>')) && after != Some(&'=') => {
                return Some((at, "Write == to compare."));
            }
            '&' if before != Some('&') && after != Some(&'&') => {
                return Some((at, "Write && for \"and\"."));
            }
            '|' if before != Some('|') && after != Some(&'|') => {
                return Some((at, "Write || for \"or\"."));
            }
            _ => {}
        }
        if c.is_alphanumeric() || matches!(c, '_' | '.') {
            word.push(c);
            continue;
        }
        if let Some(mend) = word_slip(&word) {
            return Some((at - word.chars().count(), mend));
        }
        word.clear();
    }
    let mend = word_slip(&word)?;
    Some((characters.len() - word.chars().count(), mend))
}

fn word_slip(word: &str) -> Option<&'static str> {
    match word {
        "and" | "AND" => Some("Write && for \"and\"."),
        "or" | "OR" => Some("Write || for \"or\"."),
        "not" | "NOT" => Some("Write ! for \"not\"."),
        "True" | "TRUE" => Some("Write true."),
        "False" | "FALSE" => Some("Write false."),
        "None" | "nil" | "undefined" => {
            Some("Write null; of a claim that may be missing ask has(claims.x).")
        }
        _ => None,
    }
}

/// The parser's error in words for people. Its own name tokens and grammar rules, and quote the text.
fn explain(text: &str, error: &ParseError) -> Problem {
    let line = usize::try_from(error.pos.0).unwrap_or(1).max(1);
    let column = usize::try_from(error.pos.1).unwrap_or(1).max(1);
    let before = text.lines().take(line - 1).map(|line| line.chars().count() + 1).sum::<usize>();
    let at = (before + column - 1).min(text.chars().count());
    let message = error.msg.as_str();
    let mend = if message.contains("token recognition error") {
        "There is a character that means nothing here, or text whose closing quote is missing."
    } else if message.contains("<EOF>") && at >= text.trim_end().chars().count() {
        "It ends too early: a closing bracket or the right side of an operator is missing."
    } else if message.contains("argument must be a simple name") {
        "What a macro calls its elements is one name, as g in claims.groups.exists(g, g == 'staff')."
    } else if message.contains("invalid argument to has()") {
        "has asks about a field of something, as in has(claims.email)."
    } else if message.contains("Recursion limit") || message.contains("recovery attempt limit") {
        "It is nested too deeply, or not CEL at all."
    } else {
        "It cannot be read from there on: is an operator, a comma or a bracket missing before it, or one too many?"
    };
    Problem::at(text, at, NOT_AN_EXPRESSION, mend)
}
