//! One transfer, from the daemon's call to the final status.
//!
//! Three parts work at the same time: the walk lists entries, readers send content, and [`Control`] listens to the
//! daemon all the time, so that the two sides never wait for each other to listen. The channel of the answer limits
//! memory: if the daemon's window is closed, the channel fills up, and the walk and the readers wait.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rbake_proto::packet::{Packet, PacketType};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tonic::{Status, Streaming};
use tracing::Instrument as _;

use super::super::daemon_text::shortened;
use super::body::{Part, TransferBody};
use super::progress::{FailureSlot, Teller, TransferRecord, TransferState};
use super::queue::SendQueue;
use super::source::{LocalSource, Source};
use super::table::{EntryContent, ListedFile, Table, TooMany};
use super::verify::content_times;
use super::{TransferRules, reader, wire};
use crate::context::stat::mode;
use crate::context::{ContentTimes, ContextError, Entry, FilterSpec, Inspection, LinkTarget, Told};
use crate::event::EventSink;
use crate::types::blocking::unblock;
use crate::types::causes::in_one_line;
use crate::types::descriptors::{self, DescriptorShare};

/// The most buffers of one transfer that wait to be sent.
const PARTS: usize = 8;
/// The most buffers with the content of a file of a source that is small and in memory.
const PARTS_OF_SMALL_FILE: usize = 2;
/// The most threads that read files for one transfer.
const READERS: usize = 4;
/// The list's packets are collected in a buffer until it has this many bytes.
const LIST_BATCH: usize = 32 << 10;
/// How long the end of a transfer waits until it is noted on disk.
const NOTE_LIMIT: Duration = Duration::from_secs(2);
/// How often an event on the transfer's progress may be sent.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Why a transfer ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error("cannot {act} `{path}`")]
    Content {
        act: &'static str,
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "`{path}` has less content than its size says: it became smaller while it was being sent, or its file system reports \
         a wrong size"
    )]
    Shrank { path: String },
    #[error(transparent)]
    TooMany(#[from] TooMany),
    #[error("a transfer failed unexpectedly; this is a bug in rbake")]
    Crashed(#[from] JoinError),
    /// The daemon cancelled the call.
    #[error("the builder went away")]
    Gone,
    /// The daemon reported a failure, or violated the protocol.
    #[error("the builder could not receive the files: {0}")]
    Daemon(String),
}

impl SendError {
    /// What the user can do about the error, if known. `dir` is the directory that is sent.
    fn help(&self, dir: &Path) -> Option<String> {
        if let Self::Context(ContextError::Open { source, .. }) = self {
            return (source.kind() == std::io::ErrorKind::PermissionDenied).then(|| {
                "give this user permission to list the directory, with `chmod o+rx` or through its group".to_owned()
            });
        }
        let (path, kind) = match self {
            Self::Context(ContextError::Read { path, source, .. }) => {
                (path.as_path(), source.kind())
            }
            Self::Content { path, source, .. } => (Path::new(path), source.kind()),
            Self::Shrank { path } => (Path::new(path), std::io::ErrorKind::Other),
            _ => return None,
        };
        let line = path.strip_prefix(dir).unwrap_or(path).to_str();
        // Other characters may have a special meaning in an ignore file.
        let is_plain = |line: &&str| {
            line.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b))
        };
        let out = match kind {
            std::io::ErrorKind::PermissionDenied => {
                "give this user permission to read it, or exclude it in the ignore file"
            }
            _ => "build again when no other program changes it, or exclude it in the ignore file",
        };
        Some(
            match line.filter(is_plain).filter(|line| !line.is_empty()) {
                Some(line) => format!("{out}: `{line}`"),
                None => out.to_owned(),
            },
        )
    }
}

/// The state that the walk, the readers and the control share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) record: Arc<TransferRecord>,
    pub(super) queue: SendQueue,
    /// Whether content may be sent compressed.
    pub(super) compress: bool,
    source: OnceLock<Source>,
    table: Mutex<Table>,
    parts: mpsc::Sender<Part>,
    stopped: AtomicBool,
    /// What is known of the directory's earlier transfers and of this one. `None` until everything is listed, and if nothing is to be
    /// known.
    inspection: Mutex<Option<Inspection>>,
    /// Reserves the transfer's file descriptors while it runs.
    share: OnceLock<DescriptorShare>,
}

