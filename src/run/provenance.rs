//! The provenance of a build in its metadata: what the daemon recorded, in the form in which buildx writes it.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::shared_context::SharedContext;
use crate::diag::Diagnostic;
use crate::engine::BuildRef;
use crate::event::EventKind;
use crate::golang::strconv;
use crate::outcome::Solved;
use crate::types::causes::in_one_line;
use crate::types::{Environment, TargetName};

/// The variable that says how much provenance the metadata file has.
const VARIABLE: &str = "BUILDX_METADATA_PROVENANCE";
/// The key of the provenance in the response; a platform may follow.
const KEY: &str = "buildx.build.provenance";
/// The type of predicates in the form of SLSA v1. BuildKit v0.32 records this form, and buildx writes that of v0.2.
const SLSA_1: &str = "https://slsa.dev/provenance/v1";
/// BuildKit's type of a build in the form of SLSA v0.2.
const BUILD_TYPE: &str = "https://mobyproject.org/buildkit@v1";

/// The most time for reading a provenance. The build has succeeded, whatever the daemon answers. A daemon that records dozens of
/// builds at the same time was seen to need more than 40 s.
const TIMEOUT: Duration = Duration::from_secs(120);

/// How much of the provenance is in the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProvenanceDetail {
    /// Without the build's steps and times.
    Min,
    /// All that was recorded.
    Max,
}

impl ProvenanceDetail {
    /// What `BUILDX_METADATA_PROVENANCE` asks for. As in buildx, an unknown value means `min`, and `None` means no
    /// provenance.
    pub(crate) fn of(environment: &Environment) -> Option<Self> {
        match environment.get(VARIABLE).unwrap_or_default() {
            "max" => Some(Self::Max),
            "disabled" => None,
            other if strconv::parse_bool(other) == Some(false) => None,
            _ => Some(Self::Min),
        }
    }
}

/// Adds the recorded provenance of `target`, which was built as `solved`, to its response. If it cannot be read, only a
/// warning is sent.
///
/// A target that was solved again for its push has the provenance of the first solve: the second is not in the history.
pub(super) async fn add(target: &TargetName, shared: &SharedContext, solved: &mut Solved) {
    let Some(detail) = shared.provenance else {
        return;
    };
    let build_ref = BuildRef::from_text(&solved.build_ref);
    let read = tokio::time::timeout(TIMEOUT, shared.engine.provenance(&build_ref));
    let recorded = match read.await {
        Ok(Ok(recorded)) => recorded,
        Ok(Err(error)) => {
            tell(target, shared, &in_one_line(&error));
            return;
        }
        Err(_) => {
            let reason = format!("the builder did not answer within {} s", TIMEOUT.as_secs());
            tell(target, shared, &reason);
            return;
        }
    };
    for one in recorded {
        let Some(predicate) = predicate(&one.predicate_type, &one.predicate, detail) else {
            tell(target, shared, "it is not a predicate of SLSA");
            continue;
        };
        let key = match one.platform {
            Some(platform) => format!("{KEY}/{platform}"),
            None => KEY.to_owned(),
        };
        let encoded = BASE64_STANDARD.encode(predicate.to_string());
        solved.response.insert(key, encoded);
    }
}

fn tell(target: &TargetName, shared: &SharedContext, reason: &str) {
    let message = format!("the metadata of target `{target}` has no provenance: {reason}");
    let notice = Diagnostic::warning("run::no-provenance", message).help(format!(
        "`{VARIABLE}=disabled` writes the metadata file without provenance"
    ));
    shared.events.send(EventKind::Notice(notice));
}

/// The predicate in the form of SLSA v0.2. `None` if it is not a JSON object.
fn predicate(kind: &str, json: &[u8], detail: ProvenanceDetail) -> Option<Value> {
    let recorded: Value = serde_json::from_slice(json).ok()?;
    let mut predicate = if kind == SLSA_1 {
        from_slsa_1(recorded)?
    } else {
        recorded
    };
    let fields = predicate.as_object_mut()?;
    if detail == ProvenanceDetail::Min {
        fields.shift_remove("buildConfig");
        fields.shift_remove("metadata");
    }
    Some(predicate)
}

