//! Outputs that are one stream of bytes: a tar file, an OCI archive, what Docker loads.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use tokio::fs::File;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Mutex;

/// What a sink could not do, whoever wrote it.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Where the stream of one exporter goes. Opened only when the daemon begins to send.
pub trait StreamSink: Send + Sync {
    /// Begins; `metadata` is what the exporter tells beforehand, such as `containerimage.digest`.
    ///
    /// `None` where the output is there already: the daemon then sends nothing and the solve succeeds. Not for `tar`, which
    /// has no such answer.
    fn open<'a>(
        &'a self,
        metadata: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Option<Box<dyn StreamWriter>>, SinkError>>;
}

/// A stream that is being written. Dropped before its end, it leaves nothing behind.
pub trait StreamWriter: Send {
    /// Takes the next bytes, when there is room for them.
    fn write(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), SinkError>>;

    /// Ends the stream; whether the output is good is known only now.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), SinkError>>;
}

/// A file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`", path.display())]
pub struct FileError {
    path: PathBuf,
    source: io::Error,
}

/// A file, which appears under its name when it is complete.
#[derive(Debug, Clone)]
pub struct FileSink {
    path: PathBuf,
}

impl FileSink {
    /// The file `path`; its directory must exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    async fn create(&self) -> io::Result<FileWriter> {
        // What a link points to is replaced, not the link.
        let path = match tokio::fs::canonicalize(&self.path).await {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.path.clone(),
            Err(error) => return Err(error),
        };
        let existing = match tokio::fs::metadata(&path).await {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if existing.as_ref().is_some_and(std::fs::Metadata::is_dir) {
            return Err(io::Error::other("it is a directory"));
        }
        if existing
            .as_ref()
            .is_some_and(|metadata| !metadata.is_file())
        {
            // A pipe or device keeps its place.
            let file = File::options().write(true).open(&path).await?;
            return Ok(FileWriter::new(file, self.path.clone(), None));
        }
        let temporary = beside(&path);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        if let Some(metadata) = &existing {
            options.mode(metadata.permissions().mode() & 0o777);
        }
        let file = tokio::fs::OpenOptions::from(options)
            .open(&temporary)
            .await?;
        let renamed = Renamed {
            from: Some(temporary),
            to: path,
        };
        Ok(FileWriter::new(file, self.path.clone(), Some(renamed)))
    }
}

// A name in the same directory that nobody else has.
fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", uuid::Uuid::new_v4().simple()));
    path.with_file_name(name)
}

impl StreamSink for FileSink {
    fn open<'a>(
        &'a self,
        _metadata: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Option<Box<dyn StreamWriter>>, SinkError>> {
        Box::pin(async move {
            match self.create().await {
                Ok(writer) => Ok(Some(Box::new(writer) as Box<dyn StreamWriter>)),
                Err(source) => Err(file_error(&self.path, source)),
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

// A file under another name until it is complete.
struct Renamed {
    from: Option<PathBuf>,
    to: PathBuf,
}

impl Renamed {
    async fn keep(mut self) -> io::Result<()> {
        if let Some(from) = &self.from {
            tokio::fs::rename(from, &self.to).await?;
        }
        self.from = None;
        Ok(())
    }
}

impl Drop for Renamed {
    fn drop(&mut self) {
        if let Some(from) = &self.from {
            let _ = std::fs::remove_file(from);
        }
    }
}

/// Daemons send pieces of 4 KiB, and each write to a file is a trip to another thread.
const BUFFER: usize = 256 << 10;

struct FileWriter {
    file: File,
    buffer: BytesMut,
    path: PathBuf,
    renamed: Option<Renamed>,
}

impl FileWriter {
    fn new(file: File, path: PathBuf, renamed: Option<Renamed>) -> Self {
        Self {
            file,
            buffer: BytesMut::new(),
            path,
            renamed,
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer).await?;
        self.buffer.clear();
        Ok(())
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

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<(), SinkError>> {
        Box::pin(async move {
            let finished = async {
                self.flush().await?;
                self.file.flush().await?;
                match self.renamed.take() {
                    Some(renamed) => renamed.keep().await,
                    None => Ok(()),
                }
            };
            finished
                .await
                .map_err(|source| file_error(&self.path, source))
        })
    }
}

/// Any writer, such as standard output. It takes one stream; a second one is an error.
pub struct WriterSink {
    name: String,
    writer: Mutex<Option<Box<dyn AsyncWrite + Send + Unpin>>>,
}

impl WriterSink {
    /// `writer`, which messages call `name`.
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
                writer.ok_or_else(|| format!("`{}` has taken an output already", self.name))?;
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
            let finished = self.writer.shutdown().await;
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

    fn names(dir: &Path) -> Vec<std::ffi::OsString> {
        std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect()
    }

    #[tokio::test]
    async fn a_file_appears_when_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.tar");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let sink = FileSink::new(&path);
        let writer = write(&sink, &[b"ne", b"w"]).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        writer.finish().await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(names(dir.path()).len(), 1);
    }

    #[tokio::test]
    async fn a_stream_that_breaks_off_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let sink = FileSink::new(dir.path().join("out.tar"));
        drop(write(&sink, &[b"half"]).await.unwrap());
        assert!(names(dir.path()).is_empty());
    }

    #[tokio::test]
    async fn links_and_pipes_keep_their_places() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("real"), "old").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("real", &link).unwrap();
        write(&FileSink::new(&link), &[b"new"])
            .await
            .unwrap()
            .finish()
            .await
            .unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(dir.path().join("real")).unwrap(), b"new");
        write(&FileSink::new("/dev/null"), &[b"new"])
            .await
            .unwrap()
            .finish()
            .await
            .unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().join("no/such/out.tar"), dir.path().to_owned()] {
            let error = write(&FileSink::new(&path), &[]).await.err().unwrap();
            assert!(
                error.to_string().contains(path.to_str().unwrap()),
                "{error}"
            );
        }
        let sink = FileSink::new("/dev/full");
        let writer = write(&sink, &[b"x"]).await.unwrap();
        let error = writer.finish().await.unwrap_err();
        assert!(error.to_string().contains("/dev/full"), "{error}");
    }

    #[tokio::test]
    async fn a_writer_takes_one_stream() {
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
