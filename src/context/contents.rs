//! Modification times that tell content apart: the nanoseconds of each come from the content of its file.
//!
//! The builder asks for a file if its modification time differs from that of its copy. Images have modification times in seconds, so
//! the rest is free to say which content it is: equal content is not asked for, other content is, whatever the two machines remember of
//! each other. Start at [`ContentTimes::read`].

use std::collections::HashMap;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use super::stat::FileState;
use super::{Context, ContextError, Entry, Filter};

const SECOND: i64 = 1_000_000_000;
/// A modification time stays in its half of the second, because some programs round times and some cut them.
const HALF: i64 = SECOND / 2;
/// The most threads that read files.
const READERS: usize = 8;
/// The most files that wait for a reader.
const WAITING: usize = 512;
/// A file is read in parts of this many bytes.
const PART: usize = 256 << 10;

/// What a file is known by: its inode and when it changed last.
type Key = (u64, i64);

/// What the contents of a directory's files say of their modification times.
#[derive(Debug, Default)]
pub(crate) struct ContentTimes(HashMap<Key, u32>);

/// Where the content of files is read, and until when.
struct Reading<'a> {
    context: &'a Context,
    files: Mutex<Receiver<Waiting>>,
    read: Mutex<HashMap<Key, u32>>,
    stopped: AtomicBool,
    tell: &'a (dyn Fn(u64) -> ControlFlow<()> + Sync),
}

struct Waiting {
    path: Vec<u8>,
    key: Key,
}

impl ContentTimes {
    /// Reads all files of `context` that `filter` accepts, on several threads. `tell` gets the bytes of each part that has been read, and may
    /// end the reading. Blocking.
    ///
    /// A file that cannot be read, or changes meanwhile, is left out.
    ///
    /// # Errors
    /// Those of [`Context::walk`].
    pub(crate) fn read(
        context: &Context,
        filter: &Filter,
        tell: &(dyn Fn(u64) -> ControlFlow<()> + Sync),
    ) -> Result<Self, ContextError> {
        let (send, files) = sync_channel(WAITING);
        let reading = Reading {
            context,
            files: Mutex::new(files),
            read: Mutex::default(),
            stopped: AtomicBool::new(false),
            tell,
        };
        let readers = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..readers.min(READERS) {
                scope.spawn(|| reading.run());
            }
            // The readers end when nothing can be sent any more.
            reading.walk(filter, send)
        })?;
        let read = reading.read.into_inner();
        Ok(Self(read.unwrap_or_else(PoisonError::into_inner)))
    }

    /// The modification time of `entry` that stands for its content. `None` if the content is not known; an entry that has none keeps
    /// its time.
    pub(crate) fn time(&self, entry: &Entry<'_>) -> Option<i64> {
        match self.0.get(&(entry.inode, entry.ctime)) {
            Some(number) => Some(with_content(entry.mtime, *number)),
            None => (!entry.has_content).then_some(entry.mtime),
        }
    }
}

/// The modification time `time` with `number`, which comes from content, in its nanoseconds.
fn with_content(time: i64, number: u32) -> i64 {
    let half = time.div_euclid(HALF);
    half.saturating_mul(HALF)
        .saturating_add(i64::from(number) % HALF)
}

