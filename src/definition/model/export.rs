//! Entries of `output`.

use super::entry::{self, Attrs, EntryError};
use super::{List, SharedText};

/// What is to be made of a target's result.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Export {
    /// The exporter.
    pub(crate) kind: ExportKind,
    /// Where it writes: a path of this machine, or `-` for standard output.
    pub(crate) dest: Option<SharedText>,
    /// Everything else.
    pub(crate) attrs: Attrs,
}

/// The exporters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ExportKind {
    /// An image in the builder's store, pushed if `push` says so.
    Image,
    /// An image that is pushed.
    Registry,
    /// An image for Docker: loaded, or written as an archive.
    Docker,
    /// An archive or directory in OCI's layout.
    Oci,
    /// The result's files in a directory.
    Local,
    /// The result's files in an archive.
    Tar,
    /// Nothing: the result only fills the cache.
    CacheOnly,
    /// Another exporter that the daemon may know.
    Other(SharedText),
}

impl ExportKind {
    /// The exporter called `name`.
    pub(crate) fn from_name(name: &str) -> Self {
        match name {
            "image" => Self::Image,
            "registry" => Self::Registry,
            "docker" => Self::Docker,
            "oci" => Self::Oci,
            "local" => Self::Local,
            "tar" => Self::Tar,
            "cacheonly" => Self::CacheOnly,
            other => Self::Other(other.into()),
        }
    }

    /// The exporter's name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Image => "image",
            Self::Registry => "registry",
            Self::Docker => "docker",
            Self::Oci => "oci",
            Self::Local => "local",
            Self::Tar => "tar",
            Self::CacheOnly => "cacheonly",
            Self::Other(name) => name,
        }
    }
}

impl Export {
    /// An export without attributes.
    pub(crate) fn plain(kind: ExportKind) -> Self {
        Self {
            kind,
            dest: None,
            attrs: Attrs::new(),
        }
    }

    /// Reads `type=image,push=true`, or `-`, or a directory.
    pub(crate) fn from_text(text: &str) -> Result<Self, EntryError> {
        let fields = entry::fields(text)?;
        if let [only] = fields.as_slice()
            && only == text
            && !text.starts_with("type=")
        {
            let kind = if text == "-" {
                ExportKind::Tar
            } else {
                ExportKind::Local
            };
            return Ok(Self {
                kind,
                dest: Some(text.into()),
                attrs: Attrs::new(),
            });
        }
        let mut kind = None;
        let mut dest = None;
        let mut attrs = Attrs::new();
        for field in fields {
            let (key, value) = entry::pair(&field)?;
            match key.to_lowercase().trim() {
                "type" => kind = Some(value.to_owned()),
                "dest" => dest = Some(value.into()),
                key => {
                    attrs.insert(key.into(), value.into());
                }
            }
        }
        Self::checked(kind.as_deref(), dest, attrs)
    }

    /// Takes the fields of an object.
    pub(crate) fn from_attrs(mut attrs: Attrs) -> Result<Self, EntryError> {
        let kind = attrs.remove("type");
        let dest = attrs.remove("dest");
        Self::checked(kind.as_deref(), dest, attrs)
    }

    fn checked(
        kind: Option<&str>,
        dest: Option<SharedText>,
        attrs: Attrs,
    ) -> Result<Self, EntryError> {
        match kind {
            None | Some("") => Err(EntryError::NoType),
            Some(kind) => Ok(Self {
                kind: ExportKind::from_name(kind),
                dest: dest.filter(|dest| !dest.is_empty()),
                attrs,
            }),
        }
    }

    /// The value of an attribute.
    pub(crate) fn attr(&self, key: &str) -> Option<&str> {
        self.attrs.get(key).map(|value| &**value)
    }

    /// The value of an attribute as a boolean; values that are none count as not set, as in buildx.
    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        crate::golang::strconv::parse_bool(self.attr(key)?)
    }

    /// Whether the image is pushed to a registry.
    pub(crate) fn pushes(&self) -> bool {
        match self.kind {
            ExportKind::Registry => true,
            ExportKind::Image => self.flag("push") == Some(true),
            _ => false,
        }
    }

    /// What of this machine the export writes to.
    pub(crate) fn sink(&self) -> Sink {
        let archive = match self.kind {
            ExportKind::Local => false,
            ExportKind::Tar => true,
            ExportKind::Oci | ExportKind::Docker => self.flag("tar") != Some(false),
            _ => return Sink::None,
        };
        match (archive, &self.kind) {
            (false, _) => Sink::Directory,
            (true, ExportKind::Docker) if self.dest.is_none() => Sink::Docker,
            (true, _) => Sink::File,
        }
    }
}

/// What of this machine an export writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sink {
    /// Nothing.
    None,
    /// A directory.
    Directory,
    /// A file, or standard output.
    File,
    /// The Docker Engine.
    Docker,
}

impl List<Export> {
    /// Appends the entries of `later` and drops duplicates.
    pub(crate) fn merge_exports(&mut self, later: &Self) {
        self.append(later);
        self.dedupe_swapping();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn dest(kind: ExportKind, dest: &str) -> Export {
        Export {
            dest: Some(dest.into()),
            ..Export::plain(kind)
        }
    }

    #[test_case("-", ExportKind::Tar, "-")]
    #[test_case("out", ExportKind::Local, "out")]
    #[test_case("dest=x", ExportKind::Local, "dest=x"; "a field alone is a directory")]
    #[test_case("TYPE=image", ExportKind::Local, "TYPE=image"; "case counts")]
    #[test_case("type=local,Dest=x", ExportKind::Local, "x"; "keys are lower case")]
    fn short_forms(text: &str, kind: ExportKind, path: &str) {
        assert_eq!(Export::from_text(text), Ok(dest(kind, path)));
    }

    #[test]
    fn broken_texts() {
        let no_pair = |field: &str| {
            Err(EntryError::NoPair {
                field: field.into(),
            })
        };
        assert_eq!(Export::from_text("a,b"), no_pair("a"));
        assert_eq!(Export::from_text("type=image,b"), no_pair("b"));
        assert_eq!(Export::from_text("dest=x,a=b"), Err(EntryError::NoType));
        assert_eq!(Export::from_text("type=,a=b"), Err(EntryError::NoType));
    }

    #[test]
    fn other_exporters_pass_through() {
        let export = Export::from_text("type=nydus,x=1").unwrap();
        assert_eq!(export.kind, ExportKind::Other("nydus".into()));
        assert_eq!(export.attr("x"), Some("1"));
    }

    #[test]
    fn sinks() {
        let sink = |text: &str| Export::from_text(text).map(|export| export.sink());
        assert_eq!(sink("type=docker"), Ok(Sink::Docker));
        assert_eq!(sink("type=docker,dest=x"), Ok(Sink::File));
        assert_eq!(sink("type=oci,tar=false,dest=x"), Ok(Sink::Directory));
        assert_eq!(sink("type=oci,tar=maybe"), Ok(Sink::File));
        assert_eq!(sink("type=image,push=true"), Ok(Sink::None));
    }
}
