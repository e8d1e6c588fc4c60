//! Go's regular expressions for the functions of the language, with limits. Start at [`RegexPattern::compile`].

use regex::bytes::{Captures, Regex, RegexBuilder};

use super::call::{FunctionCall, FunctionError};
use crate::golang::regexp;

/// The longest pattern, in bytes.
const LENGTH_LIMIT: usize = 64 << 10;
/// The most memory of a compiled pattern, in bytes.
const COMPILED_LIMIT: usize = 4 << 20;
/// The most text that the search for all matches may read, in bytes. One search is linear, but it may read to the
/// end of the text again for each match.
const SEARCH_LIMIT: u64 = 512 << 20;
/// How many bytes of it take as long as one step of evaluation, in the worst case.
const SEARCHED_PER_STEP: u64 = 256;
/// How many steps the compilation of one byte of a pattern counts as. A large class has hundreds of parts, a word
/// only a few.
const STEPS_PER_BYTE: u64 = 8;
/// The most steps that a compilation counts as.
const COMPILING_STEPS_LIMIT: u64 = 300_000;

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct RegexPattern {
    regex: Regex,
    /// The names of the groups in order; `None` for a group without a name.
    names: Vec<Option<String>>,
}

impl RegexPattern {
    /// Compiles a pattern. The error is a fragment. `work` gets the approximate number of steps of evaluation that
    /// the compilation takes.
    pub(super) fn compile(pattern: &str, work: impl FnOnce(u64)) -> Result<Self, String> {
        if pattern.len() > LENGTH_LIMIT {
            return Err("the pattern is too long".into());
        }
        let translation = regexp::translate(pattern)?;
        let bytes = translation.pattern.len() as u64;
        let steps = bytes.saturating_mul(translation.copies.saturating_mul(STEPS_PER_BYTE));
        work(steps.min(COMPILING_STEPS_LIMIT));
        let regex = RegexBuilder::new(&translation.pattern)
            .size_limit(COMPILED_LIMIT)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => "expression too large".to_owned(),
                // The engine's message shows the translated pattern and the position in it, which the user did not
                // write. Only its last line, the reason, is used.
                other => {
                    let text = other.to_string();
                    let reason = text.lines().last().unwrap_or_default();
                    reason.trim_start_matches("error: ").to_owned()
                }
            })?;
        Ok(Self {
            regex,
            names: translation.groups,
        })
    }

    /// The names of the groups in order; `None` for a group without a name.
    pub(super) fn names(&self) -> &[Option<String>] {
        &self.names
    }

    /// The matches in a text, from left to right, without overlaps.
    fn matches<'t>(&self, text: &'t str) -> impl Iterator<Item = Match<'t>> {
        // The engine searches bytes, so it may find an empty match within a character. Go does not.
        self.regex
            .captures_iter(text.as_bytes())
            .map(move |captures| Match { text, captures })
            .filter(move |found| text.is_char_boundary(found.start()))
    }

    /// The matches in a text. The search counts as work of `call`, and ends with an error if it takes too much.
    pub(super) fn matches_for<'t>(
        &self,
        text: &'t str,
        call: &FunctionCall<'_>,
    ) -> impl Iterator<Item = Result<Match<'t>, FunctionError>> {
        let mut left = SEARCH_LIMIT;
        self.matches(text).map(move |found| {
            let ahead = (text.len() - found.end()) as u64;
            call.work(ahead / SEARCHED_PER_STEP);
            match left.checked_sub(ahead) {
                Some(rest) => {
                    left = rest;
                    Ok(found)
                }
                None => Err(FunctionError::new(format!(
                    "too many matches in a text of this length: the search would read more than {} MiB",
                    SEARCH_LIMIT >> 20
                ))),
            }
        })
    }

    /// The text of the group that a replacement refers to, by number or name. If several groups have the name, it
    /// is the first of them that matched. `None` if there is no such group, or it did not match.
    pub(super) fn referenced<'t>(&self, reference: &str, found: &Match<'t>) -> Option<&'t str> {
        let leading_zero = reference.len() > 1 && reference.starts_with('0');
        if !leading_zero && reference.bytes().all(|digit| digit.is_ascii_digit()) {
            return found.group(reference.parse().ok()?);
        }
        let named = |(_, name): &(usize, &Option<String>)| name.as_deref() == Some(reference);
        self.names
            .iter()
            .enumerate()
            .filter(named)
            .find_map(|(place, _)| found.group(place + 1))
    }
}

