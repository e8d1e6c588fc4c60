//! The builder's log file. The supervisor and buildkitd append to it; its last lines are quoted if a start fails.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use super::super::files;
use crate::types::Clock;
use crate::types::blocking::unblock;

/// The size from which the log is renamed when the builder starts. The log that was renamed before is deleted.
const ROTATE_AT: u64 = 4 << 20;

/// How many bytes at the end of the log are searched for lines to quote.
const TAIL_BYTES: u64 = 64 << 10;

/// The most lines that are quoted.
const TAIL_LINES: usize = 15;

/// The log file, which need not exist.
#[derive(Debug, Clone)]
pub(super) struct Log {
    path: PathBuf,
    clock: Clock,
}

impl Log {
    /// The log at `path`.
    pub(super) fn at(path: impl Into<PathBuf>, clock: Clock) -> Self {
        Self {
            path: path.into(),
            clock,
        }
    }

    /// Renames a large log, so that there are never more than two logs.
    pub(super) fn rotate(&self) -> io::Result<()> {
        match std::fs::metadata(&self.path) {
            Ok(found) if found.len() >= ROTATE_AT => {
                std::fs::rename(&self.path, self.path.with_extension("log.1"))
            }
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Opens the file for appending, as the output of a process.
    pub(super) fn open(&self) -> io::Result<File> {
        files::own_file().append(true).open(&self.path)
    }

    /// Appends one line from rbake itself. Errors are ignored: the builder can run without a log.
    pub(super) async fn say(&self, text: &str) {
        let time = jiff::Timestamp::try_from(self.clock.now()).unwrap_or_default();
        let line = format!("{time:.0} rbake: {text}\n");
        let log = self.clone();
        unblock(move || {
            if let Ok(mut file) = log.open() {
                let _ = file.write_all(line.as_bytes());
            }
        })
        .await;
    }

    /// The current size of the log. Everything after this position is from the start that follows.
    pub(super) fn position(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |found| found.len())
    }

    /// The last lines after `position`, oldest first. Empty if the log cannot be read.
    pub(super) fn tail(&self, position: u64) -> Vec<String> {
        self.read_tail(position).unwrap_or_default()
    }

    fn read_tail(&self, position: u64) -> io::Result<Vec<String>> {
        let mut file = File::open(&self.path)?;
        let length = file.metadata()?.len();
        let start = length.saturating_sub(TAIL_BYTES).max(position.min(length));
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let lines = without_stacks(&text);
        let from = lines.len().saturating_sub(TAIL_LINES);
        Ok(lines[from..]
            .iter()
            .map(|line| (*line).to_owned())
            .collect())
    }
}

/// The lines of a log without stack traces. buildkitd ends with the stack of its error: two lines for each frame,
/// the second of which is indented.
fn without_stacks(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if !line.starts_with('\t') {
            lines.push(line);
        } else if lines.last().is_some_and(|frame| !frame.contains(' ')) {
            lines.pop();
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn log(dir: &tempfile::TempDir) -> Log {
        let clock = Clock::fixed(SystemTime::UNIX_EPOCH);
        Log::at(dir.path().join("builder.log"), clock)
    }

    #[tokio::test]
    async fn the_tail_contains_only_lines_of_this_start() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(&dir);
        log.say("before").await;
        let position = log.position();
        for number in 0..40 {
            log.say(&format!("line {number}")).await;
        }
        let tail = log.tail(position);
        assert_eq!(tail.len(), TAIL_LINES);
        assert_eq!(tail[14], "1970-01-01T00:00:00Z rbake: line 39");
        assert!(log.tail(log.position()).is_empty());
    }

    #[test]
    fn stack_traces_are_left_out() {
        let text = "time=1 level=info msg=x\nbuildkitd: unknown snapshotter\nmain.main.func3\n\tgithub.com/x/main.go:4\nruntime.main\n\truntime/proc.go:290\n";
        assert_eq!(
            without_stacks(text),
            ["time=1 level=info msg=x", "buildkitd: unknown snapshotter"]
        );
    }

    #[test]
    fn a_large_log_is_rotated() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(&dir);
        log.rotate().unwrap();
        log.open().unwrap().set_len(ROTATE_AT).unwrap();
        log.rotate().unwrap();
        assert_eq!(log.position(), 0);
        assert!(dir.path().join("builder.log.1").exists());
    }
}
