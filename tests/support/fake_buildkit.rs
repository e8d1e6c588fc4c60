//! A scripted daemon, for behaviour that a test cannot force a real one to show.
//!
//! It passes each call to the test, which may answer it. The library connects through a stream in memory, so that a
//! test can pause the clock; programs connect to a unix socket. `tests/live/contract.rs` checks that a real daemon
//! sends the same answers that `tests/engine` makes this one send.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rbake::engine::transport::Dialled;
use rbake::engine::{Connection, Endpoint, Engine, Patience};
use rbake_proto::control::control_server::{Control, ControlServer};
use rbake_proto::control::{
    BuildHistoryEvent, BuildHistoryRequest, BytesMessage, DiskUsageRequest, DiskUsageResponse,
    InfoRequest, InfoResponse, ListWorkersRequest, ListWorkersResponse, PruneRequest, SolveRequest,
    SolveResponse, StatusRequest, StatusResponse, UpdateBuildHistoryRequest,
    UpdateBuildHistoryResponse, UsageRecord,
};
use rbake_proto::gateway::llb_bridge_server::{LlbBridge, LlbBridgeServer};
use rbake_proto::{gateway, worker};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

/// The error of a daemon that does not know a build, on `Status` and on calls of the gateway.
pub(crate) fn unknown_job(build_ref: &str) -> Status {
    Status::not_found(format!("no such job {build_ref}"))
}

/// The type URL of the detail that names a failed vertex.
pub(crate) const VERTEX_DETAIL: &str = "github.com/moby/buildkit/errdefs.Vertex+json";
/// The type URL of the detail that has source text.
pub(crate) const SOURCE_DETAIL: &str = "github.com/moby/buildkit/errdefs.Source+json";

/// The most time that a test waits for a call.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Answers a call. If it is dropped, the call fails.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, Status>>;

/// A call of the client.
#[expect(clippy::large_enum_variant, reason = "few exist at once")]
pub(crate) enum Call {
    /// `Control.Solve`.
    Solve(SolveRequest, Answer<SolveResponse>),
    /// `Control.Status`, with the sender of its messages.
    Status(StatusRequest, mpsc::Sender<Result<StatusResponse, Status>>),
    /// `Control.Session`.
    Session(ClientSession),
    /// `LLBBridge.Ping`, with the build's id.
    Ping(String, Answer<gateway::PongResponse>),
    /// `LLBBridge.Solve`.
    GatewaySolve(gateway::SolveRequest, Answer<gateway::SolveResponse>),
    /// `LLBBridge.Return`.
    Return(gateway::ReturnRequest, Answer<gateway::ReturnResponse>),
}

/// A client's session, as the daemon sees it.
pub(crate) struct ClientSession {
    /// Its id.
    pub id: String,
    /// The methods that the client announced.
    pub methods: Vec<String>,
    /// The shared key.
    pub shared_key: String,
    /// A channel for calls of the client's services.
    pub channel: tonic::transport::Channel,
    /// The daemon's side of the session. Dropping it ends the session.
    pub hold: mpsc::Sender<Result<BytesMessage, Status>>,
}

/// The daemon.
pub(crate) struct FakeBuildkit {
    dir: tempfile::TempDir,
    calls: mpsc::UnboundedReceiver<Call>,
    server: Server,
}

impl FakeBuildkit {
    /// Starts the daemon.
    pub(crate) fn start() -> Self {
        Self::start_with(true)
    }

    /// Starts a daemon that never answers `Control.Session`.
    pub(crate) fn start_without_sessions() -> Self {
        Self::start_with(false)
    }

    fn start_with(sessions: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = tokio::net::UnixListener::bind(dir.path().join("s")).unwrap();
        let (send, calls) = mpsc::unbounded_channel();
        let server = Server {
            service: Service {
                calls: send,
                sessions,
            },
            cut: CancellationToken::new(),
            goaway: CancellationToken::new(),
        };
        tokio::spawn(server.clone().accept(listener));
        Self { dir, calls, server }
    }

