//! Fakes of registries that nobody may use for tests: each was written from its documentation, and was never compared with the
//! real service. `docs/pruning.md` says so, too.
//!
//! All of them have one repository, `acme/web`. [`exchange`] reads requests and writes answers, [`content`] is the part of the
//! distribution API that all have in common, and each service has a file: how it deletes, and who may do so.

pub(crate) mod content;
pub(crate) mod docker_hub;
pub(crate) mod ecr;
pub(crate) mod exchange;
pub(crate) mod gitlab;
mod login;

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};

use content::FakeRepository;
use exchange::{Answer, Asked};
use serde_json::{Value, json};

use super::project::TestProject;

pub(crate) use login::PASSWORD;

/// A service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServiceKind {
    Ecr,
    Gitlab,
    DockerHub,
}

/// What becomes of a request instead of an answer.
pub(crate) enum Interference {
    /// This answer, and nothing happens.
    Answer(Answer),
    /// No answer, and nothing happens.
    SilenceBefore,
    /// No answer, but it happens.
    SilenceAfter,
}

type Condition = Box<dyn Fn(&Asked) -> bool + Send>;

/// An interference with one request.
struct Planned {
    is_meant: Condition,
    /// How many requests that are meant pass before it.
    skip: usize,
    what: Interference,
    reached: Sender<()>,
}

/// What the service has, and how it behaves.
#[derive(Default)]
pub(crate) struct ServiceState {
    pub(crate) content: FakeRepository,
    /// Whether the login may delete.
    pub(crate) reads_only: bool,
    /// Tags that nobody may delete.
    pub(crate) protected: Vec<String>,
    /// All requests: method and path.
    pub(crate) log: Vec<String>,
    /// The path, the header `Authorization` and the body of all requests.
    pub(crate) credentials: Vec<(String, String, String)>,
    planned: Vec<Planned>,
}

/// A server. It ends with the test's process.
#[derive(Clone)]
pub(crate) struct FakeService {
    pub(crate) kind: ServiceKind,
    address: SocketAddr,
    state: Arc<Mutex<ServiceState>>,
}

impl FakeService {
    pub(crate) fn start(kind: ServiceKind) -> Self {
        let state: Arc<Mutex<ServiceState>> = Arc::default();
        let kept = Arc::clone(&state);
        let address = exchange::serve(move |asked, address| {
            let mut state = kept.lock().unwrap();
            state.log.push(format!("{} {}", asked.method, asked.path));
            let body = String::from_utf8_lossy(&asked.body).into_owned();
            let authorization = asked.header("authorization").to_owned();
            let seen = (asked.path.clone(), authorization, body);
            state.credentials.push(seen);
            let meant = state
                .planned
                .iter()
                .position(|planned| (planned.is_meant)(asked));
            let planned = meant.and_then(|at| match &mut state.planned[at] {
                planned if planned.skip > 0 => {
                    planned.skip -= 1;
                    None
                }
                _ => Some(state.planned.remove(at)),
            });
            let answer = |state: &mut ServiceState| match kind {
                ServiceKind::Ecr => ecr::answer(asked, state),
                ServiceKind::Gitlab => gitlab::answer(asked, state, address),
                ServiceKind::DockerHub => docker_hub::answer(asked, state, address),
            };
            let Some(planned) = planned else {
                return Some(answer(&mut state));
            };
            let _ = planned.reached.send(());
            match planned.what {
                Interference::Answer(answer) => Some(answer),
                Interference::SilenceBefore => None,
                Interference::SilenceAfter => {
                    answer(&mut state);
                    None
                }
            }
        });
        Self {
            kind,
            address,
            state,
        }
    }

    /// Host and port.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// The name of the repository.
    pub(crate) fn repository(&self) -> String {
        format!("{}/acme/web", self.address)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, ServiceState> {
        self.state.lock().unwrap()
    }

    /// Interferes with the first request that `is_meant`, after `skip` others. Returns what tells when it has arrived.
    pub(crate) fn interfere(
        &self,
        skip: usize,
        what: Interference,
        is_meant: impl Fn(&Asked) -> bool + Send + 'static,
    ) -> Receiver<()> {
        let (reached, receiver) = channel();
        self.state().planned.push(Planned {
            is_meant: Box::new(is_meant),
            skip,
            what,
            reached,
        });
        receiver
    }

    /// Whether a request deletes something from the repository.
    pub(crate) fn is_deletion(asked: &Asked) -> bool {
        let is_ecr = asked
            .headers
            .get("x-amz-target")
            .is_some_and(|target| target.ends_with("BatchDeleteImage"));
        asked.method == "DELETE" || is_ecr
    }

    /// A project whose user is logged in.
    pub(crate) fn project(&self) -> TestProject {
        use base64::Engine as _;
        let login = base64::prelude::BASE64_STANDARD.encode(format!("someone:{PASSWORD}"));
        let config = json!({"auths": {self.host(): {"auth": login}}});
        let project = TestProject::new().docker_config(&config.to_string());
        let host = self.host();
        match self.kind {
            // Its answers say which software it is.
            ServiceKind::Gitlab => project,
            ServiceKind::DockerHub => project
                .env("RBAKE_REGISTRY_KINDS", format!("{host}=docker-hub"))
                .env("DOCKER_HUB_API_URL", format!("http://{host}/hub")),
            ServiceKind::Ecr => project
                .env("RBAKE_REGISTRY_KINDS", format!("{host}=ecr"))
                .env("AWS_ENDPOINT_URL_ECR", format!("http://{host}/ecr"))
                .env("AWS_REGION", ecr::REGION)
                .env("AWS_ACCESS_KEY_ID", ecr::ACCESS_KEY)
                .env("AWS_SECRET_ACCESS_KEY", ecr::SECRET_KEY)
                .env("AWS_SESSION_TOKEN", ecr::SESSION_TOKEN),
        }
    }
}

/// An answer of the distribution API that tells an error.
fn refusal(status: u16, code: &str) -> Answer {
    let error: Value = json!({"code": code, "message": format!("{code} was said")});
    Answer::of_json(status, &json!({"errors": [error]}))
}
