//! Invalid input: rbake ends with the right exit code, and with a message that names the problem and a fix.

use crate::cli::project;
use crate::support::project::{TestProject, assert_session};

fn definition(text: &str) -> TestProject {
    TestProject::new().file("docker-bake.hcl", text)
}

#[test]
fn no_definition() {
    assert_session!(TestProject::new().session(&[""]));
}

#[test]
fn a_file_that_does_not_exist() {
    assert_session!(project().session(&["-f docker-bake.hlc"]));
}

#[test]
fn a_broken_file() {
    assert_session!(definition("target \"a\" {\n  tags = [\"x\"\n}\n").session(&["a"]));
}

#[test]
fn an_unknown_target() {
    assert_session!(project().session(&["--print web-app"]));
}

#[test]
fn an_unknown_member_of_a_group() {
    let project = definition(
        "group \"default\" {\n  targets = [\"web-app\", \"db\"]\n}\ntarget \"webapp\" {}\ntarget \"db\" {}\n",
    );
    assert_session!(project.session(&["--print"]));
}

#[test]
fn a_value_that_a_variable_refuses() {
    assert_session!(project().env("TAG", "").session(&["--print"]));
}

#[test]
fn an_unknown_variable() {
    let project = definition("target \"a\" { tags = [TAGG] }\nvariable \"TAG\" {}\n");
    assert_session!(project.session(&["--print a"]));
}

#[test]
fn every_error_in_one_run() {
    let project = definition("target \"a\" { tags = [ONE] }\ntarget \"b\" { tags = [TWO] }\n");
    assert_session!(project.session(&["--print a"]));
}

#[test]
fn a_number_of_jobs_that_is_not_positive() {
    assert_session!(project().session(&["-j 0", "--jobs=-1", "-j many", "-j="]));
    let output = project().env("RBAKE_JOBS", "1.5").rbake(&[]);
    assert_eq!(output.code, Some(2), "{output}");
    assert!(output.stderr.contains("`RBAKE_JOBS` is `1.5`"), "{output}");
}

#[test]
fn a_time_limit_that_is_not_a_positive_duration() {
    assert_session!(project().session(&[
        "--timeout 0",
        "--timeout=-1s",
        "--timeout 5",
        "--timeout soon",
        "--timeout=",
    ]));
    let output = project().env("RBAKE_TIMEOUT", "10 m").rbake(&["--print"]);
    assert_eq!(output.code, Some(2), "{output}");
    let named = output.stderr.contains("`RBAKE_TIMEOUT` is `10 m`");
    assert!(named, "{output}");
    // The flag takes precedence.
    let project = project().env("RBAKE_TIMEOUT", "10 m");
    let output = project.rbake(&["--print", "--timeout=1h"]);
    assert_eq!(output.code, Some(0), "{output}");
}

#[test]
fn a_definition_that_does_not_come_ends_with_the_time_limit() {
    let project = project();
    let pipe = project.path().join("pipe.hcl");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for more in [&[][..], &["--print"]] {
        let started = std::time::Instant::now();
        let words = [&["-f", "pipe.hcl", "--timeout=300ms"], more].concat();
        let output = project.rbake(&words);
        assert_eq!(output.code, Some(124), "{output}");
        assert!(started.elapsed() < std::time::Duration::from_secs(5));
        let told = "error[run::timeout]: the run did not end within 0.3s (`--timeout`)";
        assert!(output.stderr.contains(told), "{output}");
    }
}

#[test]
fn a_missing_dockerfile() {
    let project = project().file("db/Dockerfile.dev", "FROM scratch\n");
    assert_session!(project.session(&["db --set db.dockerfile=Dockerfile.dve"]));
}

#[test]
fn a_missing_context() {
    assert_session!(project().session(&["db --set db.context=nowhere"]));
}

#[test]
fn a_missing_secret() {
    assert_session!(project().session(&["db --set db.secrets=id=token,src=token.txt"]));
}

#[test]
fn an_invalid_tag() {
    assert_session!(project().session(&["db --set db.tags=example.com/x:feature/a --push"]));
}

#[test]
fn an_invalid_cache_reference() {
    assert_session!(
        project().session(&["db --set db.cache-to=type=registry,ref=example.com/cache:123/merge",])
    );
}

