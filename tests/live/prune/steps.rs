//! Plans, deletions and their undoing.

use test_case::test_case;

use super::site::{PruneSite, WEB, run_of};
use crate::support::distribution::{DistributionRegistry, Version};

const V2: Version = Version::V2;
const V3: Version = Version::V3;

#[test_case(V2; "distribution 2")]
#[test_case(V3; "distribution 3")]
#[ignore = "needs live peers"]
#[tokio::test]
async fn kept_tags_are_whole_after_the_garbage_collection_and_the_rest_is_gone(version: Version) {
    let site = PruneSite::new(version).await;
    let plan = site.plan();
    // Without `--yes`, nothing is deleted.
    assert_eq!(site.tags().await.len(), 9);
    let output = site.prune(&["--yes"]);
    assert_eq!(output.code, Some(0), "{output}");
    site.registry.collect_garbage();
    assert_eq!(site.tags().await, ["build-7", "build-8", "latest"]);
    site.assert_done(&plan).await;
    // The signatures of the images that went are gone, and those of the others are not. Nothing else is left.
    assert_eq!(site.contents.tags(WEB).await.len(), 5);
    let again = site.prune(&["--yes"]);
    assert_eq!(again.code, Some(0), "{again}");
    assert!(again.stderr.contains("nothing to delete"), "{again}");
}

#[test_case(V2; "distribution 2")]
#[test_case(V3; "distribution 3")]
#[ignore = "needs live peers"]
#[tokio::test]
async fn a_prune_is_taken_back_until_the_registry_collects_its_garbage(version: Version) {
    let site = PruneSite::new(version).await;
    let before = site.contents.tags(WEB).await;
    let output = site.prune(&["--yes"]);
    assert_eq!(output.code, Some(0), "{output}");
    let run = run_of(&output);
    // Without a terminal and without an answer, nothing happens.
    assert_eq!(site.project.rbake(&["undo", &run]).code, Some(2));
    let shown = site.project.rbake(&["undo", &run, "--dry-run"]);
    assert_eq!(shown.code, Some(0), "{shown}");
    assert_ne!(site.contents.tags(WEB).await, before);
    let undone = site.project.rbake(&["undo", &run, "--yes"]);
    assert_eq!(undone.code, Some(0), "{undone}");
    assert_eq!(site.contents.tags(WEB).await, before);
    site.assert_nothing_broken().await;

    let output = site.prune(&["--yes"]);
    let run = run_of(&output);
    site.registry.collect_garbage();
    // The running registry remembers some blobs that the collection has deleted, so nothing is claimed about what it
    // says before a request for a blob has failed.
    let undone = site.project.rbake(&["undo", &run, "--yes"]);
    assert_eq!(undone.code, Some(5), "{undone}");
    assert!(undone.stderr.contains("prune::gone"), "{undone}");
    assert!(undone.stderr.contains("does not have its blob"), "{undone}");
    assert_eq!(site.tags().await, ["build-7", "build-8", "latest"]);
    site.assert_nothing_broken().await;
}

#[test_case(V2; "distribution 2")]
#[test_case(V3; "distribution 3")]
#[ignore = "needs live peers"]
#[tokio::test]
async fn a_tag_goes_and_the_image_stays_if_another_tag_names_it(version: Version) {
    let site = PruneSite::new(version).await;
    site.contents.set(WEB, "build-1", "v1").await;
    site.contents.set(WEB, "build-7", "build-0").await;
    let plan = site.plan();
    let output = site.prune(&["--yes"]);
    assert_eq!(output.code, Some(0), "{output}");
    site.registry.collect_garbage();
    // `build-0` is the image of `build-7`, which is among the newest.
    let tags = ["build-0", "build-7", "build-8", "latest", "v1"];
    assert_eq!(site.tags().await, tags);
    site.assert_done(&plan).await;
    let undone = site
        .project
        .rbake(&["undo", &run_of(&output), "--dry-run", "--json"]);
    assert!(undone.stdout.contains("\"build-1\""), "{undone}");
}

