//! Parses HCL's native syntax to the syntax tree.
//!
//! This is a parser of our own, because no other Rust parser reports more than the first mistake with its position
//! and reads all that `HashiCorp`'s parser reads (repeated keys, numbers of any size, line-based heredocs).
//! [`lexer`] makes tokens on demand, because newlines are tokens in some places and white space in others.
//! [`body`], [`expr`], [`collection`] and [`template`] implement the grammar. After a mistake, parsing resumes at
//! the next attribute or block. Start at [`parse`].

mod body;
mod collection;
mod expr;
mod lexer;
mod template;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::lexer::{Token, TokenKind};
use super::name_pool::NamePool;
use super::syntax::{Body, Expr, File, Ident};
use crate::diag::{Class, Diagnostic, Diagnostics, SourceId, Span};

/// The deepest nesting of blocks, brackets, templates and chained operators. The parser recurses.
const DEPTH_LIMIT: usize = 1_000;

/// The most operators in the expression of one attribute. Each makes the tree one level deeper, and the tree is
/// walked recursively.
const OPERATOR_LIMIT: usize = 30_000;

/// Parsing stops after this many problems.
const PROBLEM_LIMIT: usize = 100;

/// There is a mistake in the text, and it has been reported.
#[derive(Debug)]
struct Broken;

type Parsed<T> = Result<T, Broken>;

/// Parses a file. Adds problems to `problems`; the parts of the file without mistakes are returned all the same.
pub(crate) fn parse(
    text: &str,
    source: SourceId,
    names: &mut NamePool,
    problems: &mut Diagnostics,
) -> File {
    let places = Places {
        source,
        map: Map::Direct,
    };
    let mut parser = Parser::new(text, places, names, problems);
    if text.starts_with('\u{feff}') {
        parser.at = '\u{feff}'.len_utf8();
    }
    let body = parser.file();
    File { source, body }
}

/// Parses a template without quotes, as in a JSON string. Returns `None` if it has a mistake.
///
/// Byte `n` of `text` is at `offsets[n]` of the file, and one more entry of `offsets` is for the end. `span` is the
/// position of the whole template.
pub(crate) fn parse_template(
    text: &str,
    source: SourceId,
    offsets: &[u32],
    span: Span,
    names: &mut NamePool,
    problems: &mut Diagnostics,
) -> Option<Expr> {
    let places = Places {
        source,
        map: Map::Table(offsets),
    };
    Parser::new(text, places, names, problems)
        .bare_template(span)
        .ok()
}

/// Parses a text that is an expression and nothing else. Returns `None` if it has a mistake. `offsets` is as for
/// [`parse_template`].
pub(crate) fn parse_expression(
    text: &str,
    source: SourceId,
    offsets: &[u32],
    names: &mut NamePool,
    problems: &mut Diagnostics,
) -> Option<Expr> {
    let places = Places {
        source,
        map: Map::Table(offsets),
    };
    let mut parser = Parser::new(text, places, names, problems);
    parser.newlines = false;
    let expr = parser.expression().ok()?;
    let next = parser.peek();
    if next.kind == TokenKind::Eof {
        Some(expr)
    } else {
        parser.fail(next, "expected the end of the expression");
        None
    }
}

fn mistake(message: impl Into<String>) -> Diagnostic {
    Diagnostic::error(Class::Definition, "definition::syntax", message)
}

/// Maps positions in the text to positions in the file.
#[derive(Debug, Clone, Copy)]
struct Places<'a> {
    source: SourceId,
    map: Map<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Map<'a> {
    /// The text is the whole file.
    Direct,
    /// For each byte of the text, its offset in the file.
    Table(&'a [u32]),
}

