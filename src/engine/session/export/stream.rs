//! Outputs that are a single stream of bytes: a tar file, an OCI archive, or an image for `docker load`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use tokio::fs::File;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Mutex;

use crate::event::{EventKind, EventSink, LocalWork};
use crate::files::{FileAccess, OutputFile, Resolved};
use crate::types::TargetName;

/// Any error of a sink.
pub(crate) type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// The destination of one exporter's stream. It is opened only when the daemon begins to send.
pub trait StreamSink: Send + Sync {
    /// Starts a stream. `metadata` is what the exporter sent before the content, such as `containerimage.digest`.
    ///
    /// Returns `None` if the output exists already. The daemon then sends nothing, and the solve succeeds. A sink for
    /// `tar` must not return `None`, because that exporter does not support it.
    fn open<'a>(
        &'a self,
        metadata: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Option<Box<dyn StreamWriter>>, SinkError>>;
}

/// A stream that is being written. If it is dropped before [`StreamWriter::finish`], nothing is left behind.
pub trait StreamWriter: Send {
    /// Writes the next bytes. Completes when there is room for more.
    fn write(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), SinkError>>;

    /// Ends the stream. Errors of earlier writes may be reported only here.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), SinkError>>;
}

/// A file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`", path.display())]
pub(crate) struct FileError {
    path: PathBuf,
    source: io::Error,
}

/// A file, written through [`OutputFile`].
#[derive(Debug, Clone)]
pub(crate) struct FileSink {
    place: Resolved,
    told: Option<(EventSink, TargetName)>,
}

/// The user is informed if opening a file takes longer than this.
const QUIET: Duration = Duration::from_secs(1);

impl FileSink {
    /// The file at `place`. Its directory must exist.
    pub(crate) fn new(place: Resolved) -> Self {
        Self { place, told: None }
    }

    /// Sends an event to `events` while it waits for the file, which is an output of `target`.
    #[must_use]
    pub(crate) fn telling(mut self, events: EventSink, target: TargetName) -> Self {
        self.told = Some((events, target));
        self
    }

    /// Opens the file. Informs the user if that takes longer than `QUIET`.
    async fn create(&self) -> io::Result<FileWriter> {
        let place = self.place.clone();
        // Opening a pipe blocks the thread until somebody reads from it.
        let mut output =
            tokio::task::spawn_blocking(move || OutputFile::create(&place, FileAccess::Kept));
        let output = if let Ok(opened) = tokio::time::timeout(QUIET, &mut output).await {
            opened??
        } else {
            self.tell_of_waiting(false);
            let opened = output.await;
            self.tell_of_waiting(true);
            opened??
        };
        let file = File::from_std(output.file().try_clone()?);
        Ok(FileWriter {
            file,
            output,
            buffer: BytesMut::new(),
            path: self.place.path().to_owned(),
        })
    }
}

impl FileSink {
    fn tell_of_waiting(&self, done: bool) {
        let Some((events, target)) = &self.told else {
            return;
        };
        let path = self.place.path().display();
        events.send(EventKind::Local(LocalWork {
            id: format!("open-{target}-{path}"),
            target: Some(target.clone()),
            name: format!("wait until `{path}` can be written (a pipe needs a reader)"),
            current: 0,
            total: None,
            done,
            error: None,
        }));
    }
}

impl StreamSink for FileSink {
    fn open<'a>(
        &'a self,
        _metadata: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Option<Box<dyn StreamWriter>>, SinkError>> {
        Box::pin(async move {
            match self.create().await {
                Ok(writer) => Ok(Some(Box::new(writer) as Box<dyn StreamWriter>)),
                Err(source) => Err(file_error(self.place.path(), source)),
            }
        })
    }
}

fn file_error(path: &Path, source: io::Error) -> SinkError {
    Box::new(FileError {
        path: path.to_owned(),
        source,
    })
}

/// Daemons send pieces of 4 KiB. Each write to a file needs another thread, so pieces are collected in a buffer of
/// this size.
const BUFFER: usize = 256 << 10;

struct FileWriter {
    file: File,
    output: OutputFile,
    buffer: BytesMut,
    path: PathBuf,
}

impl FileWriter {
    async fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer).await?;
        self.buffer.clear();
        Ok(())
    }

    async fn end(mut self) -> io::Result<()> {
        self.flush().await?;
        self.file.flush().await?;
        drop(self.file);
        tokio::task::spawn_blocking(|| self.output.finish()).await?
    }
}

impl StreamWriter for FileWriter {
    fn write(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            self.buffer.extend_from_slice(&data);
            if self.buffer.len() >= BUFFER {
                let written = self.flush().await;
                written.map_err(|source| file_error(&self.path, source))?;
            }
            Ok(())
        })
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), SinkError>> {
        Box::pin(async move {
            let path = self.path.clone();
            let ended = self.end().await;
            ended.map_err(|source| file_error(&path, source))
        })
    }
}

