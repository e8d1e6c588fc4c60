//! Publishing to a registry at which a fifth of rbake's requests fail, in all ways that networks and registries have. For
//! some runs, most of them fail.
//!
//! A run that reports success has set all tags. A run that fails names the reason, and after `rbake resume` or `rbake
//! undo`, all tags are new or all are old.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;

use super::{report, seeds};
use crate::support::distribution::{DistributionRegistry, RegistryContents, Version};
use crate::support::interrupted::{Ended, Run};
use crate::support::registry_faults::Faults;
use crate::support::registry_proxy::RegistryProxy;
use crate::support::releases::{Release, ReleaseProject, ReleaseState};

const RUNS: u64 = 1100;
/// How many runs there are at the same time. They mostly wait until they repeat a request.
const AT_ONCE: usize = 6;
/// The share of requests that fail. With it, each request succeeds in the end.
const PERCENT: u64 = 20;
/// One of so many runs has a registry that is nearly down, so that the run fails.
const NEARLY_DOWN: u64 = 11;
const PERCENT_NEARLY_DOWN: u64 = 70;
/// With all its retries, a run may take as long.
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Debug, Default)]
struct Course {
    /// How often each kind of failure happened.
    faults: BTreeMap<&'static str, usize>,
    /// How the run ended: `published`, or the code of its error.
    end: String,
    /// What the recovery led to, if there was one.
    recovery: Option<&'static str>,
    /// What is wrong.
    failure: Option<String>,
}

/// Publishes a release without faults, and one with them.
async fn publish(seed: u64, registry: &str) -> Course {
    let proxy = RegistryProxy::start(registry).await;
    let project = ReleaseProject::new(&proxy.address(), &format!("seed-{seed}"), 1);
    let contents = RegistryContents::of(registry);
    let first = Release::of(&project.commit("first"), 1);
    let ended = run(&project, &first).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let before = project.latest(&contents).await;

    let release = Release::of(&project.commit("second"), 2);
    let percent = if seed.is_multiple_of(NEARLY_DOWN) {
        PERCENT_NEARLY_DOWN
    } else {
        PERCENT
    };
    let faults = Faults::new(seed, percent);
    proxy.set_hook(Some(faults.hook()));
    let ended = run(&project, &release).await;
    proxy.quiet().await;
    proxy.set_hook(None);
    let mut course = Course {
        faults: faults.counts(),
        ..Course::default()
    };
    let state = project.state(&contents, &release, &before).await;
    if ended.status.code() == Some(0) {
        let by_builder = ended.stderr.contains("publish::by-builder");
        let name = ["published", "published by the builder"][usize::from(by_builder)];
        name.clone_into(&mut course.end);
        if state != ReleaseState::New {
            course.failure = Some(format!("success, but {state:?}\n{}", ended.stderr));
        }
        return course;
    }
    let Some(end) = named(&ended) else {
        course.failure = Some(format!("an error without a name: {ended:?}"));
        return course;
    };
    course.end = end;
    let words: &[&str] = if (seed / 2).is_multiple_of(2) {
        &["resume"]
    } else {
        &["undo", "--yes"]
    };
    let output = project.run(&mut project.verb(words));
    let is_none = output.code == Some(2) && output.stderr.contains("no run was interrupted");
    let after = project.state(&contents, &release, &before).await;
    course.recovery = Some(match &after {
        _ if is_none => "nothing to do",
        ReleaseState::New => "new",
        ReleaseState::Old => "old",
        ReleaseState::Mixed(_) => "mixed",
    });
    let is_right = !matches!(after, ReleaseState::Mixed(_)) && (is_none || output.code == Some(0));
    if !is_right {
        course.failure = Some(format!(
            "{}\nfirst {state:?}\nafter {words:?} {after:?}\n{output}",
            ended.stderr
        ));
    }
    course
}

async fn run(project: &ReleaseProject, release: &Release) -> Ended {
    Run::start(&project.command(release, &[]))
        .ended(PATIENCE)
        .await
}

/// The name of the error with which a run ended. `None` if it has no name, or it ended in another way.
fn named(ended: &Ended) -> Option<String> {
    let code = ended.status.code()?;
    let stderr = &ended.stderr;
    let name = ["publish::failed", "publish::denied"]
        .into_iter()
        .find(|name| stderr.contains(name))
        .or_else(|| {
            let text = "cannot publish the image of";
            stderr.contains(text).then_some("the failure of the target")
        })?;
    Some(format!("{name}, exit code {code}"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn runs_with_failing_requests_end_right_or_with_a_named_error() {
    let registries = [Version::V2, Version::V3].map(DistributionRegistry::start);
    let courses: Vec<(u64, Course)> = futures_util::stream::iter(seeds(RUNS))
        .map(|seed| {
            let registry = &registries[usize::try_from(seed % 2).unwrap()].address;
            async move { (seed, publish(seed, registry).await) }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut faults: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    let mut recoveries: BTreeMap<&str, usize> = BTreeMap::new();
    let mut failures = Vec::new();
    for (seed, course) in &courses {
        for (fault, count) in &course.faults {
            *faults.entry(fault).or_default() += count;
        }
        *ends.entry(&course.end).or_default() += 1;
        if let Some(recovery) = course.recovery {
            *recoveries.entry(recovery).or_default() += 1;
        }
        failures.extend(
            course
                .failure
                .as_ref()
                .map(|failure| format!("seed {seed}: {failure}")),
        );
    }
    report(
        "publish_faults",
        &format!(
            "{} publishes, ended as {ends:?}, recovered as {recoveries:?}; failed requests {faults:?}; {} failures",
            courses.len(),
            failures.len()
        ),
    );
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
