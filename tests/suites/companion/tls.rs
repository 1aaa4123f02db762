//! The API over TLS, asked by `caracal-edge revoke`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use super::starts::{edge, written};
use super::*;

/// More than the companion has places for.
const HALF_OPEN: usize = 1_100;

/// A new certificate and its key in place of what stands there; a copy of the
/// certificate under a name of its own, for those who trust it.
fn renew(folder: &Path, name: &str) -> PathBuf {
    let new = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (new.cert.pem(), new.signing_key.serialize_pem());
    written(folder, "cert.pem", &certificate);
    written(folder, "key.pem", &key);
    PathBuf::from(written(folder, name, &certificate))
}

fn companion(folder: &Path) -> Companion {
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (file("cert.pem"), file("key.pem"));
    Companion::new(&["--in-memory", "--tls-cert", &certificate, "--tls-key", &key]).listening()
}

/// Whether one who trusts that certificate is answered.
fn answers(companion: &Companion, trusted: &Path) -> bool {
    let feed = format!("https://localhost:{}", companion.address.port());
    let trusted = [("SSL_CERT_FILE", trusted.to_str().unwrap())];
    let (code, said) = edge(&["revoke", "--session", "s", "--feed", &feed], &trusted);
    println!("{said}");
    code == Some(0)
}

#[test]
fn a_certificate_is_served_and_its_successor_after_it_was_read_again() {
    let folder = folder("tls");
    let first = renew(&folder, "first.pem");
    let companion = companion(&folder);
    assert!(answers(&companion, &first));
    // Plain HTTP is not answered, and whoever asked is told of.
    let mut plain = TcpStream::connect(companion.address).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").unwrap();
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP/"), "{said:?}");
    until("told", SOON, || {
        companion.log().contains("TLS handshakes failed")
    });

    let second = renew(&folder, "second.pem");
    companion.hang_up();
    until("read again", SOON, || {
        companion.log().contains("read again")
    });
    assert!(answers(&companion, &second));
    assert!(!answers(&companion, &first), "the old one is served on");

    // A key of another certificate, and a file that is gone: the old pair stays.
    let key = std::fs::read(folder.join("key.pem")).unwrap();
    renew(&folder, "third.pem");
    std::fs::write(folder.join("key.pem"), key).unwrap();
    let kept = |times: usize| {
        companion.hang_up();
        until("told", SOON, || {
            companion.log().matches("old one stays in use").count() >= times
        });
        assert!(answers(&companion, &second));
    };
    kept(1);
    std::fs::remove_file(folder.join("cert.pem")).unwrap();
    kept(2);
    assert!(!companion.log().contains("PRIVATE"));

    // Without a signal it is noticed by itself.
    let fourth = renew(&folder, "fourth.pem");
    until("noticed", Duration::from_secs(40), || {
        companion.log().matches("was read again").count() == 2
    });
    assert!(answers(&companion, &fourth));
}

#[test]
fn handshakes_that_do_not_begin_keep_nobody_out() {
    rlimit::increase_nofile_limit(8_192).unwrap();
    let folder = folder("tls-flood");
    let trusted = renew(&folder, "trusted.pem");
    let mut companion = companion(&folder);
    let mut held = Vec::new();
    for _ in 0..HALF_OPEN {
        held.push(TcpStream::connect(companion.address).unwrap());
    }
    let since = Instant::now();
    assert!(answers(&companion, &trusted));
    assert!(since.elapsed() < Duration::from_secs(5));
    // The last one has 10 s, as without TLS.
    let last = held.last_mut().unwrap();
    last.set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    assert_eq!(last.read(&mut [0]).unwrap(), 0, "it is held for ever");
    let since = Instant::now();
    assert_eq!(companion.stop(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_token_in_the_clear_beyond_loopback_is_warned_of() {
    let listen = ["feed", "--redis-url", "redis://127.0.0.1:1", "--listen"];
    // An address of nobody here: it says what it has to say, and cannot listen.
    let nowhere = [&listen[..], &["192.0.2.1:1"]].concat();
    let token = [("CARACAL_FEED_TOKEN", "hidden-1")];
    let (code, said) = edge(&nowhere, &token);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("unencrypted") && !said.contains("hidden-1"),
        "{said}"
    );
    let folder = folder("tls-warned");
    renew(&folder, "trusted.pem");
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let pair = [
        "--tls-cert",
        certificate.to_str().unwrap(),
        "--tls-key",
        key.to_str().unwrap(),
    ];
    let (code, said) = edge(&[&nowhere[..], &pair].concat(), &token);
    assert_eq!(code, Some(2), "{said}");
    assert!(!said.contains("unencrypted"), "{said}");
}
