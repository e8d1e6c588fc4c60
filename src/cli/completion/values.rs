//! Completions for the values of flags, and for the names in a definition.

use std::path::Path;

use clap::{Arg, Parser as _};

use super::line::Line;
use super::{Candidate, Candidates, set};
use crate::builder::store::Store;
use crate::builder::{DockerContexts, EMBEDDED};
use crate::cli::args::BakeArgs;
use crate::cli::commands::definition::{self, LoadedDefinition};
use crate::definition::source::is_repeatable;
use crate::types::Environment;
use crate::types::remote::is_remote;

/// Fixed words with their descriptions.
type Words = &'static [(&'static str, &'static str)];

const PROGRESS: Words = &[
    ("auto", "the live view on a terminal, else plain"),
    ("plain", "plain lines"),
    ("tty", "the live view"),
    ("quiet", "errors only"),
    ("rawjson", "the progress of the builder as JSON"),
];
const ON_FAILURE: Words = &[
    ("keep", "they stay, for the images that are whole"),
    ("untag", "they are taken back"),
];
const PUBLISH: Words = &[
    ("rbake", "tags last, and recorded"),
    ("buildx", "the builder, each target alone"),
];
const EXPORT_SPECIAL: Words = &[
    ("keep", "write and count them"),
    ("deny", "fail the export"),
];
const LIST: Words = &[
    ("targets", "targets and groups"),
    ("variables", "variables"),
    ("type=targets,format=json", "targets and groups as JSON"),
    ("type=variables,format=json", "variables as JSON"),
];
const CALL: Words = &[
    ("build", "build, even if the targets set another method"),
    ("check", "check the Dockerfile"),
    ("check,format=json", "check the Dockerfile, print JSON"),
    ("outline", "arguments and secrets of the target"),
    ("outline,format=json", "the outline as JSON"),
    ("targets", "stages of the Dockerfile"),
    ("targets,format=json", "the stages as JSON"),
];
pub(super) const ALLOW: Words = &[
    ("network.host", "the host's network in steps"),
    ("security.insecure", "privileged steps"),
    ("ssh", "the SSH agent"),
    ("device", "all devices"),
    ("device=", "one device"),
    (
        "buildx.local.delete",
        "deleting files in output directories",
    ),
    ("fs=", "reading and writing a path"),
    ("fs.read=", "reading a path"),
    ("fs.write=", "writing a path"),
    ("gate.run", "the command of a gate in `rbake.toml`"),
];
const PROVENANCE: Words = &[
    ("true", "attach provenance"),
    ("false", "attach no provenance"),
    ("mode=min", "attach minimal provenance"),
    ("mode=max", "attach full provenance"),
];
const SBOM: Words = &[
    ("true", "attach a bill of materials"),
    ("false", "attach no bill of materials"),
    ("generator=", "generate it with this image"),
];
const POLICY: Words = &[
    ("disabled=true", "no policies"),
    ("strict=true", "every policy must allow"),
    ("log-level=", "log level of the policies"),
];
const BOOL: Words = &[("true", ""), ("false", "")];

/// Names to which the command line may refer. The definition is read only if it is needed.
pub(super) struct KnownNames<'e> {
    environment: &'e Environment,
    tried: bool,
    loaded: Option<LoadedDefinition>,
}

impl<'e> KnownNames<'e> {
    pub(super) fn new(environment: &'e Environment) -> Self {
        Self {
            environment,
            tried: false,
            loaded: None,
        }
    }

    /// Returns the definition that `line` names, and reads it at the first call. `None` if it cannot be read.
    pub(super) fn read(&mut self, line: &Line<'_, '_>) -> Option<&LoadedDefinition> {
        if !self.tried {
            self.tried = true;
            self.loaded = load(line, self.environment);
        }
        self.loaded.as_ref()
    }

    /// Whether the definition has a target or group of this name. `false` if it was not read yet.
    pub(super) fn has(&self, name: &str) -> bool {
        self.loaded.iter().any(|loaded| loaded.has(name))
    }

    /// Targets and groups that are not on the line yet. Private ones (with `_` at the beginning) only if the word
    /// begins with `_`.
    pub(super) fn targets(&mut self, line: &Line<'_, '_>) -> Vec<Candidate> {
        let private = line.current.starts_with('_');
        let mut list = self.names(line);
        list.retain(|candidate| {
            (private || !candidate.value.starts_with('_'))
                && !line.words.contains(&candidate.value.as_str())
        });
        list
    }

    fn names(&mut self, line: &Line<'_, '_>) -> Vec<Candidate> {
        let Some(loaded) = self.read(line) else {
            return Vec::new();
        };
        let targets = loaded.definition.targets.iter().map(|(name, target)| {
            let about = target.description.as_ref();
            Candidate::new(name.as_str(), about.map_or("target", |text| &**text))
        });
        let groups = loaded.definition.groups.iter().map(|(name, group)| {
            let members: Vec<&str> = group.members.iter().map(|member| &*member.value).collect();
            let about = group.description.as_ref().filter(|text| !text.is_empty());
            let about = about.map_or_else(
                || format!("group: {}", members.join(", ")),
                |text| text.value.to_string(),
            );
            Candidate::new(name.as_str(), about)
        });
        targets.chain(groups).collect()
    }

