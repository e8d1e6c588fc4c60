//! A process that is killed while it publishes four images with three tags each: before and after each request that
//! writes to the registry, and at random times. Afterwards, the run is finished or taken back, with its journal or only
//! with the record in the registry.
//!
//! Then all tags must point to the images of the run, or none. The log of a proxy shows that the registry had the record
//! of the run before a mutable tag moved.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::{report, seeds};
use crate::support::distribution::{DistributionRegistry, RegistryContents, Version};
use crate::support::interrupted::Run;
use crate::support::project::CommandOutput;
use crate::support::registry_faults::Gate;
use crate::support::registry_proxy::{ProxiedRequest, RegistryProxy, Stage, Verdict};
use crate::support::releases::{Release, ReleaseProject, ReleaseState};
use crate::support::splitmix::SplitMix;

const IMAGES: u8 = 4;
/// The cases with a random time.
const RANDOM: u64 = 50;
/// A run takes less.
const PATIENCE: Duration = Duration::from_secs(60);

/// When a run is killed.
#[derive(Debug, Clone, Copy)]
enum Kill {
    /// At the request that is the nth of those that write.
    At(Stage, usize),
    /// After this time.
    After(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Resume,
    Undo,
}

#[derive(Debug, Clone, Copy)]
struct Case {
    kill: Kill,
    verb: Verb,
    /// Whether the journal is not on the machine on which the run is recovered.
    elsewhere: bool,
}

#[derive(Debug, Default)]
struct Counts {
    before: usize,
    after: usize,
    random: usize,
    late: usize,
    new: usize,
    old: usize,
    resumed: usize,
    undone: usize,
    from_record: usize,
    without_record: usize,
    recovered_twice: usize,
}

/// A registry with a project whose earlier release is in it.
struct World {
    registry: DistributionRegistry,
    proxy: RegistryProxy,
    project: ReleaseProject,
    homes: tempfile::TempDir,
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
        world.publish("first", 0).await;
        world
    }

    fn home(&self, name: &str) -> PathBuf {
        let home = self.homes.path().join(name);
        std::fs::create_dir_all(&home).unwrap();
        home
    }

    /// Publishes a new commit. Returns the number of its requests that write, and how long it took.
    async fn publish(&self, content: &str, build: u64) -> (usize, Duration) {
        self.proxy.clear().await;
        let release = Release::of(&self.project.commit(content), build);
        let mut command = self.project.command(&release, &[]);
        let started = std::time::Instant::now();
        let run = Run::start(command.env("HOME", self.home(content)));
        let ended = run.ended(PATIENCE).await;
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        let log = self.proxy.log();
        let writes = log.iter().filter(|request| request.is_write());
        (writes.count(), started.elapsed())
    }

