//! Reads the product's stream of audit events, for whoever looks for a decision or follows
//! them. It changes nothing there.

use redis::{RedisResult, Value};

use super::product::MAX_DATA;
use crate::event::HmacKey;
use crate::redis::command::Command;
use crate::redis::reply::{bytes, items, text};
use crate::redis::script::READ_AUDIT;
use crate::redis::store::Store;
use crate::redis::target::Target;

/// The product's stream. It is never trimmed from here: what its consumer has not read would
/// be lost.
pub(super) const STREAM: &str = "caracal.audit.events";

/// Largest message that is read: an event, and its signature.
const MAX_MESSAGE: usize = MAX_DATA + 1_024;

/// What the reader's key says of an event's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// There is no key to check it with.
    Unchecked,
    /// It is good.
    Good,
    /// There is none, or it is of other bytes or another key. Anybody who may write to the
    /// stream could have written the event.
    Bad,
}

/// An event in the stream.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its id in the stream.
    pub place: String,
    /// Its bytes, at most 64 KiB. Empty if there are more, or none.
    pub data: Vec<u8>,
    /// What the key says of it.
    pub signature: Signature,
}

/// See the module.
pub struct Reader {
    store: Store,
    key: Option<HmacKey>,
}

impl Reader {
    /// Connects.
    ///
    /// # Errors Any reason why Redis cannot be reached.
    pub async fn connect(target: &Target, key: Option<HmacKey>) -> RedisResult<Self> {
        let store = target.store().await?;
        Ok(Reader { store, key })
    }

    /// The newest events before a place, or of all, the newest first.
    ///
    /// # Errors Redis does not answer.
    pub async fn before(&mut self, place: Option<&str>, most: usize) -> RedisResult<Vec<Stored>> {
        let end = place.map_or_else(|| "+".to_owned(), |place| format!("({place}"));
        self.read("XREVRANGE", &end, "-", most).await
    }

    /// The oldest events after a place, the oldest first.
    ///
    /// # Errors Redis does not answer.
    pub async fn after(&mut self, place: &str, most: usize) -> RedisResult<Vec<Stored>> {
        self.read("XRANGE", &format!("({place}"), "+", most).await
    }

    async fn read(
        &mut self,
        name: &str,
        from: &str,
        to: &str,
        most: usize,
    ) -> RedisResult<Vec<Stored>> {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(READ_AUDIT).arg(1).arg(STREAM);
        cmd.arg(name).arg(from).arg(to).arg(most).arg(MAX_MESSAGE);
        let command = Command {
            key: STREAM.to_owned(),
            cmd,
        };
        let mut found = Vec::new();
        for answer in self.store.many(&[command]).await? {
            found.extend(
                items(answer?)
                    .into_iter()
                    .filter_map(|one| self.stored(one)),
            );
        }
        Ok(found)
    }

    fn stored(&self, value: Value) -> Option<Stored> {
        let mut parts = items(value).into_iter();
        let place = text(parts.next()?)?;
        let mut fields = parts.next().map(items).unwrap_or_default().into_iter();
        let (mut data, mut sig) = (Vec::new(), String::new());
        while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
            match bytes(name).as_deref() {
                Some(b"data") => data = bytes(value).unwrap_or_default(),
                Some(b"sig") => sig = text(value).unwrap_or_default(),
                _ => {}
            }
        }
        let signature = match &self.key {
            None => Signature::Unchecked,
            Some(key) if key.has_signed_text(&data, &sig) => Signature::Good,
            Some(_) => Signature::Bad,
        };
        if data.len() > MAX_DATA {
            data.clear();
        }
        Some(Stored {
            place,
            data,
            signature,
        })
    }
}