    /// The possible values of the flag `arg`.
    pub(super) fn value(&mut self, arg: &Arg, line: &Line<'_, '_>) -> Candidates {
        match arg.get_id().as_str() {
            "allow" => self.allow(line.current),
            "builder" | "builder_name" => Candidates::of(self.builders()),
            "call" => words(CALL),
            "export_special" => words(EXPORT_SPECIAL),
            "files" | "gate_save_to" | "log_file" | "metadata_file" => Candidates::files(),
            "gate_images" | "gates" => Candidates::of(self.targets(line)),
            "list" => words(LIST),
            "on_failure" => words(ON_FAILURE),
            "policy" => words(POLICY),
            "progress" => words(PROGRESS),
            "provenance" => words(PROVENANCE),
            "publish" => words(PUBLISH),
            "sbom" => words(SBOM),
            "set" => {
                let names = self.names(line);
                let environment = self.environment;
                let loaded = self.read(line).map(|loaded| &loaded.definition);
                set::candidates(line.current, names, loaded, environment)
            }
            "var" => Candidates::of(self.variables(line)),
            _ if arg
                .get_num_args()
                .is_some_and(|values| values.min_values() == 0) =>
            {
                words(BOOL)
            }
            _ => Candidates::default(),
        }
    }

    fn allow(&self, current: &str) -> Candidates {
        match current.split_once('=') {
            Some((key @ ("fs" | "fs.read" | "fs.write"), path)) => {
                Candidates::of(paths(&format!("{key}="), path, self.environment))
            }
            _ => words(ALLOW),
        }
    }

    fn builders(&self) -> Vec<Candidate> {
        let store = Store::of(self.environment);
        let instances = store.map(|store| store.names()).unwrap_or_default();
        let contexts = DockerContexts::new(self.environment).names();
        let contexts = contexts
            .into_iter()
            .filter(|name| !instances.contains(name));
        let mut list: Vec<Candidate> = contexts
            .map(|name| Candidate::new(name, "Docker context"))
            .collect();
        list.extend(
            instances
                .iter()
                .map(|name| Candidate::new(name, "buildx builder")),
        );
        list.push(Candidate::new(EMBEDDED, "rbake's own builder"));
        list
    }

    fn variables(&mut self, line: &Line<'_, '_>) -> Vec<Candidate> {
        let variables = self
            .read(line)
            .map(|loaded| loaded.definition.variables.iter());
        let variables = variables.into_iter().flatten();
        variables
            .map(|variable| Candidate::new(format!("{}=", variable.name), &*variable.description))
            .collect()
    }
}

/// Completions from a fixed list.
pub(super) fn words(words: Words) -> Candidates {
    let list = words.iter();
    Candidates::of(
        list.map(|(value, about)| Candidate::new(*value, *about))
            .collect(),
    )
}

/// Files whose paths begin with `path`. Each completion is `prefix` followed by the path.
pub(super) fn paths(prefix: &str, path: &str, environment: &Environment) -> Vec<Candidate> {
    // More than anybody reads. A directory may have millions of entries.
    const MOST: usize = 1000;
    let (folder, start) = match path.rfind('/') {
        Some(slash) => path.split_at(slash + 1),
        None => ("", path),
    };
    let dir = environment.current_dir().join(Path::new(folder));
    let entries = std::fs::read_dir(dir).into_iter().flatten().take(MOST);
    let mut list: Vec<Candidate> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let hidden = name.starts_with('.') && !start.starts_with('.');
            let fits = name.starts_with(start) && !hidden;
            let slash = if entry.path().is_dir() { "/" } else { "" };
            fits.then(|| Candidate::new(format!("{prefix}{folder}{name}{slash}"), ""))
        })
        .collect();
    list.sort_by(|a, b| a.value.cmp(&b.value));
    list
}

fn load(line: &Line<'_, '_>, environment: &Environment) -> Option<LoadedDefinition> {
    let mut args = BakeArgs::try_parse_from(["rbake"]).ok()?;
    args.files = line.values("files").map(str::to_owned).collect();
    args.var = line
        .values("var")
        .filter(|value| value.contains('='))
        .map(str::to_owned)
        .collect();
    // Standard input is the terminal, and at a prompt nobody wants to wait for the network.
    let mut addresses = args
        .files
        .iter()
        .map(String::as_str)
        .chain(line.words.first().copied());
    if addresses.any(is_remote) || !is_repeatable(&args.files, environment) {
        return None;
    }
    definition::load(&args, environment).ok()
}
