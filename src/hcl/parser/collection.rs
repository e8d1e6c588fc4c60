//! Parses tuples, objects and `for` expressions.

use super::lexer::{Token, TokenKind};
use super::{Parsed, Parser, mistake};
use crate::hcl::cty::Value;
use crate::hcl::syntax::{Expr, ExprKind, For, Ident, ObjectItem, ObjectKey};

impl Parser<'_> {
    /// Parses the head of a `for` after the word `for`: the names, `in` and the collection. Returns the name of the
    /// key, which is optional, the name of the value, and the collection.
    pub(super) fn for_head(&mut self) -> Parsed<(Option<Ident>, Ident, Expr)> {
        let first = self.for_name("expected a name after `for`")?;
        let (key, value) = if self.accept(TokenKind::Comma).is_some() {
            let value = self.for_name("expected a second name after the comma")?;
            (Some(first), value)
        } else {
            (None, first)
        };
        let word = self.peek();
        if word.kind != TokenKind::Ident || self.source(word) != "in" {
            return Err(self.fail(word, "expected `in` after the names of `for`"));
        }
        self.next();
        let collection = self.expression()?;
        Ok((key, value, collection))
    }

    fn for_name(&mut self, message: &str) -> Parsed<Ident> {
        let token = self.peek();
        if token.kind == TokenKind::Ident {
            self.next();
            Ok(self.ident(token))
        } else {
            Err(self.fail(token, message))
        }
    }

    fn at_for(&mut self) -> bool {
        let token = self.peek();
        token.kind == TokenKind::Ident && self.source(token) == "for"
    }

    /// Parses a tuple or a `for` after its bracket `open`.
    pub(super) fn tuple(&mut self, open: Token) -> Parsed<Expr> {
        if self.at_for() {
            return self.for_expr(open, TokenKind::CloseBracket);
        }
        // Most lists have one element, as in `inherits = ["base"]`. Without this, the first element would allocate
        // room for four.
        let mut items = Vec::with_capacity(1);
        loop {
            if let Some(close) = self.accept(TokenKind::CloseBracket) {
                return Ok(self.tuple_expr(open, close, items));
            }
            items.push(self.expression()?);
            if self.accept(TokenKind::Comma).is_none() {
                let close = self.close(TokenKind::CloseBracket, open, "expected `,` or `]`")?;
                return Ok(self.tuple_expr(open, close, items));
            }
        }
    }

    fn tuple_expr(&self, open: Token, close: Token, items: Vec<Expr>) -> Expr {
        Expr {
            span: self.span(open.start..close.end),
            kind: ExprKind::Tuple(items),
        }
    }

    /// Parses an object or a `for` after its brace `open`.
    pub(super) fn braces(&mut self, open: Token) -> Parsed<Expr> {
        let is_for = self.with_newlines(false, Self::at_for);
        if is_for {
            return self.within(open, false, |parser| {
                parser.for_expr(open, TokenKind::CloseBrace)
            });
        }
        self.within(open, true, |parser| parser.object(open))
    }

    /// Parses an object after its brace. Each item ends with a comma or with its line.
    fn object(&mut self, open: Token) -> Parsed<Expr> {
        let mut items = Vec::with_capacity(1);
        let close = loop {
            if self.accept(TokenKind::Newline).is_some() {
                continue;
            }
            if let Some(close) = self.accept(TokenKind::CloseBrace) {
                break close;
            }
            items.push(self.object_item(open)?);
            if self.accept(TokenKind::Comma).is_none() && self.accept(TokenKind::Newline).is_none()
            {
                break self.close(
                    TokenKind::CloseBrace,
                    open,
                    "expected `,`, a line break or `}`",
                )?;
            }
        };
        Ok(Expr {
            span: self.span(open.start..close.end),
            kind: ExprKind::Object(items.into()),
        })
    }

    fn object_item(&mut self, open: Token) -> Parsed<ObjectItem> {
        let first = self.peek();
        let key = self.expression()?;
        let separator = self.peek();
        if !matches!(separator.kind, TokenKind::Equal | TokenKind::Colon) {
            let key_span = key.span;
            return Err(match separator.kind {
                TokenKind::Eof => self.not_closed(open, "expected `=` and a value"),
                _ => self.fail_with(separator, "expected `=` and a value", |problem| {
                    problem.context(key_span, "after this key")
                }),
            });
        }
        self.next();
        let value = self.expression()?;
        Ok(ObjectItem {
            key: self.object_key(key, first)?,
            value,
        })
    }

    /// Turns the expression of a key into a key. A bare word is a name, even if it is a keyword or a variable
    /// elsewhere. In parentheses, it is an expression.
    fn object_key(&mut self, key: Expr, first: Token) -> Parsed<ObjectKey> {
        if first.kind == TokenKind::OpenParen {
            return Ok(ObjectKey::Expr(key));
        }
        let name = match &key.kind {
            ExprKind::Literal(Value::String(text)) => Some(text.to_string()),
            _ => key.keyword().map(str::to_owned),
        };
        if let Some(name) = name {
            return Ok(ObjectKey::Name(Ident {
                text: self.names.intern(&name),
                span: key.span,
            }));
        }
        if let ExprKind::Traversal(traversal) = &key.kind
            && traversal.is_constant()
        {
            let problem = mistake("this key could be a name or a reference")
                .at(key.span, "")
                .help("write it in quotes for a name, in parentheses for a reference");
            return Err(self.report(problem));
        }
        Ok(ObjectKey::Expr(key))
    }

    /// Parses a `for` expression after its bracket or brace. `closing` says which one closes it.
    fn for_expr(&mut self, open: Token, closing: TokenKind) -> Parsed<Expr> {
        self.next();
        let (key_name, value_name, collection) = self.for_head()?;
        let colon = self.peek();
        if colon.kind != TokenKind::Colon {
            return Err(self.not_closed(open, "expected `:` after the collection of `for`"));
        }
        self.next();
        let first = self.expression()?;
        let (key, value) = if self.accept(TokenKind::FatArrow).is_some() {
            (Some(first), self.expression()?)
        } else {
            (None, first)
        };
        let ellipsis = self.accept(TokenKind::Ellipsis);
        let word = self.peek();
        let condition = if word.kind == TokenKind::Ident && self.source(word) == "if" {
            self.next();
            Some(self.expression()?)
        } else {
            None
        };
        let message = if closing == TokenKind::CloseBrace {
            "expected `}` at the end of the `for` expression"
        } else {
            "expected `]` at the end of the `for` expression"
        };
        let close = self.close(closing, open, message)?;
        let complaint = match (closing, &key, ellipsis) {
            (TokenKind::CloseBracket, Some(key), _) => Some((
                key.span,
                "a list has no keys",
                "use `{…}` instead of `[…]` to make an object",
            )),
            (TokenKind::CloseBracket, None, Some(ellipsis)) => Some((
                self.span(ellipsis.range()),
                "a list has no keys to group by",
                "remove the `...`",
            )),
            (TokenKind::CloseBrace, None, _) => Some((
                value.span,
                "an object needs keys",
                "write `key => value`, or use `[…]` to make a list",
            )),
            _ => None,
        };
        if let Some((at, message, help)) = complaint {
            let problem = mistake(message).at(at, "").help(help);
            return Err(self.report(problem));
        }
        Ok(Expr {
            span: self.span(open.start..close.end),
            kind: ExprKind::For(Box::new(For {
                key_name,
                value_name,
                collection,
                key,
                value,
                condition,
                group: ellipsis.is_some(),
            })),
        })
    }
}
