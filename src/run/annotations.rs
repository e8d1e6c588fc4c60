//! Finds annotations that no output can carry, or that the daemon would refuse only after the build.
//!
//! The rules are those of BuildKit's `exporter/containerimage/writer.go`. Annotations that make it fail are errors
//! here; annotations that it silently drops are warnings.

use crate::definition::model::{Export, ExportKind};
use crate::diag::{Class, Diagnostic, Diagnostics, Span};
use crate::golang::strconv;
use crate::plan::syntax::{Annotation, AnnotationLevel};
use crate::plan::{AnnotationEntry, Plan, PlannedTarget};
use crate::types::{Environment, Platform};

/// Finds annotations of `plan` that cannot apply.
pub(super) fn check(plan: &Plan, environment: &Environment) -> Diagnostics {
    let mut problems = Diagnostics::default();
    for target in plan.targets.values() {
        // A linked target exports nothing in this run, so its annotations are not checked.
        if target.is_linked() {
            continue;
        }
        let check = Check {
            target,
            environment,
        };
        if !target.annotations.is_empty() {
            check.all(&mut problems);
        }
        check.attributes_of_outputs(&mut problems);
    }
    problems
}

struct Check<'a> {
    target: &'a PlannedTarget,
    environment: &'a Environment,
}

/// Why an annotation cannot apply. Both kinds hold the reason and the help.
enum Obstacle {
    /// The daemon refuses it, but only after the build.
    Refused(String, &'static str),
    /// The daemon drops it silently.
    Lost(String, &'static str),
}

impl Check<'_> {
    /// Checks the annotations of the target, for all its outputs.
    fn all(&self, problems: &mut Diagnostics) {
        let outputs = &self.target.attributes.output;
        if !outputs.is_empty() && !outputs.iter().any(|output| carries(&output.value)) {
            problems.push(self.no_carrier());
            return;
        }
        for AnnotationEntry { text, annotations } in &self.target.annotations {
            // One annotation may have a problem with several outputs and levels. Only the worst is reported.
            let mut found: Vec<Obstacle> = Vec::new();
            for annotation in annotations {
                if outputs.is_empty() {
                    found.extend(self.obstacle(annotation, &Export::plain(ExportKind::Image)));
                }
                for output in outputs.iter().filter(|output| carries(&output.value)) {
                    found.extend(self.obstacle(annotation, output));
                }
            }
            let refused = |obstacle: &Obstacle| matches!(obstacle, Obstacle::Refused(..));
            let worst = found.iter().position(refused).unwrap_or(0);
            if let Some(obstacle) = found.into_iter().nth(worst) {
                problems.push(self.problem(&text.value, text.span, obstacle));
            }
        }
    }

    /// Checks annotations that are written as attributes of an output, such as `annotation-index.KEY`.
    fn attributes_of_outputs(&self, problems: &mut Diagnostics) {
        for output in &self.target.attributes.output {
            for (name, value) in &output.attrs {
                let Some(annotation) = Annotation::of_attribute(name, value) else {
                    continue;
                };
                let obstacle = if carries(output) {
                    self.obstacle(&annotation, output)
                } else {
                    Some(Obstacle::Lost(
                        format!("`type={}` makes no image", output.kind.name()),
                        "annotations are part of images: move it to an output of `type=image`, `registry`, `oci` or `docker`",
                    ))
                };
                problems.0.extend(obstacle.map(|obstacle| {
                    self.problem(&format!("{name}={value}"), output.span, obstacle)
                }));
            }
        }
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
        let has_index = self.has_index(output);
        let of_index = matches!(
            level,
            AnnotationLevel::Index | AnnotationLevel::IndexDescriptor
        );
        if output.flag("oci-mediatypes") == Some(false) && level != AnnotationLevel::Manifest {
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
                match output.kind {
                    ExportKind::Docker => {
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

    /// Whether the image that `output` makes has an index: it has several platforms, or attestations.
    fn has_index(&self, output: &Export) -> bool {
        if output.kind == ExportKind::Docker {
            return false;
        }
        let attributes = &self.target.attributes;
        let arg = |name: &str| attributes.args.get(name);
        let forced = arg("BUILDKIT_MULTI_PLATFORM").and_then(|on| strconv::parse_bool(&on.value));
        if self.target.platforms.len() > 1 || forced == Some(true) {
            return true;
        }
        let inline = match output.kind {
            ExportKind::Image | ExportKind::Registry => {
                output.flag("attestation-inline") != Some(false)
            }
            _ => output.flag("attestation-inline") == Some(true),
        };
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
            .any(|attest| &*attest.kind == "provenance");
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
mod tests {
    use super::*;
    use crate::diag::Severity;
    use crate::run::testing::plan;
    use test_case::test_case;

    fn found(body: &str, variables: &[(&str, &str)]) -> Vec<Diagnostic> {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        let environment = Environment::new(variables, "/".into());
        check(&plan(body), &environment).0
    }

    const NO_PROVENANCE: &str = r#"attest = ["type=provenance,disabled=true"]"#;

    #[test_case(r#"annotations = ["index:a=b"]
        output = ["type=oci,dest=x"]"#; "layout without attestations")]
    #[test_case(&format!("annotations = [\"index:a=b\"]\noutput = [\"type=image\"]\n{NO_PROVENANCE}"); "image without provenance")]
    #[test_case(r#"annotations = ["manifest,index-descriptor:a=b"]
        output = ["type=docker,dest=x"]"#; "archive for Docker")]
    #[test_case(r#"annotations = ["manifest[linux/arm64]:a=b"]
        platforms = ["linux/amd64", "linux/s390x"]
        output = ["type=image"]"#; "none of several platforms")]
    #[test_case(r#"annotations = ["index:a=b"]
        platforms = ["linux/amd64", "linux/s390x"]
        output = ["type=image,oci-mediatypes=false"]"#; "media types of Docker")]
    #[test_case(r#"output = ["type=oci,dest=x,annotation-index.a=b"]"#; "attribute of an output")]
    fn annotations_that_buildkit_would_refuse_are_errors(body: &str) {
        let problems = found(body, &[]);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(
            (problems[0].code, problems[0].severity),
            ("run::annotation", Severity::Error)
        );
        assert!(
            !problems[0].help.is_empty() && !problems[0].labels.is_empty(),
            "{problems:?}"
        );
    }

    #[test_case(r#"annotations = ["a=b"]
        output = ["type=local,dest=x", "type=cacheonly"]"#, "makes no image"; "files")]
    #[test_case(r#"annotations = ["manifest[linux/arm64]:a=b"]
        platforms = ["linux/amd64"]
        output = ["type=image"]"#, "not for `linux/arm64`"; "another platform")]
    #[test_case(r#"annotations = ["manifest[linux/s390x]:a=b"]"#, "names no platforms"; "no platform")]
    #[test_case(r#"annotations = ["manifest[linux/amd64]:a=b"]
        platforms = ["linux/amd64"]
        output = ["type=oci,dest=x"]"#, "without an index"; "its own platform")]
    #[test_case(r#"output = ["type=oci,dest=x,annotation[linux/arm64].a=b"]
        platforms = ["linux/amd64"]"#, "not for `linux/arm64`"; "platform in an attribute")]
    #[test_case(r#"output = ["type=local,dest=x,annotation.a=b"]"#, "`type=local` makes no image"; "attribute of files")]
    fn annotations_that_would_be_lost_cause_a_warning(body: &str, why: &str) {
        let problems = found(body, &[]);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(
            (problems[0].code, problems[0].severity),
            ("run::annotation", Severity::Warning)
        );
        assert!(problems[0].message.contains(why), "{problems:?}");
    }

    #[test_case(r#"annotations = ["index:a=b", "manifest-descriptor:c=d", "e=f"]
        output = ["type=image", "type=local,dest=x"]"#; "provenance makes an index")]
    #[test_case(r#"annotations = ["index:a=b"]
        attest = ["type=sbom"]
        output = ["type=oci,dest=x"]"#; "attestation in a layout")]
    #[test_case(r#"annotations = ["index:a=b", "manifest[linux/arm64]:a=b"]
        platforms = ["linux/amd64", "linux/arm64"]
        output = ["type=oci,dest=x"]"#; "several platforms")]
    #[test_case(r#"annotations = ["a=b"]
        output = ["type=oci,dest=x"]"#; "manifest alone")]
    #[test_case(r#"output = ["type=local,dest=x"]"#; "no annotations")]
    #[test_case(r#"output = ["type=image,annotation-index.a=b,annotation-manifest-descriptor.c=d,annotation.e=f"]"#; "attributes")]
    fn annotations_that_apply_cause_no_problem(body: &str) {
        assert_eq!(found(body, &[]), []);
    }

    #[test]
    fn without_default_attestations_an_image_has_no_index() {
        let body = "annotations = [\"index:a=b\"]\noutput = [\"type=registry\"]\ntags = [\"x\"]";
        assert_eq!(found(body, &[]), []);
        let off = [("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")];
        assert_eq!(found(body, &off).len(), 1);
    }
}
