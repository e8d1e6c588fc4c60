//! Builds a template from a flat sequence of its tokens.
//!
//! Both syntaxes use this. They find the literals, interpolations and directives. This module resolves escapes,
//! trims white space for `~`, removes the indentation of `<<-` heredocs and nests directives, in the same order as
//! HCL (hclsyntax `parser_template.go`). Start at [`assemble`].

use super::cty::value::{Text, Value};
use super::syntax::{Expr, ExprKind, Ident, TemplateFor, TemplateIf, TemplatePart};
use crate::diag::{Class, Diagnostic, Diagnostics, Span};

/// A token of a template, before directives are nested.
#[derive(Debug)]
pub(super) enum TemplateToken {
    /// Literal text, with escapes resolved. In heredocs and templates without quotes, at most one line of it.
    Text(String),
    /// `${expression}`.
    Interpolation {
        /// The expression.
        expr: Expr,
        /// Its `~` markers.
        trim: Trim,
    },
    /// `%{…}`.
    Directive {
        /// The directive.
        directive: Directive,
        /// Its position, braces included.
        span: Span,
        /// Its `~` markers.
        trim: Trim,
    },
}

/// The `~` markers of an interpolation or directive.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Trim {
    /// There is a `~` after the opening brace: trim the white space before the sequence.
    pub(super) before: bool,
    /// There is a `~` before the closing brace: trim the white space after the sequence.
    pub(super) after: bool,
}

/// A directive.
#[derive(Debug)]
pub(super) enum Directive {
    /// `if condition`
    If(Expr),
    /// `else`
    Else,
    /// `endif`
    EndIf,
    /// `for key, value in collection`
    For {
        /// The name of the index or key.
        key: Option<Ident>,
        /// The name of the element.
        value: Ident,
        /// The collection to iterate over.
        collection: Expr,
    },
    /// `endfor`
    EndFor,
}

/// How literal text in a template is written, which decides which escapes it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextStyle {
    /// In quotes: backslash escapes, `$${` and `%%{`.
    Quoted,
    /// In a heredoc or a JSON string: only `$${` and `%%{`. JSON's own escapes are resolved already.
    Plain,
}

/// Builds the expression of a template at `span`. `flush` is set for `<<-` heredocs.
///
/// The result is a literal if the template has only text, and a wrapped expression if it has only one
/// interpolation. Such an interpolation keeps the type of its value.
pub(super) fn assemble(
    mut tokens: Vec<TemplateToken>,
    span: Span,
    flush: bool,
    problems: &mut Diagnostics,
) -> Expr {
    trim(&mut tokens);
    if flush {
        remove_indentation(&mut tokens);
    }
    if tokens
        .iter()
        .all(|token| matches!(token, TemplateToken::Text(_)))
    {
        let mut text = String::new();
        for token in &tokens {
            if let TemplateToken::Text(piece) = token {
                text.push_str(piece);
            }
        }
        return Expr {
            span,
            kind: ExprKind::Literal(Value::string(text)),
        };
    }
    if tokens.len() == 1
        && let Some(TemplateToken::Interpolation { expr, .. }) =
            tokens.pop_if(|token| matches!(token, TemplateToken::Interpolation { .. }))
    {
        return Expr {
            span,
            kind: ExprKind::Wrapped(Box::new(expr)),
        };
    }
    let mut nest = Nest {
        depth: 0,
        broken: false,
        tokens: tokens.into_iter(),
        problems,
    };
    Expr {
        span,
        kind: ExprKind::Template(nest.root()),
    }
}

/// Trims the white space next to each `~`. Only the literal directly beside it is trimmed.
fn trim(tokens: &mut [TemplateToken]) {
    for index in 0..tokens.len() {
        let (TemplateToken::Interpolation { trim, .. } | TemplateToken::Directive { trim, .. }) =
            &tokens[index]
        else {
            continue;
        };
        let trim = *trim;
        if trim.before
            && let Some(TemplateToken::Text(text)) = index.checked_sub(1).map(|i| &mut tokens[i])
        {
            text.truncate(text.trim_end().len());
        }
        if trim.after
            && let Some(TemplateToken::Text(text)) = tokens.get_mut(index + 1)
        {
            text.drain(..text.len() - text.trim_start().len());
        }
    }
}

