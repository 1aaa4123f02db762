//! TLS for the companion's API, with a certificate and its key from two files. They are
//! read again when they change, because certificates are renewed while it runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

/// How often the files are checked. SIGHUP checks them at once.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 256 * 1024;

/// The contents of both files.
type Pair = (Vec<u8>, Vec<u8>);

/// The certificate that is served.
pub(crate) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    served: Mutex<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the pair, and continues to read it.
    ///
    /// # Errors A file that cannot be read, has no certificate or key, or has the key of
    /// another certificate.
    pub(crate) fn start(certificate: PathBuf, key: PathBuf) -> Result<Arc<Self>> {
        let pair = read(&certificate, &key)?;
        let tls = Arc::new(Tls {
            served: Mutex::new(configuration(&pair)?),
            certificate,
            key,
        });
        let again = signal(SignalKind::hangup()).context("SIGHUP")?;
        tokio::spawn(Arc::clone(&tls).watch(pair, again));
        Ok(tls)
    }

    /// Accepts connections with the current pair.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&served))
    }

    async fn watch(self: Arc<Self>, mut seen: Pair, mut again: tokio::signal::unix::Signal) {
        let mut unreadable = false;
        loop {
            let asked = tokio::select! {
                _ = again.recv() => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            let pair = match read(&self.certificate, &self.key) {
                Ok(pair) => pair,
                Err(error) => {
                    // Log this once, and not every half minute.
                    if asked || !unreadable {
                        keeps_the_old(&error);
                    }
                    unreadable = true;
                    continue;
                }
            };
            let changed = pair != seen;
            if !(changed || asked || unreadable) {
                continue;
            }
            unreadable = false;
            match configuration(&pair) {
                Ok(new) => {
                    *self.served.lock().unwrap_or_else(PoisonError::into_inner) = new;
                    tracing::info!(changed, "the API's certificate was read again");
                }
                // If only one of the two files has been written yet, they do not match.
                // The next check finds both.
                Err(error) => keeps_the_old(&error),
            }
            seen = pair;
        }
    }
}

fn keeps_the_old(error: &anyhow::Error) {
    tracing::error!(
        error = format!("{error:#}"),
        "the API's new certificate cannot be used: the old one stays in use"
    );
}

fn read(certificate: &Path, key: &Path) -> Result<Pair> {
    let read = |option: &str, file: &Path| {
        let name = file.display();
        let unread = || format!("{option}: cannot read {name}");
        let size = std::fs::metadata(file).with_context(unread)?.len();
        ensure!(
            size <= MAX_FILE,
            "{option}: {name} is over {MAX_FILE} bytes"
        );
        std::fs::read(file).with_context(unread)
    };
    Ok((read("--tls-cert", certificate)?, read("--tls-key", key)?))
}

fn configuration(pair: &Pair) -> Result<Arc<ServerConfig>> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pair.0)
        .collect::<Result<_, _>>()
        .map_err(|_| anyhow::anyhow!("--tls-cert holds no certificate in PEM"))?;
    ensure!(!chain.is_empty(), "--tls-cert holds no certificate in PEM");
    // The library's own error could show a part of the key.
    let key = PrivateKeyDer::from_pem_slice(&pair.1)
        .map_err(|_| anyhow::anyhow!("--tls-key holds no private key in PEM"))?;
    let mut configuration = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("--tls-key is not the key of --tls-cert")?;
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(configuration))
}
