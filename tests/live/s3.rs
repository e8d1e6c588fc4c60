//! Caches in S3.

use crate::support::bakers::{Baker, Bakers};
use crate::support::buildkitd::Buildkitd;
use crate::support::object_stores::{BUCKET, S3Server};
use crate::support::project::TestProject;

use super::object_caches::{self, Storage, project};

const STORAGE: Storage = Storage {
    cache: |more| S3Server::shared().cache(more),
    with_keys: |project| S3Server::shared().with_keys(project),
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn each_program_finds_the_steps_of_the_other() {
    object_caches::each_program_finds_the_steps_of_the_other(STORAGE).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn one_name_serves_four_targets() {
    object_caches::one_name_serves_four_targets(STORAGE).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_shared_name_holds_both_targets_and_each_other_name_its_own() {
    object_caches::a_shared_name_holds_both_targets_and_each_other_name_its_own(STORAGE).await;
    let id = std::process::id();
    for name in ["main", "a", "b"] {
        let object = format!("manifests/{name}-{id}");
        assert_eq!(S3Server::shared().objects(&object), [object]);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_finished_steps_of_a_failed_target_are_kept() {
    let shown = format!("s3:{BUCKET}/");
    object_caches::the_finished_steps_of_a_failed_target_are_kept(STORAGE, &shown).await;
}

fn exports_to(cache: &str) -> TestProject {
    project(&format!(
        "target \"default\" {{\n  output = [\"type=cacheonly\"]\n  cache-from = [\"{cache}\"]\n  cache-to = [\"{cache}\"]\n}}\n"
    ))
    // There is no machine of Amazon's.
    .env("AWS_EC2_METADATA_DISABLED", "true")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_profile_has_the_keys_as_with_buildx() {
    let server = S3Server::shared();
    let builder = Buildkitd::start_with_images().await;
    let bakers = Bakers::on(&builder.endpoint().to_string());
    for baker in Baker::ALL {
        let name = format!("profile-{baker:?}-{}", std::process::id());
        let project =
            exports_to(&server.cache(&format!("name={name}"))).env("AWS_PROFILE", "caches");
        let dir = project.home().join(".aws");
        std::fs::create_dir_all(&dir).unwrap();
        let keys = format!(
            "[caches]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            server.access_key, server.secret_key
        );
        std::fs::write(dir.join("credentials"), keys).unwrap();
        let output = bakers.bake(baker, &project, &[]);
        assert_eq!(output.code, Some(0), "{output}");
        let object = format!("manifests/{name}");
        assert_eq!(server.objects(&object), [object], "{output}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn wrong_keys_do_not_fail_the_image() {
    let server = S3Server::shared();
    let outputs = object_caches::an_export_that_fails_does_not_fail_the_image(|more| {
        exports_to(&server.cache(&format!("name=wrong{more}")))
            .env("AWS_ACCESS_KEY_ID", "AKIAWRONG")
            .env("AWS_SECRET_ACCESS_KEY", "wrong")
    })
    .await;
    for output in outputs {
        assert!(output.stderr.contains("InvalidAccessKeyId"), "{output}");
        let imported = format!("no cache is imported from `s3:{BUCKET}/wrong`");
        assert!(output.stderr.contains(&imported), "{output}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn missing_keys_are_named_if_the_builder_has_none_either() {
    let server = S3Server::shared();
    let outputs = object_caches::an_export_that_fails_does_not_fail_the_image(|more| {
        exports_to(&server.cache(&format!("name=none,retry_max_attempts=1{more}")))
    })
    .await;
    for output in outputs {
        let help = "rbake found no AWS keys, so the builder used its own: cannot get AWS keys from the machine's metadata: `AWS_EC2_METADATA_DISABLED` is set";
        assert!(output.stderr.contains(help), "{output}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_bucket_that_does_not_exist_does_not_fail_the_image() {
    let server = S3Server::shared();
    let outputs = object_caches::an_export_that_fails_does_not_fail_the_image(|more| {
        let cache = server.cache(&format!("name=x{more}"));
        server.with_keys(exports_to(&cache.replace(BUCKET, "nowhere")))
    })
    .await;
    for output in outputs {
        assert!(output.stderr.contains("s3:nowhere/x"), "{output}");
        assert!(output.stderr.contains("NoSuchBucket"), "{output}");
    }
}

// The builder's environment may have them, so only the builder knows.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_bucket_or_region_that_nobody_names_is_reported_before_the_build() {
    let server = S3Server::shared();
    let builder = Buildkitd::start_with_images().await;
    for missing in ["bucket", "region"] {
        let cache = server.cache("name=x");
        let fields = cache.split(',').filter(|field| !field.starts_with(missing));
        let cache = fields.collect::<Vec<_>>().join(",");
        for (ignored, code) in [("", 1), (",ignore-error=true", 0)] {
            let definition =
                format!("target \"default\" {{\n  cache-to = [\"{cache}{ignored}\"]\n}}\n");
            let project = server
                .with_keys(project(&definition))
                .env("BUILDKIT_HOST", builder.endpoint());
            let output = project.rbake(&[]);
            assert_eq!(output.code, Some(code), "{output}");
            let variable = missing.to_uppercase();
            for words in [
                format!("{missing} ($AWS_{variable}) not set for s3 cache"),
                format!("add `{missing}=NAME`, or set `AWS_{variable}`"),
                "docker-bake.hcl:2:".to_owned(),
            ] {
                assert!(output.stderr.contains(&words), "{words}: {output}");
            }
            assert_eq!(output.stderr.contains("RUN date"), code == 0, "{output}");
            assert_eq!(output.stderr.matches("not set").count(), 1, "{output}");
        }
    }
}
