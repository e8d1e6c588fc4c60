//! The attributes that BuildKit's exporters, cache backends and attestations have, and the values that they
//! accept.
//!
//! Taken from BuildKit v0.32: `exporter/containerimage/exptypes`, `exporter/{oci,local,tar}`,
//! `cache/remotecache/*`, `util/compression`, `solver/llbsolver/provenance.go`. Attributes that the client reads,
//! such as `tag` of a local cache, are included.

use crate::definition::model::{CacheKind, ExportKind};

/// The values that an attribute accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Any text.
    Text,
    /// A boolean as Go's `strconv.ParseBool` reads it.
    Bool,
    /// A boolean. Empty means `true`.
    Flag,
    /// A whole number.
    Whole,
    /// A whole number, or empty for no value.
    WholeOrNothing,
    /// One of these. A newer BuildKit may accept more.
    OneOf(&'static [&'static str]),
}

/// The name of an attribute and the values that it accepts.
pub(super) type KnownAttribute = (&'static str, Takes);

/// Known attributes in one or more groups. If `any` is set, other attributes are valid, too, because another
/// program reads them.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownAttributes {
    pub(super) groups: &'static [&'static [KnownAttribute]],
    pub(super) any: bool,
}

impl KnownAttributes {
    const fn of(groups: &'static [&'static [KnownAttribute]]) -> Self {
        Self { groups, any: false }
    }

    /// Returns the values that the attribute `key` accepts, or `None` if it is not known.
    pub(super) fn takes(&self, key: &str) -> Option<Takes> {
        let known = self.names_and_values().find(|(name, _)| *name == key);
        known.map(|(_, takes)| *takes)
    }

    /// Returns the names of all attributes, to suggest one of them.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.names_and_values().map(|(name, _)| *name)
    }

    fn names_and_values(&self) -> impl Iterator<Item = &'static KnownAttribute> {
        self.groups.iter().copied().flatten()
    }
}

const COMPRESSION: &[KnownAttribute] = &[
    (
        "compression",
        Takes::OneOf(&["uncompressed", "gzip", "estargz", "zstd"]),
    ),
    ("compression-level", Takes::Whole),
    ("force-compression", Takes::Flag),
];

const IMAGE: &[KnownAttribute] = &[
    ("name", Takes::Text),
    ("push", Takes::Flag),
    ("push-by-digest", Takes::Flag),
    ("registry.insecure", Takes::Flag),
    ("unpack", Takes::Flag),
    ("store", Takes::Flag),
    ("name-canonical", Takes::Flag),
    ("dangling-name-prefix", Takes::Text),
    // Spelled like this in BuildKit.
    ("danging-name-empty-only", Takes::Flag),
    ("unsafe-internal-store-allow-incomplete", Takes::Flag),
];

/// Attributes of the exporters that make images.
const COMMITTED: &[KnownAttribute] = &[
    ("oci-mediatypes", Takes::Bool),
    ("oci-artifact", Takes::Bool),
    ("attestation-inline", Takes::Bool),
    ("prefer-nondist-layers", Takes::Bool),
    ("rewrite-timestamp", Takes::Bool),
    ("source-date-epoch", Takes::WholeOrNothing),
    // Older versions of BuildKit have these.
    ("buildinfo", Takes::Bool),
    ("buildinfo-attrs", Takes::Bool),
];

/// Attributes of the exporters that make archives of images.
const ARCHIVE: &[KnownAttribute] = &[
    ("name", Takes::Text),
    ("tar", Takes::Flag),
    ("prefer-image-digest", Takes::Bool),
];

/// Attributes that the client reads if it loads the image into Docker.
const LOADED: &[KnownAttribute] = &[("context", Takes::Text)];

/// Attributes of the exporters that write the files of an image.
const FILES: &[KnownAttribute] = &[
    ("attestation-prefix", Takes::Text),
    ("platform-split", Takes::Bool),
    ("source-date-epoch", Takes::WholeOrNothing),
];

/// Attributes of the exporter that writes files into a directory.
const DIRECTORY: &[KnownAttribute] = &[
    // Its values are checked with the plan.
    ("mode", Takes::Text),
];

/// The types of exporters.
pub(super) const EXPORTERS: &[&str] = &[
    "image",
    "registry",
    "docker",
    "oci",
    "local",
    "tar",
    "cacheonly",
];

/// Returns the attributes of the exporter `kind`, or `None` if BuildKit has no such exporter.
pub(super) fn exporter(kind: &ExportKind) -> Option<KnownAttributes> {
    Some(match kind {
        ExportKind::Image | ExportKind::Registry => {
            KnownAttributes::of(&[IMAGE, COMMITTED, COMPRESSION])
        }
        ExportKind::Docker => KnownAttributes::of(&[ARCHIVE, LOADED, COMMITTED, COMPRESSION]),
        ExportKind::Oci => KnownAttributes::of(&[ARCHIVE, COMMITTED, COMPRESSION]),
        ExportKind::Local => KnownAttributes::of(&[FILES, DIRECTORY]),
        ExportKind::Tar => KnownAttributes::of(&[FILES]),
        ExportKind::CacheOnly => KnownAttributes::of(&[]),
        // The Docker Engine's own exporter.
        ExportKind::Other(name) if &**name == "moby" => KnownAttributes::of(&[IMAGE, COMMITTED]),
        ExportKind::Other(_) => return None,
    })
}

