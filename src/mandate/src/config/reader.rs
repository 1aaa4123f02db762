//! Walks a JSON tree and collects every error, each with its key's path, so that an
//! operator can fix a configuration in one go.

use std::cell::RefCell;
use std::fmt;

use super::bounds::{Bounds, MAX_LIST, MAX_STRING};
use crate::json::{Members, Number, Value};

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ConfigError {
    /// Path of the key, such as `routes["/payouts"].max_hop_count`; empty for
    /// the document.
    pub path: String,
    /// What was wrong and what was expected.
    pub problem: String,
}

/// How the problem of an unknown key begins; the known ones follow.
const UNKNOWN_KEY: &str = "unknown key; expected one of ";

impl ConfigError {
    /// The keys that may stand there, where an unknown one does. They are read from the
    /// problem's words: a list of its own would make the filter larger, which only logs them.
    pub fn known_keys(&self) -> Option<Vec<&str>> {
        let known = self.problem.strip_prefix(UNKNOWN_KEY)?;
        Some(known.split(", ").collect())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return f.write_str(&self.problem);
        }
        write!(f, "{}: {}", self.path, self.problem)
    }
}

/// Most errors that are kept. Nobody reads more, and a hostile document could have any
/// number.
const MAX_ERRORS: usize = 100;
/// Longest part of a key's name or value that an error repeats, in characters.
const MAX_ECHO: usize = 80;

/// Collects the errors.
#[derive(Debug, Default)]
pub(super) struct Errors(RefCell<Vec<ConfigError>>);

impl Errors {
    pub(super) fn add(&self, path: impl Into<String>, problem: impl Into<String>) {
        if let Ok(mut errors) = self.0.try_borrow_mut()
            && errors.len() < MAX_ERRORS
        {
            errors.push(ConfigError {
                path: path.into(),
                problem: problem.into(),
            });
        }
    }

    pub(super) fn into_vec(self) -> Vec<ConfigError> {
        self.0.into_inner()
    }
}

/// Text from the document, shortened and quoted for an error.
pub(super) fn quoted(text: &str) -> String {
    let mut cut: String = text.chars().take(MAX_ECHO).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}

/// The texts that a value may be, for an error: `"a", "b" or "c"`.
pub(super) fn one_of<const N: usize>(texts: [&str; N]) -> String {
    let quoted = texts.map(|text| format!("{text:?}"));
    match quoted.split_last() {
        Some((last, others)) if !others.is_empty() => {
            format!("{} or {last}", others.join(", "))
        }
        _ => quoted.concat(),
    }
}

/// A value and the path of its key.
pub(super) struct At<'v, 'a, 'e> {
    pub(super) path: String,
    pub(super) value: &'v Value<'a>,
    pub(super) errors: &'e Errors,
}

impl<'v, 'a, 'e> At<'v, 'a, 'e> {
    pub(super) fn fail<T>(&self, problem: impl Into<String>) -> Option<T> {
        self.errors.add(self.path.clone(), problem);
        None
    }

    fn wrong_type<T>(&self, expected: &str) -> Option<T> {
        let got = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(Number::Integer(_)) => "an integer",
            Value::Number(_) => "a number that is not an integer in range",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        self.fail(format!("expected {expected}, found {got}"))
    }

    pub(super) fn text(&self) -> Option<&'v str> {
        match self.value {
            Value::String(text) if text.is_empty() => self.fail("must not be empty"),
            Value::String(text) if text.len() > MAX_STRING => {
                self.fail(format!("must be at most {MAX_STRING} bytes long"))
            }
            Value::String(text) => Some(text.as_ref()),
            _ => self.wrong_type("a string"),
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match self.value {
            Value::Bool(b) => Some(*b),
            _ => self.wrong_type("true or false"),
        }
    }

    pub(super) fn integer(&self, bounds: &Bounds) -> Option<u64> {
        let Bounds { min, max, .. } = bounds;
        match self.value {
            Value::Number(Number::Integer(n)) if (*min..=*max).contains(n) => Some(*n),
            Value::Number(Number::Integer(n)) => self.fail(format!(
                "expected an integer from {min} to {max}, found {n}"
            )),
            _ => self.wrong_type(&format!("an integer from {min} to {max}")),
        }
    }

