use super::*;
use std::path::{Path, PathBuf};

const MTLS: &str = r#"{"Name":"far","Driver":"remote","Nodes":[{"Name":"far0","Endpoint":"tcp://b.example:1234","DriverOpts":{"cacert":"/c/ca.pem","cert":"/c/cert.pem","key":"/c/key.pem","servername":"b","default-load":"true"}}]}"#;
const CONTAINER: &str = r#"{"Name":"ci","Driver":"docker-container","Nodes":[{"Name":"ci0","Endpoint":"unix:///var/run/docker.sock","DriverOpts":null}]}"#;
const KUBERNETES: &str = r#"{"Name":"k","Driver":"kubernetes","Nodes":[{"Name":"k0","Endpoint":"kubernetes:///k?deployment=k0"}]}"#;
const CLOUD: &str =
    r#"{"Name":"cloud","Driver":"cloud","Nodes":[{"Name":"cloud0","Endpoint":"cloud://me/c"}]}"#;
const TWO: &str = r#"{"Name":"two","Driver":"remote","Nodes":[{"Name":"a","Endpoint":"unix:///a","Platforms":[{"os":"linux","architecture":"arm64"}]},{"Name":"b","Endpoint":"unix:///b"}]}"#;
const EMPTY: &str = r#"{"Name":"empty","Driver":"remote","Nodes":[]}"#;

