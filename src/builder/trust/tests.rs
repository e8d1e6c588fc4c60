use super::*;
use std::os::unix::fs::symlink;

// A judge for another user, to whom the files of these tests do not belong.
fn stranger() -> Judge {
    Judge {
        user: rustix::process::geteuid().as_raw() + 4242,
        unmapped: None,
    }
}

fn us() -> Judge {
    Judge::of_this_process()
}

// Creates files and folders with exact modes, whatever the umask.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn dir(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap();
        self.mode(name, mode);
        path
    }

    fn file(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, "x").unwrap();
        self.mode(name, mode);
        path
    }

    fn mode(&self, name: &str, mode: u32) {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.path(name), mode).unwrap();
    }
}

#[track_caller]
fn refused(result: Result<Option<Found>, TrustError>) -> UnsafePath {
    match result {
        Err(TrustError::Unsafe(error)) => *error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn our_files_and_roots_are_trusted_and_missing_ones_are_not_an_error() {
    let tree = Tree::new();
    let file = tree.file("a", 0o644);
    assert!(us().check(&file).unwrap().is_some());
    assert!(us().check(Path::new("/bin/sh")).unwrap().is_some());
    assert!(us().check(&tree.path("missing/below")).unwrap().is_none());
    assert!(us().check(&tree.path("a/below")).unwrap().is_none());
}

#[test]
fn folders_that_others_can_write_to_are_refused_anywhere_in_a_path() {
    let tree = Tree::new();
    tree.dir("open", 0o777);
    let inner = tree.dir("open/mine", 0o700);
    let error = refused(us().check(&inner));
    assert_eq!(error.culprit, tree.path("open"));
    assert_eq!(error.fault, Fault::Everybody);
    let told = error.to_string();
    assert!(
        told.starts_with(&format!("`{}` is not safe", inner.display())),
        "{told}"
    );
    assert!(
        told.ends_with("mode 0777, so that everybody can write to it"),
        "{told}"
    );
    assert!(error.help().unwrap().contains("chmod go-w"));
    // Others could create what does not exist yet.
    assert_eq!(
        refused(us().check(&tree.path("open/later"))).fault,
        Fault::Everybody
    );
    tree.mode("open", 0o1777);
    assert!(us().check(&inner).unwrap().is_some());
}

#[test]
fn group_permissions_matter_if_the_group_has_other_members() {
    let tree = Tree::new();
    let dir = tree.dir("shared", 0o775);
    let stranger = Judge {
        // For a user who is not root, root's group has another member.
        user: rustix::process::geteuid().as_raw(),
        unmapped: None,
    };
    let gid = dir.metadata().unwrap().gid();
    let expected = Accounts::of_this_machine().is_group_of_only(gid, stranger.user);
    assert_eq!(stranger.check(&dir).is_ok(), expected);
    // A group that is not in /etc/group may have any members.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&dir, None, Some(987_654)).unwrap();
        let error = refused(us().check(&dir));
        assert_eq!(error.fault, Fault::Group("gid 987654".into()));
        tree.mode("shared", 0o755);
        assert!(us().check(&dir).unwrap().is_some());
    }
}

#[test]
fn files_and_folders_of_others_are_refused_and_named_with_owner_and_mode() {
    if rustix::process::geteuid().is_root() {
        let tree = Tree::new();
        let file = tree.file("a", 0o600);
        std::os::unix::fs::chown(&file, Some(4242), None).unwrap();
        assert_eq!(
            refused(us().check(&file)).to_string(),
            format!(
                "the file `{}` belongs to uid 4242, mode 0600, but must belong to root",
                file.display()
            )
        );
        let dir = tree.dir("d", 0o755);
        let inner = tree.dir("d/mine", 0o700);
        std::os::unix::fs::chown(&dir, Some(4242), None).unwrap();
        assert_eq!(refused(us().check(&inner)).culprit, dir);
    } else {
        let tree = Tree::new();
        assert_eq!(
            refused(stranger().check(&tree.path(""))).fault,
            Fault::Owner
        );
    }
}

#[test]
fn links_are_followed_as_the_kernel_does_and_both_ends_are_checked() {
    let tree = Tree::new();
    tree.dir("deep/er", 0o755);
    tree.dir("open", 0o777);
    tree.file("deep/a", 0o644);
    tree.file("a", 0o666);
    symlink("deep/er", tree.path("link")).unwrap();
    // If `..` only removed the text `link`, this would be `a`, which everybody can write to.
    let found = us().check(&tree.path("link/../a")).unwrap().unwrap();
    let real = tree.path("deep/a").canonicalize().unwrap();
    assert_eq!(found.path, real);
    symlink(tree.path("open"), tree.path("out")).unwrap();
    assert_eq!(
        refused(us().check(&tree.path("out"))).culprit,
        tree.path("open")
    );
    symlink("loop", tree.path("loop")).unwrap();
    assert!(matches!(
        us().check(&tree.path("loop")),
        Err(TrustError::Look { .. })
    ));
    symlink("nowhere", tree.path("dangling")).unwrap();
    assert!(us().check(&tree.path("dangling")).unwrap().is_none());
}

#[test]
fn a_link_that_somebody_else_put_into_tmp_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let tree = Tree::new();
    tree.dir("tmp", 0o1777);
    tree.dir("mine", 0o700);
    let link = tree.path("tmp/rbake");
    symlink(tree.path("mine"), &link).unwrap();
    assert!(us().is_private(&link).unwrap());
    std::os::unix::fs::lchown(&link, Some(4242), None).unwrap();
    let error = refused(us().check(&link));
    assert_eq!((error.culprit, error.kind), (link, "link"));
}

