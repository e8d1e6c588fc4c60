//! Checks that the checklist is complete, and that the runs and tests that it names exist.

use std::path::Path;

use libtest_mimic::Trial;

use super::cases::{self, Case};
use super::checklist::{self, Mark, Row, Shown};

/// The tests of the checklist.
pub(crate) fn trials() -> Vec<Trial> {
    let tests: [(&str, fn()); 5] = [
        (
            "every_row_exists_once_and_in_order",
            every_row_exists_once_and_in_order,
        ),
        ("every_row_is_complete", every_row_is_complete),
        (
            "every_row_is_shown_or_says_why_not",
            every_row_is_shown_or_says_why_not,
        ),
        ("what_rows_name_exists", what_rows_name_exists),
        ("vectors_are_counted", vectors_are_counted),
    ];
    let trial = |(name, test): (&str, fn())| {
        Trial::test(format!("parity::rows::{name}"), move || {
            test();
            Ok(())
        })
    };
    tests.into_iter().map(trial).collect()
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn every_row_exists_once_and_in_order() {
    let rows = checklist::read(root()).unwrap();
    let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
    let tests = (1..=341).map(|number| format!("T{number:03}"));
    let measured = (1..=109).map(|number| format!("X{number:03}"));
    let wanted: Vec<_> = tests.chain(measured).chain(["V".to_owned()]).collect();
    assert_eq!(ids, wanted);
}

fn every_row_is_complete() {
    let rows = checklist::read(root()).unwrap();
    let marked = |mark| {
        rows.iter()
            .filter(|row| row.mark == mark && row.id != "V")
            .count()
    };
    assert_eq!(marked(Mark::Print), 243 + 82);
    assert_eq!(marked(Mark::Cli), 27 + 12);
    assert_eq!(marked(Mark::Build), 71 + 15);
    let empty: Vec<_> = rows
        .iter()
        .filter(|row| {
            row.subject.is_empty()
                || row.differs.as_deref() == Some("")
                || row.later.as_deref() == Some("")
        })
        .map(|row| &row.id)
        .collect();
    assert!(empty.is_empty(), "{empty:?}");
    let numbered = rows
        .iter()
        .all(|row| row.section.starts_with(|c: char| c.is_ascii_digit()));
    assert!(numbered, "the name of a section must begin with a number");
}

fn every_row_is_shown_or_says_why_not() {
    let rows = checklist::read(root()).unwrap();
    let silent: Vec<_> = rows
        .iter()
        .filter(|row| row.shown.is_empty() && row.later.is_none())
        .map(|row| &row.id)
        .collect();
    assert!(silent.is_empty(), "neither shown nor explained: {silent:?}");
}

fn what_rows_name_exists() {
    let cases = cases::all(&root().join("tests/parity/cases")).unwrap();
    let rows = checklist::read(root()).unwrap();
    let missing: Vec<_> = rows
        .iter()
        .flat_map(|row| row.shown.iter().map(move |shown| (row, shown)))
        .filter(|(_, shown)| !exists(&cases, shown))
        .map(|(row, shown)| format!("{}: {shown:?}", row.id))
        .collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

fn vectors_are_counted() {
    let rows = checklist::read(root()).unwrap();
    let stored = std::fs::read_to_string(root().join("tests/parity/functions.json")).unwrap();
    let stored: Vec<serde_json::Value> = serde_json::from_str(&stored).unwrap();
    let row: &Row = rows.iter().find(|row| row.id == "V").unwrap();
    assert_eq!(row.count, 264);
    assert!(stored.len() >= row.count);
}

fn exists(cases: &[Case], shown: &Shown) -> bool {
    match shown {
        Shown::Run { case, run } => cases
            .iter()
            .filter(|found| found.name == *case)
            .any(|found| run == "*" || found.runs.iter().any(|found| found.name == *run)),
        Shown::Test(path) => is_a_test(path),
    }
}

// `suite::a::b::name` is in `tests/`, everything else in `src/`; a module `tests` may be in the file of what it tests.
pub(crate) fn is_a_test(path: &str) -> bool {
    let (dir, path) = match path.strip_prefix("suite::") {
        Some(path) => ("tests", path),
        None => ("src", path),
    };
    let parts: Vec<_> = path.split("::").collect();
    let in_module = |modules: &[&str], name: &str, mark: &str| {
        let module = modules.join("/");
        [format!("{module}.rs"), format!("{module}/mod.rs")]
            .iter()
            .filter_map(|file| std::fs::read_to_string(root().join(dir).join(file)).ok())
            .any(|text| text.contains(&format!("fn {name}(")) && text.contains(mark))
    };
    match parts.as_slice() {
        [modules @ .., "tests", name] => {
            in_module(modules, name, "mod tests {")
                || in_module(&parts[..parts.len() - 1], name, "")
        }
        [modules @ .., name] => {
            in_module(modules, name, "test]") || in_module(modules, name, "test(")
        }
        [] => false,
    }
}
