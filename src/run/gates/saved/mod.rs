//! Saves files of a gate target: the reports of tests, whether they succeed or fail.
//!
//! Names, sizes and contents come from the build, which is not trusted: [`walk`] reads no more than its limits, follows no
//! link that the walk meets, and gives only names that are safe; [`store`] writes below one directory, and follows no link
//! there.

mod store;
mod walk;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::diag::Diagnostic;
use crate::engine::{FilesUnreachable, JobFiles, ReadHook};
use crate::event::{EventKind, EventSink};
use crate::publish::file_pattern::FilePattern;
use crate::types::TargetName;
use crate::types::terminal::visible;

use walk::{FileWalk, WalkEnd};

/// The most time for reading the files of one target.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The files that are saved of the gate targets of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SavedFiles {
    /// The directory, absolute and without links. It need not exist.
    pub(crate) directory: PathBuf,
    /// How messages call the directory.
    pub(crate) shown: String,
    /// The files of each target.
    pub(crate) targets: BTreeMap<TargetName, Vec<FilePattern>>,
}

impl SavedFiles {
    /// Saves the files of `target` when its solve calls the hook. `None` if none are wanted.
    pub(in crate::run) fn hook(
        saved: &Arc<Self>,
        target: &TargetName,
        events: &EventSink,
    ) -> Option<ReadHook> {
        saved.targets.get(target)?;
        let (saved, target, events) = (Arc::clone(saved), target.clone(), events.clone());
        Some(Box::new(move |files| {
            Box::pin(async move {
                let end = saved.save(&target, files).await;
                for notice in end.notices(&saved, &target) {
                    events.send(EventKind::Notice(notice));
                }
            })
        }))
    }

    async fn save(
        &self,
        target: &TargetName,
        files: Result<Vec<JobFiles>, FilesUnreachable>,
    ) -> SaveEnd {
        let patterns = self.targets.get(target).map_or(&[][..], Vec::as_slice);
        let files = match files {
            Ok(files) => files,
            Err(error) => return SaveEnd::unreachable(&error),
        };
        let several = files.len() > 1;
        let mut walk = FileWalk::new(patterns);
        let store = store::SavedFileStore::new(self.directory.join(target.as_str()));
        let walked = async {
            for mut files in files {
                let platform = files.platform().filter(|_| several);
                let below = platform.map(|platform| platform.replace('/', "-"));
                walk.run(&mut files, below.as_deref(), &store).await?;
            }
            Ok(())
        };
        let problem = match tokio::time::timeout(READ_TIMEOUT, walked).await {
            Ok(Ok(())) => None,
            Ok(Err(problem)) => Some(problem),
            Err(_) => Some(format!(
                "the builder has not sent them within {} s",
                READ_TIMEOUT.as_secs()
            )),
        };
        SaveEnd {
            walk: walk.end(),
            problem,
        }
    }
}

/// What came of saving the files of a target.
#[derive(Debug, Default)]
struct SaveEnd {
    walk: WalkEnd,
    /// Why not all were saved.
    problem: Option<String>,
}

impl SaveEnd {
    fn unreachable(error: &FilesUnreachable) -> Self {
        Self {
            problem: Some(error.to_string()),
            ..Self::default()
        }
    }

    fn notices(&self, saved: &SavedFiles, target: &TargetName) -> Vec<Diagnostic> {
        const CODE: &str = "publish::gate-files";
        let mut notices = Vec::new();
        let walk = &self.walk;
        if walk.files > 0 {
            let files = if walk.files == 1 { "file" } else { "files" };
            let message = format!(
                "{} {files} of the gate `{target}` saved in `{}/{target}` ({} bytes)",
                walk.files,
                visible(&saved.shown),
                walk.bytes,
            );
            notices.push(Diagnostic::information(CODE, message));
        }
        if let Some(problem) = &self.problem {
            let message = format!("files of the gate `{target}` are not saved: {problem}");
            notices.push(Diagnostic::warning(CODE, message));
            return notices;
        }
        for unmatched in &walk.unmatched {
            let message = format!("the gate `{target}` has no file `{unmatched}` to save");
            notices.push(Diagnostic::information(CODE, message));
        }
        if walk.skipped > 0 {
            let first = walk.first_skipped.as_deref().unwrap_or_default();
            let message = format!(
                "files of the gate `{target}` that are not saved: {}",
                walk.skipped
            );
            notices.push(Diagnostic::warning(CODE, message).note(format!("the first is {first}")));
        }
        if let Some(limit) = walk.cut {
            let message = format!("not all files of the gate `{target}` are saved: {limit}");
            notices.push(Diagnostic::warning(CODE, message));
        }
        notices
    }
}
