//! The client of the embedded builder: starts it if needed, holds a lease on it, asks for its status, stops it.
//!
//! Start at [`ensure_running`].

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::Instant;

use super::super::accounts::Accounts;
use super::super::notice::Notice;
use super::super::trust;
use super::control::{ControlChannel, ControlRequest, Facts, Reply};
use super::lock::{LockError, lock};
use super::log::Log;
use super::places::{EmbeddedPlaces, PlacesError};
use super::programs::ProgramError;
use super::recipe::{Recipe, RecipeError};
use super::settings::{Idle, InvalidIdle};
use super::variables;
use crate::engine::Endpoint;
use crate::event::EventSink;
use crate::types::blocking::unblock;
use crate::types::causes::in_one_line;
use crate::types::{Clock, Environment};

/// The time a new supervisor has to listen. It may have to wait for an earlier one that is still stopping.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The time a supervisor has to send its first answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// The time a supervisor that answered "starting" has to become ready: somewhat longer than it gives buildkitd.
const READY_LIMIT: Duration = Duration::from_secs(150);
/// The time a supervisor that answered "stopping" has to end. After a while it kills buildkitd.
const END_LIMIT: Duration = Duration::from_secs(60);
/// The time for all attempts together.
const START_TIMEOUT: Duration = Duration::from_secs(200);
const PAUSE: Duration = Duration::from_millis(15);

/// Which program to start as the supervisor.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The program; it is called as `PROGRAM +builder serve --detached`.
    pub program: PathBuf,
}

