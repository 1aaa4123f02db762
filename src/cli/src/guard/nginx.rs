//! nginx's configuration as a tree: `name arguments;`, or with a block in place of the
//! semicolon.

use std::iter::Peekable;
use std::str::Chars;

use anyhow::{Context as _, Result, bail, ensure};

/// Deepest nesting of blocks that is read.
const MAX_DEPTH: usize = 32;

/// A directive.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Directive {
    pub(crate) name: String,
    pub(crate) arguments: Vec<String>,
    /// What stands in its block.
    pub(crate) inside: Vec<Directive>,
    pub(crate) line: usize,
}

impl Directive {
    pub(crate) fn argument(&self, place: usize) -> &str {
        self.arguments.get(place).map(String::as_str).unwrap_or("")
    }

    /// The directives of a name that stand directly in its block.
    pub(crate) fn all<'d>(&'d self, name: &'d str) -> impl Iterator<Item = &'d Directive> {
        self.inside.iter().filter(move |inner| inner.name == name)
    }
}

enum Token {
    Word(String),
    Open,
    Close,
    End,
}

/// Whether a text is such a file with a WebAssembly filter in it.
pub(crate) fn has_filter(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim_start);
    lines.any(|line| line.starts_with("proxy_wasm ") || line.starts_with("proxy_wasm\t"))
}

/// Reads a file. What it includes is not read.
pub(crate) fn read(text: &str) -> Result<Vec<Directive>> {
    let mut tokens = tokens(text)?.into_iter();
    let tree = level(&mut tokens, 0)?;
    ensure!(
        tokens.next().is_none(),
        "a block is closed that was not opened"
    );
    Ok(tree)
}

/// Every directive, each with the blocks that it stands in, outermost first.
pub(crate) fn every(tree: &[Directive]) -> Vec<(Vec<&Directive>, &Directive)> {
    let mut all = Vec::new();
    collect(tree, &mut Vec::new(), &mut all);
    all
}

fn collect<'d>(
    tree: &'d [Directive],
    around: &mut Vec<&'d Directive>,
    all: &mut Vec<(Vec<&'d Directive>, &'d Directive)>,
) {
    for directive in tree {
        all.push((around.clone(), directive));
        around.push(directive);
        collect(&directive.inside, around, all);
        around.pop();
    }
}

fn level(
    tokens: &mut impl Iterator<Item = (Token, usize)>,
    depth: usize,
) -> Result<Vec<Directive>> {
    ensure!(depth < MAX_DEPTH, "nested deeper than {MAX_DEPTH}");
    let mut all = Vec::new();
    let mut words: Vec<String> = Vec::new();
    while let Some((token, line)) = tokens.next() {
        let inside = match token {
            Token::Word(word) => {
                words.push(word);
                continue;
            }
            Token::Close => {
                ensure!(words.is_empty(), "line {line}: no end of {words:?}");
                ensure!(
                    depth > 0,
                    "line {line}: a block is closed that was not opened"
                );
                return Ok(all);
            }
            Token::End => Vec::new(),
            Token::Open => level(tokens, depth.saturating_add(1))?,
        };
        let mut parts = std::mem::take(&mut words).into_iter();
        all.push(Directive {
            name: parts
                .next()
                .with_context(|| format!("line {line}: no name"))?,
            arguments: parts.collect(),
            inside,
            line,
        });
    }
    ensure!(depth == 0 && words.is_empty(), "it ends within a directive");
    Ok(all)
}

fn tokens(text: &str) -> Result<Vec<(Token, usize)>> {
    let mut rest = text.chars().peekable();
    let mut all = Vec::new();
    let mut line: usize = 1;
    while let Some(&next) = rest.peek() {
        let token = match next {
            '{' => Token::Open,
            '}' => Token::Close,
            ';' => Token::End,
            '#' => {
                rest.by_ref().find(|c| *c == '\n');
                line = line.saturating_add(1);
                continue;
            }
            c if c.is_whitespace() => {
                line = line.saturating_add(usize::from(c == '\n'));
                rest.next();
                continue;
            }
            '"' | '\'' => {
                rest.next();
                let word = quoted(&mut rest, next).with_context(|| format!("line {line}"))?;
                let lines = word.matches('\n').count();
                all.push((Token::Word(word), line));
                line = line.saturating_add(lines);
                continue;
            }
            _ => {
                let mut word = String::new();
                while let Some(c) = rest.next_if(|c| !c.is_whitespace() && !";{}".contains(*c)) {
                    word.push(c);
                    // `${name}` is part of a word.
                    if word.ends_with('$') && rest.next_if_eq(&'{').is_some() {
                        word.push('{');
                        for c in rest.by_ref() {
                            word.push(c);
                            if c == '}' {
                                break;
                            }
                        }
                    }
                }
                all.push((Token::Word(word), line));
                continue;
            }
        };
        rest.next();
        all.push((token, line));
    }
    Ok(all)
}

fn quoted(rest: &mut Peekable<Chars<'_>>, quote: char) -> Result<String> {
    let mut word = String::new();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some(escaped @ ('"' | '\'' | '\\')) => word.push(escaped),
                Some(other) => word.extend(['\\', other]),
                None => break,
            },
            c if c == quote => return Ok(word),
            c => word.push(c),
        }
    }
    bail!("a text without an end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_tree() {
        let tree = read("a b 'c d' \"e\\\"f\";\n# no {\nblock x { in ${y}z; }\n").unwrap();
        let [first, block] = tree.as_slice() else {
            panic!("{tree:?}");
        };
        assert_eq!(first.arguments, ["b", "c d", "e\"f"]);
        assert_eq!((block.line, block.argument(0)), (3, "x"));
        assert_eq!(block.all("in").next().unwrap().argument(0), "${y}z");
        assert_eq!(every(&tree).len(), 3);
        for bad in ["a", "a {", "a; }", "'a", "{ }", ";"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read(&"a {".repeat(100)).is_err());
    }
}
