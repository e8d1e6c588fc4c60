//! Compares what a command prints with what a page shows. Names that differ from run to run (runs, digests) must be used
//! in the same way; times and sizes may differ; `…` stands for any text of a line, and on a line of its own for any lines.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

const DIGITS: usize = 12;
const ANY: &str = "…";
const PLACEHOLDER: &str = "20000101T000000Z-";

static VARYING: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?<run>\d{8}T\d{6}Z-[0-9a-f]{8})",
        r"|(?<digest>sha256:(?:[0-9a-f]{64}|[0-9a-f]{12})\b)",
        r"|(?<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)",
        r"|(?<seconds>\b\d+\.\d+s\b)",
        r"|(?<size>\b\d+(?:\.\d+)? (?:B|kB|KiB|MB|MiB|bytes)(?:\b|$))",
        r"|(?<any>…)",
    ))
    .unwrap()
});

/// Which name of this session is which name of the page, and the reverse.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    here: BTreeMap<String, String>,
    page: BTreeMap<String, String>,
    /// The runs of the page, in the order in which it shows them.
    runs: Vec<String>,
}

impl Names {
    /// Replaces names of the page by those of this session.
    pub(super) fn here(&self, line: &str) -> String {
        replaced(line, &self.here)
    }

    /// Replaces `20000101T000000Z-00000001` by the first run of the page, and so on, so that a page can be written
    /// before its runs have names.
    pub(super) fn placeholders(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (number, run) in self.runs.iter().enumerate() {
            line = line.replace(&format!("{PLACEHOLDER}{:08}", number + 1), run);
        }
        line
    }

    /// Replaces placeholders that a page shows as the names of runs.
    pub(super) fn named(&self, text: &str) -> String {
        let placeholders = self.here.iter();
        let placeholders = placeholders.filter(|(page, _)| page.starts_with(PLACEHOLDER));
        placeholders.fold(text.to_owned(), |text, (page, here)| {
            text.replace(page, here)
        })
    }

    /// What the page should show: `expected` if it is right, and else `actual`.
    pub(super) fn on_the_page(&mut self, expected: &str, actual: &str) -> String {
        if self.compare(expected, actual).is_ok() {
            return expected.to_owned();
        }
        let text = replaced(actual, &self.page);
        // Names that are new are the same on the page.
        let _ = self.compare(&text, actual);
        text
    }

    /// Compares the output of a command, and learns the names in it.
    pub(super) fn compare(&mut self, expected: &str, actual: &str) -> Result<(), String> {
        let expected: Vec<&str> = expected.lines().collect();
        let actual = actual.lines().map(str::trim_end);
        // If the machine is busy, a copy takes so long that its progress is shown.
        let actual: Vec<&str> = actual
            .filter(|line| !line.starts_with("copying: "))
            .collect();
        let mut furthest = (0, 0);
        let names = self.lines(&expected, &actual, (0, 0), &mut furthest);
        if let Some(names) = names {
            *self = names;
            return Ok(());
        }
        let line = |lines: &[&str], at: usize| {
            lines
                .get(at)
                .map_or("(nothing)".to_owned(), |line| format!("`{line}`"))
        };
        Err(format!(
            "the page shows {}, but it prints {}",
            line(&expected, furthest.0),
            line(&actual, furthest.1)
        ))
    }

    fn lines(
        &self,
        expected: &[&str],
        actual: &[&str],
        at: (usize, usize),
        furthest: &mut (usize, usize),
    ) -> Option<Self> {
        *furthest = (*furthest).max(at);
        match (expected.get(at.0), actual.get(at.1)) {
            (None, None) => Some(self.clone()),
            (Some(&ANY), _) => (at.1..=actual.len())
                .find_map(|next| self.lines(expected, actual, (at.0 + 1, next), furthest)),
            (Some(line), Some(printed)) => {
                let names = self.line(line, printed)?;
                names.lines(expected, actual, (at.0 + 1, at.1 + 1), furthest)
            }
            _ => None,
        }
    }

