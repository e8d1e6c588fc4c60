//! Reads the requested files into the answer. Blocking: each reader has a thread.

use std::io::Read as _;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::body::Part;
use super::source::FileContent;
use super::transfer::{SendError, Shared};
use super::{table, wire};
use crate::context::stat::FileState;

/// The most content in one message, in bytes. The daemon's cost is per message, ours per buffer; larger messages help
/// neither side.
const CHUNK: usize = 128 << 10;
/// Small files are collected in a buffer until it has this many bytes.
const BATCH: usize = 64 << 10;

/// Takes requests from the queue until it is closed.
pub(super) fn run(shared: &Shared) -> Result<(), SendError> {
    let mut reader = Reader::new(shared);
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

/// Answers one request. The files must be in memory, and the channel must have room for the content.
pub(super) fn answer(
    shared: &Shared,
    id: u32,
    content: table::EntryContent,
) -> Result<(), SendError> {
    let mut reader = Reader::new(shared);
    reader.send(id, content)?;
    reader.flush()
}

/// The time after which a change of a file certainly gets another time, also from kernels whose clock for this has only a hundred ticks
/// a second.
const TICK: Duration = Duration::from_millis(20);

/// If a file changed at `changed` (nanoseconds since the epoch) and that was less than a tick ago, waits until the tick is over, and
/// returns `true`. Content that is read before could be replaced within the tick, and would have the same times.
fn await_tick(changed: i64) -> bool {
    let Ok(changed) = u64::try_from(changed) else {
        return false;
    };
    let over = SystemTime::UNIX_EPOCH + Duration::from_nanos(changed) + TICK;
    match over.duration_since(SystemTime::now()) {
        Ok(rest) if !rest.is_zero() && rest <= TICK => {
            tokio::runtime::Handle::current().block_on(tokio::time::sleep(rest));
            true
        }
        Ok(_) | Err(_) => false,
    }
}

struct Reader<'a> {
    shared: &'a Shared,
    buffer: Vec<u8>,
    path: Vec<u8>,
}

impl<'a> Reader<'a> {
    const fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            buffer: Vec::new(),
            path: Vec::new(),
        }
    }

    fn flush(&mut self) -> Result<(), SendError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let messages = Bytes::from(std::mem::take(&mut self.buffer));
        self.shared.send(Part::Messages(messages))
    }

    /// Sends the content of one file, and the end marker after it.
    fn send(&mut self, id: u32, content: table::EntryContent) -> Result<(), SendError> {
        if let table::EntryContent::File(listed) = content {
            self.shared.table().path(id, &mut self.path);
            self.shared.record.file(&self.path);
            match self.shared.source()?.content(&self.path) {
                Ok(FileContent::File(file)) => self.file(id, listed, &file)?,
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

    /// Sends the content of an open file, and notes it if the file has changed since it was listed, or while it is read. If it has
    /// grown, all of it is sent; if it has shrunk, the transfer fails.
    fn file(
        &mut self,
        id: u32,
        listed: table::ListedFile,
        file: &std::fs::File,
    ) -> Result<(), SendError> {
        let mut before = FileState::of(file).map_err(|source| self.failed("read", source))?;
        if await_tick(before.changed) {
            before = FileState::of(file).map_err(|source| self.failed("read", source))?;
        }
        let size = self.content(id, file, before)?;
        if size < listed.size {
            return Err(self.shrank());
        }
        let after = FileState::of(file).map_err(|source| self.failed("read", source))?;
        if before.changed != listed.changed || before != after {
            self.shared.record.changed(&self.path);
        }
        Ok(())
    }

    /// Sends the content of an open file that is in the state `before`. Returns the size that the state has.
    fn content(
        &mut self,
        id: u32,
        file: &std::fs::File,
        before: FileState,
    ) -> Result<u64, SendError> {
        let size = u64::try_from(before.size).unwrap_or_default();
        let mut left = size;
        while left > 0 {
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK);
            let mut chunk = file.take(len as u64);
            self.chunk(id, len, |buffer| chunk.read_to_end(buffer).map(drop))?;
            left -= len as u64;
        }
        // The file may have grown. Send what it has now, as fsutil's sender does, but do not race against a program that appends all
        // the time. If the size has not changed, anything that there is beyond it is sent: some file systems report wrong sizes.
        let now = FileState::of(file).map_err(|source| self.failed("read", source))?;
        let mut room = match u64::try_from(now.size.saturating_sub(before.size)) {
            Ok(0) | Err(_) => u64::MAX,
            Ok(more) => more,
        };
        let mut grown = Vec::new();
        loop {
            grown.clear();
            let mut rest = file.take(room.min(CHUNK as u64));
            rest.read_to_end(&mut grown)
                .map_err(|source| self.failed("read", source))?;
            if grown.is_empty() {
                break;
            }
            room -= grown.len() as u64;
            let more = std::mem::take(&mut grown);
            self.chunk(id, more.len(), |buffer| {
                buffer.extend_from_slice(&more);
                Ok(())
            })?;
            grown = more;
        }
        Ok(size)
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
