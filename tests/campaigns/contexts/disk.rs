//! Writes cases to disk.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::Path;

use super::case::{Case, Ignore, Kind};

/// The ordinary user who runs the build.
pub(super) const USER: u32 = 65534;

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Writes the project of `case` to `root`: a bake file, a Dockerfile, and the context `ctx`, which belongs to the user.
pub(super) fn write(case: &Case, root: &Path) {
    std::fs::create_dir(root).unwrap();
    let context = root.join("ctx");
    std::fs::create_dir(&context).unwrap();
    std::fs::create_dir(root.join("empty")).unwrap();
    std::fs::write(root.join("docker-bake.hcl"), case.definition()).unwrap();
    std::fs::write(root.join("Dockerfile"), case.dockerfile()).unwrap();
    std::fs::write(root.join("outside"), "outside").unwrap();
    std::fs::write(root.join("shared-ignore"), case.text()).unwrap();
    if case.ignore == Ignore::Own {
        std::fs::write(root.join("Dockerfile.dockerignore"), case.text()).unwrap();
    }
    let at = |path: &[u8]| context.join(OsStr::from_bytes(path));
    for (path, node) in &case.tree {
        let path = at(path);
        match &node.kind {
            Kind::Dir => std::fs::create_dir(&path).unwrap(),
            Kind::File(content) => std::fs::write(&path, content).unwrap(),
            Kind::Link(target) => symlink(OsStr::from_bytes(target), &path).unwrap(),
            Kind::Pipe => {
                rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
            }
            Kind::Socket => socket(&path),
            Kind::Device => device(&path),
            Kind::Hard(_) => {}
        }
    }
    for (path, node) in &case.tree {
        if let Kind::Hard(first) = &node.kind {
            std::fs::hard_link(at(first), at(path)).unwrap();
        }
    }
    // The deepest entries come first, because the new mode may make a directory inaccessible.
    for (path, node) in case.tree.iter().rev() {
        let owner = Some(if node.of_root { 0 } else { USER });
        match node.kind {
            Kind::Hard(_) => {}
            Kind::Link(_) => lchown(at(path), owner, owner).unwrap(),
            _ => {
                chown(at(path), owner, owner).unwrap();
                set_mode(&at(path), node.mode);
            }
        }
        // Set attributes last, because a change of the owner drops capabilities.
        for (name, value) in &node.attributes {
            let (flags, path) = (rustix::fs::XattrFlags::empty(), at(path));
            rustix::fs::lsetxattr(path, name.as_str(), value, flags).unwrap();
        }
    }
    for dir in [&context, root] {
        chown(dir, Some(USER), Some(USER)).unwrap();
        set_mode(dir, 0o755);
    }
}

// Creates a null device, or a pipe where devices are not permitted.
fn device(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, makedev, mkfifoat, mknodat};
    let made = mknodat(
        CWD,
        path,
        FileType::CharacterDevice,
        Mode::RUSR,
        makedev(1, 3),
    );
    made.or_else(|_| mkfifoat(CWD, path, Mode::RUSR)).unwrap();
}

// A path for `bind` must be short, so the socket is created elsewhere and moved.
fn socket(path: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let short = dir.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&short).unwrap());
    std::fs::rename(&short, path).unwrap();
}