fn store(current: Option<&str>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let instances = dir.path().join("buildx/instances");
    std::fs::create_dir_all(&instances).unwrap();
    for (name, text) in [
        ("far", MTLS),
        ("ci", CONTAINER),
        ("k", KUBERNETES),
        ("cloud", CLOUD),
        ("two", TWO),
        ("empty", EMPTY),
    ] {
        std::fs::write(instances.join(name), text).unwrap();
    }
    if let Some(name) = current {
        let text =
            format!(r#"{{"Key":"unix:///var/run/docker.sock","Name":"{name}","Global":false}}"#);
        std::fs::write(dir.path().join("buildx/current"), text).unwrap();
    }
    dir
}

fn environment(dir: &Path, more: &[(&str, &str)]) -> Environment {
    let config = [("DOCKER_CONFIG", dir.to_str().unwrap())];
    Environment::new(
        config
            .iter()
            .chain(more)
            .map(|(k, v)| ((*k).into(), (*v).into())),
        dir.into(),
    )
}

fn candidate(flag: Option<&str>, environment: &Environment) -> Result<Candidate, ChooseError> {
    named(flag, environment).map(|(nodes, _)| {
        assert_eq!(nodes.len(), 1);
        nodes.into_iter().next().unwrap()
    })
}

#[test]
fn the_flag_takes_precedence_over_the_variables_and_these_over_the_store() {
    let dir = store(Some("far"));
    let both = environment(
        dir.path(),
        &[
            ("BUILDX_BUILDER", "ci"),
            ("BUILDKIT_HOST", "unix:///run/b.sock"),
        ],
    );
    assert_eq!(candidate(Some("far"), &both).unwrap().name, "far");
    assert_eq!(candidate(None, &both).unwrap().name, "ci");
    let host = environment(dir.path(), &[("BUILDKIT_HOST", "unix:///run/b.sock")]);
    let found = candidate(None, &host).unwrap();
    assert_eq!(
        found.reach,
        Reach::Remote(Endpoint::Unix("/run/b.sock".into()))
    );
    let nothing = environment(dir.path(), &[]);
    let found = candidate(None, &nothing).unwrap();
    assert_eq!(
        (found.name.as_str(), found.driver().name()),
        ("far", "remote")
    );
    assert!(found.default_load);
}

#[test]
fn certificates_come_from_the_store_or_from_variables() {
    let dir = store(None);
    let plain = environment(dir.path(), &[]);
    let Reach::Remote(Endpoint::Tcp { tls: Some(tls), .. }) =
        candidate(Some("far"), &plain).unwrap().reach
    else {
        panic!("no TLS")
    };
    assert_eq!(tls.servername.as_deref(), Some("b"));
    std::fs::write(dir.path().join("ca.pem"), "").unwrap();
    std::fs::write(dir.path().join("key.pem"), "").unwrap();
    let variables = environment(
        dir.path(),
        &[
            ("BUILDKIT_HOST", "tcp://h:1"),
            ("BUILDKIT_TLS_DIR", "."),
            ("BUILDKIT_TLS_KEY", "/k/own.pem"),
        ],
    );
    let Reach::Remote(Endpoint::Tcp { tls: Some(tls), .. }) =
        candidate(None, &variables).unwrap().reach
    else {
        panic!("no TLS")
    };
    assert_eq!(tls.key.as_deref(), Some(Path::new("/k/own.pem")));
    assert!(tls.ca.unwrap().ends_with("ca.pem"));
    assert_eq!(tls.cert, None);
}

#[test]
fn requested_tls_is_never_dropped() {
    let dir = store(None);
    std::fs::write(dir.path().join("file"), "").unwrap();
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    for folder in ["/nonexistent", "empty", "file"] {
        let variables = [("BUILDKIT_HOST", "tcp://h:1"), ("BUILDKIT_TLS_DIR", folder)];
        let error = named(None, &environment(dir.path(), &variables)).unwrap_err();
        assert!(matches!(error, ChooseError::Tls(_)), "{folder}: {error:?}");
    }
    for (variable, value) in [
        ("BUILDKIT_TLS_SERVERNAME", "b"),
        ("BUILDKIT_TLS_CACERT", "/nonexistent"),
        ("BUILDKIT_TLS_KEY", "/nonexistent"),
    ] {
        let variables = [("BUILDKIT_HOST", "tcp://h:1"), (variable, value)];
        let found = candidate(None, &environment(dir.path(), &variables)).unwrap();
        assert!(
            matches!(
                found.reach,
                Reach::Remote(Endpoint::Tcp { tls: Some(_), .. })
            ),
            "{variable}"
        );
    }
    let empty = [("BUILDKIT_HOST", "tcp://h:1"), ("BUILDKIT_TLS_DIR", "")];
    let found = candidate(None, &environment(dir.path(), &empty)).unwrap();
    assert!(matches!(
        found.reach,
        Reach::Remote(Endpoint::Tcp { tls: None, .. })
    ));
    let told =
        "`BUILDKIT_TLS_DIR` is set but empty: the connection to the builder is not encrypted";
    assert_eq!(found.warnings[0].message, told);
    let none = [("BUILDKIT_HOST", "tcp://h:1")];
    let found = candidate(None, &environment(dir.path(), &none)).unwrap();
    assert_eq!(found.warnings, []);
    let socket = [
        ("BUILDKIT_HOST", "unix:///run/b.sock"),
        ("BUILDKIT_TLS_DIR", "/nonexistent"),
    ];
    let found = candidate(None, &environment(dir.path(), &socket)).unwrap();
    assert!(found.warnings[0].message.contains("`BUILDKIT_TLS_DIR`"));
}

#[test]
fn a_stored_builder_with_certificates_is_never_used_without_tls() {
    let dir = store(None);
    let text = r#"{"Name":"s","Driver":"remote","Nodes":[{"Name":"s0","Endpoint":"unix:///run/b.sock","DriverOpts":{"cacert":"/c/ca.pem"}}]}"#;
    std::fs::write(dir.path().join("buildx/instances/s"), text).unwrap();
    let error = named(Some("s"), &environment(dir.path(), &[])).unwrap_err();
    assert!(
        matches!(error, ChooseError::TlsWithoutTcp { .. }),
        "{error:?}"
    );
}

#[test]
fn a_docker_engine_that_is_named_counts_as_a_named_builder() {
    let dir = store(None);
    let by_address = environment(dir.path(), &[("DOCKER_HOST", "tcp://127.0.0.1:1")]);
    let found = candidate(None, &by_address).unwrap();
    assert_eq!(found.from, "`DOCKER_HOST`");
    assert!(matches!(found.reach, Reach::Docker(_)));
    let by_context = environment(dir.path(), &[("DOCKER_CONTEXT", "typo")]);
    let error = named(None, &by_context).unwrap_err();
    assert!(matches!(error, ChooseError::Context(_)), "{error:?}");
    std::fs::write(
        dir.path().join("config.json"),
        r#"{"currentContext":"gone"}"#,
    )
    .unwrap();
    let error = named(None, &environment(dir.path(), &[])).unwrap_err();
    assert!(matches!(error, ChooseError::Context(_)), "{error:?}");
    let by_default = environment(dir.path(), &[("DOCKER_CONTEXT", "default")]);
    let found = candidate(None, &by_default).unwrap();
    assert_eq!(found.from, "`DOCKER_CONTEXT`");
    std::fs::write(
        dir.path().join("config.json"),
        r#"{"currentContext":"default"}"#,
    )
    .unwrap();
    let nothing = [("DOCKER_CONTEXT", ""), ("DOCKER_HOST", "")];
    let (found, _) = named(None, &environment(dir.path(), &nothing)).unwrap();
    assert_eq!(found, []);
}

#[test]
fn a_blank_name_is_an_error() {
    let dir = store(None);
    let blank = environment(dir.path(), &[("BUILDX_BUILDER", " ")]);
    let error = named(None, &blank).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`BUILDX_BUILDER` is blank, so it does not name a builder"
    );
    let nothing = environment(dir.path(), &[("BUILDX_BUILDER", "")]);
    assert_eq!(named(Some(""), &nothing).unwrap().0, []);
}

