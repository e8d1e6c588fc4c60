use super::*;
use crate::types::Secret;

fn node(files: &[(&str, &str)]) -> Node {
    let files = files.iter().map(|(name, text)| {
        let content = base64::prelude::BASE64_STANDARD.encode(text);
        ((*name).to_owned(), Secret::new(content))
    });
    Node {
        name: "ci_0".to_owned(),
        flags: Some(vec!["--debug".to_owned()]),
        files: files.collect(),
        ..Node::default()
    }
}

fn objects(node: &Node, options: &[(&str, &str)]) -> Objects {
    let options = options.iter();
    let options = options
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    Objects::of(node, &KubernetesOptions::parse(&options).unwrap()).unwrap()
}

fn container(objects: &Objects) -> &Value {
    &objects.workload["spec"]["template"]["spec"]["containers"][0]
}

// Compared with the objects of buildx v0.36.1 in `tests/live/kubernetes/real.rs`.
#[test]
fn the_plain_deployment_is_that_of_buildx() {
    let made = objects(&node(&[]), &[("replicas", "2")]);
    let probe = json!({
        "exec": {"command": ["buildctl", "debug", "workers"]},
        "initialDelaySeconds": 5, "timeoutSeconds": 60, "periodSeconds": 30,
        "successThreshold": 1, "failureThreshold": 3,
    });
    let expected = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "ci-0", "labels": {"app": "ci-0"}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "ci-0"}},
            "template": {
                "metadata": {"labels": {"app": "ci-0"}},
                "spec": {"containers": [{
                    "name": "buildkitd",
                    "image": "moby/buildkit:buildx-stable-1",
                    "args": ["--debug"],
                    "securityContext": {"privileged": true},
                    "readinessProbe": probe,
                    "livenessProbe": probe,
                    "resources": {},
                }]},
            },
        },
    });
    assert_eq!(made.workload, expected);
    assert_eq!(
        (made.selector.as_str(), made.kind),
        ("app=ci-0", ObjectKind::Deployment)
    );
    assert!(made.config_maps.is_empty());
}

#[test]
fn labels_are_part_of_the_selector_and_amounts_go_to_their_places() {
    let options = [
        ("labels", "team=a"),
        ("requests.cpu", "1"),
        ("requests.ephemeral-storage", "1Gi"),
        ("limits.memory", "2Gi"),
    ];
    let made = objects(&node(&[]), &options);
    assert_eq!(made.selector, "app=ci-0,team=a");
    assert_eq!(
        container(&made)["resources"],
        json!({"requests": {"cpu": "1"}, "limits": {"memory": "2Gi", "ephemeral-storage": "1Gi"}})
    );
}

#[test]
fn each_folder_of_the_configuration_is_an_object() {
    let files = [
        ("buildkitd.toml", "debug = true"),
        ("certs/h/ca.pem", "x"),
        ("certs/h/key.pem", "y"),
    ];
    let made = objects(&node(&files), &[]);
    let names: Vec<_> = made
        .config_maps
        .iter()
        .map(|map| &map["metadata"]["name"])
        .collect();
    assert_eq!(names, ["ci-0-config", "ci-0-config-1"]);
    assert_eq!(
        made.config_maps[1]["data"],
        json!({"ca.pem": "x", "key.pem": "y"})
    );
    assert_eq!(
        container(&made)["volumeMounts"],
        json!([{"name": "config", "mountPath": "/etc/buildkit"}, {"name": "config-1", "mountPath": "/etc/buildkit/certs/h"}])
    );
}

#[test]
fn the_configuration_is_found_with_a_claim_and_without_root() {
    let files = node(&[("buildkitd.toml", "debug = true")]);
    let claim = objects(
        &files,
        &[("persistent-volume-claim.requests.storage", "1Gi")],
    );
    assert_eq!(claim.kind, ObjectKind::StatefulSet);
    let mounts = container(&claim)["volumeMounts"].as_array().unwrap();
    let paths: Vec<_> = mounts.iter().map(|mount| &mount["mountPath"]).collect();
    assert_eq!(paths, ["/etc/buildkit", "/var/lib/buildkit"]);
    let rootless = objects(&files, &[("rootless", "true")]);
    assert_eq!(
        container(&rootless)["args"],
        json!([
            "--debug",
            "--oci-worker-no-process-sandbox",
            "--config=/etc/buildkit/buildkitd.toml"
        ])
    );
    assert!(rootless.workload["metadata"]["annotations"].is_object());
}

#[test]
fn names_and_files_that_kubernetes_cannot_have_are_refused() {
    let plain = KubernetesOptions::parse(&BTreeMap::new()).unwrap();
    let named = Node {
        name: "Ci".to_owned(),
        ..node(&[])
    };
    assert!(matches!(
        Objects::of(&named, &plain),
        Err(ObjectsError::Name(_))
    ));
    assert!(matches!(
        Objects::of(&node(&[("../x", "y")]), &plain),
        Err(ObjectsError::File { .. })
    ));
    let mut broken = node(&[]);
    broken
        .files
        .insert("x".to_owned(), Secret::new("%".to_owned()));
    assert!(Objects::of(&broken, &plain).is_err());
}
