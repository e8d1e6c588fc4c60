//! Reads the value of one attribute as the attribute's type.
//!
//! The conversions are those of HCL's type system. This module adds the place of the part that does not fit.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use super::super::evaluated::EvaluatedAttribute;
use super::super::model::{List, Map, SharedText};
use crate::diag::{Class, Diagnostic, Diagnostics, Span, Spanned};
use crate::golang::quote::quote;
use crate::hcl::cty::convert::convert;
use crate::hcl::cty::{Type, Value};
use crate::hcl::syntax::PathStep;

/// What an attribute belongs to, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner<'a> {
    /// A block: its keyword and name.
    Block(&'static str, &'a str),
    /// Anything else, described in words.
    Words(&'a str),
}

impl fmt::Display for Owner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(kind, name) => write!(f, "{kind} `{name}`"),
            Self::Words(words) => f.write_str(words),
        }
    }
}

/// Reads one attribute and collects what is wrong with it.
#[derive(Debug)]
pub(super) struct AttributeReader<'a> {
    name: &'a str,
    raw: &'a EvaluatedAttribute,
    owner: Owner<'a>,
    problems: &'a mut Diagnostics,
    doubts: Vec<Diagnostic>,
}

/// The path from an attribute's value to a part of it: list indices and object keys.
pub(super) type ValuePath<'a> = [PathStep<'a>];

impl<'a> AttributeReader<'a> {
    /// Creates a reader for the attribute `name` of `owner`. Errors go to `problems`.
    pub(super) fn new(
        name: &'a str,
        raw: &'a EvaluatedAttribute,
        owner: Owner<'a>,
        problems: &'a mut Diagnostics,
    ) -> Self {
        Self {
            name,
            raw,
            owner,
            problems,
            doubts: Vec::new(),
        }
    }

    /// Warnings about suspicious texts in the value. They are kept apart from the errors, because they only matter if
    /// the target is part of the plan.
    pub(super) fn into_doubts(self) -> Vec<Diagnostic> {
        self.doubts
    }

