//! Configuration: the TOML file and the environment become each room's `Settings`, or the list of everything that is wrong.
//!
//! Owns the settings' names, their defaults, and what contradicts what. Does not own what they mean to the rooms, nor read the
//! file, the environment or a file of secrets itself: it is handed all three.

mod client;
mod forms;
mod guests;
mod issuer;
mod log;
mod policy;
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

pub(crate) use self::forms::duration;
pub(crate) use self::guests::MOST as MOST_GUESTS;
pub use self::reader::Fault;
use self::reader::{Notes, ReadFile, Secrets, Section};
use crate::store::{OpenError, Store};
use crate::{denials, http, limits, login, mint, ops, seal, sessions, telemetry, token};

/// Everything that a running service is told, checked, without a contradiction.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`
    pub(crate) server: http::Settings,
    /// `[ops]`
    pub(crate) ops: ops::Settings,
    /// `[store]`
    pub(crate) store: crate::store::Settings,
    /// `[seal]`
    pub(crate) seal: seal::Settings,
    /// `[session]`, what ends one.
    pub(crate) session: sessions::Settings,
    /// `[session]`, what is kept of people.
    pub(crate) mint: mint::Settings,
    /// `[twilio]`
    pub(crate) twilio: token::Settings,
    /// `[twilio]`, for its REST API.
    pub(crate) twilio_api: crate::twilio::Settings,
    /// `[guests]`, if there is such a table.
    pub(crate) guests: Option<crate::guests::Settings>,
    /// `[[provider]]`, at least one.
    pub(crate) providers: Vec<login::Settings>,
    /// `[[client]]`
    pub(crate) clients: Vec<login::Client>,
    /// `[limits]`
    pub(crate) limits: limits::Settings,
    /// `[denials]`
    pub(crate) denials: denials::Settings,
    /// `[log]`
    pub(crate) log: telemetry::Settings,
    /// What works but is probably not meant, a sentence each.
    pub(crate) warnings: Vec<String>,
}

/// What can be said of a configuration without its secrets.
#[derive(Debug)]
pub(crate) struct Review {
    /// `[[provider]]`, at least one; another text stands where a client's secret would.
    pub(crate) providers: Vec<login::Settings>,
    /// `[guests]`, if there is such a table.
    pub(crate) guests: Option<crate::guests::Settings>,
}

impl Config {
    /// Opens the store, with the pool of guests if there are any.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub(crate) async fn open_store(
        &self,
        metrics: &telemetry::Metrics,
    ) -> Result<Store, OpenError> {
        match &self.guests {
            Some(guests) => {
                let pool = guests.pool_name(&self.twilio_api.service_sid);
                Store::open_with_pool(&self.store, &pool, metrics).await
            }
            None => Store::open(&self.store, metrics).await,
        }
    }

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
        parse(text, environment, read_file, Secrets::Needed)
    }

    /// Reads as [`Config::parse`] does the configuration of a service that is served elsewhere: a secret that is not at hand is no
    /// fault, and what cannot be served without one is left out of the answer.
    ///
    /// # Errors
    ///
    /// Every other [`Fault`] there is, at least one.
    pub(crate) fn review(
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        read_file: ReadFile<'_>,
    ) -> Result<Review, Vec<Fault>> {
        let config = parse(text, environment, read_file, Secrets::StoodInFor)?;
        Ok(Review { providers: config.providers, guests: config.guests })
    }
}

fn parse(
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
    read_file: ReadFile<'_>,
    secrets: Secrets,
) -> Result<Config, Vec<Fault>> {
    let (config, notes) = reader::read_all(table(text)?, environment, read_file, secrets, read);
    let Notes { faults, warnings, .. } = notes;
    match config {
        Some(config) if faults.is_empty() => Ok(Config { warnings, ..config }),
        _ => Err(faults),
    }
}

/// What tests see of the inside.
#[cfg(feature = "inside")]
impl Config {
    /// Each provider's policy, by the providers' names.
    pub fn policies(&self) -> impl Iterator<Item = &crate::policy::Policy> {
        self.providers.iter().map(|provider| &*provider.policy)
    }
}

