//! Finds annotations that no output can carry, or that the daemon would refuse only after the build.
//!
//! The rules are those of BuildKit's `exporter/containerimage/writer.go`. Annotations that make it fail are errors
//! here; annotations that it silently drops are warnings.
//!
//! [`check`] needs no builder. What depends on the image store of a Docker Engine, which builds or gets the image, [`check_engines`]
//! finds once the Engines are known.

mod format;

use std::borrow::Cow;

use super::lower::{self, DockerTraits};
use crate::definition::model::{Export, ExportKind};
use crate::diag::{Class, Diagnostic, Diagnostics, Span};
use crate::golang::strconv;
use crate::plan::syntax::{Annotation, AnnotationLevel};
use crate::plan::{AnnotationEntry, Plan, PlannedTarget};
use crate::types::{Environment, Platform};
use format::ImageFormat;

/// Finds annotations of `plan` that cannot apply.
pub(super) fn check(plan: &Plan, environment: &Environment) -> Diagnostics {
    let mut problems = Diagnostics::default();
    for target in plan.targets.values() {
        // A linked target exports nothing in this run, and neither does a question to the frontend.
        if target.is_linked() || target.is_called() {
            continue;
        }
        let check = Check {
            target,
            environment,
            docker: None,
        };
        if !target.annotations.is_empty() && check.has_carrier(&mut problems) {
            let entries = check.entries();
            problems.0.extend(entries.map(|(problem, _)| problem));
        }
        let attributes = check.attributes_of_outputs();
        problems.0.extend(attributes.map(|(problem, _)| problem));
    }
    problems
}

/// Finds annotations of `targets` that the Docker Engines `docker` do not accept or lose. What [`check`] has found is not
/// repeated.
pub(super) fn check_engines<'a>(
    targets: impl IntoIterator<Item = &'a PlannedTarget>,
    docker: &DockerTraits,
    environment: &Environment,
) -> Diagnostics {
    let mut problems = Diagnostics::default();
    let mut losers = Vec::new();
    for target in targets {
        if target.is_linked() || target.is_called() {
            continue;
        }
        let check = |docker| Check {
            target,
            environment,
            docker,
        };
        let (before, now) = (check(None), check(Some(docker)));
        let known: Vec<Diagnostic> = found(&before).map(|(problem, _)| problem).collect();
        let mut loses = false;
        for (problem, by_store) in found(&now) {
            if by_store && !problem.is_error() {
                loses = true;
            } else if !known.contains(&problem) {
                problems.push(problem);
            }
        }
        if loses {
            losers.push(target);
        }
    }
    problems.0.extend(lost_by_store(&losers));
    problems
}

/// All problems that `check` finds. The flag is whether it is one of the classic image store, which has no place for
/// annotations.
fn found<'a>(check: &'a Check<'_>) -> impl Iterator<Item = (Diagnostic, bool)> + 'a {
    check.entries().chain(check.attributes_of_outputs())
}

const CLASSIC_WAY_OUT: &str =
    "use another builder, or let the Engine keep its images in containerd's store";

/// Makes one warning for all `targets` whose annotations a classic image store loses.
fn lost_by_store(targets: &[&PlannedTarget]) -> Option<Diagnostic> {
    let first = targets.first()?;
    let names: Vec<String> = targets
        .iter()
        .map(|target| format!("`{}`", target.name))
        .collect();
    let message = format!(
        "the annotations of {} {} have no effect: the Docker Engine keeps its images in the classic store, which has no place for them",
        if names.len() == 1 {
            "target"
        } else {
            "the targets"
        },
        names.join(", ")
    );
    let mut written = first.attributes.annotations.iter();
    let span = written.find_map(|text| text.span);
    let warning = Diagnostic::warning("run::annotation", message).help(CLASSIC_WAY_OUT);
    Some(warning.at(span.or_else(|| first.span()), ""))
}

struct Check<'a> {
    target: &'a PlannedTarget,
    environment: &'a Environment,
    /// The Docker Engines of the run. `None` if they are not known yet: then only problems are found that do not depend on them.
    docker: Option<&'a DockerTraits>,
}

/// Why an annotation cannot apply. Both kinds hold the reason and the help.
enum Obstacle {
    /// The daemon refuses it, but only after the build.
    Refused(String, &'static str),
    /// The daemon drops it silently.
    Lost(String, &'static str),
    /// The classic image store of a Docker Engine drops it silently, like all others.
    LostByStore,
}

impl Obstacle {
    /// How bad it is.
    const fn rank(&self) -> u8 {
        match self {
            Self::Refused(..) => 2,
            Self::Lost(..) => 1,
            Self::LostByStore => 0,
        }
    }
}

impl Check<'_> {
    /// Whether an output of the target makes an image. If not, that is added to `problems`.
    fn has_carrier(&self, problems: &mut Diagnostics) -> bool {
        let outputs = &self.target.attributes.output;
        let has_one = outputs.is_empty() || outputs.iter().any(|output| carries(&output.value));
        if !has_one {
            problems.push(self.no_carrier());
        }
        has_one
    }

    /// The outputs that make images. Without an output, the builder's default, if it is known to make one.
    fn carriers(&self) -> Vec<Cow<'_, Export>> {
        let outputs = &self.target.attributes.output;
        if outputs.is_empty() {
            let default = self.docker.map_or_else(
                || Some(Export::plain(ExportKind::Image)),
                |docker| lower::default_output(docker, self.environment),
            );
            return default.into_iter().map(Cow::Owned).collect();
        }
        let outputs = outputs.iter().map(|output| &output.value);
        let outputs = outputs.filter(|output| carries(output));
        outputs.map(Cow::Borrowed).collect()
    }

