//! Which policies a target has, by the entries of its attribute `policy`.

use crate::definition::model::{LogLevel, PolicyEntry, SharedText};

/// The policy beside a target's Dockerfile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DefaultFile {
    /// There is one, or there may be one in a remote context.
    Possible,
    /// There is none.
    None,
}

/// One policy of a target. All of them must allow a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ComposedPolicy {
    /// The files that an entry names; empty for the one beside the Dockerfile.
    pub(crate) files: Vec<SharedText>,
    /// The position of the entry. `None` for the policy beside the Dockerfile.
    pub(crate) entry: Option<usize>,
    pub(crate) options: PolicyOptions,
}

/// How a policy is applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PolicyOptions {
    /// Whether a builder that knows no policies must not build the target.
    pub(crate) strict: bool,
    /// How much is logged. `None` for the level of rbake.
    pub(crate) log_level: Option<LogLevel>,
}

/// Policies are switched off by an entry that is not alone, or says something else as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`disabled` cannot be combined with other settings of policies")]
pub(crate) struct CombinedWithDisabled {
    /// The position of the entry.
    pub(crate) entry: usize,
}

/// The policies of a target with these `entries`. `None` if they are switched off.
///
/// The one beside the Dockerfile comes first. An entry without a file changes how the policy before it is applied, or the next one
/// if there is none.
pub(crate) fn compose(
    default: DefaultFile,
    entries: &[PolicyEntry],
) -> Result<Option<Vec<ComposedPolicy>>, CombinedWithDisabled> {
    if let Some(position) = entries.iter().position(|entry| entry.disabled) {
        let alone = PolicyEntry {
            disabled: true,
            ..PolicyEntry::default()
        };
        return if *entries == [alone] {
            Ok(None)
        } else {
            Err(CombinedWithDisabled { entry: position })
        };
    }
    let mut composed = Vec::new();
    if default == DefaultFile::Possible {
        composed.push(ComposedPolicy {
            files: Vec::new(),
            entry: None,
            options: PolicyOptions::default(),
        });
    }
    let mut pending = PolicyOptions::default();
    for (position, entry) in entries.iter().enumerate() {
        if entry.reset {
            composed.clear();
        }
        if entry.files.is_empty() {
            if let Some(last) = composed.last_mut() {
                apply(&mut last.options, entry);
            } else {
                // buildx remembers the last such entry only, so what an earlier one said is lost.
                pending = PolicyOptions::default();
                apply(&mut pending, entry);
            }
            continue;
        }
        let mut options = pending;
        apply(&mut options, entry);
        composed.push(ComposedPolicy {
            files: entry.files.clone(),
            entry: Some(position),
            options,
        });
    }
    Ok(Some(composed))
}

fn apply(options: &mut PolicyOptions, entry: &PolicyEntry) {
    options.strict = entry.strict.unwrap_or(options.strict);
    options.log_level = entry.log_level.or(options.log_level);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(texts: &[&str]) -> Vec<PolicyEntry> {
        let entries = texts
            .iter()
            .map(|text| PolicyEntry::from_text(text).unwrap());
        entries.collect()
    }

    /// `default` or the files of each policy, and how it is applied.
    fn composed(default: DefaultFile, texts: &[&str]) -> Vec<String> {
        let composed = compose(default, &entries(texts)).unwrap().unwrap();
        let shown = composed.iter().map(|policy| {
            let name = match policy.files.as_slice() {
                [] => "default".to_owned(),
                files => files.join("+"),
            };
            let strict = if policy.options.strict { " strict" } else { "" };
            let level = policy
                .options
                .log_level
                .map(|level| format!(" {}", level.name()));
            format!("{name}{strict}{}", level.unwrap_or_default())
        });
        shown.collect()
    }

    #[test]
    fn the_policy_beside_the_dockerfile_comes_first() {
        use DefaultFile::{None, Possible};
        assert_eq!(composed(Possible, &[]), ["default"]);
        assert_eq!(composed(None, &[]), [""; 0]);
        let both = ["filename=a,filename=b", "filename=c"];
        assert_eq!(composed(Possible, &both), ["default", "a+b", "c"]);
    }

    #[test]
    fn reset_drops_the_policies_before() {
        let reset = ["filename=a", "reset=true", "filename=b"];
        assert_eq!(composed(DefaultFile::Possible, &reset), ["b"]);
        let reset = ["filename=a", "reset=true,filename=b"];
        assert_eq!(composed(DefaultFile::Possible, &reset), ["b"]);
        assert_eq!(composed(DefaultFile::Possible, &["reset=true"]), [""; 0]);
    }

    #[test]
    fn an_entry_without_a_file_changes_the_policy_before_or_else_the_next_ones() {
        use DefaultFile::{None, Possible};
        let levels = ["strict=true,log-level=warn"];
        assert_eq!(composed(Possible, &levels), ["default strict warning"]);
        assert_eq!(composed(None, &levels), [""; 0]);
        let carried = ["strict=true", "filename=a", "filename=b,strict=false"];
        assert_eq!(composed(None, &carried), ["a strict", "b"]);
        let lost = ["strict=true", "log-level=debug", "filename=a"];
        assert_eq!(composed(None, &lost), ["a debug"]);
        let several = [
            "filename=a",
            "strict=true,log-level=warn",
            "filename=b,strict=true",
        ];
        assert_eq!(
            composed(Possible, &several),
            ["default", "a strict warning", "b strict"]
        );
    }

    #[test]
    fn policies_are_switched_off_only_by_an_entry_that_is_alone() {
        let off = |texts: &[&str]| compose(DefaultFile::Possible, &entries(texts));
        assert_eq!(off(&["disabled=true"]), Ok(None));
        for combined in [
            &["disabled=true,filename=a"][..],
            &["disabled=true,reset=true"],
            &["disabled=true,strict=false"],
            &["disabled=true,log-level=warn"],
            &["disabled=true", "disabled=true"],
            &["disabled=true", "filename=a"],
        ] {
            assert_eq!(off(combined), Err(CombinedWithDisabled { entry: 0 }));
        }
        assert!(off(&["disabled=false"]).unwrap().is_some());
    }
}
