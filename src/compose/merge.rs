//! Merges one model onto another. Used for later files, and for services that extend others.
//!
//! Mappings are merged key by key, lists are appended, and other values are replaced. [`RULES`] lists the places
//! with other rules. Start at [`merge`].

use std::collections::HashSet;

use super::path::ModelPath;
use super::text;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::yaml::{YamlEntry, YamlMapping, YamlNode, YamlValue};

/// A special rule for merging a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// A string `DIR` is treated as `{context: DIR}`.
    Build,
    /// Mappings are converted to lists of `key=value`, and the lists are appended.
    List,
    /// Like `List`, but items that already exist are not added.
    NewItems,
    /// The later value replaces the earlier one.
    Replace,
    /// A list of names is treated as a mapping with these keys.
    Keys,
    /// If both have the same driver, they are merged; otherwise the later value replaces the earlier one.
    Driver,
}

#[rustfmt::skip]
const RULES: &[(&[&str], Rule)] = &[
    (&["networks", "*", "ipam", "config"], Rule::Replace),
    (&["networks", "*", "labels"], Rule::List),
    (&["volumes", "*", "labels"], Rule::List),
    (&["services", "*", "annotations"], Rule::List),
    (&["services", "*", "build"], Rule::Build),
    (&["services", "*", "build", "args"], Rule::List),
    (&["services", "*", "build", "additional_contexts"], Rule::List),
    (&["services", "*", "build", "extra_hosts"], Rule::NewItems),
    (&["services", "*", "build", "labels"], Rule::List),
    (&["services", "*", "command"], Rule::Replace),
    (&["services", "*", "depends_on"], Rule::Keys),
    (&["services", "*", "deploy", "labels"], Rule::List),
    (&["services", "*", "dns"], Rule::List),
    (&["services", "*", "dns_opt"], Rule::List),
    (&["services", "*", "dns_search"], Rule::List),
    (&["services", "*", "entrypoint"], Rule::Replace),
    (&["services", "*", "env_file"], Rule::List),
    (&["services", "*", "label_file"], Rule::List),
    (&["services", "*", "environment"], Rule::List),
    (&["services", "*", "extra_hosts"], Rule::NewItems),
    (&["services", "*", "healthcheck", "test"], Rule::Replace),
    (&["services", "*", "labels"], Rule::List),
    (&["services", "*", "volumes", "*", "volume", "labels"], Rule::List),
    (&["services", "*", "logging"], Rule::Driver),
    (&["services", "*", "models"], Rule::Keys),
    (&["services", "*", "networks"], Rule::Keys),
    (&["services", "*", "sysctls"], Rule::List),
    (&["services", "*", "tmpfs"], Rule::List),
    (&["services", "*", "ulimits", "*"], Rule::Replace),
];

fn rule(path: &ModelPath<'_>) -> Option<Rule> {
    let found = RULES.iter().find(|(pattern, _)| path.matches(pattern));
    found.map(|(_, rule)| *rule)
}

/// Merges `over` onto `base`. Both are at `path` in the model. A null `over` changes nothing, unless the rule says
/// `Replace`.
pub(super) fn merge(
    base: &mut YamlNode,
    over: YamlNode,
    path: &ModelPath<'_>,
    problems: &mut Diagnostics,
) {
    let rule = rule(path);
    match rule {
        Some(Rule::Replace) => *base = over,
        Some(Rule::Driver) if drivers_differ(base, &over) => *base = over,
        Some(Rule::Driver) | None => plain(base, over, path, problems),
        Some(rule) => {
            let span = base.span;
            let earlier = std::mem::replace(base, YamlNode::new(YamlValue::Null, span));
            base.value = match rule {
                Rule::Build => entries(build(earlier), build(over), path, problems),
                Rule::Keys => entries(keys(earlier.value), keys(over.value), path, problems),
                Rule::NewItems => {
                    YamlValue::Sequence(with_new(list(earlier.value), list(over.value)))
                }
                _ => {
                    let mut items = list(earlier.value);
                    items.extend(list(over.value));
                    YamlValue::Sequence(items)
                }
            };
        }
    }
}

fn entries(
    mut base: YamlMapping,
    over: YamlMapping,
    path: &ModelPath<'_>,
    problems: &mut Diagnostics,
) -> YamlValue {
    merge_entries(&mut base, over, path, problems);
    YamlValue::Mapping(base)
}

