//! Measures whether the time of `--print` is proportional to the size of a definition.

use std::path::Path;

use super::definitions::Many;
use super::measure::Sample;
use super::scenario::Clients;
use super::{Error, io};

/// How many times larger the larger definition is.
const TIMES: usize = 4;

/// The cost of a definition that is four times as large, compared with four times the cost.
#[derive(Debug)]
pub(super) struct Growth {
    many: Many,
    small: usize,
    /// The least CPU time of the smaller and of the larger definition, in seconds.
    cpu: [f64; 2],
}

impl Growth {
    /// The growth that is aimed at; above it, something is not linear.
    pub(super) const GOAL: f64 = 1.3;

    /// The name of the line.
    pub(super) fn name(many: Many) -> String {
        format!("--print, growth with {}", many.word())
    }

    /// Prints both definitions `runs` times with rbake. The least time counts: other programs disturbed it least.
    pub(super) fn measure(
        clients: &Clients,
        dir: &Path,
        (many, small): (Many, usize),
        runs: usize,
    ) -> Result<Self, Error> {
        let mut cpu = [f64::MAX; 2];
        let sizes = [small, small * TIMES];
        let mut commands = Vec::new();
        for size in sizes {
            let dir = dir.join(size.to_string());
            let arguments = io(
                || format!("write `{}`", dir.display()),
                many.write(&dir, size),
            )?;
            commands.push((dir, arguments));
        }
        for _ in 0..runs.max(1) {
            for (least, (dir, arguments)) in cpu.iter_mut().zip(&commands) {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                let Sample { cpu, .. } = clients.measure_rbake(dir, &arguments)?;
                *least = least.min(cpu);
            }
        }
        Ok(Self { many, small, cpu })
    }

    /// The line of the table.
    pub(super) fn line(&self) -> String {
        let [small, large] = self.cpu;
        #[expect(clippy::cast_precision_loss, reason = "a ratio of two digits")]
        let growth = large / small / TIMES as f64;
        format!(
            "| {} | {} | {} | {small:.3} | {large:.3} | {growth:.2} | ≤ {}, {} |\n",
            self.many.word(),
            self.small,
            self.small * TIMES,
            Self::GOAL,
            if growth <= Self::GOAL {
                "met"
            } else {
                "missed"
            }
        )
    }
}

/// The table as Markdown.
pub(super) fn render(rows: &[Growth]) -> String {
    let mut text = String::from(
        "\n| `--print` with many | fewer | more | CPU of fewer, s | CPU of more, s | growth per piece | goal |\n\
         |---|---|---|---|---|---|---|\n",
    );
    text.extend(rows.iter().map(Growth::line));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_judged() {
        let row = |large| Growth {
            many: Many::Targets,
            small: 10,
            cpu: [1.0, large],
        };
        assert_eq!(
            row(4.4).line(),
            "| targets | 10 | 40 | 1.000 | 4.400 | 1.10 | ≤ 1.3, met |\n"
        );
        assert!(row(16.0).line().ends_with("| 4.00 | ≤ 1.3, missed |\n"));
    }
}