    /// Checks the annotations of the target, for all its outputs.
    fn entries(&self) -> impl Iterator<Item = (Diagnostic, bool)> {
        let carriers = self.carriers();
        // Without an output, nothing may be exported at all. The builder decides that.
        let undecided = self.docker.is_none() && self.target.attributes.output.is_empty();
        let entries = self.target.annotations.iter();
        entries.filter_map(move |AnnotationEntry { text, annotations }| {
            // One annotation may have a problem with several outputs and levels. Only the worst is reported.
            let pairs = annotations
                .iter()
                .flat_map(|annotation| carriers.iter().map(move |output| (annotation, output)));
            let found = pairs.filter_map(|(annotation, output)| self.obstacle(annotation, output));
            // The first of the worst ones.
            let worst = found.reduce(|worst, next| {
                if next.rank() > worst.rank() {
                    next
                } else {
                    worst
                }
            })?;
            if undecided && matches!(worst, Obstacle::Refused(..)) {
                return None;
            }
            let by_store = matches!(worst, Obstacle::LostByStore);
            Some((self.problem(&text.value, text.span, worst), by_store))
        })
    }

    /// Checks annotations that are written as attributes of an output, such as `annotation-index.KEY`.
    fn attributes_of_outputs(&self) -> impl Iterator<Item = (Diagnostic, bool)> {
        let attributes = self.target.attributes.output.iter().flat_map(|output| {
            let attrs = output.attrs.iter();
            attrs.map(move |(name, value)| (output, name, value))
        });
        attributes.filter_map(|(output, name, value)| {
            let annotation = Annotation::of_attribute(name, value)?;
            let obstacle = if carries(output) {
                self.obstacle(&annotation, output)?
            } else {
                Obstacle::Lost(
                    format!("`type={}` makes no image", output.kind.name()),
                    "annotations are part of images: move it to an output of `type=image`, `registry`, `oci` or `docker`",
                )
            };
            let by_store = matches!(obstacle, Obstacle::LostByStore);
            Some((self.problem(&format!("{name}={value}"), output.span, obstacle), by_store))
        })
    }

    fn problem(&self, text: &str, span: Option<Span>, obstacle: Obstacle) -> Diagnostic {
        const CODE: &str = "run::annotation";
        let of = format!("annotation `{text}` of target `{}`", self.target.name);
        let (problem, way_out) = match obstacle {
            Obstacle::Refused(why, way_out) => (
                Diagnostic::error(Class::Definition, CODE, format!("{of} cannot apply: {why}")),
                way_out,
            ),
            Obstacle::Lost(why, way_out) => (
                Diagnostic::warning(CODE, format!("{of} has no effect: {why}")),
                way_out,
            ),
            Obstacle::LostByStore => (
                Diagnostic::warning(CODE, format!("{of} has no effect")),
                CLASSIC_WAY_OUT,
            ),
        };
        let problem = problem.help(way_out);
        problem.at(span.or_else(|| self.target.span()), "")
    }

    /// Makes the warning for annotations of a target whose outputs are all no images.
    fn no_carrier(&self) -> Diagnostic {
        let attributes = &self.target.attributes;
        let mut kinds: Vec<String> = attributes
            .output
            .iter()
            .map(|output| format!("`type={}`", output.kind.name()))
            .collect();
        kinds.dedup();
        let message = format!(
            "the annotations of target `{}` have no effect: {} makes no image",
            self.target.name,
            kinds.join(", ")
        );
        let problem = Diagnostic::warning("run::annotation", message)
            .help("annotations are part of images: add an output of `type=image`, `registry`, `oci` or `docker`");
        let first = attributes.annotations.iter().find_map(|text| text.span);
        problem.at(first.or_else(|| self.target.span()), "")
    }

