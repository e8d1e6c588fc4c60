//! The function library: the 106 functions that bake files may call.
//!
//! One table entry per function says what it takes; [`Function::call`] counts, converts and checks the arguments and then
//! runs it, so that an implementation sees values of the declared types only. `try`, `can` and `convert` need their
//! arguments unevaluated and are left to the evaluator ([`Implementation::Lazy`]). Knows nothing of expressions. Start at
//! [`lookup`]; to add a function, add an entry to the `FUNCTIONS` of the file of its theme.

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

/// The largest text or buffer a function makes, in bytes.
///
/// Far beyond what a build argument can be; a bake file that asks for more is mistaken or hostile.
pub(crate) const TEXT_LIMIT: usize = 16 << 20;

/// The most elements a function puts into one collection.
pub(crate) const ELEMENTS_LIMIT: usize = 1 << 18;

/// What functions may know of the world around the bake file.
#[derive(Debug, Clone)]
pub(crate) struct FunctionContext {
    /// The time that `timestamp` returns.
    pub(crate) now: SystemTime,
    /// The user's home directory, for `homedir`.
    pub(crate) home: String,
    /// What calls did beyond going through their arguments, in steps of evaluation; whoever counts takes it out.
    pub(crate) work: Cell<u64>,
}

/// A function of the library.
#[derive(Debug)]
pub struct Function {
    /// The name it is called by.
    pub name: &'static str,
    /// One sentence on what it returns.
    pub description: &'static str,
    /// The arguments that must be given.
    pub parameters: &'static [Parameter],
    /// What any further arguments are; none where there may be none.
    pub variadic: Option<Parameter>,
    /// What it does.
    pub(crate) body: Implementation,
}

/// What a function does when it is called.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Implementation {
    /// It takes values.
    Eager(fn(&FunctionCall<'_>) -> Result<Value, FunctionError>),
    /// It takes expressions, so the evaluator does its work.
    Lazy(Lazy),
}

/// The functions that take expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lazy {
    /// The first of its arguments that evaluates without an error.
    Try,
    /// Whether its argument evaluates without an error.
    Can,
    /// Its first argument converted to the type that its second, a type expression, denotes.
    Convert,
}

/// What one argument of a function must be.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// The name used in messages.
    pub name: &'static str,
    /// The type that the argument is converted to.
    pub(crate) kind: ParameterType,
    /// Whether a null is taken.
    pub(crate) allow_null: bool,
}

/// The types that parameters have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParameterType {
    /// Any value as it is.
    Any,
    /// A string.
    String,
    /// A number.
    Number,
    /// A bool.
    Bool,
    /// Raw bytes.
    Bytes,
    /// A list of any one type.
    List,
    /// A list of strings.
    ListOfString,
    /// A set of any one type.
    Set,
}

impl ParameterType {
    /// The type that arguments are converted to.
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

    /// The same parameter, taking nulls too.
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

    /// The same function, taking any number of further arguments.
    const fn and_more(self, variadic: Parameter) -> Self {
        Self {
            variadic: Some(variadic),
            ..self
        }
    }

    /// What the argument at a place is, none where the function takes fewer.
    pub(crate) fn parameter(&self, place: usize) -> Option<&Parameter> {
        self.parameters.get(place).or(self.variadic.as_ref())
    }

    /// Whether the function can be called with so many arguments; to be asked before any is evaluated.
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

    /// The argument at a place as its parameter wants it.
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

    /// Calls the function with any values.
    ///
    /// An [`Implementation::Lazy`] function cannot be called with values and says so.
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

    /// Calls the function with values that [`Function::convert_argument`] made of the arguments.
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
/// "1 argument", "2 arguments".
pub(crate) fn arguments(number: usize) -> String {
    match number {
        1 => "1 argument".to_owned(),
        number => format!("{number} arguments"),
    }
}
