//! Commands for development: the demo, what runs beside it, and mandates made by hand.

pub(crate) mod demo;
mod envoy;
pub(crate) mod mint;
pub(crate) mod signing_keys;
pub(crate) mod stack;
pub(crate) mod upstream;
