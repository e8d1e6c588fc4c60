//! The outputs of a target that several nodes build.
//!
//! As in buildx v0.36.1 (`build/build.go`): archives cannot be made of parts. Images are pushed by their digests, and an index of them gets
//! the tags. Directories have a folder for each platform, which its node writes. All else stays with the nodes.

use super::super::Ready;
use super::super::lower::{ExportDestination, LoweredTarget};
use super::super::publishing::{INSECURE, PUSH_BY_DIGEST, is_by_digest, security};
use super::super::shared_context::SharedContext;
use super::meeting::{SpreadTarget, TargetPart, not_merged};
use crate::builder::Notice;
use crate::definition::model::LocalMode;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::engine::spec::{Exporter, SolveExport};
use crate::outcome::{FailureKind, SolveFailure, Solved};
use crate::publish::index_merge::{self, IndexAnnotation};
use crate::registry::{RawManifest, RegistrySecurity, TagOrDigest};
use crate::types::causes::in_one_line;
use crate::types::{Digest, ImageName, ImageRepository};

/// An export that all nodes push by digest, and whose index rbake pushes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PartPush {
    names: Vec<ImageName>,
    /// Whether the user wants a push without tags.
    by_digest: bool,
    security: RegistrySecurity,
    annotations: Vec<IndexAnnotation>,
}

/// Changes `lowered`, one part of a target, so that its result can be put together with those of the other parts.
///
/// # Errors
/// An output cannot be made of parts.
pub(in crate::run) fn adapt(
    lowered: &mut LoweredTarget,
    ready: &Ready,
    part: &TargetPart,
) -> Result<(), Diagnostics> {
    let mut problems = Diagnostics::default();
    lowered.spec.build_ref = part.spread.build_ref.clone();
    let mut pushes = Vec::new();
    let deletes = lowered.sinks.values().any(|sink| {
        matches!(
            sink,
            ExportDestination::Directory {
                others: LocalMode::Delete,
                ..
            }
        )
    });
    if deletes {
        problems.push(refused(
            ready,
            "`mode=delete` of an output `type=local`",
            "one node would delete what another has written",
        ));
    }
    for export in &mut lowered.spec.exports {
        let pushed = export.push == Some(true);
        match export.exporter {
            Exporter::Oci | Exporter::Docker | Exporter::Tar => {
                let what = format!("an output `type={}`", export.exporter.name());
                problems.push(refused(
                    ready,
                    &what,
                    "an archive has the result of one node",
                ));
            }
            Exporter::Moby if pushed => {
                problems.push(refused(
                    ready,
                    "a push by a Docker Engine",
                    "it pushes the image of one node",
                ));
            }
            Exporter::Image if pushed => pushes.push(take(export)),
            _ => {}
        }
    }
    if part.is_first() {
        // Only the first part sets it, and it is lowered once.
        let _ = part.spread.pushes.set(pushes);
    }
    problems.into_result(())
}

/// Makes `export` a push by digest.
fn take(export: &mut SolveExport) -> PartPush {
    let by_digest = is_by_digest(export);
    let attributes = export.extra.iter();
    let annotations = attributes.filter_map(|(key, value)| IndexAnnotation::of(key, value));
    let push = PartPush {
        by_digest,
        security: security(export.extra.get(INSECURE).map(String::as_str)),
        annotations: annotations.collect(),
        names: export.names.clone(),
    };
    let mut repositories: Vec<ImageName> = Vec::new();
    for name in &export.names {
        let repository = ImageRepository::of(name.reference()).to_string().parse();
        if let Ok(repository) = repository
            && !repositories.contains(&repository)
        {
            repositories.push(repository);
        }
    }
    export.names = repositories;
    export
        .extra
        .insert(PUSH_BY_DIGEST.to_owned(), "true".to_owned());
    push
}

fn refused(ready: &Ready, what: &str, why: &str) -> Diagnostic {
    let target = &ready.planned.name;
    let message = format!("target `{target}` is built on several nodes, which cannot make {what}");
    let problem = Diagnostic::error(Class::Definition, "run::several-nodes", message);
    let problem = problem.note(why).help("push the image, write a directory (`type=local`), or build for platforms that one node has");
    problem.at(ready.planned.span(), "")
}

