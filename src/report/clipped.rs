//! What the user reads of a step whose output the builder has clipped.
//!
//! BuildKit leaves out what a step writes beyond a size, and beyond a speed (`util/progress/logs/logs.go`, v0.32). When the step fails, it
//! sends the last 256 KiB of each stream that it had left out; when the step succeeds, these are lost.

use super::text;

/// The most bytes of the builder's text for its limit.
const MAX_LIMIT: usize = 40;

/// What has happened. `limit` is in the words of the builder.
pub(super) fn note(limit: &str) -> String {
    let limit = text::clean_name(limit, MAX_LIMIT);
    format!(
        "the builder clipped the output of the step at its limit of {limit}; the last lines are those that it still has sent"
    )
}

/// How to get the whole output.
pub(super) fn help(limit: &str) -> String {
    let (variable, unit) = variable(limit);
    format!(
        "to see more, start buildkitd with a higher `{variable}` ({unit}) in its environment; `-1` lifts the limit"
    )
}

/// The environment variable of buildkitd that sets the limit, and its unit.
pub(super) fn variable(limit: &str) -> (&'static str, &'static str) {
    if limit.ends_with("/s") {
        ("BUILDKIT_STEP_LOG_MAX_SPEED", "bytes per second")
    } else {
        ("BUILDKIT_STEP_LOG_MAX_SIZE", "bytes")
    }
}
