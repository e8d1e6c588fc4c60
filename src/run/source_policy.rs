//! Reads the rules on sources that the environment names.

use std::fs::File;
use std::io::{self, Read as _};

use crate::diag::{Class, Diagnostic};
use crate::engine::{InvalidSourcePolicy, SourcePolicy};
use crate::types::causes::in_one_line;
use crate::types::{Environment, awaited};

/// The variable with the path of the file. The name is buildx's.
const VARIABLE: &str = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY";
/// The largest file, in bytes. The rules are sent with each solve.
const LIMIT: u64 = 1 << 20;

/// Why the rules cannot be used.
#[derive(Debug, thiserror::Error)]
enum PolicyError {
    #[error("cannot read it")]
    Read(#[from] io::Error),
    #[error("it is larger than {} KiB", LIMIT >> 10)]
    TooLarge,
    #[error(transparent)]
    Content(#[from] InvalidSourcePolicy),
}

/// The rules in the file that the environment names. `None` if it names none.
pub(super) fn read(environment: &Environment) -> Result<Option<SourcePolicy>, Diagnostic> {
    let Some(path) = environment.non_empty(VARIABLE) else {
        return Ok(None);
    };
    let read = || -> Result<SourcePolicy, PolicyError> {
        let _awaited = awaited::file(path);
        let file = File::open(environment.current_dir().join(path))?;
        let mut content = Vec::new();
        file.take(LIMIT + 1).read_to_end(&mut content)?;
        if content.len() as u64 > LIMIT {
            return Err(PolicyError::TooLarge);
        }
        Ok(SourcePolicy::parse(&content)?)
    };
    read().map(Some).map_err(|error| {
        let message = format!(
            "the source policy `{path}` cannot be applied: {}",
            in_one_line(&error)
        );
        Diagnostic::error(Class::Definition, "run::source-policy", message)
            .note(format!("the environment variable `{VARIABLE}` names it"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_policy_is_an_error_that_names_the_variable() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("bad.json"), "{").unwrap();
        std::fs::write(dir.path().join("good.json"), r#"{"version": 1}"#).unwrap();
        let read_at = |path: &str| {
            let variables = [(VARIABLE.into(), path.into())];
            read(&Environment::new(variables, dir.path().to_owned()))
        };
        for (path, said) in [
            ("nope.json", "cannot read it"),
            ("bad.json", "is not a source policy"),
        ] {
            let problem = read_at(path).unwrap_err();
            assert!(problem.message.contains(said), "{problem:?}");
            assert!(problem.notes[0].contains(VARIABLE), "{problem:?}");
        }
        assert!(read_at("good.json").unwrap().is_some());
        assert!(read_at("").unwrap().is_none());
    }
}
