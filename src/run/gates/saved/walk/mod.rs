//! Finds the files of a file system that match patterns, and copies them.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::engine::{JobEntry, JobEntryKind, JobFiles};
use crate::publish::file_pattern::{FilePattern, FilePatternPart};
use crate::types::terminal::visible;

/// The most files that are saved of a target.
const FILES_LIMIT: usize = 2_000;
/// The most bytes that are saved of a target.
const BYTES_LIMIT: u64 = 128 << 20;
/// The largest file that is saved. The builder sends a file as one message, which may have 16 MiB.
const FILE_LIMIT: u64 = 15 << 20;
/// The most directories that are listed.
const DIRECTORIES_LIMIT: usize = 2_000;
/// The most entries of directories that are looked at.
const ENTRIES_LIMIT: usize = 200_000;
/// The longest path, in bytes.
const PATH_LIMIT: usize = 4_000;

/// A file system that is read.
pub(super) trait SavedFileSource {
    /// The entries of a directory. `None` if it does not exist. The error is a message.
    async fn list(&mut self, path: &str) -> Result<Option<Vec<JobEntry>>, String>;
    /// The content of a file. The error is a message.
    async fn read(&mut self, path: &str) -> Result<Bytes, String>;
}

/// Where files are written.
pub(super) trait SavedFileSink {
    /// Writes the file at `path`, which is relative and has only plain names.
    async fn write(&self, path: &Path, content: Bytes) -> io::Result<()>;
}

impl SavedFileSource for JobFiles {
    async fn list(&mut self, path: &str) -> Result<Option<Vec<JobEntry>>, String> {
        match JobFiles::list(self, path).await {
            Ok(entries) => Ok(Some(entries)),
            // The daemon passes on what its system says, without a code of its own.
            Err(status)
                if status.message().contains("no such file or directory")
                    || status.message().contains("not a directory") =>
            {
                Ok(None)
            }
            Err(status) => Err(visible(status.message()).into_owned()),
        }
    }

    async fn read(&mut self, path: &str) -> Result<Bytes, String> {
        let read = JobFiles::read(self, path).await;
        read.map_err(|status| visible(status.message()).into_owned())
    }
}

/// What came of a walk.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct WalkEnd {
    /// The files that were saved.
    pub(super) files: usize,
    /// Their size.
    pub(super) bytes: u64,
    /// Patterns that match nothing.
    pub(super) unmatched: Vec<String>,
    /// The files that were not saved: too large, or not to be read, or with a name that is not safe.
    pub(super) skipped: usize,
    /// The first of them, and why.
    pub(super) first_skipped: Option<String>,
    /// The limit that ended the walk.
    pub(super) cut: Option<&'static str>,
}

/// A walk over the file systems of a target. The limits are for all of them together.
pub(super) struct FileWalk<'a> {
    patterns: &'a [FilePattern],
    matched: BTreeSet<usize>,
    /// The files that were saved already, because several patterns may match one.
    saved: BTreeSet<PathBuf>,
    directories: usize,
    entries: usize,
    end: WalkEnd,
}

/// A directory that is to be listed, and what is wanted of it.
struct Step<'a> {
    path: String,
    /// What the names below the directory must match. Everything below it is wanted if this is empty.
    rest: &'a [FilePatternPart],
    pattern: usize,
}

impl<'a> FileWalk<'a> {
    pub(super) fn new(patterns: &'a [FilePattern]) -> Self {
        Self {
            patterns,
            matched: BTreeSet::new(),
            saved: BTreeSet::new(),
            directories: 0,
            entries: 0,
            end: WalkEnd::default(),
        }
    }

    /// Copies the files of `source` that match to `sink`, into the directory `below` if there is one.
    ///
    /// # Errors
    /// A file cannot be written, with the reason.
    pub(super) async fn run(
        &mut self,
        source: &mut impl SavedFileSource,
        below: Option<&str>,
        sink: &impl SavedFileSink,
    ) -> Result<(), String> {
        self.saved.clear();
        for pattern in 0..self.patterns.len() {
            let mut steps = VecDeque::from([self.first(pattern)]);
            while let Some(step) = steps.pop_front() {
                if self.end.cut.is_some() {
                    return Ok(());
                }
                self.step(step, &mut steps, source, below, sink).await?;
            }
        }
        Ok(())
    }

    pub(super) fn end(mut self) -> WalkEnd {
        let all = self.patterns.iter().enumerate();
        let unmatched = all.filter(|(number, _)| !self.matched.contains(number));
        self.end.unmatched = unmatched.map(|(_, pattern)| pattern.to_string()).collect();
        self.end
    }