/// The embedded builder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No folder for its files can be used.
    #[error(transparent)]
    Places(#[from] PlacesError),
    /// A program is missing, or the configuration cannot be used.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The setting for the idle time is wrong.
    #[error(transparent)]
    Idle(#[from] InvalidIdle),
    /// Other runs held the start lock for too long.
    #[error("cannot start the embedded builder, because other runs are starting it")]
    Lock(#[from] LockError),
    /// The supervisor's process cannot be started.
    #[error("cannot start the embedded builder's supervisor `{}`", program.display())]
    Launch {
        /// The program.
        program: PathBuf,
        /// The underlying error.
        #[source]
        source: io::Error,
    },
    /// buildkitd was started, but did not become ready.
    #[error("the embedded builder did not start: {reason}")]
    Failed {
        /// What happened, as a fragment.
        reason: String,
        /// The last lines of its log.
        tail: Vec<String>,
        /// The log file.
        log: PathBuf,
    },
    /// The supervisor does not answer, or its answer makes no sense.
    #[error("the embedded builder's supervisor does not answer on `{}`", socket.display())]
    Control {
        /// Its socket.
        socket: PathBuf,
        /// The supervisor's process id, if known.
        supervisor: Option<i32>,
        /// The underlying error.
        #[source]
        source: io::Error,
    },
    /// Another user's process listens on the socket, at which only our own processes should.
    #[error("the process that listens on `{}` belongs to {owner}, so rbake does not use it", socket.display())]
    Stranger {
        /// The socket.
        socket: PathBuf,
        /// The user who owns that process, for messages.
        owner: String,
    },
}

/// Keeps the embedded builder running until it is dropped: the supervisor counts open connections.
#[derive(Debug)]
pub(crate) struct Lease {
    _channel: ControlChannel,
}

/// The embedded builder, running and leased.
#[derive(Debug)]
pub struct Running {
    /// Its address.
    pub endpoint: Endpoint,
    /// The supervisor's facts about itself and buildkitd.
    pub facts: Facts,
    /// Hold it as long as the builder is used.
    pub(crate) lease: Lease,
    /// Whether it runs with an older configuration than a new start would have. It goes on with it because others
    /// are using it.
    pub is_outdated: bool,
}

/// Starts the embedded builder if it does not run, and takes a lease on it.
///
/// Any number of runs may call this at the same time; one of them starts it. Steps that take long are reported to
/// `events`.
pub async fn ensure_running(
    environment: &Environment,
    launcher: &Launcher,
    events: &EventSink,
) -> Result<Running, EmbeddedError> {
    let notice = Notice::begin(events, "embedded-builder", "start the embedded builder");
    let result = reach(environment, launcher, &notice).await;
    match &result {
        Ok(running) => tracing::info!(
            endpoint = %running.endpoint,
            is_outdated = running.is_outdated,
            "embedded builder is running"
        ),
        Err(error) => tracing::warn!(cause = %in_one_line(error), "no usable embedded builder"),
    }
    match &result {
        Ok(_) => notice.end(None),
        Err(EmbeddedError::Failed { reason, .. }) => notice.end(Some(reason)),
        // If nothing was started yet, the error says everything.
        Err(_) => drop(notice),
    }
    result
}

/// What a run knows before it connects to the supervisor.
struct Prospect {
    places: EmbeddedPlaces,
    // The fingerprint of the recipe. Empty if a program is missing; `missing` is then the error.
    fingerprint: String,
    missing: Option<RecipeError>,
}

impl Prospect {
    fn of(environment: &Environment) -> Result<Self, EmbeddedError> {
        let places = EmbeddedPlaces::of(environment)?;
        places.check()?;
        // Report a wrong setting even if the builder runs already and the setting has no effect on it.
        Idle::of(environment)?;
        let (fingerprint, missing) = match Recipe::of(environment, &places) {
            Ok(recipe) => (recipe.fingerprint, None),
            // A missing program is not an error yet: a builder that runs already can still be used.
            Err(
                error @ RecipeError::Program(
                    ProgramError::Missing(_) | ProgramError::NeedsRootlesskit,
                ),
            ) => (String::new(), Some(error)),
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            places,
            fingerprint,
            missing,
        })
    }
}

/// Connects to the supervisor, or starts one, until it grants a lease.
///
/// This takes more than one turn if the supervisor is stopping, or ends so that the next one gets a new
/// configuration. After [`START_TIMEOUT`] it is an error.
async fn reach(
    environment: &Environment,
    launcher: &Launcher,
    notice: &Notice,
) -> Result<Running, EmbeddedError> {
    notice.waits_for("the disk with the embedded builder's files");
    let asked = environment.clone();
    let Prospect {
        places,
        fingerprint,
        mut missing,
    } = unblock(move || Prospect::of(&asked)).await?;
    let end = Instant::now() + START_TIMEOUT;
    loop {
        if let Some(mut channel) = connect(&places).await? {
            match lease(&mut channel, &fingerprint, notice).await {
                Ok(Reply::Ready(facts)) => {
                    check_peer(&places.socket()).await?;
                    return Ok(Running {
                        endpoint: Endpoint::Unix(places.socket()),
                        is_outdated: !fingerprint.is_empty() && facts.configuration != fingerprint,
                        facts,
                        lease: Lease { _channel: channel },
                    });
                }
                Ok(Reply::Failed { reason, log: tail }) => {
                    return Err(EmbeddedError::Failed {
                        reason,
                        tail,
                        log: places.log(),
                    });
                }
                // It is stopping, or was killed while we talked to it: the next turn starts a new one.
                Ok(_) => tracing::debug!("retry: the embedded builder is stopping"),
                Err(error) if is_end(&error) => {
                    tracing::debug!("retry: the embedded builder went away");
                }
                Err(source) => return Err(silent(&places, &channel, source)),
            }
            notice.waits_for("the embedded builder to stop");
            ended(&places, &mut channel).await?;
        }
        if Instant::now() >= end {
            let log = Log::at(places.log(), Clock::system());
            return Err(EmbeddedError::Failed {
                reason: format!(
                    "it started and stopped again for {} seconds",
                    START_TIMEOUT.as_secs()
                ),
                tail: unblock(move || log.tail(0)).await,
                log: places.log(),
            });
        }
        // Nothing runs, so a start is needed, and the missing program is an error now.
        if let Some(error) = missing.take() {
            return Err(error.into());
        }
        launch(environment, &places, launcher, notice).await?;
    }
}

/// Starts a supervisor, unless another run has done so in the meantime.
async fn launch(
    environment: &Environment,
    places: &EmbeddedPlaces,
    launcher: &Launcher,
    notice: &Notice,
) -> Result<(), EmbeddedError> {
    let wanted = places.clone();
    unblock(move || wanted.create()).await?;
    notice.waits_for("another run to start the embedded builder");
    // Another run may start one while this run waits for the lock; so look again after that.
    let _lock = lock(&places.start_lock(), START_LIMIT * 2).await?;
    if connect(places).await?.is_some() {
        return Ok(());
    }
    notice.waits_for("the embedded builder to start");
    let log = Log::at(places.log(), Clock::system());
    let fail = |source| EmbeddedError::Launch {
        program: launcher.program.clone(),
        source,
    };
    let (asked, wanted, program) = (environment.clone(), places.clone(), launcher.clone());
    let written = log.clone();
    // The log from this position on is quoted if the start fails.
    let (position, command) = unblock(move || {
        let position = written.position();
        (position, command(&asked, &wanted, &program, &written))
    })
    .await;
    tracing::info!(log = %places.log().display(), "embedded builder's supervisor started");
    let mut child = command
        .and_then(|command| tokio::process::Command::from(command).spawn())
        .map_err(fail)?;
    let end = Instant::now() + START_LIMIT;
    loop {
        if connect(places).await?.is_some() {
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
            tail: unblock(move || log.tail(position)).await,
            log: places.log(),
        });
    }
}

