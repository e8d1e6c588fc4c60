//! Tables, and sizes, durations and platforms as buildx prints them.

use std::time::{Duration, SystemTime};

use crate::types::Platform;
use crate::types::terminal;

/// The space between two columns.
const GAP: usize = 3;

/// Lays out rows in columns, which are as wide as their longest cell. Cells come from files and daemons, so
/// characters on which a terminal acts are written as numbers.
pub(super) fn table(rows: &[Vec<String>], gap: usize) -> String {
    let mut widths: Vec<usize> = Vec::new();
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            row.iter()
                .map(|cell| terminal::visible(cell).into_owned())
                .collect()
        })
        .collect();
    for row in &rows {
        // The last cell of a row does not make its column wider.
        let cells = row.len().saturating_sub(1);
        widths.resize(widths.len().max(cells), 0);
        for (width, cell) in widths.iter_mut().zip(row.iter().take(cells)) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (number, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if let Some(width) = widths.get(number).filter(|_| number + 1 < row.len()) {
                let pad = (width + gap).saturating_sub(cell.chars().count());
                line.extend(std::iter::repeat_n(' ', pad));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The same, with the usual gap.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    table(rows, GAP)
}

/// Lines of a label and a value, as `Name:   value`. The values are below each other.
#[derive(Debug, Default)]
pub(super) struct LabelledLines(Vec<Vec<String>>);

impl LabelledLines {
    pub(super) fn line(&mut self, label: &str, value: impl Into<String>) {
        self.0.push(vec![format!("{label}:"), value.into()]);
    }

    /// A line below a heading.
    pub(super) fn below(&mut self, label: &str, value: impl Into<String>) {
        self.0.push(vec![format!(" {label}:"), value.into()]);
    }

    /// A heading of the lines below it.
    pub(super) fn heading(&mut self, text: &str) {
        self.0.push(vec![format!("{text}:"), String::new()]);
    }

    pub(super) fn text(&self) -> String {
        table(&self.0, 1)
    }
}

/// A number with four significant digits and a unit. `base` is that of the units.
fn scaled(bytes: u64, base: f64, units: &[&str]) -> String {
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let mut size = bytes as f64;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while size >= base {
        let Some(next) = units.next() else { break };
        size /= base;
        unit = next;
    }
    let decimals = match size {
        s if s < 10.0 => 3,
        s if s < 100.0 => 2,
        s if s < 1000.0 => 1,
        _ => 0,
    };
    let mut number = format!("{size:.decimals$}");
    if number.contains('.') {
        number.truncate(number.trim_end_matches('0').trim_end_matches('.').len());
    }
    format!("{number}{unit}")
}

/// A size in powers of 1024, such as `9.313GiB` (`BytesSize` of Docker's go-units).
pub(super) fn binary_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    scaled(bytes, 1024.0, &UNITS)
}

/// A size in powers of 1000, such as `1.235MB` (`HumanSize` of Docker's go-units).
pub(super) fn decimal_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    scaled(bytes, 1000.0, &UNITS)
}

/// How long `time` is ago, in one unit (`HumanDuration` of Docker's go-units).
pub(super) fn time_ago(time: SystemTime, now: SystemTime) -> String {
    const HOUR: u64 = 3600;
    const DAY: u64 = 24 * HOUR;
    let seconds = now.duration_since(time).unwrap_or_default().as_secs();
    // Hours are rounded, as in go-units.
    let hours = (seconds + HOUR / 2) / HOUR;
    let text = match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..HOUR => format!("{} minutes", seconds / 60),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 14 * 24 => format!("{} days", hours / 24),
        _ if hours < 60 * 24 => format!("{} weeks", hours / 24 / 7),
        _ if seconds < 2 * 365 * DAY => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    };
    text + " ago"
}

/// A duration as Go prints it, such as `48h0m0s` or `1m30s`. Parts of a second are left out.
pub(super) fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{}s", seconds % 60),
        _ => format!("{hours}h{minutes}m{}s", seconds % 60),
    }
}

/// The platforms of a node: those that the user fixed, with a star, then the others that it reports.
pub(super) fn platforms(fixed: &[Platform], reported: &[Platform]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for platform in fixed {
        let text = format!("{platform}*");
        if !all.contains(&text) {
            all.push(text);
        }
    }
    for platform in reported.iter().filter(|platform| !fixed.contains(platform)) {
        all.push(platform.to_string());
    }
    all
}

