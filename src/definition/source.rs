//! Finds and reads the files of a definition.
//!
//! This module knows the default names, `-f`, `BUILDX_BAKE_FILE` and standard input, and recognises formats by the
//! file name. It does not look into the files. Start at [`read`]; tests and callers that already have the text use
//! [`DefinitionSources::of`].

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::diag::{Class, Diagnostic, Diagnostics, SourceId, SourceMap};
use crate::types::encoding::{self, DecodedText, IS_UTF16, NotText, SAVE_AS_UTF8};
use crate::types::remote::is_remote;
use crate::types::secret::redact_url;
use crate::types::{Environment, awaited};

/// The largest definition file that rbake reads, in bytes.
pub(crate) const SIZE_LIMIT: u64 = 64 << 20;

/// The default file names of buildx, in its order. All that exist are used.
pub(crate) const DEFAULT_NAMES: [&str; 8] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
];

/// The directory that is searched if the working directory has none of the default names. buildx does not do this.
pub(crate) const FALLBACK_DIR: &str = "bake";

/// The inputs that decide which files are read.
#[derive(Debug)]
pub(crate) struct SourceRequest<'a> {
    /// The values of `-f`, in order.
    pub(crate) files: &'a [String],
    /// The files of a definition that was fetched from a remote address. They are read before local ones.
    pub(crate) fetched: Option<&'a [FetchedFile]>,
    /// The process environment, with the working directory.
    pub(crate) environment: &'a Environment,
}

/// A file of a definition that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FetchedFile {
    /// Its path in the tree, or the address that it was downloaded from.
    pub(crate) name: String,
    /// The directory of the file in the tree. `None` for a download.
    pub(crate) folder: Option<PathBuf>,
    /// Its content, which is not trusted.
    pub(crate) content: Vec<u8>,
}

/// The text of all files of a definition. Later files take precedence.
#[derive(Debug, Clone, Default)]
pub struct DefinitionSources {
    /// The names and texts, which diagnostics need to show places.
    pub map: SourceMap,
    /// The files to parse, in order.
    pub files: Vec<DefinitionSource>,
    /// How the files were chosen.
    pub(crate) origin: DefinitionOrigin,
}

/// How the files of a definition were chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum DefinitionOrigin {
    /// They have default names.
    #[default]
    DefaultNames,
    /// They were given with `-f`.
    Flag,
    /// They were given in `BUILDX_BAKE_FILE`.
    Environment,
    /// They were fetched.
    Fetched,
}

/// One file of a definition.
#[derive(Debug, Clone)]
pub struct DefinitionSource {
    /// The file's id in the source map.
    pub(crate) id: SourceId,
    /// The syntax that the file name suggests.
    pub(crate) format: Format,
    /// Whether the file is UTF-16. Only Compose files may be.
    pub(crate) utf16: bool,
    /// The directory of the file, relative to the working directory or absolute, as it was given. `None` for
    /// standard input.
    pub(crate) base_dir: Option<PathBuf>,
}

/// The syntax of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// HCL's native syntax.
    Hcl,
    /// HCL's JSON syntax.
    Json,
    /// A Compose file.
    Compose,
    /// The name does not tell. The text decides.
    Unknown,
}

impl Format {
    /// The syntax of a file called `name`. As in buildx, the case of `.YML` and `.YAML` does not matter, but
    /// `.HCL` and `.JSON` in capitals are unknown.
    pub(crate) fn of_name(name: &str) -> Self {
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        match extension {
            "json" => Self::Json,
            "hcl" => Self::Hcl,
            other if other.eq_ignore_ascii_case("yml") || other.eq_ignore_ascii_case("yaml") => {
                Self::Compose
            }
            _ => Self::Unknown,
        }
    }
}

impl DefinitionSources {
    /// Makes sources from pairs of name and text.
    pub fn of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut sources = Self::default();
        for (name, text) in files {
            sources.add(name, text.to_owned());
        }
        sources
    }

    /// Adds a file that was read from `name`. `-` is standard input.
    pub fn add(&mut self, name: &str, text: String) {
        let id = self.map.add(name, text);
        self.files.push(DefinitionSource {
            id,
            format: Format::of_name(name),
            utf16: false,
            base_dir: (name != "-").then(|| match Path::new(name).parent() {
                Some(parent) if parent != Path::new("") => parent.to_owned(),
                _ => PathBuf::from("."),
            }),
        });
    }
}

