//! `vestibule demo`: everything in one process, until a signal.

use std::io::{self, Write};
use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use super::{Exit, Signals, block_on, complain, start_log};
use crate::demo::{self, DemoError};
use crate::telemetry::{AUDIT, Format, Settings, explain};

pub(super) fn run(listen: Option<SocketAddr>) -> Exit {
    // What people shall see is the URL; of the log only what is amiss, and what the reference on a page stands for.
    let filter = format!("warn,vestibule::http::problem=info,{AUDIT}=off");
    if let Err(exit) = start_log(&Settings { format: Format::Text, filter, pii: false }) {
        return exit;
    }
    block_on(until_a_signal(listen))
}

async fn until_a_signal(listen: Option<SocketAddr>) -> Exit {
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            return complain(
                &format!("cannot listen for signals: {}", explain(&error)),
                Exit::Away,
            );
        }
    };
    let stop = CancellationToken::new();
    tokio::select! {
        ended = demo::run(listen, stop.clone(), announce) => match ended {
            Ok(()) => Exit::Done,
            Err(error) => complain(&explain(&error), exit_of(&error)),
        },
        () = signals.pass_on(stop) => Exit::No,
    }
}

/// One URL on a line of its own, so that a script can read it.
fn announce(url: &str) {
    let _nobody_reads = writeln!(io::stdout().lock(), "{url}");
}

fn exit_of(error: &DemoError) -> Exit {
    match error {
        DemoError::NotLoopback { .. } => Exit::Usage,
        DemoError::Listen { .. } | DemoError::Folder(_) | DemoError::Random(_) => Exit::Away,
        DemoError::Config(_) | DemoError::Start(_) | DemoError::Serve(_) | DemoError::World(_) => {
            Exit::No
        }
    }
}