    /// The deepest directory that a pattern names. Those above it need not be listed.
    fn first(&self, pattern: usize) -> Step<'a> {
        let mut rest = self.patterns.get(pattern).map_or(&[][..], |it| it.parts());
        let mut path = String::new();
        while let [FilePatternPart::Name(name), more @ ..] = rest
            && !more.is_empty()
        {
            path = join(&path, name);
            rest = more;
        }
        Step {
            path,
            rest,
            pattern,
        }
    }

    async fn step(
        &mut self,
        step: Step<'a>,
        steps: &mut VecDeque<Step<'a>>,
        source: &mut impl SavedFileSource,
        below: Option<&str>,
        sink: &impl SavedFileSink,
    ) -> Result<(), String> {
        self.directories += 1;
        if self.directories > DIRECTORIES_LIMIT {
            self.end.cut = Some("there are more than 2000 directories to look at");
            return Ok(());
        }
        let path = if step.path.is_empty() {
            "/"
        } else {
            &step.path
        };
        let mut entries = match source.list(path).await {
            Ok(Some(entries)) => entries,
            Ok(None) => return Ok(()),
            Err(why) => {
                self.skip(path, &why);
                return Ok(());
            }
        };
        self.entries += entries.len();
        if self.entries > ENTRIES_LIMIT {
            self.end.cut = Some("there are more than 200000 files to look at");
            return Ok(());
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in entries {
            let wanted = Wanted::of(step.rest, &entry.name);
            if wanted.is_nothing() {
                continue;
            }
            let Some(name) = safe_name(&entry.name).filter(|name| fits(&step.path, name)) else {
                let shown = String::from_utf8_lossy(&entry.name);
                self.skip(
                    &join(&step.path, &shown),
                    "its name is not a plain file name",
                );
                continue;
            };
            let path = join(&step.path, name);
            match entry.kind {
                JobEntryKind::File if wanted.itself => {
                    self.matched.insert(step.pattern);
                    self.copy(&path, entry.size, source, below, sink).await?;
                    if self.end.cut.is_some() {
                        return Ok(());
                    }
                }
                JobEntryKind::Directory => {
                    if wanted.itself {
                        self.matched.insert(step.pattern);
                    }
                    steps.extend(wanted.below.into_iter().map(|rest| Step {
                        path: path.clone(),
                        rest,
                        pattern: step.pattern,
                    }));
                }
                JobEntryKind::Other if wanted.itself => {
                    self.matched.insert(step.pattern);
                    self.skip(&path, "it is a link or not a regular file");
                }
                JobEntryKind::File | JobEntryKind::Other => {}
            }
        }
        Ok(())
    }

    async fn copy(
        &mut self,
        path: &str,
        size: u64,
        source: &mut impl SavedFileSource,
        below: Option<&str>,
        sink: &impl SavedFileSink,
    ) -> Result<(), String> {
        let relative = Path::new(path.trim_start_matches('/'));
        let place = below.map_or_else(|| relative.to_owned(), |dir| Path::new(dir).join(relative));
        if !self.saved.insert(place.clone()) {
            return Ok(());
        }
        if size > FILE_LIMIT {
            self.skip(path, &format!("it has {size} bytes, more than 15 MiB"));
            return Ok(());
        }
        if self.end.files == FILES_LIMIT {
            self.end.cut = Some("there are more than 2000");
            return Ok(());
        }
        if self.end.bytes + size > BYTES_LIMIT {
            self.end.cut = Some("they have more than 128 MiB");
            return Ok(());
        }
        let content = match source.read(path).await {
            Ok(content) => content,
            Err(why) => {
                self.skip(path, &why);
                return Ok(());
            }
        };
        let length = content.len() as u64;
        let written = sink.write(&place, content).await;
        written.map_err(|error| {
            let shown = place.display().to_string();
            format!("cannot write `{}`: {error}", visible(&shown))
        })?;
        self.end.files += 1;
        self.end.bytes += length;
        Ok(())
    }

    fn skip(&mut self, path: &str, why: &str) {
        self.end.skipped += 1;
        let first = || format!("`{}`: {why}", visible(path));
        self.end.first_skipped.get_or_insert_with(first);
    }
}

/// What a pattern wants of an entry.
struct Wanted<'a> {
    /// The entry is saved: the file, or the whole directory.
    itself: bool,
    /// What is wanted below the entry, if it is a directory.
    below: Vec<&'a [FilePatternPart]>,
}

impl<'a> Wanted<'a> {
    fn of(rest: &'a [FilePatternPart], name: &[u8]) -> Self {
        let name = String::from_utf8_lossy(name);
        let mut wanted = Self {
            itself: false,
            below: Vec::new(),
        };
        match rest {
            [] => {
                wanted.itself = true;
                wanted.below.push(rest);
            }
            [FilePatternPart::Deep, after @ ..] => {
                wanted.add(after, &name);
                if wanted.below.iter().all(|below| !below.is_empty()) {
                    wanted.below.push(rest);
                }
                wanted.itself |= after.is_empty();
            }
            _ => wanted.add(rest, &name),
        }
        wanted
    }

    /// Adds what `parts`, the first of which is for this name, want.
    fn add(&mut self, parts: &'a [FilePatternPart], name: &str) {
        if let [part, after @ ..] = parts
            && part.matches(name)
        {
            self.itself |= after.is_empty();
            self.below.push(after);
        }
    }

    fn is_nothing(&self) -> bool {
        !self.itself && self.below.is_empty()
    }
}

fn join(path: &str, name: &str) -> String {
    format!("{path}/{name}")
}

fn fits(path: &str, name: &str) -> bool {
    path.len() + name.len() < PATH_LIMIT
}

/// `name` as the name of a local file. `None` if it could lead out of a directory, or act on a terminal.
fn safe_name(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok()?;
    let is_plain = !name.is_empty()
        && name.len() <= 255
        && !matches!(name, "." | "..")
        && !name.chars().any(|c| c == '/' || c.is_control());
    is_plain.then_some(name)
}

#[cfg(test)]
mod tests;
