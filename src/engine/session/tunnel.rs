//! The byte stream inside `Control.Session`. It consists of messages in both directions, whose boundaries have no
//! meaning.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use rbake_proto::control::BytesMessage;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

use super::frames::Frames;

/// The most bytes in one message: enough for a frame of a transfer, and far below every limit on messages.
const CHUNK: usize = 256 << 10;
/// The most messages that wait in each direction. With [`CHUNK`], this limits the memory of a session.
pub(super) const DEPTH: usize = 8;

/// Our end of the byte stream. Dropping it or shutting it down ends the stream to the daemon.
pub(super) struct Tunnel {
    inbound: mpsc::Receiver<Bytes>,
    current: Bytes,
    frames: Frames,
    /// Whether the next read must return `Pending`, so that the reader first processes what it has.
    yields: bool,
    outbound: PollSender<BytesMessage>,
}

impl Tunnel {
    /// A stream that reads from `inbound` and writes to `outbound`.
    pub(super) fn new(
        inbound: mpsc::Receiver<Bytes>,
        outbound: mpsc::Sender<BytesMessage>,
    ) -> Self {
        Self {
            inbound,
            current: Bytes::new(),
            frames: Frames::new(),
            yields: false,
            outbound: PollSender::new(outbound),
        }
    }

    /// Waits for room for one more message.
    fn reserve(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbound
            .poll_reserve(cx)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Sends one message, for which room was reserved.
    fn send(&mut self, data: Vec<u8>) -> io::Result<usize> {
        let count = data.len();
        let message = BytesMessage { data: data.into() };
        match self.outbound.send_item(message) {
            Ok(()) => Ok(count),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Return `Pending` once after each header block, so that the reader handles it before it reads on.
        if std::mem::take(&mut self.yields) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        while self.current.is_empty() {
            match ready!(self.inbound.poll_recv(cx)) {
                Some(data) => self.current = data,
                None => return Poll::Ready(Ok(())),
            }
        }
        let this = &mut *self;
        let count = this.current.len().min(into.remaining());
        let (count, ends_block) = this.frames.pass(&this.current[..count])?;
        this.yields = ends_block;
        into.put_slice(&this.current[..count]);
        this.current.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.reserve(cx))?;
        let data = data[..data.len().min(CHUNK)].to_vec();
        Poll::Ready(self.send(data))
    }

    // The head and the body of a frame come as two slices; send them in one message.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        if total == 0 {
            return Poll::Ready(Ok(0));
        }
        ready!(self.reserve(cx))?;
        let mut data = Vec::with_capacity(total.min(CHUNK));
        for slice in slices {
            let room = CHUNK - data.len();
            data.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        Poll::Ready(self.send(data))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbound.close();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn tunnel() -> (mpsc::Sender<Bytes>, Tunnel, mpsc::Receiver<BytesMessage>) {
        let (to_us, inbound) = mpsc::channel(DEPTH);
        let (outbound, from_us) = mpsc::channel(DEPTH);
        (to_us, Tunnel::new(inbound, outbound), from_us)
    }

    proptest! {
        #[test]
        fn boundaries_between_messages_do_not_matter(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20),
        ) {
            let all: Vec<u8> = pieces.concat();
            let read = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async move {
                let (to_us, mut tunnel, _from_us) = tunnel();
                tokio::spawn(async move {
                    for piece in pieces {
                        to_us.send(piece.into()).await.unwrap();
                    }
                });
                let mut read = Vec::new();
                tunnel.read_to_end(&mut read).await.unwrap();
                read
            });
            prop_assert_eq!(read, all);
        }
    }

    // The HTTP/2 library passes calls on only when a read returns `Pending`.
    #[tokio::test]
    async fn reading_stops_after_each_block_of_headers() {
        let (to_us, mut tunnel, _from_us) = tunnel();
        let mut data = vec![0; 24];
        for stream in [1, 3] {
            data.extend([0, 0, 2, 1, 4, 0, 0, 0, stream, b'h', b'h']);
        }
        to_us.send(data.into()).await.unwrap();
        let mut buffer = [0; 100];
        for expected in [24 + 11, 11] {
            let read = tunnel.read(&mut buffer);
            assert_eq!(
                futures_util::poll!(std::pin::pin!(read)).map(Result::unwrap),
                Poll::Ready(expected)
            );
            let read = tunnel.read(&mut buffer);
            assert!(futures_util::poll!(std::pin::pin!(read)).is_pending());
        }
        // Headers after the content of a call.
        to_us
            .send(vec![0, 0, 2, 1, 4, 0, 0, 0, 3, b'h', b'h'].into())
            .await
            .unwrap();
        let error = tunnel.read(&mut buffer).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn large_writes_are_split_and_nothing_is_lost() {
        let (_to_us, mut tunnel, mut from_us) = tunnel();
        let data: Vec<u8> = (0..=250).cycle().take(CHUNK * 3 + 7).collect();
        let expected = data.clone();
        let writer = tokio::spawn(async move {
            tunnel.write_all(&data).await.unwrap();
            tunnel.shutdown().await.unwrap();
            tunnel
        });
        let mut read = Vec::new();
        while let Some(message) = from_us.recv().await {
            assert!(message.data.len() <= CHUNK);
            read.extend_from_slice(&message.data);
        }
        assert!(read == expected);
        drop(writer.await);
    }

    #[tokio::test]
    async fn slices_are_joined_into_one_message() {
        let (_to_us, mut tunnel, mut from_us) = tunnel();
        let slices = [io::IoSlice::new(b"head"), io::IoSlice::new(b"body")];
        assert_eq!(tunnel.write_vectored(&slices).await.unwrap(), 8);
        assert_eq!(from_us.recv().await.unwrap().data, "headbody");
    }

    #[tokio::test]
    async fn writing_waits_for_the_reader() {
        let (_to_us, mut tunnel, mut from_us) = tunnel();
        for _ in 0..DEPTH {
            tunnel.write_all(b"x").await.unwrap();
        }
        let mut blocked = std::pin::pin!(tunnel.write_all(b"y"));
        assert!(futures_util::poll!(&mut blocked).is_pending());
        from_us.recv().await.unwrap();
        blocked.await.unwrap();
    }

    #[tokio::test]
    async fn writing_fails_after_the_other_end_has_closed() {
        let (_to_us, mut tunnel, from_us) = tunnel();
        drop(from_us);
        let error = tunnel.write_all(b"x").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