impl Shared {
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The source. The walk opens it before the daemon can request anything.
    pub(super) fn source(&self) -> Result<&Source, SendError> {
        self.source.get().ok_or(SendError::Gone)
    }

    /// Fails if the transfer has been stopped.
    pub(super) fn check(&self) -> Result<(), SendError> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(SendError::Gone);
        }
        Ok(())
    }

    /// Sends `part`. Waits until the channel has room, for which the caller must be on a blocking thread unless it knows that there is
    /// room.
    pub(super) fn send(&self, part: Part) -> Result<(), SendError> {
        self.check()?;
        match self.parts.try_send(part) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(part)) => {
                let sent = self.parts.blocking_send(part);
                sent.map_err(|_| SendError::Gone)
            }
            Err(TrySendError::Closed(_)) => Err(SendError::Gone),
        }
    }

    /// Makes the walk and the readers end soon.
    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.queue.close();
    }
}

/// Stops the transfer when the answer is dropped.
pub(super) struct TransferEnd {
    shared: Arc<Shared>,
    control: AbortHandle,
}

impl Drop for TransferEnd {
    fn drop(&mut self) {
        self.shared.stop();
        self.control.abort();
    }
}

/// The input of a transfer.
pub(super) struct TransferPlan {
    pub(super) source: LocalSource,
    pub(super) filter: FilterSpec,
    pub(super) record: Arc<TransferRecord>,
    pub(super) compress: bool,
    pub(super) rules: TransferRules,
    pub(super) requests: Streaming<Packet>,
    pub(super) sink: EventSink,
    pub(super) failures: Arc<FailureSlot>,
}

/// Starts a transfer. Its result, also a failure, is in the answer.
pub(super) fn start(plan: TransferPlan) -> TransferBody {
    let (parts, answer) = mpsc::channel(PARTS);
    let shared = Arc::new(Shared {
        record: Arc::clone(&plan.record),
        queue: SendQueue::default(),
        compress: plan.compress,
        source: OnceLock::new(),
        table: Mutex::default(),
        parts,
        stopped: AtomicBool::new(false),
        inspection: Mutex::default(),
        share: OnceLock::new(),
    });
    let control = Control {
        shared: Arc::clone(&shared),
        requests: plan.requests,
        needs_no_thread: plan.source.is_small_and_in_memory(),
        work: JoinSet::new(),
        readers: 0,
        teller: Teller::new(plan.record, plan.sink.clone()),
        failures: plan.failures,
    };
    let sink = plan.sink;
    let span = shared.record.span();
    span.in_scope(|| tracing::debug!(compressed = plan.compress, "transfer begins"));
    let running = control
        .run(plan.source, plan.filter, plan.rules, sink)
        .instrument(span);
    let control = tokio::spawn(running).abort_handle();
    TransferBody::new(answer, TransferEnd { shared, control })
}

struct Control {
    shared: Arc<Shared>,
    requests: Streaming<Packet>,
    /// Whether files are listed and read without a disk, and fill the channel so little that nothing has to wait. Inline Dockerfiles of
    /// hundreds of targets are sent at the same time, and each thread has its own memory.
    needs_no_thread: bool,
    work: JoinSet<Result<(), SendError>>,
    readers: usize,
    teller: Teller,
    failures: Arc<FailureSlot>,
}

impl Control {
    async fn run(
        mut self,
        source: LocalSource,
        filter: FilterSpec,
        rules: TransferRules,
        sink: EventSink,
    ) {
        let walker = Arc::clone(&self.shared);
        let needs_no_thread = self.needs_no_thread;
        self.work.spawn(async move {
            if needs_no_thread {
                return walk(&walker, &source, &filter, (&rules, &sink));
            }
            // Wait here and not in the blocking thread: waiting threads could use up the pool, and the transfers that
            // hold the shares need threads, too.
            let share = descriptors::TRANSFERS.take().await;
            let walker = move || {
                walker.share.get_or_init(|| share);
                walk(&walker, &source, &filter, (&rules, &sink))
            };
            tokio::task::spawn_blocking(walker).await?
        });
        let outcome = self.converse().await;
        self.shared.stop();
        let record = &self.shared.record;
        // If the daemon has cancelled the call, sending fails, which does no harm.
        let parts = &self.shared.parts;
        let status = match outcome {
            Ok(()) => {
                note_complete(&self.shared).await;
                let _ = parts.send(Part::Messages(wire::fin().into())).await;
                record.end(TransferState::Complete);
                Status::ok("")
            }
            Err(SendError::Gone) => {
                record.end(TransferState::Abandoned);
                Status::cancelled("the transfer was cancelled")
            }
            Err(error) => {
                let text = in_one_line(&error);
                record.end(TransferState::Failed(shortened(text.as_bytes()).into()));
                if !matches!(error, SendError::Daemon(_)) {
                    self.failures
                        .set(record.failure(&text, error.help(record.dir())));
                    let _ = parts.send(Part::Messages(wire::error(&text).into())).await;
                }
                Status::unknown(text)
            }
        };
        let _ = parts.send(Part::Status(status)).await;
    }

