//! STS, companion, upstream and Envoy together, with envoy.yaml: `demo` tests them, and
//! `up` leaves them running.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use caracal_mandate::config::Mode;
use clap::Args;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::configured;
use crate::dev::envoy::{self, Ports};
use crate::dev::mint::{DEMO_AUDIENCE, DEMO_ZONE};
use crate::dev::upstream;
use crate::sts::{self, Zone};
use crate::{loopback, terminal};

#[derive(Args, Clone)]
pub(crate) struct Arguments {
    /// Envoy's binary.
    #[arg(long, env = "ENVOY", default_value_os_t = envoy::default_binary())]
    envoy: PathBuf,
    /// Envoy's configuration. Ports that are in use are replaced by free ones.
    #[arg(long, default_value = "envoy.yaml")]
    config: PathBuf,
    /// The folder for keys, logs and the configuration that is used.
    #[arg(long, default_value = "run")]
    run_dir: PathBuf,
}

impl Arguments {
    /// The same with another configuration, and a folder of its own for it.
    pub(crate) fn with(&self, config: &str, run: &str) -> Self {
        Arguments {
            envoy: self.envoy.clone(),
            config: config.into(),
            run_dir: self.run_dir.join(run),
        }
    }

    /// Whether a filter in the configuration runs in Gateway mode. What is wrong with the
    /// configuration is said where Envoy is started with it.
    fn is_gateway(&self) -> bool {
        let found = configured::read_all(&self.config, None).unwrap_or_default();
        found.sources.iter().any(|source| {
            let configuration = source.configuration();
            configuration.is_ok_and(|configuration| configuration.mode == Mode::Gateway)
        })
    }
}

/// The companion's state file, in the folder of the run.
const REVOCATIONS: &str = "revocations.jsonl";

/// The running servers. They stop when this is dropped.
pub(crate) struct Stack {
    pub(crate) zone: Arc<Zone>,
    pub(crate) ports: Ports,
    is_gateway: bool,
    requests: Arc<AtomicU64>,
    envoy: Child,
    companion: Option<Child>,
    /// STS and upstream.
    _servers: JoinSet<std::io::Result<()>>,
    run_dir: PathBuf,
    /// Envoy's configuration, as it is used.
    used: PathBuf,
}

impl Stack {
    pub(crate) async fn start(arguments: &Arguments) -> Result<Self> {
        let run = &arguments.run_dir;
        terminal::progress("starting STS, upstream and companion");
        let is_gateway = arguments.is_gateway();
        std::fs::create_dir_all(run).with_context(|| format!("cannot make {}", run.display()))?;
        let ports = Ports::choose()?;
        let local = |port: u16| ([127, 0, 0, 1], port).into();
        let listener = loopback::bind(local(ports.sts), false).await?;
        let issuer = format!("http://127.0.0.1:{}", ports.sts);
        let zone = Zone::new(issuer, DEMO_ZONE.to_owned(), Some(run.join("keys.json")))?;
        let mut servers = JoinSet::new();
        servers.spawn(axum::serve(listener, sts::routes_of(&zone)?).into_future());
        let listener = loopback::bind(local(ports.upstream), false).await?;
        let requests: Arc<AtomicU64> = Arc::default();
        let upstream = upstream::counted(Arc::clone(&requests));
        servers.spawn(axum::serve(listener, upstream).into_future());
        // Revocations of an earlier run must not affect this one.
        let _ = std::fs::remove_file(run.join(REVOCATIONS));
        let used = envoy::configured(&arguments.envoy, &arguments.config, run, &ports)?;
        let companion = companion(run, &used, &ports, is_gateway).await?;
        terminal::progress("starting Envoy");
        let envoy = envoy::start(&arguments.envoy, &used, run, &ports).await?;
        Ok(Stack {
            zone,
            ports,
            is_gateway,
            requests,
            envoy,
            companion: Some(companion),
            _servers: servers,
            run_dir: run.clone(),
            used,
        })
    }

    /// Where the companion answers.
    pub(crate) fn feed(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.feed)
    }

    /// Kills the companion, as in a crash.
    pub(crate) async fn stop_companion(&mut self) -> Result<()> {
        if let Some(mut companion) = self.companion.take() {
            companion.kill().await?;
        }
        Ok(())
    }

    pub(crate) async fn start_companion(&mut self) -> Result<()> {
        self.companion =
            Some(companion(&self.run_dir, &self.used, &self.ports, self.is_gateway).await?);
        Ok(())
    }

    /// Requests that reached the upstream so far.
    pub(crate) fn upstream_requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// Where the STS answers.
    pub(crate) fn sts(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.sts)
    }

    /// Stops everything, so that the ports are free.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.envoy.kill().await?;
        self.stop_companion().await
    }

    /// Where a client of the edge connects.
    pub(crate) fn edge(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.listener)
    }
}

