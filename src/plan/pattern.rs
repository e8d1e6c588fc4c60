//! Glob patterns for names, with the rules of Go's `path.Match`.
//!
//! `*` and `?` match characters other than `/`. `[a-z]` and `[^a-z]` match one character of a set. `\` makes the
//! next character literal. A pattern is parsed once. Matching takes at most time proportional to the length of the
//! pattern times that of the name, so a hostile pattern cannot block.

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetPattern {
    tokens: Vec<Token>,
}

/// The text is not a valid pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a valid pattern")]
pub(crate) struct InvalidPattern(String);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(char),
    AnyChar,
    AnyText,
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl TargetPattern {
    /// Parses `text`. Fails if it is not a valid pattern.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let invalid = || InvalidPattern(text.to_owned());
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let token = match c {
                '*' => Token::AnyText,
                '?' => Token::AnyChar,
                '\\' => Token::Literal(chars.next().ok_or_else(invalid)?),
                '[' => set(&mut chars).ok_or_else(invalid)?,
                c => Token::Literal(c),
            };
            if token != Token::AnyText || tokens.last() != Some(&Token::AnyText) {
                tokens.push(token);
            }
        }
        Ok(Self { tokens })
    }

    /// Whether `text` contains characters that make it a pattern instead of a name.
    pub(crate) fn is_pattern(text: &str) -> bool {
        text.contains(['*', '?', '[', ']'])
    }

    /// Whether the pattern matches the whole of `name`.
    pub(crate) fn matches(&self, name: &str) -> bool {
        if self.tokens == [Token::AnyText] {
            return !name.contains('/');
        }
        let name: Vec<char> = name.chars().collect();
        let (mut token, mut at) = (0, 0);
        // The token after the last `*`, and the position in the name where it was tried. On a mismatch, `*` takes
        // one more character.
        let mut retry: Option<(usize, usize)> = None;
        while at < name.len() {
            match self.tokens.get(token) {
                Some(Token::AnyText) => {
                    retry = Some((token + 1, at));
                    token += 1;
                    continue;
                }
                Some(other) if other.takes(name[at]) => {
                    token += 1;
                    at += 1;
                    continue;
                }
                _ => {}
            }
            match retry {
                Some((after, from)) if name[from] != '/' => {
                    retry = Some((after, from + 1));
                    token = after;
                    at = from + 1;
                }
                _ => return false,
            }
        }
        self.tokens[token..].iter().all(|t| *t == Token::AnyText)
    }
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Literal(literal) => *literal == c,
            Self::AnyChar => c != '/',
            Self::AnyText => false,
            Self::Set { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

/// Parses the rest of a set after `[`, including the `]`. `None` if it is invalid.
fn set(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Some(Token::Set { negated, ranges });
        }
        let low = set_char(chars)?;
        let high = if chars.next_if_eq(&'-').is_some() {
            set_char(chars)?
        } else {
            low
        };
        ranges.push((low, high));
    }
}

/// Parses one character of a set. `-` and `]` must be escaped with `\`.
fn set_char(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    // Taken from the tests of Go's `path.Match`.
    #[test_case("abc", "abc", true)]
    #[test_case("*", "abc", true)]
    #[test_case("*c", "abc", true)]
    #[test_case("a*", "a", true)]
    #[test_case("a*", "abc", true)]
    #[test_case("a*", "ab/c", false)]
    #[test_case("a*b?c*x", "abxbbxdbxebxczzx", true)]
    #[test_case("a*b?c*x", "abxbbxdbxebxczzy", false)]
    #[test_case("ab[c]", "abc", true; "set of one")]
    #[test_case("ab[b-d]", "abc", true; "range")]
    #[test_case("ab[e-g]", "abc", false; "outside a range")]
    #[test_case("ab[^c]", "abc", false; "not in a negated set")]
    #[test_case("ab[^e-g]", "abc", true; "in a negated set")]
    #[test_case("a\\*b", "a*b", true; "escaped star")]
    #[test_case("a\\*b", "ab", false; "escaped star is not a wildcard")]
    #[test_case("[\\]a]", "]", true; "escaped bracket")]
    #[test_case("[x\\-]", "-", true; "escaped dash")]
    #[test_case("*x", "xxx", true)]
    #[test_case("", "", true; "nothing")]
    #[test_case("a]", "a]", true; "closing bracket alone")]
    fn patterns_match_as_in_gos_path_match(pattern: &str, name: &str, expected: bool) {
        assert_eq!(
            TargetPattern::parse(pattern).unwrap().matches(name),
            expected
        );
    }

    #[test_case("[]a]"; "bracket first")]
    #[test_case("[-]"; "dash alone")]
    #[test_case("[x-]"; "dash last")]
    #[test_case("[-x]"; "dash first")]
    #[test_case("\\"; "escape at the end")]
    #[test_case("[a-b-c]"; "double range")]
    #[test_case("["; "open")]
    #[test_case("[^"; "open and negated")]
    #[test_case("[^bc"; "open with members")]
    #[test_case("a["; "open at the end")]
    fn malformed_patterns_are_refused(pattern: &str) {
        assert!(TargetPattern::parse(pattern).is_err());
    }

    #[test]
    fn many_stars_do_not_take_exponential_time() {
        let pattern = TargetPattern::parse(&"a*".repeat(200)).unwrap();
        assert!(!pattern.matches(&format!("{}b", "x".repeat(2000))));
        let pattern = TargetPattern::parse(&format!("{}b", "a*".repeat(200))).unwrap();
        assert!(!pattern.matches(&"a".repeat(5000)));
    }
}
