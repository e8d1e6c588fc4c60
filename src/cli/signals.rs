//! SIGINT, SIGTERM and SIGHUP. The first signal asks for an orderly stop, and the second one for a faster stop. None of them is
//! ignored.
//!
//! A separate thread receives the signals. So they work while the definition is read, while a file system does not
//! answer, and whatever the runtime is doing. This module also ensures that the process ends in time ([`ending`]): if
//! a run has not ended by then, another thread prints the summary, removes the temporary files, and exits.
//!
//! If docker runs this process as a plugin, docker may get the signals instead, and passes them on by closing a
//! socket ([`watch_docker`]).

use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, process};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals as Incoming;
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};

use super::exit::Exit;
use crate::outcome::CancelReason;
use crate::report;
use crate::run::Stop;
use crate::types::{awaited, ending, shutdown};

/// A step before the run that takes longer than this is reported.
const SLOW_STEP: Duration = Duration::from_secs(5);

/// Prints the summary of a run that is ended before it is over. The argument is why it is ended.
pub(super) type LastWords = Box<dyn FnOnce(CancelReason) + Send>;

/// The signals of the process, and what they currently mean.
#[derive(Clone)]
pub(super) struct Signals(Arc<Shared>);

#[derive(Default)]
struct Shared {
    taken: bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    phase: Phase,
    heard: Heard,
    // The number of steps that have begun. While it is 0, the thread that reports slow steps does not exist.
    steps: u64,
}

/// The phase of the command.
#[derive(Default)]
enum Phase {
    /// Nothing has begun that would have to be stopped in order.
    #[default]
    Early,
    /// The same, during the step with this number and name. The step is reported if it takes long.
    Doing(u64, &'static str),
    /// A run is in progress.
    Running(Stop, LastWords),
    /// The process is being ended: by the main thread, or by the thread that enforces the deadline.
    Ending,
}

/// The signals that have arrived so far, and whether the time is up.
#[derive(Default)]
struct Heard {
    first: Option<(CancelReason, Instant)>,
    insisted: bool,
}

/// The meaning of a signal that arrives.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    /// The first signal: stop in order.
    Stop,
    /// A repetition of an earlier request.
    Nothing,
    /// A further signal: stop without waiting for anything.
    Haste,
}

impl Heard {
    fn hear(&mut self, reason: CancelReason, now: Instant) -> Meaning {
        let Some((_, first)) = self.first else {
            self.first = Some((reason, now));
            return Meaning::Stop;
        };
        // The run ends soon anyway.
        let is_limit = matches!(reason, CancelReason::TimedOut(_));
        if is_limit
            || self.insisted
            || now.saturating_duration_since(first) < shutdown::SAME_REQUEST_WINDOW
        {
            return Meaning::Nothing;
        }
        self.insisted = true;
        Meaning::Haste
    }

    /// What decides the exit code; SIGTERM if nothing has arrived.
    fn first(&self) -> CancelReason {
        let first = self.first.as_ref();
        first.map_or(CancelReason::Signal(SIGTERM), |(reason, _)| reason.clone())
    }
}

impl Signals {
    /// Starts to receive the signals.
    ///
    /// SIGHUP keeps its action if the parent process made this one ignore it, as `nohup` does. A write beyond the limit on the size
    /// of files fails instead of ending the process (SIGXFSZ).
    ///
    /// # Errors
    /// The handlers cannot be installed, or no thread can be started.
    pub(super) fn take() -> io::Result<Self> {
        let mut numbers = vec![SIGINT, SIGTERM, SIGQUIT, SIGXFSZ];
        if !ending::is_ignored(SIGHUP) {
            numbers.push(SIGHUP);
        }
        let mut incoming = Incoming::new(numbers)?;
        let signals = Self(Arc::new(Shared {
            taken: true,
            ..Shared::default()
        }));
        let all = signals.clone();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .stack_size(128 << 10)
            .spawn(move || {
                for number in incoming.forever() {
                    if number == SIGXFSZ {
                        continue;
                    }
                    if number == SIGQUIT {
                        // SIGQUIT asks for a core dump. Remove the temporary files first, then let the default
                        // action write the dump.
                        ending::clear_up();
                        let _ = signal_hook::low_level::emulate_default_handler(number);
                    }
                    all.hear(number);
                }
            })?;
        Ok(signals)
    }

