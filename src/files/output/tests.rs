use super::*;
use crate::files::resolve;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

struct Folder {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn folder() -> Folder {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    Folder { _dir: dir, path }
}

impl Folder {
    fn at(&self, name: &str) -> Resolved {
        resolve(&self.path, Path::new(name)).unwrap()
    }

    fn write(&self, name: &str, access: FileAccess) -> io::Result<()> {
        write_file(&self.at(name), access, b"new")
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path.join(name)).unwrap()
    }

    fn inode(&self, name: &str) -> u64 {
        std::fs::symlink_metadata(self.path.join(name))
            .unwrap()
            .ino()
    }

    fn mode(&self, name: &str) -> u32 {
        std::fs::metadata(self.path.join(name)).unwrap().mode() & 0o7777
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.path).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

const ALL: [FileAccess; 2] = [FileAccess::Kept, FileAccess::Fresh(0o644)];

#[test]
fn a_file_appears_only_when_it_is_complete() {
    for access in ALL {
        let folder = folder();
        std::fs::write(folder.path.join("out"), "old").unwrap();
        let mut file = OutputFile::create(&folder.at("out"), access).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(folder.text("out"), "old");
        let beside = folder.names();
        assert!(
            beside.iter().any(|name| name.starts_with(".rbake-")),
            "{beside:?}"
        );
        file.finish().unwrap();
        assert_eq!(folder.text("out"), "new");
        assert_eq!(folder.names(), ["out"]);
    }
}

#[test]
fn an_abandoned_file_leaves_the_old_one() {
    let folder = folder();
    std::fs::write(folder.path.join("out"), "old").unwrap();
    for name in ["out", "other"] {
        let mut file = OutputFile::create(&folder.at(name), FileAccess::Kept).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
    }
    assert_eq!(
        (folder.text("out"), folder.names()),
        ("old".into(), vec!["out".into()])
    );
}

#[test]
fn modes_are_kept_or_set_anew() {
    let folder = folder();
    for (name, access, mode) in [("a", ALL[0], 0o600), ("b", ALL[1], 0o644)] {
        std::fs::write(folder.path.join(name), "old").unwrap();
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(folder.path.join(name), private).unwrap();
        folder.write(name, access).unwrap();
        assert_eq!(
            (folder.mode(name), folder.text(name)),
            (mode, "new".into()),
            "{name}"
        );
    }
    folder.write("c", FileAccess::Fresh(0o644)).unwrap();
    assert_eq!(folder.mode("c"), 0o644);
}

#[test]
fn the_file_behind_a_link_is_written_and_the_link_stays() {
    for access in ALL {
        let folder = folder();
        std::fs::write(folder.path.join("real"), "old").unwrap();
        symlink("real", folder.path.join("link")).unwrap();
        symlink("link", folder.path.join("twice")).unwrap();
        symlink("missing", folder.path.join("dangling")).unwrap();
        folder.write("twice", access).unwrap();
        folder.write("dangling", access).unwrap();
        assert!(folder.path.join("link").is_symlink() && folder.path.join("twice").is_symlink());
        assert!(folder.path.join("dangling").is_symlink());
        assert_eq!(
            (folder.text("real"), folder.text("missing")),
            ("new".into(), "new".into())
        );
    }
}

#[test]
fn a_link_made_after_the_check_is_not_followed() {
    for access in ALL {
        let folder = folder();
        std::fs::create_dir(folder.path.join("dir")).unwrap();
        std::fs::write(folder.path.join("victim"), "old").unwrap();
        let (file, below) = (folder.at("out"), folder.at("dir/victim"));
        symlink("victim", folder.path.join("out")).unwrap();
        std::fs::remove_dir(folder.path.join("dir")).unwrap();
        symlink(".", folder.path.join("dir")).unwrap();
        for place in [file, below] {
            let error = write_file(&place, access, b"new").unwrap_err();
            assert!(error.to_string().contains("symbolic link"), "{error}");
        }
        assert_eq!(folder.text("victim"), "old");
        // A link that is made while the file is being written is not followed, either.
        let mut late = OutputFile::create(&folder.at("late"), access).unwrap();
        late.write_all(b"new").unwrap();
        symlink("victim", folder.path.join("late")).unwrap();
        assert!(late.finish().is_err());
        assert_eq!(folder.text("victim"), "old");
        assert_eq!(folder.names(), ["dir", "late", "out", "victim"]);
    }
}

// The test makes its own device nodes, so that a bug cannot damage the machine's `/dev`.
#[cfg(target_os = "linux")]
#[test]
fn devices_are_not_replaced() {
    for access in ALL {
        let folder = folder();
        for (name, minor) in [("null", 3), ("full", 7)] {
            let made = rustix::fs::mknodat(
                rustix::fs::CWD,
                folder.path.join(name),
                FileType::CharacterDevice,
                Mode::RUSR | Mode::WUSR,
                rustix::fs::makedev(1, minor),
            );
            // Only root can make devices, and not every file system permits opening them.
            if made.is_err() || File::open(folder.path.join(name)).is_err() {
                return;
            }
        }
        symlink("null", folder.path.join("link")).unwrap();
        for name in ["null", "link"] {
            folder.write(name, access).unwrap();
        }
        let full = folder.write("full", access).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        for name in ["null", "full"] {
            let metadata = std::fs::symlink_metadata(folder.path.join(name)).unwrap();
            assert!(metadata.file_type().is_char_device(), "{name}");
        }
        assert_eq!(folder.names(), ["full", "link", "null"]);
    }
}

#[test]
fn pipes_are_written_to() {
    for access in ALL {
        let folder = folder();
        let path = folder.path.join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        let reader = std::thread::spawn(move || std::fs::read_to_string(path).unwrap());
        folder.write("pipe", access).unwrap();
        assert_eq!(reader.join().unwrap(), "new");
        assert_eq!(folder.names(), ["pipe"]);
    }
}

#[test]
fn sockets_and_directories_are_refused() {
    let folder = folder();
    std::fs::create_dir(folder.path.join("dir")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.path.join("socket")).unwrap();
    for (name, why) in [
        ("dir", "directory"),
        ("socket", "socket"),
        ("/", "directory"),
    ] {
        let error = folder.write(name, FileAccess::Kept).unwrap_err();
        assert!(error.to_string().contains(why), "{name}: {error}");
    }
    assert_eq!(
        folder
            .write("no/such", FileAccess::Kept)
            .unwrap_err()
            .kind(),
        io::ErrorKind::NotFound
    );
    assert_eq!(folder.names(), ["dir", "socket"]);
}

#[cfg(target_os = "linux")]
#[test]
fn descriptors_are_written_to_at_their_position() {
    let folder = folder();
    for access in ALL {
        let (mut read, write) = io::pipe().unwrap();
        for path in [
            format!("/dev/fd/{}", write.as_raw_fd()),
            format!("/proc/self/fd/{}", write.as_raw_fd()),
        ] {
            write_file(&folder.at(&path), access, b"new").unwrap();
        }
        drop(write);
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, "newnew");
        // A file that the shell has opened: its content stays, and no other file replaces it.
        let mut file = File::create(folder.path.join("out")).unwrap();
        file.write_all(b"before ").unwrap();
        let inode = folder.inode("out");
        let place = folder.at(&format!("/dev/fd/{}", file.as_raw_fd()));
        write_file(&place, access, b"new").unwrap();
        file.write_all(b" after").unwrap();
        assert_eq!(
            (folder.text("out"), folder.inode("out")),
            ("before new after".into(), inode)
        );
    }
}

