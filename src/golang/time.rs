//! Points in time and durations, as Go's `time` parses and formats them.
//!
//! Timestamps here go beyond the year 9999, but `jiff`'s calendar does not. The calendar repeats every 400 years,
//! weekdays included, so a date is computed in the 400 years that begin with 2000 and then shifted by whole cycles.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::civil::{Date, DateTime, date};

const SECONDS_PER_DAY: i64 = 86_400;
const YEARS_PER_CYCLE: i64 = 400;
const DAYS_PER_CYCLE: i64 = 146_097;
const CYCLE: Date = date(2000, 1, 1);
/// The days from 1970-01-01 to [`CYCLE`].
const DAYS_BEFORE_CYCLE: i64 = 10_957;

/// English names of the months, January first.
pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// English names of the days of the week, Sunday first.
pub(crate) const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// A point in time, and the UTC offset in which to show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timestamp {
    /// Unix time: seconds since 1970-01-01T00:00:00Z.
    pub(crate) seconds: i64,
    nanoseconds: u32,
    /// Seconds east of UTC.
    pub(crate) offset: i32,
}

/// Date and time of day at some UTC offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Civil {
    /// The year 0 is the year before the year 1.
    pub(crate) year: i64,
    /// 1 to 12.
    pub(crate) month: u8,
    /// 1 to 31.
    pub(crate) day: u8,
    /// 1 to 366.
    pub(crate) year_day: u16,
    /// 0 is Sunday.
    pub(crate) weekday: u8,
    /// 0 to 23.
    pub(crate) hour: u8,
    /// 0 to 59.
    pub(crate) minute: u8,
    /// 0 to 59; there are no leap seconds.
    pub(crate) second: u8,
}

impl Timestamp {
    /// The time at the Unix time `seconds`, shown in UTC.
    pub(crate) fn from_unix(seconds: i64) -> Self {
        Self {
            seconds,
            nanoseconds: 0,
            offset: 0,
        }
    }

