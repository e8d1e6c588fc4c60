//! A plan: the targets to build, fully resolved, and their dependencies.
//!
//! A plan is not changed after it is made. Start at [`Plan`].

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::build_values::{self, BuildValues};
use super::graph::TargetGraph;
use super::overrides::Grants;
use super::select::PlannedGroup;
use super::syntax::Annotation;
use crate::definition::model::{List, SharedText, Target};
use crate::definition::remote::{RemoteTree, TreeDirectory};
use crate::diag::{Diagnostics, Span, Spanned};
use crate::types::hash::IndexMap;
use crate::types::remote::RemoteAddress;
use crate::types::ulimit::Ulimit;
use crate::types::{ContextImage, GroupName, Platform, TargetName};

/// The targets to build.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The groups that lead to the targets, and a group `default` that lists what the user asked for. Only used
    /// for printing.
    pub(crate) groups: BTreeMap<GroupName, PlannedGroup>,
    /// The targets: first those that the user asked for, in that order, then those that they link to.
    pub targets: IndexMap<TargetName, PlannedTarget>,
    /// The links between the targets.
    pub(crate) graph: TargetGraph,
    /// What overrides on the command line allow implicitly.
    pub(crate) grants: Grants,
    /// Warnings for the user.
    pub(crate) warnings: Diagnostics,
}

/// A target of a plan.
#[derive(Debug, Clone)]
pub struct PlannedTarget {
    /// The target's name.
    pub(crate) name: TargetName,
    /// Whether the user asked for the target, or another target needs it.
    pub(crate) role: TargetRole,
    /// The attributes after inheritance, overrides and defaults, with their places in the files. `--print` prints
    /// them.
    pub(crate) attributes: Arc<Target>,
    /// Where the sources come from.
    pub(crate) inputs: TargetInputs,
    /// The platforms to build for, normalized. If empty, the builder decides.
    pub(crate) platforms: Vec<Platform>,
    /// The size of `/dev/shm` in bytes. 0 means the builder's default.
    pub(crate) shm_size: u64,
    /// Process limits, sorted by name.
    pub(crate) ulimits: Vec<Ulimit>,
    /// Memory and CPU limits.
    pub(crate) resources: ResourceLimits,
    /// Annotations of the image. If keys are equal, the last one counts.
    pub(crate) annotations: Vec<AnnotationEntry>,
    /// See [`Self::build`].
    pub(super) build: OnceLock<BuildValues>,
}

/// An entry of `annotations`. It may apply to several levels and platforms.
#[derive(Debug, Clone)]
pub(crate) struct AnnotationEntry {
    /// The entry as it is written.
    pub(crate) text: Spanned<SharedText>,
    /// The parsed annotations, one for each level and platform.
    pub(crate) annotations: Vec<Annotation>,
}

/// Why a target is part of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TargetRole {
    /// The user asked for it, by its name or through a group.
    Requested,
    /// Another target uses its result as a context. It exports nothing.
    Linked {
        /// The first such target that was found.
        by: TargetName,
    },
}

/// Where the sources of a target come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetInputs {
    /// The build context.
    pub(crate) context: ContextSource,
    /// The Dockerfile.
    pub(crate) dockerfile: DockerfileSource,
    /// Additional build contexts, by the name that the Dockerfile uses.
    pub(crate) named: BTreeMap<SharedText, NamedContext>,
    /// The tree that the definition was fetched from.
    pub(crate) tree: Option<Arc<RemoteTree>>,
    /// A local path, if the definition was fetched and it is not clear whether its Dockerfile is meant to be local: the
    /// context is, but the path of the Dockerfile does not say so. There must be no such file.
    pub(crate) doubtful_dockerfile: Option<SharedText>,
}

impl TargetInputs {
    /// Whether the user's SSH agent is needed although the target does not name it: for its context, or for a definition
    /// that was fetched over SSH.
    pub(crate) fn need_agent(&self) -> bool {
        let is_ssh = |tree: &Arc<RemoteTree>| tree.source().is_ssh();
        self.context.is_ssh() || self.tree.as_ref().is_some_and(is_ssh)
    }
}

/// The build context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ContextSource {
    /// A local directory. A relative path starts at the working directory.
    Local(SharedText),
    /// A git repository, a file or an archive. The builder fetches it.
    Remote(RemoteAddress),
    /// A directory of the tree that the definition was fetched from.
    InTree(TreeDirectory),
}

