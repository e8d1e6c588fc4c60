//! Random contexts with entries of every kind, built by rbake and by buildx, as an ordinary user and as root.
//!
//! The directory is the main context, a named context, or both. Its entries have various modes, owners and attributes, and
//! names of any bytes. The result is an archive or a directory. Both programs use the same daemon, and the test compares their
//! results entry by entry. A difference that no rule in [`rules`] explains fails the test. Independently of buildx, [`oracle`]
//! computes what the image must contain, and rbake must never succeed with less.

mod case;
mod dice;
mod disk;
mod local;
mod make;
mod oracle;
mod rules;
mod run;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{report, seeds};
use crate::support::buildkitd::Buildkitd;
use crate::support::peers;
use case::{Case, Ignore, Kind, Output};
use oracle::Wanted;
use rules::{RULES, SET_ID_BITS, Seen, without_set_id_bits};
use run::{Answer, Image, ImageEntry, Programs};

/// Cases in the full campaign.
const FULL: u64 = 2_000;
/// One of so many cases is built as root.
const AS_ROOT: u64 = 10;
/// Cases that are built at the same time.
const WORKERS: usize = 4;

#[derive(Default)]
struct Tally {
    counts: BTreeMap<String, u64>,
    // The first cases that each rule explains.
    examples: BTreeMap<&'static str, Vec<String>>,
    failures: Vec<String>,
}

impl Tally {
    fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    fn example(&mut self, of: &'static str, seed: u64, what: &str) {
        let examples = self.examples.entry(of).or_default();
        if examples.len() < 3 {
            examples.push(format!("seed {seed}: {what}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn images_contain_what_the_dockerfile_copies_from_the_context() {
    let buildx = peers::program("RBAKE_TEST_BUILDX");
    let daemon = Buildkitd::start(&[]).await;
    let address = daemon.open_to_all();
    let range = seeds(FULL);
    let tally = tokio::task::spawn_blocking(move || {
        let programs = Programs::new(&buildx, &address);
        let next = AtomicU64::new(range.start);
        let tally = Mutex::new(Tally::default());
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= range.end {
                            return;
                        }
                        examine(seed, &programs, &tally);
                    }
                });
            }
        });
        tally.into_inner().unwrap()
    });
    let tally = tally.await.unwrap();
    let counts: Vec<String> = tally
        .counts
        .iter()
        .map(|(what, count)| format!("{what}: {count}"))
        .collect();
    report("contexts", &counts.join("; "));
    for (rule, examples) in &tally.examples {
        report("contexts", &format!("\"{rule}\": {}", examples.join("; ")));
    }
    assert!(
        tally.failures.is_empty(),
        "{} cases failed:\n{}",
        tally.failures.len(),
        tally
            .failures
            .iter()
            .take(20)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    );
    let count = |what: &str| tally.counts.get(what).copied().unwrap_or_default();
    let all = count("cases");
    assert!(all < 50 || 2 * count("with a denied, special or linked source") >= all);
    // This also deletes the daemon's data, which takes a while.
    drop(daemon);
}

