//! Prints steps: their numbers, their start and end, their output, and progress of long ones.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use super::Lines;
use crate::report::model::name::WorkKind;
use crate::report::model::{LogLine, Model, Row, RowId, State, TargetId};
use crate::report::style::{StyledLine, TextRole};
use crate::report::view::Out;
use crate::report::{format, text};

/// A step that ends sooner than this takes one line, not two.
const LINGERS: Duration = Duration::from_millis(250);
/// Housekeeping that ends sooner than this is not printed.
const NOTEWORTHY: Duration = Duration::from_secs(1);
/// A part of an export that ends sooner than this is not printed.
const PART_NOTEWORTHY: Duration = Duration::from_millis(500);
/// The time between two progress lines of a row that moves bytes.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);
/// A step without output reports after this time that it is still running, and then each time after twice as long.
const FIRST_SILENCE: Duration = Duration::from_secs(30);
/// The longest time between two such reports.
const MAX_SILENCE: Duration = Duration::from_secs(300);
/// The columns of a step's name if it was printed before.
const REMINDER: usize = 80;
/// The columns of a step's name if it is printed only once.
const ONLY_NAME: usize = 200;
/// The most targets that get a line for a step that they share.
const MAX_SHARERS: usize = 8;

/// What was printed about a row.
#[derive(Debug)]
struct Told {
    number: usize,
    /// The target under which the row is printed.
    owner: TargetId,
    /// Whether its start was printed.
    began: bool,
    /// The time that the row had taken when its end was printed.
    ended: Option<Duration>,
    /// The number of other targets for which a line was printed.
    sharers: usize,
    /// When something was last printed about it.
    spoke: Duration,
    /// How long it may be silent before a line says that it is still running.
    patience: Duration,
    /// The amount that was last printed.
    moved: u64,
}

/// What was printed about all rows.
#[derive(Debug, Default)]
pub(super) struct Steps {
    told: HashMap<RowId, Told>,
}

impl Steps {
    /// Returns what was printed about a row, and gives the row a number if it has none yet. `None` for a row
    /// without targets.
    fn told(&mut self, id: RowId, row: &Row, now: Duration) -> Option<&mut Told> {
        let number = self.told.len() + 1;
        let owner = row.targets.iter().next()?;
        Some(self.told.entry(id).or_insert(Told {
            number,
            owner,
            began: false,
            ended: None,
            sharers: 0,
            spoke: now,
            patience: FIRST_SILENCE,
            moved: 0,
        }))
    }

    /// Prints that a row began, unless that was printed before.
    fn begin(
        &mut self,
        lines: &Lines,
        id: RowId,
        row: &Row,
        model: &Model,
        out: Out<'_>,
    ) -> io::Result<()> {
        let Some(told) = self.told(id, row, model.now()) else {
            return Ok(());
        };
        if std::mem::replace(&mut told.began, true) {
            return Ok(());
        }
        let owner = told.owner;
        let line = StyledLine::new()
            .with(TextRole::Running, format!("#{} ", told.number))
            .with(TextRole::Plain, &*row.name);
        lines.write(model.target(owner), line, out)?;
        for target in row.targets.iter().filter(|target| *target != owner) {
            self.joined(lines, id, target, model, out)?;
        }
        Ok(())
    }

    /// Prints that a target shares a row that was printed under another target.
    pub(super) fn joined(
        &mut self,
        lines: &Lines,
        id: RowId,
        target: TargetId,
        model: &Model,
        out: Out<'_>,
    ) -> io::Result<()> {
        let running = model.row(id).filter(|row| row.state == State::Running);
        let (Some(row), Some(told)) = (running, self.told.get_mut(&id)) else {
            return Ok(());
        };
        if !told.began || told.owner == target || told.sharers >= MAX_SHARERS {
            return Ok(());
        }
        told.sharers += 1;
        let owner = model
            .target(told.owner)
            .map_or("", |target| target.name.as_str());
        let line = StyledLine::new()
            .with(TextRole::Running, format!("#{} ", told.number))
            .with(TextRole::Plain, format!("shared with {owner}: "))
            .with(TextRole::Quiet, text::fit(&row.name, REMINDER));
        lines.write(model.target(target), line, out)
    }

    /// Prints a line of output.
    pub(super) fn output(
        &mut self,
        lines: &Lines,
        id: RowId,
        line: &LogLine,
        model: &Model,
        out: Out<'_>,
    ) -> io::Result<()> {
        let Some(row) = model.row(id) else {
            return Ok(());
        };
        self.begin(lines, id, row, model, out)?;
        let Some(told) = self.told.get_mut(&id) else {
            return Ok(());
        };
        told.spoke = model.now();
        told.patience = FIRST_SILENCE;
        let at = match row.state {
            State::Running => model.now().saturating_sub(row.since),
            _ => row.elapsed(model.now()),
        };
        let said = StyledLine::new()
            .with(TextRole::Running, format!("#{} ", told.number))
            .with(TextRole::Quiet, format!("{} ", format::duration(at)))
            .with(TextRole::Plain, &*line.text);
        lines.write(model.target(told.owner), said, out)
    }

    /// Prints that a part of a row is done. Only parts of exports are printed: pushed manifests, and what took
    /// long.
    pub(super) fn part_ended(
        &mut self,
        lines: &Lines,
        id: RowId,
        part: usize,
        model: &Model,
        out: Out<'_>,
    ) -> io::Result<()> {
        let Some((row, part)) = model
            .row(id)
            .and_then(|row| Some((row, row.progress_at(part)?)))
        else {
            return Ok(());
        };
        let took = part.took.unwrap_or_default();
        if row.kind != WorkKind::Export
            || (took < PART_NOTEWORTHY && !part.name.starts_with("pushing manifest"))
        {
            return Ok(());
        }
        self.begin(lines, id, row, model, out)?;
        let Some(told) = self.told.get_mut(&id) else {
            return Ok(());
        };
        told.spoke = model.now();
        let line = StyledLine::new()
            .with(TextRole::Running, format!("#{} ", told.number))
            .with(
                TextRole::Plain,
                format!("{}: {}", part.name, format::duration(took)),
            );
        lines.write(model.target(told.owner), line, out)
    }

