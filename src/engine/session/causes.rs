//! An error in one line, for the daemon: it hands our messages on as text.

use std::error::Error;

/// The message of `error` followed by those of its causes.
pub(super) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