/// One match in a text.
#[derive(Debug)]
pub(super) struct Match<'t> {
    text: &'t str,
    captures: Captures<'t>,
}

impl<'t> Match<'t> {
    /// Byte offset of the start of the match.
    pub(super) fn start(&self) -> usize {
        self.captures.get(0).map_or(0, |whole| whole.start())
    }

    /// Byte offset of the end of the match.
    pub(super) fn end(&self) -> usize {
        self.captures.get(0).map_or(0, |whole| whole.end())
    }

    /// The text of a group; group 0 is the whole match. `None` if the group did not take part in the match.
    pub(super) fn group(&self, group: usize) -> Option<&'t str> {
        let found = self.captures.get(group)?;
        self.text.get(found.start()..found.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first<'t>(pattern: &str, text: &'t str) -> Option<&'t str> {
        let pattern = RegexPattern::compile(pattern, |_| ()).unwrap();
        pattern
            .matches(text)
            .next()
            .and_then(|found| found.group(0))
    }

    #[test]
    fn character_classes_are_ascii() {
        assert_eq!(first(r"\d+", "٣٤12"), Some("12"));
        assert_eq!(first(r"\w+", "éab_1é"), Some("ab_1"));
        assert_eq!(first(r"\S+", " é\u{a0}x "), Some("é\u{a0}x"));
        assert_eq!(first(r"\bb", "éb"), Some("b"));
        assert_eq!(first(r"[^\d\s]+", "1 ab"), Some("ab"));
        assert_eq!(first(r"\Bb", "éb"), None);
        assert_eq!(first(r"a\Bb", "ab"), Some("ab"));
    }

    #[test]
    fn literals_that_rust_reads_differently() {
        assert_eq!(first(r"a{,2}", "a{,2}"), Some("a{,2}"));
        assert_eq!(first(r"[a&&b]+", "&b&"), Some("&b&"));
        assert_eq!(first(r"[[a]+", "[a"), Some("[a"));
        assert_eq!(first(r"\Q.*\E+", "a.**"), Some(".**"));
        assert_eq!(first(r"\<a\>", "<a>"), Some("<a>"));
        assert_eq!(first(r"\101\x42\x{43}", "ABC"), Some("ABC"));
        assert_eq!(first(r"[]a]+", "a]"), Some("a]"));
        assert_eq!(first(r"[a\-z]+", "-za"), Some("-za"));
        assert_eq!(first(r"[+--]+", "+,-"), Some("+,-"));
        assert_eq!(first("# x", "# x"), Some("# x"));
        assert_eq!(first(r"\p{^Lu}+", "Aab"), Some("ab"));
        assert_eq!(first(r"(?i:É)", "é"), Some("é"));
        assert_eq!(first(r"a(?i)+?B", "aab"), Some("aab"));
        assert_eq!(first(r"a(?i)(?-i){2}", "aab"), Some("aa"));
    }

    #[test]
    fn patterns_that_go_refuses_are_refused() {
        for pattern in [
            "(?=x)",
            "(?<!x)",
            r"\1",
            "a**",
            "a+*",
            "a{2}{3}",
            "a{1001}",
            "a{2,1}",
            "[a",
            "(a",
            "a)",
            r"\C",
            r"\Z",
            "*",
            "(?x)a",
            "(?i)*",
            "[z-a]",
            r"[a-\d]",
            r"\p{Nope}",
            "(?P<a-b>x)",
            r"\",
            r"\xZZ",
            "[[:nope:]]",
            r"\_é\é",
        ] {
            assert!(RegexPattern::compile(pattern, |_| ()).is_err(), "{pattern}");
        }
    }

    #[test]
    fn hostile_patterns_are_refused() {
        assert!(
            RegexPattern::compile("(((((a{1000}){1000}){1000}){1000}){1000})", |_| ()).is_err()
        );
        assert!(RegexPattern::compile(&"(".repeat(100_000), |_| ()).is_err());
    }

    #[test]
    fn empty_matches_start_at_characters() {
        let pattern = RegexPattern::compile("", |_| ()).unwrap();
        let starts: Vec<usize> = pattern.matches("éa").map(|found| found.start()).collect();
        assert_eq!(starts, [0, 2, 3]);
    }
}
