use std::collections::BTreeMap;
use std::sync::Mutex;

use proptest::prelude::*;

use super::*;

/// A file system in memory: the entries of each directory, and the files that were read.
#[derive(Default)]
struct Tree {
    directories: BTreeMap<String, Vec<JobEntry>>,
    unreadable: bool,
}

impl Tree {
    fn of(files: &[&str]) -> Self {
        let mut tree = Self::default();
        for file in files {
            tree.add(file, JobEntryKind::File, 3);
        }
        tree
    }

    fn add(&mut self, path: &str, kind: JobEntryKind, size: u64) {
        let (above, name) = path.rsplit_once('/').unwrap();
        if !above.is_empty() {
            self.add(above, JobEntryKind::Directory, 0);
        }
        let above = if above.is_empty() { "/" } else { above };
        let entries = self.directories.entry(above.to_owned()).or_default();
        if entries.iter().all(|entry| entry.name != name.as_bytes()) {
            entries.push(JobEntry {
                name: name.as_bytes().to_vec(),
                kind,
                size,
            });
        }
    }
}

impl SavedFileSource for Tree {
    async fn list(&mut self, path: &str) -> Result<Option<Vec<JobEntry>>, String> {
        Ok(self.directories.get(path).cloned())
    }

    async fn read(&mut self, path: &str) -> Result<Bytes, String> {
        if self.unreadable {
            return Err("no".to_owned());
        }
        Ok(Bytes::copy_from_slice(path.as_bytes()))
    }
}

#[derive(Default)]
struct Written(Mutex<Vec<String>>);

impl SavedFileSink for Written {
    async fn write(&self, path: &Path, _: Bytes) -> io::Result<()> {
        let mut written = self.0.lock().unwrap();
        written.push(path.display().to_string());
        Ok(())
    }
}

async fn walk(tree: &mut Tree, patterns: &[&str]) -> (Vec<String>, WalkEnd) {
    let patterns: Vec<FilePattern> = patterns.iter().map(|text| text.parse().unwrap()).collect();
    let (mut walk, written) = (FileWalk::new(&patterns), Written::default());
    walk.run(tree, None, &written).await.unwrap();
    (written.0.into_inner().unwrap(), walk.end())
}

#[tokio::test]
async fn files_and_directories_that_match_are_saved_once() {
    let files = [
        "/tmp/reports/a.xml",
        "/tmp/reports/b.xml",
        "/tmp/reports/c.txt",
        "/tmp/reports/old/d.xml",
        "/app/html/index.html",
        "/app/html/css/site.css",
        "/app/one/x/coverage.xml",
        "/app/two/coverage.xml",
        "/app/coverage.xml",
    ];
    for (patterns, expected) in [
        (
            &["/tmp/reports/*.xml"][..],
            &["tmp/reports/a.xml", "tmp/reports/b.xml"][..],
        ),
        (
            &["/tmp/reports/?.xml", "/tmp/reports/a.xml"],
            &["tmp/reports/a.xml", "tmp/reports/b.xml"],
        ),
        (
            &["/app/html"],
            &["app/html/index.html", "app/html/css/site.css"],
        ),
        (
            &["/app/**/coverage.xml"],
            &[
                "app/coverage.xml",
                "app/two/coverage.xml",
                "app/one/x/coverage.xml",
            ],
        ),
        (
            &["/tmp/**"],
            &[
                "tmp/reports/a.xml",
                "tmp/reports/b.xml",
                "tmp/reports/c.txt",
                "tmp/reports/old/d.xml",
            ],
        ),
        (&["/tmp/*/old"], &["tmp/reports/old/d.xml"]),
        (&["/t*/reports/c.txt"], &["tmp/reports/c.txt"]),
        (
            &["/app/**/html"],
            &["app/html/index.html", "app/html/css/site.css"],
        ),
    ] {
        let (written, end) = walk(&mut Tree::of(&files), patterns).await;
        assert_eq!(written, expected, "{patterns:?}");
        assert_eq!(end.files, expected.len());
        assert_eq!((end.unmatched.len(), end.skipped, end.cut), (0, 0, None));
    }
}

#[tokio::test]
async fn the_files_of_each_platform_have_a_directory() {
    let patterns: Vec<FilePattern> = vec!["/r/a".parse().unwrap()];
    let (mut walk, written) = (FileWalk::new(&patterns), Written::default());
    for platform in ["linux-amd64", "linux-arm64"] {
        let mut tree = Tree::of(&["/r/a"]);
        let run = walk.run(&mut tree, Some(platform), &written);
        run.await.unwrap();
    }
    let written = written.0.into_inner().unwrap();
    assert_eq!(written, ["linux-amd64/r/a", "linux-arm64/r/a"]);
    assert_eq!(walk.end().files, 2);
}

