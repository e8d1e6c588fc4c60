//! Features that a plan uses but rbake cannot build yet.
//!
//! rbake never ignores a setting silently: each of these features ends a build before any work, with an error that
//! names the target and the attribute. `--print` works for all of them. When a feature is implemented, its row is
//! removed.

use super::model::{DockerfileSource, NamedContext, Plan, PlannedTarget};
use crate::definition::model::{CacheEntry, CacheKind, ExportKind, List, Sink};
use crate::diag::{Class, Diagnostic, Diagnostics, Span};

/// One use of a feature: where it is, and how messages name it.
struct Found {
    attribute: String,
    span: Option<Span>,
    what: String,
}

/// A feature that cannot be built yet.
struct Gap {
    code: &'static str,
    find: fn(&PlannedTarget) -> Vec<Found>,
    way_out: &'static str,
}

const GAPS: &[Gap] = &[
    Gap {
        code: "plan::unsupported-link",
        find: links,
        way_out: "build the other target first and name its image with `docker-image://`",
    },
    Gap {
        code: "plan::unsupported-oci-layout",
        find: layouts,
        way_out: "push the image to a registry and name it with `docker-image://`",
    },
    Gap {
        code: "plan::unsupported-dockerfile-url",
        find: dockerfile_urls,
        way_out: "download the Dockerfile, or use a remote context that has it",
    },
    Gap {
        code: "plan::unsupported-ssh",
        find: ssh,
        way_out: "fetch what the build needs over HTTPS, with a token as a secret",
    },
    Gap {
        code: "plan::unsupported-call",
        find: calls,
        way_out: "remove it to build, or run `docker buildx bake --call`",
    },
    Gap {
        code: "plan::unsupported-policy",
        find: policies,
        way_out: "`--policy disabled=true` builds without policies, if that is what you want",
    },
    Gap {
        code: "plan::unsupported-cache",
        find: caches,
        way_out: "use a cache of `type=registry`, `gha`, `local` or `inline`",
    },
    Gap {
        code: "plan::unsupported-layout-output",
        find: layout_outputs,
        way_out: "write an archive, without `tar=false`, and unpack it",
    },
    Gap {
        code: "plan::unsupported-delete",
        find: deletes,
        way_out: "remove the directory before the build, and leave `mode=delete` out",
    },
];

/// All uses in `plan` of features that rbake cannot build yet.
pub(crate) fn unsupported(plan: &Plan) -> Diagnostics {
    let mut problems = Diagnostics::default();
    for target in plan.targets.values() {
        problems.0.append(&mut unsupported_of(target).0);
    }
    problems
}

/// All uses in `target` of features that rbake cannot build yet.
pub(crate) fn unsupported_of(target: &PlannedTarget) -> Diagnostics {
    let mut problems = Diagnostics::default();
    for gap in GAPS {
        for found in (gap.find)(target) {
            problems.push(problem(target, gap, &found));
        }
    }
    problems
}

fn problem(target: &PlannedTarget, gap: &Gap, found: &Found) -> Diagnostic {
    let problem = Diagnostic::error(
        Class::Definition,
        gap.code,
        format!(
            "`{}` of target `{}` asks for {}, which rbake does not support yet",
            found.attribute, target.name, found.what
        ),
    )
    .help(gap.way_out);
    problem.at(found.span.or_else(|| target.span()), "")
}

fn named(target: &PlannedTarget, what: impl Fn(&NamedContext) -> Option<String>) -> Vec<Found> {
    let contexts = target.inputs.named.iter();
    contexts
        .filter_map(|(name, context)| {
            let value = target.attributes.contexts.get(name);
            Some(Found {
                attribute: format!("contexts.{name}"),
                span: value.and_then(|value| value.span),
                what: what(context)?,
            })
        })
        .collect()
}

fn links(target: &PlannedTarget) -> Vec<Found> {
    named(target, |context| match context {
        NamedContext::Target(name) => Some(format!("the result of target `{name}`")),
        _ => None,
    })
}

