//! Whether changes that were shown are to be made.

use std::io::IsTerminal as _;

use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::diag::{Class, Diagnostic};

/// What the user said on the command line about the changes.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli::commands) struct Confirmation {
    /// They are only shown.
    pub(in crate::cli::commands) dry_run: bool,
    /// They are made without asking.
    pub(in crate::cli::commands) agreed: bool,
}

impl Confirmation {
    /// Returns `Ok` if the changes are to be made, and else how the command ends. May ask the user.
    ///
    /// # Errors
    /// The user must be asked, but there is no terminal.
    pub(in crate::cli::commands) fn ask(
        self,
        screen: &mut Screen,
    ) -> Result<Result<(), Exit>, Diagnostic> {
        if self.dry_run {
            return Ok(Err(Exit::Success));
        }
        if self.agreed || agreed_on_terminal(screen)? {
            return Ok(Ok(()));
        }
        screen.note("nothing was changed");
        Ok(Err(Exit::Usage))
    }
}

/// Asks the user. Without a terminal, it is an error.
fn agreed_on_terminal(screen: &mut Screen) -> Result<bool, Diagnostic> {
    if !screen.streams().err_is_terminal || !std::io::stdin().is_terminal() {
        let message = "nobody can be asked whether these changes should be made";
        return Err(
            Diagnostic::error(Class::Usage, "publish::not-confirmed", message)
                .help("`--yes` makes them without asking, `--dry-run` only shows them"),
        );
    }
    screen.message("make these changes? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    Ok(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
}
