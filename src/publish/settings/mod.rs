//! The settings of `rbake.toml`, which lies beside the bake file, with the environment and flags over it.
//!
//! The bake file stays one that buildx reads, so settings that buildx does not know are in a file of their own:
//!
//! ```toml
//! [publish]
//! # Tags that never move once they were published. `*` and `?` stand for any characters and for one.
//! # Without this list, only tags with at least 12 digits of the commit's id are immutable.
//! immutable = ["build-*", "v*.*.*"]
//! # Tags that may move, although `immutable` or the commit's id says otherwise.
//! mutable = ["build-latest"]
//! # Who pushes: "rbake", tags last and with a record of each change; or "buildx", the daemon, as with buildx.
//! mode = "rbake"
//! # Who sends layers to registries: "rbake", "builder", or "auto": rbake if the builder is on the same machine.
//! upload = "auto"
//!
//! [gate]
//! # What must succeed before mutable tags move; see [`gate`].
//! targets = ["check"]
//!
//! [build]
//! # How many targets are solved at once. `RBAKE_JOBS` and `--jobs` replace it.
//! jobs = 4
//! # Whether other targets go on after one has failed. `RBAKE_KEEP_GOING` and `--keep-going` replace it.
//! keep-going = true
//! # Whether the files of contexts are hashed. `RBAKE_VERIFY_CONTEXT` and `--verify-context` replace it.
//! verify-context = true
//!
//! [cache]
//! # Whether a build that fails exports its finished steps to its caches. `RBAKE_SALVAGE` and `--salvage` replace it.
//! salvage = true
//! ```
//!
//! `RBAKE_IMMUTABLE_TAGS` and `RBAKE_MUTABLE_TAGS` (patterns with commas between them), `RBAKE_PUBLISH` and `RBAKE_UPLOAD` replace
//! the value of the file, and flags replace both. An unknown key is an error, not a warning: a misspelt
//! `immutable` would let a release be overwritten.

mod build;
mod gate;
mod reader;

use std::io;
use std::path::Path;
use std::sync::Arc;

use toml_edit::Document;

pub(crate) use build::{BuildSettings, parse_jobs};
pub(crate) use gate::GateSettings;
use reader::Reader;

use super::pattern::{InvalidTagPattern, TagPattern};
use crate::diag::{Class, Diagnostic, Diagnostics, SourceId, SourceMap, Span};
use crate::types::Environment;
use crate::types::encoding::{self, SAVE_AS_UTF8};
use crate::types::regular::read_regular;
use crate::types::terminal::visible;

/// The name of the file.
pub(crate) const FILE_NAME: &str = "rbake.toml";
/// The largest file that is read, in bytes.
pub(crate) const FILE_LIMIT: u64 = 64 << 10;
/// The most patterns of one list.
pub(crate) const PATTERN_LIMIT: usize = 1_000;
/// The most problems of a file that are reported.
const PROBLEM_LIMIT: usize = 50;

const MODE_VARIABLE: &str = "RBAKE_PUBLISH";
const UPLOAD_VARIABLE: &str = "RBAKE_UPLOAD";
const IMMUTABLE_VARIABLE: &str = "RBAKE_IMMUTABLE_TAGS";
const MUTABLE_VARIABLE: &str = "RBAKE_MUTABLE_TAGS";

const TABLES: [&str; 4] = ["publish", "gate", "build", "cache"];
const KEYS: [&str; 4] = ["immutable", "mutable", "mode", "upload"];
const CACHE_KEYS: [&str; 1] = ["salvage"];

/// Who pushes images and moves tags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum PublishMode {
    /// rbake: content by digest, then tags, the mutable ones last.
    #[default]
    Rbake,
    /// The daemon, with each target's own push, as with buildx.
    Buildx,
}

impl PublishMode {
    const NAMES: [&str; 2] = ["rbake", "buildx"];

    fn named(text: &str) -> Option<Self> {
        match text {
            "rbake" => Some(Self::Rbake),
            "buildx" => Some(Self::Buildx),
            _ => None,
        }
    }
}

/// Who sends layers to registries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum UploadMode {
    /// rbake if the builder is on the same machine, and otherwise the builder.
    #[default]
    Auto,
    /// rbake, which reads them from the builder.
    Rbake,
    /// The builder.
    Builder,
}

impl UploadMode {
    const NAMES: [&str; 3] = ["auto", "rbake", "builder"];

