//! Builds the images of a plan. The only module that knows both the plan and the engine.
//!
//! [`prepare`] looks at everything that a plan names on this machine, before any builder is asked. [`bake()`]
//! lowers each target to a solve, and the scheduler runs the solves, each with its own session.

mod annotations;
mod attributes;
mod bake;
mod cache_imports;
mod caches;
mod commits;
mod directories;
mod docker;
mod explain;
mod facts;
mod gates;
mod ignorefiles;
mod images;
mod inline;
mod inside;
mod locate;
mod lower;
mod merged_caches;
mod node;
mod outputs;
mod phrase;
mod publishing;
mod push;
mod ran_steps;
mod refusal;
mod registries;
mod scheduler;
mod secrets;
mod served;
mod shared_context;
mod sources;
mod target;
#[cfg(test)]
mod testing;
mod uploads;
mod vcs;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::builder::Chosen;
use crate::credential::Provider;
use crate::diag::Diagnostics;
use crate::engine::session::SecretFiles;
use crate::engine::session::export::SpecialPolicy;
use crate::event::EventSink;
use crate::files::Resolver;
use crate::outcome::{CancelReason, Outcome, TargetFacts, TargetOutcome};
use crate::plan::{Plan, PlannedTarget};
use crate::types::{Clock, Environment, TargetName};

use locate::TargetPlaces;
use secrets::{SecretPlaces, SecretSources};

pub(crate) use bake::bake;
pub(crate) use gates::{GateWishes, SavedFiles, check as check_gates};
pub(crate) use publishing::{PublishWishes, current_commit, history, refusals};
pub(crate) use scheduler::Stop;

/// A plan whose directories, Dockerfiles and secrets have been found.
#[derive(Debug)]
pub(crate) struct Prepared {
    targets: Vec<Ready>,
    paths: Resolver,
}

/// One target of a [`Prepared`] plan.
#[derive(Debug, Clone)]
struct Ready {
    planned: PlannedTarget,
    places: TargetPlaces,
    secrets: SecretSources,
}

/// Whether a directory that `plan` needs as a context is missing. If so, [`prepare`] fails, whatever privileges
/// are granted.
pub(crate) fn lacks_a_context(plan: &Plan, paths: &Resolver) -> bool {
    let mut targets = plan.targets.values();
    targets.any(|target| locate::lacks_a_context(target, paths))
}

/// Looks at everything that `plan` names on this machine, and reports all that is missing at once.
///
/// The plan's paths are followed by `paths`, with which privileges must have been checked: the places that it
/// returns are the ones that are opened later.
pub(crate) fn prepare(
    plan: &Plan,
    environment: &Environment,
    paths: &Resolver,
) -> Result<Prepared, Diagnostics> {
    let mut problems = Diagnostics::default();
    let mut targets = Vec::with_capacity(plan.targets.len());
    let secret_places = SecretPlaces {
        environment,
        paths,
        files: &SecretFiles::default(),
    };
    for planned in plan.targets.values() {
        let places = locate::locate(planned, paths);
        let places =
            places.and_then(|places| served::check(places, planned, environment.current_dir()));
        let secrets = secrets::find(&planned.attributes, secret_places);
        match (places, secrets) {
            (Ok(places), Ok(secrets)) => targets.push(Ready {
                planned: planned.clone(),
                places,
                secrets,
            }),
            (places, secrets) => {
                let found = places.err().into_iter().chain(secrets.err());
                found.for_each(|found| problems.add_new(found));
            }
        }
    }
    problems.into_result(Prepared {
        targets,
        paths: paths.clone(),
    })
}

/// Returns the environment variables that hold secrets of `plan`. They are removed from the environment of
/// programs that rbake starts.
pub(crate) fn secret_variables(plan: &Plan, environment: &Environment) -> BTreeSet<String> {
    let targets = plan.targets.values().map(|planned| &*planned.attributes);
    secrets::variables(targets, environment)
}

/// Finds values in `plan` that BuildKit would refuse late in the build, or ignore silently. Does not need a
/// builder.
pub(crate) fn check(plan: &Plan, environment: &Environment) -> Diagnostics {
    let mut problems = attributes::check(plan);
    problems
        .0
        .append(&mut annotations::check(plan, environment).0);
    problems.0.append(&mut secrets::check(plan, environment).0);
    problems
        .0
        .append(&mut lower::check_github(plan, environment).0);
    problems
}

/// What a bake works with, beside the plan.
pub(crate) struct Tools {
    /// The builder, with a connection.
    pub(crate) chosen: Chosen,
    /// Credentials for registries.
    pub(crate) credentials: Arc<Provider>,
    /// The environment variables of the run.
    pub(crate) environment: Environment,
    /// How images are published.
    pub(crate) publish: PublishWishes,
    /// The clock of the run.
    pub(crate) clock: Clock,
    /// What to do with set-id files, devices and security attributes in exported directories.
    pub(crate) export_special: SpecialPolicy,
    /// Receives the events of the run.
    pub(crate) events: EventSink,
    /// Tells the run to stop.
    pub(crate) stop: Stop,
}

/// The result of a bake that ran, whether or not targets failed.
#[derive(Debug)]
pub(crate) struct Baked {
    /// How each target ended.
    pub(crate) outcome: Outcome,
    /// Digests, tags and destinations of the targets that were built.
    pub(crate) facts: Vec<TargetFacts>,
    /// The builder's name; empty if the run was stopped before it began.
    pub(crate) builder: String,
}

impl Baked {
    /// Makes the result of a run that was stopped, after `elapsed`, before any of `targets` began. Sends the stop
    /// to `events`.
    pub(crate) fn stopped<'a>(
        targets: impl IntoIterator<Item = &'a TargetName>,
        reason: &CancelReason,
        elapsed: Duration,
        events: &EventSink,
    ) -> Self {
        tracing::info!(?reason, "cancel before any target began");
        scheduler::tell_of_stop(reason, events);
        let end = Arc::new(TargetOutcome::Cancelled(reason.clone()));
        let targets = targets.into_iter();
        Self {
            outcome: Outcome {
                targets: targets
                    .map(|name| (name.clone(), Arc::clone(&end)))
                    .collect(),
                problems: Vec::new(),
                caches: Vec::new(),
                interrupted: None,
                elapsed,
            },
            facts: Vec::new(),
            builder: String::new(),
        }
    }
}

/// Returns text that rbake wrote itself as the content of a file.
fn bytes_of(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
