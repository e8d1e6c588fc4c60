//! The buildkitd process: started so that it dies with the supervisor, signalled without mixing up reused process ids.
//!
//! Three things keep a killed supervisor from leaving an orphan. The process is told by the kernel when its parent
//! thread dies (`PR_SET_PDEATHSIG`, set by [`become_child`] in the child itself, as there is no safe way to run code
//! between fork and exec). As root it runs as the first process of a process namespace of its own, so that the kernel
//! ends the containers with it; a mount namespace of its own makes its mounts go too. And the next supervisor looks
//! for what the last one wrote down, see [`kill_leftover`].

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::super::files;
use super::handle::ProcessHandle;
use crate::types::blocking::unblock;

/// What to start.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    /// The program and its arguments.
    pub(crate) argv: Vec<OsString>,
    /// Variables, all of them.
    pub(crate) variables: Vec<(String, String)>,
    /// The directory it runs in.
    pub(crate) dir: PathBuf,
}

/// A process that runs, with a thread that owns it.
#[derive(Debug)]
pub(super) struct Process {
    id: ProcessId,
    handle: ProcessHandle,
    end: End,
}

#[derive(Debug)]
enum End {
    Awaited(oneshot::Receiver<io::Result<ExitStatus>>),
    Known(ExitStatus),
}

/// A process, told apart from a later one with the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessId {
    /// Its number.
    pub(crate) pid: i32,
    /// When it started, in the kernel's ticks since the machine started.
    pub(crate) started: u64,
    /// Which start of the machine that was.
    pub(crate) boot: String,
}

impl Process {
    /// Starts `spec`, with both output streams to `log`.
    ///
    /// A thread of its own starts and awaits the process, because the kernel takes the end of the *thread* that
    /// started a process for the end of its parent, and a runtime's threads come and go.
    pub(super) async fn start(spec: Spec, log: File) -> io::Result<Self> {
        let (tell_start, started) = oneshot::channel();
        let (tell_end, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("buildkitd".to_owned())
            .spawn(move || own(&spec, log, tell_start, tell_end))?;
        let (id, handle) = started
            .await
            .map_err(|_| io::Error::other("the thread that starts buildkitd ended"))??;
        Ok(Self {
            id,
            handle,
            end: End::Awaited(ended),
        })
    }

    /// Which process it is.
    pub(super) fn id(&self) -> &ProcessId {
        &self.id
    }

    /// Waits for its end; may be called again afterwards.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        let awaited = match &mut self.end {
            End::Known(status) => return Ok(*status),
            End::Awaited(awaited) => awaited,
        };
        let status = match awaited.await {
            Ok(status) => status?,
            Err(_) => return Err(io::Error::other("the thread that owns buildkitd ended")),
        };
        self.end = End::Known(status);
        Ok(status)
    }

    /// Ends it at once.
    pub(super) fn kill(&self) {
        // It may be gone already, which is what was wanted.
        let _ = self.handle.signal(Signal::KILL);
    }
}

fn own(
    spec: &Spec,
    log: File,
    tell_start: oneshot::Sender<io::Result<(ProcessId, ProcessHandle)>>,
    tell_end: oneshot::Sender<io::Result<ExitStatus>>,
) {
    let mut child = match spawn(spec, log) {
        Ok(child) => child,
        Err(error) => {
            let _ = tell_start.send(Err(error));
            return;
        }
    };
    // Until it is waited for, the number is the child's, even if it has ended.
    let _ = tell_start.send(identify(child.id().cast_signed()));
    let _ = tell_end.send(child.wait());
}

