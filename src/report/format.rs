//! Formats durations, sizes and counts for people.

use std::time::Duration;

use super::text;
use crate::event::Transfer;

/// Formats as `0.3s`, `42.1s`, `3m07s` or `2h05m`.
pub(crate) fn duration(duration: Duration) -> String {
    let tenths = (duration.as_millis() + 50) / 100;
    let seconds = duration.as_secs();
    match seconds {
        _ if tenths < 600 => format!("{}.{}s", tenths / 10, tenths % 10),
        ..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// Formats without tenths: `7s`, `3m07s`, `2h05m`.
pub(crate) fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ ..60 => format!("{seconds}s"),
        _ => self::duration(duration),
    }
}

/// Formats as `512 B`, `12.3 kB` or `4.56 MB`: powers of 1000, three digits.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        // Larger values would be rounded to `1000`, so they get the next unit.
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    let digits = match value {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// Formats as `1 target` or `3 targets`. The plural of `noun` must be formed with `s`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", thousands(number as u64))
}

/// Formats as `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns `part` of `whole` in percent, rounded down, so that 100 means all of it. `None` if `whole` is 0.
pub(crate) fn percent(part: u64, whole: u64) -> Option<u64> {
    let hundredfold = u128::from(part.min(whole)) * 100;
    u64::try_from(hundredfold.checked_div(u128::from(whole))?).ok()
}

/// Returns what a transfer sends, and the name by which the daemon asks for it, or `None` if there is no
/// directory.
pub(crate) fn transferred(transfer: &Transfer) -> (String, Option<String>) {
    if transfer.dir.as_os_str().is_empty() {
        // A transfer without a directory: only the text of an inline Dockerfile is sent without files from the
        // disk.
        return ("the inline Dockerfile".to_owned(), None);
    }
    (
        text::clean_name(&transfer.dir.to_string_lossy(), 200),
        Some(text::clean_name(&transfer.local, 60)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case(0, "0.0s")]
    #[test_case(49, "0.0s")]
    #[test_case(50, "0.1s")]
    #[test_case(59_940, "59.9s")]
    #[test_case(59_960, "0m59s"; "just below a minute")]
    #[test_case(187_000, "3m07s")]
    #[test_case(7_530_000, "2h05m")]
    fn durations_are_short(millis: u64, text: &str) {
        assert_eq!(duration(Duration::from_millis(millis)), text);
    }

    #[test_case(999, "999 B")]
    #[test_case(1000, "1.00 kB")]
    #[test_case(12_345, "12.3 kB")]
    #[test_case(999_499, "999 kB")]
    #[test_case(999_500, "1.00 MB")]
    #[test_case(123_456_789, "123 MB")]
    #[test_case(u64::MAX, "18.4 EB")]
    fn sizes_have_three_digits(number: u64, text: &str) {
        assert_eq!(bytes(number), text);
    }

    #[test]
    fn a_transfer_without_a_directory_is_an_inline_dockerfile() {
        let transfer = |dir: &str| Transfer {
            id: 1,
            local: "dockerfile".to_owned(),
            dir: dir.into(),
            entries: 1,
            files: 1,
            bytes: 10,
            done: true,
        };
        assert_eq!(
            transferred(&transfer("")),
            ("the inline Dockerfile".to_owned(), None)
        );
        assert_eq!(
            transferred(&transfer("/src")),
            ("/src".to_owned(), Some("dockerfile".to_owned()))
        );
    }

    #[test]
    fn counts_and_percents() {
        assert_eq!(count(1, "file"), "1 file");
        assert_eq!(count(1_234_567, "file"), "1,234,567 files");
        assert_eq!(percent(999, 1000), Some(99));
        assert_eq!(percent(0, 0), None);
    }
}
