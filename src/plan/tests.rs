//! Tests of whole plans.

use super::testing::{Project, codes};
use super::*;
use crate::definition::model::{CacheEntry, CacheKind};
use test_case::test_case;

fn plan(text: &str) -> Project {
    Project::new().file("docker-bake.hcl", text)
}

fn exports(plan: &Plan, target: &str) -> Vec<String> {
    let outputs = plan.targets[target].attributes.output.iter();
    outputs
        .map(|export| export.kind.name().to_owned())
        .collect()
}

#[test]
fn all_problems_are_reported_at_once() {
    let project = plan(
        r#"
            group "default" { targets = ["web", "webb"] }
            target "web" {
              inherits = ["bse"]
              contexts = { x = "target:nope" }
              platforms = ["linux/amd64", "no/such/plat/form"]
              shm-size = "big"
            }
            target "base" {}
            "#,
    );
    let problems = project.plan(&["--set", "db.tags=x"]).unwrap_err();
    let mut found = codes(&problems);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "plan::invalid-value",
            "plan::invalid-value",
            "plan::unknown-target",
            "plan::unknown-target",
            "plan::unknown-target",
            "plan::unmatched-override",
        ]
    );
    let member = problems
        .0
        .iter()
        .find(|p| p.message.contains("`webb`"))
        .unwrap();
    assert!(member.help[0].contains("`web`"));
    assert_eq!(member.labels.len(), 1);
}

#[test]
fn linked_targets_export_nothing_and_pass_on_their_privileges() {
    let project = plan(
        r#"
            target "app" { contexts = { base = "target:mid" } }
            target "mid" { contexts = { base = "target:base" } }
            target "base" {
              output = ["type=image"]
              network = "host"
            }
            target "other" {}
            "#,
    );
    let plan = project.plan(&["--push", "app"]).unwrap();
    let names: Vec<_> = plan.targets.keys().map(TargetName::as_str).collect();
    assert_eq!(names, ["app", "mid", "base"]);
    assert_eq!(exports(&plan, "base"), ["cacheonly"]);
    assert_eq!(exports(&plan, "app"), ["image"]);
    assert!(plan.targets["mid"].is_linked() && !plan.targets["app"].is_linked());
    let needs = &plan.targets["app"].attributes.entitlements;
    assert_eq!(&*needs.as_slice()[0].value, "network.host");
    let order: Vec<_> = plan.graph.order().map(TargetName::as_str).collect();
    assert_eq!(order, ["base", "mid", "app"]);
    let name = |name: &str| &plan.targets[name].name;
    assert_eq!(plan.graph.behind(name("app")), [name("base"), name("mid")]);
    assert!(plan.graph.needs(name("app"), name("base")));
    assert!(!plan.graph.needs(name("base"), name("app")));

    let plan = project.plan(&["app", "base"]).unwrap();
    assert_eq!(exports(&plan, "base"), ["image"]);
}

#[test_case("target:a", "plan::target-cycle"; "itself")]
#[test_case("target:b", "plan::target-cycle"; "through another")]
#[test_case("target:g", "plan::unknown-target"; "a group")]
#[test_case("target:c", "plan::link-platforms"; "platforms")]
fn invalid_links_are_errors(link: &str, code: &str) {
    let text = r#"
            group "g" { targets = ["c"] }
            target "a" {
              contexts = { x = "LINK" }
              platforms = ["linux/amd64", "linux/arm64"]
            }
            target "b" { contexts = { x = "target:a" } }
            target "c" { platforms = ["linux/amd64", "linux/386"] }
            "#;
    let project = plan(&text.replace("LINK", link));
    assert_eq!(codes(&project.plan(&["a"]).unwrap_err()), [code]);
}

