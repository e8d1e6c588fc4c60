//! How interrupted and blocked runs end, and what they leave behind.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::interrupted::{
    Run, SLACK, assert_nothing_is_left, await_processes, temporary_files,
    with_folder_for_temporary_files,
};
use crate::support::peers;
use crate::support::project::TestProject;

fn project(dockerfile: &str) -> TestProject {
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let rand = rbake::engine::BuildRef::new();
    TestProject::new()
        .file(
            "docker-bake.hcl",
            "target \"default\" { output = [\"type=local,dest=out\"] }\n",
        )
        .file("Dockerfile", dockerfile.replace("RANDOM", rand.as_str()))
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .env("BUILDKIT_HOST", address)
}

// Puts a git into PATH before the real one. It never answers, and neither it nor its child ends at SIGTERM.
fn with_hanging_git(project: TestProject, mark: &str) -> TestProject {
    project
        .file(".git/HEAD", "ref: refs/heads/main\n")
        .program_in_path("git", &stubborn(mark))
}

// A script with a child. Both ignore SIGTERM.
fn stubborn(mark: &str) -> String {
    format!("trap '' TERM INT HUP\nsleep {mark} &\nsleep {mark}")
}

// A number of seconds that is unique for the test, so that the test can find its `sleep` processes.
fn mark(test: u32) -> String {
    format!("{test}{}", std::process::id())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn one_interrupt_ends_a_run_that_waits_for_git_and_all_processes_of_git() {
    let project = project("FROM scratch\nCOPY Dockerfile /\n");
    let mark = mark(81);
    let project = with_hanging_git(project, &mark);
    let run = Run::start(&project.command(&["--progress", "plain"]));
    await_processes(&mark, 2).await;
    let ended = run.interrupt(Signal::INT).await;
    let stderr = &ended.stderr;
    assert!(stderr.contains("0 of 1 target built"), "{stderr}");
    await_processes(&mark, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_run_reports_a_git_that_never_answers_and_builds_without_it() {
    let project = project("FROM scratch\nCOPY Dockerfile /\n");
    let mark = mark(82);
    let project = with_hanging_git(project, &mark);
    let run = Run::start(&project.command(&["--progress", "plain"]));
    let ended = run.ended(Duration::from_secs(60)).await;
    await_processes(&mark, 0).await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    for text in [
        "ask git for the commit: for ",
        "warning[run::no-commit]",
        "git did not answer within 20 s",
    ] {
        assert!(ended.stderr.contains(text), "`{text}`: {}", ended.stderr);
    }
}

// The program cannot print anything more, not even how the run ended.
#[test]
#[ignore = "needs live peers"]
fn one_interrupt_ends_a_run_whose_output_nobody_reads() {
    let text = "FROM busybox\nRUN : RANDOM; seq 300000; echo begun-$((40+2)); sleep 20\n";
    let project = project(text);
    let mut child = project
        .command(&["--progress", "plain"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // In this time, the step fills the pipe. After that it sleeps much longer.
    std::thread::park_timeout(Duration::from_secs(6));
    assert!(child.try_wait().unwrap().is_none());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    let interrupted = Instant::now();
    let code = child.wait().unwrap().code();
    let took = interrupted.elapsed();
    assert_eq!(code, Some(130));
    assert!(took < Duration::from_secs(2) + SLACK, "{took:?}");
}

// The definition needs a file that is a pipe, and nobody writes to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_names_the_file_that_it_waits_for_and_ends_at_the_first_signal() {
    const SERVICE: &str = "services:\n  a:\n    build: .\n";
    let with = |more: &str| format!("{SERVICE}{more}");
    let cases = [
        ("docker-bake.hcl", "compose.yaml", SERVICE.to_owned()),
        (".env", "compose.yaml", SERVICE.to_owned()),
        ("e", "compose.yaml", with("    env_file: e\n")),
        (
            "other.yaml",
            "compose.yaml",
            with("include:\n  - other.yaml\n"),
        ),
        (
            "x.yaml",
            "compose.yaml",
            with("    extends: {file: x.yaml, service: b}\n"),
        ),
    ];
    let signals = [Signal::TERM, Signal::HUP, Signal::INT];
    let cases = cases.into_iter().zip(signals.into_iter().cycle());
    let cases = cases.map(|((pipe, file, content), signal)| async move {
        let project = TestProject::new().file(file, content);
        let made = Command::new("mkfifo")
            .arg(project.path().join(pipe))
            .status();
        assert!(made.unwrap().success());
        let mut run = Run::start(&project.command(&[]));
        run.writes("still reading the definition, waiting for `")
            .await;
        let stderr = run.interrupt(signal).await.stderr;
        assert!(stderr.contains(&format!("{pipe}` …")), "{stderr}");
        let told = stderr.contains("interrupted before anything was built");
        assert!(told, "{stderr}");
    });
    futures_util::future::join_all(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_run_under_nohup_survives_a_hangup() {
    let project = project("FROM busybox\nRUN : RANDOM; echo begun-$((40+2)); sleep 3\n");
    let rbake = project.command(&[]);
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' HUP; exec \"$0\" --progress plain"])
        .arg(rbake.get_program())
        .env_clear()
        .current_dir(project.path());
    for (name, value) in rbake.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let mut run = Run::start(&command);
    run.writes("begun-42").await;
    run.signal(Signal::HUP);
    let ended = run.ended(Duration::from_secs(60)).await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_next_run_removes_the_temporary_files_of_a_killed_run() {
    let text = "FROM busybox AS work\nRUN : RANDOM; mkdir -p /o/sub; dd if=/dev/zero of=/o/sub/large bs=1M count=300\n\
                FROM scratch\nCOPY --from=work /o /\n";
    let project = project(text);
    let out = project.path().join("out");
    let mut run = Run::start(&project.command(&["--progress", "plain"]));
    while temporary_files(&out).is_empty() {
        assert!(!run.has_ended(), "{}", run.stderr());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    run.signal(Signal::KILL);
    let ended = run.ended(Duration::from_secs(10)).await;
    assert_eq!(ended.status.code(), None);
    let left = temporary_files(&out);
    assert_eq!(left.len(), 1, "{left:?}");
    // Another temporary file, for a file that the result does not have.
    let stray = out.join(Path::new(&left[0]).file_name().unwrap());
    std::fs::copy(&left[0], &stray).unwrap();
    let output = project.rbake(&["--progress", "plain"]);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(out.join("sub/large").is_file());
    assert_nothing_is_left(&project, "the next run");
}

// SIGQUIT still ends the program by the signal, so that it can leave a core dump.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn sigquit_leaves_no_half_written_file() {
    let text = "FROM busybox AS work\nRUN : RANDOM; dd if=/dev/zero of=/large bs=1M count=300\n\
                FROM scratch\nCOPY --from=work /large /\n";
    let project = project(text);
    let out = project.path().join("out");
    let mut run = Run::start(&project.command(&["--progress", "plain"]));
    while temporary_files(&out).is_empty() {
        assert!(!run.has_ended(), "{}", run.stderr());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    run.signal(Signal::QUIT);
    let ended = run.ended(Duration::from_secs(10)).await;
    assert_eq!(ended.status.code(), None, "{}", ended.stderr);
    assert_nothing_is_left(&project, "SIGQUIT");
}

// The `go` in PATH is a script that never ends, like a long build. It first creates files in the directories in which Go and
// the C compiler keep temporary files.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_installation_leaves_no_processes_and_no_files() {
    for (at, signal) in [(83, Signal::HUP), (84, Signal::TERM)] {
        let mark = mark(at);
        let script = format!("touch $GOTMPDIR/go-build1 $TMPDIR/cc1\n{}", stubborn(&mark));
        let project = with_folder_for_temporary_files(TestProject::new());
        let project = project.program_in_path("go", &script);
        let data = project.path().join("data");
        let project = project.env("RBAKE_DATA_DIR", data.display());
        let run = Run::start(&project.command(&["builder", "install", "--from", "go"]));
        await_processes(&mark, 2).await;
        run.interrupt(signal).await;
        await_processes(&mark, 0).await;
        let left = std::fs::read_dir(data.join("builder/programs")).unwrap();
        let left = left.flatten().map(|entry| entry.file_name());
        let left: Vec<_> = left
            .filter(|name| name.to_string_lossy().starts_with("new-"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        assert_nothing_is_left(&project, "an installation");
    }
}
