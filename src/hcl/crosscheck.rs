//! The `hcl` crate's parser, converted to our syntax tree, as a second opinion for tests.
//!
//! Definitions are parsed by [`super::parser`]. The tests here compare its trees with those of the crate, for all
//! texts that the crate parses like `HashiCorp`'s parser. This is the only module that uses `hcl_rs`.

use std::ops::Range;
use std::sync::Arc;

use hcl_rs::edit::Span as _;
use hcl_rs::edit::expr::{self as hx, Expression, TraversalOperator};
use hcl_rs::edit::structure as hs;
use hcl_rs::edit::template as ht;

use super::cty::number::Number;
use super::cty::value::Value;
use super::name_pool::NamePool;
use super::syntax::{
    Attribute, Binary, BinaryOperator, Block, Body, Call, Conditional, Expr, ExprKind, File, For,
    Ident, ObjectItem, ObjectKey, Step, Traversal, Unary, UnaryOperator,
};
use super::template::{Directive, TemplateToken, TextStyle, Trim, assemble, text_tokens, unquote};
use crate::diag::{Class, Diagnostic, Diagnostics, SourceId, Span};

/// Parses a file with the `hcl` crate. Adds problems to `problems`.
pub(super) fn parse(
    text: &str,
    source: SourceId,
    names: &mut NamePool,
    problems: &mut Diagnostics,
) -> Option<File> {
    // HashiCorp's scanner skips a byte order mark, but the crate does not know it.
    let stripped = text.strip_prefix('\u{feff}').unwrap_or(text);
    let places = Places {
        source,
        shift: text.len() - stripped.len(),
    };
    let body = match hcl_rs::edit::parser::parse_body(stripped) {
        Ok(body) => body,
        Err(error) => {
            problems.push(syntax_error(&error, stripped, &places));
            return None;
        }
    };
    let mut lower = Lower {
        text: stripped,
        places,
        names,
        problems,
    };
    let body = lower.body(&body, 0..stripped.len());
    Some(File { source, body })
}

struct Places {
    source: SourceId,
    /// The number of bytes of the file before the text.
    shift: usize,
}

impl Places {
    fn span(&self, range: Range<usize>) -> Span {
        Span::new(
            self.source,
            range.start + self.shift..range.end + self.shift,
        )
    }
}

fn syntax_error(error: &hcl_rs::edit::parser::Error, text: &str, places: &Places) -> Diagnostic {
    let start = error.location().offset().min(text.len());
    let token = text
        .get(start..)
        .and_then(|rest| rest.chars().next())
        .map_or(0, char::len_utf8);
    Diagnostic::error(
        Class::Definition,
        "definition::syntax",
        format!("this is not HCL: {}", error.message()),
    )
    .at(places.span(start..start + token), "")
}

struct Lower<'a> {
    text: &'a str,
    places: Places,
    names: &'a mut NamePool,
    problems: &'a mut Diagnostics,
}

