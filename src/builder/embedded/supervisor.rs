//! The supervisor: the process that owns the embedded buildkitd, counts its clients, and stops it when it has been
//! idle.
//!
//! One loop owns the state. It handles one thing at a time: a client's request, a change of buildkitd, a timer, a
//! signal. For each connection, a task reads and writes. Start at [`serve`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::super::install::Folder;
use super::super::{files, trust};
use super::attendant::{Admission, Ask, Attendant, Client, Phase};
use super::client::EmbeddedError;
use super::control::{ControlChannel, Facts};
use super::lock::{LockError, lock};
use super::log::Log;
use super::places::{EmbeddedPlaces, PlacesError};
use super::process::{self, Process, Spec};
use super::programs::Isolation;
use super::recipe::{Recipe, RecipeError};
use super::settings::{Idle, InvalidIdle};
use crate::diag::{Class, Diagnostic};
use crate::engine::{Connection, Endpoint};
use crate::types::blocking::unblock;
use crate::types::causes::in_one_line;
use crate::types::ending::is_ignored;
use crate::types::{Clock, Environment};

/// The time buildkitd has until it answers. It first opens its databases, which may be large.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// The time an earlier supervisor has to end.
const HANDOVER_LIMIT: Duration = Duration::from_secs(40);
/// The time buildkitd has to end after SIGTERM: the first one if nobody uses it, the second if somebody does.
const END_LIMIT: Duration = Duration::from_secs(10);
const END_LIMIT_IN_USE: Duration = Duration::from_secs(3);

