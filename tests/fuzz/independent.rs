//! A second verifier, for comparison: `ring` for signatures and digests,
//! `data-encoding` for base64url, serde's types for JSON, and the contract's rows
//! written down again. It admits more than the product does (it knows nothing of
//! "stricter"); what the product admits, it must admit.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::BASE64URL_NOPAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// An object whose members are still text: no number in it is too large.
pub type Members = BTreeMap<String, Box<RawValue>>;

pub fn members(json: &[u8]) -> Option<Members> {
    serde_json::from_slice(json).ok()
}

/// Whether a text has each member's name once, at any depth, and at most 32 levels; and
/// no lone surrogate and no integer of more than 4300 digits.
pub fn is_strict(raw: &RawValue, depth: usize) -> bool {
    let text = raw.get();
    match text.as_bytes()[0] {
        b'{' => {
            let Ok(Pairs(pairs)) = serde_json::from_str(text) else {
                return false;
            };
            let names: BTreeSet<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
            depth <= 32
                && names.len() == pairs.len()
                && pairs.iter().all(|(_, value)| is_strict(value, depth + 1))
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).unwrap();
            depth <= 32 && items.iter().all(|item| is_strict(item, depth + 1))
        }
        b'"' => serde_json::from_str::<String>(text).is_ok(),
        b'-' | b'0'..=b'9' => {
            let whole = text.trim_start_matches('-');
            whole.len() <= 4300 || !whole.bytes().all(|byte| byte.is_ascii_digit())
        }
        _ => true,
    }
}

/// An object's members in order, also those of the same name.
struct Pairs(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> serde::de::Visitor<'de> for All {
            type Value = Pairs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        from.deserialize_map(All)
    }
}

/// A member of that type; `None` when it is absent or null.
fn member<T: DeserializeOwned>(of: &Members, name: &str) -> Result<Option<T>, String> {
    match of.get(name).map(|raw| raw.get()) {
        None | Some("null") => Ok(None),
        Some(text) => serde_json::from_str(text)
            .map(Some)
            .map_err(|_| format!("{name} is malformed")),
    }
}

fn text(of: &Members, name: &str) -> Option<String> {
    member(of, name).ok().flatten()
}

/// A key of a JWK Set: algorithm, `kid`, and the public key as `ring` takes it.
pub struct Jwk {
    pub algorithm: String,
    pub kid: String,
    pub public: Vec<u8>,
}

/// Reads a key, if it may verify mandates (contract, "Key sets").
pub fn jwk(jwk: &Members) -> Option<Jwk> {
    let coordinate = |name: &str| {
        let bytes = BASE64URL_NOPAD.decode(text(jwk, name)?.as_bytes()).ok()?;
        (bytes.len() == 32).then_some(bytes)
    };
    let named = [text(jwk, "kty")?, text(jwk, "crv")?, text(jwk, "alg")?];
    let (algorithm, public) = match named.each_ref().map(String::as_str) {
        ["EC", "P-256", "ES256"] => (
            "ES256",
            [vec![4], coordinate("x")?, coordinate("y")?].concat(),
        ),
        ["OKP", "Ed25519", "EdDSA" | "Ed25519"] => ("EdDSA", coordinate("x")?),
        _ => return None,
    };
    let is_for = |name: &str, wanted: &str| match jwk.get(name) {
        None => true,
        Some(raw) => match serde_json::from_str::<Vec<&RawValue>>(raw.get()) {
            Ok(list) => list.is_empty() || list.iter().any(|one| is(one, wanted)),
            Err(_) => name == "use" && is(raw, wanted),
        },
    };
    fn is(raw: &RawValue, wanted: &str) -> bool {
        serde_json::from_str::<String>(raw.get()).is_ok_and(|text| text == wanted)
    }
    let usable = is_for("use", "sig") && is_for("key_ops", "verify") && !jwk.contains_key("d");
    usable.then_some(Jwk {
        algorithm: algorithm.to_owned(),
        kid: text(jwk, "kid").filter(|kid| !kid.is_empty())?,
        public,
    })
}

/// What a route requires.
#[derive(Default)]
pub struct Required {
    pub scopes: Vec<String>,
    pub targets: Vec<String>,
    pub token_use: String,
    pub session: bool,
    pub delegation: bool,
    pub chain: Vec<String>,
    pub max_hops: u64,
}

