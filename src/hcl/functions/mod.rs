//! The function library: the functions that bake files may call.
//!
//! A table contains one entry for each function, with its parameters. [`Function::check_count`] and
//! [`Function::convert_argument`] check and convert the arguments before the function runs, so an implementation
//! only gets values of the declared types. `try`, `can` and `convert` take unevaluated arguments, so the evaluator
//! implements them ([`Implementation::Lazy`]). This module knows nothing of expressions. Start at [`lookup`]. To
//! add a function, add an entry to the `FUNCTIONS` of the file of its subject.

mod call;
mod collections;
mod comparison;
mod crypto;
mod encoding;
mod format;
mod lazy;
mod logarithm;
mod net;
mod numeric;
#[cfg(test)]
mod parity;
mod pattern;
mod regexes;
mod semver;
mod sets;
mod strings;
mod table;
#[cfg(test)]
pub(crate) mod test_support;
mod time;
mod uuids;

use std::cell::Cell;
use std::time::SystemTime;

pub(crate) use call::{FunctionCall, FunctionError};
pub use table::all;
pub(crate) use table::lookup;

use super::cty::convert::convert;
use super::cty::types::Type;
use super::cty::value::Value;

/// The largest text or buffer that a function makes, in bytes.
///
/// This is far more than a build argument can hold. A bake file that asks for more is mistaken or hostile.
pub(crate) const TEXT_LIMIT: usize = 16 << 20;

/// The most elements that a function puts into one collection.
pub(crate) const ELEMENTS_LIMIT: usize = 1 << 18;

/// What functions may know of the outside.
#[derive(Debug, Clone)]
pub(crate) struct FunctionContext {
    /// The time that `timestamp` returns.
    pub(crate) now: SystemTime,
    /// The user's home directory, for `homedir`.
    pub(crate) home: String,
    /// The work that calls did in addition to reading their arguments, in steps of evaluation. The evaluator takes
    /// it out after each call.
    pub(crate) work: Cell<u64>,
}

/// A library function.
#[derive(Debug)]
pub struct Function {
    /// The name by which bake files call it.
    pub name: &'static str,
    /// One sentence that says what the function returns. It appears in the documentation.
    pub description: &'static str,
    /// The parameters for the mandatory arguments.
    pub parameters: &'static [Parameter],
    /// The parameter for all further arguments; `None` if there may be none.
    pub variadic: Option<Parameter>,
    /// The implementation.
    pub(crate) body: Implementation,
}

/// The implementation of a function.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Implementation {
    /// It takes values. A failure is reported at the call or at one of its arguments.
    Eager(fn(&FunctionCall<'_>) -> Result<Value, FunctionError>),
    /// It takes expressions, so the evaluator implements it.
    Lazy(Lazy),
}

/// The functions that take expressions instead of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lazy {
    /// `try`: the value of the first argument that evaluates without an error.
    Try,
    /// `can`: whether the argument evaluates without an error.
    Can,
    /// `convert`: the first argument, converted to the type that the second one, a type expression, means.
    Convert,
}

/// A parameter of a function.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name in messages.
    pub name: &'static str,
    /// The type to which the argument is converted.
    pub(crate) kind: ParameterType,
    /// Whether the argument may be null.
    pub(crate) allow_null: bool,
}

/// The types of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParameterType {
    /// Any value, without conversion.
    Any,
    /// A string.
    String,
    /// A number.
    Number,
    /// A bool.
    Bool,
    /// Raw bytes.
    Bytes,
    /// A list with elements of any one type.
    List,
    /// A list of strings.
    ListOfString,
    /// A set with elements of any one type.
    Set,
}

impl ParameterType {
    /// The type to which arguments are converted.
    pub(crate) fn ty(self) -> Type {
        match self {
            Self::Any => Type::Dynamic,
            Self::String => Type::String,
            Self::Number => Type::Number,
            Self::Bool => Type::Bool,
            Self::Bytes => Type::Bytes,
            Self::List => Type::list(Type::Dynamic),
            Self::ListOfString => Type::list(Type::String),
            Self::Set => Type::set(Type::Dynamic),
        }
    }
}

