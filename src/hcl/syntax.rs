//! The syntax tree of a definition: attributes, blocks and expressions, each with its position in the source.
//!
//! Both the native syntax ([`super::parser`]) and the JSON syntax ([`super::json`]) are parsed to this tree, so the
//! evaluator does not know which one a file uses. The tree says nothing about what an attribute means. Details of
//! the text that do not affect the meaning (comments, trailing commas, the `~` markers of templates) are gone, and
//! literals contain the decoded text. Start at [`File`]; [`super::eval`] evaluates [`Expr`].

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use super::cty::value::{Text, Value};
use crate::diag::{SourceId, Span};
use crate::types::hash::HashMap;

/// One parsed file.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// The file's identifier in the source map.
    pub(crate) source: SourceId,
    /// The file's content.
    pub(crate) body: Body,
}

/// The content of a file or block.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    /// `name = expression`, in the order of the text. Names are unique.
    pub(crate) attributes: Vec<Attribute>,
    /// Nested blocks, in the order of the text.
    pub(crate) blocks: Vec<Block>,
    /// The content, without the braces.
    pub(crate) span: Span,
}

impl Body {
    /// The attribute with the name `name`.
    pub(crate) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|a| &*a.name.text == name)
    }

    /// The nested blocks of the kind `kind` (such as `target`), in the order of the text.
    pub(crate) fn blocks_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Block> {
        self.blocks.iter().filter(move |b| &*b.kind.text == kind)
    }
}

/// A name and where it was written.
#[derive(Debug, Clone)]
pub(crate) struct Ident {
    /// The name, without quotes and with escapes resolved.
    pub(crate) text: Arc<str>,
    /// Its position, quotes included if there are any.
    pub(crate) span: Span,
}

/// `name = expression`.
#[derive(Debug, Clone)]
pub(crate) struct Attribute {
    /// The left side.
    pub(crate) name: Ident,
    /// The right side.
    pub(crate) expr: Arc<Expr>,
}

impl Attribute {
    /// The whole attribute, from the name to the end of the expression.
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
    /// The word that begins the block, such as `target`.
    pub(crate) kind: Ident,
    /// The labels after it, which may be quoted or bare words.
    pub(crate) labels: Vec<Ident>,
    /// The content of the braces.
    pub(crate) body: Body,
    /// The position of the kind and the labels, without the body.
    pub(crate) header: Span,
}

/// An expression.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    /// The position of the whole expression.
    pub(crate) span: Span,
    /// The expression itself.
    pub(crate) kind: ExprKind,
}

/// The kinds of expression.
#[derive(Debug, Clone)]
pub(crate) enum ExprKind {
    /// A constant: `null`, a bool, a number with all its digits, or a string with its escapes resolved.
    Literal(Value),
    /// A template with at least one interpolation or directive beside other parts. Its value is always a string.
    Template(Vec<TemplatePart>),
    /// `"${expression}"` with nothing around it. Its value is that of the expression, of any type, and need not be
    /// a string.
    Wrapped(Box<Expr>),
    /// A name, to be looked up in the scope.
    Variable(Arc<str>),
    /// An expression followed by one or more of `.name`, `[key]`, `[*]`.
    Traversal(Box<Traversal>),
    /// `name(argument, …)`.
    Call(Box<Call>),
    /// `condition ? yes : no`.
    Conditional(Box<Conditional>),
    /// `-x`, `!x`.
    Unary(Box<Unary>),
    /// `a + b` and the other operators with two operands.
    Binary(Box<Binary>),
    /// `[for …]` or `{for …}`.
    For(Box<For>),
    /// `[a, b]`.
    Tuple(Vec<Expr>),
    /// `{a = b}`. If a key repeats, the last item counts.
    Object(ObjectItems),
    /// `(expression)`.
    Parentheses(Box<Expr>),
}

/// A part of a template.
#[derive(Debug, Clone)]
pub(crate) enum TemplatePart {
    /// Literal text, with escapes resolved.
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
    /// Position of the whole directive, from `if` to its `endif`.
    pub(crate) span: Span,
    /// The condition, which must be a bool.
    pub(crate) condition: Expr,
    /// The parts between `if` and `else` or `endif`.
    pub(crate) then: Vec<TemplatePart>,
    /// The parts between `else` and `endif`; empty without an `else`.
    pub(crate) otherwise: Vec<TemplatePart>,
}

/// A `for` directive.
#[derive(Debug, Clone)]
pub(crate) struct TemplateFor {
    /// Position of the whole directive, from `for` to its `endfor`.
    pub(crate) span: Span,
    /// The name of the index or key.
    pub(crate) key: Option<Ident>,
    /// The name of the element.
    pub(crate) value: Ident,
    /// The collection to iterate over.
    pub(crate) collection: Expr,
    /// The parts that are written for each element.
    pub(crate) body: Vec<TemplatePart>,
}

/// An expression and the steps that lead from its value into it.
#[derive(Debug, Clone)]
pub(crate) struct Traversal {
    /// The expression whose value the first step applies to.
    pub(crate) root: Expr,
    /// The steps, in order. Never empty.
    pub(crate) steps: Vec<Step>,
}

impl Traversal {
    /// The position from the start of the root to the end of step `index`; of the root alone if there is no such
    /// step.
    pub(crate) fn span_to(&self, index: usize) -> Span {
        match self.steps.get(index) {
            Some(step) => Span {
                end: step.span().end,
                ..self.root.span
            },
            None => self.root.span,
        }
    }

