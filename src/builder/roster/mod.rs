//! All builders that rbake knows, with their nodes: those of buildx's store, the Docker contexts, the address in
//! `BUILDKIT_HOST`, a buildkitd at a default socket, and rbake's own.
//!
//! For the verbs of `rbake builder`, which also work on builders that a run could not use, such as those with several
//! nodes. [`look()`] finds out their state. Start at [`BuilderEntry::all`] or [`BuilderEntry::named`].

mod boot;
mod connect;
mod logs;
mod look;

pub(crate) use boot::boot;
pub(crate) use connect::{ConnectError, connect};
pub(crate) use logs::{LogError, LogSource, log_sources};
pub(crate) use look::{BuilderReport, NodeReport, NodeStatus, look};

use super::candidate::{Candidate, Driver, Reach, Settings};
use super::discovery::default_sockets;
use super::docker_context::{DEFAULT_CONTEXT, DockerContexts};
use super::error::ChooseError;
use super::named::{self, Designated, Designation};
use super::store::{Instance, Node, Store};
use crate::engine::endpoint::Endpoint;
use crate::golang::time::Timestamp;
use crate::types::Environment;
use crate::types::secret::redact_url;

/// Where a builder is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryOrigin {
    /// In buildx's store.
    Store,
    /// It is a Docker context.
    Context,
    /// In `BUILDKIT_HOST`.
    Address,
    /// Nowhere: it listens at a default socket.
    Socket,
    /// It is rbake's own.
    Embedded,
}

/// A builder, before any attempt to reach it.
#[derive(Debug)]
pub(crate) struct BuilderEntry {
    /// Its name, or its address without credentials if it has no name.
    pub(crate) name: String,
    pub(crate) origin: EntryOrigin,
    /// Its driver, as buildx spells it. Empty if its file cannot be read.
    pub(crate) driver: String,
    /// When it was last changed or used, if buildx has noted that.
    pub(crate) last_activity: Option<Timestamp>,
    /// Whether its nodes are found when it is used, as with Kubernetes.
    pub(crate) is_dynamic: bool,
    pub(crate) nodes: Vec<NodeEntry>,
    /// Why its nodes are not known.
    pub(crate) problem: Option<ChooseError>,
}

/// A node of a builder.
#[derive(Debug)]
pub(crate) struct NodeEntry {
    /// The node as it is written down. The endpoint is shown to users, and has no credentials.
    pub(crate) node: Node,
    /// How it is reached, or why it cannot be.
    pub(crate) candidate: Result<Candidate, ChooseError>,
}

impl BuilderEntry {
    /// All builders: those of the store by name, then Docker contexts by name, then the others. As in buildx, a
    /// builder of the store hides a context of the same name. Blocking.
    pub(crate) fn all(environment: &Environment) -> Vec<Self> {
        let mut all = Vec::new();
        let store = Store::of(environment);
        for name in store.iter().flat_map(Store::names) {
            let found = store
                .iter()
                .find_map(|store| store.instance(&name).transpose());
            match found {
                Some(Ok(instance)) => all.push(Self::of_instance(&instance, environment)),
                Some(Err(problem)) => all.push(Self::broken(&name, problem.into())),
                // It was removed while we looked.
                None => {}
            }
        }
        let contexts = DockerContexts::new(environment);
        for name in contexts.names() {
            if !all.iter().any(|entry: &Self| entry.name == name) {
                all.push(Self::of_context(&name, environment));
            }
        }
        if let Some(address) = environment.non_empty("BUILDKIT_HOST") {
            all.push(Self::of_address(address, environment));
        }
        for socket in default_sockets(environment) {
            if socket.symlink_metadata().is_ok() {
                all.push(Self::of_socket(Endpoint::Unix(socket)));
            }
        }
        all.push(Self::embedded());
        all
    }

    /// The builder called `name`, which `from` names. Blocking.
    ///
    /// # Errors
    /// There is no such builder.
    pub(crate) fn named(
        name: &str,
        from: &str,
        environment: &Environment,
    ) -> Result<Self, ChooseError> {
        let what = named::by_that_name(name, from, environment)?;
        Ok(Self::of_designated(&what, environment))
    }

    fn of_designated(what: &Designated, environment: &Environment) -> Self {
        match what {
            Designated::Instance(instance) => Self::of_instance(instance, environment),
            Designated::Context(context) => Self::of_context(&context.name, environment),
            Designated::Address(address) => Self::of_address(address, environment),
            Designated::Embedded => Self::embedded(),
        }
    }

    /// The builder of the store that `instance` describes.
    pub(crate) fn of_instance(instance: &Instance, environment: &Environment) -> Self {
        let from = "buildx's store";
        let store = Store::of(environment);
        let nodes = instance.nodes.iter().map(|node| NodeEntry {
            candidate: named::of_node(instance, node, from, environment),
            node: Node {
                endpoint: redact_url(&node.endpoint),
                ..node.clone()
            },
        });
        Self {
            name: instance.name.clone(),
            origin: EntryOrigin::Store,
            driver: driver_of(instance).to_owned(),
            last_activity: store.and_then(|store| store.last_activity(&instance.name)),
            is_dynamic: instance.is_dynamic,
            nodes: nodes.collect(),
            problem: None,
        }
    }

