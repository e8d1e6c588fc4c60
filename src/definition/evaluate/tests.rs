use test_case::test_case;

use super::super::testing::{World, attribute, errors, hcl, json, messages, value_of};

#[test]
fn a_definition_is_evaluated() {
    let evaluated = hcl(r#"
variable "TAG" { default = "latest" }
group "default" { targets = ["web"] }
target "base" { args = { A = "1" } }
target "web" {
  inherits = ["base"]
  tags = ["ex.com/web:${TAG}", target.base.args.A]
  pull = !true
  unknown = nothing
}
"#)
    .unwrap();
    let web = &evaluated.targets[1];
    assert_eq!(&*web.name.value, "web");
    assert_eq!(attribute(web, "tags"), r#"["ex.com/web:latest","1"]"#);
    assert_eq!(attribute(web, "pull"), "false");
    assert_eq!(json(&evaluated.variables[0].value), r#""latest""#);
    let warning = &evaluated.warnings[0];
    assert_eq!(warning.code, "definition::ignored-attribute");
}

#[test]
fn all_errors_are_found() {
    assert_eq!(
        errors(
            r#"
variable "A" { default = NOPE }
target "x" {
  tags = ["${MISSING}", 1 + "b"]
  args = { X = target.y.tags }
}
"#
        ),
        [
            "there is no variable `NOPE` @ NOPE",
            "there is no variable `MISSING` @ MISSING",
            "this operand has the wrong type: a number is required @ \"b\"",
            "there is no target `y` @ y",
        ]
    );
}

#[test]
fn wrong_attributes_are_reported_together_with_failed_expressions() {
    let text = r#"
target "a" {
  tags = [NOPE]
  pull = "maybe"
}
target "b" { args = [1] }
group "g" { targets = [NOPE] }
group "h" { description = "no members" }
"#;
    let problems = World::default().load(text).unwrap_err();
    let codes: Vec<&str> = problems.0.iter().map(|problem| problem.code).collect();
    assert_eq!(
        codes,
        [
            "definition::unknown-variable",
            "definition::unknown-variable",
            "definition::missing-attribute",
            "definition::wrong-type",
            "definition::wrong-type",
        ]
    );
}

#[test]
fn errors_show_what_was_being_evaluated() {
    let text = r#"
variable "A" { default = upper(B) }
variable "B" { default = [] }
target "web" { tags = [A] }
"#;
    let problems = hcl(text).unwrap_err();
    assert_eq!(problems.0.len(), 1, "a failed variable is reported once");
    let path: Vec<&str> = problems.0[0]
        .labels
        .iter()
        .map(|l| l.text.as_str())
        .collect();
    assert_eq!(path, ["this is a tuple", "while evaluating variable `A`"]);
}

#[test_case("a = b\nb = a\n", "`a` refers to itself: `a` → `b` → `a` @ a"; "globals")]
#[test_case("variable \"a\" { default = a }\n", "variable `a` refers to itself @ a"; "variable")]
#[test_case(
        "target \"a\" { tags = target.b.tags }\ntarget \"b\" { tags = target.a.tags }\n",
        "`tags` of target `a` refers to itself: `tags` of target `a` → `tags` of target `b` → `tags` of target `a` @ tags";
        "targets"
    )]
#[test_case(
        "target \"a\" { args = { x = jsonencode(target.a) } }\n",
        "`args` of target `a` refers to itself @ target.a"; "itself as a whole"
    )]
fn errors_about_cycles_show_the_cycle(text: &str, expected: &str) {
    assert_eq!(errors(text), [expected]);
}