/// Removes the smallest indentation of all lines from each line, for `<<-`.
///
/// As in HCL, the first token of each line decides, after trimming. So if one line begins with a directive or an
/// interpolation, its indentation is zero and all lines stay as they are.
fn remove_indentation(tokens: &mut [TemplateToken]) {
    let mut starts = Vec::new();
    let mut least = usize::MAX;
    let mut line_start = true;
    for (index, token) in tokens.iter().enumerate() {
        if std::mem::take(&mut line_start) {
            match token {
                TemplateToken::Text(text)
                    if text.trim_start().is_empty() && text.ends_with('\n') => {}
                TemplateToken::Text(text) => {
                    let indentation = text.chars().take_while(|c| c.is_whitespace()).count();
                    least = least.min(indentation);
                    starts.push(index);
                }
                _ => least = 0,
            }
        }
        line_start = matches!(token, TemplateToken::Text(text) if text.ends_with('\n'));
    }
    for index in starts {
        if let TemplateToken::Text(text) = &mut tokens[index] {
            let cut = text
                .char_indices()
                .nth(least)
                .map_or(text.len(), |(at, _)| at);
            text.drain(..cut);
        }
    }
}

/// The deepest nesting of directives. They are nested recursively.
const DEPTH_LIMIT: usize = 500;

/// Nests the flat list of directives.
struct Nest<'p> {
    depth: usize,
    broken: bool,
    tokens: std::vec::IntoIter<TemplateToken>,
    problems: &'p mut Diagnostics,
}

/// What ended a sequence of parts.
enum End {
    Broken,
    Template,
    Directive(Directive, Span),
}

impl Nest<'_> {
    fn root(&mut self) -> Vec<TemplatePart> {
        let mut parts = Vec::new();
        while let End::Directive(directive, span) = self.parts(&mut parts) {
            self.problem(
                span,
                format!("`{}` has no matching opening directive", directive.name()),
            );
        }
        parts
    }

    fn parts(&mut self, parts: &mut Vec<TemplatePart>) -> End {
        self.depth += 1;
        let end = self.parts_here(parts);
        self.depth -= 1;
        end
    }

    fn parts_here(&mut self, parts: &mut Vec<TemplatePart>) -> End {
        let mut text = String::new();
        let flush = |text: &mut String, parts: &mut Vec<TemplatePart>| {
            if !text.is_empty() {
                parts.push(TemplatePart::Literal(Text::from(text.as_str())));
                text.clear();
            }
        };
        while let Some(token) = self.tokens.next() {
            match token {
                TemplateToken::Text(piece) => text.push_str(&piece),
                TemplateToken::Interpolation { expr, .. } => {
                    flush(&mut text, parts);
                    parts.push(TemplatePart::Interpolation(expr));
                }
                TemplateToken::Directive {
                    directive, span, ..
                } => {
                    flush(&mut text, parts);
                    if self.depth == DEPTH_LIMIT {
                        self.problem(
                            span,
                            "this is nested too deeply: more than 500 levels".to_owned(),
                        );
                        self.tokens = Vec::new().into_iter();
                        self.broken = true;
                        return End::Broken;
                    }
                    match directive {
                        Directive::If(condition) => parts.push(self.conditional(condition, span)),
                        Directive::For {
                            key,
                            value,
                            collection,
                        } => parts.push(self.repetition(key, value, collection, span)),
                        other => return End::Directive(other, span),
                    }
                }
            }
        }
        flush(&mut text, parts);
        if self.broken {
            End::Broken
        } else {
            End::Template
        }
    }

    fn conditional(&mut self, condition: Expr, open: Span) -> TemplatePart {
        let mut then = Vec::new();
        let mut otherwise = Vec::new();
        let mut in_else = false;
        let end = loop {
            let branch = if in_else { &mut otherwise } else { &mut then };
            match self.parts(branch) {
                End::Directive(Directive::EndIf, span) => break span,
                End::Directive(Directive::Else, _) if !in_else => in_else = true,
                End::Directive(other, span) => {
                    self.unbalanced(&other, span, "if", "endif", open);
                    break span;
                }
                End::Template => {
                    self.problem(open, "this `if` has no `endif`".to_owned());
                    break open;
                }
                End::Broken => break open,
            }
        };
        TemplatePart::If(Box::new(TemplateIf {
            span: Span {
                end: end.end,
                ..open
            },
            condition,
            then,
            otherwise,
        }))
    }

    fn repetition(
        &mut self,
        key: Option<Ident>,
        value: Ident,
        collection: Expr,
        open: Span,
    ) -> TemplatePart {
        let mut body = Vec::new();
        let end = match self.parts(&mut body) {
            End::Directive(Directive::EndFor, span) => span,
            End::Directive(other, span) => {
                self.unbalanced(&other, span, "for", "endfor", open);
                span
            }
            End::Template => {
                self.problem(open, "this `for` has no `endfor`".to_owned());
                open
            }
            End::Broken => open,
        };
        TemplatePart::For(Box::new(TemplateFor {
            span: Span {
                end: end.end,
                ..open
            },
            key,
            value,
            collection,
            body,
        }))
    }

    fn unbalanced(&mut self, found: &Directive, span: Span, open: &str, wanted: &str, at: Span) {
        let message = format!(
            "found `{}` where the `{open}` needs `{wanted}`",
            found.name()
        );
        self.problems.push(
            Diagnostic::error(Class::Definition, "definition::syntax", message)
                .at(span, "")
                .context(at, format!("the `{open}` starts here")),
        );
    }

    fn problem(&mut self, span: Span, message: String) {
        self.problems
            .push(Diagnostic::error(Class::Definition, "definition::syntax", message).at(span, ""));
    }
}

