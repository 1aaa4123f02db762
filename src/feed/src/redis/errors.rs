//! Tells the errors of Redis apart.

use redis::{ErrorKind, RedisError};

/// A key is being moved to another server.
pub(super) fn is_moving(error: &RedisError) -> bool {
    matches!(error.code(), Some("MOVED" | "ASK" | "TRYAGAIN"))
}

/// Only one key or message has a wrong type; everything else works.
pub(super) fn is_data_error(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
}

/// The server that should confirm the state is a replica.
pub(super) fn not_a_master() -> RedisError {
    (
        ErrorKind::Client,
        "this server is a replica, and a replica cannot confirm the state",
    )
        .into()
}