/// Pushes the indexes of the images that the nodes have pushed by digest, for tags that the builder would set otherwise. Returns the digest
/// of the last one; `None` if there is none.
///
/// # Errors
/// A registry refuses, or what the nodes have built cannot be put together.
pub(super) async fn push(
    spread: &SpreadTarget,
    parts: &[Solved],
    shared: &SharedContext,
) -> Result<Option<Digest>, SolveFailure> {
    let mut last = None;
    for push in spread.pushes.get().into_iter().flatten() {
        let names = push.names.iter().map(ImageName::as_str);
        let names = names.collect::<Vec<_>>().join(", ");
        let name = format!("merge the images of the nodes into {names}");
        let id = format!("merge-{}", spread.target);
        let notice = Notice::begin(&shared.events, &id, &name);
        let pushed = push_one(spread, push, parts, shared).await;
        notice.end(
            pushed
                .as_ref()
                .err()
                .map(|failure| failure.message.as_str()),
        );
        last = Some(pushed?);
    }
    Ok(last)
}

async fn push_one(
    spread: &SpreadTarget,
    push: &PartPush,
    parts: &[Solved],
    shared: &SharedContext,
) -> Result<Digest, SolveFailure> {
    let failed = |message: String| SolveFailure::new(FailureKind::Build, message);
    let repository = |name: &ImageName| {
        let repository = ImageRepository::of(name.reference());
        shared.registries.repository(&repository, push.security)
    };
    let Some(first) = push.names.first().map(repository) else {
        return Err(failed(format!(
            "target `{}` is pushed without a name",
            spread.target
        )));
    };
    let mut indexes: Vec<RawManifest> = Vec::new();
    for part in parts {
        let Some(digest) = part.digest() else {
            return Err(failed(
                "the builder did not report the digest of the image".to_owned(),
            ));
        };
        let found = first.get(&TagOrDigest::Digest(digest.clone())).await;
        let found = found.map_err(|error| failed(in_one_line(&error)))?;
        indexes.push(found.ok_or_else(|| {
            failed(format!("`{}@{digest}`, which a node has pushed, is not in the registry that rbake reaches by this name", first.name()))
        })?);
    }
    let bytes: Vec<&[u8]> = indexes.iter().map(|index| &**index.bytes()).collect();
    let merged = index_merge::merged(&bytes, &push.annotations);
    let merged = merged.map_err(|error| failed(not_merged(&spread.target, &error)))?;
    let manifest = RawManifest::new(merged.media_type, merged.bytes.into());
    let manifest = manifest.map_err(|error| failed(in_one_line(&error)))?;
    for name in &push.names {
        // As in buildx, a tag that is written is set in any case.
        let is_untagged = push.by_digest && name.reference().tag().is_none();
        let to = if is_untagged || name.reference().has_digest() {
            TagOrDigest::Digest(manifest.digest().clone())
        } else {
            tag_of(name).unwrap_or_else(|| TagOrDigest::Digest(manifest.digest().clone()))
        };
        let put = repository(name).put(&to, &manifest).await;
        put.map_err(|error| failed(in_one_line(&error)))?;
    }
    Ok(manifest.digest().clone())
}

/// The tag of `name`: `latest` if it has none.
fn tag_of(name: &ImageName) -> Option<TagOrDigest> {
    let tag = name.reference().tag_or_latest()?;
    Some(TagOrDigest::Tag(tag.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(names: &[&str], extra: &[(&str, &str)]) -> SolveExport {
        let extra = extra
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        SolveExport {
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            push: Some(true),
            extra: extra.collect(),
            ..SolveExport::new(Exporter::Image)
        }
    }

    fn names(names: &[ImageName]) -> Vec<&str> {
        names.iter().map(ImageName::as_str).collect()
    }

    #[test]
    fn nodes_push_by_digest_to_each_repository_once() {
        let mut taken = export(
            &["r.example/a:1", "r.example/a:2", "r.example/b"],
            &[("annotation-index.a", "b"), ("registry.insecure", "true")],
        );
        let push = take(&mut taken);
        assert_eq!(names(&taken.names), ["r.example/a", "r.example/b"]);
        assert_eq!(taken.extra[PUSH_BY_DIGEST], "true");
        assert_eq!(
            names(&push.names),
            ["r.example/a:1", "r.example/a:2", "r.example/b"]
        );
        assert!(!push.by_digest && push.security == RegistrySecurity::Waived);
        assert_eq!(push.annotations.len(), 1);
        let tags: Vec<_> = push
            .names
            .iter()
            .filter_map(tag_of)
            .map(|tag| tag.to_string())
            .collect();
        assert_eq!(tags, ["1", "2", "latest"]);
    }

    #[test]
    fn a_push_without_tags_gets_none() {
        let push = take(&mut export(&["r.example/a"], &[(PUSH_BY_DIGEST, "1")]));
        assert!(push.by_digest);
    }
}