/// The supervisor cannot start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// No folder for its files can be used.
    #[error(transparent)]
    Places(#[from] PlacesError),
    /// A program is missing, or the configuration cannot be used.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The setting for the idle time is wrong.
    #[error(transparent)]
    Idle(#[from] InvalidIdle),
    /// The installed programs have changed since they were installed.
    #[error("`{programs}` in `{}` changed after the installation; `rbake builder install` repairs it", dir.display())]
    Damaged {
        /// The programs.
        programs: String,
        /// The folder.
        dir: PathBuf,
    },
    /// Another supervisor is running.
    #[error("the embedded builder is already running")]
    Lock(#[from] LockError),
    /// A system call that the supervisor needs has failed.
    #[error("cannot {act}")]
    System {
        /// What was tried, as a verb phrase for "cannot …".
        act: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// buildkitd did not start, or ended.
    #[error("{reason}; its log is `{}`", log.display())]
    Buildkitd {
        /// What happened, as a fragment.
        reason: String,
        /// The log file.
        log: PathBuf,
    },
}

impl ServeError {
    /// The error as it is reported to the user.
    pub(crate) fn diagnostic(self) -> Diagnostic {
        let message = in_one_line(&self);
        let told = Diagnostic::error(Class::Engine, "builder::embedded", message);
        let help = match self {
            Self::Places(error) => error.help(),
            // The diagnostic for a run that needs the builder has more to say about it.
            Self::Recipe(error) => return EmbeddedError::from(error).diagnostic(),
            _ => Vec::new(),
        };
        help.into_iter().fold(told, Diagnostic::help)
    }
}

fn system(act: impl Into<String>) -> impl FnOnce(std::io::Error) -> ServeError {
    let act = act.into();
    move |source| ServeError::System { act, source }
}

/// Options of the supervisor beside the environment's settings.
#[derive(Debug, Clone)]
pub(crate) struct ServeOptions {
    /// rbake itself: called as `PROGRAM +builder run-buildkitd PID COMMAND…`, it runs [`process::become_child`].
    pub(crate) program: PathBuf,
    /// An idle time that overrides the environment's.
    pub(crate) idle: Option<Idle>,
}

/// Runs the embedded builder until it has been idle, is asked to stop, or gets a signal.
///
/// A client that connects during the start waits for its answer until the start is over.
pub(crate) async fn serve(
    environment: &Environment,
    options: &ServeOptions,
) -> Result<(), ServeError> {
    // Listen from the beginning, so that a signal also ends a supervisor that is waiting for a lock.
    let mut signals = Signals::new().map_err(system("listen for signals"))?;
    let idle = match options.idle {
        Some(idle) => idle,
        None => Idle::of(environment)?,
    };
    let asked = environment.clone();
    let (places, recipe) = unblock(move || {
        let places = EmbeddedPlaces::of(&asked)?;
        places.create()?;
        let recipe = Recipe::of(&asked, &places)?;
        Ok::<_, ServeError>((places, recipe))
    })
    .await?;
    let path = places.supervisor_lock();
    let lock = tokio::select! {
        lock = lock(&path, HANDOVER_LIMIT) => lock?,
        _ = signals.next() => return Ok(()),
    };
    let log = Log::at(places.log(), Clock::system());
    let prepared = tokio::select! {
        prepared = prepare(&places, &recipe, &log) => prepared,
        name = signals.next() => {
            log.say(&format!("{name} before the start")).await;
            forget(&places).await;
            return Ok(());
        }
    };
    let (listener, isolation) = prepared?;
    let written = log.clone();
    let position = unblock(move || written.position()).await;
    let command = recipe
        .programs
        .command(&isolation, &places.config(), &places.rootlesskit());
    log.say(&format!("starting {}", recipe.programs.buildkitd.display()))
        .await;
    for (folder, why) in &recipe.left_out {
        let folder = folder.display();
        log.say(&format!("`{folder}` in PATH is not used: {why}"))
            .await;
    }
    let process = match start(&places, &recipe, options, command, &log).await {
        Ok(process) => process,
        Err(error) => {
            forget(&places).await;
            return Err(error);
        }
    };
    let supervisor = Supervisor {
        phase: watch::Sender::new(Phase::Starting),
        clients: Arc::new(watch::Sender::new(0)),
        fingerprint: recipe.fingerprint,
        idle,
        position,
        log,
        places,
        process,
        signals,
    };
    let result = supervisor.run(listener).await;
    // Held until here, so that the next supervisor starts after everything has ended.
    drop(lock);
    result
}

/// Checks the programs that rbake installed, before each start. Programs from `PATH` are the machine's, and are not
/// checked.
async fn check_installed(places: &EmbeddedPlaces, recipe: &Recipe) -> Result<(), ServeError> {
    if !recipe.programs.buildkitd.starts_with(places.programs()) {
        return Ok(());
    }
    let damaged = Folder::at(places.programs()).damaged().await;
    if damaged.is_empty() {
        return Ok(());
    }
    Err(ServeError::Damaged {
        programs: damaged.join("`, `"),
        dir: places.programs(),
    })
}

/// Removes what a killed predecessor left, writes buildkitd's configuration, and listens on the control socket.
async fn prepare(
    places: &EmbeddedPlaces,
    recipe: &Recipe,
    log: &Log,
) -> Result<(UnixListener, Isolation), ServeError> {
    check_installed(places, recipe).await?;
    let old = log.clone();
    unblock(move || old.rotate())
        .await
        .map_err(system("rotate the old log"))?;
    let ended = process::kill_leftover(&places.process(), END_LIMIT).await;
    if ended.map_err(system("end a buildkitd that was left behind"))? {
        log.say("ended a buildkitd that was left behind").await;
    }
    let (mine, configuration) = (places.clone(), recipe.configuration.clone());
    unblock(move || {
        forget_now(&mine);
        std::fs::create_dir_all(mine.root())
            .map_err(system("make the folder of buildkitd's data"))?;
        files::replace(&mine.config(), configuration.as_bytes())
            .map_err(system("write buildkitd's configuration"))
    })
    .await?;
    // buildkitd locks its data. A killed one holds the lock until the kernel has cleaned up the process.
    drop(lock(&places.root().join("buildkitd.lock"), END_LIMIT).await?);
    let isolation = recipe.programs.isolation().await;
    let path = places.control_socket();
    let listener =
        UnixListener::bind(&path).map_err(system(format!("listen on `{}`", path.display())))?;
    Ok((listener, isolation))
}

/// Removes the files that exist only while the supervisor runs. Missing files are not an error.
async fn forget(places: &EmbeddedPlaces) {
    let places = places.clone();
    unblock(move || forget_now(&places)).await;
}

fn forget_now(places: &EmbeddedPlaces) {
    for path in [
        places.control_socket(),
        places.socket(),
        places.trace_socket(),
        places.process(),
    ] {
        let _ = std::fs::remove_file(path);
    }
    // A rootless buildkitd makes this folder and leaves it empty.
    let _ = std::fs::remove_dir(places.run_dir().join("buildkit"));
}

/// Starts buildkitd through `rbake +builder run-buildkitd`, so that the kernel ends it with its parent. Then writes
/// down which process it is, for the next supervisor.
async fn start(
    places: &EmbeddedPlaces,
    recipe: &Recipe,
    options: &ServeOptions,
    command: Vec<std::ffi::OsString>,
    log: &Log,
) -> Result<Process, ServeError> {
    let mut argv = vec![
        options.program.clone().into(),
        "+builder".into(),
        "run-buildkitd".into(),
        std::process::id().to_string().into(),
    ];
    argv.extend(command);
    let spec = Spec {
        argv,
        variables: recipe.variables.all().to_vec(),
        dir: places.dir().to_owned(),
    };
    let mine = log.clone();
    let output = unblock(move || mine.open())
        .await
        .map_err(system("open the log"))?;
    let process = Process::start(spec, output)
        .await
        .map_err(system("start buildkitd"))?;
    let (path, id) = (places.process(), process.id().clone());
    unblock(move || process::write_down(&path, &id))
        .await
        .map_err(system("save the process id of buildkitd"))?;
    Ok(process)
}

struct Supervisor {
    phase: watch::Sender<Phase>,
    clients: Arc<watch::Sender<usize>>,
    // The fingerprint of the configuration with which buildkitd was started.
    fingerprint: String,
    idle: Idle,
    // Where the log of this start begins.
    position: u64,
    log: Log,
    places: EmbeddedPlaces,
    process: Process,
    signals: Signals,
}

impl Supervisor {
    /// Serves clients until it is time to stop, then ends buildkitd and removes the files that exist only while it
    /// runs.
    async fn run(mut self, listener: UnixListener) -> Result<(), ServeError> {
        let failure = self.watch_over(&listener).await;
        // Remove the socket before buildkitd ends, so that new clients find nothing and start another builder.
        let _ = tokio::fs::remove_file(self.places.control_socket()).await;
        drop(listener);
        let result = match failure {
            None => {
                self.end_buildkitd().await;
                Ok(())
            }
            Some(reason) => {
                self.log.say(&reason).await;
                self.process.kill();
                let _ = self.process.ended().await;
                let (log, position) = (self.log.clone(), self.position);
                let log = unblock(move || log.tail(position)).await;
                let reason_told = reason.clone();
                self.phase.send_replace(Phase::Failed {
                    reason: reason_told,
                    log,
                });
                self.tell_those_who_wait().await;
                Err(ServeError::Buildkitd {
                    reason,
                    log: self.places.log(),
                })
            }
        };
        forget(&self.places).await;
        self.log.say("stopped").await;
        result
    }

    /// Waits, for up to a second, until the clients that waited for a failed start have got their answer and are
    /// gone.
    async fn tell_those_who_wait(&self) {
        let mut clients = self.clients.subscribe();
        let gone = clients.wait_for(|count| *count == 0);
        let _ = tokio::time::timeout(Duration::from_secs(1), gone).await;
    }

    /// Runs until it is time to stop. Returns the reason if buildkitd failed, `None` otherwise.
    async fn watch_over(&mut self, listener: &UnixListener) -> Option<String> {
        let (asks, mut asked) = mpsc::channel::<Ask>(16);
        let socket = self.places.socket();
        let mut readiness = Box::pin(ready(socket));
        let mut is_ready = false;
        let mut clients = self.clients.subscribe();
        let mut idle_since = Instant::now();
        loop {
            // The idle time begins when buildkitd is ready. Until then, the time limit of the start applies.
            let deadline = match self.idle {
                Idle::After(time) if *clients.borrow() == 0 && is_ready => Some(idle_since + time),
                _ => None,
            };
            tokio::select! {
                accepted = listener.accept() => {
                    match accepted {
                        Ok((stream, _)) if trust::is_peer_ours(&stream) => {
                            self.attend(stream, asks.clone());
                        }
                        // A connection of another user, who can only be root. root has its own builder.
                        Ok(_) => {}
                        // Most likely there are too many open files. Trying again at once would not help.
                        Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                    }
                }
                Some(ask) = asked.recv() => {
                    if self.answer(ask).await {
                        return None;
                    }
                }
                outcome = &mut readiness, if !is_ready => match outcome {
                    Ok(version) => {
                        is_ready = true;
                        idle_since = Instant::now();
                        self.log.say(&format!("buildkitd {version} is ready")).await;
                        self.phase.send_replace(Phase::Ready { version });
                    }
                    Err(reason) => return Some(reason),
                },
                ended = self.process.ended() => {
                    let how = ended.map_or_else(|error| error.to_string(), process::how_it_ended);
                    return Some(format!("buildkitd {how}"));
                }
                Ok(()) = clients.changed() => idle_since = Instant::now(),
                () = sleep_until(deadline) => {
                    self.log.say("idle, stopping").await;
                    return None;
                }
                name = self.signals.next() => {
                    self.log.say(&format!("{name}, stopping")).await;
                    return None;
                }
            }
        }
    }

    /// Answers a client's request. Returns whether the supervisor has to stop.
    async fn answer(&mut self, ask: Ask) -> bool {
        let clients = *self.clients.borrow();
        match ask {
            Ask::Lease {
                configuration,
                answer,
            } => {
                let outdated = !configuration.is_empty() && configuration != self.fingerprint;
                if outdated && clients == 0 {
                    self.log
                        .say("the configuration has changed, stopping")
                        .await;
                    let _ = answer.send(Admission::Outdated);
                    return true;
                }
                self.clients.send_modify(|count| *count += 1);
                let client = Client::counted(Arc::clone(&self.clients));
                // If the client is gone, the send fails and drops `client`, which lowers the count again.
                let _ = answer.send(Admission::Admitted(client));
                false
            }
            Ask::Stop { force, answer } => {
                let stops = force || clients == 0;
                if stops {
                    self.log.say("asked to stop").await;
                    self.phase.send_replace(Phase::Stopping);
                }
                let _ = answer.send(if stops { Ok(()) } else { Err(clients) });
                stops
            }
        }
    }

    /// Serves one connection in a separate task.
    fn attend(&self, stream: UnixStream, asks: mpsc::Sender<Ask>) {
        let attendant = Attendant {
            asks,
            phase: self.phase.subscribe(),
            clients: self.clients.subscribe(),
            facts: Facts {
                socket: self.places.socket().to_string_lossy().into_owned(),
                version: String::new(),
                supervisor: std::process::id(),
                clients: 0,
                configuration: self.fingerprint.clone(),
                idle_seconds: match self.idle {
                    Idle::After(time) => Some(time.as_secs()),
                    Idle::Never => None,
                },
            },
        };
        tokio::spawn(async move {
            // An error means that the client has broken off, so there is nothing more to do for it.
            let _ = attendant.serve(ControlChannel::new(stream)).await;
        });
    }

    async fn end_buildkitd(&mut self) {
        let limit = if *self.clients.borrow() == 0 {
            END_LIMIT
        } else {
            END_LIMIT_IN_USE
        };
        self.phase.send_replace(Phase::Stopping);
        // Our child may be `unshare` or `rootlesskit`. The process that listens on the socket is buildkitd itself.
        let asked = match listener_of(&self.places.socket()).await {
            Some(pid) => process::ask_to_end(pid).is_ok(),
            None => false,
        };
        let has_ended = asked
            && tokio::select! {
                ended = tokio::time::timeout(limit, self.process.ended()) => ended.is_ok(),
                // A second signal means: do not wait.
                _ = self.signals.next() => false,
            };
        if !has_ended {
            self.log.say("ending buildkitd by force").await;
            self.process.kill();
            let _ = tokio::time::timeout(END_LIMIT, self.process.ended()).await;
        }
    }
}

/// Waits until buildkitd answers, and returns its version.
async fn ready(socket: PathBuf) -> Result<String, String> {
    let end = Instant::now() + READY_LIMIT;
    let mut pause = Duration::from_millis(20);
    loop {
        let endpoint = Endpoint::Unix(socket.clone());
        match Connection::open_within(endpoint, Duration::from_secs(5)).await {
            Ok(connection) => {
                return Ok(connection
                    .version()
                    .unwrap_or("of an unknown version")
                    .to_owned());
            }
            Err(error) if Instant::now() >= end => {
                return Err(format!(
                    "buildkitd did not answer within {} seconds ({error})",
                    READY_LIMIT.as_secs()
                ));
            }
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

/// The id of the process that listens on `socket`, as seen from our process namespace. `None` if nobody listens, or
/// another user.
async fn listener_of(socket: &std::path::Path) -> Option<i32> {
    let connecting = UnixStream::connect(socket);
    let stream = tokio::time::timeout(Duration::from_secs(5), connecting)
        .await
        .ok()?
        .ok()?;
    if !trust::is_peer_ours(&stream) {
        return None;
    }
    stream.peer_cred().ok()?.pid()
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    // `None` if the parent process made us ignore SIGHUP (as `nohup` does).
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: match SignalKind::hangup() {
                kind if is_ignored(kind.as_raw_value()) => None,
                kind => Some(signal(kind)?),
            },
        })
    }

    async fn next(&mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = hangup => "the terminal was closed",
            _ = self.terminate.recv() => "terminated",
            _ = self.interrupt.recv() => "interrupted",
        }
    }
}
