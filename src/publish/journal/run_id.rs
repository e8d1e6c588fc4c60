//! The name of a run.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

use crate::types::Clock;

/// The name of a run, such as `20261128T223000Z-0a1b2c3d`: its time in UTC, three hexadecimal digits of the millisecond, and
/// five random ones.
///
/// As text, names sort by time (within a millisecond, at random). The name is legal as a part of a tag and as the name of a
/// file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RunId(String);

/// The text is not the name of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a run (such as `20261128T223000Z-0a1b2c3d`)")]
pub(crate) struct InvalidRunId;

impl RunId {
    /// A new name, and the time in it.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn new(clock: &Clock) -> Result<(Self, Timestamp), getrandom::Error> {
        let now = Timestamp::try_from(clock.now()).unwrap_or_default();
        let mut random = [0; 4];
        getrandom::fill(&mut random)?;
        let milliseconds = now.subsec_millisecond();
        let now = Timestamp::from_second(now.as_second()).unwrap_or_default();
        let random: String = hex::encode(random).chars().take(5).collect();
        let id = format!(
            "{}-{milliseconds:03x}{random}",
            now.strftime("%Y%m%dT%H%M%SZ")
        );
        Ok((Self(id), now))
    }

    /// The beginning of the names of runs that are older than this one by `age`.
    pub(crate) fn older_by(&self, age: SignedDuration) -> String {
        let text = self.0.get(..16).unwrap_or_default();
        let time = Timestamp::strptime("%Y%m%dT%H%M%S%#z", text.replace('Z', "+0000"));
        let older = time.ok().and_then(|time| time.checked_sub(age).ok());
        let older = older.unwrap_or(Timestamp::MIN);
        older.strftime("%Y%m%dT%H%M%SZ").to_string()
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunId {
    type Err = InvalidRunId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &[u8] = b"00000000T000000Z-xxxxxxxx";
        let fits = |(form, byte): (&u8, u8)| match form {
            b'0' => byte.is_ascii_digit(),
            b'x' => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            other => byte == *other,
        };
        if text.len() == FORM.len() && FORM.iter().zip(text.bytes()).all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidRunId)
        }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