    fn recover(&self, verb: Verb, home: &Path, elsewhere: bool) -> CommandOutput {
        let mut words = match verb {
            Verb::Resume => vec!["resume".to_owned()],
            Verb::Undo => vec!["undo".to_owned(), "--yes".to_owned()],
        };
        if elsewhere {
            for image in self.project.images() {
                words.push(format!("--from={}/{image}", self.proxy.address()));
            }
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = self.project.verb(&words);
        self.project.run(command.env("HOME", home))
    }

    /// Runs one case. Returns what is wrong.
    async fn case(&self, number: u64, case: Case, counts: &mut Counts) -> Result<(), String> {
        let contents: RegistryContents = self.registry.contents();
        let before = self.project.latest(&contents).await;
        let name = format!("case-{number}");
        let release = Release::of(&self.project.commit(&name), number + 1000);
        let home = self.home(&name);
        self.proxy.clear().await;

        let mut command = self.project.command(&release, &[]);
        let gate = match case.kill {
            Kill::At(stage, nth) => Gate::new(stage, nth, ProxiedRequest::is_write),
            Kill::After(_) => Gate::new(Stage::Before, usize::MAX, ProxiedRequest::is_write),
        };
        self.proxy.set_hook(Some(gate.hook()));
        let mut run = Run::start(command.env("HOME", &home));
        tokio::select! {
            () = gate.reached() => {}
            () = wait(case.kill) => {}
            () = run.until_ended() => {}
        }
        let is_late = run.has_ended();
        run.signal(Signal::KILL);
        let ended = run.ended(PATIENCE).await;
        // The registry has not seen the request, or its answer is lost.
        gate.release(Verdict::Reset);
        self.proxy.quiet().await;
        self.proxy.set_hook(None);
        if is_late && ended.status.code() != Some(0) {
            return Err(format!("the run failed by itself:\n{}", ended.stderr));
        }
        match case.kill {
            _ if is_late => counts.late += 1,
            Kill::At(Stage::Before, _) => counts.before += 1,
            Kill::At(Stage::After, _) => counts.after += 1,
            Kill::After(_) => counts.random += 1,
        }
        witness(&self.proxy.log(), &release)?;
        let state = self.project.state(&contents, &release, &before).await;
        let killed = format!("after the kill: {state:?}");
        if is_late && state != ReleaseState::New {
            return Err(format!("the run ended by itself: {killed}"));
        }

        let mut output = None;
        if case.elsewhere {
            let empty = self.home(&format!("{name}-empty"));
            let found = self.recover(case.verb, &empty, true);
            if found.code == Some(0) {
                counts.from_record += 1;
                output = Some(found);
            } else {
                let is_none =
                    found.code == Some(2) && found.stderr.contains("no run was interrupted");
                // Without a record, nothing may be half done.
                let is_mixed = matches!(state, ReleaseState::Mixed(_));
                if !is_none || is_mixed {
                    return Err(format!("{killed}\n--from: {found}"));
                }
                counts.without_record += 1;
            }
        }
        let is_elsewhere = output.is_some();
        let output = match output {
            Some(output) => output,
            None => self.recover(case.verb, &home, false),
        };
        let is_none = output.code == Some(2) && output.stderr.contains("no run was interrupted");
        if output.code != Some(0) && !is_none {
            return Err(format!("{killed}\n{output}"));
        }
        let state = self.project.state(&contents, &release, &before).await;
        let is_undone = case.verb == Verb::Undo && !is_none;
        match &state {
            ReleaseState::New if !is_undone => counts.new += 1,
            ReleaseState::Old => counts.old += 1,
            _ => return Err(format!("{killed}\nthen {state:?}\n{output}")),
        }
        if !is_none {
            match case.verb {
                Verb::Resume => counts.resumed += 1,
                Verb::Undo => counts.undone += 1,
            }
        }
        self.whole(&contents).await;
        if is_elsewhere {
            // The machine of the run does not know yet that it was recovered.
            let late = self.recover(Verb::Resume, &home, false);
            let after = self.project.state(&contents, &release, &before).await;
            let is_wrong =
                matches!(after, ReleaseState::Mixed(_)) || !matches!(late.code, Some(0 | 2));
            if is_wrong {
                return Err(format!("{killed}\nthen {state:?}\nlater {after:?}\n{late}"));
            }
            counts.recovered_twice += usize::from(after != state);
        }
        Ok(())
    }

    async fn whole(&self, contents: &RegistryContents) {
        for image in self.project.images() {
            contents.assert_whole(image, "latest").await;
        }
    }
}

async fn wait(kill: Kill) {
    match kill {
        Kill::At(..) => std::future::pending().await,
        Kill::After(time) => tokio::time::sleep(time).await,
    }
}

/// The record in the body of a request that writes one.
fn record(request: &ProxiedRequest) -> Option<Value> {
    let manifest: Value = serde_json::from_slice(&request.body).ok()?;
    let text = manifest["annotations"]["vnd.rbake.journal"].as_str()?;
    serde_json::from_str(text).ok()
}

/// Checks that each mutable tag that moved was recorded in the registry before, with where it pointed.
fn witness(log: &[ProxiedRequest], release: &Release) -> Result<(), String> {
    let [_, mutable @ ..] = release.tags();
    for set in log {
        let Some(tag) = mutable.iter().find(|tag| set.sets(tag)) else {
            continue;
        };
        let is_record = |request: &&ProxiedRequest| {
            request.repository() == set.repository()
                && request.succeeded()
                && request.ended.is_some_and(|ended| ended < set.began)
        };
        let names = |record: &Value| {
            let entries = record["entries"].as_array();
            let mut entries = entries.into_iter().flatten();
            record["status"] == "moving" && entries.any(|entry| entry["tag"] == tag.as_str())
        };
        let mut records = log.iter().filter(is_record).filter_map(record);
        if !records.any(|record| names(&record)) {
            return Err(format!(
                "`{tag}` moved before the record: {} {}",
                set.method, set.path
            ));
        }
    }
    Ok(())
}

/// All cases for a run with `writes` requests that write, which takes the time `usual`.
fn all(writes: usize, usual: Duration) -> Vec<Case> {
    let mut random = SplitMix::new(17);
    let positions = (0..writes).flat_map(|nth| {
        [Stage::Before, Stage::After].map(|stage| (Kill::At(stage, nth), nth, stage))
    });
    let mut cases: Vec<Case> = positions
        .map(|(kill, nth, stage)| Case {
            kill,
            verb: [Verb::Resume, Verb::Undo][nth % 2],
            elsewhere: (nth / 2 % 2 == 0) == (stage == Stage::Before),
        })
        .collect();
    let usual = u64::try_from(usual.as_micros()).unwrap();
    cases.extend((0..RANDOM).map(|_| Case {
        kill: Kill::After(Duration::from_micros(random.below(0..usual))),
        verb: *random.pick(&[Verb::Resume, Verb::Undo]),
        elsewhere: random.below(0..2) == 0,
    }));
    // A part of the campaign then has cases of all kinds.
    for at in (1..cases.len()).rev() {
        let other = random.below(0..at as u64 + 1);
        cases.swap(at, usize::try_from(other).unwrap());
    }
    cases
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn after_a_kill_at_any_request_all_tags_are_new_or_all_are_old() {
    let mut world = World::new().await;
    let (writes, usual) = world.publish("second", 1).await;
    let cases = all(writes, usual);
    let mut counts = Counts::default();
    let mut failures = Vec::new();
    let mut kinds = BTreeSet::new();
    for seed in seeds(cases.len() as u64) {
        let case = cases[usize::try_from(seed).unwrap()];
        kinds.insert(format!("{:?} {}", case.verb, case.elsewhere));
        if let Err(failure) = world.case(seed, case, &mut counts).await {
            failures.push(format!("seed {seed}, {case:?}: {failure}"));
            world = World::new().await;
        }
    }
    report(
        "publish_kill",
        &format!(
            "{writes} requests that write, usually {usual:?}; {} kinds of recovery; {counts:?}; {} failures",
            kinds.len(),
            failures.len()
        ),
    );
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
