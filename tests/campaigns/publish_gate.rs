//! Gates that do not succeed: a target or a command fails, or the run is interrupted or killed while one of them runs. This
//! happens before the builder has pushed anything, or after all images have their immutable tags.
//!
//! Two witnesses must not see a mutable tag move: the log of a proxy, and a watcher that looks at `latest` every 5 ms.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{report, seeds};
use crate::support::distribution::{DistributionRegistry, RegistryContents, Version};
use crate::support::interrupted::{Ended, Run, code_of};
use crate::support::registry_proxy::{Hook, ProxiedRequest, RegistryProxy, Stage, delay};
use crate::support::releases::{LatestTags, Release, ReleaseProject};
use crate::support::splitmix::SplitMix;

/// Each kind occurs ten times.
const RUNS: u64 = 60;
const IMAGES: u8 = 2;
const PATIENCE: Duration = Duration::from_secs(60);
/// The time between two looks at `latest`.
const SAMPLE: Duration = Duration::from_millis(5);
/// How long the watcher looks after the end of a run: the builder may still be busy.
const AFTERWARDS: Duration = Duration::from_millis(300);

/// How the gate of a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// A target fails when all images have their immutable tags.
    TargetFailsLast,
    /// A target fails before the builder has pushed anything.
    TargetFailsFirst,
    /// A target runs, and the run gets a signal.
    TargetInterrupted(Signal),
    /// A command, which runs after all targets, fails.
    CommandFails,
    /// A command runs, and the run gets a signal.
    CommandInterrupted(Signal),
}

impl Ending {
    fn of(seed: u64) -> Self {
        let signal = [Signal::KILL, Signal::INT, Signal::TERM];
        let signal = signal[usize::try_from(seed / 6 % 3).unwrap()];
        match seed % 6 {
            0 => Self::TargetFailsLast,
            1 => Self::TargetFailsFirst,
            2 | 4 => Self::CommandInterrupted(signal),
            3 => Self::TargetInterrupted(signal),
            _ => Self::CommandFails,
        }
    }

    fn signal(self) -> Option<Signal> {
        match self {
            Self::TargetInterrupted(signal) | Self::CommandInterrupted(signal) => Some(signal),
            _ => None,
        }
    }

    /// The step of the gate target. `tags` are the addresses of lists of tags.
    fn step(self, tags: &[String], commit: &str) -> String {
        match self {
            Self::TargetFailsFirst => "exit 3".to_owned(),
            Self::TargetFailsLast => {
                let mut step = String::new();
                for tags in tags {
                    let _ = write!(
                        step,
                        "until wget -q -O - {tags} | grep -q {commit}; do sleep 0.05; done; "
                    );
                }
                step + "echo all-$((1 + 1))-pushed; exit 3"
            }
            // The name of the step, which is printed, too, does not have the sum.
            Self::TargetInterrupted(_) => "echo gate-$((40 + 2)); sleep 60".to_owned(),
            Self::CommandFails | Self::CommandInterrupted(_) => "true".to_owned(),
        }
    }

    fn command(self) -> Option<&'static str> {
        match self {
            Self::CommandFails => Some("exit 3"),
            // Without `exec`, the shell would leave the program behind when the test kills it.
            Self::CommandInterrupted(_) => {
                Some("echo $$; echo gate-$((40 + 2)) >&2; exec sleep 60")
            }
            _ => None,
        }
    }
}

/// A registry with a project whose earlier release is in it.
struct World {
    registry: DistributionRegistry,
    proxy: RegistryProxy,
    project: ReleaseProject,
    homes: tempfile::TempDir,
}

#[derive(Debug, Default)]
struct Counts {
    failed: usize,
    interrupted: usize,
    killed: usize,
    samples: usize,
    resumed: usize,
}

impl World {
    async fn new() -> Self {
        let registry = DistributionRegistry::start(Version::V3);
        let proxy = RegistryProxy::start(&registry.address).await;
        let project = ReleaseProject::new(&proxy.address(), "team", IMAGES);
        let world = Self {
            registry,
            proxy,
            project,
            homes: tempfile::tempdir().unwrap(),
        };
        let release = Release::of(&world.project.commit("first"), 0);
        let output = world.project.publish(&release, &[]);
        assert_eq!(output.code, Some(0), "{output}");
        world
    }

