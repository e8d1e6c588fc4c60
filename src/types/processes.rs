//! Starts programs, each in its own process group, so that a program can be ended together with everything that it
//! started.
//!
//! The terminal's Ctrl-C does not reach such a group. A group ends when the future that waits for it is dropped,
//! and at the latest before rbake's process ends: [`end_all`] is called before every exit (except for SIGKILL, of
//! course).

use std::collections::BTreeSet;
use std::io;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use super::descriptors;
use super::shutdown::PROGRAM_EXIT_TIMEOUT;

/// How long to read on after a program has ended: a process that it left behind may keep its output open forever.
const LEFT_OPEN: Duration = Duration::from_secs(1);

static OF_PROCESS: LazyLock<ProcessGroups> = LazyLock::new(ProcessGroups::default);

/// Ends all programs of [`output`] that are still running. To be called before the process ends.
pub(crate) fn end_all() {
    OF_PROCESS.end_all();
}

/// Runs `command` in its own process group until it ends. Returns what it wrote to those of its streams that are
/// pipes.
///
/// If the future is dropped, the group is ended. If the program leaves processes behind, they are not waited for
/// and keep running.
///
/// # Errors
/// It cannot be started or waited for.
pub(crate) async fn output(command: &mut Command) -> io::Result<Output> {
    output_of(command, u64::MAX).await
}

/// The same, but reads at most `limit` bytes of each stream.
///
/// # Errors
/// It cannot be started or waited for.
pub(crate) async fn output_of(command: &mut Command, limit: u64) -> io::Result<Output> {
    let (mut child, group) = start(command, &OF_PROCESS).await?;
    finish(&mut child, &group, limit).await
}

/// Starts `command` in its own process group, which is added to `groups`. If no file descriptor is left, waits for
/// one.
///
/// # Errors
/// It cannot be started.
pub(crate) async fn start(
    command: &mut Command,
    groups: &ProcessGroups,
) -> io::Result<(Child, ProcessGroup)> {
    command.process_group(0).kill_on_drop(true);
    let child = descriptors::patiently_async(|| std::future::ready(command.spawn())).await?;
    let group = groups.enter(&child);
    Ok((child, group))
}

/// The same, for a program that must not outlive the run.
///
/// # Errors
/// It cannot be started.
pub(crate) async fn start_with_run(command: &mut Command) -> io::Result<(Child, ProcessGroup)> {
    start(command, &OF_PROCESS).await
}

/// Reads the output of `child` until it ends, at most `limit` bytes of each stream. After that, its group is no
/// longer ended with the run.
///
/// # Errors
/// It cannot be waited for.
pub(crate) async fn finish(
    child: &mut Child,
    group: &ProcessGroup,
    limit: u64,
) -> io::Result<Output> {
    let (from_stdout, from_stderr) = (child.stdout.take(), child.stderr.take());
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let status: ExitStatus = {
        let reading = async {
            tokio::join!(
                read_some(from_stdout, limit, &mut stdout),
                read_some(from_stderr, limit, &mut stderr),
            )
        };
        let mut reading = std::pin::pin!(reading);
        let (status, all_read) = tokio::select! {
            _ = &mut reading => (child.wait().await, true),
            status = child.wait() => (status, false),
        };
        // Processes that it leaves running on purpose, such as an agent, are in its group, and must not be ended.
        group.leave();
        if !all_read {
            let _ = tokio::time::timeout(LEFT_OPEN, reading).await;
        }
        status?
    };
    Ok(Output {
        status,
        stdout,
        stderr,
    })
}

/// One of the two streams of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Runs `command` in its own process group until it ends, and passes on what it writes as it arrives. When `stop`
/// completes, the group is ended, and the result is `None`.
///
/// # Errors
/// It cannot be started or waited for.
pub(crate) async fn stream(
    command: &mut Command,
    stop: impl Future<Output = ()>,
    pass_on: impl Fn(OutputStream, Bytes),
) -> io::Result<Option<ExitStatus>> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut child, group) = start(command, &OF_PROCESS).await?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let reading = async {
        tokio::join!(
            pass_all(stdout, |bytes| pass_on(OutputStream::Stdout, bytes)),
            pass_all(stderr, |bytes| pass_on(OutputStream::Stderr, bytes)),
        )
    };
    let mut reading = std::pin::pin!(reading);
    let mut stop = std::pin::pin!(stop);
    let mut all_read = false;
    let status = loop {
        tokio::select! {
            () = &mut stop => {
                group.end(&mut child).await;
                return Ok(None);
            }
            _ = &mut reading, if !all_read => all_read = true,
            status = child.wait() => break status,
        }
    };
    group.leave();
    if !all_read {
        let _ = tokio::time::timeout(LEFT_OPEN, reading).await;
    }
    status.map(Some)
}

/// Passes on what arrives from a pipe, until it is closed.
async fn pass_all(from: Option<impl AsyncRead + Unpin>, pass_on: impl Fn(Bytes)) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        pass_on(Bytes::copy_from_slice(
            buffer.get(..length).unwrap_or_default(),
        ));
    }
}

