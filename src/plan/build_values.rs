//! Parses attributes that only a build needs in another form than text.
//!
//! `--print` prints their text even if it is invalid. So an invalid value does not fail the plan: it is kept as a
//! problem, which [`check_build`](super::check_build) reports.

use std::fmt::Display;

use super::call::FrontendCall;
use super::syntax::{HostAddress, parse_host};
use crate::definition::model::{
    CacheEntry, CacheKind, Export, ExportKind, List, SharedText, Target,
};
use crate::diag::{Class, Diagnostic, Diagnostics, Span, Spanned};
use crate::types::{ImageName, NetworkMode};

/// The parsed attributes of a target that only matter when it is built.
#[derive(Debug, Clone, Default)]
pub(crate) struct BuildValues {
    /// What the frontend is asked instead of a build. `None` for a build.
    pub(crate) call: Option<FrontendCall>,
    /// The network mode of the build steps.
    pub(crate) network: NetworkMode,
    /// Additional host names for the build steps.
    pub(crate) extra_hosts: Vec<NamedHost>,
    /// The names that the image gets.
    pub(crate) images: ImageNames,
    /// For each entry of `cache-from`, in order, its image. `None` if the cache is not in a registry or the name
    /// is invalid.
    pub(crate) cache_from: Vec<Option<ImageName>>,
    /// For each entry of `cache-to`, in order, its image. `None` if the cache is not in a registry or the name is
    /// invalid.
    pub(crate) cache_to: Vec<Option<ImageName>>,
    /// The attributes that cannot be parsed. They are missing from the other fields, so a target with problems
    /// must not be built.
    pub(crate) problems: Diagnostics,
}

/// A host name with its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedHost {
    /// The host name.
    pub(crate) host: SharedText,
    /// Its addresses.
    pub(crate) addresses: Vec<HostAddress>,
    /// Where the entry is written.
    pub(crate) span: Option<Span>,
}

/// The names that a target's image gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageNames {
    /// The target's `tags`. They apply to every output.
    Tags(Vec<Spanned<ImageName>>),
    /// The target has no tags. For each output, in order, the names in its `name` field.
    Outputs(Vec<Vec<Spanned<ImageName>>>),
}

impl ImageNames {
    /// All names of all outputs.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Spanned<ImageName>> {
        let lists = match self {
            Self::Tags(names) => std::slice::from_ref(names),
            Self::Outputs(outputs) => outputs,
        };
        lists.iter().flatten()
    }

    /// The names of the image that the output with the index `place` makes.
    pub(crate) fn of_output(&self, place: usize) -> &[Spanned<ImageName>] {
        match self {
            Self::Tags(names) => names,
            Self::Outputs(outputs) => outputs.get(place).map_or(&[], Vec::as_slice),
        }
    }
}

impl Default for ImageNames {
    fn default() -> Self {
        Self::Outputs(Vec::new())
    }
}

/// Parses the attributes of `target`. Collects all errors in the result.
pub(super) fn read(target: &Target) -> BuildValues {
    let mut reader = Reader {
        target,
        problems: Diagnostics::default(),
    };
    BuildValues {
        call: reader.call(),
        images: reader.images(),
        network: reader.network(),
        extra_hosts: reader.extra_hosts(),
        cache_from: reader.caches("cache-from", &target.cache_from),
        cache_to: reader.caches("cache-to", &target.cache_to),
        problems: reader.problems,
    }
}

struct Reader<'a> {
    target: &'a Target,
    problems: Diagnostics,
}

