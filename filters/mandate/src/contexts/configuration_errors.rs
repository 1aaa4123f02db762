//! The reasons for refused configurations that were already logged in this VM.

use std::cell::RefCell;

thread_local! {
    static LOGGED: RefCell<Vec<u32>> = RefCell::default();
}

/// Most reasons that are remembered. Further reasons are logged each time.
const MAX_REASONS: usize = 64;

/// Whether a configuration is refused for these reasons for the first time. APISIX passes
/// a refused configuration to the filter twice for each request, and one line for each
/// reason is enough.
pub(crate) fn is_first_time(reasons: &str) -> bool {
    let reasons = crc32fast::hash(reasons.as_bytes());
    LOGGED.with(|logged| {
        let Ok(mut logged) = logged.try_borrow_mut() else {
            return true;
        };
        let is_known = logged.contains(&reasons);
        if !is_known && logged.len() < MAX_REASONS {
            logged.push(reasons);
        }
        !is_known
    })
}
