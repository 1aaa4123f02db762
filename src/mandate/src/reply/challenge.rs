//! What `WWW-Authenticate` says (RFC 6750 section 3, RFC 9728 section 5.1).

/// What is configured of the challenges of a resource. Both values fit in a quoted string
/// as they are (RFC 9110 section 5.6.4): the reader of the configuration has checked them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Challenge {
    /// The realm, if it is another than the usual one.
    pub realm: Option<String>,
    /// The URL of the resource's metadata.
    pub resource_metadata: Option<String>,
}

/// The value of `WWW-Authenticate` if nothing is configured.
pub(super) fn plain(error: Option<&str>, scope: Option<&str>) -> String {
    let mut value = String::with_capacity(128);
    // RFC 6750 section 3: the scheme needs at least one parameter.
    value.push_str("Bearer realm=\"caracal\"");
    with_parameters(value, error, scope)
}

/// The value of `WWW-Authenticate` with what is configured.
#[cold]
pub(super) fn configured(error: Option<&str>, scope: Option<&str>, of: &Challenge) -> String {
    let value = match &of.realm {
        None => return named(plain(error, scope), of),
        Some(realm) => ["Bearer realm=\"", realm, "\""].concat(),
    };
    named(with_parameters(value, error, scope), of)
}

fn with_parameters(mut value: String, error: Option<&str>, scope: Option<&str>) -> String {
    if let Some(error) = error {
        value.push_str(", error=\"");
        value.push_str(error);
        value.push('"');
    }
    if let Some(scope) = scope {
        value.push_str(", scope=\"");
        value.push_str(scope);
        value.push('"');
    }
    value
}

fn named(value: String, of: &Challenge) -> String {
    match &of.resource_metadata {
        None => value,
        Some(url) => [&value, ", resource_metadata=\"", url, "\""].concat(),
    }
}