impl Reader<'_> {
    fn problem(&self, code: &'static str, span: Option<Span>, message: impl Display) -> Diagnostic {
        let name = &self.target.name;
        let message = format!("target `{}`: {message}", name.value);
        let problem = Diagnostic::error(Class::Definition, code, message);
        match span.or(name.span) {
            Some(span) => problem.at(span, ""),
            None => problem,
        }
    }

    fn call(&mut self) -> Option<FrontendCall> {
        let call = self.target.call.as_ref()?;
        match FrontendCall::parse(call) {
            Ok(parsed) => parsed,
            Err(error) => {
                let message = format!("`call` cannot be `{}`: {error}", call.value);
                let problem = self.problem("plan::call", call.span, message);
                self.problems.push(
                    problem.help("`call` is one method, such as `check`, `outline` or `targets`"),
                );
                None
            }
        }
    }

    fn images(&mut self) -> ImageNames {
        let (tags, outputs) = (&self.target.tags, &self.target.output);
        if !tags.is_empty() {
            let tags = tags.iter();
            return ImageNames::Tags(
                tags.filter_map(|tag| self.image(&tag.value, tag.span))
                    .collect(),
            );
        }
        ImageNames::Outputs(
            outputs
                .iter()
                .map(|output| self.own_names(output))
                .collect(),
        )
    }

    /// The names in the `name` field of an output. Reports an error if there are none but the output is pushed.
    fn own_names(&mut self, output: &Spanned<Export>) -> Vec<Spanned<ImageName>> {
        let makes_image = matches!(
            output.kind,
            ExportKind::Image | ExportKind::Registry | ExportKind::Oci | ExportKind::Docker
        );
        let name = output.attr("name").filter(|_| makes_image);
        let mut names = name
            .unwrap_or_default()
            .split(',')
            .filter(|name| !name.is_empty())
            .peekable();
        if names.peek().is_none() && output.pushes() {
            let message = "an image without a name cannot be pushed";
            let problem = self.problem("plan::no-image-name", output.span, message);
            self.problems
                .push(problem.help("name the image with `tags`"));
        }
        names
            .filter_map(|name| self.image(name, output.span))
            .collect()
    }

    /// Parses an image name. Records a problem and returns `None` if it is invalid.
    fn image(&mut self, name: &str, span: Option<Span>) -> Option<Spanned<ImageName>> {
        match name.parse() {
            Ok(value) => Some(Spanned { value, span }),
            Err(error) => {
                let message = format!("`{name}` cannot be the name of an image: {error}");
                let problem = self.problem("plan::image-name", span, message);
                self.problems.push(problem.help(
                    "write it as in `registry.example/team/app:1.0`, in lower case except the tag",
                ));
                None
            }
        }
    }

    fn caches(&mut self, attribute: &str, list: &List<CacheEntry>) -> Vec<Option<ImageName>> {
        list.iter()
            .map(|cache| self.cache(attribute, cache))
            .collect()
    }

    /// The image of a registry cache. `None` for other kinds. Records a problem if the image is missing or invalid.
    fn cache(&mut self, attribute: &str, cache: &Spanned<CacheEntry>) -> Option<ImageName> {
        const CODE: &str = "plan::cache-reference";
        if cache.kind != CacheKind::Registry {
            return None;
        }
        let Some(name) = cache.attr("ref").filter(|name| !name.is_empty()) else {
            let message = format!("`{attribute}` of `type=registry` needs a `ref`");
            let problem = self.problem(CODE, cache.span, message);
            self.problems.push(problem);
            return None;
        };
        match name.parse() {
            Ok(name) => Some(name),
            Err(error) => {
                let message = format!("`{name}` in `{attribute}` cannot be used: {error}");
                let problem = self.problem(CODE, cache.span, message);
                self.problems.push(problem.help(
                    "names of branches often contain characters that are not valid in a tag",
                ));
                None
            }
        }
    }

    fn network(&mut self) -> NetworkMode {
        let Some(network) = &self.target.network else {
            return NetworkMode::Default;
        };
        NetworkMode::parse(network).unwrap_or_else(|error| {
            let problem = self.problem("plan::network", network.span, error);
            let problem = problem.similar("a network", network, NetworkMode::NAMES);
            self.problems.push(problem);
            NetworkMode::Default
        })
    }

    fn extra_hosts(&mut self) -> Vec<NamedHost> {
        let mut hosts = Vec::new();
        for (host, value) in self.target.extra_hosts.iter() {
            match parse_host(value) {
                Ok(addresses) => hosts.push(NamedHost {
                    host: host.clone(),
                    addresses,
                    span: value.span,
                }),
                Err(error) => {
                    let message = format!("extra host `{host}`: {error}");
                    let problem = self.problem("plan::extra-host", value.span, message);
                    self.problems.push(
                        problem
                            .help("write it as in `10.0.0.1`, `[2001:db8::1]` or `host-gateway`"),
                    );
                }
            }
        }
        hosts
    }
}
