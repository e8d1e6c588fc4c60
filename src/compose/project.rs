//! A loaded project: its services and what each of them builds.

use indexmap::IndexMap;

use crate::diag::{Diagnostics, Span, Spanned};
use crate::yaml::YamlNode;

/// All services of a project, in the order of the files.
#[derive(Debug, Clone, Default)]
pub struct Project {
    /// The services.
    pub services: Vec<Service>,
}

/// A service.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name.
    pub name: Spanned<String>,
    /// The image it runs, if that is named.
    pub image: Option<Spanned<String>>,
    /// How its image is built, if it is.
    pub build: Option<Build>,
    /// What is wrong or doubtful with what only this service needs: of no interest to those who do not build it.
    pub problems: Diagnostics,
}

/// Entries by name, in order.
pub type Entries = IndexMap<String, Spanned<String>>;

/// How an image is built. What is not set is none or empty.
#[derive(Debug, Clone)]
pub struct Build {
    /// Where it is written.
    pub span: Span,
    /// The source tree.
    pub context: Option<Spanned<String>>,
    /// Further source trees.
    pub additional_contexts: Entries,
    /// The Dockerfile's path.
    pub dockerfile: Option<Spanned<String>>,
    /// The Dockerfile's text.
    pub dockerfile_inline: Option<Spanned<String>>,
    /// The stage to build.
    pub target: Option<Spanned<String>>,
    /// Build arguments; those whose value is to come from elsewhere and did not are left out.
    pub args: Entries,
    /// Labels of the image.
    pub labels: Entries,
    /// Names of the image.
    pub tags: Vec<Spanned<String>>,
    /// Platforms to build for.
    pub platforms: Vec<Spanned<String>>,
    /// Where cache is imported from.
    pub cache_from: Vec<Spanned<String>>,
    /// Where cache is exported to.
    pub cache_to: Vec<Spanned<String>>,
    /// Names for addresses; several addresses of one are separated by commas.
    pub extra_hosts: Entries,
    /// SSH agents and keys by id, with the path of the key where there is one.
    pub ssh: Vec<(Spanned<String>, Option<Spanned<String>>)>,
    /// Secrets for steps.
    pub secrets: Vec<BuildSecret>,
    /// Limits of processes, `name=soft:hard`.
    pub ulimits: Vec<Spanned<String>>,
    /// Size of `/dev/shm`, in bytes.
    pub shm_size: Option<Spanned<u64>>,
    /// The network of steps.
    pub network: Option<Spanned<String>>,
    /// Whether the cache is left aside.
    pub no_cache: Option<Spanned<bool>>,
    /// Whether newer images are looked for.
    pub pull: Option<Spanned<bool>>,
    /// Whether and how a list of contents is made.
    pub sbom: Option<Spanned<String>>,
    /// Whether and how the build is described.
    pub provenance: Option<Spanned<String>>,
    /// Keys that begin with `x-`.
    pub extensions: IndexMap<String, YamlNode>,
}

/// A secret as a build uses it.
#[derive(Debug, Clone)]
pub struct BuildSecret {
    /// Its name, by which steps ask for it.
    pub id: Spanned<String>,
    /// The file that has it.
    pub file: Option<Spanned<String>>,
    /// The environment variable that has it.
    pub environment: Option<Spanned<String>>,
}
