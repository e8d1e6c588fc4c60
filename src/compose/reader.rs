//! The files of a project: read once, kept in the source map, bounded in size and number.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::rc::Rc;

use crate::diag::{Class, Diagnostic, Diagnostics, SourceId, SourceMap, Span};
use crate::types::{awaited, encoding};
use crate::yaml::{self, Document, YamlNode, YamlValue};

/// The largest file that is read, in bytes.
pub(super) const SIZE_LIMIT: u64 = 16 << 20;
/// Files that are read beside those named by the user.
const FILE_LIMIT: usize = 5_000;
/// Values that are made in all: `include` and `extends` can multiply what the files say.
const VALUE_LIMIT: usize = 8_000_000;

/// The code of files that cannot be read.
pub(super) const UNREADABLE: &str = "compose::unreadable";

/// Why something cannot be had; it has been reported.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reported;

/// What has been read so far.
#[derive(Debug, Default)]
pub(super) struct Cache {
    paths: HashMap<String, Result<SourceId, String>>,
    documents: HashMap<SourceId, Result<Rc<Vec<Document>>, Diagnostics>>,
    utf16: HashSet<SourceId>,
}

/// The files of a project and what is wrong with it.
pub(super) struct ProjectReader<'a> {
    map: &'a mut SourceMap,
    dir: &'a Path,
    cache: &'a mut Cache,
    values: usize,
    /// What is wrong with the project.
    pub(super) problems: Diagnostics,
    /// Services that extend what cannot be read, with why: of no interest to those who do not build them.
    pub(super) incomplete: HashMap<String, Vec<Diagnostic>>,
}

impl<'a> ProjectReader<'a> {
    /// Reads files below `dir` into `map`.
    pub(super) fn new(map: &'a mut SourceMap, dir: &'a Path, cache: &'a mut Cache) -> Self {
        Self {
            map,
            dir,
            cache,
            values: 0,
            problems: Diagnostics::default(),
            incomplete: HashMap::new(),
        }
    }

    /// Reports an error.
    pub(super) fn error(
        &mut self,
        code: &'static str,
        message: impl Into<String>,
        span: Span,
        label: &str,
    ) -> Reported {
        self.report(Diagnostic::error(Class::Definition, code, message).at(span, label))
    }

    /// Reports a problem.
    pub(super) fn report(&mut self, problem: Diagnostic) -> Reported {
        self.problems.push(problem);
        Reported
    }

    /// Whether `path` is a directory.
    pub(super) fn is_dir(&self, path: &str) -> bool {
        self.dir.join(path).is_dir()
    }

    /// Whether there is something at `path` that is no directory.
    pub(super) fn is_file(&self, path: &str) -> bool {
        std::fs::metadata(self.dir.join(path)).is_ok_and(|metadata| !metadata.is_dir())
    }

    /// Whether there is something at `path`.
    pub(super) fn exists(&self, path: &str) -> bool {
        self.dir.join(path).exists()
    }

    /// Reads the file at `path`, which `span` names as `what`.
    pub(super) fn read(
        &mut self,
        path: &str,
        what: &str,
        span: Option<Span>,
    ) -> Result<SourceId, Reported> {
        let read = if let Some(known) = self.cache.paths.get(path) {
            known.clone()
        } else {
            let read = self.read_anew(path);
            self.cache.paths.insert(path.to_owned(), read.clone());
            read
        };
        read.map_err(|why| {
            let problem = Diagnostic::error(
                Class::Definition,
                UNREADABLE,
                format!("cannot read {what} `{path}`: {why}"),
            );
            self.report(problem.at(span, ""))
        })
    }

    fn read_anew(&mut self, path: &str) -> Result<SourceId, String> {
        if self.cache.paths.len() >= FILE_LIMIT {
            return Err(format!(
                "more than {FILE_LIMIT} files belong to the project"
            ));
        }
        if path.is_empty() {
            return Err("its path is empty".to_owned());
        }
        let mut bytes = Vec::new();
        let awaited = awaited::file(path);
        let file = File::open(self.dir.join(path));
        let file = file.and_then(|file| file.take(SIZE_LIMIT + 1).read_to_end(&mut bytes));
        drop(awaited);
        file.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
            _ => error.to_string(),
        })?;
        if bytes.len() as u64 > SIZE_LIMIT {
            return Err(format!("it is larger than {} MiB", SIZE_LIMIT >> 20));
        }
        let decoded = encoding::decode(bytes).map_err(|error| error.to_string())?;
        let source = self.map.add(path, decoded.text);
        if decoded.utf16 {
            self.cache.utf16.insert(source);
        }
        Ok(source)
    }

    /// Whether a file that was read is UTF-16, which only YAML may be.
    pub(super) fn is_utf16(&self, source: SourceId) -> bool {
        self.cache.utf16.contains(&source)
    }

    /// The text of an environment file that was read. Its values stay out of messages.
    pub(super) fn environment_text(&mut self, source: SourceId) -> std::sync::Arc<str> {
        self.map.hide_values(source);
        self.text(source)
    }

    /// The text of a file that was read.
    pub(super) fn text(&self, source: SourceId) -> std::sync::Arc<str> {
        self.map
            .get(source)
            .map(|file| std::sync::Arc::clone(&file.text))
            .unwrap_or_default()
    }

    /// The YAML documents of a file that was read.
    pub(super) fn documents(&mut self, source: SourceId) -> Result<Rc<Vec<Document>>, Reported> {
        let parsed = if let Some(known) = self.cache.documents.get(&source) {
            known.clone()
        } else {
            let parsed = yaml::parse(&self.text(source), source).map(Rc::new);
            self.cache.documents.insert(source, parsed.clone());
            parsed
        };
        parsed.map_err(|mut problems| {
            self.problems.0.append(&mut problems.0);
            Reported
        })
    }

    /// A copy of `node`, which costs what it holds.
    pub(super) fn copy(&mut self, node: &YamlNode) -> Result<YamlNode, Reported> {
        self.values += count(node);
        if self.values > VALUE_LIMIT {
            let message = format!("the project is made of more than {VALUE_LIMIT} values");
            return Err(self.error("compose::limit", message, node.span, "among them this"));
        }
        Ok(node.clone())
    }
}

fn count(node: &YamlNode) -> usize {
    1 + match &node.value {
        YamlValue::Sequence(items) => items.iter().map(count).sum(),
        YamlValue::Mapping(entries) => entries.values().map(|entry| count(&entry.value)).sum(),
        _ => 0,
    }
}
