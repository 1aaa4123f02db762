//! Texts of a configuration that are shown nowhere.

use serde::Serialize;

#[cfg(feature = "schema")]
use super::bounds::MAX_STRING;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Secret(
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_STRING)))] String,
);

impl Secret {
    pub(super) fn new(text: String) -> Self {
        Secret(text)
    }

    /// The text, to send it to the server that it authenticates to, or to derive keys from it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(hidden)")
    }
}
