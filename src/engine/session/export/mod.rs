//! Outputs that are written on this machine: the service to which exporters send.
//!
//! The daemon makes one call for each artefact, and names the exporter by its index in the solve's list. Exporters of
//! type `local` send a directory, packet by packet ([`receive`]); all others send a stream of bytes ([`StreamSink`]).
//! Both kinds use the same gRPC method, so messages are decoded only when the exporter is known. Start at
//! [`Exports`].

mod disk;
mod limits;
mod mirror;
mod order;
mod receive;
mod special;
mod stream;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use prost::Message as _;
use rbake_proto::filesync::BytesMessage;
use rbake_proto::filesync::file_send_server::{FileSend, FileSendServer};
use rbake_proto::packet::{Packet, PacketType};
use tokio::sync::{OwnedMutexGuard, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

pub(crate) use special::SpecialPolicy;
pub use stream::WriterSink;
pub(crate) use stream::{FileSink, SinkError, StreamSink, StreamWriter};

use super::{Attachable, SessionServices};
use crate::engine::connection::MESSAGE_LIMIT;
use crate::outcome::SpecialFiles;
use crate::types::causes::in_one_line;
use crate::types::descriptors;
use crate::types::secret::redact_urls;

const EXPORTER_KEY: &str = "buildkit-attachable-exporter-id";
const METADATA_PREFIX: &str = "exporter-md-";
/// The daemon sends this header, with the value `1`, if one transfer has the trees of all platforms
/// (`session/filesync/filesync.go`). Daemons before v0.31 do not.
const WHOLE_KEY: &str = "buildkit-exporter-multi-platform";

/// The most packets that wait between the connection and the disk.
const PACKETS: usize = 32;
/// How long the daemon may take to read why a transfer has failed.
const FAREWELL: Duration = Duration::from_secs(5);

/// The destination of one exporter's output.
#[derive(Clone)]
pub enum ExportSink {
    /// For exporters that send a stream: `tar`, `oci`, `docker`.
    Stream(Arc<dyn StreamSink>),
    /// For the exporter `local`: writes into this directory, next to what is in it.
    Directory(DirectorySink),
}

/// A directory that an exporter's files are written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectorySink {
    /// The directory's path; it is created if it is missing.
    pub path: PathBuf,
    /// What to do with set-id files, devices and security attributes.
    pub(crate) special: SpecialPolicy,
    /// What happens to files in the directory that the exporter does not send.
    pub(crate) others: OtherFiles,
}

/// What happens to files in an output directory that the exporter does not send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum OtherFiles {
    /// They stay.
    #[default]
    Keep,
    /// They are deleted after the transfer: `mode=delete`.
    Delete {
        /// What stays nevertheless, with all that is below it: what the run writes there for other outputs. The paths are relative to
        /// the directory.
        except: Vec<PathBuf>,
    },
}

impl OtherFiles {
    const fn are_deleted(&self) -> bool {
        matches!(self, Self::Delete { .. })
    }
}

impl DirectorySink {
    /// The directory `path`. Set-id files, devices and security attributes are kept, and so are files that are not sent.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            special: SpecialPolicy::Keep,
            others: OtherFiles::Keep,
        }
    }
}

impl std::fmt::Debug for ExportSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stream(_) => f.write_str("Stream"),
            Self::Directory(sink) => sink.fmt(f),
        }
    }
}

/// An artefact that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportSummary {
    /// The exporter's index in the solve's list.
    pub(crate) exporter: usize,
    /// Metadata that the exporter sent before the content, such as `containerimage.digest`.
    pub(crate) metadata: BTreeMap<String, String>,
    /// The number of content bytes received.
    pub(crate) bytes: u64,
    /// Whether the output existed already, so that no content was sent.
    pub(crate) skipped: bool,
    /// The number of entries with special powers, such as set-id files.
    pub(crate) special: SpecialFiles,
}

/// Receives what the exporters of one solve send.
#[derive(Debug, Clone)]
pub struct Exports(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sinks: BTreeMap<usize, Place>,
    arrived: Mutex<Vec<ExportSummary>>,
}

/// The sink of one exporter. Transfers to it run one after another, because two at once could move directories and
/// links that the other one is using.
#[derive(Debug)]
struct Place {
    sink: ExportSink,
    turn: Arc<tokio::sync::Mutex<()>>,
    transfers: AtomicUsize,
}

impl Place {
    fn new(sink: ExportSink) -> Self {
        Self {
            sink,
            turn: Arc::default(),
            transfers: AtomicUsize::new(0),
        }
    }

    /// The most transfers. If other files are deleted, a second transfer would delete those of the first.
    const fn limit(&self) -> usize {
        match &self.sink {
            ExportSink::Directory(sink) if sink.others.are_deleted() => 1,
            _ => limits::TRANSFERS,
        }
    }

    /// Waits for the end of earlier transfers. Fails if there were too many transfers.
    async fn turn(&self) -> Result<OwnedMutexGuard<()>, Status> {
        let limit = self.limit();
        if self.transfers.fetch_add(1, Ordering::Relaxed) >= limit {
            return Err(Status::resource_exhausted(format!(
                "this output cannot be sent in more than {limit} transfers"
            )));
        }
        Ok(Arc::clone(&self.turn).lock_owned().await)
    }
}

