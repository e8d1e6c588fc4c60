//! SIGINT, SIGTERM and SIGHUP: the first asks for an orderly stop, a second one for haste. Neither is ever ignored.
//!
//! A thread of its own takes the signals, so that they are heard while the definition is read, while a file system does not
//! answer, and whatever the runtime is busy with. It also sees to it that the process ends in time ([`ending`]): a run that has
//! not ended by then is ended from here, with its summary and without its temporary files.
//!
//! Docker, which may get the signals in our place, hands them on by closing a socket ([`watch_docker`]).

use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, process};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals as Incoming;
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};

use super::exit::Exit;
use crate::outcome::CancelReason;
use crate::run::Stop;
use crate::types::{awaited, ending};

/// A step before the run that takes longer than this is told of.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tells how a run ends that is ended from outside, with the signal that came first.
pub(super) type LastWords = Box<dyn FnOnce(i32) + Send>;

/// The signals of the process, and what they mean now.
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
    // How many steps have begun; none means that nobody waits for them either.
    steps: u64,
}

/// How far the command is.
#[derive(Default)]
enum Phase {
    /// There is nothing yet that would have to be stopped.
    #[default]
    Early,
    /// As before, doing what has this number and name; it is told of if it takes long.
    Doing(u64, &'static str),
    /// A run goes on.
    Running(Stop, LastWords),
    /// Somebody ends the process: the main thread, or the thread that waited for it long enough.
    Ending,
}

/// The signals that came so far.
#[derive(Default)]
struct Heard {
    first: Option<(i32, Instant)>,
    insisted: bool,
}

/// What a signal means.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    /// Stop.
    Stop,
    /// What was heard already.
    Nothing,
    /// Stop, and do not wait for anything.
    Haste,
}

impl Heard {
    fn hear(&mut self, number: i32, now: Instant) -> Meaning {
        let Some((_, first)) = self.first else {
            self.first = Some((number, now));
            return Meaning::Stop;
        };
        if self.insisted || now.saturating_duration_since(first) < ending::SAME_REQUEST {
            return Meaning::Nothing;
        }
        self.insisted = true;
        Meaning::Haste
    }

    // The signal that decides the exit code.
    fn first(&self) -> i32 {
        self.first.map_or(SIGTERM, |(number, _)| number)
    }
}

