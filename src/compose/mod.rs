//! Loads Compose projects in the same way as `compose-go`: reads, interpolates, completes and merges the files.
//! Only the parts that builds need are kept.
//!
//! This module knows nothing about bake: [`crate::definition`] makes targets from a [`Project`]. Start at
//! [`Projects`]. The steps of loading are in [`load`], the allowed shapes in [`schema`].

mod canonical;
mod check;
mod decode;
pub(crate) mod dotenv;
mod environment;
mod extends;
mod hosts;
mod include;
pub(crate) mod interpolate;
mod load;
mod merge;
mod path;
mod places;
mod project;
mod reader;
mod schema;
mod short;
pub(crate) mod template;
pub(crate) mod text;
mod uncarried;
mod unique;
mod variables;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub(crate) use project::{Build, Entries, Project, Service};
pub(crate) use variables::ComposeVariables;

use self::load::{Loader, ModelFile, ModelPlace};
use self::reader::{Cache, ProjectReader, Reported};
use crate::diag::{Class, Diagnostic, Diagnostics, SourceId, SourceMap, Span};
use crate::yaml::{YamlEntry, YamlMapping, YamlNode, YamlValue};

/// The variable that contains the project's name.
const PROJECT_NAME: &str = "COMPOSE_PROJECT_NAME";

/// A Compose file of a project.
#[derive(Debug, Clone)]
pub(crate) struct ComposeFile {
    /// The file's id in the source map.
    pub(crate) source: SourceId,
    /// The path as it was given. `-` is standard input.
    pub(crate) path: String,
}

/// The inputs of a project other than its files.
#[derive(Debug, Clone)]
pub(crate) struct ProjectSettings<'a> {
    /// The working directory, which relative paths start from.
    pub(crate) dir: &'a Path,
    /// The directories and files to which a project may refer. `None` for all.
    pub(crate) readable: Option<&'a [PathBuf]>,
    /// The user's home directory, for `~`. `None` if unknown.
    pub(crate) home: Option<String>,
    /// The variables that files can use.
    pub(crate) variables: &'a ComposeVariables,
}

/// Loads projects. Files that were read once are cached for later loads.
#[derive(Debug, Default)]
pub(crate) struct Projects {
    cache: Cache,
}

impl Projects {
    /// Checks that `file` is a Compose file. It may be incomplete without the project's other files. Fails with
    /// the reasons if it is not one.
    ///
    /// Adds the files that it refers to (`include`, `extends`) to `map`.
    pub(crate) fn check(
        &mut self,
        file: &ComposeFile,
        settings: &ProjectSettings<'_>,
        map: &mut SourceMap,
    ) -> Result<(), Diagnostics> {
        let files = std::slice::from_ref(file);
        let checked = self.with_reader(settings, map, |reader| {
            // Files that only some services need (such as `env_file`) are read later, when the whole project is
            // loaded.
            model(files, settings, reader)?;
            Ok(())
        });
        checked.map(|_| ())
    }

    /// Loads the project that `files` form together. Later files override earlier ones.
    ///
    /// Adds the files that they refer to to `map`. On failure, reports all problems, not only the first. Warnings
    /// are returned with the project.
    pub(crate) fn load(
        &mut self,
        files: &[ComposeFile],
        settings: &ProjectSettings<'_>,
        map: &mut SourceMap,
    ) -> Result<(Project, Diagnostics), Diagnostics> {
        self.with_reader(settings, map, |reader| {
            let (model, variables) = model(files, settings, reader)?;
            check::consistent(&model, &reader.incomplete, &mut reader.problems);
            Ok(decode::project(
                &model.services,
                &model.secrets,
                &variables,
                reader,
            ))
        })
    }