impl Exports {
    /// Takes the sinks with the index of their exporter in the solve's list.
    pub fn new(sinks: impl IntoIterator<Item = (usize, ExportSink)>) -> Self {
        Self(Arc::new(Inner {
            sinks: sinks
                .into_iter()
                .map(|(at, sink)| (at, Place::new(sink)))
                .collect(),
            arrived: Mutex::default(),
        }))
    }

    /// The artefacts that have arrived, in the order of their completion.
    pub fn arrived(&self) -> Vec<ExportSummary> {
        self.0.arrived().clone()
    }
}

impl Inner {
    fn arrived(&self) -> std::sync::MutexGuard<'_, Vec<ExportSummary>> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attachable for Exports {
    fn methods(&self) -> &[&'static str] {
        &["/moby.filesync.v1.FileSend/DiffCopy"]
    }

    fn mount(&self, services: &mut SessionServices) {
        let server = FileSendServer::new(self.clone()).max_decoding_message_size(MESSAGE_LIMIT);
        services.add(server);
    }
}

type Answer = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

#[tonic::async_trait]
impl FileSend for Exports {
    type DiffCopyStream = Answer;

    async fn diff_copy(
        &self,
        request: Request<Streaming<Bytes>>,
    ) -> Result<Response<Answer>, Status> {
        let exporter = exporter(request.metadata())?;
        let place = self.0.sinks.get(&exporter).ok_or_else(|| {
            Status::not_found(format!("no output of exporter {exporter} is expected here"))
        })?;
        let metadata = metadata(request.metadata())?;
        if let ExportSink::Directory(sink) = &place.sink
            && sink.others.are_deleted()
            && !is_whole(request.metadata())
        {
            return Err(Status::failed_precondition(
                "this builder is too old for `mode=delete`, which needs BuildKit v0.31; nothing was written or deleted",
            ));
        }
        let turn = place.turn().await?;
        let messages = request.into_inner();
        let mut summary = ExportSummary {
            exporter,
            metadata,
            bytes: 0,
            skipped: false,
            special: SpecialFiles::default(),
        };
        let span = tracing::info_span!("transfer", exporter);
        span.in_scope(|| tracing::debug!("output begins"));
        match &place.sink {
            ExportSink::Stream(sink) => {
                let taken = take_stream(sink.as_ref(), messages, &mut summary)
                    .instrument(span.clone())
                    .await;
                span.in_scope(|| log_end(summary.bytes, taken.as_ref().err().map(Status::message)));
                if taken.is_ok() || summary.skipped {
                    self.0.arrived().push(summary);
                }
                taken?;
                Ok(Response::new(Box::pin(tokio_stream::empty())))
            }
            ExportSink::Directory(sink) => {
                let transfer = DirectoryTransfer {
                    sink: sink.clone(),
                    inner: Arc::clone(&self.0),
                    summary,
                    turn,
                    span,
                };
                Ok(Response::new(transfer.start(messages)))
            }
        }
    }
}

/// Returns the index of the exporter. Old daemons have only one exporter and do not send an index.
fn exporter(metadata: &MetadataMap) -> Result<usize, Status> {
    let Some(value) = metadata.get(EXPORTER_KEY) else {
        return Ok(0);
    };
    let id = value.to_str().ok().and_then(|text| text.parse().ok());
    id.ok_or_else(|| Status::invalid_argument(format!("`{EXPORTER_KEY}` is not a number")))
}

/// Whether the call transfers the trees of all platforms.
fn is_whole(metadata: &MetadataMap) -> bool {
    let mut values = metadata.get_all(WHOLE_KEY).iter();
    values.any(|value| value == "1")
}

/// The metadata in the headers of a call, without their prefix. Fails if it is too long.
fn metadata(metadata: &MetadataMap) -> Result<BTreeMap<String, String>, Status> {
    let told: BTreeMap<String, String> = metadata
        .iter()
        .filter_map(|pair| match pair {
            KeyAndValueRef::Ascii(key, value) => {
                let key = key.as_str().strip_prefix(METADATA_PREFIX)?;
                Some((key.to_owned(), value.to_str().ok()?.to_owned()))
            }
            KeyAndValueRef::Binary(..) => None,
        })
        .collect();
    let size: usize = told
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if size > limits::METADATA {
        return Err(Status::resource_exhausted(
            "an exporter sent more metadata about its output than rbake accepts",
        ));
    }
    Ok(told)
}

/// Logs how a transfer of an output ended, after so many `bytes`.
fn log_end(bytes: u64, problem: Option<&str>) {
    match problem {
        None => tracing::debug!(bytes, "output ended"),
        Some(reason) => tracing::warn!(bytes, reason = %redact_urls(reason), "output interrupted"),
    }
}