/// Takes the value at `path` out of `value`; `null` if there is none.
fn take(value: &mut Value, path: &[&str]) -> Value {
    let mut at = value;
    for key in path {
        match at.get_mut(*key) {
            Some(below) => at = below,
            None => return Value::Null,
        }
    }
    at.take()
}

/// Puts the fields that are not empty into an object. As in Go, `omitempty` leaves out false and empty values.
fn filled<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let is_filled = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    };
    let fields = fields.into_iter().filter(|(_, value)| is_filled(value));
    Value::Object(fields.map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Whether the value at `path` is true.
fn flag(value: &mut Value, path: &[&str]) -> bool {
    take(value, path) == Value::Bool(true)
}

/// Converts as BuildKit's `ConvertToSLSA02` (solver/llbsolver/provenance/types). `None` if `recorded` is not an object.
fn from_slsa_1(mut recorded: Value) -> Option<Value> {
    recorded.as_object()?;
    let mut definition = take(&mut recorded, &["buildDefinition"]);
    let mut details = take(&mut recorded, &["runDetails"]);
    let mut source = take(&mut definition, &["externalParameters", "configSource"]);
    let mut internal = take(&mut definition, &["internalParameters"]);
    let mut predicate = Map::new();
    let id = take(&mut details, &["builder", "id"]);
    let id = if id.is_null() { json!("") } else { id };
    predicate.insert("builder".to_owned(), json!({ "id": id }));
    predicate.insert("buildType".to_owned(), json!(BUILD_TYPE));
    let materials = take(&mut definition, &["resolvedDependencies"]);
    if let Value::Array(materials) = materials
        && !materials.is_empty()
    {
        let one = |mut material: Value| {
            filled([
                ("uri", take(&mut material, &["uri"])),
                ("digest", take(&mut material, &["digest"])),
            ])
        };
        let materials = materials.into_iter().map(one).collect();
        predicate.insert("materials".to_owned(), Value::Array(materials));
    }
    let config = take(&mut internal, &["buildConfig"]);
    let mut environment = Map::new();
    environment.insert(
        "platform".to_owned(),
        take(&mut internal, &["builderPlatform"]),
    );
    if let Value::Object(others) = internal {
        let others = others.into_iter();
        environment.extend(others.filter(|(key, value)| {
            !matches!(&**key, "buildConfig" | "builderPlatform") && !value.is_null()
        }));
    }
    environment.sort_keys();
    let request = take(&mut definition, &["externalParameters", "request"]);
    let invocation = json!({
        "configSource": filled([
            ("uri", take(&mut source, &["uri"])),
            ("digest", take(&mut source, &["digest"])),
            ("entryPoint", take(&mut source, &["path"])),
        ]),
        "parameters": if request.is_null() { json!({}) } else { request },
        "environment": environment,
    });
    predicate.insert("invocation".to_owned(), invocation);
    if !config.is_null() {
        predicate.insert("buildConfig".to_owned(), config);
    }
    let metadata = take(&mut details, &["metadata"]);
    if !metadata.is_null() {
        predicate.insert("metadata".to_owned(), metadata_of(metadata));
    }
    Some(Value::Object(predicate))
}

/// Converts the metadata of a run.
fn metadata_of(mut metadata: Value) -> Value {
    let at = &mut metadata;
    let invocation = match take(at, &["invocationId"]) {
        Value::Null => take(at, &["invocationID"]),
        id => id,
    };
    let mut converted = filled([
        ("buildInvocationID", invocation),
        ("buildStartedOn", take(at, &["startedOn"])),
        ("buildFinishedOn", take(at, &["finishedOn"])),
    ]);
    let hermetic = flag(at, &["buildkit_hermetic"]);
    let own = take(at, &["buildkit_metadata"]);
    if let Some(fields) = converted.as_object_mut() {
        let completeness = json!({
            "parameters": flag(at, &["buildkit_completeness", "request"]),
            "environment": true,
            "materials": flag(at, &["buildkit_completeness", "resolvedDependencies"]),
        });
        fields.insert("completeness".to_owned(), completeness);
        let reproducible = flag(at, &["buildkit_reproducible"]);
        fields.insert("reproducible".to_owned(), json!(reproducible));
        let own = if own.is_null() { json!({}) } else { own };
        fields.insert(format!("{BUILD_TYPE}#metadata"), own);
        if hermetic {
            fields.insert(format!("{BUILD_TYPE}#hermetic"), json!(true));
        }
    }
    converted
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("", Some(ProvenanceDetail::Min); "nothing")]
    #[test_case("min", Some(ProvenanceDetail::Min))]
    #[test_case("max", Some(ProvenanceDetail::Max))]
    #[test_case("disabled", None)]
    #[test_case("F", None; "a word of Go for false")]
    #[test_case("1", Some(ProvenanceDetail::Min); "a word of Go for true")]
    #[test_case("MAX", Some(ProvenanceDetail::Min); "an unknown word")]
    fn the_variable_is_read_as_in_buildx(value: &str, expected: Option<ProvenanceDetail>) {
        let environment = Environment::of([(VARIABLE, value)], "/");
        assert_eq!(ProvenanceDetail::of(&environment), expected);
    }

    const RECORDED: &str = r#"{
        "buildDefinition": {
            "buildType": "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md",
            "externalParameters": {"configSource": {"path": "Dockerfile"}, "request": {"frontend": "dockerfile.v0", "args": {"a": "1"}}},
            "internalParameters": {"buildConfig": {"llbDefinition": []}, "builderPlatform": "linux/amd64", "runner": {"x": 1}},
            "resolvedDependencies": [{"uri": "pkg:docker/a", "digest": {"sha256": "aa"}, "name": "dropped"}]
        },
        "runDetails": {
            "builder": {"id": ""},
            "metadata": {"invocationId": "i", "startedOn": "s", "finishedOn": "f", "buildkit_metadata": {"vcs": {"a": "b"}}, "buildkit_completeness": {"request": true, "resolvedDependencies": false}}
        }
    }"#;

    #[test]
    fn predicates_are_converted_to_the_form_of_buildx() {
        let predicate = |detail| {
            predicate(SLSA_1, RECORDED.as_bytes(), detail)
                .unwrap()
                .to_string()
        };
        let min = r#"{"builder":{"id":""},"buildType":"https://mobyproject.org/buildkit@v1","materials":[{"uri":"pkg:docker/a","digest":{"sha256":"aa"}}],"invocation":{"configSource":{"entryPoint":"Dockerfile"},"parameters":{"frontend":"dockerfile.v0","args":{"a":"1"}},"environment":{"platform":"linux/amd64","runner":{"x":1}}}"#;
        let max = r#","buildConfig":{"llbDefinition":[]},"metadata":{"buildInvocationID":"i","buildStartedOn":"s","buildFinishedOn":"f","completeness":{"parameters":true,"environment":true,"materials":false},"reproducible":false,"https://mobyproject.org/buildkit@v1#metadata":{"vcs":{"a":"b"}}}}"#;
        assert_eq!(predicate(ProvenanceDetail::Min), format!("{min}}}"));
        assert_eq!(predicate(ProvenanceDetail::Max), format!("{min}{max}"));
    }

    #[test_case("[]"; "a list")]
    #[test_case("{"; "broken")]
    #[test_case("1"; "a number")]
    fn a_predicate_that_is_not_an_object_is_left_out(json: &str) {
        for kind in [SLSA_1, "https://slsa.dev/provenance/v0.2"] {
            assert_eq!(
                predicate(kind, json.as_bytes(), ProvenanceDetail::Max),
                None
            );
        }
    }

    #[test_case("{}"; "empty")]
    #[test_case(r#"{"buildDefinition":[],"runDetails":{"metadata":7,"builder":null}}"#; "of other types")]
    fn strange_predicates_do_no_harm(json: &str) {
        let converted = predicate(SLSA_1, json.as_bytes(), ProvenanceDetail::Max);
        assert!(converted.unwrap().is_object());
    }
}
