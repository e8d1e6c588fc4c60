//! Parses HCL's JSON syntax: objects become bodies, and strings become templates.
//!
//! A table for each kind of body ([`BlockShape`]) says which properties are blocks; all others are attributes.
//! Bodies may also be written as arrays of objects, and the property `//` is a comment in them. The rules are those
//! of HCL's `json` package.

use std::ops::Range;
use std::sync::Arc;

use crate::golang::json::syntax::{JsonNode, Member, NodeKind, offsets, read};
use crate::hcl::cty::{Number, Value};
use crate::types::hash::HashMap;

use crate::diag::{Class, Diagnostic, Diagnostics, SourceId, Span};
use crate::hcl::name_pool::NamePool;
use crate::hcl::parser::{parse_expression, parse_template};
use crate::hcl::syntax::{
    Attribute, Block, Body, Expr, ExprKind, File, Ident, ObjectItem, ObjectKey,
};

/// A kind of block, and how to read its body.
///
/// JSON does not distinguish blocks from attributes, so each file format supplies a table of these.
#[derive(Debug)]
pub(crate) struct BlockShape {
    /// The property that contains blocks of this kind.
    pub(crate) kind: &'static str,
    /// The number of labels: 0 or 1.
    pub(crate) labels: usize,
    /// The kinds of blocks that its body may contain.
    pub(crate) blocks: &'static [BlockShape],
    /// Attributes whose strings contain an expression in native syntax instead of a template.
    pub(crate) expressions: &'static [&'static str],
    /// Whether the format knows the attribute. The values of unknown attributes are not parsed and become null, so
    /// templates in them cannot fail.
    pub(crate) has_attribute: fn(&str) -> bool,
}

/// Parses a file whose top level may contain `blocks`. Adds problems to `problems`. Returns `None` if the text is
/// not JSON.
pub(crate) fn parse(
    text: &str,
    source: SourceId,
    blocks: &'static [BlockShape],
    names: &mut NamePool,
    problems: &mut Diagnostics,
) -> Option<File> {
    let shift = text.len() - text.trim_start_matches('\u{feff}').len();
    let json = &text[shift..];
    let mut lower = Lower {
        text: json,
        shift,
        source,
        names,
        problems,
    };
    let root = match read(json) {
        Ok(root) => root,
        Err(error) => {
            let span = lower.span(&error.range);
            lower.problems.push(
                Diagnostic::error(
                    Class::Definition,
                    "definition::syntax",
                    format!("this is not valid JSON: {}", error.message),
                )
                .at(span, ""),
            );
            return None;
        }
    };
    let body = lower.body(&[&root], blocks, &[], |_| true, root.range.clone());
    Some(File { source, body })
}

struct Lower<'a> {
    text: &'a str,
    shift: usize,
    source: SourceId,
    names: &'a mut NamePool,
    problems: &'a mut Diagnostics,
}

impl<'a> Lower<'a> {
    fn span(&self, range: &Range<usize>) -> Span {
        Span::new(
            self.source,
            range.start + self.shift..range.end + self.shift,
        )
    }

    fn problem(&mut self, range: &Range<usize>, message: String) {
        let span = self.span(range);
        self.problems
            .push(Diagnostic::error(Class::Definition, "definition::syntax", message).at(span, ""));
    }

    fn ident(&mut self, member: &Member<'_>) -> Ident {
        Ident {
            text: self.names.intern(&member.key),
            span: self.span(&member.key_range),
        }
    }

