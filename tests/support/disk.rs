//! Builds of directories on disk, and the content of their results.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rbake::engine::session::export::{ExportSink, WriterSink};
use rbake::engine::session::filesync::{FileSync, ServedDirectory as Served};
use rbake::engine::session::{Attachable, Exports};
use rbake::engine::spec::{Dockerfile, LocalName, MainContext, SolveSpec};
use rbake::engine::{Engine, SessionBuilder, SessionId, Sessions};
use rbake::event::EventSink;
use sha2::{Digest as _, Sha256};

use super::builds::directories;

/// The input of a build of a directory, and its open sessions.
pub(crate) struct DiskBuild {
    pub spec: SolveSpec,
    pub sessions: Sessions,
    pub files: FileSync,
}

/// A solve of the Dockerfile in `dir`. Builds with the same `key` use each other's transfers. `attachables` are
/// additional services of the target's session.
pub(crate) async fn build(
    engine: &Engine,
    dir: &Path,
    key: &str,
    attachables: Vec<Arc<dyn Attachable>>,
) -> DiskBuild {
    let target = attachables.into_iter().fold(
        SessionBuilder::new(SessionId::new()),
        SessionBuilder::attach,
    );
    let locals = [LocalName::CONTEXT, LocalName::DOCKERFILE];
    let locals = locals.map(|local| Served::directory(local.as_str(), dir));
    let files = FileSync::new(locals.into(), EventSink::none());
    let directory = SessionBuilder::new(SessionId::new())
        .shared_key(key)
        .attach(Arc::new(files.clone()));
    let target = target.open(engine.connection()).await.unwrap();
    let directory = directory.open(engine.connection()).await.unwrap();
    let dockerfile = Dockerfile::Local {
        filename: "Dockerfile".to_owned(),
    };
    DiskBuild {
        spec: SolveSpec::new("t".parse().unwrap(), dockerfile, MainContext::Local),
        sessions: Sessions {
            target: Arc::new(target),
            directories: directories(directory),
        },
        files,
    }
}

/// One entry of a file tree in an archive. It has a hash instead of the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TarEntry {
    pub kind: tar::EntryType,
    pub mode: u32,
    pub owner: (u64, u64),
    pub mtime: String,
    pub size: u64,
    pub link: Vec<u8>,
    pub xattrs: BTreeMap<String, Vec<u8>>,
    pub content: String,
}

/// Reads a tar archive, and returns its entries by path.
pub(crate) fn entries(reader: impl Read) -> BTreeMap<String, TarEntry> {
    let mut archive = tar::Archive::new(reader);
    let mut all = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut xattrs = BTreeMap::new();
        let mut mtime = entry.header().mtime().unwrap().to_string();
        for extension in entry.pax_extensions().unwrap().into_iter().flatten() {
            let extension = extension.unwrap();
            let key = extension.key().unwrap();
            if key == "mtime" {
                extension.value().unwrap().clone_into(&mut mtime);
            } else if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                xattrs.insert(name.to_owned(), extension.value_bytes().to_vec());
            }
        }
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let link = entry.link_name_bytes().unwrap_or_default().into_owned();
        let header = entry.header();
        let mut told = TarEntry {
            kind: header.entry_type(),
            mode: header.mode().unwrap(),
            owner: (header.uid().unwrap(), header.gid().unwrap()),
            mtime,
            size: entry.size(),
            link,
            xattrs,
            content: String::new(),
        };
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            let len = entry.read(&mut buffer).unwrap();
            if len == 0 {
                break;
            }
            hash.update(&buffer[..len]);
        }
        told.content = hex::encode(hash.finalize());
        all.insert(path, told);
    }
    all
}

/// A destination for an archive, and a task that reads the archive as it arrives and returns its entries.
pub(crate) fn archive() -> (
    Arc<Exports>,
    tokio::task::JoinHandle<BTreeMap<String, TarEntry>>,
) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let sink = ExportSink::Stream(Arc::new(WriterSink::new("the test", near)));
    let reader = tokio_util::io::SyncIoBridge::new(far);
    let found = tokio::task::spawn_blocking(move || entries(reader));
    (Arc::new(Exports::new([(0, sink)])), found)
}

// Returns a function that makes buildx commands. They run in `home`, where the builder `test` is the daemon at
// `address`.
fn buildx_on(buildx: &Path, address: &str, home: &Path) -> impl Fn(&[&str]) -> Command {
    let run = {
        let (buildx, home) = (buildx.to_owned(), home.to_owned());
        move |arguments: &[&str]| {
            let mut command = Command::new(&buildx);
            command
                .args(arguments)
                .env("HOME", &home)
                .env("DOCKER_CONFIG", &home)
                .env("BUILDX_CONFIG", home.join("buildx"))
                .env_remove("BUILDX_BUILDER")
                .env_remove("BUILDKIT_HOST");
            command
        }
    };
    let created = run(&["create", "--driver", "remote", "--name", "test", address]).output();
    succeeded(&created.unwrap());
    run
}

fn succeeded(output: &std::process::Output) {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

const BUILDX_BUILD: [&str; 6] = [
    "build",
    "--builder",
    "test",
    "--no-cache",
    "--progress=quiet",
    "--provenance=false",
];

/// Builds `dir` with buildx on the daemon at `address`, without any cache, and writes the result to the directory
/// `to`.
pub(crate) fn buildx_directory(buildx: &Path, address: &str, dir: &Path, to: &Path) {
    let home = tempfile::tempdir().unwrap();
    let run = buildx_on(buildx, address, home.path());
    let output = format!("type=local,dest={}", to.display());
    let mut build = run(&BUILDX_BUILD);
    succeeded(&build.args(["--output", &output]).arg(dir).output().unwrap());
}

/// The same, but returns the entries of the result.
pub(crate) fn buildx_archive(
    buildx: &Path,
    address: &str,
    dir: &Path,
) -> BTreeMap<String, TarEntry> {
    let home = tempfile::tempdir().unwrap();
    let run = buildx_on(buildx, address, home.path());
    let mut child = run(&BUILDX_BUILD)
        .args(["--output", "type=tar,dest=-"])
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let found = entries(child.stdout.take().unwrap());
    assert!(child.wait().unwrap().success());
    found
}
