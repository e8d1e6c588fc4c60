//! What the verbs that need the repositories of a definition say about mistakes in it.

use test_case::test_case;

use crate::support::project::TestProject;

const FROM: &str = "name the repository with `--from`";
const ARGUMENT: &str = "name the repository as an argument";

#[test_case(&["releases"], ARGUMENT; "releases")]
#[test_case(&["prune", "images"], ARGUMENT; "prune images")]
#[test_case(&["prune", "cache"], ARGUMENT; "prune cache")]
#[test_case(&["promote"], FROM; "promote")]
#[test_case(&["untag"], FROM; "untag")]
#[test_case(&["undo"], FROM; "undo")]
#[test_case(&["resume"], FROM; "resume")]
#[test_case(&["rollback", "0123456789"], FROM; "rollback")]
fn a_mistake_is_shown_at_its_place(verb: &[&str], help: &str) {
    let project =
        TestProject::new().file("docker-bake.hcl", "target \"a\" {\n  tags = [nosuch]\n}\n");
    let output = project.rbake(verb);
    assert_eq!(output.code, Some(3), "{output}");
    for expected in [
        "definition::unknown-variable",
        "docker-bake.hcl:2:11",
        "tags = [nosuch]",
        help,
    ] {
        assert!(
            output.stderr.contains(expected),
            "no `{expected}`: {output}"
        );
    }
    // Each verb has only one of the two.
    let other = if help == FROM { ARGUMENT } else { FROM };
    assert!(!output.stderr.contains(other), "{output}");
}
