//! The response to a request, when its headers come.

use crate::request::gateway;
use crate::vm::audit::records;

/// Looks at a response. The filter's own replies pass here too.
pub(crate) fn begins(stream: u32) {
    records::answered(stream);
    gateway::clean_response(stream);
}
