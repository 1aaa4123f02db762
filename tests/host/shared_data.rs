//! Shared data and shared queues, the state that outlives a VM, with Envoy's rules for
//! them. The host calls are in `abi/state.rs`.

use std::collections::{BTreeMap, VecDeque};

use crate::host::profile::Shared;
use crate::host::{Vm, Wrong, status};

/// Keys, each with its value and cas.
pub type Values = BTreeMap<Vec<u8>, (Vec<u8>, u32)>;
/// Another plugin, which sees everything and may write a value.
pub type OtherPlugin = Box<dyn FnMut(&Values) -> Option<(Vec<u8>, Vec<u8>)>>;

/// The key-value store of one `vm_id`.
pub(crate) struct SharedData {
    pub(crate) rules: Shared,
    /// What another worker writes while the next read copies.
    pub(crate) torn: Option<Vec<u8>>,
    /// What happened and should not.
    pub(crate) noted: Vec<Wrong>,
    /// Has its turn before each call of the filter.
    pub(crate) other_plugin: Option<OtherPlugin>,
    values: Values,
    last_cas: u32,
}

impl SharedData {
    pub(crate) fn new(rules: Shared) -> Self {
        Self {
            rules,
            torn: None,
            noted: Vec::new(),
            other_plugin: None,
            values: BTreeMap::new(),
            last_cas: 0,
        }
    }

    /// The name under which a key is kept: its own, or that of a key with the same CRC32.
    fn place(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        if self.values.contains_key(key) {
            return Some(key.to_vec());
        }
        if !self.rules.by_crc32 {
            return None;
        }
        let hash = crc32fast::hash(key);
        let mut names = self.values.keys();
        let other = names.find(|name| crc32fast::hash(name) == hash)?;
        let other = other.clone();
        self.noted.push(Wrong::SharedCollision);
        Some(other)
    }

    fn let_other_plugin_write(&mut self) {
        let other = self.other_plugin.as_mut();
        if let Some((key, value)) = other.and_then(|write| write(&self.values)) {
            self.put(&key, &value);
        }
    }

    /// Reads as a filter does.
    pub(crate) fn read(&mut self, key: &[u8]) -> Option<(Vec<u8>, u32)> {
        self.let_other_plugin_write();
        let place = self.place(key)?;
        let (mut value, cas) = self.get(&place).map(|(v, cas)| (v.to_vec(), cas))?;
        if self.rules.by_crc32
            && let Some(new) = self.torn.take()
        {
            self.put(&place, &new);
            self.noted.push(Wrong::SharedTorn);
            // The size is the old one, and so is the first half.
            let half = value.len() / 2;
            for (byte, new) in value.iter_mut().zip(new).skip(half) {
                *byte = new;
            }
        }
        Some((value, cas))
    }

    /// Writes as a filter does. `status::TRAP` if that traps.
    pub(crate) fn write(&mut self, key: &[u8], value: &[u8], cas: u32) -> Result<(), u32> {
        self.let_other_plugin_write();
        let Some(place) = self.place(key) else {
            if self.values.len() >= self.rules.room {
                self.make_room()?;
            }
            return self.set(key, value, cas);
        };
        let now = self.get(&place).map(|(_, now)| now);
        if self.rules.cas_always && now != Some(cas) {
            return Err(status::CAS_MISMATCH);
        }
        self.set(&place, value, cas)
    }

    fn make_room(&mut self) -> Result<(), u32> {
        let oldest = self.values.iter().min_by_key(|(_, (_, cas))| *cas);
        let oldest = oldest.map(|(key, _)| key.clone());
        match oldest.filter(|_| self.rules.evicts) {
            Some(key) => {
                self.values.remove(&key);
                self.noted.push(Wrong::SharedEvicted);
                Ok(())
            }
            None => Err(status::TRAP),
        }
    }

    /// Writes without any check.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
        let cas = self.next_cas();
        self.values.insert(key.to_vec(), (value.to_vec(), cas));
    }

    pub(crate) fn wipe(&mut self) {
        self.values.clear();
    }

    /// The value and its cas. A removed key has an empty value. A key that was never
    /// written is absent.
    pub(crate) fn get(&self, key: &[u8]) -> Option<(&[u8], u32)> {
        let found = self.values.get(key);
        found.map(|(value, cas)| (value.as_slice(), *cas))
    }

    /// Writes. With `cas` 0 it always writes. Any other `cas` is compared only if the key
    /// exists, so one that was never given out can insert a key once.
    pub(crate) fn set(&mut self, key: &[u8], value: &[u8], cas: u32) -> Result<(), u32> {
        if let Some((_, now)) = self.values.get(key)
            && cas != 0
            && cas != *now
        {
            return Err(status::CAS_MISMATCH);
        }
        let cas = self.next_cas();
        self.values.insert(key.to_vec(), (value.to_vec(), cas));
        Ok(())
    }

    fn next_cas(&mut self) -> u32 {
        self.last_cas = self.last_cas.wrapping_add(1).max(1);
        self.last_cas
    }

    pub(crate) fn all(&self) -> &Values {
        &self.values
    }

    /// Changes bytes without a new cas. Does nothing if the key does not exist.
    pub(crate) fn corrupt(&mut self, key: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> bool {
        match self.values.get_mut(key) {
            Some((value, _)) => {
                change(value);
                true
            }
            None => false,
        }
    }

    pub(crate) fn forget(&mut self, key: &[u8]) {
        self.values.remove(key);
    }
}

