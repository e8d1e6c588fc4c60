//! Pairs of signals at random times of a run, also before it has begun and when it is nearly over: the exit code is the first
//! one's, there is a summary, nothing temporary is left, and the daemon has nothing to do.
//!
//! Most runs end so soon after the first signal that a second one has nothing to hurry. So every fifth is held up, by a cache
//! whose index is a pipe that nobody writes to, which blocks a thread for ever.

use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use rustix::process::Signal;

use super::{report, seeds};
use crate::support::buildkitd::Buildkitd;
use crate::support::interrupted::{
    Run, SLACK, assert_nothing_is_left, with_folder_for_temporary_files,
};
use crate::support::project::TestProject;
use crate::support::splitmix::SplitMix;

const RUNS: u64 = 500;
const AT_ONCE: usize = 4;
/// After so many runs it is looked whether the daemon is idle.
const ROUND: usize = 20;

const DEFINITION: &str = r#"
target "default" {
  output   = ["type=local,dest=out", "type=tar,dest=out.tar"]
  cache-to = ["type=local,dest=cache,mode=max"]
}
"#;

const HELD_UP: &str = r#"
target "default" {
  output     = ["type=local,dest=out"]
  cache-from = ["type=local,src=held"]
}
"#;

fn held_up(seed: u64, daemon: &Buildkitd) -> TestProject {
    let project = project(seed, daemon)
        .file("docker-bake.hcl", HELD_UP)
        .file("held/blobs/sha256/none", "");
    let made = Command::new("mkfifo")
        .arg(project.path().join("held/index.json"))
        .status();
    assert!(made.unwrap().success());
    project
}

fn project(seed: u64, daemon: &Buildkitd) -> TestProject {
    let dockerfile = format!(
        "FROM busybox AS work\nCOPY . /src\n\
         RUN : {seed}-{}; mkdir /made; for n in $(seq 60); do seq 20000 > /made/$n; done\n\
         FROM scratch\nCOPY --from=work /made /made\n",
        std::process::id()
    );
    with_folder_for_temporary_files(TestProject::new())
        .file("docker-bake.hcl", DEFINITION)
        .file("Dockerfile", dockerfile)
        .file(".dockerignore", "out*\ncache\n")
        .file("numbers.txt", format!("{seed}\n").repeat(20_000))
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .env("BUILDKIT_HOST", daemon.endpoint())
}

#[derive(Debug)]
enum Course {
    /// It was over before the first signal, or so far that it ended as if there had been none.
    Over,
    /// The first signal came before the program had begun to listen.
    Unheard,
    /// It was stopped: so long after the first signal.
    Once(Duration),
    /// The second signal asked for haste: so long after that.
    Twice(Duration),
}

