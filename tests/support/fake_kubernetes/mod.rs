//! A fake of a Kubernetes cluster: an API server with the requests that builders need, whose pods are real daemons.
//!
//! [`objects`] has the objects and what controllers make of them, [`exec`] runs `buildctl dial-stdio` in a pod. Everything else of
//! Kubernetes is missing: defaults, validation, watches, permissions of single verbs. `tests/live/kubernetes/contract.rs` runs the
//! same sessions with this fake and with a real cluster.

mod exec;
mod objects;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use objects::Objects;
pub(crate) use objects::Trouble;

use super::peers;

/// The user's tokens: of one who may do everything, and of one who may do nothing.
const TOKEN: &str = "t0ken-of-the-admin";
const WEAK: &str = "t0ken-of-nobody";

/// What the cluster has, and how it behaves.
pub(crate) struct Cluster {
    pub(crate) objects: Objects,
    /// All requests: method and path, without the query.
    pub(crate) log: Vec<String>,
    /// The sockets of the daemons. Pods take them in turn.
    daemons: Vec<String>,
    /// Whether only the older protocol for streams is spoken, in which the end of the input cannot be sent.
    pub(crate) is_old: bool,
    /// How many of the next connections to pods fail as if a node of the cluster were not reachable yet.
    pub(crate) unreachable: usize,
}

/// A cluster. It ends with the test's process.
pub(crate) struct FakeKubernetes {
    address: SocketAddr,
    cluster: Arc<Mutex<Cluster>>,
    dir: tempfile::TempDir,
}

impl FakeKubernetes {
    /// A cluster whose pods are the daemons at `daemons`, addresses `unix://…`. Needs live peers.
    pub(crate) fn start(daemons: &[String]) -> Self {
        let cluster = Arc::new(Mutex::new(Cluster {
            objects: Objects::default(),
            log: Vec::new(),
            daemons: daemons.to_vec(),
            is_old: false,
            unreachable: 0,
        }));
        let buildctl = peers::program("RBAKE_TEST_BUILDCTL");
        let (tell, told) = std::sync::mpsc::channel();
        let shared = Arc::clone(&cluster);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(serve(shared, buildctl, tell));
        });
        let fake = Self {
            address: told.recv().unwrap(),
            cluster,
            dir: tempfile::tempdir().unwrap(),
        };
        std::fs::write(fake.kubeconfig(), fake.config()).unwrap();
        fake
    }

    pub(crate) fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap()
    }

    /// A kubeconfig with the contexts `admin` (current) and `weak`.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    fn config(&self) -> String {
        format!(
            "apiVersion: v1
kind: Config
clusters: [{{name: fake, cluster: {{server: \"http://{}\"}}}}]
users:
- {{name: admin, user: {{token: {TOKEN}}}}}
- {{name: weak, user: {{token: {WEAK}}}}}
contexts:
- {{name: admin, context: {{cluster: fake, user: admin, namespace: default}}}}
- {{name: weak, context: {{cluster: fake, user: weak, namespace: default}}}}
current-context: admin
",
            self.address
        )
    }

    /// Ends the programs that run in the pod `name`, and the pod.
    pub(crate) fn lose_pod(&self, name: &str) {
        self.cluster().objects.lose_pod(name);
    }
}

async fn serve(
    cluster: Arc<Mutex<Cluster>>,
    buildctl: PathBuf,
    tell: std::sync::mpsc::Sender<SocketAddr>,
) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    tell.send(listener.local_addr().unwrap()).unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        let (cluster, buildctl) = (Arc::clone(&cluster), buildctl.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &cluster, &buildctl));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            let _ = connection.await;
        });
    }
}

type Answer = Response<Full<Bytes>>;

