//! Targets whose contexts are the results of other targets, from the command line.

mod caches;
mod failures;
mod images;
mod publish;

use std::collections::BTreeSet;

use crate::support::bakers::{Baker, Bakers};
use crate::support::buildkitd::Buildkitd;
use crate::support::project::{CommandOutput, TestProject};

/// A step whose result differs each time it runs.
const STAMP: &str = "RUN cat /proc/sys/kernel/random/uuid > /stamp";

/// A project and a daemon of its own: a mistake may crash the daemon, and each test must notice that.
struct Linked {
    daemon: Buildkitd,
    project: TestProject,
}

impl Linked {
    async fn new(definition: &str) -> Self {
        let definition = definition.replace("STAMP", STAMP);
        Self {
            daemon: Buildkitd::start_with_images().await,
            project: TestProject::new()
                .file("docker-bake.hcl", definition)
                .file("a", "a\n")
                .file("b", "b\n")
                .file("sub/c", "c\n"),
        }
    }

    fn address(&self) -> String {
        self.daemon.endpoint().to_string()
    }

    fn bake(&self, baker: Baker, arguments: &[&str]) -> CommandOutput {
        Bakers::on(&self.address()).bake(baker, &self.project, arguments)
    }

    fn rbake(&self, arguments: &[&str]) -> CommandOutput {
        self.bake(Baker::Rbake, arguments)
    }

    /// The text of a file of the project.
    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.project.path().join(path))
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The different texts of these files.
    fn texts(&self, paths: &[&str]) -> BTreeSet<String> {
        paths.iter().map(|path| self.read(path)).collect()
    }

    /// The daemon is the one with which the test began, and has not panicked.
    #[track_caller]
    fn assert_daemon_is_well(&self) {
        assert!(self.daemon.is_alive(), "{}", self.daemon.log());
        assert!(
            !self.daemon.log().contains("panic"),
            "{}",
            self.daemon.log()
        );
    }
}

#[track_caller]
fn assert_succeeds(output: &CommandOutput) {
    assert_eq!(output.code, Some(0), "{output}");
}
