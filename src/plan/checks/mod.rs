//! Checks of a finished plan that look at the local machine, or at several targets together.
//!
//! [`check_print`] makes the checks that `--print` makes, too. [`check_build`] makes those that only matter for a
//! build. Neither contacts a builder.

mod build;
mod caches;
mod files;
mod print;
mod references;

pub(crate) use build::{SharedTags, check_build};
pub(crate) use files::check_files;
pub use print::{Surroundings, check_print};

use super::model::PlannedTarget;
use crate::diag::{Class, Diagnostic, Span};

/// An error about an attribute of a target. Without `span`, it points at the target's name.
fn problem(
    code: &'static str,
    target: &PlannedTarget,
    span: Option<Span>,
    message: impl std::fmt::Display,
) -> Diagnostic {
    let message = format!("target `{}`: {message}", target.name);
    let problem = Diagnostic::error(Class::Definition, code, message);
    problem.at(span.or_else(|| target.span()), "")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::diag::{Diagnostics, Severity};
    use crate::plan::testing::{Project, codes};
    use test_case::test_case;

    fn printed(project: &Project, stdout_is_terminal: bool) -> Diagnostics {
        let plan = project.plan(&["a"]).unwrap();
        let environment = project.environment();
        let surroundings = Surroundings {
            environment: &environment,
            stdout_is_terminal,
        };
        check_print(&plan, surroundings)
    }

    fn target(attributes: &str) -> Project {
        Project::new().file(
            "docker-bake.hcl",
            &format!("target \"a\" {{\n{attributes}\n}}"),
        )
    }

    #[test_case(r#"secret = ["id=x"]"#, &["plan::secret"]; "neither variable nor file")]
    #[test_case(r#"secret = ["id=SET"]"#, &[]; "variable of its name")]
    #[test_case(r#"secret = ["id=docker-bake.hcl"]"#, &[]; "file of its name")]
    #[test_case(r#"secret = ["id=x,env=UNSET"]"#, &[]; "a variable that is not set")]
    #[test_case(r#"secret = ["id=x,src=nope,env=SET"]"#, &["plan::secret"]; "file beside a variable")]
    #[test_case(r#"secret = ["src=docker-bake.hcl"]"#, &["plan::secret"]; "no id")]
    #[test_case(r#"secret = ["id=x,src=large"]"#, &["plan::secret"]; "too large")]
    #[test_case(r#"ssh = ["default"]"#, &["plan::ssh"]; "no agent")]
    #[test_case(r#"ssh = ["k=docker-bake.hcl"]"#, &["plan::ssh"]; "no key")]
    #[test_case(r#"ssh = ["k=key"]"#, &[]; "key")]
    #[test_case(r#"ssh = ["k=pipe"]"#, &[]; "key in a pipe")]
    #[test_case(r#"ssh = ["k=."]"#, &["plan::ssh"]; "key in a directory")]
    #[test_case(r#"secret = ["id=x,src=pipe"]"#, &[]; "secret in a pipe")]
    #[test_case(r#"ssh = ["k=nope"]"#, &["plan::ssh"]; "missing key")]
    #[test_case(r#"context = "git@example.com:x.git""#, &["plan::ssh"]; "repository over SSH")]
    #[test_case(r#"output = ["type=local"]"#, &["plan::output"]; "no directory")]
    #[test_case(r#"output = ["type=local,dest=-"]"#, &["plan::output"]; "directory on standard output")]
    #[test_case(r#"output = ["docker-bake.hcl"]"#, &["plan::output"]; "directory is a file")]
    #[test_case(r#"output = ["type=tar,dest=."]"#, &["plan::output"]; "file is a directory")]
    #[test_case(r#"output = ["type=tar", "type=oci"]"#, &["plan::output"]; "two on standard output")]
    #[test_case(r#"output = ["type=tar"]"#, &[]; "one on standard output")]
    #[test_case(r#"output = ["type=docker", "new/dir"]"#, &[]; "new directory")]
    fn problems_that_printing_finds(attributes: &str, expected: &[&str]) {
        let project = target(attributes)
            .file("large", &"x".repeat(501 * 1024))
            .file("key", "-----BEGIN OPENSSH PRIVATE KEY-----\n")
            .variable("SET", "1");
        // Nothing writes to this pipe, so a check that reads it would never return.
        let pipe = project.environment().current_dir().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(pipe).status();
        assert!(made.unwrap().success());
        assert_eq!(codes(&printed(&project, false)), expected);
    }

    #[test]
    fn archives_are_not_written_to_terminals() {
        let project = target(r#"output = ["type=oci"]"#);
        assert_eq!(codes(&printed(&project, true)), ["plan::output"]);
    }

    fn built(project: &Project, args: &[&str]) -> Diagnostics {
        let plan = project.plan(args).unwrap();
        check_build(&plan, SharedTags::LastWins)
    }

    #[test]
    fn a_tag_that_two_images_claim_is_an_error_unless_the_builder_pushes() {
        let project = Project::new().file(
            "docker-bake.hcl",
            r#"
            target "a" { tags = ["x/a", "x/a:1"] }
            target "b" { tags = ["x/a:latest"] }
            "#,
        );
        let plan = project.plan(&["a", "b", "--push"]).unwrap();
        let claimed = |untagged: &[&str]| {
            let untagged = untagged.iter().map(|name| name.parse().unwrap()).collect();
            let shared = SharedTags::Refused {
                untagged: &untagged,
            };
            check_build(&plan, shared)
        };
        let found = claimed(&[]);
        assert_eq!(codes(&found), ["publish::claimed-twice"]);
        assert!(found.has_errors());
        assert!(found.0[0].message.contains("x/a:latest"), "{found:?}");
        // The image for the command of a gate gets no tags.
        assert_eq!(codes(&claimed(&["b"])), [""; 0]);
        let local = project.plan(&["a", "b"]).unwrap();
        let shared = SharedTags::Refused {
            untagged: &BTreeSet::new(),
        };
        let found = check_build(&local, shared);
        assert_eq!(codes(&found), [""; 0]);
    }

    #[test_case(r#"tags = ["Bad Tag", "ok", "x:feature/a"]"#, &["plan::image-name", "plan::image-name"]; "names")]
    #[test_case(r#"output = ["type=image,name=a:.b"]"#, &["plan::image-name"]; "name of an output")]
    #[test_case(r#"output = ["type=registry"]"#, &["plan::no-image-name"]; "nothing to push to")]
    #[test_case(r#"output = ["type=registry,name=a", "type=image,push=true"]"#, &["plan::no-image-name"]; "one of two with nothing to push to")]
    #[test_case(r#"output = ["type=registry,name=a:.b"]"#, &["plan::image-name"]; "pushed to an illegal name")]
    #[test_case("tags = [\"x/a:rbake-run-20261128T223000Z-0a1b2c3d\"]\noutput = [\"type=registry\"]", &["publish::reserved-tag"]; "a record")]
    #[test_case("tags = [\"x/a:rbake-prune-1\"]\noutput = [\"type=registry\"]", &["publish::reserved-tag"]; "a lease")]
    #[test_case("tags = [\"x/a:rbake-run-1\"]\noutput = [\"type=image\"]", &[]; "a tag like a record that is not pushed")]
    #[test_case(r#"network = "hots""#, &["plan::network"]; "network")]
    #[test_case(r#"extra-hosts = { a = "b" }"#, &["plan::extra-host"]; "host")]
    #[test_case(r#"output = ["type=local,dest=d,mode=zz"]"#, &["plan::local-mode"]; "mode")]
    #[test_case(r#"output = ["type=local,dest=d,\"mode= DELETE\""]"#, &[]; "mode in upper case")]
    #[test_case(
        r#"output = ["type=oci,dest=d,tar=false", "type=local,dest=l", "type=docker,dest=e,tar=0"]"#,
        &["plan::output"]; "two layouts"
    )]
    #[test_case(r#"cache-to = ["type=registry"]"#, &["plan::cache-reference"]; "cache without a name")]
    #[test_case(r#"cache-from = ["example.com/x:123/merge"]"#, &["plan::cache-reference"]; "cache of a branch")]
    fn problems_that_building_finds(attributes: &str, expected: &[&str]) {
        assert_eq!(codes(&built(&target(attributes), &["a"])), expected);
    }

    #[test_case("type=tar", "type=oci,dest=-", &["plan::output"]; "archives of two targets")]
    #[test_case("type=tar,dest=/dev/stdout", "type=docker,dest=/dev/fd/1", &["plan::output"]; "by the paths of standard output")]
    #[test_case("type=tar", "type=oci,dest=b.tar", &[]; "one of them in a file")]
    #[test_case("type=tar,dest=-", "type=docker", &[]; "one of them in an Engine")]
    fn archives_of_several_targets_are_not_mixed(a: &str, b: &str, expected: &[&str]) {
        let project = Project::new().file(
            "docker-bake.hcl",
            &format!(
                "target \"a\" {{ output = [\"{a}\"] }}\ntarget \"b\" {{ output = [\"{b}\"] }}"
            ),
        );
        let found = built(&project, &["a", "b"]);
        assert_eq!(codes(&found), expected);
        assert_eq!(found.has_errors(), !expected.is_empty());
        assert_eq!(codes(&built(&project, &["a"])), [""; 0]);
    }

    #[test]
    fn caches_do_not_overwrite_images() {
        let project = target(
            r#"
            tags = ["docker.io/library/app"]
            cache-to = ["type=registry,ref=app:latest"]
            "#,
        );
        assert_eq!(codes(&built(&project, &["a"])), [""; 0]);
        let pushed = built(&project, &["a", "--push"]);
        assert_eq!(codes(&pushed), ["plan::cache-overwrites-image"]);
    }

    #[test]
    fn places_that_several_targets_write_to_cause_warnings() {
        let project = Project::new().file(
            "docker-bake.hcl",
            r#"
            target "base" { cache-to = ["type=gha", "x/cache", "type=inline", "type=local,dest=./c/", "type=s3,bucket=b,name=x;y", "type=azblob,account_url=https://a/,name=y"] }
            target "a" {
              inherits = ["base"]
              tags = ["x/a"]
            }
            target "b" {
              inherits = ["base"]
              tags = ["x/a:latest", "x/b"]
            }
            target "c" {
              tags = ["x/c"]
              cache-to = ["type=gha,timeout=1m", "type=registry,ref=x/cache,compression=zstd", "type=local,dest=c,compression=zstd", "type=s3,bucket=b,name=z;y,compression=zstd", "type=azblob,account_url=https://a,name=y,compression=zstd"]
            }
            "#,
        );
        // Equal caches are merged.
        assert_eq!(
            codes(&built(&project, &["a", "b", "--push"])),
            ["plan::shared-image-name"]
        );
        let warnings = built(&project, &["a", "b", "c", "--push"]);
        assert_eq!(
            codes(&warnings),
            [
                "plan::shared-cache",
                "plan::shared-cache",
                "plan::shared-cache",
                "plan::shared-cache",
                "plan::shared-cache",
                "plan::shared-image-name"
            ]
        );
        assert!(warnings.0.iter().all(|w| w.severity == Severity::Warning));
        assert_eq!(codes(&built(&project, &["a", "--push"])), [""; 0]);
    }

    #[test]
    fn the_error_for_fields_in_an_ssh_entry_explains_the_form() {
        let problems = printed(&target(r#"ssh = ["id=default"]"#), false);
        assert!(problems.0[0].help[0].contains("`ID=PATH`"), "{problems:?}");
        let problems = printed(&target(r#"ssh = ["k=nope"]"#), false);
        assert!(problems.0[0].help.is_empty(), "{problems:?}");
    }
}
