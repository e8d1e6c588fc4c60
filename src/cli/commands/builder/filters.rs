//! The filters of `rbake builder du` and `prune`, as buildx understands them (`commands/prune.go` at v0.36.1).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::diag::{Class, Diagnostic};
use crate::golang::time::parse_duration;

/// Which records of a cache are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RecordFilter {
    /// Filters of BuildKit. Empty for all records.
    pub(super) expressions: Vec<String>,
    /// Only records that were not used for this time.
    pub(super) unused_for: Duration,
}

/// A filter is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordFilterError {
    /// It is not of the form `KEY=VALUE`.
    #[error("`{0}` is not a valid filter (expected `KEY=VALUE`)")]
    Form(String),
    /// The key is given twice with different values.
    #[error("the filter `{0}` can be given only once")]
    Twice(String),
    /// The value is not a duration.
    #[error("`{value}` is not a valid time of the filter `{key}` (expected one such as `24h`)")]
    Time {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// Two names of the same filter are given.
    #[error("the filters `until` and `unused-for` mean the same, so only one can be given")]
    Conflict,
}

impl RecordFilterError {
    /// The error as it is reported to the user.
    pub(super) fn diagnostic(&self) -> Diagnostic {
        Diagnostic::error(Class::Usage, "builder::filter", self.to_string())
            .help("keys: id, type, description, mutable, inuse, shared, private, until; `KEY!=VALUE` and `KEY~=REGEX` are possible")
    }
}

impl RecordFilter {
    /// Parses the values of `--filter`.
    pub(super) fn parse(given: &[String]) -> Result<Self, RecordFilterError> {
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        for text in given {
            let form = || RecordFilterError::Form(text.clone());
            let (key, value) = text.split_once('=').ok_or_else(form)?;
            let (key, value) = (key.trim().to_lowercase(), value.trim().to_owned());
            // A comma or a quote would begin another expression.
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "!~._-".contains(c);
            if key.is_empty() || !key.chars().all(is_plain) {
                return Err(form());
            }
            if let Some(known) = values.insert(key.clone(), value.clone())
                && known != value
            {
                return Err(RecordFilterError::Twice(key));
            }
        }
        let unused_for = match (values.remove("until"), values.remove("unused-for")) {
            (Some(_), Some(_)) => return Err(RecordFilterError::Conflict),
            (Some(value), None) => duration("until", value)?,
            (None, Some(value)) => duration("unused-for", value)?,
            (None, None) => Duration::ZERO,
        };
        let expressions: Vec<String> = values
            .iter()
            .map(|(key, value)| {
                let value = quoted(value);
                match key.as_str() {
                    "id" => format!("id~={value}"),
                    key if key.ends_with(['!', '~']) => format!("{key}={value}"),
                    key => format!("{key}=={value}"),
                }
            })
            .collect();
        Ok(Self {
            expressions: if expressions.is_empty() {
                Vec::new()
            } else {
                vec![expressions.join(",")]
            },
            unused_for,
        })
    }
}

/// The value in quotes if it would otherwise end at a comma or a blank (containerd `filters/scanner.go`).
fn quoted(value: &str) -> String {
    let is_plain = |c: char| !c.is_whitespace() && !",\"\\".contains(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

fn duration(key: &str, value: String) -> Result<Duration, RecordFilterError> {
    let nanoseconds = parse_duration(&value)
        .ok()
        .and_then(|n| u64::try_from(n).ok());
    nanoseconds
        .map(Duration::from_nanos)
        .ok_or_else(|| RecordFilterError::Time {
            key: key.to_owned(),
            value,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn parse(given: &[&str]) -> Result<RecordFilter, RecordFilterError> {
        let given: Vec<String> = given.iter().map(|text| (*text).to_owned()).collect();
        RecordFilter::parse(&given)
    }

    #[test]
    fn filters_become_one_expression_of_buildkit() {
        let filter = parse(&[
            "type!=regular",
            "ID=abc",
            "Description~=a.*",
            "shared=true",
            "until=24h",
        ])
        .unwrap();
        assert_eq!(
            filter.expressions,
            ["description~=a.*,id~=abc,shared==true,type!=regular"]
        );
        assert_eq!(filter.unused_for, Duration::from_secs(86400));
        let filter = parse(&["description=a b, \"c\""]).unwrap();
        assert_eq!(filter.expressions, [r#"description=="a b, \"c\"""#]);
        assert_eq!(parse(&[]).unwrap(), RecordFilter::default());
        assert_eq!(parse(&["unused-for=0"]).unwrap(), RecordFilter::default());
    }

    #[test_case(&["type"]; "no value")]
    #[test_case(&["=x"]; "no key")]
    #[test_case(&["a,b=x"]; "two expressions")]
    #[test_case(&["type=a", "type=b"]; "two values")]
    #[test_case(&["until=soon"]; "no time")]
    #[test_case(&["until=-1h"]; "a negative time")]
    #[test_case(&["until=1h", "unused-for=1h"]; "two names")]
    fn wrong_filters_are_refused(given: &[&str]) {
        assert!(parse(given).is_err());
    }
}