    /// Keeps the default actions of all signals.
    pub(super) fn left_alone() -> Self {
        Self(Arc::default())
    }

    /// Says which step begins before the run. If it takes long, a line reports it: "still `name` …".
    pub(super) fn doing(&self, name: &'static str) {
        if !self.0.taken {
            return;
        }
        let mut state = self.state();
        if let Phase::Running(..) | Phase::Ending = state.phase {
            return;
        }
        state.steps += 1;
        let number = state.steps;
        state.phase = Phase::Doing(number, name);
        drop(state);
        self.0.changed.notify_all();
        if number == 1 {
            let signals = self.clone();
            // If the thread cannot be started, slow steps are not reported. That does no harm.
            let _ = std::thread::Builder::new()
                .name("patience".to_owned())
                .stack_size(64 << 10)
                .spawn(move || signals.tell_of_long_waits());
        }
    }

    /// Ends the step that [`Signals::doing`] began. From here on, either the user is being asked and may take any
    /// time, or there is progress to see.
    pub(super) fn done(&self) {
        let mut state = self.state();
        if let Phase::Doing(..) = state.phase {
            state.phase = Phase::Early;
        }
        drop(state);
        self.0.changed.notify_all();
    }

    /// Runs `work` after the run; it may have to wait for another program. If it takes long, a line reports it:
    /// "still `name` …".
    pub(super) fn finishing<T>(
        &self,
        name: impl FnOnce() -> String + Send + 'static,
        work: impl FnOnce() -> T,
    ) -> T {
        let (done, wait) = mpsc::channel::<()>();
        if self.0.taken {
            // If the thread cannot be started, slow work is not reported. That does no harm.
            let _ = std::thread::Builder::new().spawn(move || {
                if let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(SLOW_STEP) {
                    say(&format!("still {} …\n", name()));
                }
            });
        }
        let result = work();
        drop(done);
        result
    }

    /// From here on, the first signal stops the run through `stop`. `last_words` is called if the run does not end
    /// in time.
    pub(super) fn run_begins(&self, stop: &Stop, last_words: LastWords) {
        let mut state = self.state();
        if let Phase::Early | Phase::Doing(..) = state.phase {
            state.phase = Phase::Running(stop.clone(), last_words);
        }
        drop(state);
        self.0.changed.notify_all();
    }

    /// Says that the main thread now ends the process. If another thread is already doing that, this does not
    /// return.
    pub(super) fn end(&self) {
        let mut state = self.state();
        let was = std::mem::replace(&mut state.phase, Phase::Ending);
        drop(state);
        self.0.changed.notify_all();
        if let Phase::Ending = was {
            loop {
                std::thread::park();
            }
        }
    }

