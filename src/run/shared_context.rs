//! The state that all targets of a run share.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use super::cache_imports::CacheImports;
use super::directories::Directories;
use super::docker::DockerEngines;
use super::lower::{self, Setting};
use super::publishing::Publishing;
use super::ran_steps::RanSteps;
use super::registries;
use super::uploads::{BlobPlaces, Uploader};
use crate::builder::Driver;
use crate::credential::Provider;
use crate::engine::Engine;
use crate::engine::session::export::SpecialPolicy;
use crate::event::EventSink;
use crate::outcome::SolveFailure;
use crate::registry::Registries;
use crate::types::Clock;

/// What all targets of a bake share.
pub(super) struct SharedContext {
    pub(super) setting: Setting,
    pub(super) engine: Arc<Engine>,
    /// The kind of builder, for help texts.
    pub(super) driver: Driver,
    pub(super) directories: Directories,
    pub(super) docker: DockerEngines,
    pub(super) credentials: Arc<Provider>,
    pub(super) export_special: SpecialPolicy,
    pub(super) events: EventSink,
    pub(super) imports: CacheImports,
    pub(super) steps: RanSteps,
    /// The registries, for requests that rbake makes itself.
    pub(super) registries: Registries,
    /// Who sends contents to registries.
    pub(super) uploader: Uploader,
    /// Which repositories have which blobs.
    pub(super) blobs: BlobPlaces,
    /// The time.
    pub(super) clock: Clock,
    /// Publishes the images. Empty if the builder pushes, or nothing is pushed.
    pub(super) publishing: OnceLock<Publishing>,
    /// Cancels every target of the run.
    pub(super) halt: CancellationToken,
}

impl SharedContext {
    /// Adds help to a failure if the daemon could not connect to a registry.
    pub(super) fn with_help(&self, mut failure: SolveFailure) -> SolveFailure {
        let docker_pushes = self.setting.docker.builder == Some(lower::ImageStore::Classic);
        let help = registries::help(&failure.message, self.driver, docker_pushes);
        failure.help.extend(help);
        failure
    }
}
