//! Finds the SSH agents and keys of a target, and reads the keys before any work.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileTypeExt as _;

use crate::definition::model::{SharedText, SshEntry};
use crate::diag::{Class, Diagnostic, Diagnostics, Spanned};
use crate::engine::session::ssh::{
    DEFAULT_ID, InvalidKey, KEY_LIMIT, PrivateKeys, SshAgent, SshAgents,
};
use crate::files::Resolver;
use crate::plan::PlannedTarget;
use crate::types::Environment;
use crate::types::causes::in_one_line;

/// `plan::checks` finds most of these problems before, as `plan::ssh`. The names tell that they are the same.
const CODE: &str = "run::ssh";

/// The socket of the user's agent.
const AGENT: &str = "SSH_AUTH_SOCK";

/// Why an entry of `ssh` cannot be used. The texts continue "the SSH agent `id` …".
#[derive(Debug, thiserror::Error)]
enum SshProblem {
    #[error("is needed, but `{AGENT}` does not name one")]
    NoAgent,
    #[error("has a socket and a key, or two sockets")]
    Mixed,
    #[error("cannot be reached at `{path}`: {reason}")]
    Path { path: String, reason: String },
    #[error("cannot use the key `{path}`: {}", in_one_line(.source))]
    Key { path: String, source: InvalidKey },
}

impl SshProblem {
    fn help(&self) -> Option<&'static str> {
        match self {
            Self::NoAgent => Some(
                "start an agent (`eval \"$(ssh-agent)\"; ssh-add`), or name a socket or key: `id=PATH`",
            ),
            Self::Mixed => Some("name one socket, or any number of keys"),
            Self::Key {
                source: InvalidKey::Encrypted,
                ..
            } => Some("add it to an agent with `ssh-add`, and use the agent"),
            Self::Key { .. } => Some("`ssh-keygen -p -f KEY` writes a key in the form of OpenSSH"),
            Self::Path { .. } => None,
        }
    }
}

/// Finds what answers for the entries of `ssh`. A repository that is fetched over SSH needs the user's agent, if there is
/// no entry.
pub(super) fn find(
    planned: &PlannedTarget,
    environment: &Environment,
    paths: &Resolver,
) -> Result<SshAgents, Diagnostics> {
    let target = &planned.attributes;
    let context = target.context.as_ref();
    let implicit = Spanned {
        value: SshEntry::from_text(DEFAULT_ID),
        span: context.and_then(|context| context.span),
    };
    let is_implicit = target.ssh.is_empty() && planned.inputs.need_agent();
    let implicit = is_implicit.then_some(&implicit);
    let mut found = BTreeMap::new();
    let mut problems = Diagnostics::default();
    for entry in target.ssh.iter().chain(implicit) {
        let id = match &*entry.id {
            "" => DEFAULT_ID,
            id => id,
        };
        match agent(&entry.value, environment, paths) {
            Ok(agent) => {
                found.insert(id.to_owned(), agent);
            }
            Err(error) => {
                let name = &target.name.value;
                let message = format!("target `{name}`: the SSH agent `{id}` {error}");
                let problem = Diagnostic::error(Class::Definition, CODE, message);
                let problem = problem.at(entry.span.or(target.name.span), "");
                problems.push(error.help().into_iter().fold(problem, Diagnostic::help));
            }
        }
    }
    problems.into_result(SshAgents::new(found))
}

/// The user's agent, or what `paths` name, with which a definition is fetched.
pub(super) fn for_definition(
    named: &[String],
    environment: &Environment,
    paths: &Resolver,
) -> Result<SshAgents, String> {
    let mut entry = SshEntry::from_text(DEFAULT_ID);
    entry.paths = named.iter().map(|path| path.as_str().into()).collect();
    let agent = agent(&entry, environment, paths).map_err(|error| error.to_string())?;
    let agents = BTreeMap::from([(DEFAULT_ID.to_owned(), agent)]);
    Ok(SshAgents::new(agents))
}

fn agent(
    entry: &SshEntry,
    environment: &Environment,
    paths: &Resolver,
) -> Result<SshAgent, SshProblem> {
    let named: Vec<&SharedText> = entry.paths.iter().filter(|path| !path.is_empty()).collect();
    if named.is_empty() {
        let socket = environment.non_empty(AGENT).ok_or(SshProblem::NoAgent)?;
        // The user's environment names it, not the definition, so it needs no privilege.
        return Ok(SshAgent::Socket(environment.current_dir().join(socket)));
    }
    let mut socket = None;
    let mut keys = Vec::new();
    for path in named {
        let failed = |reason: String| SshProblem::Path {
            path: path.to_string(),
            reason,
        };
        let place = paths
            .resolve(path)
            .map_err(|error| failed(error.reason()))?;
        let metadata = place.path().metadata();
        let metadata = metadata.map_err(|error| failed(error.to_string()))?;
        if metadata.file_type().is_socket() {
            if socket.replace(place.path().to_owned()).is_some() {
                return Err(SshProblem::Mixed);
            }
            continue;
        }
        let key = read(place.path()).map_err(|error| failed(error.to_string()))?;
        // One after the other, so that the message names the file.
        PrivateKeys::parse([key.as_slice()]).map_err(|source| SshProblem::Key {
            path: path.to_string(),
            source,
        })?;
        keys.push((path, key));
    }
    match socket {
        Some(_) if !keys.is_empty() => Err(SshProblem::Mixed),
        Some(socket) => Ok(SshAgent::Socket(socket)),
        None => {
            let files = keys.iter().map(|(_, key)| key.as_slice());
            PrivateKeys::parse(files)
                .map(SshAgent::Keys)
                .map_err(|source| SshProblem::Key {
                    path: entry.id.to_string(),
                    source,
                })
        }
    }
}

/// Reads a file, up to one byte more than the largest key.
fn read(path: &std::path::Path) -> std::io::Result<Vec<u8>> {
    let mut key = Vec::new();
    let limit = u64::try_from(KEY_LIMIT)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut key)?;
    Ok(key)
}
