//! Runs both programs on a case, and reads their results.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::case::{Attributes, Output};
use super::disk::USER;
use super::local;

/// The most seconds that one build may take.
const LIMIT: &str = "90";

/// An entry of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImageEntry {
    pub(super) kind: tar::EntryType,
    pub(super) mode: u32,
    pub(super) owner: (u64, u64),
    pub(super) link: Vec<u8>,
    pub(super) content: Vec<u8>,
    pub(super) attributes: Attributes,
}

/// Entries by path.
pub(super) type Image = BTreeMap<Vec<u8>, ImageEntry>;

/// How a program ended.
#[derive(Debug)]
pub(super) struct Answer {
    /// The image, if the build succeeded.
    pub(super) image: Option<Image>,
    pub(super) code: Option<i32>,
    pub(super) messages: String,
}

/// Copies of both programs, in a directory where an ordinary user can run them.
pub(super) struct Programs {
    dir: tempfile::TempDir,
    address: String,
}

impl Programs {
    pub(super) fn new(buildx: &Path, address: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("rbake-contexts-")
            .tempdir()
            .unwrap();
        open(dir.path(), 0o755);
        for (from, name) in [
            (Path::new(env!("CARGO_BIN_EXE_rbake")), "rbake"),
            (buildx, "buildx"),
        ] {
            std::fs::copy(from, dir.path().join(name)).unwrap();
            open(&dir.path().join(name), 0o755);
        }
        let programs = Self {
            dir,
            address: address.to_owned(),
        };
        for (home, user) in [("user", USER), ("root", 0)] {
            let path = programs.dir.path().join(home);
            std::fs::create_dir(&path).unwrap();
            chown(&path, Some(user), Some(user)).unwrap();
            let created = programs
                .command("buildx", user == 0)
                .args(["create", "--driver", "remote", "--name", "test", address])
                .output()
                .unwrap();
            assert!(
                created.status.success(),
                "{}",
                String::from_utf8_lossy(&created.stderr)
            );
        }
        programs
    }

    /// The directory for the case `name`.
    pub(super) fn place(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, program: &str, as_root: bool) -> Command {
        let home = self.dir.path().join(if as_root { "root" } else { "user" });
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", LIMIT])
            .arg(self.dir.path().join(program))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &home)
            .env("DOCKER_CONFIG", &home)
            .env("BUILDX_CONFIG", home.join("buildx"))
            .current_dir("/")
            .stdin(Stdio::null());
        if !as_root {
            command.uid(USER).gid(USER);
        }
        command
    }

    pub(super) fn rbake(&self, project: &Path, output: Output, as_root: bool) -> Answer {
        let mut command = self.command("rbake", as_root);
        command.env("BUILDKIT_HOST", &self.address);
        command.args(["--progress=plain", "--no-cache"]);
        answer(&mut command, project, output)
    }

    pub(super) fn buildx(&self, project: &Path, output: Output, as_root: bool) -> Answer {
        let mut command = self.command("buildx", as_root);
        command.args([
            "--builder",
            "test",
            "bake",
            "--progress=plain",
            "--no-cache",
        ]);
        // Otherwise the result would have files with attestations.
        command.arg("--provenance=false");
        answer(&mut command, project, output)
    }
}

fn open(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn answer(command: &mut Command, project: &Path, output: Output) -> Answer {
    let ended = command.current_dir(project).output().unwrap();
    let image = ended.status.success().then(|| match output {
        Output::Tar => entries(&ended.stdout),
        Output::Local => local::entries(&project.join("out")),
    });
    // The other program writes to the same directory.
    let removed = std::fs::remove_dir_all(project.join("out"));
    assert!(removed.is_ok() || !project.join("out").exists());
    Answer {
        image,
        code: ended.status.code(),
        messages: String::from_utf8_lossy(&ended.stderr).into_owned(),
    }
}

// Parses an extended header. The `tar` crate splits it at line breaks, which names may contain.
fn extended(mut data: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut records = BTreeMap::new();
    while let Some(space) = data.iter().position(|b| *b == b' ') {
        let len: usize = std::str::from_utf8(&data[..space])
            .unwrap()
            .parse()
            .unwrap();
        let record = &data[space + 1..len - 1];
        let equals = record.iter().position(|b| *b == b'=').unwrap();
        records.insert(record[..equals].to_vec(), record[equals + 1..].to_vec());
        data = &data[len..];
    }
    records
}

fn entries(archive: &[u8]) -> Image {
    let mut archive = tar::Archive::new(archive);
    let mut all = BTreeMap::new();
    let mut more = BTreeMap::new();
    for entry in archive.entries().unwrap().raw(true) {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let header = entry.header();
        if header.entry_type() == tar::EntryType::XHeader {
            more = extended(&content);
            continue;
        }
        let mut told = std::mem::take(&mut more);
        let path = told.remove(&b"path"[..]);
        let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
        let path = path.strip_suffix(b"/").unwrap_or(&path).to_vec();
        let link = told.remove(&b"linkpath"[..]);
        let link = link.or_else(|| Some(header.link_name_bytes()?.into_owned()));
        let entry = ImageEntry {
            kind: header.entry_type(),
            mode: header.mode().unwrap(),
            owner: (header.uid().unwrap(), header.gid().unwrap()),
            link: link.unwrap_or_default(),
            content,
            attributes: told
                .into_iter()
                .filter_map(|(name, value)| {
                    let name = String::from_utf8(name).unwrap();
                    Some((name.strip_prefix("SCHILY.xattr.")?.to_owned(), value))
                })
                .collect(),
        };
        all.insert(path, entry);
    }
    all
}
