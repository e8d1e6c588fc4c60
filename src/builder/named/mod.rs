//! The builder that the user named: by a flag, by variables, as buildx's current builder, or by Docker's settings.
//!
//! A named builder is used, or it is an error. This module does not check whether it answers. Start at [`named`].

use super::candidate::{Candidate, Reach, Settings};
use super::container::container_of;
use super::docker_context::{DEFAULT_CONTEXT, DockerContext, DockerContextError, DockerContexts};
use super::error::ChooseError;
use super::kubernetes::KubernetesNode;
use super::store::{Current, Instance, Node, Store};
use super::tls;
use crate::diag::Diagnostic;
use crate::engine::endpoint::{ClusterAccess, DockerHost, Endpoint, TlsMaterial};
use crate::types::Environment;
use crate::types::causes::in_one_line;

/// The name of the embedded builder for `--builder`. A builder or a Docker context of that name takes precedence.
pub(crate) const EMBEDDED: &str = "embedded";

/// The most nodes of a builder that a run uses.
pub(super) const MOST_NODES: usize = 64;

/// A setting that could name a builder and does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unnamed {
    /// The setting.
    pub(crate) what: &'static str,
    /// Why it names no builder, as a fragment.
    pub(crate) reason: String,
}

/// What a setting names, before it is decided how that is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Designated {
    /// A builder in buildx's store.
    Instance(Instance),
    /// The Docker Engine of a context.
    Context(DockerContext),
    /// The builder at the address in `BUILDKIT_HOST`.
    Address(String),
    /// rbake's own builder.
    Embedded,
}

/// What a setting names, and the setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Designation {
    pub(super) what: Designated,
    /// The setting, for messages.
    pub(super) from: String,
}

impl Designated {
    fn from(self, from: impl Into<String>) -> Designation {
        Designation {
            what: self,
            from: from.into(),
        }
    }
}

impl Designation {
    /// The candidates for a run: the nodes of the builder, in their order. There is at least one.
    fn candidates(self, environment: &Environment) -> Result<Vec<Candidate>, ChooseError> {
        let one = match self.what {
            Designated::Instance(instance) => {
                return of_instance(&instance, &self.from, environment);
            }
            Designated::Context(context) => {
                let warnings = DockerContexts::new(environment).warnings(&context);
                Candidate::docker(context, self.from, warnings)
            }
            Designated::Address(address) => by_address(&address, environment)?,
            Designated::Embedded => Candidate::embedded(&self.from),
        };
        Ok(vec![one])
    }
}

/// The nodes of the builder that the first applicable setting names, and the settings before it that name none. Empty if no
/// setting does.
pub(super) fn named(
    flag: Option<&str>,
    environment: &Environment,
) -> Result<(Vec<Candidate>, Vec<Unnamed>), ChooseError> {
    let (found, trail) = designation(flag, environment)?;
    let nodes = found.map(|found| found.candidates(environment));
    Ok((nodes.transpose()?.unwrap_or_default(), trail))
}

/// What the first applicable setting names, and the settings before it that name nothing. `None` if no setting does.
pub(super) fn designation(
    flag: Option<&str>,
    environment: &Environment,
) -> Result<(Option<Designation>, Vec<Unnamed>), ChooseError> {
    let mut trail = Vec::new();
    let set = |name: &&str| !name.is_empty();
    let by_name = flag.filter(set).map(|name| (name, "`--builder`"));
    let by_name = by_name.or_else(|| {
        let variable = environment.get("BUILDX_BUILDER").filter(set);
        variable.map(|name| (name, "`BUILDX_BUILDER`"))
    });
    if let Some((name, from)) = by_name {
        let found = by_that_name(name, from, environment)?;
        return Ok((Some(found.from(from)), trail));
    }
    trail.push(Unnamed {
        what: "`--builder`, `BUILDX_BUILDER`",
        reason: "not set".to_owned(),
    });
    if let Some(address) = environment.non_empty("BUILDKIT_HOST") {
        let found = Designated::Address(address.to_owned());
        return Ok((Some(found.from(BUILDKIT_HOST)), trail));
    }
    trail.push(Unnamed {
        what: "`BUILDKIT_HOST`",
        reason: "not set".to_owned(),
    });
    match current(environment)? {
        Ok(instance) => {
            let found = Designated::Instance(instance);
            return Ok((Some(found.from("buildx's current builder")), trail));
        }
        Err(reason) => trail.push(Unnamed {
            what: "buildx's current builder",
            reason,
        }),
    }
    match by_docker(environment)? {
        Ok(found) => Ok((Some(found), trail)),
        Err(reason) => {
            trail.push(Unnamed {
                what: "`DOCKER_HOST`, `DOCKER_CONTEXT`, Docker's current context",
                reason,
            });
            Ok((None, trail))
        }
    }
}

