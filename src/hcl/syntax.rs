//! The syntax tree of a definition: attributes, blocks and expressions, each with the place it was written at.
//!
//! Knows nothing of what an attribute means. `native` and `json` lower their syntaxes into
//! it, so that a parser can be exchanged without touching the evaluator.
//! What only concerns writing (comments, trailing commas, white space markers of templates) is gone: literals hold the
//! text they stand for. Start at [`File`]; [`Expr`] is what [`super::eval`] walks.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use super::cty::value::{Text, Value};
use crate::diag::{SourceId, Span};
use crate::types::hash::HashMap;

/// One parsed file.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// The file in the source map.
    pub(crate) source: SourceId,
    /// What it contains.
    pub(crate) body: Body,
}

/// The content of a file or block.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    /// `name = expression`, in order; names are unique.
    pub(crate) attributes: Vec<Attribute>,
    /// Nested blocks, in order.
    pub(crate) blocks: Vec<Block>,
    /// From the first to the last byte, without braces.
    pub(crate) span: Span,
}

impl Body {
    /// The attribute called `name`.
    pub(crate) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|a| &*a.name.text == name)
    }

    /// The nested blocks of one kind, in order.
    pub(crate) fn blocks_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Block> {
        self.blocks.iter().filter(move |b| &*b.kind.text == kind)
    }
}

/// A name and where it was written.
#[derive(Debug, Clone)]
pub(crate) struct Ident {
    /// The name.
    pub(crate) text: Arc<str>,
    /// Where it was written, with its quotes if it has them.
    pub(crate) span: Span,
}

/// `name = expression`.
#[derive(Debug, Clone)]
pub(crate) struct Attribute {
    /// What is set.
    pub(crate) name: Ident,
    /// What it is set to.
    pub(crate) expr: Arc<Expr>,
}

impl Attribute {
    /// From the name to the end of the expression.
    pub(crate) fn span(&self) -> Span {
        Span {
            end: self.expr.span.end,
            ..self.name.span
        }
    }
}

/// `kind "label" { … }`.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// The word it starts with.
    pub(crate) kind: Ident,
    /// The labels, quoted or bare.
    pub(crate) labels: Vec<Ident>,
    /// What is between the braces.
    pub(crate) body: Body,
    /// The kind and the labels.
    pub(crate) header: Span,
}

/// An expression.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    /// From its first to its last byte.
    pub(crate) span: Span,
    /// What it is.
    pub(crate) kind: ExprKind,
}

/// The kinds of expression.
#[derive(Debug, Clone)]
pub(crate) enum ExprKind {
    /// A constant: `null`, a bool, a number with all its digits, a string with its escapes resolved.
    Literal(Value),
    /// Text with something to fill in; always a string.
    Template(Vec<TemplatePart>),
    /// `"${expression}"` and nothing else: the expression's value, whatever its type.
    Wrapped(Box<Expr>),
    /// A name in scope.
    Variable(Arc<str>),
    /// `expression.name`, `expression[key]`, `expression[*]`, one after the other.
    Traversal(Box<Traversal>),
    /// `name(argument, …)`.
    Call(Box<Call>),
    /// `condition ? yes : no`.
    Conditional(Box<Conditional>),
    /// `-x`, `!x`.
    Unary(Box<Unary>),
    /// `a + b` and its like.
    Binary(Box<Binary>),
    /// `[for …]` or `{for …}`.
    For(Box<For>),
    /// `[a, b]`.
    Tuple(Vec<Expr>),
    /// `{a = b}`; later items win over earlier ones of the same key.
    Object(ObjectItems),
    /// `(expression)`.
    Parentheses(Box<Expr>),
}

/// A piece of a template.
#[derive(Debug, Clone)]
pub(crate) enum TemplatePart {
    /// Text as it stands.
    Literal(Text),
    /// `${expression}`.
    Interpolation(Expr),
    /// `%{ if condition }…%{ else }…%{ endif }`.
    If(Box<TemplateIf>),
    /// `%{ for key, value in collection }…%{ endfor }`.
    For(Box<TemplateFor>),
}

