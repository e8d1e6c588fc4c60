//! Which tags are immutable: they are published once, and never moved to another image afterwards.

use super::pattern::TagPattern;
use super::revision::Revision;
use super::settings::PublishSettings;

/// The number of digits of a commit's id that make a tag immutable.
///
/// Abbreviated ids have 7 digits by default, and git makes them longer when a repository grows. So shorter texts
/// are not reliable: `1234567` may be a number as well as a commit.
pub(crate) const ID_DIGITS: usize = 12;

/// The marks that `git describe` adds to the id of a commit if the files are not those of the commit (`--dirty` and
/// `--broken`).
const CHANGED_MARKS: [&str; 2] = ["dirty", "broken"];

/// Whether a tag may be moved to another image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TagClass {
    /// The tag names one image forever, such as that of a commit or of a release.
    Immutable,
    /// The tag names the newest image of some kind, such as `latest`.
    Mutable,
}

impl TagClass {
    /// Classifies `tag` by the patterns of `settings`, exceptions first; and if none matches, by whether it
    /// [names](names_commit) the commit `head`. `None` if the commit is unknown, for example because git does not work here. Then a tag
    /// that [looks](names_any_commit) like that of a commit is one: to replace what somebody relies on is worse than to keep it.
    pub(crate) fn of(tag: &str, settings: &PublishSettings, head: Option<&Revision>) -> Self {
        let is_one_of =
            |patterns: &[TagPattern]| patterns.iter().any(|pattern| pattern.matches(tag));
        if is_one_of(&settings.mutable) {
            Self::Mutable
        } else if is_one_of(&settings.immutable)
            || head.map_or_else(|| names_any_commit(tag), |head| names_commit(tag, head))
        {
            Self::Immutable
        } else {
            Self::Mutable
        }
    }

    /// The word for messages and records.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Immutable => "immutable",
            Self::Mutable => "mutable",
        }
    }
}

/// Whether `tag` contains the first [`ID_DIGITS`] digits of the id of `head`, or more, in lower case.
///
/// The digits may have other hexadecimal digits beside them. If only whole runs of hexadecimal digits counted, the
/// letters a to f next to the id would hide it: `build<id>` ends with `d`, and `<id>amd64` begins with `a`, but
/// `g<id>`, the form of `git describe`, would be found. A tag that contains twelve digits of HEAD's id by chance
/// is as improbable as two commits with the same twelve digits, so a rule that looks at less context does not err
/// more often. Digits from the middle of the id do not count: nobody abbreviates a commit in this way.
///
/// A tag in which `dirty` or `broken` follows the id does not count: the image was made from files that
/// the commit does not have, and the next build with this tag may be another image.
pub(crate) fn names_commit(tag: &str, head: &Revision) -> bool {
    let Some(start) = head.as_str().get(..ID_DIGITS) else {
        return false;
    };
    tag.match_indices(start).any(|(at, _)| {
        let found = tag.get(at..).unwrap_or_default();
        let digits = found
            .bytes()
            .zip(head.as_str().bytes())
            .take_while(|(ours, id)| ours == id)
            .count();
        is_unchanged(found, digits)
    })
}

/// Whether no mark of changed files follows the id of which `found` begins with so many `digits`.
fn is_unchanged(found: &str, digits: usize) -> bool {
    // The `d` of `dirty` may be the next digit of the id, and the `b` of `broken`, too.
    (ID_DIGITS..=digits).all(|end| {
        let rest = found.get(end..).unwrap_or_default();
        let rest = rest.trim_start_matches(['-', '.', '_']);
        !CHANGED_MARKS.iter().any(|mark| rest.starts_with(mark))
    })
}

