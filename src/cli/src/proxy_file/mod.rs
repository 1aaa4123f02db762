//! A proxy's file as a tree of JSON: how YAML becomes one, how each object is visited with
//! what is around it, how protobuf's JSON names its members and types, and which filters
//! are ours.

mod any;
mod names;
mod walk;
mod wasm;
pub(crate) mod yaml;

pub(crate) use any::{is_enum, member, objects, typed};
pub(crate) use names::{NAME, is_our_configuration, is_ours};
pub(crate) use walk::{Here, walk};
pub(crate) use wasm::Wasm;