/// The Docker Engine that variables or Docker's current context name; the inner `Err` says why they name none.
///
/// As in buildx, a Docker context is the builder if no other was chosen. So it is an error if that Engine does not
/// answer.
fn by_docker(environment: &Environment) -> Result<Result<Designation, String>, ChooseError> {
    let contexts = DockerContexts::new(environment);
    // Settings that cannot be read name nothing. But if they name a context that does not exist, that is an error.
    if let Err(error) = contexts.current_name() {
        return Ok(Err(in_one_line(&error)));
    }
    let context = contexts.current()?;
    // The user can also name the default context explicitly. (In the settings file, `default` is the same as
    // nothing.)
    let is_said = environment.get("DOCKER_CONTEXT") == Some(DEFAULT_CONTEXT);
    let from = match (context.named, is_said) {
        (true, _) => context.from.clone(),
        (false, true) => "`DOCKER_CONTEXT`".to_owned(),
        (false, false) => return Ok(Err("not set".to_owned())),
    };
    Ok(Ok(Designated::Context(context).from(from)))
}

/// The builder called `name`: one in buildx's store, or else a Docker context, or else the embedded builder.
pub(super) fn by_that_name(
    name: &str,
    from: &str,
    environment: &Environment,
) -> Result<Designated, ChooseError> {
    if name.trim().is_empty() {
        return Err(ChooseError::Blank(from.to_owned()));
    }
    let store = Store::of(environment);
    if let Some(store) = &store
        && let Some(instance) = store.instance(name)?
    {
        return Ok(Designated::Instance(instance));
    }
    // As in buildx, a Docker context can be used as a builder, too.
    let contexts = DockerContexts::new(environment);
    let known = match contexts.context(name) {
        Ok(context) => return Ok(Designated::Context(context)),
        Err(DockerContextError::Unknown { known, .. }) => known,
        Err(error) => return Err(error.into()),
    };
    if name == EMBEDDED {
        return Ok(Designated::Embedded);
    }
    let mut all = store.map(|store| store.names()).unwrap_or_default();
    all.extend(known);
    all.push(EMBEDDED.to_owned());
    Err(ChooseError::Unknown {
        name: name.to_owned(),
        from: from.to_owned(),
        known: all,
    })
}

const BUILDKIT_HOST: &str = "`BUILDKIT_HOST`";

/// The candidate at `address`, the value of `BUILDKIT_HOST`.
pub(super) fn by_address(
    address: &str,
    environment: &Environment,
) -> Result<Candidate, ChooseError> {
    const FROM: &str = BUILDKIT_HOST;
    let reach = match address.trim() {
        container if container.starts_with("docker-container://") => {
            in_container(container, FROM, environment)?
        }
        other => {
            let endpoint: Endpoint = other.parse().map_err(|source| ChooseError::Address {
                from: FROM.to_owned(),
                source,
            })?;
            with_variables_tls(with_cluster(endpoint, environment), environment)?
        }
    };
    Ok(Candidate {
        name: crate::types::secret::redact_url(address.trim()),
        node: None,
        platforms: Vec::new(),
        is_one_of_several: false,
        from: FROM.to_owned(),
        warnings: unused_tls(&reach, environment),
        reach,
        default_load: false,
        settings: Settings::BuildkitVariables,
    })
}

const TLS_VARIABLES: [&str; 5] = [
    "BUILDKIT_TLS_DIR",
    "BUILDKIT_TLS_CACERT",
    "BUILDKIT_TLS_CERT",
    "BUILDKIT_TLS_KEY",
    "BUILDKIT_TLS_SERVERNAME",
];

