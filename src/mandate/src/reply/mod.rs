//! Refusals: the contract's codes, and the one table from a code to what the
//! client is answered over HTTP and gRPC. In Gateway mode clients get the Gateway's own
//! names in their place (`gateway`).

mod code;
mod gateway;
mod http;
mod refusal;

pub use code::ErrorCode;
pub use http::{Reply, ReplyFormat};
pub use refusal::{Refusal, Relayed};

#[cfg(test)]
mod tests;
