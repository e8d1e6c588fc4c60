use super::*;
use crate::builder::store::Node;
use std::path::Path;

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

fn planned(request: &CreateRequest, environment: &Environment) -> Result<Planned, CreateError> {
    plan(request, &Store::of(environment).unwrap(), environment)
}

fn named_request(name: &str) -> CreateRequest {
    CreateRequest {
        name: Some(name.to_owned()),
        ..CreateRequest::default()
    }
}

fn remote(name: &str, endpoint: &str) -> CreateRequest {
    CreateRequest {
        driver: Some("remote".to_owned()),
        endpoint: Some(endpoint.to_owned()),
        ..named_request(name)
    }
}

fn save(dir: &Path, instance: &Instance) {
    let instances = dir.join("buildx/instances");
    std::fs::create_dir_all(&instances).unwrap();
    let nodes: Vec<String> = instance
        .nodes
        .iter()
        .map(|node| {
            format!(
                r#"{{"Name":"{}","Endpoint":"{}"}}"#,
                node.name, node.endpoint
            )
        })
        .collect();
    let text = format!(
        r#"{{"Name":"{}","Driver":"{}","Nodes":[{}]}}"#,
        instance.name,
        instance.driver,
        nodes.join(",")
    );
    std::fs::write(instances.join(&instance.name), text).unwrap();
}

#[test]
fn the_driver_follows_from_the_endpoint_as_in_buildx() {
    let dir = tempfile::tempdir().unwrap();
    let plain = environment(dir.path(), &[("DOCKER_HOST", "unix:///nonexistent/d.sock")]);
    let driver = |endpoint: Option<&str>, environment: &Environment| {
        let request = CreateRequest {
            endpoint: endpoint.map(str::to_owned),
            ..named_request("ci")
        };
        planned(&request, environment).unwrap().instance
    };
    assert_eq!(driver(None, &plain).driver, "docker-container");
    assert_eq!(driver(Some("tcp://h:1234"), &plain).driver, "remote");
    assert_eq!(driver(Some("default"), &plain).driver, "docker-container");
    let with_host = environment(dir.path(), &[("BUILDKIT_HOST", "tcp://b:1234")]);
    let instance = driver(None, &with_host);
    assert_eq!(instance.driver, "remote");
    assert_eq!(instance.nodes[0].endpoint, "tcp://b:1234");
}

#[test]
fn a_builder_in_a_container_gets_the_entitlement_and_the_current_engine() {
    let dir = tempfile::tempdir().unwrap();
    let environment = environment(dir.path(), &[("DOCKER_HOST", "unix:///nonexistent/d.sock")]);
    let request = CreateRequest {
        platforms: vec!["linux/arm64,linux/amd64".to_owned()],
        driver_opts: vec![
            "\"env.A=x,y\",image=i".to_owned(),
            "network=host".to_owned(),
        ],
        ..named_request("ci")
    };
    let planned = planned(&request, &environment).unwrap();
    let node = &planned.instance.nodes[0];
    assert_eq!(node.name, "ci0");
    assert_eq!(node.endpoint, "unix:///nonexistent/d.sock");
    assert_eq!(node.driver_opts["env.A"], "x,y");
    assert_eq!(
        node.flags.as_deref(),
        Some(&["--allow-insecure-entitlement=network.host".to_owned()][..])
    );
    assert_eq!(node.platforms.as_ref().map(Vec::len), Some(2));
    assert_eq!(
        planned.engine,
        Some("unix:///nonexistent/d.sock".parse().unwrap())
    );
}

#[test]
fn buildxs_default_configuration_is_used_for_containers_only() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("buildx")).unwrap();
    let path = dir.path().join("buildx/buildkitd.default.toml");
    std::fs::write(path, "insecure-entitlements = [\"network.host\"]\n").unwrap();
    let environment = environment(dir.path(), &[("DOCKER_HOST", "unix:///nonexistent/d.sock")]);
    let container = planned(&named_request("ci"), &environment)
        .unwrap()
        .instance;
    assert!(container.nodes[0].files.contains_key("buildkitd.toml"));
    // The configuration has decided on entitlements.
    assert_eq!(container.nodes[0].flags, None);
    let remote = planned(&remote("far", "tcp://h:1"), &environment)
        .unwrap()
        .instance;
    assert!(remote.nodes[0].files.is_empty());
}

#[test]
fn certificates_of_a_remote_builder_get_absolute_paths() {
    let dir = tempfile::tempdir().unwrap();
    let environment = environment(dir.path(), &[]);
    let request = CreateRequest {
        driver_opts: vec!["cacert=ca.pem,servername=b".to_owned()],
        ..remote("far", "tcp://h:1")
    };
    let node = planned(&request, &environment)
        .unwrap()
        .instance
        .nodes
        .remove(0);
    let expected = dir.path().join("ca.pem").display().to_string();
    assert_eq!(node.driver_opts["cacert"], expected);
}

