//! What operators see: the log, its audit lines among them, and the metrics.
//!
//! Owns the subscriber, the way to standard error and the registry. Does not own what is logged or counted: each room names its
//! own events and registers its own series when it is built.

mod json;
mod metrics;
mod writer;

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::panic;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

pub use json::JsonLines;
pub use metrics::Metrics;
use writer::Writer;

/// The target of the audit log: one line for each login, denial, mint, conflict and move, at level `INFO`, with the field `event`.
/// Which fields each event has stands in `docs/OPERATIONS.md`, and only grows.
pub const AUDIT: &str = "vestibule::audit";

/// What the log says where lines are missing.
const LOST: &str = "lines of the log are missing here: whoever reads it took nothing for too long";

/// Where the log of this process goes, once it is started.
static LOG: OnceLock<Writer> = OnceLock::new();

/// How the log is written.
#[derive(Clone, Debug)]
pub struct Settings {
    /// One JSON object a line, or text for people.
    pub format: Format,
    /// What to log, as `RUST_LOG` spells it (`info`, `vestibule=debug`).
    pub filter: String,
    /// Whether e-mail and IP addresses may stand in the log.
    pub pii: bool,
}

/// The two forms of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// A line for people.
    Text,
}

/// Starts the log of this process, on standard error. A second call changes nothing, and neither does one where somebody else
/// has started a log (a test).
///
/// # Errors
///
/// The system's, when it has no thread to give.
pub fn start_log(settings: &Settings) -> io::Result<()> {
    let lost = match settings.format {
        Format::Json => json::lost,
        Format::Text => lost_text,
    };
    let writer = Writer::start(io::stderr(), lost)?;
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match settings.format {
        Format::Json => Box::new(JsonLines::new(writer.clone())),
        Format::Text => {
            let ansi = io::stderr().is_terminal();
            Box::new(fmt::layer().with_writer(writer.clone()).with_ansi(ansi))
        }
    };
    let started = tracing_subscriber::registry().with(lines).with(filter(settings)).try_init();
    if started.is_ok() && LOG.set(writer).is_ok() {
        // What a panic says goes past the writer; what was logged before it shall stand before it.
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            flush();
            hook(panic);
        }));
    }
    Ok(())
}

/// What to log: what the settings say, and the audit log unless they say something about it.
fn filter(settings: &Settings) -> EnvFilter {
    let mut filter = settings.filter.clone();
    if !filter.contains(AUDIT) {
        let _infallible = write!(filter, ",{AUDIT}=info");
    }
    EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"))
}

/// Returns when all that was logged is written, or when whoever reads the log has taken nothing for a second. To be called before
/// the process ends.
pub fn flush() {
    if let Some(log) = LOG.get() {
        log.flush();
    }
}

/// Says something to people on standard error, behind all that was logged, and returns as [`flush`] does.
pub fn say(text: &str) {
    match LOG.get() {
        Some(log) => {
            log.push(text.as_bytes());
            log.flush();
        }
        None => {
            // When standard error is closed, nobody is there to be told.
            let _nobody_reads = io::stderr().write_all(text.as_bytes());
        }
    }
}

/// How many lines of the log were lost since the start of the process.
fn lost_lines() -> u64 {
    LOG.get().map_or(0, Writer::lost)
}

/// The line for people that stands where so many were lost.
fn lost_text(lines: u64) -> Vec<u8> {
    let at = DateTime::<Utc>::UNIX_EPOCH + since_epoch();
    let at = at.to_rfc3339_opts(SecondsFormat::Micros, true);
    format!("{at}  WARN vestibule::telemetry: {LOST} lines={lines}\n").into_bytes()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a line tells when it was written here, whatever the store's clock shows"
)]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// An error with all of its causes, on one line: what an operator reads. A cause whose words already stand at
/// the end is left out.
pub fn explain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let told = cause.to_string();
        if !text.ends_with(&told) {
            let _infallible = write!(text, ": {told}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn an_error_is_told_with_its_causes_each_once() {
        let io = Layer("Connection refused", None);
        let driver = Layer("it failed: Connection refused", Some(Box::new(io)));
        let store = Layer("the store is away", Some(Box::new(driver)));

        assert_eq!(explain(&store), "the store is away: it failed: Connection refused");
        assert_eq!(explain(&Layer("alone", None)), "alone");
    }
}
