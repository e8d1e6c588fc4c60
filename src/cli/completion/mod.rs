//! Completes an unfinished command line: flags and their values, and the targets, groups and variables of the
//! definition.
//!
//! The protocol is that of cobra's hidden command `__complete`. docker uses it for its plugins, and so do rbake's
//! own scripts for bash, zsh and fish. On any error the answer is empty, because nobody wants an error message
//! below an unfinished line. Start at [`answer`].

mod line;
mod set;
mod values;

use std::fmt::Write as _;

use clap::builder::StyledStr;
use clap::{Arg, Command, CommandFactory as _, ValueEnum};

use super::args::BakeArgs;
use super::commands;
use super::verb::{self, FirstWord, Verb};
use crate::types::{Environment, terminal};
use line::{Line, WantedWord};
use values::KnownNames;

/// A shell for which there is a completion script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Shell {
    /// GNU bash 4.4 or newer
    Bash,
    /// The Z shell
    Zsh,
    /// The friendly shell
    Fish,
}

impl Shell {
    /// The completion script for this shell.
    pub(super) const fn script(self) -> &'static str {
        match self {
            Self::Bash => include_str!("rbake.bash"),
            Self::Zsh => include_str!("rbake.zsh"),
            Self::Fish => include_str!("rbake.fish"),
        }
    }
}

/// A possible completion.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    /// The whole word; for `--flag=value`, the whole value.
    value: String,
    /// A short description, or empty.
    about: String,
}

impl Candidate {
    fn new(value: impl Into<String>, about: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            about: about.into(),
        }
    }
}

/// All possible completions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Candidates {
    list: Vec<Candidate>,
    /// Whether file names are possible, too. The shell completes those itself.
    files: bool,
}

impl Candidates {
    fn of(list: Vec<Candidate>) -> Self {
        Self { list, files: false }
    }

    fn files() -> Self {
        Self {
            list: Vec::new(),
            files: true,
        }
    }
}

/// Returns the answer to a completion request: the possible completions of the last of `words`. The words are those
/// after the program's name. With `described`, the answer has descriptions.
pub(super) fn answer(words: &[String], described: bool, environment: &Environment) -> String {
    let (current, typed) = match words.split_last() {
        Some((current, typed)) => (current.as_str(), typed),
        None => ("", words),
    };
    let (candidates, current) = candidates(typed, current, environment);
    written(candidates, current, described)
}

/// The possible completions, and the part of the word that they must begin with.
fn candidates<'w>(
    typed: &'w [String],
    current: &'w str,
    environment: &Environment,
) -> (Candidates, &'w str) {
    let mut known = KnownNames::new(environment);
    let at = first_operand(typed);
    let after = at.map_or(typed, |at| &typed[at + 1..]);
    match verb::first_word(at.map(|at| typed[at].as_str())) {
        FirstWord::Always(verb) => of_verb(verb, after, current, &mut known),
        FirstWord::Maybe(verb) => {
            known.read(&Line::read(&bake_command(), typed, current));
            if known.has(verb.name()) {
                of_bake(typed, current, &mut known)
            } else {
                of_verb(verb, after, current, &mut known)
            }
        }
        FirstWord::Other => of_bake(typed, current, &mut known),
    }
}

fn of_verb<'w>(
    verb: Verb,
    typed: &'w [String],
    current: &'w str,
    known: &mut KnownNames<'_>,
) -> (Candidates, &'w str) {
    match verb {
        Verb::Bake => of_bake(typed, current, known),
        Verb::Builder => of_command(commands::builder::command(), typed, current, known),
        Verb::Completion => of_command(commands::completion::command(), typed, current, known),
        Verb::Digest => of_command(commands::recovery::digest_command(), typed, current, known),
        Verb::Promote => of_command(commands::recovery::promote_command(), typed, current, known),
        Verb::Prune => of_command(commands::prune::command(), typed, current, known),
        Verb::Releases => of_command(
            commands::recovery::releases_command(),
            typed,
            current,
            known,
        ),
        Verb::Resume => of_command(commands::recovery::resume_command(), typed, current, known),
        Verb::Rollback => of_command(
            commands::recovery::rollback_command(),
            typed,
            current,
            known,
        ),
        Verb::Undo => of_command(commands::recovery::undo_command(), typed, current, known),
        Verb::Untag => of_command(commands::recovery::untag_command(), typed, current, known),
        Verb::Version => (Candidates::default(), current),
    }
}

/// The index of the first positional word in `words`, which are the words after the program's name.
pub(super) fn first_operand(words: &[String]) -> Option<usize> {
    line::first_operand(&bake_command(), words)
}

fn bake_command() -> Command {
    let mut command = BakeArgs::command();
    command.build();
    command
}