#[test]
fn the_epoch_of_the_environment_becomes_an_argument_unless_one_is_set() {
    let project = plan(
        r#"
            target "a" {}
            target "b" { args = { SOURCE_DATE_EPOCH = "" } }
            target "c" { args = { SOURCE_DATE_EPOCH = null } }
            "#,
    )
    .variable("SOURCE_DATE_EPOCH", "5");
    let plan = project.plan(&["a", "b", "c"]).unwrap();
    let epoch = |name: &str| {
        let args = &plan.targets[name].attributes.args;
        args.get("SOURCE_DATE_EPOCH")
            .map(|value| value.value.to_string())
    };
    assert_eq!(epoch("a").as_deref(), Some("5"));
    assert_eq!(epoch("b").as_deref(), Some(""));
    assert_eq!(epoch("c").as_deref(), Some("5"));
}

#[test]
fn nothing_to_build_is_explained() {
    let problems = plan(r#"target "web" {}"#).plan(&[]).unwrap_err();
    assert_eq!(codes(&problems), ["plan::unknown-target"]);
    assert!(problems.0[0].notes[0].contains("`web`"));
}

#[test]
fn requirements_name_the_target_and_the_attribute() {
    let project = plan(
        r#"
            target "a" {
              output = ["type=docker", "type=registry", "type=cacheonly"]
              cache-to = ["type=inline", "type=gha", "type=local,dest=c"]
              cache-from = ["example.com/cache", "type=local,src=c"]
              attest = ["type=sbom", "type=provenance,disabled=true"]
              platforms = ["linux/amd64,linux/arm64"]
            }
            target "b" { attest = ["type=provenance,disabled=true"] }
            "#,
    );
    let left_out = |cache: &CacheEntry| cache.kind == CacheKind::Local;
    let needs = requirements(&project.plan(&["a", "b"]).unwrap(), left_out).needs;
    let needs: Vec<_> = needs.iter().map(ToString::to_string).collect();
    assert_eq!(
        needs,
        [
            "push images, which `output` of target `a` asks for",
            "give a target several outputs, which `output` of target `a` asks for",
            "build images of several platforms, which `platforms` of target `a` asks for",
            "attach attestations, which `attest` of target `a` asks for",
            "export the cache with `type=gha`, which `cache-to` of target `a` asks for",
        ]
    );
}

fn compose(text: &str) -> Project {
    Project::new().file("compose.yaml", text)
}

const ENV_FILES: &str = "
services:
  web: {build: {context: ., args: [A]}}
  api: {build: {context: ., args: [A]}, env_file: missing.env}
  db: {image: postgres, env_file: also-missing.env}
";

#[test]
fn a_missing_environment_file_is_an_error_only_for_targets_that_need_it() {
    let project = compose(ENV_FILES);
    assert!(project.plan(&["web"]).is_ok());
    let problems = project.plan(&["api"]).unwrap_err();
    assert_eq!(codes(&problems), ["compose::unreadable"]);
    assert!(
        problems.0[0].message.contains("`missing.env`"),
        "{problems:?}"
    );
    assert_eq!(problems.0[0].labels.len(), 1, "{problems:?}");
    let problems = project.plan(&[]).unwrap_err();
    assert_eq!(codes(&problems), ["compose::unreadable"], "of all services");

    let heirs = "target \"heir\" { inherits = [\"api\"] }\n\
                 target \"user\" { contexts = { x = \"target:api\" } }\n";
    let project = compose(ENV_FILES).file("docker-bake.hcl", heirs);
    assert!(project.plan(&["web"]).is_ok());
    for name in ["heir", "user"] {
        let problems = project.plan(&[name]).unwrap_err();
        assert_eq!(codes(&problems), ["compose::unreadable"], "{name}");
    }
}

#[test]
fn a_missing_base_is_an_error_only_for_targets_that_need_it() {
    let project = compose(
        "
services:
  web: {build: .}
  api: {extends: {file: missing.yaml, service: base}}
  job: {extends: api, build: .}
  ctx: {build: {context: ., additional_contexts: {a: 'service:api'}}}
",
    );
    assert!(project.plan(&["web"]).is_ok());
    for name in ["api", "job", "ctx"] {
        let problems = project.plan(&[name]).unwrap_err();
        assert_eq!(codes(&problems), ["compose::unreadable"], "{name}");
    }
    // As in Compose, an error in a file that can be read is reported even if no selected target needs that service.
    let project = compose("services: {web: {build: .}, api: {extends: nobody, build: .}}\n");
    let problems = project.plan(&["web"]).unwrap_err();
    assert_eq!(codes(&problems), ["compose::unknown-service"]);
}

#[test]
fn unset_variables_of_an_environment_file_are_reported_only_for_targets_that_need_it() {
    let text = ENV_FILES.replace("missing.env", "there.env");
    let project = compose(&text)
        .file("there.env", "A=${NOWHERE}\n")
        .file("also-there.env", "broken line\n");
    assert_eq!(
        codes(&project.plan(&["web"]).unwrap().warnings),
        <[&str; 0]>::default()
    );
    let plan = project.plan(&["api"]).unwrap();
    assert_eq!(codes(&plan.warnings), ["compose::unset-variable"]);
}

#[test]
fn unset_variables_of_the_dot_env_are_reported_at_their_place() {
    let project = compose("services: {web: {build: {context: ., args: {A: '${A}'}}}}\n")
        .file(".env", "# comment\nA=x${NOWHERE}y\n");
    let definition = project.definition().unwrap();
    let warnings = &definition.warnings.0;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0].code, "compose::unset-variable");
    let span = warnings[0].labels[0].span;
    assert_eq!(span.range(), 13..23, "`${{NOWHERE}}` in `.env`");
}

