//! What is configured of what clients are told besides a verdict. Nothing is decided by it.

use crate::config::Configuration;
use crate::metadata::Documents;
use crate::reply::Challenge;
use crate::routing::resources::Resources;

/// What clients are told, as configured.
#[derive(Debug)]
pub(super) struct Told {
    /// None where there are none: requests pay for no more than that.
    pub(super) documents: Option<Box<Documents>>,
    /// Where readiness is answered.
    pub(super) readiness_path: Option<Box<str>>,
    /// What a challenge says if the resource is not known.
    pub(super) challenge: Option<Challenge>,
}

impl Told {
    pub(super) fn new(configuration: &Configuration, resources: &Resources) -> Self {
        let documents = configuration.documents(resources);
        Told {
            documents: (!documents.all().is_empty()).then(|| Box::new(documents)),
            readiness_path: configuration.readiness_path.as_deref().map(Box::from),
            challenge: configuration.challenge_of(None),
        }
    }
}
