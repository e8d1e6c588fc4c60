//! The image of rbake itself: `bake/rbake.hcl`, built by rbake.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::peers;
use crate::support::project::TestProject;

#[test]
#[ignore = "needs live peers"]
fn rbake_builds_its_own_image_for_both_processors() {
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy = |name: &str| std::fs::read(root.join(name)).unwrap();
    let project = TestProject::new()
        .file("bake/rbake.hcl", copy("bake/rbake.hcl"))
        .file(
            "dockerfiles/Dockerfile.rbake",
            copy("dockerfiles/Dockerfile.rbake"),
        )
        .file("target/dist/binaries/linux/amd64/rbake", "for amd64")
        .file("target/dist/binaries/linux/arm64/rbake", "for arm64")
        // In place of the image that has them.
        .file(
            "authorities/etc/ssl/certs/ca-certificates.crt",
            "authorities",
        )
        .env("BUILDKIT_HOST", address);
    let output = project.rbake(&[
        "-f",
        "bake/rbake.hcl",
        "--set",
        "image.contexts.certificates=authorities",
        "--set",
        "image.output=type=local,dest=out",
    ]);
    assert_eq!(output.code, Some(0), "{output}");
    for processor in ["amd64", "arm64"] {
        let out = project.path().join(format!("out/linux_{processor}"));
        let program = out.join("usr/local/bin/rbake");
        let content = std::fs::read_to_string(&program).unwrap();
        assert_eq!(content, format!("for {processor}"));
        let mode = program.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        let authorities = out.join("etc/ssl/certs/ca-certificates.crt");
        assert_eq!(std::fs::read_to_string(authorities).unwrap(), "authorities");
    }
}
