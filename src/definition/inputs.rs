//! What a definition's evaluation depends on beside its files.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::types::{Environment, Platform};

/// All inputs of an evaluation other than the files.
#[derive(Debug, Clone, Copy)]
pub struct EvaluationInputs<'a> {
    /// The process environment, which overrides variables.
    pub environment: &'a Environment,
    /// The values of `--var`, which override the environment. If a name occurs more than once, the last value counts.
    pub vars: &'a [(String, String)],
    /// The second positional URL, the value of `BAKE_CMD_CONTEXT`. `None` means the working directory.
    pub command_context: Option<&'a str>,
    /// The platform of this machine, for `BAKE_LOCAL_PLATFORM`.
    pub local_platform: &'a Platform,
    /// The time that `timestamp()` returns.
    pub now: SystemTime,
    /// The directories and files of this machine to which Compose files may refer (`env_file`, `extends`, `include`). `None` for
    /// all: only a definition that was fetched is confined.
    pub readable: Option<&'a [PathBuf]>,
}
