//! The contract's order of checks: the decision on a request, and explanations of one.
//! This room knows all others; none of them knows it.

pub mod checks;
pub mod context;
pub mod explain;
pub mod verifier;

#[cfg(test)]
mod tests;
