//! The document `input`, in which policies find the source and the target.
//!
//! Its fields are those of buildx (`policy/types.go`). Fields that are empty are left out.

mod git;
mod image;
mod material;
mod provenance;
mod source;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

pub(super) use git::GitObject;
pub(super) use provenance::PREDICATES;
pub(super) use source::{Described, describe, pinned};

use crate::types::Platform;

/// What a policy knows of the target: `input.env`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PolicyEnvironment {
    /// The build arguments of the target.
    pub(crate) args: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// The name of the Dockerfile, without its directory.
    pub(crate) filename: String,
    /// The stage. Empty for the last one.
    pub(crate) target: String,
}

impl PolicyEnvironment {
    /// `input.env`, for the source itself or, if `depth` is not 0, for a material of its provenance.
    fn to_json(&self, depth: usize) -> Value {
        let mut env = Map::new();
        put(&mut env, "args", json!(self.args));
        put(&mut env, "labels", json!(self.labels));
        put(&mut env, "filename", json!(self.filename));
        put(&mut env, "target", json!(self.target));
        env.insert("depth".to_owned(), json!(depth));
        Value::Object(env)
    }

    /// The document of the question which capabilities a policy wants. There is no source.
    pub(super) fn caps_request(&self) -> Value {
        let mut env = self.to_json(0);
        env["capsRequest"] = json!(true);
        json!({ "env": env })
    }
}

/// Adds `value`, unless it is empty: no text, no entries, `false`, 0 or null.
fn put(fields: &mut Map<String, Value>, name: &str, value: Value) {
    let is_empty = match &value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    };
    if !is_empty {
        fields.insert(name.to_owned(), value);
    }
}

/// The value of the field `name` of a JSON object, as Go finds it: in upper or lower case, the last one if there are several.
fn field<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    let fields = value.as_object()?;
    let mut fields = fields.iter().rev();
    let found = fields.find(|(key, _)| key.eq_ignore_ascii_case(name));
    found
        .map(|(_, value)| value)
        .filter(|value| !value.is_null())
}

/// Why a source has no document. The policy cannot be evaluated then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("`{0}` does not identify a source")]
    Identifier(String),
    #[error("sources of the kind `{0}` are not supported")]
    Kind(String),
    #[error("`{0}` is not an image's name")]
    Image(String, #[source] crate::types::reference::InvalidReference),
    #[error("the platform of an image is not known")]
    NoPlatform,
    #[error("the configuration of the image cannot be read")]
    Config(#[source] serde_json::Error),
    #[error("the configuration of the image cannot be read: `{0}` is not what it should be")]
    ConfigField(&'static str),
    #[error("`{0}` is not the address of a repository or a download")]
    Address(String),
    #[error("the builder sent a git object that cannot be read: {0}")]
    Object(&'static str),
    #[error("the builder sent a git object that is not `{0}`")]
    Checksum(String),
}

/// The platform in the form of `input.image.platform`.
fn shown(platform: &Platform) -> String {
    platform.to_string()
}
