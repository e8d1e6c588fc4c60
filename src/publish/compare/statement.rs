//! The statements of attestations, without what differs between two runs of an unchanged build.

use std::cmp::Ordering;
use std::fmt::Write as _;

use serde_json::Value;

use crate::types::terminal::visible;

/// The largest statement that is parsed, in bytes. The SBOM of a large image has some megabytes.
pub(crate) const STATEMENT_LIMIT: usize = 32 << 20;

/// The longest path that is reported, in bytes.
const PATH_LIMIT: usize = 200;

const PROVENANCE_1: &str = "https://slsa.dev/provenance/v1";
const PROVENANCE_02: &str = "https://slsa.dev/provenance/v0.2";
const SPDX: &str = "https://spdx.dev/Document";

/// Fields of BuildKit's own metadata in both versions of provenance (`solver/llbsolver/provenance/types`).
///
/// * The commit is recorded in the index, too, and compared there.
/// * Which layers of earlier stages are listed depends on what the daemon has in its cache.
/// * Usage is measured.
/// * The keys of the mapping are digests of operations, which contain the session's id (`local.session`) and a random
///   value of the client (`local.unique`).
const METADATA: [&str; 6] = [
    "vcs/revision",
    "layers",
    "sysUsage",
    "source/infos/*/digestMapping",
    "source/infos/*/llbDefinition/*/resourceUsage",
    "network/proxy/incomplete/*/op",
];

/// Fields of the build's steps in both versions of provenance, in `mode=max`.
const BUILD_CONFIG: [&str; 2] = ["digestMapping", "llbDefinition/*/resourceUsage"];

/// The identity of the run and its times. The id of the builder is the address of the CI job.
const RUN_1: [&str; 5] = [
    "runDetails/builder/id",
    "runDetails/metadata/invocationID",
    "runDetails/metadata/invocationId",
    "runDetails/metadata/startedOn",
    "runDetails/metadata/finishedOn",
];
const RUN_02: [&str; 5] = [
    "builder/id",
    "metadata/buildInvocationID",
    "metadata/buildInvocationId",
    "metadata/buildStartedOn",
    "metadata/buildFinishedOn",
];

/// The argument with the commit, which may remain in the requests of inputs.
const REVISION_ARGUMENT: &str = "vcs:revision";
/// The beginning of arguments with the ids of sessions. A directory that several targets read has a session of its own,
/// with another id in each run.
const SESSION_ARGUMENTS: &str = "local-sessionid:";

/// The time of an SBOM, and its address, which contains a random id.
const SBOM: [&str; 2] = ["creationInfo/created", "documentNamespace"];
/// Lists of an SBOM without a meaningful order.
const SBOM_SETS: [&str; 3] = ["packages", "files", "relationships"];

/// A statement cannot be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatementError {
    /// It has more than [`STATEMENT_LIMIT`] bytes.
    #[error("an attestation has more than {STATEMENT_LIMIT} bytes")]
    TooLarge,
    /// It is not JSON.
    #[error("an attestation is not valid JSON")]
    Form(#[source] serde_json::Error),
}

/// Returns the path of the first field in which two statements of the type `predicate_type` differ, apart from
/// fields that differ between two runs of an unchanged build. `None` if they agree.
pub(super) fn difference(
    predicate_type: &str,
    ours: &[u8],
    theirs: &[u8],
) -> Result<Option<String>, StatementError> {
    let ours = normal_form(predicate_type, ours)?;
    let theirs = normal_form(predicate_type, theirs)?;
    Ok(first_difference(&ours, &theirs).map(|mut keys| {
        keys.reverse();
        let path = visible(&keys.join(".")).into_owned();
        let end = (0..=PATH_LIMIT.min(path.len()))
            .rev()
            .find(|end| path.is_char_boundary(*end));
        path[..end.unwrap_or(0)].to_owned()
    }))
}

