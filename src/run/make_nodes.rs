//! Makes the nodes of a run: asks each daemon what it can do, and prepares the directories, links and Docker Engines of its targets.
//!
//! Start at [`nodes()`].

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use super::aws_keys::AwsKeys;
use super::cache_imports::CacheImports;
use super::commits::{Commits, commits};
use super::directories::Directories;
use super::docker::{BuildingEngine, DockerEngines};
use super::links::TargetLinks;
use super::local_state::KnownNode;
use super::lower::{self, CacheSupport, Setting};
use super::nodes::{BuildNode, BuildNodes};
use super::placed::Placement;
use super::provenance::ProvenanceDetail;
use super::publishing::{self, PublishWishes, PublishedCommit, Publishing};
use super::ran_steps::RanSteps;
use super::shared_context::SharedContext;
use super::slots::Slots;
use super::uploads::{BlobPlaces, Uploader};
use super::{BuildWishes, Prepared, Ready, dockerfile_urls, node};
use crate::builder::{Chosen, ChosenBuilder, DockerContexts, Notice};
use crate::context::SentRecords;
use crate::credential::Provider;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::engine::session::SharedSessions;
use crate::engine::session::export::SpecialPolicy;
use crate::engine::session::filesync::TransferRules;
use crate::engine::{Capabilities, Engine};
use crate::event::EventSink;
use crate::files::Resolver;
use crate::outcome::{FailureKind, SolveFailure};
use crate::registry::Registries;
use crate::types::blocking::unblock;
use crate::types::{Clock, Environment};

/// What the targets share and the caller has.
pub(super) struct SharedParts<'a> {
    pub(super) credentials: Arc<Provider>,
    pub(super) registries: Registries,
    pub(super) export_special: SpecialPolicy,
    pub(super) provenance: Option<ProvenanceDetail>,
    pub(super) environment: &'a Environment,
    pub(super) build: BuildWishes,
    pub(super) wishes: &'a PublishWishes,
    pub(super) events: &'a EventSink,
    pub(super) clock: &'a Clock,
}

/// Makes the nodes with what their targets share, and completes `prepared` by Dockerfiles that the builder downloads. The nodes, git and
/// Docker are asked at the same time.
pub(super) async fn nodes(
    prepared: &mut Prepared,
    chosen: ChosenBuilder,
    parts: SharedParts<'_>,
) -> Result<(BuildNodes, SharedCommits, Placement), Diagnostics> {
    let (environment, events) = (parts.environment, parts.events);
    let connection = &chosen.first.connection;
    dockerfile_urls::download(&mut prepared.targets, connection, environment, events).await?;
    let targets = &prepared.targets;
    let placement = Placement::of(&chosen, targets, &prepared.graph, environment).await;
    if parts.build.explains_placement {
        placement.explain(events);
    }
    let node_targets = placement.divide(targets, &prepared.graph)?;
    let machine = {
        let environment = environment.clone();
        unblock(move || node::id(&environment))
    };
    let aws = AwsKeys::of(targets, environment, events);
    let (machine, aws) = futures_util::join!(machine, aws);
    let slots = Slots::new(
        parts.build.jobs,
        &prepared.graph,
        targets.iter().map(|ready| &ready.planned.name),
        events.clone(),
    );
    let run = RunShared {
        slots: Arc::new(slots),
        blobs: Arc::default(),
        publishing: Arc::default(),
        halt: CancellationToken::new(),
        sent: Arc::new(SentRecords::new(environment, &machine, parts.clock.clone())),
        machine,
        aws,
    };
    let ChosenBuilder { first, others, .. } = chosen;
    let mut node_targets = node_targets.into_iter();
    let of_first = node_targets.next().unwrap_or_default();
    let others = others.into_iter().zip(node_targets);
    let others = others.filter(|(_, targets)| !targets.is_empty());
    let prepared = &*prepared;
    let build = |chosen, targets| Box::pin(build_node(prepared, chosen, targets, &parts, &run));
    let others = others.map(|(chosen, targets)| build(chosen, targets));
    let others = futures_util::future::join_all(others);
    let (commits, published, first, others) = futures_util::join!(
        commits(targets, environment, events),
        publishing::commit_of(targets, parts.wishes, environment, events),
        build(first, of_first),
        others
    );
    let others: Result<Vec<BuildNode>, Diagnostics> = others.into_iter().collect();
    let commits = SharedCommits { commits, published };
    Ok((BuildNodes::new(first?, others?), commits, placement))
}

/// What all nodes of a run share.
struct RunShared {
    slots: Arc<Slots>,
    blobs: Arc<BlobPlaces>,
    publishing: Arc<OnceLock<Publishing>>,
    halt: CancellationToken,
    /// The id of this machine.
    machine: String,
    /// What this machine has sent in earlier runs.
    sent: Arc<SentRecords>,
    aws: AwsKeys,
}

