//! The builder for a run: the first that can do what is asked, in a fixed order.
//!
//! What the user named comes first and alone: it is used or is an error. Then the Docker Engine and a buildkitd at their
//! default sockets, and the embedded builder; of these, one that does not answer or lacks something is passed over.
//! Start at [`choose`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::advice::SearchedPlace;
use super::candidate::{Candidate, Driver, Offers, Reach, Settings};
use super::docker_context::DockerContexts;
use super::embedded::{Launcher, Lease};
use super::error::{BuilderRefusal, ChooseError, PassedOver};
use super::named::{Unnamed, named};
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

/// How long a builder that nobody named may take to answer.
pub(super) const UNNAMED_LIMIT: Duration = Duration::from_secs(5);

/// The builder of a run.
#[derive(Debug)]
pub struct Chosen {
    /// Its name.
    pub name: String,
    /// How it is reached.
    pub driver: Driver,
    /// Its address.
    pub endpoint: Endpoint,
    /// An open connection with it.
    pub connection: Connection,
    /// Why it was taken, as a fragment.
    pub why: String,
    /// The Docker Engine that it is part of, for the driver `docker`.
    pub docker: Option<EngineFacts>,
    /// What it can do.
    pub offers: Offers,
    /// Whether targets without an output are loaded into Docker.
    pub default_load: bool,
    /// What the user should know about it.
    pub(crate) warnings: Vec<Diagnostic>,
    /// Keeps the embedded builder running; to be kept for as long as the builder is used.
    pub(crate) lease: Option<Lease>,
}

/// Chooses the builder for a run and connects with it; starts a stopped container, or the embedded builder.
///
/// `flag` is the value of `--builder`. What takes time is told to `events`.
pub async fn choose(
    requirements: &Requirements,
    flag: Option<&str>,
    environment: &Environment,
    launcher: &Launcher,
    events: &EventSink,
) -> Result<Chosen, ChooseError> {
    let (candidate, trail) = find_named(flag, environment).await?;
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
    if let Some(candidate) = candidate {
        let why = format!("named by {}", candidate.from);
        return match reacher.reach(&candidate, None).await {
            Ok(reached) => Ok(chosen(&candidate, reached, why)),
            Err(refusal) => Err(refused(candidate, refusal).await),
        };
    }
    for place in find_unnamed(environment).await {
        let candidate = match place {
            Ok(candidate) => candidate,
            Err(place) => {
                passed_over.push(place);
                continue;
            }
        };
        match reacher.reach(&candidate, Some(UNNAMED_LIMIT)).await {
            Ok(reached) => {
                let why = why(&candidate);
                return Ok(chosen(&candidate, reached, why));
            }
            Err(refusal) => passed_over.push(PassedOver {
                what: candidate.to_string(),
                reason: in_one_line(&refusal),
            }),
        }
    }
    let candidate = Candidate::embedded("rbake");
    match reacher.reach(&candidate, None).await {
        Ok(reached) => {
            let why = why(&candidate);
            Ok(chosen(&candidate, reached, why))
        }
        Err(last) => Err(ChooseError::Nothing {
            passed_over,
            last: Box::new(last),
        }),
    }
}

/// What [`named`] finds, which reads buildx's and Docker's files.
pub(super) async fn find_named(
    flag: Option<&str>,
    environment: &Environment,
) -> Result<(Option<Candidate>, Vec<Unnamed>), ChooseError> {
    let (flag, environment) = (flag.map(str::to_owned), environment.clone());
    unblock(move || named(flag.as_deref(), &environment)).await
}

/// What [`unnamed`] finds.
pub(super) async fn find_unnamed(environment: &Environment) -> Vec<Result<Candidate, PassedOver>> {
    let environment = environment.clone();
    unblock(move || unnamed(&environment)).await
}

pub(super) fn why(candidate: &Candidate) -> String {
    match candidate.reach {
        Reach::Embedded => "no builder was named, and no other can do it".to_owned(),
        _ => format!("no builder was named; found by {}", candidate.from),
    }
}

// What a candidate turned out to be.
pub(super) fn driver(candidate: &Candidate, endpoint: &Endpoint) -> Driver {
    match endpoint {
        Endpoint::Docker(_) => Driver::Docker,
        _ => candidate.driver(),
    }
}

fn chosen(candidate: &Candidate, reached: Reached, why: String) -> Chosen {
    Chosen {
        name: candidate.name.clone(),
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

/// Why the run ends where `candidate`, which was named, does not do.
pub(super) async fn refused(candidate: Candidate, refusal: BuilderRefusal) -> ChooseError {
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

// The builders that may do when none was named, before rbake's own, in order; a place that leads to none says why.
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
            from: "its default socket".to_owned(),
            reach: Reach::Remote(endpoint),
            default_load: false,
            settings: Settings::Default,
            warnings: Vec::new(),
        }));
    }
    all
}

// Where buildkitd listens if it is not told otherwise, as root and without (moby/buildkit util/appdefaults).
fn default_sockets(environment: &Environment) -> Vec<PathBuf> {
    let mut sockets = vec![PathBuf::from("/run/buildkit/buildkitd.sock")];
    // `sudo` may leave another user's in the environment, whose buildkitd is not for our credentials.
    if let Some(dir) = environment.non_empty("XDG_RUNTIME_DIR")
        && trust::is_own_folder(Path::new(dir))
    {
        sockets.push(Path::new(dir).join("buildkit/buildkitd.sock"));
    }
    sockets
}
