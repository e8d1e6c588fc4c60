//! Completes the value of `--set` piece by piece: `TARGET.`, then `KEY.` or `KEY=`, then `NAME=`, then the value of
//! the key.

use std::collections::BTreeSet;

use super::values::{paths, words};
use super::{Candidate, Candidates};
use crate::definition::model::{Definition, RESOURCE_FIELDS, Target};
use crate::definition::schema::{self, SetForm};
use crate::types::Environment;

/// The possible completions of `current`, an unfinished value of `--set`. `names` are the targets and groups.
pub(super) fn candidates(
    current: &str,
    names: Vec<Candidate>,
    definition: Option<&Definition>,
    environment: &Environment,
) -> Candidates {
    let path = current.split_once('=').map_or(current, |(path, _)| path);
    let mut parts = path.splitn(3, '.');
    let pattern = parts.next().unwrap_or_default();
    let Some(key) = parts.next() else {
        return targets(names, definition);
    };
    let Some(spec) = schema::set_keys().find(|spec| spec.key == key.trim_end_matches('+')) else {
        return keys(pattern);
    };
    if let Some((path, value)) = current.split_once('=') {
        return values(path, spec.key, value, environment);
    }
    match (spec.form, parts.next()) {
        (SetForm::Entry, Some(_)) => entries(pattern, spec.key, definition),
        _ => keys(pattern),
    }
}

fn targets(names: Vec<Candidate>, definition: Option<&Definition>) -> Candidates {
    let is_target =
        |name: &str| definition.is_some_and(|definition| definition.targets.contains_key(name));
    let mut list = vec![Candidate::new("*.", "all targets")];
    list.extend(
        names
            .into_iter()
            .filter(|candidate| is_target(&candidate.value))
            .map(|candidate| Candidate::new(format!("{}.", candidate.value), candidate.about)),
    );
    Candidates::of(list)
}

fn keys(pattern: &str) -> Candidates {
    let about = |key: &str| {
        let row = schema::ATTRIBUTES
            .iter()
            .find(|row| row.set.is_some_and(|set| set.key == key));
        row.map_or("", |row| row.doc)
    };
    let key = |spec: schema::SetSpec| {
        let end = if spec.form == SetForm::Entry {
            '.'
        } else {
            '='
        };
        Candidate::new(format!("{pattern}.{}{end}", spec.key), about(spec.key))
    };
    Candidates::of(schema::set_keys().map(key).collect())
}

/// The names that the map `key` has in the matching targets, including those that they inherit.
fn entries(pattern: &str, key: &str, definition: Option<&Definition>) -> Candidates {
    let mut names = BTreeSet::new();
    if let Some(definition) = definition {
        let any = pattern.contains(['*', '?', '[']);
        let fitting = definition
            .targets
            .iter()
            .filter(|(name, _)| any || name.as_str() == pattern);
        let mut open: Vec<&Target> = fitting.map(|(_, target)| &**target).collect();
        let mut seen = BTreeSet::new();
        while let Some(target) = open.pop() {
            if seen.insert(target.name.as_str()) {
                names.extend(names_of(target, key));
                let bases = target.inherits.iter();
                open.extend(
                    bases
                        .filter_map(|base| definition.targets.get(&*base.value))
                        .map(|base| &**base),
                );
            }
        }
    }
    if key == "resources" {
        names.extend(RESOURCE_FIELDS.iter().map(|key| (*key).to_owned()));
    }
    let list = names
        .iter()
        .map(|name| Candidate::new(format!("{pattern}.{key}.{name}="), ""));
    Candidates::of(list.collect())
}

fn names_of(target: &Target, key: &str) -> Vec<String> {
    let map = match key {
        "args" => &target.args,
        "contexts" => &target.contexts,
        "extra-hosts" => &target.extra_hosts,
        "labels" => &target.labels,
        "secret" => {
            let secrets = target.secret.iter();
            return secrets.map(|secret| secret.id.to_string()).collect();
        }
        _ => return Vec::new(),
    };
    map.iter().map(|(name, _)| name.to_string()).collect()
}

fn values(path: &str, key: &str, value: &str, environment: &Environment) -> Candidates {
    let after = |words: &[&str]| {
        let list = words
            .iter()
            .map(|word| Candidate::new(format!("{path}={word}"), ""));
        Candidates::of(list.collect())
    };
    match key {
        "context" | "contexts" | "dockerfile" => {
            Candidates::of(paths(&format!("{path}="), value, environment))
        }
        "no-cache" | "pull" | "push" | "load" => after(&["true", "false"]),
        "network" => after(&["default", "host", "none"]),
        "call" => after(&["build", "check", "outline", "targets"]),
        "entitlements" => after(&["network.host", "security.insecure", "device"]),
        "platform" => after(&["linux/amd64", "linux/arm64", "linux/arm/v7", "local"]),
        "output" => after(&[
            "type=image,",
            "type=registry",
            "type=docker",
            "type=local,dest=",
            "type=tar,dest=",
            "type=oci,dest=",
            "type=cacheonly",
        ]),
        "cache-from" | "cache-to" => after(&[
            "type=registry,ref=",
            "type=local,",
            "type=gha",
            "type=s3,",
            "type=azblob,",
        ]),
        "attest" => after(&["type=provenance,mode=", "type=sbom"]),
        _ => words(&[]),
    }
}