#[test]
fn existing_builders_are_changed_only_if_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let environment = environment(dir.path(), &[]);
    let first = planned(&remote("far", "tcp://h:1"), &environment)
        .unwrap()
        .instance;
    save(dir.path(), &first);
    let refusal = |request: &CreateRequest| planned(request, &environment).err().unwrap();
    assert!(matches!(
        refusal(&remote("far", "tcp://h:2")),
        CreateError::Exists(_)
    ));
    let other = CreateRequest {
        driver: Some("docker-container".to_owned()),
        append: true,
        ..named_request("far")
    };
    assert!(matches!(refusal(&other), CreateError::OtherDriver { .. }));
    let append = CreateRequest {
        append: true,
        ..remote("far", "tcp://h:2")
    };
    let two = planned(&append, &environment).unwrap().instance;
    let names =
        |nodes: &[Node]| -> Vec<String> { nodes.iter().map(|node| node.name.clone()).collect() };
    assert_eq!(names(&two.nodes), ["far0", "far1"]);
    let change = CreateRequest {
        node: Some("far0".to_owned()),
        ..remote("far", "tcp://h:3")
    };
    let changed = planned(&change, &environment).unwrap();
    assert!(changed.needs_restart);
    assert_eq!(changed.instance.nodes[0].endpoint, "tcp://h:3");
}

#[test]
fn wrong_requests_are_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let environment = environment(dir.path(), &[("DOCKER_HOST", "unix:///nonexistent/d.sock")]);
    save(
        dir.path(),
        &Instance {
            name: "far".to_owned(),
            driver: "remote".to_owned(),
            ..Instance::default()
        },
    );
    let code = |request: CreateRequest| {
        let error = planned(&request, &environment).err().unwrap();
        error.diagnostic().code
    };
    let with = |change: fn(&mut CreateRequest)| {
        let mut request = named_request("ci");
        change(&mut request);
        code(request)
    };
    assert_eq!(code(named_request("default")), "builder::invalid-name");
    assert_eq!(code(named_request("embedded")), "builder::invalid-name");
    assert_eq!(code(named_request("1st")), "builder::invalid-name");
    assert_eq!(code(named_request("../x")), "builder::invalid-name");
    assert_eq!(
        with(|r| r.driver = Some("cloud".into())),
        "builder::unsupported-driver"
    );
    assert_eq!(
        with(|r| {
            r.driver = Some("kubernetes".into());
            r.endpoint = Some("tcp://h:6443".into());
        }),
        "builder::invalid-address"
    );
    assert_eq!(
        with(|r| {
            r.driver = Some("kubernetes".into());
            r.driver_opts = vec!["replicas=none".into()];
        }),
        "builder::driver-option"
    );
    assert_eq!(
        with(|r| r.driver = Some("remote".into())),
        "builder::invalid-address"
    );
    assert_eq!(
        with(|r| r.driver_opts = vec!["netwrok=host".into()]),
        "builder::driver-option"
    );
    assert_eq!(
        with(|r| r.driver_opts = vec!["network".into()]),
        "builder::driver-option"
    );
    assert_eq!(
        with(|r| r.flags = Some("'".into())),
        "builder::driver-option"
    );
    assert_eq!(
        with(|r| r.platforms = vec!["a/b/c/d".into()]),
        "builder::invalid-platform"
    );
    assert_eq!(
        with(|r| r.config = Some("none.toml".into())),
        "builder::buildkitd-config"
    );
    assert_eq!(with(|r| r.append = true), "builder::unknown");
    let mut flags = remote("ci", "tcp://h:1");
    flags.flags = Some("--debug".into());
    assert_eq!(code(flags), "builder::driver-option");
    assert_eq!(code(remote("ci", "ftp://h")), "builder::invalid-address");
    assert_eq!(
        code(remote("ci", "podman-container://b")),
        "builder::invalid-address"
    );
    let nameless = CreateRequest {
        append: true,
        ..CreateRequest::default()
    };
    assert_eq!(code(nameless), "cli::usage");
}

#[tokio::test]
async fn without_an_engine_nothing_is_written_and_a_similar_context_is_suggested() {
    let dir = tempfile::tempdir().unwrap();
    let environment = environment(dir.path(), &[("DOCKER_HOST", "unix:///nonexistent/d.sock")]);
    let request = CreateRequest {
        endpoint: Some("defualt".to_owned()),
        ..named_request("ci")
    };
    let now = SystemTime::UNIX_EPOCH;
    let error = create(request, Duration::from_secs(5), now, &environment)
        .await
        .unwrap_err();
    let told = error.diagnostic();
    assert_eq!(told.code, "builder::unreachable");
    assert_eq!(
        told.help,
        ["a Docker context with a similar name exists: `default`"]
    );
    assert_eq!(Store::of(&environment).unwrap().names(), [""; 0]);
}

// As buildx v0.36.1 writes it.
#[test]
fn a_node_in_kubernetes_names_the_kubeconfig() {
    let dir = tempfile::tempdir().unwrap();
    let environment = environment(dir.path(), &[("KUBECONFIG", "/k/c")]);
    let request = CreateRequest {
        driver: Some("kubernetes".to_owned()),
        driver_opts: vec!["replicas=2,\"nodeselector=a=b,c=d\"".to_owned()],
        ..named_request("ci")
    };
    let planned = planned(&request, &environment).unwrap();
    let node = &planned.instance.nodes[0];
    assert_eq!((node.name.as_str(), planned.pods.len()), ("ci0", 1));
    let (begin, end) = node.endpoint.split_once("buildkit-").unwrap();
    assert_eq!(begin, "kubernetes:///ci?deployment=");
    assert!(end.ends_with("&kubeconfig=%2Fk%2Fc"), "{end}");
    assert_eq!(node.driver_opts["nodeselector"], "a=b,c=d");
    assert_eq!(
        node.flags.as_deref(),
        Some(&["--allow-insecure-entitlement=network.host".to_owned()][..])
    );
}
