//! A proxy in front of a real registry, which logs every request and can delay it, hold it, answer it itself, or lose
//! it or its answer.
//!
//! Tests use the proxy's address as the registry of all images, for the builder and for rbake. The proxy passes the
//! `Host` header on, so the places that the registry names in `Location` are at the proxy, too.
//!
//! Requests and answers are read as a whole before they are passed on. A request that was passed on is carried out
//! even if its sender is killed in the meantime, as it would be if it were in the buffers of the network.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, stream};
use http::header::{CONNECTION, HOST, RETRY_AFTER, TRANSFER_ENCODING, USER_AGENT};
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// The proxy. Its connections end when it is dropped.
pub(crate) struct RegistryProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _accept: AbortOnDropHandle<()>,
}

/// A request that the proxy got.
#[derive(Debug, Clone)]
pub(crate) struct ProxiedRequest {
    /// Counts all requests from 0, in the order in which they arrived.
    pub number: usize,
    pub method: Method,
    /// The path, with the query.
    pub path: String,
    /// The `User-Agent`.
    pub agent: String,
    pub body: Bytes,
    /// When it arrived. The unit is one arrival or answer at this proxy, so two requests are in this order only if the
    /// first `ended` before the second `began`.
    pub began: u64,
    /// When the registry had answered. `None` if it has not, or was not asked.
    pub ended: Option<u64>,
    /// What the registry answered, whatever became of the answer.
    pub status: Option<StatusCode>,
    /// The time of the arrival since the proxy was started.
    pub at: Duration,
    /// The time that the registry took.
    pub took: Option<Duration>,
}

/// When a hook is asked about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Before the registry gets it.
    Before,
    /// After the registry has answered it, before the answer is passed on.
    After,
}

/// What happens to a request, or to its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is passed on.
    Pass,
    /// The connection is reset instead.
    Reset,
    /// The connection is reset after half of the answer's body. Before the registry was asked, and for an answer
    /// without a body, like [`Verdict::Reset`].
    Cut,
    /// This is answered instead.
    Answer {
        status: StatusCode,
        /// The seconds of `Retry-After`.
        retry_after: Option<u32>,
    },
}

/// Decides about requests. It may take any time for it.
pub(crate) type Hook =
    Arc<dyn Fn(Stage, ProxiedRequest) -> BoxFuture<'static, Verdict> + Send + Sync>;

type AnswerBody = UnsyncBoxBody<Bytes, std::io::Error>;

struct Shared {
    registry: String,
    client: Client<HttpConnector, Full<Bytes>>,
    hook: Mutex<Option<Hook>>,
    log: Mutex<Vec<ProxiedRequest>>,
    ticks: AtomicU64,
    active: watch::Sender<usize>,
    started: Instant,
}

/// What the sender of a request gets.
enum Outcome {
    Answer(Response<Bytes>),
    Half(Response<Bytes>),
    Reset,
}

impl ProxiedRequest {
    /// Whether rbake sent it. Otherwise, the builder or another program did.
    pub(crate) fn is_from_rbake(&self) -> bool {
        self.agent.starts_with("rbake/")
    }

    /// Whether it may change something at the registry.
    pub(crate) fn is_write(&self) -> bool {
        matches!(
            self.method,
            Method::PUT | Method::POST | Method::PATCH | Method::DELETE
        )
    }

    /// The tag or digest of a request about a manifest.
    pub(crate) fn manifest(&self) -> Option<&str> {
        let (_, name) = self.path.split_once("/manifests/")?;
        name.split('?').next()
    }

    /// The repository, without the host.
    pub(crate) fn repository(&self) -> Option<&str> {
        let rest = self.path.strip_prefix("/v2/")?;
        ["/manifests/", "/blobs/", "/tags/"]
            .iter()
            .find_map(|part| rest.split_once(part).map(|(repository, _)| repository))
    }

    /// Whether it set `tag`, in any repository.
    pub(crate) fn sets(&self, tag: &str) -> bool {
        self.method == Method::PUT && self.manifest() == Some(tag)
    }

    /// Whether the registry has carried it out.
    pub(crate) fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.is_success())
    }
}

impl RegistryProxy {
    /// Listens in front of the registry at `registry` (host and port).
    pub(crate) async fn start(registry: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            registry: registry.to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            hook: Mutex::default(),
            log: Mutex::default(),
            ticks: AtomicU64::new(0),
            active: watch::Sender::new(0),
            started: Instant::now(),
        });
        let accept = accept(listener, Arc::clone(&shared));
        Self {
            address,
            shared,
            _accept: AbortOnDropHandle::new(tokio::spawn(accept)),
        }
    }

    /// The host and port of the proxy.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Replaces the hook. Requests that are on their way keep the one that they met.
    pub(crate) fn set_hook(&self, hook: Option<Hook>) {
        *self.shared.hook.lock().unwrap() = hook;
    }

    /// All requests since the log was last cleared, in the order in which they arrived.
    pub(crate) fn log(&self) -> Vec<ProxiedRequest> {
        self.shared.log.lock().unwrap().clone()
    }

    /// Waits until no request is on its way, and empties the log, so that numbers begin with 0 again.
    pub(crate) async fn clear(&self) {
        self.quiet().await;
        self.shared.log.lock().unwrap().clear();
    }

    /// Waits until no request is on its way to the registry.
    pub(crate) async fn quiet(&self) {
        let mut active = self.shared.active.subscribe();
        active.wait_for(|active| *active == 0).await.unwrap();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).unwrap();
    let stream = stream.into_std().unwrap();
    let socket: Arc<OwnedFd> = Arc::new(stream.try_clone().unwrap().into());
    let stream = TcpStream::from_std(stream).unwrap();
    let service = service_fn(|request| {
        let (shared, socket) = (Arc::clone(&shared), Arc::clone(&socket));
        async move {
            match receive(shared, request).await {
                Some(Outcome::Answer(answer)) => Ok(answer.map(whole)),
                Some(Outcome::Half(answer)) => {
                    reset_at_close(&socket);
                    Ok(answer.map(|body| half(&body)))
                }
                Some(Outcome::Reset) => {
                    reset_at_close(&socket);
                    Err("the connection is reset")
                }
                None => Err("the request was not sent completely"),
            }
        }
    });
    let connection = hyper::server::conn::http1::Builder::new();
    // It fails if the other side breaks off, which is what some tests are about.
    let _ = connection
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn whole(body: Bytes) -> AnswerBody {
    let never = |never| match never {};
    Full::new(body).map_err(never).boxed_unsync()
}

