//! YAML text as a tree of values that remember their places, read as Compose's own YAML library (go-yaml v4) reads it.
//!
//! Anchors, aliases and merge keys are gone from the tree, which costs a budget so that no small file becomes a large one;
//! so are nodes tagged `!reset`, whose places, like those of `!override`, are listed as [`MergeMark`]s. Knows nothing else of
//! Compose. [`parse`] goes through events ([`compose`]), marks ([`marks`]) and values ([`construct`], [`scalar`]).

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

/// A document of a YAML stream.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    /// Its content; `null` where there is none.
    pub(crate) root: YamlNode,
    /// Where `!reset` and `!override` stood.
    pub(crate) marks: Vec<MergeMark>,
}

/// All documents of `text`, which is the file `source`; none where there is nothing but comments.
///
/// Every error is reported, but for those after the first that makes the rest unreadable.
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

/// Problems of a file that are told.
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