/// An `if` directive.
#[derive(Debug, Clone)]
pub(crate) struct TemplateIf {
    /// The whole directive, up to its `endif`.
    pub(crate) span: Span,
    /// What is asked.
    pub(crate) condition: Expr,
    /// What is written when it is true.
    pub(crate) then: Vec<TemplatePart>,
    /// What is written when it is false.
    pub(crate) otherwise: Vec<TemplatePart>,
}

/// A `for` directive.
#[derive(Debug, Clone)]
pub(crate) struct TemplateFor {
    /// The whole directive, up to its `endfor`.
    pub(crate) span: Span,
    /// The name of the index or key.
    pub(crate) key: Option<Ident>,
    /// The name of the element.
    pub(crate) value: Ident,
    /// What is iterated over.
    pub(crate) collection: Expr,
    /// What is written for each element.
    pub(crate) body: Vec<TemplatePart>,
}

/// A value and the way into it.
#[derive(Debug, Clone)]
pub(crate) struct Traversal {
    /// Where it starts.
    pub(crate) root: Expr,
    /// The way; never empty.
    pub(crate) steps: Vec<Step>,
}

impl Traversal {
    /// The place from the root up to and including step `index`.
    pub(crate) fn span_to(&self, index: usize) -> Span {
        match self.steps.get(index) {
            Some(step) => Span {
                end: step.span().end,
                ..self.root.span
            },
            None => self.root.span,
        }
    }
}

/// One step into a value.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// `.name`.
    Attribute(Ident),
    /// `[key]`, or the old form `.0`.
    Index(Expr),
    /// `[*]` or `.*`: the way `each` is gone for each element.
    Splat {
        /// The star.
        span: Span,
        /// The way that is gone for each element.
        each: Vec<Step>,
    },
}

impl Step {
    /// The step's place; of a splat, the star and all that is gone for each element.
    pub(crate) fn span(&self) -> Span {
        match self {
            Self::Attribute(name) => name.span,
            Self::Index(key) => key.span,
            Self::Splat { span, each } => Span {
                end: each.last().map_or(span.end, |step| step.span().end),
                ..*span
            },
        }
    }
}

/// A function call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The function's name; parts of a namespace are joined by `::`.
    pub(crate) name: Ident,
    /// The arguments.
    pub(crate) arguments: Vec<Expr>,
    /// Whether the last argument is followed by `...` and stands for its elements.
    pub(crate) expand_last: bool,
}

/// A conditional.
#[derive(Debug, Clone)]
pub(crate) struct Conditional {
    /// What is asked.
    pub(crate) condition: Expr,
    /// The value when it is true.
    pub(crate) yes: Expr,
    /// The value when it is false.
    pub(crate) no: Expr,
}

/// An operation on one operand.
#[derive(Debug, Clone)]
pub(crate) struct Unary {
    /// What is done.
    pub(crate) operator: UnaryOperator,
    /// What it is done to.
    pub(crate) operand: Expr,
}

/// The operators with one operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnaryOperator {
    /// `-`
    Negate,
    /// `!`
    Not,
}

/// An operation on two operands.
#[derive(Debug, Clone)]
pub(crate) struct Binary {
    /// What is done.
    pub(crate) operator: BinaryOperator,
    /// The operand before the operator.
    pub(crate) left: Expr,
    /// The operand after it.
    pub(crate) right: Expr,
}

/// The operators with two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BinaryOperator {
    /// `||`
    Or,
    /// `&&`
    And,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
}

/// A `for` expression.
#[derive(Debug, Clone)]
pub(crate) struct For {
    /// The name of the index or key.
    pub(crate) key_name: Option<Ident>,
    /// The name of the element.
    pub(crate) value_name: Ident,
    /// What is iterated over.
    pub(crate) collection: Expr,
    /// The key of each result; present where an object is made.
    pub(crate) key: Option<Expr>,
    /// Each result.
    pub(crate) value: Expr,
    /// Which elements are taken.
    pub(crate) condition: Option<Expr>,
    /// Whether results of the same key are gathered (`...`).
    pub(crate) group: bool,
}

