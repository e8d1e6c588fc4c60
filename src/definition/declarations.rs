//! The declarations of all files by kind and name, collected before anything is evaluated.
//!
//! If several declarations have the same name, this module decides which one counts. It warns about declarations
//! that are ignored. It does not look at values. Start at [`Declarations::collect`].

use std::sync::Arc;

use crate::diag::{Class, Diagnostic, Diagnostics, SourceId, Span};
use crate::hcl::eval::user_functions::FunctionDecl;
use crate::hcl::syntax::{Attribute, Block, Expr, File, Ident};
use crate::types::hash::IndexMap;

/// All kinds of block that are allowed at the top level.
pub(super) const BLOCK_KINDS: [&str; 4] = ["variable", "function", "group", "target"];

/// All declarations of a definition.
#[derive(Debug, Default)]
pub(super) struct Declarations<'a> {
    /// The `variable` blocks. If a name occurs more than once, the last one counts.
    pub(super) variables: IndexMap<Arc<str>, VariableDecl<'a>>,
    /// The top-level attributes. If a name occurs more than once, the last one counts.
    pub(super) globals: IndexMap<Arc<str>, &'a Attribute>,
    /// The `function` blocks. If a name occurs more than once, the last one counts.
    pub(super) functions: IndexMap<Arc<str>, FunctionDecl<'a>>,
    /// All `group` and `target` blocks in the order of the files.
    pub(super) blocks: Vec<BlockDecl<'a>>,
    /// Warnings about declarations that are ignored.
    pub(super) warnings: Vec<Diagnostic>,
}

/// A `variable` block.
#[derive(Debug)]
pub(super) struct VariableDecl<'a> {
    /// The block's label.
    pub(super) name: &'a Ident,
    /// The value of `type`.
    pub(super) ty: Option<&'a Expr>,
    /// The value of `default`.
    pub(super) default: Option<&'a Expr>,
    /// The value of `description`.
    pub(super) description: Option<&'a Expr>,
    /// The `validation` blocks, in order.
    pub(super) validations: Vec<ValidationDecl<'a>>,
}

/// A `validation` block.
#[derive(Debug)]
pub(super) struct ValidationDecl<'a> {
    /// The value of `condition`. The variable's value is valid if this is true.
    pub(super) condition: Option<&'a Expr>,
    /// The value of `error_message`, which is reported if the condition is false.
    pub(super) error_message: Option<&'a Expr>,
    /// The place of the block's header.
    pub(super) span: Span,
}

/// Whether a block is a target or a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// A `target` block.
    Target,
    /// A `group` block.
    Group,
}

impl BlockKind {
    /// The keyword of the block.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Group => "group",
        }
    }

    /// The kind with the keyword `word`, if there is one.
    pub(super) fn of_word(word: &str) -> Option<Self> {
        match word {
            "target" => Some(Self::Target),
            "group" => Some(Self::Group),
            _ => None,
        }
    }
}

/// A `group` or `target` block.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockDecl<'a> {
    /// Its index among the `group` and `target` blocks of the definition.
    pub(super) index: usize,
    /// Whether this is a group or a target.
    pub(super) kind: BlockKind,
    /// The block's label.
    pub(super) label: &'a Ident,
    /// The syntax of the whole block.
    pub(super) block: &'a Block,
    /// The file that contains the block.
    pub(super) source: SourceId,
}

impl<'a> Declarations<'a> {
    /// Collects the declarations of `files`. `reserved` returns true for the names of builtin variables, which
    /// cannot be declared.
    pub(super) fn collect(
        files: &'a [File],
        reserved: &dyn Fn(&str) -> bool,
        problems: &mut Diagnostics,
    ) -> Self {
        let mut all = Self::default();
        for file in files {
            for attribute in &file.body.attributes {
                let name = &attribute.name;
                if all.may_be_called(name, reserved) {
                    // A repeated name overrides the earlier value but keeps the earlier position.
                    all.globals.insert(Arc::clone(&name.text), attribute);
                }
            }
            for block in &file.body.blocks {
                all.block(block, file.source, reserved, problems);
            }
        }
        all
    }

    /// An estimate of the number of values to evaluate. A matrix multiplies the attributes of its block, which is
    /// not counted.
    pub(super) fn slots(&self) -> usize {
        let blocks = self.blocks.iter();
        let attributes: usize = blocks.map(|decl| decl.block.body.attributes.len()).sum();
        // 8 more for the builtin variables.
        self.variables.len() + self.globals.len() + attributes + 8
    }

    fn block(
        &mut self,
        block: &'a Block,
        source: SourceId,
        reserved: &dyn Fn(&str) -> bool,
        problems: &mut Diagnostics,
    ) {
        let kind = &block.kind;
        if !BLOCK_KINDS.contains(&&*kind.text) {
            self.warnings.push(
                Diagnostic::warning(
                    "definition::ignored-block",
                    format!("blocks of type `{}` are ignored", kind.text),
                )
                .at(kind.span, "")
                .did_you_mean("a block", &kind.text, BLOCK_KINDS),
            );
            return;
        }
        let [label] = block.labels.as_slice() else {
            problems.push(wrong_labels(block));
            return;
        };
        match &*kind.text {
            "variable" => {
                if self.may_be_called(label, reserved) {
                    let variable = self.variable(label, block, problems);
                    self.variables.insert(Arc::clone(&label.text), variable);
                }
            }
            "function" => {
                if self.may_be_called(label, reserved) {
                    let function = function(label, block, problems);
                    self.functions.insert(Arc::clone(&label.text), function);
                }
            }
            word => {
                if let Some(kind) = BlockKind::of_word(word) {
                    self.blocks.push(BlockDecl {
                        index: self.blocks.len(),
                        kind,
                        label,
                        block,
                        source,
                    });
                }
            }
        }
    }

