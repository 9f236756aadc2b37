//! Keycloak, started once for all tests: it takes ten seconds and half a gigabyte. Whoever changes people or clients there makes some of
//! their own.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::process::{Process, e2e, tools};
use super::story::Who;

/// The client in the realm; any path on 127.0.0.1, on any port, is its redirect URI.
pub const CLIENT_ID: &str = "vestibule";
/// Its secret.
pub const CLIENT_SECRET: &str = "keycloak-client-secret";
/// The administrator's name and password.
const ADMIN: &str = "admin";
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
    base: String,
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
            .env("KC_BOOTSTRAP_ADMIN_USERNAME", ADMIN)
            .env("KC_BOOTSTRAP_ADMIN_PASSWORD", ADMIN)
            .env("JAVA_OPTS_KC_HEAP", "-Xms64m -Xmx512m")
            // The second compiler pays off after minutes; without it the start takes two thirds of the time.
            .env("JAVA_OPTS_APPEND", "-XX:TieredStopAtLevel=1");
        let mut process = Process::start_in(&home, &command);
        let base = process
            .wait_for(Duration::from_mins(3), |line| {
                line.split_once("Listening on: ").map(|(_, url)| url.trim_end().to_owned())
            })
            .await;
        Self { issuer: format!("{base}/realms/vestibule"), base, _process: process }
    }

    /// What an administrator does in the console, by its REST API: the answer's JSON, or where what was made is.
    ///
    /// # Panics
    ///
    /// When Keycloak refuses.
    pub async fn administer(&self, method: Method, path: &str, body: &Value) -> Value {
        let http = Client::builder().no_proxy().build().unwrap();
        let token = http
            .post(format!("{}/realms/master/protocol/openid-connect/token", self.base))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!(
                "grant_type=password&client_id=admin-cli&username={ADMIN}&password={ADMIN}"
            ));
        let token: Value = read(token.send().await.unwrap()).await;
        let url = format!("{}/admin/realms/vestibule{path}", self.base);
        let bearer = format!("Bearer {}", token["access_token"].as_str().unwrap());
        let request = http.request(method, &url).header("authorization", bearer);
        let request = match body {
            Value::Null => request,
            body => request.header("content-type", "application/json").body(body.to_string()),
        };
        read(request.send().await.unwrap()).await
    }

    /// Makes a person of this name in these groups; their id.
    pub async fn person(&self, name: &str, groups: &[&str]) -> String {
        let person = json!({
            "username": name, "enabled": true, "email": format!("{name}@example.com"), "emailVerified": true, "firstName": name,
            "lastName": "Example", "groups": groups, "credentials": [{ "type": "password", "value": name }]
        });
        self.made("/users", &person).await
    }

    /// Makes something; its id.
    pub async fn made(&self, path: &str, thing: &Value) -> String {
        let location = self.administer(Method::POST, path, thing).await;
        location.as_str().unwrap().rsplit('/').next().unwrap().to_owned()
    }
}

async fn read(answer: reqwest::Response) -> Value {
    let (status, location) = (answer.status(), answer.headers().get("location").cloned());
    let body = answer.text().await.unwrap();
    assert!(status.is_success(), "{status}: {body}");
    match location {
        Some(location) => location.to_str().unwrap().into(),
        None => serde_json::from_str(&body).unwrap_or_default(),
    }
}