fn of_bake<'w>(
    typed: &'w [String],
    current: &'w str,
    known: &mut KnownNames<'_>,
) -> (Candidates, &'w str) {
    let command = bake_command();
    let line = Line::read(&command, typed, current);
    let candidates = match line.wanted {
        WantedWord::Flag => flags(&command),
        WantedWord::Value(arg) => known.value(arg, &line),
        WantedWord::Word => {
            let mut list = known.targets(&line);
            // Verbs accept only these two flags before them; the others belong to building.
            let of_verbs =
                |(flag, _): &(&str, &str)| ["builder", "debug", "log_file"].contains(flag);
            if line.words.is_empty() && line.flags.iter().all(of_verbs) {
                let verbs = Verb::ALL.into_iter();
                let verbs = verbs.filter(|verb| !known.has(verb.name()));
                list.extend(verbs.map(|verb| Candidate::new(verb.name(), verb.about())));
            }
            Candidates::of(list)
        }
    };
    (candidates, line.current)
}

/// Completes a command whose words clap knows completely: subcommands, flags and listed values.
fn of_command<'w>(
    mut command: Command,
    typed: &'w [String],
    current: &'w str,
    known: &mut KnownNames<'_>,
) -> (Candidates, &'w str) {
    command.build();
    let mut command = &command;
    let mut typed = typed;
    while let Some(below) = typed.first().and_then(|word| command.find_subcommand(word)) {
        (command, typed) = (below, &typed[1..]);
    }
    let line = Line::read(command, typed, current);
    let candidates = match line.wanted {
        WantedWord::Flag => flags(command),
        WantedWord::Value(arg) if arg.get_id() == "builder" || arg.get_id() == "log_file" => {
            known.value(arg, &line)
        }
        WantedWord::Value(arg) => possible(arg),
        WantedWord::Word if command.has_subcommands() => {
            let below = command
                .get_subcommands()
                .filter(|below| !below.is_hide_set());
            let below = below.filter(|below| below.get_name() != "help");
            Candidates::of(
                below
                    .map(|below| Candidate::new(below.get_name(), first_line(below.get_about())))
                    .collect(),
            )
        }
        WantedWord::Word => {
            let mut positionals = command.get_positionals();
            match positionals.next() {
                Some(arg) if arg.get_id() == "builder_name" => known.value(arg, &line),
                Some(arg) => possible(arg),
                None => Candidates::default(),
            }
        }
    };
    (candidates, line.current)
}

fn possible(arg: &Arg) -> Candidates {
    let values = arg.get_possible_values();
    let values = values.iter().filter(|value| !value.is_hide_set());
    Candidates::of(
        values
            .map(|value| Candidate::new(value.get_name(), first_line(value.get_help())))
            .collect(),
    )
}

fn flags(command: &Command) -> Candidates {
    let flags = command.get_arguments().filter(|arg| !arg.is_hide_set());
    Candidates::of(
        flags
            .filter_map(|arg| {
                let long = arg.get_long()?;
                Some(Candidate::new(
                    format!("--{long}"),
                    first_line(arg.get_help()),
                ))
            })
            .collect(),
    )
}

fn first_line(text: Option<&StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

// Bits of cobra's completion directive.
const NO_SPACE: u8 = 2;
const NO_FILES: u8 = 4;

fn written(candidates: Candidates, current: &str, described: bool) -> String {
    let mut directive = 0;
    if !candidates.files {
        directive |= NO_FILES;
    }
    let mut text = String::new();
    let fitting = candidates.list.into_iter().filter(|candidate| {
        candidate.value.starts_with(current) && candidate.value.chars().all(is_plain)
    });
    for candidate in fitting {
        if candidate.value.ends_with(['=', '.', '/', ',']) {
            directive |= NO_SPACE;
        }
        text.push_str(&candidate.value);
        let about = told(&candidate.about);
        if described && !about.is_empty() {
            text.push('\t');
            text.push_str(&about);
        }
        text.push('\n');
    }
    let _ = writeln!(text, ":{directive}");
    text
}

/// Whether `c` may be in a completion. Names come from a definition, which may be anybody's, and are typed into a
/// shell.
fn is_plain(c: char) -> bool {
    (c.is_alphanumeric() && !terminal::is_invisible(c)) || "_-+./=:,@%*".contains(c)
}

/// The first line of a description, without characters that could harm a terminal, and at most 80 characters.
fn told(about: &str) -> String {
    const LONGEST: usize = 80;
    let line = about.trim().lines().next().unwrap_or_default();
    line.chars()
        .filter(|c| !terminal::is_unsafe(*c) && !terminal::is_invisible(*c))
        .take(LONGEST)
        .collect()
}

#[cfg(test)]
mod tests;