/// The command that starts the supervisor, detached from this run.
fn command(
    environment: &Environment,
    places: &EmbeddedPlaces,
    launcher: &Launcher,
    log: &Log,
) -> io::Result<std::process::Command> {
    let output = log.open()?;
    let mut command = std::process::Command::new(&launcher.program);
    command
        .args(["+builder", "serve", "--detached"])
        // The supervisor lives for hours after the run. It must not keep the run's tokens in its environment.
        .env_clear()
        .envs(variables::for_the_supervisor(environment))
        // In its own folder it does not keep a directory or a file system of the user busy.
        .current_dir(places.dir())
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    Ok(command)
}

/// The folders of the embedded builder, after a check that nobody else can change them.
async fn safe_places(environment: &Environment) -> Result<EmbeddedPlaces, EmbeddedError> {
    let environment = environment.clone();
    unblock(move || {
        let places = EmbeddedPlaces::of(&environment)?;
        places.check()?;
        Ok(places)
    })
    .await
}

/// The supervisor's report about the embedded builder; `None` if it does not run.
pub async fn status(environment: &Environment) -> Result<Option<Reply>, EmbeddedError> {
    let places = safe_places(environment).await?;
    let Some(mut channel) = connect(&places).await? else {
        return Ok(None);
    };
    ask(&places, &mut channel, &ControlRequest::Status).await
}

/// Whether a run could start the embedded builder. Starts nothing.
///
/// # Errors
/// A program is missing, or a setting or a folder is wrong.
pub(crate) async fn can_start(environment: &Environment) -> Result<(), EmbeddedError> {
    let asked = environment.clone();
    match unblock(move || Prospect::of(&asked)).await?.missing {
        Some(missing) => Err(missing.into()),
        None => Ok(()),
    }
}

/// The result of [`stop`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It was not running.
    NotRunning,
    /// It has stopped.
    Stopped,
    /// It keeps running, because others use it.
    Busy {
        /// How many others.
        clients: usize,
    },
}

