//! A loaded project: its services and what each of them builds.

use indexmap::IndexMap;

use crate::diag::{Diagnostics, Span, Spanned};
use crate::yaml::YamlNode;

/// All services of a project, in the order of the files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Project {
    /// The services.
    pub(crate) services: Vec<Service>,
}

/// A service.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    /// Its name.
    pub(crate) name: Spanned<String>,
    /// The image it runs, if that is named.
    pub(crate) image: Option<Spanned<String>>,
    /// How its image is built, if it is.
    pub(crate) build: Option<Build>,
    /// What is wrong or doubtful with what only this service needs: of no interest to those who do not build it.
    pub(crate) problems: Diagnostics,
}

/// Entries by name, in order.
pub(crate) type Entries = IndexMap<String, Spanned<String>>;

/// How an image is built. What is not set is none or empty.
#[derive(Debug, Clone)]
pub(crate) struct Build {
    /// Where it is written.
    pub(crate) span: Span,
    /// The source tree.
    pub(crate) context: Option<Spanned<String>>,
    /// Further source trees.
    pub(crate) additional_contexts: Entries,
    /// The Dockerfile's path.
    pub(crate) dockerfile: Option<Spanned<String>>,
    /// The Dockerfile's text.
    pub(crate) dockerfile_inline: Option<Spanned<String>>,
    /// The stage to build.
    pub(crate) target: Option<Spanned<String>>,
    /// Build arguments; those whose value is to come from elsewhere and did not are left out.
    pub(crate) args: Entries,
    /// Labels of the image.
    pub(crate) labels: Entries,
    /// Names of the image.
    pub(crate) tags: Vec<Spanned<String>>,
    /// Platforms to build for.
    pub(crate) platforms: Vec<Spanned<String>>,
    /// Where cache is imported from.
    pub(crate) cache_from: Vec<Spanned<String>>,
    /// Where cache is exported to.
    pub(crate) cache_to: Vec<Spanned<String>>,
    /// Names for addresses; several addresses of one are separated by commas.
    pub(crate) extra_hosts: Entries,
    /// SSH agents and keys by id, with the path of the key where there is one.
    pub(crate) ssh: Vec<(Spanned<String>, Option<Spanned<String>>)>,
    /// Secrets for steps.
    pub(crate) secrets: Vec<BuildSecret>,
    /// Limits of processes, `name=soft:hard`.
    pub(crate) ulimits: Vec<Spanned<String>>,
    /// Size of `/dev/shm`, in bytes.
    pub(crate) shm_size: Option<Spanned<u64>>,
    /// The network of steps.
    pub(crate) network: Option<Spanned<String>>,
    /// Whether the cache is left aside.
    pub(crate) no_cache: Option<Spanned<bool>>,
    /// Whether newer images are looked for.
    pub(crate) pull: Option<Spanned<bool>>,
    /// Whether and how a list of contents is made.
    pub(crate) sbom: Option<Spanned<String>>,
    /// Whether and how the build is described.
    pub(crate) provenance: Option<Spanned<String>>,
    /// Keys that begin with `x-`.
    pub(crate) extensions: IndexMap<String, YamlNode>,
}

/// A secret as a build uses it.
#[derive(Debug, Clone)]
pub(crate) struct BuildSecret {
    /// Its name, by which steps ask for it.
    pub(crate) id: Spanned<String>,
    /// The file that has it.
    pub(crate) file: Option<Spanned<String>>,
    /// The environment variable that has it.
    pub(crate) environment: Option<Spanned<String>>,
}
