//! All that a start of the embedded builder depends on, worked out before anything is started.
//!
//! Client and supervisor work it out alike; its fingerprint tells a client whether what runs is what it would start.

use std::path::Path;

use super::config::{self, ConfigError, Decided, UserConfig};
use super::places::Places;
use super::programs::{ProgramError, Programs};
use crate::types::Environment;

/// What the builder is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The programs.
    pub programs: Programs,
    /// The text of buildkitd's configuration.
    pub configuration: String,
    /// Changes whenever the builder must be started afresh for the recipe to count.
    pub fingerprint: String,
}

/// The builder cannot be started as things are.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// A program is missing.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The user's configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Recipe {
    /// Works it out of the environment and the files it leads to.
    pub fn of(environment: &Environment, places: &Places) -> Result<Self, RecipeError> {
        let user = UserConfig::find(environment)?;
        let programs = Programs::find(environment, places)?;
        let decided = Decided {
            root: places.root(),
            socket: places.socket(),
            trace_socket: places.trace_socket(),
            runc: programs.runc.clone(),
            rootless: programs.rootless(),
        };
        let configuration = config::merge(user.as_ref(), &decided)?;
        let fingerprint = config::fingerprint(&format!(
            "{}\n{}\n{configuration}",
            programs.buildkitd.display(),
            stamp(&programs.buildkitd)
        ));
        Ok(Self {
            programs,
            configuration,
            fingerprint,
        })
    }
}

// A program that was replaced is another program.
fn stamp(program: &Path) -> String {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(program).map_or_else(
        |_| String::new(),
        |found| format!("{} {} {}", found.len(), found.mtime(), found.mtime_nsec()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_fingerprint_follows_configuration_and_programs() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        for name in ["buildkitd", "runc", "rootlesskit"] {
            std::fs::write(bin.join(name), "x").unwrap();
            std::fs::set_permissions(bin.join(name), std::fs::Permissions::from_mode(0o755))
                .unwrap();
        }
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let environment = Environment::of(
            [
                ("RBAKE_DATA_DIR", &text(dir.path())),
                ("RBAKE_CONFIG_DIR", &text(dir.path())),
                ("PATH", &text(&bin)),
            ],
            "/",
        );
        let places = Places::of(&environment).unwrap();
        let recipe = || Recipe::of(&environment, &places).unwrap();
        let first = recipe();
        assert_eq!(first, recipe());
        std::fs::write(dir.path().join("buildkitd.toml"), "debug = true").unwrap();
        let second = recipe();
        assert_ne!(first.fingerprint, second.fingerprint);
        std::fs::write(bin.join("buildkitd"), "another").unwrap();
        assert_ne!(second.fingerprint, recipe().fingerprint);
    }
}