/// The queues of the process.
#[derive(Default)]
pub(crate) struct Queues {
    queues: Vec<Queue>,
}

struct Queue {
    name: (Vec<u8>, Vec<u8>),
    /// Who registered it last. Envoy calls that one when something comes.
    owner: (Vm, u32),
    entries: VecDeque<Vec<u8>>,
    /// Entries for which the owner has not been called yet.
    untold: usize,
}

impl Queues {
    /// The id of the queue with this name, which is made if it does not exist.
    pub(crate) fn register(&mut self, vm_id: &[u8], name: &[u8], owner: (Vm, u32)) -> u32 {
        if let Some(id) = self.resolve(vm_id, name) {
            self.queues[id as usize - 1].owner = owner;
            return id;
        }
        self.queues.push(Queue {
            name: (vm_id.to_vec(), name.to_vec()),
            owner,
            entries: VecDeque::new(),
            untold: 0,
        });
        self.queues.len() as u32
    }

    pub(crate) fn resolve(&self, vm_id: &[u8], name: &[u8]) -> Option<u32> {
        let place = self
            .queues
            .iter()
            .position(|q| q.name.0 == vm_id && q.name.1 == name)?;
        Some(place as u32 + 1)
    }

    fn by_id(&mut self, id: u32) -> Result<&mut Queue, u32> {
        let place = (id as usize).checked_sub(1).ok_or(status::NOT_FOUND)?;
        self.queues.get_mut(place).ok_or(status::NOT_FOUND)
    }

    pub(crate) fn push(&mut self, id: u32, value: Vec<u8>) -> Result<(), u32> {
        let queue = self.by_id(id)?;
        queue.entries.push_back(value);
        queue.untold += 1;
        Ok(())
    }

    pub(crate) fn pop(&mut self, id: u32) -> Result<Vec<u8>, u32> {
        self.by_id(id)?.entries.pop_front().ok_or(status::EMPTY)
    }

    /// A queue whose owner must be called. Counts as called afterwards.
    pub(crate) fn tell(&mut self) -> Option<(Vm, u32, u32)> {
        let place = self.queues.iter().position(|q| q.untold > 0)?;
        let queue = &mut self.queues[place];
        queue.untold -= 1;
        Some((queue.owner.0, queue.owner.1, place as u32 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostKind;
    use crate::host::profile::Profile;

    fn envoys() -> SharedData {
        SharedData::new(Profile::of(HostKind::Envoy).shared)
    }

    #[test]
    fn a_write_without_cas_always_wins() {
        let mut data = envoys();
        data.set(b"k", b"1", 0).unwrap();
        data.set(b"k", b"2", 0).unwrap();
        assert_eq!(data.get(b"k"), Some((&b"2"[..], 2)));
    }

    #[test]
    fn a_cas_never_given_out_inserts_once() {
        let mut data = envoys();
        assert_eq!(data.set(b"k", b"first", u32::MAX), Ok(()));
        assert_eq!(
            data.set(b"k", b"second", u32::MAX),
            Err(status::CAS_MISMATCH)
        );
        assert_eq!(data.get(b"k").unwrap().0, b"first");
    }

    #[test]
    fn a_cas_is_good_for_one_write() {
        let mut data = envoys();
        data.set(b"k", b"1", 0).unwrap();
        let (_, cas) = data.get(b"k").unwrap();
        assert_eq!(data.set(b"k", b"2", cas), Ok(()));
        assert_eq!(data.set(b"k", b"3", cas), Err(status::CAS_MISMATCH));
        assert_ne!(data.get(b"k").unwrap().1, cas);
    }

    #[test]
    fn removed_is_empty_and_never_written_is_none() {
        let mut data = envoys();
        data.set(b"k", b"1", 0).unwrap();
        data.set(b"k", b"", 0).unwrap();
        assert_eq!(data.get(b"k"), Some((&b""[..], 2)));
        assert_eq!(data.get(b"other"), None);
    }

    #[test]
    fn the_cas_never_becomes_the_unconditional_one() {
        let mut data = envoys();
        data.last_cas = u32::MAX;
        data.set(b"k", b"1", 0).unwrap();
        assert_eq!(data.get(b"k").unwrap().1, 1);
    }

    #[test]
    fn corruption_keeps_the_cas() {
        let mut data = envoys();
        data.set(b"k", b"abc", 0).unwrap();
        assert!(data.corrupt(b"k", |v| v[0] ^= 1));
        assert_eq!(data.get(b"k"), Some((&b"`bc"[..], 1)));
    }

    #[test]
    fn queues_are_first_in_first_out_and_known_by_name() {
        let mut queues = Queues::default();
        let id = queues.register(b"vm", b"q", (Vm::Main, 1));
        assert_eq!(queues.register(b"vm", b"q", (Vm::Main, 1)), id);
        assert_eq!(queues.resolve(b"other", b"q"), None);
        queues.push(id, b"a".to_vec()).unwrap();
        queues.push(id, b"b".to_vec()).unwrap();
        assert_eq!(queues.tell(), Some((Vm::Main, 1, id)));
        assert_eq!(queues.pop(id).unwrap(), b"a");
        assert_eq!(queues.pop(id).unwrap(), b"b");
        assert_eq!(queues.pop(id), Err(status::EMPTY));
        assert_eq!(queues.pop(id + 1), Err(status::NOT_FOUND));
        assert_eq!(queues.pop(0), Err(status::NOT_FOUND));
    }
}
