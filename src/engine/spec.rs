//! What is to be solved, typed: the whole input of one solve, but for the sessions that serve it.
//!
//! Knows neither bake's attributes nor the wire's keys: `run` makes a [`SolveSpec`], `wire` writes it out. A value that the
//! daemon alone gives a meaning to, such as an unknown attribute of an exporter, passes through in an `extra` map.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;

use super::id::BuildRef;
use crate::types::remote::RemoteAddress;
use crate::types::ulimit::Ulimit;
use crate::types::{ContextImage, ImageName, NetworkMode, Platform, Secret, TargetName};

/// Input of one solve.
#[derive(Debug, Clone, PartialEq)]
pub struct SolveSpec {
    /// The target it is for; events name it.
    pub target: TargetName,
    /// The solve's id, in the daemon's history too.
    pub build_ref: BuildRef,
    /// What reads the Dockerfile.
    pub frontend: Frontend,
    /// The Dockerfile.
    pub dockerfile: Dockerfile,
    /// The main context.
    pub context: MainContext,
    /// Named contexts, by name.
    pub named_contexts: BTreeMap<String, SolveContext>,
    /// The stage to build; the last one if not given.
    pub stage: Option<String>,
    /// Build arguments that have a value.
    pub build_args: BTreeMap<String, String>,
    /// Labels of the image.
    pub(crate) labels: BTreeMap<String, String>,
    /// Platforms to build for; the daemon's own if none is given.
    pub platforms: Vec<Platform>,
    /// Whether the result is an index even for one platform.
    pub multi_platform: bool,
    /// What must not come from the cache.
    pub no_cache: NoCache,
    /// How tags of base images are resolved; the daemon's default if not given.
    pub(crate) resolve_mode: Option<ResolveMode>,
    /// The network of steps. The daemon's own needs the entitlement `network.host`, which is asked for by itself.
    pub network: NetworkMode,
    /// Additional lines of `/etc/hosts`.
    pub(crate) add_hosts: Vec<ExtraHost>,
    /// Limits of the processes of steps.
    pub ulimits: Vec<Ulimit>,
    /// Size of `/dev/shm`, in bytes.
    pub(crate) shm_size: Option<u64>,
    /// Parent of the control groups of steps.
    pub(crate) cgroup_parent: Option<String>,
    /// Limits of steps.
    pub resources: StepLimits,
    /// Attestations to make.
    pub attestations: Vec<Attestation>,
    /// What version control knows of the sources.
    pub(crate) vcs: VcsFacts,
    /// Caches to read.
    pub cache_imports: Vec<SolveCache>,
    /// Caches to write.
    pub cache_exports: Vec<SolveCache>,
    /// Results to write; the place in this list is the exporter's id in calls of the daemon.
    pub exports: Vec<SolveExport>,
    /// Privileges to ask for, such as `security.insecure`.
    pub(crate) entitlements: BTreeSet<String>,
    /// A question to the frontend instead of a build, such as `lint`.
    pub subrequest: Option<String>,
    /// Whether the solve is kept out of the daemon's history.
    pub internal: bool,
    /// Whether the solve runs through the gateway, which linked targets and subrequests need. The result is the same; only
    /// provenance repeats the request under `root` then.
    pub through_gateway: bool,
}

impl SolveSpec {
    /// A solve of `dockerfile` in `context` for `target`, everything else as the daemon does by itself.
    pub fn new(target: TargetName, dockerfile: Dockerfile, context: MainContext) -> Self {
        Self {
            target,
            build_ref: BuildRef::new(),
            frontend: Frontend::Dockerfile,
            dockerfile,
            context,
            named_contexts: BTreeMap::new(),
            stage: None,
            build_args: BTreeMap::new(),
            labels: BTreeMap::new(),
            platforms: Vec::new(),
            multi_platform: false,
            no_cache: NoCache::Nothing,
            resolve_mode: None,
            network: NetworkMode::Default,
            add_hosts: Vec::new(),
            ulimits: Vec::new(),
            shm_size: None,
            cgroup_parent: None,
            resources: StepLimits::default(),
            attestations: Vec::new(),
            vcs: VcsFacts::default(),
            cache_imports: Vec::new(),
            cache_exports: Vec::new(),
            exports: Vec::new(),
            entitlements: BTreeSet::new(),
            subrequest: None,
            internal: false,
            through_gateway: false,
        }
    }