/// The platforms as a short text: at most four architectures, each with the number of its variants.
pub(super) fn few_platforms(all: &[String]) -> String {
    const FEW: usize = 4;
    const COMMON: [&str; 7] = [
        "linux/amd64",
        "linux/arm64",
        "linux/arm",
        "linux/ppc64le",
        "linux/s390x",
        "linux/riscv64",
        "linux/mips64",
    ];
    let group = |text: &str| {
        let mut parts = text.trim_end_matches('*').splitn(3, '/');
        let os = parts.next().unwrap_or_default().to_owned();
        format!("{os}/{}", parts.next().unwrap_or_default())
    };
    let mut groups: Vec<(String, Vec<&String>)> = Vec::new();
    for text in all {
        let name = group(text);
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, members)) => members.push(text),
            None => groups.push((name, vec![text])),
        }
    }
    // Common ones first, in a fixed order.
    groups.sort_by_key(|(name, _)| {
        let place = COMMON.iter().position(|common| common == name);
        place.unwrap_or(COMMON.len())
    });
    let left: usize = groups
        .iter()
        .skip(FEW)
        .map(|(_, members)| members.len())
        .sum();
    let mut parts: Vec<String> = groups
        .iter()
        .take(FEW)
        .map(|(name, members)| match members.as_slice() {
            [only] => (*only).clone(),
            many => {
                let star = if many.iter().any(|m| m.ends_with('*')) {
                    "*"
                } else {
                    ""
                };
                format!("{name}{star} (+{})", many.len())
            }
        })
        .collect();
    if left > 0 {
        parts.push(format!("({left} more)"));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case(0, "0B")]
    #[test_case(1023, "1023B")]
    #[test_case(1024, "1KiB")]
    #[test_case(10_000_000_000, "9.313GiB")]
    #[test_case(1_048_064, "1024KiB"; "rounded up to the next unit")]
    #[test_case(u64::MAX, "16EiB")]
    fn sizes_have_four_digits(bytes: u64, expected: &str) {
        assert_eq!(binary_size(bytes), expected);
    }

    #[test_case(999, "999B")]
    #[test_case(1000, "1kB")]
    #[test_case(1_234_567, "1.235MB")]
    fn sizes_of_caches_are_in_powers_of_a_thousand(bytes: u64, expected: &str) {
        assert_eq!(decimal_size(bytes), expected);
    }

    #[test_case(0, "Less than a second ago")]
    #[test_case(59, "59 seconds ago")]
    #[test_case(60, "About a minute ago")]
    #[test_case(3599, "59 minutes ago")]
    #[test_case(3600, "About an hour ago")]
    #[test_case(3600 * 47, "47 hours ago")]
    #[test_case(3600 * 24 * 13, "13 days ago")]
    #[test_case(3600 * 24 * 15, "2 weeks ago")]
    #[test_case(3600 * 24 * 61, "2 months ago")]
    #[test_case(3600 * 24 * 800, "2 years ago")]
    fn times_are_shown_in_one_unit(seconds: u64, expected: &str) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 31);
        assert_eq!(time_ago(now - Duration::from_secs(seconds), now), expected);
    }

    #[test]
    fn a_time_in_the_future_is_now() {
        let now = SystemTime::UNIX_EPOCH;
        assert_eq!(
            time_ago(now + Duration::from_secs(9), now),
            "Less than a second ago"
        );
    }

    #[test_case(0, "0s")]
    #[test_case(90, "1m30s")]
    #[test_case(172_800, "48h0m0s")]
    fn durations_are_printed_as_in_go(seconds: u64, expected: &str) {
        assert_eq!(go_duration(Duration::from_secs(seconds)), expected);
    }

    #[test]
    fn fixed_platforms_have_a_star_and_come_first() {
        let parse = |text: &str| text.parse::<Platform>().unwrap();
        let all = platforms(
            &[parse("linux/arm64")],
            &[parse("linux/amd64"), parse("linux/arm64")],
        );
        assert_eq!(all, ["linux/arm64*", "linux/amd64"]);
    }

    #[test]
    fn many_platforms_are_cut_to_four_architectures() {
        let all: Vec<String> = [
            "linux/386",
            "linux/amd64",
            "linux/amd64/v2",
            "linux/riscv64",
            "linux/arm/v7*",
            "linux/arm/v6",
            "windows/amd64",
            "darwin/arm64",
        ]
        .map(str::to_owned)
        .to_vec();
        assert_eq!(
            few_platforms(&all),
            "linux/amd64 (+2), linux/arm* (+2), linux/riscv64, linux/386, (2 more)"
        );
    }

    #[test]
    fn cells_with_control_characters_do_not_break_the_table() {
        let rows = [
            vec!["a\n".to_owned(), "b\u{1b}[2J".to_owned()],
            vec!["long name".to_owned(), "c".to_owned()],
        ];
        assert_eq!(columns(&rows), "a\\u000a     b\\u001b[2J\nlong name   c\n");
    }
}
