//! Makes builders of buildx's store current, stops their containers, and removes them.
//!
//! The rules are buildx's (`commands/use.go`, `commands/rm.go` at v0.36.1). Start at [`make_current`], [`remove`] and
//! [`stop_nodes`].

use std::time::Duration;

use futures_util::future::join_all;

use super::candidate::{Driver, Reach};
use super::container::{container_of, volume_of};
use super::docker_context::{DEFAULT_CONTEXT, DockerContextError, DockerContexts};
use super::error::{BuilderRefusal, explain_context};
use super::kubernetes::{KubernetesNode, Workload};
use super::named::EMBEDDED;
use super::roster::{self, BuilderEntry, EntryOrigin, NodeEntry};
use super::store::{Instance, LockedStore, Node, Store, StoreError};
use crate::diag::{Class, Diagnostic};
use crate::engine::docker::{ContainerState, Docker};
use crate::types::Environment;
use crate::types::blocking::unblock;
use crate::types::causes::in_one_line;

/// A builder cannot be managed in this way.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManageError {
    /// The environment names no folder for buildx's store.
    #[error(
        "there is no folder for buildx's store: neither `BUILDX_CONFIG`, `DOCKER_CONFIG` nor `HOME` is set"
    )]
    NoStore,
    /// There is no such builder.
    #[error("there is no builder `{name}`")]
    Absent {
        /// The name.
        name: String,
        /// The builders that exist.
        known: Vec<String>,
    },
    /// The builder is a Docker context.
    #[error("`{name}` is a Docker context, which rbake does not {act}")]
    Context {
        /// The context.
        name: String,
        /// What is not done, as a verb phrase.
        act: &'static str,
    },
    /// The builder is rbake's own.
    #[error("the embedded builder is not in buildx's store, so rbake cannot {act} it")]
    Embedded {
        /// What cannot be done, as a verb.
        act: &'static str,
    },
    /// No builder is named, and the current one is not in buildx's store.
    #[error("no builder is named, and the current one is not in buildx's store")]
    NothingNamed,
    /// The driver of the builder does not allow it.
    #[error("rbake cannot {act} the builder `{name}`, because its driver is `{driver}`")]
    Driver {
        /// The builder.
        name: String,
        /// Its driver.
        driver: String,
        /// What cannot be done, as a verb.
        act: &'static str,
    },
    /// Docker's settings cannot be used.
    #[error(transparent)]
    Settings(#[from] DockerContextError),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ManageError {
    /// The error as it is reported to the user, with notes and help.
    pub(crate) fn diagnostic(&self) -> Diagnostic {
        let usage = |code| Diagnostic::error(Class::Usage, code, self.to_string());
        match self {
            Self::NoStore => usage("builder::unwritable-store"),
            Self::Absent { name, known } => usage("builder::unknown")
                .note(format!("known builders: {}", known.join(", ")))
                .similar("a builder", name, known.iter().map(String::as_str)),
            Self::Context { name, act } if *act == "use" => usage("builder::not-in-store")
                .help(format!("`docker context use {name}` makes it the current one")),
            Self::Context { name, .. } => {
                usage("builder::not-in-store").help(format!("see `docker context inspect {name}`"))
            }
            Self::Embedded { act } if *act == "remove" => usage("builder::not-in-store")
                .help("`rbake builder stop` stops it; its data is in `RBAKE_DATA_DIR`"),
            Self::Embedded { .. } => usage("builder::not-in-store")
                .help("`--builder embedded` uses it for one run"),
            Self::NothingNamed => usage("builder::not-in-store").help("name a builder"),
            Self::Driver { .. } => usage("builder::unsupported-driver")
                .help("only builders with the drivers `docker-container` and `kubernetes` are started, stopped and removed with their data"),
            Self::Settings(error) => explain_context(error),
            Self::Store(error) => error.diagnostic(),
        }
    }
}

fn store(environment: &Environment) -> Result<Store, ManageError> {
    Store::of(environment).ok_or(ManageError::NoStore)
}

/// The builder `name` of the store, for `act`.
fn stored(
    name: &str,
    act: &'static str,
    store: &Store,
    environment: &Environment,
) -> Result<Instance, ManageError> {
    if let Some(instance) = store.instance(name)? {
        return Ok(instance);
    }
    let contexts = DockerContexts::new(environment).names();
    if contexts.iter().any(|context| context == name) {
        return Err(ManageError::Context {
            name: name.to_owned(),
            act,
        });
    }
    if name == EMBEDDED {
        return Err(ManageError::Embedded { act });
    }
    let mut known = store.names();
    known.extend(contexts);
    Err(ManageError::Absent {
        name: name.to_owned(),
        known,
    })
}

