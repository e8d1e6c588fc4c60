//! The arguments of a call as an implementation sees them, and its errors.

use super::{FunctionContext, TEXT_LIMIT};
use crate::hcl::cty::{Number, Value};

/// A function refuses its arguments. The message is a fragment without the function's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct FunctionError {
    /// The position of the argument that is wrong, from 0. `None` if the call as a whole is wrong.
    pub(crate) argument: Option<usize>,
    /// The problem.
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

    /// An error of the argument at `place`, from 0.
    pub(crate) fn argument(place: usize, message: impl Into<String>) -> Self {
        Self {
            argument: Some(place),
            message: message.into(),
        }
    }
}

/// The converted arguments of one call, and what the function may know of the outside.
#[derive(Debug)]
pub(crate) struct FunctionCall<'a> {
    context: &'a FunctionContext,
    arguments: &'a [Value],
}

impl<'a> FunctionCall<'a> {
    pub(super) fn new(context: &'a FunctionContext, arguments: &'a [Value]) -> Self {
        Self { context, arguments }
    }

    /// What the function may know of the outside.
    pub(super) fn context(&self) -> &'a FunctionContext {
        self.context
    }

    /// Counts work that the function does in addition to reading its arguments, in steps of evaluation.
    pub(super) fn work(&self, steps: u64) {
        let work = &self.context.work;
        work.set(work.get().saturating_add(steps));
    }

    /// All arguments.
    pub(super) fn arguments(&self) -> &'a [Value] {
        self.arguments
    }

    /// The arguments from the position `from` on.
    pub(super) fn rest(&self, from: usize) -> &'a [Value] {
        self.arguments.get(from..).unwrap_or_default()
    }

    /// The argument at `place`. Null if there is none.
    pub(super) fn value(&self, place: usize) -> &'a Value {
        const NULL: &Value = &Value::null();
        self.arguments.get(place).unwrap_or(NULL)
    }

    /// The text of the string argument at `place`.
    pub(super) fn text(&self, place: usize) -> Result<&'a str, FunctionError> {
        self.value(place)
            .as_str()
            .ok_or_else(|| FunctionError::argument(place, "a string is required"))
    }

    /// The number argument at `place`.
    pub(super) fn number(&self, place: usize) -> Result<&'a Number, FunctionError> {
        self.value(place)
            .as_number()
            .ok_or_else(|| FunctionError::argument(place, "a number is required"))
    }

    /// The bool argument at `place`.
    pub(super) fn bool(&self, place: usize) -> Result<bool, FunctionError> {
        self.value(place)
            .as_bool()
            .ok_or_else(|| FunctionError::argument(place, "a bool is required"))
    }

    /// The number argument at `place`, which must be an integer of 64 bits.
    pub(super) fn integer(&self, place: usize) -> Result<i64, FunctionError> {
        self.number(place)?
            .to_i64()
            .ok_or_else(|| FunctionError::argument(place, not_an_integer()))
    }

    /// The elements of the list, set or tuple argument at `place`.
    pub(super) fn items(&self, place: usize) -> Result<&'a [Value], FunctionError> {
        self.value(place)
            .items()
            .ok_or_else(|| FunctionError::argument(place, "a list is required"))
    }
}

/// The message for a number that is not an integer of 64 bits.
pub(super) fn not_an_integer() -> String {
    format!(
        "value must be a whole number, between {} and {}",
        i64::MIN,
        i64::MAX
    )
}

/// Refuses a result of `bytes` bytes if that exceeds [`TEXT_LIMIT`]. Call this before making the result.
pub(super) fn check_text_size(bytes: usize) -> Result<(), FunctionError> {
    if bytes > TEXT_LIMIT {
        return Err(FunctionError::new(format!(
            "the result would be larger than {} MiB",
            TEXT_LIMIT >> 20
        )));
    }
    Ok(())
}