    /// Connects to the daemon through a stream in memory.
    pub(crate) async fn connect(&self) -> Engine {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        tokio::spawn(self.server.clone().serve(theirs));
        let dialled = Dialled {
            stream: Box::new(ours),
            authority: "localhost".to_owned(),
            remarks: None,
        };
        let connection = Connection::over(self.endpoint(), dialled, Patience::default()).await;
        Engine::over(connection.unwrap())
    }

    /// The socket on which it listens.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::Unix(self.dir.path().join("s"))
    }

    /// Waits for the next call.
    pub(crate) async fn call(&mut self) -> Call {
        let call = tokio::time::timeout(TIMEOUT, self.calls.recv()).await;
        call.expect("the client calls").expect("the daemon listens")
    }

    /// Waits for `Control.Session`.
    pub(crate) async fn session(&mut self) -> ClientSession {
        match self.call().await {
            Call::Session(session) => session,
            other => panic!("expected Session, not {}", name(&other)),
        }
    }

    /// Waits for `Control.Solve` and `Control.Status`, in any order.
    pub(crate) async fn solve(&mut self) -> FakeSolve {
        let (mut solve, mut status) = (None, None);
        while solve.is_none() || status.is_none() {
            match self.call().await {
                Call::Solve(request, answer) => solve = Some((request, answer)),
                Call::Status(request, messages) => status = Some((request, messages)),
                other => panic!("expected Solve or Status, not {}", name(&other)),
            }
        }
        let ((request, answer), (asked, status)) = solve.zip(status).unwrap();
        assert_eq!(request.r#ref, asked.r#ref);
        FakeSolve {
            request,
            answer,
            status,
        }
    }

    /// Breaks every connection without a notice.
    pub(crate) fn cut(&self) {
        self.server.cut.cancel();
    }

    /// Sends GOAWAY on every connection.
    pub(crate) fn goaway(&self) {
        self.server.goaway.cancel();
    }
}

/// A solve that the daemon has received and not yet answered.
pub(crate) struct FakeSolve {
    pub request: SolveRequest,
    pub answer: Answer<SolveResponse>,
    pub status: mpsc::Sender<Result<StatusResponse, Status>>,
}

impl FakeSolve {
    /// Sends progress.
    pub(crate) async fn progress(&self, message: StatusResponse) {
        self.status.send(Ok(message)).await.unwrap();
    }

    /// Ends the solve with success. Returns the status stream, which the caller must end.
    pub(crate) fn succeed(
        self,
        response: &[(&str, &str)],
    ) -> mpsc::Sender<Result<StatusResponse, Status>> {
        let response = response
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let response = SolveResponse {
            exporter_response: response.collect(),
        };
        self.answer.send(Ok(response)).unwrap();
        self.status
    }

    /// Ends the solve and its status stream with the error `status`.
    pub(crate) fn fail(self, status: Status) {
        self.answer.send(Err(status)).unwrap();
    }
}

fn name(call: &Call) -> &'static str {
    match call {
        Call::Solve(..) => "Solve",
        Call::Status(..) => "Status",
        Call::Session(..) => "Session",
        Call::Ping(..) => "Ping",
        Call::GatewaySolve(..) => "LLBBridge.Solve",
        Call::Return(..) => "Return",
    }
}

#[derive(Clone)]
struct Server {
    service: Service,
    cut: CancellationToken,
    goaway: CancellationToken,
}

impl Server {
    async fn accept(self, listener: tokio::net::UnixListener) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(self.clone().serve(stream));
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let routes = Routes::new(ControlServer::new(self.service.clone()))
            .add_service(LlbBridgeServer::new(self.service));
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(
                TokioIo::new(stream),
                TowerToHyperService::new(routes.prepare()),
            );
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            _ = &mut connection => return,
            () = self.cut.cancelled() => return,
            () = self.goaway.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            _ = connection => {}
            () = self.cut.cancelled() => {}
        }
    }
}