impl Reading<'_> {
    /// Gives all files to the readers.
    fn walk(&self, filter: &Filter, send: SyncSender<Waiting>) -> Result<(), ContextError> {
        let walked = self.context.walk(filter, |entry| {
            if !entry.has_content {
                return ControlFlow::Continue(());
            }
            let file = Waiting {
                path: entry.path.to_owned(),
                key: (entry.inode, entry.ctime),
            };
            if self.stopped.load(Ordering::Relaxed) || send.send(file).is_err() {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        drop(send);
        walked.map(drop)
    }

    /// Reads files until there are no more.
    fn run(&self) {
        let mut buffer = vec![0; PART];
        loop {
            let next = self.files.lock();
            let next = next.unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(file) = next else {
                return;
            };
            // After the reading was ended, the rest is only taken, so that the walk does not wait.
            if self.stopped.load(Ordering::Relaxed) {
                continue;
            }
            if let Ok(Some(number)) = self.number(&file, &mut buffer) {
                let read = self.read.lock();
                read.unwrap_or_else(PoisonError::into_inner)
                    .insert(file.key, number);
            }
        }
    }

    /// The number of the content of `file`. `None` if it changes meanwhile, or the reading was ended.
    fn number(&self, file: &Waiting, buffer: &mut [u8]) -> std::io::Result<Option<u32>> {
        let mut open = self.context.open_file(&file.path)?;
        let before = FileState::of(&open)?;
        let mut hash = Sha256::new();
        loop {
            let len = match open.read(buffer) {
                Ok(len) => len,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if len == 0 {
                break;
            }
            hash.update(&buffer[..len]);
            if (self.tell)(len as u64).is_break() {
                self.stopped.store(true, Ordering::Relaxed);
                return Ok(None);
            }
        }
        let [a, b, c, d, ..]: [u8; 32] = hash.finalize().into();
        let is_same = before.changed == file.key.1 && FileState::of(&open)? == before;
        Ok(is_same.then_some(u32::from_le_bytes([a, b, c, d])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    fn times(root: &Path) -> BTreeMap<String, Option<i64>> {
        let context = Context::open(root).unwrap();
        let filter = Filter::default();
        let read = ContentTimes::read(&context, &filter, &|_| ControlFlow::Continue(())).unwrap();
        let mut times = BTreeMap::new();
        let _ = context
            .walk(&filter, |entry| {
                let path = String::from_utf8_lossy(entry.path).into_owned();
                times.insert(path, read.time(entry));
                ControlFlow::Continue(())
            })
            .unwrap();
        times
    }

    fn write(path: &Path, content: &[u8], time: SystemTime) {
        std::fs::write(path, content).unwrap();
        let file = std::fs::File::options().write(true).open(path).unwrap();
        let times = std::fs::FileTimes::new().set_modified(time);
        file.set_times(times).unwrap();
    }

    #[test]
    fn equal_content_has_equal_times_and_other_content_has_others() {
        let dir = tempfile::tempdir().unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 600_000_000);
        let large = vec![b'x'; 3 * PART + 1];
        for (name, content) in [("a", &b"1"[..]), ("b", b"1"), ("c", b"2"), ("d", &large)] {
            write(&dir.path().join(name), content, time);
        }
        std::fs::hard_link(dir.path().join("a"), dir.path().join("e")).unwrap();
        std::fs::create_dir(dir.path().join("f")).unwrap();
        let first = times(dir.path());
        assert_eq!(first["a"], first["b"]);
        assert_eq!(first["a"], first["e"]);
        assert_ne!(first["a"], first["c"]);
        assert_ne!(first["c"], first["d"]);
        for name in ["a", "c", "d"] {
            // The same half of the same second.
            assert_eq!(first[name].unwrap() / HALF, 2_000_000_001);
        }
        assert!(first["f"].is_some());
        write(&dir.path().join("b"), b"3", time);
        let second = times(dir.path());
        assert_ne!(first["b"], second["b"]);
        assert_eq!(first["c"], second["c"]);
    }

    #[test]
    fn times_before_the_epoch_stay_in_their_second() {
        for time in [-1, -HALF, -SECOND, 0, HALF - 1, HALF, i64::MIN, i64::MAX] {
            for number in [0, 1, u32::MAX] {
                let changed = with_content(time, number);
                if time > i64::MIN + SECOND && time < i64::MAX - SECOND {
                    assert_eq!(changed.div_euclid(HALF), time.div_euclid(HALF));
                }
            }
        }
    }

    #[test]
    fn reading_can_be_ended_and_unreadable_files_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..2 * WAITING {
            std::fs::write(dir.path().join(n.to_string()), "content").unwrap();
        }
        let context = Context::open(dir.path()).unwrap();
        let ended = ContentTimes::read(&context, &Filter::default(), &|_| ControlFlow::Break(()));
        assert!(ended.unwrap().0.is_empty());
        // It vanishes before it is read.
        let vanished = Waiting {
            path: b"none".to_vec(),
            key: (0, 0),
        };
        let reading = Reading {
            context: &context,
            files: Mutex::new(sync_channel(1).1),
            read: Mutex::default(),
            stopped: AtomicBool::new(false),
            tell: &|_| ControlFlow::Continue(()),
        };
        assert!(reading.number(&vanished, &mut [0; 8]).is_err());
    }
}
