//! `vestibule serve`: the service on its two sockets, until a signal.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::{Exit, Signals, block_on, complain, files, list, start_log};
use crate::config::Config;
use crate::service::{Listeners, Service, StartError};
use crate::store::OpenError;
use crate::telemetry::explain;

pub(super) fn run(file: Option<&Path>) -> Exit {
    let config = match files::load(file) {
        Ok(config) => config,
        Err(faults) => return list(&faults, io::stderr()),
    };
    if let Err(exit) = start_log(&config.log) {
        return exit;
    }
    for warning in &config.warnings {
        tracing::warn!("configuration: {warning}");
    }
    let listeners = bind(config.server.listen, "server.listen")
        .and_then(|public| Ok(Listeners { public, ops: bind(config.ops.listen, "ops.listen")? }));
    match listeners {
        Ok(listeners) => block_on(serve(config, listeners)),
        Err(exit) => exit,
    }
}

async fn serve(config: Config, listeners: Listeners) -> Exit {
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            return complain(
                &format!("cannot listen for signals: {}", explain(&error)),
                Exit::Away,
            );
        }
    };
    let public_url = config.server.public_url.to_string();
    let (public, ops) = (address(&listeners.public), address(&listeners.ops));
    let service = match Service::start(config).await {
        Ok(service) => service,
        Err(error) => return complain(&explain(&error), exit_of(&error)),
    };
    tracing::info!(public, ops, public_url, "serving");
    let stop = CancellationToken::new();
    tokio::select! {
        served = service.serve(listeners, stop.clone()) => match served {
            Ok(()) => {
                tracing::info!("stopped");
                Exit::Done
            }
            Err(error) => complain(&explain(&error), Exit::No),
        },
        () = signals.pass_on(stop) => complain("told twice to stop: requests under way are cut off", Exit::No),
    }
}

fn bind(address: SocketAddr, key: &str) -> Result<TcpListener, Exit> {
    TcpListener::bind(address).map_err(|error| {
        let exit = match error.kind() {
            // Neither goes away by waiting: the address is not this machine's, or the port is for root.
            ErrorKind::AddrNotAvailable | ErrorKind::PermissionDenied => Exit::Usage,
            _ => Exit::Away,
        };
        complain(&format!("cannot listen on {address} ({key}): {error}"), exit)
    })
}

/// Where a socket listens, with the port that it was given when it asked for any.
fn address(listener: &TcpListener) -> String {
    listener.local_addr().map_or_else(|_| "unknown".to_owned(), |address| address.to_string())
}

fn exit_of(error: &StartError) -> Exit {
    match error {
        StartError::Store(
            OpenError::InUse { .. } | OpenError::NoFolder { .. } | OpenError::File { .. },
        ) => Exit::Away,
        StartError::Store(OpenError::Url) | StartError::Provider { .. } => Exit::Usage,
        StartError::Twilio(_) | StartError::Metrics(_) => Exit::No,
    }
}
