//! `rbake completion`: prints the script with which a shell completes rbake's command line.

use clap::{CommandFactory as _, FromArgMatches as _, Parser};

use crate::cli::completion::Shell;
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::cli::usage;

/// Prints the script that makes a shell complete the command line.
#[derive(Debug, Parser)]
#[command(
    name = "rbake completion",
    about = "Print the script that makes a shell complete targets, flags and their values",
    after_help = "\
bash  rbake completion bash > ~/.local/share/bash-completion/completions/rbake
zsh   rbake completion zsh > \"${fpath[1]}/_rbake\"
fish  rbake completion fish > ~/.config/fish/completions/rbake.fish

Docker's own scripts complete `docker rbake` without these.",
    max_term_width = 100
)]
struct Args {
    /// The shell that the script is for
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// The clap command, for help and completion.
pub(in crate::cli) fn command() -> clap::Command {
    Args::command()
}

pub(in crate::cli) fn run(program: &str, words: &[String], screen: &mut Screen) -> Exit {
    let name = format!("{program} completion");
    let words = std::iter::once(name.as_str()).chain(words.iter().map(String::as_str));
    let matches = command().bin_name(name.clone()).try_get_matches_from(words);
    match matches.and_then(|matches| Args::from_arg_matches(&matches)) {
        Ok(args) => screen.data(args.shell.script()),
        Err(error) => usage(&error, screen),
    }
}
