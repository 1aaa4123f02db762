//! The Envoy of the demo, with the project's own envoy.yaml.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::{Child, Command};

/// Longest wait for Envoy to serve.
const START: Duration = Duration::from_secs(30);

/// A port of envoy.yaml, and the one that replaces it.
pub(crate) struct Ports {
    pub(crate) listener: u16,
    pub(crate) admin: u16,
    pub(crate) sts: u16,
    pub(crate) feed: u16,
    pub(crate) upstream: u16,
}

/// The ports in envoy.yaml.
const WRITTEN: Ports = Ports {
    listener: 10_000,
    admin: 9_901,
    sts: 7_701,
    feed: 7_700,
    upstream: 7_702,
};

impl Ports {
    /// The ports of envoy.yaml, or a free one for each that is taken.
    pub(crate) fn choose() -> Result<Self> {
        Ok(Ports {
            listener: free(WRITTEN.listener)?,
            admin: free(WRITTEN.admin)?,
            sts: free(WRITTEN.sts)?,
            feed: free(WRITTEN.feed)?,
            upstream: free(WRITTEN.upstream)?,
        })
    }
}

fn free(wanted: u16) -> Result<u16> {
    let bind = |port: u16| TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)));
    let listener = bind(wanted).or_else(|_| bind(0))?;
    Ok(listener.local_addr()?.port())
}

/// Writes `config` into the folder of the run, with the ports that are used, and returns where.
///
/// # Errors What is needed to start is not there.
pub(crate) fn configured(
    binary: &Path,
    config: &Path,
    run: &Path,
    ports: &Ports,
) -> Result<PathBuf> {
    ensure!(
        binary.is_file(),
        "there is no Envoy at {}: run `make envoy`, or set ENVOY to one",
        binary.display()
    );
    ensure!(
        Path::new("dist/caracal_filter.wasm").is_file(),
        "dist/caracal_filter.wasm is missing: run `make build`, and run this command in the project's folder"
    );
    let text = std::fs::read_to_string(config)
        .with_context(|| format!("cannot read {}", config.display()))?;
    let used = run.join("envoy.yaml");
    std::fs::write(&used, with_ports(&text, ports))?;
    Ok(used)
}

/// Starts Envoy with a configuration that [`configured`] wrote, and waits until it serves.
pub(crate) async fn start(binary: &Path, used: &Path, run: &Path, ports: &Ports) -> Result<Child> {
    let log_path = run.join("envoy.log");
    let log = std::fs::File::create(&log_path)?;
    let mut child = Command::new(binary)
        .arg("-c")
        .arg(used)
        .args([
            "--concurrency",
            "2",
            "--use-dynamic-base-id",
            "-l",
            "warning",
        ])
        .args(["--component-log-level", "wasm:info"])
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(run.join("access.log"))?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", binary.display()))?;
    let admin = format!("http://127.0.0.1:{}/ready", ports.admin);
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(2))
        .build()?;
    let deadline = tokio::time::sleep(START);
    tokio::pin!(deadline);
    loop {
        if let Some(status) = child.try_wait()? {
            bail!(
                "Envoy stopped ({status}); its log ends:\n{}",
                tail(&log_path)
            );
        }
        let answer = client.get(&admin).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(child);
        }
        tokio::select! {
            () = &mut deadline => bail!("Envoy did not serve within {START:?}; its log ends:\n{}", tail(&log_path)),
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
}

fn with_ports(text: &str, ports: &Ports) -> String {
    let pairs = [
        (WRITTEN.listener, ports.listener),
        (WRITTEN.admin, ports.admin),
        (WRITTEN.sts, ports.sts),
        (WRITTEN.feed, ports.feed),
        (WRITTEN.upstream, ports.upstream),
    ];
    let mut text = text.to_owned();
    for (written, used) in pairs.into_iter().filter(|(written, used)| written != used) {
        text = text
            .replace(
                &format!("port_value: {written} "),
                &format!("port_value: {used} "),
            )
            .replace(
                &format!("127.0.0.1:{written}"),
                &format!("127.0.0.1:{used}"),
            );
    }
    text
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(20)..)
        .unwrap_or_default()
        .join("\n")
}

/// `ENVOY`, or the one that `make envoy` installs.
pub(crate) fn default_binary() -> PathBuf {
    PathBuf::from(".tools/envoy/envoy/_bin/envoy")
}
