//! The Docker Engine's REST calls: what it is, its containers, loading images into it and pushing them from it.
//!
//! The only place that names the client crate. Knows addresses, not where they come from (`builder::docker_context`).
//! Every request has a connection of its own ([`http`]), which is how sockets, TCP and TLS are all reached by the
//! transports of the engine. Start at [`Docker::connect`].

pub(crate) mod http;
mod push;

use std::time::Duration;

use ::http::Request;
use bollard::errors::Error as BollardError;
use bollard::query_parameters::{
    ImportImageOptions, InspectContainerOptions, StartContainerOptions,
};
use bollard::{BollardRequest, ClientVersion};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

use super::endpoint::DockerHost;
use super::failure::clean;
use super::transport::DialError;

/// The newest version of the API that these calls are written for.
const NEWEST_API: (usize, usize) = (1, 53);
/// The oldest version that has them all: Docker 20.10.
const OLDEST_API: (usize, usize) = (1, 41);
/// How long the Engine may take to say what it is.
const GREETING_LIMIT: Duration = Duration::from_secs(10);
/// How long the Engine may take to say what it knows.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// How long it may take to do something, other than a load.
const CALL_LIMIT: Duration = Duration::from_secs(120);
/// While it loads an image it is asked this often whether it is still there, and given up after so many questions in vain.
const ALIVE_PAUSE: Duration = Duration::from_secs(10);
const ALIVE_TRIES: u32 = 3;
/// How long a load may take: as long as the image takes to build, which nobody knows.
const LOAD_LIMIT: Duration = Duration::from_secs(7 * 24 * 3600);

/// A Docker Engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// There is no stream to it.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// It did not answer in time.
    #[error("the Docker Engine at `{host}` did not answer within {} s", after.as_secs())]
    Timeout {
        /// Its address.
        host: String,
        /// How long was waited.
        after: Duration,
    },
    /// It did not do something in time.
    #[error("the Docker Engine at `{host}` did not {act} in time")]
    Slow {
        /// What it was to do.
        act: String,
        /// Its address.
        host: String,
    },
    /// The exchange broke off, or was no HTTP.
    #[error("the exchange with the Docker Engine at `{host}` failed")]
    Http {
        /// Its address.
        host: String,
        /// What happened.
        #[source]
        source: hyper::Error,
    },
    /// It said no.
    #[error("the Docker Engine at `{host}` refused: {message}")]
    Refused {
        /// Its address.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// Something else answers there.
    #[error("what answers at `{0}` is no Docker Engine")]
    NotDocker(String),
    /// It is older than what rbake can use.
    #[error("the Docker Engine at `{host}` is too old (its API is {version}, needed is {}.{})", OLDEST_API.0, OLDEST_API.1)]
    TooOld {
        /// Its address.
        host: String,
        /// Its version of the API.
        version: String,
    },
    /// A call failed in another way.
    #[error("cannot {act} with the Docker Engine at `{host}`")]
    Call {
        /// What was tried.
        act: String,
        /// Its address.
        host: String,
        /// What happened.
        #[source]
        source: Box<BollardError>,
    },
    /// It did not take an image.
    #[error("the Docker Engine at `{host}` did not load the image: {message}")]
    Load {
        /// Its address.
        host: String,
        /// What it said.
        message: String,
    },
    /// It did not push an image.
    #[error("the Docker Engine at `{host}` did not push `{image}`: {message}")]
    Push {
        /// Its address.
        host: String,
        /// The image's name.
        image: String,
        /// What it said.
        message: String,
    },
    /// A name that cannot be part of a request.
    #[error("`{0}` cannot be asked for")]
    Path(String),
}

impl DockerError {
    /// Whether what was asked for does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether a connection was made, and what answers does not do what a Docker Engine does.
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
            | Self::Slow { .. }
            | Self::Path(_) => false,
        }
    }
}

/// A Docker Engine that answers.
#[derive(Debug, Clone)]
pub struct Docker {
    api: bollard::Docker,
    host: DockerHost,
    // What paths begin with: the version of the API that was agreed on.
    prefix: String,
}

/// What a Docker Engine says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineFacts {
    /// Its version, such as `28.5.2`.
    pub(crate) version: String,
    /// Whether images are in containerd's store, so that its BuildKit can do all that a BuildKit can.
    pub containerd_store: bool,
    /// The operating system of its containers, as Go names it.
    pub(crate) os: String,
}

/// Whether a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContainerState {
    /// There is no such container.
    Absent,
    /// It exists and does not run.
    Stopped,
    /// It is paused.
    Paused,
    /// It runs.
    Running,
}

/// What came of loading images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadedImages {
    /// The images, as the Engine names them: by reference, or by id where they have none.
    pub(crate) images: Vec<String>,
}

impl Docker {
    /// Makes sure that a Docker Engine answers at `host`, and agrees with it on a version of the API.
    pub async fn connect(host: &DockerHost) -> Result<Self, DockerError> {
        let version = match tokio::time::timeout(GREETING_LIMIT, greet(host)).await {
            Ok(version) => version?,
            Err(_) => {
                return Err(DockerError::Timeout {
                    host: host.to_string(),
                    after: GREETING_LIMIT,
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
            // The crate leaves the version out of its paths, by which an Engine means its newest one.
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
                // The crate's error has room for others' errors in its I/O error only.
                sent.map_err(|error| BollardError::from(std::io::Error::other(error)))
            }
        };
        let api = bollard::Docker::connect_with_custom_transport(
            transport,
            Some("http://docker"),
            ANSWER_LIMIT.as_secs(),
            &version,
        )
        .map_err(|source| call("connect", host, source))?;
        Ok(Self {
            api,
            host: host.clone(),
            prefix,
        })
    }

    /// Its address.
    pub fn host(&self) -> &DockerHost {
        &self.host
    }

    /// What it says about itself.
    pub async fn facts(&self) -> Result<EngineFacts, DockerError> {
        let info = self.api.info().await;
        let info = info.map_err(|source| call("ask for its state", &self.host, source))?;
        // As Docker's own clients tell: `docker info` lists the kind of driver for containerd's snapshotters only.
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

    /// Whether the container `name` runs.
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
        } else {
            ContainerState::Stopped
        })
    }

    /// Starts the container `name`; one that runs is left alone.
    pub(crate) async fn start_container(&self, name: &str) -> Result<(), DockerError> {
        check_name(name)?;
        let options = None::<StartContainerOptions>;
        let api = self.api.clone().with_timeout(CALL_LIMIT);
        let started = api.start_container(name, options).await;
        started.map_err(|source| call(format!("start the container `{name}`"), &self.host, source))
    }

    /// Prepares to run `command` in the container `name` with all three streams attached; returns its id.
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

    /// Loads the images of a tar stream, as `docker load` does. `events` is told what the Engine says meanwhile.
    ///
    /// The stream is read as the Engine takes it. Dropping the future breaks the load off.
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

    /// Completes when the Engine has not answered several questions in a row.
    ///
    /// Loading a large image may take it minutes in which it says nothing; meanwhile it answers others.
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

// The Engine's part of what `docker load` prints, unchanged since Docker 1.10.
fn loaded_name(text: &str) -> Option<&str> {
    text.strip_prefix("Loaded image: ")
        .or_else(|| text.strip_prefix("Loaded image ID: "))
}

// Names come from files and from the Engine and become part of a path.
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

// The ping has no version in its path, so that every Engine understands it, and tells the newest one there is.
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
