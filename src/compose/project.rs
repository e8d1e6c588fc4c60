//! A loaded Compose project: its services and how each is built.

use indexmap::IndexMap;

use crate::diag::{Diagnostics, Span, Spanned};
use crate::yaml::YamlNode;

/// A loaded project.
#[derive(Debug, Clone, Default)]
pub(crate) struct Project {
    /// All services, in the order of the files.
    pub(crate) services: Vec<Service>,
}

/// A service of the project.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    /// The service's name, as in the file.
    pub(crate) name: Spanned<String>,
    /// The name of the image that the service runs, if given.
    pub(crate) image: Option<Spanned<String>>,
    /// How the image is built. `None` if the service has no `build`.
    pub(crate) build: Option<Build>,
    /// Problems that only matter if this service is built, such as a missing `env_file`.
    pub(crate) problems: Diagnostics,
}

/// Values by name, in the order of the file.
pub(crate) type Entries = IndexMap<String, Spanned<String>>;

/// How an image is built. Fields that are not set are `None` or empty.
#[derive(Debug, Clone)]
pub(crate) struct Build {
    /// The place of `build`.
    pub(crate) span: Span,
    /// The build context.
    pub(crate) context: Option<Spanned<String>>,
    /// Additional build contexts, by name.
    pub(crate) additional_contexts: Entries,
    /// The path of the Dockerfile.
    pub(crate) dockerfile: Option<Spanned<String>>,
    /// The text of the Dockerfile, if it is not a file.
    pub(crate) dockerfile_inline: Option<Spanned<String>>,
    /// The stage to build.
    pub(crate) target: Option<Spanned<String>>,
    /// Build arguments. Arguments without a value, for which there is no variable either, are left out.
    pub(crate) args: Entries,
    /// Labels of the image.
    pub(crate) labels: Entries,
    /// Image names.
    pub(crate) tags: Vec<Spanned<String>>,
    /// The platforms to build for.
    pub(crate) platforms: Vec<Spanned<String>>,
    /// Where cache is imported from.
    pub(crate) cache_from: Vec<Spanned<String>>,
    /// Where cache is exported to.
    pub(crate) cache_to: Vec<Spanned<String>>,
    /// Additional host names, with one or more addresses separated by commas.
    pub(crate) extra_hosts: Entries,
    /// SSH agents and keys: the id, and the path of the key if there is one.
    pub(crate) ssh: Vec<(Spanned<String>, Option<Spanned<String>>)>,
    /// Secrets for the build steps.
    pub(crate) secrets: Vec<BuildSecret>,
    /// Process limits, as `name=soft:hard`.
    pub(crate) ulimits: Vec<Spanned<String>>,
    /// The size of `/dev/shm` in bytes.
    pub(crate) shm_size: Option<Spanned<u64>>,
    /// The network mode of the build steps.
    pub(crate) network: Option<Spanned<String>>,
    /// Whether to build without using the cache.
    pub(crate) no_cache: Option<Spanned<bool>>,
    /// Whether to look for newer versions of the base images.
    pub(crate) pull: Option<Spanned<bool>>,
    /// Whether to attach an SBOM: a boolean, or its options.
    pub(crate) sbom: Option<Spanned<String>>,
    /// Whether to attach provenance: a boolean, or its options.
    pub(crate) provenance: Option<Spanned<String>>,
    /// The keys that start with `x-`, such as `x-bake`.
    pub(crate) extensions: IndexMap<String, YamlNode>,
}

/// A secret of a build, with its source from the top-level `secrets`.
#[derive(Debug, Clone)]
pub(crate) struct BuildSecret {
    /// The id by which steps mount it.
    pub(crate) id: Spanned<String>,
    /// The file that contains the value.
    pub(crate) file: Option<Spanned<String>>,
    /// The environment variable that contains the value.
    pub(crate) environment: Option<Spanned<String>>,
}