    /// The attribute's name.
    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    pub(super) fn value(&self) -> &'a Value {
        &self.raw.value
    }

    pub(super) fn span(&self, path: &ValuePath<'_>) -> Option<Span> {
        self.raw.element_span(path).or(self.raw.name_span)
    }

    pub(super) fn spanned<T>(&self, path: &ValuePath<'_>, value: T) -> Spanned<T> {
        Spanned {
            value,
            span: self.span(path),
        }
    }

    /// Describes the part at `path` for messages: the attribute, the path and the owner.
    fn place(&self, path: &ValuePath<'_>) -> String {
        let mut place = format!("`{}", self.name);
        for step in path {
            match step {
                PathStep::Index(index) => {
                    // Writing to a `String` cannot fail.
                    let _ = write!(place, "[{index}]");
                }
                PathStep::Key(key) => {
                    place.push('.');
                    place.push_str(key);
                }
            }
        }
        // Writing to a `String` cannot fail.
        let _ = write!(place, "` of {}", self.owner);
        place
    }

    /// Reports an error at `path`.
    pub(super) fn report(&mut self, path: &ValuePath<'_>, code: &'static str, reason: &str) {
        let problem = self.problem(path, code, reason);
        self.problems.push(problem);
    }

    pub(super) fn problem(
        &self,
        path: &ValuePath<'_>,
        code: &'static str,
        reason: &str,
    ) -> Diagnostic {
        let message = format!("unsuitable value for {}: {reason}", self.place(path));
        let problem = Diagnostic::error(Class::Definition, code, message);
        problem.at(self.span(path), "")
    }

    /// Records warnings about a text at `path` that probably does not mean what the user intended.
    pub(super) fn doubts(&mut self, path: &ValuePath<'_>, text: &str) {
        for doubt in super::super::model::doubts(self.name, text) {
            let doubt = doubt.note(format!("in {}", self.place(path)));
            let doubt = doubt.at(self.span(path), "");
            self.doubts.push(doubt);
        }
    }

    pub(super) fn push(&mut self, problem: Diagnostic) {
        self.problems.push(problem);
    }

    pub(super) fn wrong_type(&mut self, path: &ValuePath<'_>, reason: &str) {
        self.report(path, "definition::wrong-type", reason);
    }

    pub(super) fn null(&mut self, path: &ValuePath<'_>) {
        self.report(path, "definition::null-value", "null is not allowed here");
    }

    /// Reports that the value at `path` cannot be converted to `wanted`, with the same words as HCL's conversion.
    pub(super) fn mismatch(&mut self, path: &ValuePath<'_>, value: &Value, wanted: &Type) {
        let reason = match convert(value, wanted) {
            Err(error) => format!("{}{error}", at(&error.path().to_string())),
            // Not reached: this is only called if the kinds of the two types differ, and then the conversion fails.
            Ok(_) => format!("{} required, but have {}", wanted.name(), value.ty().name()),
        };
        let mut problem = self.problem(path, "definition::wrong-type", &reason);
        if let (Value::String(text), Type::List(_), []) = (value, wanted, path) {
            let plain = text.len() < 60 && !text.contains(['$', '%']);
            let text = if plain { quote(text) } else { "\"…\"".into() };
            problem = problem.help(format!("write a list: `{} = [{text}]`", self.name));
        }
        if path.is_empty() {
            let name = self.name;
            problem = match (value, wanted) {
                (_, Type::Map(_)) => {
                    problem.help(format!("write a map: `{name} = {{ NAME = \"value\" }}`"))
                }
                (Value::Object(_) | Value::Map(_), Type::List(_)) => {
                    problem.help(format!("write a list: `{name} = [{{ … }}]`"))
                }
                _ => problem,
            };
        }
        self.problems.push(problem);
    }

    /// The value as a string. Reports an error and returns `None` if it is null or cannot be converted.
    pub(super) fn element_text(
        &mut self,
        path: &ValuePath<'_>,
        value: &Value,
    ) -> Option<SharedText> {
        match value {
            Value::String(text) => Some(text.into()),
            Value::Null(_) => {
                self.null(path);
                None
            }
            other => {
                if let Ok(Value::String(text)) = convert(other, &Type::String) {
                    return Some((&text).into());
                }
                self.mismatch(path, other, &Type::String);
                None
            }
        }
    }

    /// The attribute as a string. Null is an error.
    pub(super) fn required_text(&mut self) -> Option<Spanned<SharedText>> {
        let text = self.element_text(&[], self.value())?;
        Some(self.spanned(&[], text))
    }

    /// The attribute as a string, or `None` if it is null, which means "not set".
    pub(super) fn text(&mut self) -> Option<Spanned<SharedText>> {
        if self.value().is_null() {
            return None;
        }
        self.required_text()
    }

    /// The attribute as a boolean, or `None` if it is null, which means "not set".
    pub(super) fn boolean(&mut self) -> Option<Spanned<bool>> {
        let value = self.value();
        if value.is_null() {
            return None;
        }
        match convert(value, &Type::Bool) {
            Ok(Value::Bool(set)) => Some(self.spanned(&[], set)),
            Ok(_) => None,
            Err(error) => {
                let problem = self.problem(&[], "definition::wrong-type", &error.to_string());
                let name = self.name;
                let way_out = format!("write `{name} = true` or `{name} = false`");
                self.problems.push(problem.help(way_out));
                None
            }
        }
    }

    /// The attribute as a list of strings. Null gives an unset list.
    pub(super) fn texts(&mut self) -> List<SharedText> {
        let value = self.value();
        if value.is_null() {
            return List::default();
        }
        match self.element_texts(&[], value) {
            Some(texts) => List::of(texts),
            None => List::default(),
        }
    }

    /// The part at `path` as a list of strings. Null elements are errors.
    pub(super) fn element_texts(
        &mut self,
        path: &ValuePath<'_>,
        value: &Value,
    ) -> Option<Vec<Spanned<SharedText>>> {
        let Some(items) = value.items() else {
            self.mismatch(path, value, &Type::list(Type::String));
            return None;
        };
        // A set is sorted by value, so an index does not lead back to the element's place in the text.
        let in_order = !matches!(value, Value::Set(_));
        let mut texts = Vec::with_capacity(items.len());
        let mut element = path.to_vec();
        for (index, item) in items.iter().enumerate() {
            element.truncate(path.len());
            if in_order {
                element.push(PathStep::Index(index));
            }
            if let Some(text) = self.element_text(&element, item) {
                texts.push(self.spanned(&element, text));
            }
        }
        Some(texts)
    }

    /// The attribute as a map of strings. A null map is unset; a null value is an error.
    pub(super) fn map(&mut self) -> Map {
        self.read_map(false)
    }

    /// The attribute as a map of strings. A null map is unset; entries with a null value are left out.
    pub(super) fn nullable_map(&mut self) -> Map {
        self.read_map(true)
    }

    fn read_map(&mut self, nullable: bool) -> Map {
        let value = self.value();
        if value.is_null() {
            return Map::default();
        }
        let Some(items) = value.entries() else {
            self.mismatch(&[], value, &Type::map(Type::String));
            return Map::default();
        };
        // The entries of a value are already sorted by key, as `Map::of_sorted` requires.
        let mut entries = Vec::with_capacity(items.len());
        for (key, item) in items {
            if nullable && item.is_null() {
                continue;
            }
            let path = [PathStep::Key(key)];
            if let Some(text) = self.element_text(&path, item) {
                entries.push((Arc::from(key), self.spanned(&path, text)));
            }
        }
        Map::of_sorted(entries)
    }
}

fn at(path: &str) -> String {
    if path.is_empty() {
        String::new()
    } else {
        format!("{path}: ")
    }
}
