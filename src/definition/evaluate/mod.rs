//! Evaluates definition files to blocks. The passes run in this order: variables, conditions, functions, block names,
//! attributes, remaining globals.
//!
//! Every pass runs even if an earlier one found errors, so that all problems are reported at once. Start at
//! [`evaluate`].

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use super::compose::ComposeFiles;
use super::declarations::{BlockKind, Declarations};
use super::decode::{DecodeOptions, decode};
use super::evaluated::{BlockOrigin, Evaluated, EvaluatedAttribute, EvaluatedBlock};
use super::inputs::EvaluationInputs;
use super::model::Definition;
use super::namespace::BakeEvaluator;
use super::overrides::Overrides;
use super::source::DefinitionSources;
use super::{matrix, namespace, parse, typing};
use crate::diag::{Class, Diagnostic, Diagnostics, SourceId, Spanned};
use crate::hcl::cty::Value;
use crate::hcl::eval::user_functions::UserFunctions;
use crate::hcl::functions::FunctionContext;
use crate::hcl::on_deep_stack;
use crate::hcl::syntax::File;
use crate::types::hash::{HashMap, HashSet};

/// Parses and evaluates all files.
///
/// On failure, reports all problems, not only the first. Warnings about ignored parts are in the result.
pub fn evaluate(
    sources: &mut DefinitionSources,
    inputs: &EvaluationInputs<'_>,
) -> Result<Evaluated, Diagnostics> {
    let (evaluated, problems) = evaluate_partly(sources, inputs)?;
    problems.into_result(evaluated)
}

/// Parses, evaluates and decodes all files.
///
/// Reports all problems together: a wrong attribute is reported even if an expression elsewhere fails.
pub(crate) fn load(
    sources: &mut DefinitionSources,
    inputs: &EvaluationInputs<'_>,
    options: DecodeOptions,
) -> Result<Definition, Diagnostics> {
    let (evaluated, mut problems) = evaluate_partly(sources, inputs)?;
    let decoded = decode(evaluated, options);
    if !problems.has_errors() {
        return decoded;
    }
    if let Err(further) = decoded {
        problems
            .0
            .extend(further.0.into_iter().filter(Diagnostic::is_error));
    }
    Err(problems)
}

/// Evaluates as much as possible. If the returned problems contain errors, the parts that failed are missing from
/// the result.
fn evaluate_partly(
    sources: &mut DefinitionSources,
    inputs: &EvaluationInputs<'_>,
) -> Result<(Evaluated, Diagnostics), Diagnostics> {
    let evaluated = on_deep_stack(|| {
        // Catching a panic is safe: after one, nothing that the evaluation shares is used again.
        catch_unwind(AssertUnwindSafe(|| evaluate_here(sources, inputs)))
    });
    match evaluated {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(internal(
            "the evaluation of the definition ended in a panic".to_owned(),
        )),
        Err(error) => Err(internal(format!(
            "cannot start a thread to evaluate the definition: {error}"
        ))),
    }
}

fn internal(message: String) -> Diagnostics {
    Diagnostic::error(Class::Internal, "internal::evaluation", message).into()
}

/// Runs all passes. Stops early only if an override is unusable or a file cannot be parsed.
fn evaluate_here(
    sources: &mut DefinitionSources,
    inputs: &EvaluationInputs<'_>,
) -> Result<(Evaluated, Diagnostics), Diagnostics> {
    let mut problems = Diagnostics::default();
    let overrides = Overrides::new(inputs.vars, inputs.environment)?;
    let mut compose = ComposeFiles::new(inputs);
    let files = parse::parse(sources, &mut compose, &mut problems);
    if problems.has_errors() {
        return Err(problems);
    }
    let made = compose.lower(&mut sources.map, &mut problems);
    let builtins = builtins(inputs);
    let reserved = |name: &str| builtins.iter().any(|(builtin, _)| **builtin == *name);
    let mut declarations = Declarations::collect(&files, &reserved, &mut problems);
    let mut warnings = std::mem::take(&mut declarations.warnings);
    ignored_in_blocks(&mut declarations, &mut warnings);
    let context = FunctionContext {
        now: inputs.now,
        home: inputs
            .environment
            .home()
            .map(|home| home.to_string_lossy().into_owned())
            .unwrap_or_default(),
        work: Cell::default(),
    };
    let mut evaluator = namespace::evaluator(&declarations, overrides, context, builtins.clone());
    warnings.extend(UserFunctions::declare(
        &mut evaluator,
        &declarations.functions,
    ));
    let variables = evaluator.variable_infos();
    evaluator.validate();
    evaluator.names.blocks.of_compose = made.names();
    evaluator.names.blocks_visible = true;
    evaluator.name_blocks();
    let places = Places::of(sources, &files);
    let (written_groups, written_targets) = evaluator.evaluated_blocks(&places);
    evaluator.evaluate_globals();
    problems.0.append(&mut evaluator.into_problems().0);
    if !problems.has_errors() {
        warnings.append(&mut problems.0);
    }
    // Compose blocks come before all others, whatever the order of the files.
    let (mut groups, mut targets) = (made.groups, made.targets);
    groups.extend(written_groups);
    targets.extend(written_targets);
    let evaluated = Evaluated {
        variables,
        groups,
        targets,
        unbuilt: made.unbuilt,
        warnings,
    };
    Ok((evaluated, problems))
}

fn builtins(inputs: &EvaluationInputs<'_>) -> Vec<(Arc<str>, Value)> {
    let context = inputs.command_context.unwrap_or("cwd://");
    vec![
        (Arc::from("BAKE_CMD_CONTEXT"), Value::from(context)),
        (
            Arc::from("BAKE_LOCAL_PLATFORM"),
            Value::from(inputs.local_platform.to_string()),
        ),
    ]
}

