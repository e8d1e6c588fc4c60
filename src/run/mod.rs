//! From a plan to images: the one module that knows both the plan and the engine.
//!
//! [`prepare`] looks at everything a plan names on this machine, before any builder is asked; [`bake`] opens the sessions, lowers
//! each target to a solve, and lets the scheduler run them.

mod caches;
mod directories;
mod docker;
mod facts;
mod locate;
mod lower;
mod node;
mod outputs;
mod scheduler;
mod secrets;
mod sources;
mod target;
#[cfg(test)]
mod testing;
mod vcs;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::builder::Chosen;
use crate::credential::Provider;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::engine::session::SharedSessions;
use crate::engine::session::secrets::SecretSource;
use crate::engine::spec::VcsFacts;
use crate::engine::{Capabilities, Engine, Traffic};
use crate::event::{EventKind, EventSink};
use crate::outcome::{
    CancelReason, FailureKind, Outcome, SolveFailure, TargetFacts, TargetOutcome,
};
use crate::plan::{Plan, PlannedTarget};
use crate::types::{Environment, TargetName, go};

use directories::Directories;
use docker::DockerEngines;
use locate::Places;
use lower::{CacheSupport, Setting};
use secrets::SecretSources;
use target::TargetRun;

pub use scheduler::Stop;

/// A plan whose directories, Dockerfiles and secrets are where it says.
#[derive(Debug)]
pub struct Prepared {
    targets: Vec<Ready>,
}

/// One target of a [`Prepared`] plan.
#[derive(Debug, Clone)]
struct Ready {
    planned: PlannedTarget,
    places: Places,
    secrets: SecretSources,
}

/// Looks at everything that `plan` names on this machine. All that is missing is reported at once.
pub fn prepare(plan: &Plan, environment: &Environment) -> Result<Prepared, Diagnostics> {
    let mut problems = Diagnostics::default();
    let mut targets = Vec::with_capacity(plan.targets.len());
    for planned in plan.targets.values() {
        let places = locate::locate(planned, environment.current_dir());
        let secrets = secrets::find(&planned.attributes, environment);
        match (places, secrets) {
            (Ok(places), Ok(secrets)) => targets.push(Ready {
                planned: planned.clone(),
                places,
                secrets,
            }),
            (places, secrets) => {
                problems.0.extend(
                    places
                        .err()
                        .into_iter()
                        .chain(secrets.err())
                        .flat_map(|found| found.0),
                );
            }
        }
    }
    if problems.has_errors() {
        Err(problems)
    } else {
        Ok(Prepared { targets })
    }
}

/// How long a stopped run may take to tell the daemon so.
const FAREWELL: Duration = Duration::from_millis(300);

/// What a bake works with.
pub struct Tools {
    /// The builder.
    pub chosen: Chosen,
    /// Credentials for registries.
    pub credentials: Arc<Provider>,
    /// The environment.
    pub environment: Environment,
    /// Where is told what happens.
    pub events: EventSink,
    /// By which the run is asked to stop.
    pub stop: Stop,
}

/// A bake that ran, whatever came of it.
#[derive(Debug)]
pub struct Baked {
    /// How each target ended.
    pub outcome: Outcome,
    /// What is known of the targets that were built.
    pub facts: Vec<TargetFacts>,
    /// The builder's name.
    pub builder: String,
    /// Bytes that went over the connection to the builder.
    pub traffic: Traffic,
}

impl Baked {
    /// A run of `plan` that was stopped before it began.
    pub fn stopped(plan: &Plan, reason: &CancelReason) -> Self {
        let end = Arc::new(TargetOutcome::Cancelled(reason.clone()));
        let targets = plan
            .targets
            .keys()
            .map(|name| (name.clone(), Arc::clone(&end)))
            .collect();
        Self {
            outcome: Outcome {
                targets,
                elapsed: Duration::ZERO,
            },
            facts: Vec::new(),
            builder: String::new(),
            traffic: Traffic::default(),
        }
    }
}

