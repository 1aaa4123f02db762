//! Values by the number of their stream, in slots. Adding and removing one costs the same
//! however many there are, and a reader that goes through the slots part by part meets each
//! value that was there before it began.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Numbers of streams are the proxy's and count up: nobody can choose some that collide.
#[derive(Default)]
struct StreamHasher(u32);

impl Hasher for StreamHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        // Both the low and the high bits differ for numbers that follow each other.
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9);
    }

    fn finish(&self) -> u64 {
        u64::from(self.0)
    }
}

/// A value, and its stream.
type Slot<T> = Option<(u32, T)>;

pub(crate) struct Registry<T> {
    slots: Vec<Slot<T>>,
    /// The slots that are empty.
    free: Vec<usize>,
    by_stream: HashMap<u32, usize, BuildHasherDefault<StreamHasher>>,
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Registry {
            slots: Vec::new(),
            free: Vec::new(),
            by_stream: HashMap::default(),
        }
    }
}

impl<T> Registry<T> {
    pub(crate) fn len(&self) -> usize {
        self.by_stream.len()
    }

    pub(crate) fn get_mut(&mut self, stream: u32) -> Option<&mut T> {
        let slot = self.by_stream.get(&stream)?;
        let (_, value) = self.slots.get_mut(*slot)?.as_mut()?;
        Some(value)
    }

    pub(crate) fn insert(&mut self, stream: u32, value: T) {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                self.slots.len().saturating_sub(1)
            }
        };
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some((stream, value));
            self.by_stream.insert(stream, slot);
        }
    }

    pub(crate) fn remove(&mut self, stream: u32) -> Option<T> {
        let slot = self.by_stream.remove(&stream)?;
        let (_, value) = self.slots.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some(value)
    }

    /// At most so many slots from one on, with their numbers and streams. An empty slot counts
    /// too. Fewer are the last.
    pub(crate) fn part(
        &self,
        from: usize,
        count: usize,
    ) -> impl ExactSizeIterator<Item = (usize, Option<(u32, &T)>)> {
        let rest = self.slots.get(from..).unwrap_or_default();
        let part = rest.get(..count.min(rest.len())).unwrap_or_default();
        part.iter().enumerate().map(move |(number, slot)| {
            let value = slot.as_ref().map(|(stream, value)| (*stream, value));
            (from.saturating_add(number), value)
        })
    }
}
