//! Evaluates expressions, by the rules of `HashiCorp`'s HCL.
//!
//! Problems are collected: an operator whose operands both fail reports both. Like HCL, this evaluates both
//! branches of a conditional and both sides of `&&` and `||`, because their types matter, and then discards the
//! problems of the one that was not needed. Start at [`Evaluator::expr`].

use std::collections::BTreeMap;

use super::evaluator::{Evaluator, Failed, ValueResult};
use super::namespace::Namespace;
use super::scope::Scope;
use crate::diag::{Class, Diagnostic, Span};
use crate::hcl::cty::convert::{Safety, convert};
use crate::hcl::cty::unify::unify;
use crate::hcl::cty::{Text, Type, Value};
use crate::hcl::syntax::{
    Conditional, Expr, ExprKind, ObjectItem, ObjectKey, TemplateFor, TemplateIf, TemplatePart,
};

/// Bytes that an element of a collection needs, without its content.
pub(super) const ELEMENT_SIZE: usize = size_of::<Value>();

/// A problem with a value, without a position yet.
pub(crate) fn problem(code: &'static str, message: impl Into<String>) -> Diagnostic {
    Diagnostic::error(Class::Definition, code, message)
}

/// The type of a value, or of the value that a failed expression would have had.
fn type_of(outcome: &ValueResult) -> Type {
    match outcome {
        Ok(value) => value.ty(),
        Err(failed) => failed.ty(),
    }
}

