//! Measures one run of one command, with the kernel's figures.
//!
//! The kernel adds up what all children of a process have used. So each run gets its own parent process, this program with the
//! task `measure`, which has no other child.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

use super::{Error, io};

/// What one run took.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Sample {
    /// Wall time, in seconds.
    pub(super) wall: f64,
    /// User and system time, in seconds.
    pub(super) cpu: f64,
    /// Peak memory of the largest process, in MiB.
    pub(super) memory: f64,
    /// What the daemon used for the run and after it, in seconds. 0 without a daemon.
    #[serde(default)]
    pub(super) daemon: f64,
    pub(super) code: i32,
}

/// Runs one command and prints its measurement as JSON on standard output; for `bench` itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Measure {
    /// Where the command's output goes
    #[arg(long)]
    log: PathBuf,
    /// The command
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Measure {
    /// Runs it.
    pub(crate) fn run(&self) -> Result<(), Error> {
        let log = io(
            || format!("write `{}`", self.log.display()),
            std::fs::File::create(&self.log),
        )?;
        let copy = io(|| "share the log".into(), log.try_clone())?;
        let start = Instant::now();
        let status = Command::new(&self.command[0])
            .args(&self.command[1..])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(copy)
            .status();
        let status = io(|| format!("run `{}`", self.command[0]), status)?;
        let wall = start.elapsed().as_secs_f64();
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(std::io::Error::from);
        let usage = io(|| "read the resource usage".into(), usage)?;
        let seconds = |time: nix::sys::time::TimeVal| {
            // The fields differ in width from system to system.
            let whole = Duration::from_secs(u64::try_from(time.tv_sec()).unwrap_or_default());
            let rest = Duration::from_micros(u64::try_from(time.tv_usec()).unwrap_or_default());
            (whole + rest).as_secs_f64()
        };
        let kib = u32::try_from(usage.max_rss()).unwrap_or(u32::MAX);
        let sample = Sample {
            wall,
            cpu: seconds(usage.user_time()) + seconds(usage.system_time()),
            memory: f64::from(kib) / 1024.0,
            daemon: 0.0,
            code: status.code().unwrap_or(-1),
        };
        super::print(&serde_json::to_string(&sample).unwrap_or_default());
        Ok(())
    }
}

/// Measures one run of `command` with `environment`, in `dir`.
pub(super) fn once(
    command: &[String],
    environment: &[(String, String)],
    dir: &std::path::Path,
) -> Result<Sample, Error> {
    let log = dir.join("output.log");
    let this = io(|| "find this program".into(), std::env::current_exe())?;
    let output = Command::new(this)
        .args(["measure", "--log"])
        .arg(&log)
        .arg("--")
        .args(command)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(dir)
        .stderr(Stdio::inherit())
        .output();
    let output = io(|| format!("measure `{}`", command[0]), output)?;
    let sample: Sample = serde_json::from_slice(&output.stdout)
        .map_err(|_| Error::NoMeasurement(command.join(" ")))?;
    if sample.code != 0 {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let tail: Vec<&str> = text.lines().rev().take(20).collect();
        let output = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
        return Err(Error::Failed {
            command: command.join(" "),
            code: sample.code,
            output,
        });
    }
    Ok(sample)
}
