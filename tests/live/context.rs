//! Which parts of a directory arrive in a daemon, and what it sends back.

use std::collections::BTreeMap;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;

use rbake::engine::session::content::{
    CacheSource, IndexName, LayoutDirectory, StoreAccess, find_cache,
};
use rbake::engine::session::export::{DirectorySink, ExportSink};
use rbake::engine::session::filesync::{TransferState, TransferSummary};
use rbake::engine::session::{ContentStores, Exports};
use rbake::engine::spec::{CacheBackend, Exporter, NoCache, SolveCache, SolveExport};
use rbake::engine::{Endpoint, Engine};
use rbake::event::EventSink;
use tokio_util::sync::CancellationToken;

use crate::support::buildkitd::Buildkitd;
use crate::support::disk::{self, DiskBuild, TarEntry};
use crate::support::events::Events;
use crate::support::peers;

const FILES: usize = 50_000;
const LARGE: u64 = 3 << 30;

fn ignore_file() -> String {
    let mut lines = vec![
        "# what a long-lived project ignores".to_owned(),
        "/ignored".to_owned(),
        "**/*.log".to_owned(),
        "!keep/**/*.log".to_owned(),
        "part-1*/sub-3".to_owned(),
        "!part-11/sub-3/file-07.txt".to_owned(),
        "**/secret?.txt".to_owned(),
        "docs/[a-c]*".to_owned(),
        "hard/first".to_owned(),
        "Dockerfile".to_owned(),
    ];
    lines.extend((lines.len()..400).map(|n| match n % 5 {
        0 => format!("**/never-{n}/**/*.tmp"),
        1 => format!("build-{n}/out"),
        2 => format!("!build-{n}/out/keep"),
        3 => format!("some/deep/path/number-{n}/*"),
        _ => format!("**/.cache-{n}"),
    }));
    lines.join("\n")
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
}

