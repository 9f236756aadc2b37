//! Configuration: the TOML file and the environment become each room's `Settings`, or the list of everything that is wrong.
//!
//! Owns the settings' names, their defaults, and what contradicts what. Does not own what they mean to the rooms, nor read the
//! file, the environment or a file of secrets itself: it is handed all three.

mod forms;
mod log;
mod provider;
mod reader;
mod server;
mod session;
mod store;
mod twilio;

#[cfg(test)]
mod example;

use std::io;
use std::path::Path;

use toml::Table;
use toml::de::DeTable;

pub use self::reader::Fault;
use self::reader::{Notes, Section};
use crate::{http, limits, login, ops, sessions, telemetry, token};

/// Everything that a running service is told, checked, without a contradiction.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`
    pub(crate) server: http::Settings,
    /// `[ops]`
    pub(crate) ops: ops::Settings,
    /// `[store]`
    pub(crate) store: crate::store::Settings,
    /// `[session]`
    pub(crate) session: sessions::Settings,
    /// `[twilio]`
    pub(crate) twilio: token::Settings,
    /// `[[provider]]`, at least one.
    pub(crate) providers: Vec<login::Settings>,
    /// `[limits]`
    pub(crate) limits: limits::Settings,
    /// `[log]`
    pub(crate) log: telemetry::Settings,
    /// What works but is probably not meant, a sentence each.
    pub(crate) warnings: Vec<String>,
}

impl Config {
    /// Reads a configuration: `text` is the file, empty for none; of `environment` the variables that begin with `VESTIBULE__` go
    /// before the file; `read_file` gives the text of a file of secrets. Pure but for what `read_file` does.
    ///
    /// # Errors
    ///
    /// Every [`Fault`] there is, at least one. When the file is not TOML, only where it is not, for nothing else is known then.
    pub fn parse(
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        read_file: &dyn Fn(&Path) -> io::Result<String>,
    ) -> Result<Self, Vec<Fault>> {
        let (config, notes) = reader::read_all(table(text)?, environment, read_file, read);
        let Notes { faults, warnings, .. } = notes;
        match config {
            Some(config) if faults.is_empty() => Ok(Self { warnings, ..config }),
            _ => Err(faults),
        }
    }
}

fn read(root: &mut Section<'_, '_>) -> Option<Config> {
    let (listen, server) = root.within("server", server::read);
    let ops = root.within("ops", |ops| server::read_ops(ops, listen));
    let store = root.within("store", store::read);
    root.within("seal", store::check_seal);
    let (idle, session) = root.within("session", session::read);
    let twilio = root.within("twilio", |twilio| twilio::read(twilio, idle));
    let mut before = Vec::new();
    let providers = root.each("provider", |provider| provider::read(provider, &mut before));
    let limits = root.within("limits", session::read_limits);
    let log = root.within("log", log::read);

    if providers.as_ref().is_some_and(Vec::is_empty) {
        root.fault::<()>(
            "provider",
            "is missing",
            "Without one nobody can log in: add a [[provider]].",
        );
    }
    if let (Some(twilio), Some(providers)) = (&twilio, &providers) {
        for (place, _) in
            providers.iter().enumerate().filter(|(_, provider)| provider.max_age < twilio.ttl)
        {
            root.warn(
                &format!("provider[{place}].max_age"),
                "is shorter than twilio.token_ttl: tokens end earlier than that says, with their session.",
            );
        }
    }
    Some(Config {
        server: server?,
        ops: ops?,
        store: store?,
        session: session?,
        twilio: twilio?,
        providers: providers?,
        limits: limits?,
        log: log?,
        warnings: Vec::new(),
    })
}

/// The file as a table. What the parser says is passed on: it tells what it wants there. What the reader behind it says is
/// not, for it quotes values, as the text of both does with whole lines.
fn table(text: &str) -> Result<Table, Vec<Fault>> {
    let (_, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mend = |error: &toml::de::Error| format!("The parser says: {}.", error.message());
        return Err(errors.iter().map(|error| not_toml(text, error, mend(error))).collect());
    }
    let mend = "A number there is too big.".to_owned();
    text.parse().map_err(|error| vec![not_toml(text, &error, mend)])
}

fn not_toml(text: &str, error: &toml::de::Error, mend: String) -> Fault {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    Fault { key: format!("line {line}, column {column}"), problem: "is not TOML", mend }
}
