//! What a cluster does for builders: the same sessions with the fake, and with a real one in [`super::real`].

use super::{User, fake, nodes};

/// A builder of two pods, from its creation to its end. `name` is not used elsewhere in the cluster.
pub(super) fn a_deployment_lives(user: &User, name: &str) {
    let options = "replicas=2,requests.cpu=10m,labels=team=a,timeout=3m";
    user.create(name, &["--driver-opt", options]);
    let node = format!("{name}0");
    assert_eq!(nodes(&user.listed(name)), [(node, "inactive".to_owned())]);
    // The first build makes the pods.
    user.bake(name);
    let listed = user.listed(name);
    let pods = nodes(&listed);
    assert_eq!(pods.len(), 2, "{listed:#}");
    for (pod, status) in &pods {
        assert!(
            pod.starts_with(&format!("{name}0-")) && status == "running",
            "{listed:#}"
        );
    }
    assert!(listed["Nodes"][0]["Version"].is_string(), "{listed:#}");
    user.bake(name);
    let status = user.rbake(&["--builder", name, "+builder", "status"]);
    assert!(
        status.contains("kubernetes") && status.contains("kube-pod://"),
        "{status}"
    );
    let usage = user.rbake(&["--builder", name, "+builder", "du"]);
    assert!(usage.contains("Total"), "{usage}");
    user.rbake(&["--builder", name, "+builder", "prune", "--force"]);
    assert!(user.rbake(&["+builder", "logs", name]).lines().count() >= 2);
    let stopped = user.try_rbake(&["+builder", "stop", name]);
    assert!(stopped.status.success());
    assert_eq!(nodes(&user.listed(name)).len(), 2);
    assert_eq!(
        user.rbake(&["+builder", "rm", name]),
        format!("{name} removed\n")
    );
    let gone = user.failing(&["--builder", name]);
    assert!(gone.contains("builder::unknown"), "{gone}");
}

/// A builder whose pods have a configuration, and keep their state in claims.
pub(super) fn a_stateful_set_lives(user: &User, name: &str) {
    user.home.write("work/buildkitd.toml", "debug = true\n");
    user.create(
        name,
        &[
            "--bootstrap",
            "--driver-opt",
            "replicas=2,persistent-volume-claim.requests.storage=1Gi",
            "--buildkitd-config",
            "buildkitd.toml",
        ],
    );
    let running = |number| (format!("{name}0-{number}"), "running".to_owned());
    assert_eq!(nodes(&user.listed(name)), [running(0), running(1)]);
    user.bake(name);
    let address = format!("kube-pod://{name}0-1");
    let home = User::new(&user.kubeconfig);
    let home = User {
        home: home.home.variable("BUILDKIT_HOST", &address),
        ..home
    };
    home.rbake(&[]);
    user.rbake(&["+builder", "rm", name]);
}

/// The build of a user without rights fails, and names the rights that are needed.
pub(super) fn a_user_without_rights_is_refused(kubeconfig: &std::path::Path, name: &str) {
    let text = std::fs::read_to_string(kubeconfig).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let weak = folder.path().join("config");
    std::fs::write(
        &weak,
        text.replace("current-context: admin", "current-context: weak"),
    )
    .unwrap();
    let user = User::new(&weak);
    user.create(name, &[]);
    let error = user.failing(&["--builder", name]);
    assert!(error.contains("is forbidden"), "{error}");
    assert!(error.contains("a builder needs these rights"), "{error}");
    let secret = text.lines().find(|line| line.contains("token: ")).unwrap();
    let secret = secret
        .rsplit("token: ")
        .next()
        .unwrap()
        .trim_end_matches('}');
    assert!(secret.len() > 8 && !error.contains(secret), "{error}");
}

/// A pod that ends in the middle of a build ends the build, with the reason. `lose` ends all pods of the builder.
pub(super) fn a_lost_pod_ends_the_build(user: &User, name: &str, lose: impl FnOnce(&[String])) {
    user.create(name, &["--bootstrap"]);
    // The step takes longer than the test.
    user.home.write("work/slow.hcl", "target \"default\" {\n  dockerfile-inline = \"FROM busybox\\nRUN sleep 600\"\n  no-cache = true\n  output = [\"type=cacheonly\"]\n}\n");
    let mut command = user.home.command(env!("CARGO_BIN_EXE_rbake"));
    command.args(["--builder", name, "-f", "slow.hcl", "--progress", "plain"]);
    let mut child = command
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut text = String::new();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    for line in lines.by_ref() {
        let line = line.unwrap();
        text += &(line.clone() + "\n");
        if line.contains("RUN sleep 600") {
            break;
        }
    }
    let pods: Vec<String> = nodes(&user.listed(name))
        .into_iter()
        .map(|(pod, _)| pod)
        .collect();
    lose(&pods);
    for line in lines {
        text += &(line.unwrap() + "\n");
    }
    assert_eq!(child.wait().unwrap().code(), Some(4), "{text}");
    assert!(text.contains(&pods[0]) && text.contains("lost"), "{text}");
    user.rbake(&["+builder", "rm", name]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_builder_of_two_pods_is_made_by_its_first_build_and_removed() {
    let fake = fake();
    a_deployment_lives(&User::new(&fake.kubeconfig()), "ci");
    assert!(fake.cluster().objects.names("pods").is_empty());
    assert!(fake.cluster().objects.names("deployments").is_empty());
    assert_eq!(fake.cluster().objects.programs(), 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_builder_with_claims_is_a_stateful_set() {
    let fake = fake();
    a_stateful_set_lives(&User::new(&fake.kubeconfig()), "kept");
    assert!(fake.cluster().objects.names("configmaps").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn missing_rights_are_named() {
    a_user_without_rights_is_refused(&fake().kubeconfig(), "weak");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_build_ends_when_its_pod_does() {
    let fake = fake();
    let user = User::new(&fake.kubeconfig());
    a_lost_pod_ends_the_build(&user, "lost", |pods| {
        for pod in pods {
            fake.lose_pod(pod);
        }
    });
}
