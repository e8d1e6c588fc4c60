//! Target and group blocks under their final names, and references to them.
//!
//! A block with a matrix makes several targets. Each is a [`BlockInstance`] with its own name and matrix values. A
//! reference such as `target.web.tags` evaluates only that one attribute, so two targets may refer to each other.
//! Start at [`BakeEvaluator::block_reference`].

use std::sync::Arc;

use super::declarations::{BlockDecl, BlockKind};
use super::namespace::{BakeEvaluator, Deferred};
use crate::diag::{Diagnostic, Span, Spanned};
use crate::hcl::cty::{Text, Value};
use crate::hcl::eval::expr::problem;
use crate::hcl::eval::scope::Scope;
use crate::hcl::eval::traverse::constant_name;
use crate::hcl::eval::{Failed, SlotId, ValueResult};
use crate::hcl::syntax::{Attribute, Step, Traversal};
use crate::types::hash::HashMap;

/// The names that a matrix defines for one combination, with their values.
pub(super) type MatrixNames = Arc<[(Arc<str>, Value)]>;

/// A target or group under its final name: a block, or one combination of a block with a matrix.
#[derive(Debug)]
pub(super) struct BlockInstance<'a> {
    /// The block that makes the instance. A block with a matrix makes several.
    pub(super) decl: BlockDecl<'a>,
    /// The block's label, or the value of its `name` attribute.
    pub(super) name: Arc<str>,
    /// Where the label or `name` is written.
    pub(super) name_span: Span,
    /// The matrix values of this combination, or `None` if the block has no matrix.
    pub(super) matrix: Option<MatrixNames>,
    /// The slot of the first attribute. The slots of the others follow in order.
    first_slot: SlotId,
}

impl<'a> BlockInstance<'a> {
    /// The attributes in order, each with the slot that holds its value.
    pub(super) fn attributes(
        &self,
    ) -> impl ExactSizeIterator<Item = (&'a Attribute, SlotId)> + use<'a> {
        let attributes = &self.decl.block.body.attributes;
        let first = self.first_slot;
        let numbered = attributes.iter().enumerate();
        numbered.map(move |(place, attribute)| (attribute, first.after(place)))
    }
}

/// The indices of all instances with one name, in order.
#[derive(Debug)]
enum Indices {
    /// The usual case, which needs no allocation.
    One(usize),
    Several(Vec<usize>),
}

impl Indices {
    fn push(&mut self, index: usize) {
        match self {
            Self::One(first) => *self = Self::Several(vec![*first, index]),
            Self::Several(indices) => indices.push(index),
        }
    }

    fn as_slice(&self) -> &[usize] {
        match self {
            Self::One(index) => std::slice::from_ref(index),
            Self::Several(indices) => indices,
        }
    }
}

/// All target and group instances of a definition.
#[derive(Debug, Default)]
pub(super) struct Blocks<'a> {
    /// In the order in which they got their names. Use [`Blocks::in_order`] for the order of the files.
    pub(super) instances: Vec<BlockInstance<'a>>,
    /// Targets and groups from Compose files, with their places. Expressions cannot refer to them; the names are
    /// kept for the error message.
    pub(super) of_compose: Vec<(BlockKind, Spanned<Arc<str>>)>,
    targets: HashMap<Arc<str>, Indices>,
    groups: HashMap<Arc<str>, Indices>,
    no_names: Option<MatrixNames>,
}

