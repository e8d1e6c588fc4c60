//! Where results and metadata are written on this machine: files, links, pipes, devices, and files that the shell has
//! opened.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::interrupted::{Run, SLACK};
use crate::support::peers;
use crate::support::project::{CommandOutput, TestProject};
use crate::support::pty::Terminal;

fn project(outputs: &str) -> TestProject {
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let project = TestProject::new()
        .file(
            "docker-bake.hcl",
            format!("target \"a\" {{\n{outputs}\n}}\n"),
        )
        .file("Dockerfile", "FROM scratch\nCOPY hello /hello\n")
        .file("hello", "hello\n")
        .file("../elsewhere/deep/x", "")
        .env("BUILDKIT_HOST", address);
    symlink("../elsewhere/deep", project.path().join("up")).unwrap();
    project
}

#[track_caller]
fn succeeds(output: &CommandOutput) {
    assert_eq!(output.code, Some(0), "{output}");
}

// Runs `script` with bash in the project. `$R` is the path of rbake.
fn bash(project: &TestProject, script: &str) -> Output {
    let rbake = project.command(&[]);
    let environment = rbake
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    Command::new("bash")
        .args(["-c", &format!("set -euo pipefail; {script}")])
        .env_clear()
        .envs(environment)
        .env("R", rbake.get_program())
        .current_dir(project.path())
        .output()
        .unwrap()
}

#[track_caller]
fn scripted(project: &TestProject, script: &str) -> String {
    let output = project.read(&bash(project, script));
    assert_eq!(output.code, Some(0), "{script}: {output}");
    output.stdout
}

fn temporary_files(project: &TestProject) -> Vec<String> {
    let entries = std::fs::read_dir(project.path()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".rbake-")).collect()
}

#[test]
#[ignore = "needs live peers"]
fn a_path_through_a_link_needs_a_grant_for_the_place_that_it_leads_to() {
    let project = project(
        r#"output = ["type=local,dest=up/../dir", "type=tar,dest=up/../a.tar"]
        cache-to = ["type=local,dest=up/../cache"]"#,
    );
    let elsewhere = project.path().join("../elsewhere");
    let granted = [
        "a",
        "--allow=fs.write=../elsewhere/dir",
        "--allow=fs.write=../elsewhere/a.tar",
    ];
    let output = project.rbake(&granted);
    assert_eq!(output.code, Some(2), "{output}");
    assert!(!elsewhere.join("dir").exists());
    let mut all = granted.to_vec();
    all.push("--allow=fs.write=../elsewhere/cache");
    succeeds(&project.rbake(&all));
    assert_eq!(
        std::fs::read_to_string(elsewhere.join("dir/hello")).unwrap(),
        "hello\n"
    );
    assert!(elsewhere.join("a.tar").is_file() && elsewhere.join("cache/index.json").is_file());
    // Nothing is written to the place that the text of the path suggests.
    assert!(!project.path().join("dir").exists() && !project.path().join("a.tar").exists());
}

