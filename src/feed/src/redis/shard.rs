//! One server of the shared store. It must stay the master that it was.

use redis::aio::MultiplexedConnection;
use redis::{Arg, Cmd, ErrorKind, RedisError, RedisResult, Value};

use super::errors::not_a_master;
use super::reply::text;

/// Bytes of commands that are sent together. A single command may be larger.
const TOGETHER: usize = 256 * 1024;

/// A server with a part of the store, or all of it.
pub struct Shard {
    connection: MultiplexedConnection,
    /// Its reign as a master at the time of connecting.
    pub reign: String,
}

pub(super) fn changed(why: &'static str) -> RedisError {
    (ErrorKind::Client, why).into()
}

impl Shard {
    /// Uses its own connection.
    ///
    /// # Errors It is not a master, or does not answer.
    pub async fn new(mut connection: MultiplexedConnection) -> RedisResult<Self> {
        let info: Value = replication().query_async(&mut connection).await?;
        let reign = reign_of(info)?;
        Ok(Shard { connection, reign })
    }

    /// Sends commands together, after a question whether this is still the same master.
    /// Returns the answer to each, in order.
    ///
    /// # Errors It is not the same master, or does not answer.
    pub async fn ask(&mut self, commands: Vec<Cmd>) -> RedisResult<Vec<RedisResult<Value>>> {
        let mut commands = commands.into_iter().peekable();
        let mut all = Vec::new();
        loop {
            let (mut pipeline, mut bytes) = (redis::pipe(), 0_usize);
            pipeline.add_command(replication());
            while let Some(command) = commands.next_if(|_| bytes < TOGETHER) {
                bytes = bytes.saturating_add(size(&command));
                pipeline.add_command(command);
            }
            pipeline.ignore_errors();
            let answers: Vec<RedisResult<Value>> =
                pipeline.query_async(&mut self.connection).await?;
            let mut answers = answers.into_iter();
            let info = answers.next().unwrap_or(Ok(Value::Nil))?;
            if reign_of(info)? != self.reign {
                return Err(changed("this server's replication id has changed"));
            }
            all.extend(answers);
            if commands.peek().is_none() {
                return Ok(all);
            }
        }
    }

    /// A command about a key that is being moved to this server, or was.
    ///
    /// # Errors As [`Shard::ask`].
    pub async fn ask_moved(
        &mut self,
        asking: bool,
        command: &Cmd,
    ) -> RedisResult<RedisResult<Value>> {
        let mut commands = vec![command.clone()];
        if asking {
            commands.insert(0, redis::cmd("ASKING"));
        }
        let answers = self.ask(commands).await?;
        Ok(answers.into_iter().next_back().unwrap_or(Ok(Value::Nil)))
    }
}

fn size(command: &Cmd) -> usize {
    let sizes = command.args_iter().map(|part| match part {
        Arg::Simple(bytes) => bytes.len(),
        _ => 0,
    });
    sizes.fold(0, usize::saturating_add)
}

fn replication() -> Cmd {
    let mut info = redis::cmd("INFO");
    info.arg("replication");
    info
}

/// The server's reign as a master.
///
/// # Errors It is not a master.
fn reign_of(info: Value) -> RedisResult<String> {
    let info = text(info).unwrap_or_default();
    let of = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().to_owned())
    };
    if of("role:").as_deref() != Some("master") {
        return Err(not_a_master());
    }
    Ok(of("master_replid:").unwrap_or_default())
}
