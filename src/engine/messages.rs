//! Receives the messages that the daemon sends in one call, and keeps no more than the unfinished part of one.
//!
//! The buffer of tonic's streams grows to their largest message, and stays so large while the call lasts. Each target has a stream of
//! its progress; with the output of steps in them, its messages have tens of kilobytes.
//!
//! The form of calls is specified in gRPC's `doc/PROTOCOL-HTTP2.md`.

use std::marker::PhantomData;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderValue, TE};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use prost::Message;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service as _;

use super::connection::{GrpcChannel, MESSAGE_LIMIT, status_of};

/// What comes before each message: a byte that says whether it is compressed, and its size.
const PREFIX: usize = 1 + size_of::<u32>();

/// The messages of type `T` that answer one call. Dropping it ends the call.
#[derive(Debug)]
pub(super) struct Messages<T, B = Incoming> {
    /// `None` after the end.
    body: Option<B>,
    unread: BytesMut,
    message: PhantomData<fn() -> T>,
}

impl<T: Message + Default> Messages<T> {
    /// Calls the method `path` with `request`.
    ///
    /// # Errors
    /// The connection failed, or the daemon refused the call.
    pub(super) async fn call(
        mut channel: GrpcChannel,
        path: &'static str,
        request: &impl Message,
    ) -> Result<Self, Status> {
        let mut call = http::Request::new(Body::new(Full::new(framed(request)?)));
        *call.method_mut() = http::Method::POST;
        *call.uri_mut() = http::Uri::from_static(path);
        let headers = call.headers_mut();
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let answer = channel.call(call).await.map_err(Status::from_error)?;
        let body = match Status::from_header_map(answer.headers()) {
            // The call has ended without a message, and this is its end.
            Some(status) => ended(status).map(|()| None)?,
            None if answer.status() == http::StatusCode::OK => Some(answer.into_body()),
            None => {
                let refusal = format!("the daemon answered with HTTP {}", answer.status());
                return Err(Status::unknown(refusal));
            }
        };
        Ok(Self::of(body))
    }
}

impl<T, B> Messages<T, B>
where
    T: Message + Default,
    B: hyper::body::Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    fn of(body: Option<B>) -> Self {
        Self {
            body,
            unread: BytesMut::new(),
            message: PhantomData,
        }
    }

    /// Returns the next message. `None` if the call has ended. If the future is dropped, no message is lost.
    ///
    /// # Errors
    /// The call failed. It has ended then.
    pub(super) async fn next(&mut self) -> Result<Option<T>, Status> {
        let next = self.try_next().await;
        if !matches!(next, Ok(Some(_))) {
            self.body = None;
        }
        next
    }

    async fn try_next(&mut self) -> Result<Option<T>, Status> {
        loop {
            if let Some(message) = self.take()? {
                return T::decode(message)
                    .map(Some)
                    .map_err(|error| Status::internal(format!("a message is invalid: {error}")));
            }
            let Some(body) = &mut self.body else {
                return Ok(None);
            };
            let Some(frame) = body.frame().await else {
                // Without a status at its end, as with one.
                return self.complete();
            };
            match frame.map_err(status_of)?.into_data() {
                Ok(data) => self.unread.extend_from_slice(&data),
                Err(frame) => {
                    let trailers = frame.into_trailers().ok();
                    let status = trailers.as_ref().and_then(Status::from_header_map);
                    status.map_or(Ok(()), ended)?;
                    return self.complete();
                }
            }
        }
    }

    /// Takes a message out of what was received. `None` if there is no whole one.
    fn take(&mut self) -> Result<Option<Bytes>, Status> {
        let Some((compressed, mut size)) = self.unread.split_at_checked(1) else {
            return Ok(None);
        };
        // No call of ours says that it could read them.
        if compressed != [0] {
            return Err(Status::internal("the daemon sent a compressed message"));
        }
        let Ok(size) = size.try_get_u32() else {
            return Ok(None);
        };
        // Memory is reserved only for what has arrived, whatever size the daemon names.
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > MESSAGE_LIMIT {
            return Err(Status::out_of_range(format!(
                "the daemon sent a message of {size} bytes, at most {MESSAGE_LIMIT} are allowed"
            )));
        }
        if self.unread.len() < PREFIX + size {
            return Ok(None);
        }
        self.unread.advance(PREFIX);
        let message = self.unread.split_to(size).freeze();
        if self.unread.is_empty() {
            // The message has the memory now.
            self.unread = BytesMut::new();
        }
        Ok(Some(message))
    }

    fn complete(&self) -> Result<Option<T>, Status> {
        if self.unread.is_empty() {
            Ok(None)
        } else {
            Err(Status::internal("the daemon ended a call within a message"))
        }
    }
}

fn framed(request: &impl Message) -> Result<Bytes, Status> {
    let size = request.encoded_len();
    let named =
        u32::try_from(size).map_err(|_| Status::out_of_range("the request is too large"))?;
    let mut framed = BytesMut::with_capacity(PREFIX + size);
    framed.put_u8(0);
    framed.put_u32(named);
    let encoded = request.encode(&mut framed);
    encoded.map_err(|error| Status::internal(error.to_string()))?;
    Ok(framed.freeze())
}

