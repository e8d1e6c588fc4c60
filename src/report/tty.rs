//! The live view: a region at the bottom of the terminal, and above it the lines of what has ended.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::frame::{frame, history};
use super::model::{Model, ModelChange, RowId};
use super::region::{Painted, Region, Size};
use super::style::{Look, StyledLine, TextRole};
use super::view::{Out, Settling, View, is_final};
use super::{format, text};
use crate::diag::{self, SourceMap};
use crate::event::Event;

/// The time between two frames: fast enough for a spinner, slow enough for a remote terminal.
const INTERVAL: Duration = Duration::from_millis(66);
/// The most lines that may wait to be written above the region.
const MAX_HISTORY: usize = 10_000;
/// Work on this machine leaves a line only if it took longer than this.
const NOTEWORTHY: Duration = Duration::from_secs(1);

/// Asks for the terminal's size. Returns `None` if it is not known.
pub type AskSize = Arc<dyn Fn() -> Option<Size> + Send + Sync>;

/// The live view. It draws a frame at each tick, and only then.
pub(super) struct Tty {
    look: Look,
    size: AskSize,
    sources: Arc<SourceMap>,
    region: Region,
    history: Vec<Painted>,
    settling: Settling,
    last: Size,
}

impl Tty {
    pub(super) fn new(look: Look, size: AskSize, sources: Arc<SourceMap>) -> Self {
        Self {
            look,
            size,
            sources,
            region: Region::new(),
            history: Vec::new(),
            settling: Settling::default(),
            last: Size { cols: 80, rows: 24 },
        }
    }

    /// Returns the current size of the terminal, or the last known one.
    fn ask_size(&mut self) -> Size {
        // A terminal that reports no columns or no rows does not know its size. Then the last known size is used.
        if let Some(size) = (self.size)().filter(|size| size.cols > 0 && size.rows > 0) {
            self.last = size;
        }
        self.last
    }

    /// Adds a line to be written above the region. Drops it if too many lines are waiting.
    fn tell(&mut self, line: StyledLine) {
        if self.history.len() < MAX_HISTORY {
            let line = line.fit(usize::from(self.last.cols));
            self.history.push(Painted {
                width: line.width(),
                text: line.paint(&self.look),
            });
        }
    }

    fn tell_row(&mut self, model: &Model, row: RowId, now: Duration) {
        let columns = usize::from(self.last.cols);
        let row = model.row(row);
        if let Some(line) = row.and_then(|row| history::row(model, row, now, columns, &self.look)) {
            self.tell(line);
        }
    }

    fn take(&mut self, change: &ModelChange, model: &Model) {
        let now = model.now();
        match change {
            ModelChange::RowStarted(row) => self.settling.started(*row),
            ModelChange::RowEnded(row) if is_final(model, *row) => self.tell_row(model, *row, now),
            ModelChange::RowEnded(row) => self.settling.ended(*row, now),
            ModelChange::TargetEnded(id) => {
                for row in self.settling.of_ended_targets(model) {
                    self.tell_row(model, row, now);
                }
                if let Some(target) = model.target(*id) {
                    self.tell(history::target(target, now, &self.look));
                }
            }
            ModelChange::Notice(at) => {
                if let Some(notice) = model.notices().get(*at) {
                    let style = diag::Style {
                        color: self.look.color,
                        width: self.last.cols,
                    };
                    // These lines have their own styles. Like any output, they may be wider than the terminal.
                    let drawn = diag::render(notice, &self.sources, style);
                    self.history.extend(drawn.lines().map(Painted::plain));
                }
            }
            ModelChange::LocalEnded(at) => self.tell_local(model, *at),
            ModelChange::RunStarted
            | ModelChange::TargetStarted(_)
            | ModelChange::TargetQueued(_)
            | ModelChange::RowJoined(..)
            | ModelChange::PartEnded(..)
            | ModelChange::Line(..)
            | ModelChange::Warning(_)
            | ModelChange::LocalStarted(_)
            | ModelChange::TransferEnded(_)
            | ModelChange::RunEnded => {}
            // The terminal has just echoed the key, such as `^C`.
            ModelChange::Stopping => self.region.spoil(),
        }
    }

    fn tell_local(&mut self, model: &Model, at: usize) {
        let Some(local) = model.local_at(at) else {
            return;
        };
        let elapsed = local.elapsed(model.now());
        let name = text::clean_name(&local.work.name, 200);
        let line = match &local.work.error {
            Some(error) => StyledLine::new().with(
                TextRole::Error,
                format!(" {name} failed: {}", text::clean_name(error, 500)),
            ),
            None if elapsed < NOTEWORTHY => return,
            None => StyledLine::new()
                .with(TextRole::Plain, format!(" {name} "))
                .with(TextRole::Quiet, format::duration(elapsed)),
        };
        self.tell(line);
    }
}

impl View for Tty {
    fn event(
        &mut self,
        _: &Event,
        changes: &[ModelChange],
        model: &Model,
        _: Out<'_>,
    ) -> io::Result<()> {
        for change in changes {
            self.take(change, model);
        }
        Ok(())
    }

    fn tick(&mut self, model: &Model, now: Duration, out: Out<'_>) -> io::Result<()> {
        let size = self.ask_size();
        for row in self.settling.due(now) {
            self.tell_row(model, row, now);
        }
        let lines = frame(model, now, size.cols, size.rows, &self.look);
        let lines = lines.into_iter().map(|line| Painted {
            width: line.width(),
            text: line.paint(&self.look),
        });
        let history = std::mem::take(&mut self.history);
        self.region.update(out, size, &history, lines.collect())
    }

    fn interval(&self) -> Duration {
        INTERVAL
    }

    fn close(&mut self, model: &Model, now: Duration, out: Out<'_>) -> io::Result<()> {
        let size = self.ask_size();
        for row in self.settling.all() {
            self.tell_row(model, row, now);
        }
        let history = std::mem::take(&mut self.history);
        self.region.close(out, size, &history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::tests::any_event;
    use proptest::prelude::*;

    proptest! {
        // Whatever happens, and however the terminal changes meanwhile, in the end it has a cursor and no remains
        // of the view.
        #[test]
        fn the_terminal_is_left_as_it_was(
            events in prop::collection::vec((any_event(), 0u16..120, 0u16..40), 1..30),
        ) {
            let size = Arc::new(std::sync::Mutex::new(None));
            let ask: AskSize = {
                let size = size.clone();
                Arc::new(move || *size.lock().unwrap())
            };
            let mut view = Tty::new(Look::default(), ask, Arc::default());
            let mut model = Model::new();
            let nonzero = |n: u16| std::num::NonZero::new(n.max(1)).unwrap();
            let mut terminal = vt100::Parser::new(nonzero(40), nonzero(120), 100);
            let mut now = Duration::ZERO;
            for (event, cols, rows) in &events {
                *size.lock().unwrap() = Some(Size { cols: *cols, rows: *rows });
                if *cols > 0 && *rows > 0 {
                    terminal.screen_mut().set_size(nonzero(*rows), nonzero(*cols));
                }
                let changes = model.apply(event);
                let mut out = Vec::new();
                view.event(event, &changes, &model, &mut out).unwrap();
                now = now.max(event.at) + INTERVAL;
                view.tick(&model, now, &mut out).unwrap();
                terminal.process(&out);
                prop_assert!(!terminal.screen().hide_cursor());
            }
            let mut out = Vec::new();
            view.close(&model, now, &mut out).unwrap();
            terminal.process(&out);
            prop_assert_eq!(terminal.screen().cursor_position().1, 0);
            prop_assert!(!terminal.screen().hide_cursor());
        }
    }
}