    /// The directories of this machine that the solve reads. Each must be served by a session of the solve.
    pub(crate) fn locals(&self) -> Vec<LocalName> {
        let mut locals = Vec::new();
        match self.dockerfile {
            Dockerfile::Local { .. } | Dockerfile::Apart { .. } => {
                locals.push(LocalName::DOCKERFILE);
            }
            Dockerfile::InContext { .. } => {}
        }
        if self.context == MainContext::Local {
            locals.push(LocalName::CONTEXT);
        }
        let named = self.named_contexts.values();
        locals.extend(named.filter_map(|context| match context {
            SolveContext::Local { local, .. } => Some(local.clone()),
            _ => None,
        }));
        locals
    }
}

/// What reads the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frontend {
    /// The daemon's own frontend, which follows a `# syntax=` line.
    Dockerfile,
    /// The frontend of an image, as the build argument `BUILDKIT_SYNTAX` names it: the reference, then its arguments.
    Image {
        /// The whole value.
        command: String,
    },
}

/// `BUILDKIT_SYNTAX` is set, but names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the build argument `BUILDKIT_SYNTAX` is empty: it must name an image")]
pub(crate) struct EmptySyntax;

impl Frontend {
    /// The frontend that the value of `BUILDKIT_SYNTAX` names.
    pub(crate) fn from_syntax(value: &str) -> Result<Self, EmptySyntax> {
        if value.trim().is_empty() {
            return Err(EmptySyntax);
        }
        Ok(Self::Image {
            command: value.to_owned(),
        })
    }
}

/// The name by which the daemon asks for a directory of this machine.
///
/// Which session serves the directory is not part of a [`SolveSpec`]: see [`Sessions`](super::Sessions).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalName(Cow<'static, str>);

impl LocalName {
    /// The main context's directory.
    pub const CONTEXT: Self = Self(Cow::Borrowed("context"));
    /// The directory of the Dockerfile.
    pub const DOCKERFILE: Self = Self(Cow::Borrowed("dockerfile"));

    /// The directory of the named context `context`: its own name, unless the main context or the Dockerfile has that.
    pub(crate) fn of_named(context: &str) -> Self {
        let name = match context {
            "context" | "dockerfile" => format!("_{context}"),
            other => other.to_owned(),
        };
        Self(Cow::Owned(name))
    }

    /// The text that goes over the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LocalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the Dockerfile is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dockerfile {
    /// In a directory of this machine, [`LocalName::DOCKERFILE`].
    Local {
        /// The file's name in it.
        filename: String,
    },
    /// As [`Dockerfile::Local`], but apart from the context: given inline, or beside a remote context.
    Apart {
        /// The file's name in it.
        filename: String,
    },
    /// In the remote context, by its path there.
    InContext {
        /// The path.
        filename: String,
    },
}

/// The main context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MainContext {
    /// A directory of this machine, [`LocalName::CONTEXT`].
    Local,
    /// A repository or an archive that the daemon fetches.
    Remote(RemoteAddress),
}

/// A named context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SolveContext {
    /// A directory of this machine.
    Local {
        /// The directory.
        local: LocalName,
        /// Distinguishes what the daemon keeps of it: the directory's base name and the machine.
        shared_key_hint: String,
    },
    /// An image of a registry.
    Image(ContextImage),
    /// An image in an OCI layout on this machine, served as a content store.
    OciLayout {
        /// The store's name: the content service answers for `oci:<store>`.
        store: String,
        /// The tag, for display.
        tag: Option<String>,
        /// The manifest's digest.
        digest: crate::types::Digest,
    },
    /// A repository or an archive that the daemon fetches.
    Remote(RemoteAddress),
    /// The result of another target's solve.
    Linked {
        /// The name of the input, unique in the run and free of `::`.
        input: String,
        /// The result, for each platform; for one without platform, that alone.
        results: Vec<LinkedResult>,
    },
}

/// The result of a solve, as input of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedResult {
    /// The platform by the daemon's id for it, where the result has several.
    pub(crate) platform: Option<String>,
    /// The encoded definition; none where the file system is empty.
    pub(crate) definition: Option<Bytes>,
    /// The image's configuration, JSON.
    pub(crate) image_config: Option<Bytes>,
}

/// What must not come from the cache.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NoCache {
    /// All may.
    #[default]
    Nothing,
    /// Nothing may.
    All,
    /// These stages may not.
    Stages(Vec<String>),
}

/// How tags of base images are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResolveMode {
    /// Ask the registry always.
    Pull,
    /// Prefer what the daemon has.
    Local,
}

