//! How a problem is shown to the user: code, message, labelled source spans, notes, help.
//!
//! Does not know where problems come from. [`Diagnostic`] is the data, [`render()`] draws it as text, and
//! [`to_json`] makes JSON for machines.

mod excerpt;
mod json;
mod notices;
mod render;
mod source;
mod span;

use std::cell::Cell;

use crate::types::causes::causes;

pub use json::to_json;
pub(crate) use notices::Notices;
pub use render::{Style, render_all};
pub(crate) use render::{readable, render};
pub use source::SourceMap;
pub(crate) use source::{SourceFile, SourceId};
pub(crate) use span::{Span, Spanned};

/// How severe a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// The command cannot do what the user asked for.
    Error,
    /// The command continues, but the user should know.
    Warning,
    /// Information only.
    Note,
}

/// The kind of failure. It decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// The command line is wrong.
    Usage,
    /// A definition, or the plan made from it, is wrong.
    Definition,
    /// The builder cannot be reached, or the connection to it was lost.
    Engine,
    /// A target failed to build.
    Build,
    /// Images were built, but publishing failed.
    Publish,
    /// A bug in rbake.
    Internal,
}

/// A place in a source file and what to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    /// The place.
    pub(crate) span: Span,
    /// The words shown at the place; may be empty.
    pub(crate) text: String,
    /// Whether the problem is here; otherwise the label points at a place that explains it.
    pub(crate) primary: bool,
}

/// A problem, with all that the user sees of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How severe it is.
    pub(crate) severity: Severity,
    /// Stable code such as `plan::unknown-target`, indexed in the documentation.
    pub code: &'static str,
    /// One sentence, lower case, without a final stop, names in backticks.
    pub message: String,
    /// The places in source files. The first primary one is shown as the problem's position.
    pub(crate) labels: Vec<Label>,
    /// Further facts, one line each.
    pub notes: Vec<String>,
    /// What the user can do about it, one line each.
    pub help: Vec<String>,
    /// The kind of failure, for the exit code.
    pub(crate) class: Class,
}

impl Diagnostic {
    /// Whether both are about one problem: they say the same, or two modules have found it, such as `plan::secret` and
    /// `run::secret`, at one place.
    fn is_same(&self, other: &Self) -> bool {
        let name = |code: &'static str| code.split_once("::").map(|(_, name)| name);
        let spans = |of: &Self| of.labels.iter().map(|label| label.span).collect::<Vec<_>>();
        let place = spans(self);
        (self.code, &self.message) == (other.code, &other.message)
            || (name(self.code) == name(other.code)
                && self.code != other.code
                && !place.is_empty()
                && place == spans(other))
    }

    /// Makes an error with `code` and `message`.
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

    /// Makes a warning with `code` and `message`.
    pub(crate) fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(Class::Definition, code, message)
        }
    }

    /// Makes an information with `code` and `message`. It is not a problem.
    pub(crate) fn information(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Note,
            ..Self::error(Class::Definition, code, message)
        }
    }

    /// Adds the place of the problem. `None` adds nothing: values from flags and from the environment have no
    /// place in a file.
    #[must_use]
    pub(crate) fn at(self, span: impl Into<Option<Span>>, text: impl Into<String>) -> Self {
        self.label(span.into(), text, true)
    }

    /// Adds a place that explains the problem. `None` adds nothing.
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

    /// Adds one note for each cause of `error`, outermost first. The message of `error` itself is not added.
    #[must_use]
    pub(crate) fn caused_by(self, error: &dyn std::error::Error) -> Self {
        causes(error).fold(self, |problem, cause| {
            problem.note(format!("caused by: {cause}"))
        })
    }

    /// Adds a note.
    #[must_use]
    pub(crate) fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Adds a help line.
    #[must_use]
    pub(crate) fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    /// Whether the command fails because of this problem.
    pub(crate) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Adds a note that lists `candidates`, shortened if there are many, and the help "a … with a similar name
    /// exists" if one of them is close to `wanted`. `what` is the noun with its article.
    #[must_use]
    pub(crate) fn did_you_mean<'a>(
        self,
        what: &str,
        wanted: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let candidates: Vec<&str> = candidates.into_iter().collect();
        // Private names are listed only if the user seems to mean one. "There is only `a`" beside "`_common` has a
        // similar name" would contradict itself.
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

    /// Adds the help "a … with a similar name exists" if one of `candidates` is close to `wanted`. For candidates
    /// that are too many to list; otherwise see [`Self::did_you_mean`].
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

