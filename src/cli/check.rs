//! `vestibule check`: what is wrong with the configuration, then what each provider and the store say when they are asked.

use std::fmt::Display;
use std::io::{self, Stdout, Write};
use std::path::Path;
use std::time::Duration;

use url::Url;

use super::terminal::spelled;
use super::{Exit, block_on, complain, files, list};
use crate::config::Config;
use crate::oidc::{LEEWAY, Provider};
use crate::store::{OpenError, Settings, Store};
use crate::telemetry::{Metrics, explain};

pub(super) fn run(file: Option<&Path>) -> Exit {
    match files::load(file) {
        Ok(config) => block_on(examine(config)),
        Err(faults) => list(&faults, io::stdout()),
    }
}

/// What was found, a line each as soon as it is known.
struct Findings {
    out: Stdout,
    worst: Exit,
}

impl Findings {
    fn good(&mut self, what: impl Display) {
        self.say("good", what);
    }

    /// It works, but is probably not meant.
    fn doubtful(&mut self, what: impl Display) {
        self.say("doubt", what);
    }

    /// It does not work: `exit` says of what kind that is.
    fn bad(&mut self, exit: Exit, what: impl Display) {
        self.say(if exit == Exit::Away { "away" } else { "bad" }, what);
        self.worst = self.worst.max(exit);
    }

    /// More about the finding before.
    fn detail(&mut self, what: impl Display) {
        self.say("", what);
    }

    fn say(&mut self, verdict: &str, what: impl Display) {
        // When standard output is closed, the exit code still tells.
        let _nobody_reads = writeln!(self.out, "{verdict:5}  {what}");
    }
}

async fn examine(config: Config) -> Exit {
    let mut findings = Findings { out: io::stdout(), worst: Exit::Done };
    let metrics = match Metrics::new() {
        Ok(metrics) => metrics,
        Err(error) => return complain(&explain(&error), Exit::No),
    };
    let ends = ends(&config);
    let mut providers = Vec::new();
    for settings in config.providers {
        let name = settings.provider.name.clone();
        match Provider::new(settings.provider, &metrics) {
            Ok(provider) => providers.push(provider),
            Err(error) => {
                findings.bad(Exit::Usage, format!("provider {name}: {}", explain(&error)));
            }
        }
    }
    if findings.worst == Exit::Usage {
        return Exit::Usage;
    }
    findings.good("configuration");
    for warning in &config.warnings {
        findings.doubtful(warning);
    }
    for provider in &providers {
        ask_provider(provider, &mut findings).await;
    }
    ask_store(&config.store, &metrics, &mut findings).await;
    findings.good("time until no valid token remains, at most (docs/SECURITY.md):");
    for (time, event) in ends {
        findings.detail(format!("{:<9} {event}", spelled(time)));
    }
    findings.worst
}

/// How long after each event somebody may still be in, who should not.
fn ends(config: &Config) -> Vec<(Duration, String)> {
    let ttl = config.twilio.ttl;
    let mut ends = vec![(
        ttl,
        "after somebody signed out, here or at a provider that tells us, or was blocked, or a restart with a policy that denies"
            .to_owned(),
    )];
    if let Some(guests) = &config.guests {
        ends.push((
            guests.pool.token,
            "after a visitor gave its guest back or signed in, or the guests were quarantined"
                .to_owned(),
        ));
    }
    let is_sealed = !config.seal.keys.is_empty();
    for login in &config.providers {
        let name = &login.provider.name;
        let asked = login.revalidate_after + ttl;
        let session = login.max_age.min(config.session.absolute);
        let cannot = if is_sealed { " and cannot be asked again" } else { "" };
        if is_sealed {
            ends.push((
                asked,
                format!("after {name} let somebody go, where it can be asked again"),
            ));
            ends.push((
                asked + login.grace,
                format!("after {name} let somebody go and was not reached since"),
            ));
        }
        let text = format!("after {name} let somebody go{cannot}, counted from their login");
        ends.push((session, text));
        if !(login.bearers.audiences.is_empty() && config.clients.is_empty()) {
            // A JWT's age, or what was said of an opaque token.
            let bearer = (login.bearers.max_age + LEEWAY).max(login.bearers.keep_answers);
            ends.push((
                bearer + ttl,
                format!("after {name} let somebody go who brings its tokens"),
            ));
        }
    }
    ends
}