    /// The time in UTC, rounded down to whole seconds.
    pub(crate) fn from_system(time: SystemTime) -> Self {
        let seconds = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            Err(before) => {
                let before = before.duration();
                let whole = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
                -whole - i64::from(before.subsec_nanos() > 0)
            }
        };
        Self::from_unix(seconds)
    }

    /// Parses an RFC 3339 timestamp as strictly as go-cty: with a capital `T` and a capital `Z`. The error says
    /// which part is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let invalid = |reason: String| format!("not a valid RFC3339 timestamp: {reason}");
        let mut fields = Fields { rest: text };
        let year = fields.number(4, "year", 0..=9999).map_err(invalid)?;
        fields.expect('-').map_err(invalid)?;
        let month = fields.number(2, "month", 1..=12).map_err(invalid)?;
        fields.expect('-').map_err(invalid)?;
        let first = date(small(year), small(month), 1);
        let last = i64::from(first.days_in_month());
        let day = fields
            .number(2, "day of month", 1..=last)
            .map_err(invalid)?;
        if fields.expect('T').is_err() {
            return Err(invalid("missing required time introducer 'T'".into()));
        }
        let hour = fields.number(2, "hour", 0..=23).map_err(invalid)?;
        fields.expect(':').map_err(invalid)?;
        let minute = fields.number(2, "minute", 0..=59).map_err(invalid)?;
        fields.expect(':').map_err(invalid)?;
        let second = fields.number(2, "second", 0..=59).map_err(invalid)?;
        let nanoseconds = fields.fraction();
        let offset = fields.offset().map_err(invalid)?;
        let local = first
            .at(small(hour), small(minute), small(second), 0)
            .duration_since(DateTime::from(date(1970, 1, 1)))
            .as_secs()
            + (day - 1) * SECONDS_PER_DAY;
        Ok(Self {
            seconds: local - i64::from(offset),
            nanoseconds,
            offset,
        })
    }

    /// Date and time of day at this offset.
    pub(crate) fn civil(self) -> Civil {
        let local = i128::from(self.seconds) + i128::from(self.offset);
        let days = i64::try_from(local.div_euclid(i128::from(SECONDS_PER_DAY))).unwrap_or(i64::MAX);
        let of_day = i64::try_from(local.rem_euclid(i128::from(SECONDS_PER_DAY))).unwrap_or(0);
        let (date, years) = date_of(days);
        Civil {
            year: i64::from(date.year()) + years,
            month: small(i64::from(date.month())),
            day: small(i64::from(date.day())),
            year_day: small(i64::from(date.day_of_year())),
            weekday: small(i64::from(date.weekday().to_sunday_zero_offset())),
            hour: small(of_day / 3600),
            minute: small(of_day / 60 % 60),
            second: small(of_day % 60),
        }
    }

    /// The ISO 8601 year and week of the day.
    pub(crate) fn iso_week(self) -> (i64, i64) {
        let local = i128::from(self.seconds) + i128::from(self.offset);
        let days = local.div_euclid(i128::from(SECONDS_PER_DAY));
        let (date, years) = date_of(i64::try_from(days).unwrap_or(i64::MAX));
        let week = date.iso_week_date();
        (i64::from(week.year()) + years, i64::from(week.week()))
    }

    /// Formats the time by RFC 3339, without a fraction of a second.
    pub(crate) fn rfc3339(self) -> String {
        let civil = self.civil();
        format!(
            "{}-{:02}-{:02}T{:02}:{:02}:{:02}{}",
            year_text(civil.year),
            civil.month,
            civil.day,
            civil.hour,
            civil.minute,
            civil.second,
            self.zone(":", true)
        )
    }

    /// Formats the offset as `+02:00`, with `separator` in place of the colon. If `zulu` is set, UTC is `Z`.
    pub(crate) fn zone(self, separator: &str, zulu: bool) -> String {
        if self.offset == 0 && zulu {
            return "Z".into();
        }
        let sign = if self.offset < 0 { '-' } else { '+' };
        let minutes = self.offset.unsigned_abs() / 60;
        format!("{sign}{:02}{separator}{:02}", minutes / 60, minutes % 60)
    }

    /// The time `nanoseconds` later. `None` if it is out of range.
    pub(crate) fn after(self, nanoseconds: i64) -> Option<Self> {
        let total = i64::from(self.nanoseconds).checked_add(nanoseconds % 1_000_000_000)?;
        let seconds = self
            .seconds
            .checked_add(nanoseconds / 1_000_000_000)?
            .checked_add(total.div_euclid(1_000_000_000))?;
        Some(Self {
            seconds,
            nanoseconds: u32::try_from(total.rem_euclid(1_000_000_000)).ok()?,
            ..self
        })
    }
}

/// Formats a year with at least four digits, after a `-` if it is negative.
pub(crate) fn year_text(year: i64) -> String {
    if year < 0 {
        format!("-{:04}", year.unsigned_abs())
    } else {
        format!("{year:04}")
    }
}

/// Converts a part of a date or time that is in range already, so the default is never used.
fn small<T: TryFrom<i64> + Default>(value: i64) -> T {
    T::try_from(value).unwrap_or_default()
}

/// The day `days` after 1970-01-01, as a date in the cycle that begins with 2000, and the number of years to add to
/// it.
fn date_of(days: i64) -> (Date, i64) {
    let days = days.saturating_sub(DAYS_BEFORE_CYCLE);
    let within = jiff::Span::new().days(days.rem_euclid(DAYS_PER_CYCLE));
    let years = days.div_euclid(DAYS_PER_CYCLE) * YEARS_PER_CYCLE;
    (CYCLE.saturating_add(within), years)
}

/// The rest of a timestamp. Each method takes one part off its start.
struct Fields<'a> {
    rest: &'a str,
}