/// Builds all targets of `prepared`.
///
/// # Errors
/// Where the builder cannot do what is asked, before any work; what happens to targets is in the outcome.
pub async fn bake(prepared: Prepared, tools: Tools) -> Result<Baked, Diagnostics> {
    let started = Instant::now();
    let Tools {
        chosen,
        credentials,
        environment,
        events,
        stop,
    } = tools;
    let compress = !chosen.endpoint.is_local();
    events.send(EventKind::RunStarted {
        builder: chosen.name.clone(),
        driver: chosen.driver.name().to_owned(),
        targets: prepared
            .targets
            .iter()
            .map(|ready| ready.planned.name.clone())
            .collect(),
    });
    if let Some(notice) = no_output(&prepared.targets, &chosen, &environment) {
        events.send(EventKind::Notice(notice));
    }
    // The lease keeps the embedded builder up until the last solve has ended.
    let _lease = chosen.lease;
    let engine = Arc::new(Engine::over(chosen.connection));
    let node = node::id(&environment);
    let shared = SharedSessions::new(Arc::clone(engine.connection()), node.clone());
    let directories = Arc::new(Directories::new(shared, events.clone(), compress));

    let docker = DockerEngines::connect(
        &prepared.targets,
        chosen.docker.as_ref(),
        chosen.default_load,
        &environment,
    );
    let facts = futures_util::future::join(
        engine.capabilities(),
        commits(&prepared.targets, &environment),
    );
    let ((capabilities, vcs), docker) = futures_util::future::join(facts, docker).await;
    let capabilities = capabilities.map_err(|failure| unreachable(&failure))?;
    let docker = docker?;
    for notice in vcs.notices() {
        events.send(EventKind::Notice(notice));
    }
    let setting = setting(
        &environment,
        &credentials,
        capabilities,
        docker.traits(),
        node,
    );

    let everyones: Arc<BTreeMap<String, SecretSource>> = Arc::new(
        prepared
            .targets
            .iter()
            .flat_map(|ready| ready.secrets.clone())
            .collect(),
    );
    let halt = CancellationToken::new();
    let readies: HashMap<TargetName, Ready> = prepared
        .targets
        .iter()
        .map(|ready| (ready.planned.name.clone(), ready.clone()))
        .collect();
    let mut work: Vec<(_, scheduler::Work)> = Vec::with_capacity(prepared.targets.len());
    let mut problems = Diagnostics::default();
    for ready in prepared.targets {
        // Lowered once without sessions, so that what is wrong with any target is told before the first begins.
        let facts = vcs.of(&ready.places);
        if let Err(found) = lower::lower(
            &ready.planned,
            &ready.places,
            &BTreeMap::new(),
            facts.clone(),
            &setting,
        ) {
            problems.0.extend(found.0);
            continue;
        }
        let run = TargetRun {
            ready,
            vcs: facts,
            setting: setting.clone(),
            engine: Arc::clone(&engine),
            directories: Arc::clone(&directories),
            docker: docker.clone(),
            credentials: Arc::clone(&credentials),
            everyones_secrets: Arc::clone(&everyones),
            events: events.clone(),
            halt: halt.clone(),
        };
        work.push((run.name(), Box::pin(run.run())));
    }
    if problems.has_errors() {
        return Err(problems);
    }
    let targets = scheduler::run(work, halt, &stop, &events).await;
    if stop.is_requested() {
        // What tells the daemon to stop must have left before the process ends.
        let _ = tokio::time::timeout(FAREWELL, engine.close()).await;
    } else {
        directories.close().await;
    }
    let traffic = engine.traffic();
    let facts = targets
        .iter()
        .filter_map(|(name, end)| match (&**end, readies.get(name)) {
            (TargetOutcome::Succeeded(solved), Some(ready)) => Some(facts::of(ready, solved)),
            _ => None,
        });
    Ok(Baked {
        facts: facts.collect(),
        outcome: Outcome {
            targets,
            elapsed: started.elapsed(),
        },
        builder: chosen.name,
        traffic,
    })
}

