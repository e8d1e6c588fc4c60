//! Finds where the values of a target's secrets are, and checks that before any work.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;

use bytes::Bytes;

use crate::definition::model::{SecretEntry, Target};
use crate::diag::{Class, Diagnostic, Diagnostics, Spanned};
use crate::engine::session::SecretFiles;
use crate::engine::session::secrets::{SECRET_LIMIT, SecretSource};
use crate::files::Resolver;
use crate::plan::{Plan, PlannedTarget};
use crate::types::{Environment, Secret};

/// The secrets of a target, by id.
pub(super) type SecretSources = BTreeMap<String, SecretSource>;

/// Where secrets are looked up; the same for all targets of a run.
#[derive(Clone, Copy)]
pub(super) struct SecretPlaces<'a> {
    /// For secrets in environment variables.
    pub(super) environment: &'a Environment,
    /// For the paths of secrets in files.
    pub(super) paths: &'a Resolver,
    /// For the files themselves. Each file is read once for all targets.
    pub(super) files: &'a SecretFiles,
}

/// Finds the secrets of `target`. A file must exist and be small enough; its content is read only when the daemon
/// asks for the secret.
pub(super) fn find(
    target: &Target,
    places: SecretPlaces<'_>,
) -> Result<SecretSources, Diagnostics> {
    let mut found = BTreeMap::new();
    let mut problems = Diagnostics::default();
    for entry in &target.secret {
        match source(entry, places) {
            Ok(source) => {
                found.insert(entry.value.id.to_string(), source);
            }
            Err(message) => {
                let name = &target.name.value;
                let message = format!("target `{name}`: secret `{}` {message}", entry.value.id);
                let problem = Diagnostic::error(Class::Definition, "run::secret", message);
                problems.push(problem.at(entry.span.or(target.name.span), ""));
            }
        }
    }
    problems.into_result(found)
}

/// Adds the secrets with which the builder fetches the context of `planned` from the host that the definition came from.
pub(super) fn add_for_context(
    found: &mut SecretSources,
    planned: &PlannedTarget,
    environment: &Environment,
) {
    let context = planned.attributes.context.as_ref();
    let (Some(tree), Some(context)) = (&planned.inputs.tree, context) else {
        return;
    };
    for (id, name) in tree.secrets_of(context, environment) {
        if let Some(source) = variable(&name, environment) {
            found.entry(id).or_insert(source);
        }
    }
}

/// The value of a variable as a secret. `None` if it is not set.
pub(super) fn variable(name: &str, environment: &Environment) -> Option<SecretSource> {
    // A secret is bytes and need not be UTF-8.
    let value = environment.get_os(name)?.as_bytes();
    Some(SecretSource::Value(Secret::new(Bytes::copy_from_slice(
        value,
    ))))
}

/// Returns the source of one secret, as buildx chooses it: `env` takes precedence over `src`. If both are missing,
/// it is the variable with the secret's id as its name, or else the file with that name.
fn source(entry: &Spanned<SecretEntry>, places: SecretPlaces<'_>) -> Result<SecretSource, String> {
    let SecretEntry { id, src, env } = &entry.value;
    if id.is_empty() {
        return Err("has no id".to_owned());
    }
    if let Some(path) = src {
        let file = file(places, path)?;
        if env.is_none() {
            return Ok(file);
        }
    }
    let variable = |name: &str| variable(name, places.environment);
    match env {
        // If the variable is not set, the secret is empty, as in buildx.
        Some(name) => {
            Ok(variable(name).unwrap_or_else(|| SecretSource::Value(Secret::new(Bytes::new()))))
        }
        None => variable(id).map_or_else(|| file(places, id), Ok),
    }
}

/// Warns of secrets whose variable is not set. As in buildx, such a secret is empty, so even a step that requires
/// it continues.
pub(super) fn check(plan: &Plan, environment: &Environment) -> Diagnostics {
    let mut problems = Diagnostics::default();
    // Several targets may inherit one secret. It is reported once.
    let mut said = BTreeSet::new();
    for planned in plan.targets.values() {
        let target = &planned.attributes;
        for entry in &target.secret {
            let SecretEntry { id, env, .. } = &entry.value;
            let Some(name) = env
                .as_ref()
                .filter(|name| environment.get_os(name).is_none())
            else {
                continue;
            };
            if !said.insert((id, name)) {
                continue;
            }
            let message = format!(
                "target `{}`: the secret `{id}` is empty, because the variable `{name}` is not set",
                target.name.value
            );
            let problem = Diagnostic::warning("run::unset-secret", message).help(format!(
                "set `{name}`, or remove the entry: a step that does not require the secret then gets no file for it"
            ));
            problems.push(problem.at(entry.span.or(target.name.span), ""));
        }
    }
    problems
}

/// Variables that programs need, so they are never removed from the environment, even if a secret names them.
const NEEDED_BY_ALL: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "LANG",
    "TMPDIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

/// Variables with credentials that only rbake itself reads.
const NEEDED_BY_NONE: [&str; 4] = [
    "ACTIONS_RUNTIME_TOKEN",
    "BUILDX_BAKE_GIT_AUTH_HEADER",
    "BUILDX_BAKE_GIT_AUTH_TOKEN",
    "DOCKER_AUTH_CONFIG",
];