const EXPORTED: &[KnownAttribute] = &[
    ("mode", Takes::OneOf(&["min", "max"])),
    ("ignore-error", Takes::Bool),
];

const MANIFEST: &[KnownAttribute] = &[
    ("image-manifest", Takes::Bool),
    ("oci-mediatypes", Takes::Bool),
];

const REGISTRY: &[KnownAttribute] = &[("ref", Takes::Text), ("registry.insecure", Takes::Bool)];

const LOCAL_EXPORT: &[KnownAttribute] = &[
    ("dest", Takes::Text),
    ("tag", Takes::Text),
    ("reset", Takes::Bool),
];

const LOCAL_IMPORT: &[KnownAttribute] = &[
    ("src", Takes::Text),
    ("tag", Takes::Text),
    ("digest", Takes::Text),
];

const GHA: &[KnownAttribute] = &[
    ("scope", Takes::Text),
    ("token", Takes::Text),
    ("ghtoken", Takes::Text),
    ("url", Takes::Text),
    ("url_v2", Takes::Text),
    ("version", Takes::Whole),
    ("repository", Takes::Text),
    ("timeout", Takes::Text),
];

const S3: &[KnownAttribute] = &[
    ("bucket", Takes::Text),
    ("region", Takes::Text),
    ("prefix", Takes::Text),
    ("manifests_prefix", Takes::Text),
    ("blobs_prefix", Takes::Text),
    ("name", Takes::Text),
    ("touch_refresh", Takes::Text),
    ("endpoint_url", Takes::Text),
    ("access_key_id", Takes::Text),
    ("secret_access_key", Takes::Text),
    ("session_token", Takes::Text),
    ("use_path_style", Takes::Bool),
    ("upload_parallelism", Takes::Whole),
    ("disable_accept_encoding", Takes::Bool),
    ("retry_mode", Takes::OneOf(&["standard", "adaptive"])),
    ("retry_max_attempts", Takes::Whole),
];

const AZBLOB: &[KnownAttribute] = &[
    ("account_name", Takes::Text),
    ("account_url", Takes::Text),
    ("container", Takes::Text),
    ("secret_access_key", Takes::Text),
    ("prefix", Takes::Text),
    ("manifests_prefix", Takes::Text),
    ("blobs_prefix", Takes::Text),
    ("name", Takes::Text),
];

/// The types of cache backends.
pub(super) const CACHES: &[&str] = &["registry", "inline", "local", "gha", "s3", "azblob"];

/// Returns the attributes for exports to the backend `kind`, or `None` if BuildKit has no such backend.
pub(super) fn cache_export(kind: &CacheKind) -> Option<KnownAttributes> {
    Some(match kind {
        CacheKind::Registry => KnownAttributes::of(&[REGISTRY, EXPORTED, MANIFEST, COMPRESSION]),
        CacheKind::Inline => KnownAttributes::of(&[EXPORTED]),
        CacheKind::Local => KnownAttributes::of(&[LOCAL_EXPORT, EXPORTED, MANIFEST, COMPRESSION]),
        CacheKind::Gha => KnownAttributes::of(&[GHA, EXPORTED, COMPRESSION]),
        CacheKind::S3 => KnownAttributes::of(&[S3, EXPORTED, COMPRESSION]),
        CacheKind::AzBlob => KnownAttributes::of(&[AZBLOB, EXPORTED, COMPRESSION]),
        CacheKind::Other(_) => return None,
    })
}

/// Returns the attributes for imports from the backend `kind`, or `None` if BuildKit has no such backend.
pub(super) fn cache_import(kind: &CacheKind) -> Option<KnownAttributes> {
    Some(match kind {
        CacheKind::Registry => KnownAttributes::of(&[REGISTRY]),
        CacheKind::Inline => KnownAttributes::of(&[]),
        CacheKind::Local => KnownAttributes::of(&[LOCAL_IMPORT]),
        CacheKind::Gha => KnownAttributes::of(&[GHA]),
        CacheKind::S3 => KnownAttributes::of(&[S3]),
        CacheKind::AzBlob => KnownAttributes::of(&[AZBLOB]),
        CacheKind::Other(_) => return None,
    })
}

const PROVENANCE: &[KnownAttribute] = &[
    ("mode", Takes::OneOf(&["min", "max"])),
    ("version", Takes::OneOf(&["v1", "v0.2"])),
    ("inline-only", Takes::Bool),
    ("reproducible", Takes::Bool),
    ("capture-usage", Takes::Bool),
    ("complete-materials", Takes::Bool),
    ("builder-id", Takes::Text),
    ("filename", Takes::Text),
];

/// The types of attestations.
pub(super) const ATTESTATIONS: &[&str] = &["provenance", "sbom"];

/// Returns the attributes of the attestation `kind`, or `None` if BuildKit has no such attestation.
pub(super) fn attestation(kind: &str) -> Option<KnownAttributes> {
    match kind.to_ascii_lowercase().as_str() {
        "provenance" => Some(KnownAttributes::of(&[PROVENANCE])),
        // The scanner reads all other attributes.
        "sbom" => Some(KnownAttributes {
            groups: &[&[("generator", Takes::Text)]],
            any: true,
        }),
        _ => None,
    }
}