async fn ask_provider(provider: &Provider, findings: &mut Findings) {
    let name = format!("provider {}", provider.settings().name);
    let found = match provider.discover().await {
        Ok(found) => found,
        Err(error) => {
            let mend = "Is the issuer right, and can this machine reach it? The service starts all the same, and asks again.";
            return findings.bad(Exit::Away, format!("{name}: {}. {mend}", explain(&error)));
        }
    };
    for warning in &found.warnings {
        findings.doubtful(format!("{name}: {warning}"));
    }
    if found.usable_keys == 0 {
        return findings
            .bad(Exit::No, format!("{name}: nobody can log in, for no ID token can be verified"));
    }
    findings.good(&name);
    let tenants = &provider.settings().tenants;
    if !tenants.is_empty() {
        findings.detail(format!("tenants   {}", tenants.join(", ")));
    }
    findings.detail(format!("login     {}", found.authorization_endpoint));
    if let Some(pushed) = &found.par_endpoint {
        findings.detail(format!("pushed    {pushed}"));
    }
    findings.detail(format!("token     {}", found.token_endpoint));
    if let Some(userinfo) = &found.userinfo_endpoint {
        findings.detail(format!("userinfo  {userinfo}"));
    }
    for (name, endpoint) in [
        ("sign-out", &found.end_session_endpoint),
        ("revokes", &found.revocation_endpoint),
        ("looks up", &found.introspection_endpoint),
    ] {
        let place = endpoint.as_ref().map_or("nowhere, as far as it says", Url::as_str);
        findings.detail(format!("{name:<9} {place}"));
    }
    let logout_tokens = if found.sends_logout_tokens { "yes" } else { "it does not say so" };
    findings.detail(format!("logout    sends logout tokens: {logout_tokens}"));
    // What comes from outside must not steer the terminal, nor fill it.
    let algorithms = found.algorithms.iter().take(16).map(|name| name.escape_debug().to_string());
    let algorithms = algorithms.collect::<Vec<_>>().join(", ");
    let signs = if algorithms.is_empty() { "" } else { "; signs with " };
    findings.detail(format!(
        "keys      {}, {} usable{signs}{algorithms}",
        found.jwks_uri, found.usable_keys
    ));
}

async fn ask_store(settings: &Settings, metrics: &Metrics, findings: &mut Findings) {
    if let Settings::Embedded { path } = settings
        && !path.exists()
    {
        // Opening it would make it, as a file of whoever runs the check and not of the service.
        if path.parent().is_none_or(|folder| folder.as_os_str().is_empty() || folder.is_dir()) {
            return findings.good("store: its file is not there yet; the service makes it");
        }
    }
    let store = match Store::open(settings, metrics).await {
        Ok(store) => store,
        Err(OpenError::InUse { path }) => {
            return findings.doubtful(format!(
                "store: another process has {} open, so that it cannot be asked; that is right while the service runs",
                path.display()
            ));
        }
        Err(error) => return findings.bad(Exit::Away, format!("store: {}", explain(&error))),
    };
    match store.examine().await {
        Ok(health) => {
            let health = health.value;
            for warning in &health.warnings {
                findings.doubtful(format!("store: {warning}"));
            }
            for fault in &health.faults {
                findings.bad(Exit::No, format!("store: {fault}"));
            }
            if health.faults.is_empty() {
                findings.good(format!("store: {}", health.what));
            }
        }
        Err(error) => findings.bad(
            Exit::Away,
            format!("store: {}. Is store.url right, and is it running?", explain(&error)),
        ),
    }
}
