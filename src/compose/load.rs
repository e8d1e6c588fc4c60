//! Loads files into one model: interpolates each file, adds what it includes and extends, and merges it onto the
//! files before it.
//!
//! Start at [`Loader::model`]. The steps run in the order in which that function and [`Loader::document`] list them.

use std::collections::HashMap;
use std::rc::Rc;

use super::extends::ExtendedBases;
use super::path::ModelPath;
use super::reader::{ProjectReader, Reported};
use super::variables::ComposeVariables;
use super::{canonical, interpolate, merge, places, unique};
use crate::diag::SourceId;
use crate::yaml::{Document, MergeMark, YamlEntry, YamlMapping, YamlNode, YamlValue};

/// A file of a project.
#[derive(Debug, Clone)]
pub(super) struct ModelFile {
    /// The file's id in the source map.
    pub(super) source: SourceId,
    /// The file's path, relative to the working directory or absolute.
    pub(super) path: String,
}

/// The context in which a project (the main one or an included one) is loaded: the base of its relative paths, and
/// its variables.
#[derive(Debug, Clone)]
pub(super) struct ModelPlace {
    /// The directory that relative file names in the project start from.
    pub(super) dir: String,
    /// The same directory, relative to the directory of the including project. Paths in the loaded model are
    /// rewritten to be relative to that.
    pub(super) seen_as: String,
    /// The variables that the project can use.
    pub(super) variables: Rc<ComposeVariables>,
    /// The files that led here through `include`, the outermost first. Used to find cycles.
    pub(super) included_by: Vec<String>,
    /// A unique number. The cache of extended services needs it, because the same file gives different results in
    /// different projects.
    pub(super) id: usize,
}

/// Loads files into models.
pub(super) struct Loader<'r, 'm> {
    /// Reads the files and collects the problems.
    pub(super) reader: &'r mut ProjectReader<'m>,
    /// The user's home directory, for `~`.
    pub(super) home: Option<String>,
    /// Services of other files that were extended, for reuse.
    pub(super) bases: ExtendedBases,
    /// How many places there have been so far, for [`ModelPlace::id`] and to limit the number of included projects.
    pub(super) places: usize,
}

impl<'r, 'm> Loader<'r, 'm> {
    pub(super) fn new(reader: &'r mut ProjectReader<'m>, home: Option<String>) -> Self {
        Self {
            reader,
            home,
            bases: HashMap::new(),
            places: 0,
        }
    }

    /// Merges `files` in order into one model.
    pub(super) fn model(
        &mut self,
        files: &[ModelFile],
        place: &ModelPlace,
    ) -> Result<YamlMapping, Reported> {
        let mut model = YamlMapping::new();
        for file in files {
            let mut within = place.clone();
            within.included_by.push(file.path.clone());
            for document in self.reader.documents(file.source)?.iter() {
                self.document(&mut model, document, file, &within)?;
            }
        }
        default_contexts(&mut model);
        self.resolve(&mut model, &place.seen_as);
        fill_environment(&mut model, &place.variables);
        Ok(model)
    }

    /// Loads one document onto `model`.
    fn document(
        &mut self,
        model: &mut YamlMapping,
        document: &Document,
        file: &ModelFile,
        place: &ModelPlace,
    ) -> Result<(), Reported> {
        let mut over = self.interpolated(document, &place.variables)?;
        self.include(&mut over, &document.marks, place)?;
        reset(model, &document.marks, 0);
        self.extend(&mut over, &document.marks, file, place)?;
        self.lay_over(model, over);
        Ok(())
    }

    /// The content of a document with variables replaced. Reports an error if it is not a mapping.
    pub(super) fn interpolated(
        &mut self,
        document: &Document,
        variables: &ComposeVariables,
    ) -> Result<YamlMapping, Reported> {
        let mut root = self.reader.copy(&document.root)?;
        let lookup = |name: &str| variables.get(name).map(str::to_owned);
        interpolate::interpolate(&mut root, &lookup, &mut self.reader.problems);
        if let YamlValue::Mapping(entries) = root.value {
            return Ok(entries);
        }
        let message = format!(
            "a Compose file must be a mapping, but this is {}",
            root.kind()
        );
        Err(self
            .reader
            .error("compose::wrong-type", message, root.span, ""))
    }

