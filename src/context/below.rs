//! Tells what a pattern can match below a directory, without reading the directory.
//!
//! A directory that cannot be listed is an error only if something in it may be wanted, and a directory in which
//! nothing is wanted need not be listed at all. Both answers may be wrong only in the direction that looks at too
//! much: [`IgnorePattern::may_match_below`] may be `true` too often, [`IgnorePattern::covers`] may be `false` too
//! often.

use super::glob::{Glob, GlobToken};
use super::pattern::{IgnorePattern, PatternKind};
use crate::golang::utf8;

impl IgnorePattern {
    /// Whether a path below the directory `dir` may match. `true` if that is not certain.
    pub(super) fn may_match_below(&self, dir: &[u8]) -> bool {
        let inside = [dir, b"/"].concat();
        let text = self.text();
        match self.kind() {
            PatternKind::Exact => text.starts_with(&inside) && text.len() > inside.len(),
            PatternKind::Prefix => {
                let stem = &text[..text.len() - 2];
                stem.starts_with(&inside) || inside.starts_with(stem)
            }
            PatternKind::Glob(glob) => {
                let mut tries = glob_tries();
                reaches(glob.tokens(), &inside, &mut tries)
            }
            PatternKind::Regex(_) => {
                let stem = literal_start(text);
                stem.starts_with(&inside) || inside.starts_with(stem)
            }
            PatternKind::Suffix | PatternKind::Invalid => true,
        }
    }

    /// Whether everything in the directory `dir` is certain to match. `dir` itself is not matched.
    pub(super) fn covers(&self, dir: &[u8]) -> bool {
        let inside = [dir, b"/"].concat();
        match self.kind() {
            PatternKind::Prefix => inside.starts_with(&self.text()[..self.text().len() - 2]),
            PatternKind::Glob(glob) => match glob.tokens().split_last() {
                Some((GlobToken::Star, before)) => Glob::matches_tokens(before, &inside),
                _ => false,
            },
            PatternKind::Exact
            | PatternKind::Suffix
            | PatternKind::Regex(_)
            | PatternKind::Invalid => false,
        }
    }

    /// Whether [`IgnorePattern::covers`] can be `true` for any directory. Saves asking it for each of them.
    pub(super) fn may_cover(&self) -> bool {
        match self.kind() {
            PatternKind::Prefix => true,
            PatternKind::Glob(glob) => matches!(glob.tokens().last(), Some(GlobToken::Star)),
            PatternKind::Exact
            | PatternKind::Suffix
            | PatternKind::Regex(_)
            | PatternKind::Invalid => false,
        }
    }
}

/// The number of steps after which [`reaches`] gives up and answers that something may match.
fn glob_tries() -> u32 {
    2_000
}

/// Returns the start of `text` that is literal: it ends before the first character with a meaning in a regular
/// expression. It is empty if `text` has alternatives or repetitions, because these also change the meaning of the
/// text before them.
fn literal_start(text: &[u8]) -> &[u8] {
    if text.iter().any(|b| b"|{}^".contains(b)) || std::str::from_utf8(text).is_err() {
        return b"";
    }
    let end = text.iter().position(|b| b"*?[]\\".contains(b));
    let stem = &text[..end.unwrap_or(text.len())];
    // A replacement character in the pattern matches each byte that is not UTF-8, not only itself.
    let replaced = stem.windows(3).position(|three| three == b"\xef\xbf\xbd");
    let stem = &stem[..replaced.unwrap_or(stem.len())];
    // The scanner of Go, which moby uses to read patterns, drops a byte order mark.
    stem.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stem)
}

/// Whether `tokens` can match a path that begins with `prefix` and continues after it. `prefix` ends with a slash.
/// Also `true` once `tries` are used up.
fn reaches(tokens: &[GlobToken], prefix: &[u8], tries: &mut u32) -> bool {
    let Some(left) = tries.checked_sub(1) else {
        return true;
    };
    *tries = left;
    if prefix.is_empty() {
        return !tokens.is_empty();
    }
    let Some((token, tokens)) = tokens.split_first() else {
        return false;
    };
    match token {
        GlobToken::Literal(literal) if literal.len() > prefix.len() => literal.starts_with(prefix),
        GlobToken::Literal(literal) => prefix
            .strip_prefix(literal.as_slice())
            .is_some_and(|rest| reaches(tokens, rest, tries)),
        GlobToken::AnyChar => {
            prefix[0] != b'/' && reaches(tokens, &prefix[utf8::char_len(prefix)..], tries)
        }
        GlobToken::Star => {
            let mut rest = prefix;
            loop {
                if reaches(tokens, rest, tries) {
                    return true;
                }
                match rest.first() {
                    None | Some(b'/') => return false,
                    Some(_) => rest = &rest[utf8::char_len(rest)..],
                }
            }
        }
        // `**` may take the whole prefix and more, but it cannot match a line break.
        GlobToken::Deep => {
            !prefix.contains(&b'\n')
                || reaches(tokens, prefix, tries)
                || after_slashes(prefix).any(|rest| reaches(tokens, rest, tries))
        }
        GlobToken::Rest => !prefix.contains(&b'\n'),
    }
}

