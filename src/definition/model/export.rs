//! Entries of `output`.

use super::entry::{self, Attrs, EntryError};
use super::{List, SharedText};

/// How the result of a target is exported.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Export {
    /// The exporter: the `type` field.
    pub(crate) kind: ExportKind,
    /// The local path that the export is written to, or `-` for standard output.
    pub(crate) dest: Option<SharedText>,
    /// All other fields.
    pub(crate) attrs: Attrs,
}

/// The kinds of exporter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ExportKind {
    /// An image in the builder's store. It is also pushed if `push` is true.
    Image,
    /// An image that is pushed to a registry.
    Registry,
    /// An image for Docker. It is loaded into the Docker Engine, or written as an archive.
    Docker,
    /// An archive or directory in the OCI image layout.
    Oci,
    /// The files of the result, in a directory.
    Local,
    /// The files of the result, in a tar archive.
    Tar,
    /// No export: the build only fills the cache.
    CacheOnly,
    /// An exporter that rbake does not know. The daemon may support it.
    Other(SharedText),
}

impl ExportKind {
    /// The exporter called `name`; an unknown name gives [`ExportKind::Other`].
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

    /// The value of the `type` field for this exporter.
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
    /// An export without `dest` and other fields.
    pub(crate) fn plain(kind: ExportKind) -> Self {
        Self {
            kind,
            dest: None,
            attrs: Attrs::new(),
        }
    }

    /// Reads the text form: `type=image,push=true`, `-` for a tar archive on standard output, or a directory.
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

    /// Reads the fields of the object form.
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

    /// The value of the field `key`. `type` and `dest` are not included.
    pub(crate) fn attr(&self, key: &str) -> Option<&str> {
        self.attrs.get(key).map(|value| &**value)
    }

    /// The value of the field `key` as a boolean. As in buildx, a value that is not a boolean counts as not set.
    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        crate::golang::strconv::parse_bool(self.attr(key)?)
    }

    /// Whether the export pushes the image to a registry.
    pub(crate) fn pushes(&self) -> bool {
        match self.kind {
            ExportKind::Registry => true,
            ExportKind::Image => self.flag("push") == Some(true),
            _ => false,
        }
    }

    /// How a directory is written. An unknown mode is returned as the error.
    ///
    /// BuildKit ignores case and space around the word (`client/exporters.go`).
    pub(crate) fn local_mode(&self) -> Result<LocalMode, &str> {
        let text = self.attr("mode").unwrap_or_default();
        match text.trim().to_lowercase().as_str() {
            "" | "copy" => Ok(LocalMode::Copy),
            "delete" => Ok(LocalMode::Delete),
            _ => Err(text),
        }
    }

    /// Whether the export deletes the files of its directory that are not in the result.
    pub(crate) fn deletes(&self) -> bool {
        self.kind == ExportKind::Local && self.local_mode() == Ok(LocalMode::Delete)
    }

    /// What the export writes to on this machine.
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

/// What happens to files in an output directory that are not in the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LocalMode {
    /// They stay.
    Copy,
    /// They are deleted.
    Delete,
}

/// What an export writes to on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sink {
    /// Nothing: the result stays in the builder, or is pushed from there.
    None,
    /// A directory.
    Directory,
    /// A file, or standard output.
    File,
    /// The Docker Engine, which loads the image.
    Docker,
}

impl List<Export> {
    /// Appends the entries of `later` and removes duplicates.
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
    #[test_case("TYPE=image", ExportKind::Local, "TYPE=image"; "a type in upper case is a directory")]
    #[test_case("type=local,Dest=x", ExportKind::Local, "x"; "keys are converted to lower case")]
    fn short_forms_are_parsed(text: &str, kind: ExportKind, path: &str) {
        assert_eq!(Export::from_text(text), Ok(dest(kind, path)));
    }

    #[test]
    fn texts_that_are_refused() {
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
    fn unknown_exporters_are_passed_through() {
        let export = Export::from_text("type=nydus,x=1").unwrap();
        assert_eq!(export.kind, ExportKind::Other("nydus".into()));
        assert_eq!(export.attr("x"), Some("1"));
    }

    #[test]
    fn the_sink_depends_on_type_and_dest() {
        let sink = |text: &str| Export::from_text(text).map(|export| export.sink());
        assert_eq!(sink("type=docker"), Ok(Sink::Docker));
        assert_eq!(sink("type=docker,dest=x"), Ok(Sink::File));
        assert_eq!(sink("type=oci,tar=false,dest=x"), Ok(Sink::Directory));
        assert_eq!(sink("type=oci,tar=maybe"), Ok(Sink::File));
        assert_eq!(sink("type=image,push=true"), Ok(Sink::None));
    }
}
