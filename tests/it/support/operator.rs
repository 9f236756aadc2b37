//! An operator with a shell: the built program, a folder with files, and the configuration of a running service.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::service::{TWILIO, TestService};

/// The token of the operators' API in tests.
pub const OPS_TOKEN: &str = "canary-ops-token-0001";

/// Somebody who runs commands beside a service.
pub struct Operator {
    folder: tempfile::TempDir,
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Said {
    pub exit: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Everything on standard output, of a command that ended so.
    pub fn with_exit(self, exit: i32) -> String {
        assert_eq!(self.exit, Some(exit), "{self:#?}");
        self.out
    }
}

impl Operator {
    /// An operator with a configuration of this store, whose API is on a port where nothing listens.
    pub fn with(store: &str, further: &str) -> Self {
        Self::with_ops("127.0.0.1:1".parse().unwrap(), store, further)
    }

    /// An operator with the configuration of this service.
    pub fn of(service: &TestService, store: &str, further: &str) -> Self {
        let ops = service.ops_url.strip_prefix("http://").unwrap().parse().unwrap();
        Self::with_ops(ops, store, further)
    }

    /// An operator without a configuration.
    pub fn with_nothing() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn with_ops(ops: SocketAddr, store: &str, further: &str) -> Self {
        let operator = Self::with_nothing();
        let token = format!("[ops]\nlisten = \"{ops}\"\ntoken = \"{OPS_TOKEN}\"\n");
        operator.write("vestibule.toml", &configuration(&token, store, further));
        operator
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Reads a file of the folder.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// Runs a command in the folder, with no more of an environment.
    pub fn run(&self, arguments: &[&str]) -> Said {
        run_in(self.folder.path(), arguments, Stdio::null())
    }

    /// As [`run`](Self::run), with a file of the folder on standard input.
    pub fn run_on(&self, input: &str, arguments: &[&str]) -> Said {
        let input = File::open(self.folder.path().join(input)).unwrap();
        run_in(self.folder.path(), arguments, input.into())
    }
}

/// Claims, but for these; `null` leaves one out.
pub fn but_for(mut claims: Value, changes: Value) -> Value {
    let (Value::Object(all), Value::Object(changes)) = (&mut claims, changes) else {
        panic!("claims are an object")
    };
    all.extend(changes);
    all.retain(|_, value| !value.is_null());
    claims
}

/// A configuration with this `[ops]`, store and providers.
pub fn configuration(ops: &str, store: &str, further: &str) -> String {
    format!(
        "{ops}\n[server]\npublic_url = \"http://localhost:8080\"\n[store]\nurl = \"{store}\"\n{TWILIO}\n{further}"
    )
}

fn run_in(folder: &Path, arguments: &[&str], input: Stdio) -> Said {
    let ended = Command::new(env!("CARGO_BIN_EXE_vestibule"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .stdin(input)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let said = Said { exit: ended.status.code(), out: text(ended.stdout), err: text(ended.stderr) };
    let everything = format!("{}{}", said.out, said.err);
    assert!(!everything.contains("panicked at"), "{said:#?}");
    for secret in [OPS_TOKEN, "canary-client-secret-0001", "canary-twilio-api-key-secret-0001"] {
        assert!(!everything.contains(secret), "{said:#?}");
    }
    said
}