impl Blocks<'_> {
    /// Reserves memory for `blocks` instances, most of them targets.
    pub(super) fn reserve(&mut self, blocks: usize) {
        self.instances.reserve(blocks);
        self.targets.reserve(blocks);
    }

    /// The matrix values of an instance. Empty if it has no matrix.
    pub(super) fn matrix_names(&mut self, instance: usize) -> MatrixNames {
        match self.instances.get(instance).and_then(|i| i.matrix.as_ref()) {
            Some(names) => Arc::clone(names),
            None => Arc::clone(self.no_names.get_or_insert_with(|| Arc::from([]))),
        }
    }

    /// The indices of all instances in the order of the definition. `instances` may have another order: a matrix
    /// is expanded early if something refers to one of its targets.
    pub(super) fn in_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.instances.len()).collect();
        order.sort_by_key(|index| {
            self.instances
                .get(*index)
                .map(|instance| instance.decl.index)
        });
        order
    }

    /// The instance in words for messages, such as ``target `web` ``.
    pub(super) fn describe(&self, instance: usize) -> String {
        match self.instances.get(instance) {
            Some(instance) => format!("{} `{}`", instance.decl.kind.word(), instance.name),
            None => "a block".to_owned(),
        }
    }

    fn by_name(&self, kind: BlockKind) -> &HashMap<Arc<str>, Indices> {
        match kind {
            BlockKind::Target => &self.targets,
            BlockKind::Group => &self.groups,
        }
    }

    /// The indices of the instances of this kind with the name `name`, in order.
    pub(super) fn called(&self, kind: BlockKind, name: &str) -> &[usize] {
        self.by_name(kind).get(name).map_or(&[], Indices::as_slice)
    }
}

impl<'a> BakeEvaluator<'a> {
    /// Registers a block under its final name and creates a slot for each of its attributes.
    pub(super) fn add_instance(
        &mut self,
        decl: BlockDecl<'a>,
        name: Arc<str>,
        name_span: Span,
        matrix: Option<MatrixNames>,
    ) {
        let index = self.names.blocks.instances.len();
        let attributes = decl.block.body.attributes.iter();
        let first_slot = self.add_slots(attributes.map(|attribute| Deferred::BlockAttribute {
            instance: index,
            attribute,
        }));
        let names = match decl.kind {
            BlockKind::Target => &mut self.names.blocks.targets,
            BlockKind::Group => &mut self.names.blocks.groups,
        };
        names
            .entry(Arc::clone(&name))
            .and_modify(|indices| indices.push(index))
            .or_insert(Indices::One(index));
        self.names.blocks.instances.push(BlockInstance {
            decl,
            name,
            name_span,
            matrix,
            first_slot,
        });
    }

    /// Evaluates `target.NAME.ATTRIBUTE…` or `group.NAME.ATTRIBUTE…`.
    pub(super) fn block_reference(
        &mut self,
        kind: BlockKind,
        traversal: &'a Traversal,
        scope: &Scope<'_>,
    ) -> ValueResult {
        let word = kind.word();
        let [Step::Attribute(name), rest @ ..] = traversal.steps.as_slice() else {
            return Err(self.fail(
                problem(
                    "definition::bare-reference",
                    format!("a reference to a {word} must have its name after a dot"),
                )
                .at(traversal.root.span, "")
                .help(format!("write `{word}.NAME.ATTRIBUTE`")),
            ));
        };
        self.expand_matrices_for(kind, &name.text);
        if self.names.blocks.called(kind, &name.text).is_empty() {
            return Err(self.unknown_block(kind, &name.text, name.span));
        }
        let attribute = match rest.first() {
            Some(Step::Attribute(attribute)) => Some((&*attribute.text, attribute.span)),
            Some(Step::Index(key)) => constant_name(key).map(|text| (text, key.span)),
            _ => None,
        };
        let Some((attribute, at)) = attribute else {
            let whole = self.whole_block(kind, &name.text, traversal.span_to(0))?;
            return self.steps(whole, rest, traversal.span_to(0), scope);
        };
        let value = self.block_attribute(kind, &name.text, attribute, at)?;
        self.steps(
            value,
            rest.get(1..).unwrap_or_default(),
            traversal.span_to(1),
            scope,
        )
    }

