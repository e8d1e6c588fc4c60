//! Checks the files that are served to the daemon before any work: the Dockerfile, the paths that it copies, and
//! the ignore files.
//!
//! The daemon gets a copy of each directory, in which links cannot lead outside. It asks for files with headers
//! that hold only printable characters. A file that it could not use or could not ask for is an error here, and
//! the error names the file and the line.

use std::path::Path;

use super::ignorefiles;
use super::inside::{self, Unusable, quoted};
use super::locate::{DockerfilePlace, NamedTree, SourceTree, TargetPlaces};
use super::sources::{self, Sources};
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::plan::PlannedTarget;
use crate::types::Reference;
use crate::types::secret::redact_url;

/// The most bytes that are read of a Dockerfile.
const DOCKERFILE_LIMIT: u64 = 64 << 20;

/// Returns `places` with the images that the Dockerfile names, or reports what is wrong with the files in them.
pub(super) fn check(
    mut places: TargetPlaces,
    target: &PlannedTarget,
    cwd: &Path,
) -> Result<TargetPlaces, Diagnostics> {
    let mut problems = Diagnostics::default();
    let stage = target.stage();
    let mut reads_context = true;
    match dockerfile(&places) {
        Ok(Some((shown, text))) => {
            let shown = shown
                .strip_prefix(cwd)
                .unwrap_or(&shown)
                .display()
                .to_string();
            if [[0xff, 0xfe], [0xfe, 0xff]]
                .iter()
                .any(|mark| text.starts_with(mark))
            {
                problems.push(in_utf16(target, &shown));
            }
            let lossy = String::from_utf8_lossy(&text);
            places.images = images(&lossy, stage, target, &places);
            let value = |name: &str| target.argument(name);
            let reads = sources::of_stage(&lossy, stage, &value);
            reads_context = !matches!(reads, Sources::Paths(paths) if paths.is_empty());
            problems
                .0
                .extend(unsendable(&text, target, &shown, &places));
        }
        Ok(None) => {}
        Err(why) => problems.push(unusable(&places, &why, target, cwd)),
    }
    problems
        .0
        .extend(ignorefiles::check(&places, reads_context, cwd).0);
    problems.into_result(places)
}

/// Returns the path of the Dockerfile and its text. `None` if it is not on this machine.
pub(super) fn dockerfile(
    places: &TargetPlaces,
) -> Result<Option<(std::path::PathBuf, Vec<u8>)>, Unusable> {
    match &places.dockerfile {
        DockerfilePlace::File { dir, filename } => {
            let text = inside::read(dir, filename, DOCKERFILE_LIMIT)?;
            Ok(text.map(|text| (dir.join(filename), text)))
        }
        DockerfilePlace::Inline(text) => {
            Ok(Some(("dockerfile-inline".into(), text.as_bytes().to_vec())))
        }
        DockerfilePlace::Url { url, text } => {
            let text = text.as_ref().map(|text| text.as_bytes().to_vec());
            Ok(text.map(|text| (redact_url(url).into(), text)))
        }
        DockerfilePlace::InContext(_) => Ok(None),
    }
}

/// Returns the images that the Dockerfile takes from registries. A name that is also a named context is not an
/// image.
fn images(
    text: &str,
    stage: Option<&str>,
    target: &PlannedTarget,
    places: &TargetPlaces,
) -> Vec<Reference> {
    let value = |name: &str| target.argument(name);
    let names = sources::images(text, stage, &value).into_iter();
    let names = names.filter(|name| !places.named.contains_key(name));
    names.filter_map(|name| name.parse().ok()).collect()
}

/// Reports a Dockerfile in UTF-16, as `PowerShell`'s `>` writes it. BuildKit would only report an unknown
/// instruction.
fn in_utf16(target: &PlannedTarget, shown: &str) -> Diagnostic {
    let message = format!(
        "the Dockerfile `{shown}` of target `{}` is in UTF-16, which BuildKit cannot read",
        target.name
    );
    let problem = Diagnostic::error(Class::Definition, "run::dockerfile-unusable", message)
        .help("save it as UTF-8");
    problem.at(target.span(), "")
}

fn unusable(
    places: &TargetPlaces,
    why: &Unusable,
    target: &PlannedTarget,
    cwd: &Path,
) -> Diagnostic {
    let shown = match &places.dockerfile {
        DockerfilePlace::File { dir, filename } => {
            let path = dir.join(filename);
            path.strip_prefix(cwd)
                .unwrap_or(&path)
                .display()
                .to_string()
        }
        DockerfilePlace::Inline(_)
        | DockerfilePlace::InContext(_)
        | DockerfilePlace::Url { .. } => String::new(),
    };
    let message = format!("the Dockerfile `{shown}` of target `{}` {why}", target.name);
    let problem = Diagnostic::error(Class::Definition, "run::dockerfile-unusable", message);
    let problem = problem.at(
        target
            .attributes
            .dockerfile
            .as_ref()
            .and_then(|text| text.span),
        "",
    );
    match why {
        Unusable::Outside(_) => problem.help(format!(
            "set `dockerfile` to the file that the link leads to, `$(readlink -f {})`",
            quoted(&shown)
        )),
        Unusable::Io(_) => {
            problem.help(format!("make it readable, `chmod a+r {}`", quoted(&shown)))
        }
        _ => problem.help("set `dockerfile` to a file, or put the text into `dockerfile-inline`"),
    }
}

/// Returns the errors for sources that the daemon cannot ask for.
fn unsendable(
    text: &[u8],
    target: &PlannedTarget,
    shown: &str,
    places: &TargetPlaces,
) -> Vec<Diagnostic> {
    let is_served = |from: Option<&str>| match from {
        None => matches!(places.context, SourceTree::Dir(_)),
        Some(from) => places.named.iter().any(|(name, tree)| {
            name.eq_ignore_ascii_case(from) && matches!(tree, NamedTree::Tree(SourceTree::Dir(_)))
        }),
    };
    let told = |(path, line): (String, usize)| {
        let path = path.escape_debug().to_string();
        let message = format!(
            "line {line} of `{shown}` uses `{path}`, which the builder cannot ask for: its name has a control character or is not UTF-8"
        );
        Diagnostic::error(Class::Definition, "run::copy-source", message)
            .help("write `?` in place of each such character, copy the directory it is in, or rename the file")
    };
    let value = |name: &str| target.argument(name);
    sources::unsendable(text, target.stage(), &value, is_served)
        .into_iter()
        .map(told)
        .collect()
}
