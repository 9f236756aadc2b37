//! Stoplight's Prism: it stands before a server and holds each request and each answer against Twilio's own description of its API.

use std::process::Command;
use std::time::Duration;

use super::process::{Process, e2e};

/// Twilio's description, as its own package brings it.
const DESCRIPTION: &str =
    "node_modules/@twilio-alpha/mcp/twilio-oai/spec/json/twilio_conversations_v1.json";

/// One running Prism, ended on drop.
pub struct Prism {
    /// Where it is; without a slash at the end.
    pub url: String,
    process: Process,
}

impl Prism {
    /// A Prism before `upstream`. What violates the description does not pass: it answers 401, 404 or 422 for a request, 500 for an answer.
    pub async fn before(upstream: &str) -> Self {
        let description = e2e(DESCRIPTION);
        assert!(
            description.exists(),
            "Prism is missing: run ./tests/run once, it installs what the tests need"
        );
        let mut node = Command::new(e2e("node_modules/.bin/node"));
        node.arg(e2e("node_modules/.bin/prism"))
            .args(["proxy", "--errors", "--port", "0"])
            .arg(description)
            .arg(upstream);
        let mut process = Process::start(&node);
        let url = process
            .wait_for(Duration::from_mins(1), |line| {
                line.split_once("Prism is listening on ").map(|(_, url)| url.trim().to_owned())
            })
            .await;
        Self { url, process }
    }

    /// What it objected to so far, a line each. Answers that the description does not list, as it lists no error, are no objection.
    pub async fn objections(&mut self) -> Vec<String> {
        // A path that no description has: when Prism has said so, it has said all that it had to say before.
        let _refused = reqwest::get(format!("{}/that-is-all", self.url)).await.expect("it answers");
        let end = |line: &str| line.contains("/that-is-all") && line.contains("error");
        self.process.wait_for(Duration::from_secs(10), |line| end(line).then_some(())).await;
        let lines = self.process.said().iter();
        lines.filter(|line| line.contains(" error ") && !end(line)).cloned().collect()
    }
}
