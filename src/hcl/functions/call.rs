//! What an implementation sees of a call, and how it fails.

use super::{FunctionContext, TEXT_LIMIT};
use crate::hcl::cty::{Number, Value};

/// A function refused its arguments; the text is a fragment in the third person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct FunctionError {
    /// The place of the argument that is at fault, where one is.
    pub(crate) argument: Option<usize>,
    /// What is wrong.
    pub(crate) message: String,
}

impl FunctionError {
    /// An error of the call as a whole.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            argument: None,
            message: message.into(),
        }
    }

    /// An error of one argument.
    pub(crate) fn argument(place: usize, message: impl Into<String>) -> Self {
        Self {
            argument: Some(place),
            message: message.into(),
        }
    }
}

/// The arguments of one call, converted to what the function declares, and its surroundings.
#[derive(Debug)]
pub(crate) struct FunctionCall<'a> {
    context: &'a FunctionContext,
    arguments: &'a [Value],
}

impl<'a> FunctionCall<'a> {
    pub(super) fn new(context: &'a FunctionContext, arguments: &'a [Value]) -> Self {
        Self { context, arguments }
    }

    /// What the function may know of the world.
    pub(super) fn context(&self) -> &'a FunctionContext {
        self.context
    }

    /// Counts work beyond going through the arguments, in steps of evaluation.
    pub(super) fn work(&self, steps: u64) {
        let work = &self.context.work;
        work.set(work.get().saturating_add(steps));
    }

    /// All arguments.
    pub(super) fn arguments(&self) -> &'a [Value] {
        self.arguments
    }

    /// The arguments from a place on.
    pub(super) fn rest(&self, from: usize) -> &'a [Value] {
        self.arguments.get(from..).unwrap_or_default()
    }

    /// The argument at a place.
    pub(super) fn value(&self, place: usize) -> &'a Value {
        const NULL: &Value = &Value::null();
        self.arguments.get(place).unwrap_or(NULL)
    }

    /// The text of a string argument.
    pub(super) fn text(&self, place: usize) -> Result<&'a str, FunctionError> {
        self.value(place)
            .as_str()
            .ok_or_else(|| FunctionError::argument(place, "a string is required"))
    }

    /// A number argument.
    pub(super) fn number(&self, place: usize) -> Result<&'a Number, FunctionError> {
        self.value(place)
            .as_number()
            .ok_or_else(|| FunctionError::argument(place, "a number is required"))
    }

    /// A bool argument.
    pub(super) fn bool(&self, place: usize) -> Result<bool, FunctionError> {
        self.value(place)
            .as_bool()
            .ok_or_else(|| FunctionError::argument(place, "a bool is required"))
    }

    /// A number argument that must be a machine integer.
    pub(super) fn integer(&self, place: usize) -> Result<i64, FunctionError> {
        self.number(place)?
            .to_i64()
            .ok_or_else(|| FunctionError::argument(place, not_an_integer()))
    }

    /// The elements of a list, set or tuple argument.
    pub(super) fn items(&self, place: usize) -> Result<&'a [Value], FunctionError> {
        self.value(place)
            .items()
            .ok_or_else(|| FunctionError::argument(place, "a list is required"))
    }
}

/// What is wrong with a number that is not a machine integer.
pub(super) fn not_an_integer() -> String {
    format!(
        "value must be a whole number, between {} and {}",
        i64::MIN,
        i64::MAX
    )
}

/// Refuses a result of so many bytes if it is too large to make.
pub(super) fn check_text_size(bytes: usize) -> Result<(), FunctionError> {
    if bytes > TEXT_LIMIT {
        return Err(FunctionError::new(format!(
            "the result would be larger than {} MiB",
            TEXT_LIMIT >> 20
        )));
    }
    Ok(())
}
