//! Evaluates names and the steps into values: attributes, indices, splats.

use std::sync::Arc;

use super::evaluator::{Evaluator, Failed, ValueResult};
use super::expr::{ELEMENT_SIZE, describe, problem};
use super::namespace::{Namespace, UsedIn};
use super::scope::Scope;
use crate::diag::Span;
use crate::hcl::cty::convert::convert;
use crate::hcl::cty::{Type, Value};
use crate::hcl::syntax::{Expr, ExprKind, Step, Traversal};

impl<'a, N: Namespace<'a>> Evaluator<'a, N> {
    /// Evaluates the name `name`: first as a name of `scope`, then as a declared name.
    pub(super) fn name(&mut self, name: &'a Arc<str>, at: Span, scope: &Scope<'_>) -> ValueResult {
        if let Some(value) = scope.get(name) {
            return Ok(value.clone());
        }
        if let Some(slot) = self.named(name) {
            return self.slot(slot, Some(at));
        }
        if let Some(bare) = self.names.bare(name, at) {
            return Err(self.fail(bare));
        }
        Err(self.unknown_name(name, at, scope))
    }

    fn unknown_name(&mut self, name: &str, at: Span, scope: &Scope<'_>) -> Failed {
        let local = scope.names();
        let unknown = problem(
            "definition::unknown-variable",
            format!("there is no variable `{name}`"),
        )
        .at(at, "not defined")
        .did_you_mean(
            "a variable",
            name,
            self.all_names().chain(local.iter().map(|name| &**name)),
        );
        let unknown = match self.names.advice(name, UsedIn::Expression) {
            Some(advice) => unknown.help(advice),
            None => unknown,
        };
        self.fail(unknown)
    }

    /// Evaluates a traversal. If the file format looks up its first name itself, the format evaluates all of it.
    pub(super) fn traversal(&mut self, traversal: &'a Traversal, scope: &Scope<'_>) -> ValueResult {
        if let ExprKind::Variable(name) = &traversal.root.kind
            && scope.get(name).is_none()
            && let Some(outcome) = N::reference(self, name, traversal, scope)
        {
            return outcome;
        }
        let value = self.expr(&traversal.root, scope)?;
        self.steps(value, &traversal.steps, traversal.root.span, scope)
    }

    /// Applies `steps` to `value`, which is written at `from`.
    pub(crate) fn steps(
        &mut self,
        value: Value,
        steps: &'a [Step],
        from: Span,
        scope: &Scope<'_>,
    ) -> ValueResult {
        let mut value = value;
        let mut from = from;
        for step in steps {
            value = match step {
                Step::Attribute(name) => self.attribute(&value, &name.text, name.span, from)?,
                Step::Index(key) => {
                    let index = self.expr(key, scope)?;
                    self.index(&value, &index, key.span, from)?
                }
                Step::Splat { each, span } => self.splat(&value, each, *span, from, scope)?,
            };
            from.end = step.span().end;
        }
        Ok(value)
    }

    fn attribute(&mut self, value: &Value, name: &str, at: Span, from: Span) -> ValueResult {
        if let Some(found) = value.entries().and_then(|entries| entries.get(name)) {
            return Ok(found.clone());
        }
        let failure = if value.is_null() {
            problem("definition::null-value", "null has no attributes")
                .at(at, format!("`{name}` is accessed here"))
                .context(from, "this is null")
        } else if let Some(entries) = value.entries() {
            let what = if matches!(value, Value::Map(_)) {
                "map has no element"
            } else {
                "object has no attribute"
            };
            problem(
                "definition::unknown-attribute",
                format!("this {what} `{name}`"),
            )
            .at(at, "")
            .did_you_mean("an attribute", name, entries.keys().map(|key| &**key))
        } else {
            let ty = value.ty();
            let failure = problem(
                "definition::type-mismatch",
                format!("{} has no attributes", ty.with_article()),
            )
            .at(at, format!("`{name}` is accessed here"))
            .context(from, describe(value));
            match ty {
                Type::List(_) | Type::Tuple(_) => failure
                    .help("write `[0]` for one element, or `[*]` for all, before the attribute"),
                Type::Set(_) => failure.help("write `[*]` before the attribute"),
                _ => failure,
            }
        };
        Err(self.fail(failure))
    }

    fn index(&mut self, value: &Value, key: &Value, at: Span, from: Span) -> ValueResult {
        if value.is_null() {
            return Err(self.fail(
                problem("definition::null-value", "null has no elements")
                    .at(at, "an element is accessed here")
                    .context(from, "this is null"),
            ));
        }
        if key.is_null() {
            return Err(self.fail(
                problem("definition::null-value", "an index must not be null")
                    .at(at, "this is null"),
            ));
        }
        match value {
            Value::List(_) | Value::Tuple(_) => {
                let items = value.items().unwrap_or_default();
                self.element(items, key, at)
            }
            Value::Map(_) | Value::Object(_) => self.entry(value, key, at),
            Value::Set(_) => Err(self.fail(
                problem(
                    "definition::type-mismatch",
                    "elements of a set have no index",
                )
                .at(at, "")
                .context(from, describe(value))
                .help("iterate over the set with `for`"),
            )),
            other => Err(self.fail(
                problem(
                    "definition::type-mismatch",
                    format!("{} has no elements", other.ty().with_article()),
                )
                .at(at, "an element is accessed here")
                .context(from, describe(other)),
            )),
        }
    }

    fn element(&mut self, items: &[Value], key: &Value, at: Span) -> ValueResult {
        let index = match convert(key, &Type::Number) {
            Ok(Value::Number(index)) => index,
            Ok(_) => return Err(Failed::UNTYPED),
            Err(error) => {
                return Err(self.fail(
                    problem(
                        "definition::type-mismatch",
                        format!("the index of a list must be a number: {error}"),
                    )
                    .at(at, describe(key)),
                ));
            }
        };
        if let Some(item) = index.to_usize().and_then(|index| items.get(index)) {
            return Ok(item.clone());
        }
        let why = if !index.is_integer() {
            format!("{index} is not a whole number")
        } else if index.signum() < 0 {
            "indexes start at 0 and cannot be negative".to_owned()
        } else if items.is_empty() {
            "the list is empty".to_owned()
        } else {
            format!("the last index is {}", items.len() - 1)
        };
        Err(self.fail(
            problem(
                "definition::invalid-index",
                format!("there is no element {index} in this list"),
            )
            .at(at, why),
        ))
    }

    fn entry(&mut self, value: &Value, key: &Value, at: Span) -> ValueResult {
        let Some(entries) = value.entries() else {
            return Err(Failed::UNTYPED);
        };
        let kind = if matches!(value, Value::Map(_)) {
            "a map"
        } else {
            "an object"
        };
        let name = match convert(key, &Type::String) {
            Ok(Value::String(name)) => name,
            Ok(_) => return Err(Failed::UNTYPED),
            Err(error) => {
                return Err(self.fail(
                    problem(
                        "definition::type-mismatch",
                        format!("the key of {kind} must be a string: {error}"),
                    )
                    .at(at, describe(key)),
                ));
            }
        };
        if let Some(found) = entries.get(&name) {
            return Ok(found.clone());
        }
        let what = if matches!(value, Value::Map(_)) {
            "map has no element"
        } else {
            "object has no attribute"
        };
        Err(self.fail(
            problem("definition::invalid-index", format!("this {what} `{name}`"))
                .at(at, "")
                .did_you_mean("an element", &name, entries.keys().map(|key| &**key)),
        ))
    }

    /// The failure of a step that no value of the type `ty` has.
    fn no_such_step(&mut self, step: &Step, ty: &Type) -> Failed {
        let what = match step {
            Step::Attribute(name) => format!("attribute `{}`", name.text),
            _ => "elements".to_owned(),
        };
        self.fail(
            problem(
                "definition::type-mismatch",
                format!("{} has no {what}", ty.with_article()),
            )
            .at(step.span(), ""),
        )
    }

    /// Evaluates a splat. As in HCL, a value that is not a sequence is treated as a tuple with that one element,
    /// and a null as an empty tuple.
    fn splat(
        &mut self,
        value: &Value,
        each: &'a [Step],
        star: Span,
        from: Span,
        scope: &Scope<'_>,
    ) -> ValueResult {
        let ty = value.ty();
        let is_sequence = matches!(ty, Type::List(_) | Type::Set(_) | Type::Tuple(_));
        if value.is_null() {
            if !is_sequence {
                return Ok(Value::tuple(Vec::new()));
            }
            return Err(self.fail(
                problem(
                    "definition::null-value",
                    "`*` cannot be applied to a list that is null",
                )
                .at(star, "")
                .context(from, "this is null"),
            ));
        }
        let own = [value.clone()];
        let items = value.items().unwrap_or(&own);
        self.produce(items.len() * ELEMENT_SIZE, star)?;
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            values.push(self.steps(item.clone(), each, from, scope)?);
        }
        match ty {
            Type::List(element) | Type::Set(element) => {
                let element = match values.first() {
                    Some(first) => first.ty(),
                    None => type_after(&element, each)
                        .map_err(|(step, ty)| self.no_such_step(step, &ty))?,
                };
                if values.iter().any(|value| value.ty() != element) {
                    return Err(self.fail(
                        problem(
                            "definition::type-mismatch",
                            "the elements that this `*` returns have different types",
                        )
                        .at(star, "")
                        .help("use a `for` expression, which can return any types"),
                    ));
                }
                self.made(Value::list(element, values), star)
            }
            _ => self.made(Value::tuple(values), star),
        }
    }
}

