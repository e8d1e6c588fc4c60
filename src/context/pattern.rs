//! One pattern of an ignore file or filter, with the meaning that it has in `moby/patternmatcher`.
//!
//! moby compiles most patterns to a regular expression by joining text. Here, the common forms are matched
//! directly. Patterns with regular expression syntax go to [`super::budget`], so that unusual patterns mean the
//! same as in the daemon. Start at [`IgnorePattern::parse`] and [`IgnorePattern::matches`].

use regex::bytes::Regex;

use super::budget::{Budget, CompileError};
use super::glob::{Glob, GlobToken};
use crate::golang::filepath::{self, BadPattern, NamePattern};
use crate::golang::utf8;

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The pattern is a `!` with nothing after it.
    #[error("illegal exclusion pattern: `!`")]
    LoneExclusion,
    /// A bracket or a backslash is left open, or the regular expression made from the pattern is invalid.
    #[error("syntax error in pattern `{0}`")]
    Syntax(String),
    /// The pattern, or all patterns of its list together, would use more memory than one list may.
    #[error("the pattern `{0}` is too large")]
    TooLarge(String),
}

impl PatternError {
    fn syntax(text: &[u8]) -> Self {
        Self::Syntax(String::from_utf8_lossy(text).into_owned())
    }

    /// The pattern may have megabytes, so only its beginning is shown.
    fn too_large(text: &[u8]) -> Self {
        let shown: String = String::from_utf8_lossy(text).chars().take(80).collect();
        let more = if shown.len() < text.len() { "…" } else { "" };
        Self::TooLarge(shown + more)
    }
}

/// A compiled pattern.
#[derive(Debug)]
pub struct IgnorePattern {
    text: Box<[u8]>,
    exclusion: bool,
    kind: PatternKind,
}

/// How a pattern is matched.
#[derive(Debug)]
pub(super) enum PatternKind {
    /// The path equals the text.
    Exact,
    /// The path starts with the text without its final `**`.
    Prefix,
    /// The path ends with the text without its leading `**`.
    Suffix,
    Glob(Glob),
    Regex(Box<Regex>),
    /// Fails when it is matched, not when it is parsed, as in moby.
    Invalid,
}

impl IgnorePattern {
    /// Parses one line. Returns `None` if it is blank. The memory of the pattern is taken from `budget`, which all
    /// patterns of a list share.
    pub(crate) fn parse(line: &[u8], budget: &mut Budget) -> Result<Option<Self>, PatternError> {
        let trimmed = trim(line);
        if trimmed.is_empty() {
            return Ok(None);
        }
        let mut text = filepath::clean(trimmed);
        let exclusion = text[0] == b'!';
        if exclusion {
            text.remove(0);
            if text.is_empty() {
                return Err(PatternError::LoneExclusion);
            }
        }
        let mut pattern = Self::of_path(text, budget)?;
        pattern.exclusion = exclusion;
        Ok(Some(pattern))
    }

    /// Makes a pattern of `text`, in which blanks at the ends and a leading `!` have no special meaning.
    pub(super) fn of_path(text: Vec<u8>, budget: &mut Budget) -> Result<Self, PatternError> {
        // moby checks the syntax by matching the name `.`, so it finds only the errors that this match reaches.
        NamePattern::new(&text)
            .matches(b".")
            .map_err(|BadPattern| PatternError::syntax(&text))?;
        let kind = compile(&text, budget).map_err(|TooLarge| PatternError::too_large(&text))?;
        Ok(Self {
            text: text.into(),
            exclusion: false,
            kind,
        })
    }

    /// Makes a pattern that matches `path` only, whatever characters are in it.
    pub(crate) fn literal(path: Vec<u8>) -> Self {
        Self {
            text: path.into(),
            exclusion: false,
            kind: PatternKind::Exact,
        }
    }

    /// Whether matching will fail. moby, too, reports such a pattern only when it is matched.
    pub(crate) fn is_invalid(&self) -> bool {
        matches!(self.kind, PatternKind::Invalid)
    }

    /// Returns the cleaned text, without `!`.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether it began with `!`, so that it takes back what earlier patterns matched.
    pub(crate) fn is_exclusion(&self) -> bool {
        self.exclusion
    }

