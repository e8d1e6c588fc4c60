use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt, symlink};

use std::path::Path;

use super::*;

const TIME: i64 = 1_700_000_000_123_456_789;

// A daemon that sends `stats` and then every requested file, in small pieces, two files at a time.
struct Sender {
    packets: VecDeque<Packet>,
    contents: BTreeMap<u32, Vec<u8>>,
    asked: Vec<u32>,
    most_open: usize,
}

fn stat(path: &str, mode: u32) -> Stat {
    Stat {
        path: Bytes::copy_from_slice(path.as_bytes()),
        mode,
        mod_time: TIME,
        ..Stat::default()
    }
}

fn link(path: &str, mode: u32, to: &str) -> Stat {
    Stat {
        linkname: Bytes::copy_from_slice(to.as_bytes()),
        ..stat(path, mode)
    }
}

fn packet(kind: PacketType) -> Packet {
    Packet {
        r#type: kind.into(),
        ..Packet::default()
    }
}

impl Sender {
    fn new(stats: Vec<Stat>) -> Self {
        let contents = (0..)
            .zip(&stats)
            .map(|(id, stat)| (id, stat.path.repeat(3)));
        let mut sender = Self {
            contents: contents.collect(),
            packets: VecDeque::new(),
            asked: Vec::new(),
            most_open: 0,
        };
        for stat in stats {
            sender.packets.push_back(Packet {
                stat: Some(stat),
                ..Packet::default()
            });
        }
        sender.packets.push_back(Packet::default());
        sender
    }
}

impl Wire for Sender {
    fn next(&mut self) -> Option<Packet> {
        if let Some(packet) = self.packets.pop_front() {
            return Some(packet);
        }
        self.most_open = self.most_open.max(self.asked.len());
        // Send the file that was requested last.
        let id = *self.asked.last()?;
        let content = self.contents.get_mut(&id)?;
        let data = content.split_off(content.len() - content.len().min(2));
        if data.is_empty() {
            self.asked.pop();
        }
        Some(Packet {
            id,
            data: data.into(),
            ..packet(PacketType::PacketData)
        })
    }

    fn send(&mut self, packet: Packet) -> bool {
        match packet.r#type() {
            PacketType::PacketReq => self.asked.push(packet.id),
            PacketType::PacketFin => self.packets.push_back(packet),
            other => panic!("{other:?}"),
        }
        true
    }
}

// The content of `path` as [`Sender`] sends it: in pieces of two bytes, starting with the last piece.
fn expected(path: &str) -> Vec<u8> {
    let mut left = path.as_bytes().repeat(3);
    let mut out = Vec::new();
    while !left.is_empty() {
        out.extend(left.split_off(left.len() - left.len().min(2)));
    }
    out
}

fn run(dest: &Path, stats: Vec<Stat>) -> Result<Received, ReceiveError> {
    receive(&DirectorySink::new(dest), &mut Sender::new(stats))
}

// Passes on messages with padding, and checks how many of them are kept in memory.
struct Padded {
    inner: Sender,
    messages: Vec<Bytes>,
    most_kept: usize,
}

impl Wire for Padded {
    fn next(&mut self) -> Option<Packet> {
        use prost::Message as _;
        // The message that ends the list is empty, so it takes no memory.
        let messages = self.messages.iter().filter(|bytes| !bytes.is_empty());
        let kept = messages.filter(|bytes| !bytes.is_unique()).count();
        self.most_kept = self.most_kept.max(kept);
        let mut packet = self.inner.next()?;
        if packet.stat.is_some() {
            packet.data = vec![0; 4096].into();
        }
        let message = Bytes::from(packet.encode_to_vec());
        self.messages.push(message.clone());
        Packet::decode(message).ok()
    }

    fn send(&mut self, packet: Packet) -> bool {
        self.inner.send(packet)
    }
}

#[test]
fn a_stored_entry_does_not_keep_its_message_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut stats = vec![stat("d", mode::DIR | 0o755)];
    for name in ["a", "b", "c"] {
        let mut file = stat(&format!("d/{name}"), 0o644);
        file.xattrs.push(Xattr {
            name: "user.x".into(),
            value: "y".into(),
        });
        stats.push(file);
    }
    stats.push(link("d/hard", 0o644, "d/a"));
    let mut wire = Padded {
        inner: Sender::new(stats),
        messages: Vec::new(),
        most_kept: 0,
    };
    receive(&DirectorySink::new(dir.path()), &mut wire).unwrap();
    assert!(wire.messages.len() > 10);
    assert_eq!(wire.most_kept, 0);
}

