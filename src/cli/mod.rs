//! The command line: arguments in, exit code out; each command a file.
//!
//! Owns what is said on standard output and error before and after the log, sockets, signals, and the exit codes. Does not own
//! what is served (`service`), what a good configuration is (`config`), nor what operators may look up and change (`ops`).

mod access;
mod block;
mod check;
mod client;
mod demo;
mod explain;
mod files;
mod guests;
mod move_identity;
mod plan_guests;
mod serve;
mod terminal;
mod what_if;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::{Fault, MOST_GUESTS};
use crate::login;
use crate::store::StoreError;
use crate::telemetry::{self, explain};

/// An OIDC adapter for Twilio Conversations: a login at your identity provider becomes a signed access token.
#[derive(Parser)]
#[command(name = "vestibule", version, arg_required_else_help = true)]
#[command(after_help = "Example:\n  vestibule demo\n\n\
    Exit codes: 0 done, 1 the answer is no, 2 bad usage or configuration, 3 something needed is away.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT; then finish the requests under way.
    #[command(after_help = "Example:\n  vestibule serve --config /etc/vestibule/vestibule.toml")]
    Serve(ConfigFile),
    /// Try everything in one process on loopback, with people and a Twilio account that are made up.
    #[command(after_help = "Example:\n  vestibule demo --listen 127.0.0.1:8080")]
    Demo(Demo),
    /// Say everything that is wrong with the configuration, then ask each provider and the store.
    #[command(after_help = "Example:\n  vestibule check --config /etc/vestibule/vestibule.toml")]
    Check(ConfigFile),
    /// Say why somebody was not let in, who an identity is, or what a provider's policy makes of claims.
    ///
    /// Of a denial: when, where, who, why, the claims that rules read, each rule with its value or error, and what to change. Of an
    /// identity: whose it is, and what was decided about that subject last. Of claims: those that rules read, each rule with its
    /// value or error, the decision, and the identity. Role, conversations and attributes are decided and shown only: writing them
    /// to Twilio comes with a later version.
    #[command(after_help = "Examples:\n  vestibule explain 7K3M9-QX2TB\n  \
        vestibule explain 542cbca3-8a8c-5efd-8e85-bc65d6f6f011 --json\n  \
        vestibule explain --provider corp claims.json\n  \
        some-command | vestibule explain --provider corp -\n\n\
        With --provider nothing is asked of store or network, and no secret has to be at hand. Exit codes: 0 let in or found, \
        1 denied or not found.")]
    Explain(Explain),
    /// Try a changed configuration's policies on the last claims of everybody who is known, and say for whom something changes.
    ///
    /// Changes nothing. Role, conversations and attributes are decided and shown only: writing them to Twilio comes with a later
    /// version.
    #[command(after_help = "Example:\n  \
        vestibule what-if vestibule.new.toml --config /etc/vestibule/vestibule.toml\n\n\
        The new file is a whole configuration; its secrets need not be at hand. Exit codes: 0 nobody loses access, \
        1 somebody does, or gets an identity that another has, 3 some of what is kept cannot be read.")]
    WhatIf(WhatIf),
    /// Give an identity to another subject: for somebody whom the provider calls otherwise now. All sessions of both end.
    #[command(after_help = "Example:\n  \
        vestibule move-identity 542cbca3-8a8c-5efd-8e85-bc65d6f6f011 --provider corp --subject 00u1a2b3\n\n\
        A move that stopped half way is finished by the same command. Exit codes: 0 moved, 1 not moved.")]
    MoveIdentity(MoveIdentity),
    /// Block an identity: all sessions of whoever has it end, and nobody comes in with it, whichever way they try.
    ///
    /// It stays blocked until it is unblocked. An identity that nobody has can be blocked too.
    #[command(after_help = "Example:\n  \
        vestibule block 542cbca3-8a8c-5efd-8e85-bc65d6f6f011\n\n\
        A block that stopped half way is finished by the same command. Exit codes: 0 blocked, 3 also when a replica of the store \
        may not have it yet.")]
    Block(OneIdentity),
    /// Let whoever has an identity sign in again.
    #[command(after_help = "Example:\n  \
        vestibule unblock 542cbca3-8a8c-5efd-8e85-bc65d6f6f011\n\n\
        Sessions that a block has ended stay ended. Exit codes: 0 not blocked, 3 also when a replica of the store may not have it \
        yet.")]
    Unblock(OneIdentity),
    /// End all sessions of whoever has an identity, on all devices; they can sign in again.
    #[command(after_help = "Example:\n  \
        vestibule end-sessions 542cbca3-8a8c-5efd-8e85-bc65d6f6f011\n\n\
        Exit codes: 0 ended, 1 nobody has the identity, 3 also when a replica of the store may not have it yet.")]
    EndSessions(OneIdentity),
    /// Show the pool of guests: how many are lent, cooling and idle, and how many the month is billed for.
    #[command(after_help = "Examples:\n  \
        vestibule guests\n  \
        vestibule guests --json\n  \
        vestibule guests --quarantine\n\n\
        --quarantine is for a store that was restored from a copy: it ends all leases, and lends nothing until each token that the copy \
        does not know of has ended. Exit codes: 0 shown, 1 the configuration has no guests.")]
    Guests(Guests),
    /// Say how many guests a pool needs, whom a smaller one refuses, and what Twilio bills for it, beside one identity each visitor.
    ///
    /// How a visit holds a guest: the visitor's app asks for a token at its arrival, and again three minutes before each ends (a
    /// short one at half its life) while the visitor stays; nobody says goodbye, so that the lease ends its whole length after the
    /// last token (5m after the first when there was no other, and 12h after the arrival at the latest), and then the guest cools
    /// down. Each visit is somebody who was not here before.
    ///
    /// A guest is scrubbed in no time here. At Twilio each conversation of guests.conversations takes two writes a visitor, in and
    /// out, and Vestibule makes 25 writes a second there: with one conversation 45,000 guests an hour, with two half as many. The
    /// busiest hour is compared with that.
    #[command(after_help = "Examples:\n  vestibule plan-guests --rate 200/h --stay 12m\n  \
        vestibule plan-guests arrivals.csv --sizes 100,200 --chart pools.svg\n\n\
        The file:\n  arrival,stay\n  2026-11-24T12:00:00Z,12m\n  2026-11-24T12:00:07Z,95\n\n\
        The times are those of the configuration's [guests], or the defaults where it has none. Nothing is asked of store or \
        network, and no secret has to be at hand. The same question has the same answer. Exit codes: 0 a pool in question refuses \
        nobody, 1 each of them refuses somebody.")]
    PlanGuests(PlanGuests),
}