impl Places<'_> {
    fn span(&self, range: Range<usize>) -> Span {
        match self.map {
            Map::Direct => Span::new(self.source, range),
            Map::Table(offsets) => {
                let at = |offset: usize| {
                    let offset = offsets.get(offset).or(offsets.last());
                    offset.map_or(0, |at| *at as usize)
                };
                Span::new(self.source, at(range.start)..at(range.end))
            }
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    /// The offset after the last consumed token.
    at: usize,
    /// The next token, if it has been read but not consumed. It depends on `newlines`.
    ahead: Option<Token>,
    /// Whether newlines are tokens here, or white space.
    newlines: bool,
    depth: usize,
    /// The number of operators in the attribute that is being parsed.
    operators: usize,
    /// Set after a mistake from which parsing cannot recover. Problems found later would only be its consequences,
    /// so they are not reported.
    given_up: bool,
    /// The open brackets, outermost first.
    brackets: Vec<Token>,
    places: Places<'a>,
    names: &'a mut NamePool,
    problems: &'a mut Diagnostics,
}

impl<'a> Parser<'a> {
    fn new(
        text: &'a str,
        places: Places<'a>,
        names: &'a mut NamePool,
        problems: &'a mut Diagnostics,
    ) -> Self {
        Self {
            text,
            at: 0,
            ahead: None,
            newlines: true,
            depth: 0,
            operators: 0,
            given_up: false,
            brackets: Vec::new(),
            places,
            names,
            problems,
        }
    }

    fn span(&self, range: Range<usize>) -> Span {
        self.places.span(range)
    }

    /// Returns the next token without consuming it.
    fn peek(&mut self) -> Token {
        *self
            .ahead
            .get_or_insert_with(|| lexer::token(self.text, self.at, self.newlines))
    }

    /// Consumes the next token and returns it.
    fn next(&mut self) -> Token {
        let token = self.peek();
        self.jump(token.end);
        token
    }

    fn jump(&mut self, to: usize) {
        self.at = to;
        self.ahead = None;
    }

    /// Consumes the next token if it is of the kind `kind`.
    fn accept(&mut self, kind: TokenKind) -> Option<Token> {
        let token = self.peek();
        (token.kind == kind).then(|| self.next())
    }

    /// Runs `parse` with newlines as tokens or as white space. The token ahead is dropped, because it depends on
    /// that.
    fn with_newlines<T>(&mut self, newlines: bool, parse: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.newlines, newlines);
        self.ahead = None;
        let result = parse(self);
        self.newlines = outer;
        self.ahead = None;
        result
    }

    /// Runs `parse` inside the bracket `open`, with newlines as tokens or as white space.
    fn within<T>(
        &mut self,
        open: Token,
        newlines: bool,
        parse: impl FnOnce(&mut Self) -> Parsed<T>,
    ) -> Parsed<T> {
        self.brackets.push(open);
        let result = self.with_newlines(newlines, parse);
        self.brackets.pop();
        result
    }

    /// Runs `parse` one level deeper. If that exceeds the limit, reports it at `at`.
    fn nested<T>(&mut self, at: Token, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEPTH_LIMIT {
            let broken = self.fail(at, "this is nested too deeply: more than 1,000 levels");
            self.give_up();
            return Err(broken);
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    /// The text of a token.
    fn source(&self, token: Token) -> &'a str {
        self.text.get(token.start..token.end).unwrap_or_default()
    }

    fn ident(&mut self, token: Token) -> Ident {
        Ident {
            text: self.names.intern(self.source(token)),
            span: self.span(token.range()),
        }
    }

    /// Reports a problem, unless parsing has been given up. Gives up at [`PROBLEM_LIMIT`].
    fn report(&mut self, problem: Diagnostic) -> Broken {
        if !self.given_up {
            self.problems.push(problem);
            if self.problems.0.len() >= PROBLEM_LIMIT {
                self.give_up();
            }
        }
        Broken
    }

    /// Stops parsing by jumping to the end of the text. The unclosed brackets that the callers then see are not
    /// reported.
    fn give_up(&mut self) {
        self.given_up = true;
        self.jump(self.text.len());
    }

    /// Reports that `token` is not what the grammar expects.
    fn fail(&mut self, token: Token, message: &str) -> Broken {
        self.fail_with(token, message, |problem| problem)
    }

    /// As [`fail`](Self::fail); `more` adds to the problem.
    fn fail_with(
        &mut self,
        token: Token,
        message: &str,
        more: impl FnOnce(Diagnostic) -> Diagnostic,
    ) -> Broken {
        let token = match token.kind {
            // The comment goes on to the end of the file, so only its start is marked.
            TokenKind::OpenComment => Token {
                end: token.start + 2,
                ..token
            },
            _ => token,
        };
        // If the token is invalid everywhere, say that instead of what was expected here.
        let at = self.span(token.range());
        let problem = if let Some((message, help)) = lexer::complaint(self.text, token) {
            let problem = mistake(message).at(at, "");
            match help {
                Some(help) => problem.help(help),
                None => problem,
            }
        } else {
            more(mistake(message).at(at, token.kind.words()))
        };
        self.report(problem)
    }

    fn empty_body(&self, range: Range<usize>) -> Body {
        Body {
            attributes: Vec::new(),
            blocks: Vec::new(),
            span: self.span(range),
        }
    }
}