async fn answer(
    mut request: Request<Incoming>,
    cluster: &Arc<Mutex<Cluster>>,
    buildctl: &std::path::Path,
) -> Result<Answer, Infallible> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let method = request.method().clone();
    cluster.lock().unwrap().log.push(format!("{method} {path}"));
    let headers = request.headers().clone();
    let header = |name: &str| {
        let value = headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (namespace, plural, name, below) = match parts[..] {
        ["api" | "apis", .., "namespaces", namespace, plural] => (namespace, plural, "", ""),
        ["api", "v1", "namespaces", namespace, plural, name] => (namespace, plural, name, ""),
        ["apis", "apps", "v1", "namespaces", namespace, plural, name] => {
            (namespace, plural, name, "")
        }
        ["api", "v1", "namespaces", namespace, "pods", name, below] => {
            (namespace, "pods", name, below)
        }
        _ => {
            return Ok(status(
                404,
                "NotFound",
                "the server could not find the requested resource",
            ));
        }
    };
    if let Some(refusal) = refused(&header("authorization"), &method, (namespace, plural, name)) {
        return Ok(refusal);
    }
    let parameters: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let parameter = |name: &str| {
        let found = parameters.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    };
    if below == "exec" {
        let upgrade = hyper::upgrade::on(&mut request);
        let command: Vec<&str> = parameters
            .iter()
            .filter(|(name, _)| name == "command")
            .map(|(_, value)| value.as_str())
            .collect();
        return Ok(exec::start(
            cluster,
            &exec::Asked {
                namespace,
                pod: name,
                container: parameter("container"),
                command: &command,
                key: &header("sec-websocket-key"),
                protocols: &header("sec-websocket-protocol"),
            },
            buildctl,
            upgrade,
        ));
    }
    let body = request.into_body().collect().await;
    let object = body
        .ok()
        .and_then(|body| serde_json::from_slice::<Value>(&body.to_bytes()).ok());
    let mut cluster = cluster.lock().unwrap();
    let objects = &mut cluster.objects;
    if below == "log" {
        return Ok(match objects.log(namespace, name, parameter("tailLines")) {
            Some(text) => Response::new(Full::from(text)),
            None => not_found(plural, name),
        });
    }
    let answered = match (method, object) {
        (Method::GET, _) if plural == "events" => Ok(objects.events(parameter("fieldSelector"))),
        (Method::GET, _) if name.is_empty() => {
            Ok(objects.list(plural, namespace, parameter("labelSelector")))
        }
        (Method::GET, _) => objects.get(plural, namespace, name),
        (Method::POST, Some(object)) => objects.create(plural, namespace, object),
        (Method::PUT, Some(object)) => objects.replace(plural, namespace, name, object),
        (Method::DELETE, _) => objects.delete(plural, namespace, name),
        _ => Err((
            415,
            "UnsupportedMediaType",
            "only JSON is supported here".to_owned(),
        )),
    };
    Ok(match answered {
        Ok(object) => json_answer(200, &object),
        Err((code, reason, message)) => status(code, reason, &message),
    })
}

/// The refusal of a user who has no rights. `None` for one who may do everything.
fn refused(
    authorization: &str,
    method: &Method,
    (namespace, plural, name): (&str, &str, &str),
) -> Option<Answer> {
    match authorization.strip_prefix("Bearer ") {
        Some(TOKEN) => None,
        // Go's client sends no token to a server without TLS.
        None if authorization.is_empty() => None,
        Some(WEAK) => {
            let verb = method.as_str().to_lowercase();
            let message = format!(
                "{plural} \"{name}\" is forbidden: User \"weak\" cannot {verb} resource \"{plural}\" in the namespace \"{namespace}\""
            );
            Some(status(403, "Forbidden", &message))
        }
        _ => Some(status(401, "Unauthorized", "Unauthorized")),
    }
}

fn not_found(plural: &str, name: &str) -> Answer {
    status(404, "NotFound", &format!("{plural} \"{name}\" not found"))
}

fn json_answer(code: u16, value: &Value) -> Answer {
    let mut answer = Response::new(Full::from(value.to_string()));
    *answer.status_mut() = code.try_into().unwrap();
    let kind = "application/json".parse().unwrap();
    answer.headers_mut().insert("content-type", kind);
    answer
}

/// The object with which an API server explains an error.
fn status(code: u16, reason: &str, message: &str) -> Answer {
    let value = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    });
    json_answer(code, &value)
}
