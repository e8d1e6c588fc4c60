//! The two daemons.

use std::process::{Command, Output};

use serde_json::Value;

use super::text;
use crate::support::bakers::Baker;
use crate::support::buildkitd::Buildkitd;
use crate::support::home::{Home, rbake};
use crate::support::peers;

const DOCKERFILE: &str = "FROM scratch AS base\nCOPY file /\nFROM base\nARG TARGETARCH\nENV ARCH=$TARGETARCH\nCOPY file /again\n";

/// Two daemons, and a user whose current builder has both as nodes.
pub(in crate::live) struct Pair {
    pub(in crate::live) home: Home,
    pub(super) amd64: Buildkitd,
    pub(super) arm64: Buildkitd,
    pub(super) registry: String,
}

impl Pair {
    /// The builder is created by `creator`, with the platforms of the nodes.
    pub(in crate::live) async fn created_by(creator: Baker) -> Self {
        let amd64 = Buildkitd::start_with_images().await;
        let arm64 = Buildkitd::start_with_images().await;
        let pair = Self {
            home: Home::without_programs()
                .variable("DOCKER_HOST", "unix:///nonexistent/docker.sock"),
            amd64,
            arm64,
            registry: peers::peer("RBAKE_TEST_REGISTRY_ADDR"),
        };
        let (first, second) = (
            pair.amd64.endpoint().to_string(),
            pair.arm64.endpoint().to_string(),
        );
        pair.create(
            creator,
            &[
                "--name",
                "pair",
                "--use",
                "--driver",
                "remote",
                "--platform",
                "linux/amd64",
                &first,
            ],
        );
        pair.create(
            creator,
            &[
                "--name",
                "pair",
                "--append",
                "--platform",
                "linux/arm64",
                &second,
            ],
        );
        pair
    }

    pub(in crate::live) fn create(&self, creator: Baker, arguments: &[&str]) {
        let output = match creator {
            Baker::Rbake => self
                .home
                .rbake(&[&["+builder", "create"], arguments].concat()),
            Baker::Buildx => {
                let mut command = self.home.command(peers::program("RBAKE_TEST_BUILDX"));
                command.arg("create").args(arguments).output().unwrap()
            }
        };
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// The repository `name` of the tests' registry.
    pub(in crate::live) fn repository(&self, name: &str) -> String {
        format!("{}/nodes/{name}", self.registry)
    }

    pub(in crate::live) fn write(&self, definition: &str) {
        self.home.write("work/docker-bake.hcl", definition);
        self.home.write("work/Dockerfile", DOCKERFILE);
        self.home.write("work/file", "content");
    }

    pub(in crate::live) fn command(&self, baker: Baker, arguments: &[&str]) -> Command {
        match baker {
            Baker::Rbake => {
                let mut command = self.home.command(rbake());
                command.args(arguments);
                command
            }
            Baker::Buildx => {
                let mut command = self.home.command(peers::program("RBAKE_TEST_BUILDX"));
                command.args(["bake", "--progress=plain"]).args(arguments);
                command
            }
        }
    }

    pub(in crate::live) fn bake(&self, baker: Baker, arguments: &[&str]) -> Output {
        self.command(baker, arguments).output().unwrap()
    }

    #[track_caller]
    pub(in crate::live) fn bakes(&self, baker: Baker, arguments: &[&str]) -> String {
        let output = self.bake(baker, arguments);
        let said = text(&output.stderr);
        assert!(output.status.success(), "{baker:?} {arguments:?}: {said}");
        said
    }

    #[track_caller]
    pub(in crate::live) fn refuses(&self, baker: Baker, arguments: &[&str]) -> String {
        let output = self.bake(baker, arguments);
        let said = text(&output.stderr);
        assert!(!output.status.success(), "{baker:?} {arguments:?}: {said}");
        said
    }

    pub(in crate::live) fn read(&self, path: &str) -> Value {
        let text = std::fs::read_to_string(self.home.path("work").join(path)).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}
