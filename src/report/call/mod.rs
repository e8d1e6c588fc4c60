//! Prints the answer of a frontend that was asked something instead of to build (`--call`), as buildx does.
//!
//! The answer comes from the frontend, which may be any image, and quotes the Dockerfile: its size and shape are not
//! trusted, and the caller must make its control characters harmless. Start at [`answer()`].

mod lint;
mod snippet;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lint::LintResults;
use serde::de::DeserializeOwned;

/// The version of the answers that this module can print. The frontend sends newer ones as text, too.
const VERSION: &str = "1.0.0";

/// The metadata of a result that holds an answer. The keys are those of `BuildKit`'s `frontend/subrequests`.
const JSON: &str = "result.json";
const TEXT: &str = "result.txt";
const STATUS: &str = "result.statuscode";
const ANSWER_VERSION: &str = "version";

/// What the frontend of a target was asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    /// The method, such as `lint`.
    pub(crate) method: &'a str,
    /// The form of the answer that the user wants, such as `json`.
    pub(crate) format: Option<&'a str>,
    /// Whether the status that the frontend reports is ignored.
    pub(crate) ignores_status: bool,
    /// The Dockerfile that the answer is about.
    pub(crate) dockerfile: AskedDockerfile<'a>,
}

/// The Dockerfile that an answer is about. The frontend knows it by another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AskedDockerfile<'a> {
    /// A file of the user, by its path.
    File(&'a str),
    /// A text that is not in a file of the user, by a name for messages.
    Elsewhere(&'a str),
}

impl<'a> AskedDockerfile<'a> {
    const fn name(self) -> &'a str {
        match self {
            Self::File(name) | Self::Elsewhere(name) => name,
        }
    }
}

/// The answer to a question.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// What is printed: text with a final line break, or JSON.
    pub(crate) text: String,
    /// What the frontend found to be wrong, or why its answer cannot be printed. May have several lines.
    pub(crate) problem: Option<String>,
    /// The status that the frontend reports, if it is not 0.
    pub(crate) status: Option<i32>,
    /// Annotations for a pull request, as workflow commands of GitHub.
    pub(crate) annotations: String,
}

/// Prints the answer in `response`, the metadata that the frontend sent.
pub(crate) fn answer(question: &Question<'_>, response: &BTreeMap<String, String>) -> Answer {
    let mut answer = Answer::default();
    match print(question, response, &mut answer) {
        Ok(()) if !question.ignores_status => {
            let status = response.get(STATUS).and_then(|text| text.parse().ok());
            answer.status = status.filter(|status| *status != 0);
        }
        Ok(()) => {}
        Err(problem) => answer.problem = Some(problem),
    }
    answer
}

/// Prints into `answer`. The error is for users.
fn print(
    question: &Question<'_>,
    response: &BTreeMap<String, String>,
    answer: &mut Answer,
) -> Result<(), String> {
    let json = response.get(JSON).map_or("", String::as_str);
    let text = &mut answer.text;
    let printer: fn(&str) -> Result<String, String> = match question.method {
        "outline" => |json| read(json).map(|outline| table::outline(&outline)),
        "targets" => |json| read(json).map(|targets| table::targets(&targets)),
        "subrequests.describe" => {
            |json| read(json).map(|methods: Vec<_>| table::requests(&methods))
        }
        "lint" => {
            let results = if json.is_empty() {
                LintResults::default()
            } else {
                read(json)?
            };
            answer.annotations = results.annotations(question.dockerfile);
            return print_lint(question, response, &results, text);
        }
        _ => {
            print_unknown(question, response, text);
            return Ok(());
        }
    };
    if is_json(question) {
        text.push_str(json);
        text.push('\n');
        return Ok(());
    }
    match newer_text(response) {
        Some(newer) => text.push_str(newer),
        None => text.push_str(&printer(json)?),
    }
    Ok(())
}

fn print_lint(
    question: &Question<'_>,
    response: &BTreeMap<String, String>,
    results: &LintResults,
    text: &mut String,
) -> Result<(), String> {
    let json = response.get(JSON).map_or("", String::as_str);
    let name = question.dockerfile.name();
    if is_json(question) {
        text.push_str(json);
        text.push('\n');
    } else {
        text.push_str(&results.head());
        match newer_text(response) {
            Some(newer) => text.push_str(newer),
            None => results.print(name, text)?,
        }
    }
    if let Some(error) = results.error(name) {
        if !is_json(question) && !results.is_clean() {
            text.push('\n');
        }
        return Err(error);
    }
    if !is_json(question) && results.is_clean() {
        text.push_str("Check complete, no warnings found.\n");
    }
    Ok(())
}

/// Prints the answer to a method that only the frontend knows: its own text, or else all that it sent.
fn print_unknown(question: &Question<'_>, response: &BTreeMap<String, String>, text: &mut String) {
    if let Some(json) = response.get(JSON).filter(|_| is_json(question)) {
        text.push_str(json);
        text.push('\n');
    } else if let Some(own) = response.get(TEXT) {
        text.push_str(own);
    } else {
        // Writing to a string cannot fail.
        let _ = write!(text, "Name:{:?}", question.method);
        if let Some(format) = question.format.filter(|format| !format.is_empty()) {
            let _ = write!(text, " Format:{format:?}");
        }
        if question.ignores_status {
            text.push_str(" IgnoreStatus:true");
        }
        let fields: Vec<String> = response
            .iter()
            .map(|(key, value)| format!("{key}:{value}"))
            .collect();
        let _ = writeln!(text, " map[{}]", fields.join(" "));
    }
}

fn is_json(question: &Question<'_>) -> bool {
    question.format == Some("json")
}

/// The text of an answer that is too new for this module. `None` if the answer is not, or has no text.
fn newer_text(response: &BTreeMap<String, String>) -> Option<&str> {
    let version = response.get(ANSWER_VERSION)?;
    let text = response.get(TEXT).filter(|text| !text.is_empty())?;
    is_newer(version, VERSION).then_some(text)
}

/// Whether the version `a` is newer than `b`. A part that is not a number counts as 0, as in buildx.
fn is_newer(a: &str, b: &str) -> bool {
    let parts = |version: &str| -> Vec<u64> {
        let mut parts: Vec<u64> = version
            .split('.')
            .map(|part| part.parse().unwrap_or(0))
            .collect();
        while parts.last() == Some(&0) {
            parts.pop();
        }
        parts
    };
    parts(a) > parts(b)
}

/// Reads an answer in JSON.
fn read<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    serde_json::from_str(json)
        .map_err(|error| format!("the answer of the frontend cannot be read: {error}"))
}
