//! Publishes the images of a run: content by digest while the targets are built, mutable tags after all of them.
//!
//! `publisher` knows registries, `engine` knows the builder; this module connects them. [`publication`] finds the
//! exports that rbake publishes, and takes the tags out of what the builder pushes. [`settled`](Publishing::settle) is
//! called when a target is built, and [`finish`](Publishing::finish) when all are.

mod ahead;
mod commit;
mod docker;
mod hold;
mod late;
mod messages;
mod publication;
mod response;
mod send;
mod settle;
mod spread;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::gates::{GateImage, GateWishes};
use super::scheduler::Ends;
use super::shared_context::SharedContext;
use super::uploads::Uploader;
use super::{Ready, Stop, secrets};
use crate::credential::Provider;
use crate::diag::{Diagnostic, Diagnostics};
use crate::event::{EventKind, EventSink};
use crate::outcome::TargetOutcome;
use crate::publish::class::TagClass;
use crate::publish::journal::{PublishedTag, RunOrigin, file};
use crate::publish::settings::{PublishMode, PublishSettings};
use crate::publisher::{
    ImageToPublish, JournalTemplate, KeptContents, PublishError, PublishForce, Publisher, Record,
    RecoveryWish, Standing, TagReport, WholeImage,
};
use crate::registry::{Registries, RegistrySecurity};
use crate::types::blocking::unblock;
use crate::types::{Clock, Environment, TargetName};

pub(crate) use ahead::refusals;
pub(super) use commit::PublishedCommit;
use commit::published_commit;
pub(crate) use commit::{current_commit, history};
pub(super) use hold::{TagsWait, check_hold, check_pushers, pushes_tags};
use late::LatePush;
pub(super) use messages::{by_outputs, nothing_to_gate, nothing_to_publish, other_revision};
pub(super) use publication::{
    INSECURE, PUSH_BY_DIGEST, Publication, PublicationRules, is_by_digest, security,
};
pub(super) use settle::{BuiltTarget, FirstExport, Settled};
use turns::PushTurns;

/// The most time in which a run that failed or was interrupted records its end in the registry.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// What the user wants of publishing.
#[derive(Debug, Clone, Default)]
pub(crate) struct PublishWishes {
    /// The settings of `rbake.toml`, of the environment and of flags.
    pub(crate) settings: PublishSettings,
    /// What the user allows beyond the rules.
    pub(crate) force: PublishForce,
    /// What must succeed before mutable tags move.
    pub(crate) gates: GateWishes,
    /// Whether the run ends before it builds.
    pub(crate) preflight_only: bool,
    /// Whether mutable tags are not moved, but written down until the run is promoted.
    pub(crate) hold: bool,
    /// Whether the finished steps of targets that fail are exported to their caches.
    pub(crate) salvages: bool,
}

/// Publishes the images of one run.
#[derive(Debug)]
pub(super) struct Publishing {
    publisher: Publisher,
    /// What the registries had before the build, by target.
    standings: BTreeMap<TargetName, Vec<Standing>>,
    /// Whether the run has a gate.
    is_gated: bool,
    /// Whether repositories get a record of the run before the first tag is set.
    announces: bool,
    on_failure: OnFailure,
    company: Company,
    at_end: AtEnd,
    events: EventSink,
    uploader: Uploader,
    turns: PushTurns,
    done: Mutex<Done>,
}

/// What becomes of the mutable tags after all targets and gates have succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtEnd {
    /// They move.
    Move,
    /// They are recorded, and the run is held.
    Hold,
}

/// What becomes of the immutable tags after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnFailure {
    /// They stay.
    Keep,
    /// They are taken back.
    Untag,
}

/// Whether a run has several parts, for which mutable tags must wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    /// It has one target and no gate.
    Alone,
    /// It has several targets, or a gate.
    Others,
}

/// What has been done so far.
#[derive(Debug, Default)]
struct Done {
    whole: Vec<WholeImage>,
    reports: Vec<TagReport>,
    /// The tags that the builder or the Docker Engine sets after all targets.
    late: Vec<LatePush>,
    /// The images for the command of a gate that are only in the Docker Engine.
    local: Vec<GateImage>,
}

/// What came of publishing.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// What became of each tag. Tags of [`Published::targets`] that are not in it have not moved.
    pub(super) reports: Vec<TagReport>,
    /// What went wrong.
    pub(super) problems: Vec<Diagnostic>,
    /// The targets whose images rbake has published, not the builder.
    pub(super) targets: BTreeSet<TargetName>,
    /// The targets whose tags may have moved or not.
    pub(super) uncertain: BTreeSet<TargetName>,
    /// What the builder says of images whose tags it has set after all targets.
    pub(super) responses: BTreeMap<TargetName, BTreeMap<String, String>>,
}

