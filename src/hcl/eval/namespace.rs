//! What the language asks of the file format that is built on it.

use std::sync::Arc;

use super::{Evaluator, Scope, ValueResult};
use crate::diag::{Diagnostic, Span};
use crate::hcl::syntax::Traversal;

/// The names that expressions may use beside those that they bind themselves.
///
/// Names with a value are declared with [`Evaluator::declare`] and [`Evaluator::define`]; the language then calls
/// [`Namespace::fill`] when such a name is used for the first time. Everything else that a format puts behind a name
/// (blocks that are referred to as `target.NAME.ATTRIBUTE`, say) it looks up itself in [`Namespace::reference`].
pub(crate) trait Namespace<'a>: Sized {
    /// Identifies what is evaluated at its first use: a variable, an attribute of a block.
    type Source: Copy;

    /// Evaluates `source`. The evaluator calls this once for each slot, and reports a cycle if it is asked for the same
    /// slot before the call returns.
    fn fill(evaluator: &mut Evaluator<'a, Self>, source: Self::Source) -> ValueResult;

    /// `source` in words, such as ``variable `tag` ``, and the place of its name. Problems name it as what they are part of.
    fn describe(&self, source: Self::Source) -> (String, Span);

    /// Evaluates `traversal`, which begins with the name `root`, or returns `None` if `root` is not a name that the
    /// format looks up itself. Names of `scope` and declared names come first and never get here.
    fn reference(
        evaluator: &mut Evaluator<'a, Self>,
        root: &'a Arc<str>,
        traversal: &'a Traversal,
        scope: &Scope<'_>,
    ) -> Option<ValueResult>;

    /// The error for the bare name `name` at `at`, if the format gives it a meaning that is not a value.
    fn bare(&self, name: &str, at: Span) -> Option<Diagnostic>;

    /// Advice for a name that is not declared, used in `place`. Without it, similar names are suggested.
    fn advice(&self, name: &str, place: UsedIn) -> Option<&'static str>;
}

/// Where an undeclared name is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UsedIn {
    /// In an expression that is being evaluated.
    Expression,
    /// In the body of a user-defined function, which is checked when the function is declared.
    FunctionBody,
}