fn examine(seed: u64, programs: &Programs, tally: &Mutex<Tally>) {
    let case = make::case(seed);
    let wanted = oracle::wanted(&case);
    let as_root = seed.is_multiple_of(AS_ROOT);
    let project = programs.place(&format!("case-{seed}"));
    disk::write(&case, &project);
    let ours = programs.rbake(&project, case.output, as_root);
    // With buildx, the daemon would wait forever for somebody to write to an ignore file that is a pipe.
    let asked = case.ignore != Ignore::Pipe;
    let theirs = asked.then(|| programs.buildx(&project, case.output, as_root));
    std::fs::remove_dir_all(&project).unwrap();
    let mut tally = tally.lock().unwrap();
    describe(&case, &wanted, as_root, &mut tally);
    if let Some(missing) = less_than_asked(&wanted, &ours) {
        let text = format!(
            "seed {seed}: rbake succeeds without {missing}\n{}",
            shown(&case)
        );
        tally.failures.push(text);
    }
    if !case.ignore.is_usable()
        && ours.image.is_some()
        && !(as_root && case.ignore == Ignore::Unreadable)
    {
        let text = format!(
            "seed {seed}: rbake builds with {:?}\n{}",
            case.ignore,
            shown(&case)
        );
        tally.failures.push(text);
    }
    let Some(theirs) = theirs else {
        tally.count("not built by buildx, which would never end");
        return;
    };
    let mut ours = ours;
    let is_directory_of_a_user = case.output == Output::Local && !as_root;
    let mut is_aside = false;
    if is_directory_of_a_user && let Some(rest) = without_set_id_bits(&ours, &theirs) {
        tally.count(&format!("explained by \"{SET_ID_BITS}\""));
        ours = rest;
        is_aside = true;
    }
    let Some(difference) = difference(&ours, &theirs) else {
        if is_aside {
            // Nothing else differs.
        } else if ours.image.is_some() {
            tally.count("built alike");
        } else {
            let reason = reason(&ours.messages);
            tally.count(&format!("refused by both, {reason}"));
            if reason == OTHER {
                tally.example(OTHER, seed, &last(&ours));
            }
        }
        return;
    };
    let seen = Seen {
        case: &case,
        wanted: &wanted,
        ours: &ours,
        theirs: &theirs,
        as_root,
    };
    if let Some(rule) = RULES.iter().find(|rule| (rule.explains)(&seen)) {
        tally.count(&format!("explained by \"{}\"", rule.name));
        tally.example(rule.name, seed, &difference);
    } else {
        let text = format!("seed {seed}: {difference}\n{}", shown(&case));
        tally.failures.push(text);
    }
}

// Why a program refused the build.
fn reason(messages: &str) -> &'static str {
    let known = [
        ("Permission denied", "permission denied"),
        ("the ignore file", "the ignore file"),
        ("not found", "a source is not there"),
        ("no such file", "a source is not there"),
        (
            "cannot copy to non-directory",
            "entries that conflict with each other",
        ),
        ("too many links", "a loop of links"),
        ("Operation not permitted", "a device that users cannot make"),
    ];
    let found = known.iter().find(|(text, _)| messages.contains(text));
    found.map_or(OTHER, |(_, kind)| kind)
}

const OTHER: &str = "for another reason";

// Counts what kinds of sources the case has.
fn describe(case: &Case, wanted: &Wanted, as_root: bool, tally: &mut Tally) {
    tally.count("cases");
    tally.count(if as_root { "as root" } else { "as a user" });
    tally.count(&format!("ignore file {:?}", case.ignore));
    tally.count(&format!("as {:?}", case.place));
    tally.count(&format!("output {:?}", case.output));
    let (mut denied, mut special, mut linked, mut odd) = (false, false, false, false);
    let mut attributed = false;
    for path in &wanted.sources {
        let Some(node) = case.tree.get(path) else {
            continue;
        };
        denied |= !case.is_readable(path);
        special |= matches!(node.kind, Kind::Pipe | Kind::Socket | Kind::Device);
        linked |= matches!(node.kind, Kind::Link(_) | Kind::Hard(_));
        attributed |= !case.attributes(path).is_empty();
        odd |= std::str::from_utf8(path).is_err() || path.iter().any(u8::is_ascii_control);
    }
    for (is, what) in [
        (denied, "with a denied source"),
        (special, "with a special source"),
        (linked, "with a linked source"),
        (odd, "with a source whose name is not plain text"),
        (attributed, "with a source with attributes"),
        (
            denied || special || linked,
            "with a denied, special or linked source",
        ),
    ] {
        if is {
            tally.count(what);
        }
    }
}

