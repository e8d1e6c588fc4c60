//! Helpers for tests of the language: evaluate attributes and inspect their values.
//!
//! They use the simplest format that HCL allows: a file of attributes, which may refer to each other.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::cty::Value;
use super::eval::namespace::{Namespace, UsedIn};
use super::eval::{Evaluator, Scope, ValueResult};
use super::functions::FunctionContext;
use super::name_pool::NamePool;
use super::syntax::{Attribute, Traversal};
use super::{on_deep_stack, parser};
use crate::diag::{Diagnostic, Diagnostics, SourceMap, Span};

/// A format with attributes at the top level and nothing else.
struct Attributes;

impl<'a> Namespace<'a> for Attributes {
    type Source = &'a Attribute;

    fn fill(evaluator: &mut Evaluator<'a, Self>, source: &'a Attribute) -> ValueResult {
        evaluator.expr(&source.expr, &Scope::ROOT)
    }

    fn describe(&self, source: &'a Attribute) -> (String, Span) {
        (format!("`{}`", source.name.text), source.name.span)
    }

    fn reference(
        _: &mut Evaluator<'a, Self>,
        _: &'a Arc<str>,
        _: &'a Traversal,
        _: &Scope<'_>,
    ) -> Option<ValueResult> {
        None
    }

    fn bare(&self, _: &str, _: Span) -> Option<Diagnostic> {
        None
    }

    fn advice(&self, _: &str, _: UsedIn) -> Option<&'static str> {
        None
    }
}

/// Evaluates all attributes of `text`. The error contains all problems.
pub(crate) fn attributes(text: &str) -> Result<BTreeMap<String, Value>, Diagnostics> {
    on_deep_stack(|| evaluate(text)).unwrap()
}

fn evaluate(text: &str) -> Result<BTreeMap<String, Value>, Diagnostics> {
    let mut problems = Diagnostics::default();
    let source = SourceMap::default().add("test.hcl", text);
    let file = parser::parse(text, source, &mut NamePool::default(), &mut problems);
    if problems.has_errors() {
        return Err(problems);
    }
    let context = FunctionContext {
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        home: String::new(),
        work: Cell::default(),
    };
    let mut evaluator = Evaluator::new(Attributes, context, file.body.attributes.len());
    for attribute in &file.body.attributes {
        evaluator.declare(Arc::clone(&attribute.name.text), attribute);
    }
    let mut values = BTreeMap::new();
    for attribute in &file.body.attributes {
        let name = &*attribute.name.text;
        if let Some(Ok(value)) = evaluator.named(name).map(|slot| evaluator.slot(slot, None)) {
            values.insert(name.to_owned(), value);
        }
    }
    let problems = evaluator.into_problems();
    if problems.has_errors() {
        return Err(problems);
    }
    Ok(values)
}

/// Evaluates an expression and returns its value as JSON, or `ERROR` and the message of the first error.
pub(crate) fn value_of(expr: &str) -> String {
    match attributes(&format!("v = jsonencode({expr})\n")) {
        Ok(values) => match values.get("v") {
            Some(Value::String(text)) => text.to_string(),
            other => format!("{other:?}"),
        },
        Err(problems) => format!("ERROR {}", problems.0[0].message),
    }
}

/// The message of each error in `problems`, followed by ` @ ` and the text that its primary label marks.
pub(crate) fn messages(problems: &Diagnostics, text: &str) -> Vec<String> {
    problems
        .errors()
        .map(|problem| {
            let place = problem.labels.iter().find(|label| label.primary);
            let at = place.map_or("", |label| &text[label.span.range()]);
            format!("{} @ {at}", problem.message)
        })
        .collect()
}

#[test]
fn attributes_may_refer_to_each_other() {
    let values = attributes("a = \"${b}!\"\nb = 2\n").unwrap();
    assert_eq!(values["a"].as_str(), Some("2!"));
    let circle = attributes("a = b\nb = a\n").unwrap_err();
    assert_eq!(circle.0[0].message, "`a` refers to itself: `a` → `b` → `a`");
}
