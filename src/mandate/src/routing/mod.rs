//! Which resource a request is for, and what its path and method require. What stands here
//! is decided before any token is read, and knows none.

pub mod authority;
pub mod path;
pub mod resources;
pub mod routes;
pub mod upstream_url;
