//! A daemon that stops answering at a random point of a run. The point is a number of bytes in one direction, so that a seed
//! always gives the same point.
//!
//! Every second run then gets one Ctrl-C and must end within two seconds. The others must name the daemon and end within their
//! limit.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use rustix::process::Signal;

use super::{report, seeds};
use crate::support::fault_proxy::{Fault, FaultKind, FaultProxy, Way};
use crate::support::interrupted::{
    Ended, Run, SLACK, assert_nothing_is_left, with_folder_for_temporary_files,
};
use crate::support::peers;
use crate::support::project::TestProject;
use crate::support::splitmix::SplitMix;

const RUNS: u64 = 500;
/// How many runs there are at the same time. They wait most of the time.
const AT_ONCE: usize = 6;
/// How long the builder may be silent.
const LIMIT: Duration = Duration::from_secs(4);

fn project(seed: u64, address: &str) -> TestProject {
    // No run takes anything from the cache. The numbers make the context and the result large.
    let dockerfile = format!(
        "FROM busybox AS work\nCOPY . /src\nRUN : {seed}-{}; cat /src/* > /all; seq 40000 > /numbers; echo done\n\
         FROM scratch\nCOPY --from=work /all /numbers /\n",
        std::process::id()
    );
    let numbers: Vec<String> = (seed..seed + 30_000)
        .map(|number| number.to_string())
        .collect();
    with_folder_for_temporary_files(TestProject::new())
        .file(
            "docker-bake.hcl",
            "target \"default\" { output = [\"type=local,dest=out\"] }\n",
        )
        .file("Dockerfile", dockerfile)
        .file(".dockerignore", "out\n")
        .file("numbers.txt", numbers.join("\n"))
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .env("BUILDKIT_HOST", address)
        .env("RBAKE_BUILDER_TIMEOUT", format!("{}s", LIMIT.as_secs()))
}

#[derive(Debug, PartialEq, Eq)]
enum Course {
    /// The run ended before the daemon froze, or it did not need the daemon any more.
    Over,
    /// One Ctrl-C ended the run, after this time.
    Interrupted(Duration),
    /// The run gave up on the daemon, after this time.
    GaveUp(Duration),
}

async fn freeze(seed: u64, daemon: &Path, (up, down): (u64, u64)) -> Course {
    let mut random = SplitMix::new(seed);
    let way = *random.pick(&[Way::Up, Way::Down]);
    let all = if way == Way::Up { up } else { down };
    // A quarter of the points are in the first messages, which are few bytes.
    let most = if random.below(0..4) == 0 {
        8192.min(all)
    } else {
        all
    };
    let at = random.below(0..most);
    let interrupt = seed
        .is_multiple_of(2)
        .then(|| Duration::from_millis(random.below(0..2000)));

    let fault = Fault {
        kind: FaultKind::Freeze,
        way,
        at,
    };
    let proxy = FaultProxy::start(daemon, Some(fault)).await;
    let project = project(seed, proxy.address());
    let mut run = Run::start(&project.command(&["--progress", "plain"]));
    let what = format!("seed {seed}, {way:?} at byte {at} of {all}, Ctrl-C {interrupt:?}");
    tokio::select! {
        () = proxy.struck() => {}
        () = run.until_ended() => {}
    }
    let frozen = Instant::now();
    if let Some(after) = interrupt {
        tokio::time::sleep(after).await;
        if run.has_ended() {
            let ended = run.ended(SLACK).await;
            return over_or_given_up(&ended, frozen, &proxy, &what);
        }
        run.signal(Signal::INT);
        let interrupted = Instant::now();
        let ended = run.ended(Duration::from_secs(30)).await;
        let took = ended.at - interrupted;
        assert_nothing_is_left(&project, &what);
        if ended.status.code() != Some(130) {
            // The run was already ending when the signal came.
            return over_or_given_up(&ended, frozen, &proxy, &what);
        }
        assert!(took < Duration::from_secs(2) + SLACK, "{what}: {took:?}");
        assert!(ended.stderr.contains("interrupted"), "{what}: {ended:?}");
        return Course::Interrupted(took);
    }
    let ended = run.ended(LIMIT * 10).await;
    assert_nothing_is_left(&project, &what);
    over_or_given_up(&ended, frozen, &proxy, &what)
}

fn over_or_given_up(ended: &Ended, frozen: Instant, proxy: &FaultProxy, what: &str) -> Course {
    let Ended { status, stderr, at } = ended;
    if status.code() == Some(0) {
        assert!(stderr.contains("1 target built"), "{what}: {stderr}");
        return Course::Over;
    }
    assert_eq!(status.code(), Some(4), "{what}: {stderr}");
    assert!(proxy.has_struck(), "{what}: {stderr}");
    let socket = proxy.address().trim_start_matches("unix://");
    assert!(stderr.contains(socket), "{what}: {stderr}");
    let named = stderr.contains("stopped responding") || stderr.contains("did not answer");
    assert!(named, "{what}: {stderr}");
    let took = *at - frozen;
    // The daemon may have answered just before it froze, and it takes some time until the error is printed.
    assert!(
        took < LIMIT + LIMIT / 4 + SLACK,
        "{what}: {took:?}\n{stderr}"
    );
    Course::GaveUp(took)
}

// How many bytes a run without a freeze sends and receives.
async fn traffic(daemon: &Path) -> (u64, u64) {
    let proxy = FaultProxy::start(daemon, None).await;
    // A seed that no campaign uses, so that nothing comes from the cache.
    let project = project(1_000_000, proxy.address());
    let run = Run::start(&project.command(&["--progress", "plain"]));
    let ended = run.ended(Duration::from_secs(120)).await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    (proxy.count(Way::Up), proxy.count(Way::Down))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_run_names_a_daemon_that_freezes_at_any_point_and_ends_at_one_interrupt() {
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let daemon = PathBuf::from(address.trim_start_matches("unix://"));
    let traffic = traffic(&daemon).await;
    let runs = seeds(RUNS).map(|seed| freeze(seed, &daemon, traffic));
    let courses: Vec<Course> = futures_util::stream::iter(runs)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let (mut over, mut interrupted, mut given_up) = (0, Vec::new(), Vec::new());
    for course in &courses {
        match course {
            Course::Over => over += 1,
            Course::Interrupted(took) => interrupted.push(*took),
            Course::GaveUp(took) => given_up.push(*took),
        }
    }
    let longest = |all: &[Duration]| all.iter().max().copied().unwrap_or_default();
    report(
        "freeze",
        &format!(
            "{} runs over {} B up and {} B down: {} ended by one Ctrl-C (at most {:?} after it), {} gave up on the daemon (at most {:?} after it froze, limit {LIMIT:?}), {over} ended before that",
            courses.len(),
            traffic.0,
            traffic.1,
            interrupted.len(),
            longest(&interrupted),
            given_up.len(),
            longest(&given_up),
        ),
    );
    // About a sixth is usual; a short campaign on a busy machine may have twice as many.
    assert!(over * 2 <= courses.len(), "too few runs met the freeze");
}
