//! Prints a run as one readable stream, for continuous integration.
//!
//! Every line begins with the name of its target and, if it is about a step, the step's number, so a reader can
//! follow a target or a step by searching for it. A step that several targets share is printed once, under the
//! first of them, and the others get a line that refers to it. Short and cached steps take one line. Nothing is
//! silent for long: pulls report their progress, and a step without output reports from time to time that it is
//! still running.

mod silence;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::model::{Model, ModelChange, TargetId, TargetModel, TargetState};
use super::style::{Look, StyledLine, TextRole};
use super::view::{Out, Settling, View, is_final};
use super::{format, text};
use crate::diag::{self, SourceMap};
use crate::event::Event;
use crate::outcome::{CancelReason, TargetOutcome};
use silence::Silence;
use steps::Steps;

/// The most columns that targets' names are padded to.
const MAX_NAME: usize = 24;
/// Printed in place of the target's name on lines that belong to no target.
const NO_TARGET: &str = "-";
/// The width in columns for which warnings and notices are drawn.
const WIDTH: u16 = 120;
/// Transfers and local work are printed only if they took longer than this or moved bytes.
const NOTEWORTHY: Duration = Duration::from_millis(500);
/// Local work that takes longer than this is printed before it ends.
const LONG: Duration = Duration::from_secs(5);
/// The time between two progress lines of transfers or of local work.
const TRANSFER_INTERVAL: Duration = Duration::from_secs(10);

/// Writes lines: the target's name, padded to the widest name, and the text.
struct Lines {
    look: Look,
    width: usize,
}

impl Lines {
    /// Sets the width of the names to the longest name that is known. Called when the run and when a target starts.
    fn measure(&mut self, model: &Model) {
        let names = model
            .targets()
            .iter()
            .map(|target| text::width(target.name.as_str()));
        let widest = names.max().unwrap_or(0).min(MAX_NAME);
        self.width = widest.max(self.width);
    }

    fn write(
        &self,
        target: Option<&TargetModel>,
        line: StyledLine,
        out: Out<'_>,
    ) -> io::Result<()> {
        let name = target.map_or(NO_TARGET, |target| target.name.as_str());
        // A name is never cut, because users search for it.
        let missing = self.width.saturating_sub(text::width(name));
        let mut whole = StyledLine::new();
        whole.push(TextRole::Strong, format!("{name}{:missing$}", ""));
        whole.push(TextRole::Quiet, " | ");
        whole.append(line);
        writeln!(out, "{}", whole.paint(&self.look))
    }
}

/// The number of targets in words.
fn targets(count: NonZeroU32) -> String {
    format::count(usize::try_from(count.get()).unwrap_or(usize::MAX), "target")
}

/// The view that prints the stream.
pub(super) struct Plain {
    lines: Lines,
    sources: Arc<SourceMap>,
    steps: Steps,
    settling: Settling,
    silence: Silence,
    transfers_told: Duration,
    /// Whether it was printed that targets have to wait.
    queue_told: bool,
    /// When local work that is still running was last printed, by its position in the model.
    local_told: BTreeMap<usize, Duration>,
}

impl Plain {
    pub(super) fn new(look: Look, sources: Arc<SourceMap>) -> Self {
        Self {
            lines: Lines {
                look,
                width: NO_TARGET.len(),
            },
            sources,
            steps: Steps::default(),
            settling: Settling::default(),
            silence: Silence::default(),
            transfers_told: Duration::ZERO,
            queue_told: false,
            local_told: BTreeMap::new(),
        }
    }

    fn run_started(&mut self, model: &Model, out: Out<'_>) -> io::Result<()> {
        self.lines.measure(model);
        let targets = format::count(model.targets().len(), "target");
        let builder = text::clean_name(model.builder(), 200);
        let driver = text::clean_name(model.driver(), 40);
        let how = if builder == driver {
            String::new()
        } else {
            format!(" ({driver})")
        };
        let line = format!("building {targets} with `{builder}`{how}");
        self.lines
            .write(None, StyledLine::new().with(TextRole::Plain, line), out)
    }

    /// Prints that a target that had to wait has begun. Without `--jobs`, all targets begin at once, and their steps show it.
    fn target_started(&self, model: &Model, id: TargetId, out: Out<'_>) -> io::Result<()> {
        let Some(target) = model.target(id) else {
            return Ok(());
        };
        let (Some(since), Some(started)) = (target.queued_since, target.started) else {
            return Ok(());
        };
        let waited = format::duration(started.saturating_sub(since));
        let line = format!("begins, after it waited {waited}");
        self.lines.write(
            Some(target),
            StyledLine::new().with(TextRole::Plain, line),
            out,
        )
    }