/// Whether `tag` may contain the id of a commit: [`ID_DIGITS`] hexadecimal digits or more, with letters and numbers among them.
fn names_any_commit(tag: &str) -> bool {
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let mut at = 0;
    for run in tag.split(|c| !is_digit(c)) {
        let is_mixed = run.contains(|c: char| c.is_ascii_digit())
            && run.contains(|c: char| c.is_ascii_lowercase());
        let found = tag.get(at..).unwrap_or_default();
        if run.len() >= ID_DIGITS && is_mixed && is_unchanged(found, run.len()) {
            return true;
        }
        // What is between the runs has one byte: tags are ASCII.
        at += run.len() + 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::settings::PublishSettings;
    use super::*;
    use test_case::test_case;

    const HEAD: &str = "0123456789abdef00123456789abcdef01234567";

    fn head() -> Revision {
        HEAD.parse().unwrap()
    }

    #[test_case("0123456789ab", true; "twelve digits")]
    #[test_case(HEAD, true; "the whole id")]
    #[test_case("sha-0123456789ab", true; "after a prefix")]
    #[test_case("v1.2-3-g0123456789ab", true; "from git describe")]
    #[test_case("build0123456789ab", true; "after a letter that is a digit, too")]
    #[test_case("0123456789abamd64", true; "before a letter that is a digit, too")]
    #[test_case("0123456789ab-42", true; "before a number")]
    #[test_case("0123456789ab42", true; "before another digit")]
    #[test_case("01230123456789ab", true; "after a false start")]
    #[test_case("0123456789a", false; "eleven digits")]
    #[test_case("0123456789a-b", false; "interrupted digits")]
    #[test_case("0123456789AB", false; "upper case")]
    #[test_case("123456789abdef0", false; "digits from the middle")]
    #[test_case("fedcba987654", false; "another commit")]
    #[test_case("20261128223000", false; "a date")]
    #[test_case("latest", false; "no digits")]
    #[test_case("0123456789ab-dirty", false; "changed files")]
    #[test_case("0123456789abdirty", false; "changed files, without a separator")]
    #[test_case("0123456789abdef0-dirty", false; "changed files, after more digits")]
    #[test_case("0123456789ab.broken", false; "a broken repository")]
    #[test_case("dirty-0123456789ab", true; "a branch with this word")]
    fn tags_that_contain_twelve_digits_of_the_commit_name_it(tag: &str, expected: bool) {
        assert_eq!(names_commit(tag, &head()), expected);
        let class = TagClass::of(tag, &PublishSettings::default(), Some(&head()));
        assert_eq!(class == TagClass::Immutable, expected);
    }

    #[test_case("0123456789ab", true; "an id")]
    #[test_case("sha-fedcba987654", true; "after a prefix")]
    #[test_case("v1.2-3-g0123456789ab", true; "from git describe")]
    #[test_case("0123456789abcdef0123456789abcdef01234567", true; "a whole id")]
    #[test_case("0123456789a", false; "eleven digits")]
    #[test_case("20261128223000", false; "a date")]
    #[test_case("deadbeefcafe", false; "a word")]
    #[test_case("0123456789AB", false; "upper case")]
    #[test_case("0123456789ab-dirty", false; "changed files")]
    #[test_case("0123456789abdirty", false; "changed files, without a separator")]
    #[test_case("latest", false; "no digits")]
    fn without_a_commit_tags_that_look_like_one_are_immutable(tag: &str, expected: bool) {
        let class = TagClass::of(tag, &PublishSettings::default(), None);
        assert_eq!(class == TagClass::Immutable, expected);
    }

    #[test]
    fn patterns_take_precedence_and_exceptions_come_first() {
        let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let settings = PublishSettings {
            immutable: patterns(&["build-*", "v*.*.*"]),
            mutable: patterns(&["build-latest", "edge-*"]),
            ..PublishSettings::default()
        };
        let class = |tag: &str| TagClass::of(tag, &settings, Some(&head()));
        assert_eq!(class("build-7"), TagClass::Immutable);
        assert_eq!(class("v1.2.3"), TagClass::Immutable);
        assert_eq!(class("build-latest"), TagClass::Mutable);
        assert_eq!(class("edge-0123456789ab"), TagClass::Mutable);
        assert_eq!(class("0123456789ab"), TagClass::Immutable);
        assert_eq!(class("latest"), TagClass::Mutable);
    }
}
