//! The table `[gate]` of `rbake.toml`: what must succeed before mutable tags move, and which files are kept of it.
//!
//! ```toml
//! [gate]
//! # Targets that test in their `RUN` steps.
//! targets = ["check"]
//! # A command that runs after all targets. It needs the user's consent, unless it is on the command line.
//! run = "docker compose -f compose.test.yaml run --rm test"
//! # Targets whose images only the command needs.
//! images = ["test"]
//! # The directory for saved files, relative to the working directory.
//! save-to = "reports"
//!
//! # Files that are saved from a gate target, whether it succeeds or fails: absolute paths in its file system. `*` and
//! # `?` stand for any characters of a name and for one, `**` for any directories. A directory is saved with all its files.
//! [gate.save]
//! check = ["/tmp/test-reports/*.xml", "/app/htmlcov"]
//! ```

use std::collections::BTreeMap;

use toml_edit::TableLike;

use super::reader::Reader;
use crate::diag::Spanned;
use crate::publish::file_pattern::{FilePattern, InvalidFilePattern};
use crate::types::terminal::visible;

const KEYS: [&str; 5] = ["targets", "images", "run", "save-to", "save"];

/// What the table says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GateSettings {
    /// Targets that test in their `RUN` steps.
    pub(crate) targets: Vec<Spanned<String>>,
    /// Targets whose images only the command needs.
    pub(crate) images: Vec<Spanned<String>>,
    /// The command.
    pub(crate) run: Option<Spanned<String>>,
    /// The directory for saved files.
    pub(crate) save_to: Option<Spanned<String>>,
    /// The files to save, by target.
    pub(crate) save: BTreeMap<String, Spanned<Vec<FilePattern>>>,
}

impl GateSettings {
    pub(super) fn read(table: &dyn TableLike, reader: &mut Reader) -> Self {
        reader.check_keys(table, "gate.", &KEYS);
        let mut found = Self {
            targets: reader.texts(table, "targets", "gate.targets"),
            images: reader.texts(table, "images", "gate.images"),
            run: reader.text(table, "run", "gate.run"),
            save_to: reader.text(table, "save-to", "gate.save-to"),
            save: BTreeMap::new(),
        };
        let is_blank = |text: &Spanned<String>| text.value.trim().is_empty();
        for (key, text) in [("run", &found.run), ("save-to", &found.save_to)] {
            if let Some(text) = text.as_ref().filter(|text| is_blank(text)) {
                reader.invalid(&format!("`gate.{key}` is empty"), text.span);
            }
        }
        if let Some(table) = reader.table(table, "save", "gate.save") {
            let names: Vec<String> = table.iter().map(|(name, _)| name.to_owned()).collect();
            for name in names {
                let shown = format!("gate.save.{}", visible(&name));
                let span = reader.span_of(table, &name);
                let mut patterns = Vec::new();
                for text in reader.texts(table, &name, &shown) {
                    match text.value.parse() {
                        Ok(pattern) => patterns.push(pattern),
                        Err(error) => {
                            let error: InvalidFilePattern = error;
                            reader.invalid(&format!("`{shown}`: {error}"), text.span);
                        }
                    }
                }
                found.save.insert(name, Spanned::new(patterns, span));
            }
        }
        found
    }
}
