//! Builders with the driver `kubernetes`: a Deployment or a StatefulSet whose pods run buildkitd.
//!
//! The names, the objects and the choice of a pod are buildx's (`driver/kubernetes` at v0.36.1), so that each program uses and
//! removes what the other has made. Start at [`Workload::connect`].

mod address;
mod boot;
mod choice;
mod manifest;
mod options;

pub(super) use address::{endpoint_of_node, random_node_name};
pub(super) use options::{KubernetesOptions, LoadBalance};

use super::container::DriverOptionError;
use super::error::BuilderRefusal;
use super::store::Node;
use crate::engine::endpoint::{ClusterAccess, Endpoint, PodEndpoint};
use crate::engine::kubernetes::{
    Kubernetes, KubernetesError, ObjectKind, PodPhase, PodState, WorkloadState,
};
use crate::types::Environment;
use manifest::Objects;
pub(super) use manifest::ObjectsError;

/// A node of a builder, before any request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KubernetesNode {
    cluster: ClusterAccess,
    node: Node,
    /// By this text, a pod is chosen if the same one is to be used again.
    sticky_key: String,
}

impl KubernetesNode {
    /// The node `node` of buildx's store.
    pub(super) fn new(node: &Node, environment: &Environment) -> Self {
        Self {
            cluster: address::cluster_of(&node.endpoint, environment),
            node: node.clone(),
            // buildx's bake takes the current directory, too.
            sticky_key: environment.current_dir().display().to_string(),
        }
    }
}

/// Checks a node that is to be written: its options, its files, and the kubeconfig. Sends nothing.
pub(super) async fn check(node: &KubernetesNode) -> Result<(), BuilderRefusal> {
    Workload::connect(node).await.map(drop)
}

/// The objects of a node, and the API server that has them.
pub(crate) struct Workload {
    kubernetes: Kubernetes,
    objects: Objects,
    options: KubernetesOptions,
    cluster: ClusterAccess,
    sticky_key: String,
}

/// What a node consists of now.
#[derive(Debug)]
pub(crate) enum WorkloadStatus {
    /// It was not made yet.
    Absent,
    /// None of its pods is ready. Says why, if that is known.
    NotReady(Option<String>),
    /// At least one pod is ready. These run.
    Running(Vec<PodState>),
}

impl Workload {
    /// Finds the API server of `node`, and checks its options. Sends nothing.
    ///
    /// # Errors
    /// An option or a file of the node is not valid, or there is no usable kubeconfig.
    pub(crate) async fn connect(node: &KubernetesNode) -> Result<Self, BuilderRefusal> {
        let options = KubernetesOptions::parse(&node.node.driver_opts)?;
        let objects = Objects::of(&node.node, &options)?;
        let namespace = options.namespace.as_deref();
        let kubernetes = Kubernetes::connect(&node.cluster, namespace).await?;
        Ok(Self {
            kubernetes,
            objects,
            options,
            cluster: node.cluster.clone(),
            sticky_key: node.sticky_key.clone(),
        })
    }

    /// What it is called in messages.
    pub(crate) fn shown(&self) -> String {
        format!(
            "the {} `{}` in the namespace `{}`",
            self.objects.kind.name(),
            self.objects.name,
            self.kubernetes.namespace()
        )
    }

    async fn state(&self) -> Result<Option<WorkloadState>, KubernetesError> {
        self.kubernetes
            .workload(self.objects.kind, &self.objects.name)
            .await
    }

    /// Asks for its state.
    pub(crate) async fn status(&self) -> Result<WorkloadStatus, BuilderRefusal> {
        match self.state().await? {
            None => Ok(WorkloadStatus::Absent),
            Some(WorkloadState { ready: 0, failure }) => {
                let reason = match failure {
                    Some(failure) => Some(failure),
                    None => self.troubles().await.into_iter().next(),
                };
                Ok(WorkloadStatus::NotReady(reason))
            }
            Some(_) => Ok(WorkloadStatus::Running(self.running_pods().await?)),
        }
    }

    /// All pods, sorted by name.
    pub(crate) async fn all_pods(&self) -> Result<Vec<PodState>, KubernetesError> {
        self.kubernetes.pods(&self.objects.selector).await
    }

    /// The pods that run, sorted by name. Those that are being deleted are left out, because they would end during a build.
    pub(crate) async fn running_pods(&self) -> Result<Vec<PodState>, KubernetesError> {
        let mut pods = self.all_pods().await?;
        pods.retain(|pod| pod.phase == PodPhase::Running && !pod.is_deleted);
        Ok(pods)
    }

    /// Why pods are not ready, each as a fragment. Empty if nothing is known.
    async fn troubles(&self) -> Vec<String> {
        let pods = self.all_pods().await;
        let mut all: Vec<String> = pods
            .unwrap_or_default()
            .iter()
            .filter(|pod| !pod.is_deleted)
            .filter_map(|pod| {
                let trouble = pod.trouble.as_ref()?;
                Some(format!("the pod `{}`: {trouble}", pod.name))
            })
            .collect();
        // A StatefulSet reports only by events that it cannot make a pod.
        if all.is_empty()
            && let Some(warning) = self.kubernetes.warning_about(&self.objects.name).await
        {
            all.push(warning);
        }
        all
    }

    /// Chooses one of the pods that run, as the options say.
    pub(crate) async fn choose(&self) -> Result<PodState, BuilderRefusal> {
        let mut pods = self.running_pods().await?;
        let chosen = match self.options.load_balance {
            LoadBalance::Sticky => {
                let names: Vec<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
                choice::sticky(&names, &self.sticky_key)
            }
            LoadBalance::Random => choice::random(pods.len()),
        };
        match chosen {
            Some(chosen) if chosen < pods.len() => {
                tracing::info!(pods = pods.len(), chosen = pods[chosen].name, "pod chosen");
                Ok(pods.swap_remove(chosen))
            }
            _ => Err(BuilderRefusal::NoPod(self.shown())),
        }
    }

    /// The address of the buildkitd in `pod`.
    pub(crate) fn endpoint(&self, pod: &PodState) -> Endpoint {
        Endpoint::Pod(Box::new(PodEndpoint {
            cluster: self.cluster.clone(),
            namespace: Some(self.kubernetes.namespace().to_owned()),
            pod: pod.name.clone(),
            container: pod.container.clone(),
        }))
    }

    /// The API server, for logs.
    pub(crate) fn kubernetes(&self) -> &Kubernetes {
        &self.kubernetes
    }

    /// Deletes all objects. The claims of a StatefulSet and their volumes stay, as with buildx.
    pub(crate) async fn remove(&self) -> Result<(), KubernetesError> {
        self.kubernetes
            .delete(self.objects.kind, &self.objects.name)
            .await?;
        for config in &self.objects.config_maps {
            let name = config["metadata"]["name"].as_str().unwrap_or_default();
            self.kubernetes.delete(ObjectKind::ConfigMap, name).await?;
        }
        Ok(())
    }
}

fn bad_option(name: &str, value: &str, expected: &'static str) -> DriverOptionError {
    DriverOptionError::value(name, value, expected)
}