    /// Prints that targets have to wait, once for the run.
    fn target_queued(&mut self, model: &Model, id: TargetId, out: Out<'_>) -> io::Result<()> {
        let queued = model.target(id).and_then(|target| target.queued);
        let Some(limit) = queued.filter(|_| !std::mem::replace(&mut self.queue_told, true)) else {
            return Ok(());
        };
        let line = format!(
            "at most {} at once (`--jobs`), the others wait",
            targets(limit)
        );
        self.lines
            .write(None, StyledLine::new().with(TextRole::Plain, line), out)
    }

    fn target_ended(&mut self, model: &Model, id: TargetId, out: Out<'_>) -> io::Result<()> {
        for row in self.settling.of_ended_targets(model) {
            self.steps.ended(&self.lines, row, model, out)?;
        }
        let Some(target) = model.target(id) else {
            return Ok(());
        };
        let mut line = StyledLine::new();
        let after = target
            .started
            .map(|_| format::duration(target.elapsed(model.now())));
        let after = |word: &str| {
            after
                .as_ref()
                .map_or(String::new(), |after| format!(" {word} {after}"))
        };
        match (target.state, target.outcome.as_deref()) {
            (TargetState::Succeeded, outcome) => {
                let steps = target.steps();
                let is_answer = matches!(outcome, Some(TargetOutcome::Succeeded(solved)) if solved.called.is_some());
                line.push(TextRole::Done, if is_answer { "ANSWERED" } else { "BUILT" });
                line.push(TextRole::Plain, after("in"));
                if steps.ended > 0 {
                    line.push(
                        TextRole::Plain,
                        format!(", {}/{} steps cached", steps.cached, steps.ended),
                    );
                }
                if let Some(TargetOutcome::Succeeded(solved)) = outcome
                    && let Some(digest) = solved.digest()
                {
                    line.push(TextRole::Plain, format!(", {digest}"));
                }
            }
            (_, Some(TargetOutcome::Failed(_))) => {
                line.push(TextRole::Error, "FAILED");
                line.push(TextRole::Plain, after("after"));
            }
            (_, Some(TargetOutcome::Skipped { because })) => {
                line.push(TextRole::Cancelled, "SKIPPED");
                line.push(
                    TextRole::Plain,
                    format!(", because `{because}` was not built"),
                );
            }
            (_, Some(TargetOutcome::Cancelled(reason))) => {
                line.push(TextRole::Cancelled, "CANCELLED");
                line.push(TextRole::Plain, after("after"));
                if let CancelReason::FirstFailure(because) = reason {
                    line.push(TextRole::Plain, format!(", because `{because}` failed"));
                }
            }
            _ => return Ok(()),
        }
        self.lines.write(Some(target), line, out)
    }

    /// Prints a transfer that has ended, or its progress. Short ones without content are not printed.
    fn transfer(&self, model: &Model, at: usize, now: Duration, out: Out<'_>) -> io::Result<()> {
        let Some(state) = model.transfer_at(at) else {
            return Ok(());
        };
        let transfer = &state.transfer;
        let elapsed = state.elapsed(now);
        if transfer.bytes == 0 && elapsed < NOTEWORTHY {
            return Ok(());
        }
        let files = usize::try_from(transfer.files).unwrap_or(usize::MAX);
        let verb = if state.ended.is_some() {
            "sent"
        } else {
            "sending"
        };
        let (what, name) = format::transferred(transfer);
        let name = name.map_or(String::new(), |name| format!(" ({name})"));
        let line = format!(
            "{verb} {what}{name}: {}, {} in {}",
            format::count(files, "file"),
            format::bytes(transfer.bytes),
            format::duration(elapsed),
        );
        self.lines
            .write(None, StyledLine::new().with(TextRole::Plain, line), out)
    }

