//! Two signals at random times of a run, also while it starts and when it is nearly over. The exit code must be that of the
//! first signal, the run must print a summary and leave no temporary files, and the daemon must become idle.
//!
//! Most runs end so soon after the first signal that a second one comes too late. So every fifth run is blocked ([`Hold`]):
//! after the first signal it waits for something that does not come, and would continue until its own time limits.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use rbake_proto::apicaps::ApiCap;
use rbake_proto::gateway::PongResponse;
use rustix::process::Signal;

use super::{is_long, report, seeds};
use crate::support::buildkitd::Buildkitd;
use crate::support::fake_buildkit::{Call, FakeBuildkit};
use crate::support::fault_proxy::{Fault, FaultKind, FaultProxy, Way};
use crate::support::interrupted::{
    Ended, Run, SLACK, assert_nothing_is_left, code_of, temporary_files,
    with_folder_for_temporary_files,
};
use crate::support::project::TestProject;
use crate::support::splitmix::SplitMix;

const RUNS: u64 = 500;
const AT_ONCE: usize = 4;
/// After so many runs, the test checks that the daemon is idle.
const ROUND: usize = 20;
/// One of so many runs is blocked.
const HELD_UP: u64 = 5;

const DEFINITION: &str = r#"
target "default" {
  output   = ["type=local,dest=out", "type=tar,dest=out.tar"]
  cache-to = ["type=local,dest=cache,mode=max"]
}
"#;

const MAKE_FILES: &str = "mkdir /made; for n in $(seq 60); do seq 20000 > /made/$n; done";

/// What blocks a run after the first signal.
#[derive(Debug, Clone, Copy)]
enum Hold {
    /// From some time before the first signal until the second one, nobody reads the run's output, so it cannot print how it
    /// ends. Meanwhile a step is running that has written a little more than a pipe holds.
    Step,
    /// The same, and the daemon also freezes while the result arrives, so that there is a half-written file.
    Result,
    /// The builder never opens the session that the run asked for.
    Session,
}

impl Hold {
    // `None` if the run of `seed` is not blocked.
    fn of(seed: u64) -> Option<Self> {
        const ALL: [Hold; 3] = [Hold::Step, Hold::Result, Hold::Session];
        let at = usize::try_from(seed / HELD_UP).unwrap() % ALL.len();
        seed.is_multiple_of(HELD_UP).then(|| ALL[at])
    }

    fn step(self) -> &'static str {
        match self {
            Self::Step => "seq 5000; sleep 60",
            Self::Result => "mkdir /made; seq 900000 > /made/1; seq 5000",
            Self::Session => "true",
        }
    }
}

fn project(seed: u64, builder: impl std::fmt::Display, step: &str) -> TestProject {
    let dockerfile = format!(
        "FROM busybox AS work\nCOPY . /src\nRUN : {seed}-{}; {step}\n\
         FROM scratch\nCOPY --from=work /made /made\n",
        std::process::id()
    );
    let numbers: Vec<String> = (0..150_000).map(|n| (n + seed).to_string()).collect();
    with_folder_for_temporary_files(TestProject::new())
        .file("docker-bake.hcl", DEFINITION)
        .file("Dockerfile", dockerfile)
        .file(".dockerignore", "out*\ncache\n")
        .file("numbers.txt", numbers.join("\n"))
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .env("BUILDKIT_HOST", builder)
}

#[derive(Debug)]
enum Course {
    /// The run ended before the first signal, or succeeded because the signal came too late.
    Over,
    /// The first signal came before the program had installed its signal handlers.
    Unheard,
    /// The first signal ended the run, after this time.
    Once(Duration),
    /// The second signal ended the run at once, after this time.
    Twice(Duration),
}

const ARGUMENTS: [&str; 4] = ["--progress", "plain", "--metadata-file", "metadata.json"];

const SIGNALS: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];