fn normal_form(predicate_type: &str, bytes: &[u8]) -> Result<Value, StatementError> {
    if bytes.len() > STATEMENT_LIMIT {
        return Err(StatementError::TooLarge);
    }
    let mut statement: Value = serde_json::from_slice(bytes).map_err(StatementError::Form)?;
    // The names contain the tags of the run. The digests are those of the images, and stay.
    mask(&mut statement, "subject/*/name");
    if let Some(subjects) = statement.get_mut("subject") {
        sort(subjects);
        if let Value::Array(subjects) = subjects {
            subjects.dedup();
        }
    }
    let Some(predicate) = statement.get_mut("predicate") else {
        return Ok(statement);
    };
    let mut masked = |paths: &[&str], above: &str| {
        for path in paths {
            mask(predicate, &format!("{above}{path}"));
        }
    };
    match predicate_type {
        PROVENANCE_1 => {
            masked(&RUN_1, "");
            masked(&METADATA, "runDetails/metadata/buildkit_metadata/");
            masked(
                &BUILD_CONFIG,
                "buildDefinition/internalParameters/buildConfig/",
            );
            remove_arguments_of_a_run(predicate);
        }
        PROVENANCE_02 => {
            masked(&RUN_02, "");
            // The name of this field contains slashes.
            if let Some(metadata) = predicate
                .get_mut("metadata")
                .and_then(|all| all.get_mut("https://mobyproject.org/buildkit@v1#metadata"))
            {
                for path in METADATA {
                    mask(metadata, path);
                }
            }
            for path in BUILD_CONFIG {
                mask(predicate, &format!("buildConfig/{path}"));
            }
            remove_arguments_of_a_run(predicate);
        }
        SPDX => {
            masked(&SBOM, "");
            for name in SBOM_SETS {
                if let Some(list) = predicate.get_mut(name) {
                    sort(list);
                }
            }
        }
        _ => {}
    }
    Ok(statement)
}

/// Removes the fields at `path`. `*` stands for all elements of a list.
fn mask(value: &mut Value, path: &str) {
    let (first, rest) = match path.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    match (value, rest) {
        (Value::Array(elements), Some(rest)) if first == "*" => {
            for element in elements {
                mask(element, rest);
            }
        }
        (Value::Object(members), Some(rest)) => {
            if let Some(member) = members.get_mut(first) {
                mask(member, rest);
            }
        }
        (Value::Object(members), None) => drop(members.shift_remove(first)),
        _ => {}
    }
}

/// Removes the arguments that belong to one run, at any depth. (The parser limits the depth.)
fn remove_arguments_of_a_run(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| {
                name != REVISION_ARGUMENT && !name.starts_with(SESSION_ARGUMENTS)
            });
            for value in members.values_mut() {
                remove_arguments_of_a_run(value);
            }
        }
        Value::Array(elements) => {
            for value in elements {
                remove_arguments_of_a_run(value);
            }
        }
        _ => {}
    }
}

/// Sorts a list by the text of its elements, in which the names of members are sorted, too.
fn sort(list: &mut Value) {
    if let Value::Array(elements) = list {
        elements.sort_by_cached_key(canonical);
    }
}

fn canonical(value: &Value) -> String {
    let mut sorted = value.clone();
    sorted.sort_all_objects();
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(text, "{sorted}");
    text
}

/// Returns the keys of the first difference, the innermost first. Objects are compared by name, in `ours`' order.
fn first_difference(ours: &Value, theirs: &Value) -> Option<Vec<String>> {
    let below = |key: String, found: Option<Vec<String>>| {
        found.map(|mut keys| {
            keys.push(key);
            keys
        })
    };
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let only_theirs = || theirs.keys().find(|key| !ours.contains_key(*key));
            let differing = ours.iter().find_map(|(key, value)| {
                let found = match theirs.get(key) {
                    Some(other) => first_difference(value, other),
                    None => Some(Vec::new()),
                };
                below(key.clone(), found)
            });
            differing.or_else(|| only_theirs().map(|key| vec![key.clone()]))
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            let pairs = ours.iter().zip(theirs).enumerate();
            let mut differing = pairs.filter_map(|(at, (ours, theirs))| {
                below(at.to_string(), first_difference(ours, theirs))
            });
            let found = differing.next();
            found.or_else(|| {
                let shorter = ours.len().min(theirs.len());
                (ours.len().cmp(&theirs.len()) != Ordering::Equal)
                    .then(|| vec![shorter.to_string()])
            })
        }
        (ours, theirs) => (ours != theirs).then(Vec::new),
    }
}