/// The Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DockerfileSource {
    /// The text is in the definition.
    Inline(SharedText),
    /// A local file. A relative path starts at the working directory.
    Local(SharedText),
    /// A file inside a remote context, which the builder fetches.
    InContext(SharedText),
    /// A file that is downloaded over HTTP(S).
    Url(SharedText),
}

/// An additional build context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NamedContext {
    /// A local directory. A relative path starts at the working directory.
    Local(SharedText),
    /// A git repository, or a file that is downloaded over HTTP(S). The builder fetches it.
    Remote(RemoteAddress),
    /// A directory of the tree that the definition was fetched from.
    InTree(TreeDirectory),
    /// An image in a registry.
    Image(ContextImage),
    /// An image in a local directory in the OCI image layout.
    OciLayout(OciLayout),
    /// The result of another target.
    Target(SharedText),
}

/// An image in a local directory in the OCI image layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OciLayout {
    /// The directory.
    pub(crate) path: SharedText,
    /// The image's tag, if given.
    pub(crate) tag: Option<SharedText>,
    /// The image's digest, if given.
    pub(crate) digest: Option<crate::types::Digest>,
}

/// Memory and CPU limits. Zero or empty means the builder's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResourceLimits {
    /// The memory limit in bytes.
    pub(crate) memory: u64,
    /// The limit of memory and swap together, in bytes. -1 means no limit.
    pub(crate) memory_swap: i64,
    /// The relative weight of CPU time.
    pub(crate) cpu_shares: i64,
    /// The period of the CPU quota, in microseconds.
    pub(crate) cpu_period: i64,
    /// The CPU time per period, in microseconds.
    pub(crate) cpu_quota: i64,
    /// The CPUs that steps may use, such as `0-2`.
    pub(crate) cpuset_cpus: SharedText,
    /// The memory nodes that steps may use, such as `0`.
    pub(crate) cpuset_mems: SharedText,
}

impl Plan {
    /// The plan to carry out, if that is not the whole plan: a target whose frontend is only asked something has no outputs,
    /// names, caches and attestations, so nothing about them is checked, fetched or written. `None` if there is no such
    /// target.
    pub(crate) fn without_results_of_calls(&self) -> Option<Self> {
        if !self.targets.values().any(PlannedTarget::is_called) {
            return None;
        }
        let mut plan = self.clone();
        for target in plan
            .targets
            .values_mut()
            .filter(|target| target.is_called())
        {
            let attributes = Arc::make_mut(&mut target.attributes);
            attributes.output = List::default();
            attributes.tags = List::default();
            attributes.cache_from = List::default();
            attributes.cache_to = List::default();
            attributes.attest = List::default();
            attributes.annotations = List::default();
            attributes.ssh = List::default();
            target.annotations.clear();
            target.build = OnceLock::new();
        }
        Some(plan)
    }
}

impl PlannedTarget {
    /// The value of the build argument `name`, if it is given.
    pub(crate) fn argument(&self, name: &str) -> Option<String> {
        let value = self.attributes.args.get(name)?;
        Some(value.value.to_string())
    }

    /// The stage that is built. `None` for the last one.
    pub(crate) fn stage(&self) -> Option<&str> {
        let stage = self.attributes.stage.as_ref();
        stage.map(|stage| stage.value.as_ref())
    }

    /// Whether the frontend is asked something instead of to build.
    pub(crate) fn is_called(&self) -> bool {
        self.build().call.is_some()
    }

    /// The parsed attributes that only matter when the target is built.
    ///
    /// They are parsed at the first call, so that `--print`, which accepts any text in them, does not spend the time.
    pub(crate) fn build(&self) -> &BuildValues {
        self.build
            .get_or_init(|| build_values::read(&self.attributes))
    }

    /// Whether the target is only in the plan because others use it.
    pub(crate) fn is_linked(&self) -> bool {
        matches!(self.role, TargetRole::Linked { .. })
    }

    /// Where the target's name is written.
    pub(crate) fn span(&self) -> Option<Span> {
        self.attributes.name.span
    }
}

impl ContextSource {
    /// Whether the context is a git repository that is fetched over SSH.
    fn is_ssh(&self) -> bool {
        matches!(self, Self::Remote(address) if address.is_ssh())
    }
}
