//! Connects to a buildkitd in a container, through the standard streams of `buildctl dial-stdio`, which the Engine
//! runs in the container.
//!
//! The Engine sends both output streams of the command on one connection, in frames; bytes that we write go to the
//! command's input as they are. Standard output is the daemon's stream. Standard error is kept for messages. Start at
//! [`dial`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::docker::dial_error;
use super::{DialError, Dialled, Remarks};
use crate::engine::docker::{Docker, http};
use crate::engine::endpoint::DockerHost;

/// The most that is read from the Engine at once, in bytes.
const READ_SIZE: usize = 64 << 10;
/// The length of a frame's head: the stream's number, three zero bytes, and the length of the payload.
const HEAD: usize = 8;

pub(super) async fn dial(container: &str, host: &DockerHost) -> Result<Dialled, DialError> {
    let fail = |error| dial_error(host, error);
    let docker = Docker::connect(host).await.map_err(fail)?;
    let exec = docker
        .prepare_exec(container, &["buildctl", "dial-stdio"])
        .await
        .map_err(fail)?;
    let body = bytes::Bytes::from_static(br#"{"Detach":false,"Tty":false}"#);
    let upgraded = http::upgrade(host, &format!("/exec/{exec}/start"), "tcp", body)
        .await
        .map_err(fail)?;
    let remarks = Remarks::default();
    Ok(Dialled {
        stream: Box::new(Unframed::new(TokioIo::new(upgraded), remarks.clone())),
        authority: "localhost".to_owned(),
        remarks: Some(remarks),
    })
}

/// Reads the standard output out of a stream of frames; writes are passed on unchanged.
///
/// Holds at most one read's worth of bytes, whatever lengths the frames claim.
struct Unframed<S> {
    inner: S,
    buffer: BytesMut,
    frame: Frame,
    remarks: Remarks,
}

/// What comes next in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    /// The head of a frame is next.
    Head,
    /// This many bytes of standard output are next.
    Output(usize),
    /// This many bytes of standard error are next.
    Remark(usize),
}

impl<S> Unframed<S> {
    fn new(inner: S, remarks: Remarks) -> Self {
        Self {
            inner,
            buffer: BytesMut::new(),
            frame: Frame::Head,
            remarks,
        }
    }

    /// Reads buffered frames up to the next output. Returns `false` if more bytes must be read first.
    fn advance(&mut self) -> io::Result<bool> {
        loop {
            match self.frame {
                Frame::Head | Frame::Output(0) | Frame::Remark(0) => {
                    if self.buffer.len() < HEAD {
                        self.frame = Frame::Head;
                        return Ok(false);
                    }
                    let stream = self.buffer[0];
                    let zeros = [self.buffer[1], self.buffer[2], self.buffer[3]];
                    self.buffer.advance(4);
                    let length = self.buffer.get_u32() as usize;
                    self.frame = match (stream, zeros) {
                        (0 | 1, [0, 0, 0]) => Frame::Output(length),
                        (2, [0, 0, 0]) => Frame::Remark(length),
                        _ => {
                            return Err(io::Error::new(
                                io::ErrorKind::InvalidData,
                                "the Docker Engine sent a frame of an unknown stream",
                            ));
                        }
                    };
                }
                Frame::Output(_) => return Ok(!self.buffer.is_empty()),
                Frame::Remark(left) => {
                    if self.buffer.is_empty() {
                        return Ok(false);
                    }
                    let text = self.buffer.split_to(left.min(self.buffer.len()));
                    self.remarks.push(&String::from_utf8_lossy(&text));
                    self.frame = Frame::Remark(left - text.len());
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unframed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.advance()?
                && let Frame::Output(left) = this.frame
            {
                let size = left.min(this.buffer.len()).min(out.remaining());
                out.put_slice(&this.buffer.split_to(size));
                this.frame = Frame::Output(left - size);
                return Poll::Ready(Ok(()));
            }
            let held = this.buffer.len();
            this.buffer.resize(held + READ_SIZE, 0);
            let mut space = ReadBuf::new(&mut this.buffer[held..]);
            let polled = Pin::new(&mut this.inner).poll_read(cx, &mut space);
            let read = space.filled().len();
            this.buffer.truncate(held + read);
            ready!(polled)?;
            if read == 0 {
                return if held == 0 && this.frame == Frame::Head {
                    Poll::Ready(Ok(()))
                } else {
                    Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()))
                };
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unframed<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn frame(stream: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![stream, 0, 0, 0];
        bytes.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    // Reads all of `bytes`, which arrive in pieces of `piece` bytes.
    async fn read(bytes: Vec<u8>, piece: usize) -> (io::Result<Vec<u8>>, String) {
        let (near, mut far) = tokio::io::duplex(piece);
        let write = tokio::spawn(async move {
            // The reader may close before everything is written.
            let _ = far.write_all(&bytes).await;
        });
        let remarks = Remarks::default();
        let mut stream = Unframed::new(near, remarks.clone());
        let mut all = Vec::new();
        let result = stream.read_to_end(&mut all).await;
        drop(stream);
        write.await.unwrap();
        (result.map(|_| all), remarks.text())
    }

    #[tokio::test]
    async fn standard_output_is_read_and_standard_error_is_kept() {
        let mut bytes = frame(1, b"PRI ");
        bytes.extend(frame(2, b"cannot dial\n"));
        bytes.extend(frame(1, b""));
        bytes.extend(frame(1, b"* HTTP"));
        let (output, remarks) = read(bytes, 3).await;
        assert_eq!(output.unwrap(), b"PRI * HTTP");
        assert_eq!(remarks, "cannot dial");
    }

    #[tokio::test]
    async fn truncated_and_unknown_frames_are_errors() {
        let mut cut = frame(1, b"half");
        cut.truncate(9);
        let (output, _) = read(cut, 64).await;
        assert_eq!(output.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let (output, _) = read(b"HTTP/1.1 500 oops".to_vec(), 64).await;
        assert_eq!(output.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_frame_that_announces_gigabytes_takes_no_memory() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        far.write_all(&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff])
            .await
            .unwrap();
        far.write_all(&[7; 100]).await.unwrap();
        let mut stream = Unframed::new(near, Remarks::default());
        let mut out = [0; 100];
        stream.read_exact(&mut out).await.unwrap();
        assert_eq!(out, [7; 100]);
        assert!(stream.buffer.capacity() <= 4 * READ_SIZE);
    }

    proptest! {
        #[test]
        fn frames_may_be_split_anywhere(
            frames in proptest::collection::vec((1u8..=2, proptest::collection::vec(any::<u8>(), 0..40)), 0..12),
            piece in 1usize..50,
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(s, p)| frame(*s, p)).collect();
            let output: Vec<u8> = frames.iter().filter(|(s, _)| *s == 1).flat_map(|(_, p)| p.clone()).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (read, _) = runtime.block_on(read(bytes, piece));
            prop_assert_eq!(read.unwrap(), output);
        }
    }
}
