//! What is configured of public replies and of challenges. Nothing is decided by it.

use crate::config::Configuration;
use crate::metadata::Documents;
use crate::reply::Challenge;
use crate::routing::resources::Resources;

/// What is answered without a mandate, and what challenges say.
#[derive(Debug)]
pub(super) struct PublicSettings {
    /// None where there are none: requests pay for no more than that.
    pub(super) documents: Option<Box<Documents>>,
    /// Where readiness is answered.
    pub(super) readiness_path: Option<Box<str>>,
    /// What a challenge says if the resource is not known.
    pub(super) challenge: Option<Challenge>,
}

impl PublicSettings {
    pub(super) fn new(configuration: &Configuration, resources: &Resources) -> Self {
        let documents = configuration.documents(resources);
        PublicSettings {
            documents: (!documents.all().is_empty()).then(|| Box::new(documents)),
            readiness_path: configuration.readiness_path.as_deref().map(Box::from),
            challenge: configuration.challenge_of(None),
        }
    }
}
