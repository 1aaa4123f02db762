//! The response to a request, when its headers come.

use crate::request::frames;
use crate::request::gateway;
use crate::vm::audit::records;
use crate::vm::framed_streams;

/// Looks at a response. The filter's own replies pass here too.
pub(crate) fn begins(stream: u32, is_whole: bool) {
    records::response_begins(stream, is_whole);
    gateway::clean_response(stream);
    if framed_streams::any() {
        frames::begins(stream);
    }
}
