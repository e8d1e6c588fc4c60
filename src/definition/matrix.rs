//! The names of targets and groups, and the expansion of matrices.
//!
//! A matrix has named lists. Each combination of their elements makes one target. Combinations are made as in
//! buildx: the names are sorted, and the last name varies slowest. Start at [`BakeEvaluator::name_blocks`].

use std::sync::Arc;

use super::blocks::MatrixNames;
use super::declarations::{BlockDecl, BlockKind};
use super::namespace::BakeEvaluator;
use crate::diag::{Diagnostic, Span};
use crate::hcl::cty::convert::convert;
use crate::hcl::cty::{Text, Type, Value};
use crate::hcl::eval::expr::{describe, problem};
use crate::hcl::eval::scope::Scope;
use crate::hcl::eval::{Failed, Frame};
use crate::hcl::syntax::{Expr, Ident};
use crate::types::TargetName;
use crate::types::hash::{HashSet, IndexMap, IndexSet};

/// The most targets that one matrix may make. A larger matrix is probably a mistake, and would use much memory.
const COMBINATIONS_LIMIT: usize = 100_000;

/// Blocks with a matrix that is not expanded yet.
#[derive(Debug, Default)]
pub(super) struct UnnamedBlocks<'a> {
    /// In order. An element becomes `None` when it is expanded: in its turn, or earlier if something refers to a
    /// target that may come from it.
    waiting: Vec<Option<BlockDecl<'a>>>,
}

/// For each target of a block: its name, the place of the name, and its matrix values.
type Made = Vec<(Arc<str>, Span, MatrixNames)>;

impl<'a> BakeEvaluator<'a> {
    /// Creates the instances of all blocks.
    pub(super) fn name_blocks(&mut self) {
        let declarations = self.names.declarations;
        self.names.blocks.reserve(declarations.blocks.len());
        let mut decls = Vec::new();
        // Blocks without a matrix come first, because their names need no evaluation. So a matrix can refer to
        // such a block wherever it is.
        for decl in &declarations.blocks {
            if has_matrix(decl) {
                decls.push(Some(*decl));
            } else {
                self.name_plain(decl);
            }
        }
        self.names.unnamed.waiting = decls;
        for index in 0..self.names.unnamed.waiting.len() {
            self.expand(index);
        }
    }

    /// Expands all matrices that are left, because one of them may make the block `name`. Does nothing if a block
    /// of this name exists, or for a group.
    pub(super) fn expand_matrices_for(&mut self, kind: BlockKind, name: &str) {
        if kind == BlockKind::Group || !self.names.blocks.called(kind, name).is_empty() {
            return;
        }
        for index in 0..self.names.unnamed.waiting.len() {
            self.expand(index);
        }
    }

    fn name_plain(&mut self, decl: &BlockDecl<'a>) {
        if let Some(name) = decl.block.body.attribute("name") {
            let wrong = match decl.kind {
                BlockKind::Group => "groups have no `name`",
                BlockKind::Target => "`name` needs a `matrix`",
            };
            self.report(
                problem("definition::invalid-matrix", wrong)
                    .at(name.name.span, "")
                    .help("without a matrix, the label is the name"),
            );
        }
        if decl.kind == BlockKind::Group
            && let Some(matrix) = decl.block.body.attribute("matrix")
        {
            self.report(
                problem("definition::invalid-matrix", "groups have no `matrix`")
                    .at(matrix.name.span, ""),
            );
        }
        if self.check_name(&decl.label.text, decl.label.span) {
            self.add_instance(*decl, Arc::clone(&decl.label.text), decl.label.span, None);
        }
    }

    fn check_name(&mut self, name: &Arc<str>, at: Span) -> bool {
        match TargetName::try_from(Arc::clone(name)) {
            Ok(_) => true,
            Err(error) => {
                let help = suggestion(name);
                let invalid = problem("definition::invalid-name", error.to_string()).at(at, "");
                self.report(match help {
                    Some(help) => invalid.help(help),
                    None => invalid,
                });
                false
            }
        }
    }

    /// Expands one waiting block. Does nothing if it is already expanded; it is taken out first, so a reference to
    /// itself ends.
    fn expand(&mut self, index: usize) {
        let Some(decl) = self
            .names
            .unnamed
            .waiting
            .get_mut(index)
            .and_then(Option::take)
        else {
            return;
        };
        if !self.check_name(&decl.label.text, decl.label.span) {
            return;
        }
        let Ok(made) = self.make(&decl) else {
            return;
        };
        let mut seen = HashSet::default();
        for (name, at, matrix) in made {
            if seen.insert(Arc::clone(&name)) {
                self.add_instance(decl, name, at, Some(matrix));
            } else {
                let help = if decl.block.body.attribute("name").is_some() {
                    "use every name of the matrix in `name`"
                } else {
                    "give each target a name of its own with `name`"
                };
                self.report(
                    problem(
                        "definition::invalid-matrix",
                        format!("two targets of this matrix are called `{name}`"),
                    )
                    .at(at, "")
                    .help(help),
                );
                return;
            }
        }
    }

