//! Refusals: the contract's codes, and one table from each code to the reply over HTTP
//! and gRPC. In Gateway mode clients get the product Gateway's own names instead
//! (`gateway`).

mod challenge;
mod code;
mod gateway;
mod http;
mod reason;
mod refusal;

pub use challenge::Challenge;
pub use code::ErrorCode;
pub use http::{Reply, ReplyFormat};
pub use reason::Reason;
pub use refusal::{Refusal, Relayed};

#[cfg(test)]
mod tests;
