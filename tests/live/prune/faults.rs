//! A prune that is killed, meets another one or a tag that moves, and registries that fail.

use std::time::Duration;

use http::Method;
use rustix::process::Signal;
use test_case::test_case;

use super::site::{PruneSite, WEB};
use crate::support::distribution::Version;
use crate::support::interrupted::{Ended, Run};
use crate::support::registry_faults::{Faults, Gate};
use crate::support::registry_proxy::{ProxiedRequest, RegistryProxy, Stage, Verdict};

const V2: Version = Version::V2;
const V3: Version = Version::V3;
const PATIENCE: Duration = Duration::from_secs(60);

fn is_deletion(request: &ProxiedRequest) -> bool {
    // Before it begins, rbake asks for the deletion of a digest and a tag that do not exist. The lease has a tag.
    request.method == Method::DELETE
}

/// The deletions before the first step: two questions.
const QUESTIONS: usize = 2;

fn is_lease(request: &ProxiedRequest) -> bool {
    let name = request.manifest().unwrap_or_default();
    request.method == Method::PUT && name.starts_with("rbake-prune-")
}

/// Runs the prune through a proxy until it is at the request that `gate` holds.
async fn held(site: &PruneSite, gate: &Gate) -> (RegistryProxy, Run) {
    let proxy = RegistryProxy::start(&site.registry.address).await;
    proxy.set_hook(Some(gate.hook()));
    let run = Run::start(&site.command(&proxy.address(), &["--yes"]));
    tokio::time::timeout(PATIENCE, gate.reached())
        .await
        .unwrap();
    (proxy, run)
}

async fn ended(run: Run) -> Ended {
    run.ended(PATIENCE).await
}

/// Runs the prune through the proxy, which makes no faults any more. The registry must have the same name as before.
async fn again(site: &PruneSite, proxy: &RegistryProxy) -> Ended {
    ended(Run::start(&site.command(&proxy.address(), &["--yes"]))).await
}

#[test_case(V2, Stage::Before; "distribution 2, before")]
#[test_case(V2, Stage::After; "distribution 2, after")]
#[test_case(V3, Stage::Before; "distribution 3, before")]
#[test_case(V3, Stage::After; "distribution 3, after")]
#[ignore = "needs live peers"]
#[tokio::test]
async fn a_prune_that_is_killed_at_any_deletion_is_ended_by_the_next(
    version: Version,
    stage: Stage,
) {
    for step in [0, 1, 7, 20] {
        let site = PruneSite::new(version).await;
        let plan = site.plan();
        let gate = Gate::new(stage, QUESTIONS + step, is_deletion);
        let (proxy, run) = held(&site, &gate).await;
        run.signal(Signal::KILL);
        ended(run).await;
        gate.release(Verdict::Pass);
        proxy.quiet().await;
        proxy.set_hook(None);
        site.assert_kept(&plan).await;
        site.assert_nothing_broken().await;
        // Its lease is there, but this machine knows that it is dead.
        let output = again(&site, &proxy).await;
        assert_eq!(output.status.code(), Some(0), "at {step}: {output:?}");
        site.registry.collect_garbage();
        site.assert_done(&plan).await;
        let tags = site.contents.tags(WEB).await;
        assert_eq!(tags.len(), 5, "at {step}: {output:?}");
    }
}

#[test_case(V2; "distribution 2")]
#[test_case(V3; "distribution 3")]
#[ignore = "needs live peers"]
#[tokio::test]
async fn an_interrupted_prune_ends_its_step_and_its_lease(version: Version) {
    let site = PruneSite::new(version).await;
    let plan = site.plan();
    let gate = Gate::new(Stage::Before, QUESTIONS + 3, is_deletion);
    let (_proxy, run) = held(&site, &gate).await;
    run.signal(Signal::INT);
    tokio::time::sleep(Duration::from_millis(200)).await;
    gate.release(Verdict::Pass);
    let ended = ended(run).await;
    assert_eq!(ended.status.code(), Some(130), "{ended:?}");
    assert!(ended.stderr.contains("was interrupted"), "{ended:?}");
    let tags = site.contents.tags(WEB).await;
    assert!(
        !tags.iter().any(|tag| tag.starts_with("rbake-prune")),
        "{tags:?}"
    );
    site.assert_kept(&plan).await;
    site.assert_nothing_broken().await;
}

#[test_case(V2; "distribution 2")]
#[test_case(V3; "distribution 3")]
#[ignore = "needs live peers"]
#[tokio::test]
async fn of_two_prunes_at_once_one_is_refused(version: Version) {
    let site = PruneSite::new(version).await;
    let plan = site.plan();
    let gate = Gate::new(Stage::Before, QUESTIONS, is_deletion);
    let (proxy, run) = held(&site, &gate).await;
    let second = site.prune(&["--yes"]);
    assert_eq!(second.code, Some(5), "{second}");
    assert!(second.stderr.contains("prune::leased"), "{second}");
    gate.release(Verdict::Pass);
    let first = ended(run).await;
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    drop(proxy);
    site.registry.collect_garbage();
    site.assert_done(&plan).await;
}