/// The items of an object, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct ObjectItems {
    items: Vec<ObjectItem>,
    // Made at the first search; objects with thousands of keys are searched thousands of times. Boxed, because few have it
    // and the size of all expressions is that of the largest kind.
    by_name: OnceLock<Box<HashMap<Arc<str>, usize>>>,
}

impl ObjectItems {
    /// The item that counts for the key `name`, among those whose keys are plain.
    pub(crate) fn get(&self, name: &str) -> Option<&ObjectItem> {
        // Looking through a few is cheaper than remembering where they are.
        const FEW: usize = 32;
        if self.items.len() <= FEW {
            return self
                .items
                .iter()
                .rev()
                .find(|item| item.key.name().is_some_and(|key| **key == *name));
        }
        let by_name = self.by_name.get_or_init(|| {
            let names = self.items.iter().enumerate();
            let by_name = names
                .filter_map(|(index, item)| Some((Arc::clone(item.key.name()?), index)))
                .collect();
            Box::new(by_name)
        });
        by_name.get(name).and_then(|index| self.items.get(*index))
    }
}

impl From<Vec<ObjectItem>> for ObjectItems {
    fn from(items: Vec<ObjectItem>) -> Self {
        Self {
            items,
            by_name: OnceLock::new(),
        }
    }
}

impl Deref for ObjectItems {
    type Target = [ObjectItem];

    fn deref(&self) -> &[ObjectItem] {
        &self.items
    }
}

impl<'a> IntoIterator for &'a ObjectItems {
    type Item = &'a ObjectItem;
    type IntoIter = std::slice::Iter<'a, ObjectItem>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

/// An item of an object.
#[derive(Debug, Clone)]
pub(crate) struct ObjectItem {
    /// Its key.
    pub(crate) key: ObjectKey,
    /// Its value.
    pub(crate) value: Expr,
}

/// The key of an object's item.
#[derive(Debug, Clone)]
pub(crate) enum ObjectKey {
    /// A bare word or a string without interpolation.
    Name(Ident),
    /// Something to evaluate: `(expression)`, a template, a number.
    Expr(Expr),
}

impl ObjectKey {
    /// The key, where it is plain.
    pub(crate) const fn name(&self) -> Option<&Arc<str>> {
        match self {
            Self::Name(name) => Some(&name.text),
            Self::Expr(_) => None,
        }
    }

    /// Where the key is written.
    pub(crate) fn span(&self) -> Span {
        match self {
            Self::Name(ident) => ident.span,
            Self::Expr(expr) => expr.span,
        }
    }
}

/// A step to an element of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PathStep<'a> {
    /// The element with this key of a map or object.
    Key(&'a str),
    /// The element at this position of a list.
    Index(usize),
}

impl Expr {
    /// The expression without the parentheses and quotes around it.
    pub(crate) fn inner(&self) -> &Self {
        let mut expr = self;
        while let ExprKind::Parentheses(inner) | ExprKind::Wrapped(inner) = &expr.kind {
            expr = inner;
        }
        expr
    }

    /// Where the element at `path` is written, as far as the text shows it: the smallest place known to contain it.
    pub(crate) fn element_span(&self, path: &[PathStep<'_>]) -> Span {
        self.element(path).span
    }

    /// The smallest expression known to contain the element at `path`.
    pub(crate) fn element(&self, path: &[PathStep<'_>]) -> &Self {
        let mut expr = self.inner();
        for step in path {
            let next = match (&expr.kind, step) {
                (ExprKind::Tuple(items), PathStep::Index(index)) => items.get(*index),
                (ExprKind::Object(items), PathStep::Key(key)) => {
                    items.get(key).map(|item| &item.value)
                }
                _ => None,
            };
            match next {
                Some(next) => expr = next.inner(),
                None => break,
            }
        }
        expr
    }

    /// The word, where the expression is a bare word (`null`, `true` and `false` among them).
    pub(crate) fn keyword(&self) -> Option<&str> {
        match &self.kind {
            ExprKind::Variable(name) => Some(name),
            ExprKind::Literal(Value::Null(_)) => Some("null"),
            ExprKind::Literal(Value::Bool(true)) => Some("true"),
            ExprKind::Literal(Value::Bool(false)) => Some("false"),
            _ => None,
        }
    }
}