fn spawn(spec: &Spec, log: File) -> io::Result<Child> {
    let (program, arguments) = spec
        .argv
        .split_first()
        .ok_or_else(|| io::Error::other("no program"))?;
    Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(spec.variables.iter().map(|(name, value)| (name, value)))
        .current_dir(&spec.dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C at a terminal is for the supervisor, which then ends this in order.
        .process_group(0)
        .spawn()
}

fn identify(pid: i32) -> io::Result<(ProcessId, ProcessHandle)> {
    let handle = ProcessHandle::open(pid)?;
    let (_, id) = ProcessId::read(pid)?.ok_or_else(|| io::Error::other("no process"))?;
    Ok((id, handle))
}

/// In the child: asks the kernel to be killed when the parent ends, then becomes `argv`. Returns only to fail.
///
/// `parent` is the process that meant to be the parent; if it is gone already, nothing is started.
pub(crate) fn become_child(parent: i32, argv: &[OsString]) -> io::Error {
    let Some((program, arguments)) = argv.split_first() else {
        return io::Error::other("no program to become");
    };
    let orphaned = || {
        let now = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
        (now != parent).then(|| io::Error::other("the builder's supervisor has ended"))
    };
    if let Some(error) = orphaned() {
        return error;
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // It may have ended before the kernel was asked.
    if let Some(error) = orphaned() {
        return error;
    }
    Command::new(program).args(arguments).exec()
}

/// Asks the process `pid` to end in order.
pub(super) fn ask_to_end(pid: i32) -> io::Result<()> {
    ProcessHandle::open(pid)?.signal(Signal::TERM)
}

impl ProcessId {
    /// The process `pid`; `None` where there is none, or it has ended and only waits to be collected.
    pub(super) fn of(pid: i32) -> io::Result<Option<Self>> {
        Ok(Self::read(pid)?
            .filter(|(state, _)| !matches!(state, 'Z' | 'X'))
            .map(|(_, id)| id))
    }

    fn read(pid: i32) -> io::Result<Option<(char, Self)>> {
        let text = match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // ESRCH: it ended between opening and reading.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let (state, started) = state_and_start(&text)
            .ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat has an unknown form")))?;
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let id = Self {
            pid,
            started,
            boot: boot.trim().to_owned(),
        };
        Ok(Some((state, id)))
    }

    /// Whether this very process still runs.
    pub(super) fn runs(&self) -> io::Result<bool> {
        Ok(Self::of(self.pid)?.as_ref() == Some(self))
    }
}

// Fields 3 and 22 of /proc/<pid>/stat. The second is the program's name, which may hold blanks and parentheses.
fn state_and_start(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let started = fields.nth(18)?.parse().ok()?;
    Some((state, started))
}

/// Writes down which process runs, for the next supervisor.
pub(super) fn write_down(path: &Path, id: &ProcessId) -> io::Result<()> {
    files::replace(path, &serde_json::to_vec(id)?)
}

/// Ends the process that `path` tells of, if it still runs, and waits until it is gone.
///
/// Returns whether there was one. What cannot be read is taken for none.
pub(super) async fn kill_leftover(path: &Path, patience: Duration) -> io::Result<bool> {
    let path = path.to_owned();
    let Ok(Some(text)) = unblock(move || files::read_text(&path, files::LIMIT)).await else {
        return Ok(false);
    };
    let Ok(id) = serde_json::from_str::<ProcessId>(&text) else {
        return Ok(false);
    };
    // The handle is taken first and the identity checked then: the number cannot be reused in between.
    let Ok(handle) = ProcessHandle::open(id.pid) else {
        return Ok(false);
    };
    if !id.runs()? {
        return Ok(false);
    }
    handle.signal(Signal::KILL)?;
    let end = tokio::time::Instant::now() + patience;
    while id.runs()? {
        if tokio::time::Instant::now() >= end {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("process {} does not end", id.pid),
            ));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(true)
}

/// How a process ended, as a fragment for messages.
pub(super) fn how_it_ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(argv: &[&str]) -> Spec {
        Spec {
            argv: argv.iter().map(OsString::from).collect(),
            variables: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
            dir: "/".into(),
        }
    }

    fn log() -> File {
        tempfile::tempfile().unwrap()
    }

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let numbers: Vec<String> = (4..=52).map(|n| n.to_string()).collect();
        let stat = format!("7 (a b) R (c)) S {}", numbers.join(" "));
        assert_eq!(state_and_start(&stat), Some(('S', 22)));
        assert_eq!(state_and_start("7 (x"), None);
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_told() {
        let started = Process::start(spec(&["sh", "-c", "exit 3"]), log()).await;
        let mut process = started.unwrap();
        let status = process.ended().await.unwrap();
        assert_eq!(how_it_ended(status), "ended with exit code 3");
        assert_eq!(process.ended().await.unwrap(), status);
        let error = Process::start(spec(&["/nonexistent/program"]), log()).await;
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_leftover_is_ended_and_a_stranger_with_its_number_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("process");
        let mut process = Process::start(spec(&["sleep", "100"]), log())
            .await
            .unwrap();
        let stranger = ProcessId {
            started: process.id().started + 1,
            ..process.id().clone()
        };
        write_down(&path, &stranger).unwrap();
        assert!(!kill_leftover(&path, Duration::from_secs(5)).await.unwrap());
        assert!(process.id().runs().unwrap());
        write_down(&path, process.id()).unwrap();
        assert!(kill_leftover(&path, Duration::from_secs(5)).await.unwrap());
        let status = process.ended().await.unwrap();
        assert_eq!(how_it_ended(status), "was ended by signal 9");
        assert!(!kill_leftover(&path, Duration::ZERO).await.unwrap());
    }

    #[test]
    fn a_child_of_somebody_else_does_not_start() {
        let error = become_child(-1, &["true".into()]);
        assert!(
            error.to_string().contains("supervisor has ended"),
            "{error}"
        );
    }
}