#[test]
fn errors_in_several_compose_files() {
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
    let first = project.session(&[""]);
    let second = project.file("more.yaml", "services: {}\n").session(&[""]);
    assert_session!(first + &second);
}

#[test]
fn values_in_compose_files_that_are_nearly_right() {
    let project = TestProject::new().file(
        "compose.yaml",
        "services:\n  web:\n    build: {context: ., provenance: max}\n",
    );
    let first = project.session(&["--print", "--provenance=max --print"]);
    let second = project.file(
        "compose.yaml",
        "services:\n  web:\n    build:\n      context: .\n      x-bake: {output: [{type: oci}]}\n",
    );
    assert_session!(first + &second.session(&["--print"]));
}

#[test]
fn wrong_flags() {
    assert_session!(project().session(&[
        "--progress=fancy",
        "--progress=tty",
        "--nope",
        "--var X",
        "--push=maybe",
        "--print --list=targets",
    ]));
}

#[test]
fn privileges_that_do_not_exist_or_are_missing() {
    let unknown = project().session(&["db --set db.output=type=local,dest=out --allow nonsense"]);
    let missing = definition("target \"a\" {\n  network = \"host\"\n}\n")
        .file("Dockerfile", "FROM scratch\n")
        .session(&["a"]);
    assert_session!(unknown + &missing);
}

#[test]
fn wrong_values_of_overrides_are_shown_in_their_flags() {
    let project = definition("target \"web\" {}\n").file("Dockerfile", "FROM scratch\n");
    assert_session!(project.session(&[
        "--print web --set web.platform=nonsense/a/b/c",
        "--print web --set web.shm-size=big",
        "--print web --set web.ulimits=nofiles=1",
        "--print web --set web.annotations=foo:a=b",
        "--print web --set web.resources.memory=lots",
        "--print web --set web.output=type=local",
        "--print web --set web.secrets=id=a,src=missing",
        "--print web --set web.ssh=key=missing",
        "--print web --set web.context=-",
        "web --set web.network=hots",
        "web --set web.tags=UPPER",
        "web --set web.extra-hosts.a=b",
        "web --set web.output=type=loca",
    ]));
}

#[test]
fn a_dot_in_the_name_of_a_service() {
    let project = TestProject::new().file("compose.yaml", "services: {svc.1: {build: .}}\n");
    assert_session!(project.session(&[
        "--print --set svc.1.args.A=1",
        "--print --set svc_1.args.A=1",
    ]));
}

#[test]
fn an_override_of_a_target_that_does_not_exist() {
    assert_session!(project().session(&["--print --set nosuch.args.SURELY_NOT_SET"]));
}

#[test]
fn empty_names_are_not_shown_as_two_backticks() {
    let project = definition(
        "target \"web\" {\n  contexts = { x = \"target:\" }\n}\ngroup \"g\" { targets = [\"\"] }\n",
    );
    let session = project.session(&[
        "--print ''",
        "--print g",
        "--print web",
        "--print --set ''",
        "--print --set .args.A=1",
        "--print --set web.=1",
        "--print --set web.tags.=1",
        "--print --set web.platform=,",
        "--print --list type=",
        "--print --allow '' web",
        "--print -f ''",
        "--print --var =x",
    ]);
    assert!(!session.contains("``"), "{session}");
    assert_session!(session);
}

fn utf16(text: &str) -> Vec<u8> {
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    units.flat_map(u16::to_le_bytes).collect()
}

#[test]
fn utf16_is_read_in_compose_files_and_nowhere_else() {
    let compose = utf16("services:\r\n  web:\r\n    build: .\r\n    image: é:1\r\n");
    let project = TestProject::new()
        .file("compose.yaml", &compose)
        .file("noending", &compose)
        .file("bake.hcl", utf16("target \"web\" {}\r\n"))
        .file("bake", utf16("target \"web\" {}\r\n"))
        .file("bake.json", utf16("{}"));
    let files = project.session(&[
        "-f compose.yaml --print web",
        "-f noending --print web",
        "-f bake.hcl --print web",
        "-f bake --print web",
        "-f bake.json --print web",
    ]);
    let project = project.file(".env", utf16("A=1\n"));
    assert_session!(files + &project.session(&["-f compose.yaml --print web"]));
}

