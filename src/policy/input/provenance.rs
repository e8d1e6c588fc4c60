//! The provenance of an image, as `input.image.provenance`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::material::{self, Material};
use super::{field, put};
use crate::types::build_source::SourceAttestations;

/// The kinds of provenance that are understood.
pub(in crate::policy) const PREDICATES: [&str; 2] = [SLSA_02, SLSA_1];

const SLSA_02: &str = "https://slsa.dev/provenance/v0.2";
const SLSA_1: &str = "https://slsa.dev/provenance/v1";

/// The annotation of a content with the kind of its statement.
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";

/// The provenance of an image, without its materials, and these.
#[derive(Debug)]
pub(super) struct Provenance {
    pub(super) fields: Map<String, Value>,
    pub(super) materials: Vec<Material>,
}

impl Provenance {
    /// The first provenance among `attestations`. `None` if there is none that can be read.
    pub(super) fn of(attestations: &SourceAttestations) -> Option<Self> {
        let mut blobs = attestations.blobs.values().filter(|blob| {
            let kind = blob.annotations.get(PREDICATE_TYPE);
            kind.is_some_and(|kind| PREDICATES.contains(&&**kind)) && !blob.data.is_empty()
        });
        blobs.find_map(|blob| {
            let kind = blob.annotations.get(PREDICATE_TYPE)?;
            let statement: Value = serde_json::from_slice(&blob.data).ok()?;
            let predicate = field(&statement, "predicate")?;
            let named = field(&statement, "predicateType").and_then(Value::as_str);
            match named.filter(|kind| !kind.is_empty()).unwrap_or(kind) {
                SLSA_1 => slsa_1(predicate),
                SLSA_02 => slsa_02(predicate),
                _ => None,
            }
        })
    }
}

/// The value at `path` below `value`.
fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter()
        .try_fold(value, |value, name| field(value, name))
}

fn text(value: &Value, path: &[&str]) -> Value {
    json!(at(value, path).and_then(Value::as_str))
}

fn flag(value: &Value, path: &[&str]) -> bool {
    at(value, path).and_then(Value::as_bool).unwrap_or(false)
}

fn strings(value: Option<&Value>) -> BTreeMap<String, String> {
    let fields = value.and_then(Value::as_object).into_iter().flatten();
    let fields =
        fields.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    fields.collect()
}

/// A time of RFC 3339 in UTC, in whole seconds.
fn time(value: &Value, path: &[&str]) -> Value {
    let time = at(value, path).and_then(Value::as_str);
    let time = time.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    json!(time.map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()))
}

/// What both kinds have.
struct Common<'v> {
    kind: &'static str,
    build_type: Value,
    builder: Value,
    source: [Value; 2],
    source_digest: Option<&'v Value>,
    frontend: Value,
    args: Option<&'v Value>,
}

impl Common<'_> {
    /// `None` if neither a builder nor a kind of build is named: then it is not a provenance.
    fn fields(self) -> Option<Map<String, Value>> {
        let is_empty = |value: &Value| value.as_str().is_none_or(str::is_empty);
        if is_empty(&self.build_type) && is_empty(&self.builder) {
            return None;
        }
        let mut fields = Map::new();
        put(&mut fields, "predicateType", json!(self.kind));
        put(&mut fields, "buildType", self.build_type);
        put(&mut fields, "builderID", self.builder);
        let mut source = Map::new();
        let [uri, path] = self.source;
        put(&mut source, "uri", uri);
        put(&mut source, "digest", json!(strings(self.source_digest)));
        put(&mut source, "path", path);
        fields.insert("configSource".to_owned(), Value::Object(source));
        put(&mut fields, "frontend", self.frontend);
        let args = strings(self.args);
        let build_args: BTreeMap<&str, &String> = args
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("build-arg:")?, value)))
            .filter(|(name, _)| !name.is_empty())
            .collect();
        put(&mut fields, "buildArgs", json!(build_args));
        put(&mut fields, "rawArgs", json!(args));
        Some(fields)
    }
}

