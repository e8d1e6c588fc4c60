//! `$NAME` and `${NAME:-default}` in text, as Compose substitutes them.
//!
//! The rules are odd in places and kept as they are: the braces of `${NAME-…}` reach to the last `}` of the line and are then
//! cut where they balance; `$` in front of anything else stands for itself, `${` does not.

use std::ops::Range;

/// Defaults within defaults.
const MAX_NESTING: usize = 64;
/// Bytes that one text may become.
const MAX_OUTPUT: usize = 16 * 1024 * 1024;

/// Looks a variable up.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Text with its variables replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Substituted {
    /// The text.
    pub(crate) text: String,
    /// Variables that are not set and have no default: nothing stands for them.
    pub(crate) unset: Vec<(String, Range<usize>)>,
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemplateError {
    /// The place in the template.
    pub(crate) range: Range<usize>,
    /// What is wrong there.
    pub(crate) kind: TemplateErrorKind,
}

/// See [`TemplateError`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TemplateErrorKind {
    /// `${` without a name and a `}`.
    Invalid,
    /// `${NAME:?reason}` without a value.
    Required {
        /// The variable.
        name: String,
        /// The reason that the template gives; may be empty.
        reason: String,
    },
    /// The result, or the nesting of defaults, is out of bounds.
    TooLarge,
}

/// Replaces the variables in `template`; all errors are found, but for those in what is not used.
pub(crate) fn substitute(
    template: &str,
    lookup: Lookup<'_>,
) -> Result<Substituted, Vec<TemplateError>> {
    let mut found = Substitution {
        template,
        lookup,
        unset: Vec::new(),
        errors: Vec::new(),
        depth: 0,
        size: 0,
    };
    let text = found.range(0..template.len());
    if !found.errors.is_empty() {
        return Err(found.errors);
    }
    Ok(Substituted {
        text,
        unset: found.unset,
    })
}

struct Substitution<'a> {
    template: &'a str,
    lookup: Lookup<'a>,
    unset: Vec<(String, Range<usize>)>,
    errors: Vec<TemplateError>,
    depth: usize,
    size: usize,
}

// What follows a `$`, by ranges of the template.
enum Found {
    // `$$`
    Escaped,
    Named(Range<usize>),
    // The name, and what stands behind it up to the `}`.
    Braced(Range<usize>, Range<usize>),
    Invalid,
}

impl Substitution<'_> {
    fn range(&mut self, range: Range<usize>) -> String {
        let mut text = String::new();
        let mut at = range.start;
        let mut line = LastBrace::default();
        while let Some(dollar) = self.template[at..range.end].find('$').map(|n| at + n) {
            self.push(&mut text, at..dollar);
            let (found, end) = self.match_at(dollar, range.end, &mut line);
            match found {
                None => self.push(&mut text, dollar..end),
                Some(Found::Escaped) => text.push('$'),
                Some(Found::Named(name)) => {
                    let value = self.plain(name, dollar..end);
                    text.push_str(&value);
                }
                Some(Found::Braced(name, rest)) => {
                    let value = self.braced(name, rest, dollar..end);
                    text.push_str(&value);
                }
                Some(Found::Invalid) => self.fail(dollar..end, TemplateErrorKind::Invalid),
            }
            at = end;
            if self.size > MAX_OUTPUT {
                break;
            }
        }
        self.push(&mut text, at..range.end);
        text
    }

    fn push(&self, text: &mut String, range: Range<usize>) {
        text.push_str(&self.template[range]);
    }

    fn fail(&mut self, range: Range<usize>, kind: TemplateErrorKind) {
        self.errors.push(TemplateError { range, kind });
    }

    // The match that begins with the `$` at `at`, and its end; without one, the end of the `$`.
    fn match_at(&self, at: usize, end: usize, line: &mut LastBrace) -> (Option<Found>, usize) {
        let text = &self.template[..end];
        let name_at = |start: usize| start..start + name_len(&text[start..]);
        match text.as_bytes().get(at + 1) {
            Some(b'$') => (Some(Found::Escaped), at + 2),
            Some(b'{') => {
                let name = name_at(at + 2);
                let invalid = (Some(Found::Invalid), at + 2);
                if name.is_empty() {
                    return invalid;
                }
                if operator_len(&text[name.end..]) > 0
                    && let Some(last) = line.of(text, name.end)
                {
                    // The first `}` that balances ends it; without one, the last of the line.
                    let brace = balanced(&text[at..=last]).map_or(last, |n| at + n);
                    if brace > name.end {
                        return (
                            Some(Found::Braced(name.clone(), name.end..brace)),
                            brace + 1,
                        );
                    }
                }
                if text.as_bytes().get(name.end) == Some(&b'}') {
                    let end = name.end;
                    return (Some(Found::Braced(name, end..end)), end + 1);
                }
                invalid
            }
            _ => {
                let name = name_at(at + 1);
                let end = name.end;
                let found = (!name.is_empty()).then_some(Found::Named(name));
                (found, end)
            }
        }
    }

    fn plain(&mut self, name: Range<usize>, whole: Range<usize>) -> String {
        let name = &self.template[name];
        let value = (self.lookup)(name);
        if value.is_none() {
            self.unset.push((name.to_owned(), whole.clone()));
        }
        self.bounded(value.unwrap_or_default(), whole)
    }

    fn braced(&mut self, name: Range<usize>, rest: Range<usize>, whole: Range<usize>) -> String {
        let operator = rest.start..rest.start + operator_len(&self.template[rest.clone()]);
        if operator.is_empty() {
            return self.plain(name, whole);
        }
        let word = operator.end..rest.end;
        let name = &self.template[name];
        let value = (self.lookup)(name);
        let operator = &self.template[operator];
        let set = value
            .as_ref()
            .is_some_and(|value| !operator.starts_with(':') || !value.is_empty());
        match (operator.as_bytes()[operator.len() - 1], set) {
            (b'+', true) | (b'-', false) => {
                let word = self.nested(word, &whole);
                self.bounded(word, whole)
            }
            (b'?', false) => {
                let reason = self.nested(word, &whole);
                let name = name.to_owned();
                self.fail(whole, TemplateErrorKind::Required { name, reason });
                String::new()
            }
            _ => self.bounded(value.unwrap_or_default(), whole),
        }
    }

    fn nested(&mut self, word: Range<usize>, whole: &Range<usize>) -> String {
        if self.depth == MAX_NESTING {
            self.fail(whole.clone(), TemplateErrorKind::TooLarge);
            return String::new();
        }
        self.depth += 1;
        let text = self.range(word);
        self.depth -= 1;
        text
    }

    fn bounded(&mut self, text: String, whole: Range<usize>) -> String {
        let before = self.size;
        self.size = self.size.saturating_add(text.len());
        if self.size <= MAX_OUTPUT {
            return text;
        }
        if before <= MAX_OUTPUT {
            self.fail(whole, TemplateErrorKind::TooLarge);
        }
        String::new()
    }
}

