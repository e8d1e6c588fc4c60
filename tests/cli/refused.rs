//! Bad input: each ends with a message that names the thing and the way out, and with the right code.

use super::project;
use crate::support::project::{CommandOutput, TestProject};

#[track_caller]
fn refused(output: &CommandOutput, code: i32, words: &[&str]) {
    assert_eq!(output.code, Some(code), "{output}");
    assert_eq!(output.stdout, "", "{output}");
    for word in words {
        assert!(
            output.stderr.contains(word),
            "`{word}` is missing: {output}"
        );
    }
}

#[test]
fn no_definition() {
    let output = TestProject::new().rbake(&[]);
    refused(&output, 3, &["docker-bake.hcl", "-f"]);
}

#[test]
fn a_file_that_is_not_there() {
    refused(
        &project().rbake(&["-f", "docker-bake.hlc"]),
        3,
        &["docker-bake.hlc"],
    );
}

#[test]
fn a_broken_file_shows_the_place() {
    let project =
        TestProject::new().file("docker-bake.hcl", "target \"a\" {\n  tags = [\"x\"\n}\n");
    refused(&project.rbake(&["a"]), 3, &["docker-bake.hcl:"]);
}

#[test]
fn an_unknown_target_suggests_a_name() {
    let output = project().rbake(&["--print", "web-app"]);
    refused(
        &output,
        3,
        &[
            "plan::unknown-target",
            "`web-app`",
            "a target or group with a similar name exists: `webapp`",
        ],
    );
}