    fn named(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "rbake" => Some(Self::Rbake),
            "builder" => Some(Self::Builder),
            _ => None,
        }
    }
}

/// The settings of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PublishSettings {
    /// Tags that never move.
    pub(crate) immutable: Vec<TagPattern>,
    /// Tags that may move. Takes precedence over `immutable`.
    pub(crate) mutable: Vec<TagPattern>,
    /// Who pushes.
    pub(crate) mode: PublishMode,
    /// Who sends layers to registries.
    pub(crate) upload: UploadMode,
}

/// The values of flags, not yet parsed. `None` if the flag is not given; an empty list replaces that of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PublishFlags {
    /// Patterns of immutable tags. Each may be a list with commas.
    pub(crate) immutable: Option<Vec<String>>,
    /// Patterns of mutable tags. Each may be a list with commas.
    pub(crate) mutable: Option<Vec<String>>,
    /// The name of the mode.
    pub(crate) mode: Option<String>,
}

/// What `rbake.toml` says. `None` for keys that it does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SettingsFile {
    immutable: Option<Vec<TagPattern>>,
    mutable: Option<Vec<TagPattern>>,
    mode: Option<PublishMode>,
    upload: Option<UploadMode>,
    /// What must succeed before mutable tags move.
    pub(crate) gate: GateSettings,
    /// How targets are built.
    pub(crate) build: BuildSettings,
    /// Whether the finished steps of a failed build are exported to its caches.
    pub(crate) salvages: Option<bool>,
}

impl SettingsFile {
    /// Reads the file at `path`, which messages call `shown`, and adds it to `sources`. If it does not exist,
    /// nothing is set. Blocking.
    ///
    /// # Errors
    /// It cannot be read, is not a regular file of at most [`FILE_LIMIT`] bytes, or its content is not valid. All
    /// problems are reported, up to a limit.
    pub(crate) fn read(
        path: &Path,
        shown: &str,
        sources: &mut SourceMap,
    ) -> Result<Self, Diagnostics> {
        let unreadable = |reason: &str| {
            let shown = visible(shown);
            let message = format!("the settings `{shown}` cannot be read: {}", visible(reason));
            Diagnostic::error(Class::Definition, "settings::unreadable", message)
        };
        let bytes = match read_regular(path, FILE_LIMIT) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unreadable(&error.to_string()).into()),
        };
        let text = match encoding::decode(bytes) {
            Ok(decoded) if !decoded.utf16 => decoded.text,
            Ok(_) => return Err(unreadable("it is UTF-16").help(SAVE_AS_UTF8).into()),
            Err(error) => return Err(unreadable(&error.to_string()).help(SAVE_AS_UTF8).into()),
        };
        // Some editors write a byte order mark, which the parser does not expect.
        let text: Arc<str> = text.strip_prefix('\u{feff}').unwrap_or(&text).into();
        let source = sources.add(shown, Arc::clone(&text));
        Self::parse(&text, source)
    }

    /// Parses `text`, which is the file `source`.
    ///
    /// # Errors
    /// All problems, up to a limit.
    pub(crate) fn parse(text: &str, source: SourceId) -> Result<Self, Diagnostics> {
        let document = Document::parse(text).map_err(|error| {
            // The message may have several lines.
            let reason: Vec<&str> = error.message().split_whitespace().collect();
            let message = format!("the settings are not valid TOML: {}", reason.join(" "));
            let span = error.span().map(|range| Span::new(source, range));
            Diagnostic::error(Class::Definition, "settings::syntax", visible(&message)).at(span, "")
        })?;
        let mut reader = Reader::of(source);
        let mut found = Self::default();
        reader.check_keys(document.as_table(), "", &TABLES);
        if let Some(table) = reader.table(document.as_table(), "publish", "publish") {
            reader.check_keys(table, "publish.", &KEYS);
            found.immutable = reader.patterns(table, "immutable");
            found.mutable = reader.patterns(table, "mutable");
            found.mode = reader.word(table, "mode", PublishMode::named, unknown_mode);
            found.upload = reader.word(table, "upload", UploadMode::named, unknown_upload);
        }
        if let Some(table) = reader.table(document.as_table(), "gate", "gate") {
            found.gate = GateSettings::read(table, &mut reader);
        }
        if let Some(table) = reader.table(document.as_table(), "build", "build") {
            found.build = BuildSettings::read(table, &mut reader);
        }
        if let Some(table) = reader.table(document.as_table(), "cache", "cache") {
            reader.check_keys(table, "cache.", &CACHE_KEYS);
            found.salvages = reader.boolean(table, "cache", "salvage");
        }
        reader.into_result(found)
    }
}

