//! Checks that the proxy of `support::registry_proxy` is like the real registry behind it.

use std::process::Command;
use std::time::{Duration, Instant};

use http::StatusCode;
use test_case::test_case;

use crate::support::distribution::{DistributionRegistry, Version};
use crate::support::peers;
use crate::support::registry_faults::{Faults, Gate};
use crate::support::registry_proxy::{RegistryProxy, Stage, Verdict, delay};

async fn crane(arguments: &[&str]) -> Result<String, String> {
    let program = peers::program("RBAKE_TEST_CRANE");
    let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
    let run = move || Command::new(program).args(arguments).output().unwrap();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

/// The image that tests of this file copy, which has layers of some megabytes.
fn busybox() -> String {
    format!(
        "{}/library/busybox",
        peers::peer("RBAKE_TEST_REGISTRY_ADDR")
    )
}

#[test_case(Version::V2; "distribution 2.8")]
#[test_case(Version::V3; "distribution 3")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn images_are_pushed_and_pulled_through_the_proxy(version: Version) {
    let registry = DistributionRegistry::start(version);
    let proxy = RegistryProxy::start(&registry.address).await;
    let source = busybox();
    let target = format!("{}/copy", proxy.address());
    crane(&["copy", "--insecure", &source, &target])
        .await
        .unwrap();
    let digest = |name: String| async move { crane(&["digest", "--insecure", &name]).await };
    assert_eq!(digest(target.clone()).await, digest(source).await);
    // `validate` reads every blob, and compares digests.
    crane(&["validate", "--insecure", "--remote", &target])
        .await
        .unwrap();
    registry.contents().assert_whole("copy", "latest").await;

    let log = proxy.log();
    assert!(log.iter().any(|request| request.sets("latest")), "{log:?}");
    assert!(log.iter().all(|request| request.ended.is_some()));
    let numbers: Vec<usize> = log.iter().map(|request| request.number).collect();
    assert_eq!(numbers, (0..log.len()).collect::<Vec<_>>());
    let repositories = log.iter().filter_map(|request| request.repository());
    assert!(repositories.into_iter().all(|name| name == "copy"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_held_request_has_no_effect_before_it_is_passed_on_and_its_effect_afterwards() {
    let registry = DistributionRegistry::start(Version::V3);
    let proxy = RegistryProxy::start(&registry.address).await;
    let source = busybox();
    for (stage, tag, exists_then) in [
        (Stage::Before, "before", false),
        (Stage::After, "after", true),
    ] {
        let exists = async || registry.contents().digest("copy", tag).await.is_some();
        let gate = Gate::new(stage, 0, |request| request.sets(tag));
        proxy.set_hook(Some(gate.hook()));
        let target = format!("{}/copy:{tag}", proxy.address());
        let copy = ["copy", "--insecure", &source, &target];
        let (copied, ()) = tokio::join!(crane(&copy), async {
            gate.reached().await;
            assert_eq!(exists().await, exists_then, "{stage:?}");
            gate.release(Verdict::Pass);
        });
        copied.unwrap();
        assert!(exists().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn requests_are_delayed_lost_cut_and_answered_by_the_proxy() {
    let registry = DistributionRegistry::start(Version::V3);
    let proxy = RegistryProxy::start(&registry.address).await;
    let target = format!("{}/copy:1", proxy.address());
    crane(&["copy", "--insecure", &busybox(), &target])
        .await
        .unwrap();
    proxy.set_hook(Some(delay(Duration::from_millis(300))));
    let started = Instant::now();
    crane(&["manifest", "--insecure", &target]).await.unwrap();
    assert!(started.elapsed() > Duration::from_millis(300));

    let cases = [
        (Stage::Before, Verdict::Reset, "connection reset by peer"),
        (Stage::After, Verdict::Reset, "connection reset by peer"),
        (Stage::After, Verdict::Cut, "connection reset by peer"),
        (
            Stage::Before,
            Verdict::Answer {
                status: StatusCode::IM_A_TEAPOT,
                retry_after: Some(1),
            },
            "418",
        ),
    ];
    for (stage, verdict, expected) in cases {
        let is_manifest = |request: &crate::support::registry_proxy::ProxiedRequest| {
            request.manifest() == Some("1")
        };
        proxy.set_hook(Some(std::sync::Arc::new(move |at, request| {
            let hit = at == stage && is_manifest(&request);
            Box::pin(async move { if hit { verdict } else { Verdict::Pass } })
        })));
        let error = crane(&["manifest", "--insecure", &target])
            .await
            .unwrap_err();
        assert!(error.contains(expected), "{verdict:?}: {error}");
    }

    // Only rbake's requests fail.
    let faults = Faults::new(1, 100);
    proxy.set_hook(Some(faults.hook()));
    crane(&["manifest", "--insecure", &target]).await.unwrap();
    assert!(faults.counts().is_empty());
}
