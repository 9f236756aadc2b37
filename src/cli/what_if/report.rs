//! How a run is told: a line for each change as soon as it is known, and what they add up to.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Map, Value};

use super::super::terminal::{escaped, json_for_terminals, shortened, shown, spelled};
use super::compare::{Both, Change, Differences, Moves, No};
use crate::ops::{Unreadable, Whom};

/// How often a terminal is told how far it is.
const OFTEN: Duration = Duration::from_millis(200);

/// How often a log is.
const SELDOM: Duration = Duration::from_secs(5);

/// What was found, in numbers. People at two providers count twice.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Counts {
    pub(super) looked_at: u64,
    pub(super) unchanged: u64,
    pub(super) denied: u64,
    pub(super) let_in: u64,
    pub(super) changed: u64,
    pub(super) collides: u64,
    /// Standings that are damaged: nothing can be said of whose they are. Not among those looked at.
    pub(super) unreadable: u64,
}

impl Counts {
    pub(super) fn count(&mut self, change: Option<&Change>) {
        self.looked_at += 1;
        *match change {
            None => &mut self.unchanged,
            Some(Change::Denied(_)) => &mut self.denied,
            Some(Change::LetIn { .. }) => &mut self.let_in,
            Some(Change::Changed(_)) => &mut self.changed,
            Some(Change::Collides { .. }) => &mut self.collides,
        } += 1;
    }
}

/// A change and whose.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    #[serde(flatten)]
    pub(super) change: &'a Change,
    pub(super) provider: &'a str,
    pub(super) subject: &'a Whom,
    /// The identity that the subject has.
    pub(super) bound_to: Option<&'a str>,
    /// What the last decision called the person.
    pub(super) last_friendly_name: Option<&'a str>,
}

/// What they add up to.
#[derive(Serialize)]
pub(super) struct Summary {
    #[serde(flatten)]
    pub(super) counts: Counts,
    /// Providers of today that the new configuration lacks.
    pub(super) missing_providers: Vec<String>,
    /// Providers of the new configuration that today's lacks.
    pub(super) new_providers: Vec<String>,
    /// `session.keep_claims`.
    pub(super) keep_claims: String,
    /// Whether there were too many for all collisions to be found.
    pub(super) collisions_incomplete: bool,
}

/// Tells a run on standard output, and how far it is on standard error.
pub(super) struct Report {
    json: bool,
    out: io::BufWriter<io::Stdout>,
    terminal: bool,
    told: Instant,
    shows: bool,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        let out = io::BufWriter::new(io::stdout());
        let terminal = io::stderr().is_terminal();
        Self { json, out, terminal, told: Instant::now(), shows: false }
    }

    /// A line for a change.
    pub(super) fn tell(&mut self, line: &Line<'_>) {
        let text = if self.json { json(line) } else { sentence(line) };
        self.write(&text);
    }

    /// A line for a standing that nothing can be said about.
    pub(super) fn tell_unreadable(&mut self, unreadable: &Unreadable) {
        #[derive(Serialize)]
        struct Damage<'a> {
            unreadable: &'a Unreadable,
        }
        let Unreadable { key, what } = unreadable;
        let text = if self.json {
            json(&Damage { unreadable })
        } else {
            escaped(&format!("damaged   {}: {what}", shortened(key)))
        };
        self.write(&text);
    }

    /// The end.
    pub(super) fn sum_up(&mut self, summary: &Summary) {
        #[derive(Serialize)]
        struct Last<'a> {
            summary: &'a Summary,
        }
        let text = if self.json { json(&Last { summary }) } else { in_words(summary) };
        self.write(&text);
        self.flush();
    }

    /// How far it is; now and then.
    pub(super) fn progress(&mut self, counts: &Counts) {
        self.flush();
        if self.told.elapsed() < if self.terminal { OFTEN } else { SELDOM } {
            return;
        }
        self.told = Instant::now();
        let changes = counts.looked_at - counts.unchanged;
        let text = format!("vestibule: {} looked at, {changes} change", counts.looked_at);
        let mut err = io::stderr().lock();
        // When standard error is closed, nobody wants to know.
        let _nobody_reads = if self.terminal {
            write!(err, "\r{text}").and_then(|()| err.flush())
        } else {
            writeln!(err, "{text}")
        };
        self.shows = self.terminal;
    }

    fn write(&mut self, text: &str) {
        self.clear();
        // When standard output is closed, the exit code still tells.
        let _nobody_reads = writeln!(self.out, "{text}");
    }

    fn flush(&mut self) {
        let _nobody_reads = self.out.flush();
    }

    /// Takes the progress away, so that no line is written behind it.
    fn clear(&mut self) {
        if std::mem::take(&mut self.shows) {
            let _nobody_reads = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.clear();
    }
}

