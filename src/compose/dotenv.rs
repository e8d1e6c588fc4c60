//! Environment files: `.env` in the working directory, and the `env_file`s of services.
//!
//! The syntax looks like shell, but is not. This module follows the rules of Compose's reader, including its oddities:
//! text after a closing quote is a new statement, and a name on the last line without a line end is ignored.

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::LazyLock;

use indexmap::IndexMap;
use regex::Regex;

use super::interpolate::{template_problem, unset};
use super::reader::SIZE_LIMIT;
use super::template::{Lookup, substitute};
use crate::diag::{Class, Diagnostic, Diagnostics, SourceId, Span};
use crate::types::awaited;
use crate::types::encoding::{self, NotText};

/// The contents of a `.env` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DotEnv {
    /// The text. Bytes that are not UTF-8 are replaced by U+FFFD, as in buildx's output.
    pub(crate) text: String,
    /// The place of the first replaced bytes, if there are any.
    pub(crate) not_utf8: Option<std::ops::Range<usize>>,
}

/// Reads `.env` in `directory`. Returns `None` if it does not exist or is a directory.
///
/// # Errors
/// Fails if the file cannot be read, is larger than the limit for project files, or is UTF-16, which buildx cannot
/// read either.
pub(crate) fn read(directory: &Path) -> io::Result<Option<DotEnv>> {
    let path = directory.join(".env");
    match std::fs::metadata(&path) {
        Ok(found) if found.is_dir() => return Ok(None),
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(_) | Err(_) => {}
    }
    // `.env` may be a named pipe: some password managers provide secrets in this way. Reading it may then block.
    let awaited = awaited::file(&path.display().to_string());
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(SIZE_LIMIT + 1).read_to_end(&mut bytes));
    drop(awaited);
    read?;
    if bytes.len() as u64 > SIZE_LIMIT {
        let why = format!("it is larger than {} MiB", SIZE_LIMIT >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    let utf16 = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    match encoding::decode(bytes.clone()) {
        Ok(decoded) if decoded.utf16 => Err(utf16(encoding::IS_UTF16)),
        Ok(decoded) => Ok(Some(DotEnv {
            text: decoded.text,
            not_utf8: None,
        })),
        Err(error @ (NotText::Unmarked | NotText::Utf16 { .. })) => Err(utf16(&error.to_string())),
        Err(NotText::Utf8 { byte, .. }) => Ok(Some(DotEnv {
            text: String::from_utf8_lossy(&bytes).into_owned(),
            not_utf8: Some(byte..byte + char::REPLACEMENT_CHARACTER.len_utf8()),
        })),
    }
}

/// Parses `text`, the contents of `source`, and returns the variables that it sets.
///
/// Values may refer to variables that `lookup` knows, or else to variables set earlier in the file. A name without
/// `=` takes its value from `lookup`. Adds all errors to `problems`; the result is only usable if there are none.
pub(crate) fn parse(
    text: &str,
    source: SourceId,
    lookup: Lookup<'_>,
    problems: &mut Diagnostics,
) -> IndexMap<String, String> {
    let mut parser = Parser {
        text,
        source,
        at: 0,
        lookup,
        variables: IndexMap::new(),
        problems,
    };
    if text.starts_with('\u{feff}') {
        parser.at = '\u{feff}'.len_utf8();
    }
    while parser.next_statement() {
        if parser.statement().is_none() {
            parser.at = parser.line_end();
        }
    }
    parser.variables
}

struct Parser<'a> {
    text: &'a str,
    source: SourceId,
    at: usize,
    lookup: Lookup<'a>,
    variables: IndexMap<String, String>,
    problems: &'a mut Diagnostics,
}