#[test]
fn references_to_compose_services_show_where_these_are_defined() {
    let compose = "services:\n  web.app:\n    build: .\n    image: x:1\n";
    let hcl = "target \"b\" { tags = target.web_app.tags }\n\
                   target \"c\" { args = { A = join(\",\", group.default.targets) } }\n";
    let files = [("compose.yaml", compose), ("docker-bake.hcl", hcl)];
    let problems = World::default().evaluate(&files).unwrap_err();
    assert_eq!(problems.0.len(), 2, "{problems:?}");
    for problem in &problems.0 {
        assert_eq!(problem.code, "definition::unknown-block");
        assert!(
            problem.message.contains("comes from a Compose file"),
            "{problem:?}"
        );
    }
    assert!(problems.0[0].help[0].contains("inherits = [\"web_app\"]"));
    let labels = &problems.0[0].labels;
    assert!(
        labels.iter().any(|label| label.text == "defined here"),
        "{labels:?}"
    );
    assert!(problems.0[1].help[0].contains("targets = [\"default\"]"));
    // As in buildx, a reference is valid if a bake file also has a block of that name.
    let both = format!(
        "{hcl}target \"web_app\" {{ tags = [\"y\"] }}\ngroup \"default\" {{ targets = [] }}\n"
    );
    let files = [
        ("compose.yaml", compose),
        ("docker-bake.hcl", both.as_str()),
    ];
    assert!(World::default().evaluate(&files).is_ok());
}

#[test]
fn errors_for_unknown_names_list_the_existing_names() {
    let problems = hcl("target \"web\" { tags = target.wab.tags }\ntarget \"db\" { args = { A = FO } }\nFOO = 1\nB = 2\n")
            .unwrap_err();
    let notes: Vec<&str> = problems
        .0
        .iter()
        .map(|problem| &*problem.notes[0])
        .collect();
    assert_eq!(
        notes,
        [
            "there are `web` and `db`",
            "there are `B`, `BAKE_CMD_CONTEXT`, `BAKE_LOCAL_PLATFORM` and `FOO`",
        ]
    );
}

#[test]
fn try_does_not_catch_the_error_of_another_value() {
    let text = "a = NOPE\nb = try(a, 1)\n";
    assert_eq!(errors(text), ["there is no variable `NOPE` @ NOPE"]);
}

#[test_case("target.base.tagz", "targets have no attribute `tagz` @ tagz"; "attribute")]
#[test_case("target.bas.tags", "there is no target `bas` @ bas"; "target")]
#[test_case("target", "`target` alone is not a value @ target"; "the word alone")]
#[test_case("target[\"base\"]", "a reference to a target must have its name after a dot @ target"; "index")]
#[test_case("target.app.name", "there is no target `app` @ app"; "label of a matrix")]
#[test_case("group.base.targets", "there is no group `base` @ base"; "group")]
fn wrong_references_are_errors(expr: &str, expected: &str) {
    let text = format!(
        "target \"base\" {{}}\ntarget \"app\" {{\n  name = \"app-${{v}}\"\n  matrix = {{ v = [1, 2] }}\n}}\n\
             target \"x\" {{ args = {{ v = {expr} }} }}\n"
    );
    assert_eq!(errors(&text), [expected]);
}

