//! `x-bake`: settings of bake in a Compose file that Compose itself has no keys for.

use indexmap::IndexMap;

use crate::compose::{Entries, text};
use crate::diag::{Class, Diagnostic, Diagnostics, Spanned};
use crate::yaml::{YamlMapping, YamlNode, YamlValue};

/// The values of `x-bake`. Unknown keys are ignored, as in buildx.
#[derive(Debug, Default)]
pub(super) struct Extension {
    pub(super) tags: Vec<Spanned<String>>,
    pub(super) cache_from: Vec<Spanned<String>>,
    pub(super) cache_to: Vec<Spanned<String>>,
    pub(super) secrets: Vec<Spanned<String>>,
    pub(super) ssh: Vec<Spanned<String>>,
    pub(super) platforms: Vec<Spanned<String>>,
    pub(super) output: Vec<Spanned<String>>,
    pub(super) pull: Option<Spanned<bool>>,
    pub(super) no_cache: Option<Spanned<bool>>,
    pub(super) no_cache_filter: Vec<Spanned<String>>,
    pub(super) contexts: Entries,
}

const KEYS: [&str; 11] = [
    "tags",
    "cache-from",
    "cache-to",
    "secret",
    "ssh",
    "platforms",
    "output",
    "pull",
    "no-cache",
    "no-cache-filter",
    "contexts",
];

/// Reads `x-bake` from the extensions of a build. Adds an error to `problems` for each value of a wrong type.
pub(super) fn read(
    extensions: &IndexMap<String, YamlNode>,
    problems: &mut Diagnostics,
) -> Extension {
    let entries = match extensions.get("x-bake") {
        None => return Extension::default(),
        Some(node) => match &node.value {
            YamlValue::Null => return Extension::default(),
            YamlValue::Mapping(entries) => entries,
            _ => {
                problems.push(misfit("x-bake", "a mapping", node));
                return Extension::default();
            }
        },
    };
    let mut reader = Reader { entries, problems };
    for (key, entry) in entries
        .iter()
        .filter(|(key, _)| !KEYS.contains(&key.as_str()))
    {
        let warning = Diagnostic::warning(
            "definition::ignored-key",
            format!("`{key}` of `x-bake` is not known and is ignored"),
        );
        let warning = warning.at(entry.key, "").did_you_mean("a key", key, KEYS);
        reader.problems.push(warning);
    }
    Extension {
        tags: reader.texts("tags"),
        cache_from: reader.texts("cache-from"),
        cache_to: reader.texts("cache-to"),
        secrets: reader.texts("secret"),
        ssh: reader.texts("ssh"),
        platforms: reader.texts("platforms"),
        output: reader.texts("output"),
        pull: reader.boolean("pull"),
        no_cache: reader.boolean("no-cache"),
        no_cache_filter: reader.texts("no-cache-filter"),
        contexts: reader.map("contexts"),
    }
}

fn misfit(key: &str, wanted: &str, node: &YamlNode) -> Diagnostic {
    Diagnostic::error(
        Class::Definition,
        "compose::wrong-type",
        format!("`{key}` must be {wanted}, but is {}", node.kind()),
    )
    .at(node.span, "")
}

struct Reader<'a> {
    entries: &'a YamlMapping,
    problems: &'a mut Diagnostics,
}

impl Reader<'_> {
    fn node(&self, key: &str) -> Option<&YamlNode> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    fn misfit(&mut self, key: &str, wanted: &str, node: &YamlNode) {
        self.problems
            .push(misfit(&format!("x-bake.{key}"), wanted, node));
    }

    /// Reads a list of strings, or one string with several values separated by white space.
    fn texts(&mut self, key: &str) -> Vec<Spanned<String>> {
        const WANTED: &str = "a list of strings or a string";
        let Some(node) = self.node(key).cloned() else {
            return Vec::new();
        };
        match &node.value {
            YamlValue::Null => Vec::new(),
            YamlValue::Mapping(_) => {
                self.misfit(key, WANTED, &node);
                Vec::new()
            }
            YamlValue::Sequence(items) => {
                let mut texts = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    match element(item) {
                        Some(text) => texts.push(Spanned::new(text, item.span)),
                        None => self.misfit(&format!("{key}[{index}]"), "a string", item),
                    }
                }
                texts
            }
            scalar => {
                let text = text::text(scalar);
                let start = text.as_ptr().addr();
                let words = text.split_whitespace();
                words
                    .map(|word| {
                        let at = word.as_ptr().addr() - start;
                        Spanned::new(word.to_owned(), node.part(at..at + word.len()))
                    })
                    .collect()
            }
        }
    }

    fn boolean(&mut self, key: &str) -> Option<Spanned<bool>> {
        let node = self.node(key)?.clone();
        let value = match &node.value {
            YamlValue::Null => return None,
            YamlValue::Bool(value) => Some(*value),
            // buildx accepts YAML 1.1's words (`yes`, `on`, …) as strings, but not a quoted `"true"` or `"false"`.
            YamlValue::String(text) => match text.as_str() {
                "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
                "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
                _ => None,
            },
            _ => None,
        };
        if value.is_none() {
            self.misfit(key, "a boolean", &node);
        }
        value.map(|value| Spanned::new(value, node.span))
    }

    /// Reads a mapping of scalars. Null gives an empty map.
    fn map(&mut self, key: &str) -> Entries {
        let Some(node) = self.node(key).cloned() else {
            return Entries::new();
        };
        let entries = match &node.value {
            YamlValue::Null => return Entries::new(),
            YamlValue::Mapping(entries) => entries,
            _ => {
                self.misfit(key, "a mapping", &node);
                return Entries::new();
            }
        };
        let mut texts = Entries::with_capacity(entries.len());
        for (name, entry) in entries {
            match element(&entry.value) {
                Some(text) => {
                    drop(texts.insert(name.clone(), Spanned::new(text, entry.value.span)));
                }
                None => self.misfit(&format!("{key}.{name}"), "a string", &entry.value),
            }
        }
        texts
    }
}

/// The text of a scalar; null gives an empty text. `None` if the node is a list or a mapping.
fn element(node: &YamlNode) -> Option<String> {
    match &node.value {
        YamlValue::Null => Some(String::new()),
        _ => text::scalar(node),
    }
}
