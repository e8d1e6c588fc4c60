//! `include`: adds the services and resources of other projects. Each is loaded in its own directory with its own
//! variables.
//!
//! The including file overrides what it includes.

use std::rc::Rc;

use super::load::{Loader, ModelFile, ModelPlace, reset};
use super::path::ModelPath;
use super::reader::Reported;
use super::variables::ComposeVariables;
use super::{dotenv, merge, text};
use crate::diag::Span;
use crate::golang::path;
use crate::yaml::{MergeMark, YamlEntry, YamlMapping, YamlNode, YamlValue};

/// The top-level sections that are copied from an included project.
const SECTIONS: [&str; 6] = [
    "services", "volumes", "networks", "secrets", "configs", "models",
];
/// The deepest nesting of `include`. A longer chain is usually a file that includes itself under ever new names.
const MOST_NESTED: usize = 100;
/// The most projects that may be included in total. Without a limit, a chain of files that each include the next
/// one twice doubles the work at each step.
const MOST_INCLUDED: usize = 10_000;

/// One item of `include`, parsed.
struct Included {
    span: Span,
    paths: Vec<(String, Span)>,
    project_directory: Option<String>,
    env_files: Vec<(String, Span)>,
}

impl Loader<'_, '_> {
    /// Replaces `include` in `over` with the contents of the included projects.
    pub(super) fn include(
        &mut self,
        over: &mut YamlMapping,
        marks: &[MergeMark],
        place: &ModelPlace,
    ) -> Result<(), Reported> {
        let Some(include) = over.shift_remove("include") else {
            return Ok(());
        };
        let items = match &include.value.value {
            YamlValue::Null => return Ok(()),
            YamlValue::Sequence(items) => items,
            _ => {
                let node = &include.value;
                let message = format!("`include` must be a list, but is {}", node.kind());
                return Err(self
                    .reader
                    .error("compose::wrong-type", message, node.span, ""));
            }
        };
        for item in items {
            let included = self.read_item(item)?;
            let model = self.included(included, place)?;
            self.take_over(model, over, marks)?;
        }
        Ok(())
    }

    fn read_item(&mut self, item: &YamlNode) -> Result<Included, Reported> {
        let mut included = Included {
            span: item.span,
            paths: Vec::new(),
            project_directory: None,
            env_files: Vec::new(),
        };
        match &item.value {
            YamlValue::String(path) => included.paths.push((path.clone(), item.span)),
            YamlValue::Mapping(entries) => {
                if let Some(entry) = entries.get("path") {
                    included.paths = self.texts(&entry.value, "path")?;
                }
                if let Some(entry) = entries.get("env_file") {
                    included.env_files = self.texts(&entry.value, "env_file")?;
                }
                if let Some(entry) = entries
                    .get("project_directory")
                    .filter(|entry| !entry.value.is_null())
                {
                    let (YamlValue::String(_) | YamlValue::Int(_)) = entry.value.value else {
                        return Err(self.wrong(&entry.value, "project_directory", "a directory"));
                    };
                    let dir = text::text(&entry.value.value);
                    included.project_directory = (!dir.is_empty()).then_some(dir);
                }
            }
            _ => return Err(self.wrong(item, "include[]", "a file or a mapping")),
        }
        Ok(included)
    }

    fn wrong(&mut self, node: &YamlNode, name: &str, wanted: &str) -> Reported {
        let message = format!("`{name}` must be {wanted}, but is {}", node.kind());
        self.reader
            .error("compose::wrong-type", message, node.span, "")
    }

    fn texts(&mut self, node: &YamlNode, name: &str) -> Result<Vec<(String, Span)>, Reported> {
        const WANTED: &str = "a file or a list of files";
        match &node.value {
            YamlValue::Null => Ok(Vec::new()),
            YamlValue::String(text) => Ok(vec![(text.clone(), node.span)]),
            YamlValue::Sequence(items) => items
                .iter()
                .map(|item| match item.as_str() {
                    Some(text) => Ok((text.to_owned(), item.span)),
                    None => Err(self.wrong(item, name, WANTED)),
                })
                .collect(),
            _ => Err(self.wrong(node, name, WANTED)),
        }
    }

