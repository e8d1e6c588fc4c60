//! Builds the images of a plan. The only module that knows both the plan and the engine.
//!
//! [`prepare`] looks at everything that a plan names on this machine, before any builder is asked. [`bake()`]
//! lowers each target to a solve, and the scheduler runs the solves, each with its own session.

mod annotations;
mod attributes;
mod aws_keys;
mod bake;
mod cache_imports;
mod caches;
mod commits;
mod directories;
mod docker;
mod dockerfile_urls;
mod explain;
mod facts;
mod fetch;
mod gates;
mod ignorefiles;
mod images;
mod inline;
mod inside;
mod layouts;
mod links;
mod local_state;
mod locate;
mod lower;
mod make_nodes;
mod merged_caches;
mod node;
mod nodes;
mod outputs;
mod phrase;
mod placed;
mod placement_record;
mod policies;
mod provenance;
mod publishing;
mod push;
mod ran_steps;
mod refusal;
mod registries;
mod scheduler;
mod secrets;
mod served;
mod shared_context;
mod slots;
mod source_policy;
mod sources;
mod spread;
mod ssh;
mod storage;
mod target;
#[cfg(test)]
mod testing;
mod uploads;
mod vcs;
mod work;

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::builder::ChosenBuilder;
use crate::credential::Provider;
use crate::diag::Diagnostics;
use crate::engine::SourcePolicy;
use crate::engine::session::SecretFiles;
use crate::engine::session::export::SpecialPolicy;
use crate::event::EventSink;
use crate::files::Resolver;
use crate::outcome::{CancelReason, Outcome, TargetFacts, TargetOutcome};
use crate::plan::{self, Plan, PlannedTarget, TargetGraph};
use crate::types::{Clock, Environment, TargetName};

use crate::engine::session::ssh::SshAgents;
use locate::TargetPlaces;
use policies::{RemoteContexts, TargetPolicies};
use secrets::{SecretPlaces, SecretSources};
use spread::TargetPart;

pub(crate) use bake::bake;
pub(crate) use fetch::{FetchOrder, FetchedDefinition, fetch, tree as fetched_tree};
pub(crate) use gates::{GateWishes, SavedFiles, check as check_gates};
pub(crate) use lower::leaves_out;
pub(crate) use provenance::ProvenanceDetail;
pub(crate) use publishing::{PublishWishes, current_commit, history, refusals};
pub(crate) use scheduler::{Stop, tell_of_stop};

/// A plan whose directories, Dockerfiles and secrets have been found.
#[derive(Debug)]
pub(crate) struct Prepared {
    targets: Vec<Ready>,
    graph: TargetGraph,
    paths: Resolver,
    /// The places on this machine to which the run writes its outputs and caches.
    written: Arc<[PathBuf]>,
    source_policy: Option<SourcePolicy>,
}

/// One target of a [`Prepared`] plan.
#[derive(Debug, Clone)]
struct Ready {
    planned: PlannedTarget,
    places: TargetPlaces,
    secrets: SecretSources,
    ssh: SshAgents,
    policies: TargetPolicies,
    /// Which part of the target this is, if several nodes build it, each for some platforms.
    part: Option<TargetPart>,
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
    let mut contexts = RemoteContexts::default();
    for planned in plan.targets.values() {
        let places = locate::locate(planned, paths);
        let places =
            places.and_then(|places| served::check(places, planned, environment.current_dir()));
        let secrets = secrets::find(&planned.attributes, secret_places).map(|mut secrets| {
            secrets::add_for_context(&mut secrets, planned, environment);
            secrets
        });
        let ssh = ssh::find(planned, environment, paths);
        let policies = match &places {
            Ok(places) => policies::find(planned, places, environment, &mut contexts),
            Err(_) => Ok(TargetPolicies::default()),
        };
        match (places, secrets, ssh, policies) {
            (Ok(places), Ok(secrets), Ok(ssh), Ok(policies)) => targets.push(Ready {
                planned: planned.clone(),
                places,
                secrets,
                ssh,
                policies,
                part: None,
            }),
            (places, secrets, ssh, policies) => {
                let found = [places.err(), secrets.err(), ssh.err(), policies.err()];
                let found = found.into_iter().flatten();
                found.for_each(|found| problems.add_new(found));
            }
        }
    }
    let source_policy = source_policy::read(environment);
    let source_policy = source_policy.unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    let written = plan::written_places(plan, paths).into_iter();
    problems.into_result(Prepared {
        targets,
        graph: plan.graph.clone(),
        written: written.map(|place| place.path).collect(),
        paths: paths.clone(),
        source_policy,
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
    problems.0.append(&mut locate::check_images(plan).0);
    problems.0.append(&mut secrets::check(plan, environment).0);
    problems
        .0
        .append(&mut lower::check_github(plan, environment).0);
    problems
}

/// How the targets of a run are built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BuildWishes {
    /// The most targets that are solved at once. `None` if there is no limit.
    pub(crate) jobs: Option<NonZeroU32>,
    /// What happens when a target fails.
    pub(crate) after_failure: AfterFailure,
    /// Whether the contents of the files of contexts decide if the builder asks for them.
    pub(crate) verifies_context: bool,
    /// Whether the user wants to know which node builds each target, and why.
    pub(crate) explains_placement: bool,
}

/// What happens to the other targets when one fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum AfterFailure {
    /// All are stopped.
    #[default]
    StopAll,
    /// Only those that link to it, directly or indirectly, are stopped.
    KeepGoing,
}

/// What a bake works with, beside the plan.
pub(crate) struct Tools {
    /// The builder, with connections.
    pub(crate) chosen: ChosenBuilder,
    /// Credentials for registries.
    pub(crate) credentials: Arc<Provider>,
    /// The environment variables of the run.
    pub(crate) environment: Environment,
    /// How targets are built.
    pub(crate) build: BuildWishes,
    /// How images are published.
    pub(crate) publish: PublishWishes,
    /// The clock of the run.
    pub(crate) clock: Clock,
    /// What to do with set-id files, devices and security attributes in exported directories.
    pub(crate) export_special: SpecialPolicy,
    /// How much provenance is added to the metadata of targets. `None` if no metadata is written.
    pub(crate) provenance: Option<ProvenanceDetail>,
    /// The targets and groups that the user asked for. Empty means `default`.
    pub(crate) requested: Vec<String>,
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
        tell_of_stop(reason, events);
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
                kept_going: false,
                elapsed,
            },
            facts: Vec::new(),
        }
    }
}

/// Returns text that rbake wrote itself as the content of a file.
fn bytes_of(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
