//! What is told to the user about a problem: code, message, labelled source spans, notes, help.
//!
//! Knows nothing of where a problem comes from. [`Diagnostic`] is data; [`render()`] draws it, [`to_json`] is for machines.

mod excerpt;
mod json;
mod render;
mod source;
mod span;

use std::cell::Cell;

use crate::types::causes::causes;

pub use json::to_json;
pub use render::{Style, render_all};
pub(crate) use render::{readable, render};
pub use source::SourceMap;
pub(crate) use source::{SourceFile, SourceId};
pub(crate) use span::{Span, Spanned};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// The command cannot do what was asked.
    Error,
    /// The command goes on; the user should know.
    Warning,
    /// For information.
    Note,
}

/// The kind of failure, which decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// The command line is wrong.
    Usage,
    /// A definition or the plan made of it is wrong.
    Definition,
    /// The builder cannot be reached or was lost.
    Engine,
    /// A target failed to build.
    Build,
    /// Images were built, but publishing failed.
    #[expect(dead_code, reason = "publishing at the end of a run will use it")]
    Publish,
    /// A defect of rbake.
    Internal,
}

/// A piece of source text with words about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    /// Where.
    pub(crate) span: Span,
    /// What to say there; may be empty.
    pub(crate) text: String,
    /// Whether this is the place the problem is at, rather than a place that explains it.
    pub(crate) primary: bool,
}

/// A problem, as it is told to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// Stable code such as `plan::unknown-target`, indexed in the documentation.
    pub code: &'static str,
    /// One sentence, lower case, without a final stop, names in backticks.
    pub message: String,
    /// The source places it is about; the first primary one is shown as its position.
    pub(crate) labels: Vec<Label>,
    /// Further facts, one line each.
    pub notes: Vec<String>,
    /// The likely ways out, one line each.
    pub help: Vec<String>,
    /// The kind of failure.
    pub(crate) class: Class,
}

impl Diagnostic {
    /// An error with `code` and `message`.
    pub(crate) fn error(class: Class, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            labels: Vec::new(),
            notes: Vec::new(),
            help: Vec::new(),
            class,
        }
    }

    /// A warning with `code` and `message`.
    pub(crate) fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(Class::Definition, code, message)
        }
    }

    /// Adds the place the problem is at, if it is known: what flags and the environment say has no place.
    #[must_use]
    pub(crate) fn at(self, span: impl Into<Option<Span>>, text: impl Into<String>) -> Self {
        self.label(span.into(), text, true)
    }

    /// Adds a place that explains the problem, if it is known.
    #[must_use]
    pub(crate) fn context(self, span: impl Into<Option<Span>>, text: impl Into<String>) -> Self {
        self.label(span.into(), text, false)
    }

    fn label(mut self, span: Option<Span>, text: impl Into<String>, primary: bool) -> Self {
        self.labels.extend(span.map(|span| Label {
            span,
            text: text.into(),
            primary,
        }));
        self
    }

    /// Adds each cause of `error` as a further fact.
    #[must_use]
    pub(crate) fn caused_by(self, error: &dyn std::error::Error) -> Self {
        causes(error).fold(self, |problem, cause| {
            problem.note(format!("caused by: {cause}"))
        })
    }

    /// Adds a further fact.
    #[must_use]
    pub(crate) fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Adds a way out.
    #[must_use]
    pub(crate) fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    /// Whether the command cannot do what was asked because of it.
    pub(crate) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Tells what there is instead of `wanted`: all of `candidates`, shortened, and that "a … with a similar name exists" where
    /// one of them is close to it.
    #[must_use]
    pub(crate) fn did_you_mean<'a>(
        self,
        what: &str,
        wanted: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let candidates: Vec<&str> = candidates.into_iter().collect();
        // "There is only `a`" beside "`_common` has a similar name" would contradict itself.
        let is_private = |name: &str| name.starts_with('_');
        let private = is_private(wanted)
            || closest(wanted, candidates.iter().copied()).is_some_and(is_private);
        let listed = |name: &&str| private || !is_private(name);
        let all = names(candidates.iter().copied().filter(listed));
        let problem = self.similar(what, wanted, candidates);
        match all {
            Some(all) => problem.note(all),
            None => problem,
        }
    }

    /// Adds "a … with a similar name exists" where one of `candidates`, which are too many to be listed, is close to `wanted`.
    #[must_use]
    pub(crate) fn similar<'a>(
        self,
        what: &str,
        wanted: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        match closest(wanted, candidates) {
            Some(name) => self.help(format!("{what} with a similar name exists: `{name}`")),
            None => self,
        }
    }
}

