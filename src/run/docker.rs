//! The Docker Engines that images are loaded into.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Ready;
use super::lower::DockerTraits;
use crate::builder::DockerContexts;
use crate::definition::model::Sink;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::engine::docker::{Docker, EngineFacts};
use crate::types::Environment;
use crate::types::blocking::unblock;

/// The engines a run loads into, by the name of their Docker context; none for the current one.
#[derive(Debug, Clone, Default)]
pub(super) struct DockerEngines {
    engines: Arc<BTreeMap<Option<String>, (Docker, EngineFacts)>>,
    traits: DockerTraits,
}

impl DockerEngines {
    /// Connects to every engine that an output of `targets` needs; `builder` are the facts of the engine that builds, where one does.
    pub(super) async fn connect(
        targets: &[Ready],
        builder: Option<&EngineFacts>,
        default_load: bool,
        environment: &Environment,
    ) -> Result<Self, Diagnostics> {
        let mut traits = DockerTraits {
            is_builder: builder.is_some(),
            containerd_store: builder.is_some_and(|facts| facts.containerd_store),
            default_load,
        };
        let mut engines = BTreeMap::new();
        for ready in targets {
            let loads_by_default = default_load && ready.planned.attributes.output.is_empty();
            let named = ready
                .planned
                .attributes
                .output
                .iter()
                .filter(|output| output.value.sink() == Sink::Docker);
            let wanted = named.map(|output| output.value.attr("context").map(str::to_owned));
            for context in wanted.chain(loads_by_default.then_some(None)) {
                // A Docker Engine that builds keeps what it built; there is nothing to load.
                if traits.is_builder || engines.contains_key(&context) {
                    continue;
                }
                let (docker, facts) = connect(context.as_deref(), environment).await.map_err(|message| {
                    Diagnostics::from(
                        Diagnostic::error(Class::Engine, "run::docker", message)
                            .note(format!("target `{}` is to be loaded into Docker", ready.planned.name))
                            .help("start Docker, name it in DOCKER_HOST or a Docker context, or write an archive: `type=docker,dest=FILE`"),
                    )
                })?;
                traits.containerd_store = facts.containerd_store;
                engines.insert(context, (docker, facts));
            }
        }
        Ok(Self {
            engines: Arc::new(engines),
            traits,
        })
    }

    /// What lowering must know of them.
    pub(super) const fn traits(&self) -> DockerTraits {
        self.traits
    }

    /// The engine of a Docker context; none for the current one.
    pub(super) fn get(&self, context: Option<&str>) -> Option<&Docker> {
        self.engines
            .get(&context.map(str::to_owned))
            .map(|(docker, _)| docker)
    }
}

async fn connect(
    context: Option<&str>,
    environment: &Environment,
) -> Result<(Docker, EngineFacts), String> {
    let (environment, context) = (environment.clone(), context.map(str::to_owned));
    let find = move || {
        let contexts = DockerContexts::new(&environment);
        match context {
            Some(name) => contexts.context(&name),
            None => contexts.current(),
        }
    };
    let found = unblock(find)
        .await
        .map_err(|error| crate::builder::in_one_line(&error))?;
    let docker = Docker::connect(&found.host)
        .await
        .map_err(|error| crate::builder::in_one_line(&error))?;
    let facts = docker
        .facts()
        .await
        .map_err(|error| crate::builder::in_one_line(&error))?;
    Ok((docker, facts))
}
