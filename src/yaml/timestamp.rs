//! Dates, which YAML has but Compose does not expect. They are parsed as go-yaml does, and printed as Go does.

use std::fmt;

use jiff::civil::Date;

/// A date, with or without a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct YamlTimestamp {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    nanosecond: u32,
    /// The offset from UTC in minutes, positive to the east.
    offset: i16,
}

impl YamlTimestamp {
    /// Parses the forms `2001-12-14`, `2001-12-14 21:59:43.10` and `2001-12-14T21:59:43.10-05:00`. `None` for any
    /// other text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut rest = Reader(text);
        let year = rest.digits(4, 4)?;
        rest.literal("-")?;
        let month = rest.digits(1, 2)?;
        rest.literal("-")?;
        let day = rest.digits(1, 2)?;
        let mut found = Self {
            year: u16::try_from(year).ok()?,
            month: u8::try_from(month).ok()?,
            day: u8::try_from(day).ok()?,
            hour: 0,
            minute: 0,
            second: 0,
            nanosecond: 0,
            offset: 0,
        };
        Date::new(
            i16::try_from(year).ok()?,
            i8::try_from(month).ok()?,
            i8::try_from(day).ok()?,
        )
        .ok()?;
        if rest.0.is_empty() {
            return Some(found);
        }
        let zoned = rest.literal("T").or_else(|| rest.literal("t")).is_some();
        if !zoned {
            // A space in a layout of Go's `time.Parse` matches any number of spaces.
            rest.literal(" ")?;
            rest.0 = rest.0.trim_start_matches(' ');
        }
        found.hour = rest.below(24)?;
        rest.literal(":")?;
        found.minute = rest.below(60)?;
        rest.literal(":")?;
        found.second = rest.below(60)?;
        found.nanosecond = rest.fraction()?;
        if zoned {
            found.offset = rest.offset()?;
        }
        rest.0.is_empty().then_some(found)
    }
}

/// Formats the time as Go's `time.Time.String` does.
impl fmt::Display for YamlTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
            ..
        } = self;
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
        )?;
        if self.nanosecond > 0 {
            let fraction = format!("{:09}", self.nanosecond);
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        if self.offset == 0 {
            return f.write_str(" +0000 UTC");
        }
        let sign = if self.offset < 0 { '-' } else { '+' };
        let (hours, minutes) = (self.offset.abs() / 60, self.offset.abs() % 60);
        let offset = format!("{sign}{hours:02}{minutes:02}");
        write!(f, " {offset} {offset}")
    }
}

struct Reader<'a>(&'a str);

impl Reader<'_> {
    fn literal(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// Takes between `least` and `most` digits from the start of the text.
    fn digits(&mut self, least: usize, most: usize) -> Option<u32> {
        let digits = self.0.bytes().take(most);
        let count = digits.take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        (count >= least).then(|| digits.parse().ok()).flatten()
    }

    /// Takes a number of one or two digits that is less than `limit`.
    fn below(&mut self, limit: u8) -> Option<u8> {
        let number = u8::try_from(self.digits(1, 2)?).ok()?;
        (number < limit).then_some(number)
    }

    /// Parses the fraction after the seconds. Go accepts one even if the layout has none, after a point or a
    /// comma, and ignores digits after the ninth.
    fn fraction(&mut self) -> Option<u32> {
        let Some(rest) = self.0.strip_prefix(['.', ',']) else {
            return Some(0);
        };
        let count = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = rest.split_at(count);
        self.0 = rest;
        if count == 0 {
            return None;
        }
        let digits: String = digits.chars().chain("000000000".chars()).take(9).collect();
        digits.parse().ok()
    }

    fn offset(&mut self) -> Option<i16> {
        if self.literal("Z").is_some() {
            return Some(0);
        }
        let sign = match self.0.as_bytes().first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.0 = &self.0[1..];
        let hours = self.digits(2, 2)?;
        self.literal(":")?;
        let minutes = self.digits(2, 2)?;
        if hours > 24 || minutes > 60 {
            return None;
        }
        Some(sign * i16::try_from(hours * 60 + minutes).ok()?)
    }
}
