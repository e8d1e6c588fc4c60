use super::super::tests::setting;
use super::super::{DockerTraits, Setting};
use super::*;
use crate::diag::Diagnostics;
use crate::run::testing::planned;
use test_case::test_case;

fn lowered(
    body: &str,
    docker: DockerTraits,
    variables: [(&str, &str); 1],
) -> (LoweredExports, Diagnostics) {
    let planned = planned(body);
    let setting = Setting {
        environment: Environment::of(variables, "/"),
        docker,
        ..setting()
    };
    let mut lowering = Lowering {
        planned: &planned,
        target: planned.attributes.as_ref(),
        setting: &setting,
        problems: Diagnostics::default(),
    };
    let lowered = lower(&mut lowering, false);
    (lowered, lowering.problems)
}

fn docker(store: ImageStore) -> DockerTraits {
    DockerTraits {
        builder: Some(store),
        default_load: true,
        ..DockerTraits::default()
    }
}

fn exporters(body: &str, docker: DockerTraits, variables: [(&str, &str); 1]) -> Vec<String> {
    let (lowered, problems) = lowered(body, docker, variables);
    assert!(!problems.has_errors(), "{problems:?}");
    let name = |export: &spec::SolveExport| export.exporter.name().to_owned();
    lowered.exports.iter().map(name).collect()
}

#[test_case(""; "no output")]
#[test_case(r#"output = ["type=image"]"#; "image")]
#[test_case(r#"output = ["type=image,push=true"]"#; "pushed image")]
#[test_case(r#"output = ["type=registry"]"#; "registry")]
#[test_case(r#"output = ["type=docker"]"#; "docker")]
#[test_case(r#"output = ["type=docker,context="]"#; "docker without a context")]
fn a_docker_engine_writes_images_with_its_own_exporter(output: &str) {
    let body = format!("tags = [\"a:1\"]\n{output}");
    for store in [ImageStore::Containerd, ImageStore::Classic] {
        assert_eq!(
            exporters(&body, docker(store), [("", "")]),
            ["moby"],
            "{store:?}"
        );
    }
}

#[test]
fn other_builders_write_images_with_the_exporter_of_buildkit() {
    let body = "tags = [\"a:1\"]\noutput = [\"type=image\", \"type=registry\"]";
    let none = DockerTraits::default();
    assert_eq!(exporters(body, none, [("", "")]), ["image", "image"]);
}

#[test]
fn the_format_for_each_engine_depends_on_its_image_store() {
    let body = "tags = [\"a:1\"]\noutput = [\"type=docker\", \"type=docker,context=far\"]";
    let traits = DockerTraits {
        loads: BTreeMap::from([
            (None, ImageStore::Classic),
            (Some("far".to_owned()), ImageStore::Containerd),
        ]),
        ..DockerTraits::default()
    };
    assert_eq!(exporters(body, traits, [("", "")]), ["docker", "oci"]);
    // The image is loaded into the engine that is named, even if another engine builds.
    let traits = DockerTraits {
        loads: BTreeMap::from([(Some("far".to_owned()), ImageStore::Containerd)]),
        ..docker(ImageStore::Containerd)
    };
    assert_eq!(exporters(body, traits.clone(), [("", "")]), ["moby", "oci"]);
    let classic = DockerTraits {
        builder: Some(ImageStore::Classic),
        ..traits
    };
    let (_, problems) = lowered(body, classic, [("", "")]);
    assert_eq!(problems.0[0].code, "run::docker-to-docker");
}

#[test]
fn the_engine_pushes_if_its_buildkit_cannot() {
    let body = "tags = [\"h/a:1\", \"h/a\"]\noutput = [\"type=registry\"]";
    let (done, _) = lowered(body, docker(ImageStore::Classic), [("", "")]);
    assert_eq!(done.pushes.len(), 2);
    assert_eq!(done.exports[0].push, None);
    let (done, _) = lowered(body, docker(ImageStore::Containerd), [("", "")]);
    assert!(done.pushes.is_empty());
    assert_eq!(done.exports[0].push, Some(true));
}