// buildx's words in the main: people search for them.
fn no_output(targets: &[Ready], chosen: &Chosen, environment: &Environment) -> Option<Diagnostic> {
    let unwanted = environment
        .get("BUILDX_NO_DEFAULT_LOAD")
        .and_then(go::parse_bool)
        == Some(true);
    if unwanted || chosen.docker.is_some() || chosen.default_load {
        return None;
    }
    let without =
        |ready: &&Ready| ready.planned.attributes.output.is_empty() && !ready.planned.is_linked();
    let names: Vec<&str> = targets
        .iter()
        .filter(without)
        .map(|ready| ready.planned.name.as_str())
        .collect();
    if names.is_empty() {
        return None;
    }
    let driver = chosen.driver.name();
    let message = format!(
        "no output specified for {} target(s) with {driver} driver: the result will only remain in the build cache",
        names.join(", ")
    );
    Some(
        Diagnostic::warning("run::no-output", message)
            .help("to push the result as an image to a registry use `--push`, to load it into Docker use `--load`"),
    )
}

fn setting(
    environment: &Environment,
    credentials: &Provider,
    capabilities: &Capabilities,
    docker: lower::DockerTraits,
    node: String,
) -> Setting {
    let host = environment.non_empty("DOCKER_HOST");
    Setting {
        environment: environment.clone(),
        proxies: credentials.docker_config().proxy_arguments(host),
        // Docker's classic store has no place for what is attached to an image.
        attestations: capabilities.attestations()
            && !(docker.is_builder && !docker.containerd_store),
        docker,
        caches: CacheSupport {
            gha: capabilities.cache_gha(),
        },
        host_gateway: capabilities
            .host_gateway()
            .and_then(|address| address.parse().ok()),
        node,
    }
}

fn unreachable(failure: &SolveFailure) -> Diagnostics {
    let class = if failure.kind == FailureKind::Engine {
        Class::Engine
    } else {
        Class::Build
    };
    let problem = Diagnostic::error(
        class,
        "run::builder",
        format!("the builder does not answer: {}", failure.message),
    );
    failure
        .help
        .iter()
        .fold(problem, |problem, help| problem.help(help.clone()))
        .into()
}

/// What git knows of every directory the targets read.
struct Commits {
    by_dir: HashMap<PathBuf, vcs::Answer>,
}

async fn commits(targets: &[Ready], environment: &Environment) -> Commits {
    let mut dirs: Vec<PathBuf> = targets
        .iter()
        .filter_map(|ready| ready.places.context_dir().map(Path::to_owned))
        .collect();
    dirs.sort();
    dirs.dedup();
    let asked = dirs.into_iter().map(|dir| async {
        let answer = vcs::ask(&dir, environment).await;
        (dir, answer)
    });
    Commits {
        by_dir: futures_util::future::join_all(asked)
            .await
            .into_iter()
            .collect(),
    }
}

impl Commits {
    fn of(&self, places: &Places) -> VcsFacts {
        let Some(vcs::Answer::Known(repository)) =
            places.context_dir().and_then(|dir| self.by_dir.get(dir))
        else {
            return VcsFacts::default();
        };
        let local_dirs = places
            .local_dirs()
            .into_iter()
            .filter_map(|(name, dir)| Some((name, repository.relative(dir)?)))
            .collect();
        VcsFacts {
            source: repository.source.clone(),
            revision: repository.revision.clone(),
            local_dirs,
        }
    }

    fn notices(&self) -> impl Iterator<Item = Diagnostic> {
        self.by_dir.iter().filter_map(|(dir, answer)| match answer {
            vcs::Answer::Failed(reason) => Some(
                Diagnostic::warning(
                    "run::no-commit",
                    "current commit information was not captured by the build",
                )
                .note(format!("git in `{}`: {reason}", dir.display())),
            ),
            vcs::Answer::Known(_) | vcs::Answer::None => None,
        })
    }
}

/// Text of this program's making, as the content of a file.
fn bytes_of(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
