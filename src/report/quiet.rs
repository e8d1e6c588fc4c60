//! The view that shows nothing while a run goes on. Failures are printed at its end, as in every mode.

use std::io;
use std::time::Duration;

use super::model::{Model, ModelChange};
use super::view::{Out, View};
use crate::event::Event;

pub(super) struct Quiet;

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

    fn close(&mut self, _: &Model, _: Duration, _: Out<'_>) -> io::Result<()> {
        Ok(())
    }
}
