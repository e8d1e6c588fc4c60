//! Entries of `policy`.

use super::SharedText;
use super::entry::{self, EntryError};

/// A source policy: rules for which sources a build may use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PolicyEntry {
    /// The files with the rules.
    pub(crate) files: Vec<SharedText>,
    /// Whether this entry discards the policies before it.
    pub(crate) reset: bool,
    /// Whether all policies are switched off.
    pub(crate) disabled: bool,
    /// Whether a source that no rule decides about is refused. `None` if not given.
    pub(crate) strict: Option<bool>,
    /// How much the policy logs. `None` if not given.
    pub(crate) log_level: Option<LogLevel>,
}

/// How much a policy logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogLevel {
    Panic,
    Fatal,
    Error,
    Warning,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    const NAMES: &[&str] = &[
        "panic", "fatal", "error", "warning", "info", "debug", "trace",
    ];

    /// The level called `name`, upper or lower case. `None` if the name is unknown.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_lowercase().as_str() {
            "panic" => Self::Panic,
            "fatal" => Self::Fatal,
            "error" => Self::Error,
            "warn" | "warning" => Self::Warning,
            "info" => Self::Info,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            _ => return None,
        })
    }

    /// The name of the level in requests and printed plans.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Fatal => "fatal",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl PolicyEntry {
    /// Reads the text form, such as `filename=…,strict=true`.
    pub(crate) fn from_text(text: &str) -> Result<Self, EntryError> {
        let fields = entry::fields(text)?;
        let mut pairs = Vec::with_capacity(fields.len());
        for field in &fields {
            pairs.push(entry::pair(field)?);
        }
        Self::from_pairs(pairs)
    }

    /// Reads the fields in any order. Keys are not case-sensitive.
    pub(crate) fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, EntryError> {
        const KEYS: &[&str] = &["filename", "reset", "disabled", "strict", "log-level"];
        let mut policy = Self::default();
        for (key, value) in pairs {
            match key.to_lowercase().trim() {
                "filename" if value.is_empty() => {
                    return Err(EntryError::EmptyValue { key: "filename" });
                }
                "filename" => policy.files.push(value.into()),
                "reset" => policy.reset = entry::boolean(key, value)?,
                "disabled" => policy.disabled = entry::boolean(key, value)?,
                "strict" => policy.strict = Some(entry::boolean(key, value)?),
                "log-level" => {
                    let level =
                        LogLevel::from_name(value).ok_or_else(|| EntryError::UnknownValue {
                            key: "log-level",
                            value: value.to_owned(),
                            known: LogLevel::NAMES,
                        })?;
                    policy.log_level = Some(level);
                }
                key => {
                    return Err(EntryError::UnknownKey {
                        key: key.to_owned(),
                        known: KEYS,
                    });
                }
            }
        }
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_policies_are_parsed() {
        let policy =
            PolicyEntry::from_text("filename=a.rego,filename=b.rego,strict=1,log-level=warn")
                .unwrap();
        assert_eq!(policy.files.len(), 2);
        assert_eq!(
            (policy.strict, policy.log_level),
            (Some(true), Some(LogLevel::Warning))
        );
    }

    #[test]
    fn errors_name_unknown_keys() {
        let error = PolicyEntry::from_text("filenam=a").unwrap_err();
        assert!(
            matches!(error.misspelling(), Some((_, "filenam", _))),
            "{error}"
        );
        assert!(PolicyEntry::from_text("log-level=loud").is_err());
        assert!(PolicyEntry::from_text("filename=").is_err());
    }
}