/// Reads the files of the definition. The file name `-` reads `stdin`.
///
/// Reports all files that cannot be read, not only the first.
pub(crate) fn read(
    request: &SourceRequest<'_>,
    stdin: &mut dyn Read,
) -> Result<DefinitionSources, Diagnostics> {
    let mut problems = Diagnostics::default();
    let mut empty = Vec::new();
    let mut sources = DefinitionSources::default();
    let names = if let Some(fetched) = request.fetched {
        sources.origin = DefinitionOrigin::Fetched;
        for file in fetched {
            match sources.add_fetched(file) {
                Ok(true) => {}
                Ok(false) => empty.push(file.name.clone()),
                Err(problem) => problems.push(problem),
            }
        }
        remote_names(request.files, request.environment).local
    } else {
        let (origin, names) = choose(request, &mut problems);
        sources.origin = origin;
        names
    };
    for name in names {
        match read_one(&name, request.environment, stdin) {
            // As in buildx, an empty file is ignored, even if it is JSON, for which empty text is invalid.
            Ok(decoded) if decoded.text.is_empty() && name != "-" => empty.push(name),
            Ok(DecodedText { text, utf16 }) => {
                sources.add(name.strip_prefix("cwd://").unwrap_or(&name), text);
                if let Some(source) = sources.files.last_mut() {
                    source.utf16 = utf16;
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
    if sources.files.is_empty() && !empty.is_empty() {
        problems.push(
            Diagnostic::error(
                Class::Definition,
                "definition::empty",
                format!(
                    "there is nothing in {}",
                    listed(&empty.iter().map(String::as_str).collect::<Vec<_>>())
                ),
            )
            .help("define what to build, as in `target \"default\" {}`"),
        );
    }
    problems.into_result(sources)
}

impl DefinitionSources {
    /// Adds a file that was fetched. `false` if it is empty.
    fn add_fetched(&mut self, file: &FetchedFile) -> Result<bool, Diagnostic> {
        let DecodedText { text, utf16 } = decoded(file.content.clone(), &file.name, &file.name)?;
        if text.is_empty() {
            return Ok(false);
        }
        self.add(&file.name, text);
        if let Some(source) = self.files.last_mut() {
            source.utf16 = utf16;
            source.base_dir.clone_from(&file.folder);
        }
        Ok(true)
    }
}

/// The names of the files to read. `-f` takes precedence over `BUILDX_BAKE_FILE`, which takes precedence over the
/// default names.
fn choose(
    request: &SourceRequest<'_>,
    problems: &mut Diagnostics,
) -> (DefinitionOrigin, Vec<String>) {
    if let Some(named) = named(request.files, request.environment) {
        return named;
    }
    (
        DefinitionOrigin::DefaultNames,
        default_files(request.environment.current_dir(), problems),
    )
}

/// The names in `-f` or in `BUILDX_BAKE_FILE`. `None` if there are none.
fn named(files: &[String], environment: &Environment) -> Option<(DefinitionOrigin, Vec<String>)> {
    if !files.is_empty() {
        return Some((DefinitionOrigin::Flag, files.to_vec()));
    }
    if let Some(list) = environment.non_empty("BUILDX_BAKE_FILE") {
        let default_separator = if cfg!(windows) { ";" } else { ":" };
        let separator = environment
            .get("BUILDX_BAKE_PATH_SEPARATOR")
            .filter(|separator| !separator.is_empty())
            .unwrap_or(default_separator);
        let names: Vec<String> = list
            .split(separator)
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        if !names.is_empty() {
            return Some((DefinitionOrigin::Environment, names));
        }
    }
    None
}

/// The folder of the first definition file, relative to the working directory. That of a definition from standard input
/// or from a remote address is the working directory.
pub(crate) fn folder(request: &SourceRequest<'_>) -> PathBuf {
    if request.fetched.is_some() {
        return PathBuf::new();
    }
    let (_, files) = choose(request, &mut Diagnostics::default());
    let first = files
        .first()
        .filter(|file| *file != "-" && !is_remote(file));
    let folder = first.and_then(|file| Path::new(file).parent());
    folder.map(Path::to_owned).unwrap_or_default()
}

/// Whether the local files can be read again. Standard input and pipes, such as those of `<(…)` in a shell, can be read only once.
pub(crate) fn is_repeatable(files: &[String], environment: &Environment) -> bool {
    let dir = environment.current_dir();
    let (_, names) = named(files, environment).unwrap_or_else(|| {
        (
            DefinitionOrigin::DefaultNames,
            default_files(dir, &mut Diagnostics::default()),
        )
    });
    names.iter().filter(|name| !is_remote(name)).all(|name| {
        let path = name.strip_prefix("cwd://").unwrap_or(name);
        let metadata = std::fs::metadata(dir.join(path));
        name != "-" && metadata.is_ok_and(|metadata| metadata.is_file())
    })
}

/// The default files that exist, in the working directory or else in `bake/`. Reports an error if there are none.
fn default_files(dir: &Path, problems: &mut Diagnostics) -> Vec<String> {
    for prefix in ["", FALLBACK_DIR] {
        let found: Vec<String> = DEFAULT_NAMES
            .iter()
            .map(|name| Path::new(prefix).join(name))
            .filter(|name| dir.join(name).exists())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        if !found.is_empty() {
            return found;
        }
    }
    // A process can outlive its working directory, which then has no path.
    if !dir.is_dir() {
        problems.push(
            Diagnostic::error(
                Class::Definition,
                "definition::not-found",
                "the working directory does not exist any more",
            )
            .help("change to a directory that exists: `cd \"$PWD\"` if it was created again"),
        );
        return Vec::new();
    }
    problems.push(
        Diagnostic::error(
            Class::Definition,
            "definition::not-found",
            format!("there is no bake definition in `{}`", dir.display()),
        )
        .note("looked for `docker-bake.hcl`, `docker-bake.json` and their overrides, here and in `bake/`")
        .help("name the file with `-f`, or change to the directory that has it"),
    );
    Vec::new()
}

/// Reads one file, or standard input for `-`. The prefix `cwd://` means a local file.
fn read_one(
    name: &str,
    environment: &Environment,
    stdin: &mut dyn Read,
) -> Result<DecodedText, Diagnostic> {
    let awaited = match name {
        "-" => awaited::standard_input(),
        _ => awaited::file(name),
    };
    let bytes = if name == "-" {
        read_limited(stdin, 0)
    } else {
        if is_remote(name) {
            return Err(remote_file(name));
        }
        let path = name.strip_prefix("cwd://").unwrap_or(name);
        if path.is_empty() {
            let message = "the name of a definition file is empty";
            return Err(
                Diagnostic::error(Class::Definition, "definition::unreadable", message)
                    .help("name a file, such as `-f docker-bake.hcl`; a variable in the command may be unset"),
            );
        }
        File::open(environment.current_dir().join(path)).and_then(|mut file| {
            let size = file.metadata().map_or(0, |metadata| metadata.len());
            read_limited(&mut file, size)
        })
    };
    drop(awaited);
    let shown = if name == "-" { "standard input" } else { name };
    let unreadable = |why: String| {
        Diagnostic::error(
            Class::Definition,
            "definition::unreadable",
            format!("cannot read the definition `{shown}`: {why}"),
        )
    };
    let bytes = bytes.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => unreadable("there is no such file".to_owned())
            .help("paths are relative to the working directory; see `-f`"),
        io::ErrorKind::IsADirectory => unreadable("it is a directory".to_owned()).help(format!(
            "name the file in it, such as `-f {shown}/docker-bake.hcl`"
        )),
        io::ErrorKind::FileTooLarge => {
            unreadable(format!("it is larger than {} MiB", SIZE_LIMIT >> 20))
        }
        io::ErrorKind::PermissionDenied => unreadable("permission denied".to_owned())
            .help("make it readable for the user that runs rbake"),
        _ => unreadable(error.to_string()),
    })?;
    decoded(bytes, name, shown)
}

/// The text in `bytes`, which are the content of the file `name`. Errors call it `shown`.
fn decoded(bytes: Vec<u8>, name: &str, shown: &str) -> Result<DecodedText, Diagnostic> {
    let unreadable = |why: String| {
        Diagnostic::error(
            Class::Definition,
            "definition::unreadable",
            format!("cannot read the definition `{shown}`: {why}"),
        )
    };
    let decoded = encoding::decode(bytes).map_err(|error| {
        let way_out = match error {
            NotText::Utf8 { .. } => "save it as UTF-8",
            NotText::Utf16 { .. } | NotText::Unmarked => SAVE_AS_UTF8,
        };
        unreadable(error.to_string()).help(way_out)
    })?;
    // As in buildx, only YAML may be UTF-16. A file with an unknown extension may be YAML.
    if decoded.utf16 && matches!(Format::of_name(name), Format::Hcl | Format::Json) {
        return Err(unreadable(IS_UTF16.to_owned()).help(SAVE_AS_UTF8));
    }
    Ok(decoded)
}

/// Reads up to the size limit. `expected` is the size that the file system reports; it only saves reallocations.
fn read_limited(from: &mut dyn Read, expected: u64) -> io::Result<Vec<u8>> {
    // One byte more, so that `read_to_end` sees the end of the file without growing the buffer.
    let expected = usize::try_from(expected.min(SIZE_LIMIT)).unwrap_or(0);
    let mut bytes = Vec::with_capacity(expected + 1);
    from.take(SIZE_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SIZE_LIMIT {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// The values of `-f` for a remote definition, by where the files are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RemoteNames {
    /// Files at the remote address. If empty, the default names are used.
    pub(crate) fetched: Vec<String>,
    /// Local files (`cwd://`). They are read after the remote ones.
    pub(crate) local: Vec<String>,
}

/// Splits the names of files in `-f`, or in `BUILDX_BAKE_FILE`, into remote and local files.
pub(crate) fn remote_names(files: &[String], environment: &Environment) -> RemoteNames {
    let mut names = RemoteNames::default();
    let (_, named) = named(files, environment).unwrap_or_default();
    for name in named {
        match name.strip_prefix("cwd://") {
            Some(local) => names.local.push(local.to_owned()),
            None => names.fetched.push(name),
        }
    }
    names
}

fn listed(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// The error for an address in `-f`.
fn remote_file(address: &str) -> Diagnostic {
    let shown = redact_url(address);
    Diagnostic::error(
        Class::Definition,
        "definition::unreadable",
        format!("cannot read the definition `{shown}`: it is not a file on this machine"),
    )
    .help(format!(
        "the address of a definition is an argument, before the targets: `rbake {shown}`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn names(sources: &DefinitionSources) -> Vec<String> {
        sources
            .map
            .iter()
            .map(|(_, file)| file.name.clone())
            .collect()
    }

    fn read_in(
        dir: &Path,
        variables: &[(&str, &str)],
        files: &[&str],
        mut stdin: &[u8],
    ) -> Result<DefinitionSources, Diagnostics> {
        let environment = Environment::new(
            variables.iter().map(|(k, v)| ((*k).into(), (*v).into())),
            dir.to_owned(),
        );
        let files: Vec<String> = files.iter().map(|f| (*f).to_owned()).collect();
        let request = SourceRequest {
            files: &files,
            fetched: None,
            environment: &environment,
        };
        read(&request, &mut stdin)
    }

    #[test]
    fn all_default_names_are_used_in_buildx_order() {
        let dir = dir(&[
            ("docker-bake.override.hcl", "#"),
            ("docker-bake.hcl", "#"),
            ("docker-bake.json", "{}"),
            ("bake/docker-bake.hcl", "#"),
            ("other.hcl", ""),
        ]);
        let sources = read_in(dir.path(), &[], &[], b"").unwrap();
        assert_eq!(
            names(&sources),
            [
                "docker-bake.json",
                "docker-bake.hcl",
                "docker-bake.override.hcl"
            ]
        );
        assert_eq!(sources.origin, DefinitionOrigin::DefaultNames);
    }

    #[test]
    fn the_bake_directory_is_searched_if_the_working_directory_has_no_definition() {
        let dir = dir(&[("bake/docker-bake.hcl", "a = 1")]);
        let sources = read_in(dir.path(), &[], &[], b"").unwrap();
        assert_eq!(names(&sources), ["bake/docker-bake.hcl"]);
        assert_eq!(
            sources.files[0].base_dir.as_deref(),
            Some(Path::new("bake"))
        );
        assert_eq!(sources.files[0].format, Format::Hcl);
    }

    #[test]
    fn empty_files_are_ignored_unless_all_are_empty() {
        let dir = dir(&[("a.hcl", ""), ("b.json", ""), ("c.hcl", "#")]);
        let sources = read_in(dir.path(), &[], &["a.hcl", "b.json", "c.hcl"], b"").unwrap();
        assert_eq!(names(&sources), ["c.hcl"]);
        let problems = read_in(dir.path(), &[], &["a.hcl", "b.json"], b"").unwrap_err();
        assert_eq!(
            problems.0[0].message,
            "there is nothing in `a.hcl`, `b.json`"
        );
        assert!(read_in(dir.path(), &[], &["-"], b"").is_ok());
    }

    #[test]
    fn a_missing_definition_is_an_error() {
        let dir = dir(&[("doker-bake.hcl", "#")]);
        let problems = read_in(dir.path(), &[], &[], b"").unwrap_err();
        assert_eq!(problems.0[0].code, "definition::not-found");
    }

    #[test]
    fn the_environment_lists_files_unless_the_flag_is_given() {
        let dir = dir(&[("a.hcl", "#"), ("b.hcl", "#"), ("c.hcl", "#")]);
        let list = [("BUILDX_BAKE_FILE", " a.hcl : :b.hcl")];
        let sources = read_in(dir.path(), &list, &[], b"").unwrap();
        assert_eq!(names(&sources), ["a.hcl", "b.hcl"]);
        assert_eq!(sources.origin, DefinitionOrigin::Environment);
        let sources = read_in(dir.path(), &list, &["cwd://c.hcl"], b"").unwrap();
        assert_eq!(names(&sources), ["c.hcl"]);
        let separated = [
            ("BUILDX_BAKE_FILE", "a.hcl@-"),
            ("BUILDX_BAKE_PATH_SEPARATOR", "@"),
        ];
        let sources = read_in(dir.path(), &separated, &[], b"x = 1").unwrap();
        assert_eq!(names(&sources), ["a.hcl", "-"]);
        assert_eq!(sources.files[1].base_dir, None);
        let blank = [("BUILDX_BAKE_FILE", "  ")];
        assert!(read_in(dir.path(), &blank, &[], b"").is_err());
    }

    #[test]
    fn every_unreadable_file_is_named() {
        let dir = dir(&[("sub/x", "#"), ("latin1.hcl", "")]);
        fs::write(dir.path().join("latin1.hcl"), b"a = 1\n# \xe9").unwrap();
        let problems = read_in(
            dir.path(),
            &[],
            &[
                "nope.hcl",
                "sub",
                "latin1.hcl",
                "https://example.com/bake.hcl",
            ],
            b"",
        )
        .unwrap_err();
        let messages: Vec<&str> = problems.0.iter().map(|p| p.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "cannot read the definition `nope.hcl`: there is no such file",
                "cannot read the definition `sub`: it is a directory",
                "cannot read the definition `latin1.hcl`: it is not UTF-8 (line 2, byte 8)",
                "cannot read the definition `https://example.com/bake.hcl`: it is not a file on this machine",
            ]
        );
    }

    #[test]
    fn files_of_a_remote_definition_are_remote_or_local() {
        let files = ["a.hcl", "cwd://b.hcl", "c.json"].map(str::to_owned);
        let names = remote_names(&files, &Environment::default());
        assert_eq!(names.fetched, ["a.hcl", "c.json"]);
        assert_eq!(names.local, ["b.hcl"]);
        let environment = Environment::of([("BUILDX_BAKE_FILE", "x.hcl:y.hcl")], "/");
        let names = remote_names(&[], &environment);
        assert_eq!(names.fetched, ["x.hcl", "y.hcl"]);
    }

    #[test]
    fn local_files_follow_fetched_ones() {
        let dir = dir(&[("own.hcl", "own")]);
        let fetched = |name: &str, content: &[u8]| FetchedFile {
            name: name.to_owned(),
            folder: Some("sub".into()),
            content: content.to_vec(),
        };
        let environment = Environment::new([], dir.path().to_owned());
        let files = ["cwd://own.hcl".to_owned()];
        let read_with = |fetched: &[FetchedFile]| {
            let request = SourceRequest {
                files: &files,
                fetched: Some(fetched),
                environment: &environment,
            };
            read(&request, &mut io::empty())
        };
        let sources = read_with(&[fetched("sub/a.hcl", b"a"), fetched("empty.hcl", b"")]).unwrap();
        assert_eq!(names(&sources), ["sub/a.hcl", "own.hcl"]);
        assert_eq!(sources.files[0].base_dir, Some("sub".into()));
        assert_eq!(sources.origin, DefinitionOrigin::Fetched);
        let problems = read_with(&[fetched("a.hcl", b"\xff")]).unwrap_err();
        assert_eq!(problems.0[0].code, "definition::unreadable");
    }

    #[test]
    fn endless_input_is_refused() {
        let mut endless = io::repeat(b'#');
        let environment = Environment::default();
        let request = SourceRequest {
            files: &["-".to_owned()],
            fetched: None,
            environment: &environment,
        };
        let problems = read(&request, &mut endless).unwrap_err();
        assert!(problems.0[0].message.contains("larger than 64 MiB"));
    }

    #[test]
    fn the_file_name_determines_the_format() {
        assert_eq!(Format::of_name("a.YML"), Format::Compose);
        assert_eq!(Format::of_name("a.HCL"), Format::Unknown);
        assert_eq!(Format::of_name("a.json"), Format::Json);
        assert_eq!(Format::of_name("-"), Format::Unknown);
    }
}
