//! Parses expressions: operators by precedence, terms, calls, and steps into values.

use super::lexer::{Token, TokenKind};
use super::{Broken, OPERATOR_LIMIT, Parsed, Parser, mistake};
use crate::diag::Span;
use crate::hcl::cty::{Number, Value};
use crate::hcl::syntax::{
    Binary, BinaryOperator, Call, Conditional, Expr, ExprKind, Ident, Step, Traversal, Unary,
    UnaryOperator,
};

impl Parser<'_> {
    /// Parses an expression of any kind.
    pub(super) fn expression(&mut self) -> Parsed<Expr> {
        let first = self.peek();
        self.nested(first, Self::conditional)
    }

    fn conditional(&mut self) -> Parsed<Expr> {
        let condition = self.binary(0)?;
        let Some(question) = self.accept(TokenKind::Question) else {
            return Ok(condition);
        };
        let yes = self.expression()?;
        let colon = self.peek();
        if colon.kind != TokenKind::Colon {
            let question = self.span(question.range());
            return Err(self.fail_with(
                colon,
                "expected `:` and the value for a false condition",
                |problem| problem.context(question, "of this conditional"),
            ));
        }
        self.next();
        let no = self.expression()?;
        Ok(Expr {
            span: join(condition.span, no.span),
            kind: ExprKind::Conditional(Box::new(Conditional { condition, yes, no })),
        })
    }

    /// Parses operators that bind at least as strongly as `strength`. Operators of equal strength associate to the
    /// left.
    fn binary(&mut self, strength: u8) -> Parsed<Expr> {
        let mut left = self.term_with_steps()?;
        loop {
            let token = self.peek();
            let Some((operator, own)) = operator(token.kind).filter(|(_, own)| *own >= strength)
            else {
                return Ok(left);
            };
            self.operators += 1;
            if self.operators > OPERATOR_LIMIT {
                return Err(self.fail(
                    token,
                    "there are too many operators in one expression: more than 30,000",
                ));
            }
            self.next();
            let right = self.nested(token, |parser| parser.binary(own + 1))?;
            left = Expr {
                span: join(left.span, right.span),
                kind: ExprKind::Binary(Box::new(Binary {
                    operator,
                    left,
                    right,
                })),
            };
        }
    }

    fn term_with_steps(&mut self) -> Parsed<Expr> {
        let term = self.term()?;
        let steps = self.steps()?;
        let Some(last) = steps.last() else {
            return Ok(term);
        };
        Ok(Expr {
            span: join(term.span, self.step_end(last)),
            kind: ExprKind::Traversal(Box::new(Traversal { root: term, steps })),
        })
    }

    /// The position of a step, up to the bracket that was just consumed if it has one.
    fn step_end(&self, step: &Step) -> Span {
        match step {
            Step::Index(_) | Step::Splat { .. } => {
                let end = self.span(self.at..self.at);
                join(step.span(), end)
            }
            Step::Attribute(name) => name.span,
        }
    }

    fn term(&mut self) -> Parsed<Expr> {
        let token = self.peek();
        match token.kind {
            TokenKind::Number => {
                self.next();
                self.number(token)
            }
            TokenKind::Ident => {
                self.next();
                self.word(token)
            }
            TokenKind::Quote => {
                self.next();
                self.nested(token, |parser| parser.quoted(token))
            }
            TokenKind::Heredoc => {
                self.next();
                self.nested(token, |parser| parser.heredoc(token))
            }
            TokenKind::OpenParen => {
                self.next();
                self.within(token, false, |parser| parser.parentheses(token))
            }
            TokenKind::OpenBracket => {
                self.next();
                self.within(token, false, |parser| parser.tuple(token))
            }
            TokenKind::OpenBrace => {
                self.next();
                self.braces(token)
            }
            TokenKind::Minus => self.unary(UnaryOperator::Negate),
            TokenKind::Bang => self.unary(UnaryOperator::Not),
            _ => Err(self.no_value(token)),
        }
    }

    /// Reports that `token` is in place of a value, with help for common mistakes.
    fn no_value(&mut self, token: Token) -> Broken {
        let open = self.brackets.last().map(|open| self.span(open.range()));
        self.fail_with(token, "expected a value", |problem| {
            match (token.kind, open) {
                (TokenKind::Equal, _) => problem.help("write `==` to compare"),
                (TokenKind::Newline, None) => {
                    problem.help("continue the expression on this line, or put it in parentheses")
                }
                (_, Some(open)) => problem.context(open, "not closed yet"),
                _ => problem,
            }
        })
    }

    fn number(&mut self, token: Token) -> Parsed<Expr> {
        let span = self.span(token.range());
        if let Ok(number) = Number::parse(self.source(token)) {
            Ok(Expr {
                span,
                kind: ExprKind::Literal(Value::Number(number)),
            })
        } else {
            let problem = mistake("this is not a number")
                .at(span, "")
                .help("write it in quotes if it is meant as text, such as a version");
            Err(self.report(problem))
        }
    }

    fn word(&mut self, token: Token) -> Parsed<Expr> {
        if matches!(
            self.peek().kind,
            TokenKind::OpenParen | TokenKind::DoubleColon
        ) {
            return self.call(token);
        }
        let kind = match self.source(token) {
            "null" => ExprKind::Literal(Value::null()),
            "true" => ExprKind::Literal(Value::Bool(true)),
            "false" => ExprKind::Literal(Value::Bool(false)),
            name => ExprKind::Variable(self.names.intern(name)),
        };
        Ok(Expr {
            span: self.span(token.range()),
            kind,
        })
    }

    fn unary(&mut self, operator: UnaryOperator) -> Parsed<Expr> {
        let symbol = self.next();
        let operand = self.nested(symbol, Self::term_with_steps)?;
        Ok(Expr {
            span: join(self.span(symbol.range()), operand.span),
            kind: ExprKind::Unary(Box::new(Unary { operator, operand })),
        })
    }

    fn parentheses(&mut self, open: Token) -> Parsed<Expr> {
        let inner = self.expression()?;
        let close = self.close(TokenKind::CloseParen, open, "expected `)`")?;
        Ok(Expr {
            span: self.span(open.start..close.end),
            kind: ExprKind::Parentheses(Box::new(inner)),
        })
    }

    /// Consumes the closing bracket of `open`. If something else follows, reports `message`.
    pub(super) fn close(&mut self, kind: TokenKind, open: Token, message: &str) -> Parsed<Token> {
        match self.accept(kind) {
            Some(close) => Ok(close),
            None => Err(self.not_closed(open, message)),
        }
    }

    /// Reports `message` at the next token, in place of which the bracket `open` could be closed.
    pub(super) fn not_closed(&mut self, open: Token, message: &str) -> Broken {
        let next = self.peek();
        let open = self.span(open.range());
        self.fail_with(next, message, |problem| {
            problem.context(open, "opened here")
        })
    }

    fn call(&mut self, first: Token) -> Parsed<Expr> {
        let mut name = self.source(first).to_owned();
        let mut end = first.end;
        while self.accept(TokenKind::DoubleColon).is_some() {
            let part = self.next();
            if part.kind != TokenKind::Ident {
                return Err(self.fail(part, "expected the name of a function after `::`"));
            }
            name.push_str("::");
            name.push_str(self.source(part));
            end = part.end;
        }
        let name = Ident {
            text: self.names.intern(&name),
            span: self.span(first.start..end),
        };
        let open = self.peek();
        if open.kind != TokenKind::OpenParen {
            return Err(self.fail(open, "expected `(` after the name of the function"));
        }
        self.next();
        let (arguments, expand_last, close) =
            self.within(open, false, |parser| parser.arguments(open))?;
        Ok(Expr {
            span: self.span(first.start..close.end),
            kind: ExprKind::Call(Box::new(Call {
                name,
                arguments,
                expand_last,
            })),
        })
    }

    fn arguments(&mut self, open: Token) -> Parsed<(Vec<Expr>, bool, Token)> {
        // Most calls have one argument. Without this, the first one would allocate room for four.
        let mut arguments = Vec::with_capacity(1);
        loop {
            if let Some(close) = self.accept(TokenKind::CloseParen) {
                return Ok((arguments, false, close));
            }
            arguments.push(self.expression()?);
            if self.accept(TokenKind::Ellipsis).is_some() {
                let close = self.close(TokenKind::CloseParen, open, "only `)` may follow `...`")?;
                return Ok((arguments, true, close));
            }
            if self.accept(TokenKind::Comma).is_none() {
                let close = self.close(TokenKind::CloseParen, open, "expected `,` or `)`")?;
                return Ok((arguments, false, close));
            }
        }
    }

    /// Parses the steps that follow a term. Returns an empty list if none follows.
    fn steps(&mut self) -> Parsed<Vec<Step>> {
        let mut steps = Vec::new();
        loop {
            let token = self.peek();
            match token.kind {
                TokenKind::Dot => {
                    self.next();
                    steps.push(self.dot_step()?);
                }
                TokenKind::OpenBracket => {
                    self.next();
                    let step = self.bracket_step(token)?;
                    let splat = matches!(step, Step::Splat { .. });
                    steps.push(step);
                    if splat {
                        // The splat contains all steps after it.
                        return Ok(steps);
                    }
                }
                _ => return Ok(steps),
            }
        }
    }

    /// Parses the step after a dot. `.*` takes the attributes and numbers that follow, but not `[key]`, as in HCL.
    fn dot_step(&mut self) -> Parsed<Step> {
        let token = self.next();
        match token.kind {
            TokenKind::Ident => Ok(Step::Attribute(self.ident(token))),
            TokenKind::Number => self.old_index(token),
            TokenKind::Star => {
                let mut each = Vec::new();
                while self.peek().kind == TokenKind::Dot {
                    self.next();
                    let token = self.next();
                    each.push(match token.kind {
                        TokenKind::Ident => Step::Attribute(self.ident(token)),
                        TokenKind::Number => self.old_index(token)?,
                        TokenKind::Star => {
                            return Err(self.fail_with(
                                token,
                                "`.*` cannot be used twice",
                                |problem| problem.help("write `[*]` instead"),
                            ));
                        }
                        _ => return Err(self.fail(token, "expected a name after the dot")),
                    });
                }
                Ok(Step::Splat {
                    span: self.span(token.range()),
                    each,
                })
            }
            _ => Err(self.fail(token, "expected a name after the dot")),
        }
    }

    /// Parses the number of `list.0`, which HCL kept from an older language.
    fn old_index(&mut self, token: Token) -> Parsed<Step> {
        let text = self.source(token);
        if text.contains('.') {
            let help = format!("write `[{}]`", text.replace('.', "]["));
            return Err(self.fail_with(
                token,
                "two indexes cannot be joined by a dot",
                |problem| problem.help(help),
            ));
        }
        Ok(Step::Index(self.number(token)?))
    }

    /// Parses `[key]` or `[*]` after its bracket. A splat takes all steps that follow.
    fn bracket_step(&mut self, open: Token) -> Parsed<Step> {
        if let Some(star) = self.accept(TokenKind::Star) {
            let close = self.peek();
            if close.kind != TokenKind::CloseBracket {
                return Err(self.not_closed(open, "expected `]` right after `*`"));
            }
            self.next();
            let each = self.nested(open, Self::steps)?;
            return Ok(Step::Splat {
                span: self.span(star.range()),
                each,
            });
        }
        let key = self.within(open, false, |parser| {
            let key = parser.expression()?;
            parser.close(TokenKind::CloseBracket, open, "expected `]`")?;
            Ok(key)
        })?;
        Ok(Step::Index(key))
    }
}

fn join(first: Span, last: Span) -> Span {
    Span {
        end: last.end,
        ..first
    }
}

/// The operator of a token, and how strongly it binds. `None` if the token is not an operator.
const fn operator(kind: TokenKind) -> Option<(BinaryOperator, u8)> {
    use BinaryOperator as Op;
    Some(match kind {
        TokenKind::Or => (Op::Or, 0),
        TokenKind::And => (Op::And, 1),
        TokenKind::EqualEqual => (Op::Equal, 2),
        TokenKind::NotEqual => (Op::NotEqual, 2),
        TokenKind::Greater => (Op::Greater, 3),
        TokenKind::GreaterEqual => (Op::GreaterOrEqual, 3),
        TokenKind::Less => (Op::Less, 3),
        TokenKind::LessEqual => (Op::LessOrEqual, 3),
        TokenKind::Plus => (Op::Add, 4),
        TokenKind::Minus => (Op::Subtract, 4),
        TokenKind::Star => (Op::Multiply, 5),
        TokenKind::Slash => (Op::Divide, 5),
        TokenKind::Percent => (Op::Modulo, 5),
        _ => return None,
    })
}
