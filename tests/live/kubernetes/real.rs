//! With a real Kubernetes: `scripts/test.sh --kubernetes`. Without that, these tests are left out.

use std::process::Command;

use serde_json::Value;

use super::contract;
use super::{User, nodes};
use crate::support::peers;

fn user() -> User {
    User::new(&peers::program("RBAKE_TEST_KUBECONFIG"))
}

/// Runs kubectl, which must succeed, and returns its standard output.
#[track_caller]
fn kubectl(user: &User, arguments: &[&str]) -> String {
    let mut command: Command = user.home.command(peers::program("RBAKE_TEST_KUBECTL"));
    command.env("KUBECACHEDIR", user.home.path("kube-cache"));
    super::said(&command.args(arguments).output().unwrap(), arguments)
}

/// An object without what belongs to this one only.
fn object(user: &User, kind: &str, name: &str) -> Value {
    let text = kubectl(user, &["get", kind, name, "--output", "json"]);
    let mut object: Value = serde_json::from_str(&text).unwrap();
    object.as_object_mut().unwrap().remove("status");
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "managedFields",
    ] {
        metadata.remove(field);
    }
    if let Some(annotations) = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove("deployment.kubernetes.io/revision");
    }
    if metadata
        .get("annotations")
        .is_some_and(|annotations| annotations == &serde_json::json!({}))
    {
        metadata.remove("annotations");
    }
    object
}

