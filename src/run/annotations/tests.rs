use super::*;
use crate::diag::Severity;
use crate::run::lower::ImageStore;
use crate::run::testing::plan;
use test_case::test_case;

fn found(body: &str, variables: &[(&str, &str)]) -> Vec<Diagnostic> {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    let environment = Environment::new(variables, "/".into());
    check(&plan(body), &environment).0
}

const NO_PROVENANCE: &str = r#"attest = ["type=provenance,disabled=true"]"#;

#[test_case(r#"annotations = ["index:a=b"]
    output = ["type=oci,dest=x"]"#; "layout without attestations")]
#[test_case(&format!("annotations = [\"index:a=b\"]\noutput = [\"type=image\"]\n{NO_PROVENANCE}"); "image without provenance")]
#[test_case(r#"annotations = ["manifest,index-descriptor:a=b"]
    output = ["type=docker,dest=x"]"#; "archive for Docker")]
#[test_case(r#"annotations = ["index:a=b"]
    attest = ["type=provenance,disabled=true"]
    output = ["type=docker,dest=x,attestation-inline=true"]"#; "archive without provenance")]
#[test_case(r#"annotations = ["manifest[linux/arm64]:a=b"]
    platforms = ["linux/amd64", "linux/s390x"]
    output = ["type=image"]"#; "none of several platforms")]
#[test_case(r#"annotations = ["index:a=b"]
    platforms = ["linux/amd64", "linux/s390x"]
    output = ["type=image,oci-mediatypes=false"]"#; "media types of Docker")]
