//! The shapes that Compose's schema allows for the parts that builds need. The rest of a model is not checked.
//!
//! Reports every value of a wrong shape, at the smallest place that contains it.

use std::collections::HashSet;

use super::path::ModelPath;
use crate::diag::{Class, Diagnostic, Diagnostics, Span};
use crate::yaml::{YamlEntry, YamlMapping, YamlNode, YamlValue};

/// The shape that a value must have.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// A string. A date is also accepted, because YAML makes dates of some strings.
    Text,
    /// A string or a boolean.
    TextOrBool,
    /// A string or an integer.
    TextOrWhole,
    /// A string or a number.
    TextOrNumber,
    /// A list of strings.
    Texts,
    /// A string, or a list of strings without duplicates.
    TextOrTexts,
    /// A mapping with scalar values, or a list of strings without duplicates.
    Pairs,
    /// A mapping with strings or lists of strings as values, or a list of strings without duplicates.
    Hosts,
    /// A list of strings or of mappings with these keys.
    Items(&'static [Key]),
    /// A mapping with these keys.
    Keys(&'static [Key]),
    /// A mapping from names in lower case to limits.
    Ulimits,
    /// A string, a boolean, or a mapping.
    External,
    /// A mapping with strings or numbers as values.
    Options,
    /// A string, or a list of strings and of mappings with a `path`.
    EnvFiles,
}

/// A key of a mapping, and the shape of its value.
type Key = (&'static str, Shape);

const BUILD: &[Key] = &[
    ("context", Shape::Text),
    ("dockerfile", Shape::Text),
    ("dockerfile_inline", Shape::Text),
    ("entitlements", Shape::Texts),
    ("args", Shape::Pairs),
    ("ssh", Shape::Pairs),
    ("labels", Shape::Pairs),
    ("cache_from", Shape::Texts),
    ("cache_to", Shape::Texts),
    ("no_cache", Shape::TextOrBool),
    ("no_cache_filter", Shape::TextOrTexts),
    ("additional_contexts", Shape::Pairs),
    ("network", Shape::Text),
    ("provenance", Shape::TextOrBool),
    ("sbom", Shape::TextOrBool),
    ("pull", Shape::TextOrBool),
    ("target", Shape::Text),
    ("shm_size", Shape::TextOrWhole),
    ("extra_hosts", Shape::Hosts),
    ("isolation", Shape::Text),
    ("privileged", Shape::TextOrBool),
    ("secrets", Shape::Items(SECRET_MOUNT)),
    ("tags", Shape::Texts),
    ("ulimits", Shape::Ulimits),
    ("platforms", Shape::Texts),
];

const SECRET_MOUNT: &[Key] = &[
    ("source", Shape::Text),
    ("target", Shape::Text),
    ("uid", Shape::Text),
    ("gid", Shape::Text),
    ("mode", Shape::TextOrNumber),
];

const LIMITS: &[Key] = &[("hard", Shape::TextOrWhole), ("soft", Shape::TextOrWhole)];

const ENV_FILE: &[Key] = &[
    ("path", Shape::Text),
    ("format", Shape::Text),
    ("required", Shape::TextOrBool),
];

const SECRET: &[Key] = &[
    ("name", Shape::Text),
    ("environment", Shape::Text),
    ("file", Shape::Text),
    ("external", Shape::External),
    ("labels", Shape::Pairs),
    ("driver", Shape::Text),
    ("driver_opts", Shape::Options),
    ("template_driver", Shape::Text),
];

const SERVICE: &[Key] = &[
    ("image", Shape::Text),
    ("build", Shape::Keys(BUILD)),
    ("environment", Shape::Pairs),
    ("env_file", Shape::EnvFiles),
];

/// Checks the names and contents of all services.
pub(super) fn services(services: &YamlMapping, problems: &mut Diagnostics) {
    let mut checker = Checker { problems };
    let root = ModelPath::ROOT.key("services");
    for (name, entry) in services {
        checker.name("service", name, entry.key);
        let path = root.key(name);
        if let YamlValue::Mapping(service) = &entry.value.value {
            for (key, shape) in SERVICE {
                if let Some(entry) = service.get(*key) {
                    checker.check(&entry.value, *shape, &path.key(key));
                }
            }
        }
    }
}

/// Checks the top-level `secrets`.
pub(super) fn secrets(secrets: &YamlNode, problems: &mut Diagnostics) {
    let mut checker = Checker { problems };
    let root = ModelPath::ROOT.key("secrets");
    let YamlValue::Mapping(entries) = &secrets.value else {
        return checker.misfit(secrets, &root, "a mapping");
    };
    for (name, entry) in entries {
        checker.name("secret", name, entry.key);
        checker.check(&entry.value, Shape::Keys(SECRET), &root.key(name));
    }
}

struct Checker<'p> {
    problems: &'p mut Diagnostics,
}

impl Checker<'_> {
    fn error(&mut self, code: &'static str, message: String, span: Span) -> &mut Diagnostic {
        self.problems
            .push(Diagnostic::error(Class::Definition, code, message).at(span, ""));
        let last = self.problems.0.len() - 1;
        &mut self.problems.0[last]
    }

    fn misfit(&mut self, node: &YamlNode, path: &ModelPath<'_>, wanted: &str) {
        let message = format!("`{path}` must be {wanted}, but is {}", node.kind());
        self.error("compose::wrong-type", message, node.span);
    }

    fn name(&mut self, what: &str, name: &str, span: Span) {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty() || !name.bytes().all(allowed) {
            let message = format!("`{name}` is not a valid name for a {what}");
            let problem = self.error("compose::invalid-name", message, span);
            problem
                .notes
                .push("names are made of letters, digits, `.`, `_` and `-`".to_owned());
        }
    }

    /// Reports the parts of `node` that do not have the given shape.
    fn check(&mut self, node: &YamlNode, shape: Shape, path: &ModelPath<'_>) {
        let value = &node.value;
        let is_text = matches!(value, YamlValue::String(_) | YamlValue::Timestamp(_));
        match shape {
            Shape::Text | Shape::TextOrTexts if is_text => {}
            Shape::Text => self.misfit(node, path, "a string"),
            Shape::TextOrBool if is_text || matches!(value, YamlValue::Bool(_)) => {}
            Shape::TextOrBool => self.misfit(node, path, "a boolean or a string"),
            Shape::TextOrWhole if is_text || is_whole(value) => {}
            Shape::TextOrWhole => self.misfit(node, path, "a whole number or a string"),
            Shape::TextOrNumber
                if is_text || matches!(value, YamlValue::Int(_) | YamlValue::Float(_)) => {}
            Shape::TextOrNumber => self.misfit(node, path, "a number or a string"),
            Shape::Texts => self.texts(node, path, false),
            Shape::TextOrTexts => self.texts(node, path, true),
            Shape::Pairs => match value {
                YamlValue::Mapping(entries) => self.scalars(entries, path),
                YamlValue::Sequence(_) => self.texts(node, path, true),
                _ => self.misfit(node, path, "a mapping or a list"),
            },
            Shape::Hosts => self.hosts(node, path),
            Shape::Items(keys) => match value {
                YamlValue::Sequence(items) => {
                    for item in items.iter().filter(|item| item.as_str().is_none()) {
                        self.check(item, Shape::Keys(keys), &path.item());
                    }
                }
                _ => self.misfit(node, path, "a list"),
            },
            Shape::Keys(keys) => match value {
                YamlValue::Mapping(entries) => self.keys(entries, keys, path),
                _ => self.misfit(node, path, "a mapping"),
            },
            Shape::Ulimits => self.ulimits(node, path),
            Shape::External
                if is_text || matches!(value, YamlValue::Bool(_) | YamlValue::Mapping(_)) => {}
            Shape::External => self.misfit(node, path, "a boolean, a string or a mapping"),
            Shape::Options => match value {
                YamlValue::Mapping(entries) => {
                    for (key, entry) in entries {
                        self.check(&entry.value, Shape::TextOrNumber, &path.key(key));
                    }
                }
                _ => self.misfit(node, path, "a mapping"),
            },
            Shape::EnvFiles => match value {
                YamlValue::String(_) => {}
                YamlValue::Sequence(items) => {
                    for item in items {
                        self.check(item, Shape::Keys(ENV_FILE), &path.item());
                        if item
                            .as_mapping()
                            .is_some_and(|entries| !entries.contains_key("path"))
                        {
                            let message = format!("`{}` has no `path`", path.item());
                            self.error("compose::missing-key", message, item.span);
                        }
                    }
                }
                _ => self.misfit(node, path, "a file or a list of files"),
            },
        }
    }

    /// Checks a mapping with fixed keys. Unknown keys are errors unless they start with `x-`.
    fn keys(&mut self, entries: &YamlMapping, keys: &'static [Key], path: &ModelPath<'_>) {
        for (name, entry) in entries {
            match keys.iter().find(|(key, _)| key == name) {
                Some((key, shape)) => self.check(&entry.value, *shape, &path.key(key)),
                None if name.starts_with("x-") => {}
                None => self.unknown(name, entry, keys, path),
            }
        }
    }

    fn unknown(
        &mut self,
        name: &str,
        entry: &YamlEntry,
        keys: &'static [Key],
        path: &ModelPath<'_>,
    ) {
        let message = format!("`{path}` has no key `{name}`");
        let problem = self.error("compose::unknown-key", message, entry.key);
        let known = keys.iter().map(|(key, _)| *key);
        *problem = problem.clone().did_you_mean("a key", name, known);
    }

    fn texts(&mut self, node: &YamlNode, path: &ModelPath<'_>, unique: bool) {
        let YamlValue::Sequence(items) = &node.value else {
            return self.misfit(node, path, "a list of strings");
        };
        let mut seen = HashSet::new();
        for item in items {
            self.check(item, Shape::Text, &path.item());
            if let Some(text) = item.as_str()
                && !seen.insert(text)
                && unique
            {
                let message = format!("`{text}` is in `{path}` twice");
                self.error("compose::duplicate", message, item.span);
            }
        }
    }

    fn scalars(&mut self, entries: &YamlMapping, path: &ModelPath<'_>) {
        for (key, entry) in entries {
            self.key(key, entry, path);
            // The schema's numbers do not include infinity and NaN.
            let fits = match &entry.value.value {
                YamlValue::Sequence(_) | YamlValue::Mapping(_) => false,
                YamlValue::Float(number) => number.is_finite(),
                _ => true,
            };
            if !fits {
                self.misfit(
                    &entry.value,
                    &path.key(key),
                    "a string, a number, a boolean or null",
                );
            }
        }
    }

    fn key(&mut self, key: &str, entry: &YamlEntry, path: &ModelPath<'_>) {
        if key.is_empty() {
            let message = format!("a key of `{path}` is empty");
            self.error("compose::unknown-key", message, entry.key);
        }
    }

    fn hosts(&mut self, node: &YamlNode, path: &ModelPath<'_>) {
        match &node.value {
            YamlValue::Mapping(entries) => {
                for (key, entry) in entries {
                    self.key(key, entry, path);
                    match entry.value.value {
                        YamlValue::Sequence(_) => self.texts(&entry.value, &path.key(key), false),
                        _ => self.check(&entry.value, Shape::Text, &path.key(key)),
                    }
                }
            }
            YamlValue::Sequence(_) => self.texts(node, path, true),
            _ => self.misfit(node, path, "a mapping or a list"),
        }
    }

    fn ulimits(&mut self, node: &YamlNode, path: &ModelPath<'_>) {
        let YamlValue::Mapping(entries) = &node.value else {
            return self.misfit(node, path, "a mapping");
        };
        // Names that are not all lower case are not limits; they are reported when the limits are read.
        for (name, entry) in entries {
            let path = path.key(name);
            let YamlValue::Mapping(limits) = &entry.value.value else {
                self.check(&entry.value, Shape::TextOrWhole, &path);
                continue;
            };
            self.keys(limits, LIMITS, &path);
            for (key, _) in LIMITS {
                if !limits.contains_key(*key) {
                    let message = format!("`{path}` has no `{key}`");
                    self.error("compose::missing-key", message, entry.value.span);
                }
            }
        }
    }
}

/// Whether the value is an integer for the schema. `1.0` is.
fn is_whole(value: &YamlValue) -> bool {
    match value {
        YamlValue::Int(_) => true,
        YamlValue::Float(number) => number.fract() == 0.0,
        _ => false,
    }
}
