//! Steps in the stream: their numbers, their beginning and end, their output, and signs of life.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use super::Lines;
use crate::report::model::name::WorkKind;
use crate::report::model::{LogLine, Model, Row, RowId, State, TargetId};
use crate::report::style::{StyledLine, TextRole};
use crate::report::view::Out;
use crate::report::{format, text};

/// A step that ends sooner takes one line, not two.
const LINGERS: Duration = Duration::from_millis(250);
/// Housekeeping that ends sooner takes none.
const NOTEWORTHY: Duration = Duration::from_secs(1);
/// A part of an export that ends sooner takes none.
const PART_NOTEWORTHY: Duration = Duration::from_millis(500);
/// A row that moves bytes says how many this often.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);
/// A step that writes nothing says that it runs after this long, and then after twice as long each time.
const FIRST_SILENCE: Duration = Duration::from_secs(30);
/// The longest silence.
const MAX_SILENCE: Duration = Duration::from_secs(300);
/// Columns of a name that was told before.
const REMINDER: usize = 80;
/// Columns of a name that is told once.
const ONLY_NAME: usize = 200;
/// Targets that get a line of their own for a step they share.
const MAX_SHARERS: usize = 8;

// What was told of a row.
#[derive(Debug)]
struct Told {
    number: usize,
    owner: TargetId,
    began: bool,
    // Time worked when its end was told.
    ended: Option<Duration>,
    sharers: usize,
    spoke: Duration,
    patience: Duration,
    moved: u64,
}

/// What was told of all rows.
#[derive(Debug, Default)]
pub(super) struct Steps {
    told: HashMap<RowId, Told>,
}

impl Steps {
    // What was told of a row, which has a number from now on; none for a row without targets.
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

    // Tells that a row began, unless that was told.
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

    /// Tells that a target shares a row that another one has begun.
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

    /// Tells a line of output.
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

    /// Tells that a part of a row is done, where that is worth a line: what an export pushed, and what took long.
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

    /// Tells that a row is over.
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
            // What never began is not missed.
            State::Cancelled => !began,
        };
        if quiet {
            return Ok(());
        }
        let Some(told) = self.told(id, row, model.now()) else {
            return Ok(());
        };
        // A source that was worked on again is told again if that took long.
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
        // Who was told the whole name when it began needs to be reminded only.
        let columns = if told.began { REMINDER } else { ONLY_NAME };
        line.push(role, text::fit(&row.name, columns));
        if let Some(error) = row.error.as_deref().filter(|_| row.state == State::Failed) {
            line.push(TextRole::Plain, format!(": {}", reason(error)));
        }
        lines.write(model.target(told.owner), line, out)
    }

    /// Tells what runs long enough to be told, how far it is, and that it still runs.
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

// The end of an error, which is what happened; before it comes the whole command, which the name has told.
fn reason(error: &str) -> &str {
    let first = error.lines().next().unwrap_or_default();
    // What git wrote follows in lines of its own.
    let first = first.strip_suffix(": git stderr:").unwrap_or(first);
    match first.rsplit_once("did not complete successfully: ") {
        Some((_, reason)) => reason,
        None => first,
    }
}
