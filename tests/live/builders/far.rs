//! Docker Engines on another machine, which is reached with ssh.

use super::containers::{Engine, Names};
use super::{Both, named};
use crate::support::peers;
use crate::support::ssh_server::SshServer;

const ADDRESS: &str = "ssh://far";
/// What docker runs as well (docker/cli `cli/connhelper`).
const CALL: &str = "-o ConnectTimeout=30 -T -- far docker system dial-stdio";

fn server() -> SshServer {
    SshServer::start(Some(&peers::peer("RBAKE_TEST_DOCKER_HOST")))
}

/// A user who reaches the Engine only with ssh.
fn engine(server: &SshServer) -> Engine {
    Engine::of(Both::with_path(&server.path(), ADDRESS), ADDRESS.to_owned())
}

/// A project whose image has the name `image`.
fn write_project(engine: &Engine, image: &str) {
    let home = &engine.both.home;
    let definition = format!(
        "target \"default\" {{\n  dockerfile-inline = \"FROM scratch\\nCOPY a /\\nLABEL by=ssh\"\n  tags = [\"{image}\"]\n  output = [\"type=docker\"]\n}}\n"
    );
    home.write("work/docker-bake.hcl", &definition);
    home.write("work/a", "through ssh");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_engine_builds_at_an_ssh_address_as_with_buildx() {
    let server = server();
    let engine = engine(&server);
    let image = format!("rbake-test/ssh:{}", std::process::id());
    write_project(&engine, &image);
    let home = &engine.both.home;
    let (mut seen, mut counts) = (Vec::new(), Vec::new());
    for program in ["buildx", "rbake"] {
        let before = server.calls().len();
        if program == "rbake" {
            Both::said(&home.rbake(&["--builder", "default"]), "rbake", &[]);
        } else {
            engine.both.buildx(&["bake", "--builder", "default"]);
        }
        let calls = server.calls().split_off(before);
        assert!(!calls.is_empty(), "{program} was not there");
        counts.push(calls.len());
        assert!(
            calls.iter().all(|call| call == CALL),
            "{program}: {calls:?}"
        );
        let format = "{{json .RootFS.Layers}} {{json .Config}}";
        seen.push(engine.docker(&["image", "inspect", "--format", format, &image]));
        engine.docker(&["image", "rm", &image]);
    }
    assert_eq!(seen[0], seen[1]);
    // Each is a connection of its own.
    assert!(counts[1] < counts[0], "{counts:?}");
    let listed = engine.both.listed_by_rbake();
    let node = &named(&listed, "default")["Nodes"][0];
    assert_eq!(node["Status"], "running", "{node:#}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_builder_in_a_container_behind_ssh_is_shared_with_buildx() {
    let server = server();
    let engine = engine(&server);
    let host = format!("host={ADDRESS}");
    engine.docker(&["context", "create", "there", "--docker", &host]);
    let names = Names::new(&engine, "far", 2);
    // One at the address, one at the context, each made by the other program's rules, too.
    let by_address = names.create(0, &["--bootstrap"]);
    let by_context = &*names.names[1];
    engine.both.buildx(&[
        "create",
        "--name",
        by_context,
        "--driver",
        "docker-container",
        "--driver-opt",
        &format!("image={}", super::containers::IMAGE),
        "--bootstrap",
        "there",
    ]);
    let (ours, theirs) = (
        engine.both.listed_by_rbake(),
        engine.both.listed_by_buildx(),
    );
    for (name, endpoint) in [(by_address, ADDRESS), (by_context, "there")] {
        for list in [&ours, &theirs] {
            let node = &named(list, name)["Nodes"][0];
            assert_eq!(node["Status"], "running", "{node:#}");
            assert_eq!(node["Endpoint"], endpoint, "{node:#}");
        }
    }
    let image = format!("rbake-test/ssh-container:{}", std::process::id());
    write_project(&engine, &image);
    for name in [by_address, by_context] {
        let output = engine.both.home.rbake(&["--builder", name]);
        Both::said(&output, "rbake", &["--builder", name]);
        let label = "{{.Config.Labels.by}}";
        let seen = engine.docker(&["image", "inspect", "--format", label, &image]);
        assert_eq!(seen, "ssh");
        engine.docker(&["image", "rm", &image]);
    }
    engine.both.buildx(&["rm", by_address]);
    engine.both.rbake(&["rm", by_context]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_machine_that_ssh_cannot_use_is_named_with_the_words_of_ssh() {
    const DEFINITION: &str = "target \"default\" {\n  dockerfile-inline = \"FROM scratch\"\n}\n";
    let server = SshServer::start(None);
    let cases = [
        ("ssh://nowhere.invalid", "nowhere.invalid"),
        ("ssh://far", "docker"),
        ("ssh://far", "Permission denied"),
    ];
    for (number, (address, expected)) in cases.into_iter().enumerate() {
        if number == 2 {
            server.refuse();
        }
        let both = Both::with_path(&server.path(), address);
        both.home.write("work/docker-bake.hcl", DEFINITION);
        let output = both.home.rbake(&[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{address}: {said}");
        assert!(said.contains(expected), "{address}: {said}");
        assert!(said.contains("`DOCKER_HOST`"), "{address}: {said}");
    }
}
