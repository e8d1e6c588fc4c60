use std::os::unix::ffi::OsStrExt as _;

use super::*;
use crate::context::fixture::{make, unescape};
use crate::context::followpaths::Followed;
use crate::context::stat;
use crate::context::walk::OPEN_DIRS;

const TREE: &str = include_str!("../../../tests/fixtures/context/tree.txt");

struct Told {
    path: Vec<u8>,
    mode: u32,
    size: i64,
    mtime: i64,
    symlink: Vec<u8>,
    hard: Option<usize>,
    parent: Option<usize>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    has_content: bool,
}

fn walk(context: &Context, filter: &Filter) -> Result<Vec<Told>, ContextError> {
    let mut told: Vec<Told> = Vec::new();
    let done = context.walk(filter, |entry| {
        assert_eq!(entry.id as usize, told.len());
        told.push(Told {
            path: entry.path.to_vec(),
            mode: entry.mode,
            size: entry.size,
            mtime: entry.mtime,
            symlink: match entry.link {
                LinkTarget::Symlink(target) => target.to_vec(),
                _ => Vec::new(),
            },
            hard: match entry.link {
                LinkTarget::Hard(first) => Some(first as usize),
                _ => None,
            },
            parent: entry.parent.map(|id| id as usize),
            xattrs: entry
                .xattrs
                .iter()
                .map(|(name, value)| (name.to_vec(), value.to_vec()))
                .collect(),
            has_content: entry.has_content,
        });
        ControlFlow::Continue(())
    })?;
    assert_eq!(done, ControlFlow::Continue(()));
    Ok(told)
}

fn spec(include: &str, exclude: &str, follow: &str) -> FilterSpec {
    let lines = |text: &str| -> Vec<Vec<u8>> {
        let words = text.split(' ').filter(|word| !word.is_empty());
        words.map(unescape).collect()
    };
    FilterSpec {
        include: lines(include),
        exclude: lines(exclude),
        follow: lines(follow),
    }
}

fn fixture() -> (tempfile::TempDir, Context) {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), TREE);
    let context = Context::open(dir.path()).unwrap();
    (dir, context)
}

// Recorded from tonistiigi/fsutil: path, mode, size, mtime, link.
#[test]
fn a_walk_reports_the_same_entries_as_fsutil() {
    let (_dir, context) = fixture();
    let told = walk(&context, &Filter::default()).unwrap();
    let recorded = include_str!("../../../tests/fixtures/context/full.txt");
    let lines: Vec<&str> = recorded.lines().collect();
    assert_eq!(told.len(), lines.len());
    for (told_one, line) in told.iter().zip(lines) {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(told_one.path, unescape(words[0]), "{line}");
        assert_eq!(
            told_one.mode,
            u32::from_str_radix(words[1], 16).unwrap(),
            "{line}"
        );
        assert_eq!(told_one.size, words[2].parse::<i64>().unwrap(), "{line}");
        // Links have the time at which the test made them.
        if words[3] != "0" {
            assert_eq!(told_one.mtime, words[3].parse::<i64>().unwrap(), "{line}");
        }
        let link = match told_one.hard {
            Some(first) => told[first].path.clone(),
            None => told_one.symlink.clone(),
        };
        assert_eq!(link, unescape(words[4]), "{line}");
        let parent = told_one.parent.map_or(&b"."[..], |id| &told[id].path);
        assert_eq!(
            parent,
            crate::golang::filepath::dir(&told_one.path),
            "{line}"
        );
        let regular = told_one.mode & stat::mode::KIND == 0;
        let expected = regular && told_one.hard.is_none() && told_one.path != b"sock";
        assert_eq!(told_one.has_content, expected, "{line}");
    }
}

fn numbers(text: &str) -> Vec<usize> {
    let mut all = Vec::new();
    for range in text.split(',').filter(|range| *range != "-") {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        all.extend(from.parse::<usize>().unwrap()..=to.parse::<usize>().unwrap());
    }
    all
}

// Recorded from tonistiigi/fsutil: include, exclude, followed paths, their results, and what is sent: the line
// numbers of full.txt, and which of them are hard links to which.
#[test]
fn filters_select_the_same_entries_as_fsutil() {
    let (_dir, context) = fixture();
    let recorded = include_str!("../../../tests/fixtures/context/full.txt");
    let paths: Vec<Vec<u8>> = recorded
        .lines()
        .map(|line| unescape(line.split(' ').next().unwrap()))
        .collect();
    let show = |told: &[Told]| -> Vec<String> {
        let name = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        told.iter()
            .map(|one| match one.hard {
                Some(first) => format!("{} = {}", name(&one.path), name(&told[first].path)),
                None => name(&one.path),
            })
            .collect()
    };
    for case in include_str!("../../../tests/fixtures/context/walks.tsv").lines() {
        let columns: Vec<&str> = case.split('\t').collect();
        let spec = spec(columns[0], columns[1], columns[2]);
        // With a wildcard in the middle of a path, fsutil differs: it takes everything that the wildcard matches
        // if a link is among that, and it does not find links deeper down; it reads a name that begins with `!` as
        // an exclusion; and it does not send a file whose name the wildcard matched as a directory. `followpaths`
        // has its own tests for what is sent here.
        let looser = columns[2].split(' ').any(|path| {
            let wildcard = path.find(['*', '?', '[']);
            let before = wildcard.and_then(|at| path[..at].rfind('/'));
            let in_no_directory = before.is_some_and(|end| {
                let names = context.names(&unescape(&path[..end]));
                !matches!(names, Ok(Some(_)))
            });
            path.starts_with('!')
                || in_no_directory
                || wildcard.is_some_and(|at| path[at..].contains('/'))
        });
        if !columns[2].is_empty() {
            let (found, unseen) = followpaths::resolve(&context, &spec.follow);
            assert!(unseen.is_empty(), "{case}");
            let is_root = matches!(found, Followed::Root);
            assert!(looser || is_root == (columns[3] == "."), "{case}");
        }
        let told = context
            .filter(&spec)
            .and_then(|filter| walk(&context, &filter));
        if columns[4] == "E" {
            assert!(told.is_err(), "{case}");
            continue;
        }
        let (sent, links) = columns[4].split_once(' ').unwrap_or((columns[4], ""));
        let mut expected: Vec<String> = Vec::new();
        for number in numbers(sent) {
            let name = String::from_utf8_lossy(&paths[number]).into_owned();
            let link = links.split(',').find_map(|link| {
                let (from, to) = link.split_once('=')?;
                (from == number.to_string()).then(|| to.parse::<usize>().unwrap())
            });
            expected.push(match link {
                Some(to) => format!("{name} = {}", String::from_utf8_lossy(&paths[to])),
                None => name,
            });
        }
        let told = show(&told.unwrap());
        if !looser {
            assert_eq!(told, expected, "{case}");
        }
    }
}

