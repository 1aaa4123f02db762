//! STS, companion, upstream and Envoy together, with envoy.yaml: `demo` tests them, and
//! `up` leaves them running.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use tokio::process::{Child, Command};

use crate::dev::envoy::{self, Ports};
use crate::dev::mint::DEMO_ZONE;
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

/// The companion's state file, in the folder of the run.
const REVOCATIONS: &str = "revocations.jsonl";

/// The running servers. They stop when this is dropped.
pub(crate) struct Stack {
    pub(crate) zone: Arc<Zone>,
    pub(crate) ports: Ports,
    envoy: Child,
    companion: Option<Child>,
    run_dir: PathBuf,
}

impl Stack {
    pub(crate) async fn start(arguments: &Arguments) -> Result<Self> {
        let run = &arguments.run_dir;
        terminal::progress("starting STS, upstream and companion");
        std::fs::create_dir_all(run).with_context(|| format!("cannot make {}", run.display()))?;
        let ports = Ports::choose()?;
        let local = |port: u16| ([127, 0, 0, 1], port).into();
        let listener = loopback::bind(local(ports.sts), false).await?;
        let issuer = format!("http://127.0.0.1:{}", ports.sts);
        let zone = Zone::new(issuer, DEMO_ZONE.to_owned(), Some(run.join("keys.json")))?;
        tokio::spawn(axum::serve(listener, sts::routes_of(&zone)?).into_future());
        let listener = loopback::bind(local(ports.upstream), false).await?;
        tokio::spawn(axum::serve(listener, upstream::routes()).into_future());
        // Revocations of an earlier run must not affect this one.
        let _ = std::fs::remove_file(run.join(REVOCATIONS));
        let companion = companion(run, ports.feed).await?;
        terminal::progress("starting Envoy");
        let envoy = envoy::start(&arguments.envoy, &arguments.config, run, &ports).await?;
        Ok(Stack {
            zone,
            ports,
            envoy,
            companion: Some(companion),
            run_dir: run.clone(),
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
        self.companion = Some(companion(&self.run_dir, self.ports.feed).await?);
        Ok(())
    }

    /// Where a client of the edge connects.
    pub(crate) fn edge(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.listener)
    }
}

/// Starts the companion as its own program, without Redis, and waits until it answers.
async fn companion(run: &Path, port: u16) -> Result<Child> {
    let log = run.join("feed.log");
    let child = Command::new(std::env::current_exe()?)
        .args(["feed", "--in-memory", "--listen"])
        .arg(format!("127.0.0.1:{port}"))
        .arg("--state-file")
        .arg(run.join(REVOCATIONS))
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
    let lines = curl_lines(&stack, &arguments);
    for line in &lines {
        terminal::line(line);
    }
    std::fs::write(arguments.run_dir.join("env"), variables(&stack))?;
    std::fs::write(arguments.run_dir.join("ready"), lines.join("\n"))?;
    tokio::select! {
        status = stack.envoy.wait() => {
            anyhow::bail!("Envoy stopped ({}): see {}/envoy.log", status?, arguments.run_dir.display())
        }
        () = loopback::stopped() => {}
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
        "export EDGE={}\nexport ISSUER=http://127.0.0.1:{}\nexport FEED={}\n",
        stack.edge(),
        stack.ports.sts,
        stack.feed()
    )
}

fn curl_lines(stack: &Stack, arguments: &Arguments) -> Vec<String> {
    let edge = stack.edge();
    let issuer = format!("http://127.0.0.1:{}", stack.ports.sts);
    let keys = arguments.run_dir.join("keys.json");
    let mint = format!(
        "dist/caracal-edge mint --keys {} --issuer {issuer}",
        keys.display()
    );
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