#[test]
fn containers_are_found_on_their_docker_engine() {
    let dir = store(None);
    let found = candidate(Some("ci"), &environment(dir.path(), &[])).unwrap();
    let Reach::Container {
        container, host, ..
    } = found.reach
    else {
        panic!("no container")
    };
    assert_eq!(container, "buildx_buildkit_ci0");
    assert_eq!(host.to_string(), "unix:///var/run/docker.sock");
    let by_host = environment(
        dir.path(),
        &[
            ("BUILDKIT_HOST", "docker-container://b"),
            ("DOCKER_HOST", "tcp://d:1"),
        ],
    );
    let Reach::Container { host, .. } = candidate(None, &by_host).unwrap().reach else {
        panic!("no container")
    };
    assert_eq!(host.to_string(), "tcp://d:1");
}

#[test]
fn a_chosen_builder_that_cannot_be_used_is_an_error() {
    let dir = store(Some("cloud"));
    let environment = environment(dir.path(), &[]);
    let error = named(None, &environment).unwrap_err();
    assert!(matches!(error, ChooseError::Driver { driver, .. } if driver == "cloud"));
    let error = named(Some("empty"), &environment).unwrap_err();
    assert!(matches!(error, ChooseError::Nodes { count: 0, .. }));
    let error = named(Some("fra"), &environment).unwrap_err();
    assert!(
        matches!(error, ChooseError::Unknown { known, .. } if known.contains(&"far".to_owned()))
    );
}

#[test]
fn all_nodes_of_a_builder_are_candidates_with_their_platforms() {
    let dir = store(None);
    let (nodes, _) = named(Some("two"), &environment(dir.path(), &[])).unwrap();
    let shown: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "the node `a` of the builder `two` at unix:///a",
            "the node `b` of the builder `two` at unix:///b",
        ]
    );
    let platforms: Vec<usize> = nodes.iter().map(|node| node.platforms.len()).collect();
    assert_eq!(platforms, [1, 0]);
}

#[test]
fn a_builder_in_kubernetes_has_no_address_before_its_pods_run() {
    let dir = store(None);
    let found = candidate(Some("k"), &environment(dir.path(), &[])).unwrap();
    assert_eq!(found.driver().name(), "kubernetes");
    assert_eq!(
        (found.endpoint(), found.node.as_deref()),
        (None, Some("k0"))
    );
}

#[test]
fn a_pod_at_an_address_is_in_the_cluster_of_the_settings() {
    let dir = store(None);
    let variables = [
        ("BUILDKIT_HOST", "kube-pod://b-0?context=far"),
        ("KUBECONFIG", "/k/config"),
    ];
    let found = candidate(None, &environment(dir.path(), &variables)).unwrap();
    let Reach::Remote(Endpoint::Pod(pod)) = found.reach else {
        panic!("no pod")
    };
    assert_eq!(pod.cluster.kubeconfigs, [PathBuf::from("/k/config")]);
    assert_eq!(pod.cluster.context.as_deref(), Some("far"));
}

#[test]
fn docker_contexts_and_the_embedded_builder_can_be_named() {
    let dir = store(None);
    let environment = environment(dir.path(), &[]);
    let found = candidate(Some("default"), &environment).unwrap();
    assert!(matches!(found.reach, Reach::Docker(_)) && found.default_load);
    let found = candidate(Some("embedded"), &environment).unwrap();
    assert_eq!(found.reach, Reach::Embedded);
}

#[test]
fn a_removed_current_builder_is_reported_and_not_used() {
    let dir = store(Some("gone"));
    let (found, trail) = named(None, &environment(dir.path(), &[])).unwrap();
    assert_eq!(found, []);
    assert_eq!(trail[2].reason, "`gone` was chosen, but has been removed");
}
