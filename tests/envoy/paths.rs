//! What Envoy does to paths before a filter sees them.

/// The connection manager's options about paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paths {
    pub normalize_path: bool,
    pub merge_slashes: bool,
    /// `path_with_escaped_slashes_action`
    pub escaped_slashes: &'static str,
}

impl Paths {
    /// As envoy.yaml has it.
    pub const SHIPPED: Paths = Paths {
        normalize_path: true,
        merge_slashes: true,
        escaped_slashes: "REJECT_REQUEST",
    };

    /// Every combination.
    pub fn all() -> Vec<Paths> {
        let mut all = Vec::new();
        for normalize_path in [false, true] {
            for merge_slashes in [false, true] {
                for escaped_slashes in [
                    "KEEP_UNCHANGED",
                    "REJECT_REQUEST",
                    "UNESCAPE_AND_REDIRECT",
                    "UNESCAPE_AND_FORWARD",
                ] {
                    all.push(Paths {
                        normalize_path,
                        merge_slashes,
                        escaped_slashes,
                    });
                }
            }
        }
        all
    }
}