#[test]
fn keys_of_a_service_that_bake_ignores_are_reported() {
    let project = compose(
        "
secrets: {s: {environment: S}}
services:
  web:
    platform: linux/arm64
    ports: ['80:80']
    volumes: [a:/a]
    depends_on: [db]
    privileged: true
    isolation: default
    build:
      context: .
      privileged: true
      isolation: default
      entitlements: [network.host]
      no_cache_filter: [base]
      secrets: [{source: s, target: /x, uid: '1'}]
  quiet:
    platform: linux/arm64
    build:
      context: .
      platforms: [linux/arm64]
      privileged: false
      no_cache_filter: []
      entitlements: []
  db: {image: x, platform: linux/arm64, ports: ['1:1']}
volumes: {a: {}}
",
    );
    let project = project.variable("S", "x");
    let plan = project.plan(&["web"]).unwrap();
    let told: Vec<&str> = plan
        .warnings
        .0
        .iter()
        .filter_map(|warning| warning.message.split('`').nth(1))
        .collect();
    assert_eq!(
        told,
        [
            "services.web.build.entitlements",
            "services.web.build.isolation",
            "services.web.build.no_cache_filter",
            "services.web.build.privileged",
            "services.web.build.secrets[].target",
            "services.web.build.secrets[].uid",
            "services.web.platform",
        ]
    );
    let all_placed = plan
        .warnings
        .0
        .iter()
        .all(|warning| warning.labels.len() == 1 && !warning.help.is_empty());
    assert!(all_placed, "{:?}", plan.warnings);
    let plan = project.plan(&["quiet"]).unwrap();
    assert_eq!(codes(&plan.warnings), <[&str; 0]>::default());
}

#[test]
fn overrides_that_match_nothing_list_the_existing_targets() {
    let project = plan("target \"web\" {}\ntarget \"db\" {}\n");
    for flag in [
        "nosuch.args.A",
        "nosuch.args.A=1",
        "nosuch.attest=",
        "nosuch.tags=",
    ] {
        let problems = project.plan(&["web", "--set", flag]).unwrap_err();
        assert_eq!(codes(&problems), ["plan::unmatched-override"], "{flag}");
        assert!(
            problems.0[0].message.contains(&format!("--set {flag}")),
            "{problems:?}"
        );
        assert_eq!(problems.0[0].notes, ["there are `web` and `db`"]);
    }
    let planned = project.plan(&["web", "--set", "web.args.A"]).unwrap();
    assert!(planned.targets["web"].attributes.args.is_empty());
}

