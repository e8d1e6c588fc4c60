//! The typed input of one solve, except the sessions that serve it.
//!
//! This module knows neither bake's attributes nor the keys of BuildKit's protocol: `run` creates a [`SolveSpec`],
//! and `wire` encodes it. Values that only the daemon interprets, such as unknown attributes of an exporter, pass
//! through in an `extra` map.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;

use super::id::BuildRef;
use super::source_policy::SourcePolicy;
use crate::types::remote::RemoteAddress;
use crate::types::ulimit::Ulimit;
use crate::types::{ContextImage, ImageName, NetworkMode, Platform, Secret, TargetName};

/// The input of one solve.
#[derive(Debug, Clone, PartialEq)]
pub struct SolveSpec {
    /// The target that is built; events name it.
    pub target: TargetName,
    /// The solve's id, also in the daemon's history.
    pub build_ref: BuildRef,
    /// The frontend that reads the Dockerfile.
    pub frontend: Frontend,
    /// Where the Dockerfile is.
    pub dockerfile: Dockerfile,
    /// The main context of the build.
    pub context: MainContext,
    /// Named contexts, by name.
    pub named_contexts: BTreeMap<String, SolveContext>,
    /// The stage to build. `None` means the last one.
    pub stage: Option<String>,
    /// Build arguments that have a value.
    pub build_args: BTreeMap<String, String>,
    /// Labels of the image.
    pub(crate) labels: BTreeMap<String, String>,
    /// Platforms to build for. If empty, the daemon uses its own.
    pub platforms: Vec<Platform>,
    /// Whether the result is an index even if it has only one platform.
    pub multi_platform: bool,
    /// Which stages must not come from the cache.
    pub no_cache: NoCache,
    /// How tags of base images are resolved. `None` means the daemon's default.
    pub(crate) resolve_mode: Option<ResolveMode>,
    /// The network of the steps. The host's network needs the entitlement `network.host`, which `wire` requests
    /// without an entry in `entitlements`.
    pub network: NetworkMode,
    /// Additional lines for `/etc/hosts` in the steps.
    pub(crate) add_hosts: Vec<ExtraHost>,
    /// Limits of the processes in the steps.
    pub ulimits: Vec<Ulimit>,
    /// The size of `/dev/shm` in bytes.
    pub(crate) shm_size: Option<u64>,
    /// The parent of the steps' control groups.
    pub(crate) cgroup_parent: Option<String>,
    /// Limits on memory and processors for each step.
    pub resources: StepLimits,
    /// Attestations to create.
    pub attestations: Vec<Attestation>,
    /// What version control knows about the sources; for provenance.
    pub(crate) vcs: VcsFacts,
    /// Caches to read.
    pub cache_imports: Vec<SolveCache>,
    /// Caches to write.
    pub cache_exports: Vec<SolveCache>,
    /// Results to write. An export's index in this list is its exporter's id in the daemon's calls.
    pub exports: Vec<SolveExport>,
    /// Privileges to request, such as `security.insecure`.
    pub(crate) entitlements: BTreeSet<String>,
    /// Rules on the sources, which the daemon applies.
    pub(crate) source_policy: Option<SourcePolicy>,
    /// What the target's session decides about.
    pub(crate) judged: JudgedSources,
    /// The subrequest that the frontend answers instead of building, such as `lint`.
    pub subrequest: Option<String>,
    /// Whether the solve is kept out of the daemon's history.
    pub internal: bool,
    /// Whether the solve runs through the gateway, which linked targets and subrequests need. The result is the same;
    /// only the provenance then repeats the request under `root`.
    pub through_gateway: bool,
}

impl SolveSpec {
    /// A solve of `dockerfile` in `context` for `target`, with the daemon's defaults for everything else.
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
            source_policy: None,
            judged: JudgedSources::Nothing,
            subrequest: None,
            internal: false,
            through_gateway: false,
        }
    }

    /// The local directories that the solve reads. A session of the solve must serve each of them.
    pub(crate) fn locals(&self) -> Vec<LocalName> {
        let mut locals = Vec::new();
        let is_input = match &self.context {
            MainContext::Shared(shared) => shared.dockerfile.is_some(),
            MainContext::Local | MainContext::Remote(_) | MainContext::Input(_) => false,
        };
        match self.dockerfile {
            Dockerfile::Local { .. } | Dockerfile::Apart { .. } if !is_input => {
                locals.push(LocalName::DOCKERFILE);
            }
            Dockerfile::Local { .. } | Dockerfile::Apart { .. } | Dockerfile::InContext { .. } => {}
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

/// The sources of a solve about which its session decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum JudgedSources {
    /// None.
    #[default]
    Nothing,
    /// All sources of the build's description.
    Sources,
    /// What steps download as well: they reach the network through the daemon's proxy.
    SourcesAndDownloads,
}

impl JudgedSources {
    /// Whether the session decides about anything.
    pub(crate) fn are_any(self) -> bool {
        self != Self::Nothing
    }

    /// Whether steps reach the network through the daemon's proxy.
    pub(crate) fn through_proxy(self) -> bool {
        self == Self::SourcesAndDownloads
    }
}

/// What reads the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frontend {
    /// The daemon's built-in frontend, which follows a `# syntax=` line.
    Dockerfile,
    /// The daemon's built-in frontend, which does not follow a `# syntax=` line. It is only for questions: what is built with it may
    /// differ from what the image makes.
    OnlyBuiltIn,
    /// A frontend image, from the build argument `BUILDKIT_SYNTAX`: an image name, which arguments may follow.
    Image {
        /// The whole value of the build argument.
        command: String,
    },
}

