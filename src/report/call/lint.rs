//! The answer to `lint`: what the frontend's checks found in a Dockerfile.

use std::fmt::Write as _;

use serde::Deserialize;

use super::AskedDockerfile;
use super::snippet::{AnswerLocation, AnswerSource};
use crate::report::annotations::{self, MAX_ANNOTATIONS};

/// The most text that is printed of one answer, in bytes. What is beyond it is counted.
const MAX_TEXT: usize = 8 << 20;

/// What the checks found.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LintResults {
    warnings: Option<Vec<LintWarning>>,
    sources: Option<Vec<AnswerSource>>,
    #[serde(rename = "buildError")]
    error: Option<LintError>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LintWarning {
    #[serde(rename = "ruleName")]
    rule: String,
    url: String,
    detail: String,
    location: Option<AnswerLocation>,
}

/// Why the Dockerfile cannot be built at all.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LintError {
    message: String,
    location: AnswerLocation,
}

impl LintWarning {
    /// The place of the warning and the index of its source. `None` if it is about no source.
    fn place(&self) -> Option<(usize, &AnswerLocation)> {
        let location = self.location.as_ref()?;
        Some((usize::try_from(location.source).ok()?, location))
    }
}

impl LintResults {
    fn warnings(&self) -> &[LintWarning] {
        self.warnings.as_deref().unwrap_or_default()
    }

    fn sources(&self) -> &[AnswerSource] {
        self.sources.as_deref().unwrap_or_default()
    }

    /// Whether there are no warnings.
    pub(super) fn is_clean(&self) -> bool {
        self.warnings().is_empty()
    }

    /// The line with the number of warnings. Empty if there are none.
    pub(super) fn head(&self) -> String {
        match self.warnings().len() {
            0 => String::new(),
            1 => "Check complete, 1 warning has been found!\n".to_owned(),
            count => format!("Check complete, {count} warnings have been found!\n"),
        }
    }

    /// Prints the warnings, in the order of their places. The Dockerfile is called `name`.
    ///
    /// # Errors
    /// A warning refers to a source that is not there.
    pub(super) fn print(&self, name: &str, text: &mut String) -> Result<(), String> {
        let sources = self.sources();
        let known = |warning: &LintWarning| {
            warning
                .place()
                .is_none_or(|(source, _)| source < sources.len())
        };
        if !self.warnings().iter().all(known) {
            return Err("sourceIndex is out of range".to_owned());
        }
        let sorted = self.sorted();
        let texts: Vec<String> = sources.iter().map(AnswerSource::text).collect();
        let lines: Vec<Vec<&str>> = texts
            .iter()
            .map(|text| text.split('\n').collect())
            .collect();
        for (at, warning) in sorted.iter().enumerate() {
            if text.len() > MAX_TEXT {
                let _ = write!(
                    text,
                    "\n{} more warnings are not shown\n",
                    sorted.len() - at
                );
                break;
            }
            let _ = write!(text, "\nWARNING: {}", warning.rule);
            if !warning.url.is_empty() {
                let _ = write!(text, " - {}", warning.url);
            }
            let _ = write!(text, "\n{}\n", warning.detail);
            if let Some((source, location)) = warning.place()
                && let Some(lines) = lines.get(source)
            {
                text.push_str(&location.snippet(name, lines));
            }
        }
        Ok(())
    }

    /// The warnings: first those without a source by their rules, then by file and line.
    fn sorted(&self) -> Vec<&LintWarning> {
        let sources = self.sources();
        let mut sorted: Vec<&LintWarning> = self.warnings().iter().collect();
        sorted.sort_by_key(|warning| {
            let Some((source, location)) = warning.place() else {
                return (None, None, warning.rule.as_str());
            };
            let file = sources.get(source).map(|source| source.filename.as_str());
            let line = location.first_line();
            let rule = if line.is_none() { &*warning.rule } else { "" };
            (Some(file), line, rule)
        });
        sorted
    }

    /// Why the Dockerfile cannot be built, with its place. `None` if it can.
    pub(super) fn error(&self, name: &str) -> Option<String> {
        let error = self.error.as_ref()?;
        let source = usize::try_from(error.location.source).ok();
        let source = source.and_then(|source| self.sources().get(source));
        let text = source.map(AnswerSource::text).unwrap_or_default();
        let lines: Vec<&str> = text.split('\n').collect();
        let snippet = match source {
            Some(_) => error.location.snippet(name, &lines),
            None => String::new(),
        };
        Some(format!("{}\n{snippet}", error.message))
    }

    /// The warnings and the error as annotations.
    pub(super) fn annotations(&self, dockerfile: AskedDockerfile<'_>) -> String {
        let mut text = String::new();
        let properties = |location: Option<&AnswerLocation>| {
            let mut properties = Vec::new();
            if let AskedDockerfile::File(path) = dockerfile
                && let Some((first, last)) = location.and_then(AnswerLocation::span)
            {
                properties.push(("file", path.to_owned()));
                properties.push(("line", first.to_string()));
                properties.push(("endLine", last.to_string()));
            }
            properties
        };
        if let Some(error) = &self.error {
            let properties = properties(Some(&error.location));
            annotations::command(&mut text, "error", &properties, &error.message);
        }
        for warning in self.sorted().into_iter().take(MAX_ANNOTATIONS) {
            let location = warning.place().map(|(_, location)| location);
            let message = format!("{}: {}\n{}", warning.rule, warning.detail, warning.url);
            annotations::command(&mut text, "warning", &properties(location), &message);
        }
        text
    }
}
