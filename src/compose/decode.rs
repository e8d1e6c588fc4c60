//! Turns a merged model, whose shapes have been checked, into a [`Project`].
//!
//! Start at [`project`].

use std::collections::HashMap;

use indexmap::IndexMap;

use super::project::{Build, BuildSecret, Entries, Project, Service};
use super::reader::ProjectReader;
use super::variables::ComposeVariables;
use super::{environment, hosts, text, uncarried};
use crate::diag::{Class, Diagnostic, Diagnostics, Span, Spanned};
use crate::types::size::parse_size;
use crate::types::ulimit::{Ulimit, UlimitError};
use crate::yaml::{YamlEntry, YamlMapping, YamlNode, YamlValue};

/// Makes the project from `services` and the top-level `secrets`.
pub(super) fn project(
    services: &YamlMapping,
    secrets: &YamlMapping,
    variables: &ComposeVariables,
    reader: &mut ProjectReader<'_>,
) -> Project {
    let mut read = Vec::with_capacity(services.len());
    for (name, entry) in services {
        let empty = YamlMapping::new();
        let service = entry.value.as_mapping().unwrap_or(&empty);
        let (environment, mut problems) = match service.get("build") {
            Some(_) => own_environment(service, variables, reader),
            // Only builds use the environment of a service.
            None => (HashMap::new(), Diagnostics::default()),
        };
        uncarried::warn(name, service, &mut problems);
        let incomplete = reader.incomplete.remove(name);
        // If a file that the service extends could not be read, it may have contained the `build`.
        let unknown_build = incomplete.is_some().then(YamlMapping::new);
        problems.0.extend(incomplete.into_iter().flatten());
        let mut decoder = Decoder {
            service: name,
            problems: &mut reader.problems,
        };
        decoder.names(service.get("environment"), "environment");
        let image = service.get("image").and_then(|entry| filled(&entry.value));
        let build = service.get("build").map(|entry| &entry.value);
        let build = build.and_then(|build| Some((build.as_mapping()?, build.span)));
        let unknown_build = unknown_build.as_ref().map(|build| (build, entry.key));
        let build = build.or(unknown_build).map(|(build, span)| {
            let lookup = |name: &str| {
                let own = environment.get(name).cloned();
                own.or_else(|| variables.get(name).map(str::to_owned))
            };
            decoder.build(build, span, secrets, &lookup)
        });
        read.push(Service {
            name: Spanned::new(name.clone(), entry.key),
            image,
            build,
            problems,
        });
    }
    Project { services: read }
}

/// The environment of a service, and the problems in its files. These are kept apart, because they only matter if
/// the service is built.
fn own_environment(
    service: &YamlMapping,
    variables: &ComposeVariables,
    reader: &mut ProjectReader<'_>,
) -> (HashMap<String, String>, Diagnostics) {
    let before = std::mem::take(&mut reader.problems);
    let environment = environment::of_service(service, variables, reader);
    (environment, std::mem::replace(&mut reader.problems, before))
}

/// The string value of a scalar. `None` if it is empty or not a scalar.
fn filled(node: &YamlNode) -> Option<Spanned<String>> {
    let text = text::scalar(node)?;
    (!text.is_empty()).then(|| Spanned::new(text, node.span))
}