    fn line(&self, expected: &str, actual: &str) -> Option<Self> {
        let mut pattern = "^".to_owned();
        let mut end = 0;
        let mut wanted = Vec::new();
        for found in VARYING.captures_iter(expected) {
            let whole = found.get(0)?;
            pattern += &regex::escape(&expected[end..whole.start()]);
            end = whole.end();
            let has = |name| found.name(name).is_some();
            pattern += if has("run") {
                r"(\d{8}T\d{6}Z-[0-9a-f]{8})"
            } else if has("digest") {
                r"(sha256:[0-9a-f]{12,64})"
            } else if has("time") {
                r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)"
            } else if has("seconds") {
                r"(\d+\.\d+s)"
            } else if has("size") {
                r"(\d+(?:\.\d+)? [kKMi]{0,2}[Bb][a-z]*)"
            } else {
                "(.*)"
            };
            wanted.push((whole.as_str(), has("run"), has("digest")));
        }
        pattern += &regex::escape(&expected[end..]);
        pattern += "$";
        // Columns are as wide as what they show.
        let pattern = pattern.replace(r"\ \ ", " ");
        let found = Regex::new(&pattern).ok()?.captures(actual)?;
        let mut names = self.clone();
        for (number, (page, is_run, is_digest)) in wanted.into_iter().enumerate() {
            let here = found.get(number + 1)?.as_str();
            if is_run || is_digest {
                names.learn(page, here, is_run)?;
            }
        }
        Some(names)
    }

    fn learn(&mut self, page: &str, here: &str, is_run: bool) -> Option<()> {
        if page.len() != here.len() {
            return None;
        }
        if is_run && !self.runs.iter().any(|run| run == page) {
            self.runs.push(page.to_owned());
        }
        let short = |name: &str| {
            let digits = "sha256:".len() + DIGITS;
            name.get(..digits)
                .filter(|_| !is_run)
                .unwrap_or(name)
                .to_owned()
        };
        for (page, here) in [
            (page.to_owned(), here.to_owned()),
            (short(page), short(here)),
        ] {
            let known = self
                .here
                .entry(page.clone())
                .or_insert_with(|| here.clone());
            let is_same = *known == here;
            let known = self.page.entry(here).or_insert_with(|| page.clone());
            if !is_same || *known != page {
                return None;
            }
        }
        Some(())
    }
}

fn replaced(text: &str, names: &BTreeMap<String, String>) -> String {
    VARYING
        .replace_all(text, |found: &regex::Captures<'_>| {
            let name = &found[0];
            // Of a digest, only the first digits may be known.
            let (known, rest) = match name.split_at_checked("sha256:".len() + DIGITS) {
                Some((short, rest)) if names.get(name).is_none() => (short, rest),
                _ => (name, ""),
            };
            let known = names.get(known).map_or(known, String::as_str);
            format!("{known}{rest}")
        })
        .into_owned()
}

#[test]
fn names_must_be_used_in_the_same_way() {
    let a = |c: &str| format!("sha256:{}", c.repeat(64));
    let run = "20261129T090944Z-1f44d82";
    let page = format!("run {run}1\n  x → {}\n…\nend in 0.1s\n", a("1"));
    let output = format!("run {run}2\n  x → {}\ny\nz\nend in 12.3s\n", a("2"));
    let mut names = Names::default();
    names.compare(&page, &output).unwrap();
    assert_eq!(names.here(&format!("undo {run}1")), format!("undo {run}2"));
    assert_eq!(
        names.placeholders("undo 20000101T000000Z-00000001"),
        format!("undo {run}1")
    );
    let short = |c: &str| a(c)[..19].to_owned();
    assert!(names.compare(&short("1"), &short("2")).is_ok());
    for (page, output) in [
        (a("1"), a("3")),
        (a("3"), a("2")),
        (short("1"), short("3")),
        ("x".to_owned(), "y".to_owned()),
        ("x\ny".to_owned(), "x".to_owned()),
        ("a … b".to_owned(), "a c".to_owned()),
    ] {
        assert!(
            names.clone().compare(&page, &output).is_err(),
            "{page} {output}"
        );
    }
    assert_eq!(
        names.on_the_page("old\n", &format!("{}\n", a("2"))),
        format!("{}\n", a("1"))
    );
}
