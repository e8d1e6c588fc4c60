//! Everything that a start of the embedded builder depends on, computed before anything is started.
//!
//! The client and the supervisor compute it in the same way. By its fingerprint, a client sees whether the running
//! builder is the one that it would start.

use std::path::{Path, PathBuf};

use super::super::trust;
use super::config::{self, ConfigError, Decided, UserConfig};
use super::places::EmbeddedPlaces;
use super::programs::{ProgramError, Programs, check_system, find};
use super::search::SearchPath;
use super::variables::Variables;
use crate::types::Environment;

/// Programs, configuration and environment with which the builder is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// The programs.
    pub(crate) programs: Programs,
    /// The text of buildkitd's configuration.
    pub(crate) configuration: String,
    /// buildkitd's environment.
    pub(crate) variables: Variables,
    /// The folders of `PATH` that are not used, each with the reason.
    pub(crate) left_out: Vec<(PathBuf, String)>,
    /// Differs if the builder would have to be restarted for the recipe to take effect.
    pub(crate) fingerprint: String,
}

/// The builder cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// A program is missing or cannot be used.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The user's configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Recipe {
    /// Computes the recipe from the environment and the files that it names.
    pub(crate) fn of(
        environment: &Environment,
        places: &EmbeddedPlaces,
    ) -> Result<Self, RecipeError> {
        check_system(std::env::consts::OS)?;
        let user = UserConfig::find(environment)?;
        let installed = places.programs().join("bin");
        let search = SearchPath::new(Some(installed), environment.non_empty("PATH"));
        let programs = Programs::find(&search)?;
        let decided = Decided {
            root: places.root(),
            socket: places.socket(),
            trace_socket: places.trace_socket(),
            runc: programs.runc.clone(),
            rootless: programs.rootless(),
        };
        let configuration = config::merge(user.as_ref(), &decided)?;
        check_binary(&configuration, places, &search)?;
        let variables = Variables::of(environment, places, &search, programs.rootless());
        // buildkitd looks for these programs in `PATH` itself, so a change of them must change the fingerprint.
        let others = ["git", "ssh"].map(|name| search.find(name).ok().flatten());
        // buildkitd reads certificates and keys only once, at its start.
        let named: Vec<String> = config::named_by(&configuration)
            .iter()
            .map(|file| stamp(&file.path))
            .collect();
        let fingerprint = config::fingerprint(&format!(
            "{}\n{}\n{others:?}\n{named:?}\n{}\n{configuration}",
            programs.buildkitd.display(),
            stamp(&programs.buildkitd),
            variables.that_count(),
        ));
        Ok(Self {
            programs,
            configuration,
            variables,
            left_out: search.left_out().to_vec(),
            fingerprint,
        })
    }
}

/// Checks the program that runs containers, as the user's configuration may name another one than the one that was
/// found.
fn check_binary(
    configuration: &str,
    places: &EmbeddedPlaces,
    search: &SearchPath,
) -> Result<(), ProgramError> {
    let Some(binary) = config::oci_binary(configuration) else {
        return Ok(());
    };
    if !binary.contains('/') {
        // A missing program is not an error here: buildkitd reports it.
        return find(search, &binary).map(drop);
    }
    match trust::check(&places.dir().join(&binary)) {
        Ok(_) => Ok(()),
        Err(source) => Err(ProgramError::Untrusted {
            name: binary,
            source,
        }),
    }
}

/// A text that changes if the file is replaced or written to. Empty if there is no such file.
pub(super) fn stamp(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).map_or_else(
        |_| String::new(),
        |found| format!("{} {} {}", found.len(), found.mtime(), found.mtime_nsec()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_fingerprint_changes_with_the_configuration_and_the_programs() {
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
        let places = EmbeddedPlaces::of(&environment).unwrap();
        let recipe = || Recipe::of(&environment, &places).unwrap();
        let first = recipe();
        assert_eq!(first, recipe());
        std::fs::write(dir.path().join("buildkitd.toml"), "debug = true").unwrap();
        let second = recipe();
        assert_ne!(first.fingerprint, second.fingerprint);
        let naming = "[registry.\"r.example\"]\nca = [\"ca.pem\"]\n";
        std::fs::write(dir.path().join("buildkitd.toml"), naming).unwrap();
        let without = recipe();
        std::fs::write(dir.path().join("ca.pem"), "one").unwrap();
        assert_ne!(without.fingerprint, recipe().fingerprint);
        std::fs::write(bin.join("buildkitd"), "another").unwrap();
        let third = recipe();
        assert_ne!(second.fingerprint, third.fingerprint);
        let of = |name, value: &str| {
            let environment = environment.clone().with(name, Some(value));
            Recipe::of(&environment, &places)
        };
        let proxied = of("HTTPS_PROXY", "http://p:1").unwrap();
        assert_ne!(third.fingerprint, proxied.fingerprint);
        let with_token = of("GITHUB_TOKEN", "t").unwrap();
        assert_eq!(third.fingerprint, with_token.fingerprint);
        let with_tools = format!("{}:/nonexistent:.", text(&bin));
        assert_eq!(
            third.fingerprint,
            of("PATH", &with_tools).unwrap().fingerprint
        );
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(bin.join("runc"), open).unwrap();
        let error = Recipe::of(&environment, &places).unwrap_err();
        assert!(
            matches!(error, RecipeError::Program(ProgramError::Untrusted { .. })),
            "{error}"
        );
    }
}
