//! A run's side of the embedded builder: have it running, hold a lease on it, ask it how it stands, stop it.
//!
//! Start at [`ensure_running`].

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::Instant;

use super::super::notice::Notice;
use super::control::{Channel, Facts, Reply, Request};
use super::lock::{FileLock, LockError};
use super::log::Log;
use super::places::{Places, PlacesError};
use super::recipe::{Recipe, RecipeError};
use super::settings::{Idle, InvalidIdle};
use crate::engine::Endpoint;
use crate::event::EventSink;
use crate::types::{Clock, Environment};

/// How long a supervisor may take until it can be talked to; it may have to wait for one that is just stopping.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long all attempts together may take.
const PATIENCE: Duration = Duration::from_secs(200);
const PAUSE: Duration = Duration::from_millis(15);

/// How the supervisor is started.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The program that serves when called as `PROGRAM +builder serve --detached`.
    pub program: PathBuf,
}

/// The embedded builder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// There is no place for its files.
    #[error(transparent)]
    Places(#[from] PlacesError),
    /// It cannot be started as things are.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A setting is wrong.
    #[error(transparent)]
    Idle(#[from] InvalidIdle),
    /// Others were starting it all the time.
    #[error("cannot start the embedded builder, because others are at it")]
    Lock(#[from] LockError),
    /// The supervisor cannot be started.
    #[error("cannot start the embedded builder's supervisor `{}`", program.display())]
    Launch {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It was started and did not come up.
    #[error("the embedded builder did not start: {reason}")]
    Failed {
        /// Why.
        reason: String,
        /// The last lines of its log.
        tail: Vec<String>,
        /// The log file.
        log: PathBuf,
    },
    /// The supervisor does not answer as it should.
    #[error("the embedded builder's supervisor does not answer on `{}`", socket.display())]
    Control {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Keeps the embedded builder running until it is dropped.
#[derive(Debug)]
pub struct Lease {
    _channel: Channel,
}

/// The embedded builder, running.
#[derive(Debug)]
pub struct Running {
    /// Its address.
    pub endpoint: Endpoint,
    /// What it says about itself.
    pub facts: Facts,
    /// To be kept for as long as it is used.
    pub lease: Lease,
    /// Whether it runs with an earlier configuration than it would be started with now, because others use it.
    pub is_outdated: bool,
}

/// Has the embedded builder running, starting it where needed, and takes a lease on it.
///
/// Any number of runs may do this at the same moment: one of them starts it. What takes time is told to `events`.
pub async fn ensure_running(
    environment: &Environment,
    launcher: &Launcher,
    events: &EventSink,
) -> Result<Running, EmbeddedError> {
    let places = Places::of(environment)?;
    // A wrong setting is told even where nothing has to be started.
    Idle::of(environment)?;
    let (fingerprint, mut missing) = match Recipe::of(environment, &places) {
        Ok(recipe) => (recipe.fingerprint, None),
        // What runs already is good enough where a program is out of reach by now.
        Err(error @ RecipeError::Program(_)) => (String::new(), Some(error)),
        Err(error @ RecipeError::Config(_)) => return Err(error.into()),
    };
    let end = Instant::now() + PATIENCE;
    let notice = Notice::begin(events, "embedded-builder", "start the embedded builder");
    loop {
        if let Some(mut channel) = connect(&places).await {
            // A supervisor that hangs says nothing and does not hang up.
            let leased = tokio::time::timeout_at(end, lease(&mut channel, &fingerprint)).await;
            match leased.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(Reply::Ready(facts)) => {
                    notice.end(None);
                    return Ok(Running {
                        endpoint: Endpoint::Unix(PathBuf::from(&facts.socket)),
                        is_outdated: !fingerprint.is_empty() && facts.configuration != fingerprint,
                        facts,
                        lease: Lease { _channel: channel },
                    });
                }
                Ok(Reply::Failed { reason, log: tail }) => {
                    notice.end(Some(&reason));
                    return Err(EmbeddedError::Failed {
                        reason,
                        tail,
                        log: places.log(),
                    });
                }
                // It is stopping, or was killed while we spoke: the next turn starts another one.
                Ok(_) => {}
                Err(error) if is_end(&error) => {}
                Err(source) => {
                    return Err(EmbeddedError::Control {
                        socket: places.control_socket(),
                        source,
                    });
                }
            }
            let _ = tokio::time::timeout_at(end, channel.closed()).await;
        }
        if Instant::now() >= end {
            let log = Log::at(places.log(), Clock::system());
            return Err(EmbeddedError::Failed {
                reason: format!("it came and went for {} seconds", PATIENCE.as_secs()),
                tail: log.tail(0),
                log: places.log(),
            });
        }
        if let Some(error) = missing.take() {
            return Err(error.into());
        }
        launch(environment, &places, launcher).await?;
    }
}

// Starts a supervisor unless somebody else has done so meanwhile.
async fn launch(
    environment: &Environment,
    places: &Places,
    launcher: &Launcher,
) -> Result<(), EmbeddedError> {
    places.create()?;
    let _lock = FileLock::take(&places.start_lock(), START_LIMIT * 2).await?;
    if connect(places).await.is_some() {
        return Ok(());
    }
    let log = Log::at(places.log(), Clock::system());
    let position = log.position();
    let fail = |source| EmbeddedError::Launch {
        program: launcher.program.clone(),
        source,
    };
    let mut child = command(environment, places, launcher, &log)
        .and_then(|mut command| command.spawn())
        .map_err(fail)?;
    let end = Instant::now() + START_LIMIT;
    loop {
        if connect(places).await.is_some() {
            return Ok(());
        }
        let gone = child.try_wait().map_err(fail)?;
        if gone.is_none() && Instant::now() < end {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let reason = match gone {
            Some(status) => format!("its supervisor {}", super::process::how_it_ended(status)),
            None => format!(
                "its supervisor was not ready after {} seconds",
                START_LIMIT.as_secs()
            ),
        };
        return Err(EmbeddedError::Failed {
            reason,
            tail: log.tail(position),
            log: places.log(),
        });
    }
}

fn command(
    environment: &Environment,
    places: &Places,
    launcher: &Launcher,
    log: &Log,
) -> io::Result<tokio::process::Command> {
    let output = log.open()?;
    let mut command = std::process::Command::new(&launcher.program);
    command
        .args(["+builder", "serve", "--detached"])
        .env_clear()
        .envs(environment.iter())
        // In a folder of its own it keeps none of the user's busy; so relative settings must become absolute ones.
        .current_dir(places.dir())
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    if let Some(data) = environment.data_dir() {
        command.env("RBAKE_DATA_DIR", environment.current_dir().join(data));
    }
    for name in [
        "RBAKE_CONFIG_DIR",
        super::config::VARIABLE,
        "BUILDX_CONFIG",
        "DOCKER_CONFIG",
    ] {
        if let Some(value) = environment.non_empty(name) {
            command.env(name, environment.current_dir().join(value));
        }
    }
    Ok(command.into())
}

/// How the embedded builder stands; `None` where it does not run.
pub async fn status(environment: &Environment) -> Result<Option<Reply>, EmbeddedError> {
    let places = Places::of(environment)?;
    let Some(mut channel) = connect(&places).await else {
        return Ok(None);
    };
    ask(&places, &mut channel, &Request::Status).await
}

/// What became of a wish to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It was not running.
    NotRunning,
    /// It has stopped.
    Stopped,
    /// It goes on, because others use it.
    Busy {
        /// How many.
        clients: usize,
    },
}

/// Stops the embedded builder and waits until it has stopped; one that is used only with `force`.
pub async fn stop(environment: &Environment, force: bool) -> Result<Stopped, EmbeddedError> {
    let places = Places::of(environment)?;
    let Some(mut channel) = connect(&places).await else {
        return Ok(Stopped::NotRunning);
    };
    let reply = ask(&places, &mut channel, &Request::Stop { force }).await?;
    if let Some(Reply::Busy { clients }) = reply {
        return Ok(Stopped::Busy { clients });
    }
    channel.closed().await;
    // The supervisor holds its lock to the very end.
    FileLock::take(&places.supervisor_lock(), START_LIMIT).await?;
    Ok(Stopped::Stopped)
}

async fn connect(places: &Places) -> Option<Channel> {
    // Whatever the reason, nobody can be talked to there.
    let stream = UnixStream::connect(places.control_socket()).await.ok()?;
    Some(Channel::new(stream))
}

async fn ask(
    places: &Places,
    channel: &mut Channel,
    request: &Request,
) -> Result<Option<Reply>, EmbeddedError> {
    let exchange = async {
        channel.send(request).await?;
        channel.receive().await
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), exchange)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    match answer {
        Ok(reply) => Ok(reply),
        Err(error) if is_end(&error) => Ok(None),
        Err(source) => Err(EmbeddedError::Control {
            socket: places.control_socket(),
            source,
        }),
    }
}

async fn lease(channel: &mut Channel, fingerprint: &str) -> io::Result<Reply> {
    let request = Request::Lease {
        configuration: fingerprint.to_owned(),
    };
    channel.send(&request).await?;
    loop {
        match channel.receive().await? {
            Some(Reply::Starting) => {}
            Some(reply) => return Ok(reply),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
    )
}
