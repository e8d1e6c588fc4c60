//! Whether changes that were shown are to be made.

use std::io::IsTerminal as _;

use super::interruption::Interruption;
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
        interruption: &Interruption,
        screen: &mut Screen,
    ) -> Result<Result<(), Exit>, Diagnostic> {
        if self.dry_run {
            return Ok(Err(Exit::Success));
        }
        if self.agreed || interruption.asking(|| agreed_on_terminal(screen))? {
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
    Ok(says_yes("make these changes?", screen))
}

/// Asks a question on the terminal. Everything but "y" and "yes" means no.
pub(in crate::cli::commands) fn says_yes(question: &str, screen: &mut Screen) -> bool {
    screen.message(&format!("{question} [y/N] "));
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if !answer.ends_with('\n') {
        // After Ctrl-D, the cursor is still behind the question.
        screen.message("\n");
    }
    read.is_ok() && is_yes(&answer)
}

fn is_yes(answer: &str) -> bool {
    let answer = answer.trim();
    ["y", "yes"]
        .iter()
        .any(|yes| answer.eq_ignore_ascii_case(yes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_means_yes() {
        for answer in ["y\n", "Y", "yes\r\n", " YES\n", "Yes"] {
            assert!(is_yes(answer), "{answer:?}");
        }
        for answer in ["", "\n", "n\n", "no\n", "yess\n", "y y\n", "maybe"] {
            assert!(!is_yes(answer), "{answer:?}");
        }
    }
}
