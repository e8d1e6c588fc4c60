//! Prints what the run waits for, if nothing is running and the builder reports nothing.

use std::io;
use std::time::Duration;

use super::Lines;
use crate::report::model::{Model, TargetModel};
use crate::report::style::{StyledLine, TextRole};
use crate::report::view::Out;
use crate::report::{format, text};

/// The silence after which the first line is printed; each further line comes after twice as long.
const FIRST: Duration = Duration::from_secs(30);
/// The longest time between two lines.
const LONGEST: Duration = Duration::from_secs(600);
/// The columns of the targets' names, and of a step's name.
const NAMES: usize = 80;

/// When the next line is due.
#[derive(Debug)]
pub(super) struct Silence {
    /// The time since the last line, or since the builder's last report.
    patience: Duration,
    /// When the last line was printed. `None` if there was none since the silence began.
    told: Option<Duration>,
}

impl Default for Silence {
    fn default() -> Self {
        Self {
            patience: FIRST,
            told: None,
        }
    }
}

impl Silence {
    /// Prints a line if it is due.
    pub(super) fn tick(
        &mut self,
        lines: &Lines,
        model: &Model,
        now: Duration,
        out: Out<'_>,
    ) -> io::Result<()> {
        let silent = model.silent(now, FIRST);
        let Some(longest) = silent.iter().map(|(_, silence)| *silence).max() else {
            *self = Self::default();
            return Ok(());
        };
        let since = self.told.map_or(longest, |told| now.saturating_sub(told));
        if since < self.patience {
            return Ok(());
        }
        self.told = Some(now);
        self.patience = (self.patience * 2).min(LONGEST);
        let line = StyledLine::new().with(TextRole::Quiet, said(&silent, longest, model));
        match &silent[..] {
            [(target, _)] => lines.write(Some(target), line, out),
            _ => lines.write(None, line, out),
        }
    }
}

fn said(silent: &[(&TargetModel, Duration)], longest: Duration, model: &Model) -> String {
    let longest = format::duration(longest);
    let [(target, _)] = silent else {
        let names: Vec<&str> = silent
            .iter()
            .map(|(target, _)| target.name.as_str())
            .collect();
        let count = format::count(silent.len(), "target");
        let names = text::fit(&names.join(", "), NAMES).into_owned();
        return format!(
            "{count} wait for the builder, which has reported nothing of them for {longest}: {names}"
        );
    };
    let after = model.last_step(target).map_or(String::new(), |step| {
        format!(", after {}", text::fit(&step.name, NAMES))
    });
    format!("waits for the builder, which has reported nothing for {longest}{after}")
}
