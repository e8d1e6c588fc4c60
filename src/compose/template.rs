//! Substitutes `$NAME` and `${NAME:-default}` in strings as Compose does.
//!
//! Some of Compose's rules are odd, and this module copies them: `${NAME-…}` first extends to the last `}` of the
//! line and is then cut where the braces balance. A `$` before any other character is kept, but `${` without a
//! name is an error.

use std::ops::Range;

/// The deepest nesting of defaults within defaults. It bounds the recursion.
const MAX_NESTING: usize = 64;
/// The largest result of one substitution, in bytes. Nested defaults could otherwise multiply.
const MAX_OUTPUT: usize = 16 * 1024 * 1024;

/// Returns the value of a variable, or `None` if it is not set.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The result of a substitution.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Substituted {
    /// The text with all variables replaced.
    pub(crate) text: String,
    /// The variables without a value and without a default, with their places in the template. They are replaced
    /// by nothing.
    pub(crate) unset: Vec<(String, Range<usize>)>,
}

/// An error in a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemplateError {
    /// The byte range of the error in the template.
    pub(crate) range: Range<usize>,
    /// What is wrong.
    pub(crate) kind: TemplateErrorKind,
}

/// The kinds of [`TemplateError`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TemplateErrorKind {
    /// `${` is not followed by a name and a `}`.
    Invalid,
    /// `${NAME:?reason}` for a variable without a value.
    Required {
        /// The variable's name.
        name: String,
        /// The reason in the template. May be empty.
        reason: String,
    },
    /// The result is too large, or defaults are nested too deeply.
    TooLarge,
}

/// Replaces the variables in `template`. Returns all errors, except those in defaults that are not used.
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

/// What follows a `$`. The ranges are those of the template.
enum Found {
    // `$$`, which gives one `$`.
    Escaped,
    Named(Range<usize>),
    // `${NAME…}`: the name, and the text between the name and the `}`.
    Braced(Range<usize>, Range<usize>),
    Invalid,
}

impl Substitution<'_> {
    /// Substitutes the variables in a part of the template.
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

    /// Matches the `$` at `at`. Returns the match and its end. If nothing matches, the `$` is literal, and the end
    /// is that of the `$`.
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
                    // The match ends at the first `}` that balances the `{`. If none does, it ends at the last `}`
                    // of the line.
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

    /// The value of a variable without an operator. An unset variable is recorded and gives an empty text.
    fn plain(&mut self, name: Range<usize>, whole: Range<usize>) -> String {
        let name = &self.template[name];
        let value = (self.lookup)(name);
        if value.is_none() {
            self.unset.push((name.to_owned(), whole.clone()));
        }
        self.bounded(value.unwrap_or_default(), whole)
    }

    /// The value of `${NAME…}`. `rest` is the text after the name, `whole` the range from `$` to `}`.
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

    /// Substitutes a default or a reason, which may contain variables itself.
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

    /// Counts `text` towards the size limit. Returns an empty text if the limit is exceeded; this is reported once.
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

/// Remembers the last `}` of one line, so that a line with many `${` is only scanned once.
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

/// The length of the variable name at the start of `text`; 0 if there is none. Compose's pattern ignores case by
/// Unicode's rules, so `ſ` counts as `s` and the Kelvin sign as `k`.
fn name_len(text: &str) -> usize {
    let starts = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | 'ſ' | '\u{212a}');
    let part = |c: char| starts(c) || c.is_ascii_digit();
    if !text.starts_with(starts) {
        return 0;
    }
    text.find(|c| !part(c)).unwrap_or(text.len())
}

/// The length of the operator at the start of `text`: `-`, `+` or `?`, with an optional `:` before it. 0 if there
/// is none.
fn operator_len(text: &str) -> usize {
    let colon = usize::from(text.starts_with(':'));
    match text.as_bytes().get(colon) {
        Some(b'-' | b'+' | b'?') => colon + 1,
        _ => 0,
    }
}

/// Finds the `}` that closes the first `{`. As in Compose, the byte directly after a `{` is skipped.
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
    fn templates_are_substituted_as_in_compose() {
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
    fn all_errors_are_found_with_their_places() {
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
    fn hostile_templates_are_limited() {
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
