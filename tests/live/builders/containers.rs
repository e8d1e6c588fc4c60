//! Builders in containers of a real Docker Engine.

use std::process::Command;
use std::sync::Mutex;

use serde_json::Value;

use super::{Both, named};
use crate::support::home::Home;
use crate::support::peers;

/// The image of builders. No registry has it, so both programs use the Engine's own.
pub(super) const IMAGE: &str = "127.0.0.1:1/rbake/buildkit:test";

static IMPORT: Mutex<()> = Mutex::new(());

/// A user whose Engine has the image, and the `docker` command.
pub(super) struct Engine {
    pub(super) both: Both,
    host: String,
}

impl Engine {
    pub(super) fn new() -> Self {
        let host = peers::peer("RBAKE_TEST_DOCKER_HOST");
        let both = Both::with_engine(&host);
        Self::of(both, host)
    }

    /// The Engine for a user who reaches it at `host`.
    pub(super) fn of(both: Both, host: String) -> Self {
        let engine = Self { both, host };
        let one_at_a_time = IMPORT
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if engine.docker(&["image", "ls", "--quiet", IMAGE]).is_empty() {
            engine.import();
        }
        drop(one_at_a_time);
        engine
    }

    fn import(&self) {
        let home = &self.both.home;
        for folder in [
            "bin", "etc", "tmp", "var/lib", "sbin", "proc", "sys", "dev", "run",
        ] {
            std::fs::create_dir_all(home.path("image").join(folder)).unwrap();
        }
        for (variable, name) in [
            ("RBAKE_TEST_BUILDKITD", "buildkitd"),
            ("RBAKE_TEST_BUILDCTL", "buildctl"),
        ] {
            let to = home.path("image/bin").join(name);
            std::fs::copy(peers::program(variable), to).unwrap();
        }
        // buildkitd checks for runc at its start, although no step runs here.
        std::fs::hard_link(home.path("image/bin/buildctl"), home.path("image/bin/runc")).unwrap();
        let packed = Command::new("tar")
            .args(["-C", home.path("image").to_str().unwrap(), "-cf"])
            .arg(home.path("image.tar"))
            .arg(".")
            .status();
        assert!(packed.unwrap().success());
        let tar = home.path("image.tar").display().to_string();
        let entrypoint = "ENTRYPOINT [\"/bin/buildkitd\"]";
        self.docker(&[
            "import",
            "--change",
            entrypoint,
            "--change",
            "ENV PATH=/bin",
            &tar,
            IMAGE,
        ]);
        std::fs::remove_dir_all(home.path("image")).unwrap();
        std::fs::remove_file(home.path("image.tar")).unwrap();
    }

    pub(super) fn docker(&self, arguments: &[&str]) -> String {
        let mut command = self
            .both
            .home
            .command(peers::program("RBAKE_TEST_DOCKER_CLI"));
        let output = command.args(arguments).output().unwrap();
        Both::said(&output, "docker", arguments).trim().to_owned()
    }

    /// The container of the only node of `builder`.
    fn container(&self, builder: &str) -> Value {
        let name = format!("buildx_buildkit_{builder}0");
        serde_json::from_str::<Value>(&self.docker(&["container", "inspect", &name])).unwrap()[0]
            .take()
    }

    fn has(&self, kind: &str, name: &str) -> bool {
        let names = self.docker(&[
            kind,
            "ls",
            "--format",
            if kind == "container" {
                "{{.Names}}"
            } else {
                "{{.Name}}"
            },
        ]);
        names.lines().any(|line| line == name)
    }
}

/// Builders of this test, whose names no other test has. They are removed at the end.
pub(super) struct Names<'a> {
    engine: &'a Engine,
    pub(super) names: Vec<String>,
}

impl<'a> Names<'a> {
    pub(super) fn new(engine: &'a Engine, test: &str, count: usize) -> Self {
        let name = |number| format!("t{}{test}{number}x", std::process::id());
        Self {
            engine,
            names: (0..count).map(name).collect(),
        }
    }

    /// Creates the builder with this number, and returns its name.
    #[track_caller]
    pub(super) fn create(&self, number: usize, more: &[&str]) -> &str {
        let name = &*self.names[number];
        let image = format!("image={IMAGE}");
        let common = [
            "create",
            "--name",
            name,
            "--driver",
            "docker-container",
            "--driver-opt",
            &image,
        ];
        self.engine.both.rbake(&[&common[..], more].concat());
        name
    }
}