/// "there are `a`, `b` and 3 more": the names of `all` that are not private, shortened where there are many; `None` if there are
/// none.
pub(crate) fn names_there_are<'a>(all: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // As in lists of targets, a name that begins with `_` is private.
    names(all.into_iter().filter(|name| !name.starts_with('_')))
}

fn names<'a>(all: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // As many as targets have attributes: a list of these is of use as a whole only.
    const WHOLE: usize = 32;
    const SHORTENED: usize = 20;
    let mut names: Vec<&str> = Vec::with_capacity(WHOLE);
    let mut more = 0_usize;
    for name in all.into_iter().filter(|name| !name.is_empty()) {
        if names.len() > WHOLE {
            more += 1;
        } else if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.len() > WHOLE {
        more += names.len() - SHORTENED;
        names.truncate(SHORTENED);
    }
    let (last, others) = names.split_last()?;
    let quoted: Vec<String> = others.iter().map(|name| format!("`{name}`")).collect();
    Some(match (others.is_empty(), more) {
        (true, _) => format!("there is only `{last}`"),
        (false, 0) => format!("there are {} and `{last}`", quoted.join(", ")),
        (false, more) => format!("there are {}, `{last}` and {more} more", quoted.join(", ")),
    })
}

/// All problems that were found; never empty when used as an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Adds one more.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Those that are errors.
    pub(crate) fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter().filter(|problem| problem.is_error())
    }

    /// Whether one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.errors().next().is_some()
    }

    /// `value`, or all of these if one of them is an error.
    pub(crate) fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.has_errors() {
            Err(self)
        } else {
            Ok(value)
        }
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

thread_local! {
    // How many comparisons suggestions may still take on this thread, which outlives no run. Thousands of unknown names
    // among thousands of known ones would take minutes; nobody reads so many suggestions.
    static COMPARISONS: Cell<u32> = const { Cell::new(1_000_000) };
}

/// The candidate that is most like `wanted`, if one is like it enough to be a slip of the hand.
pub(crate) fn closest<'a>(
    wanted: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let left = COMPARISONS.get();
    if left == 0 {
        return None;
    }
    let length = wanted.chars().count();
    let limit = (length / 3).clamp(1, 3);
    let mut compared = 0;
    let found = candidates
        .into_iter()
        .take(left as usize)
        .inspect(|_| compared += 1)
        .filter(|candidate| *candidate != wanted)
        .filter_map(|candidate| {
            let swapped = is_swapped(wanted, candidate).then_some(1);
            let distance = swapped.or_else(|| distance(wanted, length, candidate, limit))?;
            Some((distance, candidate))
        })
        .min();
    COMPARISONS.set(left.saturating_sub(compared));
    found.map(|(_, candidate)| candidate)
}

// Whether two neighbours have changed places, which fingers do as easily as they miss a key.
fn is_swapped(a: &str, b: &str) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let pairs = a.chars().zip(b.chars()).enumerate();
    let different = pairs.filter(|(_, (ours, theirs))| ours != theirs);
    match different.take(3).collect::<Vec<_>>().as_slice() {
        [(at, first), (next, second)] => *next == at + 1 && *first == (second.1, second.0),
        _ => false,
    }
}