    pub(super) fn kind(&self) -> &PatternKind {
        &self.kind
    }

    /// Whether it matches `path` itself. The caller must try the parents.
    pub(crate) fn matches(&self, path: &[u8]) -> Result<bool, PatternError> {
        Ok(match &self.kind {
            PatternKind::Exact => *path == *self.text,
            PatternKind::Prefix => path.starts_with(&self.text[..self.text.len() - 2]),
            PatternKind::Suffix => {
                let suffix = &self.text[2..];
                // `**/foo` matches `foo`.
                path.ends_with(suffix) || suffix.strip_prefix(b"/") == Some(path)
            }
            PatternKind::Glob(glob) => glob
                .matches(path)
                .map_err(|TooLarge| PatternError::too_large(&self.text))?,
            PatternKind::Regex(regex) => regex.is_match(&as_characters(path)),
            PatternKind::Invalid => return Err(PatternError::syntax(&self.text)),
        })
    }
}

/// Go's `strings.TrimSpace`, which also removes Unicode's white space.
pub(super) fn trim(line: &[u8]) -> &[u8] {
    let mut rest = line;
    while let Some(first) = rest.first()
        && let (c, len) = utf8::decode_char(rest)
        && (first.is_ascii() || len > 1)
        && c.is_whitespace()
    {
        rest = &rest[len..];
    }
    while let Some((start, c)) = last_char(rest)
        && c.is_whitespace()
    {
        rest = &rest[..start];
    }
    rest
}

fn last_char(text: &[u8]) -> Option<(usize, char)> {
    (1..=4.min(text.len())).find_map(|len| {
        let start = text.len() - len;
        let c = std::str::from_utf8(&text[start..]).ok()?.chars().next()?;
        Some((start, c))
    })
}

/// Replaces each byte that is not UTF-8 by a replacement character, as Go's regexp does.
pub(super) fn as_characters(path: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if std::str::from_utf8(path).is_ok() {
        return path.into();
    }
    let mut text = String::with_capacity(path.len() + 16);
    let mut rest = path;
    while !rest.is_empty() {
        let (c, len) = utf8::decode_char(rest);
        text.push(c);
        rest = &rest[len..];
    }
    text.into_bytes().into()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Exact,
    Prefix,
    Suffix,
    Regex,
}

/// Reads a pattern from left to right. Writes the regular expression that moby makes and, as long as they can
/// express the same, the tokens of a [`Glob`].
struct Compiler {
    regex: String,
    tokens: Option<Vec<GlobToken>>,
    shape: Shape,
}

/// The pattern needs more memory than its list may use.
pub(super) struct TooLarge;

/// Chooses how a pattern is matched, and compiles it for that.
fn compile(text: &[u8], budget: &mut Budget) -> Result<PatternKind, TooLarge> {
    let characters = as_characters(text);
    // Always valid, because bytes that are not UTF-8 were replaced.
    let Ok(characters) = std::str::from_utf8(&characters) else {
        return Ok(PatternKind::Invalid);
    };
    let mut compiler = Compiler {
        regex: String::from("^"),
        tokens: Some(Vec::new()),
        shape: Shape::Exact,
    };
    // The scanner of Go, which moby uses, drops a byte order mark.
    compiler.read(characters.strip_prefix('\u{feff}').unwrap_or(characters));
    Ok(match compiler.shape {
        Shape::Exact => PatternKind::Exact,
        Shape::Prefix => PatternKind::Prefix,
        Shape::Suffix => PatternKind::Suffix,
        Shape::Regex => {
            compiler.regex.push('$');
            match compiler.tokens {
                Some(tokens) => PatternKind::Glob(Glob::new(tokens, compiler.regex)),
                None => match budget.compile(&compiler.regex) {
                    Ok(regex) => PatternKind::Regex(Box::new(regex)),
                    Err(CompileError::Bad) => PatternKind::Invalid,
                    Err(CompileError::TooLarge) => return Err(TooLarge),
                },
            }
        }
    })
}

