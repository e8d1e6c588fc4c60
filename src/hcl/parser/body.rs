//! Parses files and blocks (attributes and nested blocks), and resumes after mistakes.

use std::sync::Arc;

use super::lexer::{Token, TokenKind, ident_length};
use super::{Broken, Parsed, Parser, mistake};
use crate::diag::Span;
use crate::hcl::syntax::{Attribute, Block, Body, Ident};
use crate::hcl::template::unquote;
use crate::types::hash::HashMap;

/// An attribute or a block of a body.
enum Item {
    Attribute(Attribute),
    Block(Block),
}

impl Parser<'_> {
    /// Parses the whole text as the body of a file.
    pub(super) fn file(&mut self) -> Body {
        let start = self.at;
        let mut body = self.empty_body(start..self.text.len());
        loop {
            self.items(&mut body);
            let next = self.next();
            if next.kind == TokenKind::Eof {
                return body;
            }
            self.fail_with(next, "this `}` has no matching `{`", |problem| {
                problem.help("remove it, or look for an extra `}` before it")
            });
        }
    }

    /// Parses items up to a closing brace, which is not consumed, or the end of the text.
    fn items(&mut self, body: &mut Body) {
        let mut index = HashMap::default();
        loop {
            let next = self.peek();
            match next.kind {
                TokenKind::Newline => {
                    self.next();
                }
                TokenKind::Eof | TokenKind::CloseBrace => return,
                _ => match self.item() {
                    Ok(Item::Block(block)) => body.blocks.push(block),
                    Ok(Item::Attribute(attribute)) => {
                        let name = &attribute.name;
                        match set_before(&body.attributes, &mut index, name) {
                            None => body.attributes.push(attribute),
                            Some(first) => {
                                let twice = mistake(format!("`{}` is set twice", name.text))
                                    .at(name.span, "")
                                    .context(first, "set here first");
                                self.report(twice);
                            }
                        }
                    }
                    Err(Broken) => self.recover(next.start),
                },
            }
        }
    }

    fn item(&mut self) -> Parsed<Item> {
        let first = self.next();
        if first.kind != TokenKind::Ident {
            let quoted = first.kind == TokenKind::Quote;
            return Err(
                self.fail_with(first, "expected an attribute or a block", |problem| {
                    if quoted {
                        problem.help("write the name of an attribute without quotes")
                    } else {
                        problem
                    }
                }),
            );
        }
        let name = self.ident(first);
        let next = self.peek();
        match next.kind {
            TokenKind::Equal => {
                let attribute = self.attribute(name)?;
                self.end_of_line(&attribute.name, "expected a line break after the attribute")?;
                Ok(Item::Attribute(attribute))
            }
            TokenKind::OpenBrace | TokenKind::Quote | TokenKind::Ident => {
                let block = self.block(name, first)?;
                self.end_of_line(&block.kind, "expected a line break after the block")?;
                Ok(Item::Block(block))
            }
            TokenKind::Colon => Err(self.fail_with(
                next,
                "expected `=` after the name of the attribute",
                |problem| problem.help(format!("write `{} = …`", name.text)),
            )),
            _ => Err(self.fail_with(next, "expected `=` or a block", |problem| {
                problem.context(name.span, "after this name").help(format!(
                    "write `{0} = …` to set an attribute, `{0} \"name\" {{ … }}` for a block",
                    name.text
                ))
            })),
        }
    }

    fn attribute(&mut self, name: Ident) -> Parsed<Attribute> {
        self.next();
        let next = self.peek();
        if matches!(
            next.kind,
            TokenKind::Newline | TokenKind::Eof | TokenKind::CloseBrace
        ) {
            return Err(
                self.fail_with(next, "the attribute has no value", |problem| {
                    problem
                        .context(name.span, "of this attribute")
                        .help("start the value on the same line")
                }),
            );
        }
        self.operators = 0;
        let expr = self.expression()?;
        Ok(Attribute {
            name,
            expr: Arc::new(expr),
        })
    }

    /// Requires that the line ends after the item `name`. If not, the help depends on what follows.
    fn end_of_line(&mut self, name: &Ident, message: &str) -> Parsed<()> {
        let next = self.peek();
        match next.kind {
            TokenKind::Newline => {
                self.next();
                Ok(())
            }
            TokenKind::Eof => Ok(()),
            kind => {
                let text = self.source(next);
                Err(self.fail_with(next, message, |problem| {
                    let problem = problem.context(name.span, "it starts here");
                    match kind {
                        TokenKind::Comma => problem.help("separate attributes with line breaks"),
                        TokenKind::CloseBrace => problem.help("put the `}` on a line of its own"),
                        TokenKind::Quote => problem.help("write a list as in `[\"a\", \"b\"]`"),
                        TokenKind::Ident | TokenKind::Number => problem.help(format!(
                            "put `{text}` on a line of its own, or an operator before it"
                        )),
                        _ => problem,
                    }
                }))
            }
        }
    }

    fn block(&mut self, kind: Ident, first: Token) -> Parsed<Block> {
        let mut labels = Vec::with_capacity(1);
        let open = loop {
            let next = self.next();
            match next.kind {
                TokenKind::OpenBrace => break next,
                TokenKind::Ident => labels.push(self.ident(next)),
                TokenKind::Quote => labels.push(self.label(next)?),
                TokenKind::Equal => {
                    return Err(self.fail_with(
                        next,
                        "a block cannot be set with `=`",
                        |problem| {
                            problem
                                .context(kind.span, "this has a label, so it is a block")
                                .help("remove the `=`, or the label")
                        },
                    ));
                }
                _ => {
                    return Err(self.fail_with(
                        next,
                        "expected `{` to open the block",
                        |problem| {
                            problem
                                .context(kind.span, "this block")
                                .help("put the brace on the same line")
                        },
                    ));
                }
            }
        };
        let header = Span {
            end: labels.last().map_or(kind.span.end, |label| label.span.end),
            ..kind.span
        };
        let body = self.nested(first, |parser| parser.block_body(open, first))?;
        Ok(Block {
            kind,
            labels,
            body,
            header,
        })
    }

    /// Parses a quoted label after its quote `open`. Labels have escapes but no interpolations.
    fn label(&mut self, open: Token) -> Parsed<Ident> {
        let inside = open.end;
        let rest = &self.text[inside..];
        let mut escaped = false;
        let close = rest.find(|c| match c {
            '\n' => true,
            '"' if !escaped => true,
            '\\' => {
                escaped = !escaped;
                false
            }
            _ => {
                escaped = false;
                false
            }
        });
        let Some(length) = close.filter(|length| rest[*length..].starts_with('"')) else {
            let line = rest.find('\n').unwrap_or(rest.len());
            let header = rest[..line].trim_end();
            let broken = self.unclosed_string(open.start, inside + header.len());
            // A brace at the end of the line begins the block's body, wherever the closing quote belongs.
            if let Some(label) = header.strip_suffix('{') {
                self.jump(inside + label.len());
                return Ok(Ident {
                    text: self.names.intern(label.trim_end()),
                    span: self.span(open.start..inside + label.len()),
                });
            }
            self.jump(inside + line);
            return Err(broken);
        };
        let source = &rest[..length];
        let span = self.span(inside..inside + length);
        self.jump(inside + length + 1);
        if source.contains("${") || source.contains("%{") {
            let problem = mistake("a label cannot contain `${` or `%{`")
                .at(span, "")
                .help("use the attributes `name` and `matrix` of a target to compute its name");
            return Err(self.report(problem));
        }
        let text = unquote(source, span, self.problems);
        Ok(Ident {
            text: self.names.intern(&text),
            span: self.span(open.start..inside + length + 1),
        })
    }

    /// Parses the body of a block after its brace `open`, up to its closing brace. A body in one line has exactly
    /// one attribute. `first` is the first token of the block.
    fn block_body(&mut self, open: Token, first: Token) -> Parsed<Body> {
        let mut body = self.empty_body(open.end..open.end);
        let one_line = !matches!(
            self.peek().kind,
            TokenKind::Newline | TokenKind::Eof | TokenKind::CloseBrace
        );
        if one_line {
            self.single_attribute(&mut body)?;
        } else {
            self.items(&mut body);
        }
        let close = self.peek();
        body.span = self.span(open.end..close.start);
        if close.kind == TokenKind::CloseBrace {
            self.next();
            return Ok(body);
        }
        if close.kind == TokenKind::Eof {
            let problem =
                mistake("this block is not closed").at(self.span(open.range()), "opened here");
            // A nested block that is not indented deeper than this one shows where the brace is missing.
            let column = self.column(first.start);
            let inner = body
                .blocks
                .iter()
                .find(|inner| self.column(inner.kind.span.start as usize) <= column);
            let problem = match inner {
                Some(inner) => {
                    problem.context(inner.header, "a `}` seems to be missing before this")
                }
                None => problem.help("end it with `}`"),
            };
            let broken = self.report(problem);
            // The blocks around it are not closed either.
            self.give_up();
            return Err(broken);
        }
        let comma = close.kind == TokenKind::Comma;
        Err(self.fail_with(
            close,
            "a block on one line has one attribute and ends on that line",
            |problem| {
                let problem = problem.context(self_span(&body), "this attribute");
                if comma {
                    problem.help("write each attribute on a line of its own")
                } else {
                    problem.help("put a line break after `{`")
                }
            },
        ))
    }

    fn single_attribute(&mut self, body: &mut Body) -> Parsed<()> {
        let first = self.next();
        if first.kind != TokenKind::Ident {
            return Err(self.fail(first, "expected an attribute or `}`"));
        }
        let name = self.ident(first);
        let next = self.peek();
        if next.kind != TokenKind::Equal {
            return Err(self.fail_with(next, "expected `=`", |problem| {
                problem
                    .context(name.span, "after this name")
                    .help("start a nested block on a line of its own")
            }));
        }
        let attribute = self.attribute(name)?;
        body.attributes.push(attribute);
        Ok(())
    }

    fn column(&self, at: usize) -> usize {
        let line = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        at - line
    }

    /// Skips the rest of the item that starts at `start` and has a mistake before the current position.
    ///
    /// It ends at the end of a line at which all brackets are closed. Since the mistake may be a missing bracket,
    /// it also ends before a line whose indentation shows that a new item begins.
    fn recover(&mut self, start: usize) {
        if self.peek().kind == TokenKind::Eof {
            return;
        }
        let mistake = self.at;
        let mistake_line = mistake - self.column(mistake);
        let indentation = self.column(start);
        let mut depth = 0_usize;
        self.jump(start);
        loop {
            let token = self.next();
            match token.kind {
                TokenKind::Eof => return,
                TokenKind::OpenBrace | TokenKind::OpenBracket | TokenKind::OpenParen => depth += 1,
                TokenKind::CloseBrace if depth == 0 && token.start >= mistake => {
                    self.jump(token.start);
                    return;
                }
                TokenKind::CloseBrace | TokenKind::CloseBracket | TokenKind::CloseParen => {
                    depth = depth.saturating_sub(1);
                }
                TokenKind::Quote => self.skip_string(),
                TokenKind::Heredoc => self.skip_heredoc(token),
                TokenKind::Newline
                    if token.end > mistake && (depth == 0 || self.new_item(indentation)) =>
                {
                    return;
                }
                // Something may have been left open before the line in which the mistake was found.
                TokenKind::Newline if token.end >= mistake_line && self.is_item(indentation) => {
                    return;
                }
                _ => {}
            }
        }
    }

    /// Whether the indentation of the line that starts here shows that a new item begins in it, or that the block
    /// ends. `indentation` is that of the broken item.
    fn new_item(&self, indentation: usize) -> bool {
        let line = &self.text[self.at..];
        let content = line.trim_start_matches([' ', '\t']);
        let indent = line.len() - content.len();
        if content.starts_with(['\n', '\r', '#']) || content.is_empty() {
            return false;
        }
        match content.as_bytes().first() {
            Some(b'}') => indent < indentation,
            Some(b']' | b')') => false,
            _ => indent <= indentation,
        }
    }

    /// Whether the line that starts here certainly begins a new item: a name and `=`, `{` or a label, with fitting
    /// indentation.
    fn is_item(&self, indentation: usize) -> bool {
        let content = self.text[self.at..].trim_start_matches([' ', '\t']);
        let after = content[ident_length(content)..].trim_start_matches([' ', '\t']);
        let named = after.len() < content.len();
        let assigned = after.starts_with('=') && !after.starts_with("==");
        named && (assigned || after.starts_with(['{', '"'])) && self.new_item(indentation)
    }

    /// Skips a string after its opening quote, up to its closing quote or the end of the line.
    fn skip_string(&mut self) {
        let rest = &self.text[self.at..];
        let mut escaped = false;
        let end = rest.find(|c| {
            let ends = (c == '"' && !escaped) || c == '\n';
            escaped = c == '\\' && !escaped;
            ends
        });
        let end = end.unwrap_or(rest.len());
        let quote = usize::from(rest[end..].starts_with('"'));
        self.jump(self.at + end + quote);
    }

    fn skip_heredoc(&mut self, open: Token) {
        let marker = self.heredoc_marker(open);
        let mut at = self.at;
        for line in self.text[at..].split_inclusive('\n') {
            if line.trim() == marker {
                at += line.trim_end_matches(['\r', '\n']).len();
                break;
            }
            at += line.len();
        }
        self.jump(at);
    }
}

/// The position of an earlier attribute called `name`, or `None`. `index` is only filled if there are many
/// attributes. Names come from one pool, so they are compared by pointer.
fn set_before(
    attributes: &[Attribute],
    index: &mut HashMap<Arc<str>, Span>,
    name: &Ident,
) -> Option<Span> {
    // A linear search of a few attributes is cheaper than to build an index.
    const FEW: usize = 32;
    if attributes.len() < FEW {
        let mut before = attributes.iter().map(|attribute| &attribute.name);
        return before
            .find(|before| Arc::ptr_eq(&before.text, &name.text))
            .map(|before| before.span);
    }
    // Add the attributes that were parsed since the last call.
    for attribute in &attributes[index.len()..] {
        index.insert(Arc::clone(&attribute.name.text), attribute.name.span);
    }
    index.get(&name.text).copied()
}

fn self_span(body: &Body) -> Span {
    body.attributes.first().map_or(body.span, Attribute::span)
}
