//! Lists whose items have keys. If several items have the same key, the last one counts, at the position of the first.

use std::collections::HashMap;

use super::path::ModelPath;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::yaml::{YamlNode, YamlValue};

/// What identifies an item of a list.
///
/// Keys of lists that only matter for running a service are read as far as needed to refuse invalid files.
#[derive(Debug, Clone, Copy)]
enum Key {
    /// The text before the first `=`.
    Name,
    /// The string, or the `path` of a mapping.
    File,
    /// The string or integer.
    Port,
    /// The `target` of a mapping. It is required.
    Target,
    /// The `target` of a mapping, or else its `source`.
    Mount,
}

#[rustfmt::skip]
const LISTS: &[(&[&str], Key)] = &[
    (&["networks", "*", "labels"], Key::Name),
    (&["networks", "*", "ipam", "options"], Key::Name),
    (&["services", "*", "annotations"], Key::Name),
    (&["services", "*", "build", "args"], Key::Name),
    (&["services", "*", "build", "additional_contexts"], Key::Name),
    (&["services", "*", "build", "tags"], Key::Name),
    (&["services", "*", "build", "labels"], Key::Name),
    (&["services", "*", "cap_add"], Key::Name),
    (&["services", "*", "cap_drop"], Key::Name),
    (&["services", "*", "configs"], Key::Mount),
    (&["services", "*", "deploy", "labels"], Key::Name),
    (&["services", "*", "devices"], Key::Target),
    (&["services", "*", "dns"], Key::Name),
    (&["services", "*", "dns_opt"], Key::Name),
    (&["services", "*", "dns_search"], Key::Name),
    (&["services", "*", "environment"], Key::Name),
    (&["services", "*", "env_file"], Key::File),
    (&["services", "*", "expose"], Key::Port),
    (&["services", "*", "labels"], Key::Name),
    (&["services", "*", "links"], Key::Name),
    (&["services", "*", "networks", "*", "aliases"], Key::Name),
    (&["services", "*", "networks", "*", "link_local_ips"], Key::Name),
    (&["services", "*", "ports"], Key::Target),
    (&["services", "*", "profiles"], Key::Name),
    (&["services", "*", "secrets"], Key::Mount),
    (&["services", "*", "sysctls"], Key::Name),
    (&["services", "*", "tmpfs"], Key::Name),
    (&["services", "*", "volumes"], Key::Target),
];

/// Removes repeated items from all such lists in `node`, which is at `path` in the model.
pub(super) fn unique(node: &mut YamlNode, path: &ModelPath<'_>, problems: &mut Diagnostics) {
    match &mut node.value {
        YamlValue::Mapping(entries) => {
            for (key, entry) in entries {
                unique(&mut entry.value, &path.key(key), problems);
            }
        }
        YamlValue::Sequence(items) => {
            if let Some((_, key)) = LISTS.iter().find(|(pattern, _)| path.matches(pattern)) {
                let found = std::mem::take(items);
                *items = without_repetition(found, *key, path, problems);
            }
        }
        _ => {}
    }
}

/// Keeps the last of the items with equal keys, at the position of the first. Items without a key are reported and
/// removed.
fn without_repetition(
    items: Vec<YamlNode>,
    key: Key,
    path: &ModelPath<'_>,
    problems: &mut Diagnostics,
) -> Vec<YamlNode> {
    let mut kept: Vec<YamlNode> = Vec::with_capacity(items.len());
    let mut places: HashMap<String, usize> = HashMap::with_capacity(items.len());
    for item in items {
        match key_of(&item, key) {
            Ok(None) => kept.push(item),
            Ok(Some(name)) => {
                if let Some(place) = places.get(&name) {
                    kept[*place] = item;
                } else {
                    places.insert(name, kept.len());
                    kept.push(item);
                }
            }
            Err(wrong) => {
                let path = path.item();
                let (code, message) = match wrong {
                    Wrong::Type(wanted) => (
                        "compose::wrong-type",
                        format!("`{path}` must be {wanted}, but is {}", item.kind()),
                    ),
                    Wrong::Without(key) => {
                        ("compose::missing-key", format!("`{path}` has no `{key}`"))
                    }
                };
                let problem = Diagnostic::error(Class::Definition, code, message);
                problems.push(problem.at(item.span, ""));
            }
        }
    }
    kept
}

/// Why an item has no key.
enum Wrong {
    /// It has a wrong type. The text says what is expected.
    Type(&'static str),
    /// It has no entry with this key.
    Without(&'static str),
}

/// The key of an item. `None` if the item is always kept.
fn key_of(item: &YamlNode, key: Key) -> Result<Option<String>, Wrong> {
    match (key, &item.value) {
        (Key::Name, YamlValue::String(text)) => Ok(Some(
            text.split_once('=')
                .map_or(&**text, |(name, _)| name)
                .to_owned(),
        )),
        (Key::Name, _) => Err(Wrong::Type("a string")),
        (Key::File | Key::Port, YamlValue::String(text)) => Ok(Some(text.clone())),
        (Key::File, YamlValue::Mapping(entries)) => match entries.get("path") {
            Some(entry) => Ok(entry.value.as_str().map(str::to_owned)),
            None => Err(Wrong::Without("path")),
        },
        (Key::Port, YamlValue::Int(number)) => Ok(Some(number.to_string())),
        (Key::Port, _) => Err(Wrong::Type("a string or a whole number")),
        (Key::Target, YamlValue::Mapping(entries)) if !entries.contains_key("target") => {
            Err(Wrong::Without("target"))
        }
        (Key::Mount, YamlValue::String(_) | YamlValue::Mapping(_))
        | (Key::File | Key::Target, _) => Ok(None),
        (Key::Mount, _) => Err(Wrong::Type("a string or a mapping")),
    }
}
