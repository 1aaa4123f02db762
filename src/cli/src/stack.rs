//! STS, upstream and Envoy together, on envoy.yaml: what `demo` walks through and
//! `up` leaves running.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use tokio::process::Child;

use crate::envoy::{self, Ports};
use crate::mint::DEMO_ZONE;
use crate::sts::Zone;
use crate::{loopback, output, upstream};

#[derive(Args, Clone)]
pub(crate) struct Arguments {
    /// Envoy's binary.
    #[arg(long, env = "ENVOY", default_value_os_t = envoy::default_binary())]
    envoy: PathBuf,
    /// Envoy's configuration. Its ports are replaced by free ones where they are taken.
    #[arg(long, default_value = "envoy.yaml")]
    config: PathBuf,
    /// Where keys, logs and the configuration as used are written.
    #[arg(long, default_value = "run")]
    run_dir: PathBuf,
}

/// What runs; it stops when dropped.
pub(crate) struct Stack {
    pub(crate) zone: Arc<Zone>,
    pub(crate) ports: Ports,
    envoy: Child,
}

impl Stack {
    pub(crate) async fn start(arguments: &Arguments) -> Result<Self> {
        let run = &arguments.run_dir;
        std::fs::create_dir_all(run).with_context(|| format!("cannot make {}", run.display()))?;
        let ports = Ports::choose()?;
        let local = |port: u16| ([127, 0, 0, 1], port).into();
        let listener = loopback::bind(local(ports.sts), false).await?;
        let issuer = format!("http://127.0.0.1:{}", ports.sts);
        let zone = Zone::new(issuer, DEMO_ZONE.to_owned(), Some(run.join("keys.json")))?;
        tokio::spawn(axum::serve(listener, zone.routes()).into_future());
        let listener = loopback::bind(local(ports.upstream), false).await?;
        tokio::spawn(axum::serve(listener, upstream::routes()).into_future());
        let envoy = envoy::start(&arguments.envoy, &arguments.config, run, &ports).await?;
        Ok(Stack { zone, ports, envoy })
    }

    /// Where a client of the edge connects.
    pub(crate) fn edge(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.listener)
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let mut stack = Stack::start(&arguments).await?;
    let lines = curl_lines(&stack, &arguments);
    for line in &lines {
        output::line(line);
    }
    std::fs::write(arguments.run_dir.join("ready"), lines.join("\n"))?;
    tokio::select! {
        status = stack.envoy.wait() => {
            anyhow::bail!("Envoy stopped ({}): see {}/envoy.log", status?, arguments.run_dir.display())
        }
        () = loopback::stopped() => {}
    }
    let _ = std::fs::remove_file(arguments.run_dir.join("ready"));
    stack.envoy.kill().await?;
    Ok(ExitCode::SUCCESS)
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
    ]
}