    /// Ends the process as an interrupt would if it has not ended after `limit`.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn limit(&self, limit: Duration) -> io::Result<()> {
        // A limit of centuries is none.
        let Some(until) = Instant::now().checked_add(limit) else {
            return Ok(());
        };
        let signals = self.clone();
        let thread = std::thread::Builder::new()
            .name("time limit".to_owned())
            .stack_size(128 << 10);
        thread
            .spawn(move || {
                signals.wait(Some(until), |_| false);
                signals.stop_for(CancelReason::TimedOut(limit));
            })
            .map(drop)
    }

    /// Handles the signal `number`, also one that docker has passed on.
    pub(super) fn hear(&self, number: i32) {
        self.stop_for(CancelReason::Signal(number));
    }

    fn stop_for(&self, reason: CancelReason) {
        let mut state = self.state();
        let meaning = state.heard.hear(reason, Instant::now());
        let first = state.heard.first();
        match (&state.phase, meaning) {
            (Phase::Early | Phase::Doing(..), Meaning::Stop) => {
                let step = match state.phase {
                    Phase::Doing(_, name) => Some(name),
                    _ => None,
                };
                state.phase = Phase::Ending;
                drop(state);
                let text = too_early(&first, step);
                bounded(move || say(&text));
                leave(&first);
            }
            (Phase::Running(stop, _), Meaning::Stop) => {
                stop.request(first);
                drop(state);
                self.end_in(shutdown::EXIT_TIMEOUT);
            }
            (Phase::Running(stop, _), Meaning::Haste) => {
                stop.insist();
                drop(state);
                self.end_in(shutdown::EXIT_TIMEOUT_AFTER_SECOND);
            }
            // The run is over, but writing the summary may block, because nobody reads the output.
            (Phase::Ending, Meaning::Stop) => {
                drop(state);
                self.end_in(shutdown::EXIT_TIMEOUT);
            }
            (Phase::Ending, Meaning::Haste) => {
                drop(state);
                self.end_in(shutdown::EXIT_TIMEOUT_AFTER_SECOND);
            }
            (_, Meaning::Nothing) | (Phase::Early | Phase::Doing(..), Meaning::Haste) => {}
        }
    }

    /// Ends the process after `time`, unless it ends by itself before that.
    fn end_in(&self, time: Duration) {
        let signals = self.clone();
        let wait = move || {
            let until = Instant::now() + time.saturating_sub(shutdown::FINISH_TIMEOUT);
            signals.wait(Some(until), |phase| matches!(phase, Phase::Ending));
            let mut state = signals.state();
            let first = state.heard.first();
            if let Phase::Running(_, last_words) =
                std::mem::replace(&mut state.phase, Phase::Ending)
            {
                drop(state);
                let reason = first.clone();
                bounded(move || last_words(reason));
                leave(&first);
            }
            drop(state);
            // The main thread is ending the process, but it may be blocked while writing the summary.
            signals.wait(Some(until + shutdown::FINISH_TIMEOUT), |_| false);
            leave(&first);
        };
        let thread = std::thread::Builder::new().name("deadline".to_owned());
        // Without a thread nobody can wait, so end the process now.
        if thread.spawn(wait).is_err() {
            leave(&self.state().heard.first());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `over` returns true, or until the given time.
    fn wait(&self, until: Option<Instant>, over: impl Fn(&Phase) -> bool) {
        let state = self.state();
        let goes_on = |state: &mut State| !over(&state.phase);
        let changed = &self.0.changed;
        if let Some(until) = until {
            let left = until.saturating_duration_since(Instant::now());
            let waited = changed.wait_timeout_while(state, left, goes_on);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        } else {
            let waited = changed.wait_while(state, goes_on);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Reports each step before the run that takes long, once, with the file that it waits for. Returns when the
    /// run begins or the process ends.
    fn tell_of_long_waits(&self) {
        let over = |phase: &Phase| matches!(phase, Phase::Running(..) | Phase::Ending);
        loop {
            let current = match self.state().phase {
                Phase::Doing(number, name) => Some((number, name)),
                Phase::Early => None,
                Phase::Running(..) | Phase::Ending => return,
            };
            let Some((number, name)) = current else {
                self.wait(None, |phase| {
                    over(phase) || matches!(phase, Phase::Doing(..))
                });
                continue;
            };
            let same = |phase: &Phase| matches!(phase, Phase::Doing(now, _) if *now == number);
            self.wait(Some(Instant::now() + SLOW_STEP), |phase| !same(phase));
            if same(&self.state().phase) {
                let file = awaited::current();
                let file = file.map(|file| format!(", waiting for {file}"));
                say(&format!("still {name}{} …\n", file.unwrap_or_default()));
            }
            self.wait(None, |phase| !same(phase));
        }
    }
}

/// Runs `work`, which may block (for example on a pipe that nobody reads), and waits for it for a limited time.
fn bounded(work: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel::<()>();
    let started = std::thread::Builder::new().spawn(move || {
        work();
        drop(done);
    });
    if started.is_ok() {
        // The channel closes when the work is done, so either result means that the wait is over.
        let _: Result<(), RecvTimeoutError> = wait.recv_timeout(shutdown::SUMMARY_TIMEOUT);
    }
}

/// What is printed if the process ends before a run has begun: at once, or during `step`.
fn too_early(reason: &CancelReason, step: Option<&str>) -> String {
    let CancelReason::TimedOut(limit) = reason else {
        return "interrupted before anything was built\n".to_owned();
    };
    let file = awaited::current();
    let file = file.map_or(String::new(), |file| format!(", waiting for {file}"));
    let step = step.map_or(String::new(), |step| format!(", while {step}{file}"));
    let limit = report::duration(*limit);
    format!(
        "error[run::timeout]: the run did not end within {limit} (`--timeout`){step}; nothing was built\n"
    )
}

/// Writes to standard error without the stream's lock: the main thread may hold the lock while its write blocks.
fn say(text: &str) {
    let _ = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
}

#[expect(
    clippy::exit,
    reason = "the user asked rbake to end, and it cannot wait for the work that still runs"
)]
fn leave(reason: &CancelReason) -> ! {
    ending::clear_up();
    process::exit(i32::from(Exit::for_stop(reason).code()))
}

/// Ends the process for the signal `number`.
pub(super) fn leave_for(number: i32) -> ! {
    leave(&CancelReason::Signal(number))
}

/// Returns the number of the first signal that asks for an end. For work that is ended by dropping it. Must be
/// called in a runtime.
pub(super) async fn first() -> i32 {
    let of = async |number| {
        if ending::is_ignored(number) {
            return std::future::pending().await;
        }
        match signal(SignalKind::from_raw(number)) {
            Ok(mut signal) => signal.recv().await,
            // The handler cannot be installed, so the signal keeps its default action.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = of(SIGINT) => SIGINT,
        _ = of(SIGTERM) => SIGTERM,
        _ = of(SIGHUP) => SIGHUP,
    }
}

/// Treats it as SIGTERM when docker, which runs this process as its plugin, closes the socket at `address`.
///
/// Docker does that if it gets a signal that its children do not get from the terminal. It also happens if docker
/// dies. Must be called in a runtime.
pub(super) fn watch_docker(signals: &Signals, address: &str) {
    // The socket may be gone, or its address may have an unknown form. Signals still arrive in the usual way.
    let Ok(connected) = connect(address) else {
        return;
    };
    let signals = signals.clone();
    tokio::spawn(async move {
        let Ok(mut stream) = tokio::net::UnixStream::from_std(connected) else {
            return;
        };
        let mut buffer = [0; 64];
        while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
        signals.hear(SIGTERM);
    });
}

fn connect(address: &str) -> io::Result<UnixStream> {
    let stream = match address.strip_prefix('@') {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt as _;
            let name = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            UnixStream::connect_addr(&name)?
        }
        _ => UnixStream::connect(address)?,
    };
    stream.set_nonblocking(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_within_half_a_second_count_as_one_and_the_first_decides() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut heard = Heard::default();
        assert_eq!(
            heard.hear(CancelReason::Signal(SIGHUP), at(0)),
            Meaning::Stop
        );
        assert_eq!(
            heard.hear(CancelReason::Signal(SIGTERM), at(0)),
            Meaning::Nothing
        );
        assert_eq!(
            heard.hear(CancelReason::Signal(SIGINT), at(499)),
            Meaning::Nothing
        );
        assert_eq!(
            heard.hear(CancelReason::Signal(SIGINT), at(500)),
            Meaning::Haste
        );
        assert_eq!(
            heard.hear(CancelReason::Signal(SIGTERM), at(5000)),
            Meaning::Nothing
        );
        assert_eq!(heard.first(), CancelReason::Signal(SIGHUP));
    }

    #[test]
    fn the_limit_of_the_time_is_not_an_insisting_signal_but_a_signal_after_it_is() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let limit = CancelReason::TimedOut(Duration::from_secs(1));
        let mut heard = Heard::default();
        assert_eq!(heard.hear(limit.clone(), at(0)), Meaning::Stop);
        assert_eq!(
            heard.hear(CancelReason::Signal(SIGINT), at(1)),
            Meaning::Haste
        );
        assert_eq!(heard.first(), limit);
        let mut heard = Heard::default();
        assert_eq!(
            heard.hear(CancelReason::Signal(SIGINT), at(0)),
            Meaning::Stop
        );
        assert_eq!(heard.hear(limit, at(1)), Meaning::Nothing);
    }
}