impl Lower<'_> {
    fn span(&self, range: Option<Range<usize>>) -> Span {
        self.places.span(range.unwrap_or(0..0))
    }

    fn ident(&mut self, text: &str, range: Option<Range<usize>>) -> Ident {
        Ident {
            text: self.names.intern(text),
            span: self.span(range),
        }
    }

    fn body(&mut self, body: &hs::Body, range: Range<usize>) -> Body {
        let mut attributes = Vec::new();
        let mut blocks = Vec::new();
        for structure in body {
            match structure {
                hs::Structure::Attribute(attribute) => attributes.push(Attribute {
                    name: self.ident(attribute.key.as_str(), attribute.key.span()),
                    expr: Arc::new(self.expr(&attribute.value)),
                }),
                hs::Structure::Block(block) => blocks.push(self.block(block)),
            }
        }
        Body {
            attributes,
            blocks,
            span: self.places.span(range),
        }
    }

    fn block(&mut self, block: &hs::Block) -> Block {
        let kind = self.ident(block.ident.as_str(), block.ident.span());
        let labels: Vec<Ident> = block.labels.iter().map(|label| self.label(label)).collect();
        let header = Span {
            end: labels.last().map_or(kind.span.end, |label| label.span.end),
            ..kind.span
        };
        let range = block.body.span().or_else(|| block.span()).unwrap_or(0..0);
        Block {
            body: self.body(&block.body, range),
            kind,
            labels,
            header,
        }
    }

    fn label(&mut self, label: &hs::BlockLabel) -> Ident {
        let range = label.span();
        match label {
            hs::BlockLabel::Ident(name) => self.ident(name.as_str(), range),
            hs::BlockLabel::String(_) => {
                let text = self.quoted(range.clone());
                self.ident(&text, range)
            }
        }
    }

    /// Resolves the escapes of the quoted string at `range`.
    fn quoted(&mut self, range: Option<Range<usize>>) -> String {
        let range = range.unwrap_or(0..0);
        let inside = range.start + 1..range.end.saturating_sub(1);
        let source = self.text.get(inside.clone()).unwrap_or_default();
        unquote(source, self.places.span(inside), self.problems)
    }

    fn boxed(&mut self, expr: &Expression) -> Box<Expr> {
        Box::new(self.expr(expr))
    }

    fn expr(&mut self, expr: &Expression) -> Expr {
        let range = expr.span();
        let span = self.span(range.clone());
        let kind = match expr {
            Expression::Null(_) => ExprKind::Literal(Value::null()),
            Expression::Bool(value) => ExprKind::Literal(Value::Bool(*value.value())),
            Expression::Number(_) => self.number(range),
            Expression::String(_) => ExprKind::Literal(Value::string(self.quoted(range))),
            Expression::Array(array) => {
                ExprKind::Tuple(array.iter().map(|item| self.expr(item)).collect())
            }
            Expression::Object(object) => ExprKind::Object(
                object
                    .iter()
                    .map(|(key, value)| ObjectItem {
                        key: self.object_key(key),
                        value: self.expr(value.expr()),
                    })
                    .collect::<Vec<_>>()
                    .into(),
            ),
            Expression::StringTemplate(template) => {
                let mut tokens = Vec::new();
                self.template(template, TextStyle::Quoted, &mut tokens);
                return assemble(tokens, span, false, self.problems);
            }
            Expression::HeredocTemplate(heredoc) => return self.heredoc(heredoc, span),
            Expression::Parenthesis(inner) => ExprKind::Parentheses(self.boxed(inner.inner())),
            Expression::Variable(name) => ExprKind::Variable(self.names.intern(name.as_str())),
            Expression::Conditional(conditional) => ExprKind::Conditional(Box::new(Conditional {
                condition: self.expr(&conditional.cond_expr),
                yes: self.expr(&conditional.true_expr),
                no: self.expr(&conditional.false_expr),
            })),
            Expression::FuncCall(call) => self.call(call),
            Expression::Traversal(traversal) => ExprKind::Traversal(Box::new(Traversal {
                root: self.expr(&traversal.expr),
                steps: self.steps(
                    &mut traversal
                        .operators
                        .iter()
                        .map(hcl_rs::edit::Decorated::value)
                        .peekable(),
                ),
            })),
            Expression::UnaryOp(operation) => ExprKind::Unary(Box::new(Unary {
                operator: match operation.operator.value() {
                    hx::UnaryOperator::Neg => UnaryOperator::Negate,
                    hx::UnaryOperator::Not => UnaryOperator::Not,
                },
                operand: self.expr(&operation.expr),
            })),
            Expression::BinaryOp(operation) => ExprKind::Binary(Box::new(Binary {
                operator: binary_operator(*operation.operator.value()),
                left: self.expr(&operation.lhs_expr),
                right: self.expr(&operation.rhs_expr),
            })),
            Expression::ForExpr(repetition) => ExprKind::For(Box::new(self.repetition(repetition))),
        };
        Expr { span, kind }
    }

    /// The crate parses `-5` as a negative number; HCL negates the number 5.
    fn number(&mut self, range: Option<Range<usize>>) -> ExprKind {
        let range = range.unwrap_or(0..0);
        let text = self.text.get(range.clone()).unwrap_or_default();
        match text.strip_prefix('-') {
            None => self.literal_number(text, self.places.span(range)),
            Some(rest) => {
                let digits = rest.trim_start();
                let span = self.places.span(range.end - digits.len()..range.end);
                ExprKind::Unary(Box::new(Unary {
                    operator: UnaryOperator::Negate,
                    operand: Expr {
                        span,
                        kind: self.literal_number(digits, span),
                    },
                }))
            }
        }
    }

    fn literal_number(&mut self, text: &str, span: Span) -> ExprKind {
        match Number::parse(text) {
            Ok(number) => ExprKind::Literal(Value::Number(number)),
            Err(error) => {
                self.problems.push(
                    Diagnostic::error(Class::Definition, "definition::syntax", error.to_string())
                        .at(span, ""),
                );
                ExprKind::Literal(Value::null())
            }
        }
    }

    fn object_key(&mut self, key: &hx::ObjectKey) -> ObjectKey {
        let key = match key {
            hx::ObjectKey::Ident(name) => {
                return ObjectKey::Name(self.ident(name.as_str(), name.span()));
            }
            hx::ObjectKey::Expression(expr) => self.expr(expr),
        };
        if let Some(word) = key.keyword() {
            return ObjectKey::Name(Ident {
                text: self.names.intern(word),
                span: key.span,
            });
        }
        match &key.kind {
            ExprKind::Literal(Value::String(text)) => ObjectKey::Name(Ident {
                text: self.names.intern(text),
                span: key.span,
            }),
            ExprKind::Traversal(traversal) if traversal.is_constant() => {
                self.problems.push(
                    Diagnostic::error(
                        Class::Definition,
                        "definition::ambiguous-key",
                        "this key could be a name or a reference",
                    )
                    .at(key.span, "")
                    .help("write it in quotes for a name, in parentheses for a reference"),
                );
                ObjectKey::Expr(key)
            }
            _ => ObjectKey::Expr(key),
        }
    }

    fn call(&mut self, call: &hx::FuncCall) -> ExprKind {
        let mut name = String::new();
        for part in &call.name.namespace {
            name.push_str(part.as_str());
            name.push_str("::");
        }
        name.push_str(call.name.name.as_str());
        let start = call.name.namespace.first().unwrap_or(&call.name.name);
        let range = match (start.span(), call.name.name.span()) {
            (Some(first), Some(last)) => Some(first.start..last.end),
            _ => None,
        };
        ExprKind::Call(Box::new(Call {
            name: self.ident(&name, range),
            arguments: call
                .args
                .iter()
                .map(|argument| self.expr(argument))
                .collect(),
            expand_last: call.args.expand_final(),
        }))
    }

    fn steps<'o>(
        &mut self,
        operators: &mut std::iter::Peekable<impl Iterator<Item = &'o TraversalOperator>>,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        while let Some(operator) = operators.next() {
            let span = self.span(operator.span());
            steps.push(match operator {
                TraversalOperator::GetAttr(name) => {
                    Step::Attribute(self.ident(name.as_str(), name.span()))
                }
                TraversalOperator::Index(key) => Step::Index(self.expr(key)),
                TraversalOperator::LegacyIndex(index) => Step::Index(Expr {
                    span,
                    kind: ExprKind::Literal(Value::number(*index.value())),
                }),
                TraversalOperator::FullSplat(_) => Step::Splat {
                    span,
                    each: self.steps(operators),
                },
                // The attributes and old-style indices that follow apply to each element.
                TraversalOperator::AttrSplat(_) => {
                    let mut own = Vec::new();
                    while let Some(operator) = operators.next_if(|operator| {
                        matches!(
                            operator,
                            TraversalOperator::GetAttr(_) | TraversalOperator::LegacyIndex(_)
                        )
                    }) {
                        own.push(operator);
                    }
                    Step::Splat {
                        span,
                        each: self.steps(&mut own.into_iter().peekable()),
                    }
                }
            });
        }
        steps
    }

    fn repetition(&mut self, repetition: &hx::ForExpr) -> For {
        let intro = &repetition.intro;
        For {
            key_name: intro
                .key_var
                .as_ref()
                .map(|name| self.ident(name.as_str(), name.span())),
            value_name: self.ident(intro.value_var.as_str(), intro.value_var.span()),
            collection: self.expr(&intro.collection_expr),
            key: repetition.key_expr.as_ref().map(|key| self.expr(key)),
            value: self.expr(&repetition.value_expr),
            condition: repetition.cond.as_ref().map(|cond| self.expr(&cond.expr)),
            group: repetition.grouping,
        }
    }

    fn heredoc(&mut self, heredoc: &ht::HeredocTemplate, span: Span) -> Expr {
        let start = (span.start as usize).saturating_sub(self.places.span(0..0).start as usize);
        let flush = self
            .text
            .get(start..)
            .is_some_and(|text| text.starts_with("<<-"));
        let mut tokens = Vec::new();
        self.template(&heredoc.template, TextStyle::Plain, &mut tokens);
        assemble(tokens, span, flush, self.problems)
    }

    fn template<'t>(
        &mut self,
        elements: impl IntoIterator<Item = &'t ht::Element>,
        style: TextStyle,
        tokens: &mut Vec<TemplateToken>,
    ) {
        for element in elements {
            let range = element.span().unwrap_or(0..0);
            let span = self.places.span(range.clone());
            match element {
                ht::Element::Literal(_) => {
                    let source = self.text.get(range).unwrap_or_default();
                    text_tokens(source, style, span, self.problems, tokens);
                }
                ht::Element::Interpolation(interpolation) => {
                    tokens.push(TemplateToken::Interpolation {
                        expr: self.expr(&interpolation.expr),
                        trim: trim(interpolation.strip),
                    });
                }
                ht::Element::Directive(directive) => match directive.as_ref() {
                    ht::Directive::If(directive) => {
                        self.if_directive(directive, style, span, tokens);
                    }
                    ht::Directive::For(directive) => {
                        self.for_directive(directive, style, span, tokens);
                    }
                },
            }
        }
    }

    fn if_directive(
        &mut self,
        directive: &ht::IfDirective,
        style: TextStyle,
        span: Span,
        tokens: &mut Vec<TemplateToken>,
    ) {
        let condition = self.expr(&directive.if_expr.cond_expr);
        tokens.push(TemplateToken::Directive {
            directive: Directive::If(condition),
            span,
            trim: trim(directive.if_expr.strip),
        });
        self.template(&directive.if_expr.template, style, tokens);
        if let Some(otherwise) = &directive.else_expr {
            tokens.push(TemplateToken::Directive {
                directive: Directive::Else,
                span,
                trim: trim(otherwise.strip),
            });
            self.template(&otherwise.template, style, tokens);
        }
        tokens.push(TemplateToken::Directive {
            directive: Directive::EndIf,
            span,
            trim: trim(directive.endif_expr.strip),
        });
    }

    fn for_directive(
        &mut self,
        directive: &ht::ForDirective,
        style: TextStyle,
        span: Span,
        tokens: &mut Vec<TemplateToken>,
    ) {
        let head = &directive.for_expr;
        let repetition = Directive::For {
            key: head
                .key_var
                .as_ref()
                .map(|name| self.ident(name.as_str(), name.span())),
            value: self.ident(head.value_var.as_str(), head.value_var.span()),
            collection: self.expr(&head.collection_expr),
        };
        tokens.push(TemplateToken::Directive {
            directive: repetition,
            span,
            trim: trim(head.strip),
        });
        self.template(&head.template, style, tokens);
        tokens.push(TemplateToken::Directive {
            directive: Directive::EndFor,
            span,
            trim: trim(directive.endfor_expr.strip),
        });
    }
}

