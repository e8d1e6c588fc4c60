//! The challenges of a registry: `WWW-Authenticate` headers (RFC 9110, section 11.6.1).

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// The most headers, challenges in one header, and parameters of one challenge. Registries send one or two of each.
const HEADERS: usize = 8;
const CHALLENGES: usize = 8;
const PARAMETERS: usize = 16;

/// The longest header, in bytes.
const LONGEST: usize = 8 << 10;

/// One challenge: a scheme, and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    /// The scheme, in lower case.
    pub(super) scheme: String,
    /// The parameters. The names are in lower case.
    pub(super) parameters: BTreeMap<String, String>,
}

impl Challenge {
    /// The parameter `name`; empty if it is absent.
    pub(super) fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }
}

/// The challenges in all headers, in their order. A header that is malformed or too long counts as absent, because
/// another one may be usable.
pub(super) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .take(HEADERS)
        .filter(|value| value.len() <= LONGEST)
        .filter_map(|value| parse(value.to_str().ok()?))
        .flatten()
        .collect()
}

/// Parses one header. `None` if it is malformed.
fn parse(header: &str) -> Option<Vec<Challenge>> {
    let mut rest = Rest(header);
    let mut found: Vec<Challenge> = Vec::new();
    rest.skip_commas();
    while !rest.0.is_empty() {
        if found.len() == CHALLENGES {
            return None;
        }
        let scheme = rest.token()?.to_ascii_lowercase();
        let parameters = if rest.skip_spaces() {
            rest.parameters()?
        } else {
            rest.end_of_element()?;
            BTreeMap::new()
        };
        found.push(Challenge { scheme, parameters });
    }
    Some(found)
}

/// The part of a header that is not parsed yet.
#[derive(Clone, Copy)]
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// Takes the longest start whose characters are all `legal`. `None` if there are none.
    fn take(&mut self, legal: impl Fn(char) -> bool) -> Option<&'a str> {
        let end = self.0.find(|c| !legal(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        (!taken.is_empty()).then_some(taken)
    }

    fn token(&mut self) -> Option<&'a str> {
        self.take(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
    }

    fn skip_spaces(&mut self) -> bool {
        self.take(|c| c == ' ' || c == '\t').is_some()
    }

    /// Skips commas and spaces: lists may have empty elements.
    fn skip_commas(&mut self) -> bool {
        self.take(|c| " \t,".contains(c))
            .is_some_and(|taken| taken.contains(','))
    }

    /// Skips to the next element of the list. `None` if something else follows.
    fn end_of_element(&mut self) -> Option<()> {
        (self.skip_commas() || self.0.is_empty()).then_some(())
    }

    /// The parameters of a challenge, up to the end or to the next scheme.
    fn parameters(&mut self) -> Option<BTreeMap<String, String>> {
        let mut found = BTreeMap::new();
        if self.skip_token68() || self.skip_commas() {
            return Some(found);
        }
        while !self.0.is_empty() {
            let before = *self;
            let name = self.token()?.to_ascii_lowercase();
            self.skip_spaces();
            let Some(rest) = self.0.strip_prefix('=') else {
                // A name without a value is the next scheme.
                *self = before;
                return (!found.is_empty()).then_some(found);
            };
            self.0 = rest;
            self.skip_spaces();
            let value = match self.0.strip_prefix('"') {
                Some(rest) => {
                    self.0 = rest;
                    self.quoted()?
                }
                None => self.token()?.to_owned(),
            };
            if found.len() == PARAMETERS || found.insert(name, value).is_some() {
                return None;
            }
            self.end_of_element()?;
        }
        Some(found)
    }

    /// Skips credentials in the form `token68`, such as those of `Negotiate`. They have no parameters.
    fn skip_token68(&mut self) -> bool {
        let mut rest = *self;
        let found = rest.take(|c| c.is_ascii_alphanumeric() || "-._~+/".contains(c));
        rest.take(|c| c == '=');
        let is_token68 = found.is_some() && rest.end_of_element().is_some();
        if is_token68 {
            *self = rest;
        }
        is_token68
    }

    /// The rest of a quoted text, after its first quote.
    fn quoted(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.0.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => text.push(chars.next()?),
                c => text.push(c),
            }
        }
        self.0 = chars.as_str();
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;
    use std::fmt::Write as _;
    use test_case::test_case;

    fn shown(headers: &[&str]) -> String {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append(WWW_AUTHENTICATE, HeaderValue::from_str(header).unwrap());
        }
        let show = |challenge: Challenge| {
            let mut text = challenge.scheme.clone();
            for (name, value) in &challenge.parameters {
                write!(text, " {name}={value}").unwrap();
            }
            text
        };
        let shown: Vec<_> = challenges(&map).into_iter().map(show).collect();
        shown.join(" | ")
    }

    #[test_case(r#"Bearer realm="https://a/t",service="s",scope="repository:a/b:pull,push""#, "bearer realm=https://a/t scope=repository:a/b:pull,push service=s"; "bearer")]
    #[test_case("Basic realm=x", "basic realm=x"; "unquoted")]
    #[test_case("BASIC REALM = \"x\"", "basic realm=x"; "upper case and spaces")]
    #[test_case(r#"Basic realm="a\"b\\c, Bearer realm=d""#, r#"basic realm=a"b\c, Bearer realm=d"#; "escapes")]
    #[test_case("Negotiate", "negotiate"; "scheme only")]
    #[test_case("NTLM TlRM/+==, Basic realm=x", "ntlm | basic realm=x"; "token68")]
    #[test_case("Negotiate, Basic realm=x, charset=\"UTF-8\", Bearer realm=\"r\"", "negotiate | basic charset=UTF-8 realm=x | bearer realm=r"; "several")]
    #[test_case(" , ,Basic realm=x,, ", "basic realm=x"; "empty elements")]
    #[test_case("", ""; "empty")]
    fn challenges_are_parsed(header: &str, expected: &str) {
        assert_eq!(shown(&[header]), expected);
    }

    #[test_case("Bearer realm=\"x"; "open quote")]
    #[test_case("Bearer realm=\"x\\"; "open escape")]
    #[test_case("Bearer realm=\"x\" service=\"y\""; "no comma")]
    #[test_case("Bearer realm=\"x\", realm=\"y\""; "twice the same parameter")]
    #[test_case("Bearer =x"; "no name")]
    #[test_case("Bearer realm=\"x\"; service=y"; "semicolon")]
    #[test_case("<Bearer> realm=x"; "no scheme")]
    fn malformed_headers_count_as_absent(header: &str) {
        assert_eq!(shown(&[header, "Basic realm=x"]), "basic realm=x");
    }

    #[test]
    fn headers_and_their_parts_are_limited() {
        let many = |n: usize, text: &str| vec![text; n].join(", ");
        assert_eq!(shown(&[&many(CHALLENGES + 1, "Basic")]), "");
        let parameters: Vec<_> = (0..=PARAMETERS).map(|n| format!("p{n}=x")).collect();
        assert_eq!(shown(&[&format!("Basic {}", parameters.join(","))]), "");
        assert_eq!(shown(&[&format!("Basic a={}", "x".repeat(LONGEST))]), "");
        assert_eq!(
            shown(&["Basic"; 100]),
            many(HEADERS, "basic").replace(", ", " | ")
        );
    }

    proptest! {
        #[test]
        fn no_header_causes_a_panic(header in "[ -~\\t]{0,80}", other in "[a-zA-Z]+ [a-z]=\"[^\"]*") {
            let _ = parse(&header);
            let _ = parse(&other);
        }
    }
}
