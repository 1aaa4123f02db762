//! A connection to one Redis server: its address, the login, and how long to wait.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    RedisConnectionInfo, RedisResult, TlsCertificates,
};

/// Longest wait for a connection.
pub(super) const CONNECT: Duration = Duration::from_secs(2);
/// Longest wait for an answer. It is longer than any of the companion's commands blocks,
/// so a lost connection is noticed by then.
pub(super) const ANSWER: Duration = Duration::from_secs(3);

/// A server, as the witnesses name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// How to log in to a server whose address is found out later.
#[derive(Clone)]
pub struct Login {
    pub(super) redis: RedisConnectionInfo,
    pub(super) tls: bool,
    pub(super) ca: Option<Vec<u8>>,
}

impl Login {
    /// A client of the server at an address.
    ///
    /// # Errors
    /// Certificates that cannot be used.
    pub fn at(&self, host: &str, port: u16) -> RedisResult<Client> {
        let host = host.to_owned();
        let addr = if self.tls {
            ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let info = addr
            .into_connection_info()?
            .set_redis_settings(self.redis.clone());
        client(info, self.ca.clone())
    }
}

pub(super) fn client(info: ConnectionInfo, ca: Option<Vec<u8>>) -> RedisResult<Client> {
    let with_ca = ca.filter(|_| matches!(info.addr(), ConnectionAddr::TcpTls { .. }));
    match with_ca {
        None => Client::open(info),
        Some(ca) => Client::build_with_tls(
            info,
            TlsCertificates {
                client_tls: None,
                root_cert: Some(ca),
            },
        ),
    }
}

/// Connects within the deadlines.
///
/// # Errors Any reason why the connection cannot be made.
pub(super) async fn connect(client: &Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(ANSWER));
    within(client.get_multiplexed_async_connection_with_config(&config)).await
}

/// Gives a deadline to a future that has none.
async fn within<T>(made: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    tokio::time::timeout(CONNECT.saturating_mul(3), made)
        .await
        .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}
