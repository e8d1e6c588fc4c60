//! Calls of a Kubernetes API server: objects of a namespace, logs of pods, and programs that run in pods.
//!
//! Only this module uses the client crate, and of it only what it does before a request: kubeconfigs, credentials, TLS and
//! proxies. Objects are JSON whose fields are read one by one, because rbake needs few of them. This module does not know
//! what a builder consists of (see `builder::kubernetes`). Start at [`Kubernetes::connect`].

mod config;
mod error;
mod exec;
mod objects;

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kube::client::Body;
use serde_json::Value;

pub(crate) use error::KubernetesError;
pub(crate) use objects::{PodPhase, PodState, WorkloadState};

use super::endpoint::{ClusterAccess, is_kubernetes_name};
use super::failure::clean;

/// The most time for the connection to the API server, with the programs that the kubeconfig runs for credentials.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);
/// The most time that the API server may take to answer a query.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// The most that is read of an answer, in bytes. An object of Kubernetes has at most 1.5 MiB (etcd's limit).
const ANSWER_SIZE: usize = 32 << 20;
/// The most objects of a list.
const LIST_LIMIT: usize = 500;

/// The kinds of objects that a builder consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    Deployment,
    StatefulSet,
    ConfigMap,
    Pod,
}

impl ObjectKind {
    /// The kind, as Kubernetes spells it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::ConfigMap => "ConfigMap",
            Self::Pod => "Pod",
        }
    }

    /// The path of its group and version, and its name in paths.
    const fn path(self) -> (&'static str, &'static str) {
        match self {
            Self::Deployment => ("/apis/apps/v1", "deployments"),
            Self::StatefulSet => ("/apis/apps/v1", "statefulsets"),
            Self::ConfigMap => ("/api/v1", "configmaps"),
            Self::Pod => ("/api/v1", "pods"),
        }
    }
}

/// Whether an object was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectCreation {
    /// It was made.
    Made,
    /// There is one of that name.
    Exists,
}

/// A namespace of a cluster.
#[derive(Clone)]
pub(crate) struct Kubernetes {
    client: kube::Client,
    /// The API server's address, without credentials.
    server: String,
    namespace: String,
}

impl Kubernetes {
    /// Prepares requests to the API server of `cluster`. `namespace` is `None` for that of the context. Sends nothing.
    ///
    /// # Errors
    /// There is no kubeconfig, or it is not usable.
    pub(crate) async fn connect(
        cluster: &ClusterAccess,
        namespace: Option<&str>,
    ) -> Result<Self, KubernetesError> {
        let config = config::load(cluster).await?;
        let server = crate::types::secret::redact_url(&config.cluster_url.to_string());
        let server = server.trim_end_matches('/').to_owned();
        let namespace = namespace.unwrap_or(&config.default_namespace).to_owned();
        if !is_kubernetes_name(&namespace) {
            return Err(KubernetesError::Name(namespace));
        }
        let asked = server.clone();
        // A program that the kubeconfig names for credentials runs here, and blocks.
        let made = crate::types::blocking::unblock(move || kube::Client::try_from(config));
        let client = tokio::time::timeout(CONNECT_LIMIT, made)
            .await
            .map_err(|_| KubernetesError::Timeout {
                server: asked.clone(),
                after: CONNECT_LIMIT,
            })?
            .map_err(|error| KubernetesError::of_client(&asked, "prepare the connection", error))?;
        Ok(Self {
            client,
            server,
            namespace,
        })
    }