fn trim(strip: ht::Strip) -> Trim {
    Trim {
        before: matches!(strip, ht::Strip::Start | ht::Strip::Both),
        after: matches!(strip, ht::Strip::End | ht::Strip::Both),
    }
}

fn binary_operator(operator: hx::BinaryOperator) -> BinaryOperator {
    match operator {
        hx::BinaryOperator::Eq => BinaryOperator::Equal,
        hx::BinaryOperator::NotEq => BinaryOperator::NotEqual,
        hx::BinaryOperator::LessEq => BinaryOperator::LessOrEqual,
        hx::BinaryOperator::GreaterEq => BinaryOperator::GreaterOrEqual,
        hx::BinaryOperator::Less => BinaryOperator::Less,
        hx::BinaryOperator::Greater => BinaryOperator::Greater,
        hx::BinaryOperator::Plus => BinaryOperator::Add,
        hx::BinaryOperator::Minus => BinaryOperator::Subtract,
        hx::BinaryOperator::Mul => BinaryOperator::Multiply,
        hx::BinaryOperator::Div => BinaryOperator::Divide,
        hx::BinaryOperator::Mod => BinaryOperator::Modulo,
        hx::BinaryOperator::And => BinaryOperator::And,
        hx::BinaryOperator::Or => BinaryOperator::Or,
    }
}

