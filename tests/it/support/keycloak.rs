//! Keycloak, started once for all tests: it takes ten seconds and half a gigabyte.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use tokio::sync::OnceCell;

use super::process::{Process, e2e, tools};
use super::story::Who;

/// The client in the realm; any path on 127.0.0.1, on any port, is its redirect URI.
pub const CLIENT_ID: &str = "vestibule";
/// Its secret.
pub const CLIENT_SECRET: &str = "keycloak-client-secret";
/// Verified, with the roles `chat` and `chat-agent`, in the groups `staff`, `support` and `team-blue`.
pub const ALICE: Who<'static> = Who {
    login: "alice",
    password: "alice-of-keycloak",
    sub: "a11ce000-0000-4000-8000-000000000001",
};
/// Not verified, with the role `chat`, in the group `staff`.
pub const BOB: Who<'static> =
    Who { login: "bob", password: "bob-of-keycloak", sub: "b0b00000-0000-4000-8000-000000000002" };
/// Verified, with the role `chat`, in no group.
pub const CAROL: Who<'static> = Who {
    login: "carol",
    password: "carol-of-keycloak",
    sub: "ca801000-0000-4000-8000-000000000003",
};

/// The running Keycloak.
pub struct Keycloak {
    /// The realm's issuer.
    pub issuer: String,
    _process: Process,
}

impl Keycloak {
    /// The one Keycloak of this test binary, started by whoever asks first; it ends with the binary.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Keycloak> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    async fn start() -> Self {
        let unpacked = tools("keycloak");
        assert!(
            unpacked.exists(),
            "Keycloak is missing: run ./tests/run once, it installs what the tests need"
        );

        // A home of its own, which borrows what is only read, so that two test runs at once do not share a data folder.
        // kc.sh finds its home by where it lies itself, so it is copied.
        let home = tempfile::tempdir().expect("a temporary folder").keep();
        for borrowed in ["conf", "lib", "providers", "themes"] {
            symlink(unpacked.join(borrowed), home.join(borrowed)).expect("a link");
        }
        fs::create_dir_all(home.join("data/import")).expect("a folder");
        fs::copy(e2e("keycloak/realm.json"), home.join("data/import/realm.json"))
            .expect("the realm");
        fs::create_dir(home.join("bin")).expect("a folder");
        fs::copy(unpacked.join("bin/kc.sh"), home.join("bin/kc.sh")).expect("the starter");

        // Optimized for the in-memory database by `./tests/run`; the rest is what makes it a plain server on loopback.
        let mut command = Command::new(home.join("bin/kc.sh"));
        command
            .args(["start", "--optimized", "--import-realm", "--cache=local"])
            .args([
                "--http-enabled=true",
                "--http-host=127.0.0.1",
                "--http-port=0",
                "--hostname-strict=false",
            ])
            .env("JAVA_OPTS_KC_HEAP", "-Xms64m -Xmx512m")
            // The second compiler pays off after minutes; without it the start takes two thirds of the time.
            .env("JAVA_OPTS_APPEND", "-XX:TieredStopAtLevel=1");
        let mut process = Process::start_in(&home, &command);
        let base = process
            .wait_for(Duration::from_mins(3), |line| {
                line.split_once("Listening on: ").map(|(_, url)| url.trim_end().to_owned())
            })
            .await;
        Self { issuer: format!("{base}/realms/vestibule"), _process: process }
    }
}
