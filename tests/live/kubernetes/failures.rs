//! What goes wrong with a cluster, in the user's words.

use super::{User, created, fake};
use crate::support::fake_kubernetes::Trouble;

/// Boots a builder whose pods have `trouble`, and returns the messages.
fn boot_in(trouble: Trouble, options: &str) -> String {
    let fake = fake();
    fake.cluster().objects.trouble = Some(trouble);
    let user = User::new(&fake.kubeconfig());
    let options = format!("timeout=3s{options}");
    user.create("bad", &["--driver-opt", &options]);
    let error = user.failing(&["--builder", "bad", "--progress", "plain"]);
    assert!(error.contains("builder::unreachable"), "{error}");
    assert!(error.contains("after 3 s, 0 of 1 pods of the"), "{error}");
    // It is there all the same, and is not ready: as with buildx, its removal is the user's.
    let listed = user.listed("bad");
    assert_eq!(listed["Nodes"][0]["Status"], "stopped", "{listed:#}");
    error
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_image_that_no_registry_has_is_named() {
    let error = boot_in(Trouble::Image, ",image=127.0.0.1:1/none:1");
    let reason = "the container `buildkitd`: ImagePullBackOff: Back-off pulling image \"127.0.0.1:1/none:1\"";
    // Once while rbake waits, and once in the error.
    assert!(error.matches(reason).count() >= 2, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_cluster_without_room_says_what_is_missing() {
    let error = boot_in(Trouble::Unschedulable, ",requests.cpu=1000");
    assert!(
        error.contains("Unschedulable: 0/1 nodes are available: 1 Insufficient cpu"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_quota_is_named_for_deployments_and_stateful_sets() {
    for options in ["", ",persistent-volume-claim.requests.storage=1Gi"] {
        let error = boot_in(Trouble::Quota, options);
        assert!(error.contains("exceeded quota: few"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_node_that_is_not_reachable_yet_is_tried_again() {
    let fake = fake();
    let user = User::new(&fake.kubeconfig());
    user.create("new", &["--bootstrap"]);
    fake.cluster().unreachable = 2;
    user.bake("new");
    assert_eq!(fake.cluster().unreachable, 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_cluster_that_speaks_only_the_old_protocol_is_used() {
    let fake = fake();
    fake.cluster().is_old = true;
    let user = User::new(&fake.kubeconfig());
    user.create("old", &[]);
    user.bake("old");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_connection_to_a_pod_that_was_deleted_is_an_error() {
    let fake = fake();
    let user = User::new(&fake.kubeconfig());
    let pod = "kube-pod://gone-0";
    let user = User {
        home: user.home.variable("BUILDKIT_HOST", pod),
        ..user
    };
    let error = user.failing(&[]);
    assert!(error.contains("pods \"gone-0\" not found"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_missing_kubeconfig_and_an_api_server_that_is_gone_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    let user = User::new(&config);
    let create = [
        "+builder",
        "create",
        "--name",
        "x",
        "--driver",
        "kubernetes",
    ];
    let error = user.failing(&create);
    assert!(
        error.contains("there is no kubeconfig") && error.contains("config` does not exist"),
        "{error}"
    );
    let text = "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\ncontexts: [{name: k, context: {cluster: c, user: u}}]\n";
    std::fs::write(&config, text).unwrap();
    let error = user.failing(&create);
    assert!(
        error.contains("does not set a current context") && error.contains("its contexts: k"),
        "{error}"
    );
    std::fs::write(&config, format!("{text}current-context: l\n")).unwrap();
    let error = user.failing(&create);
    assert!(
        error.contains("no context `l`") && error.contains("`k`"),
        "{error}"
    );
    std::fs::write(&config, format!("{text}current-context: k\n")).unwrap();
    user.rbake(&create);
    let error = user.failing(&["--builder", "x"]);
    assert!(
        error.contains("the API server at `https://127.0.0.1:1` cannot be reached"),
        "{error}"
    );
    assert!(error.contains("refused"), "{error}");
    let listed = user.listed("x");
    assert_eq!(listed["Nodes"][0]["Status"], "error", "{listed:#}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn bad_options_are_refused_before_anything_is_written() {
    let fake = fake();
    let user = User::new(&fake.kubeconfig());
    for (options, expected) in [
        ("replicas=none", "a whole number above 0"),
        (
            "replica=2",
            "an option with a similar name exists: `replicas`",
        ),
        ("requests.memory=much", "an amount such as `500m` or `2Gi`"),
    ] {
        let error = user.failing(&created("x", &["--driver-opt", options]));
        assert!(error.contains(expected), "{error}");
    }
    let error = user.failing(&created("x", &["tcp://h:1"]));
    assert!(error.contains("takes no endpoint"), "{error}");
    assert!(fake.cluster().log.is_empty());
    assert!(
        user.failing(&["+builder", "inspect", "x"])
            .contains("builder::unknown")
    );
}
