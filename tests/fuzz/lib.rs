//! What must hold for any input whatever, one module for each fuzz target. A
//! check takes bytes, and panics when it has found something.
//!
//! What may live here: how an input is made of bytes, and the rule that it is
//! held to, written down a second time with other libraries than the product's.
//! `make fuzz` looks for findings, `replay.rs` runs what was found before.

pub mod configuration;
pub mod event;
pub mod headers;
pub mod independent;
pub mod key_set;
pub mod page;
pub mod paths;
pub mod reply;
pub mod shared_data;
pub mod token;

/// A target: its name, and its check.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 9] = [
    ("configuration", configuration::check),
    ("event", event::check),
    ("headers", headers::check),
    ("key_set", key_set::check),
    ("page", page::check),
    ("paths", paths::check),
    ("reply", reply::check),
    ("shared_data", shared_data::check),
    ("token", token::check),
];

/// Takes the first byte off; 0 when there is none.
fn byte(data: &mut &[u8]) -> u8 {
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    *data = rest;
    *first
}

/// Takes what stands before the first byte of that value, and drops that byte.
fn until<'a>(data: &mut &'a [u8], end: u8) -> &'a [u8] {
    match data.iter().position(|b| *b == end) {
        Some(at) => {
            let part = &data[..at];
            *data = &data[at + 1..];
            part
        }
        None => std::mem::take(data),
    }
}