#[test]
fn an_unknown_member_of_a_group_is_shown_where_it_is_written() {
    let project = TestProject::new().file(
        "docker-bake.hcl",
        "group \"default\" {\n  targets = [\"web-app\", \"db\"]\n}\ntarget \"webapp\" {}\ntarget \"db\" {}\n",
    );
    let output = project.rbake(&["--print"]);
    insta::assert_snapshot!(output.stderr, @r#"
    error[plan::unknown-target]: target `web-app` is not defined
     --> docker-bake.hcl:2:14
      |
    2 |   targets = ["web-app", "db"]
      |              ^^^^^^^^^ no such target or group
      |
      = note: there are `default`, `webapp` and `db`
      = help: a target or group with a similar name exists: `webapp`
    "#);
}

#[test]
fn a_wrong_value_of_a_variable_shows_the_rule() {
    refused(
        &project().env("TAG", "").rbake(&["--print"]),
        3,
        &["TAG must not be empty."],
    );
}

#[test]
fn an_unknown_variable_is_named() {
    let project = TestProject::new().file(
        "docker-bake.hcl",
        "target \"a\" { tags = [TAGG] }\nvariable \"TAG\" {}\n",
    );
    refused(&project.rbake(&["--print", "a"]), 3, &["TAGG", "TAG"]);
}

#[test]
fn every_error_is_told_in_one_run() {
    let project = TestProject::new().file(
        "docker-bake.hcl",
        "target \"a\" { tags = [ONE] }\ntarget \"b\" { tags = [TWO] }\n",
    );
    refused(&project.rbake(&["--print", "a"]), 3, &["ONE", "TWO"]);
}

#[test]
fn a_missing_dockerfile() {
    let project = project().file("db/Dockerfile.dev", "FROM scratch\n");
    let output = project.rbake(&["db", "--set", "db.dockerfile=Dockerfile.dve"]);
    refused(
        &output,
        3,
        &[
            "db/Dockerfile.dve",
            "a file with a similar name exists: `Dockerfile.dev`",
        ],
    );
}

#[test]
fn a_missing_context() {
    let output = project().rbake(&["db", "--set", "db.context=nowhere"]);
    refused(&output, 3, &["run::context-missing", "`nowhere`"]);
}

#[test]
fn a_missing_secret() {
    let output = project().rbake(&["db", "--set", "db.secrets=id=token,src=token.txt"]);
    refused(&output, 3, &["token.txt"]);
}

#[test]
fn a_tag_that_is_none() {
    let output = project().rbake(&["db", "--set", "db.tags=example.com/x:feature/a", "--push"]);
    refused(&output, 3, &["feature/a"]);
}

#[test]
fn a_cache_reference_that_is_none_is_told_before_any_work() {
    let output = project().rbake(&[
        "db",
        "--set",
        "db.cache-to=type=registry,ref=example.com/cache:123/merge",
    ]);
    refused(&output, 3, &["123/merge"]);
}

#[test]
fn what_cannot_be_built_yet_is_an_error_and_still_printed() {
    let link = ["db", "--set", "db.contexts.x=target:webapp"];
    refused(
        &project().rbake(&link),
        3,
        &["`contexts.x`", "target `db`", "cannot build yet"],
    );
    let output = project().rbake(&[&link[..], &["--print"]].concat());
    assert_eq!(output.code, Some(0), "{output}");
}

#[test]
fn what_is_wrong_with_compose_files_is_all_told_with_its_place() {
    let project = TestProject::new()
        .file(
            "compose.yaml",
            "include: [more.yaml]\nservices:\n  web:\n    build: {contxt: ., tags: web}\n",
        )
        .file(
            "more.yaml",
            "services:\n  db: {extends: {file: base.yaml, service: dbs}}\n",
        )
        .file("base.yaml", "services:\n  db: {build: .}\n");
    refused(&project.rbake(&[]), 3, &["more.yaml:2:44", "`dbs`", "`db`"]);
    let project = project.file("more.yaml", "services: {}\n");
    let words = [
        "compose.yaml:4:13",
        "`contxt`",
        "`context`",
        "compose.yaml:4:30",
    ];
    refused(&project.rbake(&[]), 3, &words);
}

#[test]
fn wrong_flags() {
    refused(
        &project().rbake(&["--progress=fancy"]),
        2,
        &["fancy", "plain"],
    );
    refused(&project().rbake(&["--progress=tty"]), 2, &["terminal"]);
    refused(&project().rbake(&["--nope"]), 2, &["--nope"]);
    refused(&project().rbake(&["--var", "X"]), 2, &["--var X"]);
    refused(&project().rbake(&["--push=maybe"]), 2, &["maybe"]);
    refused(
        &project().rbake(&["--print", "--list=targets"]),
        2,
        &["--list"],
    );
}

#[test]
fn privileges_are_asked_for() {
    let output = project().rbake(&[
        "db",
        "--set",
        "db.output=type=local,dest=out",
        "--allow",
        "nonsense",
    ]);
    refused(&output, 2, &["nonsense"]);
    let project = TestProject::new()
        .file(
            "docker-bake.hcl",
            "target \"a\" {\n  network = \"host\"\n}\n",
        )
        .file("Dockerfile", "FROM scratch\n");
    let output = project.rbake(&["a"]);
    refused(&output, 2, &["network.host", "--allow=network.host"]);
}

#[test]
fn a_wrong_value_of_an_override_is_shown_in_its_flag() {
    let project = TestProject::new().file("docker-bake.hcl", "target \"web\" {}\n");
    let output = project.rbake(&["--print", "web", "--set", "web.platform=nonsense/a/b/c"]);
    insta::assert_snapshot!(output.stderr, @"
    error[plan::invalid-value]: unsuitable value for `platforms` of target `web`: `nonsense/a/b/c` is not a platform (expected `os/architecture[/variant]`)
     --> command line:1:20
      |
    1 | --set web.platform=nonsense/a/b/c
      |                    ^^^^^^^^^^^^^^
    ");
    let wrong = [
        "web.shm-size=big",
        "web.ulimits=nofiles=1",
        "web.annotations=foo:a=b",
        "web.resources.memory=lots",
        "web.output=type=local",
        "web.secrets=id=a,src=missing",
        "web.ssh=key=missing",
        "web.context=-",
    ];
    for set in wrong {
        let output = project.rbake(&["--print", "web", "--set", set]);
        refused(&output, 3, &[&format!("--set {set}"), "command line:1:"]);
    }
    for set in [
        "web.network=hots",
        "web.tags=UPPER",
        "web.extra-hosts.a=b",
        "web.output=type=loca",
    ] {
        let output = project.rbake(&["web", "--set", set]);
        refused(&output, 3, &[&format!("--set {set}"), "command line:1:"]);
    }
}

#[test]
fn a_dot_in_the_name_of_a_service_is_explained() {
    let project = TestProject::new().file("compose.yaml", "services: {svc.1: {build: .}}\n");
    let output = project.rbake(&["--print", "--set", "svc.1.args.A=1"]);
    refused(
        &output,
        2,
        &["`--set svc.1.args.A=1`", "write `--set svc_1.args.A=1`"],
    );
    let printed = project.rbake(&["--print", "--set", "svc_1.args.A=1"]);
    assert_eq!(printed.code, Some(0), "{printed}");
}

#[test]
fn an_override_of_no_target_is_an_error_without_a_value_too() {
    let output = project().rbake(&["--print", "--set", "nosuch.args.SURELY_NOT_SET"]);
    refused(
        &output,
        3,
        &["`--set nosuch.args.SURELY_NOT_SET`", "there are "],
    );
}

#[test]
fn nothing_is_named_by_two_backticks_with_nothing_between() {
    let project = TestProject::new().file(
        "docker-bake.hcl",
        "target \"web\" {\n  contexts = { x = \"target:\" }\n}\ngroup \"g\" { targets = [\"\"] }\n",
    );
    let runs: [&[&str]; 12] = [
        &["--print", ""],
        &["--print", "g"],
        &["--print", "web"],
        &["--print", "--set", ""],
        &["--print", "--set", ".args.A=1"],
        &["--print", "--set", "web.=1"],
        &["--print", "--set", "web.tags.=1"],
        &["--print", "--set", "web.platform=,"],
        &["--print", "--list", "type="],
        &["--print", "--allow", "", "web"],
        &["--print", "-f", ""],
        &["--print", "--var", "=x"],
    ];
    for arguments in runs {
        let output = project.rbake(arguments);
        assert_ne!(output.code, Some(0), "{arguments:?}: {output}");
        assert!(!output.stderr.contains("``"), "{arguments:?}: {output}");
    }
}

#[test]
fn an_encoding_that_cannot_be_read_is_named_with_the_way_out() {
    let utf16 = |text: &str| -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect()
    };
    let compose = utf16("services:\r\n  web:\r\n    build: .\r\n    image: é:1\r\n");
    let project = TestProject::new()
        .file("compose.yaml", &compose)
        .file("noending", &compose)
        .file("bake.hcl", utf16("target \"web\" {}\r\n"))
        .file("bake", utf16("target \"web\" {}\r\n"))
        .file("bake.json", utf16("{}"));
    for name in ["compose.yaml", "noending"] {
        let output = project.rbake(&["-f", name, "--print", "web"]);
        assert_eq!(output.code, Some(0), "{output}");
        assert!(output.stdout.contains("\"é:1\""), "{output}");
    }
    for name in ["bake.hcl", "bake", "bake.json"] {
        let output = project.rbake(&["-f", name, "--print", "web"]);
        refused(&output, 3, &["UTF-16", "iconv", name]);
    }
    let project = project.file(".env", utf16("A=1\n"));
    let output = project.rbake(&["-f", "compose.yaml", "--print", "web"]);
    refused(&output, 3, &["cannot read `.env`", "UTF-16", "iconv"]);
}

#[test]
fn what_was_ignored_is_told_before_the_error_it_explains() {
    let project = TestProject::new().file("docker-bake.hcl", "targt \"default\" {}\n");
    let output = project.rbake(&["--print"]);
    refused(
        &output,
        3,
        &["definition::ignored-block", "plan::unknown-target"],
    );
}

#[test]
fn a_slip_in_the_key_of_a_service_is_found() {
    let project = TestProject::new().file("compose.yaml", "services:\n  web:\n    bild: .\n");
    let output = project.rbake(&["--print"]);
    refused(
        &output,
        3,
        &["compose::no-image", "`bild` may be meant as `build`"],
    );
}

/// A mistake, what is written in which file, and what the last message says.
struct Mistake {
    definition: &'static str,
    arguments: &'static [&'static str],
    code: i32,
    words: &'static [&'static str],
}