#[test]
fn an_ignored_block_is_shown_before_the_error_that_it_causes() {
    assert_session!(definition("targt \"default\" {}\n").session(&["--print"]));
}

#[test]
fn a_misspelt_key_of_a_service() {
    let project = TestProject::new().file("compose.yaml", "services:\n  web:\n    bild: .\n");
    assert_session!(project.session(&["--print"]));
}

/// Tests of one mistake each: the test's name, the definition, and the arguments.
macro_rules! mistakes {
    ($($name:ident: $definition:literal, $arguments:literal;)*) => {
        $(
            #[test]
            fn $name() {
                let project = definition($definition)
                    .file("Dockerfile", "FROM scratch\n")
                    .file("utf16", utf16("FROM scratch\n"))
                    .env("BUILDKIT_HOST", "unix:///nowhere/buildkitd.sock");
                let session = project.session(&[$arguments]);
                assert!(!session.contains("os error"), "{session}");
                assert_session!(session);
            }
        )*
    };
}

mistakes! {
    args_written_as_a_list: "target \"default\" {\n  args = [\"a=1\"]\n}\n", "";
    output_written_as_a_map: "target \"default\" {\n  output = { type = \"local\" }\n}\n", "";
    no_cache_neither_true_nor_false: "target \"default\" {\n  no-cache = \"maybe\"\n}\n", "";
    too_many_arguments_for_a_function: "target \"default\" {\n  tags = [upper(\"x\", \"y\")]\n}\n", "";
    target_misspelt: "target \"default\" {\n  tags = [\"x\"]\n}\n", "defualt";
    attribute_misspelt: "target \"default\" {\n  tgas = [\"x\"]\n  context = \"no\"\n}\n", "";
    context_is_a_file: "target \"default\" {\n  context = \"Dockerfile\"\n}\n", "";
    named_context_with_a_misspelt_scheme: "target \"default\" {\n  contexts = { base = \"docker-img://x\" }\n}\n", "";
    secret_below_a_file: "target \"default\" {\n  secret = [\"id=a,src=Dockerfile/x\"]\n}\n", "";
    cache_below_a_file: "target \"default\" {\n  cache-from = [\"type=local,src=Dockerfile/x\"]\n}\n", "";
    local_output_with_dst: "target \"default\" {\n  output = [\"type=local,dst=out\"]\n}\n", "";
    local_output_without_dest: "target \"default\" {\n  output = [\"type=local\"]\n}\n", "";
    dockerfile_in_utf16: "target \"default\" {\n  dockerfile = \"utf16\"\n}\n", "";
    metadata_file_is_a_directory: "target \"default\" {}\n", "--metadata-file .";
    metadata_file_in_a_missing_directory: "target \"default\" {}\n", "--metadata-file no/m.json";
    definition_without_a_name: "target \"default\" {}\n", "-f ''";
    directory_asked_for_as_a_target: "target \"default\" {}\n", "./sub";
    help_asked_for_as_a_target: "target \"default\" {}\n", "help";
    override_of_a_misspelt_key: "target \"default\" {}\n", "--set default.argss.A=1";
    platform_misspelt: "target \"default\" {\n  platforms = [\"linux/amd65\"]\n  context = \"no\"\n}\n", "";
    privilege_misspelt: "target \"default\" {\n  entitlements = [\"network.hots\"]\n  context = \"no\"\n}\n", "";
    named_context_with_an_unknown_scheme: "target \"default\" {\n  contexts = { base = \"s3://bucket\" }\n}\n", "";
    secret_that_does_not_exist: "target \"default\" {\n  secret = [\"id=a,src=nosuch\"]\n}\n", "";
}

#[test]
fn a_working_directory_that_does_not_exist_any_more() {
    let project = TestProject::new();
    let script = "mkdir gone && cd gone && rmdir ../gone && exec \"$0\"";
    let rbake = env!("CARGO_BIN_EXE_rbake");
    let mut command = project.program(std::path::Path::new("/bin/sh"), &["-c", script, rbake]);
    assert_session!(project.read(&command.output().unwrap()).session());
}
