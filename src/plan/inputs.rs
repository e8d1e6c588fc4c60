//! Finds out where a target's sources come from: directories, repositories, images or other targets.
//!
//! Paths are cleaned as text, as in buildx. Nothing here accesses the file system.

use std::sync::{Arc, LazyLock};

use super::model::{ContextSource, DockerfileSource, NamedContext, OciLayout, TargetInputs};
use crate::definition::model::{SharedText, Target};
use crate::definition::remote::{RemotePlace, RemoteTree, TreeDirectory};
use crate::diag::{Class, Diagnostic, Diagnostics, Span};
use crate::golang::path;
use crate::types::reference::is_legal_tag;
use crate::types::remote::{self, RemoteAddress};
use crate::types::{ContextImage, Digest};

const LOCAL_PREFIX: &str = "cwd://";

// The values that most targets have. They are shared to save memory.
static HERE: LazyLock<SharedText> = LazyLock::new(|| ".".into());
static DOCKERFILE: LazyLock<SharedText> = LazyLock::new(|| "Dockerfile".into());

/// The cleaned path without `cwd://`. Returns the same allocation if there is nothing to clean.
fn cleaned(text: &SharedText) -> SharedText {
    match text.strip_prefix(LOCAL_PREFIX) {
        Some(path) => path::clean(path).into(),
        None if path::is_clean(text) => Arc::clone(text),
        None => path::clean(text).into(),
    }
}

/// Parses the sources of `target`. Also sets its defaults and cleaned paths, which `--print` prints.
///
/// `tree` is what the definition was fetched from: paths without `cwd://` are in it.
pub(super) fn resolve(
    target: &mut Target,
    tree: Option<&Arc<RemoteTree>>,
    problems: &mut Diagnostics,
) -> TargetInputs {
    let written = target.context.clone();
    let written = written.as_ref().map_or("", |context| &*context.value);
    let context = context(target, tree, problems);
    let dockerfile = dockerfile(target, &context, problems);
    let doubtful_dockerfile = tree.and_then(|tree| doubtful(tree, written, target, &context));
    let named = target
        .contexts
        .iter()
        .map(|(name, value)| (Arc::clone(name), named(value, tree)))
        .collect();
    TargetInputs {
        context,
        dockerfile,
        named,
        tree: tree.map(Arc::clone),
        doubtful_dockerfile,
    }
}

/// See [`TargetInputs::doubtful_dockerfile`]. `written` is the context as the definition has it.
fn doubtful(
    tree: &RemoteTree,
    written: &str,
    target: &Target,
    context: &ContextSource,
) -> Option<SharedText> {
    let dockerfile = target.dockerfile.as_ref()?;
    if !tree.hides_dockerfile(written, dockerfile) {
        return None;
    }
    match dockerfile_source(&dockerfile.value, context) {
        DockerfileSource::Local(path) => Some(path),
        _ => None,
    }
}

/// Parses the context. A missing one is set to its default, and a local path is cleaned, because `--print` shows both.
fn context(
    target: &mut Target,
    tree: Option<&Arc<RemoteTree>>,
    problems: &mut Diagnostics,
) -> ContextSource {
    let written = target.context.take();
    let span = written.as_ref().and_then(|context| context.span);
    let text = match written {
        Some(context) => context.value,
        None => target
            .implicit_context
            .clone()
            .unwrap_or_else(|| Arc::clone(&HERE)),
    };
    if &*text == "-" {
        problems.push(from_stdin(target, "context", span));
    }
    let source = match (tree, RemoteAddress::parse(&text)) {
        (_, Some(address)) => ContextSource::Remote(address),
        (None, None) => ContextSource::Local(cleaned(&text)),
        (Some(tree), None) => match in_tree(tree, RemoteTree::context(&text)) {
            None => ContextSource::Local(cleaned(&text)),
            // The builder fetches the whole repository as any other.
            Some(root) if root.path.is_none() && root.is_git() => {
                ContextSource::Remote(tree.source().clone())
            }
            Some(directory) => ContextSource::InTree(directory),
        },
    };
    let value = match &source {
        ContextSource::Local(path) => Arc::clone(path),
        ContextSource::Remote(address) => address.as_str().into(),
        ContextSource::InTree(directory) => directory.address().into(),
    };
    target.context = Some(crate::diag::Spanned { value, span });
    source
}

