//! The state that the targets of a run share.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use super::AfterFailure;
use super::cache_imports::CacheImports;
use super::directories::Directories;
use super::docker::DockerEngines;
use super::links::TargetLinks;
use super::local_state::KnownNode;
use super::lower::{self, Setting};
use super::provenance::ProvenanceDetail;
use super::publishing::Publishing;
use super::ran_steps::RanSteps;
use super::registries;
use super::scheduler::NotBuilt;
use super::slots::Slots;
use super::uploads::{BlobPlaces, Uploader};
use crate::builder::Driver;
use crate::credential::Provider;
use crate::engine::Engine;
use crate::engine::session::export::SpecialPolicy;
use crate::event::EventSink;
use crate::outcome::SolveFailure;
use crate::registry::Registries;
use crate::types::{Clock, TargetName};

/// What the targets share that are built on one node of the builder. Most builders have one node, and then these are all
/// targets of the run; otherwise there is one for each node: see [`super::nodes`].
pub(super) struct SharedContext {
    /// The names of the builder and of the node, as in `builder/node`.
    pub(super) node_path: String,
    /// The node, if buildx knows it.
    pub(super) known_node: Option<KnownNode>,
    pub(super) setting: Setting,
    pub(super) engine: Arc<Engine>,
    /// The kind of builder, for help texts.
    pub(super) driver: Driver,
    pub(super) directories: Directories,
    /// The results that targets take from each other.
    pub(super) links: Arc<TargetLinks>,
    /// What happens to the other targets when one fails.
    pub(super) after_failure: AfterFailure,
    /// How many targets of the run are solved at once.
    pub(super) slots: Arc<Slots>,
    pub(super) docker: DockerEngines,
    pub(super) credentials: Arc<Provider>,
    pub(super) export_special: SpecialPolicy,
    /// How much provenance is added to the metadata of targets. `None` for none.
    pub(super) provenance: Option<ProvenanceDetail>,
    pub(super) events: EventSink,
    pub(super) imports: CacheImports,
    pub(super) steps: RanSteps,
    /// The registries, for requests that rbake makes itself.
    pub(super) registries: Registries,
    /// Who sends contents to registries.
    pub(super) uploader: Uploader,
    /// Which repositories have which blobs.
    pub(super) blobs: Arc<BlobPlaces>,
    /// The time.
    pub(super) clock: Clock,
    /// Publishes the images. Empty if the builder pushes, or nothing is pushed.
    pub(super) publishing: Arc<OnceLock<Publishing>>,
    /// Cancels every target of the run.
    pub(super) halt: CancellationToken,
}

impl SharedContext {
    /// How the target ended that failed as `failure`: it was skipped if the step that failed belongs to a target that it links
    /// to.
    pub(super) async fn failed_or_skipped(
        &self,
        target: &TargetName,
        failure: SolveFailure,
    ) -> NotBuilt {
        match self.links.blamed(target, &failure, self).await {
            Some(because) => NotBuilt::Skipped { because },
            None => self.with_help(failure).into(),
        }
    }

    /// Whether the builder or a Docker Engine sets tags after all targets.
    pub(super) fn has_late_tags(&self) -> bool {
        let publishing = self.publishing.get();
        publishing.is_some_and(Publishing::has_late)
    }

    /// Adds help to a failure if the daemon could not connect to a registry.
    pub(super) fn with_help(&self, mut failure: SolveFailure) -> SolveFailure {
        let docker_pushes = self.setting.docker.builder == Some(lower::ImageStore::Classic);
        let help = registries::help(&failure.message, self.driver, docker_pushes);
        failure.help.extend(help);
        failure
    }
}