    /// Whether a declaration may have this name. buildx silently ignores declarations with a reserved name; rbake
    /// warns.
    fn may_be_called(&mut self, name: &Ident, reserved: &dyn Fn(&str) -> bool) -> bool {
        let what = if BlockKind::of_word(&name.text).is_some() {
            "the name of a block type"
        } else if reserved(&name.text) {
            "a built-in variable"
        } else {
            return true;
        };
        self.warnings.push(
            Diagnostic::warning(
                "definition::reserved-name",
                format!("`{}` is {what}, so this has no effect", name.text),
            )
            .at(name.span, "")
            .help("give it another name"),
        );
        false
    }

    fn variable(
        &mut self,
        name: &'a Ident,
        block: &'a Block,
        problems: &mut Diagnostics,
    ) -> VariableDecl<'a> {
        self.unknown_attributes(block, "variables", &["type", "default", "description"]);
        self.unknown_blocks(block, "variables", &["validation"]);
        let mut validations = Vec::new();
        for validation in block.body.blocks_of("validation") {
            if !validation.labels.is_empty() {
                problems.push(wrong_labels(validation));
            }
            refuse_unknown(
                validation,
                "`validation` blocks",
                &["condition", "error_message"],
                problems,
            );
            validations.push(ValidationDecl {
                condition: attribute(validation, "condition"),
                error_message: attribute(validation, "error_message"),
                span: validation.header,
            });
        }
        VariableDecl {
            name,
            ty: attribute(block, "type"),
            default: attribute(block, "default"),
            description: attribute(block, "description"),
            validations,
        }
    }

    /// Warns about the attributes of `block` that are not in `known`. `of` names the kind of block in the message.
    pub(super) fn unknown_attributes(&mut self, block: &Block, of: &str, known: &[&str]) {
        for attribute in &block.body.attributes {
            let name = &attribute.name;
            if !known.contains(&&*name.text) {
                self.warnings.push(
                    Diagnostic::warning(
                        "definition::ignored-attribute",
                        format!("{of} have no attribute `{}`, so it is ignored", name.text),
                    )
                    .at(name.span, "")
                    .did_you_mean(
                        "an attribute",
                        &name.text,
                        known.iter().copied(),
                    ),
                );
            }
        }
    }

    /// Warns about the blocks in `block` that are not in `known`. `of` names the kind of block in the message.
    pub(super) fn unknown_blocks(&mut self, block: &Block, of: &str, known: &[&str]) {
        for inner in &block.body.blocks {
            let kind = &inner.kind;
            if !known.contains(&&*kind.text) {
                self.warnings.push(
                    Diagnostic::warning(
                        "definition::ignored-block",
                        format!("{of} have no block `{}`, so it is ignored", kind.text),
                    )
                    .at(kind.span, "")
                    .did_you_mean("a block", &kind.text, known.iter().copied()),
                );
            }
        }
    }
}

fn function<'a>(name: &'a Ident, block: &'a Block, problems: &mut Diagnostics) -> FunctionDecl<'a> {
    let known = ["params", "variadic_params", "result"];
    refuse_unknown(block, "functions", &known, problems);
    FunctionDecl {
        name,
        params: attribute(block, "params"),
        variadic: attribute(block, "variadic_params"),
        result: attribute(block, "result"),
    }
}

/// Reports unknown attributes and blocks as errors. Only in functions and validations does buildx refuse them;
/// elsewhere it ignores them.
fn refuse_unknown(block: &Block, of: &str, known: &[&str], problems: &mut Diagnostics) {
    for attribute in &block.body.attributes {
        let name = &attribute.name;
        if !known.contains(&&*name.text) {
            let message = format!("{of} have no attribute `{}`", name.text);
            problems.push(
                Diagnostic::error(Class::Definition, "definition::unknown-attribute", message)
                    .at(name.span, "")
                    .did_you_mean("an attribute", &name.text, known.iter().copied()),
            );
        }
    }
    for inner in &block.body.blocks {
        let message = format!("{of} have no block `{}`", inner.kind.text);
        problems.push(
            Diagnostic::error(Class::Definition, "definition::unknown-block", message)
                .at(inner.kind.span, ""),
        );
    }
}

fn attribute<'a>(block: &'a Block, name: &str) -> Option<&'a Expr> {
    block.body.attribute(name).map(|attribute| &*attribute.expr)
}

fn wrong_labels(block: &Block) -> Diagnostic {
    let kind = &block.kind.text;
    let labels = &block.labels;
    let (message, at) = match (labels.first(), labels.get(1)) {
        (None, _) => (format!("this `{kind}` has no name"), block.kind.span),
        (Some(_), Some(second)) => (format!("this `{kind}` has more than one name"), second.span),
        (Some(first), None) => (format!("`{kind}` blocks cannot have a name"), first.span),
    };
    let problem = Diagnostic::error(Class::Definition, "definition::labels", message).at(at, "");
    if BLOCK_KINDS.contains(&&**kind) {
        problem.help(format!("write `{kind} \"name\" {{ … }}`"))
    } else {
        problem
    }
}
