//! Finds a target's context, Dockerfile and named contexts: on this machine, or at an address that the daemon
//! fetches.
//!
//! Looks at the file system, so that a missing directory or Dockerfile is reported before any work, with a
//! suggestion. Every path is followed by the run's [`Resolver`], so the path found here is the one that privileges
//! were checked for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::layouts::LayoutContext;
use crate::definition::model::SharedText;
use crate::definition::remote::TreeDirectory;
use crate::diag::{Class, Diagnostic, Diagnostics, Span, closest};
use crate::engine::session::content::LayoutImageError;
use crate::engine::spec::LocalName;
use crate::files::{PathError, Resolver};
use crate::plan::{ContextSource, DockerfileSource, NamedContext, OciLayout, Plan, PlannedTarget};
use crate::types::causes::in_one_line;
use crate::types::remote::RemoteAddress;
use crate::types::{ContextImage, Reference};

/// A directory tree that a target reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SourceTree {
    /// A directory on this machine, absolute and without links.
    Dir(PathBuf),
    /// A repository or archive that the daemon fetches.
    Remote(RemoteAddress),
    /// A directory of the tree that the definition was fetched from.
    InTree(TreeDirectory),
}

/// Where the Dockerfile is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DockerfilePlace {
    /// A file on this machine.
    File {
        /// The directory it is in, absolute and without links.
        dir: PathBuf,
        /// Its name in that directory. It may be a link.
        filename: String,
    },
    /// The text of a Dockerfile in the definition.
    Inline(SharedText),
    /// A path in the remote context.
    InContext(String),
    /// An address of HTTP or HTTPS.
    Url {
        /// The address.
        url: SharedText,
        /// The text. `None` until the builder is known, which downloads it.
        text: Option<SharedText>,
    },
}

/// A named context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NamedTree {
    /// A directory, repository or archive.
    Tree(SourceTree),
    /// An image.
    Image(ContextImage),
    /// An image in a layout on this machine.
    Layout(LayoutContext),
    /// The result of another target.
    Linked(SharedText),
}

/// All places that one target reads from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TargetPlaces {
    /// The main context.
    pub(super) context: SourceTree,
    /// Where the Dockerfile is.
    pub(super) dockerfile: DockerfilePlace,
    /// The named contexts by name.
    pub(super) named: BTreeMap<String, NamedTree>,
    /// The images that the Dockerfile names, if their names are known before the build.
    pub(super) images: Vec<Reference>,
}

impl TargetPlaces {
    /// Returns the directory of the main context, or `None` if the context is remote.
    pub(super) fn context_dir(&self) -> Option<&Path> {
        match &self.context {
            SourceTree::Dir(dir) => Some(dir),
            SourceTree::Remote(_) | SourceTree::InTree(_) => None,
        }
    }

    /// Returns every directory that is served to the daemon, with the name by which the daemon asks for it.
    pub(super) fn local_dirs(&self) -> Vec<(LocalName, &Path)> {
        let mut dirs = Vec::new();
        dirs.extend(self.context_dir().map(|dir| (LocalName::CONTEXT, dir)));
        if let DockerfilePlace::File { dir, .. } = &self.dockerfile {
            dirs.push((LocalName::DOCKERFILE, dir.as_path()));
        }
        dirs.extend(self.named.iter().filter_map(|(name, tree)| match tree {
            NamedTree::Tree(SourceTree::Dir(dir)) => {
                Some((LocalName::of_named(name), dir.as_path()))
            }
            NamedTree::Tree(SourceTree::Remote(_) | SourceTree::InTree(_))
            | NamedTree::Image(_)
            | NamedTree::Layout(_)
            | NamedTree::Linked(_) => None,
        }));
        dirs
    }
}

/// Finds what `target` reads. Its paths are followed by `paths`.
pub(super) fn locate(
    target: &PlannedTarget,
    paths: &Resolver,
) -> Result<TargetPlaces, Diagnostics> {
    let finder = Finder {
        target,
        paths,
        cwd: paths.base(),
    };
    let mut problems = Diagnostics::default();
    let context = finder.context();
    let context = context.map_err(|problem| problems.push(problem)).ok();
    // If the context is missing, a Dockerfile in it is missing, too. Only the context is reported.
    let dockerfile = context.as_ref().map(|_| finder.dockerfile());
    let dockerfile =
        dockerfile.and_then(|place| place.map_err(|found| problems.0.extend(found.0)).ok());
    let mut named = BTreeMap::new();
    for (name, source) in &target.inputs.named {
        match finder.named(name, source) {
            Ok(tree) => {
                named.insert(name.to_string(), tree);
            }
            Err(found) => problems.0.extend(found.0),
        }
    }
    match (context, dockerfile) {
        (Some(context), Some(dockerfile)) if !problems.has_errors() => Ok(TargetPlaces {
            context,
            dockerfile,
            named,
            images: Vec::new(),
        }),
        _ => Err(problems),
    }
}

