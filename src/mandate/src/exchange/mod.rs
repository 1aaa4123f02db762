//! Gateway mode: what the companion is asked for one request (`POST /v1/exchange`), what it
//! answers, and what the request to the upstream is then (rows G9 to G11).
//!
//! `question` is what is asked, `answer` what comes back, `rewrite` the request to the
//! upstream, `request_id` the id that goes with all of them.

pub mod answer;
pub mod question;
pub mod request_id;
pub mod rewrite;