#[derive(Args)]
struct ConfigFile {
    /// The configuration; without it ./vestibule.toml, where there is one. VESTIBULE__ variables go before it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Args)]
struct Demo {
    /// Where the page to open is served; a loopback address, port 0 for any free one.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

#[derive(Args)]
struct Explain {
    /// A denial's reference, or an identity; with --provider, a file that holds claims as a JSON object, or - for
    /// standard input.
    #[arg(value_name = "WHAT")]
    what: OsString,
    /// Whose policy is to look at the claims in the file.
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(Args)]
struct WhatIf {
    /// The configuration to try.
    #[arg(value_name = "NEW.toml")]
    new: PathBuf,
    /// Print a JSON object for each change, and one at the end.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(Args)]
struct Guests {
    /// End all leases, and keep every guest back until no unknown token can live.
    #[arg(long)]
    quarantine: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(Args)]
struct OneIdentity {
    /// The identity.
    #[arg(value_name = "IDENTITY")]
    identity: String,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(Args)]
struct MoveIdentity {
    /// The identity.
    #[arg(value_name = "IDENTITY")]
    identity: String,
    /// The provider of the subject that is to have it.
    #[arg(long, value_name = "NAME")]
    provider: String,
    /// What the provider's subject claim says of that subject.
    #[arg(long, value_name = "VALUE")]
    subject: String,
    /// The subject's issuer; only for a provider with many tenants.
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(Args)]
struct PlanGuests {
    /// The visits: CSV with the header arrival,stay, or - for standard input. An arrival is a time or seconds since 1970, a stay a
    /// duration or seconds. 10,000,000 visits at most, which take up to 850 MB of memory.
    #[arg(value_name = "ARRIVALS.csv", required_unless_present = "rate", conflicts_with = "rate")]
    arrivals: Option<PathBuf>,
    /// Instead of a file: how many come, independently of each other.
    #[arg(long, value_name = "200/h", requires = "stay", value_parser = plan_guests::Rate::parse)]
    rate: Option<plan_guests::Rate>,
    /// How long one of them stays on average; most stay for less.
    #[arg(long, value_name = "12m", requires = "rate", conflicts_with = "arrivals", value_parser = plan_guests::duration)]
    stay: Option<Duration>,
    /// For how long they come.
    #[arg(
        long = "for", value_name = "30d", requires = "rate", conflicts_with = "arrivals", default_value = "30d",
        value_parser = plan_guests::duration
    )]
    during: Duration,
    /// The pools in question; without it some around what is needed.
    #[arg(
        long, value_name = "100,200", value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_GUESTS))
    )]
    sizes: Vec<u32>,
    /// How long a token lives. Default that of the configuration, else 30m.
    #[arg(long, value_name = "30m", value_parser = plan_guests::duration)]
    token_ttl: Option<Duration>,
    /// How long a guest is held after each token. Default that of the configuration, else 30m.
    #[arg(long, value_name = "30m", value_parser = plan_guests::duration)]
    lease: Option<Duration>,
    /// How long it rests after that. Default that of the configuration, else 10m.
    #[arg(long, value_name = "10m", value_parser = plan_guests::duration)]
    cooldown: Option<Duration>,
    /// Draw a chart by pool size, as SVG, into this file.
    #[arg(long, value_name = "FILE.svg")]
    chart: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: ConfigFile,
}

