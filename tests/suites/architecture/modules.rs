//! Which module of a crate imports which, read from the sources.
//!
//! A module is a file. A path counts wherever it stands, in a `use` or in an expression,
//! also inside a macro; it leads to the deepest module that it names. What a module only
//! re-exports is followed to where it comes from. What stands under `#[cfg(test)]` does not
//! count: unit tests may look at anything.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The path of a module from the root of its crate; the root's is empty.
pub type Module = Vec<String>;

/// The files of a crate by their paths below `src`.
pub type Sources = BTreeMap<String, String>;

#[derive(Debug, Default)]
pub struct Crate {
    /// Each module with those that it imports.
    pub imports: BTreeMap<Module, BTreeSet<Module>>,
}

/// One file, read.
#[derive(Default)]
struct Parsed {
    children: Vec<String>,
    /// Paths as they are written, from `crate`, `self`, `super` or a child's name on.
    paths: Vec<Vec<String>>,
    /// Names that the file's `use` items bring in, with their paths.
    names: BTreeMap<String, Vec<String>>,
}

impl Crate {
    /// Reads a crate from its root on. Files that no `mod` names are left out.
    pub fn read(root: &str, sources: &Sources) -> Self {
        let mut parsed = BTreeMap::new();
        let mut queue = vec![(Module::new(), root.to_owned())];
        while let Some((module, file)) = queue.pop() {
            let text = sources.get(&file).unwrap_or_else(|| panic!("{file}"));
            let tokens = TokenStream::from_str(text).unwrap_or_else(|e| panic!("{file}: {e}"));
            let mut found = Parsed::default();
            read_items(tokens, &mut found);
            for child in &found.children {
                let name = [&module[..], std::slice::from_ref(child)].concat();
                let path = name.join("/");
                let candidates = [format!("{path}.rs"), format!("{path}/mod.rs")];
                let file = candidates.into_iter().find(|f| sources.contains_key(f));
                queue.push((name, file.unwrap_or_else(|| panic!("{path} has no file"))));
            }
            parsed.insert(module, found);
        }
        let mut imports = BTreeMap::new();
        for (module, found) in &parsed {
            let all = found.paths.iter();
            let known = all.filter_map(|path| target(&parsed, module, path, 8));
            let others = known.filter(|other| other != module);
            imports.insert(module.clone(), others.collect());
        }
        Crate { imports }
    }

    /// Groups of modules each of which reaches all others of its group, in order.
    pub fn circles(&self) -> Vec<Vec<String>> {
        let reach: BTreeMap<&Module, BTreeSet<&Module>> = self
            .imports
            .keys()
            .map(|module| (module, self.reachable(module)))
            .collect();
        let mut groups = BTreeSet::new();
        for (module, reached) in &reach {
            if reached.contains(module) {
                let back = |other: &&&Module| reach[**other].contains(module);
                let group = reached.iter().filter(back).map(|m| shown(m)).collect();
                groups.insert(group);
            }
        }
        groups.into_iter().collect()
    }

    fn reachable<'a>(&'a self, from: &Module) -> BTreeSet<&'a Module> {
        let mut reached = BTreeSet::new();
        let mut queue: Vec<&Module> = self.imports[from].iter().collect();
        while let Some(module) = queue.pop() {
            if reached.insert(module) {
                queue.extend(&self.imports[module]);
            }
        }
        reached
    }
}

/// A module as a path from its crate's root.
pub fn shown(module: &Module) -> String {
    match module.as_slice() {
        [] => "the crate's root".to_owned(),
        names => names.join("::"),
    }
}

/// The module that a path leads to from a module; none for a path to another crate.
fn target(
    parsed: &BTreeMap<Module, Parsed>,
    from: &Module,
    path: &[String],
    hops: usize,
) -> Option<Module> {
    let mut at = from.clone();
    let mut rest = path;
    let mut is_ours = false;
    while let Some(first) = rest.first() {
        match first.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => drop(at.pop()),
            _ => break,
        }
        is_ours = true;
        rest = &rest[1..];
    }
    while let Some(name) = rest.first() {
        let child = [&at[..], std::slice::from_ref(name)].concat();
        if !parsed.contains_key(&child) {
            break;
        }
        is_ours = true;
        at = child;
        rest = &rest[1..];
    }
    if !is_ours {
        return None;
    }
    // What another module brings in by `use`, it re-exports.
    match rest.first().and_then(|name| parsed[&at].names.get(name)) {
        Some(path) if hops > 0 && at != *from => {
            let path = [path, &rest[1..]].concat();
            target(parsed, &at, &path, hops - 1)
        }
        _ => Some(at),
    }
}