#[test]
fn a_private_folder_is_ours_and_closed_to_others() {
    let tree = Tree::new();
    let path = tree.path("a/b");
    assert!(!us().is_private(&path).unwrap());
    make_private(&path).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&tree.path("a")), 0o700);
    tree.mode("a/b", 0o755);
    make_private(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    for open in [0o777, 0o1777, 0o702] {
        tree.mode("a/b", open);
        let error = make_private(&path).unwrap_err();
        assert!(matches!(error, TrustError::Unsafe(_)), "{error}");
    }
    let file = tree.file("f", 0o600);
    let error = make_private(&file).unwrap_err().to_string();
    assert!(error.ends_with("but must be a folder"), "{error}");
}

#[test]
fn a_folder_that_all_can_write_to_may_be_in_a_path_but_not_hold_programs() {
    let tree = Tree::new();
    let tmp = tree.dir("tmp", 0o1777);
    assert!(us().check(&tmp).unwrap().is_some());
    assert!(matches!(
        us().check_folder(&tmp),
        Err(TrustError::Unsafe(_))
    ));
    let inner = tree.dir("tmp/bin", 0o755);
    assert!(us().check_folder(&inner).unwrap());
    assert!(!us().check_folder(&tree.path("tmp/missing")).unwrap());
    assert!(is_own_folder(&inner) && !is_own_folder(&tmp));
}

#[test]
fn a_folder_of_root_is_not_private_to_another_user() {
    let judge = Judge {
        user: 4242,
        unmapped: None,
    };
    let error = match judge.is_private(Path::new("/usr")) {
        Err(TrustError::Unsafe(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(error.fault, Fault::NotOurs);
    assert!(error.to_string().ends_with("must belong to you (uid 4242)"));
}

#[test]
fn unmapped_users_count_as_root_except_in_folders_that_everybody_can_write_to() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let tree = Tree::new();
    let dir = tree.dir("d", 0o755);
    std::os::unix::fs::chown(&dir, Some(65534), None).unwrap();
    let judge = Judge {
        user: 0,
        unmapped: Some(65534),
    };
    assert!(judge.check(&dir).unwrap().is_some());
    let tmp = tree.dir("tmp", 0o1777);
    let planted = tree.dir("tmp/d", 0o755);
    std::os::unix::fs::chown(&planted, Some(65534), None).unwrap();
    assert_eq!(refused(judge.check(&planted)).fault, Fault::Owner);
    assert!(judge.check(&tmp).unwrap().is_some());
}

#[cfg(target_os = "linux")]
#[test]
fn an_access_list_that_lets_others_write_is_detected() {
    let tree = Tree::new();
    let dir = tree.dir("d", 0o775);
    // Version 2: owner rwx, the user 4242 rwx, group r-x, mask rwx, others r-x.
    let entries: [(u16, u16, u32); 5] = [
        (1, 7, u32::MAX),
        (2, 7, 4242),
        (4, 5, u32::MAX),
        (16, 7, u32::MAX),
        (32, 5, u32::MAX),
    ];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    let name = "system.posix_acl_access";
    if rustix::fs::setxattr(&dir, name, &list, rustix::fs::XattrFlags::empty()).is_err() {
        // This file system has no access lists.
        return;
    }
    assert_eq!(refused(us().check(&dir)).fault, Fault::AccessList);
}
