//! Twilio's own library, which judges the tokens that the service hands out.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use super::process::e2e;

/// Has npm's `twilio` verify the token and compare it with the one that it makes from the same facts.
///
/// # Panics
///
/// When it finds a difference, with that difference.
pub fn approves(token: &str, identity: &str) {
    let node = e2e("node_modules/.bin/node");
    assert!(
        node.exists(),
        "Node is missing: run ./tests/run once, it installs what the tests need"
    );
    // The account of `service::TWILIO`.
    let facts = json!({
        "token": token,
        "account": "AC00000000000000000000000000000000",
        "key": "SK11111111111111111111111111111111",
        "secret": "canary-twilio-api-key-secret-0001",
        "service": "IS22222222222222222222222222222222",
        "identity": identity,
    });

    let mut check = Command::new(node);
    check
        .arg(e2e("twilio/check.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut check = check.spawn().unwrap();
    check.stdin.take().unwrap().write_all(facts.to_string().as_bytes()).unwrap();
    let verdict = check.wait_with_output().unwrap();

    assert!(verdict.status.success(), "{}", String::from_utf8_lossy(&verdict.stderr));
}