/// Warnings about TLS variables that have no effect on this builder. Not errors: they may be set for another
/// builder.
fn unused_tls(reach: &Reach, environment: &Environment) -> Vec<Diagnostic> {
    if let Reach::Remote(Endpoint::Tcp { tls, .. }) = reach {
        return match tls {
            Some(_) => Vec::new(),
            None => empty_tls(environment).into_iter().collect(),
        };
    }
    let set = TLS_VARIABLES
        .into_iter()
        .find(|name| environment.non_empty(name).is_some());
    let warning = |name| {
        Diagnostic::warning(
            "builder::plain-text",
            format!("`{name}` is set, but rbake supports TLS only for addresses `tcp://…`"),
        )
        .help(format!(
            "unset `{name}`, or name a TCP address in `BUILDKIT_HOST`"
        ))
    };
    set.map(warning).into_iter().collect()
}

/// A warning about a TLS variable that is set but empty. Empty counts as unset. But it may also result from another
/// variable that was not set, and the connection was meant to be encrypted.
fn empty_tls(environment: &Environment) -> Option<Diagnostic> {
    let name = TLS_VARIABLES
        .into_iter()
        .find(|name| environment.get(name) == Some(""))?;
    let warning = Diagnostic::warning(
        "builder::plain-text",
        format!("`{name}` is set but empty: the connection to the builder is not encrypted"),
    );
    Some(warning.help(format!(
        "unset `{name}` if that is intended, or name the certificates in it"
    )))
}

/// Parses `docker-container://name` or `docker-container://name?context=docker-context`.
fn in_container(
    address: &str,
    from: &str,
    environment: &Environment,
) -> Result<Reach, ChooseError> {
    let (plain, query) = address.split_once('?').unwrap_or((address, ""));
    let endpoint: Endpoint = plain.parse().map_err(|source| ChooseError::Address {
        from: from.to_owned(),
        source,
    })?;
    let Endpoint::DockerContainer { container, .. } = endpoint else {
        return Ok(Reach::Remote(endpoint));
    };
    let named = url::form_urlencoded::parse(query.as_bytes())
        .find(|(key, value)| key == "context" && !value.is_empty());
    let contexts = DockerContexts::new(environment);
    let context = match named {
        Some((_, name)) => contexts.context(&name).map_err(|error| match error {
            DockerContextError::Unknown { name, known, .. } => DockerContextError::Unknown {
                name,
                from: Some(from.to_owned()),
                known,
            },
            other => other,
        })?,
        None => contexts.current()?,
    };
    Ok(Reach::Container {
        container,
        host: context.host,
        node: None,
    })
}

/// Completes the address of a pod: the cluster is that of the user's settings.
fn with_cluster(mut endpoint: Endpoint, environment: &Environment) -> Endpoint {
    if let Endpoint::Pod(pod) = &mut endpoint {
        pod.cluster = ClusterAccess {
            context: pod.cluster.context.take(),
            ..ClusterAccess::of(environment)
        };
    }
    endpoint
}

/// Adds the certificates of the variables `BUILDKIT_TLS_…`. buildctl has flags for them; the variables are rbake's
/// own. Files that are named one by one are read when the connection is made.
fn with_variables_tls(endpoint: Endpoint, environment: &Environment) -> Result<Reach, ChooseError> {
    if !matches!(endpoint, Endpoint::Tcp { .. }) {
        return Ok(Reach::Remote(endpoint));
    }
    let path = |variable: &str| {
        let path = environment.non_empty(variable)?;
        Some(environment.current_dir().join(path))
    };
    let mut material = match path("BUILDKIT_TLS_DIR") {
        Some(dir) => tls::in_folder(&dir, "`BUILDKIT_TLS_DIR`")?,
        None => TlsMaterial::default(),
    };
    material.ca = path("BUILDKIT_TLS_CACERT").or(material.ca);
    material.cert = path("BUILDKIT_TLS_CERT").or(material.cert);
    material.key = path("BUILDKIT_TLS_KEY").or(material.key);
    material.servername = environment
        .non_empty("BUILDKIT_TLS_SERVERNAME")
        .map(str::to_owned);
    Ok(Reach::Remote(endpoint.with_tls(material)))
}

/// buildx's current builder; the inner `Err` says why there is none.
fn current(environment: &Environment) -> Result<Result<Instance, String>, ChooseError> {
    let store = match Store::of(environment) {
        Some(store) if store.dir().is_dir() => store,
        _ => return Ok(Err("buildx has no builders here".to_owned())),
    };
    let key = DockerContexts::new(environment).store_key()?;
    match store.current(&key)? {
        Current::None => Ok(Err("none is chosen".to_owned())),
        Current::Gone(name) => Ok(Err(format!("`{name}` was chosen, but has been removed"))),
        Current::Instance(instance) => Ok(Ok(instance)),
    }
}