#[test]
#[ignore = "needs live peers"]
fn a_secret_is_read_from_the_place_that_a_link_leads_to() {
    let project = project(r#"secret = ["id=k,src=up/../key"]"#);
    let project = project
        .file("key", "ours")
        .file("../elsewhere/key", "theirs")
        .file(
            "Dockerfile",
            "FROM busybox AS b\nRUN --mount=type=secret,id=k cp /run/secrets/k /k\nFROM scratch\nCOPY --from=b /k /k\n",
        );
    succeeds(&project.rbake(&[
        "a",
        "--allow=fs.read=../elsewhere/key",
        "--set=a.no-cache=true",
        "--set=a.output=out",
    ]));
    assert_eq!(
        std::fs::read_to_string(project.path().join("out/k")).unwrap(),
        "theirs"
    );
}

#[test]
#[ignore = "needs live peers"]
fn a_dockerfile_in_another_directory_needs_a_grant_only_for_itself() {
    let project = project(
        r#"dockerfile = "../elsewhere/Dockerfile"
        output = ["type=local,dest=out"]"#,
    );
    let project = project
        .file("../elsewhere/Dockerfile", "FROM scratch\nCOPY . /\n")
        .file("../elsewhere/Dockerfile.dockerignore", "*\n!hello\n!key\n")
        .file("key", "mine");
    succeeds(&project.rbake(&["a", "--allow=fs.read=../elsewhere/Dockerfile"]));
    let mut names: Vec<_> = std::fs::read_dir(project.path().join("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["hello", "key"]);
}

#[test]
#[ignore = "needs live peers"]
fn metadata_is_written_to_files_and_pipes_that_the_shell_has_opened() {
    let project = project(r#"output = ["type=cacheonly"]"#);
    let text = scripted(&project, "$R a --metadata-file /dev/stdout | cat");
    assert!(text.contains("\"a\": {"), "{text}");
    scripted(
        &project,
        "$R a --metadata-file >(tr a-z A-Z >upper); for i in $(seq 50); do [ -s upper ] && break; sleep 0.1; done",
    );
    let upper = std::fs::read_to_string(project.path().join("upper")).unwrap();
    assert!(upper.contains("\"A\": {"), "{upper}");
    let text = scripted(
        &project,
        "echo before >f; { $R a --metadata-file /dev/stdout; echo after; } >>f; cat f",
    );
    assert!(
        text.starts_with("before\n{") && text.ends_with("}after\n"),
        "{text}"
    );
    let text = scripted(
        &project,
        "$R a --metadata-file /proc/self/fd/7 7>seven; cat seven",
    );
    assert!(text.starts_with('{'), "{text}");
    assert_eq!(temporary_files(&project), [""; 0]);
}

#[tokio::test]
#[ignore = "needs live peers"]
async fn a_run_reports_a_metadata_pipe_without_a_reader_and_can_be_interrupted() {
    let project = project(r#"output = ["type=cacheonly"]"#);
    let pipe = project.path().join("pipe");
    assert!(bash(&project, "mkfifo pipe").status.success());
    let command = project.command(&["a", "--metadata-file", "pipe"]);
    let mut left = Run::start(&command);
    let told = "still writing the metadata file";
    left.writes(told).await;
    assert!(
        left.stderr()
            .contains("pipe`, a pipe that waits for a reader …"),
        "{}",
        left.stderr()
    );
    left.signal(Signal::INT);
    let ended = left.ended(Duration::from_secs(2) + SLACK).await;
    assert_eq!(ended.status.code(), Some(130), "{ended:?}");

    let mut late = Run::start(&command);
    late.writes(told).await;
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(pipe).unwrap());
    assert!(read.await.unwrap().contains("\"a\": {"));
    let ended = late.ended(Duration::from_secs(20)).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

#[test]
#[ignore = "needs live peers"]
fn a_build_goes_on_if_its_progress_cannot_be_written() {
    for mode in ["auto", "plain", "rawjson", "quiet"] {
        let project = project(r#"output = ["type=local,dest=out"]"#);
        let script = format!(
            "$R a --allow=fs.write=out --progress={mode} --metadata-file m.json 2>/dev/full"
        );
        scripted(&project, &script);
        for file in ["out/hello", "m.json"] {
            assert!(project.path().join(file).exists(), "{mode}: {file}");
        }
    }
}

#[test]
#[ignore = "needs live peers"]
fn a_limit_on_the_size_of_files_is_an_error_and_leaves_nothing() {
    // The daemon may read the reason for a failed directory, or only the end of the call: more than one try.
    let outputs = ["type=tar,dest=a.tar", "type=oci,dest=a.tar"]
        .into_iter()
        .chain(["type=local,dest=out"; 10]);
    for output in outputs {
        let project = project(&format!("output = [\"{output}\"]"));
        // Of 4 MB that cannot be compressed; the limit is in KiB.
        let script = "head -c 4000000 /dev/urandom >hello; ulimit -f 1000; $R a --allow=fs.write=. --progress=plain";
        let output = project.read(&bash(&project, script));
        assert_eq!(output.code, Some(1), "{output}");
        assert!(output.stderr.contains("File too large"), "{output}");
        assert!(!project.path().join("a.tar").exists(), "{output}");
        assert_eq!(temporary_files(&project), [""; 0]);
    }
}

#[test]
#[ignore = "needs live peers"]
fn a_failed_run_leaves_the_metadata_file_as_it_was() {
    for (flags, replaced) in [("", false), ("--keep-going", true)] {
        let project = TestProject::new().file(
            "docker-bake.hcl",
            "target \"a\" { dockerfile-inline = \"FROM scratch\\nCOPY file /\" }\ntarget \"b\" { dockerfile-inline = \"FROM scratch\\nCOPY none /\" }\n",
        )
        .file("file", "x")
        .file("m.json", "before")
        .env("BUILDKIT_HOST", peers::peer("RBAKE_TEST_BUILDKIT_ADDR"));
        // The good target ends first.
        let script =
            format!("$R a b -j 1 {flags} --set '*.output=type=cacheonly' --metadata-file m.json");
        let output = project.read(&bash(&project, &script));
        assert_eq!(output.code, Some(1), "{output}");
        let written = std::fs::read_to_string(project.path().join("m.json")).unwrap();
        assert_eq!(written != "before", replaced, "{flags}: {written}");
    }
}

#[test]
#[ignore = "needs live peers"]
fn metadata_replaces_only_regular_files() {
    let project = project(r#"output = ["type=cacheonly"]"#);
    let at = |name: &str| project.path().join(name);
    std::fs::write(at("real"), "old").unwrap();
    std::fs::set_permissions(at("real"), std::fs::Permissions::from_mode(0o600)).unwrap();
    symlink("real", at("link")).unwrap();
    succeeds(&project.rbake(&["a", "--metadata-file", "link"]));
    assert!(at("link").is_symlink());
    let written = std::fs::metadata(at("real")).unwrap();
    assert!(
        written.len() > 3 && written.mode() & 0o777 == 0o644,
        "{written:?}"
    );

    scripted(
        &project,
        "mkfifo pipe; cat pipe >copy & $R a --metadata-file pipe; wait",
    );
    assert!(
        std::fs::symlink_metadata(at("pipe"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
    assert!(
        std::fs::read_to_string(at("copy"))
            .unwrap()
            .starts_with('{')
    );

    // A separate device node, because a failure of this test must not damage the machine's.
    if bash(&project, "mknod null c 1 3 && : >null")
        .status
        .success()
    {
        succeeds(&project.rbake(&["a", "--metadata-file", "null"]));
        assert!(
            std::fs::symlink_metadata(at("null"))
                .unwrap()
                .file_type()
                .is_char_device()
        );
    }
    assert_eq!(temporary_files(&project), [""; 0]);
}

#[test]
#[ignore = "needs live peers"]
fn archives_go_to_pipes_descriptors_and_files_behind_links() {
    let project = project(r#"output = ["type=tar,dest=/dev/stdout"]"#);
    assert_eq!(scripted(&project, "$R a | tar t"), "hello\n");
    assert_eq!(scripted(&project, "$R a >f.tar; tar tf f.tar"), "hello\n");
    let to = |dest: &str| format!("$R a --set a.output=type=tar,dest={dest}");
    assert_eq!(
        scripted(
            &project,
            &format!("mkfifo p; tar t <p >list & {}; wait; cat list", to("p"))
        ),
        "hello\n"
    );
    assert_eq!(
        scripted(
            &project,
            &format!("{} 7>seven; tar tf seven", to("/dev/fd/7"))
        ),
        "hello\n"
    );
    let linked = format!(
        "echo old >real.tar; chmod 640 real.tar; ln -s real.tar link.tar; ln real.tar other.tar; {}; tar tf other.tar",
        to("link.tar")
    );
    assert_eq!(scripted(&project, &linked), "hello\n");
    assert!(project.path().join("link.tar").is_symlink());
    let mode = std::fs::metadata(project.path().join("real.tar"))
        .unwrap()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(temporary_files(&project), [""; 0]);
}

// The archive is larger than a pipe's buffer, but smaller than the buffer of a single write, so there is only one
// write.
#[test]
#[ignore = "needs live peers"]
fn standard_output_has_all_of_an_archive_or_the_target_fails() {
    let project = project(r#"output = ["type=tar,dest=-"]"#);
    let project = project.file("hello", "0123456789".repeat(20_000));
    let slowly = scripted(&project, "$R a | { sleep 1; tar xO; } | wc -c");
    assert_eq!(slowly.trim(), "200000");
    // A full disk has a code of its own, as with buildx.
    for (place, code) in [(">/dev/full", 102), ("| true", 1)] {
        let output = project.read(&bash(&project, &format!("$R a {place}")));
        assert_eq!(output.code, Some(code), "{place}: {output}");
        assert!(
            output.stderr.contains("cannot write `standard output`"),
            "{output}"
        );
    }
}

#[test]
#[ignore = "needs live peers"]
fn a_link_that_appears_while_rbake_asks_the_user_is_not_followed() {
    let project = project(r#"output = ["type=local,dest=up/../dir"]"#);
    let program = Path::new(env!("CARGO_BIN_EXE_rbake"));
    let command = project.command(&["a", "--progress=plain"]);
    let mut terminal = Terminal::start(program, &command);
    terminal.wait_for("[y/N]");
    let beside = project.path().join("..");
    std::fs::rename(beside.join("elsewhere"), beside.join("moved")).unwrap();
    std::fs::create_dir(beside.join("victim")).unwrap();
    symlink("victim", beside.join("elsewhere")).unwrap();
    terminal.type_in("y\n");
    terminal.wait("the refusal", |screen| {
        let words: Vec<&str> = screen.split_whitespace().collect();
        words.join(" ").contains("symbolic link has replaced it")
    });
    assert_eq!(std::fs::read_dir(beside.join("victim")).unwrap().count(), 0);
}

// The result of a build may contain links. A link at the place of the metadata file must not redirect it.
#[test]
#[ignore = "needs live peers"]
fn metadata_does_not_follow_a_link_that_the_build_has_made() {
    let project = project(r#"output = ["type=local,dest=out"]"#);
    let project = project.file("victim", "old").file(
        "Dockerfile",
        "FROM busybox AS b\nRUN mkdir /d && ln -s ../victim /d/meta.json\nFROM scratch\nCOPY --from=b /d /\n",
    );
    let output = project.rbake(&["a", "--metadata-file", "out/meta.json"]);
    assert_ne!(output.code, Some(0), "{output}");
    assert!(output.stderr.contains("cli::metadata-file"), "{output}");
    assert_eq!(
        std::fs::read_to_string(project.path().join("victim")).unwrap(),
        "old"
    );
}

/// The archive waits in the daemon, not in the memory of rbake.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_slow_reader_of_an_archive_holds_the_daemon_back() {
    const SIZE: u64 = 300 << 20;
    let project = project("  output = [\"type=tar,dest=-\"]");
    let large = std::fs::File::create(project.path().join("hello")).unwrap();
    large.set_len(SIZE).unwrap();
    let mut command = project.command(&["a"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut archive = child.stdout.take().unwrap();
    // A pipe has 64 KiB; a part of the last page may be unused.
    while rustix::io::ioctl_fionread(&archive).unwrap() < 60_000 {
        assert!(child.try_wait().unwrap().is_none(), "the run ended early");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak: u64 = peak
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    assert!(peak * 1024 < SIZE / 2, "{peak} kB");
    let read = tokio::task::spawn_blocking(move || {
        std::io::copy(&mut archive, &mut std::io::sink()).unwrap()
    });
    assert!(read.await.unwrap() > SIZE);
    assert!(child.wait().unwrap().success());
}
