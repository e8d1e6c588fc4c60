//! Two runs of rbake publish different commits at the same time. One is held at each of its requests, or stopped, while
//! the other runs to its end. Afterwards, `latest` must point to the images of the newer commit.
//!
//! One window is known: a run of the older commit that never continues after it has set `latest`. `rbake resume` closes
//! it.

use std::time::Duration;

use http::Method;
use rustix::process::Signal;
use serde_json::Value;

use super::{report, seeds};
use crate::support::distribution::{DistributionRegistry, RegistryContents, Version};
use crate::support::interrupted::{Ended, Run};
use crate::support::registry_faults::Gate;
use crate::support::registry_proxy::{ProxiedRequest, RegistryProxy, Stage, Verdict};
use crate::support::releases::{REVISION, Release, ReleaseProject};
use crate::support::splitmix::SplitMix;

const IMAGES: u8 = 2;
const PATIENCE: Duration = Duration::from_secs(120);

/// The run of which commit waits for the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Older,
    Newer,
}

/// What happens to the run that waits.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Its nth request is held.
    Held(Stage, usize),
    /// Its process is stopped when the registry has answered its nth `HEAD` of `latest`, its last look before it moves
    /// the tag.
    Stopped(usize),
    /// It is held at its nth `HEAD` of `latest`, and killed when it has set the tag.
    Killed(usize),
}

#[derive(Debug, Default)]
struct Counts {
    held: usize,
    stopped: usize,
    killed: usize,
    late: usize,
    repaired_by_the_run: usize,
    repaired_by_resume: usize,
}

struct World {
    registry: DistributionRegistry,
    proxy: RegistryProxy,
    origin: ReleaseProject,
    older: ReleaseProject,
    newer: ReleaseProject,
    build: u64,
}

impl World {
    async fn new() -> Self {
        let registry = DistributionRegistry::start(Version::V3);
        let proxy = RegistryProxy::start(&registry.address).await;
        let origin = ReleaseProject::new(&proxy.address(), "team", IMAGES);
        let first = Release::of(&origin.commit("first"), 0);
        let output = origin.publish(&first, &[]);
        assert_eq!(output.code, Some(0), "{output}");
        Self {
            older: origin.cloned(None),
            newer: origin.cloned(None),
            registry,
            proxy,
            origin,
            build: 0,
        }
    }

    fn next(&mut self) -> (Release, Release) {
        let mut release = || {
            self.build += 1;
            let commit = self.origin.commit(&format!("build {}", self.build));
            Release::of(&commit, self.build)
        };
        let releases = (release(), release());
        self.older.check_out(&releases.0.commit);
        self.newer.check_out(&releases.1.commit);
        releases
    }

    /// The number of rbake's requests in a run that publishes new images.
    async fn requests(&mut self) -> usize {
        let (_, release) = self.next();
        self.proxy.clear().await;
        let output = self.newer.publish(&release, &[]);
        assert_eq!(output.code, Some(0), "{output}");
        let log = self.proxy.log();
        log.iter().filter(|request| request.is_from_rbake()).count()
    }

    /// Runs one case. Returns what is wrong.
    async fn case(
        &mut self,
        waiting: Waiting,
        way: Way,
        counts: &mut Counts,
    ) -> Result<(), String> {
        let (older, newer) = self.next();
        self.proxy.clear().await;
        let commands = [(&self.older, &older), (&self.newer, &newer)]
            .map(|(project, release)| project.command(release, &[]));
        let [first, second] = match waiting {
            Waiting::Older => [&commands[0], &commands[1]],
            Waiting::Newer => [&commands[1], &commands[0]],
        };
        let gate = match way {
            Way::Held(stage, nth) => Gate::new(stage, nth, ProxiedRequest::is_from_rbake),
            Way::Stopped(look) | Way::Killed(look) => Gate::new(Stage::After, look, |request| {
                request.is_from_rbake()
                    && request.method == Method::HEAD
                    && request.manifest() == Some("latest")
            }),
        };
        self.proxy.set_hook(Some(gate.hook()));
        let mut first = Run::start(first);
        tokio::select! {
            () = gate.reached() => {}
            () = first.until_ended() => {}
        }
        let is_late = !gate.was_reached();
        if let (Way::Stopped(_), false) = (way, is_late) {
            first.signal(Signal::STOP);
            // The answer waits in the buffers of the stopped process.
            gate.release(Verdict::Pass);
        }
        succeeded(&Run::start(second).ended(PATIENCE).await)?;
        let contents = self.registry.contents();
        match way {
            Way::Held(..) => {
                gate.release(Verdict::Pass);
                succeeded(&first.ended(PATIENCE).await)?;
                counts.held += 1;
            }
            Way::Stopped(_) => {
                first.signal(Signal::CONT);
                succeeded(&first.ended(PATIENCE).await)?;
                counts.stopped += 1;
            }
            Way::Killed(_) => {
                // It has set the tags of the other images already.
                let end = Gate::new(Stage::After, 0, |request| request.sets("latest"));
                self.proxy.set_hook(Some(end.hook()));
                gate.release(Verdict::Pass);
                tokio::select! {
                    () = end.reached() => {}
                    () = first.until_ended() => {}
                }
                if !end.was_reached() {
                    return Err(format!("it did not set `latest`: {}", first.stderr()));
                }
                first.signal(Signal::KILL);
                first.ended(PATIENCE).await;
                end.release(Verdict::Reset);
                self.proxy.quiet().await;
                self.proxy.set_hook(None);
                let commits = self.commits(&contents, "latest").await;
                if !commits.contains(&Some(older.commit.clone())) {
                    return Err(format!("the window is not there: {commits:?}"));
                }
                let output = self.older.run(&mut self.older.verb(&["resume"]));
                if output.code != Some(0) {
                    return Err(output.to_string());
                }
                counts.repaired_by_resume += 1;
                counts.killed += 1;
            }
        }
        counts.late += usize::from(is_late);
        self.proxy.quiet().await;
        self.proxy.set_hook(None);

        for (tag, release) in [
            ("latest", &newer),
            (newer.commit.as_str(), &newer),
            (older.commit.as_str(), &older),
        ] {
            let commits = self.commits(&contents, tag).await;
            if commits
                .iter()
                .any(|commit| commit.as_ref() != Some(&release.commit))
            {
                return Err(format!(
                    "older {}, newer {}, but `{tag}` is of {commits:?}\n{}",
                    older.commit,
                    newer.commit,
                    sets(&self.proxy.log())
                ));
            }
        }
        let is_repaired = matches!(way, Way::Held(..) | Way::Stopped(_))
            && was_replaced(&self.proxy.log(), &older, &newer);
        counts.repaired_by_the_run += usize::from(is_repaired);
        Ok(())
    }