/// Everything else that a verdict depends on.
pub struct Zone {
    pub issuer: String,
    pub audience: String,
    pub zone_id: String,
    pub skew_s: u64,
    pub now: u64,
    pub keys: Vec<Jwk>,
    pub revoked: Vec<String>,
    pub epoch: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Judges a token; the error says what is wrong with it.
pub fn verify(token: &str, zone: &Zone, required: &Required) -> Result<(), String> {
    let ensure = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        return Err("parts".to_owned());
    };
    let decode = |part: &str| {
        BASE64URL_NOPAD
            .decode(part.as_bytes())
            .map_err(|e| e.to_string())
    };
    let signed = &token.as_bytes()[..header.len() + 1 + payload.len()];
    let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);

    let header = members(&header).ok_or("header")?;
    let algorithm = text(&header, "alg").ok_or("alg")?;
    let kid = text(&header, "kid").ok_or("kid")?;
    ensure(!header.contains_key("crit"), "crit")?;
    let verifies = |key: &Jwk| {
        let public = &key.public;
        match key.algorithm.as_str() {
            "ES256" => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public).verify(signed, &signature)
            }
            _ => UnparsedPublicKey::new(&ED25519, public).verify(signed, &signature),
        }
        .is_ok()
    };
    let mut candidates = zone
        .keys
        .iter()
        .filter(|key| key.kid == kid && key.algorithm == algorithm);
    ensure(candidates.any(verifies), "signature")?;

    let claims = members(&payload).ok_or("payload")?;
    let is = |name: &str, wanted: &str| text(&claims, name).as_deref() == Some(wanted);
    let time = |name: &str| -> Result<Option<u64>, String> {
        let time: Option<u64> = member(&claims, name)?;
        Ok(time.filter(|_| claims.contains_key(name)))
    };
    ensure(is("iss", &zone.issuer), "iss")?;
    let audience = match member::<Audience>(&claims, "aud")?.ok_or("aud")? {
        Audience::One(one) => vec![one],
        Audience::Many(many) => many,
    };
    ensure(audience.contains(&zone.audience), "aud")?;
    ensure(time("exp")?.ok_or("exp")? > zone.now, "exp")?;
    ensure(time("iat")?.ok_or("iat")? <= zone.now + zone.skew_s, "iat")?;
    ensure(
        time("nbf")?.is_none_or(|nbf| nbf <= zone.now + zone.skew_s),
        "nbf",
    )?;
    for name in ["jti", "sub", "sid", "root_sid", "client_id"] {
        ensure(
            text(&claims, name).is_some_and(|value| !value.is_empty()),
            name,
        )?;
    }
    ensure(is("use", &required.token_use), "use")?;
    ensure(
        is("sub_type", "user") || is("sub_type", "application"),
        "sub_type",
    )?;
    ensure(is("zone_id", &zone.zone_id), "zone_id")?;

    let scope = match claims.contains_key("scope") {
        true => Some(member::<String>(&claims, "scope")?.ok_or("scope")?),
        false => None,
    };
    ensure(scope.as_deref() != Some(""), "scope")?;
    let granted: Vec<&str> = scope.iter().flat_map(|scope| scope.split(' ')).collect();
    ensure(
        required
            .scopes
            .iter()
            .all(|one| granted.contains(&one.as_str())),
        "scope",
    )?;

    let id = |name: &str| -> Result<Option<String>, String> {
        Ok(member::<String>(&claims, name)?.filter(|id| !id.is_empty()))
    };
    let session = id("agent_session_id")?;
    let edge = id("delegation_edge_id")?;
    (id("source_session_id")?, id("target_session_id")?);
    ensure(session.is_some() || !required.session, "agent_session_id")?;
    ensure(edge.is_some() || !required.delegation, "delegation_edge_id")?;
    let mut hops = Vec::new();
    for hop in member::<Vec<Members>>(&claims, "delegation_chain")?.unwrap_or_default() {
        let application = text(&hop, "application_id").filter(|id| !id.is_empty());
        hops.push(application.ok_or("application_id")?);
        for name in ["agent_session_id", "delegation_edge_id"] {
            member::<String>(&hop, name)?;
        }
    }
    ensure(
        required.chain.iter().all(|one| hops.contains(one)),
        "delegation_chain",
    )?;
    let count: u64 = member(&claims, "hop_count")?.unwrap_or(0);
    ensure(count <= required.max_hops, "hop_count")?;
    let list = |name: &str| -> Result<Vec<String>, String> {
        let list: Vec<String> = member(&claims, name)?.unwrap_or_default();
        ensure(list.iter().all(|one| !one.is_empty()), name)?;
        Ok(list)
    };
    list("delegation_path")?;
    let targets = list("target")?;
    ensure(
        required.targets.iter().all(|one| targets.contains(one)),
        "target",
    )?;

    let anchors = [
        text(&claims, "sid"),
        text(&claims, "root_sid"),
        session,
        edge,
    ];
    let revoked = |anchor: &String| zone.revoked.contains(anchor);
    ensure(!anchors.iter().flatten().any(revoked), "revoked")?;
    let epoch: Option<u64> = member(&claims, "delegation_graph_epoch")?;
    ensure(
        epoch.is_none_or(|epoch| epoch >= zone.epoch),
        "delegation_graph_epoch",
    )
}
