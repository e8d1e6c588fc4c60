//! Parses strings and heredocs: text with interpolations and directives.

use super::lexer::{Token, TokenKind};
use super::{Broken, Parsed, Parser, mistake};
use crate::diag::Span;
use crate::hcl::cty::Value;
use crate::hcl::syntax::{Expr, ExprKind};
use crate::hcl::template::{
    Directive, TemplateToken as Part, TextStyle, Trim, assemble, text_tokens,
};

/// What ends a template.
#[derive(Clone, Copy)]
enum End<'m> {
    /// A quote, before the end of the line.
    Quote,
    /// A line with only this word.
    Marker(&'m str),
    /// The end of the text.
    Text,
}

impl<'a> Parser<'a> {
    /// Parses a quoted string after its quote `open`.
    pub(super) fn quoted(&mut self, open: Token) -> Parsed<Expr> {
        if let Some(text) = self.plain_string() {
            self.jump(self.at + text.len() + 1);
            return Ok(Expr {
                span: self.span(open.start..self.at),
                kind: ExprKind::Literal(Value::from(text)),
            });
        }
        let parts = self.parts(End::Quote, open)?;
        let span = self.span(open.start..self.at);
        Ok(assemble(parts, span, false, self.problems))
    }

    /// The string that starts here, up to its closing quote, if it has no escapes, interpolations or directives.
    /// This is the fast path of most strings.
    fn plain_string(&self) -> Option<&'a str> {
        let rest = &self.text[self.at..];
        let special = |byte: u8| matches!(byte, b'"' | b'$' | b'%' | b'\\' | b'\n' | b'\r');
        let end = rest.bytes().position(special)?;
        rest[end..].starts_with('"').then(|| &rest[..end])
    }

    /// Parses a heredoc after `open`, its `<<WORD` and line break.
    pub(super) fn heredoc(&mut self, open: Token) -> Parsed<Expr> {
        let marker = self.heredoc_marker(open);
        let flush = self.source(open).starts_with("<<-");
        let parts = self.parts(End::Marker(marker), open)?;
        let span = self.span(open.start..self.at);
        Ok(assemble(parts, span, flush, self.problems))
    }

    /// The word that ends the heredoc that `open` begins.
    pub(super) fn heredoc_marker(&self, open: Token) -> &'a str {
        self.source(open)
            .trim_start_matches("<<")
            .trim_start_matches('-')
            .trim_end()
    }

    /// Parses the whole text as a template without quotes, at `span`.
    pub(super) fn bare_template(&mut self, span: Span) -> Parsed<Expr> {
        let start = Token {
            kind: TokenKind::Quote,
            start: 0,
            end: 0,
        };
        let parts = self.parts(End::Text, start)?;
        Ok(assemble(parts, span, false, self.problems))
    }

    /// Parses the parts of a template up to `end`, which is consumed. `open` is the token to report if the end is
    /// missing.
    fn parts(&mut self, end: End<'_>, open: Token) -> Parsed<Vec<Part>> {
        let style = match end {
            End::Quote => TextStyle::Quoted,
            End::Marker(_) | End::Text => TextStyle::Plain,
        };
        let mut parts = Vec::new();
        loop {
            if let End::Marker(marker) = end
                && self.at_line_start()
                && let Some(length) = self.marker_line(marker)
            {
                self.jump(self.at + length);
                return Ok(parts);
            }
            let from = self.at;
            let stop = self.text_end(end);
            if stop > from {
                let source = &self.text[from..stop];
                let span = self.span(from..stop);
                text_tokens(source, style, span, self.problems, &mut parts);
                self.jump(stop);
            }
            let rest = &self.text[self.at..];
            if rest.starts_with("${") {
                parts.push(self.interpolation(end, open)?);
            } else if rest.starts_with("%{") {
                parts.push(self.directive(end, open)?);
            } else {
                match end {
                    End::Quote if rest.starts_with('"') => {
                        self.jump(self.at + 1);
                        return Ok(parts);
                    }
                    End::Quote => return Err(self.unclosed_string(open.start, self.at)),
                    End::Text if rest.is_empty() => return Ok(parts),
                    End::Marker(marker) if rest.is_empty() => {
                        let problem = mistake("this heredoc is not closed")
                            .at(self.span(open.start..open.end), "")
                            .help(format!(
                                "end it with `{marker}` on a line of its own, and end that line"
                            ));
                        return Err(self.report(problem));
                    }
                    // The line is done. The next one may be the marker.
                    End::Marker(_) | End::Text => {}
                }
            }
        }
    }

    fn at_line_start(&self) -> bool {
        self.text[..self.at].ends_with('\n')
    }

    /// The length of the current line without its line break, if it contains only the marker. As in HCL, the line
    /// must have a line break, even at the end of the file.
    fn marker_line(&self, marker: &str) -> Option<usize> {
        let rest = &self.text[self.at..];
        let (line, _) = rest.split_once('\n')?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        (line.trim() == marker).then_some(line.len())
    }

    /// The offset at which the literal text from here on ends: at an interpolation or directive, a quote, or the
    /// end of the line.
    fn text_end(&self, end: End<'_>) -> usize {
        let bytes = self.text.as_bytes();
        let mut at = self.at;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'$' | b'%' => {
                    let after = bytes.get(at + 1..).unwrap_or_default();
                    if after.starts_with(b"{") {
                        return at;
                    }
                    // `$${` is an escape for `${`.
                    at += if after.first() == Some(byte) && after.get(1) == Some(&b'{') {
                        3
                    } else {
                        1
                    };
                }
                b'"' if matches!(end, End::Quote) => return at,
                b'\\' if matches!(end, End::Quote) => {
                    // A line break cannot be escaped.
                    at += match bytes.get(at + 1) {
                        Some(b'\n' | b'\r') | None => 1,
                        Some(_) => 2,
                    };
                }
                b'\n' => {
                    return match end {
                        End::Quote => at,
                        End::Marker(_) | End::Text => at + 1,
                    };
                }
                _ => at += 1,
            }
        }
        // An escape may have skipped into a character, or past the end.
        let mut at = at.min(bytes.len());
        while !self.text.is_char_boundary(at) {
            at += 1;
        }
        at
    }

    /// Reports that the string that starts at `start` has no closing quote before `end`.
    pub(super) fn unclosed_string(&mut self, start: usize, end: usize) -> Broken {
        let line = self.text[start..end].trim_end_matches('\r').len();
        let problem = mistake("this string is not closed")
            .at(self.span(start..start + line), "")
            .help(
                "end it with `\"` on the same line, or write a longer text as a heredoc (`<<EOT`)",
            );
        self.report(problem)
    }

    /// Consumes `${` or `%{` and an optional `~`. Returns the opening token and whether there is a `~`.
    fn open_sequence(&mut self) -> (Token, bool) {
        let start = self.at;
        let trim = self.text[start + 2..].starts_with('~');
        let end = start + 2 + usize::from(trim);
        self.jump(end);
        let token = Token {
            kind: TokenKind::OpenBrace,
            start,
            end: start + 2,
        };
        (token, trim)
    }

    /// Consumes the end of an interpolation or directive. Returns whether it has a `~`.
    fn close_sequence(&mut self, open: Token, end: End<'_>, string: Token) -> Parsed<bool> {
        let token = self.peek();
        match token.kind {
            TokenKind::CloseBrace => {
                self.next();
                Ok(false)
            }
            TokenKind::TrimClose => {
                self.next();
                Ok(true)
            }
            TokenKind::Quote | TokenKind::Eof | TokenKind::Newline if matches!(end, End::Quote) => {
                let problem = mistake("this sequence is not closed before the string ends")
                    .at(self.span(open.range()), "opened here")
                    .context(self.span(string.range()), "in this string")
                    .help(CLOSE_OR_ESCAPE);
                Err(self.report(problem))
            }
            _ => {
                let open = self.span(open.range());
                Err(self.fail_with(token, "expected `}` here", |problem| {
                    problem.context(open, "opened here").help(CLOSE_OR_ESCAPE)
                }))
            }
        }
    }

    fn interpolation(&mut self, end: End<'_>, string: Token) -> Parsed<Part> {
        let (open, before) = self.open_sequence();
        self.within(open, false, |parser| {
            let expr = parser.expression()?;
            let after = parser.close_sequence(open, end, string)?;
            Ok(Part::Interpolation {
                expr,
                trim: Trim { before, after },
            })
        })
    }

    fn directive(&mut self, end: End<'_>, string: Token) -> Parsed<Part> {
        const WORDS: [&str; 5] = ["if", "else", "endif", "for", "endfor"];
        let (open, before) = self.open_sequence();
        self.within(open, false, |parser| {
            let word = parser.next();
            if word.kind != TokenKind::Ident {
                return Err(parser.fail_with(
                    word,
                    "expected `if`, `else`, `endif`, `for` or `endfor`",
                    |p| p.help("write `%%{` if you mean the text `%{`"),
                ));
            }
            let directive = match parser.source(word) {
                "if" => Directive::If(parser.expression()?),
                "else" => Directive::Else,
                "endif" => Directive::EndIf,
                "for" => {
                    let (key, value, collection) = parser.for_head()?;
                    Directive::For {
                        key,
                        value,
                        collection,
                    }
                }
                "endfor" => Directive::EndFor,
                other => {
                    let problem = mistake(format!("there is no directive `{other}`"))
                        .at(parser.span(word.range()), "")
                        .did_you_mean("a directive", other, WORDS)
                        .help("write `%%{` if you mean the text `%{`");
                    return Err(parser.report(problem));
                }
            };
            let after = parser.close_sequence(open, end, string)?;
            Ok(Part::Directive {
                directive,
                span: parser.span(open.start..parser.at),
                trim: Trim { before, after },
            })
        })
    }
}

const CLOSE_OR_ESCAPE: &str =
    "end it with `}`; write `$${` or `%%{` if the text is for another program, such as a shell";