    /// The commits of the images to which `tag` points.
    async fn commits(&self, contents: &RegistryContents, tag: &str) -> Vec<Option<String>> {
        let mut commits = Vec::new();
        for image in self.origin.images() {
            let index = contents.json(image, tag).await;
            commits.push(index.as_ref().and_then(commit_of));
        }
        commits
    }
}

fn commit_of(index: &Value) -> Option<String> {
    Some(index["annotations"][REVISION].as_str()?.to_owned())
}

fn succeeded(ended: &Ended) -> Result<(), String> {
    if ended.status.code() == Some(0) {
        Ok(())
    } else {
        Err(format!("{:?}: {}", ended.status, ended.stderr))
    }
}

/// The requests that set `latest`, with the commits.
fn latest(log: &[ProxiedRequest]) -> impl Iterator<Item = (&ProxiedRequest, Option<String>)> {
    let sets = log.iter().filter(|request| request.sets("latest"));
    sets.map(|request| {
        let index = serde_json::from_slice::<Value>(&request.body).ok();
        (request, index.as_ref().and_then(commit_of))
    })
}

fn sets(log: &[ProxiedRequest]) -> String {
    let line = |(request, commit): (&ProxiedRequest, Option<String>)| {
        format!(
            "{:?} {} {commit:?} {:?}",
            request.at, request.path, request.status
        )
    };
    latest(log).map(line).collect::<Vec<_>>().join("\n")
}

/// Whether `latest` of an image was set to the older commit after it was set to the newer one.
fn was_replaced(log: &[ProxiedRequest], older: &Release, newer: &Release) -> bool {
    let of = |release: &Release| {
        let sets = latest(log).filter(|(_, commit)| commit.as_ref() == Some(&release.commit));
        sets.map(|(request, _)| request).collect::<Vec<_>>()
    };
    let (older, newer) = (of(older), of(newer));
    older.iter().any(|old| {
        newer
            .iter()
            .any(|new| new.path == old.path && new.ended < old.ended)
    })
}

/// All cases for runs with `requests` requests.
fn all(requests: usize) -> Vec<(Waiting, Way)> {
    let both = [Waiting::Older, Waiting::Newer];
    let images = 0..usize::from(IMAGES);
    let held = (0..requests)
        .flat_map(|nth| [Stage::Before, Stage::After].map(|stage| Way::Held(stage, nth)));
    let stopped = images.clone().map(Way::Stopped);
    let ways: Vec<Way> = held.chain(stopped).collect();
    let mut cases: Vec<(Waiting, Way)> = ways
        .iter()
        .flat_map(|way| both.map(|waiting| (waiting, *way)))
        .collect();
    cases.extend(images.map(|look| (Waiting::Older, Way::Killed(look))));
    let mut random = SplitMix::new(23);
    for at in (1..cases.len()).rev() {
        let other = random.below(0..at as u64 + 1);
        cases.swap(at, usize::try_from(other).unwrap());
    }
    cases
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_newer_of_two_runs_at_the_same_time_has_the_mutable_tags() {
    let mut world = World::new().await;
    let requests = world.requests().await;
    let cases = all(requests);
    let mut counts = Counts::default();
    let mut failures = Vec::new();
    let mut count = 0;
    for seed in seeds(cases.len() as u64) {
        let (waiting, way) = cases[usize::try_from(seed).unwrap()];
        count += 1;
        if let Err(failure) = world.case(waiting, way, &mut counts).await {
            failures.push(format!("seed {seed}, {waiting:?} {way:?}: {failure}"));
            world = World::new().await;
        }
    }
    report(
        "publish_race",
        &format!(
            "{count} interleavings of runs with {requests} requests: {counts:?}; {} failures",
            failures.len()
        ),
    );
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