fn is_punct(token: Option<&TokenTree>, c: char) -> bool {
    matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == c)
}

fn ident(token: Option<&TokenTree>) -> Option<String> {
    match token {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
        _ => None,
    }
}

/// Whether an attribute, seen as the group behind its `#`, is `cfg(test)`.
fn is_cfg_test(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Group(group)) if group.to_string().replace(' ', "") == "[cfg(test)]")
}

fn read_items(tokens: TokenStream, found: &mut Parsed) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        let next = |n: usize| tokens.get(at + n);
        if is_punct(next(0), '#') && is_cfg_test(next(1)) {
            at = behind_item(&tokens, at);
        } else if let (Some("mod"), Some(name), true) = (
            ident(next(0)).as_deref(),
            ident(next(1)),
            is_punct(next(2), ';'),
        ) {
            found.children.push(name);
            at += 3;
        } else if ident(next(0)).as_deref() == Some("use") {
            let end = tokens[at..].iter().position(|t| is_punct(Some(t), ';'));
            let end = at + end.unwrap_or(tokens.len() - at);
            let mut paths = Vec::new();
            read_tree(&tokens[at + 1..end], &[], &mut paths);
            for (path, name) in paths {
                found.names.insert(name, path.clone());
                found.paths.push(path);
            }
            at = end;
        } else if let Some(TokenTree::Group(group)) = next(0) {
            read_items(group.stream(), found);
            at += 1;
        } else {
            at += read_path(&tokens, at, found);
        }
    }
}

/// The index behind the item that an attribute stands on.
fn behind_item(tokens: &[TokenTree], mut at: usize) -> usize {
    while let Some(token) = tokens.get(at) {
        at += 1;
        let is_block =
            matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
        if is_block || is_punct(Some(token), ';') {
            break;
        }
    }
    at
}

/// Reads a path in an expression or a type, and gives the number of its tokens.
fn read_path(tokens: &[TokenTree], at: usize, found: &mut Parsed) -> usize {
    let follows_colons = at > 0 && is_punct(tokens.get(at - 1), ':');
    let mut path = Vec::new();
    let mut end = at;
    while let Some(name) = ident(tokens.get(end)) {
        path.push(name);
        end += 1;
        if !(is_punct(tokens.get(end), ':') && is_punct(tokens.get(end + 1), ':')) {
            break;
        }
        end += 2;
    }
    if path.len() > 1 && !(follows_colons && is_punct(tokens.get(at.wrapping_sub(2)), ':')) {
        found.paths.push(path);
    }
    (end - at).max(1)
}

/// Reads what a `use` brings in: paths, and the names that they get.
fn read_tree(tokens: &[TokenTree], prefix: &[String], paths: &mut Vec<(Vec<String>, String)>) {
    let mut path = prefix.to_vec();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(name) if name == "as" => {
                if let (Some(last), Some(name)) = (paths.last_mut(), ident(tokens.get(at + 1))) {
                    last.1 = name;
                }
                at += 2;
                continue;
            }
            TokenTree::Ident(name) => {
                path.push(name.to_string());
                let goes_on = is_punct(tokens.get(at + 1), ':');
                if !goes_on {
                    let mut path = path.clone();
                    let name = name.to_string();
                    // `{self}` names the module before it.
                    if name == "self" && path.len() > 1 {
                        path.pop();
                    }
                    let name = path.last().cloned().unwrap_or(name);
                    paths.push((path, name));
                }
            }
            TokenTree::Punct(p) if p.as_char() == '*' => {
                paths.push((path.clone(), "*".to_owned()));
            }
            TokenTree::Punct(p) if p.as_char() == ',' => path = prefix.to_vec(),
            TokenTree::Group(group) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                read_tree(&inner, &path, paths);
            }
            _ => {}
        }
        at += 1;
    }
}

/// Every word of a file's code. Comments and literals have none.
pub fn words(text: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let mut queue = vec![TokenStream::from_str(text).unwrap()];
    while let Some(tokens) = queue.pop() {
        for token in tokens {
            match token {
                // A comment on an item is an attribute with a literal.
                TokenTree::Group(group) => queue.push(group.stream()),
                TokenTree::Ident(ident) => drop(words.insert(ident.to_string())),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }
    words
}