    /// Merges a document onto a model, and rewrites the result to canonical form.
    pub(super) fn lay_over(&mut self, model: &mut YamlMapping, over: YamlMapping) {
        let problems = &mut self.reader.problems;
        for (key, entry) in over {
            let path = ModelPath::ROOT.key(&key);
            match model.get_mut(&key) {
                Some(found) => merge::merge(&mut found.value, entry.value, &path, problems),
                None => drop(model.insert(key, entry)),
            }
        }
        for (key, entry) in model.iter_mut() {
            let path = ModelPath::ROOT.key(key);
            unique::unique(&mut entry.value, &path, problems);
            canonical::canonical(&mut entry.value, &path, problems);
            unique::unique(&mut entry.value, &path, problems);
        }
    }

    /// Rewrites the relative paths in a model, which start at `dir`, to start where `dir` itself starts.
    pub(super) fn resolve(&mut self, model: &mut YamlMapping, dir: &str) {
        let home = self.home.as_deref();
        for (key, entry) in model {
            let path = ModelPath::ROOT.key(key);
            places::resolve(
                &mut entry.value,
                &path,
                dir,
                home,
                &mut self.reader.problems,
            );
        }
    }
}

/// Removes the values that `marks` name from `model`. `model` is the part of the document below the first `depth`
/// keys of the paths.
///
/// A path cannot select an item of a list.
pub(super) fn reset(model: &mut YamlMapping, marks: &[MergeMark], depth: usize) {
    for mark in marks {
        if let Some(path) = mark.path.get(depth..) {
            remove(model, path);
        }
    }
}

/// Removes the value at `path`. Does nothing if there is none.
fn remove(entries: &mut YamlMapping, path: &[String]) {
    match path {
        [] => {}
        [last] => drop(entries.shift_remove(last)),
        [first, rest @ ..] => {
            let inner = entries.get_mut(first).map(|entry| &mut entry.value.value);
            if let Some(YamlValue::Mapping(inner)) = inner {
                remove(inner, rest);
            }
        }
    }
}

fn services(model: &mut YamlMapping) -> impl Iterator<Item = &mut YamlMapping> {
    let services = model
        .get_mut("services")
        .map(|entry| &mut entry.value.value);
    let services = match services {
        Some(YamlValue::Mapping(services)) => Some(services),
        _ => None,
    };
    services
        .into_iter()
        .flatten()
        .filter_map(|(_, entry)| match &mut entry.value.value {
            YamlValue::Mapping(service) => Some(service),
            _ => None,
        })
}

/// Sets the context of each `build` that has none to the directory of its file.
fn default_contexts(model: &mut YamlMapping) {
    for service in services(model) {
        let Some(entry) = service.get_mut("build") else {
            continue;
        };
        let span = entry.value.span;
        if let YamlValue::Mapping(build) = &mut entry.value.value {
            build
                .entry("context".to_owned())
                .or_insert_with(|| YamlEntry {
                    key: span,
                    value: YamlNode::new(YamlValue::String(".".to_owned()), span),
                });
        }
    }
}

/// Gives each `- NAME` in a list of environment variables the value of the variable. This must happen here,
/// because the variables of an included project are only known while it is loaded.
fn fill_environment(model: &mut YamlMapping, variables: &ComposeVariables) {
    for service in services(model) {
        let environment = service
            .get_mut("environment")
            .map(|entry| &mut entry.value.value);
        let Some(YamlValue::Sequence(items)) = environment else {
            continue;
        };
        for item in items {
            if let YamlValue::String(text) = &mut item.value
                && let Some(value) = variables.get(text)
            {
                *text = format!("{text}={value}");
            }
        }
    }
}