#[tokio::test]
async fn patterns_without_a_match_are_reported() {
    let patterns = ["/tmp/*.xml", "/nowhere/x", "/app/x"];
    let (written, end) = walk(&mut Tree::of(&["/app/x"]), &patterns).await;
    assert_eq!(written, ["app/x"]);
    assert_eq!(end.unmatched, ["/tmp/*.xml", "/nowhere/x"]);
}

#[tokio::test]
async fn links_and_strange_names_and_large_files_are_not_saved() {
    let mut tree = Tree::of(&["/r/good"]);
    tree.add("/r/link", JobEntryKind::Other, 1);
    tree.add("/r/large", JobEntryKind::File, FILE_LIMIT + 1);
    let entries = tree.directories.get_mut("/r").unwrap();
    for name in [
        &b".."[..],
        b".",
        b"",
        b"a/../../b",
        b"/etc/passwd",
        b"a\x1b[2J",
        b"\xff",
        b"a\0",
    ] {
        entries.push(JobEntry {
            name: name.to_vec(),
            kind: JobEntryKind::File,
            size: 1,
        });
    }
    let (written, end) = walk(&mut tree, &["/r/*"]).await;
    assert_eq!(written, ["r/good"]);
    assert_eq!(end.skipped, 10);
    let first = end.first_skipped.unwrap();
    assert!(!first.contains('\u{1b}'), "{first}");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_skipped() {
    let mut tree = Tree::of(&["/r/a"]);
    tree.unreadable = true;
    let (written, end) = walk(&mut tree, &["/r/a"]).await;
    assert_eq!((written.len(), end.skipped), (0, 1));
    assert_eq!(end.first_skipped.as_deref(), Some("`/r/a`: no"));
}

#[tokio::test]
async fn the_numbers_of_files_and_bytes_are_limited() {
    let names: Vec<String> = (0..=FILES_LIMIT).map(|n| format!("/r/{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (written, end) = walk(&mut Tree::of(&names), &["/r"]).await;
    assert_eq!(written.len(), FILES_LIMIT);
    assert!(end.cut.unwrap().contains("2000"));

    let mut tree = Tree::default();
    for n in 0..10 {
        tree.add(&format!("/r/{n}"), JobEntryKind::File, FILE_LIMIT);
    }
    // What the daemon sends is smaller than it said, so this is about what it said of the next file.
    tree.add("/r/last", JobEntryKind::File, FILE_LIMIT);
    let patterns: Vec<FilePattern> = vec!["/r".parse().unwrap()];
    let mut limited = FileWalk::new(&patterns);
    limited.end.bytes = BYTES_LIMIT - FILE_LIMIT;
    limited
        .run(&mut tree, None, &Written::default())
        .await
        .unwrap();
    let end = limited.end();
    assert_eq!(end.files, 1);
    assert!(end.cut.unwrap().contains("128 MiB"));
}

/// A file system in which each directory contains itself.
struct Endless;

impl SavedFileSource for Endless {
    async fn list(&mut self, _: &str) -> Result<Option<Vec<JobEntry>>, String> {
        let entry = |name: &str, kind| JobEntry {
            name: name.as_bytes().to_vec(),
            kind,
            size: 1,
        };
        Ok(Some(vec![
            entry("a", JobEntryKind::Directory),
            entry("b", JobEntryKind::Directory),
        ]))
    }

    async fn read(&mut self, _: &str) -> Result<Bytes, String> {
        Ok(Bytes::new())
    }
}

#[tokio::test]
async fn an_endless_file_system_ends_the_walk() {
    let patterns: Vec<FilePattern> = vec!["/r/**/x".parse().unwrap()];
    let mut walk = FileWalk::new(&patterns);
    let written = Written::default();
    walk.run(&mut Endless, None, &written).await.unwrap();
    assert!(walk.end().cut.is_some());
}

proptest! {
    #[test]
    fn every_path_that_is_written_is_plain(
        names in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..4), 0..20),
        pattern in "/(r|\\*|\\*\\*)/[a-c.*?]{1,3}",
    ) {
        prop_assume!(pattern.parse::<FilePattern>().is_ok());
        let entries: Vec<JobEntry> = names
            .into_iter()
            .enumerate()
            .map(|(n, name)| JobEntry {
                name,
                kind: [JobEntryKind::File, JobEntryKind::Directory, JobEntryKind::Other][n % 3],
                size: 1,
            })
            .collect();
        let mut tree = Tree::default();
        for path in ["/", "/r", "/r/a", "/a"] {
            tree.directories.insert(path.to_owned(), entries.clone());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (written, _) = runtime.block_on(walk(&mut tree, &[&pattern]));
        for path in written {
            let plain = Path::new(&path)
                .components()
                .all(|part| matches!(part, std::path::Component::Normal(_)));
            prop_assert!(plain && !path.contains(char::is_control), "{path:?}");
        }
    }
}