/// Stops the embedded builder and waits until it has stopped. Does not stop one that is in use, unless `force`.
///
/// If it takes long, that is reported to `events`.
pub async fn stop(
    environment: &Environment,
    force: bool,
    events: &EventSink,
) -> Result<Stopped, EmbeddedError> {
    let notice = Notice::begin(events, "embedded-builder", "stop the embedded builder");
    notice.waits_for("the embedded builder to stop");
    let places = safe_places(environment).await?;
    let Some(mut channel) = connect(&places).await? else {
        return Ok(Stopped::NotRunning);
    };
    let reply = ask(&places, &mut channel, &ControlRequest::Stop { force }).await?;
    if let Some(Reply::Busy { clients }) = reply {
        return Ok(Stopped::Busy { clients });
    }
    ended(&places, &mut channel).await?;
    // The supervisor holds this lock until its process ends.
    lock(&places.supervisor_lock(), START_LIMIT).await?;
    notice.end(None);
    Ok(Stopped::Stopped)
}

/// Connects to our own supervisor. `None` if nobody listens.
async fn connect(places: &EmbeddedPlaces) -> Result<Option<ControlChannel>, EmbeddedError> {
    let socket = places.control_socket();
    match within(ANSWER_LIMIT, UnixStream::connect(&socket)).await {
        Ok(stream) if trust::is_peer_ours(&stream) => Ok(Some(ControlChannel::new(stream))),
        Ok(stream) => Err(stranger(socket, &stream)),
        // The socket's queue is full: other clients are waiting there, and nobody answers them.
        Err(source)
            if matches!(
                source.kind(),
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
            ) =>
        {
            Err(EmbeddedError::Control {
                socket,
                supervisor: None,
                source,
            })
        }
        // For any other reason (no socket, nobody listens), there is no supervisor to talk to.
        Err(_) => Ok(None),
    }
}

/// Checks that it is our own buildkitd that listens. Other problems with the connection are not errors here: they
/// are reported when the connection is used.
async fn check_peer(socket: &Path) -> Result<(), EmbeddedError> {
    match within(ANSWER_LIMIT, UnixStream::connect(socket)).await {
        Ok(stream) if !trust::is_peer_ours(&stream) => Err(stranger(socket.to_owned(), &stream)),
        _ => Ok(()),
    }
}

fn stranger(socket: PathBuf, stream: &UnixStream) -> EmbeddedError {
    EmbeddedError::Stranger {
        socket,
        owner: match stream.peer_cred() {
            Ok(peer) => Accounts::of_this_machine().user(peer.uid()),
            Err(_) => "an unknown user".to_owned(),
        },
    }
}

/// Waits until the supervisor has ended, which closes the connection.
async fn ended(places: &EmbeddedPlaces, channel: &mut ControlChannel) -> Result<(), EmbeddedError> {
    match tokio::time::timeout(END_LIMIT, channel.closed()).await {
        Ok(()) => Ok(()),
        Err(_) => Err(silent(places, channel, io::ErrorKind::TimedOut.into())),
    }
}

fn silent(places: &EmbeddedPlaces, channel: &ControlChannel, source: io::Error) -> EmbeddedError {
    EmbeddedError::Control {
        socket: places.control_socket(),
        supervisor: channel.peer(),
        source,
    }
}

async fn ask(
    places: &EmbeddedPlaces,
    channel: &mut ControlChannel,
    request: &ControlRequest,
) -> Result<Option<Reply>, EmbeddedError> {
    let exchange = async {
        channel.send(request).await?;
        channel.receive().await
    };
    match within(ANSWER_LIMIT, exchange).await {
        Ok(reply) => Ok(reply),
        Err(error) if is_end(&error) => Ok(None),
        Err(source) => Err(silent(places, channel, source)),
    }
}

async fn lease(
    channel: &mut ControlChannel,
    fingerprint: &str,
    notice: &Notice,
) -> io::Result<Reply> {
    let request = ControlRequest::Lease {
        configuration: fingerprint.to_owned(),
    };
    notice.waits_for("the embedded builder to answer");
    within(ANSWER_LIMIT, channel.send(&request)).await?;
    let mut limit = ANSWER_LIMIT;
    loop {
        match within(limit, channel.receive()).await? {
            Some(Reply::Starting) => {
                notice.waits_for("the embedded builder to start");
                limit = READY_LIMIT;
            }
            Some(reply) => return Ok(reply),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let done = tokio::time::timeout(limit, work).await;
    done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
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
