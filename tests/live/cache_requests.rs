//! What caches in registries cost in requests, and what their manifests say.

use std::fmt::Write as _;

use crate::support::bakers::{Baker, Bakers};
use crate::support::buildkitd::Buildkitd;
use crate::support::distribution::RegistryContents;
use crate::support::peers;
use crate::support::project::TestProject;
use crate::support::registry_proxy::{ProxiedRequest, RegistryProxy};

/// `count` targets of one Dockerfile with one cache.
fn project(count: usize, from: &str, to: &str) -> TestProject {
    let mut dockerfile = "FROM busybox AS base\nRUN date > /base\n".to_owned();
    let mut definition = String::new();
    let mut names = Vec::new();
    for target in 0..count {
        write!(
            dockerfile,
            "FROM base AS t{target}\nRUN date > /t{target}\n"
        )
        .unwrap();
        write!(definition, "target \"t{target}\" {{\n  target = \"t{target}\"\n  output = [\"type=image\"]\n  cache-from = [{from}]\n  cache-to = [{to}]\n}}\n").unwrap();
        names.push(format!("t{target}"));
    }
    write!(
        definition,
        "group \"default\" {{\n  targets = {names:?}\n}}\n"
    )
    .unwrap();
    TestProject::new()
        .file("Dockerfile", dockerfile)
        .file("docker-bake.hcl", definition)
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
}

fn of_cache(proxy: &RegistryProxy, name: &str) -> Vec<ProxiedRequest> {
    let log = proxy.log().into_iter();
    log.filter(|request| request.repository() == Some(name))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_cache_of_one_target_says_whose_it_is_and_costs_one_request_if_nothing_changed() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let proxy = RegistryProxy::start(&registry).await;
    let builder = Buildkitd::start_with_images().await;
    let name = format!("cache-of-one-{}", std::process::id());
    let entry = format!("\"type=registry,ref={}/{name}:c\"", proxy.address());
    let project = project(1, "", &entry.replace(":c", ":c,mode=max"))
        .env("BUILDKIT_HOST", builder.endpoint())
        .env("GITHUB_REF", "refs/pull/17/merge")
        .env("GITHUB_HEAD_REF", "feature/x");
    let first = project.rbake(&[]);
    assert_eq!(first.code, Some(0), "{first}");
    let told = format!("{}/{name}:c  steps of 1 target", proxy.address());
    assert!(first.stderr.contains(&told), "{first}");
    let contents = RegistryContents::of(&registry);
    let manifest = contents.json(&name, "c").await.unwrap();
    let annotations = &manifest["annotations"];
    for (key, value) in [
        ("vnd.rbake.cache.target", "t0"),
        ("vnd.rbake.cache.branch", "feature/x"),
        ("vnd.rbake.cache.pull-request", "17"),
    ] {
        assert_eq!(annotations[key], value, "{manifest}");
    }
    assert!(
        annotations["org.opencontainers.image.created"].is_string(),
        "{manifest}"
    );
    proxy.clear().await;
    let again = project.rbake(&[]);
    assert_eq!(again.code, Some(0), "{again}");
    let requests = of_cache(&proxy, &name);
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert!(requests[0].is_from_rbake(), "{requests:?}");
    drop(builder);
    let empty = Buildkitd::start_with_images().await;
    let bakers = Bakers::on(&empty.endpoint().to_string());
    let from = format!("*.cache-from=type=registry,ref={registry}/{name}:c");
    let arguments = ["--set", &from, "--set", "*.cache-to="];
    let imported = bakers.bake(Baker::Buildx, &project, &arguments);
    assert_eq!(imported.code, Some(0), "{imported}");
    assert!(imported.stderr.matches("CACHED").count() >= 1, "{imported}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn each_target_reads_each_import_once_as_with_buildx_and_rbake_looks_once() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let proxy = RegistryProxy::start(&registry).await;
    let name = format!("cache-imports-{}", std::process::id());
    let entry = format!("\"type=registry,ref={}/{name}:c\"", proxy.address());
    let builder = Buildkitd::start_with_images().await;
    let filled = project(4, "", &entry.replace(":c", ":c,mode=max"));
    let filled = filled.env("BUILDKIT_HOST", builder.endpoint());
    let output = filled.rbake(&[]);
    assert_eq!(output.code, Some(0), "{output}");
    drop(builder);
    let mut counts = Vec::new();
    for baker in [Baker::Buildx, Baker::Rbake] {
        let empty = Buildkitd::start_with_images().await;
        let bakers = Bakers::on(&empty.endpoint().to_string());
        proxy.clear().await;
        let output = bakers.bake(baker, &project(4, &entry, ""), &[]);
        assert_eq!(output.code, Some(0), "{output}");
        proxy.quiet().await;
        let requests = of_cache(&proxy, &name);
        let ours = requests.iter().filter(|request| request.is_from_rbake());
        let reads = requests
            .iter()
            .filter(|request| request.manifest().is_some());
        counts.push((requests.len(), reads.count(), ours.count()));
    }
    eprintln!("requests, those for manifests, those of rbake: {counts:?}");
    let [buildx, rbake] = counts[..] else {
        panic!("{counts:?}")
    };
    assert_eq!(rbake.2, 1);
    assert_eq!(rbake.1, buildx.1 + 1);
}