async fn interrupt(seed: u64, daemon: &Buildkitd, usual: Duration) -> Course {
    const SIGNALS: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];
    let mut random = SplitMix::new(seed);
    let (first, second) = (*random.pick(&SIGNALS), *random.pick(&SIGNALS));
    let usual = u64::try_from(usual.as_micros()).unwrap();
    // A sixth of the first signals comes while the program starts.
    let at = match random.below(0..6) {
        0 => random.below(0..60_000),
        // Runs take unequally long, so that this reaches beyond the end of some.
        _ => random.below(0..usual * 3 / 4),
    };
    let is_held_up = seed.is_multiple_of(5);
    let gap = match random.below(0..4) {
        // A run that is held up takes more than a second to end after one signal.
        _ if is_held_up => random.below(520_000..900_000),
        0 => 0,
        1 | 2 => random.below(0..480_000),
        _ => random.below(520_000..1_200_000),
    };
    let (at, gap) = (Duration::from_micros(at), Duration::from_micros(gap));
    let what = format!("seed {seed}: {first:?} after {at:?}, {second:?} after {gap:?} more");

    let project = if is_held_up {
        held_up(seed, daemon)
    } else {
        project(seed, daemon)
    };
    let metadata = ["--progress", "plain", "--metadata-file", "metadata.json"];
    let mut run = Run::start(&project.command(&metadata));
    tokio::time::sleep(at).await;
    if run.has_ended() {
        assert_eq!(run.ended(SLACK).await.status.code(), Some(0), "{what}");
        return Course::Over;
    }
    let heard = run.listens_to(first);
    run.signal(first);
    let stopped = Instant::now();
    tokio::time::sleep(gap).await;
    let waited = stopped.elapsed();
    let was_there = !run.has_ended();
    run.signal(second);
    let hurried = Instant::now();
    let ended = run.ended(Duration::from_secs(30)).await;
    let text = &ended.stderr;
    assert_nothing_is_left(&project, &what);

    let Some(code) = ended.status.code() else {
        assert!(!heard, "{what}: {ended:?}");
        return Course::Unheard;
    };
    if code == 0 {
        assert!(text.contains("1 target built"), "{what}: {text}");
        return Course::Over;
    }
    let code_of = |signal| if signal == Signal::HUP { 129 } else { 130 };
    // The kernel does not keep the order of signals that wait at the same time.
    let together = waited < Duration::from_millis(100) || !heard;
    assert!(
        code == code_of(first) || (together && code == code_of(second)),
        "{what}: exit code {code}\n{text}"
    );
    let summary = text.contains(" of 1 target built in ") && text.contains("cancelled: default");
    assert!(
        summary || text.contains("interrupted before anything was built"),
        "{what}: {text}"
    );
    let took = ended.at - stopped;
    assert!(took < Duration::from_secs(2) + SLACK, "{what}: {took:?}");
    if was_there && waited >= Duration::from_millis(520) {
        let took = ended.at - hurried;
        assert!(took < Duration::from_secs(1) + SLACK, "{what}: {took:?}");
        return Course::Twice(took);
    }
    Course::Once(took)
}

// How long a run takes while others go on beside it. The first fetches what all need.
async fn usual(daemon: &Buildkitd) -> Duration {
    let mut usual = Duration::ZERO;
    for round in 0..2 {
        let runs = (0..AT_ONCE as u64).map(|run| async move {
            let project = project(1_000_000 + round * 10 + run, daemon);
            let started = Instant::now();
            let run = Run::start(&project.command(&["--progress", "plain"]));
            let ended = run.ended(Duration::from_secs(120)).await;
            assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
            started.elapsed()
        });
        let took = futures_util::future::join_all(runs).await;
        usual = took.iter().sum::<Duration>() / u32::try_from(took.len()).unwrap();
    }
    usual
}

#[tokio::test(flavor = "multi_thread")]
async fn two_signals_at_any_time_end_a_run_in_order() {
    let Some(daemon) = Buildkitd::start_with_images().await else {
        return;
    };
    let usual = usual(&daemon).await;
    let seeds: Vec<u64> = seeds(RUNS).collect();
    let mut courses = Vec::new();
    for round in seeds.chunks(ROUND) {
        let runs = round.iter().map(|seed| interrupt(*seed, &daemon, usual));
        let runs = futures_util::stream::iter(runs).buffer_unordered(AT_ONCE);
        courses.extend(runs.collect::<Vec<_>>().await);
        daemon.await_idle(Duration::from_secs(15)).await;
    }
    let (mut over, mut unheard, mut once, mut twice) = (0, 0, Vec::new(), Vec::new());
    for course in &courses {
        match course {
            Course::Over => over += 1,
            Course::Unheard => unheard += 1,
            Course::Once(took) => once.push(*took),
            Course::Twice(took) => twice.push(*took),
        }
    }
    let longest = |all: &[Duration]| all.iter().max().copied().unwrap_or_default();
    report(
        "signals",
        &format!(
            "{} runs of about {usual:?}: {} stopped by the first signal (at most {:?} after it), {} hurried by the second (at most {:?} after it), {over} were over before, {unheard} had not begun to listen",
            courses.len(),
            once.len(),
            longest(&once),
            twice.len(),
            longest(&twice),
        ),
    );
    assert!(
        (over + unheard) * 2 <= courses.len(),
        "most runs must be interrupted"
    );
}
