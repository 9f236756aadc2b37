//! Headless Chromium, driven by Debian's chromedriver.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::Process;

/// One browser with an empty profile, ended on drop.
pub struct Browser {
    /// The session that chromedriver holds.
    pub client: Client,
    // In this order: the profile is removed when nothing writes to it any more.
    _driver: Process,
    _profile: TempDir,
}

impl Browser {
    /// Starts chromedriver on a free port and a Chromium under it.
    pub async fn start() -> Self {
        let profile = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new("chromedriver");
        // Chromium's sockets and scratch files go where the profile goes.
        command.arg("--port=0").env("TMPDIR", profile.path());
        // It looks for a port that is free for IPv4, and another test may have that one for IPv6.
        let (driver, port) = loop {
            let mut driver = Process::start(&command);
            let said = driver.wait_for(Duration::from_secs(30), |line| {
                let port = line.split_once("successfully on port ");
                let port = port.map(|(_, port)| Some(port.trim_end_matches('.').to_owned()));
                port.or_else(|| line.contains("Address already in use").then_some(None))
            });
            if let Some(port) = said.await {
                break (driver, port);
            }
        };

        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let Value::Object(capabilities) = json!({ "goog:chromeOptions": { "args": arguments } })
        else {
            unreachable!()
        };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("chromedriver starts Chromium");
        Self { client, _driver: driver, _profile: profile }
    }

    /// Opens a page and waits for it to load.
    pub async fn open(&self, url: &str) {
        self.client.goto(url).await.unwrap_or_else(|error| panic!("{url} opens: {error}"));
    }

    /// The element, once it can be seen: half a minute at most.
    pub async fn find(&self, css: &str) -> Element {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(30) {
            if let Ok(element) = self.client.find(Locator::Css(css)).await
                && element.is_displayed().await.unwrap_or_default()
            {
                return element;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let source = self.client.source().await.unwrap_or_default();
        panic!("{css} does not appear in:\n{source}")
    }

    /// Clicks it, once it can be seen.
    pub async fn click(&self, css: &str) {
        self.find(css)
            .await
            .click()
            .await
            .unwrap_or_else(|error| panic!("{css} takes a click: {error}"));
    }

    /// Its text as a person sees it, once it can be seen.
    pub async fn text(&self, css: &str) -> String {
        loop {
            // Found on a page that the browser is about to leave, it has gone by now: the next page may have it too.
            if let Ok(text) = self.find(css).await.text().await {
                return text;
            }
        }
    }

    /// Keeps pictures of the page, 390 and 1280 pixels wide, in the folder that `VESTIBULE_TEST_SCREENSHOTS` names, if it
    /// names one.
    pub async fn picture(&self, name: &str) {
        let Some(folder) = std::env::var_os("VESTIBULE_TEST_SCREENSHOTS") else { return };
        for width in [390, 1280] {
            let size = "the window changes its size";
            self.client.set_window_size(width, 900).await.expect(size);
            let height =
                self.client.execute("return document.documentElement.scrollHeight", vec![]).await;
            let height =
                height.ok().and_then(|height| height.as_u64()).expect("a page has a height");
            // A window's height counts its frame, some 140 pixels.
            self.client
                .set_window_size(width, u32::try_from(height).unwrap() + 150)
                .await
                .expect(size);
            let picture = self.client.screenshot().await.expect("a picture");
            fs::create_dir_all(&folder).expect("the folder for pictures");
            fs::write(Path::new(&folder).join(format!("{name}-{width}.png")), picture)
                .expect("a file");
        }
    }
}
