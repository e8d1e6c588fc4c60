use super::*;

const DEFINITION: &str = r#"
variable "TAG" { description = "Of the images" }
group "default" { targets = ["web"] }
group "essential" {
  description = "All that matters\n\u001b[31m"
  targets = ["web", "worker"]
}
target "_base" { args = { VERSION = "1" } }
target "web" {
  inherits    = ["_base"]
  description = "Serves"
  args        = { GREETING = "hello", "odd name" = "x" }
  secret      = ["id=token"]
}
target "worker" {}
target "version" {}
"#;

const OF_BUILDER: [&str; 13] = [
    "status", "ls", "inspect", "create", "use", "rm", "start", "stop", "du", "prune", "logs",
    "install", "serve",
];

fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn ask(line: &[&str]) -> String {
    let dir = project(&[
        ("docker-bake.hcl", DEFINITION),
        ("other.hcl", "target \"elsewhere\" {}"),
        ("broken.hcl", "target \"x\" {"),
    ]);
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    ask_in(dir.path(), line)
}

fn ask_in(dir: &std::path::Path, line: &[&str]) -> String {
    let environment = Environment::of([("HOME", "/nowhere")], dir);
    let words: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
    answer(&words, true, &environment)
}

fn values(line: &[&str]) -> Vec<String> {
    let answer = ask(line);
    let lines = answer.lines().filter(|line| !line.starts_with(':'));
    lines
        .map(|line| line.split('\t').next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn targets_and_groups_are_described() {
    insta::assert_snapshot!(ask(&["--print", ""]), @r"
    web	Serves
    worker	target
    version	target
    default	group: web
    essential	All that matters
    :4
    ");
    assert_eq!(values(&["web", "w"]), ["worker"]);
    assert_eq!(values(&["_"]), ["_base"]);
}

#[test]
fn gates_are_targets() {
    assert_eq!(values(&["web", "--gate", "wo"]), ["worker"]);
    assert_eq!(values(&["web", "--gate-image=wo"]), ["worker"]);
    assert_eq!(values(&["--allow", "gate"]), ["gate.run"]);
}

#[test]
fn verbs_are_offered_as_first_words_only_and_targets_take_precedence() {
    assert_eq!(values(&["b"]), ["bake", "builder"]);
    assert_eq!(values(&["web", "b"]), [""; 0]);
    assert_eq!(values(&["ver"]), ["version"]);
    assert_eq!(values(&["version", "es"]), ["essential"]);
    assert_eq!(values(&["bake", "es"]), ["essential"]);
    assert_eq!(values(&["builder", ""]), OF_BUILDER);
    assert_eq!(
        values(&["+builder", "install", "--from", ""]),
        ["path", "release", "go"]
    );
    assert_eq!(
        values(&["builder", "status", "--"]),
        ["--builder", "--json", "--log-file", "--help"]
    );
    // The shell lists files itself.
    assert_eq!(ask(&["builder", "stop", "--log-file", ""]), ":0\n");
    assert_eq!(values(&["completion", ""]), ["bash", "zsh", "fish"]);
}

#[test]
fn verbs_about_a_builder_are_completed_with_the_names_of_builders() {
    let dir = project(&[]);
    let instances = dir.path().join("buildx/instances");
    std::fs::create_dir_all(&instances).unwrap();
    std::fs::write(instances.join("far"), "{}").unwrap();
    let docker = dir.path().display().to_string();
    let environment = Environment::of([("DOCKER_CONFIG", docker.as_str())], dir.path());
    for verb in ["inspect", "use", "rm", "start", "stop"] {
        let words = ["+builder", verb, "f"].map(str::to_owned);
        let answer = answer(&words, true, &environment);
        assert_eq!(answer, "far\tbuildx builder\n:4\n", "{verb}");
    }
}

#[test]
fn flags_may_precede_a_verb() {
    let sub = OF_BUILDER;
    assert_eq!(values(&["--builder", "r", "builder", ""]), sub);
    assert_eq!(values(&["-D", "--builder=r", "+builder", ""]), sub);
    assert_eq!(values(&["--log-file", "l", "builder", ""]), sub);
    assert_eq!(values(&["--builder", "r", "b"]), ["bake", "builder"]);
    // A word after a flag that takes a value is that value, and not a verb.
    assert_eq!(values(&["--progress", "builder", "es"]), ["essential"]);
}

#[test]
fn files_on_the_command_line_are_the_definition() {
    for typed in [
        &["-f", "other.hcl"][..],
        &["--file=other.hcl"],
        &["-fother.hcl"],
        &["-Df", "other.hcl"],
        &["-f=other.hcl"],
    ] {
        let line = [typed, &["e"]].concat();
        assert_eq!(values(&line), ["elsewhere"], "{typed:?}");
    }
    assert_eq!(ask(&["-f", "broken.hcl", "x", ""]), ":4\n");
    assert_eq!(ask(&["-f", "-", "x", ""]), ":4\n");
    assert_eq!(ask(&["https://example.com/x.git", ""]), ":4\n");
    assert_eq!(ask(&["-f", ""]), ":0\n");
}

#[test]
fn flags_and_their_values_are_offered() {
    assert_eq!(
        values(&["--pr"]),
        ["--preflight-only", "--print", "--progress", "--provenance"]
    );
    assert_eq!(values(&["--list-"]), [""; 0]);
    assert_eq!(values(&["--progress", "p"]), ["plain"]);
    assert_eq!(values(&["--progress=r"]), ["rawjson"]);
    assert_eq!(values(&["--print=f"]), ["false"]);
    assert_eq!(values(&["--list", "type=t"]), ["type=targets,format=json"]);
    assert_eq!(values(&["--allow", "fs.read=s"]), ["fs.read=sub/"]);
    assert_eq!(values(&["--builder", "e"]), ["embedded"]);
    assert_eq!(ask(&["--var", ""]), "TAG=\tOf the images\n:6\n");
    assert_eq!(values(&["--", "--pr"]), [""; 0]);
}

#[test]
fn overrides_are_completed_piece_by_piece() {
    assert_eq!(values(&["--set", "w"]), ["web.", "worker."]);
    assert_eq!(values(&["--set", "web.arg"]), ["web.args."]);
    assert_eq!(
        values(&["--set", "web.args."]),
        ["web.args.GREETING=", "web.args.VERSION="],
        "what would need quotes is left out"
    );
    assert_eq!(values(&["--set", "web.secret."]), ["web.secret.token="]);
    assert_eq!(values(&["--set=*.args.V"]), ["*.args.VERSION="]);
    assert_eq!(values(&["--set", "*.platf"]), ["*.platform="]);
    assert_eq!(
        values(&["--set", "*.platform+=linux/arm"]),
        ["*.platform+=linux/arm64", "*.platform+=linux/arm/v7"]
    );
    assert_eq!(values(&["--set", "web.context=s"]), ["web.context=sub/"]);
    assert_eq!(values(&["--set", "web.resources.cpuset"]).len(), 2);
}

#[test]
fn an_answer_for_a_large_definition_is_fast() {
    use std::fmt::Write as _;
    let mut text = String::new();
    for number in 0..300 {
        let _ = writeln!(
            text,
            "target \"t{number}\" {{ args = {{ A = \"{number}\" }} }}"
        );
    }
    let dir = project(&[("docker-bake.hcl", &text)]);
    let start = std::time::Instant::now();
    assert_eq!(ask_in(dir.path(), &["t29"]).lines().count(), 12);
    // On an idle machine it takes a fifth of this, without optimisation.
    assert!(start.elapsed() < std::time::Duration::from_millis(500));
}
