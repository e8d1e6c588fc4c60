//! Finds the builder for a run: the first one, in a fixed order, that can do what the plan needs.
//!
//! If the user named a builder, only that one is tried, and it is an error if it cannot be used. Otherwise rbake
//! tries the Docker Engine and a buildkitd at their default sockets, and then the embedded builder. One of these
//! that does not answer or lacks an ability is passed over. Start at [`choose`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::advice::SearchedPlace;
use super::candidate::{Candidate, Driver, Offers, Reach, Settings};
use super::docker_context::DockerContexts;
use super::embedded::{Launcher, Lease};
use super::error::{BuilderRefusal, ChooseError, PassedOver};
use super::named::{Unnamed, named};
use super::nodes::{self, ChosenBuilder};
use super::reach::{Reached, Reacher};
use super::trust;
use crate::diag::Diagnostic;
use crate::engine::answer::{LIMIT, LIMIT_AFTER_SILENCE, identify};
use crate::engine::docker::{DockerError, EngineFacts};
use crate::engine::endpoint::Endpoint;
use crate::engine::{Connection, ConnectionError};
use crate::event::EventSink;
use crate::types::Environment;
use crate::types::blocking::unblock;
use crate::types::causes::in_one_line;
use crate::types::requirements::Requirements;
use crate::types::secret::redact_urls;

/// The time a builder that the user did not name has to answer. Short, because other builders can be tried.
pub(super) const UNNAMED_LIMIT: Duration = Duration::from_secs(5);

/// A node of the builder for a run, connected and ready. Most builders have one.
#[derive(Debug)]
pub struct Chosen {
    /// The name of the builder.
    pub name: String,
    /// The node's name in buildx. `None` if buildx does not know this builder.
    pub(crate) node: Option<String>,
    /// Its position among the nodes of the builder.
    pub(crate) position: usize,
    /// The driver through which it is reached.
    pub driver: Driver,
    /// Its address.
    pub endpoint: Endpoint,
    /// An open connection to it.
    pub connection: Connection,
    /// Why it was chosen, as a fragment for messages.
    pub why: String,
    /// Facts about the Docker Engine that it belongs to. Set only for the driver `docker`.
    pub docker: Option<EngineFacts>,
    /// What it can do.
    pub offers: Offers,
    /// Whether targets without an output are loaded into Docker's images.
    pub default_load: bool,
    /// Warnings about this builder and its settings.
    pub(crate) warnings: Vec<Diagnostic>,
    /// Keeps the embedded builder running. Hold it as long as the builder is used; `None` for other builders.
    pub(crate) lease: Option<Lease>,
}

/// Chooses the builder for a run and connects to it. Starts a stopped container, or the embedded builder, if
/// needed.
///
/// `flag` is the value of `--builder`. Steps that take long are reported to `events`.
pub async fn choose(
    requirements: &Requirements,
    flag: Option<&str>,
    environment: &Environment,
    launcher: &Launcher,
    events: &EventSink,
) -> Result<ChosenBuilder, ChooseError> {
    let (nodes, trail) = find_named(flag, environment).await?;
    let mut passed_over: Vec<PassedOver> = trail
        .into_iter()
        .map(|place| PassedOver {
            what: place.what.to_owned(),
            reason: place.reason,
        })
        .collect();
    let reacher = Reacher {
        requirements,
        environment,
        events,
        launcher: Some(launcher),
    };
    for place in &passed_over {
        log_passed_over(place);
    }
    if !nodes.is_empty() {
        return nodes::reach_named(&reacher, nodes).await;
    }
    for place in find_unnamed(environment).await {
        let candidate = match place {
            Ok(candidate) => candidate,
            Err(place) => {
                log_passed_over(&place);
                passed_over.push(place);
                continue;
            }
        };
        match reacher.reach(&candidate, Some(UNNAMED_LIMIT)).await {
            Ok(reached) => {
                let why = why(&candidate);
                return Ok(chosen(&candidate, reached, why).into());
            }
            Err(refusal) => {
                let place = PassedOver {
                    what: candidate.to_string(),
                    reason: in_one_line(&refusal),
                };
                log_passed_over(&place);
                passed_over.push(place);
            }
        }
    }
    let candidate = Candidate::embedded("rbake");
    match reacher.reach(&candidate, None).await {
        Ok(reached) => {
            let why = why(&candidate);
            Ok(chosen(&candidate, reached, why).into())
        }
        Err(last) => Err(ChooseError::Nothing {
            passed_over,
            last: Box::new(last),
        }),
    }
}

fn log_passed_over(place: &PassedOver) {
    tracing::debug!(
        what = %redact_urls(&place.what),
        reason = %redact_urls(&place.reason),
        "builder passed over"
    );
}