/// The answer if an archive cannot be written. As in BuildKit's own client, a full disk is another code than the rest.
fn failed_write(error: &(dyn std::error::Error + 'static)) -> Status {
    let text = in_one_line(error);
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    let is_full = causes.any(|cause| {
        let error = cause.downcast_ref::<std::io::Error>();
        let kind = error.map(std::io::Error::kind);
        matches!(
            kind,
            Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
        )
    });
    if is_full {
        Status::resource_exhausted(text)
    } else {
        Status::unknown(text)
    }
}

/// Passes a stream of messages to `sink`. If the sink returns no writer, the call fails with `AlreadyExists`, which
/// the daemon treats as success.
async fn take_stream(
    sink: &dyn StreamSink,
    mut messages: Streaming<Bytes>,
    summary: &mut ExportSummary,
) -> Result<(), Status> {
    let failed = |error: SinkError| failed_write(&*error);
    let Some(mut writer) = sink.open(&summary.metadata).await.map_err(failed)? else {
        summary.skipped = true;
        return Err(Status::already_exists("the output already exists"));
    };
    while let Some(message) = messages.message().await? {
        let data = BytesMessage::decode(message)
            .map_err(|error| Status::invalid_argument(error.to_string()))?
            .data;
        summary.bytes += data.len() as u64;
        writer.write(data).await.map_err(failed)?;
    }
    writer.finish().await.map_err(failed)
}

/// Passes messages to and from the thread that writes the directory. Messages are decoded only when they are used:
/// decoded, a message with many empty attributes takes many times its encoded size.
struct Channels {
    messages: mpsc::Receiver<Bytes>,
    answers: mpsc::Sender<Result<Bytes, Status>>,
}

impl Channels {
    /// Takes what the daemon is still sending, until it has read why the transfer failed and closes the stream. If the call ended
    /// before, the daemon would report only that (`EOF`).
    fn drain(&mut self) {
        let rest = async { while self.messages.recv().await.is_some() {} };
        let runtime = tokio::runtime::Handle::current();
        let _ = runtime.block_on(async { tokio::time::timeout(FAREWELL, rest).await });
    }
}

impl receive::Wire for Channels {
    fn next(&mut self) -> Option<Packet> {
        // A message that cannot be decoded ends the exchange, as if the daemon had closed the stream.
        Packet::decode(self.messages.blocking_recv()?).ok()
    }

    fn send(&mut self, packet: Packet) -> bool {
        let message = packet.encode_to_vec().into();
        self.answers.blocking_send(Ok(message)).is_ok()
    }
}

/// A directory that is being received.
struct DirectoryTransfer {
    sink: DirectorySink,
    inner: Arc<Inner>,
    summary: ExportSummary,
    /// Held until the last file is written.
    turn: OwnedMutexGuard<()>,
    span: tracing::Span,
}

impl DirectoryTransfer {
    /// Starts to receive. The returned stream has our packets for the daemon.
    fn start(self, mut messages: Streaming<Bytes>) -> Answer {
        let (to_disk, received) = mpsc::channel(PACKETS);
        let (answers, from_disk) = mpsc::channel(PACKETS);
        // Dropping the answer aborts this task. That closes the channel, which ends the writing thread.
        let pump = AbortOnDropHandle::new(tokio::spawn(async move {
            while let Ok(Some(message)) = messages.message().await {
                if to_disk.send(message).await.is_err() {
                    return;
                }
            }
        }));
        tokio::spawn(async move {
            // Wait here and not in the blocking thread: waiting threads could use up the pool, and the transfers that
            // hold the shares need threads, too.
            let share = descriptors::RECEPTIONS.take().await;
            let write = move || {
                self.write(Channels {
                    messages: received,
                    answers,
                });
            };
            // If the thread panics, the channel closes, which the daemon sees as an error.
            let _ = tokio::task::spawn_blocking(write).await;
            drop(share);
        });
        let answers = ReceiverStream::new(from_disk);
        Box::pin(WithPump {
            answers,
            _pump: pump,
        })
    }

    /// Runs on a blocking thread. A failure is sent as a packet and as the status of the call.
    fn write(self, mut channels: Channels) {
        let Self {
            sink,
            inner,
            mut summary,
            turn,
            span,
        } = self;
        let _entered = span.entered();
        match receive::receive(&sink, &mut channels) {
            Ok(received) => {
                log_end(received.bytes, None);
                if sink.others.are_deleted() {
                    tracing::info!(entries = received.deleted, "other files deleted");
                }
                summary.bytes = received.bytes;
                summary.special = received.special;
                inner.arrived().push(summary);
            }
            Err(error) => {
                let text = in_one_line(&error);
                log_end(0, Some(&text));
                let packet = Packet {
                    r#type: PacketType::PacketErr.into(),
                    data: text.clone().into(),
                    ..Packet::default()
                };
                receive::Wire::send(&mut channels, packet);
                channels.drain();
                let _ = channels.answers.blocking_send(Err(Status::unknown(text)));
            }
        }
        drop(turn);
    }
}

/// An answer that owns the task that receives messages.
struct WithPump {
    answers: ReceiverStream<Result<Bytes, Status>>,
    _pump: AbortOnDropHandle<()>,
}

impl Stream for WithPump {
    type Item = Result<Bytes, Status>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        Pin::new(&mut self.answers).poll_next(cx)
    }
}

#[cfg(test)]
mod tests;