/// Any writer, such as standard output. It accepts one stream; opening a second one fails.
pub struct WriterSink {
    name: String,
    writer: Mutex<Option<Box<dyn AsyncWrite + Send + Unpin>>>,
}

impl WriterSink {
    /// Writes to `writer`. Error messages call it `name`.
    pub fn new(name: impl Into<String>, writer: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        Self {
            name: name.into(),
            writer: Mutex::new(Some(Box::new(writer))),
        }
    }
}

impl std::fmt::Debug for WriterSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WriterSink({})", self.name)
    }
}

impl StreamSink for WriterSink {
    fn open<'a>(
        &'a self,
        _metadata: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Option<Box<dyn StreamWriter>>, SinkError>> {
        Box::pin(async move {
            let writer = self.writer.lock().await.take();
            let writer =
                writer.ok_or_else(|| format!("`{}` has already received an output", self.name))?;
            let writer = AnyWriter {
                writer: tokio::io::BufWriter::with_capacity(BUFFER, writer),
                path: PathBuf::from(&self.name),
            };
            Ok(Some(Box::new(writer) as Box<dyn StreamWriter>))
        })
    }
}

struct AnyWriter {
    writer: tokio::io::BufWriter<Box<dyn AsyncWrite + Send + Unpin>>,
    path: PathBuf,
}

impl StreamWriter for AnyWriter {
    fn write(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            let written = self.writer.write_all(&data).await;
            written.map_err(|source| file_error(&self.path, source))
        })
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<(), SinkError>> {
        Box::pin(async move {
            // A write to standard output only hands the data to a thread. The flush waits for that thread and reports
            // its error.
            let flushed = self.writer.flush().await;
            let finished = match flushed {
                Ok(()) => self.writer.shutdown().await,
                Err(error) => Err(error),
            };
            finished.map_err(|source| file_error(&self.path, source))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn write(
        sink: &dyn StreamSink,
        parts: &[&'static [u8]],
    ) -> Result<Box<dyn StreamWriter>, SinkError> {
        let mut writer = sink.open(&BTreeMap::new()).await?.unwrap();
        for part in parts {
            writer.write(Bytes::from_static(part)).await?;
        }
        Ok(writer)
    }

    fn sink(path: &Path) -> FileSink {
        FileSink::new(Resolved::of_path(path))
    }

    fn count(dir: &Path) -> usize {
        std::fs::read_dir(dir).unwrap().count()
    }

    #[tokio::test]
    async fn a_file_appears_only_when_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.tar");
        std::fs::write(&path, "old").unwrap();
        let writer = write(&sink(&path), &[b"ne", b"w"]).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        writer.finish().await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(count(dir.path()), 1);
    }

    #[tokio::test]
    async fn an_interrupted_stream_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let sink = sink(&dir.path().join("out.tar"));
        drop(write(&sink, &[b"half"]).await.unwrap());
        assert_eq!(count(dir.path()), 0);
    }

    #[tokio::test]
    async fn errors_name_the_file_that_cannot_be_written() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().join("no/such/out.tar"), dir.path().to_owned()] {
            let error = write(&sink(&path), &[]).await.err().unwrap();
            assert!(
                error.to_string().contains(path.to_str().unwrap()),
                "{error}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_the_reader_of_a_pipe_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("out.tar");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let (send, mut told) = tokio::sync::mpsc::unbounded_channel();
        let events = EventSink::new(crate::types::Clock::system(), move |event| {
            if let EventKind::Local(work) = event.kind {
                let _ = send.send((work.name, work.done));
            }
        });
        let sink = sink(&pipe).telling(events, "app".parse().unwrap());
        let writing = tokio::spawn(async move {
            let writer = write(&sink, &[b"all"]).await.unwrap();
            writer.finish().await.is_ok()
        });
        // Tokio does not advance a paused clock by itself while a blocking thread works.
        let (name, done) = loop {
            tokio::time::advance(QUIET).await;
            if let Ok(first) = told.try_recv() {
                break first;
            }
        };
        assert!(name.contains("out.tar") && !done, "{name}");
        assert_eq!(tokio::fs::read(&pipe).await.unwrap(), b"all");
        assert_eq!(told.recv().await, Some((name, true)));
        assert!(writing.await.unwrap());
    }

    #[tokio::test]
    async fn a_writer_accepts_only_one_stream() {
        let (near, mut far) = tokio::io::duplex(64);
        let sink = WriterSink::new("stdout", near);
        write(&sink, &[b"a", b"b"])
            .await
            .unwrap()
            .finish()
            .await
            .unwrap();
        let mut text = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut far, &mut text)
            .await
            .unwrap();
        assert_eq!(text, "ab");
        assert!(write(&sink, &[]).await.is_err());
    }
}