#[test]
fn words_for_types_in_overrides_are_reported_with_the_flag() {
    let project = plan("target \"web\" {}\n");
    let planned = project.plan(&[
        "web",
        "--set",
        "web.output=registry",
        "--set",
        "*.cache-to=inline",
    ]);
    let warnings = planned.unwrap().warnings;
    assert_eq!(codes(&warnings), ["definition::word-for-type"; 2]);
    assert!(
        warnings.0[0].notes[0].contains("--set web.output=registry"),
        "{warnings:?}"
    );
    assert!(
        warnings.0[1].help[0].contains("`type=inline`"),
        "{warnings:?}"
    );
}

#[test]
fn words_for_types_are_reported_only_for_targets_that_use_them() {
    let project = plan(
        r#"
target "other" {}
target "base" {
  cache-to = ["inline"]
  output = ["registry"]
}
target "heir" { inherits = ["base"] }
target "own" {
  inherits = ["base"]
  cache-to = []
  output = ["type=cacheonly"]
}
"#,
    );
    let told = |args: &[&str]| codes(&project.plan(args).unwrap().warnings).len();
    assert_eq!(told(&["other"]), 0);
    assert_eq!(told(&["base"]), 2);
    assert_eq!(told(&["heir"]), 2);
    assert_eq!(told(&["own"]), 0);
    assert_eq!(told(&["own", "heir"]), 2);
    let set = ["--set", "base.output=type=cacheonly"];
    assert_eq!(told(&["heir", set[0], set[1]]), 1);
}

#[test]
fn words_for_types_in_overrides_are_reported_only_for_requested_targets() {
    let project = plan("target \"web\" {}\ntarget \"db\" {}\n");
    let told = |target: &str| {
        let plan = project.plan(&[target, "--set", "db.output=registry"]);
        codes(&plan.unwrap().warnings).len()
    };
    assert_eq!(told("web"), 0);
    assert_eq!(told("db"), 1);
}

#[test]
fn words_for_types_are_reported_where_they_are_written() {
    let project =
        plan("target \"web\" {\n  cache-to = [\"inline\"]\n  output = [\"registry\"]\n}\n");
    let planned = project.plan(&["web"]).unwrap();
    assert_eq!(codes(&planned.warnings), ["definition::word-for-type"; 2]);
    assert!(
        planned
            .warnings
            .0
            .iter()
            .all(|warning| warning.labels.len() == 1)
    );
    let web = &planned.targets["web"];
    // As in buildx, the single words are read as a directory and an image name.
    assert_eq!(
        web.attributes.output.as_slice()[0].dest.as_deref(),
        Some("registry")
    );
    assert_eq!(
        web.attributes.cache_to.as_slice()[0].attr("ref"),
        Some("inline")
    );
}

#[test]
fn the_error_for_a_service_without_a_build_says_why_it_is_not_a_target() {
    let project = compose("services: {web: {build: .}, my.db: {image: x}}\n").file(
        "docker-bake.hcl",
        "target \"heir\" { inherits = [\"my_db\"] }\ntarget \"user\" { contexts = { x = \"target:my_db\" } }\n",
    );
    let runs: [&[&str]; 5] = [
        &["my_db"],
        &["my.db"],
        &["heir"],
        &["user"],
        &["web", "--set", "my_db.tags=x"],
    ];
    for words in runs {
        let problems = project.plan(words).unwrap_err();
        let notes = problems.0[0].notes.join("\n");
        assert!(
            notes.contains("only services with a `build` are targets"),
            "{words:?}: {problems:?}"
        );
    }
    // If a bake file defines a target of that name, it is not missing.
    let project = compose("services: {web: {build: .}, db: {image: x}}\n")
        .file("docker-bake.hcl", "target \"db\" {}\n");
    assert!(project.plan(&["db"]).is_ok());
}
