//! Runs of the program that are interrupted: their output, the time until their end, and what they leave behind.

use std::fs::File;
use std::io::PipeReader;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::project::TestProject;

/// How much later than required a process may end on a machine that is busy with other tests.
pub(crate) const SLACK: Duration = Duration::from_millis(2500);

/// A run whose output goes to a file, directly or through a pipe.
pub(crate) struct Run {
    child: tokio::process::Child,
    pid: Pid,
    log: PathBuf,
    unread: Option<PipeReader>,
    reads: Option<JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard error.
    pub stderr: String,
    /// When it ended.
    pub at: Instant,
}

impl Run {
    /// Starts `like`, which [`TestProject::command`] made. Resets all signals to their defaults, because the test's
    /// process may have inherited ignored ones.
    pub(crate) fn start(like: &Command) -> Self {
        let (dir, log) = log();
        let stderr = File::create(&log).unwrap();
        Self::start_with(like, stderr.into(), dir, log)
    }

    /// Like [`Run::start`], but nobody reads the output until [`Run::read_on`].
    pub(crate) fn start_unread(like: &Command) -> Self {
        let (dir, log) = log();
        let (reader, writer) = std::io::pipe().unwrap();
        let mut run = Self::start_with(like, writer.into(), dir, log);
        run.unread = Some(reader);
        run
    }

    fn start_with(like: &Command, stderr: Stdio, dir: tempfile::TempDir, log: PathBuf) -> Self {
        let mut command = Command::new("env");
        command
            .arg("--default-signal=HUP,INT,QUIT,TERM")
            .arg(like.get_program())
            .args(like.get_args())
            .env_clear()
            .envs(
                like.get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .current_dir(like.get_current_dir().unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr);
        let child = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id().unwrap()).unwrap();
        Self {
            child,
            pid: Pid::from_raw(pid).unwrap(),
            log,
            unread: None,
            reads: None,
            _dir: dir,
        }
    }

    /// Waits until the run blocks, because the pipe is full.
    pub(crate) async fn is_stuck(&mut self) {
        let (started, mut last, mut since) = (Instant::now(), 0, Instant::now());
        loop {
            let now = rustix::io::ioctl_fionread(self.unread.as_ref().unwrap()).unwrap();
            if now != last {
                (last, since) = (now, Instant::now());
            }
            // A pipe has 64 KiB; a part of the last page may be unused.
            if now >= 60_000 && since.elapsed() > Duration::from_millis(300) {
                return;
            }
            assert!(!self.has_ended(), "the run ended early");
            let waited = started.elapsed();
            assert!(waited < Duration::from_secs(60), "it wrote {now} bytes");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts to read the output.
    pub(crate) fn read_on(&mut self) {
        if let Some(mut reader) = self.unread.take() {
            let mut file = File::create(&self.log).unwrap();
            self.reads = Some(std::thread::spawn(move || {
                std::io::copy(&mut reader, &mut file).unwrap();
            }));
        }
    }

    /// The id of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Whether the run has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Completes when the run has ended.
    pub(crate) async fn until_ended(&mut self) {
        while !self.has_ended() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether the run catches `signal`. Before that, the signal would end it like any other program.
    pub(crate) fn listens_to(&self, signal: Signal) -> bool {
        let path = format!("/proc/{}/status", self.pid.as_raw_nonzero());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.unwrap_or_default() & (1 << (signal.as_raw() - 1)) != 0
    }

    /// Sends `signal`. Does nothing if the run has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = rustix::process::kill_process(self.pid, signal);
    }

    /// Sends `signal` once and waits for the end. Fails unless the run ends within two seconds, with the exit code of
    /// that signal.
    pub(crate) async fn interrupt(self, signal: Signal) -> Ended {
        self.signal(signal);
        let asked = Instant::now();
        let ended = self.ended(Duration::from_secs(30)).await;
        assert_eq!(ended.status.code(), Some(code_of(signal)), "{ended:?}");
        let took = ended.at - asked;
        assert!(took < Duration::from_secs(2) + SLACK, "{took:?}: {ended:?}");
        ended
    }

    /// What the run has written so far.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until the run has written `text`.
    pub(crate) async fn writes(&mut self, text: &str) {
        let started = Instant::now();
        while !self.stderr().contains(text) {
            assert!(!self.has_ended(), "the run ended early: {}", self.stderr());
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "`{text}` is not written: {}",
                self.stderr()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// If the run has not ended after `patience`.
    pub(crate) async fn ended(mut self, patience: Duration) -> Ended {
        let status = tokio::time::timeout(patience, self.child.wait()).await;
        let Ok(status) = status else {
            panic!("still running after {patience:?}:\n{}", self.stderr());
        };
        let at = Instant::now();
        if let Some(reads) = self.reads.take() {
            reads.join().unwrap();
        }
        Ended {
            status: status.unwrap(),
            at,
            stderr: self.stderr(),
        }
    }
}

fn log() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::Builder::new().prefix("rbake-").tempdir().unwrap();
    let log = dir.path().join("log");
    (dir, log)
}

/// The exit code of a run that was stopped by `signal`.
pub(crate) fn code_of(signal: Signal) -> i32 {
    if signal == Signal::HUP { 129 } else { 130 }
}

/// The number of processes whose last argument is `mark`.
pub(crate) fn processes(mark: &str) -> usize {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let end = format!("\0{mark}\0");
    lines.filter(|line| line.ends_with(end.as_bytes())).count()
}

/// Waits until `count` processes have `mark` as their last argument.
pub(crate) async fn await_processes(mark: &str, count: usize) {
    let started = Instant::now();
    while processes(mark) != count {
        let waited = started.elapsed();
        assert!(
            waited < Duration::from_secs(30),
            "{} of `{mark}` run",
            processes(mark)
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Unfinished files below `dir`, which exist only until a file is complete.
pub(crate) fn temporary_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        let is_ingest = dir.ends_with("ingest");
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                dirs.push(entry.path());
            } else if is_ingest || name.starts_with(".rbake-") || name.starts_with(".tmp") {
                found.push(entry.path());
            }
        }
    }
    found
}

/// Gives the project its own directory for temporary files.
pub(crate) fn with_folder_for_temporary_files(project: TestProject) -> TestProject {
    let tmp = project.path().parent().unwrap().join("tmp");
    std::fs::create_dir(&tmp).unwrap();
    project.env("TMPDIR", tmp.display())
}

/// Fails if a temporary file is left in the project, its home, or its directory for temporary files.
#[track_caller]
pub(crate) fn assert_nothing_is_left(project: &TestProject, what: &str) {
    let all = project.path();
    let left = temporary_files(all.parent().unwrap());
    assert!(left.is_empty(), "{what}: {left:?}");
    let tmp = std::fs::read_dir(all.parent().unwrap().join("tmp"));
    let tmp: Vec<_> = tmp.into_iter().flatten().flatten().collect();
    assert!(tmp.is_empty(), "{what}: {tmp:?}");
}
