//! Connects to a builder: checks that it answers and can do what the plan needs, and starts it if it may be
//! started.
//!
//! Start at [`Reacher::reach`].

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::candidate::{Candidate, Offers, Reach, Settings};
use super::container;
use super::embedded::{self, Launcher, Lease};
use super::error::BuilderRefusal;
use super::kubernetes::{KubernetesNode, Workload, WorkloadStatus};
use super::notice::Notice;
use super::store::Node;
use crate::diag::Diagnostic;
use crate::engine::docker::{ContainerState, Creation, Docker, EngineFacts};
use crate::engine::endpoint::{DockerHost, Endpoint};
use crate::engine::{Connection, ConnectionError, Patience};
use crate::event::EventSink;
use crate::types::Environment;
use crate::types::requirements::Requirements;

/// How many times to try a buildkitd in a container that was just started. The pause grows with each try, and this
/// is the first.
const CONTAINER_TRIES: u32 = 15;
const CONTAINER_PAUSE: Duration = Duration::from_millis(120);

/// How long to try a remote builder at whose address nobody listens. buildx tries as long (`driver/remote/driver.go`).
const LISTENS_WITHIN: Duration = Duration::from_secs(20);
/// The longest pause before it is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A builder that answers and can do what the plan needs.
pub(super) struct Reached {
    pub(super) endpoint: Endpoint,
    pub(super) connection: Connection,
    pub(super) docker: Option<EngineFacts>,
    pub(super) offers: Offers,
    pub(super) warnings: Vec<Diagnostic>,
    pub(super) lease: Option<Lease>,
}

pub(super) struct Reacher<'a> {
    pub(super) requirements: &'a Requirements,
    pub(super) environment: &'a Environment,
    pub(super) events: &'a EventSink,
    /// `None` if the embedded builder must not be started.
    pub(super) launcher: Option<&'a Launcher>,
}

