//! What is told to the user about a problem: code, message, labelled source spans, notes, help.
//!
//! Knows nothing of where a problem comes from. [`Diagnostic`] is data; [`render()`] draws it, [`to_json`] is for machines.

mod excerpt;
mod json;
mod render;
mod source;
mod span;

pub use json::to_json;
pub use render::{Style, render, render_all};
pub use source::{SourceFile, SourceId, SourceMap};
pub use span::{Span, Spanned};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The command cannot do what was asked.
    Error,
    /// The command goes on; the user should know.
    Warning,
    /// For information.
    Note,
}

/// The kind of failure, which decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The command line is wrong.
    Usage,
    /// A definition or the plan made of it is wrong.
    Definition,
    /// The builder cannot be reached or was lost.
    Engine,
    /// A target failed to build.
    Build,
    /// Images were built, but publishing failed.
    Publish,
    /// A defect of rbake.
    Internal,
}

/// A piece of source text with words about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What to say there; may be empty.
    pub text: String,
    /// Whether this is the place the problem is at, rather than a place that explains it.
    pub primary: bool,
}

/// A problem, as it is told to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Stable code such as `plan::unknown-target`, indexed in the documentation.
    pub code: &'static str,
    /// One sentence, lower case, without a final stop, names in backticks.
    pub message: String,
    /// The source places it is about; the first primary one is shown as its position.
    pub labels: Vec<Label>,
    /// Further facts, one line each.
    pub notes: Vec<String>,
    /// The likely ways out, one line each.
    pub help: Vec<String>,
    /// The kind of failure.
    pub class: Class,
}

impl Diagnostic {
    /// An error with `code` and `message`.
    pub fn error(class: Class, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            labels: Vec::new(),
            notes: Vec::new(),
            help: Vec::new(),
            class,
        }
    }

    /// A warning with `code` and `message`.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(Class::Definition, code, message)
        }
    }

    /// Adds the place the problem is at.
    #[must_use]
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            span,
            text: text.into(),
            primary: true,
        });
        self
    }

    /// Adds a place that explains the problem.
    #[must_use]
    pub fn context(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            span,
            text: text.into(),
            primary: false,
        });
        self
    }

    /// Adds a further fact.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Adds a way out.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    /// Adds "a … with a similar name exists" where one of `candidates` is close to `wanted`.
    #[must_use]
    pub fn did_you_mean<'a>(
        self,
        what: &str,
        wanted: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        match closest(wanted, candidates) {
            Some(name) => self.help(format!("{what} with a similar name exists: `{name}`")),
            None => self,
        }
    }
}

/// All problems that were found; never empty when used as an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Adds one more.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Whether one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|d| d.severity == Severity::Error)
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

/// The candidate that is most like `wanted`, if one is like it enough to be a slip of the hand.
pub fn closest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (wanted.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter(|candidate| *candidate != wanted)
        .map(|candidate| (distance(wanted, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

// Levenshtein distance over characters, with `-` and `_` and case counted as equal.
fn distance(a: &str, b: &str) -> usize {
    let fold = |c: char| {
        if c == '_' {
            '-'
        } else {
            c.to_ascii_lowercase()
        }
    };
    let b: Vec<char> = b.chars().map(fold).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().map(fold).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        assert_eq!(closest("web-app", ["webapp", "db"]), Some("webapp"));
        assert_eq!(closest("celry", ["celery", "celerybeat"]), Some("celery"));
        assert_eq!(closest("xyz", ["web", "db"]), None);
    }
}