/// Whether a directory that `target` uses as a context is missing or is not a directory.
pub(super) fn lacks_a_context(target: &PlannedTarget, paths: &Resolver) -> bool {
    let named = target
        .inputs
        .named
        .values()
        .filter_map(|source| match source {
            NamedContext::Local(path) => Some(path),
            NamedContext::OciLayout(layout) => Some(&layout.path),
            _ => None,
        });
    let main = match &target.inputs.context {
        ContextSource::Local(path) => Some(path),
        ContextSource::Remote(_) | ContextSource::InTree(_) => None,
    };
    let is_missing = |path: &SharedText| match paths.resolve(path) {
        Ok(place) => !place.path().is_dir(),
        // The check of privileges reports this path.
        Err(_) => false,
    };
    main.into_iter().chain(named).any(is_missing)
}

/// Warns of contexts of `plan` that are to be images but have no image's name. The builder looks at a context only if the Dockerfile
/// uses it, so they are only warnings.
pub(super) fn check_images(plan: &Plan) -> Diagnostics {
    let mut problems = Diagnostics::default();
    for target in plan.targets.values() {
        for (name, source) in &target.inputs.named {
            let NamedContext::Image(image) = source else {
                continue;
            };
            let Err(error) = image.as_str().parse::<Reference>() else {
                continue;
            };
            let message = format!(
                "the context `{name}` of target `{}` cannot be used: `docker-image://{}`: {error}",
                target.name,
                image.as_str()
            );
            let value = target.attributes.contexts.get(name);
            let span = value.and_then(|value| value.span).or_else(|| target.span());
            let warning = Diagnostic::warning("run::context-image", message)
                .help("an image is named as in `docker pull`: `docker-image://NAME:TAG` or `docker-image://NAME@DIGEST`");
            problems.push(warning.at(span, ""));
        }
    }
    problems
}

/// The code for a context that cannot be read.
const MISSING: &str = "run::context-missing";

/// The address that was cleaned like a path to `path`, if it only works in `contexts`.
fn only_named(path: &str) -> Option<String> {
    let has_slash = ["docker-image:/", "oci-layout:/"];
    let has_slash = has_slash.iter().find_map(|prefix| {
        let rest = path.strip_prefix(prefix)?;
        Some(format!("{prefix}/{rest}"))
    });
    has_slash.or_else(|| path.starts_with("target:").then(|| path.to_owned()))
}

struct Finder<'a> {
    target: &'a PlannedTarget,
    paths: &'a Resolver,
    cwd: &'a Path,
}

