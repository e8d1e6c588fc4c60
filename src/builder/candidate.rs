//! A builder that could be used, and what each kind of builder can do.

use std::fmt;
use std::path::{Path, PathBuf};

use super::docker_context::DockerContext;
use super::kubernetes::KubernetesNode;
use super::named::EMBEDDED;
use super::store::Node;
use crate::diag::Diagnostic;
use crate::engine::endpoint::{DockerHost, Endpoint};
use crate::types::Platform;
use crate::types::requirements::{Ability, Need, Requirements};

/// How a builder is reached. The names are buildx's drivers, plus `embedded` for rbake's own builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Driver {
    /// A buildkitd at an address.
    Remote,
    /// The BuildKit inside a Docker Engine.
    Docker,
    /// A buildkitd in a container of a Docker Engine.
    DockerContainer,
    /// A buildkitd in a pod of a Kubernetes cluster.
    Kubernetes,
    /// The buildkitd that rbake starts itself.
    Embedded,
}

impl Driver {
    /// The driver's name, as buildx and `--builder` spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Remote => "remote",
            Self::Docker => "docker",
            Self::DockerContainer => "docker-container",
            Self::Kubernetes => "kubernetes",
            Self::Embedded => "embedded",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The settings that led to a builder. Advice names them, because the user has to correct them there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Settings {
    /// `BUILDKIT_HOST` and the variables that start with `BUILDKIT_TLS_`.
    BuildkitVariables,
    /// A builder in buildx's store, by its name.
    Store(String),
    /// `DOCKER_HOST`, `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH`.
    DockerVariables,
    /// A Docker context, by its name.
    DockerContext(String),
    /// No setting: the builder was looked for at a default address.
    Default,
}

/// A builder, before any attempt to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The name for messages.
    pub(crate) name: String,
    /// The node's name in buildx. `None` if buildx does not know this builder.
    pub(crate) node: Option<String>,
    /// The platforms that the user has fixed for this node.
    pub(crate) platforms: Vec<Platform>,
    /// Whether the builder has other nodes, so that messages must name this one.
    pub(crate) is_one_of_several: bool,
    /// The setting that led to it, for messages, such as `` `BUILDKIT_HOST` ``.
    pub(crate) from: String,
    /// Where it is.
    pub(crate) reach: Reach,
    /// Whether targets without an output are loaded into Docker's images, as buildx does with the `docker` driver.
    pub(crate) default_load: bool,
    /// The settings that led to it.
    pub(crate) settings: Settings,
    /// Warnings about those settings, to be shown if this builder is used.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Where a builder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    /// A buildkitd at an address.
    Remote(Endpoint),
    /// A Docker Engine.
    Docker(DockerHost),
    /// A buildkitd in a container, which is started if it is stopped.
    Container {
        /// The container's name.
        container: String,
        /// The Docker Engine that runs the container.
        host: DockerHost,
        /// The node of buildx's store whose container this is, by which the container is made if it does not exist.
        /// `None` if only the container's name is known.
        node: Option<Box<Node>>,
    },
    /// A buildkitd in a pod of a cluster. The pods are made if they do not exist.
    Kubernetes(Box<KubernetesNode>),
    /// rbake's own builder.
    Embedded,
}

impl Candidate {
    /// The Docker Engine of `context`.
    pub(super) fn docker(context: DockerContext, from: String, warnings: Vec<Diagnostic>) -> Self {
        Self {
            // buildx's builder of a Docker context, and its node, have the context's name.
            node: Some(context.name.clone()),
            name: context.name,
            platforms: Vec::new(),
            is_one_of_several: false,
            from,
            reach: Reach::Docker(context.host),
            default_load: true,
            settings: context.settings,
            warnings,
        }
    }

    /// rbake's own builder. `from` names the setting that led to it.
    pub(super) fn embedded(from: &str) -> Self {
        Self {
            name: EMBEDDED.to_owned(),
            node: None,
            platforms: Vec::new(),
            is_one_of_several: false,
            from: from.to_owned(),
            reach: Reach::Embedded,
            default_load: false,
            settings: Settings::Default,
            warnings: Vec::new(),
        }
    }

    /// The driver according to the settings. The address of a buildkitd can still turn out to be a Docker Engine's.
    pub(crate) fn driver(&self) -> Driver {
        match self.reach {
            Reach::Remote(_) => Driver::Remote,
            Reach::Docker(_) => Driver::Docker,
            Reach::Container { .. } => Driver::DockerContainer,
            Reach::Kubernetes(_) => Driver::Kubernetes,
            Reach::Embedded => Driver::Embedded,
        }
    }

