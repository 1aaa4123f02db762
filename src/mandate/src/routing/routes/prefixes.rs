//! The prefixes of rules, and how one is looked up in a path.

use crate::routing::path::{InvalidPath, Work};

/// The rule that a path falls under. Two excluded prefixes are two rules, although they
/// require the same. So a path that is under one in one reading, and under the other in
/// another, is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleId {
    /// No prefix matched: the requirements at the top level.
    Default,
    /// An index into the routes.
    Route(usize),
    /// An index into the exclusions.
    Excluded(usize),
}

/// Prefixes by length. A lookup is one search for each length, and not one comparison for
/// each prefix.
#[derive(Debug, Clone, Default)]
pub(super) struct Prefixes(pub(super) Vec<OfLength>);

/// The prefixes of one length, sorted, each with its rule.
#[derive(Debug, Clone)]
pub(super) struct OfLength {
    pub(super) length: usize,
    pub(super) rules: Vec<(Box<[u8]>, RuleId)>,
}

impl OfLength {
    pub(super) fn get(&self, prefix: &[u8]) -> Option<RuleId> {
        let at = self.rules.binary_search_by(|(one, _)| (**one).cmp(prefix));
        Some(self.rules.get(at.ok()?)?.1)
    }
}

impl Prefixes {
    /// Adds a prefix without trailing `/`, unless it is there already.
    pub(super) fn add(&mut self, prefix: &str, rule: RuleId) {
        // Longest first.
        let length = prefix.len();
        let at = self.0.partition_point(|one| one.length > length);
        if self.0.get(at).is_none_or(|one| one.length != length) {
            let rules = Vec::new();
            self.0.insert(at, OfLength { length, rules });
        }
        if let Some(OfLength { rules, .. }) = self.0.get_mut(at) {
            let prefix = prefix.as_bytes();
            if let Err(at) = rules.binary_search_by(|(one, _)| (**one).cmp(prefix)) {
                rules.insert(at, (prefix.into(), rule));
            }
        }
    }

    /// The rule of the longest prefix of a path; excluded prefixes come before others of
    /// the same length. `/payouts` is a prefix of `/payouts` and `/payouts/1`, but not of
    /// `/payoutsx`.
    pub(super) fn find(&self, path: &[u8], work: &mut Work) -> Result<RuleId, InvalidPath> {
        let mut found = RuleId::Default;
        for one in self.within(path) {
            work.take(LENGTH)?;
            if let Some((prefix, [] | [b'/', ..])) = path.split_at_checked(one.length) {
                work.take(SEARCH)?;
                match one.get(prefix) {
                    Some(rule @ RuleId::Excluded(_)) => return Ok(rule),
                    Some(rule) if found == RuleId::Default => found = rule,
                    _ => {}
                }
            }
        }
        Ok(found)
    }

    /// The rule of exactly this prefix.
    fn get(&self, prefix: &[u8]) -> Option<RuleId> {
        let first = self.within(prefix).first()?;
        first.get(prefix).filter(|_| first.length == prefix.len())
    }

    /// Checks that a path has no prefix of these, which are in lower case, only when upper
    /// and lower case are ignored: `as_written` says whether a prefix is one as it is.
    ///
    /// # Errors [`InvalidPath::Spelled`].
    #[cold]
    #[inline(never)]
    pub(super) fn check_case(
        &self,
        path: &[u8],
        work: &mut Work,
        as_written: impl Fn(RuleId) -> bool,
        all: &Prefixes,
    ) -> Result<(), InvalidPath> {
        work.of_bytes(path.len(), LOWERING)?;
        let lower = lowered(path);
        for one in self.within(&lower) {
            work.take(LENGTH)?;
            let Some((prefix, rest)) = lower.split_at_checked(one.length) else {
                continue;
            };
            if rest
                .first()
                .is_some_and(|next| *next != b'/' && continues(*next))
            {
                continue;
            }
            work.take(SEARCH)?;
            if one.get(prefix).is_none() {
                continue;
            }
            work.take(SEARCH)?;
            let own = path.get(..one.length).and_then(|own| all.get(own));
            if !own.is_some_and(&as_written) {
                return Err(InvalidPath::Spelled);
            }
        }
        Ok(())
    }

    /// All lengths up to that of the path.
    pub(super) fn within(&self, path: &[u8]) -> &[OfLength] {
        let longer = self.0.partition_point(|one| one.length > path.len());
        self.0.get(longer..).unwrap_or_default()
    }
}

impl OfLength {
    /// The prefix of this length that is followed by a character that ends a name for
    /// some readers: several frameworks route `/payouts.json`, `/payouts:cancel` or
    /// `/payouts~` to `/payouts`.
    pub(super) fn cut<'p>(
        &self,
        path: &'p [u8],
        work: &mut Work,
    ) -> Result<Option<&'p [u8]>, InvalidPath> {
        work.take(LENGTH)?;
        match path.split_at_checked(self.length) {
            Some((prefix, [next, ..])) if !continues(*next) => {
                work.take(SEARCH)?;
                Ok(self.get(prefix).map(|_| prefix))
            }
            _ => Ok(None),
        }
    }
}

/// The work in wasm instructions to look up prefixes of one length, and to search among
/// them.
const LENGTH: usize = 30;
const SEARCH: usize = 150;
/// The work of each byte whose case is ignored.
const LOWERING: usize = 32;

/// A path in lower case. Some readers that ignore case take U+0130 and U+0131 (i with and
/// without a dot) for the letter.
fn lowered(path: &[u8]) -> Vec<u8> {
    let mut lower = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        let (byte, after) = match rest {
            [0xc4, 0xb0 | 0xb1, after @ ..] => (b'i', after),
            _ => (first.to_ascii_lowercase(), after),
        };
        lower.push(byte);
        rest = after;
    }
    lower
}

/// Whether a name continues with this byte for every reader. The caller has already
/// handled `/`.
fn continues(byte: u8) -> bool {
    matches!(byte, b'/' | b'-' | b'_') || byte.is_ascii_alphanumeric()
}
