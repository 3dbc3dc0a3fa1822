//! A browser without a window, told what to do as the W3C's WebDriver standard has it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libtest_mimic::Failed;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What must be installed, if something is missing.
pub fn missing() -> Option<&'static str> {
    let found = |name: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
    };
    (!found("chromium") || !found("chromedriver")).then_some("chromium chromium-driver")
}

/// A browser with one page.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    /// Its profile, and the page.
    dir: TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser, too.
        let _ = self.request("DELETE", "", None);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn failed(what: impl std::fmt::Display) -> Failed {
    what.to_string().into()
}

impl Browser {
    /// Shows a page `width` pixels wide.
    pub fn show(html: &str, width: u32) -> Result<Browser, Failed> {
        let dir = TempDir::new()?;
        let page = dir.path().join("page.html");
        std::fs::write(&page, html)?;
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = driver.stdout.take().ok_or("chromedriver says nothing")?;
        let mut browser = Browser { driver, port: 0, session: String::new(), dir };
        let mut lines = BufReader::new(output).lines();
        browser.port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok())
            .ok_or("chromedriver does not start")?;
        // It goes on talking, and must not be stopped by a full pipe.
        std::thread::spawn(move || lines.count());
        browser.begin(width)?;
        browser.request("POST", "/url", Some(json!({ "url": format!("file://{}", page.display()) })))?;
        Ok(browser)
    }

    fn begin(&mut self, width: u32) -> Result<(), Failed> {
        let profile = format!("--user-data-dir={}", self.dir.path().join("profile").display());
        let mut arguments = vec![profile.as_str()];
        arguments.extend([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ]);
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            // A window would not be made as narrow as a telephone.
            "goog:chromeOptions": {
                "args": arguments,
                "mobileEmulation": { "deviceMetrics": { "width": width, "height": 900, "pixelRatio": 1, "mobile": false, "touch": false } },
            },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let answer = self.http("POST", "/session", Some(wanted))?;
        let id = answer["sessionId"].as_str().ok_or_else(|| failed(format!("no session: {answer}")))?;
        self.session = format!("/session/{id}");
        Ok(())
    }

    fn request(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, Failed> {
        self.http(method, &format!("{}{path}", self.session), body)
    }

    /// One request to the driver; the value that it answers.
    fn http(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, Failed> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let body = body.map_or_else(String::new, |body| body.to_string());
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )?;
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line == "\r\n" {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer)?;
        let mut answer: Value = serde_json::from_slice(&answer)?;
        match answer["value"]["error"].as_str() {
            Some(error) => Err(failed(format!("{method} {path}: {error}: {}", answer["value"]["message"]))),
            None => Ok(answer["value"].take()),
        }
    }

    /// What a piece of JavaScript returns.
    pub fn run(&self, script: &str) -> Result<Value, Failed> {
        self.request("POST", "/execute/sync", Some(json!({ "script": script, "args": [] })))
    }

    fn element(&self, selector: &str) -> Result<String, Failed> {
        let wanted = json!({ "using": "css selector", "value": selector });
        let found = self.request("POST", "/element", Some(wanted))?;
        let id = found.as_object().and_then(|object| object.values().next()).and_then(Value::as_str);
        id.map(str::to_owned).ok_or_else(|| failed(format!("no element {selector}")))
    }

    /// Clicks an element as a hand would: it must be in view and nothing may cover it.
    pub fn click(&self, selector: &str) -> Result<(), Failed> {
        let id = self.element(selector)?;
        // The navigation that sticks to the top would cover what is scrolled only just into view.
        self.run(&format!(
            "document.querySelector({selector:?}).scrollIntoView({{ block: 'center', behavior: 'instant' }})"
        ))?;
        self.request("POST", &format!("/element/{id}/click"), Some(json!({})))?;
        Ok(())
    }

    /// Types into an element.
    pub fn keys(&self, selector: &str, keys: &str) -> Result<(), Failed> {
        let id = self.element(selector)?;
        self.request("POST", &format!("/element/{id}/value"), Some(json!({ "text": keys })))?;
        Ok(())
    }

    /// The text of an element.
    pub fn text(&self, selector: &str) -> Result<String, Failed> {
        let text = self.run(&format!("return document.querySelector({selector:?}).textContent"))?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Fails if the page complained of anything.
    pub fn is_content(&self) -> Result<(), Failed> {
        let log = self.request("POST", "/se/log", Some(json!({ "type": "browser" })))?;
        match log.as_array().map_or(&[][..], Vec::as_slice) {
            [] => Ok(()),
            some => Err(failed(format!("the page complains: {some:?}"))),
        }
    }

    /// Keeps a picture of the window where the environment asks for it.
    pub fn picture(&self, name: &str) -> Result<(), Failed> {
        let Some(dir) = std::env::var_os("FREESTONE_PICTURES") else { return Ok(()) };
        let shot = self.request("GET", "/screenshot", None)?;
        let file = Path::new(&dir).join(format!("{name}.png"));
        std::fs::write(file, decode(shot.as_str().unwrap_or_default()))?;
        Ok(())
    }
}

/// Base64, as the standard has it.
fn decode(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for digit in text.bytes().filter_map(value) {
        bits = bits << 6 | u32::from(digit);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}
