//! Header maps as a proxy keeps them, and their form in the ABI. `abi/maps.rs` has the
//! rules for reading and changing them.

use std::fmt;

/// Names that Envoy keeps once: a second value is joined to the first.
const JOINED: &[(&str, &[u8])] = &[
    ("authorization", b","),
    ("accept", b","),
    ("accept-encoding", b","),
    ("cache-control", b","),
    ("content-type", b","),
    ("cookie", b"; "),
    ("user-agent", b","),
    ("x-forwarded-for", b","),
    ("x-request-id", b","),
];

/// An ordered multimap of lower-case names to values of any bytes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Vec<u8>, Vec<u8>)>);

impl Headers {
    /// No header at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// The first value of a name.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        let name = lower(name.as_ref());
        self.0
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v.as_slice())
    }

    /// The first value of a name as text; `None` if it is absent or not UTF-8.
    pub fn text(&self, name: impl AsRef<[u8]>) -> Option<&str> {
        self.get(name).and_then(|v| std::str::from_utf8(v).ok())
    }

    /// Every value of a name, in order.
    pub fn all(&self, name: impl AsRef<[u8]>) -> Vec<&[u8]> {
        let name = lower(name.as_ref());
        let same = self.0.iter().filter(|(n, _)| *n == name);
        same.map(|(_, v)| v.as_slice()).collect()
    }

    /// Whether a name is there.
    pub fn has(&self, name: impl AsRef<[u8]>) -> bool {
        self.get(name).is_some()
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(n, v)| (n.as_slice(), v.as_slice()))
    }

    /// The names, in order, as text (for assertions on what was sent).
    pub fn names(&self) -> Vec<String> {
        let names = self.0.iter();
        names
            .map(|(n, _)| String::from_utf8_lossy(n).into_owned())
            .collect()
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds an entry at the end, whatever its name.
    pub(crate) fn push(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let (name, value) = (lower(name.as_ref()), value.as_ref().to_vec());
        self.0.push((name, value));
    }

    /// The same entries, joined if the proxy keeps only one.
    pub(crate) fn joined(&self) -> Self {
        let mut all = Self::new();
        for (name, value) in self.iter() {
            all.add(name, value);
        }
        all
    }

    /// Overwrites the first entry of a name, or adds one. False if there are more.
    pub(crate) fn set_first(&mut self, name: &[u8], value: &[u8]) -> bool {
        let name = lower(name);
        let mut same = self.0.iter_mut().filter(|(n, _)| *n == name);
        match same.next() {
            Some((_, first)) => {
                *first = value.to_vec();
                same.next().is_none()
            }
            None => {
                self.0.push((name, value.to_vec()));
                true
            }
        }
    }

    /// Removes every entry with that name, and returns them.
    pub(crate) fn take(&mut self, name: &[u8]) -> Self {
        let name = lower(name);
        let (taken, kept) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(n, _)| *n == name);
        self.0 = kept;
        Self(taken)
    }

    /// Adds every entry of another map.
    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Keeps the first entries.
    pub(crate) fn truncate(&mut self, most: usize) {
        self.0.truncate(most);
    }

    /// Adds an entry at the end, or joins it if the proxy keeps only one.
    pub fn add(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let (name, value) = (lower(name.as_ref()), value.as_ref());
        if let Some((_, by)) = JOINED.iter().find(|(n, _)| n.as_bytes() == name)
            && let Some((_, old)) = self.0.iter_mut().find(|(n, _)| *n == name)
        {
            old.extend_from_slice(by);
            old.extend_from_slice(value);
            return;
        }
        self.0.push((name, value.to_vec()));
    }

    /// Leaves exactly one entry of that name.
    pub fn set(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let name = lower(name.as_ref());
        let place = self.0.iter().position(|(n, _)| *n == name);
        match place {
            None => self.0.push((name, value.as_ref().to_vec())),
            Some(place) => {
                self.0[place].1 = value.as_ref().to_vec();
                let mut seen = 0;
                self.0.retain(|(n, _)| {
                    seen += usize::from(*n == name);
                    *n != name || seen == 1
                });
            }
        }
    }

    /// Removes every entry of that name.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) {
        let name = lower(name.as_ref());
        self.0.retain(|(n, _)| *n != name);
    }

    /// The bytes of all names and values together.
    pub fn byte_size(&self) -> usize {
        self.0.iter().map(|(n, v)| n.len() + v.len()).sum()
    }

    /// The form in the ABI: the count, the sizes, then NUL-terminated strings.
    pub fn to_abi(&self) -> Vec<u8> {
        let mut out = (self.0.len() as u32).to_le_bytes().to_vec();
        for (n, v) in &self.0 {
            out.extend((n.len() as u32).to_le_bytes());
            out.extend((v.len() as u32).to_le_bytes());
        }
        for (n, v) in &self.0 {
            out.extend_from_slice(n);
            out.push(0);
            out.extend_from_slice(v);
            out.push(0);
        }
        out
    }

    /// Reads the form in the ABI; `None` if it is damaged. No bytes at all are an empty
    /// map.
    pub fn from_abi(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::new());
        }
        let word = |at: usize| -> Option<usize> {
            let word = bytes.get(at..at.checked_add(4)?)?;
            Some(u32::from_le_bytes(word.try_into().ok()?) as usize)
        };
        let count = word(0)?;
        let mut at = count.checked_mul(8)?.checked_add(4)?;
        let mut next = |size: usize| -> Option<&[u8]> {
            let end = at.checked_add(size)?;
            let text = bytes.get(at..end)?;
            (*bytes.get(end)? == 0).then_some(())?;
            at = end + 1;
            Some(text)
        };
        let mut map = Self::new();
        for i in 0..count {
            let (name, value) = (word(4 + 8 * i)?, word(8 + 8 * i)?);
            let name = next(name)?;
            map.add(name, next(value)?);
        }
        Some(map)
    }
}