    pub(super) fn list(&self, max: usize) -> Option<Vec<At<'v, 'a, 'e>>> {
        let Value::Array(items) = self.value else {
            return self.wrong_type("a list");
        };
        if items.len() > max {
            return self.fail(format!(
                "must have at most {max} entries, has {}",
                items.len()
            ));
        }
        let at = |(n, value)| At {
            path: format!("{}[{n}]", self.path),
            value,
            errors: self.errors,
        };
        Some(items.iter().enumerate().map(at).collect())
    }

    /// A list of strings, without empty ones and duplicates.
    pub(super) fn strings(&self) -> Option<Vec<String>> {
        let mut strings: Vec<String> = Vec::new();
        let items = self.list(MAX_LIST)?;
        for item in &items {
            let Some(text) = item.text() else { continue };
            if strings.iter().any(|known| known == text) {
                item.fail::<()>(format!("{} is in the list twice", quoted(text)));
                continue;
            }
            strings.push(text.to_owned());
        }
        (strings.len() == items.len()).then_some(strings)
    }

    /// The entries of an object whose names the operator chooses, without duplicates.
    pub(super) fn entries(&self, max: usize) -> Option<Vec<(&'v str, At<'v, 'a, 'e>)>> {
        let Value::Object(members) = self.value else {
            return self.wrong_type("an object");
        };
        if members.len() > max {
            return self.fail(format!(
                "must have at most {max} keys, has {}",
                members.len()
            ));
        }
        let mut entries: Vec<(&str, At<'_, '_, '_>)> = Vec::new();
        for (name, value) in members {
            let at = At {
                path: format!("{}[{}]", self.path, quoted(name)),
                value,
                errors: self.errors,
            };
            if entries.iter().any(|(known, _)| known == name) {
                at.fail::<()>("duplicate key");
                continue;
            }
            entries.push((name.as_ref(), at));
        }
        Some(entries)
    }

    /// An object in which only known keys are allowed.
    pub(super) fn object(&self) -> Option<Object<'v, 'a, 'e>> {
        match self.value {
            Value::Object(members) => Some(Object {
                path: self.path.clone(),
                members,
                known: RefCell::default(),
                errors: self.errors,
            }),
            _ => self.wrong_type("an object"),
        }
    }
}

/// An object being read. [`Object::finish`] reports the keys that were not read.
pub(super) struct Object<'v, 'a, 'e> {
    path: String,
    members: &'v Members<'a>,
    known: RefCell<Vec<&'static str>>,
    errors: &'e Errors,
}

impl<'v, 'a, 'e> Object<'v, 'a, 'e> {
    pub(super) fn new(members: &'v Members<'a>, errors: &'e Errors) -> Self {
        Object {
            path: String::new(),
            members,
            known: RefCell::default(),
            errors,
        }
    }

    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    pub(super) fn fail<T>(&self, name: &str, problem: impl Into<String>) -> Option<T> {
        self.errors.add(self.path_of(name), problem);
        None
    }

    /// A key that may be absent.
    pub(super) fn get(&self, name: &'static str) -> Option<At<'v, 'a, 'e>> {
        if let Ok(mut known) = self.known.try_borrow_mut() {
            known.push(name);
        }
        let mut found = self
            .members
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, value)| value);
        let value = found.next()?;
        let at = At {
            path: self.path_of(name),
            value,
            errors: self.errors,
        };
        if found.next().is_some() {
            return at.fail("duplicate key");
        }
        Some(at)
    }

    /// A key, by its name or an older name.
    pub(super) fn get_either(
        &self,
        name: &'static str,
        older: &'static str,
    ) -> Option<At<'v, 'a, 'e>> {
        match (self.get(name), self.get(older)) {
            (Some(at), Some(_)) => at.fail(format!(
                "{name} and its older name {older} are both there; keep one"
            )),
            (at, older) => at.or(older),
        }
    }

    /// A required key.
    pub(super) fn require(&self, name: &'static str, what: &str) -> Option<At<'v, 'a, 'e>> {
        let at = self.get(name);
        if at.is_none() && !self.has(name) {
            return self.fail(name, format!("missing; {what}"));
        }
        at
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(n, _)| n == name)
    }

    pub(super) fn integer(&self, name: &'static str, bounds: &Bounds) -> u64 {
        self.get(name)
            .and_then(|at| at.integer(bounds))
            .unwrap_or(bounds.default)
    }

    pub(super) fn boolean(&self, name: &'static str, default: bool) -> bool {
        self.get(name)
            .and_then(|at| at.boolean())
            .unwrap_or(default)
    }

    pub(super) fn finish(self) {
        let known = self.known.into_inner();
        let mut reported: Vec<&str> = Vec::new();
        for (name, _) in self.members {
            if known.contains(&name.as_ref()) || reported.contains(&name.as_ref()) {
                continue;
            }
            reported.push(name);
            let shown: String = name.chars().take(MAX_ECHO).collect();
            let path = if self.path.is_empty() {
                shown
            } else {
                format!("{}.{shown}", self.path)
            };
            self.errors
                .add(path, format!("{UNKNOWN_KEY}{}", known.join(", ")));
        }
    }
}