impl Signals {
    /// Begins to take the signals.
    ///
    /// SIGHUP is left alone where whoever started the process has it ignored, as `nohup` does.
    ///
    /// # Errors
    /// If the handlers cannot be installed, or there can be no further thread.
    pub(super) fn take() -> io::Result<Self> {
        let mut numbers = vec![SIGINT, SIGTERM, SIGQUIT];
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
                    if number == SIGQUIT {
                        // Whoever wants a core dump gets it, and no half-written files beside it.
                        ending::clear_up();
                        let _ = signal_hook::low_level::emulate_default_handler(number);
                    }
                    all.hear(number);
                }
            })?;
        Ok(signals)
    }

    /// Leaves the signals to their default actions.
    pub(super) fn left_alone() -> Self {
        Self(Arc::default())
    }

    /// Says what is being done before the run; `name` stands after "still". A line tells of it if it takes long.
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
            // Without this thread nothing is told, which is no harm.
            let _ = std::thread::Builder::new()
                .name("patience".to_owned())
                .stack_size(64 << 10)
                .spawn(move || signals.tell_of_long_waits());
        }
    }

    /// Ends what [`Signals::doing`] began: from here on the user may take any time, or there is something to see.
    pub(super) fn done(&self) {
        let mut state = self.state();
        if let Phase::Doing(..) = state.phase {
            state.phase = Phase::Early;
        }
        drop(state);
        self.0.changed.notify_all();
    }

    /// Does `work` after the run, which may have to wait for another program. `name` tells what stands after "still" if it takes long.
    pub(super) fn finishing<T>(
        &self,
        name: impl FnOnce() -> String + Send + 'static,
        work: impl FnOnce() -> T,
    ) -> T {
        let (done, wait) = mpsc::channel::<()>();
        if self.0.taken {
            // Without this thread nothing is told, which is no harm.
            let _ = std::thread::Builder::new().spawn(move || {
                if let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(PATIENCE) {
                    say(&format!("still {} …\n", name()));
                }
            });
        }
        let result = work();
        drop(done);
        result
    }

    /// Has the first signal stop the run by `stop`. `last_words` are called if the run does not end in time.
    pub(super) fn run_begins(&self, stop: &Stop, last_words: LastWords) {
        let mut state = self.state();
        if let Phase::Early | Phase::Doing(..) = state.phase {
            state.phase = Phase::Running(stop.clone(), last_words);
        }
        drop(state);
        self.0.changed.notify_all();
    }

    /// Says that the main thread ends the process now. Does not return if that is done elsewhere already.
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

    /// Takes the signal `number`, whoever received it.
    pub(super) fn hear(&self, number: i32) {
        let mut state = self.state();
        let meaning = state.heard.hear(number, Instant::now());
        let first = state.heard.first();
        match (&state.phase, meaning) {
            (Phase::Early | Phase::Doing(..), Meaning::Stop) => {
                state.phase = Phase::Ending;
                drop(state);
                bounded(|| say("interrupted before anything was built\n"));
                leave(first);
            }
            (Phase::Running(stop, _), Meaning::Stop) => {
                stop.request(CancelReason::Signal(first));
                drop(state);
                self.end_in(ending::WHOLE);
            }
            (Phase::Running(stop, _), Meaning::Haste) => {
                stop.insist();
                drop(state);
                self.end_in(ending::WHOLE_AFTER_SECOND);
            }
            // The run is over, but its end may not be told as long as nobody reads the output.
            (Phase::Ending, Meaning::Stop) => {
                drop(state);
                self.end_in(ending::WHOLE);
            }
            (Phase::Ending, Meaning::Haste) => {
                drop(state);
                self.end_in(ending::WHOLE_AFTER_SECOND);
            }
            (_, Meaning::Nothing) | (Phase::Early | Phase::Doing(..), Meaning::Haste) => {}
        }
    }

    // Ends the process after `time`, unless it has ended by itself.
    fn end_in(&self, time: Duration) {
        let signals = self.clone();
        let wait = move || {
            let until = Instant::now() + time.saturating_sub(ending::LAST_WORDS);
            signals.wait(Some(until), |phase| matches!(phase, Phase::Ending));
            let mut state = signals.state();
            let first = state.heard.first();
            if let Phase::Running(_, last_words) =
                std::mem::replace(&mut state.phase, Phase::Ending)
            {
                drop(state);
                bounded(move || last_words(first));
                leave(first);
            }
            drop(state);
            // The main thread is about to end the process, but may be stuck in telling so.
            signals.wait(Some(until + ending::LAST_WORDS), |_| false);
            leave(first);
        };
        let thread = std::thread::Builder::new().name("deadline".to_owned());
        // Without a further thread there can be no waiting.
        if thread.spawn(wait).is_err() {
            leave(self.state().heard.first());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Waits until `over` says so, or the time has come.
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
            self.wait(Some(Instant::now() + PATIENCE), |phase| !same(phase));
            if same(&self.state().phase) {
                let file = awaited::current();
                let file = file.map(|file| format!(", waiting for {file}"));
                say(&format!("still {name}{} …\n", file.unwrap_or_default()));
            }
            self.wait(None, |phase| !same(phase));
        }
    }
}

// Does what may block, such as writing to a pipe that nobody reads, for a bounded time.
fn bounded(work: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel::<()>();
    let started = std::thread::Builder::new().spawn(move || {
        work();
        drop(done);
    });
    if started.is_ok() {
        // The end of the work is told by the end of the channel.
        let _: Result<(), RecvTimeoutError> = wait.recv_timeout(ending::TELLING);
    }
}

// Past the lock of the stream, which the main thread may hold while it cannot write.
fn say(text: &str) {
    let _ = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
}

#[expect(
    clippy::exit,
    reason = "the user asked for an end, and what still runs cannot be waited for"
)]
fn leave(signal: i32) -> ! {
    ending::clear_up();
    process::exit(i32::from(Exit::for_signal(signal).code()))
}

/// Completes when a signal asks for the end, for work that ends when it is dropped. Called in a runtime.
pub(super) async fn first() -> i32 {
    let of = async |number| {
        if ending::is_ignored(number) {
            return std::future::pending().await;
        }
        match signal(SignalKind::from_raw(number)) {
            Ok(mut signal) => signal.recv().await,
            // It keeps its default action.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = of(SIGINT) => SIGINT,
        _ = of(SIGTERM) => SIGTERM,
        _ = of(SIGHUP) => SIGHUP,
    }
}

/// Takes it for SIGTERM when docker, which runs this process as its plugin, closes the socket at `address`.
///
/// Docker does that when it is told to stop and no terminal tells its children, too; and when it dies. Called in a runtime.
pub(super) fn watch_docker(signals: &Signals, address: &str) {
    // Docker's socket may be gone, or of a form that is not known here: signals still come the usual way.
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
    fn signals_within_half_a_second_are_one_and_the_first_decides() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut heard = Heard::default();
        assert_eq!(heard.hear(SIGHUP, at(0)), Meaning::Stop);
        assert_eq!(heard.hear(SIGTERM, at(0)), Meaning::Nothing);
        assert_eq!(heard.hear(SIGINT, at(499)), Meaning::Nothing);
        assert_eq!(heard.hear(SIGINT, at(500)), Meaning::Haste);
        assert_eq!(heard.hear(SIGTERM, at(5000)), Meaning::Nothing);
        assert_eq!(heard.first(), SIGHUP);
    }
}
