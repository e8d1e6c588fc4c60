//! The result of evaluating a definition, before it is typed and merged.
//!
//! This module does not know what attributes mean. Each attribute keeps its raw value and its expression, so that
//! a later type error can point at the smallest piece of text. Start at [`Evaluated`].

use std::path::PathBuf;
use std::sync::Arc;

use crate::diag::{Diagnostic, Span, Spanned};
use crate::hcl::cty::{Type, Value};
use crate::hcl::syntax::{Expr, PathStep};

/// All blocks and variables of a definition, evaluated.
#[derive(Debug, Clone, Default)]
pub struct Evaluated {
    /// The declared variables, in the order of their declaration.
    pub variables: Vec<VariableInfo>,
    /// The group blocks in order. A later block replaces an earlier one of the same name. The groups that contain
    /// all targets of a matrix come last.
    pub(crate) groups: Vec<EvaluatedBlock>,
    /// The target blocks in order, one for each combination of a matrix. A later block is merged onto an earlier
    /// one of the same name.
    pub targets: Vec<EvaluatedBlock>,
    /// Services of Compose files without a `build`, which are therefore not targets.
    pub(crate) unbuilt: Vec<Spanned<Arc<str>>>,
    /// Warnings about parts that were ignored or look wrong.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// A declared variable and its value.
#[derive(Debug, Clone)]
pub struct VariableInfo {
    /// The variable's name.
    pub(crate) name: Arc<str>,
    /// The value of `description`. Empty if there is none.
    pub(crate) description: String,
    /// The declared type, if there is one.
    pub(crate) ty: Option<Type>,
    /// The value after overrides by `--var` and the environment.
    pub(crate) value: Value,
}

/// An evaluated target or group block.
#[derive(Debug, Clone)]
pub struct EvaluatedBlock {
    /// The block's name: its label, or the value of its `name` attribute.
    pub(crate) name: Spanned<Arc<str>>,
    /// The attributes in order, each name once. `name` and `matrix` are not included.
    pub(crate) attributes: Vec<(Arc<str>, EvaluatedAttribute)>,
    /// The directory of the block's file, as in [`super::source::DefinitionSource::base_dir`].
    pub(crate) base_dir: Option<Arc<PathBuf>>,
    /// What made the block.
    pub(crate) origin: BlockOrigin,
    /// Problems in other files that only this block uses (such as an `env_file`). Reported only if the block is
    /// part of the plan.
    pub(crate) deferred: Vec<Diagnostic>,
}

/// What made a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BlockOrigin {
    /// A block of a file, without a matrix.
    Written,
    /// One combination of the matrix of the block with this label.
    Matrix {
        /// The label of the block with the matrix.
        label: Arc<str>,
    },
    /// The implicit group of all targets of a matrix. Its name is the label of the block with the matrix.
    MatrixGroup,
}

/// An attribute with its value and, if it is written in a file, its place.
#[derive(Debug, Clone)]
pub(crate) struct EvaluatedAttribute {
    /// The place of the attribute's name, or `None` if the attribute is not written in a file.
    pub(crate) name_span: Option<Span>,
    /// The value of the expression. It is not yet converted to the attribute's type.
    pub(crate) value: Value,
    /// The expression, or `None` if the attribute is not written in a file.
    pub(crate) expr: Option<Arc<Expr>>,
}

impl EvaluatedAttribute {
    /// An attribute that is not written in a file.
    pub(crate) const fn made(value: Value) -> Self {
        Self {
            name_span: None,
            value,
            expr: None,
        }
    }

    /// The place of the smallest known piece of text that contains the element at `path`.
    pub(crate) fn element_span(&self, path: &[PathStep<'_>]) -> Option<Span> {
        self.expr.as_ref().map(|expr| expr.element_span(path))
    }
}

impl EvaluatedBlock {
    /// The attribute called `name`, if the block has it.
    pub(crate) fn attribute(&self, name: &str) -> Option<&EvaluatedAttribute> {
        let mut attributes = self.attributes.iter();
        attributes
            .find(|(known, _)| **known == *name)
            .map(|(_, attribute)| attribute)
    }
}
