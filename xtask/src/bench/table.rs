//! The table of medians and ratios.

use std::fmt::Write as _;

use super::measure::Sample;

/// The ratios to buildx that are aimed at.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Goal {
    /// The wall time that rbake must not exceed, in seconds, independent of buildx's.
    pub(super) seconds: Option<f64>,
    pub(super) wall: Option<f64>,
    pub(super) cpu: Option<f64>,
    pub(super) memory: Option<f64>,
}

/// The samples of one scenario.
#[derive(Debug)]
pub(super) struct Row {
    name: String,
    goal: Goal,
    pub(super) rbake: Vec<Sample>,
    pub(super) buildx: Vec<Sample>,
    pub(super) rbake_bytes: Option<u64>,
    pub(super) buildx_bytes: Option<u64>,
}

impl Row {
    pub(super) fn new(name: String, goal: Goal) -> Self {
        Self {
            name,
            goal,
            rbake: Vec::new(),
            buildx: Vec::new(),
            rbake_bytes: None,
            buildx_bytes: None,
        }
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// The table as Markdown.
pub(super) fn render(rows: &[Row], versions: &[String]) -> String {
    let mut text = format!("{}; medians\n\n", versions.join("; "));
    text.push_str(
        "| scenario | figure | rbake | buildx | ratio | goal |\n|---|---|---|---|---|---|\n",
    );
    for row in rows {
        figure(&mut text, row, "wall, s", row.goal.wall, |sample| {
            sample.wall
        });
        if let Some(goal) = row.goal.seconds {
            let least = row.rbake.iter().map(|sample| sample.wall).reduce(f64::min);
            absolute(&mut text, &row.name, least, goal);
        }
        figure(&mut text, row, "client CPU, s", row.goal.cpu, |sample| {
            sample.cpu
        });
        figure(
            &mut text,
            row,
            "peak memory, MiB",
            row.goal.memory,
            |sample| sample.memory,
        );
        if row.rbake.iter().any(|sample| sample.daemon > 0.0) {
            figure(&mut text, row, "daemon CPU, s", None, |sample| {
                sample.daemon
            });
        }
        if let (Some(ours), Some(theirs)) = (row.rbake_bytes, row.buildx_bytes) {
            #[expect(clippy::cast_precision_loss, reason = "a ratio of two digits")]
            line(
                &mut text,
                &row.name,
                "socket, KiB",
                Some(ours as f64 / 1024.0),
                Some(theirs as f64 / 1024.0),
                None,
            );
        }
    }
    text
}

fn figure(
    text: &mut String,
    row: &Row,
    name: &str,
    goal: Option<f64>,
    of: impl Fn(&Sample) -> f64,
) {
    let ours = median(row.rbake.iter().map(&of).collect());
    let theirs = median(row.buildx.iter().map(&of).collect());
    line(text, &row.name, name, ours, theirs, goal);
}

fn absolute(text: &mut String, scenario: &str, least: Option<f64>, goal: f64) {
    let met = least.is_some_and(|least| least <= goal);
    let _ = writeln!(
        text,
        "| {scenario} | least wall, s | {:.3} | – | – | ≤ {goal} s{} |",
        least.unwrap_or(f64::NAN),
        if met { ", met" } else { ", missed" }
    );
}

fn line(
    text: &mut String,
    scenario: &str,
    name: &str,
    ours: Option<f64>,
    theirs: Option<f64>,
    goal: Option<f64>,
) {
    let cell =
        |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
    let ratio = match (ours, theirs) {
        (Some(ours), Some(theirs)) if theirs > 0.0 => Some(ours / theirs),
        _ => None,
    };
    let goal = goal.map_or_else(String::new, |goal| {
        let met = ratio.is_some_and(|ratio| ratio <= goal);
        format!("≤ {goal:.4}{}", if met { ", met" } else { ", missed" })
    });
    let _ = writeln!(
        text,
        "| {scenario} | {name} | {} | {} | {} | {goal} |",
        cell(ours),
        cell(theirs),
        cell(ratio)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn goals_are_judged() {
        let mut row = Row::new(
            "x".into(),
            Goal {
                wall: Some(0.5),
                ..Goal::default()
            },
        );
        row.rbake.push(Sample {
            wall: 1.0,
            ..Sample::default()
        });
        row.buildx.push(Sample {
            wall: 4.0,
            ..Sample::default()
        });
        assert!(
            render(&[row], &[])
                .contains("| x | wall, s | 1.0000 | 4.0000 | 0.2500 | ≤ 0.5000, met |")
        );
    }
}