#[test]
fn extended_attributes_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let long = vec![7; 3000];
    for (name, value) in [
        ("user.a", &b"1"[..]),
        ("user.long", &long),
        ("user.empty", b""),
    ] {
        rustix::fs::setxattr(&file, name, value, rustix::fs::XattrFlags::empty()).unwrap();
    }
    let context = Context::open(dir.path()).unwrap();
    let mut told = walk(&context, &Filter::default()).unwrap().remove(0).xattrs;
    told.retain(|(name, _)| name.starts_with(b"user."));
    told.sort();
    let expected = [
        (b"user.a".to_vec(), b"1".to_vec()),
        (b"user.empty".to_vec(), Vec::new()),
        (b"user.long".to_vec(), long),
    ];
    assert_eq!(told, expected);
}

#[test]
fn the_root_may_be_a_link_and_must_be_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("real")).unwrap();
    std::fs::write(dir.path().join("real/file"), "x").unwrap();
    std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
    let context = Context::open(&dir.path().join("link")).unwrap();
    assert_eq!(walk(&context, &Filter::default()).unwrap().len(), 1);
    for wrong in ["real/file", "missing"] {
        let error = Context::open(&dir.path().join(wrong)).unwrap_err();
        assert!(error.to_string().contains(wrong), "{error}");
    }
}

#[test]
fn names_links_and_attributes_need_not_be_utf8() {
    let dir = tempfile::tempdir().unwrap();
    let bad = OsStr::from_bytes(b"bad\xff");
    std::fs::write(dir.path().join(bad), "x").unwrap();
    std::os::unix::fs::symlink(bad, dir.path().join("link")).unwrap();
    let context = Context::open(dir.path()).unwrap();
    let told = walk(&context, &Filter::default()).unwrap();
    assert_eq!(told[0].path, b"bad\xff");
    assert_eq!(told[1].symlink, b"bad\xff");
    let without = context.filter(&spec("", "bad?", "")).unwrap();
    assert_eq!(walk(&context, &without).unwrap().len(), 1);
    let through = context.filter(&spec("", "", "link")).unwrap();
    assert_eq!(walk(&context, &through).unwrap().len(), 2);
}

#[test]
fn trees_deeper_than_the_limit_of_open_directories_are_walked_completely() {
    let dir = tempfile::tempdir().unwrap();
    let mut path = dir.path().to_owned();
    for _ in 0..OPEN_DIRS + 20 {
        path.push("d");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("a"), "").unwrap();
        std::fs::create_dir(path.join("e")).unwrap();
        std::fs::write(path.join("e/z"), "").unwrap();
    }
    let context = Context::open(dir.path()).unwrap();
    let told = walk(&context, &Filter::default()).unwrap();
    assert_eq!(told.len(), (OPEN_DIRS + 20) * 4);
    let filter = context.filter(&spec("**/e/z", "", "")).unwrap();
    assert_eq!(walk(&context, &filter).unwrap().len(), (OPEN_DIRS + 20) * 3);
}

#[test]
fn files_that_vanish_during_the_walk_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    std::fs::create_dir_all(dir.path().join("d/e")).unwrap();
    std::fs::write(dir.path().join("f"), "").unwrap();
    let context = Context::open(dir.path()).unwrap();
    let mut told = Vec::new();
    let _ = context
        .walk(&Filter::default(), |entry| {
            if entry.path == b"a" {
                std::fs::remove_file(dir.path().join("b")).unwrap();
            }
            if entry.path == b"d" {
                std::fs::remove_dir_all(dir.path().join("d")).unwrap();
            }
            told.push(entry.path.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(told, [b"a", b"c", b"d", b"f"]);
}

#[test]
fn only_regular_files_inside_the_context_are_opened() {
    let (dir, context) = fixture();
    let open = |path: &str| context.open_file(path.as_bytes());
    assert!(open("a/b").is_ok());
    for path in [
        "pipe",
        "sock",
        "abs",
        "chain-3/keep.md",
        "docs",
        "../x",
        "/etc/passwd",
        "nowhere",
    ] {
        assert!(open(path).is_err(), "{path}");
    }
    drop(dir);
}

#[test]
fn the_visitor_can_end_the_walk() {
    let (_dir, context) = fixture();
    let mut told = 0;
    let done = context.walk(&Filter::default(), |_| {
        told += 1;
        if told == 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert_eq!((done.unwrap(), told), (ControlFlow::Break(()), 3));
}
