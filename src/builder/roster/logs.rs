//! Where the logs of a builder's nodes are.

use std::io;
use std::path::PathBuf;

use super::BuilderEntry;
use crate::builder::advice;
use crate::builder::candidate::Reach;
use crate::builder::embedded::{EmbeddedError, EmbeddedPlaces};
use crate::builder::error::{BuilderRefusal, ChooseError};
use crate::builder::kubernetes::{KubernetesNode, Workload, WorkloadStatus};
use crate::diag::{Class, Diagnostic};
use crate::engine::docker::{Docker, DockerError};
use crate::engine::endpoint::DockerHost;
use crate::engine::kubernetes::{Kubernetes, KubernetesError, PodState};
use crate::types::Environment;
use crate::types::causes::in_one_line;

/// The log of a node.
#[derive(Debug)]
pub(crate) enum LogSource {
    /// The output of a container.
    Container {
        /// The container.
        container: String,
        /// Its Docker Engine.
        host: DockerHost,
    },
    /// The outputs of all pods of a node.
    Pods(Box<KubernetesNode>),
    /// A file.
    File(PathBuf),
}

/// A log cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The builder does not exist.
    #[error(transparent)]
    Choose(#[from] ChooseError),
    /// The log of such a builder cannot be reached.
    #[error("rbake cannot show the log of the builder `{name}`, because its driver is `{driver}`")]
    Driver {
        /// The builder.
        name: String,
        /// Its driver.
        driver: String,
    },
    /// It has no such node.
    #[error("the builder `{name}` has no node `{node}`")]
    Node {
        /// The builder.
        name: String,
        /// The node.
        node: String,
        /// Its nodes.
        known: Vec<String>,
    },
    /// The Docker Engine does not answer, or refuses.
    #[error("the log cannot be read")]
    Docker(#[from] DockerError),
    /// The pods cannot be found.
    #[error("the log cannot be read")]
    Pods(#[from] Box<BuilderRefusal>),
    /// The API server does not answer, or refuses.
    #[error("the log cannot be read")]
    Kubernetes(#[from] KubernetesError),
    /// The file cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The underlying error.
        #[source]
        source: io::Error,
    },
    /// The embedded builder has no folder.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
}

impl LogError {
    /// The error as it is reported to the user, with notes and help.
    pub(crate) fn diagnostic(&self) -> Diagnostic {
        let engine = |code| Diagnostic::error(Class::Engine, code, self.to_string());
        match self {
            Self::Choose(error) => error.diagnostic(),
            Self::Driver { .. } => Diagnostic::error(
                Class::Usage,
                "builder::unsupported-driver",
                self.to_string(),
            )
            .help("look at the log where that buildkitd is started; `docker` manages the Engine's"),
            Self::Node { node, known, .. } => {
                Diagnostic::error(Class::Usage, "builder::node", self.to_string())
                    .note(format!("its nodes: {}", known.join(", ")))
                    .similar("a node", node, known.iter().map(String::as_str))
            }
            Self::Docker(error) if error.is_not_found() => engine("builder::not-running")
                .note(in_one_line(error))
                .help("`rbake builder start`, with the name of the builder, makes and starts its container"),
            Self::Docker(error) => engine("builder::unreachable").note(in_one_line(error)),
            Self::Pods(error) => match &**error {
                BuilderRefusal::Kubernetes(error) => advice::for_kubernetes(
                    engine("builder::unreachable").note(in_one_line(error)),
                    error,
                ),
                BuilderRefusal::WorkloadGone(_) | BuilderRefusal::NoPod(_) => {
                    engine("builder::not-running")
                        .note(in_one_line(&**error))
                        .help("`rbake builder start`, with the name of the builder, makes its pods")
                }
                other => engine("builder::unreachable").note(in_one_line(other)),
            },
            Self::Kubernetes(error) => advice::for_kubernetes(
                engine("builder::unreachable").note(in_one_line(error)),
                error,
            ),
            Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                engine("builder::not-running").help("the embedded builder has never run")
            }
            Self::File { .. } => engine("builder::unreachable").caused_by(self),
            Self::Embedded(error) => error.diagnostic(),
        }
    }
}

/// The logs of the nodes of `entry`, or of `node` only.
pub(crate) fn log_sources(
    entry: &BuilderEntry,
    node: Option<&str>,
    environment: &Environment,
) -> Result<Vec<LogSource>, LogError> {
    let wanted = entry
        .nodes
        .iter()
        .filter(|entry| node.is_none_or(|node| entry.node.name == node));
    let mut sources = Vec::new();
    for wanted in wanted {
        sources.push(match wanted.candidate.as_ref().map(|found| &found.reach) {
            Ok(Reach::Container {
                container, host, ..
            }) => LogSource::Container {
                container: container.clone(),
                host: host.clone(),
            },
            Ok(Reach::Kubernetes(node)) => LogSource::Pods(node.clone()),
            Ok(Reach::Embedded) => {
                let places = EmbeddedPlaces::of(environment).map_err(EmbeddedError::from)?;
                LogSource::File(places.log())
            }
            Ok(Reach::Remote(_) | Reach::Docker(_)) | Err(_) => {
                return Err(LogError::Driver {
                    name: entry.name.clone(),
                    driver: entry.driver.clone(),
                });
            }
        });
    }
    match node {
        Some(node) if sources.is_empty() => Err(LogError::Node {
            name: entry.name.clone(),
            node: node.to_owned(),
            known: entry
                .nodes
                .iter()
                .map(|node| node.node.name.clone())
                .collect(),
        }),
        _ => Ok(sources),
    }
}

impl LogSource {
    /// The API server of a node, and its pods.
    pub(crate) async fn pods(
        node: &KubernetesNode,
    ) -> Result<(Kubernetes, Vec<PodState>), LogError> {
        let workload = Workload::connect(node).await.map_err(Box::new)?;
        let status = workload.status().await.map_err(Box::new)?;
        let pods = match status {
            WorkloadStatus::Running(pods) => pods,
            WorkloadStatus::Absent => {
                let gone = BuilderRefusal::WorkloadGone(workload.shown());
                return Err(Box::new(gone).into());
            }
            // A pod that is not ready may have a log that says why.
            WorkloadStatus::NotReady(_) => workload.all_pods().await?,
        };
        Ok((workload.kubernetes().clone(), pods))
    }

    /// Connects to the Docker Engine of a container.
    pub(crate) async fn engine(host: &DockerHost) -> Result<Docker, LogError> {
        Ok(Docker::connect(host).await?)
    }
}