// One run, and the signals that it gets.
struct Case {
    what: String,
    project: TestProject,
    first: Signal,
    second: Signal,
    gap: Duration,
}

async fn interrupt(seed: u64, daemon: &Buildkitd, usual: Duration) -> Course {
    match Hold::of(seed) {
        Some(hold) => interrupt_held_up(seed, hold, daemon).await,
        None => interrupt_at_any_time(seed, daemon, usual).await,
    }
}

async fn interrupt_at_any_time(seed: u64, daemon: &Buildkitd, usual: Duration) -> Course {
    let mut random = SplitMix::new(seed);
    let (first, second) = (*random.pick(&SIGNALS), *random.pick(&SIGNALS));
    let usual = u64::try_from(usual.as_micros()).unwrap();
    // A sixth of the first signals come while the program starts.
    let at = match random.below(0..6) {
        0 => random.below(0..60_000),
        // The duration of runs differs, so that some end before the signal.
        _ => random.below(0..usual * 3 / 4),
    };
    let gap = match random.below(0..4) {
        0 => 0,
        1 | 2 => random.below(0..480_000),
        _ => random.below(520_000..1_200_000),
    };
    let (at, gap) = (Duration::from_micros(at), Duration::from_micros(gap));
    let case = Case {
        what: format!("seed {seed}: {first:?} after {at:?}, {second:?} after {gap:?} more"),
        project: project(seed, daemon.endpoint(), MAKE_FILES),
        first,
        second,
        gap,
    };
    let run = Run::start(&case.project.command(&ARGUMENTS));
    tokio::time::sleep(at).await;
    case.signal(run).await
}

async fn interrupt_held_up(seed: u64, hold: Hold, daemon: &Buildkitd) -> Course {
    let mut random = SplitMix::new(seed);
    let (first, second) = (*random.pick(&SIGNALS), *random.pick(&SIGNALS));
    let mut fake = FakeBuildkit::start_without_sessions();
    let socket = daemon.endpoint().to_string();
    let socket = Path::new(socket.trim_start_matches("unix://"));
    // The file has 6 MB. The daemon sends the output of the step before it.
    let fault = Fault {
        kind: FaultKind::Freeze,
        way: Way::Down,
        at: random.below(1_000_000..4_000_000),
    };
    let proxy = FaultProxy::start(socket, Some(fault)).await;
    let (builder, most) = match hold {
        Hold::Step => (daemon.endpoint(), 1_300_000),
        Hold::Result => (proxy.address().parse().unwrap(), 1_300_000),
        // After the first signal, the run waits for a target for 800 ms.
        Hold::Session => (fake.endpoint(), 640_000),
    };
    let gap = Duration::from_micros(random.below(520_000..most));
    let case = Case {
        what: format!("seed {seed}: held up by {hold:?}, {first:?}, {second:?} after {gap:?} more"),
        project: project(seed, builder, hold.step()),
        first,
        second,
        gap,
    };
    let command = case.project.command(&ARGUMENTS);
    let mut run = match hold {
        Hold::Step | Hold::Result => Run::start_unread(&command),
        Hold::Session => Run::start(&command),
    };
    match hold {
        Hold::Step => run.is_stuck().await,
        Hold::Result => {
            proxy.struck().await;
            run.is_stuck().await;
            let written = temporary_files(&case.project.path());
            assert!(!written.is_empty(), "{}", case.what);
        }
        Hold::Session => until_asked_for_a_session(&mut fake).await,
    }
    tokio::time::sleep(Duration::from_micros(random.below(0..300_000))).await;
    assert!(!run.has_ended(), "{}: {}", case.what, run.stderr());
    case.signal(run).await
}

// Before that, the client asks for capabilities with an empty build.
async fn until_asked_for_a_session(fake: &mut FakeBuildkit) {
    let mut kept = Vec::new();
    loop {
        match fake.call().await {
            Call::Session(_) => return,
            Call::Solve(_, answer) => kept.push(answer),
            Call::Ping(_, answer) => answer.send(Ok(pong())).unwrap(),
            // The empty build is over. Dropping the answers makes their calls fail.
            _ => kept.clear(),
        }
    }
}

