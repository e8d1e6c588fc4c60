//! The body of an answer: buffers full of messages, then the status.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;
use tonic::Status;

use super::transfer::TransferEnd;

/// One part of an answer.
#[derive(Debug)]
pub(super) enum Part {
    /// Complete messages, each with its gRPC prefix.
    Messages(Bytes),
    /// The final status.
    Status(Status),
}

/// The body of an answer. If the daemon cancels its call, the body is dropped, and that ends the transfer.
pub(super) struct TransferBody {
    parts: mpsc::Receiver<Part>,
    ended: bool,
    _transfer: TransferEnd,
}

impl TransferBody {
    pub(super) fn new(parts: mpsc::Receiver<Part>, transfer: TransferEnd) -> Self {
        Self {
            parts,
            ended: false,
            _transfer: transfer,
        }
    }
}

impl Body for TransferBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let status = match std::task::ready!(self.parts.poll_recv(cx)) {
            Some(Part::Messages(messages)) => {
                return Poll::Ready(Some(Ok(Frame::data(messages))));
            }
            Some(Part::Status(status)) => status,
            None => Status::internal("the transfer ended without a status"),
        };
        self.ended = true;
        let mut trailers = http::HeaderMap::new();
        Poll::Ready(Some(
            status
                .add_header(&mut trailers)
                .map(|()| Frame::trailers(trailers)),
        ))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}
