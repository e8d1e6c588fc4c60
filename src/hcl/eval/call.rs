//! Evaluates function calls: of library functions, of user-defined functions, and of the three functions that take
//! expressions.

use std::sync::Arc;

use super::evaluator::{Evaluator, Failed, ValueResult};
use super::expr::{ELEMENT_SIZE, describe, problem};
use super::namespace::Namespace;
use super::scope::Scope;
use super::type_expr::type_of;
use crate::diag::{Diagnostic, Span};
use crate::hcl::cty::Value;
use crate::hcl::cty::convert::convert;
use crate::hcl::eval::user_functions::UserFunction;
use crate::hcl::functions::{self, Function, FunctionError, Implementation, Lazy};
use crate::hcl::syntax::{Call, Expr};

impl<'a, N: Namespace<'a>> Evaluator<'a, N> {
    /// Evaluates a function call. Library functions take precedence over user-defined ones, as in buildx.
    pub(super) fn call(&mut self, call: &'a Call, span: Span, scope: &Scope<'_>) -> ValueResult {
        let name = &*call.name.text;
        if let Some(function) = functions::lookup(name) {
            return match function.body {
                Implementation::Lazy(lazy) => self.call_lazy(lazy, function, call, span, scope),
                Implementation::Eager(_) => self.call_library(function, call, span, scope),
            };
        }
        if let Some(function) = self.functions.get(name).map(Arc::clone) {
            self.call_user(&function, call, span, scope)
        } else {
            let unknown = self.unknown_function(&call.name.text, call.name.span);
            Err(self.fail(unknown))
        }
    }

    /// The problem of a call of a function that does not exist.
    pub(crate) fn unknown_function(&self, name: &str, at: Span) -> Diagnostic {
        problem(
            "definition::unknown-function",
            format!("there is no function `{name}`"),
        )
        .at(at, "not defined")
        .similar(
            "a function",
            name,
            functions::all()
                .map(|function| function.name)
                .chain(self.functions.names()),
        )
    }

    /// Calls a library function with values. All arguments are evaluated and converted first, so that all their
    /// problems are reported together. The cost of the call is counted afterwards, when it is known.
    fn call_library(
        &mut self,
        function: &Function,
        call: &'a Call,
        span: Span,
        scope: &Scope<'_>,
    ) -> ValueResult {
        let arguments = self.arguments(call, scope)?;
        if let Err(error) = function.check_count(arguments.values.len()) {
            let at = arguments.surplus(function.parameters.len(), function.variadic.is_some());
            return Err(self.call_failed(call, &error, at.unwrap_or(span)));
        }
        let mut failed = arguments.failed;
        let mut places: Vec<Span> = Vec::with_capacity(arguments.values.len());
        let mut values: Vec<Value> = Vec::with_capacity(arguments.values.len());
        for (place, (value, at)) in arguments.values.iter().enumerate() {
            places.push(*at);
            let Ok(value) = value else { continue };
            match function.convert_argument(place, value) {
                Ok(converted) => values.push(converted),
                Err(error) => {
                    let parameter = function.parameter(place).map_or("", |p| p.name);
                    self.fail(
                        problem(
                            "definition::invalid-argument",
                            format!(
                                "`{}` does not accept this as `{parameter}`: {}",
                                function.name, error.message
                            ),
                        )
                        .at(*at, describe(value)),
                    );
                    failed = true;
                }
            }
        }
        if failed {
            return Err(Failed::UNTYPED);
        }
        let outcome = function.call_converted(&self.function_context, &values);
        let bytes = values.iter().map(|value| value.extent().weight);
        let bytes = bytes.fold(0, u64::saturating_add);
        let steps = self.function_context.work.take();
        if let Err(problem) = self.budget.work(bytes, steps) {
            self.exhausted(problem, Some(span));
            return Err(Failed::UNTYPED);
        }
        match outcome {
            Ok(value) => {
                let size = match &value {
                    Value::String(text) => text.len(),
                    other => other.len().unwrap_or(1) * ELEMENT_SIZE,
                };
                self.produce(size, span)?;
                self.made(value, span)
            }
            Err(error) => {
                let at = error
                    .argument
                    .and_then(|place| places.get(place).copied())
                    .unwrap_or(span);
                Err(self.call_failed(call, &error, at))
            }
        }
    }

    fn call_failed(&mut self, call: &Call, error: &FunctionError, at: Span) -> Failed {
        self.fail(
            problem(
                "definition::function-failed",
                format!("`{}` failed: {}", call.name.text, error.message),
            )
            .at(at, ""),
        )
    }

    /// Evaluates the arguments. Returns each value with its position; the elements of an argument with `...` all
    /// have that argument's position.
    fn arguments(&mut self, call: &'a Call, scope: &Scope<'_>) -> Result<Arguments, Failed> {
        let mut arguments = Arguments {
            values: Vec::with_capacity(call.arguments.len()),
            failed: false,
        };
        let (plain, expanded) = match call.arguments.split_last() {
            Some((last, plain)) if call.expand_last => (plain, Some(last)),
            _ => (&*call.arguments, None),
        };
        for argument in plain {
            let value = self.expr(argument, scope);
            arguments.push(value, argument.span);
        }
        let Some(expanded) = expanded else {
            return Ok(arguments);
        };
        for value in self.expanded(expanded, scope)? {
            arguments.push(Ok(value), expanded.span);
        }
        Ok(arguments)
    }

    /// Evaluates an argument that is followed by `...`, and returns its elements.
    fn expanded(&mut self, argument: &'a Expr, scope: &Scope<'_>) -> Result<Vec<Value>, Failed> {
        let value = self.expr(argument, scope)?;
        let Some(items) = value.items() else {
            let (code, why) = if value.is_null() {
                ("definition::null-value", "must not be null")
            } else {
                ("definition::type-mismatch", "must be a list, set or tuple")
            };
            return Err(self.fail(
                problem(code, format!("the argument before `...` {why}"))
                    .at(argument.span, describe(&value)),
            ));
        };
        self.produce(items.len() * ELEMENT_SIZE, argument.span)?;
        Ok(items.to_vec())
    }

    /// Calls a user-defined function. As in buildx, an argument must not be null. The body sees the parameters and
    /// the definition's own names, but not the names around the call.
    fn call_user(
        &mut self,
        function: &UserFunction<'a>,
        call: &'a Call,
        span: Span,
        scope: &Scope<'_>,
    ) -> ValueResult {
        // Its declaration is invalid, which has been reported.
        let Some(result) = function.result else {
            return Err(Failed::UNTYPED);
        };
        let arguments = self.arguments(call, scope)?;
        let wanted = function.params.len();
        let given = arguments.values.len();
        let at_least = if function.variadic.is_some() {
            "at least "
        } else {
            ""
        };
        if given < wanted || (given > wanted && function.variadic.is_none()) {
            let at = arguments
                .surplus(wanted, function.variadic.is_some())
                .unwrap_or(span);
            let missing = match function.params.get(given) {
                Some(param) => format!(", and `{param}` is missing"),
                None => format!(", not {given}"),
            };
            return Err(self.fail(
                problem(
                    "definition::function-failed",
                    format!(
                        "`{}` takes {at_least}{}{missing}",
                        call.name.text,
                        functions::arguments(wanted)
                    ),
                )
                .at(at, "")
                .context(function.span, "defined here"),
            ));
        }
        let mut failed = arguments.failed;
        for (place, (value, at)) in arguments.values.iter().enumerate() {
            if value.as_ref().is_ok_and(Value::is_null) {
                let parameter = function.params.get(place).or(function.variadic.as_ref());
                self.fail(
                    problem(
                        "definition::null-value",
                        format!(
                            "`{}` does not accept null as `{}`",
                            call.name.text,
                            parameter.map_or("", |name| &**name)
                        ),
                    )
                    .at(*at, "this is null")
                    .context(function.span, "defined here"),
                );
                failed = true;
            }
        }
        if failed {
            return Err(Failed::UNTYPED);
        }
        let mut values = arguments
            .values
            .into_iter()
            .filter_map(|(value, _)| value.ok());
        let mut names: Vec<(Arc<str>, Value)> = Vec::with_capacity(wanted + 1);
        names.extend(function.params.iter().map(Arc::clone).zip(values.by_ref()));
        if let Some(variadic) = &function.variadic {
            names.push((Arc::clone(variadic), Value::tuple(values.collect())));
        }
        self.in_call(&call.name.text, call.name.span, |evaluator| {
            evaluator.expr(result, &Scope::of(&names))
        })
    }

    fn call_lazy(
        &mut self,
        lazy: Lazy,
        function: &Function,
        call: &'a Call,
        span: Span,
        scope: &Scope<'_>,
    ) -> ValueResult {
        // An argument with `...` has to be evaluated to know its elements, so its elements are never lazy.
        let (arguments, expanded) = match call.arguments.split_last() {
            Some((last, plain)) if call.expand_last => (plain, self.expanded(last, scope)?),
            _ => (&*call.arguments, Vec::new()),
        };
        if let Err(error) = function.check_count(arguments.len() + expanded.len()) {
            return Err(self.call_failed(call, &error, span));
        }
        match (lazy, arguments) {
            (Lazy::Try, arguments) => self.first_that_works(arguments, expanded, span, scope),
            (Lazy::Can, []) => Ok(Value::Bool(true)),
            (Lazy::Can, [argument, ..]) => {
                let (outcome, _) = self.attempt(|evaluator| evaluator.expr(argument, scope));
                Ok(Value::Bool(outcome.is_ok()))
            }
            (Lazy::Convert, [value, ty, ..]) => {
                let value = self.expr(value, scope);
                let ty = match type_of(ty) {
                    Ok(ty) => ty,
                    Err(wrong) => return Err(self.fail(wrong)),
                };
                let value = value?;
                // buildx accepts `optional` in this type, but still requires the attribute.
                convert(&value, &ty.without_optional()).map_err(|error| {
                    self.fail(
                        problem(
                            "definition::type-mismatch",
                            format!("this value cannot be converted to {ty}: {error}"),
                        )
                        .at(arguments[0].span, describe(&value)),
                    )
                })
            }
            (Lazy::Convert, _) => Err(self.fail(
                problem(
                    "definition::function-failed",
                    "`convert` takes a type, so `...` cannot be used",
                )
                .at(span, ""),
            )),
        }
    }

    /// Evaluates `try`: the first argument without an error. If all fail, the message shows the first problem of
    /// each.
    fn first_that_works(
        &mut self,
        arguments: &'a [Expr],
        expanded: Vec<Value>,
        span: Span,
        scope: &Scope<'_>,
    ) -> ValueResult {
        let mut failure = problem(
            "definition::function-failed",
            "all arguments of `try` failed",
        )
        .at(span, "");
        for argument in arguments {
            let (outcome, problems) = self.attempt(|evaluator| evaluator.expr(argument, scope));
            match outcome {
                Ok(value) => return Ok(value),
                Err(_) => {
                    if let Some(first) = problems.first() {
                        failure = failure.context(argument.span, first.message.clone());
                    }
                }
            }
        }
        match expanded.into_iter().next() {
            Some(value) => Ok(value),
            None => Err(self.fail(failure)),
        }
    }
}

struct Arguments {
    values: Vec<(ValueResult, Span)>,
    failed: bool,
}

impl Arguments {
    fn push(&mut self, value: ValueResult, at: Span) {
        self.failed |= value.is_err();
        self.values.push((value, at));
    }

    /// The position of the first argument that exceeds `wanted`. `None` if there is none or the function is
    /// variadic.
    fn surplus(&self, wanted: usize, variadic: bool) -> Option<Span> {
        if variadic {
            return None;
        }
        self.values.get(wanted).map(|(_, at)| *at)
    }
}
