//! The processor time of the daemon.
//!
//! A daemon works on after a build: it writes the records of its history. With traces of a client, that may take longer than the
//! build itself, and the next program to be measured would pay for it.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the daemon must do nothing to be at rest. BuildKit v0.32 waits for the last traces of a build for three seconds.
const QUIET: Duration = Duration::from_secs(5);
/// A daemon that uses less than this share of a processor does nothing.
const IDLE: f64 = 0.03;
/// The most time that a daemon may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(600);

/// A daemon on this machine.
#[derive(Debug)]
pub(super) struct Daemon {
    pid: i32,
    ticks: f64,
}

impl Daemon {
    /// The process that listens at `socket`. `None` where the system has no `/proc`.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn behind(_: &Path) -> io::Result<Option<Self>> {
        Ok(None)
    }

    /// The process that listens at `socket`. `None` where the system has no `/proc`.
    #[cfg(target_os = "linux")]
    pub(super) fn behind(socket: &Path) -> io::Result<Option<Self>> {
        let stream = std::os::unix::net::UnixStream::connect(socket)?;
        let credentials = nix::sys::socket::sockopt::PeerCredentials;
        let peer = nix::sys::socket::getsockopt(&stream, credentials)?;
        let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?;
        let ticks = ticks.and_then(|ticks| u32::try_from(ticks).ok());
        Ok(Some(Self {
            pid: peer.pid(),
            ticks: f64::from(ticks.unwrap_or(100)),
        }))
    }

    /// What it has used so far, in seconds, without the programs that it has run.
    pub(super) fn cpu(&self) -> io::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The name, in parentheses, may contain anything. The state follows it; user and system time are the 12th and 13th field
        // from there.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let fields = fields.split_whitespace().skip(11).take(2);
        let ticks: f64 = fields.filter_map(|field| field.parse::<f64>().ok()).sum();
        Ok(ticks / self.ticks)
    }

    /// Waits until it does nothing any more, and returns what it has used until then, in seconds.
    #[expect(
        clippy::disallowed_methods,
        reason = "nothing says when another process is at rest"
    )]
    pub(super) fn rest(&self) -> io::Result<f64> {
        const STEP: Duration = Duration::from_millis(500);
        let start = Instant::now();
        let mut used = self.cpu()?;
        let mut quiet = Duration::ZERO;
        while quiet < QUIET && start.elapsed() < PATIENCE {
            std::thread::sleep(STEP);
            let now = self.cpu()?;
            let idle = now - used < IDLE * STEP.as_secs_f64();
            quiet = if idle { quiet + STEP } else { Duration::ZERO };
            used = now;
        }
        Ok(used)
    }
}