/// Makes a node that builds `targets`.
async fn build_node(
    prepared: &Prepared,
    chosen: Chosen,
    targets: Vec<Ready>,
    parts: &SharedParts<'_>,
    run: &RunShared,
) -> Result<BuildNode, Diagnostics> {
    let SharedParts {
        credentials,
        registries,
        export_special,
        provenance,
        environment,
        build,
        wishes,
        events,
        clock,
    } = parts;
    let (node_path, known_node) = node_names(&chosen);
    let compress = !chosen.endpoint.is_local();
    let (driver, builder) = (chosen.driver, BuildingEngine::of(&chosen));
    let engine = Arc::new(Engine::over(chosen.connection));
    let sessions = SharedSessions::new(Arc::clone(engine.connection()), run.machine.clone());
    let docker =
        DockerEngines::connect(&targets, builder, chosen.default_load, environment, events);
    let capabilities = async {
        let notice = Notice::begin(events, "capabilities", "ask the builder what it can do");
        let capabilities = engine.capabilities().await;
        notice.end(None);
        capabilities
    };
    let (capabilities, docker) = futures_util::join!(capabilities, docker);
    let capabilities = capabilities.map_err(|failure| unreachable(&failure))?;
    let docker = docker?;
    let base = prepared.paths.base();
    let rules = TransferRules {
        compress,
        sent: Some(Arc::clone(&run.sent)),
        verifies: build.verifies_context,
    };
    let mut directories = Directories::new(sessions, (*events).clone(), rules, base).await;
    let names = targets.iter().map(|ready| ready.planned.name.clone());
    let graph = prepared.graph.of_targets(&names.collect());
    directories.expect(&targets, &graph).await;
    let shared = SharedContext {
        node_path,
        known_node,
        setting: Setting {
            source_policy: prepared.source_policy.clone(),
            written: Arc::clone(&prepared.written),
            ..setting(
                environment,
                prepared.paths.clone(),
                credentials,
                capabilities,
                docker.traits().clone(),
                run,
                chosen.position,
            )
        },
        directories,
        links: Arc::new(TargetLinks::new(graph, &targets).on_node(chosen.position)),
        after_failure: build.after_failure,
        slots: Arc::clone(&run.slots),
        engine: Arc::clone(&engine),
        driver,
        docker,
        credentials: Arc::clone(credentials),
        export_special: *export_special,
        provenance: *provenance,
        events: (*events).clone(),
        imports: CacheImports::default(),
        steps: RanSteps::default(),
        registries: registries.clone(),
        uploader: Uploader::of(engine.endpoint(), wishes.settings.upload),
        blobs: Arc::clone(&run.blobs),
        clock: (*clock).clone(),
        publishing: Arc::clone(&run.publishing),
        halt: run.halt.clone(),
    };
    Ok(BuildNode {
        shared: Arc::new(shared),
        targets,
        lease: chosen.lease,
    })
}

/// The commits that a run needs to know.
pub(super) struct SharedCommits {
    /// Those of the contexts, for provenance.
    pub(super) commits: Commits,
    /// The one that is published.
    pub(super) published: PublishedCommit,
}

/// The beginning of build references, and the node if buildx knows it.
fn node_names(chosen: &Chosen) -> (String, Option<KnownNode>) {
    let builder = &chosen.name;
    match &chosen.node {
        Some(node) => {
            let known = KnownNode {
                builder: builder.clone(),
                node: node.clone(),
            };
            (format!("{builder}/{node}"), Some(known))
        }
        // The only node of such a builder is named as buildx would name it.
        None => (format!("{builder}/{builder}0"), None),
    }
}

fn setting(
    environment: &Environment,
    paths: Resolver,
    credentials: &Provider,
    capabilities: &Capabilities,
    docker: lower::DockerTraits,
    run: &RunShared,
    node_position: usize,
) -> Setting {
    let host = DockerContexts::new(environment).daemon_host();
    Setting {
        environment: environment.clone(),
        paths,
        proxies: credentials.docker_config().proxy_arguments(&host),
        // Docker's classic image store cannot hold attestations.
        attestations: capabilities.attestations()
            && docker.builder != Some(lower::ImageStore::Classic),
        daemon: lower::DaemonTraits::of(capabilities),
        docker,
        caches: CacheSupport {
            gha: capabilities.cache_gha(),
        },
        aws: run.aws.clone(),
        host_gateway: capabilities
            .host_gateway()
            .and_then(|address| address.parse().ok()),
        source_policy: None,
        written: Arc::default(),
        node: run.machine.clone(),
        node_position,
    }
}

/// Makes the error for a builder that did not answer.
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
