//! Opens the destinations of results that are sent to this machine: files, directories, standard output, Docker.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::docker::DockerEngines;
use super::lower;
use crate::definition::model::LocalMode;
use crate::engine::docker::{Docker, DockerError};
use crate::engine::session::export::{
    DirectorySink, ExportSink, Exports, FileSink, OtherFiles, SinkError, SpecialPolicy, StreamSink,
    StreamWriter, WriterSink,
};
use crate::event::{EventKind, EventSink, LocalWork};
use crate::files;
use crate::types::TargetName;
use crate::types::causes::in_one_line;
use crate::types::secret::redact_urls;

/// The most pieces of an image that may wait between the builder and Docker.
const PIECES: usize = 16;

/// Opens the destinations of the outputs of `target`. Returns `None` if nothing is sent to this machine. An image in a layout is
/// not sent: the builder writes it to a store ([`super::layouts`]).
pub(super) fn open(
    target: &TargetName,
    wanted: &BTreeMap<usize, lower::ExportDestination>,
    docker: &DockerEngines,
    special: SpecialPolicy,
    events: &EventSink,
) -> Result<Option<Exports>, String> {
    let mut sinks = Vec::with_capacity(wanted.len());
    for (&at, place) in wanted {
        if let Some(sink) = sink(target, at, place, docker, special, events)? {
            sinks.push((at, sink));
        }
    }
    Ok((!sinks.is_empty()).then(|| Exports::new(sinks)))
}

fn sink(
    target: &TargetName,
    at: usize,
    place: &lower::ExportDestination,
    docker: &DockerEngines,
    special: SpecialPolicy,
    events: &EventSink,
) -> Result<Option<ExportSink>, String> {
    Ok(Some(match place {
        lower::ExportDestination::Layout(_) => return Ok(None),
        lower::ExportDestination::Directory {
            path,
            others,
            other_outputs,
        } => ExportSink::Directory(DirectorySink {
            path: path.clone(),
            special,
            others: match others {
                LocalMode::Copy => OtherFiles::Keep,
                LocalMode::Delete => OtherFiles::Delete {
                    except: other_outputs.clone(),
                },
            },
        }),
        lower::ExportDestination::Stdout => ExportSink::Stream(Arc::new(WriterSink::new(
            "standard output",
            tokio::io::stdout(),
        ))),
        lower::ExportDestination::File(place) => {
            if let (None, Some(parent)) = (place.descriptor(), place.path().parent()) {
                let unmade =
                    |error| format!("cannot make the directory `{}`: {error}", parent.display());
                files::open::dir_handle_or_make(parent, 0o777).map_err(unmade)?;
            }
            let sink = FileSink::new(place.clone()).telling(events.clone(), target.clone());
            ExportSink::Stream(Arc::new(sink))
        }
        lower::ExportDestination::Docker { context } => {
            let engine = docker
                .get(context.as_deref())
                .ok_or("no Docker Engine is connected")?;
            let work = Work {
                events: events.clone(),
                target: target.clone(),
                id: format!("load-{target}-{at}"),
            };
            ExportSink::Stream(Arc::new(LoadSink {
                docker: engine.clone(),
                work,
            }))
        }
    }))
}

/// Reports the progress of loading an image.
#[derive(Clone)]
struct Work {
    events: EventSink,
    target: TargetName,
    id: String,
}

impl Work {
    /// Sends an event with the bytes so far. `done` ends the work, with `error` if it failed.
    fn tell(&self, current: u64, done: bool, error: Option<String>) {
        self.events.send(EventKind::Local(LocalWork {
            id: self.id.clone(),
            target: Some(self.target.clone()),
            name: "load into Docker".to_owned(),
            current,
            total: None,
            done,
            error,
        }));
    }
}

/// Passes an image on to a Docker Engine. The request starts with the first byte, so a build that fails does not
/// start one.
struct LoadSink {
    docker: Docker,
    work: Work,
}

impl StreamSink for LoadSink {
    fn open<'a>(
        &'a self,
        _metadata: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Option<Box<dyn StreamWriter>>, SinkError>> {
        let (send, receive) = mpsc::channel::<Result<Bytes, std::io::Error>>(PIECES);
        let docker = self.docker.clone();
        let load = async move {
            tracing::debug!("load begins");
            let loaded = tokio::select! {
                loaded = docker.load(ReceiverStream::new(receive), |_| {}) => loaded.map(|_| ()),
                silent = docker.falls_silent() => Err(silent),
            };
            match &loaded {
                Ok(()) => tracing::debug!("load ended"),
                Err(error) => {
                    tracing::warn!(cause = %redact_urls(&in_one_line(error)), "load failed");
                }
            }
            loaded
        };
        let span = tracing::info_span!("publish", to = "Docker");
        let load = tokio::spawn(load.instrument(span));
        let writer = LoadWriter {
            send: Some(send),
            load: AbortOnDropHandle::new(load),
            work: self.work.clone(),
            bytes: 0,
            told: 0,
        };
        Box::pin(async move { Ok(Some(Box::new(writer) as Box<dyn StreamWriter>)) })
    }
}

struct LoadWriter {
    send: Option<mpsc::Sender<Result<Bytes, std::io::Error>>>,
    load: AbortOnDropHandle<Result<(), DockerError>>,
    work: Work,
    bytes: u64,
    /// The bytes that were last reported.
    told: u64,
}

/// The number of bytes between two progress events.
const STEP: u64 = 1 << 20;

impl LoadWriter {
    /// Returns why Docker accepts no more data.
    async fn refusal(&mut self) -> SinkError {
        let error: SinkError = match (&mut self.load).await {
            Ok(Ok(())) => "Docker ended the load early".into(),
            Ok(Err(error)) => error.into(),
            Err(error) => error.into(),
        };
        self.work.tell(self.bytes, true, Some(error.to_string()));
        error
    }
}

impl StreamWriter for LoadWriter {
    fn write(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            self.bytes += data.len() as u64;
            let sent = match &self.send {
                Some(send) => send.send(Ok(data)).await.is_ok(),
                None => false,
            };
            if !sent {
                return Err(self.refusal().await);
            }
            if self.bytes - self.told >= STEP || self.told == 0 {
                self.told = self.bytes;
                self.work.tell(self.bytes, false, None);
            }
            Ok(())
        })
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<(), SinkError>> {
        Box::pin(async move {
            // Closing the channel ends the request. Docker answers after that.
            self.send = None;
            match (&mut self.load).await {
                Ok(Ok(())) => {
                    self.work.tell(self.bytes, true, None);
                    Ok(())
                }
                Ok(Err(error)) => {
                    self.work.tell(self.bytes, true, Some(error.to_string()));
                    Err(error.into())
                }
                Err(error) => Err(error.into()),
            }
        })
    }
}
