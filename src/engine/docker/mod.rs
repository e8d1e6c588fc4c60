//! Calls of a Docker Engine's REST API: its facts, its containers, loading images and pushing them.
//!
//! Only this module uses the client crate. It knows addresses, but not where they come from (see
//! `builder::docker_context`). Every request opens a new connection through [`http`], so that the transports of the
//! engine serve Unix sockets, TCP and TLS alike. Start at [`Docker::connect`].

mod containers;
pub(crate) mod http;
mod pull;
mod push;

pub(crate) use containers::{ContainerLimits, ContainerSpec, Creation, RestartPolicy};

use std::time::Duration;

use ::http::Request;
use bollard::errors::Error as BollardError;
use bollard::models::ContainerStateStatusEnum;
use bollard::query_parameters::{
    ImportImageOptions, InspectContainerOptions, StartContainerOptions,
};
use bollard::{BollardRequest, ClientVersion};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

use super::endpoint::DockerHost;
use super::failure::clean;
use super::transport::DialError;

/// The newest API version that these calls are written for.
const NEWEST_API: (usize, usize) = (1, 53);
/// The oldest API version that has all of these calls: that of Docker 20.10.
const OLDEST_API: (usize, usize) = (1, 41);
/// The most time that the Engine may take to answer the ping.
const GREETING_LIMIT: Duration = Duration::from_secs(10);
/// The same if it is reached with ssh, which gives up a connection after 30 s, as docker wants it.
const SSH_GREETING_LIMIT: Duration = Duration::from_secs(40);
/// The most time that the Engine may take to answer a query.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// The most time that an action may take, except a load.
const CALL_LIMIT: Duration = Duration::from_secs(120);
/// How often the Engine is pinged while it loads an image. It is given up after [`ALIVE_TRIES`] pings in a row
/// without an answer.
const ALIVE_PAUSE: Duration = Duration::from_secs(10);
const ALIVE_TRIES: u32 = 3;
/// The most time for a load. A load lasts as long as the build of the image, which has no limit, so this is only a
/// large number.
const LOAD_LIMIT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Why a call of a Docker Engine failed.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// The stream to the Engine could not be opened.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The Engine did not answer in time.
    #[error("the Docker Engine at `{host}` did not answer within {} s", after.as_secs())]
    Timeout {
        /// The Engine's address.
        host: String,
        /// How long we waited.
        after: Duration,
    },
    /// The Engine did not complete an action in time.
    #[error("the Docker Engine at `{host}` did not {act} in time")]
    Slow {
        /// The action, as a verb phrase.
        act: String,
        /// The Engine's address.
        host: String,
    },
    /// The exchange broke off, or the answer was not HTTP.
    #[error("the exchange with the Docker Engine at `{host}` failed")]
    Http {
        /// The Engine's address.
        host: String,
        /// The error of the HTTP client.
        #[source]
        source: hyper::Error,
    },
    /// The Engine refused the request.
    #[error("the Docker Engine at `{host}` refused: {message}")]
    Refused {
        /// The Engine's address.
        host: String,
        /// The HTTP status.
        status: u16,
        /// The Engine's explanation.
        message: String,
    },
    /// Something other than a Docker Engine answers at this address.
    #[error("the server at `{0}` is not a Docker Engine")]
    NotDocker(String),
    /// The Engine is too old for rbake.
    #[error("the Docker Engine at `{host}` is too old (its API is {version}, rbake needs {}.{})", OLDEST_API.0, OLDEST_API.1)]
    TooOld {
        /// The Engine's address.
        host: String,
        /// The newest API version that the Engine has.
        version: String,
    },
    /// A call failed in another way.
    #[error("the Docker Engine at `{host}` could not {act}")]
    Call {
        /// The action, as a verb phrase.
        act: String,
        /// The Engine's address.
        host: String,
        /// The error of the client crate.
        #[source]
        source: Box<BollardError>,
    },
    /// The Engine did not load an image.
    #[error("the Docker Engine at `{host}` did not load the image: {message}")]
    Load {
        /// The Engine's address.
        host: String,
        /// The Engine's error.
        message: String,
    },
    /// The Engine did not push an image.
    #[error("the Docker Engine at `{host}` did not push `{image}`: {message}")]
    Push {
        /// The Engine's address.
        host: String,
        /// The image's name.
        image: String,
        /// The Engine's error.
        message: String,
    },
    /// The Engine did not pull an image.
    #[error("the Docker Engine at `{host}` did not pull `{image}`: {message}")]
    Pull {
        /// The Engine's address.
        host: String,
        /// The image's name.
        image: String,
        /// The Engine's error.
        message: String,
    },
    /// A name that cannot be part of a request's path.
    #[error("`{0}` cannot be part of a request to the Docker Engine")]
    Path(String),
}

impl DockerError {
    /// Whether the error says that the requested object does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether something answered, but did not behave like a Docker Engine.
    pub(crate) fn is_about_protocol(&self) -> bool {
        match self {
            Self::Dial(error) => matches!(error, DialError::Handshake { .. }),
            Self::Timeout { .. }
            | Self::Http { .. }
            | Self::Refused { .. }
            | Self::NotDocker(_)
            | Self::Call { .. } => true,
            Self::TooOld { .. }
            | Self::Load { .. }
            | Self::Push { .. }
            | Self::Pull { .. }
            | Self::Slow { .. }
            | Self::Path(_) => false,
        }
    }
}