#[test_case(r#"output = ["type=oci,dest=x,annotation-index.a=b"]"#; "attribute of an output")]
fn annotations_that_buildkit_would_refuse_are_errors(body: &str) {
    let problems = found(body, &[]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(
        (problems[0].code, problems[0].severity),
        ("run::annotation", Severity::Error)
    );
    assert!(
        !problems[0].help.is_empty() && !problems[0].labels.is_empty(),
        "{problems:?}"
    );
}

#[test_case(r#"annotations = ["a=b"]
    output = ["type=local,dest=x", "type=cacheonly"]"#, "makes no image"; "files")]
#[test_case(r#"annotations = ["manifest[linux/arm64]:a=b"]
    platforms = ["linux/amd64"]
    output = ["type=image"]"#, "not for `linux/arm64`"; "another platform")]
#[test_case(r#"annotations = ["manifest[linux/s390x]:a=b"]"#, "names no platforms"; "no platform")]
#[test_case(r#"annotations = ["manifest[linux/amd64]:a=b"]
    platforms = ["linux/amd64"]
    output = ["type=oci,dest=x"]"#, "without an index"; "its own platform")]
#[test_case(r#"output = ["type=oci,dest=x,annotation[linux/arm64].a=b"]
    platforms = ["linux/amd64"]"#, "not for `linux/arm64`"; "platform in an attribute")]
#[test_case(r#"output = ["type=local,dest=x,annotation.a=b"]"#, "`type=local` makes no image"; "attribute of files")]
fn annotations_that_would_be_lost_cause_a_warning(body: &str, why: &str) {
    let problems = found(body, &[]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(
        (problems[0].code, problems[0].severity),
        ("run::annotation", Severity::Warning)
    );
    assert!(problems[0].message.contains(why), "{problems:?}");
}

#[test_case(r#"annotations = ["index:a=b", "manifest-descriptor:c=d", "e=f"]
    output = ["type=image", "type=local,dest=x"]"#; "provenance makes an index")]
#[test_case(r#"annotations = ["index:a=b"]
    attest = ["type=sbom"]
    output = ["type=oci,dest=x"]"#; "attestation in a layout")]
#[test_case(r#"annotations = ["index:a=b", "manifest[linux/arm64]:a=b"]
    platforms = ["linux/amd64", "linux/arm64"]
    output = ["type=oci,dest=x"]"#; "several platforms")]
#[test_case(r#"annotations = ["a=b"]
    output = ["type=oci,dest=x"]"#; "manifest alone")]
#[test_case(r#"output = ["type=local,dest=x"]"#; "no annotations")]
#[test_case(r#"output = ["type=image,annotation-index.a=b,annotation-manifest-descriptor.c=d,annotation.e=f"]"#; "attributes")]
#[test_case(r#"annotations = ["index:a=b"]
    output = ["type=docker,dest=x,attestation-inline=true"]"#; "archive with attestations in the image")]
#[test_case(r#"annotations = ["index:a=b"]
    output = ["type=docker"]"#; "the Docker Engine decides")]
#[test_case(&format!("annotations = [\"index:a=b\"]\n{NO_PROVENANCE}"); "the builder decides what is exported")]
#[test_case(r#"annotations = ["manifest-descriptor:a=b"]
    output = ["type=image,oci-mediatypes=false"]"#; "the builder decides about media types")]
fn annotations_that_apply_cause_no_problem(body: &str) {
    assert_eq!(found(body, &[]), []);
}

#[test]
fn without_default_attestations_an_image_has_no_index() {
    let body = "annotations = [\"index:a=b\"]\noutput = [\"type=registry\"]\ntags = [\"x\"]";
    assert_eq!(found(body, &[]), []);
    let off = [("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")];
    assert_eq!(found(body, &off).len(), 1);
}

/// What a target with the attributes `body` gets to hear once the Docker Engines are known.
fn by_engines(body: &str, docker: &DockerTraits) -> Vec<(Severity, String)> {
    let plan = plan(body);
    let environment = Environment::of([], "/");
    let found = check_engines(plan.targets.values(), docker, &environment);
    let found = found.0.into_iter();
    found
        .map(|problem| (problem.severity, problem.message))
        .collect()
}

fn building(store: ImageStore) -> DockerTraits {
    DockerTraits {
        builder: Some(store),
        default_load: true,
        ..DockerTraits::default()
    }
}

fn loading(store: ImageStore) -> DockerTraits {
    DockerTraits {
        loads: [(None, store)].into(),
        ..DockerTraits::default()
    }
}

const LOADED: &str = "annotations = [\"index:a=b\"]\noutput = [\"type=docker\"]";

#[test_case(LOADED, &building(ImageStore::Containerd); "provenance makes the index of an Engine's own image")]
#[test_case(r#"annotations = ["index:a=b"]"#, &building(ImageStore::Containerd); "an Engine without an output")]
#[test_case(&format!("{LOADED}\nplatforms = [\"linux/amd64\", \"linux/arm64\"]"), &loading(ImageStore::Containerd); "several platforms")]
#[test_case(&format!("{LOADED}\nattest = [\"type=sbom\"]"), &loading(ImageStore::Containerd); "attestations")]
#[test_case(r#"annotations = ["index:a=b"]
    output = ["type=docker,attestation-inline=true"]"#, &loading(ImageStore::Containerd); "attestations in the image")]
#[test_case(&format!("annotations = [\"index:a=b\"]\n{NO_PROVENANCE}"), &DockerTraits::default(); "nothing is exported")]
#[test_case(r#"annotations = ["a=b"]
    output = ["type=docker,dest=x", "type=local,dest=y"]"#, &DockerTraits::default(); "no Engine")]
#[test_case(r#"output = ["type=docker"]"#, &building(ImageStore::Classic); "no annotations")]
fn engines_accept_what_has_an_index(body: &str, docker: &DockerTraits) {
    assert_eq!(found(body, &[]), []);
    assert_eq!(by_engines(body, docker), []);
}

#[test_case(LOADED, &loading(ImageStore::Containerd); "one platform from another builder")]
#[test_case(LOADED, &loading(ImageStore::Classic); "an archive for the classic store")]
#[test_case(&format!("{LOADED}\n{NO_PROVENANCE}"), &building(ImageStore::Containerd); "no attestations")]
#[test_case(&format!("annotations = [\"index:a=b\"]\n{NO_PROVENANCE}"), &building(ImageStore::Containerd); "no output and no attestations")]
#[test_case(r#"output = ["type=docker,annotation-index.a=b"]"#, &loading(ImageStore::Containerd); "attribute of an output")]
#[test_case(LOADED, &building(ImageStore::Classic); "the classic store")]
#[test_case(r#"annotations = ["index:a=b"]
    output = ["type=registry,name=x/a"]"#, &building(ImageStore::Classic); "pushed from the classic store")]
#[test_case(r#"annotations = ["index-descriptor:a=b"]"#, &building(ImageStore::Classic); "the classic store without an output")]
#[test_case(r#"annotations = ["manifest-descriptor:a=b"]
    output = ["type=image,oci-mediatypes=false"]"#, &building(ImageStore::Containerd); "media types of Docker")]
fn engines_refuse_annotations_of_an_index_that_does_not_exist(body: &str, docker: &DockerTraits) {
    assert_eq!(found(body, &[]), []);
    let found = by_engines(body, docker);
    assert!(matches!(&found[..], [(Severity::Error, _)]), "{found:?}");
}

#[test_case("annotations = [\"a=b\", \"manifest-descriptor:c=d\"]", &building(ImageStore::Classic); "kept")]
#[test_case("annotations = [\"a=b\"]\noutput = [\"type=registry,name=x/a\"]", &building(ImageStore::Classic); "pushed")]
#[test_case("output = [\"type=docker,annotation.a=b\"]", &building(ImageStore::Classic); "attribute of an output")]
#[test_case("annotations = [\"a=b\"]\noutput = [\"type=docker\"]", &loading(ImageStore::Classic); "loaded")]
fn the_classic_store_loses_annotations_with_one_warning(body: &str, docker: &DockerTraits) {
    let found = by_engines(body, docker);
    let [(Severity::Warning, message)] = &found[..] else {
        panic!("{found:?}");
    };
    assert!(
        message.contains("target `t`") && message.contains("classic"),
        "{message}"
    );
}

#[test]
fn problems_that_were_reported_before_the_engines_were_known_are_not_repeated() {
    let body = "annotations = [\"manifest[linux/arm64]:a=b\"]\nplatforms = [\"linux/amd64\"]\noutput = [\"type=image\"]";
    assert_eq!(found(body, &[]).len(), 1);
    assert_eq!(by_engines(body, &building(ImageStore::Containerd)), []);
}
