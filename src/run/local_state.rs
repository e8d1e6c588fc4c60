//! Notes each build in buildx's folder (`refs/`), so that `docker buildx history` and Docker Desktop find the context and the
//! Dockerfile of builds that rbake has made.
//!
//! The layout is that of buildx v0.36.1 (`localstate/localstate.go`). A folder that cannot be written is never an error of a
//! run.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Ready;
use crate::engine::BuildRef;
use crate::files::Resolver;
use crate::golang::filepath;
use crate::plan::{ContextSource, DockerfileSource};
use crate::types::secret::redact_url;
use crate::types::temporary::{Temporary, sweep_at};
use crate::types::{Environment, TargetName};

/// The version of the layout.
const VERSION: &str = "2";
const REFS: &str = "refs";
const GROUPS: &str = "__group__";

/// A node of a builder that buildx knows, too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KnownNode {
    pub(super) builder: String,
    pub(super) node: String,
}

/// What is noted of one build.
#[derive(Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
struct BuildNote {
    target: String,
    local_path: String,
    dockerfile_path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    group_ref: String,
}

/// What is noted of the builds of one run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct GroupNote {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    targets: Vec<String>,
    refs: Vec<String>,
}

/// The builds of a run, to be noted.
#[derive(Debug)]
pub(super) struct RunNotes {
    builds: Vec<(KnownNode, BuildRef, BuildNote)>,
    group: (BuildRef, GroupNote),
}

impl RunNotes {
    /// The notes of a run in which the user asked for `requested`, without builds.
    pub(super) fn new(requested: &[String]) -> Self {
        let mut targets = requested.to_vec();
        if targets.is_empty() {
            targets.push("default".to_owned());
        }
        let refs = Vec::new();
        Self {
            builds: Vec::new(),
            group: (BuildRef::new(), GroupNote { targets, refs }),
        }
    }

    /// Adds `builds` on `node`. The parts of a target that several nodes build have one ref.
    pub(super) fn add<'a>(
        &mut self,
        node: &KnownNode,
        builds: impl IntoIterator<Item = (&'a Ready, &'a BuildRef)>,
        paths: &Resolver,
    ) {
        let (group, GroupNote { refs, .. }) = &mut self.group;
        for (ready, build_ref) in builds {
            let note = note(ready, group, paths.base());
            self.builds.push((node.clone(), build_ref.clone(), note));
            let text = build_ref.to_string();
            if !refs.contains(&text) {
                refs.push(text);
            }
        }
    }

    /// Whether nothing is built.
    pub(super) const fn is_empty(&self) -> bool {
        self.builds.is_empty()
    }

    /// Writes the notes into the folder that the environment names. Blocking.
    pub(super) fn write(&self, environment: &Environment) {
        let Some(dir) = environment.buildx_config_dir() else {
            return;
        };
        if let Err(error) = self.write_into(&dir.join(REFS)) {
            tracing::debug!(cause = %error, "builds not noted for buildx");
        }
    }

    fn write_into(&self, refs: &Path) -> io::Result<()> {
        let nodes: BTreeSet<&KnownNode> = self.builds.iter().map(|(node, ..)| node).collect();
        let mut names = nodes
            .iter()
            .flat_map(|node| [node.builder.as_str(), node.node.as_str()]);
        if !names.all(is_file_name) {
            return Err(io::Error::other(
                "the name of the builder is not a file name",
            ));
        }
        // Groups of an older layout are left to buildx, which converts them.
        let is_new = !refs.exists();
        let groups = folder(refs.join(GROUPS))?;
        let of_node = |node: &KnownNode| refs.join(&node.builder).join(&node.node);
        for node in nodes {
            sweep_at(&folder(of_node(node))?);
        }
        if is_new {
            write(&refs.join("version"), 0o600, VERSION)?;
        }
        let (id, group) = &self.group;
        write(&groups.join(id.as_str()), 0o600, &json(group)?)?;
        for (node, build_ref, note) in &self.builds {
            let place = of_node(node).join(build_ref.as_str());
            write(&place, 0o644, &json(note)?)?;
        }
        Ok(())
    }
}

fn json(note: &impl Serialize) -> io::Result<String> {
    serde_json::to_string(note).map_err(io::Error::other)
}

/// What is noted of `ready`. Relative paths start at `base`.
fn note(ready: &Ready, group: &BuildRef, base: &Path) -> BuildNote {
    let inputs = &ready.planned.inputs;
    let target: &TargetName = &ready.planned.name;
    let local_path = match &inputs.context {
        ContextSource::Local(path) => absolute(base, Path::new(&**path)).display().to_string(),
        ContextSource::Remote(address) => redact_url(address.as_str()),
        ContextSource::InTree(directory) => redact_url(&directory.address()),
    };
    BuildNote {
        target: target.to_string(),
        local_path,
        dockerfile_path: dockerfile_path(ready, base),
        group_ref: group.to_string(),
    }
}

/// The path of the Dockerfile as buildx sees it: absolute, or as it is written if the context is remote. An inline one has
/// the path that it would have as a file. Relative paths start at `base`.
pub(super) fn dockerfile_path(ready: &Ready, base: &Path) -> String {
    let inputs = &ready.planned.inputs;
    let named = ready.planned.attributes.dockerfile.as_ref();
    let named = named.map_or("Dockerfile", |text| &**text);
    let path = match (&inputs.dockerfile, &inputs.context) {
        (DockerfileSource::Local(path), _) => absolute(base, Path::new(&**path)),
        (DockerfileSource::Inline(_), ContextSource::Local(context)) => {
            let context = absolute(base, Path::new(&**context));
            absolute(&context, Path::new(named))
        }
        (DockerfileSource::Url(url), _) => return redact_url(url),
        (DockerfileSource::InContext(path), _) => return path.to_string(),
        (DockerfileSource::Inline(_), ContextSource::Remote(_) | ContextSource::InTree(_)) => {
            return named.to_owned();
        }
    };
    path.display().to_string()
}

