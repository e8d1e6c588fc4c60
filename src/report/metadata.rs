//! The content of the metadata file: one JSON object for each target that was built, as buildx writes it.

use std::collections::BTreeMap;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

use super::model::{Model, Warning};
use super::status_json::SolveStatus;
use crate::event::{INLINE_DOCKERFILE, StatusUpdate, VertexWarning};
use crate::files::{self, FileAccess, Resolved};
use crate::outcome::{Outcome, TargetOutcome};
use crate::types::{TargetName, terminal};

/// What the metadata of one target has in addition to the exporter's response.
#[derive(Debug, Clone, Default)]
pub(crate) struct Additions {
    /// Keys to add, such as `buildx.build.ref` and `buildx.build.provenance`. They replace equal keys of the
    /// response.
    pub(crate) values: BTreeMap<String, Value>,
    /// Whether `containerimage.config.digest` is left out, because the image is identified by the digest of its
    /// manifest.
    pub(crate) without_config_digest: bool,
}

/// Returns the metadata of a run. If `warnings` is given, the model's warnings are included.
///
/// All keys are sorted, also those of the targets, as in buildx.
pub(crate) fn document(
    outcome: &Outcome,
    additions: &BTreeMap<TargetName, Additions>,
    warnings: Option<&Model>,
) -> Value {
    let mut document = Map::new();
    for (name, end) in &outcome.targets {
        let TargetOutcome::Succeeded(solved) = &**end else {
            continue;
        };
        let mut values: BTreeMap<&str, Value> = BTreeMap::new();
        for (key, value) in &solved.response {
            values.insert(key, decode(key, value));
        }
        if let Some(additions) = additions.get(name) {
            if additions.without_config_digest {
                values.remove("containerimage.config.digest");
            }
            for (key, value) in &additions.values {
                values.insert(key, value.clone());
            }
        }
        let values: Map<String, Value> = values
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        document.insert(name.to_string(), Value::Object(values));
    }
    if let Some(model) = warnings.filter(|model| !model.warnings().is_empty()) {
        let list = warnings_to_json(model.warnings());
        document.insert("buildx.build.warnings".to_owned(), list);
    }
    document.sort_keys();
    Value::Object(document)
}

/// Writes `document` to the file at `place`, readable by all users.
pub(crate) fn write(place: &Resolved, document: &Value) -> io::Result<()> {
    let text = serde_json::to_string_pretty(document)?;
    // The file may be a terminal, so control characters must not get through.
    let text = terminal::visible_lines(&text);
    files::write_file(place, FileAccess::Fresh(0o644), text.as_bytes())
}

/// Decodes a value of the response as buildx does: a value is base64 of JSON if it decodes to an object or a list
/// of objects that is not empty. Everything else is kept as a string.
fn decode(key: &str, value: &str) -> Value {
    if key == "result.json" {
        return serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    }
    let decoded = BASE64.decode(value).ok();
    let json = decoded.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let structured = json.filter(|json| match json {
        Value::Object(object) => !object.is_empty(),
        Value::Array(list) => !list.is_empty() && list.iter().all(Value::is_object),
        _ => false,
    });
    structured.unwrap_or_else(|| Value::from(value))
}

