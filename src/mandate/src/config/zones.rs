//! What a configuration says of the zones whose mandates are accepted.

use serde::Serialize;

#[cfg(feature = "schema")]
use super::bounds::MAX_STRING;
use super::model::{Configuration, Jwks};
use crate::zone::{Zone, Zones};

/// A zone among several: what is different for it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ZoneSettings {
    /// URL of the STS that issues the zone's mandates. Default: the top level's `issuer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_STRING)))]
    pub issuer: Option<String>,
    /// Where the zone's key set comes from. It replaces the whole `jwks` of the top level,
    /// which is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Jwks>,
}

/// A zone whose mandates are accepted, with the defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedZone {
    /// Its id and its issuer.
    pub zone: Zone,
    /// Where its key set comes from.
    pub jwks: Jwks,
}

impl Configuration {
    /// The zones in force, in the order of [`Configuration::zones_in_force`].
    pub fn accepted_zones(&self) -> Vec<AcceptedZone> {
        let of_top = |id: &String| AcceptedZone {
            zone: Zone {
                id: id.clone(),
                issuer: self.issuer.clone(),
            },
            jwks: self.jwks.clone(),
        };
        if let Some(id) = &self.zone_id {
            return vec![of_top(id)];
        }
        let of_zone = |(id, own): (&String, &ZoneSettings)| {
            let mut accepted = of_top(id);
            if let Some(issuer) = &own.issuer {
                accepted.zone.issuer.clone_from(issuer);
            }
            if let Some(jwks) = &own.jwks {
                accepted.jwks.clone_from(jwks);
            }
            accepted
        };
        self.zones.iter().map(of_zone).collect()
    }

    /// The zones among which the claim `zone_id` chooses, or the one of `zone_id`.
    pub fn zones_in_force(&self) -> Zones {
        let mut all = self.accepted_zones().into_iter().map(|one| one.zone);
        let first = all.next().unwrap_or(Zone {
            id: String::new(),
            issuer: self.issuer.clone(),
        });
        match self.zone_id {
            Some(_) => Zones::one(first),
            None => Zones::several(first, all.collect()),
        }
    }
}

/// Where the key set is requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwksTarget {
    /// `https` or `http`.
    pub scheme: String,
    /// Host and port of the issuer.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

impl AcceptedZone {
    /// The request for the key set, below the origin of the issuer or of `jwks.url`
    /// (contract, "Key sets").
    pub fn jwks_target(&self) -> JwksTarget {
        let base = self.jwks.url.as_deref().unwrap_or(&self.zone.issuer);
        let uri: http::Uri = base.trim_end_matches('/').parse().unwrap_or_default();
        let base = uri.path().trim_end_matches('/');
        let zone: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("zone_id", &self.zone.id)
            .finish();
        JwksTarget {
            scheme: uri.scheme_str().unwrap_or("https").to_owned(),
            authority: uri
                .authority()
                .map_or(String::new(), |a| a.as_str().to_owned()),
            path: format!("{base}/.well-known/jwks.json?{zone}"),
        }
    }
}