fn lower(name: &[u8]) -> Vec<u8> {
    name.to_ascii_lowercase()
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (n, v) in &self.0 {
            map.entry(&String::from_utf8_lossy(n), &String::from_utf8_lossy(v));
        }
        map.finish()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        for (n, v) in entries {
            map.add(n, v);
        }
        map
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>, const S: usize> From<[(N, V); S]> for Headers {
    fn from(entries: [(N, V); S]) -> Self {
        entries.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_abi_form_is_read_back() {
        let map = Headers::from([
            (":path", &b"/"[..]),
            ("x-empty", b""),
            ("x-raw", b"\xff\x00a"),
        ]);
        assert_eq!(
            &map.to_abi()[..12],
            &[3, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0],
            "count, then the sizes of the first name and value"
        );
        assert_eq!(Headers::from_abi(&map.to_abi()), Some(map));
        assert_eq!(Headers::from_abi(&[]), Some(Headers::new()));
    }

    #[test]
    fn a_damaged_abi_form_is_refused() {
        let whole = Headers::from([("a", "1"), ("b", "2")]).to_abi();
        for end in 1..whole.len() {
            assert_eq!(Headers::from_abi(&whole[..end]), None, "cut at {end}");
        }
        let mut untended = whole.clone();
        let nul = whole.len() - 1;
        untended[nul] = b'x';
        assert_eq!(Headers::from_abi(&untended), None);
        assert_eq!(Headers::from_abi(&[255, 255, 255, 255, 0]), None);
    }

    #[test]
    fn two_authorizations_become_one_value_and_two_others_stay_two() {
        let map = Headers::from([
            ("Authorization", "Bearer a"),
            ("x-tag", "1"),
            ("authorization", "Bearer b"),
            ("x-tag", "2"),
        ]);
        assert_eq!(map.get("authorization"), Some(&b"Bearer a,Bearer b"[..]));
        assert_eq!(map.all("x-tag"), [b"1", b"2"]);
        assert_eq!(map.len(), 3);
    }

    #[test]
    fn setting_leaves_one_entry_in_its_place_and_removing_none() {
        let mut map = Headers::from([("x", "1"), ("y", "0"), ("x", "2")]);
        map.set("X", "3");
        assert_eq!(map, Headers::from([("x", "3"), ("y", "0")]));
        map.remove("x");
        assert_eq!(map, Headers::from([("y", "0")]));
    }
}