/// Returns the variables that hold secrets of `targets`, or credentials that only rbake reads. They are removed
/// from the environment of programs that rbake starts.
pub(super) fn variables<'a>(
    targets: impl IntoIterator<Item = &'a Target>,
    environment: &Environment,
) -> BTreeSet<String> {
    let variable = |entry: &SecretEntry| match (&entry.env, &entry.src) {
        (Some(name), _) => Some(name.to_string()),
        (None, None) => Some(entry.id.to_string()).filter(|id| environment.get(id).is_some()),
        (None, Some(_)) => None,
    };
    let is_needed = |name: &String| NEEDED_BY_ALL.contains(&name.to_ascii_uppercase().as_str());
    targets
        .into_iter()
        .flat_map(|target| &target.secret)
        .filter_map(|entry| variable(&entry.value))
        .filter(|name| !is_needed(name))
        .chain(NEEDED_BY_NONE.map(str::to_owned))
        .collect()
}

/// Returns the secret in the file at `path`. The error is a phrase that continues "secret `id` …".
fn file(places: SecretPlaces<'_>, path: &str) -> Result<SecretSource, String> {
    let place = places.paths.resolve(path).map_err(|error| error.reason())?;
    let found = if place.exists() {
        place.path().metadata()
    } else {
        Err(std::io::ErrorKind::NotFound.into())
    };
    match found {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(format!("cannot be read from `{path}`: it does not exist"))
        }
        Err(error) => Err(format!("cannot be read from `{path}`: {error}")),
        Ok(metadata) if metadata.is_dir() => {
            Err(format!("cannot be read from `{path}`: it is a directory"))
        }
        Ok(metadata) if metadata.len() > SECRET_LIMIT => Err(format!(
            "in `{path}` is larger than {} KiB, the limit for a secret",
            SECRET_LIMIT / 1024
        )),
        Ok(_) => Ok(SecretSource::File(places.files.at(place.path()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_one(entry: &str, environment: &Environment) -> Result<SecretSource, Diagnostics> {
        let mut target = Target::empty(Spanned::without_span("t".parse().unwrap()));
        target.secret.push(Spanned::without_span(
            SecretEntry::from_text(entry).unwrap(),
        ));
        let places = SecretPlaces {
            environment,
            paths: &Resolver::new(environment.current_dir()),
            files: &SecretFiles::default(),
        };
        find(&target, places).map(|found| found.into_values().next().unwrap())
    }

    #[test]
    fn variables_and_files_are_found_in_buildxs_order() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), "x").unwrap();
        let environment = Environment::of([("TOKEN", "v"), ("named", "n")], dir.path());
        let value = |text: &'static str| {
            SecretSource::Value(Secret::new(Bytes::from_static(text.as_bytes())))
        };
        let file = SecretSource::File(dir.path().join("token").into());
        assert_eq!(find_one("id=a,env=TOKEN", &environment), Ok(value("v")));
        assert_eq!(find_one("id=a,src=token", &environment), Ok(file.clone()));
        assert_eq!(
            find_one("id=a,src=token,env=TOKEN", &environment),
            Ok(value("v"))
        );
        assert_eq!(find_one("id=named", &environment), Ok(value("n")));
        assert_eq!(find_one("id=token", &environment), Ok(file));
        assert_eq!(find_one("id=a,env=UNSET", &environment), Ok(value("")));
    }

    #[test]
    fn an_unset_variable_is_reported_once() {
        let body = r#"secret = ["id=a,env=UNSET", "id=b,env=SET", "id=c,env=EMPTY", "id=SET"]"#;
        let plan = crate::run::testing::plan(body);
        let environment = Environment::of([("SET", "v"), ("EMPTY", "")], "/");
        let messages: Vec<String> = check(&plan, &environment)
            .0
            .into_iter()
            .map(|problem| problem.message)
            .collect();
        let name = plan.targets.keys().next().unwrap();
        assert_eq!(
            messages,
            [format!(
                "target `{name}`: the secret `a` is empty, because the variable `UNSET` is not set"
            )]
        );
    }

    #[test]
    fn paths_are_resolved_as_the_kernel_does() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["work", "elsewhere/deep"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::write(root.join("work/key"), "").unwrap();
        std::fs::write(root.join("elsewhere/key"), "").unwrap();
        std::os::unix::fs::symlink("../elsewhere/deep", root.join("work/up")).unwrap();
        let environment = Environment::of([], root.join("work"));
        assert_eq!(
            find_one("id=k,src=up/../key", &environment),
            Ok(SecretSource::File(root.join("elsewhere/key").into()))
        );
    }

    #[test]
    fn the_error_names_a_missing_file() {
        let problems = find_one("id=a,src=nowhere", &Environment::of([], "/")).unwrap_err();
        assert_eq!(
            problems.0[0].message,
            "target `t`: secret `a` cannot be read from `nowhere`: it does not exist"
        );
    }

    #[test]
    fn variables_that_hold_secrets_are_found() {
        let mut target = Target::empty(Spanned::without_span("t".parse().unwrap()));
        for entry in [
            "id=a,env=TOKEN",
            "id=named",
            "id=b,src=file",
            "id=unset",
            "id=p,env=http_proxy",
        ] {
            let entry = SecretEntry::from_text(entry).unwrap();
            target.secret.push(Spanned::without_span(entry));
        }
        let environment = Environment::of([("TOKEN", "v"), ("named", "n")], "/");
        let found: Vec<_> = variables([&target], &environment).into_iter().collect();
        let own = found
            .iter()
            .filter(|name| !NEEDED_BY_NONE.contains(&name.as_str()));
        assert_eq!(own.collect::<Vec<_>>(), ["TOKEN", "named"]);
        assert!(found.contains(&"DOCKER_AUTH_CONFIG".to_owned()));
    }
}
