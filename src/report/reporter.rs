//! The reporter: receives events from the whole program and shows them, on its own thread.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::bars::Bars;
use super::model::Model;
use super::plain::Plain;
use super::queue::EventQueue;
use super::quiet::Quiet;
use super::rawjson::RawJson;
use super::region::Size;
use super::style::Look;
use super::tty::{AskSize, Tty};
use super::view::View;
use super::{annotations, failure, summary};
use crate::diag::{SourceMap, Style};
use crate::event::EventSink;
use crate::outcome::{Outcome, TargetFacts};
use crate::types::Clock;

/// How long events are collected before they are shown together.
const BATCH: Duration = Duration::from_millis(50);
/// The size that the summary and the failures are made for if there is no terminal.
const NO_TERMINAL: Size = Size {
    cols: 120,
    rows: 24,
};

/// How a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A live view, for a terminal.
    Tty,
    /// One readable stream.
    Plain,
    /// Nothing but failures.
    Quiet,
    /// Progress as JSON, for programs.
    RawJson,
    /// Bars for work on this machine, for verbs that do not build.
    Bars,
}

/// What a reporter needs to know.
#[derive(Clone)]
pub struct Options {
    /// How the run is shown.
    pub mode: Mode,
    /// The colours and signs.
    pub look: Look,
    /// Asks for the terminal's size; `None` if the output is not a terminal.
    pub size: Option<AskSize>,
    /// The files that notices may point into.
    pub sources: Arc<SourceMap>,
    /// The run's clock. Events are stamped with its time.
    pub clock: Clock,
    /// Whether failures and warnings are also written as GitHub Actions' annotations.
    pub annotations: bool,
}

/// What the reporter prints at the end of a run.
#[derive(Debug, Default)]
pub struct ReportEnding {
    /// How the run ended.
    pub outcome: Outcome,
    /// Digests, tags and destinations of the targets that were built.
    pub facts: Vec<TargetFacts>,
    /// Whether failures include stack traces.
    pub debug: bool,
}

/// What a reporter returns when it has ended.
pub struct Finished {
    /// The model after the last event.
    pub(crate) model: Model,
    /// That nobody reads the output any more. `None` also if it could not be written for another reason, such as a full disk.
    pub(crate) broken: Option<io::Error>,
}

/// Shows a run until [`Reporter::finish`] or [`Reporter::stop`].
pub struct Reporter {
    queue: Arc<EventQueue>,
    ending: Arc<std::sync::Mutex<Option<ReportEnding>>>,
    thread: Option<JoinHandle<Finished>>,
}

impl Reporter {
    /// Starts to show a run on `out`. Events are sent to the returned sink, which uses the clock of `options`.
    ///
    /// If nobody reads `out` any more, `broken` is called once, on the reporter's thread. The reporter then
    /// goes on receiving events without showing them, because the caller decides what a closed output means. So it does if
    /// `out` cannot be written for another reason, such as a full disk: a build is worth more than its progress. The end of the
    /// run is tried again then.
    pub fn start(
        options: Options,
        out: Box<dyn io::Write + Send>,
        broken: Box<dyn FnOnce() + Send>,
    ) -> io::Result<(EventSink, Self)> {
        let queue = Arc::new(EventQueue::default());
        let ending = Arc::new(std::sync::Mutex::new(None));
        let clock = options.clock.clone();
        let show = Show {
            view: view_of(&options),
            options,
            model: Model::new(),
            out: io::BufWriter::new(out),
            broken: Some(broken),
            error: None,
        };
        let thread = std::thread::Builder::new().name("report".to_owned());
        let (events, words) = (queue.clone(), ending.clone());
        let thread = thread.spawn(move || show.run(&events, &words))?;
        let sink = {
            let queue = queue.clone();
            EventSink::new(clock, move |event| queue.push(event))
        };
        let reporter = Self {
            queue,
            ending,
            thread: Some(thread),
        };
        Ok((sink, reporter))
    }

    /// Shows the events that are still waiting, prints how the run ended, and returns the final state.
    ///
    /// Waits until the output has taken all of that. Events that are sent later are dropped.
    pub fn finish(mut self, ending: ReportEnding) -> Finished {
        self.say(ending);
        self.join()
    }

    /// Shows the events that are still waiting and ends the view, without a summary. For runs that built nothing.
    pub fn stop(mut self) -> Finished {
        self.join()
    }

    /// Sets what is printed at the end. The thread reads it once the queue is closed.
    fn say(&self, ending: ReportEnding) {
        let mut slot = self
            .ending
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *slot = Some(ending);
    }

    /// Closes the queue and waits for the thread.
    fn join(&mut self) -> Finished {
        self.queue.close();
        let finished = self.thread.take().and_then(|thread| thread.join().ok());
        finished.unwrap_or_else(|| Finished {
            model: Model::new(),
            broken: Some(io::Error::other("the reporter's thread ended early")),
        })
    }
}