    /// Listens to the daemon until it confirms that it has everything.
    async fn converse(&mut self) -> Result<(), SendError> {
        let mut tick = tokio::time::interval(TELL_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(done) = self.work.join_next() => done??,
                packet = self.requests.message() => match packet {
                    Ok(Some(packet)) => {
                        if self.take(&packet)?.is_break() {
                            return Ok(());
                        }
                    }
                    Ok(None) | Err(_) => return Err(SendError::Gone),
                },
                _ = tick.tick() => self.teller.tell(),
            }
        }
    }

    /// Handles a packet of the daemon. `Break` means that the daemon has everything.
    fn take(&mut self, packet: &Packet) -> Result<ControlFlow<()>, SendError> {
        match packet.r#type() {
            PacketType::PacketReq => {
                let content = self.shared.table().ask(packet.id).ok_or_else(|| {
                    SendError::Daemon(format!(
                        "it requested file {}, which it may not request",
                        packet.id
                    ))
                })?;
                if self.needs_no_thread && self.shared.parts.capacity() >= PARTS_OF_SMALL_FILE {
                    reader::answer(&self.shared, packet.id, content)?;
                } else if self.shared.queue.put(packet.id, content) && self.readers < READERS {
                    self.readers += 1;
                    let shared = Arc::clone(&self.shared);
                    self.work.spawn_blocking(move || reader::run(&shared));
                }
                Ok(ControlFlow::Continue(()))
            }
            PacketType::PacketFin => Ok(ControlFlow::Break(())),
            PacketType::PacketErr => Err(SendError::Daemon(shortened(&packet.data))),
            PacketType::PacketStat | PacketType::PacketData => Err(SendError::Daemon(
                "it sent a message that only rbake may send".to_owned(),
            )),
        }
    }
}

/// Notes that the builder has all files of the transfer, for later runs. If the disk does not answer in time, nothing waits for it.
async fn note_complete(shared: &Shared) {
    let inspection = shared.inspection.lock();
    let inspection = inspection.unwrap_or_else(PoisonError::into_inner).take();
    let Some(inspection) = inspection else {
        return;
    };
    let files = inspection.files_anew();
    if files > 0 {
        tracing::debug!(
            files,
            "listed anew: their content may have changed without a trace"
        );
    }
    let noted = unblock(move || inspection.complete());
    if tokio::time::timeout(NOTE_LIMIT, noted).await.is_err() {
        tracing::debug!("the record of the directory could not be written in time");
    }
}

/// Lists every entry, then marks the end of the list.
fn walk(
    shared: &Shared,
    source: &LocalSource,
    filter: &FilterSpec,
    (rules, sink): (&TransferRules, &EventSink),
) -> Result<(), SendError> {
    // The record begins before the first file is listed. It says nothing of times that tell content apart.
    let record = match source {
        LocalSource::Directory(path) if !rules.verifies => {
            rules.sent.as_ref().map(|sent| sent.of(path))
        }
        LocalSource::Directory(_) | LocalSource::Files { .. } => None,
    };
    let source = Source::open(source)?;
    let filter = source.filter(filter)?;
    let source = shared.source.get_or_init(|| source);
    let inspection = record.zip(source.inode());
    let times = match source {
        Source::Disk(context) if rules.verifies => {
            Some(content_times(shared, context, &filter, sink)?)
        }
        Source::Disk(_) | Source::Memory(_) => None,
    };
    let mut list = List {
        shared,
        buffer: Vec::new(),
        entries: 0,
        link: Vec::new(),
        inspection: inspection.map(|(record, root)| Inspection::new(record, root)),
        times,
        error: None,
    };
    let flow = source.walk(&filter, |entry| list.add(entry))?;
    if let Some(error) = list.error {
        return Err(error);
    }
    if flow.is_break() {
        return Err(SendError::Gone);
    }
    // The daemon may end the transfer as soon as it has the end of the list.
    *shared
        .inspection
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = list.inspection.take();
    wire::end_of_list(&mut list.buffer);
    list.flush()
}

