//! Attributes and arguments that few definitions have, beside buildx.

use serde_json::Value;

use super::cache::succeeds;
use crate::support::bakers::{Baker, Bakers};
use crate::support::buildkitd::Buildkitd;
use crate::support::layout;
use crate::support::project::TestProject;

fn metadata(project: &TestProject, name: &str) -> Value {
    let text = std::fs::read(project.path().join(name)).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[test]
#[ignore = "needs live peers"]
fn an_image_without_a_tag_is_named_by_a_prefix_and_its_digest() {
    let bakers = Bakers::on_the_shared_daemon();
    let project = TestProject::new()
        .file("Dockerfile", "FROM scratch\nLABEL a=b\n")
        .file(
            "docker-bake.hcl",
            "target \"default\" {\n  output = [\"type=image,dangling-name-prefix=pre/fix\"]\n}\n",
        )
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1");
    let names = Baker::ALL.map(|baker| {
        let _ = succeeds(bakers.bake(baker, &project, &["--metadata-file=m.json"]));
        let metadata = metadata(&project, "m.json");
        let target = &metadata["default"];
        let digest = target["containerimage.digest"].as_str().unwrap();
        let name = target["image.name"].as_str().unwrap().to_owned();
        assert_eq!(name, format!("pre/fix@{digest}"), "{baker:?}");
        name
    });
    assert_eq!(names[0], names[1]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn arguments_for_the_builder_reach_it() {
    let daemon = Buildkitd::start_with_images().await;
    let bakers = Bakers::on(&daemon.endpoint().to_string());
    let project = TestProject::new()
        .file("Dockerfile", "FROM busybox\nRUN hostname > /name\n")
        .file(
            "docker-bake.hcl",
            r#"target "default" {
  args = {
    BUILDKIT_INLINE_CACHE     = "1"
    BUILDKIT_MULTI_PLATFORM   = "1"
    BUILDKIT_SANDBOX_HOSTNAME = "of-the-step"
    SOURCE_DATE_EPOCH         = "0"
  }
  output = ["type=oci,dest=image.tar,rewrite-timestamp=true", "type=local,dest=out"]
}
"#,
        )
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1");
    let images = Baker::ALL.map(|baker| {
        let _ = succeeds(bakers.bake(baker, &project, &["--allow=fs.write=."]));
        let dir = tempfile::tempdir().unwrap();
        layout::unpack(&project.path().join("image.tar"), dir.path());
        // The result of several platforms has a directory for each.
        let name = project.path().join("out/linux_amd64/name");
        assert_eq!(std::fs::read_to_string(name).unwrap(), "of-the-step\n");
        let described = layout::described(dir.path());
        assert!(
            described.to_string().contains("moby.buildkit.cache.v0"),
            "{described}"
        );
        std::fs::remove_dir_all(project.path().join("out")).unwrap();
        described
    });
    assert_eq!(images[0], images[1]);
}