    /// Prints local work that has ended, or that it is still running. Short work without an amount is not printed,
    /// unless it failed.
    fn local(&self, model: &Model, at: usize, now: Duration, out: Out<'_>) -> io::Result<()> {
        let Some(local) = model.local_at(at) else {
            return Ok(());
        };
        let target = local
            .work
            .target
            .as_ref()
            .and_then(|name| model.target_named(name));
        let name = text::clean_name(&local.work.name, 200);
        let elapsed = local.elapsed(now);
        let line = match &local.work.error {
            Some(error) => StyledLine::new().with(TextRole::Error, "ERROR ").with(
                TextRole::Plain,
                format!("{name}: {}", text::clean_name(error, 1000)),
            ),
            None if local.ended.is_none() => {
                let so_far = format!("{name}: for {} so far", format::duration(elapsed));
                StyledLine::new().with(TextRole::Plain, so_far)
            }
            None if elapsed < NOTEWORTHY && local.work.current == 0 => return Ok(()),
            None => {
                let amount = match local.work.current {
                    0 => String::new(),
                    bytes => format!(", {}", format::bytes(bytes)),
                };
                let done = format!("{name}: done in {}{amount}", format::duration(elapsed));
                StyledLine::new().with(TextRole::Plain, done)
            }
        };
        self.lines.write(target, line, out)
    }

    fn notice(&self, model: &Model, at: usize, out: Out<'_>) -> io::Result<()> {
        let Some(notice) = model.notices().get(at) else {
            return Ok(());
        };
        let style = diag::Style {
            color: self.lines.look.color,
            width: WIDTH,
        };
        out.write_all(diag::render(notice, &self.sources, style).as_bytes())
    }

    fn take(&mut self, change: &ModelChange, model: &Model, out: Out<'_>) -> io::Result<()> {
        match change {
            ModelChange::RunStarted => self.run_started(model, out),
            ModelChange::TargetStarted(id) => {
                self.lines.measure(model);
                self.target_started(model, *id, out)
            }
            ModelChange::TargetQueued(id) => self.target_queued(model, *id, out),
            ModelChange::TargetEnded(id) => self.target_ended(model, *id, out),
            ModelChange::RowJoined(row, target) => {
                self.steps.joined(&self.lines, *row, *target, model, out)
            }
            ModelChange::RowStarted(row) => {
                self.settling.started(*row);
                Ok(())
            }
            ModelChange::RowEnded(row) if is_final(model, *row) => {
                self.steps.ended(&self.lines, *row, model, out)
            }
            ModelChange::RowEnded(row) => {
                self.settling.ended(*row, model.now());
                Ok(())
            }
            ModelChange::PartEnded(row, part) => {
                self.steps.part_ended(&self.lines, *row, *part, model, out)
            }
            ModelChange::Line(row, line) => self.steps.output(&self.lines, *row, line, model, out),
            ModelChange::Notice(at) => self.notice(model, *at, out),
            ModelChange::LocalEnded(at) => self.local(model, *at, model.now(), out),
            ModelChange::TransferEnded(at) => self.transfer(model, *at, model.now(), out),
            ModelChange::Stopping => {
                let reason = text::clean_name(model.stopping().unwrap_or_default(), 200);
                let line =
                    StyledLine::new().with(TextRole::Cancelled, format!("stopping: {reason}"));
                self.lines.write(None, line, out)
            }
            ModelChange::LocalStarted(_) | ModelChange::Warning(_) | ModelChange::RunEnded => {
                Ok(())
            }
        }
    }
}

impl View for Plain {
    fn event(
        &mut self,
        _: &Event,
        changes: &[ModelChange],
        model: &Model,
        out: Out<'_>,
    ) -> io::Result<()> {
        for change in changes {
            self.take(change, model, out)?;
        }
        Ok(())
    }

    fn tick(&mut self, model: &Model, now: Duration, out: Out<'_>) -> io::Result<()> {
        for row in self.settling.due(now) {
            self.steps.ended(&self.lines, row, model, out)?;
        }
        self.steps.tick(&self.lines, model, now, out)?;
        self.silence.tick(&self.lines, model, now, out)?;
        if now.saturating_sub(self.transfers_told) >= TRANSFER_INTERVAL {
            self.transfers_told = now;
            for (at, state) in model.transfers().enumerate() {
                if state.ended.is_none() {
                    self.transfer(model, at, now, out)?;
                }
            }
        }
        for (at, local) in model.local().enumerate() {
            let told = self.local_told.get(&at).copied();
            let due = told.map_or(local.since + LONG, |told| told + TRANSFER_INTERVAL);
            if local.ended.is_none() && now >= due {
                self.local_told.insert(at, now);
                self.local(model, at, now, out)?;
            }
        }
        out.flush()
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(250)
    }

    fn close(&mut self, model: &Model, _: Duration, out: Out<'_>) -> io::Result<()> {
        for row in self.settling.all() {
            self.steps.ended(&self.lines, row, model, out)?;
        }
        out.flush()
    }
}