/// Warns about unknown attributes and blocks in targets and groups. They are not even evaluated.
fn ignored_in_blocks(declarations: &mut Declarations<'_>, warnings: &mut Vec<Diagnostic>) {
    let known = [BlockKind::Target, BlockKind::Group].map(|kind| {
        let mut known = typing::names(kind);
        known.extend(super::schema::EVALUATED);
        (kind, format!("{}s", kind.word()), known)
    });
    for index in 0..declarations.blocks.len() {
        let decl = declarations.blocks[index];
        for (kind, of, known) in &known {
            if decl.kind == *kind {
                declarations.unknown_attributes(decl.block, of, known);
                declarations.unknown_blocks(decl.block, of, &[]);
            }
        }
    }
    warnings.append(&mut declarations.warnings);
}

/// The directory of each file.
struct Places(HashMap<SourceId, Option<Arc<PathBuf>>>);

impl Places {
    fn of(sources: &DefinitionSources, files: &[File]) -> Self {
        let dirs = sources
            .files
            .iter()
            .filter(|source| files.iter().any(|file| file.source == source.id))
            .map(|source| (source.id, source.base_dir.clone().map(Arc::new)));
        Self(dirs.collect())
    }

    fn dir(&self, source: SourceId) -> Option<Arc<PathBuf>> {
        self.0.get(&source).cloned().flatten()
    }
}

impl BakeEvaluator<'_> {
    /// Evaluates all attributes of all groups and targets, whether or not the bake selects them.
    fn evaluated_blocks(&mut self, places: &Places) -> (Vec<EvaluatedBlock>, Vec<EvaluatedBlock>) {
        let mut groups = Vec::new();
        let mut targets = Vec::with_capacity(self.names.blocks.instances.len());
        for index in self.names.blocks.in_order() {
            let kind = self.names.blocks.instances[index].decl.kind;
            let (block, complete) = self.evaluated_block(index, places);
            match kind {
                // A group that lacks members because they failed would only cause follow-up errors.
                BlockKind::Group if !complete => {}
                BlockKind::Group => groups.push(block),
                BlockKind::Target => targets.push(block),
            }
        }
        groups.extend(self.matrix_groups(&groups, places));
        (groups, targets)
    }

    /// Returns the block and whether all its attributes could be evaluated.
    fn evaluated_block(&mut self, index: usize, places: &Places) -> (EvaluatedBlock, bool) {
        let instance = &self.names.blocks.instances[index];
        let decl = instance.decl;
        let name = Spanned::new(Arc::clone(&instance.name), instance.name_span);
        let origin = match instance.matrix {
            Some(_) => BlockOrigin::Matrix {
                label: Arc::clone(&decl.label.text),
            },
            None => BlockOrigin::Written,
        };
        let attributes = instance.attributes();
        let mut complete = true;
        let mut evaluated = Vec::with_capacity(attributes.len());
        for (attribute, slot) in attributes {
            if typing::of(decl.kind, &attribute.name.text).is_none() {
                continue;
            }
            // The failure has already been reported.
            let Ok(value) = self.slot(slot, None) else {
                complete = false;
                continue;
            };
            evaluated.push((
                Arc::clone(&attribute.name.text),
                EvaluatedAttribute {
                    name_span: Some(attribute.name.span),
                    value,
                    expr: Some(Arc::clone(&attribute.expr)),
                },
            ));
        }
        let block = EvaluatedBlock {
            name,
            attributes: evaluated,
            base_dir: places.dir(decl.source),
            origin,
            deferred: Vec::new(),
        };
        (block, complete)
    }

    /// The implicit groups of matrices. A label for which the user wrote a group gets none.
    fn matrix_groups(&self, written: &[EvaluatedBlock], places: &Places) -> Vec<EvaluatedBlock> {
        if self
            .names
            .blocks
            .instances
            .iter()
            .all(|instance| instance.matrix.is_none())
        {
            return Vec::new();
        }
        let written: HashSet<&str> = written.iter().map(|group| &*group.name.value).collect();
        let order = self.names.blocks.in_order();
        let targets = order
            .iter()
            .map(|index| &self.names.blocks.instances[*index])
            .filter(|instance| instance.decl.kind == BlockKind::Target);
        let sources: HashMap<&str, SourceId> = targets
            .clone()
            .map(|instance| (&*instance.decl.label.text, instance.decl.source))
            .collect();
        matrix::label_groups(targets.map(|instance| (instance.decl.label, &instance.name)))
            .into_iter()
            .filter(|(label, _)| !written.contains(&*label.text))
            .filter_map(|(label, names)| {
                let source = *sources.get(&*label.text)?;
                let targets = Value::tuple(names.into_iter().map(Value::from).collect());
                Some(EvaluatedBlock {
                    name: Spanned::new(Arc::clone(&label.text), label.span),
                    attributes: vec![(Arc::from("targets"), EvaluatedAttribute::made(targets))],
                    base_dir: places.dir(source),
                    origin: BlockOrigin::MatrixGroup,
                    deferred: Vec::new(),
                })
            })
            .collect()
    }

    /// Evaluates the globals that nothing has used yet, so that errors in them are reported, too.
    fn evaluate_globals(&mut self) {
        let declarations = self.names.declarations;
        for name in declarations.globals.keys() {
            if let Some(slot) = self.named(name) {
                // The failure has already been reported.
                let _ = self.slot(slot, None);
            }
        }
    }
}

#[cfg(test)]
mod tests;
