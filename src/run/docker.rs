//! The Docker Engines that images are loaded into or pushed from.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Ready;
use super::lower::{self, DockerTraits, ImageStore};
use crate::builder::{Chosen, DockerContexts, Notice};
use crate::definition::model::Sink;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::engine::Endpoint;
use crate::engine::docker::{Docker, DockerError, EngineFacts};
use crate::engine::endpoint::DockerHost;
use crate::event::EventSink;
use crate::types::Environment;
use crate::types::blocking::unblock;
use crate::types::causes::in_one_line;

/// The Docker Engine whose built-in BuildKit is the builder.
#[derive(Debug, Clone)]
pub(super) struct BuildingEngine {
    host: DockerHost,
    store: ImageStore,
}

impl BuildingEngine {
    /// Returns the engine that `chosen` is part of, or `None` if the builder is not part of a Docker Engine.
    pub(super) fn of(chosen: &Chosen) -> Option<Self> {
        match (&chosen.docker, &chosen.endpoint) {
            (Some(facts), Endpoint::Docker(host)) => Some(Self {
                host: host.clone(),
                store: ImageStore::of(facts),
            }),
            _ => None,
        }
    }
}

/// The Docker Engines of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct DockerEngines {
    /// The engines that images are loaded into, by the name of the Docker context. The key is `None` for the
    /// current context.
    engines: Arc<BTreeMap<Option<String>, Docker>>,
    builder: Option<BuildingEngine>,
    traits: DockerTraits,
}

impl DockerEngines {
    /// Connects to every engine that an output of `targets` is loaded into. `builder` is left out, because images
    /// that it built are in it already.
    pub(super) async fn connect(
        targets: &[Ready],
        builder: Option<BuildingEngine>,
        default_load: bool,
        environment: &Environment,
        events: &EventSink,
    ) -> Result<Self, Diagnostics> {
        let mut traits = DockerTraits {
            builder: builder.as_ref().map(|builder| builder.store),
            loads: BTreeMap::new(),
            default_load,
        };
        let mut engines = BTreeMap::new();
        for ready in targets {
            for context in wanted(ready, default_load, environment) {
                if engines.contains_key(&context) {
                    continue;
                }
                let not_there = |message: String| {
                    Diagnostics::from(
                        Diagnostic::error(Class::Engine, "run::docker", message)
                            .note(format!("target `{}` is to be loaded into Docker", ready.planned.name))
                            .help("start Docker, name it in DOCKER_HOST or a Docker context, or write an archive: `type=docker,dest=FILE`"),
                    )
                };
                // A Docker Engine that builds keeps the image itself if no context is named, even if it is not the
                // engine of the current context.
                let host = match (&builder, &context) {
                    (Some(_), None) => continue,
                    _ => find(context.as_deref(), environment)
                        .await
                        .map_err(not_there)?,
                };
                if builder.as_ref().is_some_and(|builder| builder.host == host) {
                    continue;
                }
                let notice =
                    Notice::begin(events, "docker", "wait for Docker, which gets the images");
                let connected = connect(&host).await;
                notice.end(None);
                let (docker, facts) = connected.map_err(not_there)?;
                traits.loads.insert(context.clone(), ImageStore::of(&facts));
                engines.insert(context, docker);
            }
        }
        Ok(Self {
            engines: Arc::new(engines),
            builder,
            traits,
        })
    }

    /// Returns what lowering needs to know about the engines.
    pub(super) const fn traits(&self) -> &DockerTraits {
        &self.traits
    }

    /// Returns the engine of a Docker context, or of the current context for `None`.
    pub(super) fn get(&self, context: Option<&str>) -> Option<&Docker> {
        self.engines.get(&context.map(str::to_owned))
    }

    /// Connects to the engine that builds. `None` if no Docker Engine builds.
    pub(super) async fn builder(&self) -> Option<Result<Docker, DockerError>> {
        let builder = self.builder.as_ref()?;
        Some(Docker::connect(&builder.host).await)
    }
}

/// Returns the Docker contexts that the outputs of a target are loaded into. `None` in the list is the current
/// context.
fn wanted(ready: &Ready, default_load: bool, environment: &Environment) -> Vec<Option<String>> {
    let attributes = &ready.planned.attributes;
    if ready.planned.is_called() {
        return Vec::new();
    }
    if attributes.output.is_empty() {
        let loads = default_load && lower::loads_by_default(environment);
        return loads.then_some(None).into_iter().collect();
    }
    attributes
        .output
        .iter()
        .filter(|output| output.value.sink() == Sink::Docker)
        .map(|output| output.value.attr("context"))
        .map(|context| context.filter(|name| !name.is_empty()).map(str::to_owned))
        .collect()
}

/// Finds the address of a Docker context's engine, or of the current one. The error is a message in one line.
async fn find(context: Option<&str>, environment: &Environment) -> Result<DockerHost, String> {
    let (environment, context) = (environment.clone(), context.map(str::to_owned));
    let find = move || {
        let contexts = DockerContexts::new(&environment);
        match context {
            Some(name) => contexts.context(&name),
            None => contexts.current(),
        }
    };
    unblock(find)
        .await
        .map(|found| found.host)
        .map_err(|error| in_one_line(&error))
}

/// Connects to an engine and asks it for its facts. The error is a message in one line.
async fn connect(host: &DockerHost) -> Result<(Docker, EngineFacts), String> {
    let told = |error: DockerError| in_one_line(&error);
    let docker = Docker::connect(host).await.map_err(told)?;
    let facts = docker.facts().await.map_err(told)?;
    Ok((docker, facts))
}
