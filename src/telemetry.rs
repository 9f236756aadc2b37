//! What operators see: the log's format and the metrics.
//!
//! Owns the subscriber and the registry. Does not own what is logged or counted: each room names its own events and registers
//! its own series when it is built.

use std::error::Error;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString};
use metrics_exporter_prometheus::{
    BuildError, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use tracing_subscriber::EnvFilter;

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

/// Starts the log of this process, on standard error. A second call changes nothing.
pub fn start_log(settings: &Settings) {
    let filter = EnvFilter::try_new(&settings.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // Whoever started a log before us in this process (a test) keeps it.
    let _already_started = match settings.format {
        Format::Json => log.json().flatten_event(true).try_init(),
        Format::Text => log.try_init(),
    };
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

/// The series of one running service. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

impl Metrics {
    /// An empty registry. Durations fall into buckets from 100 µs to 10 s.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when the exporter refuses the buckets, which are constant.
    pub fn new() -> Result<Self, BuildError> {
        const SECONDS: [f64; 15] = [
            0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
            2.5, 10.0,
        ];
        let recorder = PrometheusBuilder::new().set_buckets(&SECONDS)?.build_recorder();
        let handle = recorder.handle();
        Ok(Self { recorder: Arc::new(recorder), handle })
    }

    /// Says what `name` counts or measures, for `# HELP`: the exporter goes by the name alone.
    pub fn describe(&self, name: &'static str, what: &'static str) {
        self.recorder.describe_counter(
            KeyName::from_const_str(name),
            None,
            SharedString::const_str(what),
        );
    }

    /// The counter `name` with these labels; the same one again for the same labels.
    pub fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        self.recorder.register_counter(&key(name, labels), &METADATA)
    }

    /// The histogram `name`, in seconds, with these labels.
    pub fn histogram(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Histogram {
        self.recorder.register_histogram(&key(name, labels), &METADATA)
    }

    /// All series in Prometheus' text format.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds what histograms have gathered, again and again; without it their memory grows with every observation.
    pub async fn fold_for_ever(&self) {
        let mut every = tokio::time::interval(Duration::from_secs(5));
        loop {
            every.tick().await;
            self.handle.run_upkeep();
        }
    }
}

static METADATA: Metadata<'static> = Metadata::new("vestibule", Level::INFO, None);

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let labels = labels
        .iter()
        .map(|(name, value)| Label::new(*name, (*value).to_owned()))
        .collect::<Vec<_>>();
    Key::from_parts(name, labels)
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