    /// Whether `other` is the same builder, even if it has another name or another path to the same socket.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (&self.reach, &other.reach) {
            (Reach::Remote(Endpoint::Unix(one)), Reach::Remote(Endpoint::Unix(other)))
            | (Reach::Docker(DockerHost::Unix(one)), Reach::Docker(DockerHost::Unix(other))) => {
                resolved(one) == resolved(other)
            }
            (one, other) => one == other,
        }
    }

    /// Its address. `None` for the embedded builder and for pods, whose addresses are known only once they run.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        match &self.reach {
            Reach::Remote(endpoint) => Some(endpoint.clone()),
            Reach::Docker(host) => Some(Endpoint::Docker(host.clone())),
            Reach::Container {
                container, host, ..
            } => Some(Endpoint::DockerContainer {
                container: container.clone(),
                host: host.clone(),
            }),
            Reach::Kubernetes(_) | Reach::Embedded => None,
        }
    }
}

/// Follows symbolic links, because `/var/run` is a link to `/run` on nearly every system. Returns `path` if that
/// fails.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (true, Some(node)) = (self.is_one_of_several, &self.node) {
            write!(f, "the node `{node}` of the builder `{}`", self.name)?;
            return match self.endpoint() {
                Some(endpoint) => write!(f, " at {endpoint}"),
                None => Ok(()),
            };
        }
        match &self.reach {
            Reach::Docker(host) => write!(f, "the Docker Engine at {host}"),
            Reach::Container { .. } | Reach::Kubernetes(_) => {
                write!(f, "the builder `{}`", self.name)
            }
            Reach::Remote(endpoint) if endpoint.to_string() == self.name => {
                write!(f, "buildkitd at {endpoint}")
            }
            Reach::Remote(endpoint) => write!(f, "the builder `{}` at {endpoint}", self.name),
            Reach::Embedded => f.write_str("the embedded builder"),
        }
    }
}

/// What a kind of engine can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offers {
    /// Everything that buildkitd supports.
    Everything,
    /// What a Docker Engine with the containerd image store supports: everything but exports of caches to the stores of clouds.
    DockerContainerd,
    /// What a Docker Engine with its classic image store supports: images for itself, and files.
    DockerClassic,
}

impl Offers {
    /// Whether it has this ability.
    pub(crate) fn has(self, ability: &Ability) -> bool {
        match self {
            Self::Everything => true,
            // moby daemon/internal/builder-next/controller.go.
            Self::DockerContainerd => match ability {
                Ability::CacheExport(kind) => kind != "s3" && kind != "azblob",
                _ => true,
            },
            // dockerd's worker for the classic store knows the exporters moby, local and tar, and exports the cache inline
            // (moby daemon/internal/builder-next/worker). The Engine itself pushes.
            Self::DockerClassic => match ability {
                Ability::Push | Ability::ImageStore | Ability::SeveralOutputs => true,
                Ability::CacheExport(kind) => kind == "inline",
                Ability::OciArchive
                | Ability::DockerArchive
                | Ability::SeveralPlatforms
                | Ability::Attestations => false,
            },
        }
    }

    /// The needs in `requirements` that it cannot meet; empty if it can do everything.
    pub(crate) fn lacks(self, requirements: &Requirements) -> Vec<Need> {
        let needs = requirements.needs.iter();
        needs
            .filter(|need| !self.has(&need.ability))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builders_are_the_same_if_their_paths_lead_to_one_socket() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("s");
        let link = dir.path().join("l");
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let at = |path: &Path, name: &str| Candidate {
            name: name.to_owned(),
            reach: Reach::Remote(Endpoint::Unix(path.to_owned())),
            ..Candidate::embedded("x")
        };
        assert!(at(&file, "a").is_same(&at(&link, "b")));
        assert!(!at(&file, "a").is_same(&at(dir.path(), "a")));
        assert!(!at(&file, "a").is_same(&Candidate::embedded("x")));
    }

    #[test]
    fn the_classic_store_lacks_archives_and_cache_exports() {
        let web = "web".parse().unwrap();
        let mut requirements = Requirements::none();
        requirements.add(Ability::CacheExport("inline".into()), &web, "cache-to");
        requirements.add(Ability::Push, &web, "output");
        requirements.add(Ability::ImageStore, &web, "output");
        assert!(Offers::DockerClassic.lacks(&requirements).is_empty());
        requirements.add(Ability::OciArchive, &web, "output");
        requirements.add(Ability::CacheExport("gha".into()), &web, "cache-to");
        assert_eq!(Offers::DockerClassic.lacks(&requirements).len(), 2);
        assert!(Offers::DockerContainerd.lacks(&requirements).is_empty());
        assert!(Offers::Everything.lacks(&requirements).is_empty());
    }

    #[test]
    fn a_docker_engine_exports_no_caches_to_clouds() {
        let web = "web".parse().unwrap();
        let mut requirements = Requirements::none();
        for kind in ["s3", "azblob"] {
            requirements.add(Ability::CacheExport(kind.into()), &web, "cache-to");
        }
        assert_eq!(Offers::DockerContainerd.lacks(&requirements).len(), 2);
        assert!(Offers::Everything.lacks(&requirements).is_empty());
    }
}
