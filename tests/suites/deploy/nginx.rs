//! nginx's configuration as a tree: enough to read `deploy/kong/gate.conf`, to change it
//! and to write it for an nginx.

use std::iter::Peekable;
use std::str::Chars;

/// `name arguments;`, or with a block in place of the semicolon.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Directive {
    pub(crate) name: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) block: Option<Vec<Directive>>,
}

enum Token {
    Word(String),
    Open,
    Close,
    End,
}

pub(crate) fn read(text: &str) -> Vec<Directive> {
    let mut tokens = tokens(text).into_iter();
    let tree = level(&mut tokens);
    assert!(tokens.next().is_none(), "a block is closed twice");
    tree
}

fn level(tokens: &mut impl Iterator<Item = Token>) -> Vec<Directive> {
    let mut all = Vec::new();
    let mut words = Vec::new();
    while let Some(token) = tokens.next() {
        let block = match token {
            Token::Word(word) => {
                words.push(word);
                continue;
            }
            Token::Close => break,
            Token::End => None,
            Token::Open => Some(level(tokens)),
        };
        let mut words = std::mem::take(&mut words).into_iter();
        all.push(Directive {
            name: words.next().expect("a directive has a name"),
            arguments: words.collect(),
            block,
        });
    }
    assert!(words.is_empty(), "no end after {words:?}");
    all
}

fn tokens(text: &str) -> Vec<Token> {
    let mut rest = text.chars().peekable();
    let mut all = Vec::new();
    while let Some(&next) = rest.peek() {
        let single = match next {
            '{' => Some(Token::Open),
            '}' => Some(Token::Close),
            ';' => Some(Token::End),
            _ => None,
        };
        if let Some(single) = single {
            all.push(single);
            rest.next();
        } else if next.is_whitespace() {
            rest.next();
        } else if next == '#' {
            rest.by_ref().find(|c| *c == '\n');
        } else if next == '"' || next == '\'' {
            rest.next();
            all.push(Token::Word(quoted(&mut rest, next)));
        } else {
            let mut word = String::new();
            while let Some(c) = rest.next_if(|c| !c.is_whitespace() && !";{}".contains(*c)) {
                word.push(c);
            }
            all.push(Token::Word(word));
        }
    }
    all
}

fn quoted(rest: &mut Peekable<Chars<'_>>, quote: char) -> String {
    let mut word = String::new();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some(escaped @ ('"' | '\'' | '\\')) => word.push(escaped),
                other => panic!("an escape that this does not read: {other:?}"),
            },
            c if c == quote => return word,
            c => word.push(c),
        }
    }
    panic!("a text without an end: {word}");
}

pub(crate) fn write(tree: &[Directive]) -> String {
    let mut text = String::new();
    for directive in tree {
        text.push_str(&word(&directive.name));
        for argument in &directive.arguments {
            text.push(' ');
            text.push_str(&word(argument));
        }
        match &directive.block {
            None => text.push_str(";\n"),
            Some(block) => text.push_str(&format!(" {{\n{}}}\n", write(block))),
        }
    }
    text
}

fn word(text: &str) -> String {
    let is_plain = |c: char| !c.is_whitespace() && !"\"'\\;{}#".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

/// Every directive, each with the blocks that it stands in, outermost first.
pub(crate) fn every(tree: &[Directive]) -> Vec<(Vec<&str>, &Directive)> {
    let mut all = Vec::new();
    for directive in tree {
        all.push((Vec::new(), directive));
        let below = directive.block.as_deref().unwrap_or_default();
        for (mut around, inner) in every(below) {
            around.insert(0, directive.name.as_str());
            all.push((around, inner));
        }
    }
    all
}

/// Takes out what the names say, blocks and all, wherever it stands.
pub(crate) fn without(tree: &mut Vec<Directive>, names: &[&str]) {
    tree.retain(|directive| !names.contains(&directive.name.as_str()));
    for block in tree.iter_mut().filter_map(|d| d.block.as_mut()) {
        without(block, names);
    }
}

/// Changes every directive of a name.
pub(crate) fn change(tree: &mut [Directive], name: &str, how: &mut impl FnMut(&mut Directive)) {
    for directive in tree {
        if directive.name == name {
            how(directive);
        }
        change(
            directive.block.as_deref_mut().unwrap_or_default(),
            name,
            how,
        );
    }
}

/// `name arguments;`
pub(crate) fn line(name: &str, arguments: &[&str]) -> Directive {
    Directive {
        name: name.to_owned(),
        arguments: arguments.iter().map(|&one| one.to_owned()).collect(),
        block: None,
    }
}
