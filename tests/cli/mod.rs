//! The command line without a builder: one file per verb; each test is a session whose whole output is a snapshot.
//!
//! Paths and the version are redacted (`support/project.rs`). What the output does not show is asserted.
//! `INSTA_UPDATE=always cargo test cli::` updates the snapshots.

mod bake;
mod builder;
mod completion;
mod help;
mod install_script;
mod logs;
mod man;
mod mistakes_for_verbs;
mod panics;
mod prune;
mod prune_services;
mod untag_services;
mod version;
mod words;

use crate::support::project::TestProject;

fn project() -> TestProject {
    TestProject::new()
        .file(
            "docker-bake.hcl",
            r#"
variable "TAG" {
  default = "1"
  validation {
    condition     = TAG != ""
    error_message = "TAG must not be empty."
  }
}

group "default" {
  targets = ["webapp", "db"]
}

target "webapp" {
  description = "Serves"
  tags        = ["example.com/webapp:${TAG}"]
}

target "db" {
  context = "db"
}
"#,
        )
        .file("Dockerfile", "FROM scratch\nCOPY . /\n")
        .file("db/Dockerfile", "FROM scratch\nCOPY . /\n")
}
