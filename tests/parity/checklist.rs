//! The checklist: behaviours of buildx, from its tests and from measurements, with what shows that rbake does the same.
//!
//! `checklist.toml` has one table per section and one line per row:
//!
//! ```toml
//! T001 = { mark = "print", subject = "…", shown = ["case/run", "suite::cli::bake::refused::no_definition"] }
//! ```
//!
//! `shown` names runs of the parity cases (`case/run`, or `case/*` for all of a case) and tests, with `suite::` before those of
//! the suite. `differs` says that rbake gives another answer on purpose, and which; `later` says why a row is not shown, or not
//! shown in full.

use std::path::Path;

use toml_edit::{DocumentMut, InlineTable, Item};

/// One behaviour of buildx.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// `T001`: a test of buildx. `X001`: measured. `V`: the golden vectors.
    pub(crate) id: String,
    /// The section that it is in.
    pub(crate) section: String,
    /// What it takes to see the behaviour.
    pub(crate) mark: Mark,
    /// The name of buildx's test, or what was measured.
    pub(crate) subject: String,
    /// The number of behaviours; 1 except for the vectors.
    pub(crate) count: usize,
    /// What shows it.
    pub(crate) shown: Vec<Shown>,
    /// How rbake differs on purpose.
    pub(crate) differs: Option<String>,
    /// Why it is not shown, or not in full.
    pub(crate) later: Option<String>,
}

/// What it takes to see a behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    /// `--print` or `--list`.
    Print,
    /// The command line, without a daemon.
    Cli,
    /// A build.
    Build,
}

/// What shows a behaviour.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shown {
    /// A run of a parity case; `*` for all of them.
    Run { case: String, run: String },
    /// A test, by its path.
    Test(String),
}

/// All rows, in the order of the file.
pub(crate) fn read(root: &Path) -> Result<Vec<Row>, String> {
    let path = root.join("tests/parity/checklist.toml");
    let text = std::fs::read_to_string(&path);
    let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
    let document: DocumentMut = text.parse().map_err(|error| format!("{error}"))?;
    let mut rows = Vec::new();
    for (section, table) in document.iter() {
        let table = table
            .as_table()
            .ok_or(format!("`{section}` is not a table"))?;
        for (id, item) in table {
            let fields = item
                .as_inline_table()
                .ok_or(format!("{id}: not an inline table"))?;
            rows.push(row(id, section, fields).map_err(|what| format!("{id}: {what}"))?);
        }
    }
    Ok(rows)
}

fn row(id: &str, section: &str, fields: &InlineTable) -> Result<Row, String> {
    let known = ["mark", "subject", "count", "shown", "differs", "later"];
    if let Some((name, _)) = fields.iter().find(|(name, _)| !known.contains(name)) {
        return Err(format!("unknown field `{name}`"));
    }
    let text = |name: &str| match fields.get(name) {
        None => Ok(None),
        Some(value) => value
            .as_str()
            .map(|text| Some(text.to_owned()))
            .ok_or(format!("`{name}` is not a string")),
    };
    let mark = match text("mark")?.as_deref() {
        Some("print") => Mark::Print,
        Some("cli") => Mark::Cli,
        Some("build") => Mark::Build,
        other => return Err(format!("`mark` cannot be {other:?}")),
    };
    let shown = match fields.get("shown").cloned().map(Item::Value) {
        None => Vec::new(),
        Some(item) => item
            .as_array()
            .ok_or("`shown` is not an array")?
            .iter()
            .map(|value| {
                value
                    .as_str()
                    .and_then(shown)
                    .ok_or("`shown` has an entry that is neither a run nor a test")
            })
            .collect::<Result<_, _>>()?,
    };
    Ok(Row {
        id: id.to_owned(),
        section: section.to_owned(),
        mark,
        subject: text("subject")?.ok_or("`subject` is missing")?,
        count: match fields.get("count") {
            None => 1,
            Some(count) => count
                .as_integer()
                .and_then(|count| usize::try_from(count).ok())
                .ok_or("`count` is not a number")?,
        },
        shown,
        differs: text("differs")?,
        later: text("later")?,
    })
}

fn shown(text: &str) -> Option<Shown> {
    if text.contains("::") {
        return Some(Shown::Test(text.to_owned()));
    }
    let (case, run) = text.split_once('/')?;
    Some(Shown::Run {
        case: case.to_owned(),
        run: run.to_owned(),
    })
}
