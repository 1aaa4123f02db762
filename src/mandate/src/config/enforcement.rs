//! Whether refusals are carried out. The doc comments of the type are descriptions in the
//! JSON Schema.

use serde::Serialize;

/// Whether a request that is refused gets the refusal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Enforcement {
    /// It does.
    #[default]
    Enforce,
    /// It goes on to the service, without a principal. What is decided is counted and
    /// recorded only. Never in Gateway mode.
    Shadow,
}

impl Enforcement {
    /// Every word, as a configuration has it.
    pub(super) const ALL: [(&'static str, Enforcement); 2] = [
        ("enforce", Enforcement::Enforce),
        ("shadow", Enforcement::Shadow),
    ];

    pub(super) fn is_shadow(self) -> bool {
        self == Enforcement::Shadow
    }
}