/// The directory of `tree` at `place`. `None` if it is elsewhere.
fn in_tree(tree: &Arc<RemoteTree>, place: RemotePlace) -> Option<TreeDirectory> {
    let path = match place {
        RemotePlace::Root => None,
        RemotePlace::Below(path) => Some(path.into()),
        RemotePlace::Elsewhere => return None,
    };
    let tree = Arc::clone(tree);
    Some(TreeDirectory { tree, path })
}

/// Parses the Dockerfile. An inline text takes precedence over a path, but the path is set as well, as in buildx.
fn dockerfile(
    target: &mut Target,
    context: &ContextSource,
    problems: &mut Diagnostics,
) -> DockerfileSource {
    let written = target
        .dockerfile
        .take()
        .filter(|dockerfile| !dockerfile.is_empty());
    let dockerfile =
        written.unwrap_or_else(|| crate::diag::Spanned::without_span(Arc::clone(&DOCKERFILE)));
    if &*dockerfile.value == "-" {
        problems.push(from_stdin(target, "dockerfile", dockerfile.span));
    }
    let source = dockerfile_source(&dockerfile.value, context);
    target.dockerfile = Some(dockerfile);
    match &target.dockerfile_inline {
        Some(inline) if !inline.is_empty() => DockerfileSource::Inline(Arc::clone(&inline.value)),
        _ => source,
    }
}

/// The Dockerfile `text`. A relative path starts at the context, unless it has the prefix `cwd://`.
fn dockerfile_source(text: &SharedText, context: &ContextSource) -> DockerfileSource {
    if remote::is_http(text) {
        return DockerfileSource::Url(Arc::clone(text));
    }
    let path = cleaned(text);
    match context {
        _ if text.starts_with(LOCAL_PREFIX) => DockerfileSource::Local(path),
        ContextSource::InTree(_) => DockerfileSource::InContext(path),
        _ if path.starts_with('/') => DockerfileSource::Local(path),
        ContextSource::Local(context) if **context == *"." => DockerfileSource::Local(path),
        ContextSource::Local(context) => DockerfileSource::Local(path::join(context, &path).into()),
        ContextSource::Remote(_) => DockerfileSource::InContext(path),
    }
}

/// Parses the value of an entry of `contexts`. Unlike the main context, a local path without a prefix is not cleaned.
fn named(text: &SharedText, tree: Option<&Arc<RemoteTree>>) -> NamedContext {
    let in_tree = tree.and_then(|tree| in_tree(tree, RemoteTree::named_context(text)));
    if let Some(directory) = in_tree {
        return match &directory.path {
            None if directory.is_git() => NamedContext::Remote(directory.tree.source().clone()),
            _ => NamedContext::InTree(directory),
        };
    }
    if let Some(path) = text.strip_prefix(LOCAL_PREFIX) {
        NamedContext::Local(path::clean(path).into())
    } else if let Some(address) = RemoteAddress::parse(text) {
        NamedContext::Remote(address)
    } else if let Some(image) = text.strip_prefix("docker-image://") {
        NamedContext::Image(ContextImage::new(image))
    } else if let Some(target) = text.strip_prefix("target:") {
        NamedContext::Target(target.into())
    } else if let Some(layout) = text.strip_prefix("oci-layout://") {
        NamedContext::OciLayout(layout_of(layout))
    } else {
        NamedContext::Local(Arc::clone(text))
    }
}

/// Parses `PATH[:tag][@digest]`. A suffix that is not a valid tag or digest is part of the path.
fn layout_of(text: &str) -> OciLayout {
    let (rest, digest) = match text.rsplit_once('@') {
        Some((rest, digest)) => match digest.parse::<Digest>() {
            Ok(digest) => (rest, Some(digest)),
            Err(_) => (text, None),
        },
        None => (text, None),
    };
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if is_legal_tag(tag) => (path, Some(tag)),
        _ => (rest, None),
    };
    let tag = match (tag, &digest) {
        (None, None) => Some("latest"),
        (tag, _) => tag,
    };
    OciLayout {
        path: path.into(),
        tag: tag.map(SharedText::from),
        digest,
    }
}

