//! `rbake builder create`: writes a builder, or a node of one, into buildx's store.
//!
//! The rules are buildx's (`builder/builder.go` at v0.36.1). Unlike buildx, rbake checks everything before it writes
//! anything. Start at [`create`] and [`leave`].

pub(super) mod config_files;
mod error;
mod flags;
mod nodes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub(crate) use error::CreateError;
pub(super) use error::option_help;

use super::candidate::Driver;
use super::container::{ContainerOptions, DriverOptionError, check_remote};
use super::docker_address;
use super::docker_context::{DEFAULT_CONTEXT, DockerContexts};
use super::kubernetes::{self, KubernetesNode, KubernetesOptions};
use super::named::EMBEDDED;
use super::store::{Instance, LockedStore, Store, StoreError};
use crate::engine::docker::{Docker, DockerError};
use crate::engine::endpoint::DockerHost;
use crate::golang::csv;
use crate::types::blocking::unblock;
use crate::types::secret::redact_url;
use crate::types::{Environment, Platform};
use config_files::ConfigFiles;
use nodes::NodeWish;

/// The configuration of buildkitd that buildx uses by default, in its folder.
const DEFAULT_CONFIG: &str = "buildkitd.default.toml";
/// The schemes of addresses for which buildx chooses the driver `remote` (`driver/remote/util/endpoint.go`).
const REMOTE_SCHEMES: [&str; 6] = [
    "docker-container",
    "kube-pod",
    "npipe",
    "ssh",
    "tcp",
    "unix",
];

/// What the user asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct CreateRequest {
    /// The builder's name. `None` for a random one.
    pub(crate) name: Option<String>,
    /// The driver. `None` for that of the builder, or one that fits the endpoint.
    pub(crate) driver: Option<String>,
    /// A Docker context, the address of a Docker Engine, or that of a BuildKit.
    pub(crate) endpoint: Option<String>,
    /// The node to create or to change.
    pub(crate) node: Option<String>,
    /// The platforms of the node, with commas between them.
    pub(crate) platforms: Vec<String>,
    /// Options of the driver: `NAME=VALUE`, several with commas between them.
    pub(crate) driver_opts: Vec<String>,
    /// Flags for buildkitd, as in a shell.
    pub(crate) flags: Option<String>,
    /// The configuration of buildkitd.
    pub(crate) config: Option<PathBuf>,
    /// Add a node to the builder.
    pub(crate) append: bool,
    /// Make it the current builder.
    pub(crate) make_current: bool,
}

/// A builder that was written.
#[derive(Debug)]
pub(crate) struct Created {
    /// The builder as it is in the store.
    pub(crate) instance: Instance,
    /// Whether a node was changed that must be started again before it uses its new settings.
    pub(crate) needs_restart: bool,
}

/// Creates the builder, or changes it, under the lock of the store. `limit` is the time for the Docker Engine to answer.
///
/// # Errors
/// What is asked for is not possible, or the store cannot be written. Nothing was changed then.
pub(crate) async fn create(
    request: CreateRequest,
    limit: Duration,
    now: SystemTime,
    environment: &Environment,
) -> Result<Created, CreateError> {
    let store = Store::of(environment).ok_or(CreateError::NoStore)?;
    let locked = store.lock(environment).await?;
    let (asked, request_of_user) = (environment.clone(), request.clone());
    let planned = unblock({
        let store = store.clone();
        move || plan(&request_of_user, &store, &asked)
    })
    .await?;
    if let Some(host) = &planned.engine {
        let connected = tokio::time::timeout(limit, Docker::connect(host)).await;
        let connected = connected.unwrap_or_else(|_| {
            Err(DockerError::Timeout {
                host: host.to_string(),
                after: limit,
            })
        });
        connected.map_err(|source| CreateError::Engine {
            endpoint: host.to_string(),
            known: DockerContexts::new(environment).names(),
            given: request.endpoint.clone(),
            source: Box::new(source),
        })?;
    }
    for node in &planned.pods {
        kubernetes::check(node)
            .await
            .map_err(|refusal| CreateError::Kubernetes(Box::new(refusal)))?;
    }
    let asked = environment.clone();
    unblock(move || write(&locked, planned, request.make_current, now, &asked)).await
}

/// Removes the node `node` from the builder `builder`, under the lock of the store.
///
/// # Errors
/// There is no such node, or it is the last one, or the store cannot be written.
pub(crate) async fn leave(
    builder: &str,
    node: &str,
    now: SystemTime,
    environment: &Environment,
) -> Result<(), CreateError> {
    let store = Store::of(environment).ok_or(CreateError::NoStore)?;
    let locked = store.lock(environment).await?;
    let (builder, node) = (builder.to_owned(), node.to_owned());
    unblock(move || {
        let mut instance = existing(&store, &builder)?.ok_or_else(|| CreateError::Absent {
            name: builder.clone(),
            known: store.names(),
        })?;
        nodes::leave(&mut instance, &node)?;
        locked.save(&instance, now)?;
        Ok(())
    })
    .await
}

