//! The view that shows nothing while a run goes on. Failures are printed at its end, as in every mode, and before them why
//! a cache was not read or written: without that, nobody could explain a build that is slow.

use std::io;
use std::time::Duration;

use super::model::{Model, ModelChange};
use super::view::{self, Out, View};
use crate::diag::{self, SourceMap, Style};
use crate::event::Event;

pub(super) struct Quiet {
    style: Style,
}

impl Quiet {
    pub(super) const fn new(style: Style) -> Self {
        Self { style }
    }
}

impl View for Quiet {
    fn event(&mut self, _: &Event, _: &[ModelChange], _: &Model, _: Out<'_>) -> io::Result<()> {
        Ok(())
    }

    fn tick(&mut self, _: &Model, _: Duration, _: Out<'_>) -> io::Result<()> {
        Ok(())
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(3600)
    }

    fn close(&mut self, model: &Model, _: Duration, out: Out<'_>) -> io::Result<()> {
        let sources = SourceMap::default();
        for warning in model
            .notices()
            .iter()
            .filter(|notice| view::concerns_result(notice))
        {
            out.write_all(diag::render(warning, &sources, self.style).as_bytes())?;
        }
        out.flush()
    }
}