fn json(what: &impl Serialize) -> String {
    // Plain fields: writing them cannot fail.
    json_for_terminals(&serde_json::to_string(what).unwrap_or_default())
}

/// A change for a person: what, where, who, and how.
fn sentence(line: &Line<'_>) -> String {
    let (what, how) = match line.change {
        Change::Denied(No { rule, why, message }) => {
            let message = message.as_ref().map(|message| format!(": {message}"));
            ("denied", format!("{rule} {why}{}", message.unwrap_or_default()))
        }
        Change::LetIn { identity } => ("let in", format!("as {identity}")),
        Change::Collides { identity, with: Some(Whom { issuer, value }) } => {
            ("collides", format!("{identity} is that of {value} of {issuer}"))
        }
        Change::Collides { identity, with: None } => {
            ("collides", format!("{identity} would be that of another whom the new policy lets in"))
        }
        Change::Changed(differences) => ("changes", changes(differences)),
    };
    let mut who = line.subject.value.clone();
    for (before, known, behind) in
        [(" (", line.bound_to, ")"), (" \"", line.last_friendly_name, "\"")]
    {
        who.extend(known.into_iter().flat_map(|known| [before, known, behind]));
    }
    escaped(&format!("{what:8}  {:8}  {}  {how}", line.provider, shortened(&who)))
}

fn changes(differences: &Differences) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    let json = |value: &Option<Map<String, Value>>| {
        value.clone().map_or_else(|| "none".to_owned(), |map| shown(&map.into()))
    };
    let ttl = |value: &Option<u64>| {
        value.map_or_else(
            || "twilio.token_ttl".to_owned(),
            |seconds| spelled(Duration::from_secs(seconds)),
        )
    };
    let mut told = Vec::new();
    if let Some(Both { before, after }) = &differences.identity {
        told.push(format!("identity {before} → {after}"));
    }
    if let Some(Both { before, after }) = &differences.role {
        told.push(format!("role {} → {}", text(before), text(after)));
    }
    if let Some(Moves { added, removed }) = &differences.conversations {
        let come = added.iter().map(|name| format!(" +{name}"));
        let go = removed.iter().map(|name| format!(" -{name}"));
        told.push(format!("conversations{}", shortened(&come.chain(go).collect::<String>())));
    }
    if let Some(Both { before, after }) = &differences.friendly_name {
        told.push(format!("friendly name {} → {}", text(before), text(after)));
    }
    if let Some(Both { before, after }) = &differences.attributes {
        told.push(format!("attributes {} → {}", json(before), json(after)));
    }
    if let Some(Both { before, after }) = &differences.token_ttl {
        told.push(format!("token {} → {}", ttl(before), ttl(after)));
    }
    told.join("; ")
}

fn in_words(summary: &Summary) -> String {
    let Counts { looked_at, unchanged, denied, let_in, changed, collides, unreadable } =
        summary.counts;
    let mut text = String::new();
    if looked_at > unchanged || unreadable > 0 {
        text.push('\n');
    }
    let rows = [
        ("looked at", looked_at, ""),
        ("denied", denied, "who have access today"),
        ("let in", let_in, "who have none today"),
        ("collide", collides, "with an identity that another has: they do not come in"),
        ("change", changed, "and keep their access"),
        ("unchanged", unchanged, ""),
    ];
    let damaged = ("damaged", unreadable, "that cannot be read: whose they are is not known");
    for (name, count, what) in rows.into_iter().chain((unreadable > 0).then_some(damaged)) {
        let row = format!("{name:9}  {count:>8}  {what}");
        let _infallible = writeln!(text, "{}", row.trim_end());
    }
    for provider in &summary.missing_providers {
        let _infallible = writeln!(
            text,
            "The provider {provider} is missing in the new configuration: nobody of it has access any more."
        );
    }
    for provider in &summary.new_providers {
        let _infallible = writeln!(
            text,
            "The provider {provider} is missing in today's configuration: nobody of it has access today."
        );
    }
    if summary.collisions_incomplete {
        text.push_str("More than a million people would get their first identity by a rule: not all collisions among them are found.\n");
    }
    let _infallible = write!(
        text,
        "This is by the claims of each person's last sign-in, which are kept for {} (session.keep_claims) or as long as a session \
         lives: by now the provider may say something else. Who signed in longer ago is not looked at.",
        summary.keep_claims
    );
    text
}