fn read(root: &mut Section<'_, '_>) -> Option<Config> {
    let (listen, server) = root.within("server", server::read);
    let ops = root.within("ops", |ops| server::read_ops(ops, listen));
    let store = root.within("store", store::read);
    let seal = root.within("seal", store::read_seal);
    let (idle, session) = root.within("session", session::read);
    let twilio = root.within("twilio", |twilio| twilio::read(twilio, idle));
    let (twilio, twilio_api) = twilio.unzip();
    let guests = guests::read(root, server.as_ref(), twilio.as_ref());
    let (mut before, mut ids) = (Vec::new(), Vec::new());
    let providers = root.each("provider", |provider| provider::read(provider, &mut before));
    let clients = root.each("client", |client| client::read(client, &mut ids));
    if !ids.is_empty() && provider::share_an_issuer(&before) {
        root.fault::<()>(
            "client",
            "brings tokens of an issuer that two providers have",
            "Have one provider for each issuer, so that it is clear whose policy decides.",
        );
    }
    let limits = root.within("limits", session::read_limits);
    let denials = root.within("denials", session::read_denials);
    let log = root.within("log", log::read);

    if providers.as_ref().is_some_and(Vec::is_empty) {
        root.fault::<()>(
            "provider",
            "is missing",
            "Without one nobody can log in: add a [[provider]].",
        );
    }
    if let Some(providers) = &providers {
        let policies = providers.iter();
        let policies = policies.map(|login| (&*login.policy, login.provider.issuer.as_str()));
        policy::warn(root, &policies.collect::<Vec<_>>());
    }
    warn_of_max_age(root, seal.as_ref(), twilio.as_ref(), providers.as_deref());
    let (session, mint) = session?;
    Some(Config {
        server: server?,
        ops: ops?,
        store: store?,
        seal: seal?,
        session,
        mint,
        twilio_api: twilio_api?,
        twilio: twilio?,
        guests: guests?,
        providers: providers?,
        clients: clients?,
        limits: limits?,
        denials: denials?,
        log: log?,
        warnings: Vec::new(),
    })
}

/// Where nobody is asked again, a provider's `max_age` ends a session, and with it its tokens.
fn warn_of_max_age(
    root: &mut Section<'_, '_>,
    seal: Option<&seal::Settings>,
    twilio: Option<&token::Settings>,
    providers: Option<&[login::Settings]>,
) {
    let asks_nobody = seal.is_some_and(|seal| seal.keys.is_empty());
    if let (Some(twilio), Some(providers), true) = (twilio, providers, asks_nobody) {
        let ends_early = |provider: &login::Settings| provider.max_age < twilio.ttl;
        for (place, _) in providers.iter().enumerate().filter(|(_, provider)| ends_early(provider))
        {
            root.warn(
                &format!("provider[{place}].max_age"),
                "is shorter than twilio.token_ttl: tokens end earlier than that says, with their session.",
            );
        }
    }
}

/// The file as a table. What the parser says is passed on: it tells what it wants there. What the reader behind it says is
/// not, for it quotes values, as the text of both does with whole lines.
fn table(text: &str) -> Result<Table, Vec<Fault>> {
    let (_, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mut faults = Vec::new();
        let mut last = None;
        for error in &errors {
            let line = before(text, error).matches('\n').count();
            // What the parser finds in a line after the first error follows from it.
            if last.replace(line) == Some(line) {
                continue;
            }
            let hint = if is_in_policy(text, error) {
                " CEL's text stands in single quotes, '…', inside TOML's double ones."
            } else {
                ""
            };
            let mend = format!("The parser says: {}.{hint}", error.message());
            faults.push(not_toml(text, error, mend));
        }
        return Err(faults);
    }
    let mend = "A number there is too big.".to_owned();
    text.parse().map_err(|error| vec![not_toml(text, &error, mend)])
}

/// Whether the last table that is opened before the error is a policy.
fn is_in_policy(text: &str, error: &toml::de::Error) -> bool {
    let opens = |line: &&str| line.starts_with('[') && line.ends_with(']');
    let last = before(text, error).lines().map(str::trim).rfind(opens);
    last == Some("[provider.policy]")
}

fn before<'t>(text: &'t str, error: &toml::de::Error) -> &'t str {
    error.span().and_then(|span| text.get(..span.start)).unwrap_or_default()
}

fn not_toml(text: &str, error: &toml::de::Error, mend: String) -> Fault {
    let before = before(text, error);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    Fault { key: format!("line {line}, column {column}"), problem: "is not TOML", mend }
}
