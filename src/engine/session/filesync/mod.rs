//! The service from which the daemon gets directories: build contexts and Dockerfiles.
//!
//! The daemon names a directory and a filter, and starts an exchange of packets (`tonistiigi/fsutil`): we list the
//! entries, it requests the content of those that it does not have, and we send it. A generated gRPC server would
//! send each packet as a message with its own buffer; here answers are encoded by hand, many packets to a buffer.
//! This module knows nothing of targets. Start at [`FileSync`]; [`transfer`] is one exchange.

mod body;
mod progress;
mod queue;
mod reader;
mod request;
mod source;
mod table;
mod transfer;
mod verify;
mod wire;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::future::{Ready, ready};
use http::{HeaderMap, HeaderValue, Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::codec::{Codec as _, Streaming};
use tonic::server::NamedService;

pub use progress::{ChangedFiles, TransferState, TransferSummary};

pub(crate) use progress::TransferFailure;
pub(crate) use source::LocalSource;
pub use source::ServedDirectory;

use super::{Attachable, SessionServices};
use crate::context::SentRecords;
use crate::engine::connection::QUESTION_LIMIT;
use crate::event::EventSink;
use progress::{FailureSlot, TransferRecord};
use request::TransferRequest;

/// The most transfers of one session. A summary of each is kept until the session ends.
const TRANSFERS: usize = 16 * 1024;

const DIFF_COPY: &str = "/moby.filesync.v1.FileSync/DiffCopy";

/// How directories are transferred.
#[derive(Debug, Clone, Default)]
pub(crate) struct TransferRules {
    /// Whether content is compressed if the daemon supports it. This is for daemons that are reached through a network; on the same
    /// machine it costs more time than it saves.
    pub(crate) compress: bool,
    /// What this machine has sent before. `None` if everything is listed as it is.
    pub(crate) sent: Option<Arc<SentRecords>>,
    /// Whether the contents of files decide if the daemon asks for them (`--verify-context`).
    pub(crate) verifies: bool,
}

/// Serves directories to the daemon, and records what was transferred.
///
/// Clones share their state.
#[derive(Clone)]
pub struct FileSync(Arc<Inner>);

struct Inner {
    locals: Vec<ServedDirectory>,
    sink: EventSink,
    rules: TransferRules,
    records: Mutex<Vec<Arc<TransferRecord>>>,
    failures: Arc<FailureSlot>,
}

impl FileSync {
    /// A service for `locals` that sends the progress of transfers to `sink`.
    pub fn new(locals: Vec<ServedDirectory>, sink: EventSink) -> Self {
        Self::with_rules(locals, sink, TransferRules::default())
    }

    /// The same, with rules for the transfers.
    pub(crate) fn with_rules(
        locals: Vec<ServedDirectory>,
        sink: EventSink,
        rules: TransferRules,
    ) -> Self {
        Self(Arc::new(Inner {
            locals,
            sink,
            rules,
            records: Mutex::default(),
            failures: Arc::default(),
        }))
    }

    /// A service for the directories of all `services`, which reports no progress. `None` if a name means two
    /// directories.
    pub(crate) fn together<'s>(services: impl IntoIterator<Item = &'s Self>) -> Option<Self> {
        let mut locals: Vec<ServedDirectory> = Vec::new();
        let mut rules = TransferRules::default();
        for service in services {
            rules = service.0.rules.clone();
            for local in &service.0.locals {
                match locals.iter().find(|known| known.name == local.name) {
                    None => locals.push(local.clone()),
                    Some(known) if known == local => {}
                    Some(_) => return None,
                }
            }
        }
        Some(Self::with_rules(locals, EventSink::none(), rules))
    }

    /// The transfers so far, in the order in which the daemon requested them.
    pub fn transfers(&self) -> Vec<TransferSummary> {
        let records = self
            .0
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        records.iter().map(|record| record.summary()).collect()
    }

    /// The files that changed during the transfers so far, by directory.
    pub(crate) fn changed(&self) -> Vec<(PathBuf, ChangedFiles)> {
        let records = self
            .0
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        records
            .iter()
            .filter_map(|record| record.changes())
            .collect()
    }

    /// The first transfer that failed on this side, if any.
    pub fn failure(&self) -> Option<TransferFailure> {
        self.0.failures.get()
    }

    /// Completes when a transfer fails on this side. Never completes if none does.
    pub fn failed(&self) -> impl Future<Output = TransferFailure> + Send + use<> {
        self.0.failures.wait()
    }

    /// Handles a call: finds the directory that its headers name, and starts the transfer.
    fn answer(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        if request.uri().path() != DIFF_COPY {
            return Err(Status::unimplemented("only DiffCopy is supported"));
        }
        let wanted = TransferRequest::read(request.headers())?;
        let inner = &self.0;
        let local = inner
            .locals
            .iter()
            .find(|local| local.name == wanted.local)
            .ok_or_else(|| {
                Status::not_found(format!("there is no directory named `{}`", wanted.local))
            })?;
        let mut records = inner.records.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() >= TRANSFERS {
            return Err(Status::resource_exhausted(format!(
                "one session serves at most {TRANSFERS} transfers"
            )));
        }
        let compress = inner.rules.compress && accepts_gzip(request.headers());
        let record = Arc::new(TransferRecord::new(
            &local.name,
            local.shown_path().to_owned(),
            &wanted.filter.follow,
        ));
        records.push(Arc::clone(&record));
        drop(records);
        let decoder =
            tonic_prost::ProstCodec::<rbake_proto::packet::Packet, _>::default().decoder();
        let answer = transfer::start(transfer::TransferPlan {
            source: local.source.clone(),
            filter: wanted.filter,
            record,
            compress,
            rules: inner.rules.clone(),
            requests: Streaming::new_request(
                decoder,
                request.into_body(),
                None,
                Some(QUESTION_LIMIT),
            ),
            sink: inner.sink.clone(),
            failures: Arc::clone(&inner.failures),
        });
        let mut response = Response::new(Body::new(answer));
        let headers = response.headers_mut();
        headers.insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/grpc"),
        );
        if compress {
            headers.insert("grpc-encoding", HeaderValue::from_static("gzip"));
        }
        Ok(response)
    }
}

/// Whether the daemon accepts messages that are compressed with gzip.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all("grpc-accept-encoding")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|name| name.trim() == "gzip"))
}

impl std::fmt::Debug for FileSync {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FileSync").field(&self.0.locals).finish()
    }
}

impl NamedService for FileSync {
    const NAME: &'static str = "moby.filesync.v1.FileSync";
}

impl tower::Service<Request<Body>> for FileSync {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.answer(request).unwrap_or_else(|status| {
            tracing::debug!(code = ?status.code(), "transfer refused");
            status.into_http()
        });
        ready(Ok(answer))
    }
}

impl Attachable for FileSync {
    fn methods(&self) -> &[&'static str] {
        &[DIFF_COPY]
    }

    fn mount(&self, services: &mut SessionServices) {
        services.add(self.clone());
    }
}

#[cfg(test)]
mod tests;