impl<'a> Parser<'a> {
    /// Moves to the next name, skipping blank lines and comments. Returns false at the end of the file.
    fn next_statement(&mut self) -> bool {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return !trimmed.is_empty();
            }
            self.at = self.line_end();
        }
    }

    /// Reads one statement. Returns `None` after an error, which has been reported.
    fn statement(&mut self) -> Option<()> {
        if let Some(rest) = self.rest().strip_prefix("export")
            && rest.starts_with(['\t', '\n', '\u{c}', '\r', ' '])
        {
            self.at = self.text.len() - rest.trim_start_matches(is_blank).len();
        }
        if self.rest().is_empty() {
            let span = self.span(self.at..self.at);
            let found = problem("dotenv::invalid-name", "`export` without a name", span, "");
            self.problems.push(found);
            return None;
        }
        let start = self.at;
        let (end, Some(separator)) = self.separator()? else {
            // As in Compose, a name that ends with the file (without a line end) sets nothing.
            self.at = self.line_end();
            return Some(());
        };
        let name = self.text[start..end].trim_end();
        self.at = end + 1;
        self.at = self.text.len() - self.rest().trim_start_matches(is_blank).len();
        if let Some(blank) = name.find(' ') {
            let span = self.span(start + blank..start + name.len());
            let message = "a name cannot contain a space";
            let mut found = problem("dotenv::invalid-name", message, span, "");
            if separator == '\n' {
                found = found.help("write `NAME=value`");
            }
            self.problems.push(found);
            // Go back to the end of the name: skipping white space above may have moved to the next line, which is a
            // new statement.
            self.at = end;
            return None;
        }
        if separator == '\n' {
            if let Some(value) = (self.lookup)(name) {
                self.variables.insert(name.to_owned(), value);
            }
            return Some(());
        }
        let value = self.value()?;
        self.variables.insert(name.to_owned(), value);
        Some(())
    }

    /// Returns the end of the name and the separator there: `=`, `:`, a line end, or `None` for the end of the file.
    fn separator(&mut self) -> Option<(usize, Option<char>)> {
        static LETTER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\p{L}").ok());
        for (offset, c) in self.rest().char_indices() {
            let at = self.at + offset;
            let is_letter = || {
                let letter = LETTER.as_ref();
                letter.is_some_and(|letter| letter.is_match(&self.text[at..]))
            };
            match c {
                '=' | ':' | '\n' => return Some((at, Some(c))),
                '_' | '.' | '-' | '[' | ']' => {}
                c if is_blank(c) || c.is_numeric() || is_letter() => {}
                c => {
                    let span = self.span(at..at + c.len_utf8());
                    let message = format!("a name cannot contain `{}`", c.escape_debug());
                    let label = "names are made of letters, digits, `_`, `.` and `-`";
                    let found = problem("dotenv::invalid-name", message, span, label)
                        .help("write `NAME=value`, and values of several lines in quotes");
                    self.problems.push(found);
                    return None;
                }
            }
        }
        Some((self.text.len(), None))
    }

    /// Reads the value after the separator. Without quotes it ends at the line end or at ` #`, which starts a comment.
    fn value(&mut self) -> Option<String> {
        let rest = self.rest();
        if let Some(quote @ (b'"' | b'\'')) = rest.as_bytes().first() {
            return self.quoted(*quote);
        }
        let start = self.at;
        let line = rest.split('\n').next().unwrap_or_default();
        self.at = (start + line.len() + 1).min(self.text.len());
        let value = line.split(" #").next().unwrap_or_default().trim_end();
        let span = start..start + value.len();
        Some(self.expand(value, span, true))
    }

    /// Reads a value in quotes, which may span lines. Variables and escapes are only replaced in double quotes.
    fn quoted(&mut self, quote: u8) -> Option<String> {
        let start = self.at;
        let rest = self.rest();
        let mut value = String::new();
        let mut escaped = false;
        let mut kept = 1;
        for (at, byte) in rest.bytes().enumerate().skip(1) {
            if byte != quote {
                escaped = byte == b'\\' && !escaped;
                continue;
            }
            if escaped {
                // Keeps the quote but drops the backslash before it.
                value.push_str(&rest[kept..at - 1]);
                kept = at;
                escaped = false;
                continue;
            }
            value.push_str(&rest[kept..at]);
            self.at = start + at + 1;
            if quote == b'\'' {
                return Some(value);
            }
            let inner = start + 1..start + at;
            let verbatim = !self.text[inner.clone()].contains('\\');
            return Some(self.expand(&unescape(&value), inner, verbatim));
        }
        let span = self.span(start..self.line_end());
        let message = "this quoted value is not closed";
        let label = format!(
            "no closing `{}` up to the end of the file",
            char::from(quote)
        );
        let found = problem("dotenv::unclosed-quote", message, span, &label)
            .help("close it, or write `\\` in front of a quote that is part of the value");
        self.problems.push(found);
        None
    }

    /// Replaces the variables in `value`. `verbatim` says that the file contains `value` unchanged at `place`, so
    /// that errors can point at a part of it.
    fn expand(&mut self, value: &str, place: std::ops::Range<usize>, verbatim: bool) -> String {
        let span = |range: &std::ops::Range<usize>| {
            let range = if verbatim {
                place.start + range.start..place.start + range.end
            } else {
                place.clone()
            };
            Span::new(self.source, range)
        };
        let variables = &self.variables;
        let lookup = |name: &str| (self.lookup)(name).or_else(|| variables.get(name).cloned());
        match substitute(value, &lookup) {
            Ok(found) => {
                for (name, range) in &found.unset {
                    self.problems.push(unset(name, span(range)));
                }
                found.text
            }
            Err(errors) => {
                for error in errors {
                    let text = value.get(error.range.clone()).filter(|_| !verbatim);
                    let span = span(&error.range);
                    self.problems.push(template_problem(error, span, text));
                }
                // The statement itself is complete, so reading continues with the next one.
                String::new()
            }
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn line_end(&self) -> usize {
        self.rest()
            .find('\n')
            .map_or(self.text.len(), |n| self.at + n)
    }

    fn span(&self, range: std::ops::Range<usize>) -> Span {
        Span::new(self.source, range)
    }
}

fn problem(code: &'static str, message: impl Into<String>, span: Span, label: &str) -> Diagnostic {
    Diagnostic::error(Class::Definition, code, message).at(span, label)
}

/// White space of Go's `unicode.IsSpace` below U+0100, except the line end, which ends a statement.
const fn is_blank(c: char) -> bool {
    matches!(
        c,
        '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}'
    )
}

/// Resolves escapes such as `\n`. `\$` becomes `$$`, the escape of templates, and `\0` is followed by octal digits.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(c) = rest.chars().next() else {
            out.push('\\');
            break;
        };
        if c == '0' {
            let digits = rest[1..]
                .bytes()
                .take(3)
                .take_while(u8::is_ascii_digit)
                .count();
            let octal = &rest[1..=digits];
            rest = &rest[1 + digits..];
            let value = u32::from_str_radix(octal, 8)
                .ok()
                .filter(|value| digits == 3 && *value <= 255);
            if let Some(c) = value.and_then(char::from_u32) {
                out.push(c);
            } else {
                out.push('\\');
                out.push_str(octal);
            }
            continue;
        }
        let single = match c {
            'a' => "\u{7}",
            'b' => "\u{8}",
            'f' => "\u{c}",
            'n' => "\n",
            'r' => "\r",
            't' => "\t",
            'v' => "\u{b}",
            '$' => "$$",
            '"' => "\"",
            '\\' => "\\",
            _ => {
                out.push('\\');
                continue;
            }
        };
        out.push_str(single);
        rest = &rest[1..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::SourceMap;

    #[test]
    fn an_endless_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/zero", dir.path().join(".env")).unwrap();
        let error = read(dir.path()).unwrap_err();
        assert_eq!(error.to_string(), "it is larger than 16 MiB");
    }

    fn parsed(text: &str, lookup: Lookup<'_>) -> Result<IndexMap<String, String>, Diagnostics> {
        let mut map = SourceMap::default();
        let id = map.add(".env", text);
        let mut problems = Diagnostics::default();
        let variables = parse(text, id, lookup, &mut problems);
        problems.into_result(variables)
    }

    #[test]
    fn files_are_parsed_as_in_compose() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/compose/dotenv.jsonl"
        );
        let lines = std::fs::read_to_string(path).expect("the fixture");
        let mut lines = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        let first: serde_json::Value = lines.next().expect("the environment");
        let lookup = |name: &str| first["env"].get(name)?.as_str().map(str::to_owned);
        for case in lines {
            let text = case["text"].as_str().expect("text");
            let found = parsed(text, &lookup).map_or(serde_json::Value::Null, |mut variables| {
                variables.shift_remove("");
                serde_json::json!(variables)
            });
            assert_eq!(case["variables"], found, "{text:?}");
        }
    }

    #[test]
    fn every_error_is_reported_at_its_place() {
        let text = "A=1\nB/C=2\nD=${}\nE F=3\nG=${H:?none}\nI=\"x\n";
        let problems = parsed(text, &|_| None).expect_err("errors");
        let told: Vec<_> = problems
            .0
            .iter()
            .map(|problem| (problem.code, &text[problem.labels[0].span.range()]))
            .collect();
        let expected = [
            ("dotenv::invalid-name", "/"),
            ("compose::invalid-template", "${"),
            ("dotenv::invalid-name", " F"),
            ("compose::required-variable", "${H:?none}"),
            ("dotenv::unclosed-quote", "\"x"),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_directory_is_ignored_and_utf16_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(read(dir.path()).expect("nothing"), None);
        std::fs::create_dir(dir.path().join(".env")).expect("made");
        assert_eq!(read(dir.path()).expect("a directory"), None);
        std::fs::remove_dir(dir.path().join(".env")).expect("removed");
        std::fs::write(dir.path().join(".env"), "A=1").expect("written");
        let found = read(dir.path()).expect("a file").expect("a file");
        assert_eq!((found.text.as_str(), found.not_utf8), ("A=1", None));
        std::fs::write(dir.path().join(".env"), b"A=\xe9").expect("a file");
        let found = read(dir.path()).expect("a file").expect("a file");
        assert_eq!(
            (found.text.as_str(), found.not_utf8),
            ("A=\u{fffd}", Some(2..5))
        );
        for utf16 in [&b"\xff\xfeA\0=\0"[..], b"\xfe\xff\0A\0=", b"A\0=\0"] {
            std::fs::write(dir.path().join(".env"), utf16).expect("a file");
            let refused = read(dir.path()).expect_err("UTF-16");
            assert!(refused.to_string().contains("UTF-16"), "{refused}");
        }
    }
}