/// A line of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ExtraHost {
    /// The name.
    pub(crate) host: String,
    /// The number.
    pub(crate) ip: IpAddr,
}

/// Limits of steps; what is not given is the daemon's choice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepLimits {
    /// Memory, in bytes.
    pub(crate) memory: Option<i64>,
    /// Memory and swap together, in bytes; -1 for no limit.
    pub(crate) memory_swap: Option<i64>,
    /// Relative weight.
    pub(crate) cpu_shares: Option<i64>,
    /// Length of a period, in microseconds.
    pub(crate) cpu_period: Option<i64>,
    /// Time in each period, in microseconds.
    pub(crate) cpu_quota: Option<i64>,
    /// Processors, such as `0-2,4`.
    pub(crate) cpuset_cpus: Option<String>,
    /// Memory nodes, such as `0`.
    pub(crate) cpuset_mems: Option<String>,
}

/// An attestation to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    /// `provenance` or `sbom`.
    pub kind: String,
    /// What the daemon is told about it, in order, such as `mode=max`.
    pub parameters: Vec<(String, String)>,
}

/// What version control knows of the sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VcsFacts {
    /// The repository's address, without credentials.
    pub(crate) source: Option<String>,
    /// The commit.
    pub(crate) revision: Option<String>,
    /// For each local directory, its path in the repository.
    pub(crate) local_dirs: BTreeMap<LocalName, String>,
}

/// A kind of cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheBackend {
    /// A repository of a registry.
    Registry,
    /// A directory of this machine.
    Local,
    /// The image itself.
    Inline,
    /// GitHub's cache service.
    Gha,
    /// An S3 bucket.
    S3,
    /// Azure's blob storage.
    Azblob,
    /// Another that the daemon may know.
    Other(String),
}

impl CacheBackend {
    /// The name the daemon knows it by.
    pub fn name(&self) -> &str {
        match self {
            Self::Registry => "registry",
            Self::Local => "local",
            Self::Inline => "inline",
            Self::Gha => "gha",
            Self::S3 => "s3",
            Self::Azblob => "azblob",
            Self::Other(name) => name,
        }
    }
}

/// A cache to read or to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SolveCache {
    /// Its kind.
    pub backend: CacheBackend,
    /// The image that holds it, in a registry.
    pub image: Option<ImageName>,
    /// What else the daemon is told about it.
    pub extra: BTreeMap<String, String>,
    /// What it is told and nobody else may see, such as tokens.
    pub credentials: BTreeMap<String, Secret<String>>,
}

/// What writes a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exporter {
    /// The daemon's image store, and registries.
    Image,
    /// An OCI archive or layout on this machine.
    Oci,
    /// A Docker archive or layout on this machine.
    Docker,
    /// A tar of the file system on this machine.
    Tar,
    /// A directory on this machine.
    Local,
    /// The image store of a Docker Engine, by its own BuildKit.
    Moby,
    /// Another that the daemon may know.
    Other(String),
}

impl Exporter {
    /// The name the daemon knows it by.
    pub fn name(&self) -> &str {
        match self {
            Self::Image => "image",
            Self::Oci => "oci",
            Self::Docker => "docker",
            Self::Tar => "tar",
            Self::Local => "local",
            Self::Moby => "moby",
            Self::Other(name) => name,
        }
    }
}

/// A result to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SolveExport {
    /// What writes it.
    pub exporter: Exporter,
    /// Names of the image.
    pub names: Vec<ImageName>,
    /// Whether the image is pushed.
    pub push: Option<bool>,
    /// Whether the image is unpacked in the daemon's store.
    pub unpack: Option<bool>,
    /// What else the daemon is told; the fields above win.
    pub extra: BTreeMap<String, String>,
}

impl SolveExport {
    /// An export by `exporter` of which nothing else is said.
    pub fn new(exporter: Exporter) -> Self {
        Self {
            exporter,
            names: Vec::new(),
            push: None,
            unpack: None,
            extra: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_syntax_names_no_frontend() {
        assert_eq!(Frontend::from_syntax("  "), Err(EmptySyntax));
        assert!(Frontend::from_syntax("docker/dockerfile:1 x").is_ok());
    }

    #[test]
    fn named_contexts_keep_clear_of_the_names_of_others() {
        assert_eq!(LocalName::of_named("src").as_str(), "src");
        let taken = [LocalName::CONTEXT, LocalName::DOCKERFILE];
        for name in &taken {
            assert!(!taken.contains(&LocalName::of_named(name.as_str())));
        }
    }
}
