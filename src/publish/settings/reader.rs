//! Reads the values of `rbake.toml`, and collects the problems with their places.

use std::ops::Range;

use toml_edit::{Key, TableLike, Value};

use super::{PATTERN_LIMIT, PROBLEM_LIMIT, invalid, too_many};
use crate::diag::{Class, Diagnostic, Diagnostics, SourceId, Span, Spanned};
use crate::publish::pattern::{InvalidTagPattern, TagPattern};
use crate::types::terminal::visible;

/// Reads the tables of a file, and collects the problems.
pub(super) struct Reader {
    source: SourceId,
    problems: Diagnostics,
}

impl Reader {
    /// A reader of the file `source`.
    pub(super) fn of(source: SourceId) -> Self {
        Self {
            source,
            problems: Diagnostics::default(),
        }
    }

    /// Returns `found`, or the problems.
    pub(super) fn into_result<T>(self, found: T) -> Result<T, Diagnostics> {
        self.problems.into_result(found)
    }

    /// The table `key` of `table`. Messages call it `name`.
    pub(super) fn table<'a>(
        &mut self,
        table: &'a dyn TableLike,
        key: &str,
        name: &str,
    ) -> Option<&'a dyn TableLike> {
        let item = table.get(key)?;
        let found = item.as_table_like();
        if found.is_none() {
            self.wrong_type(name, "a table", item.type_name(), item.span());
        }
        found
    }

    /// The text `key` of `table`. Messages call it `name`.
    pub(super) fn text(
        &mut self,
        table: &dyn TableLike,
        key: &str,
        name: &str,
    ) -> Option<Spanned<String>> {
        let item = table.get(key)?;
        let Some(text) = item.as_value().and_then(Value::as_str) else {
            self.wrong_type(name, "a text", item.type_name(), item.span());
            return None;
        };
        let span = Span::new(self.source, item.span().unwrap_or_default());
        Some(Spanned::new(text.to_owned(), span))
    }

    /// Whether `above.key` is true. `None` if it is not in `table`.
    pub(super) fn boolean(
        &mut self,
        table: &dyn TableLike,
        above: &str,
        key: &str,
    ) -> Option<bool> {
        let item = table.get(key)?;
        let found = item.as_bool();
        if found.is_none() {
            let name = format!("{above}.{key}");
            self.wrong_type(&name, "true or false", item.type_name(), item.span());
        }
        found
    }

    /// The list of texts `key` of `table`. Messages call it `name`.
    pub(super) fn texts(
        &mut self,
        table: &dyn TableLike,
        key: &str,
        name: &str,
    ) -> Vec<Spanned<String>> {
        let Some(item) = table.get(key) else {
            return Vec::new();
        };
        let Some(list) = item.as_array() else {
            self.wrong_type(name, "a list of texts", item.type_name(), item.span());
            return Vec::new();
        };
        if list.len() > PATTERN_LIMIT {
            self.report(too_many(&format!("`{name}`")), list.span());
            return Vec::new();
        }
        let mut texts = Vec::new();
        for value in list {
            if let Some(text) = value.as_str() {
                let span = Span::new(self.source, value.span().unwrap_or_default());
                texts.push(Spanned::new(text.to_owned(), span));
            } else {
                let part = format!("{name}[]");
                self.wrong_type(&part, "a text", value.type_name(), value.span());
            }
        }
        texts
    }

    /// Where `key` is in `table`.
    pub(super) fn span_of(&self, table: &dyn TableLike, key: &str) -> Span {
        let range = table.key(key).and_then(Key::span);
        Span::new(self.source, range.unwrap_or_default())
    }

    /// Reports a value that is not valid.
    pub(super) fn invalid(&mut self, message: &str, span: Option<Span>) {
        self.report(
            invalid(Class::Definition, visible(message).into_owned()),
            span.map(|span| span.range()),
        );
    }

    fn report(&mut self, problem: Diagnostic, range: Option<Range<usize>>) {
        if self.problems.0.len() < PROBLEM_LIMIT {
            let span = range.map(|range| Span::new(self.source, range));
            self.problems.push(problem.at(span, ""));
        }
    }

    pub(super) fn wrong_type(
        &mut self,
        key: &str,
        wanted: &str,
        is: &str,
        range: Option<Range<usize>>,
    ) {
        let message = format!("`{key}` must be {wanted}, but its type is `{is}`");
        let problem = Diagnostic::error(Class::Definition, "settings::wrong-type", message);
        self.report(problem, range);
    }

    /// Reports the keys of `table` that are not `known`.
    pub(super) fn check_keys(
        &mut self,
        table: &dyn TableLike,
        above: &str,
        known: &[&'static str],
    ) {
        for (key, _) in table.iter().filter(|(key, _)| !known.contains(key)) {
            let message = format!("`{above}{}` is not a known setting", visible(key));
            let problem = Diagnostic::error(Class::Definition, "settings::unknown-key", message)
                .did_you_mean("a setting", key, known.iter().copied());
            self.report(problem, table.key(key).and_then(Key::span));
        }
    }

    /// The list of patterns `publish.KEY`.
    pub(super) fn patterns(&mut self, table: &dyn TableLike, key: &str) -> Option<Vec<TagPattern>> {
        table.get(key)?;
        let name = format!("publish.{key}");
        let mut patterns = Vec::new();
        for text in self.texts(table, key, &name) {
            match text.value.parse() {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => {
                    let error: InvalidTagPattern = error;
                    self.invalid(&format!("`{name}`: {error}"), text.span);
                }
            }
        }
        Some(patterns)
    }

    /// The value of `publish.KEY`, which is one of a few words. `named` knows them, and `unknown` reports another one.
    pub(super) fn word<T>(
        &mut self,
        table: &dyn TableLike,
        key: &str,
        named: fn(&str) -> Option<T>,
        unknown: fn(Class, &str, &str) -> Diagnostic,
    ) -> Option<T> {
        let item = table.get(key)?;
        let place = format!("publish.{key}");
        let Some(text) = item.as_value().and_then(Value::as_str) else {
            self.wrong_type(&place, "a text", item.type_name(), item.span());
            return None;
        };
        let found = named(text);
        if found.is_none() {
            let problem = unknown(Class::Definition, &format!("`{place}`"), text);
            self.report(problem, item.span());
        }
        found
    }
}
