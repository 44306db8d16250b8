//! A browser without a window, driven as a reader drives it. It reaches this machine only.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use thirtyfour::prelude::*;
use thirtyfour::{BrowserLogEntry, ChromiumLikeCapabilities, LoggingPrefsLogLevel};

/// How long a page may take for what takes seconds.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// A running Chromium.
pub struct Browser {
    driver: WebDriver,
    process: Child,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts one; `None` where it is not installed (Debian: `chromium` and `chromium-driver`).
    ///
    /// # Panics
    /// It is installed and does not start.
    #[allow(clippy::expect_used, reason = "test support")]
    pub async fn start() -> Option<Self> {
        let is_there = |program: &str| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
        if !is_there("chromium") || !is_there("chromedriver") {
            return None;
        }
        let mut process =
            Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).spawn().expect("chromedriver starts");
        let said = BufReader::new(process.stdout.take().expect("its output"));
        let port = said
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                line.strip_prefix("ChromeDriver was started successfully on port ")?
                    .strip_suffix('.')?
                    .parse::<u16>()
                    .ok()
            })
            .expect("chromedriver says its port");
        let profile = tempfile::tempdir().expect("a folder");
        let mut capabilities = DesiredCapabilities::chrome();
        for flag in [
            "--headless".to_owned(),
            "--no-sandbox".into(),
            "--disable-gpu".into(),
            "--disable-quic".into(),
            "--no-first-run".into(),
            "--disable-background-networking".into(),
            "--disable-component-update".into(),
            "--disable-sync".into(),
            "--window-size=1300,1000".into(),
            // Any other machine's name leads nowhere.
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1".into(),
            format!("--user-data-dir={}", profile.path().display()),
        ] {
            capabilities.add_arg(&flag).expect("a flag");
        }
        capabilities.set_logging_prefs("browser", LoggingPrefsLogLevel::All).expect("a preference");
        capabilities.set_logging_prefs("performance", LoggingPrefsLogLevel::All).expect("a preference");
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), capabilities).await.expect("a browser");
        let browser = Self { driver, process, _profile: profile };
        // What the browser shows of its own before the first page is not the page's.
        browser.open("about:blank").await;
        let _ = (browser.requests().await, browser.console().await);
        Some(browser)
    }

    /// Loads a page.
    ///
    /// # Panics
    /// It cannot be loaded.
    #[allow(clippy::expect_used, reason = "test support")]
    pub async fn open(&self, url: &str) {
        self.driver.goto(url).await.expect("a page");
    }

    /// What a function's body returns on the page.
    ///
    /// # Panics
    /// It throws.
    #[allow(clippy::panic, reason = "test support")]
    pub async fn run(&self, body: &str) -> Value {
        match self.driver.execute(body, Vec::new()).await {
            Ok(value) => value.json().clone(),
            Err(error) => panic!("{body}: {error}"),
        }
    }

    /// Waits until an expression is true on the page, and says whether it came to that.
    pub async fn comes_to(&self, expression: &str) -> bool {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if self.run(&format!("return Boolean({expression})")).await == json!(true) {
                return true;
            }
            if tokio::time::Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Everything that was written to the console since the last look: errors of scripts, of loading, of the policy.
    ///
    /// # Panics
    /// The browser is gone.
    #[allow(clippy::expect_used, reason = "test support")]
    pub async fn console(&self) -> Vec<BrowserLogEntry> {
        self.driver.browser_log().await.expect("a log")
    }

    /// Addresses that pages asked for since the last look.
    ///
    /// # Panics
    /// The browser is gone.
    #[allow(clippy::expect_used, reason = "test support")]
    pub async fn requests(&self) -> Vec<String> {
        let events = self.driver.get_log("performance").await.expect("a log");
        let requested = |entry: &BrowserLogEntry| {
            let event: Value = serde_json::from_str(&entry.message).ok()?;
            let message = event.get("message")?;
            (message.get("method")? == "Network.requestWillBeSent").then_some(())?;
            Some(message.pointer("/params/request/url")?.as_str()?.to_owned())
        };
        events.iter().filter_map(requested).collect()
    }

    /// Makes the window as large as a phone's.
    ///
    /// # Panics
    /// The browser is gone.
    #[allow(clippy::expect_used, reason = "test support")]
    pub async fn resize(&self, width: u32, height: u32) {
        self.driver.set_window_rect(0, 0, width, height).await.expect("a window");
    }

    /// Ends it.
    pub async fn quit(mut self) {
        let _ = self.driver.clone().quit().await;
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