struct List<'a> {
    shared: &'a Shared,
    buffer: Vec<u8>,
    entries: u64,
    link: Vec<u8>,
    inspection: Option<Inspection>,
    times: Option<ContentTimes>,
    error: Option<SendError>,
}

impl List<'_> {
    fn add(&mut self, entry: &Entry<'_>) -> ControlFlow<()> {
        match self.try_add(entry) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.error = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn try_add(&mut self, entry: &Entry<'_>) -> Result<(), SendError> {
        let name_start = entry
            .path
            .iter()
            .rposition(|b| *b == b'/')
            .map_or(0, |at| at + 1);
        {
            // The daemon may request an entry as soon as it is listed, so add it to the table first.
            let mut table = self.shared.table();
            table.push(entry.parent, &entry.path[name_start..], content(entry))?;
            match entry.link {
                LinkTarget::None => self.link.clear(),
                LinkTarget::Symlink(target) => target.clone_into(&mut self.link),
                LinkTarget::Hard(first) => table.path(first, &mut self.link),
            }
        }
        let mut told = *entry;
        if let Some(inspection) = &mut self.inspection
            && inspection.look(entry) == Told::Anew
        {
            told.mode |= mode::TEMPORARY;
        }
        if let Some(times) = &self.times {
            match times.time(entry) {
                Some(time) => told.mtime = time,
                // It has changed since its content was read, or cannot be read.
                None => told.mode |= mode::TEMPORARY,
            }
        }
        wire::stat(&mut self.buffer, &told, &self.link);
        self.entries += 1;
        if self.buffer.len() >= LIST_BATCH {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SendError> {
        self.shared.record.listed(std::mem::take(&mut self.entries));
        // Where one batch is full, there is often another one.
        let room = if self.buffer.len() >= LIST_BATCH {
            Vec::with_capacity(LIST_BATCH + 1024)
        } else {
            Vec::new()
        };
        let messages = Bytes::from(std::mem::replace(&mut self.buffer, room));
        self.shared.send(Part::Messages(messages))
    }
}

/// A regular entry without content is a socket: see [`EntryContent::Empty`].
fn content(entry: &Entry<'_>) -> EntryContent {
    if entry.has_content {
        EntryContent::File(ListedFile {
            size: entry.size.try_into().unwrap_or_default(),
            changed: entry.ctime,
        })
    } else if entry.mode & mode::KIND == 0 && entry.link == LinkTarget::None {
        EntryContent::Empty
    } else {
        EntryContent::Never
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Error, ErrorKind};

    #[test]
    fn each_read_error_has_a_help_text() {
        let help = |error: SendError| error.help(Path::new("/c"));
        let open = |kind: ErrorKind| {
            let (path, source) = ("/c".into(), Error::from(kind));
            SendError::Context(ContextError::Open { path, source })
        };
        let told = help(open(ErrorKind::PermissionDenied)).unwrap();
        assert!(told.contains("`chmod o+rx`"), "{told}");
        assert_eq!(help(open(ErrorKind::NotFound)), None);
        let read = |kind: ErrorKind| {
            let (path, source) = ("/c/a/b".into(), Error::from(kind));
            let act = "list";
            SendError::Context(ContextError::Read { act, path, source })
        };
        let told = help(read(ErrorKind::PermissionDenied)).unwrap();
        assert!(
            told.starts_with("give this user") && told.ends_with("`a/b`"),
            "{told}"
        );
        let told = help(read(ErrorKind::StaleNetworkFileHandle)).unwrap();
        assert!(
            told.starts_with("build again") && told.ends_with("`a/b`"),
            "{told}"
        );
        let path = "odd name".to_owned();
        let told = help(SendError::Shrank { path }).unwrap();
        assert!(told.ends_with("the ignore file"), "{told}");
    }
}