impl Drop for Reporter {
    // A run that ends early must not leave a half-drawn region on the terminal.
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.join();
        }
    }
}

/// Returns the size of the terminal that this process runs in. `None` if it does not run in one.
pub fn terminal_size() -> Option<Size> {
    let (cols, rows) = crossterm::terminal::size().ok()?;
    Some(Size { cols, rows })
}

fn view_of(options: &Options) -> Box<dyn View> {
    let look = options.look.clone();
    let sources = options.sources.clone();
    match (options.mode, &options.size) {
        (Mode::Tty, Some(size)) => Box::new(Tty::new(look, size.clone(), sources)),
        (Mode::Tty, None) => Box::new(Tty::new(look, Arc::new(|| None), sources)),
        (Mode::Plain, _) => Box::new(Plain::new(look, sources)),
        (Mode::Quiet, _) => Box::new(Quiet::new(Style {
            color: options.look.color,
            ..Style::default()
        })),
        (Mode::RawJson, _) => Box::new(RawJson::new(options.clock.clone())),
        (Mode::Bars, size) => Box::new(Bars::new(look, size.is_some())),
    }
}

/// Whether nobody reads the output any more.
fn is_unread(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// The data of the reporter's thread.
struct Show {
    options: Options,
    view: Box<dyn View>,
    model: Model,
    out: io::BufWriter<Box<dyn io::Write + Send>>,
    /// Called once if the output breaks.
    broken: Option<Box<dyn FnOnce() + Send>>,
    error: Option<io::Error>,
}

impl Show {
    /// Runs the thread: applies and shows events in batches, ticks at the view's interval, and prints the end once
    /// the queue is closed.
    fn run(
        mut self,
        queue: &EventQueue,
        ending: &std::sync::Mutex<Option<ReportEnding>>,
    ) -> Finished {
        let clock = self.options.clock.clone();
        let interval = self.view.interval();
        let mut ticked = clock.elapsed();
        loop {
            let due = (ticked + interval).saturating_sub(clock.elapsed());
            let mut closed = queue.wait(due);
            if !closed {
                queue.gather(BATCH);
                closed = queue.wait(Duration::ZERO);
            }
            for event in queue.take() {
                let changes = self.model.apply(&event);
                self.show(|view, model, out| view.event(&event, &changes, model, out));
            }
            self.show(|_, _, out| out.flush());
            let now = clock.elapsed();
            if closed {
                break;
            }
            if now.saturating_sub(ticked) >= interval {
                ticked = now;
                self.show(|view, model, out| view.tick(model, now, out));
            }
        }
        let now = clock.elapsed();
        self.show(|view, model, out| view.close(model, now, out));
        let ending = ending
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        // There may be room again.
        let broken = self.error.take().filter(is_unread);
        self.error = broken;
        if let Some(ending) = ending {
            self.tell_end(&ending);
        }
        self.error = self.error.filter(is_unread);
        Finished {
            model: self.model,
            broken: self.error,
        }
    }

    /// Lets the view write, unless writing has failed before.
    fn show(
        &mut self,
        write: impl FnOnce(&mut dyn View, &Model, &mut dyn io::Write) -> io::Result<()>,
    ) {
        if self.error.is_some() {
            return;
        }
        if let Err(error) = write(&mut *self.view, &self.model, &mut self.out) {
            let is_unread = is_unread(&error);
            self.error = Some(error);
            if is_unread && let Some(broken) = self.broken.take() {
                broken();
            }
        }
    }

    /// Prints the summary, the annotations and the failures.
    fn tell_end(&mut self, ending: &ReportEnding) {
        let size = self.options.size.as_ref().and_then(|size| size());
        let size = size.filter(|size| size.cols > 0).unwrap_or(NO_TERMINAL);
        let look = &self.options.look;
        let mut text = String::new();
        if matches!(self.options.mode, Mode::Tty | Mode::Plain)
            && !ending.outcome.targets.is_empty()
        {
            text.push('\n');
            let columns = usize::from(size.cols);
            for line in summary::lines(&self.model, &ending.outcome, &ending.facts, columns, look) {
                text.push_str(&line.paint(look));
                text.push('\n');
            }
        }
        if self.options.annotations {
            text.push_str(&annotations::text(&self.model, &ending.outcome));
        }
        let failure = failure::text(&self.model, &ending.outcome, size.cols, look, ending.debug);
        if !failure.is_empty() && !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&failure);
        self.show(|_, _, out| {
            out.write_all(text.as_bytes())?;
            out.flush()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::recording;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    // Output that a test can read, and that may break after a number of bytes.
    #[derive(Clone)]
    struct Screen {
        written: Arc<Mutex<Vec<u8>>>,
        limit: Option<usize>,
        error: io::ErrorKind,
    }

    impl Default for Screen {
        fn default() -> Self {
            Self {
                written: Arc::default(),
                limit: None,
                error: io::ErrorKind::BrokenPipe,
            }
        }
    }

    impl io::Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut written = self.written.lock().unwrap();
            if self.limit.is_some_and(|limit| written.len() >= limit) {
                return Err(self.error.into());
            }
            written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn options(mode: Mode) -> Options {
        Options {
            mode,
            look: Look::default(),
            size: (mode == Mode::Tty).then(|| -> AskSize {
                Arc::new(|| {
                    Some(Size {
                        cols: 100,
                        rows: 30,
                    })
                })
            }),
            sources: Arc::default(),
            clock: Clock::system(),
            annotations: false,
        }
    }

    fn report(mode: Mode, recorded: &str, screen: &Screen) -> (Finished, usize) {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        let broken = Box::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let (sink, reporter) =
            Reporter::start(options(mode), Box::new(screen.clone()), broken).unwrap();
        let events = recording::read(recorded).unwrap();
        for event in &events {
            sink.send(event.kind.clone());
        }
        let outcome = recording::outcome_of(&events);
        let finished = reporter.finish(ReportEnding {
            outcome,
            ..ReportEnding::default()
        });
        sink.send(crate::event::EventKind::RunFinished);
        (finished, calls.load(Ordering::SeqCst))
    }

    fn text(screen: &Screen) -> String {
        String::from_utf8(screen.written.lock().unwrap().clone()).unwrap()
    }

    const COLD: &str = include_str!("../../tests/fixtures/status/cold.jsonl");
    const FAILURE: &str = include_str!("../../tests/fixtures/status/failure.jsonl");

    #[test]
    fn the_terminal_shows_the_end_of_the_run_and_no_live_view() {
        let screen = Screen::default();
        let (finished, _) = report(Mode::Tty, FAILURE, &screen);
        assert!(finished.broken.is_none());
        let nonzero = |n| std::num::NonZero::new(n).unwrap();
        let mut terminal = vt100::Parser::new(nonzero(30), nonzero(100), 1000);
        terminal.process(text(&screen).replace('\n', "\r\n").as_bytes());
        let shown = terminal.screen().contents();
        assert!(
            shown.contains("error[build::step-failed]: `test` failed: "),
            "{shown}"
        );
        assert!(shown.trim_end().ends_with("exit code 3"), "{shown}");
        assert!(
            !shown.contains("Building"),
            "the live view is gone: {shown}"
        );
        assert!(!terminal.screen().hide_cursor());
    }

    #[test]
    fn every_mode_ends_with_the_failure() {
        for mode in [Mode::Plain, Mode::Quiet, Mode::RawJson] {
            let screen = Screen::default();
            report(mode, FAILURE, &screen);
            let text = text(&screen);
            assert!(text.trim_end().ends_with("exit code 3"), "{mode:?}: {text}");
        }
    }

    #[test]
    fn quiet_prints_nothing() {
        let screen = Screen::default();
        let (finished, _) = report(Mode::Quiet, COLD, &screen);
        assert_eq!(text(&screen), "");
        assert_eq!(finished.model.targets().len(), 3);
    }

    #[test]
    fn a_full_disk_is_not_a_closed_output() {
        for mode in [Mode::Tty, Mode::Plain, Mode::RawJson] {
            let screen = Screen {
                limit: Some(300),
                error: io::ErrorKind::StorageFull,
                ..Screen::default()
            };
            let (finished, calls) = report(mode, COLD, &screen);
            assert!(finished.broken.is_none(), "{mode:?}");
            assert_eq!(calls, 0, "{mode:?}");
            assert!(finished.model.is_over());
        }
    }

    #[test]
    fn a_closed_output_is_reported_once_and_does_not_end_the_run() {
        for mode in [Mode::Tty, Mode::Plain, Mode::RawJson] {
            let screen = Screen {
                limit: Some(300),
                ..Screen::default()
            };
            let (finished, calls) = report(mode, COLD, &screen);
            assert_eq!(
                finished.broken.unwrap().kind(),
                io::ErrorKind::BrokenPipe,
                "{mode:?}"
            );
            assert_eq!(calls, 1, "{mode:?}");
            assert!(finished.model.is_over());
        }
    }

    #[test]
    fn a_reporter_that_is_dropped_leaves_the_terminal_clean() {
        let screen = Screen::default();
        let (sink, reporter) = Reporter::start(
            options(Mode::Tty),
            Box::new(screen.clone()),
            Box::new(|| ()),
        )
        .unwrap();
        sink.send(crate::event::EventKind::TargetStarted {
            target: "web".parse().unwrap(),
        });
        drop(reporter);
        assert!(!text(&screen).contains("error"));
    }
}
