//! The log of a run: what `RBAKE_LOG` and `--log-file` ask for.
//!
//! Without either of them nothing is installed, and an event costs one atomic load. Records of other crates are never written: they
//! log requests with their headers, and those hold credentials. Start at [`start`].

use std::fmt;
use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer as _, Registry};

use super::exit::Exit;
use super::output_place;
use super::screen::Screen;
use crate::diag::{Class, Diagnostic};
use crate::files::{OutputFile, Resolved, Resolver};
use crate::types::secret::redact_urls;
use crate::types::{Clock, Environment, terminal};

/// The variable that says what is logged.
const VARIABLE: &str = "RBAKE_LOG";

/// The name of the file in rbake's state directory.
const FILE_NAME: &str = "rbake.log";

/// What the crate's modules are called in records.
const CRATE: &str = "rbake";

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// Where the log of this command is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LogPlace {
    /// Nobody asked for one.
    Nowhere,
    /// Among what standard error shows.
    StandardError,
    /// In the file that `--log-file` names.
    Named(LogFile),
    /// In a file in rbake's state directory, because the live view has the terminal.
    Default(LogFile),
}

/// A file with a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogFile {
    place: Resolved,
    /// Why the first record that is missing could not be written.
    failure: Arc<OnceLock<String>>,
}

impl LogFile {
    fn shown(&self) -> String {
        terminal::visible(&self.place.path().display().to_string()).into_owned()
    }

    /// The warning about records that are missing, if there are any.
    fn incomplete(&self) -> Option<Diagnostic> {
        let reason = self.failure.get()?;
        let message = format!("the log `{}` is incomplete: {reason}", self.shown());
        Some(Diagnostic::warning("cli::log-file", message))
    }
}

impl LogPlace {
    /// Warns if records are missing in the log. Call this when the command has ended.
    pub(super) fn warn_if_incomplete(&self, screen: &mut Screen) {
        if let Self::Named(file) | Self::Default(file) = self
            && let Some(warning) = file.incomplete()
        {
            screen.diagnostic(&warning);
        }
    }

    /// Says where the log is, unless the user knows: a default file always, another one if a run with `--debug` fails.
    ///
    /// `explains` is whether a failure is followed by advice on how to get a log.
    pub(super) fn tell(&self, exit: Exit, explains: bool, screen: &mut Screen) {
        let failed = !matches!(
            exit,
            Exit::Success | Exit::Interrupted | Exit::HungUp | Exit::Usage
        );
        match self {
            Self::Default(file) => screen.note(&told(file)),
            Self::Named(file) if failed && explains => screen.note(&told(file)),
            Self::Nowhere if failed && explains => screen.note(&format!(
                "`--log-file FILE` or `{VARIABLE}=debug` writes a log of what happens between rbake and the builder"
            )),
            Self::Named(_) | Self::Nowhere | Self::StandardError => {}
        }
    }
}

fn told(file: &LogFile) -> String {
    format!("the log is in `{}`", file.shown())
}

/// Begins to log, if `RBAKE_LOG` or `flag`, the value of `--log-file`, asks for it. Called once in a process, before there are threads
/// that log.
///
/// Without a file the log goes to standard error, or to a file in the state directory if `draws`: a live view has the terminal.
///
/// # Errors
/// If the filter cannot be read, or the file cannot be written.
pub(super) fn start(
    flag: Option<&str>,
    draws: bool,
    environment: &Environment,
) -> Result<LogPlace, Diagnostic> {
    let filter = match environment.non_empty(VARIABLE) {
        Some(text) => filter(text)?,
        None if flag.is_some() => everything_at(LevelFilter::DEBUG),
        None => return Ok(LogPlace::Nowhere),
    };
    let (place, output) = match flag {
        Some(path) => {
            let place = output_place::named(path, &Resolver::new(environment.current_dir()))
                .map_err(|reason| unwritable(path, &reason))?;
            let (file, output) =
                open(place).map_err(|error| unwritable(path, &error.to_string()))?;
            (LogPlace::Named(file), output)
        }
        None if filter == everything_at(LevelFilter::OFF) => return Ok(LogPlace::Nowhere),
        None if draws => {
            let (file, output) = default_file(environment)?;
            (LogPlace::Default(file), output)
        }
        None => (LogPlace::StandardError, LogOutput::StandardError),
    };
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_timer(Timestamp(Clock::system()))
        .log_internal_errors(false)
        .with_writer(output);
    let subscriber = Registry::default().with(typed(layer).with_filter(filter));
    tracing::subscriber::set_global_default(subscriber).map_err(|error| {
        let message = format!("cannot start the log: {error}");
        Diagnostic::error(Class::Internal, "cli::internal", message)
    })?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "log begins");
    Ok(place)
}