/// The candidates for a builder in buildx's store: its nodes. The file may have been changed by hand, so it may have none.
fn of_instance(
    instance: &Instance,
    from: &str,
    environment: &Environment,
) -> Result<Vec<Candidate>, ChooseError> {
    let count = instance.nodes.len();
    if !(1..=MOST_NODES).contains(&count) {
        return Err(ChooseError::Nodes {
            name: instance.name.clone(),
            from: from.to_owned(),
            count,
        });
    }
    let nodes = instance.nodes.iter();
    let nodes = nodes.map(|node| {
        let candidate = of_node(instance, node, from, environment)?;
        Ok(Candidate {
            is_one_of_several: count > 1,
            ..candidate
        })
    });
    nodes.collect()
}

/// The candidate for `node` of a builder in buildx's store, as if it were the only one.
pub(super) fn of_node(
    instance: &Instance,
    node: &Node,
    from: &str,
    environment: &Environment,
) -> Result<Candidate, ChooseError> {
    let contexts = DockerContexts::new(environment);
    let mut default_load = node.option("default-load").is_some_and(is_true);
    let mut settings = Settings::Store(instance.name.clone());
    let mut warnings = Vec::new();
    let mut engine = |text: &str| -> Result<DockerHost, ChooseError> {
        let context = contexts.context_or_host(text)?;
        warnings = contexts.warnings(&context);
        settings = context.settings;
        Ok(context.host)
    };
    let reach = match instance.driver.as_str() {
        "remote" => remote(node, from, environment)?,
        "docker" => {
            default_load = true;
            Reach::Docker(engine(&node.endpoint)?)
        }
        // buildx uses this driver if the file names none.
        "docker-container" | "" => Reach::Container {
            container: container_of(&node.name),
            host: engine(&node.endpoint)?,
            node: Some(Box::new(node.clone())),
        },
        "kubernetes" => Reach::Kubernetes(Box::new(KubernetesNode::new(node, environment))),
        other => {
            return Err(ChooseError::Driver {
                name: instance.name.clone(),
                from: from.to_owned(),
                driver: other.to_owned(),
            });
        }
    };
    Ok(Candidate {
        name: instance.name.clone(),
        node: Some(node.name.clone()),
        platforms: node.platforms.clone().unwrap_or_default(),
        is_one_of_several: false,
        from: from.to_owned(),
        reach,
        default_load,
        settings,
        warnings,
    })
}

/// Checks that rbake can reach a node with buildx's driver `remote` at `address`.
pub(super) fn check_remote_address(
    address: &str,
    environment: &Environment,
) -> Result<(), ChooseError> {
    let node = Node {
        endpoint: address.to_owned(),
        ..Node::default()
    };
    remote(&node, "the endpoint", environment).map(drop)
}

/// The address and certificates of a node with buildx's driver `remote`.
fn remote(node: &Node, from: &str, environment: &Environment) -> Result<Reach, ChooseError> {
    if node.endpoint.starts_with("docker-container://") {
        return in_container(&node.endpoint, from, environment);
    }
    let endpoint: Endpoint = node
        .endpoint
        .parse()
        .map_err(|source| ChooseError::Address {
            from: from.to_owned(),
            source,
        })?;
    let file = |name: &str| {
        let path = node.option(name)?;
        Some(environment.current_dir().join(path))
    };
    let material = TlsMaterial {
        ca: file("cacert"),
        cert: file("cert"),
        key: file("key"),
        servername: node.option("servername").map(str::to_owned),
    };
    if !material.is_empty() && !matches!(endpoint, Endpoint::Tcp { .. }) {
        return Err(ChooseError::TlsWithoutTcp {
            from: from.to_owned(),
            address: endpoint.to_string(),
        });
    }
    Ok(Reach::Remote(
        with_cluster(endpoint, environment).with_tls(material),
    ))
}

fn is_true(text: &str) -> bool {
    crate::golang::strconv::parse_bool(text) == Some(true)
}

#[cfg(test)]
mod tests;
