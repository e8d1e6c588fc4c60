//! A stream that counts its bytes and that can be broken from outside.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

/// The number of bytes that went through a connection, with all framing, before encryption.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes sent to the daemon.
    pub sent: u64,
    /// Bytes received from the daemon.
    pub received: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Counters {
    pub(super) fn add_sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn add_received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Traffic {
        Traffic {
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
        }
    }
}

/// A stream that counts its bytes, and that fails as soon as its token is cancelled.
///
/// hyper drives a connection in a separate task that outlives everything a caller holds, so the stream is the only
/// place from which the connection can be ended.
pub(super) struct CountedStream<S> {
    stream: S,
    counters: Arc<Counters>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _gone: DropGuard,
}

impl<S> CountedStream<S> {
    /// Wraps `stream`. Reads fail as soon as `cut` is cancelled; `gone` is cancelled when this stream is dropped.
    pub(super) fn new(
        stream: S,
        counters: Arc<Counters>,
        cut: CancellationToken,
        gone: CancellationToken,
    ) -> Self {
        Self {
            stream,
            counters,
            cut: Box::pin(cut.cancelled_owned()),
            _gone: gone.drop_guard(),
        }
    }

    fn sent(&self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(count)) = result {
            self.counters.add_sent(*count as u64);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CountedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = into.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, into);
        let count = into.filled().len().saturating_sub(before);
        self.counters.add_received(count as u64);
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CountedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, data);
        self.sent(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, data);
        self.sent(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn bytes_are_counted_in_both_directions() {
        let (near, mut far) = tokio::io::duplex(64);
        let counters = Arc::new(Counters::default());
        let (cut, gone) = (CancellationToken::new(), CancellationToken::new());
        let mut near = CountedStream::new(near, Arc::clone(&counters), cut.clone(), gone.clone());
        near.write_all(b"12345").await.unwrap();
        far.write_all(b"123").await.unwrap();
        near.read_exact(&mut [0; 3]).await.unwrap();
        assert_eq!(
            counters.read(),
            Traffic {
                sent: 5,
                received: 3
            }
        );
        cut.cancel();
        let error = near.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        assert!(!gone.is_cancelled());
        drop(near);
        assert!(gone.is_cancelled());
    }
}