/// Names the subscriber that `layer` is for, which the compiler cannot infer from a filter that is put on it.
fn typed<L, S>(layer: L) -> L
where
    L: tracing_subscriber::Layer<S>,
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    layer
}

fn everything_at(level: LevelFilter) -> Targets {
    Targets::new().with_target(CRATE, level)
}

/// Reads a filter such as `debug` or `info,rbake::engine=trace`. Of other crates nothing passes it.
///
/// # Errors
/// If a part is neither a level nor a module of rbake with a level.
fn filter(text: &str) -> Result<Targets, Diagnostic> {
    let problem = |reason: String| {
        Diagnostic::error(
            Class::Usage,
            "cli::log-filter",
            format!("`{VARIABLE}` is `{text}`, {reason}"),
        )
        .help("a level is one of error, warn, info, debug, trace and off; to set the level of a module, write `info,rbake::engine=trace`")
    };
    let parsed: Targets = text
        .parse()
        .map_err(|_| problem("which is not a filter".to_owned()))?;
    // A word that is not a level is a module for the library, and would pass for one that logs nothing.
    let is_ours = |target: &str| {
        let rest = target.strip_prefix(CRATE);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    if let Some((other, _)) = parsed.iter().find(|(target, _)| !is_ours(target)) {
        let reason = format!("and `{other}` is neither a level nor a module of rbake");
        return Err(problem(reason).similar("a level", other, LEVELS));
    }
    let general = parsed.default_level().unwrap_or(LevelFilter::OFF);
    let modules = parsed
        .iter()
        .map(|(target, level)| (target.to_owned(), level));
    Ok(everything_at(general).with_targets(modules))
}

/// The file for a log that has no other place, and what writes to it.
fn default_file(environment: &Environment) -> Result<(LogFile, LogOutput), Diagnostic> {
    let Some(dir) = environment.state_dir() else {
        let reason = "there is no folder for it: neither `RBAKE_STATE_DIR`, `XDG_STATE_HOME` nor `HOME` is set";
        return Err(unwritable(FILE_NAME, reason));
    };
    let path = environment.current_dir().join(dir).join(FILE_NAME);
    let shown = path.display().to_string();
    let made = || -> io::Result<(LogFile, LogOutput)> {
        if let Some(above) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(above)?;
        }
        let place = crate::files::resolve(Path::new("/"), &path)?;
        open(place)
    };
    made().map_err(|error| unwritable(&shown, &error.to_string()))
}

fn open(place: Resolved) -> io::Result<(LogFile, LogOutput)> {
    let file = OutputFile::create_growing(&place)?;
    let failure = Arc::default();
    let output = LogOutput::File(Arc::new(file), Arc::clone(&failure));
    Ok((LogFile { place, failure }, output))
}

fn unwritable(path: &str, reason: &str) -> Diagnostic {
    let message = format!("the log `{path}` cannot be written: {reason}");
    Diagnostic::error(Class::Usage, "cli::log-file", message)
        .help("name a file in an existing directory with `--log-file`")
}

/// The wall-clock time of a record: RFC 3339, UTC, milliseconds.
struct Timestamp(Clock);

impl FormatTime for Timestamp {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        let now = jiff::Timestamp::try_from(self.0.now()).map_err(|_| fmt::Error)?;
        write!(w, "{now:.3}")
    }
}