/// `BUILDKIT_SYNTAX` is set, but blank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the build argument `BUILDKIT_SYNTAX` is empty: it must name an image")]
pub(crate) struct EmptySyntax;

impl Frontend {
    /// The frontend that a value of `BUILDKIT_SYNTAX` names.
    pub(crate) fn from_syntax(value: &str) -> Result<Self, EmptySyntax> {
        if value.trim().is_empty() {
            return Err(EmptySyntax);
        }
        Ok(Self::Image {
            command: value.to_owned(),
        })
    }
}

/// The name by which the daemon asks for a local directory.
///
/// Which session serves the directory is not part of a [`SolveSpec`]: see [`Sessions`](super::Sessions).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalName(Cow<'static, str>);

impl LocalName {
    /// The directory of the main context.
    pub const CONTEXT: Self = Self(Cow::Borrowed("context"));
    /// The directory of the Dockerfile.
    pub const DOCKERFILE: Self = Self(Cow::Borrowed("dockerfile"));

    /// The directory of the named context `context`. Its name is that of the context; a context called `context` or
    /// `dockerfile` gets a leading underscore, because those names are taken.
    pub(crate) fn of_named(context: &str) -> Self {
        let name = match context {
            "context" | "dockerfile" => format!("_{context}"),
            other => other.to_owned(),
        };
        Self(Cow::Owned(name))
    }

    /// The text that is sent to the daemon.
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
    /// In a local directory, [`LocalName::DOCKERFILE`].
    Local {
        /// The file's name in that directory.
        filename: String,
    },
    /// Like [`Dockerfile::Local`], but not part of the context: it is inline, or the context is remote.
    Apart {
        /// The file's name in that directory.
        filename: String,
    },
    /// In the remote context.
    InContext {
        /// The file's path in the context.
        filename: String,
    },
}

/// The main context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MainContext {
    /// A local directory, [`LocalName::CONTEXT`].
    Local,
    /// A repository or an archive that the daemon fetches.
    Remote(RemoteAddress),
    /// A file system that is described in LLB.
    Input(InputTree),
    /// A local directory, of which one transfer is made for several solves.
    Shared(SharedInputs),
}

/// Local directories that several solves have as inputs. The encoded LLB definitions name the sessions that serve them, and are
/// not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedInputs {
    /// The main context.
    pub(crate) context: Bytes,
    /// The directory of the Dockerfile, if it is shared, too.
    pub(crate) dockerfile: Option<Bytes>,
}

/// A file system that a solve has as an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputTree {
    /// The encoded LLB definition. It is not empty.
    pub(crate) definition: Bytes,
    /// The address of the repository, with the directory. `None` if it is not in a repository.
    pub(crate) address: Option<String>,
}

/// A named context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SolveContext {
    /// A local directory.
    Local {
        /// The name that the daemon asks for.
        local: LocalName,
        /// Part of the key under which the daemon keeps its copy of the directory: the directory's base name and the
        /// machine.
        shared_key_hint: String,
    },
    /// An image in a registry.
    Image(ContextImage),
    /// An image in a local OCI layout, which the session serves as a content store.
    OciLayout {
        /// The store's name: the content service answers for `oci:<store>`.
        store: String,
        /// The image's tag; only displayed.
        tag: Option<String>,
        /// The digest of the manifest.
        digest: crate::types::Digest,
    },
    /// A repository or an archive that the daemon fetches.
    Remote(RemoteAddress),
    /// A file system that is described in LLB.
    Input(InputTree),
    /// The result of another target's solve.
    Linked {
        /// The name of the input. It is unique in the run and has no `::`.
        input: String,
        /// One result for each platform, or a single one without a platform.
        results: Vec<LinkedResult>,
    },
}