    /// Runs one case. Returns what is wrong.
    async fn case(&self, seed: u64, counts: &mut Counts) -> Result<(), String> {
        let ending = Ending::of(seed);
        let name = format!("case-{seed}");
        let contents = self.registry.contents();
        let before = self.project.latest(&contents).await;
        let release = Release::of(&self.project.commit(&name), seed + 1000);
        let home = self.homes.path().join(&name);
        std::fs::create_dir(&home).unwrap();
        self.write_gate(ending, &release, seed);
        self.proxy.clear().await;
        let release_pushes = CancellationToken::new();
        let hook = Self::hook(ending, seed, &release_pushes);
        self.proxy.set_hook(Some(hook));

        let watcher = Watcher::start(contents.clone(), self.project.images(), before.clone());
        let ended = self.run(ending, &release, &home).await?;
        // Pushes that were held reach the registry after the gate has failed.
        release_pushes.cancel();
        tokio::time::sleep(AFTERWARDS).await;
        self.proxy.set_hook(None);
        self.expect_end(ending, &ended, &release, &contents, counts)
            .await?;
        if ending.signal() == Some(Signal::KILL) {
            self.resume(&home, counts)?;
        }
        let (samples, moved) = watcher.stop().await;
        counts.samples += samples;
        if samples < 10 {
            return Err(format!("only {samples} samples"));
        }
        if !moved.is_empty() {
            return Err(format!("{moved:?}\n{}", ended.stderr));
        }
        self.proxy.quiet().await;
        let [_, mutable @ ..] = release.tags();
        let log = self.proxy.log();
        if let Some(set) = log
            .iter()
            .find(|set| mutable.iter().any(|tag| set.sets(tag)))
        {
            return Err(format!("{} {}\n{}", set.method, set.path, ended.stderr));
        }
        let now = self.project.latest(&contents).await;
        if now != before {
            return Err(format!("{before:?} has become {now:?}"));
        }
        Ok(())
    }

    /// Writes the definition of the gate target.
    fn write_gate(&self, ending: Ending, release: &Release, seed: u64) {
        let lists = self.project.images().iter();
        // Not through the proxy, which may hold requests.
        let lists =
            lists.map(|image| format!("http://{}/v2/{image}/tags/list", self.registry.address));
        let lists: Vec<String> = lists.collect();
        let step = ending.step(&lists, &release.commit);
        let definition = format!(
            "target \"check\" {{\n  dockerfile-inline = <<EOT\nFROM busybox\nRUN : {}-{seed}; {step}\nEOT\n}}\n",
            std::process::id(),
        );
        std::fs::write(self.project.path().join("gate.hcl"), definition).unwrap();
    }

    /// Delays all requests by a random time. If the gate fails first, holds all writes of the builder until `release`.
    fn hook(ending: Ending, seed: u64, release: &CancellationToken) -> Hook {
        let holds = ending == Ending::TargetFailsFirst;
        let random = Arc::new(Mutex::new(SplitMix::new(seed)));
        let release = release.clone();
        Arc::new(move |stage, request: ProxiedRequest| {
            let time = Duration::from_millis(random.lock().unwrap().below(0..30));
            let is_push = request.is_write() && !request.is_from_rbake();
            let release = (holds && is_push).then(|| release.clone());
            async move {
                if let (Some(release), Stage::Before) = (release, stage) {
                    release.cancelled().await;
                }
                delay(time)(stage, request).await
            }
            .boxed()
        })
    }

    async fn run(&self, ending: Ending, release: &Release, home: &Path) -> Result<Ended, String> {
        let mut words = vec!["-f", "docker-bake.hcl", "-f", "gate.hcl", "--gate", "check"];
        words.extend(
            ending
                .command()
                .iter()
                .flat_map(|text| ["--gate-run", text]),
        );
        let mut command = self.project.command(release, &words);
        let mut run = Run::start(command.env("HOME", home));
        let Some(signal) = ending.signal() else {
            return Ok(run.ended(PATIENCE).await);
        };
        run.writes("gate-42").await;
        let command = process_of(&run.stderr());
        run.signal(signal);
        let ended = run.ended(PATIENCE).await;
        if let (Signal::KILL, Some(command)) = (signal, command) {
            let _ = kill_process(command, Signal::KILL);
        }
        Ok(ended)
    }