impl Drop for Names<'_> {
    fn drop(&mut self) {
        for name in &self.names {
            let container = format!("buildx_buildkit_{name}0");
            for arguments in [
                ["rm", "--force", "--volumes", &container],
                ["volume", "rm", "--force", &format!("{container}_state")],
            ] {
                let mut command = self
                    .engine
                    .both
                    .home
                    .command(peers::program("RBAKE_TEST_DOCKER_CLI"));
                let _ = command.args(arguments).output();
            }
        }
    }
}

/// The parts of a container that do not depend on the program that made it.
fn comparable(container: &Value, builder: &str) -> Value {
    let text = |value: &Value| value.to_string().replace(builder, "BUILDER");
    let mounts: Vec<_> = container["Mounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| {
            [
                text(&mount["Type"]),
                text(&mount["Name"]),
                text(&mount["Destination"]),
            ]
        })
        .collect();
    let host: Value = serde_json::from_str(&text(&container["HostConfig"])).unwrap();
    let config = &container["Config"];
    serde_json::json!({
        "host": host,
        "command": config["Cmd"],
        "env": config["Env"],
        "entrypoint": config["Entrypoint"],
        "image": container["Image"],
        "mounts": mounts,
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn containers_are_made_as_buildx_makes_them() {
    let engine = Engine::new();
    let names = Names::new(&engine, "equal", 2);
    let [theirs, ours] = [&*names.names[0], &*names.names[1]];
    let config = engine.both.home.path("my.toml");
    std::fs::write(
        &config,
        "debug = true\n[worker.oci.labels]\n\"test.label\" = \"from the file\"\n",
    )
    .unwrap();
    let config = config.display().to_string();
    let image = format!("image={IMAGE}");
    let create = |name: &str| -> Vec<String> {
        [
            "create",
            "--name",
            name,
            "--driver",
            "docker-container",
            "--bootstrap",
            "--driver-opt",
            &image,
            "--driver-opt",
            "env.A=b,memory=700m,memory-swap=-1,cpu-shares=512",
            "--driver-opt",
            "restart-policy=on-failure:3",
            "--buildkitd-config",
            &config,
            "--buildkitd-flags",
            "--oci-worker-gc=false",
        ]
        .map(str::to_owned)
        .to_vec()
    };
    let as_words = |words: &[String]| {
        words
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\u{0}")
    };
    let run = |program: &dyn Fn(&[&str]) -> String, name: &str| {
        let words = create(name);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(program(&words).trim(), name, "{}", as_words(&create(name)));
    };
    run(&|words| engine.both.buildx(words), theirs);
    run(&|words| engine.both.rbake(words), ours);
    assert_eq!(
        comparable(&engine.container(ours), ours),
        comparable(&engine.container(theirs), theirs)
    );
    // Each program uses what the other has made.
    let by_rbake = engine.both.listed_by_rbake();
    let by_buildx = engine.both.listed_by_buildx();
    for name in [theirs, ours] {
        for list in [&by_rbake, &by_buildx] {
            let node = &named(list, name)["Nodes"][0];
            assert_eq!(node["Status"], "running", "{node:#}");
            assert_eq!(node["Labels"]["test.label"], "from the file", "{node:#}");
        }
    }
    engine.both.buildx(&["rm", ours]);
    engine.both.rbake(&["rm", theirs]);
    for name in [theirs, ours] {
        let container = format!("buildx_buildkit_{name}0");
        assert!(
            !engine.has("container", &container)
                && !engine.has("volume", &format!("{container}_state"))
        );
        assert!(
            !engine
                .both
                .listed_by_rbake()
                .iter()
                .any(|builder| builder["Name"] == *name)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_build_makes_and_starts_the_container_of_its_builder() {
    let engine = Engine::new();
    let names = Names::new(&engine, "auto", 1);
    let name = &*names.names[0];
    let image = format!("image={IMAGE}");
    engine.both.buildx(&[
        "create",
        "--name",
        name,
        "--driver",
        "docker-container",
        "--driver-opt",
        &image,
        "--use",
    ]);
    let home: &Home = &engine.both.home;
    home.write("work/docker-bake.hcl", "target \"default\" {\n  dockerfile-inline = \"FROM scratch\\nCOPY a /\"\n  output = [\"type=cacheonly\"]\n}\n");
    home.write("work/a", "a");
    let status = engine.both.rbake(&["status"]);
    assert!(status.contains("not made yet; a run makes it"), "{status}");
    let bake = || Both::said(&home.rbake(&[]), "rbake", &[]);
    bake();
    assert_eq!(engine.container(name)["State"]["Running"], true);
    // Stopped by buildx, it is started by the next build, and has kept its state.
    engine.both.buildx(&["stop", name]);
    assert_eq!(
        named(&engine.both.listed_by_rbake(), name)["Nodes"][0]["Status"],
        "stopped"
    );
    bake();
    assert!(engine.both.rbake(&["stop", name]).contains("has stopped"));
    assert!(engine.both.rbake(&["stop"]).contains("is not running"));
    assert!(engine.both.rbake(&["start"]).contains("runs"));
    let inspected = engine.both.buildx(&["inspect", name]);
    assert!(inspected.contains("running"), "{inspected}");
    // The state stays for the next builder of the name.
    let volume = format!("buildx_buildkit_{name}0_state");
    engine.both.rbake(&["rm", "--keep-state", name]);
    assert!(engine.has("volume", &volume));
    assert!(!engine.has("container", &format!("buildx_buildkit_{name}0")));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn builds_at_the_same_time_make_one_container() {
    let engine = Engine::new();
    let names = Names::new(&engine, "race", 1);
    let name = &*names.names[0];
    let image = format!("image={IMAGE}");
    engine.both.rbake(&[
        "create",
        "--name",
        name,
        "--driver",
        "docker-container",
        "--driver-opt",
        &image,
    ]);
    let run = || {
        let mut command = engine.both.home.command(crate::support::home::rbake());
        command.args(["+builder", "start", name]);
        command
            .stderr(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    for child in (0..4).map(|_| run()).collect::<Vec<_>>() {
        let output = child.wait_with_output().unwrap();
        Both::said(&output, "rbake builder start", &[name]);
    }
    assert_eq!(engine.container(name)["State"]["Running"], true);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn images_that_do_not_exist_and_daemons_that_do_not_start_are_explained() {
    let engine = Engine::new();
    let names = Names::new(&engine, "bad", 2);
    let refused = |arguments: &[&str]| {
        let output = engine.both.try_rbake(arguments);
        assert_eq!(output.status.code(), Some(4), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let create = |name: &str, more: &[&str]| {
        let common = ["create", "--name", name, "--driver", "docker-container"];
        engine.both.rbake(&[&common[..], more].concat());
    };
    create(
        &names.names[0],
        &["--driver-opt", "image=127.0.0.1:1/no/such:image"],
    );
    let said = refused(&["start", &names.names[0]]);
    assert!(
        said.contains("did not pull `127.0.0.1:1/no/such:image`"),
        "{said}"
    );
    let image = format!("image={IMAGE}");
    create(
        &names.names[1],
        &[
            "--driver-opt",
            &image,
            "--buildkitd-flags",
            "--oci-worker-snapshotter=nonsense",
        ],
    );
    let said = refused(&["inspect", "--bootstrap", &names.names[1]]);
    assert!(said.contains("nonsense"), "{said}");
    // A name of a context in place of an address.
    let mut without = engine.both.home.command(crate::support::home::rbake());
    without.args([
        "+builder",
        "create",
        "--name",
        "far",
        "--driver",
        "docker-container",
    ]);
    without.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let output = without.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(
        said.contains("builder::unreachable") && !engine.host.is_empty(),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn inactive_builders_are_removed_and_running_ones_stay() {
    let engine = Engine::new();
    let names = Names::new(&engine, "idle", 2);
    let image = format!("image={IMAGE}");
    for name in &names.names {
        engine.both.rbake(&[
            "create",
            "--name",
            name,
            "--driver",
            "docker-container",
            "--driver-opt",
            &image,
        ]);
    }
    engine.both.rbake(&["start", &names.names[1]]);
    let output = engine.both.try_rbake(&["rm", "--all-inactive"]);
    assert_eq!(output.status.code(), Some(2), "nobody can be asked");
    let said = engine.both.rbake(&["rm", "--all-inactive", "--force"]);
    assert_eq!(said, format!("{} removed\n", names.names[0]));
    named(&engine.both.listed_by_buildx(), &names.names[1]);
}