/// Runs [`named`] on a thread for blocking calls, because it reads files of buildx and Docker.
pub(super) async fn find_named(
    flag: Option<&str>,
    environment: &Environment,
) -> Result<(Vec<Candidate>, Vec<Unnamed>), ChooseError> {
    let (flag, environment) = (flag.map(str::to_owned), environment.clone());
    unblock(move || named(flag.as_deref(), &environment)).await
}

/// Runs [`unnamed`] on a thread for blocking calls.
pub(super) async fn find_unnamed(environment: &Environment) -> Vec<Result<Candidate, PassedOver>> {
    let environment = environment.clone();
    unblock(move || unnamed(&environment)).await
}

/// Why this candidate was chosen, if the user named no builder.
pub(super) fn why(candidate: &Candidate) -> String {
    match candidate.reach {
        Reach::Embedded => "no builder was named, and no other one is usable".to_owned(),
        _ => format!("no builder was named; found through {}", candidate.from),
    }
}

/// The driver, once the builder was reached: a candidate for another driver may have been a Docker Engine.
pub(super) fn driver(candidate: &Candidate, endpoint: &Endpoint) -> Driver {
    match endpoint {
        Endpoint::Docker(_) => Driver::Docker,
        _ => candidate.driver(),
    }
}

pub(super) fn chosen(candidate: &Candidate, reached: Reached, why: String) -> Chosen {
    tracing::info!(
        name = %redact_urls(&candidate.name),
        driver = %driver(candidate, &reached.endpoint),
        endpoint = %reached.endpoint,
        why,
        "builder chosen"
    );
    Chosen {
        name: candidate.name.clone(),
        node: candidate.node.clone(),
        position: 0,
        driver: driver(candidate, &reached.endpoint),
        endpoint: reached.endpoint,
        connection: reached.connection,
        why,
        docker: reached.docker,
        offers: reached.offers,
        default_load: candidate.default_load,
        warnings: [candidate.warnings.clone(), reached.warnings].concat(),
        lease: reached.lease,
    }
}

/// The error that ends the run if `candidate`, which the user named, cannot be used. Tries to find out what else
/// listens at its address.
pub(super) async fn refused(candidate: Candidate, refusal: BuilderRefusal) -> ChooseError {
    tracing::warn!(
        name = %redact_urls(&candidate.name),
        reason = %redact_urls(&in_one_line(&refusal)),
        "builder refused"
    );
    let limit = match &refusal {
        BuilderRefusal::Connection(ConnectionError::Timeout { .. })
        | BuilderRefusal::Docker(DockerError::Timeout { .. }) => Some(LIMIT_AFTER_SILENCE),
        BuilderRefusal::Connection(error) if error.is_about_protocol() => Some(LIMIT),
        BuilderRefusal::Docker(error) if error.is_about_protocol() => Some(LIMIT),
        _ => None,
    };
    let answer = match (candidate.endpoint(), limit) {
        (Some(endpoint), Some(limit)) => identify(&endpoint, limit).await,
        _ => None,
    };
    ChooseError::Named {
        builder: candidate.to_string(),
        place: Box::new(SearchedPlace {
            endpoint: candidate.endpoint(),
            settings: candidate.settings,
            answer,
        }),
        from: candidate.from,
        refusal: Box::new(refusal),
    }
}

/// The builders to try, in order, if the user named none, without rbake's own. An `Err` says why a place has no
/// builder.
fn unnamed(environment: &Environment) -> Vec<Result<Candidate, PassedOver>> {
    let mut all = Vec::new();
    all.push(match DockerContexts::new(environment).current() {
        Ok(context) => {
            let from = context.from.clone();
            Ok(Candidate::docker(context, from, Vec::new()))
        }
        Err(error) => Err(PassedOver {
            what: "the Docker Engine".to_owned(),
            reason: in_one_line(&error),
        }),
    });
    for socket in default_sockets(environment) {
        let endpoint = Endpoint::Unix(socket);
        all.push(Ok(Candidate {
            name: endpoint.to_string(),
            node: None,
            platforms: Vec::new(),
            is_one_of_several: false,
            from: "its default socket".to_owned(),
            reach: Reach::Remote(endpoint),
            default_load: false,
            settings: Settings::Default,
            warnings: Vec::new(),
        }));
    }
    all
}

/// The default sockets of buildkitd, for root and for other users (moby/buildkit util/appdefaults).
pub(super) fn default_sockets(environment: &Environment) -> Vec<PathBuf> {
    let mut sockets = vec![PathBuf::from("/run/buildkit/buildkitd.sock")];
    // `sudo` can leave the variable of another user in the environment. That user's buildkitd must not get our
    // credentials.
    if let Some(dir) = environment.non_empty("XDG_RUNTIME_DIR")
        && trust::is_own_folder(Path::new(dir))
    {
        sockets.push(Path::new(dir).join("buildkit/buildkitd.sock"));
    }
    sockets
}