fn layouts(target: &PlannedTarget) -> Vec<Found> {
    named(target, |context| match context {
        NamedContext::OciLayout(layout) => {
            Some(format!("an image in the directory `{}`", layout.path))
        }
        _ => None,
    })
}

fn dockerfile_urls(target: &PlannedTarget) -> Vec<Found> {
    match &target.inputs.dockerfile {
        DockerfileSource::Url(url) => vec![Found {
            attribute: "dockerfile".to_owned(),
            span: target.attributes.dockerfile.as_ref().and_then(|d| d.span),
            what: format!(
                "the Dockerfile at `{}`",
                crate::types::secret::redact_url(url)
            ),
        }],
        _ => Vec::new(),
    }
}

fn ssh(target: &PlannedTarget) -> Vec<Found> {
    let attributes = &target.attributes;
    let mut found: Vec<Found> = attributes
        .ssh
        .iter()
        .map(|entry| Found {
            attribute: "ssh".to_owned(),
            span: entry.span,
            what: "an SSH agent".to_owned(),
        })
        .collect();
    if target.inputs.context.is_ssh() {
        found.push(Found {
            attribute: "context".to_owned(),
            span: attributes.context.as_ref().and_then(|c| c.span),
            what: "a repository over SSH".to_owned(),
        });
    }
    found
}

fn calls(target: &PlannedTarget) -> Vec<Found> {
    let call = target.attributes.call.as_ref();
    // `build`, with or without options, is the same as no call.
    let is_build = |call: &str| call.is_empty() || call.split(',').next() == Some("build");
    call.filter(|call| !is_build(call))
        .map(|call| Found {
            attribute: "call".to_owned(),
            span: call.span,
            what: format!(
                "a call of the frontend (`{}`) instead of a build",
                call.value
            ),
        })
        .into_iter()
        .collect()
}

fn policies(target: &PlannedTarget) -> Vec<Found> {
    // A policy that is only switched off needs nothing from rbake.
    let policies = target.attributes.policy.iter();
    policies
        .filter(|policy| !policy.disabled || !policy.files.is_empty())
        .map(|policy| Found {
            attribute: "policy".to_owned(),
            span: policy.span,
            what: "a source policy".to_owned(),
        })
        .collect()
}

fn caches(target: &PlannedTarget) -> Vec<Found> {
    let find = |attribute: &str, list: &List<CacheEntry>| -> Vec<Found> {
        list.iter()
            .filter(|cache| {
                // Only the kinds that rbake knows but cannot build yet. Unknown kinds are reported elsewhere.
                matches!(cache.kind, CacheKind::S3 | CacheKind::AzBlob)
            })
            .map(|cache| Found {
                attribute: attribute.to_owned(),
                span: cache.span,
                what: format!("a cache of `type={}`", cache.kind.name()),
            })
            .collect()
    };
    let mut found = find("cache-from", &target.attributes.cache_from);
    found.extend(find("cache-to", &target.attributes.cache_to));
    found
}

fn layout_outputs(target: &PlannedTarget) -> Vec<Found> {
    let outputs = target.attributes.output.iter();
    outputs
        .filter(|export| {
            matches!(export.kind, ExportKind::Oci | ExportKind::Docker)
                && export.sink() == Sink::Directory
        })
        .map(|export| Found {
            attribute: "output".to_owned(),
            span: export.span,
            what: "an image as a directory (`tar=false`)".to_owned(),
        })
        .collect()
}

fn deletes(target: &PlannedTarget) -> Vec<Found> {
    let outputs = target.attributes.output.iter();
    outputs
        .filter(|export| export.kind == ExportKind::Local && export.attr("mode") == Some("delete"))
        .map(|export| Found {
            attribute: "output".to_owned(),
            span: export.span,
            what: "a directory that is emptied first (`mode=delete`)".to_owned(),
        })
        .collect()
}