#[test]
fn a_push_by_digest_leaves_no_name_in_the_engine() {
    let body = "output = [\"type=image,name=h/a,push=true,push-by-digest=true\"]";
    let (done, problems) = lowered(body, docker(ImageStore::Containerd), [("", "")]);
    assert!(!problems.has_errors());
    assert_eq!(done.exports[0].exporter, Exporter::Image);
    assert_eq!(done.exports[0].extra["store"], "false");
    let (_, problems) = lowered(body, docker(ImageStore::Classic), [("", "")]);
    assert_eq!(problems.0[0].code, "run::push-by-docker");
}

#[test_case("1", false; "true")]
#[test_case("TRUE", false; "true as in Go")]
#[test_case("0", true; "false")]
#[test_case("yes", true; "not a boolean")]
fn the_default_load_can_be_switched_off(value: &str, loads: bool) {
    let variable = ("BUILDX_NO_DEFAULT_LOAD", value);
    let by_default = DockerTraits {
        default_load: true,
        loads: BTreeMap::from([(None, ImageStore::Containerd)]),
        ..DockerTraits::default()
    };
    for traits in [by_default, docker(ImageStore::Containerd)] {
        let exporters = exporters("tags = [\"a:1\"]", traits, [variable]);
        assert_eq!(!exporters.is_empty(), loads, "{exporters:?}");
    }
    let environment = Environment::of([variable], "/");
    assert_eq!(strange_default_load(&environment).is_some(), value == "yes");
}

#[test_case("", LocalMode::Copy)]
#[test_case(",mode=copy", LocalMode::Copy; "copy")]
#[test_case(",mode=delete", LocalMode::Delete; "delete")]
#[test_case(",\"mode= DELETE \"", LocalMode::Delete; "case and space")]
fn the_mode_of_a_local_output_decides_what_happens_to_other_files(mode: &str, others: LocalMode) {
    let body = format!("output = [{:?}]", format!("type=local,dest=/d{mode}"));
    let (lowered, problems) = lowered(&body, DockerTraits::default(), [("", "")]);
    assert!(!problems.has_errors());
    let path = "/d".into();
    let destination = ExportDestination::Directory {
        path,
        others,
        other_outputs: Vec::new(),
    };
    assert_eq!(lowered.sinks[&0], destination);
}

// The response of the last exporter names the image that is published.
#[test]
fn the_export_that_is_pushed_comes_last() {
    let body = r#"
        output = [
          "type=image,name=h/a,push=true",
          "type=docker,dest=/d.tar,name=b",
          "type=local,dest=/l",
        ]"#;
    let (lowered, problems) = lowered(body, DockerTraits::default(), [("", "")]);
    assert!(!problems.has_errors());
    let exports = lowered.exports.iter();
    let seen: Vec<_> = exports
        .map(|export| (export.exporter.name(), export.names.len(), export.push))
        .collect();
    assert_eq!(
        seen,
        [
            ("docker", 1, None),
            ("local", 0, None),
            ("image", 1, Some(true))
        ]
    );
    assert_eq!(lowered.exports[0].names[0].as_str(), "b");
    let sinks: Vec<usize> = lowered.sinks.keys().copied().collect();
    assert_eq!(sinks, [0, 1]);
}

#[test_case("type=registry,name=h/a", Some(false))]
#[test_case("type=registry,name=h/a,unpack=true", Some(true); "registry unpacked")]
#[test_case("type=image,name=h/a,push=true", None; "image")]
#[test_case("type=image,name=h/a,push=true,unpack=false", Some(false); "image not unpacked")]
fn a_push_to_a_registry_does_not_unpack_unless_asked(output: &str, unpack: Option<bool>) {
    let body = format!("output = [\"{output}\"]");
    let (lowered, problems) = lowered(&body, DockerTraits::default(), [("", "")]);
    assert!(!problems.has_errors());
    let export = &lowered.exports[0];
    assert_eq!((export.push, export.unpack), (Some(true), unpack));
}
