//! What the files declare, by kind and name, before anything is evaluated.
//!
//! Decides which declaration counts where several have one name, and notes what is ignored. Knows nothing of values.
//! Start at [`Declarations::collect`].

use std::sync::Arc;

use crate::diag::{Class, Diagnostic, Diagnostics, SourceId, Span};
use crate::hcl::eval::user_functions::FunctionDecl;
use crate::hcl::syntax::{Attribute, Block, Expr, File, Ident};
use crate::types::hash::IndexMap;

/// The kinds of top-level block.
pub(super) const BLOCK_KINDS: [&str; 4] = ["variable", "function", "group", "target"];

/// All declarations of a definition.
#[derive(Debug, Default)]
pub(super) struct Declarations<'a> {
    /// `variable` blocks; the last of a name.
    pub(super) variables: IndexMap<Arc<str>, VariableDecl<'a>>,
    /// Top-level attributes; the last of a name.
    pub(super) globals: IndexMap<Arc<str>, &'a Attribute>,
    /// `function` blocks; the last of a name.
    pub(super) functions: IndexMap<Arc<str>, FunctionDecl<'a>>,
    /// `group` and `target` blocks, all, in order.
    pub(super) blocks: Vec<BlockDecl<'a>>,
    /// What is ignored.
    pub(super) warnings: Vec<Diagnostic>,
}

/// A `variable` block.
#[derive(Debug)]
pub(super) struct VariableDecl<'a> {
    /// Its label.
    pub(super) name: &'a Ident,
    /// The type expression.
    pub(super) ty: Option<&'a Expr>,
    /// The default.
    pub(super) default: Option<&'a Expr>,
    /// What it is for.
    pub(super) description: Option<&'a Expr>,
    /// The conditions its value must meet.
    pub(super) validations: Vec<ValidationDecl<'a>>,
}

/// A `validation` block.
#[derive(Debug)]
pub(super) struct ValidationDecl<'a> {
    /// What must be true.
    pub(super) condition: Option<&'a Expr>,
    /// What is said otherwise.
    pub(super) error_message: Option<&'a Expr>,
    /// The place of the block's header.
    pub(super) span: Span,
}

/// Whether a block is a target or a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// A target.
    Target,
    /// A group.
    Group,
}

impl BlockKind {
    /// The word for it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Group => "group",
        }
    }

    /// The kind that is called `word`.
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
    /// Its place among the blocks of the definition.
    pub(super) index: usize,
    /// Which of the two.
    pub(super) kind: BlockKind,
    /// Its label.
    pub(super) label: &'a Ident,
    /// The block.
    pub(super) block: &'a Block,
    /// The file.
    pub(super) source: SourceId,
}

impl<'a> Declarations<'a> {
    /// The declarations of `files`; `reserved` names are the builtins', which nothing can take.
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
                    // An earlier one is overridden, but keeps its place in the order.
                    all.globals.insert(Arc::clone(&name.text), attribute);
                }
            }
            for block in &file.body.blocks {
                all.block(block, file.source, reserved, problems);
            }
        }
        all
    }

    /// How many values there are to be found, unless a matrix multiplies them.
    pub(super) fn slots(&self) -> usize {
        let blocks = self.blocks.iter();
        let attributes: usize = blocks.map(|decl| decl.block.body.attributes.len()).sum();
        // A few more are builtin.
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
                    format!("blocks of the kind `{}` are ignored", kind.text),
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

    // Like buildx, declarations with a name that is taken are passed over; unlike it, not in silence.
    fn may_be_called(&mut self, name: &Ident, reserved: &dyn Fn(&str) -> bool) -> bool {
        let what = if BlockKind::of_word(&name.text).is_some() {
            "the word for blocks"
        } else if reserved(&name.text) {
            "a builtin variable"
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

    /// Notes the attributes of `block` that are none of `known`.
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

    /// Notes the blocks in `block` that are none of `known`.
    pub(super) fn unknown_blocks(&mut self, block: &Block, of: &str, known: &[&str]) {
        for inner in &block.body.blocks {
            let kind = &inner.kind;
            if !known.contains(&&*kind.text) {
                self.warnings.push(
                    Diagnostic::warning(
                        "definition::ignored-block",
                        format!("{of} have no blocks `{}`, so it is ignored", kind.text),
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

// Functions and validations are the blocks in which buildx does not pass over what it does not know.
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
        let message = format!("{of} have no blocks `{}`", inner.kind.text);
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
        (Some(first), None) => (format!("`{kind}` blocks have no name"), first.span),
    };
    let problem = Diagnostic::error(Class::Definition, "definition::labels", message).at(at, "");
    if BLOCK_KINDS.contains(&&**kind) {
        problem.help(format!("write `{kind} \"name\" {{ … }}`"))
    } else {
        problem
    }
}
