//! Evaluates operators.

use super::evaluator::{Evaluator, Failed, ValueResult};
use super::expr::{describe, problem};
use super::namespace::Namespace;
use super::scope::Scope;
use crate::diag::Span;
use crate::hcl::cty::convert::{Safety, convert, converts};
use crate::hcl::cty::number::{NotANumber, Number};
use crate::hcl::cty::{Type, Value};
use crate::hcl::syntax::{Binary, BinaryOperator, Expr, Unary, UnaryOperator};

impl<'a, N: Namespace<'a>> Evaluator<'a, N> {
    /// Evaluates an operation on one operand.
    pub(super) fn unary(&mut self, unary: &'a Unary, span: Span, scope: &Scope<'_>) -> ValueResult {
        let ty = match unary.operator {
            UnaryOperator::Negate => Type::Number,
            UnaryOperator::Not => Type::Bool,
        };
        let outcome = self
            .expr(&unary.operand, scope)
            .and_then(|value| self.operand(&value, &ty, &unary.operand))
            .and_then(|value| match value {
                Value::Number(number) => Ok(Value::Number(number.negate())),
                Value::Bool(value) => Ok(Value::Bool(!value)),
                _ => Err(self.null_operand(unary.operand.span, span)),
            });
        outcome.map_err(|_| Failed::of(ty))
    }

    /// Evaluates an operation on two operands.
    pub(super) fn binary(
        &mut self,
        binary: &'a Binary,
        span: Span,
        scope: &Scope<'_>,
    ) -> ValueResult {
        use BinaryOperator as Op;
        let result = match binary.operator {
            Op::And | Op::Or => self.logic(binary, span, scope).map(Value::Bool),
            Op::Equal | Op::NotEqual => self.equality(binary, scope).map(Value::Bool),
            Op::Greater | Op::GreaterOrEqual | Op::Less | Op::LessOrEqual => {
                self.comparison(binary, span, scope).map(Value::Bool)
            }
            Op::Add | Op::Subtract | Op::Multiply | Op::Divide | Op::Modulo => {
                return self
                    .arithmetic(binary, span, scope)
                    .map(Value::Number)
                    .map_err(|_| Failed::of(Type::Number));
            }
        };
        result.map_err(|_| Failed::of(Type::Bool))
    }

    /// Converts `value`, the value of `expr`, to an operand of type `ty`. A null stays a null.
    fn operand(&mut self, value: &Value, ty: &Type, expr: &Expr) -> ValueResult {
        convert(value, ty).map_err(|error| {
            self.fail(
                problem(
                    "definition::type-mismatch",
                    format!("this operand has the wrong type: {error}"),
                )
                .at(expr.span, describe(value)),
            )
        })
    }

    fn null_operand(&mut self, operand: Span, span: Span) -> Failed {
        let at = if operand == span { span } else { operand };
        self.fail(
            problem("definition::null-value", "an operand must not be null").at(at, "this is null"),
        )
    }

    /// Evaluates `&&` and `||`. Both operands are evaluated and must be of the right type. If one of them decides
    /// the result, the problems of the other are discarded.
    fn logic(&mut self, binary: &'a Binary, span: Span, scope: &Scope<'_>) -> Result<bool, Failed> {
        let (left, left_problems) = self.attempt(|e| e.expr(&binary.left, scope));
        let (right, right_problems) = self.attempt(|e| e.expr(&binary.right, scope));
        let mut fits = true;
        let mut as_bool = |evaluator: &mut Self, outcome: ValueResult, expr: &'a Expr| match outcome
        {
            Ok(value) => {
                let operand = evaluator.operand(&value, &Type::Bool, expr).ok();
                fits &= operand.is_some();
                operand
            }
            // The type of a failed operand may be known, and may not be convertible to bool.
            Err(failed) => {
                let ty = failed.ty();
                fits &= matches!(ty, Type::Dynamic | Type::Bool)
                    || converts(&ty, &Type::Bool, Safety::Unsafe);
                None
            }
        };
        let left = as_bool(self, left, &binary.left);
        let right = as_bool(self, right, &binary.right);
        if !fits {
            self.restore(left_problems);
            self.restore(right_problems);
            return Err(Failed::UNTYPED);
        }
        // As in HCL, a null operand of `&&` counts as false, and false decides: `null && true` is `false`. A null
        // operand of `||` decides nothing.
        let decisive = binary.operator == BinaryOperator::Or;
        let decides = |operand: &Option<Value>| match operand {
            Some(value) => (value.as_bool() == Some(true)) == decisive,
            None => false,
        };
        if decides(&left) {
            self.restore(left_problems);
            return Ok(decisive);
        }
        if decides(&right) {
            self.restore(right_problems);
            return Ok(decisive);
        }
        self.restore(left_problems);
        self.restore(right_problems);
        match (left, right) {
            (Some(Value::Bool(_)), Some(Value::Bool(_))) => Ok(!decisive),
            (Some(Value::Null(_)), Some(_)) => Err(self.null_operand(binary.left.span, span)),
            (Some(_), Some(Value::Null(_))) => Err(self.null_operand(binary.right.span, span)),
            _ => Err(Failed::UNTYPED),
        }
    }

    fn equality(&mut self, binary: &'a Binary, scope: &Scope<'_>) -> Result<bool, Failed> {
        let left = self.expr(&binary.left, scope);
        let right = self.expr(&binary.right, scope);
        let equal = left?.equals(&right?);
        Ok(equal == (binary.operator == BinaryOperator::Equal))
    }

    fn numbers(
        &mut self,
        binary: &'a Binary,
        span: Span,
        scope: &Scope<'_>,
    ) -> Result<(Number, Number), Failed> {
        let left = self.number_operand(&binary.left, span, scope);
        let right = self.number_operand(&binary.right, span, scope);
        Ok((left?, right?))
    }

    fn number_operand(
        &mut self,
        expr: &'a Expr,
        span: Span,
        scope: &Scope<'_>,
    ) -> Result<Number, Failed> {
        let value = self.expr(expr, scope)?;
        match self.operand(&value, &Type::Number, expr)? {
            Value::Number(number) => Ok(number),
            _ => Err(self.null_operand(expr.span, span)),
        }
    }

    fn comparison(
        &mut self,
        binary: &'a Binary,
        span: Span,
        scope: &Scope<'_>,
    ) -> Result<bool, Failed> {
        let (left, right) = self.numbers(binary, span, scope)?;
        let order = left.cmp(&right);
        Ok(match binary.operator {
            BinaryOperator::Greater => order.is_gt(),
            BinaryOperator::GreaterOrEqual => order.is_ge(),
            BinaryOperator::Less => order.is_lt(),
            _ => order.is_le(),
        })
    }

    fn arithmetic(
        &mut self,
        binary: &'a Binary,
        span: Span,
        scope: &Scope<'_>,
    ) -> Result<Number, Failed> {
        let (left, right) = self.numbers(binary, span, scope)?;
        let result = match binary.operator {
            BinaryOperator::Add => left.add(&right),
            BinaryOperator::Subtract => left.subtract(&right),
            BinaryOperator::Multiply => left.multiply(&right),
            BinaryOperator::Divide => left.divide(&right),
            _ => left.modulo(&right),
        };
        result.map_err(|error: NotANumber| {
            let failure = problem("definition::not-a-number", error.to_string()).at(span, "");
            self.fail(failure.help("test the operands first, as in `x == 0 ? … : n / x`"))
        })
    }
}