// The last `}` of the line that was asked for last, so that asking for each `${` of a line reads it once.
#[derive(Default)]
struct LastBrace {
    line: Range<usize>,
    brace: Option<usize>,
}

impl LastBrace {
    fn of(&mut self, text: &str, at: usize) -> Option<usize> {
        if !self.line.contains(&at) {
            let end = text[at..].find('\n').map_or(text.len(), |n| at + n);
            self.brace = text[at..end].rfind('}').map(|n| at + n);
            self.line = at..end;
        }
        self.brace.filter(|brace| *brace >= at)
    }
}

// The pattern ignores case, and by Unicode's rules `ſ` is an `s` and the Kelvin sign a `k`.
fn name_len(text: &str) -> usize {
    let starts = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | 'ſ' | '\u{212a}');
    let part = |c: char| starts(c) || c.is_ascii_digit();
    if !text.starts_with(starts) {
        return 0;
    }
    text.find(|c| !part(c)).unwrap_or(text.len())
}

// `-`, `+`, `?`, each with a `:` in front or without.
fn operator_len(text: &str) -> usize {
    let colon = usize::from(text.starts_with(':'));
    match text.as_bytes().get(colon) {
        Some(b'-' | b'+' | b'?') => colon + 1,
        _ => 0,
    }
}

// The `}` that closes the first `{`. What follows a `{` directly is not looked at, as in Compose.
fn balanced(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'}' => {
                open = open.checked_sub(1)?;
                if open == 0 {
                    return Some(at);
                }
            }
            b'{' => {
                open += 1;
                bytes.next();
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_what_compose_makes_of_them() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/compose/templates.jsonl"
        );
        let lines = std::fs::read_to_string(path).expect("the fixture");
        let mut lines = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        let first: serde_json::Value = lines.next().expect("the environment");
        let lookup = |name: &str| first["env"].get(name)?.as_str().map(str::to_owned);
        for case in lines {
            let text = case["text"].as_str().expect("text");
            let found = substitute(text, &lookup).ok().map(|found| found.text);
            assert_eq!(case["result"].as_str(), found.as_deref(), "{text:?}");
        }
    }

    #[test]
    fn errors_have_places_and_all_are_found() {
        let template = "a ${U:?not ${U}} ${} $U";
        let errors = substitute(template, &|_| None).expect_err("errors");
        let places: Vec<&str> = errors
            .iter()
            .map(|error| &template[error.range.clone()])
            .collect();
        assert_eq!(places, ["${U:?not ${U}}", "${"]);
        let found = substitute("x $U ${U:-y}", &|_| None).expect("no errors");
        assert_eq!(found.unset, [("U".to_owned(), 2..4)]);
    }

    #[test]
    fn hostile_templates_are_bounded() {
        let nested = "${U-".repeat(100_000) + &"}".repeat(100_000);
        let errors = substitute(&nested, &|_| None).expect_err("too deep");
        assert_eq!(errors[0].kind, TemplateErrorKind::TooLarge);
        let row = "${U-x}".repeat(100_000);
        let found = substitute(&row, &|_| None).expect("many in a row");
        assert_eq!(found.text.len(), 100_000);
        let open = "${U-".repeat(100_000);
        assert!(substitute(&open, &|_| None).is_err());
        let large = "x".repeat(1024 * 1024);
        let errors = substitute(&"$A".repeat(1000), &|_| Some(large.clone())).expect_err("large");
        assert_eq!(errors.len(), 1);
    }
}