#[test]
fn hard_links_of_a_file_are_kept() {
    let folder = folder();
    std::fs::write(folder.path.join("one"), "a longer old text").unwrap();
    std::fs::hard_link(folder.path.join("one"), folder.path.join("two")).unwrap();
    folder.write("one", FileAccess::Kept).unwrap();
    assert_eq!(
        (folder.text("two"), folder.names()),
        ("new".into(), vec!["one".into(), "two".into()])
    );
    // `Fresh` replaces the file, so its other name keeps the old content.
    write_file(&folder.at("one"), FileAccess::Fresh(0o644), b"newer").unwrap();
    assert_eq!(
        (folder.text("one"), folder.text("two")),
        ("newer".into(), "new".into())
    );
}

// Runs the test `script` as an ordinary user, because permissions do not apply to root.
fn as_nobody(script: &str, folder: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let program = std::env::current_exe().unwrap();
    let status = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(program)
        .args(["--exact", "--nocapture", script])
        .env("RBAKE_TEST_FOLDER", folder)
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&status.stdout);
    assert!(
        status.status.success() && output.contains("1 passed"),
        "{output}"
    );
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test that runs itself as another user"
)]
fn given_folder() -> Option<PathBuf> {
    std::env::var_os("RBAKE_TEST_FOLDER").map(PathBuf::from)
}

