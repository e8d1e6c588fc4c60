//! Entries of `cache-from` and `cache-to`.

use super::entry::{self, Attrs, EntryError};
use super::{List, SharedText};

/// Where cache is imported from or exported to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CacheEntry {
    /// The kind of cache storage: the `type` field.
    pub(crate) kind: CacheKind,
    /// All other fields.
    pub(crate) attrs: Attrs,
}

/// The kinds of cache storage.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum CacheKind {
    /// An image registry. `ref` is the image name.
    Registry,
    /// Embedded in the image that is exported.
    Inline,
    /// A local directory: `src` for an import, `dest` for an export.
    Local,
    /// The cache service of GitHub Actions.
    Gha,
    /// An S3 bucket.
    S3,
    /// Azure Blob Storage.
    AzBlob,
    /// A kind that rbake does not know. The daemon may support it.
    Other(SharedText),
}

impl CacheKind {
    /// The kind called `name`; an unknown name gives [`CacheKind::Other`].
    pub(crate) fn from_name(name: &str) -> Self {
        match name {
            "registry" => Self::Registry,
            "inline" => Self::Inline,
            "local" => Self::Local,
            "gha" => Self::Gha,
            "s3" => Self::S3,
            "azblob" => Self::AzBlob,
            other => Self::Other(other.into()),
        }
    }

    /// The value of the `type` field for this kind.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Registry => "registry",
            Self::Inline => "inline",
            Self::Local => "local",
            Self::Gha => "gha",
            Self::S3 => "s3",
            Self::AzBlob => "azblob",
            Self::Other(name) => name,
        }
    }
}

impl CacheEntry {
    /// Reads the text form: `type=registry,ref=…`, or one or more image references separated by commas.
    pub(crate) fn from_text(text: &str) -> Result<Vec<Self>, EntryError> {
        let fields = entry::fields(text)?;
        if text.contains('=') {
            let mut kind = None;
            let mut attrs = Attrs::new();
            for field in fields {
                let (key, value) = entry::pair_of(&field, text)?;
                match key.to_lowercase().as_str() {
                    "type" => kind = Some(value.to_owned()),
                    key => {
                        attrs.insert(key.into(), value.into());
                    }
                }
            }
            return Self::checked(kind.as_deref(), attrs).map(|entry| vec![entry]);
        }
        // Like buildx, parse each field as CSV again, so that one quoted field may contain several references.
        let mut entries = Vec::with_capacity(fields.len());
        for field in fields {
            match entry::fields(&field)?.as_slice() {
                [reference] => entries.push(Self::registry(reference)),
                [first, ..] => {
                    entry::pair(first)?;
                }
                [] => {}
            }
        }
        Ok(entries)
    }

    /// Reads the fields of the object form.
    pub(crate) fn from_attrs(mut attrs: Attrs) -> Result<Self, EntryError> {
        let kind = attrs.remove("type");
        Self::checked(kind.as_deref(), attrs)
    }

    fn checked(kind: Option<&str>, attrs: Attrs) -> Result<Self, EntryError> {
        match kind {
            None | Some("") => Err(EntryError::NoType),
            Some(kind) => Ok(Self {
                kind: CacheKind::from_name(kind),
                attrs,
            }),
        }
    }

    fn registry(reference: &str) -> Self {
        Self {
            kind: CacheKind::Registry,
            attrs: Attrs::from([("ref".into(), reference.into())]),
        }
    }

    /// The value of the field `key`. The `type` field is not included.
    pub(crate) fn attr(&self, key: &str) -> Option<&str> {
        self.attrs.get(key).map(|value| &**value)
    }
}

impl List<CacheEntry> {
    /// Appends the entries of `later` and removes duplicates.
    pub(crate) fn merge_cache(&mut self, later: &Self) {
        self.append(later);
        self.dedupe_swapping();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_out_of_errors() {
        for text in [
            "type=s3,secret_access_key=hunter2,hunter2",
            "type=gha,\"token=hunter2",
            "secret_access_key=hunter2",
        ] {
            let error = CacheEntry::from_text(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn image_names_alone_are_registry_caches() {
        let entries = CacheEntry::from_text("a/b:1,c/d").unwrap();
        let refs: Vec<_> = entries.iter().map(|entry| entry.attr("ref")).collect();
        assert_eq!(refs, [Some("a/b:1"), Some("c/d")]);
        assert!(
            entries
                .iter()
                .all(|entry| entry.kind == CacheKind::Registry)
        );
    }

    #[test]
    fn keys_of_texts_are_converted_to_lower_case() {
        let entries = CacheEntry::from_text("Type=local,SRC=x").unwrap();
        assert_eq!(entries[0].kind, CacheKind::Local);
        assert_eq!(entries[0].attr("src"), Some("x"));
    }

    #[test]
    fn a_type_is_required() {
        assert_eq!(
            CacheEntry::from_text("src=a,dest=b"),
            Err(EntryError::NoType)
        );
        assert_eq!(
            CacheEntry::from_text("type=,ref=a"),
            Err(EntryError::NoType)
        );
        assert_eq!(
            CacheEntry::from_attrs(Attrs::new()),
            Err(EntryError::NoType)
        );
    }
}
