//! Entries of `attest`.

use super::entry::{self, Attrs, EntryError};
use super::{List, SharedText};

/// A statement about the build that is to be attached to the image, or not to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Attest {
    /// `provenance`, `sbom` or another kind that the frontend knows.
    pub(crate) kind: SharedText,
    /// Whether the statement is not to be made.
    pub(crate) disabled: bool,
    /// Everything else.
    pub(crate) attrs: Attrs,
}

impl Attest {
    /// Reads `type=provenance,mode=max`.
    pub(crate) fn from_text(text: &str) -> Result<Self, EntryError> {
        let mut kind = SharedText::default();
        let mut disabled = false;
        let mut attrs = Attrs::new();
        if let Some(meant) = without_type(text) {
            return Err(EntryError::Bare {
                word: text.to_owned(),
                meant,
            });
        }
        for field in entry::fields(text)? {
            let (key, value) = entry::pair(&field)?;
            match key.to_lowercase().trim() {
                "type" => kind = value.into(),
                "disabled" => disabled = entry::boolean("disabled", value)?,
                _ => {
                    attrs.insert(key.into(), value.into());
                }
            }
        }
        Self::checked(kind, disabled, attrs)
    }

    /// Takes the fields of an object.
    pub(crate) fn from_attrs(mut attrs: Attrs) -> Result<Self, EntryError> {
        let kind = attrs.remove("type").unwrap_or_default();
        let disabled = match attrs.remove("disabled") {
            Some(value) => entry::boolean("disabled", &value)?,
            None => false,
        };
        Self::checked(kind, disabled, attrs)
    }

    // Objects without a type pass in buildx and fail at the daemon; here they fail where they are written.
    fn checked(kind: SharedText, disabled: bool, attrs: Attrs) -> Result<Self, EntryError> {
        if kind.is_empty() {
            return Err(EntryError::NoType);
        }
        Ok(Self {
            kind,
            disabled,
            attrs,
        })
    }

    /// The text form that `--sbom=VALUE` and `--provenance=VALUE` stand for.
    pub(crate) fn flag_text(kind: &str, value: &str) -> String {
        match crate::golang::strconv::parse_bool(value) {
            Some(enabled) => format!("type={kind},disabled={}", !enabled),
            None => format!("type={kind},{value}"),
        }
    }

    /// The comma-separated form with its fields in order, as frontends take it.
    #[cfg(test)]
    pub(crate) fn to_csv(&self) -> String {
        let disabled = self.disabled.then_some(("disabled", "true"));
        crate::golang::csv::join(
            std::iter::once(("type", &*self.kind))
                .chain(disabled)
                .chain(self.attrs.iter().map(|(key, value)| (&**key, &**value))),
        )
    }
}

// `sbom` and `provenance=false` are the flags of those names without their dashes.
fn without_type(text: &str) -> Option<String> {
    let (kind, value) = match text.split_once('=') {
        Some((kind, value)) => (kind, Some(value)),
        None => (text, None),
    };
    if !matches!(kind, "sbom" | "provenance") {
        return None;
    }
    Some(match value {
        None | Some("true" | "1") => format!("type={kind}"),
        Some(value) => Attest::flag_text(kind, value),
    })
}

impl List<Attest> {
    /// Appends the entries of `later`; of entries of one kind the last wins, in the first one's place.
    pub(crate) fn merge_attests(&mut self, later: &Self) {
        self.append(later);
        self.dedupe_by_key(|attest| attest.kind.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_csv_agree() {
        let attest = Attest::from_text("type=sbom,\"generator=a,b\",Mode=x").unwrap();
        assert_eq!(attest.to_csv(), "type=sbom,Mode=x,\"generator=a,b\"");
        assert_eq!(Attest::from_text(&attest.to_csv()), Ok(attest));
    }

    #[test]
    fn flags_take_booleans_and_fields() {
        assert_eq!(
            Attest::flag_text("sbom", "false"),
            "type=sbom,disabled=true"
        );
        assert_eq!(
            Attest::flag_text("provenance", "mode=max"),
            "type=provenance,mode=max"
        );
        let bad = Attest::from_text(&Attest::flag_text("sbom", "foo"));
        assert_eq!(
            bad,
            Err(EntryError::NoPair {
                field: "foo".into()
            })
        );
    }

    #[test]
    fn flags_without_dashes_are_told_what_they_mean() {
        let meant = |text: &str| {
            Attest::from_text(text)
                .unwrap_err()
                .meant()
                .map(str::to_owned)
        };
        assert_eq!(meant("sbom").as_deref(), Some("type=sbom"));
        assert_eq!(
            meant("provenance=false").as_deref(),
            Some("type=provenance,disabled=true")
        );
        assert_eq!(
            meant("provenance=mode=max").as_deref(),
            Some("type=provenance,mode=max")
        );
        assert_eq!(meant("mode=max"), None);
    }

    #[test]
    fn a_type_is_required_in_both_forms() {
        assert_eq!(Attest::from_text("mode=max"), Err(EntryError::NoType));
        assert_eq!(Attest::from_attrs(Attrs::new()), Err(EntryError::NoType));
    }
}
