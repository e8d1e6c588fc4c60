//! `rbake builder`.

use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::types::Environment;

pub(in crate::cli) fn run(
    _words: &[String],
    _environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    screen.message("not yet\n");
    Exit::Usage
}