    /// Whether it begins with a variable and all its steps are constant, as in `a.b["c"]`. HCL calls this a scope traversal
    /// (`ScopeTraversalExpr`). As a key of an object, it is ambiguous; any other expression is not.
    pub(super) fn is_constant(&self) -> bool {
        let is_constant = |step: &Step| match step {
            Step::Attribute(_) => true,
            Step::Index(key) => matches!(key.kind, ExprKind::Literal(_)),
            Step::Splat { .. } => false,
        };
        matches!(self.root.kind, ExprKind::Variable(_)) && self.steps.iter().all(is_constant)
    }
}

/// One step into a value.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// `.name`.
    Attribute(Ident),
    /// `[key]`, or the legacy form `.0`.
    Index(Expr),
    /// `[*]` or `.*`: applies `each` to every element of the value.
    Splat {
        /// Position of the star.
        span: Span,
        /// The steps to apply to each element; empty for the elements themselves.
        each: Vec<Step>,
    },
}

impl Step {
    /// The position of the step. For a splat, it includes the steps of `each`.
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
    /// The function's name. The parts of a namespaced name are joined by `::`.
    pub(crate) name: Ident,
    /// The arguments, in order.
    pub(crate) arguments: Vec<Expr>,
    /// Whether `...` follows the last argument, so that its elements are passed as separate arguments.
    pub(crate) expand_last: bool,
}

/// A conditional.
#[derive(Debug, Clone)]
pub(crate) struct Conditional {
    /// The condition, which must be a bool.
    pub(crate) condition: Expr,
    /// The expression after `?`.
    pub(crate) yes: Expr,
    /// The expression after `:`.
    pub(crate) no: Expr,
}

/// An operation on one operand.
#[derive(Debug, Clone)]
pub(crate) struct Unary {
    /// The operator.
    pub(crate) operator: UnaryOperator,
    /// The operand.
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
    /// The operator.
    pub(crate) operator: BinaryOperator,
    /// The operand on the left.
    pub(crate) left: Expr,
    /// The operand on the right.
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
    /// The collection to iterate over.
    pub(crate) collection: Expr,
    /// The expression of each key, before `=>`. `None` if the result is a tuple, not an object.
    pub(crate) key: Option<Expr>,
    /// The expression of each element or value.
    pub(crate) value: Expr,
    /// The condition after `if`: only elements for which it is true are used.
    pub(crate) condition: Option<Expr>,
    /// Whether values of the same key are collected into a tuple (`...`). Otherwise, a repeated key is an error.
    pub(crate) group: bool,
}

/// The items of an object, in the order of the text. Keys may repeat.
#[derive(Debug, Clone, Default)]
pub(crate) struct ObjectItems {
    items: Vec<ObjectItem>,
    /// The index of the last item with each plain key. It is built at the first search, because objects with
    /// thousands of keys are searched thousands of times. It is boxed, because few objects need it and every
    /// [`ExprKind`] is as large as the largest one.
    by_name: OnceLock<Box<HashMap<Arc<str>, usize>>>,
}

impl ObjectItems {
    /// The item that sets the key `name`: the last one, if the key repeats. Only items with plain keys
    /// ([`ObjectKey::Name`]) are searched.
    pub(crate) fn get(&self, name: &str) -> Option<&ObjectItem> {
        // A linear search of a few items is cheaper than to build an index.
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
    /// The key.
    pub(crate) key: ObjectKey,
    /// The value.
    pub(crate) value: Expr,
}

/// The key of an object's item.
#[derive(Debug, Clone)]
pub(crate) enum ObjectKey {
    /// A bare word or a string without interpolation.
    Name(Ident),
    /// An expression to evaluate: `(expression)`, a template, a number.
    Expr(Expr),
}

impl ObjectKey {
    /// The key's name, or `None` if it must be evaluated.
    pub(crate) const fn name(&self) -> Option<&Arc<str>> {
        match self {
            Self::Name(name) => Some(&name.text),
            Self::Expr(_) => None,
        }
    }

    /// The position of the key.
    pub(crate) fn span(&self) -> Span {
        match self {
            Self::Name(ident) => ident.span,
            Self::Expr(expr) => expr.span,
        }
    }
}

/// One step from a value to one of its elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PathStep<'a> {
    /// The element of a map or object with this key.
    Key(&'a str),
    /// The element of a list or tuple at this position, from 0.
    Index(usize),
}

impl Expr {
    /// Strips the parentheses and `"${…}"` around an expression.
    pub(crate) fn inner(&self) -> &Self {
        let mut expr = self;
        while let ExprKind::Parentheses(inner) | ExprKind::Wrapped(inner) = &expr.kind {
            expr = inner;
        }
        expr
    }

    /// The position of the element at `path` of this expression's value: of the smallest expression that is known
    /// to contain it.
    pub(crate) fn element_span(&self, path: &[PathStep<'_>]) -> Span {
        self.element(path).span
    }

    /// The smallest expression that contains the element at `path` of this expression's value. Tuples and objects
    /// are followed; an element of a variable or call is not, so the result is then that variable or call.
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

    /// The word, if the expression is a bare word. `null`, `true` and `false` are bare words, too.
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
