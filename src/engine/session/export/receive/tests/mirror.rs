//! Directories from which files are deleted that the builder has not sent.

use super::*;

fn mirrored(dest: &Path, wire: &mut dyn Wire) -> Result<Received, ReceiveError> {
    mirrored_except(dest, &[], wire)
}

fn mirrored_except(
    dest: &Path,
    except: &[&str],
    wire: &mut dyn Wire,
) -> Result<Received, ReceiveError> {
    let except = except.iter().map(Into::into).collect();
    let sink = DirectorySink {
        others: OtherFiles::Delete { except },
        ..DirectorySink::new(dest)
    };
    receive(&sink, wire)
}

// All entries below `dir`, each with what it is.
fn tree(dir: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(at) = waiting.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.symlink_metadata().unwrap().file_type();
            let what = if kind.is_dir() {
                waiting.push(path.clone());
                "directory".to_owned()
            } else if kind.is_symlink() {
                format!("link to {}", path.read_link().unwrap().display())
            } else if kind.is_file() {
                String::from_utf8(std::fs::read(&path).unwrap()).unwrap()
            } else {
                "node".to_owned()
            };
            let name = path.strip_prefix(dir).unwrap().to_str().unwrap();
            found.insert(name.to_owned(), what);
        }
    }
    found
}

// A directory with other entries than [`sent`], and something in it at most places that `sent` has.
fn before(root: &Path) -> std::path::PathBuf {
    let dest = root.join("out");
    for dir in ["a", "a/gone/deep", "file/x", "hard/x", "link/x", "pipe/x"] {
        std::fs::create_dir_all(dest.join(dir)).unwrap();
    }
    for file in [
        "a/stale",
        "a/kept",
        "a/gone/deep/f",
        "file/x/f",
        "link/x/f",
        "stale",
        ".hidden",
    ] {
        std::fs::write(dest.join(file), "old").unwrap();
    }
    std::fs::create_dir(root.join("outside")).unwrap();
    std::fs::write(root.join("outside/precious"), "").unwrap();
    symlink("../outside", dest.join("dir")).unwrap();
    symlink("../outside", dest.join("escape")).unwrap();
    symlink("../../../outside", dest.join("a/gone/escape")).unwrap();
    dest
}

fn sent() -> Vec<Stat> {
    vec![
        stat("a", mode::DIR | 0o755),
        stat("a/kept", 0o644),
        stat("dir", mode::DIR | 0o755),
        stat("dir/new", 0o644),
        stat("file", 0o640),
        link("hard", 0o644, "a/kept"),
        link("link", mode::SYMLINK | 0o777, "a"),
        stat("pipe", mode::NAMED_PIPE | 0o644),
    ]
}

// Runs `work` as a user without privileges. Linux has the ids of each thread apart.
fn as_ordinary_user(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let nobody = rustix::process::Uid::from_raw(65_534);
            // Only root can. Other users have no privileges anyway.
            let _ = rustix::thread::set_thread_res_uid(nobody, nobody, nobody);
            work();
        });
        worker.join().unwrap();
    });
}

#[test]
fn read_only_directories_of_an_ordinary_user_are_written_and_deleted_again() {
    let root = tempfile::tempdir().unwrap();
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let dest = root.path().join("out");
    let read_only = || {
        vec![
            stat("closed", mode::DIR),
            stat("ro", mode::DIR | 0o555),
            stat("ro/sub", mode::DIR | 0o555),
            stat("ro/sub/f", 0o444),
        ]
    };
    as_ordinary_user(|| {
        for _ in 0..2 {
            mirrored(&dest, &mut Sender::new(read_only())).unwrap();
            let mode_of = |name: &str| dest.join(name).metadata().unwrap().permissions().mode();
            assert_eq!(mode_of("ro/sub") & 0o777, 0o555);
            assert_eq!(mode_of("closed") & 0o777, 0);
        }
        mirrored(&dest, &mut Sender::new(vec![stat("f", 0o644)])).unwrap();
        assert_eq!(tree(&dest).into_keys().collect::<Vec<_>>(), ["f"]);
    });
}