fn slsa_1(predicate: &Value) -> Option<Provenance> {
    const PARAMETERS: &str = "externalParameters";
    let definition = field(predicate, "buildDefinition").unwrap_or(&Value::Null);
    let source = at(definition, &[PARAMETERS, "configSource"]).unwrap_or(&Value::Null);
    let common = Common {
        kind: SLSA_1,
        build_type: text(definition, &["buildType"]),
        builder: text(predicate, &["runDetails", "builder", "id"]),
        source: [text(source, &["uri"]), text(source, &["path"])],
        source_digest: field(source, "digest"),
        frontend: text(definition, &[PARAMETERS, "request", "frontend"]),
        args: at(definition, &[PARAMETERS, "request", "args"]),
    };
    let mut fields = common.fields()?;
    if let Some(metadata) = at(predicate, &["runDetails", "metadata"]) {
        put(
            &mut fields,
            "invocationID",
            text(metadata, &["invocationID"]),
        );
        put(&mut fields, "startedOn", time(metadata, &["startedOn"]));
        put(&mut fields, "finishedOn", time(metadata, &["finishedOn"]));
        let flag = |path: &[&str]| json!(flag(metadata, path));
        fields.insert("reproducible".to_owned(), flag(&["buildkit_reproducible"]));
        fields.insert("hermetic".to_owned(), flag(&["buildkit_hermetic"]));
        let complete = json!({
            "parameters": flag(&["buildkit_completeness", "request"]),
            "materials": flag(&["buildkit_completeness", "resolvedDependencies"]),
        });
        fields.insert("completeness".to_owned(), complete);
    }
    let materials = field(definition, "resolvedDependencies");
    Some(Provenance {
        fields,
        materials: materials_of(materials),
    })
}

fn slsa_02(predicate: &Value) -> Option<Provenance> {
    let source = at(predicate, &["invocation", "configSource"]).unwrap_or(&Value::Null);
    let common = Common {
        kind: SLSA_02,
        build_type: text(predicate, &["buildType"]),
        builder: text(predicate, &["builder", "id"]),
        source: [text(source, &["uri"]), text(source, &["entryPoint"])],
        source_digest: field(source, "digest"),
        frontend: text(predicate, &["invocation", "parameters", "frontend"]),
        args: at(predicate, &["invocation", "parameters", "args"]),
    };
    let mut fields = common.fields()?;
    if let Some(metadata) = field(predicate, "metadata") {
        put(
            &mut fields,
            "invocationID",
            text(metadata, &["buildInvocationID"]),
        );
        put(
            &mut fields,
            "startedOn",
            time(metadata, &["buildStartedOn"]),
        );
        put(
            &mut fields,
            "finishedOn",
            time(metadata, &["buildFinishedOn"]),
        );
        let flag = |path: &[&str]| json!(flag(metadata, path));
        fields.insert("reproducible".to_owned(), flag(&["reproducible"]));
        let hermetic = flag(&["https://mobyproject.org/buildkit@v1#hermetic"]);
        fields.insert("hermetic".to_owned(), hermetic);
        let complete = json!({
            "parameters": flag(&["completeness", "parameters"]),
            "environment": flag(&["completeness", "environment"]),
            "materials": flag(&["completeness", "materials"]),
        });
        fields.insert("completeness".to_owned(), complete);
    }
    Some(Provenance {
        fields,
        materials: materials_of(field(predicate, "materials")),
    })
}

/// The materials that are sources which policies know. Others are left out.
fn materials_of(list: Option<&Value>) -> Vec<Material> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    let materials = list.filter_map(|material| {
        let uri = field(material, "uri").and_then(Value::as_str).unwrap_or("");
        material::parse(uri, &strings(field(material, "digest")))
    });
    materials.collect()
}
