//! Values together with the expressions that a bake file would have for them. The expressions give every part a
//! place in the Compose file, which error messages show.

use std::sync::Arc;

use super::super::evaluated::EvaluatedAttribute;
use crate::diag::{Span, Spanned};
use crate::hcl::cty::{Text, Type, Value};
use crate::hcl::syntax::{Expr, ExprKind, Ident, ObjectItem, ObjectKey};

/// A value and its expression.
#[derive(Debug, Clone)]
pub(super) struct Made {
    value: Value,
    expr: Expr,
}

impl Made {
    fn literal(value: Value, span: Span) -> Self {
        let kind = ExprKind::Literal(value.clone());
        Self {
            value,
            expr: Expr { span, kind },
        }
    }

    /// A string. `span` is its place if `text` has none.
    pub(super) fn text(text: &Spanned<String>, span: Span) -> Self {
        Self::literal(
            Value::string(text.value.as_str()),
            text.span.unwrap_or(span),
        )
    }

    /// Null: the attribute is not set.
    pub(super) fn null(span: Span) -> Self {
        Self::literal(Value::Null(Type::Dynamic), span)
    }

    /// A boolean value at `span`.
    pub(super) fn boolean(value: bool, span: Span) -> Self {
        Self::literal(Value::from(value), span)
    }

    /// A list of values.
    pub(super) fn list(items: Vec<Self>, span: Span) -> Self {
        let (values, exprs) = items
            .into_iter()
            .map(|item| (item.value, item.expr))
            .unzip();
        Self {
            value: Value::tuple(values),
            expr: Expr {
                span,
                kind: ExprKind::Tuple(exprs),
            },
        }
    }

    /// A list of strings. `span` is the place of each string that has none.
    pub(super) fn texts(texts: &[Spanned<String>], span: Span) -> Self {
        Self::list(
            texts.iter().map(|text| Self::text(text, span)).collect(),
            span,
        )
    }

    /// An object with the given fields. The place of a key is that of its value.
    pub(super) fn object(entries: Vec<(String, Self)>, span: Span) -> Self {
        let mut values = std::collections::BTreeMap::new();
        let mut items = Vec::with_capacity(entries.len());
        for (key, made) in entries {
            let name = Ident {
                text: Arc::from(key.as_str()),
                span: made.expr.span,
            };
            values.insert(Text::from(key.as_str()), made.value);
            items.push(ObjectItem {
                key: ObjectKey::Name(name),
                value: made.expr,
            });
        }
        Self {
            value: Value::object(values),
            expr: Expr {
                span,
                kind: ExprKind::Object(items.into()),
            },
        }
    }

    /// Converts the value to an attribute of a block.
    pub(super) fn attribute(self) -> EvaluatedAttribute {
        EvaluatedAttribute {
            name_span: Some(self.expr.span),
            value: self.value,
            expr: Some(Arc::new(self.expr)),
        }
    }
}
