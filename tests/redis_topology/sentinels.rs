//! Three Sentinels, of which two must agree, around a master and two replicas.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Access, Network, Node, Site, WHOLE, replicated, url};
use crate::processes::{Companion, until};

/// The name of the master.
const NAME: &str = "caracal";
/// Sites of the Sentinels; those of the servers are 1 to 3.
const SITES: [Site; 3] = [11, 12, 13];

pub struct Sentinels {
    pub network: Network,
    pub servers: Vec<Node>,
    pub sentinels: Vec<Node>,
    access: Access,
    own: Access,
}

impl Default for Sentinels {
    fn default() -> Self {
        Sentinels::start(&Access::default(), &Access::default())
    }
}

impl Sentinels {
    /// `own` is what the Sentinels demand themselves.
    pub fn start(access: &Access, own: &Access) -> Self {
        let network = Network::default();
        let servers = replicated(&network, access, 3);
        let master = servers[0].announced();
        // Among themselves and to servers they speak TLS if the servers do.
        let certificate = own.tls.clone().or_else(|| access.tls.clone());
        let listening = Access {
            tls: certificate,
            ..own.clone()
        };
        let sentinels = SITES
            .into_iter()
            .map(|site| {
                let mut node = Node::new(&network, site, &listening);
                let peers = match (&access.tls, &node.tls) {
                    (Some(_), Some(tls)) => tls.address,
                    _ => node.plain.address,
                };
                let file = node.folder.join("sentinel.conf");
                if let (Some(theirs), Some(own)) = (&access.tls, &own.tls) {
                    // It reaches servers and other Sentinels.
                    let both = [theirs, own].map(|c| fs::read(&c.certificate).unwrap());
                    let bundle = node.folder.join("ca.pem");
                    fs::write(&bundle, both.concat()).unwrap();
                    let bundle = bundle.to_str().unwrap().to_owned();
                    node.say(&["--tls-ca-cert-file", &bundle]);
                }
                let mut text = format!(
                    "sentinel monitor {NAME} {} {} 2\n\
                     sentinel down-after-milliseconds {NAME} 700\n\
                     sentinel failover-timeout {NAME} 3000\n\
                     sentinel announce-ip {}\nsentinel announce-port {}\n",
                    master.ip(),
                    master.port(),
                    peers.ip(),
                    peers.port(),
                );
                if access.tls.is_some() {
                    text.push_str("tls-replication yes\n");
                }
                if let Some(password) = &access.password {
                    text.push_str(&format!("sentinel auth-pass {NAME} {password}\n"));
                }
                if let Some(password) = &own.password {
                    text.push_str(&format!("requirepass {password}\n"));
                    text.push_str(&format!("sentinel sentinel-pass {password}\n"));
                }
                if let Some((user, password)) = &own.user {
                    text.push_str(&format!("user {user} on >{password} allchannels +@all\n"));
                }
                fs::write(&file, text).unwrap();
                node.start_sentinel(&file);
                node
            })
            .collect();
        let all = Sentinels {
            network,
            servers,
            sentinels,
            access: access.clone(),
            own: own.clone(),
        };
        all.are_whole();
        all
    }

    /// Starts again those that are not running, with what they knew.
    pub fn restart_sentinels(&mut self) {
        for sentinel in &mut self.sentinels {
            if !sentinel.is_running() {
                let file = sentinel.folder.join("sentinel.conf");
                sentinel.start_sentinel(&file);
            }
        }
    }

    /// Waits until each knows the two others and both replicas.
    pub fn are_whole(&self) {
        for sentinel in &self.sentinels {
            until("the Sentinels know each other", WHOLE, || {
                let info: Vec<String> = sentinel
                    .try_ask(&["SENTINEL", "MASTER", NAME])
                    .unwrap_or_default();
                let of = |name: &str| {
                    let at = info.iter().step_by(2).position(|key| key == name);
                    at.and_then(|at| info.get(at * 2 + 1)).cloned()
                };
                of("num-other-sentinels").as_deref() == Some("2")
                    && of("num-slaves").as_deref() == Some("2")
                    && of("flags").as_deref() == Some("master")
            });
        }
    }

    /// What a companion is told.
    pub fn companion(&self, database: u8) -> Companion {
        self.companion_as(&self.access, &self.own, database)
    }

    /// The same by another user, or with something wrong.
    pub fn companion_as(&self, access: &Access, own: &Access, database: u8) -> Companion {
        let addresses: Vec<SocketAddr> = self
            .sentinels
            .iter()
            .map(|sentinel| match (&own.tls, &sentinel.tls) {
                (Some(_), Some(tls)) => tls.address,
                _ => sentinel.plain.address,
            })
            .collect();
        let urls = url(access, &addresses, database);
        let mut words = vec!["--redis-url", &urls, "--redis-sentinel-master", NAME];
        let tls = own.tls.is_some();
        // Without a word, they are reached as the master is.
        if tls != access.tls.is_some() {
            words.extend(["--redis-sentinel-tls", if tls { "true" } else { "false" }]);
        }
        if let Some(certificate) = &access.tls {
            words.extend(["--redis-ca-file", certificate.authority()]);
        }
        if let Some(certificate) = &own.tls {
            words.extend(["--redis-sentinel-ca-file", certificate.authority()]);
        }
        if let Some((user, _)) = &own.user {
            words.extend(["--redis-sentinel-user", user]);
        }
        let companion = Companion::new(&words);
        let password = own.user.as_ref().map(|(_, password)| password);
        match password.or(own.password.as_ref()) {
            Some(password) => companion.environment("REDIS_SENTINEL_PASSWORD", password),
            None => companion,
        }
    }

    /// The master that a Sentinel names.
    pub fn named_by(&self, sentinel: usize) -> Option<SocketAddr> {
        let (host, port): (String, String) = self.sentinels[sentinel]
            .try_ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])
            .ok()?;
        Some(SocketAddr::new(host.parse().ok()?, port.parse().ok()?))
    }

    /// The server that two Sentinels name, and that is a master.
    pub fn master(&self) -> Option<usize> {
        let named: Vec<_> = (0..3)
            .filter(|n| self.sentinels[*n].is_running())
            .filter_map(|n| self.named_by(n))
            .collect();
        self.servers.iter().position(|server| {
            let at = server.announced();
            named.iter().filter(|name| **name == at).count() >= 2 && server.is_master()
        })
    }

    /// Waits for another master than `old`.
    #[track_caller]
    pub fn other_master(&self, old: usize) -> usize {
        let mut found = None;
        until("another master", WHOLE, || {
            found = self.master().filter(|master| *master != old);
            found.is_some()
        });
        found.unwrap()
    }

    /// `SENTINEL FAILOVER`, again until a Sentinel takes it.
    #[track_caller]
    pub fn fail_over(&self) {
        until("a failover begins", WHOLE, || {
            let asked: redis::RedisResult<()> =
                self.sentinels[1].try_ask(&["SENTINEL", "FAILOVER", NAME]);
            std::thread::sleep(Duration::from_millis(100));
            asked.is_ok()
        });
    }
}