mod tests {
    use super::parse;
    use crate::diag::{Diagnostics, SourceMap};
    use crate::hcl::name_pool::NamePool;
    use crate::hcl::parser;

    /// The tree without positions, because the two parsers set them differently around brackets.
    fn shape(tree: &impl std::fmt::Debug) -> String {
        let text = format!("{tree:?}");
        let spans = regex::Regex::new(r"Span \{[^}]*\}").unwrap();
        let index = regex::Regex::new(r"by_name: OnceLock\([^)]*\)").unwrap();
        index
            .replace_all(&spans.replace_all(&text, "_"), "")
            .into_owned()
    }

    #[track_caller]
    fn agree(text: &str) {
        let source = SourceMap::default().add("x.hcl", text);
        let mut problems = Diagnostics::default();
        let theirs = parse(text, source, &mut NamePool::default(), &mut problems);
        let ours = parser::parse(text, source, &mut NamePool::default(), &mut problems);
        assert_eq!(problems.0, [], "{text}");
        let theirs = theirs.map(|file| (shape(&file.body.attributes), shape(&file.body.blocks)));
        let ours = (shape(&ours.body.attributes), shape(&ours.body.blocks));
        assert_eq!(theirs, Some(ours), "{text}");
    }

    #[test]
    fn expressions_are_parsed_as_by_hcl_rs() {
        for expr in [
            "null",
            "[true, false, -5, - 1.50, 1e+3]",
            "1 + 2 * 3 - 4 / 5 % 6",
            "!a && b || c == d != e",
            "a < b == c >= d",
            "-a.b[0] + !c.d",
            "a ? b : c ? d : e",
            "(a\n + b)",
            "f(1, g(x...), )",
            "a::b::c()",
            "a.b.c[0][\"x\"].d",
            "a[*].b[0][*].c",
            "a.*.b.0.c[1]",
            "a.0.b",
            "[\n 1, # one\n 2,\n]",
            "{ a = 1, \"b\" : 2\n (c) = 3\n 4 = 5 }",
            "{ null = 1 }",
            "[for x in y : x]",
            "[for i, x in y : x if x != i]",
            "{for k, v in y : k => v... if v}",
            "\"\"",
            "\"a\\n\\\"\\u00e9\"",
            "\"a${b}c${ d }\"",
            "\"${a}\"",
            "\"$${a} %%{b} $ %\"",
            "\" ${~ a ~} b\"",
            "\"%{ if a }b%{ else }c%{ endif }\"",
            "\"%{ for k, v in a ~} ${k} %{ endfor }\"",
            "\"${\"x${y}\"}\"",
        ] {
            agree(&format!("v = {expr}\n"));
        }
    }

    #[test]
    fn heredocs_are_parsed_as_by_hcl_rs() {
        for heredoc in [
            "<<E\na\nE",
            "<<E\nE",
            "<<-E\n    a\n      b\n\n    c\n    E",
            "<<E\na${b}c\n%{ if d }\ne\n%{ endif }\nE",
            "<<-E\n    %{~ if t ~}\n    x\n    %{~ endif ~}\n  E",
            "<<E\nE x\n  ${~ a ~}\nE",
        ] {
            agree(&format!("v = {heredoc}\nw = 1\n"));
        }
    }

    #[test]
    fn blocks_are_parsed_as_by_hcl_rs() {
        agree("a = 1 # x\n\n// y\nb \"l\" m { c = 2 }\nd {\n  e {}\n /* z */ f = 3\n}\n");
        agree("\u{feff}a = 1\r\nb {\r\n}\r\n");
        agree("");
    }
}
