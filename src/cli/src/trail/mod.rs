//! Decisions that were recorded: the audit events in Redis, or the last ones of a companion.
//! `decision` reads one, `source` finds and follows them, `tail` shows them as they come, and
//! `recorded` explains those of one request.

pub(crate) mod cause;
pub(crate) mod decision;
pub(crate) mod recorded;
pub(crate) mod source;
pub(crate) mod tail;