#[ignore = "needs live peers"]
#[tokio::test]
async fn a_plan_that_was_agreed_to_is_not_replaced_by_another() {
    let site = PruneSite::new(V3).await;
    let plan = site.plan();
    let digest = plan["plan"].as_str().unwrap();
    site.contents.set(WEB, "build-1", "v1").await;
    let refused = site.prune(&["--yes", "--plan", digest]);
    assert_eq!(refused.code, Some(5), "{refused}");
    assert!(refused.stderr.contains("prune::changed"), "{refused}");
    assert_eq!(site.tags().await.len(), 10);
    let plan = site.plan();
    let output = site.prune(&["--yes", "--plan", plan["plan"].as_str().unwrap()]);
    assert_eq!(output.code, Some(0), "{output}");
    site.assert_done(&plan).await;
}

#[ignore = "needs live peers"]
#[tokio::test]
async fn more_than_the_limit_is_not_deleted() {
    let site = PruneSite::new(V3).await;
    let repository = format!("{}/{WEB}", site.registry.address);
    let words = ["prune", "images", &repository, "--yes", "--keep-newest"];
    let output = site
        .project
        .rbake(&[words.as_slice(), &["build-*=2"]].concat());
    assert_eq!(output.code, Some(2), "{output}");
    assert!(output.stderr.contains("prune::too-many"), "{output}");
    assert_eq!(site.tags().await.len(), 9);
}

#[ignore = "needs live peers"]
#[tokio::test]
async fn locked_digests_stay_with_all_that_they_lead_to() {
    let mut site = PruneSite::new(V2).await;
    let locked = site.contents.digest(WEB, "build-1").await.unwrap();
    site.project = site.project.file("lock", format!("web@{locked}\n"));
    let output = site.prune(&["--yes", "--keep-digests", "lock"]);
    assert_eq!(output.code, Some(0), "{output}");
    site.registry.collect_garbage();
    site.contents.assert_whole(WEB, &locked).await;
    let young = site.prune(&["--grace", "4000d"]);
    assert!(young.stderr.contains("nothing to delete"), "{young}");
}

#[test_case(V2; "distribution 2")]
#[test_case(V3; "distribution 3")]
#[ignore = "needs live peers"]
#[tokio::test]
async fn a_registry_without_deletion_is_reported_and_gets_nothing(version: Version) {
    let site = PruneSite::of(DistributionRegistry::without_deletion(version));
    site.fill().await;
    let before = site.contents.tags(WEB).await;
    let shown = site.prune(&[]);
    assert_eq!(shown.code, Some(0), "{shown}");
    assert!(
        shown.stderr.contains("warning[prune::no-deletion]"),
        "{shown}"
    );
    let refused = site.prune(&["--yes"]);
    assert_eq!(refused.code, Some(5), "{refused}");
    assert!(
        refused.stderr.contains("error[prune::no-deletion]"),
        "{refused}"
    );
    // No lease either.
    assert_eq!(site.contents.tags(WEB).await, before);
}

#[ignore = "needs live peers"]
#[tokio::test]
async fn nothing_is_deleted_if_a_manifest_cannot_be_understood() {
    let site = PruneSite::new(V3).await;
    let mut index = site.contents.json(WEB, "build-7").await.unwrap();
    // Other programs ignore the case of names, so this has children for them.
    let children = index["manifests"].take();
    index.as_object_mut().unwrap().remove("manifests");
    index["manifests"] = serde_json::json!([]);
    index["Manifests"] = children;
    site.contents.write(WEB, Some("odd"), &index).await;
    let output = site.prune(&["--yes"]);
    assert_eq!(output.code, Some(5), "{output}");
    assert!(output.stderr.contains("prune::closed"), "{output}");
    assert_eq!(site.tags().await.len(), 10);
}
