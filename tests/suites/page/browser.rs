//! A real browser: Debian's Chromium without a window, driven by WebDriver (W3C).

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use caracal_tests::processes::{Process, folder, free_address, until};
use serde_json::{Value, json};

/// A browser that starts on a busy machine takes its time.
const DEADLINE: Duration = Duration::from_secs(180);
/// A member by which WebDriver names elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// The size of its window, and of the picture in the docs.
const WINDOW: (u32, u32) = (1000, 1440);

pub struct Browser {
    address: SocketAddr,
    session: String,
    _driver: Process,
}

impl Browser {
    pub fn start() -> Self {
        Browser::with(&[], true)
    }

    /// With more arguments, and with or without scripts.
    pub fn with(arguments: &[&str], scripts: bool) -> Self {
        let (address, own) = (free_address(), folder("browser"));
        let mut command = Command::new(program());
        command
            .arg(format!("--port={}", address.port()))
            .env("HOME", &own)
            .env("TMPDIR", &own);
        let driver = Process::start(&mut command, &own.join("log"));
        let mut browser = Browser {
            address,
            session: String::new(),
            _driver: driver,
        };
        until("chromedriver answers", DEADLINE, || {
            let status = browser.try_ask("GET", "/status", &Value::Null);
            status.is_some_and(|status| status["ready"] == true)
        });
        let profile = format!("--user-data-dir={}", own.join("profile").display());
        let window = format!("--window-size={},{}", WINDOW.0, WINDOW.1);
        let fixed = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--no-proxy-server",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--disable-lcd-text",
            "--force-device-scale-factor=1",
            "--lang=en-GB",
            &window,
            &profile,
        ];
        let all: Vec<&str> = fixed.into_iter().chain(arguments.iter().copied()).collect();
        let mut options = json!({"args": all});
        if !scripts {
            options["prefs"] = json!({"profile.managed_default_content_settings.javascript": 2});
        }
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "acceptInsecureCerts": true,
            "unhandledPromptBehavior": "ignore",
            "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let made = browser.ask("POST", "/session", &wanted);
        let id = made["sessionId"].as_str();
        browser.session = id.unwrap_or_else(|| panic!("{made}")).to_owned();
        browser
    }

    /// What the driver answers; `None` if it cannot be reached.
    fn try_ask(&self, method: &str, path: &str, body: &Value) -> Option<Value> {
        let mut stream = TcpStream::connect_timeout(&self.address, DEADLINE).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
        let mut stream = BufReader::new(stream);
        let (mut line, mut size) = (String::new(), 0);
        while stream.read_line(&mut line).ok()? > 2 {
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                size = value.trim().parse().ok()?;
            }
            line.clear();
        }
        let mut answer = vec![0; size];
        stream.read_exact(&mut answer).ok()?;
        let answer: Value = serde_json::from_slice(&answer).ok()?;
        Some(answer["value"].clone())
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.try_ask(method, path, body);
        let answer = answer.unwrap_or_else(|| panic!("no answer to {method} {path}"));
        assert!(answer["error"].is_null(), "{method} {path}: {answer}");
        answer
    }

    #[track_caller]
    fn of_session(&self, method: &str, path: &str, body: &Value) -> Value {
        self.ask(method, &format!("/session/{}{path}", self.session), body)
    }

    #[track_caller]
    pub fn open(&self, url: &str) {
        self.of_session("POST", "/url", &json!({ "url": url }));
    }

    pub fn url(&self) -> String {
        let url = self.of_session("GET", "/url", &Value::Null);
        url.as_str().unwrap().to_owned()
    }

    /// The document as it is now, in HTML.
    pub fn source(&self) -> String {
        let source = self.of_session("GET", "/source", &Value::Null);
        source.as_str().unwrap().to_owned()
    }

    /// What a script returns.
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        let body = json!({"script": script, "args": []});
        self.of_session("POST", "/execute/sync", &body)
    }

    /// The text of the first element that a selector names, as a person sees it; empty if
    /// there is none.
    pub fn text(&self, selector: &str) -> String {
        let session = &self.session;
        let found = self.try_ask(
            "POST",
            &format!("/session/{session}/element"),
            &json!({"using": "css selector", "value": selector}),
        );
        let element = found.and_then(|found| Some(found[ELEMENT].as_str()?.to_owned()));
        let Some(element) = element else {
            return String::new();
        };
        let path = format!("/session/{session}/element/{element}/text");
        let text = self.try_ask("GET", &path, &Value::Null);
        text.and_then(|text| Some(text.as_str()?.to_owned()))
            .unwrap_or_default()
    }

    #[track_caller]
    fn element(&self, selector: &str) -> String {
        let wanted = json!({"using": "css selector", "value": selector});
        let found = self.of_session("POST", "/element", &wanted);
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn write(&self, selector: &str, text: &str) {
        let path = format!("/element/{}/value", self.element(selector));
        self.of_session("POST", &path, &json!({ "text": text }));
    }

    #[track_caller]
    pub fn click(&self, selector: &str) {
        let path = format!("/element/{}/click", self.element(selector));
        self.of_session("POST", &path, &json!({}));
    }

    /// The text of a dialog that a page has opened.
    pub fn dialog(&self) -> Option<String> {
        let path = format!("/session/{}/alert/text", self.session);
        let text = self.try_ask("GET", &path, &Value::Null)?;
        text.as_str().map(str::to_owned)
    }

    /// What the browser complained of since this was last asked.
    pub fn complaints(&self) -> Vec<String> {
        let all = self.of_session("POST", "/se/log", &json!({"type": "browser"}));
        let all = all.as_array().unwrap().iter();
        all.map(|one| one["message"].as_str().unwrap().to_owned())
            .collect()
    }

    /// A command of Chromium's own protocol.
    pub fn devtools(&self, command: &str, parameters: Value) {
        let body = json!({"cmd": command, "params": parameters});
        self.of_session("POST", "/goog/cdp/execute", &body);
    }

    /// The window as a picture (PNG).
    pub fn picture(&self) -> Vec<u8> {
        let picture = self.of_session("GET", "/screenshot", &Value::Null);
        STANDARD.decode(picture.as_str().unwrap()).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Otherwise the browser outlives its driver.
        let path = format!("/session/{}", self.session);
        let _ = self.try_ask("DELETE", &path, &Value::Null);
    }
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path);
    folders
        .find_map(|folder| Some(folder.join("chromedriver")).filter(|program| program.is_file()))
        .expect("chromedriver is missing: run `make browser`")
}