impl Parameter {
    const fn new(name: &'static str, kind: ParameterType) -> Self {
        Self {
            name,
            kind,
            allow_null: false,
        }
    }

    const fn any(name: &'static str) -> Self {
        Self::new(name, ParameterType::Any)
    }

    const fn string(name: &'static str) -> Self {
        Self::new(name, ParameterType::String)
    }

    const fn number(name: &'static str) -> Self {
        Self::new(name, ParameterType::Number)
    }

    const fn bool(name: &'static str) -> Self {
        Self::new(name, ParameterType::Bool)
    }

    /// The same parameter, which also accepts null.
    const fn or_null(self) -> Self {
        Self {
            allow_null: true,
            ..self
        }
    }
}

impl Function {
    const fn new(
        name: &'static str,
        description: &'static str,
        parameters: &'static [Parameter],
        body: fn(&FunctionCall<'_>) -> Result<Value, FunctionError>,
    ) -> Self {
        Self {
            name,
            description,
            parameters,
            variadic: None,
            body: Implementation::Eager(body),
        }
    }

    /// The same function with any number of further arguments.
    const fn and_more(self, variadic: Parameter) -> Self {
        Self {
            variadic: Some(variadic),
            ..self
        }
    }

    /// The parameter of the argument at `place`, from 0. `None` if the function takes fewer arguments.
    pub(crate) fn parameter(&self, place: usize) -> Option<&Parameter> {
        self.parameters.get(place).or(self.variadic.as_ref())
    }

    /// Checks the number of arguments. The evaluator calls this before it uses the arguments.
    pub(crate) fn check_count(&self, given: usize) -> Result<(), FunctionError> {
        let wanted = self.parameters.len();
        if let Some(missing) = self.parameters.get(given) {
            let at_least = if self.variadic.is_some() {
                "at least "
            } else {
                ""
            };
            return Err(FunctionError::new(format!(
                "`{}` takes {at_least}{}, and `{}` is missing",
                self.name,
                arguments(wanted),
                missing.name
            )));
        }
        if self.variadic.is_none() && given > wanted {
            return Err(FunctionError::new(format!(
                "`{}` takes {}, not {given}",
                self.name,
                arguments(wanted)
            )));
        }
        Ok(())
    }

    /// Converts the argument at `place` to the type of its parameter, and refuses a null that the parameter does
    /// not accept. An argument without a parameter stays as it is.
    pub(crate) fn convert_argument(
        &self,
        place: usize,
        value: &Value,
    ) -> Result<Value, FunctionError> {
        let Some(parameter) = self.parameter(place) else {
            return Ok(value.clone());
        };
        let value = convert(value, &parameter.kind.ty())
            .map_err(|error| FunctionError::argument(place, error.to_string()))?;
        if value.is_null() && !parameter.allow_null {
            return Err(FunctionError::argument(place, "argument must not be null"));
        }
        Ok(value)
    }

    /// Checks and converts the arguments, and calls the function. An [`Implementation::Lazy`] function cannot be
    /// called with values, which is an error.
    #[cfg(test)]
    pub(crate) fn call(
        &self,
        context: &FunctionContext,
        arguments: &[Value],
    ) -> Result<Value, FunctionError> {
        self.check_count(arguments.len())?;
        let converted = arguments
            .iter()
            .enumerate()
            .map(|(place, value)| self.convert_argument(place, value))
            .collect::<Result<Vec<_>, _>>()?;
        self.call_converted(context, &converted)
    }

    /// Calls the function. `arguments` must be the results of [`Function::convert_argument`].
    pub(crate) fn call_converted(
        &self,
        context: &FunctionContext,
        arguments: &[Value],
    ) -> Result<Value, FunctionError> {
        match self.body {
            Implementation::Eager(body) => body(&FunctionCall::new(context, arguments)),
            Implementation::Lazy(_) => Err(FunctionError::new(format!(
                "`{}` takes expressions, not values",
                self.name
            ))),
        }
    }
}
/// Returns "1 argument", "2 arguments" and so on.
pub(crate) fn arguments(number: usize) -> String {
    match number {
        1 => "1 argument".to_owned(),
        number => format!("{number} arguments"),
    }
}
