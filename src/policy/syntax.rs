//! From text to a syntax tree, with words for what cannot be read.

use std::borrow::Cow;

use cel::common::ast::SourceInfo;
use cel::{IdedExpr, ParseError};

use super::functions::ENVIRONMENT;
use super::problem::Problem;

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
        return Err(Problem::at(text, at, NOT_AN_EXPRESSION, &mend));
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

/// What people write who know other languages better, or nest too deeply: where, and what to write instead. What stands in
/// comments and quotes is left out, but for escapes that there are not.
fn slip(text: &str) -> Option<(usize, Cow<'static, str>)> {
    let mut open: Option<Quote> = None;
    let mut is_comment = false;
    let mut word = String::new();
    let mut depth = 0_usize;
    let characters = text.chars().collect::<Vec<_>>();
    for (at, &c) in characters.iter().enumerate() {
        if let Some(quote) = &mut open {
            match quote.next(c) {
                Within::Text => {}
                Within::NoEscape => return Some((at - 1, no_escape(c).into())),
                Within::End => open = None,
            }
            continue;
        }
        if is_comment && c != '\n' {
            continue;
        }
        is_comment = characters[at..].starts_with(&['/', '/']);
        if matches!(c, '\'' | '"') {
            let is_raw = matches!(word.as_str(), "r" | "R" | "br" | "bR" | "Br" | "BR");
            open = Some(Quote::open(&characters[at..], is_raw));
        }
        if let Some(mend) = character_slip(&characters, at, &mut depth) {
            return Some((at, mend.into()));
        }
        if c.is_alphanumeric() || matches!(c, '_' | '.') {
            word.push(c);
            continue;
        }
        let from = at - word.chars().count();
        if let Some(mend) = word_slip(&characters, from, &word) {
            return Some((from, mend.into()));
        }
        word.clear();
    }
    let from = characters.len() - word.chars().count();
    word_slip(&characters, from, &word).map(|mend| (from, mend.into()))
}

/// Text in quotes, one or three on either side.
struct Quote {
    end: char,
    is_raw: bool,
    /// How many there are on a side, how many of those that open it are still to come, and how many that close it have come.
    count: usize,
    opening: usize,
    closing: usize,
    escaped: bool,
}

enum Within {
    Text,
    NoEscape,
    End,
}

impl Quote {
    fn open(characters: &[char], is_raw: bool) -> Self {
        let end = characters[0];
        let count = if characters.starts_with(&[end; 3]) { 3 } else { 1 };
        Self { end, is_raw, count, opening: count - 1, closing: 0, escaped: false }
    }

    fn next(&mut self, c: char) -> Within {
        if self.opening > 0 {
            self.opening -= 1;
            return Within::Text;
        }
        if std::mem::take(&mut self.escaped) {
            let is_escape = matches!(
                c,
                'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | 'x' | 'X' | 'u' | 'U' | '0'..='3'
            ) || matches!(c, '\\' | '?' | '"' | '\'' | '`');
            return if is_escape { Within::Text } else { Within::NoEscape };
        }
        self.escaped = c == '\\' && !self.is_raw;
        self.closing = if c == self.end { self.closing + 1 } else { 0 };
        if self.closing == self.count { Within::End } else { Within::Text }
    }
}

fn no_escape(c: char) -> String {
    format!("`\\{c}` is no escape. For a pattern write r'…', or double the backslash.")
}

fn character_slip(characters: &[char], at: usize, depth: &mut usize) -> Option<&'static str> {
    let (before, after) = (at.checked_sub(1).map(|at| characters[at]), characters.get(at + 1));
    match characters[at] {
        '(' | '[' | '{' if *depth == DEEPEST => {
            Some("It is nested too deeply: write several rules, or a list with `in`.")
        }
        '(' | '[' | '{' => {
            *depth += 1;
            None
        }
        ')' | ']' | '}' => {
            *depth = depth.saturating_sub(1);
            None
        }
        '‘' | '’' | '“' | '”' | '„' => Some("Write text in straight quotes, '…'."),
        '=' if after == Some(&'>') => Some(ELEMENTS),
        '=' if !matches!(before, Some('=' | '!' | '<' | '>')) && after != Some(&'=') => {
            Some("Write == to compare.")
        }
        '&' if before != Some('&') && after != Some(&'&') => Some("Write && for \"and\"."),
        '|' if before != Some('|') && after != Some(&'|') => Some("Write || for \"or\"."),
        _ => None,
    }
}

const ELEMENTS: &str =
    "Write list.filter(g, …) or list.exists(g, …), where g is what each element is called.";

fn word_slip(characters: &[char], from: usize, word: &str) -> Option<&'static str> {
    // `claims.?or` is a claim's name.
    if from >= 2 && characters[from - 2..from] == ['.', '?'] {
        return None;
    }
    match word {
        "and" | "AND" => Some("Write && for \"and\"."),
        "or" | "OR" => Some("Write || for \"or\"."),
        "not" | "NOT" => Some("Write ! for \"not\"."),
        "if" | "then" | "else" => Some("Write a ? b : c for \"if a then b else c\"."),
        "for" | "lambda" => Some(ELEMENTS),
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