impl<'a, N: Namespace<'a>> Evaluator<'a, N> {
    /// Evaluates `expr` in `scope`.
    pub(crate) fn expr(&mut self, expr: &'a Expr, scope: &Scope<'_>) -> ValueResult {
        // Most expressions are constants. They need no budget.
        if let ExprKind::Literal(value) = &expr.kind {
            return Ok(value.clone());
        }
        if !self.enter(Some(expr.span)) {
            return Err(Failed::UNTYPED);
        }
        let outcome = match &expr.kind {
            ExprKind::Literal(value) => Ok(value.clone()),
            ExprKind::Template(parts) => self.template(parts, expr.span, scope),
            ExprKind::Wrapped(inner) | ExprKind::Parentheses(inner) => self.expr(inner, scope),
            ExprKind::Variable(name) => self.name(name, expr.span, scope),
            ExprKind::Traversal(traversal) => self.traversal(traversal, scope),
            ExprKind::Call(call) => self.call(call, expr.span, scope),
            ExprKind::Conditional(conditional) => self.conditional(conditional, scope),
            ExprKind::Unary(unary) => self.unary(unary, expr.span, scope),
            ExprKind::Binary(binary) => self.binary(binary, expr.span, scope),
            ExprKind::For(repetition) => self.repetition(repetition, expr.span, scope),
            ExprKind::Tuple(items) => self.tuple(items, expr.span, scope),
            ExprKind::Object(items) => self.object(items, expr.span, scope),
        };
        self.leave();
        outcome
    }

    fn tuple(&mut self, items: &'a [Expr], span: Span, scope: &Scope<'_>) -> ValueResult {
        self.produce(items.len() * ELEMENT_SIZE, span)?;
        let outcomes: Vec<ValueResult> = items.iter().map(|item| self.expr(item, scope)).collect();
        if outcomes.iter().any(Result::is_err) {
            return Err(Failed::of(Type::tuple(outcomes.iter().map(type_of))));
        }
        self.made(Value::tuple(outcomes.into_iter().flatten().collect()), span)
    }

    fn object(&mut self, items: &'a [ObjectItem], span: Span, scope: &Scope<'_>) -> ValueResult {
        self.produce(items.len() * 2 * ELEMENT_SIZE, span)?;
        let mut entries = BTreeMap::new();
        let mut keys_known = true;
        let mut failed = false;
        for item in items {
            let key = self.object_key(&item.key, scope);
            let value = self.expr(&item.value, scope);
            // A later item with the same key replaces the value, but an earlier failure still counts.
            failed |= value.is_err();
            match key {
                Ok(key) => _ = entries.insert(key, value),
                Err(_) => keys_known = false,
            }
        }
        if !keys_known {
            return Err(Failed::UNTYPED);
        }
        if failed {
            let types = entries.iter().map(|(key, value)| (&**key, type_of(value)));
            return Err(Failed::of(Type::object(types)));
        }
        let entries = entries
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.ok()?)));
        self.made(Value::object(entries.collect()), span)
    }

    fn object_key(&mut self, key: &'a ObjectKey, scope: &Scope<'_>) -> Result<Text, Failed> {
        let expr = match key {
            ObjectKey::Name(name) => return Ok(Text::from(&*name.text)),
            ObjectKey::Expr(expr) => expr,
        };
        let value = self.expr(expr, scope)?;
        self.text_key(&value, expr.span)
    }

    /// Converts `value`, which is written at `span`, to the key of an object.
    pub(super) fn text_key(&mut self, value: &Value, span: Span) -> Result<Text, Failed> {
        match convert(value, &Type::String) {
            Ok(Value::String(text)) => Ok(text),
            Ok(_) => Err(self.fail(
                problem("definition::null-value", "a key must not be null")
                    .at(span, "this is null"),
            )),
            Err(error) => Err(self.fail(
                problem(
                    "definition::type-mismatch",
                    format!("this value cannot be a key: {error}"),
                )
                .at(span, describe(value)),
            )),
        }
    }

    fn conditional(&mut self, conditional: &'a Conditional, scope: &Scope<'_>) -> ValueResult {
        let (yes, yes_problems) = self.attempt(|e| e.expr(&conditional.yes, scope));
        let (no, no_problems) = self.attempt(|e| e.expr(&conditional.no, scope));
        let ty = self.common_type(conditional, &yes, &no)?;
        let condition = self
            .condition(&conditional.condition, scope)
            .map_err(|_| Failed::of(ty.clone()))?;
        let (chosen, problems, branch) = if condition {
            (yes, yes_problems, &conditional.yes)
        } else {
            (no, no_problems, &conditional.no)
        };
        self.restore(problems);
        let value = chosen?;
        convert(&value, &ty).map_err(|error| {
            self.fail(
                problem(
                    "definition::type-mismatch",
                    format!("the branches of this conditional have no common type: {error}"),
                )
                .at(branch.span, format!("this cannot be {}", ty.with_article())),
            )
        })
    }

    /// The type to which both branches are converted; [`Type::Dynamic`] if they stay as they are.
    fn common_type(
        &mut self,
        conditional: &Conditional,
        yes: &ValueResult,
        no: &ValueResult,
    ) -> Result<Type, Failed> {
        let (yes_ty, no_ty) = (type_of(yes), type_of(no));
        // A plain null takes the type of the other branch. A failed branch is not a null, even if its type is not
        // known.
        if yes_ty == no_ty || matches!(no, Ok(Value::Null(Type::Dynamic))) {
            return Ok(yes_ty);
        }
        if matches!(yes, Ok(Value::Null(Type::Dynamic))) {
            return Ok(no_ty);
        }
        if yes_ty == Type::Dynamic || no_ty == Type::Dynamic {
            return Ok(Type::Dynamic);
        }
        if let Some(ty) = unify(&[yes_ty.clone(), no_ty.clone()], Safety::Unsafe) {
            return Ok(ty);
        }
        Err(self.fail(
            problem(
                "definition::type-mismatch",
                "the branches of this conditional have no common type",
            )
            .at(
                conditional.yes.span,
                format!("this is {}", yes_ty.with_article()),
            )
            .at(
                conditional.no.span,
                format!("this is {}", no_ty.with_article()),
            ),
        ))
    }

    /// Evaluates a condition. A string such as `"true"` is converted; null is an error.
    pub(crate) fn condition(&mut self, expr: &'a Expr, scope: &Scope<'_>) -> Result<bool, Failed> {
        let value = self.expr(expr, scope)?;
        match convert(&value, &Type::Bool) {
            Ok(Value::Bool(condition)) => Ok(condition),
            Ok(_) => Err(self.fail(
                problem(
                    "definition::null-value",
                    "a condition must be true or false, not null",
                )
                .at(expr.span, "this is null"),
            )),
            Err(error) => Err(self.fail(
                problem(
                    "definition::type-mismatch",
                    format!("a condition must be true or false: {error}"),
                )
                .at(expr.span, describe(&value)),
            )),
        }
    }

    fn template(
        &mut self,
        parts: &'a [TemplatePart],
        span: Span,
        scope: &Scope<'_>,
    ) -> ValueResult {
        // The finished text is copied to a value of exactly its size, so the buffer can be reused.
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        let complete =
            self.write_parts(parts, scope, &mut text) && self.produce(text.len(), span).is_ok();
        let value = if complete {
            self.made(Value::from(text.as_str()), span).ok()
        } else {
            None
        };
        self.scratch = text;
        value.ok_or_else(|| Failed::of(Type::String))
    }

    /// Appends the values of `parts` to `text`. Returns `false` if one of them failed; the others are still
    /// evaluated, so that all problems are reported.
    fn write_parts(
        &mut self,
        parts: &'a [TemplatePart],
        scope: &Scope<'_>,
        text: &mut String,
    ) -> bool {
        let mut complete = true;
        for part in parts {
            complete &= match part {
                TemplatePart::Literal(literal) => {
                    text.push_str(literal);
                    true
                }
                TemplatePart::Interpolation(expr) => self.write_value(expr, scope, text),
                TemplatePart::If(directive) => self.write_if(directive, scope, text),
                TemplatePart::For(directive) => self.write_for(directive, scope, text),
            };
        }
        complete
    }

    /// Appends the value of an interpolation as a string. Returns `false` if that fails.
    fn write_value(&mut self, expr: &'a Expr, scope: &Scope<'_>, text: &mut String) -> bool {
        let Ok(value) = self.expr(expr, scope) else {
            return false;
        };
        if let Value::String(piece) = &value {
            text.push_str(piece);
            return true;
        }
        match convert(&value, &Type::String) {
            Ok(Value::String(piece)) => {
                text.push_str(&piece);
                true
            }
            Ok(_) => {
                self.fail(
                    problem("definition::null-value", "null cannot be part of a string")
                        .at(expr.span, "this is null"),
                );
                false
            }
            Err(error) => {
                self.fail(
                    problem(
                        "definition::type-mismatch",
                        format!("this value cannot be part of a string: {error}"),
                    )
                    .at(expr.span, describe(&value)),
                );
                false
            }
        }
    }

    fn write_if(
        &mut self,
        directive: &'a TemplateIf,
        scope: &Scope<'_>,
        text: &mut String,
    ) -> bool {
        if !self.enter(Some(directive.span)) {
            return false;
        }
        // Unlike in a conditional, both branches are strings, so the other one need not be evaluated for its type.
        let written = match self.condition(&directive.condition, scope) {
            Ok(true) => self.write_parts(&directive.then, scope, text),
            Ok(false) => self.write_parts(&directive.otherwise, scope, text),
            Err(_) => false,
        };
        self.leave();
        written
    }

    fn write_for(
        &mut self,
        directive: &'a TemplateFor,
        scope: &Scope<'_>,
        text: &mut String,
    ) -> bool {
        if !self.enter(Some(directive.span)) {
            return false;
        }
        let written = self
            .expr(&directive.collection, scope)
            .is_ok_and(|collection| {
                self.each_element(
                    &collection,
                    directive.collection.span,
                    directive.key.as_ref(),
                    &directive.value,
                    scope,
                    |evaluator, scope| {
                        let before = text.len();
                        if !evaluator.write_parts(&directive.body, scope, text) {
                            return Err(Failed::UNTYPED);
                        }
                        evaluator.produce(text.len() - before, directive.span)
                    },
                )
                .is_ok()
            });
        self.leave();
        written
    }
}

/// Describes a value's type for a label: `this is a list of string`.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null(_) => "this is null".to_owned(),
        other => format!("this is {}", other.ty().with_article()),
    }
}
