//! `rbake builder` beside the real buildx, on the same store.

mod cache;
mod containers;
mod far;
mod programs;
mod store;

use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use crate::support::home::Home;
use crate::support::peers;

/// A user with both programs. No Docker Engine is reached unless a test sets `DOCKER_HOST`.
struct Both {
    home: Home,
    buildx: PathBuf,
}

impl Both {
    fn new() -> Self {
        Self::with_engine("unix:///nonexistent/docker.sock")
    }

    fn with_engine(host: &str) -> Self {
        Self {
            home: Home::without_programs().variable("DOCKER_HOST", host),
            buildx: peers::program("RBAKE_TEST_BUILDX"),
        }
    }

    /// A user whose programs are those of `path`.
    fn with_path(path: &str, host: &str) -> Self {
        let mut both = Self::with_engine(host);
        both.home = both.home.variable("PATH", path);
        both
    }

    #[track_caller]
    fn said(output: &Output, program: &str, arguments: &[&str]) -> String {
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn try_buildx(&self, arguments: &[&str]) -> Output {
        let mut command = self.home.command(&self.buildx);
        command.args(arguments).output().unwrap()
    }

    /// Runs buildx, which must succeed, and returns its standard output.
    #[track_caller]
    fn buildx(&self, arguments: &[&str]) -> String {
        Self::said(&self.try_buildx(arguments), "buildx", arguments)
    }

    fn try_rbake(&self, arguments: &[&str]) -> Output {
        let all: Vec<&str> = std::iter::once("+builder")
            .chain(arguments.iter().copied())
            .collect();
        self.home.rbake(&all)
    }

    /// Runs `rbake builder`, which must succeed, and returns its standard output.
    #[track_caller]
    fn rbake(&self, arguments: &[&str]) -> String {
        Self::said(&self.try_rbake(arguments), "rbake builder", arguments)
    }

    /// The builders as buildx lists them.
    #[track_caller]
    fn listed_by_buildx(&self) -> Vec<Value> {
        let text = self.buildx(&["ls", "--format", "json"]);
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect()
    }

    /// The builders as rbake lists them.
    #[track_caller]
    fn listed_by_rbake(&self) -> Vec<Value> {
        let list = serde_json::from_str(&self.rbake(&["ls", "--json"]));
        match list {
            Ok(Value::Array(list)) => list,
            other => panic!("{other:?}"),
        }
    }
}

#[track_caller]
fn named<'a>(list: &'a [Value], name: &str) -> &'a Value {
    let found = list.iter().find(|builder| builder["Name"] == name);
    found.unwrap_or_else(|| panic!("`{name}` is not in {list:#?}"))
}

/// The builder without the keys that only rbake has.
fn without_additions(builder: &Value) -> Value {
    let mut builder = builder.clone();
    builder.as_object_mut().unwrap().remove("Why");
    for node in builder["Nodes"].as_array_mut().unwrap() {
        node.as_object_mut().unwrap().remove("Reason");
    }
    builder
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn builders_are_listed_with_the_facts_that_buildx_lists() {
    let both = Both::new();
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    both.buildx(&["create", "--name", "near", "--driver", "remote", &address]);
    both.buildx(&[
        "create",
        "--name",
        "pair",
        "--driver",
        "remote",
        "--use",
        "tcp://127.0.0.1:1",
    ]);
    let more = [
        "create",
        "--name",
        "pair",
        "--append",
        "--platform",
        "linux/s390x",
        &address,
    ];
    both.buildx(&more);

    let (by_buildx, by_rbake) = (both.listed_by_buildx(), both.listed_by_rbake());
    for name in ["near", "pair"] {
        let ours = named(&by_rbake, name);
        assert_eq!(without_additions(ours), *named(&by_buildx, name), "{name}");
    }
    let pair = named(&by_rbake, "pair");
    assert_eq!(pair["Why"], "named by buildx's current builder");
    assert_eq!(pair["Nodes"][0]["Status"], "inactive");
    assert_eq!(pair["Nodes"][1]["Status"], "running");
    let inspected: Value = serde_json::from_str(&both.rbake(&["inspect", "--json"])).unwrap();
    assert_eq!(inspected, *pair);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn contexts_are_listed_as_buildx_lists_them() {
    let host = peers::peer("RBAKE_TEST_DOCKER_HOST");
    let both = Both::with_engine(&host);
    let docker = peers::program("RBAKE_TEST_DOCKER_CLI");
    let mut command = both.home.command(docker);
    command.args([
        "context",
        "create",
        "prod",
        "--docker",
        "host=unix:///nonexistent/prod.sock",
    ]);
    assert!(command.output().unwrap().status.success());
    let (by_buildx, by_rbake) = (both.listed_by_buildx(), both.listed_by_rbake());
    let ours = without_additions(named(&by_rbake, "default"));
    let mut theirs = named(&by_buildx, "default").clone();
    // Of no use to rbake: builders get no proxies of Docker's configuration from it.
    theirs["Nodes"][0]
        .as_object_mut()
        .unwrap()
        .remove("ProxyConfig");
    assert_eq!(ours, theirs);
    assert_eq!(named(&by_rbake, "prod")["Nodes"][0]["Status"], "error");
    assert!(named(&by_buildx, "prod")["Err"].is_string());
}
