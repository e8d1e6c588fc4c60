//! Two runs of one commit, whose images differ, publish at the same time. One is held at each of its requests while the
//! other runs to its end. Afterwards, the immutable tag of each image names the image of one of them, and the other one
//! has said that it does not name its own.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::{report, seeds};
use crate::support::distribution::{DistributionRegistry, Version};
use crate::support::interrupted::{Ended, Run};
use crate::support::registry_faults::Gate;
use crate::support::registry_proxy::{ProxiedRequest, RegistryProxy, Stage, Verdict};
use crate::support::releases::{Release, ReleaseProject};
use crate::support::splitmix::SplitMix;

const PATIENCE: Duration = Duration::from_secs(120);
const METADATA: [&str; 2] = ["--metadata-file", "metadata.json"];

#[derive(Debug, Default)]
struct Counts {
    held: usize,
    late: usize,
    kept_for_the_held_run: usize,
    kept_for_the_other_run: usize,
}

struct World {
    registry: DistributionRegistry,
    proxy: RegistryProxy,
    origin: ReleaseProject,
    twins: [ReleaseProject; 2],
    build: u64,
}

impl World {
    async fn new() -> Self {
        let registry = DistributionRegistry::start(Version::V3);
        let proxy = RegistryProxy::start(&registry.address).await;
        let origin = ReleaseProject::new(&proxy.address(), "team", 2);
        origin.commit("first");
        Self {
            twins: [origin.cloned(None), origin.cloned(None)],
            registry,
            proxy,
            origin,
            build: 0,
        }
    }

    /// Two builds of a new commit, with different base images.
    fn next(&mut self) -> [Release; 2] {
        self.build += 1;
        let commit = self.origin.commit(&format!("build {}", self.build));
        for twin in &self.twins {
            twin.check_out(&commit);
        }
        ["1", "2"].map(|base| Release {
            base: base.to_owned(),
            ..Release::of(&commit, self.build)
        })
    }

    /// The number of rbake's requests in a run that publishes new images.
    async fn requests(&mut self) -> usize {
        let [release, _] = self.next();
        self.proxy.clear().await;
        let output = self.twins[0].publish(&release, &[]);
        assert_eq!(output.code, Some(0), "{output}");
        let log = self.proxy.log();
        log.iter().filter(|request| request.is_from_rbake()).count()
    }

    /// Holds the first run at its `nth` request. Returns what is wrong.
    async fn case(&mut self, stage: Stage, nth: usize, counts: &mut Counts) -> Result<(), String> {
        let releases = self.next();
        self.proxy.clear().await;
        let [first, second] =
            [0, 1].map(|twin| self.twins[twin].command(&releases[twin], &METADATA));
        let gate = Gate::new(stage, nth, ProxiedRequest::is_from_rbake);
        self.proxy.set_hook(Some(gate.hook()));
        let mut first = Run::start(&first);
        tokio::select! {
            () = gate.reached() => {}
            () = first.until_ended() => {}
        }
        counts.held += 1;
        counts.late += usize::from(!gate.was_reached());
        let second = Run::start(&second).ended(PATIENCE).await;
        gate.release(Verdict::Pass);
        let ends = [first.ended(PATIENCE).await, second];
        self.proxy.quiet().await;
        self.proxy.set_hook(None);
        for end in &ends {
            succeeded(end)?;
        }

        let contents = self.registry.contents();
        for (image, target) in self.origin.images().iter().zip(["a", "b"]) {
            let tag = &releases[0].commit;
            let is = contents.digest(image, tag).await;
            let images = [0, 1].map(|twin| published(&self.twins[twin].path(), target));
            let owner = images.iter().position(|published| *published == is);
            let Some(owner) = owner else {
                return Err(format!("`{image}:{tag}` is {is:?}, not one of {images:?}"));
            };
            let other = 1 - owner;
            let says_so = ends[other]
                .stderr
                .contains(&format!("{image}:{tag}` stays"));
            if images[other] != is && !says_so {
                return Err(format!(
                    "`{image}:{tag}` is of run {owner}, and the other one does not know:\n{}\n{}",
                    ends[other].stderr, ends[owner].stderr
                ));
            }
            let kept = [
                &mut counts.kept_for_the_held_run,
                &mut counts.kept_for_the_other_run,
            ];
            for (run, count) in kept.into_iter().enumerate() {
                *count += usize::from(run == owner);
            }
        }
        Ok(())
    }
}

/// The digest that the metadata file in `dir` names for `target`.
fn published(dir: &Path, target: &str) -> Option<String> {
    let text = std::fs::read(dir.join("metadata.json")).unwrap();
    let metadata: Value = serde_json::from_slice(&text).unwrap();
    let digest = metadata[target]["containerimage.digest"].as_str();
    digest.map(str::to_owned)
}

fn succeeded(ended: &Ended) -> Result<(), String> {
    if ended.status.code() == Some(0) {
        Ok(())
    } else {
        Err(format!("{:?}: {}", ended.status, ended.stderr))
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn of_two_runs_of_one_commit_one_has_the_immutable_tags_and_the_other_says_so() {
    let mut world = World::new().await;
    let requests = world.requests().await;
    let mut cases: Vec<(Stage, usize)> = (0..requests)
        .flat_map(|nth| [Stage::Before, Stage::After].map(|stage| (stage, nth)))
        .collect();
    let mut random = SplitMix::new(29);
    for at in (1..cases.len()).rev() {
        let other = random.below(0..at as u64 + 1);
        cases.swap(at, usize::try_from(other).unwrap());
    }
    let mut counts = Counts::default();
    let mut failures = Vec::new();
    for seed in seeds(cases.len() as u64) {
        let (stage, nth) = cases[usize::try_from(seed).unwrap()];
        if let Err(failure) = world.case(stage, nth, &mut counts).await {
            failures.push(format!("seed {seed}, {stage:?} {nth}: {failure}"));
            world = World::new().await;
        }
    }
    report(
        "publish_twins",
        &format!(
            "runs with {requests} requests: {counts:?}; {} failures",
            failures.len()
        ),
    );
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