    /// Loads an included project. Its variables are those of the including project, then those of its environment
    /// files: the former take precedence.
    fn included(
        &mut self,
        included: Included,
        place: &ModelPlace,
    ) -> Result<YamlMapping, Reported> {
        let Some((first, span)) = included.paths.first() else {
            return Ok(YamlMapping::new());
        };
        let main = below(&place.dir, first);
        if place.included_by.contains(&main) || place.included_by.len() > MOST_NESTED {
            let mut way = place.included_by.join("` → `");
            way.push_str("` → `");
            way.push_str(&main);
            let (code, message) = if place.included_by.contains(&main) {
                (
                    "compose::include-cycle",
                    format!("`{main}` includes itself: `{way}`"),
                )
            } else {
                (
                    "compose::limit",
                    format!("projects are included more than {MOST_NESTED} levels deep: `{way}`"),
                )
            };
            return Err(self.reader.error(code, message, *span, ""));
        }
        let (dir, seen_as) = match included.project_directory {
            None => (parent(&main), parent(first)),
            Some(dir) => {
                let whole = below(&place.dir, &dir);
                let seen_as = if dir.starts_with('/') {
                    dir
                } else if self.reader.is_dir(&whole) {
                    path::clean(&dir)
                } else {
                    parent(&dir)
                };
                (whole, seen_as)
            }
        };
        let mut files = Vec::with_capacity(included.paths.len());
        for (path, span) in &included.paths {
            let path = below(&place.dir, path);
            let source = self.reader.read(&path, "the included file", Some(*span))?;
            files.push(ModelFile { source, path });
        }
        let env_files = self.env_files(included.env_files, &dir, included.span, place);
        let mut variables = ComposeVariables::clone(&place.variables);
        let mut own: Vec<(String, String)> = Vec::new();
        for (path, span) in env_files {
            let source = self
                .reader
                .read(&path, "the environment file", Some(span))?;
            let known: ComposeVariables = own.iter().cloned().collect();
            let lookup = |name: &str| {
                place
                    .variables
                    .get(name)
                    .or_else(|| known.get(name))
                    .map(str::to_owned)
            };
            let text = self.reader.environment_text(source);
            own.extend(dotenv::parse(
                &text,
                source,
                &lookup,
                &mut self.reader.problems,
            ));
        }
        let own: ComposeVariables = own.into_iter().collect();
        variables.set_defaults(&own);
        self.places += 1;
        if self.places > MOST_INCLUDED {
            let message = format!("more than {MOST_INCLUDED} projects are included");
            return Err(self.reader.error("compose::limit", message, *span, ""));
        }
        let within = ModelPlace {
            dir,
            seen_as,
            variables: Rc::new(variables),
            included_by: place.included_by.clone(),
            id: self.places,
        };
        self.model(&files, &within)
    }

    /// The environment files of an included project. If it names none, `.env` in its directory is used, if that
    /// exists.
    fn env_files(
        &self,
        named: Vec<(String, Span)>,
        dir: &str,
        span: Span,
        place: &ModelPlace,
    ) -> Vec<(String, Span)> {
        if named.is_empty() {
            let default = path::join(dir, ".env");
            let found = self.reader.is_file(&default);
            return found.then_some((default, span)).into_iter().collect();
        }
        let named = named.into_iter().filter(|(path, _)| path != "/dev/null");
        named
            .map(|(path, span)| (below(&place.dir, &path), span))
            .collect()
    }

    /// Adds the contents of the included `model` to `over`. If both define a resource, the one in `over` is merged
    /// onto the included one.
    fn take_over(
        &mut self,
        mut model: YamlMapping,
        over: &mut YamlMapping,
        marks: &[MergeMark],
    ) -> Result<(), Reported> {
        for section in SECTIONS {
            let Some(from) = model
                .shift_remove(section)
                .filter(|from| !from.value.is_null())
            else {
                continue;
            };
            let YamlValue::Mapping(entries) = from.value.value else {
                return Err(self.wrong(&from.value, section, "a mapping"));
            };
            let to = over.entry(section.to_owned()).or_insert_with(|| YamlEntry {
                key: from.key,
                value: YamlNode::new(YamlValue::Mapping(YamlMapping::new()), from.value.span),
            });
            let YamlValue::Mapping(to) = &mut to.value.value else {
                let node = to.value.clone();
                return Err(self.wrong(&node, section, "a mapping"));
            };
            for (name, mut entry) in entries {
                let Some(own) = to.get_mut(&name) else {
                    to.insert(name, entry);
                    continue;
                };
                let its: Vec<MergeMark> = marks
                    .iter()
                    .filter(|mark| matches!(mark.path.as_slice(), [a, b, ..] if *a == section && *b == name))
                    .cloned()
                    .collect();
                if let YamlValue::Mapping(value) = &mut entry.value.value {
                    reset(value, &its, 2);
                }
                let own = std::mem::replace(own, entry.clone());
                let path = ModelPath::ROOT.key(section);
                let path = path.key(&name);
                merge::merge(
                    &mut entry.value,
                    own.value,
                    &path,
                    &mut self.reader.problems,
                );
                if let Some(place) = to.get_mut(&name) {
                    *place = entry;
                }
            }
        }
        Ok(())
    }
}

/// Joins `path` to `dir`, unless `path` is absolute. The result is relative to the same directory as `dir`.
pub(super) fn below(dir: &str, path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        path::join(dir, path)
    }
}

/// The directory of a file. `.` if the path has only one component.
pub(super) fn parent(path: &str) -> String {
    match path.rsplit_once('/') {
        None => ".".to_owned(),
        Some(("", _)) => "/".to_owned(),
        Some((dir, _)) => path::clean(dir),
    }
}