/// Options of builders, each with the kind of their object.
const SHAPES: [(&str, &str); 6] = [
    ("deployment", ""),
    (
        "deployment",
        "replicas=2,image=rbake/other:1,requests.cpu=100m,requests.memory=1024Mi,limits.cpu=0.5,limits.memory=1.5Gi,limits.ephemeral-storage=2000M",
    ),
    (
        "deployment",
        "rootless=true,serviceaccount=default,schedulername=default-scheduler,env.A=b,buildkit-root-volume-memory=1Gi",
    ),
    (
        "deployment",
        "qemu.install=true,\"nodeselector=kubernetes.io/os=linux,kubernetes.io/arch=amd64\",\"annotations=a.b/c=d\",\"labels=team=x,tier=y\",\"tolerations=key=gpu,operator=Exists,effect=NoExecute,tolerationSeconds=60;operator=Exists\"",
    ),
    (
        "deployment",
        "buildkit-root-volume-memory=100Mi,requests.ephemeral-storage=1Gi",
    ),
    (
        "statefulset",
        "replicas=2,persistent-volume-claim.requests.storage=1Gi,loadbalance=random",
    ),
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_objects_are_those_that_buildx_makes() {
    let (ours, theirs) = (user(), user());
    for (number, (kind, options)) in SHAPES.into_iter().enumerate() {
        let name = format!("shape{number}x");
        let node = format!("{name}0");
        let mut create = vec![
            "create",
            "--name",
            &name,
            "--driver",
            "kubernetes",
            "--platform",
            "linux/amd64,linux/arm64",
            "--buildkitd-flags",
            "--debug",
        ];
        // Nothing of this needs to run.
        let options = format!(
            "{options}{}timeout=1s",
            if options.is_empty() { "" } else { "," }
        );
        create.extend(["--driver-opt", &options]);
        let objects = |user: &User, boot: &dyn Fn()| {
            boot();
            object(user, kind, &node)
        };
        let of_theirs = objects(&theirs, &|| {
            theirs.buildx(&create);
            // It fails after the time limit, because the pods are not ready.
            let mut command = theirs.home.command(peers::program("RBAKE_TEST_BUILDX"));
            command
                .args(["inspect", "--bootstrap", &name])
                .output()
                .unwrap();
        });
        theirs.buildx(&["rm", &name]);
        let of_ours = objects(&ours, &|| {
            let all: Vec<&str> = std::iter::once("+builder")
                .chain(create.iter().copied())
                .collect();
            ours.rbake(&all);
            ours.try_rbake(&["+builder", "start", &name]);
        });
        ours.rbake(&["+builder", "rm", &name]);
        assert_eq!(of_ours, of_theirs, "{options}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_configuration_is_the_object_that_buildx_makes() {
    let (ours, theirs) = (user(), user());
    for user in [&ours, &theirs] {
        user.home.write("work/buildkitd.toml", "debug = true\n");
    }
    let create = [
        "create",
        "--name",
        "conf",
        "--driver",
        "kubernetes",
        "--driver-opt",
        "timeout=1s",
        "--buildkitd-config",
        "buildkitd.toml",
    ];
    theirs.buildx(&create);
    let mut command = theirs.home.command(peers::program("RBAKE_TEST_BUILDX"));
    command
        .args(["inspect", "--bootstrap", "conf"])
        .output()
        .unwrap();
    let read = |user: &User| {
        (
            object(user, "deployment", "conf0"),
            object(user, "configmap", "conf0-config"),
        )
    };
    let of_theirs = read(&theirs);
    theirs.buildx(&["rm", "conf"]);
    ours.rbake(&[&["+builder"], &create[..]].concat());
    ours.try_rbake(&["+builder", "start", "conf"]);
    let of_ours = read(&ours);
    ours.rbake(&["+builder", "rm", "conf"]);
    assert_eq!(of_ours, of_theirs);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_builder_of_two_pods_lives_in_a_real_cluster() {
    contract::a_deployment_lives(&user(), "life");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_builder_with_claims_lives_in_a_real_cluster() {
    contract::a_stateful_set_lives(&user(), "claims");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_real_cluster_refuses_a_user_without_rights() {
    contract::a_user_without_rights_is_refused(&user().kubeconfig, "norights");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_build_ends_when_its_real_pod_does() {
    let user = user();
    // The pods take the images of Docker Hub from the tests' registry.
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    user.home.write(
        "docker/buildx/buildkitd.default.toml",
        &format!("[registry.\"docker.io\"]\nmirrors = [\"{registry}\"]\n[registry.\"{registry}\"]\nhttp = true\n"),
    );
    contract::a_lost_pod_ends_the_build(&user, "lostpod", |pods| {
        for pod in pods {
            kubectl(
                &user,
                &[
                    "delete",
                    "pod",
                    pod,
                    "--grace-period=0",
                    "--force",
                    "--wait=false",
                ],
            );
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn both_programs_build_on_the_pods_that_the_other_has_made() {
    let user = user();
    user.create("ofrbake", &["--driver-opt", "replicas=2", "--bootstrap"]);
    user.buildx(&["bake", "--builder", "ofrbake", "--allow", "fs.write=out"]);
    std::fs::remove_file(user.home.path("work/out/a")).unwrap();
    // buildx shows the name of the node once for each of its pods.
    let theirs = user.buildx(&["ls", "--format", "{{.Name}} {{.Status}}"]);
    assert_eq!(theirs.matches("ofrbake0").count(), 2, "{theirs}");
    assert_eq!(nodes(&user.listed("ofrbake")).len(), 2);
    user.buildx(&[
        "create",
        "--name",
        "ofbuildx",
        "--driver",
        "kubernetes",
        "--driver-opt",
        "replicas=2",
        "--bootstrap",
    ]);
    let before = kubectl(
        &user,
        &[
            "get",
            "pods",
            "--selector",
            "app=ofbuildx0",
            "--output",
            "name",
        ],
    );
    user.bake("ofbuildx");
    let after = kubectl(
        &user,
        &[
            "get",
            "pods",
            "--selector",
            "app=ofbuildx0",
            "--output",
            "name",
        ],
    );
    assert_eq!(before, after);
    user.buildx(&["rm", "ofrbake"]);
    user.rbake(&["+builder", "rm", "ofbuildx"]);
    let left = kubectl(&user, &["get", "deployments", "--output", "name"]);
    assert!(
        !left.contains("ofrbake") && !left.contains("ofbuildx"),
        "{left}"
    );
}

/// Only the pod that has built has new records in its cache.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_directory_leads_both_programs_to_the_same_pod() {
    let user = user();
    user.create("sticky", &["--driver-opt", "replicas=3", "--bootstrap"]);
    let built = |pod: &str| {
        let user = User::new(&user.kubeconfig);
        let address = format!("kube-pod://{pod}");
        let user = User {
            home: user.home.variable("BUILDKIT_HOST", &address),
            ..user
        };
        user.rbake(&["+builder", "du"]).lines().count()
    };
    let pods: Vec<String> = nodes(&user.listed("sticky"))
        .into_iter()
        .map(|(pod, _)| pod)
        .collect();
    let before: Vec<usize> = pods.iter().map(|pod| built(pod)).collect();
    user.buildx(&["bake", "--builder", "sticky", "--allow", "fs.write=out"]);
    let with_theirs: Vec<usize> = pods.iter().map(|pod| built(pod)).collect();
    user.bake("sticky");
    let with_ours: Vec<usize> = pods.iter().map(|pod| built(pod)).collect();
    let grown = |before: &[usize], after: &[usize]| -> Vec<bool> {
        let pairs = before.iter().zip(after);
        pairs.map(|(before, after)| before != after).collect()
    };
    let (by_theirs, by_ours) = (
        grown(&before, &with_theirs),
        grown(&with_theirs, &with_ours),
    );
    assert_eq!(
        by_theirs.iter().filter(|grown| **grown).count(),
        1,
        "{by_theirs:?}"
    );
    assert_eq!(by_ours, by_theirs, "rbake has used another pod than buildx");
    user.rbake(&["+builder", "rm", "sticky"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_image_that_cannot_be_pulled_is_named() {
    let user = user();
    user.create(
        "noimage",
        &["--driver-opt", "image=rbake/none:1,timeout=15s"],
    );
    let error = user.failing(&["+builder", "start", "noimage"]);
    assert!(
        error.contains("the container `buildkitd`: ") && error.contains("rbake/none:1"),
        "{error}"
    );
    user.rbake(&["+builder", "rm", "noimage"]);
}