    /// Checks how the run ended, and what it left in the registry.
    async fn expect_end(
        &self,
        ending: Ending,
        ended: &Ended,
        release: &Release,
        contents: &RegistryContents,
        counts: &mut Counts,
    ) -> Result<(), String> {
        let expected = match ending.signal() {
            None => {
                counts.failed += 1;
                Some(1)
            }
            Some(Signal::KILL) => {
                counts.killed += 1;
                None
            }
            Some(signal) => {
                counts.interrupted += 1;
                Some(code_of(signal))
            }
        };
        if ended.status.code() != expected {
            return Err(format!("{:?}:\n{}", ended.status, ended.stderr));
        }
        if ending == Ending::TargetFailsLast && !ended.stderr.contains("all-2-pushed") {
            return Err(format!("the gate failed early:\n{}", ended.stderr));
        }
        let are_pushed = match ending {
            Ending::TargetFailsFirst => Some(false),
            Ending::TargetInterrupted(_) => None,
            _ => Some(true),
        };
        for image in self.project.images() {
            let is_there = contents.digest(image, &release.commit).await.is_some();
            if are_pushed.is_some_and(|wanted| wanted != is_there) {
                return Err(format!(
                    "`{image}:{}` exists: {is_there}\n{}",
                    release.commit, ended.stderr
                ));
            }
        }
        Ok(())
    }

    /// Resumes a run that was killed, if it has written a journal. The gate has not succeeded, so the run must not go
    /// forward.
    fn resume(&self, home: &Path, counts: &mut Counts) -> Result<(), String> {
        let journals = std::fs::read_dir(home.join(".local/state/rbake/journals"));
        if journals.is_ok_and(|mut journals| journals.next().is_some()) {
            let mut command = self.project.verb(&["resume"]);
            let output = self.project.run(command.env("HOME", home));
            if output.code != Some(0) || !output.stderr.contains(" taken back: ") {
                return Err(format!("{output}"));
            }
            counts.resumed += 1;
        }
        Ok(())
    }
}

/// The process of the command of a gate, which has printed its id before `gate-42`.
fn process_of(stderr: &str) -> Option<Pid> {
    let shown = stderr.lines().filter(|line| line.starts_with("gate-run"));
    let mut words = shown.filter_map(|line| line.split_whitespace().last()?.parse().ok());
    Pid::from_raw(words.next()?)
}

/// Looks at `latest` of all images, again and again.
struct Watcher {
    stop: CancellationToken,
    task: AbortOnDropHandle<(usize, Vec<String>)>,
}

impl Watcher {
    fn start(contents: RegistryContents, images: &[String], before: LatestTags) -> Self {
        let stop = CancellationToken::new();
        let (stopped, images) = (stop.clone(), images.to_vec());
        let task = tokio::spawn(async move {
            let started = Instant::now();
            let (mut samples, mut moved) = (0, Vec::new());
            let mut ticks = tokio::time::interval(SAMPLE);
            while !stopped.is_cancelled() {
                ticks.tick().await;
                samples += 1;
                for image in &images {
                    let now = contents.digest(image, "latest").await;
                    if now != before[image] {
                        moved.push(format!(
                            "{image} moved to {now:?} at {:?}",
                            started.elapsed()
                        ));
                    }
                }
            }
            (samples, moved)
        });
        let task = AbortOnDropHandle::new(task);
        Self { stop, task }
    }

    /// The number of samples, and what moved.
    async fn stop(self) -> (usize, Vec<String>) {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn no_mutable_tag_moves_while_a_gate_has_not_succeeded() {
    let mut world = World::new().await;
    let mut counts = Counts::default();
    let mut failures = Vec::new();
    for seed in seeds(RUNS) {
        if let Err(failure) = world.case(seed, &mut counts).await {
            failures.push(format!("seed {seed}, {:?}: {failure}", Ending::of(seed)));
            world = World::new().await;
        }
    }
    report(
        "publish_gate",
        &format!("{counts:?}; {} failures", failures.len()),
    );
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
