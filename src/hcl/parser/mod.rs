//! HCL's native syntax: text to the syntax tree.
//!
//! A parser of our own, because nothing else finds more than the first mistake, says where it is, and reads what
//! `HashiCorp`'s parser reads (repeated keys, numbers of any size, heredocs by the line). [`lexer`] makes tokens on demand,
//! since newlines count in some places and not in others; [`body`], [`expr`], [`collection`] and [`template`] are the
//! grammar. After a mistake, parsing goes on with the next attribute or block. Start at [`parse`].

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

/// Nesting beyond this is refused: of blocks, brackets, templates, and of operators in a chain.
const DEPTH_LIMIT: usize = 1_000;

/// Operators in the expression of one attribute. Each makes the tree one level deeper, which is walked recursively.
const OPERATOR_LIMIT: usize = 30_000;

/// More mistakes than this are not looked for.
const PROBLEM_LIMIT: usize = 100;

/// A mistake was found and has been reported.
#[derive(Debug)]
struct Broken;

type Parsed<T> = Result<T, Broken>;

/// Parses a file; problems are added to `problems`.
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

/// Parses a template without quotes around it; byte `n` of `text` is written at `offsets[n]` of the file, and
/// `offsets` has one more entry for the end. The template as a whole is at `span`.
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

/// Parses an expression that stands alone; places are given as in [`parse_template`].
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
        parser.fail(next, "nothing may follow the expression");
        None
    }
}

fn mistake(message: impl Into<String>) -> Diagnostic {
    Diagnostic::error(Class::Definition, "definition::syntax", message)
}

/// Where the text is in its file.
#[derive(Debug, Clone, Copy)]
struct Places<'a> {
    source: SourceId,
    map: Map<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Map<'a> {
    /// The text is the file.
    Direct,
    /// The file's offset of each byte of the text.
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
    // The end of what has been consumed.
    at: usize,
    // The token at `at`, if it has been looked at.
    ahead: Option<Token>,
    // Whether newlines are tokens here.
    newlines: bool,
    depth: usize,
    // Of the attribute that is read.
    operators: usize,
    // Whether what follows is not worth reporting.
    given_up: bool,
    // The brackets that are open here.
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

    // The next token, which stays the next.
    fn peek(&mut self) -> Token {
        *self
            .ahead
            .get_or_insert_with(|| lexer::token(self.text, self.at, self.newlines))
    }

    // The next token, which is consumed.
    fn next(&mut self) -> Token {
        let token = self.peek();
        self.jump(token.end);
        token
    }

    fn jump(&mut self, to: usize) {
        self.at = to;
        self.ahead = None;
    }

    // Consumes the next token if it is of this kind.
    fn accept(&mut self, kind: TokenKind) -> Option<Token> {
        let token = self.peek();
        (token.kind == kind).then(|| self.next())
    }

    // Does `parse` with newlines as tokens or not.
    fn with_newlines<T>(&mut self, newlines: bool, parse: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.newlines, newlines);
        self.ahead = None;
        let result = parse(self);
        self.newlines = outer;
        self.ahead = None;
        result
    }

    // Does `parse` within the bracket `open`, where newlines are tokens or not.
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

    // Does `parse` one level deeper; `at` is blamed if that is too deep.
    fn nested<T>(&mut self, at: Token, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEPTH_LIMIT {
            let broken = self.fail(at, "this is nested too deeply: in more than 1,000 levels");
            self.give_up();
            return Err(broken);
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    fn source(&self, token: Token) -> &'a str {
        self.text.get(token.start..token.end).unwrap_or_default()
    }

    fn ident(&mut self, token: Token) -> Ident {
        Ident {
            text: self.names.intern(self.source(token)),
            span: self.span(token.range()),
        }
    }

    fn report(&mut self, problem: Diagnostic) -> Broken {
        if !self.given_up {
            self.problems.push(problem);
            if self.problems.0.len() >= PROBLEM_LIMIT {
                self.give_up();
            }
        }
        Broken
    }

    // Looks for nothing more; whatever is open stays so, which is no news.
    fn give_up(&mut self) {
        self.given_up = true;
        self.jump(self.text.len());
    }

    // Reports that `token` is not what it should be.
    fn fail(&mut self, token: Token, message: &str) -> Broken {
        self.fail_with(token, message, |problem| problem)
    }

    fn fail_with(
        &mut self,
        token: Token,
        message: &str,
        more: impl FnOnce(Diagnostic) -> Diagnostic,
    ) -> Broken {
        let token = match token.kind {
            // Its beginning says all there is to say.
            TokenKind::OpenComment => Token {
                end: token.start + 2,
                ..token
            },
            _ => token,
        };
        // What cannot be a token at all is a better explanation than what was expected in its place.
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
