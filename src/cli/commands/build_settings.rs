//! How the user wants targets to be built: flags, the environment and `rbake.toml`, in this order.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::cli::args::BakeArgs;
use crate::diag::{Class, Diagnostic};
use crate::golang::strconv::parse_bool;
use crate::golang::time::parse_duration;
use crate::publish::settings::{BuildSettings, parse_jobs};
use crate::run::{AfterFailure, BuildWishes};
use crate::types::Environment;
use crate::types::terminal::visible;

const JOBS_VARIABLE: &str = "RBAKE_JOBS";
const TIMEOUT_VARIABLE: &str = "RBAKE_TIMEOUT";
const KEEP_GOING_VARIABLE: &str = "RBAKE_KEEP_GOING";
const VERIFY_CONTEXT_VARIABLE: &str = "RBAKE_VERIFY_CONTEXT";

/// Puts the environment and flags over the settings of `file`.
///
/// # Errors
/// A flag or a variable has a value that is not valid.
pub(super) fn wishes(
    args: &BakeArgs,
    environment: &Environment,
    file: BuildSettings,
) -> Result<BuildWishes, Diagnostic> {
    Ok(BuildWishes {
        jobs: jobs(args, environment)?.or(file.jobs),
        after_failure: match boolean(args.keep_going, environment, KEEP_GOING_VARIABLE)?
            .or(file.keeps_going)
        {
            Some(true) => AfterFailure::KeepGoing,
            Some(false) | None => AfterFailure::StopAll,
        },
        verifies_context: boolean(args.verify_context, environment, VERIFY_CONTEXT_VARIABLE)?
            .or(file.verifies_context)
            .unwrap_or_default(),
        explains_placement: args.explain_placement == Some(true),
    })
}

/// The most targets that are solved at once, if a flag or the variable says so.
fn jobs(args: &BakeArgs, environment: &Environment) -> Result<Option<NonZeroU32>, Diagnostic> {
    let given = match &args.jobs {
        Some(text) => Some(("--jobs", text.as_str())),
        None => environment
            .non_empty(JOBS_VARIABLE)
            .map(|text| (JOBS_VARIABLE, text)),
    };
    let Some((place, text)) = given else {
        return Ok(None);
    };
    let parsed = parse_jobs(text.trim()).map_err(|expected| {
        let message = format!("`{place}` is `{}`; it must be {expected}", visible(text));
        Diagnostic::error(Class::Usage, "settings::invalid-value", message)
            .help("without a limit, all targets are solved at once")
    });
    parsed.map(Some)
}

/// The most time that the run may take, by the flag or else by the variable. `None` if there is no limit.
///
/// # Errors
/// It is not a duration in Go's form, or not positive.
pub(super) fn limit(
    args: &BakeArgs,
    environment: &Environment,
) -> Result<Option<Duration>, Diagnostic> {
    let given = match &args.timeout {
        Some(text) => Some(("--timeout", text.as_str())),
        None => environment
            .non_empty(TIMEOUT_VARIABLE)
            .map(|text| (TIMEOUT_VARIABLE, text)),
    };
    let Some((place, text)) = given else {
        return Ok(None);
    };
    let nanoseconds = parse_duration(text.trim()).ok();
    let nanoseconds = nanoseconds.and_then(|number| u64::try_from(number).ok());
    if let Some(number) = nanoseconds.filter(|number| *number > 0) {
        return Ok(Some(Duration::from_nanos(number)));
    }
    let message = format!(
        "`{place}` is `{}`; it must be a positive duration, such as `90s`, `10m` or `1h30m`",
        visible(text)
    );
    let code = "settings::invalid-value";
    Err(Diagnostic::error(Class::Usage, code, message))
}

/// The value of a flag, or else of `variable`. `None` if neither is given.
///
/// # Errors
/// The variable is not one of Go's spellings of a boolean.
pub(super) fn boolean(
    flag: Option<bool>,
    environment: &Environment,
    variable: &str,
) -> Result<Option<bool>, Diagnostic> {
    let (None, Some(text)) = (flag, environment.non_empty(variable)) else {
        return Ok(flag);
    };
    let value = parse_bool(text.trim()).ok_or_else(|| {
        let text = visible(text);
        let message = format!("`{variable}` is `{text}`, which is neither true nor false");
        Diagnostic::error(Class::Usage, "settings::invalid-value", message)
    })?;
    Ok(Some(value))
}
