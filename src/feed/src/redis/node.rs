//! The one server that has a stream.

use std::sync::Arc;
use std::time::Instant;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisResult};

use super::connection::Named;
use super::witness::Witness;
use crate::event::Stream;

/// A connection to the one server that has a stream, with the witnesses that name it.
pub struct Node {
    /// The connection.
    pub connection: MultiplexedConnection,
    /// Its address, for logs.
    pub address: String,
    pub(super) stream: Stream,
    pub(super) witness: Option<(Arc<Witness>, Named)>,
}

impl Node {
    /// When the witnesses last named this server as the stream's server. If there are no
    /// witnesses, that is now.
    ///
    /// # Errors They name another server, or too few of them answer.
    pub fn named_at(&self) -> RedisResult<Instant> {
        let Some((witness, named)) = &self.witness else {
            return Ok(Instant::now());
        };
        let view = witness.view(self.stream)?;
        if view.named != *named {
            return Err((
                ErrorKind::Client,
                "this server is no longer the master that the Sentinels or masters name",
            )
                .into());
        }
        Ok(view.at)
    }
}
