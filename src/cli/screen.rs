//! Writes what the user sees apart from a run's progress: data, notes and diagnostics.

use std::sync::{Arc, Mutex, PoisonError};

use super::exit::Exit;
use super::streams::Streams;
use crate::diag::{Class, Diagnostic, Diagnostics, Notices, SourceMap, Style, render};
use crate::golang::strconv;
use crate::types::{Environment, terminal};

/// The width, in columns, if the terminal's is not known.
const DEFAULT_WIDTH: u16 = 100;

/// The standard streams, with the settings for their output.
pub(super) struct Screen {
    streams: Streams,
    color: bool,
    width: u16,
    sources: Arc<SourceMap>,
}

impl Screen {
    pub(super) fn new(streams: Streams, environment: &Environment) -> Self {
        let forced = environment
            .get("CLICOLOR_FORCE")
            .and_then(strconv::parse_bool)
            == Some(true);
        let plain =
            environment.non_empty("NO_COLOR").is_some() || environment.get("TERM") == Some("dumb");
        let color = forced || streams.err_is_terminal && !plain;
        let width = streams
            .width()
            .or_else(|| environment.get("COLUMNS")?.parse().ok())
            .unwrap_or(DEFAULT_WIDTH);
        Self {
            streams,
            color,
            width,
            sources: Arc::default(),
        }
    }

    /// Messages that go to the standard error of the process at once, while others use the screen.
    pub(super) fn notices_of_process(environment: &Environment) -> Notices {
        let screen = Mutex::new(Self::new(Streams::of_process(), environment));
        Notices::new(move |notice| {
            let mut screen = screen.lock().unwrap_or_else(PoisonError::into_inner);
            screen.end_progress();
            screen.diagnostic(&notice);
        })
    }

    /// Whether to use colours.
    pub(super) const fn color(&self) -> bool {
        self.color
    }

    /// The streams, for a view that writes to them itself.
    pub(super) const fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Sets the files to which diagnostics refer.
    pub(super) fn set_sources(&mut self, sources: Arc<SourceMap>) {
        self.sources = sources;
    }

    /// The files to which diagnostics refer.
    pub(super) fn sources(&self) -> &Arc<SourceMap> {
        &self.sources
    }

    /// Writes data to standard output. Data may contain text from anywhere, so characters on which a terminal acts
    /// are written as numbers.
    pub(super) fn data(&mut self, text: &str) -> Exit {
        if self.streams.out_is_terminal {
            self.own_text(&terminal::visible_lines(text))
        } else {
            self.own_text(&terminal::visible_data(text))
        }
    }

    /// Writes rbake's own text to standard output, such as help. It may contain escape sequences for colours.
    pub(super) fn own_text(&mut self, text: &str) -> Exit {
        match self.streams.data(text) {
            Ok(()) => Exit::Success,
            Err(error) => {
                let message = format!("cannot write to standard output: {error}");
                self.diagnostic(&Diagnostic::error(Class::Build, "cli::output", message));
                Exit::Failed
            }
        }
    }

    /// Writes text to standard error. Characters on which a terminal acts are written as numbers.
    pub(super) fn message(&mut self, text: &str) {
        self.streams.message(&terminal::visible_lines(text));
    }

    /// Writes an error in the command line to standard error. It quotes words that may come from anywhere, so they
    /// are cleaned.
    pub(super) fn usage(&mut self, error: &clap::Error) {
        let plain = error.render().to_string();
        let clean = terminal::visible_lines(&plain);
        if self.color && clean == plain {
            self.streams.message(&error.render().ansi().to_string());
        } else {
            self.streams.message(&clean);
        }
    }

    /// Shows how far some work is: on a terminal in one line, which the next call replaces.
    pub(super) fn progress(&mut self, line: &str) {
        if self.streams.err_is_terminal {
            let shown = terminal::visible(line);
            self.streams.message(&format!("\r{shown}\x1b[K"));
        } else {
            self.message(&format!("{line}\n"));
        }
    }

    /// Ends what [`progress`](Self::progress) shows on a terminal.
    pub(super) fn end_progress(&mut self) {
        if self.streams.err_is_terminal {
            self.streams.message("\r\x1b[K");
        }
    }

    /// Writes a line of information.
    pub(super) fn note(&mut self, text: &str) {
        self.message(&format!("note: {text}\n"));
    }

    /// Writes one diagnostic.
    pub(super) fn diagnostic(&mut self, diagnostic: &Diagnostic) {
        let style = Style {
            color: self.color,
            width: self.width,
        };
        let text = render(diagnostic, &self.sources, style);
        self.streams.message(&text);
    }

    /// Writes all diagnostics and returns the exit code. Errors come last, so that they are next to the prompt.
    pub(super) fn diagnostics(&mut self, diagnostics: &Diagnostics) -> Exit {
        let others = diagnostics.0.iter().filter(|problem| !problem.is_error());
        for diagnostic in others.chain(diagnostics.errors()) {
            self.diagnostic(diagnostic);
        }
        diagnostics
            .errors()
            .next()
            .map_or(Exit::Success, |first| Exit::for_class(first.class))
    }
}