/// Returns the rest of `path` after each slash before the first line break.
fn after_slashes(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let line = path.iter().position(|b| *b == b'\n').unwrap_or(path.len());
    let slashes = path[..line].iter().enumerate();
    slashes
        .filter(|(_, byte)| **byte == b'/')
        .map(|(at, _)| &path[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::budget::Budget;
    use proptest::prelude::*;
    use test_case::test_case;

    fn pattern(text: &str) -> IgnorePattern {
        IgnorePattern::parse(text.as_bytes(), &mut Budget::default())
            .unwrap()
            .unwrap()
    }

    #[test_case("*.txt", "locked", false; "a name in the root")]
    #[test_case("*/a*", "locked", true; "a name in any directory")]
    #[test_case("*/a*", "x/locked", false; "a name one level up")]
    #[test_case("s*/a.whl", "secret", true; "a name in a directory that begins so")]
    #[test_case("s*/a.whl", "locked", false; "a name in a directory that begins otherwise")]
    #[test_case("locked/a", "locked", true; "a path in it")]
    #[test_case("locked", "locked", false; "itself")]
    #[test_case("locked-too/a", "locked", false; "a path beside it")]
    #[test_case("**/a.whl", "locked", true; "a name anywhere")]
    #[test_case("src/**/a", "locked", false; "a name anywhere in another")]
    #[test_case("src/**/a", "src/locked", true; "a name anywhere above it")]
    #[test_case("src/[ab]", "locked", false; "a class elsewhere")]
    #[test_case("[^a]b", "xx", true; "a class that may be a slash")]
    #[test_case("a*|locked/x", "locked", true; "alternatives")]
    #[test_case("l?cked/?", "locked", true; "single characters")]
    fn patterns_that_may_match_below_a_directory(text: &str, dir: &str, expected: bool) {
        assert_eq!(pattern(text).may_match_below(dir.as_bytes()), expected);
    }

    #[test_case("data/*", "data", true; "all names in it")]
    #[test_case("data/**", "data", true; "all paths in it")]
    #[test_case("*/*", "data", true; "all names in all directories")]
    #[test_case("**/data/*", "x/data", true; "all names in it, anywhere")]
    #[test_case("data/*.log", "data", false; "some names")]
    #[test_case("data/*/x", "data", false; "something deeper")]
    #[test_case("other/*", "data", false; "names elsewhere")]
    #[test_case("*/**", "data", false; "paths without a line break")]
    fn patterns_that_cover_a_whole_directory(text: &str, dir: &str, expected: bool) {
        assert_eq!(pattern(text).covers(dir.as_bytes()), expected);
    }

    #[test]
    fn a_replacement_character_matches_any_byte() {
        let pattern = pattern("bad\u{fffd}?/x");
        assert_eq!(pattern.matches(b"bad\xff1/x"), Ok(true));
        assert!(pattern.may_match_below(b"bad\xff1"));
    }

    proptest! {
        // Neither answer is ever wrong in the direction that loses files.
        #[test]
        fn the_answers_are_right_for_every_path(
            text in "(\\*\\*/)?[ab*?]{1,3}(/([ab*?]{1,2}|\\*\\*)){0,2}|[ab]\\[[^/]?a\\][|b]?",
            dir in "[ab\\n]{1,2}(/[ab]){0,2}",
            below in "[ab\\n]{1,2}(/[ab]{1,2}){0,2}",
        ) {
            let Ok(Some(pattern)) = IgnorePattern::parse(text.as_bytes(), &mut Budget::default()) else {
                return Ok(());
            };
            let path = format!("{dir}/{below}");
            let matches = pattern.matches(path.as_bytes());
            if matches == Ok(true) {
                prop_assert!(pattern.may_match_below(dir.as_bytes()), "{text} {path}");
            }
            let child = path.find('/').map(|_| {
                let end = path[dir.len() + 1..].find('/').map_or(path.len(), |at| dir.len() + 1 + at);
                &path[..end]
            });
            if pattern.covers(dir.as_bytes()) {
                prop_assert_eq!(pattern.matches(child.unwrap().as_bytes()), Ok(true), "{} {}", text, path);
            }
        }
    }
}
