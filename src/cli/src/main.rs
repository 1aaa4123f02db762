//! `caracal-edge`.
fn main() {}
