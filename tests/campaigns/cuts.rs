//! Connections to the daemon that end at a random byte of a run: closed, as if the daemon was killed, or reset, as a firewall
//! does it. A seed always gives the same byte.
//!
//! A run must then name the daemon and end soon, and nothing that it has written may be half of a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;

use super::{report, seeds};
use crate::support::fault_proxy::{Fault, FaultKind, FaultProxy, Way};
use crate::support::interrupted::{Run, assert_nothing_is_left, with_folder_for_temporary_files};
use crate::support::peers;
use crate::support::project::TestProject;
use crate::support::splitmix::SplitMix;

const RUNS: u64 = 1_000;
/// How many runs there are at the same time.
const AT_ONCE: usize = 4;
/// The most time that a run may take after the cut. A busy machine is slow to end a process.
const LIMIT: Duration = Duration::from_secs(10);

// No run takes anything from the cache. The numbers make the contexts and the results large.
fn project(seed: u64, address: &str) -> TestProject {
    let dockerfile = format!(
        "FROM busybox AS work\nCOPY . /src\nRUN : {seed}-{}; mkdir /o; cat /src/*.txt > /o/all; seq 40000 > /o/numbers; echo done\n\
         FROM scratch\nCOPY --from=work /o /\n",
        std::process::id()
    );
    let numbers: Vec<String> = (seed..seed + 30_000)
        .map(|number| number.to_string())
        .collect();
    with_folder_for_temporary_files(TestProject::new())
        .file(
            "docker-bake.hcl",
            r#"
            group "default" { targets = ["files", "archive", "tree"] }
            target "files" { output = ["type=local,dest=out/files"] }
            target "archive" { output = ["type=oci,dest=out/image.tar"] }
            target "tree" { output = ["type=tar,dest=out/tree.tar", "type=oci,tar=false,dest=out/layout"] }
            "#,
        )
        .file("Dockerfile", dockerfile)
        .file(".dockerignore", "out\n")
        .file("numbers.txt", numbers.join("\n"))
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .env("BUILDKIT_HOST", address)
}

// The files of `project`'s outputs, by path.
fn outputs(project: &TestProject) -> BTreeMap<PathBuf, Vec<u8>> {
    let root = project.path().join("out");
    let mut found = BTreeMap::new();
    let mut open = vec![root.clone()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let content = std::fs::read(&path).unwrap();
                found.insert(path.strip_prefix(&root).unwrap().to_owned(), content);
            }
        }
    }
    found
}

// Fails if one of the outputs is a part of what it should be.
fn assert_all_are_whole(project: &TestProject, what: &str) {
    let numbers = std::fs::read(project.path().join("numbers.txt")).unwrap();
    let lines: Vec<String> = (1..=40_000).map(|number| number.to_string()).collect();
    let seq = lines.join("\n") + "\n";
    let made = outputs(project);
    for (path, content) in &made {
        let name = path.display().to_string();
        let is_whole = match name.as_str() {
            "files/all" => *content == numbers,
            "files/numbers" => content == seq.as_bytes(),
            "image.tar" => is_whole_archive(content, &["index.json", "oci-layout"]),
            "tree.tar" => is_whole_archive(content, &["all", "numbers"]),
            "layout/index.json" => layout_is_whole(&made),
            _ if name.starts_with("layout/blobs/sha256/") => rbake::types::Digest::sha256(content)
                .to_string()
                .ends_with(&name[20..]),
            "layout/oci-layout" | "layout/index.json.lock" => true,
            _ => panic!("{what}: unexpected output `{name}`"),
        };
        assert!(is_whole, "{what}: `{name}` has {} bytes", content.len());
    }
}

// Whether the archive ends as it should, and has these files.
fn is_whole_archive(content: &[u8], names: &[&str]) -> bool {
    let mut archive = tar::Archive::new(content);
    let Ok(entries) = archive.entries() else {
        return false;
    };
    let mut found = Vec::new();
    for entry in entries {
        let Ok(mut entry) = entry else { return false };
        found.push(entry.path().unwrap().display().to_string());
        if std::io::copy(&mut entry, &mut std::io::sink()).is_err() {
            return false;
        }
    }
    let is_there = |name: &&str| found.iter().any(|found| found == name);
    names.iter().all(is_there) && content.ends_with(&[0; 1024])
}

