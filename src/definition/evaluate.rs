//! From files to evaluated blocks, in the order that HCL gives the passes: variables, conditions, functions, names,
//! attributes, what is left.
//!
//! Every pass runs, whatever an earlier one found, so that all problems are reported at once. Start at [`evaluate`].

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::declarations::{Declarations, Kind};
use super::eval::evaluator::Evaluator;
use super::eval::functions::FunctionContext;
use super::eval::value::Value;
use super::evaluated::{Attribute, Block, BlockOrigin, Evaluated};
use super::functions::UserFunctions;
use super::overrides::Overrides;
use super::source::Sources;
use super::syntax::File;
use super::{matrix, parse, typing};
use crate::diag::{Class, Diagnostic, Diagnostics, SourceId, Spanned};
use crate::types::{Environment, Platform};

/// Evaluation recurses as deep as definitions are nested, which may be deeper than a thread's usual stack.
const STACK_SIZE: usize = 256 << 20;

/// What decides about values beside the files.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The process environment, which overrides variables.
    pub environment: &'a Environment,
    /// The values of `--var`, which override the environment; of several for one name the last counts.
    pub vars: &'a [(String, String)],
    /// The second positional URL, for `BAKE_CMD_CONTEXT`; none for the working directory.
    pub command_context: Option<&'a str>,
    /// The platform of this machine, for `BAKE_LOCAL_PLATFORM`.
    pub local_platform: &'a Platform,
    /// The time that `timestamp()` gives.
    pub now: SystemTime,
}

/// Parses and evaluates all files.
///
/// Every problem is reported, not only the first. What is ignored is in the result's warnings.
pub fn evaluate(sources: &Sources, inputs: &Inputs<'_>) -> Result<Evaluated, Diagnostics> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("definition".to_owned())
            .stack_size(STACK_SIZE)
            .spawn_scoped(scope, || evaluate_here(sources, inputs))
            .map_err(|error| {
                internal(format!(
                    "cannot start a thread to evaluate the definition: {error}"
                ))
            })?
            .join()
            .map_err(|_| internal("the evaluation of the definition ended in a panic".to_owned()))?
    })
}

fn internal(message: String) -> Diagnostics {
    Diagnostic::error(Class::Internal, "internal::evaluation", message).into()
}

fn evaluate_here(sources: &Sources, inputs: &Inputs<'_>) -> Result<Evaluated, Diagnostics> {
    let mut problems = Diagnostics::default();
    let overrides = Overrides::new(inputs.vars, inputs.environment)?;
    let files = parse::parse(sources, &mut problems);
    if problems.has_errors() {
        return Err(problems);
    }
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
    };
    let mut evaluator = Evaluator::new(&declarations, overrides, context, builtins.clone());
    warnings.extend(UserFunctions::declare(&mut evaluator));
    let variables = evaluator.variable_infos();
    evaluator.validate();
    evaluator.blocks_visible = true;
    evaluator.name_blocks();
    let places = Places::of(sources, &files);
    let (groups, targets) = evaluator.evaluated_blocks(&places);
    evaluator.evaluate_globals();
    problems.0.append(&mut evaluator.into_problems().0);
    if problems.has_errors() {
        return Err(problems);
    }
    Ok(Evaluated {
        variables,
        groups,
        targets,
        warnings,
    })
}

fn builtins(inputs: &Inputs<'_>) -> Vec<(Arc<str>, Value)> {
    let context = inputs.command_context.unwrap_or("cwd://");
    vec![
        (Arc::from("BAKE_CMD_CONTEXT"), Value::from(context)),
        (
            Arc::from("BAKE_LOCAL_PLATFORM"),
            Value::from(inputs.local_platform.to_string()),
        ),
    ]
}

// Attributes and blocks in targets and groups that mean nothing are not even evaluated.
fn ignored_in_blocks(declarations: &mut Declarations<'_>, warnings: &mut Vec<Diagnostic>) {
    for index in 0..declarations.blocks.len() {
        let decl = declarations.blocks[index];
        let mut known = typing::names(decl.kind);
        known.extend(super::schema::EVALUATED);
        let of = format!("{}s", decl.kind.word());
        declarations.unknown_attributes(decl.block, &of, &known);
        declarations.unknown_blocks(decl.block, &of, &[]);
    }
    warnings.append(&mut declarations.warnings);
}

// Where each file is.
struct Places(HashMap<SourceId, Option<Arc<PathBuf>>>);

