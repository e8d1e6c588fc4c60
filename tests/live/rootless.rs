//! The embedded builder of an ordinary user: rootlesskit, subordinate user ids, and nothing that belongs to root.
//!
//! The user has a name and subordinate ids in a copy of `/etc`, which is visible only in the test's mount namespace. A shell
//! with the two capabilities of `newuidmap` and `newgidmap` replaces these programs, so that they need not be installed.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::fs::XattrFlags;

use crate::support::home::{eventually, rbake};
use crate::support::peers;

/// A user id that does not exist on any machine.
const USER: u32 = 64_243;
/// The first of the user's subordinate user ids.
const SUBORDINATE: u32 = 900_000_000;

struct Ordinary {
    dir: tempfile::TempDir,
}

impl Ordinary {
    /// The home of an ordinary user. Its `bin` has all programs of a rootless builder.
    fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "only root can be another user"
        );
        let programs = [
            peers::program("RBAKE_TEST_BUILDKITD"),
            peers::program("RBAKE_TEST_RUNC"),
            peers::program("RBAKE_TEST_ROOTLESSKIT"),
        ];
        let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
        let dir = tempfile::Builder::new().prefix("rb-").tempdir().unwrap();
        mode(dir.path(), 0o755);
        let user = Self { dir };
        for folder in ["bin", "home/.config/rbake", "home/project"] {
            std::fs::create_dir_all(user.path(folder)).unwrap();
        }
        for program in programs.iter().chain([&rbake()]) {
            copy(
                program,
                &user.path("bin").join(program.file_name().unwrap()),
            );
        }
        user.make_maps();
        user.write(
            "home/.config/rbake/buildkitd.toml",
            &format!("[registry.\"{registry}\"]\nhttp = true\n"),
        );
        user.write(
            "home/project/docker-bake.hcl",
            &format!(
                r#"target "default" {{
  dockerfile-inline = "FROM {registry}/library/busybox\nRUN mkdir /o && cat /proc/self/uid_map >/o/map && echo x >/o/a && chown 5:7 /o/a && ls -ln /o/a >/o/list\nFROM scratch\nCOPY --from=0 /o /\nCOPY own /"
  output = ["type=local,dest=out"]
}}
"#
            ),
        );
        user.write("home/project/own", "own");
        let text = format!("stranger:{SUBORDINATE}:65536\n");
        user.write("sub", &text);
        user.write("passwd", &format!("stranger:x:{USER}:{USER}::/:/bin/sh\n"));
        for path in ["home", "home/.config", "home/.config/rbake", "home/project"] {
            chown(user.path(path), Some(USER), Some(USER)).unwrap();
        }
        let own = ["home/.config/rbake/buildkitd.toml", "home/project/own"];
        for path in own.into_iter().chain(["home/project/docker-bake.hcl"]) {
            chown(user.path(path), Some(USER), Some(USER)).unwrap();
        }
        user
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    // Creates a replacement for `newuidmap PID INSIDE OUTSIDE COUNT …`, and for `newgidmap`.
    fn make_maps(&self) {
        let shell = self.path("bin/sh-with-capabilities");
        copy(Path::new("/bin/sh"), &shell);
        mode(&shell, 0o755);
        // `struct vfs_cap_data`, revision 2, effective: CAP_SETGID and CAP_SETUID.
        let mut capability = [0; 20];
        capability[..4].copy_from_slice(&0x0200_0001_u32.to_le_bytes());
        capability[4..8].copy_from_slice(&(1_u32 << 6 | 1 << 7).to_le_bytes());
        rustix::fs::setxattr(
            &shell,
            "security.capability",
            &capability,
            XattrFlags::empty(),
        )
        .unwrap();
        for kind in ["uid", "gid"] {
            let script = format!(
                "#!{}\npid=$1; shift; text=\nwhile [ $# -gt 0 ]; do text=\"$text$1 $2 $3\n\"; shift 3; done\nprintf %s \"$text\" >/proc/$pid/{kind}_map\n",
                shell.display()
            );
            let name = format!("bin/new{kind}map");
            self.write(&name, &script);
            mode(&self.path(&name), 0o755);
        }
    }

    // Runs rbake. This user sees none of the machine's daemons.
    fn run(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
        let script = r#"set -e
dir=$1; shift
cp -a /etc/. "$dir/etc/"
cat "$dir/passwd" >>"$dir/etc/passwd"
cp "$dir/sub" "$dir/etc/subuid"; cp "$dir/sub" "$dir/etc/subgid"
mount --bind "$dir/etc" /etc
mount -t tmpfs none /run
[ -L /var/run ] || mount -t tmpfs none /var/run
cd "$dir/home/project"
exec "$@""#;
        std::fs::create_dir_all(self.path("etc")).unwrap();
        let number = USER.to_string();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh"]);
        command.arg(self.dir.path());
        command.args(["setpriv", "--reuid", &number, "--regid", &number]);
        command.args(["--clear-groups", "--"]);
        command.arg(self.path("bin/rbake")).args(arguments);
        command.env_clear();
        command.env(
            "PATH",
            format!("{}:/usr/bin:/bin", self.path("bin").display()),
        );
        command.env("HOME", self.path("home"));
        command.envs(variables.iter().copied());
        command.output().unwrap()
    }
}