    /// The error for a reference to a block that does not exist. For the label of a matrix, it lists some of the
    /// matrix's targets.
    fn unknown_block(&mut self, kind: BlockKind, name: &str, at: Span) -> Failed {
        let word = kind.word();
        let of_compose = self.names.blocks.of_compose.iter();
        let of_compose = of_compose
            .clone()
            .find(|(made, known)| *made == kind && *known.value == *name);
        if let Some((_, known)) = of_compose {
            let unreachable = unreachable_block(kind, name, at, known.span);
            return self.fail(unreachable);
        }
        let mut unknown = problem(
            "definition::unknown-block",
            format!("there is no {word} `{name}`"),
        )
        .at(at, "not defined");
        let made: Vec<&str> = self
            .names
            .blocks
            .instances
            .iter()
            .filter(|i| i.decl.kind == kind && i.matrix.is_some() && *i.decl.label.text == *name)
            .map(|i| &*i.name)
            .take(3)
            .collect();
        unknown = if made.is_empty() {
            unknown.did_you_mean(
                &format!("a {word}"),
                name,
                self.names
                    .blocks
                    .instances
                    .iter()
                    .filter(|instance| instance.decl.kind == kind)
                    .map(|instance| &*instance.name),
            )
        } else {
            unknown.help(format!(
                "`{name}` has a matrix; its targets are `{}`, …",
                made.join("`, `")
            ))
        };
        self.fail(unknown)
    }

    /// Evaluates one attribute of the block `name`. As in buildx, a reference sees the typed value from the files,
    /// without inherited values and without values set by flags.
    fn block_attribute(
        &mut self,
        kind: BlockKind,
        name: &str,
        attribute: &str,
        at: Span,
    ) -> ValueResult {
        if attribute == "name" {
            return Ok(Value::string(name));
        }
        let Some(typing) = super::typing::of(kind, attribute) else {
            return Err(self.fail(
                problem(
                    "definition::unknown-attribute",
                    format!("{}s have no attribute `{attribute}`", kind.word()),
                )
                .at(at, "")
                .did_you_mean(
                    "an attribute",
                    attribute,
                    super::typing::names(kind),
                ),
            ));
        };
        let instances = self.names.blocks.called(kind, name).to_vec();
        let mut values = Vec::new();
        for instance in instances {
            let slot = self
                .names
                .blocks
                .instances
                .get(instance)
                .and_then(|instance| {
                    instance
                        .attributes()
                        .find(|(written, _)| *written.name.text == *attribute)
                });
            if let Some((written, slot)) = slot {
                let value = self.slot(slot, Some(at))?;
                values.push((value, &written.expr));
            }
        }
        typing.reference(&values).map_err(|problems| {
            for problem in problems.0 {
                self.fail(problem);
            }
            Failed::UNTYPED
        })
    }

    /// The value of `target.NAME` without an attribute: an object with all attributes. Evaluates each of them.
    fn whole_block(&mut self, kind: BlockKind, name: &str, at: Span) -> ValueResult {
        let mut entries = std::collections::BTreeMap::new();
        entries.insert(Text::from("name"), Value::string(name));
        for attribute in super::typing::names(kind) {
            let value = self.block_attribute(kind, name, attribute, at)?;
            entries.insert(Text::from(attribute), value);
        }
        Ok(Value::object(entries))
    }
}

/// The error for a reference to a Compose target. As in buildx, expressions cannot refer to targets of Compose
/// files, because they are not HCL blocks.
fn unreachable_block(kind: BlockKind, name: &str, at: Span, defined: Option<Span>) -> Diagnostic {
    let word = kind.word();
    let told = problem(
        "definition::unknown-block",
        format!("the {word} `{name}` comes from a Compose file, and expressions cannot refer to such a {word}"),
    )
    .at(at, "expressions can refer only to HCL and JSON blocks");
    let told = told.context(defined, "defined here");
    match kind {
        BlockKind::Target => told
            .help(format!(
                "to inherit its attributes, write `inherits = [\"{name}\"]`; to use its result, write `contexts = {{ NAME = \
                 \"target:{name}\" }}`"
            ))
            .help("for a value that both need, use a variable: Compose files read it from the environment and from `.env`"),
        BlockKind::Group => told.help(format!("list it as a member: `targets = [\"{name}\"]`")),
    }
}