impl Places {
    fn of(sources: &Sources, files: &[File]) -> Self {
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

impl Evaluator<'_> {
    // All attributes of all blocks, selected or not.
    fn evaluated_blocks(&mut self, places: &Places) -> (Vec<Block>, Vec<Block>) {
        let mut groups = Vec::new();
        let mut targets = Vec::new();
        for index in self.blocks.in_order() {
            let kind = self.blocks.instances[index].decl.kind;
            let block = self.evaluated_block(index, places);
            match kind {
                Kind::Group => groups.push(block),
                Kind::Target => targets.push(block),
            }
        }
        groups.extend(self.matrix_groups(&groups, places));
        (groups, targets)
    }

    fn evaluated_block(&mut self, index: usize, places: &Places) -> Block {
        let instance = &self.blocks.instances[index];
        let decl = instance.decl;
        let name = Spanned::new(Arc::clone(&instance.name), instance.name_span);
        let origin = match instance.matrix {
            Some(_) => BlockOrigin::Matrix {
                label: Arc::clone(&decl.label.text),
            },
            None => BlockOrigin::Written,
        };
        let attributes: Vec<_> = instance.attributes().collect();
        let mut evaluated = indexmap::IndexMap::with_capacity(attributes.len());
        for (attribute, slot) in attributes {
            if typing::of(decl.kind, &attribute.name.text).is_none() {
                continue;
            }
            // What fails has been reported.
            let Ok(value) = self.slot(slot, None) else {
                continue;
            };
            evaluated.insert(
                Arc::clone(&attribute.name.text),
                Attribute {
                    name_span: Some(attribute.name.span),
                    value,
                    expr: Some(Arc::clone(&attribute.expr)),
                },
            );
        }
        Block {
            name,
            attributes: evaluated,
            source: decl.source,
            base_dir: places.dir(decl.source),
            origin,
        }
    }

    fn matrix_groups(&self, written: &[Block], places: &Places) -> Vec<Block> {
        let order = self.blocks.in_order();
        let targets = order
            .iter()
            .map(|index| &self.blocks.instances[*index])
            .filter(|instance| instance.decl.kind == Kind::Target);
        let sources: HashMap<&str, SourceId> = targets
            .clone()
            .map(|instance| (&*instance.decl.label.text, instance.decl.source))
            .collect();
        matrix::label_groups(targets.map(|instance| (instance.decl.label, &instance.name)))
            .into_iter()
            .filter(|(label, _)| !written.iter().any(|group| *group.name.value == *label.text))
            .filter_map(|(label, names)| {
                let source = *sources.get(&*label.text)?;
                let targets = Value::tuple(names.into_iter().map(Value::from).collect());
                Some(Block {
                    name: Spanned::new(Arc::clone(&label.text), label.span),
                    attributes: [(Arc::from("targets"), Attribute::made(targets))].into(),
                    source,
                    base_dir: places.dir(source),
                    origin: BlockOrigin::MatrixGroup,
                })
            })
            .collect()
    }

    // Globals that nothing has needed yet.
    fn evaluate_globals(&mut self) {
        let declarations = self.declarations;
        for name in declarations.globals.keys() {
            if let Some(slot) = self.named(name) {
                // What fails has been reported.
                let _ = self.slot(slot, None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{errors, hcl};

    #[test]
    fn a_plain_definition() {
        let evaluated = hcl(r#"
variable "TAG" { default = "latest" }
group "default" { targets = ["web"] }
target "base" { args = { A = "1" } }
target "web" {
  inherits = ["base"]
  tags = ["ex.com/web:${TAG}", target.base.args.A]
  pull = !true
  unknown = nothing
}
"#)
        .unwrap();
        let web = &evaluated.targets[1];
        assert_eq!(&*web.name.value, "web");
        assert_eq!(
            format!("{:?}", web.attributes["tags"].value),
            r#"["ex.com/web:latest", "1"]"#
        );
        assert_eq!(format!("{:?}", web.attributes["pull"].value), "false");
        assert_eq!(evaluated.variables.len(), 1);
        assert_eq!(evaluated.warnings.len(), 1);
    }

    #[test]
    fn all_errors_are_found() {
        assert_eq!(
            errors(
                r#"
variable "A" { default = NOPE }
target "x" {
  tags = ["${MISSING}", 1 + "b"]
  args = { X = target.y.tags }
}
"#
            ),
            [
                "there is no variable `NOPE` @ NOPE",
                "there is no variable `MISSING` @ MISSING",
                "this operand does not fit its operator: a number is required @ \"b\"",
                "there is no target `y` @ y",
            ]
        );
    }
}