    /// The namespace of all calls.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The Deployment or the StatefulSet `name`. `None` if there is none.
    pub(crate) async fn workload(
        &self,
        kind: ObjectKind,
        name: &str,
    ) -> Result<Option<WorkloadState>, KubernetesError> {
        let act = format!("read the {} `{name}`", kind.name());
        match self
            .json(Method::GET, &self.path(kind, name)?, None, &act)
            .await
        {
            Ok(object) => Ok(Some(WorkloadState::read(&object))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the object `object`, whose name is in it.
    pub(crate) async fn create(
        &self,
        kind: ObjectKind,
        object: &Value,
    ) -> Result<ObjectCreation, KubernetesError> {
        let act = format!("create the {} `{}`", kind.name(), objects::name_of(object));
        let path = self.folder(kind);
        match self.json(Method::POST, &path, Some(object), &act).await {
            Ok(_) => Ok(ObjectCreation::Made),
            Err(error) if error.is_conflict() => Ok(ObjectCreation::Exists),
            Err(error) => Err(error),
        }
    }

    /// Replaces the object that has the name of `object`.
    pub(crate) async fn replace(
        &self,
        kind: ObjectKind,
        object: &Value,
    ) -> Result<(), KubernetesError> {
        let name = objects::name_of(object);
        let act = format!("replace the {} `{name}`", kind.name());
        let path = self.path(kind, name)?;
        self.json(Method::PUT, &path, Some(object), &act).await?;
        Ok(())
    }

    /// Deletes the object `name`, and the pods that belong to it. Returns whether there was one.
    pub(crate) async fn delete(
        &self,
        kind: ObjectKind,
        name: &str,
    ) -> Result<bool, KubernetesError> {
        let act = format!("delete the {} `{name}`", kind.name());
        let path = self.path(kind, name)?;
        match self.json(Method::DELETE, &path, None, &act).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The pods whose labels are `labels`, `name=value` with commas between them, sorted by name.
    pub(crate) async fn pods(&self, labels: &str) -> Result<Vec<PodState>, KubernetesError> {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("labelSelector", labels);
        query.append_pair("limit", &LIST_LIMIT.to_string());
        let path = format!("{}?{}", self.folder(ObjectKind::Pod), query.finish());
        let list = self.json(Method::GET, &path, None, "list the pods").await?;
        let mut pods: Vec<PodState> = objects::items(&list)
            .iter()
            .take(LIST_LIMIT)
            .filter_map(PodState::read)
            .collect();
        pods.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(pods)
    }

    /// The newest warning about the object `name`. `None` if there is none, or it may not be read.
    pub(crate) async fn warning_about(&self, name: &str) -> Option<String> {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair(
            "fieldSelector",
            &format!("involvedObject.name={name},type=Warning"),
        );
        query.append_pair("limit", &LIST_LIMIT.to_string());
        let path = format!(
            "/api/v1/namespaces/{}/events?{}",
            self.namespace,
            query.finish()
        );
        let list = self
            .json(Method::GET, &path, None, "list the events")
            .await
            .ok()?;
        objects::newest_warning(&list)
    }

    /// The log of a container, or its last `tail` lines. With `follow`, it ends when the container does.
    ///
    /// # Errors
    /// The pod or the container does not exist, or the log may not be read.
    pub(crate) async fn logs(
        &self,
        pod: &str,
        container: Option<&str>,
        tail: Option<usize>,
        follow: bool,
    ) -> Result<impl Stream<Item = Result<Bytes, KubernetesError>> + use<>, KubernetesError> {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if let Some(container) = container {
            query.append_pair("container", container);
        }
        if let Some(tail) = tail {
            query.append_pair("tailLines", &tail.to_string());
        }
        if follow {
            query.append_pair("follow", "true");
        }
        let path = format!(
            "{}/log?{}",
            self.path(ObjectKind::Pod, pod)?,
            query.finish()
        );
        let act = format!("read the log of the pod `{pod}`");
        let answer = self.send(Method::GET, &path, None, &act).await?;
        let server = self.server.clone();
        Ok(answer.into_body().into_data_stream().map(move |piece| {
            piece.map_err(|error| KubernetesError::of_client(&server, &act, error))
        }))
    }

    fn folder(&self, kind: ObjectKind) -> String {
        let (group, plural) = kind.path();
        format!("{group}/namespaces/{}/{plural}", self.namespace)
    }

    fn path(&self, kind: ObjectKind, name: &str) -> Result<String, KubernetesError> {
        if is_kubernetes_name(name) {
            Ok(format!("{}/{name}", self.folder(kind)))
        } else {
            Err(KubernetesError::Name(name.to_owned()))
        }
    }

    /// Sends a request whose answer is JSON. `act` is what the request is for, as a verb phrase.
    async fn json(
        &self,
        method: Method,
        path: &str,
        object: Option<&Value>,
        act: &str,
    ) -> Result<Value, KubernetesError> {
        let asking = async {
            let answer = self.send(method, path, object, act).await?;
            let body = self.read(answer, act).await?;
            serde_json::from_slice(&body).map_err(|_| self.strange(act, "it is not JSON"))
        };
        let answered = tokio::time::timeout(ANSWER_LIMIT, asking).await;
        answered.unwrap_or_else(|_| {
            Err(KubernetesError::Timeout {
                server: self.server.clone(),
                after: ANSWER_LIMIT,
            })
        })
    }

    /// Sends a request, and returns the answer unless it is an error.
    async fn send(
        &self,
        method: Method,
        path: &str,
        object: Option<&Value>,
        act: &str,
    ) -> Result<Response<Body>, KubernetesError> {
        let body = object.map_or_else(Body::empty, |object| {
            Body::from(object.to_string().into_bytes())
        });
        let mut request = Request::builder().method(method).uri(path);
        if object.is_some() {
            request = request.header(http::header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(body)
            .map_err(|_| KubernetesError::Name(path.to_owned()))?;
        let answer = tokio::time::timeout(ANSWER_LIMIT, self.client.send(request)).await;
        let answer = answer
            .map_err(|_| KubernetesError::Timeout {
                server: self.server.clone(),
                after: ANSWER_LIMIT,
            })?
            .map_err(|error| KubernetesError::of_client(&self.server, act, error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let body = self.read(answer, act).await.unwrap_or_default();
        let message = objects::message_of(&body)
            .unwrap_or_else(|| status.canonical_reason().unwrap_or("an error").to_owned());
        Err(KubernetesError::Refused {
            server: self.server.clone(),
            act: act.to_owned(),
            status: status.as_u16(),
            message: clean(&message),
        })
    }

    async fn read(&self, answer: Response<Body>, act: &str) -> Result<Bytes, KubernetesError> {
        let body = Limited::new(answer.into_body(), ANSWER_SIZE)
            .collect()
            .await;
        let body = body.map_err(|error| {
            if error.is::<LengthLimitError>() {
                self.strange(act, "it is too large")
            } else {
                KubernetesError::Broken {
                    server: self.server.clone(),
                    act: act.to_owned(),
                    source: error,
                }
            }
        });
        Ok(body?.to_bytes())
    }

    fn strange(&self, act: &str, reason: &'static str) -> KubernetesError {
        KubernetesError::Answer {
            server: self.server.clone(),
            act: act.to_owned(),
            reason,
        }
    }
}

impl std::fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kubernetes")
            .field("server", &self.server)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}
