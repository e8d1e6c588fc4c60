//! Connects to the nodes of a builder that runs. Starts none.
//!
//! Start at [`connect`].

use std::time::Duration;

use futures_util::future::join_all;

use super::{BuilderEntry, NodeEntry};
use crate::builder::candidate::Reach;
use crate::builder::discovery::refused;
use crate::builder::embedded;
use crate::builder::error::{BuilderRefusal, ChooseError};
use crate::builder::kubernetes::{KubernetesNode, Workload, WorkloadStatus};
use crate::builder::reach::Reacher;
use crate::diag::{Class, Diagnostic};
use crate::engine::cache_records::CacheRecordError;
use crate::engine::docker::{ContainerState, Docker};
use crate::engine::{Connection, Endpoint};
use crate::event::EventSink;
use crate::types::Environment;
use crate::types::causes::in_one_line;
use crate::types::requirements::Requirements;
use crate::types::terminal::shell_word;

/// A node that answers.
#[derive(Debug)]
pub(crate) struct ConnectedNode {
    /// The node's name.
    pub(crate) name: String,
    pub(crate) connection: Connection,
}

/// A builder cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// It does not exist, or a node does not answer.
    #[error(transparent)]
    Choose(#[from] ChooseError),
    /// A node does not run.
    #[error("the node `{node}` of the builder `{builder}` does not run")]
    NotRunning {
        /// The builder.
        builder: String,
        /// The node.
        node: String,
    },
    /// The records of a node's cache cannot be listed or deleted.
    #[error("the cache of the node `{node}` cannot be used")]
    Records {
        /// The node.
        node: String,
        /// Why.
        #[source]
        source: Box<CacheRecordError>,
    },
}

impl ConnectError {
    /// The error as it is reported to the user, with notes and help.
    pub(crate) fn diagnostic(&self) -> Diagnostic {
        match self {
            Self::Choose(error) => error.diagnostic(),
            Self::NotRunning { builder, .. } => {
                Diagnostic::error(Class::Engine, "builder::not-running", self.to_string()).help(
                    format!("`rbake builder start {}` starts it", shell_word(builder)),
                )
            }
            Self::Records { source, .. } => {
                Diagnostic::error(Class::Engine, "builder::cache", self.to_string())
                    .note(in_one_line(&**source))
            }
        }
    }
}

/// Connects to all nodes of `entry`, each within `limit`.
///
/// # Errors
/// The first node that does not run or does not answer.
pub(crate) async fn connect(
    entry: BuilderEntry,
    limit: Duration,
    environment: &Environment,
) -> Result<Vec<ConnectedNode>, ConnectError> {
    if let Some(problem) = entry.problem {
        return Err(problem.into());
    }
    let builder = &entry.name;
    let connecting = entry
        .nodes
        .into_iter()
        .map(|node| connect_to(builder, node, limit, environment));
    let connected = join_all(connecting).await;
    let connected: Result<Vec<Vec<ConnectedNode>>, ConnectError> = connected.into_iter().collect();
    Ok(connected?.into_iter().flatten().collect())
}

async fn connect_to(
    builder: &str,
    node: NodeEntry,
    limit: Duration,
    environment: &Environment,
) -> Result<Vec<ConnectedNode>, ConnectError> {
    let name = node.node.name;
    let mut candidate = node.candidate?;
    let requirements = Requirements::none();
    let events = EventSink::none();
    let reacher = Reacher {
        requirements: &requirements,
        environment,
        events: &events,
        launcher: None,
    };
    let connecting = async {
        match &candidate.reach {
            Reach::Embedded => match embedded::status(environment).await? {
                Some(embedded::Reply::Ready(facts)) => {
                    candidate.reach = Reach::Remote(Endpoint::Unix(facts.socket.into()));
                }
                _ => return Ok(None),
            },
            Reach::Container {
                container, host, ..
            } => match Docker::connect(host).await?.container(container).await? {
                ContainerState::Running | ContainerState::Paused => {}
                _ => return Ok(None),
            },
            Reach::Kubernetes(node) => return connect_to_pods(node).await,
            Reach::Remote(_) | Reach::Docker(_) => {}
        }
        let connection = reacher.reach(&candidate, None).await?.connection;
        Ok(Some(vec![ConnectedNode {
            name: name.clone(),
            connection,
        }]))
    };
    let connected = tokio::time::timeout(limit, connecting).await;
    match connected.unwrap_or(Err(BuilderRefusal::Silent(limit))) {
        Ok(Some(connected)) => Ok(connected),
        Ok(None) => Err(ConnectError::NotRunning {
            builder: builder.to_owned(),
            node: name,
        }),
        Err(refusal) => Err(refused(candidate, refusal).await.into()),
    }
}

/// Connects to all pods of a node that run: each has a cache of its own. `None` if none does.
async fn connect_to_pods(
    node: &KubernetesNode,
) -> Result<Option<Vec<ConnectedNode>>, BuilderRefusal> {
    let workload = Workload::connect(node).await?;
    let WorkloadStatus::Running(pods) = workload.status().await? else {
        return Ok(None);
    };
    let connecting = pods.into_iter().map(|pod| {
        let endpoint = workload.endpoint(&pod);
        async move {
            let connection = Connection::open(endpoint).await?;
            Ok(ConnectedNode {
                name: pod.name,
                connection,
            })
        }
    });
    let connected: Result<Vec<ConnectedNode>, BuilderRefusal> =
        join_all(connecting).await.into_iter().collect();
    Ok(Some(connected?).filter(|connected| !connected.is_empty()))
}