/// A Docker Engine that has answered the ping.
#[derive(Debug, Clone)]
pub struct Docker {
    api: bollard::Docker,
    host: DockerHost,
    /// The first part of all paths: the API version that both sides know.
    prefix: String,
}

/// The facts that a Docker Engine reports about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineFacts {
    /// The Engine's version, such as `28.5.2`.
    pub(crate) version: String,
    /// Whether images are in containerd's store. Only then can the Engine's BuildKit do everything that BuildKit can.
    pub containerd_store: bool,
    /// The operating system of the containers, as Go names it.
    pub(crate) os: String,
}

/// The state of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContainerState {
    /// There is no such container.
    Absent,
    /// The container exists, but was never started.
    Created,
    /// The container was started before, but is not running.
    Stopped,
    /// The container is paused.
    Paused,
    /// The container is running.
    Running,
}

/// The result of loading images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadedImages {
    /// The images as the Engine names them: by reference, or by id if an image has no name.
    pub(crate) images: Vec<String>,
}

impl Docker {
    /// Checks that a Docker Engine answers at `host`, and chooses the newest API version that both sides know.
    pub async fn connect(host: &DockerHost) -> Result<Self, DockerError> {
        let limit = match host {
            DockerHost::Ssh(_) => SSH_GREETING_LIMIT,
            DockerHost::Unix(_) | DockerHost::Tcp { .. } => GREETING_LIMIT,
        };
        let version = match tokio::time::timeout(limit, greet(host)).await {
            Ok(version) => version?,
            Err(_) => {
                return Err(DockerError::Timeout {
                    host: host.to_string(),
                    after: limit,
                });
            }
        };
        let prefix = format!("/v{}.{}", version.0, version.1);
        let version = ClientVersion {
            major_version: version.0,
            minor_version: version.1,
        };
        let (reached, front) = (host.clone(), prefix.clone());
        let transport = move |mut request: BollardRequest| {
            let host = reached.clone();
            // The crate's paths have no version, which would mean the Engine's newest one.
            let path = request
                .uri()
                .path_and_query()
                .map_or("/", |path| path.as_str());
            let versioned = format!("{front}{path}").parse();
            async move {
                if let Ok(uri) = versioned {
                    *request.uri_mut() = uri;
                }
                let sent = http::send(&host, request).await;
                // The crate's error type can carry foreign errors only inside its I/O error; `call` takes them out
                // again.
                sent.map_err(|error| BollardError::from(std::io::Error::other(error)))
            }
        };
        let api = bollard::Docker::connect_with_custom_transport(
            transport,
            Some("http://docker"),
            ANSWER_LIMIT.as_secs(),
            &version,
        )
        .map_err(|source| call("open a connection", host, source))?;
        Ok(Self {
            api,
            host: host.clone(),
            prefix,
        })
    }

    /// The Engine's address.
    pub fn host(&self) -> &DockerHost {
        &self.host
    }

    /// Queries the Engine's facts.
    pub async fn facts(&self) -> Result<EngineFacts, DockerError> {
        let info = self.api.info().await;
        let info = info.map_err(|source| call("report its state", &self.host, source))?;
        // Docker's own clients check this too: `docker info` has this driver type only for containerd's snapshotters.
        let containerd_store = info.driver_status.unwrap_or_default().iter().any(|pair| {
            matches!(pair.as_slice(), [name, value]
                if name == "driver-type" && value == "io.containerd.snapshotter.v1")
        });
        Ok(EngineFacts {
            version: info.server_version.unwrap_or_default(),
            containerd_store,
            os: info.os_type.unwrap_or_default(),
        })
    }

    /// Queries the state of the container `name`.
    pub(crate) async fn container(&self, name: &str) -> Result<ContainerState, DockerError> {
        check_name(name)?;
        let options = None::<InspectContainerOptions>;
        let found = match self.api.inspect_container(name, options).await {
            Ok(found) => found,
            Err(source) => {
                let error = call(
                    format!("inspect the container `{name}`"),
                    &self.host,
                    source,
                );
                return if error.is_not_found() {
                    Ok(ContainerState::Absent)
                } else {
                    Err(error)
                };
            }
        };
        let state = found.state.unwrap_or_default();
        Ok(if state.paused == Some(true) {
            ContainerState::Paused
        } else if state.running == Some(true) {
            ContainerState::Running
        } else if state.status == Some(ContainerStateStatusEnum::CREATED) {
            ContainerState::Created
        } else {
            ContainerState::Stopped
        })
    }

    /// Starts the container `name`. Has no effect if it is already running.
    pub(crate) async fn start_container(&self, name: &str) -> Result<(), DockerError> {
        check_name(name)?;
        let options = None::<StartContainerOptions>;
        let api = self.api.clone().with_timeout(CALL_LIMIT);
        let started = api.start_container(name, options).await;
        started.map_err(|source| call(format!("start the container `{name}`"), &self.host, source))
    }