#[test]
fn a_tree_arrives_with_its_modes_times_and_links() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("new/out");
    let stats = vec![
        stat("a", mode::DIR | 0o500),
        stat("a/file", 0o640),
        link("a/other", 0o640, "a/file"),
        stat("a/pipe", mode::NAMED_PIPE | 0o622),
        link("a/sym", mode::SYMLINK | 0o777, "../../outside"),
        stat("b", mode::DIR | mode::STICKY | 0o777),
        stat("set", mode::SETUID | 0o755),
    ];
    let bytes = run(&dest, stats).unwrap().bytes;
    assert_eq!(bytes, ("a/file".len() + "set".len()) as u64 * 3);
    let meta = |path: &str| std::fs::symlink_metadata(dest.join(path)).unwrap();
    for (path, permissions) in [
        ("a", 0o500),
        ("a/file", 0o640),
        ("a/pipe", 0o622),
        ("b", 0o1777),
        ("set", 0o4755),
    ] {
        assert_eq!(
            meta(path).permissions().mode() & 0o7777,
            permissions,
            "{path}"
        );
        assert_eq!(
            meta(path).mtime() * 1_000_000_000 + meta(path).mtime_nsec(),
            TIME,
            "{path}"
        );
    }
    assert_eq!(
        std::fs::read(dest.join("a/file")).unwrap(),
        expected("a/file")
    );
    assert_eq!(meta("a/file").ino(), meta("a/other").ino());
    assert!(meta("a/pipe").file_type().is_fifo());
    assert_eq!(
        std::fs::read_link(dest.join("a/sym")).unwrap(),
        Path::new("../../outside")
    );
    assert_eq!(meta("a/sym").mtime(), TIME / 1_000_000_000);
    std::fs::set_permissions(dest.join("a"), PermissionsExt::from_mode(0o700)).unwrap();
}

fn with_xattr(name: &str, stat: Stat) -> Stat {
    let xattr = Xattr {
        name: Bytes::copy_from_slice(name.as_bytes()),
        value: Bytes::from_static(b"v"),
    };
    Stat {
        xattrs: vec![xattr],
        ..stat
    }
}

#[test]
fn special_files_are_counted_and_lost_attributes_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let stats = vec![
        stat("dir", mode::DIR | mode::SETGID | 0o755),
        stat("set", mode::SETUID | 0o755),
        link("set-again", mode::SETUID | 0o755, "set"),
        with_xattr("nowhere.x", stat("strange", 0o644)),
        with_xattr("security.selinux", stat("z-label", 0o644)),
    ];
    let special = run(dir.path(), stats).unwrap().special;
    assert_eq!((special.set_id, special.devices), (1, 0));
    assert_eq!((special.attributes, special.dropped), (0, 1), "{special:?}");
    let first = special.first_dropped.unwrap();
    assert!(first.starts_with("`nowhere.x` of `strange`: "), "{first}");
}

// buildx keeps the attributes of pipes and devices. For links, it sets them on the link's target.
#[test]
#[cfg(target_os = "linux")]
fn attributes_of_pipes_and_links_are_kept_or_reported_as_lost() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("outside"), "").unwrap();
    let out = dir.path().join("out");
    let stats = || {
        vec![
            with_xattr("trusted.x", link("link", mode::SYMLINK, "../outside")),
            with_xattr("trusted.x", stat("pipe", mode::NAMED_PIPE | 0o644)),
        ]
    };
    let special = run(&out, stats()).unwrap().special;
    assert_eq!(special.attributes, 2);
    let kept = |path: &str| rustix::fs::lgetxattr(dir.path().join(path), "trusted.x", &mut [0; 9]);
    let count = ["out/link", "out/pipe"].map(kept).iter().flatten().count();
    assert_eq!(count as u64 + special.dropped, 2, "{special:?}");
    // Root may set them, if the file system supports attributes at all.
    if rustix::process::geteuid().is_root() && kept("out/pipe").is_ok() {
        assert_eq!(special.dropped, 0, "{special:?}");
    }
    assert!(kept("outside").is_err());
    // An entry that replaces an existing one gets its attributes, too.
    let again = run(&out, stats()).unwrap().special;
    assert_eq!(again.dropped, special.dropped);
}

#[test]
fn special_files_are_refused_on_request() {
    for refused in [
        stat("x", mode::SETUID | 0o755),
        stat("x", mode::SETGID | 0o755),
        stat("x", mode::DEVICE | 0o600),
        stat("x", mode::DEVICE | mode::CHAR_DEVICE | 0o600),
        with_xattr("security.capability", stat("x", 0o755)),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let sink = DirectorySink {
            path: dir.path().to_owned(),
            special: SpecialPolicy::Deny,
            others: OtherFiles::Keep,
        };
        let error = receive(&sink, &mut Sender::new(vec![refused])).unwrap_err();
        assert!(
            error.to_string().starts_with("`x` is refused: it "),
            "{error}"
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let ordinary = vec![stat("x", 0o755), stat("y", mode::NAMED_PIPE | 0o600)];
        receive(&sink, &mut Sender::new(ordinary)).unwrap();
    }
}

#[test]
fn modification_times_of_any_century_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    for mod_time in [i64::MIN, -1, 0, i64::MAX] {
        let mut entries = vec![
            stat("dir", mode::DIR | 0o755),
            stat("file", 0o644),
            link("link", mode::SYMLINK | 0o777, "file"),
            stat("pipe", mode::NAMED_PIPE | 0o644),
        ];
        for entry in &mut entries {
            entry.mod_time = mod_time;
        }
        run(dir.path(), entries).unwrap();
    }
}

