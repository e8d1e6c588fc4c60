//! Reading one attribute's value as the type the attribute has.
//!
//! Conversions are the language's own; what is added here are the places of what does not fit.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use super::super::evaluated::EvaluatedAttribute;
use super::super::model::{List, Map, SharedText};
use crate::diag::{Class, Diagnostic, Diagnostics, Span, Spanned};
use crate::golang::quote::quote;
use crate::hcl::cty::convert::convert;
use crate::hcl::cty::{Type, Value};
use crate::hcl::syntax::PathStep;

/// Whose an attribute is, as messages name it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner<'a> {
    /// A block, by its kind and name.
    Block(&'static str, &'a str),
    /// Something else, in words.
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

/// An attribute being read.
#[derive(Debug)]
pub(super) struct AttributeReader<'a> {
    name: &'a str,
    raw: &'a EvaluatedAttribute,
    owner: Owner<'a>,
    problems: &'a mut Diagnostics,
    doubts: Vec<Diagnostic>,
}

/// The way from an attribute's value to a part of it.
pub(super) type ValuePath<'a> = [PathStep<'a>];

impl<'a> AttributeReader<'a> {
    /// For the attribute `name` of `owner`, which messages name as it is given here.
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

    /// The doubts about its words, which matter only to those who use the attribute.
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

    /// The part at `path` as messages name it: the attribute with the way to the part, and whose it is.
    fn place(&self, path: &ValuePath<'_>) -> String {
        let mut place = format!("`{}", self.name);
        for step in path {
            match step {
                PathStep::Index(index) => {
                    // Writing to a String cannot fail.
                    let _ = write!(place, "[{index}]");
                }
                PathStep::Key(key) => {
                    place.push('.');
                    place.push_str(key);
                }
            }
        }
        // Writing to a String cannot fail.
        let _ = write!(place, "` of {}", self.owner);
        place
    }

    /// Reports that the part at `path` is wrong.
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

    /// Records a word at `path` that stands for something else than it seems to.
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

    // What a value lacks to be of a type, in the language's words.
    pub(super) fn mismatch(&mut self, path: &ValuePath<'_>, value: &Value, wanted: &Type) {
        let reason = match convert(value, wanted) {
            Err(error) => format!("{}{error}", at(&error.path().to_string())),
            // Not reached for types that are told apart by their kind, which is all this is called for.
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

    /// The value as text; an error and `None` where it cannot be one or is null.
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

    /// The attribute as text that must not be null.
    pub(super) fn required_text(&mut self) -> Option<Spanned<SharedText>> {
        let text = self.element_text(&[], self.value())?;
        Some(self.spanned(&[], text))
    }

    /// The attribute as text; null is not set.
    pub(super) fn text(&mut self) -> Option<Spanned<SharedText>> {
        if self.value().is_null() {
            return None;
        }
        self.required_text()
    }

    /// The attribute as a boolean; null is not set.
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

    /// The attribute as a list of texts; null is not set.
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

    /// The part at `path` as a list of texts; null elements are errors.
    pub(super) fn element_texts(
        &mut self,
        path: &ValuePath<'_>,
        value: &Value,
    ) -> Option<Vec<Spanned<SharedText>>> {
        let Some(items) = value.items() else {
            self.mismatch(path, value, &Type::list(Type::String));
            return None;
        };
        // Elements of sets have no place of their own in the text.
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

    /// The attribute as a map of texts; null is not set, null values are errors.
    pub(super) fn map(&mut self) -> Map {
        self.read_map(false)
    }

    /// The attribute as a map of texts; null is not set, and neither are entries whose value is.
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
        // Sorted as they come.
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
