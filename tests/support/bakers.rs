//! rbake and buildx side by side: both bake the same project on the same daemon.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::peers;
use super::project::{CommandOutput, TestProject};

/// A program that bakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Baker {
    Rbake,
    Buildx,
}

impl Baker {
    /// Both programs, rbake first.
    pub(crate) const ALL: [Self; 2] = [Self::Rbake, Self::Buildx];
}

/// Both programs, set up for one daemon.
pub(crate) struct Bakers {
    address: String,
    buildx: PathBuf,
    configuration: tempfile::TempDir,
}

impl Bakers {
    /// Both programs on the daemon that all tests of a run share.
    pub(crate) fn on_the_shared_daemon() -> Self {
        Self::on(&peers::peer("RBAKE_TEST_BUILDKIT_ADDR"))
    }

    /// Both programs on the daemon at `address`.
    pub(crate) fn on(address: &str) -> Self {
        let bakers = Self {
            address: address.to_owned(),
            buildx: peers::program("RBAKE_TEST_BUILDX"),
            configuration: tempfile::tempdir().unwrap(),
        };
        let create = ["create", "--driver", "remote", "--name", "test", address];
        let created = bakers.buildx(&TestProject::new(), &create);
        assert_eq!(created.code, Some(0), "{created}");
        bakers
    }

    /// buildx's configuration directory. rbake reads it, too, if `BUILDX_CONFIG` names it.
    pub(crate) fn buildx_dir(&self) -> &Path {
        self.configuration.path()
    }

    /// The address of the daemon.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Runs buildx with `arguments` in `project`.
    pub(crate) fn buildx(&self, project: &TestProject, arguments: &[&str]) -> CommandOutput {
        let mut command = self.buildx_command(project, arguments);
        project.read(&command.output().unwrap())
    }

    fn buildx_command(&self, project: &TestProject, arguments: &[&str]) -> Command {
        let mut command = project.program(&self.buildx, arguments);
        command.env("BUILDX_CONFIG", self.configuration.path());
        command
    }

    /// The command that bakes `project` with one of the programs, not yet started.
    pub(crate) fn command(
        &self,
        baker: Baker,
        project: &TestProject,
        arguments: &[&str],
    ) -> Command {
        match baker {
            Baker::Rbake => {
                let mut command = project.command(arguments);
                command.env("BUILDKIT_HOST", &self.address);
                command
            }
            Baker::Buildx => {
                let mut words = vec!["bake", "--builder", "test", "--progress=plain"];
                words.extend(arguments);
                self.buildx_command(project, &words)
            }
        }
    }

    /// Bakes `project` with one of the programs.
    pub(crate) fn bake(
        &self,
        baker: Baker,
        project: &TestProject,
        arguments: &[&str],
    ) -> CommandOutput {
        let mut command = self.command(baker, project, arguments);
        project.read(&command.output().unwrap())
    }
}
