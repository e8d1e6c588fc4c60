//! The buildkitd process. It ends when the supervisor ends, and signals never hit a process that has reused its id.
//!
//! Three measures keep a killed supervisor from leaving an orphan:
//!
//! - The kernel kills the process when its parent thread ends (`PR_SET_PDEATHSIG`). [`become_child`] sets this in the
//!   child itself, as there is no safe way to run code between fork and exec.
//! - As root, the process is the first one of a new process namespace, so the kernel ends its containers with it. In
//!   a new mount namespace, its mounts go, too.
//! - The next supervisor looks for the process that the last one wrote down, see [`kill_leftover`].

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

/// The command to start, with its environment.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    /// The program and its arguments.
    pub(crate) argv: Vec<OsString>,
    /// The complete environment: nothing is inherited.
    pub(crate) variables: Vec<(String, String)>,
    /// The directory it runs in.
    pub(crate) dir: PathBuf,
}

/// A running process, owned by a thread that waits for it.
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

/// Identifies a process, even after another process got the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessId {
    /// The process id.
    pub(crate) pid: i32,
    /// The time at which it started, in the kernel's ticks since boot.
    pub(crate) started: u64,
    /// The kernel's `boot_id`, as the ticks start again at each boot.
    pub(crate) boot: String,
}

impl Process {
    /// Starts `spec` and sends both of its output streams to `log`.
    ///
    /// A separate thread starts the process and waits for it. To the kernel, a process loses its parent when the
    /// *thread* that started it ends, and the threads of an async runtime come and go.
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

    /// Identifies the process.
    pub(super) fn id(&self) -> &ProcessId {
        &self.id
    }

    /// Waits for its end. Can be called again after that and returns the same status.
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

    /// Kills the process.
    pub(super) fn kill(&self) {
        // An error means that it has ended already, which is what we want.
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
    // The child keeps its process id until it is waited for, even if it has ended, so the id cannot be reused yet.
    let _ = tell_start.send(identify(child.id().cast_signed()));
    let _ = tell_end.send(child.wait());
}

fn spawn(spec: &Spec, log: File) -> io::Result<Child> {
    let (program, arguments) = spec
        .argv
        .split_first()
        .ok_or_else(|| io::Error::other("there is no program to run"))?;
    Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(spec.variables.iter().map(|(name, value)| (name, value)))
        .current_dir(&spec.dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // In its own process group it does not get the terminal's Ctrl-C. The supervisor gets it and ends this
        // process in order.
        .process_group(0)
        .spawn()
}

fn identify(pid: i32) -> io::Result<(ProcessId, ProcessHandle)> {
    let handle = ProcessHandle::open(pid)?;
    let (_, id) = ProcessId::read(pid)?.ok_or_else(|| io::Error::other("there is no process"))?;
    Ok((id, handle))
}

/// Runs in the child: asks the kernel to kill it when the parent ends, then executes `argv`. Returns only if that
/// fails.
///
/// `parent` is the process id of the supervisor. If the supervisor has ended already, nothing is executed.
pub(crate) fn become_child(parent: i32, argv: &[OsString]) -> io::Error {
    let Some((program, arguments)) = argv.split_first() else {
        return io::Error::other("there is no program to run");
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
    // The parent may have ended before the kernel got our request; then no signal would ever come.
    if let Some(error) = orphaned() {
        return error;
    }
    Command::new(program).args(arguments).exec()
}

/// Sends SIGTERM to the process `pid`, so that it ends in order.
pub(super) fn ask_to_end(pid: i32) -> io::Result<()> {
    ProcessHandle::open(pid)?.signal(Signal::TERM)
}

impl ProcessId {
    /// The identity of the process `pid`. `None` if it does not exist, or has ended and only waits to be collected
    /// (a zombie).
    pub(super) fn of(pid: i32) -> io::Result<Option<Self>> {
        Ok(Self::read(pid)?
            .filter(|(state, _)| !matches!(state, 'Z' | 'X'))
            .map(|(_, id)| id))
    }

    fn read(pid: i32) -> io::Result<Option<(char, Self)>> {
        let text = match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // ESRCH: the process ended between opening and reading the file.
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

    /// Whether exactly this process still runs, and not another one with the same number.
    pub(super) fn runs(&self) -> io::Result<bool> {
        Ok(Self::of(self.pid)?.as_ref() == Some(self))
    }
}

/// The state and the start time: fields 3 and 22 of /proc/PID/stat. Field 2 is the program's name, which may
/// contain blanks and parentheses, so this begins after the last parenthesis.
fn state_and_start(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let started = fields.nth(18)?.parse().ok()?;
    Some((state, started))
}

/// Writes the identity of the running process to a file, for the next supervisor.
pub(super) fn write_down(path: &Path, id: &ProcessId) -> io::Result<()> {
    files::replace(path, &serde_json::to_vec(id)?)
}

/// Kills the process that the file `path` identifies, if it still runs, and waits up to `patience` until it is
/// gone.
///
/// Returns whether there was such a process. A file that cannot be read counts as no process.
pub(super) async fn kill_leftover(path: &Path, patience: Duration) -> io::Result<bool> {
    let path = path.to_owned();
    let Ok(Some(text)) = unblock(move || files::read_text(&path, files::LIMIT)).await else {
        return Ok(false);
    };
    let Ok(id) = serde_json::from_str::<ProcessId>(&text) else {
        return Ok(false);
    };
    // Open the handle first, then check the identity: with the handle open, the signal cannot hit a later process.
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

/// Describes how a process ended, as a fragment for messages.
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
    fn the_start_time_is_found_after_any_process_name() {
        let numbers: Vec<String> = (4..=52).map(|n| n.to_string()).collect();
        let stat = format!("7 (a b) R (c)) S {}", numbers.join(" "));
        assert_eq!(state_and_start(&stat), Some(('S', 22)));
        assert_eq!(state_and_start("7 (x"), None);
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_described() {
        let started = Process::start(spec(&["sh", "-c", "exit 3"]), log()).await;
        let mut process = started.unwrap();
        let status = process.ended().await.unwrap();
        assert_eq!(how_it_ended(status), "ended with exit code 3");
        assert_eq!(process.ended().await.unwrap(), status);
        let error = Process::start(spec(&["/nonexistent/program"]), log()).await;
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_leftover_process_is_killed_but_not_another_one_with_its_id() {
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
    fn a_child_of_another_process_does_not_start() {
        let error = become_child(-1, &["true".into()]);
        assert!(
            error.to_string().contains("supervisor has ended"),
            "{error}"
        );
    }
}
