//! `[log]`: what is written on standard error, and how.

use tracing_subscriber::EnvFilter;

use super::reader::{Form, Section};
use crate::telemetry::{Format, Settings};

/// - `format`: `json`, one object a line, or `text`, for people. Default `json`.
/// - `pii`: whether e-mail and IP addresses may stand in the log. Default `false`.
/// - `filter`: what to log, as `RUST_LOG` spells it. Default `info`. It leaves the audit log alone unless it names it. Too much, and the log costs more than the service; too little,
///   and the reference on a person's error page leads nowhere.
pub(super) fn read(log: &mut Section<'_, '_>) -> Option<Settings> {
    let format = log.optional("format", &FORMAT, Format::Json);
    let pii = log.switch("pii", false);
    let filter = log.optional("filter", &FILTER, "info".to_owned());
    Some(Settings { format: format?, filter: filter?, pii: pii? })
}

const FORMAT: Form<Format> = Form {
    read: |text| match text {
        "json" => Ok(Format::Json),
        "text" => Ok(Format::Text),
        _ => Err("is not a format of the log"),
    },
    mend: "Write \"json\" or \"text\".",
};

const FILTER: Form<String> = Form {
    read: |text| match EnvFilter::try_new(text) {
        Ok(_) if !text.trim().is_empty() => Ok(text.to_owned()),
        _ => Err("is not a filter"),
    },
    mend: "Write it like \"info\" or \"warn,vestibule=debug\".",
};