fn half(body: &Bytes) -> AnswerBody {
    let error = std::io::Error::other("the connection is reset");
    let sent = Frame::data(body.slice(..body.len() / 2));
    StreamBody::new(stream::iter([Ok(sent), Err(error)])).boxed_unsync()
}

/// Without this, the end of a connection would look orderly.
fn reset_at_close(socket: &OwnedFd) {
    let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

/// Reads a request and returns what becomes of it. `None` if its sender broke off.
async fn receive(shared: Arc<Shared>, request: Request<Incoming>) -> Option<Outcome> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    let request = Request::from_parts(head, body);
    let number = shared.arrived(&request);
    shared.active.send_modify(|active| *active += 1);
    // A task of its own goes on if the sender is killed, and this future is dropped.
    let task = tokio::spawn(async move {
        let outcome = shared.decide(number, request).await;
        shared.active.send_modify(|active| *active -= 1);
        outcome
    });
    Some(task.await.unwrap_or(Outcome::Reset))
}

impl Shared {
    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    fn arrived(&self, request: &Request<Bytes>) -> usize {
        let agent = request.headers().get(USER_AGENT);
        let agent = agent.and_then(|agent| agent.to_str().ok());
        let path = request.uri().path_and_query();
        let mut log = self.log.lock().unwrap();
        let number = log.len();
        log.push(ProxiedRequest {
            number,
            method: request.method().clone(),
            path: path.map_or("/", |path| path.as_str()).to_owned(),
            agent: agent.unwrap_or_default().to_owned(),
            body: request.body().clone(),
            began: self.tick(),
            ended: None,
            status: None,
            at: self.started.elapsed(),
            took: None,
        });
        number
    }

    async fn ask(&self, stage: Stage, number: usize) -> Verdict {
        let request = self.log.lock().unwrap()[number].clone();
        let hook = self.hook.lock().unwrap().clone();
        match hook {
            Some(hook) => hook(stage, request).await,
            None => Verdict::Pass,
        }
    }

    async fn decide(&self, number: usize, request: Request<Bytes>) -> Outcome {
        match self.ask(Stage::Before, number).await {
            Verdict::Pass => {}
            Verdict::Reset | Verdict::Cut => return Outcome::Reset,
            Verdict::Answer {
                status,
                retry_after,
            } => return Outcome::Answer(instead(status, retry_after)),
        }
        let sent = Instant::now();
        let answer = self.pass_on(request).await;
        let answer = answer.unwrap_or_else(|error| {
            let mut answer = Response::new(Bytes::from(format!("the proxy: {error}\n")));
            *answer.status_mut() = StatusCode::BAD_GATEWAY;
            answer
        });
        {
            let mut log = self.log.lock().unwrap();
            let ended = self.tick();
            let entry = &mut log[number];
            entry.status = Some(answer.status());
            entry.ended = Some(ended);
            entry.took = Some(sent.elapsed());
        }
        match self.ask(Stage::After, number).await {
            Verdict::Pass => Outcome::Answer(answer),
            Verdict::Cut if !answer.body().is_empty() => Outcome::Half(answer),
            Verdict::Reset | Verdict::Cut => Outcome::Reset,
            Verdict::Answer {
                status,
                retry_after,
            } => Outcome::Answer(instead(status, retry_after)),
        }
    }

    async fn pass_on(
        &self,
        mut request: Request<Bytes>,
    ) -> Result<Response<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
        let path = request.uri().path_and_query();
        let path = path.map_or("/", |path| path.as_str());
        *request.uri_mut() = format!("http://{}{path}", self.registry).parse::<Uri>()?;
        remove_hop_by_hop(request.headers_mut());
        debug_assert!(request.headers().contains_key(HOST));
        let answer = self.client.request(request.map(Full::new)).await?;
        let (mut head, body) = answer.into_parts();
        remove_hop_by_hop(&mut head.headers);
        let body = body.collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}

/// Removes the headers that are about one connection only. Bodies are known as a whole, so none is chunked.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for name in [CONNECTION, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("expect");
}

fn instead(status: StatusCode, retry_after: Option<u32>) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from_static(b"{\"errors\":[]}"));
    *answer.status_mut() = status;
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    answer
}

/// A hook that delays every request by `delay`.
pub(crate) fn delay(delay: Duration) -> Hook {
    Arc::new(move |stage, _| {
        async move {
            if stage == Stage::Before {
                tokio::time::sleep(delay).await;
            }
            Verdict::Pass
        }
        .boxed()
    })
}

/// The requests, a line each, for messages.
pub(crate) fn lines(log: &[ProxiedRequest]) -> String {
    let line = |request: &ProxiedRequest| {
        format!(
            "{:>3} {} {} {:?} {}\n",
            request.number, request.method, request.path, request.status, request.agent
        )
    };
    log.iter().map(line).collect()
}