/// Appends the strings of `more` that are not in `items`, and all its other values.
fn with_new(mut items: Vec<YamlNode>, more: Vec<YamlNode>) -> Vec<YamlNode> {
    let known: HashSet<String> = items
        .iter()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect();
    let is_new = |item: &YamlNode| item.as_str().is_none_or(|text| !known.contains(text));
    items.extend(more.into_iter().filter(is_new));
    items
}

/// Merges without a special rule. Reports an error if a scalar would replace a list or a mapping, or one of these
/// the other.
fn plain(base: &mut YamlNode, over: YamlNode, path: &ModelPath<'_>, problems: &mut Diagnostics) {
    match (&mut base.value, over.value) {
        (_, YamlValue::Null) => {}
        (YamlValue::Mapping(base), YamlValue::Mapping(over)) => {
            merge_entries(base, over, path, problems);
        }
        (YamlValue::Sequence(base), YamlValue::Sequence(over)) => base.extend(over),
        (YamlValue::Mapping(_) | YamlValue::Sequence(_), value) => {
            let over = YamlNode::new(value, over.span);
            let conflict = Diagnostic::error(
                Class::Definition,
                "compose::conflict",
                format!(
                    "{} cannot override {} at `{path}`",
                    over.kind(),
                    base.kind()
                ),
            );
            let conflict = conflict.at(over.span, over.kind());
            problems.push(conflict.context(base.span, format!("{} here", base.kind())));
        }
        (_, value) => {
            *base = YamlNode::new(value, over.span);
        }
    }
}

fn merge_entries(
    base: &mut YamlMapping,
    over: YamlMapping,
    path: &ModelPath<'_>,
    problems: &mut Diagnostics,
) {
    for (key, entry) in over {
        match base.get_mut(&key) {
            Some(found) => merge(&mut found.value, entry.value, &path.key(&key), problems),
            None => {
                base.insert(key, entry);
            }
        }
    }
}

/// Treats a directory as a mapping with `context`. Values of other types become empty; other code reports them.
fn build(node: YamlNode) -> YamlMapping {
    match node.value {
        YamlValue::Mapping(entries) => entries,
        YamlValue::String(_) => {
            let key = node.span;
            [("context".to_owned(), YamlEntry { key, value: node })].into()
        }
        _ => YamlMapping::new(),
    }
}

/// Treats a list of names as a mapping. Values of other types become empty; other code reports them.
fn keys(value: YamlValue) -> YamlMapping {
    match value {
        YamlValue::Mapping(entries) => entries,
        YamlValue::Sequence(items) => items
            .into_iter()
            .filter_map(|item| {
                let key = item.as_str()?.to_owned();
                let (key_span, value) = (
                    item.span,
                    YamlNode::new(YamlValue::Mapping(YamlMapping::new()), item.span),
                );
                Some((
                    key,
                    YamlEntry {
                        key: key_span,
                        value,
                    },
                ))
            })
            .collect(),
        _ => YamlMapping::new(),
    }
}

/// Converts a mapping to a sorted list of `KEY=VALUE`. Each item gets the place of its value.
fn list(value: YamlValue) -> Vec<YamlNode> {
    match value {
        YamlValue::Sequence(items) => items,
        YamlValue::Mapping(entries) => {
            let mut items: Vec<YamlNode> = Vec::with_capacity(entries.len());
            for (key, entry) in entries {
                let pair = |value: &YamlNode| format!("{key}={}", text::text(&value.value));
                match entry.value.value {
                    YamlValue::Null => items.push(YamlNode::new(YamlValue::String(key), entry.key)),
                    YamlValue::Sequence(values) => {
                        items.extend(
                            values
                                .iter()
                                .map(|v| YamlNode::new(YamlValue::String(pair(v)), v.span)),
                        );
                    }
                    _ => items.push(YamlNode::new(
                        YamlValue::String(pair(&entry.value)),
                        entry.value.span,
                    )),
                }
            }
            items.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            items
        }
        _ => Vec::new(),
    }
}

/// Whether both set `driver`, to different values.
fn drivers_differ(base: &YamlNode, over: &YamlNode) -> bool {
    match (base.get("driver"), over.get("driver")) {
        (Some(base), Some(over)) => base != over,
        _ => false,
    }
}
