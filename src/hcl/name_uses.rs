//! Finds the free names of an expression: the variables and functions that it uses but does not bind itself.

use std::sync::Arc;

use super::syntax::{Expr, ExprKind, Ident, ObjectKey, Step, TemplatePart};
use crate::diag::Span;

/// A name that an expression needs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NameUse<'a> {
    /// A variable, or the first word of a reference to a block (`target` in `target.web.tags`), and its position.
    Variable(&'a Arc<str>, Span),
    /// A function that is called, and the position of its name.
    Function(&'a Arc<str>, Span),
}

/// Calls `visit` with each free name of `expr`, roughly in the order of the text. Names that a `for` binds are left
/// out within that `for`.
pub(crate) fn references<'a>(expr: &'a Expr, visit: &mut dyn FnMut(NameUse<'a>)) {
    Walk {
        visit,
        bound: Vec::new(),
    }
    .expr(expr);
}

struct Walk<'a, 'v> {
    visit: &'v mut dyn FnMut(NameUse<'a>),
    bound: Vec<&'a Arc<str>>,
}

impl<'a> Walk<'a, '_> {
    fn expr(&mut self, expr: &'a Expr) {
        match &expr.kind {
            ExprKind::Literal(_) => {}
            ExprKind::Template(parts) => self.parts(parts),
            ExprKind::Wrapped(inner) | ExprKind::Parentheses(inner) => self.expr(inner),
            ExprKind::Variable(name) => {
                if !self.bound.contains(&name) {
                    (self.visit)(NameUse::Variable(name, expr.span));
                }
            }
            ExprKind::Traversal(traversal) => {
                self.expr(&traversal.root);
                self.steps(&traversal.steps);
            }
            ExprKind::Call(call) => {
                (self.visit)(NameUse::Function(&call.name.text, call.name.span));
                // The second argument of `convert` is a type expression: `string` in it is not a variable.
                let values = match &*call.name.text {
                    "convert" => call.arguments.get(..1).unwrap_or_default(),
                    _ => &call.arguments,
                };
                for argument in values {
                    self.expr(argument);
                }
            }
            ExprKind::Conditional(conditional) => {
                self.expr(&conditional.condition);
                self.expr(&conditional.yes);
                self.expr(&conditional.no);
            }
            ExprKind::Unary(unary) => self.expr(&unary.operand),
            ExprKind::Binary(binary) => {
                self.expr(&binary.left);
                self.expr(&binary.right);
            }
            ExprKind::For(repetition) => {
                self.expr(&repetition.collection);
                self.within(
                    repetition.key_name.as_ref(),
                    &repetition.value_name,
                    |walk| {
                        for inner in [&repetition.key, &repetition.condition]
                            .into_iter()
                            .flatten()
                        {
                            walk.expr(inner);
                        }
                        walk.expr(&repetition.value);
                    },
                );
            }
            ExprKind::Tuple(items) => {
                for item in items {
                    self.expr(item);
                }
            }
            ExprKind::Object(items) => {
                for item in items {
                    if let ObjectKey::Expr(key) = &item.key {
                        self.expr(key);
                    }
                    self.expr(&item.value);
                }
            }
        }
    }

    fn steps(&mut self, steps: &'a [Step]) {
        for step in steps {
            match step {
                Step::Attribute(_) => {}
                Step::Index(key) => self.expr(key),
                Step::Splat { each, .. } => self.steps(each),
            }
        }
    }

    fn parts(&mut self, parts: &'a [TemplatePart]) {
        for part in parts {
            match part {
                TemplatePart::Literal(_) => {}
                TemplatePart::Interpolation(expr) => self.expr(expr),
                TemplatePart::If(directive) => {
                    self.expr(&directive.condition);
                    self.parts(&directive.then);
                    self.parts(&directive.otherwise);
                }
                TemplatePart::For(directive) => {
                    self.expr(&directive.collection);
                    self.within(directive.key.as_ref(), &directive.value, |walk| {
                        walk.parts(&directive.body);
                    });
                }
            }
        }
    }

    fn within(&mut self, key: Option<&'a Ident>, value: &'a Ident, inside: impl FnOnce(&mut Self)) {
        let outside = self.bound.len();
        self.bound.extend(key.map(|key| &key.text));
        self.bound.push(&value.text);
        inside(self);
        self.bound.truncate(outside);
    }
}