// Whether the layout has everything that its index names.
fn layout_is_whole(made: &BTreeMap<PathBuf, Vec<u8>>) -> bool {
    let has = |digest: &str| {
        let path = format!("layout/blobs/{}", digest.replace(':', "/"));
        made.get(Path::new(&path))
    };
    let index = &made[Path::new("layout/index.json")];
    let index: serde_json::Value = serde_json::from_slice(index).unwrap();
    let manifests = index["manifests"].as_array().unwrap();
    manifests.iter().all(|entry| {
        let Some(manifest) = has(entry["digest"].as_str().unwrap()) else {
            return false;
        };
        let manifest: serde_json::Value = serde_json::from_slice(manifest).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        let parts = layers.chain([&manifest["config"]]);
        parts
            .into_iter()
            .all(|part| has(part["digest"].as_str().unwrap()).is_some())
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Course {
    /// The run ended before the cut, or it did not need the daemon any more.
    Over,
    /// The run ended with an error, this time after the cut.
    Ended(Duration),
}

async fn cut(seed: u64, daemon: &Path, (up, down): (u64, u64)) -> Course {
    let mut random = SplitMix::new(seed);
    let way = *random.pick(&[Way::Up, Way::Down]);
    let all = if way == Way::Up { up } else { down };
    // A quarter of the points are in the first messages, which are few bytes.
    let most = if random.below(0..4) == 0 {
        8192.min(all)
    } else {
        all
    };
    let fault = Fault {
        kind: *random.pick(&[FaultKind::Close, FaultKind::Reset]),
        way,
        at: random.below(0..most),
    };
    let what = format!("seed {seed}, {fault:?} of {all}");
    let proxy = FaultProxy::start(daemon, Some(fault)).await;
    let project = project(seed, proxy.address());
    let mut run = Run::start(&project.command(&["--progress", "plain"]));
    tokio::select! {
        () = proxy.struck() => {}
        () = run.until_ended() => {}
    }
    let struck = Instant::now();
    let ended = run.ended(LIMIT * 3).await;
    assert_nothing_is_left(&project, &what);
    assert_all_are_whole(&project, &what);
    let stderr = &ended.stderr;
    if ended.status.code() == Some(0) {
        assert!(stderr.contains("3 targets built"), "{what}: {stderr}");
        return Course::Over;
    }
    assert_eq!(ended.status.code(), Some(4), "{what}: {stderr}");
    assert!(proxy.has_struck(), "{what}: {stderr}");
    let address = proxy.address().trim_start_matches("unix://");
    let address = address.trim_start_matches("tcp://");
    assert!(stderr.contains(address), "{what}: {stderr}");
    assert!(stderr.contains("error["), "{what}: {stderr}");
    let took = ended.at - struck;
    assert!(took < LIMIT, "{what}: {took:?}\n{stderr}");
    Course::Ended(took)
}

// How many bytes a run sends and receives that is not cut.
async fn traffic(daemon: &Path) -> (u64, u64) {
    let proxy = FaultProxy::start(daemon, None).await;
    // A seed that no campaign uses, so that nothing comes from the cache.
    let project = project(1_000_000, proxy.address());
    let run = Run::start(&project.command(&["--progress", "plain"]));
    let ended = run.ended(Duration::from_secs(120)).await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_all_are_whole(&project, "without a cut");
    assert!(
        outputs(&project).len() > 8,
        "{:?}",
        outputs(&project).keys()
    );
    (proxy.count(Way::Up), proxy.count(Way::Down))
}

fn daemon() -> PathBuf {
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    address.trim_start_matches("unix://").into()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_run_names_a_daemon_whose_connections_end_at_any_point_and_writes_no_half_file() {
    let daemon = daemon();
    let traffic = traffic(&daemon).await;
    let runs = seeds(RUNS).map(|seed| cut(seed, &daemon, traffic));
    let courses: Vec<Course> = futures_util::stream::iter(runs)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let ended: Vec<Duration> = courses
        .iter()
        .filter_map(|course| match course {
            Course::Over => None,
            Course::Ended(took) => Some(*took),
        })
        .collect();
    let over = courses.len() - ended.len();
    report(
        "cuts",
        &format!(
            "{} runs over {} B up and {} B down: {} ended with an error (at most {:?} after the cut), {over} ended before it; 0 half files",
            courses.len(),
            traffic.0,
            traffic.1,
            ended.len(),
            ended.iter().max().copied().unwrap_or_default(),
        ),
    );
    assert!(over * 2 <= courses.len(), "too few runs met the cut");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_run_over_a_slow_connection_succeeds() {
    let proxy = FaultProxy::slow(&daemon(), 200_000).await;
    let project = project(2_000_000, proxy.address());
    let run = Run::start(&project.command(&["--progress", "plain"]));
    let ended = run.ended(Duration::from_secs(180)).await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_all_are_whole(&project, "slow");
}
