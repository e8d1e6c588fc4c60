//! Entries of `attest`.

use super::entry::{self, Attrs, EntryError};
use super::{List, SharedText};

/// An attestation (a statement about the build) that is attached to the image, or that is explicitly disabled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Attest {
    /// `provenance`, `sbom` or another kind that the frontend knows.
    pub(crate) kind: SharedText,
    /// Whether the attestation is switched off.
    pub(crate) disabled: bool,
    /// All other fields.
    pub(crate) attrs: Attrs,
}

/// The kind of attestations that say how an image was built.
const PROVENANCE: &str = "provenance";

impl Attest {
    /// Reads the text form, such as `type=provenance,mode=max`.
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
            if ["min", "max"].contains(&&*field) && kind.eq_ignore_ascii_case(PROVENANCE) {
                return Err(EntryError::BareMode {
                    meant: format!("mode={field}"),
                    word: field.into_owned(),
                });
            }
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

    /// Whether it is about provenance. BuildKit ignores the case of the type (`frontend/attestations/parse.go`).
    pub(crate) fn is_provenance(&self) -> bool {
        self.kind.eq_ignore_ascii_case(PROVENANCE)
    }

    /// Reads the fields of the object form.
    pub(crate) fn from_attrs(mut attrs: Attrs) -> Result<Self, EntryError> {
        let kind = attrs.remove("type").unwrap_or_default();
        let disabled = match attrs.remove("disabled") {
            Some(value) => entry::boolean("disabled", &value)?,
            None => false,
        };
        Self::checked(kind, disabled, attrs)
    }

    /// Requires a type. buildx accepts an object without a type and the daemon then fails; an error here shows the
    /// place in the file.
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

    /// The text form of `--sbom=VALUE` or `--provenance=VALUE`. The value is a boolean or more fields.
    pub(crate) fn flag_text(kind: &str, value: &str) -> String {
        match crate::golang::strconv::parse_bool(value) {
            Some(enabled) => format!("type={kind},disabled={}", !enabled),
            None => format!("type={kind},{value}"),
        }
    }

    /// The comma-separated text form, which frontends accept.
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

/// If the text is the value of a `--sbom` or `--provenance` flag (such as `provenance=false`), returns the attest
/// entry with the same meaning, for the error message.
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
    /// Appends the entries of `later`. If several entries have the same kind, the last one counts, at the position
    /// of the first.
    pub(crate) fn merge_attests(&mut self, later: &Self) {
        self.append(later);
        self.dedupe_by_key(|attest| attest.kind.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_the_round_trip_through_csv() {
        let attest = Attest::from_text("type=sbom,\"generator=a,b\",Mode=x").unwrap();
        assert_eq!(attest.to_csv(), "type=sbom,Mode=x,\"generator=a,b\"");
        assert_eq!(Attest::from_text(&attest.to_csv()), Ok(attest));
    }

    #[test]
    fn flags_accept_booleans_and_fields() {
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
    fn errors_for_flags_without_dashes_suggest_the_entry() {
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
        assert_eq!(meant("type=provenance,max").as_deref(), Some("mode=max"));
        assert_eq!(meant("type=sbom,max"), None);
    }

    #[test]
    fn a_type_is_required_in_both_forms() {
        assert_eq!(Attest::from_text("mode=max"), Err(EntryError::NoType));
        assert_eq!(Attest::from_attrs(Attrs::new()), Err(EntryError::NoType));
    }
}
