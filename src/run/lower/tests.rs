//! What lowering takes from the plan.

use super::*;
use crate::run::testing::planned;
use test_case::test_case;

/// A run without Docker, whose daemon can attest.
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

fn lowered(body: &str) -> Result<Lowered, Diagnostics> {
    let places = Places {
        context: Tree::Dir("/c".into()),
        dockerfile: DockerfilePlace::InContext("Dockerfile".into()),
        named: BTreeMap::new(),
        images: Vec::new(),
    };
    lower(&planned(body), &places, VcsFacts::default(), &setting())
}

// The plan lacks such values, so a build would silently do without them.
#[test_case(r#"network = "bridge""#, "plan::network")]
#[test_case(r#"extra-hosts = { a = "b" }"#, "plan::extra-host")]
fn unreadable_values_are_not_built_without(body: &str, code: &str) {
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