/// Returns a text such as "there are `a`, `b` and 3 more" with the names of `all` that are not private. Returns
/// `None` if there are no such names.
pub(crate) fn names_there_are<'a>(all: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // Names that begin with `_` are private, as in lists of targets.
    names(all.into_iter().filter(|name| !name.starts_with('_')))
}

fn names<'a>(all: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // The number of attributes that a target has: a list of attributes is of use only if it is complete. A list
    // with more names than this is shortened to `SHORTENED` names.
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

/// All problems that were found. Never empty when used as an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Adds a problem at the end.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Adds `others`, but those that are already there: targets share files, and a file may be looked at twice.
    pub(crate) fn add_new(&mut self, others: Self) {
        for problem in others.0 {
            if !self.0.iter().any(|known| known.is_same(&problem)) {
                self.0.push(problem);
            }
        }
    }

    /// Returns the problems that are errors, not warnings or notes.
    pub(crate) fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter().filter(|problem| problem.is_error())
    }

    /// Whether at least one problem is an error.
    pub fn has_errors(&self) -> bool {
        self.errors().next().is_some()
    }

    /// Returns `value`, or all problems as the error if at least one of them is an error.
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
    // How many more comparisons this thread may make for suggestions; never refilled, because a process does one
    // run. Thousands of unknown names compared with thousands of known ones would take minutes, and nobody reads
    // that many suggestions.
    static COMPARISONS: Cell<u32> = const { Cell::new(1_000_000) };
}

/// Returns the candidate that is closest to `wanted`, or `None` if none is close enough to be a typing error or
/// the thread has used up its comparisons.
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

/// Whether `b` is `a` with two neighbouring characters swapped, a common typing error that counts as two changes
/// in the Levenshtein distance.
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

/// Returns the Levenshtein distance in characters, or `None` if it is larger than `limit`. `-` equals `_`, and
/// case is ignored. `length` is the number of characters of `a`.
fn distance(a: &str, length: usize, b: &str, limit: usize) -> Option<usize> {
    let fold = |c: char| {
        if c == '_' {
            '-'
        } else {
            c.to_ascii_lowercase()
        }
    };
    // A character has at most four and at least one byte, so the byte length rules out many names without decoding
    // them.
    if b.len() + limit < length || b.chars().count().abs_diff(length) > limit {
        return None;
    }
    let b: Vec<char> = b.chars().map(fold).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().map(fold).enumerate() {
        // Only cells within `limit` of the diagonal can have a distance up to `limit`; the others need not be
        // computed.
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
    fn typos_are_matched_and_unrelated_names_are_not() {
        assert_eq!(closest("web-app", ["webapp", "db"]), Some("webapp"));
        assert_eq!(closest("celry", ["celery", "celerybeat"]), Some("celery"));
        assert_eq!(closest("xyz", ["web", "db"]), None);
        assert_eq!(closest("biuld", ["image", "build"]), Some("build"));
        assert_eq!(closest("dbs", ["bds", "sbd"]), Some("bds"));
        assert_eq!(closest("dbs", ["sbd", "bsd"]), None);
    }

    #[test]
    fn private_names_are_listed_if_the_wanted_name_is_similar() {
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
    fn lists_of_names_are_shortened() {
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
    fn distances_agree_with_levenshteins_definition() {
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
    fn the_number_of_suggestions_is_limited() {
        let names: Vec<String> = (0..2_000).map(|n| format!("name-{n}")).collect();
        let suggested = (0..1_000).filter(|n| {
            let wanted = format!("nome-{n}");
            closest(&wanted, names.iter().map(String::as_str)).is_some()
        });
        assert_eq!(suggested.count(), 500);
    }
}
