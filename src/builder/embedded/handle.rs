//! A process that can be signalled without hitting a later one that got its number.
//!
//! Linux has handles of processes (pidfd). Other systems have none that std, rustix or nix offer without unsafe code, and
//! the embedded builder does not run there: it opens no handle, and whatever needs one fails before it signals anybody.

use std::io;

use rustix::process::Signal;

/// An open handle of a process; it never means another one, even if the process has ended.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(super) struct ProcessHandle(std::os::fd::OwnedFd);

/// There is none on this system.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(super) enum ProcessHandle {}

#[cfg(target_os = "linux")]
impl ProcessHandle {
    /// Opens the process that has the number `pid` now. Fails if there is none.
    pub(super) fn open(pid: i32) -> io::Result<Self> {
        use rustix::process::{Pid, PidfdFlags, pidfd_open};
        let number = Pid::from_raw(pid).ok_or_else(|| io::Error::other("no process id"))?;
        Ok(Self(pidfd_open(number, PidfdFlags::empty())?))
    }

    /// Sends `signal`. Fails with `ESRCH` if the process has ended.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(rustix::process::pidfd_send_signal(&self.0, signal)?)
    }
}

#[cfg(not(target_os = "linux"))]
impl ProcessHandle {
    /// Fails: see the module.
    pub(super) fn open(_: i32) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Cannot be called, as there is no handle to call it on.
    pub(super) fn signal(&self, _: Signal) -> io::Result<()> {
        match *self {}
    }
}