/// The builder as it is to be written.
struct Planned {
    instance: Instance,
    needs_restart: bool,
    /// The Docker Engine that runs the container.
    engine: Option<DockerHost>,
    /// The nodes whose pods run in a cluster.
    pods: Vec<KubernetesNode>,
}

fn write(
    locked: &LockedStore,
    planned: Planned,
    make_current: bool,
    now: SystemTime,
    environment: &Environment,
) -> Result<Created, CreateError> {
    locked.save(&planned.instance, now)?;
    if make_current {
        let key = DockerContexts::new(environment).store_key()?;
        locked.set_current(&key, &planned.instance.name, false, false)?;
    }
    tracing::info!(builder = planned.instance.name, "builder written");
    Ok(Created {
        instance: planned.instance,
        needs_restart: planned.needs_restart,
    })
}

fn existing(store: &Store, name: &str) -> Result<Option<Instance>, CreateError> {
    if super::store::valid_name(name).is_none() {
        return Err(StoreError::Name(name.to_owned()).into());
    }
    Ok(store.instance(name)?)
}

fn plan(
    request: &CreateRequest,
    store: &Store,
    environment: &Environment,
) -> Result<Planned, CreateError> {
    let (name, known) = named(request, store, environment)?;
    let buildkit_host = environment.non_empty("BUILDKIT_HOST");
    let driver = driver(request, known.as_ref(), buildkit_host)?;
    if let Some(known) = &known {
        if request.node.is_none() && !request.append {
            return Err(CreateError::Exists(name));
        }
        if driver.name() != known.driver {
            return Err(CreateError::OtherDriver {
                name,
                driver: known.driver.clone(),
            });
        }
    }
    let mut instance = known.unwrap_or_else(|| Instance {
        name,
        driver: driver.name().to_owned(),
        ..Instance::default()
    });
    let platforms = platforms(&request.platforms)?;
    let mut driver_opts = options(&request.driver_opts)?;
    let mut wish = NodeWish {
        name: request.node.clone(),
        platforms,
        endpoint_given: request.endpoint.is_some() || driver == Driver::Remote,
        ..NodeWish::default()
    };
    let given = request.flags.as_deref().map(flags::split).transpose()?;
    let mut engine = None;
    if driver == Driver::Remote {
        if request.config.is_some() {
            return Err(CreateError::NotRemote("a configuration of buildkitd"));
        }
        if given.is_some() {
            return Err(CreateError::NotRemote("flags of buildkitd"));
        }
        absolute_paths(&mut driver_opts, environment.current_dir());
        check_remote(&driver_opts)?;
        let endpoint = request.endpoint.as_deref().or(buildkit_host);
        let endpoint = endpoint.ok_or(CreateError::NoAddress)?;
        wish.endpoint = remote_endpoint(endpoint, environment)?;
    } else {
        let network = if driver == Driver::Kubernetes {
            KubernetesOptions::parse(&driver_opts)?;
            None
        } else {
            ContainerOptions::parse(&driver_opts)?.network
        };
        let config = config(request, store, environment)?;
        let mut all = given.unwrap_or_default();
        let allows = config
            .as_ref()
            .is_some_and(|config| config.allows_host_network);
        flags::with_entitlement(&mut all, network.as_deref(), allows);
        wish.flags = (!all.is_empty()).then_some(all);
        wish.files = config.map(|config| config.files).unwrap_or_default();
        if driver == Driver::Kubernetes {
            if let Some(given) = &request.endpoint {
                return Err(CreateError::KubernetesEndpoint(redact_url(given)));
            }
            let node = request
                .node
                .clone()
                .unwrap_or_else(kubernetes::random_node_name);
            wish.endpoint = kubernetes::endpoint_of_node(&instance.name, &node, environment);
        } else {
            let (endpoint, host) = engine_endpoint(request.endpoint.as_deref(), environment)?;
            wish.endpoint = endpoint;
            engine = Some(host);
        }
    }
    wish.driver_opts = driver_opts;
    let needs_restart = nodes::update(&mut instance, wish, request.append)?;
    let pods = match driver {
        Driver::Kubernetes => instance
            .nodes
            .iter()
            .map(|node| KubernetesNode::new(node, environment))
            .collect(),
        _ => Vec::new(),
    };
    Ok(Planned {
        instance,
        needs_restart,
        engine,
        pods,
    })
}

