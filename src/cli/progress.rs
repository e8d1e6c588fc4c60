//! Chooses the view that shows the progress of a run.

use std::sync::Arc;

use super::screen::Screen;
use crate::diag::{Class, Diagnostic};
use crate::report::{Look, Mode, Options, Palette, terminal_size};
use crate::types::{Clock, Environment};

/// The valid values of `--progress`.
const WORDS: [&str; 7] = ["auto", "plain", "tty", "quiet", "none", "rawjson", ""];

/// The view that `--progress` asks for, or `BUILDKIT_PROGRESS` if the flag is absent or `auto`.
///
/// # Errors
/// The value is not valid, or it is `tty` and standard error is not a terminal.
pub(super) fn mode(
    flag: Option<&str>,
    environment: &Environment,
    screen: &Screen,
) -> Result<Mode, Diagnostic> {
    let flag = flag.unwrap_or("auto");
    let (word, from) = match (flag, environment.non_empty("BUILDKIT_PROGRESS")) {
        ("auto" | "", Some(word)) => (word, "`BUILDKIT_PROGRESS`"),
        (flag, _) => (flag, "`--progress`"),
    };
    match word {
        "auto" | "" | "tty" if screen.streams().err_is_terminal => Ok(Mode::Tty),
        "auto" | "" | "plain" => Ok(Mode::Plain),
        "tty" => Err(Diagnostic::error(
            Class::Usage,
            "cli::no-terminal",
            format!("{from} is `tty`, but standard error is not a terminal"),
        )
        .help("`auto` uses the live view only on a terminal")),
        // buildx's help lists `none`, but buildx rejects it. Here it means no progress.
        "quiet" | "none" => Ok(Mode::Quiet),
        "rawjson" => Ok(Mode::RawJson),
        word => Err(Diagnostic::error(
            Class::Usage,
            "cli::progress",
            format!("{from} cannot be `{word}`"),
        )
        .similar("a mode", word, WORDS)
        .help("use auto, plain, tty, quiet or rawjson")),
    }
}

/// The options of the view `mode` on this `screen`.
pub(super) fn options(
    mode: Mode,
    environment: &Environment,
    screen: &Screen,
    clock: Clock,
) -> Options {
    let terminal = screen.streams().err_is_terminal;
    Options {
        mode,
        look: look(screen, environment),
        size: terminal.then(|| Arc::new(terminal_size) as _),
        sources: Arc::clone(screen.sources()),
        clock,
        annotations: environment.get("GITHUB_ACTIONS") == Some("true"),
    }
}

fn look(screen: &Screen, environment: &Environment) -> Look {
    let mut look = Look {
        color: screen.color(),
        ..Look::default()
    };
    look.unicode = utf8(environment);
    if let Some(colors) = environment.get("BUILDKIT_COLORS") {
        look.palette = Palette::from_buildkit_colors(colors);
    }
    if let Some(lines) = environment
        .get("BUILDKIT_TTY_LOG_LINES")
        .and_then(|lines| lines.parse().ok())
    {
        look.log_lines = lines;
    }
    look
}

/// Whether the locale uses UTF-8. As in the C library, the first variable that is set decides.
fn utf8(environment: &Environment) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| environment.non_empty(name));
    locale.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}
