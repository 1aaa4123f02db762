//! Events on disk, until they are delivered. `folder` has the files, `cursor` notes what was
//! delivered, `opening` reads what is there at a start, `tail` appends, `head` takes from the
//! other end, `shared` is what both know.
//!
//! A crash may tear the last records of the newest segment, which were not acknowledged: they
//! are cut off. Any other damage is passed over to the next good record, and its segment is
//! kept as `.corrupt` when the rest of it is delivered.

mod cursor;
mod folder;
mod head;
mod opening;
mod shared;
mod tail;

pub(super) use head::{Batch, Head};
pub(super) use opening::open;
pub(super) use tail::Tail;

#[cfg(test)]
mod tests;
