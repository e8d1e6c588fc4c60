//! The command line. This is the only module that uses argv, the environment, the working directory, the standard
//! streams and signals.
//!
//! Start at [`run`]. [`verb`] decides what a word means, [`args`] has the flags, and `commands` has one file for
//! each verb.

pub mod args;
mod call;
mod commands;
mod completion;
mod docker_config;
pub mod exit;
mod logs;
mod not_text;
mod output_place;
pub mod panics;
mod plugin;
mod progress;
mod screen;
mod signals;
pub mod streams;
pub mod verb;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;

use commands::bake::Invocation;
use commands::definition::LoadedDefinition;
use exit::Exit;
use plugin::ProcessRole;
use screen::Screen;
use streams::Streams;
use verb::{FirstWord, Verb};

use crate::diag::{Class, Diagnostic};
use crate::hcl::on_deep_stack;
use crate::types::Environment;

/// Runs a command line and returns how the process must end.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    current_dir: PathBuf,
    streams: Streams,
) -> Exit {
    let environment = Environment::new(variables, current_dir);
    let mut screen = Screen::new(streams, &environment);
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let Some(problem) = not_text::problem(&arguments, &environment) {
        return screen.diagnostics(&problem.into());
    }
    let arguments: Vec<String> = arguments
        .into_iter()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    // All work on a definition runs on one thread with a deep stack. If no thread can be started, use this one.
    let mut exit = None;
    let work = || exit = Some(answer(&arguments, &environment, &mut screen));
    let started = on_deep_stack(work);
    match (started, exit) {
        (_, Some(exit)) => exit,
        _ => answer(&arguments, &environment, &mut screen),
    }
}

/// Runs the command line as `rbake` or as a plugin of docker, depending on the name of the program.
fn answer(arguments: &[String], environment: &Environment, screen: &mut Screen) -> Exit {
    match plugin::role(arguments, environment) {
        ProcessRole::Metadata => screen.data(&plugin::metadata()),
        ProcessRole::Command => {
            let mut words = arguments.iter().cloned();
            let front = Front {
                program: vec![words.next().unwrap_or_else(|| "rbake".to_owned())],
                name: "rbake".to_owned(),
                debug: None,
            };
            let words: Vec<String> = words.collect();
            dispatch(&front, &words, environment, screen)
        }
        ProcessRole::Plugin(name) => match plugin::call(&name, arguments, environment) {
            Err(error) => usage(&error, screen),
            Ok(Err(problem)) => screen.diagnostics(&problem.into()),
            Ok(Ok(call)) => {
                let front = Front {
                    program: call.program,
                    name: format!("docker {name}"),
                    debug: call.debug,
                };
                dispatch(&front, &call.words, &call.environment, screen)
            }
        },
    }
}

/// The beginning of the command line, before rbake's own words.
struct Front {
    /// The words as they were typed (such as `docker`), for advice on what to type.
    program: Vec<String>,
    /// The program's name in help texts.
    name: String,
    /// Docker's `--debug`, if it was given there.
    debug: Option<bool>,
}

/// Decides whether the words mean a verb, a completion request or a build, and runs it.
fn dispatch(
    front: &Front,
    words: &[String],
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    // Completion scripts, also docker's, send this request. Users do not type it.
    if let Some((question @ ("__complete" | "__completeNoDesc"), rest)) = words
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest))
    {
        let described = question == "__complete";
        return screen.data(&completion::answer(rest, described, environment));
    }
    // Flags of building may stand before a verb, as in `docker buildx --builder NAME bake`.
    let at = completion::first_operand(words).filter(|at| !asks_for_version(&words[..*at]));
    let spoken = |verb| Spoken {
        verb,
        words,
        at: at.unwrap_or_default(),
    };
    match verb::first_word(at.map(|at| words[at].as_str())) {
        FirstWord::Always(verb) => run_verb(&spoken(verb), front, environment, screen),
        FirstWord::Other => bake(front, words, environment, screen, None),
        // The definition decides: a target or group of this name takes precedence over the verb.
        FirstWord::Maybe(verb) => {
            let loaded = commands::definition::peek(words, environment);
            match loaded.filter(|loaded| loaded.has(verb.name())) {
                Some(loaded) => {
                    screen.note(&format!(
                        "`{0}` is a target or group here; use `rbake +{0}` for the verb",
                        verb.name()
                    ));
                    bake(front, words, environment, screen, Some(loaded))
                }
                None => run_verb(&spoken(verb), front, environment, screen),
            }
        }
    }
}