fn shown(case: &Case) -> String {
    let entry = |(path, node): (&Vec<u8>, &case::Node)| {
        let owner = if node.of_root { "root" } else { "user" };
        let kind = match &node.kind {
            Kind::File(content) => format!("file `{}`", content.escape_ascii()),
            Kind::Link(target) => format!("-> `{}`", target.escape_ascii()),
            Kind::Hard(first) => format!("= `{}`", first.escape_ascii()),
            other => format!("{other:?}"),
        };
        format!(
            "    {:o} {owner} `{}` {kind} {:?}\n",
            node.mode,
            path.escape_ascii(),
            node.attributes.keys()
        )
    };
    let entries: String = case.tree.iter().map(entry).collect();
    format!("{}{}{entries}", case.definition(), case.dockerfile())
}

// What is missing in the image although the program succeeded.
fn less_than_asked(wanted: &Wanted, answer: &Answer) -> Option<String> {
    let image = answer.image.as_ref()?;
    let lacks = wanted.attributes.iter().find_map(|(path, files)| {
        let ([file], Some(entry)) = (files.as_slice(), image.get(path)) else {
            return None;
        };
        // Capabilities are not compared: the daemon changes the owner of copied files, and then the kernel drops them.
        let mut asked = file.iter().filter(|(name, _)| name.starts_with("user."));
        // A hard link has no attributes in the archive, because they belong to the first name.
        let (name, _) = asked.find(|(name, value)| {
            entry.kind == tar::EntryType::Regular && entry.attributes.get(*name) != Some(*value)
        })?;
        Some(format!(
            "the attribute `{name}` of `{}`",
            path.escape_ascii()
        ))
    });
    if lacks.is_some() {
        return lacks;
    }
    let missing = wanted.must.iter().find(|(path, kinds)| {
        let there = image.get(*path);
        !there.is_some_and(|entry| kinds.iter().any(|kind| is(entry, kind, image)))
    });
    missing.map(|(path, kinds)| {
        format!(
            "`{}`, which should be {kinds:?} but is {:?}",
            path.escape_ascii(),
            image.get(path)
        )
    })
}

fn is(entry: &ImageEntry, kind: &Kind, image: &Image) -> bool {
    use tar::EntryType;
    match kind {
        Kind::Dir => entry.kind == EntryType::Directory,
        Kind::File(content) if entry.kind == EntryType::Link => image
            .get(entry.link.strip_prefix(b"/").unwrap_or(&entry.link))
            .is_some_and(|first| first.content == *content),
        Kind::File(content) => entry.kind == EntryType::Regular && entry.content == *content,
        Kind::Link(target) => entry.kind == EntryType::Symlink && entry.link == *target,
        Kind::Pipe => entry.kind == EntryType::Fifo,
        Kind::Device => matches!(entry.kind, EntryType::Char | EntryType::Fifo),
        Kind::Hard(_) | Kind::Socket => true,
    }
}

// The exit code and the error messages.
fn last(answer: &Answer) -> String {
    let lines = answer.messages.lines();
    let lines: Vec<&str> = lines
        .filter(|line| line.to_lowercase().contains("error"))
        .collect();
    format!("code {:?}: {}", answer.code, lines.join(" / "))
}

fn difference(ours: &Answer, theirs: &Answer) -> Option<String> {
    match (&ours.image, &theirs.image) {
        (Some(ours), Some(theirs)) => {
            let paths = ours.keys().chain(theirs.keys());
            let different = paths
                .clone()
                .find(|path| ours.get(*path) != theirs.get(*path))?;
            Some(format!(
                "`{}` is {:?} with rbake and {:?} with buildx",
                different.escape_ascii(),
                ours.get(different),
                theirs.get(different)
            ))
        }
        // 124 means that the time limit was reached, which is not a refusal.
        (None, None) if ours.code != Some(124) && theirs.code != Some(124) => None,
        (None, _) => Some(format!(
            "only rbake refuses the build: {}; buildx: {}",
            last(ours),
            last(theirs)
        )),
        (_, None) => Some(format!("only buildx refuses: {}", last(theirs))),
    }
}
