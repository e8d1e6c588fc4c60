//! The standard streams, passed in rather than reached for, and what a closed one means.

use std::io::{self, IsTerminal, Write};

/// Where data and everything else goes.
///
/// Data (`--print`, `--list`, a verb's answer) is standard output's; progress, notes and errors are standard error's.
pub struct Streams {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// Whether standard output is a terminal.
    pub(crate) out_is_terminal: bool,
    /// Whether standard error is a terminal.
    pub(crate) err_is_terminal: bool,
}

impl Streams {
    /// The process's own streams.
    pub fn of_process() -> Self {
        Self {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            out_is_terminal: io::stdout().is_terminal(),
            err_is_terminal: io::stderr().is_terminal(),
        }
    }

    /// Streams that are no terminals, for callers that read what is written.
    pub fn to(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        Self {
            out,
            err,
            out_is_terminal: false,
            err_is_terminal: false,
        }
    }

    /// Columns of the terminal that standard error is, if it is one.
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

    /// Writes a message to standard error. That nobody reads it is no reason to stop.
    pub fn message(&mut self, text: &str) {
        let _ = self.err.write_all(text.as_bytes());
        let _ = self.err.flush();
    }
}