impl Directive {
    fn name(&self) -> &'static str {
        match self {
            Self::If(_) => "if",
            Self::Else => "else",
            Self::EndIf => "endif",
            Self::For { .. } => "for",
            Self::EndFor => "endfor",
        }
    }
}

/// Adds the literal text `source`, which is at `span`, to `tokens`, with escapes resolved. Plain text is split into
/// lines.
pub(super) fn text_tokens(
    source: &str,
    style: TextStyle,
    span: Span,
    problems: &mut Diagnostics,
    tokens: &mut Vec<TemplateToken>,
) {
    match style {
        TextStyle::Quoted => tokens.push(TemplateToken::Text(unquote(source, span, problems))),
        TextStyle::Plain => {
            for line in source.split_inclusive('\n') {
                tokens.push(TemplateToken::Text(unescape_markers(line)));
            }
        }
    }
}

/// Resolves `$${` and `%%{`.
fn unescape_markers(text: &str) -> String {
    if text.contains("$${") || text.contains("%%{") {
        text.replace("$${", "${").replace("%%{", "%{")
    } else {
        text.to_owned()
    }
}

/// Resolves the escapes of `source`, the content of a quoted string at `span`.
pub(super) fn unquote(source: &str, span: Span, problems: &mut Diagnostics) -> String {
    if !source.contains(['\\', '$', '%', '\n', '\r']) {
        return source.to_owned();
    }
    let mut text = String::with_capacity(source.len());
    let mut chars = source.char_indices();
    let place = |from: usize, to: usize| Span {
        start: span.start + u32::try_from(from).unwrap_or(u32::MAX),
        end: span.start + u32::try_from(to).unwrap_or(u32::MAX),
        ..span
    };
    let mut problem = |from: usize, to: usize, message: &str, help: &str| {
        problems.push(
            Diagnostic::error(Class::Definition, "definition::syntax", message)
                .at(place(from, to), "")
                .help(help),
        );
    };
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                let Some((next_at, selector)) = chars.next() else {
                    text.push('\\');
                    break;
                };
                match selector {
                    'n' => text.push('\n'),
                    'r' => text.push('\r'),
                    't' => text.push('\t'),
                    '"' | '\\' => text.push(selector),
                    'u' | 'U' => {
                        let wanted = if selector == 'u' { 4 } else { 8 };
                        let digits: String = chars
                            .as_str()
                            .chars()
                            .take(wanted)
                            .take_while(char::is_ascii_hexdigit)
                            .collect();
                        let end = next_at + 1 + digits.len();
                        let character = u32::from_str_radix(&digits, 16)
                            .ok()
                            .filter(|_| digits.len() == wanted)
                            .and_then(char::from_u32);
                        if let Some(character) = character {
                            text.push(character);
                        } else {
                            problem(
                                at,
                                end,
                                "this escape sequence is not a valid character",
                                "write `\\u` with four hexadecimal digits, or `\\U` with eight",
                            );
                        }
                        for _ in 0..digits.len() {
                            chars.next();
                        }
                    }
                    other => problem(
                        at,
                        next_at + other.len_utf8(),
                        "this escape sequence does not exist",
                        "write `\\\\` for a backslash; others are `\\n`, `\\r`, `\\t`, `\\\"`, `\\uNNNN` and `\\UNNNNNNNN`",
                    ),
                }
            }
            '$' | '%' => {
                let rest = &source[at..];
                if rest.starts_with("$${") || rest.starts_with("%%{") {
                    chars.next();
                    chars.next();
                    text.push(c);
                    text.push('{');
                } else {
                    text.push(c);
                }
            }
            '\n' | '\r' => {
                problem(
                    at,
                    at + 1,
                    "a quoted string cannot continue on the next line",
                    "write `\\n` for a line break, or use a heredoc (`<<EOT`)",
                );
                // One message per string is enough.
                break;
            }
            other => text.push(other),
        }
    }
    text
}
