//! How facts are laid out for a person in a terminal: aligned, each on its line, and nothing in them steers the terminal.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

/// The longest value that is shown whole, in characters: about two lines of a terminal.
const LONGEST: usize = 160;

/// Text in blocks, each with a title and aligned rows.
#[derive(Default)]
pub(super) struct Sheet {
    text: String,
}

impl Sheet {
    /// Begins a block.
    pub(super) fn title(&mut self, title: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        let _infallible = writeln!(self.text, "{gap}{}", escaped(title));
    }

    /// Names with what there is to say of each; what has several lines goes on below itself. Escapes names and lines.
    pub(super) fn rows<'a>(&mut self, rows: impl IntoIterator<Item = (&'a str, String)>) {
        let rows = rows.into_iter().map(|(name, value)| (escaped(name), value)).collect::<Vec<_>>();
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        for (name, value) in &rows {
            let mut name = name.as_str();
            for line in value.split('\n') {
                let row = format!("  {name:width$}  {}", escaped(line.trim_end()));
                let _infallible = writeln!(self.text, "{}", row.trim_end());
                name = "";
            }
        }
    }

    /// Columns under their names: the first is text, the others are numbers and stand at the right. Escapes all of it.
    pub(super) fn table<const COLUMNS: usize>(
        &mut self,
        head: [&str; COLUMNS],
        rows: impl IntoIterator<Item = [String; COLUMNS]>,
    ) {
        let rows = [head.map(str::to_owned)].into_iter().chain(rows);
        let rows = rows.map(|row| row.map(|cell| escaped(&cell))).collect::<Vec<_>>();
        let mut widths = [0; COLUMNS];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for row in &rows {
            for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
                let _infallible = match column {
                    0 => write!(self.text, "  {cell:width$}"),
                    _ => write!(self.text, "  {cell:>width$}"),
                };
            }
            self.text.truncate(self.text.trim_end_matches(' ').len());
            self.text.push('\n');
        }
    }

    /// A line that belongs to no block.
    pub(super) fn line(&mut self, line: &str) {
        let _infallible = writeln!(self.text, "{}", escaped(line));
    }

    /// A sentence or two of a block.
    pub(super) fn words(&mut self, words: &str) {
        for line in words.split('\n') {
            let _infallible = writeln!(self.text, "  {}", escaped(line));
        }
    }

    /// Writes it all to standard output.
    pub(super) fn print(&self) {
        // When standard output is closed, the exit code still tells.
        let _nobody_reads = io::stdout().lock().write_all(self.text.as_bytes());
    }

    #[cfg(test)]
    fn text(&self) -> &str {
        &self.text
    }
}

/// Writes a JSON document to standard output, for programs.
pub(super) fn print_json(document: &impl Serialize) {
    // Plain fields: writing them cannot fail.
    let text = serde_json::to_string_pretty(document).unwrap_or_default();
    let _nobody_reads = writeln!(io::stdout().lock(), "{}", json_for_terminals(&text));
}

/// A value on one line as JSON spells it, not too long.
pub(super) fn shown(value: &Value) -> String {
    shortened(&value.to_string())
}

/// `text`, its end left out when it is longer than two lines.
pub(super) fn shortened(text: &str) -> String {
    let characters = text.chars().count();
    if characters <= LONGEST {
        return text.to_owned();
    }
    let begin = text.chars().take(LONGEST).collect::<String>();
    format!("{begin}… ({characters} characters)")
}

/// A duration as the configuration spells it, in whole seconds: `1h30m`.
pub(super) fn spelled(duration: Duration) -> String {
    let mut seconds = duration.as_secs();
    let mut text = String::new();
    for (unit, name) in [(24 * 60 * 60, 'd'), (60 * 60, 'h'), (60, 'm'), (1, 's')] {
        if seconds >= unit {
            let _infallible = write!(text, "{}{name}", seconds / unit);
            seconds %= unit;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// `text` without a character that a terminal acts on or that hides: controls, and those that turn the direction of writing, are
/// spelled out.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\'' | '\\' => escaped.push(character),
            _ => {
                // Behind another character an accent that belongs to it is left alone.
                let behind = String::from_iter(['x', character]);
                escaped.extend(behind.escape_debug().skip(1));
            }
        }
    }
    escaped
}

/// JSON in which the control characters are escaped that JSON itself lets stand, and terminals act on. They stand in strings only.
pub(super) fn json_for_terminals(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if ('\u{7f}'..='\u{9f}').contains(&character) {
            let _infallible = write!(text, "\\u{:04x}", u32::from(character));
        } else {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_aligned_and_go_on_below_themselves() {
        let mut sheet = Sheet::default();
        sheet.title("Rules");
        sheet.rows([("allow[0]", "true\n→ true".to_owned()), ("é", "x".to_owned())]);
        sheet.title("More");
        sheet.words("One.\nTwo.");

        assert_eq!(
            sheet.text(),
            "Rules\n  allow[0]  true\n            → true\n  é         x\n\nMore\n  One.\n  Two.\n"
        );
    }

    #[test]
    fn columns_stand_under_their_names() {
        let mut sheet = Sheet::default();
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        sheet.table(
            ["who", "é", "number"],
            [row(["somebody", "1,000", "\u{1b}"]), row(["x", "2", ""])],
        );

        assert_eq!(
            sheet.text(),
            "  who           é  number\n  somebody  1,000  \\u{1b}\n  x             2\n"
        );
    }

    #[test]
    fn nothing_steers_the_terminal() {
        for (text, expected) in [
            ("Zoë Müller, \"it's\" C:\\x", "Zoë Müller, \"it's\" C:\\x"),
            ("नमस्ते e\u{301}", "नमस्ते e\u{301}"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
            ("a\tb\rc\0", "a\\tb\\rc\\0"),
            ("abc\u{202e}fed\u{2066}\u{200b}", "abc\\u{202e}fed\\u{2066}\\u{200b}"),
        ] {
            assert_eq!(escaped(text), expected);
        }
        let json = serde_json::to_string("\u{9b}31m\u{7f}é\u{1b}").unwrap();
        let shown = json_for_terminals(&json);
        assert_eq!(shown, "\"\\u009b31m\\u007fé\\u001b\"");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), "\u{9b}31m\u{7f}é\u{1b}");
    }

    #[test]
    fn a_duration_reads_as_in_the_configuration() {
        let spelled = |seconds| spelled(Duration::from_secs(seconds));

        assert_eq!([0, 59, 3600, 5400].map(spelled), ["0s", "59s", "1h", "1h30m"]);
        assert_eq!([30 * 86_400, 90_061].map(spelled), ["30d", "1d1h1m1s"]);
    }

    #[test]
    fn a_long_value_is_shortened_with_its_length() {
        let value = Value::from(vec!["group"; 100]);

        let text = shown(&value);

        assert!(text.starts_with("[\"group\",") && text.ends_with("… (801 characters)"), "{text}");
        assert_eq!(shown(&serde_json::json!({ "a": [1, null] })), r#"{"a":[1,null]}"#);
        assert_eq!(shortened(&"é".repeat(160)), "é".repeat(160));
    }
}