/// Why a command cannot do what it was asked to.
#[derive(Debug)]
struct Trouble {
    exit: Exit,
    text: String,
}

impl Trouble {
    fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::new(Exit::Away, explain(&error))
    }
}

/// How a command ended: the contract's exit codes (§8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Exit {
    Done = 0,
    /// The answer is no, or what should have gone on ended.
    No = 1,
    /// Bad usage or configuration.
    Usage = 2,
    /// Something needed is away.
    Away = 3,
}

/// Runs the command that `arguments` name, the program's own name first, and says with which code the process should end.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help goes to standard output, a complaint to standard error; when neither takes it, nobody is there to be told.
            let _nobody_reads = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    install_cryptography();
    let exit = match arguments.command {
        Command::Serve(file) => serve::run(file.config.as_deref()),
        Command::Demo(demo) => demo::run(demo.listen),
        Command::Check(file) => check::run(file.config.as_deref()),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::WhatIf(arguments) => what_if::run(&arguments),
        Command::MoveIdentity(arguments) => move_identity::run(&arguments),
        Command::Block(arguments) => block::run(block::What::Block, &arguments),
        Command::Unblock(arguments) => block::run(block::What::Unblock, &arguments),
        Command::Guests(arguments) => guests::run(&arguments),
        Command::EndSessions(arguments) => block::run(block::What::EndSessions, &arguments),
        Command::PlanGuests(arguments) => plan_guests::run(&arguments),
    };
    telemetry::flush();
    exit.into()
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Chooses one implementation for TLS and JWT, whatever features other crates switch on: both would panic at their first use
/// when they find two.
fn install_cryptography() {
    // An error only says that the same one is there already.
    let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let _installed = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

/// Runs `work` to its end on all cores.
fn block_on(work: impl Future<Output = Exit>) -> Exit {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => {
            complain(&format!("the runtime does not start: {}", explain(&error)), Exit::Away)
        }
    }
}

/// The provider with this name.
fn provider_named<'a>(
    name: &str,
    providers: &'a [login::Settings],
) -> Result<&'a login::Settings, Trouble> {
    let names = || providers.iter().map(|it| it.provider.name.as_str());
    providers.iter().find(|it| it.provider.name.as_str() == name).ok_or_else(|| {
        let known = names().collect::<Vec<_>>().join(", ");
        let text = format!("there is no provider {}; there are: {known}", terminal::escaped(name));
        Trouble::new(Exit::Usage, text)
    })
}

/// Runs a command that can be in trouble, and says so.
fn answer(work: impl Future<Output = Result<Exit, Trouble>>) -> Exit {
    block_on(async { work.await.unwrap_or_else(|Trouble { exit, text }| complain(&text, exit)) })
}

/// The signals that end a process: SIGTERM, and SIGINT from a terminal.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from now on.
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Cancels `stop` at the first signal, and returns at the second: whoever sends one does not want to wait.
    async fn pass_on(mut self, stop: CancellationToken) {
        self.next().await;
        tracing::info!("stopping: requests under way are finished; a second signal ends at once");
        stop.cancel();
        self.next().await;
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Starts the log, or says why there is none.
fn start_log(settings: &telemetry::Settings) -> Result<(), Exit> {
    telemetry::start_log(settings)
        .map_err(|error| complain(&format!("the log does not start: {error}"), Exit::Away))
}

/// Says why the command ends, on standard error.
fn complain(what: &str, exit: Exit) -> Exit {
    telemetry::say(&format!("vestibule: {what}\n"));
    exit
}

/// Says all that is wrong with the configuration.
fn list(faults: &[Fault], mut out: impl Write) -> Exit {
    let count = match faults.len() {
        1 => "1 fault".to_owned(),
        count => format!("{count} faults"),
    };
    let mut text = format!("vestibule: the configuration has {count}:\n");
    for fault in faults {
        let _ = writeln!(text, "  {fault}");
    }
    let _nobody_reads = out.write_all(text.as_bytes());
    Exit::Usage
}