/// The result of one solve as input of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedResult {
    /// The platform, as the daemon writes it. `None` if the result is not split by platform.
    pub(crate) platform: Option<String>,
    /// The encoded LLB definition. `None` if the file system is empty.
    pub(crate) definition: Option<Bytes>,
    /// The image's configuration as JSON.
    pub(crate) image_config: Option<Bytes>,
}

/// Which stages must not come from the cache.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NoCache {
    /// Everything may come from the cache.
    #[default]
    Nothing,
    /// Nothing may come from the cache.
    All,
    /// These stages must not come from the cache.
    Stages(Vec<String>),
}

/// How tags of base images are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResolveMode {
    /// Always ask the registry.
    Pull,
    /// Prefer images that the daemon has.
    Local,
}

/// An additional line of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ExtraHost {
    /// The name of the host.
    pub(crate) host: String,
    /// Its IP address.
    pub(crate) ip: IpAddr,
}

/// Limits of each step. `None` leaves a limit to the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepLimits {
    /// Memory in bytes.
    pub(crate) memory: Option<i64>,
    /// Memory and swap together in bytes; -1 means unlimited.
    pub(crate) memory_swap: Option<i64>,
    /// The processor share relative to other groups.
    pub(crate) cpu_shares: Option<i64>,
    /// The length of a scheduling period in microseconds.
    pub(crate) cpu_period: Option<i64>,
    /// The processor time in each period, in microseconds.
    pub(crate) cpu_quota: Option<i64>,
    /// The allowed processors, such as `0-2,4`.
    pub(crate) cpuset_cpus: Option<String>,
    /// The allowed memory nodes, such as `0`.
    pub(crate) cpuset_mems: Option<String>,
}

/// An attestation to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    /// `provenance` or `sbom`.
    pub kind: String,
    /// The attestation's parameters in order, such as `mode=max`.
    pub parameters: Vec<(String, String)>,
}

/// What version control knows about the sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VcsFacts {
    /// The address of the repository, without credentials.
    pub(crate) source: Option<String>,
    /// The commit id.
    pub(crate) revision: Option<String>,
    /// The path of each local directory inside the repository.
    pub(crate) local_dirs: BTreeMap<LocalName, String>,
}

/// Where a cache is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheBackend {
    /// A repository in a registry.
    Registry,
    /// A local directory.
    Local,
    /// The built image itself.
    Inline,
    /// GitHub's cache service.
    Gha,
    /// An S3 bucket.
    S3,
    /// Azure Blob Storage.
    Azblob,
    /// Another backend; the daemon may know it.
    Other(String),
}

impl CacheBackend {
    /// The daemon's name for it.
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
    /// The backend that stores it.
    pub backend: CacheBackend,
    /// The image that holds the cache; for the backend `registry`.
    pub image: Option<ImageName>,
    /// Other attributes for the daemon.
    pub extra: BTreeMap<String, String>,
    /// Attributes that must stay secret, such as tokens.
    pub credentials: BTreeMap<String, Secret<String>>,
}

/// The component of BuildKit that writes a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exporter {
    /// The daemon's image store, and registries.
    Image,
    /// A local OCI archive or layout.
    Oci,
    /// A local Docker archive or layout.
    Docker,
    /// A local tar archive of the file system.
    Tar,
    /// A local directory.
    Local,
    /// The image store of a Docker Engine; only dockerd's own BuildKit has it.
    Moby,
    /// Another exporter; the daemon may know it.
    Other(String),
}

impl Exporter {
    /// The daemon's name for it.
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
    /// The exporter that writes it.
    pub exporter: Exporter,
    /// The image's names.
    pub names: Vec<ImageName>,
    /// Whether the image is pushed. `None` leaves it to the exporter.
    pub push: Option<bool>,
    /// Whether the image is unpacked in the daemon's store. `None` leaves it to the exporter.
    pub unpack: Option<bool>,
    /// Other attributes for the daemon. The fields above take precedence.
    pub extra: BTreeMap<String, String>,
}

impl SolveExport {
    /// An export by `exporter` without any attributes.
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
    fn a_blank_syntax_is_an_error() {
        assert_eq!(Frontend::from_syntax("  "), Err(EmptySyntax));
        assert!(Frontend::from_syntax("docker/dockerfile:1 x").is_ok());
    }

    #[test]
    fn named_contexts_get_names_that_are_not_yet_in_use() {
        assert_eq!(LocalName::of_named("src").as_str(), "src");
        let taken = [LocalName::CONTEXT, LocalName::DOCKERFILE];
        for name in &taken {
            assert!(!taken.contains(&LocalName::of_named(name.as_str())));
        }
    }
}
