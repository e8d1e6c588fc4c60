//! Tests of what lowering takes from the plan.

use super::*;
use crate::run::testing::planned;
use test_case::test_case;

/// The setting of a run without Docker, whose daemon supports attestations.
pub(super) fn setting() -> Setting {
    Setting {
        environment: Environment::of([], "/"),
        paths: Resolver::new(std::path::Path::new("/")),
        written: Arc::default(),
        proxies: Vec::new(),
        attestations: true,
        daemon: DaemonTraits {
            version: Some("v0.32.2".to_owned()),
            several_exports: true,
            attestations: true,
            step_limits: true,
        },
        docker: DockerTraits::default(),
        caches: CacheSupport::default(),
        aws: AwsKeys::default(),
        host_gateway: None,
        source_policy: None,
        node: "n".to_owned(),
        node_position: 0,
    }
}

fn lowered(body: &str) -> Result<LoweredTarget, Diagnostics> {
    lowered_with(body, &setting())
}

fn lowered_with(body: &str, setting: &Setting) -> Result<LoweredTarget, Diagnostics> {
    let places = TargetPlaces {
        context: SourceTree::Dir("/c".into()),
        dockerfile: DockerfilePlace::InContext("Dockerfile".into()),
        named: BTreeMap::new(),
        images: Vec::new(),
    };
    lower(&planned(body), &places, VcsFacts::default(), setting)
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

fn with_keys() -> Setting {
    let keys = crate::credential::AwsCredential::new("ID", "SECRET", Some("TOKEN"));
    Setting {
        aws: AwsKeys::Found(keys),
        ..setting()
    }
}

// As in buildx: keys of the environment complete an entry, and a session token is added only if one of them is used.
#[test_case("bucket=b", &[("access_key_id", "ID"), ("secret_access_key", "SECRET"), ("session_token", "TOKEN")]; "no keys")]
#[test_case("access_key_id=A,secret_access_key=B", &[("access_key_id", "A"), ("secret_access_key", "B")]; "keys")]
#[test_case("access_key_id=A,session_token=C", &[("access_key_id", "A"), ("secret_access_key", "SECRET"), ("session_token", "C")]; "half of the keys")]
fn caches_in_s3_get_the_keys_that_they_lack(attributes: &str, expected: &[(&str, &str)]) {
    let body =
        format!("cache-from = [\"type=s3,{attributes}\"]\ncache-to = [\"type=s3,{attributes}\"]");
    let spec = lowered_with(&body, &with_keys()).unwrap().spec;
    for cache in [&spec.cache_imports[0], &spec.cache_exports[0]] {
        let sent = cache.credentials.iter();
        let sent: Vec<(&str, &str)> = sent
            .map(|(key, value)| (key.as_str(), value.expose().as_str()))
            .collect();
        assert_eq!(sent, expected);
        let plain = cache
            .extra
            .keys()
            .filter(|key| key.contains("key") || key.contains("token"));
        assert_eq!(plain.count(), 0);
    }
}

#[test]
fn the_key_of_an_account_is_kept_secret_and_aws_keys_go_to_s3_only() {
    let body = r#"cache-to = ["type=azblob,account_url=u,secret_access_key=hunter2"]"#;
    let spec = lowered_with(body, &with_keys()).unwrap().spec;
    let cache = &spec.cache_exports[0];
    assert_eq!(
        cache.credentials.keys().collect::<Vec<_>>(),
        ["secret_access_key"]
    );
    assert!(!format!("{cache:?}").contains("hunter2"));
}

fn old_daemon() -> Setting {
    let mut setting = setting();
    setting.daemon = DaemonTraits {
        version: Some("v0.10.0".to_owned()),
        several_exports: false,
        attestations: false,
        step_limits: false,
    };
    setting
}

fn codes(problems: Option<Diagnostics>) -> Vec<&'static str> {
    let problems = problems.into_iter().flat_map(|problems| problems.0);
    problems.map(|problem| problem.code).collect()
}

#[test_case(r#"output = ["type=local,dest=a", "type=tar,dest=b"]"#, true; "several outputs")]
#[test_case(r#"output = ["type=local,dest=a", "type=cacheonly"]"#, false; "one output")]
#[test_case(r#"attest = ["type=sbom"]"#, true; "an attestation")]
#[test_case(r#"attest = ["type=sbom,disabled=true"]"#, false; "a disabled attestation")]
fn an_old_daemon_is_refused_if_it_would_leave_something_out(body: &str, is_error: bool) {
    assert!(lowered(body).is_ok(), "{body}");
    let found = lowered_with(body, &old_daemon());
    let codes = codes(found.err());
    let expected: &[&str] = if is_error { &["run::old-builder"] } else { &[] };
    assert_eq!(codes, expected);
}

fn in_environment(name: &str, value: &str) -> Setting {
    Setting {
        environment: Environment::of([(name, value)], "/"),
        ..setting()
    }
}

#[test_case("BUILDX_NO_DEFAULT_ATTESTATIONS", "yes", "", true; "a word")]
#[test_case("BUILDX_NO_DEFAULT_ATTESTATIONS", "", "", true; "an empty value")]
#[test_case("BUILDX_NO_DEFAULT_ATTESTATIONS", "True", "", false; "true as in Go")]
#[test_case("BUILDX_NO_DEFAULT_ATTESTATIONS", "yes", r#"attest = ["type=provenance,mode=max"]"#, false; "a variable that nobody reads")]
#[test_case("BUILDX_NO_DEFAULT_OCI_ARTIFACT", "x", "", true; "without outputs")]
#[test_case("BUILDX_NO_DEFAULT_OCI_ARTIFACT", "0", "", false; "a number")]
fn variables_that_are_neither_true_nor_false_are_refused(
    name: &str,
    value: &str,
    body: &str,
    is_error: bool,
) {
    let found = lowered_with(body, &in_environment(name, value));
    let codes = codes(found.err());
    let expected: &[&str] = if is_error { &["run::variable"] } else { &[] };
    assert_eq!(codes, expected);
}

#[test_case("type=provenance,mode=max"; "lower case")]
#[test_case("type=Provenance,mode=max"; "upper case")]
fn provenance_that_the_target_asks_for_takes_the_place_of_the_default(attest: &str) {
    let spec = lowered(&format!("attest = [\"{attest}\"]")).unwrap().spec;
    assert_eq!(spec.attestations.len(), 1, "{:?}", spec.attestations);
    let mode = ("mode".to_owned(), "max".to_owned());
    assert!(spec.attestations[0].parameters.contains(&mode));
}

#[test]
fn limits_that_an_old_daemon_ignores_are_a_warning() {
    let limited = planned(r#"resources = { memory = "1g" }"#);
    let free = planned("");
    let limits = StepLimits {
        memory: Some(1 << 30),
        ..StepLimits::default()
    };
    let none = StepLimits::default();
    let warned = |setting: &Setting, limits| {
        let targets = [(&limited, limits), (&free, &none)];
        ignored_limits(&setting.daemon, targets).is_some()
    };
    assert!(warned(&old_daemon(), &limits));
    assert!(!warned(&old_daemon(), &none));
    assert!(!warned(&setting(), &limits));
}
