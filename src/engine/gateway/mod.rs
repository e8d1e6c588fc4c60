//! Solves through the gateway: the daemon creates a job and waits, while rbake calls the frontend and returns its
//! result.
//!
//! Linked targets need this, because the result of one is the input of another while both jobs are alive; the query
//! for capabilities needs it, too. Every such job must be given a result or an error, or it waits forever.

mod cut;
mod empty;
mod files;
mod joined;
mod union;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use prost::Message as _;
use rbake_proto::gateway::llb_bridge_client::LlbBridgeClient;
use rbake_proto::gateway::result::Result as Refs;
use rbake_proto::gateway::{
    EvaluateRequest, PingRequest, PongResponse, Ref, RefMap, Result as GatewayResult,
    ReturnRequest, SolveRequest,
};
use rbake_proto::{apicaps::ApiCap, rpc};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Request, Status};

use super::connection::{Connection, GrpcChannel, is_from_peer};
use super::id::BuildRef;
use super::spec::LinkedResult;
use super::wire;
use crate::outcome::SolveFailure;

pub(super) use cut::cut_to_finished;
pub(super) use empty::empty_file_system;
use files::FailedStep;
pub(crate) use files::{FilesUnreachable, JobEntry, JobEntryKind, JobFiles, ReadHook};
pub(super) use joined::JoinedResults;

const BUILD_ID_KEY: &str = "buildkit-controlapi-buildid";

/// The most time that the daemon may take to create the job. Calls fail until the job exists.
const JOB_TIMEOUT: Duration = Duration::from_secs(15);
/// The pause between two attempts to reach a job that does not exist yet.
const JOB_PAUSE: Duration = Duration::from_millis(50);

/// The capability to compute a result before it is returned.
const EVALUATES: &str = "gateway.evaluate";

/// An encoded `Ref` that is empty. An empty value in a map of messages crashes the daemon; this value does not.
const EMPTY_REF: Bytes = Bytes::from_static(b"\x0a\x00");

/// Runs with a frontend's result before that is returned, for example to pass it on to the targets that use it. No step
/// has run then.
pub(crate) type Hold =
    Box<dyn FnOnce(FrontendResult) -> BoxFuture<'static, Result<(), SolveFailure>> + Send>;

/// What runs between the frontend's answer and the end of a job, in this order.
#[derive(Default)]
pub(crate) struct JobHooks {
    /// Runs if the frontend succeeds, before any step.
    pub(crate) hold: Option<Hold>,
    /// Runs if the frontend succeeds or a step fails. All steps have run then.
    pub(crate) read: Option<ReadHook>,
    /// Is awaited if all steps succeed. The result is returned afterwards.
    pub(crate) until: Option<BoxFuture<'static, ()>>,
}

impl JobHooks {
    /// Whether there is no hook.
    pub(crate) const fn is_empty(&self) -> bool {
        self.hold.is_none() && !self.need_steps()
    }

    /// Whether the steps must have run before the result is returned.
    const fn need_steps(&self) -> bool {
        self.read.is_some() || self.until.is_some()
    }

    /// Whether the frontend's answer must wait for all steps. With `hold`, it must not.
    pub(super) const fn evaluate_at_once(&self) -> bool {
        self.need_steps() && self.hold.is_none()
    }
}

/// Why a result cannot be the input of another solve.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The result that the daemon sent cannot be decoded.
    #[error("cannot read the builder's result")]
    Unreadable(#[source] prost::DecodeError),
    /// The daemon does not send definitions with its results.
    #[error("the builder is too old to use the result of one target in another")]
    TooOld,
}

/// The result of a frontend. It is alive in the daemon as long as its job is.
#[derive(Debug, Clone)]
pub struct FrontendResult(GatewayResult);

impl FrontendResult {
    /// The result as input of other solves: one entry for each platform, or a single entry without a platform.
    pub fn linked(&self) -> Result<Vec<LinkedResult>, LinkError> {
        match &self.0.result {
            Some(Refs::Ref(one)) => Ok(vec![self.linked_one(None, one)]),
            Some(Refs::Refs(all)) => all
                .refs
                .iter()
                .map(|(platform, encoded)| {
                    let one = Ref::decode(encoded.clone()).map_err(LinkError::Unreadable)?;
                    Ok(self.linked_one(Some(platform), &one))
                })
                .collect(),
            Some(Refs::RefDeprecated(_) | Refs::RefsDeprecated(_)) => Err(LinkError::TooOld),
            None => Ok(vec![self.linked_one(None, &Ref::default())]),
        }
    }