/// Where records are written, each as it comes.
#[derive(Clone)]
enum LogOutput {
    /// A file, and why the first record that is missing could not be written.
    File(Arc<OutputFile>, Arc<OnceLock<String>>),
    StandardError,
}

impl<'a> MakeWriter<'a> for LogOutput {
    type Writer = Record<'a>;

    fn make_writer(&'a self) -> Record<'a> {
        Record(self)
    }
}

/// Writes one record as one line, whatever is in its fields.
struct Record<'a>(&'a LogOutput);

impl Write for Record<'_> {
    // The library writes a record in one piece. A log that cannot be written does not end a run.
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(data);
        let line = line(&text);
        match self.0 {
            LogOutput::File(file, failure) => {
                if let Err(error) = file.file().write_all(line.as_bytes()) {
                    failure.get_or_init(|| error.to_string());
                }
            }
            // If standard error is lost, there is no place to say so.
            LogOutput::StandardError => drop(io::stderr().write_all(line.as_bytes())),
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `text` as one line. Fields are cleaned where they are made; this holds for one that was forgotten.
fn line(text: &str) -> String {
    let text = redact_urls(text.trim_end_matches('\n'));
    format!("{}\n", terminal::visible(&text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;
    use tracing::Level;

    const ENGINE: &str = "rbake::engine::connection";
    const RUN: &str = "rbake::run::target";

    #[test_case("debug", &[(RUN, Level::DEBUG)], &[(RUN, Level::TRACE)]; "a level")]
    #[test_case("TRACE", &[(RUN, Level::TRACE)], &[]; "in capitals")]
    #[test_case("info,rbake::engine=trace", &[(ENGINE, Level::TRACE), (RUN, Level::INFO)], &[(RUN, Level::DEBUG)]; "a module")]
    #[test_case("rbake=debug", &[(RUN, Level::DEBUG)], &[]; "the crate")]
    #[test_case("off", &[], &[(RUN, Level::ERROR)]; "off")]
    fn valid_filters_are_parsed(text: &str, passing: &[(&str, Level)], others: &[(&str, Level)]) {
        let filter = filter(text).unwrap();
        for (target, level) in passing {
            assert!(filter.would_enable(target, level), "{target} {level}");
        }
        // Other crates write the headers of requests.
        for other in ["h2::codec", "hyper", "reqwest", "rustls"] {
            assert!(!filter.would_enable(other, &Level::ERROR), "{other}");
        }
        for (target, level) in others {
            assert!(!filter.would_enable(target, level), "{target} {level}");
        }
    }

    #[test_case("debgu", "`debgu` is neither"; "no level")]
    #[test_case("info,h2=trace", "`h2` is neither"; "another crate")]
    #[test_case("rbakes=info", "`rbakes` is neither"; "another name")]
    #[test_case("rbake=loud", "not a filter"; "no level of a module")]
    fn wrong_filters_are_refused(text: &str, reason: &str) {
        let problem = filter(text).unwrap_err();
        assert!(problem.message.contains(reason), "{}", problem.message);
        assert_eq!(problem.class, Class::Usage);
    }

    #[test]
    fn no_log_is_written_by_default() {
        let unset = Environment::of([("HOME", "/nonexistent")], "/");
        assert_eq!(start(None, true, &unset), Ok(LogPlace::Nowhere));
        let off = Environment::of([("HOME", "/nonexistent"), (VARIABLE, "off")], "/");
        assert_eq!(start(None, true, &off), Ok(LogPlace::Nowhere));
    }

    #[test]
    fn a_record_is_one_line_without_credentials() {
        let text = line("INFO x: from=https://u:secret@h/x \u{1b}[2J\nforged\n");
        assert_eq!(
            text,
            "INFO x: from=https://xxxxx:xxxxx@h/x \\u001b[2J\\u000aforged\n"
        );
    }

    #[test]
    fn times_are_utc_with_milliseconds() {
        let clock = Clock::fixed(
            std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(1_500),
        );
        let mut text = String::new();
        Timestamp(clock)
            .format_time(&mut Writer::new(&mut text))
            .unwrap();
        assert_eq!(text, "1970-01-01T00:00:00.001Z");
    }
}
