//! Where Redis is, and a connection to it: one server, the master that Sentinels
//! name, or a cluster; with TLS, a password and an ACL user as the URLs say.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo,
    RedisResult,
};

use super::connection::{Login, client, connect};
use super::node::Node;
use super::store::Store;
use super::witness::Witness;
use crate::event::Stream;

/// What finds Redis.
#[derive(Clone)]
pub enum Target {
    /// One server, with its address for logs.
    Server(Box<Client>, String),
    /// The server that the Sentinels name, and how to reach it.
    Sentinel(Login, Arc<Witness>),
    /// A cluster. Its masters are the witnesses.
    Cluster(Login, Arc<Witness>),
}

/// The command line's settings for Redis.
#[derive(Debug, Clone, Default)]
pub struct Address {
    /// `redis://` or `rediss://` URLs: the server, the Sentinels, or nodes of the
    /// cluster.
    pub urls: Vec<String>,
    /// The master's name. The URLs are then those of Sentinels.
    pub sentinel_master: Option<String>,
    /// The URLs are nodes of a cluster.
    pub cluster: bool,
    /// CA certificates in PEM, instead of the system's.
    pub ca: Option<Vec<u8>>,
    /// The user for the Sentinels.
    pub sentinel_user: Option<String>,
    /// The password for the Sentinels.
    pub sentinel_password: Option<String>,
    /// Whether the Sentinels use TLS. If it is not given, the URLs' scheme decides.
    pub sentinel_tls: Option<bool>,
    /// CA certificates of the Sentinels in PEM, instead of `ca`.
    pub sentinel_ca: Option<Vec<u8>>,
}

impl Address {
    /// Finds out how to reach Redis, without connecting yet.
    ///
    /// # Errors An invalid URL, described without the password in it.
    pub fn target(&self) -> Result<Target> {
        ensure!(!self.urls.is_empty(), "no Redis URL");
        // There is one provider in a process. A second call changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let parse = |url: &String| -> Result<ConnectionInfo> {
            url.as_str()
                .into_connection_info()
                .map_err(|_| anyhow::anyhow!("not a redis:// or rediss:// URL"))
        };
        let infos: Vec<ConnectionInfo> = self.urls.iter().map(parse).collect::<Result<_>>()?;
        let Some(first) = infos.first().cloned() else {
            anyhow::bail!("no Redis URL");
        };
        let login = Login {
            redis: first.redis_settings().clone(),
            tls: matches!(first.addr(), ConnectionAddr::TcpTls { .. }),
            ca: self.ca.clone(),
        };
        if let Some(master) = &self.sentinel_master {
            let mut own = RedisConnectionInfo::default();
            if let Some(user) = &self.sentinel_user {
                own = own.set_username(user);
            }
            if let Some(password) = &self.sentinel_password {
                own = own.set_password(password);
            }
            let sentinels = Login {
                redis: own,
                tls: self.sentinel_tls.unwrap_or(login.tls),
                ca: self.sentinel_ca.clone().or_else(|| self.ca.clone()),
            };
            let witness = Witness::sentinels(hosts(&infos)?, sentinels, master.clone());
            return Ok(Target::Sentinel(login, witness));
        }
        if self.cluster {
            ensure!(
                login.redis.db() == 0,
                "a cluster has no databases: leave the number out of the URLs"
            );
            let witness = Witness::masters(hosts(&infos)?, login.clone());
            return Ok(Target::Cluster(login, witness));
        }
        ensure!(
            infos.len() == 1,
            "several Redis URLs need --redis-sentinel-master or --redis-cluster"
        );
        let name = first.addr().to_string();
        let client = client(first, self.ca.clone()).context("the Redis URL")?;
        Ok(Target::Server(Box::new(client), name))
    }
}

fn hosts(infos: &[ConnectionInfo]) -> Result<Vec<(String, u16)>> {
    let host = |info: &ConnectionInfo| match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Ok((host.clone(), *port))
        }
        _ => anyhow::bail!("Sentinels and clusters must be reached over TCP"),
    };
    infos.iter().map(host).collect()
}

impl Target {
    /// The witnesses, if there are any.
    pub fn witness(&self) -> Option<&Arc<Witness>> {
        match self {
            Target::Server(..) => None,
            Target::Sentinel(_, witness) | Target::Cluster(_, witness) => Some(witness),
        }
    }

    /// Where it looks for Redis, for logs.
    pub fn name(&self) -> String {
        match self {
            Target::Server(_, name) => name.clone(),
            Target::Sentinel(_, witness) | Target::Cluster(_, witness) => witness.name(),
        }
    }

    /// Its own connection to the server that has a stream.
    ///
    /// # Errors Any reason why it cannot be made.
    pub async fn node(&self, stream: Stream) -> RedisResult<Node> {
        let (login, witness) = match self {
            Target::Server(client, name) => {
                return Ok(Node {
                    connection: connect(client).await?,
                    address: name.clone(),
                    stream,
                    witness: None,
                });
            }
            Target::Sentinel(login, witness) | Target::Cluster(login, witness) => (login, witness),
        };
        let named = witness.fresh_view(stream).await?.named;
        let connection = connect(&login.at(&named.host, named.port)?).await?;
        Ok(Node {
            connection,
            address: format!("{}:{}", named.host, named.port),
            stream,
            witness: Some((Arc::clone(witness), named)),
        })
    }

    /// Its own connection to the shared store.
    ///
    /// # Errors Any reason why it cannot be made.
    pub async fn store(&self) -> RedisResult<Store> {
        match self {
            Target::Cluster(login, witness) => Store::of_cluster(login, witness).await,
            _ => Store::of_server(self.node(Stream::Revocations).await?).await,
        }
    }
}
