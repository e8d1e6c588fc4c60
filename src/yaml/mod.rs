//! Parses YAML to a tree of values that remember their places. It follows go-yaml v4, the library that Compose uses.
//!
//! Anchors, aliases and merge keys are resolved in the tree. This is limited, so that a small file cannot expand
//! to a huge tree. Nodes tagged `!reset` are removed; their places, and those of `!override`, are listed as
//! [`MergeMark`]s. This module knows nothing else about Compose. [`parse`] reads events ([`compose`]), finds marks
//! ([`marks`]) and builds values ([`construct`], [`scalar`]).

mod compose;
mod construct;
mod marks;
mod node;
mod scalar;
mod timestamp;

pub(crate) use marks::MergeMark;
pub(crate) use node::{YamlEntry, YamlMapping, YamlNode, YamlValue};
pub(crate) use timestamp::YamlTimestamp;

use crate::diag::{Class, Diagnostic, Diagnostics, SourceId, Span};

/// One document of a YAML stream.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    /// The content. Null if the document is empty.
    pub(crate) root: YamlNode,
    /// The places of `!reset` and `!override`.
    pub(crate) marks: Vec<MergeMark>,
}

/// Parses all documents of `text`, which is the file `source`. A file with only comments has no documents.
///
/// Reports all errors, except those after a syntax error, because the rest cannot be read then.
pub(crate) fn parse(text: &str, source: SourceId) -> Result<Vec<Document>, Diagnostics> {
    let mut problems = Diagnostics::default();
    let mut documents = Vec::new();
    for mut tree in compose::trees(text, source, &mut problems) {
        let marks = marks::take(&mut tree, &mut problems);
        if problems.has_errors() {
            continue;
        }
        let root = construct::root(&tree, &mut problems);
        documents.push(Document { root, marks });
    }
    problems.into_result(documents)
}

/// The most problems that are reported for one file.
const MAX_PROBLEMS: usize = 100;

fn report(problems: &mut Diagnostics, problem: Diagnostic) {
    if problems.0.len() < MAX_PROBLEMS {
        problems.push(problem);
    }
}

fn error(code: &'static str, message: impl Into<String>, span: Span, label: &str) -> Diagnostic {
    Diagnostic::error(Class::Definition, code, message).at(span, label)
}

#[cfg(test)]
mod tests;
