//! Calls functions in tests.

use std::time::{Duration, SystemTime};

use super::{FunctionContext, FunctionError, lookup};
use crate::hcl::cty::Value;
use crate::hcl::json::value as json;

/// Calls the function `name`, with a fixed time and home directory.
pub(crate) fn call(name: &str, arguments: &[Value]) -> Result<Value, FunctionError> {
    let context = FunctionContext {
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        home: "/home/user".into(),
        work: std::cell::Cell::default(),
    };
    lookup(name)
        .expect("the function exists")
        .call(&context, arguments)
}

/// Returns the result as JSON, or the error's message with the position of the wrong argument.
pub(crate) fn shown(result: Result<Value, FunctionError>) -> String {
    match result {
        Ok(value) => json::encode(&value).unwrap_or_else(|error| format!("error: {error}")),
        Err(FunctionError {
            argument: Some(place),
            message,
        }) => format!("error {place}: {message}"),
        Err(FunctionError { message, .. }) => format!("error: {message}"),
    }
}
