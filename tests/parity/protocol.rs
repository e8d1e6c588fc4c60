//! The table of BuildKit's protocol: what a client must do, and which test shows that rbake does it.
//!
//! `protocol.toml` has one table per part of the protocol and one line per row:
//!
//! ```toml
//! P3101 = { subject = "…", how = "live", shown = ["suite::live::context::…"] }
//! P6601 = { subject = "…", how = "not", why = "…" }
//! ```
//!
//! `how` is `live` if a test with a real peer shows it, `fake` if only one with a scripted peer does, `unit` if only a unit test
//! does, and `not` if nothing does.

use std::collections::BTreeSet;

use libtest_mimic::Trial;
use toml_edit::{DocumentMut, InlineTable};

use super::rows::{is_a_test, root};

/// The tests of the table.
pub(crate) fn trials() -> Vec<Trial> {
    let tests: [(&str, fn()); 2] = [
        (
            "every_row_has_what_its_kind_needs",
            every_row_has_what_its_kind_needs,
        ),
        ("what_rows_name_exists", what_rows_name_exists),
    ];
    let trial = |(name, test): (&str, fn())| {
        Trial::test(format!("parity::protocol::{name}"), move || {
            test();
            Ok(())
        })
    };
    tests.into_iter().map(trial).collect()
}

// The rows by their ids.
fn rows() -> Vec<(String, InlineTable)> {
    let text = std::fs::read_to_string(root().join("tests/parity/protocol.toml")).unwrap();
    let document: DocumentMut = text.parse().unwrap();
    let mut rows = Vec::new();
    for (part, table) in document.iter() {
        for (id, row) in table
            .as_table()
            .unwrap_or_else(|| panic!("`{part}` is not a table"))
        {
            let row = row.as_inline_table();
            rows.push((
                id.to_owned(),
                row.unwrap_or_else(|| panic!("{id} is not a row")).clone(),
            ));
        }
    }
    rows
}

fn text<'r>(row: &'r InlineTable, field: &str) -> &'r str {
    row.get(field)
        .and_then(|value| value.as_str())
        .unwrap_or_default()
}

fn shown(row: &InlineTable) -> Vec<String> {
    let shown = row.get("shown").and_then(|value| value.as_array());
    let names = shown.into_iter().flatten().filter_map(|name| name.as_str());
    names.map(str::to_owned).collect()
}

fn every_row_has_what_its_kind_needs() {
    let rows = rows();
    assert!(rows.len() > 100, "only {} rows", rows.len());
    let mut ids = BTreeSet::new();
    let mut wrong = Vec::new();
    for (id, row) in &rows {
        let (shown, why) = (shown(row), text(row, "why"));
        let of_the_suite = shown.iter().any(|name| name.starts_with("suite::"));
        let complete = match text(row, "how") {
            "live" | "fake" => of_the_suite && why.is_empty(),
            "unit" => !shown.is_empty() && why.is_empty(),
            "not" => shown.is_empty() && !why.is_empty(),
            _ => false,
        };
        let known = row
            .iter()
            .all(|(key, _)| ["subject", "how", "shown", "why"].contains(&key));
        if !complete || !known || text(row, "subject").is_empty() || !ids.insert(id) {
            wrong.push(id);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

fn what_rows_name_exists() {
    let missing: Vec<String> = rows()
        .iter()
        .flat_map(|(id, row)| shown(row).into_iter().map(move |name| (id, name)))
        .filter(|(_, name)| !is_a_test(name))
        .map(|(id, name)| format!("{id}: {name}"))
        .collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
