//! Checks that need more than one part of a project.

use std::collections::HashMap;

use super::Model;
use super::decode::is_external;
use crate::diag::{Class, Diagnostic, Diagnostics, closest};
use crate::yaml::YamlNode;

const SERVICE_PREFIX: &str = "service:";

/// Checks that each service has an image or a build, that services used as contexts exist, and that each secret has a
/// source.
///
/// Skips the services in `incomplete`, because the parts that could not be read might satisfy the checks.
pub(super) fn consistent(
    model: &Model,
    incomplete: &HashMap<String, Vec<Diagnostic>>,
    problems: &mut Diagnostics,
) {
    for (name, entry) in &model.services {
        if incomplete.contains_key(name) {
            continue;
        }
        let get = |key: &str| entry.value.get(key);
        let image = get("image")
            .and_then(YamlNode::as_str)
            .filter(|image| !image.is_empty());
        let Some(build) = get("build") else {
            if image.is_none() {
                let message = format!("service `{name}` has neither an `image` nor a `build`");
                let problem = Diagnostic::error(Class::Definition, "compose::no-image", message);
                problems.push(meant(&entry.value, problem.at(entry.key, "")));
            }
            continue;
        };
        two_dockerfiles(name, build, problems);
        services_as_contexts(name, build, model, incomplete, problems);
    }
    for (name, entry) in &model.secrets {
        let secret = &entry.value;
        let has = |key: &str| {
            secret
                .get(key)
                .and_then(YamlNode::as_str)
                .is_some_and(|text| !text.is_empty())
        };
        if !is_external(secret) && !has("file") && !has("environment") {
            let message =
                format!("secret `{name}` has neither a `file` nor an `environment` variable");
            let problem = Diagnostic::error(Class::Definition, "compose::no-secret", message);
            problems.push(problem.at(entry.key, ""));
        }
    }
}

/// Adds a suggestion if `service` has a key similar to `build` or `image`. Compose ignores unknown keys, so a
/// misspelling is only noticed here.
fn meant(service: &YamlNode, problem: Diagnostic) -> Diagnostic {
    let keys = service.as_mapping();
    let keys = || keys.into_iter().flatten();
    let slip = ["build", "image"].into_iter().find_map(|key| {
        let written = closest(key, keys().map(|(written, _)| written.as_str()))?;
        Some((key, keys().find(|(known, _)| *known == written)?))
    });
    match slip {
        Some((key, (written, entry))) => {
            problem
                .context(entry.key, "not a key of services")
                .help(format!(
                    "write `{key}` instead of `{written}` if that is what you mean"
                ))
        }
        None => problem,
    }
}

/// Reports a build with both a `dockerfile` and a `dockerfile_inline`.
fn two_dockerfiles(service: &str, build: &YamlNode, problems: &mut Diagnostics) {
    let filled = |key: &str| {
        let node = build.get(key)?;
        node.as_str().filter(|text| !text.is_empty())?;
        Some(node.span)
    };
    if let (Some(path), Some(inline)) = (filled("dockerfile"), filled("dockerfile_inline")) {
        let message =
            format!("service `{service}` has both a `dockerfile` and a `dockerfile_inline`");
        let problem = Diagnostic::error(Class::Definition, "compose::two-dockerfiles", message);
        problems.push(problem.at(inline, "").context(path, "the other one"));
    }
}

/// Reports contexts `service:NAME` for which there is no such service, or one without a build.
fn services_as_contexts(
    service: &str,
    build: &YamlNode,
    model: &Model,
    incomplete: &HashMap<String, Vec<Diagnostic>>,
    problems: &mut Diagnostics,
) {
    let services = &model.services;
    let contexts = build
        .get("additional_contexts")
        .and_then(YamlNode::as_mapping);
    for (context, entry) in contexts.into_iter().flatten() {
        let of = entry
            .value
            .as_str()
            .and_then(|text| text.strip_prefix(SERVICE_PREFIX));
        let Some(of) = of else {
            continue;
        };
        let what = match services.get(of) {
            Some(other) if other.value.get("build").is_some() || incomplete.contains_key(of) => {
                continue;
            }
            Some(_) => "has no `build`",
            None => "does not exist",
        };
        let message =
            format!("service `{of}`, the context `{context}` of service `{service}`, {what}");
        let problem = Diagnostic::error(Class::Definition, "compose::unknown-service", message);
        let names = services.keys().map(String::as_str);
        problems.push(
            problem
                .at(entry.value.span, "")
                .did_you_mean("a service", of, names),
        );
    }
}
