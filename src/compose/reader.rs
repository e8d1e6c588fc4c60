//! Reads the files of a project. Each is read once and kept in the source map. Their size and number are limited.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::diag::{Class, Diagnostic, Diagnostics, SourceId, SourceMap, Span};
use crate::types::{awaited, encoding};
use crate::yaml::{self, Document, YamlNode, YamlValue};

/// The largest file that is read, in bytes.
pub(super) const SIZE_LIMIT: u64 = 16 << 20;
/// The most files that are read in addition to those that the user named.
const FILE_LIMIT: usize = 5_000;
/// The most values that a project may have in total. `include` and `extends` can multiply the contents of small files.
const VALUE_LIMIT: usize = 8_000_000;

/// The diagnostic code for files that cannot be read.
pub(super) const UNREADABLE: &str = "compose::unreadable";

/// An error value without content: the problem has already been reported.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reported;

/// The files that have been read and parsed so far, including failures.
#[derive(Debug, Default)]
pub(super) struct Cache {
    paths: HashMap<String, Result<SourceId, String>>,
    documents: HashMap<SourceId, Result<Rc<Vec<Document>>, Diagnostics>>,
    utf16: HashSet<SourceId>,
}

/// Reads the files of a project, and collects its problems.
pub(super) struct ProjectReader<'a> {
    map: &'a mut SourceMap,
    dir: &'a Path,
    readable: Option<&'a [PathBuf]>,
    cache: &'a mut Cache,
    values: usize,
    /// The problems found so far.
    pub(super) problems: Diagnostics,
    /// Services that extend something unreadable, with the reasons. Kept apart, because they only matter if such a
    /// service is built.
    pub(super) incomplete: HashMap<String, Vec<Diagnostic>>,
}

impl<'a> ProjectReader<'a> {
    /// Creates a reader that adds files to `map`. Relative paths start at `dir`. If there is `readable`, all files that it reads are
    /// in there.
    pub(super) fn new(
        map: &'a mut SourceMap,
        dir: &'a Path,
        readable: Option<&'a [PathBuf]>,
        cache: &'a mut Cache,
    ) -> Self {
        Self {
            map,
            dir,
            readable,
            cache,
            values: 0,
            problems: Diagnostics::default(),
            incomplete: HashMap::new(),
        }
    }

    /// Reports an error at `span`.
    pub(super) fn error(
        &mut self,
        code: &'static str,
        message: impl Into<String>,
        span: Span,
        label: &str,
    ) -> Reported {
        self.report(Diagnostic::error(Class::Definition, code, message).at(span, label))
    }

    /// Reports a problem. The result is for `return Err(…)`.
    pub(super) fn report(&mut self, problem: Diagnostic) -> Reported {
        self.problems.push(problem);
        Reported
    }

    /// Whether `path` is a directory.
    pub(super) fn is_dir(&self, path: &str) -> bool {
        self.dir.join(path).is_dir()
    }

    /// Whether `path` exists and is not a directory. It may be a pipe or a device.
    pub(super) fn is_file(&self, path: &str) -> bool {
        std::fs::metadata(self.dir.join(path)).is_ok_and(|metadata| !metadata.is_dir())
    }

    /// Whether `path` exists.
    pub(super) fn exists(&self, path: &str) -> bool {
        self.dir.join(path).exists()
    }

    /// Reads the file at `path`. If that fails, reports an error that calls it `what`, at `span`, where the path
    /// is written.
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

    /// Reads a file that is not in the cache. The error is the end of a message. The file may be a pipe, so
    /// reading may block.
    fn read_anew(&mut self, path: &str) -> Result<SourceId, String> {
        if self.cache.paths.len() >= FILE_LIMIT {
            return Err(format!(
                "more than {FILE_LIMIT} files belong to the project"
            ));
        }
        if path.is_empty() {
            return Err("its path is empty".to_owned());
        }
        if !self.may_read(path) {
            let why = "the definition was fetched and the file is not in the working directory; `--allow=fs.read=…` grants it";
            return Err(why.to_owned());
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

    /// Whether `path` is in a place that may be read. Links count by what they lead to. What does not exist may be read: the error
    /// is that it does not exist.
    fn may_read(&self, path: &str) -> bool {
        let Some(readable) = self.readable else {
            return true;
        };
        let Ok(place) = self.dir.join(path).canonicalize() else {
            return true;
        };
        readable.iter().any(|readable| {
            let readable = readable.canonicalize();
            readable.is_ok_and(|readable| place.starts_with(readable))
        })
    }

    /// Whether a file is UTF-16. Only YAML files may be.
    pub(super) fn is_utf16(&self, source: SourceId) -> bool {
        self.cache.utf16.contains(&source)
    }

    /// The text of an environment file. Marks the file so that diagnostics do not show its values, which may be
    /// secrets.
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

    /// The YAML documents of a file that was read. Reports its errors each time it is asked for.
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

    /// Copies `node`, and counts its values against the limit for the project.
    pub(super) fn copy(&mut self, node: &YamlNode) -> Result<YamlNode, Reported> {
        self.values += count(node);
        if self.values > VALUE_LIMIT {
            let message = format!("the project has more than {VALUE_LIMIT} values");
            return Err(self.error("compose::limit", message, node.span, "including this one"));
        }
        Ok(node.clone())
    }
}

/// The number of values in `node`, including itself.
fn count(node: &YamlNode) -> usize {
    1 + match &node.value {
        YamlValue::Sequence(items) => items.iter().map(count).sum(),
        YamlValue::Mapping(entries) => entries.values().map(|entry| count(&entry.value)).sum(),
        _ => 0,
    }
}