fn ended(status: Status) -> Result<(), Status> {
    match status.code() {
        Code::Ok => Ok(()),
        _ => Err(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use http::HeaderMap;
    use http_body_util::StreamBody;
    use hyper::body::{Body as _, Frame};
    use proptest::prelude::*;
    use rbake_proto::control::{StatusResponse, VertexLog};

    type Answer = Messages<StatusResponse, Frames>;
    type Frames = StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, hyper::Error>>>>;

    /// An answer of `data`, of which each piece arrives by itself, with `trailers` if there are any.
    fn answer(data: Vec<Bytes>, trailers: Option<HeaderMap>) -> Answer {
        let data = data.into_iter().map(|data| Ok(Frame::data(data)));
        let trailers = trailers.map(|trailers| Ok(Frame::trailers(trailers)));
        let frames: Vec<_> = data.chain(trailers).collect();
        let frames = StreamBody::new(stream::iter(frames));
        assert!(!frames.is_end_stream());
        Messages::of(Some(frames))
    }

    fn trailers(code: Code, message: &'static str) -> HeaderMap {
        Status::new(code, message)
            .into_http::<Body>()
            .headers()
            .clone()
    }

    fn status(output: &[u8]) -> StatusResponse {
        StatusResponse {
            logs: vec![VertexLog {
                msg: Bytes::copy_from_slice(output),
                ..VertexLog::default()
            }],
            ..StatusResponse::default()
        }
    }

    async fn all(mut answer: Answer) -> (Vec<StatusResponse>, Option<Status>) {
        let mut messages = Vec::new();
        loop {
            match answer.next().await {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => return (messages, None),
                Err(status) => return (messages, Some(status)),
            }
        }
    }

    fn wait<T>(future: impl Future<Output = T>) -> T {
        futures_util::FutureExt::now_or_never(future).unwrap()
    }

    proptest! {
        #[test]
        fn messages_arrive_in_pieces(
            outputs in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..6),
            cuts in prop::collection::vec(1usize..100, 1..20),
            failed in any::<bool>(),
        ) {
            let sent: Vec<_> = outputs.iter().map(|output| status(output)).collect();
            let mut bytes = BytesMut::new();
            for message in &sent {
                bytes.extend_from_slice(&framed(message).unwrap());
            }
            let mut pieces = Vec::new();
            for cut in cuts.iter().cycle() {
                if bytes.is_empty() {
                    break;
                }
                pieces.push(bytes.split_to((*cut).min(bytes.len())).freeze());
            }
            let code = if failed { Code::Unavailable } else { Code::Ok };
            let (received, end) = wait(all(answer(pieces, Some(trailers(code, "bye")))));
            prop_assert_eq!(received, sent);
            prop_assert_eq!(end.map(|end| end.code()), failed.then_some(code));
        }

        #[test]
        fn whatever_a_daemon_sends_ends(data in prop::collection::vec(any::<u8>(), 0..60)) {
            wait(all(answer(vec![data.into()], None)));
        }
    }

    #[test]
    fn the_memory_of_a_message_goes_with_it() {
        let mut large = framed(&status(&b"x".repeat(100_000))).unwrap();
        // The buffer grows while the message arrives, and then has room to spare.
        let first = large.split_to(60_000);
        let mut answer = answer(vec![first, large], None);
        let message = wait(answer.next()).unwrap().unwrap();
        assert_eq!(message.logs[0].msg.len(), 100_000);
        assert_eq!(answer.unread.capacity(), 0);
        assert_eq!(wait(answer.next()).unwrap(), None);
        assert_eq!(wait(answer.next()).unwrap(), None);
    }

    #[test]
    fn a_message_that_is_too_large_is_refused_before_it_arrives() {
        let named = u32::try_from(MESSAGE_LIMIT + 1).unwrap().to_be_bytes();
        let mut answer = answer(vec![Bytes::from([&[0], &named[..]].concat())], None);
        let status = wait(answer.next()).unwrap_err();
        assert_eq!(status.code(), Code::OutOfRange);
        assert!(answer.unread.capacity() < 1024);
    }

    #[test]
    fn an_end_within_a_message_is_an_error() {
        let mut whole = framed(&status(b"text")).unwrap();
        let cut = whole.split_to(8);
        let (messages, end) = wait(all(answer(vec![cut], Some(trailers(Code::Ok, "")))));
        assert!(messages.is_empty());
        assert_eq!(end.unwrap().code(), Code::Internal);
    }

    #[test]
    fn compressed_messages_are_refused() {
        let compressed = Bytes::from_static(&[1, 0, 0, 0, 0]);
        let (_, end) = wait(all(answer(vec![compressed], None)));
        assert_eq!(end.unwrap().code(), Code::Internal);
    }
}