/// A boolean, or a string that Compose accepts as one. `None` for anything else.
pub(super) fn boolean(node: &YamlNode) -> Option<bool> {
    match &node.value {
        YamlValue::Bool(value) => Some(*value),
        YamlValue::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "y" | "yes" | "on" => Some(true),
            "false" | "n" | "no" | "off" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

struct Decoder<'a> {
    service: &'a str,
    problems: &'a mut Diagnostics,
}

impl Decoder<'_> {
    fn error(&mut self, message: String, span: Span) {
        let problem = Diagnostic::error(Class::Definition, "compose::invalid-value", message);
        self.problems.push(problem.at(span, ""));
    }

    fn build(
        &mut self,
        build: &YamlMapping,
        span: Span,
        secrets: &YamlMapping,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Build {
        let text = |key: &str| build.get(key).and_then(|entry| filled(&entry.value));
        self.flag(build, "privileged");
        Build {
            span,
            context: text("context"),
            additional_contexts: filled_pairs(build.get("additional_contexts"), |_| None),
            dockerfile: text("dockerfile"),
            dockerfile_inline: text("dockerfile_inline"),
            target: text("target"),
            args: self.args(build.get("args"), lookup),
            labels: filled_pairs(build.get("labels"), |_| Some(String::new())),
            tags: texts(build.get("tags")),
            platforms: texts(build.get("platforms")),
            cache_from: texts(build.get("cache_from")),
            cache_to: texts(build.get("cache_to")),
            extra_hosts: match build.get("extra_hosts") {
                Some(entry) => hosts::read(&entry.value, self.problems),
                None => Entries::new(),
            },
            ssh: ssh(build.get("ssh")),
            secrets: self.secrets(build.get("secrets"), secrets),
            ulimits: self.ulimits(build.get("ulimits")),
            shm_size: build
                .get("shm_size")
                .and_then(|entry| self.size(&entry.value)),
            network: text("network"),
            no_cache: self.flag(build, "no_cache"),
            pull: self.flag(build, "pull"),
            sbom: text("sbom"),
            provenance: text("provenance"),
            extensions: extensions(build),
        }
    }

    /// The boolean of `key`. Reports an error and returns `None` if it is not a boolean.
    fn flag(&mut self, build: &YamlMapping, key: &str) -> Option<Spanned<bool>> {
        let node = &build.get(key)?.value;
        let Some(flag) = boolean(node) else {
            let message = format!(
                "`{}` for `{key}` of service `{}` is not a boolean",
                text::text(&node.value),
                self.service
            );
            self.error(message, node.span);
            return None;
        };
        Some(Spanned::new(flag, node.span))
    }

    /// Reports names in a list of `NAME=VALUE` that end in white space.
    fn names(&mut self, entry: Option<&YamlEntry>, key: &str) {
        let items = entry.and_then(|entry| entry.value.as_sequence());
        for item in items.unwrap_or_default() {
            let text = item.as_str().unwrap_or_default();
            let name = text.split('=').next().unwrap_or_default();
            if name.ends_with([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']) {
                let service = self.service;
                let message =
                    format!("the name `{name}` in `{key}` of service `{service}` ends in a space");
                self.error(message, item.span);
            }
        }
    }

    /// The build arguments. An argument without a value takes the value of the variable with its name; without
    /// such a variable it is left out.
    fn args(
        &mut self,
        entry: Option<&YamlEntry>,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Entries {
        self.names(entry, "args");
        filled_pairs(entry, lookup)
    }

    /// The secrets of a build, with their sources from the top-level `declared`. Secrets that are undeclared or
    /// external are reported and left out.
    fn secrets(&mut self, entry: Option<&YamlEntry>, declared: &YamlMapping) -> Vec<BuildSecret> {
        let items = entry
            .and_then(|entry| entry.value.as_sequence())
            .unwrap_or_default();
        let mut secrets = Vec::with_capacity(items.len());
        for item in items {
            let source = item.get("source");
            let id = source.and_then(text::scalar).unwrap_or_default();
            let span = source.map_or(item.span, |source| source.span);
            let Some(entry) = declared.get(&id) else {
                let service = self.service;
                let message = format!(
                    "secret `{id}`, which the build of service `{service}` uses, is not declared"
                );
                let problem =
                    Diagnostic::error(Class::Definition, "compose::unknown-secret", message)
                        .at(span, "no such secret")
                        .did_you_mean("a secret", &id, declared.keys().map(String::as_str))
                        .help("declare it below the key `secrets` of the file, with a `file` or an `environment`");
                self.problems.push(problem);
                continue;
            };
            let secret = &entry.value;
            if is_external(secret) {
                let problem = Diagnostic::error(
                    Class::Definition,
                    "compose::external-secret",
                    format!("secret `{id}` is external, and builds cannot use external secrets"),
                );
                let problem = problem
                    .at(span, "used here")
                    .context(entry.key, "declared here");
                self.problems
                    .push(problem.help("give it a `file` or an `environment` variable"));
                continue;
            }
            secrets.push(BuildSecret {
                id: Spanned::new(id, span),
                file: secret.get("file").and_then(filled),
                environment: secret.get("environment").and_then(filled),
            });
        }
        secrets
    }

    /// The process limits, sorted by name. Invalid ones are reported and left out.
    fn ulimits(&mut self, entry: Option<&YamlEntry>) -> Vec<Spanned<String>> {
        let Some(entries) = entry.and_then(|entry| entry.value.as_mapping()) else {
            return Vec::new();
        };
        let mut ulimits = Vec::with_capacity(entries.len());
        for (name, entry) in entries {
            let node = &entry.value;
            let (soft, hard) = match &node.value {
                YamlValue::Mapping(limits) => (limits.get("soft"), limits.get("hard")),
                _ => (Some(entry), Some(entry)),
            };
            let number = |entry: Option<&YamlEntry>| match entry.map(|entry| &entry.value.value) {
                Some(YamlValue::Int(number)) => i64::try_from(*number).ok(),
                None => Some(0),
                Some(_) => None,
            };
            let (Some(soft), Some(hard)) = (number(soft), number(hard)) else {
                let message = format!(
                    "the ulimit `{name}` of service `{}` is not a whole number",
                    self.service
                );
                self.error(message, node.span);
                continue;
            };
            let text = format!("{name}={soft}:{hard}");
            match Ulimit::parse(&text) {
                Ok(_) => ulimits.push(Spanned::new(text, node.span)),
                Err(error) => {
                    let message = format!("`ulimits` of service `{}`: {error}", self.service);
                    let problem =
                        Diagnostic::error(Class::Definition, "compose::invalid-value", message);
                    let problem = problem.at(node.span, "");
                    self.problems.push(match &error {
                        UlimitError::Name(name) => {
                            problem.did_you_mean("a limit", name, Ulimit::NAMES)
                        }
                        _ => problem,
                    });
                }
            }
        }
        ulimits.sort_by(|a, b| a.value.cmp(&b.value));
        ulimits
    }

    /// A size in bytes, written as a number or as a text such as `64m`. `None` if it is not positive or invalid;
    /// the latter is reported.
    fn size(&mut self, node: &YamlNode) -> Option<Spanned<u64>> {
        let size = match &node.value {
            YamlValue::Int(number) => i64::try_from(*number).map_err(|_| node.kind().to_owned()),
            YamlValue::String(text) => match text.parse::<i64>() {
                Ok(number) => Ok(number),
                Err(_) => match parse_size(text) {
                    Ok(size) => Ok(i64::try_from(size).unwrap_or(i64::MAX)),
                    Err(error) => Err(error.to_string()),
                },
            },
            _ => return None,
        };
        match size {
            Ok(size) => {
                let size = u64::try_from(size).ok().filter(|size| *size > 0)?;
                Some(Spanned::new(size, node.span))
            }
            Err(why) => {
                self.error(
                    format!("`shm_size` of service `{}`: {why}", self.service),
                    node.span,
                );
                None
            }
        }
    }
}

/// Reads a mapping or a list of `KEY=VALUE`. For a key without a value, `default` gives the value; if it returns
/// `None`, the entry is left out.
fn filled_pairs(entry: Option<&YamlEntry>, default: impl Fn(&str) -> Option<String>) -> Entries {
    pairs(entry.map(|entry| &entry.value))
        .into_iter()
        .filter_map(|(key, Spanned { value, span })| {
            let value = value.or_else(|| default(&key))?;
            Some((key, Spanned { value, span }))
        })
        .collect()
}

/// Whether a declared secret is `external`: created outside the project.
pub(super) fn is_external(secret: &YamlNode) -> bool {
    secret.get("external").and_then(boolean).unwrap_or_default()
}

/// The entries of a mapping or of a list of `KEY=VALUE`. The value is `None` for a key without one. If a key
/// occurs more than once, the last entry counts.
pub(super) fn pairs(node: Option<&YamlNode>) -> IndexMap<String, Spanned<Option<String>>> {
    match node.map(|node| &node.value) {
        Some(YamlValue::Mapping(entries)) => entries
            .iter()
            .map(|(key, entry)| {
                let span = if entry.value.is_null() {
                    entry.key
                } else {
                    entry.value.span
                };
                (key.clone(), Spanned::new(text::scalar(&entry.value), span))
            })
            .collect(),
        Some(YamlValue::Sequence(items)) => items
            .iter()
            .filter_map(|item| {
                let text = text::scalar(item)?;
                Some(match text.split_once('=') {
                    Some((key, value)) => {
                        let span = item.part(key.len() + 1..text.len());
                        (key.to_owned(), Spanned::new(Some(value.to_owned()), span))
                    }
                    None => (text, Spanned::new(None, item.span)),
                })
            })
            .collect(),
        _ => IndexMap::new(),
    }
}

fn texts(entry: Option<&YamlEntry>) -> Vec<Spanned<String>> {
    let items = entry
        .and_then(|entry| entry.value.as_sequence())
        .unwrap_or_default();
    items
        .iter()
        .filter_map(|item| Some(Spanned::new(text::scalar(item)?, item.span)))
        .collect()
}

fn ssh(entry: Option<&YamlEntry>) -> Vec<(Spanned<String>, Option<Spanned<String>>)> {
    let Some(entries) = entry.and_then(|entry| entry.value.as_mapping()) else {
        return Vec::new();
    };
    let keys = entries.iter().map(|(id, entry)| {
        let path = filled(&entry.value);
        (Spanned::new(id.clone(), entry.key), path)
    });
    keys.collect()
}

fn extensions(build: &YamlMapping) -> IndexMap<String, YamlNode> {
    let entries = build.iter().filter(|(key, _)| key.starts_with("x-"));
    entries
        .map(|(key, entry)| (key.clone(), entry.value.clone()))
        .collect()
}
