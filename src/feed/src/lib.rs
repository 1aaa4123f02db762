//! The companion. It consumes Caracal's revocation streams from Redis, verifies and
//! orders them, and serves them to the filter.
//!
//! `event` reads one stream message. `state` is what the companion knows, in the order in
//! which it learned it. `redis` keeps it in touch with Redis. `api` serves it. `memory`
//! replaces Redis in development, and takes `revocation_request`s. `exchange` is Gateway
//! mode, `audit` takes and delivers audit events. `answers` has the API's errors, `token` says
//! who may use it, `edges` who does. `metrics` counts. `companion` is what all of these share,
//! and `standing` is how it stands, for `/readyz` and the page.

mod answers;
pub mod api;
pub mod audit;
mod companion;
pub mod edges;
pub mod event;
pub mod exchange;
pub mod memory;
pub mod metrics;
pub mod redis;
mod revocation_request;
pub mod standing;
pub mod state;
pub mod token;

pub use companion::Companion;
pub use event::RETENTION;