    /// Prints that a row ended, unless it is not worth a line.
    pub(super) fn ended(
        &mut self,
        lines: &Lines,
        id: RowId,
        model: &Model,
        out: Out<'_>,
    ) -> io::Result<()> {
        let Some(row) = model.row(id) else {
            return Ok(());
        };
        let took = row.elapsed(model.now());
        let began = self.told.get(&id).is_some_and(|told| told.began);
        let short = row.kind.is_housekeeping() && took < NOTEWORTHY;
        let quiet = match row.state {
            State::Pending | State::Running => true,
            State::Done => short && !began,
            State::Cached => row.kind.is_housekeeping() || model.is_echo(row),
            State::Failed => false,
            // If no start was printed, the user does not wait for an end.
            State::Cancelled => !began,
        };
        if quiet {
            return Ok(());
        }
        let Some(told) = self.told(id, row, model.now()) else {
            return Ok(());
        };
        // A source that was worked on again is printed again only if that took long.
        if told
            .ended
            .is_some_and(|before| took.saturating_sub(before) < NOTEWORTHY)
        {
            return Ok(());
        }
        told.ended = Some(took);
        let mut line = StyledLine::new().with(TextRole::Running, format!("#{} ", told.number));
        match row.state {
            State::Cached => line.push(TextRole::Quiet, "CACHED "),
            State::Failed => line.push(TextRole::Error, "ERROR "),
            State::Cancelled => line.push(TextRole::Cancelled, "CANCELLED "),
            State::Done | State::Pending | State::Running => line.push(TextRole::Done, "DONE "),
        }
        if row.state != State::Cached {
            line.push(TextRole::Plain, format!("{} ", format::duration(took)));
        }
        if let Some(amount) = row
            .amount()
            .filter(|amount| amount.total > 0 && row.state == State::Done)
        {
            line.push(TextRole::Plain, format!("{} ", format::bytes(amount.total)));
        }
        let role = if row.state == State::Cached {
            TextRole::Quiet
        } else {
            TextRole::Plain
        };
        // If the start was printed, the user has seen the whole name.
        let columns = if told.began { REMINDER } else { ONLY_NAME };
        line.push(role, text::fit(&row.name, columns));
        if let Some(error) = row.error.as_deref().filter(|_| row.state == State::Failed) {
            line.push(TextRole::Plain, format!(": {}", reason(error)));
        }
        lines.write(model.target(told.owner), line, out)
    }

    /// Prints the start of rows that have run long enough, their progress, and that they are still running.
    pub(super) fn tick(
        &mut self,
        lines: &Lines,
        model: &Model,
        now: Duration,
        out: Out<'_>,
    ) -> io::Result<()> {
        for id in model.running() {
            let Some(row) = model.row(*id) else {
                continue;
            };
            let patience = if row.kind.is_housekeeping() {
                NOTEWORTHY
            } else {
                LINGERS
            };
            if now.saturating_sub(row.since) >= patience {
                self.begin(lines, *id, row, model, out)?;
                self.sign_of_life(lines, *id, row, model, now, out)?;
            }
        }
        Ok(())
    }

    /// Prints the progress of a row that moves bytes, or that it is still running, if nothing was printed about it
    /// for a while.
    fn sign_of_life(
        &mut self,
        lines: &Lines,
        id: RowId,
        row: &Row,
        model: &Model,
        now: Duration,
        out: Out<'_>,
    ) -> io::Result<()> {
        let Some(told) = self.told.get_mut(&id) else {
            return Ok(());
        };
        let silence = now.saturating_sub(told.spoke);
        let amount = row.amount();
        let moved = amount.map_or(0, |amount| amount.current);
        let mut line = StyledLine::new().with(TextRole::Running, format!("#{} ", told.number));
        if let Some(amount) = amount.filter(|_| moved != told.moved && silence >= PROGRESS_INTERVAL)
        {
            let done = match format::percent(amount.current, amount.total) {
                Some(percent) => format!(
                    "{} / {} ({percent}%)",
                    format::bytes(amount.current),
                    format::bytes(amount.total)
                ),
                None => format::bytes(amount.current),
            };
            line.push(TextRole::Plain, done);
            if amount.parts > 1 {
                line.push(
                    TextRole::Plain,
                    format!(", {} of {} parts", amount.parts_done, amount.parts),
                );
            }
        } else if silence >= told.patience {
            told.patience = (told.patience * 2).min(MAX_SILENCE);
            line.push(
                TextRole::Quiet,
                format!("still running after {}", format::duration(row.elapsed(now))),
            );
            if let Some(partial) = row.partial_line() {
                line.push(TextRole::Quiet, format!(": {}", text::fit(partial, 160)));
            }
        } else {
            return Ok(());
        }
        told.moved = moved;
        told.spoke = now;
        lines.write(model.target(told.owner), line, out)
    }
}

/// Returns the end of an error, which says what happened. Before it, BuildKit repeats the whole command, which the
/// step's name shows already.
fn reason(error: &str) -> &str {
    let first = error.lines().next().unwrap_or_default();
    // What git wrote follows on separate lines.
    let first = first.strip_suffix(": git stderr:").unwrap_or(first);
    match first.rsplit_once("did not complete successfully: ") {
        Some((_, reason)) => reason,
        None => first,
    }
}
