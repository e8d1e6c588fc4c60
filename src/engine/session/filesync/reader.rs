//! Reads the requested files into the answer. Blocking: each reader has a thread.

use std::io::Read as _;

use bytes::Bytes;

use super::body::Part;
use super::source::FileContent;
use super::transfer::{SendError, Shared};
use super::{table, wire};

/// The most content in one message, in bytes. The daemon's cost is per message, ours per buffer; larger messages help
/// neither side.
const CHUNK: usize = 128 << 10;
/// Small files are collected in a buffer until it has this many bytes.
const BATCH: usize = 64 << 10;

/// Takes requests from the queue until it is closed.
pub(super) fn run(shared: &Shared) -> Result<(), SendError> {
    let mut reader = Reader {
        shared,
        buffer: Vec::new(),
        path: Vec::new(),
    };
    loop {
        let mut next = shared.queue.try_take();
        if next.is_none() {
            // Send what is ready before waiting.
            reader.flush()?;
            next = shared.queue.take();
        }
        let Some((id, content)) = next else {
            return Ok(());
        };
        reader.send(id, content)?;
    }
}

struct Reader<'a> {
    shared: &'a Shared,
    buffer: Vec<u8>,
    path: Vec<u8>,
}

impl Reader<'_> {
    fn flush(&mut self) -> Result<(), SendError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let messages = Bytes::from(std::mem::take(&mut self.buffer));
        self.shared.send(Part::Messages(messages))
    }

    /// Sends the content of one file, and the end marker after it.
    fn send(&mut self, id: u32, content: table::EntryContent) -> Result<(), SendError> {
        if let table::EntryContent::File(size) = content {
            self.shared.table().path(id, &mut self.path);
            self.shared.record.file(&self.path);
            match self.shared.source()?.content(&self.path) {
                Ok(FileContent::File(file)) => self.file(id, size, &file)?,
                Ok(FileContent::Memory(content)) => {
                    for chunk in content.chunks(CHUNK) {
                        self.chunk(id, chunk.len(), |buffer| {
                            buffer.extend_from_slice(chunk);
                            Ok(())
                        })?;
                    }
                }
                Err(source) => return Err(self.failed("open", source)),
            }
        }
        wire::data_header(&mut self.buffer, id, 0);
        if self.buffer.len() >= BATCH {
            self.flush()?;
        }
        Ok(())
    }

    /// Sends the content of an open file. `told` is the size in the list. If the file has grown since, all of it is
    /// sent; if it has shrunk, the transfer fails.
    fn file(&mut self, id: u32, told: u64, file: &std::fs::File) -> Result<(), SendError> {
        let size = file
            .metadata()
            .map_err(|source| self.failed("read", source))?
            .len();
        let mut left = size;
        let mut grown = Vec::new();
        loop {
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK);
            if len > 0 {
                let mut chunk = file.take(len as u64);
                self.chunk(id, len, |buffer| chunk.read_to_end(buffer).map(drop))?;
                left -= len as u64;
                continue;
            }
            // The file may have grown. Send what it has now, as fsutil's sender does.
            grown.clear();
            let mut rest = file.take(CHUNK as u64);
            rest.read_to_end(&mut grown)
                .map_err(|source| self.failed("read", source))?;
            if grown.is_empty() {
                break;
            }
            let more = std::mem::take(&mut grown);
            self.chunk(id, more.len(), |buffer| {
                buffer.extend_from_slice(&more);
                Ok(())
            })?;
            grown = more;
        }
        if size < told {
            return Err(self.shrank());
        }
        Ok(())
    }

    /// Sends one message with `len` bytes, which `fill` appends to the buffer.
    fn chunk(
        &mut self,
        id: u32,
        len: usize,
        fill: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>,
    ) -> Result<(), SendError> {
        self.shared.check()?;
        self.buffer.reserve(len + 2 * wire::DATA_HEADER);
        let start = self.buffer.len();
        wire::data_header(&mut self.buffer, id, len);
        let data = self.buffer.len();
        fill(&mut self.buffer).map_err(|source| self.failed("read", source))?;
        if self.buffer.len() - data < len {
            return Err(self.shrank());
        }
        if self.shared.compress {
            wire::compress(&mut self.buffer, start)
                .map_err(|source| self.failed("compress", source))?;
        }
        self.shared.record.sent(len as u64);
        if self.buffer.len() >= BATCH {
            self.flush()?;
        }
        Ok(())
    }

    fn failed(&self, act: &'static str, source: std::io::Error) -> SendError {
        SendError::Content {
            act,
            path: String::from_utf8_lossy(&self.path).into_owned(),
            source,
        }
    }

    fn shrank(&self) -> SendError {
        SendError::Shrank {
            path: String::from_utf8_lossy(&self.path).into_owned(),
        }
    }
}
