//! The state of all builders, for `rbake builder status`: which one a run would use and why, and why not the
//! others.
//!
//! Starts nothing. Start at [`survey`].

use std::time::Duration;

use super::candidate::{Candidate, Driver, Reach};
use super::discovery::{UNNAMED_LIMIT, driver, find_named, find_unnamed, refused, why};
use super::embedded;
use super::error::{BuilderRefusal, ChooseError, PassedOver};
use super::kubernetes::{Workload, WorkloadStatus};
use super::reach::Reacher;
use crate::diag::Diagnostic;
use crate::engine::docker::{ContainerState, Docker};
use crate::engine::endpoint::Endpoint;
use crate::event::EventSink;
use crate::types::Environment;
use crate::types::causes::in_one_line;
use crate::types::requirements::Requirements;

/// The state of all builders.
#[derive(Debug)]
pub struct Survey {
    /// The builder that a run would use now. `None` if there is an error.
    pub chosen: Option<Surveyed>,
    /// Why a run would find no builder. An embedded builder that is stopped but can be started is not an error.
    pub(crate) error: Option<ChooseError>,
    /// All other builders, in the order in which they are tried.
    pub(crate) others: Vec<PassedOver>,
    /// Warnings about the builder that would be used.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// The state of the builder that would be used.
#[derive(Debug)]
pub struct Surveyed {
    /// Its name.
    pub(crate) name: String,
    /// How it is reached.
    pub(crate) driver: Driver,
    /// Its address. `None` if it has none now, because it does not run.
    pub(crate) endpoint: Option<Endpoint>,
    /// BuildKit's version. `None` if it does not answer or does not report one.
    pub(crate) version: Option<String>,
    /// Why a run would use it, as a fragment.
    pub(crate) why: String,
    /// Its state, as a fragment such as `running, 2 clients`.
    pub state: String,
}

/// Examines all builders, in the order in which [`choose`](super::choose) tries them, and also those after the one
/// that would be used. Starts none.
pub async fn survey(
    requirements: &Requirements,
    flag: Option<&str>,
    environment: &Environment,
) -> Survey {
    let (nodes, trail) = match find_named(flag, environment).await {
        Ok(found) => found,
        Err(error) => {
            return Survey {
                chosen: None,
                error: Some(error),
                others: Vec::new(),
                warnings: Vec::new(),
            };
        }
    };
    let mut survey = Survey {
        chosen: None,
        error: None,
        others: trail
            .into_iter()
            .map(|place| PassedOver {
                what: place.what.to_owned(),
                reason: place.reason,
            })
            .collect(),
        warnings: Vec::new(),
    };
    let events = EventSink::none();
    let reacher = Reacher {
        requirements,
        environment,
        events: &events,
        launcher: None,
    };
    let mut decided = None;
    let mut nodes = nodes.into_iter();
    if let Some(candidate) = nodes.next() {
        let why = format!("named by {}", candidate.from);
        match look(&reacher, &candidate, None).await {
            Ok(looked) => survey.take(&candidate, looked, why),
            Err(refusal) => {
                survey.error = Some(refused(candidate.clone(), refusal).await);
            }
        }
        decided = Some(candidate);
    }
    for node in nodes {
        let reason = match look(&reacher, &node, None).await {
            Ok(looked) => looked.state,
            Err(refusal) => in_one_line(&refusal),
        };
        survey.others.push(PassedOver {
            what: node.to_string(),
            reason,
        });
    }
    let own = Candidate::embedded("rbake");
    let places = find_unnamed(environment).await;
    for place in places.into_iter().chain([Ok(own)]) {
        let candidate = match place {
            // The named builder was reported already. It may appear here again under another name.
            Ok(candidate)
                if decided
                    .as_ref()
                    .is_some_and(|named| named.is_same(&candidate)) =>
            {
                continue;
            }
            Ok(candidate) => candidate,
            Err(place) => {
                survey.others.push(place);
                continue;
            }
        };
        let is_own = candidate.reach == Reach::Embedded;
        match look(&reacher, &candidate, Some(UNNAMED_LIMIT)).await {
            Ok(looked) if survey.chosen.is_none() && decided.is_none() => {
                survey.take(&candidate, looked, why(&candidate));
            }
            Ok(looked) => survey.others.push(PassedOver {
                what: candidate.to_string(),
                reason: format!("{}; usable, but later in the order", looked.state),
            }),
            Err(last) if is_own && survey.chosen.is_none() && decided.is_none() => {
                survey.error = Some(ChooseError::Nothing {
                    passed_over: survey.others.clone(),
                    last: Box::new(last),
                });
            }
            Err(refusal) => survey.others.push(PassedOver {
                what: candidate.to_string(),
                reason: in_one_line(&refusal),
            }),
        }
    }
    survey
}

impl Survey {
    fn take(&mut self, candidate: &Candidate, looked: Looked, why: String) {
        self.warnings = [candidate.warnings.clone(), looked.warnings].concat();
        self.chosen = Some(Surveyed {
            name: candidate.name.clone(),
            driver: match &looked.endpoint {
                Some(endpoint) => driver(candidate, endpoint),
                None => candidate.driver(),
            },
            endpoint: looked.endpoint,
            version: looked.version,
            why,
            state: looked.state,
        });
    }
}

/// What was found out about a builder that can be used.
struct Looked {
    endpoint: Option<Endpoint>,
    version: Option<String>,
    state: String,
    warnings: Vec<Diagnostic>,
}

async fn look(
    reacher: &Reacher<'_>,
    candidate: &Candidate,
    limit: Option<Duration>,
) -> Result<Looked, BuilderRefusal> {
    if matches!(candidate.reach, Reach::Embedded) {
        return look_at_embedded(reacher.environment).await;
    }
    if let Reach::Kubernetes(node) = &candidate.reach {
        let state = match Workload::connect(node).await?.status().await? {
            WorkloadStatus::Absent => Some("not made yet; a run makes it".to_owned()),
            WorkloadStatus::NotReady(None) => {
                Some("no pod is ready; a run waits for them".to_owned())
            }
            WorkloadStatus::NotReady(Some(reason)) => {
                Some(format!("no pod is ready; a run waits for them ({reason})"))
            }
            WorkloadStatus::Running(_) => None,
        };
        if let Some(state) = state {
            return Ok(Looked {
                endpoint: None,
                version: None,
                state,
                warnings: Vec::new(),
            });
        }
    }
    if let Reach::Container {
        container,
        host,
        node,
    } = &candidate.reach
    {
        let docker = Docker::connect(host).await?;
        let state = match docker.container(container).await? {
            ContainerState::Created | ContainerState::Stopped => Some("stopped; a run starts it"),
            ContainerState::Absent if node.is_some() => Some("not made yet; a run makes it"),
            ContainerState::Absent | ContainerState::Paused | ContainerState::Running => None,
        };
        if let Some(state) = state {
            return Ok(Looked {
                endpoint: candidate.endpoint(),
                version: None,
                state: state.to_owned(),
                warnings: Vec::new(),
            });
        }
    }
    let reached = reacher.reach(candidate, limit).await?;
    let state = match &reached.docker {
        Some(docker) => format!(
            "running, Docker {} with {}",
            docker.version,
            if docker.containerd_store {
                "containerd's image store"
            } else {
                "its classic image store"
            }
        ),
        None => "running".to_owned(),
    };
    Ok(Looked {
        endpoint: Some(reached.endpoint),
        version: reached.connection.version().map(str::to_owned),
        state,
        warnings: reached.warnings,
    })
}

async fn look_at_embedded(environment: &Environment) -> Result<Looked, BuilderRefusal> {
    match embedded::status(environment).await? {
        Some(embedded::Reply::Ready(facts)) => Ok(Looked {
            endpoint: Some(Endpoint::Unix(facts.socket.into())),
            version: Some(facts.version),
            state: match (facts.clients, facts.idle_seconds) {
                (0, Some(idle)) => format!("running, unused, stops after {idle} s without a run"),
                (0, None) => "running, unused".to_owned(),
                (1, _) => "running, in use by 1 run".to_owned(),
                (runs, _) => format!("running, in use by {runs} runs"),
            },
            warnings: Vec::new(),
        }),
        Some(_) => Ok(Looked {
            endpoint: None,
            version: None,
            state: "starting or stopping".to_owned(),
            warnings: Vec::new(),
        }),
        None => {
            let places =
                embedded::EmbeddedPlaces::of(environment).map_err(embedded::EmbeddedError::from)?;
            let recipe = embedded::Recipe::of(environment, &places)
                .map_err(embedded::EmbeddedError::from)?;
            Ok(Looked {
                endpoint: None,
                version: embedded::version_of(&recipe.programs.buildkitd).await.ok(),
                state: "not running; a run starts it".to_owned(),
                warnings: Vec::new(),
            })
        }
    }
}
