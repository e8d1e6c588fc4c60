//! Tags that rbake cannot set itself: the builder or a Docker Engine sets them after all targets have ended.
//!
//! The builder does if only it reaches the registry: it solves the target once more, from its cache, only to push the
//! tags. So mutable tags move after every target has succeeded, as they do otherwise. But nobody looks at what they
//! point to, nothing is recorded, and they do not move all or none.
//!
//! The content was pushed by its digest before. The times in a provenance attestation differ between the two solves, so
//! all tags are left to the second one: they must name the same image.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::publication::Tags;
use super::settle::again;
use super::{BuiltTarget, Publication, Published, messages};
use crate::builder::Notice;
use crate::engine::{Engine, Sessions, SolveSpec};
use crate::event::EventSink;
use crate::outcome::{FailureKind, SolveFailure, Solved};
use crate::publish::class::TagClass;
use crate::publish::journal::PublishedTag;
use crate::publisher::{TagEnd, TagReport};
use crate::run::shared_context::SharedContext;
use crate::run::{Stop, push, refusal};
use crate::types::{ImageName, Reference, TargetName};

/// The tags of one target that are set after all targets.
#[derive(Debug)]
pub(super) struct LatePush {
    target: TargetName,
    by: LatePusher,
}

#[derive(Debug)]
enum LatePusher {
    /// The builder sets all tags, also the immutable ones.
    Builder {
        publication: Box<Publication>,
        spec: Box<SolveSpec>,
        /// The node that has built the image.
        engine: Arc<Engine>,
        /// Whether others link to the target.
        is_parent: bool,
        /// They are open until the push has ended.
        sessions: Sessions,
    },
    /// A Docker Engine sets these mutable tags.
    Docker {
        names: Vec<ImageName>,
        /// What is known of the image before.
        solved: Box<Solved>,
    },
}

/// What the builder says of an image: the exporter's response.
type Responses = BTreeMap<String, String>;

impl LatePush {
    /// The tags of a target whose image only the builder can tag.
    pub(super) fn by_builder(built: &BuiltTarget<'_>) -> Self {
        Self {
            target: built.spec.target.clone(),
            by: LatePusher::Builder {
                publication: Box::new(built.publication.clone()),
                spec: Box::new(built.spec.clone()),
                engine: Arc::clone(&built.shared.engine),
                is_parent: built.shared.links.is_parent(&built.spec.target),
                sessions: built.sessions.clone(),
            },
        }
    }

    /// The mutable tags of `target` that a Docker Engine sets.
    pub(super) fn by_docker(target: TargetName, names: Vec<ImageName>, solved: Solved) -> Self {
        let solved = Box::new(solved);
        Self {
            target,
            by: LatePusher::Docker { names, solved },
        }
    }

    /// Those of `tags` that are set.
    fn names(&self, tags: Tags) -> Vec<ImageName> {
        match &self.by {
            LatePusher::Builder { publication, .. } => publication.tagged(tags),
            LatePusher::Docker { names, .. } if tags == Tags::All => names.clone(),
            LatePusher::Docker { .. } => Vec::new(),
        }
    }

    async fn push(
        &self,
        tags: Tags,
        shared: &SharedContext,
        halt: &CancellationToken,
    ) -> Result<Responses, SolveFailure> {
        match &self.by {
            LatePusher::Builder {
                publication,
                spec,
                engine,
                is_parent,
                sessions,
            } => {
                let Some(export) = publication.with_tags(tags) else {
                    return Ok(Responses::new());
                };
                let spec = again(spec, export, *is_parent);
                // The steps were shown before.
                let events = EventSink::none();
                let solved = engine.solve(&spec, sessions, &events, halt).await?;
                Ok(solved.response)
            }
            LatePusher::Docker { solved, .. } => {
                let names = self.names(tags);
                let names: Vec<Reference> =
                    names.iter().map(|name| name.reference().clone()).collect();
                let mut solved = Solved::clone(solved);
                tokio::select! {
                    pushed = push::push(&self.target, &names, shared, &mut solved) => pushed?,
                    () = halt.cancelled() => {
                        return Err(SolveFailure::new(FailureKind::Cancelled, "interrupted"));
                    }
                }
                Ok(solved.response)
            }
        }
    }

    /// Closes the sessions.
    async fn close(&self) {
        if let LatePusher::Builder { sessions, .. } = &self.by {
            sessions.target.close().await;
        }
    }
}

/// Lets the builder or the Docker Engine set the tags of `late`: all of them if all targets have `succeeded`, and else
/// only the immutable ones. Ends when the user stops the run.
pub(super) async fn push_all(
    late: &[LatePush],
    succeeded: bool,
    shared: &SharedContext,
    stop: &Stop,
) -> Published {
    let tags = if succeeded {
        Tags::All
    } else {
        Tags::Of(TagClass::Immutable)
    };
    let halt = CancellationToken::new();
    let pushes = late.iter().map(|late| {
        let halt = &halt;
        async move {
            let names = late.names(tags);
            if names.is_empty() {
                late.close().await;
                return (late, names, Ok(Responses::new()));
            }
            let name = format!("set the tags of `{}` with the builder", late.target);
            let id = format!("tags-{}", late.target);
            let notice = Notice::begin(&shared.events, &id, &name);
            let pushed = late.push(tags, shared, halt).await;
            notice.end(
                pushed
                    .as_ref()
                    .err()
                    .map(|failure| failure.message.as_str()),
            );
            late.close().await;
            (late, names, pushed)
        }
    });
    let stopping = async {
        stop.requested().await;
        halt.cancel();
        std::future::pending::<()>().await;
    };
    let pushed = tokio::select! {
        pushed = join_all(pushes) => pushed,
        () = stopping => Vec::new(),
    };
    let mut published = Published::default();
    for (late, names, pushed) in pushed {
        let target = &late.target;
        match pushed {
            Ok(response) => {
                published
                    .reports
                    .extend(names.iter().filter_map(|name| report(target, name)));
                published.responses.insert(target.clone(), response);
                if !succeeded {
                    published.targets.insert(target.clone());
                }
            }
            Err(failure) => {
                let mut failure = shared.with_help(failure);
                refusal::explain(&mut failure, &shared.credentials.origins());
                published.problems.push(messages::late(target, failure));
                published.uncertain.insert(target.clone());
            }
        }
    }
    published
}

/// The report of a tag that was set. What it pointed to before is not known.
fn report(target: &TargetName, name: &ImageName) -> Option<TagReport> {
    Some(TagReport {
        target: Some(target.clone()),
        tag: PublishedTag::of(name.reference())?,
        end: TagEnd::Set {
            note: None,
            was: None,
        },
    })
}