    /// Prepares to run `command` in the container `name` with all three streams attached. Returns the id of the exec
    /// instance.
    pub(crate) async fn prepare_exec(
        &self,
        name: &str,
        command: &[&str],
    ) -> Result<String, DockerError> {
        check_name(name)?;
        let config = bollard::exec::CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.to_vec()),
            ..Default::default()
        };
        let made = self.api.create_exec(name, config).await;
        let made = made.map_err(|source| {
            call(
                format!("run a command in the container `{name}`"),
                &self.host,
                source,
            )
        })?;
        check_name(&made.id)?;
        Ok(made.id)
    }

    /// Loads the images of a tar stream, as `docker load` does. Calls `says` with each progress text of the Engine.
    ///
    /// The stream is read only as fast as the Engine takes it. Dropping the future aborts the load.
    pub async fn load<S, E>(
        &self,
        tar: S,
        mut says: impl FnMut(&str) + Send,
    ) -> Result<LoadedImages, DockerError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let api = self.api.clone().with_timeout(LOAD_LIMIT);
        let options = ImportImageOptions {
            quiet: true,
            ..ImportImageOptions::default()
        };
        let mut lines = std::pin::pin!(api.import_image_stream(options, tar, None));
        let mut loaded = LoadedImages::default();
        while let Some(line) = lines.next().await {
            let line = line.map_err(|source| match source {
                BollardError::DockerStreamError { error } => DockerError::Load {
                    host: self.host.to_string(),
                    message: clean(&error),
                },
                other => call("load an image", &self.host, other),
            })?;
            for text in [line.stream, line.status].into_iter().flatten() {
                let text = text.trim();
                says(text);
                if let Some(name) = loaded_name(text) {
                    loaded.images.push(name.to_owned());
                }
            }
        }
        Ok(loaded)
    }

    /// Completes when the Engine has not answered several pings in a row.
    ///
    /// While it loads a large image, an Engine may send nothing on that request for minutes, so silence there means
    /// nothing. It still answers other requests.
    pub(crate) async fn falls_silent(&self) -> DockerError {
        let mut tries = 0;
        while tries < ALIVE_TRIES {
            tokio::time::sleep(ALIVE_PAUSE).await;
            match tokio::time::timeout(GREETING_LIMIT, greet(&self.host)).await {
                Ok(Ok(_)) => tries = 0,
                Ok(Err(_)) | Err(_) => tries += 1,
            }
        }
        DockerError::Timeout {
            host: self.host.to_string(),
            after: (ALIVE_PAUSE + GREETING_LIMIT) * ALIVE_TRIES,
        }
    }
}

/// Reads the image's name from a progress text, which `docker load` prints, too. The text has not changed since
/// Docker 1.10.
fn loaded_name(text: &str) -> Option<&str> {
    text.strip_prefix("Loaded image: ")
        .or_else(|| text.strip_prefix("Loaded image ID: "))
}

/// Checks a name that becomes part of a path. Names come from files and from the Engine.
fn check_name(name: &str) -> Result<(), DockerError> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    let starts = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    if starts && name.bytes().all(legal) {
        Ok(())
    } else {
        Err(DockerError::Path(name.to_owned()))
    }
}

/// Pings the Engine and returns the API version to use. The path has no version, so that every Engine understands it;
/// the answer names the newest version that the Engine has.
async fn greet(host: &DockerHost) -> Result<(usize, usize), DockerError> {
    let request = Request::get("/_ping")
        .body(http_body_util::Empty::<Bytes>::new())
        .map_err(|_| DockerError::Path("/_ping".to_owned()))?;
    let response = http::send(host, request).await?;
    if !response.status().is_success() {
        return Err(http::refusal(host, response).await);
    }
    let told = response.headers().get("api-version");
    let Some(told) = told.and_then(|value| value.to_str().ok()) else {
        return Err(DockerError::NotDocker(host.to_string()));
    };
    let version = told
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
        .ok_or_else(|| DockerError::NotDocker(host.to_string()))?;
    if version < OLDEST_API {
        return Err(DockerError::TooOld {
            host: host.to_string(),
            version: told.to_owned(),
        });
    }
    Ok(version.min(NEWEST_API))
}

fn call(act: impl Into<String>, host: &DockerHost, source: BollardError) -> DockerError {
    match source {
        BollardError::DockerResponseServerError {
            status_code,
            message,
        } => DockerError::Refused {
            host: host.to_string(),
            status: status_code,
            message: clean(&message),
        },
        BollardError::RequestTimeoutError => DockerError::Slow {
            act: act.into(),
            host: host.to_string(),
        },
        BollardError::IOError { err } => match err.downcast::<DockerError>() {
            Ok(error) => error,
            Err(err) => DockerError::Call {
                act: act.into(),
                host: host.to_string(),
                source: Box::new(err.into()),
            },
        },
        other => DockerError::Call {
            act: act.into(),
            host: host.to_string(),
            source: Box::new(other),
        },
    }
}

#[cfg(test)]
mod tests;
