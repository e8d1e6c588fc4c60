//! Why a builder cannot be created or changed, and advice on what to do.

use super::config_files::ConfigFileError;
use super::flags::UnclosedQuote;
use super::nodes::NodeError;
use crate::builder::advice;
use crate::builder::container::DriverOptionError;
use crate::builder::docker_context::DockerContextError;
use crate::builder::error::{BuilderRefusal, ChooseError, explain_context};
use crate::builder::store::StoreError;
use crate::diag::{Class, Diagnostic};
use crate::engine::docker::DockerError;
use crate::types::causes::in_one_line;
use crate::types::platform::InvalidPlatform;

/// A builder cannot be created or changed. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError {
    /// The environment names no folder for buildx's store.
    #[error(
        "there is no folder for buildx's store: neither `BUILDX_CONFIG`, `DOCKER_CONFIG` nor `HOME` is set"
    )]
    NoStore,
    /// The name has another meaning.
    #[error("a builder cannot be called `{0}`: the name has another meaning")]
    Reserved(String),
    /// A Docker context has the name.
    #[error("there is a Docker context `{0}`, which is a builder, too")]
    IsContext(String),
    /// The builder exists.
    #[error("the builder `{0}` exists already")]
    Exists(String),
    /// The builder does not exist.
    #[error("there is no builder `{name}`")]
    Absent {
        /// The name.
        name: String,
        /// The builders that exist.
        known: Vec<String>,
    },
    /// The builder has another driver, and all its nodes have the same one.
    #[error("the builder `{name}` has the driver `{driver}`")]
    OtherDriver {
        /// The builder.
        name: String,
        /// Its driver.
        driver: String,
    },
    /// A node can only be added to a builder that is named.
    #[error("`--append` needs the name of a builder")]
    AppendWithoutName,
    /// rbake cannot create builders with this driver.
    #[error("rbake cannot create builders with the driver `{0}`")]
    Driver(String),
    /// The driver `remote` needs the address of a BuildKit.
    #[error("the driver `remote` needs the address of a BuildKit")]
    NoAddress,
    /// buildx cannot reach the address, and the store is its own.
    #[error("buildx cannot use `{0}`, so it cannot be in its store")]
    NotOfBuildx(String),
    /// This is for builders that rbake starts.
    #[error("{0} cannot be set for the driver `remote`, because that builder runs already")]
    NotRemote(&'static str),
    /// All names that were tried are taken.
    #[error("cannot choose a free name for the builder")]
    NoFreeName,
    /// A container's builder is used later, without the variables.
    #[error(
        "the Docker Engine of `DOCKER_HOST` needs certificates, which a builder cannot remember"
    )]
    TlsOfVariables,
    /// The Docker Engine does not answer.
    #[error("the Docker Engine at `{endpoint}` cannot be used")]
    Engine {
        /// Its address.
        endpoint: String,
        /// The Docker contexts.
        known: Vec<String>,
        /// What the user gave.
        given: Option<String>,
        /// Why.
        #[source]
        source: Box<DockerError>,
    },
    /// The cluster is that of a kubeconfig, not of an endpoint.
    #[error("the driver `kubernetes` takes no endpoint, but `{0}` is given")]
    KubernetesEndpoint(String),
    /// The builder's pods could not be made in this way.
    #[error("the builder cannot be created in Kubernetes")]
    Kubernetes(#[source] Box<BuilderRefusal>),
    /// The address cannot be used.
    #[error(transparent)]
    Address(ChooseError),
    /// A platform is not valid.
    #[error(transparent)]
    Platform(#[from] InvalidPlatform),
    /// An option of the driver is not valid.
    #[error(transparent)]
    Option(#[from] DriverOptionError),
    /// The flags for buildkitd are not valid.
    #[error(transparent)]
    Flags(#[from] UnclosedQuote),
    /// The configuration of buildkitd cannot be used.
    #[error("the configuration of buildkitd cannot be used")]
    Config(#[from] ConfigFileError),
    /// The nodes cannot be changed in this way.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Docker's settings cannot be used.
    #[error(transparent)]
    Context(#[from] DockerContextError),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CreateError {
    /// The error as it is reported to the user, with notes and help.
    pub(crate) fn diagnostic(&self) -> Diagnostic {
        let engine = |code| Diagnostic::error(Class::Engine, code, self.to_string());
        let usage = |code| Diagnostic::error(Class::Usage, code, self.to_string());
        match self {
            Self::NoStore => usage("builder::unwritable-store"),
            Self::Reserved(_) | Self::IsContext(_) => {
                usage("builder::invalid-name").help("choose another name with `--name`")
            }
            Self::Exists(name) => usage("builder::exists").help(format!(
                "`--append` adds a node, `--node NODE` changes one, `rbake builder rm {name}` removes the builder"
            )),
            Self::Absent { name, known } => usage("builder::unknown")
                .note(format!("builders of buildx's store: {}", listed(known)))
                .similar("a builder", name, known.iter().map(String::as_str)),
            Self::OtherDriver { .. } => {
                usage("builder::exists").help("all nodes of a builder have the same driver")
            }
            Self::AppendWithoutName => usage("cli::usage").help("name it with `--name`"),
            Self::Driver(_) => usage("builder::unsupported-driver")
                .note("supported drivers: docker-container, kubernetes, remote")
                .help("`docker buildx create` creates others; a Docker Engine's own builder needs none"),
            Self::NoAddress => usage("builder::invalid-address")
                .help("give an address such as `tcp://host:1234`, or set `BUILDKIT_HOST`"),
            Self::NotOfBuildx(address) => usage("builder::invalid-address")
                .help(format!("set `BUILDKIT_HOST={address}`")),
            Self::NotRemote(_) => {
                usage("builder::driver-option").help("set it where that buildkitd is started")
            }
            Self::NoFreeName => usage("builder::invalid-name").help("name it with `--name`"),
            Self::TlsOfVariables => usage("builder::tls").help(
                "create a Docker context with them (`docker context create`), and name it as the endpoint",
            ),
            Self::Engine { known, given, source, .. } => {
                let told = engine("builder::unreachable").caused_by(&**source);
                match given.as_deref().filter(|given| !given.contains("://")) {
                    Some(given) => told
                        .note(format!("there is no Docker context `{given}`, so it was taken for an address"))
                        .similar("a Docker context", given, known.iter().map(String::as_str)),
                    None => told.help("start the Docker Engine, or name another one as the endpoint"),
                }
            }
            Self::KubernetesEndpoint(_) => usage("builder::invalid-address")
                .help("name the kubeconfig of the cluster in `KUBECONFIG`"),
            Self::Kubernetes(refusal) => {
                let told = engine("builder::unreachable").note(in_one_line(&**refusal));
                match &**refusal {
                    BuilderRefusal::Kubernetes(error) => advice::for_kubernetes(told, error),
                    BuilderRefusal::Option(error) => option_help(told, error),
                    _ => told,
                }
            }
            Self::Address(error) => error.diagnostic(),
            Self::Platform(_) => usage("builder::invalid-platform"),
            Self::Option(error) => option_help(usage("builder::driver-option"), error),
            Self::Flags(_) => usage("builder::driver-option"),
            Self::Config(_) => usage("builder::buildkitd-config").caused_by(self),
            Self::Node(error) => node_help(usage("builder::node"), error),
            Self::Context(error) => explain_context(error),
            Self::Store(error) => error.diagnostic(),
        }
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// Help for an option of a driver.
pub(in crate::builder) fn option_help(told: Diagnostic, error: &DriverOptionError) -> Diagnostic {
    match error {
        DriverOptionError::Unknown { name, known, .. } => told
            .note(format!("its options: {}", known.join(", ")))
            .similar("an option", name, known.iter().copied()),
        DriverOptionError::MissingTls(_) => {
            told.help("TLS needs `cacert`, and `cert` together with `key`")
        }
        DriverOptionError::Value { .. } | DriverOptionError::Form(_) => told,
    }
}

fn node_help(told: Diagnostic, error: &NodeError) -> Diagnostic {
    match error {
        NodeError::Unknown { node, known, .. } => told
            .note(format!("its nodes: {}", known.join(", ")))
            .similar("a node", node, known.iter().map(String::as_str))
            .help("`--append` adds a node"),
        NodeError::Last { builder, .. } => {
            told.help(format!("`rbake builder rm {builder}` removes the builder"))
        }
        _ => told,
    }
}
