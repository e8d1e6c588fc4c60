//! A plan: the targets to build, fully resolved, and how they depend on each other.
//!
//! Nothing changes a plan once it is made. Start at [`Plan`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::build_values::BuildValues;
use super::graph::TargetGraph;
use super::overrides::Grants;
use super::select::PlannedGroup;
use super::syntax::Annotation;
use crate::definition::model::{SharedText, Target};
use crate::diag::{Diagnostics, Span, Spanned};
use crate::types::hash::IndexMap;
use crate::types::remote::RemoteAddress;
use crate::types::ulimit::Ulimit;
use crate::types::{ContextImage, GroupName, Platform, TargetName};

/// What is to be built.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The groups that lead to the targets, and `default`, which lists what was asked for.
    pub(crate) groups: BTreeMap<GroupName, PlannedGroup>,
    /// The targets: those asked for in the order they were asked for, then those they link to.
    pub targets: IndexMap<TargetName, PlannedTarget>,
    /// Which target takes its contexts from which.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "building linked targets will use it")
    )]
    pub(crate) graph: TargetGraph,
    /// What the overrides on the command line allow by themselves.
    pub(crate) grants: Grants,
    /// What the user should know.
    pub(crate) warnings: Diagnostics,
}

/// A target of a plan.
#[derive(Debug, Clone)]
pub struct PlannedTarget {
    /// Its name.
    pub(crate) name: TargetName,
    /// Whether it was asked for.
    pub(crate) role: TargetRole,
    /// Its attributes after inheritance, overrides and defaults, with the places they were written at. This is what is
    /// printed.
    pub(crate) attributes: Arc<Target>,
    /// Where its sources come from.
    pub(crate) inputs: TargetInputs,
    /// The platforms to build for, in normal form; none leaves that to the builder.
    pub(crate) platforms: Vec<Platform>,
    /// Size of `/dev/shm` in bytes; 0 leaves that to the builder.
    pub(crate) shm_size: u64,
    /// Limits of processes, sorted by name.
    pub(crate) ulimits: Vec<Ulimit>,
    /// Limits of memory and CPU.
    pub(crate) resources: ResourceLimits,
    /// Annotations of the image; of equal keys the last one counts.
    pub(crate) annotations: Vec<AnnotationEntry>,
    /// What only matters when the target is built.
    pub(crate) build: BuildValues,
}

/// An entry of `annotations`, which may be for several levels and platforms.
#[derive(Debug, Clone)]
pub(crate) struct AnnotationEntry {
    /// What is written.
    pub(crate) text: Spanned<SharedText>,
    /// What it stands for, one for each level and platform.
    pub(crate) annotations: Vec<Annotation>,
}

/// Why a target is part of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TargetRole {
    /// It was asked for, by its name or through a group.
    Requested,
    /// Another target takes a context from it; it exports nothing.
    Linked {
        /// The first such target.
        by: TargetName,
    },
}

/// Where the sources of a target come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetInputs {
    /// The main source tree.
    pub(crate) context: ContextSource,
    /// The Dockerfile.
    pub(crate) dockerfile: DockerfileSource,
    /// Further source trees, by the name the Dockerfile uses.
    pub(crate) named: BTreeMap<SharedText, NamedContext>,
}

/// The main source tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ContextSource {
    /// A directory; relative ones start at the working directory.
    Local(SharedText),
    /// A git repository, a file or an archive, which the builder fetches.
    Remote(RemoteAddress),
}

/// The Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DockerfileSource {
    /// Its text is part of the definition.
    Inline(SharedText),
    /// A file of this machine; relative paths start at the working directory.
    Local(SharedText),
    /// A file inside a context that the builder fetches.
    InContext(SharedText),
    /// A file behind HTTP(S).
    Url(SharedText),
}

/// A further source tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NamedContext {
    /// A directory; relative ones start at the working directory.
    Local(SharedText),
    /// A git repository or a file behind HTTP(S), which the builder fetches.
    Remote(RemoteAddress),
    /// An image.
    Image(ContextImage),
    /// An image in a directory with OCI's layout.
    OciLayout(OciLayout),
    /// The result of another target.
    Target(SharedText),
}

/// An image in a directory with OCI's layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OciLayout {
    /// The directory.
    pub(crate) path: SharedText,
    /// The image's tag.
    pub(crate) tag: Option<SharedText>,
    /// The image's digest.
    pub(crate) digest: Option<crate::types::Digest>,
}

/// Limits of memory and CPU; zero and empty leave a limit to the builder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResourceLimits {
    /// Memory in bytes.
    pub(crate) memory: u64,
    /// Memory and swap in bytes; -1 is without limit.
    pub(crate) memory_swap: i64,
    /// Relative weight of CPU time.
    pub(crate) cpu_shares: i64,
    /// Period of the CPU quota in microseconds.
    pub(crate) cpu_period: i64,
    /// CPU time per period in microseconds.
    pub(crate) cpu_quota: i64,
    /// CPUs.
    pub(crate) cpuset_cpus: SharedText,
    /// Memory nodes.
    pub(crate) cpuset_mems: SharedText,
}

impl PlannedTarget {
    /// Whether the target only serves others.
    pub(crate) fn is_linked(&self) -> bool {
        matches!(self.role, TargetRole::Linked { .. })
    }

    /// Where the target's name is written.
    pub(crate) fn span(&self) -> Option<Span> {
        self.attributes.name.span
    }
}

impl ContextSource {
    /// Whether the context is a git repository that is reached over SSH.
    pub(crate) fn is_ssh(&self) -> bool {
        matches!(self, Self::Remote(address) if address.is_ssh())
    }
}