    /// Calls `run` with a reader that uses the cache. Returns its result with the warnings, or all problems if one
    /// is an error.
    fn with_reader<T>(
        &mut self,
        settings: &ProjectSettings<'_>,
        map: &mut SourceMap,
        run: impl FnOnce(&mut ProjectReader<'_>) -> Result<T, Reported>,
    ) -> Result<(T, Diagnostics), Diagnostics> {
        let mut reader = ProjectReader::new(map, settings.dir, settings.readable, &mut self.cache);
        let result = run(&mut reader);
        let mut problems = reader.problems;
        // An error in a part that several services share is found once per service. Report it once.
        let mut seen = HashSet::with_capacity(problems.0.len());
        problems.0.retain(|problem| {
            let place = problem.labels.first().map(|label| label.span);
            seen.insert((problem.code, problem.message.clone(), place))
        });
        match result {
            Ok(result) if !problems.has_errors() => Ok((result, problems)),
            _ => Err(problems),
        }
    }
}

/// The parts of a merged project that builds need.
struct Model {
    services: YamlMapping,
    secrets: YamlMapping,
}

/// Loads and checks the merged model. Also returns the variables, to which the project's name has been added.
fn model(
    files: &[ComposeFile],
    settings: &ProjectSettings<'_>,
    reader: &mut ProjectReader<'_>,
) -> Result<(Model, ComposeVariables), Reported> {
    let mut variables = settings.variables.clone();
    let name = project_name(files, &variables, reader)?;
    variables.set(PROJECT_NAME, name);
    let shared = Rc::new(variables.clone());
    let place = ModelPlace {
        dir: String::new(),
        seen_as: String::new(),
        variables: shared,
        included_by: Vec::new(),
        id: 0,
    };
    let model_files: Vec<ModelFile> = files
        .iter()
        .map(|file| ModelFile {
            source: file.source,
            path: file.path.clone(),
        })
        .collect();
    let mut model = Loader::new(reader, settings.home.clone()).model(&model_files, &place)?;
    if reader.problems.has_errors() {
        return Err(Reported);
    }
    let services = model
        .shift_remove("services")
        .map(|entry| entry.value.value);
    let secrets = model.shift_remove("secrets").map(|entry| entry.value);
    let services = match services {
        Some(YamlValue::Mapping(services)) => Some(services),
        _ => None,
    };
    if services.is_none() && secrets.is_none() {
        return Err(nothing(files, reader));
    }
    let services = services.unwrap_or_default();
    schema::services(&services, &mut reader.problems);
    if let Some(secrets) = &secrets {
        schema::secrets(secrets, &mut reader.problems);
    }
    if reader.problems.has_errors() {
        return Err(Reported);
    }
    let secrets = match secrets.map(|secrets| secrets.value) {
        Some(YamlValue::Mapping(secrets)) => secrets,
        _ => YamlMapping::new(),
    };
    Ok((Model { services, secrets }, variables))
}

fn nothing(files: &[ComposeFile], reader: &mut ProjectReader<'_>) -> Reported {
    let problem = Diagnostic::error(
        Class::Definition,
        "compose::empty",
        "a Compose file without `services` has nothing to build",
    )
    .help("add what to build below the key `services`, each service with a `build`");
    reader.report(match files {
        [file] => problem.at(Span::new(file.source, 0..0), ""),
        _ => problem,
    })
}

/// The project's name: `name` in the last file that has one, else the variable `COMPOSE_PROJECT_NAME`, else `bake`.
fn project_name(
    files: &[ComposeFile],
    variables: &ComposeVariables,
    reader: &mut ProjectReader<'_>,
) -> Result<String, Reported> {
    let mut named = None;
    for file in files {
        for document in reader.documents(file.source)?.iter() {
            let name = document
                .root
                .get("name")
                .filter(|name| text::scalar(name).is_some_and(|name| !name.is_empty()));
            if let Some(name) = name {
                named = Some(name.clone());
            }
        }
    }
    if let Some(name) = named {
        let (key, span) = (name.span, name.span);
        let entry = YamlEntry { key, value: name };
        let mut root = YamlNode::new(
            YamlValue::Mapping([("name".to_owned(), entry)].into()),
            span,
        );
        let lookup = |name: &str| variables.get(name).map(str::to_owned);
        interpolate::interpolate(&mut root, &lookup, &mut reader.problems);
        let name = root.get("name").and_then(text::scalar).unwrap_or_default();
        if !name.is_empty() {
            return Ok(name);
        }
    }
    let set = variables.get(PROJECT_NAME).filter(|name| !name.is_empty());
    Ok(set.unwrap_or("bake").to_owned())
}

#[cfg(test)]
mod tests;
