//! The variables of a Dockerfile, as far as their values can be known before the frontend reads it.

use std::collections::BTreeMap;

/// Returns the value of a build argument, if it is given.
pub(crate) type Arguments<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The arguments to which the frontend gives values by itself.
const AUTOMATIC: [&str; 9] = [
    "BUILDARCH",
    "BUILDOS",
    "BUILDPLATFORM",
    "BUILDVARIANT",
    "TARGETARCH",
    "TARGETOS",
    "TARGETPLATFORM",
    "TARGETSTAGE",
    "TARGETVARIANT",
];

/// Whether `text` has a variable.
pub(crate) fn has_variables(text: &str) -> bool {
    text.contains('$')
}

/// The variables that are declared up to a place of a Dockerfile. A value is `None` if it cannot be known.
#[derive(Debug, Clone, Default)]
pub(super) struct DockerfileVariables {
    /// Those of `ARG`.
    arguments: BTreeMap<String, Option<String>>,
    /// Those of `ENV`. They come before the arguments.
    environment: BTreeMap<String, Option<String>>,
}

impl DockerfileVariables {
    /// Adds those of `ARG` with the words `rest`. `global` are those before the first stage.
    pub(super) fn declare(&mut self, rest: &str, given: Arguments<'_>, global: &Self) {
        for word in rest.split_whitespace() {
            let (name, default) = match word.split_once('=') {
                Some((name, default)) => (name, self.value(default)),
                None => (word, global.arguments.get(word).cloned().flatten()),
            };
            let default = default.filter(|_| !AUTOMATIC.contains(&name));
            let value = given(name).or(default);
            self.arguments.insert(name.to_owned(), value);
        }
    }

    /// Adds those of `ENV` with the words `rest`: `NAME=value …`, or `NAME value`.
    pub(super) fn set(&mut self, rest: &str) {
        let (first, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let pairs: Vec<(&str, &str)> = if first.contains('=') {
            let words = rest.split_whitespace();
            words.filter_map(|word| word.split_once('=')).collect()
        } else {
            vec![(first, text.trim())]
        };
        // All values are those before the instruction.
        let pairs = pairs.into_iter();
        let values = pairs.map(|(name, text)| (name.to_owned(), self.value(text)));
        let values: Vec<_> = values.collect();
        self.environment.extend(values);
    }

    /// `text` with the values of its variables, or as it is if one of them cannot be known.
    pub(super) fn expanded(&self, text: &str) -> String {
        self.replaced(text).unwrap_or_else(|| text.to_owned())
    }

    /// The value that `text`, which may have quotation marks around it, stands for.
    fn value(&self, text: &str) -> Option<String> {
        let inner = ['"', '\'']
            .iter()
            .find_map(|mark| text.strip_prefix(*mark)?.strip_suffix(*mark));
        // It has a variable only if it is not in single quotation marks.
        let value = match inner {
            Some(inner) if text.starts_with('\'') && has_variables(inner) => None,
            inner => self.replaced(inner.unwrap_or(text)),
        };
        value.filter(|value| !value.contains(['"', '\'', '\\']))
    }

    /// `text` with `$NAME` and `${NAME}` replaced. `None` if a value cannot be known, or there is another form of expansion, or a
    /// character that may prevent it.
    fn replaced(&self, text: &str) -> Option<String> {
        if !has_variables(text) {
            return Some(text.to_owned());
        }
        if text.contains(['\'', '\\']) {
            return None;
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            let (name, after) = if let Some(inner) = after.strip_prefix('{') {
                inner.split_once('}')?
            } else {
                let of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                after.split_at(after.find(|c| !of_name(c)).unwrap_or(after.len()))
            };
            let set = self.environment.get(name);
            out.push_str(set.or_else(|| self.arguments.get(name))?.as_deref()?);
            rest = after;
        }
        out.push_str(rest);
        Some(out)
    }
}
