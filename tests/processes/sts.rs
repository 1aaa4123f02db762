//! The development STS as a process.

use serde_json::json;

use super::*;

/// The key of the Gateway's signature that it starts with.
pub const GATEWAY_KEY: &str = "6761746577617920746573746b657920f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// `caracal-edge sts`.
pub struct Sts {
    process: Process,
    pub address: SocketAddr,
    folder: PathBuf,
}

impl Sts {
    /// Of these zones, with the application `app-1` and its secret `secret-1`, and these
    /// resources.
    pub fn start(zones: &[&str], resources: &Value) -> Self {
        let folder = folder("sts");
        write_policy(&folder, resources);
        let mut command = Command::new(crate::root().join("dist/caracal-edge"));
        command
            .args(["sts", "--listen", "127.0.0.1:0", "--address-file"])
            .arg(folder.join("address"))
            .arg("--policy")
            .arg(folder.join("policy.json"))
            .env_remove("CARACAL_ZONE_ID")
            .env("GATEWAY_STS_HMAC_KEY", GATEWAY_KEY);
        for zone in zones {
            command.args(["--zone", zone]);
        }
        let process = Process::start(&mut command, &folder.join("log"));
        let mut address = None;
        until("the STS listens", START, || {
            let text = fs::read_to_string(folder.join("address")).unwrap_or_default();
            address = text.parse().ok();
            address.is_some()
        });
        Sts {
            process,
            address: address.unwrap(),
            folder,
        }
    }

    /// Replaces its resources.
    pub fn decide(&self, resources: &Value) {
        write_policy(&self.folder, resources);
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// It answers nothing any more, until it is resumed.
    pub fn pause(&self) {
        self.process.signal("-STOP");
    }

    /// See [`Sts::pause`].
    pub fn resume(&self) {
        self.process.signal("-CONT");
    }

    /// Another key in place of the current one; the earlier ones stay for a while.
    pub fn rotate(&self) {
        let answer = self.post("/dev/rotate", &[], b"");
        assert_eq!(answer.status, 200);
    }

    /// A mandate of its first zone with these claims and header members in place of the
    /// usual ones.
    pub fn mint(&self, claims: &Value, header: &Value) -> String {
        let body = json!({ "claims": claims, "header": header }).to_string();
        let kind = [("content-type", "application/json")];
        let answer = self.post("/dev/mint", &kind, body.as_bytes());
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    /// As the kernel would (`kill -9`).
    pub fn kill(&mut self) {
        self.process.kill();
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// What it counts.
    pub fn stats(&self) -> Value {
        servers::get(self.address, "/dev/stats", None).json()
    }

    /// Exchanges with a good signature so far.
    pub fn exchanges(&self) -> u64 {
        self.stats()["exchanges"].as_u64().unwrap()
    }

    /// Sends bytes with a content type.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let size = body.len().to_string();
        let mut all = vec![("content-length", size.as_str())];
        all.extend(headers);
        let mut bytes = servers::request("POST", path, &all);
        bytes.extend_from_slice(body);
        Client::connect(self.address).exchange(&bytes).unwrap()
    }

    /// An application's own request, with these fields in place of the usual ones; an
    /// empty one is left out.
    pub fn ask(&self, changes: &[(&str, &str)]) -> Response {
        let mut fields = vec![
            ("grant_type", GRANT),
            ("zone_id", crate::mint::ZONE),
            ("application_id", "app-1"),
            ("client_secret", "secret-1"),
            ("resource", crate::mint::AUDIENCE),
            ("agent_session_id", "agent-1"),
            ("delegation_edge_id", "edge-1"),
            ("scope", "billing:read"),
        ];
        for (name, value) in changes {
            fields.retain(|(known, _)| known != name);
            fields.push((name, value));
        }
        fields.retain(|(_, value)| !value.is_empty());
        let body = form(&fields);
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        self.post("/oauth/2/token", &kind, body.as_bytes())
    }

    /// A one-shot mandate for a resource.
    pub fn mandate(&self, resource: &str) -> String {
        let answer = self.ask(&[("resource", resource)]);
        assert_eq!(answer.status, 200, "{}", answer.json());
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// A one-shot mandate with these claims in place of the usual ones.
    pub fn odd(&self, changes: &Value) -> String {
        let jti = format!("odd-{}", COUNT.fetch_add(1, Ordering::SeqCst));
        let mut claims = json!({
            "aud": [self.url()], "use": "gateway", "target": [crate::mint::AUDIENCE], "jti": jti,
            "agent_session_id": "agent-1", "delegation_edge_id": "edge-1",
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        self.mint(&claims, &json!({}))
    }
}

fn write_policy(folder: &Path, resources: &Value) {
    let policy = json!({
        "applications": {"app-1": {"secret": "secret-1"}}, "resources": resources,
    });
    // In one step: it is read while it is written.
    let next = folder.join("policy.next");
    fs::write(&next, policy.to_string()).unwrap();
    fs::rename(next, folder.join("policy.json")).unwrap();
}

/// Form-encodes fields, byte by byte.
pub fn form(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| -> String {
        let kept = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        let one = |b: u8| match kept(b) {
            true => char::from(b).to_string(),
            false => format!("%{b:02X}"),
        };
        text.bytes().map(one).collect()
    };
    let pairs = fields.iter();
    let pairs = pairs.map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}
