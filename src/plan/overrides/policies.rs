//! `--policy`: adds policies to all targets, or switches all policies off.

use super::{AttributeChange, Op, TargetOverride};
use crate::definition::model::PolicyEntry;
use crate::diag::{Class, Diagnostic, Diagnostics};

/// The combined effect of all values of `--policy`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Policies {
    /// Changes that apply to every target.
    Added(Vec<TargetOverride>),
    /// All policies of all targets are switched off.
    Disabled,
}

impl Policies {
    /// Parses the values of `--policy`. Reports all invalid values.
    pub(crate) fn parse(values: &[String]) -> Result<Self, Diagnostics> {
        let mut problems = Diagnostics::default();
        let mut entries = Vec::new();
        for value in values {
            match entry(value) {
                Ok(policy) => entries.push((value, policy)),
                Err(problem) => problems.push(problem),
            }
        }
        let disabled = entries.iter().find(|(_, policy)| policy.disabled);
        if let Some((value, policy)) = disabled {
            let alone = PolicyEntry {
                disabled: true,
                ..PolicyEntry::default()
            };
            if values.len() > 1 || *policy != alone {
                problems.push(
                    error(
                        value,
                        "`disabled=true` cannot be combined with other policies",
                    )
                    .help("write `--policy disabled=true` alone"),
                );
            }
        }
        if problems.has_errors() {
            return Err(problems);
        }
        if disabled.is_some() {
            return Ok(Self::Disabled);
        }
        let entries = entries.into_iter();
        Ok(Self::Added(
            entries
                .map(|(value, policy)| {
                    TargetOverride::everywhere(
                        flag(value),
                        AttributeChange::Policy(Op::Append, policy),
                    )
                })
                .collect(),
        ))
    }
}

/// Parses one value. `filename` and `reset` are refused: only a definition can name policy files and their order.
fn entry(value: &str) -> Result<PolicyEntry, Diagnostic> {
    let policy = PolicyEntry::from_text(value)
        .map_err(|source| super::parse::entry_error(&flag(value), value, &source))?;
    for (given, key) in [
        (!policy.files.is_empty(), "filename"),
        (policy.reset, "reset"),
    ] {
        if given {
            let reason = format!("`{key}` can be set only in the attribute `policy` of a target");
            return Err(error(value, &reason));
        }
    }
    Ok(policy)
}

fn flag(value: &str) -> String {
    format!("--policy={value}")
}

fn error(value: &str, reason: &str) -> Diagnostic {
    Diagnostic::error(
        Class::Usage,
        super::parse::INVALID,
        format!("`{}`: {reason}", flag(value)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(values: &[&str]) -> Result<Policies, Diagnostics> {
        Policies::parse(&values.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn disabling_cannot_be_combined_with_other_policies() {
        assert_eq!(parse(&["disabled=1"]), Ok(Policies::Disabled));
        assert!(
            matches!(parse(&["disabled=0", "strict=true"]), Ok(Policies::Added(two)) if two.len() == 2)
        );
        for wrong in [
            &["disabled=true", "strict=true"][..],
            &["strict=true", "disabled=true"],
            &["disabled=true", "disabled=true"],
            &["disabled=true,strict=false"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn all_wrong_values_are_reported() {
        let problems =
            parse(&["filename=a.rego", "reset=true", "foo=1", "strict=true"]).unwrap_err();
        assert_eq!(problems.0.len(), 3);
    }
}