fn asks_for_version(flags: &[String]) -> bool {
    flags.iter().any(|flag| flag == "--version" || flag == "-V")
}

/// A command line with a verb.
struct Spoken<'a> {
    verb: Verb,
    words: &'a [String],
    /// The index of the verb in the words. Only flags come before it.
    at: usize,
}

impl Spoken<'_> {
    /// The verb's arguments: all words but the verb, including the flags before it.
    fn arguments(&self) -> Vec<String> {
        let after = self.words.get(self.at + 1..).unwrap_or_default();
        [&self.words[..self.at], after].concat()
    }
}

fn run_verb(
    spoken: &Spoken<'_>,
    front: &Front,
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    let word = &spoken.words[spoken.at];
    let words = spoken.arguments();
    match spoken.verb {
        Verb::Bake => {
            let mut program = front.program.clone();
            program.push(word.clone());
            let front = Front {
                program,
                name: format!("{} {word}", front.name),
                debug: front.debug,
            };
            bake(&front, &words, environment, screen, None)
        }
        Verb::Builder => commands::builder::run(&front.name, &words, environment, screen),
        Verb::Completion => commands::completion::run(&front.name, &words, screen),
        Verb::Digest => commands::recovery::digest(&front.name, &words, environment, screen),
        Verb::Promote => commands::recovery::promote(&front.name, &words, environment, screen),
        Verb::Prune => commands::prune::run(&front.name, &words, environment, screen),
        Verb::Releases => commands::recovery::releases(&front.name, &words, environment, screen),
        Verb::Resume => commands::recovery::resume(&front.name, &words, environment, screen),
        Verb::Rollback => commands::recovery::rollback(&front.name, &words, environment, screen),
        Verb::Undo => commands::recovery::undo(&front.name, &words, environment, screen),
        Verb::Untag => commands::recovery::untag(&front.name, &words, environment, screen),
        Verb::Version => match words
            .iter()
            .find(|word| *word != "--debug" && *word != "-D")
        {
            None => screen.data(&format!("rbake {}\n", env!("CARGO_PKG_VERSION"))),
            Some(word) if word == "--help" || word == "-h" => screen.data(&format!(
                "Print the version of rbake\n\nUsage: {} version\n",
                front.name
            )),
            Some(word) => {
                let message = format!(
                    "`{} version` takes no arguments, but got `{word}`",
                    front.name
                );
                screen.diagnostics(&Diagnostic::error(Class::Usage, "cli::usage", message).into())
            }
        },
    }
}

fn bake(
    front: &Front,
    words: &[String],
    environment: &Environment,
    screen: &mut Screen,
    loaded: Option<LoadedDefinition>,
) -> Exit {
    match args::parse(&front.name, words) {
        Ok(mut args) => {
            args.debug = args.debug.or(front.debug);
            commands::bake::run(
                Invocation {
                    args,
                    program: &front.program,
                    words,
                    environment,
                    loaded,
                },
                screen,
            )
        }
        Err(error) => usage(&error, screen),
    }
}

/// Prints a message from clap. Help and version succeed; everything else is an error in the command line.
fn usage(error: &clap::Error, screen: &mut Screen) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion if screen.color() => {
            screen.own_text(&error.render().ansi().to_string())
        }
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            screen.own_text(&error.render().to_string())
        }
        _ => {
            screen.usage(error);
            Exit::Usage
        }
    }
}
