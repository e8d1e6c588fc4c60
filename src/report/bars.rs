//! Simple progress bars for work on this machine: downloads, installing, transfers outside of a build.
//!
//! The bars are drawn by indicatif. The live view of a build needs more than bars, so it does not use it.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::model::{Local, Model, ModelChange};
use super::style::Look;
use super::view::{Out, View};
use super::{format, text};
use crate::event::{Event, EventKind};

const UNKNOWN: &str = "{spinner} {msg}";
const KNOWN: &str = "{spinner} {msg:32!} [{bar:24}] {bytes:>10} of {total_bytes:10} {eta:>5}";

/// A bar for each piece of local work.
pub(super) struct Bars {
    all: MultiProgress,
    known: HashMap<String, ProgressBar>,
    look: Look,
    /// Whether standard error is a terminal. If not, no bars are drawn, and each piece of work gets a line when it
    /// ends.
    live: bool,
}

impl Bars {
    /// Makes bars on standard error if `live`, which says that it is a terminal; otherwise lines.
    pub(super) fn new(look: Look, live: bool) -> Self {
        let target = if live {
            ProgressDrawTarget::stderr_with_hz(15)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            all: MultiProgress::with_draw_target(target),
            known: HashMap::new(),
            look,
            live,
        }
    }

    /// Shows the amounts of `local` in its bar, and makes the bar if there is none yet.
    fn update(&mut self, local: &Local) {
        let work = &local.work;
        let bar = self
            .known
            .entry(work.id.clone())
            .or_insert_with(|| self.all.add(ProgressBar::no_length()));
        bar.set_message(text::clean_name(&work.name, 200));
        if work.total != bar.length() || bar.position() == 0 {
            let template = if work.total.is_some() { KNOWN } else { UNKNOWN };
            // The templates are constants, and a test parses them, so this cannot fail.
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(if self.look.unicode {
                    style.progress_chars("━╸╌")
                } else {
                    style.progress_chars("=>-").tick_chars("|/-\\ ")
                });
            }
            if let Some(total) = work.total {
                bar.set_length(total);
            }
        }
        bar.set_position(work.current);
        bar.tick();
    }
}

impl View for Bars {
    fn event(
        &mut self,
        event: &Event,
        changes: &[ModelChange],
        model: &Model,
        out: Out<'_>,
    ) -> io::Result<()> {
        if let EventKind::Local(work) = &event.kind
            && let Some(local) = model.local().find(|local| local.work.id == work.id)
        {
            self.update(local);
        }
        for change in changes {
            if let ModelChange::Notice(at) = change
                && let Some(notice) = model.notices().get(*at)
            {
                let line = text::clean_name(&notice.message, 1000);
                self.all
                    .suspend(|| writeln!(out, "{line}").and_then(|()| out.flush()))?;
            }
            let ModelChange::LocalEnded(at) = change else {
                continue;
            };
            let Some(local) = model.local_at(*at) else {
                continue;
            };
            if let Some(bar) = self.known.remove(&local.work.id) {
                bar.finish_and_clear();
            }
            let line = ended(local, model.now());
            self.all
                .suspend(|| writeln!(out, "{line}").and_then(|()| out.flush()))?;
        }
        Ok(())
    }

    fn tick(&mut self, _: &Model, _: Duration, out: Out<'_>) -> io::Result<()> {
        for bar in self.known.values() {
            bar.tick();
        }
        out.flush()
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(if self.live { 100 } else { 1000 })
    }

    fn close(&mut self, _: &Model, _: Duration, out: Out<'_>) -> io::Result<()> {
        self.all.clear()?;
        out.flush()
    }
}

/// Returns the line that ended work leaves behind.
fn ended(local: &Local, now: Duration) -> String {
    let name = text::clean_name(&local.work.name, 200);
    if let Some(error) = &local.work.error {
        return format!("{name}: failed: {}", text::clean_name(error, 1000));
    }
    let amount = match local.work.current {
        0 => String::new(),
        bytes => format!("{} in ", format::bytes(bytes)),
    };
    format!("{name}: {amount}{}", format::duration(local.elapsed(now)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::recording;

    #[test]
    fn the_templates_are_valid() {
        for template in [KNOWN, UNKNOWN] {
            ProgressStyle::with_template(template).unwrap();
        }
    }

    #[test]
    fn without_a_terminal_each_piece_of_work_gets_a_line() {
        let text = concat!(
            r#"{"at":0,"event":"local","id":"a","target":null,"name":"download buildkit","current":0,"total":1000,"done":false,"error":null}"#,
            "\n",
            r#"{"at":2,"event":"local","id":"a","target":null,"name":"download buildkit","current":1000,"total":1000,"done":true,"error":null}"#,
            "\n",
            r#"{"at":3,"event":"local","id":"b","target":null,"name":"unpack","current":0,"total":null,"done":true,"error":"no space left on device"}"#,
        );
        let mut model = Model::new();
        let mut view = Bars::new(Look::default(), false);
        let mut out = Vec::new();
        for event in recording::read(text).unwrap() {
            let changes = model.apply(&event);
            view.event(&event, &changes, &model, &mut out).unwrap();
            view.tick(&model, event.at, &mut out).unwrap();
        }
        view.close(&model, model.now(), &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
        download buildkit: 1.00 kB in 2.0s
        unpack: failed: no space left on device
        "#);
    }
}
