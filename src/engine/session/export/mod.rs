//! Outputs that come to this machine: the service to which exporters send.
//!
//! The daemon opens one call per artefact and names the exporter by its place in the solve's list. Exporters of type `local`
//! send a directory, packet by packet ([`receive`]); all others send a stream of bytes ([`StreamSink`]). Both use one
//! method, so messages stay encoded until the exporter is known. Start at [`Exports`].

mod disk;
mod order;
mod receive;
mod stream;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::Stream;
use prost::Message as _;
use rbake_proto::filesync::BytesMessage;
use rbake_proto::filesync::file_send_server::{FileSend, FileSendServer};
use rbake_proto::packet::{Packet, PacketType};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::service::RoutesBuilder;
use tonic::{Request, Response, Status, Streaming};

pub use stream::{FileError, FileSink, SinkError, StreamSink, StreamWriter, WriterSink};

use super::Attachable;
use super::causes::with_causes;
use crate::engine::connection::MESSAGE_LIMIT;

const EXPORTER_KEY: &str = "buildkit-attachable-exporter-id";
const METADATA_PREFIX: &str = "exporter-md-";

/// Packets under way between the connection and the disk.
const PACKETS: usize = 32;

/// Where the output of one exporter goes.
#[derive(Clone)]
pub enum ExportSink {
    /// Exporters that send a stream: `tar`, `oci`, `docker`.
    Stream(Arc<dyn StreamSink>),
    /// The exporter `local`: into this directory, beside what is there.
    Directory(PathBuf),
}

impl std::fmt::Debug for ExportSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stream(_) => f.write_str("Stream"),
            Self::Directory(path) => f.debug_tuple("Directory").field(path).finish(),
        }
    }
}

/// An artefact that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportSummary {
    /// The exporter, by its place in the solve's list.
    pub exporter: usize,
    /// What the exporter told beforehand, such as `containerimage.digest`.
    pub metadata: BTreeMap<String, String>,
    /// Bytes of content that came.
    pub bytes: u64,
    /// Whether it was there already, so that nothing came.
    pub skipped: bool,
}

/// Takes what the exporters of one solve send.
#[derive(Debug, Clone)]
pub struct Exports(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sinks: BTreeMap<usize, ExportSink>,
    arrived: Mutex<Vec<ExportSummary>>,
}

impl Exports {
    /// Sinks by the place of their exporter in the solve's list.
    pub fn new(sinks: impl IntoIterator<Item = (usize, ExportSink)>) -> Self {
        Self(Arc::new(Inner {
            sinks: sinks.into_iter().collect(),
            arrived: Mutex::default(),
        }))
    }

    /// What has come, in the order it was completed.
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

    fn mount(&self, routes: &mut RoutesBuilder) {
        let server = FileSendServer::new(self.clone()).max_decoding_message_size(MESSAGE_LIMIT);
        routes.add_service(server);
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
        let sink = self.0.sinks.get(&exporter).ok_or_else(|| {
            Status::not_found(format!("no output of exporter {exporter} is expected here"))
        })?;
        let metadata = metadata(request.metadata());
        let messages = request.into_inner();
        let mut summary = ExportSummary {
            exporter,
            metadata,
            bytes: 0,
            skipped: false,
        };
        match sink {
            ExportSink::Stream(sink) => {
                let taken = take_stream(sink.as_ref(), messages, &mut summary).await;
                if taken.is_ok() || summary.skipped {
                    self.0.arrived().push(summary);
                }
                taken?;
                Ok(Response::new(Box::pin(tokio_stream::empty())))
            }
            ExportSink::Directory(path) => {
                let answer = take_directory(path.clone(), messages, Arc::clone(&self.0), summary);
                Ok(Response::new(answer))
            }
        }
    }
}

// Old daemons have one exporter and do not name it.
fn exporter(metadata: &MetadataMap) -> Result<usize, Status> {
    let Some(value) = metadata.get(EXPORTER_KEY) else {
        return Ok(0);
    };
    let id = value.to_str().ok().and_then(|text| text.parse().ok());
    id.ok_or_else(|| Status::invalid_argument(format!("`{EXPORTER_KEY}` is no number")))
}

fn metadata(metadata: &MetadataMap) -> BTreeMap<String, String> {
    metadata
        .iter()
        .filter_map(|pair| match pair {
            KeyAndValueRef::Ascii(key, value) => {
                let key = key.as_str().strip_prefix(METADATA_PREFIX)?;
                Some((key.to_owned(), value.to_str().ok()?.to_owned()))
            }
            KeyAndValueRef::Binary(..) => None,
        })
        .collect()
}

async fn take_stream(
    sink: &dyn StreamSink,
    mut messages: Streaming<Bytes>,
    summary: &mut ExportSummary,
) -> Result<(), Status> {
    let failed = |error: SinkError| Status::unknown(with_causes(&*error));
    let Some(mut writer) = sink.open(&summary.metadata).await.map_err(failed)? else {
        summary.skipped = true;
        return Err(Status::already_exists("the output is there already"));
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

// Packets to and from a thread that writes the directory.
struct Channels {
    packets: mpsc::Receiver<Packet>,
    answers: mpsc::Sender<Result<Bytes, Status>>,
}

impl receive::Wire for Channels {
    fn next(&mut self) -> Option<Packet> {
        self.packets.blocking_recv()
    }

    fn send(&mut self, packet: Packet) -> bool {
        let message = packet.encode_to_vec().into();
        self.answers.blocking_send(Ok(message)).is_ok()
    }
}

fn take_directory(
    path: PathBuf,
    mut messages: Streaming<Bytes>,
    inner: Arc<Inner>,
    mut summary: ExportSummary,
) -> Answer {
    let (to_disk, packets) = mpsc::channel(PACKETS);
    let (answers, from_disk) = mpsc::channel(PACKETS);
    // Ends with the answer, and the writing thread with it.
    let pump = AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok(Some(message)) = messages.message().await {
            // What cannot be read ends the conversation like a daemon that goes away.
            let Ok(packet) = Packet::decode(message) else {
                return;
            };
            if to_disk.send(packet).await.is_err() {
                return;
            }
        }
    }));
    tokio::task::spawn_blocking(move || {
        let mut channels = Channels { packets, answers };
        match receive::receive(&path, &mut channels) {
            Ok(bytes) => {
                summary.bytes = bytes;
                inner.arrived().push(summary);
            }
            Err(error) => {
                let text = with_causes(&error);
                let packet = Packet {
                    r#type: PacketType::PacketErr.into(),
                    data: text.clone().into(),
                    ..Packet::default()
                };
                receive::Wire::send(&mut channels, packet);
                let _ = channels.answers.blocking_send(Err(Status::unknown(text)));
            }
        }
    });
    let answers = ReceiverStream::new(from_disk);
    Box::pin(WithPump {
        answers,
        _pump: pump,
    })
}

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
