//! Process limits (`ulimit`), written as `name=soft[:hard]`.

use std::fmt;

/// A process limit. The value `-1` means unlimited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    /// The name, one of [`Self::NAMES`].
    pub(crate) name: &'static str,
    /// The limit with which a process starts.
    pub(crate) soft: i64,
    /// The value up to which the process can raise it.
    pub(crate) hard: i64,
}

/// The text is not a valid limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UlimitError {
    /// It has no `=`.
    #[error("`{0}` must have the form `name=soft[:hard]`")]
    Form(String),
    /// There is no limit with this name.
    #[error("`{0}` is not a valid name for a limit")]
    Name(String),
    /// A value is not a whole number.
    #[error("`{0}` is not a whole number")]
    Number(String),
    /// The soft limit is above the hard one.
    #[error("the soft limit `{soft}` is above the hard limit `{hard}`")]
    Order {
        /// The soft limit.
        soft: i64,
        /// The hard limit.
        hard: i64,
    },
}

impl Ulimit {
    /// The names of all limits.
    pub(crate) const NAMES: [&str; 15] = [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];

    /// Parses `name=soft[:hard]` (`go-units`, `ParseUlimit`).
    pub(crate) fn parse(text: &str) -> Result<Self, UlimitError> {
        let form = || UlimitError::Form(text.to_owned());
        let (name, values) = text.split_once('=').ok_or_else(form)?;
        let name = Self::NAMES
            .into_iter()
            .find(|known| *known == name)
            .ok_or_else(|| UlimitError::Name(name.to_owned()))?;
        let number = |text: &str| {
            text.parse::<i64>()
                .map_err(|_| UlimitError::Number(text.to_owned()))
        };
        let (soft, hard) = match *values.split(':').collect::<Vec<_>>().as_slice() {
            [soft] => (number(soft)?, number(soft)?),
            [soft, hard] => (number(soft)?, number(hard)?),
            _ => return Err(form()),
        };
        if hard != -1 && (soft == -1 || soft > hard) {
            return Err(UlimitError::Order { soft, hard });
        }
        Ok(Self { name, soft, hard })
    }
}

impl fmt::Display for Ulimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}:{}", self.name, self.soft, self.hard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("nofile=1024", "nofile=1024:1024")]
    #[test_case("nofile=1024:2048", "nofile=1024:2048")]
    #[test_case("core=-1", "core=-1:-1"; "unlimited")]
    #[test_case("core=1:-1", "core=1:-1"; "hard unlimited")]
    fn limits_are_parsed(text: &str, expected: &str) {
        assert_eq!(
            Ulimit::parse(text).map(|limit| limit.to_string()),
            Ok(expected.to_owned())
        );
    }

    #[test_case("nofile"; "no value")]
    #[test_case("nofiles=1"; "unknown name")]
    #[test_case("nofile=1:2:3"; "three values")]
    #[test_case("nofile=a"; "not a number")]
    #[test_case("nofile="; "empty value")]
    #[test_case("nofile=2:1"; "soft above hard")]
    #[test_case("nofile=-1:1"; "soft unlimited")]
    fn invalid_limits_are_refused(text: &str) {
        assert!(Ulimit::parse(text).is_err());
    }
}
