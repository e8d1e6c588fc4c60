//! Builders with the driver `kubernetes`: with a fake cluster whose pods are real daemons, and ([`real`]) with a real cluster.

mod beside_buildx;
mod contract;
mod failures;
mod real;

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::support::fake_kubernetes::FakeKubernetes;
use crate::support::home::Home;
use crate::support::peers;

const BAKE: &str = "target \"default\" {\n  dockerfile-inline = \"FROM scratch\\nCOPY a /\"\n  output = [\"type=local,dest=out\"]\n}\n";

/// A user of a cluster.
struct User {
    home: Home,
    kubeconfig: PathBuf,
}

impl User {
    fn new(kubeconfig: &Path) -> Self {
        let home = Home::without_programs()
            .variable("DOCKER_HOST", "unix:///nonexistent/docker.sock")
            .variable("KUBECONFIG", kubeconfig.to_str().unwrap());
        home.write("work/docker-bake.hcl", BAKE);
        home.write("work/a", "through Kubernetes");
        Self {
            home,
            kubeconfig: kubeconfig.to_owned(),
        }
    }

    fn try_rbake(&self, arguments: &[&str]) -> Output {
        self.home.rbake(arguments)
    }

    /// Runs rbake, which must succeed, and returns its standard output.
    #[track_caller]
    fn rbake(&self, arguments: &[&str]) -> String {
        said(&self.try_rbake(arguments), arguments)
    }

    /// Creates the builder `name` in Kubernetes, with the arguments `more`.
    #[track_caller]
    fn create(&self, name: &str, more: &[&str]) {
        self.rbake(&created(name, more));
    }

    /// Runs rbake, which must fail, and returns its standard error.
    #[track_caller]
    fn failing(&self, arguments: &[&str]) -> String {
        let output = self.try_rbake(arguments);
        assert!(!output.status.success(), "{arguments:?} has succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Runs buildx, which must succeed, and returns its standard output.
    #[track_caller]
    fn buildx(&self, arguments: &[&str]) -> String {
        let mut command = self.home.command(peers::program("RBAKE_TEST_BUILDX"));
        said(&command.args(arguments).output().unwrap(), arguments)
    }

    /// Builds, and checks what was built.
    #[track_caller]
    fn bake(&self, builder: &str) {
        self.rbake(&["--builder", builder]);
        let path = self.home.path("work/out/a");
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "through Kubernetes"
        );
        std::fs::remove_file(path).unwrap();
    }

    /// The builder as `rbake builder ls` shows it.
    #[track_caller]
    fn listed(&self, builder: &str) -> Value {
        let list: Value = serde_json::from_str(&self.rbake(&["+builder", "ls", "--json"])).unwrap();
        let list = list.as_array().unwrap().clone();
        let found = list.into_iter().find(|one| one["Name"] == builder);
        found.unwrap_or_else(|| panic!("no `{builder}`"))
    }
}

/// The arguments that create the builder `name` in Kubernetes, and `more`.
fn created<'a>(name: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec![
        "+builder",
        "create",
        "--name",
        name,
        "--driver",
        "kubernetes",
    ];
    words.extend(more);
    words
}

#[track_caller]
fn said(output: &Output, arguments: &[&str]) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A fake cluster whose pods are the daemon that all tests share.
fn fake() -> FakeKubernetes {
    FakeKubernetes::start(&[peers::peer("RBAKE_TEST_BUILDKIT_ADDR")])
}

fn nodes(builder: &Value) -> Vec<(String, String)> {
    let nodes = builder["Nodes"].as_array().unwrap().iter();
    nodes
        .map(|node| {
            let text = |key: &str| node[key].as_str().unwrap_or_default().to_owned();
            (text("Name"), text("Status"))
        })
        .collect()
}
