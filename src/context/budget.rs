//! Compiles the regular expressions of ignore patterns, within a memory limit.
//!
//! moby's pattern matcher makes a regular expression from a pattern by joining text, so parts of Go's regexp
//! syntax work in patterns: `|`, `{2}`, `^`, `\d`, `[[:alpha:]]`, `\Q…\E`. [`Budget::compile`] reads such text by
//! Go's rules.

use regex::bytes::{Regex, RegexBuilder};

use crate::golang::regexp;

/// Why a text has no regular expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompileError {
    /// The syntax is an error in Go, too.
    Bad,
    /// The compiled program would be larger than the budget allows.
    TooLarge,
}

/// Size limits in bytes that are tried in turn. The `regex` crate does not report how large a program is, so each
/// program counts as the smallest limit that it fits into.
const STEPS: [usize; 3] = [64 << 10, 1 << 20, 16 << 20];

/// The most memory, in bytes, that one program may use to cache states while it matches.
const STATES: usize = 512 << 10;

/// The memory that the programs of one list of patterns may still use, all together.
///
/// The lists come from the daemon, and a line such as `[a]{1000}` compiles to a program many times its size.
#[derive(Debug)]
pub(crate) struct Budget {
    left: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: 128 << 20 }
    }
}

impl Budget {
    /// Compiles `text`, which is in Go's syntax, to match UTF-8. Subtracts the program's size from the budget.
    pub(super) fn compile(&mut self, text: &str) -> Result<Regex, CompileError> {
        let translated = regexp::translate(text)
            .map_err(|_message| CompileError::Bad)?
            .pattern;
        for step in STEPS {
            let limit = step.min(self.left);
            match build(&translated, limit) {
                Err(CompileError::TooLarge) if limit == step => {}
                Ok(regex) => {
                    self.left -= limit;
                    return Ok(regex);
                }
                Err(error) => return Err(error),
            }
        }
        Err(CompileError::TooLarge)
    }
}

/// Compiles a program of at most `limit` bytes.
fn build(translated: &str, limit: usize) -> Result<Regex, CompileError> {
    RegexBuilder::new(translated)
        .size_limit(limit)
        .dfa_size_limit(STATES)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => CompileError::TooLarge,
            _ => CompileError::Bad,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_syntax_has_the_same_meaning_as_in_go() {
        for (go, text, matches) in [
            (r"^a|b$", "ax", true),
            (r"^a{2}$", "aa", true),
            (r"^a{,2}$", "a{,2}", true),
            (r"^\Qa.b$", "a.b$", true),
            (r"^\d$", "٣", false),
            (r"^[[:alpha:]]$", "x", true),
            (r"^[[^/]*]$", "[[]", true),
            (r"^\x41\101$", "AA", true),
            (r"^[^\pL]$", "é", false),
        ] {
            let regex = Budget::default().compile(go);
            let regex = regex.unwrap_or_else(|_| panic!("{go}"));
            assert_eq!(regex.is_match(text.as_bytes()), matches, "{go} {text}");
        }
    }

    #[test]
    fn an_expression_that_go_refuses_is_reported_as_bad() {
        let refused = Budget::default().compile(r"^a{2}{3}$").err();
        assert_eq!(refused, Some(CompileError::Bad));
    }

    #[test]
    fn programs_are_limited_in_size_each_and_together() {
        let large = r"^[\x{80}-\x{10ffff}]{1000}$";
        let mut budget = Budget::default();
        let compiled = (0..1000)
            .take_while(|_| budget.compile(large).is_ok())
            .count();
        assert!((1..1000).contains(&compiled), "{compiled}");
        let huge = format!("^{}$", r"[\x{80}-\x{10ffff}]{1000}".repeat(100));
        let refused = Budget::default().compile(&huge).err();
        assert_eq!(refused, Some(CompileError::TooLarge));
    }
}