    /// The members of `nodes`, which must be objects or arrays of objects; reports others. `what` names them in
    /// messages.
    fn members<'n>(&mut self, nodes: &[&'n JsonNode<'a>], what: &str) -> Vec<&'n Member<'a>> {
        let mut members = Vec::new();
        for node in nodes {
            match &node.kind {
                NodeKind::Null => {}
                NodeKind::Object(own) => members.extend(own),
                NodeKind::Array(items) => {
                    for item in items {
                        match &item.kind {
                            NodeKind::Object(own) => members.extend(own),
                            other => self.problem(
                                &item.range,
                                format!("{what} must be an object, not {}", other.words()),
                            ),
                        }
                    }
                }
                other => self.problem(
                    &node.range,
                    format!("{what} must be an object, not {}", other.words()),
                ),
            }
        }
        members
    }

    /// Reads the members of `nodes` as one body. `means` is the [`BlockShape::has_attribute`] of its block.
    fn body(
        &mut self,
        nodes: &[&JsonNode<'a>],
        shapes: &'static [BlockShape],
        expressions: &[&str],
        means: fn(&str) -> bool,
        range: Range<usize>,
    ) -> Body {
        let mut body = Body {
            attributes: Vec::new(),
            blocks: Vec::new(),
            span: self.span(&range),
        };
        let mut seen: HashMap<Arc<str>, Span> = HashMap::default();
        for member in self.members(nodes, "a body") {
            if member.key == "//" {
                continue;
            }
            if let Some(shape) = shapes.iter().find(|shape| shape.kind == member.key) {
                self.blocks(member, shape, &mut body.blocks);
                continue;
            }
            let name = self.ident(member);
            if let Some(first) = seen.insert(Arc::clone(&name.text), name.span) {
                self.problems.push(
                    Diagnostic::error(
                        Class::Definition,
                        "definition::duplicate-attribute",
                        format!("`{}` is set twice", name.text),
                    )
                    .at(name.span, "")
                    .context(first, "set here first")
                    .help("remove one of the two"),
                );
                continue;
            }
            let expr = if !means(&member.key) {
                Expr {
                    span: self.span(&member.value.range),
                    kind: ExprKind::Literal(Value::null()),
                }
            } else if expressions.contains(&&*member.key) {
                self.expression(&member.value)
            } else {
                self.expr(&member.value)
            };
            body.attributes.push(Attribute {
                name,
                expr: Arc::new(expr),
            });
        }
        body
    }

    fn blocks(&mut self, member: &Member<'a>, shape: &'static BlockShape, blocks: &mut Vec<Block>) {
        let kind = self.ident(member);
        if shape.labels == 0 {
            self.bodies(&kind, &[], &member.value, shape, blocks);
            return;
        }
        let what = format!("`{}`", shape.kind);
        for labelled in self.members(&[&member.value], &what) {
            let label = self.ident(labelled);
            self.bodies(&kind, &[label], &labelled.value, shape, blocks);
        }
    }

    /// Adds one block for an object, or one for each object of an array.
    fn bodies(
        &mut self,
        kind: &Ident,
        labels: &[Ident],
        value: &JsonNode<'a>,
        shape: &'static BlockShape,
        blocks: &mut Vec<Block>,
    ) {
        let nodes: Vec<&JsonNode<'a>> = match &value.kind {
            NodeKind::Null => return,
            NodeKind::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        for node in nodes {
            let body = self.body(
                &[node],
                shape.blocks,
                shape.expressions,
                shape.has_attribute,
                node.range.clone(),
            );
            let header = labels.last().map_or(kind.span, |label| label.span);
            blocks.push(Block {
                kind: kind.clone(),
                labels: labels.to_vec(),
                body,
                header,
            });
        }
    }

    fn expr(&mut self, node: &JsonNode<'a>) -> Expr {
        let span = self.span(&node.range);
        let kind = match &node.kind {
            NodeKind::Null => ExprKind::Literal(Value::null()),
            NodeKind::Bool(value) => ExprKind::Literal(Value::Bool(*value)),
            NodeKind::Number(text) => ExprKind::Literal(match Number::parse(text) {
                Ok(number) => Value::Number(number),
                Err(error) => {
                    self.problem(&node.range, error.to_string());
                    Value::null()
                }
            }),
            NodeKind::String(text) => return self.string(text, &node.range),
            NodeKind::Array(items) => {
                ExprKind::Tuple(items.iter().map(|item| self.expr(item)).collect())
            }
            NodeKind::Object(members) => ExprKind::Object(self.items(members).into()),
        };
        Expr { span, kind }
    }

    fn items(&mut self, members: &[Member<'a>]) -> Vec<ObjectItem> {
        let mut seen: HashMap<Arc<str>, Span> = HashMap::default();
        let mut items = Vec::with_capacity(members.len());
        for member in members {
            let key = self.key(member);
            if let ObjectKey::Name(name) = &key
                && let Some(first) = seen.insert(Arc::clone(&name.text), name.span)
            {
                self.problems.push(
                    Diagnostic::error(
                        Class::Definition,
                        "definition::duplicate-key",
                        format!("the key `{}` occurs twice", name.text),
                    )
                    .at(name.span, "")
                    .context(first, "it occurs here first"),
                );
            }
            let value = self.expr(&member.value);
            items.push(ObjectItem { key, value });
        }
        items
    }

    /// A key may be a template, too. It is a plain name unless something has to be evaluated.
    fn key(&mut self, member: &Member<'a>) -> ObjectKey {
        if !is_template(&member.key) && !member.key.starts_with('\u{feff}') {
            return ObjectKey::Name(self.ident(member));
        }
        let expr = self.string(&member.key, &member.key_range);
        match &expr.kind {
            ExprKind::Literal(Value::String(text)) => ObjectKey::Name(Ident {
                text: self.names.intern(text),
                span: expr.span,
            }),
            _ => ObjectKey::Expr(expr),
        }
    }

    fn string(&mut self, text: &str, range: &Range<usize>) -> Expr {
        let span = self.span(range);
        // Like a file, a template may begin with a byte order mark, which is not part of its text.
        let whole = text;
        let text = whole.strip_prefix('\u{feff}').unwrap_or(whole);
        let plain = |text: &str| Expr {
            span,
            kind: ExprKind::Literal(Value::from(text)),
        };
        if !is_template(text) {
            return plain(text);
        }
        let offsets = self.offsets(range);
        let offsets = &offsets[whole.len() - text.len()..];
        parse_template(text, self.source, offsets, span, self.names, self.problems)
            .unwrap_or_else(|| plain(""))
    }

    /// The offsets in the file for the content of the string at `range`, as [`parse_template`] takes them.
    fn offsets(&self, range: &Range<usize>) -> Vec<u32> {
        let shift = u32::try_from(self.shift).unwrap_or_default();
        let mut offsets = offsets(self.text, range);
        for offset in &mut offsets {
            *offset += shift;
        }
        offsets
    }

    /// Parses a string, or the strings of an array, as expressions in native syntax.
    fn expression(&mut self, node: &JsonNode<'a>) -> Expr {
        let span = self.span(&node.range);
        match &node.kind {
            NodeKind::String(text) => {
                let offsets = self.offsets(&node.range);
                parse_expression(text, self.source, &offsets, self.names, self.problems).unwrap_or(
                    Expr {
                        span,
                        kind: ExprKind::Literal(Value::null()),
                    },
                )
            }
            NodeKind::Array(items) => Expr {
                span,
                kind: ExprKind::Tuple(items.iter().map(|item| self.expression(item)).collect()),
            },
            _ => self.expr(node),
        }
    }
}

fn is_template(text: &str) -> bool {
    text.contains("${") || text.contains("%{")
}
