//! What is wrong with an expression, in words, and where.

/// What is wrong with an expression, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) what: &'static str,
    pub(super) mend: String,
    /// Two lines: the expression around the place, and a mark below it. Of what is plainly a rule, for that is no secret.
    pub(super) excerpt: Option<String>,
}

/// How much of a line is shown on either side of the place, in characters.
const AROUND: usize = 36;

impl Problem {
    /// A problem of the whole expression.
    pub(super) fn new(what: &'static str, mend: &str) -> Self {
        Self { what, mend: mend.to_owned(), excerpt: None }
    }

    /// A problem at the character `at` of `text`, counted from 0.
    pub(super) fn at(text: &str, at: usize, what: &'static str, mend: &str) -> Self {
        let before = text.chars().take(at).collect::<String>();
        let column = before.chars().rev().take_while(|c| *c != '\n').count();
        let line = before.matches('\n').count();
        let place = if text.contains('\n') {
            format!("line {}, character {}", line + 1, column + 1)
        } else {
            format!("character {}", column + 1)
        };
        let shown = text.split('\n').nth(line).unwrap_or_default();
        // What speaks of no claim may be a secret in the wrong place.
        let excerpt = text.contains("claim").then(|| excerpt(shown, column));
        Self { what, mend: format!("At {place}: {mend}"), excerpt }
    }
}

fn excerpt(line: &str, column: usize) -> String {
    let from = column.saturating_sub(AROUND);
    let shown = line.chars().skip(from).take(2 * AROUND);
    // What moves the cursor would move the mark away from its place.
    let shown = shown.map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let more = |is_more: bool| if is_more { "…" } else { "" };
    let (before, after) = (more(from > 0), more(line.chars().count() > from + 2 * AROUND));
    let mark = " ".repeat(before.chars().count() + column - from);
    format!("{before}{shown}{after}\n{mark}^")
}
