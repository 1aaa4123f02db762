//! Where Redis is, and a connection to it: one server, the master that Sentinels
//! name, or a cluster; with TLS, a password and an ACL user as the URLs say.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue,
    IntoConnectionInfo as _, Pipeline, RedisFuture, RedisResult, TlsCertificates, Value,
};
use tokio::sync::Mutex;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// Longest wait for an answer, longer than any command of ours blocks: what is
/// cut off is noticed by then.
const ANSWER: Duration = Duration::from_secs(3);

/// What finds Redis.
#[derive(Clone)]
pub enum Target {
    /// One server.
    Server(Box<Client>),
    /// Whoever Sentinels say is the master.
    Sentinel(Arc<Mutex<SentinelClient>>),
    /// A cluster.
    Cluster(Box<ClusterClient>),
}

/// What the command line says about Redis.
#[derive(Debug, Clone, Default)]
pub struct Address {
    /// `redis://` or `rediss://` URLs: the server, the Sentinels, or nodes of the
    /// cluster.
    pub urls: Vec<String>,
    /// The master's name; the URLs are Sentinels'.
    pub sentinel_master: Option<String>,
    /// The URLs are a cluster's.
    pub cluster: bool,
    /// CA certificates in PEM, instead of the system's.
    pub ca: Option<Vec<u8>>,
}

impl Address {
    /// Reads the CA certificates of a file.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn with_ca_file(mut self, file: Option<&Path>) -> Result<Self> {
        if let Some(file) = file {
            let pem = std::fs::read(file)
                .with_context(|| format!("cannot read the CA file {}", file.display()))?;
            self.ca = Some(pem);
        }
        Ok(self)
    }

    /// Finds out how to reach it. Nothing is connected yet.
    ///
    /// # Errors
    /// A URL that is none, in words that do not show the password in it.
    pub fn target(&self) -> Result<Target> {
        ensure!(!self.urls.is_empty(), "no Redis URL");
        // One process has one provider; a second call changes nothing.
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
        let certificates = self.ca.as_ref().map(|ca| TlsCertificates {
            client_tls: None,
            root_cert: Some(ca.clone()),
        });
        if let Some(master) = &self.sentinel_master {
            let mut node = SentinelNodeConnectionInfo::default()
                .set_redis_connection_info(first.redis_settings().clone());
            if matches!(first.addr(), ConnectionAddr::TcpTls { .. }) {
                node = node.set_tls_mode(redis::TlsMode::Secure);
            }
            let client = SentinelClient::build(
                infos,
                master.as_str(),
                Some(node),
                SentinelServerType::Master,
            )
            .context("the Sentinel addresses")?;
            return Ok(Target::Sentinel(Arc::new(Mutex::new(client))));
        }
        if self.cluster {
            let mut builder = ClusterClientBuilder::new(infos)
                .connection_timeout(CONNECT)
                .response_timeout(ANSWER);
            if let Some(certificates) = certificates {
                builder = builder.certs(certificates);
            }
            let client = builder.build().context("the cluster's addresses")?;
            return Ok(Target::Cluster(Box::new(client)));
        }
        ensure!(
            infos.len() == 1,
            "several Redis URLs need --redis-sentinel-master or --redis-cluster"
        );
        Ok(Target::Server(Box::new(match certificates {
            Some(certificates) => Client::build_with_tls(first, certificates)
                .context("the Redis URL with --redis-ca-file")?,
            None => Client::open(first).context("the Redis URL")?,
        })))
    }
}

impl Target {
    /// A connection of its own.
    ///
    /// # Errors
    /// Whatever keeps it from being made.
    pub async fn connect(&self) -> RedisResult<Connection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER));
        let made = async {
            Ok(match self {
                Target::Server(client) => Connection::Server(
                    client
                        .get_multiplexed_async_connection_with_config(&config)
                        .await?,
                ),
                Target::Sentinel(client) => Connection::Server(
                    client
                        .lock()
                        .await
                        .get_async_connection_with_config(&config)
                        .await?,
                ),
                Target::Cluster(client) => {
                    Connection::Cluster(client.get_async_connection().await?)
                }
            })
        };
        // Finding the master, or a cluster's nodes, has no deadline of its own.
        tokio::time::timeout(CONNECT.saturating_mul(3), made)
            .await
            .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
    }
}

/// A connection to one server or to a cluster.
#[derive(Clone)]
pub enum Connection {
    /// One server.
    Server(MultiplexedConnection),
    /// A cluster.
    Cluster(ClusterConnection),
}

impl Connection {
    /// A slot of each master that has to be asked for its own keys; none when one
    /// server has them all.
    ///
    /// # Errors
    /// Whatever keeps the cluster from answering.
    pub async fn masters(&mut self) -> RedisResult<Vec<Option<u16>>> {
        if matches!(self, Connection::Server(_)) {
            return Ok(vec![None]);
        }
        let ranges: Vec<Vec<Value>> = redis::cmd("CLUSTER").arg("SLOTS").query_async(self).await?;
        let (mut known, mut masters) = (Vec::new(), Vec::new());
        for range in ranges {
            // First slot, last slot, master, replicas.
            let mut range = range.into_iter();
            let (Some(slot), Some(_), Some(master)) = (range.next(), range.next(), range.next())
            else {
                continue;
            };
            if !known.contains(&master) {
                known.push(master);
                masters.push(Some(u16::from_redis_value(slot)?));
            }
        }
        Ok(masters)
    }

    /// Asks one of [`Connection::masters`].
    ///
    /// # Errors
    /// Whatever keeps it from answering.
    pub async fn ask<T: FromRedisValue>(
        &mut self,
        at: Option<u16>,
        command: Cmd,
    ) -> RedisResult<T> {
        match (self, at) {
            (Connection::Cluster(cluster), Some(slot)) => {
                let node = SingleNodeRoutingInfo::SpecificNode(Route::new(slot, SlotAddr::Master));
                let value = cluster
                    .route_command(command, RoutingInfo::SingleNode(node))
                    .await?;
                Ok(T::from_redis_value(value)?)
            }
            (connection, _) => command.query_async(connection).await,
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Connection::Server(connection) => connection.req_packed_command(command),
            Connection::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Connection::Server(connection) => {
                connection.req_packed_commands(pipeline, offset, count)
            }
            Connection::Cluster(connection) => {
                connection.req_packed_commands(pipeline, offset, count)
            }
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Connection::Server(connection) => connection.get_db(),
            Connection::Cluster(connection) => connection.get_db(),
        }
    }
}
