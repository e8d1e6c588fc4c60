//! Settings of the embedded builder that come from environment variables.

use std::time::Duration;

use crate::types::Environment;

/// The variable for the idle time after which the builder stops.
pub const IDLE_VARIABLE: &str = "RBAKE_BUILDER_IDLE";

/// The idle time if [`IDLE_VARIABLE`] is not set.
pub(crate) const DEFAULT_IDLE: Duration = Duration::from_secs(10 * 60);

/// The text is not an idle time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not an idle time (expected a number with `s`, `m` or `h`, such as `10m`, or `never`)"
)]
pub struct InvalidIdle {
    text: String,
}

/// How long the builder keeps running without clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idle {
    /// It stops after this time.
    After(Duration),
    /// It keeps running until it is asked to stop.
    Never,
}

impl Idle {
    /// The value of the variable, or the default if it is not set.
    pub(crate) fn of(environment: &Environment) -> Result<Self, InvalidIdle> {
        match environment.non_empty(IDLE_VARIABLE) {
            Some(text) => text.parse(),
            None => Ok(Self::After(DEFAULT_IDLE)),
        }
    }
}

impl std::str::FromStr for Idle {
    type Err = InvalidIdle;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidIdle {
            text: text.to_owned(),
        };
        let trimmed = text.trim();
        if trimmed == "never" {
            return Ok(Self::Never);
        }
        let (number, unit) = trimmed
            .split_at_checked(trimmed.len().saturating_sub(1))
            .ok_or_else(invalid)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(invalid()),
        };
        let number: u32 = number.parse().map_err(|_| invalid())?;
        Ok(Self::After(Duration::from_secs(
            u64::from(number) * seconds,
        )))
    }
}

impl std::fmt::Display for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::After(time) => write!(f, "{}s", time.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("10m", Idle::After(Duration::from_secs(600)))]
    #[test_case("0s", Idle::After(Duration::ZERO))]
    #[test_case("2h", Idle::After(Duration::from_secs(7200)))]
    #[test_case("never", Idle::Never)]
    fn valid_idle_times_are_parsed(text: &str, idle: Idle) {
        assert_eq!(text.parse(), Ok(idle));
        assert_eq!(idle.to_string().parse(), Ok(idle));
    }

    #[test_case("")]
    #[test_case("10")]
    #[test_case("m")]
    #[test_case("-1m")]
    #[test_case("1d")]
    #[test_case("ä")]
    fn invalid_idle_times_are_refused(text: &str) {
        assert!(text.parse::<Idle>().is_err());
    }

    #[test]
    fn the_variable_sets_the_idle_time() {
        let environment = Environment::of([(IDLE_VARIABLE, "5s")], "/");
        assert_eq!(
            Idle::of(&environment),
            Ok(Idle::After(Duration::from_secs(5)))
        );
        assert_eq!(
            Idle::of(&Environment::of([], "/")),
            Ok(Idle::After(DEFAULT_IDLE))
        );
    }
}