// Levenshtein distance over characters, with `-` and `_` and case counted as equal; none beyond `limit`. `length` is
// that of `a`.
fn distance(a: &str, length: usize, b: &str, limit: usize) -> Option<usize> {
    let fold = |c: char| {
        if c == '_' {
            '-'
        } else {
            c.to_ascii_lowercase()
        }
    };
    // A character has four bytes at most, and is one at least.
    if b.len() + limit < length || b.chars().count().abs_diff(length) > limit {
        return None;
    }
    let b: Vec<char> = b.chars().map(fold).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().map(fold).enumerate() {
        // Further from the diagonal than `limit`, the distance is larger than it.
        let from = i.saturating_sub(limit);
        let to = (i + limit + 1).min(b.len());
        let mut diagonal = row[from];
        row[from] = if from == 0 { i + 1 } else { limit + 1 };
        let mut least = row[from];
        for (j, y) in b.iter().enumerate().take(to).skip(from) {
            let substitute = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(row[j + 1] + 1);
            least = least.min(row[j + 1]);
        }
        if least > limit {
            return None;
        }
    }
    Some(row[b.len()]).filter(|distance| *distance <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        assert_eq!(closest("web-app", ["webapp", "db"]), Some("webapp"));
        assert_eq!(closest("celry", ["celery", "celerybeat"]), Some("celery"));
        assert_eq!(closest("xyz", ["web", "db"]), None);
        assert_eq!(closest("biuld", ["image", "build"]), Some("build"));
        assert_eq!(closest("dbs", ["bds", "sbd"]), Some("bds"));
        assert_eq!(closest("dbs", ["sbd", "bsd"]), None);
    }

    #[test]
    fn private_names_are_listed_to_those_who_mean_them() {
        let notes = |wanted: &str| {
            let problem = Diagnostic::error(Class::Definition, "x::y", "no such target");
            problem
                .did_you_mean("a target", wanted, ["a", "_common"])
                .notes
        };
        assert_eq!(notes("_comon"), ["there are `a` and `_common`"]);
        assert_eq!(notes("common"), ["there are `a` and `_common`"]);
        assert_eq!(notes("other"), ["there is only `a`"]);
    }

    #[test]
    fn what_there_is_is_listed_and_shortened() {
        let listed = |names: &[&str]| names_there_are(names.iter().copied());
        assert_eq!(listed(&[]), None);
        assert_eq!(listed(&["_hidden", ""]), None);
        assert_eq!(listed(&["a"]).as_deref(), Some("there is only `a`"));
        assert_eq!(
            listed(&["a", "b", "a", "_c", "d"]).as_deref(),
            Some("there are `a`, `b` and `d`")
        );
        let many: Vec<String> = (0..35).map(|n| format!("n{n}")).collect();
        let listed_of = |count: usize| names_there_are(many[..count].iter().map(String::as_str));
        assert!(listed_of(32).unwrap().ends_with(" and `n31`"));
        assert!(listed_of(33).unwrap().ends_with(", `n19` and 13 more"));
        let shortened = listed_of(35).unwrap();
        assert!(
            shortened.starts_with("there are `n0`, `n1`, "),
            "{shortened}"
        );
        assert!(shortened.ends_with(", `n19` and 15 more"), "{shortened}");
        let problem = Diagnostic::warning("a::b", "c").did_you_mean("a key", "xyz", ["web", "db"]);
        assert_eq!(problem.notes, ["there are `web` and `db`"]);
        assert!(problem.help.is_empty());
    }

    #[test]
    fn distances_near_and_far() {
        // Levenshtein's own definition, without limits.
        fn whole(a: &[char], b: &[char]) -> usize {
            match (a, b) {
                ([], rest) | (rest, []) => rest.len(),
                ([x, a_rest @ ..], [y, b_rest @ ..]) if x == y => whole(a_rest, b_rest),
                ([_, a_rest @ ..], [_, b_rest @ ..]) => {
                    1 + whole(a_rest, b_rest)
                        .min(whole(a_rest, b))
                        .min(whole(a, b_rest))
                }
            }
        }
        let words = [
            "", "a", "ab", "abc", "bca", "aabbc", "cabab", "abcabc", "bcabcä", "ccccccc",
        ];
        for (a, b) in words.iter().flat_map(|a| words.map(|b| (*a, b))) {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = whole(&chars(a), &chars(b));
            for limit in 1..=3 {
                let found = distance(a, a.chars().count(), b, limit);
                assert_eq!(
                    found,
                    Some(expected).filter(|d| *d <= limit),
                    "{a} {b} {limit}"
                );
            }
        }
    }

    #[test]
    fn suggestions_come_to_an_end() {
        let names: Vec<String> = (0..2_000).map(|n| format!("name-{n}")).collect();
        let suggested = (0..1_000).filter(|n| {
            let wanted = format!("nome-{n}");
            closest(&wanted, names.iter().map(String::as_str)).is_some()
        });
        assert_eq!(suggested.count(), 500);
    }
}
