//! The standard streams. They are passed in, so that tests can read what is written.

use std::io::{self, IsTerminal, Write};

/// The destinations of data and of everything else.
///
/// Data (`--print`, `--list`, a verb's answer) goes to standard output. Progress, notes and errors go to standard
/// error.
pub struct Streams {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// Whether standard output is a terminal.
    pub(crate) out_is_terminal: bool,
    /// Whether standard error is a terminal.
    pub(crate) err_is_terminal: bool,
}

impl Streams {
    /// The standard streams of this process.
    pub fn of_process() -> Self {
        Self {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            out_is_terminal: io::stdout().is_terminal(),
            err_is_terminal: io::stderr().is_terminal(),
        }
    }

    /// Streams that do not count as terminals, for tests and other callers that read the output.
    pub fn to(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        Self {
            out,
            err,
            out_is_terminal: false,
            err_is_terminal: false,
        }
    }

    /// The width of standard error in columns. `None` if it is not a terminal, or if the width is unknown.
    pub(crate) fn width(&self) -> Option<u16> {
        if !self.err_is_terminal {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(io::stderr()).ok()?;
        Some(size.ws_col).filter(|columns| *columns > 0)
    }

    /// Writes data to standard output and flushes it.
    pub fn data(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Writes a message to standard error. Errors are ignored: the work goes on even if nobody can read the
    /// messages.
    pub fn message(&mut self, text: &str) {
        let _ = self.err.write_all(text.as_bytes());
        let _ = self.err.flush();
    }
}