impl PublishSettings {
    /// Takes each setting from `flags`, or else from `environment`, or else from `file`.
    ///
    /// # Errors
    /// A flag or variable has a value that is not valid. All of them are reported.
    pub(crate) fn resolve(
        file: SettingsFile,
        environment: &Environment,
        flags: &PublishFlags,
    ) -> Result<Self, Diagnostics> {
        let mut problems = Diagnostics::default();
        let mut list = |flag: &Option<Vec<String>>, option: &str, variable: &str, file| match flag {
            Some(texts) => patterns(
                texts.iter().map(String::as_str),
                &format!("`{option}`"),
                &mut problems,
            ),
            None => match environment.non_empty(variable) {
                Some(text) => patterns([text], &format!("`{variable}`"), &mut problems),
                None => Option::unwrap_or_default(file),
            },
        };
        let immutable = list(
            &flags.immutable,
            "--immutable-tags",
            IMMUTABLE_VARIABLE,
            file.immutable,
        );
        let mutable = list(
            &flags.mutable,
            "--mutable-tags",
            MUTABLE_VARIABLE,
            file.mutable,
        );
        let named = match &flags.mode {
            Some(text) => Some(("`--publish`", text.as_str())),
            None => environment
                .non_empty(MODE_VARIABLE)
                .map(|text| ("`RBAKE_PUBLISH`", text.trim())),
        };
        let mode = match named {
            None => file.mode,
            Some((place, text)) => {
                let mode = PublishMode::named(text);
                if mode.is_none() {
                    problems.push(unknown_mode(Class::Usage, place, text));
                }
                mode
            }
        };
        let upload = match environment.non_empty(UPLOAD_VARIABLE).map(str::trim) {
            None => file.upload,
            Some(text) => {
                let upload = UploadMode::named(text);
                if upload.is_none() {
                    problems.push(unknown_upload(Class::Usage, "`RBAKE_UPLOAD`", text));
                }
                upload
            }
        };
        problems.into_result(Self {
            immutable,
            mutable,
            mode: mode.unwrap_or_default(),
            upload: upload.unwrap_or_default(),
        })
    }
}

/// Parses lists with commas. Blanks around patterns and empty patterns are skipped.
fn patterns<'a>(
    texts: impl IntoIterator<Item = &'a str>,
    place: &str,
    problems: &mut Diagnostics,
) -> Vec<TagPattern> {
    let mut found = Vec::new();
    let texts = texts.into_iter().flat_map(|text| text.split(','));
    for text in texts.map(str::trim).filter(|text| !text.is_empty()) {
        if found.len() == PATTERN_LIMIT {
            problems.push(Diagnostic {
                class: Class::Usage,
                ..too_many(place)
            });
            break;
        }
        match text.parse() {
            Ok(pattern) => found.push(pattern),
            Err(error) => {
                let error: InvalidTagPattern = error;
                let message = format!("{place}: {}", visible(&error.to_string()));
                problems.push(invalid(Class::Usage, message));
                if problems.0.len() >= PROBLEM_LIMIT {
                    break;
                }
            }
        }
    }
    found
}

fn invalid(class: Class, message: String) -> Diagnostic {
    Diagnostic::error(class, "settings::invalid-value", message)
}

fn too_many(place: &str) -> Diagnostic {
    let message = format!("{place} has more than {PATTERN_LIMIT} patterns");
    Diagnostic::error(Class::Definition, "settings::limit", message)
}

fn unknown_mode(class: Class, place: &str, text: &str) -> Diagnostic {
    let message = format!("{place} is `{}`, which is not a known mode", visible(text));
    invalid(class, message).did_you_mean("a mode", text, PublishMode::NAMES)
}

fn unknown_upload(class: Class, place: &str, text: &str) -> Diagnostic {
    let message = format!("{place} is `{}`, which is not valid", visible(text));
    invalid(class, message)
        .did_you_mean("a value", text, UploadMode::NAMES)
        .help("the values are `auto`, `rbake` and `builder`")
}

#[cfg(test)]
mod tests;