/// Converts warnings as buildx does: as in the progress stream, byte fields are base64. A warning that several targets
/// have is there once, also if each of them has its own inline Dockerfile, which the frontend knows as `Dockerfile` like one at an
/// address.
fn warnings_to_json(warnings: &[Warning]) -> Value {
    let warning = |warning: &Warning| VertexWarning {
        vertex: warning.vertex.clone(),
        level: warning.level,
        short: warning.short.clone(),
        detail: warning.detail.clone(),
        url: warning.url.clone(),
        source: warning.source.clone().map(|mut source| {
            let name = &source.filename;
            if name.starts_with(INLINE_DOCKERFILE) || name.contains("://") {
                "Dockerfile".clone_into(&mut source.filename);
            }
            source
        }),
    };
    let facts = |warning: &VertexWarning| {
        let source = warning.source.clone();
        let source = source.map(|source| (source.filename, source.text, source.lines));
        (warning.short.clone(), warning.url.clone(), source)
    };
    let mut seen = Vec::new();
    let mut different = Vec::new();
    for warning in warnings.iter().map(warning) {
        let facts = facts(&warning);
        if !seen.contains(&facts) {
            seen.push(facts);
            different.push(warning);
        }
    }
    let update = StatusUpdate {
        warnings: different,
        ..StatusUpdate::default()
    };
    let status = serde_json::to_value(SolveStatus::of(&update, ToOwned::to_owned));
    let list = status
        .ok()
        .and_then(|mut status| status.get_mut("warnings").map(Value::take));
    list.unwrap_or_else(|| Value::Array(Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{CancelReason, Solved};

    fn outcome() -> Outcome {
        let encode = |json: &str| BASE64.encode(json);
        let response = [
            ("containerimage.digest", "sha256:aa".to_owned()),
            ("containerimage.config.digest", "sha256:bb".to_owned()),
            ("containerimage.descriptor", encode(r#"{"size":1}"#)),
            ("list", encode(r#"[{"a":1}]"#)),
            ("empty", encode("{}")),
            ("numbers", encode("[1]")),
            ("image.name", "docker.io/library/web:latest".to_owned()),
            ("result.json", r#"{"warnings":[]}"#.to_owned()),
        ];
        let solved = Solved {
            response: response.map(|(key, value)| (key.to_owned(), value)).into(),
            ..Solved::default()
        };
        let end = |end: TargetOutcome| std::sync::Arc::new(end);
        Outcome {
            problems: Vec::new(),
            caches: Vec::new(),
            interrupted: None,
            kept_going: false,
            targets: vec![
                (
                    "web".parse().unwrap(),
                    end(TargetOutcome::Succeeded(solved)),
                ),
                (
                    "db".parse().unwrap(),
                    end(TargetOutcome::Cancelled(CancelReason::Signal(2))),
                ),
            ],
            elapsed: std::time::Duration::ZERO,
        }
    }

    #[test]
    fn structured_values_are_decoded() {
        let mut additions = BTreeMap::new();
        let values = BTreeMap::from([(
            "buildx.build.ref".to_owned(),
            Value::from("builder/node/ref"),
        )]);
        let of_web = Additions {
            values,
            without_config_digest: true,
        };
        additions.insert("web".parse().unwrap(), of_web);
        let mut outcome = outcome();
        let early = outcome.targets[0].1.clone();
        outcome.targets.push(("abc".parse().unwrap(), early));
        let mut document = document(&outcome, &additions, None);
        let keys: Vec<String> = document.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["abc", "web"]);
        document.as_object_mut().unwrap().shift_remove("abc");
        insta::assert_snapshot!(serde_json::to_string_pretty(&document).unwrap(), @r#"
        {
          "web": {
            "buildx.build.ref": "builder/node/ref",
            "containerimage.descriptor": {
              "size": 1
            },
            "containerimage.digest": "sha256:aa",
            "empty": "e30=",
            "image.name": "docker.io/library/web:latest",
            "list": [
              {
                "a": 1
              }
            ],
            "numbers": "WzFd",
            "result.json": {
              "warnings": []
            }
          }
        }
        "#);
    }

    #[test]
    fn warnings_are_included_on_request() {
        let mut model = Model::new();
        for event in
            crate::report::recording::read(include_str!("../../tests/fixtures/status/lint.jsonl"))
                .unwrap()
        {
            model.apply(&event);
        }
        let with = document(&outcome(), &BTreeMap::new(), Some(&model));
        let first = &with["buildx.build.warnings"][0];
        assert_eq!(
            BASE64.decode(first["short"].as_str().unwrap()).unwrap(),
            model.warnings()[0].short.as_bytes()
        );
        assert_eq!(with["web"]["containerimage.config.digest"], "sha256:bb");
    }

    #[test]
    fn the_file_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("meta.json");
        std::fs::write(&path, "old").unwrap();
        let place = Resolved::of_path(&path);
        write(&place, &serde_json::json!({"web": {}})).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\n  \"web\": {}\n}"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
