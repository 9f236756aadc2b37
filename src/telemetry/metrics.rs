//! The series of one running service, and their text.

use std::sync::Arc;
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString,
};
use metrics_exporter_prometheus::{
    BuildError, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

/// The series of one running service. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    lost_lines: Counter,
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
        let name = "vestibule_log_lines_lost_total";
        let lost_lines = recorder.register_counter(&key(name, &[]), &METADATA);
        let metrics = Self { recorder: Arc::new(recorder), handle, lost_lines };
        metrics.describe(name, "Lines of the log that were lost because nobody read them.");
        Ok(metrics)
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

    /// The gauge `name` with these labels.
    pub fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        self.recorder.register_gauge(&key(name, labels), &METADATA)
    }

    /// The histogram `name`, in seconds, with these labels.
    pub fn histogram(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Histogram {
        self.recorder.register_histogram(&key(name, labels), &METADATA)
    }

    /// All series in Prometheus' text format.
    pub fn render(&self) -> String {
        self.lost_lines.absolute(super::lost_lines());
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
