//! Entries with special powers in directories that a build writes on this machine.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use crate::support::buildkitd::Buildkitd;
use crate::support::disk::buildx_directory;
use crate::support::peers;
use crate::support::project::TestProject;

// An archive for `ADD`, which keeps modes, devices and attributes.
fn archive() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let header = |name: &str, mode: u32, kind: tar::EntryType, size: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).unwrap();
        header.set_mode(mode);
        header.set_size(size);
        header.set_entry_type(kind);
        header.set_mtime(1_600_000_000);
        header
    };
    for (name, mode) in [("suid", 0o4755), ("sgid", 0o2755), ("plain", 0o644)] {
        let mut header = header(name, mode, tar::EntryType::Regular, 1);
        header.set_cksum();
        archive.append(&header, &b"x"[..]).unwrap();
    }
    let mut null = header("null", 0o666, tar::EntryType::Char, 0);
    null.set_device_major(1).unwrap();
    null.set_device_minor(3).unwrap();
    null.set_cksum();
    archive.append(&null, &b""[..]).unwrap();
    let mut pipe = header("pipe", 0o622, tar::EntryType::Fifo, 0);
    pipe.set_cksum();
    archive.append(&pipe, &b""[..]).unwrap();
    archive.into_inner().unwrap()
}

fn modes(dir: &Path) -> Vec<(String, u32, u64)> {
    let mut found: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, metadata.mode(), metadata.rdev())
        })
        .collect();
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn special_files_arrive_as_with_buildx_and_are_counted_or_refused() {
    let buildx = peers::program("RBAKE_TEST_BUILDX");
    let builder = Buildkitd::start(&[]).await;
    let project = TestProject::new()
        .file(
            "docker-bake.hcl",
            "target \"default\" {\n  output = [\"type=local,dest=out\"]\n}\n",
        )
        .file("Dockerfile", "FROM scratch\nADD x.tar /\n")
        .file("x.tar", archive())
        .env("BUILDKIT_HOST", builder.endpoint());
    let allow = ["--allow", "fs.write=out"];
    let run = project.rbake(&[&allow[..], &["--progress=plain"]].concat());
    assert_eq!(run.code, Some(0), "{run}");
    assert!(
        run.stderr
            .contains("written to out, with 2 set-id files, 1 device"),
        "{run}"
    );
    let out = project.path().join("out");
    let null = std::fs::symlink_metadata(out.join("null")).unwrap();
    assert!(null.file_type().is_char_device());

    let theirs = project.path().join("theirs");
    buildx_directory(
        &buildx,
        &builder.endpoint().to_string(),
        &project.path(),
        &theirs,
    );
    assert_eq!(modes(&out), modes(&theirs));

    std::fs::remove_dir_all(&out).unwrap();
    let run = project.rbake(&[&allow[..], &["--export-special=deny"]].concat());
    assert_eq!(run.code, Some(1), "{run}");
    assert!(
        run.stderr.contains("`null` is refused: it is a device"),
        "{run}"
    );
    assert_eq!(modes(&out), [], "{run}");
}
