//! Patterns of tags, such as `build-*`.

use std::fmt;
use std::str::FromStr;

/// The longest pattern, in bytes. A tag has at most 128.
pub(crate) const LONGEST_PATTERN: usize = 256;

/// A pattern that matches whole tags. `*` stands for any number of characters, also none; `?` for exactly one.
///
/// Dots are ordinary characters: `v*.*` matches `v1.2` and `v1.2.3`. Upper and lower case differ, as in tags.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TagPattern(String);

/// The text is not a pattern of tags.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidTagPattern {
    /// It is empty.
    #[error("a pattern of tags cannot be empty")]
    Empty,
    /// It is longer than [`LONGEST_PATTERN`].
    #[error("a pattern of tags can have at most {LONGEST_PATTERN} characters")]
    TooLong,
    /// It contains `/` or `:`, as names of images do.
    #[error("`{0}` contains `/` or `:`, but patterns match only the tag, without the image's name")]
    Name(String),
    /// It contains another character that no tag has, so that it would match nothing.
    #[error(
        "`{pattern}` matches no tag: `{character}` is neither `*`, `?` nor a character of tags"
    )]
    Character {
        /// The pattern.
        pattern: String,
        /// The first such character.
        character: char,
    },
}

impl TagPattern {
    /// Whether the pattern matches the whole of `tag`. The time grows with the product of the lengths.
    pub(crate) fn matches(&self, tag: &str) -> bool {
        matches_whole(&self.0, tag)
    }
}

/// Whether `pattern` matches the whole of `text`, with `*` for any number of bytes and `?` for exactly one. The time
/// grows with the product of the lengths.
pub(crate) fn matches_whole(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut rest) = (pattern.as_bytes(), text.as_bytes());
    // The pattern after the last star, and the text at which it was tried last. Only the last star needs to take
    // more characters: an earlier one has found the shortest text, which leaves the most for the others.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern, rest) {
            ([], []) => return true,
            ([b'*', after @ ..], _) => {
                retry = Some((after, rest));
                pattern = after;
            }
            ([wanted, after @ ..], [found, more @ ..]) if *wanted == b'?' || wanted == found => {
                (pattern, rest) = (after, more);
            }
            _ => match retry {
                Some((after, [_, more @ ..])) => {
                    retry = Some((after, more));
                    (pattern, rest) = (after, more);
                }
                _ => return false,
            },
        }
    }
}

impl FromStr for TagPattern {
    type Err = InvalidTagPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(InvalidTagPattern::Empty);
        }
        if text.len() > LONGEST_PATTERN {
            return Err(InvalidTagPattern::TooLong);
        }
        let is_known = |c: &char| c.is_ascii_alphanumeric() || "_.-*?".contains(*c);
        match text.chars().find(|c| !is_known(c)) {
            None => Ok(Self(text.to_owned())),
            Some('/' | ':') => Err(InvalidTagPattern::Name(text.to_owned())),
            Some(character) => Err(InvalidTagPattern::Character {
                pattern: text.to_owned(),
                character,
            }),
        }
    }
}

impl fmt::Display for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use test_case::test_case;

    fn pattern(text: &str) -> TagPattern {
        text.parse().unwrap()
    }

    #[test_case("build-*", "build-17", true; "a star at the end")]
    #[test_case("build-*", "build-", true; "a star for nothing")]
    #[test_case("build-*", "rebuild-17", false; "the start is fixed")]
    #[test_case("v*.*.*", "v1.2.3", true; "a version")]
    #[test_case("v*.*.*", "v1.2", false; "a short version")]
    #[test_case("v*.*", "v1.2.3", true; "dots are ordinary characters")]
    #[test_case("v?", "v1", true; "one character")]
    #[test_case("v?", "v", false; "one character is missing")]
    #[test_case("*a*b", "aXabab", true; "several ways to match")]
    #[test_case("latest", "latest", true; "no special character")]
    #[test_case("latest", "Latest", false; "case")]
    fn whole_tags_are_matched(text: &str, tag: &str, expected: bool) {
        assert_eq!(pattern(text).matches(tag), expected);
    }

    #[test]
    fn patterns_that_match_no_tag_are_refused() {
        let refused = |text: &str| text.parse::<TagPattern>().unwrap_err();
        assert_eq!(refused(""), InvalidTagPattern::Empty);
        assert_eq!(refused(&"*".repeat(257)), InvalidTagPattern::TooLong);
        assert!(matches!(refused("app:v*"), InvalidTagPattern::Name(_)));
        let other = refused("v[0-9]");
        assert!(other.to_string().contains("`[`"), "{other}");
    }

    #[test]
    fn many_stars_take_little_time() {
        let many = pattern(&"*a".repeat(LONGEST_PATTERN / 2));
        assert!(!many.matches(&"a".repeat(127)));
    }

    proptest! {
        #[test]
        fn matching_agrees_with_regular_expressions(text in "[ab*?.]{1,8}", tag in "[ab.]{0,8}") {
            let translated = regex::escape(&text).replace(r"\*", ".*").replace(r"\?", ".");
            let expected = regex::Regex::new(&format!("^{translated}$")).unwrap();
            prop_assert_eq!(pattern(&text).matches(&tag), expected.is_match(&tag));
        }
    }
}
