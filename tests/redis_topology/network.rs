//! The network between nodes: each listens behind a wire, and each connects from
//! an address of its own, so that the wire knows who speaks to whom. Any pair can
//! be cut, in one direction of connecting, and any answer can be late.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Who connects. 0 is everybody that is no node: companions and tests.
pub type Site = u8;

/// The companions' site.
pub const OUTSIDE: Site = 0;

/// The address that a site connects from and listens at.
pub fn ip(site: Site) -> Ipv4Addr {
    match site {
        OUTSIDE => Ipv4Addr::LOCALHOST,
        site => Ipv4Addr::new(127, 0, 1, site),
    }
}

fn site(address: IpAddr) -> Site {
    match address {
        IpAddr::V4(address) if address.octets()[2] == 1 => address.octets()[3],
        _ => OUTSIDE,
    }
}

#[derive(Default)]
struct Rules {
    /// Who cannot reach whom.
    cut: Mutex<HashSet<(Site, Site)>>,
    /// What each piece of an answer and of a question is held back for.
    delay_us: AtomicU64,
    /// What the answer to a `SCAN` is held back for besides.
    scan_ms: AtomicU64,
    /// Rises with each change, so that connections that lost something end.
    changes: AtomicUsize,
}

impl Rules {
    fn is_cut(&self, from: Site, to: Site) -> bool {
        self.cut.lock().unwrap().contains(&(from, to))
    }
}

/// What all wires of one topology obey.
#[derive(Clone, Default)]
pub struct Network(Arc<Rules>);

impl Network {
    /// Nobody reaches anybody of another group; each group is whole.
    pub fn partition(&self, groups: &[&[Site]]) {
        let mut cut = HashSet::new();
        for (n, group) in groups.iter().enumerate() {
            for (m, other) in groups.iter().enumerate() {
                if n != m {
                    let pairs = group.iter().flat_map(|a| other.iter().map(|b| (*a, *b)));
                    cut.extend(pairs);
                }
            }
        }
        *self.0.cut.lock().unwrap() = cut;
        self.0.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// One site does not reach another any more.
    pub fn cut(&self, from: Site, to: Site) {
        self.0.cut.lock().unwrap().insert((from, to));
    }

    /// Everybody reaches everybody. Connections that lost something end.
    pub fn heal(&self) {
        self.partition(&[]);
    }

    /// Each piece takes so long, in each direction; how much passes is not bounded.
    pub fn delay(&self, each: Duration) {
        let each = u64::try_from(each.as_micros()).unwrap();
        self.0.delay_us.store(each, Ordering::SeqCst);
    }

    /// Each answer to a `SCAN` takes so much longer.
    pub fn delay_scans(&self, each: Duration) {
        let each = u64::try_from(each.as_millis()).unwrap();
        self.0.scan_ms.store(each, Ordering::SeqCst);
    }

    /// A wire that leads to a node; what it is announced as.
    pub fn wire(&self, to: Site, server: SocketAddr) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (rules, stopped) = (Arc::clone(&self.0), Arc::clone(&stop));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                let Ok(peer) = client.peer_addr() else {
                    continue;
                };
                let (rules, from) = (Arc::clone(&rules), site(peer.ip()));
                let pair = (from, to);
                std::thread::spawn(move || lead(client, server, pair, &rules));
            }
        });
        Wire { address, stop }
    }
}

/// Ends, with what it led, when dropped.
pub struct Wire {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn lead(client: TcpStream, server: SocketAddr, pair: (Site, Site), rules: &Arc<Rules>) {
    let changes = rules.changes.load(Ordering::SeqCst);
    // A packet to nowhere: the other side waits until it gives up.
    while rules.is_cut(pair.0, pair.1) {
        if rules.changes.load(Ordering::SeqCst) != changes {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let Ok(server) = TcpStream::connect_timeout(&server, Duration::from_secs(2)) else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let scans = Arc::new(AtomicUsize::new(0));
    let back = {
        let (Ok(from), Ok(to)) = (server.try_clone(), client.try_clone()) else {
            return;
        };
        let (rules, scans) = (Arc::clone(rules), Arc::clone(&scans));
        std::thread::spawn(move || pass(from, to, pair, &rules, &scans, true))
    };
    pass(client, server, pair, rules, &scans, false);
    let _ = back.join();
}

/// Passes on what comes, each piece when its time has come.
fn pass(
    mut from: TcpStream,
    to: TcpStream,
    pair: (Site, Site),
    rules: &Arc<Rules>,
    scans: &AtomicUsize,
    answers: bool,
) {
    let (sender, receiver) = mpsc::sync_channel::<(Instant, Vec<u8>)>(4_096);
    let (Ok(mut target), Ok(source)) = (to.try_clone(), from.try_clone()) else {
        return;
    };
    let writing = std::thread::spawn(move || {
        for (at, bytes) in receiver {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if target.write_all(&bytes).is_err() {
                let _ = source.shutdown(Shutdown::Both);
                break;
            }
        }
    });
    let _ = from.set_read_timeout(Some(Duration::from_millis(100)));
    let mut buffer = vec![0; 64 * 1024];
    let mut lost_at: Option<usize> = None;
    loop {
        let changes = rules.changes.load(Ordering::SeqCst);
        if lost_at.is_some_and(|at| at != changes) {
            // It lost something, and the network has changed since.
            break;
        }
        let size = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(size) => size,
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock
                        | std::io::ErrorKind::TimedOut
                        | std::io::ErrorKind::Interrupted
                ) =>
            {
                continue;
            }
            Err(_) => break,
        };
        if lost_at.is_some() || rules.is_cut(pair.0, pair.1) {
            lost_at.get_or_insert(changes);
            continue;
        }
        let bytes = buffer[..size].to_vec();
        let mut late = Duration::from_micros(rules.delay_us.load(Ordering::SeqCst));
        let scan = Duration::from_millis(rules.scan_ms.load(Ordering::SeqCst));
        if !scan.is_zero() {
            if answers {
                let waiting = scans.swap(0, Ordering::SeqCst);
                late += scan * u32::try_from(waiting).unwrap();
            } else if bytes.windows(6).any(|word| word == b"SCAN\r\n") {
                scans.fetch_add(1, Ordering::SeqCst);
            }
        }
        if sender.send((Instant::now() + late, bytes)).is_err() {
            break;
        }
    }
    drop(sender);
    let _ = writing.join();
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