#[test]
fn existing_files_are_replaced_and_other_files_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    std::fs::create_dir(at("dir")).unwrap();
    std::fs::write(at("dir/kept"), "kept").unwrap();
    std::fs::write(at("file"), "old").unwrap();
    std::fs::write(at("sym"), "old").unwrap();
    symlink("file", at("was-link")).unwrap();
    symlink("dir", at("was-link-dir")).unwrap();
    std::fs::write(at("z-hard"), "old").unwrap();
    let stats = || {
        vec![
            stat("dir", mode::DIR | 0o755),
            stat("dir/new", 0o644),
            stat("file", 0o644),
            link("sym", mode::SYMLINK | 0o777, "file"),
            stat("was-link", 0o644),
            stat("was-link-dir", mode::DIR | 0o755),
            stat("was-link-dir/x", 0o644),
            link("z-hard", 0o644, "file"),
        ]
    };
    // In the second run, everything exists already.
    for _ in 0..2 {
        run(dir.path(), stats()).unwrap();
        assert_eq!(std::fs::read(at("dir/kept")).unwrap(), b"kept");
        assert_eq!(std::fs::read(at("file")).unwrap(), expected("file"));
        assert!(at("sym").is_symlink());
        assert!(!at("was-link").is_symlink());
        assert!(!at("was-link-dir").is_symlink());
        assert!(!at("dir/x").exists());
        assert_eq!(std::fs::read(at("z-hard")).unwrap(), expected("file"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 6);
    }
    let error = run(dir.path(), vec![stat("dir", 0o644)]).unwrap_err();
    assert!(error.to_string().contains("dir"), "{error}");
    assert_eq!(std::fs::read(at("dir/kept")).unwrap(), b"kept");
}

#[test]
fn no_entry_is_written_outside_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let dest = dir.path().join("dest");
    std::fs::create_dir(&dest).unwrap();
    symlink("../outside", dest.join("there")).unwrap();
    let to = outside.to_str().unwrap();
    for stats in [
        vec![stat("../x", 0o644)],
        vec![stat("/x", 0o644)],
        vec![stat("..", mode::DIR | 0o755)],
        vec![stat("there/x", 0o644)],
        vec![link("l", mode::SYMLINK | 0o777, to), stat("l/x", 0o644)],
        vec![
            link("l", mode::SYMLINK | 0o777, to),
            link("m", 0o644, "l/x"),
        ],
        vec![link("m", 0o644, "there")],
        vec![link("m", 0o644, "../outside/x")],
        vec![
            stat("d", mode::DIR | 0o755),
            link("d", mode::SYMLINK | 0o777, to),
        ],
        vec![stat("b", 0o644), stat("a", 0o644)],
        vec![stat("s", mode::SOCKET | 0o644)],
        vec![stat("i", mode::IRREGULAR | 0o644)],
    ] {
        let path = stats.last().unwrap().path.clone();
        assert!(run(&dest, stats).is_err(), "{path:?}");
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0, "{path:?}");
    }
    // The directory replaces the link itself, not its target.
    run(
        &dest,
        vec![stat("there", mode::DIR | 0o755), stat("there/x", 0o644)],
    )
    .unwrap();
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    assert!(dest.join("there/x").is_file());
}

#[test]
fn files_are_requested_a_few_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let stats: Vec<Stat> = (0..100).map(|n| stat(&format!("f{n:03}"), 0o644)).collect();
    let mut sender = Sender::new(stats);
    receive(&DirectorySink::new(dir.path()), &mut sender).unwrap();
    assert_eq!(sender.most_open, OPEN_FILES);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 100);
}

// Partly received files are removed.
#[test]
fn a_lost_daemon_leaves_no_incomplete_files() {
    struct Quits(Sender, usize);
    impl Wire for Quits {
        fn next(&mut self) -> Option<Packet> {
            self.1 = self.1.checked_sub(1)?;
            self.0.next()
        }
        fn send(&mut self, packet: Packet) -> bool {
            self.0.send(packet)
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let stats = vec![stat("aaaa", 0o644), stat("bbbb", 0o644)];
    let error = receive(
        &DirectorySink::new(dir.path()),
        &mut Quits(Sender::new(stats), 5),
    )
    .unwrap_err();
    assert!(matches!(error, ReceiveError::Gone), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn content_that_was_not_requested_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut sender = Sender::new(vec![stat("a", mode::DIR | 0o755)]);
    sender.packets.push_front(Packet {
        data: "x".into(),
        ..packet(PacketType::PacketData)
    });
    let error = receive(&DirectorySink::new(dir.path()), &mut sender).unwrap_err();
    assert!(matches!(error, ReceiveError::Unasked(0)), "{error}");
}

#[test]
fn the_error_of_the_daemon_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let mut sender = Sender::new(vec![stat("a", 0o644)]);
    sender.packets.push_front(Packet {
        data: "no space".into(),
        ..packet(PacketType::PacketErr)
    });
    let error = receive(&DirectorySink::new(dir.path()), &mut sender).unwrap_err();
    assert!(error.to_string().contains("no space"), "{error}");
}

mod mirror;
