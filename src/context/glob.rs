//! Patterns with wildcards that can be matched without a regular expression.
//!
//! Start at [`Glob::matches`]. If a match takes too many steps, the equivalent regular expression takes over.

use std::sync::OnceLock;

use regex::bytes::Regex;

use super::budget::Budget;
use super::pattern::TooLarge;
use crate::golang::utf8;

/// A part of a [`Glob`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GlobToken {
    Literal(Vec<u8>),
    /// `?`: one character except a slash.
    AnyChar,
    /// `*`: any characters except slashes.
    Star,
    /// `**` or `**/` before more of the pattern: nothing, or a text without line breaks that ends with a slash.
    Deep,
    /// `**` at the end: any text without line breaks.
    Rest,
}

/// A pattern with wildcards that can be matched without a regular expression.
#[derive(Debug)]
pub(super) struct Glob {
    tokens: Vec<GlobToken>,
    regex_text: String,
    regex: OnceLock<Option<Regex>>,
}

/// The number of steps of one match after which the regular expression takes over. Compiling that costs time, but
/// its matching time is always linear.
const TRIES: u32 = 2_000;

impl Glob {
    pub(super) fn new(tokens: Vec<GlobToken>, regex_text: String) -> Self {
        Self {
            tokens,
            regex_text,
            regex: OnceLock::new(),
        }
    }

    pub(super) fn tokens(&self) -> &[GlobToken] {
        &self.tokens
    }

    /// Whether `tokens` match all of `path`. Also `false` if that takes too many steps.
    pub(super) fn matches_tokens(tokens: &[GlobToken], path: &[u8]) -> bool {
        glob(tokens, path, &mut TRIES.clone()) == Some(true)
    }

    /// Whether the pattern matches all of `path`. Fails if that takes too many steps and the regular expression is
    /// too large to be compiled.
    pub(super) fn matches(&self, path: &[u8]) -> Result<bool, TooLarge> {
        if let Some(GlobToken::Literal(end)) = self.tokens.last()
            && !path.ends_with(end)
        {
            return Ok(false);
        }
        let mut tries = TRIES;
        match glob(&self.tokens, path, &mut tries) {
            Some(matched) => Ok(matched),
            None => self
                .regex
                .get_or_init(|| Budget::default().compile(&self.regex_text).ok())
                .as_ref()
                .map(|regex| regex.is_match(&super::pattern::as_characters(path)))
                .ok_or(TooLarge),
        }
    }
}

/// Whether `tokens` match all of `path`. `None` once `tries` are used up.
fn glob(tokens: &[GlobToken], path: &[u8], tries: &mut u32) -> Option<bool> {
    *tries = tries.checked_sub(1)?;
    let Some((token, tokens)) = tokens.split_first() else {
        return Some(path.is_empty());
    };
    match token {
        GlobToken::Literal(literal) => match path.strip_prefix(literal.as_slice()) {
            Some(rest) => glob(tokens, rest, tries),
            None => Some(false),
        },
        GlobToken::AnyChar => match path.first() {
            None | Some(b'/') => Some(false),
            Some(_) => glob(tokens, &path[utf8::char_len(path)..], tries),
        },
        GlobToken::Star => star(tokens, path, tries),
        GlobToken::Deep => deep(tokens, path, tries),
        GlobToken::Rest => Some(!path.contains(&b'\n')),
    }
}

fn star(tokens: &[GlobToken], path: &[u8], tries: &mut u32) -> Option<bool> {
    if tokens.is_empty() {
        return Some(!path.contains(&b'/'));
    }
    let mut rest = path;
    loop {
        let possible = match tokens.first() {
            Some(GlobToken::Literal(literal)) => rest.first() == literal.first(),
            _ => true,
        };
        if possible && glob(tokens, rest, tries)? {
            return Some(true);
        }
        match rest.first() {
            None | Some(b'/') => return Some(false),
            Some(_) => rest = &rest[utf8::char_len(rest)..],
        }
    }
}

fn deep(tokens: &[GlobToken], path: &[u8], tries: &mut u32) -> Option<bool> {
    if glob(tokens, path, tries)? {
        return Some(true);
    }
    for (at, byte) in path.iter().enumerate() {
        match byte {
            b'\n' => return Some(false),
            b'/' if glob(tokens, &path[at + 1..], tries)? => return Some(true),
            _ => {}
        }
    }
    Some(false)
}
