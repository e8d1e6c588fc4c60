//! Finds the ends of header blocks in the HTTP/2 stream from the daemon (RFC 9113). It reads only the nine bytes
//! before each frame.
//!
//! Header blocks are not subject to flow control, and the HTTP/2 library reads everything that has arrived before it
//! passes on the first call. So reading must pause after each block, for [`super::headers`] to count the block before
//! more arrives.

use std::io;

/// The length of the preface, which an HTTP/2 client sends first.
const PREFACE: usize = 24;
/// The length of a frame's head.
const HEAD: usize = 9;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The position in the stream, starting at its beginning.
#[derive(Debug)]
pub(super) struct Frames {
    /// How many bytes to skip until the next frame's head.
    skip: usize,
    head: [u8; HEAD],
    filled: usize,
    /// Whether a header block ends after the bytes to skip.
    ends_block: bool,
    last_stream: u32,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self {
            skip: PREFACE,
            head: [0; HEAD],
            filled: 0,
            ends_block: false,
            last_stream: 0,
        }
    }

    /// Processes `data`, the next bytes of the stream. Returns how many of them may be read now, and whether a header
    /// block ends there.
    ///
    /// # Errors
    /// If a call sends headers after its content. gRPC clients never do so, and such headers would be kept without
    /// being counted.
    pub(super) fn pass(&mut self, data: &[u8]) -> io::Result<(usize, bool)> {
        let mut at = 0;
        while at < data.len() {
            if self.skip == 0 && self.filled < HEAD {
                self.head[self.filled] = data[at];
                self.filled += 1;
                at += 1;
                if self.filled == HEAD {
                    self.begin_frame()?;
                }
            } else {
                let step = self.skip.min(data.len() - at);
                self.skip -= step;
                at += step;
            }
            if self.skip == 0 && std::mem::take(&mut self.ends_block) {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    /// Reads a complete frame head.
    fn begin_frame(&mut self) -> io::Result<()> {
        let [a, b, c, kind, flags, id @ ..] = self.head;
        self.filled = 0;
        self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
        // The first bit is reserved.
        let stream = u32::from_be_bytes(id) & (u32::MAX >> 1);
        if kind == HEADERS {
            if stream <= self.last_stream {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the builder sent headers after the content of a call",
                ));
            }
            self.last_stream = stream;
        }
        self.ends_block = matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS != 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, flags: u8, stream: u32, length: usize) -> Vec<u8> {
        let mut frame = u32::try_from(length).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.resize(HEAD + length, 0);
        frame
    }

    fn preface() -> Vec<u8> {
        vec![0; PREFACE]
    }

    // Returns the positions at which blocks end, if `data` arrives in pieces of `size` bytes.
    fn ends(data: &[u8], size: usize) -> io::Result<Vec<usize>> {
        let mut frames = Frames::new();
        let mut ends = Vec::new();
        let mut done = 0;
        for piece in data.chunks(size) {
            let mut rest = piece;
            while !rest.is_empty() {
                let (count, end) = frames.pass(rest)?;
                done += count;
                rest = &rest[count..];
                if end {
                    ends.push(done);
                }
            }
        }
        assert_eq!(done, data.len());
        Ok(ends)
    }

    proptest! {
        #[test]
        fn header_blocks_end_with_their_last_frame(size in 1..70usize, lengths in prop::collection::vec(0..60usize, 1..6)) {
            let mut data = preface();
            let mut expected = Vec::new();
            for (stream, length) in (1..).step_by(2).zip(lengths) {
                data.extend(frame(4, 0, 0, 6));
                data.extend(frame(HEADERS, 0, stream, length));
                data.extend(frame(CONTINUATION, END_HEADERS, stream, length));
                expected.push(data.len());
                data.extend(frame(0, END_HEADERS, stream, length));
            }
            prop_assert_eq!(ends(&data, size).unwrap(), expected);
        }
    }

    #[test]
    fn headers_after_the_content_are_refused() {
        let mut data = preface();
        data.extend(frame(HEADERS, END_HEADERS, 3, 5));
        data.extend(frame(HEADERS, END_HEADERS, 5, 5));
        assert_eq!(ends(&data, 1000).unwrap().len(), 2);
        data.extend(frame(HEADERS, END_HEADERS, 3, 5));
        assert!(ends(&data, 1000).is_err());
    }
}