impl Compiler {
    /// Reads the whole pattern. Each branch does what moby does for the character.
    fn read(&mut self, text: &str) {
        let mut chars = text.chars().peekable();
        let mut first = true;
        while let Some(c) = chars.next() {
            match c {
                '*' if chars.next_if_eq(&'*').is_some() => {
                    chars.next_if_eq(&'/');
                    self.double_star(chars.peek().is_none(), first);
                }
                '*' => self.meta("[^/]*", GlobToken::Star),
                '?' => self.meta("[^/]", GlobToken::AnyChar),
                '.' | '+' | '(' | ')' | '$' => {
                    self.regex.push('\\');
                    self.literal(c);
                }
                '\\' => self.escaped(chars.next()),
                '[' | ']' => {
                    self.regex.push(c);
                    self.shape = Shape::Regex;
                    self.tokens = None;
                }
                // moby does not escape these, so they have their meaning in the regular expression.
                '|' | '{' | '}' | '^' | char::REPLACEMENT_CHARACTER => {
                    self.regex.push(c);
                    self.tokens = None;
                }
                c => self.literal(c),
            }
            first = false;
        }
    }

    /// Reads `**` or `**/`. At the end of a literal pattern, it makes a prefix; at the start of one, a suffix.
    fn double_star(&mut self, at_end: bool, first: bool) {
        if !at_end {
            self.meta("(.*/)?", GlobToken::Deep);
        } else if self.shape == Shape::Exact {
            self.shape = Shape::Prefix;
        } else {
            self.meta(".*", GlobToken::Rest);
        }
        if first {
            self.shape = Shape::Suffix;
        }
    }

    fn escaped(&mut self, c: Option<char>) {
        self.regex.push('\\');
        let Some(c) = c else {
            // The pattern ends with a backslash, which then escapes the final `$`.
            self.tokens = None;
            return;
        };
        self.shape = Shape::Regex;
        if c.is_ascii() && !c.is_ascii_alphanumeric() {
            self.literal(c);
        } else {
            self.regex.push(c);
            self.tokens = None;
        }
    }

    /// Adds a wildcard, which makes the pattern a regular expression.
    fn meta(&mut self, regex: &str, token: GlobToken) {
        self.regex.push_str(regex);
        self.shape = Shape::Regex;
        if let Some(tokens) = &mut self.tokens {
            tokens.push(token);
        }
    }

    /// Adds a character that matches itself.
    fn literal(&mut self, c: char) {
        self.regex.push(c);
        let Some(tokens) = &mut self.tokens else {
            return;
        };
        let mut utf8 = [0; 4];
        let bytes = c.encode_utf8(&mut utf8).as_bytes();
        match tokens.last_mut() {
            Some(GlobToken::Literal(literal)) => literal.extend_from_slice(bytes),
            _ => tokens.push(GlobToken::Literal(bytes.to_vec())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[u8]) -> Result<Option<IgnorePattern>, PatternError> {
        IgnorePattern::parse(line, &mut Budget::default())
    }

    fn matches(pattern: &str, path: &str) -> bool {
        let pattern = parse(pattern.as_bytes()).unwrap().unwrap();
        pattern.matches(path.as_bytes()).unwrap()
    }

    #[test]
    fn a_pattern_of_many_stars_is_matched_quickly() {
        let pattern = format!("{}b", "*a".repeat(40));
        assert!(!matches(&pattern, &"a".repeat(3000)));
        assert!(!matches(&pattern, &format!("{}cb", "a".repeat(3000))));
        assert!(matches(&pattern, &format!("{}b", "a".repeat(3000))));
    }

    #[test]
    fn a_star_does_not_split_a_character() {
        assert!(!matches("*???", "€"));
        assert!(matches("*?", "€"));
    }

    #[test]
    fn blanks_and_the_exclusion_mark_are_removed() {
        let pattern = parse(b" \t!a/b/ \xc2\xa0").unwrap().unwrap();
        assert!(pattern.is_exclusion());
        assert_eq!(pattern.text(), b"a/b");
        assert!(parse(b" \t").unwrap().is_none());
        assert_eq!(parse(b"!").unwrap_err(), PatternError::LoneExclusion);
        assert!(parse(b"a[").is_err());
    }
}
