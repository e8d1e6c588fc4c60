//! What a definition evaluates to, before it is typed and merged.
//!
//! Knows nothing of what attributes mean: each keeps its raw value and the expression it came from, so that whoever
//! types it can point at the smallest piece of text. Start at [`Evaluated`].

use std::path::PathBuf;
use std::sync::Arc;

use crate::diag::{Diagnostic, Span, Spanned};
use crate::hcl::cty::{Type, Value};
use crate::hcl::syntax::{Expr, PathStep};

/// All that the files of a definition say, evaluated.
#[derive(Debug, Clone, Default)]
pub struct Evaluated {
    /// The declared variables, in the order of their declaration.
    pub variables: Vec<VariableInfo>,
    /// The group blocks in order; a later one replaces an earlier one of the same name. The groups that stand for all
    /// targets of a matrix come last.
    pub(crate) groups: Vec<EvaluatedBlock>,
    /// The target blocks in order, one for each combination of a matrix; later ones of the same name are merged onto
    /// earlier ones.
    pub targets: Vec<EvaluatedBlock>,
    /// Services of Compose files that build nothing, and so are no targets.
    pub(crate) unbuilt: Vec<Spanned<Arc<str>>>,
    /// What was ignored or is doubtful.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// A declared variable and its value.
#[derive(Debug, Clone)]
pub struct VariableInfo {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// What the definition says it is for; empty where it says nothing.
    pub(crate) description: String,
    /// Its declared type, if any.
    pub(crate) ty: Option<Type>,
    /// Its value after overrides.
    pub(crate) value: Value,
}

/// An evaluated target or group block.
#[derive(Debug, Clone)]
pub struct EvaluatedBlock {
    /// Its name: the label, or what `name` made of it.
    pub(crate) name: Spanned<Arc<str>>,
    /// Its attributes in order, each name once; `name` and `matrix` are consumed.
    pub(crate) attributes: Vec<(Arc<str>, EvaluatedAttribute)>,
    /// The directory of the file it is written in, as in [`super::source::DefinitionSource::base_dir`].
    pub(crate) base_dir: Option<Arc<PathBuf>>,
    /// How the block came to be.
    pub(crate) origin: BlockOrigin,
    /// What is wrong or doubtful with files that only this block needs: told where the block is part of a plan.
    pub(crate) deferred: Vec<Diagnostic>,
}

/// How a block came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BlockOrigin {
    /// As it is written.
    Written,
    /// One combination of the matrix of the block with this label.
    Matrix {
        /// The label.
        label: Arc<str>,
    },
    /// The group of all targets made by the matrix of the block with the group's name.
    MatrixGroup,
}

/// An evaluated attribute.
#[derive(Debug, Clone)]
pub(crate) struct EvaluatedAttribute {
    /// The place of the attribute's name.
    pub(crate) name_span: Option<Span>,
    /// Its value, as the expression gave it: no conversion to the attribute's type is made.
    pub(crate) value: Value,
    /// The expression it was given by.
    pub(crate) expr: Option<Arc<Expr>>,
}

impl EvaluatedAttribute {
    /// An attribute that is written nowhere.
    pub(crate) const fn made(value: Value) -> Self {
        Self {
            name_span: None,
            value,
            expr: None,
        }
    }

    /// The smallest place known to contain the element at `path`.
    pub(crate) fn element_span(&self, path: &[PathStep<'_>]) -> Option<Span> {
        self.expr.as_ref().map(|expr| expr.element_span(path))
    }
}

impl EvaluatedBlock {
    /// The attribute called `name`.
    pub(crate) fn attribute(&self, name: &str) -> Option<&EvaluatedAttribute> {
        let mut attributes = self.attributes.iter();
        attributes
            .find(|(known, _)| **known == *name)
            .map(|(_, attribute)| attribute)
    }
}