/// The type after `steps` from a value of type `ty`, or [`Type::Dynamic`] if the types alone do not tell. The error
/// is the first step that is impossible, and the type at which it is. It gives an empty list its element type.
fn type_after<'s>(ty: &Type, steps: &'s [Step]) -> Result<Type, (&'s Step, Type)> {
    let mut ty = ty.clone();
    for step in steps {
        ty = match (step, &ty) {
            (_, Type::Dynamic)
            | (Step::Index(_), Type::Tuple(_) | Type::Object(_))
            | (
                Step::Splat { .. },
                Type::String
                | Type::Number
                | Type::Bool
                | Type::Bytes
                | Type::Map(_)
                | Type::Tuple(_)
                | Type::Object(_),
            ) => return Ok(Type::Dynamic),
            (Step::Attribute(name), Type::Object(object)) => match object.attribute(&name.text) {
                Some(attribute) => attribute.clone(),
                None => return Err((step, ty)),
            },
            (Step::Attribute(_) | Step::Index(_), Type::Map(element))
            | (Step::Index(_), Type::List(element)) => (**element).clone(),
            (Step::Splat { each, .. }, Type::List(element) | Type::Set(element)) => {
                Type::list(type_after(element, each)?)
            }
            _ => return Err((step, ty)),
        };
    }
    Ok(ty)
}

/// The string that `key` is if it is a constant, as in `target.web["tags"]`. `None` for other expressions.
pub(crate) fn constant_name(key: &Expr) -> Option<&str> {
    match &key.kind {
        ExprKind::Literal(Value::String(text)) => Some(text),
        _ => None,
    }
}
