//! Privileges that a plan needs and the user has not granted: rbake reports them and asks on a terminal; without
//! one, it is an error.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::Path;

use super::recovery::confirm::says_yes;
use crate::cli::screen::Screen;
use crate::diag::{Class, Diagnostic, Diagnostics, Spanned};
use crate::files::Resolver;
use crate::plan::Plan;
use crate::plan::entitlements::{Allowed, Enforcement, Missing, missing};
use crate::types::Environment;
use crate::types::terminal::visible;

/// What the command line says about privileges.
pub(super) struct Asked<'a> {
    /// The granted privileges.
    pub(super) allowed: &'a Allowed,
    /// The words before rbake's own and rbake's own words, for the advice on how to run it again with more
    /// privileges.
    pub(super) program: &'a [String],
    pub(super) words: &'a [String],
    /// Whether the user can be asked in this mode.
    pub(super) may_ask: bool,
    /// Whether the definition was fetched from a remote address.
    pub(super) fetched: bool,
}

/// Whether `plan` needs no privileges beyond those that are granted.
pub(super) fn are_granted(
    plan: &Plan,
    allowed: &Allowed,
    environment: &Environment,
    paths: &Resolver,
) -> bool {
    missing(plan, allowed, environment, paths).is_ok_and(|missing| missing.is_empty())
}

/// Checks that all privileges that `plan` needs are granted. Asks the user about the missing ones.
pub(super) fn check(
    plan: &Plan,
    asked: &Asked<'_>,
    environment: &Environment,
    paths: &Resolver,
    screen: &mut Screen,
) -> Result<(), Diagnostics> {
    let Asked {
        allowed,
        program,
        words,
        may_ask,
        fetched,
    } = *asked;
    let missing = missing(plan, allowed, environment, paths)?;
    if missing.is_empty() {
        return Ok(());
    }
    let enforcement = Enforcement::from_environment(environment, fetched)?;
    let can_ask = may_ask && screen.streams().err_is_terminal && std::io::stdin().is_terminal();
    let told = Told {
        missing: &missing,
        enforcement,
        program,
        words,
        can_ask,
    };
    explain(&told, environment.current_dir(), screen);
    if !enforcement.refuses(&missing) {
        return Ok(());
    }
    if can_ask && agreed(screen) {
        return Ok(());
    }
    Err(Diagnostic::error(
        Class::Usage,
        "cli::privileges",
        "additional privileges requested",
    )
    .help(format!(
        "pass `{}` to grant them",
        missing.typed_flags(environment.current_dir())
    ))
    .into())
}

/// Checks that the user allows a command of `rbake.toml`, which a gate runs on this machine. Asks the user. `None` if there is
/// no such command.
pub(super) fn check_command(
    command: Option<&Spanned<String>>,
    asked: &Asked<'_>,
    screen: &mut Screen,
) -> Result<(), Diagnostics> {
    let Some(command) = command.filter(|_| !asked.allowed.gate_command()) else {
        return Ok(());
    };
    let can_ask =
        asked.may_ask && screen.streams().err_is_terminal && std::io::stdin().is_terminal();
    if can_ask {
        let command = visible(&command.value);
        screen.message(&format!(
            "The gate in `rbake.toml` runs a command on this machine, with your privileges:\n\n    {command}\n\nPass `--allow=gate.run` to not be asked.\n\n"
        ));
        if agreed(screen) {
            return Ok(());
        }
    }
    let message = "the gate runs a command on this machine, which you have not allowed";
    Err(
        Diagnostic::error(Class::Usage, "cli::gate-command", message)
            .at(command.span, "")
            .help("pass `--allow=gate.run` to allow it")
            .help(
                "`--gate-run COMMAND` runs another command, `--no-gates` publishes without the gates of the file",
            )
            .into(),
    )
}

/// The facts for the message to the user.
struct Told<'a> {
    missing: &'a Missing,
    enforcement: Enforcement,
    program: &'a [String],
    words: &'a [String],
    can_ask: bool,
}

fn explain(told: &Told<'_>, dir: &Path, screen: &mut Screen) {
    let Told {
        missing,
        enforcement,
        ..
    } = told;
    let mut text = String::from(
        "Your build is requesting privileges for following possibly insecure capabilities:\n\n",
    );
    for reason in missing.reasons(dir) {
        text.push_str(" - ");
        text.push_str(&reason);
        text.push('\n');
    }
    text.push_str(if told.can_ask {
        "\nIn order to not see this message in the future pass these flags to grant requested privileges:\n\n"
    } else {
        "\nPass these flags to grant requested privileges:\n\n"
    });
    let flags = missing.typed_flags(dir);
    let command = missing.command_with_flags(told.program, told.words, dir);
    let _ = writeln!(text, "{flags}");
    let _ = writeln!(
        text,
        "\nYour full command with requested privileges:\n\n{command}\n"
    );
    if enforcement.files && !enforcement.chosen && missing.needs_files() {
        text.push_str("To disable filesystem entitlements checks, you can set BUILDX_BAKE_ENTITLEMENTS_FS=0 .\n\n");
    }
    screen.message(&text);
}

fn agreed(screen: &mut Screen) -> bool {
    let question = "Do you want to grant requested privileges and continue?";
    says_yes(question, screen)
}