/// The name of the builder, and the builder of that name if it exists.
fn named(
    request: &CreateRequest,
    store: &Store,
    environment: &Environment,
) -> Result<(String, Option<Instance>), CreateError> {
    let Some(name) = &request.name else {
        if request.append {
            return Err(CreateError::AppendWithoutName);
        }
        let name = store.free_name().ok_or(CreateError::NoFreeName)?;
        return Ok((name, None));
    };
    if name == DEFAULT_CONTEXT || name == EMBEDDED {
        return Err(CreateError::Reserved(name.clone()));
    }
    if !request.append && DockerContexts::new(environment).names().contains(name) {
        return Err(CreateError::IsContext(name.clone()));
    }
    let known = existing(store, name)?;
    if known.is_none() && request.append {
        return Err(CreateError::Absent {
            name: name.clone(),
            known: store.names(),
        });
    }
    Ok((name.clone(), known))
}

fn driver(
    request: &CreateRequest,
    known: Option<&Instance>,
    buildkit_host: Option<&str>,
) -> Result<Driver, CreateError> {
    let name = request.driver.as_deref().filter(|name| !name.is_empty());
    let name = name.or_else(|| known.map(|known| known.driver.as_str()));
    match name {
        Some("remote") => Ok(Driver::Remote),
        Some("docker-container") => Ok(Driver::DockerContainer),
        Some("kubernetes") => Ok(Driver::Kubernetes),
        Some(other) => Err(CreateError::Driver(other.to_owned())),
        None => {
            let address = match &request.endpoint {
                Some(endpoint) => endpoint.split_once("://").map(|(scheme, _)| scheme),
                None if buildkit_host.is_some() => return Ok(Driver::Remote),
                None => None,
            };
            if address.is_some_and(|scheme| REMOTE_SCHEMES.contains(&scheme)) {
                Ok(Driver::Remote)
            } else {
                Ok(Driver::DockerContainer)
            }
        }
    }
}

fn platforms(given: &[String]) -> Result<Vec<Platform>, CreateError> {
    let mut all: Vec<Platform> = Vec::new();
    for text in given.iter().flat_map(|list| list.split(',')) {
        all.push(text.parse()?);
    }
    Ok(all)
}

fn options(given: &[String]) -> Result<BTreeMap<String, String>, CreateError> {
    let mut options = BTreeMap::new();
    for list in given {
        let form = || DriverOptionError::Form(crate::types::secret::redact_urls(list).into_owned());
        for field in csv::fields(list).map_err(|_| form())? {
            let (name, value) = field.split_once('=').ok_or_else(form)?;
            options.insert(name.to_owned(), value.to_owned());
        }
    }
    Ok(options)
}

/// Completes the paths of certificates, because a builder is used from any directory.
fn absolute_paths(options: &mut BTreeMap<String, String>, current_dir: &Path) {
    for name in ["cacert", "cert", "key"] {
        if let Some(path) = options.get_mut(name).filter(|path| !path.is_empty()) {
            *path = current_dir.join(&*path).display().to_string();
        }
    }
}

fn config(
    request: &CreateRequest,
    store: &Store,
    environment: &Environment,
) -> Result<Option<ConfigFiles>, CreateError> {
    let current_dir = environment.current_dir();
    let default = store.dir().join(DEFAULT_CONFIG);
    let path = match &request.config {
        Some(path) => current_dir.join(path),
        None if default.exists() => default,
        None => return Ok(None),
    };
    Ok(Some(ConfigFiles::read(&path, current_dir)?))
}

/// Checks the address of a node with the driver `remote`. One that only buildx can reach is an error.
fn remote_endpoint(text: &str, environment: &Environment) -> Result<String, CreateError> {
    let text = text.trim();
    super::named::check_remote_address(text, environment).map_err(CreateError::Address)?;
    // buildx would refuse the whole builder (`driver/remote/util/endpoint.go`).
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    if !scheme.is_some_and(|scheme| REMOTE_SCHEMES.contains(&scheme)) {
        return Err(CreateError::NotOfBuildx(redact_url(text)));
    }
    Ok(text.to_owned())
}

/// The endpoint of a node in a container as buildx writes it, and its Docker Engine: a context, or an address.
fn engine_endpoint(
    given: Option<&str>,
    environment: &Environment,
) -> Result<(String, DockerHost), CreateError> {
    let contexts = DockerContexts::new(environment);
    let Some(given) = given else {
        let current = contexts.current()?;
        let has_tls = matches!(current.host, DockerHost::Tcp { tls: Some(_), .. });
        if current.name == DEFAULT_CONTEXT && has_tls {
            return Err(CreateError::TlsOfVariables);
        }
        return Ok((contexts.store_key()?, current.host));
    };
    if given == DEFAULT_CONTEXT {
        let host = contexts.context(given)?.host;
        return Ok((host.to_string(), host));
    }
    if contexts.names().iter().any(|name| name == given) {
        return Ok((given.to_owned(), contexts.context(given)?.host));
    }
    let complete = docker_address::complete(given);
    let host = contexts.context_or_host(&complete)?.host;
    Ok((complete, host))
}

#[cfg(test)]
mod tests;
