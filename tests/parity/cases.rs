//! The parity cases: definitions, ways to run them, and what buildx makes of each.
//!
//! A case is a directory with definition files and a file `runs`, one run a line: `name: VAR=value … argument …`, words
//! quoted as in a shell. `expected.json` holds buildx's answers and is written by `cargo xtask parity update`;
//! `differences.json` holds the answers that rbake gives on purpose instead, each with the reason.

use std::path::{Path, PathBuf};

/// A directory with definition files.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// The directory's name.
    pub(crate) name: String,
    /// The directory.
    pub(crate) dir: PathBuf,
    /// The ways to run it.
    pub(crate) runs: Vec<Run>,
}

/// One way to run a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// Its name, unique in the case.
    pub(crate) name: String,
    /// Environment variables.
    pub(crate) environment: Vec<(String, String)>,
    /// The arguments after `bake --print`, or after `bake` where they ask for a list.
    pub(crate) args: Vec<String>,
}

impl Run {
    /// Whether targets or variables are listed rather than a plan printed.
    pub(crate) fn lists(&self) -> bool {
        self.args.iter().any(|arg| arg.starts_with("--list"))
    }
}

/// All cases below `root`, sorted by name.
pub(crate) fn all(root: &Path) -> Result<Vec<Case>, String> {
    let entries =
        std::fs::read_dir(root).map_err(|error| format!("{}: {error}", root.display()))?;
    let mut cases = Vec::new();
    for entry in entries {
        let dir = entry.map_err(|error| error.to_string())?.path();
        let file = dir.join("runs");
        let text = std::fs::read_to_string(&file)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        let runs = text
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
            .map(|line| {
                run(line).ok_or_else(|| format!("{}: cannot read `{line}`", file.display()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        cases.push(Case {
            name: name.into_owned(),
            dir: dir.clone(),
            runs,
        });
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

fn run(line: &str) -> Option<Run> {
    let (name, words) = line.split_once(':')?;
    let mut args = words_of(words)?;
    let variables = args
        .iter()
        .take_while(|word| {
            let name = word.split_once('=').map(|(name, _)| name);
            name.is_some_and(|name| {
                !name.is_empty()
                    && name
                        .bytes()
                        .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
            })
        })
        .count();
    let environment = args
        .drain(..variables)
        .filter_map(|word| {
            let (name, value) = word.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        })
        .collect();
    Some(Run {
        name: name.trim().to_owned(),
        environment,
        args,
    })
}

// Words separated by spaces; '…' is taken as it is, "…" and plain text with `\` before the next character.
fn words_of(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (_, '\\') => word.get_or_insert_default().push(chars.next()?),
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (None, ' ') => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}