/// Reads at most `limit` bytes. Then the pipe is closed: a program that writes more gets SIGPIPE instead of
/// blocking forever.
async fn read_some(from: Option<impl AsyncRead + Unpin>, limit: u64, into: &mut Vec<u8>) {
    if let Some(from) = from {
        let _ = from.take(limit).read_to_end(into).await;
    }
}

/// The process groups of running programs. They must be ended with the run.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProcessGroups(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    groups: BTreeSet<i32>,
    // Set when the process ends. Programs that are started after that are ended at once.
    closed: bool,
}

impl ProcessGroups {
    fn enter(&self, child: &Child) -> ProcessGroup {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let group = ProcessGroup {
            id: id.and_then(Pid::from_raw),
            groups: self.clone(),
        };
        let mut known = self.lock();
        known.groups.extend(id);
        let closed = known.closed;
        drop(known);
        if closed {
            group.signal(Signal::KILL);
        }
        group
    }

    /// Kills all groups, and every group that is added after this.
    pub(crate) fn end_all(&self) {
        let mut known = self.lock();
        known.closed = true;
        for id in std::mem::take(&mut known.groups) {
            if let Some(group) = Pid::from_raw(id) {
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
    }

    /// Whether no group is left.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().groups.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The process group of one program. Dropping it kills the group, unless [`Self::leave`] was called.
#[derive(Debug)]
pub(crate) struct ProcessGroup {
    id: Option<Pid>,
    groups: ProcessGroups,
}

impl ProcessGroup {
    /// Forgets the group. Needed as soon as the program was waited for, because another process may get its number
    /// then.
    fn leave(&self) {
        if let Some(id) = self.id {
            self.groups.lock().groups.remove(&id.as_raw_pid());
        }
    }

    fn signal(&self, signal: Signal) {
        // Hold the lock while sending the signal, so that the program is not waited for and its number stays valid.
        let known = self.groups.lock();
        if let Some(id) = self.id
            && known.groups.contains(&id.as_raw_pid())
        {
            let _ = kill_process_group(id, signal);
        }
    }

    /// Ends the group of `child`: sends SIGTERM, and SIGKILL after [`PROGRAM_EXIT_TIMEOUT`].
    pub(crate) async fn end(&self, child: &mut Child) {
        self.signal(Signal::TERM);
        // Do not wait for the program yet: as long as nobody has, its number cannot be reused.
        tokio::time::sleep(PROGRAM_EXIT_TIMEOUT).await;
        self.signal(Signal::KILL);
        self.leave();
        let _ = tokio::time::timeout(PROGRAM_EXIT_TIMEOUT, child.wait()).await;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    // Whether a process is running that has `mark` as its last argument.
    fn runs(mark: &str) -> bool {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let mut lines =
            processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        lines.any(|line| line.ends_with(format!("\0{mark}\0").as_bytes()))
    }

    async fn wait_until(what: impl Fn() -> bool) {
        let started = Instant::now();
        while !what() {
            assert!(started.elapsed() < Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn output_is_returned_with_the_status() {
        let output = output(&mut shell("echo out; echo err >&2; exit 3"))
            .await
            .unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(output.stdout, b"out\n");
        assert_eq!(output.stderr, b"err\n");
    }

    #[tokio::test]
    async fn a_program_whose_future_is_dropped_ends_with_all_its_processes() {
        let mark = format!("73{}", std::process::id());
        let script = format!("trap '' TERM; (trap '' TERM; sleep {mark} & wait) & sleep {mark}");
        let task = tokio::spawn(async move { output(&mut shell(&script)).await.is_ok() });
        wait_until(|| runs(&mark)).await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        wait_until(|| !runs(&mark)).await;
    }

    #[tokio::test]
    async fn programs_started_after_the_end_are_killed_too() {
        let mark = format!("74{}", std::process::id());
        let groups = ProcessGroups::default();
        let (mut before, group) = start(&mut shell(&format!("sleep {mark}")), &groups)
            .await
            .unwrap();
        groups.end_all();
        assert!(
            !finish(&mut before, &group, 10)
                .await
                .unwrap()
                .status
                .success()
        );
        let (mut after, group) = start(&mut shell(&format!("sleep {mark}")), &groups)
            .await
            .unwrap();
        assert!(
            !finish(&mut after, &group, 10)
                .await
                .unwrap()
                .status
                .success()
        );
        assert!(!runs(&mark) && groups.is_empty());
    }

    #[tokio::test]
    async fn a_background_process_does_not_delay_the_output_and_keeps_running() {
        let started = Instant::now();
        let output = output(&mut shell("sleep 100 & echo $!")).await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(20));
        let left = String::from_utf8(output.stdout).unwrap();
        let left = Pid::from_raw(left.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(left, Signal::KILL).expect("it goes on");
    }
}
