//! Finds out the state of builders: all nodes at the same time, each within the same time. Starts none.
//!
//! Start at [`look`].

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use super::{BuilderEntry, EntryOrigin, NodeEntry};
use crate::builder::candidate::{Candidate, Reach};
use crate::builder::embedded;
use crate::builder::error::BuilderRefusal;
use crate::builder::kubernetes::{KubernetesNode, Workload, WorkloadStatus};
use crate::builder::store::Node;
use crate::engine::Connection;
use crate::engine::docker::{ContainerState, Docker};
use crate::engine::endpoint::Endpoint;
use crate::engine::facts::{DaemonFacts, daemon_facts};
use crate::golang::time::Timestamp;
use crate::types::Environment;
use crate::types::causes::in_one_line;

/// How many nodes are asked at the same time.
const AT_ONCE: usize = 64;

/// The state of a node. The words are buildx's; it has no word for a paused container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeStatus {
    /// It answers.
    Running,
    /// Its container, or rbake's own builder, does not run.
    Stopped,
    /// Its container is paused.
    Paused,
    /// It was not made yet, or nothing answers at its address.
    Inactive,
    /// It cannot be asked.
    Error,
}

impl NodeStatus {
    /// The word for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
            Self::Inactive => "inactive",
            Self::Error => "error",
        }
    }
}

/// A builder and the state of its nodes.
#[derive(Debug)]
pub(crate) struct BuilderReport {
    pub(crate) name: String,
    pub(crate) origin: EntryOrigin,
    pub(crate) driver: String,
    pub(crate) last_activity: Option<Timestamp>,
    pub(crate) is_dynamic: bool,
    pub(crate) nodes: Vec<NodeReport>,
    /// Why its nodes are not known.
    pub(crate) problem: Option<String>,
}

impl BuilderReport {
    /// Whether a node answers.
    pub(crate) fn is_running(&self) -> bool {
        let mut nodes = self.nodes.iter();
        nodes.any(|node| node.status == NodeStatus::Running)
    }
}

/// A node and its state.
#[derive(Debug)]
pub(crate) struct NodeReport {
    pub(crate) node: Node,
    pub(crate) status: NodeStatus,
    /// Why it does not run, if that is known. Always set for [`NodeStatus::Error`].
    pub(crate) reason: Option<String>,
    /// What the daemon reports. Empty unless it runs.
    pub(crate) facts: DaemonFacts,
}

/// Looks at all nodes of `entries`, and reports them in the same order. After `limit`, nodes that have not answered
/// are reported as such.
pub(crate) async fn look(
    entries: Vec<BuilderEntry>,
    limit: Duration,
    environment: &Environment,
) -> Vec<BuilderReport> {
    let end = Instant::now() + limit;
    let mut reports = Vec::new();
    let mut waiting = Vec::new();
    for entry in entries {
        for node in entry.nodes {
            waiting.push((reports.len(), node));
        }
        reports.push(BuilderReport {
            name: entry.name,
            origin: entry.origin,
            driver: entry.driver,
            last_activity: entry.last_activity,
            is_dynamic: entry.is_dynamic,
            nodes: Vec::new(),
            problem: entry.problem.map(|problem| in_one_line(&problem)),
        });
    }
    let looks = waiting.into_iter().map(|(number, node)| async move {
        let looking = tokio::time::timeout_at(end, look_at_all(&node, environment));
        let looked = looking.await.unwrap_or_else(|_| {
            let silent = BuilderRefusal::Silent(limit);
            let looked = Looked::failed(NodeStatus::Error, in_one_line(&silent));
            vec![looked.report(node.node.clone())]
        });
        (number, looked)
    });
    let mut looks = stream::iter(looks).buffered(AT_ONCE);
    while let Some((number, report)) = looks.next().await {
        if let Some(of) = reports.get_mut(number) {
            of.nodes.extend(report);
        }
    }
    reports
}

struct Looked {
    status: NodeStatus,
    reason: Option<String>,
    facts: DaemonFacts,
}

impl Looked {
    fn at(status: NodeStatus) -> Self {
        Self {
            status,
            reason: None,
            facts: DaemonFacts::default(),
        }
    }

    fn failed(status: NodeStatus, reason: String) -> Self {
        Self {
            reason: Some(reason),
            ..Self::at(status)
        }
    }

    fn report(self, node: Node) -> NodeReport {
        NodeReport {
            node,
            status: self.status,
            reason: self.reason,
            facts: self.facts,
        }
    }
}

/// The reports of a node: one, or one for each of its pods.
async fn look_at_all(node: &NodeEntry, environment: &Environment) -> Vec<NodeReport> {
    let Ok(Candidate {
        reach: Reach::Kubernetes(of_pods),
        ..
    }) = &node.candidate
    else {
        return vec![look_at(node, environment).await.report(node.node.clone())];
    };
    match look_at_pods(of_pods, &node.node).await {
        Ok(reports) => reports,
        Err(refusal) => {
            let looked = Looked::failed(NodeStatus::Error, in_one_line(&refusal));
            vec![looked.report(node.node.clone())]
        }
    }
}