impl Drop for Ordinary {
    fn drop(&mut self) {
        let stopped = self.run(&[], &["+builder", "stop", "--force"]);
        if !std::thread::panicking() {
            assert!(stopped.status.success(), "{}", said(&stopped));
        }
    }
}

// Copies with another process. If this process had the program open for writing, so would the children that it starts
// meanwhile, and the program could not be executed.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-L").args([from, to]).status();
    assert!(copied.unwrap().success());
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

// The processes of the user and of its subordinate ids.
fn users_processes() -> Vec<PathBuf> {
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    let is_theirs = |path: &PathBuf| {
        let owner = path.metadata().map_or(0, |found| found.uid());
        owner == USER || (SUBORDINATE..SUBORDINATE + 65536).contains(&owner)
    };
    numbers
        .map(|entry| entry.path())
        .filter(is_theirs)
        // A zombie has an empty command line.
        .filter(|path| std::fs::read(path.join("cmdline")).is_ok_and(|line| !line.is_empty()))
        .collect()
}

#[tokio::test]
#[ignore = "needs live peers"]
async fn an_ordinary_user_builds_without_root() {
    let user = Ordinary::new();
    let variables = [
        ("BUILDX_BUILDER", "embedded"),
        ("GITHUB_TOKEN", "canary-in-the-environment"),
    ];
    let built = user.run(&variables, &["--progress=plain"]);
    assert!(built.status.success(), "{}", said(&built));
    let out = user.path("home/project/out");
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    // The user is root in the step, and the step has other users as well.
    let map: Vec<String> = read("map").split_whitespace().map(str::to_owned).collect();
    let first = ["0".to_owned(), USER.to_string(), "1".to_owned()];
    let second = ["1".to_owned(), SUBORDINATE.to_string(), "65536".to_owned()];
    assert_eq!(map, [first, second].concat());
    let list = read("list");
    let owner: Vec<&str> = list.split_whitespace().skip(2).take(2).collect();
    assert_eq!(owner, ["5", "7"], "{list}");
    // The results belong to the user, like all files that an ordinary user writes.
    assert_eq!(read("own"), "own");
    for name in ["own", "a", "map"] {
        assert_eq!(out.join(name).metadata().unwrap().uid(), USER, "{name}");
    }

    let builder = user.path("home/.local/share/rbake/builder");
    for name in ["", "run"] {
        let found = builder.join(name).metadata().unwrap();
        assert_eq!(found.uid(), USER, "{name}");
        assert_eq!(found.mode() & 0o777, 0o700, "{name}");
    }
    let running = users_processes();
    // They are the supervisor, two processes of rootlesskit, and buildkitd.
    assert!(running.len() >= 4, "{running:?}");
    for process in &running {
        let environ = std::fs::read(process.join("environ")).unwrap_or_default();
        let environ = String::from_utf8_lossy(&environ);
        assert!(!environ.contains("canary"), "{environ}");
    }

    let again = user.run(&variables, &["--progress=plain"]);
    assert!(again.status.success(), "{}", said(&again));
    assert!(said(&again).contains("CACHED"), "{}", said(&again));
    let stopped = user.run(&[], &["+builder", "stop"]);
    assert!(stopped.status.success(), "{}", said(&stopped));
    eventually("no process", async || users_processes().is_empty()).await;
}