/// The answer of a daemon that can make several outputs of a target.
fn pong() -> PongResponse {
    let several = ApiCap {
        id: "exporter.multiple".to_owned(),
        enabled: true,
        ..ApiCap::default()
    };
    PongResponse {
        llb_caps: vec![several],
        ..PongResponse::default()
    }
}

impl Case {
    async fn signal(&self, mut run: Run) -> Course {
        let what = &self.what;
        if run.has_ended() {
            assert_eq!(run.ended(SLACK).await.status.code(), Some(0), "{what}");
            return Course::Over;
        }
        let heard = run.listens_to(self.first);
        run.signal(self.first);
        let stopped = Instant::now();
        tokio::time::sleep(self.gap).await;
        let waited = stopped.elapsed();
        let was_there = !run.has_ended();
        run.signal(self.second);
        let hurried = Instant::now();
        run.read_on();
        let ended = run.ended(Duration::from_secs(30)).await;
        assert_nothing_is_left(&self.project, what);

        let Some(code) = ended.status.code() else {
            assert!(!heard, "{what}: {ended:?}");
            return Course::Unheard;
        };
        if code == 0 {
            assert!(ended.stderr.contains("1 target built"), "{what}: {ended:?}");
            return Course::Over;
        }
        // The kernel does not keep the order of signals that are pending at the same time.
        let together = waited < Duration::from_millis(100) || !heard;
        assert!(
            code == code_of(self.first) || (together && code == code_of(self.second)),
            "{what}: {ended:?}"
        );
        assert!(is_summed_up(&ended), "{what}: {ended:?}");
        let took = ended.at - stopped;
        assert!(took < Duration::from_secs(2) + SLACK, "{what}: {took:?}");
        if was_there && waited >= Duration::from_millis(520) {
            let took = ended.at - hurried;
            // In a short run, the machine may be busy with other tests.
            let slack = if is_long() { Duration::ZERO } else { SLACK };
            assert!(took < Duration::from_secs(1) + slack, "{what}: {took:?}");
            return Course::Twice(took);
        }
        Course::Once(took)
    }
}

fn is_summed_up(ended: &Ended) -> bool {
    let text = &ended.stderr;
    let summary = text.contains(" of 1 target built in ") && text.contains("cancelled: default");
    // The cache is exported after the target.
    let only_cache = text.contains("1 target built in ")
        && text.contains("the cache of `default` was not exported to ");
    summary || only_cache || text.contains("interrupted before anything was built")
}

// How long a run takes while others run at the same time. The first round fetches the base image.
async fn usual(daemon: &Buildkitd) -> Duration {
    let mut usual = Duration::ZERO;
    for round in 0..2 {
        let runs = (0..AT_ONCE as u64).map(|run| async move {
            let project = project(1_000_000 + round * 10 + run, daemon.endpoint(), MAKE_FILES);
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
#[ignore = "needs live peers"]
async fn two_signals_at_any_time_end_a_run_cleanly() {
    let daemon = Buildkitd::start_with_images().await;
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
            "{} runs of about {usual:?}: {} ended by the first signal (at most {:?} after it), {} by the second (at most {:?} after it), {over} ended before, {unheard} had no signal handler yet",
            courses.len(),
            once.len(),
            longest(&once),
            twice.len(),
            longest(&twice),
        ),
    );
    if seeds.len() as u64 >= HELD_UP {
        assert!(
            twice.len() * 10 >= courses.len(),
            "of {} runs, the second signal ended only {}",
            courses.len(),
            twice.len()
        );
    }
    assert!(
        (over + unheard) * 2 <= courses.len(),
        "most runs must be interrupted"
    );
}