/// Makes the builder `name` the current one for the current Docker endpoint. The current Docker context, or `default`,
/// stands for that of the endpoint.
///
/// With `everywhere`, it stays the current one for other endpoints. With `as_default`, it becomes the current one again
/// when the endpoint does.
pub(crate) async fn make_current(
    name: &str,
    everywhere: bool,
    as_default: bool,
    environment: &Environment,
) -> Result<(), ManageError> {
    let store = store(environment)?;
    let locked = store.lock(environment).await?;
    let (name, environment) = (name.to_owned(), environment.clone());
    unblock(move || {
        let contexts = DockerContexts::new(&environment);
        let key = contexts.store_key()?;
        let current = contexts.current_name()?;
        if store.instance(&name)?.is_none() && (name == DEFAULT_CONTEXT || name == current) {
            if name != current {
                return Err(ManageError::Context { name, act: "use" });
            }
            return Ok(locked.set_current(&key, "", false, false)?);
        }
        stored(&name, "use", &store, &environment)?;
        Ok(locked.set_current(&key, &name, everywhere, as_default)?)
    })
    .await
}

/// What stays of a builder that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeptParts {
    /// Nothing.
    Nothing,
    /// The volume with its state.
    State,
    /// The container, which keeps running.
    Daemon,
}

/// A builder that was removed from the store.
#[derive(Debug)]
pub(crate) struct RemovedBuilder {
    pub(crate) name: String,
    /// What could not be removed, and why, as fragments.
    pub(crate) left: Vec<String>,
}

/// Removes builders under the lock of the store, with their containers and volumes unless `kept`. Without names, the
/// current one. `limit` is the time for the containers of a builder.
///
/// A builder whose container cannot be removed is removed from the store all the same, as by buildx.
///
/// # Errors
/// A name has no builder in the store: then nothing is removed. Or the store cannot be written.
pub(crate) async fn remove(
    names: &[String],
    kept: KeptParts,
    limit: Duration,
    environment: &Environment,
) -> Result<Vec<RemovedBuilder>, ManageError> {
    let store = store(environment)?;
    let locked = store.lock(environment).await?;
    let (names, asked) = (names.to_vec(), environment.clone());
    let instances = unblock(move || {
        if names.is_empty() {
            return current(&store, &asked).map(|instance| vec![instance]);
        }
        let mut instances: Vec<Instance> = Vec::new();
        for name in &names {
            let instance = stored(name, "remove", &store, &asked)?;
            if !instances.contains(&instance) {
                instances.push(instance);
            }
        }
        Ok(instances)
    })
    .await?;
    for instance in &instances {
        check_driver(instance, kept)?;
    }
    remove_all(&locked, instances, kept, limit, environment).await
}

/// Removes all builders of the store of which no node runs, like [`remove`].
pub(crate) async fn remove_inactive(
    kept: KeptParts,
    limit: Duration,
    environment: &Environment,
) -> Result<Vec<RemovedBuilder>, ManageError> {
    let store = store(environment)?;
    let locked = store.lock(environment).await?;
    let (asked, of_store) = (environment.clone(), store.clone());
    let all = unblock(move || {
        let instances: Vec<Instance> = of_store
            .names()
            .iter()
            .filter_map(|name| of_store.instance(name).ok()?)
            .collect();
        let entries = instances
            .iter()
            .map(|instance| BuilderEntry::of_instance(instance, &asked))
            .collect();
        (instances, entries)
    });
    let (instances, entries): (Vec<Instance>, Vec<BuilderEntry>) = all.await;
    let reports = roster::look(entries, limit, environment).await;
    let mut inactive = instances;
    let mut reports = reports.iter();
    inactive.retain(|instance| {
        let is_inactive = reports.next().is_some_and(|report| !report.is_running());
        is_inactive && !instance.is_dynamic && check_driver(instance, kept).is_ok()
    });
    remove_all(&locked, inactive, kept, limit, environment).await
}

/// The current builder, if it is one of the store.
fn current(store: &Store, environment: &Environment) -> Result<Instance, ManageError> {
    let found = roster::current_by_settings(None, environment)
        .ok()
        .flatten();
    let name = found.filter(|(entry, _)| entry.origin == EntryOrigin::Store);
    let name = name
        .map(|(entry, _)| entry.name)
        .ok_or(ManageError::NothingNamed)?;
    store.instance(&name)?.ok_or(ManageError::NothingNamed)
}

fn check_driver(instance: &Instance, kept: KeptParts) -> Result<(), ManageError> {
    let has_data = !matches!(
        instance.driver.as_str(),
        "remote" | "docker-container" | "kubernetes" | ""
    );
    if has_data && kept != KeptParts::Daemon {
        return Err(ManageError::Driver {
            name: instance.name.clone(),
            driver: instance.driver.clone(),
            act: "remove",
        });
    }
    Ok(())
}

