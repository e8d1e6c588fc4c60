//! Tests of what lowering takes from the plan.

use super::*;
use crate::run::testing::planned;
use test_case::test_case;

/// The setting of a run without Docker, whose daemon supports attestations.
pub(super) fn setting() -> Setting {
    Setting {
        environment: Environment::of([], "/"),
        paths: Resolver::new(std::path::Path::new("/")),
        proxies: Vec::new(),
        attestations: true,
        docker: DockerTraits::default(),
        caches: CacheSupport::default(),
        host_gateway: None,
        node: "n".to_owned(),
    }
}

fn lowered(body: &str) -> Result<LoweredTarget, Diagnostics> {
    let places = TargetPlaces {
        context: SourceTree::Dir("/c".into()),
        dockerfile: DockerfilePlace::InContext("Dockerfile".into()),
        named: BTreeMap::new(),
        images: Vec::new(),
    };
    lower(&planned(body), &places, VcsFacts::default(), &setting())
}

// Such values are missing from the plan, so a build would silently go on without them.
#[test_case(r#"network = "bridge""#, "plan::network")]
#[test_case(r#"extra-hosts = { a = "b" }"#, "plan::extra-host")]
#[test_case(r#"tags = ["A/B"]"#, "plan::image-name")]
#[test_case(
    r#"cache-from = [{ type = "registry", ref = "A/B" }]"#,
    "plan::cache-reference"
)]
fn values_that_cannot_be_read_are_errors(body: &str, code: &str) {
    let problems = lowered(body).unwrap_err();
    let codes: Vec<_> = problems.0.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, [code]);
}

#[test]
fn networks_and_hosts_are_those_of_the_plan() {
    let body = r#"
        network = "none"
        extra-hosts = { a = "10.0.0.1,[::1]", b = "10.0.0.2" }"#;
    let spec = lowered(body).unwrap().spec;
    assert_eq!(spec.network, crate::types::NetworkMode::None);
    let hosts = spec.add_hosts.iter();
    let hosts: Vec<String> = hosts
        .map(|named| format!("{} {}", named.host, named.ip))
        .collect();
    assert_eq!(hosts, ["a 10.0.0.1", "a ::1", "b 10.0.0.2"]);
}

// The daemon gets the names as the user wrote them.
#[test]
fn images_are_named_as_they_are_written() {
    let body = r#"
        output = ["type=cacheonly", "type=oci,dest=x,\"name=a,b:1\"", "type=image,name=c"]
        cache-to = ["type=inline", "type=registry,ref=d,mode=max"]"#;
    let spec = lowered(body).unwrap().spec;
    let names = |export: &crate::engine::spec::SolveExport| -> Vec<String> {
        export.names.iter().map(ToString::to_string).collect()
    };
    let named: Vec<_> = spec.exports.iter().map(names).collect();
    assert_eq!(named, [vec!["a", "b:1"], vec!["c"]]);
    let images = crate::run::images::of(&spec);
    let images: Vec<String> = images.iter().map(ToString::to_string).collect();
    let official = ["a", "b:1", "c", "d"].map(|name| format!("docker.io/library/{name}"));
    assert_eq!(images, official);
    let registry = &spec.cache_exports[1];
    assert_eq!(
        registry.image.as_ref().map(ToString::to_string).as_deref(),
        Some("d")
    );
    assert_eq!(
        registry.extra,
        BTreeMap::from([("mode".to_owned(), "max".to_owned())])
    );
}

#[test]
fn tags_name_every_output() {
    let body = r#"
        tags = ["a", "b"]
        output = ["type=oci,dest=x,name=c", "type=registry"]"#;
    for export in lowered(body).unwrap().spec.exports {
        let names: Vec<&str> = export
            .names
            .iter()
            .map(crate::types::ImageName::as_str)
            .collect();
        assert_eq!(names, ["a", "b"]);
    }
}