impl Published {
    /// Adds what came of other targets.
    fn add(&mut self, other: Self) {
        self.reports.extend(other.reports);
        self.problems.extend(other.problems);
        self.targets.extend(other.targets);
        self.uncertain.extend(other.uncertain);
        self.responses.extend(other.responses);
    }
}

/// Asks git for the commit that is published. Does not ask if nothing is pushed, or the builder pushes.
pub(super) async fn commit_of(
    targets: &[Ready],
    wishes: &PublishWishes,
    environment: &Environment,
    events: &EventSink,
) -> PublishedCommit {
    let pushes = |ready: &Ready| {
        let outputs = &ready.planned.attributes.output;
        outputs.iter().any(|output| output.value.pushes())
    };
    if wishes.settings.mode != PublishMode::Rbake || !targets.iter().any(pushes) {
        return PublishedCommit::default();
    }
    let attributes = targets.iter().map(|ready| &*ready.planned.attributes);
    let withheld = secrets::variables(attributes, environment);
    published_commit(environment, withheld, events).await
}

/// What publishing works with.
pub(super) struct PublishTools<'a> {
    pub(super) wishes: &'a PublishWishes,
    pub(super) commit: &'a PublishedCommit,
    pub(super) environment: &'a Environment,
    pub(super) credentials: &'a Provider,
    pub(super) registries: &'a Registries,
    pub(super) clock: Clock,
    pub(super) company: Company,
    pub(super) uploader: Uploader,
    pub(super) events: &'a EventSink,
}

impl Publishing {
    /// Looks at the registries of `publications`.
    ///
    /// # Errors
    /// A registry does not let rbake push, or mutable tags cannot wait as the user wants. All problems are reported.
    pub(super) async fn begin(
        publications: &BTreeMap<TargetName, Publication>,
        tools: PublishTools<'_>,
    ) -> Result<Self, Diagnostics> {
        let directory = file::directory(tools.environment);
        if let Some(directory) = directory.clone() {
            for notice in unblock(move || messages::open_runs(&directory)).await {
                tools.events.send(EventKind::Notice(notice));
            }
        }
        let record = Record::new(JournalTemplate {
            directory,
            revision: tools.commit.state.clone(),
            origin: RunOrigin::Build,
            backwards: tools.wishes.force.backwards,
            clock: tools.clock,
        });
        let publisher = Publisher::new(
            tools.registries.clone(),
            record,
            tools.commit.state.clone(),
            tools.commit.history(),
            tools.wishes.force,
        );
        let mut publisher = publisher.with_kept(KeptContents::of(tools.environment));
        let images: Vec<ImageToPublish> = publications
            .values()
            .flat_map(|publication| publication.images.iter().cloned())
            .collect();
        let mut looked = publisher.look(&images).await.into_iter();
        let mut standings = BTreeMap::new();
        for (target, publication) in publications {
            let of_target = looked.by_ref().take(publication.images.len());
            standings.insert(target.clone(), of_target.collect::<Vec<_>>());
        }
        let looked = publications.iter().flat_map(|(target, publication)| {
            let standings = standings.get(target).map_or(&[][..], Vec::as_slice);
            let images = publication.images.iter().zip(standings);
            images.map(move |(image, standing)| (target, image, standing))
        });
        let mut problems = messages::denied(looked, tools.credentials);
        let waits = if tools.wishes.gates.is_any() {
            Some(TagsWait::ForGate)
        } else {
            tools.wishes.hold.then_some(TagsWait::ForPromotion)
        };
        if let Some(waits) = waits {
            problems.0.extend(hold::check_reach(waits, &standings).0);
            problems
                .0
                .extend(hold::check_tags(waits, publications, &standings).0);
        }
        problems
            .0
            .extend(spread::check_reach(publications, &standings).0);
        if problems.has_errors() {
            return Err(problems);
        }
        for notice in messages::unseen(&standings, publications) {
            tools.events.send(EventKind::Notice(notice));
        }
        if !tools.wishes.hold && !tools.wishes.preflight_only {
            let taken = images.iter().zip(standings.values().flatten());
            let taken = taken.filter(|(_, standing)| matches!(standing, Standing::Taken { .. }));
            publisher.read_ahead(taken.map(|(image, _)| image));
        }
        let moves_mutable = images
            .iter()
            .flat_map(|image| &image.tags)
            .any(|(_, class)| *class == TagClass::Mutable);
        Ok(Self {
            publisher,
            standings,
            is_gated: tools.wishes.gates.is_any(),
            announces: moves_mutable,
            on_failure: if tools.wishes.gates.untags {
                OnFailure::Untag
            } else {
                OnFailure::Keep
            },
            company: tools.company,
            at_end: if tools.wishes.hold {
                AtEnd::Hold
            } else {
                AtEnd::Move
            },
            events: tools.events.clone(),
            uploader: tools.uploader,
            turns: PushTurns::default(),
            done: Mutex::default(),
        })
    }

