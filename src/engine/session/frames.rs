//! Where the header blocks are in what the daemon sends: HTTP/2 (RFC 9113), no further than the nine bytes before each frame.
//!
//! Header blocks are not subject to flow control. The library takes all that has come before it hands on the first call, so
//! what is read must stop after each block, for [`super::headers`] to count it.

use std::io;

/// What an HTTP/2 client says first.
const PREFACE: usize = 24;
/// Bytes before each frame.
const HEAD: usize = 9;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The place in the stream, from its beginning on.
#[derive(Debug)]
pub(super) struct Frames {
    // Bytes that are none of a frame's head.
    skip: usize,
    head: [u8; HEAD],
    filled: usize,
    // Whether a header block ends with the bytes to skip.
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

    /// Goes through `data`, which comes next. Returns how much of it may be read now, and whether a header block ends there.
    ///
    /// # Errors
    /// If a call has headers after its content: they would be kept uncounted until somebody asks for them, and no gRPC client
    /// sends such.
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

    fn begin_frame(&mut self) -> io::Result<()> {
        let [a, b, c, kind, flags, id @ ..] = self.head;
        self.filled = 0;
        self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
        // The first bit means nothing.
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

    // The places at which a block ends, when `data` comes in pieces of `size`.
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
        fn blocks_end_where_their_last_frame_does(size in 1..70usize, lengths in prop::collection::vec(0..60usize, 1..6)) {
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