// 50,000 files, and one of each special kind of entry.
fn odd_tree(root: &Path) {
    write(&root.join("Dockerfile"), "FROM scratch\nCOPY . /ctx\n");
    write(&root.join(".dockerignore"), ignore_file());
    for number in 0..FILES {
        let dir = root.join(format!("part-{}/sub-{}", number % 50, number / 50 % 10));
        if number < 500 {
            std::fs::create_dir_all(&dir).unwrap();
        }
        let name = format!("file-{:02}.txt", number / 500);
        std::fs::write(dir.join(name), format!("{number}\n")).unwrap();
    }
    for path in [
        "ignored/x",
        "a.log",
        "keep/a/b.log",
        "part-0/secret1.txt",
        "docs/about.md",
        "docs/zoo.md",
        "a-b/x",
        "a.b/x",
        "a/x",
        "no bytes that/are simple: é ☺/…",
        "back\\slash",
        "star*name/[id].js",
        "build-11/out/keep",
        "build-11/out/gone",
    ] {
        write(&root.join(path), path);
    }
    // The first name of the file is ignored, so another name must carry the content.
    write(&root.join("hard/first"), "one file, four names");
    for name in ["hard/second", "hard/third", "z-hard"] {
        std::fs::hard_link(root.join("hard/first"), root.join(name)).unwrap();
    }
    for (link, target) in [
        ("link-in", "docs/zoo.md"),
        ("link-dir", "docs"),
        ("link-out", "../../etc/passwd"),
        ("link-absolute", "/etc/hostname"),
        ("link-nowhere", "no/such/thing"),
        ("link-loop", "link-loop"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        root.join("pipe"),
        rustix::fs::Mode::from_raw_mode(0o640),
    )
    .unwrap();
    drop(std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap());
    std::fs::create_dir(root.join("empty")).unwrap();
    write(&root.join("setuid"), "#!/bin/true");
    for (path, mode) in [
        ("setuid", 0o4755),
        ("empty", 0o1777),
        ("docs", 0o2750),
        ("docs/zoo.md", 0o400),
    ] {
        std::fs::set_permissions(root.join(path), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    set_xattr(&root.join("a/x"), "user.note", b"with a value");
    set_xattr(&root.join("a/x"), "user.binary", &[0, 1, 255]);
    set_xattr(&root.join("a"), "user.of-a-directory", b"1");
    let mut large = std::fs::File::create(root.join("large")).unwrap();
    large.set_len(LARGE).unwrap();
    for at in [0, 4095, 1 << 20, (1 << 31) + 7, LARGE - 5] {
        large.seek(SeekFrom::Start(at)).unwrap();
        large.write_all(b"data!").unwrap();
    }
}

async fn solve(engine: &Engine, build: &DiskBuild) -> BTreeMap<String, String> {
    let solved = engine
        .solve(
            &build.spec,
            &build.sessions,
            &EventSink::none(),
            &CancellationToken::new(),
        )
        .await;
    solved
        .unwrap_or_else(|failure| panic!("{failure:?}"))
        .response
}

// The transfer of the context itself, without the one of its ignore file.
fn of_context(build: &DiskBuild) -> TransferSummary {
    let mut transfers = build.files.transfers();
    transfers.retain(|transfer| transfer.local == "context" && transfer.paths != [".dockerignore"]);
    assert_eq!(transfers.len(), 1, "{transfers:?}");
    transfers.remove(0)
}

fn socket(daemon: &Buildkitd) -> String {
    match daemon.endpoint() {
        Endpoint::Unix(path) => format!("unix://{}", path.display()),
        other => panic!("{other:?}"),
    }
}

// Fails if the trees differ, and shows a few differences.
fn compare(ours: &BTreeMap<String, TarEntry>, theirs: &BTreeMap<String, TarEntry>) {
    let paths = ours.keys().chain(theirs.keys());
    let mut different: Vec<String> = paths
        .filter(|path| ours.get(*path) != theirs.get(*path))
        .map(|path| format!("{path}:\n  {:?}\n  {:?}", ours.get(path), theirs.get(path)))
        .collect();
    different.dedup();
    let some = different.iter().take(10).cloned().collect::<Vec<_>>();
    assert!(
        different.is_empty(),
        "{} differ:\n{}",
        different.len(),
        some.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_large_context_with_unusual_entries_arrives_as_with_buildx() {
    let buildx = peers::program("RBAKE_TEST_BUILDX");
    let daemon = Buildkitd::start(&[]).await;
    let dir = tempfile::tempdir().unwrap();
    odd_tree(dir.path());
    let engine = Engine::connect(daemon.endpoint()).await.unwrap();

    // Without a cache, or the second build would get what the first one copied.
    let (exports, ours) = disk::archive();
    let mut build = disk::build(&engine, dir.path(), "odd", vec![exports]).await;
    build.spec.no_cache = NoCache::All;
    build.spec.exports = vec![SolveExport::new(Exporter::Tar)];
    solve(&engine, &build).await;
    let mut ours = ours.await.unwrap();
    let first = of_context(&build);
    assert_eq!(first.state, TransferState::Complete);
    assert!(first.bytes > LARGE && first.files > 48_000, "{first:?}");

    let mut theirs = {
        let (address, path) = (socket(&daemon), dir.path().to_owned());
        tokio::task::spawn_blocking(move || disk::buildx_archive(&buildx, &address, &path))
            .await
            .unwrap()
    };
    // The directory that COPY creates has the time of the build.
    for tree in [&mut ours, &mut theirs] {
        tree.get_mut("ctx/").unwrap().mtime.clear();
    }
    assert_eq!(ours["ctx/large"].size, LARGE);
    assert!(ours.len() > 49_000, "{}", ours.len());
    assert!(ours.contains_key("ctx/hard/second") && !ours.contains_key("ctx/hard/first"));
    assert!(
        ours["ctx/a/x"].xattrs.contains_key("user.note"),
        "{:?}",
        ours["ctx/a/x"]
    );
    compare(&ours, &theirs);

    // Again: first the daemon has everything, then everything except one file.
    for changed in [None, Some("part-7/sub-0/file-07.txt")] {
        if let Some(changed) = changed {
            std::fs::write(dir.path().join(changed), "changed\n").unwrap();
        }
        let build = disk::build(&engine, dir.path(), "odd", Vec::new()).await;
        solve(&engine, &build).await;
        let again = of_context(&build);
        assert_eq!(again.entries, first.entries);
        let sent: Vec<&str> = again.first_files.iter().map(String::as_str).collect();
        // A socket looks like an empty file that is new each time, but it has no content.
        assert_eq!(sent, changed.into_iter().collect::<Vec<_>>());
        let bytes = changed.map_or(0, |_| "changed\n".len() as u64);
        assert_eq!((again.files, again.bytes), (sent.len() as u64, bytes));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_build_writes_a_directory_for_each_platform() {
    let daemon = Buildkitd::start(&[]).await;
    let dir = tempfile::tempdir().unwrap();
    write(
        &dir.path().join("Dockerfile"),
        "FROM scratch\nCOPY tree /\n",
    );
    let tree = dir.path().join("tree");
    write(&tree.join("bin/tool"), "#!/bin/true");
    std::fs::set_permissions(
        tree.join("bin/tool"),
        std::fs::Permissions::from_mode(0o555),
    )
    .unwrap();
    std::fs::hard_link(tree.join("bin/tool"), tree.join("bin/other")).unwrap();
    symlink("../../../outside", tree.join("bin/link")).unwrap();
    std::fs::create_dir(tree.join("empty")).unwrap();
    let many: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    write(&tree.join("many"), &many);
    let engine = Engine::connect(daemon.endpoint()).await.unwrap();

    let out = dir.path().join("out");
    write(&out.join("linux_amd64/bin/kept"), "kept");
    let exports = Exports::new([(0, ExportSink::Directory(DirectorySink::new(&out)))]);
    let mut build = disk::build(
        &engine,
        dir.path(),
        "local",
        vec![Arc::new(exports.clone())],
    )
    .await;
    build.spec.exports = vec![SolveExport::new(Exporter::Local)];
    build.spec.platforms = vec![
        "linux/amd64".parse().unwrap(),
        "linux/arm64".parse().unwrap(),
    ];
    build.spec.multi_platform = true;
    // In the second run, everything exists already.
    for _ in 0..2 {
        solve(&engine, &build).await;
        build.spec.build_ref = rbake::engine::BuildRef::new();
        for platform in ["linux_amd64", "linux_arm64"] {
            let root = out.join(platform);
            let tool = std::fs::metadata(root.join("bin/tool")).unwrap();
            let original = std::fs::metadata(tree.join("bin/tool")).unwrap();
            assert_eq!(tool.permissions().mode() & 0o7777, 0o555);
            assert_eq!(
                (tool.mtime(), tool.mtime_nsec()),
                (original.mtime(), original.mtime_nsec())
            );
            assert_eq!(
                tool.ino(),
                std::fs::metadata(root.join("bin/other")).unwrap().ino()
            );
            assert_eq!(
                std::fs::read_link(root.join("bin/link")).unwrap(),
                Path::new("../../../outside")
            );
            assert!(std::fs::read(root.join("many")).unwrap() == many);
            assert!(root.join("empty").is_dir());
        }
        assert!(out.join("linux_amd64/bin/kept").is_file());
    }
    assert!(exports.arrived().len() >= 2);
}

fn local_cache(key: &str, dir: &str) -> SolveCache {
    SolveCache {
        backend: CacheBackend::Local,
        image: None,
        extra: BTreeMap::from([(key.to_owned(), dir.to_owned())]),
        credentials: BTreeMap::new(),
    }
}

fn stores(dir: &str, access: StoreAccess) -> Arc<ContentStores> {
    Arc::new(ContentStores::new(BTreeMap::from([(
        format!("local:{dir}"),
        access,
    )])))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_local_cache_serves_a_daemon_without_a_cache() {
    let dir = tempfile::tempdir().unwrap();
    write(
        &dir.path().join("ctx/Dockerfile"),
        "FROM scratch\nCOPY a /a\nCOPY b /b\n",
    );
    write(&dir.path().join("ctx/a"), "1");
    write(&dir.path().join("ctx/b"), "2");
    let cache = dir.path().join("cache");
    let name = cache.to_str().unwrap();
    for round in 0..2 {
        let daemon = Buildkitd::start(&[]).await;
        let engine = Engine::connect(daemon.endpoint()).await.unwrap();
        let events = Events::default();
        let found = find_cache(&cache, "mine", None);
        let mut build = match (&found, round) {
            (CacheSource::Missing(_), 0) => {
                let layout = LayoutDirectory::create(&cache).unwrap();
                let stores = stores(name, StoreAccess::Write(layout));
                let mut build =
                    disk::build(&engine, &dir.path().join("ctx"), "cache", vec![stores]).await;
                let mut entry = local_cache("dest", name);
                entry.extra.insert("mode".to_owned(), "max".to_owned());
                build.spec.cache_exports = vec![entry];
                build
            }
            (CacheSource::Found { layout, digest }, 1) => {
                let stores = stores(name, StoreAccess::Read(layout.clone()));
                let mut build =
                    disk::build(&engine, &dir.path().join("ctx"), "cache", vec![stores]).await;
                let mut entry = local_cache("src", name);
                entry.extra.insert("digest".to_owned(), digest.to_string());
                build.spec.cache_imports = vec![entry];
                build
            }
            other => panic!("{other:?}"),
        };
        build.spec.exports = vec![SolveExport::new(Exporter::Image)];
        let solved = engine
            .solve(
                &build.spec,
                &build.sessions,
                &events.sink(),
                &CancellationToken::new(),
            )
            .await
            .unwrap_or_else(|failure| panic!("{failure:?}"));
        let progress = events.progress();
        let cached = progress
            .iter()
            .flat_map(|update| &update.vertices)
            .any(|vertex| vertex.name.contains("COPY b /b") && vertex.cached);
        assert_eq!(cached, round == 1);
        if round == 0 {
            let descriptor = &solved.response["cache.manifest"];
            let layout = LayoutDirectory::open(&cache).unwrap().unwrap();
            layout
                .enter(descriptor, &[IndexName::Tag("mine".to_owned())])
                .await
                .unwrap();
            assert_eq!(layout.remove_unreached().unwrap(), 0);
        }
    }
}
