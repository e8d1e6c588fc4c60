//! Reads the definition that a command line names: finds the files and the variables.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;

use crate::cli::args::BakeArgs;
use crate::definition::decode::DecodeOptions;
use crate::definition::model::Definition;
use crate::definition::source::{self, SourceRequest};
use crate::definition::{self, EvaluationInputs};
use crate::diag::{Class, Diagnostic, Diagnostics, SourceMap};
use crate::plan::entitlements::Enforcement;
use crate::run::FetchedDefinition;
use crate::types::remote::{RemoteAddress, is_remote};
use crate::types::secret::redact_url;
use crate::types::{Clock, Environment, Platform};

/// A definition, and the rest of the command line that belongs to it.
pub(in crate::cli) struct LoadedDefinition {
    pub(in crate::cli) definition: Definition,
    pub(in crate::cli) sources: Arc<SourceMap>,
    /// The targets on the command line, without the addresses of a remote definition.
    pub(in crate::cli) targets: Vec<String>,
    /// Whether the definition was fetched from a remote address.
    pub(in crate::cli) fetched: bool,
    /// The folder of the first file, relative to the working directory.
    pub(in crate::cli) folder: PathBuf,
}

/// The definition could not be read. Contains the files to which the problems refer.
pub(in crate::cli) struct Unreadable {
    pub(in crate::cli) problems: Diagnostics,
    pub(in crate::cli) sources: Arc<SourceMap>,
}

impl LoadedDefinition {
    /// Whether there is a target or group called `name`.
    pub(in crate::cli) fn has(&self, name: &str) -> bool {
        self.definition.targets.contains_key(name) || self.definition.groups.contains_key(name)
    }
}

/// Reads the definition that a command line names. `None` if it cannot be read, or only once, as standard input.
pub(in crate::cli) fn peek(
    words: &[String],
    environment: &Environment,
) -> Option<LoadedDefinition> {
    let args =
        BakeArgs::try_parse_from(std::iter::once("rbake").chain(words.iter().map(String::as_str)));
    let args = args.unwrap_or_else(|_| BakeArgs::parse_from(["rbake"]));
    if !source::is_repeatable(&args.files, environment) {
        return None;
    }
    load(&args, environment).ok()
}

/// Reads the files of a definition on this machine, evaluates them, and decodes the targets.
pub(in crate::cli) fn load(
    args: &BakeArgs,
    environment: &Environment,
) -> Result<LoadedDefinition, Unreadable> {
    if let Some(address) = remote(args) {
        let message = format!(
            "`{}` is the address of a remote definition, and only a build reads that",
            redact_url(address.as_str())
        );
        let problem = Diagnostic::error(Class::Usage, "cli::usage", message);
        return Err(bare(
            problem.help("clone it, and run this in the clone").into(),
        ));
    }
    load_with(args, environment, None)
}

/// The address of the remote definition on the command line.
pub(in crate::cli) fn remote(args: &BakeArgs) -> Option<RemoteAddress> {
    let (remote, ..) = split_positionals(&args.targets);
    RemoteAddress::parse(&remote?.into())
}

/// Without the sources: they were not read.
fn bare(problems: Diagnostics) -> Unreadable {
    Unreadable {
        problems,
        sources: Arc::default(),
    }
}