#[test]
fn outputs_of_others_below_the_directory_are_left() {
    let root = tempfile::tempdir().unwrap();
    let dest = root.path().join("out");
    for dir in ["a/other/deep", "new/inner/x", "new/stale"] {
        std::fs::create_dir_all(dest.join(dir)).unwrap();
    }
    for file in [
        "a/other/deep/f",
        "a/stale",
        "new/inner/x/f",
        "new/f",
        "x.tar",
        "y.tar",
    ] {
        std::fs::write(dest.join(file), "old").unwrap();
    }
    let except = ["a/other", "new/inner/x", "x.tar", "missing/z"];
    mirrored_except(&dest, &except, &mut Sender::new(sent())).unwrap();
    let left: Vec<String> = tree(&dest).into_keys().collect();
    let others = [
        "a/other",
        "a/other/deep",
        "a/other/deep/f",
        "new",
        "new/inner",
        "new/inner/x",
        "new/inner/x/f",
        "x.tar",
    ];
    let sent = [
        "a", "a/kept", "dir", "dir/new", "file", "hard", "link", "pipe",
    ];
    let mut expected = [&others[..], &sent[..]].concat();
    expected.sort_unstable();
    assert_eq!(left, expected);
}

#[test]
fn only_what_was_sent_is_left_and_links_are_not_followed() {
    let root = tempfile::tempdir().unwrap();
    let dest = before(root.path());
    let received = mirrored(&dest, &mut Sender::new(sent())).unwrap();
    let content = |path: &str| String::from_utf8(expected(path)).unwrap();
    let entry = |name: &str, what: String| (name.to_owned(), what);
    let directory = || "directory".to_owned();
    assert_eq!(
        tree(&dest),
        BTreeMap::from([
            entry("a", directory()),
            entry("a/kept", content("a/kept")),
            entry("dir", directory()),
            entry("dir/new", content("dir/new")),
            entry("file", content("file")),
            entry("hard", content("a/kept")),
            entry("link", "link to a".to_owned()),
            entry("pipe", "node".to_owned()),
        ])
    );
    // `a/stale`, `a/gone`, `stale`, `.hidden`, `escape`, and the four directories in whose place something else was sent.
    assert_eq!(received.deleted, 9);
    assert!(root.path().join("outside/precious").exists());
    let times = dest.join("a").metadata().unwrap();
    assert_eq!(
        (times.mtime(), times.mtime_nsec()),
        (1_700_000_000, 123_456_789)
    );
}

// Ends the exchange after some packets.
struct Cut {
    inner: Sender,
    left: usize,
}

impl Wire for Cut {
    fn next(&mut self) -> Option<Packet> {
        self.left = self.left.checked_sub(1)?;
        self.inner.next()
    }

    fn send(&mut self, packet: Packet) -> bool {
        self.inner.send(packet)
    }
}

#[test]
fn a_transfer_that_ends_early_deletes_nothing() {
    for left in 0.. {
        let root = tempfile::tempdir().unwrap();
        let dest = before(root.path());
        let old = tree(&dest);
        let mut cut = Cut {
            inner: Sender::new(sent()),
            left,
        };
        let result = mirrored(&dest, &mut cut);
        let now = tree(&dest);
        // The last packet is the daemon's answer when everything is done.
        if result.is_ok() || now.len() == 8 {
            assert!(left > 20, "{left}");
            break;
        }
        for (name, what) in old {
            let replaced = ["a/kept", "dir"].contains(&name.as_str());
            assert!(replaced || now.get(&name) == Some(&what), "{left}: {name}");
        }
        assert!(
            now.keys().all(|name| !name.contains(".rbake-")),
            "{left}: {now:?}"
        );
    }
}

#[test]
fn an_empty_list_empties_the_directory() {
    let root = tempfile::tempdir().unwrap();
    let dest = before(root.path());
    mirrored(&dest, &mut Sender::new(Vec::new())).unwrap();
    assert!(dest.is_dir() && tree(&dest).is_empty());
    assert!(root.path().join("outside/precious").exists());
}

#[test]
fn a_deep_tree_is_deleted_up_to_a_limit() {
    for (levels, is_deleted) in [(300, true), (600, false)] {
        let root = tempfile::tempdir().unwrap();
        let dest = root.path().join("out");
        let mut deep = dest.clone();
        for _ in 0..levels {
            deep.push("d");
        }
        std::fs::create_dir_all(&deep).unwrap();
        let result = mirrored(&dest, &mut Sender::new(Vec::new()));
        assert_eq!(result.is_ok(), is_deleted);
        assert_eq!(!dest.join("d").exists(), is_deleted);
        if let Err(error) = result {
            let text = crate::types::causes::in_one_line(&error);
            assert!(text.ends_with("nested too deeply"), "{text}");
        }
    }
}