impl Finder<'_> {
    fn problem(&self, code: &'static str, message: String, place: Option<Span>) -> Diagnostic {
        let problem = Diagnostic::error(Class::Definition, code, message);
        problem.at(place.or(self.target.span()), "")
    }

    fn context(&self) -> Result<SourceTree, Diagnostic> {
        let span = self
            .target
            .attributes
            .context
            .as_ref()
            .and_then(|context| context.span);
        match &self.target.inputs.context {
            ContextSource::Local(path) => {
                let dir = self.directory(path, span, "the context");
                let dir = dir.map_err(|problem| match only_named(path) {
                    Some(address) if problem.code == MISSING => self.misplaced(&address, span),
                    _ => problem,
                });
                dir.map(SourceTree::Dir)
            }
            ContextSource::Remote(address) => Ok(SourceTree::Remote(address.clone())),
            ContextSource::InTree(directory) => Ok(SourceTree::InTree(directory.clone())),
        }
    }

    /// Finds the directory `text`, which is used as `what`.
    fn directory(&self, text: &str, span: Option<Span>, what: &str) -> Result<PathBuf, Diagnostic> {
        let name = &self.target.name;
        let place = match self.paths.resolve(text) {
            Ok(place) => place,
            Err(error) => return Err(self.missing(what, text, &cause(&error), span)),
        };
        let found = if place.exists() {
            place.path().metadata()
        } else {
            Err(std::io::ErrorKind::NotFound.into())
        };
        match found {
            Ok(metadata) if metadata.is_dir() => Ok(place.path().to_owned()),
            Ok(_) => Err(self
                .problem(
                    "run::context-no-directory",
                    format!("{what} of target `{name}` is not a directory: `{text}`"),
                    span,
                )
                .help("a context is a directory, a git repository or an archive's address")),
            Err(error) => Err(self.missing(what, text, &reason(&error), span)),
        }
    }

    /// Makes the error for a context whose layout does not have the image.
    fn unusable(
        &self,
        name: &str,
        layout: &OciLayout,
        error: &LayoutImageError,
        span: Option<Span>,
    ) -> Diagnostic {
        let message = format!(
            "the context `{name}` of target `{}` cannot be used: `oci-layout://{}`: {}",
            self.target.name,
            layout.path,
            in_one_line(error)
        );
        self.problem("run::layout", message, span).help(
            "an image in a layout is named by a tag or a digest: `oci-layout://DIRECTORY:TAG` or `oci-layout://DIRECTORY@sha256:…`",
        )
    }

    /// Makes the error for a main context with an `address` that only works in `contexts`.
    fn misplaced(&self, address: &str, span: Option<Span>) -> Diagnostic {
        let message = format!(
            "the context of target `{}` cannot be `{address}`: such an address only works in `contexts`",
            self.target.name
        );
        self.problem(MISSING, message, span)
            .help(format!("write `contexts = {{ base = \"{address}\" }}`, and `FROM base` or `COPY --from=base` in the Dockerfile"))
            .help("the main context is a directory, a git repository or the address of an archive")
    }

    /// Makes the error for a context that cannot be read, with a suggestion.
    fn missing(&self, what: &str, text: &str, reason: &str, span: Option<Span>) -> Diagnostic {
        let name = &self.target.name;
        let message = format!("{what} of target `{name}` cannot be read: `{text}`: {reason}");
        let problem = self.problem(MISSING, message, span);
        if let Some((scheme, rest)) = text.split_once("://") {
            const SCHEMES: [&str; 4] = ["docker-image", "oci-layout", "https", "http"];
            return match closest(scheme, SCHEMES) {
                Some(scheme) => problem.help(format!("did you mean `{scheme}://{rest}`?")),
                None => problem.help("the address of a context is `docker-image://…`, `https://…` or that of a git repository"),
            };
        }
        match similar(&self.cwd.join(text)) {
            Some(similar) => problem.help(format!(
                "a directory with a similar name exists: `{similar}`"
            )),
            None => problem.help(format!(
                "paths are relative to the working directory, `{}`",
                self.cwd.display()
            )),
        }
    }

    fn dockerfile(&self) -> Result<DockerfilePlace, Diagnostics> {
        let span = self
            .target
            .attributes
            .dockerfile
            .as_ref()
            .and_then(|text| text.span);
        match &self.target.inputs.dockerfile {
            DockerfileSource::Inline(text) => Ok(DockerfilePlace::Inline(text.clone())),
            DockerfileSource::InContext(path) => Ok(DockerfilePlace::InContext(path.to_string())),
            DockerfileSource::Local(path) => Ok(self.dockerfile_at(path, span)?),
            DockerfileSource::Url(url) => Ok(DockerfilePlace::Url {
                url: url.clone(),
                text: None,
            }),
        }
    }

    /// Finds the Dockerfile at the path `text`. The directory that the path names is served, under the name in the
    /// path. If that is a link, the daemon follows it in its copy of the directory. The path itself has been
    /// cleaned as text.
    fn dockerfile_at(&self, text: &str, span: Option<Span>) -> Result<DockerfilePlace, Diagnostic> {
        let problem = |code, what: String| {
            let name = &self.target.name;
            let message = format!("the Dockerfile of target `{name}` {what}: `{text}`");
            self.problem(code, message, span)
        };
        let unreadable = |reason: &str| {
            problem(
                "run::dockerfile-missing",
                format!("cannot be read: {reason}"),
            )
        };
        let (above, filename) = match text.rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some(split) => split,
            None => (".", text),
        };
        let dir = self.paths.resolve(above);
        let dir = dir.map_err(|error| unreadable(&cause(&error)))?;
        let place = |filename: &str| DockerfilePlace::File {
            dir: dir.path().to_owned(),
            filename: filename.to_owned(),
        };
        let file = self.paths.resolve(text);
        let file = file.map_err(|error| unreadable(&cause(&error)))?;
        let found = if file.exists() {
            file.path().metadata()
        } else {
            Err(std::io::ErrorKind::NotFound.into())
        };
        match found {
            Ok(metadata) if metadata.is_dir() => Err(problem(
                "run::dockerfile-directory",
                "is a directory".into(),
            )),
            Ok(_) => Ok(place(filename)),
            Err(error) => {
                // If there is no `Dockerfile`, the frontend also looks for `dockerfile`.
                let lower = dir.path().join("dockerfile");
                if filename == "Dockerfile" && lower.is_file() {
                    return Ok(place("dockerfile"));
                }
                let problem = unreadable(&reason(&error));
                Err(match similar(&dir.path().join(filename)) {
                    Some(similar) => {
                        problem.help(format!("a file with a similar name exists: `{similar}`"))
                    }
                    None => problem.help("`dockerfile` is relative to the target's context"),
                })
            }
        }
    }

    fn named(&self, name: &str, source: &NamedContext) -> Result<NamedTree, Diagnostics> {
        let span = self
            .target
            .attributes
            .contexts
            .get(name)
            .and_then(|value| value.span);
        match source {
            NamedContext::Local(path) => {
                let dir = self.directory(path, span, &format!("the context `{name}`"))?;
                Ok(NamedTree::Tree(SourceTree::Dir(dir)))
            }
            NamedContext::Remote(address) => {
                Ok(NamedTree::Tree(SourceTree::Remote(address.clone())))
            }
            NamedContext::InTree(directory) => {
                Ok(NamedTree::Tree(SourceTree::InTree(directory.clone())))
            }
            NamedContext::Image(image) => Ok(NamedTree::Image(image.clone())),
            NamedContext::OciLayout(layout) => {
                let what = format!("the layout of the context `{name}`");
                let root = self.directory(&layout.path, span, &what)?;
                let found = LayoutContext::find(&root, layout);
                let found = found.map_err(|error| self.unusable(name, layout, &error, span))?;
                Ok(NamedTree::Layout(found))
            }
            NamedContext::Target(target) => Ok(NamedTree::Linked(target.clone())),
        }
    }
}

