//! Publishes an event as Caracal's control plane does.

use redis::RedisResult;

use super::target::Target;
use crate::event::{Fields, HmacKey, Stream};

/// About how many messages a stream keeps (contract, "Revocation streams").
const MAX_MESSAGES: usize = 100_000;

/// Adds a message, which is signed if there is a key, and returns its id.
///
/// # Errors Any reason why Redis does not accept it.
pub async fn publish(
    target: &Target,
    stream: Stream,
    mut fields: Fields,
    key: Option<&HmacKey>,
) -> RedisResult<String> {
    if let Some(key) = key {
        key.sign(stream, &mut fields);
    }
    if let Some(witness) = target.witness() {
        witness.ask_once().await;
    }
    let mut node = target.node(stream).await?;
    let mut command = redis::cmd("XADD");
    command
        .arg(stream.key())
        .arg(&["MAXLEN", "~", &MAX_MESSAGES.to_string(), "*"]);
    for (name, value) in &fields {
        command.arg(name).arg(value);
    }
    command.query_async(&mut node.connection).await
}