#[ignore = "needs live peers"]
#[tokio::test]
async fn of_many_prunes_at_once_at_most_one_works() {
    let site = PruneSite::new(V3).await;
    let plan = site.plan();
    let runs: Vec<Run> = (0..4)
        .map(|number| {
            // Each is on a machine of its own.
            let mut command = site.command(&site.registry.address, &["--yes"]);
            command.env(
                "RBAKE_STATE_DIR",
                site.project.path().join(number.to_string()),
            );
            Run::start(&command)
        })
        .collect();
    let mut done = 0;
    for run in runs {
        let ended = ended(run).await;
        match ended.status.code() {
            // One that comes late finds nothing to delete.
            Some(0) => done += 1,
            code => {
                assert_eq!(code, Some(5), "{ended:?}");
                // `closed`: another run has deleted a tag between the list of tags and the look at its manifest.
                let known = [
                    "prune::leased",
                    "prune::changed",
                    "prune::failed",
                    "prune::closed",
                ];
                let is_known = known.iter().any(|code| ended.stderr.contains(code));
                assert!(is_known, "{ended:?}");
            }
        }
    }
    assert!(done >= 1);
    site.registry.collect_garbage();
    site.assert_done(&plan).await;
}

#[test_case(V2; "distribution 2")]
#[test_case(V3; "distribution 3")]
#[ignore = "needs live peers"]
#[tokio::test]
async fn a_tag_that_moves_between_plan_and_apply_prevents_the_prune(version: Version) {
    let site = PruneSite::new(version).await;
    let before = site.contents.tags(WEB).await;
    let gate = Gate::new(Stage::Before, 0, is_lease);
    let (_proxy, run) = held(&site, &gate).await;
    site.contents.set(WEB, "build-1", "latest").await;
    gate.release(Verdict::Pass);
    let ended = ended(run).await;
    assert_eq!(ended.status.code(), Some(5), "{ended:?}");
    assert!(ended.stderr.contains("prune::changed"), "{ended:?}");
    assert_eq!(site.contents.tags(WEB).await, before);
    site.assert_nothing_broken().await;
}

#[test_case(V2; "distribution 2")]
#[test_case(V3; "distribution 3")]
#[ignore = "needs live peers"]
#[tokio::test]
async fn a_tag_that_is_set_during_a_prune_keeps_its_image(version: Version) {
    let site = PruneSite::new(version).await;
    let plan = site.plan();
    let steps = plan["repositories"][0]["steps"].as_array().unwrap();
    // The first deletion, that of a signature, is on its way when the tag is set.
    let first = steps[0]["tags"][0]["tag"].as_str().unwrap();
    let indexes = steps.iter().filter(|step| step["kind"] == "index");
    let mut digests = indexes.map(|index| index["digest"].as_str().unwrap());
    let last = digests.find(|digest| first != format!("{}.sig", digest.replace(':', "-")));
    let last = last.unwrap().to_owned();
    let gate = Gate::new(Stage::Before, QUESTIONS, is_deletion);
    let (_proxy, run) = held(&site, &gate).await;
    site.contents.set(WEB, &last, "rolled-back").await;
    gate.release(Verdict::Pass);
    let ended = ended(run).await;
    assert_eq!(ended.status.code(), Some(5), "{ended:?}");
    assert!(ended.stderr.contains("prune::partial"), "{ended:?}");
    site.registry.collect_garbage();
    site.contents.assert_whole(WEB, "rolled-back").await;
    // Its signature and its platforms are there, too.
    let signature = format!("{}.sig", last.replace(':', "-"));
    site.contents.assert_whole(WEB, &signature).await;
    site.assert_kept(&plan).await;
    site.assert_nothing_broken().await;
    // The others are gone.
    let tags = site.tags().await;
    assert!(tags.len() < 6, "{tags:?}");
}

#[test_case(V2; "distribution 2")]
#[test_case(V3; "distribution 3")]
#[ignore = "needs live peers"]
#[tokio::test]
async fn a_registry_that_fails_often_loses_nothing_that_stays(version: Version) {
    let mut complete = 0;
    for seed in 0..6 {
        let site = PruneSite::new(version).await;
        let plan = site.plan();
        let proxy = RegistryProxy::start(&site.registry.address).await;
        proxy.set_hook(Some(Faults::new(seed, 20).hook()));
        let run = Run::start(&site.command(&proxy.address(), &["--yes"]));
        let ended = run.ended(Duration::from_secs(180)).await;
        proxy.set_hook(None);
        match ended.status.code() {
            Some(0) => {
                complete += 1;
                site.assert_done(&plan).await;
            }
            code => assert_eq!(code, Some(5), "seed {seed}: {ended:?}"),
        }
        site.assert_kept(&plan).await;
        site.assert_nothing_broken().await;
        let output = again(&site, &proxy).await;
        let code = output.status.code();
        assert_eq!(code, Some(0), "seed {seed}: {output:?}\n{ended:?}");
        site.registry.collect_garbage();
        site.assert_done(&plan).await;
    }
    // Repetitions are limited, so some runs give up.
    assert!(complete > 0);
}