fn cause(error: &PathError) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| error.to_string(), ToString::to_string)
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "it does not exist".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// Returns the name in the same directory that is most similar to the last name of a missing path.
pub(super) fn similar(path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_str()?;
    let entries = std::fs::read_dir(path.parent()?).ok()?;
    let names: Vec<String> = entries
        .flatten()
        .take(10_000)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    closest(wanted, names.iter().map(String::as_str)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::testing::planned;
    use test_case::test_case;

    fn project() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("app/docker")).unwrap();
        std::fs::write(dir.path().join("app/docker/Dockerfile.web"), "FROM scratch").unwrap();
        std::fs::write(dir.path().join("dockerfile"), "FROM scratch").unwrap();
        dir
    }

    #[test]
    fn paths_are_joined_as_buildx_joins_them() {
        let project = project();
        let target = planned(
            r#"context = "./app/"
            dockerfile = "docker/../docker/Dockerfile.web""#,
        );
        let places = locate(&target, &Resolver::new(project.path())).unwrap();
        assert_eq!(places.context, SourceTree::Dir(project.path().join("app")));
        let dir = project.path().join("app/docker");
        assert_eq!(
            places.dockerfile,
            DockerfilePlace::File {
                dir,
                filename: "Dockerfile.web".into()
            }
        );
    }

    #[test]
    fn dockerfile_in_lower_case_is_used_if_the_default_does_not_exist() {
        let project = project();
        let places = locate(&planned(""), &Resolver::new(project.path())).unwrap();
        let dir = project.path().to_owned();
        assert_eq!(
            places.dockerfile,
            DockerfilePlace::File {
                dir,
                filename: "dockerfile".into()
            }
        );
    }

    #[test]
    fn dockerfiles_of_remote_contexts_stay_in_the_context() {
        let target = planned(
            r#"context = "https://example.com/r.git?ref=main#x"
            dockerfile = "sub/Dockerfile""#,
        );
        let places = locate(&target, &Resolver::new(Path::new("/"))).unwrap();
        let address = RemoteAddress::parse(&"https://example.com/r.git?ref=main#x".into());
        assert_eq!(places.context, SourceTree::Remote(address.unwrap()));
        assert_eq!(
            places.dockerfile,
            DockerfilePlace::InContext("sub/Dockerfile".into())
        );
    }

    #[test]
    fn missing_paths_are_reported_with_similar_names() {
        let project = project();
        let problems = locate(
            &planned(r#"context = "ap""#),
            &Resolver::new(project.path()),
        )
        .unwrap_err();
        assert_eq!(problems.0[0].code, "run::context-missing");
        assert_eq!(
            problems.0[0].help,
            ["a directory with a similar name exists: `app`"]
        );
        let target = planned(
            r#"context = "app"
            dockerfile = "docker/Dockerfile.wep"
            contexts = { x = "nowhere" }"#,
        );
        let problems = locate(&target, &Resolver::new(project.path())).unwrap_err();
        let codes: Vec<_> = problems.0.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, ["run::dockerfile-missing", "run::context-missing"]);
        assert!(problems.0[0].help[0].ends_with("`Dockerfile.web`"));
    }

    #[test]
    fn paths_of_named_contexts_are_resolved_as_the_kernel_does() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["work/other", "elsewhere/deep", "elsewhere/other"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        let work = root.join("work");
        std::fs::write(work.join("Dockerfile"), "FROM scratch").unwrap();
        std::os::unix::fs::symlink("../elsewhere/deep", work.join("up")).unwrap();
        let target = planned(r#"contexts = { x = "up/../other", l = "up" }"#);
        let places = locate(&target, &Resolver::new(&work)).unwrap();
        let dir = |path: &str| NamedTree::Tree(SourceTree::Dir(root.join(path)));
        assert_eq!(places.named["x"], dir("elsewhere/other"));
        assert_eq!(places.named["l"], dir("elsewhere/deep"));
        // The path of the main context is cleaned as text, as `--print` shows it.
        let target = planned(r#"context = "up/../.""#);
        let places = locate(&target, &Resolver::new(&work)).unwrap();
        assert_eq!(places.context, SourceTree::Dir(work));
    }

    #[test_case("docker-image://busybox"; "an image")]
    #[test_case("oci-layout://lay"; "a layout")]
    #[test_case("target:x"; "a target")]
    fn addresses_that_only_named_contexts_have_are_explained(address: &str) {
        let dir = project();
        let target = planned(&format!("context = \"{address}\""));
        let problems = locate(&target, &Resolver::new(dir.path())).unwrap_err();
        assert_eq!(problems.0[0].code, "run::context-missing");
        assert!(
            problems.0[0]
                .message
                .contains(&format!("cannot be `{address}`")),
            "{problems:?}"
        );
        let help = format!("contexts = {{ base = \"{address}\" }}");
        assert!(problems.0[0].help[0].contains(&help), "{problems:?}");
    }

    #[test_case("busybox:a:b", true; "two tags")]
    #[test_case("Busybox", true; "upper case")]
    #[test_case("", true; "nothing")]
    #[test_case("busybox", false; "a name")]
    #[test_case("busybox@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false; "a digest")]
    fn images_without_an_image_name_cause_a_warning(image: &str, warns: bool) {
        let plan = crate::run::testing::plan(&format!(
            "contexts = {{ base = \"docker-image://{image}\" }}"
        ));
        let found = check_images(&plan);
        assert_eq!(
            (found.0.len(), found.has_errors()),
            (usize::from(warns), false)
        );
    }

    #[test_case(r#"contexts = { x = "oci-layout://none" }"#, "run::context-missing")]
    #[test_case(
        r#"contexts = { x = "oci-layout://dockerfile" }"#,
        "run::context-no-directory"
    )]
    #[test_case(r#"contexts = { x = "oci-layout://app" }"#, "run::layout")]
    fn layouts_that_cannot_be_used_are_refused(body: &str, code: &str) {
        refused(body, code);
    }

    fn refused(body: &str, code: &str) {
        let project = project();
        let target = planned(body);
        let problems = locate(&target, &Resolver::new(project.path())).unwrap_err();
        let codes: Vec<_> = problems.0.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, [code]);
    }
}