    /// The result for one platform. Its image configuration is metadata of the whole result, under a key with the
    /// platform.
    fn linked_one(&self, platform: Option<&String>, one: &Ref) -> LinkedResult {
        let config = match platform {
            Some(platform) => self
                .0
                .metadata
                .get(&format!("containerimage.config/{platform}")),
            None => self.0.metadata.get("containerimage.config"),
        };
        LinkedResult {
            platform: platform.cloned(),
            definition: Some(one.def.clone()).filter(|definition| !definition.is_empty()),
            image_config: config.cloned(),
        }
    }

    /// The encoded LLB definitions of all file systems that are not empty.
    pub(super) fn definitions(&self) -> Vec<Bytes> {
        let linked = self.linked().unwrap_or_default();
        linked
            .into_iter()
            .filter_map(|one| one.definition)
            .collect()
    }

    /// The ids of the refs that are not empty.
    fn ref_ids(&self) -> Vec<String> {
        let ids: Vec<String> = match &self.0.result {
            Some(Refs::Ref(one)) => vec![one.id.clone()],
            Some(Refs::Refs(all)) => {
                let refs = all.refs.values();
                let refs = refs.filter_map(|encoded| Ref::decode(encoded.clone()).ok());
                refs.map(|one| one.id).collect()
            }
            Some(Refs::RefDeprecated(_) | Refs::RefsDeprecated(_)) | None => Vec::new(),
        };
        ids.into_iter().filter(|id| !id.is_empty()).collect()
    }

    /// The metadata as text, such as the answer to a subrequest. Bytes that are not UTF-8 are replaced: the answer may quote
    /// a Dockerfile in another encoding.
    pub(crate) fn text_metadata(&self) -> BTreeMap<String, String> {
        let text = |(key, value): (&String, &Bytes)| {
            let text = String::from_utf8_lossy(value).into_owned();
            (key.clone(), text)
        };
        self.0.metadata.iter().map(text).collect()
    }

    /// The form that is returned to the daemon. It has ids only: the daemon knows the results by their ids, so the
    /// definitions need not be sent back.
    fn into_return(self) -> GatewayResult {
        let by_id = |id: String| {
            if id.is_empty() {
                return EMPTY_REF;
            }
            let def = Bytes::new();
            Ref { id, def }.encode_to_vec().into()
        };
        let result = self.0.result.map(|refs| match refs {
            Refs::Ref(one) => Refs::Ref(Ref {
                def: Bytes::new(),
                ..one
            }),
            Refs::Refs(all) => Refs::Refs(RefMap {
                refs: all
                    .refs
                    .into_iter()
                    .map(|(key, encoded)| {
                        let id = Ref::decode(encoded).map(|one| one.id).unwrap_or_default();
                        (key, by_id(id))
                    })
                    .collect(),
            }),
            deprecated => deprecated,
        });
        let mut attestations = self.0.attestations;
        attestations.retain(|_, encoded| !encoded.is_empty());
        GatewayResult {
            result,
            metadata: self.0.metadata,
            attestations,
        }
    }
}

/// Why a job has no result.
#[derive(Debug)]
pub(super) enum JobFailure {
    /// A call failed.
    Call(Status),
    /// The holder of the result failed.
    Held(SolveFailure),
}

impl JobFailure {
    /// Keeps the details, so that the job's own error says as much as the call's.
    fn to_rpc(&self) -> rpc::Status {
        match self {
            Self::Call(status) => rpc::Status {
                code: status.code().into(),
                message: status.message().to_owned(),
                details: rpc::Status::decode(status.details())
                    .map(|status| status.details)
                    .unwrap_or_default(),
            },
            Self::Held(failure) => rpc::Status {
                code: Code::Aborted.into(),
                message: failure.message.clone(),
                details: Vec::new(),
            },
        }
    }
}

impl From<Status> for JobFailure {
    fn from(status: Status) -> Self {
        Self::Call(status)
    }
}

/// The gateway's calls of one job.
#[derive(Clone)]
pub(super) struct Gateway {
    client: LlbBridgeClient<GrpcChannel>,
    build_id: MetadataValue<Ascii>,
}

impl Gateway {
    /// A client for the calls of the job `build_ref`.
    pub(super) fn new(connection: &Connection, build_ref: &BuildRef) -> Self {
        Self {
            client: connection.gateway(),
            build_id: MetadataValue::try_from(build_ref.as_str())
                .unwrap_or_else(|_| MetadataValue::from_static("")),
        }
    }