impl Fields<'_> {
    /// Takes exactly `digits` digits, whose number must be in `allowed`. `what` names the part in messages.
    fn number(
        &mut self,
        digits: usize,
        what: &str,
        allowed: std::ops::RangeInclusive<i64>,
    ) -> Result<i64, String> {
        let Some(text) = self.rest.get(..digits) else {
            return Err(format!("end of string before {what}"));
        };
        let value = text
            .bytes()
            .all(|digit| digit.is_ascii_digit())
            .then(|| text.parse().ok())
            .flatten()
            .filter(|value| allowed.contains(value))
            .ok_or_else(|| {
                format!(
                    "cannot use \"{text}\" as {what}, which must be between {} and {} inclusive",
                    allowed.start(),
                    allowed.end()
                )
            })?;
        self.rest = &self.rest[digits..];
        Ok(value)
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(match self.rest.chars().next() {
                Some(found) => format!("found \"{found}\" where \"{wanted}\" is expected"),
                None => format!("end of string where \"{wanted}\" is expected"),
            }),
        }
    }

    /// Parses an optional fraction of a second and returns it in nanoseconds. Digits after the ninth are ignored.
    fn fraction(&mut self) -> u32 {
        let Some(fraction) = self.rest.strip_prefix('.') else {
            return 0;
        };
        let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if length == 0 {
            return 0;
        }
        self.rest = &fraction[length..];
        let kept = &fraction[..length.min(9)];
        let scale = 10u32.pow(u32::try_from(9 - kept.len()).unwrap_or_default());
        kept.parse::<u32>().unwrap_or_default() * scale
    }

    /// Takes the UTC offset, in seconds, which must end the timestamp.
    fn offset(&mut self) -> Result<i32, String> {
        if self.rest == "Z" {
            return Ok(0);
        }
        let sign = match self.rest.chars().next() {
            Some('+') => 1,
            Some('-') => -1,
            Some(_) => return Err(format!("cannot use \"{}\" as UTC offset", self.rest)),
            None => return Err("end of string before UTC offset".into()),
        };
        self.rest = &self.rest[1..];
        let hours = self.number(2, "hours of the UTC offset", 0..=23)?;
        self.expect(':')?;
        let minutes = self.number(2, "minutes of the UTC offset", 0..=59)?;
        if !self.rest.is_empty() {
            return Err(format!("extra text \"{}\"", self.rest));
        }
        Ok(sign * i32::try_from(hours * 3600 + minutes * 60).unwrap_or_default())
    }
}

/// Parses a duration such as `-1h30m`, `1.5s` or `100ms` and returns nanoseconds. The error is Go's message.
pub(crate) fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration \"{text}\"");
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned == "0" {
        return Ok(0);
    }
    if unsigned.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    let mut rest = unsigned;
    while !rest.is_empty() {
        let whole_end = digits_at(rest);
        let (whole, tail) = rest.split_at(whole_end);
        let (fraction, tail) = match tail.strip_prefix('.') {
            Some(tail) => tail.split_at(digits_at(tail)),
            None => ("", tail),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let unit_end = tail
            .find(|char: char| char == '.' || char.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let scale: u64 = match unit {
            "" => return Err(format!("time: missing unit in duration \"{text}\"")),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => {
                return Err(format!(
                    "time: unknown unit \"{unit}\" in duration \"{text}\""
                ));
            }
        };
        let whole: u64 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| invalid())?
        };
        total = whole
            .checked_mul(scale)
            .and_then(|whole| whole.checked_add(part_of(fraction, scale)))
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= 1 << 63)
            .ok_or_else(invalid)?;
        rest = tail;
    }
    if text.starts_with('-') {
        // The magnitude may be 2^63, one more than for positive durations, as in Go.
        return Ok(0i64.wrapping_sub_unsigned(total));
    }
    i64::try_from(total).map_err(|_| invalid())
}

