//! A builder that may do, and what the different kinds of them can do.

use std::fmt;
use std::path::{Path, PathBuf};

use super::docker_context::DockerContext;
use super::named::EMBEDDED;
use crate::diag::Diagnostic;
use crate::engine::endpoint::{DockerHost, Endpoint};
use crate::types::requirements::{Ability, Need, Requirements};

/// How a builder is reached; the words are those of buildx, and `embedded` for rbake's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Driver {
    /// A buildkitd by its address.
    Remote,
    /// The BuildKit inside a Docker Engine.
    Docker,
    /// A buildkitd in a container of a Docker Engine.
    DockerContainer,
    /// The buildkitd that rbake starts itself.
    Embedded,
}

impl Driver {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Remote => "remote",
            Self::Docker => "docker",
            Self::DockerContainer => "docker-container",
            Self::Embedded => "embedded",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which settings say how a builder is reached, and so where it is to be corrected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Settings {
    /// `BUILDKIT_HOST` and the variables `BUILDKIT_TLS_…`.
    BuildkitVariables,
    /// A builder in buildx's store, by its name.
    Store(String),
    /// `DOCKER_HOST`, `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH`.
    DockerVariables,
    /// A Docker context, by its name.
    DockerContext(String),
    /// None: it is looked for where it is by default.
    Default,
}

/// A builder before anybody has tried to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Its name, as messages call it.
    pub(crate) name: String,
    /// What leads to it, such as `` `BUILDKIT_HOST` ``.
    pub(crate) from: String,
    /// Where it is.
    pub(crate) reach: Reach,
    /// Whether targets without an output are loaded into Docker.
    pub(crate) default_load: bool,
    /// Which settings say how it is reached.
    pub(crate) settings: Settings,
    /// What the user should know of those settings.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Where a builder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    /// A buildkitd at an address.
    Remote(Endpoint),
    /// A Docker Engine.
    Docker(DockerHost),
    /// A container, which may have to be started.
    Container {
        /// Its name.
        container: String,
        /// Its Docker Engine.
        host: DockerHost,
    },
    /// rbake's own.
    Embedded,
}

impl Candidate {
    /// The Docker Engine of `context`.
    pub(super) fn docker(context: DockerContext, from: String, warnings: Vec<Diagnostic>) -> Self {
        Self {
            name: context.name,
            from,
            reach: Reach::Docker(context.host),
            default_load: true,
            settings: context.settings,
            warnings,
        }
    }

    /// rbake's own builder, which `from` leads to.
    pub(super) fn embedded(from: &str) -> Self {
        Self {
            name: EMBEDDED.to_owned(),
            from: from.to_owned(),
            reach: Reach::Embedded,
            default_load: false,
            settings: Settings::Default,
            warnings: Vec::new(),
        }
    }

    /// How it is reached.
    pub(crate) fn driver(&self) -> Driver {
        match self.reach {
            Reach::Remote(_) => Driver::Remote,
            Reach::Docker(_) => Driver::Docker,
            Reach::Container { .. } => Driver::DockerContainer,
            Reach::Embedded => Driver::Embedded,
        }
    }

    /// Whether `other` is the same builder, by whatever name either is called.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (&self.reach, &other.reach) {
            (Reach::Remote(Endpoint::Unix(one)), Reach::Remote(Endpoint::Unix(other)))
            | (Reach::Docker(DockerHost::Unix(one)), Reach::Docker(DockerHost::Unix(other))) => {
                resolved(one) == resolved(other)
            }
            (one, other) => one == other,
        }
    }

    /// Its address, where it has one before it runs.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        match &self.reach {
            Reach::Remote(endpoint) => Some(endpoint.clone()),
            Reach::Docker(host) => Some(Endpoint::Docker(host.clone())),
            Reach::Container { container, host } => Some(Endpoint::DockerContainer {
                container: container.clone(),
                host: host.clone(),
            }),
            Reach::Embedded => None,
        }
    }
}

// The same place by another path is found through links: `/var/run` is `/run` nearly everywhere.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reach {
            Reach::Docker(host) => write!(f, "the Docker Engine at {host}"),
            Reach::Container { .. } => write!(f, "the builder `{}`", self.name),
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
    /// All that a buildkitd can: also a Docker Engine whose images are in containerd's store.
    Everything,
    /// What a Docker Engine with its classic store can: images for itself, and files.
    DockerClassic,
}

impl Offers {
    /// Whether it can do this.
    pub(crate) fn has(self, ability: &Ability) -> bool {
        match self {
            Self::Everything => true,
            // dockerd's worker for the classic store knows the exporters moby, local and tar, exports the cache inline
            // and imports it from registries (moby daemon/internal/builder-next/worker). The Engine itself pushes.
            Self::DockerClassic => match ability {
                Ability::Push | Ability::ImageStore | Ability::SeveralOutputs => true,
                Ability::CacheExport(kind) => kind == "inline",
                Ability::CacheImport(kind) => kind == "registry" || kind == "inline",
                Ability::OciArchive
                | Ability::DockerArchive
                | Ability::SeveralPlatforms
                | Ability::Attestations => false,
            },
        }
    }

    /// What of `requirements` it cannot do.
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
    fn a_builder_is_the_same_by_another_path_of_its_socket() {
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
        requirements.add(Ability::CacheImport("registry".into()), &web, "cache-from");
        requirements.add(Ability::Push, &web, "output");
        requirements.add(Ability::ImageStore, &web, "output");
        assert!(Offers::DockerClassic.lacks(&requirements).is_empty());
        requirements.add(Ability::OciArchive, &web, "output");
        requirements.add(Ability::CacheExport("gha".into()), &web, "cache-to");
        assert_eq!(Offers::DockerClassic.lacks(&requirements).len(), 2);
        assert!(Offers::Everything.lacks(&requirements).is_empty());
    }
}
