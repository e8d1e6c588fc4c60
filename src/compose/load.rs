//! From files to one model: each file interpolated, completed by what it includes and extends, and laid over the files
//! before it.
//!
//! Start at [`Loader::model`]; the steps run in the order they are listed there and in [`Loader::document`].

use std::collections::HashMap;
use std::rc::Rc;

use super::extends::ExtendedBases;
use super::path::ModelPath;
use super::reader::{ProjectReader, Reported};
use super::variables::ComposeVariables;
use super::{canonical, interpolate, merge, places, unique};
use crate::diag::SourceId;
use crate::yaml::{Document, MergeMark, YamlEntry, YamlMapping, YamlNode, YamlValue};

/// A file of a model.
#[derive(Debug, Clone)]
pub(super) struct ModelFile {
    /// The file.
    pub(super) source: SourceId,
    /// Its path: relative to the working directory, or absolute.
    pub(super) path: String,
}

/// Where a model stands: what its relative names mean and which variables it sees.
#[derive(Debug, Clone)]
pub(super) struct ModelPlace {
    /// The directory in which files are looked for.
    pub(super) dir: String,
    /// The same directory as the model around this one sees it; paths become relative to it.
    pub(super) seen_as: String,
    /// What the model may refer to.
    pub(super) variables: Rc<ComposeVariables>,
    /// The files that include this model, from the outermost.
    pub(super) included_by: Vec<String>,
    /// Counts places, so that what was read at one is not taken for another's.
    pub(super) id: usize,
}

/// Loads models.
pub(super) struct Loader<'r, 'm> {
    /// The files.
    pub(super) reader: &'r mut ProjectReader<'m>,
    /// The user's home directory.
    pub(super) home: Option<String>,
    /// Services of other files that are extended.
    pub(super) bases: ExtendedBases,
    /// How many places there were.
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

    /// The model that `files` make, one after the other.
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

    /// The content of a document, which must be a mapping, with variables filled in.
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

    /// Lays a document over a model, and makes that canonical.
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

    /// Makes the paths in a model relative to what `dir` is relative to.
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

/// Takes out of `model`, which stands at the first `depth` keys of their paths, what `marks` name.
///
/// Items of lists cannot be named.
pub(super) fn reset(model: &mut YamlMapping, marks: &[MergeMark], depth: usize) {
    for mark in marks {
        if let Some(path) = mark.path.get(depth..) {
            remove(model, path);
        }
    }
}

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

// A build without a context has the directory of its file for one.
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

// `- NAME` in a list takes the value that the variable has where the model is loaded.
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