const MISTAKES: [Mistake; 23] = [
    Mistake {
        definition: "target \"default\" {\n  args = [\"a=1\"]\n}\n",
        arguments: &[],
        code: 3,
        words: &[
            "docker-bake.hcl:2:10",
            "write a map: `args = { NAME = \"value\" }`",
        ],
    },
    Mistake {
        definition: "target \"default\" {\n  output = { type = \"local\" }\n}\n",
        arguments: &[],
        code: 3,
        words: &["docker-bake.hcl:2:12", "write a list: `output = [{ … }]`"],
    },
    Mistake {
        definition: "target \"default\" {\n  no-cache = \"maybe\"\n}\n",
        arguments: &[],
        code: 3,
        words: &[
            "docker-bake.hcl:2:14",
            "write `no-cache = true` or `no-cache = false`",
        ],
    },
    Mistake {
        definition: "target \"default\" {\n  tags = [upper(\"x\", \"y\")]\n}\n",
        arguments: &[],
        code: 3,
        words: &["docker-bake.hcl:2:22", "`upper` takes 1 argument, not 2"],
    },
    Mistake {
        definition: "target \"default\" {\n  tags = [\"x\"]\n}\n",
        arguments: &["defualt"],
        code: 3,
        words: &[
            "`defualt` is not defined",
            "a target or group with a similar name exists: `default`",
        ],
    },
    Mistake {
        definition: "target \"default\" {\n  tgas = [\"x\"]\n  context = \"no\"\n}\n",
        arguments: &[],
        code: 3,
        words: &[
            "docker-bake.hcl:2:3",
            "an attribute with a similar name exists: `tags`",
        ],
    },
    Mistake {
        definition: "target \"default\" {\n  context = \"Dockerfile\"\n}\n",
        arguments: &[],
        code: 3,
        words: &["run::context-no-directory", "docker-bake.hcl:2:13"],
    },
    Mistake {
        definition: "target \"default\" {\n  contexts = { base = \"docker-img://x\" }\n}\n",
        arguments: &[],
        code: 3,
        words: &["docker-bake.hcl:2:23", "`docker-image://x` may be meant"],
    },
    Mistake {
        definition: "target \"default\" {\n  secret = [\"id=a,src=Dockerfile/x\"]\n}\n",
        arguments: &[],
        code: 3,
        words: &[
            "docker-bake.hcl:2:13",
            "`a`",
            "`Dockerfile/x`",
            "relative to the working directory",
        ],
    },
    Mistake {
        definition: "target \"default\" {\n  cache-from = [\"type=local,src=Dockerfile/x\"]\n}\n",
        arguments: &[],
        code: 3,
        words: &[
            "target `default`",
            "`Dockerfile/x`",
            "docker-bake.hcl:1:8",
            "must be a directory",
        ],
    },
    Mistake {
        definition: "target \"default\" {\n  output = [\"type=local,dst=out\"]\n}\n",
        arguments: &[],
        code: 3,
        words: &["docker-bake.hcl:2:13", "write `type=local,dest=out`"],
    },
    Mistake {
        definition: "target \"default\" {\n  output = [\"type=local\"]\n}\n",
        arguments: &[],
        code: 3,
        words: &["docker-bake.hcl:2:13", "`type=local,dest=DIR`"],
    },
    Mistake {
        definition: "target \"default\" {\n  dockerfile = \"utf16\"\n}\n",
        arguments: &[],
        code: 3,
        words: &[
            "the Dockerfile `utf16` of target `default` is in UTF-16",
            "save it as UTF-8",
        ],
    },
    Mistake {
        definition: "target \"default\" {}\n",
        arguments: &["--metadata-file", "."],
        code: 2,
        words: &["`.` cannot be written: it is a directory", "name a file"],
    },
    Mistake {
        definition: "target \"default\" {}\n",
        arguments: &["--metadata-file", "no/m.json"],
        code: 2,
        words: &[
            "`no/m.json` cannot be written: there is no directory",
            "/no`",
        ],
    },
    Mistake {
        definition: "target \"default\" {}\n",
        arguments: &["-f", ""],
        code: 3,
        words: &[
            "the name of a definition file is empty",
            "a variable in the command may be unset",
        ],
    },
    Mistake {
        definition: "target \"default\" {}\n",
        arguments: &["./sub"],
        code: 3,
        words: &["target `./sub` is not defined", "`-f` names a file"],
    },
    Mistake {
        definition: "target \"default\" {}\n",
        arguments: &["help"],
        code: 3,
        words: &["target `help` is not defined", "`rbake --help`"],
    },
    Mistake {
        definition: "target \"default\" {}\n",
        arguments: &["--set", "default.argss.A=1"],
        code: 2,
        words: &[
            "`argss` cannot be set by `--set`",
            "a key with a similar name exists: `args`",
        ],
    },
    Mistake {
        definition: "target \"default\" {\n  platforms = [\"linux/amd65\"]\n  context = \"no\"\n}\n",
        arguments: &[],
        code: 3,
        words: &[
            "run::unknown-platform",
            "docker-bake.hcl:2:16",
            "`linux/amd64` may be meant",
        ],
    },
    Mistake {
        definition: "target \"default\" {\n  entitlements = [\"network.hots\"]\n  context = \"no\"\n}\n",
        arguments: &[],
        code: 3,
        words: &[
            "run::unknown-privilege",
            "docker-bake.hcl:2:19",
            "a privilege with a similar name exists: `network.host`",
        ],
    },
    Mistake {
        definition: "target \"default\" {\n  contexts = { base = \"s3://bucket\" }\n}\n",
        arguments: &[],
        code: 3,
        words: &["`s3://bucket`", "`docker-image://…`"],
    },
    Mistake {
        definition: "target \"default\" {\n  secret = [\"id=a,src=nosuch\"]\n}\n",
        arguments: &[],
        code: 3,
        words: &["`nosuch`: No such file or directory\n", "`env=VARIABLE`"],
    },
];

#[test]
fn a_mistake_is_told_with_its_place_and_the_way_out() {
    for mistake in &MISTAKES {
        let project = TestProject::new()
            .file("docker-bake.hcl", mistake.definition)
            .file("Dockerfile", "FROM scratch\n")
            .env("BUILDKIT_HOST", "unix:///nowhere/buildkitd.sock");
        let utf16: Vec<u8> = "\u{feff}FROM scratch\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        std::fs::write(project.path().join("utf16"), utf16).unwrap();
        let output = project.rbake(mistake.arguments);
        refused(&output, mistake.code, mistake.words);
        assert!(!output.stderr.contains("os error"), "{output}");
    }
}

#[test]
fn a_working_directory_that_is_gone_is_told() {
    let project = TestProject::new();
    let script = "mkdir gone && cd gone && rmdir ../gone && exec \"$0\"";
    let rbake = env!("CARGO_BIN_EXE_rbake");
    let mut command = project.program(std::path::Path::new("/bin/sh"), &["-c", script, rbake]);
    let output = project.read(&command.output().unwrap());
    refused(
        &output,
        3,
        &[
            "the working directory does not exist any more",
            "change to a directory",
        ],
    );
}
