//! The contract's order of checks: the decision on a request, and explanations of one.
//! This room uses all others, and none of them uses it.

pub mod authority;
pub mod checks;
pub mod context;
mod credential;
pub mod explain;
mod facts;
mod gateway;
mod mcp;
mod public;
mod public_settings;
mod stop;
pub mod verifier;

#[cfg(test)]
mod tests;