impl Reacher<'_> {
    /// Connects to `candidate`. Without a `limit`, the user named the builder, so it is an error if nothing is at
    /// its address.
    pub(super) async fn reach(
        &self,
        candidate: &Candidate,
        limit: Option<Duration>,
    ) -> Result<Reached, BuilderRefusal> {
        // Starting an embedded builder, a container or pods reports its own progress.
        let tells_itself = matches!(
            candidate.reach,
            Reach::Embedded | Reach::Container { .. } | Reach::Kubernetes(_)
        );
        let notice = (!tells_itself).then(|| {
            let name = format!("wait for {candidate}");
            Notice::begin(self.events, &format!("reach-{}", candidate.name), &name)
        });
        let reaching = self.try_reach(candidate, limit);
        let reached = match limit {
            // Several requests are sent to the builder, and not all of them have this limit.
            Some(limit) => tokio::time::timeout(limit * 2, reaching)
                .await
                .unwrap_or(Err(BuilderRefusal::Silent(limit * 2))),
            None => reaching.await,
        };
        if let Some(notice) = notice {
            notice.end(None);
        }
        reached
    }

    /// The same as [`Self::reach`], without a time limit for the whole, and without a report of slow steps.
    async fn try_reach(
        &self,
        candidate: &Candidate,
        limit: Option<Duration>,
    ) -> Result<Reached, BuilderRefusal> {
        match &candidate.reach {
            Reach::Remote(endpoint) => {
                if limit.is_some()
                    && let Endpoint::Unix(path) = endpoint
                    && is_absent(path).await
                {
                    return Err(BuilderRefusal::Absent);
                }
                let is_stored = matches!(candidate.settings, Settings::Store(_));
                let connection = if is_stored && self.launcher.is_some() {
                    self.open_when_it_listens(endpoint).await?
                } else {
                    self.open(endpoint.clone(), limit).await?
                };
                match endpoint.as_docker() {
                    Some(host) if connection.is_docker() => {
                        self.docker_by_another_name(&host, candidate, limit).await
                    }
                    _ => Ok(buildkitd(connection, None)),
                }
            }
            Reach::Docker(host) => {
                if limit.is_some()
                    && let DockerHost::Unix(path) = host
                    && is_absent(path).await
                {
                    return Err(BuilderRefusal::Absent);
                }
                self.docker(host, limit).await
            }
            Reach::Container {
                container,
                host,
                node,
            } => self.container(container, host, node.as_deref()).await,
            Reach::Kubernetes(node) => self.pod(node).await,
            Reach::Embedded => self.embedded().await,
        }
    }

    /// Connects to the buildkitd in one of the pods of `node`. Makes the pods if none is ready.
    async fn pod(&self, node: &KubernetesNode) -> Result<Reached, BuilderRefusal> {
        let workload = Workload::connect(node).await?;
        match workload.status().await? {
            WorkloadStatus::Running(_) => {}
            WorkloadStatus::Absent | WorkloadStatus::NotReady(_) if self.launcher.is_some() => {
                workload.boot(self.events).await?;
            }
            WorkloadStatus::Absent => {
                return Err(BuilderRefusal::WorkloadGone(workload.shown()));
            }
            WorkloadStatus::NotReady(_) => return Err(BuilderRefusal::NoPod(workload.shown())),
        }
        let pod = workload.choose().await?;
        let connection = self.open(workload.endpoint(&pod), None).await?;
        Ok(buildkitd(connection, None))
    }

    async fn docker(
        &self,
        host: &DockerHost,
        limit: Option<Duration>,
    ) -> Result<Reached, BuilderRefusal> {
        let facts = Docker::connect(host).await?.facts().await?;
        if !facts.os.is_empty() && facts.os != "linux" {
            return Err(BuilderRefusal::NotLinux(facts.os));
        }
        let offers = if facts.containerd_store {
            Offers::DockerContainerd
        } else {
            Offers::DockerClassic
        };
        let lacks = offers.lacks(self.requirements);
        if !lacks.is_empty() {
            return Err(BuilderRefusal::Lacks(lacks));
        }
        let connection = self.open(Endpoint::Docker(host.clone()), limit).await?;
        Ok(Reached {
            offers,
            docker: Some(facts),
            ..buildkitd(connection, None)
        })
    }

    /// Uses the Docker Engine that answers on an address for BuildKit, with a warning.
    ///
    /// An Engine also speaks BuildKit's protocol on its socket. If it were used as a buildkitd, it would store
    /// images under names by which Docker does not find them.
    async fn docker_by_another_name(
        &self,
        host: &DockerHost,
        candidate: &Candidate,
        limit: Option<Duration>,
    ) -> Result<Reached, BuilderRefusal> {
        let mut reached = self.docker(host, limit).await?;
        let message = format!(
            "{} leads to a Docker Engine, so rbake uses it as one",
            candidate.from
        );
        reached.warnings.push(
            Diagnostic::warning("builder::docker-engine", message)
                .help(format!("use it as a Docker Engine: `DOCKER_HOST={host}`")),
        );
        Ok(reached)
    }

    /// Connects to the buildkitd in `container`. Makes the container if it is that of `node`, and starts it if it does
    /// not run.
    async fn container(
        &self,
        container: &str,
        host: &DockerHost,
        node: Option<&Node>,
    ) -> Result<Reached, BuilderRefusal> {
        let docker = Docker::connect(host).await?;
        let state = docker.container(container).await?;
        match (state, node) {
            (ContainerState::Paused, _) => {
                return Err(BuilderRefusal::Paused(container.to_owned()));
            }
            (ContainerState::Absent, Some(node)) if self.launcher.is_some() => {
                let made = container::make(&docker, container, node, self.environment, self.events);
                return match made.await? {
                    Creation::Made => self.start(&docker, container, host).await,
                    Creation::Exists => self.await_daemon(&docker, container, host).await,
                };
            }
            (ContainerState::Absent, _) => {
                return Err(BuilderRefusal::NoContainer(container.to_owned()));
            }
            (ContainerState::Created | ContainerState::Stopped, _) if self.launcher.is_some() => {
                // The process that made it may have ended before it copied the files.
                if let (ContainerState::Created, Some(node)) = (state, node) {
                    container::copy_files(&docker, container, node).await?;
                }
                return self.start(&docker, container, host).await;
            }
            // If it does not run and nothing may be started here, connecting fails, and the error says so.
            (ContainerState::Running | ContainerState::Created | ContainerState::Stopped, _) => {}
        }
        match self.open(in_container(container, host), None).await {
            // Somebody else has just started it.
            Err(ConnectionError::Dial(error))
                if self.launcher.is_some() && error.finds_nobody() =>
            {
                self.await_daemon(&docker, container, host).await
            }
            opened => Ok(buildkitd(opened?, None)),
        }
    }

    /// Starts `container`, and waits until the buildkitd in it answers.
    async fn start(
        &self,
        docker: &Docker,
        container: &str,
        host: &DockerHost,
    ) -> Result<Reached, BuilderRefusal> {
        tracing::info!(container, "container started");
        docker.start_container(container).await?;
        self.await_daemon(docker, container, host).await
    }

    /// Waits until the buildkitd in `container`, which starts, answers.
    async fn await_daemon(
        &self,
        docker: &Docker,
        container: &str,
        host: &DockerHost,
    ) -> Result<Reached, BuilderRefusal> {
        let name = format!("start the container {container}");
        let notice = Notice::begin(self.events, "builder-container", &name);
        match self.open_patiently(&in_container(container, host)).await {
            Ok(connection) => {
                notice.end(None);
                Ok(buildkitd(connection, None))
            }
            Err(source) => {
                notice.end(Some(&source.to_string()));
                Err(BuilderRefusal::Unready {
                    container: container.to_owned(),
                    tail: container::log_tail(docker, container).await,
                    source: Box::new(source),
                })
            }
        }
    }

    async fn embedded(&self) -> Result<Reached, BuilderRefusal> {
        let Some(launcher) = self.launcher else {
            return Err(BuilderRefusal::Absent);
        };
        let running = embedded::ensure_running(self.environment, launcher, self.events).await?;
        let connection = self.open(running.endpoint, None).await?;
        let mut reached = buildkitd(connection, Some(running.lease));
        if running.is_outdated {
            reached.warnings.push(
                Diagnostic::warning(
                    "builder::outdated-configuration",
                    "the embedded builder runs with an earlier configuration, or earlier proxies or certificates, because other runs use it",
                )
                .help("it uses the current ones when it starts again: `rbake builder stop`"),
            );
        }
        Ok(reached)
    }

    async fn open(
        &self,
        endpoint: Endpoint,
        limit: Option<Duration>,
    ) -> Result<Connection, ConnectionError> {
        // An invalid value of the variable was reported before this, so the default is fine here.
        let patience = Patience::of(self.environment).unwrap_or_default();
        match limit {
            Some(limit) => Connection::open_patiently(endpoint, limit, patience).await,
            None => Connection::open_with(endpoint, patience).await,
        }
    }

    /// Connects to a builder that may have just been started, such as one in a container beside this one. buildx waits for it,
    /// too.
    async fn open_when_it_listens(
        &self,
        endpoint: &Endpoint,
    ) -> Result<Connection, ConnectionError> {
        let begun = Instant::now();
        let mut turn = 1;
        loop {
            match self.open(endpoint.clone(), None).await {
                Err(ConnectionError::Dial(error))
                    if error.finds_nobody()
                        && begun.elapsed() < LISTENS_WITHIN
                        && may_appear(endpoint).await =>
                {
                    tracing::debug!(turn, "retry: nobody listens yet");
                    tokio::time::sleep((CONTAINER_PAUSE * turn).min(LONGEST_PAUSE)).await;
                }
                opened => return opened,
            }
            turn += 1;
        }
    }

    /// Connects to buildkitd in a container that was just started. It takes some time until buildkitd listens. The
    /// pauses are buildx's.
    async fn open_patiently(&self, endpoint: &Endpoint) -> Result<Connection, ConnectionError> {
        let mut turn = 1;
        loop {
            match self.open(endpoint.clone(), None).await {
                Ok(connection) => return Ok(connection),
                // It listens but does not answer, and we have waited for the full time already.
                Err(error @ ConnectionError::Timeout { .. }) => return Err(error),
                Err(error) if turn >= CONTAINER_TRIES => return Err(error),
                Err(_) => {
                    tracing::debug!(
                        turn,
                        "retry: buildkitd in the container does not listen yet"
                    );
                    tokio::time::sleep(CONTAINER_PAUSE * turn).await;
                }
            }
            turn += 1;
        }
    }
}

fn in_container(container: &str, host: &DockerHost) -> Endpoint {
    Endpoint::DockerContainer {
        container: container.to_owned(),
        host: host.clone(),
    }
}

fn buildkitd(connection: Connection, lease: Option<Lease>) -> Reached {
    Reached {
        endpoint: connection.endpoint().clone(),
        connection,
        docker: None,
        offers: Offers::Everything,
        warnings: Vec::new(),
        lease,
    }
}

/// Whether a daemon may soon listen at `endpoint`. If a socket has no directory, the address is wrong.
async fn may_appear(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Unix(path) => match path.parent() {
            Some(dir) => !is_absent(dir).await,
            None => false,
        },
        _ => true,
    }
}

/// Whether there is nothing at `path`.
async fn is_absent(path: &Path) -> bool {
    tokio::fs::symlink_metadata(path)
        .await
        .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}
