//! The interface between the language and a file format that is built on it.

use std::sync::Arc;

use super::{Evaluator, Scope, ValueResult};
use crate::diag::{Diagnostic, Span};
use crate::hcl::syntax::Traversal;

/// The names that a file format offers to expressions, beside those that expressions bind themselves.
///
/// Names with a value are declared with [`Evaluator::declare`] and [`Evaluator::define`]. The evaluator calls
/// [`Namespace::fill`] when such a name is first used. All other names (such as blocks that are referred to as
/// `target.NAME.ATTRIBUTE`) are looked up by the format itself in [`Namespace::reference`].
pub(crate) trait Namespace<'a>: Sized {
    /// Identifies what a slot is filled from: a variable, an attribute of a block.
    type Source: Copy;

    /// Evaluates `source`. The evaluator calls this at most once for each slot. It reports a cycle if the same slot
    /// is needed before the call returns.
    fn fill(evaluator: &mut Evaluator<'a, Self>, source: Self::Source) -> ValueResult;

    /// Describes `source`, as in ``variable `tag` ``, and returns the position of its name. Problems show it as the
    /// place that they are part of.
    fn describe(&self, source: Self::Source) -> (String, Span);

    /// Evaluates `traversal`, which begins with the name `root`. Returns `None` if the format does not look up
    /// `root` itself. Names of `scope` hide the format's names and never get here. Declared names do get here, so
    /// the format's names hide them.
    fn reference(
        evaluator: &mut Evaluator<'a, Self>,
        root: &'a Arc<str>,
        traversal: &'a Traversal,
        scope: &Scope<'_>,
    ) -> Option<ValueResult>;

    /// The error for the name `name` used alone at `at`, if it is a name of the format that is not a value. `None`
    /// if the name is simply unknown.
    fn bare(&self, name: &str, at: Span) -> Option<Diagnostic>;

    /// Advice for an undeclared name used in `place`. `None` to suggest similar names instead.
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