/// The reports of the pods of `node`. As in buildx, a pod that runs has its own name, and otherwise the node is reported.
async fn look_at_pods(
    of_pods: &KubernetesNode,
    node: &Node,
) -> Result<Vec<NodeReport>, BuilderRefusal> {
    let workload = Workload::connect(of_pods).await?;
    let pods = match workload.status().await? {
        WorkloadStatus::Absent => {
            return Ok(vec![Looked::at(NodeStatus::Inactive).report(node.clone())]);
        }
        WorkloadStatus::Running(pods) if !pods.is_empty() => pods,
        WorkloadStatus::Running(_) => {
            return Ok(vec![Looked::at(NodeStatus::Stopped).report(node.clone())]);
        }
        WorkloadStatus::NotReady(reason) => {
            let looked = Looked {
                reason,
                ..Looked::at(NodeStatus::Stopped)
            };
            return Ok(vec![looked.report(node.clone())]);
        }
    };
    let looks = pods.into_iter().map(|pod| {
        let endpoint = workload.endpoint(&pod);
        async move {
            let looked = running(endpoint)
                .await
                .unwrap_or_else(|refusal| Looked::failed(NodeStatus::Error, in_one_line(&refusal)));
            let mut node = node.clone();
            if let Some(platforms) = &pod.platforms {
                let platforms = platforms.split(',').filter_map(|one| one.parse().ok());
                node.platforms = Some(platforms.collect());
            }
            node.name = pod.name;
            looked.report(node)
        }
    });
    Ok(join_all(looks).await)
}

async fn look_at(node: &NodeEntry, environment: &Environment) -> Looked {
    let candidate = match &node.candidate {
        Ok(candidate) => candidate,
        Err(error) => return Looked::failed(NodeStatus::Error, in_one_line(error)),
    };
    match state(candidate, environment).await {
        Ok(looked) => looked,
        // Like buildx: a buildkitd at an address is not in error if it does not answer, it is only not there.
        Err(refusal) if matches!(candidate.reach, Reach::Remote(_)) => {
            Looked::failed(NodeStatus::Inactive, in_one_line(&refusal))
        }
        Err(refusal) => Looked::failed(NodeStatus::Error, in_one_line(&refusal)),
    }
}

async fn state(candidate: &Candidate, environment: &Environment) -> Result<Looked, BuilderRefusal> {
    match &candidate.reach {
        Reach::Remote(endpoint) => running(endpoint.clone()).await,
        Reach::Docker(host) => {
            // Connecting to the Engine first gives better messages, for example that it is too old.
            Docker::connect(host).await?;
            running(Endpoint::Docker(host.clone())).await
        }
        Reach::Container {
            container, host, ..
        } => {
            let docker = Docker::connect(host).await?;
            match docker.container(container).await? {
                ContainerState::Absent => Ok(Looked::at(NodeStatus::Inactive)),
                ContainerState::Created | ContainerState::Stopped => {
                    Ok(Looked::at(NodeStatus::Stopped))
                }
                ContainerState::Paused => Ok(Looked::at(NodeStatus::Paused)),
                ContainerState::Running => {
                    running(Endpoint::DockerContainer {
                        container: container.clone(),
                        host: host.clone(),
                    })
                    .await
                }
            }
        }
        // Its pods were looked at one by one.
        Reach::Kubernetes(_) => Ok(Looked::at(NodeStatus::Inactive)),
        Reach::Embedded => match embedded::status(environment).await? {
            Some(embedded::Reply::Ready(facts)) => {
                running(Endpoint::Unix(facts.socket.into())).await
            }
            Some(_) => Ok(Looked::failed(
                NodeStatus::Stopped,
                "it is starting or stopping".to_owned(),
            )),
            None => match embedded::can_start(environment).await {
                Ok(()) => Ok(Looked::at(NodeStatus::Stopped)),
                Err(error) => Ok(Looked::failed(NodeStatus::Inactive, in_one_line(&error))),
            },
        },
    }
}

async fn running(endpoint: Endpoint) -> Result<Looked, BuilderRefusal> {
    let connection = Connection::open(endpoint).await?;
    let facts = match daemon_facts(&connection).await {
        Ok(facts) => facts,
        Err(status) => match connection.loss_behind(&status).await {
            Some(loss) => return Err(loss.into()),
            // Some proxies do not pass on this call. The daemon runs all the same.
            None => DaemonFacts {
                version: connection.version().map(str::to_owned),
                ..DaemonFacts::default()
            },
        },
    };
    connection.close().await;
    Ok(Looked {
        facts,
        ..Looked::at(NodeStatus::Running)
    })
}
