//! One HTTP request: which of its headers are judged, what is taken from it, and how a
//! verdict is carried out.
//!
//! What may live here: what acts on the request of the current callback. State that is
//! kept between callbacks stands in `vm`.

pub(crate) mod head;
pub(crate) mod outcome;
