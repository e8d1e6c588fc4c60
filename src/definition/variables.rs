//! Variables: their types, defaults, overrides and validations.
//!
//! Every variable is evaluated, even if nothing uses it. Start at [`BakeEvaluator::variable`], which computes the
//! value for a variable's slot, and [`BakeEvaluator::validate`].

use super::declarations::{ValidationDecl, VariableDecl};
use super::evaluated::VariableInfo;
use super::namespace::BakeEvaluator;
use crate::hcl::cty::convert::convert;
use crate::hcl::cty::{Type, Value};
use crate::hcl::eval::expr::{describe, problem};
use crate::hcl::eval::scope::Scope;
use crate::hcl::eval::type_expr::type_of;
use crate::hcl::eval::{Failed, Frame, ValueResult};
use crate::hcl::name_uses::references;
use crate::hcl::syntax::{Expr, ExprKind};

impl<'a> BakeEvaluator<'a> {
    /// The value of a variable: its override if there is one, otherwise its default.
    pub(super) fn variable(&mut self, variable: &'a VariableDecl<'a>) -> ValueResult {
        let name = &variable.name.text;
        // A global of the same name replaces both the default and the type.
        let global = self.names.declarations.globals.get(name).copied();
        let ty = match global {
            Some(_) => None,
            None => self.declared_type(variable)?,
        };
        let default = global.map(|global| &*global.expr).or(variable.default);
        let default = match default {
            Some(expr) => Some(self.default(expr, ty.as_ref())?),
            None => None,
        };
        let declarations = self.names.declarations;
        let builtins = &self.names.builtins;
        let overriding = self.names.overrides.of(name, ty.is_some(), |other| {
            declarations.variables.contains_key(other) || builtins.contains(other)
        });
        let Some(overriding) = overriding else {
            return Ok(match (default, ty) {
                (Some(value), _) => value,
                (None, Some(ty)) => Value::Null(ty),
                (None, None) => Value::from(""),
            });
        };
        let value = match &ty {
            Some(ty) => overriding.typed(variable, ty),
            None => overriding.untyped(variable, default.as_ref()),
        };
        value.map_err(|problems| {
            // `report` instead of `fail`: the problem is in the variable itself, so a path of evaluation would add
            // nothing.
            for problem in problems.0 {
                self.report(problem);
            }
            Failed::UNTYPED
        })
    }

    /// The declared type of a variable. `None` if there is none, or if it is `null`.
    fn declared_type(&mut self, variable: &VariableDecl<'_>) -> Result<Option<Type>, Failed> {
        match variable.ty {
            None => Ok(None),
            Some(expr) if matches!(&expr.kind, ExprKind::Literal(Value::Null(_))) => Ok(None),
            Some(expr) => type_of(expr).map(Some).map_err(|wrong| self.fail(wrong)),
        }
    }

    fn default(&mut self, expr: &'a Expr, ty: Option<&Type>) -> ValueResult {
        let value = self.expr(expr, &Scope::ROOT)?;
        let Some(ty) = ty else {
            return Ok(value);
        };
        convert(&value, ty).map_err(|error| {
            self.fail(
                problem(
                    "definition::type-mismatch",
                    format!("the default does not have the declared type {ty}: {error}"),
                )
                .at(expr.span, describe(&value)),
            )
        })
    }

    /// All variables with their values, in the order of their declaration. Variables whose evaluation failed are
    /// left out.
    pub(super) fn variable_infos(&mut self) -> Vec<VariableInfo> {
        let declarations = self.names.declarations;
        let mut infos = Vec::with_capacity(declarations.variables.len());
        for (name, variable) in &declarations.variables {
            let description = self.description(variable);
            let Some(slot) = self.named(name) else {
                continue;
            };
            let Ok(value) = self.slot(slot, None) else {
                continue;
            };
            let ty = match declarations.globals.get(name) {
                Some(_) => None,
                None => variable.ty.and_then(|expr| type_of(expr).ok()),
            };
            infos.push(VariableInfo {
                name: name.clone(),
                description,
                ty,
                value,
            });
        }
        infos
    }

    /// The text of `description`. It must not refer to anything, because descriptions are read before anything has
    /// a value.
    fn description(&mut self, variable: &'a VariableDecl<'a>) -> String {
        let Some(expr) = variable.description else {
            return String::new();
        };
        let mut refers = false;
        references(expr, &mut |_| refers = true);
        if refers {
            self.report(
                problem(
                    "definition::type-mismatch",
                    "a description must be plain text",
                )
                .at(expr.span, "a description cannot refer to anything"),
            );
            return String::new();
        }
        let frame = Frame::Part(
            "the description of variable",
            &variable.name.text,
            variable.name.span,
        );
        self.in_frame(frame, |evaluator| {
            let Ok(value) = evaluator.expr(expr, &Scope::ROOT) else {
                return String::new();
            };
            if let Ok(Value::String(text)) = convert(&value, &Type::String) {
                return text.to_string();
            }
            evaluator.fail(
                problem(
                    "definition::type-mismatch",
                    "a description must be plain text",
                )
                .at(expr.span, describe(&value)),
            );
            String::new()
        })
    }

    /// Checks the validations of all variables, and reports each that fails.
    pub(super) fn validate(&mut self) {
        let declarations = self.names.declarations;
        for variable in declarations.variables.values() {
            for validation in &variable.validations {
                let frame = Frame::Part(
                    "the validation of variable",
                    &variable.name.text,
                    variable.name.span,
                );
                self.in_frame(frame, |evaluator| {
                    // The failure has already been reported.
                    let _ = evaluator.validate_one(variable, validation);
                });
            }
        }
    }

    fn validate_one(
        &mut self,
        variable: &'a VariableDecl<'a>,
        validation: &'a ValidationDecl<'a>,
    ) -> Result<(), Failed> {
        let Some(condition) = validation.condition else {
            return Err(self.fail(
                problem(
                    "definition::invalid-validation",
                    "this validation has no `condition`",
                )
                .at(validation.span, "")
                .help("write `condition = …`, true for the values that are allowed"),
            ));
        };
        if self.condition(condition, &Scope::ROOT)? {
            return Ok(());
        }
        let message = match validation.error_message {
            Some(expr) => match self.expr(expr, &Scope::ROOT)? {
                Value::String(text) => Some(text.to_string()),
                _ => None,
            },
            None => None,
        };
        let name = &variable.name.text;
        // The message does not show the value, which may be a secret.
        Err(self.fail(
            problem(
                "definition::validation-failed",
                match message {
                    Some(message) => format!("`{name}` is not valid: {message}"),
                    None => format!("`{name}` is not valid: one of its conditions is not met"),
                },
            )
            .at(condition.span, "this is false"),
        ))
    }
}
