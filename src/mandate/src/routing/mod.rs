//! Which resource a request is for, and what its path and method require. This is decided
//! before any token is read, so code in this room knows no tokens.

pub mod authority;
pub mod path;
pub mod resources;
pub mod routes;
pub mod upstream_url;