/// The number of ASCII digits at the start of `text`.
fn digits_at(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// Computes `0.fraction * scale`, rounded down to whole nanoseconds.
fn part_of(fraction: &str, scale: u64) -> u64 {
    // Further digits are less than a nanosecond, even of an hour. The limit keeps the product within 128 bits.
    let kept = &fraction[..fraction.len().min(18)];
    let digits: u128 = kept.parse().unwrap_or(0);
    let divisor = 10u128.pow(u32::try_from(kept.len()).unwrap_or_default());
    u64::try_from(digits * u128::from(scale) / divisor).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str) -> String {
        match Timestamp::parse(text) {
            Ok(timestamp) => timestamp.rfc3339(),
            Err(error) => error,
        }
    }

    #[test]
    fn timestamps_round_trip() {
        for text in [
            "2024-02-29T23:59:59Z",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59-23:59",
            "1969-12-31T23:59:59+05:30",
        ] {
            assert_eq!(round_trip(text), text);
        }
        assert_eq!(
            round_trip("2024-01-02T03:04:05.999999999999-00:00"),
            "2024-01-02T03:04:05Z"
        );
    }

    #[test]
    fn only_rfc3339_is_accepted() {
        for text in [
            "2024-01-02",
            "2024-1-2T03:04:05Z",
            "2023-02-29T00:00:00Z",
            "2024-01-02t03:04:05Z",
            "2024-01-02T03:04:05z",
            "2024-01-02T24:00:00Z",
            "2024-01-02T03:04:60Z",
            "2024-01-02T03:04:05",
            "2024-01-02T03:04:05+24:00",
            "2024-01-02T03:04:05+0200",
            "2024-01-02T03:04:05Zx",
            "2024-01-02T03:04:05,5Z",
            "2024-01-02T03:04:05.Z",
            "2024-01-02 03:04:05Z",
            "2024-01-02T03:04:05é",
            "",
        ] {
            assert!(
                round_trip(text).starts_with("not a valid RFC3339 timestamp: "),
                "{text}"
            );
        }
    }

    #[test]
    fn dates_beyond_the_range_of_jiff_are_supported() {
        let day = |days: i64| Timestamp::from_unix(days * SECONDS_PER_DAY).rfc3339();
        // As printed by Go 1.26.
        assert_eq!(day(0), "1970-01-01T00:00:00Z");
        assert_eq!(day(-719_529), "-0001-12-31T00:00:00Z");
        assert_eq!(day(-1_000_000), "-0768-02-04T00:00:00Z");
        assert_eq!(day(10_000_000), "29349-01-26T00:00:00Z");
        let weekday = |days: i64| Timestamp::from_unix(days * SECONDS_PER_DAY).civil().weekday;
        for days in (-800_000..800_000).step_by(101) {
            assert_eq!(i64::from(weekday(days)), (days + 4).rem_euclid(7), "{days}");
        }
    }

    #[test]
    fn weeks_are_those_of_iso_8601() {
        assert_eq!(
            Timestamp::parse("2021-01-03T00:00:00Z").unwrap().iso_week(),
            (2020, 53)
        );
        assert_eq!(
            Timestamp::parse("2024-12-30T00:00:00Z").unwrap().iso_week(),
            (2025, 1)
        );
    }

    #[test]
    fn durations_are_parsed_as_in_go() {
        assert_eq!(parse_duration("1h30m"), Ok(5_400_000_000_000));
        assert_eq!(parse_duration("-1.5s"), Ok(-1_500_000_000));
        assert_eq!(parse_duration("+.5ms2µs"), Ok(502_000));
        assert_eq!(parse_duration("0"), Ok(0));
        assert_eq!(parse_duration("-9223372036854775808ns"), Ok(i64::MIN));
        for text in [
            "",
            "-",
            "1",
            "1d",
            ".s",
            "1h ",
            "9223372036854775808ns",
            "1e3s",
            "h",
        ] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }
}
