//! `for` expressions, and the iteration that `for` directives share with them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::evaluator::{Evaluator, Failed, ValueResult};
use super::expr::{ELEMENT_SIZE, describe, problem};
use super::namespace::Namespace;
use super::scope::Scope;
use crate::diag::Span;
use crate::hcl::cty::{Text, Value};
use crate::hcl::name_uses::{NameUse, references};
use crate::hcl::syntax::{Expr, For, Ident};

impl<'a, N: Namespace<'a>> Evaluator<'a, N> {
    /// Evaluates a `for` expression to a tuple or an object.
    pub(super) fn repetition(
        &mut self,
        repetition: &'a For,
        span: Span,
        scope: &Scope<'_>,
    ) -> ValueResult {
        let collection = self.expr(&repetition.collection, scope)?;
        match &repetition.key {
            None => self.tuple_of(&collection, repetition, span, scope),
            Some(_) if repetition.group => self.groups_of(&collection, repetition, span, scope),
            Some(_) => self.object_of(&collection, repetition, span, scope),
        }
    }

    fn tuple_of(
        &mut self,
        collection: &Value,
        repetition: &'a For,
        span: Span,
        scope: &Scope<'_>,
    ) -> ValueResult {
        let mut values = Vec::new();
        self.each_taken(collection, repetition, scope, |evaluator, scope| {
            evaluator.produce(ELEMENT_SIZE, span)?;
            values.push(evaluator.expr(&repetition.value, scope)?);
            Ok(())
        })?;
        self.made(Value::tuple(values), span)
    }

    /// Evaluates `{for … : key => value}`. A repeated key is an error.
    fn object_of(
        &mut self,
        collection: &Value,
        repetition: &'a For,
        span: Span,
        scope: &Scope<'_>,
    ) -> ValueResult {
        let mut entries: BTreeMap<Text, Value> = BTreeMap::new();
        self.each_taken(collection, repetition, scope, |evaluator, scope| {
            evaluator.produce(2 * ELEMENT_SIZE, span)?;
            let (key, at) = evaluator.key_of(repetition, scope)?;
            let value = evaluator.expr(&repetition.value, scope)?;
            if entries.contains_key(&*key) {
                return Err(evaluator.fail(
                    problem(
                        "definition::duplicate-key",
                        format!("two elements have the key `{key}`"),
                    )
                    .at(at, "")
                    .help("add `...` after the value to collect the values of equal keys"),
                ));
            }
            entries.insert(key, value);
            Ok(())
        })?;
        self.made(Value::object(entries), span)
    }

    /// Evaluates `{for … : key => value...}`: collects the values of equal keys in tuples.
    fn groups_of(
        &mut self,
        collection: &Value,
        repetition: &'a For,
        span: Span,
        scope: &Scope<'_>,
    ) -> ValueResult {
        let mut groups: BTreeMap<Text, Vec<Value>> = BTreeMap::new();
        self.each_taken(collection, repetition, scope, |evaluator, scope| {
            evaluator.produce(2 * ELEMENT_SIZE, span)?;
            let (key, _) = evaluator.key_of(repetition, scope)?;
            let value = evaluator.expr(&repetition.value, scope)?;
            groups.entry(key).or_default().push(value);
            Ok(())
        })?;
        let groups = groups
            .into_iter()
            .map(|(key, values)| (key, Value::tuple(values)))
            .collect();
        self.made(Value::object(groups), span)
    }

    fn key_of(&mut self, repetition: &'a For, scope: &Scope<'_>) -> Result<(Text, Span), Failed> {
        let Some(expr) = &repetition.key else {
            return Err(Failed::UNTYPED);
        };
        let value = self.expr(expr, scope)?;
        Ok((self.text_key(&value, expr.span)?, expr.span))
    }

    /// Like [`Self::each_element`], but skips the elements for which the condition is false.
    fn each_taken(
        &mut self,
        collection: &Value,
        repetition: &'a For,
        scope: &Scope<'_>,
        mut visit: impl FnMut(&mut Self, &Scope<'_>) -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        // As in HCL, the condition is checked even if there are no elements, unless it uses the names of an
        // element.
        if collection.len() == Some(0)
            && let Some(condition) = &repetition.condition
            && !mentions(condition, repetition)
        {
            self.condition(condition, scope)?;
        }
        self.each_element(
            collection,
            repetition.collection.span,
            repetition.key_name.as_ref(),
            &repetition.value_name,
            scope,
            |evaluator, scope| match &repetition.condition {
                Some(condition) if !evaluator.condition(condition, scope)? => Ok(()),
                _ => visit(evaluator, scope),
            },
        )
    }

    /// Calls `visit` for each element of `collection`, in a scope with its key and value. Stops at the first
    /// failure, because the other elements mostly fail for the same reason.
    pub(super) fn each_element(
        &mut self,
        collection: &Value,
        at: Span,
        key_name: Option<&Ident>,
        value_name: &Ident,
        scope: &Scope<'_>,
        mut visit: impl FnMut(&mut Self, &Scope<'_>) -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        let mut visit_one = |evaluator: &mut Self, key: Value, value: Value| {
            if !evaluator.enter(Some(at)) {
                return Err(Failed::UNTYPED);
            }
            let value = (Arc::clone(&value_name.text), value);
            let visited = match key_name {
                Some(name) => {
                    let names = [(Arc::clone(&name.text), key), value];
                    visit(evaluator, &scope.with(&names))
                }
                None => visit(evaluator, &scope.with(&[value])),
            };
            evaluator.leave();
            visited
        };
        // In a set, an element is its own key.
        if let Value::Set(set) = collection {
            for item in set.items() {
                visit_one(self, item.clone(), item.clone())?;
            }
        } else if let Some(items) = collection.items() {
            for (index, item) in items.iter().enumerate() {
                let key = Value::number(u64::try_from(index).unwrap_or(u64::MAX));
                visit_one(self, key, item.clone())?;
            }
        } else if let Some(entries) = collection.entries() {
            for (name, value) in entries {
                visit_one(self, Value::String(name.clone()), value.clone())?;
            }
        } else if collection.is_null() {
            return Err(self.fail(
                problem("definition::null-value", "`for` cannot iterate over null")
                    .at(at, "this is null"),
            ));
        } else {
            return Err(self.fail(
                problem(
                    "definition::type-mismatch",
                    format!("`for` cannot iterate over a {}", collection.ty().name()),
                )
                .at(at, describe(collection))
                .help("use a list, a map or an object"),
            ));
        }
        Ok(())
    }
}

/// Whether `expr` uses a name that `repetition` binds.
fn mentions(expr: &Expr, repetition: &For) -> bool {
    let mut found = false;
    references(expr, &mut |reference| {
        if let NameUse::Variable(name, _) = reference {
            let key = repetition.key_name.as_ref();
            found |=
                *name == repetition.value_name.text || key.is_some_and(|key| *name == key.text);
        }
    });
    found
}