    /// Adds the header that names the job.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request
            .metadata_mut()
            .insert(BUILD_ID_KEY, self.build_id.clone());
        request
    }

    /// Waits until the daemon has created the job, and returns the daemon's capabilities.
    pub(super) async fn ping(&mut self) -> Result<PongResponse, Status> {
        let deadline = tokio::time::Instant::now() + JOB_TIMEOUT;
        loop {
            let request = self.request(PingRequest {});
            let asked = tokio::time::timeout_at(deadline, self.client.ping(request)).await;
            let status = match asked {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => return Err(overdue(JOB_TIMEOUT)),
            };
            // Calls fail until the job exists. These two codes never mean that.
            let no_job_yet = is_from_peer(&status)
                && !matches!(status.code(), Code::Unimplemented | Code::Unavailable);
            if !no_job_yet || tokio::time::Instant::now() >= deadline {
                return Err(status);
            }
            tokio::time::sleep(JOB_PAUSE).await;
        }
    }

    /// Calls the frontend, then runs `hooks`. The caller must pass the outcome to [`Gateway::give_back`].
    pub(super) async fn ask(
        &mut self,
        request: SolveRequest,
        hooks: JobHooks,
    ) -> Result<FrontendResult, JobFailure> {
        let pong = self.ping().await?;
        let evaluates = hooks.need_steps() && !hooks.evaluate_at_once();
        let newer = |status: &Status| wire::with_newer_frontend(&request, status);
        let mut asked = match self.solve(request.clone()).await {
            // If the newer frontend fails as well, as it does without a network, the first error says more.
            Err(status) => match newer(&status) {
                Some(newer) => {
                    tracing::info!("the frontend does not know the method, ask a newer one");
                    self.solve(newer).await.map_err(|_| status)
                }
                None => Err(status),
            },
            solved => solved,
        };
        if let Ok(result) = &asked
            && let Some(hold) = hooks.hold
        {
            let result = result.clone();
            hold(result.clone()).await.map_err(JobFailure::Held)?;
            if evaluates {
                let evaluated = self.evaluate(&result, &pong.frontend_api_caps).await;
                asked = evaluated.map(|()| result);
            }
        }
        let result = match asked {
            Ok(result) => result,
            Err(status) => {
                if let Some(read) = hooks.read {
                    let step = FailedStep::find(self, &pong.frontend_api_caps, &status).await;
                    match step {
                        Some(Ok(step)) => {
                            read(Ok(vec![step.files.clone()])).await;
                            step.release().await;
                        }
                        Some(Err(error)) => read(Err(error)).await,
                        None => {}
                    }
                }
                return Err(status.into());
            }
        };
        if let Some(read) = hooks.read {
            read(Ok(JobFiles::of_result(self, &result))).await;
        }
        if let Some(until) = hooks.until {
            until.await;
        }
        Ok(result)
    }

    /// Runs all steps of `result`. Without the capability, they run when the result is returned.
    async fn evaluate(
        &self,
        result: &FrontendResult,
        capabilities: &[ApiCap],
    ) -> Result<(), Status> {
        let can = |cap: &ApiCap| cap.enabled && cap.id == EVALUATES;
        if !capabilities.iter().any(can) {
            return Ok(());
        }
        let calls = result.ref_ids().into_iter().map(|id| {
            let (mut client, request) = (
                self.client.clone(),
                self.request(EvaluateRequest { r#ref: id }),
            );
            async move { client.evaluate(request).await.map(drop) }
        });
        futures_util::future::try_join_all(calls).await.map(drop)
    }

    /// Calls the frontend. The job must exist; see [`Gateway::ping`].
    pub(super) async fn solve(&mut self, request: SolveRequest) -> Result<FrontendResult, Status> {
        let response = self.client.solve(self.request(request)).await?;
        Ok(FrontendResult(
            response.into_inner().result.unwrap_or_default(),
        ))
    }

    /// Returns several results as one to the job, or the reason why there is none.
    pub(super) async fn return_joined(
        &mut self,
        joined: Result<JoinedResults, Status>,
    ) -> Result<(), Status> {
        let (result, error) = match joined {
            Ok(joined) => (Some(joined.into_result()), None),
            Err(status) => (None, Some(JobFailure::Call(status).to_rpc())),
        };
        let request = self.request(ReturnRequest { result, error });
        self.client.r#return(request).await.map(drop)
    }

    /// Returns a result to the job, or the reason why there is no result.
    pub(super) async fn give_back(
        &mut self,
        result: Result<FrontendResult, &JobFailure>,
    ) -> Result<(), Status> {
        let (result, error) = match result {
            Ok(result) => (Some(result.into_return()), None),
            Err(refusal) => (None, Some(refusal.to_rpc())),
        };
        let request = self.request(ReturnRequest { result, error });
        self.client.r#return(request).await.map(drop)
    }

    /// Returns an empty result, which ends the job.
    pub(super) async fn return_nothing(&mut self) -> Result<(), Status> {
        let request = ReturnRequest {
            // The daemon uses the result without a check for nil, so it must be set.
            result: Some(GatewayResult::default()),
            error: None,
        };
        self.client.r#return(self.request(request)).await.map(drop)
    }
}

/// The status of a call that the daemon has not answered within `time`, although it answers other calls.
pub(super) fn overdue(time: Duration) -> Status {
    let message = format!(
        "the builder does not answer: a call has had no answer for {} s",
        time.as_secs()
    );
    let mut status = Status::deadline_exceeded(message);
    // Statuses with a source were made here, not by the daemon: see `is_from_peer`.
    status.set_source(std::sync::Arc::new(std::io::Error::from(
        std::io::ErrorKind::TimedOut,
    )));
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(refs: Refs) -> FrontendResult {
        FrontendResult(GatewayResult {
            result: Some(refs),
            metadata: BTreeMap::from([
                (
                    "containerimage.config".to_owned(),
                    Bytes::from_static(b"one"),
                ),
                (
                    "containerimage.config/linux/amd64".to_owned(),
                    Bytes::from_static(b"amd64"),
                ),
                ("binary".to_owned(), Bytes::from_static(b"\xff")),
            ]),
            attestations: BTreeMap::from([("a".to_owned(), Bytes::new())]),
        })
    }

    fn encoded(id: &str, def: &'static [u8]) -> Bytes {
        let one = Ref {
            id: id.to_owned(),
            def: Bytes::from_static(def),
        };
        one.encode_to_vec().into()
    }

    fn platforms() -> FrontendResult {
        result(Refs::Refs(RefMap {
            refs: BTreeMap::from([
                ("linux/amd64".to_owned(), encoded("x", b"llb")),
                ("linux/arm64".to_owned(), Bytes::new()),
            ]),
        }))
    }

    // A definition as the daemon sends it, with an empty message as a map's value: fields 3.1 {1: "sha256:…", 2: {}}.
    #[test]
    fn a_definition_passes_through_byte_for_byte() {
        let definition = Bytes::from_static(b"\x0a\x03abc\x1a\x0a\x0a\x08\x0a\x04sha2\x12\x00");
        let one = Ref {
            id: "x".to_owned(),
            def: definition.clone(),
        };
        let linked = result(Refs::Ref(one)).linked().unwrap();
        assert_eq!(linked[0].definition, Some(definition));
        assert_eq!(linked[0].image_config, Some(Bytes::from_static(b"one")));
    }

    #[test]
    fn each_platform_has_a_result_and_an_empty_one_has_no_definition() {
        let linked = platforms().linked().unwrap();
        assert_eq!(linked[0].platform.as_deref(), Some("linux/amd64"));
        assert_eq!(linked[0].definition, Some(Bytes::from_static(b"llb")));
        assert_eq!(linked[0].image_config, Some(Bytes::from_static(b"amd64")));
        assert_eq!(
            (
                linked[1].definition.as_ref(),
                linked[1].image_config.as_ref()
            ),
            (None, None)
        );
    }

    #[test]
    fn returned_maps_have_no_empty_values() {
        let returned = platforms().into_return();
        assert!(returned.attestations.is_empty());
        let Some(Refs::Refs(all)) = &returned.result else {
            panic!("{returned:?}");
        };
        assert_eq!(all.refs["linux/amd64"], encoded("x", b""));
        assert_eq!(all.refs["linux/arm64"], EMPTY_REF);
        assert_eq!(Ref::decode(EMPTY_REF), Ok(Ref::default()));
        // The map's entry for arm64 has its value written out: the key, then field 2 with two bytes.
        let wire = returned.encode_to_vec();
        let entry = b"\x0a\x0blinux/arm64\x12\x02\x0a\x00";
        assert!(wire.windows(entry.len()).any(|window| window == entry));
    }

    #[test]
    fn a_result_that_cannot_be_read_is_an_error() {
        let junk = Refs::Refs(RefMap {
            refs: BTreeMap::from([("p".to_owned(), Bytes::from_static(b"\xff"))]),
        });
        assert!(result(junk).linked().is_err());
        assert!(
            result(Refs::RefDeprecated("x".to_owned()))
                .linked()
                .is_err()
        );
    }

    #[test]
    fn metadata_in_another_encoding_is_kept() {
        let metadata = platforms().text_metadata();
        assert_eq!(metadata["containerimage.config"], "one");
        assert_eq!(metadata["binary"], "\u{fffd}");
    }
}
