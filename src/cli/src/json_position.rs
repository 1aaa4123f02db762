//! Where a key of a configuration stands in its text, so that an error names its line.

/// A place in a text, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Position {
    fn of(text: &str, offset: usize) -> Option<Self> {
        let before = text.get(..offset)?;
        let last = before.rsplit('\n').next().unwrap_or_default();
        Some(Position {
            line: before.matches('\n').count().saturating_add(1),
            column: last.chars().count().saturating_add(1),
        })
    }

    /// Of the key or entry of a JSON text with the path that an error of the core has,
    /// such as `routes["/payouts"].max_hop_count`; of the object around it, where it is
    /// missing.
    pub(crate) fn of_path(text: &str, path: &str) -> Option<Self> {
        let around = path.rsplit_once('.').map(|(around, _)| around);
        let found = offset(text, path).or_else(|| offset(text, around?));
        Position::of(text, found?)
    }
}

fn offset(text: &str, path: &str) -> Option<usize> {
    let mut scanner = Scanner { text, at: 0 };
    (!path.is_empty()).then(|| scanner.find(path, true))?
}

/// Walks valid JSON; what it says of another text does not matter, as that has no keys.
#[derive(Clone, Copy)]
struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn skip_blank(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace()) {
            self.step();
        }
    }

    /// Whether this byte comes next, after blanks; then it is passed.
    fn takes(&mut self, wanted: u8) -> bool {
        self.skip_blank();
        let is_next = self.peek() == Some(wanted);
        if is_next {
            self.step();
        }
        is_next
    }

    fn string(&mut self) -> Option<String> {
        let start = self.at;
        self.skip_string()?;
        serde_json::from_str(self.text.get(start..self.at)?).ok()
    }

    fn skip_string(&mut self) -> Option<()> {
        self.step();
        loop {
            match self.peek()? {
                b'"' => {
                    self.step();
                    return Some(());
                }
                b'\\' => self.step(),
                _ => {}
            }
            self.step();
        }
    }

    /// Passes one value, whatever is nested in it.
    fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            self.skip_blank();
            match self.peek() {
                Some(b'"') => self.skip_string()?,
                Some(b'{' | b'[') => {
                    depth = depth.saturating_add(1);
                    self.step();
                }
                Some(b'}' | b']') if depth > 0 => {
                    depth = depth.saturating_sub(1);
                    self.step();
                }
                Some(b',' | b':') if depth > 0 => self.step(),
                None | Some(b'}' | b']' | b',' | b':') => return None,
                Some(_) => {
                    let is_inside = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
                    let start = self.at;
                    while self.peek().is_some_and(is_inside) {
                        self.step();
                    }
                    if self.at == start {
                        return None;
                    }
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// Where the value begins that a path leads to from the value here; of a member, where
    /// its key begins. Of keys that stand twice, the last.
    fn find(&mut self, path: &str, is_root: bool) -> Option<usize> {
        let mut found = None;
        if self.takes(b'{') {
            loop {
                self.skip_blank();
                let key_at = self.at;
                if self.peek() != Some(b'"') {
                    return found;
                }
                let name = self.string()?;
                if !self.takes(b':') {
                    return found;
                }
                match behind_name(path, &name, is_root) {
                    Some("") => found = Some(key_at),
                    Some(rest) => found = self.clone().find(rest, false).or(found),
                    None => {}
                }
                self.skip_value()?;
                if !self.takes(b',') {
                    return found;
                }
            }
        }
        if !self.takes(b'[') {
            return None;
        }
        for n in 0_usize.. {
            self.skip_blank();
            match path.strip_prefix(&format!("[{n}]")) {
                Some("") => return Some(self.at),
                Some(rest) => return self.find(rest, false),
                None => {}
            }
            self.skip_value()?;
            if !self.takes(b',') {
                break;
            }
        }
        None
    }
}

/// What of a path is behind a member's name, which is written bare or quoted.
fn behind_name<'p>(path: &'p str, name: &str, is_root: bool) -> Option<&'p str> {
    let bare = match is_root {
        true => path.strip_prefix(name),
        false => path.strip_prefix('.').and_then(|p| p.strip_prefix(name)),
    };
    let rest = bare.or_else(|| path.strip_prefix(&format!("[{name:?}]")))?;
    (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{
  "issuer": "a{\"}[",
  "routes": {"/a.b": {"methods": {"GET": {"x": 1}}}, "/é": {"y": [1, {"z": null}]},
    "/c": {}},
  "exclude": ["/a", "/b"], "limits": {}, "limits": {"max_paused": -1.5e3}
}"#;

    #[test]
    fn keys_and_entries_are_found() {
        for (path, line, column) in [
            ("issuer", 2, 3),
            ("routes[\"/a.b\"]", 3, 14),
            ("routes[\"/a.b\"].methods[\"GET\"].x", 3, 43),
            ("routes[\"/é\"].y[1].z", 3, 71),
            ("routes[\"/c\"]", 4, 5),
            ("routes[\"/c\"].missing", 4, 5),
            ("exclude[1]", 5, 21),
            ("limits.max_paused", 5, 53),
            ("limits", 5, 42),
        ] {
            let expected = Some(Position { line, column });
            assert_eq!(Position::of_path(TEXT, path), expected, "{path}");
        }
    }

    #[test]
    fn what_is_not_there_has_no_position() {
        for path in ["", "issue", "issuer2", "exclude[2]", "routes[\"/d\"]"] {
            assert_eq!(Position::of_path(TEXT, path), None, "{path}");
        }
        for text in [
            "",
            "{",
            "[",
            "{\"a",
            "{\"a\":",
            "{\"b\": x",
            "nothing",
            "{\"b\":}}",
        ] {
            assert_eq!(Position::of_path(text, "a"), None, "{text}");
        }
    }
}