#[derive(Clone)]
struct Service {
    calls: mpsc::UnboundedSender<Call>,
    /// Whether `Control.Session` is answered.
    sessions: bool,
}

type Stream1<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn unscripted<T>() -> Result<T, Status> {
    Err(Status::unimplemented("not scripted"))
}

impl Service {
    async fn ask<T>(&self, call: impl FnOnce(Answer<T>) -> Call) -> Result<Response<T>, Status> {
        let (answer, answered) = oneshot::channel();
        self.calls
            .send(call(answer))
            .map_err(|_| Status::unavailable("the test is over"))?;
        let answer = answered
            .await
            .map_err(|_| Status::unknown("no answer was given"))?;
        answer.map(Response::new)
    }
}

#[tonic::async_trait]
impl Control for Service {
    type PruneStream = Stream1<UsageRecord>;
    type StatusStream = ReceiverStream<Result<StatusResponse, Status>>;
    type SessionStream = ReceiverStream<Result<BytesMessage, Status>>;
    type ListenBuildHistoryStream = Stream1<BuildHistoryEvent>;

    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        Ok(Response::new(InfoResponse {
            buildkit_version: Some(worker::BuildkitVersion {
                version: "v0.0.0-fake".to_owned(),
                ..worker::BuildkitVersion::default()
            }),
        }))
    }

    async fn solve(
        &self,
        request: Request<SolveRequest>,
    ) -> Result<Response<SolveResponse>, Status> {
        self.ask(|answer| Call::Solve(request.into_inner(), answer))
            .await
    }

    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<Self::StatusStream>, Status> {
        let (send, messages) = mpsc::channel(16);
        let call = Call::Status(request.into_inner(), send);
        self.calls
            .send(call)
            .map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(messages)))
    }

    async fn session(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (metadata, _, messages) = request.into_parts();
        let all = |key: &str| {
            let values = metadata.get_all(key).iter();
            values
                .map(|value| value.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let one = |key: &str| all(key).pop().unwrap_or_default();
        let (to_client, outgoing) = mpsc::channel(16);
        let session = ClientSession {
            id: one("x-docker-expose-session-uuid"),
            shared_key: one("x-docker-expose-session-sharedkey"),
            methods: all("x-docker-expose-session-grpc-method"),
            channel: dial_back(messages, to_client.downgrade()),
            hold: to_client,
        };
        self.calls
            .send(Call::Session(session))
            .map_err(|_| Status::unavailable("the test is over"))?;
        if !self.sessions {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn disk_usage(
        &self,
        _: Request<DiskUsageRequest>,
    ) -> Result<Response<DiskUsageResponse>, Status> {
        unscripted()
    }

    async fn prune(&self, _: Request<PruneRequest>) -> Result<Response<Self::PruneStream>, Status> {
        unscripted()
    }

    async fn list_workers(
        &self,
        _: Request<ListWorkersRequest>,
    ) -> Result<Response<ListWorkersResponse>, Status> {
        Ok(Response::new(ListWorkersResponse::default()))
    }

    async fn listen_build_history(
        &self,
        _: Request<BuildHistoryRequest>,
    ) -> Result<Response<Self::ListenBuildHistoryStream>, Status> {
        unscripted()
    }

    async fn update_build_history(
        &self,
        _: Request<UpdateBuildHistoryRequest>,
    ) -> Result<Response<UpdateBuildHistoryResponse>, Status> {
        unscripted()
    }
}

// Creates a gRPC client on the byte stream of a session, as a real daemon does.
fn dial_back(
    mut messages: Streaming<BytesMessage>,
    to_client: mpsc::WeakSender<Result<BytesMessage, Status>>,
) -> tonic::transport::Channel {
    let (near, far) = tokio::io::duplex(1 << 20);
    let (mut read, mut write) = tokio::io::split(far);
    tokio::spawn(async move {
        while let Ok(Some(message)) = messages.message().await {
            if write.write_all(&message.data).await.is_err() {
                return;
            }
        }
        let _ = write.shutdown().await;
    });
    tokio::spawn(async move {
        let mut buffer = vec![0; 32 << 10];
        while let Ok(count @ 1..) = read.read(&mut buffer).await {
            let data = Bytes::copy_from_slice(&buffer[..count]);
            let Some(to_client) = to_client.upgrade() else {
                return;
            };
            if to_client.send(Ok(BytesMessage { data })).await.is_err() {
                return;
            }
        }
    });
    let near = Arc::new(std::sync::Mutex::new(Some(TokioIo::new(near))));
    tonic::transport::Endpoint::from_static("http://localhost").connect_with_connector_lazy(
        tower::service_fn(move |_| {
            let io = near.lock().unwrap().take();
            std::future::ready(io.ok_or_else(|| std::io::Error::other("the session is over")))
        }),
    )
}

#[tonic::async_trait]
impl LlbBridge for Service {
    async fn ping(
        &self,
        request: Request<gateway::PingRequest>,
    ) -> Result<Response<gateway::PongResponse>, Status> {
        let id = request.metadata().get("buildkit-controlapi-buildid");
        let id = id
            .and_then(|id| id.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        self.ask(|answer| Call::Ping(id, answer)).await
    }

    async fn solve(
        &self,
        request: Request<gateway::SolveRequest>,
    ) -> Result<Response<gateway::SolveResponse>, Status> {
        self.ask(|answer| Call::GatewaySolve(request.into_inner(), answer))
            .await
    }

    async fn r#return(
        &self,
        request: Request<gateway::ReturnRequest>,
    ) -> Result<Response<gateway::ReturnResponse>, Status> {
        self.ask(|answer| Call::Return(request.into_inner(), answer))
            .await
    }

    async fn resolve_image_config(
        &self,
        _: Request<gateway::ResolveImageConfigRequest>,
    ) -> Result<Response<gateway::ResolveImageConfigResponse>, Status> {
        unscripted()
    }

    async fn new_container(
        &self,
        _: Request<gateway::NewContainerRequest>,
    ) -> Result<Response<gateway::NewContainerResponse>, Status> {
        unscripted()
    }

    async fn release_container(
        &self,
        _: Request<gateway::ReleaseContainerRequest>,
    ) -> Result<Response<gateway::ReleaseContainerResponse>, Status> {
        unscripted()
    }

    async fn read_file_container(
        &self,
        _: Request<gateway::ReadFileRequest>,
    ) -> Result<Response<gateway::ReadFileResponse>, Status> {
        unscripted()
    }

    async fn read_dir_container(
        &self,
        _: Request<gateway::ReadDirRequest>,
    ) -> Result<Response<gateway::ReadDirResponse>, Status> {
        unscripted()
    }

    async fn resolve_source_meta(
        &self,
        _: Request<gateway::ResolveSourceMetaRequest>,
    ) -> Result<Response<gateway::ResolveSourceMetaResponse>, Status> {
        unscripted()
    }

    async fn read_file(
        &self,
        _: Request<gateway::ReadFileRequest>,
    ) -> Result<Response<gateway::ReadFileResponse>, Status> {
        unscripted()
    }

    async fn read_dir(
        &self,
        _: Request<gateway::ReadDirRequest>,
    ) -> Result<Response<gateway::ReadDirResponse>, Status> {
        unscripted()
    }

    async fn stat_file(
        &self,
        _: Request<gateway::StatFileRequest>,
    ) -> Result<Response<gateway::StatFileResponse>, Status> {
        unscripted()
    }

    async fn evaluate(
        &self,
        _: Request<gateway::EvaluateRequest>,
    ) -> Result<Response<gateway::EvaluateResponse>, Status> {
        unscripted()
    }

    async fn warn(
        &self,
        _: Request<gateway::WarnRequest>,
    ) -> Result<Response<gateway::WarnResponse>, Status> {
        unscripted()
    }
}
