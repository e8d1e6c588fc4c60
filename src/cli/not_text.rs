//! Reports arguments and variables that are not UTF-8, if rbake would have to use them as text.

use std::ffi::OsString;

use crate::diag::{Class, Diagnostic};
use crate::types::Environment;

const CODE: &str = "cli::not-text";

/// Prefixes of the variables that control rbake.
const OURS: [&str; 4] = ["BUILDKIT_", "BUILDX_", "DOCKER_", "RBAKE_"];

/// The problem with the arguments or with the variables that control rbake; `None` if all are UTF-8.
pub(super) fn problem(arguments: &[OsString], environment: &Environment) -> Option<Diagnostic> {
    let mut words = arguments.iter().skip(1);
    // Shells ask for completions while a word is incomplete, so it may end in the middle of a character.
    if words
        .clone()
        .next()
        .is_some_and(|word| word.to_string_lossy().starts_with("__complete"))
    {
        return None;
    }
    if let Some(word) = words.find(|word| word.to_str().is_none()) {
        let shown = word.to_string_lossy();
        let message = format!("the argument `{}` is not UTF-8", shown.escape_debug());
        let help = "use UTF-8 file names; a definition can also come from standard input, `-f -`";
        return Some(Diagnostic::error(Class::Usage, CODE, message).help(help));
    }
    let path = |name: &&str| {
        !matches!(
            *name,
            "DOCKER_CONFIG"
                | "BUILDX_CONFIG"
                | "RBAKE_DATA_DIR"
                | "RBAKE_CACHE_DIR"
                | "RBAKE_CONFIG_DIR"
                | "RBAKE_STATE_DIR"
        )
    };
    let ours = |name: &&str| OURS.iter().any(|prefix| name.starts_with(prefix));
    let name = environment.not_text().filter(ours).find(path)?;
    Some(variable(name))
}

/// The problems with variables that the definition has used.
pub(super) fn asked_for(environment: &Environment) -> Vec<Diagnostic> {
    environment
        .unusable()
        .iter()
        .map(|name| variable(name))
        .collect()
}

fn variable(name: &str) -> Diagnostic {
    let message = format!("the value of the environment variable `{name}` is not UTF-8");
    Diagnostic::error(Class::Usage, CODE, message)
        .help(format!("use UTF-8 text, or remove it: `unset {name}`"))
}