/// `path`, which starts at `base` if it is relative, without `.` and `..`.
fn absolute(base: &Path, path: &Path) -> PathBuf {
    let joined = base.join(path);
    let clean = filepath::clean(joined.as_os_str().as_bytes());
    PathBuf::from(OsString::from_vec(clean))
}

/// Whether `name` can be the name of a folder that is below the one it is looked up in.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']) && name.len() < 255
}

/// Creates a folder for the user alone, with those above it.
fn folder(path: PathBuf) -> io::Result<PathBuf> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&path)?;
    Ok(path)
}

/// Writes a file that appears with its whole content.
fn write(path: &Path, mode: rustix::fs::RawMode, text: &str) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let temporary = Temporary::make_in(dir, mode)?;
    temporary.file().write_all(text.as_bytes())?;
    temporary.persist_at(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::locate::{DockerfilePlace, SourceTree, TargetPlaces};
    use crate::run::testing::planned;
    use std::collections::BTreeMap;
    use test_case::test_case;

    fn ready(attributes: &str) -> Ready {
        let places = TargetPlaces {
            context: SourceTree::Dir("/".into()),
            dockerfile: DockerfilePlace::InContext("Dockerfile".into()),
            images: Vec::new(),
            named: BTreeMap::new(),
        };
        Ready {
            planned: planned(attributes),
            places,
            secrets: BTreeMap::new(),
            ssh: crate::engine::session::ssh::SshAgents::default(),
            policies: crate::run::TargetPolicies::default(),
            part: None,
        }
    }

    fn notes(builder: &str, node: &str) -> RunNotes {
        let node = KnownNode {
            builder: builder.to_owned(),
            node: node.to_owned(),
        };
        let (ready, id) = (ready("context = \"app\""), BuildRef::from_text("the-ref"));
        let paths = Resolver::new(Path::new("/project"));
        let mut notes = RunNotes::new(&[]);
        notes.add(&node, [(&ready, &id)], &paths);
        notes
    }

    #[test]
    fn builds_are_noted_in_the_layout_of_buildx() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let refs = dir.path().join("refs");
        let notes = notes("ci", "ci0");
        notes.write_into(&refs).unwrap();
        let read = |path: &str| std::fs::read_to_string(refs.join(path)).unwrap();
        let group = notes.group.0.as_str();
        let name = notes.builds[0].2.target.clone();
        assert_eq!(
            read("ci/ci0/the-ref"),
            format!(
                r#"{{"Target":"{name}","LocalPath":"/project/app","DockerfilePath":"/project/app/Dockerfile","GroupRef":"{group}"}}"#
            )
        );
        assert_eq!(
            read(&format!("__group__/{group}")),
            r#"{"Targets":["default"],"Refs":["the-ref"]}"#
        );
        assert_eq!(read("version"), "2");
        let mode = |path: &str| refs.join(path).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("ci"), mode("ci/ci0/the-ref")), (0o700, 0o644));
        // A folder of an older layout is not declared to be a new one.
        std::fs::remove_file(refs.join("version")).unwrap();
        notes.write_into(&refs).unwrap();
        assert!(!refs.join("version").exists());
    }

    #[test]
    fn the_parts_of_a_target_are_one_build_of_one_run() {
        let dir = tempfile::tempdir().unwrap();
        let refs = dir.path().join("refs");
        let mut notes = notes("ci", "ci0");
        let (ready, id) = (ready("context = \"app\""), BuildRef::from_text("the-ref"));
        let second = KnownNode {
            builder: "ci".to_owned(),
            node: "ci1".to_owned(),
        };
        notes.add(
            &second,
            [(&ready, &id)],
            &Resolver::new(Path::new("/project")),
        );
        notes.write_into(&refs).unwrap();
        let groups: Vec<_> = std::fs::read_dir(refs.join(GROUPS)).unwrap().collect();
        assert_eq!(groups.len(), 1);
        let group = groups[0].as_ref().unwrap().path();
        let group = std::fs::read_to_string(group).unwrap();
        assert_eq!(group, r#"{"Targets":["default"],"Refs":["the-ref"]}"#);
        for node in ["ci0", "ci1"] {
            assert!(refs.join("ci").join(node).join("the-ref").exists());
        }
    }

    #[test_case("../x", "n"; "a folder above")]
    #[test_case("x", "a/b"; "two folders")]
    #[test_case("", "n"; "nothing")]
    #[test_case("x", ".."; "dots")]
    fn names_that_leave_the_folder_are_not_written(builder: &str, node: &str) {
        let dir = tempfile::tempdir().unwrap();
        let refs = dir.path().join("refs");
        assert!(notes(builder, node).write_into(&refs).is_err());
        assert!(!refs.exists());
    }

    #[test_case("", "/project/Dockerfile"; "by default")]
    #[test_case("dockerfile = \"../d\"", "/d"; "above the context")]
    #[test_case("context = \"a\"\ndockerfile-inline = \"x\"", "/project/a/Dockerfile"; "inline")]
    #[test_case("context = \"https://u:p@example.com/a.git\"\ndockerfile = \"b/d\"", "b/d"; "in a remote context")]
    fn the_dockerfile_has_the_path_that_buildx_sees(attributes: &str, expected: &str) {
        let ready = ready(attributes);
        assert_eq!(dockerfile_path(&ready, Path::new("/project")), expected);
        let note = note(&ready, &BuildRef::from_text("g"), Path::new("/project"));
        assert!(!note.local_path.contains("u:p"), "{note:?}");
    }
}