    /// Returns why `annotation` cannot apply to the image that `output` makes. `None` if it can.
    fn obstacle(&self, annotation: &Annotation, output: &Export) -> Option<Obstacle> {
        let level = annotation.level.unwrap_or(AnnotationLevel::Manifest);
        let of_index = matches!(
            level,
            AnnotationLevel::Index | AnnotationLevel::IndexDescriptor
        );
        let format = ImageFormat::of(output, self.docker)?;
        let has_index = match format {
            ImageFormat::Classic if of_index => {
                let why = "a Docker Engine with the classic image store makes no index";
                return Some(Obstacle::Refused(why.to_owned(), CLASSIC_WAY_OUT));
            }
            ImageFormat::Classic => return Some(Obstacle::LostByStore),
            // An Engine drops them when it reads the archive.
            ImageFormat::ClassicArchive if !of_index => return Some(Obstacle::LostByStore),
            _ => self.has_index(output, format),
        };
        // The classic store refuses the index alone.
        let decided = of_index || format != ImageFormat::Image || self.docker.is_some();
        let docker_types = output.flag("oci-mediatypes") == Some(false);
        if docker_types && level != AnnotationLevel::Manifest && decided {
            return Some(Obstacle::Refused(
                format!(
                    "an image with `oci-mediatypes=false` cannot have `{}` annotations",
                    level.name()
                ),
                "remove `oci-mediatypes=false`, or write `manifest:`",
            ));
        }
        if of_index && !has_index {
            return Some(Obstacle::Refused(
                format!(
                    "the image that `type={}` makes here has no index",
                    output.kind.name()
                ),
                match format {
                    ImageFormat::Archive | ImageFormat::ClassicArchive => {
                        "write `manifest:`; an image for Docker's archives has one manifest and no index"
                    }
                    _ => {
                        "write `manifest:`, or build for several platforms or with `attest = [\"type=provenance,mode=min\"]`, which \
                         makes an index"
                    }
                },
            ));
        }
        let wanted = annotation.platform.as_ref().filter(|_| !of_index)?;
        self.platform(wanted, has_index)
    }

    /// Returns why an annotation for the platform `wanted` cannot apply. `None` if it can.
    fn platform(&self, wanted: &Platform, has_index: bool) -> Option<Obstacle> {
        let planned = &self.target.platforms;
        let listed = |platforms: &[Platform]| {
            let names: Vec<String> = platforms.iter().map(|p| format!("`{p}`")).collect();
            names.join(", ")
        };
        if planned.is_empty() && *wanted != Platform::local() {
            return Some(Obstacle::Lost(
                format!(
                    "the target names no platforms, so it is built only for the builder's own, which may not be `{wanted}`"
                ),
                "add the platform to `platforms`, or remove the one in brackets",
            ));
        }
        if !planned.is_empty() && !planned.contains(wanted) {
            let why = format!(
                "the target is built for {}, not for `{wanted}`",
                listed(planned)
            );
            let way_out = "add the platform to `platforms`, or change the one in brackets";
            // With several platforms, BuildKit refuses annotations for a platform that was not built. With one
            // platform, it ignores them.
            return Some(if planned.len() > 1 {
                Obstacle::Refused(why, way_out)
            } else {
                Obstacle::Lost(why, way_out)
            });
        }
        if !has_index {
            return Some(Obstacle::Lost(
                "without an index, BuildKit uses only annotations without a platform".to_owned(),
                "remove the platform in brackets: the image has only one",
            ));
        }
        None
    }

    /// Whether the image that `output` makes in `format` has an index: it has several platforms, or attestations.
    fn has_index(&self, output: &Export, format: ImageFormat) -> bool {
        let inline = match output.flag("attestation-inline") {
            Some(inline) => inline,
            None => format == ImageFormat::Image,
        };
        // Docker's archives hold no index. BuildKit does not notice one that is made for attestations within the image.
        let archive = matches!(format, ImageFormat::Archive | ImageFormat::ClassicArchive);
        if archive && !inline {
            return false;
        }
        let attributes = &self.target.attributes;
        let arg = |name: &str| attributes.args.get(name);
        let forced = arg("BUILDKIT_MULTI_PLATFORM").and_then(|on| strconv::parse_bool(&on.value));
        if self.target.platforms.len() > 1 || forced == Some(true) {
            return true;
        }
        let mut declared = attributes.attest.iter().filter(|attest| !attest.disabled);
        let inline_only = |attrs: &crate::definition::model::Attrs| {
            let value = attrs.get("inline-only");
            value.and_then(|value| strconv::parse_bool(value)) == Some(true)
        };
        if declared.any(|attest| inline || !inline_only(&attest.attrs)) {
            return true;
        }
        // If the target does not mention provenance, it is added by default, but only to images.
        let said = attributes
            .attest
            .iter()
            .any(|attest| attest.is_provenance());
        let unwanted = self
            .environment
            .get("BUILDX_NO_DEFAULT_ATTESTATIONS")
            .and_then(strconv::parse_bool);
        inline && !said && unwanted != Some(true)
    }
}

/// Whether `output` makes an image. An exporter that rbake does not know may make one.
fn carries(output: &Export) -> bool {
    !matches!(
        output.kind,
        ExportKind::Local | ExportKind::Tar | ExportKind::CacheOnly
    )
}

#[cfg(test)]
mod tests;
