//! The names that expressions in a bake file can use: variables, globals, functions, targets and groups.

use std::sync::Arc;

use super::blocks::Blocks;
use super::declarations::{BlockKind, Declarations, VariableDecl};
use super::matrix::UnnamedBlocks;
use super::overrides::Overrides;
use crate::diag::{Diagnostic, Span};
use crate::hcl::cty::Value;
use crate::hcl::eval::expr::problem;
use crate::hcl::eval::namespace::{Namespace, UsedIn};
use crate::hcl::eval::{self, Scope, ValueResult};
use crate::hcl::functions::FunctionContext;
use crate::hcl::syntax::{Attribute, Traversal};
use crate::types::hash::HashSet;

/// The HCL evaluator, with the names of a bake file.
pub(super) type BakeEvaluator<'a> = eval::Evaluator<'a, BakeNames<'a>>;

/// The declarations of a bake file, and the blocks whose names are already known.
pub(super) struct BakeNames<'a> {
    /// The declarations of all files.
    pub(super) declarations: &'a Declarations<'a>,
    /// Target and group blocks by their final names.
    pub(super) blocks: Blocks<'a>,
    /// Blocks with a matrix that is not expanded yet.
    pub(super) unnamed: UnnamedBlocks<'a>,
    /// Whether expressions may already refer to `target` and `group`. False while variables and functions are
    /// evaluated, because these come before blocks.
    pub(super) blocks_visible: bool,
    /// Values for variables from `--var` and the environment.
    pub(super) overrides: Overrides<'a>,
    /// The names of the builtin variables.
    pub(super) builtins: HashSet<Arc<str>>,
}

/// Something that is evaluated when it is first used.
#[derive(Debug, Clone, Copy)]
pub(super) enum Deferred<'a> {
    /// The value of a `variable` block.
    Variable(&'a VariableDecl<'a>),
    /// A top-level attribute.
    Global(&'a Attribute),
    /// An attribute of a target or group.
    BlockAttribute {
        /// The block's index in [`Blocks::instances`].
        instance: usize,
        /// The attribute of the block.
        attribute: &'a Attribute,
    },
}

/// Creates an evaluator that knows the variables, globals and builtin variables of a definition. Blocks are added
/// later.
pub(super) fn evaluator<'a>(
    declarations: &'a Declarations<'a>,
    overrides: Overrides<'a>,
    function_context: FunctionContext,
    builtins: impl IntoIterator<Item = (Arc<str>, Value)>,
) -> BakeEvaluator<'a> {
    let names = BakeNames {
        declarations,
        blocks: Blocks::default(),
        unnamed: UnnamedBlocks::default(),
        blocks_visible: false,
        overrides,
        builtins: HashSet::default(),
    };
    let mut evaluator = BakeEvaluator::new(names, function_context, declarations.slots());
    for (name, variable) in &declarations.variables {
        evaluator.declare(Arc::clone(name), Deferred::Variable(variable));
    }
    // A global with the name of a variable is not declared here: the variable's own slot takes the value of the
    // global.
    for (name, attribute) in &declarations.globals {
        if evaluator.named(name).is_none() {
            evaluator.declare(Arc::clone(name), Deferred::Global(attribute));
        }
    }
    for (name, value) in builtins {
        evaluator.define(Arc::clone(&name), value);
        evaluator.names.builtins.insert(name);
    }
    evaluator
}

impl<'a> Namespace<'a> for BakeNames<'a> {
    type Source = Deferred<'a>;

    fn fill(evaluator: &mut BakeEvaluator<'a>, source: Deferred<'a>) -> ValueResult {
        match source {
            Deferred::Variable(variable) => evaluator.variable(variable),
            Deferred::Global(attribute) => evaluator.expr(&attribute.expr, &Scope::ROOT),
            Deferred::BlockAttribute {
                instance,
                attribute,
            } => {
                let names = evaluator.names.blocks.matrix_names(instance);
                evaluator.expr(&attribute.expr, &Scope::of(&names))
            }
        }
    }

    fn describe(&self, source: Deferred<'a>) -> (String, Span) {
        match source {
            Deferred::Variable(variable) => (
                format!("variable `{}`", variable.name.text),
                variable.name.span,
            ),
            Deferred::Global(attribute) => {
                (format!("`{}`", attribute.name.text), attribute.name.span)
            }
            Deferred::BlockAttribute {
                instance,
                attribute,
            } => (
                format!(
                    "`{}` of {}",
                    attribute.name.text,
                    self.blocks.describe(instance)
                ),
                attribute.name.span,
            ),
        }
    }

    fn reference(
        evaluator: &mut BakeEvaluator<'a>,
        root: &'a Arc<str>,
        traversal: &'a Traversal,
        scope: &Scope<'_>,
    ) -> Option<ValueResult> {
        let kind = BlockKind::of_word(root).filter(|_| evaluator.names.blocks_visible)?;
        Some(evaluator.block_reference(kind, traversal, scope))
    }

    fn bare(&self, name: &str, at: Span) -> Option<Diagnostic> {
        let kind = BlockKind::of_word(name).filter(|_| self.blocks_visible)?;
        let word = kind.word();
        let bare = problem(
            "definition::bare-reference",
            format!("`{word}` alone is not a value"),
        );
        Some(
            bare.at(at, "")
                .help(format!("write `{word}.NAME.ATTRIBUTE`")),
        )
    }

    fn advice(&self, name: &str, place: UsedIn) -> Option<&'static str> {
        BlockKind::of_word(name)?;
        Some(match place {
            UsedIn::Expression => {
                "variables and functions are evaluated first and cannot refer to targets and groups"
            }
            UsedIn::FunctionBody => {
                "functions cannot refer to targets and groups; pass what they need as an argument"
            }
        })
    }
}