#[test]
fn a_writable_file_in_an_unwritable_directory_is_written_in_place() {
    let folder = folder();
    let open = |name: &str, mode| {
        File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(folder.path.join(name))
            .unwrap();
        std::fs::write(folder.path.join(name), "a longer old text").unwrap();
        std::fs::set_permissions(
            folder.path.join(name),
            std::fs::Permissions::from_mode(mode),
        )
        .unwrap();
    };
    open("all", 0o666);
    open("mine", 0o644);
    std::fs::set_permissions(&folder.path, std::fs::Permissions::from_mode(0o755)).unwrap();
    as_nobody(
        "files::output::tests::an_ordinary_user_writes_in_the_directory_of_another",
        &folder.path,
    );
    // In a sticky directory such as `/tmp`, a user may not replace another user's file.
    std::fs::set_permissions(&folder.path, std::fs::Permissions::from_mode(0o1777)).unwrap();
    as_nobody(
        "files::output::tests::an_ordinary_user_writes_in_the_directory_of_another",
        &folder.path,
    );
    assert_eq!(folder.names(), ["all", "mine"]);
    assert_eq!(folder.text("mine"), "a longer old text");
}

// The test above runs this one as another user. Without its variable, it does nothing.
#[test]
fn an_ordinary_user_writes_in_the_directory_of_another() {
    let Some(folder) = given_folder() else {
        return;
    };
    let place = |name: &str| resolve(&folder, Path::new(name)).unwrap();
    let before = std::fs::metadata(folder.join("all")).unwrap();
    for access in ALL {
        write_file(&place("all"), access, b"new").unwrap();
        let after = std::fs::metadata(folder.join("all")).unwrap();
        assert_eq!(
            (after.ino(), after.uid(), after.mode()),
            (before.ino(), before.uid(), before.mode())
        );
        assert_eq!(std::fs::read(folder.join("all")).unwrap(), b"new");
        let refused = write_file(&place("mine"), access, b"new").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    }
}

#[test]
fn root_keeps_the_owner_of_a_file() {
    let folder = folder();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    std::fs::write(folder.path.join("theirs"), "old").unwrap();
    std::os::unix::fs::chown(folder.path.join("theirs"), Some(65534), Some(65534)).unwrap();
    folder.write("theirs", FileAccess::Kept).unwrap();
    let after = std::fs::metadata(folder.path.join("theirs")).unwrap();
    assert_eq!(
        (after.uid(), after.gid(), folder.text("theirs")),
        (65534, 65534, "new".into())
    );
}

#[test]
fn a_log_is_visible_while_it_grows_and_keeps_lines_of_other_processes() {
    let folder = folder();
    std::fs::write(folder.path.join("log"), "of an earlier run").unwrap();
    let inode = folder.inode("log");
    let one = OutputFile::create_growing(&folder.at("log")).unwrap();
    assert_eq!(folder.text("log"), "");
    let other = OutputFile::create_growing(&folder.at("log")).unwrap();
    for (file, line) in [(&one, "a\n"), (&other, "b\n"), (&one, "c\n")] {
        file.file().write_all(line.as_bytes()).unwrap();
    }
    assert_eq!(folder.text("log"), "a\nb\nc\n");
    assert_eq!(folder.inode("log"), inode);
    // Dropped without an end, as by a process that is killed.
    drop((one, other));
    assert_eq!(folder.names(), ["log"]);
    assert_eq!(folder.text("log"), "a\nb\nc\n");
}

#[test]
fn a_log_does_not_follow_a_link_that_replaced_it() {
    let folder = folder();
    std::fs::write(folder.path.join("victim"), "precious").unwrap();
    let place = folder.at("log");
    symlink("victim", folder.path.join("log")).unwrap();
    OutputFile::create_growing(&place).unwrap_err();
    assert_eq!(folder.text("victim"), "precious");
}
