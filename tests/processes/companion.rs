//! The companion as a process.

use super::*;

/// `caracal-edge feed`.
pub struct Companion {
    process: Option<Process>,
    pub address: SocketAddr,
    folder: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    files: Option<String>,
    outlives_limits: bool,
    token: Option<String>,
}

impl Companion {
    pub fn new(arguments: &[&str]) -> Self {
        Companion {
            process: None,
            address: free_address(),
            folder: folder("companion"),
            arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
            environment: Vec::new(),
            files: None,
            outlives_limits: false,
            token: None,
        }
    }

    /// Starts with so many open files allowed, and may raise that to the second
    /// number.
    pub fn files(mut self, soft: u32, hard: u32) -> Self {
        self.files = Some(format!("--nofile={soft}:{hard}"));
        self
    }

    /// Listens at this address instead of a free one on loopback.
    pub fn listening_at(mut self, address: &str) -> Self {
        self.address = address.parse().unwrap();
        self
    }

    /// With more arguments.
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.add(arguments);
        self
    }

    /// Adds arguments.
    pub fn add(&mut self, arguments: &[&str]) {
        let arguments = arguments.iter().map(|word| (*word).to_owned());
        self.arguments.extend(arguments);
    }

    pub fn of(redis_url: &str) -> Self {
        Companion::new(&["--redis-url", redis_url])
    }

    /// In Gateway mode, with the key that [`Sts`] has.
    pub fn gateway(self, sts: &str) -> Self {
        self.with(&["--gateway", "--sts-url", sts])
            .environment("GATEWAY_STS_HMAC_KEY", super::GATEWAY_KEY)
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a token, which is sent wherever no other one is given.
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self.environment("CARACAL_FEED_TOKEN", token)
    }

    /// Starts it, or starts it again at the same address, and waits until it
    /// answers.
    pub fn start(&mut self) {
        self.spawn();
        until("the companion answers", START, || {
            self.try_get("/healthz").is_some()
        });
    }

    /// The same, and until it has read everything.
    pub fn started(mut self) -> Self {
        self.start();
        until("the companion is ready", START, || self.is_ready());
        self
    }

    fn spawn(&mut self) {
        self.kill();
        let program = crate::root().join("dist/caracal-edge");
        let mut command = match &self.files {
            None if self.outlives_limits => {
                let mut command = Command::new("bash");
                let line = r#"trap "" XFSZ; exec "$0" "$@""#;
                command.args(["-c", line]).arg(program);
                command
            }
            None => Command::new(program),
            Some(limit) => {
                let mut command = Command::new("prlimit");
                command.arg(limit).arg(program);
                command
            }
        };
        command
            .args(["feed", "--listen", &self.address.to_string()])
            .args(&self.arguments)
            .env_remove("REDIS_URL")
            .env_remove("STREAMS_HMAC_KEY")
            .env_remove("CARACAL_FEED_TOKEN")
            .env_remove("CARACAL_STS_URL")
            .env_remove("GATEWAY_STS_HMAC_KEY")
            .env_remove("AUDIT_HMAC_KEY")
            .envs(self.environment.iter().map(|(n, v)| (n, v)));
        self.process = Some(Process::start(&mut command, &self.log_file()));
    }

    /// The same, of one that does not speak plain HTTP.
    pub fn listening(mut self) -> Self {
        self.spawn();
        until("the companion listens", START, || {
            self.log().contains("listening on")
        });
        self
    }

    /// Its exit status, when it does not even start.
    pub fn fails(mut self) -> (Option<i32>, String) {
        self.spawn();
        let process = self.process.as_mut().unwrap();
        let since = Instant::now();
        loop {
            if let Some(status) = process.child.try_wait().unwrap() {
                return (status.code(), self.log());
            }
            assert!(since.elapsed() < START, "it runs: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// As the kernel would (`kill -9`).
    pub fn kill(&mut self) {
        drop(self.process.take());
    }

    /// SIGSTOP: it stands still until it is resumed.
    pub fn pause(&self) {
        self.process.as_ref().unwrap().signal("-STOP");
    }

    pub fn resume(&self) {
        self.process.as_ref().unwrap().signal("-CONT");
    }

    /// SIGHUP: it reads its certificate again.
    pub fn hang_up(&self) {
        self.process.as_ref().unwrap().signal("-HUP");
    }

    /// Is not ended by the signal that [`Companion::limit_files`] brings.
    pub fn outliving_limits(mut self) -> Self {
        self.outlives_limits = true;
        self
    }

    /// Writes no file beyond so many bytes from now on, as on a full disk.
    pub fn limit_files(&self, bytes: u64) {
        let pid = self.process.as_ref().unwrap().child.id().to_string();
        let limited = Command::new("prlimit")
            .args(["--pid", &pid, &format!("--fsize={bytes}:")])
            .status();
        assert!(limited.is_ok_and(|status| status.success()), "prlimit");
    }

    /// Runs on one core from now on.
    pub fn on_core(&self, core: usize) {
        let pid = self.process.as_ref().unwrap().child.id().to_string();
        let pinned = Command::new("taskset")
            .args([
                "--all-tasks",
                "--cpu-list",
                "--pid",
                &core.to_string(),
                &pid,
            ])
            .stdout(Stdio::null())
            .status();
        assert!(pinned.is_ok_and(|status| status.success()), "taskset");
    }

    pub fn is_started(&self) -> bool {
        self.process.is_some()
    }

    /// SIGTERM; its exit status.
    pub fn stop(&mut self) -> Option<i32> {
        let mut process = self.process.take().unwrap();
        process.signal("-TERM");
        let since = Instant::now();
        loop {
            if let Some(status) = process.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(since.elapsed() < START, "it does not stop: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    pub fn resident(&self) -> u64 {
        self.process.as_ref().unwrap().resident()
    }

    pub fn try_get(&self, path: &str) -> Option<Response> {
        let bearer = self.bearer(None);
        let mut headers = vec![("connection", "close")];
        headers.extend(
            self.token
                .as_ref()
                .map(|_| ("authorization", bearer.as_str())),
        );
        let request = servers::request("GET", path, &headers);
        Client::try_connect(self.address)
            .ok()?
            .exchange(&request)
            .ok()
    }

    fn bearer(&self, token: Option<&str>) -> String {
        format!(
            "Bearer {}",
            token.or(self.token.as_deref()).unwrap_or("none")
        )
    }

    pub fn get(&self, path: &str) -> Response {
        self.try_get(path).expect("the companion answers")
    }

    pub fn is_ready(&self) -> bool {
        self.try_get("/readyz")
            .is_some_and(|answer| answer.status == 200)
    }

    pub fn post(&self, path: &str, body: &Value, token: Option<&str>) -> Response {
        self.try_post(path, body.to_string().as_bytes(), token)
            .unwrap()
    }

    /// The same with any bytes, of a companion that may be gone.
    pub fn try_post(&self, path: &str, body: &[u8], token: Option<&str>) -> io::Result<Response> {
        let json = [("content-type", "application/json")];
        self.try_post_with(path, body, token, &json)
    }

    /// The same with these headers, and no type but theirs.
    pub fn try_post_with(
        &self,
        path: &str,
        body: &[u8],
        token: Option<&str>,
        headers: &[(&str, &str)],
    ) -> io::Result<Response> {
        let (size, bearer) = (body.len().to_string(), self.bearer(token));
        let mut headers = headers.to_vec();
        headers.push(("content-length", size.as_str()));
        headers.push(("authorization", bearer.as_str()));
        let mut bytes = servers::request("POST", path, &headers);
        bytes.extend_from_slice(body);
        Client::try_connect(self.address)?.exchange(&bytes)
    }

    /// Whether an anchor is revoked, as the companion says.
    pub fn has_revoked(&self, anchor: &str) -> bool {
        let answer = self.post("/v1/check", &serde_json::json!({"anchors": [anchor]}), None);
        answer.status == 200
            && answer.json()["revoked"]
                .as_array()
                .is_some_and(|r| !r.is_empty())
    }

    /// A sample of its metrics, 0 when it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let text = String::from_utf8(self.get("/metrics").body).unwrap();
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
            .unwrap_or(0.0)
    }
}