#[test]
fn an_undefined_name_can_be_used_in_several_try_calls() {
    assert_eq!(
        value_of(r#"[try(UNDEF, 1), try(UNDEF, 2), convert("1", number)]"#),
        "[1,2,1]"
    );
}

#[test]
fn targets_of_a_matrix_have_a_fixed_order() {
    let evaluated = hcl(r#"
target "app" {
  name = "app-${a}-${b}"
  matrix = { b = ["x", "y"], a = [1, 2] }
}
target "plain" {}
"#)
    .unwrap();
    let names: Vec<&str> = evaluated.targets.iter().map(|t| &*t.name.value).collect();
    assert_eq!(names, ["app-1-x", "app-2-x", "app-1-y", "app-2-y", "plain"]);
    assert_eq!(
        attribute(&evaluated.groups[0], "targets"),
        r#"["app-1-x","app-2-x","app-1-y","app-2-y"]"#
    );
}

#[test]
fn an_error_in_every_matrix_combination_is_reported_once() {
    let text = r#"
target "app" {
  name = "app-${a}"
  matrix = { a = [1, 2, 3] }
  tags = [NOPE]
}
"#;
    assert_eq!(errors(text), ["there is no variable `NOPE` @ NOPE"]);
}

#[test]
fn every_validation_is_checked() {
    let text = r#"
variable "A" {
  validation {
    condition = A != ""
    error_message = "set A"
  }
  validation {
    condition = length(split(",", A)) > 1
    error_message = "two of them"
  }
}
variable "B" {
  default = "secret"
  validation { condition = false }
}
"#;
    let problems = hcl(text).unwrap_err();
    assert_eq!(
        messages(&problems, text),
        [
            "`A` is not valid: set A @ A != \"\"",
            "`A` is not valid: two of them @ length(split(\",\", A)) > 1",
            "`B` is not valid: one of its conditions is not met @ false",
        ]
    );
    assert!(
        !format!("{problems:?}").contains("secret"),
        "values stay out of messages"
    );
}

#[test]
fn errors_about_invalid_overrides_name_their_source() {
    let text = "variable \"N\" { default = 1 }\nvariable \"L\" { type = list(number) }\n";
    let world = World {
        environment: vec![("L_JSON", "[1, \"x\"]")],
        vars: vec![("N", "many")],
    };
    let problems = world.evaluate(&[("docker-bake.hcl", text)]).unwrap_err();
    assert_eq!(
        messages(&problems, text),
        [
            "variable `N` cannot be set by `--var N`: `many` is not a number @ \"N\"",
            "variable `L` cannot be set by the environment variable `L_JSON`: it is not list(number) in JSON: \
                 at `[1]`, a number is required, but \"x\" is given @ \"L\"",
        ]
    );
}

#[test]
fn functions_are_checked_when_they_are_declared() {
    let text = r#"
function "a" {
  params = [x]
  result = b(x) + NOPE
}
function "b" {
  params = [x]
  result = a(x)
}
function "c" { result = 1 }
function "d" {
  params = ["x"]
  result = target.web.tags
}
"#;
    assert_eq!(
        errors(text),
        [
            "function `c` has no `params` @ \"c\"",
            "a parameter must be a bare word @ \"x\"",
            "function `a` calls itself: `a` → `b` → `a` @ a",
        ]
    );
}

// Each input grows exponentially by repetition. The limits must stop it before it takes much time or memory.
#[test_case(r#"v0 = "xxxxxxxx""#, r#"v$2 = "${v$1}${v$1}""#; "strings")]
#[test_case("v0 = [1]", "v$2 = [v$1, v$1]"; "lists of shared parts")]
#[test_case("v0 = [1]", "v$2 = concat(v$1, v$1)"; "lists")]
#[test_case("v0 = {a = 1}", "v$2 = {a = v$1, b = v$1}"; "objects")]
fn exponential_growth_is_limited(first: &str, next: &str) {
    let mut text = format!("{first}\n");
    for step in 0..40_u32 {
        let line = next
            .replace("$1", &step.to_string())
            .replace("$2", &(step + 1).to_string());
        text.push_str(&line);
        text.push('\n');
    }
    text.push_str("same = v40 == v40\n");
    let problems = hcl(&text).unwrap_err();
    assert_eq!(problems.0.len(), 1, "{problems:?}");
}

#[test]
fn depth_is_limited() {
    let chain = |count: usize, before: &str, after: &str| {
        let lines = (0..count).map(|step| format!("v{step} = {before}v{}{after}\n", step + 1));
        lines.chain([format!("v{count} = 1\n")]).collect::<String>()
    };
    assert!(hcl(&chain(3_000, "", "")).is_ok());
    let problems = hcl(&chain(50_000, "", "")).unwrap_err();
    assert_eq!(problems.0[0].code, "definition::limit");
    let problems = hcl(&chain(3_000, "[", "]")).unwrap_err();
    assert_eq!(problems.0[0].code, "definition::limit");
}

#[test]
fn json_definitions_are_evaluated() {
    let text = r#"{
  "//": "a comment",
  "variable": {"V": {"type": "list(string)", "default": ["a"]}},
  "function": {"f": {"params": ["x"], "result": "${x}!"}},
  "target": {
    "default": [
      {"tags": "${V}", "odd": "${broken"},
      {"args": {"k${1}": "${f(\"v\")} $${x}"}}
    ]
  }
}"#;
    let evaluated = World::default()
        .evaluate(&[("docker-bake.json", text)])
        .unwrap();
    assert_eq!(attribute(&evaluated.targets[0], "tags"), r#"["a"]"#);
    assert_eq!(
        attribute(&evaluated.targets[1], "args"),
        r#"{"k1":"v! ${x}"}"#
    );
}

#[test]
fn places_in_json_strings_are_correct_after_escapes() {
    let text = "{\"target\": {\"a\": {\"tags\": [\"\\u00e9\\n${NOPE}\"]}}}";
    let problems = World::default()
        .evaluate(&[("docker-bake.json", text)])
        .unwrap_err();
    assert_eq!(
        messages(&problems, text),
        ["there is no variable `NOPE` @ NOPE"]
    );
}

#[test]
fn compose_files_are_recognized_by_name_and_by_content() {
    let text = "services:\n  web.app:\n    build: .\n";
    for name in ["compose.yaml", "stack", "-"] {
        let files = [("docker-bake.hcl", "target \"b\" {}\n"), (name, text)];
        let evaluated = World::default().evaluate(&files).unwrap();
        let names: Vec<&str> = evaluated.targets.iter().map(|t| &*t.name.value).collect();
        assert_eq!(names, ["web_app", "b"], "{name}");
        assert_eq!(attribute(&evaluated.groups[0], "targets"), r#"["web_app"]"#);
    }
}

#[test]
fn a_file_of_no_known_syntax_is_reported_with_the_error_of_each_syntax() {
    let problems = World::default()
        .evaluate(&[("-", "services: {web: {build: {contxt: .}}}\n")])
        .unwrap_err();
    assert_eq!(problems.0[0].code, "definition::unknown-syntax");
    assert_eq!(problems.0[0].notes.len(), 3);
}

#[test]
fn files_without_a_known_name_are_read_by_content() {
    let json = "{\"target\": {\"a\": {}}}";
    let evaluated = World::default()
        .evaluate(&[("bakefile", "target \"b\" {}\n"), ("-", json)])
        .unwrap();
    assert_eq!(evaluated.targets.len(), 2);
}

#[test]
fn declarations_with_reserved_names_are_ignored_with_a_warning() {
    let evaluated = hcl(r#"
variable "BAKE_LOCAL_PLATFORM" { default = "x" }
function "upper" {
  params = [x]
  result = "mine"
}
target = 1
tagret "a" {}
target "a" { args = { v = "${BAKE_LOCAL_PLATFORM} ${upper("a")}" } }
"#)
    .unwrap();
    assert_eq!(
        attribute(&evaluated.targets[0], "args"),
        r#"{"v":"linux/amd64 A"}"#
    );
    let codes: Vec<&str> = evaluated.warnings.iter().map(|w| w.code).collect();
    assert_eq!(
        codes,
        [
            "definition::reserved-name",
            "definition::reserved-name",
            "definition::ignored-block",
            "definition::reserved-name",
        ]
    );
}

/// As in HCL, a name that an expression binds itself takes precedence over the blocks of the file.
#[test]
fn a_name_bound_by_for_shadows_a_block_type() {
    assert_eq!(
        value_of("[for target in [{ a = \"x\" }] : target.a]"),
        r#"["x"]"#
    );
}
