//! Which directories changed while they were sent to the builder, and which targets read them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::diag::Diagnostic;
use crate::engine::session::filesync::{ChangedFiles, FileSync};
use crate::types::TargetName;
use crate::types::terminal::visible;

/// The most files, and the most targets, that a warning names.
const NAMED: usize = 10;
/// The most directories that are warned of.
const DIRECTORIES: usize = 20;

/// The changes that the transfers of one node have noticed.
#[derive(Debug, Default)]
pub(super) struct ContextChanges(Mutex<BTreeMap<PathBuf, DirectoryChanges>>);

#[derive(Debug, Default)]
struct DirectoryChanges {
    targets: BTreeSet<TargetName>,
    files: BTreeSet<String>,
    /// The most files that changed in one transfer. A transfer names only the first.
    count: u64,
}

impl ContextChanges {
    /// Notes what has changed in the transfers of `services`, which `target` reads.
    pub(super) fn note(&self, target: &TargetName, services: &[FileSync]) {
        for (directory, changed) in services.iter().flat_map(FileSync::changed) {
            self.add(target, directory, changed);
        }
    }

    fn add(&self, target: &TargetName, directory: PathBuf, changed: ChangedFiles) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_directory = all.entry(directory).or_default();
        of_directory.targets.insert(target.clone());
        of_directory.count = of_directory.count.max(changed.count);
        of_directory.files.extend(changed.first);
    }

    /// A warning for each directory that changed. Returns each only once.
    pub(super) fn warnings(&self) -> Vec<Diagnostic> {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let shown = all.iter().take(DIRECTORIES);
        shown
            .map(|(directory, changes)| changes.warning(directory))
            .collect()
    }
}

impl DirectoryChanges {
    fn warning(&self, directory: &Path) -> Diagnostic {
        let names: Vec<&str> = self.targets.iter().map(TargetName::as_str).collect();
        let noun = if names.len() == 1 {
            "target"
        } else {
            "targets"
        };
        let targets = listed(&names, names.len());
        let message = format!(
            "{noun} {targets}: files in `{}` changed while rbake sent them to the builder",
            directory.display()
        );
        let files: Vec<&str> = self.files.iter().map(String::as_str).collect();
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        let files = listed(&files, count.max(files.len()));
        Diagnostic::warning("run::context-changed", visible(&message))
            .note(visible(&format!("changed: {files}")))
            .help(
                "the build may have files of different times: build again when no other program writes there, or name files that \
                 always change in the ignore file",
            )
    }
}

/// The first of `names`, and how many there are beside them. `count` is the number of all.
fn listed(names: &[&str], count: usize) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(NAMED)
        .map(|name| format!("`{name}`"))
        .collect();
    let more = count.saturating_sub(shown.len());
    let shown = shown.join(", ");
    if more == 0 {
        shown
    } else {
        format!("{shown} and {more} more")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(count: u64, first: &[&str]) -> ChangedFiles {
        ChangedFiles {
            count,
            first: first.iter().map(ToString::to_string).collect(),
        }
    }

    fn name(text: &str) -> TargetName {
        text.parse().unwrap()
    }

    #[test]
    fn each_directory_is_reported_once_with_its_targets_and_files() {
        let changes = ContextChanges::default();
        assert!(changes.warnings().is_empty());
        changes.add(&name("b"), "/c".into(), changed(1, &["x"]));
        changes.add(&name("a"), "/c".into(), changed(1, &["x"]));
        changes.add(&name("a"), "/d".into(), changed(1, &["\u{1b}[31my"]));
        let [first, second] = &changes.warnings()[..] else {
            panic!("two directories")
        };
        assert_eq!(
            first.message,
            "targets `a`, `b`: files in `/c` changed while rbake sent them to the builder"
        );
        assert_eq!(first.notes, ["changed: `x`"]);
        assert!(second.message.starts_with("target `a`: "));
        assert!(!second.notes[0].contains('\u{1b}'));
        assert!(changes.warnings().is_empty());
    }

    #[test]
    fn a_warning_has_a_limited_number_of_names() {
        let changes = ContextChanges::default();
        let files: Vec<String> = (10..26).map(|n| n.to_string()).collect();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        changes.add(&name("a"), "/c".into(), changed(1000, &files));
        let notes = changes.warnings().remove(0).notes;
        assert!(notes[0].ends_with("`19` and 990 more"), "{notes:?}");
    }
}
