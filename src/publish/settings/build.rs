//! `[build]`: how targets are built.

use std::num::NonZeroU32;

use toml_edit::TableLike;

use super::reader::Reader;
use crate::types::terminal::visible;

const KEYS: [&str; 3] = ["jobs", "keep-going", "verify-context"];

/// What a number of targets must be, as the end of a sentence.
const JOBS: &str = "a whole number of at least 1";

/// The settings of `[build]`. `None` for keys that it does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BuildSettings {
    /// The most targets that are solved at once.
    pub(crate) jobs: Option<NonZeroU32>,
    /// Whether other targets go on after one has failed.
    pub(crate) keeps_going: Option<bool>,
    /// Whether the contents of the files of contexts decide if the builder asks for them.
    pub(crate) verifies_context: Option<bool>,
}

impl BuildSettings {
    pub(super) fn read(table: &dyn TableLike, reader: &mut Reader) -> Self {
        reader.check_keys(table, "build.", &KEYS);
        Self {
            jobs: jobs(table, reader),
            keeps_going: reader.boolean(table, "build", "keep-going"),
            verifies_context: reader.boolean(table, "build", "verify-context"),
        }
    }
}

fn jobs(table: &dyn TableLike, reader: &mut Reader) -> Option<NonZeroU32> {
    let item = table.get("jobs")?;
    let Some(number) = item.as_integer() else {
        reader.wrong_type("build.jobs", "a number", item.type_name(), item.span());
        return None;
    };
    let found = parse_jobs(&number.to_string());
    if found.is_err() {
        let message = format!("`build.jobs` is {number}; it must be {JOBS}");
        let span = reader.span_of(table, "jobs");
        reader.invalid(&visible(&message), Some(span));
    }
    found.ok()
}

/// The number of targets that are solved at once.
///
/// # Errors
/// It is not such a number. Returns what it must be, as the end of a sentence.
pub(crate) fn parse_jobs(text: &str) -> Result<NonZeroU32, &'static str> {
    // `parse` accepts a leading `+`, which is a mistake here.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten();
    number.ok_or(JOBS)
}