    /// Evaluates the matrix of a block, and the name of each combination.
    fn make(&mut self, decl: &BlockDecl<'a>) -> Result<Made, Failed> {
        let body = &decl.block.body;
        let Some(matrix) = body.attribute("matrix") else {
            return Err(Failed::UNTYPED);
        };
        let label = &decl.label.text;
        let frame = Frame::Part("the matrix of target", label, matrix.name.span);
        let value = self.evaluate_part(&matrix.expr, &Scope::ROOT, frame)?;
        let combinations = match combinations(&value, &matrix.expr) {
            Ok(combinations) => combinations,
            Err(wrong) => {
                self.report(wrong);
                return Err(Failed::UNTYPED);
            }
        };
        let mut made = Made::new();
        for names in combinations {
            let (name, at) = match body.attribute("name") {
                None => (Arc::clone(label), decl.label.span),
                Some(name) => (self.make_name(&name.expr, label, &names)?, name.expr.span),
            };
            made.push((name, at, names));
        }
        Ok(made)
    }

    fn make_name(
        &mut self,
        expr: &'a Expr,
        label: &'a Arc<str>,
        names: &MatrixNames,
    ) -> Result<Arc<str>, Failed> {
        let frame = Frame::Part("the name of target", label, expr.span);
        self.in_frame(frame, |evaluator| {
            let value = evaluator.expr(expr, &Scope::of(names))?;
            match convert(&value, &Type::String) {
                Ok(Value::String(name)) => {
                    if evaluator.check_name(&Arc::from(&name), expr.span) {
                        Ok(Arc::from(&*name))
                    } else {
                        Err(Failed::UNTYPED)
                    }
                }
                _ => Err(evaluator.fail(
                    problem("definition::invalid-name", "a name must be a string")
                        .at(expr.span, describe(&value)),
                )),
            }
        })
    }
}

/// Whether the block is a target with a matrix. A matrix in a group makes no targets; it is reported elsewhere.
fn has_matrix(decl: &BlockDecl<'_>) -> bool {
    decl.kind == BlockKind::Target && decl.block.body.attribute("matrix").is_some()
}

fn suggestion(name: &str) -> Option<String> {
    let fixed: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' || c == '-' {
                c
            } else {
                '_'
            }
        })
        .collect();
    (!fixed.is_empty() && fixed != name)
        .then(|| format!("write a name such as `{fixed}`, or use the function `sanitize`"))
}

/// All combinations of the elements of a matrix, each as names with values, sorted by name.
fn combinations(value: &Value, expr: &Expr) -> Result<Vec<MatrixNames>, Diagnostic> {
    let wrong = |message: String, at: Span, found: &Value| {
        problem("definition::invalid-matrix", message)
            .at(at, describe(found))
            .help("write it as in `matrix = { version = [\"1\", \"2\"] }`")
    };
    let Some(axes) = value.entries() else {
        return Err(wrong(
            "a matrix must be an object".to_owned(),
            expr.span,
            value,
        ));
    };
    let mut all: Vec<Vec<(Arc<str>, Value)>> = vec![Vec::new()];
    for (name, values) in axes {
        let values = elements(values).ok_or_else(|| {
            let at = expr.element_span(&[crate::hcl::syntax::PathStep::Key(name)]);
            wrong(format!("`{name}` of a matrix must be a list"), at, values)
        })?;
        if all.len().saturating_mul(values.len()) > COMBINATIONS_LIMIT {
            return Err(problem(
                "definition::limit",
                format!("this matrix makes more than {COMBINATIONS_LIMIT} targets"),
            )
            .at(expr.span, ""));
        }
        let key: Arc<str> = Arc::from(&**name);
        let mut next = Vec::with_capacity(all.len() * values.len());
        for value in values {
            for names in &all {
                let mut names = names.clone();
                names.push((Arc::clone(&key), value.clone()));
                next.push(names);
            }
        }
        all = next;
    }
    Ok(all.into_iter().map(MatrixNames::from).collect())
}

fn elements(value: &Value) -> Option<Vec<&Value>> {
    match (value.items(), value.entries()) {
        (Some(items), _) => Some(items.iter().collect()),
        (None, Some(entries)) => Some(entries.values().collect()),
        (None, None) => None,
    }
}

/// For each label of a matrix block, the names of its targets: the members of the implicit group with that label.
/// A matrix that makes one target with the label as its name needs no group.
pub(super) fn label_groups<'a>(
    instances: impl IntoIterator<Item = (&'a Ident, &'a Arc<str>)>,
) -> Vec<(&'a Ident, Vec<Text>)> {
    let mut groups: IndexMap<&str, (&Ident, IndexSet<&str>)> = IndexMap::default();
    for (label, name) in instances {
        // Several blocks can make the same target, so its name can occur more than once.
        let (_, names) = groups
            .entry(&label.text)
            .or_insert((label, IndexSet::default()));
        names.insert(name);
    }
    groups
        .into_values()
        .filter(|(label, names)| names.len() != 1 || !names.contains(&*label.text))
        .map(|(label, names)| (label, names.into_iter().map(Text::from).collect()))
        .collect()
}