/// Starts the companion as its own program, without Redis, and waits until it answers.
async fn companion(run: &Path, used: &Path, ports: &Ports, is_gateway: bool) -> Result<Child> {
    let log = run.join("feed.log");
    let port = ports.feed;
    let mut command = Command::new(std::env::current_exe()?);
    if is_gateway {
        command
            .args(["feed", "--gateway", "--sts-url"])
            .arg(format!("http://127.0.0.1:{}", ports.sts))
            .env("GATEWAY_STS_HMAC_KEY", sts::DEVELOPMENT_KEY)
            .env_remove("GATEWAY_STS_HMAC_KEY_FILE");
    } else {
        command.arg("feed");
    }
    let child = command
        .args(["--in-memory", "--listen"])
        .arg(format!("127.0.0.1:{port}"))
        .arg("--state-file")
        .arg(run.join(REVOCATIONS))
        .arg("--explain-config")
        .arg(used)
        .env_remove("REDIS_URL")
        .env_remove("CARACAL_FEED_TOKEN")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log)?)
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the companion")?;
    let url = format!("http://127.0.0.1:{port}/readyz");
    let client = reqwest::Client::builder().no_proxy().build()?;
    for _ in 0..200 {
        let answer = client.get(&url).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(child);
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    anyhow::bail!("the companion did not start: see {}", log.display())
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let mut stack = Stack::start(&arguments).await?;
    let mut lines = curl_lines(&stack, &arguments);
    let page = format!("{}/", stack.feed());
    lines.push(format!("# the companion's page, for a browser: {page}"));
    for line in &lines {
        terminal::line(line);
    }
    let stopped = loopback::stopped();
    std::fs::write(arguments.run_dir.join("env"), variables(&stack))?;
    std::fs::write(arguments.run_dir.join("ready"), lines.join("\n"))?;
    tokio::select! {
        status = stack.envoy.wait() => {
            anyhow::bail!("Envoy stopped ({}): see {}/envoy.log", status?, arguments.run_dir.display())
        }
        () = stopped => {}
    }
    for file in ["ready", "env"] {
        let _ = std::fs::remove_file(arguments.run_dir.join(file));
    }
    stack.envoy.kill().await?;
    Ok(ExitCode::SUCCESS)
}

/// The addresses of everything, for a shell to read. They differ from those in envoy.yaml
/// if ports were in use.
fn variables(stack: &Stack) -> String {
    format!(
        "export EDGE={}\nexport ISSUER={}\nexport FEED={}\n",
        stack.edge(),
        stack.sts(),
        stack.feed()
    )
}

fn curl_lines(stack: &Stack, arguments: &Arguments) -> Vec<String> {
    let (edge, issuer) = (stack.edge(), stack.sts());
    let keys = arguments.run_dir.join("keys.json");
    let mint = format!(
        "dist/caracal-edge mint --keys {} --issuer {issuer}",
        keys.display()
    );
    if stack.is_gateway {
        // Each request needs a mandate of its own, so each line mints one.
        let mint = format!(
            "{mint} --audience {issuer} --claim use=gateway --claim target='[\"{DEMO_AUDIENCE}\"]' --claim agent_session_id=agent-1 --claim delegation_edge_id=edge-1 --claim jti=$(date +%N)"
        );
        let resource = format!("-H X-Caracal-Resource:{DEMO_AUDIENCE}");
        return vec![
            format!("curl -i {resource} -H \"Authorization: Bearer $({mint})\" {edge}/invoices"),
            format!("curl -i {resource} {edge}/invoices"),
            format!(
                "curl -i {resource} -H \"Authorization: Bearer $({mint} --scope billing:write)\" {edge}/invoices"
            ),
        ];
    }
    vec![
        format!("curl -i -H \"Authorization: Bearer $({mint})\" {edge}/invoices"),
        format!("curl -i {edge}/invoices"),
        format!("curl -i -H \"Authorization: Bearer $({mint} --ttl-s -120)\" {edge}/invoices"),
        format!(
            "curl -i -H \"Authorization: Bearer $({mint} --scope billing:payout)\" {edge}/payouts"
        ),
        format!("curl -i {edge}/healthz"),
        format!("curl -s -X POST {issuer}/dev/rotate"),
        format!(
            "dist/caracal-edge revoke --session sid-1 --feed {}",
            stack.feed()
        ),
    ]
}