    fn broken(name: &str, problem: ChooseError) -> Self {
        Self {
            name: name.to_owned(),
            origin: EntryOrigin::Store,
            driver: String::new(),
            last_activity: None,
            is_dynamic: false,
            nodes: Vec::new(),
            problem: Some(problem),
        }
    }

    fn of_context(name: &str, environment: &Environment) -> Self {
        let contexts = DockerContexts::new(environment);
        let candidate = contexts.context(name).map(|context| {
            let warnings = contexts.warnings(&context);
            Candidate::docker(context, format!("the Docker context `{name}`"), warnings)
        });
        let mut entry = Self::single(name, EntryOrigin::Context, Driver::Docker.name(), name);
        entry.last_activity = Store::of(environment).and_then(|store| store.last_activity(name));
        if let Some(node) = entry.nodes.first_mut() {
            node.candidate = candidate.map_err(ChooseError::from);
        }
        entry
    }

    fn of_address(address: &str, environment: &Environment) -> Self {
        let shown = redact_url(address.trim());
        let candidate = named::by_address(address, environment);
        let driver = candidate.as_ref().map_or(Driver::Remote, Candidate::driver);
        let mut entry = Self::single(&shown, EntryOrigin::Address, driver.name(), &shown);
        if let Some(node) = entry.nodes.first_mut() {
            node.candidate = candidate;
        }
        entry
    }

    fn of_socket(endpoint: Endpoint) -> Self {
        let shown = endpoint.to_string();
        let mut entry = Self::single(&shown, EntryOrigin::Socket, Driver::Remote.name(), &shown);
        if let Some(node) = entry.nodes.first_mut() {
            node.candidate = Ok(Candidate {
                name: shown,
                reach: Reach::Remote(endpoint),
                settings: Settings::Default,
                ..Candidate::embedded("its default socket")
            });
        }
        entry
    }

    pub(crate) fn embedded() -> Self {
        let name = named::EMBEDDED;
        Self::single(name, EntryOrigin::Embedded, Driver::Embedded.name(), "")
    }

    /// A builder with one node, of the same name, that is reached as rbake's own.
    fn single(name: &str, origin: EntryOrigin, driver: &str, endpoint: &str) -> Self {
        Self {
            name: name.to_owned(),
            origin,
            driver: driver.to_owned(),
            last_activity: None,
            is_dynamic: false,
            nodes: vec![NodeEntry {
                node: Node {
                    name: name.to_owned(),
                    endpoint: endpoint.to_owned(),
                    ..Node::default()
                },
                candidate: Ok(Candidate::embedded("rbake")),
            }],
            problem: None,
        }
    }
}

/// The driver of `instance`. buildx uses `docker-container` if the file names none.
fn driver_of(instance: &Instance) -> &str {
    if instance.driver.is_empty() {
        Driver::DockerContainer.name()
    } else {
        &instance.driver
    }
}

/// The builder that a run without `--builder` would use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CurrentBuilder {
    /// Its name, as in [`BuilderEntry::name`].
    pub(crate) name: String,
    /// Why, as a fragment.
    pub(crate) why: String,
}

/// The builder that the settings name, and why. `None` if they name none, so that the run takes one that answers.
/// Blocking.
///
/// # Errors
/// The settings name a builder that does not exist, or cannot be read.
pub(crate) fn current_by_settings(
    flag: Option<&str>,
    environment: &Environment,
) -> Result<Option<(BuilderEntry, CurrentBuilder)>, ChooseError> {
    let (found, _) = named::designation(flag, environment)?;
    Ok(found.map(|Designation { what, from }| {
        let entry = BuilderEntry::of_designated(&what, environment);
        let current = CurrentBuilder {
            name: entry.name.clone(),
            why: format!("named by {from}"),
        };
        (entry, current)
    }))
}

/// The builder that a run would take if the settings name none: the first one that answers, in the order of a run.
pub(crate) fn current_by_state(reports: &[BuilderReport]) -> CurrentBuilder {
    let of = |entry: &BuilderReport, from: &str| CurrentBuilder {
        name: entry.name.clone(),
        why: format!("no builder was named; found through {from}"),
    };
    let docker = reports.iter().find(|report| {
        report.origin == EntryOrigin::Context
            && report.name == DEFAULT_CONTEXT
            && report.is_running()
    });
    let socket = reports
        .iter()
        .find(|report| report.origin == EntryOrigin::Socket && report.is_running());
    match (docker, socket) {
        (Some(docker), _) => of(docker, "the default socket"),
        (None, Some(socket)) => of(socket, "its default socket"),
        (None, None) => CurrentBuilder {
            name: named::EMBEDDED.to_owned(),
            why: "no builder was named, and no other one is usable".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests;