    /// What the registries had before the build, for a run that ends here.
    pub(super) fn preflight(&self, publications: &BTreeMap<TargetName, Publication>) -> Diagnostic {
        messages::preflight(publications, &self.standings)
    }

    /// Ends publishing after all targets have ended as `ends`: moves the mutable tags if all succeeded.
    pub(super) async fn finish(
        &self,
        ends: &Ends,
        shared: &SharedContext,
        stop: &Stop,
    ) -> Published {
        let has_succeeded = |(_, end): &(TargetName, Arc<TargetOutcome>)| {
            matches!(**end, TargetOutcome::Succeeded(_))
        };
        let Done {
            whole,
            reports,
            late,
            local,
        } = self.take_done();
        let targets = whole.iter().filter_map(|whole| whole.image.target.clone());
        let targets = targets.chain(local.into_iter().map(|image| image.target));
        let mut published = Published {
            reports,
            targets: targets.collect(),
            ..Published::default()
        };
        let succeeded = ends.iter().all(has_succeeded);
        let late = late::push_all(&late, succeeded, shared, stop).await;
        published.add(late);
        if !succeeded || !published.problems.is_empty() {
            let problems = self.tidy(&whole).await;
            published.problems.extend(problems);
            return published;
        }
        let moved = match self.at_end {
            AtEnd::Hold => self.publisher.hold(&whole).await,
            AtEnd::Move => self.publisher.move_mutable(&whole).await,
        };
        for notice in messages::about_records(self.publisher.record()) {
            self.events.send(EventKind::Notice(notice));
        }
        let counts = self.publisher.registries().counts();
        for (host, counts) in counts {
            tracing::info!(registry = %host, %counts, "requests of publishing");
        }
        match moved {
            Ok(moved) => {
                for notice in messages::incomplete(&moved) {
                    self.events.send(EventKind::Notice(notice));
                }
                // What is known of a tag at the end replaces what was known before.
                let tags: BTreeSet<&PublishedTag> =
                    moved.reports.iter().map(|report| &report.tag).collect();
                published
                    .reports
                    .retain(|report| !tags.contains(&report.tag));
                published.reports.extend(moved.reports);
                for notice in messages::about(&published.reports) {
                    self.events.send(EventKind::Notice(notice));
                }
            }
            Err(error) => published.problems.push(self.failed(&error)),
        }
        published
    }

    /// After a target or a gate has failed, which is the failure of the run: records that, and takes the immutable tags
    /// back if the user wants that.
    async fn tidy(&self, whole: &[WholeImage]) -> Vec<Diagnostic> {
        match tokio::time::timeout(END_TIMEOUT, self.publisher.end(true)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(cause = %error, "the end of the run is not recorded"),
            Err(_) => tracing::warn!("the registry did not accept the end of the run in time"),
        }
        let Some(run) = self
            .publisher
            .record()
            .run()
            .filter(|_| self.on_failure == OnFailure::Untag)
        else {
            return Vec::new();
        };
        let security = whole
            .first()
            .map_or(RegistrySecurity::Required, |whole| whole.image.security);
        let planned = self.publisher.plan_recovery(RecoveryWish::Undo, security);
        let undone = match planned.await {
            Ok(Some(recovery)) => self.publisher.recover(&recovery, security).await.map(drop),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        match undone {
            Ok(()) => {
                let notice = messages::untagged(&run);
                self.events.send(EventKind::Notice(notice));
                Vec::new()
            }
            Err(error) => vec![messages::not_untagged(&run, &error)],
        }
    }

    /// The images that are in a registry so far, for the command of a gate.
    pub(super) fn images(&self) -> Vec<GateImage> {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let mut images: Vec<GateImage> = Vec::new();
        for whole in &done.whole {
            let Some(target) = &whole.image.target else {
                continue;
            };
            // An image in several repositories is the same in each.
            if images.iter().all(|image| image.target != *target) {
                images.push(GateImage {
                    target: target.clone(),
                    name: format!("{}@{}", whole.image.repository, whole.manifest.digest()),
                });
            }
        }
        images.extend(done.local.iter().cloned());
        images
    }

    fn failed(&self, error: &PublishError) -> Diagnostic {
        messages::failed(error, self.publisher.record())
    }

    /// Whether tags are left to the builder or a Docker Engine.
    pub(super) fn has_late(&self) -> bool {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        !done.late.is_empty()
    }

    fn take_done(&self) -> Done {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *done)
    }
}
