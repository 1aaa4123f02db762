//! Whose a filter is.

/// Part of the name of the filter, its plugin and its file.
pub(crate) const NAME: &str = "caracal";

/// Whether something is the filter's, by its name.
pub(crate) fn is_ours(name: &str) -> bool {
    name.to_ascii_lowercase().contains(NAME)
}

/// Whether a document looks like the filter's configuration, whatever it is called.
pub(crate) fn is_our_configuration(document: &[u8]) -> bool {
    let configured: serde_json::Value = serde_json::from_slice(document).unwrap_or_default();
    configured.get("jwks").is_some() && configured.get("revocation").is_some()
}