fn from_stdin(target: &Target, attribute: &str, span: Option<Span>) -> Diagnostic {
    let problem = Diagnostic::error(
        Class::Definition,
        "plan::stdin-input",
        format!(
            "the {attribute} of target `{}` cannot come from standard input",
            target.name.value
        ),
    )
    .help("write it to a file, and give the path of that file");
    problem.at(span, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Spanned;
    use test_case::test_case;

    fn inputs(context: Option<&str>, dockerfile: Option<&str>) -> (TargetInputs, Target) {
        let mut target = Target::empty(Spanned::without_span("t".parse().unwrap()));
        let text = |text: &str| Spanned::without_span(SharedText::from(text));
        target.context = context.map(text);
        target.dockerfile = dockerfile.map(text);
        let mut problems = Diagnostics::default();
        let inputs = resolve(&mut target, None, &mut problems);
        assert!(!problems.has_errors());
        (inputs, target)
    }

    fn address(text: &str) -> RemoteAddress {
        RemoteAddress::parse(&text.into()).unwrap()
    }

    #[test_case(None, None, ".", "Dockerfile"; "defaults")]
    #[test_case(Some(""), Some(""), ".", "Dockerfile"; "empty")]
    #[test_case(Some("./dir/"), Some("a/../D"), "dir", "dir/D"; "cleaned")]
    #[test_case(Some("cwd://foo"), Some("test"), "foo", "foo/test"; "working directory")]
    #[test_case(Some("dir"), Some("/abs/D"), "dir", "/abs/D"; "absolute")]
    #[test_case(Some("dir"), Some("cwd://D"), "dir", "D"; "outside the context")]
    #[test_case(Some("target:base"), None, "target:base", "target:base/Dockerfile"; "no link")]
    fn local_contexts_and_dockerfiles_are_cleaned(
        context: Option<&str>,
        dockerfile: Option<&str>,
        dir: &str,
        file: &str,
    ) {
        let (inputs, target) = inputs(context, dockerfile);
        assert_eq!(inputs.context, ContextSource::Local(dir.into()));
        assert_eq!(inputs.dockerfile, DockerfileSource::Local(file.into()));
        assert_eq!(
            target.context.map(|context| context.value),
            Some(dir.into())
        );
    }

    #[test]
    fn the_dockerfile_of_a_remote_context_is_in_the_context() {
        let url = "https://example.com/x.git#main:sub";
        let (inputs, target) = inputs(Some(url), Some("./D"));
        assert_eq!(inputs.context, ContextSource::Remote(address(url)));
        assert_eq!(inputs.dockerfile, DockerfileSource::InContext("D".into()));
        assert_eq!(
            target.dockerfile.map(|dockerfile| dockerfile.value),
            Some("./D".into())
        );
    }

    #[test_case("docker-image://alpine", &NamedContext::Image(ContextImage::new("alpine")))]
    #[test_case("target:base", &NamedContext::Target("base".into()))]
    #[test_case("cwd://./a/", &NamedContext::Local("a".into()))]
    #[test_case("../a/", &NamedContext::Local("../a/".into()))]
    #[test_case("git@h:x", &NamedContext::Remote(address("git@h:x")))]
    fn named_contexts_are_parsed(text: &str, expected: &NamedContext) {
        assert_eq!(&named(&text.into(), None), expected);
    }

    #[test]
    fn oci_layouts_are_parsed() {
        let layout = layout_of("a/b:1.3");
        assert_eq!((&*layout.path, layout.tag.as_deref()), ("a/b", Some("1.3")));
        let digest = format!("sha256:{}", "a".repeat(64));
        let layout = layout_of(&format!("/a@b@{digest}"));
        assert_eq!((&*layout.path, layout.tag), ("/a@b", None));
        assert_eq!(layout.digest.map(|digest| digest.to_string()), Some(digest));
        assert_eq!(layout_of("a:/b").tag.as_deref(), Some("latest"));
    }
}
