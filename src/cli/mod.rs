//! The command line: the only module that sees argv, environment, working directory, standard streams and signals.
//!
//! Start at [`run`]; [`verb`] says what a word means, [`args`] has the flags, `commands` has one file for each verb.

pub mod args;
mod commands;
pub mod exit;
mod progress;
mod screen;
pub mod signals;
pub mod streams;
pub mod verb;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use clap::error::ErrorKind;

use args::BakeArgs;
use commands::bake::Invocation;
use commands::definition::Loaded;
use exit::Exit;
use screen::Screen;
use streams::Streams;
use verb::{FirstWord, Verb};

use crate::types::Environment;

/// Runs one command line and says how the process ends.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    current_dir: PathBuf,
    streams: Streams,
) -> Exit {
    let environment = Environment::new(variables, current_dir);
    let mut screen = Screen::new(streams, &environment);
    let arguments: Vec<String> = arguments
        .into_iter()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    dispatch(&arguments, &environment, &mut screen)
}

fn dispatch(arguments: &[String], environment: &Environment, screen: &mut Screen) -> Exit {
    let words = arguments.get(1..).unwrap_or_default();
    match verb::first_word(words.first().map(String::as_str)) {
        FirstWord::Always(verb) => run_verb(verb, &words[1..], environment, screen),
        FirstWord::Other => bake(words, environment, screen, None),
        FirstWord::Maybe(verb) => {
            let loaded = commands::definition::peek(words, environment);
            match loaded.filter(|loaded| loaded.has(verb.name())) {
                Some(loaded) => {
                    screen.note(&format!(
                        "`{0}` is a target or group here; `rbake +{0}` reaches the verb",
                        verb.name()
                    ));
                    bake(words, environment, screen, Some(loaded))
                }
                None => run_verb(verb, &words[1..], environment, screen),
            }
        }
    }
}

fn run_verb(verb: Verb, words: &[String], environment: &Environment, screen: &mut Screen) -> Exit {
    match verb {
        Verb::Bake => bake(words, environment, screen, None),
        Verb::Builder => commands::builder::run(words, environment, screen),
        Verb::Version => screen.data(&format!("rbake {}\n", env!("CARGO_PKG_VERSION"))),
    }
}

fn bake(
    words: &[String],
    environment: &Environment,
    screen: &mut Screen,
    loaded: Option<Loaded>,
) -> Exit {
    let argv: Vec<String> = std::iter::once("rbake".to_owned())
        .chain(words.iter().cloned())
        .collect();
    match BakeArgs::try_parse_from(&argv) {
        Ok(args) => commands::bake::run(
            Invocation {
                args,
                argv,
                environment,
                loaded,
            },
            screen,
        ),
        Err(error) => usage(&error, screen),
    }
}

/// What clap has to say: help and version are answers, all else is a wrong command line.
fn usage(error: &clap::Error, screen: &mut Screen) -> Exit {
    let text = if screen.color() {
        error.render().ansi().to_string()
    } else {
        error.render().to_string()
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => screen.data(&text),
        _ => {
            screen.message(&text);
            Exit::Usage
        }
    }
}