async fn remove_all(
    locked: &LockedStore,
    instances: Vec<Instance>,
    kept: KeptParts,
    limit: Duration,
    environment: &Environment,
) -> Result<Vec<RemovedBuilder>, ManageError> {
    let removals = instances.iter().map(|instance| async {
        let is_kubernetes = instance.driver == Driver::Kubernetes.name();
        let is_container = matches!(instance.driver.as_str(), "docker-container" | "");
        if kept == KeptParts::Daemon || !is_container && !is_kubernetes {
            return Vec::new();
        }
        let nodes = instance.nodes.iter().map(|node| async move {
            let removing = async {
                if is_kubernetes {
                    let node = KubernetesNode::new(node, environment);
                    Ok(Workload::connect(&node).await?.remove().await?)
                } else {
                    remove_node(node, kept, environment).await
                }
            };
            let removed = tokio::time::timeout(limit, removing).await;
            let why = match removed {
                Ok(Ok(())) => return None,
                Ok(Err(error)) => in_one_line(&error),
                Err(_) => in_one_line(&BuilderRefusal::Silent(limit)),
            };
            Some(if is_kubernetes {
                format!("the pods of the node `{}`: {why}", node.name)
            } else {
                format!("the container `{}`: {why}", container_of(&node.name))
            })
        });
        join_all(nodes).await.into_iter().flatten().collect()
    });
    let left = join_all(removals).await;
    let mut removed = Vec::new();
    for (instance, left) in instances.into_iter().zip(left) {
        locked.remove(&instance.name)?;
        tracing::info!(builder = instance.name, "builder removed");
        removed.push(RemovedBuilder {
            name: instance.name,
            left,
        });
    }
    Ok(removed)
}

async fn remove_node(
    node: &Node,
    kept: KeptParts,
    environment: &Environment,
) -> Result<(), BuilderRefusal> {
    let (endpoint, asked) = (node.endpoint.clone(), environment.clone());
    let context = unblock(move || DockerContexts::new(&asked).context_or_host(&endpoint)).await?;
    let docker = Docker::connect(&context.host).await?;
    let container = container_of(&node.name);
    if docker.container(&container).await? == ContainerState::Absent {
        return Ok(());
    }
    let volume = volume_of(&container);
    let has_volume = docker.has_volume(&container, &volume).await?;
    // First gently, so that buildkitd finishes what it writes.
    docker.stop_container(&container).await?;
    docker.remove_container(&container).await?;
    if has_volume && kept != KeptParts::State {
        docker.remove_volume(&volume).await?;
    }
    Ok(())
}

/// What stopping a builder has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoppedNodes {
    /// A container ran, and was stopped.
    Stopped,
    /// No container ran.
    NotRunning,
    /// Kubernetes keeps its pods running. buildx does nothing, too.
    Kept,
}

/// Stops all containers of `entry` that run.
///
/// # Errors
/// The builder has no containers, or one cannot be stopped.
pub(crate) async fn stop_nodes(entry: &BuilderEntry) -> Result<StoppedNodes, StopError> {
    if entry.driver == Driver::Kubernetes.name() {
        return Ok(StoppedNodes::Kept);
    }
    if entry.driver != Driver::DockerContainer.name() {
        return Err(StopError::Manage(ManageError::Driver {
            name: entry.name.clone(),
            driver: entry.driver.clone(),
            act: "stop",
        }));
    }
    let stops = entry.nodes.iter().map(|node| async {
        let stopped = stop_node(node).await;
        stopped.map_err(|source| StopError::Node {
            builder: entry.name.clone(),
            node: node.node.name.clone(),
            source: Box::new(source),
        })
    });
    let mut ran = false;
    for stopped in join_all(stops).await {
        ran |= stopped?;
    }
    Ok(if ran {
        StoppedNodes::Stopped
    } else {
        StoppedNodes::NotRunning
    })
}

/// A builder cannot be stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StopError {
    /// It has no containers.
    #[error(transparent)]
    Manage(#[from] ManageError),
    /// The container of a node cannot be stopped.
    #[error("the node `{node}` of the builder `{builder}` cannot be stopped")]
    Node {
        /// The builder.
        builder: String,
        /// The node.
        node: String,
        /// Why.
        #[source]
        source: Box<BuilderRefusal>,
    },
}

impl StopError {
    /// The error as it is reported to the user, with notes and help.
    pub(crate) fn diagnostic(&self) -> Diagnostic {
        match self {
            Self::Manage(error) => error.diagnostic(),
            Self::Node { source, .. } => {
                let code = "builder::unreachable";
                Diagnostic::error(Class::Engine, code, self.to_string())
                    .note(in_one_line(&**source))
            }
        }
    }
}

async fn stop_node(node: &NodeEntry) -> Result<bool, BuilderRefusal> {
    let candidate = match &node.candidate {
        Ok(candidate) => candidate,
        Err(error) => return Err(BuilderRefusal::Unusable(in_one_line(error))),
    };
    let Reach::Container {
        container, host, ..
    } = &candidate.reach
    else {
        return Ok(false);
    };
    let docker = Docker::connect(host).await?;
    match docker.container(container).await? {
        ContainerState::Absent | ContainerState::Created | ContainerState::Stopped => Ok(false),
        ContainerState::Running | ContainerState::Paused => {
            docker.stop_container(container).await?;
            Ok(true)
        }
    }
}