/// Like [`load`]. The files of `fetched`, which comes from [`remote`], are read before local ones.
pub(in crate::cli) fn load_with(
    args: &BakeArgs,
    environment: &Environment,
    fetched: Option<FetchedDefinition>,
) -> Result<LoadedDefinition, Unreadable> {
    let (_, command_context, targets) = split_positionals(&args.targets);
    let vars = variables(&args.var).map_err(bare)?;
    let options =
        DecodeOptions::from_environment(environment).map_err(|problem| bare(problem.into()))?;
    let request = SourceRequest {
        files: &args.files,
        fetched: fetched.as_ref().map(|fetched| fetched.files.as_slice()),
        environment,
    };
    let folder = source::folder(&request);
    let mut sources = source::read(&request, &mut std::io::stdin().lock()).map_err(bare)?;
    let readable = match fetched {
        Some(_) => readable(&args.allow, environment).map_err(|problem| bare(problem.into()))?,
        None => None,
    };
    let inputs = EvaluationInputs {
        environment,
        vars: &vars,
        command_context: command_context.as_deref(),
        local_platform: &Platform::local(),
        now: Clock::system().now(),
        readable: readable.as_deref(),
    };
    let definition = definition::load(&mut sources, &inputs, options);
    let sources = Arc::new(sources.map);
    match definition {
        Ok(mut definition) => {
            let is_fetched = fetched.is_some();
            definition.tree = fetched.and_then(|fetched| fetched.tree);
            Ok(LoadedDefinition {
                definition,
                sources,
                targets,
                fetched: is_fetched,
                folder,
            })
        }
        Err(problems) => Err(Unreadable { problems, sources }),
    }
}

/// The places of this machine from which a fetched definition may read files: the working directory, and what `allow` grants. `None`
/// for all of them.
fn readable(
    allow: &[String],
    environment: &Environment,
) -> Result<Option<Vec<PathBuf>>, Diagnostic> {
    if !Enforcement::from_environment(environment, true)?.files {
        return Ok(None);
    }
    let base = environment.current_dir();
    let granted = allow.iter().filter_map(|grant| {
        let path = grant.strip_prefix("fs.read=");
        path.or_else(|| grant.strip_prefix("fs="))
    });
    let granted: Vec<&str> = granted.collect();
    if granted.contains(&"*") {
        return Ok(None);
    }
    let places = granted.into_iter().map(|path| base.join(path));
    Ok(Some(places.chain([base.to_owned()]).collect()))
}

/// Splits the positional words: `[URL [CMD_CONTEXT_URL]] [TARGET…]`.
fn split_positionals(words: &[String]) -> (Option<String>, Option<String>, Vec<String>) {
    let mut words = words.iter().cloned().peekable();
    let remote = words.next_if(|word| is_remote(word));
    let context = remote
        .as_ref()
        .and_then(|_| words.next_if(|word| is_remote(word)));
    (remote, context, words.collect())
}

fn variables(flags: &[String]) -> Result<Vec<(String, String)>, Diagnostics> {
    let mut variables = Vec::new();
    let mut problems = Diagnostics::default();
    for flag in flags.iter().filter(|flag| !flag.is_empty()) {
        let bad = |what: &str| {
            Diagnostic::error(Class::Usage, "cli::var", format!("`--var {flag}`: {what}"))
                .help("write `--var NAME=VALUE`")
        };
        match flag.split_once('=') {
            None => problems.push(bad("there is no `=`")),
            Some(("", _)) => problems.push(bad("the name is empty")),
            Some((name, value)) => variables.push((name.to_owned(), value.to_owned())),
        }
    }
    problems.into_result(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_addresses_come_before_targets() {
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        let (remote, context, targets) =
            split_positionals(&words(&["https://x/r.git", "https://y/c.git", "web"]));
        assert_eq!(
            (remote.as_deref(), context.as_deref()),
            (Some("https://x/r.git"), Some("https://y/c.git"))
        );
        assert_eq!(targets, ["web"]);
        let (remote, _, targets) = split_positionals(&words(&["web", "https://x/r.git"]));
        assert_eq!((remote, targets.len()), (None, 2));
    }

    #[test]
    fn variables_need_a_name() {
        let read = |flag: &str| variables(&[flag.to_owned()]);
        assert_eq!(read("A=b=c").unwrap(), [("A".to_owned(), "b=c".to_owned())]);
        assert_eq!(read("").unwrap(), []);
        assert!(read("A").is_err() && read("=x").is_err());
    }
}
